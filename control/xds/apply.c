#include "control/xds/apply.h"

#include <stdio.h>

void control_impact_drop(const struct control_impact *impact, struct control_cache *cache)
{
    for (enum fl_resource_type type = 0; type < FL_RESOURCE_TYPES; type++)
        if (impact->types[type])
            control_cache_drop_type(cache, type);
    for (size_t i = 0; i < impact->name_count; i++)
        control_cache_drop(cache, impact->names[i].type, impact->names[i].name);
}

/* "outbound|<ip>:" and "workload|<ip>:" */
static void touch_address(struct control_session *session, struct fl_span ip)
{
    bool ipv6 = fl_span_find(ip, ':') < ip.len;
    char text[96];
    int len = snprintf(text, sizeof(text), "outbound|%s%.*s%s:", ipv6 ? "[" : "", FL_SPAN_ARG(ip), ipv6 ? "]" : "");
    control_session_touch_prefix(session, FL_RESOURCE_LISTENER, fl_span_make(text, (size_t)len));
    len = snprintf(text, sizeof(text), "workload|%s%.*s%s:", ipv6 ? "[" : "", FL_SPAN_ARG(ip), ipv6 ? "]" : "");
    control_session_touch_prefix(session, FL_RESOURCE_CLUSTER, fl_span_make(text, (size_t)len));
    control_session_touch_prefix(session, FL_RESOURCE_ENDPOINTS, fl_span_make(text, (size_t)len));
}

static void touch_own_side(struct control_session *session)
{
    control_session_touch(session, FL_RESOURCE_LISTENER, FL_SPAN(FL_RESOURCE_NAME_VIRTUAL_INBOUND));
    control_session_touch(session, FL_RESOURCE_LISTENER, FL_SPAN(FL_RESOURCE_NAME_TUNNEL_INBOUND));
    control_session_touch(session, FL_RESOURCE_LISTENER, FL_SPAN(FL_RESOURCE_NAME_VIRTUAL_OUTBOUND));
    control_session_touch_prefix(session, FL_RESOURCE_CLUSTER, FL_SPAN("inbound|"));
    control_session_touch_groups(session, FL_RESOURCE_CLUSTER);
}

static void touch_sidecar(const struct control_impact *impact, const struct control_node *node,
                          struct control_session *session)
{
    struct fl_span name_space = fl_span_str(node->name_space), name = fl_span_str(node->name);
    for (size_t i = 0; i < impact->namespace_count; i++)
        if (impact->namespaces[i].len == 0 || fl_span_eq(impact->namespaces[i], name_space))
            touch_own_side(session);
    for (size_t i = 0; i < impact->pod_count; i++)
        if (fl_span_eq(impact->pods[i].name_space, name_space) && fl_span_eq(impact->pods[i].name, name)) {
            control_session_touch_type(session, FL_RESOURCE_LISTENER);
            control_session_touch_type(session, FL_RESOURCE_CLUSTER);
        }
}

void control_impact_touch(const struct control_impact *impact, const struct control_node *node,
                          struct control_session *session)
{
    bool gateway = impact->gateways && node->role == CONTROL_ROLE_GATEWAY;
    for (enum fl_resource_type type = 0; type < FL_RESOURCE_TYPES; type++)
        if (impact->types[type] || (gateway && type != FL_RESOURCE_ENDPOINTS))
            control_session_touch_type(session, type);
    for (size_t i = 0; i < impact->name_count; i++)
        control_session_touch(session, impact->names[i].type, impact->names[i].name);
    for (size_t i = 0; i < impact->destination_count; i++)
        touch_address(session, impact->destinations[i]);
    if (impact->workloads) {
        control_session_touch_prefix(session, FL_RESOURCE_CLUSTER, FL_SPAN("workload|"));
        control_session_touch_prefix(session, FL_RESOURCE_ENDPOINTS, FL_SPAN("workload|"));
    }
    if (impact->groups) {
        control_session_touch_groups(session, FL_RESOURCE_LISTENER);
        control_session_touch_groups(session, FL_RESOURCE_CLUSTER);
    }
    if (node->role == CONTROL_ROLE_SIDECAR)
        touch_sidecar(impact, node, session);
}
