#include "control/xds/impact.h"

#include "control/model/service.h"

#include <errno.h>

#define IMPACT_BYTES_MAX ((size_t)64 << 20)
#define PODS_SCANNED_MAX 64 /* changed Pods whose Services are looked for one by one */

struct list { /* grows in the arena */
    void *items;
    size_t count, capacity;
};

struct finding {
    struct control_impact *impact;
    const struct control_diff *diff;
    struct list names, destinations, namespaces, pods;
    struct fl_arena scratch; /* names in the making */
    size_t pods_scanned;
    bool failed;
};

/* -- what is found -- */

static void *grow(struct finding *finding, struct list *list, size_t size)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity > 0 ? 2 * list->capacity : 32;
        void *items = fl_arena_array(&finding->impact->arena, capacity, size);
        if (items == NULL) {
            finding->failed = true;
            return NULL;
        }
        if (list->count > 0)
            memcpy(items, list->items, list->count * size);
        list->items = items;
        list->capacity = capacity;
    }
    return (char *)list->items + list->count++ * size;
}

static struct fl_span keep(struct finding *finding, struct fl_span text)
{
    struct fl_span copy = fl_arena_copy(&finding->impact->arena, text);
    finding->failed = finding->failed || copy.data == NULL;
    return copy;
}

static void add_type(struct finding *finding, enum fl_resource_type type)
{
    finding->impact->types[type] = true;
}

static void add_name(struct finding *finding, enum fl_resource_type type, const struct fl_resource_name *name)
{
    struct fl_buf buf;
    if (finding->impact->types[type])
        return;
    if (finding->names.count >= CONTROL_IMPACT_NAMES_MAX) {
        add_type(finding, type);
        return;
    }
    fl_buf_init(&buf, FL_RESOURCE_NAME_MAX);
    int result = fl_resource_print(type, name, &buf);
    struct control_impact_name *item = result == 0 ? grow(finding, &finding->names, sizeof(*item)) : NULL;
    if (item != NULL)
        *item = (struct control_impact_name){type, keep(finding, fl_buf_span(&buf))};
    finding->failed = finding->failed || result == -ENOMEM;
    fl_buf_done(&buf);
}

static void add_address(struct finding *finding, const struct control_ip *ip)
{
    char text[CONTROL_IP_TEXT_MAX];
    struct fl_span *item = grow(finding, &finding->destinations, sizeof(*item));
    if (item != NULL)
        *item = keep(finding, fl_span_str(control_ip_print(ip, text)));
}

static void add_namespace(struct finding *finding, struct fl_span name)
{
    const struct fl_span *known = finding->namespaces.items;
    for (size_t i = 0; i < finding->namespaces.count; i++)
        if (known[i].len == 0 || fl_span_eq(known[i], name))
            return;
    struct fl_span *item = grow(finding, &finding->namespaces, sizeof(*item));
    if (item != NULL)
        *item = keep(finding, name);
}

/* Policies of the root namespace are the whole mesh's. */
static void add_scope(struct finding *finding, const struct control_object *object)
{
    struct fl_span name_space = object->metadata.name_space;
    bool is_root = fl_span_eq(name_space, control_model_root(finding->diff->after));
    add_namespace(finding, is_root ? (struct fl_span){"", 0} : name_space);
}

/* -- Services and endpoints -- */

static void touch_port(struct finding *finding, struct fl_span fqdn, uint16_t port, bool endpoints_alone)
{
    const struct fl_resource_name name = {.kind = FL_RESOURCE_SERVICE, .port = port, .host = fqdn};
    add_name(finding, FL_RESOURCE_ENDPOINTS, &name);
    if (endpoints_alone)
        return;
    add_name(finding, FL_RESOURCE_CLUSTER, &name);
    add_name(finding, FL_RESOURCE_ROUTES, &name);
}

static void touch_listeners(struct finding *finding, const struct control_service *service)
{
    char text[CONTROL_IP_TEXT_MAX];
    for (size_t i = 0; i < service->ip_count; i++)
        for (size_t k = 0; k < service->port_count; k++) {
            const struct fl_resource_name name = {
                .kind = FL_RESOURCE_DESTINATION,
                .port = service->ports[k].port,
                .ip = fl_span_str(control_ip_print(&service->ips[i], text)),
            };
            add_name(finding, FL_RESOURCE_LISTENER, &name);
        }
}

