/* Heads, data and ends out. What has window and room goes at once, from the caller's bytes; the rest waits in the
 * stream's queue, and the stream in the ring `ready` while it could send (its own window is open, or only its end is
 * missing). The ring moves when the connection is released or the peer gives window: a frame of each in turn.
 *
 * While the connection is held no stream ends: HEADERS and the end go apart then. So a peer that does not read keeps
 * its streams, and cannot have more answers waiting than it may have streams.
 */
#include "proxy/http/h2_inner.h"

#define COALESCED 2048u /* bytes of DATA that go in one write with their frame's head */

static struct h2_stream *of(struct proxy_stream *base)
{
    return (struct h2_stream *)(void *)base;
}

void proxy_h2_unready(struct h2_stream *stream)
{
    struct proxy_h2 *h2 = stream->h2;
    if (stream->behind == NULL)
        return;
    stream->before->behind = stream->behind;
    stream->behind->before = stream->before;
    if (h2->ready == stream)
        h2->ready = stream->behind != stream ? stream->behind : NULL;
    stream->before = stream->behind = NULL;
    h2->ready_count--;
}

/* Into the ring, at its end. */
void proxy_h2_ready(struct h2_stream *stream)
{
    struct proxy_h2 *h2 = stream->h2;
    bool could = stream->queue.bytes > 0 ? stream->send_window > 0 : stream->out == H2_WAY_CLOSING;
    if (stream->behind != NULL || !could || !stream->open)
        return;
    if (h2->ready == NULL) {
        h2->ready = stream->before = stream->behind = stream;
    } else {
        stream->behind = h2->ready;
        stream->before = h2->ready->before;
        stream->before->behind = stream;
        h2->ready->before = stream;
    }
    h2->ready_count++;
}

void proxy_h2_drop_output(struct h2_stream *stream)
{
    proxy_h2_unready(stream);
    stream->h2->queued -= stream->queue.bytes;
    proxy_queue_clear(&stream->queue, stream->h2->pool);
    free(fl_take(stream->trailers));
}

/* A block as HEADERS and, where the peer's frames are too small for it, CONTINUATION. `block` has the room of a frame's
 * head in front of it. */
static void write_block(struct h2_stream *stream, char *block, size_t len, unsigned flags)
{
    struct proxy_h2 *h2 = stream->h2;
    enum h2_type type = H2_HEADERS;
    do {
        size_t part = len < h2->peer_frame ? len : h2->peer_frame;
        len -= part;
        proxy_h2_put_head(block - H2_FRAME_HEAD, (uint32_t)part, type, flags | (len == 0 ? H2_END_HEADERS : 0),
                          stream->id);
        proxy_h2_send(h2, fl_span_make(block - H2_FRAME_HEAD, part + H2_FRAME_HEAD));
        stream->base.sent += part + H2_FRAME_HEAD;
        block += part; /* the next frame's head is written over bytes that are gone */
        type = H2_CONTINUATION;
        flags = 0;
    } while (len > 0);
    h2->work++;
}

/* False: memory is out, and the session has failed: the peer's table and ours may differ. */
static bool send_block(struct h2_stream *stream, const struct h2_outgoing *outgoing, bool end)
{
    struct proxy_h2 *h2 = stream->h2;
    char small[4096];
    size_t bound = proxy_hpack_bound(outgoing->fields, outgoing->count) + H2_FRAME_HEAD, len = 0;
    FL_CLEANUP(fl_cleanup_free) char *large = bound > sizeof(small) ? malloc(bound) : NULL;
    char *block = bound > sizeof(small) ? large : small;
    if (block == NULL || proxy_hpack_encode(&h2->hpack, outgoing->fields, outgoing->count, block + H2_FRAME_HEAD,
                                            bound - H2_FRAME_HEAD, &len) < 0) {
        proxy_h2_fail(h2, PROXY_H2_ERROR_MEMORY);
        return false;
    }
    write_block(stream, block + H2_FRAME_HEAD, len, end ? H2_END_STREAM : 0);
    return true;
}

