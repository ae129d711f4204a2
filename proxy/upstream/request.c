/* Streams for requests: over a connection of its own, or a shared one. */
#include "proxy/upstream/cluster_inner.h"

static void on_client_open(struct proxy_h1_client *client)
{
    struct proxy_upstream *upstream = client->owner;
    upstream->opened = true;
    proxy_upstream_opened(upstream);
}

static int request_over_h1(struct proxy_cluster_run *cluster, const struct proxy_upstream_want *want,
                           const struct proxy_stream_events *events, void *user, struct proxy_upstream **ret_upstream)
{
    const unsigned flags = PROXY_UPSTREAM_REQUEST | (want->fresh ? PROXY_UPSTREAM_FRESH : 0u);
    struct proxy_upstream *upstream;
    int result =
        proxy_upstream_get_other(cluster, want->original, want->tried, flags, want->random, NULL, NULL, &upstream);
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

int proxy_upstream_request(struct proxy_cluster_run *cluster, const struct proxy_upstream_want *want,
                           const struct proxy_stream_events *events, void *user, struct proxy_upstream **ret_upstream)
{
    return request_over_h1(cluster, want, events, user, ret_upstream);
}

void proxy_upstream_finish(struct proxy_upstream *upstream, enum proxy_reset why)
{
    if (upstream == NULL)
        return;
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
    return upstream->client->end;
}
