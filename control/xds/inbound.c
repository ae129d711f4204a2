/* virtualInbound: what may come to the workload, port by port, by the mTLS mode of each.
 *
 *     STRICT      TLS, whatever the bytes are: plaintext fails the handshake, and silence is TLS too. What the
 *                 ClientHello's ALPN decides is HTTP or bytes
 *     PERMISSIVE  TLS of the mesh, by its ALPN; plaintext; TLS of the application, untouched
 *     DISABLE     plaintext
 *
 * A port that no Service names passes as TCP under the workload's mode. A connection that no chain fits is closed.
 */
#include "control/xds/generation.h"

#include "common/mesh/port.h"
#include "common/mesh/resource.h"

#define WATCH_MS 1000 /* for the first bytes; who says nothing speaks plaintext */

struct inbound_port {
    uint16_t port; /* 0: every other */
    enum control_protocol protocol;
    enum control_mtls mode;
    const char *cluster;
};

struct inbound {
    struct generation *generation;
    pb_listener *listener;
    bool inspect_tls, detect_http;
};

/* -- one chain -- */

static pb_chain *chain_for(struct inbound *inbound, const struct inbound_port *port, const char *what)
{
    struct build *build = &inbound->generation->build;
    pb_chain *chain = new_chain(build);
    chain->name =
        port->port != 0 ? build_textf(build, "%u-%s", port->port, what) : build_textf(build, "other-%s", what);
    chain->filter_chain_match = new_chain_match(build);
    if (port->port != 0)
        chain->filter_chain_match->destination_port = build_u32(build, port->port);
    PUSH(build, inbound->listener, filter_chains, chain);
    return chain;
}

static void end_in_tcp(struct inbound *inbound, pb_chain *chain, const struct inbound_port *port)
{
    struct generation *generation = inbound->generation;
    policies_tcp(generation, chain);
    PUSH(&generation->build, chain, filters,
         tcp_filter(generation, tcp_proxy(generation, port->cluster, port->cluster)));
}

static void end_in_http(struct inbound *inbound, pb_chain *chain, const struct inbound_port *port)
{
    struct generation *generation = inbound->generation;
    pb_hcm *manager = http_manager(generation, HTTP_INBOUND, port->cluster);
    http_set_cluster(generation, manager, port->cluster, port->cluster);
    PUSH(&generation->build, chain, filters, http_filter(generation, manager));
}

static void end(struct inbound *inbound, pb_chain *chain, const struct inbound_port *port)
{
    if (port->protocol == CONTROL_PROTOCOL_HTTP || port->protocol == CONTROL_PROTOCOL_HTTP2)
        end_in_http(inbound, chain, port);
    else
        end_in_tcp(inbound, chain, port);
}

/* -- the chains of a port -- */

static void add_mesh_chain(struct inbound *inbound, const struct inbound_port *port, bool watched, const char *what,
                           enum mesh_tokens tokens)
{
    pb_chain *chain = chain_for(inbound, port, what);
    if (watched)
        chain->filter_chain_match->transport_protocol = literal("tls");
    if (watched || tokens == MESH_HTTP) {
        transport_match(inbound->generation, chain->filter_chain_match, tokens);
        inbound->inspect_tls = true;
    }
    chain->transport_socket = transport_inbound(inbound->generation, tokens);
    if (tokens == MESH_HTTP)
        end_in_http(inbound, chain, port);
    else
        end(inbound, chain, port);
}

/* Inside the mesh's TLS the client has decided what it is, and its ALPN tells. Where the port is HTTP every token is
 * welcome, and the bytes are HTTP or refused; else requests that come as such are served as such. */
static void add_mesh(struct inbound *inbound, const struct inbound_port *port, bool watched)
{
    bool http = port->protocol == CONTROL_PROTOCOL_HTTP || port->protocol == CONTROL_PROTOCOL_HTTP2;
    if (!http)
        add_mesh_chain(inbound, port, watched, "mtls-http", MESH_HTTP);
    add_mesh_chain(inbound, port, watched, "mtls", http ? MESH_ALL : MESH_BYTES);
}

static void add_plaintext(struct inbound *inbound, const struct inbound_port *port, bool watched)
{
    const char *transport = watched ? "raw_buffer" : "";
    if (port->protocol == CONTROL_PROTOCOL_AUTO) {
        pb_chain *http = chain_for(inbound, port, "plaintext-http");
        http->filter_chain_match->transport_protocol = literal(transport);
        listener_add_http_match(inbound->generation, http->filter_chain_match);
        end_in_http(inbound, http, port);
        inbound->detect_http = true;
    }
    pb_chain *chain = chain_for(inbound, port, "plaintext");
    chain->filter_chain_match->transport_protocol = literal(transport);
    end(inbound, chain, port);
}

static void add_foreign_tls(struct inbound *inbound, const struct inbound_port *port)
{
    pb_chain *chain = chain_for(inbound, port, "tls");
    chain->filter_chain_match->transport_protocol = literal("tls");
    end_in_tcp(inbound, chain, port);
}

static void add_port(struct inbound *inbound, const struct inbound_port *port)
{
    if (port->mode == CONTROL_MTLS_STRICT) {
        add_mesh(inbound, port, false);
    } else if (port->mode == CONTROL_MTLS_DISABLE) {
        add_plaintext(inbound, port, false);
    } else {
        add_mesh(inbound, port, true);
        add_plaintext(inbound, port, true);
        add_foreign_tls(inbound, port);
    }
}