static void touch_service(struct finding *finding, const struct control_model *model,
                          const struct control_service *service, bool endpoints_alone)
{
    struct fl_span fqdn = control_service_fqdn(model, service, &finding->scratch);
    if (fqdn.data == NULL) {
        finding->failed = true;
        return;
    }
    for (size_t i = 0; i < service->port_count; i++)
        touch_port(finding, fqdn, service->ports[i].port, endpoints_alone);
    if (!endpoints_alone)
        touch_listeners(finding, service);
    fl_arena_reset(&finding->scratch);
}

static bool has_http_routes(const struct control_model *model)
{
    return control_model_all(model, CONTROL_HTTP_ROUTE).count > 0 ||
           control_model_all(model, CONTROL_GRPC_ROUTE).count > 0;
}

/* Everything that is called by it; its Pods' inbound side; routes that may send there. */
static void on_service(struct finding *finding, const struct control_model *model, const struct control_object *object)
{
    const struct control_service *service = control_as_service(object);
    touch_service(finding, model, service, false);
    for (size_t i = 0; i < service->ip_count; i++)
        add_address(finding, &service->ips[i]);
    add_namespace(finding, object->metadata.name_space);
    if (has_http_routes(model))
        add_type(finding, FL_RESOURCE_ROUTES);
    if (control_model_all(model, CONTROL_TCP_ROUTE).count > 0)
        add_type(finding, FL_RESOURCE_LISTENER);
    finding->impact->gateways = true;
}

static void on_slice(struct finding *finding, const struct control_model *model, const struct control_object *object)
{
    const struct control_slice *slice = control_as_slice(object);
    const struct control_service *service = control_model_service(model, object->metadata.name_space, slice->service);
    if (service == NULL)
        return;
    touch_service(finding, model, service, true);
    if (service->headless && slice->endpoint_count > 0)
        finding->impact->groups = true; /* its Pods are members, by their addresses */
    for (size_t i = 0; service->headless && i < slice->endpoint_count; i++)
        add_address(finding, &slice->endpoints[i].ip);
}

static bool names_pod(const struct control_slice *slice, const struct control_pod *pod)
{
    for (size_t i = 0; i < slice->endpoint_count; i++) {
        if (fl_span_eq(slice->endpoints[i].pod, pod->object.metadata.name))
            return true;
        for (size_t k = 0; k < pod->ip_count; k++)
            if (control_ip_compare(&slice->endpoints[i].ip, &pod->ips[k]) == 0)
                return true;
    }
    return false;
}

static void on_pod(struct finding *finding, const struct control_model *model, const struct control_object *object)
{
    const struct control_pod *pod = control_as_pod(object);
    struct control_objects slices = control_model_in(model, CONTROL_ENDPOINT_SLICE, object->metadata.name_space);
    struct control_impact_pod *item = grow(finding, &finding->pods, sizeof(*item));
    if (item != NULL)
        *item = (struct control_impact_pod){keep(finding, object->metadata.name_space),
                                            keep(finding, object->metadata.name)};
    for (size_t i = 0; i < pod->ip_count; i++)
        add_address(finding, &pod->ips[i]);
    if (++finding->pods_scanned > PODS_SCANNED_MAX) {
        add_type(finding, FL_RESOURCE_ENDPOINTS);
        return;
    }
    for (size_t i = 0; i < slices.count; i++)
        if (names_pod(control_as_slice(slices.items[i]), pod))
            on_slice(finding, model, slices.items[i]);
}

/* -- routes and policies -- */

static void on_parents(struct finding *finding, const struct control_model *model, const struct control_object *route)
{
    const struct control_parent *parents = NULL;
    size_t count = control_route_parent_list(route, &parents);
    for (size_t i = 0; i < count; i++) {
        const struct control_reference *reference = &parents[i].reference;
        const struct control_service *service = NULL;
        if (fl_span_eq_str(reference->kind, "Service"))
            service = control_model_service(model, reference->name_space, reference->name);
        else
            finding->impact->gateways = true;
        if (service != NULL)
            touch_service(finding, model, service, false);
    }
}

