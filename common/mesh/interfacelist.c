/* Lists of network interfaces: read, in order, asked. */
#include "common/mesh/lists.h"

#include <errno.h>

/* Linux refuses blanks, '/' and ':'. The others mean something where a name is written: to this list, to JSON, to nft
 * (a '*' at the end is a wildcard there). */
static bool is_name(struct fl_span name)
{
    static const char refused[] = "/:,\"\\*";
    for (size_t i = 0; i < name.len; i++) {
        if (name.data[i] <= ' ' || name.data[i] > '~' || strchr(refused, name.data[i]) != NULL)
            return false;
    }
    return name.len > 0 && name.len < FL_INTERFACE_NAME_MAX && !fl_span_eq_str(name, ".") &&
           !fl_span_eq_str(name, "..");
}

int fl_interface_list_merge(struct fl_interface_list *list, struct fl_span item, struct fl_err *err)
{
    char name[FL_INTERFACE_NAME_MAX] = {0};
    size_t at = 0;
    if (!is_name(item))
        return fl_err_set(err, -EINVAL, "expected names of network interfaces like eth1,net1; got \"%.*s\"",
                          FL_SPAN_ARG(fl_list_shown(item)));
    if (fl_span_eq_str(item, "lo"))
        return fl_err_set(err, -EINVAL, "expected other interfaces than lo: capture itself goes through it");
    memcpy(name, item.data, item.len);
    while (at < list->count && strcmp(list->names[at], name) < 0)
        at++;
    if (at < list->count && strcmp(list->names[at], name) == 0)
        return 0;
    if (list->count == FL_CAPTURE_INTERFACES)
        return fl_err_set(err, -EINVAL, "expected at most %d network interfaces", FL_CAPTURE_INTERFACES);
    memmove(list->names[at + 1], list->names[at], (list->count - at) * sizeof(list->names[0]));
    memcpy(list->names[at], name, sizeof(name));
    list->count++;
    return 0;
}

static int merge(void *list, struct fl_span item, struct fl_err *err)
{
    return fl_interface_list_merge(list, item, err);
}

int fl_interface_list_parse(struct fl_span text, struct fl_interface_list *ret_list, struct fl_err *err)
{
    struct fl_interface_list list = {0};
    int result = fl_list_each(text, &list, merge, err);
    if (result == 0)
        *ret_list = list;
    return result;
}

bool fl_interface_list_contains(const struct fl_interface_list *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(list->names[i], name) == 0)
            return true;
    }
    return false;
}
