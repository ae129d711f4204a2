/* A collection of the API server, followed: listed page by page, then watched from there, for as long as the watch
 * lives. Whatever happens in between (the stream ends, the server goes away, history is compacted), the owner is told
 * of each object that came, changed or went, also of those that went while nobody looked.
 *
 *   LISTING    GET …?limit&continue; at the last page what was known and is not there any more is told as deleted,
 *              then on_synced. A page that is too large to be taken is asked for again with a quarter of the objects,
 *              down to one, which always fits: nobody's objects hide those of others by their size
 *   WATCHING   GET …?watch&resourceVersion&allowWatchBookmarks; resumed from the last version that an object or a
 *              bookmark told. 410, in whatever form: LISTING again. A stream that stays silent is given up.
 *   WAITING    after trouble: back-off with full jitter, 0.5 s doubling to 30 s, or what Retry-After asks for
 *
 * What is kept of each object is its namespace, name and version (some 100 bytes), no more than objects_max of them.
 */
#ifndef FL_KUBE_WATCH_H
#define FL_KUBE_WATCH_H

#include "common/doc/json.h"
#include "common/kube/client.h"

#define FL_KUBE_PAGE           250         /* objects of a page, unless the options say otherwise */
#define FL_KUBE_OBJECT_MAX     (16u << 20) /* bytes of one event; etcd's limit is 1.5 MiB, of which JSON makes up to 9 */
#define FL_KUBE_PAGE_MAX       (16u << 20) /* bytes of one page: of one that is larger fewer objects are asked for */
#define FL_KUBE_SILENCE_MS     150000u     /* bookmarks come about once a minute */
#define FL_KUBE_BACKOFF_MS     500u
#define FL_KUBE_BACKOFF_MAX_MS 30000u

struct fl_kube_watch;

enum fl_kube_change { FL_KUBE_ADDED, FL_KUBE_MODIFIED, FL_KUBE_DELETED };

struct fl_kube_watch_options {
    const char *path;           /* of the collection: "/api/v1/namespaces". Copied, as the selectors. */
    const char *label_selector; /* as kubectl takes them, not escaped; NULL: none */
    const char *field_selector;
    bool metadata_only;   /* objects are PartialObjectMetadata */
    unsigned page;        /* 0: FL_KUBE_PAGE */
    size_t objects_max;   /* 0: 100,000; more is trouble (-ENOSPC), and what is past it is not told */
    size_t namespace_max; /* of one namespace, likewise (-EDQUOT): so that it takes no other's place. 0: objects_max */
    unsigned silence_ms;  /* 0: FL_KUBE_SILENCE_MS */
    unsigned backoff_ms;  /* 0: FL_KUBE_BACKOFF_MS; with backoff_max_ms (0: FL_KUBE_BACKOFF_MAX_MS) for tests */
    unsigned backoff_max_ms;
    /* The object is borrowed for the call; its metadata.name is a string. Of one that went while nobody looked only
     * metadata.name and metadata.namespace are there. The callbacks may free the watch. */
    void (*on_change)(void *owner, enum fl_kube_change change, const struct fl_json *object);
    /* A list is complete: what was told is what is there. Again after each later list. NULL: nobody asks. */
    void (*on_synced)(void *owner);
    /* It was left out, for objects_max or namespace_max: again with each word of it. `gone`: it is deleted, which is
     * told of what a list never had, too. Borrowed; may free the watch. NULL: nobody asks. */
    void (*on_left_out)(void *owner, const struct fl_json *object, bool gone);
    /* Something failed and will be tried again; the owner bounds its log lines. NULL: nobody asks. */
    void (*on_trouble)(void *owner, const struct fl_err *err);
    void *owner;
};

struct fl_kube_watch_stats {
    uint64_t lists;    /* begun */
    uint64_t watches;  /* begun */
    uint64_t events;   /* received, bookmarks included */
    uint64_t troubles; /* told by on_trouble */
    uint64_t heard_ms; /* when the last event or list came, on the loop's clock; 0: none yet */
    size_t objects;    /* known now */
    bool synced;       /* a list has been completed since the start */
    bool watching;     /* a stream is asked for or open */
};

/* Starts at once. The client outlives it. 0, -EINVAL, -ENOMEM. */
int fl_kube_watch_new(struct fl_loop *loop, struct fl_kube_client *client, const struct fl_kube_watch_options *options,
                      struct fl_kube_watch **ret_watch) FL_MUST_CHECK;
struct fl_kube_watch *fl_kube_watch_free(struct fl_kube_watch *watch); /* returns NULL */

struct fl_kube_watch_stats fl_kube_watch_stats(const struct fl_kube_watch *watch);

#endif
