/* Other options for a cluster in use. */
#include "proxy/upstream/mux.h"

#include <errno.h>

void proxy_staged_free(struct proxy_staged *staged)
{
    if (staged == NULL)
        return;
    for (size_t i = 0; staged->hosts != NULL && staged->is_new != NULL && i < staged->options.endpoint_count; i++) {
        if (staged->is_new[i])
            free(staged->hosts[i]);
    }
    free(staged->items);
    free(staged->endpoints);
    free(staged->hosts);
    free(staged->is_new);
    free(staged);
}

/* The cluster's hosts by address, while they are compared: chains of indexes, each host taken at most once. */
struct finder {
    uint32_t *heads, *nexts;
    size_t mask;
};

static void finder_done(struct finder *finder)
{
    free(finder->heads);
    free(finder->nexts);
}

static int finder_init(struct finder *finder, const struct proxy_cluster_run *cluster)
{
    size_t count = cluster->options.endpoint_count, size = 16;
    while (size < count * 2)
        size *= 2;
    *finder = (struct finder){
        .heads = malloc(size * sizeof(uint32_t)), .nexts = malloc((count + 1) * sizeof(uint32_t)), .mask = size - 1};
    if (finder->heads == NULL || finder->nexts == NULL) {
        finder_done(finder);
        return -ENOMEM;
    }
    memset(finder->heads, 0xff, size * sizeof(uint32_t));
    for (size_t i = count; i > 0; i--) { /* backwards, so that of equal ones the first is found first */
        uint32_t *head = &finder->heads[proxy_address_hash(&cluster->hosts[i - 1]->address) & finder->mask];
        finder->nexts[i - 1] = *head;
        *head = (uint32_t)(i - 1);
    }
    return 0;
}

static struct proxy_host *finder_take(struct finder *finder, const struct proxy_cluster_run *cluster,
                                      const struct proxy_cluster_endpoint *endpoint)
{
    uint32_t *link = &finder->heads[proxy_address_hash(&endpoint->address) & finder->mask];
    for (; *link != UINT32_MAX; link = &finder->nexts[*link]) {
        struct proxy_host *host = cluster->hosts[*link];
        if (proxy_address_eq(&host->address, &endpoint->address) && fl_span_eq(host->identity, endpoint->identity) &&
            proxy_address_eq(&host->gate_address, &endpoint->gate)) {
            *link = finder->nexts[*link];
            return host;
        }
    }
    return NULL;
}

static int find_hosts(struct proxy_cluster_run *cluster, struct proxy_staged *staged, struct finder *finder)
{
    const struct proxy_cluster_options *options = &staged->options;
    for (size_t i = 0; i < options->endpoint_count; i++) {
        const struct proxy_cluster_endpoint *endpoint = &options->endpoints[i];
        struct proxy_host *host = finder_take(finder, cluster, endpoint);
        staged->is_new[i] = host == NULL;
        if (host == NULL) {
            host = calloc(1, sizeof(*host));
            if (host == NULL)
                return -ENOMEM;
            host->address = endpoint->address;
            host->gate_address = endpoint->gate;
        } else {
            staged->items[i] = cluster->items[host->item];
        }
        staged->endpoints[i] = *endpoint;
        staged->hosts[i] = host;
        staged->items[i].weight = endpoint->weight;
        staged->items[i].priority = endpoint->priority;
    }
    return 0;
}

int proxy_cluster_run_stage(struct proxy_cluster_run *cluster, const struct proxy_cluster_options *options)
{
    proxy_cluster_run_unstage(cluster);
    struct proxy_staged *staged = calloc(1, sizeof(*staged));
    if (staged == NULL)
        return -ENOMEM;
    staged->options = *options;
    if (options->original_dst)
        staged->options.endpoint_count = 0;
    size_t count = staged->options.endpoint_count;
    staged->items = calloc(count + 1, sizeof(*staged->items));
    staged->endpoints = calloc(count + 1, sizeof(*staged->endpoints));
    staged->hosts = calloc(count + 1, sizeof(struct proxy_host *));
    staged->is_new = calloc(count + 1, sizeof(*staged->is_new));
    struct finder finder = {0};
    bool full = staged->items == NULL || staged->endpoints == NULL || staged->hosts == NULL || staged->is_new == NULL;
    int result = full ? -ENOMEM : finder_init(&finder, cluster);
    if (result == 0) {
        result = find_hosts(cluster, staged, &finder);
        finder_done(&finder);
    }
    staged->options.endpoints = NULL;
    if (result < 0)
        proxy_staged_free(staged);
    else
        cluster->staged = staged;
    return result;
}

/* It takes nothing new; its last connection takes it along. */
static void let_go(struct proxy_cluster_run *cluster, struct proxy_host *host)
{
    host->item = PROXY_HOST_GONE;
    host->identity = (struct fl_span){NULL, 0}; /* the memory goes */
    host->uses++;
    while (host->idle != NULL)
        proxy_idle_close(host->idle);
    proxy_hbone_refresh(host);
    if (host->lane != NULL)
        proxy_lane_wake(host->lane);
    host->uses--;
    proxy_host_release(cluster, host);
}

void proxy_cluster_run_commit(struct proxy_cluster_run *cluster)
{
    struct proxy_staged *staged = fl_take(cluster->staged);
    if (staged == NULL)
        return;
    struct proxy_host **before = cluster->hosts;
    size_t count_before = cluster->options.endpoint_count, count = staged->options.endpoint_count;
    for (size_t i = 0; i < count_before; i++)
        before[i]->item = PROXY_HOST_GONE;
    for (size_t i = 0; i < count; i++) {
        staged->hosts[i]->item = (uint32_t)i;
        staged->hosts[i]->other = staged->endpoints[i].other;
        staged->hosts[i]->identity = staged->endpoints[i].identity;
        staged->hosts[i]->transport = staged->endpoints[i].transport;
        proxy_hbone_refresh(staged->hosts[i]);
    }
    free(cluster->items);
    cluster->options = staged->options;
    cluster->items = fl_take(staged->items);
    cluster->hosts = fl_take(staged->hosts);
    cluster->ejection_version = 0;
    for (size_t i = 0; i < count_before; i++) {
        if (before[i]->item == PROXY_HOST_GONE)
            let_go(cluster, before[i]);
    }
    for (size_t i = 0; cluster->options.original_dst && cluster->buckets != NULL && i < PROXY_UPSTREAM_HOSTS; i++) {
        for (struct proxy_host *host = cluster->buckets[i]; host != NULL; host = host->next)
            host->transport = cluster->options.transport;
    }
    free(before);
    proxy_staged_free(staged);
}

void proxy_cluster_run_unstage(struct proxy_cluster_run *cluster)
{
    proxy_staged_free(fl_take(cluster->staged));
}
