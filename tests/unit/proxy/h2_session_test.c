/* proxy/http/h2.h: a client's and a server's session against each other: messages both ways, whatever way their bytes
 * are cut; windows and backpressure; resets, GOAWAY, draining; the run of failing allocations. */
#include "proxy/http/websocket.h"
#include "tests/support/fail.h"
#include "tests/unit/proxy/h2_frames.h"
#include "tests/unit/proxy/h2_pair.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

static struct pair pair;

static void init(const struct proxy_h2_settings *client, const struct proxy_h2_settings *server)
{
    assert_int_equal(pair_init(&pair, client, server), 0);
}

static void assert_healthy(void)
{
    assert_false(pair.client.over || pair.server.over);
    assert_int_equal(pair.client.faults + pair.server.faults, 0);
}

static void assert_body(const struct pair_stream *stream, struct fl_span body)
{
    assert_true(fl_span_eq(fl_buf_span(&stream->body), body));
}

/* ---- messages ---- */

static void echo(size_t split)
{
    init(NULL, NULL);
    pair.split = split;
    pair.server.echo = true;
    struct pair_stream *one =
        pair_request(&pair, "GET", "/a?b=c", "X-Case: kept\nConnection: close\ncookie: a=b\n", true);
    struct pair_stream *two = pair_request(&pair, "POST", "/", "te: trailers\n", false);
    assert_non_null(one);
    assert_non_null(two);
    pair_send(two, FL_SPAN("some "));
    pair_send(two, FL_SPAN("bytes"));
    static struct proxy_headers trailers;
    proxy_headers_init(&trailers);
    pair_fields(&trailers, "Grpc-Status: 0\nx-more: yes\n");
    proxy_stream_send_end(two->stream, &trailers);
    pair_run(&pair);
    assert_healthy();
    assert_string_equal(pair.server.streams[0].head,
                        "GET http server.demo:8080 /a?b=c\nhost: server.demo:8080\nx-case: kept\ncookie: a=b\n");
    assert_true(pair.server.streams[0].end);
    assert_string_equal(pair.server.streams[1].head,
                        "POST http server.demo:8080 /\nhost: server.demo:8080\nte: trailers\n");
    assert_string_equal(pair.server.streams[1].trailers, "grpc-status: 0\nx-more: yes\n");
    assert_string_equal(one->head, "200\n");
    assert_true(one->end && !one->ended);
    assert_string_equal(two->head, "200\n");
    assert_body(two, FL_SPAN("some bytes"));
    assert_true(two->ended && !two->end);
    assert_string_equal(two->trailers, "grpc-status: 0\nx-more: yes\n");
    assert_int_equal(proxy_h2_streams(pair.client.h2), 0);
    assert_int_equal(proxy_h2_streams(pair.server.h2), 0);
    pair_done(&pair);
}

static void test_echo(void **state)
{
    (void)state;
    for (size_t split = 0; split < 80; split++)
        echo(split);
}

static void test_interim_heads_and_framing(void **state)
{
    (void)state;
    init(NULL, NULL);
    struct pair_stream *stream = pair_request(&pair, "PUT", "/", "content-length: 3\nexpect: 100-continue\n", false);
    pair_run(&pair);
    struct pair_stream *served = &pair.server.streams[0];
    assert_int_equal(served->framing, PROXY_FRAMING_LENGTH);
    pair_answer(served, 100, NULL, false);
    pair_answer(served, 103, "link: </a>\n", false);
    pair_run(&pair);
    assert_int_equal(stream->heads, 2);
    assert_int_equal(stream->status, 103);
    pair_send(stream, FL_SPAN("abc"));
    proxy_stream_send_end(stream->stream, NULL);
    pair_run(&pair);
    assert_true(served->ended);
    pair_answer(served, 200, NULL, true);
    pair_run(&pair);
    assert_int_equal(stream->heads, 3);
    assert_int_equal(stream->framing, PROXY_FRAMING_LENGTH); /* of nothing, though no field says so */
    assert_true(stream->end);
    assert_healthy();
    pair_done(&pair);
}

