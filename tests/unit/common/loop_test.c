#include "common/loop/loop.h"

#include "common/loop/timer.h"
#include "tests/support/fail.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

/* One end of a socket pair on the loop, the other in the test's hand. */
struct end {
    struct fl_source source;
    struct fl_deferred deferred;
    struct fl_hook hook;
    int peer;
    unsigned calls;
    uint32_t events;
    struct end *sibling;
};

static struct fl_loop *loop;
static unsigned freed;

static int open_loop(void **state)
{
    (void)state;
    freed = 0;
    return fl_loop_new(&loop);
}

static int close_loop(void **state)
{
    (void)state;
    loop = fl_loop_free(loop);
    return 0;
}

static void note(struct fl_source *source, uint32_t events)
{
    struct end *end = FL_CONTAINER_OF(source, struct end, source);
    end->calls++;
    end->events = events;
}

static struct end *open_end(uint32_t events, void (*on_event)(struct fl_source *source, uint32_t events))
{
    int fds[2];
    struct end *end = calloc(1, sizeof(*end));
    assert_non_null(end);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    end->peer = fds[1];
    assert_int_equal(fl_source_add(loop, &end->source, fds[0], events, on_event), 0);
    return end;
}

static void free_end(struct fl_deferred *deferred)
{
    struct end *end = FL_CONTAINER_OF(deferred, struct end, deferred);
    memset(end, 0xa5, sizeof(*end));
    free(end);
    freed++;
}

static void close_end(struct end *end)
{
    fl_source_remove(&end->source);
    close(end->source.fd);
    close(end->peer);
    fl_loop_defer(loop, &end->deferred, free_end);
}

static void poke(const struct end *end)
{
    assert_int_equal(write(end->peer, "x", 1), 1);
}

static void turn(void)
{
    assert_int_equal(fl_loop_turn(loop, 0), 0);
}

static void test_events_come(void **state)
{
    (void)state;
    struct end *end = open_end(EPOLLIN, note);
    turn();
    assert_int_equal(end->calls, 0);
    poke(end);
    turn();
    assert_int_equal(end->calls, 1);
    assert_int_equal(end->events, EPOLLIN);
    turn(); /* level-triggered: nobody has read it */
    assert_int_equal(end->calls, 2);
    close_end(end);
}

static void test_edge_triggered_comes_once(void **state)
{
    (void)state;
    struct end *end = open_end(EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, note);
    turn();
    assert_int_equal(end->events, EPOLLOUT);
    turn();
    assert_int_equal(end->calls, 1);
    poke(end);
    turn();
    assert_int_equal(end->calls, 2);
    assert_true(end->events & EPOLLIN);
    turn();
    assert_int_equal(end->calls, 2);
    poke(end);
    turn();
    assert_int_equal(end->calls, 3);
    assert_int_equal(shutdown(end->peer, SHUT_WR), 0);
    turn();
    assert_true(end->events & EPOLLRDHUP);
    close_end(end);
}

static void test_modify(void **state)
{
    (void)state;
    struct end *end = open_end(EPOLLIN, note);
    poke(end);
    assert_int_equal(fl_source_modify(&end->source, 0), 0);
    turn();
    assert_int_equal(end->calls, 0);
    assert_int_equal(fl_source_modify(&end->source, EPOLLOUT), 0);
    turn();
    assert_int_equal(end->events, EPOLLOUT);
    close_end(end);
}

static void test_add_fails_whole(void **state)
{
    (void)state;
    struct fl_source source = {0};
    int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(fl_source_add(loop, &source, fd, EPOLLIN, note), -EPERM);
    close(fd);
    assert_int_equal(fl_source_add(loop, &source, -1, EPOLLIN, note), -EBADF);
    assert_null(source.loop);
    fl_source_remove(&source);
}

