/* Connection managers and TCP proxies: what every listener's chains end in. */
#include "control/xds/generation.h"

#include "common/mesh/resource.h"

#define HCM(member) ENVOY__EXTENSIONS__FILTERS__NETWORK__HTTP_CONNECTION_MANAGER__V3__HTTP_CONNECTION_MANAGER__##member

static void set_client_certificate(struct generation *generation, pb_hcm *manager, enum http_place place)
{
    manager->forward_client_cert_details = HCM(FORWARD_CLIENT_CERT_DETAILS__SANITIZE);
    if (place != HTTP_INBOUND)
        return;
    manager->forward_client_cert_details = HCM(FORWARD_CLIENT_CERT_DETAILS__SANITIZE_SET);
    manager->set_current_client_cert_details = new_hcm_cert_details(&generation->build);
    manager->set_current_client_cert_details->uri = true;
}

static void add_filter(struct generation *generation, pb_hcm *manager, const char *name, const ProtobufCMessage *config)
{
    struct build *build = &generation->build;
    pb_http_filter *filter = new_http_filter(build);
    filter->name = literal(name);
    filter->config_type_case =
        ENVOY__EXTENSIONS__FILTERS__NETWORK__HTTP_CONNECTION_MANAGER__V3__HTTP_FILTER__CONFIG_TYPE_TYPED_CONFIG;
    filter->typed_config = build_any(build, config);
    PUSH(build, manager, http_filters, filter);
}

static void add_router(struct generation *generation, pb_hcm *manager)
{
    add_filter(generation, manager, "envoy.filters.http.router", &new_router(&generation->build)->base);
}

pb_hcm *http_manager(struct generation *generation, enum http_place place, const char *stat_prefix)
{
    struct build *build = &generation->build;
    pb_hcm *manager = new_hcm(build);
    pb_hcm_upgrade *upgrade = new_hcm_upgrade(build);
    bool paths = false;
    manager->stat_prefix = literal(stat_prefix);
    manager->generate_request_id = build_bool(build, true);
    manager->preserve_external_request_id = true;
    manager->normalize_path = build_bool(build, true);
    manager->merge_slashes = true;
    manager->server_header_transformation = HCM(SERVER_HEADER_TRANSFORMATION__PASS_THROUGH);
    manager->http_protocol_options = new_http1_options(build);
    manager->http_protocol_options->accept_http_10 = true;
    manager->use_remote_address = build_bool(build, place == HTTP_GATEWAY);
    set_client_certificate(generation, manager, place);
    upgrade->upgrade_type = literal("websocket");
    PUSH(build, manager, upgrade_configs, upgrade);
    pb_access_log *log = telemetry_log(generation);
    if (log != NULL)
        PUSH(build, manager, access_log, log);
    manager->tracing = telemetry_tracing(generation, place == HTTP_INBOUND);
    if (place != HTTP_INBOUND) /* before the policies: a browser's question carries nothing that they could judge */
        add_filter(generation, manager, CORS_FILTER, &new_cors(build)->base);
    if (place != HTTP_OUTBOUND)
        policies_http(generation, manager, &paths);
    if (paths)
        manager->path_with_escaped_slashes_action = HCM(PATH_WITH_ESCAPED_SLASHES_ACTION__REJECT_REQUEST);
    add_router(generation, manager);
    return manager;
}

void http_set_rds(struct generation *generation, pb_hcm *manager, const char *name)
{
    pb_rds *rds = new_rds(&generation->build);
    rds->config_source = build_ads(&generation->build);
    rds->route_config_name = literal(name);
    manager->route_specifier_case = HCM(ROUTE_SPECIFIER_RDS);
    manager->rds = rds;
}

