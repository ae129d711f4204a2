#include "cli/proxies.h"

#include "tests/support/fail.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define NOW 1700000065

static struct fl_json *load(void)
{
    struct fl_buf text;
    struct fl_json *json = NULL;
    struct fl_err err = {0};
    fl_buf_init(&text, 1u << 20);
    assert_int_equal(fl_buf_read_file(&text, "tests/golden/cli/proxies.json"), 0);
    if (fl_json_parse(fl_buf_span(&text), NULL, &json, &err) < 0)
        fail_msg("%s", err.text);
    fl_buf_done(&text);
    return json;
}

static void the_table_is_as_its_golden_file(void **state)
{
    (void)state;
    struct fl_json *json = load();
    struct fl_buf out, expected;
    fl_buf_init(&out, 1u << 20);
    fl_buf_init(&expected, 1u << 20);
    assert_int_equal(cli_proxies_print(json, NOW, FL_SPAN(""), &out), 0);
    assert_int_equal(fl_buf_read_file(&expected, "tests/golden/cli/proxies.txt"), 0);
    assert_string_equal(fl_buf_str(&out), fl_buf_str(&expected));
    fl_buf_done(&out);
    fl_buf_done(&expected);
    fl_json_free(json);
}

static void only_those_that_are_asked_for(void **state)
{
    (void)state;
    struct fl_json *json = load();
    struct fl_buf out;
    fl_buf_init(&out, 1u << 20);
    assert_int_equal(cli_proxies_print(json, NOW, FL_SPAN("serv"), &out), 0);
    assert_non_null(strstr(fl_buf_str(&out), "1 proxy, 0 in sync, 1 refusing something\n"));
    assert_null(strstr(fl_buf_str(&out), "client.demo"));
    fl_buf_done(&out);
    fl_json_free(json);
}

static void what_is_no_list_of_proxies(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int result;
    } rows[] = {
        {"{}", -EINVAL},
        {"[]", -EINVAL},
        {"{\"proxies\": {}}", -EINVAL},
        {"{\"proxies\": []}", 0},
        {"{\"proxies\": [7, null, {\"types\": [], \"since\": \"x\", \"certificate\": 3}]}", 0},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct fl_json *json = NULL;
        struct fl_buf out;
        fl_buf_init(&out, 4096);
        assert_int_equal(fl_json_parse(fl_span_str(rows[i].text), NULL, &json, NULL), 0);
        assert_int_equal(cli_proxies_print(json, NOW, FL_SPAN(""), &out), rows[i].result);
        fl_buf_done(&out);
        fl_json_free(json);
    }
}

static void each_allocation_may_fail(void **state)
{
    (void)state;
    struct fl_json *json = load();
    FAIL_EACH_ALLOCATION
    {
        struct fl_buf out;
        fl_buf_init(&out, 1u << 20);
        int result = cli_proxies_print(json, NOW, FL_SPAN(""), &out);
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
        fl_buf_done(&out);
    }
    fl_json_free(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_is_as_its_golden_file),
        cmocka_unit_test(only_those_that_are_asked_for),
        cmocka_unit_test(what_is_no_list_of_proxies),
        cmocka_unit_test(each_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
