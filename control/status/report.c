#include "control/status/report.h"

#include "common/doc/json.h"
#include "common/mesh/identity.h"
#include "control/model/attach.h"
#include "control/model/collector.h"

#include <errno.h>

/* A JSON document that is being made; the first failure stays, so that every line need not ask. */
struct report {
    const struct control_model *model;
    const struct control_refusals *refusals; /* NULL: none are known */
    struct fl_arena arena;
    int result;
    bool for_api; /* what stands in status itself */
};

static void set(struct report *report, struct fl_json *object, const char *name, struct fl_json *value)
{
    int result = object != NULL ? fl_json_set(object, name, value) : -ENOMEM;
    if (object == NULL)
        fl_json_free(value);
    if (report->result == 0)
        report->result = result;
}

static void set_text(struct report *report, struct fl_json *object, const char *name, struct fl_span text)
{
    set(report, object, name, fl_json_new_string(text));
}

static void set_number(struct report *report, struct fl_json *object, const char *name, uint64_t number)
{
    set(report, object, name, fl_json_new_int((int64_t)number));
}

static void append(struct report *report, struct fl_json *array, struct fl_json *value)
{
    int result = array != NULL ? fl_json_append(array, value) : -ENOMEM;
    if (array == NULL)
        fl_json_free(value);
    if (report->result == 0)
        report->result = result;
}

/* -- parts -----------------------------------------------------------------------------------------------------------
 */

static struct fl_json *condition(struct report *report, const char *type, bool status, const char *reason,
                                 struct fl_span message)
{
    struct fl_json *object = fl_json_new_object();
    set_text(report, object, "type", fl_span_str(type));
    set_text(report, object, "status", status ? FL_SPAN("True") : FL_SPAN("False"));
    set_text(report, object, "reason", fl_span_str(reason));
    set_text(report, object, "message", message.data != NULL ? message : FL_SPAN(""));
    return object;
}

static struct fl_json *conditions_of(struct report *report, const struct control_conditions *conditions)
{
    struct fl_json *array = fl_json_new_array();
    for (size_t i = 0; i < conditions->count; i++) {
        const struct control_condition *item = &conditions->items[i];
        append(report, array, condition(report, item->type, item->status, item->reason, item->message));
    }
    return array;
}

static struct fl_json *origin_of(struct report *report, const struct control_origin *origin)
{
    struct fl_json *object = fl_json_new_object();
    set_text(report, object, "file", origin->source);
    set_number(report, object, "document", origin->document);
    if (origin->line > 0) {
        set_number(report, object, "line", origin->line);
        set_number(report, object, "column", origin->column);
    }
    return object;
}

static struct fl_json *metadata_of(struct report *report, struct fl_span name_space, struct fl_span name)
{
    struct fl_json *object = fl_json_new_object();
    set_text(report, object, "name", name);
    if (name_space.len > 0)
        set_text(report, object, "namespace", name_space);
    return object;
}

static struct fl_json *kind_of(struct report *report, const struct control_listener_view *view)
{
    struct fl_json *kinds = fl_json_new_array();
    const enum control_kind known[] = {CONTROL_HTTP_ROUTE, CONTROL_GRPC_ROUTE, CONTROL_TCP_ROUTE, CONTROL_TLS_ROUTE};
    const bool takes[] = {view->http_route, view->grpc_route, view->tcp_route_kind, view->tls_route};
    for (size_t i = 0; i < FL_COUNT(known); i++) {
        if (!takes[i])
            continue;
        struct fl_json *kind = fl_json_new_object();
        set_text(report, kind, "group", fl_span_str(control_kind_group(known[i])));
        set_text(report, kind, "kind", fl_span_str(control_kind_name(known[i])));
        append(report, kinds, kind);
    }
    return kinds;
}

/* -- status of each kind ---------------------------------------------------------------------------------------------
 */

