/* Lists of user ids: read, merged, asked. */
#include "common/mesh/lists.h"

#include <errno.h>

static int read_uid(struct fl_span item, struct fl_span text, uint32_t *ret_uid, struct fl_err *err)
{
    uint64_t uid;
    if (!fl_span_to_u64(text, UINT64_MAX, &uid))
        return fl_err_set(err, -EINVAL, "expected user ids like 1000,2000-2999; got \"%.*s\"",
                          FL_SPAN_ARG(fl_list_shown(item)));
    if (uid > FL_UID_MAX)
        return fl_err_set(err, -EINVAL, "expected user ids from 0 to %u; got \"%.*s\"", FL_UID_MAX,
                          FL_SPAN_ARG(fl_list_shown(item)));
    *ret_uid = (uint32_t)uid;
    return 0;
}

int fl_uid_list_merge(struct fl_uid_list *list, struct fl_span item, struct fl_err *err)
{
    size_t dash = fl_span_find(item, '-');
    struct fl_span first = fl_span_make(item.data, dash);
    struct fl_span last = dash < item.len ? fl_span_from(item, dash + 1) : first;
    struct fl_range range;
    int result = read_uid(item, first, &range.first, err);
    if (result == 0)
        result = read_uid(item, last, &range.last, err);
    if (result < 0)
        return result;
    if (range.first > range.last)
        return fl_err_set(err, -EINVAL, "expected a range from low to high; got \"%.*s\"",
                          FL_SPAN_ARG(fl_list_shown(item)));
    if (!fl_ranges_insert(list->ranges, &list->count, range))
        return fl_err_set(err, -EINVAL, "expected at most %d user ids and ranges", FL_CAPTURE_RANGES);
    return 0;
}

static int merge(void *list, struct fl_span item, struct fl_err *err)
{
    return fl_uid_list_merge(list, item, err);
}

int fl_uid_list_parse(struct fl_span text, struct fl_uid_list *ret_list, struct fl_err *err)
{
    struct fl_uid_list list = {0};
    int result = fl_list_each(text, &list, merge, err);
    if (result == 0)
        *ret_list = list;
    return result;
}

bool fl_uid_list_contains(const struct fl_uid_list *list, uint32_t uid)
{
    return fl_ranges_contain(list->ranges, list->count, uid);
}
