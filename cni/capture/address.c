#include "cni/capture/address.h"

#include "cni/capture/attribute.h"
#include "cni/capture/netlink.h"
#include "cni/capture/netns.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#define ANSWERS_MAX (256u << 10)
#define TRIES_MAX   8 /* while others keep changing the addresses */

/* --- text --- */

/* ::ffff:0:0/96: the kernel has these addresses as IPv4. */
static void unmap(struct fl_cidr *cidr)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    struct fl_cidr ipv4 = {.family = AF_INET, .prefix = 32};
    if (cidr->family != AF_INET6 || memcmp(cidr->address, mapped, sizeof(mapped)) != 0)
        return;
    memcpy(ipv4.address, cidr->address + sizeof(mapped), 4);
    *cidr = ipv4;
}

int cni_address_parse(struct fl_span text, struct fl_cidr *ret_address)
{
    struct fl_cidr address;
    size_t slash = fl_span_find(text, '/');
    uint64_t prefix = 0;
    if (fl_cidr_parse_address(fl_span_make(text.data, slash), &address) < 0)
        return -EINVAL;
    if (slash < text.len && !fl_span_to_u64(fl_span_from(text, slash + 1), address.prefix, &prefix))
        return -EINVAL;
    unmap(&address);
    *ret_address = address;
    return 0;
}

/* --- the kernel's answer --- */

struct search {
    const struct fl_cidr *addresses;
    size_t count;
    bool found;
};

static bool same_bits(const uint8_t *a, const uint8_t *b, size_t bits)
{
    size_t whole = bits / 8, rest = bits % 8;
    return memcmp(a, b, whole) == 0 && (rest == 0 || (uint8_t)(a[whole] ^ b[whole]) >> (8 - rest) == 0);
}

static bool is_sought(const struct search *search, int family, const uint8_t *address)
{
    for (size_t i = 0; i < search->count; i++) {
        const struct fl_cidr *sought = &search->addresses[i];
        if (sought->family == family && same_bits(sought->address, address, sought->prefix))
            return true;
    }
    return false;
}

/* Of a point-to-point link IFA_ADDRESS is the other end's; IPv6 has IFA_LOCAL there alone. */
static void read_message(const struct nlmsghdr *message, void *context)
{
    const struct nlattr *found[IFA_LOCAL + 1];
    struct search *search = context;
    struct ifaddrmsg body;
    if (message->nlmsg_type != RTM_NEWADDR || message->nlmsg_len < sizeof(struct nlmsghdr) + sizeof(body))
        return;
    memcpy(&body, (const char *)message + sizeof(struct nlmsghdr), sizeof(body));
    cni_attributes_of_message(message, sizeof(body), found, FL_COUNT(found));
    const struct nlattr *local = found[IFA_LOCAL] != NULL ? found[IFA_LOCAL] : found[IFA_ADDRESS];
    struct fl_span address = cni_attribute_bytes(local);
    if ((body.ifa_family == AF_INET && address.len == 4) || (body.ifa_family == AF_INET6 && address.len == 16))
        search->found |= is_sought(search, body.ifa_family, (const uint8_t *)address.data);
}

static int search_family(struct cni_netlink *route, uint8_t family, struct search *search, struct fl_err *err)
{
    _Alignas(struct nlmsghdr) char bytes[NLMSG_SPACE(sizeof(struct ifaddrmsg))];
    int result = CNI_NETLINK_AGAIN;
    for (int i = 0; result == CNI_NETLINK_AGAIN && !search->found && i < TRIES_MAX; i++) {
        struct nlmsghdr *request = mnl_nlmsg_put_header(bytes);
        request->nlmsg_type = RTM_GETADDR;
        request->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
        struct ifaddrmsg *body = mnl_nlmsg_put_extra_header(request, sizeof(*body));
        body->ifa_family = family;
        result = cni_netlink_ask(route, request, read_message, search, err);
    }
    if (search->found)
        return 0;
    if (result == CNI_NETLINK_AGAIN)
        return fl_err_set(err, -EAGAIN, "its addresses kept changing");
    return result;
}

static bool asks_for(const struct search *search, int family)
{
    for (size_t i = 0; i < search->count; i++) {
        if (search->addresses[i].family == family)
            return true;
    }
    return false;
}

static int search_all(struct cni_netlink *route, struct search *search, struct fl_err *err)
{
    static const uint8_t families[] = {AF_INET, AF_INET6};
    int result = 0;
    for (size_t i = 0; result == 0 && !search->found && i < FL_COUNT(families); i++) {
        if (asks_for(search, families[i]))
            result = search_family(route, families[i], search, err);
    }
    return result;
}

static int open_there(int netns, struct cni_netlink *ret_route, struct fl_err *err)
{
    FL_CLEANUP(fl_cleanup_close) int back = -1;
    struct cni_netlink route = {0};
    int result = cni_netns_enter(netns, &back, err);
    if (result < 0)
        return result;
    result = cni_netlink_open(&route, NETLINK_ROUTE, err);
    int left = cni_netns_leave(back, result < 0 ? NULL : err);
    if (result == 0)
        result = left;
    if (result == 0)
        *ret_route = route;
    else
        cni_netlink_close(&route);
    return result;
}

int cni_netns_has_address(int netns, const struct fl_cidr *addresses, size_t count, bool *ret_has, struct fl_err *err)
{
    struct search search = {.addresses = addresses, .count = count};
    struct cni_netlink route = {0};
    int result = count > 0 ? open_there(netns, &route, err) : 0;
    if (result == 0 && count > 0) {
        route.answers_max = ANSWERS_MAX;
        result = search_all(&route, &search, err);
        cni_netlink_close(&route);
    }
    if (result < 0) {
        fl_err_prefix(err, "look for its addresses");
        return result;
    }
    *ret_has = search.found;
    return 0;
}
