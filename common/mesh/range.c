/* Ranges of numbers, as lists of ports and of uids hold them; and how a list's text is split. */
#include "common/mesh/lists.h"

#include <stdio.h>

#define SHOWN_MAX 64 /* bytes of a wrong item in a message */

struct fl_span fl_list_shown(struct fl_span item)
{
    return fl_span_make(item.data, item.len < SHOWN_MAX ? item.len : SHOWN_MAX);
}

int fl_list_each(struct fl_span text, void *list, int (*merge)(void *list, struct fl_span item, struct fl_err *err),
                 struct fl_err *err)
{
    struct fl_span rest = fl_span_trim(text), item;
    int result = 0;
    if (rest.len == 0)
        return 0; /* no item, where splitting sees an empty one */
    while (result == 0 && fl_span_split(&rest, ',', &item))
        result = merge(list, fl_span_trim(item), err);
    return result;
}

/* Whether the two overlap, or the second begins where the first ends. */
static bool touch(struct fl_range a, struct fl_range b)
{
    return a.first <= (uint64_t)b.last + 1 && b.first <= (uint64_t)a.last + 1;
}

bool fl_ranges_insert(struct fl_range ranges[FL_CAPTURE_RANGES], size_t *count, struct fl_range range)
{
    size_t start = 0, end;
    while (start < *count && ranges[start].first < range.first && !touch(ranges[start], range))
        start++;
    for (end = start; end < *count && touch(ranges[end], range); end++) {
        if (ranges[end].first < range.first)
            range.first = ranges[end].first;
        if (ranges[end].last > range.last)
            range.last = ranges[end].last;
    }
    if (start == end && *count == FL_CAPTURE_RANGES)
        return false;
    memmove(&ranges[start + 1], &ranges[end], (*count - end) * sizeof(ranges[0]));
    ranges[start] = range;
    *count = *count - (end - start) + 1;
    return true;
}

bool fl_ranges_contain(const struct fl_range *ranges, size_t count, uint32_t number)
{
    for (size_t i = 0; i < count; i++) {
        if (number >= ranges[i].first && number <= ranges[i].last)
            return true;
    }
    return false;
}

void fl_range_print(const struct fl_range *range, char ret_text[FL_RANGE_PRINT_MAX])
{
    if (range->first == range->last)
        snprintf(ret_text, FL_RANGE_PRINT_MAX, "%u", range->first);
    else
        snprintf(ret_text, FL_RANGE_PRINT_MAX, "%u-%u", range->first, range->last);
}

int fl_ranges_print(bool all, const struct fl_range *ranges, size_t count, struct fl_buf *out)
{
    int result = all ? fl_buf_append_byte(out, '*') : 0;
    for (size_t i = 0; i < count && result == 0; i++) {
        char text[FL_RANGE_PRINT_MAX];
        fl_range_print(&ranges[i], text);
        result = fl_buf_printf(out, "%s%s", i > 0 ? "," : "", text);
    }
    return result;
}
