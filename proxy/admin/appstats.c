#include "proxy/admin/appstats.h"

static const char *const probe_labels[] = {"kind", "result"};
static const char *const scrape_labels[] = {"result"};
static const char *const line_labels[] = {"reason"};

static const struct fl_metric_family probes = {
    .name = "fairlead_app_probes_total",
    .help = "Probes and lifecycle handlers that the kubelet sent to the sidecar, by what came of asking the app.",
    .kind = FL_METRIC_COUNTER,
    .label_names = probe_labels,
    .label_count = FL_COUNT(probe_labels)};
static const struct fl_metric_family scrapes = {
    .name = "fairlead_app_scrapes_total",
    .help = "Scrapes of the app's own metrics for the merged page, by what came of them.",
    .kind = FL_METRIC_COUNTER,
    .label_names = scrape_labels,
    .label_count = FL_COUNT(scrape_labels)};
static const struct fl_metric_family lines = {.name = "fairlead_app_metrics_lines_dropped_total",
                                              .help =
                                                  "Lines of the app's metrics that were left out of the merged page.",
                                              .kind = FL_METRIC_COUNTER,
                                              .label_names = line_labels,
                                              .label_count = FL_COUNT(line_labels)};

static const char *const probe_words[] = {
#define WORD(name, word) [PROXY_APPSTATS_PROBE_##name] = word,
    PROXY_APPSTATS_PROBES(WORD)
#undef WORD
};
static const char *const scrape_words[] = {
#define WORD(name, word) [PROXY_APPSTATS_SCRAPE_##name] = word,
    PROXY_APPSTATS_SCRAPES(WORD)
#undef WORD
};

void proxy_appstats_probe(struct fl_metrics *metrics, enum fl_appprobe_kind kind, enum proxy_appstats_probe result)
{
    const struct fl_span values[] = {fl_span_str(fl_appprobe_kind_name(kind)), fl_span_str(probe_words[result])};
    if (metrics != NULL)
        fl_counter_add(fl_metrics_counter(metrics, &probes, values), 1);
}

void proxy_appstats_scrape(struct fl_metrics *metrics, enum proxy_appstats_scrape result)
{
    const struct fl_span value = fl_span_str(scrape_words[result]);
    if (metrics != NULL)
        fl_counter_add(fl_metrics_counter(metrics, &scrapes, &value), 1);
}

static void count_lines(struct fl_metrics *metrics, struct fl_span reason, size_t count)
{
    if (metrics != NULL && count > 0)
        fl_counter_add(fl_metrics_counter(metrics, &lines, &reason), count);
}

void proxy_appstats_left_out(struct fl_metrics *metrics, size_t collisions, size_t malformed)
{
    count_lines(metrics, FL_SPAN("collision"), collisions);
    count_lines(metrics, FL_SPAN("malformed"), malformed);
}
