/* Streams: the table that finds them by their number, how they end, and the calls of stream.h but the sending ones.
 *
 * A stream is `open` (in the table, counted) until both directions have ended or it is reset; and it is in `all` until
 * its user is gone too. What is neither is dead, and freed at the outermost leave.
 */
#include "proxy/http/h2_inner.h"

static struct h2_stream *of(const struct proxy_stream *base)
{
    union {
        const struct proxy_stream *base;
        struct h2_stream *stream;
    } pointer = {.base = base};
    return pointer.stream;
}

static struct h2_stream **bucket(const struct proxy_h2 *h2, uint32_t id)
{
    return &h2->buckets[(id >> 1) & h2->bucket_mask];
}

/* Twice the buckets; without memory the chains grow instead. */
static void grow(struct proxy_h2 *h2)
{
    uint32_t count = (h2->bucket_mask + 1) * 4;
    struct h2_stream **old = h2->buckets, **buckets = calloc(count, sizeof(struct h2_stream *));
    if (buckets == NULL)
        return;
    h2->buckets = buckets;
    uint32_t old_mask = h2->bucket_mask;
    h2->bucket_mask = count - 1;
    for (uint32_t i = 0; i <= old_mask; i++) {
        while (old[i] != NULL) {
            struct h2_stream *stream = old[i];
            old[i] = stream->chain;
            struct h2_stream **to = bucket(h2, stream->id);
            stream->chain = *to;
            *to = stream;
        }
    }
    if (old != h2->few)
        free(old);
}

struct h2_stream *proxy_h2_stream_new(struct proxy_h2 *h2)
{
    struct h2_stream *stream = calloc(1, sizeof(*stream));
    if (stream == NULL)
        return NULL;
    stream->base.ops = &proxy_h2_stream_ops;
    stream->h2 = h2;
    stream->in_left = stream->out_left = UINT64_MAX;
    stream->send_window = h2->peer_window;
    stream->window = h2->stream_window;
    stream->next = h2->all;
    if (h2->all != NULL)
        h2->all->prev = stream;
    h2->all = stream;
    return stream;
}

void proxy_h2_stream_insert(struct h2_stream *stream, uint32_t id)
{
    struct proxy_h2 *h2 = stream->h2;
    if (h2->open >= 2 * (h2->bucket_mask + 1))
        grow(h2);
    stream->id = id;
    stream->open = true;
    h2->open++;
    struct h2_stream **to = bucket(h2, id);
    stream->chain = *to;
    *to = stream;
}

struct h2_stream *proxy_h2_stream_find(const struct proxy_h2 *h2, uint32_t id)
{
    struct h2_stream *stream = *bucket(h2, id);
    while (stream != NULL && stream->id != id)
        stream = stream->chain;
    return stream;
}

bool proxy_h2_stream_is_idle(const struct proxy_h2 *h2, uint32_t id)
{
    return (id & 1) == 0 || id > h2->last_id;
}

bool proxy_h2_was_reset(const struct proxy_h2 *h2, uint32_t id)
{
    uint32_t at = id >> 1, newest = h2->last_id >> 1;
    if (newest - at >= H2_RESETS) /* too long ago to know: in doubt we did */
        return true;
    return (h2->resets[at % H2_RESETS / 64] >> (at % 64) & 1) != 0;
}

void proxy_h2_note_reset(struct proxy_h2 *h2, uint32_t id)
{
    uint32_t at = id >> 1;
    h2->resets[at % H2_RESETS / 64] |= UINT64_C(1) << (at % 64);
}

/* Ids after `from` up to `to` are new. */
void proxy_h2_forget_resets(struct proxy_h2 *h2, uint32_t from, uint32_t to)
{
    uint32_t count = (to >> 1) - (from >> 1);
    if (from == 0)
        count++;
    if (count >= H2_RESETS) {
        memset(h2->resets, 0, sizeof(h2->resets));
        return;
    }
    for (uint32_t at = to >> 1; count > 0; count--, at--)
        h2->resets[at % H2_RESETS / 64] &= ~(UINT64_C(1) << (at % 64));
}

static void close_entry(struct h2_stream *stream)
{
    struct proxy_h2 *h2 = stream->h2;
    proxy_h2_drop_output(stream);
    if (!stream->open) {
        if (stream->id == 0 && h2->opening > 0)
            h2->opening--;
        return;
    }
    stream->open = false;
    h2->open--;
    h2->room = true;
    struct h2_stream **link = bucket(h2, stream->id);
    while (*link != stream)
        link = &(*link)->chain;
    *link = stream->chain;
    stream->chain = NULL;
}

static void bury(struct h2_stream *stream)
{
    struct proxy_h2 *h2 = stream->h2;
    if (stream->buried)
        return;
    stream->buried = true;
    if (stream->prev != NULL)
        stream->prev->next = stream->next;
    else
        h2->all = stream->next;
    if (stream->next != NULL)
        stream->next->prev = stream->prev;
    free(fl_take(stream->upgrade));
    stream->chain = h2->dead;
    h2->dead = stream;
}

void proxy_h2_stream_settle(struct h2_stream *stream)
{
    bool ended = stream->in == H2_WAY_ENDED && stream->out == H2_WAY_ENDED;
    if (ended && stream->open)
        close_entry(stream);
    if (ended && stream->base.events == NULL)
        bury(stream);
}

