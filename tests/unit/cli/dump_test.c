#include "cli/dump.h"

#include "tests/support/fail.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define GOLDEN "tests/golden/cli/"

static struct fl_json *load(void)
{
    struct fl_buf text;
    struct fl_json *json = NULL;
    struct fl_err err = {0};
    fl_buf_init(&text, 1u << 20);
    assert_int_equal(fl_buf_read_file(&text, GOLDEN "config_dump.json"), 0);
    if (fl_json_parse(fl_buf_span(&text), NULL, &json, &err) < 0)
        fail_msg("%s", err.text);
    fl_buf_done(&text);
    return json;
}

static void each_table_is_as_its_golden_file(void **state)
{
    (void)state;
    static const char *const words[] = {
#define X(id, word) word,
        CLI_DUMPS(X)
#undef X
    };
    struct fl_json *json = load();
    for (size_t i = 0; i < FL_COUNT(words); i++) {
        struct fl_buf out, expected;
        char path[256];
        enum cli_dump dump;
        fl_buf_init(&out, 1u << 20);
        fl_buf_init(&expected, 1u << 20);
        assert_true(cli_dump_parse(words[i], &dump));
        assert_int_equal(cli_dump_print(dump, json, FL_SPAN(""), &out), 0);
        (void)snprintf(path, sizeof(path), GOLDEN "%s.txt", words[i]);
        assert_int_equal(fl_buf_read_file(&expected, path), 0);
        assert_string_equal(fl_buf_str(&out), fl_buf_str(&expected));
        fl_buf_done(&out);
        fl_buf_done(&expected);
    }
    fl_json_free(json);
}

static void only_rows_whose_name_holds_the_filter(void **state)
{
    (void)state;
    struct fl_json *json = load();
    struct fl_buf out;
    fl_buf_init(&out, 1u << 20);
    assert_int_equal(cli_dump_print(CLI_DUMP_CLUSTERS, json, FL_SPAN("late"), &out), 0);
    assert_string_equal(fl_buf_str(&out),
                        "CLUSTER                                   TYPE  BALANCING    TRANSPORT  STATE    VERSION\n"
                        "outbound|80||late.demo.svc.cluster.local  EDS   ROUND_ROBIN  tls        warming  1\n");
    fl_buf_done(&out);
    fl_json_free(json);
}

/* A dump of another shape is no crash, and no rows. */
static void a_dump_that_is_none(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "{}",
        "[]",
        "null",
        "{\"configs\": {}}",
        "{\"configs\": [1, null, {\"@type\": 7}]}",
        "{\"configs\": [{\"@type\": \"type.googleapis.com/envoy.admin.v3.RoutesConfigDump\", \"static_route_configs\": "
        "{\"route_config\": 3}}]}",
        "{\"configs\": [{\"@type\": \"type.googleapis.com/envoy.admin.v3.ListenersConfigDump\", \"dynamic_listeners\": "
        "[[], {\"active_state\": {\"listener\": []}}]}]}",
    };
    for (size_t i = 0; i < FL_COUNT(texts); i++) {
        struct fl_json *json = NULL;
        assert_int_equal(fl_json_parse(fl_span_str(texts[i]), NULL, &json, NULL), 0);
        for (int dump = 0; dump < CLI_DUMP_COUNT; dump++) {
            struct fl_buf out;
            fl_buf_init(&out, 4096);
            assert_int_equal(cli_dump_print((enum cli_dump)dump, json, FL_SPAN(""), &out), 0);
            assert_non_null(out.data);
            assert_int_equal(fl_span_find(fl_buf_span(&out), '\n'), out.len - 1); /* the titles alone */
            fl_buf_done(&out);
        }
        fl_json_free(json);
    }
}

static void there_are_five_tables(void **state)
{
    (void)state;
    enum cli_dump dump;
    assert_false(cli_dump_parse("", &dump));
    assert_false(cli_dump_parse("listener", &dump));
    assert_true(cli_dump_parse("secrets", &dump));
    assert_int_equal(dump, CLI_DUMP_SECRETS);
}

static void each_allocation_may_fail(void **state)
{
    (void)state;
    struct fl_json *json = load();
    FAIL_EACH_ALLOCATION
    {
        struct fl_buf out;
        fl_buf_init(&out, 1u << 20);
        int result = cli_dump_print(CLI_DUMP_LISTENERS, json, FL_SPAN(""), &out);
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
        fl_buf_done(&out);
    }
    fl_json_free(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_table_is_as_its_golden_file),
        cmocka_unit_test(only_rows_whose_name_holds_the_filter),
        cmocka_unit_test(a_dump_that_is_none),
        cmocka_unit_test(there_are_five_tables),
        cmocka_unit_test(each_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
