#include "cli/check/netpolicy.h"

#include "common/mesh/capture.h"

#include <string.h>

static const struct fl_json *metadata(const struct fl_json *object, const char *name)
{
    return fl_json_get(fl_json_get(object, "metadata"), name);
}

static const struct fl_json *spec(const struct fl_json *object, const char *name)
{
    return fl_json_get(fl_json_get(object, "spec"), name);
}

/* --- selectors -------------------------------------------------------------------------------------------------- */

static bool is_among(struct fl_span text, const struct fl_json *values)
{
    for (const struct fl_json *value = fl_json_first(values); value != NULL; value = fl_json_next(value))
        if (fl_span_eq(fl_json_string(value), text))
            return true;
    return false;
}

static bool expression_matches(const struct fl_json *expression, const struct fl_json *labels)
{
    struct fl_span operator= fl_json_string(fl_json_get(expression, "operator"));
    const struct fl_json *value = fl_json_get_span(labels, fl_json_string(fl_json_get(expression, "key")));
    const struct fl_json *values = fl_json_get(expression, "values");
    if (fl_span_eq_str(operator, "In"))
        return value != NULL && is_among(fl_json_string(value), values);
    if (fl_span_eq_str(operator, "NotIn"))
        return value == NULL || !is_among(fl_json_string(value), values);
    if (fl_span_eq_str(operator, "Exists"))
        return value != NULL;
    return fl_span_eq_str(operator, "DoesNotExist") && value == NULL;
}

bool cli_selector_matches(const struct fl_json *selector, const struct fl_json *labels)
{
    const struct fl_json *one = fl_json_first(fl_json_get(selector, "matchLabels"));
    for (; one != NULL; one = fl_json_next(one)) {
        const struct fl_json *value = fl_json_get_span(labels, fl_json_name(one));
        if (value == NULL || !fl_span_eq(fl_json_string(value), fl_json_string(one)))
            return false;
    }
    one = fl_json_first(fl_json_get(selector, "matchExpressions"));
    while (one != NULL && expression_matches(one, labels))
        one = fl_json_next(one);
    return one == NULL;
}

/* --- peers ------------------------------------------------------------------------------------------------------ */

static bool holds(const struct fl_cidr *block, const struct fl_cidr *address)
{
    unsigned whole = block->prefix / 8, rest = block->prefix % 8;
    if (block->family != address->family || memcmp(block->address, address->address, whole) != 0)
        return false;
    return rest == 0 || ((block->address[whole] ^ address->address[whole]) >> (8 - rest)) == 0;
}

static bool text_holds(const struct fl_json *block, const struct fl_cidr *address)
{
    struct fl_cidr cidr;
    return fl_cidr_parse(fl_json_string(block), &cidr, NULL) == 0 && holds(&cidr, address);
}

static bool block_matches(const struct fl_json *block, const struct fl_json *pod)
{
    const struct fl_json *ip = fl_json_first(fl_json_get(fl_json_get(pod, "status"), "podIPs"));
    for (; ip != NULL; ip = fl_json_next(ip)) {
        struct fl_cidr address;
        if (fl_cidr_parse_address(fl_json_string(fl_json_get(ip, "ip")), &address) < 0 ||
            !text_holds(fl_json_get(block, "cidr"), &address))
            continue;
        const struct fl_json *but = fl_json_first(fl_json_get(block, "except"));
        while (but != NULL && !text_holds(but, &address))
            but = fl_json_next(but);
        if (but == NULL)
            return true;
    }
    return false;
}

static bool peer_matches(const struct fl_json *peer, const struct fl_json *policy, const struct cli_end *end)
{
    const struct fl_json *block = fl_json_get(peer, "ipBlock"), *spaces = fl_json_get(peer, "namespaceSelector");
    if (end->pod == NULL)
        return true;
    if (block != NULL)
        return block_matches(block, end->pod);
    if (spaces == NULL &&
        !fl_span_eq(fl_json_string(metadata(policy, "namespace")), fl_json_string(metadata(end->pod, "namespace"))))
        return false;
    if (spaces != NULL && !cli_selector_matches(spaces, metadata(end->name_space, "labels")))
        return false;
    return cli_selector_matches(fl_json_get(peer, "podSelector"), metadata(end->pod, "labels"));
}

/* --- ports ------------------------------------------------------------------------------------------------------ */

