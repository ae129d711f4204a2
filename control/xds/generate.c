#include "control/xds/generate.h"

#include "common/base/siphash.h"
#include "control/model/gateway.h"
#include "control/xds/generation.h"

#include <errno.h>

/* -- names -- */

static char *print_name(struct generation *generation, unsigned type, const struct fl_resource_name *name)
{
    struct fl_buf buf;
    fl_buf_init(&buf, FL_RESOURCE_NAME_MAX);
    char *text = literal("");
    if (fl_resource_print((enum fl_resource_type)type, name, &buf) < 0)
        generation->build.failed = true;
    else
        text = build_text(&generation->build, fl_buf_span(&buf));
    fl_buf_done(&buf);
    return text;
}

char *name_of_service(struct generation *generation, unsigned type, const struct control_service *service,
                      uint16_t port)
{
    const struct fl_resource_name name = {
        .kind = FL_RESOURCE_SERVICE,
        .port = port,
        .host = control_service_fqdn(generation->model, service, generation->arena),
    };
    return print_name(generation, type, &name);
}

char *name_of_workload(struct generation *generation, const struct control_ip *ip, uint16_t port)
{
    char text[CONTROL_IP_TEXT_MAX];
    const struct fl_resource_name name = {
        .kind = FL_RESOURCE_WORKLOAD, .port = port, .ip = fl_span_str(control_ip_print(ip, text))};
    return print_name(generation, FL_RESOURCE_CLUSTER, &name);
}

static char *name_of_destination(struct generation *generation, const struct control_ip *ip, uint16_t port)
{
    char text[CONTROL_IP_TEXT_MAX];
    const struct fl_resource_name name = {
        .kind = FL_RESOURCE_DESTINATION, .port = port, .ip = fl_span_str(control_ip_print(ip, text))};
    return print_name(generation, FL_RESOURCE_LISTENER, &name);
}

/* -- one resource -- */

static void generation_init(struct generation *generation, const struct control_view *view, struct fl_arena *arena)
{
    static const struct control_workload nobody;
    generation->arena = arena;
    generation->view = view;
    generation->model = view->model;
    generation->settings = control_model_settings(view->model);
    generation->ttl_seconds = 0;
    build_init(&generation->build, arena);
    static const struct fl_labels no_labels;
    struct control_workload workload = view->has_workload ? view->workload : nobody;
    if (!view->has_workload) {
        workload.name_space = view->name_space;
        workload.labels = &no_labels;
    }
    generation->telemetry = control_workload_telemetry(view->model, &workload);
}

static ProtobufCMessage *make(struct generation *generation, enum fl_resource_type type,
                              const struct fl_resource_name *name, struct fl_span text)
{
    switch (type) {
    case FL_RESOURCE_CLUSTER:
        return generate_cluster(generation, name, text);
    case FL_RESOURCE_ENDPOINTS:
        return generate_endpoints(generation, name, text);
    case FL_RESOURCE_LISTENER:
        return generate_listener(generation, name, text);
    case FL_RESOURCE_ROUTES:
        return generate_routes(generation, name, text);
    case FL_RESOURCE_SECRET:
        return generate_secret(generation, name, text);
    case FL_RESOURCE_TYPES:
    default:
        return NULL;
    }
}

int control_generate(const struct control_view *view, enum fl_resource_type type, struct fl_span name,
                     struct fl_arena *arena, struct control_resource **ret_resource)
{
    struct generation generation;
    struct fl_resource_name parsed;
    struct fl_span bytes;
    *ret_resource = NULL;
    if (fl_resource_parse(type, name, &parsed) == FL_RESOURCE_NONE)
        return 0;
    generation_init(&generation, view, arena);
    const ProtobufCMessage *message = make(&generation, type, &parsed, name);
    if (message == NULL || generation.build.failed)
        return generation.build.failed ? -ENOMEM : 0;
    int result = build_pack(&generation.build, message, &bytes);
    if (result == 0)
        result = control_resource_new(type, name, bytes, generation.ttl_seconds, ret_resource);
    return result;
}

/* -- who shares it -- */

static bool has_routes(const struct control_view *view, const struct control_service *service)
{
    return service != NULL && control_model_routes_of(view->model, CONTROL_SERVICE, service->object.metadata.name_space,
                                                      service->object.metadata.name)
                                      .count > 0;
}

