#include "common/base/span.h"

#include "common/base/cleanup.h"
#include "tests/support/fail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define NONE ((struct fl_span){NULL, 0})

static void assert_span(const char *name, struct fl_span span, const char *expected)
{
    if (!fl_span_eq_str(span, expected))
        fail_msg("%s: \"%.*s\"", name, FL_SPAN_ARG(span));
}

static void test_equality(void **state)
{
    (void)state;
    assert_true(fl_span_eq(FL_SPAN("a\0b"), FL_SPAN("a\0b")));
    assert_false(fl_span_eq(FL_SPAN("a\0b"), FL_SPAN("a\0c")));
    assert_false(fl_span_eq(FL_SPAN("a\0b"), FL_SPAN("a")));
    assert_true(fl_span_eq(NONE, FL_SPAN("")));
    assert_true(fl_span_eq_str(NONE, NULL));
    assert_true(fl_span_eq_nocase(FL_SPAN("Host"), FL_SPAN("hOST")));
    assert_false(fl_span_eq_nocase(FL_SPAN("host"), FL_SPAN("hosts")));
    /* 0x20 apart, and no letters; the same in Latin-1 and in UTF-8. */
    assert_false(fl_span_eq_nocase(FL_SPAN("[{@`"), FL_SPAN("{[`@")));
    assert_false(fl_span_eq_nocase(FL_SPAN("\xc9"), FL_SPAN("\xe9")));
}

static void test_ends(void **state)
{
    (void)state;
    struct fl_span span = FL_SPAN("fairlead.io/inject");
    assert_true(fl_span_starts_with(span, FL_SPAN("fairlead.io/")));
    assert_true(fl_span_ends_with(span, FL_SPAN("/inject")));
    assert_true(fl_span_starts_with(span, NONE));
    assert_true(fl_span_ends_with(NONE, NONE));
    assert_false(fl_span_starts_with(FL_SPAN("a"), FL_SPAN("ab")));
    assert_false(fl_span_ends_with(FL_SPAN("b"), FL_SPAN("ab")));
}

static void test_trim(void **state)
{
    (void)state;
    assert_span("both ends", fl_span_trim(FL_SPAN(" \t a b\t ")), "a b");
    assert_span("nothing but space", fl_span_trim(FL_SPAN(" \t ")), "");
    assert_span("empty", fl_span_trim(NONE), "");
    assert_span("other white space stays", fl_span_trim(FL_SPAN("\r\n")), "\r\n");
}

static void test_split(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        struct fl_span text;
        const char *parts;
    } rows[] = {
        {"three", FL_SPAN("a,b,c"), "<a><b><c>"},         {"one", FL_SPAN("abc"), "<abc>"},
        {"empty text is one part", FL_SPAN(""), "<>"},    {"no text is none", {NULL, 0}, ""},
        {"separator at the end", FL_SPAN("a,"), "<a><>"}, {"separator at the start", FL_SPAN(",a"), "<><a>"},
        {"separators alone", FL_SPAN(",,"), "<><><>"},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct fl_span rest = rows[i].text;
        struct fl_span part;
        char parts[64] = "";
        while (fl_span_split(&rest, ',', &part))
            snprintf(parts + strlen(parts), sizeof(parts) - strlen(parts), "<%.*s>", FL_SPAN_ARG(part));
        assert_span(rows[i].name, fl_span_str(parts), rows[i].parts);
        assert_null(rest.data);
    }
}

static void test_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t max, value;
        bool good;
    } rows[] = {
        {"0", 0, 0, true},
        {"65535", 65535, 65535, true},
        {"65536", 65535, 0, false},
        {"007", 10, 7, true},
        {"18446744073709551615", UINT64_MAX, UINT64_MAX, true},
        {"18446744073709551616", UINT64_MAX, 0, false},
        {"99999999999999999999", UINT64_MAX, 0, false},
        {"", 10, 0, false},
        {"-1", 10, 0, false},
        {"+1", 10, 0, false},
        {" 1", 10, 0, false},
        {"1 ", 10, 0, false},
        {"0x1", 10, 0, false},
        {"1e1", 10, 0, false},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        uint64_t value = 4711;
        bool good = fl_span_to_u64(fl_span_str(rows[i].text), rows[i].max, &value);
        if (good != rows[i].good || value != (good ? rows[i].value : 4711))
            fail_msg("\"%s\": %d, %llu", rows[i].text, good, (unsigned long long)value);
    }
}

static void test_dup(void **state)
{
    (void)state;
    FAIL_EACH_ALLOCATION
    {
        FL_CLEANUP(fl_cleanup_free) char *copy = fl_span_dup(FL_SPAN("text"));
        fail_stop();
        if (fail_happened())
            assert_null(copy);
        else
            assert_string_equal(copy, "text");
    }
    FL_CLEANUP(fl_cleanup_free) char *empty = fl_span_dup(NONE);
    assert_string_equal(empty, "");
    assert_null(fl_span_dup(FL_SPAN("short\0ened")));
}

static void test_no_bytes_are_no_address(void **state)
{
    (void)state;
    assert_null(fl_span_from(NONE, 0).data);
    assert_int_equal(fl_span_find(NONE, 'a'), 0);
    assert_int_equal(fl_span_find(FL_SPAN("ba"), 'a'), 1);
    assert_int_equal(fl_span_find(FL_SPAN("bb"), 'a'), 2);
}

static void test_order(void **state)
{
    (void)state;
    static const struct {
        struct fl_span a, b;
        int order;
    } rows[] = {
        {FL_SPAN("a"), FL_SPAN("b"), -1},
        {FL_SPAN("b"), FL_SPAN("a"), 1},
        {FL_SPAN("a"), FL_SPAN("a"), 0},
        {FL_SPAN("a"), FL_SPAN("ab"), -1},  /* the shorter first */
        {FL_SPAN("b"), FL_SPAN("ab"), 1},   /* but not before the bytes */
        {FL_SPAN("\x80"), FL_SPAN("a"), 1}, /* bytes are unsigned */
        {NONE, FL_SPAN(""), 0},             /* no address */
        {NONE, FL_SPAN("a"), -1},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        int order = fl_span_compare(rows[i].a, rows[i].b);
        assert_int_equal((order > 0) - (order < 0), rows[i].order);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equality), cmocka_unit_test(test_order),
        cmocka_unit_test(test_ends),     cmocka_unit_test(test_trim),
        cmocka_unit_test(test_split),    cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_dup),      cmocka_unit_test(test_no_bytes_are_no_address),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
