#include "proxy/filter/tracing.h"

#include "proxy/filter/export.h"

#include <stdio.h>

#define ATTRIBUTES_MAX 64u
#define SPAN_NAME_MAX  128u

/* What a sampled request needs of its head when it ends; in one piece of memory. */
struct proxy_trace_kept {
    uint8_t upstream_span[PROXY_TRACE_SPAN_SIZE];
    struct fl_span state;
    size_t tag_count;
    struct fl_span tags[]; /* values, by the configuration's tags */
};

static struct proxy_data *data_of(const struct proxy_exchange_run *exchange)
{
    return exchange->data;
}

/* --- the beginning ---------------------------------------------------------------------------------------------- */

static struct fl_span tag_value(const struct proxy_trace_tag *tag, const struct proxy_message *request)
{
    if (tag->header.len == 0)
        return tag->value;
    const struct proxy_header *field =
        proxy_headers_next(&request->headers, proxy_header_id(tag->header), tag->header, NULL);
    struct fl_span value = field != NULL ? field->value : tag->value;
    return fl_span_make(value.data, value.len < PROXY_OTLP_VALUE_MAX ? value.len : PROXY_OTLP_VALUE_MAX);
}

static struct fl_span copy(struct fl_span text, char **at)
{
    struct fl_span copied = fl_span_make(*at, text.len);
    if (text.len > 0)
        memcpy(*at, text.data, text.len);
    *at += text.len;
    return copied;
}

/* NULL when memory is out: then the span has less to tell. */
static struct proxy_trace_kept *keep(const struct proxy_tracing *tracing, const struct proxy_message *request,
                                     struct fl_span state)
{
    size_t size = state.len;
    for (size_t i = 0; i < tracing->tag_count; i++)
        size += tag_value(&tracing->tags[i], request).len;
    struct proxy_trace_kept *kept = malloc(sizeof(*kept) + tracing->tag_count * sizeof(kept->tags[0]) + size);
    if (kept == NULL)
        return NULL;
    char *at = (char *)&kept->tags[tracing->tag_count];
    kept->tag_count = tracing->tag_count;
    kept->state = copy(state, &at);
    for (size_t i = 0; i < tracing->tag_count; i++)
        kept->tags[i] = copy(tag_value(&tracing->tags[i], request), &at);
    return kept;
}

void proxy_tracing_begin(struct proxy_exchange_run *exchange, struct proxy_trace_parent *ret_parent)
{
    const struct proxy_tracing *tracing = proxy_exchange_config(exchange)->tracing;
    struct proxy_data *data = data_of(exchange);
    if (tracing == NULL)
        return;
    const uint64_t random[4] = {proxy_data_random(data), proxy_data_random(data), proxy_data_random(data),
                                proxy_data_random(data)};
    const struct proxy_headers *headers = &data->request.headers;
    bool asked = proxy_headers_next(headers, PROXY_HEADER_OTHER, FL_SPAN("x-client-trace-id"), NULL) != NULL;
    proxy_trace_read(headers, ret_parent);
    proxy_trace_start(ret_parent, &tracing->sampling, asked, random, &exchange->trace);
    if (!exchange->trace.sampled || tracing->provider == NULL)
        return;
    exchange->traced = keep(tracing, &data->request, ret_parent->state);
    if (exchange->traced == NULL)
        return;
    memcpy(exchange->traced->upstream_span, exchange->trace.span_id, PROXY_TRACE_SPAN_SIZE);
    if (tracing->spawn_upstream_span) {
        uint64_t number = proxy_data_random(data) | 1;
        memcpy(exchange->traced->upstream_span, &number, PROXY_TRACE_SPAN_SIZE);
    }
}

int proxy_tracing_write(struct proxy_exchange_run *exchange, const struct proxy_trace_parent *parent,
                        struct fl_span *scratch)
{
    const struct proxy_trace *trace = &exchange->trace;
    if (!trace->on)
        return 0;
    const uint8_t *span_id = exchange->traced != NULL ? exchange->traced->upstream_span : trace->span_id;
    return proxy_trace_write(trace, parent, span_id, &data_of(exchange)->request.headers, scratch);
}

