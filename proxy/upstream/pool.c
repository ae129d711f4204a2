/* Connections for one user at a time: got, put back, dropped. */
#include "proxy/upstream/cluster_inner.h"

#include "proxy/tls/filter.h"

#include <assert.h>
#include <errno.h>

int proxy_host_context(const struct proxy_cluster_run *cluster, const struct proxy_host *host,
                       struct fl_tls_context **ret_context)
{
    const struct proxy_cluster_options *options = &cluster->options;
    *ret_context = host->transport != NULL ? options->tls_of(options->owner, host->transport) : NULL;
    return *ret_context != NULL || (host->transport == NULL && host->identity.len == 0) ? 0 : -ENOKEY;
}

static int start_tls(const struct proxy_cluster_options *options, const struct proxy_host *host,
                     struct fl_tls_context *context, enum fl_alpn_use use, struct proxy_conn *conn)
{
    const struct proxy_tls_options tls = {
        .context = context,
        .preface = options->preface,
        .identity = host->identity,
        .timeout_ms = options->connect_timeout_ms,
        .use = use,
    };
    return context != NULL ? proxy_tls_start(conn, &tls) : 0;
}

struct with_client {
    struct proxy_upstream upstream;
    struct proxy_h1_client client;
};

static int dial(struct proxy_cluster_run *cluster, struct proxy_host *host, struct fl_tls_context *context,
                enum fl_alpn_use use, const struct proxy_conn_ops *ops, void *owner,
                struct proxy_upstream **ret_upstream)
{
    const struct proxy_cluster_options *options = &cluster->options;
    struct with_client *with_client =
        calloc(1, use == FL_ALPN_USE_BYTES ? sizeof(struct proxy_upstream) : sizeof(*with_client));
    if (with_client == NULL)
        return -ENOMEM;
    struct proxy_upstream *upstream = &with_client->upstream;
    upstream->client = use == FL_ALPN_USE_BYTES ? NULL : &with_client->client;
    const struct proxy_dial how = {
        .source = host->address.any.sa_family == AF_INET ? &options->bind_v4 : &options->bind_v6,
        .other = &host->other,
        .other_source = host->other.any.sa_family == AF_INET ? &options->bind_v4 : &options->bind_v6,
        .freebind = options->bind_freebind,
        .keepalive = options->keepalive,
        .timeout_ms = options->connect_timeout_ms,
    };
    const bool gated = proxy_host_is_gated(host);
    int result = gated ? proxy_hbone_dial(cluster, host, context, &upstream->conn)
                       : proxy_conn_connect(cluster->turn, &host->address, &how, &upstream->conn);
    if (result < 0) {
        free(upstream);
        return result;
    }
    proxy_conn_set_owner(upstream->conn, ops, owner);
    proxy_conn_set_high(upstream->conn, options->buffer_limit_bytes);
    result = gated ? 0 : start_tls(options, host, context, use, upstream->conn);
    if (result < 0) {
        proxy_conn_close(upstream->conn, PROXY_CLOSE_NOW);
        free(upstream);
        return result;
    }
    upstream->cluster = proxy_cluster_run_ref(cluster);
    upstream->context = context;
    upstream->host = host;
    upstream->requests = 1;
    upstream->pending = host->behind == NULL;
    cluster->connections++;
    proxy_cluster_tell(cluster, true);
    host->uses++;
    *ret_upstream = upstream;
    return PROXY_UPSTREAM_OK;
}

int proxy_upstream_dial(struct proxy_cluster_run *cluster, struct proxy_host *host, struct fl_tls_context *context,
                        enum fl_alpn_use use, const struct proxy_conn_ops *ops, void *owner,
                        struct proxy_upstream **ret_upstream)
{
    if (host->behind != NULL) /* what goes through it is counted */
        return dial(cluster, host, context, use, ops, owner, ret_upstream);
    if (!proxy_limit_take(cluster, PROXY_UPSTREAM_LIMIT_CONNECTIONS))
        return proxy_limit_overflow(cluster, PROXY_UPSTREAM_LIMIT_CONNECTIONS);
    int result = PROXY_UPSTREAM_OVERFLOW;
    if (proxy_limit_take(cluster, PROXY_UPSTREAM_LIMIT_PENDING)) {
        result = dial(cluster, host, context, use, ops, owner, ret_upstream);
        if (result != PROXY_UPSTREAM_OK)
            proxy_limit_give(cluster, PROXY_UPSTREAM_LIMIT_PENDING);
    } else {
        proxy_limit_overflow(cluster, PROXY_UPSTREAM_LIMIT_PENDING);
    }
    if (result != PROXY_UPSTREAM_OK)
        proxy_limit_give(cluster, PROXY_UPSTREAM_LIMIT_CONNECTIONS);
    return result;
}