static void close_itself(struct fl_source *source, uint32_t events)
{
    note(source, events);
    struct end *end = FL_CONTAINER_OF(source, struct end, source);
    close_end(end);
    assert_int_equal(freed, 0); /* what the callback still names is there */
    assert_int_equal(end->calls, 1);
}

static void test_destroy_in_own_callback(void **state)
{
    (void)state;
    poke(open_end(EPOLLIN, close_itself));
    turn();
    assert_int_equal(freed, 1);
}

static struct end *survivor;

static void close_sibling(struct fl_source *source, uint32_t events)
{
    note(source, events);
    survivor = FL_CONTAINER_OF(source, struct end, source);
    if (survivor->sibling != NULL)
        close_end(fl_take(survivor->sibling));
}

/* Both have an event in the same turn; whichever comes first destroys the other, whose event is fetched already. */
static void test_destroy_a_sibling(void **state)
{
    (void)state;
    struct end *a = open_end(EPOLLIN, close_sibling);
    struct end *b = open_end(EPOLLIN, close_sibling);
    a->sibling = b;
    b->sibling = a;
    poke(a);
    poke(b);
    turn();
    assert_int_equal(freed, 1);
    assert_int_equal(survivor->calls, 1);
    close_end(survivor);
}

static void close_all_others(struct fl_source *source, uint32_t events)
{
    note(source, events);
    struct end *end = FL_CONTAINER_OF(source, struct end, source);
    if (survivor == NULL)
        survivor = end;
    assert_ptr_equal(survivor, end);
    while (end->sibling != NULL) {
        struct end *other = end->sibling;
        end->sibling = other->sibling != end ? other->sibling : NULL;
        close_end(other);
    }
}

/* A ring of a hundred: the first to be called destroys all others. */
static void test_destroy_all_siblings(void **state)
{
    (void)state;
    struct end *ends[100];
    survivor = NULL;
    for (size_t i = 0; i < FL_COUNT(ends); i++)
        ends[i] = open_end(EPOLLIN, close_all_others);
    for (size_t i = 0; i < FL_COUNT(ends); i++) {
        ends[i]->sibling = ends[(i + 1) % FL_COUNT(ends)];
        poke(ends[i]);
    }
    turn();
    assert_int_equal(freed, FL_COUNT(ends) - 1);
    assert_int_equal(survivor->calls, 1);
    close_end(survivor);
}

static void replace_sibling(struct fl_source *source, uint32_t events)
{
    note(source, events);
    struct end *end = FL_CONTAINER_OF(source, struct end, source);
    struct end *other = end->sibling;
    if (other == NULL)
        return;
    /* The same source, registered anew for a descriptor of the same number. */
    other->sibling = NULL;
    fl_source_remove(&other->source);
    int fd = dup(end->source.fd);
    assert_true(fd >= 0);
    assert_int_equal(dup3(fd, other->source.fd, O_CLOEXEC), other->source.fd);
    close(fd);
    assert_int_equal(fl_source_add(loop, &other->source, other->source.fd, EPOLLIN, note), 0);
    end->sibling = NULL;
}

static void test_fetched_event_does_not_reach_a_new_registration(void **state)
{
    (void)state;
    struct end *a = open_end(EPOLLIN, replace_sibling);
    struct end *b = open_end(EPOLLIN, replace_sibling);
    a->sibling = b;
    b->sibling = a;
    poke(a);
    poke(b);
    turn();
    assert_int_equal(a->calls + b->calls, 1);
    close_end(a);
    close_end(b);
}

static void test_remove_is_idempotent(void **state)
{
    (void)state;
    struct fl_source zeroed = {0};
    fl_source_remove(&zeroed);
    struct end *end = open_end(EPOLLIN, note);
    fl_source_remove(&end->source);
    poke(end);
    turn();
    assert_int_equal(end->calls, 0);
    close_end(end);
}

struct step {
    struct fl_deferred deferred;
    struct fl_hook hook;
    unsigned runs;
    unsigned again; /* how often it defers or arms itself once more */
};

