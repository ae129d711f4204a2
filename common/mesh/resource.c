#include "common/mesh/resource.h"

#include "common/mesh/dnsname.h"

#include <arpa/inet.h>
#include <errno.h>

static const struct {
    const char *url, *word;
} types[FL_RESOURCE_TYPES] = {
    [FL_RESOURCE_CLUSTER] = {"type.googleapis.com/envoy.config.cluster.v3.Cluster", "CDS"},
    [FL_RESOURCE_ENDPOINTS] = {"type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment", "EDS"},
    [FL_RESOURCE_LISTENER] = {"type.googleapis.com/envoy.config.listener.v3.Listener", "LDS"},
    [FL_RESOURCE_ROUTES] = {"type.googleapis.com/envoy.config.route.v3.RouteConfiguration", "RDS"},
    [FL_RESOURCE_SECRET] = {"type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret", "SDS"},
};

#define ON(type) (1u << FL_RESOURCE_##type)

/* Names that are one word. */
static const struct {
    const char *text;
    enum fl_resource_kind kind;
    unsigned types;
} words[] = {
    {FL_RESOURCE_NAME_VIRTUAL_OUTBOUND, FL_RESOURCE_VIRTUAL_OUTBOUND, ON(LISTENER)},
    {FL_RESOURCE_NAME_VIRTUAL_INBOUND, FL_RESOURCE_VIRTUAL_INBOUND, ON(LISTENER)},
    {FL_RESOURCE_NAME_TUNNEL_INBOUND, FL_RESOURCE_TUNNEL_INBOUND, ON(LISTENER)},
    {FL_RESOURCE_NAME_OWN_NAMESPACE, FL_RESOURCE_OWN_NAMESPACE, ON(LISTENER)},
    {FL_RESOURCE_NAME_PASSTHROUGH, FL_RESOURCE_PASSTHROUGH, ON(CLUSTER)},
    {FL_RESOURCE_NAME_BLACKHOLE, FL_RESOURCE_BLACKHOLE, ON(CLUSTER)},
    {FL_RESOURCE_NAME_INBOUND_PASSTHROUGH, FL_RESOURCE_INBOUND_PASSTHROUGH, ON(CLUSTER)},
    {FL_RESOURCE_NAME_OWN_CERTIFICATE, FL_RESOURCE_OWN_CERTIFICATE, ON(SECRET)},
    {FL_RESOURCE_NAME_TRUST_BUNDLE, FL_RESOURCE_TRUST_BUNDLE, ON(SECRET)},
};

/* Names with parts, by what they begin with. */
enum form { FORM_OUTBOUND, FORM_INBOUND, FORM_WORKLOAD, FORM_GATEWAY, FORM_KUBERNETES, FORMS };
static const struct {
    const char *prefix;
    unsigned types;
} forms[FORMS] = {
    [FORM_OUTBOUND] = {"outbound|", ON(LISTENER) | ON(ROUTES) | ON(CLUSTER) | ON(ENDPOINTS)},
    [FORM_INBOUND] = {"inbound|", ON(CLUSTER)},
    [FORM_WORKLOAD] = {"workload|", ON(CLUSTER) | ON(ENDPOINTS)},
    [FORM_GATEWAY] = {"gateway|", ON(LISTENER) | ON(ROUTES)},
    [FORM_KUBERNETES] = {"kubernetes://", ON(SECRET)},
};

const char *fl_resource_type_url(enum fl_resource_type type)
{
    return types[type].url;
}

enum fl_resource_type fl_resource_type_of(struct fl_span type_url)
{
    enum fl_resource_type type = 0;
    while (type < FL_RESOURCE_TYPES && !fl_span_eq_str(type_url, types[type].url))
        type++;
    return type;
}

const char *fl_resource_type_word(enum fl_resource_type type)
{
    return types[type].word;
}

static bool read_port(struct fl_span text, uint16_t *ret_port)
{
    uint64_t port;
    if (!fl_span_to_u64(text, UINT16_MAX, &port) || port == 0 || text.data[0] == '0')
        return false;
    *ret_port = (uint16_t)port;
    return true;
}

