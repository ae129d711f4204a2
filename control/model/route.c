#include "control/model/route.h"

#include "control/model/routelist.h"

#include <errno.h>

/* -- backends ------------------------------------------------------------------------------------------------------ */

const char *control_backend_reason(enum control_backend_error error)
{
    static const char *const reasons[] = {
        [CONTROL_BACKEND_OK] = "ResolvedRefs",
        [CONTROL_BACKEND_INVALID_KIND] = "InvalidKind",
        [CONTROL_BACKEND_NOT_FOUND] = "BackendNotFound",
        [CONTROL_BACKEND_NO_PORT] = "BackendNotFound",
        [CONTROL_BACKEND_NOT_PERMITTED] = "RefNotPermitted",
        [CONTROL_BACKEND_FILTER] = "UnsupportedValue",
    };
    return reasons[error];
}

/* A Service that the route has for a parent. */
static bool is_parent(const struct control_object *route, const struct control_reference *reference)
{
    const struct control_parent *parents = NULL;
    size_t count = control_route_parent_list(route, &parents);
    for (size_t i = 0; i < count; i++)
        if (parents[i].reference.group.len == 0 && fl_span_eq_str(parents[i].reference.kind, "Service") &&
            fl_span_eq(parents[i].reference.name, reference->name) &&
            fl_span_eq(parents[i].reference.name_space, reference->name_space))
            return true;
    return false;
}

static struct control_destination resolve(const struct control_model *model, const struct control_object *route,
                                          enum control_route_caller caller, const struct control_backend *backend)
{
    const struct control_reference *reference = &backend->reference;
    struct control_destination destination = {.backend = backend, .weight = backend->weight};
    if (reference->group.len > 0 || !fl_span_eq_str(reference->kind, "Service")) {
        destination.error = CONTROL_BACKEND_INVALID_KIND;
        return destination;
    }
    if (!control_model_granted(model, route->kind, route->metadata.name_space, reference) &&
        !(caller == CONTROL_CALLER_CLIENT && is_parent(route, reference))) {
        destination.error = CONTROL_BACKEND_NOT_PERMITTED;
        return destination;
    }
    destination.service = control_model_service(model, reference->name_space, reference->name);
    if (destination.service != NULL)
        destination.port = control_service_port(destination.service, backend->port);
    if (destination.service == NULL)
        destination.error = CONTROL_BACKEND_NOT_FOUND;
    else if (destination.port == NULL)
        destination.error = CONTROL_BACKEND_NO_PORT;
    else if (backend->filters != NULL && backend->filters->unsupported.len > 0)
        destination.error = CONTROL_BACKEND_FILTER;
    return destination;
}

int control_destinations_resolve(const struct control_model *model, const struct control_object *route,
                                 enum control_route_caller caller, const struct control_backend *backends, size_t count,
                                 struct fl_arena *arena, struct control_destinations *ret_destinations)
{
    uint64_t total = 0;
    *ret_destinations = (struct control_destinations){NULL, 0, 0};
    if (count == 0)
        return 0;
    struct control_destination *items = fl_arena_array(arena, count, sizeof(*items));
    if (items == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++) {
        items[i] = resolve(model, route, caller, &backends[i]);
        total += items[i].weight;
    }
    *ret_destinations = (struct control_destinations){items, count, total};
    return 0;
}

/* -- precedence ---------------------------------------------------------------------------------------------------- */

static int larger_first(size_t a, size_t b)
{
    return a == b ? 0 : a > b ? -1 : 1;
}

/* A hostname without "*." comes before every wildcard, a longer one before a shorter; none at all is last. */
int control_hostname_compare(struct fl_span a, struct fl_span b)
{
    bool wild_a = a.len == 0 || a.data[0] == '*', wild_b = b.len == 0 || b.data[0] == '*';
    if (wild_a != wild_b)
        return wild_a ? 1 : -1;
    return larger_first(a.len, b.len);
}

/* An expression comes after what is exact, and before every prefix, as with other implementations; a GRPCRoute's
 * service comes before its method; every path is last. */
static int path_rank(const struct control_http_match *match)
{
    switch (match->path_match) {
    case CONTROL_PATH_EXACT:
        return 0;
    case CONTROL_PATH_PREFIX:
        return match->path.len > 1 ? 2 : 4;
    case CONTROL_PATH_REGEX:
        return 1;
    case CONTROL_PATH_SUFFIX:
        break;
    }
    return 3;
}

static int compare_matches(const struct control_http_match *a, const struct control_http_match *b)
{
    if (path_rank(a) != path_rank(b))
        return path_rank(a) < path_rank(b) ? -1 : 1;
    int order = larger_first(a->path.len, b->path.len);
    if (order == 0)
        order = larger_first(a->method.len > 0, b->method.len > 0);
    if (order == 0)
        order = larger_first(a->header_count, b->header_count);
    return order != 0 ? order : larger_first(a->query_count, b->query_count);
}

