#include "control/source/meter.h"

static const char *const kind_names[] = {"kind"};
static const struct fl_metric_family objects_family = {
    .name = "fairlead_control_source_objects",
    .help = "Objects of a kind in the model.",
    .kind = FL_METRIC_GAUGE,
    .label_names = kind_names,
    .label_count = 1,
};
static const struct fl_metric_family synced_family = {
    .name = "fairlead_control_source_synced",
    .help = "Whether a kind is followed: 1, 0 while it fails or waits, -1 where the API server does not know it.",
    .kind = FL_METRIC_GAUGE,
    .label_names = kind_names,
    .label_count = 1,
};
static const struct fl_metric_family silence_family = {
    .name = "fairlead_control_source_silence_seconds",
    .help = "Since the API server last said anything on a kind (it does about once a minute).",
    .kind = FL_METRIC_GAUGE,
    .label_names = kind_names,
    .label_count = 1,
};
static const struct fl_metric_family lists_family = {
    .name = "fairlead_control_source_lists_total",
    .help = "Lists of a kind that were begun.",
    .kind = FL_METRIC_COUNTER,
    .label_names = kind_names,
    .label_count = 1,
};
static const struct fl_metric_family watches_family = {
    .name = "fairlead_control_source_watches_total",
    .help = "Watches of a kind that were begun.",
    .kind = FL_METRIC_COUNTER,
    .label_names = kind_names,
    .label_count = 1,
};
static const struct fl_metric_family events_family = {
    .name = "fairlead_control_source_events_total",
    .help = "Events of a kind that were received, bookmarks included.",
    .kind = FL_METRIC_COUNTER,
    .label_names = kind_names,
    .label_count = 1,
};
static const struct fl_metric_family troubles_family = {
    .name = "fairlead_control_source_failures_total",
    .help = "Lists and watches of a kind that failed.",
    .kind = FL_METRIC_COUNTER,
    .label_names = kind_names,
    .label_count = 1,
};
static const double lag_buckets[] = {0.025, 0.05, 0.1, 0.2, 0.5, 1, 2.5, 5, 10};
static const struct fl_metric_family lag_family = {
    .name = "fairlead_control_source_lag_seconds",
    .help = "From the first event of a change to the end of its commit.",
    .kind = FL_METRIC_HISTOGRAM,
    .buckets = lag_buckets,
    .bucket_count = FL_COUNT(lag_buckets),
};

void control_meter_make(struct control_meter *meter, struct fl_metrics *metrics, enum control_kind kind)
{
    const struct fl_span label = fl_span_str(control_kind_name(kind));
    if (metrics == NULL)
        return;
    meter->lag = fl_metrics_histogram(metrics, &lag_family, NULL);
    meter->kinds[kind] = (struct control_meter_kind){
        .objects = fl_metrics_gauge(metrics, &objects_family, &label),
        .synced = fl_metrics_gauge(metrics, &synced_family, &label),
        .silence = fl_metrics_gauge(metrics, &silence_family, &label),
        .lists = fl_metrics_counter(metrics, &lists_family, &label),
        .watches = fl_metrics_counter(metrics, &watches_family, &label),
        .events = fl_metrics_counter(metrics, &events_family, &label),
        .troubles = fl_metrics_counter(metrics, &troubles_family, &label),
    };
}

void control_meter_tell(struct control_meter *meter, enum control_kind kind,
                        const struct control_collection_stats *stats, size_t objects, uint64_t now_ms)
{
    struct control_meter_kind *told = &meter->kinds[kind];
    bool missing = stats->state == CONTROL_KIND_MISSING;
    bool well = stats->state == CONTROL_KIND_SYNCED && !stats->failing && !stats->partial && !stats->crowded;
    fl_gauge_set(told->objects, (double)objects);
    fl_gauge_set(told->synced, missing ? -1 : well ? 1 : 0);
    fl_gauge_set(told->silence, missing || stats->heard_ms == 0 ? 0 : (double)(now_ms - stats->heard_ms) / 1000);
    fl_counter_add(told->lists, stats->lists - told->told.lists);
    fl_counter_add(told->watches, stats->watches - told->told.watches);
    fl_counter_add(told->events, stats->events - told->told.events);
    fl_counter_add(told->troubles, stats->troubles - told->told.troubles);
    told->told = *stats;
}

void control_meter_commit(struct control_meter *meter, uint64_t lag_ms)
{
    if (meter->lag != NULL)
        fl_histogram_observe(meter->lag, (double)lag_ms / 1000);
}
