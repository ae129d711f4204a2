/* Timers on a real loop and the real clock: delays of some milliseconds, awaited by the loop itself. What time does to
 * the wheel is in wheel_test.c. */
#include "common/loop/timer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#define MANY 4000

struct probe {
    struct fl_timer timer;
    uint64_t not_before_ns;
    unsigned fired;
    struct probe *other;
};

static struct fl_loop *loop;
static unsigned fired;
static struct probe *order[8];

static uint64_t clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static int open_loop(void **state)
{
    (void)state;
    fired = 0;
    return fl_loop_new(&loop);
}

static int close_loop(void **state)
{
    (void)state;
    loop = fl_loop_free(loop);
    return 0;
}

static void note(struct fl_timer *timer)
{
    struct probe *probe = FL_CONTAINER_OF(timer, struct probe, timer);
    assert_false(fl_timer_is_set(timer));
    assert_true(clock_ns() >= probe->not_before_ns);
    if (fired < FL_COUNT(order))
        order[fired] = probe;
    fired++;
    probe->fired++;
}

static void set_with(struct probe *probe, uint64_t delay_ms, void (*on_due)(struct fl_timer *timer))
{
    fl_timer_set(loop, &probe->timer, delay_ms, on_due);
    probe->not_before_ns = fl_loop_now_ns(loop) + delay_ms * 1000000;
}

static void set(struct probe *probe, uint64_t delay_ms)
{
    set_with(probe, delay_ms, note);
}

/* A timer that is missing ends in ctest's timeout. */
static void run_until(unsigned count)
{
    while (fired < count)
        assert_int_equal(fl_loop_turn(loop, -1), 0);
}

static void test_never_early_and_in_order(void **state)
{
    (void)state;
    struct probe probes[5] = {0};
    static const uint64_t delays[] = {30, 1, 12, 0, 21};
    for (size_t i = 0; i < 5; i++)
        set(&probes[i], delays[i]);
    run_until(5);
    static const size_t expected[] = {3, 1, 2, 4, 0};
    for (size_t i = 0; i < 5; i++)
        assert_ptr_equal(order[i], &probes[expected[i]]);
}

static void test_set_again_moves(void **state)
{
    (void)state;
    struct probe later = {0};
    struct probe sooner = {0};
    set(&later, 1);
    set(&sooner, 100000);
    set(&later, 25);
    set(&sooner, 5);
    run_until(2);
    assert_ptr_equal(order[0], &sooner);
    assert_ptr_equal(order[1], &later);
    assert_int_equal(later.fired, 1);
}

static void test_cancel(void **state)
{
    (void)state;
    struct probe cancelled = {0};
    struct probe kept = {0};
    fl_timer_cancel(&cancelled.timer); /* never set */
    set(&cancelled, 1);
    set(&kept, 10);
    assert_true(fl_timer_is_set(&cancelled.timer));
    fl_timer_cancel(&cancelled.timer);
    fl_timer_cancel(&cancelled.timer);
    assert_false(fl_timer_is_set(&cancelled.timer));
    run_until(1);
    assert_int_equal(cancelled.fired, 0);
}

static void cancel_other(struct fl_timer *timer)
{
    note(timer);
    fl_timer_cancel(&FL_CONTAINER_OF(timer, struct probe, timer)->other->timer);
}

/* Both are due in the same turn: whichever comes first takes the other out of the list that is being walked. */
static void test_cancel_inside_a_callback(void **state)
{
    (void)state;
    struct probe a = {0};
    struct probe b = {0};
    struct probe bystander = {0};
    a.other = &b;
    b.other = &a;
    set_with(&a, 0, cancel_other);
    set_with(&b, 0, cancel_other);
    set(&bystander, 0);
    assert_int_equal(fl_loop_turn(loop, -1), 0);
    assert_int_equal(a.fired + b.fired, 1);
    assert_int_equal(bystander.fired, 1);
}

static void set_again_at_once(struct fl_timer *timer)
{
    note(timer);
    set_with(FL_CONTAINER_OF(timer, struct probe, timer), 0, set_again_at_once);
}

/* A timer that sets itself with no delay runs once a turn, and such a turn does not wait. */
static void test_no_delay_is_the_next_turn(void **state)
{
    (void)state;
    struct probe probe = {0};
    set_with(&probe, 0, set_again_at_once);
    for (unsigned i = 1; i <= 10; i++) {
        assert_int_equal(fl_loop_turn(loop, 0), 0);
        assert_int_equal(probe.fired, i);
    }
    fl_timer_cancel(&probe.timer);
}

static void free_itself(struct fl_timer *timer)
{
    free(FL_CONTAINER_OF(timer, struct probe, timer));
    fired++;
}

static void test_callback_may_free_the_timer(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct probe *probe = calloc(1, sizeof(*probe));
        assert_non_null(probe);
        set_with(probe, (uint64_t)i, free_itself);
    }
    run_until(3);
}

static void test_thousands(void **state)
{
    (void)state;
    static struct probe probes[MANY];
    for (size_t i = 0; i < MANY; i++)
        set(&probes[i], 1 + i * 7919 % 97);
    for (size_t i = 0; i < MANY; i += 5)
        fl_timer_cancel(&probes[i].timer);
    run_until(MANY - MANY / 5);
    for (size_t i = 0; i < MANY; i++)
        assert_int_equal(probes[i].fired, i % 5 != 0);
}

/* The loop waits for a timer no longer than it must: the turn that the timer ends is not the long one. */
static void test_a_turn_ends_with_the_timer(void **state)
{
    (void)state;
    struct probe probe = {0};
    set(&probe, 8);
    uint64_t before_ns = clock_ns();
    while (fired == 0)
        assert_int_equal(fl_loop_turn(loop, 60000), 0);
    assert_true(clock_ns() - before_ns < UINT64_C(30000000000));
}

static void test_far_and_never(void **state)
{
    (void)state;
    struct probe far = {0};
    struct probe never = {0};
    struct probe soon = {0};
    set(&far, 86400000);
    set(&never, UINT64_MAX);
    set(&soon, 5);
    run_until(1);
    assert_true(fl_timer_is_set(&far.timer) && fl_timer_is_set(&never.timer));
    fl_timer_cancel(&far.timer);
    fl_timer_cancel(&never.timer);
}

int main(void)
{
#define WITH_LOOP(test) cmocka_unit_test_setup_teardown(test, open_loop, close_loop)
    const struct CMUnitTest tests[] = {
        WITH_LOOP(test_never_early_and_in_order),
        WITH_LOOP(test_set_again_moves),
        WITH_LOOP(test_cancel),
        WITH_LOOP(test_cancel_inside_a_callback),
        WITH_LOOP(test_no_delay_is_the_next_turn),
        WITH_LOOP(test_callback_may_free_the_timer),
        WITH_LOOP(test_thousands),
        WITH_LOOP(test_a_turn_ends_with_the_timer),
        WITH_LOOP(test_far_and_never),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
