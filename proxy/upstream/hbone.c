/* Tunnels to hosts (HBONE): each connection is a stream of a shared one to the host's gate, by CONNECT. The gate is a
 * host of its own, which nobody chooses, so that its shared connections are kept as all others are (lane.c): one for
 * each worker, gate and identity, as long as it has room. Circuit breakers and balance count what goes through it. */
#include "proxy/http/tunnel.h"
#include "proxy/upstream/mux.h"

#include <errno.h>

void proxy_hbone_refresh(struct proxy_host *host)
{
    struct proxy_host *gate = host->gate;
    if (gate == NULL)
        return;
    gate->identity = host->identity;
    gate->transport = host->transport;
    gate->item = host->item;
    if (gate->lane != NULL)
        proxy_lane_wake(gate->lane);
}

static struct proxy_host *gate_of(struct proxy_host *host)
{
    if (host->gate == NULL) {
        struct proxy_host *gate = calloc(1, sizeof(*gate));
        if (gate == NULL)
            return NULL;
        gate->address = host->gate_address;
        gate->behind = host;
        host->gate = gate;
        proxy_hbone_refresh(host);
    }
    return host->gate;
}

static const struct proxy_conn *carrier_of(void *owner)
{
    return ((const struct proxy_upstream *)owner)->conn;
}

static void close_stream(void *owner, enum proxy_reset why)
{
    proxy_upstream_finish(owner, why);
}

/* In a message of its own: the worker's may be in use by who asks for the connection. */
static int send_request(const struct proxy_host *host, struct proxy_stream *stream)
{
    char authority[PROXY_ADDRESS_TEXT_MAX];
    size_t len = proxy_address_print(&host->address, authority);
    struct proxy_message *message = malloc(sizeof(*message));
    if (message == NULL)
        return -ENOMEM;
    proxy_tunnel_request(message, fl_span_make(authority, len));
    proxy_stream_send_head(stream, message, false);
    free(message);
    return 0;
}

static int open_stream(struct proxy_cluster_run *cluster, struct proxy_host *host, struct fl_tls_context *context,
                       struct proxy_tunnel *tunnel)
{
    const struct proxy_upstream_want want = {.upgrade = true};
    struct proxy_upstream *upstream;
    struct proxy_host *gate = gate_of(host);
    if (gate == NULL)
        return -ENOMEM;
    int result = proxy_lane_request(cluster, gate, context, &want, &proxy_tunnel_events, tunnel, &upstream);
    if (result != PROXY_UPSTREAM_OK)
        return result < 0 ? result : -EAGAIN;
    result = send_request(host, upstream->stream);
    if (result == 0)
        proxy_tunnel_begin(tunnel, upstream->stream, upstream);
    else
        proxy_upstream_finish(upstream, PROXY_RESET_MEMORY);
    return result;
}

int proxy_hbone_dial(struct proxy_cluster_run *cluster, struct proxy_host *host, struct fl_tls_context *context,
                     struct proxy_conn **ret_conn)
{
    const struct proxy_tunnel_options options = {
        .turn = cluster->turn,
        .peer = &host->address,
        .timeout_ms = cluster->options.connect_timeout_ms,
        .carrier = carrier_of,
        .close = close_stream,
    };
    struct proxy_tunnel *tunnel;
    if (context == NULL) /* never in the clear */
        return -ENOKEY;
    int result = proxy_tunnel_new(&options, &tunnel, ret_conn);
    if (result < 0)
        return result;
    result = open_stream(cluster, host, context, tunnel);
    if (result < 0)
        proxy_conn_close(*ret_conn, PROXY_CLOSE_NOW);
    return result;
}
