/* Outbound listeners: virtualOutbound, and one for each destination. */
#include "control/xds/generation.h"

#include "common/mesh/port.h"
#include "common/mesh/resource.h"
#include "control/xds/generate.h"

#define DETECTION_MS 1000 /* a client that says nothing is a server-first protocol's, or slow */

static pb_listener *listener_of(struct generation *generation, struct fl_span name, struct fl_span ip, uint16_t port)
{
    pb_listener *listener = new_listener(&generation->build);
    listener->name = build_text(&generation->build, name);
    listener->address = build_address(&generation->build, ip, port);
    listener->traffic_direction = ENVOY__CONFIG__CORE__V3__TRAFFIC_DIRECTION__OUTBOUND;
    return listener;
}

void listener_add_filter(struct generation *generation, pb_listener *listener, const char *name,
                         const ProtobufCMessage *config)
{
    pb_listener_filter *filter = new_listener_filter(&generation->build);
    filter->name = literal(name);
    filter->config_type_case = ENVOY__CONFIG__LISTENER__V3__LISTENER_FILTER__CONFIG_TYPE_TYPED_CONFIG;
    filter->typed_config = build_any(&generation->build, config);
    PUSH(&generation->build, listener, listener_filters, filter);
}

void listener_add_http_match(struct generation *generation, pb_chain_match *match)
{
    struct build *build = &generation->build;
    PUSH(build, match, application_protocols, literal("http/1.0"));
    PUSH(build, match, application_protocols, literal("http/1.1"));
    PUSH(build, match, application_protocols, literal("h2c"));
}

void listener_detect(struct generation *generation, pb_listener *listener)
{
    listener_add_filter(generation, listener, "envoy.filters.listener.http_inspector",
                        &new_http_inspector(&generation->build)->base);
    listener->listener_filters_timeout = build_ms(&generation->build, DETECTION_MS);
    listener->continue_on_listener_filters_timeout = true;
}

static pb_chain *tcp_chain(struct generation *generation, pb_tcp_proxy *proxy)
{
    pb_chain *chain = new_chain(&generation->build);
    PUSH(&generation->build, chain, filters, tcp_filter(generation, proxy));
    return chain;
}

static pb_chain *http_chain(struct generation *generation, pb_hcm *manager)
{
    pb_chain *chain = new_chain(&generation->build);
    PUSH(&generation->build, chain, filters, http_filter(generation, manager));
    return chain;
}

static void set_kind(struct generation *generation, pb_listener *listener, const char *kind)
{
    build_field(&generation->build, build_metadata(&generation->build, &listener->metadata, FL_METADATA),
                FL_METADATA_KIND, fl_span_str(kind));
}

/* Where nobody of ours stands: out, if that is allowed, or nowhere. */
static const char *egress_cluster(const struct generation *generation)
{
    return generation->settings.egress == CONTROL_EGRESS_REFUSE ? FL_RESOURCE_NAME_BLACKHOLE
                                                                : FL_RESOURCE_NAME_PASSTHROUGH;
}

static ProtobufCMessage *virtual_outbound(struct generation *generation, struct fl_span text)
{
    struct build *build = &generation->build;
    pb_listener *listener = listener_of(generation, text, FL_SPAN("::"), FL_PORT_OUTBOUND);
    const char *cluster = egress_cluster(generation);
    listener->address->socket_address->ipv4_compat = true;
    listener->use_original_dst = build_bool(build, true);
    listener_add_filter(generation, listener, "envoy.filters.listener.original_dst", &new_original_dst(build)->base);
    listener->default_filter_chain = tcp_chain(generation, tcp_proxy(generation, cluster, cluster));
    return &listener->base;
}

/* -- destinations -- */

/* By the port's protocol: HTTP, TCP, or whichever the first bytes say. */
static void set_chains(struct generation *generation, pb_listener *listener, enum control_protocol protocol,
                       pb_hcm *manager, pb_tcp_proxy *proxy)
{
    struct build *build = &generation->build;
    if (protocol == CONTROL_PROTOCOL_HTTP || protocol == CONTROL_PROTOCOL_HTTP2) {
        listener->default_filter_chain = http_chain(generation, manager);
        return;
    }
    listener->default_filter_chain = tcp_chain(generation, proxy);
    if (protocol != CONTROL_PROTOCOL_AUTO)
        return;
    pb_chain *http = http_chain(generation, manager);
    http->filter_chain_match = new_chain_match(build);
    listener_add_http_match(generation, http->filter_chain_match);
    PUSH(build, listener, filter_chains, http);
    listener_detect(generation, listener);
}

void listener_set_tcp_route(struct generation *generation, pb_tcp_proxy *proxy,
                            const struct control_destinations *destinations)
{
    struct build *build = &generation->build;
    pb_tcp_weighted *weighted = new_tcp_weighted(build);
    for (size_t i = 0; i < destinations->count; i++) {
        const struct control_destination *destination = &destinations->items[i];
        if (destination->weight == 0)
            continue;
        pb_tcp_weight *weight = new_tcp_weight(build);
        weight->name =
            destination->error != CONTROL_BACKEND_OK
                ? literal(FL_RESOURCE_NAME_BLACKHOLE)
                : name_of_service(generation, FL_RESOURCE_CLUSTER, destination->service, destination->port->port);
        weight->weight = destination->weight;
        PUSH(build, weighted, clusters, weight);
    }
    if (weighted->n_clusters == 0) {
        proxy->cluster = literal(FL_RESOURCE_NAME_BLACKHOLE);
        return;
    }
    if (weighted->n_clusters == 1) {
        proxy->cluster = weighted->clusters[0]->name;
        return;
    }
    proxy->cluster = NULL;
    proxy->cluster_specifier_case =
        ENVOY__EXTENSIONS__FILTERS__NETWORK__TCP_PROXY__V3__TCP_PROXY__CLUSTER_SPECIFIER_WEIGHTED_CLUSTERS;
    proxy->weighted_clusters = weighted;
}

