/* The lists in annotations: "P…" is read as ports, "U…" as uids, "I…" as interfaces, anything else as CIDRs. A list
 * that is taken is in order, without what could be merged, and its items merged one by one, backwards, give the same
 * list. */
#include "common/mesh/lists.h"

#include <arpa/inet.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

static void check_ports(struct fl_span text)
{
    struct fl_port_list list, again = {0};
    if (fl_port_list_parse(text, &list, NULL) < 0)
        return;
    check(!list.all || list.count == 0);
    for (size_t i = 0; i < list.count; i++) {
        check(list.ranges[i].first >= 1 && list.ranges[i].first <= list.ranges[i].last);
        check(i == 0 || list.ranges[i].first > list.ranges[i - 1].last + 1);
    }
    for (size_t i = list.count; i-- > 0;) {
        char item[FL_RANGE_PRINT_MAX];
        fl_range_print(&list.ranges[i], item);
        check(fl_port_list_merge(&again, fl_span_str(item), NULL) == 0);
    }
    check(again.count == list.count && memcmp(again.ranges, list.ranges, list.count * sizeof(list.ranges[0])) == 0);
}

static void check_uids(struct fl_span text)
{
    struct fl_uid_list list, again = {0};
    if (fl_uid_list_parse(text, &list, NULL) < 0)
        return;
    for (size_t i = 0; i < list.count; i++) {
        check(list.ranges[i].first <= list.ranges[i].last && list.ranges[i].last <= FL_UID_MAX);
        check(i == 0 || list.ranges[i].first > list.ranges[i - 1].last + 1);
    }
    for (size_t i = list.count; i-- > 0;) {
        char item[FL_RANGE_PRINT_MAX];
        fl_range_print(&list.ranges[i], item);
        check(fl_uid_list_merge(&again, fl_span_str(item), NULL) == 0);
    }
    check(again.count == list.count && memcmp(again.ranges, list.ranges, list.count * sizeof(list.ranges[0])) == 0);
}

static void check_interfaces(struct fl_span text)
{
    struct fl_interface_list list, again = {0};
    if (fl_interface_list_parse(text, &list, NULL) < 0)
        return;
    for (size_t i = list.count; i-- > 0;) {
        check(i == 0 || strcmp(list.names[i - 1], list.names[i]) < 0);
        check(fl_interface_list_merge(&again, fl_span_str(list.names[i]), NULL) == 0);
    }
    check(again.count == list.count && memcmp(again.names, list.names, sizeof(list.names)) == 0);
}

static void check_cidrs(struct fl_span text)
{
    struct fl_cidr_list list, again = {0};
    if (fl_cidr_list_parse(text, &list, NULL) < 0)
        return;
    check(!list.all || list.count == 0);
    for (size_t i = list.count; i-- > 0;) {
        char item[FL_CIDR_PRINT_MAX];
        fl_cidr_print(&list.cidrs[i], item);
        check(fl_cidr_list_contains(&list, list.cidrs[i].family, list.cidrs[i].address));
        check(fl_cidr_list_merge(&again, fl_span_str(item), NULL) == 0);
        check(again.count == list.count - i);
    }
    for (size_t i = 0; i < list.count; i++) {
        check(again.cidrs[i].family == list.cidrs[i].family && again.cidrs[i].prefix == list.cidrs[i].prefix);
        check(memcmp(again.cidrs[i].address, list.cidrs[i].address, sizeof(list.cidrs[i].address)) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fl_span text = fl_span_make(data, size);
    if (size > 0 && data[0] == 'P')
        check_ports(fl_span_from(text, 1));
    else if (size > 0 && data[0] == 'U')
        check_uids(fl_span_from(text, 1));
    else if (size > 0 && data[0] == 'I')
        check_interfaces(fl_span_from(text, 1));
    else
        check_cidrs(text);
    return 0;
}
