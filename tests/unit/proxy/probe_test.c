/* proxy/admin/probe: the start gate, with a stand-in for the netns's rules: the dials go nowhere here, so the test
 * plays the worker that they would come to. */
#include "common/mesh/port.h"
#include "proxy/admin/probe.h"

#include "tests/support/emulation.h"
#include "tests/support/fail.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

struct told {
    unsigned waiting, open;
    char reason[512];
};

static void on_state(void *owner, enum proxy_gate_state state, const char *reason)
{
    struct told *told = owner;
    if (state == PROXY_GATE_WAITING) {
        told->waiting++;
        snprintf(told->reason, sizeof(told->reason), "%s", reason);
    } else {
        assert_int_equal(state, PROXY_GATE_OPEN);
        assert_null(reason);
        told->open++;
    }
}

struct fixture {
    struct fl_loop *loop;
    struct proxy_gate *gate;
    struct told told;
};

static void begin_for(struct fixture *fixture, bool wait, bool ipv4_only)
{
    *fixture = (struct fixture){0};
    assert_int_equal(fl_loop_new(&fixture->loop), 0);
    const struct proxy_gate_options options = {
        .loop = fixture->loop, .wait = wait, .ipv4_only = ipv4_only, .on_state = on_state, .owner = &fixture->told};
    assert_int_equal(proxy_gate_new(&options, &fixture->gate), 0);
}

static void begin(struct fixture *fixture, bool wait)
{
    begin_for(fixture, wait, false);
}

static void end(struct fixture *fixture)
{
    fixture->gate = proxy_gate_free(fixture->gate);
    fixture->loop = fl_loop_free(fixture->loop);
}

static struct proxy_address address(const char *text, uint16_t port)
{
    struct proxy_address result;
    assert_int_equal(proxy_address_parse(fl_span_str(text), port, &result), 0);
    return result;
}

static bool has_ipv6(void)
{
    struct proxy_address loopback = address("::1", 0);
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool there = fd >= 0 && bind(fd, &loopback.any, proxy_address_size(&loopback)) == 0;
    if (fd >= 0)
        close(fd);
    return there;
}

/* Reports an arrival from every port that may be a dial's: what the worker does once, for the one that came. */
static bool arrive(struct proxy_gate *gate, const char *peer, const char *original)
{
    struct proxy_address to = address(original, FL_PORT_PROBE);
    bool known = false;
    for (unsigned port = 1; port <= UINT16_MAX; port++) {
        struct proxy_address from = address(peer, (uint16_t)port);
        known = proxy_gate_arrived(gate, &from, &to) || known;
    }
    return known;
}

static void turn_until(struct fixture *fixture, const bool *done, unsigned turns)
{
    for (unsigned i = 0; i < turns && (done == NULL || !*done); i++)
        fl_loop_turn(fixture->loop, 50);
}

static void test_without_capture_there_is_no_gate(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture, false);
    assert_int_equal(proxy_gate_state(fixture.gate), PROXY_GATE_OFF);
    assert_true(proxy_gate_is_open(fixture.gate));
    assert_true(proxy_gate_is_open(NULL));
    fl_loop_turn(fixture.loop, 0);
    assert_false(arrive(fixture.gate, "127.0.0.1", FL_PASSTHROUGH_IPV4));
    end(&fixture);
}

static void test_opens_when_every_family_came_back(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture, true);
    assert_int_equal(proxy_gate_state(fixture.gate), PROXY_GATE_WAITING);
    assert_false(proxy_gate_is_open(fixture.gate));
    assert_false(arrive(fixture.gate, "127.0.0.1", FL_PASSTHROUGH_IPV4)); /* nothing was dialled yet */
    fl_loop_turn(fixture.loop, 50);
    assert_true(arrive(fixture.gate, "127.0.0.1", FL_PASSTHROUGH_IPV4));
    fl_loop_turn(fixture.loop, 0);
    if (has_ipv6()) {
        assert_false(proxy_gate_is_open(fixture.gate));
        assert_true(arrive(fixture.gate, "::1", FL_PASSTHROUGH_IPV6));
        fl_loop_turn(fixture.loop, 0);
    }
    assert_int_equal(proxy_gate_state(fixture.gate), PROXY_GATE_OPEN);
    assert_int_equal(fixture.told.open, 1);
    if (emulation_patience() == 1) /* who waits for long says so */
        assert_int_equal(fixture.told.waiting, 0);
    arrive(fixture.gate, "127.0.0.1", FL_PASSTHROUGH_IPV4); /* a late one changes nothing */
    fl_loop_turn(fixture.loop, 0);
    assert_int_equal(fixture.told.open, 1);
    end(&fixture);
}

static void test_ipv6_that_is_not_captured_is_not_waited_for(void **state)
{
    (void)state;
    struct fixture fixture;
    begin_for(&fixture, true, true);
    fl_loop_turn(fixture.loop, 50);
    assert_false(arrive(fixture.gate, "::1", FL_PASSTHROUGH_IPV6)); /* it was not dialled */
    fl_loop_turn(fixture.loop, 0);
    assert_false(proxy_gate_is_open(fixture.gate));
    assert_true(arrive(fixture.gate, "127.0.0.1", FL_PASSTHROUGH_IPV4));
    fl_loop_turn(fixture.loop, 0);
    assert_true(proxy_gate_is_open(fixture.gate));
    end(&fixture);
}

