/* The upstream's side of an exchange: which cluster, the request's bytes, and what comes back. */
#include "proxy/filter/attempt.h"
#include "proxy/filter/forward.h"
#include "proxy/filter/hcm_inner.h"
#include "proxy/filter/head.h"
#include "proxy/filter/label.h"
#include "proxy/filter/report.h"
#include "proxy/http/h1_write.h"
#include "proxy/tls/filter.h"

#include <errno.h>

static struct proxy_data *data_of(const struct proxy_exchange_run *exchange)
{
    return exchange->data;
}

static struct proxy_conn *upstream_of(const struct proxy_exchange_run *exchange)
{
    return exchange->upstream != NULL ? exchange->upstream->conn : NULL;
}

static void touch(struct proxy_exchange_run *exchange)
{
    exchange->active_ns = fl_loop_now_ns(data_of(exchange)->turn.loop);
}

/* --- time ------------------------------------------------------------------------------------------------------- */

static void on_timeout(struct fl_timer *timer)
{
    struct proxy_exchange_run *exchange = FL_CONTAINER_OF(timer, struct proxy_exchange_run, timeout);
    proxy_attempt_report(exchange, PROXY_OUTLIER_FAILED);
    proxy_exchange_reply(exchange, 504, PROXY_FLAG_UPSTREAM_TIMEOUT, "response_timeout", "upstream request timeout",
                         NULL, 0);
}

static uint64_t idle_ms(const struct proxy_exchange_run *exchange)
{
    const struct proxy_route *route = exchange->found.route;
    if (route != NULL && route->idle_timeout_ms != PROXY_TIMEOUT_UNSET)
        return route->idle_timeout_ms;
    return proxy_exchange_config(exchange)->stream_idle_timeout_ms;
}

static void on_stream_idle(struct fl_timer *timer)
{
    struct proxy_exchange_run *exchange = FL_CONTAINER_OF(timer, struct proxy_exchange_run, idle);
    uint64_t idle = (fl_loop_now_ns(data_of(exchange)->turn.loop) - exchange->active_ns) / 1000000;
    if (idle < idle_ms(exchange)) {
        fl_timer_set(data_of(exchange)->turn.loop, timer, idle_ms(exchange) - idle, on_stream_idle);
        return;
    }
    proxy_exchange_reply(exchange, exchange->request_done ? 504 : 408, PROXY_FLAG_STREAM_IDLE_TIMEOUT,
                         "stream_idle_timeout", "stream timeout", NULL, 0);
}

static void on_request_late(struct fl_timer *timer)
{
    struct proxy_exchange_run *exchange = FL_CONTAINER_OF(timer, struct proxy_exchange_run, timeout);
    proxy_exchange_reply(exchange, 408, PROXY_FLAG_DOWNSTREAM_PROTOCOL_ERROR, "request_overall_timeout", NULL, NULL, 0);
}

/* The route's timeout counts from the end of the request, as Envoy's does. */
static void start_response_timeout(struct proxy_exchange_run *exchange)
{
    const struct proxy_route *route = exchange->found.route;
    uint32_t timeout_ms = route->timeout_ms == PROXY_TIMEOUT_UNSET ? PROXY_HCM_TIMEOUT_MS : route->timeout_ms;
    fl_timer_cancel(&exchange->timeout);
    if (timeout_ms > 0)
        fl_timer_set(data_of(exchange)->turn.loop, &exchange->timeout, timeout_ms, on_timeout);
}

static void start_timers(struct proxy_exchange_run *exchange)
{
    struct fl_loop *loop = data_of(exchange)->turn.loop;
    if (idle_ms(exchange) > 0)
        fl_timer_set(loop, &exchange->idle, idle_ms(exchange), on_stream_idle);
    if (exchange->request_done)
        start_response_timeout(exchange);
    else if (proxy_exchange_config(exchange)->request_timeout_ms > 0)
        fl_timer_set(loop, &exchange->timeout, proxy_exchange_config(exchange)->request_timeout_ms, on_request_late);
}

/* --- the answer ------------------------------------------------------------------------------------------------- */

