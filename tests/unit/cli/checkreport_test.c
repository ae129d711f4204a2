#include "cli/check/report.h"

#include "tests/support/fail.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static void words(void **state)
{
    (void)state;
    for (enum cli_check check = 0; check < CLI_CHECK_COUNT; check++) {
        unsigned number = cli_check_number(check);
        assert_true(number >= 101 && number < 600);
        assert_true(check == 0 || number > cli_check_number(check - 1));
        assert_true(strlen(cli_check_word(check)) > 0 && strlen(cli_check_title(check)) > 0);
    }
}

static void make(struct cli_report *report)
{
    assert_int_equal(cli_report_init(report), 0);
    cli_report_begin(report, CLI_CHECK_API);
    cli_report_fact(report, "fine");
    cli_report_begin(report, CLI_CHECK_CRDS);
    cli_report_find(report, CLI_CHECK_WARNING, "do this", "one\x1b[31m");
    cli_report_find(report, CLI_CHECK_FAILED, "do this", "two");
    cli_report_find(report, CLI_CHECK_SKIPPED, NULL, "three");
    cli_report_begin(report, CLI_CHECK_WEBHOOK);
    cli_report_find(report, CLI_CHECK_SKIPPED, NULL, "not seen");
    cli_report_end(report);
}

static void for_people(void **state)
{
    struct cli_report report;
    struct fl_buf out;
    (void)state;
    make(&report);
    fl_buf_init(&out, CLI_REPORT_BYTES);
    assert_int_equal(cli_report_print(&report, false, &out), 0);
    assert_string_equal(fl_buf_str(&out),
                        "cluster\n"
                        "  101 ok   the API server answers: fine\n"
                        "\n"
                        "installation\n"
                        "  201 FAIL fairlead's CRDs are there, with the version that this one speaks\n"
                        "          one?[31m\n"
                        "          two\n"
                        "            to mend it: do this\n"
                        "          three\n"
                        "  202 -    the webhook's replicas are ready\n"
                        "          not seen\n"
                        "\n"
                        "1 ok, 1 failed, 0 warnings, 1 skipped\n");
    fl_buf_done(&out);
    cli_report_done(&report);
}

static void for_programs(void **state)
{
    struct cli_report report;
    struct fl_buf out;
    struct fl_json *json;
    (void)state;
    make(&report);
    fl_buf_init(&out, CLI_REPORT_BYTES);
    assert_int_equal(cli_report_print(&report, true, &out), 0);
    assert_int_equal(fl_json_parse(fl_buf_span(&out), NULL, &json, NULL), 0);
    assert_false(fl_json_bool(fl_json_get(json, "ok")));
    const struct fl_json *check = fl_json_at(fl_json_get(json, "checks"), 1);
    assert_true(fl_span_eq_str(fl_json_string(fl_json_get(check, "check")), "crds"));
    assert_true(fl_span_eq_str(fl_json_string(fl_json_get(check, "state")), "failed"));
    assert_int_equal(fl_json_count(fl_json_get(check, "findings")), 3);
    fl_json_free(json);
    fl_buf_done(&out);
    cli_report_done(&report);
}

static void many(void **state)
{
    struct cli_report report;
    struct fl_buf out;
    (void)state;
    assert_int_equal(cli_report_init(&report), 0);
    cli_report_begin(&report, CLI_CHECK_AGENTS);
    for (int i = 0; i < CLI_CHECK_FINDINGS_MAX + 7; i++)
        cli_report_find(&report, i < CLI_CHECK_FINDINGS_MAX ? CLI_CHECK_WARNING : CLI_CHECK_FAILED, "mend", "node %d",
                        i);
    cli_report_end(&report);
    assert_int_equal(report.counts[CLI_CHECK_FAILED], 1);
    fl_buf_init(&out, CLI_REPORT_BYTES);
    assert_int_equal(cli_report_print(&report, false, &out), 0);
    assert_non_null(strstr(fl_buf_str(&out), "and 7 more\n            to mend it: mend\n"));
    fl_buf_done(&out);
    cli_report_done(&report);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words),
        cmocka_unit_test(for_people),
        cmocka_unit_test(for_programs),
        cmocka_unit_test(many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
