/* The upstream's side of an exchange: the request to its stream, and what that tells. */
#include "proxy/filter/attempt.h"
#include "proxy/filter/cors.h"
#include "proxy/filter/forward.h"
#include "proxy/filter/grpc.h"
#include "proxy/filter/hcm_inner.h"
#include "proxy/filter/head.h"
#include "proxy/filter/label.h"
#include "proxy/filter/mirror.h"
#include "proxy/filter/report.h"

#define GRPC_TIMEOUT_FOREVER_MS UINT64_C(31536000000) /* a year: no deadline that anybody waits for */
#define GRPC_DEADLINE_SLACK_NS  2000000               /* it is rounded up, and the loop's clock is its turn's */

static struct proxy_data *data_of(const struct proxy_exchange_run *exchange)
{
    return exchange->data;
}

/* NULL: there is none now. */
static struct proxy_stream *upstream_of(const struct proxy_exchange_run *exchange)
{
    return exchange->upstream != NULL ? exchange->upstream->stream : NULL;
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

static void on_duration_over(struct fl_timer *timer)
{
    struct proxy_exchange_run *exchange = FL_CONTAINER_OF(timer, struct proxy_exchange_run, duration);
    proxy_exchange_reply(exchange, 408, PROXY_FLAG_DURATION_TIMEOUT, "max_duration_timeout",
                         "downstream duration timeout", NULL, 0);
}

/* Of the whole exchange: the route's, the client's own word where the route lets that count, or the listener's. 0:
 * none. */
static uint64_t duration_ms(const struct proxy_exchange_run *exchange)
{
    const struct proxy_route *route = exchange->found.route;
    uint64_t asked;
    if (route->grpc_timeout && proxy_grpc_timeout(&data_of(exchange)->request.headers, &asked)) {
        if (route->grpc_timeout_max_ms > 0 && asked > route->grpc_timeout_max_ms)
            asked = route->grpc_timeout_max_ms;
        return asked > route->grpc_timeout_offset_ms ? asked - route->grpc_timeout_offset_ms : asked;
    }
    if (route->max_stream_ms != PROXY_TIMEOUT_UNSET)
        return route->max_stream_ms;
    return proxy_exchange_config(exchange)->max_stream_duration_ms;
}

static void start_timers(struct proxy_exchange_run *exchange)
{
    struct fl_loop *loop = data_of(exchange)->turn.loop;
    if (duration_ms(exchange) > 0)
        fl_timer_set(loop, &exchange->duration, duration_ms(exchange), on_duration_over);
    if (idle_ms(exchange) > 0)
        fl_timer_set(loop, &exchange->idle, idle_ms(exchange), on_stream_idle);
    if (exchange->request_done)
        start_response_timeout(exchange);
    else if (proxy_exchange_config(exchange)->request_timeout_ms > 0)
        fl_timer_set(loop, &exchange->timeout, proxy_exchange_config(exchange)->request_timeout_ms, on_request_late);
}

/* --- the answer ------------------------------------------------------------------------------------------------- */

/* From a peer in the mesh: its app has seen nothing of the request. */
static bool is_unsent(const struct proxy_exchange_run *exchange, struct proxy_message *response)
{
    return proxy_retry_take_unsent(response) && exchange->downstream->listener->direction != PROXY_INBOUND &&
           proxy_label_is_mutual(exchange->upstream->conn);
}

/* Whether a final head is not what the client gets: another try is on its way. */
static bool is_tried_again(struct proxy_exchange_run *exchange, struct proxy_message *response)
{
    const struct proxy_try one = {
        .outcome = PROXY_TRY_ANSWERED, .sent = true, .response = response, .unsent = is_unsent(exchange, response)};
    proxy_attempt_report(exchange, proxy_outlier_event_of(response->status));
    return proxy_attempt_again(exchange, &one);
}

static int change_head(const struct proxy_exchange_run *exchange, struct proxy_message *response)
{
    int result =
        proxy_route_rewrite_response(proxy_forward_routes(exchange), &exchange->found, exchange->weighted, response);
    if (result == 0)
        result = proxy_cors_response(exchange, response);
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
        if (exchange->over)
            return;
        proxy_queue_consume(&exchange->early, pool, front.len);
    }
    if (exchange->request_eof)
        proxy_router_tunnel_end(exchange);
    if (!exchange->over)
        proxy_stream_resume(exchange->client);
}

static bool is_connection_bound(const struct proxy_message *response)
{
    const struct proxy_header *field = NULL;
    const struct fl_span name = FL_SPAN("www-authenticate");
    while (response->status == 401 &&
           (field = proxy_headers_next(&response->headers, PROXY_HEADER_OTHER, name, field)) != NULL) {
        if (proxy_forward_binds_connection(field->value))
            return true;
    }
    return false;
}

static void take_final(struct proxy_exchange_run *exchange, const struct proxy_message *response)
{
    struct proxy_hcm *hcm = exchange->hcm;
    exchange->status = response->status;
    exchange->grpc_status = proxy_retry_grpc_status(&response->headers);
    exchange->answered = true;
    hcm->pinned |= is_connection_bound(response);
    exchange->client->last = hcm_is_last_answer(hcm);
}