/* A length that is known ends its message with its last byte: no frame of its own for the end. */
static void test_last_byte_ends(void **state)
{
    (void)state;
    init(NULL, NULL);
    struct pair_stream *stream = pair_request(&pair, "GET", "/", NULL, true);
    pair_run(&pair);
    struct pair_stream *served = &pair.server.streams[0];
    pair_answer(served, 200, "content-length: 5\n", false);
    pair_send(served, FL_SPAN("abcde"));
    size_t sent = pair.client.pipe.len;
    proxy_stream_send_end(served->stream, NULL);
    assert_int_equal(pair.client.pipe.len, sent);
    pair_close(served, PROXY_RESET_CANCELLED);
    assert_int_equal(pair.client.pipe.len, sent);
    pair_run(&pair);
    assert_body(stream, FL_SPAN("abcde"));
    assert_true(stream->ended);
    assert_healthy();
    pair_done(&pair);
}

static void test_upgrade(void **state)
{
    (void)state;
    init(NULL, NULL);
    pair.server.echo = true;
    pair_run(&pair); /* the server's SETTINGS say that it can */
    struct pair_stream *stream =
        pair_request(&pair, "GET", "/chat", "Upgrade: websocket\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n", false);
    pair_run(&pair);
    struct pair_stream *served = &pair.server.streams[0];
    assert_true(served->upgrade);
    assert_memory_equal(served->head, "GET http server.demo:8080 /chat\n", 32);
    assert_non_null(strstr(served->head, "upgrade: websocket\n"));
    assert_int_equal(stream->status, 101);
    assert_true(stream->upgrade);
    pair_send(stream, FL_SPAN("ping"));
    proxy_stream_send_end(stream->stream, NULL);
    pair_run(&pair);
    assert_body(stream, FL_SPAN("ping"));
    assert_true(stream->ended);
    assert_healthy();
    pair_done(&pair);
}

/* A client of HTTP/1 gets the Accept that its key asks for, whatever server of HTTP/2 there is. */
static void test_websocket_client(void **state)
{
    (void)state;
    init(NULL, NULL);
    pair_run(&pair);
    struct pair_stream *stream =
        pair_request(&pair, "GET", "/chat", "Upgrade: websocket\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n", false);
    pair_run(&pair);
    pair_answer(&pair.server.streams[0], 101, "sec-websocket-protocol: chat\n", false);
    pair_run(&pair);
    assert_string_equal(stream->head, "101\nsec-websocket-protocol: chat\nupgrade: websocket\n"
                                      "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\n");
    assert_healthy();
    pair_done(&pair);
}

/* A server of HTTP/1 gets a key, and has to answer to it. */
static void test_websocket_server(void **state)
{
    (void)state;
    for (int right = 0; right < 2; right++) {
        init(NULL, NULL);
        pair_run(&pair);
        struct pair_stream *stream = pair_request(&pair, "GET", "/chat", "Upgrade: websocket\n", false);
        pair_run(&pair);
        struct pair_stream *served = &pair.server.streams[0];
        const char *key = strstr(served->head, "sec-websocket-key: ");
        assert_non_null(key);
        char fields[128] = "upgrade: websocket\nsec-websocket-accept: ", accept[PROXY_WEBSOCKET_ACCEPT];
        assert_int_equal(
            proxy_websocket_accept(fl_span_make(key + strlen("sec-websocket-key: "), PROXY_WEBSOCKET_KEY), accept), 0);
        accept[0] = (char)(right ? accept[0] : accept[0] ^ 1);
        memcpy(fields + strlen(fields), accept, sizeof(accept));
        pair_answer(served, 101, fields, false);
        pair_run(&pair);
        assert_string_equal(stream->head, right ? "101\nupgrade: websocket\n" : "502\n");
        assert_int_equal(served->reset, !right);
        assert_healthy();
        pair_done(&pair);
    }
}

/* What a request asks to become is text of its client's, of any length: never the end of the others' connection. */
static void test_long_upgrades(void **state)
{
    (void)state;
    static char key[400] = "Upgrade: websocket\nSec-WebSocket-Key: ", protocol[400] = "Upgrade: ";
    const char *const rows[] = {key, protocol};
    memset(key + strlen(key), 'k', 300);
    memset(protocol + strlen(protocol), 'p', 300);
    init(NULL, NULL);
    pair_run(&pair);
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct pair_stream *stream = pair_request(&pair, "GET", "/chat", rows[i], false);
        assert_non_null(stream);
        pair_run(&pair);
        assert_int_equal(pair.server.count, i + 1);
        pair_answer(&pair.server.streams[i], 101, NULL, false);
        pair_run(&pair);
        assert_int_equal(stream->status, 101);
        assert_healthy();
    }
    pair_done(&pair);
}