static struct fl_json *listeners_of(struct report *report, const struct control_listener_view *views, size_t count)
{
    struct fl_json *listeners = fl_json_new_array();
    for (size_t i = 0; i < count; i++) {
        struct fl_json *listener = fl_json_new_object();
        set_text(report, listener, "name", views[i].listener->name);
        set_number(report, listener, "attachedRoutes", views[i].attached);
        set(report, listener, "supportedKinds", kind_of(report, &views[i]));
        set(report, listener, "conditions", conditions_of(report, &views[i].conditions));
        append(report, listeners, listener);
    }
    return listeners;
}

static struct fl_json *gateway_status(struct report *report, const struct control_gateway *gateway)
{
    struct fl_json *status = fl_json_new_object();
    struct control_gateway_view view = {0};
    int result = control_gateway_view(report->model, gateway, &report->arena, &view);
    if (result < 0)
        report->result = result;
    set(report, status, "conditions", conditions_of(report, &view.conditions));
    set(report, status, "listeners", listeners_of(report, view.listeners, view.own_count));
    if (gateway->allowed_sets != CONTROL_ALLOWED_NONE || view.attached_sets > 0)
        set_number(report, status, "attachedListenerSets", view.attached_sets);
    return status;
}

static struct fl_json *set_status(struct report *report, const struct control_listener_set *set_object)
{
    struct fl_json *status = fl_json_new_object();
    struct control_set_view view = {0};
    int result = control_set_view(report->model, set_object, &report->arena, &view);
    if (result < 0)
        report->result = result;
    set(report, status, "conditions", conditions_of(report, &view.conditions));
    set(report, status, "listeners", listeners_of(report, view.listeners, view.listener_count));
    return status;
}

static struct fl_json *parent_reference(struct report *report, const struct control_parent *parent)
{
    struct fl_json *object = fl_json_new_object();
    set_text(report, object, "group", parent->reference.group);
    set_text(report, object, "kind", parent->reference.kind);
    set_text(report, object, "namespace", parent->reference.name_space);
    set_text(report, object, "name", parent->reference.name);
    if (parent->section.len > 0)
        set_text(report, object, "sectionName", parent->section);
    if (parent->port != 0)
        set_number(report, object, "port", parent->port);
    return object;
}

static struct fl_json *route_status(struct report *report, const struct control_object *route)
{
    struct fl_json *status = fl_json_new_object(), *parents = fl_json_new_array();
    struct control_parent_views views = {NULL, 0};
    int result = control_route_parents(report->model, route, &report->arena, &views);
    if (result < 0)
        report->result = result;
    for (size_t i = 0; i < views.count; i++) {
        bool service = fl_span_eq_str(views.items[i].parent->reference.kind, "Service");
        if (report->for_api && !views.items[i].ours) {
            append(report, parents, fl_json_new_null());
            continue;
        }
        struct fl_json *parent = fl_json_new_object();
        set(report, parent, "parentRef", parent_reference(report, views.items[i].parent));
        set_text(report, parent, "controllerName",
                 fl_span_str(service ? CONTROL_MESH_CONTROLLER : CONTROL_GATEWAY_CONTROLLER));
        set(report, parent, "conditions", conditions_of(report, &views.items[i].conditions));
        append(report, parents, parent);
    }
    set(report, status, "parents", parents);
    if (views.count == 0 && !report->for_api) {
        struct fl_json *conditions = fl_json_new_array();
        append(report, conditions,
               condition(report, "Accepted", false, "NoParentRefs",
                         FL_SPAN("the route has no parentRefs: nothing uses it")));
        set(report, status, "conditions", conditions);
    }
    return status;
}