static struct fl_span last_chunk(struct proxy_data *data, const struct proxy_headers *trailers)
{
    if (trailers != NULL && proxy_h1_last_chunk_bound(trailers) > PROXY_TURN_WORK)
        trailers = NULL;
    return fl_span_make(data->turn.work, proxy_h1_write_last_chunk(trailers, data->turn.work));
}

static void bad_response(struct proxy_exchange_run *exchange, enum proxy_h1_error error)
{
    const struct proxy_try one = {.outcome = PROXY_TRY_BROKEN, .sent = true};
    proxy_stats_parse_error(data_of(exchange)->options.stats, PROXY_SIDE_UPSTREAM, proxy_h1_error_word(error));
    proxy_attempt_report(exchange, PROXY_OUTLIER_FAILED);
    if (!proxy_attempt_again(exchange, &one))
        proxy_exchange_reply(exchange, 502, PROXY_FLAG_UPSTREAM_PROTOCOL_ERROR, proxy_h1_error_word(error),
                             "upstream protocol error", NULL, 0);
}

/* Whether a final head is not what the client gets: another try is on its way. */
static bool is_tried_again(struct proxy_exchange_run *exchange, const struct proxy_message *response)
{
    const struct proxy_try one = {.outcome = PROXY_TRY_ANSWERED, .sent = true, .response = response};
    proxy_attempt_report(exchange, proxy_outlier_event_of(response->status));
    return proxy_attempt_again(exchange, &one);
}

static int change_head(const struct proxy_exchange_run *exchange, struct proxy_message *response)
{
    int result =
        proxy_route_rewrite_response(proxy_forward_routes(exchange), &exchange->found, exchange->weighted, response);
    return result == 0 ? proxy_head_response(exchange, response) : result;
}

/* What the client sent ahead of the switch, and what has kept it from sending more. */
static void begin_tunnel(struct proxy_exchange_run *exchange)
{
    struct proxy_pool *pool = &data_of(exchange)->turn.pool;
    exchange->tunnel = true;
    fl_timer_cancel(&exchange->timeout);
    while (exchange->early.bytes > 0) {
        struct fl_span front = proxy_queue_front(&exchange->early);
        proxy_router_body(exchange, front);
        proxy_queue_consume(&exchange->early, pool, front.len);
    }
    if (exchange->request_eof)
        proxy_router_tunnel_end(exchange);
    proxy_stream_resume(exchange->client);
}

static void take_final(struct proxy_exchange_run *exchange, const struct proxy_message *response)
{
    exchange->status = response->status;
    exchange->grpc_status = proxy_retry_grpc_status(&response->headers);
    exchange->upstream_keep = response->keep_alive;
    exchange->answered = true;
    proxy_h1_body_init(&exchange->response_body, response);
    exchange->client->last = exchange->hcm->closing || data_of(exchange)->leaving; /* a drain may be known only now */
}

/* A response head to the client. False: nothing more is to be read, the exchange is over or tried again. */
static bool pass_head(struct proxy_exchange_run *exchange)
{
    struct proxy_message *response = &data_of(exchange)->response;
    if (proxy_message_is_interim(response)) {
        proxy_attempt_forget(exchange);
        proxy_stream_send_head(exchange->client, response, false);
        return true;
    }
    if (is_tried_again(exchange, response))
        return false;
    proxy_attempt_settle(exchange);
    if (change_head(exchange, response) < 0) {
        proxy_exchange_reply(exchange, 502, 0, "response_headers_too_many", NULL, NULL, 0);
        return false;
    }
    take_final(exchange, response);
    bool tunnel = response->upgrade;
    exchange->response_ended = !tunnel && proxy_h1_body_done(&exchange->response_body);
    proxy_stream_send_head(exchange->client, response, exchange->response_ended);
    if (tunnel)
        begin_tunnel(exchange);
    return true;
}

/* Heads, until the final one. Returns the bytes used; the exchange may be over. */
static size_t read_heads(struct proxy_exchange_run *exchange, struct fl_span bytes)
{
    static const struct proxy_h1_limits limits = {0}; /* the codec's own */
    struct proxy_data *data = data_of(exchange);
    size_t used = 0;
    while (!exchange->answered && used < bytes.len) {
        size_t size = 0;
        int result = proxy_h1_parse_response(&exchange->parser, fl_span_from(bytes, used), &limits, &exchange->kept,
                                             &data->response, &size);
        if (result == PROXY_H1_MORE)
            return used;
        if (result != PROXY_H1_DONE) {
            bad_response(exchange, exchange->parser.error);
            return bytes.len;
        }
        used += size;
        if (!pass_head(exchange))
            return bytes.len;
    }
    return used;
}

