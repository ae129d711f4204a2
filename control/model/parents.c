/* How a route stands with each of its parents (gateway.h: control_route_parents). */
#include "control/model/attach.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

/* -- a Gateway or ListenerSet as parent
 * --------------------------------------------------------------------------------------------
 */

static void judge_gateway(const struct control_model *model, const struct control_gateway *gateway,
                          const struct control_object *route, struct control_parent_view *view)
{
    static const struct {
        const char *reason, *message;
    } words[] = {
        [CONTROL_FIT_NO_LISTENER] = {"NoMatchingParent", "the parent has no listener of this sectionName and port"},
        [CONTROL_FIT_KIND] = {"NotAllowedByListeners", "no listener takes routes of this kind"},
        [CONTROL_FIT_NAMESPACE] = {"NotAllowedByListeners", "no listener takes routes from this namespace"},
        [CONTROL_FIT_HOSTNAME] = {"NoMatchingListenerHostname", "no listener has a hostname in common with the route"},
        [CONTROL_FIT] = {"Accepted", ""},
    };
    enum control_fit best = CONTROL_FIT_NO_LISTENER;
    const struct control_reference *reference = &view->parent->reference;
    const struct control_key key = {CONTROL_LISTENER_SET, reference->name_space, reference->name};
    bool own = control_is_parent(reference, &gateway->object);
    const struct control_listener_set *set = own ? NULL : control_as_listener_set(control_model_get(model, key));
    const struct control_object *owner = own ? &gateway->object : &set->object;
    const struct control_listener *listeners = own ? gateway->listeners : set->listeners;
    size_t count = own ? gateway->listener_count : set->listener_count;
    view->ours = true;
    if (!own && !control_gateway_takes_set(model, gateway, set)) {
        control_condition_add(&view->conditions, "Accepted", false, "NoMatchingParent",
                              FL_SPAN("the ListenerSet is not taken by its Gateway"));
        return;
    }
    for (size_t i = 0; i < count; i++) {
        enum control_fit fit = control_listener_fit(model, owner, &listeners[i], route, view->parent);
        if (fit > best)
            best = fit;
    }
    view->accepted = best == CONTROL_FIT;
    control_condition_add(&view->conditions, "Accepted", view->accepted, words[best].reason,
                          fl_span_str(words[best].message));
}

/* -- a Service as parent --------------------------------------------------------------------------------------------
 */

static bool port_is_named(const struct control_port *port, const struct control_parent *parent)
{
    return port->transport == CONTROL_TCP && (parent->port == 0 || parent->port == port->port) &&
           (parent->section.len == 0 || fl_span_eq(parent->section, port->name));
}

static void judge_service(const struct control_model *model, const struct control_object *route,
                          struct control_parent_view *view)
{
    const struct control_reference *reference = &view->parent->reference;
    const struct control_service *service = control_model_service(model, reference->name_space, reference->name);
    const struct control_http_route *http = control_as_http_route(route);
    bool port = false, protocol = false, has_hostnames = http != NULL && http->hostname_count > 0;
    for (size_t i = 0; service != NULL && i < service->port_count; i++) {
        bool named = port_is_named(&service->ports[i], view->parent);
        port |= named;
        protocol |=
            named && (control_as_tcp_route(route) != NULL || service->ports[i].protocol != CONTROL_PROTOCOL_TCP);
    }
    view->ours = true;
    view->accepted = protocol;
    const char *message = service == NULL ? "there is no such Service"
                          : !port         ? "the Service has no such TCP port"
                          : !protocol     ? "the port's protocol is TCP, which routes of this kind have no effect on"
                          : has_hostnames ? "hostnames do not count where the parent is a Service"
                                          : "";
    control_condition_add(&view->conditions, "Accepted", protocol, protocol ? "Accepted" : "NoMatchingParent",
                          fl_span_str(message));
}

/* -- references and rules --------------------------------------------------------------------------------------------
 */

static const char *words_of(const struct control_destination *destination)
{
    static const char *const words[] = {
        [CONTROL_BACKEND_OK] = "",
        [CONTROL_BACKEND_INVALID_KIND] = "is of a kind that cannot be a backend",
        [CONTROL_BACKEND_NOT_FOUND] = "is a Service that is not there",
        [CONTROL_BACKEND_NO_PORT] = "has no such TCP port",
        [CONTROL_BACKEND_NOT_PERMITTED] = "is in another namespace, and no ReferenceGrant there permits it",
        [CONTROL_BACKEND_FILTER] = "has a filter that is not supported",
    };
    bool no_port = destination->error == CONTROL_BACKEND_NO_PORT && destination->backend->port == 0;
    return no_port ? "is without a port, which is required" : words[destination->error];
}

