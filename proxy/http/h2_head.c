/* HEADERS and CONTINUATION: a block is decoded whole, whatever becomes of its stream, for the table is the
 * connection's. Then it is a request (server), an answer (client) or trailers.
 */
#include "proxy/http/h2_inner.h"

#include <errno.h>

struct block {
    struct fl_span bytes;
    uint32_t stream;
    bool end, dependent; /* END_STREAM; it depends on itself */
};

/* False: the session has failed. incoming NULL: only the table learns of it. */
static bool decode(struct proxy_h2 *h2, struct fl_span bytes, struct h2_incoming *incoming)
{
    struct proxy_hpack_field field;
    size_t total = 0;
    int result;
    while ((result = proxy_hpack_decode(&h2->hpack, &bytes, &field)) == PROXY_HPACK_FIELD) {
        total += field.name.len + field.value.len + 32;
        if (total > 4 * (size_t)h2->head_max) {
            proxy_h2_fail(h2, PROXY_H2_ERROR_HEAD_TOO_LARGE);
            return false;
        }
        if (incoming != NULL)
            proxy_h2_incoming_add(incoming, h2, &field);
    }
    if (result < 0)
        proxy_h2_fail(h2, result == -ENOMEM ? PROXY_H2_ERROR_MEMORY : PROXY_H2_ERROR_COMPRESSION);
    return result == PROXY_HPACK_END;
}

/* 431, from here: a head that is too large is no message to tell. */
static void refuse_large(struct proxy_h2 *h2, const struct block *block)
{
    static const struct proxy_hpack_field fields[] = {{{":status", 7}, {"431", 3}, false, NULL},
                                                      {{"content-length", 14}, {"0", 1}, false, NULL}};
    char frame[H2_FRAME_HEAD + 64];
    size_t len;
    if (!proxy_h2_spend(h2, H2_KIND_RESET))
        return;
    if (h2->ops->on_fault != NULL)
        h2->ops->on_fault(h2->owner, PROXY_H2_ERROR_HEAD_TOO_LARGE);
    if (proxy_hpack_encode(&h2->hpack, fields, FL_COUNT(fields), frame + H2_FRAME_HEAD, sizeof(frame) - H2_FRAME_HEAD,
                           &len) < 0) {
        proxy_h2_fail(h2, PROXY_H2_ERROR_MEMORY);
        return;
    }
    proxy_h2_put_head(frame, (uint32_t)len, H2_HEADERS, H2_END_STREAM | H2_END_HEADERS, block->stream);
    proxy_h2_send(h2, fl_span_make(frame, H2_FRAME_HEAD + len));
    if (!block->end)
        proxy_h2_send_rst(h2, block->stream, H2_NO_ERROR);
}

static struct h2_stream *accept_request(struct proxy_h2 *h2, const struct block *block, struct proxy_message *message)
{
    struct h2_stream *stream = proxy_h2_stream_new(h2);
    if (stream == NULL)
        return NULL;
    proxy_h2_stream_insert(stream, block->stream);
    stream->in = block->end ? H2_WAY_ENDED : H2_WAY_BODY;
    stream->method_id = message->method_id;
    stream->tunnel = message->upgrade;
    stream->base.received = block->bytes.len + H2_FRAME_HEAD;
    if (message->has_content_length && !message->upgrade)
        stream->in_left = message->content_length;
    bool extended = message->upgrade && message->method_id != PROXY_METHOD_CONNECT;
    if (extended && !proxy_h2_upgrade_came(stream, message)) {
        proxy_h2_stream_kill(stream, PROXY_RESET_MEMORY, PROXY_H2_ERROR_NONE);
        return NULL;
    }
    return stream;
}

static void tell_request(struct proxy_h2 *h2, const struct block *block, struct proxy_message *message)
{
    struct h2_stream *stream = accept_request(h2, block, message);
    if (stream == NULL) {
        proxy_h2_send_rst(h2, block->stream, H2_INTERNAL_ERROR);
        return;
    }
    h2->work++;
    if (!h2->ops->on_stream(h2->owner, &stream->base)) {
        stream->base.events = NULL;
        proxy_h2_stream_abort(stream, H2_REFUSED_STREAM, PROXY_RESET_REFUSED);
        return;
    }
    if (stream->base.events != NULL)
        stream->base.events->on_head(stream->base.user, message, block->end);
}

