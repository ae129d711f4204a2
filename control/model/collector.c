#include "control/model/collector.h"

#include "control/model/service.h"

#define PORT_USUAL 4318 /* OTLP over HTTP */

/* What a request line can hold: no blank, no control character, no fragment; nothing beyond ASCII. */
static bool path_is_good(struct fl_span path)
{
    for (size_t i = 0; i < path.len; i++)
        if (path.data[i] <= ' ' || path.data[i] >= 0x7f || path.data[i] == '#')
            return false;
    return true;
}

static bool read_host(struct fl_span host, bool brackets, struct control_collector *collector)
{
    collector->host = host;
    collector->is_address = control_ip_parse(host, &collector->ip) == 0;
    bool colons = fl_span_find(host, ':') < host.len;
    return collector->is_address ? colons == brackets : !brackets && fl_is_dns_subdomain(host);
}

bool control_collector_parse(struct fl_span endpoint, struct control_collector *ret_collector)
{
    const struct fl_span scheme = FL_SPAN("http://");
    struct control_collector collector = {.port = PORT_USUAL};
    uint64_t port = PORT_USUAL;
    if (!fl_span_starts_with(endpoint, scheme))
        return false;
    endpoint = fl_span_from(endpoint, scheme.len);
    size_t slash = fl_span_find(endpoint, '/');
    struct fl_span authority = fl_span_make(endpoint.data, slash);
    collector.path = fl_span_from(endpoint, slash);
    bool brackets = fl_span_starts_with(authority, FL_SPAN("["));
    size_t end = fl_span_find(authority, brackets ? ']' : ':');
    struct fl_span host = fl_span_make(authority.data + brackets, end - brackets);
    if (brackets && end++ == authority.len)
        return false;
    struct fl_span rest = fl_span_from(authority, end);
    if (rest.len > 0 && (rest.data[0] != ':' || !fl_span_to_u64(fl_span_from(rest, 1), UINT16_MAX, &port) || port == 0))
        return false;
    collector.port = (uint16_t)port;
    if (!read_host(host, brackets, &collector) || !path_is_good(collector.path))
        return false;
    *ret_collector = collector;
    return true;
}

const struct control_service *control_collector_service(const struct control_model *model,
                                                        const struct control_collector *collector)
{
    if (collector->is_address)
        return control_model_service_at(model, &collector->ip);
    const struct control_service *service = control_service_by_fqdn(model, collector->host);
    struct fl_span rest = collector->host, name, name_space;
    if (service != NULL || !fl_span_split(&rest, '.', &name) || !fl_span_split(&rest, '.', &name_space))
        return service;
    bool whole = rest.data == NULL || fl_span_eq_str(rest, "svc");
    return whole ? control_model_service(model, name_space, name) : NULL;
}
