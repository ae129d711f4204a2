/* What the descriptors do not say: types by name, which messages are strict, which oneofs must be set, which fields
 * are secrets, which messages have a JSON form of their own. Tables; adding a message means adding a line. */
#include "common/xds/field.h"
#include "common/xds/message.h"

#include "common/xds/proto/access_log_file.pb-c.h"
#include "common/xds/proto/access_log_stream.pb-c.h"
#include "common/xds/proto/bootstrap.pb-c.h"
#include "common/xds/proto/cors.pb-c.h"
#include "common/xds/proto/fault.pb-c.h"
#include "common/xds/proto/grpc_stats.pb-c.h"
#include "common/xds/proto/hcm.pb-c.h"
#include "common/xds/proto/http_inspector.pb-c.h"
#include "common/xds/proto/http_options.pb-c.h"
#include "common/xds/proto/http_rbac.pb-c.h"
#include "common/xds/proto/jwt_authn.pb-c.h"
#include "common/xds/proto/network_rbac.pb-c.h"
#include "common/xds/proto/original_dst.pb-c.h"
#include "common/xds/proto/previous_hosts.pb-c.h"
#include "common/xds/proto/proxy_protocol.pb-c.h"
#include "common/xds/proto/raw_buffer.pb-c.h"
#include "common/xds/proto/router.pb-c.h"
#include "common/xds/proto/tcp_proxy.pb-c.h"
#include "common/xds/proto/tls_inspector.pb-c.h"
#include "common/xds/proto/trace.pb-c.h"
#include "common/xds/proto/upstream_proxy_protocol.pb-c.h"

#include <stdio.h>

/* Types that may stand in an Any. */
static const ProtobufCMessageDescriptor *const types[] = {
    &google__protobuf__struct__descriptor,
    &google__protobuf__value__descriptor,
    &google__protobuf__list_value__descriptor,
    &google__protobuf__duration__descriptor,
    &google__protobuf__empty__descriptor,
    &google__protobuf__string_value__descriptor,
    &google__protobuf__bool_value__descriptor,
    &google__protobuf__bytes_value__descriptor,
    &google__protobuf__double_value__descriptor,
    &google__protobuf__float_value__descriptor,
    &google__protobuf__int32_value__descriptor,
    &google__protobuf__int64_value__descriptor,
    &google__protobuf__uint32_value__descriptor,
    &google__protobuf__uint64_value__descriptor,
    &envoy__config__bootstrap__v3__bootstrap__descriptor,
    &envoy__config__cluster__v3__cluster__descriptor,
    &envoy__config__endpoint__v3__cluster_load_assignment__descriptor,
    &envoy__config__listener__v3__listener__descriptor,
    &envoy__config__route__v3__route_configuration__descriptor,
    &envoy__config__trace__v3__open_telemetry_config__descriptor,
    &envoy__extensions__access_loggers__file__v3__file_access_log__descriptor,
    &envoy__extensions__access_loggers__stream__v3__stderr_access_log__descriptor,
    &envoy__extensions__access_loggers__stream__v3__stdout_access_log__descriptor,
    &envoy__extensions__filters__http__cors__v3__cors__descriptor,
    &envoy__extensions__filters__http__cors__v3__cors_policy__descriptor,
    &envoy__extensions__filters__http__fault__v3__httpfault__descriptor,
    &envoy__extensions__filters__http__grpc_stats__v3__filter_config__descriptor,
    &envoy__extensions__filters__http__jwt_authn__v3__jwt_authentication__descriptor,
    &envoy__extensions__filters__http__jwt_authn__v3__per_route_config__descriptor,
    &envoy__extensions__filters__http__rbac__v3__rbac__descriptor,
    &envoy__extensions__filters__http__rbac__v3__rbacper_route__descriptor,
    &envoy__extensions__filters__http__router__v3__router__descriptor,
    &envoy__extensions__filters__listener__http_inspector__v3__http_inspector__descriptor,
    &envoy__extensions__filters__listener__original_dst__v3__original_dst__descriptor,
    &envoy__extensions__filters__listener__tls_inspector__v3__tls_inspector__descriptor,
    &envoy__extensions__filters__network__http_connection_manager__v3__http_connection_manager__descriptor,
    &envoy__extensions__filters__network__rbac__v3__rbac__descriptor,
    &envoy__extensions__filters__network__tcp_proxy__v3__tcp_proxy__descriptor,
    &envoy__extensions__retry__host__previous_hosts__v3__previous_hosts_predicate__descriptor,
    &envoy__extensions__filters__listener__proxy_protocol__v3__proxy_protocol__descriptor,
    &envoy__extensions__transport_sockets__proxy_protocol__v3__proxy_protocol_upstream_transport__descriptor,
    &envoy__extensions__transport_sockets__raw_buffer__v3__raw_buffer__descriptor,
    &envoy__extensions__transport_sockets__tls__v3__downstream_tls_context__descriptor,
    &envoy__extensions__transport_sockets__tls__v3__secret__descriptor,
    &envoy__extensions__transport_sockets__tls__v3__upstream_tls_context__descriptor,
    &envoy__extensions__upstreams__http__v3__http_protocol_options__descriptor,
};

