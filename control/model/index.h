/* The sorted arrays of a model. An index holds (object, sub) pairs in the order of a key that is computed from the
 * object (sub tells which of its keys: the second cluster IP …), so that an entry costs 12 bytes and equal objects are
 * shared. An index is immutable and counted; a change makes a new one by one pass of copying.
 *
 * Order: tag, a, b; then the age of the object (creationTimestamp), its namespace and name. In CONTROL_INDEX_ALL the
 * key says it all.
 */
#ifndef CONTROL_MODEL_INDEX_H
#define CONTROL_MODEL_INDEX_H

#include "control/model/object.h"

enum control_index_kind {
    CONTROL_INDEX_ALL,         /* kind; namespace, name */
    CONTROL_INDEX_SERVICE_IPS, /* -; address */
    CONTROL_INDEX_POD_IPS,     /* -; address */
    CONTROL_INDEX_SLICES,      /* -; namespace, Service */
    CONTROL_INDEX_ACCOUNTS,    /* -; namespace, service account: Pods */
    CONTROL_INDEX_ROUTES,      /* parent's kind; its namespace, name */
    CONTROL_INDEX_SETS,        /* -; namespace, Gateway: ListenerSets */
    CONTROL_INDEX_TARGETS,     /* -; namespace, Service: TrafficPolicies */
    CONTROL_INDEX_COUNT
};

struct control_index_key {
    unsigned tag;
    struct fl_span a, b;
};

struct control_index {
    atomic_uint references;
    enum control_index_kind kind;
    size_t count;
    const struct control_object **objects; /* counted by the model through CONTROL_INDEX_ALL, not here */
    uint32_t *subs;
};

struct control_index_change { /* an object that goes and one that comes; either may be NULL */
    const struct control_object *before, *after;
};

/* A new index with one reference, or the old one with one more where nothing of it changes. `old` may be NULL (empty).
 * Every object that goes must be in it. 0, -ENOMEM. */
int control_index_update(struct control_index *old, enum control_index_kind kind,
                         const struct control_index_change *changes, size_t count,
                         struct control_index **ret_index) FL_MUST_CHECK;
void control_index_unref(struct control_index *index);

/* The entries whose key has this tag, and a and b where they are given (data != NULL). */
void control_index_range(const struct control_index *index, const struct control_index_key *key, size_t *ret_from,
                         size_t *ret_to);

#endif
