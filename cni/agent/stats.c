#include "cni/agent/stats.h"

#include "common/base/log.h"
#include "common/metrics/expose.h"

#include <errno.h>

static const char *const event_labels[] = {"result"};
static const char *const build_labels[] = {"version"};

static const struct fl_metric_family events_family = {
    .name = "fairlead_cni_events_total",
    .help = "Events about pods and the node, by what became of them.",
    .kind = FL_METRIC_COUNTER,
    .label_names = event_labels,
    .label_count = FL_COUNT(event_labels),
};
static const struct fl_metric_family dropped_family = {
    .name = "fairlead_cni_log_lines_dropped_total",
    .help = "Log lines that were not written because the reader was slow.",
    .kind = FL_METRIC_COUNTER,
};
static const struct fl_metric_family build_family = {
    .name = "fairlead_cni_build_info",
    .help = "Always 1; the version is a label.",
    .kind = FL_METRIC_GAUGE,
    .label_names = build_labels,
    .label_count = FL_COUNT(build_labels),
};

int cni_stats_init(struct cni_stats *stats)
{
    static const char *const event_words[] = {
#define X(symbol, word) [CNI_STATS_EVENT_##symbol] = word,
        CNI_STATS_EVENTS(X)
#undef X
    };
    *stats = (struct cni_stats){0};
    int result = fl_metrics_new(&stats->metrics);
    if (result < 0)
        return result;
    const struct fl_span version = FL_SPAN(FL_VERSION);
    fl_gauge_set(fl_metrics_gauge(stats->metrics, &build_family, &version), 1);
    stats->dropped = fl_metrics_counter(stats->metrics, &dropped_family, NULL);
    bool complete = stats->dropped != NULL;
    for (size_t i = 0; i < FL_COUNT(event_words); i++) {
        const struct fl_span value = fl_span_str(event_words[i]);
        stats->events[i] = fl_metrics_counter(stats->metrics, &events_family, &value);
        complete = complete && stats->events[i] != NULL;
    }
    if (!complete)
        cni_stats_done(stats);
    return complete ? 0 : -ENOMEM;
}

void cni_stats_done(struct cni_stats *stats)
{
    fl_metrics_free(stats->metrics);
    *stats = (struct cni_stats){0};
}

int cni_stats_expose(struct cni_stats *stats, struct fl_buf *out)
{
    stats->dropped->value = fl_log_dropped();
    return fl_metrics_expose(&stats->metrics, 1, out);
}
