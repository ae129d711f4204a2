#include "proxy/dns/servers.h"

void proxy_dns_servers_set(struct proxy_dns_servers *servers, const struct proxy_resolvconf *conf)
{
    *servers = (struct proxy_dns_servers){.conf = *conf};
}

unsigned proxy_dns_servers_begin(struct proxy_dns_servers *servers)
{
    return servers->conf.rotate ? servers->turn++ : 0;
}

size_t proxy_dns_servers_pick(const struct proxy_dns_servers *servers, unsigned begin, unsigned tried, uint64_t now_ms)
{
    size_t count = servers->conf.count, best = begin % count;
    uint64_t best_ms = UINT64_MAX;
    if (!proxy_dns_servers_left(servers, tried))
        tried = 0;
    for (size_t i = 0; i < count && best_ms > now_ms; i++) {
        size_t server = (begin + i) % count;
        if ((tried & 1u << server) != 0 || servers->state[server].shunned_ms >= best_ms)
            continue;
        best = server;
        best_ms = servers->state[server].shunned_ms;
    }
    return best;
}

void proxy_dns_servers_failed(struct proxy_dns_servers *servers, size_t server, uint64_t now_ms)
{
    if (server >= servers->conf.count) /* the file has changed meanwhile */
        return;
    uint64_t shun = (uint64_t)PROXY_DNS_SHUN_MS
                    << (servers->state[server].failures < 5 ? servers->state[server].failures : 5);
    servers->state[server].failures++;
    servers->state[server].shunned_ms = now_ms + (shun < PROXY_DNS_SHUN_MAX_MS ? shun : PROXY_DNS_SHUN_MAX_MS);
}

void proxy_dns_servers_answered(struct proxy_dns_servers *servers, size_t server)
{
    if (server >= servers->conf.count)
        return;
    servers->state[server].failures = 0;
    servers->state[server].shunned_ms = 0;
}