/* --- the end ---------------------------------------------------------------------------------------------------- */

struct list {
    struct proxy_span_attribute items[ATTRIBUTES_MAX];
    size_t count;
    char status[8], flags[PROXY_FLAGS_TEXT_MAX], address[PROXY_ADDRESS_TEXT_MAX];
};

static void add_text(struct list *list, const char *key, struct fl_span text)
{
    if (text.len > 0 && list->count < ATTRIBUTES_MAX)
        list->items[list->count++] = (struct proxy_span_attribute){fl_span_str(key), text, 0};
}

static void add_number(struct list *list, const char *key, int64_t number)
{
    if (list->count < ATTRIBUTES_MAX)
        list->items[list->count++] = (struct proxy_span_attribute){fl_span_str(key), {NULL, 0}, number};
}

/* The address without its port and brackets, and the port. */
static void add_address(struct list *list, const struct proxy_address *address)
{
    if (address == NULL || !proxy_address_is_set(address))
        return;
    struct fl_span text = fl_span_make(list->address, proxy_address_print(address, list->address));
    while (text.len > 0 && text.data[text.len - 1] != ':')
        text.len--;
    text.len -= text.len > 0;
    if (text.len > 1 && text.data[0] == '[')
        text = fl_span_make(text.data + 1, text.len - 2);
    add_text(list, "network.peer.address", text);
    add_number(list, "network.peer.port", proxy_address_port(address));
}

static bool is_error(enum proxy_span_kind kind, const struct proxy_log_record *record)
{
    static const uint32_t servers = 1u << 2 | 1u << 4 | 1u << 12 | 1u << 13 | 1u << 14 | 1u << 15; /* grpc-status */
    if (record->status == 0 || record->status >= (kind == PROXY_SPAN_SERVER ? 500 : 400))
        return true;
    if (record->grpc_status <= 0)
        return false;
    return kind == PROXY_SPAN_CLIENT || (record->grpc_status < 32 && (servers >> record->grpc_status & 1) != 0);
}

static void add_request(struct list *list, const struct proxy_exchange_run *exchange,
                        const struct proxy_log_record *record, uint32_t max_path)
{
    struct fl_span path = record->path;
    path.len = fl_span_find(path, '?');
    path.len = path.len < max_path ? path.len : max_path;
    add_text(list, "http.request.method", record->method);
    add_text(list, "url.path", path);
    add_text(list, "url.scheme", record->tls_version.len > 0 ? FL_SPAN("https") : FL_SPAN("http"));
    add_text(list, "server.address", record->authority);
    add_text(list, "user_agent.original", record->user_agent);
    add_text(list, "network.protocol.version", record->minor == 0 ? FL_SPAN("1.0") : FL_SPAN("1.1"));
    add_text(list, "guid:x-request-id", record->request_id);
    add_text(list, "route_name", record->route_name);
    add_number(list, "http.request.body.size", (int64_t)record->bytes_received);
    add_number(list, "http.response.body.size", (int64_t)record->bytes_sent);
    if (exchange->attempt.retries > 0)
        add_number(list, "http.request.resend_count", exchange->attempt.retries);
}

static void add_outcome(struct list *list, const struct proxy_log_record *record, bool error)
{
    if (record->status > 0)
        add_number(list, "http.response.status_code", record->status);
    if (record->grpc_status >= 0)
        add_number(list, "rpc.grpc.status_code", record->grpc_status);
    if (error && record->flags != 0)
        add_text(list, "error.type", record->details);
    else if (error && record->status > 0)
        add_text(list, "error.type",
                 fl_span_make(list->status,
                              (size_t)snprintf(list->status, sizeof(list->status), "%u", record->status % 1000u)));
    add_text(list, "response_flags", proxy_flags_print(record->flags, list->flags));
}

