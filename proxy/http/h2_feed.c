/* Bytes to frames. A frame that lies whole in what came is handled where it lies; of one that does not the payload is
 * gathered (at most PROXY_H2_FRAME_MAX bytes), but for DATA, which is told in parts. */
#include "proxy/http/h2_inner.h"

#include <errno.h>

/* ---- frame heads ---- */

/* X(type, on a stream, least length, greatest; step) by RFC 9113 §6. */
static const struct rule {
    bool on_stream, on_connection;
    uint8_t least, step;
    uint16_t most;
} rules[H2_TYPES] = {
    [H2_DATA] = {true, false, 0, 1, PROXY_H2_FRAME_MAX},
    [H2_HEADERS] = {true, false, 0, 1, PROXY_H2_FRAME_MAX},
    [H2_PRIORITY] = {true, false, 0, 1, PROXY_H2_FRAME_MAX}, /* 5, else an error of its stream */
    [H2_RST_STREAM] = {true, false, 4, 1, 4},
    [H2_SETTINGS] = {false, true, 0, 6, PROXY_H2_FRAME_MAX},
    [H2_PUSH_PROMISE] = {false, false, 0, 1, PROXY_H2_FRAME_MAX}, /* to nobody: ours never pushes, and takes none */
    [H2_PING] = {false, true, 8, 1, 8},
    [H2_GOAWAY] = {false, true, 8, 1, PROXY_H2_FRAME_MAX},
    [H2_WINDOW_UPDATE] = {true, true, 4, 1, 4},
    [H2_CONTINUATION] = {true, false, 0, 1, PROXY_H2_FRAME_MAX},
};

/* A header block is one thing, whatever frames it comes in (RFC 9113 §4.3). */
static bool breaks_block(const struct proxy_h2 *h2, const struct h2_frame *frame)
{
    if (h2->block_stream == 0)
        return frame->type == H2_CONTINUATION;
    return frame->type != H2_CONTINUATION || frame->stream != h2->block_stream;
}

static enum proxy_h2_error check(const struct proxy_h2 *h2, const struct h2_frame *frame)
{
    bool settings = frame->type == H2_SETTINGS && (frame->flags & H2_ACK) == 0;
    if (!h2->got_settings && !settings)
        return PROXY_H2_ERROR_PREFACE;
    if (frame->len > PROXY_H2_FRAME_MAX)
        return PROXY_H2_ERROR_FRAME_SIZE;
    if (breaks_block(h2, frame))
        return PROXY_H2_ERROR_CONTINUATION;
    if (frame->type >= H2_TYPES)
        return PROXY_H2_ERROR_NONE;
    const struct rule *rule = &rules[frame->type];
    if (!rule->on_stream && !rule->on_connection)
        return PROXY_H2_ERROR_FRAME;
    if (frame->stream == 0 ? !rule->on_connection : !rule->on_stream)
        return PROXY_H2_ERROR_STREAM_ID;
    if (frame->len < rule->least || frame->len > rule->most || frame->len % rule->step != 0)
        return PROXY_H2_ERROR_FRAME_SIZE;
    if (frame->type == H2_SETTINGS && !settings && frame->len > 0)
        return PROXY_H2_ERROR_FRAME_SIZE;
    return PROXY_H2_ERROR_NONE;
}

static void payload_is_whole(struct proxy_h2 *h2, struct fl_span payload)
{
    struct h2_frame frame = h2->frame;
    h2->reading = H2_READING_HEAD;
    if (frame.type == H2_HEADERS)
        proxy_h2_on_headers(h2, &frame, payload);
    else if (frame.type == H2_CONTINUATION)
        proxy_h2_on_continuation(h2, &frame, payload);
    else
        proxy_h2_on_control(h2, &frame, payload);
}

static void data_is_known(struct proxy_h2 *h2)
{
    h2->reading = h2->left > h2->pad ? H2_READING_DATA : H2_READING_SKIP;
    proxy_h2_on_data_begin(h2);
}

/* What is skipped has come to its end: DATA's padding, or nothing of interest. */
static void frame_is_over(struct proxy_h2 *h2)
{
    h2->reading = H2_READING_HEAD;
    if (h2->frame.type == H2_DATA)
        proxy_h2_on_data_end(h2);
}

static void begin_data(struct proxy_h2 *h2)
{
    h2->pad = 0;
    proxy_h2_on_data_head(h2, &h2->frame);
    if (h2->over)
        return;
    if ((h2->frame.flags & H2_PADDED) == 0)
        data_is_known(h2);
    else if (h2->left > 0)
        h2->reading = H2_READING_PAD;
    else
        proxy_h2_fail(h2, PROXY_H2_ERROR_FRAME_SIZE);
}