static void throttle(struct proxy_exchange_run *exchange)
{
    if (!exchange->over && proxy_stream_is_backlogged(exchange->client))
        proxy_stream_pause(exchange->upstream->stream);
}

static void pass_interim(struct proxy_exchange_run *exchange, struct proxy_message *response)
{
    proxy_attempt_forget(exchange);
    proxy_exchange_send_head(exchange, response, false);
    throttle(exchange);
}

static void on_head(void *user, struct proxy_message *response, bool end)
{
    struct proxy_exchange_run *exchange = user;
    touch(exchange);
    if (exchange->first_byte_ns == 0)
        exchange->first_byte_ns = exchange->active_ns;
    if (proxy_message_is_interim(response)) {
        pass_interim(exchange, response);
        return;
    }
    if (is_tried_again(exchange, response))
        return;
    proxy_attempt_settle(exchange);
    if (change_head(exchange, response) < 0) {
        proxy_exchange_reply(exchange, 502, 0, "response_headers_too_many", NULL, NULL, 0);
        return;
    }
    take_final(exchange, response);
    bool tunnel = response->upgrade;
    proxy_exchange_send_head(exchange, response, end);
    if (exchange->over)
        return;
    if (tunnel)
        begin_tunnel(exchange);
    else if (end)
        proxy_exchange_done(exchange);
    else
        throttle(exchange);
}

static void on_data(void *user, struct fl_span data)
{
    struct proxy_exchange_run *exchange = user;
    touch(exchange);
    exchange->response_body_bytes += data.len;
    proxy_stream_send_data(exchange->client, data);
    throttle(exchange);
}

static void on_end(void *user, struct proxy_headers *trailers)
{
    struct proxy_exchange_run *exchange = user;
    touch(exchange);
    if (trailers != NULL && exchange->grpc_status < 0)
        exchange->grpc_status = proxy_retry_grpc_status(trailers);
    proxy_exchange_send_end(exchange, trailers);
    if (exchange->over)
        return;
    exchange->response_eof = true;
    if (!exchange->tunnel || exchange->request_eof)
        proxy_exchange_done(exchange);
}

/* --- the upstream's end ----------------------------------------------------------------------------------------- */

static void bad_response(struct proxy_exchange_run *exchange, const char *word)
{
    const struct proxy_try one = {.outcome = PROXY_TRY_BROKEN, .sent = true};
    proxy_stats_parse_error(data_of(exchange)->options.stats, PROXY_SIDE_UPSTREAM, word);
    proxy_attempt_report(exchange, PROXY_OUTLIER_FAILED);
    if (!proxy_attempt_again(exchange, &one))
        proxy_exchange_reply(exchange, 502, PROXY_FLAG_UPSTREAM_PROTOCOL_ERROR, word, "upstream protocol error", NULL,
                             0);
}

/* A server that cancels once the time is over that the client gave it: what the client is told is that, as it would
 * have told itself without us (a client that is busy may not have noticed). */
static bool is_past_deadline(const struct proxy_exchange_run *exchange, enum proxy_reset why)
{
    return why == PROXY_RESET_CANCELLED && exchange->grpc_deadline_ns != 0 &&
           fl_loop_now_ns(data_of(exchange)->turn.loop) + GRPC_DEADLINE_SLACK_NS >= exchange->grpc_deadline_ns;
}

/* It ended before a whole head had come. nothing_left: the request was still ours alone. */
static void ended_without_answer(struct proxy_exchange_run *exchange, enum proxy_reset why, bool nothing_left)
{
    bool opened = exchange->upstream->opened;
    bool by_peer = why == PROXY_RESET_CANCELLED || why == PROXY_RESET_INTERNAL || why == PROXY_RESET_HTTP11;
    const struct proxy_try one = {.outcome = opened ? PROXY_TRY_BROKEN : PROXY_TRY_NOT_CONNECTED,
                                  .refused = why == PROXY_RESET_REFUSED,
                                  .sent = !nothing_left};
    if (proxy_attempt_after_race(exchange, why, nothing_left))
        return;
    if (is_past_deadline(exchange, why)) {
        proxy_exchange_reply(exchange, 408, PROXY_FLAG_DURATION_TIMEOUT, "grpc_timeout_reached_upstream",
                             "deadline exceeded", NULL, 0);
        return;
    }
    proxy_attempt_report(exchange, PROXY_OUTLIER_FAILED);
    if (proxy_attempt_again(exchange, &one))
        return;
    if (opened)
        proxy_exchange_reply(exchange, 503, by_peer ? PROXY_FLAG_UPSTREAM_RESET : PROXY_FLAG_UPSTREAM_CLOSE,
                             "upstream_reset_before_response_started",
                             "upstream connect error or disconnect/reset before headers", NULL, 0);
    else
        proxy_attempt_give_up(exchange);
}