enum control_sharing control_generate_sharing(const struct control_view *view, enum fl_resource_type type,
                                              struct fl_span name)
{
    struct fl_resource_name parsed;
    enum fl_resource_kind kind = fl_resource_parse(type, name, &parsed);
    struct control_ip ip;
    if (kind == FL_RESOURCE_SERVICE && type == FL_RESOURCE_ROUTES)
        return has_routes(view, control_service_by_fqdn(view->model, parsed.host)) ? CONTROL_SHARED_NAMESPACE
                                                                                   : CONTROL_SHARED_MESH;
    if (kind == FL_RESOURCE_SERVICE)
        return CONTROL_SHARED_MESH;
    /* Listeners carry access logs and tracing. Those of addresses that nobody has are cheap, and as many as clients
     * like to make up. */
    if (kind == FL_RESOURCE_DESTINATION && control_ip_parse(parsed.ip, &ip) == 0 &&
        control_model_service_at(view->model, &ip) != NULL)
        return CONTROL_SHARED_NAMESPACE;
    return CONTROL_SHARED_NOT;
}

uint64_t control_generate_settings(const struct control_view *view)
{
    static const uint64_t key[2] = {1, 2};
    struct generation generation;
    struct fl_arena none = {0};
    generation_init(&generation, view, &none);
    const struct control_telemetry_view *telemetry = &generation.telemetry;
    uint64_t numbers[] = {
        telemetry->access_log,
        telemetry->tracing,
        telemetry->sampling,
        view->role,
        view->on_demand,
        fl_siphash_keyed(key, 1, 3, view->name_space),
        fl_siphash_keyed(key, 1, 3, telemetry->access_log_path),
        fl_siphash_keyed(key, 1, 3, telemetry->endpoint),
        telemetry->tracing && view->has_workload ? fl_siphash_keyed(key, 1, 3, view->workload.name) : 0,
    };
    return fl_siphash_keyed(key, 2, 4, fl_span_make(numbers, sizeof(numbers)));
}

/* -- groups -- */

struct each {
    struct generation generation;
    enum fl_resource_type type;
    int (*visit)(void *visitor, struct fl_span name);
    void *visitor;
};

static int visit_name(struct each *each, const char *name)
{
    return each->generation.build.failed ? -ENOMEM : each->visit(each->visitor, fl_span_str(name));
}

/* Pods of a headless Service are dialled by their own addresses. */
static int visit_headless(struct each *each, const struct control_service *service, const struct control_port *port)
{
    struct generation *generation = &each->generation;
    struct control_endpoints endpoints;
    int result = control_service_endpoints(generation->model, service, port, generation->arena, &endpoints);
    for (size_t i = 0; i < endpoints.count && result == 0; i++) {
        const struct control_endpoint *endpoint = &endpoints.items[i];
        if (endpoint->pod == NULL || !endpoint->usable)
            continue;
        result = visit_name(each, each->type == FL_RESOURCE_LISTENER
                                      ? name_of_destination(generation, &endpoint->ip, endpoint->port)
                                      : name_of_workload(generation, &endpoint->ip, endpoint->port));
    }
    return result;
}

static int visit_service(struct each *each, const struct control_service *service)
{
    struct generation *generation = &each->generation;
    int result = 0;
    for (size_t i = 0; i < service->port_count && result == 0; i++) {
        const struct control_port *port = &service->ports[i];
        if (port->transport != CONTROL_TCP)
            continue;
        if (service->headless)
            result = visit_headless(each, service, port);
        if (each->type == FL_RESOURCE_CLUSTER && result == 0)
            result = visit_name(each, name_of_service(generation, FL_RESOURCE_CLUSTER, service, port->port));
        for (size_t k = 0; k < service->ip_count && each->type == FL_RESOURCE_LISTENER && result == 0; k++)
            if (control_model_service_at(generation->model, &service->ips[k]) == service)
                result = visit_name(each, name_of_destination(generation, &service->ips[k], port->port));
    }
    return result;
}

static int visit_services(struct each *each, const struct control_objects *services)
{
    int result = 0;
    for (size_t i = 0; i < services->count && result == 0; i++) {
        const struct control_service *service = control_as_service(services->items[i]);
        if (service->external_name.len == 0)
            result = visit_service(each, service);
    }
    return result;
}

static int visit_own_ports(struct each *each)
{
    struct generation *generation = &each->generation;
    struct control_inbounds inbounds;
    if (generation->view->pod == NULL)
        return 0;
    int result = control_pod_inbound(generation->model, generation->view->pod, generation->arena, &inbounds);
    for (size_t i = 0; i < inbounds.count && result == 0; i++)
        if (i == 0 || inbounds.items[i].pod_port != inbounds.items[i - 1].pod_port)
            result = visit_name(each, build_textf(&generation->build, "inbound|%u||", inbounds.items[i].pod_port));
    return result;
}

