#include "proxy/filter/hcm.h"

#include "proxy/filter/chain.h"
#include "proxy/filter/rbac.h"

#include <errno.h>

/* --- between requests ------------------------------------------------------------------------------------------- */

static void release(struct fl_deferred *deferred)
{
    free(FL_CONTAINER_OF(deferred, struct proxy_hcm, deferred));
}

void proxy_hcm_end(struct proxy_hcm *hcm, enum proxy_close how)
{
    struct proxy_downstream *downstream = hcm->downstream;
    fl_timer_cancel(&hcm->timer);
    fl_timer_cancel(&hcm->breath);
    proxy_conn_close(fl_take(downstream->conn), how);
    fl_loop_defer(downstream->data->turn.loop, &hcm->deferred, release);
    proxy_downstream_end(downstream);
}

static void idle_is_over(struct fl_timer *timer)
{
    proxy_hcm_end(FL_CONTAINER_OF(timer, struct proxy_hcm, timer), PROXY_CLOSE_FLUSH);
}

/* The client is slow with its head. */
static void head_is_late(struct fl_timer *timer)
{
    struct proxy_hcm *hcm = FL_CONTAINER_OF(timer, struct proxy_hcm, timer);
    hcm->exchange = proxy_exchange_new(hcm);
    hcm->closing = true;
    if (hcm->exchange == NULL)
        proxy_hcm_end(hcm, PROXY_CLOSE_RESET);
    else
        proxy_exchange_reply(hcm->exchange, 408, PROXY_FLAG_DOWNSTREAM_PROTOCOL_ERROR, "request_headers_timeout", NULL,
                             NULL, 0);
}

static void wait_for_request(struct proxy_hcm *hcm)
{
    uint64_t timeout_ms = hcm->config->idle_timeout_ms;
    if (hcm->closing && (timeout_ms == 0 || timeout_ms > PROXY_HCM_DRAIN_IDLE_MS))
        timeout_ms = PROXY_HCM_DRAIN_IDLE_MS;
    fl_timer_cancel(&hcm->timer);
    hcm->head_begun = false;
    if (timeout_ms > 0)
        fl_timer_set(hcm->downstream->data->turn.loop, &hcm->timer, timeout_ms, idle_is_over);
}

void proxy_hcm_next(struct proxy_hcm *hcm)
{
    wait_for_request(hcm);
    proxy_conn_resume(hcm->downstream->conn);
}

static void wait_for_head(struct proxy_hcm *hcm)
{
    if (hcm->head_begun || hcm->config->request_headers_timeout_ms == 0)
        return;
    hcm->head_begun = true;
    fl_timer_set(hcm->downstream->data->turn.loop, &hcm->timer, hcm->config->request_headers_timeout_ms, head_is_late);
}

/* --- reading requests ------------------------------------------------------------------------------------------- */

static bool is_last(const struct proxy_hcm *hcm)
{
    const struct proxy_downstream *downstream = hcm->downstream;
    const struct proxy_hcm_config *config = hcm->config;
    uint64_t age_ms = (fl_loop_now_ns(downstream->data->turn.loop) - downstream->start_ns) / 1000000;
    return hcm->closing || downstream->data->leaving ||
           (config->max_requests_per_connection > 0 && hcm->requests >= config->max_requests_per_connection) ||
           (config->max_connection_duration_ms > 0 && age_ms >= config->max_connection_duration_ms);
}

/* Starts the request whose head begins `bytes`. Returns how many bytes were the head; 0: it is not all here, or the
 * connection has ended. */
static size_t begin_request(struct proxy_hcm *hcm, struct fl_span bytes)
{
    struct proxy_message *request = &hcm->downstream->data->request;
    size_t size = 0;
    int result = proxy_h1_parse_request(&hcm->parser, bytes, &hcm->limits, request, &size);
    if (result == PROXY_H1_MORE) {
        wait_for_head(hcm);
        return 0;
    }
    fl_timer_cancel(&hcm->timer);
    hcm->head_begun = false;
    if (result != PROXY_H1_DONE) {
        proxy_hcm_refuse(hcm, hcm->parser.error);
        return 0;
    }
    struct proxy_exchange_run *exchange = proxy_exchange_new(hcm);
    if (exchange == NULL) {
        proxy_hcm_end(hcm, PROXY_CLOSE_RESET);
        return 0;
    }
    hcm->exchange = exchange;
    hcm->requests++;
    proxy_slot_touch(hcm->downstream->listener->slot, fl_loop_now_ms(hcm->downstream->data->turn.loop));
    hcm->closing = is_last(hcm);
    exchange->kept = proxy_exchange_of(request);
    exchange->request_head_bytes = size;
    proxy_h1_body_init(&exchange->request_body, request);
    exchange->request_done = proxy_h1_body_done(&exchange->request_body);
    if (exchange->request_done)
        exchange->request_done_ns = exchange->start_ns;
    proxy_router_begin(exchange);
    return size;
}