static void add_peers(struct list *list, const struct proxy_log_record *record)
{
    add_text(list, "upstream_cluster.name", record->upstream_cluster);
    add_text(list, "source.principal", record->source_principal);
    add_text(list, "destination.principal", record->destination_principal);
    add_text(list, "source.workload.name", record->source_workload);
    add_text(list, "source.workload.namespace", record->source_namespace);
    add_text(list, "destination.workload.name", record->destination_workload);
    add_text(list, "destination.workload.namespace", record->destination_namespace);
}

static void add_tags(struct list *list, const struct proxy_tracing *tracing, const struct proxy_trace_kept *kept)
{
    if (kept == NULL || kept->tag_count != tracing->tag_count)
        return; /* another configuration by now */
    for (size_t i = 0; i < kept->tag_count && list->count < ATTRIBUTES_MAX; i++) {
        if (kept->tags[i].len > 0)
            list->items[list->count++] = (struct proxy_span_attribute){tracing->tags[i].name, kept->tags[i], 0};
    }
}

/* "GET" or, where the route has one, "GET name": of few different values, as names should be. */
static struct fl_span span_name(const struct proxy_log_record *record, char to[SPAN_NAME_MAX])
{
    if (record->route_name.len == 0)
        return record->method.len > 0 ? record->method : FL_SPAN("HTTP");
    int len = snprintf(to, SPAN_NAME_MAX, "%.*s %.*s", FL_SPAN_ARG(record->method), FL_SPAN_ARG(record->route_name));
    return fl_span_make(to, len < 0 ? 0 : len < (int)SPAN_NAME_MAX ? (size_t)len : SPAN_NAME_MAX - 1);
}

static void send_span(struct proxy_exchange_run *exchange, const struct proxy_log_record *record,
                      enum proxy_span_kind kind, const uint8_t *span_id, const uint8_t *parent_id, uint64_t duration_ns)
{
    const struct proxy_tracing *tracing = proxy_exchange_config(exchange)->tracing;
    struct proxy_data *data = data_of(exchange);
    struct list list;
    char name[SPAN_NAME_MAX];
    list.count = 0;
    bool error = is_error(kind, record);
    add_request(&list, exchange, record, tracing->max_path_length);
    add_outcome(&list, record, error);
    add_address(&list, kind == PROXY_SPAN_CLIENT ? record->upstream_host : record->downstream_remote);
    add_peers(&list, record);
    add_tags(&list, tracing, exchange->traced);
    const struct proxy_span span = {
        .trace_id = exchange->trace.trace_id,
        .span_id = span_id,
        .parent_id = parent_id,
        .kind = kind,
        .error = error,
        .name = span_name(record, name),
        .state = exchange->traced != NULL ? exchange->traced->state : FL_SPAN(""),
        .start_ns = exchange->start_us * 1000,
        .end_ns = exchange->start_us * 1000 + duration_ns,
        .attributes = list.items,
        .attribute_count = list.count,
    };
    proxy_exporter_add(data, proxy_exporter_of(data, tracing->provider), &span);
}

void proxy_tracing_end(struct proxy_exchange_run *exchange, const struct proxy_log_record *record, uint64_t duration_ns)
{
    const struct proxy_tracing *tracing = proxy_exchange_config(exchange)->tracing;
    const struct proxy_trace *trace = &exchange->trace;
    if (!trace->sampled || tracing == NULL || tracing->provider == NULL)
        return;
    const uint8_t *parent = trace->has_parent ? trace->parent_id : NULL;
    const uint8_t *below = exchange->traced != NULL ? exchange->traced->upstream_span : trace->span_id;
    bool two = memcmp(below, trace->span_id, PROXY_TRACE_SPAN_SIZE) != 0;
    bool outbound = exchange->downstream->listener->direction == PROXY_OUTBOUND;
    send_span(exchange, record, outbound && !two ? PROXY_SPAN_CLIENT : PROXY_SPAN_SERVER, trace->span_id, parent,
              duration_ns);
    if (two && exchange->cluster_index != UINT32_MAX)
        send_span(exchange, record, PROXY_SPAN_CLIENT, below, trace->span_id, duration_ns);
}
