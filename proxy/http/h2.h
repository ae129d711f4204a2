/* HTTP/2 (RFC 9113) on one connection, server or client, as a state machine without I/O: bytes in by proxy_h2_feed,
 * bytes out by the owner's `send`; its requests are streams of stream.h. Own framing, flow control and HPACK (hpack.h).
 * Extended CONNECT by RFC 8441; priorities (RFC 9218, and those of RFC 7540) are read past.
 *
 * Memory. An idle session holds its struct and two HPACK tables (at most PROXY_H2_TABLE bytes each, grown on demand);
 * an idle stream its struct. Frames are not buffered: DATA goes to the user as it comes, in parts; of other frames at
 * most PROXY_H2_FRAME_MAX bytes and of a header block head_max bytes are kept until they are whole. A stream that has
 * no window, or whose connection is held (proxy_h2_hold), queues what its user sends in chunks of the pool; above
 * `high` bytes it is backlogged.
 *
 * Fairness. When the connection can send again queued streams take turns, a frame of at most 16 KiB each.
 * Windows. A stream's window is given back as its data is told, unless its user has paused it; the connection's at
 * once, so that a paused stream holds up no other.
 *
 * Abuse (dataplane.md D5; each with a word, proxy_h2_error_word, and ENHANCE_YOUR_CALM): resets by the peer and by us
 * for its faults (rapid reset, MadeYouReset), CONTINUATION frames of a block, SETTINGS, PING, empty DATA, PRIORITY and
 * WINDOW_UPDATE without cause, control frames that wait because the peer does not read, header blocks beyond the limits
 * as they come in.
 *
 * What a message must be (RFC 9113 §8) is checked here: lower-case names, pseudo-headers first, once and known, no
 * connection fields, no CR, LF, NUL, content-length equal to what comes, te trailers alone; a malformed one is a stream
 * error. A request's authority and Host must agree where both are there. A head beyond head_max or headers_max is
 * answered with 431 (server) or resets its stream (client); beyond four times head_max it ends the session.
 *
 * In the message model a request of HTTP/2 looks like one of HTTP/1.1 in origin form (CONNECT: authority form): Host is
 * in the list (made of :authority, first), cookie crumbs are one field, target is :path, scheme :scheme, major 2. An
 * answer that ends with its head and says no length has framing LENGTH, content_length 0 and has_content_length false.
 * A request that ends with its head and says none has framing NONE; otherwise LENGTH, or CHUNKED where none is said.
 * Extended CONNECT is method GET with `upgrade` and an Upgrade field, its 200 is 101 (websocket.h has the key's part).
 *
 * What is sent loses Host (:authority is message->authority), connection fields and what Connection names; names become
 * lower-case; te is "trailers" or nothing. The bytes of an HTTP/1 message (major 1) with a length end with the frame
 * that has the last of them: its send_end then writes nothing.
 */
#ifndef PROXY_HTTP_H2_H
#define PROXY_HTTP_H2_H

#include "proxy/http/stream.h"
#include "proxy/net/pool.h"

#define PROXY_H2_TABLE       4096u    /* bytes of an HPACK table, each way */
#define PROXY_H2_FRAME_MAX   16384u   /* SETTINGS_MAX_FRAME_SIZE of ours: the least that there is */
#define PROXY_H2_STREAMS     100u     /* default of max_streams */
#define PROXY_H2_WINDOW      524288u  /* defaults, bytes: of a stream, … */
#define PROXY_H2_CONN_WINDOW 1048576u /* … and of the connection */

/* X(id, http2_code, word): why a session or a stream ended for the peer's fault; the word is the metric's label and the
 * log's details. */
#define PROXY_H2_ERROR_LIST(X)                                                                                         \
    X(NONE, 0x0, "")                                                                                                   \
    X(PREFACE, 0x1, "http2.preface")                                                                                   \
    X(FRAME_SIZE, 0x6, "http2.frame_size")                                                                             \
    X(FRAME, 0x1, "http2.frame")                                                                                       \
    X(STREAM_ID, 0x1, "http2.stream_id")                                                                               \
    X(STREAM_CLOSED, 0x5, "http2.stream_closed")                                                                       \
    X(SETTINGS, 0x1, "http2.settings")                                                                                 \
    X(FLOW_CONTROL, 0x3, "http2.flow_control")                                                                         \
    X(COMPRESSION, 0x9, "http2.compression")                                                                           \
    X(CONTINUATION, 0x1, "http2.continuation")                                                                         \
    X(MESSAGE, 0x1, "http2.message")                                                                                   \
    X(CONTENT_LENGTH, 0x1, "http2.content_length")                                                                     \
    X(HEAD_TOO_LARGE, 0xb, "http2.head_too_large")                                                                     \
    X(CONTINUATION_FLOOD, 0xb, "http2.continuation_flood")                                                             \
    X(RESET_FLOOD, 0xb, "http2.reset_flood")                                                                           \
    X(CONTROL_FLOOD, 0xb, "http2.control_flood")                                                                       \
    X(SETTINGS_FLOOD, 0xb, "http2.settings_flood")                                                                     \
    X(PING_FLOOD, 0xb, "http2.ping_flood")                                                                             \
    X(PRIORITY_FLOOD, 0xb, "http2.priority_flood")                                                                     \
    X(EMPTY_DATA_FLOOD, 0xb, "http2.empty_data_flood")                                                                 \
    X(WINDOW_FLOOD, 0xb, "http2.window_update_flood")                                                                  \
    X(SETTINGS_TIMEOUT, 0x4, "http2.settings_timeout")                                                                 \
    X(PING_TIMEOUT, 0x0, "http2.ping_timeout")                                                                         \
    X(TOO_MANY_STREAMS, 0x7, "http2.too_many_streams")                                                                 \
    X(INTERIM_FLOOD, 0xb, "http2.interim_flood")                                                                       \
    X(UNREAD, 0x8, "http2.unread")                                                                                     \
    X(PEER, 0x0, "http2.goaway")                                                                                       \
    X(MEMORY, 0x2, "http2.memory")

