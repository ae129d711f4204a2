#include "proxy/http/h2.h"

#include "proxy/http/h2_inner.h"

#include <assert.h>
#include <errno.h>

#define HIGH 65536u /* PROXY_CONN_HIGH's */

const char *proxy_h2_error_word(enum proxy_h2_error error)
{
    static const char *const words[PROXY_H2_ERRORS] = {
#define X(id, code, word) [PROXY_H2_ERROR_##id] = word,
        PROXY_H2_ERROR_LIST(X)
#undef X
    };
    return words[error];
}

uint32_t proxy_h2_error_code(enum proxy_h2_error error)
{
    static const uint8_t codes[PROXY_H2_ERRORS] = {
#define X(id, code, word) [PROXY_H2_ERROR_##id] = code,
        PROXY_H2_ERROR_LIST(X)
#undef X
    };
    return codes[error];
}

/* ---- beginning ---- */

static uint32_t or_default(uint32_t value, uint32_t otherwise)
{
    return value != 0 ? value : otherwise;
}

static int32_t window_of(uint32_t value, uint32_t otherwise)
{
    value = or_default(value, otherwise);
    return (int32_t)(value < H2_WINDOW_DEFAULT ? H2_WINDOW_DEFAULT : value < H2_WINDOW_MAX ? value : H2_WINDOW_MAX);
}

static void apply(struct proxy_h2 *h2, const struct proxy_h2_settings *settings)
{
    h2->max_streams = or_default(settings->max_streams, PROXY_H2_STREAMS);
    h2->stream_window = window_of(settings->stream_window, PROXY_H2_WINDOW);
    h2->connection_window = window_of(settings->connection_window, PROXY_H2_CONN_WINDOW);
    h2->head_max = or_default(settings->head_max, H2_HEAD_MAX);
    h2->headers_max = or_default(settings->headers_max, H2_HEADERS_MAX);
    if (h2->headers_max > PROXY_HEADERS_WIRE_MAX)
        h2->headers_max = PROXY_HEADERS_WIRE_MAX;
    h2->ping_interval_ms = settings->ping_interval_ms;
    h2->ping_timeout_ms = or_default(settings->ping_timeout_ms, H2_PING_TIMEOUT_MS);
    h2->flush_ms = or_default(settings->flush_ms, H2_FLUSH_MS);
    h2->reset_burst = or_default(settings->reset_burst, 1000);
    h2->reset_rate = or_default(settings->reset_rate, 33);
    h2->no_connect = settings->no_connect;
    h2->bare_authority = settings->bare_authority;
}

static char *put_setting(char *to, enum h2_setting id, uint32_t value)
{
    to[0] = 0;
    to[1] = (char)id;
    return proxy_h2_put_u32(to + 2, value);
}

/* Preface, SETTINGS and the connection's window in one write (RFC 9113 §3.4). */
static void greet(struct proxy_h2 *h2)
{
    char out[128], *at = out;
    if (!h2->server) {
        memcpy(at, H2_PREFACE.data, H2_PREFACE.len);
        at += H2_PREFACE.len;
    }
    char *head = at, *payload = at + H2_FRAME_HEAD;
    at = put_setting(payload, H2_INITIAL_WINDOW_SIZE, (uint32_t)h2->stream_window);
    at = put_setting(at, H2_MAX_HEADER_LIST_SIZE, h2->head_max);
    if (h2->server)
        at = put_setting(at, H2_MAX_CONCURRENT_STREAMS, h2->max_streams);
    else
        at = put_setting(at, H2_ENABLE_PUSH, 0);
    if (h2->server && !h2->no_connect)
        at = put_setting(at, H2_ENABLE_CONNECT_PROTOCOL, 1);
    proxy_h2_put_head(head, (uint32_t)(at - payload), H2_SETTINGS, 0, 0);
    if (h2->connection_window > H2_WINDOW_DEFAULT) {
        at = proxy_h2_put_head(at, 4, H2_WINDOW_UPDATE, 0, 0);
        at = proxy_h2_put_u32(at, (uint32_t)h2->connection_window - H2_WINDOW_DEFAULT);
    }
    proxy_h2_send(h2, fl_span_make(out, (size_t)(at - out)));
}

