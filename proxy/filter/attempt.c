#include "proxy/filter/attempt.h"

#include "proxy/filter/forward.h"
#include "proxy/filter/hcm_inner.h"
#include "proxy/filter/report.h"

static struct proxy_data *data_of(const struct proxy_exchange_run *exchange)
{
    return exchange->data;
}

static const struct proxy_retry_policy *policy_of(const struct proxy_exchange_run *exchange)
{
    return exchange->found.route != NULL ? exchange->found.route->retry : NULL;
}

/* --- what is kept ----------------------------------------------------------------------------------------------- */

static size_t kept_size(const struct proxy_attempt *attempt)
{
    return attempt->body.len + (attempt->head != NULL ? proxy_kept_message_size(attempt->head) : 0) +
           (attempt->trailers != NULL ? proxy_kept_message_size(attempt->trailers) : 0);
}

void proxy_attempt_forget(struct proxy_exchange_run *exchange)
{
    struct proxy_attempt *attempt = &exchange->attempt;
    data_of(exchange)->kept_bytes -= kept_size(attempt);
    fl_buf_done(&attempt->body);
    free(fl_take(attempt->head));
    free(fl_take(attempt->trailers));
    attempt->keeping = false;
}

/* There is no try to come that would need it. */
static void let_go(struct proxy_exchange_run *exchange)
{
    exchange->attempt.overflowed = exchange->upstream == NULL;
    proxy_attempt_forget(exchange);
}

static bool has_room(const struct proxy_exchange_run *exchange, size_t size)
{
    return data_of(exchange)->kept_bytes + size <= PROXY_ATTEMPT_KEPT_MAX;
}

static void keep_message(struct proxy_exchange_run *exchange, const struct proxy_message *message,
                         struct proxy_kept_message **to)
{
    struct proxy_kept_message *kept;
    if (proxy_message_keep(message, &kept) < 0) {
        let_go(exchange);
    } else if (!has_room(exchange, proxy_kept_message_size(kept))) {
        free(kept);
        let_go(exchange);
    } else {
        *to = kept;
        data_of(exchange)->kept_bytes += proxy_kept_message_size(kept);
    }
}

/* Only a connection that was there before may die of a race with its server's idle timeout; without a body the head is
 * all there is. */
static bool may_race(const struct proxy_exchange_run *exchange)
{
    return exchange->upstream != NULL && exchange->upstream->reused && exchange->request_done && !exchange->upgrade;
}

void proxy_attempt_head(struct proxy_exchange_run *exchange)
{
    struct proxy_attempt *attempt = &exchange->attempt;
    struct proxy_message *request = &data_of(exchange)->request;
    bool policy = policy_of(exchange) != NULL;
    if (policy || may_race(exchange)) {
        fl_buf_init(&attempt->body, policy ? PROXY_ATTEMPT_BODY_MAX : 0);
        attempt->keeping = true;
        keep_message(exchange, request, &attempt->head);
        attempt->overflowed = false;
    }
    if (exchange->upstream != NULL)
        proxy_stream_send_head(exchange->upstream->stream, request, exchange->request_done && !exchange->upgrade);
}

void proxy_attempt_send(struct proxy_exchange_run *exchange, struct fl_span bytes)
{
    struct proxy_attempt *attempt = &exchange->attempt;
    if (attempt->keeping) {
        if (!has_room(exchange, bytes.len) || fl_buf_append(&attempt->body, bytes) < 0)
            let_go(exchange);
        else
            data_of(exchange)->kept_bytes += bytes.len;
    }
    if (exchange->upstream != NULL)
        proxy_stream_send_data(exchange->upstream->stream, bytes);
}

static void keep_trailers(struct proxy_exchange_run *exchange, const struct proxy_headers *trailers)
{
    struct proxy_message *message = &data_of(exchange)->response; /* nothing of an answer is there yet */
    proxy_message_init(message);
    for (size_t i = 0; i < trailers->count; i++) {
        if (!trailers->list[i].removed)
            (void)!proxy_headers_add(&message->headers, trailers->list[i].name, trailers->list[i].value);
    }
    keep_message(exchange, message, &exchange->attempt.trailers);
}

