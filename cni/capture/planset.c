/* The sets of a plan: what the capture spec's lists come to. */
#include "cni/capture/plan.h"

#include "common/mesh/lists.h"
#include "common/mesh/port.h"

#include <arpa/inet.h>

/* Every port that is ours by fl_port_is_ours() lies in this window (the unit test looks at all 65,535). */
#define OWN_PORTS_FIRST 15000
#define OWN_PORTS_LAST  15099

static const struct {
    const char *name;
    enum cni_set_kind kind;
} sets[CNI_SETS] = {
    [CNI_SET_NONE] = {"", CNI_SET_OF_PORTS},
    [CNI_SET_OWN_PORTS] = {"own_ports", CNI_SET_OF_PORTS},
    [CNI_SET_INBOUND_EXCLUDE_PORTS] = {"inbound_exclude_ports", CNI_SET_OF_PORTS},
    [CNI_SET_INBOUND_INCLUDE_PORTS] = {"inbound_include_ports", CNI_SET_OF_PORTS},
    [CNI_SET_OUTBOUND_EXCLUDE_PORTS] = {"outbound_exclude_ports", CNI_SET_OF_PORTS},
    [CNI_SET_OUTBOUND_EXCLUDE_IPV4] = {"outbound_exclude_ipv4", CNI_SET_OF_IPV4},
    [CNI_SET_OUTBOUND_EXCLUDE_IPV6] = {"outbound_exclude_ipv6", CNI_SET_OF_IPV6},
    [CNI_SET_OUTBOUND_INCLUDE_PORTS] = {"outbound_include_ports", CNI_SET_OF_PORTS},
    [CNI_SET_OUTBOUND_INCLUDE_IPV4] = {"outbound_include_ipv4", CNI_SET_OF_IPV4},
    [CNI_SET_OUTBOUND_INCLUDE_IPV6] = {"outbound_include_ipv6", CNI_SET_OF_IPV6},
    [CNI_SET_OUTBOUND_EXCLUDE_UIDS] = {"outbound_exclude_uids", CNI_SET_OF_UIDS},
    [CNI_SET_EXCLUDE_INTERFACES] = {"exclude_interfaces", CNI_SET_OF_INTERFACES},
};

const char *cni_set_name(enum cni_set_id id)
{
    return sets[id].name;
}

enum cni_set_kind cni_set_kind(enum cni_set_id id)
{
    return sets[id].kind;
}

bool cni_set_is_interval(enum cni_set_id id)
{
    return sets[id].kind != CNI_SET_OF_INTERFACES;
}

bool cni_range_end(const struct cni_range *range, size_t width, uint8_t ret_end[16])
{
    memcpy(ret_end, range->last, 16);
    for (size_t i = width; i > 0; i--) {
        if (++ret_end[i - 1] != 0)
            return true;
    }
    return false;
}

/* Ranges come in ascending order; one that touches its predecessor extends it. */
static void append(struct cni_set *set, const struct cni_range *range)
{
    struct cni_range *last = set->count > 0 ? &set->ranges[set->count - 1] : NULL;
    if (last != NULL) {
        uint8_t next[16];
        if (cni_range_end(last, set->width, next) && memcmp(next, range->first, set->width) == 0) {
            memcpy(last->last, range->last, sizeof(last->last));
            return;
        }
    }
    if (set->count < CNI_SET_RANGES)
        set->ranges[set->count++] = *range;
}

static void fill_ports(struct cni_set *set, const struct fl_port_list *list)
{
    set->width = sizeof(uint16_t);
    for (size_t i = 0; !list->all && i < list->count; i++) {
        uint16_t first = htons((uint16_t)list->ranges[i].first), last = htons((uint16_t)list->ranges[i].last);
        struct cni_range range = {{0}, {0}};
        memcpy(range.first, &first, sizeof(first));
        memcpy(range.last, &last, sizeof(last));
        append(set, &range);
    }
}

