#include "common/grpc/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

/* Splits at the last ':'; an IPv6 literal stands in brackets. */
static bool split(struct fl_span text, struct fl_span *ret_ip, struct fl_span *ret_port, bool *ret_v6)
{
    size_t colon = text.len;
    while (colon > 0 && text.data[colon - 1] != ':')
        colon--;
    if (colon < 2)
        return false;
    *ret_port = fl_span_from(text, colon);
    *ret_ip = fl_span_make(text.data, colon - 1);
    *ret_v6 = ret_ip->len > 2 && ret_ip->data[0] == '[' && ret_ip->data[ret_ip->len - 1] == ']';
    if (*ret_v6)
        *ret_ip = fl_span_make(ret_ip->data + 1, ret_ip->len - 2);
    return true;
}

int fl_grpc_address_parse(struct fl_span text, struct fl_grpc_address *ret_address)
{
    struct fl_span ip, port_text;
    char literal[INET6_ADDRSTRLEN];
    uint64_t port;
    bool v6;
    if (!split(text, &ip, &port_text, &v6) || !fl_span_to_u64(port_text, UINT16_MAX, &port) ||
        ip.len >= sizeof(literal) || memchr(ip.data, '\0', ip.len) != NULL)
        return -EINVAL;
    memcpy(literal, ip.data, ip.len);
    literal[ip.len] = '\0';
    struct fl_grpc_address address = {.v6 = {.sin6_family = 0}};
    if (v6) {
        address.v6.sin6_family = AF_INET6;
        address.v6.sin6_port = htons((uint16_t)port);
    } else {
        address.v4.sin_family = AF_INET;
        address.v4.sin_port = htons((uint16_t)port);
    }
    void *raw = v6 ? (void *)&address.v6.sin6_addr : (void *)&address.v4.sin_addr;
    if (inet_pton(v6 ? AF_INET6 : AF_INET, literal, raw) != 1)
        return -EINVAL;
    *ret_address = address;
    return 0;
}

static struct fl_grpc_address of_v4(struct in_addr ip, in_port_t port)
{
    return (struct fl_grpc_address){.v4 = {.sin_family = AF_INET, .sin_port = port, .sin_addr = ip}};
}

int fl_grpc_address_from_sockaddr(const struct sockaddr_storage *raw, struct fl_grpc_address *ret_address)
{
    if (raw->ss_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, raw, sizeof(v4));
        *ret_address = of_v4(v4.sin_addr, v4.sin_port);
        return 0;
    }
    if (raw->ss_family != AF_INET6)
        return -EAFNOSUPPORT;
    struct sockaddr_in6 v6;
    memcpy(&v6, raw, sizeof(v6));
    if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) {
        struct in_addr ip;
        memcpy(&ip, v6.sin6_addr.s6_addr + 12, sizeof(ip));
        *ret_address = of_v4(ip, v6.sin6_port);
        return 0;
    }
    *ret_address =
        (struct fl_grpc_address){.v6 = {.sin6_family = AF_INET6, .sin6_port = v6.sin6_port, .sin6_addr = v6.sin6_addr}};
    return 0;
}

socklen_t fl_grpc_address_size(const struct fl_grpc_address *address)
{
    return address->any.sa_family == AF_INET6 ? sizeof(address->v6) : sizeof(address->v4);
}

uint16_t fl_grpc_address_port(const struct fl_grpc_address *address)
{
    return ntohs(address->any.sa_family == AF_INET6 ? address->v6.sin6_port : address->v4.sin_port);
}

bool fl_grpc_address_is_loopback(const struct fl_grpc_address *address)
{
    if (address->any.sa_family == AF_INET6)
        return IN6_IS_ADDR_LOOPBACK(&address->v6.sin6_addr) != 0;
    return ntohl(address->v4.sin_addr.s_addr) >> 24 == 127;
}

struct fl_span fl_grpc_address_source(const struct fl_grpc_address *address)
{
    return address->any.sa_family == AF_INET ? fl_span_make(&address->v4.sin_addr, sizeof(address->v4.sin_addr))
                                             : fl_span_make(&address->v6.sin6_addr, 8);
}

bool fl_grpc_address_same_source(const struct fl_grpc_address *a, const struct fl_grpc_address *b)
{
    return fl_span_eq(fl_grpc_address_source(a), fl_grpc_address_source(b)); /* 4 bytes, or 8 */
}

size_t fl_grpc_address_print(const struct fl_grpc_address *address, char text[FL_GRPC_ADDRESS_TEXT_MAX])
{
    char literal[INET6_ADDRSTRLEN];
    bool v6 = address->any.sa_family == AF_INET6;
    const void *raw = v6 ? (const void *)&address->v6.sin6_addr : (const void *)&address->v4.sin_addr;
    inet_ntop(v6 ? AF_INET6 : AF_INET, raw, literal, sizeof(literal));
    int length = snprintf(text, FL_GRPC_ADDRESS_TEXT_MAX, v6 ? "[%s]:%u" : "%s:%u", literal,
                          (unsigned)fl_grpc_address_port(address));
    return (size_t)length;
}