/* Whether the receiving pod names this port so. */
static bool is_named(const struct fl_json *pod, struct fl_span name, const char *protocol, uint16_t port)
{
    static const char *const lists[] = {"containers", "initContainers"};
    for (size_t i = 0; i < FL_COUNT(lists); i++)
        for (const struct fl_json *container = fl_json_first(spec(pod, lists[i])); container != NULL;
             container = fl_json_next(container))
            for (const struct fl_json *one = fl_json_first(fl_json_get(container, "ports")); one != NULL;
                 one = fl_json_next(one)) {
                int64_t number;
                struct fl_span own = fl_json_string(fl_json_get(one, "protocol"));
                if (fl_span_eq(fl_json_string(fl_json_get(one, "name")), name) &&
                    fl_json_int(fl_json_get(one, "containerPort"), port, port, &number) &&
                    fl_span_eq_str(own.len > 0 ? own : FL_SPAN("TCP"), protocol))
                    return true;
            }
    return false;
}

static bool port_matches(const struct fl_json *entry, const struct cli_flow *flow)
{
    const struct fl_json *port = fl_json_get(entry, "port");
    struct fl_span protocol = fl_json_string(fl_json_get(entry, "protocol"));
    int64_t first, last;
    if (!fl_span_eq_str(protocol.len > 0 ? protocol : FL_SPAN("TCP"), flow->protocol))
        return false;
    if (port == NULL)
        return true;
    if (fl_json_is(port, FL_JSON_STRING))
        return is_named(flow->direction == CLI_INGRESS ? flow->subject.pod : flow->peer.pod, fl_json_string(port),
                        flow->protocol, flow->port);
    if (!fl_json_int(port, 0, UINT16_MAX, &first))
        return false;
    if (!fl_json_int(fl_json_get(entry, "endPort"), 0, UINT16_MAX, &last))
        last = first;
    return flow->port >= first && flow->port <= last;
}

/* --- policies --------------------------------------------------------------------------------------------------- */

/* What policyTypes says; without it: ingress always, egress where there are rules for it. */
static bool is_about(const struct fl_json *policy, enum cli_direction direction)
{
    const struct fl_json *types = spec(policy, "policyTypes");
    if (fl_json_count(types) > 0)
        return is_among(direction == CLI_INGRESS ? FL_SPAN("Ingress") : FL_SPAN("Egress"), types);
    return direction == CLI_INGRESS || spec(policy, "egress") != NULL;
}

static bool selects(const struct fl_json *policy, const struct cli_flow *flow)
{
    return is_about(policy, flow->direction) &&
           fl_span_eq(fl_json_string(metadata(policy, "namespace")),
                      fl_json_string(metadata(flow->subject.pod, "namespace"))) &&
           cli_selector_matches(spec(policy, "podSelector"), metadata(flow->subject.pod, "labels"));
}

static bool rule_matches(const struct fl_json *rule, const struct fl_json *policy, const struct cli_flow *flow)
{
    const struct fl_json *ports = fl_json_get(rule, "ports"), *port = fl_json_first(ports);
    const struct fl_json *peers = fl_json_get(rule, flow->direction == CLI_INGRESS ? "from" : "to");
    const struct fl_json *peer = fl_json_first(peers);
    while (port != NULL && !port_matches(port, flow))
        port = fl_json_next(port);
    while (peer != NULL && !peer_matches(peer, policy, &flow->peer))
        peer = fl_json_next(peer);
    return (port != NULL || fl_json_count(ports) == 0) && (peer != NULL || fl_json_count(peers) == 0);
}

bool cli_netpolicy_allows(const struct fl_json *policies, const struct cli_flow *flow,
                          const struct fl_json **ret_policy, size_t *ret_count)
{
    const char *rules = flow->direction == CLI_INGRESS ? "ingress" : "egress";
    *ret_policy = NULL;
    *ret_count = 0;
    for (const struct fl_json *policy = policies; policy != NULL; policy = fl_json_next(policy)) {
        if (!selects(policy, flow))
            continue;
        for (const struct fl_json *rule = fl_json_first(spec(policy, rules)); rule != NULL; rule = fl_json_next(rule))
            if (rule_matches(rule, policy, flow))
                return true;
        if (++*ret_count == 1)
            *ret_policy = policy;
    }
    return *ret_count == 0;
}
