/* The authority of a target or of Host (declared in message.h). */
#include "proxy/http/message.h"
#include "proxy/http/octet.h"

static bool port_valid(struct fl_span port)
{
    uint64_t number;
    return port.len > 0 && port.len <= 5 && fl_span_to_u64(port, 65535, &number);
}

/* An IP literal in brackets: hex digits, ':' and '.' (zone ids and IPvFuture are refused). */
static bool bracketed_valid(struct fl_span host)
{
    for (size_t i = 0; i < host.len; i++) {
        if (!proxy_octet_is(host.data[i], PROXY_OCTET_HEX) && host.data[i] != ':' && host.data[i] != '.')
            return false;
    }
    return host.len >= 2;
}

static bool authority_valid(struct fl_span authority, bool port_needed)
{
    bool bracket = authority.len > 0 && authority.data[0] == '[';
    size_t host_end;
    if (bracket) {
        size_t close = fl_span_find(authority, ']');
        if (close == authority.len || !bracketed_valid(fl_span_make(authority.data + 1, close - 1)))
            return false;
        host_end = close + 1;
    } else {
        host_end = fl_span_find(authority, ':');
        if (!proxy_octets_are(fl_span_make(authority.data, host_end), PROXY_OCTET_HOST))
            return false;
    }
    struct fl_span rest = fl_span_from(authority, host_end);
    if (rest.len == 0)
        return !port_needed;
    /* A colon without digits is a port that is not there (RFC 3986 §3.2.3). */
    bool port = rest.data[0] == ':' && (port_valid(fl_span_from(rest, 1)) || (rest.len == 1 && !port_needed));
    return port && (host_end > 0 || !port_needed);
}

bool proxy_authority_valid(struct fl_span authority)
{
    return authority_valid(authority, false);
}

bool proxy_authority_has_port(struct fl_span authority)
{
    return authority_valid(authority, true);
}

size_t proxy_authority_host_len(struct fl_span authority)
{
    for (size_t at = authority.len; at-- > 0 && authority.data[at] != ']';) {
        if (authority.data[at] == ':')
            return at;
    }
    return authority.len;
}

struct fl_span proxy_authority_strip_port(struct fl_span authority, uint16_t port)
{
    size_t host = proxy_authority_host_len(authority);
    struct fl_span digits = fl_span_from(authority, host < authority.len ? host + 1 : host);
    uint64_t number;
    if (port != 0 && (!fl_span_to_u64(digits, 65535, &number) || number != port))
        return authority;
    return fl_span_make(authority.data, host);
}
