#include "common/metrics/registry.h"

#include "common/base/utf8.h"
#include "common/metrics/series.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>

#define SERIES_MAX_DEFAULT 1000
#define KEY_MAX            (FL_METRICS_LABELS_MAX * (2 + FL_METRICS_VALUE_MAX))

struct fl_metrics {
    struct fl_metrics_family *families;
    struct fl_metrics_family **end;
    pthread_mutex_t mutex; /* of the list and of the maps, while they change or another thread reads them */
};

/* A key under construction on the caller's stack. */
struct key {
    char bytes[KEY_MAX];
    size_t len;
};

int fl_metrics_new(struct fl_metrics **ret_metrics)
{
    struct fl_metrics *metrics = calloc(1, sizeof(*metrics));
    if (metrics == NULL)
        return -ENOMEM;
    metrics->end = &metrics->families;
    pthread_mutex_init(&metrics->mutex, NULL);
    *ret_metrics = metrics;
    return 0;
}

static void free_family(struct fl_metrics_family *family)
{
    void *series;
    for (size_t cursor = 0; fl_map_next(&family->series, &cursor, NULL, &series);)
        free(series);
    fl_map_done(&family->series);
    free(family);
}

struct fl_metrics *fl_metrics_free(struct fl_metrics *metrics)
{
    if (metrics == NULL)
        return NULL;
    while (metrics->families != NULL) {
        struct fl_metrics_family *family = metrics->families;
        metrics->families = family->next;
        free_family(family);
    }
    pthread_mutex_destroy(&metrics->mutex);
    free(metrics);
    return NULL;
}

void fl_metrics_lock(struct fl_metrics *metrics)
{
    pthread_mutex_lock(&metrics->mutex);
}

void fl_metrics_unlock(struct fl_metrics *metrics)
{
    pthread_mutex_unlock(&metrics->mutex);
}

const struct fl_metrics_family *fl_metrics_first(const struct fl_metrics *metrics)
{
    return metrics->families;
}

const struct fl_metrics_family *fl_metrics_find(const struct fl_metrics *metrics, const char *name)
{
    const struct fl_metrics_family *family = metrics->families;
    while (family != NULL && strcmp(family->family->name, name) != 0)
        family = family->next;
    return family;
}

static size_t series_max(const struct fl_metric_family *family)
{
    return family->series_max > 0 ? family->series_max : SERIES_MAX_DEFAULT;
}

static struct fl_metrics_family *use_family(struct fl_metrics *metrics, const struct fl_metric_family *family)
{
    for (struct fl_metrics_family *known = metrics->families; known != NULL; known = known->next) {
        if (known->family == family)
            return known;
    }
    assert(family->label_count <= FL_METRICS_LABELS_MAX);
    assert(fl_metrics_find(metrics, family->name) == NULL); /* one name, two definitions */
    struct fl_metrics_family *added = calloc(1, sizeof(*added));
    if (added == NULL)
        return NULL;
    added->family = family;
    fl_map_init(&added->series, series_max(family) + 1); /* and the overflow series */
    fl_metrics_lock(metrics);
    *metrics->end = added;
    metrics->end = &added->next;
    fl_metrics_unlock(metrics);
    return added;
}

/* The value as it is exposed: valid UTF-8 without NUL (one bad label would void a whole scrape), at most
 * FL_METRICS_VALUE_MAX bytes. Done here and not at the scrape, so that no two series look the same there. */
static void add_value(struct key *key, struct fl_span value)
{
    char *length = key->bytes + key->len;
    char *text = length + 2;
    size_t len = 0;
    while (value.len > 0) {
        size_t taken = value.data[0] != '\0' ? fl_utf8_length(value) : 0;
        struct fl_span piece = taken > 0 ? fl_span_make(value.data, taken) : FL_SPAN(FL_UTF8_REPLACEMENT);
        if (piece.len > FL_METRICS_VALUE_MAX - len)
            break;
        memcpy(text + len, piece.data, piece.len);
        len += piece.len;
        value = fl_span_from(value, taken > 0 ? taken : 1);
    }
    length[0] = (char)(len & 0xff);
    length[1] = (char)(len >> 8);
    key->len += 2 + len;
}

static struct fl_span make_key(struct key *key, const struct fl_metric_family *family, const struct fl_span *values)
{
    key->len = 0;
    for (size_t i = 0; i < family->label_count; i++)
        add_value(key, values != NULL ? values[i] : FL_SPAN("overflow"));
    return fl_span_make(key->bytes, key->len);
}

