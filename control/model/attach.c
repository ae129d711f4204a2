#include "control/model/attach.h"

#include <stdarg.h>
#include <stdio.h>

/* -- hostnames ----------------------------------------------------------------------------------------------------- */

static bool is_any(struct fl_span hostname)
{
    return hostname.len == 0 || fl_span_eq(hostname, FL_SPAN("*"));
}

static bool is_wild(struct fl_span hostname)
{
    return hostname.len > 1 && hostname.data[0] == '*';
}

bool control_hostname_covers(struct fl_span wide, struct fl_span narrow)
{
    if (is_any(wide))
        return true;
    if (is_any(narrow))
        return false;
    if (!is_wild(wide))
        return fl_span_eq(wide, narrow);
    /* "*.a" covers "x.a", "x.y.a" and "*.x.a", not "a" */
    struct fl_span suffix = fl_span_from(wide, 1);
    return fl_span_ends_with(narrow, suffix) && narrow.len > suffix.len;
}

bool control_hostname_intersect(struct fl_span a, struct fl_span b, struct fl_span *ret_common)
{
    bool a_covers = control_hostname_covers(a, b);
    if (!a_covers && !control_hostname_covers(b, a))
        return false;
    *ret_common = a_covers ? b : a;
    return true;
}

/* -- routes and listeners -------------------------------------------------------------------------------------------
 */

const struct control_gateway *control_gateway_of(const struct control_model *model,
                                                 const struct control_reference *reference)
{
    bool group = fl_span_eq_str(reference->group, control_kind_group(CONTROL_GATEWAY));
    const struct control_key set_key = {CONTROL_LISTENER_SET, reference->name_space, reference->name};
    if (group && fl_span_eq_str(reference->kind, control_kind_name(CONTROL_LISTENER_SET))) {
        const struct control_listener_set *set = control_as_listener_set(control_model_get(model, set_key));
        if (set == NULL)
            return NULL;
        reference = &set->parent.reference;
        group = fl_span_eq_str(reference->group, control_kind_group(CONTROL_GATEWAY));
    }
    const struct control_key key = {CONTROL_GATEWAY, reference->name_space, reference->name};
    bool gateway = group && fl_span_eq_str(reference->kind, control_kind_name(CONTROL_GATEWAY));
    return gateway ? control_as_gateway(control_model_get(model, key)) : NULL;
}

bool control_is_parent(const struct control_reference *reference, const struct control_object *parent)
{
    return fl_span_eq_str(reference->group, control_kind_group(parent->kind)) &&
           fl_span_eq_str(reference->kind, control_kind_name(parent->kind)) &&
           fl_span_eq(reference->name, parent->metadata.name) &&
           fl_span_eq(reference->name_space, parent->metadata.name_space);
}

bool control_gateway_is_ours(const struct control_model *model, const struct control_gateway *gateway)
{
    const struct control_key key = {CONTROL_GATEWAY_CLASS, FL_SPAN(""), gateway->class_name};
    const struct control_gateway_class *class = control_as_gateway_class(control_model_get(model, key));
    return class != NULL ? fl_span_eq_str(class->controller, CONTROL_GATEWAY_CONTROLLER)
                         : fl_span_eq_str(gateway->class_name, "fairlead");
}

bool control_listener_can_take(const struct control_listener *listener, enum control_kind kind)
{
    switch (listener->protocol) {
    case CONTROL_LISTENER_HTTP:
    case CONTROL_LISTENER_HTTPS:
        return kind == CONTROL_HTTP_ROUTE || kind == CONTROL_GRPC_ROUTE;
    case CONTROL_LISTENER_TLS:
        return kind == CONTROL_TLS_ROUTE || (kind == CONTROL_TCP_ROUTE && !listener->tls_passthrough);
    case CONTROL_LISTENER_TCP:
        return kind == CONTROL_TCP_ROUTE;
    case CONTROL_LISTENER_UNSUPPORTED:
        break;
    }
    return false;
}

bool control_listener_takes_kind(const struct control_listener *listener, enum control_kind kind)
{
    if (!control_listener_can_take(listener, kind))
        return false;
    for (size_t i = 0; i < listener->kind_count; i++)
        if (fl_span_eq_str(listener->kinds[i].kind, control_kind_name(kind)) &&
            fl_span_eq_str(listener->kinds[i].group, control_kind_group(kind)))
            return true;
    return listener->kind_count == 0;
}

static bool takes_namespace(const struct control_model *model, const struct control_object *owner,
                            enum control_allowed allowed, const struct fl_selector *selector, struct fl_span name_space)
{
    const struct control_namespace *object;
    switch (allowed) {
    case CONTROL_ALLOWED_ALL:
        return true;
    case CONTROL_ALLOWED_SAME:
        return fl_span_eq(name_space, owner->metadata.name_space);
    case CONTROL_ALLOWED_SELECTOR:
        object = control_model_namespace(model, name_space);
        return object != NULL && fl_selector_match(selector, &object->object.metadata.labels);
    case CONTROL_ALLOWED_NONE:
        break;
    }
    return false;
}

static bool shares_hostname(const struct control_listener *listener, const struct control_object *route)
{
    const struct fl_span *hostnames = NULL;
    size_t count = control_route_hostnames(route, &hostnames);
    struct fl_span common;
    for (size_t i = 0; i < count; i++)
        if (control_hostname_intersect(listener->hostname, hostnames[i], &common))
            return true;
    return count == 0;
}

bool control_gateway_takes_set(const struct control_model *model, const struct control_gateway *gateway,
                               const struct control_listener_set *set)
{
    return takes_namespace(model, &gateway->object, gateway->allowed_sets, &gateway->allowed_sets_selector,
                           set->object.metadata.name_space);
}

enum control_fit control_listener_fit(const struct control_model *model, const struct control_object *owner,
                                      const struct control_listener *listener, const struct control_object *route,
                                      const struct control_parent *parent)
{
    if ((parent->section.len > 0 && !fl_span_eq(parent->section, listener->name)) ||
        (parent->port != 0 && parent->port != listener->port))
        return CONTROL_FIT_NO_LISTENER;
    if (!control_listener_takes_kind(listener, route->kind))
        return CONTROL_FIT_KIND;
    if (!takes_namespace(model, owner, listener->allowed, &listener->allowed_selector, route->metadata.name_space))
        return CONTROL_FIT_NAMESPACE;
    return shares_hostname(listener, route) ? CONTROL_FIT : CONTROL_FIT_HOSTNAME;
}

/* -- words --------------------------------------------------------------------------------------------------------- */

struct fl_span control_message(struct fl_arena *arena, const char *format, ...)
{
    char text[FL_ERR_TEXT_MAX];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (length < 0)
        return FL_SPAN("");
    size_t kept = (size_t)length < sizeof(text) ? (size_t)length : sizeof(text) - 1;
    struct fl_span copy = fl_arena_copy(arena, fl_span_make(text, kept));
    return copy.data != NULL ? copy : FL_SPAN("");
}

void control_condition_add(struct control_conditions *conditions, const char *type, bool status, const char *reason,
                           struct fl_span message)
{
    if (conditions->count < CONTROL_CONDITIONS_MAX)
        conditions->items[conditions->count++] = (struct control_condition){type, status, reason, message};
}