/* A tunnel that is refused ends like any other answer: the client is not told to throw it away. */
static void test_refused_tunnels(void **state)
{
    (void)state;
    static const unsigned statuses[] = {403, 200}; /* an answer of 2xx would say that there is a tunnel */
    for (size_t i = 0; i < FL_COUNT(statuses); i++) {
        init(NULL, NULL);
        pair_run(&pair);
        struct pair_stream *stream = pair_request(&pair, "GET", "/chat", "Upgrade: websocket\n", false);
        pair_run(&pair);
        struct pair_stream *served = &pair.server.streams[0];
        pair_answer(served, statuses[i], NULL, true);
        if (served->stream != NULL)
            pair_close(served, PROXY_RESET_CANCELLED);
        struct frame_seen frame;
        struct fl_span sent = fl_buf_span(&pair.client.pipe);
        assert_true(frames_next(&sent, &frame));
        assert_int_equal(frame.type, 1);
        assert_true(frames_next(&sent, &frame)); /* RST_STREAM, NO_ERROR */
        assert_int_equal(frame.type, 3);
        assert_memory_equal(frame.payload.data, "\0\0\0\0", 4);
        pair_run(&pair);
        assert_int_equal(stream->status, statuses[i] == 403 ? 403 : 502);
        assert_false(stream->upgrade);
        assert_true(stream->end);
        assert_healthy();
        pair_done(&pair);
    }
}

/* Between sidecars an application of HTTP/1 may well answer 200 to what asks for an upgrade. */
static void test_declined_upgrades(void **state)
{
    (void)state;
    const struct proxy_h2_settings restored = {.bare_authority = true};
    init(NULL, &restored);
    pair_run(&pair);
    struct pair_stream *stream = pair_request(&pair, "GET", "/chat", "Upgrade: SPDY/3.1\n", false);
    pair_run(&pair);
    struct pair_stream *served = &pair.server.streams[0];
    assert_non_null(strstr(served->head, "upgrade: SPDY/3.1\n"));
    pair_answer(served, 200, "content-length: 4\nfairlead-http: 1t\n", false);
    pair_send(served, FL_SPAN("page"));
    proxy_stream_send_end(served->stream, NULL);
    pair_close(served, PROXY_RESET_CANCELLED);
    pair_run(&pair);
    assert_int_equal(stream->status, 200);
    assert_false(stream->upgrade);
    assert_body(stream, FL_SPAN("page"));
    assert_true(stream->ended);
    assert_healthy();
    pair_done(&pair);
}

static void test_connect(void **state)
{
    (void)state;
    init(NULL, NULL);
    struct pair_stream *stream = pair_request(&pair, "CONNECT", "", NULL, false);
    pair_run(&pair);
    struct pair_stream *served = &pair.server.streams[0];
    assert_string_equal(served->head, "CONNECT  server.demo:8080 server.demo:8080\nhost: server.demo:8080\n");
    assert_true(served->upgrade);
    pair_answer(served, 200, NULL, false);
    pair_send(served, FL_SPAN("hello"));
    pair_run(&pair);
    assert_true(stream->upgrade);
    assert_body(stream, FL_SPAN("hello"));
    pair_close(served, PROXY_RESET_CONNECTION);
    pair_run(&pair);
    assert_int_equal(stream->why, PROXY_RESET_CONNECTION);
    assert_healthy();
    pair_done(&pair);
}

/* ---- windows ---- */

static char big[1 << 20];

static void test_big_bodies(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(big); i++)
        big[i] = (char)(i * 7 + i / 251);
    static const size_t splits[] = {0, 1, 9, 1000, 16393};
    for (size_t i = 0; i < FL_COUNT(splits); i++) {
        init(NULL, NULL);
        pair.split = splits[i];
        pair.server.echo = true;
        size_t size = splits[i] == 1 ? 300000 : sizeof(big);
        struct pair_stream *one = pair_request(&pair, "POST", "/1", NULL, false);
        struct pair_stream *two = pair_request(&pair, "POST", "/2", NULL, false);
        pair_send(one, fl_span_make(big, size));
        assert_true(proxy_stream_is_backlogged(one->stream));
        pair_send(two, fl_span_make(big, size));
        proxy_stream_send_end(one->stream, NULL);
        static struct proxy_headers trailers;
        proxy_headers_init(&trailers);
        pair_fields(&trailers, "a: b\n");
        proxy_stream_send_end(two->stream, &trailers);
        pair_run(&pair);
        assert_body(one, fl_span_make(big, size));
        assert_body(two, fl_span_make(big, size));
        assert_true(one->ended && two->ended);
        assert_string_equal(two->trailers, "a: b\n");
        assert_true(one->writable > 0);
        assert_int_equal(proxy_h2_queued(pair.client.h2) + proxy_h2_queued(pair.server.h2), 0);
        assert_healthy();
        pair_done(&pair);
    }
}

