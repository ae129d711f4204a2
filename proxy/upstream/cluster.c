#include "proxy/upstream/cluster.h"

#include "proxy/tls/filter.h"

#include <assert.h>
#include <errno.h>

struct proxy_host { /* an address, with its connections */
    struct proxy_address address;
    struct fl_span identity; /* in the options' memory */
    const void *transport;
    struct proxy_upstream *idle; /* the last one used first */
    struct proxy_host *next;     /* in its bucket (ORIGINAL_DST) */
    uint32_t uses;               /* connections, idle or in use: such a host goes with its last one */
    uint32_t item;               /* index of its balance item (STATIC); GONE */
};

#define GONE UINT32_MAX /* it is no host of the cluster any more, and goes with its last connection */

/* The hosts of options that are not in force yet. */
struct staged {
    struct proxy_cluster_options options;
    struct proxy_balance_item *items;
    struct proxy_cluster_endpoint *endpoints;
    struct proxy_host **hosts; /* those that stay are the cluster's */
    bool *is_new;
};

struct proxy_cluster_run {
    struct proxy_turn *turn;
    struct proxy_cluster_options options;
    struct proxy_balance_item *items; /* STATIC: by endpoint */
    struct proxy_host **hosts;        /* STATIC: by endpoint */
    struct proxy_host **buckets;      /* ORIGINAL_DST: made with the first connection */
    struct staged *staged;            /* NULL: nothing */
    struct proxy_upstream *idle_newest, *idle_oldest;
    size_t idle, connections;
    struct proxy_shared_cluster *shared;
    uint32_t ejection_version; /* of the shared state that the items show */
    struct fl_timer expiry;    /* of the oldest idle one */
    size_t references;
    bool retired;
    struct fl_deferred deferred;
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
    host->transport = cluster->options.transport;
    host->next = *bucket;
    *bucket = host;
    return host;
}

