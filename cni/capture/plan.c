#include "cni/capture/plan.h"

#include "common/mesh/port.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>

#define PORT_DNS 53

static const char *const chain_names[CNI_CHAINS] = {
    [CNI_CHAIN_PREROUTING] = "prerouting",
    [CNI_CHAIN_OUTPUT] = "output",
    [CNI_CHAIN_DROP_INVALID] = "drop_invalid",
    [CNI_CHAIN_DNS_ZONE] = "dns_zone",
};

static const struct fl_cidr passthrough_ipv4 = {AF_INET, {127, 0, 0, 6}, 32};
static const struct fl_cidr passthrough_ipv6 = {AF_INET6, {[15] = 6}, 128};
static const struct fl_cidr loopback_ipv4 = {AF_INET, {127}, 8};
static const struct fl_cidr loopback_ipv6 = {AF_INET6, {[15] = 1}, 128};

const char *cni_chain_name(enum cni_chain chain)
{
    return chain_names[chain];
}

bool cni_chain_is_nat(enum cni_chain chain)
{
    return chain == CNI_CHAIN_PREROUTING || chain == CNI_CHAIN_OUTPUT;
}

bool cni_plan_has_chain(const struct cni_plan *plan, enum cni_chain chain)
{
    bool has = cni_chain_is_nat(chain);
    for (size_t i = 0; !has && i < plan->rule_count; i++)
        has = plan->rules[i].chain == chain;
    return has;
}

/* --- one rule --- */

/* Rules that match a port or redirect are about TCP where they do not say otherwise; one of IPv6 alone is not written
 * where none is captured, for the chain's first rule lets all of it pass. */
static void add(struct cni_plan *plan, struct cni_rule rule)
{
    bool wants_protocol = rule.verdict == CNI_REDIRECT || rule.port != 0 || rule.port_set != CNI_SET_NONE ||
                          rule.port_set_not != CNI_SET_NONE;
    if (rule.protocol == 0 && wants_protocol)
        rule.protocol = IPPROTO_TCP;
    if (rule.family != AF_INET6 || plan->ipv6)
        plan->rules[plan->rule_count++] = rule;
}

/* First of each chain that has rules: what no setting captures. */
static void add_uncaptured_family(struct cni_plan *plan, enum cni_chain chain)
{
    if (!plan->ipv6)
        plan->rules[plan->rule_count++] = (struct cni_rule){
            .chain = chain, .family = AF_INET6, .verdict = CNI_ACCEPT, .reason = "IPv6 is not captured"};
}

static void accept_interfaces(struct cni_plan *plan, enum cni_chain chain)
{
    if (plan->sets[CNI_SET_EXCLUDE_INTERFACES].count > 0)
        add(plan, (struct cni_rule){.chain = chain,
                                    .interface_set = CNI_SET_EXCLUDE_INTERFACES,
                                    .verdict = CNI_ACCEPT,
                                    .reason = "excluded interfaces"});
}

/* Ports that pass in `chain`, where there are such. */
static void accept_ports(struct cni_plan *plan, enum cni_chain chain, enum cni_set_id set, const char *reason)
{
    if (plan->sets[set].count > 0)
        add(plan, (struct cni_rule){.chain = chain, .port_set = set, .verdict = CNI_ACCEPT, .reason = reason});
}

static void accept_destinations(struct cni_plan *plan, enum cni_chain chain, enum cni_set_id set, int family)
{
    if (plan->sets[set].count > 0)
        add(plan, (struct cni_rule){.chain = chain,
                                    .family = family,
                                    .destination_set = set,
                                    .verdict = CNI_ACCEPT,
                                    .reason = "excluded destinations"});
}

static void accept_proxy(struct cni_plan *plan, enum cni_chain chain)
{
    add(plan, (struct cni_rule){.chain = chain, .proxy = true, .verdict = CNI_ACCEPT, .reason = "proxy's own traffic"});
}

static void accept_loopback(struct cni_plan *plan, enum cni_chain chain)
{
    add(plan,
        (struct cni_rule){.chain = chain, .loopback = true, .verdict = CNI_ACCEPT, .reason = "the pod to itself"});
}

static void accept_uids(struct cni_plan *plan, enum cni_chain chain)
{
    if (plan->sets[CNI_SET_OUTBOUND_EXCLUDE_UIDS].count > 0)
        add(plan, (struct cni_rule){.chain = chain,
                                    .uid_set = CNI_SET_OUTBOUND_EXCLUDE_UIDS,
                                    .verdict = CNI_ACCEPT,
                                    .reason = "excluded uids"});
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

/* --- inbound --- */

static bool captures_inbound(const struct fl_capture *capture)
{
    return !capture->inbound_exclude.all && (capture->inbound_include.all || capture->inbound_include.count > 0);
}

static void add_inbound(struct cni_plan *plan, const struct fl_capture *capture)
{
    if (!captures_inbound(capture))
        return;
    add_uncaptured_family(plan, CNI_CHAIN_PREROUTING);
    accept_interfaces(plan, CNI_CHAIN_PREROUTING);
    accept_ports(plan, CNI_CHAIN_PREROUTING, CNI_SET_OWN_PORTS, "own ports");
    accept_ports(plan, CNI_CHAIN_PREROUTING, CNI_SET_INBOUND_EXCLUDE_PORTS, "excluded ports");
    add(plan, (struct cni_rule){.chain = CNI_CHAIN_PREROUTING,
                                .port_set = capture->inbound_include.all ? CNI_SET_NONE : CNI_SET_INBOUND_INCLUDE_PORTS,
                                .verdict = CNI_REDIRECT,
                                .to_port = capture->inbound_port,
                                .reason = "inbound"});
}

static void add_drop_invalid(struct cni_plan *plan, const struct fl_capture *capture)
{
    if (!capture->drop_invalid)
        return;
    add_uncaptured_family(plan, CNI_CHAIN_DROP_INVALID);
    accept_interfaces(plan, CNI_CHAIN_DROP_INVALID);
    add(plan, (struct cni_rule){.chain = CNI_CHAIN_DROP_INVALID,
                                .protocol = IPPROTO_TCP,
                                .invalid = true,
                                .verdict = CNI_DROP,
                                .reason = "invalid"});
}

/* --- outbound --- */

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
    accept_proxy(plan, CNI_CHAIN_OUTPUT);
}

