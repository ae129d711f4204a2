#include "proxy/server/ceiling.h"

#include "common/base/cleanup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define MIB (1024u * 1024u)

static void test_stages(void **state)
{
    (void)state;
    struct proxy_ceiling ceiling = {.limit = 100 * MIB};
    static const struct {
        const char *name;
        uint64_t used_mib, now_ms;
        enum proxy_shed expected;
    } steps[] = {
        {"idle", 10, 1000, PROXY_SHED_NONE},
        {"just below", 74, 1001, PROXY_SHED_NONE},
        {"the first stage", 75, 1002, PROXY_SHED_STOP_READING},
        {"a little back changes nothing", 70, 5000, PROXY_SHED_STOP_READING},
        {"two at once", 95, 5001, PROXY_SHED_REFUSE},
        {"back, but too early", 10, 5400, PROXY_SHED_REFUSE},
        {"one at a time", 10, 5501, PROXY_SHED_CLOSE_IDLE},
        {"and each waits", 10, 5600, PROXY_SHED_CLOSE_IDLE},
        {"the next", 10, 6001, PROXY_SHED_STOP_READING},
        {"up again at once", 86, 6002, PROXY_SHED_CLOSE_IDLE},
        {"above where it ends it stays", 76, 9000, PROXY_SHED_CLOSE_IDLE},
        {"below it ends", 74, 9001, PROXY_SHED_STOP_READING},
        {"and ends", 60, 9501, PROXY_SHED_NONE},
        {"more than there is", 500, 9502, PROXY_SHED_REFUSE},
    };
    for (size_t i = 0; i < FL_COUNT(steps); i++) {
        if (proxy_ceiling_update(&ceiling, steps[i].used_mib * MIB, steps[i].now_ms) != steps[i].expected)
            fail_msg("%s: %s", steps[i].name, proxy_shed_word(ceiling.stage));
    }
}

static void test_without_a_limit(void **state)
{
    (void)state;
    struct proxy_ceiling ceiling = {0};
    assert_int_equal(proxy_ceiling_update(&ceiling, UINT64_MAX, 1), PROXY_SHED_NONE);
    assert_int_equal(proxy_ceiling_room(&ceiling, 1, 0, 1).max, 0);
}

static void test_room(void **state)
{
    (void)state;
    const struct proxy_ceiling ceiling = {.limit = 100 * MIB};
    struct proxy_ceiling_room room = proxy_ceiling_room(&ceiling, 60 * MIB, 40 * MIB, 2);
    assert_int_equal(room.max, 40 * MIB);
    assert_int_equal(room.lean_above, 20 * MIB);
    room = proxy_ceiling_room(&ceiling, 300 * MIB, 1 * MIB, 2);
    assert_int_equal(room.max, PROXY_CEILING_ROOM_MIN);
    room = proxy_ceiling_room(&ceiling, 1 * MIB, 5 * MIB, 0); /* the sample is older than the pools */
    assert_int_equal(room.max, 100 * MIB);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_stages), cmocka_unit_test(test_without_a_limit),
                                       cmocka_unit_test(test_room)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
