/* Metrics: families of counters, gauges and histograms with a fixed set of label names, values by label values.
 *
 * Each thread has a registry of its own, and a scrape sums several (fl_metrics_expose takes an array). One thread
 * writes a registry: only it makes series and changes values. Another may expose it meanwhile: values are written by
 * relaxed atomic stores (plain ones to the machine), and a mutex that only the making of a series and a scrape take
 * keeps the series in place. A series is looked up once, where its owner is made (connection, route, handler);
 * increments are then stores through the pointer, with no look-up, no lock and no allocation. Series per family are
 * capped: beyond the cap the look-up yields the family's overflow series (every label value "overflow"), so that a peer
 * cannot grow our memory by inventing values. A label value is kept as valid UTF-8 without NUL (other bytes become
 * U+FFFD): one bad label would void a whole scrape.
 */
#ifndef FL_METRICS_REGISTRY_H
#define FL_METRICS_REGISTRY_H

#include "common/base/cleanup.h"
#include "common/base/span.h"

#include <stdint.h>

#define FL_METRICS_LABELS_MAX 32  /* label names a family may have */
#define FL_METRICS_VALUE_MAX  256 /* bytes of a label value; longer ones are cut at a UTF-8 boundary */

struct fl_metrics;

enum fl_metric_kind { FL_METRIC_COUNTER, FL_METRIC_GAUGE, FL_METRIC_HISTOGRAM };

/* Static data of its owner: the registry keeps the pointer. A name has one definition in a process (asserted). */
struct fl_metric_family {
    const char *name; /* [a-zA-Z_:][a-zA-Z0-9_:]*; counters end in _total or as the field names them */
    const char *help;
    enum fl_metric_kind kind;
    const char *const *label_names; /* NULL where label_count is 0 */
    size_t label_count;
    const double *buckets; /* histogram: ascending upper bounds, +Inf is implied */
    size_t bucket_count;
    size_t series_max; /* 0: 1000 */
};

struct fl_counter {
    uint64_t value;
};

struct fl_gauge {
    double value;
};

struct fl_histogram {
    const struct fl_metric_family *family;
    double sum;
    uint64_t count;
    uint64_t buckets[]; /* not cumulative; bucket_count + 1 of them, the last is +Inf */
};

int fl_metrics_new(struct fl_metrics **ret_metrics) FL_MUST_CHECK; /* 0 or -ENOMEM */
struct fl_metrics *fl_metrics_free(struct fl_metrics *metrics);

/* The series with these label values (label_count spans, in the order of label_names; NULL where there are none). Made
 * on first use; the pointer lives as long as the registry. NULL only when memory is out. The kind must be the family's
 * (asserted). */
struct fl_counter *fl_metrics_counter(struct fl_metrics *metrics, const struct fl_metric_family *family,
                                      const struct fl_span *values);
struct fl_gauge *fl_metrics_gauge(struct fl_metrics *metrics, const struct fl_metric_family *family,
                                  const struct fl_span *values);
struct fl_histogram *fl_metrics_histogram(struct fl_metrics *metrics, const struct fl_metric_family *family,
                                          const struct fl_span *values);

/* All three accept NULL (memory was out at look-up), so that a metric never decides over a request. */
static inline void fl_counter_add(struct fl_counter *counter, uint64_t amount)
{
    if (counter != NULL)
        __atomic_store_n(&counter->value, counter->value + amount, __ATOMIC_RELAXED);
}
static inline void fl_gauge_set(struct fl_gauge *gauge, double value)
{
    if (gauge != NULL)
        __atomic_store(&gauge->value, &value, __ATOMIC_RELAXED);
}
static inline void fl_gauge_add(struct fl_gauge *gauge, double amount)
{
    if (gauge != NULL)
        fl_gauge_set(gauge, gauge->value + amount);
}
/* Not a number is not counted. */
void fl_histogram_observe(struct fl_histogram *histogram, double value);

/* For tests: the value of a counter or gauge, the count of a histogram; 0 where the series does not exist. */
double fl_metrics_value(const struct fl_metrics *metrics, const char *name, const struct fl_span *values);

#endif