static void judge_request(struct proxy_h2 *h2, const struct block *block, struct h2_incoming *incoming)
{
    bool late = h2->drained && block->stream > h2->goaway_id;
    if (late)
        proxy_h2_send_rst(h2, block->stream, H2_REFUSED_STREAM);
    else if (h2->open >= h2->max_streams)
        proxy_h2_stream_fault(h2, block->stream, PROXY_H2_ERROR_TOO_MANY_STREAMS);
    else if (block->dependent)
        proxy_h2_stream_fault(h2, block->stream, PROXY_H2_ERROR_FRAME);
    else if (incoming->malformed)
        proxy_h2_stream_fault(h2, block->stream, PROXY_H2_ERROR_MESSAGE);
    else if (incoming->large)
        refuse_large(h2, block);
    else if (incoming->memory || !proxy_h2_incoming_request(incoming, h2, h2->message, block->end)) {
        if (incoming->memory)
            proxy_h2_send_rst(h2, block->stream, H2_INTERNAL_ERROR);
        else
            proxy_h2_stream_fault(h2, block->stream, PROXY_H2_ERROR_MESSAGE);
    } else {
        tell_request(h2, block, h2->message);
    }
}

static void on_request(struct proxy_h2 *h2, const struct block *block)
{
    struct h2_arena arena;
    struct h2_incoming incoming;
    struct proxy_headers *headers = &h2->message->headers;
    proxy_message_init(h2->message);
    headers->list[headers->count++] = /* a place for Host, in front */
        (struct proxy_header){.name = FL_SPAN("host"), .id = PROXY_HEADER_HOST, .removed = true};
    proxy_h2_arena_init(&arena);
    proxy_h2_incoming_init(&incoming, headers, &arena);
    if (decode(h2, block->bytes, &incoming)) {
        proxy_h2_forget_resets(h2, h2->last_id, block->stream);
        h2->last_id = block->stream;
        judge_request(h2, block, &incoming);
    }
    proxy_h2_arena_done(&arena);
}

/* What an answer's body may be: none, so many bytes, or any number. */
static void set_in(struct h2_stream *stream, const struct proxy_message *message, bool end)
{
    stream->in = end ? H2_WAY_ENDED : H2_WAY_BODY;
    stream->tunnel = message->upgrade;
    if (message->upgrade)
        return;
    if (message->framing == PROXY_FRAMING_NONE)
        stream->in_left = 0;
    else if (message->has_content_length)
        stream->in_left = message->content_length;
}

static void tell_answer(struct proxy_h2 *h2, struct h2_stream *stream, const struct block *block,
                        struct h2_incoming *incoming)
{
    struct proxy_message *message = h2->message;
    if (!proxy_h2_incoming_answer(incoming, stream, message, block->end)) {
        if (incoming->memory)
            proxy_h2_stream_abort(stream, H2_INTERNAL_ERROR, PROXY_RESET_MEMORY);
        else
            proxy_h2_stream_fault(h2, block->stream, PROXY_H2_ERROR_MESSAGE);
        return;
    }
    bool interim = message->status < 200 && message->status != 101;
    if (interim && ++stream->interim > H2_INTERIM_MAX) {
        proxy_h2_stream_fault(h2, block->stream, PROXY_H2_ERROR_INTERIM_FLOOD);
        return;
    }
    h2->work++;
    stream->base.last = h2->goaway;
    if (!interim)
        set_in(stream, message, block->end);
    if (stream->base.events != NULL)
        stream->base.events->on_head(stream->base.user, message, block->end);
    proxy_h2_stream_settle(stream);
}

static void tell_trailers(struct proxy_h2 *h2, struct h2_stream *stream, const struct block *block,
                          const struct h2_incoming *incoming)
{
    bool short_of = stream->in_left != UINT64_MAX && stream->in_left != 0;
    if (!block->end || !proxy_h2_incoming_trailers(incoming)) {
        proxy_h2_stream_fault(h2, block->stream, PROXY_H2_ERROR_MESSAGE);
    } else if (short_of) {
        proxy_h2_stream_fault(h2, block->stream, PROXY_H2_ERROR_CONTENT_LENGTH);
    } else {
        h2->work++;
        stream->in = H2_WAY_ENDED;
        struct proxy_headers *trailers = stream->tunnel || incoming->headers->count == 0 ? NULL : incoming->headers;
        if (stream->base.events != NULL)
            stream->base.events->on_end(stream->base.user, trailers);
        proxy_h2_stream_settle(stream);
    }
}

static void judge_more(struct proxy_h2 *h2, struct h2_stream *stream, const struct block *block,
                       struct h2_incoming *incoming)
{
    if (stream->in == H2_WAY_ENDED)
        proxy_h2_stream_fault(h2, block->stream, PROXY_H2_ERROR_STREAM_CLOSED);
    else if (block->dependent)
        proxy_h2_stream_fault(h2, block->stream, PROXY_H2_ERROR_FRAME);
    else if (incoming->malformed)
        proxy_h2_stream_fault(h2, block->stream, PROXY_H2_ERROR_MESSAGE);
    else if (incoming->large)
        proxy_h2_stream_fault(h2, block->stream, PROXY_H2_ERROR_HEAD_TOO_LARGE);
    else if (incoming->memory)
        proxy_h2_stream_abort(stream, H2_INTERNAL_ERROR, PROXY_RESET_MEMORY);
    else if (stream->in == H2_WAY_HEAD)
        tell_answer(h2, stream, block, incoming);
    else
        tell_trailers(h2, stream, block, incoming);
}

