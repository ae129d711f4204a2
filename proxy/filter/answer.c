/* How an exchange ends: by the upstream's answer, by one of our own, or cut; what is counted and logged of it, and
 * which connections live on. */
#include "proxy/filter/attempt.h"
#include "proxy/filter/label.h"
#include "proxy/filter/tracing.h"

/* --- counts and log --------------------------------------------------------------------------------------------- */

static struct proxy_edge *edge_of(struct proxy_exchange_run *exchange)
{
    struct proxy_hcm *hcm = exchange->hcm;
    struct proxy_downstream *downstream = hcm->downstream;
    struct proxy_upstream *upstream = exchange->upstream;
    if (exchange->is_grpc) { /* seldom over HTTP/1: not worth a cache */
        bool open = upstream != NULL && exchange->upstream_opened;
        return proxy_label_edge(downstream, exchange->cluster, open ? upstream->conn : NULL, PROXY_PROTOCOL_GRPC);
    }
    if (downstream->listener->direction == PROXY_INBOUND) {
        uint64_t version = downstream->data->snapshot->version;
        if (hcm->edge == NULL || hcm->edge_cluster != exchange->cluster_index || hcm->edge_version != version)
            hcm->edge = proxy_label_edge(downstream, exchange->cluster, NULL, PROXY_PROTOCOL_HTTP);
        hcm->edge_cluster = exchange->cluster_index;
        hcm->edge_version = version;
        return hcm->edge;
    }
    if (upstream == NULL || !exchange->upstream_opened)
        return proxy_label_edge(downstream, exchange->cluster, NULL, PROXY_PROTOCOL_HTTP);
    if (upstream->label == NULL)
        upstream->label = proxy_label_edge(downstream, exchange->cluster, upstream->conn, PROXY_PROTOCOL_HTTP);
    return upstream->label;
}

static void count(struct proxy_exchange_run *exchange, uint64_t duration_ns)
{
    const struct proxy_conn *conn = exchange->hcm->downstream->conn;
    const struct proxy_request_outcome outcome = {
        .code = exchange->status,
        .flags = exchange->flags,
        .grpc_status = exchange->grpc_status,
        .duration_ms = (double)duration_ns / 1e6,
        .request_bytes = exchange->request_head_bytes + exchange->request_bytes,
        .response_bytes = proxy_conn_bytes_sent(conn) - exchange->response_sent_before,
    };
    proxy_stats_request(edge_of(exchange), &outcome);
}

void proxy_exchange_keep_texts(struct proxy_exchange_run *exchange)
{
    const struct proxy_message *request = &exchange->hcm->downstream->data->request;
    const struct proxy_headers *headers = &request->headers;
    const struct fl_span texts[PROXY_TEXTS] = {
        [PROXY_TEXT_METHOD] = request->method,
        [PROXY_TEXT_PATH] = request->path,
        [PROXY_TEXT_AUTHORITY] = request->authority,
        [PROXY_TEXT_USER_AGENT] = proxy_headers_value(headers, PROXY_HEADER_USER_AGENT),
        [PROXY_TEXT_REQUEST_ID] = proxy_headers_value(headers, PROXY_HEADER_X_REQUEST_ID),
        [PROXY_TEXT_FORWARDED_FOR] = proxy_headers_value(headers, PROXY_HEADER_X_FORWARDED_FOR),
        [PROXY_TEXT_TRACEPARENT] = proxy_headers_value(headers, PROXY_HEADER_TRACEPARENT),
    };
    size_t total = 0;
    for (size_t i = 0; i < PROXY_TEXTS; i++)
        total += texts[i].len < PROXY_EXCHANGE_TEXT_MAX ? texts[i].len : PROXY_EXCHANGE_TEXT_MAX;
    exchange->texts = malloc(total + 1);
    if (exchange->texts == NULL)
        return;
    char *to = exchange->texts;
    for (size_t i = 0; i < PROXY_TEXTS; i++) {
        size_t len = texts[i].len < PROXY_EXCHANGE_TEXT_MAX ? texts[i].len : PROXY_EXCHANGE_TEXT_MAX;
        if (len > 0)
            memcpy(to, texts[i].data, len);
        exchange->text_lens[i] = (uint16_t)len;
        to += len;
    }
}

