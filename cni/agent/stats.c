#include "cni/agent/stats.h"

#include "common/base/log.h"
#include "common/metrics/expose.h"

#include <errno.h>

static const char *const result_labels[] = {"result"};
static const char *const state_labels[] = {"state"};
static const char *const what_labels[] = {"what"};
static const char *const kind_labels[] = {"kind"};
static const char *const how_labels[] = {"how"};
static const char *const build_labels[] = {"version"};
/* Seconds. A restored table takes milliseconds, a missed pod up to one second, or as long as no agent was there. */
static const double repair_buckets[] = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,  1,     2.5,
                                        5,     10,   30,    60,   300, 900,  3600, 14400, 86400};

#define COUNTER(text, about, labels)                                                                                   \
    {                                                                                                                  \
        .name = text, .help = about, .kind = FL_METRIC_COUNTER, .label_names = labels, .label_count = FL_COUNT(labels) \
    }
#define GAUGE(text, about)                                                                                             \
    {                                                                                                                  \
        .name = text, .help = about, .kind = FL_METRIC_GAUGE                                                           \
    }

static const struct fl_metric_family installs_family =
    COUNTER("fairlead_cni_installs_total",
            "Passes of the installer that changed something or ended differently than "
            "the one before, by how they ended.",
            result_labels);
static const struct fl_metric_family state_family = {
    .name = "fairlead_cni_install_state",
    .help = "1 for the state that the installation is in.",
    .kind = FL_METRIC_GAUGE,
    .label_names = state_labels,
    .label_count = FL_COUNT(state_labels),
};
static const struct fl_metric_family ready_family =
    GAUGE("fairlead_cni_install_ready", "Whether plugin and configuration are in place, as read back.");
static const struct fl_metric_family polling_family =
    GAUGE("fairlead_cni_watch_polling", "Whether folders are polled because inotify cannot be had.");
static const struct fl_metric_family reasserts_family = COUNTER(
    "fairlead_cni_reasserts_total", "Times that what somebody had changed or removed was put back.", what_labels);
static const struct fl_metric_family rescues_family = {
    .name = "fairlead_cni_rescues_total",
    .help = "Writes of others into a configuration that had just been replaced, and were not lost.",
    .kind = FL_METRIC_COUNTER,
};
static const struct fl_metric_family repairs_family =
    COUNTER("fairlead_cni_repairs_total", "What was found and done about sidecars on this node.", kind_labels);
static const struct fl_metric_family repair_seconds_family = {
    .name = "fairlead_cni_repair_seconds",
    .help = "Until a pod was captured: from the start of its sidecar, or from when a changed table was first seen.",
    .kind = FL_METRIC_HISTOGRAM,
    .buckets = repair_buckets,
    .bucket_count = FL_COUNT(repair_buckets),
};
static const struct fl_metric_family sidecars_family =
    GAUGE("fairlead_cni_sidecars", "Network namespaces with a sidecar that are looked after.");
static const struct fl_metric_family uncaptured_family =
    GAUGE("fairlead_cni_uncaptured", "Of them, those whose capture is known not to be in force now.");
static const struct fl_metric_family refused_family =
    GAUGE("fairlead_cni_refused", "Processes that claim to be a sidecar and are not believed.");
static const struct fl_metric_family exec_events_family =
    GAUGE("fairlead_cni_exec_events", "Whether the kernel tells of new processes; 0: they are scanned for.");
static const struct fl_metric_family losses_family = {
    .name = "fairlead_cni_exec_events_lost_total",
    .help = "Times that the kernel dropped events of new processes; everything was looked at then.",
    .kind = FL_METRIC_COUNTER,
};
static const struct fl_metric_family checks_family =
    COUNTER("fairlead_cni_checks_total", "Looks into network namespaces.", how_labels);
static const struct fl_metric_family events_family =
    COUNTER("fairlead_cni_events_total", "Events about pods and the node, by what became of them.", result_labels);
static const struct fl_metric_family connections_family = COUNTER(
    "fairlead_cni_http_connections_total", "Connections to metrics and probes, by how they ended.", result_labels);
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

static const char *const event_words[] = {
#define X(symbol, word) [CNI_STATS_EVENT_##symbol] = word,
    CNI_STATS_EVENTS(X)
#undef X
};
static const char *const end_words[] = {
#define X(symbol, word) [CNI_SERVE_##symbol] = word,
    CNI_SERVE_ENDS(X)
#undef X
};

/* Makes series, and remembers whether one could not be made. */
struct maker {
    struct fl_metrics *metrics;
    bool complete;
};

static struct fl_counter *counter(struct maker *maker, const struct fl_metric_family *family, const char *word)
{
    const struct fl_span value = fl_span_str(word);
    struct fl_counter *made = fl_metrics_counter(maker->metrics, family, word != NULL ? &value : NULL);
    maker->complete = maker->complete && made != NULL;
    return made;
}