void http_set_cluster(struct generation *generation, pb_hcm *manager, const char *name, const char *cluster)
{
    struct build *build = &generation->build;
    pb_routes *routes = new_routes(build);
    pb_virtual_host *host = new_virtual_host(build);
    pb_route *route = new_route(build);
    route->match = new_route_match(build);
    route->match->path_specifier_case = ENVOY__CONFIG__ROUTE__V3__ROUTE_MATCH__PATH_SPECIFIER_PREFIX;
    route->match->prefix = literal("/");
    route->action_case = ENVOY__CONFIG__ROUTE__V3__ROUTE__ACTION_ROUTE;
    route->route = new_route_action(build);
    route->route->cluster_specifier_case = ENVOY__CONFIG__ROUTE__V3__ROUTE_ACTION__CLUSTER_SPECIFIER_CLUSTER;
    route->route->cluster = literal(cluster);
    route->route->timeout = build_ms(build, 0);
    host->name = literal(name);
    PUSH(build, host, domains, literal("*"));
    PUSH(build, host, routes, route);
    routes->name = literal(name);
    PUSH(build, routes, virtual_hosts, host);
    manager->route_specifier_case = HCM(ROUTE_SPECIFIER_ROUTE_CONFIG);
    manager->route_config = routes;
}

pb_hcm *http_tunnel_manager(struct generation *generation)
{
    struct build *build = &generation->build;
    pb_hcm *manager = new_hcm(build);
    manager->stat_prefix = literal(FL_RESOURCE_NAME_TUNNEL_INBOUND);
    manager->codec_type = HCM(CODEC_TYPE__HTTP2);
    pb_hcm_upgrade *upgrade = new_hcm_upgrade(build);
    upgrade->upgrade_type = literal("CONNECT");
    PUSH(build, manager, upgrade_configs, upgrade);
    http_set_cluster(generation, manager, FL_RESOURCE_NAME_TUNNEL_INBOUND, FL_RESOURCE_NAME_VIRTUAL_INBOUND);
    pb_route *route = manager->route_config->virtual_hosts[0]->routes[0];
    route->match->path_specifier_case = ENVOY__CONFIG__ROUTE__V3__ROUTE_MATCH__PATH_SPECIFIER_CONNECT_MATCHER;
    route->match->connect_matcher = new_connect_matcher(build);
    pb_route_upgrade *ends = new_route_upgrade(build);
    ends->upgrade_type = literal("CONNECT");
    ends->connect_config = new_connect_config(build);
    PUSH(build, route->route, upgrade_configs, ends);
    add_router(generation, manager);
    return manager;
}

static pb_filter *network_filter(struct generation *generation, const char *name, const ProtobufCMessage *config)
{
    pb_filter *filter = new_filter(&generation->build);
    filter->name = literal(name);
    filter->config_type_case = ENVOY__CONFIG__LISTENER__V3__FILTER__CONFIG_TYPE_TYPED_CONFIG;
    filter->typed_config = build_any(&generation->build, config);
    return filter;
}

pb_filter *http_filter(struct generation *generation, pb_hcm *manager)
{
    return network_filter(generation, "envoy.filters.network.http_connection_manager", &manager->base);
}

pb_filter *tcp_filter(struct generation *generation, pb_tcp_proxy *proxy)
{
    return network_filter(generation, "envoy.filters.network.tcp_proxy", &proxy->base);
}

pb_tcp_proxy *tcp_proxy(struct generation *generation, const char *stat_prefix, const char *cluster)
{
    struct build *build = &generation->build;
    pb_tcp_proxy *proxy = new_tcp_proxy(build);
    proxy->stat_prefix = literal(stat_prefix);
    proxy->cluster_specifier_case =
        ENVOY__EXTENSIONS__FILTERS__NETWORK__TCP_PROXY__V3__TCP_PROXY__CLUSTER_SPECIFIER_CLUSTER;
    proxy->cluster = literal(cluster);
    proxy->idle_timeout = build_ms(build, 3600000);
    pb_access_log *log = telemetry_log(generation);
    if (log != NULL)
        PUSH(build, proxy, access_log, log);
    return proxy;
}
