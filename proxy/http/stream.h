/* One request and its answer on a connection, whatever version of HTTP that speaks: the seam between codecs and who
 * uses them. A codec (h1_server.h, h1_client.h, h2.h) makes streams; an exchange (filter/exchange.h) joins one that a
 * client opened with one that it opened itself to an upstream, and knows no version.
 *
 *     client's side of a proxy:  server stream   on_head = request    send_head = answer
 *     upstream's side:           client stream   send_head = request  on_head   = 1xx …, answer
 *
 *     each direction:            head (1xx heads before it) ─► data … ─► end, with trailers or none
 *
 * After a head with `upgrade` (101, or 2xx to CONNECT, as the message model has it in every version) both directions
 * are opaque bytes: data and end, no trailers. A request that asks for it (its `upgrade`; so has every CONNECT) is told
 * and sent with `end` false; where its answer is no upgrade it has ended with its head, and nothing more of it comes.
 *
 * Sending. What is sent is always taken whole. Above the high watermark the stream is backlogged: its user pauses the
 * source until on_writable. Heads, data and ends that are sent before a client stream's connection is open wait for it.
 * Receiving. While paused no more is asked of the peer (HTTP/1: nothing is read; HTTP/2: no window is given), but what
 * is on its way already (at most a stream's window) may still be told and must be taken.
 * Ending. Either the user calls proxy_stream_close: no event comes any more; where one of the directions had not ended
 * the stream is reset, else its connection lives on as its version allows. Or on_reset is the last event. In both cases
 * the pointer is dead for the user. In every event but on_reset the user may close the stream: a codec looks again
 * after each. A stream never outlives its connection: when that ends, each of its streams hears on_reset.
 * A stream may break within a call that sends: on_reset is told there, or later.
 * Running out of memory resets the stream (PROXY_RESET_MEMORY), at the latest at the end of the turn.
 */
#ifndef PROXY_HTTP_STREAM_H
#define PROXY_HTTP_STREAM_H

#include "proxy/http/message.h"

/* X(id, text). By HTTP/2's error codes (RFC 9113 §7) where one says more than "reset". */
#define PROXY_RESETS(X)                                                                                                \
    X(CANCELLED, "cancelled")             /* nobody wants it any more (CANCEL, NO_ERROR) */                            \
    X(REFUSED, "refused before it began") /* nothing of it was processed: REFUSED_STREAM, GOAWAY; may be sent again */ \
    X(PROTOCOL, "protocol error")         /* the peer broke the protocol; proxy_stream_error says how */               \
    X(INTERNAL, "internal error")         /* INTERNAL_ERROR, ENHANCE_YOUR_CALM and other codes of the peer */          \
    X(HTTP11, "HTTP/1.1 is required")     /* HTTP_1_1_REQUIRED */                                                      \
    X(CONNECT, "connection failed")       /* it never was open: dial or handshake */                                   \
    X(EOF, "connection closed")           /* by the peer, in the middle */                                             \
    X(CONNECTION, "connection reset")     /* by the peer, or it broke */                                               \
    X(MEMORY, "out of memory")

enum proxy_reset {
#define X(id, text) PROXY_RESET_##id,
    PROXY_RESETS(X)
#undef X
};
const char *proxy_reset_text(enum proxy_reset reset); /* stream.c */

struct proxy_stream;
struct proxy_conn;

/* Of a stream's user; all must be given. */
struct proxy_stream_events {
    /* Client streams: the connection is open (at once where it was). Before any other event but on_reset. */
    void (*on_open)(void *user);
    /* The message is the codec's (a worker's scratch): valid within the call, the user may change it. `end`: neither
     * data nor on_end follow. */
    void (*on_head)(void *user, struct proxy_message *message, bool end);
    void (*on_data)(void *user, struct fl_span data); /* not empty */
    /* trailers NULL: none. Valid within the call. */
    void (*on_end)(void *user, struct proxy_headers *trailers);
    void (*on_writable)(void *user);
    void (*on_reset)(void *user, enum proxy_reset why);
};

struct proxy_stream_ops { /* of a codec; see the functions below */
    void (*send_head)(struct proxy_stream *stream, struct proxy_message *message, bool end);
    void (*send_data)(struct proxy_stream *stream, struct fl_span data);
    void (*send_end)(struct proxy_stream *stream, const struct proxy_headers *trailers);
    void (*close)(struct proxy_stream *stream, enum proxy_reset why);
    void (*pause)(struct proxy_stream *stream);
    void (*resume)(struct proxy_stream *stream);
    bool (*is_backlogged)(const struct proxy_stream *stream);
    size_t (*unsent)(const struct proxy_stream *stream);
    const char *(*error)(const struct proxy_stream *stream);
};

struct proxy_stream { /* first in a codec's own */
    const struct proxy_stream_ops *ops;
    const struct proxy_stream_events *events;
    void *user;
    uint64_t received, sent; /* bytes of this stream on the connection, heads and framing with them */
    bool last;               /* server streams: the user asks that the connection ends after this answer (Connection:
                                close; GOAWAY). Set before the final head. Client streams: the peer said so */
};

/* A request, a final answer, or (server streams) a 1xx. The message is written at once and may be changed by it (the
 * codec takes out what its version forbids). `end`: nothing follows. Codecs choose the framing: a message that had a
 * length keeps it, any other is chunked, DATA frames, or until close, by what the peer can read. */
static inline void proxy_stream_send_head(struct proxy_stream *stream, struct proxy_message *message, bool end)
{
    stream->ops->send_head(stream, message, end);
}
static inline void proxy_stream_send_data(struct proxy_stream *stream, struct fl_span data)
{
    stream->ops->send_data(stream, data);
}
/* trailers NULL: none. Where the version or the peer has none they are left out. */
static inline void proxy_stream_send_end(struct proxy_stream *stream, const struct proxy_headers *trailers)
{
    stream->ops->send_end(stream, trailers);
}
/* why: what the peer is told where something was still to come (HTTP/2: the code; HTTP/1: the connection is reset, or
 * closed where an answer is complete and only the request is not). NULL is allowed. */
static inline void proxy_stream_close(struct proxy_stream *stream, enum proxy_reset why)
{
    if (stream != NULL)
        stream->ops->close(stream, why);
}
static inline void proxy_stream_pause(struct proxy_stream *stream)
{
    stream->ops->pause(stream);
}
static inline void proxy_stream_resume(struct proxy_stream *stream)
{
    stream->ops->resume(stream);
}
static inline bool proxy_stream_is_backlogged(const struct proxy_stream *stream)
{
    return stream->ops->is_backlogged(stream);
}
/* Bytes of what was sent that have not gone to the socket yet, as far as the codec knows; of a client stream all of
 * them: nothing has left us. */
static inline size_t proxy_stream_unsent(const struct proxy_stream *stream)
{
    return stream->ops->unsent(stream);
}
/* In on_reset, more exactly: a codec's word for what the peer broke ("http1.chunk_size", "http2.flow_control"), a
 * transport's error; else proxy_reset_text. Lives as long as the connection. */
static inline const char *proxy_stream_error(const struct proxy_stream *stream)
{
    return stream->ops->error(stream);
}

#endif