/* A paused stream gets its window and no more, and others go on. */
static void test_pause(void **state)
{
    (void)state;
    struct proxy_h2_settings settings = {.stream_window = 65535, .connection_window = 65535};
    init(NULL, &settings);
    struct pair_stream *one = pair_request(&pair, "POST", "/1", NULL, false);
    struct pair_stream *two = pair_request(&pair, "POST", "/2", NULL, false);
    pair_run(&pair);
    proxy_stream_pause(pair.server.streams[0].stream);
    pair_send(one, fl_span_make(big, 200000));
    pair_run(&pair);
    assert_int_equal(pair.server.streams[0].body.len, 65535);
    pair_send(two, fl_span_make(big, 200000));
    pair_run(&pair);
    assert_int_equal(pair.server.streams[1].body.len, 200000);
    assert_int_equal(pair.server.streams[0].body.len, 65535);
    proxy_stream_resume(pair.server.streams[0].stream);
    pair_run(&pair);
    assert_int_equal(pair.server.streams[0].body.len, 200000);
    assert_healthy();
    pair_done(&pair);
}

/* While the connection is held nothing but heads goes, and no stream ends; afterwards streams take turns. */
static void test_hold(void **state)
{
    (void)state;
    init(NULL, NULL);
    struct pair_stream *one = pair_request(&pair, "GET", "/1", NULL, true);
    struct pair_stream *two = pair_request(&pair, "GET", "/2", NULL, true);
    pair_run(&pair);
    proxy_h2_hold(pair.server.h2);
    pair_answer(&pair.server.streams[0], 200, NULL, true);
    pair_answer(&pair.server.streams[1], 200, NULL, false);
    pair_send(&pair.server.streams[1], FL_SPAN("x"));
    assert_true(proxy_stream_is_backlogged(pair.server.streams[1].stream));
    proxy_stream_send_end(pair.server.streams[1].stream, NULL);
    pair_close(&pair.server.streams[0], PROXY_RESET_CANCELLED);
    pair_run(&pair);
    assert_int_equal(one->status, 200);
    assert_true(!one->end && !one->ended && !two->ended && two->body.len == 0);
    assert_int_equal(proxy_h2_streams(pair.server.h2), 2);
    proxy_h2_release(pair.server.h2);
    pair_run(&pair);
    assert_true(one->ended && two->ended);
    assert_body(two, FL_SPAN("x"));
    assert_int_equal(proxy_h2_streams(pair.server.h2), 0);
    assert_healthy();
    pair_done(&pair);
}

/* A connection that takes a frame at a time: a small answer waits for few of a huge one, not for all of it. */
static void test_turns(void **state)
{
    (void)state;
    static char huge[200000];
    init(NULL, NULL);
    struct pair_stream *one = pair_request(&pair, "GET", "/1", NULL, true);
    struct pair_stream *two = pair_request(&pair, "GET", "/2", NULL, true);
    pair_run(&pair);
    proxy_h2_hold(pair.server.h2);
    pair_answer(&pair.server.streams[0], 200, NULL, false);
    pair_answer(&pair.server.streams[1], 200, NULL, false);
    pair_send(&pair.server.streams[0], fl_span_make(huge, sizeof(huge)));
    pair_send(&pair.server.streams[1], FL_SPAN("small"));
    proxy_stream_send_end(pair.server.streams[1].stream, NULL);
    for (int i = 0; i < 6 && !two->ended; i++) {
        pair.server.hold = true;
        proxy_h2_release(pair.server.h2);
        pair_run(&pair);
    }
    assert_true(two->ended);
    assert_body(two, FL_SPAN("small"));
    assert_in_range(one->body.len, 0, 3 * PROXY_H2_FRAME_MAX); /* data and end of the small one take turns with it */
    pair_close(&pair.server.streams[0], PROXY_RESET_CANCELLED);
    pair.server.hold = false;
    proxy_h2_release(pair.server.h2);
    pair_run(&pair);
    assert_healthy();
    pair_done(&pair);
}