static int compare_age(const struct control_object *a, const struct control_object *b)
{
    if (a->metadata.created != b->metadata.created)
        return a->metadata.created < b->metadata.created ? -1 : 1;
    struct control_key key_a = control_object_key(a), key_b = control_object_key(b);
    return control_key_compare(&key_a, &key_b);
}

int control_route_compare(const struct control_route_entry *a, const struct control_route_entry *b)
{
    int order = control_hostname_compare(a->hostname, b->hostname);
    if (order == 0)
        order = compare_matches(a->match, b->match);
    if (order == 0)
        order = compare_age(&a->route->object, &b->route->object);
    if (order == 0 && a->rule_index != b->rule_index)
        order = a->rule_index < b->rule_index ? -1 : 1;
    if (order == 0 && a->match_index != b->match_index)
        order = a->match_index < b->match_index ? -1 : 1;
    return order;
}

static int compare_for_sort(const void *a, const void *b)
{
    return control_route_compare(a, b);
}

/* -- the flat list ------------------------------------------------------------------------------------------------- */

static bool all_unusable(const struct control_destinations *destinations)
{
    for (size_t i = 0; i < destinations->count; i++)
        if (destinations->items[i].error == CONTROL_BACKEND_OK && destinations->items[i].weight > 0)
            return false;
    return true;
}

static int append_rule(const struct control_model *model, const struct control_http_route *route, uint32_t rule_index,
                       struct fl_span hostname, struct fl_arena *arena, struct control_route_builder *builder)
{
    const struct control_http_rule *rule = &route->rules[rule_index];
    struct control_destinations destinations, mirrors;
    if (rule->dropped.len > 0)
        return 0;
    int result = control_destinations_resolve(model, &route->object, builder->caller, rule->backends,
                                              rule->backend_count, arena, &destinations);
    if (result == 0)
        result = control_destinations_resolve(model, &route->object, builder->caller, rule->filters.mirrors,
                                              rule->filters.mirror_count, arena, &mirrors);
    if (result < 0)
        return result;
    bool refused = rule->filters.unsupported.len > 0 || (rule->filters.redirect == NULL && all_unusable(&destinations));
    for (uint32_t i = 0; i < rule->match_count; i++)
        builder->items[builder->count++] = (struct control_route_entry){
            .route = route,
            .rule = rule,
            .match = &rule->matches[i],
            .rule_index = rule_index,
            .match_index = i,
            .hostname = hostname,
            .destinations = destinations,
            .mirrors = mirrors,
            .answer = !refused                                   ? 0
                      : route->object.kind == CONTROL_GRPC_ROUTE ? 503
                                                                 : 500,
        };
    return 0;
}

size_t control_route_entries(const struct control_http_route *route)
{
    size_t count = 0;
    for (size_t i = 0; i < route->rule_count; i++)
        count += route->rules[i].match_count;
    return count;
}

int control_route_builder_start(struct control_route_builder *builder, enum control_route_caller caller, size_t room,
                                struct fl_arena *arena)
{
    *builder = (struct control_route_builder){.caller = caller};
    builder->items = room > 0 ? fl_arena_array(arena, room, sizeof(*builder->items)) : NULL;
    return builder->items == NULL && room > 0 ? -ENOMEM : 0;
}

int control_route_builder_append(struct control_route_builder *builder, const struct control_model *model,
                                 const struct control_http_route *route, struct fl_span hostname,
                                 struct fl_arena *arena)
{
    int result = 0;
    for (uint32_t i = 0; i < route->rule_count && result == 0; i++)
        result = append_rule(model, route, i, hostname, arena, builder);
    return result;
}

struct control_route_list control_route_builder_finish(struct control_route_builder *builder)
{
    if (builder->count > 1)
        qsort(builder->items, builder->count, sizeof(*builder->items), compare_for_sort);
    return (struct control_route_list){builder->items, builder->count};
}

/* -- a Service's routes -------------------------------------------------------------------------------------------- */

static bool is_service(const struct control_reference *reference, const struct control_service *service)
{
    return reference->group.len == 0 && fl_span_eq_str(reference->kind, "Service") &&
           fl_span_eq(reference->name, service->object.metadata.name) &&
           fl_span_eq(reference->name_space, service->object.metadata.name_space);
}

static bool binds(const struct control_object *object, const struct control_service *service,
                  const struct control_port *port)
{
    const struct control_parent *parents = NULL;
    size_t count = control_route_parent_list(object, &parents);
    for (size_t i = 0; i < count; i++) {
        bool section = parents[i].section.len == 0 || fl_span_eq(parents[i].section, port->name);
        if (is_service(&parents[i].reference, service) && section &&
            (parents[i].port == 0 || parents[i].port == port->port))
            return true;
    }
    return false;
}

