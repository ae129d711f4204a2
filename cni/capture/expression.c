#include "cni/capture/expression.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/nf_tables.h>
#include <netinet/in.h>
#include <netinet/ip6.h>

/* lo is the first device of every netns: LOOPBACK_IFINDEX in the kernel. */
#define LOOPBACK_IFINDEX 1

#define IPV4_SOURCE      12
#define IPV4_DESTINATION 16
#define IPV6_SOURCE      8
#define IPV6_DESTINATION 24
#define PORT_SOURCE      0 /* of TCP and of UDP */
#define PORT_DESTINATION 2

/* NF_CT_STATE_INVALID_BIT, which is not in the kernel's headers for us. */
#define STATE_INVALID 1

/* --- rule → expressions --- */

static struct cni_expression *append(struct cni_expressions *list, enum cni_expression_kind kind)
{
    struct cni_expression *expression = &list->items[list->count++];
    expression->kind = kind;
    return expression;
}

static void append_data(struct cni_expressions *list, enum cni_expression_kind kind, uint32_t key, const void *data,
                        size_t size)
{
    struct cni_expression *expression = append(list, kind);
    expression->key = key;
    expression->length = (uint32_t)size;
    memcpy(expression->data, data, size);
}

static void append_meta(struct cni_expressions *list, uint32_t key, const void *value, size_t size)
{
    append(list, CNI_EXPRESSION_META)->key = key;
    append_data(list, CNI_EXPRESSION_COMPARE, NFT_CMP_EQ, value, size);
}

static void append_load(struct cni_expressions *list, uint32_t base, uint32_t offset, uint32_t length)
{
    struct cni_expression *expression = append(list, CNI_EXPRESSION_PAYLOAD);
    expression->key = base;
    expression->offset = offset;
    expression->length = length;
}

static void append_lookup(struct cni_expressions *list, enum cni_set_id set, bool inverted)
{
    struct cni_expression *expression = append(list, CNI_EXPRESSION_LOOKUP);
    expression->set = set;
    expression->key = inverted ? NFT_LOOKUP_F_INV : 0;
}

static void append_family(struct cni_expressions *list, int family)
{
    uint8_t protocol = family == AF_INET ? NFPROTO_IPV4 : NFPROTO_IPV6;
    append_meta(list, NFT_META_NFPROTO, &protocol, sizeof(protocol));
}

static void append_address(struct cni_expressions *list, const struct cni_address_match *match, uint32_t offset)
{
    if (!match->present)
        return;
    uint32_t bytes = match->cidr.prefix / 8;
    append_load(list, NFT_PAYLOAD_NETWORK_HEADER, offset, bytes);
    append_data(list, CNI_EXPRESSION_COMPARE, match->negated ? NFT_CMP_NEQ : NFT_CMP_EQ, match->cidr.address, bytes);
}

static void append_addresses(struct cni_expressions *list, const struct cni_rule *rule)
{
    bool ipv4 = rule->family == AF_INET;
    if (rule->family == AF_UNSPEC)
        return;
    append_family(list, rule->family);
    append_address(list, &rule->source, ipv4 ? IPV4_SOURCE : IPV6_SOURCE);
    append_address(list, &rule->destination, ipv4 ? IPV4_DESTINATION : IPV6_DESTINATION);
    if (rule->destination_set != CNI_SET_NONE) {
        append_load(list, NFT_PAYLOAD_NETWORK_HEADER, ipv4 ? IPV4_DESTINATION : IPV6_DESTINATION, ipv4 ? 4 : 16);
        append_lookup(list, rule->destination_set, false);
    }
}

static void append_port(struct cni_expressions *list, uint16_t port, uint32_t offset)
{
    uint16_t network = htons(port);
    if (port == 0)
        return;
    append_load(list, NFT_PAYLOAD_TRANSPORT_HEADER, offset, sizeof(network));
    append_data(list, CNI_EXPRESSION_COMPARE, NFT_CMP_EQ, &network, sizeof(network));
}

