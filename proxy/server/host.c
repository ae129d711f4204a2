#include "proxy/server/inner.h"

#include "common/base/log.h"

static bool host_waits(void *owner, char *text, size_t size)
{
    return proxy_live_waits(((struct server *)owner)->live, text, size);
}

static struct proxy_assembly *host_assembly(void *owner)
{
    return ((struct server *)owner)->assembly;
}

static int host_xds(void *owner, struct fl_buf *out)
{
    return proxy_live_print(((struct server *)owner)->live, out);
}

static enum proxy_server_state host_state(void *owner)
{
    const struct server *server = owner;
    return server->leaving_ms != 0 && server->state == PROXY_SERVER_LIVE ? PROXY_SERVER_DRAINING : server->state;
}

static struct proxy_snapshot *host_snapshot(void *owner)
{
    return ((const struct server *)owner)->snapshot;
}

static void count_handshakes(const struct server *server)
{
    size_t under_way = 0, waiting = 0;
    for (unsigned i = 0; i < server->worker_count; i++) {
        size_t of_worker;
        under_way += proxy_worker_handshakes(server->workers[i], &of_worker);
        waiting += of_worker;
    }
    proxy_stats_handshakes(server->stats, under_way, waiting);
}

static size_t host_registries(void *owner, struct fl_metrics **ret_registries, size_t max)
{
    struct server *server = owner;
    size_t count = 0;
    proxy_stats_ejected(server->stats, proxy_shared_ejected(server->shared, fl_loop_now_ms(server->loop)));
    count_handshakes(server);
    if (count < max)
        ret_registries[count++] = proxy_stats_metrics(server->stats);
    if (server->dns != NULL && count < max)
        ret_registries[count++] = proxy_dns_service_metrics(server->dns);
    for (unsigned i = 0; i < server->worker_count && count < max; i++)
        ret_registries[count++] = proxy_worker_metrics(server->workers[i]);
    return count;
}

static void host_drain(void *owner, const struct proxy_admin_drain *how)
{
    proxy_server_drain_listeners(owner, how);
}

static void host_leave(void *owner)
{
    proxy_server_leave(owner);
}

static void host_quit(void *owner)
{
    proxy_server_quit(owner);
}

struct proxy_admin_host proxy_server_host(struct server *server)
{
    return (struct proxy_admin_host){
        .owner = server,
        .state = host_state,
        .waits = host_waits,
        .assembly = host_assembly,
        .xds = host_xds,
        .snapshot = host_snapshot,
        .registries = host_registries,
        .drain = host_drain,
        .leave = host_leave,
        .quit = host_quit,
    };
}