static void begin_frame(struct proxy_h2 *h2, const char *head)
{
    h2->frame = proxy_h2_get_head(head);
    h2->left = h2->frame.len;
    enum proxy_h2_error error = check(h2, &h2->frame);
    if (error != PROXY_H2_ERROR_NONE) {
        proxy_h2_fail(h2, error);
        return;
    }
    if (h2->frame.type == H2_DATA) {
        begin_data(h2);
    } else if (h2->frame.type >= H2_TYPES) {
        h2->reading = H2_READING_SKIP;
        (void)!proxy_h2_spend(h2, H2_KIND_PRIORITY);
    } else if (h2->left > 0) {
        h2->reading = H2_READING_PAYLOAD;
        return;
    } else {
        payload_is_whole(h2, FL_SPAN(""));
        return;
    }
    if (!h2->over && h2->reading == H2_READING_SKIP && h2->left == 0)
        frame_is_over(h2);
}

/* ---- bytes ---- */

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t read_preface(struct proxy_h2 *h2, struct fl_span bytes)
{
    struct fl_span preface = H2_PREFACE;
    size_t part = least(bytes.len, preface.len - h2->have);
    if (memcmp(bytes.data, preface.data + h2->have, part) != 0) {
        proxy_h2_fail(h2, PROXY_H2_ERROR_PREFACE);
        return part;
    }
    h2->have = (uint8_t)(h2->have + part);
    if (h2->have == preface.len) {
        h2->have = 0;
        h2->reading = H2_READING_HEAD;
    }
    return part;
}

static size_t read_head(struct proxy_h2 *h2, struct fl_span bytes)
{
    if (h2->have == 0 && bytes.len >= H2_FRAME_HEAD) {
        begin_frame(h2, bytes.data);
        return H2_FRAME_HEAD;
    }
    size_t part = least(bytes.len, H2_FRAME_HEAD - h2->have);
    memcpy(h2->head + h2->have, bytes.data, part);
    h2->have = (uint8_t)(h2->have + part);
    if (h2->have == H2_FRAME_HEAD) {
        h2->have = 0;
        begin_frame(h2, h2->head);
    }
    return part;
}

static size_t read_payload(struct proxy_h2 *h2, struct fl_span bytes)
{
    size_t part = least(bytes.len, h2->left);
    bool whole = part == h2->left;
    if (whole && h2->gathered.len == 0) {
        payload_is_whole(h2, fl_span_make(bytes.data, part));
        return part;
    }
    if (fl_buf_append(&h2->gathered, fl_span_make(bytes.data, part)) < 0) {
        proxy_h2_fail(h2, PROXY_H2_ERROR_MEMORY);
        return part;
    }
    h2->left -= (uint32_t)part;
    if (whole) {
        struct fl_buf payload = h2->gathered;
        fl_buf_init(&h2->gathered, payload.max);
        payload_is_whole(h2, fl_buf_span(&payload));
        fl_buf_done(&payload);
    }
    return part;
}

static size_t read_pad(struct proxy_h2 *h2, struct fl_span bytes)
{
    h2->pad = (unsigned char)bytes.data[0];
    h2->left--;
    if (h2->pad > h2->left) {
        proxy_h2_fail(h2, PROXY_H2_ERROR_FRAME);
        return 1;
    }
    data_is_known(h2);
    if (!h2->over && h2->left == 0)
        frame_is_over(h2);
    return 1;
}

static size_t read_data(struct proxy_h2 *h2, struct fl_span bytes)
{
    size_t part = least(bytes.len, h2->left - h2->pad);
    h2->left -= (uint32_t)part;
    if (h2->left == h2->pad)
        h2->reading = H2_READING_SKIP;
    proxy_h2_on_data_part(h2, fl_span_make(bytes.data, part));
    if (!h2->over && h2->left == 0)
        frame_is_over(h2);
    return part;
}

static size_t read_past(struct proxy_h2 *h2, struct fl_span bytes)
{
    size_t part = least(bytes.len, h2->left);
    h2->left -= (uint32_t)part;
    if (h2->left == 0)
        frame_is_over(h2);
    return part;
}

static size_t step(struct proxy_h2 *h2, struct fl_span bytes)
{
    switch ((enum h2_reading)h2->reading) {
    case H2_READING_PREFACE:
        return read_preface(h2, bytes);
    case H2_READING_HEAD:
        return read_head(h2, bytes);
    case H2_READING_PAYLOAD:
        return read_payload(h2, bytes);
    case H2_READING_PAD:
        return read_pad(h2, bytes);
    case H2_READING_DATA:
        return read_data(h2, bytes);
    case H2_READING_SKIP:
    default:
        return read_past(h2, bytes);
    }
}

void proxy_h2_feed(struct proxy_h2 *h2, struct fl_span bytes, uint64_t now_ms)
{
    proxy_h2_enter(h2);
    h2->now_ms = h2->heard_ms = now_ms;
    while (bytes.len > 0 && !h2->over && !proxy_h2_is_done(h2)) /* what comes behind the end is nobody's */
        bytes = fl_span_from(bytes, step(h2, bytes));
    proxy_h2_leave(h2);
}