/* Of the bound routes of one kind, those that this client has: its own namespace's where there are any, else the
 * producer's. *ret_consumer tells which. */
static bool has_consumer(struct control_objects routes, enum control_kind kind, const struct control_service *service,
                         const struct control_port *port, struct fl_span client_namespace)
{
    if (fl_span_eq(client_namespace, service->object.metadata.name_space))
        return false;
    for (size_t i = 0; i < routes.count; i++)
        if (routes.items[i]->kind == kind && fl_span_eq(routes.items[i]->metadata.name_space, client_namespace) &&
            binds(routes.items[i], service, port))
            return true;
    return false;
}

struct selection { /* which routes of a Service's port count */
    struct control_objects routes;
    const struct control_service *service;
    const struct control_port *port;
    struct fl_span name_space; /* of the routes */
};

static bool selected(const struct selection *selection, enum control_kind kind, size_t index)
{
    const struct control_object *object = selection->routes.items[index];
    return object->kind == kind && fl_span_eq(object->metadata.name_space, selection->name_space) &&
           binds(object, selection->service, selection->port);
}

static int collect_http(const struct control_model *model, enum control_kind kind, const struct selection *selection,
                        struct fl_arena *arena, struct control_service_routes *routes)
{
    struct control_route_builder builder;
    size_t room = 0, bound = 0;
    for (size_t i = 0; i < selection->routes.count; i++) {
        if (!selected(selection, kind, i))
            continue;
        room += control_route_entries(control_as_http_route(selection->routes.items[i]));
        bound++;
    }
    int result = control_route_builder_start(&builder, CONTROL_CALLER_CLIENT, room, arena);
    for (size_t i = 0; result == 0 && i < selection->routes.count; i++)
        if (selected(selection, kind, i))
            result = control_route_builder_append(&builder, model, control_as_http_route(selection->routes.items[i]),
                                                  FL_SPAN(""), arena);
    if (result < 0 || bound == 0)
        return result;
    routes->routing = CONTROL_ROUTING_HTTP;
    routes->http = control_route_builder_finish(&builder);
    return 0;
}

static int collect_tcp(const struct control_model *model, enum control_kind kind, const struct selection *selection,
                       struct fl_arena *arena, struct control_service_routes *routes)
{
    for (size_t i = 0; i < selection->routes.count; i++) {
        if (!selected(selection, kind, i))
            continue;
        const struct control_tcp_route *route = control_as_tcp_route(selection->routes.items[i]);
        routes->routing = CONTROL_ROUTING_TCP;
        routes->tcp_route = route;
        return control_destinations_resolve(model, &route->object, CONTROL_CALLER_CLIENT, route->backends,
                                            route->backend_count, arena, &routes->tcp);
    }
    return 0;
}

/* Of several kinds at one port the most specific one counts, as GAMMA says. */
static int collect(const struct control_model *model, enum control_kind kind, struct fl_span client_namespace,
                   struct selection *selection, struct fl_arena *arena, struct control_service_routes *routes)
{
    const struct control_service *service = selection->service;
    bool consumer = has_consumer(selection->routes, kind, service, selection->port, client_namespace);
    selection->name_space = consumer ? client_namespace : service->object.metadata.name_space;
    return kind == CONTROL_TCP_ROUTE || kind == CONTROL_TLS_ROUTE ? collect_tcp(model, kind, selection, arena, routes)
                                                                  : collect_http(model, kind, selection, arena, routes);
}

int control_service_routes(const struct control_model *model, const struct control_service *service,
                           const struct control_port *port, struct fl_span client_namespace, struct fl_arena *arena,
                           struct control_service_routes *ret_routes)
{
    static const enum control_kind kinds[] = {CONTROL_GRPC_ROUTE, CONTROL_HTTP_ROUTE, CONTROL_TCP_ROUTE};
    const struct fl_metadata *metadata = &service->object.metadata;
    struct selection selection = {
        .routes = control_model_routes_of(model, CONTROL_SERVICE, metadata->name_space, metadata->name),
        .service = service,
        .port = port,
    };
    struct control_service_routes routes = {.routing = CONTROL_ROUTING_NONE};
    int result = 0;
    *ret_routes = routes;
    if (port->transport != CONTROL_TCP)
        return 0;
    for (size_t i = port->protocol == CONTROL_PROTOCOL_TCP ? 2 : 0;
         i < FL_COUNT(kinds) && result == 0 && routes.routing == CONTROL_ROUTING_NONE; i++)
        result = collect(model, kinds[i], client_namespace, &selection, arena, &routes);
    if (result == 0)
        *ret_routes = routes;
    return result;
}
