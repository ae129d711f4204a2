#include "cli/exposition.h"
#include "cli/plaintext.h"

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "tests/support/fail.h"
#include "tests/support/guard.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static void samples(void **state)
{
    static const struct {
        const char *text, *name, *label; /* name NULL: there is none; label: of "a" */
        double value;
    } rows[] = {
        {"x 1", "x", NULL, 1},
        {"x{a=\"b\"} 2.5", "x", "b", 2.5},
        {"x{a=\"b\",} 2", "x", "b", 2},
        {"x{z=\"}\",a=\"b\"} 2 1700000000", "x", "b", 2},
        {"x{a=\"b\\\"c\\\\\"} 1e3", "x", "b\\\"c\\\\", 1000},
        {"x{aa=\"c\", a=\"b\"} 1", "x", "b", 1},
        {"x{a=\"\"} 1", "x", "", 1},
        {"x{} 1", "x", NULL, 1},
        {"# HELP x y\nx 1", "x", NULL, 1},
        {"\n\nx 1\n", "x", NULL, 1},
        {"bad\nx{\nx{a=\"b\nx 1", "x", NULL, 1},
        {"x{a=\"b\\\"} 1", NULL, NULL, 0},
        {"x NaN", NULL, NULL, 0},
        {"x +Inf", NULL, NULL, 0},
        {"x -1", NULL, NULL, 0},
        {"x 1x", NULL, NULL, 0},
        {"x", NULL, NULL, 0},
        {"x ", NULL, NULL, 0},
        {"{a=\"b\"} 1", NULL, NULL, 0},
        {" 1", NULL, NULL, 0},
        {"", NULL, NULL, 0},
    };
    (void)state;
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct fl_span text = fl_span_str(rows[i].text);
        struct cli_sample sample;
        bool found = cli_exposition_next(&text, &sample);
        if (found != (rows[i].name != NULL))
            fail_msg("%s", rows[i].text);
        if (!found)
            continue;
        assert_true(fl_span_eq_str(sample.name, rows[i].name));
        assert_true(sample.value == rows[i].value);
        struct fl_span label = cli_sample_label(&sample, "a");
        assert_int_equal(label.data != NULL, rows[i].label != NULL);
        assert_true(fl_span_eq(label, fl_span_str(rows[i].label)));
    }
}

static struct fl_json *count(const char *text, const struct fl_json *before)
{
    struct fl_json *pod = fl_json_new_object();
    assert_int_equal(cli_plaintext_read(fl_span_str(text), before, pod), 0);
    return pod;
}

static void number_is(const struct fl_json *object, const char *name, int64_t wanted)
{
    int64_t number = -1;
    assert_true(fl_json_int(fl_json_get(object, name), 0, INT64_MAX, &number));
    assert_int_equal(number, wanted);
}

#define LINE(policy, workload, value)                                                                                  \
    "istio_requests_total{reporter=\"destination\",source_workload=\"" workload                                        \
    "\",source_workload_namespace=\"n\",connection_security_policy=\"" policy "\"} " value "\n"

static void counted(void **state)
{
    struct fl_json *one = count(LINE("none", "a", "3") LINE("none", "a", "2") LINE("none", "b", "1")
                                    LINE("mutual_tls", "c", "9") LINE("unknown", "d", "7") LINE("none", "e", "0"),
                                NULL);
    (void)state;
    number_is(one, "plaintext", 6);
    number_is(one, "mutual_tls", 9);
    assert_int_equal(fl_json_count(fl_json_get(one, "sources")), 2);
    struct fl_json *later = count(LINE("none", "a", "5") LINE("none", "b", "4") LINE("mutual_tls", "c", "10"), one);
    number_is(later, "plaintext", 3);
    number_is(later, "mutual_tls", 1);
    assert_int_equal(fl_json_count(fl_json_get(later, "sources")), 1);
    struct fl_json *restarted = count(LINE("none", "a", "1"), one);
    number_is(restarted, "plaintext", 1);
    fl_json_free(one);
    fl_json_free(later);
    fl_json_free(restarted);
}

static void many_sources_are_bounded(void **state)
{
    struct fl_buf text;
    (void)state;
    fl_buf_init(&text, 1u << 20);
    for (int i = 0; i < CLI_SOURCES_MAX + 50; i++)
        assert_int_equal(fl_buf_printf(&text,
                                       "istio_requests_total{reporter=\"destination\",source_workload=\"w%d\","
                                       "connection_security_policy=\"none\"} 1\n",
                                       i),
                         0);
    struct fl_json *one = count(fl_buf_str(&text), NULL);
    assert_int_equal(fl_json_count(fl_json_get(one, "sources")), CLI_SOURCES_MAX);
    number_is(one, "plaintext", CLI_SOURCES_MAX + 50);
    fl_json_free(one);
    fl_buf_done(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(samples),
        cmocka_unit_test(counted),
        cmocka_unit_test(many_sources_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