static int visit_destinations(struct each *each, const struct control_destinations *destinations)
{
    int result = 0;
    for (size_t i = 0; i < destinations->count && result == 0; i++)
        if (destinations->items[i].error == CONTROL_BACKEND_OK && destinations->items[i].weight > 0)
            result =
                visit_name(each, name_of_service(&each->generation, FL_RESOURCE_CLUSTER, destinations->items[i].service,
                                                 destinations->items[i].port->port));
    return result;
}

static int visit_entry(struct each *each, const struct control_route_entry *entry)
{
    int result = visit_destinations(each, &entry->destinations);
    return result == 0 ? visit_destinations(each, &entry->mirrors) : result;
}

static int visit_gateway_clusters(struct each *each, const struct control_listener_view *listener)
{
    int result = visit_destinations(each, &listener->tcp);
    for (size_t i = 0; i < listener->server_name_count && result == 0; i++)
        result = visit_destinations(each, &listener->server_names[i].destinations);
    for (size_t i = 0; i < listener->host_count && result == 0; i++)
        for (size_t k = 0; k < listener->hosts[i].routes.count && result == 0; k++)
            result = visit_entry(each, &listener->hosts[i].routes.items[k]);
    return result;
}

static int visit_gateway(struct each *each)
{
    struct generation *generation = &each->generation;
    struct control_gateway_view view;
    if (generation->view->gateway == NULL)
        return 0;
    const struct fl_metadata *metadata = &generation->view->gateway->object.metadata;
    int result = control_gateway_view(generation->model, generation->view->gateway, generation->arena, &view);
    for (size_t i = 0; result == 0 && i < view.listener_count; i++) {
        if (!gateway_opens(&view.listeners[i]))
            continue;
        if (each->type == FL_RESOURCE_CLUSTER)
            result = visit_gateway_clusters(each, &view.listeners[i]);
        else
            result = visit_name(each, build_textf(&generation->build, "gateway|%.*s/%.*s|%u",
                                                  FL_SPAN_ARG(metadata->name_space), FL_SPAN_ARG(metadata->name),
                                                  view.listeners[i].listener->port));
    }
    return result;
}

/* The collector of spans may stand outside of the mesh: then no Service has its cluster. */
static int visit_collector(struct each *each)
{
    struct fl_resource_name name;
    const char *cluster = telemetry_cluster(&each->generation);
    if (cluster == NULL || fl_resource_parse(FL_RESOURCE_CLUSTER, fl_span_str(cluster), &name) != FL_RESOURCE_WORKLOAD)
        return each->generation.build.failed ? -ENOMEM : 0;
    return visit_name(each, cluster);
}

static int visit_clusters(struct each *each)
{
    bool sidecar = each->generation.view->role == CONTROL_ROLE_SIDECAR;
    int result = visit_name(each, FL_RESOURCE_NAME_PASSTHROUGH);
    if (result == 0)
        result = visit_name(each, FL_RESOURCE_NAME_BLACKHOLE);
    if (result == 0 && sidecar)
        result = visit_name(each, FL_RESOURCE_NAME_INBOUND_PASSTHROUGH);
    if (result == 0 && sidecar)
        result = visit_own_ports(each);
    return result == 0 ? visit_collector(each) : result;
}

static int visit_virtual(struct each *each)
{
    int result = visit_name(each, FL_RESOURCE_NAME_VIRTUAL_OUTBOUND);
    if (result == 0 && each->generation.view->role == CONTROL_ROLE_SIDECAR)
        result = visit_name(each, FL_RESOURCE_NAME_VIRTUAL_INBOUND);
    if (result == 0 && each->generation.view->role == CONTROL_ROLE_SIDECAR && each->generation.settings.istio_peers)
        result = visit_name(each, FL_RESOURCE_NAME_TUNNEL_INBOUND);
    return result;
}

int control_generate_each(const struct control_view *view, enum fl_resource_type type, enum control_group group,
                          struct fl_arena *arena, int (*visit)(void *visitor, struct fl_span name), void *visitor)
{
    struct each each = {.type = type, .visit = visit, .visitor = visitor};
    bool everything = group == CONTROL_GROUP_EVERYTHING;
    if (type != FL_RESOURCE_CLUSTER && type != FL_RESOURCE_LISTENER)
        return 0; /* these are asked for by name */
    generation_init(&each.generation, view, arena);
    int result = 0;
    if (everything && type == FL_RESOURCE_CLUSTER)
        result = visit_clusters(&each);
    if (result < 0 || view->role == CONTROL_ROLE_GATEWAY)
        return result < 0 ? result : visit_gateway(&each);
    if (everything && type == FL_RESOURCE_LISTENER)
        result = visit_virtual(&each);
    struct control_objects services = everything ? control_model_all(view->model, CONTROL_SERVICE)
                                                 : control_model_in(view->model, CONTROL_SERVICE, view->name_space);
    return result == 0 ? visit_services(&each, &services) : result;
}
