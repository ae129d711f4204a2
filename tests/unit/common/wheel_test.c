/* The wheel with a time of the test's own: centuries pass in milliseconds. */
#include "common/loop/wheel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define TIMERS 5000

struct probe {
    struct fl_timer timer;
    unsigned fired;
    uint64_t fired_ms;
};

static struct fl_wheel wheel;
static uint64_t now_ms;
static uint64_t last_deadline_tick;
static struct probe probes[TIMERS];

static uint64_t tick_of(uint64_t deadline_ms)
{
    return (deadline_ms + FL_WHEEL_TICK_MS - 1) / FL_WHEEL_TICK_MS;
}

static void on_due(struct fl_timer *timer)
{
    struct probe *probe = FL_CONTAINER_OF(timer, struct probe, timer);
    assert_true(now_ms >= timer->deadline_ms); /* never early */
    assert_true(tick_of(timer->deadline_ms) >= last_deadline_tick);
    last_deadline_tick = tick_of(timer->deadline_ms);
    probe->fired++;
    probe->fired_ms = now_ms;
}

static void set_at(struct probe *probe, uint64_t deadline_ms)
{
    *probe = (struct probe){.timer = {.on_due = on_due, .deadline_ms = deadline_ms}};
    fl_wheel_add(&wheel, &probe->timer);
}

static void start(uint64_t at_ms)
{
    now_ms = at_ms;
    last_deadline_tick = 0;
    fl_wheel_init(&wheel, at_ms);
}

static void run_at(uint64_t at_ms)
{
    now_ms = at_ms;
    last_deadline_tick = 0;
    fl_wheel_run(&wheel, at_ms);
}

/* Goes on as the loop does: from one time that the wheel names to the next. Returns the number of wake-ups. */
static unsigned run_all(void)
{
    unsigned wakes = 0;
    last_deadline_tick = 0;
    for (uint64_t next; (next = fl_wheel_next_ms(&wheel)) != UINT64_MAX; wakes++) {
        now_ms = next > now_ms ? next : now_ms;
        fl_wheel_run(&wheel, now_ms);
    }
    assert_int_equal(wheel.count, 0);
    return wakes;
}

static void test_empty_sleeps_for_ever(void **state)
{
    (void)state;
    start(12345);
    assert_true(fl_wheel_next_ms(&wheel) == UINT64_MAX);
    run_at(99999999);
    assert_true(fl_wheel_next_ms(&wheel) == UINT64_MAX);
}

/* Each delay alone, from several phases: in its own tick, not before, with few wake-ups. */
static void test_each_delay(void **state)
{
    (void)state;
    static const uint64_t starts[] = {0, 1, 3, 4, 255, 256, 16383, 1u << 20, UINT64_C(0xfffffffc), UINT64_C(1) << 40};
    static const uint64_t delays[] = {0,
                                      1,
                                      3,
                                      4,
                                      5,
                                      251,
                                      252,
                                      255,
                                      256,
                                      257,
                                      1000,
                                      4095,
                                      16383,
                                      16384,
                                      16385,
                                      1048575,
                                      1048576,
                                      67108863,
                                      67108864,
                                      86400000,
                                      4294967295,
                                      1u << 31,
                                      UINT64_C(1) << 33,
                                      UINT64_C(1) << 42};
    for (size_t s = 0; s < FL_COUNT(starts); s++) {
        for (size_t d = 0; d < FL_COUNT(delays); d++) {
            start(starts[s]);
            set_at(&probes[0], starts[s] + delays[d]);
            unsigned wakes = run_all();
            assert_int_equal(probes[0].fired, 1);
            assert_true(probes[0].fired_ms < starts[s] + delays[d] + FL_WHEEL_TICK_MS);
            assert_true(wakes <= FL_WHEEL_LEVELS);
        }
    }
}

