/* One HTTP/2 connection that carries gRPC, sans-I/O, either side: bytes in by fl_grpc_session_feed, bytes out by
 * fl_grpc_session_output; calls and streams are exchanges. Private to this folder (client.h and server.h are the
 * public face); tests and fuzzers feed it without a network.
 *
 * Callbacks come from feed, output and abort alone. They may send, finish, cancel and start exchanges, and abort the
 * session; they may not feed it, ask it for output or free it.
 *
 * Against floods: nghttp2's limits (resets, settings, continuations, acknowledgements that wait), and a bucket of
 * frames that carry nothing; who empties it is told ENHANCE_YOUR_CALM, and the session is over.
 */
#ifndef FL_GRPC_SESSION_H
#define FL_GRPC_SESSION_H

#include "common/base/err.h"
#include "common/grpc/metadata.h"
#include "common/grpc/status.h"

struct fl_grpc_session;
struct fl_grpc_exchange;

#define FL_GRPC_METADATA_MAX 16 /* entries that a call sends */

struct fl_grpc_session_options {
    bool server;
    size_t message_max;
    size_t queue_max;
    size_t header_bytes;
    uint32_t streams; /* of the peer's making */
    /* Bytes of requests and responses that are being received: of this session, and (NULL: none) of all that share the
     * counter. Beyond it the exchange that asks for more ends with RESOURCE_EXHAUSTED. */
    size_t inbound_max;
    size_t *inbound_shared;
    size_t inbound_shared_max;
};

struct fl_grpc_session_ops {
    uint64_t (*now_ms)(void *owner);
    void (*on_output)(void *owner); /* fl_grpc_session_output has something; also from the functions below */
    void (*on_ready)(void *owner);  /* the peer's SETTINGS came */
    /* Server: a request. Where it has no user when this returns, it ends with INTERNAL. */
    void (*on_request)(void *owner, struct fl_grpc_exchange *exchange);
};

/* `user` is what fl_grpc_exchange_set_user was given. */
struct fl_grpc_exchange_ops {
    void (*on_message)(void *user, struct fl_span message);
    void (*on_half_close)(void *user); /* server */
    void (*on_writable)(void *user);
    void (*on_end)(void *user, enum fl_grpc_status status, struct fl_span text); /* the exchange is gone after it */
};

/* Both ops must outlive the session. -ENOMEM. */
int fl_grpc_session_new(const struct fl_grpc_session_options *options, const struct fl_grpc_session_ops *ops,
                        void *owner, const struct fl_grpc_exchange_ops *exchange_ops,
                        struct fl_grpc_session **ret_session) FL_MUST_CHECK;
/* Without callbacks. NULL is allowed. */
struct fl_grpc_session *fl_grpc_session_free(struct fl_grpc_session *session);

/* 0; -EPROTO, -EDQUOT (a flood), -ENOMEM with the reason: the session is of no use any more. */
int fl_grpc_session_feed(struct fl_grpc_session *session, struct fl_span bytes, struct fl_err *err) FL_MUST_CHECK;
/* Some of what is to be sent, in order; empty: nothing now. Holds until the next call. Errors as feed. */
int fl_grpc_session_output(struct fl_grpc_session *session, struct fl_span *ret_bytes,
                           struct fl_err *err) FL_MUST_CHECK;
/* Whether nothing is to be sent or received any more (after GOAWAY, or an error that was told to the peer). */
bool fl_grpc_session_is_over(const struct fl_grpc_session *session);
/* Why it is over, in words, and as an errno: -EPROTO, -EDQUOT, -ECONNRESET (the peer went away). */
int fl_grpc_session_reason(const struct fl_grpc_session *session, struct fl_err *err);

int fl_grpc_session_ping(struct fl_grpc_session *session) FL_MUST_CHECK; /* 0 or -ENOMEM */
void fl_grpc_session_goaway(struct fl_grpc_session *session);
/* Every exchange ends: with on_end (`tell`), or in silence. Nothing can be started any more. */
void fl_grpc_session_abort(struct fl_grpc_session *session, enum fl_grpc_status status, struct fl_span text, bool tell);
/* Ends exchanges of which something waits and nothing could be sent since before_ms. */
void fl_grpc_session_drop_slow(struct fl_grpc_session *session, uint64_t before_ms);
/* The oldest such moment; UINT64_MAX where nothing waits. */
uint64_t fl_grpc_session_waits_since(const struct fl_grpc_session *session);
size_t fl_grpc_session_exchanges(const struct fl_grpc_session *session);

struct fl_grpc_request {
    struct fl_span path, authority;
    const char *scheme; /* "http", "https" */
    const struct fl_grpc_metadata *metadata;
    size_t metadata_count;
    uint32_t timeout_ms; /* told to the server; 0: none */
};

/* Client. 0, -EAGAIN (too many, or the peer goes away), -EINVAL, -ENOMEM. */
int fl_grpc_exchange_start(struct fl_grpc_session *session, const struct fl_grpc_request *request, void *user,
                           struct fl_grpc_exchange **ret_exchange) FL_MUST_CHECK;
void fl_grpc_exchange_set_user(struct fl_grpc_exchange *exchange, void *user);
/* 0, -EAGAIN (on_writable will come), -EMSGSIZE, -EPIPE, -ENOMEM. */
int fl_grpc_exchange_send(struct fl_grpc_exchange *exchange, struct fl_span message) FL_MUST_CHECK;
void fl_grpc_exchange_half_close(struct fl_grpc_exchange *exchange); /* client */
/* Server; `text` may be NULL. on_end comes once it was sent. */
void fl_grpc_exchange_finish(struct fl_grpc_exchange *exchange, enum fl_grpc_status status, const char *text);
void fl_grpc_exchange_cancel(struct fl_grpc_exchange *exchange); /* gone, without on_end */
size_t fl_grpc_exchange_queued(const struct fl_grpc_exchange *exchange);
/* Server: the first header of this name, ":path" and ":authority" too; data NULL: none. */
struct fl_span fl_grpc_exchange_header(const struct fl_grpc_exchange *exchange, const char *name);

#endif