/* Within an answer: never a truncated success. */
static void ended_within_answer(struct proxy_exchange_run *exchange, enum proxy_reset why, int end)
{
    exchange->cancelled = why == PROXY_RESET_CANCELLED;
    if (why == PROXY_RESET_EOF) {
        proxy_exchange_cut(exchange, PROXY_FLAG_UPSTREAM_CLOSE, "upstream_response_truncated");
        return;
    }
    if (!exchange->tunnel)
        proxy_attempt_report(exchange, PROXY_OUTLIER_FAILED);
    proxy_exchange_cut(exchange, PROXY_FLAG_UPSTREAM_RESET,
                       end >= 0 ? proxy_end_text((enum proxy_end)end) : proxy_reset_text(why));
}

static void on_reset(void *user, enum proxy_reset why)
{
    struct proxy_exchange_run *exchange = user;
    struct proxy_upstream *upstream = exchange->upstream;
    int end = proxy_upstream_end(upstream);
    if (end >= 0 && upstream->conn != NULL) {
        proxy_label_failure(exchange->failure, proxy_conn_error(upstream->conn));
        proxy_report_upstream_closed(exchange->downstream, exchange->cluster, upstream->conn, upstream->opened,
                                     (enum proxy_end)end);
    }
    bool nothing_left =
        why == PROXY_RESET_REFUSED || (end < 0 && proxy_stream_unsent(upstream->stream) == upstream->stream->sent);
    if (why == PROXY_RESET_PROTOCOL)
        bad_response(exchange, proxy_stream_error(upstream->stream));
    else if (!exchange->answered)
        ended_without_answer(exchange, why, nothing_left);
    else
        ended_within_answer(exchange, why, end);
}

static void on_open(void *user)
{
    (void)user; /* upstream->opened says so */
}

static void on_writable(void *user)
{
    struct proxy_exchange_run *exchange = user;
    if (!exchange->upgrade || exchange->tunnel)
        proxy_stream_resume(exchange->client);
}

const struct proxy_stream_events proxy_router_events = {
    .on_open = on_open,
    .on_head = on_head,
    .on_data = on_data,
    .on_end = on_end,
    .on_writable = on_writable,
    .on_reset = on_reset,
};

/* --- the request ------------------------------------------------------------------------------------------------ */

void proxy_router_body(struct proxy_exchange_run *exchange, struct fl_span data)
{
    exchange->request_bytes_sent = true;
    proxy_mirror_body(exchange, data);
    proxy_attempt_send(exchange, data);
    if (upstream_of(exchange) != NULL && proxy_stream_is_backlogged(upstream_of(exchange)))
        proxy_stream_pause(exchange->client);
}

void proxy_router_request_done(struct proxy_exchange_run *exchange, struct proxy_headers *trailers)
{
    exchange->request_bytes_sent = true;
    proxy_attempt_send_end(exchange, trailers);
    if (exchange->over)
        return;
    start_response_timeout(exchange);
    proxy_attempt_complete(exchange);
    proxy_mirror_complete(exchange, trailers);
}

void proxy_router_tunnel_end(struct proxy_exchange_run *exchange)
{
    if (upstream_of(exchange) != NULL)
        proxy_stream_send_end(upstream_of(exchange), NULL);
    if (exchange->response_eof && !exchange->over)
        proxy_exchange_done(exchange);
}

void proxy_router_resume(struct proxy_exchange_run *exchange)
{
    if (upstream_of(exchange) != NULL)
        proxy_stream_resume(upstream_of(exchange));
}

static void know_grpc(struct proxy_exchange_run *exchange)
{
    const struct proxy_headers *headers = &data_of(exchange)->request.headers;
    uint64_t timeout_ms;
    exchange->is_grpc = proxy_grpc_is(headers);
    if (exchange->is_grpc && proxy_grpc_timeout(headers, &timeout_ms) && timeout_ms < GRPC_TIMEOUT_FOREVER_MS)
        exchange->grpc_deadline_ns = exchange->start_ns + timeout_ms * 1000000;
}

void proxy_router_begin(struct proxy_exchange_run *exchange)
{
    know_grpc(exchange);
    if (data_of(exchange)->turn.shed == PROXY_SHED_REFUSE) {
        proxy_exchange_keep_texts(exchange);
        proxy_stats_shed_request(data_of(exchange)->options.stats);
        proxy_exchange_reply(exchange, 503, PROXY_FLAG_OVERLOAD, "memory_ceiling", NULL, NULL, 0);
        return;
    }
    if (!proxy_forward_prepare(exchange))
        return;
    start_timers(exchange);
    proxy_mirror_begin(exchange);
    int result = proxy_attempt_connect(exchange, false);
    proxy_attempt_head(exchange);
    if (exchange->over)
        return;
    if (result != PROXY_UPSTREAM_OK)
        proxy_attempt_not_connected(exchange, result);
    else if (exchange->request_done)
        proxy_attempt_complete(exchange);
    if (exchange->request_done && !exchange->over)
        proxy_mirror_complete(exchange, NULL);
}
