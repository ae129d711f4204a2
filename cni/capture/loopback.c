#include "cni/capture/loopback.h"

#include "cni/capture/attribute.h"
#include "common/mesh/port.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/ipv6.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

#define LOOPBACK_IFINDEX 1 /* lo is the first device of every netns */

struct request { /* room for the header, the protocol's header and the few attributes used here */
    _Alignas(struct nlmsghdr) char bytes[256];
};

static struct nlmsghdr *link_request(struct request *request, uint16_t type, unsigned flags, unsigned change)
{
    struct nlmsghdr *header = mnl_nlmsg_put_header(request->bytes);
    header->nlmsg_type = type;
    header->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
    struct ifinfomsg *link = mnl_nlmsg_put_extra_header(header, sizeof(*link));
    link->ifi_family = AF_UNSPEC;
    link->ifi_index = LOOPBACK_IFINDEX;
    link->ifi_flags = flags;
    link->ifi_change = change;
    return header;
}

static struct nlmsghdr *address_request(struct request *request, uint16_t type, uint16_t flags)
{
    uint8_t address[16] = {0};
    struct nlmsghdr *header = mnl_nlmsg_put_header(request->bytes);
    struct cni_message message = {.header = header, .size = sizeof(request->bytes)};
    header->nlmsg_type = type;
    header->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags;
    struct ifaddrmsg *body = mnl_nlmsg_put_extra_header(header, sizeof(*body));
    body->ifa_family = AF_INET6;
    body->ifa_prefixlen = 128;
    body->ifa_index = LOOPBACK_IFINDEX;
    inet_pton(AF_INET6, FL_PASSTHROUGH_IPV6, address);
    cni_message_put(&message, IFA_LOCAL, address, sizeof(address));
    cni_message_put(&message, IFA_ADDRESS, address, sizeof(address));
    if (type == RTM_NEWADDR) {
        /* Never preferred: an address to bind to, not one that the kernel chooses as a source. */
        const struct ifa_cacheinfo lifetime = {.ifa_prefered = 0, .ifa_valid = UINT32_MAX};
        cni_message_put(&message, IFA_CACHEINFO, &lifetime, sizeof(lifetime));
    }
    return header;
}

/* IPv6 of the link stands in IFLA_AF_SPEC, AF_INET6; absent where the kernel has none. */
static bool has_ipv6(const struct nlattr *af_spec)
{
    const struct nlattr *families[AF_INET6 + 1], *found[IFLA_INET6_CONF + 1];
    int32_t disabled = 1;
    cni_attributes_of_nest(af_spec, families, FL_COUNT(families));
    cni_attributes_of_nest(families[AF_INET6], found, FL_COUNT(found));
    struct fl_span settings = cni_attribute_bytes(found[IFLA_INET6_CONF]);
    if (settings.len >= (DEVCONF_DISABLE_IPV6 + 1) * sizeof(disabled))
        memcpy(&disabled, settings.data + DEVCONF_DISABLE_IPV6 * sizeof(disabled), sizeof(disabled));
    return disabled == 0;
}

static void read_link(const struct nlmsghdr *message, void *context)
{
    const struct nlattr *found[IFLA_AF_SPEC + 1];
    struct cni_loopback *state = context;
    struct ifinfomsg link;
    if (message->nlmsg_type != RTM_NEWLINK || message->nlmsg_len < sizeof(struct nlmsghdr) + sizeof(link))
        return;
    memcpy(&link, (const char *)message + sizeof(struct nlmsghdr), sizeof(link));
    cni_attributes_of_message(message, sizeof(link), found, FL_COUNT(found));
    state->up = (link.ifi_flags & IFF_UP) != 0;
    state->ipv6 = has_ipv6(found[IFLA_AF_SPEC]);
}

int cni_loopback_read(struct cni_netlink *route, struct cni_loopback *ret_state, struct fl_err *err)
{
    struct request request;
    struct fl_err failure;
    struct cni_loopback state = {0};
    int result = cni_netlink_ask(route, link_request(&request, RTM_GETLINK, 0, 0), read_link, &state, &failure);
    if (result == 0 && state.ipv6) {
        result = cni_netlink_ask(route, address_request(&request, RTM_GETADDR, 0), NULL, NULL, &failure);
        state.address = result == 0;
        if (result == -EADDRNOTAVAIL)
            result = 0;
    }
    if (result < 0)
        fl_err_set(err, result, "look at lo: %s", failure.text);
    if (result == 0)
        *ret_state = state;
    return result;
}

static void read_any_link(const struct nlmsghdr *message, void *context)
{
    struct cni_loopback state = {0};
    bool *ipv6 = context;
    read_link(message, &state);
    *ipv6 |= state.ipv6;
}

int cni_loopback_look_beside(struct cni_netlink *route, bool *ret_ipv6, struct fl_err *err)
{
    struct request request;
    struct fl_err failure;
    bool ipv6 = false;
    struct nlmsghdr *header = link_request(&request, RTM_GETLINK, 0, 0);
    header->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    int result = cni_netlink_ask(route, header, read_any_link, &ipv6, &failure);
    if (result < 0)
        fl_err_set(err, result, "look at the interfaces: %s", failure.text);
    if (result == 0)
        *ret_ipv6 = ipv6;
    return result;
}

static int set_up(struct cni_netlink *route, bool up, struct fl_err *err)
{
    struct request request;
    struct nlmsghdr *message = link_request(&request, RTM_NEWLINK, up ? IFF_UP : 0, IFF_UP);
    int result = cni_netlink_ask(route, message, NULL, NULL, err);
    if (result < 0)
        fl_err_prefix(err, "bring lo %s", up ? "up" : "down");
    return result;
}

static int add_address(struct cni_netlink *route, struct fl_err *err)
{
    struct request request;
    struct nlmsghdr *message = address_request(&request, RTM_NEWADDR, NLM_F_CREATE);
    int result = cni_netlink_ask(route, message, NULL, NULL, err);
    if (result < 0)
        fl_err_prefix(err, "add " FL_PASSTHROUGH_IPV6 " to lo");
    return result;
}

int cni_loopback_prepare(struct cni_netlink *route, bool address, struct fl_err *err)
{
    struct cni_loopback before;
    int result = cni_loopback_read(route, &before, err);
    if (result == 0 && !before.up)
        result = set_up(route, true, err);
    if (result == 0 && address && before.ipv6 && !before.address) {
        result = add_address(route, err);
        if (result != 0 && !before.up)
            (void)!set_up(route, false, NULL);
    }
    return result;
}

int cni_loopback_remove_address(struct cni_netlink *route, struct fl_err *err)
{
    struct request request;
    struct fl_err failure;
    int result = cni_netlink_ask(route, address_request(&request, RTM_DELADDR, 0), NULL, NULL, &failure);
    if (result == -EADDRNOTAVAIL || result == -EOPNOTSUPP || result == -EAFNOSUPPORT || result == -ENODEV)
        return 0;
    if (result < 0)
        fl_err_set(err, result, "remove " FL_PASSTHROUGH_IPV6 " from lo: %s", failure.text);
    return result;
}