static void append_port_set(struct cni_expressions *list, enum cni_set_id set, bool inverted)
{
    if (set == CNI_SET_NONE)
        return;
    append_load(list, NFT_PAYLOAD_TRANSPORT_HEADER, PORT_DESTINATION, sizeof(uint16_t));
    append_lookup(list, set, inverted);
}

/* Each match loads the port anew, as nft writes it: a listing of shared loads would not read as plain words. */
static void append_ports(struct cni_expressions *list, const struct cni_rule *rule)
{
    append_port(list, rule->source_port, PORT_SOURCE);
    append_port(list, rule->port, PORT_DESTINATION);
    append_port_set(list, rule->port_set, false);
    append_port_set(list, rule->port_set_not, true);
}

static void append_interface(struct cni_expressions *list, const struct cni_rule *rule)
{
    uint32_t lo = LOOPBACK_IFINDEX;
    bool inward = rule->chain == CNI_CHAIN_PREROUTING || rule->chain == CNI_CHAIN_DROP_INVALID;
    if (rule->loopback)
        append_meta(list, NFT_META_OIF, &lo, sizeof(lo));
    if (rule->interface_set != CNI_SET_NONE) {
        append(list, CNI_EXPRESSION_META)->key = inward ? NFT_META_IIFNAME : NFT_META_OIFNAME;
        append_lookup(list, rule->interface_set, false);
    }
}

/* Ranges are looked up in network order, whatever the order of what they are about: nft does so, too. */
static void append_sender(struct cni_expressions *list, const struct cni_plan *plan, const struct cni_rule *rule)
{
    if (rule->proxy) {
        append_meta(list, NFT_META_SKUID, &plan->uid, sizeof(plan->uid));
        append_meta(list, NFT_META_SKGID, &plan->gid, sizeof(plan->gid));
    }
    if (rule->uid_set != CNI_SET_NONE) {
        append(list, CNI_EXPRESSION_META)->key = NFT_META_SKUID;
        struct cni_expression *order = append(list, CNI_EXPRESSION_BYTE_ORDER);
        order->key = NFT_BYTEORDER_HTON;
        order->length = sizeof(uint32_t);
        append_lookup(list, rule->uid_set, false);
    }
}

static void append_invalid(struct cni_expressions *list)
{
    const uint32_t mask = STATE_INVALID, zero = 0;
    append(list, CNI_EXPRESSION_CONNECTION)->key = NFT_CT_STATE;
    append_data(list, CNI_EXPRESSION_AND, 0, &mask, sizeof(mask));
    append_data(list, CNI_EXPRESSION_COMPARE, NFT_CMP_NEQ, &zero, sizeof(zero));
}

static void append_verdict(struct cni_expressions *list, const struct cni_rule *rule)
{
    uint16_t port = htons(rule->to_port), zone = rule->to_port;
    switch (rule->verdict) {
    case CNI_REDIRECT:
        append_data(list, CNI_EXPRESSION_VALUE, 0, &port, sizeof(port));
        append(list, CNI_EXPRESSION_REDIRECT);
        return;
    case CNI_ZONE:
        append_data(list, CNI_EXPRESSION_VALUE, 0, &zone, sizeof(zone));
        append(list, CNI_EXPRESSION_SET_CONNECTION)->key = NFT_CT_ZONE;
        append(list, CNI_EXPRESSION_VERDICT)->key = NF_ACCEPT;
        return;
    case CNI_DROP:
        append(list, CNI_EXPRESSION_VERDICT)->key = NF_DROP;
        return;
    case CNI_ACCEPT:
    default:
        append(list, CNI_EXPRESSION_VERDICT)->key = NF_ACCEPT;
        return;
    }
}

void cni_expressions_of(const struct cni_plan *plan, const struct cni_rule *rule, struct cni_expressions *ret_list)
{
    memset(ret_list, 0, sizeof(*ret_list));
    append_interface(ret_list, rule);
    append_sender(ret_list, plan, rule);
    append_addresses(ret_list, rule);
    if (rule->protocol != 0)
        append_meta(ret_list, NFT_META_L4PROTO, &rule->protocol, sizeof(rule->protocol));
    append_ports(ret_list, rule);
    if (rule->invalid)
        append_invalid(ret_list);
    append_verdict(ret_list, rule);
}