/* Full names of strict messages; one that ends with '.' stands for everything below it. */
static const char *const strict[] = {
    "envoy.type.v3.",
    "envoy.type.matcher.v3.",
    "xds.core.v3.CidrRange",
    "envoy.config.core.v3.CidrRange",
    "envoy.config.core.v3.DataSource",
    "envoy.config.core.v3.RuntimeFractionalPercent",
    "envoy.config.core.v3.WatchedDirectory",
    "envoy.config.listener.v3.FilterChainMatch",
    "envoy.config.listener.v3.ListenerFilterChainMatchPredicate",
    "envoy.config.listener.v3.ListenerFilterChainMatchPredicate.",
    "envoy.config.rbac.v3.",
    "envoy.config.route.v3.CookieMatcher",
    "envoy.config.route.v3.HeaderMatcher",
    "envoy.config.route.v3.QueryParameterMatcher",
    "envoy.config.route.v3.RouteMatch",
    "envoy.config.route.v3.RouteMatch.",
    "envoy.extensions.filters.http.cors.v3.",
    "envoy.extensions.filters.http.fault.v3.HTTPFault",
    "envoy.extensions.filters.http.jwt_authn.v3.",
    "envoy.extensions.filters.http.rbac.v3.",
    "envoy.extensions.filters.network.rbac.v3.",
    "envoy.extensions.transport_sockets.tls.v3.",
};

/* Strict messages whose oneof may stay empty. */
static const char *const choice_optional[] = {
    "envoy.type.matcher.v3.RegexMatcher",
    "envoy.config.route.v3.HeaderMatcher",
    "envoy.config.route.v3.QueryParameterMatcher",
    "envoy.extensions.filters.http.jwt_authn.v3.JwtRequirement",
    "envoy.extensions.filters.http.jwt_authn.v3.RequirementRule",
    "envoy.extensions.transport_sockets.tls.v3.CommonTlsContext",
    "envoy.extensions.transport_sockets.tls.v3.CommonTlsContext.CertificateProvider",
    "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
    "envoy.extensions.transport_sockets.tls.v3.PrivateKeyProvider",
    "envoy.extensions.transport_sockets.tls.v3.Secret",
};

static const struct {
    const char *type, *field;
} secrets[] = {
    {"envoy.extensions.transport_sockets.tls.v3.TlsCertificate", "private_key"},
    {"envoy.extensions.transport_sockets.tls.v3.TlsCertificate", "password"},
    {"envoy.extensions.transport_sockets.tls.v3.TlsCertificate", "pkcs12"},
    {"envoy.extensions.transport_sockets.tls.v3.TlsCertificate", "private_key_provider"},
    {"envoy.extensions.transport_sockets.tls.v3.TlsSessionTicketKeys", "keys"},
    {"envoy.extensions.transport_sockets.tls.v3.GenericSecret", "secret"},
    {"envoy.extensions.transport_sockets.tls.v3.GenericSecret", "secrets"},
};

const ProtobufCMessageDescriptor *fl_xds_type(struct fl_span type_url)
{
    size_t slash = fl_span_find(type_url, '/');
    while (slash < type_url.len) {
        type_url = fl_span_from(type_url, slash + 1);
        slash = fl_span_find(type_url, '/');
    }
    for (size_t i = 0; i < FL_COUNT(types); i++)
        if (fl_span_eq_str(type_url, types[i]->name))
            return types[i];
    return NULL;
}

bool fl_xds_is_strict(const ProtobufCMessageDescriptor *type)
{
    struct fl_span name = fl_span_str(type->name);
    for (size_t i = 0; i < FL_COUNT(strict); i++) {
        struct fl_span row = fl_span_str(strict[i]);
        if (row.data[row.len - 1] == '.' ? fl_span_starts_with(name, row) : fl_span_eq(name, row))
            return true;
    }
    return false;
}

static bool is_choice_optional(const ProtobufCMessageDescriptor *type)
{
    for (size_t i = 0; i < FL_COUNT(choice_optional); i++)
        if (strcmp(type->name, choice_optional[i]) == 0)
            return true;
    return false;
}

/* "a, b or c": the members of the oneof that `first` belongs to. */
static void print_choice(const ProtobufCMessageDescriptor *type, const ProtobufCFieldDescriptor *first, char *text,
                         size_t size)
{
    unsigned left = 0;
    for (unsigned i = 0; i < type->n_fields; i++)
        left += fl_xds_in_oneof(&type->fields[i]) && type->fields[i].quantifier_offset == first->quantifier_offset;
    size_t len = 0;
    text[0] = '\0';
    for (unsigned i = 0; i < type->n_fields && left > 0; i++) {
        const ProtobufCFieldDescriptor *field = &type->fields[i];
        if (!fl_xds_in_oneof(field) || field->quantifier_offset != first->quantifier_offset)
            continue;
        left--;
        int wrote = snprintf(text + len, size - len, "%s%s", field->name, left > 1 ? ", " : left == 1 ? " or " : "");
        if (wrote < 0 || (size_t)wrote >= size - len)
            return;
        len += (size_t)wrote;
    }
}

