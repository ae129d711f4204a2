/* A gateway's listeners, one for each port, and their route tables. HTTP listeners of one port share a table, by
 * hostname; an HTTPS listener is a chain, by server name, with a table of its own. */
#include "control/xds/generation.h"

#include "common/mesh/resource.h"

static bool view_of(struct generation *generation, struct control_gateway_view *ret_view)
{
    if (control_gateway_view(generation->model, generation->view->gateway, generation->arena, ret_view) < 0)
        generation->build.failed = true;
    else if (ret_view->ours)
        return true;
    return false;
}

static bool is_here(const struct control_listener_view *view, uint16_t port)
{
    return view->in_force && view->listener->port == port;
}

/* -- listeners -- */

static char *routes_name(struct generation *generation, uint16_t port, struct fl_span section)
{
    const struct fl_metadata *metadata = &generation->view->gateway->object.metadata;
    return build_textf(&generation->build, "gateway|%.*s/%.*s|%u%s%.*s", FL_SPAN_ARG(metadata->name_space),
                       FL_SPAN_ARG(metadata->name), port, section.len > 0 ? "|" : "", FL_SPAN_ARG(section));
}

static pb_chain *http_chain(struct generation *generation, const char *routes)
{
    pb_chain *chain = new_chain(&generation->build);
    pb_hcm *manager = http_manager(generation, HTTP_GATEWAY, routes);
    http_set_rds(generation, manager, routes);
    PUSH(&generation->build, chain, filters, http_filter(generation, manager));
    return chain;
}

static pb_chain *tcp_chain(struct generation *generation, const struct control_listener_view *view,
                           const struct control_destinations *destinations)
{
    pb_chain *chain = new_chain(&generation->build);
    const char *name = routes_name(generation, view->listener->port, view->key);
    pb_tcp_proxy *proxy = tcp_proxy(generation, name, FL_RESOURCE_NAME_BLACKHOLE);
    policies_tcp(generation, chain);
    listener_set_tcp_route(generation, proxy, destinations);
    PUSH(&generation->build, chain, filters, tcp_filter(generation, proxy));
    return chain;
}

/* A chain for connections of TLS with this server name; "*" or none: any. */
static void push_tls(struct generation *generation, pb_listener *listener, const struct control_listener_view *view,
                     struct fl_span hostname, pb_chain *chain)
{
    struct build *build = &generation->build;
    bool ends_here = !view->listener->tls_passthrough;
    chain->name = build_text(build, view->key);
    if (view->listener->protocol == CONTROL_LISTENER_TLS)
        chain->name = build_textf(build, "%s/%.*s", chain->name, FL_SPAN_ARG(hostname));
    if (ends_here)
        chain->transport_socket =
            transport_gateway(generation, view->certificates[0], view->listener->protocol == CONTROL_LISTENER_HTTPS);
    chain->filter_chain_match = new_chain_match(build);
    chain->filter_chain_match->transport_protocol = literal("tls");
    if (hostname.len > 0 && !fl_span_eq_str(hostname, "*"))
        PUSH(build, chain->filter_chain_match, server_names, build_text(build, hostname));
    if (listener->n_listener_filters == 0)
        listener_add_filter(generation, listener, "envoy.filters.listener.tls_inspector",
                            &new_tls_inspector(build)->base);
    PUSH(build, listener, filter_chains, chain);
}

static bool has_server_name(const struct control_listener_view *view, struct fl_span hostname)
{
    for (size_t i = 0; i < view->server_name_count; i++)
        if (fl_span_eq(view->server_names[i].hostname, hostname.len > 0 ? hostname : FL_SPAN("*")))
            return true;
    return false;
}

bool gateway_opens(const struct control_listener_view *view)
{
    const struct control_listener *listener = view->listener;
    bool has_route = view->server_name_count > 0 || view->tcp_route != NULL;
    switch (listener->protocol) {
    case CONTROL_LISTENER_HTTP:
    case CONTROL_LISTENER_TCP:
        return view->in_force;
    case CONTROL_LISTENER_HTTPS:
        return view->in_force && view->certificate_count > 0;
    case CONTROL_LISTENER_TLS:
        return view->in_force && has_route && (view->certificate_count > 0 || listener->tls_passthrough);
    case CONTROL_LISTENER_UNSUPPORTED:
    default:
        return false;
    }
}

/* HTTPS, or TLS that ends here or passes. What a TLSRoute has by name comes before a TCPRoute, which has the rest. */
static void add_tls(struct generation *generation, pb_listener *listener, const struct control_listener_view *view)
{
    const struct control_listener *from = view->listener;
    if (from->protocol == CONTROL_LISTENER_HTTPS) {
        push_tls(generation, listener, view, from->hostname,
                 http_chain(generation, routes_name(generation, from->port, view->key)));
        return;
    }
    for (size_t i = 0; i < view->server_name_count; i++)
        push_tls(generation, listener, view, view->server_names[i].hostname,
                 tcp_chain(generation, view, &view->server_names[i].destinations));
    if (view->tcp_route != NULL && !has_server_name(view, from->hostname))
        push_tls(generation, listener, view, from->hostname, tcp_chain(generation, view, &view->tcp));
}

