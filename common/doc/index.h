/* Names → members, for as long as the container does not change: what keeps the search for duplicates, comparing and
 * diffing of large objects away from quadratic time. Sorted, not hashed: no input makes it slow. */
#ifndef FL_DOC_INDEX_H
#define FL_DOC_INDEX_H

#include "common/doc/json.h"

struct fl_index_entry {
    struct fl_span name;
    struct fl_json *value; /* borrowed */
    size_t position;       /* in the container */
};

struct fl_index {
    struct fl_index_entry *entries; /* owned; by name, then position */
    size_t count;
};

/* Members of an object by their names; elements of an array by their string member `key` (NULL for an object).
 * 0, -ENOMEM; -EINVAL where an element has no such member. */
int fl_index_init(struct fl_index *index, const struct fl_json *container, const char *key) FL_MUST_CHECK;
void fl_index_done(struct fl_index *index);

/* NULL where no member has the name. */
const struct fl_index_entry *fl_index_find(const struct fl_index *index, struct fl_span name);

/* The later member of two that share a name; NULL where there are none. */
const struct fl_index_entry *fl_index_duplicate(const struct fl_index *index);

#endif
