#include "common/http/server.h"

#include "tests/support/fail.h"
#include "tests/unit/common/http_client.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define BODY_MAX 100000

static struct world {
    struct fl_loop *loop;
    struct fl_http_server *server;
    unsigned calls;
    size_t answer_size; /* 0: the answer describes the request */
    unsigned status;    /* 0: 200 */
    bool drain;         /* the handler drains the server */
} world;

/* Tells what it was asked; "/echo" gives the body back. */
static void handle(void *owner, const struct fl_http_request *request, struct fl_http_response *response)
{
    struct world *w = owner;
    w->calls++;
    response->content_type = "text/plain";
    if (w->status != 0)
        response->status = w->status;
    if (w->status == 405)
        response->allow = "POST";
    if (w->drain)
        fl_http_server_drain(w->server);
    int result = 0;
    if (w->answer_size > 0) {
        result = fl_buf_reserve(&response->body, w->answer_size);
        for (size_t i = 0; result == 0 && i < w->answer_size; i++)
            result = fl_buf_append_byte(&response->body, 'z');
    } else if (fl_span_eq_str(request->path, "/echo")) {
        result = fl_buf_append(&response->body, request->body);
    } else {
        struct fl_span extra = fl_http_request_header(request, "x-EXTRA");
        result = fl_buf_printf(&response->body, "<%.*s|%.*s|%.*s|%.*s|%zu|%.*s>", FL_SPAN_ARG(request->method),
                               FL_SPAN_ARG(request->path), FL_SPAN_ARG(request->query),
                               FL_SPAN_ARG(request->content_type), request->body.len, FL_SPAN_ARG(extra));
    }
    if (result < 0)
        response->status = 507;
}

static struct fl_http_server_options plain_options(void)
{
    return (struct fl_http_server_options){.address = FL_SPAN("127.0.0.1:0"),
                                           .body_max = BODY_MAX,
                                           .response_max = 8u << 20,
                                           .connections_max = 40,
                                           .connections_per_address = 40,
                                           .idle_seconds = 30,
                                           .handle = handle,
                                           .owner = &world};
}

static void start(const struct fl_http_server_options *options)
{
    struct fl_err err = {0};
    world = (struct world){0};
    assert_int_equal(fl_loop_new(&world.loop), 0);
    if (fl_http_server_new(world.loop, options, &world.server, &err) < 0)
        fail_msg("%s", err.text);
}

static void stop(void)
{
    fl_http_server_free(world.server);
    fl_loop_free(world.loop);
}

static void open_client(struct http_client *client)
{
    http_client_open(client, world.loop, fl_http_server_port(world.server));
}

static void turn_until_idle(double seconds)
{
    double end = http_client_now() + seconds;
    while (!fl_http_server_idle(world.server) && http_client_now() < end)
        assert_int_equal(fl_loop_turn(world.loop, 2), 0);
    assert_true(fl_http_server_idle(world.server));
}

