#include "proxy/admin/guard.h"

#include "proxy/net/address.h"

#include <arpa/inet.h>

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

static bool is_loopback(const struct proxy_address *address)
{
    if (address->any.sa_family == AF_INET)
        return ntohl(address->v4.sin_addr.s_addr) >> 24 == 127;
    return IN6_IS_ADDR_LOOPBACK(&address->v6.sin6_addr);
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
    return proxy_address_parse(host, 0, &address) == 0 && (address.any.sa_family == AF_INET6) == brackets &&
           is_loopback(&address);
}

static struct fl_span header(const struct proxy_message *request, const char *name)
{
    const struct proxy_header *found =
        proxy_headers_next(&request->headers, PROXY_HEADER_OTHER, fl_span_str(name), NULL);
    return found != NULL ? found->value : (struct fl_span){NULL, 0};
}

/* Browsers say where a request comes from; "none": somebody typed the address. */
static bool is_foreign_site(struct fl_span site)
{
    return site.len > 0 && !fl_span_eq_str(site, "none") && !fl_span_eq_str(site, "same-origin");
}

const char *proxy_guard_check(const struct proxy_message *request, const struct proxy_admin_secret *secret,
                              bool changes)
{
    if (!proxy_guard_host(request->authority))
        return "Host must be a loopback address or localhost";
    if (header(request, "origin").len > 0 || is_foreign_site(header(request, "sec-fetch-site")))
        return "requests of web pages are refused";
    if (!changes)
        return NULL;
    if (request->authority.len == 0)
        return "Host is missing";
    if (proxy_admin_secret_matches(secret, header(request, PROXY_ADMIN_SECRET_HEADER)))
        return NULL;
    return secret->text[0] != '\0'
               ? "this needs the header " PROXY_ADMIN_SECRET_HEADER
                 ", whose value is in the file " PROXY_ADMIN_SECRET_FILE " of the proxy's state folder (docs/admin.md)"
               : "this needs the secret of the proxy's state folder, and there is none: --state-dir";
}
