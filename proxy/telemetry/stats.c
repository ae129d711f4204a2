#include "proxy/telemetry/stats.h"

#include "proxy/telemetry/stats_private.h"

#include <errno.h>
#include <stdio.h>

/* The labels of an edge, then those of an outcome. TCP metrics end with response_flags. */
static const char *const labels[] = {
    "reporter",
    "source_workload",
    "source_workload_namespace",
    "source_principal",
    "source_app",
    "source_version",
    "source_cluster",
    "source_canonical_service",
    "source_canonical_revision",
    "destination_workload",
    "destination_workload_namespace",
    "destination_principal",
    "destination_app",
    "destination_version",
    "destination_cluster",
    "destination_canonical_service",
    "destination_canonical_revision",
    "destination_service",
    "destination_service_name",
    "destination_service_namespace",
    "request_protocol",
    "connection_security_policy",
    "response_flags",
    "response_code",
    "grpc_response_status",
};
#define LABELS_EDGE 22
#define LABELS_TCP  (LABELS_EDGE + 1)
#define LABELS_HTTP (LABELS_EDGE + 3)
_Static_assert(FL_COUNT(labels) == LABELS_HTTP, "labels");

#define LABEL_FLAGS LABELS_EDGE
#define LABEL_CODE  (LABELS_EDGE + 1)
#define LABEL_GRPC  (LABELS_EDGE + 2)

/* Istio's (Envoy's) default bounds, for milliseconds and bytes alike. */
static const double bounds[] = {0.5,  1,    5,     10,    25,    50,     100,    250,     500,    1000,
                                2500, 5000, 10000, 30000, 60000, 300000, 600000, 1800000, 3600000};

#define COUNTER(text, about, count)                                                                                    \
    {                                                                                                                  \
        .name = text, .help = about, .kind = FL_METRIC_COUNTER, .label_names = labels, .label_count = count,           \
        .series_max = PROXY_STATS_SERIES_MAX                                                                           \
    }
#define HISTOGRAM(text, about)                                                                                         \
    {                                                                                                                  \
        .name = text, .help = about, .kind = FL_METRIC_HISTOGRAM, .label_names = labels, .label_count = LABELS_HTTP,   \
        .buckets = bounds, .bucket_count = FL_COUNT(bounds), .series_max = PROXY_STATS_SERIES_MAX                      \
    }

static const struct fl_metric_family requests_family =
    COUNTER("istio_requests_total", "Requests that were answered or failed.", LABELS_HTTP);
static const struct fl_metric_family duration_family =
    HISTOGRAM("istio_request_duration_milliseconds", "From the first byte of a request to the last of its response.");
static const struct fl_metric_family request_bytes_family = HISTOGRAM("istio_request_bytes", "Bytes of requests.");
static const struct fl_metric_family response_bytes_family = HISTOGRAM("istio_response_bytes", "Bytes of responses.");
static const struct fl_metric_family opened_family =
    COUNTER("istio_tcp_connections_opened_total", "TCP connections opened.", LABELS_TCP);
static const struct fl_metric_family closed_family =
    COUNTER("istio_tcp_connections_closed_total", "TCP connections closed.", LABELS_TCP);
static const struct fl_metric_family sent_family =
    COUNTER("istio_tcp_sent_bytes_total", "Bytes sent to the client of TCP connections.", LABELS_TCP);
static const struct fl_metric_family received_family =
    COUNTER("istio_tcp_received_bytes_total", "Bytes received from the client of TCP connections.", LABELS_TCP);

/* What is counted under one (code, flags, gRPC status) of an edge. HTTP uses the first four series, TCP the others. */
struct outcome {
    struct outcome *next;
    uint32_t flags;
    int32_t grpc_status;
    uint16_t code;
    union {
        struct {
            struct fl_counter *requests;
            struct fl_histogram *duration, *request_bytes, *response_bytes;
        };
        struct {
            struct fl_counter *opened, *closed, *sent, *received;
        };
    };
};

struct proxy_edge {
    struct proxy_stats *stats;
    struct outcome *outcomes; /* the last one used is first */
    uint32_t key_len;
    uint16_t outcome_count;
    bool tcp;   /* which series its outcomes have */
    char key[]; /* the label values, each with two bytes of length before it */
};