static void fill_uids(struct cni_set *set, const struct fl_uid_list *list)
{
    set->width = sizeof(uint32_t);
    for (size_t i = 0; i < list->count; i++) {
        uint32_t first = htonl(list->ranges[i].first), last = htonl(list->ranges[i].last);
        struct cni_range range = {{0}, {0}};
        memcpy(range.first, &first, sizeof(first));
        memcpy(range.last, &last, sizeof(last));
        append(set, &range);
    }
}

static void fill_interfaces(struct cni_set *set, const struct fl_interface_list *list)
{
    set->width = FL_INTERFACE_NAME_MAX;
    set->count = list->count;
    for (size_t i = 0; i < list->count; i++) {
        memcpy(set->ranges[i].first, list->names[i], FL_INTERFACE_NAME_MAX);
        memcpy(set->ranges[i].last, list->names[i], FL_INTERFACE_NAME_MAX);
    }
}

static void fill_cidrs(struct cni_set *set, const struct fl_cidr_list *list, int family)
{
    set->width = family == AF_INET ? 4 : 16;
    for (size_t i = 0; !list->all && i < list->count; i++) {
        const struct fl_cidr *cidr = &list->cidrs[i];
        if (cidr->family != family)
            continue;
        struct cni_range range = {{0}, {0}};
        for (size_t byte = 0; byte < set->width; byte++) {
            unsigned fixed = cidr->prefix > 8 * byte ? cidr->prefix - 8 * (unsigned)byte : 0;
            unsigned host = fixed >= 8 ? 0 : 0xffu >> fixed;
            range.first[byte] = cidr->address[byte];
            range.last[byte] = (uint8_t)(cidr->address[byte] | host);
        }
        append(set, &range);
    }
}

/* The ports that the mesh has everywhere, and those that this spec names. */
static void fill_own_ports(struct cni_set *set, const struct fl_capture *capture)
{
    const uint16_t configured[] = {capture->inbound_port, capture->outbound_port, capture->dns_port};
    struct fl_port_list own = {0};
    for (uint16_t port = OWN_PORTS_FIRST; port <= OWN_PORTS_LAST; port++) {
        if (fl_port_is_ours(port))
            (void)!fl_ranges_insert(own.ranges, &own.count, (struct fl_range){port, port});
    }
    for (size_t i = 0; i < (capture->dns ? 3 : 2); i++)
        (void)!fl_ranges_insert(own.ranges, &own.count, (struct fl_range){configured[i], configured[i]});
    fill_ports(set, &own);
}

void cni_plan_fill_sets(struct cni_plan *plan, const struct fl_capture *capture)
{
    struct cni_set *set = plan->sets;
    fill_own_ports(&set[CNI_SET_OWN_PORTS], capture);
    fill_ports(&set[CNI_SET_INBOUND_EXCLUDE_PORTS], &capture->inbound_exclude);
    fill_ports(&set[CNI_SET_INBOUND_INCLUDE_PORTS], &capture->inbound_include);
    fill_ports(&set[CNI_SET_OUTBOUND_EXCLUDE_PORTS], &capture->outbound_exclude_ports);
    fill_cidrs(&set[CNI_SET_OUTBOUND_EXCLUDE_IPV4], &capture->outbound_exclude_cidrs, AF_INET);
    fill_cidrs(&set[CNI_SET_OUTBOUND_EXCLUDE_IPV6], &capture->outbound_exclude_cidrs, AF_INET6);
    fill_ports(&set[CNI_SET_OUTBOUND_INCLUDE_PORTS], &capture->outbound_include_ports);
    fill_cidrs(&set[CNI_SET_OUTBOUND_INCLUDE_IPV4], &capture->outbound_include_cidrs, AF_INET);
    fill_cidrs(&set[CNI_SET_OUTBOUND_INCLUDE_IPV6], &capture->outbound_include_cidrs, AF_INET6);
    fill_uids(&set[CNI_SET_OUTBOUND_EXCLUDE_UIDS], &capture->outbound_exclude_uids);
    fill_interfaces(&set[CNI_SET_EXCLUDE_INTERFACES], &capture->exclude_interfaces);
}
