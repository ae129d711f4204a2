#include "proxy/filter/export.h"

#include "proxy/http/h1_body.h"

#include <errno.h>
#include <stdio.h>

#define PREFIX_MAX (PROXY_OTLP_SPAN_MAX + 256u)
#define HEAD_MAX   (16u * 1024u)
#define WRITE_MAX  (32u * 1024u) /* bytes handed to the connection at a time */

struct proxy_exporter {
    struct proxy_data *data;
    struct proxy_trace_provider provider; /* its texts are in `texts` */
    char *texts;
    struct fl_buf waiting, sending; /* spans; while one batch is under way the next one gathers */
    size_t waiting_count, sending_count;
    struct fl_timer delay, deadline;
    /* The batch under way. */
    bool under_way;
    struct proxy_upstream *upstream;
    struct fl_buf head; /* of the request, and what goes before the spans */
    size_t sent;        /* of head and spans */
    struct proxy_h1_parser parser;
    struct proxy_h1_body body;
    uint16_t status; /* 0: no final head yet */
    bool keep_alive;
    struct proxy_exporter *next;
    struct fl_deferred deferred;
};

static void start(struct proxy_exporter *exporter);

/* --- the end of a batch ----------------------------------------------------------------------------------------- */

static void on_delay(struct fl_timer *timer)
{
    start(FL_CONTAINER_OF(timer, struct proxy_exporter, delay));
}

static void wait_for_more(struct proxy_exporter *exporter)
{
    bool now = exporter->waiting_count >= PROXY_EXPORT_BATCH || exporter->data->draining;
    if (exporter->waiting_count == 0 || exporter->under_way || (!now && fl_timer_is_set(&exporter->delay)))
        return;
    fl_timer_set(exporter->data->turn.loop, &exporter->delay, now ? 0 : PROXY_EXPORT_DELAY_MS, on_delay);
}

static void finish(struct proxy_exporter *exporter, enum proxy_spans_result result, bool clean)
{
    struct proxy_data *data = exporter->data;
    struct proxy_upstream *upstream = fl_take(exporter->upstream);
    proxy_stats_spans(data->options.stats, result, exporter->sending_count);
    fl_timer_cancel(&exporter->deadline);
    if (upstream != NULL && clean)
        proxy_upstream_put(upstream);
    else if (upstream != NULL)
        proxy_upstream_drop(upstream, PROXY_CLOSE_FLUSH);
    fl_buf_done(&exporter->sending);
    fl_buf_done(&exporter->head);
    exporter->sending_count = 0;
    exporter->under_way = false;
    wait_for_more(exporter);
    proxy_data_check_drained(data);
}

static void on_deadline(struct fl_timer *timer)
{
    finish(FL_CONTAINER_OF(timer, struct proxy_exporter, deadline), PROXY_SPANS_UNREACHABLE, false);
}

/* --- the connection --------------------------------------------------------------------------------------------- */

static void send_more(struct proxy_exporter *exporter)
{
    struct proxy_conn *conn = exporter->upstream->conn;
    size_t total = exporter->head.len + exporter->sending.len;
    while (exporter->sent < total && !proxy_conn_is_backlogged(conn)) {
        bool head = exporter->sent < exporter->head.len;
        struct fl_span rest = head ? fl_span_from(fl_buf_span(&exporter->head), exporter->sent)
                                   : fl_span_from(fl_buf_span(&exporter->sending), exporter->sent - exporter->head.len);
        if (rest.len > WRITE_MAX)
            rest.len = WRITE_MAX;
        proxy_conn_write(conn, rest);
        exporter->sent += rest.len;
    }
}

static void on_open(void *owner)
{
    struct proxy_exporter *exporter = owner;
    proxy_upstream_opened(exporter->upstream);
}

static void on_writable(void *owner)
{
    send_more(owner);
}

