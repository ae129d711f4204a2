/* Where the values of one short piece of work live: an admission makes thousands of them and drops all at its end, so
 * that taking and giving each by itself costs more than the work. Between fl_region_enter and fl_region_leave every
 * value that this thread makes (doc/json.h) is of the region; fl_json_free does nothing to it; leaving frees them all
 * at once. Values that were made outside may be read and freed inside; none of the two kinds is put into the other.
 *
 * The code in between frees as it would without a region. Without one nothing changes: so failing allocations are
 * tested there, one by one. With AddressSanitizer a region does nothing, so that it sees every value by itself.
 *
 * Embedded; a zeroed one is ready. Memory is bounded by what the work may make (json.h's limits); at most
 * FL_REGION_KEPT bytes stay between two pieces of work. */
#ifndef FL_DOC_REGION_H
#define FL_DOC_REGION_H

#include "common/base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>

#define FL_REGION_KEPT (1u << 20)

struct fl_region_chunk;

struct fl_region {
    struct fl_region_chunk *chunks; /* the one in use first */
};

/* One region a thread at a time. */
void fl_region_enter(struct fl_region *region);
void fl_region_leave(struct fl_region *region);
void fl_region_done(struct fl_region *region);

/* For json.c: as malloc and free, of the region that this thread is in. */
void *fl_region_allocate(size_t size) FL_MUST_CHECK;
void fl_region_release(void *memory);
bool fl_region_owns(const void *memory); /* false where the thread is in none */

#endif