#define FINDINGS_MAX   16   /* that are told one by one */
#define FINDINGS_BYTES 8192 /* of their text */

/* Sentences on one subject; the reason is that of the first. */
struct finding {
    struct fl_buf text;
    const char *reason;
    size_t count;
};

/* What is the matter with the route itself; the same for each parent of a sort. */
struct findings {
    enum control_route_caller caller;
    struct finding backends; /* that are wrong */
    struct finding rules;    /* that are dropped, or answer 500 */
    struct fl_span dropped;  /* of the first rule that is dropped */
    size_t dropped_count, rule_count;
};

__attribute__((format(printf, 3, 4))) static void add_finding(struct finding *finding, const char *reason,
                                                              const char *format, ...)
{
    va_list arguments;
    char text[FL_ERR_TEXT_MAX];
    if (finding->count++ == 0)
        finding->reason = reason;
    if (finding->count > FINDINGS_MAX)
        return;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    /* A message is not worth more than what fits. */
    (void)!fl_buf_printf(&finding->text, "%s%s", finding->count > 1 ? "; " : "", text);
}

static struct fl_span finding_text(const struct finding *finding, struct fl_arena *arena)
{
    struct fl_span text = fl_buf_span(&finding->text);
    if (finding->count <= FINDINGS_MAX)
        return control_message(arena, "%.*s", FL_SPAN_ARG(text));
    return control_message(arena, "%.*s; and %zu more", FL_SPAN_ARG(text), finding->count - FINDINGS_MAX);
}

/* In gRPC that is UNAVAILABLE. */
static const char *answer_of(const struct control_object *route)
{
    return route->kind == CONTROL_GRPC_ROUTE ? "503" : "500";
}

static int find_in(const struct control_model *model, const struct control_object *route, size_t rule, bool mirrors,
                   const struct control_backend *backends, size_t count, struct fl_arena *arena,
                   struct findings *findings)
{
    struct control_destinations destinations;
    int result = control_destinations_resolve(model, route, findings->caller, backends, count, arena, &destinations);
    for (size_t i = 0; result == 0 && i < destinations.count; i++) {
        const struct control_destination *wrong = &destinations.items[i];
        const struct control_reference *reference = &wrong->backend->reference;
        if (wrong->error == CONTROL_BACKEND_OK)
            continue;
        char port[8] = "";
        if (wrong->backend->port != 0)
            snprintf(port, sizeof(port), ":%u", wrong->backend->port);
        add_finding(&findings->backends, control_backend_reason(wrong->error), "rule %zu: %s %.*s/%.*s%s %s; %s%s",
                    rule, mirrors ? "mirror" : "backend", FL_SPAN_ARG(reference->name_space),
                    FL_SPAN_ARG(reference->name), port, words_of(wrong),
                    mirrors ? "it gets nothing" : "its share of the requests is answered ",
                    mirrors ? "" : answer_of(route));
    }
    if (result == 0 && !mirrors && destinations.count > 0 && destinations.total == 0)
        add_finding(&findings->rules, "NoBackendRefs", "rule %zu answers %s: every backend has weight 0", rule,
                    answer_of(route));
    return result;
}

static void find_in_rule(const struct control_http_rule *rule, size_t index, const char *answer,
                         struct findings *findings)
{
    if (rule->dropped.len > 0) {
        if (findings->dropped_count++ == 0)
            findings->dropped = rule->dropped;
        add_finding(&findings->rules, "UnsupportedValue", "Dropped Rule %zu: %.*s", index, FL_SPAN_ARG(rule->dropped));
    } else if (rule->filters.unsupported.len > 0) {
        add_finding(&findings->rules, "UnsupportedValue", "rule %zu answers %s: %.*s", index, answer,
                    FL_SPAN_ARG(rule->filters.unsupported));
    } else if (rule->backend_count == 0 && rule->filters.redirect == NULL) {
        add_finding(&findings->rules, "NoBackendRefs", "rule %zu has no backendRefs: it answers %s", index, answer);
    }
}

static int find(const struct control_model *model, const struct control_object *route, struct fl_arena *arena,
                struct findings *findings)
{
    const struct control_http_route *http = control_as_http_route(route);
    const struct control_tcp_route *tcp = control_as_tcp_route(route);
    int result = 0;
    findings->rule_count = http != NULL ? http->rule_count : 1;
    if (tcp != NULL)
        return find_in(model, route, 0, false, tcp->backends, tcp->backend_count, arena, findings);
    for (size_t i = 0; http != NULL && i < http->rule_count && result == 0; i++) {
        const struct control_http_rule *rule = &http->rules[i];
        find_in_rule(rule, i, answer_of(route), findings);
        result = find_in(model, route, i, false, rule->backends, rule->backend_count, arena, findings);
        if (result == 0)
            result = find_in(model, route, i, true, rule->filters.mirrors, rule->filters.mirror_count, arena, findings);
    }
    return result;
}