const char *fl_xds_missing_choice(const ProtobufCMessage *message, char *text, size_t size)
{
    const ProtobufCMessageDescriptor *type = message->descriptor;
    if (!fl_xds_is_strict(type) || is_choice_optional(type))
        return NULL;
    for (unsigned i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &type->fields[i];
        if (fl_xds_in_oneof(field) && *fl_xds_case(message, field) == 0) {
            print_choice(type, field, text, size);
            return text;
        }
    }
    return NULL;
}

enum fl_xds_form fl_xds_form(const ProtobufCMessageDescriptor *type)
{
    static const char prefix[] = "google.protobuf.";
    if (strncmp(type->name, prefix, sizeof(prefix) - 1) != 0)
        return FL_XDS_PLAIN;
    if (type == &google__protobuf__any__descriptor)
        return FL_XDS_ANY;
    if (type == &google__protobuf__duration__descriptor)
        return FL_XDS_DURATION;
    if (type == &google__protobuf__struct__descriptor)
        return FL_XDS_STRUCT;
    if (type == &google__protobuf__list_value__descriptor)
        return FL_XDS_LIST;
    if (type == &google__protobuf__value__descriptor)
        return FL_XDS_VALUE;
    return type->n_fields == 1 && strcmp(type->fields[0].name, "value") == 0 ? FL_XDS_WRAPPER : FL_XDS_PLAIN;
}

/* protoc names the entry of `map<…> some_name` "SomeNameEntry", nested in the message. */
bool fl_xds_is_map(const ProtobufCMessageDescriptor *parent, const ProtobufCFieldDescriptor *field)
{
    if (field->label != PROTOBUF_C_LABEL_REPEATED || field->type != PROTOBUF_C_TYPE_MESSAGE)
        return false;
    const ProtobufCMessageDescriptor *entry = field->descriptor;
    if (entry->n_fields != 2 || strcmp(entry->fields[0].name, "key") != 0 ||
        strcmp(entry->fields[1].name, "value") != 0)
        return false;
    struct fl_span name = fl_span_str(entry->name), owner = fl_span_str(parent->name);
    if (!fl_span_starts_with(name, owner) || !fl_span_ends_with(name, FL_SPAN("Entry")) ||
        name.len <= owner.len + sizeof("Entry"))
        return false;
    char camel[128];
    size_t len = 0;
    bool upper = true;
    for (const char *c = field->name; *c != '\0' && len < sizeof(camel); c++) {
        if (*c == '_') {
            upper = true;
            continue;
        }
        camel[len++] = upper && *c >= 'a' && *c <= 'z' ? (char)(*c - 'a' + 'A') : *c;
        upper = false;
    }
    struct fl_span middle = fl_span_make(name.data + owner.len + 1, name.len - owner.len - sizeof("Entry"));
    return fl_span_eq(middle, fl_span_make(camel, len));
}

bool fl_xds_is_secret(const ProtobufCMessageDescriptor *type, const ProtobufCFieldDescriptor *field)
{
    for (size_t i = 0; i < FL_COUNT(secrets); i++)
        if (strcmp(type->name, secrets[i].type) == 0 && strcmp(field->name, secrets[i].field) == 0)
            return true;
    return false;
}

size_t fl_xds_value_size(const ProtobufCFieldDescriptor *field)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return 8;
    case PROTOBUF_C_TYPE_BOOL:
        return sizeof(protobuf_c_boolean);
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(void *);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_ENUM:
    default:
        return 4;
    }
}

bool fl_xds_name_is(const char *field_name, struct fl_span member)
{
    if (fl_span_eq_str(member, field_name))
        return true;
    size_t i = 0;
    for (const char *c = field_name; *c != '\0'; c++) {
        char expected = *c;
        if (expected == '_' && c[1] != '\0') {
            expected = *++c;
            if (expected >= 'a' && expected <= 'z')
                expected = (char)(expected - 'a' + 'A');
        }
        if (i >= member.len || member.data[i++] != expected)
            return false;
    }
    return i == member.len;
}

bool fl_xds_is_set(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    if (field->label == PROTOBUF_C_LABEL_REPEATED)
        return *fl_xds_count(message, field) > 0;
    if (fl_xds_in_oneof(field))
        return *fl_xds_case(message, field) == field->id;
    const void *value = fl_xds_at(message, field);
    if (field->type == PROTOBUF_C_TYPE_MESSAGE)
        return *(void *const *)value != NULL;
    if (field->type == PROTOBUF_C_TYPE_STRING)
        return *(char *const *)value != NULL && **(char *const *)value != '\0';
    if (field->type == PROTOBUF_C_TYPE_BYTES)
        return ((const ProtobufCBinaryData *)value)->len > 0;
    static const char zeros[8];
    return memcmp(value, zeros, fl_xds_value_size(field)) != 0;
}
