/* proxy/http/forwarded: entries of x-forwarded-for from the right, and one more. */
#include "proxy/http/forwarded.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define FIELDS 3

static struct proxy_headers headers;

static void fill(const char *const values[FIELDS])
{
    proxy_headers_init(&headers);
    for (size_t i = 0; i < FIELDS && values[i] != NULL; i++) {
        assert_int_equal(proxy_headers_add(&headers, FL_SPAN("X-Forwarded-For"), fl_span_str(values[i])), 0);
        assert_int_equal(proxy_headers_add(&headers, FL_SPAN("x-other"), FL_SPAN("9.9.9.9")), 0);
    }
}

static void entries_from_the_right(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        const char *values[FIELDS];
        const char *entries[6]; /* from the right; NULL: no more */
    } rows[] = {
        {"no field", {NULL}, {NULL}},
        {"one", {"1.1.1.1"}, {"1.1.1.1", NULL}},
        {"a list", {"1.1.1.1,2.2.2.2 ,\t::3"}, {"::3", "2.2.2.2", "1.1.1.1", NULL}},
        {"over fields", {"1.1.1.1, 2.2.2.2", "3.3.3.3"}, {"3.3.3.3", "2.2.2.2", "1.1.1.1", NULL}},
        {"empty entries count", {"a,,b,"}, {"", "b", "", "a", NULL}},
        {"an empty field counts", {"a", "", "b"}, {"b", "", "a", NULL}},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct fl_span entry;
        size_t at = 0;
        print_message("%s\n", rows[i].what);
        fill(rows[i].values);
        for (; rows[i].entries[at] != NULL; at++) {
            assert_true(proxy_forwarded_for(&headers, at, &entry));
            assert_true(fl_span_eq_str(entry, rows[i].entries[at]));
        }
        assert_false(proxy_forwarded_for(&headers, at, &entry));
        assert_false(proxy_forwarded_for(&headers, SIZE_MAX, &entry));
    }
}

static void a_removed_field_is_none(void **state)
{
    (void)state;
    struct fl_span entry;
    fill((const char *const[FIELDS]){"1.1.1.1", "2.2.2.2"});
    assert_int_equal(proxy_headers_remove(&headers, FL_SPAN("x-forwarded-for")), 2);
    assert_false(proxy_forwarded_for(&headers, 0, &entry));
}

static void appending(void **state)
{
    (void)state;
    static const struct {
        const char *values[FIELDS];
        const char *expected; /* of the last field */
        size_t count;         /* fields in all */
    } rows[] = {
        {{NULL}, "::1", 1},
        {{"1.1.1.1"}, "1.1.1.1, ::1", 2},
        {{"1.1.1.1", "2.2.2.2"}, "2.2.2.2, ::1", 4},
        {{""}, "::1", 2},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        char scratch[12];
        struct fl_span value, entry;
        fill(rows[i].values);
        assert_int_equal(proxy_forwarded_append(&headers, FL_SPAN("::1"), scratch, sizeof(scratch), &value), 0);
        assert_true(fl_span_eq_str(value, rows[i].expected));
        assert_int_equal(headers.count, rows[i].count);
        assert_true(proxy_forwarded_for(&headers, 0, &entry));
        assert_true(fl_span_eq_str(entry, "::1"));
    }
}

static void no_room(void **state)
{
    (void)state;
    char scratch[11];
    struct fl_span value;
    fill((const char *const[FIELDS]){"1.1.1.1"});
    assert_int_equal(proxy_forwarded_append(&headers, FL_SPAN("::1"), scratch, sizeof(scratch), &value), -EMSGSIZE);
    assert_int_equal(value.len, 0);
    proxy_headers_init(&headers);
    for (size_t i = 0; i < PROXY_HEADERS_MAX; i++)
        assert_int_equal(proxy_headers_add(&headers, FL_SPAN("x"), FL_SPAN("y")), 0);
    assert_int_equal(proxy_forwarded_append(&headers, FL_SPAN("::1"), scratch, sizeof(scratch), &value), -E2BIG);
}

static void ports_of_authorities(void **state)
{
    (void)state;
    static const struct {
        const char *authority;
        uint16_t port;
        const char *expected;
    } rows[] = {
        {"web:80", 0, "web"},
        {"web:80", 80, "web"},
        {"web:8080", 80, "web:8080"},
        {"web", 80, "web"},
        {"web:", 0, "web"},
        {"web:", 80, "web:"},
        {"[::1]:80", 80, "[::1]"},
        {"[::1:80]", 80, "[::1:80]"},
        {"[::1]:80", 0, "[::1]"},
        {"[::1:80]", 0, "[::1:80]"},
        {":80", 80, ""},
        {"web:080", 80, "web"},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct fl_span stripped = proxy_authority_strip_port(fl_span_str(rows[i].authority), rows[i].port);
        if (!fl_span_eq_str(stripped, rows[i].expected))
            fail_msg("%s: %.*s", rows[i].authority, FL_SPAN_ARG(stripped));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_from_the_right),
        cmocka_unit_test(a_removed_field_is_none),
        cmocka_unit_test(appending),
        cmocka_unit_test(no_room),
        cmocka_unit_test(ports_of_authorities),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
