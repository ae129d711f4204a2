/* proxy/admin over real sockets: HTTP, and what bounds slow, many and bad clients. */
#include "tests/support/fail.h"
#include "tests/unit/proxy/admin_world.h"

#include <sys/resource.h>

static void test_bad_requests(void **state)
{
    (void)state;
    static const struct {
        const char *what, *request;
        unsigned status;
    } rows[] = {
        {"not HTTP", "nonsense\r\n\r\n", 400},
        {"no Host", "GET / HTTP/1.1\r\n\r\n", 400},
        {"both framings", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
        {"HTTP/2's version", "GET / HTTP/2.0\r\nHost: 127.0.0.1\r\n\r\n", 505},
        {"a body", "POST /logging?level=info HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1\r\n\r\nx", 413},
        {"a chunked body", "POST /logging HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
         413},
        {"another method", "DELETE /ready HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 405},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        const char *answer = ask(admin_port(), rows[i].request);
        if (number(answer + 9) != rows[i].status)
            fail_msg("%s: %s", rows[i].what, answer);
    }
}

static void test_head_too_large(void **state)
{
    (void)state;
    static char request[PROXY_ADMIN_HEAD_MAX + 64];
    int begin = snprintf(request, sizeof(request), "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ");
    memset(request + begin, 'x', PROXY_ADMIN_HEAD_MAX - (size_t)begin);
    request[PROXY_ADMIN_HEAD_MAX] = '\0';
    assert_has(ask(admin_port(), request), "HTTP/1.1 431 ");
}

static void test_keep_alive(void **state)
{
    (void)state;
    struct fl_buf answer;
    fl_buf_init(&answer, 1u << 20);
    int fd = dial(admin_port());
    for (int i = 0; i < 3; i++) {
        say(fd, "GET /ready HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
        assert_true(hear(fd, &answer, false));
        assert_null(strstr(fl_buf_str(&answer), "connection: close"));
    }
    say(fd, "GET /re");
    assert_true(fl_loop_turn(world.loop, 5) >= 0);
    say(fd, "ady HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
    hear(fd, &answer, false);
    assert_has(fl_buf_str(&answer), "connection: close\r\n");
    assert_false(hear(fd, &answer, false)); /* it is closed */
    close(fd);
    fl_buf_done(&answer);
}

static void test_pipelining_gets_one_answer(void **state)
{
    (void)state;
    struct fl_buf answer;
    fl_buf_init(&answer, 1u << 20);
    int fd = dial(admin_port());
    say(fd, "GET /ready HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nGET /ready HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
    hear(fd, &answer, false);
    const char *text = fl_buf_str(&answer);
    assert_has(text, "connection: close\r\n");
    assert_null(strstr(text + 1, "HTTP/1.1"));
    close(fd);
    fl_buf_done(&answer);
}

static void test_head_has_no_body(void **state)
{
    (void)state;
    const char *answer = ask(admin_port(), "HEAD /help HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
    assert_has(answer, "HTTP/1.1 200 OK\r\n");
    assert_null(strstr(answer, "content-length: 0\r\n"));
    assert_string_equal(strstr(answer, "\r\n\r\n"), "\r\n\r\n");
}

static void test_half_closed_client_is_answered(void **state)
{
    (void)state;
    struct fl_buf answer;
    fl_buf_init(&answer, 1u << 20);
    int fd = dial(admin_port());
    say(fd, "GET /ready HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    hear(fd, &answer, false);
    assert_has(fl_buf_str(&answer), "LIVE\n");
    close(fd);
    fl_buf_done(&answer);
}

static void test_connections_are_bounded(void **state)
{
    (void)state;
    int fds[PROXY_ADMIN_CONNECTIONS_MAX + 1];
    for (size_t i = 0; i < FL_COUNT(fds); i++) {
        fds[i] = dial(stats_port);
        assert_true(fl_loop_turn(world.loop, 5) >= 0);
    }
    struct fl_buf answer;
    fl_buf_init(&answer, 1u << 20);
    assert_false(hear(fds[0], &answer, false)); /* one too many: the oldest silent one goes */
    say(fds[PROXY_ADMIN_CONNECTIONS_MAX], "GET /stats/prometheus HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
    assert_true(hear(fds[PROXY_ADMIN_CONNECTIONS_MAX], &answer, false)); /* so a health check is answered */
    assert_has(get(admin_port(), "/ready"), "LIVE");                     /* another port is not concerned */
    for (size_t i = 0; i < FL_COUNT(fds); i++)
        close(fds[i]);
    for (int i = 0; i < 50; i++)
        assert_true(fl_loop_turn(world.loop, 1) >= 0);
    assert_has(get(stats_port, "/stats/prometheus"), "things_total 5");
    fl_buf_done(&answer);
}

/* Out of descriptors: accepting pauses, the loop does not spin, and it comes back. */
static void test_out_of_descriptors(void **state)
{
    (void)state;
    int fd = dial(stats_port);
    struct rlimit old, none;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    none = old;
    none.rlim_cur = 3;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    unsigned turns = 0;
    uint64_t start = fl_loop_now_ms(world.loop);
    while (fl_loop_now_ms(world.loop) - start < 150 && turns < 10000) {
        assert_true(fl_loop_turn(world.loop, 50) >= 0);
        turns++;
    }
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_true(turns < 1000);
    struct fl_buf answer;
    fl_buf_init(&answer, 1u << 20);
    say(fd, "GET /stats/prometheus HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_true(hear(fd, &answer, false));
    close(fd);
    fl_buf_done(&answer);
}

static int dial_and_not_read(uint16_t port)
{
    int small = 4096, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct proxy_address to = local(port);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
    assert_int_equal(connect(fd, &to.any, proxy_address_size(&to)), 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    say(fd, "GET /stats/prometheus HTTP/1.1\r\nHost: a\r\n\r\n");
    for (int i = 0; i < 10; i++)
        assert_true(fl_loop_turn(world.loop, 1) >= 0);
    return fd;
}

/* An answer larger than the socket takes: nothing else waits for its reader, and all of it arrives. Many
 * such readers are refused. */
static void test_a_slow_reader(void **state)
{
    (void)state;
    static const char *const labels[] = {"x"};
    static struct fl_metric_family families[24];
    static char names[24][16];
    char value[200];
    for (size_t i = 0; i < FL_COUNT(families); i++) {
        snprintf(names[i], sizeof(names[i]), "big%zu_total", i);
        families[i] = (struct fl_metric_family){
            .name = names[i], .help = "Big.", .kind = FL_METRIC_COUNTER, .label_names = labels, .label_count = 1};
        for (int k = 0; k < 900; k++) {
            snprintf(value, sizeof(value), "%0190d", k);
            struct fl_span span = fl_span_str(value);
            fl_counter_add(fl_metrics_counter(world.metrics[0], &families[i], &span), 1);
        }
    }
    int fd = dial_and_not_read(stats_port);
    assert_has(get(admin_port(), "/ready"), "LIVE");
    struct fl_buf answer;
    fl_buf_init(&answer, 1u << 24);
    assert_true(hear(fd, &answer, false));
    assert_true(answer.len > 4u << 20);
    close(fd);

    int fds[10], refused = 0;
    for (size_t i = 0; i < FL_COUNT(fds); i++)
        fds[i] = dial_and_not_read(stats_port);
    for (size_t i = 0; i < FL_COUNT(fds); i++) {
        hear(fds[i], &answer, true);
        refused += strncmp(fl_buf_str(&answer), "HTTP/1.1 503 ", 13) == 0;
        close(fds[i]);
    }
    assert_in_range(refused, 8, 9); /* of 10 answers of 5 MB one is held */
    for (int i = 0; i < 50; i++)
        assert_true(fl_loop_turn(world.loop, 1) >= 0);
    assert_has(get(stats_port, "/stats/prometheus"), "HTTP/1.1 200 "); /* nothing is counted as held for ever */
    fl_buf_done(&answer);
}

/* A head that does not come to its end, and one that trickles, are given up after the same time. */
static void test_a_slow_head(void **state)
{
    (void)state;
    int fd = dial(health_port);
    uint64_t start = fl_loop_now_ms(world.loop), now = start, last = start;
    bool open = true;
    say(fd, "GET /");
    while (open && now - start < 2 * PROXY_ADMIN_HEAD_MS) {
        assert_true(fl_loop_turn(world.loop, 100) >= 0);
        now = fl_loop_now_ms(world.loop);
        if (now - last >= 500)
            (void)send(fd, "x", 1, MSG_NOSIGNAL);
        last = now - last >= 500 ? now : last;
        char byte;
        ssize_t got = recv(fd, &byte, 1, 0);
        open = got < 0 && errno == EAGAIN;
    }
    assert_false(open);
    assert_in_range(now - start, PROXY_ADMIN_HEAD_MS - 200, PROXY_ADMIN_HEAD_MS + 2000);
    close(fd);
}

static void test_a_port_in_use_is_told(void **state)
{
    (void)state;
    const struct proxy_admin_options options = {
        .loop = world.loop, .address = local(admin_port()), .host = &world.host};
    struct proxy_admin *admin = NULL;
    struct fl_err err = {0};
    assert_int_equal(proxy_admin_new(&options, &admin, &err), -EADDRINUSE);
    assert_has(err.text, "listen on 127.0.0.1:");
    assert_null(admin);
}

static void test_memory_running_out(void **state)
{
    (void)state;
    struct fl_err err;
    FAIL_EACH_ALLOCATION
    {
        const struct proxy_admin_options options = {.loop = world.loop, .address = local(0), .host = &world.host};
        struct proxy_admin *admin = NULL;
        int result = proxy_admin_new(&options, &admin, &err);
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
        proxy_admin_free(admin);
        assert_true(fl_loop_turn(world.loop, 0) >= 0);
    }
    FAIL_EACH_ALLOCATION
    {
        int fd = dial(admin_port());
        say(fd, "GET /server_info HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
        for (int i = 0; i < 20; i++)
            assert_true(fl_loop_turn(world.loop, 0) >= 0);
        fail_stop();
        close(fd);
        assert_true(fl_loop_turn(world.loop, 1) >= 0);
    }
    assert_has(get(admin_port(), "/ready"), "LIVE"); /* it lives */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_requests),
        cmocka_unit_test(test_head_too_large),
        cmocka_unit_test(test_keep_alive),
        cmocka_unit_test(test_pipelining_gets_one_answer),
        cmocka_unit_test(test_head_has_no_body),
        cmocka_unit_test(test_half_closed_client_is_answered),
        cmocka_unit_test(test_connections_are_bounded),
        cmocka_unit_test(test_out_of_descriptors),
        cmocka_unit_test(test_a_slow_reader),
        cmocka_unit_test(test_a_slow_head),
        cmocka_unit_test(test_a_port_in_use_is_told),
        cmocka_unit_test(test_memory_running_out),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
