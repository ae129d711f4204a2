/* A gRPC client: one HTTP/2 connection at a time to the first of a list of addresses that answers, and calls on it.
 * Control traffic (xDS, certificates), single-threaded on a loop.
 *
 * There is no reconnect policy inside: the owner hears that the connection is lost and why, and calls
 * fl_grpc_client_connect again when it wants (common/base/backoff.h). A TLS context can be replaced at any time; it
 * counts from the next connection on.
 *
 *   IDLE ──connect──► CONNECTING ──► CONNECTED ──► IDLE (on_lost)
 *                         └── every address failed ──► IDLE (on_lost)
 *
 * Callbacks come from the loop, never from inside fl_grpc_client_connect, _start or _send. A callback may do anything:
 * start, send, cancel, close, free the client. Bytes go out at the end of the loop's turn.
 *
 * Limits: addresses FL_GRPC_ADDRESSES_MAX; a message message_max; bytes that wait in a call queue_max (but one message
 * is always taken by an empty queue); calls at a time FL_GRPC_CALLS_MAX, or fewer where the server says so; response
 * headers FL_GRPC_HEADER_BYTES_MAX.
 */
#ifndef FL_GRPC_CLIENT_H
#define FL_GRPC_CLIENT_H

#include "common/base/err.h"
#include "common/grpc/address.h"
#include "common/grpc/metadata.h"
#include "common/grpc/status.h"
#include "common/loop/loop.h"

struct fl_tls_context;
struct fl_grpc_client;
struct fl_grpc_call;

#define FL_GRPC_ADDRESSES_MAX    16
#define FL_GRPC_CALLS_MAX        100
#define FL_GRPC_HEADER_BYTES_MAX 16384

enum fl_grpc_client_state { FL_GRPC_CLIENT_IDLE, FL_GRPC_CLIENT_CONNECTING, FL_GRPC_CLIENT_CONNECTED };

struct fl_grpc_client_options {
    const struct fl_grpc_address *addresses; /* tried in turn, copied */
    size_t address_count;                    /* 0: they are set before the first connect */
    struct fl_tls_context *tls; /* counted; a client's context with ALPN "h2". NULL: plaintext with prior knowledge */
    struct fl_span authority;   /* ":authority", copied; not empty */
    /* From where to dial addresses of its family, copied; NULL: the kernel chooses. Where it is not on this host the
     * kernel chooses, too. */
    const struct fl_grpc_address *source;
    uint32_t connect_timeout_ms; /* for each address, up to the server's SETTINGS; 0: 5,000 */
    size_t message_max;          /* of one message, both ways; 0: 4 MiB */
    size_t queue_max;            /* 0: 1 MiB */
    /* A PING after so long a silence (0: none), and the connection is lost where nothing comes within the timeout
     * (0: 20,000). Servers end connections that ping more often than they like: ours
     * takes one every 10,000, Istio's every 15,000, grpc-go's default every 300,000. */
    uint32_t keepalive_ms;
    uint32_t keepalive_timeout_ms;
};

/* NULL members are allowed. */
struct fl_grpc_client_ops {
    /* The server's SETTINGS came: now calls can be started. */
    void (*on_connected)(void *owner);
    /* After a connect that failed at every address, or a connection that ended; every call has had its on_end. With a
     * list, `reason` tells of the last address. The state is IDLE. */
    void (*on_lost)(void *owner, const struct fl_err *reason);
};

/* `ops` must outlive the client. -EINVAL with the reason, -ENOMEM. */
int fl_grpc_client_new(struct fl_loop *loop, const struct fl_grpc_client_options *options,
                       const struct fl_grpc_client_ops *ops, void *owner, struct fl_grpc_client **ret_client,
                       struct fl_err *err) FL_MUST_CHECK;
/* Closes; no callback comes any more, neither on_lost nor a call's on_end: the calls are gone. NULL is allowed. */
struct fl_grpc_client *fl_grpc_client_free(struct fl_grpc_client *client);

/* 0, -EALREADY where it is not idle, -EDESTADDRREQ without an address, -ENOMEM. What the network says comes by on_lost.
 */
int fl_grpc_client_connect(struct fl_grpc_client *client) FL_MUST_CHECK;
/* Ends the connection, if any: each call gets on_end with UNAVAILABLE before this returns; on_lost does not come. */
void fl_grpc_client_close(struct fl_grpc_client *client);
void fl_grpc_client_set_tls(struct fl_grpc_client *client, struct fl_tls_context *tls); /* for the next connection */
/* The same for the addresses: copied. 0, -EINVAL (none, too many). */
int fl_grpc_client_set_addresses(struct fl_grpc_client *client, const struct fl_grpc_address *addresses,
                                 size_t count) FL_MUST_CHECK;
enum fl_grpc_client_state fl_grpc_client_state(const struct fl_grpc_client *client);
/* Of the connection that is, or is being tried; NULL while idle. */
const struct fl_grpc_address *fl_grpc_client_peer(const struct fl_grpc_client *client);

/* A call lives from its start to the return of on_end, or to fl_grpc_call_cancel. NULL members are allowed. */
struct fl_grpc_call_ops {
    void (*on_message)(void *owner, struct fl_span message); /* holds during the callback */
    /* Once, the last thing that comes. `text` is the server's, or ours where it said nothing; valid in the callback. */
    void (*on_end)(void *owner, enum fl_grpc_status status, struct fl_span text);
    void (*on_writable)(void *owner); /* after a send that was told -EAGAIN: half of the queue is free again */
};

struct fl_grpc_call_options {
    struct fl_span path; /* "/package.Service/Method"; copied */
    const struct fl_grpc_metadata *metadata;
    size_t metadata_count; /* ≤ 16 */
    uint32_t timeout_ms;   /* then on_end comes with DEADLINE_EXCEEDED; told to the server; 0: none */
};

/* `ops` must outlive the call. 0, -ENOTCONN where the client is not CONNECTED, -EAGAIN where too many calls run (or the
 * server goes away), -EINVAL (path, metadata), -ENOMEM. */
int fl_grpc_call_start(struct fl_grpc_client *client, const struct fl_grpc_call_options *options,
                       const struct fl_grpc_call_ops *ops, void *owner, struct fl_grpc_call **ret_call) FL_MUST_CHECK;
/* Copied. 0, -EAGAIN (the queue is full: on_writable will come), -EMSGSIZE (longer than message_max), -EPIPE (after
 * finish), -ENOMEM. */
int fl_grpc_call_send(struct fl_grpc_call *call, struct fl_span message) FL_MUST_CHECK;
void fl_grpc_call_finish(struct fl_grpc_call *call); /* no more messages from us (half close); idempotent */
void fl_grpc_call_cancel(struct fl_grpc_call *call); /* gone at once; no callback comes any more. NULL is allowed */
size_t fl_grpc_call_queued(const struct fl_grpc_call *call); /* bytes that wait for the network */

/* One message there, one back. on_reply comes once: with status OK and the message, or with another status and an empty
 * one (a server that says OK without exactly one message: INTERNAL). Cancel it by fl_grpc_call_cancel. Errors as
 * fl_grpc_call_start and fl_grpc_call_send. */
typedef void fl_grpc_reply_fn(void *owner, enum fl_grpc_status status, struct fl_span text, struct fl_span message);
int fl_grpc_call_unary(struct fl_grpc_client *client, const struct fl_grpc_call_options *options,
                       struct fl_span message, fl_grpc_reply_fn *on_reply, void *owner,
                       struct fl_grpc_call **ret_call) FL_MUST_CHECK;

#endif
