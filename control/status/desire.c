#include "control/status/desire.h"

#include "common/base/siphash.h"
#include "common/doc/build.h"
#include "control/model/attach.h"
#include "control/status/features.h"
#include "control/status/report.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#define ADDRESSES_MAX 16          /* of a Gateway's status, as its schema has it */
#define PARENTS_MAX   32          /* of a route's */
#define MESSAGE_MAX   32768       /* of a condition */
#define TEXT_MAX      (1u << 20)  /* of what is hashed */
#define ARENA_MAX     (64u << 20) /* of look-ups */

/* Conditions that are ours wherever they stand; others stay. */
static const char *const ours[] = {"Accepted",   "Programmed", "ResolvedRefs", "PartiallyInvalid",
                                   "Conflicted", "Ready",      "Scheduled",    "SupportedVersion"};

static struct fl_span text_of(const struct fl_json *object, const char *name)
{
    return fl_json_string(fl_json_get(object, name));
}

static struct fl_json *find(const struct fl_json *array, const char *member, struct fl_span value)
{
    struct fl_json *item = fl_json_first(array);
    while (item != NULL && !fl_span_eq(text_of(item, member), value))
        item = fl_json_next(item);
    return item;
}

static struct fl_json *find_condition(const struct fl_json *conditions, const char *type)
{
    return find(conditions, "type", fl_span_str(type));
}

static bool is_our_type(struct fl_span type)
{
    for (size_t i = 0; i < FL_COUNT(ours); i++)
        if (fl_span_eq_str(type, ours[i]))
            return true;
    return false;
}

/* Sets a member of an object that is part of a tree. */
static int set_text(struct fl_json *object, const char *name, struct fl_span value)
{
    return fl_json_set(object, name, fl_json_new_string(value));
}

/* The type, with the status True or False. */
static int condition_set(struct fl_json *conditions, const char *type, bool status, const char *reason,
                         struct fl_span message)
{
    struct fl_json *item = find_condition(conditions, type);
    if (item == NULL) {
        int result = fl_json_append(conditions, fl_json_object_of("type", fl_json_text(type)));
        if (result < 0)
            return result;
        item = find_condition(conditions, type);
    }
    int result = set_text(item, "status", status ? FL_SPAN("True") : FL_SPAN("False"));
    if (result == 0)
        result = set_text(item, "reason", fl_span_str(reason));
    if (result == 0)
        result = set_text(item, "message", message.data != NULL ? message : FL_SPAN(""));
    return result;
}

/* -- a Gateway: what the cluster has of it ---------------------------------------------------------------------------
 */

struct fact { /* why a Gateway is not programmed; reason NULL: nothing keeps it */
    const char *reason;
    struct fl_span message;
    bool refused; /* not even accepted */
};

static const struct control_service *service_of(const struct control_model *model, struct fl_span name_space,
                                                struct fl_span gateway)
{
    char name[FL_KUBE_NAME_MAX + sizeof("-fairlead")];
    int length = snprintf(name, sizeof(name), "%.*s-fairlead", FL_SPAN_ARG(gateway));
    return control_model_service(model, name_space, fl_span_make(name, (size_t)length));
}

static bool has_ready(const struct control_model *model, const struct control_service *service)
{
    struct control_objects slices =
        control_model_slices(model, service->object.metadata.name_space, service->object.metadata.name);
    for (size_t i = 0; i < slices.count; i++) {
        const struct control_slice *slice = control_as_slice(slices.items[i]);
        for (size_t k = 0; k < slice->endpoint_count; k++)
            if ((slice->endpoints[k].conditions & CONTROL_ENDPOINT_READY) != 0)
                return true;
    }
    return false;
}