/* --- expressions → attributes --- */

static void write_data(struct cni_message *message, uint16_t type, const struct cni_expression *expression)
{
    struct nlattr *nest = cni_message_enter(message, type);
    cni_message_put(message, NFTA_DATA_VALUE, expression->data, expression->length);
    cni_message_leave(message, nest);
}

static void write_meta(struct cni_message *message, const struct cni_expression *expression)
{
    cni_message_put_u32(message, NFTA_META_KEY, expression->key);
    cni_message_put_u32(message, NFTA_META_DREG, NFT_REG_1);
}

static void write_payload(struct cni_message *message, const struct cni_expression *expression)
{
    cni_message_put_u32(message, NFTA_PAYLOAD_DREG, NFT_REG_1);
    cni_message_put_u32(message, NFTA_PAYLOAD_BASE, expression->key);
    cni_message_put_u32(message, NFTA_PAYLOAD_OFFSET, expression->offset);
    cni_message_put_u32(message, NFTA_PAYLOAD_LEN, expression->length);
}

static void write_compare(struct cni_message *message, const struct cni_expression *expression)
{
    cni_message_put_u32(message, NFTA_CMP_SREG, NFT_REG_1);
    cni_message_put_u32(message, NFTA_CMP_OP, expression->key);
    write_data(message, NFTA_CMP_DATA, expression);
}

static void write_lookup(struct cni_message *message, const struct cni_expression *expression)
{
    cni_message_put_text(message, NFTA_LOOKUP_SET, cni_set_name((enum cni_set_id)expression->set));
    cni_message_put_u32(message, NFTA_LOOKUP_SREG, NFT_REG_1);
    if (expression->key != 0)
        cni_message_put_u32(message, NFTA_LOOKUP_FLAGS, expression->key);
}

static void write_value(struct cni_message *message, const struct cni_expression *expression)
{
    cni_message_put_u32(message, NFTA_IMMEDIATE_DREG, NFT_REG_1);
    write_data(message, NFTA_IMMEDIATE_DATA, expression);
}

