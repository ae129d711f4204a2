/* What the DNS port does with a query, whatever it came by: answers from the cache, joins a question that is under way,
 * or asks. No sockets of clients here.
 *
 * An answer is handed on as it came but for the id, the spelling of the question's name (each client gets its own
 * back), TTLs of cached ones, and what does not fit into the client's datagram (whole records as many as fit, TC: the
 * client comes again by TCP). Queries with something of their own (EDNS options, signatures) are never joined nor kept.
 *
 * Bounds: questions under way, clients that wait; beyond either a query gets SERVFAIL at once. A query that comes again
 * from the same client while it waits is one.
 */
#ifndef PROXY_DNS_RESOLVER_H
#define PROXY_DNS_RESOLVER_H

#include "proxy/dns/cache.h"
#include "proxy/dns/client.h"

#define PROXY_DNS_QUESTIONS_MAX 1024u /* and no more than a sixteenth of the descriptors */
#define PROXY_DNS_QUESTIONS_MIN 16u
#define PROXY_DNS_WAITERS_MAX   4096u
#define PROXY_DNS_SWEEP_MS      30000u

/* Whom an answer goes to. A plain value; `owner` tells the resolver when it is gone. */
struct proxy_dns_from {
    /* Once where proxy_dns_resolver_ask says so; the packet holds during the call. It must not ask anything. */
    void (*reply)(const struct proxy_dns_from *from, const char *packet, size_t len);
    void *owner;
    struct proxy_address peer; /* UDP */
    bool tcp;
};

struct proxy_dns_question_run;

struct proxy_dns_resolver { /* embedded */
    struct fl_loop *loop;
    struct proxy_dns_stats *stats;
    struct proxy_dns_cache cache;
    struct proxy_dns_client client;
    struct fl_map shared;                 /* questions under way that may be joined */
    struct proxy_dns_question_run *first; /* all of them */
    size_t question_count, question_max, waiter_count;
    struct fl_timer sweep;
    char *out; /* PROXY_DNS_MESSAGE_MAX bytes */
};

/* 0 or -ENOMEM. */
int proxy_dns_resolver_init(struct proxy_dns_resolver *resolver, struct fl_loop *loop, struct proxy_dns_stats *stats,
                            const char *resolv_conf, unsigned long files) FL_MUST_CHECK;
/* Nobody who waits is answered. The loop has to run what is deferred before it is freed. */
void proxy_dns_resolver_done(struct proxy_dns_resolver *resolver);

/* True: from->reply has come, or will. False: this is no query, and there is no answer. */
bool proxy_dns_resolver_ask(struct proxy_dns_resolver *resolver, struct fl_span packet,
                            const struct proxy_dns_from *from);

/* `owner` is gone: its replies do not come any more. */
void proxy_dns_resolver_forget(struct proxy_dns_resolver *resolver, const void *owner);

#endif