static void service_listener(struct generation *generation, pb_listener *listener,
                             const struct control_service *service, const struct control_port *port)
{
    struct control_service_routes routes;
    const char *cluster = name_of_service(generation, FL_RESOURCE_CLUSTER, service, port->port);
    if (control_service_routes(generation->model, service, port, generation->view->name_space, generation->arena,
                               &routes) < 0) {
        generation->build.failed = true;
        return;
    }
    pb_hcm *manager = http_manager(generation, HTTP_OUTBOUND, cluster);
    pb_tcp_proxy *proxy = tcp_proxy(generation, cluster, cluster);
    enum control_protocol protocol = port->protocol;
    http_set_rds(generation, manager, name_of_service(generation, FL_RESOURCE_ROUTES, service, port->port));
    if (routes.routing == CONTROL_ROUTING_TCP) {
        listener_set_tcp_route(generation, proxy, &routes.tcp);
        protocol = CONTROL_PROTOCOL_TCP;
    } else if (routes.routing == CONTROL_ROUTING_HTTP && protocol == CONTROL_PROTOCOL_AUTO) {
        protocol = CONTROL_PROTOCOL_HTTP;
    }
    if (control_is_opaque(&service->object, port->port))
        protocol = CONTROL_PROTOCOL_TCP;
    set_kind(generation, listener, FL_DESTINATION_SERVICE);
    set_chains(generation, listener, protocol, manager, proxy);
}

/* The protocol of a Pod's port, as its Services declare it, or the Pod itself. */
static enum control_protocol pod_protocol(struct generation *generation, const struct control_pod *pod, uint16_t port)
{
    struct control_inbounds inbounds;
    if (control_pod_inbound(generation->model, pod, generation->arena, &inbounds) < 0) {
        generation->build.failed = true;
        return CONTROL_PROTOCOL_TCP;
    }
    for (size_t i = 0; i < inbounds.count; i++)
        if (inbounds.items[i].pod_port == port)
            return inbounds.items[i].protocol;
    return control_is_opaque(&pod->object, port) ? CONTROL_PROTOCOL_TCP : CONTROL_PROTOCOL_AUTO;
}

static void workload_listener(struct generation *generation, pb_listener *listener, const struct control_pod *pod,
                              const struct control_ip *ip, uint16_t port)
{
    const char *cluster = name_of_workload(generation, ip, port);
    pb_hcm *manager = http_manager(generation, HTTP_OUTBOUND, cluster);
    http_set_cluster(generation, manager, cluster, cluster);
    set_kind(generation, listener, FL_DESTINATION_WORKLOAD);
    set_chains(generation, listener, pod_protocol(generation, pod, port), manager,
               tcp_proxy(generation, cluster, cluster));
}

static void other_listener(struct generation *generation, pb_listener *listener, const struct control_dialled *dialled)
{
    bool refused = dialled->service != NULL || dialled->in_mesh || generation->settings.egress == CONTROL_EGRESS_REFUSE;
    const char *cluster = refused ? FL_RESOURCE_NAME_BLACKHOLE : FL_RESOURCE_NAME_PASSTHROUGH;
    set_kind(generation, listener, refused ? FL_DESTINATION_REFUSED : FL_DESTINATION_EXTERNAL);
    listener->default_filter_chain = tcp_chain(generation, tcp_proxy(generation, cluster, cluster));
    generation->ttl_seconds = refused ? CONTROL_TTL_REFUSED : CONTROL_TTL_EXTERNAL;
}

static ProtobufCMessage *destination(struct generation *generation, const struct fl_resource_name *name,
                                     struct fl_span text)
{
    struct control_ip ip;
    if (control_ip_parse(name->ip, &ip) < 0)
        return NULL;
    struct control_dialled dialled = control_dial(generation->model, &ip, name->port);
    pb_listener *listener = listener_of(generation, text, name->ip, name->port);
    listener->bind_to_port = build_bool(&generation->build, false);
    if (dialled.port != NULL)
        service_listener(generation, listener, dialled.service, dialled.port);
    else if (dialled.pod != NULL)
        workload_listener(generation, listener, dialled.pod, &ip, name->port);
    else if (generation->view->on_demand)
        other_listener(generation, listener, &dialled);
    else
        return NULL; /* whoever gets everything knows that there is nothing else */
    return &listener->base;
}

ProtobufCMessage *generate_listener(struct generation *generation, const struct fl_resource_name *name,
                                    struct fl_span text)
{
    bool gateway = generation->view->role == CONTROL_ROLE_GATEWAY;
    if (name->kind == FL_RESOURCE_GATEWAY)
        return gateway && generation->view->gateway != NULL &&
                       fl_span_eq(name->name_space, generation->view->gateway->object.metadata.name_space) &&
                       fl_span_eq(name->name, generation->view->gateway->object.metadata.name)
                   ? gateway_listener(generation, name->port, text)
                   : NULL;
    if (gateway)
        return NULL;
    if (name->kind == FL_RESOURCE_VIRTUAL_OUTBOUND)
        return virtual_outbound(generation, text);
    if (name->kind == FL_RESOURCE_VIRTUAL_INBOUND)
        return generation->view->role == CONTROL_ROLE_SIDECAR ? inbound_listener(generation, text) : NULL;
    if (name->kind == FL_RESOURCE_TUNNEL_INBOUND)
        return generation->view->role == CONTROL_ROLE_SIDECAR ? inbound_tunnel_listener(generation, text) : NULL;
    return name->kind == FL_RESOURCE_DESTINATION ? destination(generation, name, text) : NULL;
}