/* What an object of our own says: understood or not, and what its references miss. */
static struct fl_span missing_target(struct report *report, const struct control_object *object)
{
    const struct control_traffic_policy *traffic = control_as_traffic_policy(object);
    for (size_t i = 0; traffic != NULL && i < traffic->target.name_count; i++) {
        struct fl_span name = traffic->target.names[i];
        const struct control_service *service = control_model_service(report->model, object->metadata.name_space, name);
        const struct control_traffic_policy *other =
            service != NULL ? control_service_traffic(report->model, service) : NULL;
        struct fl_buf text;
        fl_buf_init(&text, FL_ERR_TEXT_MAX);
        int result = 0;
        if (service == NULL)
            result = fl_buf_printf(&text, "there is no Service %.*s", FL_SPAN_ARG(name));
        else if (other != traffic)
            result = fl_buf_printf(&text, "of Service %.*s the older policy %.*s is in force", FL_SPAN_ARG(name),
                                   FL_SPAN_ARG(other->object.metadata.name));
        struct fl_span copy =
            result == 0 && text.len > 0 ? fl_arena_copy(&report->arena, fl_buf_span(&text)) : (struct fl_span){NULL, 0};
        fl_buf_done(&text);
        if (copy.len > 0)
            return copy;
    }
    return (struct fl_span){NULL, 0};
}

/* What keeps spans from going anywhere; empty: nothing. */
static struct fl_span missing_collector(struct report *report, const struct control_object *object)
{
    const struct control_telemetry *telemetry = control_as_telemetry(object);
    struct control_collector collector;
    if (telemetry == NULL || !control_collector_parse(telemetry->endpoint, &collector))
        return (struct fl_span){NULL, 0};
    const struct control_service *service = control_collector_service(report->model, &collector);
    if (service != NULL && control_service_port(service, collector.port) == NULL)
        return control_message(&report->arena, "tracing.endpoint: Service %.*s has no TCP port %u: no spans are sent",
                               FL_SPAN_ARG(service->object.metadata.name), collector.port);
    if (service == NULL && !collector.is_address)
        return control_message(
            &report->arena, "tracing.endpoint: \"%.*s\" is no Service that is known, and no address: no spans are sent",
            FL_SPAN_ARG(collector.host));
    return (struct fl_span){NULL, 0};
}

static bool is_used_settings(const struct report *report, const struct control_object *object)
{
    return object->kind != CONTROL_MESH_SETTINGS ||
           (fl_span_eq_str(object->metadata.name, "default") &&
            fl_span_eq(object->metadata.name_space, control_model_root(report->model)));
}

/* What holds in the place of an object that was not understood. */
static const char *closed_word(const struct report *report, const struct control_object *object)
{
    if (object->kind == CONTROL_PEER_AUTHENTICATION)
        return "mTLS is STRICT for whom it selects";
    if (object->kind == CONTROL_MESH_SETTINGS)
        return is_used_settings(report, object) ? "egress is refused"
                                                : "nothing follows, as another MeshSettings counts";
    if (object->kind == CONTROL_REQUEST_AUTHENTICATION)
        return "no token that it is about is good for whom it selects";
    return "everything is denied for whom it selects";
}

static struct fl_json *foreign_issuer(struct report *report)
{
    struct fl_buf text;
    fl_buf_init(&text, FL_ERR_TEXT_MAX + 2 * FL_IDENTITY_TRUST_DOMAIN_MAX);
    int result =
        fl_buf_printf(&text,
                      "certificates are issued for the trust domain %.*s (--trust-domain), not for %.*s: no proxy is "
                      "served until the two are the same",
                      FL_SPAN_ARG(control_model_foreign_issuer(report->model)),
                      FL_SPAN_ARG(control_model_settings(report->model).trust_domain));
    if (result < 0)
        report->result = result;
    struct fl_json *json = condition(report, "Accepted", false, "TrustDomain", fl_buf_span(&text));
    fl_buf_done(&text);
    return json;
}