/* A user that waits is told, though the connection is held again by the very write that made room. */
static void test_hold_again(void **state)
{
    (void)state;
    init(NULL, NULL);
    struct pair_stream *stream = pair_request(&pair, "GET", "/", NULL, true);
    pair_run(&pair);
    struct pair_stream *served = &pair.server.streams[0];
    pair_answer(served, 200, NULL, false);
    proxy_h2_hold(pair.server.h2);
    pair_send(served, FL_SPAN("some"));
    assert_true(proxy_stream_is_backlogged(served->stream));
    pair.server.hold = true;
    proxy_h2_release(pair.server.h2);
    assert_int_equal(served->writable, 1);
    assert_false(proxy_stream_is_backlogged(served->stream));
    pair_run(&pair);
    assert_body(stream, FL_SPAN("some"));
    pair_done(&pair);
}

/* Windows that come due meanwhile are given afterwards. */
static void test_hold_windows(void **state)
{
    (void)state;
    init(NULL, NULL);
    struct pair_stream *stream = pair_request(&pair, "POST", "/", NULL, false);
    pair_run(&pair);
    proxy_h2_hold(pair.server.h2);
    pair_send(stream, fl_span_make(big, sizeof(big)));
    pair_run(&pair);
    assert_int_equal(pair.client.pipe.len, 0);
    assert_int_equal(pair.server.streams[0].body.len, PROXY_H2_WINDOW);
    proxy_h2_release(pair.server.h2);
    pair_run(&pair);
    assert_int_equal(pair.server.streams[0].body.len, sizeof(big));
    assert_healthy();
    pair_done(&pair);
}

static void test_fairness(void **state)
{
    (void)state;
    struct proxy_h2_settings settings = {.stream_window = 1 << 20, .connection_window = 1 << 20};
    init(&settings, NULL);
    struct pair_stream *one = pair_request(&pair, "GET", "/1", NULL, true);
    struct pair_stream *two = pair_request(&pair, "GET", "/2", NULL, true);
    pair_run(&pair);
    pair_answer(&pair.server.streams[0], 200, NULL, false);
    pair_answer(&pair.server.streams[1], 200, NULL, false);
    proxy_h2_hold(pair.server.h2);
    pair_send(&pair.server.streams[0], fl_span_make(big, 400000));
    pair_send(&pair.server.streams[1], fl_span_make(big, 400000));
    pair.server.hold = true; /* at the first write, that is: a frame's head */
    for (int i = 0; i < 10; i++) {
        proxy_h2_release(pair.server.h2);
        pair_run(&pair);
        size_t difference =
            one->body.len > two->body.len ? one->body.len - two->body.len : two->body.len - one->body.len;
        assert_true(difference <= 16384);
    }
    assert_int_equal(one->body.len + two->body.len, 10 * 16384);
    assert_healthy();
    pair_done(&pair);
}

/* ---- ends ---- */

static void test_resets(void **state)
{
    (void)state;
    static const struct {
        enum proxy_reset why, heard;
    } rows[] = {
        {PROXY_RESET_CANCELLED, PROXY_RESET_CANCELLED}, {PROXY_RESET_REFUSED, PROXY_RESET_REFUSED},
        {PROXY_RESET_HTTP11, PROXY_RESET_HTTP11},       {PROXY_RESET_INTERNAL, PROXY_RESET_INTERNAL},
        {PROXY_RESET_MEMORY, PROXY_RESET_INTERNAL},     {PROXY_RESET_EOF, PROXY_RESET_INTERNAL},
    };
    init(NULL, NULL);
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct pair_stream *stream = pair_request(&pair, "GET", "/", NULL, true);
        pair_run(&pair);
        struct pair_stream *served = &pair.server.streams[i];
        pair_close(served, rows[i].why);
        pair_run(&pair);
        assert_true(stream->reset);
        assert_int_equal(stream->why, rows[i].heard);
        assert_string_equal(stream->error, proxy_reset_text(rows[i].heard));
    }
    /* By the client, with bytes under way: the server reads past them. */
    struct pair_stream *stream = pair_request(&pair, "POST", "/", NULL, false);
    pair_run(&pair);
    struct pair_stream *served = &pair.server.streams[FL_COUNT(rows)];
    pair_close(served, PROXY_RESET_CANCELLED);
    pair_send(stream, fl_span_make(big, 30000));
    static struct proxy_headers trailers;
    proxy_headers_init(&trailers);
    pair_fields(&trailers, "a: b\n");
    proxy_stream_send_end(stream->stream, &trailers);
    pair_run(&pair);
    assert_true(stream->reset);
    assert_int_equal(proxy_h2_streams(pair.client.h2) + proxy_h2_streams(pair.server.h2), 0);
    assert_healthy();
    pair_done(&pair);
}

