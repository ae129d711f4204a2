/* An array of entries in order, and an index of their numbers by hash.
 *
 * Invariants: used ≤ 3/4 of slots, so that a probe always meets a free slot. A removed entry has no value and its slot
 * says DEAD, both until the next rebuild, which takes the gaps out and doubles the index only where half of it is
 * needed; a map in steady use therefore keeps its size.
 */
#include "common/base/map.h"

#include "common/base/siphash.h"

#include <errno.h>

#define SLOTS_MIN 8
#define FREE      UINT32_C(0)
#define DEAD      UINT32_MAX /* else the number of the entry, plus one */

struct fl_map_entry {
    const char *key;
    void *value; /* NULL: a gap */
    uint32_t len;
    uint32_t hash; /* as many of its bits as an index of FL_MAP_MAX entries can use */
};

static struct fl_span key_of(const struct fl_map_entry *entry)
{
    return fl_span_make(entry->key, entry->len);
}

static uint32_t hash_of(struct fl_span key)
{
    return (uint32_t)fl_siphash(key);
}

void fl_map_init(struct fl_map *map, size_t max)
{
    *map = (struct fl_map){.max = max < FL_MAP_MAX ? max : FL_MAP_MAX};
}

void fl_map_done(struct fl_map *map)
{
    free(map->entries);
    free(map->index);
    *map = (struct fl_map){0};
}

static size_t entries_max(size_t slots)
{
    return slots / 4 * 3;
}

/* The slot that holds the key, or NULL. */
static uint32_t *find(const struct fl_map *map, struct fl_span key, uint32_t hash)
{
    if (map->count == 0)
        return NULL;
    for (size_t slot = hash & (map->slots - 1);; slot = (slot + 1) & (map->slots - 1)) {
        uint32_t number = map->index[slot];
        if (number == FREE)
            return NULL;
        if (number == DEAD)
            continue;
        const struct fl_map_entry *entry = &map->entries[number - 1];
        if (entry->hash == hash && fl_span_eq(key_of(entry), key))
            return &map->index[slot];
    }
}

static void index_entry(uint32_t *index, size_t slots, uint32_t hash, size_t number)
{
    size_t slot = hash & (slots - 1);
    while (index[slot] != FREE)
        slot = (slot + 1) & (slots - 1);
    index[slot] = (uint32_t)number + 1;
}

/* New arrays without gaps. On -ENOMEM the map is what it was. */
static int rebuild(struct fl_map *map)
{
    size_t slots = map->slots > 0 ? map->slots : SLOTS_MIN;
    while (map->count >= entries_max(slots) / 2 + 1)
        slots *= 2;
    struct fl_map_entry *entries = malloc(entries_max(slots) * sizeof(*entries));
    uint32_t *index = calloc(slots, sizeof(*index));
    if (entries == NULL || index == NULL) {
        free(entries);
        free(index);
        return -ENOMEM;
    }
    size_t used = 0;
    for (size_t i = 0; i < map->used; i++) {
        if (map->entries[i].value == NULL)
            continue;
        entries[used] = map->entries[i];
        index_entry(index, slots, entries[used].hash, used);
        used++;
    }
    free(map->entries);
    free(map->index);
    *map = (struct fl_map){entries, index, used, used, slots, map->max};
    return 0;
}

int fl_map_put(struct fl_map *map, struct fl_span key, void *value)
{
    uint32_t hash = hash_of(key);
    if (find(map, key, hash) != NULL)
        return -EEXIST;
    if (map->count >= map->max || key.len > UINT32_MAX)
        return -ENOSPC;
    if (map->used >= entries_max(map->slots)) {
        int result = rebuild(map);
        if (result < 0)
            return result;
    }
    map->entries[map->used] = (struct fl_map_entry){key.data, value, (uint32_t)key.len, hash};
    index_entry(map->index, map->slots, hash, map->used);
    map->used++;
    map->count++;
    return 0;
}

void *fl_map_get(const struct fl_map *map, struct fl_span key)
{
    if (map->count == 0)
        return NULL;
    const uint32_t *slot = find(map, key, hash_of(key));
    return slot != NULL ? map->entries[*slot - 1].value : NULL;
}

void *fl_map_remove(struct fl_map *map, struct fl_span key)
{
    if (map->count == 0)
        return NULL;
    uint32_t *slot = find(map, key, hash_of(key));
    if (slot == NULL)
        return NULL;
    struct fl_map_entry *entry = &map->entries[*slot - 1];
    void *value = entry->value;
    *entry = (struct fl_map_entry){0};
    *slot = DEAD;
    map->count--;
    return value;
}

bool fl_map_next(const struct fl_map *map, size_t *cursor, struct fl_span *ret_key, void **ret_value)
{
    while (*cursor < map->used) {
        const struct fl_map_entry *entry = &map->entries[(*cursor)++];
        if (entry->value == NULL)
            continue;
        if (ret_key != NULL)
            *ret_key = key_of(entry);
        *ret_value = entry->value;
        return true;
    }
    return false;
}
