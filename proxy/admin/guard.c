#include "proxy/admin/guard.h"

#include "proxy/net/address.h"

/* Cuts ":<port>" off; false where what stands there is no port. */
static bool cut_port(struct fl_span *host)
{
    size_t colon = host->len;
    for (size_t i = host->len; i > 0; i--)
        if (host->data[i - 1] == ':') {
            colon = i - 1;
            break;
        }
    bool in_brackets = host->len > 0 && host->data[host->len - 1] == ']';
    if (colon == host->len || in_brackets)
        return true;
    uint64_t port;
    if (!fl_span_to_u64(fl_span_from(*host, colon + 1), UINT16_MAX, &port))
        return false;
    host->len = colon;
    return true;
}

bool proxy_guard_host(struct fl_span host)
{
    if (host.len == 0)
        return true;
    if (!cut_port(&host))
        return false;
    if (fl_span_eq_nocase(host, FL_SPAN("localhost")))
        return true;
    bool brackets = host.len > 2 && host.data[0] == '[' && host.data[host.len - 1] == ']';
    if (brackets)
        host = fl_span_make(host.data + 1, host.len - 2);
    struct proxy_address address;
    return proxy_address_parse(host, 0, &address) == 0 && (address.any.sa_family == AF_INET6) == brackets;
}

const char *proxy_guard_check(const struct proxy_message *request, bool changes)
{
    if (!proxy_guard_host(request->authority))
        return "Host must be an IP address or localhost";
    struct fl_span site = {NULL, 0};
    const struct proxy_header *header =
        proxy_headers_next(&request->headers, PROXY_HEADER_OTHER, FL_SPAN("origin"), NULL);
    if (header == NULL || !changes)
        return NULL;
    if (fl_span_starts_with(header->value, FL_SPAN("http://")))
        site = fl_span_from(header->value, sizeof("http://") - 1);
    return request->authority.len > 0 && fl_span_eq_nocase(site, request->authority) ? NULL : "foreign Origin";
}
