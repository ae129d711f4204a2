/* The agent's metrics (Prometheus; docs/metrics.md tells what they mean). Label values come from fixed lists alone, and
 * no pod is named: who asks /metrics is anybody on the node's network. */
#ifndef CNI_AGENT_STATS_H
#define CNI_AGENT_STATS_H

#include "common/base/buf.h"
#include "common/metrics/registry.h"

/* How posting an Event ended. */
#define CNI_STATS_EVENTS(X)                                                                                            \
    X(POSTED, "posted")                                                                                                \
    X(REPEATED, "repeated") /* counted with one that was posted */                                                     \
    X(LIMITED, "limited")   /* more in this time than are posted */                                                    \
    X(DROPPED, "dropped")   /* the queue was full */                                                                   \
    X(REFUSED, "refused")   /* the API server said no */                                                               \
    X(FAILED, "failed")     /* no answer, or none that can be read */                                                  \
    X(OFF, "off")           /* there is no API server to post to */

enum cni_stats_event {
#define X(symbol, word) CNI_STATS_EVENT_##symbol,
    CNI_STATS_EVENTS(X)
#undef X
        CNI_STATS_EVENT_COUNT
};

struct cni_stats {
    struct fl_metrics *metrics;
    struct fl_counter *events[CNI_STATS_EVENT_COUNT];
    struct fl_counter *dropped;
};

int cni_stats_init(struct cni_stats *stats) FL_MUST_CHECK; /* 0 or -ENOMEM */
void cni_stats_done(struct cni_stats *stats);
/* Appends the text. 0, -ENOMEM, -EMSGSIZE. */
int cni_stats_expose(struct cni_stats *stats, struct fl_buf *out) FL_MUST_CHECK;

#endif
