/* The servers of resolv.conf, and which of them is asked next. Pure: the clock is passed in.
 *
 * As a libc does it: in the file's order, with `rotate` each question one further. Other than a libc, one that did not
 * answer is passed over for a while (a second at first, doubled each time, 30 s at most): the pod waits for a dead
 * server once, not at every name. Where all are silent, the one whose time is up first is asked.
 */
#ifndef PROXY_DNS_SERVERS_H
#define PROXY_DNS_SERVERS_H

#include "proxy/dns/resolvconf.h"

#define PROXY_DNS_SHUN_MS     1000u
#define PROXY_DNS_SHUN_MAX_MS 30000u

struct proxy_dns_servers { /* embedded */
    struct proxy_resolvconf conf;
    struct {
        unsigned failures;   /* in a row */
        uint64_t shunned_ms; /* until then */
    } state[PROXY_RESOLVCONF_SERVERS];
    unsigned turn; /* rotate */
};

void proxy_dns_servers_set(struct proxy_dns_servers *servers, const struct proxy_resolvconf *conf);

/* Where a question begins; kept for its further picks. */
unsigned proxy_dns_servers_begin(struct proxy_dns_servers *servers);
/* The next of them that is not in the set `tried` (a bit each); in any case one. */
size_t proxy_dns_servers_pick(const struct proxy_dns_servers *servers, unsigned begin, unsigned tried, uint64_t now_ms);
static inline bool proxy_dns_servers_left(const struct proxy_dns_servers *servers, unsigned tried)
{
    return tried != (1u << servers->conf.count) - 1;
}

void proxy_dns_servers_failed(struct proxy_dns_servers *servers, size_t server, uint64_t now_ms);
void proxy_dns_servers_answered(struct proxy_dns_servers *servers, size_t server);

#endif
