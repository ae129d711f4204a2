/* The frames that carry no message, as they come in: RFC 9113 §6.3 to §6.9. Their lengths and streams are right already
 * (h2_feed.c), save PRIORITY's. */
#include "proxy/http/h2_inner.h"

/* ---- SETTINGS ---- */

struct change { /* of one frame: the last value of each counts */
    int64_t window;
    bool failed;
};

static void setting(struct proxy_h2 *h2, unsigned id, uint32_t value, struct change *change)
{
    enum proxy_h2_error error = PROXY_H2_ERROR_NONE;
    switch (id) {
    case H2_HEADER_TABLE_SIZE:
        error = proxy_hpack_limit(&h2->hpack, value) < 0 ? PROXY_H2_ERROR_MEMORY : PROXY_H2_ERROR_NONE;
        break;
    case H2_ENABLE_PUSH:
        error = value > (h2->server ? 1u : 0u) ? PROXY_H2_ERROR_SETTINGS : PROXY_H2_ERROR_NONE;
        break;
    case H2_MAX_CONCURRENT_STREAMS:
        h2->peer_streams = value;
        h2->room = true;
        break;
    case H2_INITIAL_WINDOW_SIZE:
        error = value > H2_WINDOW_MAX ? PROXY_H2_ERROR_FLOW_CONTROL : PROXY_H2_ERROR_NONE;
        change->window = value;
        break;
    case H2_MAX_FRAME_SIZE:
        error = value < 16384 || value > 16777215 ? PROXY_H2_ERROR_SETTINGS : PROXY_H2_ERROR_NONE;
        h2->peer_frame = value;
        break;
    case H2_ENABLE_CONNECT_PROTOCOL:
        error = value > 1 || (value == 0 && h2->peer_connect) ? PROXY_H2_ERROR_SETTINGS : PROXY_H2_ERROR_NONE;
        h2->peer_connect = value == 1;
        break;
    default: /* MAX_HEADER_LIST_SIZE is advice; what is unknown is ignored */
        break;
    }
    change->failed = error != PROXY_H2_ERROR_NONE;
    if (change->failed)
        proxy_h2_fail(h2, error);
}

/* RFC 9113 §6.9.2: windows move by the difference, below zero too. */
static void move_windows(struct proxy_h2 *h2, int64_t window)
{
    int64_t difference = window - h2->peer_window;
    h2->peer_window = (int32_t)window;
    for (struct h2_stream *stream = h2->all; stream != NULL; stream = stream->next) {
        int64_t moved = stream->send_window + difference;
        if (moved > H2_WINDOW_MAX) {
            proxy_h2_fail(h2, PROXY_H2_ERROR_FLOW_CONTROL);
            return;
        }
        stream->send_window = (int32_t)moved;
        proxy_h2_ready(stream);
    }
}

static void on_settings(struct proxy_h2 *h2, const struct h2_frame *frame, struct fl_span payload)
{
    if ((frame->flags & H2_ACK) != 0) {
        if (h2->settings_acked)
            (void)!proxy_h2_spend(h2, H2_KIND_SETTINGS);
        h2->settings_acked = true;
        return;
    }
    if (h2->got_settings && !proxy_h2_spend(h2, H2_KIND_SETTINGS))
        return;
    struct change change = {.window = h2->peer_window};
    for (size_t at = 0; at < payload.len && !change.failed; at += 6) {
        unsigned id = proxy_h2_get_u32(payload.data + at) >> 16;
        setting(h2, id, proxy_h2_get_u32(payload.data + at + 2), &change);
    }
    if (!h2->over && change.window != h2->peer_window)
        move_windows(h2, change.window);
    h2->room = h2->room || !h2->got_settings;
    h2->got_settings = true;
    proxy_h2_send_control(h2, H2_SETTINGS, H2_ACK, 0, (struct fl_span){NULL, 0});
    proxy_h2_pump(h2);
}

/* ---- the rest ---- */

static void on_ping(struct proxy_h2 *h2, const struct h2_frame *frame, struct fl_span payload)
{
    bool ack = (frame->flags & H2_ACK) != 0;
    if (ack && h2->ping_ms != 0)
        h2->ping_ms = 0;
    else if (proxy_h2_spend(h2, H2_KIND_PING) && !ack)
        proxy_h2_send_control(h2, H2_PING, H2_ACK, 0, payload);
}

static enum proxy_reset why_of(uint32_t code)
{
    switch (code) {
    case H2_NO_ERROR:
    case H2_CANCEL:
        return PROXY_RESET_CANCELLED;
    case H2_REFUSED_STREAM:
        return PROXY_RESET_REFUSED;
    case H2_CONNECT_ERROR:
        return PROXY_RESET_CONNECTION;
    case H2_HTTP_1_1_REQUIRED:
        return PROXY_RESET_HTTP11;
    default:
        return PROXY_RESET_INTERNAL;
    }
}