static void requests_reach_the_handler(void **state)
{
    (void)state;
    static const struct {
        const char *what, *request, *answer;
    } rows[] = {
        {"plain GET", "GET /a HTTP/1.1\r\nHost: x\r\n\r\n", "<GET|/a|||0|>"},
        {"query", "GET /a?b=c&d HTTP/1.1\r\nHost: x\r\n\r\n", "<GET|/a|b=c&d||0|>"},
        {"empty query", "GET /a? HTTP/1.1\r\nHost: x\r\n\r\n", "<GET|/a|||0|>"},
        {"path as sent", "GET /%41/../b%00+c HTTP/1.1\r\nHost: x\r\n\r\n", "<GET|/%41/../b%00+c|||0|>"},
        {"a header, whatever its case", "GET / HTTP/1.1\r\nHost: x\r\nX-extra:  y z \r\n\r\n", "<GET|/|||0|y z"},
        {"POST", "POST /p HTTP/1.1\r\nHost: x\r\nContent-Type: a/b\r\nContent-Length: 3\r\n\r\nabc",
         "<POST|/p||a/b|3|>"},
        {"empty POST", "POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", "<POST|/p|||0|>"},
        {"chunks",
         "POST /p HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1;e=f\r\nc\r\n0\r\n\r\n",
         "<POST|/p|||3|>"},
        {"another method", "PATCH /p HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\na", "<PATCH|/p|||1|>"},
        {"a made-up method", "BREW /p HTTP/1.1\r\nHost: x\r\n\r\n", "<BREW|/p|||0|>"},
        {"OPTIONS *", "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", "<OPTIONS|*|||0|>"},
    };
    const struct fl_http_server_options options = plain_options();
    start(&options);
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct http_client client;
        open_client(&client);
        assert_true(http_client_send_str(&client, rows[i].request));
        if (!http_client_wait(&client, rows[i].answer, 1, 5) || !http_client_has(&client, "HTTP/1.1 200 OK\r\n"))
            fail_msg("%s: %.*s", rows[i].what, FL_SPAN_ARG(fl_buf_span(&client.received)));
        assert_false(client.ended);
        http_client_close(&client);
    }
    assert_int_equal(world.calls, FL_COUNT(rows));
    turn_until_idle(5);
    stop();
}