static void tell(const struct findings *findings, struct fl_arena *arena, struct control_parent_view *view)
{
    const struct finding *backends = &findings->backends, *rules = &findings->rules;
    if (findings->dropped_count == findings->rule_count && view->accepted) {
        view->accepted = false;
        view->conditions.count = 0;
        control_condition_add(&view->conditions, "Accepted", false, "UnsupportedValue",
                              control_message(arena, "every rule was dropped: %.*s", FL_SPAN_ARG(findings->dropped)));
    }
    if (backends->count == 0)
        control_condition_add(&view->conditions, "ResolvedRefs", true, "ResolvedRefs", FL_SPAN(""));
    else
        control_condition_add(&view->conditions, "ResolvedRefs", false, backends->reason,
                              finding_text(backends, arena));
    if (view->accepted && rules->count > 0)
        control_condition_add(&view->conditions, "PartiallyInvalid", true, rules->reason, finding_text(rules, arena));
}

static enum control_route_caller caller_of(const struct control_reference *parent)
{
    bool service = parent->group.len == 0 && fl_span_eq_str(parent->kind, "Service");
    return service ? CONTROL_CALLER_CLIENT : CONTROL_CALLER_GATEWAY;
}

static void judge(const struct control_model *model, const struct control_object *route, struct fl_arena *arena,
                  const struct findings *findings, struct control_parent_view *view)
{
    const struct control_reference *reference = &view->parent->reference;
    const struct control_gateway *gateway = control_gateway_of(model, reference);
    bool service = caller_of(reference) == CONTROL_CALLER_CLIENT;
    if (gateway != NULL && control_gateway_is_ours(model, gateway))
        judge_gateway(model, gateway, route, view);
    else if (service)
        judge_service(model, route, view);
    else if (gateway == NULL && !fl_span_eq_str(reference->kind, "Gateway") &&
             !fl_span_eq_str(reference->kind, "ListenerSet"))
        control_condition_add(&view->conditions, "Accepted", false, "InvalidKind",
                              FL_SPAN("a parent is a Gateway or ListenerSet, or a Service with group: \"\""));
    else if (gateway == NULL)
        control_condition_add(&view->conditions, "Accepted", false, "NoMatchingParent",
                              fl_span_eq_str(reference->kind, "Gateway")
                                  ? FL_SPAN("there is no such Gateway")
                                  : FL_SPAN("there is no such ListenerSet, or not its Gateway"));
    if (view->ours)
        tell(findings, arena, view);
}

/* The parents of one sort. */
static int judge_all(const struct control_model *model, const struct control_object *route,
                     enum control_route_caller caller, struct fl_arena *arena, struct control_parent_view *views,
                     size_t count)
{
    struct findings findings = {.caller = caller};
    size_t judged = 0;
    int result = 0;
    fl_buf_init(&findings.backends.text, FINDINGS_BYTES);
    fl_buf_init(&findings.rules.text, FINDINGS_BYTES);
    for (size_t i = 0; i < count && result == 0; i++) {
        if (caller_of(&views[i].parent->reference) != caller)
            continue;
        if (judged++ == 0)
            result = find(model, route, arena, &findings);
        if (result == 0)
            judge(model, route, arena, &findings, &views[i]);
    }
    fl_buf_done(&findings.backends.text);
    fl_buf_done(&findings.rules.text);
    return result;
}

int control_route_parents(const struct control_model *model, const struct control_object *route, struct fl_arena *arena,
                          struct control_parent_views *ret_parents)
{
    const struct control_parent *parents = NULL;
    size_t count = control_route_parent_list(route, &parents);
    *ret_parents = (struct control_parent_views){NULL, 0};
    if (count == 0)
        return 0;
    struct control_parent_view *views = fl_arena_array(arena, count, sizeof(*views));
    if (views == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++)
        views[i].parent = &parents[i];
    int result = 0;
    for (int caller = 0; caller < CONTROL_CALLER_COUNT && result == 0; caller++)
        result = judge_all(model, route, (enum control_route_caller)caller, arena, views, count);
    if (result == 0)
        *ret_parents = (struct control_parent_views){views, count};
    return result;
}
