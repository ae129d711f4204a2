/* DATA as it comes in, and the windows that are given back for it. The whole frame counts, padding too, when its head
 * is there; what goes to nobody (its stream was reset) is given back on the connection all the same. */
#include "proxy/http/h2_inner.h"

/* To a peer that does not read nothing is given. */
static bool waits(struct proxy_h2 *h2)
{
    h2->owed = h2->owed || h2->held;
    return h2->held;
}

void proxy_h2_give_owed(struct proxy_h2 *h2)
{
    if (!h2->owed || h2->held)
        return;
    h2->owed = false;
    proxy_h2_give_connection(h2, 0);
    for (struct h2_stream *stream = h2->all; stream != NULL && !h2->over; stream = stream->next)
        proxy_h2_give_window(h2, stream);
}

void proxy_h2_give_connection(struct proxy_h2 *h2, uint32_t bytes)
{
    h2->used += bytes;
    if (h2->used < (uint32_t)h2->connection_window / 2 || h2->over || waits(h2))
        return;
    uint32_t used = h2->used;
    h2->used = 0;
    h2->window += used;
    proxy_h2_send_window(h2, 0, used);
}

void proxy_h2_give_window(struct proxy_h2 *h2, struct h2_stream *stream)
{
    bool wanted = stream->base.events != NULL && stream->in == H2_WAY_BODY && !stream->paused;
    if (!wanted || stream->used < (uint32_t)h2->stream_window / 2 || waits(h2))
        return;
    uint32_t used = stream->used;
    stream->used = 0;
    stream->window += (int32_t)used;
    proxy_h2_send_window(h2, stream->id, used);
}

/* The stream that takes the frame; NULL where it is to be read past, or the session has failed. */
static struct h2_stream *taker(struct proxy_h2 *h2, const struct h2_frame *frame)
{
    struct h2_stream *stream = proxy_h2_stream_find(h2, frame->stream);
    if (stream == NULL) {
        if (proxy_h2_stream_is_idle(h2, frame->stream))
            proxy_h2_fail(h2, PROXY_H2_ERROR_STREAM_ID);
        else if (!proxy_h2_was_reset(h2, frame->stream))
            proxy_h2_fail(h2, PROXY_H2_ERROR_STREAM_CLOSED);
        return NULL;
    }
    if (stream->in == H2_WAY_BODY)
        return stream;
    proxy_h2_stream_fault(h2, frame->stream,
                          stream->in == H2_WAY_HEAD ? PROXY_H2_ERROR_MESSAGE : PROXY_H2_ERROR_STREAM_CLOSED);
    return NULL;
}

void proxy_h2_on_data_head(struct proxy_h2 *h2, const struct h2_frame *frame)
{
    h2->window -= frame->len;
    if (h2->window < 0) {
        proxy_h2_fail(h2, PROXY_H2_ERROR_FLOW_CONTROL);
        return;
    }
    struct h2_stream *stream = taker(h2, frame);
    if (stream == NULL)
        return;
    stream->base.received += H2_FRAME_HEAD;
    if ((int64_t)stream->window < (int64_t)frame->len) {
        proxy_h2_stream_fault(h2, frame->stream, PROXY_H2_ERROR_FLOW_CONTROL);
        return;
    }
    stream->window -= (int32_t)frame->len;
}

/* content-length is held to before anything of the frame is told. */
static void check_length(struct proxy_h2 *h2, struct h2_stream *stream, uint32_t content)
{
    if (stream->in_left == UINT64_MAX)
        return;
    if (content > stream->in_left)
        proxy_h2_stream_fault(h2, h2->frame.stream, PROXY_H2_ERROR_CONTENT_LENGTH);
    else
        stream->in_left -= content;
}

void proxy_h2_on_data_begin(struct proxy_h2 *h2)
{
    uint32_t content = h2->left - h2->pad, around = h2->frame.len - content; /* padding and its length */
    if (content == 0 && (h2->frame.flags & H2_END_STREAM) == 0) {
        if (!proxy_h2_spend(h2, H2_KIND_EMPTY))
            return;
    } else {
        h2->work++;
    }
    if (around > 0)
        proxy_h2_give_connection(h2, around);
    struct h2_stream *stream = proxy_h2_stream_find(h2, h2->frame.stream);
    if (stream == NULL || stream->in != H2_WAY_BODY || h2->over)
        return;
    stream->used += around;
    check_length(h2, stream, content);
}

void proxy_h2_on_data_part(struct proxy_h2 *h2, struct fl_span part)
{
    struct h2_stream *stream = proxy_h2_stream_find(h2, h2->frame.stream);
    proxy_h2_give_connection(h2, (uint32_t)part.len);
    if (stream == NULL || stream->in != H2_WAY_BODY || h2->over)
        return;
    stream->used += (uint32_t)part.len;
    stream->base.received += part.len;
    if (stream->base.events != NULL)
        stream->base.events->on_data(stream->base.user, part);
}

void proxy_h2_on_data_end(struct proxy_h2 *h2)
{
    struct h2_stream *stream = proxy_h2_stream_find(h2, h2->frame.stream);
    if (stream == NULL || stream->in != H2_WAY_BODY)
        return;
    if ((h2->frame.flags & H2_END_STREAM) == 0) {
        proxy_h2_give_window(h2, stream);
        return;
    }
    if (stream->in_left != UINT64_MAX && stream->in_left != 0) {
        proxy_h2_stream_fault(h2, h2->frame.stream, PROXY_H2_ERROR_CONTENT_LENGTH);
        return;
    }
    stream->in = H2_WAY_ENDED;
    if (stream->base.events != NULL)
        stream->base.events->on_end(stream->base.user, NULL);
    proxy_h2_stream_settle(stream);
}