static void defer_again(struct fl_deferred *deferred)
{
    struct step *step = FL_CONTAINER_OF(deferred, struct step, deferred);
    step->runs++;
    if (step->again > 0) {
        step->again--;
        fl_loop_defer(loop, &step->deferred, defer_again);
    }
}

static void test_deferred_again_runs_in_the_next_turn(void **state)
{
    (void)state;
    struct step step = {.again = 2};
    fl_loop_defer(loop, &step.deferred, defer_again);
    assert_int_equal(step.runs, 0);
    for (unsigned i = 1; i <= 3; i++) {
        assert_int_equal(fl_loop_turn(loop, -1), 0); /* does not wait */
        assert_int_equal(step.runs, i);
    }
}

static void test_free_runs_what_is_deferred(void **state)
{
    (void)state;
    struct step step = {.again = 5};
    struct fl_loop *own = loop;
    fl_loop_defer(loop, &step.deferred, defer_again);
    fl_loop_free(own);
    assert_int_equal(step.runs, 6);
    assert_int_equal(fl_loop_new(&loop), 0);
}

static void arm_again(struct fl_hook *hook)
{
    struct step *step = FL_CONTAINER_OF(hook, struct step, hook);
    step->runs++;
    if (step->again > 0) {
        step->again--;
        fl_hook_arm(loop, hook);
    }
}

static void test_hook_runs_once_a_turn(void **state)
{
    (void)state;
    struct step step = {.hook.run = arm_again};
    fl_hook_arm(loop, &step.hook);
    fl_hook_arm(loop, &step.hook);
    turn();
    assert_int_equal(step.runs, 1);
    turn();
    assert_int_equal(step.runs, 1);
}

static void test_hook_again_is_bounded(void **state)
{
    (void)state;
    struct step step = {.hook.run = arm_again, .again = 39};
    fl_hook_arm(loop, &step.hook);
    turn();
    assert_int_equal(step.runs, 16);
    assert_int_equal(fl_loop_turn(loop, -1), 0); /* does not wait */
    assert_int_equal(step.runs, 32);
    turn();
    assert_int_equal(step.runs, 40);
}

static struct step *ran[8];
static size_t ran_count;

static void note_hook(struct fl_hook *hook)
{
    ran[ran_count++] = FL_CONTAINER_OF(hook, struct step, hook);
}

static void test_hooks_run_in_order_and_may_be_disarmed(void **state)
{
    (void)state;
    struct step steps[5] = {0};
    ran_count = 0;
    for (size_t i = 0; i < 5; i++) {
        steps[i].hook.run = note_hook;
        fl_hook_arm(loop, &steps[i].hook);
    }
    fl_hook_disarm(&steps[0].hook);
    fl_hook_disarm(&steps[2].hook);
    fl_hook_disarm(&steps[2].hook);
    turn();
    assert_int_equal(ran_count, 3);
    assert_ptr_equal(ran[0], &steps[1]);
    assert_ptr_equal(ran[1], &steps[3]);
    assert_ptr_equal(ran[2], &steps[4]);
}

static struct step *victim;

static void disarm_victim(struct fl_hook *hook)
{
    note_hook(hook);
    fl_hook_disarm(&victim->hook);
}

static void test_hook_disarms_one_of_its_round(void **state)
{
    (void)state;
    struct step steps[3] = {{.hook.run = disarm_victim}, {.hook.run = note_hook}, {.hook.run = note_hook}};
    ran_count = 0;
    victim = &steps[1];
    for (size_t i = 0; i < 3; i++)
        fl_hook_arm(loop, &steps[i].hook);
    turn();
    assert_int_equal(ran_count, 2);
    assert_ptr_equal(ran[1], &steps[2]);
}

/* Events, timers, hooks, deferred: the order of a turn. */
static char trace[16];

static void trace_byte(char byte)
{
    size_t len = strlen(trace);
    trace[len] = byte;
    trace[len + 1] = '\0';
}

