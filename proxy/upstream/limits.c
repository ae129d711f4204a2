/* What a cluster counts: connections and requests under way, retries, failures. */
#include "proxy/upstream/cluster_inner.h"

int proxy_limit_overflow(const struct proxy_cluster_run *cluster, enum proxy_upstream_limit limit)
{
    if (cluster->options.on_overflow != NULL)
        cluster->options.on_overflow(cluster->options.owner, limit);
    return PROXY_UPSTREAM_OVERFLOW;
}

bool proxy_limit_take(struct proxy_cluster_run *cluster, enum proxy_upstream_limit limit)
{
    return proxy_shared_take(cluster->shared, limit, cluster->options.limits[limit]);
}

void proxy_limit_give(const struct proxy_cluster_run *cluster, enum proxy_upstream_limit limit)
{
    proxy_shared_give(cluster->shared, limit);
}

void proxy_upstream_report(struct proxy_upstream *upstream, enum proxy_outlier_event event, uint64_t random)
{
    struct proxy_cluster_run *cluster = upstream->cluster;
    const struct proxy_cluster_options *options = &cluster->options;
    enum proxy_outlier_kind kind = PROXY_OUTLIER_5XX;
    if (!options->outlier.on || options->original_dst)
        return;
    enum proxy_shared_verdict verdict =
        proxy_shared_report(cluster->shared, &options->outlier, &upstream->host->address, options->endpoint_count,
                            event, fl_loop_now_ms(cluster->turn->loop), random, &kind);
    if (verdict != PROXY_SHARED_NOTHING && options->on_outlier != NULL)
        options->on_outlier(options->owner, kind, verdict == PROXY_SHARED_EJECTED);
}

/* A budget is a share of what is under way, so that retries never become most of the load. */
static uint32_t retry_limit(const struct proxy_cluster_run *cluster)
{
    const struct proxy_cluster_options *options = &cluster->options;
    if (options->retry_budget_percent == 0)
        return options->limits[PROXY_UPSTREAM_LIMIT_RETRIES];
    uint64_t share = (uint64_t)proxy_shared_used(cluster->shared, PROXY_UPSTREAM_LIMIT_REQUESTS) *
                     options->retry_budget_percent / 100;
    return share > options->retry_min ? (uint32_t)share : options->retry_min;
}

bool proxy_upstream_retry_take(struct proxy_cluster_run *cluster)
{
    if (proxy_shared_take(cluster->shared, PROXY_UPSTREAM_LIMIT_RETRIES, retry_limit(cluster)))
        return true;
    proxy_limit_overflow(cluster, PROXY_UPSTREAM_LIMIT_RETRIES);
    return false;
}

void proxy_upstream_retry_give(struct proxy_cluster_run *cluster)
{
    proxy_limit_give(cluster, PROXY_UPSTREAM_LIMIT_RETRIES);
}
