/* What expose.c sees of a registry. Private to this folder.
 *
 * A family's series hang in a map whose keys are the label values, each as two bytes of length (low byte first) and the
 * text: so values with any bytes in them stay apart, and expose.c reads the labels from the key.
 */
#ifndef FL_METRICS_SERIES_H
#define FL_METRICS_SERIES_H

#include "common/base/map.h"
#include "common/metrics/registry.h"

/* A value of the map: the key's bytes lie behind the metric. */
struct fl_metrics_series {
    size_t key_len;
    union {
        struct fl_counter counter;
        struct fl_gauge gauge;
        struct fl_histogram *histogram; /* of the same allocation */
    };
};

struct fl_metrics_family {
    const struct fl_metric_family *family;
    struct fl_map series;
    struct fl_metrics_family *next;
};

/* Around what a thread other than the registry's own reads of it. */
void fl_metrics_lock(struct fl_metrics *metrics);
void fl_metrics_unlock(struct fl_metrics *metrics);

/* The families in the order of their first use; NULL where there is none. */
const struct fl_metrics_family *fl_metrics_first(const struct fl_metrics *metrics);
const struct fl_metrics_family *fl_metrics_find(const struct fl_metrics *metrics, const char *name);

/* The next label value of a key; *key moves on. */
struct fl_span fl_metrics_next_value(struct fl_span *key);

#endif
