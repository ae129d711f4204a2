#include "common/metrics/expose.h"
#include "common/metrics/registry.h"

#include "common/base/map.h"
#include "tests/support/fail.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdio.h>

#include <cmocka.h>

static const char *const names[] = {"code", "peer"};
static const double bounds[] = {0.5, 1, 2.5};
static const struct fl_metric_family requests = {
    .name = "requests_total", .help = "Requests.", .kind = FL_METRIC_COUNTER, .label_names = names, .label_count = 2};
static const struct fl_metric_family open_now = {
    .name = "open", .help = "Open\nnow, \"here\" \\ there.", .kind = FL_METRIC_GAUGE};
static const struct fl_metric_family duration = {.name = "duration",
                                                 .help = "Duration.",
                                                 .kind = FL_METRIC_HISTOGRAM,
                                                 .label_names = names,
                                                 .label_count = 1,
                                                 .buckets = bounds,
                                                 .bucket_count = 3};
static const struct fl_metric_family few = {.name = "few_total",
                                            .help = "Few.",
                                            .kind = FL_METRIC_COUNTER,
                                            .label_names = names,
                                            .label_count = 2,
                                            .series_max = 3};

#define VALUES(...) ((const struct fl_span[]){__VA_ARGS__})

static struct fl_metrics *make(void)
{
    struct fl_metrics *metrics = NULL;
    assert_int_equal(fl_metrics_new(&metrics), 0);
    return metrics;
}

static void assert_exposed(struct fl_metrics *const *registries, size_t count, const char *expected)
{
    struct fl_buf out;
    fl_buf_init(&out, 1u << 20);
    assert_int_equal(fl_metrics_expose(registries, count, &out), 0);
    assert_string_equal(fl_buf_str(&out), expected);
    fl_buf_done(&out);
}

static void test_same_labels_are_one_series(void **state)
{
    (void)state;
    struct fl_metrics *metrics = make();
    struct fl_counter *counter = fl_metrics_counter(metrics, &requests, VALUES(FL_SPAN("200"), FL_SPAN("a")));
    assert_ptr_equal(fl_metrics_counter(metrics, &requests, VALUES(FL_SPAN("200"), FL_SPAN("a"))), counter);
    assert_ptr_not_equal(fl_metrics_counter(metrics, &requests, VALUES(FL_SPAN("20"), FL_SPAN("0a"))), counter);
    assert_ptr_not_equal(fl_metrics_counter(metrics, &requests, VALUES(FL_SPAN("a"), FL_SPAN("200"))), counter);
    fl_counter_add(counter, 2);
    assert_true(fl_metrics_value(metrics, "requests_total", VALUES(FL_SPAN("200"), FL_SPAN("a"))) == 2);
    assert_true(fl_metrics_value(metrics, "requests_total", VALUES(FL_SPAN("404"), FL_SPAN("a"))) == 0);
    assert_true(fl_metrics_value(metrics, "no_such", NULL) == 0);
    assert_null(fl_metrics_free(metrics));
    assert_null(fl_metrics_free(NULL));
}

static void test_null_series_are_ignored(void **state)
{
    (void)state;
    fl_counter_add(NULL, 1);
    fl_gauge_set(NULL, 1);
    fl_gauge_add(NULL, 1);
    fl_histogram_observe(NULL, 1);
}

static void test_text(void **state)
{
    (void)state;
    struct fl_metrics *metrics = make();
    fl_gauge_set(fl_metrics_gauge(metrics, &open_now, NULL), -0.1);
    fl_counter_add(fl_metrics_counter(metrics, &requests, VALUES(FL_SPAN("200"), FL_SPAN("a"))), UINT64_MAX);
    fl_counter_add(fl_metrics_counter(metrics, &requests, VALUES(FL_SPAN("503"), FL_SPAN(""))), 1);
    assert_exposed(&metrics, 1,
                   "# HELP open Open\\nnow, \"here\" \\\\ there.\n"
                   "# TYPE open gauge\n"
                   "open -0.1\n"
                   "# HELP requests_total Requests.\n"
                   "# TYPE requests_total counter\n"
                   "requests_total{code=\"200\",peer=\"a\"} 18446744073709551615\n"
                   "requests_total{code=\"503\",peer=\"\"} 1\n");
    fl_metrics_free(metrics);
}

static void test_hostile_label_values(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        struct fl_span value;
        const char *text;
    } rows[] = {
        {"quote, backslash, newline", FL_SPAN("a\"b\\c\nd"), "a\\\"b\\\\c\\nd"},
        {"a forged line", FL_SPAN("\"} 1\nup 0\n"), "\\\"} 1\\nup 0\\n"},
        {"UTF-8 stays", FL_SPAN("\xc3\xa9"), "\xc3\xa9"},
        {"not UTF-8", FL_SPAN("a\xff\xc0\xaf"), "a\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"a NUL", FL_SPAN("a\0b"),
         "a\xef\xbf\xbd"
         "b"},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct fl_metrics *metrics = make();
        char expected[200];
        snprintf(expected, sizeof(expected),
                 "# HELP requests_total Requests.\n# TYPE requests_total counter\n"
                 "requests_total{code=\"%s\",peer=\"x\"} 0\n",
                 rows[i].text);
        assert_non_null(fl_metrics_counter(metrics, &requests, VALUES(rows[i].value, FL_SPAN("x"))));
        assert_exposed(&metrics, 1, expected);
        fl_metrics_free(metrics);
    }
}