/* An answer, or trailers of either. */
static void on_more(struct proxy_h2 *h2, struct h2_stream *stream, const struct block *block)
{
    struct h2_arena arena;
    struct h2_incoming incoming;
    bool head = stream->in == H2_WAY_HEAD;
    if (head)
        proxy_message_init(h2->message);
    else
        proxy_headers_init(h2->trailers);
    stream->base.received += block->bytes.len + H2_FRAME_HEAD;
    proxy_h2_arena_init(&arena);
    proxy_h2_incoming_init(&incoming, head ? &h2->message->headers : h2->trailers, &arena);
    if (decode(h2, block->bytes, &incoming))
        judge_more(h2, stream, block, &incoming);
    proxy_h2_arena_done(&arena);
}

static void on_block(struct proxy_h2 *h2, const struct block *block)
{
    struct h2_stream *stream = proxy_h2_stream_find(h2, block->stream);
    bool idle = proxy_h2_stream_is_idle(h2, block->stream);
    if (stream != NULL)
        on_more(h2, stream, block);
    else if (idle && h2->server && (block->stream & 1) == 1)
        on_request(h2, block);
    else if (idle)
        proxy_h2_fail(h2, PROXY_H2_ERROR_STREAM_ID);
    else if (proxy_h2_was_reset(h2, block->stream))
        (void)decode(h2, block->bytes, NULL);
    else
        proxy_h2_fail(h2, PROXY_H2_ERROR_STREAM_CLOSED);
}

static void gather(struct proxy_h2 *h2, struct fl_span fragment)
{
    int result = fl_buf_append(&h2->block, fragment);
    if (result < 0)
        proxy_h2_fail(h2, result == -ENOMEM ? PROXY_H2_ERROR_MEMORY : PROXY_H2_ERROR_CONTINUATION_FLOOD);
}

/* Padding and priority taken off (RFC 9113 §6.2). */
static bool unwrap(struct proxy_h2 *h2, const struct h2_frame *frame, struct fl_span *payload, bool *ret_dependent)
{
    size_t pad = 0, front = 0;
    if ((frame->flags & H2_PADDED) != 0) {
        pad = payload->len > 0 ? (unsigned char)payload->data[0] : 0;
        front = 1;
    }
    bool priority = (frame->flags & H2_PRIORITY_FIELD) != 0;
    size_t more = priority ? 5 : 0;
    if (front + more > payload->len) {
        proxy_h2_fail(h2, PROXY_H2_ERROR_FRAME_SIZE);
        return false;
    }
    if (front + more + pad > payload->len) {
        proxy_h2_fail(h2, PROXY_H2_ERROR_FRAME);
        return false;
    }
    *ret_dependent = priority && (proxy_h2_get_u32(payload->data + front) & 0x7fffffffu) == frame->stream;
    *payload = fl_span_make(payload->data + front + more, payload->len - front - more - pad);
    return true;
}

void proxy_h2_on_headers(struct proxy_h2 *h2, const struct h2_frame *frame, struct fl_span payload)
{
    struct block block = {.stream = frame->stream, .end = (frame->flags & H2_END_STREAM) != 0};
    if (!unwrap(h2, frame, &payload, &block.dependent))
        return;
    block.bytes = payload;
    if ((frame->flags & H2_END_HEADERS) != 0) {
        on_block(h2, &block);
        return;
    }
    h2->block_stream = frame->stream;
    h2->block_flags = frame->flags;
    h2->block_dependent = block.dependent;
    h2->continuations = 0;
    gather(h2, payload);
}

void proxy_h2_on_continuation(struct proxy_h2 *h2, const struct h2_frame *frame, struct fl_span payload)
{
    if (++h2->continuations > H2_CONTINUATION_MAX) {
        proxy_h2_fail(h2, PROXY_H2_ERROR_CONTINUATION_FLOOD);
        return;
    }
    gather(h2, payload);
    if (h2->over || (frame->flags & H2_END_HEADERS) == 0)
        return;
    struct fl_buf whole = h2->block;
    fl_buf_init(&h2->block, whole.max);
    struct block block = {.stream = h2->block_stream,
                          .bytes = fl_buf_span(&whole),
                          .end = (h2->block_flags & H2_END_STREAM) != 0,
                          .dependent = h2->block_dependent};
    h2->block_stream = 0;
    on_block(h2, &block);
    fl_buf_done(&whole);
}