/* The answer's heads. False: it is over. */
static bool read_heads(struct proxy_exporter *exporter, struct fl_span *bytes)
{
    static const struct proxy_exchange post = {.method_id = PROXY_METHOD_POST, .minor = 1, .keep_alive = true};
    struct proxy_message *response = &exporter->data->response;
    while (exporter->status == 0 && bytes->len > 0) {
        size_t size = 0;
        int result = proxy_h1_parse_response(&exporter->parser, *bytes, NULL, &post, response, &size);
        if (result == PROXY_H1_MORE)
            return true;
        if (result != PROXY_H1_DONE) {
            finish(exporter, PROXY_SPANS_REJECTED, false);
            return false;
        }
        *bytes = fl_span_from(*bytes, size);
        if (proxy_message_is_interim(response))
            continue;
        exporter->status = response->status;
        exporter->keep_alive = response->keep_alive;
        proxy_h1_body_init(&exporter->body, response);
    }
    return true;
}

static enum proxy_spans_result result_of(uint16_t status)
{
    return status >= 200 && status < 300 ? PROXY_SPANS_EXPORTED : PROXY_SPANS_REJECTED;
}

static size_t on_data(void *owner, struct fl_span bytes)
{
    struct proxy_exporter *exporter = owner;
    struct fl_span rest = bytes, part;
    if (!read_heads(exporter, &rest))
        return bytes.len;
    if (exporter->status == 0)
        return bytes.len - rest.len;
    int result;
    while ((result = proxy_h1_body_decode(&exporter->body, &rest, &exporter->data->trailers, &part)) == PROXY_H1_DATA) {
    }
    if (result == PROXY_H1_MORE)
        return bytes.len - rest.len;
    bool whole = exporter->sent == exporter->head.len + exporter->sending.len;
    bool clean = result == PROXY_H1_DONE && rest.len == 0 && exporter->keep_alive && whole;
    finish(exporter, result_of(exporter->status), clean);
    return bytes.len;
}

static void on_eof(void *owner)
{
    struct proxy_exporter *exporter = owner;
    bool whole = exporter->status != 0 && proxy_h1_body_eof(&exporter->body) == PROXY_H1_DONE;
    finish(exporter, whole ? result_of(exporter->status) : PROXY_SPANS_UNREACHABLE, false);
}

static void on_closed(void *owner, enum proxy_end end)
{
    struct proxy_exporter *exporter = owner;
    (void)end;
    exporter->upstream->conn = NULL;
    finish(exporter, PROXY_SPANS_UNREACHABLE, false);
}

static const struct proxy_conn_ops ops = {
    .on_open = on_open,
    .on_data = on_data,
    .on_eof = on_eof,
    .on_writable = on_writable,
    .on_closed = on_closed,
};

/* --- a batch ---------------------------------------------------------------------------------------------------- */

static int print_prefix(const struct proxy_exporter *exporter, struct fl_buf *out)
{
    const struct proxy_node *node = &exporter->data->snapshot->node;
    const struct fl_span *fields = node->preface.fields;
    struct fl_span service = exporter->provider.service_name;
    if (service.len == 0)
        service = node->cluster.len > 0 ? node->cluster : FL_SPAN("unknown_service:fairlead");
    const struct proxy_span_attribute resource[] = {
        {FL_SPAN("service.name"), service, 0},
        {FL_SPAN("service.version"), fields[FL_PREFACE_VERSION], 0},
        {FL_SPAN("service.instance.id"), node->id, 0},
        {FL_SPAN("k8s.namespace.name"), fields[FL_PREFACE_NAMESPACE], 0},
        {FL_SPAN("k8s.cluster.name"), fields[FL_PREFACE_CLUSTER], 0},
        {FL_SPAN("istio.workload"), fields[FL_PREFACE_WORKLOAD], 0},
        {FL_SPAN("istio.canonical_service"), fields[FL_PREFACE_CANONICAL_SERVICE], 0},
        {FL_SPAN("istio.canonical_revision"), fields[FL_PREFACE_CANONICAL_REVISION], 0},
        {FL_SPAN("telemetry.sdk.name"), FL_SPAN("fairlead"), 0},
        {FL_SPAN("telemetry.sdk.version"), FL_SPAN(FL_VERSION), 0},
    };
    return proxy_otlp_prefix(resource, FL_COUNT(resource), exporter->sending.len, out);
}