/* Two values that look the same in the text must be one series, or a scrape would have duplicates. */
static void test_values_are_compared_as_exposed(void **state)
{
    (void)state;
    struct fl_metrics *metrics = make();
    const void *first = fl_metrics_counter(metrics, &requests, VALUES(FL_SPAN("\xfe"), FL_SPAN("x")));
    const void *second = fl_metrics_counter(metrics, &requests, VALUES(FL_SPAN("\xff"), FL_SPAN("x")));
    assert_ptr_equal(first, second);
    fl_metrics_free(metrics);
}

static void test_long_values_are_cut_at_a_character(void **state)
{
    (void)state;
    for (size_t before = 0; before < 4; before++) {
        struct fl_metrics *metrics = make();
        char value[2 * FL_METRICS_VALUE_MAX];
        memset(value, 'x', before);
        for (size_t i = before; i + 3 <= sizeof(value); i += 3)
            memcpy(value + i, "\xe2\x82\xac", 3);
        size_t whole = before + (FL_METRICS_VALUE_MAX - before) / 3 * 3;
        const struct fl_counter *longer =
            fl_metrics_counter(metrics, &requests, VALUES(fl_span_make(value, sizeof(value) - 8), FL_SPAN("x")));
        const struct fl_counter *cut =
            fl_metrics_counter(metrics, &requests, VALUES(fl_span_make(value, whole), FL_SPAN("x")));
        assert_ptr_equal(longer, cut);
        fl_metrics_free(metrics);
    }
}

static void test_cap_and_overflow(void **state)
{
    (void)state;
    struct fl_metrics *metrics = make();
    for (int i = 0; i < 100; i++) {
        char value[16];
        snprintf(value, sizeof(value), "v%d", i);
        fl_counter_add(fl_metrics_counter(metrics, &few, VALUES(fl_span_str(value), FL_SPAN("x"))), 1);
    }
    fl_counter_add(fl_metrics_counter(metrics, &few, VALUES(FL_SPAN("v1"), FL_SPAN("x"))), 1);
    assert_exposed(&metrics, 1,
                   "# HELP few_total Few.\n"
                   "# TYPE few_total counter\n"
                   "few_total{code=\"v0\",peer=\"x\"} 1\n"
                   "few_total{code=\"v1\",peer=\"x\"} 2\n"
                   "few_total{code=\"v2\",peer=\"x\"} 1\n"
                   "few_total{code=\"overflow\",peer=\"overflow\"} 97\n");
    fl_metrics_free(metrics);
}

static void test_histogram_is_cumulative(void **state)
{
    (void)state;
    struct fl_metrics *metrics = make();
    struct fl_histogram *histogram = fl_metrics_histogram(metrics, &duration, VALUES(FL_SPAN("200")));
    static const double values[] = {0.1, 0.5, 0.75, 2.5, 100, NAN, INFINITY};
    for (size_t i = 0; i + 1 < FL_COUNT(values); i++)
        fl_histogram_observe(histogram, values[i]);
    assert_exposed(&metrics, 1,
                   "# HELP duration Duration.\n"
                   "# TYPE duration histogram\n"
                   "duration_bucket{code=\"200\",le=\"0.5\"} 2\n"
                   "duration_bucket{code=\"200\",le=\"1\"} 3\n"
                   "duration_bucket{code=\"200\",le=\"2.5\"} 4\n"
                   "duration_bucket{code=\"200\",le=\"+Inf\"} 5\n"
                   "duration_sum{code=\"200\"} 103.85\n"
                   "duration_count{code=\"200\"} 5\n");
    assert_true(fl_metrics_value(metrics, "duration", VALUES(FL_SPAN("200"))) == 5);
    fl_metrics_free(metrics);
}