/* An answer before its request is whole: the rest is not wanted, and that is no error. */
static void test_early_answer(void **state)
{
    (void)state;
    init(NULL, NULL);
    struct pair_stream *stream = pair_request(&pair, "POST", "/", NULL, false);
    pair_send(stream, FL_SPAN("begun"));
    pair_run(&pair);
    pair_answer(&pair.server.streams[0], 413, NULL, true);
    pair_close(&pair.server.streams[0], PROXY_RESET_CANCELLED);
    pair_run(&pair);
    assert_int_equal(stream->status, 413);
    assert_true(stream->end && stream->reset);
    assert_int_equal(stream->why, PROXY_RESET_CANCELLED);
    assert_int_equal(proxy_h2_streams(pair.server.h2), 0);
    assert_healthy();
    pair_done(&pair);
}

static void test_close_in_events(void **state)
{
    (void)state;
    init(NULL, NULL);
    pair.server.close_at_head = true;
    for (int i = 0; i < 20; i++) {
        struct pair_stream *stream = pair_request(&pair, "POST", "/", NULL, false);
        pair_send(stream, FL_SPAN("some"));
    }
    pair_run(&pair);
    for (int i = 0; i < 20; i++)
        assert_int_equal(pair.client.streams[i].why, PROXY_RESET_CANCELLED);
    assert_healthy();
    pair_done(&pair);
}

static void test_refused(void **state)
{
    (void)state;
    init(NULL, NULL);
    pair.server.refuse = true;
    struct pair_stream *stream = pair_request(&pair, "GET", "/", NULL, true);
    pair_run(&pair);
    assert_int_equal(stream->why, PROXY_RESET_REFUSED);
    pair_done(&pair);
}

static void test_limits_of_streams(void **state)
{
    (void)state;
    struct proxy_h2_settings settings = {.max_streams = 3};
    init(NULL, &settings);
    pair_run(&pair);
    for (int i = 0; i < 3; i++)
        assert_non_null(pair_request(&pair, "GET", "/", NULL, true));
    assert_false(proxy_h2_can_open(pair.client.h2));
    assert_null(pair_request(&pair, "GET", "/", NULL, true));
    pair_run(&pair);
    unsigned rooms = pair.client.rooms;
    pair_answer(&pair.server.streams[1], 204, NULL, true);
    pair_run(&pair);
    assert_true(proxy_h2_can_open(pair.client.h2));
    assert_true(pair.client.rooms > rooms);
    assert_healthy();
    pair_done(&pair);
}

static void test_drain(void **state)
{
    (void)state;
    init(NULL, NULL);
    struct pair_stream *one = pair_request(&pair, "GET", "/1", NULL, true);
    pair_run(&pair);
    proxy_h2_drain(pair.server.h2, false);
    struct pair_stream *two = pair_request(&pair, "GET", "/2", NULL, true); /* crosses the first GOAWAY */
    pair_run(&pair);
    assert_int_equal(pair.client.goaways, 1);
    assert_false(proxy_h2_can_open(pair.client.h2));
    assert_int_equal(pair.server.count, 2);
    proxy_h2_drain(pair.server.h2, true);
    pair_run(&pair);
    assert_false(pair.server.over);
    pair_answer(&pair.server.streams[0], 200, NULL, true);
    pair_answer(&pair.server.streams[1], 200, NULL, true);
    pair_close(&pair.server.streams[0], PROXY_RESET_CANCELLED);
    pair_close(&pair.server.streams[1], PROXY_RESET_CANCELLED);
    assert_true(pair.server.over);
    assert_int_equal(pair.server.error, PROXY_H2_ERROR_NONE);
    pair_run(&pair);
    assert_int_equal(one->status, 200);
    assert_int_equal(two->status, 200);
    assert_false(pair.client.over); /* the users have not closed their streams yet */
    pair_close(one, PROXY_RESET_CANCELLED);
    pair_close(two, PROXY_RESET_CANCELLED);
    assert_true(pair.client.over);
    assert_int_equal(pair.client.error, PROXY_H2_ERROR_PEER);
    pair_done(&pair);
}

