/* The agent's metrics (Prometheus; docs/metrics.md tells what they mean). Label values come from fixed lists alone, and
 * no pod is named: who asks /metrics is anybody on the node's network. */
#ifndef CNI_AGENT_STATS_H
#define CNI_AGENT_STATS_H

#include "cni/agent/serve.h"
#include "cni/install/watch.h"
#include "cni/repair/repair.h"
#include "common/metrics/registry.h"

/* What became of an Event. */
#define CNI_STATS_EVENTS(X)                                                                                            \
    X(POSTED, "posted")                                                                                                \
    X(REPEATED, "repeated") /* counted with one that was posted */                                                     \
    X(LIMITED, "limited")   /* more in this time than are posted */                                                    \
    X(DROPPED, "dropped")   /* the queue was full */                                                                   \
    X(REFUSED, "refused")   /* the API server said no */                                                               \
    X(FAILED, "failed")     /* no answer, or none that can be read */                                                  \
    X(UNPROVEN, "unproven") /* whose pod it is was not proven: it might be about somebody else's */                    \
    X(OFF, "off")           /* there is no API server to post to */

enum cni_stats_event {
#define X(symbol, word) CNI_STATS_EVENT_##symbol,
    CNI_STATS_EVENTS(X)
#undef X
        CNI_STATS_EVENT_COUNT
};

#define CNI_STATS_STATE_COUNT (CNI_INSTALL_FAILED + 1)

struct cni_stats {
    struct fl_metrics *metrics;
    struct fl_counter *installs[CNI_STATS_STATE_COUNT];
    struct fl_gauge *states[CNI_STATS_STATE_COUNT], *ready, *polling;
    struct fl_counter *payload_written, *conflist_written, *rescued;
    struct fl_counter *repairs[CNI_REPAIR_KIND_COUNT];
    struct fl_histogram *repair_seconds;
    struct fl_gauge *sidecars, *uncaptured, *refused, *exec_events;
    struct fl_counter *checks, *fingerprints, *losses;
    struct fl_counter *events[CNI_STATS_EVENT_COUNT];
    struct fl_counter *connections[CNI_SERVE_END_COUNT];
    struct fl_counter *dropped;
    bool installed; /* once: what is written from then on is a repair of the installation */
};

int cni_stats_init(struct cni_stats *stats) FL_MUST_CHECK; /* 0 or -ENOMEM */
void cni_stats_done(struct cni_stats *stats);

void cni_stats_install(struct cni_stats *stats, const struct cni_install_report *report);
void cni_stats_repair(struct cni_stats *stats, const struct cni_repair_report *report);

/* Appends the text, with what the two (each may be NULL: it is off) count themselves. 0, -ENOMEM, -EMSGSIZE. */
int cni_stats_expose(struct cni_stats *stats, const struct cni_watch_counts *watch,
                     const struct cni_repair_counts *repair, struct fl_buf *out) FL_MUST_CHECK;

#endif
