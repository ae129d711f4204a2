/* Lists of ports: read, merged, asked. */
#include "common/mesh/lists.h"

#include <errno.h>

#define PORT_MAX 65535

static int refuse(struct fl_span item, struct fl_err *err)
{
    return fl_err_set(err, -EINVAL, "expected ports like 80,443 or 8000-8080, or *; got \"%.*s\"",
                      FL_SPAN_ARG(fl_list_shown(item)));
}

static int read_port(struct fl_span item, struct fl_span text, uint32_t *ret_port, struct fl_err *err)
{
    uint64_t port;
    if (!fl_span_to_u64(text, UINT64_MAX, &port))
        return refuse(item, err);
    if (port < 1 || port > PORT_MAX)
        return fl_err_set(err, -EINVAL, "expected ports from 1 to 65535; got \"%.*s\"",
                          FL_SPAN_ARG(fl_list_shown(item)));
    *ret_port = (uint32_t)port;
    return 0;
}

static int read_range(struct fl_span item, struct fl_range *ret_range, struct fl_err *err)
{
    size_t dash = fl_span_find(item, '-');
    struct fl_span first = fl_span_make(item.data, dash);
    struct fl_span last = dash < item.len ? fl_span_from(item, dash + 1) : first;
    int result = read_port(item, first, &ret_range->first, err);
    if (result == 0)
        result = read_port(item, last, &ret_range->last, err);
    if (result == 0 && ret_range->first > ret_range->last)
        return fl_err_set(err, -EINVAL, "expected a range from low to high; got \"%.*s\"",
                          FL_SPAN_ARG(fl_list_shown(item)));
    return result;
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
    struct fl_range range;
    int result = read_range(item, &range, err);
    if (result == 0 && !fl_ranges_insert(list->ranges, &list->count, range))
        return fl_err_set(err, -EINVAL, "expected at most %d ports and ranges", FL_CAPTURE_RANGES);
    return result;
}

void fl_port_list_settle(struct fl_port_list *list)
{
    if (list->count == 1 && list->ranges[0].first == 1 && list->ranges[0].last == PORT_MAX)
        *list = (struct fl_port_list){.all = true};
}

static int merge(void *list, struct fl_span item, struct fl_err *err)
{
    return fl_port_list_merge(list, item, err);
}

int fl_port_list_parse(struct fl_span text, struct fl_port_list *ret_list, struct fl_err *err)
{
    struct fl_port_list list = {0};
    int result = fl_list_each(text, &list, merge, err);
    if (result < 0)
        return result;
    fl_port_list_settle(&list);
    *ret_list = list;
    return 0;
}

bool fl_port_list_contains(const struct fl_port_list *list, uint16_t port)
{
    return list->all || fl_ranges_contain(list->ranges, list->count, port);
}
