/* An IP address and port, as the kernel takes it. Plain value; IPv4-mapped IPv6 is always written as IPv4, so that
 * equal peers are equal values.
 */
#ifndef FL_GRPC_ADDRESS_H
#define FL_GRPC_ADDRESS_H

#include "common/base/cleanup.h"
#include "common/base/span.h"

#include <netinet/in.h>
#include <sys/socket.h>

#define FL_GRPC_ADDRESS_TEXT_MAX 64 /* "[ffff:…:255.255.255.255]:65535" and its NUL */

struct fl_grpc_address {
    union {
        struct sockaddr any; /* any.sa_family: AF_INET or AF_INET6 */
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    };
};

/* "10.0.0.1:15012", "[::1]:15012": an IP literal, IPv6 in brackets, and a port. 0 or -EINVAL. */
int fl_grpc_address_parse(struct fl_span text, struct fl_grpc_address *ret_address) FL_MUST_CHECK;
/* 0, or -EAFNOSUPPORT where it is neither IPv4 nor IPv6. */
int fl_grpc_address_from_sockaddr(const struct sockaddr_storage *raw,
                                  struct fl_grpc_address *ret_address) FL_MUST_CHECK;

socklen_t fl_grpc_address_size(const struct fl_grpc_address *address); /* for bind and connect */
uint16_t fl_grpc_address_port(const struct fl_grpc_address *address);
bool fl_grpc_address_is_loopback(const struct fl_grpc_address *address);
/* Whether both are one source for limits: the same IPv4 address, or the same IPv6 /64. Ports do not count. */
bool fl_grpc_address_same_source(const struct fl_grpc_address *a, const struct fl_grpc_address *b);
struct fl_span fl_grpc_address_source(const struct fl_grpc_address *address); /* the same as a key; borrowed */

/* "10.0.0.1:80", "[::1]:80". Writes a NUL; returns the length. */
size_t fl_grpc_address_print(const struct fl_grpc_address *address, char text[FL_GRPC_ADDRESS_TEXT_MAX]);

#endif
