/* What the proxy counts about itself: connections, and everything that went wrong, by reason (declared in stats.h). */
#include "proxy/telemetry/stats_private.h"

#include <errno.h>

static const char *const reason_label[] = {"reason"};
static const char *const side_label[] = {"side"};
static const char *const side_reason_labels[] = {"side", "reason"};
static const char *const limit_label[] = {"limit"};
static const char *const result_label[] = {"result"};
static const char *const version_label[] = {"version"};

#define FAMILY(text, about, of_kind, names, count)                                                                     \
    {                                                                                                                  \
        .name = text, .help = about, .kind = of_kind, .label_names = names, .label_count = count                       \
    }

static const struct fl_metric_family opened_family =
    FAMILY("fairlead_connections_opened_total", "Connections opened.", FL_METRIC_COUNTER, side_label, 1);
static const struct fl_metric_family open_family =
    FAMILY("fairlead_connections", "Connections open now.", FL_METRIC_GAUGE, side_label, 1);
static const struct fl_metric_family detected_family =
    FAMILY("fairlead_detections_total", "Connections whose first bytes were looked at, by what ended that.",
           FL_METRIC_COUNTER, result_label, 1);
static const struct fl_metric_family refused_family =
    FAMILY("fairlead_connections_refused_total", "Connections closed without being served, by reason.",
           FL_METRIC_COUNTER, reason_label, 1);
static const struct fl_metric_family handshake_family =
    FAMILY("fairlead_tls_handshake_failures_total", "TLS handshakes that failed, by reason.", FL_METRIC_COUNTER,
           side_reason_labels, 2);
static const struct fl_metric_family accept_family =
    FAMILY("fairlead_accept_failures_total", "Connections that could not be accepted, by what was lacking.",
           FL_METRIC_COUNTER, reason_label, 1);
static const struct fl_metric_family parse_family =
    FAMILY("fairlead_http_parse_errors_total", "HTTP messages refused as malformed or ambiguous, by reason.",
           FL_METRIC_COUNTER, side_reason_labels, 2);
static const struct fl_metric_family dropped_family =
    FAMILY("fairlead_access_log_dropped_total", "Access log lines dropped because the reader was slow.",
           FL_METRIC_COUNTER, NULL, 0);
static const struct fl_metric_family connect_family =
    FAMILY("fairlead_upstream_connect_failures_total", "Upstream connections that could not be made, by reason.",
           FL_METRIC_COUNTER, reason_label, 1);
static const struct fl_metric_family overflow_family =
    FAMILY("fairlead_upstream_overflows_total", "Requests and connections that a circuit breaker refused, by limit.",
           FL_METRIC_COUNTER, limit_label, 1);
static const struct fl_metric_family retry_family =
    FAMILY("fairlead_upstream_retries_total", "Retries of requests, by what became of them.", FL_METRIC_COUNTER,
           result_label, 1);
static const struct fl_metric_family mirror_family =
    FAMILY("fairlead_mirrored_requests_total", "Copies of requests for further clusters, by what became of them.",
           FL_METRIC_COUNTER, result_label, 1);
static const struct fl_metric_family spans_family =
    FAMILY("fairlead_trace_spans_total", "Spans, by what became of them.", FL_METRIC_COUNTER, result_label, 1);
static const char *const outlier_labels[] = {"kind", "enforced"};
static const struct fl_metric_family outlier_family =
    FAMILY("fairlead_upstream_ejections_total", "Hosts whose failures in a row were too many, by what was counted.",
           FL_METRIC_COUNTER, outlier_labels, 2);
static const struct fl_metric_family ejected_family =
    FAMILY("fairlead_upstream_hosts_ejected", "Hosts ejected now.", FL_METRIC_GAUGE, NULL, 0);
static const struct fl_metric_family under_way_family =
    FAMILY("fairlead_tls_handshakes_under_way", "TLS handshakes under way.", FL_METRIC_GAUGE, NULL, 0);
static const struct fl_metric_family waiting_family = FAMILY(
    "fairlead_tls_handshakes_waiting", "TLS handshakes that wait for others to be done.", FL_METRIC_GAUGE, NULL, 0);
static const struct fl_metric_family gate_family =
    FAMILY("fairlead_start_gate_open", "Whether the start gate is open: traffic of this pod is captured.",
           FL_METRIC_GAUGE, NULL, 0);
static const struct fl_metric_family draining_family =
    FAMILY("fairlead_draining", "Whether the proxy is draining: it is not ready, and asks HTTP clients to leave.",
           FL_METRIC_GAUGE, NULL, 0);
static const char *const stage_label[] = {"stage"};
static const struct fl_metric_family memory_limit_family =
    FAMILY("fairlead_memory_limit_bytes", "Memory that the process may use; 0: no ceiling.", FL_METRIC_GAUGE, NULL, 0);