static void out_ended(struct h2_stream *stream)
{
    stream->out = H2_WAY_ENDED;
    if (stream->abandoned)
        proxy_h2_stream_abort(stream, H2_NO_ERROR, PROXY_RESET_CANCELLED);
    else
        proxy_h2_stream_settle(stream);
}

static void write_data(struct h2_stream *stream, struct fl_span data, bool end)
{
    struct proxy_h2 *h2 = stream->h2;
    char frame[H2_FRAME_HEAD + COALESCED];
    char *at = proxy_h2_put_head(frame, (uint32_t)data.len, H2_DATA, end ? H2_END_STREAM : 0, stream->id);
    stream->send_window -= (int32_t)data.len;
    h2->send_window -= (int64_t)data.len;
    stream->base.sent += data.len + H2_FRAME_HEAD;
    h2->work++;
    if (data.len <= COALESCED) {
        if (data.len > 0)
            memcpy(at, data.data, data.len);
        proxy_h2_send(h2, fl_span_make(frame, H2_FRAME_HEAD + data.len));
        return;
    }
    proxy_h2_send(h2, fl_span_make(frame, H2_FRAME_HEAD));
    proxy_h2_send(h2, data);
}

/* How much of `len` bytes may go in a frame now; 0: none. */
static size_t allowance(const struct h2_stream *stream, size_t len)
{
    const struct proxy_h2 *h2 = stream->h2;
    if (h2->held || h2->send_window <= 0 || stream->send_window <= 0)
        return 0;
    size_t most = len < h2->peer_frame ? len : h2->peer_frame;
    most = most < PROXY_H2_FRAME_MAX ? most : PROXY_H2_FRAME_MAX;
    most = most < (size_t)stream->send_window ? most : (size_t)stream->send_window;
    return (int64_t)most < h2->send_window ? most : (size_t)h2->send_window;
}

static void end_now(struct h2_stream *stream)
{
    if (stream->trailers != NULL) {
        struct h2_outgoing outgoing;
        proxy_h2_text_restore(stream->trailers, &outgoing);
        bool sent = send_block(stream, &outgoing, true);
        proxy_h2_outgoing_done(&outgoing);
        if (!sent)
            return;
    } else {
        write_data(stream, (struct fl_span){NULL, 0}, true);
    }
    out_ended(stream);
}

/* The bytes of a known length end their message themselves. */
static bool is_last(const struct h2_stream *stream, size_t part)
{
    return stream->out_left != UINT64_MAX && stream->out_left == part;
}

static void count_out(struct h2_stream *stream, size_t part)
{
    if (stream->out_left != UINT64_MAX)
        stream->out_left -= part < stream->out_left ? part : stream->out_left;
}

/* ---- the ring ---- */

/* Whether the connection is held again or not: nobody would tell it later. */
static void tell_writable(struct h2_stream *stream)
{
    if (!stream->backlogged || stream->queue.bytes > stream->h2->high / 2)
        return;
    stream->backlogged = false;
    if (stream->base.events != NULL)
        stream->base.events->on_writable(stream->base.user);
}

/* A frame of this stream's queue, or its end. */
static void turn_of(struct h2_stream *stream)
{
    struct proxy_h2 *h2 = stream->h2;
    proxy_h2_unready(stream);
    struct fl_span front = proxy_queue_front(&stream->queue);
    size_t part = allowance(stream, front.len);
    if (stream->queue.bytes > 0 && part == 0)
        return;
    if (part == 0) {
        end_now(stream);
        return;
    }
    bool end = is_last(stream, part);
    stream->stuck = false;
    write_data(stream, fl_span_make(front.data, part), end);
    count_out(stream, part);
    proxy_queue_consume(&stream->queue, h2->pool, part);
    h2->queued -= part;
    if (end) {
        out_ended(stream);
        return;
    }
    proxy_h2_ready(stream);
    tell_writable(stream);
}

static bool can_move(const struct h2_stream *stream)
{
    return stream->queue.bytes == 0 || stream->h2->send_window > 0;
}

