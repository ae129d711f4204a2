#include "cni/capture/plan.h"

#include "common/mesh/port.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>

/* Every port that is ours by fl_port_is_ours() lies in this window (the unit test looks at all 65,535). */
#define OWN_PORTS_FIRST 15000
#define OWN_PORTS_LAST  15099

static const char *const chain_names[CNI_CHAINS] = {
    [CNI_CHAIN_PREROUTING] = "prerouting",
    [CNI_CHAIN_OUTPUT] = "output",
};

static const char *const set_names[CNI_SETS] = {
    [CNI_SET_NONE] = "",
    [CNI_SET_OWN_PORTS] = "own_ports",
    [CNI_SET_INBOUND_EXCLUDE_PORTS] = "inbound_exclude_ports",
    [CNI_SET_INBOUND_INCLUDE_PORTS] = "inbound_include_ports",
    [CNI_SET_OUTBOUND_EXCLUDE_PORTS] = "outbound_exclude_ports",
    [CNI_SET_OUTBOUND_EXCLUDE_IPV4] = "outbound_exclude_ipv4",
    [CNI_SET_OUTBOUND_EXCLUDE_IPV6] = "outbound_exclude_ipv6",
    [CNI_SET_OUTBOUND_INCLUDE_PORTS] = "outbound_include_ports",
    [CNI_SET_OUTBOUND_INCLUDE_IPV4] = "outbound_include_ipv4",
    [CNI_SET_OUTBOUND_INCLUDE_IPV6] = "outbound_include_ipv6",
};

static const struct fl_cidr passthrough_ipv4 = {AF_INET, {127, 0, 0, 6}, 32};
static const struct fl_cidr passthrough_ipv6 = {AF_INET6, {[15] = 6}, 128};
static const struct fl_cidr loopback_ipv4 = {AF_INET, {127}, 8};
static const struct fl_cidr loopback_ipv6 = {AF_INET6, {[15] = 1}, 128};

const char *cni_chain_name(enum cni_chain chain)
{
    return chain_names[chain];
}

const char *cni_set_name(enum cni_set_id id)
{
    return set_names[id];
}

/* --- sets --- */

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
static void set_append(struct cni_set *set, const struct cni_range *range)
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

static void set_append_ports(struct cni_set *set, uint16_t first, uint16_t last)
{
    struct cni_range range = {{(uint8_t)(first >> 8), (uint8_t)first}, {(uint8_t)(last >> 8), (uint8_t)last}};
    set_append(set, &range);
}

static void set_fill_ports(struct cni_set *set, const struct fl_port_list *list)
{
    set->width = sizeof(uint16_t);
    for (size_t i = 0; !list->all && i < list->count; i++)
        set_append_ports(set, (uint16_t)list->ranges[i].first, (uint16_t)list->ranges[i].last);
}

static void set_fill_cidrs(struct cni_set *set, const struct fl_cidr_list *list, int family)
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
        set_append(set, &range);
    }
}

static void set_fill_own_ports(struct cni_set *set, const struct fl_capture *capture)
{
    uint16_t low = capture->inbound_port < capture->outbound_port ? capture->inbound_port : capture->outbound_port;
    uint16_t high = capture->inbound_port < capture->outbound_port ? capture->outbound_port : capture->inbound_port;
    const uint16_t configured[] = {low, high};
    set->width = sizeof(uint16_t);
    for (size_t i = low == high ? 1 : 0; i < FL_COUNT(configured) && configured[i] < OWN_PORTS_FIRST; i++)
        set_append_ports(set, configured[i], configured[i]);
    for (uint16_t port = OWN_PORTS_FIRST; port <= OWN_PORTS_LAST; port++) {
        if (fl_port_is_ours(port) || port == low || port == high)
            set_append_ports(set, port, port);
    }
    for (size_t i = low == high ? 1 : 0; i < FL_COUNT(configured); i++) {
        if (configured[i] > OWN_PORTS_LAST)
            set_append_ports(set, configured[i], configured[i]);
    }
}