static void write_verdict(struct cni_message *message, const struct cni_expression *expression)
{
    cni_message_put_u32(message, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
    struct nlattr *data = cni_message_enter(message, NFTA_IMMEDIATE_DATA);
    struct nlattr *verdict = cni_message_enter(message, NFTA_DATA_VERDICT);
    cni_message_put_u32(message, NFTA_VERDICT_CODE, expression->key);
    cni_message_leave(message, verdict);
    cni_message_leave(message, data);
}

static void write_redirect(struct cni_message *message, const struct cni_expression *expression)
{
    (void)expression;
    cni_message_put_u32(message, NFTA_REDIR_REG_PROTO_MIN, NFT_REG_1);
    cni_message_put_u32(message, NFTA_REDIR_REG_PROTO_MAX, NFT_REG_1);
    cni_message_put_u32(message, NFTA_REDIR_FLAGS, NF_NAT_RANGE_PROTO_SPECIFIED);
}

static void write_connection(struct cni_message *message, const struct cni_expression *expression)
{
    cni_message_put_u32(message, NFTA_CT_KEY, expression->key);
    cni_message_put_u32(message, NFTA_CT_DREG, NFT_REG_1);
}

static void write_set_connection(struct cni_message *message, const struct cni_expression *expression)
{
    cni_message_put_u32(message, NFTA_CT_KEY, expression->key);
    cni_message_put_u32(message, NFTA_CT_SREG, NFT_REG_1);
}

static void write_and(struct cni_message *message, const struct cni_expression *expression)
{
    const struct cni_expression nothing = {.length = expression->length};
    cni_message_put_u32(message, NFTA_BITWISE_SREG, NFT_REG_1);
    cni_message_put_u32(message, NFTA_BITWISE_DREG, NFT_REG_1);
    cni_message_put_u32(message, NFTA_BITWISE_LEN, expression->length);
    write_data(message, NFTA_BITWISE_MASK, expression);
    write_data(message, NFTA_BITWISE_XOR, &nothing);
}

static void write_byte_order(struct cni_message *message, const struct cni_expression *expression)
{
    cni_message_put_u32(message, NFTA_BYTEORDER_SREG, NFT_REG_1);
    cni_message_put_u32(message, NFTA_BYTEORDER_DREG, NFT_REG_1);
    cni_message_put_u32(message, NFTA_BYTEORDER_OP, expression->key);
    cni_message_put_u32(message, NFTA_BYTEORDER_LEN, expression->length);
    cni_message_put_u32(message, NFTA_BYTEORDER_SIZE, expression->length);
}

/* --- attributes → expressions --- */

static bool is_register(const struct nlattr *attribute, uint32_t expected)
{
    uint32_t number;
    return cni_attribute_u32(attribute, &number) && number == expected;
}

static bool read_data(const struct nlattr *nest, struct cni_expression *expression)
{
    const struct nlattr *data[NFTA_DATA_MAX + 1];
    cni_attributes_of_nest(nest, data, FL_COUNT(data));
    struct fl_span bytes = cni_attribute_bytes(data[NFTA_DATA_VALUE]);
    if (bytes.len == 0 || bytes.len > sizeof(expression->data))
        return false;
    expression->length = (uint32_t)bytes.len;
    memcpy(expression->data, bytes.data, bytes.len);
    return true;
}

static bool read_meta(const struct nlattr *nest, struct cni_expression *expression)
{
    const struct nlattr *found[NFTA_META_MAX + 1];
    cni_attributes_of_nest(nest, found, FL_COUNT(found));
    return is_register(found[NFTA_META_DREG], NFT_REG_1) && cni_attribute_u32(found[NFTA_META_KEY], &expression->key);
}

static bool read_payload(const struct nlattr *nest, struct cni_expression *expression)
{
    const struct nlattr *found[NFTA_PAYLOAD_MAX + 1];
    cni_attributes_of_nest(nest, found, FL_COUNT(found));
    return is_register(found[NFTA_PAYLOAD_DREG], NFT_REG_1) &&
           cni_attribute_u32(found[NFTA_PAYLOAD_BASE], &expression->key) &&
           cni_attribute_u32(found[NFTA_PAYLOAD_OFFSET], &expression->offset) &&
           cni_attribute_u32(found[NFTA_PAYLOAD_LEN], &expression->length);
}

static bool read_compare(const struct nlattr *nest, struct cni_expression *expression)
{
    const struct nlattr *found[NFTA_CMP_MAX + 1];
    cni_attributes_of_nest(nest, found, FL_COUNT(found));
    return is_register(found[NFTA_CMP_SREG], NFT_REG_1) && cni_attribute_u32(found[NFTA_CMP_OP], &expression->key) &&
           read_data(found[NFTA_CMP_DATA], expression);
}

static bool read_lookup(const struct nlattr *nest, struct cni_expression *expression)
{
    const struct nlattr *found[NFTA_LOOKUP_MAX + 1];
    cni_attributes_of_nest(nest, found, FL_COUNT(found));
    if (!is_register(found[NFTA_LOOKUP_SREG], NFT_REG_1) || found[NFTA_LOOKUP_DREG] != NULL)
        return false;
    if (found[NFTA_LOOKUP_FLAGS] != NULL && !cni_attribute_u32(found[NFTA_LOOKUP_FLAGS], &expression->key))
        return false;
    for (uint32_t id = CNI_SET_NONE + 1; id < CNI_SETS; id++) {
        if (cni_attribute_is(found[NFTA_LOOKUP_SET], cni_set_name((enum cni_set_id)id)))
            expression->set = id;
    }
    return expression->set != CNI_SET_NONE;
}

/* An immediate is a value for register 1, or a verdict; a verdict that names a chain (jump, goto) is none of ours. */
static bool read_immediate(const struct nlattr *nest, struct cni_expression *expression)
{
    const struct nlattr *found[NFTA_IMMEDIATE_MAX + 1], *data[NFTA_DATA_MAX + 1], *verdict[NFTA_VERDICT_MAX + 1];
    cni_attributes_of_nest(nest, found, FL_COUNT(found));
    if (is_register(found[NFTA_IMMEDIATE_DREG], NFT_REG_1))
        return read_data(found[NFTA_IMMEDIATE_DATA], expression);
    cni_attributes_of_nest(found[NFTA_IMMEDIATE_DATA], data, FL_COUNT(data));
    cni_attributes_of_nest(data[NFTA_DATA_VERDICT], verdict, FL_COUNT(verdict));
    expression->kind = CNI_EXPRESSION_VERDICT;
    return is_register(found[NFTA_IMMEDIATE_DREG], NFT_REG_VERDICT) &&
           cni_attribute_u32(verdict[NFTA_VERDICT_CODE], &expression->key) &&
           (expression->key == NF_ACCEPT || expression->key == NF_DROP);
}

static bool read_redirect(const struct nlattr *nest, struct cni_expression *expression)
{
    const struct nlattr *found[NFTA_REDIR_MAX + 1];
    (void)expression;
    cni_attributes_of_nest(nest, found, FL_COUNT(found));
    return is_register(found[NFTA_REDIR_REG_PROTO_MIN], NFT_REG_1) &&
           is_register(found[NFTA_REDIR_REG_PROTO_MAX], NFT_REG_1) &&
           is_register(found[NFTA_REDIR_FLAGS], NF_NAT_RANGE_PROTO_SPECIFIED);
}

/* A load, or a store: which of the two registers there is tells. */
static bool read_connection(const struct nlattr *nest, struct cni_expression *expression)
{
    const struct nlattr *found[NFTA_CT_MAX + 1];
    cni_attributes_of_nest(nest, found, FL_COUNT(found));
    bool stores = found[NFTA_CT_SREG] != NULL;
    expression->kind = stores ? CNI_EXPRESSION_SET_CONNECTION : CNI_EXPRESSION_CONNECTION;
    return stores != (found[NFTA_CT_DREG] != NULL) && found[NFTA_CT_DIRECTION] == NULL &&
           is_register(found[stores ? NFTA_CT_SREG : NFTA_CT_DREG], NFT_REG_1) &&
           cni_attribute_u32(found[NFTA_CT_KEY], &expression->key);
}

/* (register & mask) ^ nothing; kernels from 5.6 on name the operation, 0. */
static bool read_and(const struct nlattr *nest, struct cni_expression *expression)
{
    const struct nlattr *found[NFTA_BITWISE_MAX + 1];
    struct cni_expression other = {0};
    static const uint8_t nothing[sizeof(other.data)];
    uint32_t length = 0, operation = NFT_BITWISE_BOOL;
    cni_attributes_of_nest(nest, found, FL_COUNT(found));
    if (found[NFTA_BITWISE_OP] != NULL && !cni_attribute_u32(found[NFTA_BITWISE_OP], &operation))
        return false;
    return is_register(found[NFTA_BITWISE_SREG], NFT_REG_1) && is_register(found[NFTA_BITWISE_DREG], NFT_REG_1) &&
           operation == NFT_BITWISE_BOOL && cni_attribute_u32(found[NFTA_BITWISE_LEN], &length) &&
           read_data(found[NFTA_BITWISE_MASK], expression) && read_data(found[NFTA_BITWISE_XOR], &other) &&
           expression->length == length && other.length == length && memcmp(other.data, nothing, length) == 0;
}

static bool read_byte_order(const struct nlattr *nest, struct cni_expression *expression)
{
    const struct nlattr *found[NFTA_BYTEORDER_MAX + 1];
    uint32_t size = 0;
    cni_attributes_of_nest(nest, found, FL_COUNT(found));
    return is_register(found[NFTA_BYTEORDER_SREG], NFT_REG_1) && is_register(found[NFTA_BYTEORDER_DREG], NFT_REG_1) &&
           cni_attribute_u32(found[NFTA_BYTEORDER_OP], &expression->key) &&
           cni_attribute_u32(found[NFTA_BYTEORDER_LEN], &expression->length) &&
           cni_attribute_u32(found[NFTA_BYTEORDER_SIZE], &size) && size == expression->length;
}

/* --- both, by table --- */

static const struct expression_type {
    const char *name; /* the kernel's */
    void (*write)(struct cni_message *message, const struct cni_expression *expression);
    bool (*read)(const struct nlattr *nest, struct cni_expression *expression);
} types[] = {
    [CNI_EXPRESSION_UNKNOWN] = {"", NULL, NULL},
    [CNI_EXPRESSION_META] = {"meta", write_meta, read_meta},
    [CNI_EXPRESSION_PAYLOAD] = {"payload", write_payload, read_payload},
    [CNI_EXPRESSION_COMPARE] = {"cmp", write_compare, read_compare},
    [CNI_EXPRESSION_LOOKUP] = {"lookup", write_lookup, read_lookup},
    [CNI_EXPRESSION_VALUE] = {"immediate", write_value, read_immediate},
    [CNI_EXPRESSION_VERDICT] = {"immediate", write_verdict, read_immediate},
    [CNI_EXPRESSION_REDIRECT] = {"redir", write_redirect, read_redirect},
    [CNI_EXPRESSION_CONNECTION] = {"ct", write_connection, read_connection},
    [CNI_EXPRESSION_SET_CONNECTION] = {"ct", write_set_connection, read_connection},
    [CNI_EXPRESSION_AND] = {"bitwise", write_and, read_and},
    [CNI_EXPRESSION_BYTE_ORDER] = {"byteorder", write_byte_order, read_byte_order},
};

void cni_expressions_write(const struct cni_expressions *list, struct cni_message *message)
{
    struct nlattr *all = cni_message_enter(message, NFTA_RULE_EXPRESSIONS);
    for (size_t i = 0; i < list->count; i++) {
        const struct expression_type *type = &types[list->items[i].kind];
        struct nlattr *element = cni_message_enter(message, NFTA_LIST_ELEM);
        cni_message_put_text(message, NFTA_EXPR_NAME, type->name);
        struct nlattr *data = cni_message_enter(message, NFTA_EXPR_DATA);
        type->write(message, &list->items[i]);
        cni_message_leave(message, data);
        cni_message_leave(message, element);
    }
    cni_message_leave(message, all);
}

static void read_expression(const struct nlattr *element, struct cni_expression *expression)
{
    const struct nlattr *found[NFTA_EXPR_MAX + 1];
    cni_attributes_of_nest(element, found, FL_COUNT(found));
    for (uint32_t kind = CNI_EXPRESSION_UNKNOWN + 1; kind < FL_COUNT(types); kind++) {
        if (!cni_attribute_is(found[NFTA_EXPR_NAME], types[kind].name))
            continue;
        expression->kind = kind;
        if (!types[kind].read(found[NFTA_EXPR_DATA], expression))
            expression->kind = CNI_EXPRESSION_UNKNOWN;
        return;
    }
}

void cni_expressions_read(const struct nlattr *expressions, struct cni_expressions *ret_list)
{
    memset(ret_list, 0, sizeof(*ret_list));
    struct cni_attributes rest = cni_attributes_in(expressions);
    for (const struct nlattr *element = cni_attributes_next(&rest); element != NULL;
         element = cni_attributes_next(&rest)) {
        if (ret_list->count == CNI_EXPRESSIONS_MAX) {
            ret_list->items[0].kind = CNI_EXPRESSION_UNKNOWN;
            return;
        }
        read_expression(element, &ret_list->items[ret_list->count++]);
    }
}