static const struct fl_metric_family memory_used_family = FAMILY(
    "fairlead_memory_used_bytes", "Memory that is resident, as the ceiling counts it.", FL_METRIC_GAUGE, NULL, 0);
static const struct fl_metric_family memory_stage_family =
    FAMILY("fairlead_memory_stage",
           "What the memory ceiling lets go of now: 0 nothing, 1 stop_reading, 2 close_idle, 3 "
           "refuse.",
           FL_METRIC_GAUGE, NULL, 0);
static const struct fl_metric_family memory_stages_family = FAMILY(
    "fairlead_memory_stages_total", "Stages of the memory ceiling that began.", FL_METRIC_COUNTER, stage_label, 1);
static const struct fl_metric_family memory_requests_family =
    FAMILY("fairlead_memory_requests_refused_total", "Requests answered 503 because of the memory ceiling.",
           FL_METRIC_COUNTER, NULL, 0);
static const struct fl_metric_family build_family =
    FAMILY("fairlead_build_info", "Always 1; the version is a label.", FL_METRIC_GAUGE, version_label, 1);
static const struct fl_metric_family reload_family =
    FAMILY("fairlead_config_reloads_total", "Configurations read anew, by result.", FL_METRIC_COUNTER, result_label, 1);

static const char *const rbac_labels[] = {"filter", "rules", "result"};
static const struct fl_metric_family rbac_family =
    FAMILY("fairlead_rbac_decisions_total", "Decisions of authorization policies, by filter, rules and result.",
           FL_METRIC_COUNTER, rbac_labels, 3);
static const char *const jwt_labels[] = {"result"};
static const struct fl_metric_family jwt_family = FAMILY(
    "fairlead_jwt_checks_total", "Requests whose token was checked, by result.", FL_METRIC_COUNTER, jwt_labels, 1);

const char *proxy_refused_word(enum proxy_refused reason)
{
    static const char *const words[] = {
#define X(id, word) [PROXY_REFUSED_##id] = word,
        PROXY_REFUSED_LIST(X)
#undef X
    };
    return words[reason];
}

const char *proxy_handshake_word(enum proxy_handshake_failure reason)
{
    static const char *const words[] = {
#define X(id, word) [PROXY_HANDSHAKE_##id] = word,
        PROXY_HANDSHAKE_LIST(X)
#undef X
    };
    return words[reason];
}

static struct fl_span side_word(enum proxy_side side)
{
    return side == PROXY_SIDE_DOWNSTREAM ? FL_SPAN("downstream") : FL_SPAN("upstream");
}

/* The series in its cache, looked up where it is not there yet. */
static struct fl_counter *use(struct proxy_stats *stats, struct fl_counter **cache,
                              const struct fl_metric_family *family, const struct fl_span *values)
{
    if (*cache == NULL)
        *cache = fl_metrics_counter(stats->metrics, family, values);
    return *cache;
}

static struct fl_counter *use_sided(struct proxy_stats *stats, struct fl_counter **cache,
                                    const struct fl_metric_family *family, enum proxy_side side, const char *reason)
{
    if (*cache != NULL)
        return *cache;
    const struct fl_span values[] = {side_word(side), fl_span_str(reason)};
    return use(stats, cache, family, values);
}

static struct fl_counter *opened(struct proxy_stats *stats, enum proxy_side side)
{
    const struct fl_span value = side_word(side);
    return use(stats, &stats->opened[side], &opened_family, &value);
}

static struct fl_gauge *open_now(struct proxy_stats *stats, enum proxy_side side)
{
    const struct fl_span value = side_word(side);
    if (stats->open[side] == NULL)
        stats->open[side] = fl_metrics_gauge(stats->metrics, &open_family, &value);
    return stats->open[side];
}

static struct fl_counter *refused(struct proxy_stats *stats, enum proxy_refused reason)
{
    const struct fl_span value = fl_span_str(proxy_refused_word(reason));
    return use(stats, &stats->refused[reason], &refused_family, &value);
}

static struct fl_counter *detected(struct proxy_stats *stats, enum proxy_detected result)
{
    static const struct fl_span words[] = {
#define X(id, word) FL_SPAN(word),
        PROXY_DETECTED_LIST(X)
#undef X
    };
    return use(stats, &stats->detected[result], &detected_family, &words[result]);
}

static struct fl_counter *handshakes(struct proxy_stats *stats, enum proxy_side side,
                                     enum proxy_handshake_failure reason)
{
    return use_sided(stats, &stats->handshakes[side][reason], &handshake_family, side, proxy_handshake_word(reason));
}

