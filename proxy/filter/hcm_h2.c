/* HTTP/2 under the connection manager: a session (http/h2.h) between the connection and the exchanges. */
#include "proxy/filter/hcm_inner.h"

#include <errno.h>

#define SLICE 1024u /* bytes that are fed at a time, where many requests may be in them */

static uint64_t now_ms(const struct proxy_hcm *hcm)
{
    return fl_loop_now_ms(hcm_loop(hcm));
}

/* --- time ------------------------------------------------------------------------------------------------------- */

static void set_tick(struct proxy_hcm *hcm);

static void on_tick(struct fl_timer *timer)
{
    struct proxy_hcm *hcm = FL_CONTAINER_OF(timer, struct proxy_hcm, h2.tick);
    proxy_h2_tick(hcm->h2.session, now_ms(hcm));
    set_tick(hcm);
}

/* The timer goes at the time that was asked for first; what is due later is asked for then. */
static void set_tick(struct proxy_hcm *hcm)
{
    if (hcm->ended)
        return;
    uint64_t due = proxy_h2_next_tick_ms(hcm->h2.session), now = now_ms(hcm);
    if (due == UINT64_MAX || (fl_timer_is_set(&hcm->h2.tick) && hcm->h2.tick.deadline_ms <= due))
        return;
    fl_timer_set(hcm_loop(hcm), &hcm->h2.tick, due > now ? due - now : 0, on_tick);
}

/* Nothing is under way: the end, where that was asked for, or idle time. */
static void look_whether_idle(struct proxy_hcm *hcm)
{
    if (hcm->ended || hcm->exchanges != NULL || proxy_h2_streams(hcm->h2.session) > 0)
        return;
    if (hcm->h2.final)
        hcm_end(hcm, PROXY_CLOSE_FLUSH);
    else
        hcm_wait(hcm);
}

static void grace_is_over(struct fl_timer *timer)
{
    struct proxy_hcm *hcm = FL_CONTAINER_OF(timer, struct proxy_hcm, h2.grace);
    hcm->h2.final = true;
    proxy_h2_drain(hcm->h2.session, true);
    look_whether_idle(hcm);
}

void hcm_h2_drain(struct proxy_hcm *hcm)
{
    if (hcm->h2.drained || hcm->ended)
        return;
    hcm->h2.drained = true;
    proxy_h2_drain(hcm->h2.session, false);
    fl_timer_set(hcm_loop(hcm), &hcm->h2.grace, PROXY_HCM_GOAWAY_MS, grace_is_over);
    look_whether_idle(hcm);
}

/* --- what the session says --------------------------------------------------------------------------------------- */

static void send_bytes(void *owner, struct fl_span bytes)
{
    struct proxy_hcm *hcm = owner;
    proxy_conn_write(hcm->downstream->conn, bytes);
    if (hcm->h2.session != NULL && proxy_conn_is_backlogged(hcm->downstream->conn))
        proxy_h2_hold(hcm->h2.session);
}

static bool on_stream(void *owner, struct proxy_stream *stream)
{
    struct proxy_hcm *hcm = owner;
    if (!hcm_on_stream(hcm, stream))
        return false;
    hcm->h2.started++;
    if (hcm->closing)
        hcm_h2_drain(hcm);
    return true;
}

static void on_room(void *owner)
{
    look_whether_idle(owner);
}

static void on_goaway(void *owner)
{
    struct proxy_hcm *hcm = owner;
    hcm->closing = true;
    look_whether_idle(hcm);
}

static void on_fault(void *owner, enum proxy_h2_error error)
{
    const struct proxy_hcm *hcm = owner;
    proxy_stats_parse_error(hcm->downstream->data->options.stats, PROXY_SIDE_DOWNSTREAM, proxy_h2_error_word(error));
}

static void on_over(void *owner, enum proxy_h2_error error)
{
    struct proxy_hcm *hcm = owner;
    if (hcm->ended)
        return;
    if (error != PROXY_H2_ERROR_NONE && error != PROXY_H2_ERROR_PEER && error != PROXY_H2_ERROR_MEMORY) {
        hcm->downstream->details = proxy_h2_error_word(error);
        on_fault(hcm, error);
    }
    hcm_end(hcm, PROXY_CLOSE_FLUSH);
}

static const struct proxy_h2_owner session_ops = {
    .send = send_bytes,
    .on_stream = on_stream,
    .on_room = on_room,
    .on_goaway = on_goaway,
    .on_over = on_over,
    .on_fault = on_fault,
};

/* --- what the connection says ------------------------------------------------------------------------------------ */

static void go_on(struct fl_timer *timer)
{
    struct proxy_hcm *hcm = FL_CONTAINER_OF(timer, struct proxy_hcm, h2.breath);
    proxy_conn_resume(hcm->downstream->conn);
}