static int take_or_dial(struct proxy_cluster_run *cluster, struct proxy_host *host, unsigned want, uint64_t pin,
                        const struct proxy_conn_ops *ops, void *owner, struct proxy_upstream **ret_upstream)
{
    bool request = (want & PROXY_UPSTREAM_REQUEST) != 0;
    struct fl_tls_context *context;
    int result = proxy_host_context(cluster, host, &context);
    if (result < 0)
        return result;
    if (request && !proxy_limit_take(cluster, PROXY_UPSTREAM_LIMIT_REQUESTS))
        return proxy_limit_overflow(cluster, PROXY_UPSTREAM_LIMIT_REQUESTS);
    *ret_upstream = (want & PROXY_UPSTREAM_FRESH) != 0 ? NULL : proxy_idle_take(host, context, pin, ops, owner);
    if (*ret_upstream != NULL) { /* it is there already: no limit keeps it from being used */
        (void)!proxy_shared_take(cluster->shared, PROXY_UPSTREAM_LIMIT_CONNECTIONS, UINT32_MAX);
        return PROXY_UPSTREAM_OK;
    }
    const enum fl_alpn_use use = request ? FL_ALPN_USE_HTTP1 : FL_ALPN_USE_BYTES;
    result = (want & PROXY_UPSTREAM_POOLED) != 0
                 ? -EAGAIN
                 : proxy_upstream_dial(cluster, host, context, use, ops, owner, ret_upstream);
    if (request && result != PROXY_UPSTREAM_OK)
        proxy_limit_give(cluster, PROXY_UPSTREAM_LIMIT_REQUESTS);
    return result;
}

int proxy_upstream_take(struct proxy_cluster_run *cluster, struct proxy_host *host, unsigned want, uint64_t pin,
                        const struct proxy_conn_ops *ops, void *owner, struct proxy_upstream **ret_upstream)
{
    struct proxy_upstream *upstream = NULL;
    host->uses++; /* stays, while stale connections of it go */
    int result = take_or_dial(cluster, host, want, pin, ops, owner, &upstream);
    host->uses--;
    if (result != PROXY_UPSTREAM_OK) {
        proxy_host_release(cluster, host);
        return result;
    }
    assert(upstream != NULL);
    proxy_upstream_count(upstream);
    upstream->is_request = (want & PROXY_UPSTREAM_REQUEST) != 0;
    upstream->pin = pin;
    *ret_upstream = upstream;
    return PROXY_UPSTREAM_OK;
}

int proxy_upstream_get_other(struct proxy_cluster_run *cluster, const struct proxy_address *original,
                             const struct proxy_upstream_tried *tried, unsigned want, uint64_t random,
                             const struct proxy_conn_ops *ops, void *owner, struct proxy_upstream **ret_upstream)
{
    struct proxy_host *host;
    int result = proxy_host_choose(cluster, original, tried, random, &host);
    if (result == PROXY_UPSTREAM_OK)
        result = proxy_upstream_take(cluster, host, want, 0, ops, owner, ret_upstream);
    return result;
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

void proxy_upstream_opened(struct proxy_upstream *upstream)
{
    if (upstream->pending)
        proxy_limit_give(upstream->cluster, PROXY_UPSTREAM_LIMIT_PENDING);
    upstream->pending = false;
}

void proxy_upstream_count(struct proxy_upstream *upstream)
{
    proxy_host_count(upstream, 1);
    upstream->is_counted = true;
}

void proxy_upstream_uncount(struct proxy_upstream *upstream)
{
    if (upstream->is_counted)
        proxy_host_count(upstream, -1);
    if (upstream->is_request)
        proxy_limit_give(upstream->cluster, PROXY_UPSTREAM_LIMIT_REQUESTS);
    upstream->is_counted = upstream->is_request = false;
}

/* Its user is done with it. */
static void count_done(struct proxy_upstream *upstream)
{
    proxy_upstream_uncount(upstream);
    proxy_upstream_opened(upstream);
    if (upstream->host->behind == NULL)
        proxy_limit_give(upstream->cluster, PROXY_UPSTREAM_LIMIT_CONNECTIONS);
}

/* read: what is unread belongs to the answer that is being told, to its last byte. */
static bool reusable(const struct proxy_upstream *upstream, bool read)
{
    const struct proxy_cluster_run *cluster = upstream->cluster;
    const struct proxy_conn *conn = upstream->conn;
    uint32_t max = cluster->options.max_requests_per_connection;
    return !cluster->retired && upstream->host->item != PROXY_HOST_GONE && conn != NULL && proxy_conn_is_open(conn) &&
           (read || proxy_conn_unread(conn) == 0) && proxy_conn_unsent(conn) == 0 &&
           (max == 0 || upstream->requests < max);
}

static void put(struct proxy_upstream *upstream, bool read)
{
    if (!reusable(upstream, read)) {
        proxy_upstream_drop(upstream, PROXY_CLOSE_FLUSH);
        return;
    }
    count_done(upstream);
    proxy_idle_put(upstream);
}

void proxy_upstream_put(struct proxy_upstream *upstream)
{
    put(upstream, false);
}

void proxy_upstream_put_read(struct proxy_upstream *upstream)
{
    put(upstream, true);
}

void proxy_upstream_drop(struct proxy_upstream *upstream, enum proxy_close how)
{
    if (upstream == NULL)
        return;
    count_done(upstream);
    proxy_upstream_discard(upstream, how);
}

const struct proxy_address *proxy_upstream_address(const struct proxy_upstream *upstream)
{
    return &upstream->host->address;
}