static struct fl_counter *overflows(struct proxy_stats *stats, enum proxy_upstream_limit limit)
{
    static const struct fl_span words[] = {
#define X(id, word) FL_SPAN(word),
        PROXY_UPSTREAM_LIMITS(X)
#undef X
    };
    return use(stats, &stats->overflows[limit], &overflow_family, &words[limit]);
}

static struct fl_counter *retries(struct proxy_stats *stats, enum proxy_retry_result result)
{
    static const struct fl_span words[] = {
#define X(id, word) FL_SPAN(word),
        PROXY_RETRY_LIST(X)
#undef X
    };
    return use(stats, &stats->retries[result], &retry_family, &words[result]);
}

void proxy_stats_prepare(struct proxy_stats *stats)
{
    for (int side = 0; side < SIDES; side++) {
        opened(stats, (enum proxy_side)side);
        open_now(stats, (enum proxy_side)side);
        for (int reason = 0; reason < PROXY_HANDSHAKE_REASONS; reason++)
            handshakes(stats, (enum proxy_side)side, (enum proxy_handshake_failure)reason);
    }
    for (int reason = 0; reason < PROXY_REFUSED_REASONS; reason++)
        refused(stats, (enum proxy_refused)reason);
    for (int result = 0; result < PROXY_DETECTED_RESULTS; result++)
        detected(stats, (enum proxy_detected)result);
    for (int limit = 0; limit < PROXY_UPSTREAM_LIMIT_COUNT; limit++)
        overflows(stats, (enum proxy_upstream_limit)limit);
    for (int result = 0; result < PROXY_RETRY_RESULTS; result++)
        retries(stats, (enum proxy_retry_result)result);
    proxy_stats_log_dropped(stats, 0);
}

void proxy_stats_connection_opened(struct proxy_stats *stats, enum proxy_side side)
{
    fl_counter_add(opened(stats, side), 1);
    fl_gauge_add(open_now(stats, side), 1);
}

void proxy_stats_connection_closed(struct proxy_stats *stats, enum proxy_side side)
{
    fl_gauge_add(open_now(stats, side), -1);
}

void proxy_stats_refused(struct proxy_stats *stats, enum proxy_refused reason)
{
    fl_counter_add(refused(stats, reason), 1);
}

void proxy_stats_detected(struct proxy_stats *stats, enum proxy_detected result)
{
    fl_counter_add(detected(stats, result), 1);
}

void proxy_stats_handshake_failed(struct proxy_stats *stats, enum proxy_side side, enum proxy_handshake_failure reason)
{
    fl_counter_add(handshakes(stats, side, reason), 1);
}

static void count(struct proxy_stats *stats, const struct fl_metric_family *family, struct fl_span value)
{
    fl_counter_add(fl_metrics_counter(stats->metrics, family, &value), 1);
}

void proxy_stats_accept_failed(struct proxy_stats *stats, int error)
{
    error = error < 0 ? -error : error;
    if (error == EMFILE || error == ENFILE)
        count(stats, &accept_family, FL_SPAN("fd"));
    else
        count(stats, &accept_family, error == ENOBUFS || error == ENOMEM ? FL_SPAN("memory") : FL_SPAN("other"));
}

void proxy_stats_parse_error(struct proxy_stats *stats, enum proxy_side side, const char *word)
{
    const struct fl_span prefix = FL_SPAN("http1.");
    struct fl_span reason = fl_span_str(word);
    if (fl_span_starts_with(reason, prefix))
        reason = fl_span_from(reason, prefix.len);
    const struct fl_span values[] = {side_word(side), reason};
    fl_counter_add(fl_metrics_counter(stats->metrics, &parse_family, values), 1);
}

void proxy_stats_log_dropped(struct proxy_stats *stats, uint64_t lines)
{
    fl_counter_add(use(stats, &stats->log_dropped, &dropped_family, NULL), lines);
}

const char *proxy_connect_word(int error)
{
    switch (error < 0 ? -error : error) {
    case ECONNREFUSED:
        return "refused";
    case ETIMEDOUT:
        return "timeout";
    case EHOSTUNREACH:
    case ENETUNREACH:
        return "unreachable";
    case ECONNRESET:
    case EPIPE:
        return "reset";
    case ENOKEY:
        return "no_tls";
    default:
        return "other";
    }
}

const char *proxy_connect_text(int error)
{
    error = error < 0 ? -error : error;
    return error == ENOKEY ? "it is to be spoken to in TLS alone, and there is no TLS for it" : strerrordesc_np(error);
}

void proxy_stats_connect_failed(struct proxy_stats *stats, int error)
{
    count(stats, &connect_family, fl_span_str(proxy_connect_word(error)));
}

void proxy_stats_overflow(struct proxy_stats *stats, enum proxy_upstream_limit limit)
{
    fl_counter_add(overflows(stats, limit), 1);
}

