#include "proxy/upstream/cluster.h"

#include "proxy/tls/filter.h"

#include <assert.h>
#include <errno.h>

struct proxy_host { /* an address, with its connections */
    struct proxy_address address;
    struct proxy_upstream *idle; /* the last one used first */
    struct proxy_host *next;     /* in its bucket (ORIGINAL_DST) */
    uint32_t uses;               /* connections, idle or in use: such a host goes with its last one */
    uint32_t item;               /* index of its balance item (STATIC) */
};

struct proxy_cluster_run {
    struct proxy_turn *turn;
    struct proxy_cluster_options options;
    struct proxy_balance_item *items; /* STATIC: by endpoint */
    struct proxy_host *hosts;         /* STATIC: by endpoint */
    struct proxy_host **buckets;      /* ORIGINAL_DST: made with the first connection */
    struct proxy_upstream *idle_newest, *idle_oldest;
    size_t idle, connections;
    uint32_t pending, requests; /* connections in use that are not open yet; requests under way */
    struct fl_timer expiry;     /* of the oldest idle one */
    bool retired;
};

/* --- hosts ------------------------------------------------------------------------------------------------------ */

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
    host->next = *bucket;
    *bucket = host;
    return host;
}

static void host_release(struct proxy_cluster_run *cluster, struct proxy_host *host)
{
    if (!cluster->options.original_dst || host->uses > 0)
        return;
    struct proxy_host **link = &cluster->buckets[proxy_address_hash(&host->address) % PROXY_UPSTREAM_HOSTS];
    while (*link != host)
        link = &(*link)->next;
    *link = host->next;
    free(host);
}

static int choose_host(struct proxy_cluster_run *cluster, const struct proxy_address *original, uint64_t random,
                       struct proxy_host **ret_host)
{
    const struct proxy_cluster_options *options = &cluster->options;
    if (!options->original_dst) {
        size_t at = proxy_balance_pick(options->balance, cluster->items, options->endpoint_count, random);
        if (at == options->endpoint_count)
            return PROXY_UPSTREAM_NO_HOST;
        *ret_host = &cluster->hosts[at];
        return PROXY_UPSTREAM_OK;
    }
    if (original == NULL || !proxy_address_is_set(original))
        return PROXY_UPSTREAM_NO_HOST;
    struct proxy_address address = *original;
    if (options->original_dst_port != 0)
        proxy_address_set_port(&address, options->original_dst_port);
    *ret_host = host_of_address(cluster, &address);
    return *ret_host != NULL ? PROXY_UPSTREAM_OK : -ENOMEM;
}

static void count_active(struct proxy_upstream *upstream, int by)
{
    struct proxy_cluster_run *cluster = upstream->cluster;
    if (!cluster->options.original_dst)
        cluster->items[upstream->host->item].active += (uint32_t)by;
}

/* --- the idle ones ---------------------------------------------------------------------------------------------- */

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

static void tell_count(const struct proxy_cluster_run *cluster, bool opened)
{
    if (cluster->options.on_count != NULL)
        cluster->options.on_count(cluster->options.owner, opened);
}

/* The connection and what stands for it. */
static void discard(struct proxy_upstream *upstream, enum proxy_close how)
{
    struct proxy_cluster_run *cluster = upstream->cluster;
    struct proxy_host *host = upstream->host;
    proxy_conn_close(fl_take(upstream->conn), how);
    cluster->connections--;
    tell_count(cluster, false);
    host->uses--;
    host_release(cluster, host);
    free(upstream);
}

static void idle_close(struct proxy_upstream *upstream)
{
    idle_remove(upstream);
    discard(upstream, PROXY_CLOSE_FLUSH);
}

static void idle_on_open(void *owner)
{
    (void)owner;
}

static size_t idle_on_data(void *owner, struct fl_span bytes)
{
    idle_close(owner); /* nobody asked: whatever it is, the next answer would be read wrongly */
    return bytes.len;
}

static void idle_on_eof(void *owner)
{
    idle_close(owner);
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
    idle_close(upstream);
}

static const struct proxy_conn_ops idle_ops = {
    .on_open = idle_on_open,
    .on_data = idle_on_data,
    .on_eof = idle_on_eof,
    .on_writable = idle_on_writable,
    .on_closed = idle_on_closed,
};

static void expire(struct fl_timer *timer)
{
    struct proxy_cluster_run *cluster = FL_CONTAINER_OF(timer, struct proxy_cluster_run, expiry);
    uint64_t now = fl_loop_now_ms(cluster->turn->loop), timeout = cluster->options.idle_timeout_ms;
    while (cluster->idle_oldest != NULL && cluster->idle_oldest->idle_since_ms + timeout <= now)
        idle_close(cluster->idle_oldest);
    if (cluster->idle_oldest != NULL)
        fl_timer_set(cluster->turn->loop, timer, cluster->idle_oldest->idle_since_ms + timeout - now, expire);
}

