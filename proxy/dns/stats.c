#include "proxy/dns/stats.h"

static const char *const labels[] = {"protocol", "result"};

#define COUNTER(text, about)                                                                                           \
    {                                                                                                                  \
        .name = text, .help = about, .kind = FL_METRIC_COUNTER, .label_names = labels, .label_count = FL_COUNT(labels) \
    }
#define GAUGE(text, about)                                                                                             \
    {                                                                                                                  \
        .name = text, .help = about, .kind = FL_METRIC_GAUGE                                                           \
    }

static const double bounds[] = {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5};

static const struct fl_metric_family queries_family =
    COUNTER("fairlead_dns_queries_total", "DNS queries of the pod, by what became of them.");
static const struct fl_metric_family upstream_family =
    COUNTER("fairlead_dns_upstream_queries_total", "Questions to the DNS servers of resolv.conf.");
static const struct fl_metric_family foreign_family = {
    .name = "fairlead_dns_foreign_answers_total",
    .help = "Answers of DNS servers with another id or question than was sent: forged, or mixed up.",
    .kind = FL_METRIC_COUNTER,
};
static const struct fl_metric_family seconds_family = {
    .name = "fairlead_dns_upstream_seconds",
    .help = "From a question to a DNS server to its answer.",
    .kind = FL_METRIC_HISTOGRAM,
    .buckets = bounds,
    .bucket_count = FL_COUNT(bounds),
};
static const struct fl_metric_family entries_family = GAUGE("fairlead_dns_cache_entries", "DNS answers that are kept.");
static const struct fl_metric_family bytes_family = GAUGE("fairlead_dns_cache_bytes", "Bytes of them.");
static const struct fl_metric_family questions_family = GAUGE("fairlead_dns_questions", "DNS questions under way.");
static const struct fl_metric_family connections_family =
    GAUGE("fairlead_dns_connections", "TCP connections to the DNS port.");

static const char *const protocols[2] = {"udp", "tcp"};
static const char *const results[] = {
#define TEXT(name, text) text,
    PROXY_DNS_RESULTS(TEXT)};
static const char *const attempts[] = {PROXY_DNS_ATTEMPTS(TEXT)};

int proxy_dns_stats_init(struct proxy_dns_stats *stats)
{
    *stats = (struct proxy_dns_stats){0};
    int result = fl_metrics_new(&stats->metrics);
    if (result < 0)
        return result;
    for (size_t i = 0; i < FL_COUNT(protocols); i++) {
        struct fl_span values[2] = {fl_span_str(protocols[i])};
        for (size_t k = 0; k < FL_COUNT(results); k++) {
            values[1] = fl_span_str(results[k]);
            stats->results[i][k] = fl_metrics_counter(stats->metrics, &queries_family, values);
        }
        for (size_t k = 0; k < FL_COUNT(attempts); k++) {
            values[1] = fl_span_str(attempts[k]);
            stats->attempts[i][k] = fl_metrics_counter(stats->metrics, &upstream_family, values);
        }
    }
    stats->foreign = fl_metrics_counter(stats->metrics, &foreign_family, NULL);
    stats->seconds = fl_metrics_histogram(stats->metrics, &seconds_family, NULL);
    stats->cache_entries = fl_metrics_gauge(stats->metrics, &entries_family, NULL);
    stats->cache_bytes = fl_metrics_gauge(stats->metrics, &bytes_family, NULL);
    stats->questions = fl_metrics_gauge(stats->metrics, &questions_family, NULL);
    stats->connections = fl_metrics_gauge(stats->metrics, &connections_family, NULL);
    return 0;
}

void proxy_dns_stats_done(struct proxy_dns_stats *stats)
{
    stats->metrics = fl_metrics_free(stats->metrics);
}