static void answer_is_complete(struct proxy_exchange_run *exchange, bool more_behind)
{
    /* Bytes behind the answer belong to nothing: such a connection is not used again. */
    bool clean = exchange->upstream_keep && exchange->request_done && !more_behind && !exchange->tunnel;
    proxy_exchange_done(exchange, clean);
}

static size_t read_answer(struct proxy_exchange_run *exchange, struct fl_span bytes)
{
    struct proxy_data *data = data_of(exchange);
    struct fl_span rest = bytes, part;
    int result;
    while ((result = proxy_h1_body_decode(&exchange->response_body, &rest, &data->trailers, &part)) == PROXY_H1_DATA) {
        exchange->response_body_bytes += part.len;
        proxy_stream_send_data(exchange->client, part);
    }
    if (result == PROXY_H1_DONE) {
        bool trailers = exchange->response_body.framing == PROXY_FRAMING_CHUNKED;
        if (trailers && exchange->grpc_status < 0)
            exchange->grpc_status = proxy_retry_grpc_status(&data->trailers);
        if (!exchange->response_ended)
            proxy_stream_send_end(exchange->client, trailers ? &data->trailers : NULL);
        answer_is_complete(exchange, rest.len > 0);
        return bytes.len;
    }
    if (result != PROXY_H1_MORE) {
        bad_response(exchange, exchange->response_body.error);
        return bytes.len;
    }
    return bytes.len - rest.len;
}

static size_t on_data(void *owner, struct fl_span bytes)
{
    struct proxy_exchange_run *exchange = owner;
    size_t used = 0;
    touch(exchange);
    if (!exchange->answer_begun) {
        exchange->answer_begun = true;
        exchange->first_byte_ns = exchange->active_ns;
    }
    if (!exchange->answered)
        used = read_heads(exchange, bytes);
    if (exchange->over || !exchange->answered)
        return used;
    if (exchange->tunnel) {
        exchange->response_body_bytes += bytes.len - used;
        proxy_stream_send_data(exchange->client, fl_span_from(bytes, used));
        used = bytes.len;
    } else {
        used += read_answer(exchange, fl_span_from(bytes, used));
    }
    if (!exchange->over && proxy_stream_is_backlogged(exchange->client))
        proxy_conn_pause(upstream_of(exchange));
    return used;
}

/* --- the upstream's end ----------------------------------------------------------------------------------------- */

/* It ended before a whole head had come. nothing_left: the request was still ours alone. */
static void ended_without_answer(struct proxy_exchange_run *exchange, bool nothing_left)
{
    const struct proxy_try one = {.outcome = exchange->upstream_opened ? PROXY_TRY_BROKEN : PROXY_TRY_NOT_CONNECTED,
                                  .sent = !nothing_left};
    if (proxy_attempt_after_race(exchange, nothing_left))
        return;
    proxy_attempt_report(exchange, PROXY_OUTLIER_FAILED);
    bool opened = exchange->upstream_opened;
    if (proxy_attempt_again(exchange, &one))
        return;
    if (opened)
        proxy_exchange_reply(exchange, 503, PROXY_FLAG_UPSTREAM_CLOSE, "upstream_reset_before_response_started",
                             "upstream connect error or disconnect/reset before headers", NULL, 0);
    else
        proxy_exchange_reply(exchange, 503, PROXY_FLAG_UPSTREAM_CONNECT_FAILURE, "upstream_connect_failure",
                             "upstream connect error", NULL, 0);
}