static void test_sum_over_registries(void **state)
{
    (void)state;
    struct fl_metrics *all[3] = {make(), make(), make()};
    fl_counter_add(fl_metrics_counter(all[0], &requests, VALUES(FL_SPAN("200"), FL_SPAN("a"))), 1);
    fl_counter_add(fl_metrics_counter(all[1], &requests, VALUES(FL_SPAN("200"), FL_SPAN("b"))), 10);
    fl_counter_add(fl_metrics_counter(all[1], &requests, VALUES(FL_SPAN("200"), FL_SPAN("a"))), 100);
    fl_histogram_observe(fl_metrics_histogram(all[1], &duration, VALUES(FL_SPAN("200"))), 1);
    fl_histogram_observe(fl_metrics_histogram(all[2], &duration, VALUES(FL_SPAN("200"))), 5);
    fl_gauge_set(fl_metrics_gauge(all[0], &open_now, NULL), 1.5);
    fl_gauge_set(fl_metrics_gauge(all[2], &open_now, NULL), 2);
    assert_exposed(all, 3,
                   "# HELP requests_total Requests.\n"
                   "# TYPE requests_total counter\n"
                   "requests_total{code=\"200\",peer=\"a\"} 101\n"
                   "requests_total{code=\"200\",peer=\"b\"} 10\n"
                   "# HELP open Open\\nnow, \"here\" \\\\ there.\n"
                   "# TYPE open gauge\n"
                   "open 3.5\n"
                   "# HELP duration Duration.\n"
                   "# TYPE duration histogram\n"
                   "duration_bucket{code=\"200\",le=\"0.5\"} 0\n"
                   "duration_bucket{code=\"200\",le=\"1\"} 1\n"
                   "duration_bucket{code=\"200\",le=\"2.5\"} 1\n"
                   "duration_bucket{code=\"200\",le=\"+Inf\"} 2\n"
                   "duration_sum{code=\"200\"} 6\n"
                   "duration_count{code=\"200\"} 2\n");
    assert_exposed(all, 0, "");
    for (size_t i = 0; i < 3; i++)
        fl_metrics_free(all[i]);
}

static void test_numbers(void **state)
{
    (void)state;
    static const struct {
        double value;
        const char *text;
    } rows[] = {
        {0, "0"},
        {1e100, "1e+100"},
        {1.0 / 3, "0.3333333333333333"},
        {123456789, "123456789"},
        {NAN, "NaN"},
        {INFINITY, "+Inf"},
        {-INFINITY, "-Inf"},
        {0.1 + 0.2, "0.30000000000000004"},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct fl_metrics *metrics = make();
        char expected[200];
        snprintf(expected, sizeof(expected),
                 "# HELP open Open\\nnow, \"here\" \\\\ there.\n# TYPE open gauge\nopen %s\n", rows[i].text);
        fl_gauge_set(fl_metrics_gauge(metrics, &open_now, NULL), rows[i].value);
        assert_exposed(&metrics, 1, expected);
        fl_metrics_free(metrics);
    }
}

static void test_text_past_max_leaves_nothing(void **state)
{
    (void)state;
    struct fl_metrics *metrics = make();
    struct fl_buf whole;
    fl_histogram_observe(fl_metrics_histogram(metrics, &duration, VALUES(FL_SPAN("200"))), 5);
    fl_counter_add(fl_metrics_counter(metrics, &requests, VALUES(FL_SPAN("\""), FL_SPAN("b"))), 10);
    fl_buf_init(&whole, 10000);
    assert_int_equal(fl_metrics_expose(&metrics, 1, &whole), 0);
    for (size_t max = 1; max <= whole.len; max++) {
        struct fl_buf out;
        fl_buf_init(&out, max);
        assert_int_equal(fl_buf_append_byte(&out, '#'), 0);
        assert_int_equal(fl_metrics_expose(&metrics, 1, &out), -EMSGSIZE);
        assert_int_equal(out.len, 1);
        fl_buf_done(&out);
    }
    fl_buf_done(&whole);
    fl_metrics_free(metrics);
}

static void test_each_allocation_failing(void **state)
{
    (void)state;
    FAIL_EACH_ALLOCATION
    {
        struct fl_metrics *metrics = NULL;
        struct fl_buf out;
        fl_buf_init(&out, 100000);
        int result = fl_metrics_new(&metrics);
        if (result == 0) {
            struct fl_histogram *histogram = fl_metrics_histogram(metrics, &duration, VALUES(FL_SPAN("200")));
            struct fl_counter *counter = fl_metrics_counter(metrics, &requests, VALUES(FL_SPAN("1"), FL_SPAN("2")));
            bool missed = histogram == NULL || counter == NULL;
            assert_true(!missed || fail_happened());
            result = fl_metrics_expose(&metrics, 1, &out);
            assert_int_equal(result, fail_happened() && !missed ? -ENOMEM : 0);
        } else {
            assert_int_equal(result, -ENOMEM);
            assert_true(fail_happened());
        }
        fail_stop();
        fl_buf_done(&out);
        fl_metrics_free(metrics);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_labels_are_one_series),
        cmocka_unit_test(test_null_series_are_ignored),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_hostile_label_values),
        cmocka_unit_test(test_values_are_compared_as_exposed),
        cmocka_unit_test(test_long_values_are_cut_at_a_character),
        cmocka_unit_test(test_cap_and_overflow),
        cmocka_unit_test(test_histogram_is_cumulative),
        cmocka_unit_test(test_sum_over_registries),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_text_past_max_leaves_nothing),
        cmocka_unit_test(test_each_allocation_failing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