/* The year 2500 has no timer of ours: it is clamped, stays set, and may be cancelled. */
static void test_never(void **state)
{
    (void)state;
    start(1000);
    set_at(&probes[0], UINT64_MAX);
    set_at(&probes[1], UINT64_MAX - 1);
    run_at(UINT64_C(1) << 42);
    assert_int_equal(probes[0].fired, 0);
    fl_wheel_remove(&wheel, &probes[0].timer);
    fl_wheel_remove(&wheel, &probes[1].timer);
    assert_true(fl_wheel_next_ms(&wheel) == UINT64_MAX);
}

static uint32_t random_state = 1;

static uint32_t random_below(uint32_t limit)
{
    random_state = random_state * 1664525 + 1013904223;
    return (random_state >> 4) % limit;
}

/* Delays of all magnitudes, time in steps of all sizes, some timers moved and some cancelled. */
static void test_thousands_against_their_deadlines(void **state)
{
    (void)state;
    start(777);
    for (size_t i = 0; i < TIMERS; i++)
        set_at(&probes[i], now_ms + random_below(1u << (1 + random_below(24))));
    for (size_t i = 0; i < TIMERS; i += 3) {
        fl_wheel_remove(&wheel, &probes[i].timer);
        if (i % 2 == 0)
            set_at(&probes[i], now_ms + random_below(1u << 20));
    }
    uint64_t at_ms = now_ms;
    while (wheel.count > 0) {
        uint64_t before_ms = at_ms;
        at_ms += 1 + random_below(1u << (1 + random_below(16)));
        run_at(at_ms);
        uint64_t done_tick = at_ms / FL_WHEEL_TICK_MS;
        for (size_t i = 0; i < TIMERS; i += 17) {
            bool cancelled = i % 3 == 0 && i % 2 == 1;
            bool due = !cancelled && tick_of(probes[i].timer.deadline_ms) <= done_tick;
            assert_int_equal(probes[i].fired, due);
            if (probes[i].fired && probes[i].fired_ms == at_ms)
                assert_true(tick_of(probes[i].timer.deadline_ms) >= before_ms / FL_WHEEL_TICK_MS);
        }
    }
    for (size_t i = 0; i < TIMERS; i++)
        assert_int_equal(probes[i].fired, !(i % 3 == 0 && i % 2 == 1));
}

static void test_sleeping_to_each_deadline(void **state)
{
    (void)state;
    start(5);
    for (size_t i = 0; i < TIMERS; i++)
        set_at(&probes[i], now_ms + random_below(1u << 24));
    assert_true(run_all() <= TIMERS * 4); /* delays of four digits: a wake-up a level */
    for (size_t i = 0; i < TIMERS; i++)
        assert_true(probes[i].fired == 1 && probes[i].fired_ms < probes[i].timer.deadline_ms + FL_WHEEL_TICK_MS);
}

/* A cancelled timer leaves no mark that would wake the process. */
static void test_cancelling_leaves_nothing(void **state)
{
    (void)state;
    start(0);
    for (size_t i = 0; i < TIMERS; i++)
        set_at(&probes[i], i * 977);
    for (size_t i = 0; i < TIMERS; i++)
        fl_wheel_remove(&wheel, &probes[(i * 1237) % TIMERS].timer);
    assert_int_equal(wheel.count, 0);
    assert_true(fl_wheel_next_ms(&wheel) == UINT64_MAX);
}

/* Due timers hang in a list with an end: it stays one whichever of them is taken out. */
static void test_cancelling_due_ones(void **state)
{
    (void)state;
    for (size_t out = 0; out < 3; out++) {
        start(100);
        for (size_t i = 0; i < 3; i++)
            set_at(&probes[i], 50);
        fl_wheel_remove(&wheel, &probes[out].timer);
        set_at(&probes[3], 50);
        run_at(100);
        for (size_t i = 0; i < 4; i++)
            assert_int_equal(probes[i].fired, i != out);
        assert_int_equal(wheel.count, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty_sleeps_for_ever),
        cmocka_unit_test(test_each_delay),
        cmocka_unit_test(test_never),
        cmocka_unit_test(test_thousands_against_their_deadlines),
        cmocka_unit_test(test_sleeping_to_each_deadline),
        cmocka_unit_test(test_cancelling_leaves_nothing),
        cmocka_unit_test(test_cancelling_due_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