/* Returns how many bytes it used; the request may be done afterwards, or the exchange gone. */
static size_t read_body(struct proxy_exchange_run *exchange, struct fl_span bytes)
{
    struct proxy_hcm *hcm = exchange->hcm;
    struct proxy_headers *trailers = &hcm->downstream->data->trailers;
    struct fl_span rest = bytes, part;
    int result;
    exchange->active_ns = fl_loop_now_ns(hcm->downstream->data->turn.loop);
    while ((result = proxy_h1_body_decode(&exchange->request_body, &rest, trailers, &part)) == PROXY_H1_DATA) {
        exchange->request_bytes += part.len;
        proxy_router_body(exchange, part);
    }
    if (result == PROXY_H1_DONE) {
        exchange->request_done = true;
        exchange->request_done_ns = exchange->active_ns;
        proxy_router_request_done(exchange, exchange->request_body.framing == PROXY_FRAMING_CHUNKED ? trailers : NULL);
    } else if (result != PROXY_H1_MORE) {
        enum proxy_h1_error error = exchange->request_body.error;
        proxy_stats_parse_error(hcm->downstream->data->options.stats, PROXY_SIDE_DOWNSTREAM, error);
        proxy_exchange_reply(exchange, proxy_h1_error_status(error), PROXY_FLAG_DOWNSTREAM_PROTOCOL_ERROR,
                             proxy_h1_error_word(error), NULL, NULL, 0);
        return bytes.len;
    }
    return bytes.len - rest.len;
}

static void go_on(struct fl_timer *timer)
{
    proxy_conn_resume(FL_CONTAINER_OF(timer, struct proxy_hcm, breath)->downstream->conn);
}

/* Bytes that wait: for the answer that is under way, for the client to read, or for the next turn. */
static void hold(struct proxy_hcm *hcm, bool burst)
{
    proxy_conn_pause(hcm->downstream->conn);
    if (burst)
        fl_timer_set(hcm->downstream->data->turn.loop, &hcm->breath, 0, go_on);
}

static struct proxy_conn *upstream_of(const struct proxy_exchange_run *exchange)
{
    return exchange->upstream != NULL ? exchange->upstream->conn : NULL;
}

static size_t pass_tunnel(struct proxy_exchange_run *exchange, struct fl_span bytes)
{
    exchange->active_ns = fl_loop_now_ns(exchange->hcm->downstream->data->turn.loop);
    exchange->request_bytes += bytes.len;
    if (upstream_of(exchange) != NULL)
        proxy_conn_write(upstream_of(exchange), bytes);
    return bytes.len;
}

static void throttle(struct proxy_hcm *hcm)
{
    const struct proxy_conn *to = hcm->exchange != NULL ? upstream_of(hcm->exchange) : NULL;
    if (to != NULL && proxy_conn_is_backlogged(to))
        proxy_conn_pause(hcm->downstream->conn);
}

static size_t on_data(void *owner, struct fl_span bytes)
{
    struct proxy_hcm *hcm = owner;
    struct proxy_downstream *downstream = hcm->downstream;
    size_t used = 0, started = 0;
    while (used < bytes.len && downstream->conn != NULL) {
        struct fl_span rest = fl_span_from(bytes, used);
        struct proxy_exchange_run *exchange = hcm->exchange;
        if (exchange == NULL) {
            if (started++ == PROXY_HCM_BURST || proxy_conn_is_backlogged(downstream->conn)) {
                hold(hcm, !proxy_conn_is_backlogged(downstream->conn));
                return used;
            }
            size_t head = begin_request(hcm, rest);
            if (head == 0)
                return downstream->conn == NULL ? bytes.len : used;
            used += head;
        } else if (exchange->tunnel) {
            used += pass_tunnel(exchange, rest);
        } else if (!exchange->request_done) {
            size_t part = read_body(exchange, rest);
            used += part;
            if (hcm->exchange == exchange && !exchange->request_done)
                break; /* the rest of a trailer section, if anything, needs more behind it */
        } else {
            hold(hcm, false);
            return used;
        }
    }
    if (downstream->conn != NULL)
        throttle(hcm);
    return downstream->conn != NULL ? used : bytes.len;
}

