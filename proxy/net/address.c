#include "proxy/net/address.h"

#include "common/mesh/port.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

int proxy_address_parse(struct fl_span text, uint16_t port, struct proxy_address *ret_address)
{
    char copy[INET6_ADDRSTRLEN];
    if (text.len == 0 || text.len >= sizeof(copy) || memchr(text.data, '\0', text.len) != NULL)
        return -EINVAL;
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    struct sockaddr_storage raw = {0};
    struct sockaddr_in *v4 = (struct sockaddr_in *)&raw;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&raw;
    if (inet_pton(AF_INET, copy, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
    } else if (inet_pton(AF_INET6, copy, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
    } else {
        return -EINVAL;
    }
    return proxy_address_from_sockaddr(&raw, ret_address);
}

int proxy_address_parse_pair(struct fl_span text, struct proxy_address *ret_address)
{
    size_t colon = text.len;
    uint64_t port;
    while (colon > 0 && text.data[colon - 1] != ':')
        colon--;
    struct fl_span host = fl_span_make(text.data, colon > 0 ? colon - 1 : 0);
    if (colon == 0 || !fl_span_to_u64(fl_span_from(text, colon), UINT16_MAX, &port) || port == 0)
        return -EINVAL;
    bool bracket = host.len >= 2 && host.data[0] == '[' && host.data[host.len - 1] == ']';
    if (bracket)
        host = fl_span_make(host.data + 1, host.len - 2);
    if (bracket != (fl_span_find(host, ':') < host.len))
        return -EINVAL;
    return proxy_address_parse(host, (uint16_t)port, ret_address);
}

int proxy_address_from_sockaddr(const struct sockaddr_storage *raw, struct proxy_address *ret_address)
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)raw;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)raw;
    struct proxy_address address;
    memset(&address, 0, sizeof(address));
    if (raw->ss_family == AF_INET) {
        address.v4.sin_family = AF_INET;
        address.v4.sin_port = v4->sin_port;
        address.v4.sin_addr = v4->sin_addr;
    } else if (raw->ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
        address.v4.sin_family = AF_INET;
        address.v4.sin_port = v6->sin6_port;
        memcpy(&address.v4.sin_addr, v6->sin6_addr.s6_addr + 12, 4);
    } else if (raw->ss_family == AF_INET6) {
        address.v6.sin6_family = AF_INET6;
        address.v6.sin6_port = v6->sin6_port;
        address.v6.sin6_addr = v6->sin6_addr;
    } else {
        return -EAFNOSUPPORT;
    }
    *ret_address = address;
    return 0;
}

socklen_t proxy_address_size(const struct proxy_address *address)
{
    return address->any.sa_family == AF_INET ? sizeof(address->v4) : sizeof(address->v6);
}

uint16_t proxy_address_port(const struct proxy_address *address)
{
    return ntohs(address->any.sa_family == AF_INET ? address->v4.sin_port : address->v6.sin6_port);
}

void proxy_address_set_port(struct proxy_address *address, uint16_t port)
{
    if (address->any.sa_family == AF_INET)
        address->v4.sin_port = htons(port);
    else
        address->v6.sin6_port = htons(port);
}

struct fl_span proxy_address_bytes(const struct proxy_address *address)
{
    if (address->any.sa_family == AF_INET)
        return fl_span_make(&address->v4.sin_addr, 4);
    return fl_span_make(&address->v6.sin6_addr, 16);
}

bool proxy_address_eq(const struct proxy_address *a, const struct proxy_address *b)
{
    if (a->any.sa_family != b->any.sa_family)
        return false;
    if (!proxy_address_is_set(a))
        return true;
    return proxy_address_port(a) == proxy_address_port(b) && fl_span_eq(proxy_address_bytes(a), proxy_address_bytes(b));
}

bool proxy_address_in(const struct proxy_address *address, const struct fl_cidr *cidr)
{
    if (!proxy_address_is_set(address) || cidr->family != address->any.sa_family)
        return false;
    const uint8_t *bytes = (const uint8_t *)proxy_address_bytes(address).data;
    size_t whole = cidr->prefix / 8;
    unsigned rest = cidr->prefix % 8;
    if (memcmp(bytes, cidr->address, whole) != 0)
        return false;
    return rest == 0 || ((bytes[whole] ^ cidr->address[whole]) & (0xff00u >> rest) & 0xff) == 0;
}

uint32_t proxy_address_hash(const struct proxy_address *address)
{
    struct fl_span bytes = proxy_address_bytes(address);
    uint32_t hash = 2166136261u ^ proxy_address_port(address);
    for (size_t i = 0; i < bytes.len; i++)
        hash = (hash ^ (unsigned char)bytes.data[i]) * 16777619u;
    return hash ^ hash >> 15;
}

bool proxy_address_is_probe(const struct proxy_address *address)
{
    struct proxy_address probe;
    const char *text = address->any.sa_family == AF_INET ? FL_PASSTHROUGH_IPV4 : FL_PASSTHROUGH_IPV6;
    return proxy_address_parse(fl_span_str(text), FL_PORT_PROBE, &probe) == 0 && proxy_address_eq(&probe, address);
}

size_t proxy_address_print(const struct proxy_address *address, char text[PROXY_ADDRESS_TEXT_MAX])
{
    char host[INET6_ADDRSTRLEN];
    if (!proxy_address_is_set(address) ||
        inet_ntop(address->any.sa_family, proxy_address_bytes(address).data, host, sizeof(host)) == NULL) {
        memcpy(text, "-", 2);
        return 1;
    }
    bool v4 = address->any.sa_family == AF_INET;
    return (size_t)snprintf(text, PROXY_ADDRESS_TEXT_MAX, "%s%s%s:%u", v4 ? "" : "[", host, v4 ? "" : "]",
                            (unsigned)proxy_address_port(address));
}
