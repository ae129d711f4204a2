/* The exchange between clients and servers of HTTP/1 and HTTP/2, the test as both. */
#include "proxy/filter/hcm_inner.h"
#include "proxy/http/websocket.h"
#include "tests/support/fail.h"
#include "tests/unit/proxy/h2_peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>

#include <cmocka.h>

#define GRPC     "content-type: application/grpc\nte: trailers\n"
#define OK_EMPTY "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

/* --- HTTP/2 from the client, HTTP/1 to the server ----------------------------------------------------------------- */

struct chat {
    struct fixture f;
    struct h2_peer client;
    struct side origin;
};

static void begin(struct chat *c)
{
    fixture_init(&c->f, true);
    peer_connect(&c->client, &c->f, NULL);
    c->origin = (struct side){.fd = -1};
}

static void finish(struct chat *c)
{
    peer_done(&c->client);
    side_done(&c->origin);
    fixture_run(&c->f);
    fixture_done(&c->f);
}

static void expect_at_origin(struct chat *c, const char *text)
{
    if (c->origin.text == NULL)
        c->origin = fixture_origin(&c->f);
    side_expect(&c->f, &c->origin, text);
}

static void say(struct chat *c, const char *text)
{
    side_say(&c->f, &c->origin, text);
    peer_run(&c->client);
}