/* --- get, put, drop --------------------------------------------------------------------------------------------- */

static struct proxy_upstream *take_idle(struct proxy_host *host, const struct proxy_conn_ops *ops, void *owner)
{
    struct proxy_upstream *upstream = host->idle;
    while (upstream != NULL && (!proxy_conn_is_open(upstream->conn) ||
                                proxy_conn_unread(upstream->conn) > 0)) { /* its end is known, and not told yet */
        idle_close(upstream);
        upstream = host->idle;
        if (upstream == NULL)
            return NULL;
    }
    if (upstream == NULL)
        return NULL;
    idle_remove(upstream);
    upstream->reused = true;
    upstream->requests++;
    proxy_conn_set_owner(upstream->conn, ops, owner);
    return upstream;
}

static int dial(struct proxy_cluster_run *cluster, struct proxy_host *host, const struct proxy_conn_ops *ops,
                void *owner, struct proxy_upstream **ret_upstream)
{
    const struct proxy_cluster_options *options = &cluster->options;
    struct proxy_upstream *upstream = calloc(1, sizeof(*upstream));
    if (upstream == NULL)
        return -ENOMEM;
    const struct proxy_dial how = {
        .source = host->address.any.sa_family == AF_INET ? &options->bind_v4 : &options->bind_v6,
        .freebind = options->bind_freebind,
        .keepalive = options->keepalive,
        .timeout_ms = options->connect_timeout_ms,
    };
    int result = proxy_conn_connect(cluster->turn, &host->address, &how, &upstream->conn);
    if (result < 0) {
        free(upstream);
        return result;
    }
    proxy_conn_set_owner(upstream->conn, ops, owner);
    proxy_conn_set_high(upstream->conn, options->buffer_limit_bytes);
    if (options->tls != NULL) {
        result = proxy_tls_start(upstream->conn, options->tls, false, options->preface, options->connect_timeout_ms);
        if (result < 0) {
            proxy_conn_close(upstream->conn, PROXY_CLOSE_NOW);
            free(upstream);
            return result;
        }
    }
    upstream->cluster = cluster;
    upstream->host = host;
    upstream->requests = 1;
    upstream->pending = true;
    cluster->pending++;
    cluster->connections++;
    tell_count(cluster, true);
    host->uses++;
    *ret_upstream = upstream;
    return PROXY_UPSTREAM_OK;
}

static int overflow(const struct proxy_cluster_run *cluster, enum proxy_upstream_limit limit)
{
    if (cluster->options.on_overflow != NULL)
        cluster->options.on_overflow(cluster->options.owner, limit);
    return PROXY_UPSTREAM_OVERFLOW;
}

static int take_or_dial(struct proxy_cluster_run *cluster, struct proxy_host *host, unsigned want,
                        const struct proxy_conn_ops *ops, void *owner, struct proxy_upstream **ret_upstream)
{
    const uint32_t *limits = cluster->options.limits;
    if ((want & PROXY_UPSTREAM_REQUEST) != 0 && cluster->requests >= limits[PROXY_UPSTREAM_LIMIT_REQUESTS])
        return overflow(cluster, PROXY_UPSTREAM_LIMIT_REQUESTS);
    *ret_upstream = (want & PROXY_UPSTREAM_FRESH) != 0 ? NULL : take_idle(host, ops, owner);
    if (*ret_upstream != NULL)
        return PROXY_UPSTREAM_OK;
    if (cluster->connections - cluster->idle >= limits[PROXY_UPSTREAM_LIMIT_CONNECTIONS])
        return overflow(cluster, PROXY_UPSTREAM_LIMIT_CONNECTIONS);
    if (cluster->pending >= limits[PROXY_UPSTREAM_LIMIT_PENDING])
        return overflow(cluster, PROXY_UPSTREAM_LIMIT_PENDING);
    return dial(cluster, host, ops, owner, ret_upstream);
}

