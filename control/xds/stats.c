#include "control/xds/stats.h"

#define ONE(text)                                                                                                      \
    (const char *const[])                                                                                              \
    {                                                                                                                  \
        text                                                                                                           \
    }

static const double convergence_buckets[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10};

static const struct fl_metric_family proxies = {.name = "fairlead_control_xds_proxies",
                                                .help = "Proxies connected, by role.",
                                                .kind = FL_METRIC_GAUGE,
                                                .label_names = ONE("role"),
                                                .label_count = 1};
static const struct fl_metric_family responses = {.name = "fairlead_control_xds_responses_total",
                                                  .help = "Responses sent.",
                                                  .kind = FL_METRIC_COUNTER,
                                                  .label_names = ONE("type"),
                                                  .label_count = 1};
static const struct fl_metric_family resources = {.name = "fairlead_control_xds_resources_total",
                                                  .help = "Resources sent, removals included.",
                                                  .kind = FL_METRIC_COUNTER,
                                                  .label_names = ONE("type"),
                                                  .label_count = 1};
static const struct fl_metric_family refused = {.name = "fairlead_control_xds_refused_total",
                                                .help = "Responses that a proxy refused (NACK).",
                                                .kind = FL_METRIC_COUNTER,
                                                .label_names = ONE("type"),
                                                .label_count = 1};
static const struct fl_metric_family bytes = {
    .name = "fairlead_control_xds_sent_bytes_total", .help = "Bytes of responses.", .kind = FL_METRIC_COUNTER};
static const struct fl_metric_family ended = {.name = "fairlead_control_xds_streams_ended_total",
                                              .help = "Streams that ended, by reason.",
                                              .kind = FL_METRIC_COUNTER,
                                              .label_names = ONE("reason"),
                                              .label_count = 1};
static const struct fl_metric_family held = {.name = "fairlead_control_xds_held_bytes",
                                             .help = "What streams make us keep: subscriptions, responses not taken.",
                                             .kind = FL_METRIC_GAUGE,
                                             .label_names = ONE("kind"),
                                             .label_count = 1};
static const struct fl_metric_family convergence = {.name = "fairlead_control_xds_convergence_seconds",
                                                    .help = "From a change to a proxy's last acknowledgement of it.",
                                                    .kind = FL_METRIC_HISTOGRAM,
                                                    .buckets = convergence_buckets,
                                                    .bucket_count = FL_COUNT(convergence_buckets)};
static const struct fl_metric_family cache_entries = {
    .name = "fairlead_control_xds_cache_entries", .help = "Resources kept.", .kind = FL_METRIC_GAUGE};
static const struct fl_metric_family cache_bytes = {
    .name = "fairlead_control_xds_cache_bytes", .help = "Bytes of resources kept.", .kind = FL_METRIC_GAUGE};
static const struct fl_metric_family generated = {.name = "fairlead_control_xds_generated_total",
                                                  .help = "Resources asked for: made anew, or kept ones given again.",
                                                  .kind = FL_METRIC_COUNTER,
                                                  .label_names = ONE("result"),
                                                  .label_count = 1};

static struct fl_counter *counter(struct fl_metrics *metrics, const struct fl_metric_family *family, const char *value)
{
    const struct fl_span label = fl_span_str(value);
    return fl_metrics_counter(metrics, family, value != NULL ? &label : NULL);
}

void control_xds_stats_init(struct control_xds_stats *stats, struct fl_metrics *metrics)
{
    *stats = (struct control_xds_stats){0};
    for (enum control_role role = CONTROL_ROLE_CLIENT; role <= CONTROL_ROLE_GATEWAY; role++) {
        const struct fl_span label = fl_span_str(control_role_word(role));
        stats->proxies[role] = fl_metrics_gauge(metrics, &proxies, &label);
    }
    for (enum fl_resource_type type = 0; type < FL_RESOURCE_TYPES; type++) {
        stats->responses[type] = counter(metrics, &responses, fl_resource_type_word(type));
        stats->resources[type] = counter(metrics, &resources, fl_resource_type_word(type));
        stats->refused[type] = counter(metrics, &refused, fl_resource_type_word(type));
    }
    stats->bytes = counter(metrics, &bytes, NULL);
    stats->ended_ok = counter(metrics, &ended, "closed");
    stats->ended_denied = counter(metrics, &ended, "denied");
    stats->ended_protocol = counter(metrics, &ended, "protocol");
    stats->ended_resources = counter(metrics, &ended, "resources");
    stats->ended_expired = counter(metrics, &ended, "expired");
    stats->ended_client_budget = counter(metrics, &ended, "client_budget");
    stats->ended_budget = counter(metrics, &ended, "budget");
    static const char *const kinds[CONTROL_BUDGET_KINDS] = {"subscribed", "queued"};
    for (enum control_budget_kind kind = 0; kind < CONTROL_BUDGET_KINDS; kind++) {
        const struct fl_span label = fl_span_str(kinds[kind]);
        stats->held[kind] = fl_metrics_gauge(metrics, &held, &label);
    }
    stats->convergence = fl_metrics_histogram(metrics, &convergence, NULL);
    stats->cache_entries = fl_metrics_gauge(metrics, &cache_entries, NULL);
    stats->cache_bytes = fl_metrics_gauge(metrics, &cache_bytes, NULL);
    stats->cache_hits = counter(metrics, &generated, "kept");
    stats->cache_misses = counter(metrics, &generated, "made");
}

void control_xds_stats_cache(struct control_xds_stats *stats, const struct control_cache *cache)
{
    struct control_cache_stats now = control_cache_stats(cache);
    uint64_t made = now.misses + now.uncached;
    fl_gauge_set(stats->cache_entries, (double)now.entries);
    fl_gauge_set(stats->cache_bytes, (double)now.bytes);
    fl_counter_add(stats->cache_hits, now.hits - stats->hits_told);
    fl_counter_add(stats->cache_misses, made - stats->misses_told);
    stats->hits_told = now.hits;
    stats->misses_told = made;
}
