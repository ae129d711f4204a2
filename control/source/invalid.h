/* Which objects of the API server could not be taken, or not as they are: one entry an object, by its key, until it is
 * mended or gone; and the list of them that a model has. Bounded: past `max` entries, and `of_namespace` of one
 * namespace, only their number is kept, so that whoever makes very many broken objects fills neither memory nor a page,
 * nor takes the word of what is wrong from others.
 */
#ifndef CONTROL_SOURCE_INVALID_H
#define CONTROL_SOURCE_INVALID_H

#include "common/base/map.h"
#include "common/base/tally.h"
#include "control/model/model.h"

struct control_invalid {
    struct fl_map entries;         /* by "kind namespace/name" */
    struct fl_tally of_namespaces; /* those that have a text */
    size_t max;                    /* entries that have a text */
    size_t of_namespace;           /* of these, of one */
    size_t texts;
};

void control_invalid_init(struct control_invalid *invalid, size_t max, size_t of_namespace);
void control_invalid_done(struct control_invalid *invalid);

/* In the place of what was said of the object before; `text` is copied. 0, -ENOMEM. */
int control_invalid_put(struct control_invalid *invalid, const struct control_key *key,
                        enum control_problem_reason reason, const char *text) FL_MUST_CHECK;
/* Whether there was one. */
bool control_invalid_drop(struct control_invalid *invalid, const struct control_key *key);
bool control_invalid_has(const struct control_invalid *invalid, const struct control_key *key);
/* Walks the keys; *cursor starts at 0; false at the end. The present one may be dropped; *ret_key is void then. */
bool control_invalid_next(const struct control_invalid *invalid, size_t *cursor, struct control_key *ret_key);
size_t control_invalid_count(const struct control_invalid *invalid);

/* *ret_problems is NULL where there are none, else one reference. 0, -ENOMEM. */
int control_invalid_list(const struct control_invalid *invalid, struct control_problems **ret_problems) FL_MUST_CHECK;

#endif