static void fill_sets(struct cni_plan *plan, const struct fl_capture *capture)
{
    struct cni_set *sets = plan->sets;
    set_fill_own_ports(&sets[CNI_SET_OWN_PORTS], capture);
    set_fill_ports(&sets[CNI_SET_INBOUND_EXCLUDE_PORTS], &capture->inbound_exclude);
    set_fill_ports(&sets[CNI_SET_INBOUND_INCLUDE_PORTS], &capture->inbound_include);
    set_fill_ports(&sets[CNI_SET_OUTBOUND_EXCLUDE_PORTS], &capture->outbound_exclude_ports);
    set_fill_cidrs(&sets[CNI_SET_OUTBOUND_EXCLUDE_IPV4], &capture->outbound_exclude_cidrs, AF_INET);
    set_fill_cidrs(&sets[CNI_SET_OUTBOUND_EXCLUDE_IPV6], &capture->outbound_exclude_cidrs, AF_INET6);
    set_fill_ports(&sets[CNI_SET_OUTBOUND_INCLUDE_PORTS], &capture->outbound_include_ports);
    set_fill_cidrs(&sets[CNI_SET_OUTBOUND_INCLUDE_IPV4], &capture->outbound_include_cidrs, AF_INET);
    set_fill_cidrs(&sets[CNI_SET_OUTBOUND_INCLUDE_IPV6], &capture->outbound_include_cidrs, AF_INET6);
}

/* --- rules --- */

static void add(struct cni_plan *plan, struct cni_rule rule)
{
    plan->rules[plan->rule_count++] = rule;
}

/* Ports that pass in `chain`, where there are such. */
static void accept_ports(struct cni_plan *plan, enum cni_chain chain, enum cni_set_id set, const char *reason)
{
    if (plan->sets[set].count > 0)
        add(plan, (struct cni_rule){.chain = chain, .port_set = set, .verdict = CNI_ACCEPT, .reason = reason});
}

static void redirect_destinations(struct cni_plan *plan, enum cni_set_id set, int family, uint16_t to_port)
{
    if (plan->sets[set].count > 0)
        add(plan, (struct cni_rule){.chain = CNI_CHAIN_OUTPUT,
                                    .family = family,
                                    .destination_set = set,
                                    .verdict = CNI_REDIRECT,
                                    .to_port = to_port,
                                    .reason = "included destinations"});
}

static void accept_destinations(struct cni_plan *plan, enum cni_set_id set, int family)
{
    if (plan->sets[set].count > 0)
        add(plan, (struct cni_rule){.chain = CNI_CHAIN_OUTPUT,
                                    .family = family,
                                    .destination_set = set,
                                    .verdict = CNI_ACCEPT,
                                    .reason = "excluded destinations"});
}

static bool captures_inbound(const struct fl_capture *capture)
{
    return !capture->inbound_exclude.all && (capture->inbound_include.all || capture->inbound_include.count > 0);
}

static void add_inbound(struct cni_plan *plan, const struct fl_capture *capture)
{
    if (!captures_inbound(capture))
        return;
    accept_ports(plan, CNI_CHAIN_PREROUTING, CNI_SET_OWN_PORTS, "own ports");
    accept_ports(plan, CNI_CHAIN_PREROUTING, CNI_SET_INBOUND_EXCLUDE_PORTS, "excluded ports");
    add(plan, (struct cni_rule){.chain = CNI_CHAIN_PREROUTING,
                                .port_set = capture->inbound_include.all ? CNI_SET_NONE : CNI_SET_INBOUND_INCLUDE_PORTS,
                                .verdict = CNI_REDIRECT,
                                .to_port = capture->inbound_port,
                                .reason = "inbound"});
}

static void add_gate_and_passthrough(struct cni_plan *plan, const struct fl_capture *capture)
{
    const struct fl_cidr passthrough[] = {passthrough_ipv4, passthrough_ipv6};
    for (size_t i = 0; i < FL_COUNT(passthrough); i++)
        add(plan, (struct cni_rule){.chain = CNI_CHAIN_OUTPUT,
                                    .family = passthrough[i].family,
                                    .destination = {.present = true, .cidr = passthrough[i]},
                                    .port = FL_PORT_PROBE,
                                    .verdict = CNI_REDIRECT,
                                    .to_port = capture->outbound_port,
                                    .reason = "start gate"});
    for (size_t i = 0; i < FL_COUNT(passthrough); i++)
        add(plan, (struct cni_rule){.chain = CNI_CHAIN_OUTPUT,
                                    .family = passthrough[i].family,
                                    .loopback = true,
                                    .source = {.present = true, .cidr = passthrough[i]},
                                    .verdict = CNI_ACCEPT,
                                    .reason = "inbound pass-through"});
}