#define KEY_MAX (LABELS_EDGE * (2 + FL_METRICS_VALUE_MAX))

int proxy_stats_new(struct proxy_stats **ret_stats)
{
    struct proxy_stats *stats = calloc(1, sizeof(*stats));
    if (stats == NULL)
        return -ENOMEM;
    fl_map_init(&stats->edges, PROXY_STATS_EDGES_MAX);
    int result = fl_metrics_new(&stats->metrics);
    if (result < 0) {
        proxy_stats_free(stats);
        return result;
    }
    proxy_stats_prepare(stats);
    *ret_stats = stats;
    return 0;
}

static void edge_free(struct proxy_edge *edge)
{
    while (edge != NULL && edge->outcomes != NULL) {
        struct outcome *outcome = edge->outcomes;
        edge->outcomes = outcome->next;
        free(outcome);
    }
    free(edge);
}

struct proxy_stats *proxy_stats_free(struct proxy_stats *stats)
{
    if (stats == NULL)
        return NULL;
    void *edge;
    for (size_t cursor = 0; fl_map_next(&stats->edges, &cursor, NULL, &edge);)
        edge_free(edge);
    fl_map_done(&stats->edges);
    edge_free(stats->overflow[0]);
    edge_free(stats->overflow[1]);
    fl_metrics_free(stats->metrics);
    free(stats);
    return NULL;
}

struct fl_metrics *proxy_stats_metrics(struct proxy_stats *stats)
{
    return stats->metrics;
}

struct key {
    size_t len;
    char bytes[KEY_MAX];
};

static void add(struct key *key, struct fl_span value)
{
    if (value.len > FL_METRICS_VALUE_MAX)
        value.len = FL_METRICS_VALUE_MAX;
    char *to = key->bytes + key->len;
    to[0] = (char)(value.len & 0xff);
    to[1] = (char)(value.len >> 8);
    if (value.len > 0)
        memcpy(to + 2, value.data, value.len);
    key->len += 2 + value.len;
}

static void add_or_unknown(struct key *key, struct fl_span value)
{
    add(key, value.len > 0 ? value : FL_SPAN("unknown"));
}

static void add_peer(struct key *key, const struct proxy_peer *peer)
{
    add_or_unknown(key, peer->workload);
    add_or_unknown(key, peer->name_space);
    add_or_unknown(key, peer->principal);
    add_or_unknown(key, peer->app);
    add_or_unknown(key, peer->version);
    add_or_unknown(key, peer->cluster);
    add_or_unknown(key, peer->canonical_service);
    add_or_unknown(key, peer->canonical_revision);
}

static void make_key(struct key *key, const struct proxy_edge_labels *of)
{
    static const struct fl_span reporters[] = {{"source", 6}, {"destination", 11}};
    static const struct fl_span protocols[] = {{"tcp", 3}, {"http", 4}, {"grpc", 4}};
    static const struct fl_span policies[] = {{"unknown", 7}, {"none", 4}, {"mutual_tls", 10}};
    key->len = 0;
    add(key, reporters[of->reporter]);
    add_peer(key, &of->source);
    add_peer(key, &of->destination);
    add_or_unknown(key, of->service.host);
    add_or_unknown(key, of->service.name);
    add_or_unknown(key, of->service.name_space);
    add(key, protocols[of->protocol]);
    add(key, policies[of->reporter == PROXY_REPORTER_SOURCE ? PROXY_SECURITY_UNKNOWN : of->security]);
}

static struct proxy_edge *edge_new(struct proxy_stats *stats, const struct key *key, bool tcp)
{
    struct proxy_edge *edge = malloc(sizeof(*edge) + key->len);
    if (edge == NULL)
        return NULL;
    *edge = (struct proxy_edge){.stats = stats, .key_len = (uint32_t)key->len, .tcp = tcp};
    memcpy(edge->key, key->bytes, key->len);
    return edge;
}

/* The edge that stands for all beyond the bound. */
static struct proxy_edge *overflow_edge(struct proxy_stats *stats, struct key *key, bool tcp)
{
    if (stats->overflow[tcp] != NULL)
        return stats->overflow[tcp];
    key->len = 0;
    for (size_t i = 0; i < LABELS_EDGE; i++)
        add(key, FL_SPAN("overflow"));
    stats->overflow[tcp] = edge_new(stats, key, tcp);
    return stats->overflow[tcp];
}

