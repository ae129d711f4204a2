#include "common/doc/positions.h"

#include <errno.h>

#define FIRST_ROOM 64

int fl_positions_add(struct fl_positions *positions, const struct fl_json *value, struct fl_position position)
{
    if (positions->count == positions->room) {
        size_t room = positions->room > 0 ? positions->room * 2 : FIRST_ROOM;
        struct fl_position_entry *entries = realloc(positions->entries, room * sizeof(*entries));
        if (entries == NULL)
            return -ENOMEM;
        positions->entries = entries;
        positions->room = room;
    }
    positions->entries[positions->count++] = (struct fl_position_entry){value, position};
    return 0;
}

static int compare(const void *left, const void *right)
{
    const struct fl_position_entry *a = left, *b = right;
    uintptr_t at_a = (uintptr_t)a->value, at_b = (uintptr_t)b->value;
    return (at_a > at_b) - (at_a < at_b);
}

void fl_positions_sort(struct fl_positions *positions)
{
    if (positions->count > 0)
        qsort(positions->entries, positions->count, sizeof(*positions->entries), compare);
}

void fl_positions_done(struct fl_positions *positions)
{
    free(positions->file);
    free(positions->entries);
    *positions = (struct fl_positions){0};
}

struct fl_position fl_positions_find(const struct fl_positions *positions, const struct fl_json *value)
{
    const struct fl_position_entry key = {.value = value};
    const struct fl_position_entry *found = NULL;
    if (positions != NULL && positions->count > 0 && value != NULL)
        found = bsearch(&key, positions->entries, positions->count, sizeof(key), compare);
    return found != NULL ? found->position : (struct fl_position){0, 0};
}

const char *fl_positions_file(const struct fl_positions *positions)
{
    return positions != NULL ? positions->file : NULL;
}