int proxy_h2_new(const struct proxy_h2_options *options, uint64_t now_ms, struct proxy_h2 **ret_h2)
{
    struct proxy_h2 *h2 = calloc(1, sizeof(*h2));
    if (h2 == NULL)
        return -ENOMEM;
    h2->ops = options->ops;
    h2->owner = options->owner;
    h2->pool = options->pool;
    h2->message = options->message;
    h2->trailers = options->trailers;
    h2->server = options->server;
    h2->tls = options->tls;
    h2->high = or_default(options->high, HIGH);
    apply(h2, &options->settings);
    h2->buckets = h2->few;
    h2->bucket_mask = H2_FEW - 1;
    h2->reading = h2->server ? H2_READING_PREFACE : H2_READING_HEAD;
    fl_buf_init(&h2->gathered, PROXY_H2_FRAME_MAX);
    fl_buf_init(&h2->block, h2->head_max);
    h2->send_window = h2->peer_window = H2_WINDOW_DEFAULT;
    h2->window = h2->connection_window;
    h2->peer_streams = H2_PEER_STREAMS;
    h2->peer_frame = PROXY_H2_FRAME_MAX;
    h2->now_ms = h2->heard_ms = h2->settings_ms = h2->looked_ms = now_ms;
    proxy_h2_guard_init(h2);
    greet(h2);
    *ret_h2 = h2;
    return 0;
}

/* ---- ending ---- */

static void free_dead(struct proxy_h2 *h2)
{
    while (h2->dead != NULL) {
        struct h2_stream *stream = h2->dead;
        h2->dead = stream->chain;
        free(stream);
    }
}

struct proxy_h2 *proxy_h2_free(struct proxy_h2 *h2)
{
    if (h2 == NULL)
        return NULL;
    assert(h2->all == NULL && h2->depth == 0);
    free_dead(h2);
    if (h2->buckets != h2->few)
        free(h2->buckets);
    proxy_hpack_done(&h2->hpack);
    fl_buf_done(&h2->gathered);
    fl_buf_done(&h2->block);
    free(h2);
    return NULL;
}

/* Nothing goes on, and somebody has said that nothing shall. */
bool proxy_h2_is_done(const struct proxy_h2 *h2)
{
    return (h2->goaway || h2->drained) && h2->all == NULL && !h2->over;
}

void proxy_h2_leave(struct proxy_h2 *h2)
{
    if (--h2->depth > 0)
        return;
    free_dead(h2);
    if (proxy_h2_is_done(h2)) {
        h2->error = h2->goaway ? PROXY_H2_ERROR_PEER : PROXY_H2_ERROR_NONE;
        h2->over = true;
    }
    bool room = h2->room && !h2->over;
    h2->room = false;
    if (h2->over && !h2->told) {
        h2->told = true;
        h2->ops->on_over(h2->owner, (enum proxy_h2_error)h2->error);
    } else if (room) {
        h2->ops->on_room(h2->owner);
    }
}

void proxy_h2_send_goaway(struct proxy_h2 *h2, uint32_t last_id, uint32_t code, const char *text)
{
    char payload[64];
    size_t len = strlen(text);
    len = len < sizeof(payload) - 8 ? len : sizeof(payload) - 8;
    memcpy(proxy_h2_put_u32(proxy_h2_put_u32(payload, last_id), code), text, len);
    char frame[H2_FRAME_HEAD + sizeof(payload)];
    memcpy(proxy_h2_put_head(frame, (uint32_t)(8 + len), H2_GOAWAY, 0, 0), payload, 8 + len);
    proxy_h2_send(h2, fl_span_make(frame, H2_FRAME_HEAD + 8 + len));
}

static void kill_all(struct proxy_h2 *h2, enum proxy_reset why)
{
    while (h2->all != NULL)
        proxy_h2_stream_kill(h2->all, why, (enum proxy_h2_error)h2->error);
}

static enum proxy_reset why_of(enum proxy_h2_error error)
{
    switch ((int)error) {
    case PROXY_H2_ERROR_MEMORY:
        return PROXY_RESET_MEMORY;
    case PROXY_H2_ERROR_SETTINGS_TIMEOUT:
    case PROXY_H2_ERROR_PING_TIMEOUT:
        return PROXY_RESET_CONNECTION;
    default:
        return PROXY_RESET_PROTOCOL;
    }
}

void proxy_h2_fail(struct proxy_h2 *h2, enum proxy_h2_error error)
{
    if (h2->over)
        return;
    proxy_h2_send_goaway(h2, h2->server ? h2->last_id : 0, proxy_h2_error_code(error), proxy_h2_error_word(error));
    h2->error = (uint8_t)error;
    h2->over = true;
    kill_all(h2, why_of(error));
}

void proxy_h2_end(struct proxy_h2 *h2, enum proxy_reset why, const char *error)
{
    proxy_h2_enter(h2);
    h2->text = error;
    h2->over = h2->told = true;
    h2->error = PROXY_H2_ERROR_NONE;
    kill_all(h2, why);
    proxy_h2_leave(h2);
}