void proxy_h2_pump(struct proxy_h2 *h2)
{
    if (h2->pumping)
        return;
    h2->pumping = true;
    uint32_t stuck = 0; /* how many in a row want the connection's window */
    while (!h2->held && !h2->over && h2->ready != NULL && stuck < h2->ready_count) {
        struct h2_stream *stream = h2->ready;
        if (can_move(stream)) {
            stuck = 0;
            turn_of(stream);
        } else {
            stuck++;
            h2->ready = stream->behind;
        }
    }
    h2->pumping = false;
}

/* ---- calls of stream.h ---- */

/* A client's stream gets its number with its head: they go out in their order. */
static bool begin(struct h2_stream *stream, const struct proxy_message *request)
{
    struct proxy_h2 *h2 = stream->h2;
    stream->method_id = request->method_id;
    stream->tunnel = request->upgrade;
    h2->opening--;
    uint32_t id = h2->last_id == 0 ? 1 : h2->last_id + 2;
    proxy_h2_forget_resets(h2, h2->last_id, id);
    h2->last_id = id;
    proxy_h2_stream_insert(stream, id);
    if (!request->upgrade || request->method_id == PROXY_METHOD_CONNECT)
        return true;
    return proxy_h2_upgrade_sent(stream, request);
}

static bool is_interim(const struct h2_stream *stream, const struct proxy_message *message)
{
    return stream->h2->server && message->status < 200 && message->status != 101;
}

static bool is_good(const struct proxy_message *message)
{
    return message->status >= 200 && message->status < 300;
}

/* What follows the head: its length where an HTTP/1 peer has told it, for then there is nothing behind it. */
static void set_out(struct h2_stream *stream, const struct proxy_message *message)
{
    stream->out = H2_WAY_BODY;
    bool length = message->framing == PROXY_FRAMING_LENGTH && message->has_content_length && !message->upgrade;
    if (stream->h2->server) /* 2xx is the word for it, where CONNECT is */
        stream->tunnel = stream->tunnel && (message->upgrade || (stream->upgrade == NULL && is_good(message)));
    if (message->major == 1 && length && message->content_length > 0)
        stream->out_left = message->content_length;
}

static void finish(struct h2_stream *stream)
{
    if (stream->queue.bytes == 0 && !stream->h2->held) {
        end_now(stream);
        return;
    }
    stream->out = H2_WAY_CLOSING;
    proxy_h2_ready(stream);
}

/* To an extended CONNECT: an upstream whose WebSocket handshake is wrong by the key that we made, or one that goes on
 * with HTTP, which HTTP/2 cannot tell from a tunnel (but between sidecars: restore.h). 502, and its user is told. */
static bool refuse_upgrade(struct h2_stream *stream, struct proxy_message *message)
{
    if (stream->upgrade == NULL)
        return false;
    bool wrong = message->status == 101 ? !proxy_h2_upgrade_answers(stream->upgrade, message)
                                        : is_good(message) && !stream->h2->bare_authority;
    if (!wrong)
        return false;
    proxy_message_init(message);
    message->status = 502;
    return true;
}

static void send_head(struct h2_stream *stream, struct proxy_message *message, bool end)
{
    struct proxy_h2 *h2 = stream->h2;
    struct h2_outgoing outgoing;
    outgoing.arena.blocks = NULL;
    bool refused = h2->server && refuse_upgrade(stream, message), held = h2->held && !refused;
    bool interim = is_interim(stream, message);
    bool made = h2->server ? proxy_h2_outgoing_answer(&outgoing, stream, message)
                           : begin(stream, message) && proxy_h2_outgoing_request(&outgoing, h2, message);
    bool last = (end && !held) || refused;
    if (made && send_block(stream, &outgoing, last)) {
        if (!interim)
            set_out(stream, message);
        if (refused)
            proxy_h2_stream_abort(stream, H2_NO_ERROR, PROXY_RESET_INTERNAL);
        else if (last)
            out_ended(stream);
        else if (end)
            finish(stream);
    } else if (!h2->over && !h2->server) { /* the server does not know of it: a reset would end the session */
        proxy_h2_stream_kill(stream, PROXY_RESET_MEMORY, PROXY_H2_ERROR_NONE);
    } else if (!h2->over) {
        proxy_h2_stream_abort(stream, H2_INTERNAL_ERROR, PROXY_RESET_MEMORY);
    }
    proxy_h2_outgoing_done(&outgoing);
}