/* Streams that the last GOAWAY leaves out may be sent again. */
static void test_drain_refuses(void **state)
{
    (void)state;
    init(NULL, NULL);
    struct pair_stream *one = pair_request(&pair, "GET", "/1", NULL, true);
    pair_run(&pair);
    proxy_h2_drain(pair.server.h2, true);
    struct pair_stream *two = pair_request(&pair, "GET", "/2", NULL, true);
    pair_run(&pair);
    assert_int_equal(pair.server.count, 1);
    assert_true(two->reset && two->why == PROXY_RESET_REFUSED);
    pair_answer(&pair.server.streams[0], 200, NULL, true);
    pair_run(&pair);
    assert_int_equal(one->status, 200);
    pair_done(&pair);
}

static void test_last_drains(void **state)
{
    (void)state;
    init(NULL, NULL);
    struct pair_stream *stream = pair_request(&pair, "GET", "/1", NULL, true);
    pair_run(&pair);
    pair.server.streams[0].stream->last = true;
    pair_answer(&pair.server.streams[0], 200, NULL, true);
    pair_close(&pair.server.streams[0], PROXY_RESET_CANCELLED);
    assert_true(pair.server.over);
    pair_run(&pair);
    assert_int_equal(stream->status, 200);
    assert_true(stream->stream->last);
    pair_done(&pair);
}

static void test_end(void **state)
{
    (void)state;
    init(NULL, NULL);
    struct pair_stream *stream = pair_request(&pair, "POST", "/", NULL, false);
    pair_send(stream, fl_span_make(big, 100000));
    proxy_h2_end(pair.client.h2, PROXY_RESET_CONNECTION, "connection reset by peer");
    assert_int_equal(stream->why, PROXY_RESET_CONNECTION);
    assert_string_equal(stream->error, "connection reset by peer");
    assert_false(pair.client.over);
    pair_done(&pair);
}

static void test_ping(void **state)
{
    (void)state;
    struct proxy_h2_settings settings = {.ping_interval_ms = 1000, .ping_timeout_ms = 500};
    init(&settings, NULL);
    pair_run(&pair);
    assert_true(proxy_h2_next_tick_ms(pair.client.h2) == UINT64_MAX);
    struct pair_stream *stream = pair_request(&pair, "GET", "/", NULL, true);
    pair_run(&pair);
    pair.now_ms = proxy_h2_next_tick_ms(pair.client.h2);
    assert_int_equal(pair.now_ms, 2000);
    proxy_h2_tick(pair.client.h2, pair.now_ms);
    assert_int_equal(proxy_h2_next_tick_ms(pair.client.h2), 2500);
    pair_run(&pair); /* answered */
    assert_int_equal(proxy_h2_next_tick_ms(pair.client.h2), 3000);
    proxy_h2_tick(pair.client.h2, 3000);
    proxy_h2_tick(pair.client.h2, 3500); /* not answered */
    assert_true(pair.client.over);
    assert_int_equal(pair.client.error, PROXY_H2_ERROR_PING_TIMEOUT);
    assert_int_equal(stream->why, PROXY_RESET_CONNECTION);
    pair_done(&pair);
}

/* Whoever asks and then takes nothing of the answer holds its bytes for a time only, though nobody waits for them. */
static void test_unread_answers(void **state)
{
    (void)state;
    const struct proxy_h2_settings small = {.stream_window = 65535}, server = {.flush_ms = 1000};
    init(&small, &server);
    struct pair_stream *stream = pair_request(&pair, "GET", "/", NULL, true);
    struct pair_stream *waits = pair_request(&pair, "GET", "/waits", NULL, true);
    pair_run(&pair);
    proxy_stream_pause(stream->stream);
    struct pair_stream *served = &pair.server.streams[0];
    pair_answer(served, 200, NULL, false);
    pair_send(served, fl_span_make(big, 180000));
    proxy_stream_send_end(served->stream, NULL);
    pair_close(served, PROXY_RESET_CANCELLED);
    pair_run(&pair);
    assert_true(proxy_h2_queued(pair.server.h2) > 0);
    for (int i = 0; i < 2; i++) { /* something goes: it may stay */
        pair.now_ms += 1000;
        assert_true(proxy_h2_next_tick_ms(pair.server.h2) <= pair.now_ms);
        proxy_h2_tick(pair.server.h2, pair.now_ms);
        if (i == 0) {
            proxy_stream_resume(stream->stream);
            proxy_stream_pause(stream->stream);
        }
        pair_run(&pair);
        assert_false(stream->reset);
    }
    assert_true(stream->body.len > 65535 && stream->body.len < 180000);
    pair.now_ms += 1000;
    proxy_h2_tick(pair.server.h2, pair.now_ms);
    pair_run(&pair);
    assert_true(stream->reset);
    assert_int_equal(stream->why, PROXY_RESET_CANCELLED);
    assert_int_equal(pair.server.fault, PROXY_H2_ERROR_UNREAD);
    assert_int_equal(proxy_h2_queued(pair.server.h2), 0);
    assert_false(waits->reset || pair.server.streams[1].reset || pair.server.over); /* it has a user */
    pair_done(&pair);
}