static void on_eof(void *owner)
{
    struct proxy_hcm *hcm = owner;
    struct proxy_exchange_run *exchange = hcm->exchange;
    if (exchange == NULL) {
        proxy_hcm_end(hcm, PROXY_CLOSE_FLUSH);
        return;
    }
    exchange->request_eof = true;
    if (exchange->tunnel) {
        if (upstream_of(exchange) != NULL)
            proxy_conn_shutdown(upstream_of(exchange));
        if (exchange->response_eof)
            proxy_exchange_done(exchange, false);
    } else if (!exchange->request_done || exchange->kept.keep_alive) {
        proxy_exchange_cut(exchange, PROXY_FLAG_DOWNSTREAM_CLOSE, "downstream_remote_disconnect");
    }
}

static void on_writable(void *owner)
{
    struct proxy_hcm *hcm = owner;
    struct proxy_exchange_run *exchange = hcm->exchange;
    if (exchange == NULL)
        proxy_conn_resume(hcm->downstream->conn);
    else if (upstream_of(exchange) != NULL)
        proxy_conn_resume(upstream_of(exchange));
}

static void on_closed(void *owner, enum proxy_end end)
{
    struct proxy_hcm *hcm = owner;
    (void)end;
    if (hcm->exchange != NULL)
        proxy_exchange_cut(hcm->exchange, PROXY_FLAG_DOWNSTREAM_CLOSE, "downstream_remote_disconnect");
    else
        proxy_hcm_end(hcm, PROXY_CLOSE_NOW);
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

static void drain(void *filter)
{
    struct proxy_hcm *hcm = filter;
    hcm->closing = true;
    if (hcm->exchange == NULL && !hcm->head_begun)
        wait_for_request(hcm);
}

static void abort_now(void *filter)
{
    struct proxy_hcm *hcm = filter;
    if (hcm->exchange != NULL)
        proxy_exchange_cut(hcm->exchange, PROXY_FLAG_LOCAL_RESET, "drain_time_over");
    else
        proxy_hcm_end(hcm, PROXY_CLOSE_FLUSH);
}

/* The new chain's policies over what is under way: a request that is denied now gets its answer, or is cut. */
static void judge_again(struct proxy_hcm *hcm, const struct proxy_filter_chain *chain)
{
    const char *details = NULL;
    if (proxy_rbac_connection(hcm->downstream, chain, &details)) {
        if (hcm->exchange != NULL)
            (void)!proxy_chain_again(hcm->exchange, chain->http);
    } else if (hcm->exchange != NULL) {
        proxy_exchange_cut(hcm->exchange, PROXY_FLAG_UNAUTHORIZED, details);
    } else {
        hcm->downstream->details = details;
        proxy_hcm_end(hcm, PROXY_CLOSE_RESET);
    }
}

static void rebind(void *filter, const struct proxy_filter_chain *chain)
{
    struct proxy_hcm *hcm = filter;
    judge_again(hcm, chain);
    if (hcm->downstream->conn == NULL)
        return;
    hcm->config = chain->http;
    hcm->limits = (struct proxy_h1_limits){.head_max = hcm->config->max_head_bytes,
                                           .headers_max = hcm->config->max_header_count,
                                           .lenient = hcm->config->lenient};
}

static const struct proxy_downstream_ops ops = {.drain = drain, .abort = abort_now, .rebind = rebind};

int proxy_hcm_start(struct proxy_downstream *downstream)
{
    struct proxy_hcm *hcm = calloc(1, sizeof(*hcm));
    if (hcm == NULL)
        return -ENOMEM;
    hcm->downstream = downstream;
    hcm->config = downstream->chain->http;
    hcm->limits = (struct proxy_h1_limits){.head_max = hcm->config->max_head_bytes,
                                           .headers_max = hcm->config->max_header_count,
                                           .lenient = hcm->config->lenient};
    downstream->ops = &ops;
    downstream->filter = hcm;
    proxy_conn_set_owner(downstream->conn, &conn_ops, hcm);
    wait_for_request(hcm);
    return 0;
}