static void on_rst(struct proxy_h2 *h2, const struct h2_frame *frame, struct fl_span payload)
{
    if (proxy_h2_stream_is_idle(h2, frame->stream)) {
        proxy_h2_fail(h2, PROXY_H2_ERROR_STREAM_ID);
        return;
    }
    if (h2->server && !proxy_h2_spend(h2, H2_KIND_RESET))
        return;
    struct h2_stream *stream = proxy_h2_stream_find(h2, frame->stream);
    if (stream != NULL)
        proxy_h2_stream_kill(stream, why_of(proxy_h2_get_u32(payload.data)), PROXY_H2_ERROR_NONE);
}

/* What the server has not seen may be sent again (RFC 9113 §6.8). */
static void refuse_beyond(struct proxy_h2 *h2, uint32_t last)
{
    bool again;
    do {
        again = false;
        for (struct h2_stream *stream = h2->all; stream != NULL && !again; stream = stream->next) {
            bool waiting = stream->id == 0 || (stream->open && stream->id > last);
            if (waiting) {
                proxy_h2_stream_kill(stream, PROXY_RESET_REFUSED, PROXY_H2_ERROR_NONE);
                again = true;
            }
        }
    } while (again && !h2->over);
}

static void on_goaway(struct proxy_h2 *h2, struct fl_span payload)
{
    bool first = !h2->goaway;
    if (!first && !proxy_h2_spend(h2, H2_KIND_SETTINGS))
        return;
    h2->goaway = true;
    if (!h2->server)
        refuse_beyond(h2, proxy_h2_get_u32(payload.data) & 0x7fffffffu);
    if (first && !h2->over)
        h2->ops->on_goaway(h2->owner);
}

static void on_window(struct proxy_h2 *h2, const struct h2_frame *frame, struct fl_span payload)
{
    uint32_t increment = proxy_h2_get_u32(payload.data) & 0x7fffffffu;
    bool idle = frame->stream != 0 && proxy_h2_stream_is_idle(h2, frame->stream);
    if (idle || (frame->stream == 0 && increment == 0)) {
        proxy_h2_fail(h2, idle ? PROXY_H2_ERROR_STREAM_ID : PROXY_H2_ERROR_FRAME);
        return;
    }
    if (!proxy_h2_spend(h2, H2_KIND_WINDOW))
        return;
    struct h2_stream *stream = frame->stream != 0 ? proxy_h2_stream_find(h2, frame->stream) : NULL;
    if (frame->stream == 0) {
        h2->send_window += increment;
        if (h2->send_window > H2_WINDOW_MAX)
            proxy_h2_fail(h2, PROXY_H2_ERROR_FLOW_CONTROL);
    } else if (stream != NULL && (increment == 0 || stream->send_window > H2_WINDOW_MAX - (int64_t)increment)) {
        proxy_h2_stream_fault(h2, frame->stream, increment == 0 ? PROXY_H2_ERROR_FRAME : PROXY_H2_ERROR_FLOW_CONTROL);
    } else if (stream != NULL) {
        stream->send_window += (int32_t)increment;
        proxy_h2_ready(stream);
    }
    proxy_h2_pump(h2);
}

/* Read past, but for what is wrong in it. A stream that is not open is not reset. */
static void on_priority(struct proxy_h2 *h2, const struct h2_frame *frame, struct fl_span payload)
{
    bool sized = payload.len == 5;
    if (sized && (proxy_h2_get_u32(payload.data) & 0x7fffffffu) != frame->stream) {
        (void)!proxy_h2_spend(h2, H2_KIND_PRIORITY);
        return;
    }
    enum proxy_h2_error error = sized ? PROXY_H2_ERROR_FRAME : PROXY_H2_ERROR_FRAME_SIZE;
    if (proxy_h2_stream_find(h2, frame->stream) != NULL)
        proxy_h2_stream_fault(h2, frame->stream, error);
    else
        proxy_h2_fail(h2, error);
}

void proxy_h2_on_control(struct proxy_h2 *h2, const struct h2_frame *frame, struct fl_span payload)
{
    switch (frame->type) {
    case H2_PRIORITY:
        on_priority(h2, frame, payload);
        break;
    case H2_RST_STREAM:
        on_rst(h2, frame, payload);
        break;
    case H2_SETTINGS:
        on_settings(h2, frame, payload);
        break;
    case H2_PING:
        on_ping(h2, frame, payload);
        break;
    case H2_GOAWAY:
        on_goaway(h2, payload);
        break;
    case H2_WINDOW_UPDATE:
        on_window(h2, frame, payload);
        break;
    default:
        break;
    }
}