static int print_head(struct proxy_exporter *exporter)
{
    const struct proxy_trace_provider *provider = &exporter->provider;
    struct fl_buf prefix;
    fl_buf_init(&prefix, PREFIX_MAX);
    fl_buf_init(&exporter->head, HEAD_MAX + PREFIX_MAX);
    int result = print_prefix(exporter, &prefix);
    if (result == 0)
        result = fl_buf_printf(&exporter->head,
                               "POST %.*s HTTP/1.1\r\nhost: %.*s\r\nuser-agent: fairlead/" FL_VERSION
                               "\r\ncontent-type: application/x-protobuf\r\ncontent-length: %zu\r\n%.*s\r\n",
                               FL_SPAN_ARG(provider->path), FL_SPAN_ARG(provider->authority),
                               prefix.len + exporter->sending.len, FL_SPAN_ARG(provider->fields));
    if (result == 0)
        result = fl_buf_append(&exporter->head, fl_buf_span(&prefix));
    fl_buf_done(&prefix);
    return result;
}

/* NULL: there is none (now). */
static struct proxy_cluster_run *cluster_of(const struct proxy_exporter *exporter)
{
    struct proxy_data *data = exporter->data;
    const struct proxy_cluster *cluster = proxy_snapshot_cluster_named(data->snapshot, exporter->provider.cluster);
    struct proxy_cluster_run *run;
    return cluster != NULL && proxy_data_cluster(data, cluster->slot->index, &run) == 0 ? run : NULL;
}

static void start(struct proxy_exporter *exporter)
{
    struct proxy_data *data = exporter->data;
    if (exporter->under_way || exporter->waiting_count == 0 || data->snapshot == NULL)
        return;
    fl_timer_cancel(&exporter->delay);
    exporter->under_way = true;
    exporter->sending = exporter->waiting;
    exporter->sending_count = exporter->waiting_count;
    fl_buf_init(&exporter->waiting, PROXY_EXPORT_QUEUE_MAX);
    exporter->waiting_count = exporter->sent = 0;
    exporter->status = 0;
    memset(&exporter->parser, 0, sizeof(exporter->parser));
    struct proxy_cluster_run *cluster = cluster_of(exporter);
    if (print_head(exporter) < 0) {
        finish(exporter, PROXY_SPANS_UNSENT, false);
        return;
    }
    int result = cluster == NULL ? PROXY_UPSTREAM_NO_HOST
                                 : proxy_upstream_get(cluster, NULL, PROXY_UPSTREAM_REQUEST, proxy_data_random(data),
                                                      &ops, exporter, &exporter->upstream);
    if (result != PROXY_UPSTREAM_OK) {
        exporter->upstream = NULL;
        finish(exporter, PROXY_SPANS_UNREACHABLE, false);
        return;
    }
    fl_timer_set(data->turn.loop, &exporter->deadline, exporter->provider.timeout_ms, on_deadline);
    send_more(exporter);
}

void proxy_exporter_add(struct proxy_data *data, struct proxy_exporter *exporter, const struct proxy_span *span)
{
    if (exporter == NULL) {
        proxy_stats_spans(data->options.stats, PROXY_SPANS_UNSENT, 1);
        return;
    }
    int result = proxy_otlp_add(span, &exporter->waiting);
    if (result < 0) {
        proxy_stats_spans(data->options.stats, result == -ENOMEM ? PROXY_SPANS_UNSENT : PROXY_SPANS_QUEUE_FULL, 1);
        return;
    }
    exporter->waiting_count++;
    wait_for_more(exporter);
}

/* --- all of them ------------------------------------------------------------------------------------------------ */