/* The reasons that Gateway API has for it; anything else that the deployer says is for want of resources. */
static void take_deployed(const struct fl_json *condition, struct fact *fact)
{
    static const struct {
        const char *reason;
        bool refused;
    } known[] = {{"InvalidParameters", true},
                 {"UnsupportedAddress", true},
                 {"AddressNotUsable", false},
                 {"AddressNotAssigned", false}};
    struct fl_span reason = text_of(condition, "reason");
    *fact = (struct fact){.reason = "NoResources", .message = text_of(condition, "message")};
    for (size_t i = 0; i < FL_COUNT(known); i++)
        if (fl_span_eq_str(reason, known[i].reason)) {
            fact->reason = known[i].reason;
            fact->refused = known[i].refused;
        }
}

static struct fact fact_of(const struct control_model *model, const struct control_seen *seen)
{
    const struct fl_json *deployed = find_condition(fl_json_get(seen->status, "conditions"), CONTROL_STATUS_DEPLOYED);
    const struct control_service *service = service_of(model, seen->name_space, seen->name);
    struct fact fact = {.reason = NULL};
    if (deployed != NULL && fl_span_eq_str(text_of(deployed, "status"), "False"))
        take_deployed(deployed, &fact);
    else if (service == NULL)
        fact = (struct fact){"AddressNotAssigned", FL_SPAN("its Service is not there yet"), false};
    else if (service->ingress_count == 0 && service->ip_count == 0)
        fact = (struct fact){"AddressNotAssigned", FL_SPAN("its Service has no address yet"), false};
    else if (!has_ready(model, service))
        fact = (struct fact){"Pending", FL_SPAN("none of its proxies is ready"), false};
    return fact;
}

static struct fl_json *address_of(struct fl_span value)
{
    struct control_ip ip;
    const char *type = control_ip_parse(value, &ip) == 0 ? "IPAddress" : "Hostname";
    return fl_json_with(fl_json_object_of("type", fl_json_text(type)), "value", fl_json_new_string(value));
}

static struct fl_json *addresses_of(const struct control_service *service)
{
    struct fl_json *list = fl_json_new_array();
    char room[CONTROL_IP_TEXT_MAX];
    for (size_t i = 0; service != NULL && i < service->ingress_count && i < ADDRESSES_MAX; i++)
        list = fl_json_and(list, address_of(service->ingress[i]));
    for (size_t i = 0; service != NULL && service->ingress_count == 0 && i < service->ip_count; i++)
        list = fl_json_and(list, address_of(fl_span_str(control_ip_print(&service->ips[i], room))));
    return list;
}

static bool is_true(const struct fl_json *conditions, const char *type)
{
    return fl_span_eq_str(text_of(find_condition(conditions, type), "status"), "True");
}

/* What is right by its own words is not there yet, as long as nobody serves it. */
static int gateway_facts(const struct control_desire_context *context, const struct control_seen *seen,
                         struct fl_json *status)
{
    struct fact fact = fact_of(context->model, seen);
    struct fl_json *conditions = fl_json_get(status, "conditions");
    const char *reason = fact.refused ? "Invalid" : fact.reason;
    int result =
        fl_json_set(status, "addresses", addresses_of(service_of(context->model, seen->name_space, seen->name)));
    if (result == 0 && fact.refused)
        result = condition_set(conditions, "Accepted", false, fact.reason, fact.message);
    if (result == 0 && fact.reason != NULL && is_true(conditions, "Programmed"))
        result = condition_set(conditions, "Programmed", false, reason, fact.message);
    struct fl_json *listener = fl_json_first(fl_json_get(status, "listeners"));
    for (; listener != NULL && result == 0 && fact.reason != NULL; listener = fl_json_next(listener)) {
        conditions = fl_json_get(listener, "conditions");
        if (is_true(conditions, "Programmed"))
            result = condition_set(conditions, "Programmed", false, fact.refused ? "Invalid" : "Pending", fact.message);
    }
    return result;
}

/* -- a ListenerSet -- */

