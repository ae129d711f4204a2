#include "tests/unit/cni/plan_walk.h"

#include <arpa/inet.h>

static bool in_cidr(const struct cni_address_match *match, const uint8_t *address)
{
    return !match->present || (memcmp(match->cidr.address, address, match->cidr.prefix / 8) == 0) != match->negated;
}

/* `value` is of the set's width. Names compare as bytes, NUL-padded, like everything else. */
static bool in_set(const struct cni_plan *plan, enum cni_set_id id, const void *value)
{
    const struct cni_set *set = &plan->sets[id];
    for (size_t i = 0; i < set->count; i++) {
        if (memcmp(value, set->ranges[i].first, set->width) >= 0 && memcmp(value, set->ranges[i].last, set->width) <= 0)
            return true;
    }
    return false;
}

static bool has_port_in(const struct cni_plan *plan, enum cni_set_id id, uint16_t port)
{
    uint16_t network = htons(port);
    return in_set(plan, id, &network);
}

static bool matches_way(const struct cni_plan *plan, const struct cni_rule *rule, const struct cni_packet *packet)
{
    char name[FL_INTERFACE_NAME_MAX] = {0};
    memcpy(name, packet->interface, strnlen(packet->interface, sizeof(name) - 1));
    return (rule->family == AF_UNSPEC || rule->family == packet->family) &&
           (rule->protocol == 0 || rule->protocol == packet->protocol) &&
           (!rule->loopback || strcmp(name, "lo") == 0) &&
           (rule->interface_set == CNI_SET_NONE || in_set(plan, rule->interface_set, name)) &&
           (!rule->invalid || packet->invalid);
}

static bool matches_sender(const struct cni_plan *plan, const struct cni_rule *rule, const struct cni_packet *packet)
{
    uint32_t uid = htonl(packet->uid);
    return (!rule->proxy || (packet->uid == plan->uid && packet->gid == plan->gid)) &&
           (rule->uid_set == CNI_SET_NONE || in_set(plan, rule->uid_set, &uid));
}

static bool matches_ends(const struct cni_plan *plan, const struct cni_rule *rule, const struct cni_packet *packet)
{
    return in_cidr(&rule->source, packet->source) && in_cidr(&rule->destination, packet->destination) &&
           (rule->destination_set == CNI_SET_NONE || in_set(plan, rule->destination_set, packet->destination)) &&
           (rule->source_port == 0 || rule->source_port == packet->source_port) &&
           (rule->port == 0 || rule->port == packet->destination_port) &&
           (rule->port_set == CNI_SET_NONE || has_port_in(plan, rule->port_set, packet->destination_port)) &&
           (rule->port_set_not == CNI_SET_NONE || !has_port_in(plan, rule->port_set_not, packet->destination_port));
}

static const struct cni_rule *first_match(const struct cni_plan *plan, enum cni_chain chain,
                                          const struct cni_packet *packet)
{
    for (size_t i = 0; i < plan->rule_count; i++) {
        const struct cni_rule *rule = &plan->rules[i];
        if (rule->chain == chain && matches_way(plan, rule, packet) && matches_sender(plan, rule, packet) &&
            matches_ends(plan, rule, packet))
            return rule;
    }
    return NULL;
}

/* In the order of the chains' priorities. Packets that belong to no connection do not reach chains of type nat; what
 * comes in by lo has had its verdict when it was sent. */
void cni_plan_decide(const struct cni_plan *plan, const struct cni_packet *packet, struct cni_decision *ret_decision)
{
    struct cni_decision decision = {0};
    const struct cni_rule *first =
        first_match(plan, packet->inward ? CNI_CHAIN_DROP_INVALID : CNI_CHAIN_DNS_ZONE, packet);
    decision.dropped = first != NULL && first->verdict == CNI_DROP;
    if (first != NULL && first->verdict == CNI_ZONE)
        decision.zone = first->to_port;
    if (decision.dropped)
        decision.rule = first;
    else if (!(packet->inward && (packet->invalid || strcmp(packet->interface, "lo") == 0)))
        decision.rule = first_match(plan, packet->inward ? CNI_CHAIN_PREROUTING : CNI_CHAIN_OUTPUT, packet);
    if (decision.rule != NULL && decision.rule->verdict == CNI_REDIRECT)
        decision.redirected = decision.rule->to_port;
    *ret_decision = decision;
}
