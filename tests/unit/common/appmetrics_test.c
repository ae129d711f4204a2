#include "common/mesh/appmetrics.h"
#include "tests/support/fail.h"
#include "tests/support/guard.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define EXAMPLE "{\"version\":1,\"scheme\":\"https\",\"port\":9100,\"path\":\"/m?a=b\"}"

static void assert_prints(const struct fl_appmetrics *metrics, const char *expected)
{
    struct fl_buf out;
    fl_buf_init(&out, FL_APPMETRICS_TEXT_MAX);
    assert_int_equal(fl_appmetrics_print(metrics, &out), 0);
    assert_string_equal(fl_buf_str(&out), expected);
    fl_buf_done(&out);
}

static void a_value_has_one_form(void **state)
{
    (void)state;
    static const char *const texts[] = {EXAMPLE,
                                        " {\"path\":\"/m?a=b\",\"port\":9100.0,\"scheme\":\"https\",\"version\":1} "};
    struct fl_appmetrics metrics;
    for (size_t i = 0; i < FL_COUNT(texts); i++) {
        assert_int_equal(fl_appmetrics_parse(fl_span_str(texts[i]), &metrics, NULL), 0);
        assert_prints(&metrics, EXAMPLE);
    }
    assert_true(metrics.https);
    assert_int_equal(metrics.port, 9100);
    assert_string_equal(metrics.path, "/m?a=b");
}

static void annotations_have_defaults(void **state)
{
    (void)state;
    const struct fl_span none = {NULL, 0};
    struct fl_appmetrics metrics;
    struct fl_err err;
    assert_int_equal(fl_appmetrics_set(none, none, none, 8080, &metrics, &err), 0);
    assert_prints(&metrics, "{\"version\":1,\"scheme\":\"http\",\"port\":8080,\"path\":\"/metrics\"}");
    assert_int_equal(fl_appmetrics_set(FL_SPAN("https"), FL_SPAN("9100"), FL_SPAN("/m?a=b"), 8080, &metrics, &err), 0);
    assert_prints(&metrics, EXAMPLE);
    static const struct {
        struct fl_span scheme, port, path;
        const char *message;
    } rows[] = {
        {FL_SPAN("HTTP"), {NULL, 0}, {NULL, 0}, "expected the scheme http or https"},
        {{NULL, 0}, FL_SPAN("x"), {NULL, 0}, "expected a port from 1 to 65535"},
        {{NULL, 0}, FL_SPAN("0"), {NULL, 0}, "expected a port from 1 to 65535"},
        {{NULL, 0}, FL_SPAN("65536"), {NULL, 0}, "expected a port from 1 to 65535"},
        {{NULL, 0}, FL_SPAN("15020"), {NULL, 0}, "expected a port of the app, none of the sidecar's own, got 15020"},
        {{NULL, 0}, {NULL, 0}, FL_SPAN("metrics"), "expected a path of at most 2048 bytes that begins with '/'"},
        {{NULL, 0}, {NULL, 0}, FL_SPAN("/a b"), "expected a path of at most"},
        {{NULL, 0}, {NULL, 0}, FL_SPAN("/a\r\nb"), "expected a path of at most"},
        {{NULL, 0}, {NULL, 0}, FL_SPAN("/a#b"), "expected a path of at most"},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        assert_int_equal(fl_appmetrics_set(rows[i].scheme, rows[i].port, rows[i].path, 80, &metrics, &err), -EINVAL);
        if (strncmp(err.text, rows[i].message, strlen(rows[i].message)) != 0)
            fail_msg("row %zu: %s", i, err.text);
    }
    assert_int_equal(fl_appmetrics_set(none, none, none, 0, &metrics, NULL), -EINVAL);
    char longest[FL_APPMETRICS_PATH_MAX + 1];
    memset(longest, '/', sizeof(longest));
    assert_int_equal(fl_appmetrics_set(none, none, fl_span_make(longest, sizeof(longest)), 80, &metrics, NULL),
                     -EINVAL);
    assert_int_equal(fl_appmetrics_set(none, none, fl_span_make(longest, sizeof(longest) - 1), 80, &metrics, NULL), 0);
}

static void what_is_wrong_is_named_with_what_is_right(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int code;
        const char *message;
    } rows[] = {
        {"", -EINVAL, "byte 0 ($): the text ends where a value is expected"},
        {"[]", -EINVAL, "$: expected an object, got an array"},
        {"{\"version\":2,\"x\":0}", -ENOTSUP, "$.version: the app's metrics are of version 2; known is 1"},
        {"{\"version\":1,\"scheme\":\"http\",\"port\":80}", -EINVAL, "$.path: required, but missing"},
        {"{\"version\":1,\"scheme\":\"gopher\",\"port\":80,\"path\":\"/\"}", -EINVAL,
         "$.scheme: expected one of \"http\", \"https\""},
        {"{\"version\":1,\"scheme\":\"http\",\"port\":0,\"path\":\"/\"}", -EINVAL, "$.port: expected a whole number"},
        {"{\"version\":1,\"scheme\":\"http\",\"port\":15090,\"path\":\"/\"}", -EINVAL, "$: expected a port of the app"},
        {"{\"version\":1,\"scheme\":\"http\",\"port\":80,\"path\":\"x\"}", -EINVAL, "$: expected a path of"},
        {"{\"version\":1,\"scheme\":\"http\",\"port\":80,\"path\":\"/\",\"y\":1}", -EINVAL, "$.y: "},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct guard guard;
        struct fl_appmetrics metrics;
        struct fl_err err = {0};
        guard_init(&guard, fl_span_str(rows[i].text));
        assert_int_equal(fl_appmetrics_parse(guard.span, &metrics, &err), rows[i].code);
        if (strncmp(err.text, rows[i].message, strlen(rows[i].message)) != 0)
            fail_msg("row %zu: %s", i, err.text);
        assert_int_equal(fl_appmetrics_parse(guard.span, &metrics, NULL), rows[i].code);
        guard_done(&guard);
    }
}

static void memory_that_is_out_is_told(void **state)
{
    (void)state;
    FAIL_EACH_ALLOCATION
    {
        struct fl_appmetrics metrics;
        int result = fl_appmetrics_parse(FL_SPAN(EXAMPLE), &metrics, NULL);
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
    }
    struct fl_appmetrics metrics;
    struct fl_buf out;
    assert_int_equal(fl_appmetrics_parse(FL_SPAN(EXAMPLE), &metrics, NULL), 0);
    fl_buf_init(&out, 20);
    assert_int_equal(fl_appmetrics_print(&metrics, &out), -EMSGSIZE);
    assert_int_equal(out.len, 0);
    fl_buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_value_has_one_form),
        cmocka_unit_test(annotations_have_defaults),
        cmocka_unit_test(what_is_wrong_is_named_with_what_is_right),
        cmocka_unit_test(memory_that_is_out_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
