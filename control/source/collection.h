/* One kind of the API server's objects, followed whatever happens to it: in the first of its versions that the server
 * knows, looked for again while it knows none, and told as one unbroken story of objects that came, changed and went.
 *
 *   WAITS ──listed──► SYNCED          trouble: the watch tries again, the state stays
 *     │ 404 of every version          404: still SYNCED until it has been so for gone_ms, then a fresh watch
 *     └──► MISSING ──look_ms──► WAITS 401, 403 before the first list: DENIED (and goes on asking)
 *
 * A fresh watch knows nothing of what the last one told: at the end of its first list the owner is asked to drop what
 * that list did not have.
 *
 * There are more objects than are taken, in all or of one namespace: the owner is told of each that is left out, and
 * when one goes, all are listed anew (look_ms later), so that what was left out comes, or is forgotten.
 */
#ifndef CONTROL_SOURCE_COLLECTION_H
#define CONTROL_SOURCE_COLLECTION_H

#include "control/source/kubernetes.h"

struct control_collection;

struct control_collection_options {
    enum control_kind kind;
    uint32_t look_ms, gone_ms, backoff_ms; /* kubernetes.h has the first two, watch.h the third (0: its default) */
    size_t namespace_max;                  /* 0: as it is for the kind */
    /* As fl_kube_watch_options.on_change; `api_version` is the collection's ("v1", "apps/v1"). False: memory was out,
     * and everything is to be told again. */
    bool (*on_change)(void *owner, enum control_kind kind, enum fl_kube_change change, const char *api_version,
                      const struct fl_json *object) FL_MUST_CHECK;
    /* There is no room for it. The owner may put another object in its place, named in *ret_key, which the list then
     * has, too (control_collection_listed); an empty name: none. False: memory was out. */
    bool (*on_left_out)(void *owner, enum control_kind kind, const struct fl_json *object,
                        struct control_key *ret_key) FL_MUST_CHECK;
    /* Drops each object of the kind that the list did not have (control_collection_listed); `collection` NULL: all of
     * them. False: memory was out. */
    bool (*on_sweep)(void *owner, enum control_kind kind, const struct control_collection *listed) FL_MUST_CHECK;
    /* The state changed, or a list was completed. */
    void (*on_state)(void *owner, enum control_kind kind);
    void *owner;
};

struct control_collection_stats {
    enum control_kind_state state;
    bool failing;      /* what was asked last went wrong */
    bool partial;      /* there are more objects than are taken */
    bool crowded;      /* … of one namespace */
    uint64_t heard_ms; /* on the loop's clock: the last word of the API server on it; 0: none yet */
    uint64_t lists, watches, events, troubles;
};

/* Starts at once; callbacks come from the loop. 0, -ENOMEM. */
int control_collection_new(struct fl_loop *loop, struct fl_kube_client *client,
                           const struct control_collection_options *options,
                           struct control_collection **ret_collection) FL_MUST_CHECK;
struct control_collection *control_collection_free(struct control_collection *collection); /* NULL is fine; NULL */

/* Within on_sweep: whether the list that was just completed had it. */
bool control_collection_listed(const struct control_collection *collection, const struct control_key *key);
/* Looks whether it is well again, for the log. */
void control_collection_look(struct control_collection *collection);

struct control_collection_stats control_collection_stats(const struct control_collection *collection);

#endif