static void host_release(struct proxy_cluster_run *cluster, struct proxy_host *host)
{
    if (host->uses > 0)
        return;
    if (!cluster->options.original_dst) {
        if (host->item == GONE)
            free(host);
        return;
    }
    struct proxy_host **link = &cluster->buckets[proxy_address_hash(&host->address) % PROXY_UPSTREAM_HOSTS];
    while (*link != host)
        link = &(*link)->next;
    *link = host->next;
    free(host);
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

static int choose_host(struct proxy_cluster_run *cluster, const struct proxy_address *original,
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

static void count_active(struct proxy_upstream *upstream, int by)
{
    struct proxy_cluster_run *cluster = upstream->cluster;
    if (!cluster->options.original_dst && upstream->host->item != GONE)
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
    proxy_cluster_run_unref(cluster);
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

/* *ret_context: NULL for plaintext. 0 or -ENOKEY. */
static int context_of(const struct proxy_cluster_run *cluster, const struct proxy_host *host,
                      struct fl_tls_context **ret_context)
{
    const struct proxy_cluster_options *options = &cluster->options;
    *ret_context = host->transport != NULL ? options->tls_of(options->owner, host->transport) : NULL;
    return *ret_context != NULL || (host->transport == NULL && host->identity.len == 0) ? 0 : -ENOKEY;
}

/* Its end is known and not told yet, or a new connection would be made otherwise. */
static bool is_stale(const struct proxy_upstream *upstream, const struct fl_tls_context *context)
{
    return !proxy_conn_is_open(upstream->conn) || proxy_conn_unread(upstream->conn) > 0 || upstream->context != context;
}

static struct proxy_upstream *take_idle(struct proxy_host *host, const struct fl_tls_context *context,
                                        const struct proxy_conn_ops *ops, void *owner)
{
    while (host->idle != NULL && is_stale(host->idle, context))
        idle_close(host->idle);
    struct proxy_upstream *upstream = host->idle;
    if (upstream == NULL)
        return NULL;
    idle_remove(upstream);
    upstream->reused = true;
    upstream->requests++;
    proxy_conn_set_owner(upstream->conn, ops, owner);
    return upstream;
}

static int start_tls(const struct proxy_cluster_options *options, const struct proxy_host *host,
                     struct fl_tls_context *context, struct proxy_conn *conn)
{
    const struct proxy_tls_options tls = {
        .context = context,
        .preface = options->preface,
        .identity = host->identity,
        .timeout_ms = options->connect_timeout_ms,
    };
    return context != NULL ? proxy_tls_start(conn, &tls) : 0;
}

static int dial(struct proxy_cluster_run *cluster, struct proxy_host *host, struct fl_tls_context *context,
                const struct proxy_conn_ops *ops, void *owner, struct proxy_upstream **ret_upstream)
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
    result = start_tls(options, host, context, upstream->conn);
    if (result < 0) {
        proxy_conn_close(upstream->conn, PROXY_CLOSE_NOW);
        free(upstream);
        return result;
    }
    upstream->cluster = proxy_cluster_run_ref(cluster);
    upstream->context = context;
    upstream->host = host;
    upstream->requests = 1;
    upstream->pending = true;
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

static bool take(struct proxy_cluster_run *cluster, enum proxy_upstream_limit limit)
{
    return proxy_shared_take(cluster->shared, limit, cluster->options.limits[limit]);
}

static void give(const struct proxy_cluster_run *cluster, enum proxy_upstream_limit limit)
{
    proxy_shared_give(cluster->shared, limit);
}

static int dial_within_limits(struct proxy_cluster_run *cluster, struct proxy_host *host,
                              struct fl_tls_context *context, const struct proxy_conn_ops *ops, void *owner,
                              struct proxy_upstream **ret_upstream)
{
    if (!take(cluster, PROXY_UPSTREAM_LIMIT_CONNECTIONS))
        return overflow(cluster, PROXY_UPSTREAM_LIMIT_CONNECTIONS);
    int result = PROXY_UPSTREAM_OVERFLOW;
    if (take(cluster, PROXY_UPSTREAM_LIMIT_PENDING)) {
        result = dial(cluster, host, context, ops, owner, ret_upstream);
        if (result != PROXY_UPSTREAM_OK)
            give(cluster, PROXY_UPSTREAM_LIMIT_PENDING);
    } else {
        overflow(cluster, PROXY_UPSTREAM_LIMIT_PENDING);
    }
    if (result != PROXY_UPSTREAM_OK)
        give(cluster, PROXY_UPSTREAM_LIMIT_CONNECTIONS);
    return result;
}

static int take_or_dial(struct proxy_cluster_run *cluster, struct proxy_host *host, unsigned want,
                        const struct proxy_conn_ops *ops, void *owner, struct proxy_upstream **ret_upstream)
{
    bool request = (want & PROXY_UPSTREAM_REQUEST) != 0;
    struct fl_tls_context *context;
    int result = context_of(cluster, host, &context);
    if (result < 0)
        return result;
    if (request && !take(cluster, PROXY_UPSTREAM_LIMIT_REQUESTS))
        return overflow(cluster, PROXY_UPSTREAM_LIMIT_REQUESTS);
    *ret_upstream = (want & PROXY_UPSTREAM_FRESH) != 0 ? NULL : take_idle(host, context, ops, owner);
    if (*ret_upstream != NULL) { /* it is there already: no limit keeps it from being used */
        (void)!proxy_shared_take(cluster->shared, PROXY_UPSTREAM_LIMIT_CONNECTIONS, UINT32_MAX);
        return PROXY_UPSTREAM_OK;
    }
    result = dial_within_limits(cluster, host, context, ops, owner, ret_upstream);
    if (request && result != PROXY_UPSTREAM_OK)
        give(cluster, PROXY_UPSTREAM_LIMIT_REQUESTS);
    return result;
}

int proxy_upstream_get_other(struct proxy_cluster_run *cluster, const struct proxy_address *original,
                             const struct proxy_upstream_tried *tried, unsigned want, uint64_t random,
                             const struct proxy_conn_ops *ops, void *owner, struct proxy_upstream **ret_upstream)
{
    struct proxy_host *host;
    struct proxy_upstream *upstream = NULL;
    int result = choose_host(cluster, original, tried, random, &host);
    if (result != PROXY_UPSTREAM_OK)
        return result;
    host->uses++; /* stays, while stale connections of it go */
    result = take_or_dial(cluster, host, want, ops, owner, &upstream);
    host->uses--;
    if (result != PROXY_UPSTREAM_OK) {
        host_release(cluster, host);
        return result;
    }
    assert(upstream != NULL);
    count_active(upstream, 1);
    upstream->is_request = (want & PROXY_UPSTREAM_REQUEST) != 0;
    *ret_upstream = upstream;
    return PROXY_UPSTREAM_OK;
}

int proxy_upstream_get(struct proxy_cluster_run *cluster, const struct proxy_address *original, unsigned want,
                       uint64_t random, const struct proxy_conn_ops *ops, void *owner,
                       struct proxy_upstream **ret_upstream)
{
    return proxy_upstream_get_other(cluster, original, NULL, want, random, ops, owner, ret_upstream);
}

void proxy_upstream_tried_add(struct proxy_upstream_tried *tried, const struct proxy_address *address)
{
    if (tried->count == PROXY_UPSTREAM_TRIED_MAX) {
        memmove(&tried->hosts[0], &tried->hosts[1], sizeof(tried->hosts) - sizeof(tried->hosts[0]));
        tried->count--;
    }
    tried->hosts[tried->count++] = *address;
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
    overflow(cluster, PROXY_UPSTREAM_LIMIT_RETRIES);
    return false;
}

void proxy_upstream_retry_give(struct proxy_cluster_run *cluster)
{
    give(cluster, PROXY_UPSTREAM_LIMIT_RETRIES);
}

void proxy_upstream_opened(struct proxy_upstream *upstream)
{
    if (upstream->pending)
        give(upstream->cluster, PROXY_UPSTREAM_LIMIT_PENDING);
    upstream->pending = false;
}

/* Its user is done with it. */
static void count_done(struct proxy_upstream *upstream)
{
    count_active(upstream, -1);
    proxy_upstream_opened(upstream);
    give(upstream->cluster, PROXY_UPSTREAM_LIMIT_CONNECTIONS);
    if (upstream->is_request)
        give(upstream->cluster, PROXY_UPSTREAM_LIMIT_REQUESTS);
    upstream->is_request = false;
}

static bool reusable(const struct proxy_upstream *upstream)
{
    const struct proxy_cluster_run *cluster = upstream->cluster;
    const struct proxy_conn *conn = upstream->conn;
    uint32_t max = cluster->options.max_requests_per_connection;
    return !cluster->retired && upstream->host->item != GONE && conn != NULL && proxy_conn_is_open(conn) &&
           proxy_conn_unread(conn) == 0 && proxy_conn_unsent(conn) == 0 && (max == 0 || upstream->requests < max);
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

/* --- other options ------------------------------------------------------------------------------------------------ */

static void staged_free(struct staged *staged)
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
        if (proxy_address_eq(&host->address, &endpoint->address) && fl_span_eq(host->identity, endpoint->identity)) {
            *link = finder->nexts[*link];
            return host;
        }
    }
    return NULL;
}

static int find_hosts(struct proxy_cluster_run *cluster, struct staged *staged, struct finder *finder)
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
    struct staged *staged = calloc(1, sizeof(*staged));
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
        staged_free(staged);
    else
        cluster->staged = staged;
    return result;
}

/* It takes nothing new; its last connection takes it along. */
static void let_go(struct proxy_cluster_run *cluster, struct proxy_host *host)
{
    host->item = GONE;
    host->identity = (struct fl_span){NULL, 0}; /* the memory goes */
    host->uses++;
    while (host->idle != NULL)
        idle_close(host->idle);
    host->uses--;
    host_release(cluster, host);
}

void proxy_cluster_run_commit(struct proxy_cluster_run *cluster)
{
    struct staged *staged = fl_take(cluster->staged);
    if (staged == NULL)
        return;
    struct proxy_host **before = cluster->hosts;
    size_t count_before = cluster->options.endpoint_count, count = staged->options.endpoint_count;
    for (size_t i = 0; i < count_before; i++)
        before[i]->item = GONE;
    for (size_t i = 0; i < count; i++) {
        staged->hosts[i]->item = (uint32_t)i;
        staged->hosts[i]->identity = staged->endpoints[i].identity;
        staged->hosts[i]->transport = staged->endpoints[i].transport;
    }
    free(cluster->items);
    cluster->options = staged->options;
    cluster->items = fl_take(staged->items);
    cluster->hosts = fl_take(staged->hosts);
    cluster->ejection_version = 0;
    for (size_t i = 0; i < count_before; i++) {
        if (before[i]->item == GONE)
            let_go(cluster, before[i]);
    }
    for (size_t i = 0; cluster->options.original_dst && cluster->buckets != NULL && i < PROXY_UPSTREAM_HOSTS; i++) {
        for (struct proxy_host *host = cluster->buckets[i]; host != NULL; host = host->next)
            host->transport = cluster->options.transport;
    }
    free(before);
    staged_free(staged);
}

void proxy_cluster_run_unstage(struct proxy_cluster_run *cluster)
{
    staged_free(fl_take(cluster->staged));
}

/* --- life ------------------------------------------------------------------------------------------------------- */

static void destroy(struct proxy_cluster_run *cluster)
{
    for (size_t i = 0; cluster->hosts != NULL && i < cluster->options.endpoint_count; i++)
        free(cluster->hosts[i]);
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

void proxy_cluster_run_retire(struct proxy_cluster_run *cluster)
{
    if (cluster == NULL)
        return;
    cluster->references++;
    cluster->retired = true;
    while (cluster->idle_oldest != NULL)
        idle_close(cluster->idle_oldest);
    fl_timer_cancel(&cluster->expiry);
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
