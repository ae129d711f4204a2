#include "proxy/filter/hcm.h"

#include "common/mesh/alpn.h"
#include "proxy/filter/chain.h"
#include "proxy/filter/hbone.h"
#include "proxy/filter/hcm_inner.h"
#include "proxy/filter/rbac.h"
#include "proxy/net/detect.h"
#include "proxy/tls/filter.h"

#include <errno.h>

struct fl_loop *hcm_loop(const struct proxy_hcm *hcm)
{
    return hcm->downstream->data->turn.loop;
}

/* --- between requests ------------------------------------------------------------------------------------------- */

static void release(struct fl_deferred *deferred)
{
    struct proxy_hcm *hcm = FL_CONTAINER_OF(deferred, struct proxy_hcm, deferred);
    if (hcm->version == PROXY_HCM_H2)
        hcm_h2_free(hcm);
    free(hcm);
}

void hcm_end(struct proxy_hcm *hcm, enum proxy_close how)
{
    struct proxy_downstream *downstream = hcm->downstream;
    if (hcm->ended)
        return;
    hcm->ended = true;
    fl_timer_cancel(&hcm->timer);
    if (hcm->version == PROXY_HCM_H1)
        proxy_h1_server_done(&hcm->h1);
    else if (hcm->version == PROXY_HCM_H2)
        hcm_h2_done(hcm);
    proxy_conn_close(fl_take(downstream->conn), how);
    fl_loop_defer(downstream->data->turn.loop, &hcm->deferred, release);
    proxy_downstream_end(downstream);
}

static void idle_is_over(struct fl_timer *timer)
{
    hcm_end(FL_CONTAINER_OF(timer, struct proxy_hcm, timer), PROXY_CLOSE_FLUSH);
}

/* Answers are done with when they are written; a client that does not take the rest of them has a stream's idle time
 * for each step. */
static void look_whether_it_is_taken(struct fl_timer *timer)
{
    struct proxy_hcm *hcm = FL_CONTAINER_OF(timer, struct proxy_hcm, timer);
    uint64_t idle_ms = hcm->config->idle_timeout_ms, passed_ms = hcm->config->stream_idle_timeout_ms;
    size_t unsent = proxy_conn_unsent(hcm->downstream->conn);
    if (unsent == 0 && idle_ms > passed_ms) { /* as it should be: idle since then */
        fl_timer_set(hcm_loop(hcm), timer, idle_ms - passed_ms, idle_is_over);
        return;
    }
    if (unsent < hcm->unsent) {
        hcm_wait(hcm);
        return;
    }
    hcm->downstream->details = "send_timeout";
    proxy_stats_parse_error(hcm->downstream->data->options.stats, PROXY_SIDE_DOWNSTREAM, "send_timeout");
    hcm_end(hcm, PROXY_CLOSE_RESET);
}

void hcm_wait(struct proxy_hcm *hcm)
{
    uint64_t timeout_ms = hcm->config->idle_timeout_ms, stream_ms = hcm->config->stream_idle_timeout_ms;
    hcm->unsent = proxy_conn_unsent(hcm->downstream->conn);
    if (hcm->closing && (timeout_ms == 0 || timeout_ms > PROXY_HCM_DRAIN_IDLE_MS))
        timeout_ms = PROXY_HCM_DRAIN_IDLE_MS;
    fl_timer_cancel(&hcm->timer);
    hcm->head_begun = false;
    if (hcm->unsent > 0 && stream_ms > 0 && (timeout_ms == 0 || stream_ms < timeout_ms))
        fl_timer_set(hcm_loop(hcm), &hcm->timer, stream_ms, look_whether_it_is_taken);
    else if (timeout_ms > 0)
        fl_timer_set(hcm_loop(hcm), &hcm->timer, timeout_ms, idle_is_over);
}

/* --- a request begins ------------------------------------------------------------------------------------------- */

static bool is_last(const struct proxy_hcm *hcm)
{
    const struct proxy_hcm_config *config = hcm->config;
    uint64_t age_ms = (fl_loop_now_ns(hcm_loop(hcm)) - hcm->downstream->start_ns) / 1000000;
    return hcm->closing || hcm->downstream->data->leaving ||
           (config->max_requests_per_connection > 0 && hcm->requests >= config->max_requests_per_connection) ||
           (config->max_connection_duration_ms > 0 && age_ms >= config->max_connection_duration_ms);
}

bool hcm_is_last_answer(const struct proxy_hcm *hcm)
{
    return hcm->version == PROXY_HCM_H1 && (hcm->closing || hcm->downstream->data->leaving);
}

bool hcm_on_stream(struct proxy_hcm *hcm, struct proxy_stream *stream)
{
    fl_timer_cancel(&hcm->timer);
    hcm->head_begun = false;
    if (hcm->config->tunnel != NULL ? !proxy_hbone_take(hcm->downstream, stream) : !proxy_exchange_begin(hcm, stream))
        return false;
    hcm->requests++;
    proxy_slot_touch(hcm->downstream->listener->slot, fl_loop_now_ms(hcm_loop(hcm)));
    hcm->closing = is_last(hcm);
    return true;
}

/* --- which version ---------------------------------------------------------------------------------------------- */