enum proxy_h2_error {
#define X(id, code, word) PROXY_H2_ERROR_##id,
    PROXY_H2_ERROR_LIST(X)
#undef X
        PROXY_H2_ERRORS
};
const char *proxy_h2_error_word(enum proxy_h2_error error);

struct proxy_h2_settings { /* of the configuration; 0: the default */
    uint32_t max_streams;  /* server: that the client may have open; client: that we open, at most what the peer says */
    uint32_t stream_window, connection_window; /* bytes, 65,535 to 2^31 - 1 */
    uint32_t head_max;                         /* bytes of a decoded header list (RFC 9113 §6.5.2), default 60 KiB */
    uint32_t headers_max;                      /* fields, default 100 */
    uint32_t ping_interval_ms,
        ping_timeout_ms;              /* of a quiet connection with streams; 0: no PINGs. Default timeout 20 s */
    uint32_t reset_burst, reset_rate; /* streams that the client may reset (or have reset by its faults) at once, and a
                                         second after that: 1000 and 33. More for a sidecar whose clients share it */
    uint32_t flush_ms;                /* that the peer takes nothing of what a stream's user has left behind: it is
                                         reset after that, or twice that. Default 5 min */
    bool no_connect;                  /* server: extended CONNECT is not offered */
    bool bare_authority;              /* server, of requests that will be restored: one may have neither :authority nor
                                         Host (HTTP/1.0), a WebSocket without a key gets none, and a 2xx that is no
                                         tunnel goes out as it is */
};

struct proxy_h2;

struct proxy_h2_owner { /* of the connection; all must be given */
    void (*send)(void *owner,
                 struct fl_span bytes); /* takes all; may call proxy_h2_hold, nothing else of the session */
    /* Server: a request has begun. Gives its user, whose on_head comes next; false: it is refused (REFUSED_STREAM). */
    bool (*on_stream)(void *owner, struct proxy_stream *stream);
    /* A stream has gone, or the peer's limit has changed: proxy_h2_can_open may say something else now. */
    void (*on_room)(void *owner);
    /* The peer will open (server) or take (client) no more streams; those that go on, go on. */
    void (*on_goaway)(void *owner);
    /* The session is over, and every stream has heard of it: GOAWAY is sent where one is due; close the connection
     * (flush). The session is freed by its owner, not within a call of it. */
    void (*on_over)(void *owner, enum proxy_h2_error error);
    /* May be NULL. A stream was refused or reset for the peer's fault: to be counted by its word. A user that the
     * stream had hears on_reset beside it. */
    void (*on_fault)(void *owner, enum proxy_h2_error error);
};

struct proxy_h2_options {
    bool server;
    bool tls; /* client: :scheme is https for requests that say none */
    struct proxy_h2_settings settings;
    uint32_t high;                 /* bytes that a stream queues before it is backlogged; 0: PROXY_CONN_HIGH's 64 KiB */
    struct proxy_pool *pool;       /* of the worker */
    struct proxy_message *message; /* scratch for heads that come in */
    struct proxy_headers *trailers; /* … and trailers */
    const struct proxy_h2_owner *ops;
    void *owner;
};

/* Sends its preface and SETTINGS at once. 0 or -ENOMEM. */
int proxy_h2_new(const struct proxy_h2_options *options, uint64_t now_ms, struct proxy_h2 **ret_h2) FL_MUST_CHECK;
/* Its streams must have heard on_reset (proxy_h2_end) or be closed. NULL is allowed; returns NULL. */
struct proxy_h2 *proxy_h2_free(struct proxy_h2 *h2);

/* Received bytes; takes all of them. Afterwards the session may be over (on_over). */
void proxy_h2_feed(struct proxy_h2 *h2, struct fl_span bytes, uint64_t now_ms);
/* The connection has ended: every stream hears `why`. Nothing is sent any more. on_over is not called. */
void proxy_h2_end(struct proxy_h2 *h2, enum proxy_reset why, const char *error);
/* The connection is backlogged: streams queue. And it can be written to again. */
void proxy_h2_hold(struct proxy_h2 *h2);
void proxy_h2_release(struct proxy_h2 *h2);

/* Client: a new stream, if proxy_h2_can_open. Its head goes out with send_head. 0, -ENOMEM, -EAGAIN (no room now).
 * on_open is the caller's to tell: the session never does. */
int proxy_h2_open(struct proxy_h2 *h2, const struct proxy_stream_events *events, void *user,
                  struct proxy_stream **ret_stream) FL_MUST_CHECK;
bool proxy_h2_can_open(const struct proxy_h2 *h2);
/* Server, to drain: first GOAWAY with the highest id (the client may be sending still), then, by the second call, with
 * the last one taken; streams beyond it are refused. Client: no more are opened. */
void proxy_h2_drain(struct proxy_h2 *h2, bool final);
size_t proxy_h2_streams(const struct proxy_h2 *h2); /* open ones */
/* To be called at the time that the next one tells (UINT64_MAX: never), or later: settings and ping timeouts, PINGs,
 * streams whose rest nobody takes. */
void proxy_h2_tick(struct proxy_h2 *h2, uint64_t now_ms);
uint64_t proxy_h2_next_tick_ms(const struct proxy_h2 *h2);
/* Bytes that its streams queue, all together. */
size_t proxy_h2_queued(const struct proxy_h2 *h2);

#endif
