/* struct fl_map: from byte strings to pointers.
 *
 * The hash is keyed with a random seed of this process (SipHash-1-3), so that whoever chooses the keys cannot choose
 * collisions. Entries are walked in the order in which they were put, whatever the seed is. Embedded: fl_map_init /
 * fl_map_done (a zeroed struct may be done, and may be read). Not thread-safe.
 *
 * The map owns neither keys nor values: the bytes of a key live as long as the entry, usually inside of the value.
 */
#ifndef FL_BASE_MAP_H
#define FL_BASE_MAP_H

#include "common/base/cleanup.h"
#include "common/base/span.h"

#define FL_MAP_MAX (UINT32_C(1) << 28) /* entries; a larger max counts as this */

struct fl_map_entry;

struct fl_map {
    struct fl_map_entry *entries; /* owned, in the order of putting; removed ones stay as gaps until the next growth */
    uint32_t *index;              /* owned: open addressing, by hash, into entries */
    size_t used;                  /* entries, gaps included */
    size_t count;                 /* entries that are there */
    size_t slots;                 /* of the index: 0 or a power of two */
    size_t max;                   /* count never grows beyond it */
};

/* `max` in entries; no allocation yet. */
void fl_map_init(struct fl_map *map, size_t max);
void fl_map_done(struct fl_map *map);

/* The value, never NULL. 0, -EEXIST (the old entry stays), -ENOSPC where the map is full (or the key
 * is of 4 GiB), -ENOMEM. */
int fl_map_put(struct fl_map *map, struct fl_span key, void *value) FL_MUST_CHECK;

/* NULL where there is none. */
void *fl_map_get(const struct fl_map *map, struct fl_span key);

/* Takes the entry out; its value, or NULL where there was none. */
void *fl_map_remove(struct fl_map *map, struct fl_span key);

/* Walks the entries: *cursor starts at 0; false at the end. ret_key may be NULL. Entries may be removed on the walk
 * (the present one too), none may be put.
 *
 *     for (size_t cursor = 0; fl_map_next(&map, &cursor, &key, &value);) …
 */
bool fl_map_next(const struct fl_map *map, size_t *cursor, struct fl_span *ret_key, void **ret_value);

#endif
