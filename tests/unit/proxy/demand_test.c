/* proxy/config/demand: the table of destinations asked for: what is new, known, refused; what goes and what stays. */
#include "proxy/config/demand.h"

#include "tests/support/fail.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct proxy_demand *demand;
static char evicted[PROXY_DEMAND_NAME_MAX];
static size_t evicted_len;

static int ask(const char *name, uint64_t now_ms)
{
    return proxy_demand_ask(demand, fl_span_str(name), now_ms, evicted, &evicted_len);
}

static uint64_t a_used_ms; /* when "a" was used, as workers know it */

static uint64_t used_ms(void *owner, struct fl_span name)
{
    assert_ptr_equal(owner, &a_used_ms);
    return fl_span_eq_str(name, "a") ? a_used_ms : 0;
}

static void make(size_t max)
{
    const struct proxy_demand_options options = {.max = max, .idle_ms = 60000, .used_ms = used_ms, .owner = &a_used_ms};
    a_used_ms = 0;
    assert_int_equal(proxy_demand_new(&options, &demand), 0);
}

static void test_life(void **state)
{
    (void)state;
    struct fl_span name;
    make(10);
    assert_int_equal(proxy_demand_due(demand), UINT64_MAX);
    assert_int_equal(ask("a", 1000), PROXY_DEMAND_NEW);
    assert_int_equal(ask("a", 1001), PROXY_DEMAND_WAIT);
    proxy_demand_answered(demand, FL_SPAN("a"));
    proxy_demand_answered(demand, FL_SPAN("nobody"));
    assert_int_equal(ask("a", 1002), PROXY_DEMAND_KNOWN);
    assert_int_equal(proxy_demand_due(demand), 61002);
    assert_false(proxy_demand_idle(demand, 61001, &name));
    assert_true(proxy_demand_idle(demand, 61002, &name));
    assert_true(fl_span_eq_str(name, "a"));
    a_used_ms = 50000; /* it was used meanwhile */
    assert_false(proxy_demand_idle(demand, 61002, &name));
    a_used_ms = 40000; /* what is older counts not */
    assert_false(proxy_demand_idle(demand, 109999, &name));
    assert_true(proxy_demand_has(demand, FL_SPAN("a")));
    proxy_demand_forget(demand, FL_SPAN("a"));
    proxy_demand_forget(demand, FL_SPAN("a"));
    assert_false(proxy_demand_has(demand, FL_SPAN("a")));
    demand = proxy_demand_free(demand);
}

static void test_the_least_recently_used_goes(void **state)
{
    (void)state;
    make(2);
    assert_int_equal(ask("a", 1000), PROXY_DEMAND_NEW);
    assert_int_equal(ask("b", 2000), PROXY_DEMAND_NEW);
    assert_int_equal(ask("c", 3000), PROXY_DEMAND_FULL); /* both are in use */
    a_used_ms = 20000;
    assert_int_equal(ask("c", 20000), PROXY_DEMAND_NEW);
    assert_int_equal(evicted_len, 1);
    assert_int_equal(evicted[0], 'b');
    assert_int_equal(proxy_demand_count(demand), 2);
    const void *cursor = NULL;
    struct proxy_demand_entry entry;
    assert_true(proxy_demand_each(demand, &cursor, &entry));
    assert_true(fl_span_eq_str(entry.name, "a"));
    assert_true(proxy_demand_each(demand, &cursor, &entry));
    assert_true(fl_span_eq_str(entry.name, "c"));
    assert_false(entry.answered);
    assert_false(proxy_demand_each(demand, &cursor, &entry));
    demand = proxy_demand_free(demand);
}

static void test_a_flood(void **state)
{
    (void)state;
    char name[32];
    unsigned taken = 0;
    make(5000);
    for (unsigned i = 0; i < 3000; i++) {
        snprintf(name, sizeof(name), "outbound|10.0.0.1:%u", i + 1);
        int answer = ask(name, 1000000);
        assert_true(answer == PROXY_DEMAND_NEW || answer == PROXY_DEMAND_FLOOD);
        taken += answer == PROXY_DEMAND_NEW;
    }
    assert_int_equal(taken, PROXY_DEMAND_BURST);
    for (unsigned i = 0; i < 3000; i++) {
        snprintf(name, sizeof(name), "outbound|10.0.0.2:%u", i + 1);
        taken += ask(name, 1002000) == PROXY_DEMAND_NEW;
    }
    assert_int_equal(taken, PROXY_DEMAND_BURST + 2 * PROXY_DEMAND_RATE);
    demand = proxy_demand_free(demand);
}

static void test_restored(void **state)
{
    (void)state;
    make(2);
    assert_int_equal(proxy_demand_restore(demand, FL_SPAN("a"), 5), 0);
    assert_int_equal(proxy_demand_restore(demand, FL_SPAN("a"), 5), 0);
    assert_int_equal(proxy_demand_restore(demand, FL_SPAN("b"), 5), 0);
    assert_int_equal(proxy_demand_restore(demand, FL_SPAN("c"), 5), -ENOSPC);
    assert_int_equal(ask("a", 6), PROXY_DEMAND_KNOWN);
    demand = proxy_demand_free(demand);
}

static void test_memory(void **state)
{
    (void)state;
    FAIL_EACH_ALLOCATION
    {
        const struct proxy_demand_options options = {.max = 1};
        int result = proxy_demand_new(&options, &demand);
        if (result == 0)
            result = ask("a", 1000) < 0 || ask("b", 100000) < 0 ? -ENOMEM : 0;
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
        if (fail_happened() && demand != NULL) /* what was there has not gone for what did not come */
            assert_true(proxy_demand_count(demand) <= 1);
        demand = proxy_demand_free(demand);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_life),    cmocka_unit_test(test_the_least_recently_used_goes),
        cmocka_unit_test(test_a_flood), cmocka_unit_test(test_restored),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
