/* What one client, and all together, may make the control plane keep. */
#include "control/xds/budget.h"
#include "tests/support/fail.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define MIB ((size_t)1 << 20)

static enum control_budget_verdict set(struct control_budget *budget, struct control_budget_share *share,
                                       enum control_budget_kind kind, size_t amount)
{
    size_t before = control_budget_set(budget, share, kind, amount);
    return control_budget_judge(budget, share, kind, before);
}

static enum control_budget_verdict subscribe(struct control_budget *budget, struct control_budget_share *share,
                                             size_t amount)
{
    return set(budget, share, CONTROL_BUDGET_SUBSCRIBED, amount);
}

static void a_client_has_a_quarter_however_many_streams(void **state)
{
    struct control_budget budget;
    struct control_budget_share one = {0}, two = {0}, other = {0};
    (void)state;
    control_budget_init(&budget, 4);
    assert_int_equal(control_budget_join(&budget, FL_SPAN("a"), &one), 0);
    assert_int_equal(control_budget_join(&budget, FL_SPAN("a"), &two), 0);
    assert_int_equal(control_budget_join(&budget, FL_SPAN("b"), &other), 0);
    assert_int_equal(subscribe(&budget, &one, MIB - 10), CONTROL_BUDGET_FITS);
    assert_int_equal(subscribe(&budget, &two, 10), CONTROL_BUDGET_FITS);
    assert_int_equal(subscribe(&budget, &two, 11), CONTROL_BUDGET_CLIENT_FULL);
    assert_int_equal(subscribe(&budget, &one, MIB - 10), CONTROL_BUDGET_FITS); /* it did not grow */
    assert_int_equal(subscribe(&budget, &other, MIB), CONTROL_BUDGET_FITS);
    assert_int_equal(set(&budget, &one, CONTROL_BUDGET_QUEUED, MIB / 2), CONTROL_BUDGET_FITS);
    assert_int_equal(set(&budget, &two, CONTROL_BUDGET_QUEUED, 1), CONTROL_BUDGET_CLIENT_FULL);
    control_budget_leave(&budget, &one);
    control_budget_leave(&budget, &one);
    assert_int_equal(subscribe(&budget, &two, MIB), CONTROL_BUDGET_FITS);
    control_budget_leave(&budget, &two);
    control_budget_leave(&budget, &other);
    assert_int_equal(budget.accounts.count, 0);
    assert_int_equal(budget.used[CONTROL_BUDGET_SUBSCRIBED] + budget.used[CONTROL_BUDGET_QUEUED], 0);
    control_budget_done(&budget);
}

static void all_together_have_no_more(void **state)
{
    struct control_budget budget;
    struct control_budget_share shares[5] = {0};
    (void)state;
    control_budget_init(&budget, 4);
    for (size_t i = 0; i < FL_COUNT(shares); i++) {
        char name = (char)('a' + i);
        assert_int_equal(control_budget_join(&budget, fl_span_make(&name, 1), &shares[i]), 0);
        assert_int_equal(subscribe(&budget, &shares[i], MIB), i < 4 ? CONTROL_BUDGET_FITS : CONTROL_BUDGET_ALL_FULL);
    }
    for (size_t i = 0; i < FL_COUNT(shares); i++)
        control_budget_leave(&budget, &shares[i]);
    control_budget_done(&budget);
}

/* 1,000 identities on demand, and 400 pods of one, each with what it needs in a mesh of 1,000 Services. */
static void honest_proxies_fit(void **state)
{
    static struct control_budget_share demand[1000], pods[400];
    struct control_budget budget;
    char name[32];
    (void)state;
    control_budget_init(&budget, CONTROL_BUDGET_MIB);
    for (size_t i = 0; i < FL_COUNT(demand); i++) {
        int length = snprintf(name, sizeof(name), "spiffe://%zu", i);
        assert_int_equal(control_budget_join(&budget, fl_span_make(name, (size_t)length), &demand[i]), 0);
        assert_int_equal(subscribe(&budget, &demand[i], MIB / 8), CONTROL_BUDGET_FITS);
    }
    for (size_t i = 0; i < FL_COUNT(pods); i++) {
        assert_int_equal(control_budget_join(&budget, FL_SPAN("one"), &pods[i]), 0);
        assert_int_equal(subscribe(&budget, &pods[i], MIB), CONTROL_BUDGET_FITS);
    }
    for (size_t i = 0; i < FL_COUNT(demand); i++)
        control_budget_leave(&budget, &demand[i]);
    for (size_t i = 0; i < FL_COUNT(pods); i++)
        control_budget_leave(&budget, &pods[i]);
    control_budget_done(&budget);
}

static int join_once(void)
{
    struct control_budget budget;
    struct control_budget_share share = {0};
    control_budget_init(&budget, 4);
    int result = control_budget_join(&budget, FL_SPAN("a"), &share);
    control_budget_leave(&budget, &share);
    control_budget_done(&budget);
    return result;
}

static void memory_that_is_out_is_told(void **state)
{
    (void)state;
    FAIL_EACH_ALLOCATION
    {
        int result = join_once();
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_client_has_a_quarter_however_many_streams),
        cmocka_unit_test(all_together_have_no_more),
        cmocka_unit_test(honest_proxies_fit),
        cmocka_unit_test(memory_that_is_out_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