static bool is_canonical_ip(struct fl_span text, int family)
{
    char given[INET6_ADDRSTRLEN], canonical[INET6_ADDRSTRLEN];
    unsigned char bytes[sizeof(struct in6_addr)];
    if (text.len >= sizeof(given) || memchr(text.data, '\0', text.len) != NULL)
        return false;
    memcpy(given, text.data, text.len);
    given[text.len] = '\0';
    return inet_pton(family, given, bytes) == 1 && inet_ntop(family, bytes, canonical, sizeof(canonical)) != NULL &&
           strcmp(given, canonical) == 0;
}

/* "10.0.0.1:80" or "[fd00::1]:80" */
static bool read_address(struct fl_span text, struct fl_resource_name *name)
{
    bool ipv6 = text.len > 0 && text.data[0] == '[';
    size_t end = fl_span_find(text, ipv6 ? ']' : ':');
    size_t colon = end + ipv6;
    if (text.len == 0 || colon >= text.len || text.data[colon] != ':')
        return false;
    name->ip = fl_span_make(text.data + ipv6, end - ipv6);
    return is_canonical_ip(name->ip, ipv6 ? AF_INET6 : AF_INET) &&
           read_port(fl_span_from(text, colon + 1), &name->port);
}

/* "<port>|<fqdn>" for routes, "<port>||<fqdn>" for clusters and endpoints */
static bool read_service(enum fl_resource_type type, struct fl_span text, struct fl_resource_name *name)
{
    struct fl_span part;
    if (!fl_span_split(&text, '|', &part) || !read_port(part, &name->port))
        return false;
    if (type != FL_RESOURCE_ROUTES && (!fl_span_split(&text, '|', &part) || part.len > 0))
        return false;
    name->host = text;
    return text.data != NULL && fl_dns_is_subdomain(text);
}

/* "<port>||" */
static bool read_inbound(struct fl_span text, struct fl_resource_name *name)
{
    size_t bar = fl_span_find(text, '|');
    return fl_span_eq_str(fl_span_from(text, bar), "||") && read_port(fl_span_make(text.data, bar), &name->port);
}

/* "<namespace>/<name>" */
static bool read_object(struct fl_span text, struct fl_resource_name *name)
{
    if (!fl_span_split(&text, '/', &name->name_space) || text.data == NULL)
        return false;
    name->name = text;
    return fl_dns_is_label(name->name_space) && fl_dns_is_subdomain(name->name);
}

/* "<namespace>/<name>|<port>", for routes also "…|<section>" */
static bool read_gateway(enum fl_resource_type type, struct fl_span text, struct fl_resource_name *name)
{
    struct fl_span object, port;
    if (!fl_span_split(&text, '|', &object) || !fl_span_split(&text, '|', &port) || !read_object(object, name) ||
        !read_port(port, &name->port))
        return false;
    name->section = text;
    return text.data == NULL || (type == FL_RESOURCE_ROUTES && fl_dns_is_subdomain(text));
}

static enum fl_resource_kind read_form(enum form form, enum fl_resource_type type, struct fl_span text,
                                       struct fl_resource_name *name)
{
    switch (form) {
    case FORM_OUTBOUND:
        if (type == FL_RESOURCE_LISTENER)
            return read_address(text, name) ? FL_RESOURCE_DESTINATION : FL_RESOURCE_NONE;
        return read_service(type, text, name) ? FL_RESOURCE_SERVICE : FL_RESOURCE_NONE;
    case FORM_INBOUND:
        return read_inbound(text, name) ? FL_RESOURCE_INBOUND : FL_RESOURCE_NONE;
    case FORM_WORKLOAD:
        return read_address(text, name) ? FL_RESOURCE_WORKLOAD : FL_RESOURCE_NONE;
    case FORM_GATEWAY:
        return read_gateway(type, text, name) ? FL_RESOURCE_GATEWAY : FL_RESOURCE_NONE;
    case FORM_KUBERNETES:
        return read_object(text, name) ? FL_RESOURCE_KUBERNETES_SECRET : FL_RESOURCE_NONE;
    case FORMS:
    default:
        return FL_RESOURCE_NONE;
    }
}