void proxy_attempt_send_end(struct proxy_exchange_run *exchange, struct proxy_headers *trailers)
{
    if (exchange->attempt.keeping && trailers != NULL && trailers->count > 0)
        keep_trailers(exchange, trailers);
    if (exchange->upstream != NULL)
        proxy_stream_send_end(exchange->upstream->stream, trailers);
}

/* --- the time of a try ------------------------------------------------------------------------------------------ */

static void on_late(struct fl_timer *timer)
{
    struct proxy_exchange_run *exchange = FL_CONTAINER_OF(timer, struct proxy_exchange_run, attempt.timer);
    const struct proxy_try one = {.outcome = PROXY_TRY_LATE, .sent = true};
    proxy_attempt_report(exchange, PROXY_OUTLIER_FAILED);
    if (!proxy_attempt_again(exchange, &one))
        proxy_exchange_reply(exchange, 504, PROXY_FLAG_UPSTREAM_TIMEOUT, "upstream_per_try_timeout",
                             "upstream request timeout", NULL, 0);
}

void proxy_attempt_complete(struct proxy_exchange_run *exchange)
{
    const struct proxy_retry_policy *policy = policy_of(exchange);
    if (policy != NULL && policy->per_try_timeout_ms > 0 && exchange->upstream != NULL)
        fl_timer_set(data_of(exchange)->turn.loop, &exchange->attempt.timer, policy->per_try_timeout_ms, on_late);
}

/* --- connections ------------------------------------------------------------------------------------------------ */

int proxy_attempt_connect(struct proxy_exchange_run *exchange, bool fresh)
{
    struct proxy_downstream *downstream = exchange->downstream;
    const struct proxy_upstream_want want = {
        .original = &downstream->destination,
        .tried = exchange->attempt.tried,
        .random = proxy_data_random(data_of(exchange)),
        .fresh = fresh,
        .downstream_h2 = exchange->major == 2,
        .upgrade = exchange->upgrade,
        .pin = exchange->hcm->pinned ? downstream->id : 0,
    };
    int result = proxy_upstream_request(exchange->cluster, &want, &proxy_router_events, exchange, &exchange->upstream);
    if (result != PROXY_UPSTREAM_OK) {
        exchange->upstream = NULL;
        return result;
    }
    proxy_report_upstream_chosen(downstream, exchange->upstream);
    return result;
}

void proxy_attempt_give_up(struct proxy_exchange_run *exchange)
{
    const struct proxy_downstream *downstream = exchange->downstream;
    const struct proxy_header unsent = {.name = FL_SPAN(PROXY_RETRY_UNSENT), .value = FL_SPAN("1")};
    bool tell = downstream->listener->direction == PROXY_INBOUND && proxy_label_is_mutual(downstream->conn);
    proxy_exchange_reply(exchange, 503, PROXY_FLAG_UPSTREAM_CONNECT_FAILURE, "upstream_connect_failure",
                         "upstream connect error", &unsent, tell ? 1 : 0);
}

void proxy_attempt_not_connected(struct proxy_exchange_run *exchange, int result)
{
    const struct proxy_try one = {.outcome = PROXY_TRY_NOT_CONNECTED};
    if (result == PROXY_UPSTREAM_NO_HOST) {
        proxy_exchange_reply(exchange, 503, PROXY_FLAG_NO_HEALTHY_UPSTREAM, "no_healthy_upstream",
                             "no healthy upstream", NULL, 0);
    } else if (result == PROXY_UPSTREAM_OVERFLOW) {
        proxy_exchange_reply(exchange, 503, PROXY_FLAG_UPSTREAM_OVERFLOW, "upstream_overflow", "upstream limit reached",
                             NULL, 0);
    } else {
        proxy_report_not_dialled(exchange->downstream, exchange->cluster, result);
        proxy_label_failure(exchange->failure, proxy_connect_text(result));
        if (!proxy_attempt_again(exchange, &one))
            proxy_attempt_give_up(exchange);
    }
}

