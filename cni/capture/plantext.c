/* A plan as text for people. */
#include "cni/capture/plan.h"

#include <arpa/inet.h>
#include <netinet/in.h>

static int print_value(enum cni_set_kind kind, const uint8_t *value, struct fl_buf *out)
{
    char text[INET6_ADDRSTRLEN] = "";
    uint32_t uid;
    switch (kind) {
    case CNI_SET_OF_PORTS:
        return fl_buf_printf(out, "%u", (unsigned)value[0] << 8 | value[1]);
    case CNI_SET_OF_UIDS:
        memcpy(&uid, value, sizeof(uid));
        return fl_buf_printf(out, "%u", ntohl(uid));
    case CNI_SET_OF_INTERFACES:
        return fl_buf_printf(out, "%.*s", FL_INTERFACE_NAME_MAX, (const char *)value);
    case CNI_SET_OF_IPV4:
    case CNI_SET_OF_IPV6:
    default:
        inet_ntop(kind == CNI_SET_OF_IPV4 ? AF_INET : AF_INET6, value, text, sizeof(text));
        return fl_buf_append_str(out, text);
    }
}

static int print_set(const struct cni_set *set, enum cni_set_kind kind, struct fl_buf *out)
{
    int result = 0;
    for (size_t i = 0; result == 0 && i < set->count; i++) {
        const struct cni_range *range = &set->ranges[i];
        result = fl_buf_append_byte(out, ' ');
        if (result == 0)
            result = print_value(kind, range->first, out);
        if (result == 0 && memcmp(range->first, range->last, set->width) != 0) {
            result = fl_buf_append_byte(out, '-');
            if (result == 0)
                result = print_value(kind, range->last, out);
        }
    }
    return result;
}

static int print_address(const char *name, const struct cni_address_match *match, struct fl_buf *out)
{
    if (!match->present)
        return 0;
    char text[INET6_ADDRSTRLEN] = "";
    inet_ntop(match->cidr.family, match->cidr.address, text, sizeof(text));
    return fl_buf_printf(out, "%s %s%s/%u, ", name, match->negated ? "not " : "", text, match->cidr.prefix);
}

static int print_word(bool there, const char *word, struct fl_buf *out)
{
    return there ? fl_buf_printf(out, "%s, ", word) : 0;
}

static int print_in_set(enum cni_set_id id, const char *words, struct fl_buf *out)
{
    return id != CNI_SET_NONE ? fl_buf_printf(out, "%s%s, ", words, cni_set_name(id)) : 0;
}

static int print_port(uint16_t port, const char *words, struct fl_buf *out)
{
    return port != 0 ? fl_buf_printf(out, "%s%u, ", words, port) : 0;
}

static bool is_inward(enum cni_chain chain)
{
    return chain == CNI_CHAIN_PREROUTING || chain == CNI_CHAIN_DROP_INVALID;
}

static int print_ways(const struct cni_plan *plan, const struct cni_rule *rule, struct fl_buf *out)
{
    int result = print_word(rule->family != AF_UNSPEC, rule->family == AF_INET ? "IPv4" : "IPv6", out);
    if (result == 0)
        result = print_word(rule->loopback, "through lo", out);
    if (result == 0)
        result = print_in_set(rule->interface_set, is_inward(rule->chain) ? "in by " : "out through ", out);
    if (result == 0 && rule->proxy)
        result = fl_buf_printf(out, "from uid %u and gid %u, ", plan->uid, plan->gid);
    if (result == 0)
        result = print_in_set(rule->uid_set, "from ", out);
    return result;
}

static int print_ends(const struct cni_rule *rule, struct fl_buf *out)
{
    int result = print_address("from", &rule->source, out);
    if (result == 0)
        result = print_address("to", &rule->destination, out);
    if (result == 0)
        result = print_in_set(rule->destination_set, "to ", out);
    if (result == 0)
        result = print_word(rule->invalid, "of no connection", out);
    if (result == 0)
        result = print_port(rule->source_port, "from port ", out);
    if (result == 0)
        result = print_port(rule->port, "port ", out);
    if (result == 0)
        result = print_in_set(rule->port_set, "port in ", out);
    if (result == 0)
        result = print_in_set(rule->port_set_not, "port not in ", out);
    return result;
}

int cni_rule_print(const struct cni_plan *plan, const struct cni_rule *rule, struct fl_buf *out)
{
    int result = print_ways(plan, rule, out);
    if (result == 0)
        result = print_ends(rule, out);
    if (result == 0 && rule->protocol != 0)
        result = fl_buf_append_str(out, rule->protocol == IPPROTO_TCP ? "TCP: " : "UDP: ");
    if (result < 0)
        return result;
    switch (rule->verdict) {
    case CNI_REDIRECT:
        return fl_buf_printf(out, "redirect to %u (%s)", rule->to_port, rule->reason);
    case CNI_DROP:
        return fl_buf_printf(out, "drop (%s)", rule->reason);
    case CNI_ZONE:
        return fl_buf_printf(out, "track in zone %u (%s)", rule->to_port, rule->reason);
    case CNI_ACCEPT:
    default:
        return fl_buf_printf(out, "accept (%s)", rule->reason);
    }
}

static int print_chain(const struct cni_plan *plan, enum cni_chain chain, struct fl_buf *out)
{
    int result = cni_plan_has_chain(plan, chain) ? fl_buf_printf(out, "%s:\n", cni_chain_name(chain)) : 0;
    for (size_t i = 0; result == 0 && i < plan->rule_count; i++) {
        if (plan->rules[i].chain != chain)
            continue;
        result = fl_buf_append_str(out, "    ");
        if (result == 0)
            result = cni_rule_print(plan, &plan->rules[i], out);
        if (result == 0)
            result = fl_buf_append_byte(out, '\n');
    }
    return result;
}

int cni_plan_print(const struct cni_plan *plan, struct fl_buf *out)
{
    int result = fl_buf_printf(out, "%s\n", plan->comment);
    for (int id = 0; result == 0 && id < CNI_SETS; id++) {
        if (plan->sets[id].count == 0)
            continue;
        result = fl_buf_printf(out, "%s:", cni_set_name((enum cni_set_id)id));
        if (result == 0)
            result = print_set(&plan->sets[id], cni_set_kind((enum cni_set_id)id), out);
        if (result == 0)
            result = fl_buf_append_byte(out, '\n');
    }
    for (int chain = 0; result == 0 && chain < CNI_CHAINS; chain++)
        result = print_chain(plan, (enum cni_chain)chain, out);
    return result;
}
