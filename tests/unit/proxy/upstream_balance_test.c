/* proxy/upstream/balance. */
#include "proxy/upstream/balance.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static size_t pick(enum proxy_balance policy, struct proxy_balance_item *items, size_t count, uint64_t random)
{
    const struct proxy_balance_rules rules = {.policy = policy, .panic_percent = 50};
    return proxy_balance_pick(&rules, items, count, random);
}

static void round_robin_is_smooth_by_weight(void **state)
{
    (void)state;
    struct proxy_balance_item items[] = {{.weight = 2}, {.weight = 1}};
    char order[7] = "";
    for (int i = 0; i < 6; i++)
        order[i] = (char)('a' + pick(PROXY_BALANCE_ROUND_ROBIN, items, 2, 0));
    assert_string_equal(order, "abaaba");
}

static void the_unhealthy_and_later_priorities_take_nothing(void **state)
{
    (void)state;
    struct proxy_balance_item items[] = {{.weight = 0}, {.weight = 1, .priority = 1}, {.weight = 1}};
    for (unsigned policy = 0; policy < 3; policy++) {
        for (uint64_t random = 0; random < 100; random++)
            assert_int_equal(pick(policy, items, 3, random * 0x9e3779b97f4a7c15u), 2);
    }
    items[2].weight = 0; /* then the next priority */
    assert_int_equal(pick(PROXY_BALANCE_RANDOM, items, 3, 5), 1);
    items[1].weight = 0;
    assert_int_equal(pick(PROXY_BALANCE_LEAST_REQUEST, items, 3, 5), 3);
    assert_int_equal(pick(PROXY_BALANCE_ROUND_ROBIN, items, 0, 5), 0);
}

static void least_request_prefers_the_less_busy_of_two(void **state)
{
    (void)state;
    struct proxy_balance_item items[] = {{.weight = 1, .active = 9}, {.weight = 1, .active = 1}};
    unsigned busy = 0;
    for (uint64_t random = 1; random <= 1000; random++)
        busy += pick(PROXY_BALANCE_LEAST_REQUEST, items, 2, random * 0x9e3779b97f4a7c15u) == 0;
    assert_in_range(busy, 150, 350); /* only where both draws were the busy one */
}

static void random_follows_the_weights(void **state)
{
    (void)state;
    struct proxy_balance_item items[] = {{.weight = 3}, {.weight = 1}};
    unsigned first = 0;
    for (uint64_t random = 0; random < 400; random++)
        first += pick(PROXY_BALANCE_RANDOM, items, 2, random) == 0;
    assert_int_equal(first, 300);
}

static void the_ejected_take_nothing_until_too_many_are(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        unsigned ejected, panic_percent;
        bool any, ejected_too;
    } rows[] = {
        {"one of four is passed by", 1, 50, true, false},
        {"just enough are left", 2, 50, true, false},
        {"too few are left: all take it", 3, 50, true, true},
        {"none is left: all take it", 4, 50, true, true},
        {"no panic: the last one takes it", 3, 0, true, false},
        {"no panic, none is left", 4, 0, false, false},
        {"always in panic", 1, 100, true, true},
    };
    for (size_t row = 0; row < FL_COUNT(rows); row++) {
        for (unsigned policy = 0; policy < 3; policy++) {
            struct proxy_balance_item items[4] = {{.weight = 1}, {.weight = 2}, {.weight = 3}, {.weight = 4}};
            const struct proxy_balance_rules rules = {.policy = policy, .panic_percent = rows[row].panic_percent};
            bool to_ejected = false, any = false;
            for (unsigned i = 0; i < rows[row].ejected; i++)
                items[i].ejected = true;
            for (uint64_t random = 0; random < 200; random++) {
                size_t at = proxy_balance_pick(&rules, items, 4, random * 0x9e3779b97f4a7c15u);
                any |= at < 4;
                to_ejected |= at < rows[row].ejected;
            }
            if (any != rows[row].any || to_ejected != rows[row].ejected_too)
                fail_msg("%s, policy %u", rows[row].what, policy);
        }
    }
}

static void a_priority_with_too_few_left_gives_way(void **state)
{
    (void)state;
    const struct proxy_balance_rules rules = {.policy = PROXY_BALANCE_RANDOM, .panic_percent = 50};
    struct proxy_balance_item items[] = {{.weight = 1}, {.weight = 1}, {.weight = 1}, {.weight = 5, .priority = 3}};
    items[0].ejected = items[1].ejected = true;
    for (uint64_t random = 0; random < 50; random++)
        assert_int_equal(proxy_balance_pick(&rules, items, 4, random), 3);
    items[3].ejected = true; /* then the lowest takes it, with all its hosts */
    for (uint64_t random = 0; random < 50; random++)
        assert_int_equal(proxy_balance_pick(&rules, items, 4, random), random % 3);
}

static void those_tried_are_taken_where_there_is_no_other(void **state)
{
    (void)state;
    for (unsigned policy = 0; policy < 3; policy++) {
        const struct proxy_balance_rules rules = {.policy = policy, .panic_percent = 50};
        struct proxy_balance_item items[] = {{.weight = 9, .tried = true}, {.weight = 1}, {.weight = 0}};
        for (uint64_t random = 0; random < 50; random++)
            assert_int_equal(proxy_balance_pick(&rules, items, 3, random), 1);
        items[1].tried = true;
        assert_true(proxy_balance_pick(&rules, items, 3, 7) < 2);
        items[1].tried = false;
        items[1].ejected = true; /* half are left: no panic, and the one that is left was tried */
        assert_int_equal(proxy_balance_pick(&rules, items, 3, 7), 0);
    }
}

static void more_choices_find_the_idle_one(void **state)
{
    (void)state;
    struct proxy_balance_item items[8];
    unsigned found[2] = {0, 0};
    for (size_t i = 0; i < 8; i++)
        items[i] = (struct proxy_balance_item){.weight = 1, .active = i == 5 ? 0 : 3};
    for (unsigned more = 0; more < 2; more++) {
        const struct proxy_balance_rules rules = {.policy = PROXY_BALANCE_LEAST_REQUEST, .choices = more ? 16 : 2};
        for (uint64_t random = 0; random < 1000; random++)
            found[more] += proxy_balance_pick(&rules, items, 8, random) == 5;
    }
    assert_in_range(found[0], 150, 320); /* 1 - (7/8)^2 = 23 % */
    assert_in_range(found[1], 800, 950); /* 1 - (7/8)^16 = 88 % */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_ejected_take_nothing_until_too_many_are),
        cmocka_unit_test(a_priority_with_too_few_left_gives_way),
        cmocka_unit_test(those_tried_are_taken_where_there_is_no_other),
        cmocka_unit_test(more_choices_find_the_idle_one),
        cmocka_unit_test(round_robin_is_smooth_by_weight),
        cmocka_unit_test(the_unhealthy_and_later_priorities_take_nothing),
        cmocka_unit_test(least_request_prefers_the_less_busy_of_two),
        cmocka_unit_test(random_follows_the_weights),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
