/* How an exchange ends: by the upstream's answer, by one of our own, or cut; what is counted and logged of it, and
 * which connections live on. */
#include "proxy/filter/attempt.h"
#include "proxy/filter/cors.h"
#include "proxy/filter/grpc.h"
#include "proxy/filter/hcm_inner.h"
#include "proxy/filter/label.h"
#include "proxy/filter/tracing.h"

#include <stdio.h>

/* --- counts and log --------------------------------------------------------------------------------------------- */

/* A connection keeps the edge of its last request: a gRPC one has the lowest bit set. */
static struct proxy_edge *labelled(const struct proxy_upstream *upstream, bool grpc)
{
    uintptr_t label = (uintptr_t)upstream->label;
    return (label & 1) == grpc ? (struct proxy_edge *)(label & ~(uintptr_t)1) : NULL;
}

static void label(struct proxy_upstream *upstream, bool grpc, struct proxy_edge *edge)
{
    upstream->label = edge != NULL ? (void *)((uintptr_t)edge | grpc) : NULL;
}

static struct proxy_edge *edge_of(struct proxy_exchange_run *exchange)
{
    struct proxy_hcm *hcm = exchange->hcm;
    struct proxy_downstream *downstream = exchange->downstream;
    struct proxy_upstream *upstream = exchange->upstream;
    bool open = upstream != NULL && upstream->opened && upstream->conn != NULL;
    const struct proxy_conn *conn = open ? upstream->conn : NULL;
    if (downstream->listener->direction == PROXY_INBOUND) {
        uint64_t version = exchange->data->snapshot->version;
        bool grpc = exchange->is_grpc;
        if (hcm->edge == NULL || hcm->edge_cluster != exchange->cluster_index || hcm->edge_version != version ||
            hcm->edge_grpc != grpc)
            hcm->edge =
                proxy_label_edge(downstream, exchange->cluster, NULL, grpc ? PROXY_PROTOCOL_GRPC : PROXY_PROTOCOL_HTTP);
        hcm->edge_cluster = exchange->cluster_index;
        hcm->edge_version = version;
        hcm->edge_grpc = grpc;
        return hcm->edge;
    }
    enum proxy_protocol protocol = exchange->is_grpc ? PROXY_PROTOCOL_GRPC : PROXY_PROTOCOL_HTTP;
    if (conn == NULL)
        return proxy_label_edge(downstream, exchange->cluster, conn, protocol);
    if (labelled(upstream, exchange->is_grpc) == NULL)
        label(upstream, exchange->is_grpc, proxy_label_edge(downstream, exchange->cluster, conn, protocol));
    return labelled(upstream, exchange->is_grpc);
}

static void count(struct proxy_exchange_run *exchange, uint64_t duration_ns)
{
    const struct proxy_request_outcome outcome = {
        .code = exchange->status,
        .flags = exchange->flags,
        .grpc_status = exchange->grpc_status,
        .duration_ms = (double)duration_ns / 1e6,
        .request_bytes = exchange->client_received,
        .response_bytes = exchange->client_sent,
    };
    proxy_stats_request(edge_of(exchange), &outcome);
}

void proxy_exchange_keep_texts(struct proxy_exchange_run *exchange)
{
    const struct proxy_message *request = &exchange->data->request;
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
    const struct proxy_hcm_config *config = proxy_exchange_config(exchange);
    if (config->access_log_count == 0 && !exchange->trace.sampled)
        return;
    struct proxy_log_record record;
    struct proxy_address local;
    char trace_id[2 * PROXY_TRACE_ID_SIZE], span_id[2 * PROXY_TRACE_SPAN_SIZE];
    const struct proxy_conn *upstream = exchange->upstream != NULL ? exchange->upstream->conn : NULL;
    proxy_label_record(exchange->downstream, exchange->cluster, upstream, &local, &record);
    fill_texts(exchange, &record);
    if (proxy_address_is_set(&exchange->trusted_client))
        record.downstream_remote = &exchange->trusted_client;
    record.protocol = PROXY_PROTOCOL_HTTP;
    record.major = exchange->major;
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
    proxy_data_log(exchange->data, config->access_logs, config->access_log_count, &record);
    proxy_tracing_end(exchange, &record, duration_ns);
}

/* --- the end ---------------------------------------------------------------------------------------------------- */

/* Counted, logged, and out of everybody's way. The client's stream is the caller's to close. */
static struct proxy_stream *close_exchange(struct proxy_exchange_run *exchange, enum proxy_reset why)
{
    uint64_t duration_ns = fl_loop_now_ns(exchange->data->turn.loop) - exchange->start_ns;
    struct proxy_stream *client = proxy_exchange_leave_client(exchange);
    count(exchange, duration_ns);
    write_log(exchange, duration_ns);
    proxy_exchange_release(exchange, why);
    return client;
}

void proxy_exchange_cut(struct proxy_exchange_run *exchange, uint32_t flag, const char *details)
{
    exchange->flags |= flag;
    exchange->details = details;
    exchange->downstream->details = details;
    enum proxy_reset why = exchange->cancelled ? PROXY_RESET_CANCELLED : PROXY_RESET_INTERNAL;
    proxy_stream_close(close_exchange(exchange, PROXY_RESET_CANCELLED), why);
}

