/* What the DNS port counts: a registry of its thread, summed with the others at a scrape. */
#ifndef PROXY_DNS_STATS_H
#define PROXY_DNS_STATS_H

#include "common/metrics/registry.h"

/* What became of a client's query. */
#define PROXY_DNS_RESULTS(X)                                                                                           \
    X(CACHE, "cache")             /* answered from what is known */                                                    \
    X(UPSTREAM, "upstream")       /* … by a server */                                                                \
    X(SHARED, "shared")           /* … by a server that was being asked the same already */                          \
    X(FAILED, "failed")           /* no server answered: SERVFAIL */                                                   \
    X(OVERLOAD, "overload")       /* too many questions under way: SERVFAIL */                                         \
    X(MEMORY, "memory")           /* SERVFAIL */                                                                       \
    X(MALFORMED, "malformed")     /* FORMERR, or nothing */                                                            \
    X(UNSUPPORTED, "unsupported") /* no query, or a zone's transfer: NOTIMP, REFUSED */                                \
    X(GONE, "gone")               /* the client closed its connection before */
enum proxy_dns_result {
#define PROXY_DNS_RESULT_(name, text) PROXY_DNS_RESULT_##name,
    PROXY_DNS_RESULTS(PROXY_DNS_RESULT_)
#undef PROXY_DNS_RESULT_
        PROXY_DNS_RESULT_COUNT
};

/* What became of a question to a server. */
#define PROXY_DNS_ATTEMPTS(X)                                                                                          \
    X(ANSWERED, "answered")                                                                                            \
    X(REJECTED, "rejected")       /* SERVFAIL, NOTIMP, REFUSED: the next one is asked */                               \
    X(TIMEOUT, "timeout")         /* not in time; an answer that comes later still counts as answered */               \
    X(UNREACHABLE, "unreachable") /* nobody listens there, no route, connection lost */                                \
    X(BROKEN, "broken")           /* the answer cannot be read */                                                      \
    X(ATTACKED, "attacked")       /* too many foreign answers: asked again from another port */
enum proxy_dns_attempt_end {
#define PROXY_DNS_ATTEMPT_(name, text) PROXY_DNS_ATTEMPT_##name,
    PROXY_DNS_ATTEMPTS(PROXY_DNS_ATTEMPT_)
#undef PROXY_DNS_ATTEMPT_
        PROXY_DNS_ATTEMPT_COUNT
};

struct proxy_dns_stats { /* embedded; one thread writes it */
    struct fl_metrics *metrics;
    struct fl_counter *results[2][PROXY_DNS_RESULT_COUNT]; /* UDP, TCP */
    struct fl_counter *attempts[2][PROXY_DNS_ATTEMPT_COUNT];
    struct fl_counter *foreign; /* answers with another id or question */
    struct fl_histogram *seconds;
    struct fl_gauge *cache_entries, *cache_bytes, *questions, *connections;
};

int proxy_dns_stats_init(struct proxy_dns_stats *stats) FL_MUST_CHECK; /* 0 or -ENOMEM */
void proxy_dns_stats_done(struct proxy_dns_stats *stats);

static inline void proxy_dns_stats_result(struct proxy_dns_stats *stats, bool tcp, enum proxy_dns_result result)
{
    fl_counter_add(stats->results[tcp][result], 1);
}

static inline void proxy_dns_stats_attempt(struct proxy_dns_stats *stats, bool tcp, enum proxy_dns_attempt_end end)
{
    fl_counter_add(stats->attempts[tcp][end], 1);
}

#endif
