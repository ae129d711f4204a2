/* Hosts of a cluster: which one is next, and how long one lives. */
#include "proxy/upstream/cluster_inner.h"

#include "proxy/upstream/mux.h"

#include <errno.h>

static struct proxy_host *host_of_address(struct proxy_cluster_run *cluster, const struct proxy_address *address)
{
    if (cluster->buckets == NULL)
        cluster->buckets = calloc(PROXY_UPSTREAM_HOSTS, sizeof(struct proxy_host *));
    if (cluster->buckets == NULL)
        return NULL;
    struct proxy_host **bucket = &cluster->buckets[proxy_address_hash(address) % PROXY_UPSTREAM_HOSTS];
    for (struct proxy_host *host = *bucket; host != NULL; host = host->next) {
        if (proxy_address_eq(&host->address, address))
            return host;
    }
    struct proxy_host *host = calloc(1, sizeof(*host));
    if (host == NULL)
        return NULL;
    host->address = *address;
    host->transport = cluster->options.transport;
    host->next = *bucket;
    *bucket = host;
    return host;
}

void proxy_host_free(struct proxy_host *host)
{
    if (host->gate != NULL)
        proxy_host_free(host->gate);
    proxy_lane_free(host->lane);
    free(host);
}

void proxy_host_release(struct proxy_cluster_run *cluster, struct proxy_host *host)
{
    host = host->behind != NULL ? host->behind : host;
    if (host->uses > 0 || (host->gate != NULL && host->gate->uses > 0))
        return;
    if (!cluster->options.original_dst) {
        if (host->item == PROXY_HOST_GONE)
            proxy_host_free(host);
        return;
    }
    struct proxy_host **link = &cluster->buckets[proxy_address_hash(&host->address) % PROXY_UPSTREAM_HOSTS];
    while (*link != host)
        link = &(*link)->next;
    *link = host->next;
    proxy_host_free(host);
}

/* Brings the items up to date with who is ejected: nearly always two loads. ejection_version is 0 where the items or
 * the configuration are new. */
static void look_for_ejected(struct proxy_cluster_run *cluster)
{
    bool on = cluster->options.outlier.on, first = cluster->ejection_version == 0;
    if (!on && !first)
        return;
    if (on && !proxy_shared_changed(cluster->shared, fl_loop_now_ms(cluster->turn->loop), &cluster->ejection_version))
        return;
    if (!on)
        cluster->ejection_version = 1;
    for (size_t i = 0; i < cluster->options.endpoint_count; i++)
        cluster->items[i].ejected = on && proxy_shared_is_ejected(cluster->shared, &cluster->hosts[i]->address);
}

static void mark_tried(struct proxy_cluster_run *cluster, const struct proxy_upstream_tried *tried)
{
    for (size_t i = 0; i < cluster->options.endpoint_count; i++) {
        cluster->items[i].tried = false;
        for (uint32_t k = 0; tried != NULL && k < tried->count; k++)
            cluster->items[i].tried |= proxy_address_eq(&cluster->hosts[i]->address, &tried->hosts[k]);
    }
}

static size_t pick(struct proxy_cluster_run *cluster, const struct proxy_upstream_tried *tried, uint64_t random)
{
    const struct proxy_cluster_options *options = &cluster->options;
    look_for_ejected(cluster);
    if (tried != NULL && tried->count > 0)
        mark_tried(cluster, tried);
    size_t at = proxy_balance_pick(&options->balance, cluster->items, options->endpoint_count, random);
    if (tried != NULL && tried->count > 0)
        mark_tried(cluster, NULL);
    return at;
}

int proxy_host_choose(struct proxy_cluster_run *cluster, const struct proxy_address *original,
                      const struct proxy_upstream_tried *tried, uint64_t random, struct proxy_host **ret_host)
{
    const struct proxy_cluster_options *options = &cluster->options;
    if (cluster->retired)
        return PROXY_UPSTREAM_NO_HOST;
    if (!options->original_dst) {
        size_t at = pick(cluster, tried, random);
        if (at == options->endpoint_count)
            return PROXY_UPSTREAM_NO_HOST;
        *ret_host = cluster->hosts[at];
        return PROXY_UPSTREAM_OK;
    }
    if (original == NULL || !proxy_address_is_set(original))
        return PROXY_UPSTREAM_NO_HOST;
    struct proxy_address address = *original;
    if (options->original_dst_port != 0)
        proxy_address_set_port(&address, options->original_dst_port);
    struct proxy_host *host = host_of_address(cluster, &address);
    if (host == NULL)
        return -ENOMEM;
    *ret_host = host;
    return PROXY_UPSTREAM_OK;
}

void proxy_host_count(struct proxy_upstream *upstream, int by)
{
    struct proxy_cluster_run *cluster = upstream->cluster;
    if (!cluster->options.original_dst && upstream->host->item != PROXY_HOST_GONE && upstream->host->behind == NULL)
        cluster->items[upstream->host->item].active += (uint32_t)by;
}
