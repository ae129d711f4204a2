/* Gateway, ListenerSet and GatewayClass. */
#include "control/model/gatewayapi.h"
#include "control/model/kind/document.h"
#include "control/model/kind/kinds.h"
#include "control/model/kind/reference.h"
#include "control/model/kind/row.h"

static const char *const froms[] = {"Same", "All", "Selector", "None", NULL};

struct listener_tls {
    struct fl_span mode;
    const struct control_reference *certificates;
    size_t certificate_count;
};

struct listener_texts {
    struct control_listener listener;
    struct listener_tls tls;
};

static const struct control_list certificate_list = LIST_OF(struct listener_tls, certificates, certificate_count, 0,
                                                            CONTROL_LISTENERS_MAX, control_read_reference, NULL, NULL);
#define AT(member) offsetof(struct listener_tls, member)
static const struct fl_row tls_rows[] = {
    {"mode", fl_read_string, AT(mode), OPT, 0, 0, NULL},
    {"certificateRefs", control_read_list, AT(certificates), OPT, 0, 0, &certificate_list},
    {0},
};
static const struct fl_table tls_table = {tls_rows, FL_TABLE_IGNORE_UNKNOWN};
#undef AT

#define AT(member) offsetof(struct control_listener, member)
static const struct fl_row from_rows[] = {
    {"from", fl_read_enum, AT(allowed), OPT, 0, 0, froms},
    {"selector", control_read_selector, AT(allowed_selector), OPT, 0, 0, NULL},
    {0},
};
static const struct fl_table from_table = {from_rows, FL_TABLE_IGNORE_UNKNOWN};

static int read_from(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    struct control_listener *listener = field;
    (void)row;
    int result = fl_table_read(reader, value, &from_table, listener);
    bool selects = fl_json_is(fl_json_get(value, "selector"), FL_JSON_OBJECT);
    if (result == 0 && listener->allowed == CONTROL_ALLOWED_SELECTOR && !selects)
        return fl_reader_fail(reader, value, "from: Selector needs a selector");
    return result;
}

static const struct fl_row kind_rows[] = {
    {"group", control_read_text, offsetof(struct control_reference, group), OPT, 0, CONTROL_GROUP_MAX, NULL},
    {"kind", control_read_text, offsetof(struct control_reference, kind), REQ, 1, 63, NULL},
    {0},
};
static const struct fl_table kind_table = {kind_rows, FL_TABLE_IGNORE_UNKNOWN};
static const struct control_reference kind_start = {
    .group = {CONTROL_GATEWAY_GROUP, sizeof(CONTROL_GATEWAY_GROUP) - 1}};
static const struct control_list kind_list =
    LIST_OF(struct control_listener, kinds, kind_count, 0, 8, fl_read_object, &kind_start, &kind_table);

/* Both write into the listener itself: they get it by the list's offset, so the table's offsets are the listener's. */
static int read_kinds(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    struct control_listener *listener = field;
    const struct fl_row list = {.detail = &kind_list};
    (void)row;
    return control_read_list(reader, value, &listener->kinds, &list);
}

static const struct fl_row allowed_rows[] = {
    {"namespaces", read_from, 0, OPT, 0, 0, NULL},
    {"kinds", read_kinds, 0, OPT, 0, 0, NULL},
    {0},
};
static const struct fl_table allowed_table = {allowed_rows, FL_TABLE_IGNORE_UNKNOWN};
#undef AT

#define AT(member) offsetof(struct listener_texts, member)
static const struct fl_row listener_rows[] = {
    {"name", control_read_text, AT(listener.name), REQ, 1, CONTROL_SECTION_MAX, NULL},
    {"hostname", control_read_hostname, AT(listener.hostname), OPT, 0, 0, NULL},
    {"port", control_read_port, AT(listener.port), REQ, 0, 0, NULL},
    {"protocol", control_read_text, AT(listener.protocol_text), REQ, 1, 255, NULL},
    {"tls", fl_read_object, AT(tls), OPT, 0, 0, &tls_table},
    {"allowedRoutes", fl_read_object, AT(listener), OPT, 0, 0, &allowed_table},
    {0},
};
static const struct fl_table listener_table = {listener_rows, FL_TABLE_IGNORE_UNKNOWN};
#undef AT

static enum control_listener_protocol protocol_of(struct fl_span text)
{
    static const char *const names[] = {"HTTP", "HTTPS", "TCP", "TLS"};
    for (size_t i = 0; i < FL_COUNT(names); i++)
        if (fl_span_eq_str(text, names[i]))
            return (enum control_listener_protocol)i;
    return CONTROL_LISTENER_UNSUPPORTED;
}

static int read_listener(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    struct listener_texts texts = {.listener = {.allowed = CONTROL_ALLOWED_SAME}};
    (void)row;
    int result = fl_table_read(reader, value, &listener_table, &texts);
    if (result < 0)
        return result;
    texts.listener.protocol = protocol_of(texts.listener.protocol_text);
    texts.listener.tls_passthrough = fl_span_eq_str(texts.tls.mode, "Passthrough");
    texts.listener.certificates = texts.tls.certificates;
    texts.listener.certificate_count = texts.tls.certificate_count;
    texts.listener.position = fl_positions_find(reader->positions, value);
    *(struct control_listener *)field = texts.listener;
    return 0;
}