static void requests_and_answers(void **state)
{
    (void)state;
    struct chat c;
    begin(&c);
    for (int i = 0; i < 3; i++) {
        struct peer_stream *one = peer_request(&c.client, "GET", "/a?b", "x-a: 1\n", true);
        expect_at_origin(&c, "GET /a?b HTTP/1.1\r\nhost: web\r\nx-a: 1\r\n\r\n");
        say(&c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-B: 2\r\nKeep-Alive: x\r\n\r\nhi");
        peer_expect(one, "200\ncontent-length: 2\nx-b: 2\n", "hi");
    }
    assert_false(fixture_origin_waits(&c.f));
    assert_true(fixture_metric_of(&c.f, "istio_requests_total", "response_code=\"200\"") == 3);
    assert_true(fixture_metric(&c.f, "istio_response_bytes_sum") > 0);
    finish(&c);
}

static void bodies_both_ways_with_trailers(void **state)
{
    (void)state;
    struct chat c;
    begin(&c);
    struct peer_stream *one = peer_request(&c.client, "POST", "/a", "te: trailers\n", false);
    peer_send(one, "abc");
    expect_at_origin(&c, "POST /a HTTP/1.1\r\nhost: web\r\nte: trailers\r\ntransfer-encoding: chunked\r\n"
                         "connection: te\r\n\r\n3\r\nabc\r\n");
    peer_end(one, "x-sum: 1\n");
    expect_at_origin(&c, "0\r\nx-sum: 1\r\n\r\n");
    say(&c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-End: 2\r\n\r\n");
    peer_expect(one, "200\n", "ok");
    assert_string_equal(one->trailers, "x-end: 2\n");
    assert_null(strstr(one->head, "chunked"));
    finish(&c);
}

static void many_at_once(void **state)
{
    (void)state;
    struct chat c;
    begin(&c);
    struct peer_stream *slow = peer_request(&c.client, "GET", "/first", "", true);
    expect_at_origin(&c, "GET /first HTTP/1.1\r\nhost: web\r\n\r\n");
    for (int i = 0; i < 70; i++) { /* one does not wait for another */
        struct peer_stream *one = peer_request(&c.client, "GET", "/direct", "", true);
        peer_expect(one, "200\n", "direct");
    }
    struct peer_stream *post = peer_request(&c.client, "POST", "/second", "content-length: 1\n", false);
    struct side second = fixture_origin(&c.f);
    peer_send(post, "x");
    peer_end(post, NULL);
    side_expect(&c.f, &second, "POST /second HTTP/1.1\r\nhost: web\r\ncontent-length: 1\r\n\r\nx");
    side_say(&c.f, &second, OK_EMPTY);
    peer_expect(post, "200\n", "");
    say(&c, OK_EMPTY);
    peer_expect(slow, "200\n", "");
    side_done(&second);
    finish(&c);
}

static void a_burst_of_requests_is_spread_over_turns(void **state)
{
    (void)state;
    struct chat c;
    begin(&c);
    struct peer_stream *all[90];
    c.client.is_deaf = true;
    for (size_t i = 0; i < FL_COUNT(all); i++) {
        struct proxy_message *message = &c.client.message;
        all[i] = peer_request(&c.client, "GET", "/direct", "", true);
        (void)message;
    }
    c.client.is_deaf = false;
    for (size_t i = 0; i < FL_COUNT(all); i++)
        peer_expect(all[i], "200\n", "direct");
    finish(&c);
}

static void interim_answers_and_heads_without_body(void **state)
{
    (void)state;
    struct chat c;
    begin(&c);
    struct peer_stream *one = peer_request(&c.client, "POST", "/a", "content-length: 4\nexpect: 100-continue\n", false);
    expect_at_origin(&c, "POST /a HTTP/1.1\r\nhost: web\r\ncontent-length: 4\r\nexpect: 100-continue\r\n\r\n");
    say(&c, "HTTP/1.1 100 Continue\r\n\r\n");
    assert_string_equal(one->head, "100\n");
    peer_send(one, "body");
    peer_end(one, NULL);
    expect_at_origin(&c, "body");
    say(&c, "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" OK_EMPTY);
    peer_expect(one, "100\n103\nlink: a\n200\ncontent-length: 0\n", "");
    struct peer_stream *head = peer_request(&c.client, "HEAD", "/", "", true);
    expect_at_origin(&c, "HEAD / HTTP/1.1\r\nhost: web\r\n\r\n");
    say(&c, "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n");
    peer_expect(head, "200\ncontent-length: 99\n", "");
    struct peer_stream *none = peer_request(&c.client, "GET", "/", "", true);
    expect_at_origin(&c, "GET / HTTP/1.1\r\nhost: web\r\n\r\n");
    say(&c, "HTTP/1.1 304 Not Modified\r\n\r\n");
    peer_expect(none, "304\n", "");
    finish(&c);
}

static void resets_go_both_ways(void **state)
{
    (void)state;
    struct chat c;
    begin(&c);
    struct peer_stream *one = peer_request(&c.client, "GET", "/a", "", true);
    expect_at_origin(&c, "GET /a HTTP/1.1\r\nhost: web\r\n\r\n");
    peer_reset(one, PROXY_RESET_CANCELLED);
    side_hear_end(&c.f, &c.origin);
    assert_true(c.origin.reset);
    assert_true(fixture_metric_of(&c.f, "istio_requests_total", "response_flags=\"DC\"") == 1);
    side_done(&c.origin);
    c.origin = (struct side){.fd = -1};
    struct peer_stream *two = peer_request(&c.client, "GET", "/b", "", true);
    expect_at_origin(&c, "GET /b HTTP/1.1\r\nhost: web\r\n\r\n");
    say(&c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
    side_abort(&c.origin); /* within an answer: never a truncated success */
    peer_expect_reset(two);
    struct peer_stream *three = peer_request(&c.client, "GET", "/direct", "", true);
    peer_expect(three, "200\n", "direct"); /* and the connection lives on */
    finish(&c);
}

static void an_early_answer(void **state)
{
    (void)state;
    struct chat c;
    begin(&c);
    struct peer_stream *one = peer_request(&c.client, "POST", "/up", "content-length: 100000\n", false);
    peer_send(one, "begin");
    expect_at_origin(&c, "POST /up HTTP/1.1\r\nhost: web\r\ncontent-length: 100000\r\n\r\nbegin");
    say(&c, "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
    PEER_UNTIL(&c.client, one->ended || one->reset);
    assert_true(strncmp(one->head, "413\n", 4) == 0);
    assert_true(fl_span_eq_str(fl_buf_span(&one->body), "no"));
    finish(&c);
}

static void slow_readers_cost_bounded_memory(void **state)
{
    (void)state;
    struct chat c;
    static char block[100000];
    const size_t total = 4000000;
    char head[128];
    begin(&c);
    struct peer_stream *one = peer_request(&c.client, "GET", "/large", "", true);
    expect_at_origin(&c, "GET /large HTTP/1.1\r\nhost: web\r\n\r\n");
    c.client.is_deaf = true;
    snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", total);
    say(&c, head);
    size_t sent = 0, most = 0;
    for (int i = 0; i < 60; i++) { /* the client reads nothing: the server is not read for long */
        ssize_t done = send(c.origin.fd, block, sizeof(block), MSG_DONTWAIT);
        sent += done > 0 ? (size_t)done : 0;
        fixture_run(&c.f);
        most = c.f.data.turn.pool.in_use > most ? c.f.data.turn.pool.in_use : most;
    }
    assert_true(sent < total || most <= 6 * PROXY_CONN_HIGH);
    assert_true(most <= 6 * PROXY_CONN_HIGH);
    c.client.is_deaf = false;
    while (sent < total) {
        size_t left = total - sent;
        ssize_t done = send(c.origin.fd, block, left < sizeof(block) ? left : sizeof(block), MSG_DONTWAIT);
        sent += done > 0 ? (size_t)done : 0;
        peer_run(&c.client);
        assert_true(c.f.data.turn.pool.in_use <= 6 * PROXY_CONN_HIGH);
    }
    PEER_UNTIL(&c.client, one->ended || one->reset);
    assert_int_equal(one->body.len, total);
    assert_int_equal(c.f.data.turn.pool.in_use, 0);
    finish(&c);
}

static void large_uploads_wait_for_the_server(void **state)
{
    (void)state;
    struct chat c;
    static char block[100000];
    const size_t total = 4000000;
    begin(&c);
    struct peer_stream *one = peer_request(&c.client, "POST", "/large", "content-length: 4000000\n", false);
    c.origin = fixture_origin(&c.f);
    for (size_t sent = 0, got = 0; got < total;) {
        if (sent < total && !proxy_stream_is_backlogged(one->stream)) {
            peer_send_bytes(one, fl_span_make(block, sizeof(block)));
            sent += sizeof(block);
        }
        peer_run(&c.client);
        assert_true(c.f.data.turn.pool.in_use <= 8 * PROXY_CONN_HIGH);
        side_hear(&c.f, &c.origin);
        char *body = got == 0 ? strstr(c.origin.text, "\r\n\r\n") : NULL;
        got += c.origin.len - (body != NULL ? (size_t)(body + 4 - c.origin.text) : 0);
        c.origin.len = 0;
    }
    peer_end(one, NULL);
    say(&c, OK_EMPTY);
    peer_expect(one, "200\n", "");
    finish(&c);
}

/* --- HTTP/2 to the server ------------------------------------------------------------------------------------------
 */

struct pair {
    struct fixture f;
    struct h2_peer client, server;
};

static void speak_http2(struct fixture *f)
{
    f->cluster->http = PROXY_UPSTREAM_HTTP2;
}

static struct peer_stream *pair_begin(struct pair *p, const char *method, const char *fields, bool end,
                                      struct peer_stream **ret_asked)
{
    fixture_init_with(&p->f, true, speak_http2);
    peer_connect(&p->client, &p->f, NULL);
    struct peer_stream *stream = peer_request(&p->client, method, "/a", fields, end);
    peer_accept(&p->server, &p->f, NULL);
    *ret_asked = peer_asked(&p->server, 0);
    return stream;
}

static void pair_run(struct pair *p)
{
    for (int i = 0; i < 3; i++) {
        peer_run(&p->client);
        peer_run(&p->server);
    }
}

static void pair_finish(struct pair *p)
{
    peer_done(&p->client);
    peer_done(&p->server);
    fixture_run(&p->f);
    fixture_done(&p->f);
}

static void http1_to_http2(void **state)
{
    (void)state;
    struct fixture f;
    struct h2_peer server;
    fixture_init_with(&f, true, speak_http2);
    struct side client = fixture_client(&f);
    side_say(&f, &client,
             "POST /a HTTP/1.1\r\nHost: web\r\nX-A: 1\r\nConnection: x-hop\r\nX-Hop: 1\r\nTransfer-Encoding: "
             "chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n");
    peer_accept(&server, &f, NULL);
    struct peer_stream *one = peer_asked(&server, 0);
    peer_expect(one, "POST /a\nhost: web\nx-a: 1\n", "abc");
    assert_string_equal(one->trailers, "x-sum: 1\n");
    peer_answer(one, 103, "link: a\n", false);
    peer_answer(one, 200, "x-b: 2\n", false);
    peer_send(one, "hello");
    peer_end(one, "x-end: 1\n");
    side_expect(&f, &client,
                "HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n"
                "HTTP/1.1 200 OK\r\nx-b: 2\r\ntransfer-encoding: chunked\r\n\r\n"
                "5\r\nhello\r\n0\r\nx-end: 1\r\n\r\n");
    static const struct {
        const char *request;
        unsigned status;
        const char *fields, *answer;
    } rows[] = {
        {"HEAD /a HTTP/1.1\r\nHost: web\r\n\r\n", 200, "content-length: 9\n",
         "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n"},
        {"GET /a HTTP/1.1\r\nHost: web\r\n\r\n", 204, "", "HTTP/1.1 204 No Content\r\n\r\n"},
        {"GET /a HTTP/1.1\r\nHost: web\r\n\r\n", 304, "", "HTTP/1.1 304 Not Modified\r\n\r\n"},
        {"GET /a HTTP/1.1\r\nHost: web\r\n\r\n", 404, "", "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        side_say(&f, &client, rows[i].request);
        peer_answer(peer_asked(&server, i + 1), rows[i].status, rows[i].fields, true);
        side_expect(&f, &client, rows[i].answer);
    }
    side_done(&client);
    peer_done(&server);
    fixture_run(&f);
    fixture_done(&f);
}

static void streams_both_ways(void **state)
{
    (void)state;
    struct pair p;
    struct peer_stream *asked, *one = pair_begin(&p, "POST", GRPC "grpc-timeout: 1S\n", false, &asked);
    assert_non_null(strstr(asked->head, "grpc-timeout: 1S\n"));
    assert_non_null(strstr(asked->head, "te: trailers\n"));
    peer_answer(asked, 200, "content-type: application/grpc\n", false);
    for (int i = 0; i < 5; i++) {
        peer_send(one, "ping");
        PEER_UNTIL(&p.server, asked->body.len == 4u * (unsigned)(i + 1));
        peer_send(asked, "pong");
        PEER_UNTIL(&p.client, one->body.len == 4u * (unsigned)(i + 1));
    }
    peer_end(one, NULL);
    PEER_UNTIL(&p.server, asked->ended);
    peer_end(asked, "grpc-status: 0\n");
    peer_expect(one, "200\n", "pongpongpongpongpong");
    assert_string_equal(one->trailers, "grpc-status: 0\n");
    assert_true(fixture_metric_of(&p.f, "istio_requests_total", "grpc_response_status=\"0\"") == 1);
    pair_finish(&p);
}

static void cancellation_goes_both_ways(void **state)
{
    (void)state;
    struct pair p;
    struct peer_stream *asked, *one = pair_begin(&p, "POST", GRPC, false, &asked);
    peer_reset(one, PROXY_RESET_CANCELLED);
    peer_expect_reset(asked);
    assert_int_equal(asked->why, PROXY_RESET_CANCELLED);
    struct peer_stream *two = peer_request(&p.client, "POST", "/b", GRPC, false);
    asked = peer_asked(&p.server, 1);
    peer_answer(asked, 200, "content-type: application/grpc\n", false);
    PEER_UNTIL(&p.client, two->status == 200);
    peer_reset(asked, PROXY_RESET_CANCELLED);
    peer_expect_reset(two);
    assert_int_equal(two->why, PROXY_RESET_CANCELLED);
    struct peer_stream *three = peer_request(&p.client, "GET", "/c", "", true);
    peer_reset(peer_asked(&p.server, 2), PROXY_RESET_INTERNAL); /* before it answered */
    peer_expect(three, "503\n", NULL);
    assert_true(fixture_metric_of(&p.f, "istio_requests_total", "response_flags=\"UR\"") == 2);
    struct peer_stream *four = peer_request(&p.client, "POST", "/d", GRPC, true);
    peer_answer(peer_asked(&p.server, 3), 200, "content-type: application/grpc\ngrpc-status: 3\n", true);
    peer_expect(four, "200\n", "");
    assert_non_null(strstr(four->head, "grpc-status: 3\n"));
    assert_true(fixture_metric_of(&p.f, "istio_requests_total", "grpc_response_status=\"3\"") == 1);
    pair_finish(&p);
}

/* grpc-go's servers do so at the deadline, and a client that is busy may hear of it before its own timer does. */
static void a_server_that_cancels_at_the_deadline(void **state)
{
    (void)state;
    struct pair p;
    struct peer_stream *asked, *one = pair_begin(&p, "POST", GRPC "grpc-timeout: 1m\n", true, &asked);
    fixture_wait(&p.f, 2);
    peer_reset(asked, PROXY_RESET_CANCELLED);
    peer_expect(one, "200\n", "");
    assert_non_null(strstr(one->head, "grpc-status: 4\n"));
    assert_true(fixture_metric_of(&p.f, "istio_requests_total", "response_flags=\"DT\"") == 1);
    struct peer_stream *two = peer_request(&p.client, "POST", "/b", GRPC "grpc-timeout: 1H\n", true);
    peer_reset(peer_asked(&p.server, 1), PROXY_RESET_CANCELLED);
    peer_expect(two, "200\n", "");
    assert_non_null(strstr(two->head, "grpc-status: 14\n"));
    struct peer_stream *three = peer_request(&p.client, "POST", "/c", GRPC "grpc-timeout: 1m\n", true);
    asked = peer_asked(&p.server, 2);
    fixture_wait(&p.f, 2);
    peer_reset(asked, PROXY_RESET_INTERNAL); /* this is no deadline */
    peer_expect(three, "200\n", "");
    assert_non_null(strstr(three->head, "grpc-status: 14\n"));
    pair_finish(&p);
}

static void what_was_refused_is_asked_again(void **state)
{
    (void)state;
    struct pair p;
    struct peer_stream *asked, *one = pair_begin(&p, "GET", "", true, &asked);
    peer_answer(asked, 200, "", true);
    peer_expect(one, "200\n", "");
    p.server.refuse = 1;
    struct peer_stream *two = peer_request(&p.client, "POST", "/b", "content-length: 0\n", true);
    peer_answer(peer_asked(&p.server, 1), 200, "x: 1\n", true);
    peer_expect(two, "200\nx: 1\n", "");
    assert_true(fixture_metric_of(&p.f, "fairlead_upstream_retries_total", "keep_alive") == 1);
    pair_finish(&p);
}

static void slow_ends_hold_up_their_stream_alone(void **state)
{
    (void)state;
    static char block[65536];
    const size_t total = 4000000;
    struct pair p;
    struct peer_stream *asked, *one = pair_begin(&p, "GET", "", true, &asked);
    peer_answer(asked, 200, "", false);
    size_t sent = 0;
    p.client.is_deaf = true;
    for (int i = 0; i < 40; i++) {
        if (!proxy_stream_is_backlogged(asked->stream)) {
            peer_send_bytes(asked, fl_span_make(block, sizeof(block)));
            sent += sizeof(block);
        }
        pair_run(&p);
    }
    assert_true(sent < total);
    assert_true(p.f.data.turn.pool.in_use <= 16 * PROXY_CONN_HIGH);
    p.client.is_deaf = false;
    while (sent < total) {
        if (!proxy_stream_is_backlogged(asked->stream)) {
            peer_send_bytes(asked, fl_span_make(block, sizeof(block)));
            sent += sizeof(block);
        }
        pair_run(&p);
    }
    peer_end(asked, NULL);
    FIXTURE_UNTIL(&p.f, (pair_run(&p), one->ended));
    assert_int_equal(one->body.len, sent);
    pair_finish(&p);
}

/* --- gRPC --------------------------------------------------------------------------------------------------------- */

static void errors_of_ours_are_grpcs(void **state)
{
    (void)state;
    struct chat c;
    begin(&c);
    assert_int_equal(shutdown(c.f.origin, SHUT_RDWR), 0);
    struct peer_stream *one = peer_request(&c.client, "POST", "/pkg.Service/Call", GRPC, false);
    peer_expect(one, "200\n", "");
    assert_non_null(strstr(one->head, "content-type: application/grpc\n"));
    assert_non_null(strstr(one->head, "grpc-status: 14\n"));
    assert_non_null(strstr(one->head, "grpc-message: upstream connect error\n"));
    assert_true(fixture_metric_of(&c.f, "istio_requests_total", "grpc_response_status=\"14\"") == 1);
    assert_true(fixture_metric_of(&c.f, "istio_requests_total", "request_protocol=\"grpc\"") == 1);
    finish(&c);
}

static void the_status_of_trailers_is_counted(void **state)
{
    (void)state;
    struct chat c;
    begin(&c);
    struct peer_stream *one = peer_request(&c.client, "POST", "/pkg.Service/Call", GRPC, false);
    peer_end(one, NULL);
    c.origin = fixture_origin(&c.f);
    side_hear(&c.f, &c.origin);
    say(&c, "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
            "grpc-status: 5\r\ngrpc-message: none\r\n\r\n");
    peer_expect(one, "200\n", "");
    assert_string_equal(one->trailers, "grpc-status: 5\ngrpc-message: none\n");
    assert_true(fixture_metric_of(&c.f, "istio_requests_total", "grpc_response_status=\"5\"") == 1);
    finish(&c);
}

/* --- connections -------------------------------------------------------------------------------------------------- */

static void draining_takes_two_goaways(void **state)
{
    (void)state;
    struct chat c;
    begin(&c);
    struct peer_stream *one = peer_request(&c.client, "GET", "/a", "", true);
    expect_at_origin(&c, "GET /a HTTP/1.1\r\nhost: web\r\n\r\n");
    proxy_data_drain(&c.f.data);
    peer_run(&c.client);
    PEER_UNTIL(&c.client, c.client.goaways > 0);
    fixture_wait(&c.f, 300);
    peer_run(&c.client);
    say(&c, OK_EMPTY);
    peer_expect(one, "200\n", "");
    PEER_UNTIL(&c.client, c.client.side.ended);
    assert_false(c.client.side.reset);
    assert_int_equal(c.f.drained, 1);
    finish(&c);
}

/* The server's part is long done; the client gives no window yet. */
static void leave_an_answer_untaken(struct chat *c, struct peer_stream **ret_one)
{
    static const struct proxy_h2_settings small = {.stream_window = 65535};
    static char answer[90100];
    fixture_init(&c->f, true);
    peer_connect(&c->client, &c->f, &small);
    c->origin = (struct side){.fd = -1};
    *ret_one = peer_request(&c->client, "GET", "/a", "", true);
    proxy_stream_pause((*ret_one)->stream);
    expect_at_origin(c, "GET /a HTTP/1.1\r\nhost: web\r\n\r\n");
    size_t head = (size_t)snprintf(answer, sizeof(answer), "HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n");
    memset(answer + head, 'x', 90000);
    side_say_bytes(&c->f, &c->origin, answer, head + 90000);
    PEER_UNTIL(&c->client, fixture_metric(&c->f, "istio_requests_total") == 1);
}

static void what_is_not_taken_yet_survives_a_drain(void **state)
{
    (void)state;
    struct chat c;
    struct peer_stream *one;
    leave_an_answer_untaken(&c, &one);
    proxy_data_drain(&c.f.data);
    fixture_wait(&c.f, 1500);
    proxy_stream_resume(one->stream);
    PEER_UNTIL(&c.client, one->ended || one->reset);
    assert_int_equal(one->body.len, 90000);
    finish(&c);
}

static void what_is_never_taken_ends_with_the_drain_time(void **state)
{
    (void)state;
    struct chat c;
    struct peer_stream *one;
    leave_an_answer_untaken(&c, &one);
    proxy_data_drain(&c.f.data);
    proxy_data_abort(&c.f.data);
    fixture_run(&c.f);
    finish(&c);
}

static void a_connection_without_requests_ends(void **state)
{
    (void)state;
    struct chat c;
    begin(&c);
    c.f.hcm->idle_timeout_ms = 200;
    struct peer_stream *one = peer_request(&c.client, "GET", "/direct", "", true);
    peer_expect(one, "200\n", "direct");
    PEER_UNTIL(&c.client, c.client.side.ended);
    assert_int_equal(c.f.data.downstream_count, 0);
    finish(&c);
}

/* A client that has given its streams no window, and has asked for /direct: the answer waits in the session, and the
 * exchange is over. */
static struct side ask_without_window(struct fixture *f)
{
    static const char hello[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
                                "\0\0\6\4\0\0\0\0\0\0\4\0\0\0\0"                         /* SETTINGS: a window of 0 */
                                "\0\0\x10\1\5\0\0\0\1\x82\x86\x41\x03web\x04\x07/direct" /* GET /direct */
                                "\0\0\0\4\1\0\0\0\0";                                    /* the ACK of its SETTINGS */
    struct side client = fixture_client(f);
    side_say_bytes(f, &client, hello, sizeof(hello) - 1);
    FIXTURE_UNTIL(f, fixture_metric_of(f, "istio_requests_total", "response_code=\"200\"") == 1);
    return client;
}

static void an_end_with_an_answer_that_waits_for_window(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, true);
    struct side client = ask_without_window(&f);
    proxy_downstream_abort_all(&f.data);
    side_hear_end(&f, &client);
    assert_int_equal(f.data.downstream_count, 0);
    side_done(&client);
    fixture_done(&f);
}

static void a_drain_waits_for_answers_that_wait_for_window(void **state)
{
    (void)state;
    static const char window[] = "\0\0\4\x8\0\0\0\0\1\0\0\1\0";
    struct fixture f;
    fixture_init(&f, true);
    struct side client = ask_without_window(&f);
    proxy_data_drain(&f.data);
    fixture_wait(&f, PROXY_HCM_DRAIN_IDLE_MS + 200);
    assert_int_equal(f.data.downstream_count, 1);
    side_say_bytes(&f, &client, window, sizeof(window) - 1);
    side_hear_end(&f, &client);
    assert_false(client.reset);
    assert_non_null(memmem(client.text, client.len, "\0\1direct", 8)); /* stream 1, and its bytes */
    side_done(&client);
    fixture_done(&f);
}

static void requests_of_a_connection_are_limited(void **state)
{
    (void)state;
    struct chat c;
    begin(&c);
    c.f.hcm->max_requests_per_connection = 2;
    for (int i = 0; i < 2; i++)
        peer_expect(peer_request(&c.client, "GET", "/direct", "", true), "200\n", "direct");
    PEER_UNTIL(&c.client, c.client.side.ended);
    assert_true(c.client.goaways > 0);
    finish(&c);
}

static void what_is_no_http2_is_counted(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, true);
    struct side client = fixture_client(&f);
    side_say(&f, &client, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nGET / HTTP/1.1\r\n\r\n");
    side_hear_end(&f, &client);
    assert_true(fixture_metric(&f, "fairlead_http_parse_errors_total") == 1);
    assert_true(fixture_metric_of(&f, "fairlead_http_parse_errors_total", "reason=\"http2.") == 1);
    assert_int_equal(f.data.downstream_count, 0);
    side_done(&client);
    fixture_done(&f);
}

static void a_preface_in_pieces(void **state)
{
    (void)state;
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
    struct fixture f;
    fixture_init(&f, true);
    struct side client = fixture_client(&f);
    side_say_bytes(&f, &client, preface, 1);
    side_say_bytes(&f, &client, preface + 1, 20);
    side_say_bytes(&f, &client, preface + 21, sizeof(preface) - 22);
    fixture_wait(&f, 300); /* the time for a head does not count for it any more */
    side_hear(&f, &client);
    assert_true(client.len >= 9 && client.text[3] == 4); /* SETTINGS */
    assert_false(client.ended || client.reset);
    side_done(&client);
    client = fixture_client(&f);
    side_say_bytes(&f, &client, preface, 8); /* … but for one that does not come whole */
    side_expect_start(&f, &client, "HTTP/1.1 408");
    side_done(&client);
    fixture_done(&f);
}

static void a_client_that_goes_cancels_all_of_its_requests(void **state)
{
    (void)state;
    for (int how = 0; how < 2; how++) {
        struct chat c;
        begin(&c);
        peer_request(&c.client, "GET", "/a", "", true);
        c.origin = fixture_origin(&c.f);
        peer_request(&c.client, "GET", "/b", "", true);
        struct side second = fixture_origin(&c.f);
        if (how == 0)
            side_end(&c.client.side);
        else
            side_abort(&c.client.side);
        side_hear_end(&c.f, &c.origin);
        side_hear_end(&c.f, &second);
        assert_true(fixture_metric_of(&c.f, "istio_requests_total", "response_flags=\"DC\"") == 2);
        assert_int_equal(c.f.data.downstream_count, 0);
        c.client.is_deaf = true;
        side_done(&second);
        finish(&c);
    }
}

static void websocket_over_extended_connect(void **state)
{
    (void)state;
    struct chat c;
    begin(&c);
    struct peer_stream *one =
        peer_request(&c.client, "GET", "/ws", "upgrade: websocket\nsec-websocket-version: 13\n", false);
    c.origin = fixture_origin(&c.f);
    side_hear(&c.f, &c.origin);
    assert_non_null(strstr(c.origin.text, "GET /ws HTTP/1.1\r\n"));
    assert_non_null(strstr(c.origin.text, "upgrade: websocket\r\n"));
    assert_non_null(strstr(c.origin.text, "connection: upgrade\r\n"));
    char accept[PROXY_WEBSOCKET_ACCEPT], answer[256];
    const char *key = strstr(c.origin.text, "sec-websocket-key: ");
    assert_non_null(key); /* HTTP/2 has none */
    assert_int_equal(proxy_websocket_accept(fl_span_make(key + 19, PROXY_WEBSOCKET_KEY), accept), 0);
    c.origin.len = 0;
    peer_send(one, "early"); /* is not a request of the server's */
    side_hear(&c.f, &c.origin);
    assert_int_equal(c.origin.len, 0);
    snprintf(answer, sizeof(answer),
             "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
             "Sec-WebSocket-Accept: %.*s\r\n\r\n\x01\x02",
             (int)sizeof(accept), accept);
    say(&c, answer);
    side_expect(&c.f, &c.origin, "early");
    PEER_UNTIL(&c.client, one->body.len >= 2);
    assert_true(one->upgrade);
    peer_send(one, "opaque\r\n\r\n");
    side_expect(&c.f, &c.origin, "opaque\r\n\r\n");
    peer_end(one, NULL); /* half-close, both ways */
    side_hear_end(&c.f, &c.origin);
    assert_true(c.origin.ended);
    say(&c, "last");
    side_end(&c.origin);
    peer_expect(one, NULL, "\x01\x02last");
    peer_expect(peer_request(&c.client, "GET", "/direct", "", true), "200\n", "direct");
    finish(&c);
}

static void a_server_that_did_not_read_the_key(void **state)
{
    (void)state;
    struct chat c;
    begin(&c);
    struct peer_stream *one =
        peer_request(&c.client, "GET", "/ws", "upgrade: websocket\nsec-websocket-version: 13\n", false);
    c.origin = fixture_origin(&c.f);
    side_hear(&c.f, &c.origin);
    say(&c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n");
    peer_expect(one, "502\n", NULL); /* the codec's word; the server is let go */
    side_hear_end(&c.f, &c.origin);
    peer_expect(peer_request(&c.client, "GET", "/direct", "", true), "200\n", "direct");
    finish(&c);
}

/* --- memory ------------------------------------------------------------------------------------------------------- */

static void memory_that_is_out_costs_a_request_or_a_connection(void **state)
{
    (void)state;
    FAIL_EACH_ALLOCATION
    {
        size_t countdown = fail_round_;
        fail_stop();
        struct fixture f;
        fixture_init(&f, true);
        struct side client = fixture_client(&f), origin = {.fd = -1};
        static const char hello[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
                                    "\0\0\0\4\0\0\0\0\0"                                 /* SETTINGS */
                                    "\0\0\x0b\1\5\0\0\0\1\x82\x86\x41\x03web\x04\x02/a"; /* GET /a */
        fail_at(countdown);
        side_say_bytes(&f, &client, hello, sizeof(hello) - 1);
        fail_stop();
        if (fixture_origin_waits(&f)) {
            origin = fixture_origin(&f);
            side_say(&f, &origin, OK_EMPTY);
        } else {
            assert_true(fail_happened());
        }
        side_hear(&f, &client);
        struct side other = fixture_client(&f); /* the process lives */
        side_say(&f, &other, "GET /direct HTTP/1.1\r\nHost: web\r\n\r\n");
        side_expect_start(&f, &other, "HTTP/1.1 200");
        side_done(&other);
        side_done(&client);
        side_done(&origin);
        fixture_run(&f);
        fixture_done(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_and_answers),
        cmocka_unit_test(bodies_both_ways_with_trailers),
        cmocka_unit_test(many_at_once),
        cmocka_unit_test(a_burst_of_requests_is_spread_over_turns),
        cmocka_unit_test(interim_answers_and_heads_without_body),
        cmocka_unit_test(resets_go_both_ways),
        cmocka_unit_test(an_early_answer),
        cmocka_unit_test(slow_readers_cost_bounded_memory),
        cmocka_unit_test(large_uploads_wait_for_the_server),
        cmocka_unit_test(http1_to_http2),
        cmocka_unit_test(streams_both_ways),
        cmocka_unit_test(cancellation_goes_both_ways),
        cmocka_unit_test(a_server_that_cancels_at_the_deadline),
        cmocka_unit_test(what_was_refused_is_asked_again),
        cmocka_unit_test(slow_ends_hold_up_their_stream_alone),
        cmocka_unit_test(errors_of_ours_are_grpcs),
        cmocka_unit_test(the_status_of_trailers_is_counted),
        cmocka_unit_test(draining_takes_two_goaways),
        cmocka_unit_test(what_is_not_taken_yet_survives_a_drain),
        cmocka_unit_test(what_is_never_taken_ends_with_the_drain_time),
        cmocka_unit_test(a_connection_without_requests_ends),
        cmocka_unit_test(an_end_with_an_answer_that_waits_for_window),
        cmocka_unit_test(a_drain_waits_for_answers_that_wait_for_window),
        cmocka_unit_test(requests_of_a_connection_are_limited),
        cmocka_unit_test(what_is_no_http2_is_counted),
        cmocka_unit_test(a_preface_in_pieces),
        cmocka_unit_test(a_client_that_goes_cancels_all_of_its_requests),
        cmocka_unit_test(websocket_over_extended_connect),
        cmocka_unit_test(a_server_that_did_not_read_the_key),
        cmocka_unit_test(memory_that_is_out_costs_a_request_or_a_connection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