/* Nobody serves it as long as nobody serves its Gateway. */
static int set_facts(const struct control_desire_context *context, const struct control_listener_set *set,
                     struct fl_json *status)
{
    const struct control_reference *parent = &set->parent.reference;
    const struct control_service *service = service_of(context->model, parent->name_space, parent->name);
    const struct fl_span message = FL_SPAN("none of the Gateway's proxies is ready");
    struct fl_json *conditions = fl_json_get(status, "conditions");
    int result = 0;
    if (service != NULL && has_ready(context->model, service))
        return 0;
    if (is_true(conditions, "Programmed"))
        result = condition_set(conditions, "Programmed", false, "ParentNotProgrammed", message);
    struct fl_json *listener = fl_json_first(fl_json_get(status, "listeners"));
    for (; listener != NULL && result == 0; listener = fl_json_next(listener)) {
        conditions = fl_json_get(listener, "conditions");
        if (is_true(conditions, "Programmed"))
            result = condition_set(conditions, "Programmed", false, "Pending", message);
    }
    return result;
}

/* -- a GatewayClass --------------------------------------------------------------------------------------------------
 */

static int class_facts(const struct control_desire_context *context, struct fl_json *status)
{
    bool supported = control_features_bundle_is_supported(context->bundle);
    int result = fl_json_set(status, "supportedFeatures", control_features());
    if (result < 0 || context->bundle.len == 0)
        return result;
    char message[160];
    snprintf(message, sizeof(message),
             "the CRDs of Gateway API are of version %.*s; " CONTROL_BUNDLE_WANTED " are read",
             (int)(context->bundle.len < 32 ? context->bundle.len : 32), context->bundle.data);
    return condition_set(fl_json_get(status, "conditions"), "SupportedVersion", supported,
                         supported ? "SupportedVersion" : "UnsupportedVersion",
                         supported ? FL_SPAN("") : fl_span_str(message));
}

/* -- an object that could not be read --------------------------------------------------------------------------------
 */

static struct fl_json *refused_condition(const struct control_problem *problem, const char *type, const char *reason)
{
    struct fl_json *item = fl_json_object_of("type", fl_json_text(type));
    char kept[FL_ERR_TEXT_MAX + 128];
    snprintf(kept, sizeof(kept), "%.*s; in force is %s", FL_SPAN_ARG(problem->text),
             control_problem_in_force(problem->reason));
    item = fl_json_with(item, "status", fl_json_text("False"));
    item = fl_json_with(item, "reason", fl_json_text(reason));
    return fl_json_with(item, "message", fl_json_text(kept));
}

/* Whether a parentRef that was not read by the model names a parent of ours. */
static const char *controller_of(const struct control_model *model, const struct fl_json *reference,
                                 struct fl_span name_space)
{
    const struct fl_json *group = fl_json_get(reference, "group");
    struct fl_span kind = text_of(reference, "kind"), other = text_of(reference, "namespace");
    bool core = group != NULL && (fl_json_string(group).len == 0 || fl_span_eq_str(fl_json_string(group), "core"));
    if (core && fl_span_eq_str(kind, "Service"))
        return CONTROL_MESH_CONTROLLER;
    if (core || (kind.len > 0 && !fl_span_eq_str(kind, "Gateway")))
        return NULL;
    const struct control_key key = {CONTROL_GATEWAY, other.len > 0 ? other : name_space, text_of(reference, "name")};
    const struct control_gateway *gateway = control_as_gateway(control_model_get(model, key));
    return gateway != NULL && control_gateway_is_ours(model, gateway) ? CONTROL_GATEWAY_CONTROLLER : NULL;
}

static struct fl_json *refused_parents(const struct control_desire_context *context, const struct control_seen *seen)
{
    struct fl_json *list = fl_json_new_array();
    const struct fl_json *reference = fl_json_first(seen->parents);
    for (; reference != NULL; reference = fl_json_next(reference)) {
        const char *controller = controller_of(context->model, reference, seen->name_space);
        struct fl_json *entry =
            controller == NULL ? fl_json_new_null() : fl_json_object_of("controllerName", fl_json_text(controller));
        if (controller != NULL)
            entry = fl_json_with(entry, "conditions",
                                 fl_json_array_of(refused_condition(context->problem, "Accepted", "UnsupportedValue")));
        list = fl_json_and(list, entry);
    }
    return list;
}

