#include "proxy/upstream/mux.h"

#include "proxy/tls/filter.h"

#include <errno.h>

static struct proxy_cluster_run *cluster_of(const struct proxy_mux *mux)
{
    return mux->lane->cluster;
}

static uint64_t now_ms(const struct proxy_mux *mux)
{
    return fl_loop_now_ms(cluster_of(mux)->turn->loop);
}

/* --- ends ------------------------------------------------------------------------------------------------------- */

static void release(struct fl_deferred *deferred)
{
    struct proxy_mux *mux = FL_CONTAINER_OF(deferred, struct proxy_mux, deferred);
    if (mux->h2 != NULL) /* uploads that were answered before they had gone out may be left */
        proxy_h2_end(mux->h2, PROXY_RESET_CANCELLED, NULL);
    mux->h2 = proxy_h2_free(mux->h2);
    free(mux);
}

static void unlist(struct proxy_mux *mux)
{
    struct proxy_mux **link = &mux->lane->muxes;
    while (*link != mux)
        link = &(*link)->next;
    *link = mux->next;
    mux->lane->mux_count -= mux->pin == 0;
}

/* The connection goes, or went (`carrier` NULL: to somebody else); the memory when nobody is in the middle of it. */
static void leave(struct proxy_mux *mux, enum proxy_close how)
{
    struct proxy_cluster_run *cluster = cluster_of(mux);
    struct proxy_upstream *carrier = fl_take(mux->carrier);
    if (mux->h2 == NULL)
        mux->lane->dialling--;
    mux->gone = true;
    fl_timer_cancel(&mux->timer);
    unlist(mux);
    fl_loop_defer(cluster->turn->loop, &mux->deferred, release);
    proxy_upstream_drop(carrier, how);
}

void proxy_mux_close(struct proxy_mux *mux)
{
    if (mux->h2 != NULL && !mux->over)
        proxy_h2_drain(mux->h2, true); /* GOAWAY */
    leave(mux, PROXY_CLOSE_FLUSH);
}

/* --- time ------------------------------------------------------------------------------------------------------- */

static uint64_t idle_ms(const struct proxy_mux *mux)
{
    uint64_t most = mux->pin == 0 && mux->lane->mux_count > 1 ? PROXY_MUX_EXTRA_MS : PROXY_MUX_IDLE_MS;
    uint64_t idle = cluster_of(mux)->options.idle_timeout_ms;
    return idle > 0 && idle < most ? idle : most;
}

static void on_timer(struct fl_timer *timer);

static void arm(struct proxy_mux *mux)
{
    uint64_t due = proxy_h2_next_tick_ms(mux->h2), now = now_ms(mux);
    if (mux->idle_since_ms != 0 && mux->idle_since_ms + idle_ms(mux) < due)
        due = mux->idle_since_ms + idle_ms(mux);
    if (due == UINT64_MAX || (mux->timer_ms != 0 && mux->timer_ms <= due))
        return; /* it comes early enough, and looks again */
    mux->timer_ms = due;
    fl_timer_set(cluster_of(mux)->turn->loop, &mux->timer, due > now ? due - now : 1, on_timer);
}

static void on_timer(struct fl_timer *timer)
{
    struct proxy_mux *mux = FL_CONTAINER_OF(timer, struct proxy_mux, timer);
    uint64_t now = now_ms(mux);
    mux->timer_ms = 0;
    if (mux->idle_since_ms != 0 && mux->idle_since_ms + idle_ms(mux) <= now && mux->streams == 0) {
        proxy_mux_close(mux);
        return;
    }
    proxy_h2_tick(mux->h2, now);
    if (!mux->gone)
        arm(mux);
}

/* --- the session ------------------------------------------------------------------------------------------------ */

static void send_bytes(void *owner, struct fl_span bytes)
{
    struct proxy_mux *mux = owner;
    if (mux->gone)
        return;
    proxy_conn_write(mux->carrier->conn, bytes);
    if (mux->h2 != NULL && mux->stalled_since_ms == 0 && proxy_conn_is_backlogged(mux->carrier->conn)) {
        mux->stalled_since_ms = now_ms(mux);
        proxy_h2_hold(mux->h2);
    }
}

static bool on_stream(void *owner, struct proxy_stream *stream)
{
    (void)owner;
    (void)stream;
    return false; /* a server opens none */
}

static void on_room(void *owner)
{
    struct proxy_mux *mux = owner;
    if (mux->lane->waiting != NULL)
        proxy_lane_wake(mux->lane);
}