static const struct fl_span preface = FL_SPAN("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

static void look_is_late(struct fl_timer *timer)
{
    struct proxy_hcm *hcm = FL_CONTAINER_OF(timer, struct proxy_hcm, timer);
    hcm_h1_start(hcm);
    proxy_h1_server_late(&hcm->h1);
}

static void start_h2(struct proxy_hcm *hcm)
{
    if (hcm_h2_start(hcm) < 0)
        hcm_end(hcm, PROXY_CLOSE_RESET);
}

/* The first bytes of a connection that nothing else tells the version of: a client with prior knowledge begins HTTP/2
 * with its preface, which is no request of HTTP/1. */
static size_t look(void *owner, struct fl_span bytes)
{
    struct proxy_hcm *hcm = owner;
    size_t len = bytes.len < preface.len ? bytes.len : preface.len;
    if (memcmp(bytes.data, preface.data, len) != 0) {
        hcm_h1_start(hcm);
        return proxy_h1_server_data(&hcm->h1, bytes);
    }
    if (len < preface.len) { /* more of it has to come, in the time of a head */
        if (!hcm->head_begun && hcm->config->request_headers_timeout_ms > 0)
            fl_timer_set(hcm_loop(hcm), &hcm->timer, hcm->config->request_headers_timeout_ms, look_is_late);
        hcm->head_begun = true;
        return 0;
    }
    hcm_wait(hcm);
    start_h2(hcm);
    return hcm->ended ? bytes.len : hcm_h2_data(hcm, bytes);
}

static void look_eof(void *owner)
{
    hcm_end(owner, PROXY_CLOSE_FLUSH);
}

static void look_closed(void *owner, enum proxy_end end)
{
    (void)end;
    hcm_end(owner, PROXY_CLOSE_NOW);
}

static void nothing(void *owner)
{
    (void)owner;
}

static const struct proxy_conn_ops look_ops = {
    .on_open = nothing,
    .on_data = look,
    .on_eof = look_eof,
    .on_writable = nothing,
    .on_closed = look_closed,
};

/* By the setting, else by what TLS agreed on, else by what the first bytes were or will be. */
static enum proxy_hcm_version version_of(const struct proxy_hcm *hcm, struct fl_span alpn)
{
    if (hcm->restored)
        return PROXY_HCM_H2;
    if (hcm->config->codec == PROXY_CODEC_HTTP1)
        return PROXY_HCM_H1;
    if (hcm->config->codec == PROXY_CODEC_HTTP2)
        return PROXY_HCM_H2;
    if (fl_span_eq_str(alpn, "h2") || fl_span_eq_str(alpn, "istio-h2"))
        return PROXY_HCM_H2;
    if (alpn.len > 0)
        return PROXY_HCM_H1;
    return hcm->downstream->seen == PROXY_DETECT_HTTP1 ? PROXY_HCM_H1 : PROXY_HCM_UNDECIDED;
}

/* --- life ------------------------------------------------------------------------------------------------------- */

static void drain(void *filter)
{
    struct proxy_hcm *hcm = filter;
    hcm->closing = true;
    if (hcm->version == PROXY_HCM_H2)
        hcm_h2_drain(hcm);
    else if (hcm->exchanges == NULL && !hcm->head_begun)
        hcm_wait(hcm);
}

/* The first one is taken as long as there is one: others may go with it. */
static void cut_all(struct proxy_hcm *hcm, uint32_t flag, const char *details)
{
    while (hcm->exchanges != NULL)
        proxy_exchange_cut(hcm->exchanges, flag, details);
}

static void abort_now(void *filter)
{
    struct proxy_hcm *hcm = filter;
    cut_all(hcm, PROXY_FLAG_LOCAL_RESET, "drain_time_over");
    hcm_end(hcm, PROXY_CLOSE_FLUSH);
}

/* The new chain's policies over what is under way: a request that is denied now gets its answer, or is cut. */
static void judge_again(struct proxy_hcm *hcm, const struct proxy_filter_chain *chain)
{
    const char *details = NULL;
    if (!proxy_rbac_connection(hcm->downstream, chain, &details)) {
        cut_all(hcm, PROXY_FLAG_UNAUTHORIZED, details);
        hcm->downstream->details = details;
        hcm_end(hcm, PROXY_CLOSE_RESET);
        return;
    }
    for (struct proxy_exchange_run *one = hcm->exchanges, *next; one != NULL && !hcm->ended; one = next) {
        next = one->next; /* one that is denied takes no other with it, but the connection */
        (void)!proxy_chain_again(one, chain->http);
    }
}

static void rebind(void *filter, const struct proxy_filter_chain *chain)
{
    struct proxy_hcm *hcm = filter;
    judge_again(hcm, chain);
    if (hcm->ended)
        return;
    hcm->config = chain->http;
    if (hcm->version == PROXY_HCM_H1)
        hcm->h1.options.limits = hcm_h1_limits(hcm->config);
}

static const struct proxy_downstream_ops ops = {.drain = drain, .abort = abort_now, .rebind = rebind};

int proxy_hcm_start(struct proxy_downstream *downstream)
{
    struct proxy_hcm *hcm = calloc(1, sizeof(*hcm));
    if (hcm == NULL)
        return -ENOMEM;
    hcm->downstream = downstream;
    hcm->config = downstream->chain->http;
    const struct proxy_tls *tls = proxy_tls_of(downstream->conn);
    struct fl_span alpn = tls != NULL ? proxy_tls_alpn(tls) : (struct fl_span){NULL, 0};
    hcm->restored = fl_span_eq_str(alpn, FL_ALPN_HTTP);
    enum proxy_hcm_version version = version_of(hcm, alpn);
    if (version == PROXY_HCM_H2 && hcm_h2_start(hcm) < 0) {
        free(hcm);
        return -ENOMEM;
    }
    downstream->ops = &ops;
    downstream->filter = hcm;
    if (version == PROXY_HCM_H1)
        hcm_h1_start(hcm);
    else if (version == PROXY_HCM_UNDECIDED)
        proxy_conn_set_owner(downstream->conn, &look_ops, hcm);
    hcm_wait(hcm);
    return 0;
}