static struct fl_gauge *gauge(struct maker *maker, const struct fl_metric_family *family, const char *word)
{
    const struct fl_span value = fl_span_str(word);
    struct fl_gauge *made = fl_metrics_gauge(maker->metrics, family, word != NULL ? &value : NULL);
    maker->complete = maker->complete && made != NULL;
    return made;
}

static void make_install(struct cni_stats *stats, struct maker *maker)
{
    stats->ready = gauge(maker, &ready_family, NULL);
    for (int state = 0; state < CNI_STATS_STATE_COUNT; state++) {
        const char *word = cni_install_state_name((enum cni_install_state)state);
        stats->states[state] = gauge(maker, &state_family, word);
        stats->installs[state] = counter(maker, &installs_family, word);
    }
    stats->payload_written = counter(maker, &reasserts_family, "payload");
    stats->conflist_written = counter(maker, &reasserts_family, "conflist");
    stats->rescued = counter(maker, &rescues_family, NULL);
    stats->polling = gauge(maker, &polling_family, NULL);
}

static void make_repair(struct cni_stats *stats, struct maker *maker)
{
    for (int kind = 0; kind < CNI_REPAIR_KIND_COUNT; kind++)
        stats->repairs[kind] = counter(maker, &repairs_family, cni_repair_kind_name((enum cni_repair_kind)kind));
    stats->repair_seconds = fl_metrics_histogram(maker->metrics, &repair_seconds_family, NULL);
    maker->complete = maker->complete && stats->repair_seconds != NULL;
    stats->sidecars = gauge(maker, &sidecars_family, NULL);
    stats->uncaptured = gauge(maker, &uncaptured_family, NULL);
    stats->refused = gauge(maker, &refused_family, NULL);
    stats->checks = counter(maker, &checks_family, "rules");
    stats->fingerprints = counter(maker, &checks_family, "fingerprint");
    stats->exec_events = gauge(maker, &exec_events_family, NULL);
    stats->losses = counter(maker, &losses_family, NULL);
}

int cni_stats_init(struct cni_stats *stats)
{
    *stats = (struct cni_stats){0};
    int result = fl_metrics_new(&stats->metrics);
    if (result < 0)
        return result;
    struct maker maker = {stats->metrics, true};
    make_install(stats, &maker);
    make_repair(stats, &maker);
    for (size_t i = 0; i < FL_COUNT(event_words); i++)
        stats->events[i] = counter(&maker, &events_family, event_words[i]);
    for (size_t i = 0; i < FL_COUNT(end_words); i++)
        stats->connections[i] = counter(&maker, &connections_family, end_words[i]);
    stats->dropped = counter(&maker, &dropped_family, NULL);
    fl_gauge_set(gauge(&maker, &build_family, FL_VERSION), 1);
    if (!maker.complete)
        cni_stats_done(stats);
    return maker.complete ? 0 : -ENOMEM;
}

void cni_stats_done(struct cni_stats *stats)
{
    fl_metrics_free(stats->metrics);
    *stats = (struct cni_stats){0};
}

void cni_stats_install(struct cni_stats *stats, const struct cni_install_report *report)
{
    fl_counter_add(stats->installs[report->state], 1);
    for (int state = 0; state < CNI_STATS_STATE_COUNT; state++)
        fl_gauge_set(stats->states[state], state == (int)report->state);
    fl_gauge_set(stats->ready, report->state == CNI_INSTALL_INSTALLED);
    if (stats->installed) {
        fl_counter_add(stats->payload_written, report->payload_written);
        fl_counter_add(stats->conflist_written, report->conflist_written);
    }
    stats->installed = stats->installed || report->state == CNI_INSTALL_INSTALLED;
}

void cni_stats_repair(struct cni_stats *stats, const struct cni_repair_report *report)
{
    fl_counter_add(stats->repairs[report->kind], 1);
    if (report->kind == CNI_REPAIR_CAPTURED || report->kind == CNI_REPAIR_RESTORED)
        fl_histogram_observe(stats->repair_seconds, (double)report->duration_ns / 1e9);
}

int cni_stats_expose(struct cni_stats *stats, const struct cni_watch_counts *watch,
                     const struct cni_repair_counts *repair, struct fl_buf *out)
{
    stats->dropped->value = fl_log_dropped();
    if (watch != NULL) {
        stats->rescued->value = watch->rescued;
        fl_gauge_set(stats->polling, watch->polling);
    }
    if (repair != NULL) {
        fl_gauge_set(stats->sidecars, (double)repair->sidecars);
        fl_gauge_set(stats->uncaptured, (double)repair->uncaptured);
        fl_gauge_set(stats->refused, (double)repair->refused);
        fl_gauge_set(stats->exec_events, repair->events);
        stats->checks->value = repair->checks;
        stats->fingerprints->value = repair->fingerprints;
        stats->losses->value = repair->losses;
    }
    return fl_metrics_expose(&stats->metrics, 1, out);
}