static void on_targets(struct finding *finding, const struct control_model *model, const struct control_object *object)
{
    const struct control_target *target = &control_as_traffic_policy(object)->target;
    for (size_t i = 0; i < target->name_count; i++) {
        const struct control_service *service =
            control_model_service(model, object->metadata.name_space, target->names[i]);
        if (service != NULL)
            touch_service(finding, model, service, false);
    }
    if (has_http_routes(model))
        add_type(finding, FL_RESOURCE_ROUTES); /* retries go by where a route leads */
}

static void on_everything(struct finding *finding)
{
    for (enum fl_resource_type type = 0; type < FL_RESOURCE_TYPES; type++)
        add_type(finding, type);
    add_namespace(finding, (struct fl_span){"", 0});
    finding->impact->gateways = true;
}

static void on_policy(struct finding *finding, const struct control_object *object)
{
    add_scope(finding, object);
    finding->impact->gateways = true;
    if (object->kind == CONTROL_PEER_AUTHENTICATION)
        add_type(finding, FL_RESOURCE_ENDPOINTS); /* whether one is dialled by mTLS */
    if (object->kind != CONTROL_TELEMETRY)
        return;
    add_type(finding, FL_RESOURCE_LISTENER);
    finding->impact->workloads = finding->impact->groups = true; /* the collector's cluster may come or go */
}

static void on_object(struct finding *finding, const struct control_model *model, const struct control_object *object)
{
    switch (object->kind) {
    case CONTROL_SERVICE:
        on_service(finding, model, object);
        break;
    case CONTROL_ENDPOINT_SLICE:
        on_slice(finding, model, object);
        break;
    case CONTROL_POD:
        on_pod(finding, model, object);
        break;
    case CONTROL_HTTP_ROUTE:
    case CONTROL_GRPC_ROUTE:
    case CONTROL_TCP_ROUTE:
    case CONTROL_TLS_ROUTE:
        on_parents(finding, model, object);
        break;
    case CONTROL_TRAFFIC_POLICY:
        on_targets(finding, model, object);
        break;
    case CONTROL_AUTHORIZATION_POLICY:
    case CONTROL_REQUEST_AUTHENTICATION:
    case CONTROL_PEER_AUTHENTICATION:
    case CONTROL_TELEMETRY:
        on_policy(finding, object);
        break;
    case CONTROL_REFERENCE_GRANT:
        add_type(finding, FL_RESOURCE_ROUTES);
        add_type(finding, FL_RESOURCE_LISTENER);
        finding->impact->gateways = true;
        break;
    case CONTROL_NAMESPACE:
    case CONTROL_SECRET:
    case CONTROL_GATEWAY_CLASS:
    case CONTROL_GATEWAY:
    case CONTROL_LISTENER_SET:
        finding->impact->gateways = true;
        break;
    case CONTROL_MESH_SETTINGS:
        on_everything(finding);
        break;
    case CONTROL_SERVICE_ACCOUNT:
    case CONTROL_KIND_COUNT:
    default:
        break;
    }
}

int control_impact_of(const struct control_diff *diff, struct control_impact *ret_impact)
{
    struct finding finding = {.impact = ret_impact, .diff = diff};
    *ret_impact = (struct control_impact){0};
    fl_arena_init(&ret_impact->arena, IMPACT_BYTES_MAX);
    fl_arena_init(&finding.scratch, IMPACT_BYTES_MAX);
    for (size_t i = 0; i < diff->count && !finding.failed; i++) {
        if (diff->changes[i].before != NULL)
            on_object(&finding, diff->before, diff->changes[i].before);
        if (diff->changes[i].after != NULL)
            on_object(&finding, diff->after, diff->changes[i].after);
        /* A slice, route or policy may name a Service that came in the same commit. */
        if (diff->changes[i].before != NULL && diff->changes[i].kind != CONTROL_WENT)
            on_object(&finding, diff->after, diff->changes[i].before);
    }
    fl_arena_done(&finding.scratch);
    ret_impact->names = finding.names.items;
    ret_impact->name_count = finding.names.count;
    ret_impact->destinations = finding.destinations.items;
    ret_impact->destination_count = finding.destinations.count;
    ret_impact->namespaces = finding.namespaces.items;
    ret_impact->namespace_count = finding.namespaces.count;
    ret_impact->pods = finding.pods.items;
    ret_impact->pod_count = finding.pods.count;
    return finding.failed ? -ENOMEM : 0;
}

void control_impact_done(struct control_impact *impact)
{
    fl_arena_done(&impact->arena);
    *impact = (struct control_impact){0};
}
