/* A gRPC server over HTTP/2: listeners (plaintext with prior knowledge, or TLS), a table of methods, streams. Control
 * traffic, single-threaded on a loop.
 *
 * Life of a stream: the method's `open` accepts it (fl_grpc_stream_accept) or refuses it (fl_grpc_stream_finish). From
 * accept on, on_closed comes exactly once, last, whatever ended it: after fl_grpc_stream_finish was sent, when the
 * client went away, when a limit was hit, when the server is freed. The stream is valid until on_closed returns.
 * Callbacks may do anything but free the server from inside `open`; they come from the loop, never from inside _send or
 * _finish. Bytes go out at the end of the loop's turn.
 *
 * Strangers: a connection costs nothing dear before its handshake is done; beyond `connections` the oldest connection
 * without a stream makes room, and none is taken where all have one; one source (an IPv4 address, an IPv6 /64) has
 * at most `connections_per_source`. A stream whose request does not come in time ends. Floods (resets, pings,
 * settings, empty frames, continuations) end the connection.
 */
#ifndef FL_GRPC_SERVER_H
#define FL_GRPC_SERVER_H

#include "common/base/err.h"
#include "common/grpc/address.h"
#include "common/grpc/metadata.h"
#include "common/grpc/status.h"
#include "common/loop/loop.h"

struct fl_tls_context;
struct fl_grpc_server;
struct fl_grpc_stream;

#define FL_GRPC_LISTENERS_MAX 8

/* NULL members are allowed. */
struct fl_grpc_stream_ops {
    void (*on_message)(void *owner, struct fl_span message); /* holds during the callback */
    void (*on_half_close)(void *owner);                      /* no more messages from the client */
    void (*on_writable)(void *owner); /* after a send that was told -EAGAIN: half of the queue is free again */
    void (*on_closed)(void *owner);
};

struct fl_grpc_method {
    const char *path; /* "/package.Service/Method" */
    /* The stream's metadata, peer and identity can be asked. Calls fl_grpc_stream_accept or fl_grpc_stream_finish
     * (where it does neither: INTERNAL). */
    void (*open)(void *context, struct fl_grpc_stream *stream);
    void *context;
    /* One message in: on_message comes once, after the half-close, and on_half_close never; a client that sends none or
     * two is refused. Answer with fl_grpc_stream_reply, at once or later. */
    bool unary;
};

/* Why a connection was not taken, or was ended by us. X(id, word). */
#define FL_GRPC_REFUSALS(X)                                                                                            \
    X(NONE, "none")           /* the client closed it, or it was drained; never reported */                            \
    X(FULL, "full")           /* every connection is in use */                                                         \
    X(SOURCE, "source")       /* its source has connections_per_source */                                              \
    X(DISPLACED, "displaced") /* it had no stream, and another needed its place */                                     \
    X(HANDSHAKE, "handshake") /* TLS failed, or the client's preface did not come in time */                           \
    X(PROTOCOL, "protocol")   /* no HTTP/2, or against its rules */                                                    \
    X(FLOOD, "flood")                                                                                                  \
    X(IDLE, "idle")                                                                                                    \
    X(DEAD, "dead")   /* no answer to a PING */                                                                        \
    X(SLOW, "slow")   /* it does not read what we send */                                                              \
    X(LOCAL, "local") /* memory, descriptors */

enum fl_grpc_refusal {
#define X(id, word) FL_GRPC_REFUSAL_##id,
    FL_GRPC_REFUSALS(X)
#undef X
};

const char *fl_grpc_refusal_word(enum fl_grpc_refusal refusal);

