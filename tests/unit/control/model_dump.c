#include "tests/unit/control/model_dump.h"

#include <stdarg.h>

/* Errors are kept in the dump and told at its end: a line less to check on every call. */
struct dump {
    const struct control_model *model;
    struct fl_arena arena;
    struct fl_buf *out;
    int result;
};

static void say(struct dump *dump, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(struct dump *dump, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (dump->result == 0)
        dump->result = fl_buf_vprintf(dump->out, format, arguments);
    va_end(arguments);
}

static void check(struct dump *dump, int result)
{
    if (dump->result == 0)
        dump->result = result;
}

#define NAME(object) FL_SPAN_ARG((object)->metadata.name_space), FL_SPAN_ARG((object)->metadata.name)

static void say_entry(struct dump *dump, const struct control_route_entry *entry)
{
    const struct control_http_match *match = entry->match;
    say(dump, "      %.*s/%.*s#%u.%u %s%.*s", NAME(&entry->route->object), entry->rule_index, entry->match_index,
        match->path_match == CONTROL_PATH_EXACT    ? "="
        : match->path_match == CONTROL_PATH_REGEX  ? "~"
        : match->path_match == CONTROL_PATH_SUFFIX ? "*"
                                                   : "",
        FL_SPAN_ARG(match->path));
    if (match->grpc)
        say(dump, " grpc");
    if (match->method.len > 0)
        say(dump, " %.*s", FL_SPAN_ARG(match->method));
    for (size_t i = 0; i < match->header_count; i++)
        say(dump, " %.*s%s%.*s", FL_SPAN_ARG(match->headers[i].name), match->headers[i].regex ? "~" : ":",
            FL_SPAN_ARG(match->headers[i].value));
    for (size_t i = 0; i < match->query_count; i++)
        say(dump, " ?%.*s%s%.*s", FL_SPAN_ARG(match->queries[i].name), match->queries[i].regex ? "~" : "=",
            FL_SPAN_ARG(match->queries[i].value));
    if (entry->hostname.len > 0)
        say(dump, " host %.*s", FL_SPAN_ARG(entry->hostname));
    if (entry->rule->request_timeout_ms > 0)
        say(dump, " timeout %ums", entry->rule->request_timeout_ms);
    if (entry->rule->retry != NULL)
        say(dump, " retry %u", entry->rule->retry->attempts);
    if (entry->rule->filters.redirect != NULL)
        say(dump, " redirect %u", entry->rule->filters.redirect->status);
    if (entry->rule->filters.request != NULL)
        say(dump, " request +%zu", entry->rule->filters.request->set_count + entry->rule->filters.request->add_count);
    if (entry->answer != 0)
        say(dump, " answer %u", entry->answer);
    for (size_t i = 0; i < entry->destinations.count; i++) {
        const struct control_destination *to = &entry->destinations.items[i];
        say(dump, " -> %.*s:%u*%u", FL_SPAN_ARG(to->backend->reference.name), to->backend->port, to->weight);
        if (to->error != CONTROL_BACKEND_OK)
            say(dump, "(%s)", control_backend_reason(to->error));
    }
    say(dump, "\n");
}

static void say_list(struct dump *dump, const struct control_route_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        say_entry(dump, &list->items[i]);
}

static void say_routes(struct dump *dump, const struct control_service *service, const struct control_port *port,
                       struct fl_span client)
{
    struct control_service_routes routes = {0};
    check(dump, control_service_routes(dump->model, service, port, client, &dump->arena, &routes));
    if (routes.routing == CONTROL_ROUTING_NONE)
        return;
    say(dump, "    routes for %.*s: %s\n", FL_SPAN_ARG(client),
        routes.routing == CONTROL_ROUTING_HTTP ? "http" : "tcp");
    say_list(dump, &routes.http);
    for (size_t i = 0; i < routes.tcp.count; i++)
        say(dump, "      -> %.*s:%u*%u\n", FL_SPAN_ARG(routes.tcp.items[i].backend->reference.name),
            routes.tcp.items[i].backend->port, routes.tcp.items[i].weight);
}

static void say_endpoints(struct dump *dump, const struct control_service *service, const struct control_port *port)
{
    struct control_endpoints endpoints = {0};
    char room[CONTROL_IP_TEXT_MAX];
    check(dump, control_service_endpoints(dump->model, service, port, &dump->arena, &endpoints));
    for (size_t i = 0; i < endpoints.count; i++) {
        const struct control_endpoint *endpoint = &endpoints.items[i];
        say(dump, "    %s:%u%s%s", control_ip_print(&endpoint->ip, room), endpoint->port,
            endpoint->usable ? "" : " unusable", endpoint->mtls ? " mtls" : "");
        if (endpoint->pod != NULL) {
            say(dump, " pod %.*s ", FL_SPAN_ARG(endpoint->pod->object.metadata.name));
            if (dump->result == 0)
                check(dump, control_workload_identity(dump->model, &endpoint->workload, dump->out));
        }
        say(dump, "\n");
    }
}

static void say_service(struct dump *dump, const struct control_service *service)
{
    char room[CONTROL_IP_TEXT_MAX];
    struct control_objects namespaces = control_model_all(dump->model, CONTROL_NAMESPACE);
    struct fl_span fqdn = control_service_fqdn(dump->model, service, &dump->arena);
    say(dump, "  %.*s%s%s", FL_SPAN_ARG(fqdn), service->headless ? " headless" : "",
        control_service_by_fqdn(dump->model, fqdn) == service ? "" : " NOT FOUND BY NAME");
    for (size_t i = 0; i < service->ip_count; i++)
        say(dump, " %s%s", control_ip_print(&service->ips[i], room),
            control_model_service_at(dump->model, &service->ips[i]) == service ? "" : "(another's)");
    if (service->external_name.len > 0)
        say(dump, " external %.*s", FL_SPAN_ARG(service->external_name));
    if (control_service_traffic(dump->model, service) != NULL)
        say(dump, " policy %.*s", FL_SPAN_ARG(control_service_traffic(dump->model, service)->object.metadata.name));
    say(dump, "\n");
    for (size_t i = 0; i < service->port_count; i++) {
        const struct control_port *port = &service->ports[i];
        say(dump, "   port %u %.*s %s\n", port->port, FL_SPAN_ARG(port->name), control_protocol_name(port->protocol));
        say_endpoints(dump, service, port);
        for (size_t k = 0; k < namespaces.count; k++)
            say_routes(dump, service, port, namespaces.items[k]->metadata.name);
    }
}

static void say_policies(struct dump *dump, const struct control_workload *workload, enum control_kind kind)
{
    struct control_objects policies = {0};
    check(dump, control_workload_policies(dump->model, workload, kind, &dump->arena, &policies));
    for (size_t i = 0; i < policies.count; i++)
        say(dump, "    %s %.*s/%.*s%s\n", control_kind_name(kind), NAME(policies.items[i]),
            policies.items[i]->broken.len > 0 ? " broken" : "");
}

static void say_workload(struct dump *dump, const struct control_workload *workload)
{
    const struct control_port_mtls *ports = NULL;
    size_t count = 0;
    struct control_telemetry_view telemetry = control_workload_telemetry(dump->model, workload);
    say(dump, "  %.*s app %.*s version %.*s canonical %.*s/%.*s%s %s", FL_SPAN_ARG(workload->name),
        FL_SPAN_ARG(workload->app), FL_SPAN_ARG(workload->version), FL_SPAN_ARG(workload->canonical_name),
        FL_SPAN_ARG(workload->canonical_revision), workload->meshed ? " meshed" : "",
        control_mtls_name(control_workload_mtls(dump->model, workload, 0)));
    check(dump, control_workload_mtls_ports(dump->model, workload, &dump->arena, &ports, &count));
    for (size_t i = 0; i < count; i++)
        say(dump, " %u:%s", ports[i].port, control_mtls_name(ports[i].mode));
    say(dump, " log %s", telemetry.access_log ? "on" : "off");
    if (telemetry.tracing)
        say(dump, " trace %.*s %u", FL_SPAN_ARG(telemetry.endpoint), telemetry.sampling);
    say(dump, "\n");
    say_policies(dump, workload, CONTROL_AUTHORIZATION_POLICY);
    say_policies(dump, workload, CONTROL_REQUEST_AUTHENTICATION);
}

static void say_pod(struct dump *dump, const struct control_pod *pod)
{
    struct control_workload workload;
    struct control_inbounds inbounds = {0};
    control_workload_of_pod(pod, &workload);
    say(dump, "  %.*s/%.*s:\n  ", NAME(&pod->object));
    say_workload(dump, &workload);
    check(dump, control_pod_inbound(dump->model, pod, &dump->arena, &inbounds));
    for (size_t i = 0; i < inbounds.count; i++)
        say(dump, "    inbound %u = %.*s:%u %s\n", inbounds.items[i].pod_port,
            FL_SPAN_ARG(inbounds.items[i].service->object.metadata.name), inbounds.items[i].port->port,
            control_protocol_name(inbounds.items[i].protocol));
}

static void say_conditions(struct dump *dump, const struct control_conditions *conditions)
{
    for (size_t i = 0; i < conditions->count; i++) {
        const struct control_condition *condition = &conditions->items[i];
        say(dump, "    %s=%s %s%s%.*s\n", condition->type, condition->status ? "True" : "False", condition->reason,
            condition->message.len > 0 ? ": " : "", FL_SPAN_ARG(condition->message));
    }
}

static void say_gateway(struct dump *dump, const struct control_gateway *gateway)
{
    struct control_gateway_view view = {0};
    check(dump, control_gateway_view(dump->model, gateway, &dump->arena, &view));
    say(dump, "  %.*s/%.*s%s\n", NAME(&gateway->object), view.ours ? "" : " another's");
    say_conditions(dump, &view.conditions);
    if (view.set_count > 0)
        say(dump, "   %u of %zu sets attached\n", view.attached_sets, view.set_count);
    for (size_t i = 0; i < view.listener_count; i++) {
        const struct control_listener_view *listener = &view.listeners[i];
        say(dump, "   listener %.*s %u %.*s attached %u certificates %zu%s\n", FL_SPAN_ARG(listener->key),
            listener->listener->port, FL_SPAN_ARG(listener->listener->protocol_text), listener->attached,
            listener->certificate_count, listener->in_force ? "" : " not in force");
        say_conditions(dump, &listener->conditions);
        for (size_t k = 0; k < listener->host_count; k++) {
            say(dump, "     host %.*s\n", FL_SPAN_ARG(listener->hosts[k].hostname));
            say_list(dump, &listener->hosts[k].routes);
        }
        for (size_t k = 0; k < listener->server_name_count; k++) {
            const struct control_server_name *name = &listener->server_names[k];
            say(dump, "     server name %.*s by %.*s/%.*s\n", FL_SPAN_ARG(name->hostname), NAME(&name->route->object));
            for (size_t n = 0; n < name->destinations.count; n++)
                say(dump, "      -> %.*s:%u*%u\n", FL_SPAN_ARG(name->destinations.items[n].backend->reference.name),
                    name->destinations.items[n].backend->port, name->destinations.items[n].weight);
        }
        for (size_t k = 0; k < listener->tcp.count; k++)
            say(dump, "      -> %.*s:%u*%u\n", FL_SPAN_ARG(listener->tcp.items[k].backend->reference.name),
                listener->tcp.items[k].backend->port, listener->tcp.items[k].weight);
    }
}

static void say_set(struct dump *dump, const struct control_listener_set *set)
{
    struct control_set_view view = {0};
    check(dump, control_set_view(dump->model, set, &dump->arena, &view));
    say(dump, "  %.*s/%.*s %s, %zu listeners\n", NAME(&set->object), view.accepted ? "accepted" : "not accepted",
        view.listener_count);
    say_conditions(dump, &view.conditions);
}

static void say_route(struct dump *dump, const struct control_object *route)
{
    struct control_parent_views parents = {0};
    check(dump, control_route_parents(dump->model, route, &dump->arena, &parents));
    say(dump, "  %.*s/%.*s\n", NAME(route));
    for (size_t i = 0; i < parents.count; i++) {
        say(dump, "   parent %.*s %.*s/%.*s\n", FL_SPAN_ARG(parents.items[i].parent->reference.kind),
            FL_SPAN_ARG(parents.items[i].parent->reference.name_space),
            FL_SPAN_ARG(parents.items[i].parent->reference.name));
        say_conditions(dump, &parents.items[i].conditions);
    }
}

static void say_object(struct dump *dump, const struct control_object *object)
{
    if (object->kind == CONTROL_SERVICE)
        say_service(dump, control_as_service(object));
    else if (object->kind == CONTROL_POD)
        say_pod(dump, control_as_pod(object));
    else if (object->kind == CONTROL_GATEWAY)
        say_gateway(dump, control_as_gateway(object));
    else if (object->kind == CONTROL_LISTENER_SET)
        say_set(dump, control_as_listener_set(object));
    else if (control_kind_is_route(object->kind))
        say_route(dump, object);
    else
        say(dump, "  %.*s/%.*s\n", NAME(object));
    if (object->broken.len > 0)
        say(dump, "    broken: %.*s\n", FL_SPAN_ARG(object->broken));
}

int model_dump(const struct control_model *model, struct fl_buf *out)
{
    struct dump dump = {.model = model, .out = out};
    fl_arena_init(&dump.arena, 64u << 20);
    for (int kind = 0; kind < CONTROL_KIND_COUNT; kind++) {
        struct control_objects objects = control_model_all(model, (enum control_kind)kind);
        if (objects.count > 0)
            say(&dump, "%s\n", control_kind_name((enum control_kind)kind));
        for (size_t i = 0; i < objects.count; i++)
            say_object(&dump, objects.items[i]);
    }
    const struct control_problems *problems = control_model_problems(model);
    for (size_t i = 0; problems != NULL && i < problems->count; i++)
        say(&dump, "%s%s %.*s\n", i == 0 ? "problems\n" : "", problems->items[i].kept ? " kept" : "",
            FL_SPAN_ARG(problems->items[i].text));
    fl_arena_done(&dump.arena);
    return dump.result;
}