static void fill_texts(const struct proxy_exchange_run *exchange, struct proxy_log_record *record)
{
    struct fl_span *const fields[PROXY_TEXTS] = {
        [PROXY_TEXT_METHOD] = &record->method,           [PROXY_TEXT_PATH] = &record->path,
        [PROXY_TEXT_AUTHORITY] = &record->authority,     [PROXY_TEXT_USER_AGENT] = &record->user_agent,
        [PROXY_TEXT_REQUEST_ID] = &record->request_id,   [PROXY_TEXT_FORWARDED_FOR] = &record->forwarded_for,
        [PROXY_TEXT_TRACEPARENT] = &record->traceparent,
    };
    const char *from = exchange->texts;
    for (size_t i = 0; from != NULL && i < PROXY_TEXTS; i++) {
        *fields[i] = fl_span_make(from, exchange->text_lens[i]);
        from += exchange->text_lens[i];
    }
}

static void write_log(struct proxy_exchange_run *exchange, uint64_t duration_ns)
{
    const struct proxy_hcm *hcm = exchange->hcm;
    if (hcm->config->access_log_count == 0 && !exchange->trace.sampled)
        return;
    struct proxy_log_record record;
    struct proxy_address local;
    char trace_id[2 * PROXY_TRACE_ID_SIZE], span_id[2 * PROXY_TRACE_SPAN_SIZE];
    const struct proxy_conn *upstream = exchange->upstream != NULL ? exchange->upstream->conn : NULL;
    proxy_label_record(hcm->downstream, exchange->cluster, upstream, &local, &record);
    fill_texts(exchange, &record);
    if (proxy_address_is_set(&exchange->client))
        record.downstream_remote = &exchange->client;
    record.protocol = PROXY_PROTOCOL_HTTP;
    record.minor = exchange->kept.minor;
    record.start_us = exchange->start_us;
    record.duration_us = (int64_t)(duration_ns / 1000);
    if (exchange->first_byte_ns > 0 && exchange->request_done_ns > 0 &&
        exchange->first_byte_ns >= exchange->request_done_ns)
        record.upstream_first_byte_us = (int64_t)((exchange->first_byte_ns - exchange->request_done_ns) / 1000);
    record.status = exchange->status;
    record.grpc_status = exchange->grpc_status;
    record.attempts = exchange->found.route != NULL ? 1 + exchange->attempt.retries : 0;
    record.flags = exchange->flags;
    record.details = fl_span_str(exchange->details);
    record.transport_failure = fl_span_str(exchange->failure);
    record.bytes_received = exchange->request_bytes;
    record.bytes_sent = exchange->response_body_bytes;
    if (exchange->found.route != NULL)
        record.route_name = exchange->found.route->name;
    if (exchange->found.virtual_host != NULL)
        record.virtual_host = exchange->found.virtual_host->name;
    if (exchange->trace.on) {
        record.trace_id = proxy_trace_hex(exchange->trace.trace_id, PROXY_TRACE_ID_SIZE, trace_id);
        record.span_id = proxy_trace_hex(exchange->trace.span_id, PROXY_TRACE_SPAN_SIZE, span_id);
    }
    proxy_data_log(hcm->downstream->data, hcm->config->access_logs, hcm->config->access_log_count, &record);
    proxy_tracing_end(exchange, &record, duration_ns);
}

/* --- life ------------------------------------------------------------------------------------------------------- */

struct proxy_exchange_run *proxy_exchange_new(struct proxy_hcm *hcm)
{
    struct proxy_exchange_run *exchange = calloc(1, sizeof(*exchange));
    if (exchange == NULL)
        return NULL;
    exchange->hcm = hcm;
    exchange->cluster_index = UINT32_MAX;
    exchange->details = "";
    exchange->grpc_status = -1;
    exchange->start_ns = fl_loop_now_ns(hcm->downstream->data->turn.loop);
    exchange->active_ns = exchange->start_ns;
    exchange->response_sent_before = proxy_conn_bytes_sent(hcm->downstream->conn);
    exchange->start_us = proxy_data_now_us(); /* tokens are judged by it, too, whatever is logged */
    return exchange;
}

static void release(struct fl_deferred *deferred)
{
    struct proxy_exchange_run *exchange = FL_CONTAINER_OF(deferred, struct proxy_exchange_run, deferred);
    proxy_cluster_run_unref(exchange->cluster);
    proxy_unit_unref(exchange->routes_unit);
    free(exchange);
}

