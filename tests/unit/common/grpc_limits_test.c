/* Server and client against raw sockets: time limits, connections, peers that are silent, slow or gone. */
#include "common/grpc/client.h"

#include "common/grpc/server.h"
#include "tests/support/emulation.h"
#include "tests/unit/common/grpc_world.h"
#include "tests/unit/common/h2_raw.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/socket.h>

#include <cmocka.h>

static struct grpc_world world;
static struct grpc_ear ear;
static struct fl_buf bytes; /* what a test sends */

static int set_up(void **state)
{
    (void)state;
    world = (struct grpc_world){0};
    grpc_ear_init(&ear);
    fl_buf_init(&bytes, 1u << 20);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    grpc_ear_done(&ear);
    fl_buf_done(&bytes);
    return 0;
}

static int raw_connect(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, &world.address.any, fl_grpc_address_size(&world.address)), 0);
    return fd;
}

/* Sends what is in `bytes`. */
static void raw_send(int fd)
{
    assert_int_equal(send(fd, bytes.data, bytes.len, MSG_NOSIGNAL), bytes.len);
    fl_buf_clear(&bytes);
}

/* Turns until the server closes the connection; what it sent is dropped. */
static void raw_until_closed(int fd)
{
    char scratch[4096];
    for (unsigned i = 0; i < 2000; i++) {
        ssize_t count = recv(fd, scratch, sizeof(scratch), MSG_DONTWAIT);
        if (count == 0 || (count < 0 && errno != EAGAIN)) {
            close(fd);
            return;
        }
        grpc_world_turns(&world, 1);
    }
    fail_msg("the server keeps the connection");
}

static void test_handshake_timeout(void **state)
{
    (void)state;
    const struct fl_grpc_server_options options = {.handshake_timeout_ms = 40};
    grpc_world_init(&world, &options, NULL);
    int silent = raw_connect(), half = raw_connect();
    assert_int_equal(fl_buf_append_str(&bytes, "PRI * HTTP/2.0\r\n\r\n"), 0);
    raw_send(half);
    grpc_world_until(&world, &world.refused[FL_GRPC_REFUSAL_HANDSHAKE], 2);
    raw_until_closed(silent);
    raw_until_closed(half);
    grpc_world_done(&world);
}