static void on_goaway(void *owner)
{
    struct proxy_mux *mux = owner;
    mux->draining = true;
    proxy_lane_wake(mux->lane);
}

static void on_over(void *owner, enum proxy_h2_error error)
{
    struct proxy_mux *mux = owner;
    (void)error;
    mux->draining = mux->over = true;
    proxy_lane_wake(mux->lane);
}

static const struct proxy_h2_owner owner_ops = {
    .send = send_bytes,
    .on_stream = on_stream,
    .on_room = on_room,
    .on_goaway = on_goaway,
    .on_over = on_over,
};

/* --- the connection ----------------------------------------------------------------------------------------------- */

enum speech { SPEECH_HTTP1, SPEECH_HTTP2, SPEECH_SHARED };

static enum speech speech_of(const struct proxy_mux *mux)
{
    const struct proxy_tls *tls = proxy_tls_of(mux->carrier->conn);
    enum proxy_cluster_http http =
        mux->lane->host->behind != NULL ? PROXY_CLUSTER_HTTP2 : cluster_of(mux)->options.http;
    switch (tls != NULL ? fl_alpn_kind(proxy_tls_alpn(tls)) : FL_ALPN_KIND_UNKNOWN) {
    case FL_ALPN_KIND_SHARED:
        return SPEECH_SHARED;
    case FL_ALPN_KIND_HTTP2:
        return SPEECH_HTTP2;
    case FL_ALPN_KIND_HTTP1:
        return SPEECH_HTTP1;
    case FL_ALPN_KIND_BYTES:
    case FL_ALPN_KIND_UNKNOWN:
        break;
    }
    return http == PROXY_CLUSTER_HTTP2 || http == PROXY_CLUSTER_DOWNSTREAM ? SPEECH_HTTP2 : SPEECH_HTTP1;
}

static int start_session(struct proxy_mux *mux, bool shared)
{
    const struct proxy_cluster_options *options = &cluster_of(mux)->options;
    const struct proxy_h2_options session = {
        .tls = proxy_tls_of(mux->carrier->conn) != NULL && !proxy_host_is_gated(mux->lane->host),
        .settings = options->h2,
        .high = options->buffer_limit_bytes,
        .pool = &cluster_of(mux)->turn->pool,
        .message = options->scratch.message,
        .trailers = options->scratch.trailers,
        .ops = &owner_ops,
        .owner = mux,
    };
    struct proxy_h2 *h2 = NULL;
    int result = proxy_h2_new(&session, now_ms(mux), &h2);
    if (result < 0)
        return result;
    mux->h2 = h2;
    mux->restored = shared;
    mux->lane->dialling--;
    mux->idle_since_ms = now_ms(mux);
    arm(mux);
    return 0;
}

/* HTTP/1: the connection is for one. */
static void hand_over(struct proxy_mux *mux)
{
    struct proxy_lane *lane = mux->lane;
    struct proxy_upstream *carrier = fl_take(mux->carrier);
    struct proxy_front *front = proxy_lane_next(lane, mux->pin);
    carrier->pin = mux->pin;
    leave(mux, PROXY_CLOSE_FLUSH);
    if (front != NULL)
        proxy_front_on_carrier(front, carrier);
    else
        proxy_upstream_put(carrier);
}

static void on_open(void *owner)
{
    struct proxy_mux *mux = owner;
    struct proxy_lane *lane = mux->lane;
    proxy_upstream_opened(mux->carrier);
    enum speech speech = speech_of(mux);
    proxy_lane_hold(lane);
    lane->context = mux->carrier->context;
    lane->speech = speech == SPEECH_HTTP1 ? PROXY_LANE_HTTP1 : PROXY_LANE_HTTP2;
    proxy_lane_wake(lane);
    if (speech == SPEECH_HTTP1) {
        hand_over(mux);
    } else if (start_session(mux, speech == SPEECH_SHARED) < 0) {
        const struct proxy_lane_failure failure = {.why = PROXY_RESET_MEMORY, .end = -1};
        leave(mux, PROXY_CLOSE_NOW);
        proxy_lane_dial_failed(lane, mux->pin, &failure);
    }
    proxy_lane_let(lane);
}

static size_t on_data(void *owner, struct fl_span bytes)
{
    struct proxy_mux *mux = owner;
    if (!mux->gone && !mux->over)
        proxy_h2_feed(mux->h2, bytes, now_ms(mux));
    return bytes.len;
}

