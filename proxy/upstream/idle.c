/* Connections that wait for their next user. */
#include "proxy/upstream/cluster_inner.h"

static void idle_remove(struct proxy_upstream *upstream)
{
    struct proxy_cluster_run *cluster = upstream->cluster;
    if (upstream->host_prev != NULL)
        upstream->host_prev->host_next = upstream->host_next;
    else
        upstream->host->idle = upstream->host_next;
    if (upstream->host_next != NULL)
        upstream->host_next->host_prev = upstream->host_prev;
    if (upstream->idle_prev != NULL)
        upstream->idle_prev->idle_next = upstream->idle_next;
    else
        cluster->idle_newest = upstream->idle_next;
    if (upstream->idle_next != NULL)
        upstream->idle_next->idle_prev = upstream->idle_prev;
    else
        cluster->idle_oldest = upstream->idle_prev;
    upstream->host_next = upstream->host_prev = upstream->idle_next = upstream->idle_prev = NULL;
    cluster->idle--;
}

static void idle_insert(struct proxy_upstream *upstream)
{
    struct proxy_cluster_run *cluster = upstream->cluster;
    upstream->host_next = upstream->host->idle;
    if (upstream->host_next != NULL)
        upstream->host_next->host_prev = upstream;
    upstream->host->idle = upstream;
    upstream->idle_next = cluster->idle_newest;
    if (upstream->idle_next != NULL)
        upstream->idle_next->idle_prev = upstream;
    else
        cluster->idle_oldest = upstream;
    cluster->idle_newest = upstream;
    cluster->idle++;
}

void proxy_cluster_tell(const struct proxy_cluster_run *cluster, bool opened)
{
    if (cluster->options.on_count != NULL)
        cluster->options.on_count(cluster->options.owner, opened);
}

static void release(struct fl_deferred *deferred)
{
    free(FL_CONTAINER_OF(deferred, struct proxy_upstream, deferred));
}

/* The connection and what stands for it. Deferred: its client may be in the middle of an event. */
void proxy_upstream_discard(struct proxy_upstream *upstream, enum proxy_close how)
{
    struct proxy_cluster_run *cluster = upstream->cluster;
    struct proxy_host *host = upstream->host;
    proxy_conn_close(fl_take(upstream->conn), how);
    cluster->connections--;
    proxy_cluster_tell(cluster, false);
    host->uses--;
    proxy_host_release(cluster, host);
    fl_loop_defer(cluster->turn->loop, &upstream->deferred, release);
    proxy_cluster_run_unref(cluster);
}

void proxy_idle_close(struct proxy_upstream *upstream)
{
    idle_remove(upstream);
    proxy_upstream_discard(upstream, PROXY_CLOSE_FLUSH);
}

static void idle_on_open(void *owner)
{
    (void)owner;
}

static size_t idle_on_data(void *owner, struct fl_span bytes)
{
    proxy_idle_close(owner); /* nobody asked: whatever it is, the next answer would be read wrongly */
    return bytes.len;
}

static void idle_on_eof(void *owner)
{
    proxy_idle_close(owner);
}

static void idle_on_writable(void *owner)
{
    (void)owner;
}

static void idle_on_closed(void *owner, enum proxy_end end)
{
    struct proxy_upstream *upstream = owner;
    (void)end;
    upstream->conn = NULL;
    proxy_idle_close(upstream);
}

static const struct proxy_conn_ops idle_ops = {
    .on_open = idle_on_open,
    .on_data = idle_on_data,
    .on_eof = idle_on_eof,
    .on_writable = idle_on_writable,
    .on_closed = idle_on_closed,
};

/* For how long the oldest may idle; 0: for ever. What a burst has left behind is not kept for the whole time. */
static uint64_t patience(const struct proxy_cluster_run *cluster)
{
    uint64_t timeout = cluster->options.idle_timeout_ms;
    bool surplus = cluster->idle > PROXY_UPSTREAM_IDLE_WARM;
    return surplus && (timeout == 0 || timeout > PROXY_UPSTREAM_SURPLUS_MS) ? PROXY_UPSTREAM_SURPLUS_MS : timeout;
}

static void expire(struct fl_timer *timer)
{
    struct proxy_cluster_run *cluster = FL_CONTAINER_OF(timer, struct proxy_cluster_run, expiry);
    uint64_t now = fl_loop_now_ms(cluster->turn->loop), timeout = patience(cluster);
    while (cluster->idle_oldest != NULL && timeout > 0 && cluster->idle_oldest->idle_since_ms + timeout <= now) {
        proxy_idle_close(cluster->idle_oldest);
        timeout = patience(cluster);
    }
    if (cluster->idle_oldest != NULL && timeout > 0)
        fl_timer_set(cluster->turn->loop, timer, cluster->idle_oldest->idle_since_ms + timeout - now, expire);
}

static void watch(struct proxy_cluster_run *cluster)
{
    uint64_t now = fl_loop_now_ms(cluster->turn->loop), timeout = patience(cluster);
    if (timeout > 0 && (!fl_timer_is_set(&cluster->expiry) || cluster->expiry.deadline_ms > now + timeout))
        fl_timer_set(cluster->turn->loop, &cluster->expiry, timeout, expire);
}

/* Its end is known and not told yet, or a new connection would be made otherwise. */
static bool is_stale(const struct proxy_upstream *upstream, const struct fl_tls_context *context)
{
    return !proxy_conn_is_open(upstream->conn) || proxy_conn_unread(upstream->conn) > 0 || upstream->context != context;
}

struct proxy_upstream *proxy_idle_take(struct proxy_host *host, const struct fl_tls_context *context, uint64_t pin,
                                       const struct proxy_conn_ops *ops, void *owner)
{
    struct proxy_upstream *upstream = host->idle, *next;
    for (; upstream != NULL; upstream = next) {
        next = upstream->host_next;
        if (is_stale(upstream, context))
            proxy_idle_close(upstream);
        else if (upstream->pin == pin)
            break;
    }
    if (upstream == NULL)
        return NULL;
    idle_remove(upstream);
    upstream->reused = true;
    upstream->requests++;
    proxy_conn_set_owner(upstream->conn, ops, owner);
    return upstream;
}

void proxy_idle_put(struct proxy_upstream *upstream)
{
    struct proxy_cluster_run *cluster = upstream->cluster;
    if (cluster->idle >= PROXY_UPSTREAM_IDLE_MAX)
        proxy_idle_close(cluster->idle_oldest);
    upstream->idle_since_ms = fl_loop_now_ms(cluster->turn->loop);
    idle_insert(upstream);
    watch(cluster);
    proxy_conn_set_owner(upstream->conn, &idle_ops, upstream);
    proxy_conn_resume(upstream->conn);
}

void proxy_cluster_run_close_idle(struct proxy_cluster_run *cluster)
{
    proxy_cluster_run_ref(cluster);
    while (cluster->idle_oldest != NULL)
        proxy_idle_close(cluster->idle_oldest);
    proxy_cluster_run_unref(cluster);
}
