#include "proxy/upstream/cluster.h"

#include "proxy/upstream/mux.h"

#include <assert.h>
#include <errno.h>

static void destroy(struct proxy_cluster_run *cluster)
{
    for (size_t i = 0; cluster->hosts != NULL && i < cluster->options.endpoint_count; i++)
        proxy_host_free(cluster->hosts[i]);
    proxy_cluster_run_unstage(cluster);
    proxy_shared_cluster_put(cluster->shared);
    free(cluster->buckets);
    free(cluster->items);
    free(cluster->hosts);
    free(cluster);
}

int proxy_cluster_run_new(struct proxy_turn *turn, const struct proxy_cluster_options *options,
                          struct proxy_cluster_run **ret_cluster)
{
    struct proxy_cluster_run *cluster = calloc(1, sizeof(*cluster));
    if (cluster == NULL)
        return -ENOMEM;
    cluster->turn = turn;
    cluster->references = 1;
    cluster->options.original_dst = options->original_dst;
    int result = proxy_shared_cluster_get(options->shared, options->name, &cluster->shared);
    if (result == 0)
        result = proxy_cluster_run_stage(cluster, options);
    if (result < 0) {
        destroy(cluster);
        return result;
    }
    proxy_cluster_run_commit(cluster);
    *ret_cluster = cluster;
    return 0;
}

struct proxy_cluster_run *proxy_cluster_run_ref(struct proxy_cluster_run *cluster)
{
    cluster->references++;
    return cluster;
}

static void run_destroy(struct fl_deferred *deferred)
{
    struct proxy_cluster_run *cluster = FL_CONTAINER_OF(deferred, struct proxy_cluster_run, deferred);
    void (*on_free)(void *owner) = cluster->options.on_free;
    void *owner = cluster->options.owner;
    destroy(cluster);
    if (on_free != NULL)
        on_free(owner);
}

/* Deferred: connections that ended in this turn may still point to what the options point to. */
struct proxy_cluster_run *proxy_cluster_run_unref(struct proxy_cluster_run *cluster)
{
    if (cluster == NULL || --cluster->references > 0)
        return NULL;
    assert(cluster->connections == 0);
    fl_timer_cancel(&cluster->expiry);
    fl_loop_defer(cluster->turn->loop, &cluster->deferred, run_destroy);
    return NULL;
}

static void wake(struct proxy_host *host)
{
    if (host->lane != NULL)
        proxy_lane_wake(host->lane);
    proxy_hbone_refresh(host);
}

void proxy_cluster_run_retire(struct proxy_cluster_run *cluster)
{
    if (cluster == NULL)
        return;
    cluster->references++;
    cluster->retired = true;
    while (cluster->idle_oldest != NULL)
        proxy_idle_close(cluster->idle_oldest);
    fl_timer_cancel(&cluster->expiry);
    for (size_t i = 0; cluster->hosts != NULL && i < cluster->options.endpoint_count; i++)
        wake(cluster->hosts[i]);
    for (size_t i = 0; cluster->buckets != NULL && i < PROXY_UPSTREAM_HOSTS; i++) {
        for (struct proxy_host *host = cluster->buckets[i]; host != NULL; host = host->next)
            wake(host);
    }
    proxy_cluster_run_unref(cluster);
}

const struct proxy_cluster_options *proxy_cluster_run_options(const struct proxy_cluster_run *cluster)
{
    return &cluster->options;
}

size_t proxy_cluster_run_connections(const struct proxy_cluster_run *cluster)
{
    return cluster->connections;
}

size_t proxy_cluster_run_idle(const struct proxy_cluster_run *cluster)
{
    return cluster->idle;
}