int proxy_upstream_get(struct proxy_cluster_run *cluster, const struct proxy_address *original, unsigned want,
                       uint64_t random, const struct proxy_conn_ops *ops, void *owner,
                       struct proxy_upstream **ret_upstream)
{
    struct proxy_host *host;
    struct proxy_upstream *upstream = NULL;
    int result = choose_host(cluster, original, random, &host);
    if (result != PROXY_UPSTREAM_OK)
        return result;
    host->uses++; /* stays, while stale connections of it go */
    result = take_or_dial(cluster, host, want, ops, owner, &upstream);
    host->uses--;
    if (result != PROXY_UPSTREAM_OK) {
        host_release(cluster, host);
        return result;
    }
    count_active(upstream, 1);
    upstream->is_request = (want & PROXY_UPSTREAM_REQUEST) != 0;
    cluster->requests += upstream->is_request;
    *ret_upstream = upstream;
    return PROXY_UPSTREAM_OK;
}

void proxy_upstream_opened(struct proxy_upstream *upstream)
{
    upstream->cluster->pending -= upstream->pending;
    upstream->pending = false;
}

/* Its user is done with it. */
static void count_done(struct proxy_upstream *upstream)
{
    count_active(upstream, -1);
    proxy_upstream_opened(upstream);
    upstream->cluster->requests -= upstream->is_request;
    upstream->is_request = false;
}

static bool reusable(const struct proxy_upstream *upstream)
{
    const struct proxy_cluster_run *cluster = upstream->cluster;
    const struct proxy_conn *conn = upstream->conn;
    uint32_t max = cluster->options.max_requests_per_connection;
    return !cluster->retired && conn != NULL && proxy_conn_is_open(conn) && proxy_conn_unread(conn) == 0 &&
           proxy_conn_unsent(conn) == 0 && (max == 0 || upstream->requests < max);
}

void proxy_upstream_put(struct proxy_upstream *upstream)
{
    struct proxy_cluster_run *cluster = upstream->cluster;
    if (!reusable(upstream)) {
        proxy_upstream_drop(upstream, PROXY_CLOSE_FLUSH);
        return;
    }
    count_done(upstream);
    if (cluster->idle >= PROXY_UPSTREAM_IDLE_MAX)
        idle_close(cluster->idle_oldest);
    upstream->idle_since_ms = fl_loop_now_ms(cluster->turn->loop);
    idle_insert(upstream);
    if (cluster->options.idle_timeout_ms > 0 && !fl_timer_is_set(&cluster->expiry))
        fl_timer_set(cluster->turn->loop, &cluster->expiry, cluster->options.idle_timeout_ms, expire);
    proxy_conn_set_owner(upstream->conn, &idle_ops, upstream);
    proxy_conn_resume(upstream->conn);
}

void proxy_upstream_drop(struct proxy_upstream *upstream, enum proxy_close how)
{
    if (upstream == NULL)
        return;
    count_done(upstream);
    discard(upstream, how);
}

const struct proxy_address *proxy_upstream_address(const struct proxy_upstream *upstream)
{
    return &upstream->host->address;
}

/* --- life ------------------------------------------------------------------------------------------------------- */

static int copy_endpoints(struct proxy_cluster_run *cluster, const struct proxy_cluster_options *options)
{
    size_t count = options->endpoint_count;
    if (options->original_dst || count == 0)
        return 0;
    cluster->items = calloc(count, sizeof(*cluster->items));
    cluster->hosts = calloc(count, sizeof(*cluster->hosts));
    if (cluster->items == NULL || cluster->hosts == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++) {
        cluster->items[i].weight = options->endpoints[i].weight;
        cluster->items[i].priority = options->endpoints[i].priority;
        cluster->hosts[i].address = options->endpoints[i].address;
        cluster->hosts[i].item = (uint32_t)i;
    }
    return 0;
}

int proxy_cluster_run_new(struct proxy_turn *turn, const struct proxy_cluster_options *options,
                          struct proxy_cluster_run **ret_cluster)
{
    struct proxy_cluster_run *cluster = calloc(1, sizeof(*cluster));
    if (cluster == NULL)
        return -ENOMEM;
    cluster->turn = turn;
    cluster->options = *options;
    cluster->options.endpoints = NULL;
    if (copy_endpoints(cluster, options) < 0) {
        proxy_cluster_run_free(cluster);
        return -ENOMEM;
    }
    *ret_cluster = cluster;
    return 0;
}

void proxy_cluster_run_retire(struct proxy_cluster_run *cluster)
{
    cluster->retired = true;
    while (cluster->idle_oldest != NULL)
        idle_close(cluster->idle_oldest);
    fl_timer_cancel(&cluster->expiry);
}

struct proxy_cluster_run *proxy_cluster_run_free(struct proxy_cluster_run *cluster)
{
    if (cluster == NULL)
        return NULL;
    proxy_cluster_run_retire(cluster);
    assert(cluster->connections == 0);
    free(cluster->buckets);
    free(cluster->items);
    free(cluster->hosts);
    free(cluster);
    return NULL;
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