static void on_eof(void *owner)
{
    struct proxy_exchange_run *exchange = owner;
    struct proxy_conn *conn = upstream_of(exchange);
    exchange->response_eof = true;
    if (exchange->tunnel) {
        proxy_stream_send_end(exchange->client, NULL);
        if (exchange->request_eof)
            proxy_exchange_done(exchange, false);
    } else if (!exchange->answered) {
        ended_without_answer(exchange, proxy_conn_unsent(conn) == proxy_conn_bytes_sent(conn) - exchange->sent_before);
    } else if (proxy_h1_body_eof(&exchange->response_body) == PROXY_H1_DONE) {
        exchange->upstream_keep = false;
        proxy_stream_send_end(exchange->client, NULL);
        answer_is_complete(exchange, false);
    } else {
        proxy_exchange_cut(exchange, PROXY_FLAG_UPSTREAM_CLOSE, "upstream_response_truncated");
    }
}

static void on_closed(void *owner, enum proxy_end end)
{
    struct proxy_exchange_run *exchange = owner;
    struct proxy_conn *conn = upstream_of(exchange);
    proxy_label_failure(exchange->failure, proxy_conn_error(conn));
    proxy_report_upstream_closed(exchange->downstream, exchange->cluster, conn, exchange->upstream_opened, end);
    if (!exchange->answered) {
        ended_without_answer(exchange, false);
        return;
    }
    if (!exchange->tunnel)
        proxy_attempt_report(exchange, PROXY_OUTLIER_FAILED);
    proxy_exchange_cut(exchange, PROXY_FLAG_UPSTREAM_RESET, proxy_end_text(end));
}

static void on_open(void *owner)
{
    struct proxy_exchange_run *exchange = owner;
    exchange->upstream_opened = true;
    proxy_upstream_opened(exchange->upstream);
}

static void on_writable(void *owner)
{
    struct proxy_exchange_run *exchange = owner;
    if (!exchange->upgrade || exchange->tunnel)
        proxy_stream_resume(exchange->client);
}

const struct proxy_conn_ops proxy_router_ops = {
    .on_open = on_open,
    .on_data = on_data,
    .on_eof = on_eof,
    .on_writable = on_writable,
    .on_closed = on_closed,
};

/* --- the request ------------------------------------------------------------------------------------------------ */

void proxy_router_body(struct proxy_exchange_run *exchange, struct fl_span data)
{
    char head[PROXY_H1_CHUNK_HEAD_MAX];
    bool chunked = exchange->request_framing == PROXY_FRAMING_CHUNKED;
    exchange->request_bytes_sent = true;
    if (chunked)
        proxy_attempt_send(exchange, fl_span_make(head, proxy_h1_write_chunk_head(data.len, head)));
    proxy_attempt_send(exchange, data);
    if (chunked)
        proxy_attempt_send(exchange, PROXY_H1_CHUNK_END);
    if (upstream_of(exchange) != NULL && proxy_conn_is_backlogged(upstream_of(exchange)))
        proxy_stream_pause(exchange->client);
}

void proxy_router_tunnel_end(struct proxy_exchange_run *exchange)
{
    if (upstream_of(exchange) != NULL)
        proxy_conn_shutdown(upstream_of(exchange));
    if (exchange->response_eof)
        proxy_exchange_done(exchange, false);
}

void proxy_router_resume(struct proxy_exchange_run *exchange)
{
    if (upstream_of(exchange) != NULL)
        proxy_conn_resume(upstream_of(exchange));
}

void proxy_router_request_done(struct proxy_exchange_run *exchange, const struct proxy_headers *trailers)
{
    exchange->request_bytes_sent = true;
    if (exchange->request_framing == PROXY_FRAMING_CHUNKED)
        proxy_attempt_send(exchange, last_chunk(data_of(exchange), trailers));
    start_response_timeout(exchange);
    proxy_attempt_complete(exchange);
}

static bool is_grpc(const struct proxy_message *request)
{
    return fl_span_starts_with(proxy_headers_value(&request->headers, PROXY_HEADER_CONTENT_TYPE),
                               FL_SPAN("application/grpc"));
}

void proxy_router_begin(struct proxy_exchange_run *exchange)
{
    exchange->is_grpc = is_grpc(&data_of(exchange)->request);
    if (!proxy_forward_prepare(exchange))
        return;
    start_timers(exchange);
    int result = proxy_attempt_connect(exchange, false);
    if (!proxy_forward_head(exchange))
        return;
    if (result != PROXY_UPSTREAM_OK)
        proxy_attempt_not_connected(exchange, result);
    else if (exchange->request_done)
        proxy_attempt_complete(exchange);
}
