#include "cni/capture/flow.h"

#include "cni/capture/attribute.h"
#include "common/base/cleanup.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <sys/socket.h>

static bool read_bytes(const struct nlattr *attribute, void *target, size_t size)
{
    struct fl_span bytes = cni_attribute_bytes(attribute);
    if (bytes.len != size)
        return false;
    memcpy(target, bytes.data, size);
    return true;
}

static bool read_port(const struct nlattr *attribute, uint16_t *ret_port)
{
    if (!read_bytes(attribute, ret_port, sizeof(*ret_port)))
        return false;
    *ret_port = ntohs(*ret_port);
    return true;
}

static bool read_way(const struct nlattr *tuple, int family, struct cni_flow_way *way, uint8_t *ret_protocol)
{
    const struct nlattr *parts[CTA_TUPLE_MAX + 1], *ip[CTA_IP_MAX + 1], *transport[CTA_PROTO_MAX + 1];
    bool ipv4 = family == AF_INET;
    size_t size = ipv4 ? 4 : 16;
    *way = (struct cni_flow_way){0};
    cni_attributes_of_nest(tuple, parts, FL_COUNT(parts));
    cni_attributes_of_nest(parts[CTA_TUPLE_IP], ip, FL_COUNT(ip));
    cni_attributes_of_nest(parts[CTA_TUPLE_PROTO], transport, FL_COUNT(transport));
    return read_bytes(ip[ipv4 ? CTA_IP_V4_SRC : CTA_IP_V6_SRC], way->source, size) &&
           read_bytes(ip[ipv4 ? CTA_IP_V4_DST : CTA_IP_V6_DST], way->destination, size) &&
           read_bytes(transport[CTA_PROTO_NUM], ret_protocol, 1) &&
           read_port(transport[CTA_PROTO_SRC_PORT], &way->source_port) &&
           read_port(transport[CTA_PROTO_DST_PORT], &way->destination_port);
}

bool cni_flow_read(const struct nlmsghdr *message, struct cni_flow *ret_flow)
{
    const struct nlattr *found[CTA_TUPLE_REPLY + 1];
    struct nfgenmsg head;
    struct cni_flow flow;
    uint8_t protocol;
    if (NFNL_SUBSYS_ID(message->nlmsg_type) != NFNL_SUBSYS_CTNETLINK ||
        message->nlmsg_len < sizeof(*message) + sizeof(head))
        return false;
    memcpy(&head, (const char *)message + sizeof(*message), sizeof(head));
    if (head.nfgen_family != AF_INET && head.nfgen_family != AF_INET6)
        return false;
    flow.family = head.nfgen_family;
    cni_attributes_of_message(message, sizeof(head), found, FL_COUNT(found));
    if (!read_way(found[CTA_TUPLE_ORIG], flow.family, &flow.original, &flow.protocol) ||
        !read_way(found[CTA_TUPLE_REPLY], flow.family, &flow.reply, &protocol) || protocol != flow.protocol)
        return false;
    *ret_flow = flow;
    return true;
}

struct nlmsghdr *cni_flow_request(void *buffer)
{
    struct nlmsghdr *header = mnl_nlmsg_put_header(buffer);
    header->nlmsg_type = (NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_GET_STATS;
    header->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
    struct nfgenmsg *head = mnl_nlmsg_put_extra_header(header, sizeof(*head));
    *head = (struct nfgenmsg){.nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0};
    return header;
}