/* The streams hear of it; new ones go elsewhere. */
static void end(struct proxy_mux *mux, enum proxy_reset why, const char *error)
{
    struct proxy_lane *lane = mux->lane;
    proxy_lane_hold(lane);
    mux->gone = true;
    if (!mux->over)
        proxy_h2_end(mux->h2, why, error);
    leave(mux, PROXY_CLOSE_FLUSH);
    proxy_lane_wake(lane);
    proxy_lane_let(lane);
}

static void on_eof(void *owner)
{
    end(owner, PROXY_RESET_EOF, NULL);
}

static void on_writable(void *owner)
{
    struct proxy_mux *mux = owner;
    mux->stalled_since_ms = 0;
    if (mux->h2 != NULL && !mux->over)
        proxy_h2_release(mux->h2);
}

static void on_closed(void *owner, enum proxy_end why)
{
    struct proxy_mux *mux = owner;
    struct proxy_lane *lane = mux->lane;
    const char *error = proxy_conn_error(mux->carrier->conn);
    error = error[0] != '\0' ? error : proxy_end_text(why);
    enum proxy_reset reset = why == PROXY_END_MEMORY ? PROXY_RESET_MEMORY
                             : mux->h2 != NULL       ? PROXY_RESET_CONNECTION
                                                     : PROXY_RESET_CONNECT;
    mux->end = (int)why;
    if (mux->h2 != NULL) {
        end(mux, reset, error);
        return;
    }
    const struct proxy_lane_failure failure = {reset, (int)why, error, mux->carrier->conn};
    proxy_lane_hold(lane);
    leave(mux, PROXY_CLOSE_NOW);
    proxy_lane_dial_failed(lane, mux->pin, &failure);
    proxy_lane_let(lane);
}

static const struct proxy_conn_ops conn_ops = {
    .on_open = on_open,
    .on_data = on_data,
    .on_eof = on_eof,
    .on_writable = on_writable,
    .on_closed = on_closed,
};

int proxy_mux_dial(struct proxy_lane *lane, struct fl_tls_context *context, uint64_t pin)
{
    struct proxy_mux *mux = calloc(1, sizeof(*mux));
    if (mux == NULL)
        return -ENOMEM;
    mux->lane = lane;
    mux->pin = pin;
    mux->end = -1;
    int result =
        proxy_upstream_dial(lane->cluster, lane->host, context, FL_ALPN_USE_HTTP, &conn_ops, mux, &mux->carrier);
    if (result != PROXY_UPSTREAM_OK) {
        free(mux);
        return result;
    }
    struct proxy_mux **link = &lane->muxes;
    while (*link != NULL)
        link = &(*link)->next;
    *link = mux;
    lane->mux_count += pin == 0;
    lane->dialling++;
    return PROXY_UPSTREAM_OK;
}

/* --- streams ---------------------------------------------------------------------------------------------------- */

bool proxy_mux_has_room(const struct proxy_mux *mux)
{
    uint32_t most = cluster_of(mux)->options.h2.max_streams,
             requests = cluster_of(mux)->options.max_requests_per_connection;
    most = most > 0 && most < PROXY_MUX_STREAMS ? most : PROXY_MUX_STREAMS;
    return mux->h2 != NULL && !mux->draining && !mux->gone && mux->streams < most &&
           (requests == 0 || mux->requests < requests) && proxy_h2_can_open(mux->h2);
}

bool proxy_mux_is_stalled(const struct proxy_mux *mux)
{
    return mux->stalled_since_ms != 0 && now_ms(mux) > mux->stalled_since_ms + PROXY_MUX_STALL_MS;
}

int proxy_mux_open_stream(struct proxy_mux *mux, struct proxy_front *front)
{
    uint32_t requests = cluster_of(mux)->options.max_requests_per_connection;
    int result = proxy_h2_open(mux->h2, &proxy_front_events, front, &front->inner);
    if (result < 0)
        return result;
    front->mux = mux;
    front->upstream.conn = mux->carrier->conn;
    front->upstream.label = mux->carrier->label;
    mux->streams++;
    mux->requests++;
    mux->draining |= requests > 0 && mux->requests >= requests;
    mux->idle_since_ms = 0;
    if (cluster_of(mux)->options.h2.ping_interval_ms > 0)
        arm(mux);
    return 0;
}

void proxy_mux_stream_gone(struct proxy_mux *mux)
{
    mux->streams--;
    if (mux->gone)
        return;
    if (mux->streams == 0) {
        mux->idle_since_ms = now_ms(mux);
        arm(mux);
    }
    if (mux->lane->waiting != NULL || (mux->streams == 0 && mux->draining))
        proxy_lane_wake(mux->lane);
}
