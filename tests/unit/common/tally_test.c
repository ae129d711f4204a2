#include "common/base/tally.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void counts(void **state)
{
    struct fl_tally tally;
    (void)state;
    fl_tally_init(&tally);
    assert_int_equal(fl_tally_add(&tally, FL_SPAN("a")), 0);
    assert_int_equal(fl_tally_add(&tally, FL_SPAN("a")), 0);
    assert_int_equal(fl_tally_add(&tally, FL_SPAN("")), 0);
    assert_int_equal(fl_tally_get(&tally, FL_SPAN("a")), 2);
    assert_int_equal(fl_tally_get(&tally, FL_SPAN("")), 1);
    assert_int_equal(fl_tally_get(&tally, FL_SPAN("b")), 0);
    fl_tally_drop(&tally, FL_SPAN("b"));
    fl_tally_drop(&tally, FL_SPAN("a"));
    assert_int_equal(fl_tally_get(&tally, FL_SPAN("a")), 1);
    fl_tally_drop(&tally, FL_SPAN("a"));
    assert_int_equal(fl_tally_get(&tally, FL_SPAN("a")), 0);
    assert_int_equal(tally.counts.count, 1);
    fl_tally_done(&tally);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
