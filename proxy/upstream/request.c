/* Streams for requests: over a connection of its own, or a shared one. */
#include "common/tls/context.h"
#include "proxy/upstream/mux.h"

#include <errno.h>

static void on_client_open(struct proxy_h1_client *client)
{
    struct proxy_upstream *upstream = client->owner;
    upstream->opened = true;
    proxy_upstream_opened(upstream);
}

static int request_over_h1(struct proxy_cluster_run *cluster, struct proxy_host *host, unsigned flags,
                           const struct proxy_upstream_want *want, const struct proxy_stream_events *events, void *user,
                           struct proxy_upstream **ret_upstream)
{
    struct proxy_upstream *upstream;
    flags |= PROXY_UPSTREAM_REQUEST | (want->fresh ? PROXY_UPSTREAM_FRESH : 0u);
    int result = proxy_upstream_take(cluster, host, flags, want->pin, NULL, NULL, &upstream);
    if (result != PROXY_UPSTREAM_OK)
        return result;
    upstream->client->scratch = cluster->options.scratch;
    upstream->client->on_open = on_client_open;
    upstream->client->owner = upstream;
    upstream->opened = upstream->reused;
    upstream->stream = &upstream->client->stream;
    proxy_h1_client_begin(upstream->client, upstream->conn, upstream->opened, events, user);
    *ret_upstream = upstream;
    return PROXY_UPSTREAM_OK;
}

/* What a TLS context offers for HTTP. */
struct offers {
    bool shared, http2, http1;
};

static struct offers offers_of(const struct fl_tls_context *context)
{
    struct offers offers = {0};
    struct fl_span token;
    for (size_t i = 0; (token = fl_tls_context_alpn(context, i)).len > 0; i++) {
        enum fl_alpn_kind kind = fl_alpn_kind(token);
        offers.shared |= kind == FL_ALPN_KIND_SHARED;
        offers.http2 |= kind == FL_ALPN_KIND_HTTP2;
        offers.http1 |= kind == FL_ALPN_KIND_HTTP1;
    }
    return offers;
}

/* Whether a shared connection may come of it (context NULL: by the setting alone). A foreign peer need not take
 * upgrades on one, nor keep NTLM apart. */
static bool may_share(const struct proxy_cluster_run *cluster, const struct fl_tls_context *context,
                      const struct proxy_upstream_want *want)
{
    enum proxy_cluster_http http = cluster->options.http;
    const struct offers offers = context != NULL ? offers_of(context) : (struct offers){0};
    if (!offers.shared && !offers.http2)
        return http == PROXY_CLUSTER_HTTP2 || (http == PROXY_CLUSTER_DOWNSTREAM && want->downstream_h2);
    if (!offers.shared && offers.http1 && http == PROXY_CLUSTER_DOWNSTREAM && !want->downstream_h2)
        return false;
    return offers.shared || !offers.http1 || (!want->upgrade && want->pin == 0);
}

/* Where this host turned out to speak HTTP/1 its connections are in the pool. */
static int request_over_any(struct proxy_cluster_run *cluster, struct proxy_host *host, struct fl_tls_context *context,
                            const struct proxy_upstream_want *want, const struct proxy_stream_events *events,
                            void *user, struct proxy_upstream **ret_upstream)
{
    int result = -EAGAIN;
    if (host->idle != NULL && !want->fresh)
        result = request_over_h1(cluster, host, PROXY_UPSTREAM_POOLED, want, events, user, ret_upstream);
    if (result == -EAGAIN)
        result = proxy_lane_request(cluster, host, context, want, events, user, ret_upstream);
    return result;
}

int proxy_upstream_request(struct proxy_cluster_run *cluster, const struct proxy_upstream_want *want,
                           const struct proxy_stream_events *events, void *user, struct proxy_upstream **ret_upstream)
{
    struct proxy_host *host;
    struct fl_tls_context *context;
    if (cluster->options.proxy_protocol != 0) /* requests of several clients share connections: whose header? */
        return -EPROTONOSUPPORT;
    int result = proxy_host_choose(cluster, want->original, want->tried, want->random, &host);
    if (result != PROXY_UPSTREAM_OK)
        return result;
    result = proxy_host_context(cluster, host, &context);
    host->uses++; /* stays, while stale connections of it go */
    /* The ALPN of a tunnel's connection says nothing of what is inside. */
    if (result == 0 && may_share(cluster, proxy_host_is_gated(host) ? NULL : context, want))
        result = request_over_any(cluster, host, context, want, events, user, ret_upstream);
    else if (result == 0)
        result = request_over_h1(cluster, host, 0, want, events, user, ret_upstream);
    host->uses--;
    proxy_host_release(cluster, host);
    return result;
}

void proxy_upstream_finish(struct proxy_upstream *upstream, enum proxy_reset why)
{
    if (upstream == NULL)
        return;
    if (upstream->client == NULL) {
        proxy_front_finish(proxy_front_of(upstream), why);
        return;
    }
    const struct proxy_h1_client *client = upstream->client;
    proxy_stream_close(upstream->stream, why);
    upstream->stream = NULL;
    if (client->gone)
        upstream->conn = NULL;
    if (proxy_h1_client_is_clean(client))
        proxy_upstream_put_read(upstream);
    else
        proxy_upstream_drop(upstream, client->answer_done ? PROXY_CLOSE_FLUSH : PROXY_CLOSE_RESET);
}

int proxy_upstream_end(const struct proxy_upstream *upstream)
{
    if (upstream->client != NULL)
        return upstream->client->end;
    return ((const struct proxy_front *)(const void *)upstream)->end;
}
