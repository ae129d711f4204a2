/* proxy/config/whereabouts: lists, connections to addresses and to names, names that nobody answers, cancelling,
 * memory. Names are those of /etc/hosts, and those that nobody knows: DNS servers are for the integration test. */
#include "proxy/config/whereabouts.h"

#include "tests/support/fail.h"

#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static struct world {
    struct fl_loop *loop;
    struct fl_grpc_client *client;
    struct proxy_whereabouts *whereabouts;
    int listener;
    uint16_t port;
    int failures, losses;
    struct fl_err last;
} world;

static void on_failed(void *owner, const struct fl_err *reason)
{
    (void)owner;
    world.failures++;
    world.last = *reason;
}

static void on_lost(void *owner, const struct fl_err *reason)
{
    (void)owner;
    world.losses++;
    world.last = *reason;
}

static const struct fl_grpc_client_ops ops = {.on_lost = on_lost};

static int make(const char *places, struct proxy_whereabouts **ret_whereabouts, struct fl_err *err)
{
    const struct proxy_whereabouts_options options = {.loop = world.loop,
                                                      .places = fl_span_str(places),
                                                      .resolv_conf = "/nonexistent/resolv.conf",
                                                      .on_failed = on_failed,
                                                      .owner = &world};
    return proxy_whereabouts_new(&options, ret_whereabouts, err);
}

static int setup(void **state)
{
    (void)state;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(address);
    const struct fl_grpc_client_options options = {.authority = FL_SPAN("control"), .connect_timeout_ms = 2000};
    memset(&world, 0, sizeof(world));
    assert_int_equal(fl_loop_new(&world.loop), 0);
    world.listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(world.listener, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(world.listener, 8), 0);
    assert_int_equal(getsockname(world.listener, (struct sockaddr *)&address, &size), 0);
    world.port = ntohs(address.sin_port);
    assert_int_equal(fl_grpc_client_new(world.loop, &options, &ops, &world, &world.client, NULL), 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    proxy_whereabouts_free(world.whereabouts);
    fl_grpc_client_free(world.client);
    fl_loop_free(world.loop);
    close(world.listener);
    return 0;
}

/* The port of the listener comes behind. */
static void start(const char *before_port)
{
    char places[128];
    struct fl_err err = {0};
    snprintf(places, sizeof(places), "%s:%u", before_port, world.port);
    if (make(places, &world.whereabouts, &err) != 0)
        fail_msg("%s", err.text);
    assert_true(fl_span_eq_str(proxy_whereabouts_text(world.whereabouts), places));
    assert_int_equal(proxy_whereabouts_connect(world.whereabouts, world.client), 0);
}

static void wait_for_connection(void)
{
    int fd = -1;
    for (int i = 0; i < 200 && fd < 0; i++) {
        assert_int_equal(fl_loop_turn(world.loop, 50), 0);
        fd = accept(world.listener, NULL, NULL);
    }
    assert_true(fd >= 0);
    close(fd);
}

static void wait_for_failure(void)
{
    for (int i = 0; i < 400 && world.failures == 0; i++)
        assert_int_equal(fl_loop_turn(world.loop, 50), 0);
    assert_int_equal(world.failures, 1);
}

static void table_of_refused(void **state)
{
    (void)state;
    static const struct {
        const char *places, *reason;
    } rows[] = {
        {"", "expected IP:port"},
        {"1.1.1.1:1,1.1.1.1:1,1.1.1.1:1,1.1.1.1:1,1.1.1.1:1,1.1.1.1:1,1.1.1.1:1,1.1.1.1:1,1.1.1.1:1,1.1.1.1:1,"
         "1.1.1.1:1,1.1.1.1:1,1.1.1.1:1,1.1.1.1:1,1.1.1.1:1,1.1.1.1:1,1.1.1.1:1",
         "expected 1 to 16 places"},
        {"1.1.1.1:1,control", "\"control\": expected IP:port"},
        {"control:0", "\"control:0\": expected IP:port"},
        {"1.1.1.1:1,,2.2.2.2:2", "\"\": expected IP:port"},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct proxy_whereabouts *whereabouts;
        struct fl_err err = {0};
        assert_int_equal(make(rows[i].places, &whereabouts, &err), -EINVAL);
        if (strstr(err.text, rows[i].reason) == NULL)
            fail_msg("row %zu: %s", i, err.text);
    }
}

static void an_address(void **state)
{
    (void)state;
    start("127.0.0.1");
    assert_int_equal(fl_grpc_client_state(world.client), FL_GRPC_CLIENT_CONNECTING);
    wait_for_connection();
}

static void a_name(void **state)
{
    (void)state;
    start("localhost");
    assert_int_equal(proxy_whereabouts_connect(world.whereabouts, world.client), -EALREADY);
    wait_for_connection();
    fl_grpc_client_close(world.client);
    assert_int_equal(proxy_whereabouts_connect(world.whereabouts, world.client), 0); /* again, later */
    wait_for_connection();
    assert_int_equal(world.failures, 0);
}

static void a_name_that_nobody_knows(void **state)
{
    (void)state;
    start("nowhere.invalid");
    wait_for_failure();
    assert_non_null(strstr(world.last.text, "nowhere.invalid: "));
    assert_int_equal(fl_grpc_client_state(world.client), FL_GRPC_CLIENT_IDLE);
}

static void one_of_two(void **state)
{
    (void)state;
    start("nowhere.invalid:1, 127.0.0.1");
    wait_for_connection();
    assert_int_equal(world.failures, 0);
}

static void cancelled(void **state)
{
    (void)state;
    start("localhost");
    proxy_whereabouts_cancel(world.whereabouts);
    proxy_whereabouts_cancel(world.whereabouts);
    for (int i = 0; i < 5; i++)
        assert_int_equal(fl_loop_turn(world.loop, 10), 0);
    assert_int_equal(accept(world.listener, NULL, NULL), -1);
    assert_int_equal(world.failures + world.losses, 0);
    assert_int_equal(proxy_whereabouts_connect(world.whereabouts, world.client), 0);
    wait_for_connection();
}

static void freed_while_it_looks(void **state)
{
    (void)state;
    start("localhost");
    world.whereabouts = proxy_whereabouts_free(world.whereabouts);
    for (int i = 0; i < 5; i++)
        assert_int_equal(fl_loop_turn(world.loop, 10), 0);
    assert_int_equal(world.failures + world.losses, 0);
}

static void when_memory_runs_out(void **state)
{
    (void)state;
    FAIL_EACH_ALLOCATION
    {
        struct proxy_whereabouts *whereabouts = NULL;
        int result = make("localhost:1,127.0.0.1:1", &whereabouts, NULL);
        if (result == 0)
            result = proxy_whereabouts_connect(whereabouts, world.client);
        fail_stop();
        assert_true(result == 0 || fail_happened());
        proxy_whereabouts_free(whereabouts);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(table_of_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(an_address, setup, teardown),
        cmocka_unit_test_setup_teardown(a_name, setup, teardown),
        cmocka_unit_test_setup_teardown(a_name_that_nobody_knows, setup, teardown),
        cmocka_unit_test_setup_teardown(one_of_two, setup, teardown),
        cmocka_unit_test_setup_teardown(cancelled, setup, teardown),
        cmocka_unit_test_setup_teardown(freed_while_it_looks, setup, teardown),
        cmocka_unit_test_setup_teardown(when_memory_runs_out, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
