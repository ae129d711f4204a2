#include "common/base/log_limit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static unsigned take_many(struct fl_log_limit *limit, uint64_t now_ms, unsigned count)
{
    unsigned taken = 0;
    uint64_t suppressed;
    for (unsigned i = 0; i < count; i++)
        taken += fl_log_limit_take(limit, now_ms, &suppressed);
    return taken;
}

static void a_flood_leaves_a_burst_then_a_rate(void **state)
{
    struct fl_log_limit limit = {0};
    uint64_t suppressed = 7;
    (void)state;
    assert_true(fl_log_limit_take(&limit, 1000000, &suppressed));
    assert_int_equal(suppressed, 0);
    assert_int_equal(take_many(&limit, 1000000, 1000), FL_LOG_LIMIT_BURST - 1);
    assert_true(fl_log_limit_take(&limit, 1001000, &suppressed));
    assert_int_equal(suppressed, 1000 - (FL_LOG_LIMIT_BURST - 1));
    assert_int_equal(take_many(&limit, 1001500, 1000), FL_LOG_LIMIT_PER_SECOND - 1);
    assert_int_equal(take_many(&limit, 1003000, 1000), 2 * FL_LOG_LIMIT_PER_SECOND);
    assert_int_equal(take_many(&limit, 2000000, 1000), FL_LOG_LIMIT_BURST);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_flood_leaves_a_burst_then_a_rate)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