/* The proxy's own traffic: to the pod's address (where it stays on lo) through inbound, like anybody's; else free. */
static void add_proxy(struct cni_plan *plan, const struct fl_capture *capture)
{
    const struct fl_cidr loopback[] = {loopback_ipv4, loopback_ipv6};
    bool some_excluded = plan->sets[CNI_SET_INBOUND_EXCLUDE_PORTS].count > 0;
    for (size_t i = 0; captures_inbound(capture) && i < FL_COUNT(loopback); i++)
        add(plan,
            (struct cni_rule){.chain = CNI_CHAIN_OUTPUT,
                              .family = loopback[i].family,
                              .loopback = true,
                              .proxy = true,
                              .destination = {.present = true, .negated = true, .cidr = loopback[i]},
                              .port_set = capture->inbound_include.all ? CNI_SET_NONE : CNI_SET_INBOUND_INCLUDE_PORTS,
                              .port_set_not = some_excluded ? CNI_SET_INBOUND_EXCLUDE_PORTS : CNI_SET_NONE,
                              .verdict = CNI_REDIRECT,
                              .to_port = capture->inbound_port,
                              .reason = "proxy to its own pod"});
    add(plan, (struct cni_rule){
                  .chain = CNI_CHAIN_OUTPUT, .proxy = true, .verdict = CNI_ACCEPT, .reason = "proxy's own traffic"});
}

static void add_outbound(struct cni_plan *plan, const struct fl_capture *capture)
{
    const uint16_t port = capture->outbound_port;
    if (capture->outbound_exclude_ports.all || capture->outbound_exclude_cidrs.all)
        return;
    accept_ports(plan, CNI_CHAIN_OUTPUT, CNI_SET_OUTBOUND_EXCLUDE_PORTS, "excluded ports");
    accept_destinations(plan, CNI_SET_OUTBOUND_EXCLUDE_IPV4, AF_INET);
    accept_destinations(plan, CNI_SET_OUTBOUND_EXCLUDE_IPV6, AF_INET6);
    if (capture->outbound_include_cidrs.all || capture->outbound_include_ports.all) {
        add(plan, (struct cni_rule){
                      .chain = CNI_CHAIN_OUTPUT, .verdict = CNI_REDIRECT, .to_port = port, .reason = "outbound"});
        return;
    }
    if (plan->sets[CNI_SET_OUTBOUND_INCLUDE_PORTS].count > 0)
        add(plan, (struct cni_rule){.chain = CNI_CHAIN_OUTPUT,
                                    .port_set = CNI_SET_OUTBOUND_INCLUDE_PORTS,
                                    .verdict = CNI_REDIRECT,
                                    .to_port = port,
                                    .reason = "included ports"});
    redirect_destinations(plan, CNI_SET_OUTBOUND_INCLUDE_IPV4, AF_INET, port);
    redirect_destinations(plan, CNI_SET_OUTBOUND_INCLUDE_IPV6, AF_INET6, port);
}

/* A set that no rule names would be made, listed and compared for nothing. */
static void drop_unused_sets(struct cni_plan *plan)
{
    bool used[CNI_SETS] = {false};
    for (size_t i = 0; i < plan->rule_count; i++) {
        const struct cni_rule *rule = &plan->rules[i];
        used[rule->port_set] = used[rule->port_set_not] = used[rule->destination_set] = true;
    }
    for (size_t id = 0; id < CNI_SETS; id++) {
        if (!used[id])
            plan->sets[id].count = 0;
    }
}

/* FNV-1a, 64 bits: tells specs apart at a glance, guards nothing. */
static uint64_t digest(struct fl_span text)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < text.len; i++)
        hash = (hash ^ (uint8_t)text.data[i]) * UINT64_C(0x100000001b3);
    return hash;
}

static int set_comment(struct cni_plan *plan, const struct fl_capture *capture)
{
    FL_CLEANUP(fl_buf_done) struct fl_buf text;
    fl_buf_init(&text, FL_CAPTURE_TEXT_MAX);
    int result = fl_capture_print(capture, &text);
    if (result < 0)
        return result;
    snprintf(plan->comment, sizeof(plan->comment), "fairlead capture %d %016" PRIx64, fl_capture_version(capture),
             digest(fl_buf_span(&text)));
    return 0;
}

