/* Outlier ejection: which host of a cluster has failed so often in a row that it takes no traffic for a while. Pure,
 * over a clock of the caller's; who holds the state, and for whom it counts, is shared.h's matter.
 *
 * What is told of a host is an answer's kind, or a failure that happened on our side (no connection, a reset, nothing
 * in time: of "local origin"). Where those two are not split, a local failure counts as a gateway error, as in Envoy. A
 * host that fails `consecutive[kind]` times in a row is ejected for base × (how often it was ejected lately), at most
 * max; the number goes down by one for each interval that it has stayed in.
 *
 * Other than Envoy's, a return is not rounded up to the next interval: it comes when the time is over.
 */
#ifndef PROXY_UPSTREAM_OUTLIER_H
#define PROXY_UPSTREAM_OUTLIER_H

#include "common/base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* X(id, word): what a host may be ejected for; the words are label values. */
#define PROXY_OUTLIER_KINDS(X)                                                                                         \
    X(5XX, "consecutive_5xx")                                                                                          \
    X(GATEWAY, "consecutive_gateway_failure")                                                                          \
    X(LOCAL, "consecutive_local_origin_failure")

enum proxy_outlier_kind {
#define X(id, word) PROXY_OUTLIER_##id,
    PROXY_OUTLIER_KINDS(X)
#undef X
        PROXY_OUTLIER_KIND_COUNT
};

enum proxy_outlier_event {
    PROXY_OUTLIER_ANSWERED,      /* below 500 */
    PROXY_OUTLIER_SERVER_ERROR,  /* 5xx, but those of the next line */
    PROXY_OUTLIER_GATEWAY_ERROR, /* 502, 503, 504 */
    PROXY_OUTLIER_CONNECTED,     /* of an opaque connection: all the success that can be seen */
    PROXY_OUTLIER_FAILED,        /* local origin */
};

struct proxy_outlier_config {
    bool on;
    bool split;                                     /* split_external_local_origin_errors */
    uint32_t consecutive[PROXY_OUTLIER_KIND_COUNT]; /* 0: this kind is not looked at */
    uint32_t enforcing[PROXY_OUTLIER_KIND_COUNT];   /* per cent of the times that it comes to it */
    uint32_t max_ejection_percent;                  /* of the cluster's hosts; one is always allowed, unless it is 0 */
    uint64_t interval_ms, base_ms, max_ms;          /* > 0 */
};

struct proxy_outlier_state { /* of a host; zeroed: nothing is known against it */
    uint32_t failures[PROXY_OUTLIER_KIND_COUNT];
    uint32_t times;    /* how often it was ejected lately */
    bool ejected;      /* until: */
    uint64_t until_ms; /* …; afterwards: since when it is back */
};

enum proxy_outlier_event proxy_outlier_event_of(unsigned status);

/* Whether the event changes nothing for a host that nothing is known against. */
bool proxy_outlier_is_good(enum proxy_outlier_event event);

/* Counts the event. True: a kind's row is full, and begins anew; the first of several. */
bool proxy_outlier_count(const struct proxy_outlier_config *config, struct proxy_outlier_state *state,
                         enum proxy_outlier_event event, enum proxy_outlier_kind *ret_kind);

/* Whether one more of `hosts` may be ejected, where `ejected` are. */
bool proxy_outlier_allowed(const struct proxy_outlier_config *config, size_t ejected, size_t hosts);

void proxy_outlier_eject(const struct proxy_outlier_config *config, struct proxy_outlier_state *state, uint64_t now_ms);
/* Its time is over. */
bool proxy_outlier_is_due(const struct proxy_outlier_state *state, uint64_t now_ms);
void proxy_outlier_return(struct proxy_outlier_state *state, uint64_t now_ms);

#endif
