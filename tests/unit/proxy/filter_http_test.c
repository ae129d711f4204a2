/* proxy/filter/hcm and router: HTTP/1.1 through the proxy, the test as client and origin. */
#include "tests/unit/proxy/filter_fixture.h"

#include "proxy/filter/exchange.h"
#include "tests/support/fail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>

#include <cmocka.h>

#define GET      "GET /a HTTP/1.1\r\nHost: web\r\n\r\n"
#define OK_EMPTY "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

struct chat {
    struct fixture f;
    struct side client, origin;
};

static void begin(struct chat *c)
{
    fixture_init(&c->f, true);
    c->client = fixture_client(&c->f);
    c->origin.fd = -1;
    c->origin.text = NULL;
}

static void finish(struct chat *c)
{
    side_done(&c->client);
    side_done(&c->origin);
    fixture_run(&c->f);
    fixture_done(&c->f);
}

/* The request goes to the origin as `forwarded`, on a connection of its own. */
static void ask(struct chat *c, const char *request, const char *forwarded)
{
    side_say(&c->f, &c->client, request);
    if (c->origin.text == NULL)
        c->origin = fixture_origin(&c->f);
    side_expect(&c->f, &c->origin, forwarded);
}

static void answer(struct chat *c, const char *response, const char *received)
{
    side_say(&c->f, &c->origin, response);
    side_expect(&c->f, &c->client, received);
}