struct proxy_edge *proxy_stats_edge(struct proxy_stats *stats, const struct proxy_edge_labels *of)
{
    struct key key;
    bool tcp = of->protocol == PROXY_PROTOCOL_TCP;
    make_key(&key, of);
    struct proxy_edge *edge = fl_map_get(&stats->edges, fl_span_make(key.bytes, key.len));
    if (edge != NULL)
        return edge;
    if (stats->edges.count >= PROXY_STATS_EDGES_MAX)
        return overflow_edge(stats, &key, tcp);
    edge = edge_new(stats, &key, tcp);
    if (edge != NULL && fl_map_put(&stats->edges, fl_span_make(edge->key, edge->key_len), edge) < 0) {
        edge_free(edge);
        return NULL;
    }
    return edge;
}

/* Values of all labels; the texts of the outcome's are kept here. */
struct values {
    struct fl_span spans[LABELS_HTTP];
    char flags[PROXY_FLAGS_TEXT_MAX], code[8], grpc[16];
};

static struct fl_span decimal(char *text, size_t size, int number)
{
    return fl_span_make(text, (size_t)snprintf(text, size, "%d", number));
}

static void edge_values(const struct proxy_edge *edge, struct values *values)
{
    const char *at = edge->key;
    for (size_t i = 0; i < LABELS_EDGE; i++) {
        size_t len = (size_t)(unsigned char)at[0] | (size_t)(unsigned char)at[1] << 8;
        values->spans[i] = fl_span_make(at + 2, len);
        at += 2 + len;
    }
}

static void outcome_values(const struct outcome *outcome, struct values *values)
{
    values->spans[LABEL_FLAGS] = proxy_flags_print(outcome->flags, values->flags);
    values->spans[LABEL_CODE] = decimal(values->code, sizeof(values->code), outcome->code);
    values->spans[LABEL_GRPC] =
        outcome->grpc_status >= 0 ? decimal(values->grpc, sizeof(values->grpc), outcome->grpc_status) : FL_SPAN("");
}

static void overflow_values(struct values *values)
{
    for (size_t i = LABELS_EDGE; i < LABELS_HTTP; i++)
        values->spans[i] = FL_SPAN("overflow");
}

static void look_up(struct proxy_edge *edge, struct outcome *outcome, const struct fl_span *values)
{
    struct fl_metrics *metrics = edge->stats->metrics;
    if (!edge->tcp) {
        outcome->requests = fl_metrics_counter(metrics, &requests_family, values);
        outcome->duration = fl_metrics_histogram(metrics, &duration_family, values);
        outcome->request_bytes = fl_metrics_histogram(metrics, &request_bytes_family, values);
        outcome->response_bytes = fl_metrics_histogram(metrics, &response_bytes_family, values);
    } else {
        outcome->opened = fl_metrics_counter(metrics, &opened_family, values);
        outcome->closed = fl_metrics_counter(metrics, &closed_family, values);
        outcome->sent = fl_metrics_counter(metrics, &sent_family, values);
        outcome->received = fl_metrics_counter(metrics, &received_family, values);
    }
}

/* The overflow outcome of an edge: the code that no peer can send. */
#define CODE_OVERFLOW UINT16_MAX

static bool is_outcome(const struct outcome *outcome, uint16_t code, uint32_t flags, int32_t grpc_status)
{
    return outcome->code == code && outcome->flags == flags && outcome->grpc_status == grpc_status;
}

static struct outcome *find_outcome(struct proxy_edge *edge, uint16_t code, uint32_t flags, int32_t grpc_status)
{
    for (struct outcome **link = &edge->outcomes; *link != NULL; link = &(*link)->next) {
        struct outcome *outcome = *link;
        if (is_outcome(outcome, code, flags, grpc_status)) {
            *link = outcome->next;
            outcome->next = edge->outcomes;
            edge->outcomes = outcome;
            return outcome;
        }
    }
    return NULL;
}

