/* Sums on the way out: a series is written where the first registry that has it is walked, with the values that the
 * registries after it hold under the same key. So a scrape needs no memory but the text (and one pointer a registry).
 */
#include "common/metrics/expose.h"

#include "common/metrics/series.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <time.h>

struct scrape {
    struct fl_buf *out;
    const struct fl_metrics_family **families; /* of the family being written: one a registry, NULL where it has none */
    size_t count;                              /* registries */
    const struct fl_metric_family *family;
};

#define NUMBER_MAX 32
#define HELD_NS    500000u /* after so long the locks are let go of once */

/* The shortest text that reads back as the same number. */
static const char *number_text(double value, char text[NUMBER_MAX])
{
    if (isnan(value))
        return "NaN";
    if (isinf(value))
        return value > 0 ? "+Inf" : "-Inf";
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, NUMBER_MAX, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    return text;
}

/* HELP keeps its quotes, a label value does not. */
static int append_escaped(struct fl_buf *out, struct fl_span text, bool quotes)
{
    int result = 0;
    for (size_t i = 0; result == 0 && i < text.len; i++) {
        char byte = text.data[i];
        if (byte == '\n')
            result = fl_buf_append_str(out, "\\n");
        else if (byte == '\\' || (quotes && byte == '"'))
            result = fl_buf_append(out, fl_span_make((const char[]){'\\', byte}, 2));
        else
            result = fl_buf_append_byte(out, byte);
    }
    return result;
}

static int append_label(struct fl_buf *out, bool first, const char *name, struct fl_span value)
{
    int result = fl_buf_printf(out, "%s%s=\"", first ? "{" : ",", name);
    if (result == 0)
        result = append_escaped(out, value, true);
    return result == 0 ? fl_buf_append_byte(out, '"') : result;
}

/* `name` with its suffix and labels, and the space before the value. `bound` (NULL: none) is the label "le". */
static int append_series(const struct scrape *scrape, const char *suffix, struct fl_span key, const char *bound)
{
    const struct fl_metric_family *family = scrape->family;
    int result = fl_buf_printf(scrape->out, "%s%s", family->name, suffix);
    for (size_t i = 0; result == 0 && i < family->label_count; i++)
        result = append_label(scrape->out, i == 0, family->label_names[i], fl_metrics_next_value(&key));
    if (result == 0 && bound != NULL)
        result = append_label(scrape->out, family->label_count == 0, "le", fl_span_str(bound));
    if (result < 0)
        return result;
    return fl_buf_append_str(scrape->out, bound != NULL || family->label_count > 0 ? "} " : " ");
}

static const struct fl_metrics_series *series_of(const struct scrape *scrape, size_t registry, struct fl_span key)
{
    return scrape->families[registry] != NULL ? fl_map_get(&scrape->families[registry]->series, key) : NULL;
}

/* The thread that owns the registry may be writing it. */
static uint64_t load(const uint64_t *value)
{
    return __atomic_load_n(value, __ATOMIC_RELAXED);
}

static double load_double(const double *value)
{
    double loaded;
    __atomic_load(value, &loaded, __ATOMIC_RELAXED);
    return loaded;
}

static int write_counter(const struct scrape *scrape, struct fl_span key)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < scrape->count; i++) {
        const struct fl_metrics_series *series = series_of(scrape, i, key);
        sum += series != NULL ? load(&series->counter.value) : 0;
    }
    int result = append_series(scrape, "", key, NULL);
    return result == 0 ? fl_buf_printf(scrape->out, "%" PRIu64 "\n", sum) : result;
}

static int append_number_line(struct fl_buf *out, double value)
{
    char text[NUMBER_MAX];
    return fl_buf_printf(out, "%s\n", number_text(value, text));
}

static int write_gauge(const struct scrape *scrape, struct fl_span key)
{
    double sum = 0;
    for (size_t i = 0; i < scrape->count; i++) {
        const struct fl_metrics_series *series = series_of(scrape, i, key);
        sum += series != NULL ? load_double(&series->gauge.value) : 0;
    }
    int result = append_series(scrape, "", key, NULL);
    return result == 0 ? append_number_line(scrape->out, sum) : result;
}

static int write_bucket(const struct scrape *scrape, struct fl_span key, size_t bucket, uint64_t count)
{
    char text[NUMBER_MAX];
    bool last = bucket == scrape->family->bucket_count;
    double bound = last ? (double)INFINITY : scrape->family->buckets[bucket];
    int result = append_series(scrape, "_bucket", key, number_text(bound, text));
    return result == 0 ? fl_buf_printf(scrape->out, "%" PRIu64 "\n", count) : result;
}