static void bad_requests_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *what, *request, *answer;
    } rows[] = {
        {"not HTTP", "hello\r\n\r\n", NULL},
        {"no Host", "GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 400 "},
        {"a length of letters", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: ten\r\n\r\n", "HTTP/1.1 400 "},
        {"a negative length", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", "HTTP/1.1 400 "},
        {"length and chunks",
         "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
         "HTTP/1.1 400 "},
        {"two lengths", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\ncontent-length: 4\r\n\r\nabc",
         "HTTP/1.1 400 "},
        {"two codings",
         "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
         "HTTP/1.1 400 "},
        {"another coding", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\nabc", "HTTP/1.1 400 "},
        {"not chunked in the end",
         "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", "HTTP/1.1 400 "},
        {"a space before the colon", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length : 3\r\n\r\nabc", "HTTP/1.1 400 "},
        {"a bad chunk", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "HTTP/1.1 400 "},
        {"a length beyond all limits", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
         "HTTP/1.1 413 "},
    };
    const struct fl_http_server_options options = plain_options();
    start(&options);
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct http_client client;
        open_client(&client);
        assert_true(http_client_send_str(&client, rows[i].request));
        if (!http_client_wait_end(&client, 5) || (rows[i].answer != NULL && !http_client_has(&client, rows[i].answer)))
            fail_msg("%s: %.*s", rows[i].what, FL_SPAN_ARG(fl_buf_span(&client.received)));
        http_client_close(&client);
    }
    assert_int_equal(world.calls, 0);
    stop();
}

static void heads_are_bounded(void **state)
{
    (void)state;
    const struct fl_http_server_options options = plain_options();
    start(&options);
    struct fl_buf request;
    fl_buf_init(&request, 1u << 20);
    const size_t sizes[] = {FL_HTTP_HEAD_MAX - 200, 4 * FL_HTTP_HEAD_MAX};
    for (size_t i = 0; i < FL_COUNT(sizes); i++) {
        fl_buf_clear(&request);
        assert_int_equal(fl_buf_append_str(&request, "GET /h HTTP/1.1\r\nHost: x\r\nA: "), 0);
        while (request.len < sizes[i])
            assert_int_equal(fl_buf_append_byte(&request, 'a'), 0);
        assert_int_equal(fl_buf_append_str(&request, "\r\n\r\n"), 0);
        struct http_client client;
        open_client(&client);
        http_client_send(&client, fl_buf_span(&request));
        assert_int_equal(http_client_wait(&client, "<GET|/h", 1, 5), i == 0);
        if (i == 1)
            assert_true(http_client_wait_end(&client, 5));
        http_client_close(&client);
    }
    fl_buf_done(&request);
    stop();
}

static void bodies_come_whole_and_answers_go_whole(void **state)
{
    (void)state;
    const struct fl_http_server_options options = plain_options();
    start(&options);
    struct fl_buf request;
    fl_buf_init(&request, 1u << 20);
    assert_int_equal(fl_buf_printf(&request, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", BODY_MAX),
                     0);
    for (size_t i = 0; i < BODY_MAX; i++)
        assert_int_equal(fl_buf_append_byte(&request, (char)('a' + i % 23)), 0);
    struct http_client client;
    open_client(&client);
    assert_true(http_client_send(&client, fl_buf_span(&request)));
    struct fl_span body = fl_span_from(fl_buf_span(&request), request.len - BODY_MAX);
    assert_true(http_client_wait(&client, "\r\n\r\n", 1, 5));
    size_t head =
        (size_t)((char *)memmem(client.received.data, client.received.len, "\r\n\r\n", 4) - client.received.data) + 4;
    assert_true(http_client_wait_size(&client, head + BODY_MAX, 5));
    assert_true(fl_span_ends_with(fl_buf_span(&client.received), body));
    world.answer_size = 8u << 20; /* beyond every socket buffer */
    fl_buf_clear(&client.received);
    assert_true(http_client_send_str(&client, "GET /big HTTP/1.1\r\nHost: x\r\n\r\n"));
    assert_true(http_client_wait_size(&client, world.answer_size, 10));
    assert_true(http_client_has(&client, "Content-Length: 8388608\r\n"));
    http_client_close(&client);
    fl_buf_done(&request);
    stop();
}

static void head_has_no_body_and_405_names_what_is_allowed(void **state)
{
    (void)state;
    const struct fl_http_server_options options = plain_options();
    start(&options);
    struct http_client client;
    open_client(&client);
    assert_true(http_client_send_str(&client, "HEAD /h HTTP/1.1\r\nHost: x\r\n\r\n"));
    assert_true(http_client_wait(&client, "\r\n\r\n", 1, 5));
    assert_true(http_client_has(&client, "Content-Length: 14\r\n"));
    assert_true(http_client_has(&client, "Content-Type: text/plain\r\n"));
    assert_true(fl_span_ends_with(fl_buf_span(&client.received), FL_SPAN("\r\n\r\n")));
    world.status = 405;
    fl_buf_clear(&client.received);
    assert_true(http_client_send_str(&client, "GET /h HTTP/1.1\r\nHost: x\r\n\r\n"));
    assert_true(http_client_wait(&client, "<GET|/h", 1, 5));
    assert_true(http_client_has(&client, "HTTP/1.1 405 "));
    assert_true(http_client_has(&client, "Allow: POST\r\n"));
    world.status = 42; /* nonsense from a handler */
    assert_true(http_client_send_str(&client, "GET /h HTTP/1.1\r\nHost: x\r\n\r\n"));
    assert_true(http_client_wait(&client, "HTTP/1.1 500 ", 1, 5));
    http_client_close(&client);
    stop();
}

static void pipelined_requests_are_answered_in_order(void **state)
{
    (void)state;
    const struct fl_http_server_options options = plain_options();
    start(&options);
    struct fl_buf requests;
    fl_buf_init(&requests, 1u << 20);
    for (int i = 0; i < 50; i++)
        assert_int_equal(fl_buf_printf(&requests, "POST /p%02d HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%.*s",
                                       i, i, i, "0123456789012345678901234567890123456789012345678901234567890"),
                         0);
    struct http_client client;
    open_client(&client);
    assert_true(http_client_send(&client, fl_buf_span(&requests)));
    assert_true(http_client_wait(&client, "<POST|/p", 50, 5));
    assert_true(http_client_has(&client, "<POST|/p49|||49|>"));
    assert_int_equal(world.calls, 50);
    http_client_close(&client);
    fl_buf_done(&requests);
    stop();
}

static void expectation_is_met_or_refused(void **state)
{
    (void)state;
    const struct fl_http_server_options options = plain_options();
    start(&options);
    struct http_client client;
    open_client(&client);
    assert_true(http_client_send_str(
        &client, "POST /e HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"));
    assert_true(http_client_wait(&client, "HTTP/1.1 100 Continue\r\n\r\n", 1, 5));
    assert_int_equal(world.calls, 0);
    assert_true(http_client_send_str(&client, "abc"));
    assert_true(http_client_wait(&client, "<POST|/e|||3|>", 1, 5));
    http_client_close(&client);
    open_client(&client);
    assert_true(http_client_send_str(
        &client, "POST /e HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 100001\r\n\r\n"));
    assert_true(http_client_wait_end(&client, 5));
    assert_true(http_client_has(&client, "HTTP/1.1 413 "));
    assert_true(http_client_has(&client, "the body is larger than 100000 bytes"));
    assert_false(http_client_has(&client, "100 Continue"));
    http_client_close(&client);
    assert_int_equal(world.calls, 1);
    stop();
}

/* The client pushes its whole body without looking: it still gets the answer, and no reset. */
static void a_body_too_large_gets_its_answer(void **state)
{
    (void)state;
    const struct fl_http_server_options options = plain_options();
    start(&options);
    struct http_client client;
    open_client(&client);
    assert_true(http_client_send_str(&client, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4000000\r\n\r\n"));
    char block[4000];
    memset(block, 'b', sizeof(block));
    for (int i = 0; i < 1000; i++)
        assert_true(http_client_send(&client, fl_span_make(block, sizeof(block))));
    assert_true(http_client_wait_end(&client, 5));
    assert_true(http_client_has(&client, "HTTP/1.1 413 "));
    assert_true(http_client_has(&client, "Connection: close"));
    assert_false(client.reset);
    http_client_close(&client);
    turn_until_idle(5);
    assert_int_equal(world.calls, 0);
    stop();
}

static void chunks_beyond_the_limit(void **state)
{
    (void)state;
    const struct fl_http_server_options options = plain_options();
    start(&options);
    char chunk[10006 + 2];
    memset(chunk, 'c', sizeof(chunk));
    memcpy(chunk, "2710\r\n", 6);
    memcpy(chunk + 10006, "\r\n", 2);
    for (int count = 10; count <= 30; count += 5) { /* the limit is ten */
        struct http_client client;
        open_client(&client);
        assert_true(http_client_send_str(&client, "POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"));
        bool sent = true;
        for (int i = 0; i < count && sent; i++)
            sent = http_client_send(&client, fl_span_make(chunk, sizeof(chunk)));
        if (sent)
            http_client_send_str(&client, "0\r\n\r\n");
        const char *answer = count == 10 ? "<POST|/c|||100000|>" : count <= 20 ? "HTTP/1.1 413 " : "nothing at all";
        assert_int_equal(http_client_wait(&client, answer, 1, 5), count <= 20);
        http_client_close(&client);
    }
    assert_int_equal(world.calls, 1);
    stop();
}

/* A few clients that send large bodies and stop before the end must not keep others out: the oldest body goes. */
static void bodies_together_are_bounded(void **state)
{
    (void)state;
    const struct fl_http_server_options options = plain_options();
    start(&options);
    struct http_client clients[FL_HTTP_BODIES_MAX + 1];
    char half[BODY_MAX - 1];
    memset(half, 'h', sizeof(half));
    for (size_t i = 0; i < FL_COUNT(clients); i++) {
        open_client(&clients[i]);
        assert_true(http_client_send_str(&clients[i], "POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"));
        http_client_send(&clients[i], fl_span_make(half, sizeof(half)));
        http_client_wait(&clients[i], "HTTP/1.1 ", 1, 0.05);
    }
    assert_true(http_client_wait_end(&clients[0], 5));
    for (size_t i = 1; i < FL_COUNT(clients); i++) {
        assert_true(http_client_send_str(&clients[i], "h"));
        assert_true(http_client_wait(&clients[i], "<POST|/b|||100000|>", 1, 5));
    }
    for (size_t i = 0; i < FL_COUNT(clients); i++)
        http_client_close(&clients[i]);
    turn_until_idle(5);
    stop();
}

/* One second for each step, whatever trickles. */
static void slow_clients_are_cut(void **state)
{
    (void)state;
    static const struct {
        const char *what, *head;
        char trickle;
    } rows[] = {
        {"a client that says nothing", "", '\0'},
        {"a request line that trickles", "GET /", 'a'},
        {"a head that trickles", "GET / HTTP/1.1\r\nHost: x\r\nA: ", 'a'},
        {"a body that trickles", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n", 'a'},
        {"an idle connection", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", '\0'},
    };
    struct fl_http_server_options options = plain_options();
    options.idle_seconds = 1;
    start(&options);
    struct http_client clients[FL_COUNT(rows)];
    double begin = http_client_now();
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        open_client(&clients[i]);
        assert_true(http_client_send_str(&clients[i], rows[i].head));
    }
    size_t open = FL_COUNT(rows);
    while (open > 0 && http_client_now() - begin < 4) {
        open = 0;
        for (size_t i = 0; i < FL_COUNT(rows); i++) {
            if (rows[i].trickle != '\0' && !clients[i].ended)
                http_client_send(&clients[i], fl_span_make(&rows[i].trickle, 1));
            http_client_wait(&clients[i], "no such text", 1, 0.01);
            open += !clients[i].ended;
        }
    }
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        if (!clients[i].ended)
            fail_msg("%s is still there", rows[i].what);
        http_client_close(&clients[i]);
    }
    assert_true(http_client_now() - begin > 0.95);
    assert_true(fl_http_server_idle(world.server));
    stop();
}

static void a_slow_reader_is_cut(void **state)
{
    (void)state;
    struct fl_http_server_options options = plain_options();
    options.idle_seconds = 1;
    start(&options);
    world.answer_size = 8u << 20;
    struct http_client client;
    open_client(&client);
    assert_true(http_client_send_str(&client, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
    double begin = http_client_now();
    while ((world.calls == 0 || !fl_http_server_idle(world.server)) && http_client_now() - begin < 4)
        assert_int_equal(fl_loop_turn(world.loop, 5), 0);
    assert_int_equal(world.calls, 1);
    assert_true(fl_http_server_idle(world.server));
    http_client_close(&client);
    stop();
}

/* More clients than places: they wait in the kernel and are served as places get free, though nothing else happens. */
static void connections_beyond_the_limit_wait(void **state)
{
    (void)state;
    struct fl_http_server_options options = plain_options();
    options.connections_max = 4;
    options.connections_per_address = 4;
    start(&options);
    struct http_client clients[12];
    for (size_t i = 0; i < FL_COUNT(clients); i++) {
        open_client(&clients[i]);
        assert_true(http_client_send_str(&clients[i], "GET /w HTTP/1.1\r\nHost: x\r\n\r\n"));
    }
    for (size_t i = 0; i < 4; i++)
        assert_true(http_client_wait(&clients[i], "<GET|/w", 1, 5));
    assert_false(http_client_wait(&clients[4], "<GET|/w", 1, 0.1));
    assert_int_equal(world.calls, 4);
    for (size_t i = 0; i < FL_COUNT(clients); i++) {
        assert_true(http_client_wait(&clients[i], "<GET|/w", 1, 5));
        http_client_close(&clients[i]);
    }
    stop();
}

/* Silent clients, or ones that trickle, do not keep others out: before all places are taken the longest goes. */
static void the_longest_gives_way(void **state)
{
    (void)state;
    struct fl_http_server_options options = plain_options();
    options.connections_max = 16;
    options.connections_per_address = 16;
    start(&options);
    struct http_client silent[40], client;
    for (size_t i = 0; i < FL_COUNT(silent); i++) {
        open_client(&silent[i]);
        assert_true(http_client_send_str(&silent[i], i % 2 == 0 ? "POST /s HTTP/1.1\r\nHost: x\r\n" : ""));
        assert_int_equal(fl_loop_turn(world.loop, 1), 0);
    }
    open_client(&client);
    assert_true(http_client_send_str(&client, "GET /w HTTP/1.1\r\nHost: x\r\n\r\n"));
    assert_true(http_client_wait(&client, "<GET|/w", 1, 5));
    assert_true(http_client_wait_end(&silent[0], 5));
    assert_false(silent[FL_COUNT(silent) - 1].ended);
    for (size_t i = 0; i < FL_COUNT(silent); i++)
        http_client_close(&silent[i]);
    http_client_close(&client);
    turn_until_idle(5);
    stop();
}

static void connections_of_one_address_are_bounded(void **state)
{
    (void)state;
    struct fl_http_server_options options = plain_options();
    options.connections_max = 6;
    options.connections_per_address = 0; /* half */
    start(&options);
    struct http_client clients[4];
    for (size_t i = 0; i < FL_COUNT(clients); i++) {
        open_client(&clients[i]);
        http_client_send_str(&clients[i], "GET /w HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_int_equal(http_client_wait(&clients[i], "<GET|/w", 1, 5), i < 3);
    }
    assert_true(clients[3].ended);
    for (size_t i = 0; i < FL_COUNT(clients); i++)
        http_client_close(&clients[i]);
    stop();
}

static void drain_finishes_what_is_open(void **state)
{
    (void)state;
    const struct fl_http_server_options options = plain_options();
    start(&options);
    struct http_client busy, idle;
    open_client(&busy);
    open_client(&idle);
    assert_true(http_client_send_str(&busy, "POST /d HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\na"));
    assert_true(http_client_send_str(&idle, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
    assert_true(http_client_wait(&idle, "<GET|/", 1, 5));
    fl_http_server_drain(world.server);
    fl_http_server_drain(world.server);
    assert_false(fl_http_server_idle(world.server));
    struct fl_http_server_options options_of_next = options; /* the port is free again at once */
    struct fl_http_server *next;
    char address[32];
    snprintf(address, sizeof(address), "127.0.0.1:%u", fl_http_server_port(world.server));
    options_of_next.address = fl_span_str(address);
    assert_int_equal(fl_http_server_new(world.loop, &options_of_next, &next, NULL), 0);
    fl_http_server_free(next);
    assert_true(http_client_wait_end(&idle, 3));
    assert_false(busy.ended);
    assert_true(http_client_send_str(&busy, "b"));
    assert_true(http_client_wait(&busy, "<POST|/d|||2|>", 1, 5));
    assert_true(http_client_has(&busy, "Connection: close"));
    assert_true(http_client_wait_end(&busy, 5));
    turn_until_idle(5);
    http_client_close(&busy);
    http_client_close(&idle);
    stop();
}

static void the_handler_may_drain(void **state)
{
    (void)state;
    const struct fl_http_server_options options = plain_options();
    start(&options);
    world.drain = true;
    struct http_client client;
    open_client(&client);
    assert_true(http_client_send_str(&client, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
    assert_true(http_client_wait_end(&client, 5));
    assert_true(http_client_has(&client, "Connection: close"));
    http_client_close(&client);
    turn_until_idle(5);
    stop();
}

static void free_closes_whatever_is_open(void **state)
{
    (void)state;
    const struct fl_http_server_options options = plain_options();
    start(&options);
    struct http_client clients[3];
    for (size_t i = 0; i < FL_COUNT(clients); i++)
        open_client(&clients[i]);
    assert_true(http_client_send_str(&clients[0], "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\nabc"));
    assert_true(http_client_send_str(&clients[1], "GET / HT"));
    fl_http_server_free(world.server);
    for (size_t i = 0; i < FL_COUNT(clients); i++) {
        assert_true(http_client_wait_end(&clients[i], 1));
        http_client_close(&clients[i]);
    }
    fl_loop_free(world.loop);
}

static void addresses(void **state)
{
    (void)state;
    static const struct {
        const char *address;
        int result;
    } rows[] = {
        {"127.0.0.1:0", 0},
        {"0.0.0.0:0", 0},
        {"[::1]:0", 0},
        {"[::]:0", 0},
        {"127.0.0.1", -EINVAL},
        {":8080", -EINVAL},
        {"127.0.0.1:", -EINVAL},
        {"127.0.0.1:65536", -EINVAL},
        {"127.0.0.1:+1", -EINVAL},
        {"::1:80", -EINVAL},
        {"[::1:80", -EINVAL},
        {"[127.0.0.1]:80", -EINVAL},
        {"localhost:80", -EINVAL},
        {"", -EINVAL},
        {"203.0.113.7:0", -EADDRNOTAVAIL},
    };
    struct fl_loop *loop;
    assert_int_equal(fl_loop_new(&loop), 0);
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct fl_http_server_options options = plain_options();
        struct fl_http_server *server = NULL;
        struct fl_err err = {0};
        options.address = fl_span_str(rows[i].address);
        int result = fl_http_server_new(loop, &options, &server, &err);
        if (result != rows[i].result && !(result == -EADDRNOTAVAIL && rows[i].address[0] == '['))
            fail_msg("%s: %d %s", rows[i].address, result, err.text);
        fl_http_server_free(server);
    }
    struct fl_http_server_options options = plain_options();
    struct fl_http_server *first, *second;
    char text[32];
    assert_int_equal(fl_http_server_new(loop, &options, &first, NULL), 0);
    snprintf(text, sizeof(text), "127.0.0.1:%u", fl_http_server_port(first));
    options.address = fl_span_str(text);
    assert_int_equal(fl_http_server_new(loop, &options, &second, NULL), -EADDRINUSE);
    fl_http_server_free(first);
    assert_int_equal(fl_http_server_new(loop, &options, &second, NULL), 0);
    fl_http_server_free(second);
    fl_loop_free(loop);
}

static void our_allocations_may_fail(void **state)
{
    (void)state;
    struct fl_loop *loop;
    assert_int_equal(fl_loop_new(&loop), 0);
    FAIL_EACH_ALLOCATION
    {
        const struct fl_http_server_options options = plain_options();
        struct fl_http_server *server = NULL;
        int result = fl_http_server_new(loop, &options, &server, NULL);
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
        fl_http_server_free(server);
    }
    fl_loop_free(loop);
    /* While it serves, a failure costs the connection and no more. */
    for (size_t nth = 1; nth < 12; nth++) {
        const struct fl_http_server_options options = plain_options();
        start(&options);
        struct http_client client;
        open_client(&client);
        client.received.cap = 0;
        assert_int_equal(fl_buf_reserve(&client.received, 10000), 0);
        for (int i = 0; i < 5; i++)
            fl_loop_turn(world.loop, 0);
        fail_at(nth);
        http_client_send_str(&client, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc");
        for (int i = 0; i < 20; i++)
            fl_loop_turn(world.loop, 1);
        bool failed = fail_happened();
        fail_stop();
        if (!failed)
            assert_true(http_client_wait(&client, "abc", 1, 5));
        http_client_close(&client);
        turn_until_idle(5);
        stop();
    }
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_reach_the_handler),
        cmocka_unit_test(bad_requests_are_refused),
        cmocka_unit_test(heads_are_bounded),
        cmocka_unit_test(bodies_come_whole_and_answers_go_whole),
        cmocka_unit_test(head_has_no_body_and_405_names_what_is_allowed),
        cmocka_unit_test(pipelined_requests_are_answered_in_order),
        cmocka_unit_test(expectation_is_met_or_refused),
        cmocka_unit_test(a_body_too_large_gets_its_answer),
        cmocka_unit_test(chunks_beyond_the_limit),
        cmocka_unit_test(bodies_together_are_bounded),
        cmocka_unit_test(slow_clients_are_cut),
        cmocka_unit_test(a_slow_reader_is_cut),
        cmocka_unit_test(connections_beyond_the_limit_wait),
        cmocka_unit_test(the_longest_gives_way),
        cmocka_unit_test(connections_of_one_address_are_bounded),
        cmocka_unit_test(drain_finishes_what_is_open),
        cmocka_unit_test(the_handler_may_drain),
        cmocka_unit_test(free_closes_whatever_is_open),
        cmocka_unit_test(addresses),
        cmocka_unit_test(our_allocations_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