static void trace_deferred(struct fl_deferred *deferred)
{
    (void)deferred;
    trace_byte('d');
}

static void trace_hook(struct fl_hook *hook)
{
    (void)hook;
    trace_byte('h');
}

static void trace_timer(struct fl_timer *timer)
{
    (void)timer;
    trace_byte('t');
}

static void trace_event(struct fl_source *source, uint32_t events)
{
    struct end *end = FL_CONTAINER_OF(source, struct end, source);
    (void)events;
    trace_byte('e');
    fl_loop_defer(loop, &end->deferred, trace_deferred);
    end->hook.run = trace_hook;
    fl_hook_arm(loop, &end->hook);
}

static void test_order_of_a_turn(void **state)
{
    (void)state;
    struct fl_timer timer = {0};
    struct end *end = open_end(EPOLLIN | EPOLLET, trace_event);
    trace[0] = '\0';
    fl_timer_set(loop, &timer, 0, trace_timer);
    poke(end);
    turn();
    assert_string_equal(trace, "ethd");
    close_end(end);
}

static void stop(struct fl_source *source, uint32_t events)
{
    note(source, events);
    fl_loop_stop(loop, 7);
}

static void test_run_and_stop(void **state)
{
    (void)state;
    struct end *end = open_end(EPOLLIN, stop);
    poke(end);
    assert_int_equal(fl_loop_run(loop), 7);
    assert_int_equal(fl_loop_run(loop), 7); /* runs anew, and is stopped anew */
    assert_int_equal(end->calls, 2);
    fl_loop_stop(loop, 3);
    assert_int_equal(fl_loop_run(loop), 3);
    assert_int_equal(end->calls, 2);
    close_end(end);
}

static void test_more_events_than_one_wait_fetches(void **state)
{
    (void)state;
    struct end *ends[300];
    for (size_t i = 0; i < FL_COUNT(ends); i++) {
        ends[i] = open_end(EPOLLIN | EPOLLET, note);
        poke(ends[i]);
    }
    for (int i = 0; i < 3; i++)
        turn();
    for (size_t i = 0; i < FL_COUNT(ends); i++) {
        assert_int_equal(ends[i]->calls, 1);
        close_end(ends[i]);
    }
}

static void test_each_allocation_failing(void **state)
{
    (void)state;
    FAIL_EACH_ALLOCATION
    {
        struct fl_loop *made = NULL;
        int result = fl_loop_new(&made);
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
        assert_int_equal(made == NULL, fail_happened());
        fl_loop_free(made);
    }
}

int main(void)
{
#define WITH_LOOP(test) cmocka_unit_test_setup_teardown(test, open_loop, close_loop)
    const struct CMUnitTest tests[] = {
        WITH_LOOP(test_events_come),
        WITH_LOOP(test_edge_triggered_comes_once),
        WITH_LOOP(test_modify),
        WITH_LOOP(test_add_fails_whole),
        WITH_LOOP(test_destroy_in_own_callback),
        WITH_LOOP(test_destroy_a_sibling),
        WITH_LOOP(test_destroy_all_siblings),
        WITH_LOOP(test_fetched_event_does_not_reach_a_new_registration),
        WITH_LOOP(test_remove_is_idempotent),
        WITH_LOOP(test_deferred_again_runs_in_the_next_turn),
        WITH_LOOP(test_free_runs_what_is_deferred),
        WITH_LOOP(test_hook_runs_once_a_turn),
        WITH_LOOP(test_hook_again_is_bounded),
        WITH_LOOP(test_hooks_run_in_order_and_may_be_disarmed),
        WITH_LOOP(test_hook_disarms_one_of_its_round),
        WITH_LOOP(test_order_of_a_turn),
        WITH_LOOP(test_run_and_stop),
        WITH_LOOP(test_more_events_than_one_wait_fetches),
        cmocka_unit_test(test_each_allocation_failing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