int cni_plan_build(const struct fl_capture *capture, struct cni_plan *ret_plan)
{
    memset(ret_plan, 0, sizeof(*ret_plan));
    ret_plan->uid = capture->uid;
    ret_plan->gid = capture->gid;
    fill_sets(ret_plan, capture);
    add_inbound(ret_plan, capture);
    add_gate_and_passthrough(ret_plan, capture);
    accept_ports(ret_plan, CNI_CHAIN_OUTPUT, CNI_SET_OWN_PORTS, "own ports");
    add_proxy(ret_plan, capture);
    add(ret_plan,
        (struct cni_rule){
            .chain = CNI_CHAIN_OUTPUT, .loopback = true, .verdict = CNI_ACCEPT, .reason = "the pod to itself"});
    add_outbound(ret_plan, capture);
    drop_unused_sets(ret_plan);
    return set_comment(ret_plan, capture);
}

/* --- text --- */

static int print_value(const uint8_t *value, size_t width, struct fl_buf *out)
{
    char text[INET6_ADDRSTRLEN] = "";
    if (width == sizeof(uint16_t))
        return fl_buf_printf(out, "%u", (unsigned)value[0] << 8 | value[1]);
    inet_ntop(width == 4 ? AF_INET : AF_INET6, value, text, sizeof(text));
    return fl_buf_append_str(out, text);
}

static int print_set(const struct cni_set *set, struct fl_buf *out)
{
    int result = 0;
    for (size_t i = 0; result == 0 && i < set->count; i++) {
        const struct cni_range *range = &set->ranges[i];
        result = fl_buf_append_byte(out, ' ');
        if (result == 0)
            result = print_value(range->first, set->width, out);
        if (result == 0 && memcmp(range->first, range->last, set->width) != 0) {
            result = fl_buf_append_byte(out, '-');
            if (result == 0)
                result = print_value(range->last, set->width, out);
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

static int print_port_match(const struct cni_rule *rule, struct fl_buf *out)
{
    int result = 0;
    if (rule->port != 0)
        result = fl_buf_printf(out, "port %u, ", rule->port);
    if (result == 0 && rule->port_set != CNI_SET_NONE)
        result = fl_buf_printf(out, "port in %s, ", set_names[rule->port_set]);
    if (result == 0 && rule->port_set_not != CNI_SET_NONE)
        result = fl_buf_printf(out, "port not in %s, ", set_names[rule->port_set_not]);
    return result;
}

int cni_rule_print(const struct cni_plan *plan, const struct cni_rule *rule, struct fl_buf *out)
{
    int result = rule->family == AF_UNSPEC ? 0 : fl_buf_append_str(out, rule->family == AF_INET ? "IPv4, " : "IPv6, ");
    if (result == 0 && rule->loopback)
        result = fl_buf_append_str(out, "through lo, ");
    if (result == 0 && rule->proxy)
        result = fl_buf_printf(out, "from uid %u and gid %u, ", plan->uid, plan->gid);
    if (result == 0)
        result = print_address("from", &rule->source, out);
    if (result == 0)
        result = print_address("to", &rule->destination, out);
    if (result == 0 && rule->destination_set != CNI_SET_NONE)
        result = fl_buf_printf(out, "to %s, ", set_names[rule->destination_set]);
    if (result == 0)
        result = print_port_match(rule, out);
    if (result < 0)
        return result;
    if (rule->verdict == CNI_REDIRECT)
        return fl_buf_printf(out, "TCP: redirect to %u (%s)", rule->to_port, rule->reason);
    return fl_buf_printf(out, "accept (%s)", rule->reason);
}

static int print_chain(const struct cni_plan *plan, enum cni_chain chain, struct fl_buf *out)
{
    int result = fl_buf_printf(out, "%s:\n", chain_names[chain]);
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
    for (size_t id = 0; result == 0 && id < CNI_SETS; id++) {
        if (plan->sets[id].count == 0)
            continue;
        result = fl_buf_printf(out, "%s:", set_names[id]);
        if (result == 0)
            result = print_set(&plan->sets[id], out);
        if (result == 0)
            result = fl_buf_append_byte(out, '\n');
    }
    for (int chain = 0; result == 0 && chain < CNI_CHAINS; chain++)
        result = print_chain(plan, (enum cni_chain)chain, out);
    return result;
}