static void test_no_http2(void **state)
{
    (void)state;
    grpc_world_init(&world, NULL, NULL);
    int fd = raw_connect();
    assert_int_equal(fl_buf_append_str(&bytes, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"), 0);
    raw_send(fd);
    grpc_world_until(&world, &world.refused[FL_GRPC_REFUSAL_PROTOCOL], 1);
    raw_until_closed(fd);
    grpc_world_done(&world);
}

static void test_idle(void **state)
{
    (void)state;
    SKIP_UNDER_EMULATION("a connection that takes longer to be made than the 60 ms it may be idle");
    const struct fl_grpc_server_options options = {.idle_timeout_ms = 60};
    struct fl_grpc_call *call;
    grpc_world_init(&world, &options, NULL);
    grpc_world_connect(&world);
    assert_int_equal(grpc_world_start(&world, "/t.S/Silent", &ear, &call), 0);
    grpc_world_pass(&world, 150);
    assert_int_equal(world.lost, 0);
    fl_grpc_call_cancel(call);
    grpc_world_until(&world, &world.lost, 1);
    assert_non_null(strstr(world.reason.text, "the server is going away"));
    grpc_world_until(&world, &world.refused[FL_GRPC_REFUSAL_IDLE], 1);
    grpc_world_done(&world);
}

static void test_dead_client(void **state)
{
    (void)state;
    const struct fl_grpc_server_options options = {.keepalive_ms = 30, .keepalive_timeout_ms = 30};
    grpc_world_init(&world, &options, NULL);
    int fd = raw_connect();
    h2_raw_preface(&bytes);
    h2_raw_request(&bytes, 1, "/t.S/Silent");
    raw_send(fd);
    grpc_world_until(&world, &world.refused[FL_GRPC_REFUSAL_DEAD], 1);
    assert_int_equal(world.closed, 1);
    raw_until_closed(fd);
    grpc_world_done(&world);
}

/* A client that answers is alive. */
static void test_keepalive(void **state)
{
    (void)state;
    const struct fl_grpc_server_options server = {.keepalive_ms = 20, .keepalive_timeout_ms = 2000};
    const struct fl_grpc_client_options client = {.keepalive_ms = 20, .keepalive_timeout_ms = 2000};
    grpc_world_init(&world, &server, &client);
    grpc_world_connect(&world);
    grpc_world_pass(&world, 200);
    assert_int_equal(world.lost, 0);
    grpc_world_done(&world);
}

static void test_slow_reader(void **state)
{
    (void)state;
    const struct fl_grpc_server_options options = {.slow_timeout_ms = 80};
    world.source_count = 100;
    world.source_size = 1u << 20;
    grpc_world_init(&world, &options, NULL);
    int fd = raw_connect();
    h2_raw_preface(&bytes);
    h2_raw_frame(&bytes, H2_SETTINGS, 0, 0, FL_SPAN("\0\4\77\377\377\377"));
    h2_raw_frame(&bytes, H2_WINDOW, 0, 0, FL_SPAN("\77\377\0\0"));
    h2_raw_request(&bytes, 1, "/t.S/Source");
    h2_raw_frame(&bytes, H2_DATA, H2_END_STREAM, 1, FL_SPAN(""));
    raw_send(fd);
    grpc_world_until(&world, &world.refused[FL_GRPC_REFUSAL_SLOW], 1);
    assert_int_equal(world.closed, 1);
    close(fd);
    grpc_world_done(&world);
}

/* A client without window for a stream: the stream ends, the connection lives. */
static void test_slow_stream(void **state)
{
    (void)state;
    const struct fl_grpc_server_options options = {.slow_timeout_ms = 60};
    world.source_count = 1;
    world.source_size = 1000;
    grpc_world_init(&world, &options, NULL);
    int fd = raw_connect();
    h2_raw_preface(&bytes);
    h2_raw_frame(&bytes, H2_SETTINGS, 0, 0, FL_SPAN("\0\4\0\0\0\1"));
    h2_raw_request(&bytes, 1, "/t.S/Source");
    h2_raw_frame(&bytes, H2_DATA, H2_END_STREAM, 1, FL_SPAN(""));
    raw_send(fd);
    grpc_world_until(&world, &world.closed, 1);
    grpc_world_turns(&world, 3);
    assert_int_equal(fl_grpc_server_connections(world.server), 1);
    close(fd);
    grpc_world_done(&world);
}

/* Nobody holds a connection's place by streams that ask nothing. */
static void test_late_request(void **state)
{
    (void)state;
    const struct fl_grpc_server_options options = {.request_timeout_ms = 40};
    grpc_world_init(&world, &options, NULL);
    int fd = raw_connect();
    h2_raw_preface(&bytes);
    h2_raw_request(&bytes, 1, "/t.S/Unary");
    h2_raw_frame(&bytes, H2_DATA, 0, 1, fl_span_make("\0\0\0\0\1x", 6)); /* and no end */
    h2_raw_request(&bytes, 3, "/t.S/Echo");
    h2_raw_request(&bytes, 5, "/t.S/Echo");
    h2_raw_frame(&bytes, H2_DATA, 0, 5, fl_span_make("\0\0\0\0\1x", 6));
    raw_send(fd);
    grpc_world_until(&world, &world.closed, 2);
    grpc_world_pass(&world, 80);
    assert_int_equal(world.closed, 2);
    assert_int_equal(fl_grpc_server_connections(world.server), 1);
    close(fd);
    grpc_world_done(&world);
}

static void test_displaced(void **state)
{
    (void)state;
    const struct fl_grpc_server_options options = {.connections = 2};
    grpc_world_init(&world, &options, NULL);
    int first = raw_connect();
    h2_raw_preface(&bytes);
    h2_raw_request(&bytes, 1, "/t.S/Silent");
    raw_send(first);
    grpc_world_until(&world, &world.opened, 1);
    int second = raw_connect();
    grpc_world_turns(&world, 5);
    int third = raw_connect();
    grpc_world_until(&world, &world.refused[FL_GRPC_REFUSAL_DISPLACED], 1);
    raw_until_closed(second);
    h2_raw_preface(&bytes);
    h2_raw_request(&bytes, 1, "/t.S/Silent");
    raw_send(third);
    grpc_world_until(&world, &world.opened, 2);
    int fourth = raw_connect();
    grpc_world_until(&world, &world.refused[FL_GRPC_REFUSAL_FULL], 1);
    raw_until_closed(fourth);
    assert_int_equal(world.closed, 0);
    close(first);
    close(third);
    grpc_world_until(&world, &world.closed, 2);
    grpc_world_done(&world);
}

static void test_source(void **state)
{
    (void)state;
    const struct fl_grpc_server_options options = {.connections_per_source = 1};
    grpc_world_init(&world, &options, NULL);
    int first = raw_connect(), second = raw_connect();
    grpc_world_until(&world, &world.refused[FL_GRPC_REFUSAL_SOURCE], 1);
    raw_until_closed(second);
    close(first);
    grpc_world_turns(&world, 3);
    grpc_world_connect(&world);
    grpc_world_done(&world);
}

static void test_gone_in_message(void **state)
{
    (void)state;
    grpc_world_init(&world, NULL, NULL);
    int fd = raw_connect();
    h2_raw_preface(&bytes);
    h2_raw_request(&bytes, 1, "/t.S/Echo");
    h2_raw_frame(&bytes, H2_DATA, 0, 1, fl_span_make("\0\0\0\0\7half", 9));
    raw_send(fd);
    grpc_world_until(&world, &world.opened, 1);
    close(fd);
    grpc_world_until(&world, &world.closed, 1);
    assert_int_equal(fl_grpc_server_connections(world.server), 0);
    grpc_world_done(&world);
}

/* The client against servers of the test's own hand. */

static int raw_listen(struct fl_grpc_address *ret_address)
{
    struct sockaddr_storage raw;
    socklen_t size = sizeof(raw);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(fl_grpc_address_parse(FL_SPAN("127.0.0.1:0"), ret_address), 0);
    assert_int_equal(bind(fd, &ret_address->any, fl_grpc_address_size(ret_address)), 0);
    assert_int_equal(listen(fd, 5), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&raw, &size), 0);
    assert_int_equal(fl_grpc_address_from_sockaddr(&raw, ret_address), 0);
    return fd;
}

static void connect_to_raw(const struct fl_grpc_client_options *given, int *ret_listener)
{
    struct fl_grpc_address address;
    *ret_listener = raw_listen(&address);
    grpc_world_init(&world, NULL, given);
    assert_int_equal(fl_grpc_client_set_addresses(world.client, &address, 1), 0);
    assert_int_equal(fl_grpc_client_connect(world.client), 0);
}

static void test_silent_server(void **state)
{
    (void)state;
    const struct fl_grpc_client_options options = {.connect_timeout_ms = 50};
    int listener;
    connect_to_raw(&options, &listener);
    grpc_world_until(&world, &world.lost, 1);
    assert_non_null(strstr(world.reason.text, "did not finish the handshake in time"));
    assert_int_equal(world.connected, 0);
    close(listener);
    grpc_world_done(&world);
}

static void test_foreign_server(void **state)
{
    (void)state;
    int listener;
    connect_to_raw(NULL, &listener);
    grpc_world_turns(&world, 3);
    int fd = accept(listener, NULL, NULL);
    assert_int_equal(fl_buf_append_str(&bytes, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"), 0);
    raw_send(fd);
    grpc_world_until(&world, &world.lost, 1);
    assert_int_equal(world.connected, 0);
    close(fd);
    close(listener);
    grpc_world_done(&world);
}

static int answer_settings(int listener)
{
    grpc_world_turns(&world, 3);
    int fd = accept(listener, NULL, NULL);
    assert_true(fd >= 0);
    h2_raw_settings(&bytes);
    raw_send(fd);
    grpc_world_until(&world, &world.connected, 1);
    return fd;
}

static void test_server_dies_in_message(void **state)
{
    (void)state;
    struct fl_grpc_call *call;
    int listener;
    connect_to_raw(NULL, &listener);
    int fd = answer_settings(listener);
    assert_int_equal(grpc_world_start(&world, "/t.S/Echo", &ear, &call), 0);
    grpc_world_turns(&world, 3);
    h2_raw_headers(&bytes, 0, 1, ":status: 200\ncontent-type: application/grpc");
    h2_raw_frame(&bytes, H2_DATA, 0, 1, fl_span_make("\0\0\0\0\1a\0\0\0\0\7half", 15));
    raw_send(fd);
    grpc_world_until(&world, &ear.count, 1);
    close(fd);
    grpc_world_until(&world, &world.lost, 1);
    assert_int_equal(ear.ends, 1);
    assert_int_equal(ear.count, 1);
    assert_int_equal(ear.status, FL_GRPC_UNAVAILABLE);
    close(listener);
    grpc_world_done(&world);
}

static void test_dead_server(void **state)
{
    (void)state;
    const struct fl_grpc_client_options options = {.keepalive_ms = 30, .keepalive_timeout_ms = 30};
    struct fl_grpc_call *call;
    int listener;
    connect_to_raw(&options, &listener);
    int fd = answer_settings(listener);
    assert_int_equal(grpc_world_start(&world, "/t.S/Echo", &ear, &call), 0);
    grpc_world_until(&world, &world.lost, 1);
    assert_non_null(strstr(world.reason.text, "does not answer a PING"));
    assert_int_equal(ear.ends, 1);
    close(fd);
    close(listener);
    grpc_world_done(&world);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_handshake_timeout),
        TEST(test_no_http2),
        TEST(test_idle),
        TEST(test_dead_client),
        TEST(test_keepalive),
        TEST(test_slow_reader),
        TEST(test_slow_stream),
        TEST(test_late_request),
        TEST(test_displaced),
        TEST(test_source),
        TEST(test_gone_in_message),
        TEST(test_silent_server),
        TEST(test_foreign_server),
        TEST(test_server_dies_in_message),
        TEST(test_dead_server),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
