/* A connection manager that ends tunnels (HBONE): one route, connect_matcher, whose action has connect_config and names
 * the listener that takes the tunnelled connections where a cluster stands otherwise. */
#include "proxy/config/context.h"

#define HCM(member) ENVOY__EXTENSIONS__FILTERS__NETWORK__HTTP_CONNECTION_MANAGER__V3__HTTP_CONNECTION_MANAGER__##member

static bool is_connect(const char *type)
{
    return strcasecmp(type, "CONNECT") == 0;
}

bool compile_hcm_tunnels(const pb_hcm *message)
{
    for (size_t i = 0; i < message->n_upgrade_configs; i++)
        if (is_connect(message->upgrade_configs[i]->upgrade_type))
            return true;
    return false;
}

static bool ends_connect(const pb_route_action *action)
{
    for (size_t i = 0; i < action->n_upgrade_configs; i++)
        if (is_connect(action->upgrade_configs[i]->upgrade_type) && action->upgrade_configs[i]->connect_config != NULL)
            return true;
    return false;
}

static int read_route(struct compile *compile, const pb_route *route, const struct proxy_slot **ret_listener)
{
    if (route->match == NULL ||
        route->match->path_specifier_case != ENVOY__CONFIG__ROUTE__V3__ROUTE_MATCH__PATH_SPECIFIER_CONNECT_MATCHER)
        return compile_fail_at(compile, "match", "expected connect_matcher, as upgrade_configs says CONNECT");
    if (route->action_case != ENVOY__CONFIG__ROUTE__V3__ROUTE__ACTION_ROUTE || !ends_connect(route->route))
        return compile_fail_at(compile, "route", "expected upgrade_configs of CONNECT with connect_config");
    struct compile_mark mark = compile_enter(compile, "route");
    if (route->route->cluster_specifier_case != ENVOY__CONFIG__ROUTE__V3__ROUTE_ACTION__CLUSTER_SPECIFIER_CLUSTER)
        return compile_fail_at(compile, "cluster", "must name the listener that takes the connections");
    int result = compile_slot(compile, PROXY_SLOT_LISTENER, fl_span_str(route->route->cluster), ret_listener);
    if (result == 0)
        compile_leave(compile, mark);
    return result;
}

int compile_tunnel(struct compile *compile, const pb_hcm *message, const struct proxy_slot **ret_listener)
{
    if (message->codec_type != HCM(CODEC_TYPE__HTTP2))
        return compile_fail_at(compile, "codec_type", "expected HTTP2, as upgrade_configs says CONNECT");
    if (message->route_specifier_case != HCM(ROUTE_SPECIFIER_ROUTE_CONFIG))
        return compile_fail_at(compile, "route_config", "must be set");
    struct compile_mark mark = compile_enter(compile, "route_config");
    if (message->route_config->n_virtual_hosts != 1 || message->route_config->virtual_hosts[0]->n_routes != 1)
        return compile_fail_at(compile, "virtual_hosts",
                               "expected one with one route, as upgrade_configs says CONNECT");
    compile_enter_at(compile, "virtual_hosts", 0);
    compile_enter_at(compile, "routes", 0);
    int result = read_route(compile, message->route_config->virtual_hosts[0]->routes[0], ret_listener);
    if (result == 0)
        compile_leave(compile, mark);
    return result;
}