static struct fl_json *own_status(struct report *report, const struct control_object *object)
{
    struct fl_json *status = fl_json_new_object(), *conditions = fl_json_new_array();
    struct fl_span missing = missing_target(report, object), collector = missing_collector(report, object);
    if (object->broken.len > 0) {
        struct fl_buf text;
        fl_buf_init(&text, 2 * FL_ERR_TEXT_MAX);
        int result = fl_buf_printf(&text, "%.*s; until it is mended %s", FL_SPAN_ARG(object->broken),
                                   closed_word(report, object));
        if (result < 0)
            report->result = result;
        append(report, conditions, condition(report, "Accepted", false, "Invalid", fl_buf_span(&text)));
        fl_buf_done(&text);
    } else if (!is_used_settings(report, object)) {
        struct fl_span used = control_message(&report->arena, "MeshSettings count as %.*s/default alone",
                                              FL_SPAN_ARG(control_model_root(report->model)));
        append(report, conditions, condition(report, "Accepted", false, "Unused", used));
    } else if (object->kind == CONTROL_MESH_SETTINGS && control_model_foreign_issuer(report->model).len > 0) {
        append(report, conditions, foreign_issuer(report));
    } else if (collector.len > 0) {
        append(report, conditions, condition(report, "Accepted", false, "CollectorNotFound", collector));
    } else {
        append(report, conditions, condition(report, "Accepted", true, "Accepted", FL_SPAN("")));
    }
    if (object->kind == CONTROL_TRAFFIC_POLICY)
        append(report, conditions,
               condition(report, "ResolvedRefs", missing.len == 0, missing.len == 0 ? "ResolvedRefs" : "TargetNotFound",
                         missing));
    set(report, status, "conditions", conditions);
    return status;
}

static struct fl_json *class_status(struct report *report, const struct control_gateway_class *class)
{
    struct fl_json *status = fl_json_new_object(), *conditions = fl_json_new_array();
    if (fl_span_eq_str(class->controller, CONTROL_GATEWAY_CONTROLLER))
        append(report, conditions, condition(report, "Accepted", true, "Accepted", FL_SPAN("")));
    set(report, status, "conditions", conditions);
    return status;
}

/* -- objects ---------------------------------------------------------------------------------------------------------
 */

bool control_status_has(enum control_kind kind)
{
    return kind == CONTROL_GATEWAY_CLASS || kind == CONTROL_GATEWAY || kind == CONTROL_LISTENER_SET ||
           control_kind_is_route(kind) || fl_span_eq_str(FL_SPAN("fairlead.io"), control_kind_group(kind));
}

static struct fl_json *head_of(struct report *report, enum control_kind kind)
{
    const char *group = control_kind_group(kind);
    const char *version = fl_span_eq_str(FL_SPAN("fairlead.io"), group) ? "v1alpha1" : "v1";
    struct fl_json *object = fl_json_new_object();
    struct fl_buf api;
    fl_buf_init(&api, 128);
    int result = fl_buf_printf(&api, "%s%s%s", group, group[0] != '\0' ? "/" : "", version);
    if (result < 0)
        report->result = result;
    set_text(report, object, "apiVersion", fl_buf_span(&api));
    set_text(report, object, "kind", fl_span_str(control_kind_name(kind)));
    fl_buf_done(&api);
    return object;
}

/* What the source says on documents of the object's name; what closed it is among its conditions already. */
static void add_problems(struct report *report, const struct control_object *object, struct fl_json *status)
{
    const struct control_problems *list = control_model_problems(report->model);
    const struct control_key key = control_object_key(object);
    struct fl_json *problems = NULL;
    for (size_t i = 0; list != NULL && i < list->count; i++) {
        const struct control_problem *problem = &list->items[i];
        const struct control_key other = {problem->kind, problem->name_space, problem->name};
        bool said = problem->reason == CONTROL_PROBLEM_CLOSED && object->broken.len > 0;
        if (!problem->known || said || control_key_compare(&other, &key) != 0)
            continue;
        struct fl_json *item = fl_json_new_object();
        set_text(report, item, "reason", fl_span_str(control_problem_word(problem->reason)));
        set_text(report, item, "message", problem->text);
        if (problems == NULL)
            problems = fl_json_new_array();
        append(report, problems, item);
    }
    if (problems != NULL)
        set(report, status, "problems", problems);
}

static bool holds(struct fl_span text, struct fl_span part)
{
    for (; text.len >= part.len; text = fl_span_from(text, 1))
        if (fl_span_starts_with(text, part))
            return true;
    return false;
}