void proxy_stats_retry(struct proxy_stats *stats, enum proxy_retry_result result)
{
    fl_counter_add(retries(stats, result), 1);
}

void proxy_stats_mirror(struct proxy_stats *stats, enum proxy_mirror_result result)
{
    static const struct fl_span words[] = {
#define X(id, word) FL_SPAN(word),
        PROXY_MIRROR_LIST(X)
#undef X
    };
    fl_counter_add(use(stats, &stats->mirrors[result], &mirror_family, &words[result]), 1);
}

void proxy_stats_spans(struct proxy_stats *stats, enum proxy_spans_result result, size_t count)
{
    static const struct fl_span words[] = {
#define X(id, word) FL_SPAN(word),
        PROXY_SPANS_LIST(X)
#undef X
    };
    fl_counter_add(fl_metrics_counter(stats->metrics, &spans_family, &words[result]), count);
}

void proxy_stats_outlier(struct proxy_stats *stats, enum proxy_outlier_kind kind, bool ejected)
{
    static const struct fl_span words[] = {
#define X(id, word) FL_SPAN(word),
        PROXY_OUTLIER_KINDS(X)
#undef X
    };
    const struct fl_span values[] = {words[kind], ejected ? FL_SPAN("true") : FL_SPAN("false")};
    fl_counter_add(fl_metrics_counter(stats->metrics, &outlier_family, values), 1);
}

void proxy_stats_ejected(struct proxy_stats *stats, size_t hosts)
{
    fl_gauge_set(fl_metrics_gauge(stats->metrics, &ejected_family, NULL), (double)hosts);
}

void proxy_stats_handshakes(struct proxy_stats *stats, size_t under_way, size_t waiting)
{
    fl_gauge_set(fl_metrics_gauge(stats->metrics, &under_way_family, NULL), (double)under_way);
    fl_gauge_set(fl_metrics_gauge(stats->metrics, &waiting_family, NULL), (double)waiting);
}

void proxy_stats_process(struct proxy_stats *stats)
{
    const struct fl_span version = FL_SPAN(FL_VERSION);
    fl_gauge_set(fl_metrics_gauge(stats->metrics, &build_family, &version), 1);
}

void proxy_stats_memory(struct proxy_stats *stats, uint64_t limit, uint64_t used, enum proxy_shed stage)
{
    fl_gauge_set(fl_metrics_gauge(stats->metrics, &memory_limit_family, NULL), (double)limit);
    fl_gauge_set(fl_metrics_gauge(stats->metrics, &memory_used_family, NULL), (double)used);
    fl_gauge_set(fl_metrics_gauge(stats->metrics, &memory_stage_family, NULL), stage);
}

void proxy_stats_shed_stage(struct proxy_stats *stats, enum proxy_shed stage)
{
    count(stats, &memory_stages_family, fl_span_str(proxy_shed_word(stage)));
}

void proxy_stats_shed_request(struct proxy_stats *stats)
{
    fl_counter_add(fl_metrics_counter(stats->metrics, &memory_requests_family, NULL), 1);
}

void proxy_stats_start_gate(struct proxy_stats *stats, bool open)
{
    fl_gauge_set(fl_metrics_gauge(stats->metrics, &gate_family, NULL), open ? 1 : 0);
}

void proxy_stats_draining(struct proxy_stats *stats, bool draining)
{
    fl_gauge_set(fl_metrics_gauge(stats->metrics, &draining_family, NULL), draining ? 1 : 0);
}

void proxy_stats_reload(struct proxy_stats *stats, bool accepted)
{
    count(stats, &reload_family, accepted ? FL_SPAN("accepted") : FL_SPAN("rejected"));
}

void proxy_stats_rbac(struct proxy_stats *stats, enum proxy_policy_at at, enum proxy_policy_rules rules, bool allowed)
{
    struct fl_counter **cache = &stats->rbac[at][rules][allowed];
    if (*cache == NULL) {
        const struct fl_span values[] = {
            at == PROXY_POLICY_HTTP ? FL_SPAN("http") : FL_SPAN("tcp"),
            rules == PROXY_POLICY_SHADOW ? FL_SPAN("shadow") : FL_SPAN("enforced"),
            allowed ? FL_SPAN("allowed") : FL_SPAN("denied"),
        };
        use(stats, cache, &rbac_family, values);
    }
    fl_counter_add(*cache, 1);
}

void proxy_stats_jwt(struct proxy_stats *stats, unsigned outcome, const char *word)
{
    if (outcome >= PROXY_STATS_JWT_MAX)
        return;
    const struct fl_span value = fl_span_str(word);
    fl_counter_add(use(stats, &stats->jwt[outcome], &jwt_family, &value), 1);
}