/* -- the listener -- */

static void add_services(struct inbound *inbound, const struct control_inbounds *inbounds)
{
    struct generation *generation = inbound->generation;
    for (size_t i = 0; i < inbounds->count; i++) {
        const struct control_inbound *from = &inbounds->items[i];
        if (i > 0 && inbounds->items[i - 1].pod_port == from->pod_port)
            continue;
        const struct inbound_port port = {
            .port = from->pod_port,
            .protocol = from->protocol,
            .mode = control_workload_mtls(generation->model, &generation->view->workload, from->pod_port),
            .cluster = build_textf(&generation->build, "inbound|%u||", from->pod_port),
        };
        add_port(inbound, &port);
    }
}

static bool is_served(const struct control_inbounds *inbounds, uint16_t port)
{
    for (size_t i = 0; i < inbounds->count; i++)
        if (inbounds->items[i].pod_port == port)
            return true;
    return false;
}

/* Ports with a mode of their own that no Service names, then all others. */
static void add_others(struct inbound *inbound, const struct control_inbounds *inbounds)
{
    struct generation *generation = inbound->generation;
    const struct control_port_mtls *ports;
    size_t count;
    struct inbound_port port = {.protocol = CONTROL_PROTOCOL_TCP, .cluster = FL_RESOURCE_NAME_INBOUND_PASSTHROUGH};
    if (control_workload_mtls_ports(generation->model, &generation->view->workload, generation->arena, &ports, &count) <
        0) {
        generation->build.failed = true;
        return;
    }
    for (size_t i = 0; i < count; i++) {
        if (is_served(inbounds, ports[i].port))
            continue;
        port.port = ports[i].port;
        port.mode = control_workload_mtls(generation->model, &generation->view->workload, ports[i].port);
        add_port(inbound, &port);
    }
    port.port = 0;
    port.mode = control_workload_mtls(generation->model, &generation->view->workload, 0);
    add_port(inbound, &port);
}

static void add_filters(struct inbound *inbound)
{
    struct generation *generation = inbound->generation;
    struct build *build = &generation->build;
    listener_add_filter(generation, inbound->listener, "envoy.filters.listener.original_dst",
                        &new_original_dst(build)->base);
    if (inbound->inspect_tls)
        listener_add_filter(generation, inbound->listener, "envoy.filters.listener.tls_inspector",
                            &new_tls_inspector(build)->base);
    if (inbound->detect_http)
        listener_detect(generation, inbound->listener);
    if (inbound->inspect_tls || inbound->detect_http) {
        inbound->listener->listener_filters_timeout = build_ms(build, WATCH_MS);
        inbound->listener->continue_on_listener_filters_timeout = true;
    }
}

/* Which policies select it is not known: nobody gets in. */
static void refuse(struct inbound *inbound)
{
    struct generation *generation = inbound->generation;
    pb_chain *chain = new_chain(&generation->build);
    PUSH(&generation->build, chain, filters,
         tcp_filter(generation, tcp_proxy(generation, FL_RESOURCE_NAME_BLACKHOLE, FL_RESOURCE_NAME_BLACKHOLE)));
    inbound->listener->default_filter_chain = chain;
}

ProtobufCMessage *inbound_listener(struct generation *generation, struct fl_span text)
{
    struct build *build = &generation->build;
    struct control_inbounds inbounds = {0};
    struct inbound inbound = {.generation = generation, .listener = new_listener(build)};
    inbound.listener->name = build_text(build, text);
    inbound.listener->address = build_address(build, FL_SPAN("::"), FL_PORT_INBOUND);
    inbound.listener->address->socket_address->ipv4_compat = true;
    inbound.listener->traffic_direction = ENVOY__CONFIG__CORE__V3__TRAFFIC_DIRECTION__INBOUND;
    if (generation->settings.istio_peers) /* what comes for port 15008 is for the listener below */
        inbound.listener->use_original_dst = build_bool(build, true);
    if (generation->view->pod == NULL) {
        refuse(&inbound);
    } else if (control_pod_inbound(generation->model, generation->view->pod, generation->arena, &inbounds) < 0) {
        build->failed = true;
    } else {
        add_services(&inbound, &inbounds);
        add_others(&inbound, &inbounds);
    }
    add_filters(&inbound);
    return &inbound.listener->base;
}

ProtobufCMessage *inbound_tunnel_listener(struct generation *generation, struct fl_span text)
{
    struct build *build = &generation->build;
    if (!generation->settings.istio_peers || generation->view->pod == NULL)
        return NULL;
    pb_listener *listener = new_listener(build);
    listener->name = build_text(build, text);
    listener->address = build_address(build, FL_SPAN("::"), FL_PORT_HBONE);
    listener->address->socket_address->ipv4_compat = true;
    listener->bind_to_port = build_bool(build, false);
    listener->traffic_direction = ENVOY__CONFIG__CORE__V3__TRAFFIC_DIRECTION__INBOUND;
    pb_chain *chain = new_chain(build);
    chain->transport_socket = transport_tunnel_inbound(generation);
    PUSH(build, chain, filters, http_filter(generation, http_tunnel_manager(generation)));
    PUSH(build, listener, filter_chains, chain);
    return &listener->base;
}
