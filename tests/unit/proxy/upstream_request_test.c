/* proxy/upstream/request and proxy/http/h1_client: requests as streams over HTTP/1. */
#include "proxy/net/listener.h"
#include "proxy/upstream/cluster.h"
#include "tests/support/fail.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>

#include <cmocka.h>

#define LOG_MAX 4096

struct fixture {
    struct fl_loop *loop;
    struct proxy_turn turn;
    struct proxy_address address;
    int server; /* listening; what it accepts is the test's */
    struct proxy_cluster_endpoint endpoint;
    struct proxy_cluster_options options;
    struct proxy_cluster_run *cluster;
    struct proxy_message request, response;
    struct proxy_headers trailers;
    struct proxy_upstream *upstream;
    bool finish_at_head, finish_at_end, finish_at_data;
    char log[LOG_MAX];
    int counted;
};

static void note(struct fixture *f, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void note(struct fixture *f, const char *format, ...)
{
    va_list args;
    size_t len = strlen(f->log);
    va_start(args, format);
    vsnprintf(f->log + len, sizeof(f->log) - len, format, args);
    va_end(args);
}

static void finish(struct fixture *f)
{
    proxy_upstream_finish(fl_take(f->upstream), PROXY_RESET_CANCELLED);
}

static void on_open(void *user)
{
    note(user, "open ");
}

static void on_head(void *user, struct proxy_message *message, bool end)
{
    struct fixture *f = user;
    note(f, "head:%u%s%s ", message->status, message->upgrade ? "^" : "", end ? "$" : "");
    if (f->finish_at_head || (end && f->finish_at_end))
        finish(f);
}

static void on_data(void *user, struct fl_span data)
{
    struct fixture *f = user;
    size_t len = strlen(f->log);
    bool more = len > 0 && f->log[len - 1] == ']'; /* pieces of one body read as one */
    if (more)
        f->log[len - 1] = '\0';
    note(f, more ? "%.*s]" : "[%.*s]", FL_SPAN_ARG(data));
    if (f->finish_at_data)
        finish(f);
}

static void on_end(void *user, struct proxy_headers *trailers)
{
    struct fixture *f = user;
    note(f, "end");
    for (size_t i = 0; trailers != NULL && i < trailers->count; i++)
        note(f, "(%.*s)", FL_SPAN_ARG(trailers->list[i].name));
    if (f->finish_at_end)
        finish(f);
}

static void on_writable(void *user)
{
    note(user, "writable ");
}

static void on_reset(void *user, enum proxy_reset why)
{
    struct fixture *f = user;
    note(f, "reset:%s ", proxy_reset_text(why));
    if (why == PROXY_RESET_PROTOCOL)
        note(f, "%s ", proxy_stream_error(f->upstream->stream));
    finish(f);
}

static const struct proxy_stream_events events = {on_open, on_head, on_data, on_end, on_writable, on_reset};

static void on_count(void *owner, bool opened)
{
    ((struct fixture *)owner)->counted += opened ? 1 : -1;
}

static void setup(struct fixture *f)
{
    struct proxy_socket_options listening = {.backlog = 64};
    struct sockaddr_storage raw;
    socklen_t size = sizeof(raw);
    struct fl_err err;
    memset(f, 0, sizeof(*f));
    assert_int_equal(proxy_address_parse(FL_SPAN("127.0.0.1"), 0, &listening.address), 0);
    assert_int_equal(proxy_socket_listen(&listening, &f->server, &err), 0);
    assert_int_equal(getsockname(f->server, (struct sockaddr *)&raw, &size), 0);
    assert_int_equal(proxy_address_from_sockaddr(&raw, &f->address), 0);
    assert_int_equal(fl_loop_new(&f->loop), 0);
    assert_int_equal(proxy_turn_init(&f->turn, f->loop), 0);
    f->endpoint = (struct proxy_cluster_endpoint){.address = f->address, .weight = 1};
    f->options = (struct proxy_cluster_options){
        .name = FL_SPAN("test"),
        .endpoints = &f->endpoint,
        .endpoint_count = 1,
        .connect_timeout_ms = 1000,
        .idle_timeout_ms = 60000,
        .limits = {1024, 1024, 1024, 16},
        .scratch = {&f->response, &f->trailers},
        .on_count = on_count,
        .owner = f,
    };
    assert_int_equal(proxy_cluster_run_new(&f->turn, &f->options, &f->cluster), 0);
}

static void run(struct fixture *f)
{
    for (int i = 0; i < 6; i++)
        assert_true(fl_loop_turn(f->loop, 1) >= 0);
}

static void teardown(struct fixture *f)
{
    finish(f);
    proxy_cluster_run_retire(f->cluster);
    f->cluster = proxy_cluster_run_unref(f->cluster);
    proxy_turn_abort(&f->turn);
    run(f);
    assert_int_equal(f->counted, 0);
    assert_int_equal(f->turn.connections, 0);
    proxy_turn_done(&f->turn);
    fl_loop_free(f->loop);
    close(f->server);
}

static void ask(struct fixture *f, bool fresh)
{
    const struct proxy_upstream_want want = {.random = 7, .fresh = fresh};
    f->log[0] = '\0';
    assert_int_equal(proxy_upstream_request(f->cluster, &want, &events, f, &f->upstream), PROXY_UPSTREAM_OK);
}

/* The head of f->request, from HTTP/1 bytes that must live on. */
static void parse(struct fixture *f, const char *text)
{
    struct proxy_h1_parser parser = {0};
    size_t size;
    assert_int_equal(proxy_h1_parse_request(&parser, fl_span_str(text), NULL, &f->request, &size), PROXY_H1_DONE);
}

static void send_request(struct fixture *f, const char *head, bool end)
{
    parse(f, head);
    proxy_stream_send_head(f->upstream->stream, &f->request, end);
}

static int accepted(struct fixture *f)
{
    int fd = accept4(f->server, NULL, NULL, SOCK_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static void expect_wire(int peer, const char *text)
{
    char bytes[2048];
    ssize_t got = recv(peer, bytes, sizeof(bytes) - 1, MSG_DONTWAIT);
    bytes[got < 0 ? 0 : got] = '\0';
    assert_string_equal(bytes, text);
}

static void answer(struct fixture *f, int peer, const char *text)
{
    assert_int_equal(send(peer, text, strlen(text), MSG_NOSIGNAL), strlen(text));
    run(f);
}

#define GET "GET /a HTTP/1.1\r\nHost: h\r\n\r\n"

static const struct row {
    const char *name, *request, *answer, *log;
    bool eof, pooled;
} rows[] = {
    {"a length", GET, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "head:200 [hello]end", false, true},
    {"no body", GET, "HTTP/1.1 204 No Content\r\n\r\n", "head:204$ ", false, true},
    {"length 0", GET, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "head:200$ ", false, true},
    {"HEAD", "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "head:200$ ", false,
     true},
    {"chunks and trailers", GET,
     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 1\r\n\r\n",
     "head:200 [abcde]end(X-Sum)", false, true},
    {"until close", GET, "HTTP/1.1 200 OK\r\n\r\nall", "head:200 [all]end", true, false},
    {"1xx first", GET,
     "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: "
     "0\r\n\r\n",
     "head:103 head:102 head:200$ ", false, true},
    {"it will close", GET, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", "head:200$ ", false,
     false},
    {"HTTP/1.0 closes", GET, "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", "head:200$ ", false, false},
    {"bytes behind it", GET, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200", "head:200 [ok]end", false,
     false},
    {"an upgrade", "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n",
     "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\nopaque", "head:101^ [opaque]end",
     true, false},
    {"refused upgrade", "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n",
     "HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\nno", "head:400 [no]end", false, true},
    {"CONNECT", "CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\nbytes", "head:200^ [bytes]end",
     true, false},
    {"ends before it begins", GET, "", "reset:connection closed ", true, false},
    {"ends in the head", GET, "HTTP/1.1 200 OK\r\nConten", "reset:connection closed ", true, false},
    {"ends in the body", GET, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel",
     "head:200 [hel]reset:connection closed ", true, false},
    {"no HTTP", GET, "SSH-2.0-OpenSSH\r\n\r\n", "reset:protocol error http1.version_syntax ", false, false},
    {"a bad chunk", GET, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
     "head:200 reset:protocol error http1.chunk_size ", false, false},
    {"an upgrade that nobody asked for", GET, "HTTP/1.1 101 Switching Protocols\r\n\r\n",
     "reset:protocol error http1.upgrade_unasked ", false, false},
};

static void play(const struct row *row, size_t piece)
{
    struct fixture f;
    setup(&f);
    f.finish_at_end = true;
    ask(&f, false);
    assert_false(f.upstream->opened);
    send_request(&f, row->request, true);
    assert_int_equal(proxy_stream_unsent(f.upstream->stream), f.upstream->stream->sent);
    run(&f);
    assert_true(f.upstream->opened);
    assert_string_equal(f.log, "open ");
    assert_int_equal(proxy_stream_unsent(f.upstream->stream), 0);
    f.log[0] = '\0';
    int peer = accepted(&f);
    const char *rest = row->answer;
    while (*rest != '\0') {
        size_t len = strlen(rest) < piece ? strlen(rest) : piece;
        if (send(peer, rest, len, MSG_NOSIGNAL) < 0)
            break;
        assert_true(fl_loop_turn(f.loop, 1) >= 0);
        rest += len;
    }
    if (row->eof)
        assert_int_equal(shutdown(peer, SHUT_WR), 0);
    run(&f);
    if (strcmp(f.log, row->log) != 0)
        fail_msg("%s, in pieces of %zu: %s", row->name, piece, f.log);
    assert_null(f.upstream);
    if ((proxy_cluster_run_idle(f.cluster) == 1) != row->pooled)
        fail_msg("%s: %s", row->name, row->pooled ? "not pooled" : "pooled");
    close(peer);
    teardown(&f);
}

static void answers_become_events(void **state)
{
    (void)state;
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        play(&rows[i], 4096);
        play(&rows[i], 7);
        play(&rows[i], 1);
    }
}

static void requests_go_out_as_they_are(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    ask(&f, false);
    send_request(&f, "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n", false);
    proxy_stream_send_data(f.upstream->stream, FL_SPAN("body"));
    proxy_stream_send_end(f.upstream->stream, NULL);
    run(&f);
    int peer = accepted(&f);
    expect_wire(peer, "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody");
    answer(&f, peer, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    finish(&f);
    ask(&f, false); /* the same connection */
    assert_true(f.upstream->reused && f.upstream->opened);
    assert_int_equal(f.upstream->stream->sent, 0);
    send_request(&f, "PUT /y HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", false);
    proxy_stream_send_data(f.upstream->stream, FL_SPAN("abc"));
    f.trailers.count = 0;
    proxy_headers_init(&f.trailers);
    assert_int_equal(proxy_headers_add(&f.trailers, FL_SPAN("X-Sum"), FL_SPAN("1")), 0);
    proxy_stream_send_end(f.upstream->stream, &f.trailers);
    run(&f);
    expect_wire(peer,
                "PUT /y HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n");
    close(peer);
    teardown(&f);
}

static void requests_of_http2_are_told_as_http1(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    ask(&f, false);
    proxy_message_init(&f.request);
    f.request.major = 2;
    f.request.minor = 1;
    f.request.method = FL_SPAN("POST");
    f.request.method_id = PROXY_METHOD_POST;
    f.request.target = f.request.path = FL_SPAN("/a");
    f.request.authority = FL_SPAN("host.example");
    assert_int_equal(proxy_headers_add(&f.request.headers, FL_SPAN("host"), FL_SPAN("host.example")), 0);
    assert_int_equal(proxy_headers_add(&f.request.headers, FL_SPAN("x"), FL_SPAN("y")), 0);
    proxy_stream_send_head(f.upstream->stream, &f.request, false);
    proxy_stream_send_end(f.upstream->stream, NULL);
    run(&f);
    int peer = accepted(&f);
    expect_wire(peer, "POST /a HTTP/1.1\r\nhost: host.example\r\nx: y\r\ntransfer-encoding: "
                      "chunked\r\n\r\n0\r\n\r\n");
    close(peer);
    teardown(&f);
}

static void a_pooled_connection_tells_what_a_race_needs(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    ask(&f, false);
    send_request(&f, GET, true);
    run(&f);
    int peer = accepted(&f);
    answer(&f, peer, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    finish(&f);
    assert_int_equal(proxy_cluster_run_idle(f.cluster), 1);
    ask(&f, false);
    send_request(&f, GET, true);
    run(&f);
    close(peer); /* with unread bytes: a reset */
    run(&f);
    assert_string_equal(f.log, "reset:connection reset ");
    assert_int_equal(proxy_cluster_run_connections(f.cluster), 0);
    teardown(&f);
}

static void a_connection_that_is_refused_is_a_reset(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    close(fl_take_fd(f.server));
    ask(&f, false);
    send_request(&f, GET, true);
    run(&f);
    assert_string_equal(f.log, "reset:connection failed ");
    f.server = -1;
    teardown(&f);
}

static void the_user_may_finish_in_every_event(void **state)
{
    (void)state;
    for (int at = 0; at < 2; at++) {
        struct fixture f;
        setup(&f);
        f.finish_at_head = at == 0;
        f.finish_at_data = at == 1;
        ask(&f, false);
        send_request(&f, GET, true);
        run(&f);
        int peer = accepted(&f);
        answer(&f, peer, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n");
        assert_string_equal(f.log, at == 0 ? "open head:200 " : "open head:200 [abc]");
        assert_int_equal(proxy_cluster_run_connections(f.cluster), 0);
        close(peer);
        teardown(&f);
    }
}

static void requests_are_limited(void **state)
{
    (void)state;
    struct fixture f;
    struct proxy_upstream *none;
    const struct proxy_upstream_want want = {.random = 1};
    setup(&f);
    f.options.limits[PROXY_UPSTREAM_LIMIT_REQUESTS] = 1;
    assert_int_equal(proxy_cluster_run_stage(f.cluster, &f.options), 0);
    proxy_cluster_run_commit(f.cluster);
    ask(&f, false);
    assert_int_equal(proxy_upstream_request(f.cluster, &want, &events, &f, &none), PROXY_UPSTREAM_OVERFLOW);
    finish(&f);
    ask(&f, false);
    teardown(&f);
}

static void memory_runs_out(void **state)
{
    (void)state;
    FAIL_EACH_ALLOCATION
    {
        struct fixture f;
        const struct proxy_upstream_want want = {.random = 1};
        fail_stop();
        setup(&f);
        f.finish_at_end = true;
        fail_at(fail_round_);
        int result = proxy_upstream_request(f.cluster, &want, &events, &f, &f.upstream);
        if (result == PROXY_UPSTREAM_OK) {
            send_request(&f, GET, true);
            run(&f);
        }
        fail_stop();
        if (result != PROXY_UPSTREAM_OK)
            assert_int_equal(result, -ENOMEM);
        else if (f.upstream != NULL)
            assert_string_equal(f.log, "open ");
        else
            assert_non_null(strstr(f.log, "reset:out of memory "));
        teardown(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_become_events),
        cmocka_unit_test(requests_go_out_as_they_are),
        cmocka_unit_test(requests_of_http2_are_told_as_http1),
        cmocka_unit_test(a_pooled_connection_tells_what_a_race_needs),
        cmocka_unit_test(a_connection_that_is_refused_is_a_reset),
        cmocka_unit_test(the_user_may_finish_in_every_event),
        cmocka_unit_test(requests_are_limited),
        cmocka_unit_test(memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
