#include "cli/table.h"

#include "tests/support/fail.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static const char *const titles[] = {"NAME", "KIND"};

static void columns_are_as_wide_as_their_widest_cell(void **state)
{
    (void)state;
    struct cli_table table;
    struct fl_buf out;
    fl_buf_init(&out, 4096);
    cli_table_init(&table, titles, FL_COUNT(titles));
    cli_table_cell_str(&table, "a-long-name");
    cli_table_cell_str(&table, "x");
    cli_table_cell(&table, FL_SPAN("sch\xc3\xb6n")); /* characters count, not bytes */
    cli_table_cellf(&table, "%d", 7);
    cli_table_cell(&table, FL_SPAN(""));
    cli_table_cell_str(&table, NULL);
    assert_int_equal(cli_table_print(&table, &out), 0);
    assert_string_equal(fl_buf_str(&out), "NAME         KIND\n"
                                          "a-long-name  x\n"
                                          "sch\xc3\xb6n        7\n"
                                          "-            -\n");
    cli_table_done(&table);
    fl_buf_done(&out);
}

static void what_a_terminal_would_obey_is_not_printed(void **state)
{
    (void)state;
    static const struct {
        struct fl_span text;
        const char *shown;
    } rows[] = {
        {FL_SPAN("\x1b[2Jgone"), "?[2Jgone"},
        {FL_SPAN("a\nb\tc"), "a?b?c"},
        {FL_SPAN("a\0b"), "a?b"},
        {FL_SPAN("\xc2\x9b"
                 "31m"),
         "?31m"},
        {FL_SPAN("\xff\xfe"), "??"},
        {FL_SPAN("\x7f"), "?"},
        {FL_SPAN("\xc2\xa0"), "\xc2\xa0"},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        static const char *const title[] = {"T"};
        struct cli_table table;
        struct fl_buf out;
        fl_buf_init(&out, 4096);
        cli_table_init(&table, title, 1);
        cli_table_cell(&table, rows[i].text);
        assert_int_equal(cli_table_print(&table, &out), 0);
        char expected[64];
        (void)snprintf(expected, sizeof(expected), "T\n%s\n", rows[i].shown);
        assert_string_equal(fl_buf_str(&out), expected);
        cli_table_done(&table);
        fl_buf_done(&out);
    }
}

static void a_row_that_is_not_full_is_an_error(void **state)
{
    (void)state;
    struct cli_table table;
    struct fl_buf out;
    fl_buf_init(&out, 4096);
    cli_table_init(&table, titles, FL_COUNT(titles));
    cli_table_cell_str(&table, "alone");
    assert_int_equal(cli_table_print(&table, &out), -EINVAL);
    assert_int_equal(out.len, 0);
    cli_table_done(&table);
    fl_buf_done(&out);
}

static void each_allocation_may_fail(void **state)
{
    (void)state;
    FAIL_EACH_ALLOCATION
    {
        struct cli_table table;
        struct fl_buf out;
        fl_buf_init(&out, 4096);
        cli_table_init(&table, titles, FL_COUNT(titles));
        cli_table_cell_str(&table, "a");
        cli_table_cell_str(&table, "b");
        int result = cli_table_print(&table, &out);
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
        cli_table_done(&table);
        fl_buf_done(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_are_as_wide_as_their_widest_cell),
        cmocka_unit_test(what_a_terminal_would_obey_is_not_printed),
        cmocka_unit_test(a_row_that_is_not_full_is_an_error),
        cmocka_unit_test(each_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
