/* Metrics of the Kubernetes source: how each kind is followed, and how long a change takes into the model. */
#ifndef CONTROL_SOURCE_METER_H
#define CONTROL_SOURCE_METER_H

#include "common/metrics/registry.h"
#include "control/source/collection.h"

struct control_meter_kind {
    struct fl_gauge *objects, *synced, *silence;
    struct fl_counter *lists, *watches, *events, *troubles;
    struct control_collection_stats told; /* what the counters have */
};

struct control_meter { /* zeroed: nothing is metered */
    struct control_meter_kind kinds[CONTROL_KIND_COUNT];
    struct fl_histogram *lag;
};

/* Before the others; `metrics` NULL: the kind is not metered. */
void control_meter_make(struct control_meter *meter, struct fl_metrics *metrics, enum control_kind kind);
void control_meter_tell(struct control_meter *meter, enum control_kind kind,
                        const struct control_collection_stats *stats, size_t objects, uint64_t now_ms);
void control_meter_commit(struct control_meter *meter, uint64_t lag_ms);

#endif