/* What is for others to read: people, and the deployer. */
static int leave(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    (void)reader, (void)value, (void)field, (void)row;
    return 0;
}

static const struct control_list listener_list =
    LIST_OF(struct control_gateway, listeners, listener_count, 0, CONTROL_LISTENERS_MAX, read_listener, NULL, NULL);

static const struct fl_row allowed_sets_rows[] = {{"namespaces", read_from, 0, OPT, 0, 0, NULL}, {0}};
static const struct fl_table allowed_sets_table = {allowed_sets_rows, FL_TABLE_IGNORE_UNKNOWN};

/* In the words of a listener's allowedRoutes, but for the default. */
static int read_allowed_sets(struct fl_reader *reader, const struct fl_json *value, void *field,
                             const struct fl_row *row)
{
    struct control_listener words = {.allowed = CONTROL_ALLOWED_NONE};
    struct control_gateway *gateway = field;
    (void)row;
    int result = fl_table_read(reader, value, &allowed_sets_table, &words);
    gateway->allowed_sets = words.allowed;
    gateway->allowed_sets_selector = words.allowed_selector;
    return result;
}

#define AT(member) offsetof(struct control_gateway, member)
static const struct fl_row gateway_rows[] = {
    {"gatewayClassName", control_read_text, AT(class_name), REQ, 1, FL_KUBE_NAME_MAX, NULL},
    {"listeners", control_read_list, AT(listeners), REQ, 0, 0, &listener_list},
    {"allowedListeners", read_allowed_sets, 0, OPT, 0, 0, NULL},
    {"infrastructure", leave, 0, 0, 0, 0, NULL},
    {"addresses", leave, 0, 0, 0, 0, NULL},
    {0},
};
static const struct fl_table gateway_table = {gateway_rows, FL_TABLE_IGNORE_UNKNOWN};
#undef AT

static int refuse_twins(struct fl_reader *reader, const struct fl_json *document,
                        const struct control_listener *listeners, size_t count)
{
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < i; k++)
            if (fl_span_eq(listeners[i].name, listeners[k].name))
                return fl_reader_fail(reader, fl_json_get(document, "spec"), "spec.listeners: two of the name %.*s",
                                      FL_SPAN_ARG(listeners[i].name));
    return 0;
}

static int read_gateway(struct fl_reader *reader, const struct fl_json *document, struct control_object *object)
{
    struct control_gateway *gateway = FL_CONTAINER_OF(object, struct control_gateway, object);
    gateway->allowed_sets = CONTROL_ALLOWED_NONE;
    int result = control_read_spec(reader, document, &gateway_table, gateway);
    return result == 0 ? refuse_twins(reader, document, gateway->listeners, gateway->listener_count) : result;
}

const struct control_kind_reader control_read_gateway = {sizeof(struct control_gateway), read_gateway, NULL};

/* -- ListenerSet -- */

static const struct control_list set_listener_list = LIST_OF(struct control_listener_set, listeners, listener_count, 1,
                                                             CONTROL_LISTENERS_MAX, read_listener, NULL, NULL);
#define AT(member) offsetof(struct control_listener_set, member)
static const struct fl_row set_rows[] = {
    {"parentRef", control_read_parent, AT(parent), REQ, 0, 0, NULL},
    {"listeners", control_read_list, AT(listeners), REQ, 0, 0, &set_listener_list},
    {0},
};
static const struct fl_table set_table = {set_rows, FL_TABLE_IGNORE_UNKNOWN};
#undef AT

static int read_listener_set(struct fl_reader *reader, const struct fl_json *document, struct control_object *object)
{
    struct control_listener_set *set = FL_CONTAINER_OF(object, struct control_listener_set, object);
    int result = control_read_spec(reader, document, &set_table, set);
    for (size_t i = 0; result == 0 && i < set->listener_count; i++)
        if (set->listeners[i].name.len + object->metadata.name.len > CONTROL_SET_NAMES_MAX)
            return fl_reader_fail(reader, fl_json_get(document, "spec"),
                                  "spec.listeners: a name that is, with metadata.name, longer than %d characters",
                                  CONTROL_SET_NAMES_MAX);
    return result == 0 ? refuse_twins(reader, document, set->listeners, set->listener_count) : result;
}

const struct control_kind_reader control_read_listener_set = {sizeof(struct control_listener_set), read_listener_set,
                                                              NULL};

/* -- GatewayClass -------------------------------------------------------------------------------------------------- */

static const struct fl_row class_rows[] = {
    {"controllerName", control_read_text, offsetof(struct control_gateway_class, controller), REQ, 1, FL_KUBE_NAME_MAX,
     NULL},
    {"description", leave, 0, 0, 0, 0, NULL},
    {0},
};
static const struct fl_table class_table = {class_rows, FL_TABLE_IGNORE_UNKNOWN};

static int read_gateway_class(struct fl_reader *reader, const struct fl_json *document, struct control_object *object)
{
    return control_read_spec(reader, document, &class_table,
                             FL_CONTAINER_OF(object, struct control_gateway_class, object));
}

const struct control_kind_reader control_read_gateway_class = {sizeof(struct control_gateway_class), read_gateway_class,
                                                               NULL};
