/* The PROXY protocol, versions 1 and 2: a header before a connection's first byte that says who the client is and where
 * it was going (HAProxy, doc/proxy-protocol.txt). Pure: the caller shows all bytes received so far and takes away
 * ret_header->size of them; a writer's bytes fit PROXY_PROTO_WRITE_MAX.
 *
 * Reading is strict: one header in its one form, or PROXY_PROTO_BAD. PROXY_PROTO_MORE until the bytes decide, for at
 * most PROXY_PROTO_MAX bytes. TLVs are skipped, not read. What tells no addresses (LOCAL, UNKNOWN, UNSPEC, a Unix
 * socket) leaves both unset: the connection's own count then.
 */
#ifndef PROXY_NET_PROXYPROTO_H
#define PROXY_NET_PROXYPROTO_H

#include "proxy/net/address.h"

#define PROXY_PROTO_V1_MAX    107u                          /* bytes of version 1, with its CR LF */
#define PROXY_PROTO_V2_HEAD   16u                           /* bytes before version 2's addresses and TLVs */
#define PROXY_PROTO_BODY_MAX  8192u                         /* bytes of those that are taken */
#define PROXY_PROTO_MAX       (PROXY_PROTO_V2_HEAD + 8192u) /* bytes that are ever asked for */
#define PROXY_PROTO_WRITE_MAX 112u

enum proxy_proto_result {
    PROXY_PROTO_MORE = 1,
    PROXY_PROTO_DONE = 2,
    PROXY_PROTO_NONE = 3, /* the first bytes begin no such header */
    PROXY_PROTO_BAD = 4,  /* they begin one, and it is broken or too long */
};

struct proxy_proto {
    size_t size;                              /* bytes of the header, from the first on */
    unsigned version;                         /* 1 or 2 */
    struct proxy_address source, destination; /* both set or both not; of one family */
};

/* *ret_header is set for PROXY_PROTO_DONE alone. */
enum proxy_proto_result proxy_proto_parse(struct fl_span bytes, struct proxy_proto *ret_header) FL_MUST_CHECK;

/* A header of version 1 or 2. Where one of the addresses is not set, or their families differ, it says UNKNOWN or
 * LOCAL. Returns its length. */
size_t proxy_proto_write(unsigned version, const struct proxy_address *source, const struct proxy_address *destination,
                         char text[PROXY_PROTO_WRITE_MAX]);

#endif
