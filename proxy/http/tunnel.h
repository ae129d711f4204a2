/* A connection inside of a stream: what CONNECT opens (RFC 9113 §8.5), as HBONE uses it. Whoever owns the connection
 * (net/conn.h) does not see the stream; whoever has the stream's connection gives it here after the heads.
 *
 *     client:  proxy_tunnel_new ─► dialling ── 2xx ─► open          server:  proxy_tunnel_new ─► open
 *                                      └── another answer, a reset ─► closed (REFUSED)
 *
 * Both directions end one by one, as the stream's do. Backpressure: what the owner does not take holds the stream, what
 * the stream does not take waits in the connection. A reset of either is one of the other. Who the peer is, is what the
 * carrying connection's TLS has shown (proxy_tls_share).
 */
#ifndef PROXY_HTTP_TUNNEL_H
#define PROXY_HTTP_TUNNEL_H

#include "proxy/http/stream.h"
#include "proxy/net/conn.h"

struct proxy_tunnel;

struct proxy_tunnel_options {
    struct proxy_turn *turn;
    const struct proxy_address *peer; /* the connection's */
    uint64_t timeout_ms;              /* client: until it is open. 0: server */
    /* Client, at 2xx: the carrying connection, to look at. NULL allowed, as what it returns. */
    const struct proxy_conn *(*carrier)(void *owner);
    void (*close)(void *owner, enum proxy_reset why); /* client: the stream's end, instead of proxy_stream_close */
};

/* 0 or -ENOMEM. Until it has a stream nothing may be written, and closing the connection calls nobody. */
int proxy_tunnel_new(const struct proxy_tunnel_options *options, struct proxy_tunnel **ret_tunnel,
                     struct proxy_conn **ret_conn) FL_MUST_CHECK;
/* Client: its stream, whose events are proxy_tunnel_events with the tunnel as user. owner: of the options. */
void proxy_tunnel_begin(struct proxy_tunnel *tunnel, struct proxy_stream *stream, void *owner);
/* Server: who the peer is, by the connection that has the stream: 0 or -ENOMEM. Then the stream, whose events are the
 * tunnel's from now on. */
int proxy_tunnel_know(struct proxy_tunnel *tunnel, const struct proxy_conn *carrier) FL_MUST_CHECK;
void proxy_tunnel_take(struct proxy_tunnel *tunnel, struct proxy_stream *stream);
extern const struct proxy_stream_events proxy_tunnel_events;

/* The request's head, in the message (borrowed texts): CONNECT to `authority`. */
void proxy_tunnel_request(struct proxy_message *message, struct fl_span authority);

#endif