/* A GatewayClass or Gateway that was not read says nothing of whose it is: the one before does. */
static struct fl_json *refused_tree(const struct control_desire_context *context, const struct control_seen *seen,
                                    const struct control_object *before)
{
    if (control_kind_is_route(seen->kind))
        return fl_json_object_of("parents", refused_parents(context, seen));
    if (seen->kind == CONTROL_GATEWAY_CLASS)
        return NULL;
    if (seen->kind == CONTROL_GATEWAY &&
        (before == NULL || !control_gateway_is_ours(context->model, control_as_gateway(before))))
        return NULL;
    const struct control_listener_set *set = control_as_listener_set(before);
    const struct control_gateway *parent =
        set != NULL ? control_gateway_of(context->model, &set->parent.reference) : NULL;
    if (seen->kind == CONTROL_LISTENER_SET && (parent == NULL || !control_gateway_is_ours(context->model, parent)))
        return NULL;
    struct fl_json *conditions = fl_json_array_of(refused_condition(context->problem, "Accepted", "Invalid"));
    if (seen->kind == CONTROL_GATEWAY || set != NULL)
        conditions = fl_json_and(conditions, refused_condition(context->problem, "Programmed", "Invalid"));
    return fl_json_object_of("conditions", conditions);
}

/* -- into what stands there ------------------------------------------------------------------------------------------
 */

struct stamp {
    int64_t generation;
    char now[24]; /* "2026-01-02T03:04:05Z" */
};

static int cut_message(struct fl_json *condition)
{
    struct fl_span message = text_of(condition, "message");
    if (message.len <= MESSAGE_MAX / 4) /* the schema counts characters, and a longer one helps nobody */
        return 0;
    return set_text(condition, "message", fl_span_make(message.data, MESSAGE_MAX / 4));
}

/* Times and generations; then, with `others`, the conditions of other types that stand there. */
static int stamp_conditions(struct fl_json *conditions, const struct fl_json *seen, const struct stamp *stamp,
                            bool others)
{
    int result = 0;
    for (struct fl_json *item = fl_json_first(conditions); item != NULL && result == 0; item = fl_json_next(item)) {
        const struct fl_json *before = find(seen, "type", text_of(item, "type"));
        struct fl_span time = text_of(before, "lastTransitionTime");
        bool same = time.len > 0 && fl_span_eq(text_of(before, "status"), text_of(item, "status"));
        result = cut_message(item);
        if (result == 0)
            result = fl_json_set(item, "observedGeneration", fl_json_new_int(stamp->generation));
        if (result == 0)
            result = set_text(item, "lastTransitionTime", same ? time : fl_span_str(stamp->now));
    }
    for (const struct fl_json *item = fl_json_first(seen); item != NULL && result == 0 && others;
         item = fl_json_next(item))
        if (!is_our_type(text_of(item, "type")))
            result = fl_json_append(conditions, fl_json_copy(item));
    return result;
}

static bool is_ours(const struct fl_json *parent)
{
    struct fl_span controller = text_of(parent, "controllerName");
    return fl_span_eq_str(controller, CONTROL_GATEWAY_CONTROLLER) ||
           fl_span_eq_str(controller, CONTROL_MESH_CONTROLLER);
}

/* The list's entry of this parent and controller; NULL: none. */
static struct fl_json *find_parent(const struct fl_json *list, const struct fl_json *reference,
                                   struct fl_span controller)
{
    struct fl_json *item = fl_json_first(list);
    while (item != NULL && !(fl_span_eq(text_of(item, "controllerName"), controller) &&
                             fl_json_equal(fl_json_get(item, "parentRef"), reference)))
        item = fl_json_next(item);
    return item;
}

