#include "control/source/invalid.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void put(struct control_invalid *invalid, const char *name_space, unsigned number)
{
    char name[16];
    snprintf(name, sizeof(name), "it-%u", number);
    const struct control_key key = {CONTROL_TELEMETRY, fl_span_str(name_space), fl_span_str(name)};
    assert_int_equal(control_invalid_put(invalid, &key, CONTROL_PROBLEM_INVALID, "$.spec: wrong"), 0);
}

static void drop(struct control_invalid *invalid, const char *name_space, unsigned number)
{
    char name[16];
    snprintf(name, sizeof(name), "it-%u", number);
    const struct control_key key = {CONTROL_TELEMETRY, fl_span_str(name_space), fl_span_str(name)};
    assert_true(control_invalid_drop(invalid, &key));
}

/* How many of a namespace are told by name. */
static unsigned told(const struct control_invalid *invalid, const char *name_space)
{
    struct control_problems *problems = NULL;
    unsigned count = 0;
    assert_int_equal(control_invalid_list(invalid, &problems), 0);
    for (size_t i = 0; problems != NULL && i < problems->count; i++)
        count += problems->items[i].known && fl_span_eq_str(problems->items[i].name_space, name_space);
    control_problems_unref(problems);
    return count;
}

static void one_namespace_takes_no_others_place(void **state)
{
    struct control_invalid invalid;
    (void)state;
    control_invalid_init(&invalid, 10, 4);
    for (unsigned i = 0; i < 100; i++)
        put(&invalid, "attacker", i);
    put(&invalid, "other", 1);
    put(&invalid, "", 1);
    assert_int_equal(told(&invalid, "attacker"), 4);
    assert_int_equal(told(&invalid, "other"), 1);
    assert_int_equal(told(&invalid, ""), 1);
    assert_int_equal(control_invalid_count(&invalid), 102);
    for (unsigned i = 0; i < 100; i++) /* again: each has the place that it had */
        put(&invalid, "attacker", i);
    assert_int_equal(told(&invalid, "attacker"), 4);
    for (unsigned i = 0; i < 100; i++)
        drop(&invalid, "attacker", i);
    assert_int_equal(told(&invalid, "attacker"), 0);
    put(&invalid, "attacker", 200);
    assert_int_equal(told(&invalid, "attacker"), 1);
    control_invalid_done(&invalid);
}

static void all_together_are_bounded(void **state)
{
    struct control_invalid invalid;
    char name_space[16];
    unsigned all = 0;
    (void)state;
    control_invalid_init(&invalid, 10, 4);
    for (unsigned i = 0; i < 40; i++) {
        snprintf(name_space, sizeof(name_space), "n-%u", i / 4);
        put(&invalid, name_space, i);
    }
    for (unsigned i = 0; i < 10; i++) {
        snprintf(name_space, sizeof(name_space), "n-%u", i);
        all += told(&invalid, name_space);
    }
    assert_int_equal(all, 10);
    control_invalid_done(&invalid);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_namespace_takes_no_others_place),
        cmocka_unit_test(all_together_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
