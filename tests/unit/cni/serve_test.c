/* cni/agent/serve: a whole exchange on a loop, and what becomes of it when memory is out. (Attacks:
 * tests/integration/cni_agent_serve_test.py.) */
#include "cni/agent/serve.h"

#include "tests/support/fail.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>

#include <cmocka.h>

#define TURNS_MAX 200

static struct {
    bool ready, fails;
    unsigned ends[CNI_SERVE_END_COUNT], total;
} world;

static int metrics(void *owner, struct fl_buf *body)
{
    assert_ptr_equal(owner, &world);
    return world.fails ? -ENOMEM : fl_buf_append_str(body, "a 1\n");
}

static int ready(void *owner, struct fl_buf *body, bool *ret_ready)
{
    assert_ptr_equal(owner, &world);
    *ret_ready = world.ready;
    return world.fails ? -ENOMEM : fl_buf_append_str(body, world.ready ? "yes\n" : "no\n");
}

static void ended(void *owner, enum cni_serve_end end)
{
    assert_ptr_equal(owner, &world);
    world.ends[end]++;
    world.total++;
}

static const struct cni_serve_ops ops = {metrics, ready, ended};

/* A port that was free a moment ago. */
static uint16_t free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    close(fd);
    return ntohs(address.sin_port);
}

static int dial(uint16_t port)
{
    const struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

struct fixture {
    struct fl_loop *loop;
    struct cni_serve *serve;
    uint16_t port;
    int result;
};

static struct fixture start(void)
{
    char address[32];
    struct fixture fixture = {.port = free_port()};
    snprintf(address, sizeof(address), "127.0.0.1:%u", fixture.port);
    memset(&world, 0, sizeof(world));
    fixture.result = fl_loop_new(&fixture.loop);
    if (fixture.result == 0)
        fixture.result = cni_serve_new(fixture.loop, address, &ops, &world, &fixture.serve, NULL);
    return fixture;
}

static void stop(struct fixture *fixture)
{
    fixture->serve = cni_serve_free(fixture->serve);
    fixture->loop = fl_loop_free(fixture->loop);
}

/* The answer to `text`, whole; empty where the connection was ended without one. */
static const char *exchange(struct fixture *fixture, const char *text)
{
    static char answer[4096];
    size_t len = 0;
    int fd = dial(fixture->port);
    ssize_t count;
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    for (int i = 0; i < TURNS_MAX; i++) {
        assert_int_equal(fl_loop_turn(fixture->loop, 10), 0);
        count = recv(fd, answer + len, sizeof(answer) - 1 - len, MSG_DONTWAIT);
        if (count == 0 || (count < 0 && errno != EAGAIN))
            break;
        len += count > 0 ? (size_t)count : 0;
    }
    close(fd);
    for (int i = 0; i < TURNS_MAX && world.total == 0; i++)
        assert_int_equal(fl_loop_turn(fixture->loop, 10), 0);
    assert_int_equal(world.total, 1);
    answer[len] = '\0';
    return answer;
}

static void assert_answer(const char *text, bool is_ready, bool fails, const char *status, const char *body)
{
    struct fixture fixture = start();
    assert_int_equal(fixture.result, 0);
    world.ready = is_ready;
    world.fails = fails;
    const char *answer = exchange(&fixture, text);
    if (strncmp(answer + strlen("HTTP/1.1 "), status, 3) != 0)
        fail_msg("%s: %s", text, answer);
    assert_non_null(strstr(answer, body));
    assert_int_equal(world.ends[CNI_SERVE_ANSWERED] + world.ends[CNI_SERVE_BAD], 1);
    stop(&fixture);
}

static void test_pages(void **state)
{
    (void)state;
    assert_answer("GET /metrics HTTP/1.1\r\n\r\n", false, false, "200", "\r\n\r\na 1\n");
    assert_answer("GET /readyz HTTP/1.1\r\n\r\n", true, false, "200", "\r\n\r\nyes\n");
    assert_answer("GET /readyz HTTP/1.1\r\n\r\n", false, false, "503", "\r\n\r\nno\n");
    assert_answer("GET /readyz HTTP/1.1\r\n\r\n", true, true, "500", "Content-Length: 0\r\n");
    assert_answer("GET /metrics HTTP/1.1\r\n\r\n", true, true, "500", "Content-Length: 0\r\n");
    assert_answer("GET /healthz HTTP/1.1\r\n\r\n", false, true, "200", "\r\n\r\nok\n");
    assert_answer("PUT /healthz HTTP/1.1\r\n\r\n", false, false, "405", "Allow: GET, HEAD\r\n");
    assert_answer("GET /x HTTP/1.1\r\n\r\n", false, false, "404", "/metrics");
    assert_answer("\n", false, false, "400", "Connection: close");
}

static void test_addresses(void **state)
{
    (void)state;
    static const char *const bad[] = {"", ":", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:65536", "localhost:1", "::1:1"};
    struct fl_loop *loop = NULL;
    struct cni_serve *serve = NULL;
    struct fl_err err;
    assert_int_equal(fl_loop_new(&loop), 0);
    for (size_t i = 0; i < FL_COUNT(bad); i++)
        assert_int_equal(cni_serve_new(loop, bad[i], &ops, &world, &serve, &err), -EINVAL);
    fl_loop_free(loop);
}

/* Freed with connections of every kind open. */
static void test_freed_open(void **state)
{
    (void)state;
    struct fixture fixture = start();
    assert_int_equal(fixture.result, 0);
    int fds[] = {dial(fixture.port), dial(fixture.port)};
    assert_int_equal(write(fds[0], "GET ", 4), 4);
    assert_int_equal(write(fds[1], "GET / HTTP/1.1\r\n\r\n", 18), 18);
    for (int i = 0; i < 5; i++)
        assert_int_equal(fl_loop_turn(fixture.loop, 10), 0);
    stop(&fixture);
    assert_int_equal(world.total, 2);
    close(fds[0]);
    close(fds[1]);
}

/* A connection dies, or its answer is 500; the server lives. */
static void test_memory_is_out(void **state)
{
    (void)state;
    FAIL_EACH_ALLOCATION
    {
        struct fixture fixture = start();
        if (fixture.result < 0) {
            fail_stop();
            assert_true(fail_happened());
            assert_int_equal(fixture.result, -ENOMEM);
            stop(&fixture);
            continue;
        }
        const char *answer = exchange(&fixture, "GET /metrics HTTP/1.1\r\n\r\n");
        fail_stop();
        assert_true(fail_happened() || strncmp(answer, "HTTP/1.1 200", 12) == 0);
        memset(&world, 0, sizeof(world));
        answer = exchange(&fixture, "GET /metrics HTTP/1.1\r\n\r\n");
        assert_int_equal(strncmp(answer, "HTTP/1.1 200", 12), 0);
        stop(&fixture);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pages),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_freed_open),
        cmocka_unit_test(test_memory_is_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