/* Counted, logged, and out of the way of its connections. */
static void close_exchange(struct proxy_exchange_run *exchange, bool upstream_clean, enum proxy_close upstream_how)
{
    struct proxy_hcm *hcm = exchange->hcm;
    struct proxy_data *data = hcm->downstream->data;
    uint64_t duration_ns = fl_loop_now_ns(data->turn.loop) - exchange->start_ns;
    count(exchange, duration_ns);
    write_log(exchange, duration_ns);
    fl_timer_cancel(&exchange->timeout);
    fl_timer_cancel(&exchange->idle);
    struct proxy_upstream *upstream = fl_take(exchange->upstream);
    if (upstream != NULL && upstream_clean)
        proxy_upstream_put(upstream);
    else if (upstream != NULL)
        proxy_upstream_drop(upstream, upstream_how);
    proxy_attempt_done(exchange);
    free(fl_take(exchange->texts));
    free(fl_take(exchange->traced));
    free(fl_take(exchange->recall));
    proxy_claims_done(&exchange->claims);
    hcm->exchange = NULL;
    fl_loop_defer(data->turn.loop, &exchange->deferred, release);
}

void proxy_exchange_cut(struct proxy_exchange_run *exchange, uint32_t flag, const char *details)
{
    struct proxy_hcm *hcm = exchange->hcm;
    exchange->flags |= flag;
    exchange->details = details;
    hcm->downstream->details = details;
    close_exchange(exchange, false, PROXY_CLOSE_RESET);
    proxy_hcm_end(hcm, PROXY_CLOSE_RESET);
}

void proxy_exchange_done(struct proxy_exchange_run *exchange, bool upstream_clean)
{
    struct proxy_hcm *hcm = exchange->hcm;
    bool keep = exchange->downstream_keep && exchange->request_done, done = exchange->request_done;
    if (exchange->details[0] == '\0')
        exchange->details = "via_upstream";
    close_exchange(exchange, upstream_clean, PROXY_CLOSE_FLUSH);
    if (keep) /* as its head has told the client, also where a drain began since */
        proxy_hcm_next(hcm);
    else
        proxy_hcm_end(hcm, done ? PROXY_CLOSE_FLUSH : PROXY_CLOSE_LINGER);
}

static bool write_reply(struct proxy_hcm *hcm, const struct proxy_h1_reply *reply)
{
    struct proxy_turn *turn = &hcm->downstream->data->turn;
    if (proxy_h1_reply_bound(reply) > PROXY_TURN_WORK)
        return false;
    size_t size = proxy_h1_write_reply(reply, turn->work);
    proxy_conn_write(hcm->downstream->conn, fl_span_make(turn->work, size));
    return true;
}

void proxy_exchange_reply(struct proxy_exchange_run *exchange, unsigned status, uint32_t flag, const char *details,
                          const char *text, const struct proxy_header *headers, size_t header_count)
{
    struct proxy_hcm *hcm = exchange->hcm;
    struct proxy_data *data = hcm->downstream->data;
    if (exchange->answered) {
        proxy_exchange_cut(exchange, flag, details);
        return;
    }
    exchange->downstream_keep = exchange->request_done && exchange->kept.keep_alive && !hcm->closing && !data->leaving;
    time_t now = (time_t)(proxy_data_now_us() / 1000000);
    struct proxy_h1_reply reply = proxy_h1_error_reply(status, text, &exchange->kept, exchange->downstream_keep, now);
    reply.server = hcm->config->server_name;
    reply.headers = headers;
    reply.header_count = header_count;
    exchange->flags |= flag;
    exchange->details = details;
    exchange->status = (uint16_t)status;
    exchange->answered = true;
    if (!write_reply(hcm, &reply)) {
        proxy_exchange_cut(exchange, flag, details);
        return;
    }
    exchange->response_body_bytes = reply.head ? 0 : reply.body.len;
    bool keep = exchange->downstream_keep, done = exchange->request_done;
    /* The upstream may be in the middle of something: it is not used again. */
    close_exchange(exchange, false, PROXY_CLOSE_RESET);
    if (keep)
        proxy_hcm_next(hcm);
    else
        proxy_hcm_end(hcm, done ? PROXY_CLOSE_FLUSH : PROXY_CLOSE_LINGER);
}

void proxy_hcm_refuse(struct proxy_hcm *hcm, enum proxy_h1_error error)
{
    struct proxy_data *data = hcm->downstream->data;
    proxy_stats_parse_error(data->options.stats, PROXY_SIDE_DOWNSTREAM, error);
    struct proxy_exchange_run *exchange = proxy_exchange_new(hcm);
    if (exchange == NULL) {
        proxy_hcm_end(hcm, PROXY_CLOSE_RESET);
        return;
    }
    hcm->exchange = exchange;
    hcm->downstream->details = proxy_h1_error_word(error);
    hcm->closing = true;
    proxy_exchange_reply(exchange, proxy_h1_error_status(error), PROXY_FLAG_DOWNSTREAM_PROTOCOL_ERROR,
                         proxy_h1_error_word(error), NULL, NULL, 0);
}