static bool is_provider(const struct proxy_trace_provider *a, const struct proxy_trace_provider *b)
{
    return a->timeout_ms == b->timeout_ms && fl_span_eq(a->cluster, b->cluster) &&
           fl_span_eq(a->authority, b->authority) && fl_span_eq(a->path, b->path) && fl_span_eq(a->fields, b->fields) &&
           fl_span_eq(a->service_name, b->service_name);
}

static void move_text(struct fl_span *text, char **at)
{
    if (text->len > 0)
        memcpy(*at, text->data, text->len);
    text->data = *at;
    *at += text->len;
}

static struct proxy_exporter *exporter_new(struct proxy_data *data, const struct proxy_trace_provider *provider)
{
    struct proxy_exporter *exporter = calloc(1, sizeof(*exporter));
    size_t size = provider->cluster.len + provider->authority.len + provider->path.len + provider->fields.len +
                  provider->service_name.len;
    char *texts = malloc(size + 1);
    if (exporter == NULL || texts == NULL) {
        free(exporter);
        free(texts);
        return NULL;
    }
    exporter->data = data;
    exporter->provider = *provider;
    exporter->texts = texts;
    move_text(&exporter->provider.cluster, &texts);
    move_text(&exporter->provider.authority, &texts);
    move_text(&exporter->provider.path, &texts);
    move_text(&exporter->provider.fields, &texts);
    move_text(&exporter->provider.service_name, &texts);
    fl_buf_init(&exporter->waiting, PROXY_EXPORT_QUEUE_MAX);
    return exporter;
}

static void release(struct fl_deferred *deferred)
{
    struct proxy_exporter *exporter = FL_CONTAINER_OF(deferred, struct proxy_exporter, deferred);
    free(exporter->texts);
    free(exporter);
}

/* It is in the list no more. */
static void exporter_end(struct proxy_exporter *exporter)
{
    fl_timer_cancel(&exporter->delay);
    fl_timer_cancel(&exporter->deadline);
    if (exporter->upstream != NULL)
        proxy_upstream_drop(fl_take(exporter->upstream), PROXY_CLOSE_RESET);
    fl_buf_done(&exporter->waiting);
    fl_buf_done(&exporter->sending);
    fl_buf_done(&exporter->head);
    fl_loop_defer(exporter->data->turn.loop, &exporter->deferred, release);
}

static bool is_busy(const struct proxy_exporter *exporter)
{
    return exporter->under_way || exporter->waiting_count > 0;
}

/* Providers come and go with configurations: one that has nothing to do makes room. */
static bool end_an_idle_one(struct proxy_data *data)
{
    struct proxy_exporter **at = &data->exporters;
    while (*at != NULL && is_busy(*at))
        at = &(*at)->next;
    struct proxy_exporter *idle = *at;
    if (idle == NULL)
        return false;
    *at = idle->next;
    exporter_end(idle);
    return true;
}

struct proxy_exporter *proxy_exporter_of(struct proxy_data *data, const struct proxy_trace_provider *provider)
{
    size_t count = 0;
    for (struct proxy_exporter *one = data->exporters; one != NULL; one = one->next, count++) {
        if (is_provider(&one->provider, provider))
            return one;
    }
    if (count >= PROXY_EXPORTERS_MAX && !end_an_idle_one(data))
        return NULL;
    struct proxy_exporter *exporter = exporter_new(data, provider);
    if (exporter != NULL) {
        exporter->next = data->exporters;
        data->exporters = exporter;
    }
    return exporter;
}

void proxy_exporters_flush(struct proxy_data *data)
{
    for (struct proxy_exporter *one = data->exporters; one != NULL; one = one->next)
        wait_for_more(one);
}

bool proxy_exporters_busy(const struct proxy_data *data)
{
    for (const struct proxy_exporter *one = data->exporters; one != NULL; one = one->next) {
        if (is_busy(one))
            return true;
    }
    return false;
}

void proxy_exporters_free(struct proxy_data *data)
{
    while (data->exporters != NULL) {
        struct proxy_exporter *exporter = data->exporters;
        data->exporters = exporter->next;
        exporter_end(exporter);
    }
}