/* The first refusal that names the object. A route's conditions stand with its parents: it has one of its own then. */
static void add_refusal(struct report *report, const struct control_object *object, struct fl_json *status)
{
    const struct fl_metadata *metadata = &object->metadata;
    size_t i = 0, count = report->refusals != NULL ? report->refusals->count : 0;
    if (count == 0)
        return;
    struct fl_span name =
        control_message(&report->arena, "%.*s/%.*s#", FL_SPAN_ARG(metadata->name_space), FL_SPAN_ARG(metadata->name));
    while (i < count && (name.len == 0 || !holds(report->refusals->items[i].reason, name)))
        i++;
    if (i == count)
        return;
    const struct control_refusal *refusal = &report->refusals->items[i];
    struct fl_json *conditions = fl_json_get(status, "conditions");
    if (conditions == NULL) {
        set(report, status, "conditions", fl_json_new_array());
        conditions = fl_json_get(status, "conditions");
    }
    append(report, conditions,
           condition(report, "Programmed", false, "RefusedByProxy",
                     control_message(&report->arena, "refused by %zu proxies, the first is %.*s: %.*s",
                                     refusal->proxies, FL_SPAN_ARG(refusal->proxy), FL_SPAN_ARG(refusal->reason))));
}

static struct fl_json *refusals_of(struct report *report)
{
    struct fl_json *array = fl_json_new_array();
    for (size_t i = 0; report->refusals != NULL && i < report->refusals->count; i++) {
        const struct control_refusal *refusal = &report->refusals->items[i];
        struct fl_json *json = fl_json_new_object();
        set_text(report, json, "type", refusal->type);
        set_text(report, json, "proxy", refusal->proxy);
        set_number(report, json, "proxies", refusal->proxies);
        set_text(report, json, "reason", refusal->reason);
        append(report, array, json);
    }
    return array;
}

static struct fl_json *status_of(struct report *report, const struct control_object *object)
{
    return object->kind == CONTROL_GATEWAY         ? gateway_status(report, control_as_gateway(object))
           : object->kind == CONTROL_GATEWAY_CLASS ? class_status(report, control_as_gateway_class(object))
           : object->kind == CONTROL_LISTENER_SET  ? set_status(report, control_as_listener_set(object))
           : control_kind_is_route(object->kind)   ? route_status(report, object)
                                                   : own_status(report, object);
}

static struct fl_json *object_of(struct report *report, const struct control_object *object)
{
    struct fl_json *json = head_of(report, object->kind);
    set(report, json, "metadata", metadata_of(report, object->metadata.name_space, object->metadata.name));
    set(report, json, "origin", origin_of(report, &object->origin));
    struct fl_json *status = status_of(report, object);
    add_problems(report, object, status);
    add_refusal(report, object, status);
    set(report, json, "status", status);
    fl_arena_reset(&report->arena);
    return json;
}

static struct fl_json *problem_condition(struct report *report, const struct control_problem *problem)
{
    bool ignored = problem->reason == CONTROL_PROBLEM_IGNORED;
    return condition(report, ignored ? "PartiallyInvalid" : "Accepted", ignored, control_problem_word(problem->reason),
                     problem->text);
}

static struct fl_json *problem_of(struct report *report, const struct control_problem *problem)
{
    struct fl_json *json = problem->known ? head_of(report, problem->kind) : fl_json_new_object();
    struct fl_json *status = fl_json_new_object(), *conditions = fl_json_new_array();
    if (problem->known)
        set(report, json, "metadata", metadata_of(report, problem->name_space, problem->name));
    set(report, json, "origin", origin_of(report, &problem->origin));
    append(report, conditions, problem_condition(report, problem));
    set(report, status, "conditions", conditions);
    set(report, json, "status", status);
    return json;
}