/* Ours with the reference as it was written, and stamped; null ones stay null. */
static int stamp_parents(struct fl_json *parents, const struct control_seen *seen, const struct stamp *stamp)
{
    const struct fl_json *before = fl_json_get(seen->status, "parents"), *reference = fl_json_first(seen->parents);
    int result = 0;
    for (struct fl_json *item = fl_json_first(parents); item != NULL && result == 0; item = fl_json_next(item)) {
        if (fl_json_is(item, FL_JSON_OBJECT) && reference != NULL) {
            const struct fl_json *there = find_parent(before, reference, text_of(item, "controllerName"));
            result = fl_json_set(item, "parentRef", fl_json_copy(reference));
            if (result == 0)
                result =
                    stamp_conditions(fl_json_get(item, "conditions"), fl_json_get(there, "conditions"), stamp, false);
        }
        reference = reference != NULL ? fl_json_next(reference) : NULL;
    }
    return result;
}

/* The list as it is to be: what is others' in its place, ours in theirs, the new ones at the end. */
static struct fl_json *merge_parents(const struct fl_json *parents, const struct fl_json *before)
{
    struct fl_json *list = fl_json_new_array();
    for (const struct fl_json *item = fl_json_first(before); item != NULL; item = fl_json_next(item)) {
        const struct fl_json *keep = item;
        if (is_ours(item))
            keep = find_parent(parents, fl_json_get(item, "parentRef"), text_of(item, "controllerName"));
        if (keep != NULL && find_parent(list, fl_json_get(keep, "parentRef"), text_of(keep, "controllerName")) == NULL)
            list = fl_json_and(list, fl_json_copy(keep));
    }
    for (const struct fl_json *item = fl_json_first(parents); item != NULL; item = fl_json_next(item))
        if (fl_json_is(item, FL_JSON_OBJECT) && fl_json_count(list) < PARENTS_MAX &&
            find_parent(list, fl_json_get(item, "parentRef"), text_of(item, "controllerName")) == NULL)
            list = fl_json_and(list, fl_json_copy(item));
    return list;
}

static int stamp_listeners(struct fl_json *listeners, const struct fl_json *before, const struct stamp *stamp)
{
    int result = 0;
    for (struct fl_json *item = fl_json_first(listeners); item != NULL && result == 0; item = fl_json_next(item)) {
        const struct fl_json *there = find(before, "name", text_of(item, "name"));
        result = stamp_conditions(fl_json_get(item, "conditions"), fl_json_get(there, "conditions"), stamp, false);
    }
    return result;
}

/* `status` becomes what is to stand there. */
static int merge(struct fl_json *status, const struct control_seen *seen, const struct stamp *stamp)
{
    struct fl_json *conditions = fl_json_get(status, "conditions"), *parents = fl_json_get(status, "parents");
    int result = stamp_conditions(conditions, fl_json_get(seen->status, "conditions"), stamp, true);
    if (result == 0)
        result = stamp_listeners(fl_json_get(status, "listeners"), fl_json_get(seen->status, "listeners"), stamp);
    if (result == 0 && parents != NULL)
        result = stamp_parents(parents, seen, stamp);
    if (result == 0 && parents != NULL)
        result = fl_json_set(status, "parents", merge_parents(parents, fl_json_get(seen->status, "parents")));
    return result;
}

/* -- comparison ------------------------------------------------------------------------------------------------------
 */

static bool equal_by(const struct fl_json *a, const struct fl_json *b, const char *member)
{
    if (fl_json_count(a) != fl_json_count(b))
        return false;
    for (const struct fl_json *item = fl_json_first(a); item != NULL; item = fl_json_next(item))
        if (!fl_json_equal(item, find(b, member, text_of(item, member))))
            return false;
    return true;
}