static int write_histogram(const struct scrape *scrape, struct fl_span key)
{
    uint64_t count = 0;
    double sum = 0;
    int result = 0;
    for (size_t bucket = 0; result == 0 && bucket <= scrape->family->bucket_count; bucket++) {
        for (size_t i = 0; i < scrape->count; i++) {
            const struct fl_metrics_series *series = series_of(scrape, i, key);
            count += series != NULL ? load(&series->histogram->buckets[bucket]) : 0;
            sum += series != NULL && bucket == 0 ? load_double(&series->histogram->sum) : 0;
        }
        result = write_bucket(scrape, key, bucket, count);
    }
    if (result == 0)
        result = append_series(scrape, "_sum", key, NULL);
    if (result == 0)
        result = append_number_line(scrape->out, sum);
    if (result == 0)
        result = append_series(scrape, "_count", key, NULL);
    return result == 0 ? fl_buf_printf(scrape->out, "%" PRIu64 "\n", count) : result;
}

static int write_series(const struct scrape *scrape, struct fl_span key)
{
    switch (scrape->family->kind) {
    case FL_METRIC_COUNTER:
        return write_counter(scrape, key);
    case FL_METRIC_GAUGE:
        return write_gauge(scrape, key);
    case FL_METRIC_HISTOGRAM:
        return write_histogram(scrape, key);
    }
    return 0;
}

static int write_head(const struct scrape *scrape)
{
    static const char *const kinds[] = {"counter", "gauge", "histogram"};
    const struct fl_metric_family *family = scrape->family;
    int result = fl_buf_printf(scrape->out, "# HELP %s ", family->name);
    if (result == 0)
        result = append_escaped(scrape->out, fl_span_str(family->help), false);
    return result == 0 ? fl_buf_printf(scrape->out, "\n# TYPE %s %s\n", family->name, kinds[family->kind]) : result;
}

/* The series of one registry that no registry before it has. */
static int write_new_series(const struct scrape *scrape, size_t registry)
{
    struct fl_span key;
    void *unused;
    int result = 0;
    if (scrape->families[registry] == NULL)
        return 0;
    for (size_t cursor = 0; result == 0 && fl_map_next(&scrape->families[registry]->series, &cursor, &key, &unused);) {
        bool written = false;
        for (size_t i = 0; i < registry && !written; i++)
            written = series_of(scrape, i, key) != NULL;
        if (!written)
            result = write_series(scrape, key);
    }
    return result;
}

static int write_family(const struct scrape *scrape)
{
    int result = write_head(scrape);
    for (size_t i = 0; result == 0 && i < scrape->count; i++)
        result = write_new_series(scrape, i);
    return result;
}

/* Each thread may have its own copy of a definition, but not another one. */
static bool same_shape(const struct fl_metric_family *a, const struct fl_metric_family *b)
{
    return a == b || (a->kind == b->kind && a->label_count == b->label_count && a->bucket_count == b->bucket_count);
}

static void lock_all(struct fl_metrics *const *registries, size_t count)
{
    for (size_t i = 0; i < count; i++)
        fl_metrics_lock(registries[i]);
}

static void unlock_all(struct fl_metrics *const *registries, size_t count)
{
    for (size_t i = 0; i < count; i++)
        fl_metrics_unlock(registries[i]);
}

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Between two families: a thread that waits to make a series gets its turn. Without the yield it would only be woken,
 * and find the lock taken again. Families and their order stay as they are: they are never freed. */
static void breathe(const struct scrape *scrape, struct fl_metrics *const *registries, uint64_t *held_since_ns)
{
    if (now_ns() - *held_since_ns < HELD_NS)
        return;
    unlock_all(registries, scrape->count);
    sched_yield();
    lock_all(registries, scrape->count);
    *held_since_ns = now_ns();
}

static int write_new_families(struct scrape *scrape, struct fl_metrics *const *registries, size_t registry,
                              uint64_t *held_since_ns)
{
    const struct fl_metrics_family *family = fl_metrics_first(registries[registry]);
    int result = 0;
    for (; result == 0 && family != NULL; family = family->next) {
        bool written = false;
        for (size_t i = 0; i < scrape->count; i++) {
            scrape->families[i] = fl_metrics_find(registries[i], family->family->name);
            assert(scrape->families[i] == NULL || same_shape(scrape->families[i]->family, family->family));
            written = written || (i < registry && scrape->families[i] != NULL);
        }
        scrape->family = family->family;
        if (!written)
            result = write_family(scrape);
        breathe(scrape, registries, held_since_ns);
    }
    return result;
}

int fl_metrics_expose(struct fl_metrics *const *registries, size_t count, struct fl_buf *out)
{
    size_t before = out->len;
    FL_CLEANUP(fl_cleanup_free) const struct fl_metrics_family **families = calloc(count + 1, sizeof(*families));
    if (families == NULL)
        return -ENOMEM;
    struct scrape scrape = {.out = out, .families = families, .count = count};
    int result = 0;
    lock_all(registries, count);
    uint64_t held_since_ns = now_ns();
    for (size_t i = 0; result == 0 && i < count; i++)
        result = write_new_families(&scrape, registries, i, &held_since_ns);
    unlock_all(registries, count);
    if (result < 0)
        out->len = before;
    return result;
}
