#include "webhook/stats.h"

#include "common/base/log.h"
#include "common/metrics/expose.h"

#include <errno.h>

static const char *const request_labels[] = {"outcome", "reason"};
static const char *const reload_labels[] = {"what", "result"};
static const char *const get_labels[] = {"result"};
static const char *const caller_labels[] = {"check", "result"};
static const char *const build_labels[] = {"version"};
static const double duration_buckets[] = {0.00005, 0.0001, 0.0002, 0.0003, 0.0005, 0.001,
                                          0.0025,  0.005,  0.01,   0.025,  0.05,   0.1};

static const struct fl_metric_family requests_family = {
    .name = "fairlead_webhook_requests_total",
    .help = "Admission requests by how they ended and why.",
    .kind = FL_METRIC_COUNTER,
    .label_names = request_labels,
    .label_count = FL_COUNT(request_labels),
};
static const struct fl_metric_family duration_family = {
    .name = "fairlead_webhook_request_duration_seconds",
    .help = "From the complete request to the complete answer.",
    .kind = FL_METRIC_HISTOGRAM,
    .buckets = duration_buckets,
    .bucket_count = FL_COUNT(duration_buckets),
};
static const struct fl_metric_family not_after_family = {
    .name = "fairlead_webhook_certificate_expiry_timestamp_seconds",
    .help = "When the serving certificate expires, in seconds since the epoch.",
    .kind = FL_METRIC_GAUGE,
};
static const struct fl_metric_family namespaces_family = {
    .name = "fairlead_webhook_namespaces",
    .help = "Namespaces that are known.",
    .kind = FL_METRIC_GAUGE,
};
static const struct fl_metric_family reloads_family = {
    .name = "fairlead_webhook_reloads_total",
    .help = "Files read again: taken over, or refused (the old stays).",
    .kind = FL_METRIC_COUNTER,
    .label_names = reload_labels,
    .label_count = FL_COUNT(reload_labels),
};
static const struct fl_metric_family gets_family = {
    .name = "fairlead_webhook_namespace_gets_total",
    .help = "Namespaces asked for at once, because what was known could be too old for a decision.",
    .kind = FL_METRIC_COUNTER,
    .label_names = get_labels,
    .label_count = FL_COUNT(get_labels),
};
static const struct fl_metric_family watch_troubles_family = {
    .name = "fairlead_webhook_namespace_watch_troubles_total",
    .help = "Times that following the namespaces failed and was tried again.",
    .kind = FL_METRIC_COUNTER,
};
static const struct fl_metric_family callers_family = {
    .name = "fairlead_webhook_callers_total",
    .help = "Checks of who calls, by how they ended.",
    .kind = FL_METRIC_COUNTER,
    .label_names = caller_labels,
    .label_count = FL_COUNT(caller_labels),
};
static const struct fl_metric_family dropped_family = {
    .name = "fairlead_webhook_log_lines_dropped_total",
    .help = "Log lines that were not written because the reader was slow.",
    .kind = FL_METRIC_COUNTER,
};
static const struct fl_metric_family build_family = {
    .name = "fairlead_webhook_build_info",
    .help = "Always 1; the version is a label.",
    .kind = FL_METRIC_GAUGE,
    .label_names = build_labels,
    .label_count = FL_COUNT(build_labels),
};

const char *webhook_reload_word(enum webhook_reload what)
{
    static const char *const words[] = {
#define X(symbol, word) [WEBHOOK_RELOAD_##symbol] = word,
        WEBHOOK_RELOADS(X)
#undef X
    };
    return words[what];
}

/* Whether memory was there. */
static bool make_lookups(struct webhook_stats *stats)
{
    static const char *const words[] = {
#define X(symbol, word) [WEBHOOK_GET_##symbol] = word,
        WEBHOOK_GETS(X)
#undef X
    };
    stats->watch_troubles = fl_metrics_counter(stats->metrics, &watch_troubles_family, NULL);
    bool complete = stats->watch_troubles != NULL;
    for (size_t i = 0; i < FL_COUNT(words); i++) {
        const struct fl_span value = fl_span_str(words[i]);
        stats->gets[i] = fl_metrics_counter(stats->metrics, &gets_family, &value);
        complete = complete && stats->gets[i] != NULL;
    }
    return complete;
}

int webhook_stats_init(struct webhook_stats *stats)
{
    *stats = (struct webhook_stats){0};
    int result = fl_metrics_new(&stats->metrics);
    if (result < 0)
        return result;
    const struct fl_span version = FL_SPAN(FL_VERSION);
    fl_gauge_set(fl_metrics_gauge(stats->metrics, &build_family, &version), 1);
    stats->duration = fl_metrics_histogram(stats->metrics, &duration_family, NULL);
    stats->not_after = fl_metrics_gauge(stats->metrics, &not_after_family, NULL);
    stats->namespaces = fl_metrics_gauge(stats->metrics, &namespaces_family, NULL);
    stats->dropped = fl_metrics_counter(stats->metrics, &dropped_family, NULL);
    bool complete =
        stats->duration != NULL && stats->not_after != NULL && stats->namespaces != NULL && stats->dropped != NULL;
    for (int what = 0; what < WEBHOOK_RELOAD_COUNT; what++) {
        for (int success = 0; success < 2; success++) {
            const struct fl_span values[] = {fl_span_str(webhook_reload_word((enum webhook_reload)what)),
                                             fl_span_str(success ? "success" : "failure")};
            stats->reloads[what][success] = fl_metrics_counter(stats->metrics, &reloads_family, values);
            complete = complete && stats->reloads[what][success] != NULL;
        }
    }
    complete = make_lookups(stats) && complete;
    if (!complete)
        webhook_stats_done(stats);
    return complete ? 0 : -ENOMEM;
}

void webhook_stats_done(struct webhook_stats *stats)
{
    fl_metrics_free(stats->metrics);
    *stats = (struct webhook_stats){0};
}

void webhook_stats_request(struct webhook_stats *stats, enum webhook_outcome outcome, enum webhook_reason reason,
                           double seconds)
{
    struct fl_counter **counter = &stats->requests[outcome][reason];
    if (*counter == NULL) {
        const struct fl_span values[] = {fl_span_str(webhook_outcome_word(outcome)),
                                         fl_span_str(webhook_reason_word(reason))};
        *counter = fl_metrics_counter(stats->metrics, &requests_family, values);
    }
    fl_counter_add(*counter, 1);
    fl_histogram_observe(stats->duration, seconds);
}

void webhook_stats_caller(struct webhook_stats *stats, enum webhook_caller_check check,
                          enum webhook_caller_result result)
{
    struct fl_counter **counter = &stats->callers[check][result];
    if (*counter == NULL) {
        const struct fl_span values[] = {check == WEBHOOK_CHECK_TOKEN ? FL_SPAN("token") : FL_SPAN("certificate"),
                                         fl_span_str(webhook_caller_word(result))};
        *counter = fl_metrics_counter(stats->metrics, &callers_family, values);
    }
    fl_counter_add(*counter, 1);
}

void webhook_stats_reload(struct webhook_stats *stats, enum webhook_reload what, bool success)
{
    fl_counter_add(stats->reloads[what][success], 1);
}

int webhook_stats_expose(struct webhook_stats *stats, struct fl_buf *out)
{
    stats->dropped->value = fl_log_dropped();
    return fl_metrics_expose(&stats->metrics, 1, out);
}