static bool differs(const struct fl_json *status, const struct fl_json *seen)
{
    for (const struct fl_json *item = fl_json_first(status); item != NULL; item = fl_json_next(item)) {
        struct fl_span name = fl_json_name(item);
        const struct fl_json *there = fl_json_get_span(seen, name);
        bool same = fl_span_eq_str(name, "conditions")  ? equal_by(item, there, "type")
                    : fl_span_eq_str(name, "listeners") ? equal_by(item, there, "name")
                    : there == NULL                     ? fl_json_count(item) == 0
                                                        : fl_json_equal(item, there);
        if (!same)
            return true;
    }
    return false;
}

/* -- the whole -------------------------------------------------------------------------------------------------------
 */

static int hash_of(const struct fl_json *status, int64_t generation, uint64_t *ret_hash)
{
    struct fl_buf text;
    fl_buf_init(&text, TEXT_MAX);
    int result = fl_buf_printf(&text, "%lld ", (long long)generation);
    if (result == 0)
        result = fl_json_print(status, &text);
    if (result == 0)
        *ret_hash = fl_siphash(fl_buf_span(&text));
    fl_buf_done(&text);
    return result;
}

/* What we want to say, as the report's trees; *ret_tree NULL: nothing. One of enum control_desire or -ENOMEM. */
static int tree_of(const struct control_desire_context *context, const struct control_seen *seen,
                   struct fl_json **ret_tree)
{
    const struct control_key key = {seen->kind, seen->name_space, seen->name};
    const struct control_object *object = control_model_get(context->model, key);
    struct fl_json *tree = NULL;
    int result = 0;
    *ret_tree = NULL;
    if (object != NULL && object->metadata.generation == seen->generation) {
        result = control_status_tree(context->model, object, &tree);
        if (result == 0 && tree != NULL && seen->kind == CONTROL_GATEWAY)
            result = gateway_facts(context, seen, tree);
        if (result == 0 && tree != NULL && seen->kind == CONTROL_LISTENER_SET)
            result = set_facts(context, control_as_listener_set(object), tree);
        if (result == 0 && tree != NULL && seen->kind == CONTROL_GATEWAY_CLASS)
            result = class_facts(context, tree);
    } else if (context->problem != NULL && !control_problem_is_warning(context->problem->reason)) {
        tree = refused_tree(context, seen, object);
    } else {
        return CONTROL_DESIRE_WAIT;
    }
    if (result < 0) {
        fl_json_free(tree);
        return result;
    }
    *ret_tree = tree;
    return tree != NULL ? CONTROL_DESIRE_WRITE : CONTROL_DESIRE_NOTHING;
}

static struct fl_json *patch_of(const struct control_seen *seen, struct fl_json *status)
{
    struct fl_json *metadata = fl_json_object_of("resourceVersion", fl_json_new_string(seen->version));
    return fl_json_with(fl_json_object_of("metadata", metadata), "status", status);
}

int control_desire(const struct control_desire_context *context, const struct control_seen *seen,
                   struct control_desired *ret_desired)
{
    struct fl_json *status = NULL;
    struct control_desired desired = {NULL, 0};
    struct stamp stamp = {.generation = seen->generation};
    struct tm time;
    int result = tree_of(context, seen, &status);
    if (result != CONTROL_DESIRE_WRITE)
        return result;
    if (gmtime_r(&(time_t){context->now}, &time) == NULL ||
        strftime(stamp.now, sizeof(stamp.now), "%Y-%m-%dT%H:%M:%SZ", &time) == 0)
        memcpy(stamp.now, "1970-01-01T00:00:00Z", sizeof("1970-01-01T00:00:00Z"));
    result = hash_of(status, seen->generation, &desired.hash);
    if (result == 0)
        result = merge(status, seen, &stamp);
    if (result < 0 || !differs(status, seen->status)) {
        fl_json_free(status);
        return result == -EMSGSIZE ? CONTROL_DESIRE_NOTHING : result;
    }
    desired.patch = patch_of(seen, status);
    if (desired.patch == NULL)
        return -ENOMEM;
    *ret_desired = desired;
    return CONTROL_DESIRE_WRITE;
}