enum fl_resource_kind fl_resource_parse(enum fl_resource_type type, struct fl_span text,
                                        struct fl_resource_name *ret_name)
{
    *ret_name = (struct fl_resource_name){0};
    for (size_t i = 0; i < FL_COUNT(words); i++)
        if ((words[i].types & 1u << type) != 0 && fl_span_eq_str(text, words[i].text))
            return ret_name->kind = words[i].kind;
    for (enum form form = 0; form < FORMS; form++) {
        struct fl_span prefix = fl_span_str(forms[form].prefix);
        struct fl_resource_name name = {0};
        if ((forms[form].types & 1u << type) == 0 || !fl_span_starts_with(text, prefix))
            continue;
        name.kind = read_form(form, type, fl_span_from(text, prefix.len), &name);
        if (name.kind != FL_RESOURCE_NONE)
            *ret_name = name;
    }
    return ret_name->kind;
}

static int print_address(const char *prefix, const struct fl_resource_name *name, struct fl_buf *out)
{
    bool ipv6 = fl_span_find(name->ip, ':') < name->ip.len;
    if (name->ip.len == 0 || name->port == 0)
        return -EINVAL;
    return fl_buf_printf(out, "%s%s%.*s%s:%u", prefix, ipv6 ? "[" : "", FL_SPAN_ARG(name->ip), ipv6 ? "]" : "",
                         name->port);
}

static int print_service(enum fl_resource_type type, const struct fl_resource_name *name, struct fl_buf *out)
{
    if (name->host.len == 0 || name->port == 0)
        return -EINVAL;
    return fl_buf_printf(out, "outbound|%u|%s%.*s", name->port, type == FL_RESOURCE_ROUTES ? "" : "|",
                         FL_SPAN_ARG(name->host));
}

static int print_gateway(enum fl_resource_type type, const struct fl_resource_name *name, struct fl_buf *out)
{
    bool section = name->section.len > 0;
    if (name->name_space.len == 0 || name->name.len == 0 || name->port == 0 || (section && type != FL_RESOURCE_ROUTES))
        return -EINVAL;
    return fl_buf_printf(out, "gateway|%.*s/%.*s|%u%s%.*s", FL_SPAN_ARG(name->name_space), FL_SPAN_ARG(name->name),
                         name->port, section ? "|" : "", FL_SPAN_ARG(name->section));
}

static int print_parts(enum fl_resource_type type, const struct fl_resource_name *name, struct fl_buf *out)
{
    unsigned on = 1u << type;
    if (name->kind == FL_RESOURCE_DESTINATION && type == FL_RESOURCE_LISTENER)
        return print_address("outbound|", name, out);
    if (name->kind == FL_RESOURCE_WORKLOAD && (on & forms[FORM_WORKLOAD].types) != 0)
        return print_address("workload|", name, out);
    if (name->kind == FL_RESOURCE_SERVICE && (on & (ON(ROUTES) | ON(CLUSTER) | ON(ENDPOINTS))) != 0)
        return print_service(type, name, out);
    if (name->kind == FL_RESOURCE_GATEWAY && (on & forms[FORM_GATEWAY].types) != 0)
        return print_gateway(type, name, out);
    if (name->kind == FL_RESOURCE_INBOUND && type == FL_RESOURCE_CLUSTER && name->port != 0)
        return fl_buf_printf(out, "inbound|%u||", name->port);
    if (name->kind == FL_RESOURCE_KUBERNETES_SECRET && type == FL_RESOURCE_SECRET && name->name_space.len > 0 &&
        name->name.len > 0)
        return fl_buf_printf(out, "kubernetes://%.*s/%.*s", FL_SPAN_ARG(name->name_space), FL_SPAN_ARG(name->name));
    return -EINVAL;
}

int fl_resource_print(enum fl_resource_type type, const struct fl_resource_name *name, struct fl_buf *out)
{
    for (size_t i = 0; i < FL_COUNT(words); i++)
        if ((words[i].types & 1u << type) != 0 && words[i].kind == name->kind)
            return fl_buf_append_str(out, words[i].text);
    return print_parts(type, name, out);
}