static bool captures_outbound(const struct fl_capture *capture)
{
    return !capture->outbound_exclude_ports.all && !capture->outbound_exclude_cidrs.all;
}

static bool captures_dns(const struct fl_capture *capture)
{
    return capture->dns && captures_outbound(capture) &&
           !fl_port_list_contains(&capture->outbound_exclude_ports, PORT_DNS);
}

static void redirect_dns(struct cni_plan *plan, const struct fl_capture *capture)
{
    const uint8_t protocols[] = {IPPROTO_UDP, IPPROTO_TCP};
    for (size_t i = 0; captures_dns(capture) && i < FL_COUNT(protocols); i++)
        add(plan, (struct cni_rule){.chain = CNI_CHAIN_OUTPUT,
                                    .protocol = protocols[i],
                                    .port = PORT_DNS,
                                    .verdict = CNI_REDIRECT,
                                    .to_port = capture->dns_port,
                                    .reason = "DNS"});
}

static void add_outbound(struct cni_plan *plan, const struct fl_capture *capture)
{
    const uint16_t port = capture->outbound_port;
    if (!captures_outbound(capture))
        return;
    accept_interfaces(plan, CNI_CHAIN_OUTPUT);
    accept_uids(plan, CNI_CHAIN_OUTPUT);
    accept_ports(plan, CNI_CHAIN_OUTPUT, CNI_SET_OUTBOUND_EXCLUDE_PORTS, "excluded ports");
    accept_destinations(plan, CNI_CHAIN_OUTPUT, CNI_SET_OUTBOUND_EXCLUDE_IPV4, AF_INET);
    accept_destinations(plan, CNI_CHAIN_OUTPUT, CNI_SET_OUTBOUND_EXCLUDE_IPV6, AF_INET6);
    redirect_dns(plan, capture);
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

static void add_output(struct cni_plan *plan, const struct fl_capture *capture)
{
    add_uncaptured_family(plan, CNI_CHAIN_OUTPUT);
    add_gate_and_passthrough(plan, capture);
    accept_ports(plan, CNI_CHAIN_OUTPUT, CNI_SET_OWN_PORTS, "own ports");
    add_proxy(plan, capture);
    accept_loopback(plan, CNI_CHAIN_OUTPUT);
    add_outbound(plan, capture);
}

/* Exactly the queries by UDP that the chain `output` redirects, and the proxy's answers to them. A query of the proxy
 * may have the very addresses and ports of one that the app sent before; in one zone the kernel would take it for a
 * part of that "connection" and redirect it to the proxy itself. Answers from outside belong to the proxy's queries or
 * to ones that are not captured: both are tracked where everything is. */
static void add_dns_zone(struct cni_plan *plan, const struct fl_capture *capture)
{
    if (!captures_dns(capture))
        return;
    add_uncaptured_family(plan, CNI_CHAIN_DNS_ZONE);
    add(plan, (struct cni_rule){.chain = CNI_CHAIN_DNS_ZONE,
                                .protocol = IPPROTO_UDP,
                                .loopback = true,
                                .proxy = true,
                                .source_port = capture->dns_port,
                                .verdict = CNI_ZONE,
                                .to_port = capture->dns_port,
                                .reason = "proxy's answers"});
    accept_proxy(plan, CNI_CHAIN_DNS_ZONE);
    accept_loopback(plan, CNI_CHAIN_DNS_ZONE);
    accept_interfaces(plan, CNI_CHAIN_DNS_ZONE);
    accept_uids(plan, CNI_CHAIN_DNS_ZONE);
    accept_destinations(plan, CNI_CHAIN_DNS_ZONE, CNI_SET_OUTBOUND_EXCLUDE_IPV4, AF_INET);
    accept_destinations(plan, CNI_CHAIN_DNS_ZONE, CNI_SET_OUTBOUND_EXCLUDE_IPV6, AF_INET6);
    add(plan, (struct cni_rule){.chain = CNI_CHAIN_DNS_ZONE,
                                .protocol = IPPROTO_UDP,
                                .port = PORT_DNS,
                                .verdict = CNI_ZONE,
                                .to_port = capture->dns_port,
                                .reason = "DNS"});
}

/* --- the whole --- */

/* A set that no rule names would be made, listed and compared for nothing. */
static void drop_unused_sets(struct cni_plan *plan)
{
    bool used[CNI_SETS] = {false};
    for (size_t i = 0; i < plan->rule_count; i++) {
        const struct cni_rule *rule = &plan->rules[i];
        used[rule->port_set] = used[rule->port_set_not] = used[rule->destination_set] = true;
        used[rule->uid_set] = used[rule->interface_set] = true;
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
    ret_plan->ipv6 = capture->ipv6;
    cni_plan_fill_sets(ret_plan, capture);
    add_inbound(ret_plan, capture);
    add_output(ret_plan, capture);
    add_drop_invalid(ret_plan, capture);
    add_dns_zone(ret_plan, capture);
    drop_unused_sets(ret_plan);
    return set_comment(ret_plan, capture);
}
