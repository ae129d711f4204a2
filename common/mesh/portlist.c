/* Lists of ports: read, merged, asked. */
#include "common/mesh/lists.h"

#include <errno.h>
#include <stdio.h>

#define PORT_MAX  65535
#define SHOWN_MAX 64 /* bytes of a wrong item in a message */

static struct fl_span shown(struct fl_span item)
{
    return fl_span_make(item.data, item.len < SHOWN_MAX ? item.len : SHOWN_MAX);
}

static int refuse(struct fl_span item, struct fl_err *err)
{
    return fl_err_set(err, -EINVAL, "expected ports like 80,443 or 8000-8080, or *; got \"%.*s\"",
                      FL_SPAN_ARG(shown(item)));
}

static int read_port(struct fl_span item, struct fl_span text, uint16_t *ret_port, struct fl_err *err)
{
    uint64_t port;
    if (!fl_span_to_u64(text, UINT64_MAX, &port))
        return refuse(item, err);
    if (port < 1 || port > PORT_MAX)
        return fl_err_set(err, -EINVAL, "expected ports from 1 to 65535; got \"%.*s\"", FL_SPAN_ARG(shown(item)));
    *ret_port = (uint16_t)port;
    return 0;
}

static int read_range(struct fl_span item, struct fl_port_range *ret_range, struct fl_err *err)
{
    size_t dash = fl_span_find(item, '-');
    struct fl_span first = fl_span_make(item.data, dash);
    struct fl_span last = dash < item.len ? fl_span_from(item, dash + 1) : first;
    int result = read_port(item, first, &ret_range->first, err);
    if (result == 0)
        result = read_port(item, last, &ret_range->last, err);
    if (result == 0 && ret_range->first > ret_range->last)
        return fl_err_set(err, -EINVAL, "expected a range from low to high; got \"%.*s\"", FL_SPAN_ARG(shown(item)));
    return result;
}

/* Whether the two overlap, or the second begins where the first ends. */
static bool touch(struct fl_port_range a, struct fl_port_range b)
{
    return a.first <= b.last + 1 && b.first <= a.last + 1;
}

static int insert(struct fl_port_list *list, struct fl_port_range range, struct fl_err *err)
{
    size_t start = 0, end;
    while (start < list->count && list->ranges[start].first < range.first && !touch(list->ranges[start], range))
        start++;
    for (end = start; end < list->count && touch(list->ranges[end], range); end++) {
        if (list->ranges[end].first < range.first)
            range.first = list->ranges[end].first;
        if (list->ranges[end].last > range.last)
            range.last = list->ranges[end].last;
    }
    if (start == end && list->count == FL_CAPTURE_RANGES)
        return fl_err_set(err, -EINVAL, "expected at most %d ports and ranges", FL_CAPTURE_RANGES);
    memmove(&list->ranges[start + 1], &list->ranges[end], (list->count - end) * sizeof(list->ranges[0]));
    list->ranges[start] = range;
    list->count = list->count - (end - start) + 1;
    return 0;
}

int fl_port_list_merge(struct fl_port_list *list, struct fl_span item, struct fl_err *err)
{
    bool star = fl_span_eq_str(item, "*");
    if (list->all || (star && list->count > 0))
        return fl_err_set(err, -EINVAL, "expected * to stand alone: it means every port");
    if (star) {
        list->all = true;
        return 0;
    }
    struct fl_port_range range;
    int result = read_range(item, &range, err);
    return result < 0 ? result : insert(list, range, err);
}

void fl_port_list_settle(struct fl_port_list *list)
{
    if (list->count == 1 && list->ranges[0].first == 1 && list->ranges[0].last == PORT_MAX)
        *list = (struct fl_port_list){.all = true};
}

int fl_port_list_parse(struct fl_span text, struct fl_port_list *ret_list, struct fl_err *err)
{
    struct fl_port_list list = {0};
    struct fl_span rest = fl_span_trim(text), item;
    int result = 0;
    if (rest.len == 0)
        rest.data = NULL; /* no item, where splitting sees an empty one */
    while (result == 0 && fl_span_split(&rest, ',', &item))
        result = fl_port_list_merge(&list, fl_span_trim(item), err);
    if (result < 0)
        return result;
    fl_port_list_settle(&list);
    *ret_list = list;
    return 0;
}

bool fl_port_list_contains(const struct fl_port_list *list, uint16_t port)
{
    for (size_t i = 0; i < list->count; i++) {
        if (port >= list->ranges[i].first && port <= list->ranges[i].last)
            return true;
    }
    return list->all;
}

void fl_port_range_print(const struct fl_port_range *range, char ret_text[FL_RANGE_PRINT_MAX])
{
    if (range->first == range->last)
        snprintf(ret_text, FL_RANGE_PRINT_MAX, "%u", range->first);
    else
        snprintf(ret_text, FL_RANGE_PRINT_MAX, "%u-%u", range->first, range->last);
}