/* The first dial comes before there is a listener: the next need not wait for its interval. */
static void test_dials_at_once_when_asked(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture, true);
    proxy_gate_dial(fixture.gate); /* it will anyway */
    fl_loop_turn(fixture.loop, 50);
    uint64_t begin_ms = fl_loop_now_ms(fixture.loop);
    fl_loop_turn(fixture.loop, 0);
    proxy_gate_dial(fixture.gate);
    fl_loop_turn(fixture.loop, PROXY_GATE_RETRY_MS); /* the dial is due: the turn does not wait for the interval */
    assert_true(fl_loop_now_ms(fixture.loop) - begin_ms < PROXY_GATE_RETRY_MS);
    assert_true(arrive(fixture.gate, "127.0.0.1", FL_PASSTHROUGH_IPV4));
    if (has_ipv6())
        assert_true(arrive(fixture.gate, "::1", FL_PASSTHROUGH_IPV6));
    fl_loop_turn(fixture.loop, 0);
    assert_true(proxy_gate_is_open(fixture.gate));
    proxy_gate_dial(fixture.gate); /* it is open for good */
    proxy_gate_dial(NULL);
    fl_loop_turn(fixture.loop, 0);
    assert_int_equal(fixture.told.open, 1);
    end(&fixture);
}

static void test_strangers_do_not_open_it(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture, true);
    fl_loop_turn(fixture.loop, 50);
    struct proxy_address elsewhere = address("127.0.0.6", 80), probe = address(FL_PASSTHROUGH_IPV4, FL_PORT_PROBE);
    for (unsigned port = 1; port <= UINT16_MAX; port++) {
        struct proxy_address peer = address("127.0.0.1", (uint16_t)port), other = address("::1", (uint16_t)port);
        assert_false(proxy_gate_arrived(fixture.gate, &peer, &elsewhere)); /* not the probe's destination */
        assert_false(proxy_gate_arrived(fixture.gate, &other, &probe));    /* another family */
    }
    struct proxy_address zero = address("127.0.0.1", 0);
    assert_false(proxy_gate_arrived(fixture.gate, &zero, &probe));
    assert_false(proxy_gate_arrived(NULL, &zero, &probe));
    fl_loop_turn(fixture.loop, 0);
    assert_false(proxy_gate_is_open(fixture.gate));
    end(&fixture);
}

static void test_waiting_is_told_once(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture, true);
    uint64_t start = 0;
    for (unsigned i = 0; i < 100 && fixture.told.waiting == 0; i++) {
        fl_loop_turn(fixture.loop, 100);
        start = start == 0 ? fl_loop_now_ms(fixture.loop) : start;
    }
    assert_int_equal(fixture.told.waiting, 1);
    assert_true(fl_loop_now_ms(fixture.loop) - start >= 400);
    assert_non_null(strstr(fixture.told.reason, "127.0.0.6:15002 does not come back to port 15001"));
    turn_until(&fixture, NULL, 5);
    assert_int_equal(fixture.told.waiting, 1);
    end(&fixture);
}

static void *worker(void *gate)
{
    return arrive(gate, "127.0.0.1", FL_PASSTHROUGH_IPV4) ? gate : NULL;
}

static void test_a_worker_reports_from_its_thread(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture, true);
    fl_loop_turn(fixture.loop, 50);
    pthread_t thread;
    void *known;
    assert_int_equal(pthread_create(&thread, NULL, worker, fixture.gate), 0);
    assert_int_equal(pthread_join(thread, &known), 0);
    assert_ptr_equal(known, fixture.gate);
    if (!has_ipv6()) {
        fl_loop_turn(fixture.loop, 1000);
        assert_true(proxy_gate_is_open(fixture.gate));
    }
    end(&fixture);
}

static size_t open_descriptors(void)
{
    size_t count = 0;
    DIR *folder = opendir("/proc/self/fd");
    assert_non_null(folder);
    while (readdir(folder) != NULL)
        count++;
    closedir(folder);
    return count;
}

static void test_leaves_nothing_behind(void **state)
{
    (void)state;
    size_t before = open_descriptors();
    struct fixture fixture;
    begin(&fixture, true);
    turn_until(&fixture, NULL, 10);
    end(&fixture);
    assert_int_equal(open_descriptors(), before);
}

static void test_memory_running_out(void **state)
{
    (void)state;
    struct fl_loop *loop;
    assert_int_equal(fl_loop_new(&loop), 0);
    FAIL_EACH_ALLOCATION
    {
        struct proxy_gate *gate = NULL;
        const struct proxy_gate_options options = {.loop = loop, .wait = true};
        int result = proxy_gate_new(&options, &gate);
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
        proxy_gate_free(gate);
    }
    fl_loop_free(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_capture_there_is_no_gate),
        cmocka_unit_test(test_opens_when_every_family_came_back),
        cmocka_unit_test(test_ipv6_that_is_not_captured_is_not_waited_for),
        cmocka_unit_test(test_dials_at_once_when_asked),
        cmocka_unit_test(test_strangers_do_not_open_it),
        cmocka_unit_test(test_waiting_is_told_once),
        cmocka_unit_test(test_a_worker_reports_from_its_thread),
        cmocka_unit_test(test_leaves_nothing_behind),
        cmocka_unit_test(test_memory_running_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