/* One connection does not keep a worker from the others: what would begin too many requests waits for the next turn. */
size_t hcm_h2_data(struct proxy_hcm *hcm, struct fl_span bytes)
{
    size_t used = 0;
    hcm->h2.started = 0;
    while (used < bytes.len && !hcm->ended) {
        struct fl_span slice = fl_span_from(bytes, used);
        if (hcm->h2.started >= PROXY_HCM_STREAMS) {
            proxy_conn_pause(hcm->downstream->conn);
            fl_timer_set(hcm_loop(hcm), &hcm->h2.breath, 0, go_on);
            break;
        }
        /* Bodies come in large pieces, and in few: small ones are cut only where requests begin. */
        if (hcm->h2.started > 0 && slice.len > SLICE)
            slice.len = SLICE;
        else if (slice.len > 16 * SLICE)
            slice.len = 16 * SLICE;
        proxy_h2_feed(hcm->h2.session, slice, now_ms(hcm));
        used += slice.len;
    }
    set_tick(hcm);
    return hcm->ended ? bytes.len : used;
}

static size_t on_data(void *owner, struct fl_span bytes)
{
    return hcm_h2_data(owner, bytes);
}

static void end_session(struct proxy_hcm *hcm, enum proxy_reset why, const char *error)
{
    proxy_h2_end(hcm->h2.session, why, error);
    while (hcm->exchanges != NULL) /* all have heard of it */
        proxy_exchange_cut(hcm->exchanges, PROXY_FLAG_DOWNSTREAM_CLOSE, "downstream_remote_disconnect");
}

static void on_eof(void *owner)
{
    end_session(owner, PROXY_RESET_EOF, proxy_reset_text(PROXY_RESET_EOF));
    hcm_end(owner, PROXY_CLOSE_FLUSH);
}

static void on_closed(void *owner, enum proxy_end end)
{
    end_session(owner, PROXY_RESET_CONNECTION, proxy_end_text(end));
    hcm_end(owner, PROXY_CLOSE_NOW);
}

static void on_writable(void *owner)
{
    struct proxy_hcm *hcm = owner;
    proxy_h2_release(hcm->h2.session);
}

static void on_open(void *owner)
{
    (void)owner;
}

static const struct proxy_conn_ops conn_ops = {
    .on_open = on_open,
    .on_data = on_data,
    .on_eof = on_eof,
    .on_writable = on_writable,
    .on_closed = on_closed,
};

/* --- life ------------------------------------------------------------------------------------------------------- */

int hcm_h2_start(struct proxy_hcm *hcm)
{
    struct proxy_data *data = hcm->downstream->data;
    const struct proxy_hcm_config *config = hcm->config;
    struct proxy_h2_options options = {
        .server = true,
        .settings = config->h2,
        .high = hcm->downstream->listener->buffer_limit_bytes,
        .pool = &data->turn.pool,
        .message = &data->request,
        .trailers = &data->trailers,
        .ops = &session_ops,
        .owner = hcm,
    };
    if (options.settings.head_max == 0)
        options.settings.head_max = config->max_head_bytes;
    if (options.settings.headers_max == 0)
        options.settings.headers_max = config->max_header_count;
    if (options.settings.flush_ms == 0)
        options.settings.flush_ms =
            (uint32_t)(config->stream_idle_timeout_ms < UINT32_MAX ? config->stream_idle_timeout_ms : UINT32_MAX);
    if (hcm->restored) { /* the other sidecar's clients share it; HTTP/1.0 knows no host */
        options.settings.bare_authority = true;
        options.settings.reset_burst = PROXY_HCM_SHARED_RESETS;
        options.settings.reset_rate = PROXY_HCM_SHARED_RESETS / 10;
    }
    int result = proxy_h2_new(&options, now_ms(hcm), &hcm->h2.session);
    if (result < 0)
        return result;
    hcm->version = PROXY_HCM_H2;
    proxy_conn_set_owner(hcm->downstream->conn, &conn_ops, hcm);
    set_tick(hcm);
    return 0;
}

void hcm_h2_done(struct proxy_hcm *hcm)
{
    if (proxy_h2_streams(hcm->h2.session) > 0) /* tunnels: exchanges are over */
        proxy_h2_end(hcm->h2.session, PROXY_RESET_CONNECTION, proxy_reset_text(PROXY_RESET_CONNECTION));
    fl_timer_cancel(&hcm->h2.tick);
    fl_timer_cancel(&hcm->h2.breath);
    fl_timer_cancel(&hcm->h2.grace);
    proxy_h2_drain(hcm->h2.session, true);
    /* Answers whose exchange is over may have been waiting for the client's window. */
    proxy_h2_end(hcm->h2.session, PROXY_RESET_CANCELLED, proxy_reset_text(PROXY_RESET_CANCELLED));
}

void hcm_h2_free(struct proxy_hcm *hcm)
{
    hcm->h2.session = proxy_h2_free(hcm->h2.session);
}