void proxy_h2_stream_kill(struct h2_stream *stream, enum proxy_reset why, enum proxy_h2_error error)
{
    const struct proxy_stream_events *events = fl_take(stream->base.events);
    close_entry(stream);
    stream->in = stream->out = H2_WAY_ENDED;
    stream->error = (uint8_t)error;
    stream->why = (uint8_t)why;
    if (stream->id == 0)
        stream->id = UINT32_MAX; /* counted as opening no more */
    if (events != NULL)
        events->on_reset(stream->base.user, why);
    bury(stream);
}

void proxy_h2_stream_abort(struct h2_stream *stream, uint32_t code, enum proxy_reset why)
{
    if (stream->open)
        proxy_h2_send_rst(stream->h2, stream->id, code);
    if (!stream->h2->over) /* else the failing session has told it */
        proxy_h2_stream_kill(stream, why, PROXY_H2_ERROR_NONE);
}

void proxy_h2_stream_fault(struct proxy_h2 *h2, uint32_t id, enum proxy_h2_error error)
{
    if (h2->ops->on_fault != NULL)
        h2->ops->on_fault(h2->owner, error);
    proxy_h2_send_rst(h2, id, proxy_h2_error_code(error));
    if (h2->over || (h2->server && !proxy_h2_spend(h2, H2_KIND_RESET)))
        return;
    struct h2_stream *stream = proxy_h2_stream_find(h2, id);
    if (stream != NULL)
        proxy_h2_stream_kill(stream, PROXY_RESET_PROTOCOL, error);
}

static uint32_t code_of(const struct h2_stream *stream, enum proxy_reset why)
{
    switch (why) {
    case PROXY_RESET_CANCELLED:
        return H2_CANCEL;
    case PROXY_RESET_REFUSED:
        return H2_REFUSED_STREAM;
    case PROXY_RESET_PROTOCOL:
        return H2_PROTOCOL_ERROR;
    case PROXY_RESET_HTTP11:
        return H2_HTTP_1_1_REQUIRED;
    case PROXY_RESET_CONNECT:
    case PROXY_RESET_EOF:
    case PROXY_RESET_CONNECTION:
        return stream->tunnel ? H2_CONNECT_ERROR : H2_INTERNAL_ERROR;
    case PROXY_RESET_INTERNAL:
    case PROXY_RESET_MEMORY:
    default:
        return H2_INTERNAL_ERROR;
    }
}

/* Its user has nothing to say any more. What it ended goes out still; an answer that is whole needs no more of its
 * request (RFC 9113 §8.1). */
static void stream_close(struct proxy_stream *base, enum proxy_reset why)
{
    struct h2_stream *stream = of(base);
    struct proxy_h2 *h2 = stream->h2;
    proxy_h2_enter(h2);
    base->events = NULL;
    bool said = stream->out == H2_WAY_CLOSING || stream->out == H2_WAY_ENDED;
    bool whole = said && (stream->in == H2_WAY_ENDED || (h2->server && !stream->tunnel && why != PROXY_RESET_INTERNAL));
    if (h2->over || stream->id == 0) {
        proxy_h2_stream_kill(stream, why, PROXY_H2_ERROR_NONE);
    } else if (!whole) {
        proxy_h2_stream_abort(stream, code_of(stream, why), why);
    } else if (stream->out == H2_WAY_ENDED && stream->in != H2_WAY_ENDED) {
        proxy_h2_stream_abort(stream, H2_NO_ERROR, why);
    } else {
        stream->abandoned = stream->in != H2_WAY_ENDED;
        proxy_h2_stream_settle(stream);
    }
    proxy_h2_leave(h2);
}

static void stream_pause(struct proxy_stream *base)
{
    of(base)->paused = true;
}

static void stream_resume(struct proxy_stream *base)
{
    struct h2_stream *stream = of(base);
    stream->paused = false;
    proxy_h2_enter(stream->h2);
    if (stream->open && !stream->h2->over)
        proxy_h2_give_window(stream->h2, stream);
    proxy_h2_leave(stream->h2);
}

/* While the connection is held nothing more is wanted than what waits already. */
static bool stream_is_backlogged(const struct proxy_stream *base)
{
    const struct h2_stream *stream = of(base);
    return stream->queue.bytes > (stream->h2->held ? 0 : stream->h2->high);
}

static size_t stream_unsent(const struct proxy_stream *base)
{
    return of(base)->queue.bytes;
}

static const char *stream_error(const struct proxy_stream *base)
{
    const struct h2_stream *stream = of(base);
    if (stream->error != PROXY_H2_ERROR_NONE)
        return proxy_h2_error_word((enum proxy_h2_error)stream->error);
    return stream->h2->text != NULL ? stream->h2->text : proxy_reset_text((enum proxy_reset)stream->why);
}

const struct proxy_stream_ops proxy_h2_stream_ops = {
    .send_head = proxy_h2_stream_send_head,
    .send_data = proxy_h2_stream_send_data,
    .send_end = proxy_h2_stream_send_end,
    .close = stream_close,
    .pause = stream_pause,
    .resume = stream_resume,
    .is_backlogged = stream_is_backlogged,
    .unsent = stream_unsent,
    .error = stream_error,
};
