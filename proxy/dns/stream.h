/* The DNS port by TCP (RFC 7766): connections of the pod, each with several queries under way, answered as they come.
 *
 * Nobody holds a place by being slow: a query has to be whole 5 s after its first byte, an answer to be taken 5 s after
 * the last byte that was, and a connection without either ends after 10 s. Beyond 64 connections the one that has been
 * quiet for the longest goes. What waits to be taken is bounded, by connection and in all; who has sent more than is
 * under way is not read from meanwhile.
 */
#ifndef PROXY_DNS_STREAM_H
#define PROXY_DNS_STREAM_H

#include "common/base/err.h"
#include "proxy/dns/resolver.h"
#include "proxy/net/inherit.h"
#include "proxy/net/listener.h"

#define PROXY_DNS_STREAMS_MAX     64u
#define PROXY_DNS_STREAM_PENDING  8u      /* queries under way of one */
#define PROXY_DNS_STREAM_QUERY    4096u   /* bytes of a query */
#define PROXY_DNS_STREAM_OUT_MAX  196608u /* bytes that wait for the client: a half of it stops the reading */
#define PROXY_DNS_STREAM_HELD_MAX (2u << 20)
#define PROXY_DNS_STREAM_SLOW_MS  5000u
#define PROXY_DNS_STREAM_IDLE_MS  10000u

struct proxy_dns_stream;

struct proxy_dns_streams { /* embedded; zeroed: not open */
    struct proxy_dns_resolver *resolver;
    struct proxy_turn turn; /* its loop alone */
    struct proxy_listen listen;
    int fd;
    struct proxy_dns_stream *first;
    size_t count, held;
};

/* 0, or a negative errno with the address in err. */
int proxy_dns_streams_open(struct proxy_dns_streams *streams, struct proxy_dns_resolver *resolver,
                           const struct proxy_address *address, struct proxy_inherited *inherited,
                           struct fl_err *err) FL_MUST_CHECK;
/* Closes everything. The loop has to run what is deferred before it is freed. */
void proxy_dns_streams_close(struct proxy_dns_streams *streams);

#endif
