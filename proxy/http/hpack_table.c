#include "proxy/http/hpack_table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS_MIN 8u
#define BYTES_MIN 512u

void proxy_hpack_table_done(struct proxy_hpack_table *table)
{
    free(fl_take(table->entries));
    free(fl_take(table->bytes));
}

static uint32_t oldest(const struct proxy_hpack_table *table)
{
    return table->newest - table->count + 1;
}

static void evict_to(struct proxy_hpack_table *table, uint32_t size)
{
    while (table->size > size) {
        const struct proxy_hpack_entry *entry = proxy_hpack_table_at(table, oldest(table));
        table->size -= PROXY_HPACK_OVERHEAD + entry->name + entry->value;
        table->count--;
    }
}

void proxy_hpack_table_resize(struct proxy_hpack_table *table, uint32_t max)
{
    table->max = max;
    evict_to(table, max);
}

static int grow_slots(struct proxy_hpack_table *table)
{
    uint32_t slots = table->slots == 0 ? SLOTS_MIN : 2 * table->slots;
    struct proxy_hpack_entry *entries = malloc(slots * sizeof(*entries));
    if (entries == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < table->count; i++) {
        uint32_t number = oldest(table) + i;
        entries[number & (slots - 1)] = *proxy_hpack_table_at(table, number);
    }
    free(table->entries);
    table->entries = entries;
    table->slots = slots;
    return 0;
}

/* Room for `size` bytes more behind the newest text: what is evicted gives its own, unless little would be left. */
static int make_room(struct proxy_hpack_table *table, uint32_t size)
{
    uint32_t start = table->count > 0 ? proxy_hpack_table_at(table, oldest(table))->at : table->end;
    uint32_t used = table->end - start, room = table->room == 0 ? BYTES_MIN : table->room;
    while (room < used + size || (room < 2 * (used + size) && room < table->max))
        room *= 2;
    char *bytes = table->bytes;
    if (room != table->room && (bytes = malloc(room)) == NULL)
        return -ENOMEM;
    if (used > 0)
        memmove(bytes, table->bytes + (start - table->base), used);
    if (bytes != table->bytes)
        free(table->bytes);
    table->bytes = bytes;
    table->room = room;
    table->base = start;
    return 0;
}

static int put(struct proxy_hpack_table *table, struct fl_span name, struct fl_span value)
{
    uint32_t size = (uint32_t)(name.len + value.len);
    evict_to(table, table->max - PROXY_HPACK_OVERHEAD - size);
    if (table->count == table->slots && grow_slots(table) < 0)
        return -ENOMEM;
    if ((table->room == 0 || table->end - table->base + size > table->room) && make_room(table, size) < 0)
        return -ENOMEM;
    char *to = table->bytes + (table->end - table->base);
    if (name.len > 0)
        memcpy(to, name.data, name.len);
    if (value.len > 0)
        memcpy(to + name.len, value.data, value.len);
    *proxy_hpack_table_at(table, ++table->newest) =
        (struct proxy_hpack_entry){.at = table->end, .name = (uint16_t)name.len, .value = (uint16_t)value.len};
    table->end += size;
    table->count++;
    table->size += PROXY_HPACK_OVERHEAD + size;
    return 1;
}

/* A name that is an entry's moves or goes with it: it is put from a copy. */
static int put_copied(struct proxy_hpack_table *table, struct fl_span name, struct fl_span value)
{
    char *copy = malloc(name.len + 1);
    if (copy == NULL)
        return -ENOMEM;
    if (name.len > 0)
        memcpy(copy, name.data, name.len);
    int result = put(table, fl_span_make(copy, name.len), value);
    free(copy);
    return result;
}

int proxy_hpack_table_add(struct proxy_hpack_table *table, struct fl_span name, struct fl_span value)
{
    if (name.len + value.len + PROXY_HPACK_OVERHEAD > table->max) {
        evict_to(table, 0);
        return 0;
    }
    bool inside = table->bytes != NULL && name.data >= table->bytes && name.data < table->bytes + table->room;
    return inside ? put_copied(table, name, value) : put(table, name, value);
}
