/* Signals that the test raises itself; nothing else sends any. */
#include "common/loop/signal.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static struct fl_loop *loop;
static int numbers[8];
static size_t count;

static int open_loop(void **state)
{
    (void)state;
    count = 0;
    return fl_loop_new(&loop);
}

static int close_loop(void **state)
{
    (void)state;
    loop = fl_loop_free(loop);
    return 0;
}

static void note(struct fl_signals *signals, int number)
{
    (void)signals;
    numbers[count++ % FL_COUNT(numbers)] = number;
}

static void turn(void)
{
    assert_int_equal(fl_loop_turn(loop, 0), 0);
}

static void test_signals_are_events(void **state)
{
    (void)state;
    struct fl_signals signals;
    assert_int_equal(fl_signals_init(&signals, loop, (const int[]){SIGTERM, SIGHUP, 0}, note), 0);
    turn();
    assert_int_equal(count, 0);
    assert_int_equal(raise(SIGTERM), 0);
    turn();
    assert_int_equal(count, 1);
    assert_int_equal(numbers[0], SIGTERM);
    turn();
    assert_int_equal(count, 1);
    assert_int_equal(raise(SIGHUP), 0);
    assert_int_equal(raise(SIGTERM), 0);
    turn();
    turn();
    assert_int_equal(count, 3);
    assert_int_equal(numbers[1] + numbers[2], SIGHUP + SIGTERM);
    fl_signals_done(&signals);
    fl_signals_done(&signals);
}

static void test_broken_pipes_do_not_kill(void **state)
{
    (void)state;
    struct fl_signals signals;
    int ends[2];
    assert_int_equal(fl_signals_init(&signals, loop, (const int[]){SIGTERM, 0}, note), 0);
    assert_int_equal(pipe(ends), 0);
    close(ends[0]);
    assert_int_equal(write(ends[1], "x", 1), -1);
    assert_int_equal(errno, EPIPE);
    close(ends[1]);
    fl_signals_done(&signals);
}

static void free_itself(struct fl_signals *signals, int number)
{
    note(signals, number);
    fl_signals_done(signals);
    free(signals);
}

static void test_callback_may_free_the_signals(void **state)
{
    (void)state;
    struct fl_signals *signals = calloc(1, sizeof(*signals));
    assert_non_null(signals);
    assert_int_equal(fl_signals_init(signals, loop, (const int[]){SIGTERM, SIGHUP, 0}, free_itself), 0);
    assert_int_equal(raise(SIGTERM), 0);
    assert_int_equal(raise(SIGHUP), 0);
    turn();
    turn();
    assert_int_equal(count, 1);
    /* The other one is still pending and blocked: it must not end the next test. */
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGTERM);
    const struct timespec now = {0};
    while (sigtimedwait(&set, NULL, &now) > 0)
        continue;
}

static void test_a_wrong_number_is_refused(void **state)
{
    (void)state;
    struct fl_signals signals;
    sigset_t before;
    sigset_t after;
    assert_int_equal(pthread_sigmask(SIG_BLOCK, NULL, &before), 0);
    assert_int_equal(fl_signals_init(&signals, loop, (const int[]){SIGUSR1, 12345, 0}, note), -EINVAL);
    assert_int_equal(pthread_sigmask(SIG_BLOCK, NULL, &after), 0);
    assert_int_equal(sigismember(&before, SIGUSR1), sigismember(&after, SIGUSR1));
    fl_signals_done(&signals);
}

static void test_zeroed_may_be_done(void **state)
{
    (void)state;
    struct fl_signals signals = {0};
    fl_signals_done(&signals);
}

int main(void)
{
#define WITH_LOOP(test) cmocka_unit_test_setup_teardown(test, open_loop, close_loop)
    const struct CMUnitTest tests[] = {
        WITH_LOOP(test_signals_are_events),
        WITH_LOOP(test_broken_pipes_do_not_kill),
        WITH_LOOP(test_callback_may_free_the_signals),
        WITH_LOOP(test_a_wrong_number_is_refused),
        cmocka_unit_test(test_zeroed_may_be_done),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