void proxy_h2_stream_send_head(struct proxy_stream *base, struct proxy_message *message, bool end)
{
    struct h2_stream *stream = of(base);
    struct proxy_h2 *h2 = stream->h2;
    if (stream->out != H2_WAY_HEAD || h2->over)
        return;
    proxy_h2_enter(h2);
    if (h2->server && base->last)
        proxy_h2_drain(h2, true);
    bool again = !h2->server && (h2->goaway || (message->upgrade && h2->got_settings && !h2->peer_connect &&
                                                message->method_id != PROXY_METHOD_CONNECT));
    if (again)
        proxy_h2_stream_kill(stream, h2->goaway ? PROXY_RESET_REFUSED : PROXY_RESET_HTTP11, PROXY_H2_ERROR_NONE);
    else
        send_head(stream, message, end);
    proxy_h2_leave(h2);
}

void proxy_h2_stream_send_data(struct proxy_stream *base, struct fl_span data)
{
    struct h2_stream *stream = of(base);
    struct proxy_h2 *h2 = stream->h2;
    if (stream->out != H2_WAY_BODY || h2->over)
        return;
    proxy_h2_enter(h2);
    size_t part = stream->queue.bytes == 0 ? allowance(stream, data.len) : 0;
    for (; part > 0 && stream->out == H2_WAY_BODY; part = allowance(stream, data.len)) {
        bool end = is_last(stream, part);
        write_data(stream, fl_span_make(data.data, part), end);
        count_out(stream, part);
        data = fl_span_from(data, part);
        if (end)
            out_ended(stream);
    }
    if (data.len > 0 && stream->out == H2_WAY_BODY) {
        if (proxy_queue_append(&stream->queue, h2->pool, data) < 0) {
            proxy_h2_stream_abort(stream, H2_INTERNAL_ERROR, PROXY_RESET_MEMORY);
        } else {
            h2->queued += data.len;
            proxy_h2_ready(stream);
            stream->backlogged = stream->backlogged || proxy_stream_is_backlogged(base);
        }
    }
    proxy_h2_leave(h2);
}

/* Trailers that cannot go now are kept. False: memory is out. */
static bool keep_trailers(struct h2_stream *stream, const struct h2_outgoing *outgoing)
{
    if (outgoing->count == 0)
        return true;
    stream->trailers = proxy_h2_text_new(outgoing);
    return stream->trailers != NULL;
}

static void end_with(struct h2_stream *stream, const struct proxy_headers *trailers)
{
    struct proxy_h2 *h2 = stream->h2;
    struct h2_outgoing outgoing;
    bool made = proxy_h2_outgoing_trailers(&outgoing, trailers), wait = stream->queue.bytes > 0 || h2->held;
    if (!made || (wait && !keep_trailers(stream, &outgoing))) {
        proxy_h2_stream_abort(stream, H2_INTERNAL_ERROR, PROXY_RESET_MEMORY);
    } else if (wait || outgoing.count == 0) {
        finish(stream);
    } else if (send_block(stream, &outgoing, true)) {
        out_ended(stream);
    }
    proxy_h2_outgoing_done(&outgoing);
}

void proxy_h2_stream_send_end(struct proxy_stream *base, const struct proxy_headers *trailers)
{
    struct h2_stream *stream = of(base);
    struct proxy_h2 *h2 = stream->h2;
    if (stream->out != H2_WAY_BODY || h2->over)
        return;
    proxy_h2_enter(h2);
    if (trailers != NULL && trailers->count > 0 && !stream->tunnel)
        end_with(stream, trailers);
    else
        finish(stream);
    proxy_h2_leave(h2);
}