struct fl_grpc_server_options {
    const struct fl_grpc_method *methods; /* must outlive the server */
    size_t method_count;
    struct fl_tls_context *tls; /* counted; for TLS listeners, with ALPN "h2"; NULL: connections to them are refused */
    /* For counters and logs; NULL allowed. `text` is one line. */
    void (*on_refused)(void *owner, enum fl_grpc_refusal refusal, const struct fl_grpc_address *peer, const char *text);
    /* After fl_grpc_server_drain: the last connection is gone. NULL allowed. May free the server. */
    void (*on_drained)(void *owner);
    void *owner;
    /* Limits; 0 takes the default. */
    uint32_t connections;            /* 4,096 */
    uint32_t connections_per_source; /* none of its own */
    uint32_t streams;                /* of a connection: 100 */
    uint32_t message_max;          /* of one message, both ways: 4 MiB. A connection's messages in the making: twice */
    uint32_t inbound_max;          /* messages in the making and headers of all connections: 256 MiB */
    uint32_t queue_max;            /* bytes that wait in a stream: 4 MiB; one message is always taken when empty */
    uint32_t header_bytes;         /* of a request: 16 KiB */
    uint32_t handshake_timeout_ms; /* from accept to the client's SETTINGS: 10,000 */
    uint32_t request_timeout_ms;   /* from a stream's headers to its first message (unary: its end): 10,000 */
    uint32_t idle_timeout_ms;      /* a connection without streams: 300,000 */
    uint32_t keepalive_ms;         /* a PING after so long a silence: 30,000 */
    uint32_t keepalive_timeout_ms; /* 20,000 */
    uint32_t slow_timeout_ms;      /* something waits for the client and nothing of it could be sent: 60,000 */
};

/* -EINVAL with the reason, -ENOMEM. */
int fl_grpc_server_new(struct fl_loop *loop, const struct fl_grpc_server_options *options,
                       struct fl_grpc_server **ret_server, struct fl_err *err) FL_MUST_CHECK;
/* Ends everything at once; every accepted stream gets on_closed before this returns. NULL is allowed. */
struct fl_grpc_server *fl_grpc_server_free(struct fl_grpc_server *server);

/* `secure`: TLS, by the context in force when a connection comes. "[::]" takes IPv4 too. Port 0: one that is free;
 * *ret_address (NULL allowed) tells it. 0 or a negative errno with the address in err. */
int fl_grpc_server_listen(struct fl_grpc_server *server, const struct fl_grpc_address *address, bool secure,
                          struct fl_grpc_address *ret_address, struct fl_err *err) FL_MUST_CHECK;
void fl_grpc_server_set_tls(struct fl_grpc_server *server, struct fl_tls_context *tls); /* for new connections */
/* Stops listening; every connection is told GOAWAY, new streams are refused, those that run go on until they end (the
 * owner finishes what would run for ever); then on_drained. Idempotent. */
void fl_grpc_server_drain(struct fl_grpc_server *server);
size_t fl_grpc_server_connections(const struct fl_grpc_server *server);

/* In `open`, once. `ops` must outlive the stream. */
void fl_grpc_stream_accept(struct fl_grpc_stream *stream, const struct fl_grpc_stream_ops *ops, void *owner);
/* Copied. 0, -EAGAIN (the queue is full: on_writable will come), -EMSGSIZE, -EPIPE (after finish, or the client is
 * gone), -ENOMEM. */
int fl_grpc_stream_send(struct fl_grpc_stream *stream, struct fl_span message) FL_MUST_CHECK;
/* The status goes out behind what is queued; `text` is cut at FL_GRPC_TEXT_MAX. No message comes in any more.
 * Idempotent: the first counts. */
void fl_grpc_stream_finish(struct fl_grpc_stream *stream, enum fl_grpc_status status, const char *text);
/* Send, and finish with OK (where sending fails: with RESOURCE_EXHAUSTED). */
void fl_grpc_stream_reply(struct fl_grpc_stream *stream, struct fl_span message);
size_t fl_grpc_stream_queued(const struct fl_grpc_stream *stream); /* bytes that wait for the network */

/* The first value under this name (lower case: "authorization"); data NULL: none. All live as long as the stream. */
struct fl_span fl_grpc_stream_metadata(const struct fl_grpc_stream *stream, const char *name);
/* The SPIFFE ID of the client's certificate, verified; empty: none shown, none that is an X.509-SVID, or plaintext. */
struct fl_span fl_grpc_stream_identity(const struct fl_grpc_stream *stream);
/* From when to when that certificate is good, in seconds since the epoch. False: none shown. */
bool fl_grpc_stream_validity(const struct fl_grpc_stream *stream, int64_t *ret_not_before, int64_t *ret_not_after);
const struct fl_grpc_address *fl_grpc_stream_peer(const struct fl_grpc_stream *stream);
bool fl_grpc_stream_is_plaintext(const struct fl_grpc_stream *stream);

#endif
