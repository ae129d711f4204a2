/* How many of something each name has: the objects of a namespace, the connections of an address.
 *
 * A name is kept while it has one. Embedded: fl_tally_init / fl_tally_done (a zeroed struct may be done). Names may
 * have any bytes, and be empty. Not thread-safe.
 */
#ifndef FL_BASE_TALLY_H
#define FL_BASE_TALLY_H

#include "common/base/map.h"

struct fl_tally {
    struct fl_map counts;
};

void fl_tally_init(struct fl_tally *tally);
void fl_tally_done(struct fl_tally *tally);

size_t fl_tally_get(const struct fl_tally *tally, struct fl_span name);
int fl_tally_add(struct fl_tally *tally, struct fl_span name) FL_MUST_CHECK; /* 0, -ENOMEM */
void fl_tally_drop(struct fl_tally *tally, struct fl_span name);             /* one of it; none is fine */

#endif