/* Prints and frees. */
static int finish(struct report *report, struct fl_json *json, struct fl_buf *out)
{
    if (report->result == 0 && json == NULL)
        report->result = -ENOMEM;
    if (report->result == 0)
        report->result = fl_json_print(json, out);
    fl_json_free(json);
    fl_arena_done(&report->arena);
    return report->result;
}

static void start(struct report *report, const struct control_model *model)
{
    *report = (struct report){.model = model};
    fl_arena_init(&report->arena, 64u << 20);
}

int control_status_object(const struct control_model *model, const struct control_object *object, struct fl_buf *out)
{
    struct report report;
    start(&report, model);
    return finish(&report, object_of(&report, object), out);
}

int control_status_problem(const struct control_problem *problem, struct fl_buf *out)
{
    struct report report;
    start(&report, NULL);
    return finish(&report, problem_of(&report, problem), out);
}

static bool is_ours(const struct control_model *model, const struct control_object *object)
{
    const struct control_listener_set *set = control_as_listener_set(object);
    const struct control_gateway *gateway =
        set != NULL ? control_gateway_of(model, &set->parent.reference) : control_as_gateway(object);
    if (object->kind == CONTROL_GATEWAY || set != NULL)
        return gateway != NULL && control_gateway_is_ours(model, gateway);
    return object->kind != CONTROL_GATEWAY_CLASS ||
           fl_span_eq_str(control_as_gateway_class(object)->controller, CONTROL_GATEWAY_CONTROLLER);
}

int control_status_tree(const struct control_model *model, const struct control_object *object,
                        struct fl_json **ret_status)
{
    struct report report;
    struct fl_json *status = NULL;
    if (is_ours(model, object)) {
        start(&report, model);
        report.for_api = true;
        status = status_of(&report, object);
        fl_arena_done(&report.arena);
        if (status == NULL || report.result < 0) {
            fl_json_free(status);
            return report.result < 0 ? report.result : -ENOMEM;
        }
    }
    *ret_status = status;
    return 0;
}

/* -- everything ------------------------------------------------------------------------------------------------------
 */

/* The first condition that is not as it should be; NULL: all are. */
static const struct fl_json *bad_condition(const struct fl_json *conditions)
{
    const struct fl_json *item = fl_json_first(conditions);
    for (; item != NULL; item = fl_json_next(item)) {
        struct fl_span type = fl_json_string(fl_json_get(item, "type"));
        bool negative = fl_span_eq_str(type, "Conflicted") || fl_span_eq_str(type, "PartiallyInvalid");
        if (fl_span_eq_str(fl_json_string(fl_json_get(item, "status")), negative ? "True" : "False"))
            break;
    }
    return item;
}

static const struct fl_json *bad_among(const struct fl_json *array)
{
    const struct fl_json *bad = NULL;
    for (const struct fl_json *item = fl_json_first(array); item != NULL && bad == NULL; item = fl_json_next(item))
        bad = bad_condition(fl_json_get(item, "conditions"));
    return bad;
}

static const struct fl_json *bad_of(const struct fl_json *status)
{
    const struct fl_json *bad = bad_condition(fl_json_get(status, "conditions"));
    if (bad == NULL)
        bad = bad_among(fl_json_get(status, "parents"));
    if (bad == NULL)
        bad = bad_among(fl_json_get(status, "listeners"));
    return bad != NULL ? bad : fl_json_first(fl_json_get(status, "problems"));
}

struct summary {
    uint64_t objects, problems, refused, warnings;
    struct fl_json *first;
};

static void say_first(struct report *report, struct summary *summary, const struct fl_json *json, struct fl_span what)
{
    const struct fl_json *metadata = fl_json_get(json, "metadata");
    struct fl_span name_space = fl_json_string(fl_json_get(metadata, "namespace"));
    if (summary->problems++ >= CONTROL_STATUS_FIRST)
        return;
    struct fl_span text = what;
    if (metadata != NULL)
        text = control_message(&report->arena, "%.*s %.*s%s%.*s: %.*s",
                               FL_SPAN_ARG(fl_json_string(fl_json_get(json, "kind"))), FL_SPAN_ARG(name_space),
                               name_space.len > 0 ? "/" : "",
                               FL_SPAN_ARG(fl_json_string(fl_json_get(metadata, "name"))), FL_SPAN_ARG(what));
    append(report, summary->first, fl_json_new_string(text));
}