void proxy_exchange_done(struct proxy_exchange_run *exchange)
{
    if (exchange->details[0] == '\0')
        exchange->details = "via_upstream";
    proxy_stream_close(close_exchange(exchange, PROXY_RESET_CANCELLED), PROXY_RESET_CANCELLED);
}

/* --- answers of our own ------------------------------------------------------------------------------------------ */

struct reply {
    unsigned status;
    struct fl_span text;
    const struct proxy_header *headers;
    size_t header_count;
    char date[PROXY_DATE_SIZE], length[24], grpc[4], message[PROXY_GRPC_MESSAGE_MAX];
};

static int add(struct proxy_message *message, struct fl_span name, struct fl_span value)
{
    return proxy_headers_add(&message->headers, name, value);
}

static int common_fields(const struct proxy_exchange_run *exchange, struct reply *reply, struct proxy_message *message)
{
    struct fl_span server = proxy_exchange_config(exchange)->server_name;
    proxy_date_print((time_t)(proxy_data_now_us() / 1000000), reply->date);
    int result = add(message, FL_SPAN("server"), server.len > 0 ? server : FL_SPAN("fairlead"));
    if (result == 0)
        result = add(message, FL_SPAN("date"), fl_span_make(reply->date, sizeof(reply->date)));
    for (size_t i = 0; result == 0 && i < reply->header_count; i++)
        result = add(message, reply->headers[i].name, reply->headers[i].value);
    return result == 0 ? proxy_cors_response(exchange, message) : result;
}

static int grpc_fields(const struct proxy_exchange_run *exchange, struct reply *reply, struct proxy_message *message)
{
    unsigned code = (unsigned)exchange->grpc_status;
    struct fl_span text = proxy_grpc_message(reply->text, reply->message);
    int len = snprintf(reply->grpc, sizeof(reply->grpc), "%u", code);
    int result = add(message, FL_SPAN("content-type"), FL_SPAN("application/grpc"));
    if (result == 0)
        result = add(message, FL_SPAN("grpc-status"), fl_span_make(reply->grpc, (size_t)len));
    return result == 0 && text.len > 0 ? add(message, FL_SPAN("grpc-message"), text) : result;
}

static int body_fields(struct reply *reply, struct proxy_message *message)
{
    int len = snprintf(reply->length, sizeof(reply->length), "%zu", reply->text.len);
    int result = add(message, FL_SPAN("content-type"), FL_SPAN("text/plain"));
    message->framing = PROXY_FRAMING_LENGTH;
    message->content_length = reply->text.len;
    message->has_content_length = true;
    return result == 0 ? add(message, FL_SPAN("content-length"), fl_span_make(reply->length, (size_t)len)) : result;
}

/* What is sent behind the head; empty: nothing. */
static int print_reply(struct proxy_exchange_run *exchange, struct reply *reply, struct proxy_message *message,
                       struct fl_span *ret_body)
{
    bool bodiless = reply->status < 200 || reply->status == 204 || reply->status == 304;
    proxy_message_init(message);
    message->status = (uint16_t)(exchange->is_grpc ? 200 : reply->status);
    message->reason = fl_span_str(proxy_status_reason(message->status));
    message->method_id = exchange->kept.method_id;
    message->minor = 1;
    int result = common_fields(exchange, reply, message);
    *ret_body = (struct fl_span){NULL, 0};
    if (result == 0 && exchange->is_grpc)
        return grpc_fields(exchange, reply, message);
    if (result < 0 || bodiless)
        return result;
    if (exchange->kept.method_id != PROXY_METHOD_HEAD)
        *ret_body = reply->text;
    return body_fields(reply, message);
}

static void send_reply(struct proxy_exchange_run *exchange, struct proxy_message *message, struct fl_span body)
{
    struct proxy_stream *client = exchange->client;
    exchange->response_body_bytes = body.len;
    client->last = hcm_is_last_answer(exchange->hcm);
    proxy_exchange_send_head(exchange, message, body.len == 0);
    if (body.len > 0 && !exchange->over)
        proxy_stream_send_data(client, body);
    if (body.len > 0 && !exchange->over)
        proxy_stream_send_end(client, NULL);
}

void proxy_exchange_reply(struct proxy_exchange_run *exchange, unsigned status, uint32_t flag, const char *details,
                          const char *text, const struct proxy_header *headers, size_t header_count)
{
    struct proxy_message *message = &exchange->data->response;
    struct reply reply = {
        .status = status,
        .text = fl_span_str(text != NULL ? text : proxy_status_reason(status)),
        .headers = headers,
        .header_count = header_count,
    };
    struct fl_span body;
    if (exchange->is_grpc && !exchange->answered)
        exchange->grpc_status = (int32_t)proxy_grpc_status_of(status, exchange->flags | flag);
    if (exchange->answered || exchange->client == NULL || print_reply(exchange, &reply, message, &body) < 0) {
        proxy_exchange_cut(exchange, flag, details);
        return;
    }
    exchange->flags |= flag;
    exchange->details = details;
    exchange->status = message->status;
    exchange->answered = true;
    send_reply(exchange, message, body);
    if (exchange->over) /* the client's stream has broken meanwhile */
        return;
    /* The upstream may be in the middle of something: it is not used again. */
    proxy_stream_close(close_exchange(exchange, PROXY_RESET_CANCELLED), PROXY_RESET_CANCELLED);
}
