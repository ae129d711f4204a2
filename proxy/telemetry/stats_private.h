/* The inside of struct proxy_stats: for stats.c (Istio's metrics) and incident.c (our own families). */
#ifndef PROXY_TELEMETRY_STATS_PRIVATE_H
#define PROXY_TELEMETRY_STATS_PRIVATE_H

#include "common/base/map.h"
#include "proxy/telemetry/stats.h"

#define SIDES 2

struct proxy_stats {
    struct fl_metrics *metrics;
    struct fl_map edges;            /* by their labels */
    struct proxy_edge *overflow[2]; /* of HTTP, of TCP: what all edges beyond the bound share */
    size_t exposed;                 /* bytes that the other edges' series take in a scrape, at most */
    /* Series of our own families, looked up on first use. */
    struct fl_counter *refused[PROXY_REFUSED_REASONS];
    struct fl_counter *detected[PROXY_DETECTED_RESULTS];
    struct fl_counter *handshakes[SIDES][PROXY_HANDSHAKE_REASONS];
    struct fl_counter *opened[SIDES];
    struct fl_gauge *open[SIDES];
    struct fl_counter *overflows[PROXY_UPSTREAM_LIMIT_COUNT];
    struct fl_counter *retries[PROXY_RETRY_RESULTS];
    struct fl_counter *mirrors[PROXY_MIRROR_RESULTS];
    struct fl_counter *log_dropped;
    struct fl_counter *rbac[2][2][2]; /* by enum proxy_policy_at, enum proxy_policy_rules, allowed */
    struct fl_counter *jwt[PROXY_STATS_JWT_MAX];
};

/* Makes the series that should be seen at zero from the start. */
void proxy_stats_prepare(struct proxy_stats *stats);

#endif