static void add_listener(struct generation *generation, pb_listener *listener, const struct control_listener_view *view)
{
    switch (view->listener->protocol) {
    case CONTROL_LISTENER_HTTP:
        if (listener->default_filter_chain == NULL)
            listener->default_filter_chain =
                http_chain(generation, routes_name(generation, view->listener->port, (struct fl_span){NULL, 0}));
        break;
    case CONTROL_LISTENER_TCP:
        if (listener->default_filter_chain == NULL)
            listener->default_filter_chain = tcp_chain(generation, view, &view->tcp);
        break;
    case CONTROL_LISTENER_HTTPS:
    case CONTROL_LISTENER_TLS:
        add_tls(generation, listener, view);
        break;
    case CONTROL_LISTENER_UNSUPPORTED:
    default:
        break;
    }
}

ProtobufCMessage *gateway_listener(struct generation *generation, uint16_t port, struct fl_span text)
{
    struct build *build = &generation->build;
    struct control_gateway_view view;
    if (!view_of(generation, &view))
        return NULL;
    pb_listener *listener = new_listener(build);
    listener->name = build_text(build, text);
    listener->address = build_address(build, FL_SPAN("::"), port);
    listener->address->socket_address->ipv4_compat = true;
    listener->traffic_direction = ENVOY__CONFIG__CORE__V3__TRAFFIC_DIRECTION__OUTBOUND;
    for (size_t i = 0; i < view.listener_count; i++)
        if (is_here(&view.listeners[i], port) && gateway_opens(&view.listeners[i]))
            add_listener(generation, listener, &view.listeners[i]);
    return listener->n_filter_chains > 0 || listener->default_filter_chain != NULL ? &listener->base : NULL;
}

/* -- routes -- */

static void add_host(struct generation *generation, pb_routes *table, const struct control_host *from, uint16_t port)
{
    struct build *build = &generation->build;
    pb_virtual_host *host = new_virtual_host(build);
    for (size_t i = 0; i < table->n_virtual_hosts; i++)
        if (fl_span_eq_str(from->hostname, table->virtual_hosts[i]->name))
            return; /* of two listeners that share a name: a conflict, and the first counts */
    host->name = build_text(build, from->hostname);
    PUSH(build, host, domains, host->name);
    routes_add(generation, host, &from->routes, port);
    PUSH(build, table, virtual_hosts, host);
}

/* Connections of TLS are told apart by server name, requests on them are not: one that is for another listener of the
 * port is sent back to be made there (421, RFC 9110 §15.5.20). */
static void add_misdirected(struct generation *generation, pb_routes *table, const struct control_gateway_view *view,
                            const struct control_listener_view *own)
{
    for (size_t i = 0; i < view->listener_count; i++) {
        const struct control_listener *other = view->listeners[i].listener;
        const struct control_host host = {.hostname = other->hostname.len > 0 ? other->hostname : FL_SPAN("*")};
        if (&view->listeners[i] == own || !is_here(&view->listeners[i], own->listener->port) ||
            other->protocol != CONTROL_LISTENER_HTTPS)
            continue;
        size_t before = table->n_virtual_hosts;
        add_host(generation, table, &host, own->listener->port);
        if (table->n_virtual_hosts > before)
            routes_add_answer(generation, table->virtual_hosts[before], 421);
    }
}

ProtobufCMessage *gateway_routes(struct generation *generation, uint16_t port, struct fl_span section,
                                 struct fl_span text)
{
    struct build *build = &generation->build;
    struct control_gateway_view view;
    bool found = false;
    if (generation->view->gateway == NULL || !view_of(generation, &view))
        return NULL;
    pb_routes *table = new_routes(build);
    table->name = build_text(build, text);
    table->ignore_port_in_host_matching = true;
    for (size_t i = 0; i < view.listener_count; i++) {
        const struct control_listener_view *listener = &view.listeners[i];
        bool mine = section.len > 0 ? fl_span_eq(section, listener->key)
                                    : listener->listener->protocol == CONTROL_LISTENER_HTTP;
        if (!is_here(listener, port) || !mine)
            continue;
        found = true;
        for (size_t k = 0; k < listener->host_count; k++)
            add_host(generation, table, &listener->hosts[k], port);
        if (section.len > 0)
            add_misdirected(generation, table, &view, listener);
    }
    return found ? &table->base : NULL;
}
