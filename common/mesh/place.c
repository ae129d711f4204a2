#include "common/mesh/place.h"

#include "common/mesh/dnsname.h"

#include <arpa/inet.h>
#include <string.h>

static bool is_address(struct fl_span text, int family)
{
    char copy[INET6_ADDRSTRLEN];
    struct in6_addr scratch;
    if (text.len == 0 || text.len >= sizeof(copy) || memchr(text.data, '\0', text.len) != NULL)
        return false;
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    return inet_pton(family, copy, &scratch) == 1;
}

static bool is_name(struct fl_span text)
{
    size_t at = text.len, digits = 0;
    for (; at > 0 && text.data[at - 1] != '.'; at--)
        digits += text.data[at - 1] >= '0' && text.data[at - 1] <= '9';
    return fl_dns_is_subdomain(text) && digits < text.len - at;
}

/* The last ':' parts host and port. */
static bool split(struct fl_span text, struct fl_span *ret_host, uint16_t *ret_port)
{
    size_t colon = text.len;
    uint64_t port;
    while (colon > 0 && text.data[colon - 1] != ':')
        colon--;
    if (colon < 2 || !fl_span_to_u64(fl_span_from(text, colon), 65535, &port) || port == 0)
        return false;
    *ret_host = fl_span_make(text.data, colon - 1);
    *ret_port = (uint16_t)port;
    return true;
}

bool fl_place_parse(struct fl_span text, struct fl_place *ret_place)
{
    struct fl_place place = {0};
    if (!split(text, &place.host, &place.port))
        return false;
    if (place.host.data[0] == '[') {
        if (place.host.len < 3 || place.host.data[place.host.len - 1] != ']')
            return false;
        place.host = fl_span_make(place.host.data + 1, place.host.len - 2);
        if (!is_address(place.host, AF_INET6))
            return false;
    } else if (!is_address(place.host, AF_INET)) {
        if (place.host.data[place.host.len - 1] == '.')
            place.host.len--;
        place.is_name = true;
        if (!is_name(place.host))
            return false;
    }
    *ret_place = place;
    return true;
}
