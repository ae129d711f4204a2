/* An IP address and port, as the kernel takes it. Plain value; IPv4-mapped IPv6 is always written as IPv4
 * (proxy_address_from_sockaddr), so that equal peers are equal values on a dual-stack socket.
 */
#ifndef PROXY_NET_ADDRESS_H
#define PROXY_NET_ADDRESS_H

#include "common/base/cleanup.h"
#include "common/base/span.h"
#include "common/mesh/capture.h"

#include <netinet/in.h>
#include <sys/socket.h>

#define PROXY_ADDRESS_TEXT_MAX 64 /* "[ffff:…:255.255.255.255]:65535" and its NUL */

struct proxy_address {
    union {
        struct sockaddr any; /* any.sa_family: AF_INET, AF_INET6, or 0 for none */
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    };
};

/* An IPv4 or IPv6 literal (no brackets, no zone). 0 or -EINVAL. */
int proxy_address_parse(struct fl_span text, uint16_t port, struct proxy_address *ret_address) FL_MUST_CHECK;
/* 0, or -EAFNOSUPPORT where it is neither IPv4 nor IPv6. IPv4-mapped becomes IPv4; flow and scope are dropped. */
int proxy_address_from_sockaddr(const struct sockaddr_storage *raw, struct proxy_address *ret_address) FL_MUST_CHECK;

static inline bool proxy_address_is_set(const struct proxy_address *address)
{
    return address->any.sa_family != 0;
}
socklen_t proxy_address_size(const struct proxy_address *address); /* for bind and connect */
uint16_t proxy_address_port(const struct proxy_address *address);
void proxy_address_set_port(struct proxy_address *address, uint16_t port);
/* 4 or 16 bytes, network order. */
struct fl_span proxy_address_bytes(const struct proxy_address *address);
bool proxy_address_eq(const struct proxy_address *a, const struct proxy_address *b);
/* Whether the address lies in the block; false where the families differ, or it is not set. */
bool proxy_address_in(const struct proxy_address *address, const struct fl_cidr *cidr);
uint32_t proxy_address_hash(const struct proxy_address *address);
/* The start gate's destination: FL_PASSTHROUGH_IPV4 or _IPV6, port FL_PORT_PROBE. */
bool proxy_address_is_probe(const struct proxy_address *address);

/* What proxy_address_print writes of a set one; a port of 0 is none. 0 or -EINVAL. */
int proxy_address_parse_pair(struct fl_span text, struct proxy_address *ret_address) FL_MUST_CHECK;

/* "10.0.0.1:80", "[::1]:80", "-" where none is set. Writes a NUL; returns the length. */
size_t proxy_address_print(const struct proxy_address *address, char text[PROXY_ADDRESS_TEXT_MAX]);

#endif