struct fl_span fl_metrics_next_value(struct fl_span *key)
{
    size_t len = (size_t)(unsigned char)key->data[0] | (size_t)(unsigned char)key->data[1] << 8;
    struct fl_span value = fl_span_make(key->data + 2, len);
    *key = fl_span_from(*key, 2 + len);
    return value;
}

static struct fl_metrics_series *add_series(struct fl_metrics *metrics, struct fl_metrics_family *family,
                                            struct fl_span key)
{
    bool histogram = family->family->kind == FL_METRIC_HISTOGRAM;
    size_t size = sizeof(struct fl_metrics_series);
    if (histogram)
        size += sizeof(struct fl_histogram) + (family->family->bucket_count + 1) * sizeof(uint64_t);
    FL_CLEANUP(fl_cleanup_free) struct fl_metrics_series *series = calloc(1, size + key.len);
    if (series == NULL)
        return NULL;
    series->key_len = key.len;
    if (histogram) {
        series->histogram = (struct fl_histogram *)(series + 1);
        series->histogram->family = family->family;
    }
    char *copy = (char *)series + size;
    if (key.len > 0)
        memcpy(copy, key.data, key.len);
    fl_metrics_lock(metrics);
    int result = fl_map_put(&family->series, fl_span_make(copy, key.len), series);
    fl_metrics_unlock(metrics);
    return result < 0 ? NULL : fl_take(series);
}

static struct fl_metrics_series *use_series(struct fl_metrics *metrics, const struct fl_metric_family *definition,
                                            const struct fl_span *values)
{
    struct key key;
    assert(values != NULL || definition->label_count == 0);
    struct fl_metrics_family *family = use_family(metrics, definition);
    if (family == NULL)
        return NULL;
    struct fl_span bytes = make_key(&key, definition, values);
    struct fl_metrics_series *series = fl_map_get(&family->series, bytes);
    if (series == NULL && family->series.count >= series_max(definition)) {
        bytes = make_key(&key, definition, NULL);
        series = fl_map_get(&family->series, bytes);
    }
    return series != NULL ? series : add_series(metrics, family, bytes);
}

struct fl_counter *fl_metrics_counter(struct fl_metrics *metrics, const struct fl_metric_family *family,
                                      const struct fl_span *values)
{
    assert(family->kind == FL_METRIC_COUNTER);
    struct fl_metrics_series *series = use_series(metrics, family, values);
    return series != NULL ? &series->counter : NULL;
}

struct fl_gauge *fl_metrics_gauge(struct fl_metrics *metrics, const struct fl_metric_family *family,
                                  const struct fl_span *values)
{
    assert(family->kind == FL_METRIC_GAUGE);
    struct fl_metrics_series *series = use_series(metrics, family, values);
    return series != NULL ? &series->gauge : NULL;
}

struct fl_histogram *fl_metrics_histogram(struct fl_metrics *metrics, const struct fl_metric_family *family,
                                          const struct fl_span *values)
{
    assert(family->kind == FL_METRIC_HISTOGRAM);
    struct fl_metrics_series *series = use_series(metrics, family, values);
    return series != NULL ? series->histogram : NULL;
}

void fl_histogram_observe(struct fl_histogram *histogram, double value)
{
    if (histogram == NULL || __builtin_isnan(value))
        return;
    size_t bucket = 0;
    while (bucket < histogram->family->bucket_count && value > histogram->family->buckets[bucket])
        bucket++;
    double sum = histogram->sum + value;
    __atomic_store_n(&histogram->buckets[bucket], histogram->buckets[bucket] + 1, __ATOMIC_RELAXED);
    __atomic_store_n(&histogram->count, histogram->count + 1, __ATOMIC_RELAXED);
    __atomic_store(&histogram->sum, &sum, __ATOMIC_RELAXED);
}

double fl_metrics_value(const struct fl_metrics *metrics, const char *name, const struct fl_span *values)
{
    struct key key;
    const struct fl_metrics_family *family = fl_metrics_find(metrics, name);
    if (family == NULL)
        return 0;
    struct fl_span bytes = make_key(&key, family->family, values);
    const struct fl_metrics_series *series = fl_map_get(&family->series, bytes);
    if (series == NULL)
        return 0;
    switch (family->family->kind) {
    case FL_METRIC_COUNTER:
        return (double)series->counter.value;
    case FL_METRIC_GAUGE:
        return series->gauge.value;
    case FL_METRIC_HISTOGRAM:
        return (double)series->histogram->count;
    }
    return 0;
}