static __attribute__((noinline)) struct outcome *add_outcome(struct proxy_edge *edge, uint16_t code, uint32_t flags,
                                                             int32_t grpc_status)
{
    struct values values;
    edge_values(edge, &values);
    struct outcome *outcome = calloc(1, sizeof(*outcome));
    if (outcome == NULL)
        return NULL;
    *outcome = (struct outcome){.next = edge->outcomes, .flags = flags, .grpc_status = grpc_status, .code = code};
    if (code == CODE_OVERFLOW)
        overflow_values(&values);
    else
        outcome_values(outcome, &values);
    look_up(edge, outcome, values.spans);
    edge->outcomes = outcome;
    edge->outcome_count++;
    return outcome;
}

/* One line of a scrape beside the label values: metric, label names, punctuation, the outcome's values, a number. */
#define LINE_EXTRA 800
#define LINES_HTTP (1 + 3 * (FL_COUNT(bounds) + 3)) /* a counter; three histograms with +Inf, sum and count */
#define LINES_TCP  4

static size_t exposed_by(const struct proxy_edge *edge)
{
    size_t line = LINE_EXTRA + edge->key_len;
    for (size_t i = 0; i < edge->key_len; i++)
        line += edge->key[i] == '"' || edge->key[i] == '\\'; /* escaped */
    return line * (edge->tcp ? LINES_TCP : LINES_HTTP);
}

static bool take_room(struct proxy_edge *edge)
{
    struct proxy_stats *stats = edge->stats;
    size_t bytes = exposed_by(edge);
    if (edge == stats->overflow[edge->tcp])
        return true;
    if (bytes > PROXY_STATS_EXPOSED_MAX - stats->exposed)
        return false;
    stats->exposed += bytes;
    return true;
}

static struct outcome *use_outcome(struct proxy_edge *edge, uint16_t code, uint32_t flags, int32_t grpc_status)
{
    struct outcome *outcome = edge->outcomes;
    if (outcome != NULL && is_outcome(outcome, code, flags, grpc_status))
        return outcome;
    outcome = find_outcome(edge, code, flags, grpc_status);
    if (outcome != NULL)
        return outcome;
    if (edge->outcome_count >= PROXY_STATS_OUTCOMES_MAX && code != CODE_OVERFLOW)
        return use_outcome(edge, CODE_OVERFLOW, 0, 0);
    if (take_room(edge))
        return add_outcome(edge, code, flags, grpc_status);
    struct key key;
    struct proxy_edge *all = overflow_edge(edge->stats, &key, edge->tcp);
    return all != NULL ? use_outcome(all, code, flags, grpc_status) : NULL;
}

void proxy_stats_request(struct proxy_edge *edge, const struct proxy_request_outcome *outcome)
{
    if (edge == NULL || edge->tcp)
        return;
    int32_t grpc_status = outcome->grpc_status < 0 ? -1 : outcome->grpc_status;
    struct outcome *use = use_outcome(edge, outcome->code, outcome->flags, grpc_status);
    if (use == NULL)
        return;
    fl_counter_add(use->requests, 1);
    fl_histogram_observe(use->duration, outcome->duration_ms);
    fl_histogram_observe(use->request_bytes, (double)outcome->request_bytes);
    fl_histogram_observe(use->response_bytes, (double)outcome->response_bytes);
}

static struct outcome *use_tcp(struct proxy_edge *edge, uint32_t flags)
{
    return edge != NULL && edge->tcp ? use_outcome(edge, 0, flags, -1) : NULL;
}

void proxy_stats_tcp_opened(struct proxy_edge *edge)
{
    struct outcome *use = use_tcp(edge, 0);
    if (use != NULL)
        fl_counter_add(use->opened, 1);
}

void proxy_stats_tcp_closed(struct proxy_edge *edge, uint32_t flags)
{
    struct outcome *use = use_tcp(edge, flags);
    if (use != NULL)
        fl_counter_add(use->closed, 1);
}

void proxy_stats_tcp_bytes(struct proxy_edge *edge, uint32_t flags, uint64_t received, uint64_t sent)
{
    struct outcome *use = use_tcp(edge, flags);
    if (use == NULL)
        return;
    fl_counter_add(use->received, received);
    fl_counter_add(use->sent, sent);
}