void proxy_h2_drain(struct proxy_h2 *h2, bool final)
{
    proxy_h2_enter(h2);
    if (h2->server && !final && !h2->draining)
        proxy_h2_send_goaway(h2, H2_WINDOW_MAX, H2_NO_ERROR, "");
    if (final && !h2->drained) {
        proxy_h2_send_goaway(h2, h2->server ? h2->last_id : 0, H2_NO_ERROR, "");
        h2->goaway_id = h2->last_id;
        h2->drained = true;
    }
    h2->draining = true;
    proxy_h2_leave(h2);
}

/* ---- while it lives ---- */

void proxy_h2_hold(struct proxy_h2 *h2)
{
    h2->held = true;
}

void proxy_h2_release(struct proxy_h2 *h2)
{
    proxy_h2_enter(h2);
    h2->held = false;
    h2->control = 0;
    proxy_h2_give_owed(h2);
    proxy_h2_pump(h2);
    proxy_h2_leave(h2);
}

bool proxy_h2_can_open(const struct proxy_h2 *h2)
{
    uint32_t most = h2->max_streams < h2->peer_streams ? h2->max_streams : h2->peer_streams;
    bool ending = h2->over || h2->goaway || h2->draining;
    return !h2->server && !ending && h2->open + h2->opening < most && h2->last_id + 2 * h2->opening < H2_WINDOW_MAX - 2;
}

int proxy_h2_open(struct proxy_h2 *h2, const struct proxy_stream_events *events, void *user,
                  struct proxy_stream **ret_stream)
{
    if (!proxy_h2_can_open(h2))
        return -EAGAIN;
    struct h2_stream *stream = proxy_h2_stream_new(h2);
    if (stream == NULL)
        return -ENOMEM;
    h2->opening++;
    stream->base.events = events;
    stream->base.user = user;
    *ret_stream = &stream->base;
    return 0;
}

size_t proxy_h2_streams(const struct proxy_h2 *h2)
{
    return h2->open + h2->opening;
}

size_t proxy_h2_queued(const struct proxy_h2 *h2)
{
    return h2->queued;
}

/* When it is due; UINT64_MAX: never. */
static uint64_t settings_due(const struct proxy_h2 *h2)
{
    return h2->settings_acked ? UINT64_MAX : h2->settings_ms + H2_SETTINGS_MS;
}

static uint64_t pong_due(const struct proxy_h2 *h2)
{
    uint64_t since = h2->heard_ms > h2->ping_ms ? h2->heard_ms : h2->ping_ms;
    return h2->ping_ms != 0 ? since + h2->ping_timeout_ms : UINT64_MAX;
}

static uint64_t ping_due(const struct proxy_h2 *h2)
{
    bool wanted = h2->ping_ms == 0 && h2->ping_interval_ms > 0 && h2->open > 0;
    return wanted ? h2->heard_ms + h2->ping_interval_ms : UINT64_MAX;
}

static uint64_t look_due(const struct proxy_h2 *h2)
{
    return h2->open > 0 ? h2->looked_ms + h2->flush_ms : UINT64_MAX;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t proxy_h2_next_tick_ms(const struct proxy_h2 *h2)
{
    if (h2->over)
        return UINT64_MAX;
    return earlier(earlier(settings_due(h2), pong_due(h2)), earlier(ping_due(h2), look_due(h2)));
}

/* A stream whose user is gone has nobody else who would tire of a peer that takes nothing. */
static void look_for_stuck(struct proxy_h2 *h2)
{
    h2->looked_ms = h2->now_ms;
    for (struct h2_stream *stream = h2->all; stream != NULL && !h2->over; stream = stream->next) {
        bool left = stream->open && stream->base.events == NULL;
        if (left && stream->stuck)
            proxy_h2_stream_fault(h2, stream->id, PROXY_H2_ERROR_UNREAD);
        else
            stream->stuck = left;
    }
}

void proxy_h2_tick(struct proxy_h2 *h2, uint64_t now_ms)
{
    proxy_h2_enter(h2);
    h2->now_ms = now_ms;
    if (h2->over) {
        /* Nothing is due any more. */
    } else if (now_ms >= settings_due(h2)) {
        proxy_h2_fail(h2, PROXY_H2_ERROR_SETTINGS_TIMEOUT);
    } else if (now_ms >= pong_due(h2)) {
        proxy_h2_fail(h2, PROXY_H2_ERROR_PING_TIMEOUT);
    } else {
        if (now_ms >= ping_due(h2)) {
            h2->ping_ms = now_ms;
            proxy_h2_send_control(h2, H2_PING, 0, 0, FL_SPAN("fairlead"));
        }
        if (now_ms >= look_due(h2))
            look_for_stuck(h2);
    }
    proxy_h2_leave(h2);
}