static void keep_alive_uses_one_connection_on_both_sides(void **state)
{
    (void)state;
    struct chat c;
    begin(&c);
    for (int i = 0; i < 3; i++) {
        ask(&c, GET, GET);
        answer(&c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
    }
    assert_false(fixture_origin_waits(&c.f));
    assert_true(fixture_metric(&c.f, "istio_requests_total") == 3);
    assert_int_equal(c.f.data.turn.pool.in_use, 0);
    finish(&c);
}

static void every_byte_split_both_ways(void **state)
{
    (void)state;
    struct chat c;
    static const char request[] =
        "POST /a HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    static const char response[] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx: y\r\n\r\n";
    begin(&c);
    c.f.hcm->request_headers_timeout_ms = 10000;
    for (const char *at = request; *at != '\0'; at++)
        side_say_bytes(&c.f, &c.client, at, 1);
    c.origin = fixture_origin(&c.f);
    side_hear(&c.f, &c.origin);
    assert_non_null(strstr(c.origin.text, "\r\n\r\n1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\n\r\n"));
    for (const char *at = response; *at != '\0'; at++)
        side_say_bytes(&c.f, &c.origin, at, 1);
    side_hear(&c.f, &c.client);
    assert_non_null(strstr(c.client.text, "\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\nx: y\r\n\r\n"));
    finish(&c);
}

static void pipelined_requests_go_one_after_the_other(void **state)
{
    (void)state;
    struct chat c;
    begin(&c);
    ask(&c, GET "GET /b HTTP/1.1\r\nHost: web\r\n\r\n" GET, GET); /* the first alone */
    answer(&c, OK_EMPTY, OK_EMPTY);
    side_expect(&c.f, &c.origin, "GET /b HTTP/1.1\r\nHost: web\r\n\r\n");
    answer(&c, OK_EMPTY, OK_EMPTY);
    side_expect(&c.f, &c.origin, GET);
    answer(&c, OK_EMPTY, OK_EMPTY);
    finish(&c);
}

static size_t answers_in(const char *text)
{
    size_t answers = 0;
    for (const char *at = text; (at = strstr(at, "HTTP/1.1 200")) != NULL; at++)
        answers++;
    return answers;
}

static void many_pipelined_answers_of_our_own(void **state)
{
    (void)state;
    struct chat c;
    begin(&c);
    for (int i = 0; i < 100; i++)
        assert_true(send(c.client.fd, "GET /direct HTTP/1.1\r\nHost: web\r\n\r\n", 35, 0) == 35);
    FIXTURE_UNTIL(&c.f, (side_hear(&c.f, &c.client), answers_in(c.client.text) >= 100));
    assert_int_equal(answers_in(c.client.text), 100);
    finish(&c);
}

static void interim_answers_are_passed_on(void **state)
{
    (void)state;
    struct chat c;
    static const char head[] = "POST /a HTTP/1.1\r\nHost: web\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n";
    begin(&c);
    ask(&c, head, head);
    answer(&c, "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\n");
    side_say(&c.f, &c.client, "body");
    side_expect(&c.f, &c.origin, "body");
    answer(&c, "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" OK_EMPTY,
           "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" OK_EMPTY);
    ask(&c, GET, GET); /* and the connections live on */
    finish(&c);
}

static void heads_without_body(void **state)
{
    (void)state;
    struct chat c;
    begin(&c);
    ask(&c, "HEAD / HTTP/1.1\r\nHost: web\r\n\r\n", "HEAD / HTTP/1.1\r\nHost: web\r\n\r\n");
    answer(&c, "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n");
    ask(&c, GET, GET);
    answer(&c, "HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 204 No Content\r\n\r\n");
    ask(&c, GET, GET);
    answer(&c, "HTTP/1.1 304 Not Modified\r\n\r\n", "HTTP/1.1 304 Not Modified\r\n\r\n");
    ask(&c, GET, GET);
    finish(&c);
}

static void connection_close_ends_the_connection(void **state)
{
    (void)state;
    struct chat c;
    begin(&c);
    ask(&c, "GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n", "GET / HTTP/1.1\r\nHost: web\r\n\r\n");
    side_say(&c.f, &c.origin, OK_EMPTY);
    side_hear(&c.f, &c.client);
    assert_non_null(strstr(c.client.text, "close\r\n"));
    assert_true(c.client.ended);
    assert_false(c.origin.ended); /* that one goes into the pool */
    finish(&c);
}

static void an_answer_until_close(void **state)
{
    (void)state;
    struct chat c;
    begin(&c);
    ask(&c, GET, GET);
    side_say(&c.f, &c.origin, "HTTP/1.1 200 OK\r\n\r\nuntil the end");
    side_end(&c.origin);
    side_hear(&c.f, &c.client);
    assert_non_null(strstr(c.client.text, "\r\n\r\nd\r\nuntil the end\r\n0\r\n\r\n")); /* visible end for 1.1 */
    assert_false(c.client.ended);
    finish(&c);
}

static void an_http10_client(void **state)
{
    (void)state;
    struct chat c;
    begin(&c);
    side_say(&c.f, &c.client, "GET / HTTP/1.0\r\nHost: web\r\n\r\n");
    side_end(&c.client); /* it has promised to close: this is no cancel */
    c.origin = fixture_origin(&c.f);
    side_expect_start(&c.f, &c.origin, "GET / HTTP/1.");
    side_say(&c.f, &c.origin, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n");
    side_hear(&c.f, &c.client);
    assert_non_null(strstr(c.client.text, "\r\n\r\nok"));
    assert_null(strstr(c.client.text, "hunked"));
    assert_true(c.client.ended);
    finish(&c);
}

static void an_upgrade_becomes_a_tunnel(void **state)
{
    (void)state;
    struct chat c;
    begin(&c);
    side_say(&c.f, &c.client, "GET /ws HTTP/1.1\r\nHost: web\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    c.origin = fixture_origin(&c.f);
    side_hear(&c.f, &c.origin);
    assert_non_null(strstr(c.origin.text, "websocket"));
    c.origin.len = 0;
    side_say(&c.f, &c.origin,
             "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n\x01\x02");
    side_expect_start(&c.f, &c.client, "HTTP/1.1 101 Switching");
    side_say(&c.f, &c.client, "opaque\r\n\r\n");
    side_expect(&c.f, &c.origin, "opaque\r\n\r\n");
    side_say(&c.f, &c.origin, "frames");
    side_expect(&c.f, &c.client, "frames");
    side_end(&c.client); /* half-close, both ways */
    side_hear_end(&c.f, &c.origin);
    assert_true(c.origin.ended);
    answer(&c, "last", "last");
    side_end(&c.origin);
    side_hear_end(&c.f, &c.client);
    assert_true(c.client.ended);
    assert_int_equal(c.f.data.downstream_count, 0);
    finish(&c);
}

static void connect_becomes_a_tunnel(void **state)
{
    (void)state;
    struct chat c;
    begin(&c);
    side_say(&c.f, &c.client, "CONNECT web:80 HTTP/1.1\r\nHost: web:80\r\n\r\nahead");
    c.origin = fixture_origin(&c.f);
    side_expect(&c.f, &c.origin, "CONNECT web:80 HTTP/1.1\r\nHost: web:80\r\n\r\n"); /* and nothing behind it yet */
    answer(&c, "HTTP/1.1 200 OK\r\n\r\nhello", "HTTP/1.1 200 OK\r\n\r\nhello");
    side_expect(&c.f, &c.origin, "ahead");
    side_say(&c.f, &c.client, "GET / HTTP/1.1\r\n\r\n");
    side_expect(&c.f, &c.origin, "GET / HTTP/1.1\r\n\r\n");
    side_end(&c.origin); /* the other half first */
    side_hear_end(&c.f, &c.client);
    assert_true(c.client.ended && !c.client.reset);
    side_say(&c.f, &c.client, "last");
    side_expect(&c.f, &c.origin, "last");
    side_end(&c.client);
    side_hear_end(&c.f, &c.origin);
    assert_int_equal(c.f.data.downstream_count, 0);
    finish(&c);
}

static void bytes_behind_a_refused_connect_are_no_request(void **state)
{
    (void)state;
    struct chat c;
    begin(&c);
    side_say(&c.f, &c.client,
             "CONNECT web:80 HTTP/1.1\r\nHost: web:80\r\n\r\nGET /behind HTTP/1.1\r\nHost: web\r\n\r\n");
    c.origin = fixture_origin(&c.f);
    side_expect(&c.f, &c.origin, "CONNECT web:80 HTTP/1.1\r\nHost: web:80\r\n\r\n");
    side_say(&c.f, &c.origin, "HTTP/1.1 405 No\r\nContent-Length: 0\r\n\r\n");
    side_hear_end(&c.f, &c.client);
    assert_string_equal(c.client.text, "HTTP/1.1 405 No\r\nContent-Length: 0\r\nconnection: close\r\n\r\n");
    side_hear(&c.f, &c.origin);
    assert_int_equal(c.origin.len, 0);
    finish(&c);
}

static void a_stream_has_its_longest_time(void **state)
{
    (void)state;
    struct chat c;
    begin(&c);
    c.f.hcm->max_stream_duration_ms = 100;
    ask(&c, GET, GET);
    side_say(&c.f, &c.origin, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab");
    side_hear_end(&c.f, &c.client);
    assert_true(c.client.reset);
    assert_true(fixture_metric_of(&c.f, "istio_requests_total", "response_flags=\"DT\"") == 1);
    finish(&c);
}

static void an_early_answer_reaches_the_client(void **state)
{
    (void)state;
    struct chat c;
    begin(&c);
    ask(&c, "POST /up HTTP/1.1\r\nHost: web\r\nContent-Length: 1000000\r\n\r\nbegin",
        "POST /up HTTP/1.1\r\nHost: web\r\nContent-Length: 1000000\r\n\r\nbegin");
    side_say(&c.f, &c.origin, "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
    side_end(&c.origin);
    side_say(&c.f, &c.client, "still sending");
    side_hear(&c.f, &c.client);
    assert_non_null(strstr(c.client.text, "413 Too Large"));
    assert_non_null(strstr(c.client.text, "close"));
    assert_non_null(strstr(c.client.text, "\r\n\r\nno"));
    assert_true(c.client.ended);
    assert_false(c.client.reset);
    finish(&c);
}

static void a_truncated_answer_is_never_a_success(void **state)
{
    (void)state;
    static const char *const answers[] = {
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    };
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        for (int how = 0; how < 2; how++) {
            struct chat c;
            begin(&c);
            ask(&c, GET, GET);
            side_say(&c.f, &c.origin, answers[i]);
            side_hear(&c.f, &c.client);
            if (how == 0)
                side_end(&c.origin);
            else
                side_abort(&c.origin);
            side_hear_end(&c.f, &c.client);
            assert_true(c.client.reset);
            assert_null(strstr(c.client.text, "\r\n0\r\n\r\n"));
            finish(&c);
        }
    }
}

static void bad_requests_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *request, *status;
    } rows[] = {
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "400"},
        {"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", "400"},
        {"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", "400"},
        {"GET / HTTP/1.1\r\n\r\n", "400"},
        {"GET / HTTP/2.0\r\nHost: a\r\n\r\n", "505"},
        {"GET / HTTP/1.1\r\nHost : a\r\n\r\n", "400"},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", "501"},
        {"nonsense\r\n\r\n", "400"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct chat c;
        char start[16];
        begin(&c);
        side_say(&c.f, &c.client, rows[i].request);
        side_hear(&c.f, &c.client);
        snprintf(start, sizeof(start), "HTTP/1.1 %s", rows[i].status);
        if (strncmp(c.client.text, start, strlen(start)) != 0)
            fail_msg("%s: %s", rows[i].request, c.client.text);
        assert_non_null(strstr(c.client.text, "close"));
        assert_true(c.client.ended);
        assert_false(fixture_origin_waits(&c.f));
        assert_true(fixture_metric(&c.f, "fairlead_http_parse_errors_total") == 1);
        finish(&c);
    }
}

static void a_bad_chunk_is_refused_in_the_middle(void **state)
{
    (void)state;
    struct chat c;
    begin(&c);
    side_say(&c.f, &c.client, "POST /a HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n");
    side_expect_start(&c.f, &c.client, "HTTP/1.1 400");
    assert_true(c.client.ended);
    finish(&c);
}

static void a_huge_head_is_431(void **state)
{
    (void)state;
    struct chat c;
    begin(&c);
    side_say(&c.f, &c.client, "GET / HTTP/1.1\r\nHost: web\r\nX: ");
    static char value[9000];
    memset(value, 'x', sizeof(value));
    side_say_bytes(&c.f, &c.client, value, sizeof(value));
    side_expect_start(&c.f, &c.client, "HTTP/1.1 431");
    finish(&c);
}

static void a_slow_head_is_408(void **state)
{
    (void)state;
    struct chat c;
    begin(&c);
    side_say(&c.f, &c.client, "GET / HT");
    fixture_wait(&c.f, 120);
    side_say(&c.f, &c.client, "TP/1.1\r\n"); /* a trickle does not help */
    side_expect_start(&c.f, &c.client, "HTTP/1.1 408");
    side_hear_end(&c.f, &c.client);
    finish(&c);
}

static void a_late_answer_is_504(void **state)
{
    (void)state;
    struct chat c;
    begin(&c);
    ask(&c, "GET /slow HTTP/1.1\r\nHost: web\r\n\r\n", "GET /slow HTTP/1.1\r\nHost: web\r\n\r\n");
    side_expect_start(&c.f, &c.client, "HTTP/1.1 504");
    assert_false(c.client.ended); /* the client's connection lives on */
    side_hear_end(&c.f, &c.origin);
    finish(&c);
}

static int full; /* a listening socket whose queue takes nobody any more */
static int waiting[4];

static void full_origin(struct fixture *f)
{
    struct proxy_endpoint *endpoint = fl_arena_alloc(&f->snapshot->unit.arena, sizeof(*endpoint));
    *endpoint = f->cluster->own.list[0];
    full = fixture_listen(&endpoint->address);
    assert_int_equal(listen(full, 0), 0);
    for (size_t i = 0; i < FL_COUNT(waiting); i++) {
        waiting[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        (void)!connect(waiting[i], &endpoint->address.any, proxy_address_size(&endpoint->address));
    }
    f->cluster->own.list = endpoint;
    f->cluster->connect_timeout_ms = 50;
}

static void a_connection_that_is_not_made_in_time_is_503(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init_with(&f, true, full_origin);
    struct side client = fixture_client(&f);
    side_say(&f, &client, GET);
    side_expect_start(&f, &client, "HTTP/1.1 503");
    assert_true(fixture_metric_of(&f, "fairlead_upstream_connect_failures_total", "\"timeout\"") == 1);
    assert_true(fixture_metric_of(&f, "istio_requests_total", "response_flags=\"UF\"") == 1);
    side_done(&client);
    fixture_done(&f);
    for (size_t i = 0; i < FL_COUNT(waiting); i++)
        close(waiting[i]);
    close(full);
}

static void a_stream_where_nothing_moves_ends(void **state)
{
    (void)state;
    for (int whole = 0; whole < 2; whole++) { /* the server's fault, or the client's */
        struct chat c;
        begin(&c);
        c.f.hcm->stream_idle_timeout_ms = 200;
        if (whole)
            ask(&c, GET, GET);
        else
            side_say(&c.f, &c.client, "POST /a HTTP/1.1\r\nHost: web\r\nContent-Length: 4\r\n\r\nab");
        side_expect_start(&c.f, &c.client, whole ? "HTTP/1.1 504" : "HTTP/1.1 408");
        assert_true(fixture_metric_of(&c.f, "istio_requests_total", "response_flags=\"SI\"") == 1);
        finish(&c);
    }
}

static void a_connection_without_requests_ends(void **state)
{
    (void)state;
    struct chat c;
    begin(&c);
    c.f.hcm->idle_timeout_ms = 200;
    ask(&c, GET, GET);
    answer(&c, OK_EMPTY, OK_EMPTY);
    side_hear_end(&c.f, &c.client);
    assert_true(c.client.ended);
    finish(&c);
}

static void no_origin_is_503(void **state)
{
    (void)state;
    struct chat c;
    begin(&c);
    assert_int_equal(shutdown(c.f.origin, SHUT_RDWR), 0);
    side_say(&c.f, &c.client, GET);
    side_expect_start(&c.f, &c.client, "HTTP/1.1 503");
    finish(&c);
}

static void an_origin_that_closes_without_answer_is_503(void **state)
{
    (void)state;
    struct chat c;
    begin(&c);
    ask(&c, GET, GET);
    side_end(&c.origin);
    side_expect_start(&c.f, &c.client, "HTTP/1.1 503");
    assert_false(fixture_origin_waits(&c.f)); /* a fresh connection: not repeated */
    finish(&c);
}

/* The pooled connection dies as the next request is sent on it. */
static void race(const char *request, bool repeated)
{
    struct chat c;
    begin(&c);
    ask(&c, GET, GET);
    answer(&c, OK_EMPTY, OK_EMPTY);
    assert_true(send(c.client.fd, request, strlen(request), 0) > 0);
    assert_true(fl_loop_turn(c.f.loop, 10) >= 0); /* it is sent to the pooled connection … */
    assert_true(fl_loop_turn(c.f.loop, 0) >= 0);
    side_abort(&c.origin); /* … which is gone */
    if (repeated) {
        struct side second = fixture_origin(&c.f);
        side_expect(&c.f, &second, request);
        side_say(&c.f, &second, OK_EMPTY);
        side_expect(&c.f, &c.client, OK_EMPTY);
        side_done(&second);
    } else {
        side_expect_start(&c.f, &c.client, "HTTP/1.1 503");
        assert_false(fixture_origin_waits(&c.f));
    }
    finish(&c);
}

static void a_keep_alive_race_is_repeated_once_where_that_is_safe(void **state)
{
    (void)state;
    race(GET, true);
    race("DELETE /a HTTP/1.1\r\nHost: web\r\n\r\n", true);
    race("POST /a HTTP/1.1\r\nHost: web\r\nContent-Length: 0\r\n\r\n", false);
    race("PUT /a HTTP/1.1\r\nHost: web\r\nContent-Length: 2\r\n\r\nab", false);
}

static void a_pooled_connection_with_unasked_bytes_is_not_used(void **state)
{
    (void)state;
    struct chat c;
    begin(&c);
    ask(&c, GET, GET);
    answer(&c, OK_EMPTY "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", OK_EMPTY);
    side_say(&c.f, &c.client, GET);
    struct side second = fixture_origin(&c.f);
    side_expect(&c.f, &second, GET);
    side_done(&second);
    finish(&c);
    begin(&c);
    ask(&c, GET, GET);
    answer(&c, OK_EMPTY, OK_EMPTY);
    side_say(&c.f, &c.origin, "later"); /* while it idles */
    side_say(&c.f, &c.client, GET);
    second = fixture_origin(&c.f);
    side_done(&second);
    finish(&c);
}

static void a_client_that_leaves_cancels_the_request(void **state)
{
    (void)state;
    for (int how = 0; how < 2; how++) {
        struct chat c;
        begin(&c);
        ask(&c, GET, GET);
        if (how == 0)
            side_end(&c.client);
        else
            side_abort(&c.client);
        side_hear_end(&c.f, &c.origin);
        assert_true(c.origin.reset);
        assert_int_equal(c.f.data.downstream_count, 0);
        finish(&c);
    }
}

static void large_bodies_pass_with_bounded_memory(void **state)
{
    (void)state;
    struct chat c;
    static char block[100000];
    const size_t total = 4000000;
    char head[128];
    begin(&c);
    snprintf(head, sizeof(head), "POST /a HTTP/1.1\r\nHost: web\r\nContent-Length: %zu\r\n\r\n", total);
    ask(&c, head, head);
    for (size_t sent = 0, got = 0; got < total;) {
        if (sent < total) {
            ssize_t done = send(c.client.fd, block, sizeof(block), MSG_DONTWAIT);
            sent += done > 0 ? (size_t)done : 0;
        }
        side_hear(&c.f, &c.origin);
        got += c.origin.len;
        c.origin.len = 0;
        assert_true(c.f.data.turn.pool.in_use <= 4 * PROXY_CONN_HIGH);
    }
    answer(&c, OK_EMPTY, OK_EMPTY);
    assert_int_equal(c.f.data.turn.pool.in_use, 0);
    finish(&c);
}

#define UNAVAILABLE "HTTP/1.1 503 "

static void set_limits(struct chat *c, uint32_t pending, uint32_t requests)
{
    begin(c);
    c->f.cluster->max_pending_requests = pending;
    c->f.cluster->max_requests = requests;
    side_done(&c->client); /* it came under the old limits */
    assert_int_equal(proxy_data_apply(&c->f.data, c->f.snapshot), 0);
    c->client = fixture_client(&c->f);
}

static void a_request_too_many_is_answered_at_once(void **state)
{
    (void)state;
    struct chat c;
    set_limits(&c, 1024, 1);
    ask(&c, GET, GET);
    struct side other = fixture_client(&c.f);
    for (int i = 0; i < 2; i++) { /* and its connection lives on */
        side_say(&c.f, &other, GET);
        side_expect_start(&c.f, &other, UNAVAILABLE);
        assert_false(other.ended);
    }
    assert_false(fixture_origin_waits(&c.f));
    answer(&c, OK_EMPTY, OK_EMPTY);
    side_say(&c.f, &other, GET); /* the first is done: there is room again */
    side_expect(&c.f, &c.origin, GET);
    side_say(&c.f, &c.origin, OK_EMPTY);
    side_expect(&c.f, &other, OK_EMPTY);
    assert_true(fixture_metric_of(&c.f, "istio_requests_total", "response_flags=\"UO\"") == 2);
    assert_true(fixture_metric_of(&c.f, "fairlead_upstream_overflows_total", "limit=\"requests\"") == 2);
    side_done(&other);
    finish(&c);
}

static void a_request_too_many_for_the_dials_is_answered_at_once(void **state)
{
    (void)state;
    struct chat c;
    set_limits(&c, 1, 1024);
    struct side other = fixture_client(&c.f);
    const size_t len = sizeof(GET) - 1;
    /* Both arrive in one turn: the second finds the first one's connection not open yet. */
    assert_int_equal(send(c.client.fd, GET, len, 0), (ssize_t)len);
    assert_int_equal(send(other.fd, GET, len, 0), (ssize_t)len);
    side_hear(&c.f, &c.client);
    side_hear(&c.f, &other);
    struct side *lucky = c.client.len == 0 ? &c.client : &other, *refused = lucky == &other ? &c.client : &other;
    side_expect_start(&c.f, refused, UNAVAILABLE);
    c.origin = fixture_origin(&c.f);
    side_expect(&c.f, &c.origin, GET);
    side_say(&c.f, refused, GET); /* the first is open: another may be dialled */
    struct side second = fixture_origin(&c.f);
    side_expect(&c.f, &second, GET);
    assert_true(fixture_metric_of(&c.f, "fairlead_upstream_overflows_total", "limit=\"pending_requests\"") == 1);
    side_done(&second);
    side_done(&other);
    finish(&c);
}

static void draining_ends_with_the_answer(void **state)
{
    (void)state;
    struct chat c;
    begin(&c);
    ask(&c, GET, GET);
    struct side idle = fixture_client(&c.f);
    fixture_run(&c.f);
    proxy_data_drain(&c.f.data);
    side_say(&c.f, &c.origin, OK_EMPTY);
    side_hear(&c.f, &c.client);
    assert_non_null(strstr(c.client.text, "200 OK"));
    assert_non_null(strstr(c.client.text, "close"));
    assert_true(c.client.ended);
    assert_int_equal(c.f.drained, 0);
    side_hear_end(&c.f, &idle);
    assert_true(idle.ended);
    assert_int_equal(c.f.drained, 1);
    side_done(&idle);
    finish(&c);
}

static void a_changed_listener_keeps_its_connections(void **state)
{
    (void)state;
    struct chat c;
    begin(&c);
    ask(&c, GET, GET);
    fixture_next(&c.f);
    assert_int_equal(proxy_data_apply(&c.f.data, c.f.snapshot), 0);
    side_say(&c.f, &c.origin, OK_EMPTY);
    side_expect(&c.f, &c.client, OK_EMPTY);
    assert_false(c.client.ended);
    finish(&c);
}

/* phase 0: memory runs out while the request is taken; 1: while its answer is. */
static void out_of_memory(struct chat *c, int phase, size_t countdown)
{
    begin(c);
    if (phase == 0)
        fail_at(countdown);
    side_say(&c->f, &c->client, GET);
    if (phase == 0)
        fail_stop();
    if (fixture_origin_waits(&c->f)) {
        c->origin = fixture_origin(&c->f);
        if (phase == 1)
            fail_at(countdown);
        side_say(&c->f, &c->origin, OK_EMPTY);
        fail_stop();
    }
    FIXTURE_UNTIL(&c->f, (side_hear(&c->f, &c->client), c->client.ended || c->client.reset || c->client.len > 12));
    assert_true(c->client.ended || c->client.reset || strncmp(c->client.text, "HTTP/1.1 200", 12) == 0 ||
                strncmp(c->client.text, "HTTP/1.1 503", 12) == 0);
    struct side other = fixture_client(&c->f); /* the process lives */
    side_say(&c->f, &other, "GET /direct HTTP/1.1\r\nHost: web\r\n\r\n");
    side_expect_start(&c->f, &other, "HTTP/1.1 200");
    side_done(&other);
    finish(c);
}

static void memory_that_is_out_costs_one_connection(void **state)
{
    (void)state;
    for (int phase = 0; phase < 2; phase++) {
        FAIL_EACH_ALLOCATION
        {
            struct chat c;
            size_t countdown = fail_round_;
            fail_stop();
            out_of_memory(&c, phase, countdown);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keep_alive_uses_one_connection_on_both_sides),
        cmocka_unit_test(every_byte_split_both_ways),
        cmocka_unit_test(pipelined_requests_go_one_after_the_other),
        cmocka_unit_test(many_pipelined_answers_of_our_own),
        cmocka_unit_test(interim_answers_are_passed_on),
        cmocka_unit_test(heads_without_body),
        cmocka_unit_test(connection_close_ends_the_connection),
        cmocka_unit_test(an_answer_until_close),
        cmocka_unit_test(an_http10_client),
        cmocka_unit_test(an_upgrade_becomes_a_tunnel),
        cmocka_unit_test(connect_becomes_a_tunnel),
        cmocka_unit_test(bytes_behind_a_refused_connect_are_no_request),
        cmocka_unit_test(a_stream_has_its_longest_time),
        cmocka_unit_test(an_early_answer_reaches_the_client),
        cmocka_unit_test(a_truncated_answer_is_never_a_success),
        cmocka_unit_test(bad_requests_are_refused),
        cmocka_unit_test(a_bad_chunk_is_refused_in_the_middle),
        cmocka_unit_test(a_huge_head_is_431),
        cmocka_unit_test(a_slow_head_is_408),
        cmocka_unit_test(a_late_answer_is_504),
        cmocka_unit_test(a_connection_that_is_not_made_in_time_is_503),
        cmocka_unit_test(a_stream_where_nothing_moves_ends),
        cmocka_unit_test(a_connection_without_requests_ends),
        cmocka_unit_test(no_origin_is_503),
        cmocka_unit_test(an_origin_that_closes_without_answer_is_503),
        cmocka_unit_test(a_keep_alive_race_is_repeated_once_where_that_is_safe),
        cmocka_unit_test(a_pooled_connection_with_unasked_bytes_is_not_used),
        cmocka_unit_test(a_client_that_leaves_cancels_the_request),
        cmocka_unit_test(large_bodies_pass_with_bounded_memory),
        cmocka_unit_test(a_request_too_many_is_answered_at_once),
        cmocka_unit_test(a_request_too_many_for_the_dials_is_answered_at_once),
        cmocka_unit_test(draining_ends_with_the_answer),
        cmocka_unit_test(a_changed_listener_keeps_its_connections),
        cmocka_unit_test(memory_that_is_out_costs_one_connection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