void proxy_attempt_report(struct proxy_exchange_run *exchange, enum proxy_outlier_event event)
{
    if (exchange->upstream != NULL)
        proxy_upstream_report(exchange->upstream, event, proxy_data_random(data_of(exchange)));
}

/* --- once more -------------------------------------------------------------------------------------------------- */

/* A stream may break while it is sent to. */
static bool is_current(const struct proxy_exchange_run *exchange, const struct proxy_stream *stream)
{
    return !exchange->over && exchange->upstream != NULL && exchange->upstream->stream == stream;
}

static void resend(struct proxy_exchange_run *exchange)
{
    struct proxy_attempt *attempt = &exchange->attempt;
    struct proxy_data *data = data_of(exchange);
    struct proxy_stream *stream = exchange->upstream->stream;
    bool done = exchange->request_done && !exchange->upgrade;
    bool bare = attempt->body.len == 0 && attempt->trailers == NULL;
    struct proxy_headers *trailers = NULL;
    proxy_message_restore_kept(attempt->head, &data->request);
    proxy_stream_send_head(stream, &data->request, done && bare);
    if (attempt->body.len > 0 && is_current(exchange, stream))
        proxy_stream_send_data(stream, fl_buf_span(&attempt->body));
    if (!done || bare || !is_current(exchange, stream))
        return;
    if (attempt->trailers != NULL) {
        proxy_message_restore_kept(attempt->trailers, &data->request);
        trailers = &data->request.headers;
    }
    proxy_stream_send_end(stream, trailers);
}

static void send_again(struct proxy_exchange_run *exchange, bool fresh)
{
    int result = proxy_attempt_connect(exchange, fresh);
    if (result != PROXY_UPSTREAM_OK) {
        proxy_attempt_not_connected(exchange, result);
        return;
    }
    const struct proxy_stream *stream = exchange->upstream->stream;
    resend(exchange);
    if (!is_current(exchange, stream))
        return;
    if (exchange->request_done)
        proxy_attempt_complete(exchange);
    else if (!proxy_stream_is_backlogged(exchange->upstream->stream))
        proxy_stream_resume(exchange->client);
}

static void on_backoff_over(struct fl_timer *timer)
{
    struct proxy_exchange_run *exchange = FL_CONTAINER_OF(timer, struct proxy_exchange_run, attempt.timer);
    if (exchange->attempt.overflowed)
        proxy_exchange_reply(exchange, 503, PROXY_FLAG_UPSTREAM_CONNECT_FAILURE, "retry_body_too_large",
                             "upstream connect error", NULL, 0);
    else
        send_again(exchange, exchange->attempt.fresh);
}

/* What the last try left behind. */
static void clean_up(struct proxy_exchange_run *exchange)
{
    proxy_upstream_finish(fl_take(exchange->upstream), PROXY_RESET_CANCELLED);
    exchange->first_byte_ns = 0;
    exchange->failure[0] = '\0';
}

static bool is_idempotent(uint8_t method)
{
    return method == PROXY_METHOD_GET || method == PROXY_METHOD_HEAD || method == PROXY_METHOD_PUT ||
           method == PROXY_METHOD_DELETE || method == PROXY_METHOD_OPTIONS || method == PROXY_METHOD_TRACE;
}

/* A server that says that it has not begun is believed once, whatever the method is. */
static bool is_safe(const struct proxy_exchange_run *exchange, enum proxy_reset why, bool nothing_left)
{
    if (why == PROXY_RESET_REFUSED)
        return true;
    bool connection = why == PROXY_RESET_EOF || why == PROXY_RESET_CONNECTION; /* not the stream alone */
    return connection && exchange->upstream->reused && (nothing_left || is_idempotent(exchange->kept.method_id));
}

