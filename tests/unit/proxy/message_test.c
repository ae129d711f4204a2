/* proxy/http/message.h: names and ids, the list of fields, dates. */
#include "proxy/http/message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ctype.h>
#include <errno.h>
#include <stdio.h>

static void every_listed_name_has_its_id(void **state)
{
    (void)state;
    for (int id = 1; id < PROXY_HEADER_IDS; id++) {
        struct fl_span name = proxy_header_name((enum proxy_header_id)id);
        char upper[64];
        assert_true(name.len > 0 && name.len < sizeof(upper));
        for (size_t i = 0; i < name.len; i++)
            upper[i] = (char)toupper((unsigned char)name.data[i]);
        assert_int_equal(proxy_header_id(name), id);
        assert_int_equal(proxy_header_id(fl_span_make(upper, name.len)), id);
        assert_int_equal(proxy_header_id(fl_span_make(name.data, name.len - 1)), PROXY_HEADER_OTHER);
        upper[name.len - 1] = '~';
        assert_int_equal(proxy_header_id(fl_span_make(upper, name.len)), PROXY_HEADER_OTHER);
    }
    assert_int_equal(proxy_header_id(FL_SPAN("")), PROXY_HEADER_OTHER);
    assert_int_equal(proxy_header_id(FL_SPAN("x-a-very-long-name-that-nobody-knows-at-all")), PROXY_HEADER_OTHER);
}

static void fields_are_added_removed_and_set_in_place(void **state)
{
    (void)state;
    static struct proxy_headers headers;
    proxy_headers_init(&headers);
    assert_int_equal(proxy_headers_add(&headers, FL_SPAN("Host"), FL_SPAN("a")), 0);
    assert_int_equal(proxy_headers_add(&headers, FL_SPAN("X-One"), FL_SPAN("1")), 0);
    assert_int_equal(proxy_headers_add(&headers, FL_SPAN("cookie"), FL_SPAN("b")), 0);
    assert_int_equal(proxy_headers_add(&headers, FL_SPAN("x-oNe"), FL_SPAN("2")), 0);
    assert_true(fl_span_eq_str(proxy_headers_value(&headers, PROXY_HEADER_HOST), "a"));

    const struct proxy_header *one = proxy_headers_next(&headers, PROXY_HEADER_OTHER, FL_SPAN("x-one"), NULL);
    assert_true(fl_span_eq_str(one->value, "1"));
    one = proxy_headers_next(&headers, PROXY_HEADER_OTHER, FL_SPAN("x-one"), one);
    assert_true(fl_span_eq_str(one->value, "2"));
    assert_null(proxy_headers_next(&headers, PROXY_HEADER_OTHER, FL_SPAN("x-one"), one));

    assert_int_equal(proxy_headers_set(&headers, FL_SPAN("X-ONE"), FL_SPAN("3")), 0);
    assert_true(fl_span_eq_str(headers.list[1].value, "3"));
    assert_true(fl_span_eq_str(headers.list[1].name, "X-One"));
    assert_true(headers.list[3].removed);

    assert_int_equal(proxy_headers_remove(&headers, FL_SPAN("HOST")), 1);
    assert_null(proxy_headers_get(&headers, PROXY_HEADER_HOST));
    assert_null(proxy_headers_next(&headers, PROXY_HEADER_HOST, FL_SPAN("host"), NULL));
    assert_int_equal(proxy_headers_set(&headers, FL_SPAN("host"), FL_SPAN("c")), 0);
    assert_true(fl_span_eq_str(proxy_headers_value(&headers, PROXY_HEADER_HOST), "c"));
    assert_int_equal(headers.count, 5);
}

static void a_full_list_takes_no_more(void **state)
{
    (void)state;
    static struct proxy_headers headers;
    proxy_headers_init(&headers);
    for (int i = 0; i < PROXY_HEADERS_MAX; i++)
        assert_int_equal(proxy_headers_add(&headers, FL_SPAN("date"), FL_SPAN("x")), 0);
    assert_int_equal(proxy_headers_add(&headers, FL_SPAN("date"), FL_SPAN("x")), -E2BIG);
    assert_int_equal(proxy_headers_set(&headers, FL_SPAN("host"), FL_SPAN("x")), -E2BIG);
    assert_int_equal(proxy_headers_set(&headers, FL_SPAN("date"), FL_SPAN("y")), 0);
    assert_int_equal(headers.count, PROXY_HEADERS_MAX);
}

static void names_and_values_from_configuration_are_checked(void **state)
{
    (void)state;
    assert_true(proxy_header_name_valid(FL_SPAN("x-a_b.c!")));
    assert_false(proxy_header_name_valid(FL_SPAN("")));
    assert_false(proxy_header_name_valid(FL_SPAN(":path")));
    assert_false(proxy_header_name_valid(FL_SPAN("a b")));
    assert_true(proxy_header_value_valid(FL_SPAN("")));
    assert_true(proxy_header_value_valid(FL_SPAN("a\tb c\xc3\xa4")));
    assert_false(proxy_header_value_valid(FL_SPAN(" a")));
    assert_false(proxy_header_value_valid(FL_SPAN("a\r\nb: c")));
    assert_false(proxy_header_value_valid(FL_SPAN("a\0b")));
}

static void dates_are_imf_fixdates(void **state)
{
    (void)state;
    char date[PROXY_DATE_SIZE + 1] = {0};
    proxy_date_print(784111777, date);
    assert_string_equal(date, "Sun, 06 Nov 1994 08:49:37 GMT");
    proxy_date_print(951827696, date);
    assert_string_equal(date, "Tue, 29 Feb 2000 12:34:56 GMT");
    proxy_date_print((time_t)INT64_MAX, date);
    assert_string_equal(date, "Thu, 01 Jan 1970 00:00:00 GMT");
}

static void methods_are_case_sensitive(void **state)
{
    (void)state;
    assert_int_equal(proxy_method_id(FL_SPAN("GET")), PROXY_METHOD_GET);
    assert_int_equal(proxy_method_id(FL_SPAN("CONNECT")), PROXY_METHOD_CONNECT);
    assert_int_equal(proxy_method_id(FL_SPAN("get")), PROXY_METHOD_OTHER);
    assert_int_equal(proxy_method_id(FL_SPAN("BREW")), PROXY_METHOD_OTHER);
}

static void path_and_query_are_told_apart(void **state)
{
    (void)state;
    static struct proxy_message message;
    proxy_message_init(&message);
    message.path = FL_SPAN("/a/b?c=d?e");
    assert_true(fl_span_eq_str(proxy_message_path_only(&message), "/a/b"));
    assert_true(fl_span_eq_str(proxy_message_query(&message), "c=d?e"));
    message.path = FL_SPAN("/a");
    assert_true(fl_span_eq_str(proxy_message_path_only(&message), "/a"));
    assert_int_equal(proxy_message_query(&message).len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_listed_name_has_its_id),
        cmocka_unit_test(fields_are_added_removed_and_set_in_place),
        cmocka_unit_test(a_full_list_takes_no_more),
        cmocka_unit_test(names_and_values_from_configuration_are_checked),
        cmocka_unit_test(dates_are_imf_fixdates),
        cmocka_unit_test(methods_are_case_sensitive),
        cmocka_unit_test(path_and_query_are_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
