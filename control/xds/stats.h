/* Metrics of the ADS server. docs/metrics.md tells what each means. */
#ifndef CONTROL_XDS_STATS_H
#define CONTROL_XDS_STATS_H

#include "common/metrics/registry.h"
#include "control/xds/budget.h"
#include "control/xds/cache.h"
#include "control/xds/node.h"

struct control_xds_stats {
    struct fl_gauge *proxies[3]; /* by enum control_role */
    struct fl_counter *responses[FL_RESOURCE_TYPES], *refused[FL_RESOURCE_TYPES], *resources[FL_RESOURCE_TYPES];
    struct fl_counter *bytes;
    struct fl_counter *ended_ok, *ended_denied, *ended_protocol, *ended_resources, *ended_expired;
    struct fl_counter *ended_client_budget, *ended_budget;
    struct fl_gauge *held[CONTROL_BUDGET_KINDS];
    struct fl_histogram *convergence; /* from a commit to the last acknowledgement of a proxy */
    struct fl_gauge *cache_entries, *cache_bytes;
    struct fl_counter *cache_hits, *cache_misses;
    uint64_t hits_told, misses_told;
};

/* Missing memory makes a metric that does not count; never an error. */
void control_xds_stats_init(struct control_xds_stats *stats, struct fl_metrics *metrics);
void control_xds_stats_cache(struct control_xds_stats *stats, const struct control_cache *cache);

#endif