static void test_settings_timeout(void **state)
{
    (void)state;
    assert_int_equal(pair_init_server(&pair, NULL), 0);
    uint64_t due = proxy_h2_next_tick_ms(pair.server.h2);
    assert_int_equal(due, 11000);
    proxy_h2_tick(pair.server.h2, due - 1);
    assert_false(pair.server.over);
    proxy_h2_tick(pair.server.h2, due);
    assert_int_equal(pair.server.error, PROXY_H2_ERROR_SETTINGS_TIMEOUT);
    pair_done(&pair);
}

/* ---- memory ---- */

static void converse(void)
{
    pair.server.echo = true;
    struct pair_stream *one = pair_request(&pair, "GET", "/a?b=c", "X-Case: kept\ncookie: a=b\n", true);
    struct pair_stream *two = pair_request(&pair, "POST", "/", "te: trailers\n", false);
    struct pair_stream *three = pair_request(&pair, "GET", "/", "Upgrade: websocket\n", false);
    if (one == NULL || two == NULL || three == NULL)
        return;
    static struct proxy_headers trailers;
    proxy_headers_init(&trailers);
    pair_fields(&trailers, "Grpc-Status: 0\n");
    if (two->stream != NULL)
        pair_send(two, fl_span_make(big, 90000));
    if (two->stream != NULL)
        proxy_stream_send_end(two->stream, &trailers);
    pair_run(&pair);
    for (int i = 0; i < 12; i++)
        (void)pair_request(&pair, "GET", "/more", "x-a: b\n", true);
    pair_run(&pair);
}

static void test_allocations(void **state)
{
    (void)state;
    FAIL_EACH_ALLOCATION
    {
        int result = pair_init(&pair, NULL, NULL);
        if (result == 0) {
            pair.split = 3000;
            converse();
        }
        fail_stop();
        if (result == 0) {
            bool whole = !pair.client.over && !pair.server.over && pair.client.streams[14].status == 200;
            assert_true(fail_happened() || whole);
            pair_done(&pair);
        } else {
            assert_int_equal(result, -ENOMEM);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_echo),
        cmocka_unit_test(test_interim_heads_and_framing),
        cmocka_unit_test(test_last_byte_ends),
        cmocka_unit_test(test_upgrade),
        cmocka_unit_test(test_websocket_client),
        cmocka_unit_test(test_websocket_server),
        cmocka_unit_test(test_long_upgrades),
        cmocka_unit_test(test_refused_tunnels),
        cmocka_unit_test(test_declined_upgrades),
        cmocka_unit_test(test_connect),
        cmocka_unit_test(test_big_bodies),
        cmocka_unit_test(test_pause),
        cmocka_unit_test(test_hold),
        cmocka_unit_test(test_turns),
        cmocka_unit_test(test_hold_again),
        cmocka_unit_test(test_hold_windows),
        cmocka_unit_test(test_fairness),
        cmocka_unit_test(test_resets),
        cmocka_unit_test(test_early_answer),
        cmocka_unit_test(test_close_in_events),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_limits_of_streams),
        cmocka_unit_test(test_drain),
        cmocka_unit_test(test_drain_refuses),
        cmocka_unit_test(test_last_drains),
        cmocka_unit_test(test_end),
        cmocka_unit_test(test_ping),
        cmocka_unit_test(test_unread_answers),
        cmocka_unit_test(test_settings_timeout),
        cmocka_unit_test(test_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
