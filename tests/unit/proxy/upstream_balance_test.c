/* proxy/upstream/balance. */
#include "proxy/upstream/balance.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void round_robin_is_smooth_by_weight(void **state)
{
    (void)state;
    struct proxy_balance_item items[] = {{.weight = 2}, {.weight = 1}};
    char order[7] = "";
    for (int i = 0; i < 6; i++)
        order[i] = (char)('a' + proxy_balance_pick(PROXY_BALANCE_ROUND_ROBIN, items, 2, 0));
    assert_string_equal(order, "abaaba");
}

static void the_unhealthy_and_later_priorities_take_nothing(void **state)
{
    (void)state;
    struct proxy_balance_item items[] = {{.weight = 0}, {.weight = 1, .priority = 1}, {.weight = 1}};
    for (unsigned policy = 0; policy < 3; policy++) {
        for (uint64_t random = 0; random < 100; random++)
            assert_int_equal(proxy_balance_pick(policy, items, 3, random * 0x9e3779b97f4a7c15u), 2);
    }
    items[2].weight = 0; /* then the next priority */
    assert_int_equal(proxy_balance_pick(PROXY_BALANCE_RANDOM, items, 3, 5), 1);
    items[1].weight = 0;
    assert_int_equal(proxy_balance_pick(PROXY_BALANCE_LEAST_REQUEST, items, 3, 5), 3);
    assert_int_equal(proxy_balance_pick(PROXY_BALANCE_ROUND_ROBIN, items, 0, 5), 0);
}

static void least_request_prefers_the_less_busy_of_two(void **state)
{
    (void)state;
    struct proxy_balance_item items[] = {{.weight = 1, .active = 9}, {.weight = 1, .active = 1}};
    unsigned busy = 0;
    for (uint64_t random = 1; random <= 1000; random++)
        busy += proxy_balance_pick(PROXY_BALANCE_LEAST_REQUEST, items, 2, random * 0x9e3779b97f4a7c15u) == 0;
    assert_in_range(busy, 150, 350); /* only where both draws were the busy one */
}

static void random_follows_the_weights(void **state)
{
    (void)state;
    struct proxy_balance_item items[] = {{.weight = 3}, {.weight = 1}};
    unsigned first = 0;
    for (uint64_t random = 0; random < 400; random++)
        first += proxy_balance_pick(PROXY_BALANCE_RANDOM, items, 2, random) == 0;
    assert_int_equal(first, 300);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_robin_is_smooth_by_weight),
        cmocka_unit_test(the_unhealthy_and_later_priorities_take_nothing),
        cmocka_unit_test(least_request_prefers_the_less_busy_of_two),
        cmocka_unit_test(random_follows_the_weights),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