static void count_object(struct report *report, struct summary *summary, const struct fl_json *json)
{
    const struct fl_json *bad = bad_of(fl_json_get(json, "status"));
    summary->objects++;
    if (bad != NULL)
        say_first(report, summary, json, fl_json_string(fl_json_get(bad, "message")));
}

/* One of an object that is there was counted with it. */
static void count_problem(struct report *report, struct summary *summary, const struct control_problem *problem,
                          const struct fl_json *json)
{
    const struct control_key key = {problem->kind, problem->name_space, problem->name};
    bool warning = control_problem_is_warning(problem->reason);
    bool counted = problem->known && control_status_has(key.kind) && control_model_get(report->model, key) != NULL;
    summary->warnings += warning;
    summary->refused += !warning;
    if (!warning && !counted)
        say_first(report, summary, json, problem->text);
}

static bool wants(const struct control_status_filter *filter, const char *kind, struct fl_span name_space,
                  struct fl_span name)
{
    return filter == NULL || ((filter->kind.len == 0 || fl_span_eq_str(filter->kind, kind)) &&
                              (filter->name_space.len == 0 || fl_span_eq(filter->name_space, name_space)) &&
                              (filter->name.len == 0 || fl_span_eq(filter->name, name)));
}

static void add_all_objects(struct report *report, const struct control_status_filter *filter, struct summary *summary,
                            struct fl_json *objects)
{
    for (int kind = 0; kind < CONTROL_KIND_COUNT && report->result == 0; kind++) {
        if (!control_status_has((enum control_kind)kind))
            continue;
        struct control_objects all = control_model_all(report->model, (enum control_kind)kind);
        for (size_t i = 0; i < all.count; i++) {
            const struct fl_metadata *metadata = &all.items[i]->metadata;
            if (!wants(filter, control_kind_name((enum control_kind)kind), metadata->name_space, metadata->name))
                continue;
            struct fl_json *json = object_of(report, all.items[i]);
            count_object(report, summary, json);
            append(report, objects, json);
        }
    }
}

static void add_all_problems(struct report *report, const struct control_status_filter *filter, struct summary *summary,
                             struct fl_json *problems)
{
    const struct control_problems *list = control_model_problems(report->model);
    for (size_t i = 0; list != NULL && i < list->count; i++) {
        const struct control_problem *problem = &list->items[i];
        const char *kind = problem->known ? control_kind_name(problem->kind) : "";
        if (!wants(filter, kind, problem->name_space, problem->name))
            continue;
        struct fl_json *json = problem_of(report, problem);
        count_problem(report, summary, problem, json);
        append(report, problems, json);
    }
}

int control_status_all(const struct control_model *model, const struct control_refusals *refusals,
                       const struct control_status_filter *filter, struct fl_buf *out)
{
    struct report report;
    start(&report, model);
    report.refusals = refusals;
    struct summary summary = {.first = fl_json_new_array()};
    struct fl_json *root = fl_json_new_object(), *counts = fl_json_new_object();
    struct fl_json *objects = fl_json_new_array(), *problems = fl_json_new_array();
    add_all_objects(&report, filter, &summary, objects);
    add_all_problems(&report, filter, &summary, problems);
    set_number(&report, root, "version", control_model_version(model));
    set_number(&report, counts, "objects", summary.objects);
    set_number(&report, counts, "problems", summary.problems);
    set_number(&report, counts, "refused", summary.refused);
    set_number(&report, counts, "warnings", summary.warnings);
    set(&report, counts, "first", summary.first);
    set(&report, root, "summary", counts);
    set(&report, root, "objects", objects);
    set(&report, root, "problems", problems);
    set(&report, root, "refusals", refusals_of(&report));
    return finish(&report, root, out);
}