bool proxy_attempt_after_race(struct proxy_exchange_run *exchange, enum proxy_reset why, bool nothing_left)
{
    struct proxy_attempt *attempt = &exchange->attempt;
    bool begun = exchange->first_byte_ns != 0 || exchange->upstream->stream->received > 0;
    if (attempt->raced || (begun && why != PROXY_RESET_REFUSED) || !attempt->keeping || exchange->request_bytes_sent ||
        !exchange->request_done || exchange->upgrade || !is_safe(exchange, why, nothing_left))
        return false;
    attempt->raced = true;
    fl_timer_cancel(&attempt->timer);
    proxy_stats_retry(data_of(exchange)->options.stats, PROXY_RETRY_KEEP_ALIVE);
    clean_up(exchange);
    send_again(exchange, true);
    return true;
}

/* Whether one more may be had; where not, why is counted. */
static bool take_retry(struct proxy_exchange_run *exchange, const struct proxy_retry_policy *policy)
{
    struct proxy_attempt *attempt = &exchange->attempt;
    struct proxy_stats *stats = data_of(exchange)->options.stats;
    if (attempt->retries >= policy->num_retries) {
        exchange->flags |= attempt->retries > 0 ? PROXY_FLAG_RETRY_LIMIT : 0;
        proxy_stats_retry(stats, PROXY_RETRY_LIMIT);
        return false;
    }
    if (!attempt->keeping) {
        proxy_stats_retry(stats, PROXY_RETRY_NOT_KEPT);
        return false;
    }
    if (!attempt->taken && !proxy_upstream_retry_take(exchange->cluster)) {
        exchange->flags |= PROXY_FLAG_UPSTREAM_OVERFLOW;
        proxy_stats_retry(stats, PROXY_RETRY_OVERFLOW);
        return false;
    }
    attempt->taken = true;
    attempt->retries++;
    proxy_stats_retry(stats, PROXY_RETRY_STARTED);
    return true;
}

static void remember_host(struct proxy_exchange_run *exchange)
{
    struct proxy_attempt *attempt = &exchange->attempt;
    if (attempt->tried == NULL)
        attempt->tried = calloc(1, sizeof(*attempt->tried)); /* without it the same host may be chosen again */
    if (attempt->tried != NULL)
        proxy_upstream_tried_add(attempt->tried, proxy_upstream_address(exchange->upstream));
}

bool proxy_attempt_again(struct proxy_exchange_run *exchange, const struct proxy_try *one)
{
    struct proxy_data *data = data_of(exchange);
    struct proxy_attempt *attempt = &exchange->attempt;
    const struct proxy_retry_policy *policy = policy_of(exchange);
    if (policy == NULL || exchange->answered)
        return false;
    if (!proxy_retry_wants(policy, one)) {
        if (attempt->retries > 0 && one->outcome == PROXY_TRY_ANSWERED)
            proxy_stats_retry(data->options.stats, PROXY_RETRY_SUCCEEDED);
        return false;
    }
    if (!take_retry(exchange, policy))
        return false;
    if (policy->other_host && exchange->upstream != NULL)
        remember_host(exchange);
    attempt->fresh = one->outcome == PROXY_TRY_ANSWERED;
    fl_timer_cancel(&attempt->timer);
    clean_up(exchange);
    if (!exchange->request_done) /* else its going away is all that can come, and is heard */
        proxy_stream_pause(exchange->client);
    fl_timer_set(data->turn.loop, &attempt->timer,
                 proxy_retry_backoff_ms(policy, attempt->retries, proxy_data_random(data)), on_backoff_over);
    return true;
}

void proxy_attempt_settle(struct proxy_exchange_run *exchange)
{
    fl_timer_cancel(&exchange->attempt.timer);
    proxy_attempt_forget(exchange);
}

void proxy_attempt_done(struct proxy_exchange_run *exchange)
{
    struct proxy_attempt *attempt = &exchange->attempt;
    proxy_attempt_settle(exchange);
    if (attempt->taken)
        proxy_upstream_retry_give(exchange->cluster);
    attempt->taken = false;
    free(fl_take(attempt->tried));
}
