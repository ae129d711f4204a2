/* An API server in the test's own process and loop: collections of JSON objects that are listed and watched, objects
 * that are fetched by name, and whatever may go wrong with them. It speaks just enough HTTP/1.1 for common/kube. */
#ifndef TESTS_UNIT_CONTROL_API_WORLD_H
#define TESTS_UNIT_CONTROL_API_WORLD_H

#include "common/kube/client.h"

#define API_COLLECTIONS 40
#define API_OBJECTS     64
#define API_EVENTS      256
#define API_STREAMS     64

struct api_event {
    uint64_t version;
    char *text; /* the line */
};

struct api_object {
    char *key;  /* "namespace/name" */
    char *text; /* JSON with "@" in the place of its resourceVersion */
    uint64_t version;
};

struct api_collection {
    const char *path; /* "/api/v1/pods" */
    unsigned status;  /* what is answered; 200 */
    uint64_t oldest;  /* a watch from before it is answered with 410 */
    struct api_object objects[API_OBJECTS];
    size_t count;
    struct api_event events[API_EVENTS];
    size_t event_count;
    unsigned lists, watches;
};

struct api_world;

struct api_stream { /* a connection: its request, then perhaps a watch */
    struct fl_source source;
    struct fl_deferred deferred;
    struct api_world *world;        /* NULL: it is free */
    struct api_collection *watched; /* NULL: the request has not come yet */
    bool dropped;
    char request[8192];
    size_t len;
};

struct api_world { /* nothing in it is allocated by what a test makes fail */
    struct fl_loop *loop;
    struct fl_source source;
    struct fl_kube_client *client;
    uint16_t port;
    uint64_t version;
    struct api_collection collections[API_COLLECTIONS];
    size_t count;
    struct api_stream streams[API_STREAMS];
    size_t cut_after;           /* bytes of all streams, after which they are cut; SIZE_MAX: never. Counts down. */
    bool away;                  /* connections are closed at once */
    unsigned fetches;           /* of objects by name */
    unsigned forbidden_fetches; /* status of these; 0: as they are there */
};

void api_init(struct api_world *world, struct fl_loop *loop);
void api_done(struct api_world *world); /* the client too; then the loop has to be turned once */

/* The collection, made where it is not there: empty, and known to the server. */
struct api_collection *api_collection(struct api_world *world, const char *path);
/* Every collection that the source follows. */
void api_know_all(struct api_world *world);
/* `key`: "namespace/name" or "/name"; `rest`: members behind metadata ("\"spec\":{}"), or NULL; `metadata`: more
 * members of it, with a comma in front, or NULL. */
void api_put(struct api_world *world, const char *path, const char *key, const char *rest, const char *metadata);
void api_delete(struct api_world *world, const char *path, const char *key);
void api_cut(struct api_world *world);    /* every stream, now */
void api_forget(struct api_world *world); /* history is compacted: watches from before now are too old */

#endif
