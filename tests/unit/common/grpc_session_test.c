/* The sans-I/O session: against itself in pieces of any size, and against bytes of peers that do not keep the rules. */
#include "common/grpc/session.h"

#include "common/grpc/frame.h"
#include "tests/support/fail.h"
#include "tests/support/guard.h"
#include "tests/unit/common/h2_raw.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

/* One side: its session, what it has sent, what it heard. */
struct side {
    struct fl_grpc_session *session;
    struct fl_buf sent; /* all of it */
    size_t moved;       /* of it, to the other side */
    struct fl_buf messages;
    unsigned ready, requests, half_closes, ends;
    enum fl_grpc_status status;
    char text[256];
    struct fl_grpc_exchange *exchange; /* the last one; NULL after its end */
    bool echo;                         /* send each message back; finish at the half-close */
};

static struct side client, server;
static uint64_t now = 1000000;

static uint64_t now_ms(void *owner)
{
    (void)owner;
    return now;
}

static void on_output(void *owner)
{
    (void)owner;
}

static void on_ready(void *owner)
{
    ((struct side *)owner)->ready++;
}

static void on_request(void *owner, struct fl_grpc_exchange *exchange)
{
    struct side *side = owner;
    side->requests++;
    side->exchange = exchange;
    fl_grpc_exchange_set_user(exchange, side);
}

static void on_message(void *user, struct fl_span message)
{
    struct side *side = user;
    if (fl_buf_append(&side->messages, message) < 0 || fl_buf_append_byte(&side->messages, '|') < 0)
        assert_true(fail_happened());
    if (side->echo && fl_grpc_exchange_send(side->exchange, message) < 0)
        fl_grpc_exchange_finish(side->exchange, FL_GRPC_RESOURCE_EXHAUSTED, NULL);
}

static void on_half_close(void *user)
{
    struct side *side = user;
    side->half_closes++;
    if (side->echo)
        fl_grpc_exchange_finish(side->exchange, FL_GRPC_OK, NULL);
}

static void on_writable(void *user)
{
    (void)user;
}

static void on_end(void *user, enum fl_grpc_status status, struct fl_span text)
{
    struct side *side = user;
    side->ends++;
    side->status = status;
    side->exchange = NULL;
    snprintf(side->text, sizeof(side->text), "%.*s", FL_SPAN_ARG(text));
}

static const struct fl_grpc_session_ops session_ops = {
    .now_ms = now_ms, .on_output = on_output, .on_ready = on_ready, .on_request = on_request};
static const struct fl_grpc_exchange_ops exchange_ops = {
    .on_message = on_message, .on_half_close = on_half_close, .on_writable = on_writable, .on_end = on_end};

static const struct fl_grpc_request echo_request = {
    .path = FL_SPAN("/t.S/Echo"), .authority = FL_SPAN("x"), .scheme = "http"};

static int open_side(struct side *side, bool is_server)
{
    const struct fl_grpc_session_options options = {.server = is_server,
                                                    .message_max = 1000,
                                                    .queue_max = 1000,
                                                    .header_bytes = 1000,
                                                    .streams = 3,
                                                    .inbound_max = 8000};
    *side = (struct side){0};
    fl_buf_init(&side->sent, 1u << 20);
    fl_buf_init(&side->messages, 1u << 20);
    return fl_grpc_session_new(&options, &session_ops, side, &exchange_ops, &side->session);
}

static void close_side(struct side *side)
{
    side->session = fl_grpc_session_free(side->session);
    fl_buf_done(&side->sent);
    fl_buf_done(&side->messages);
}

static int set_up(void **state)
{
    (void)state;
    server = client = (struct side){0};
    return open_side(&client, false) < 0 || open_side(&server, true) < 0 ? -1 : 0;
}

static int tear_down(void **state)
{
    (void)state;
    close_side(&client);
    close_side(&server);
    return 0;
}

static int take_output(struct side *side)
{
    struct fl_span bytes = {NULL, 0};
    int result;
    do {
        result = fl_grpc_session_output(side->session, &bytes, NULL);
        if (result == 0)
            result = fl_buf_append(&side->sent, bytes);
    } while (result == 0 && bytes.len > 0);
    return result;
}

static int feed(struct side *side, struct fl_span bytes, size_t piece)
{
    int result = 0;
    while (bytes.len > 0 && result == 0) {
        struct guard guard;
        guard_init(&guard, fl_span_make(bytes.data, piece < bytes.len ? piece : bytes.len));
        result = fl_grpc_session_feed(side->session, guard.span, NULL);
        bytes = fl_span_from(bytes, guard.span.len);
        guard_done(&guard);
    }
    return result;
}

/* Moves bytes both ways until both are silent. The first failure ends it. */
static int run(size_t piece)
{
    struct side *sides[] = {&client, &server};
    bool moved = true;
    int result = 0;
    while (moved && result == 0) {
        moved = false;
        for (int i = 0; i < 2 && result == 0; i++) {
            result = take_output(sides[i]);
            struct fl_span rest = fl_span_from(fl_buf_span(&sides[i]->sent), sides[i]->moved);
            moved = moved || rest.len > 0;
            sides[i]->moved = sides[i]->sent.len;
            if (result == 0 && rest.len > 0)
                result = feed(sides[1 - i], rest, piece);
        }
    }
    return result;
}

static void start(void)
{
    assert_int_equal(fl_grpc_exchange_start(client.session, &echo_request, &client, &client.exchange), 0);
}

static void echo_three(void)
{
    server.echo = true;
    start();
    assert_int_equal(fl_grpc_exchange_send(client.exchange, FL_SPAN("one")), 0);
    assert_int_equal(fl_grpc_exchange_send(client.exchange, FL_SPAN("")), 0);
    assert_int_equal(fl_grpc_exchange_send(client.exchange, FL_SPAN("three")), 0);
    fl_grpc_exchange_half_close(client.exchange);
}

static void test_pieces(void **state)
{
    static const size_t pieces[] = {1, 2, 3, 7, 64, SIZE_MAX};
    for (size_t i = 0; i < FL_COUNT(pieces); i++) {
        assert_int_equal(run(pieces[i]), 0);
        assert_true(client.ready == 1 && server.ready == 1);
        echo_three();
        assert_int_equal(run(pieces[i]), 0);
        assert_true(fl_span_eq_str(fl_buf_span(&client.messages), "one||three|"));
        assert_true(client.ends == 1 && client.status == FL_GRPC_OK && server.ends == 1);
        assert_int_equal(fl_grpc_session_exchanges(client.session) + fl_grpc_session_exchanges(server.session), 0);
        tear_down(state);
        set_up(state);
    }
}

/* A connection cut at any byte, on either side: exchanges end when it is given up, and never half. */
static void test_cut_anywhere(void **state)
{
    struct fl_buf from_client, from_server;
    assert_int_equal(run(SIZE_MAX), 0);
    echo_three();
    assert_int_equal(run(SIZE_MAX), 0);
    from_client = client.sent;
    from_server = server.sent;
    fl_buf_init(&client.sent, 1);
    fl_buf_init(&server.sent, 1);
    for (size_t cut = 0; cut < from_client.len; cut++) {
        tear_down(state);
        set_up(state);
        server.echo = true;
        assert_int_equal(feed(&server, fl_span_make(from_client.data, cut), SIZE_MAX), 0);
        assert_int_equal(take_output(&server), 0);
        fl_grpc_session_abort(server.session, FL_GRPC_UNAVAILABLE, FL_SPAN("cut"), true);
        assert_true(server.ends == server.requests);
    }
    for (size_t cut = 0; cut < from_server.len; cut++) {
        tear_down(state);
        set_up(state);
        start();
        assert_int_equal(take_output(&client), 0);
        assert_int_equal(feed(&client, fl_span_make(from_server.data, cut), SIZE_MAX), 0);
        fl_grpc_session_abort(client.session, FL_GRPC_UNAVAILABLE, FL_SPAN("cut"), true);
        assert_int_equal(client.ends, 1);
    }
    fl_buf_done(&from_client);
    fl_buf_done(&from_server);
}

/* What the server answers to requests that are not as they should be: the first bytes of its HEADERS frame show the
 * status by HPACK's static table, the rest is read by the eye of a real client in grpc_call_test. */
static void test_bad_requests(void **state)
{
    static const struct {
        const char *name, *lines;
        uint32_t reset; /* HTTP/2 error; 0: an answer comes */
    } rows[] = {
        {"content-type", ":method: POST\n:scheme: http\n:path: /t.S/Echo\n:authority: x\ncontent-type: text/plain", 0},
        {"no content-type", ":method: POST\n:scheme: http\n:path: /t.S/Echo\n:authority: x", 0},
        {"a longer type", ":method: POST\n:scheme: http\n:path: /\n:authority: x\ncontent-type: application/grpcx", 0},
        {"GET", ":method: GET\n:scheme: http\n:path: /\n:authority: x\ncontent-type: application/grpc", 0},
        {"no path", ":method: POST\n:scheme: http\n:authority: x\ncontent-type: application/grpc", 1},
        {"two paths", ":method: POST\n:scheme: http\n:path: /\n:path: /\n:authority: x", 1},
        {"upper case", ":method: POST\n:scheme: http\n:path: /\n:authority: x\nX: y", 1},
        {"connection", ":method: POST\n:scheme: http\n:path: /\n:authority: x\nconnection: close", 1},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct fl_buf bytes;
        fl_buf_init(&bytes, 8192);
        h2_raw_preface(&bytes);
        h2_raw_headers(&bytes, 0, 1, rows[i].lines);
        assert_int_equal(feed(&server, fl_buf_span(&bytes), 5), 0);
        assert_int_equal(take_output(&server), 0);
        struct fl_span sent = fl_buf_span(&server.sent), reset = h2_raw_find(sent, H2_RESET, 1);
        if (server.requests != 0 || (h2_raw_find(sent, H2_HEADERS, 1).data != NULL) != (rows[i].reset == 0) ||
            reset.data == NULL || (uint32_t)reset.data[3] != rows[i].reset)
            fail_msg("%s", rows[i].name);
        assert_int_equal(fl_grpc_session_exchanges(server.session), 0);
        fl_buf_done(&bytes);
        tear_down(state);
        set_up(state);
    }
}

/* Streams that break in the middle: the status is in trailers, which a client session reads. */
static void test_bad_messages(void **state)
{
    static const struct {
        const char *name;
        struct fl_span data;
        bool last;
        enum fl_grpc_status status;
        const char *text, *messages;
    } rows[] = {
        {"compressed", {"\1\0\0\0\1a", 6}, false, FL_GRPC_UNIMPLEMENTED, "compressed messages are not supported", ""},
        {"flags", {"\7\0\0\0\1a", 6}, false, FL_GRPC_INTERNAL, "a frame with flags that do not exist", ""},
        {"too long", {"\0\0\0\4\0", 5}, false, FL_GRPC_RESOURCE_EXHAUSTED, "a message is too long", ""},
        {"cut in the head",
         {"\0\0\0\0\1a\0\0", 8},
         true,
         FL_GRPC_INTERNAL,
         "the client ended the stream in the middle of a message",
         "a|"},
        {"cut in the message",
         {"\0\0\0\0\5abc", 8},
         true,
         FL_GRPC_INTERNAL,
         "the client ended the stream in the middle of a message",
         ""},
        {"good, then bad",
         {"\0\0\0\0\1a\2\0\0\0\1a\0\0\0\0\1b", 18},
         false,
         FL_GRPC_INTERNAL,
         "a frame with flags that do not exist",
         "a|"},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        assert_int_equal(run(SIZE_MAX), 0);
        start();
        assert_int_equal(run(SIZE_MAX), 0);
        struct fl_buf bytes;
        fl_buf_init(&bytes, 8192);
        h2_raw_frame(&bytes, H2_DATA, rows[i].last ? H2_END_STREAM : 0, 1, rows[i].data);
        assert_int_equal(feed(&server, fl_buf_span(&bytes), 1), 0);
        assert_int_equal(run(SIZE_MAX), 0);
        if (client.ends != 1 || client.status != rows[i].status || strcmp(client.text, rows[i].text) != 0 ||
            !fl_span_eq_str(fl_buf_span(&server.messages), rows[i].messages))
            fail_msg("%s: %s %s", rows[i].name, fl_grpc_status_text(client.status), client.text);
        assert_int_equal(server.ends, 1);
        fl_buf_done(&bytes);
        tear_down(state);
        set_up(state);
    }
}

#define GOOD ":status: 200\ncontent-type: application/grpc"

/* What a client makes of a server's answers. Stream 1. */
static void test_bad_responses(void **state)
{
    static const struct {
        const char *name, *head;
        bool last;
        struct fl_span data;
        const char *trailers; /* NULL: none */
        enum fl_grpc_status status;
        const char *text;
    } rows[] = {
        {"good", GOOD, false, {"\0\0\0\0\1a", 6}, "grpc-status: 0", FL_GRPC_OK, ""},
        {"text", GOOD, false, {"", 0}, "grpc-status: 5\ngrpc-message: not%20here%0a", FL_GRPC_NOT_FOUND, "not here?"},
        {"trailers alone",
         GOOD "\ngrpc-status: 7\ngrpc-message: no",
         true,
         {"", 0},
         NULL,
         FL_GRPC_PERMISSION_DENIED,
         "no"},
        {"no status", GOOD, false, {"", 0}, "x: y", FL_GRPC_INTERNAL, "the server ended the stream without a status"},
        {"no status at all",
         GOOD,
         true,
         {"", 0},
         NULL,
         FL_GRPC_INTERNAL,
         "the server ended the stream without a status"},
        {"status that is none", GOOD, false, {"", 0}, "grpc-status: 99", FL_GRPC_UNKNOWN, ""},
        {"cut message",
         GOOD,
         false,
         {"\0\0\0\0\2a", 6},
         "grpc-status: 0",
         FL_GRPC_INTERNAL,
         "the server ended the stream in the middle of a message"},
        {"HTTP 503",
         ":status: 503\ncontent-type: text/html",
         false,
         {"<html>", 6},
         NULL,
         FL_GRPC_UNAVAILABLE,
         "the server answered HTTP 503, content-type \"text/html\""},
        {"a web page",
         ":status: 200\ncontent-type: text/html",
         false,
         {"<html>", 6},
         NULL,
         FL_GRPC_UNKNOWN,
         "the server answered HTTP 200, content-type \"text/html\""},
        {"compressed",
         GOOD,
         false,
         {"\1\0\0\0\1a", 6},
         NULL,
         FL_GRPC_UNIMPLEMENTED,
         "compressed messages are not supported"},
        {"too long", GOOD, false, {"\0\1\0\0\0", 5}, NULL, FL_GRPC_RESOURCE_EXHAUSTED, "a message is too long"},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct fl_buf bytes;
        fl_buf_init(&bytes, 8192);
        start();
        assert_int_equal(take_output(&client), 0);
        h2_raw_settings(&bytes);
        h2_raw_headers(&bytes, rows[i].last ? H2_END_STREAM : 0, 1, rows[i].head);
        if (!rows[i].last)
            h2_raw_frame(&bytes, H2_DATA, 0, 1, rows[i].data);
        if (rows[i].trailers != NULL)
            h2_raw_headers(&bytes, H2_END_STREAM, 1, rows[i].trailers);
        assert_int_equal(feed(&client, fl_buf_span(&bytes), 3), 0);
        if (client.ends != 1 || client.status != rows[i].status || strcmp(client.text, rows[i].text) != 0)
            fail_msg("%s: %s %s", rows[i].name, fl_grpc_status_text(client.status), client.text);
        fl_buf_done(&bytes);
        tear_down(state);
        set_up(state);
    }
}

static void test_informational(void **state)
{
    (void)state;
    struct fl_buf bytes;
    fl_buf_init(&bytes, 8192);
    start();
    assert_int_equal(take_output(&client), 0);
    h2_raw_settings(&bytes);
    h2_raw_headers(&bytes, 0, 1, ":status: 103\nlink: x");
    h2_raw_headers(&bytes, 0, 1, GOOD);
    h2_raw_headers(&bytes, H2_END_STREAM, 1, "grpc-status: 0");
    assert_int_equal(feed(&client, fl_buf_span(&bytes), 3), 0);
    assert_true(client.ends == 1 && client.status == FL_GRPC_OK);
    fl_buf_done(&bytes);
}

static void test_long_headers(void **state)
{
    (void)state;
    struct fl_buf bytes;
    char lines[3000];
    fl_buf_init(&bytes, 1u << 16);
    h2_raw_preface(&bytes);
    snprintf(
        lines, sizeof(lines),
        ":method: POST\n:scheme: http\n:path: /t.S/Echo\n:authority: x\ncontent-type: application/grpc\nx: %01500d", 0);
    h2_raw_headers(&bytes, 0, 1, lines);
    h2_raw_request(&bytes, 3, "/t.S/Echo");
    assert_int_equal(feed(&server, fl_buf_span(&bytes), 100), 0);
    assert_int_equal(take_output(&server), 0);
    assert_int_equal(server.requests, 1); /* the second */
    assert_int_equal(h2_raw_find(fl_buf_span(&server.sent), H2_RESET, 1).data[3], 11);
    fl_buf_done(&bytes);
}

static void test_too_many_streams(void **state)
{
    (void)state;
    struct fl_buf bytes;
    fl_buf_init(&bytes, 1u << 16);
    h2_raw_preface(&bytes);
    for (uint32_t id = 1; id <= 9; id += 2)
        h2_raw_request(&bytes, id, "/t.S/Echo");
    assert_int_equal(feed(&server, fl_buf_span(&bytes), SIZE_MAX), 0);
    assert_int_equal(take_output(&server), 0);
    assert_int_equal(server.requests, 3);
    assert_int_equal(h2_raw_find(fl_buf_span(&server.sent), H2_RESET, 7).data[3], 7); /* REFUSED_STREAM */
    assert_int_equal(h2_raw_find(fl_buf_span(&server.sent), H2_RESET, 9).data[3], 7);
    fl_grpc_session_abort(server.session, FL_GRPC_UNAVAILABLE, FL_SPAN(""), true);
    fl_buf_done(&bytes);
}

/* Messages that are announced by many streams and never finished hold no more than inbound_max. */
static void test_inbound(void **state)
{
    (void)state;
    struct fl_buf bytes;
    static const char part[900] = {0, 0, 0, 3, (char)0xe7};
    fl_grpc_session_free(server.session);
    const struct fl_grpc_session_options options = {.server = true,
                                                    .message_max = 1000,
                                                    .queue_max = 1000,
                                                    .header_bytes = 1000,
                                                    .streams = 100,
                                                    .inbound_max = 4000};
    assert_int_equal(fl_grpc_session_new(&options, &session_ops, &server, &exchange_ops, &server.session), 0);
    fl_buf_init(&bytes, 1u << 16);
    h2_raw_preface(&bytes);
    for (uint32_t id = 1; id < 20; id += 2) {
        h2_raw_request(&bytes, id, "/t.S/Echo");
        h2_raw_frame(&bytes, H2_DATA, 0, id, fl_span_make(part, sizeof(part)));
    }
    assert_int_equal(feed(&server, fl_buf_span(&bytes), SIZE_MAX), 0);
    assert_int_equal(take_output(&server), 0);
    assert_true(h2_raw_count(fl_buf_span(&server.sent), H2_RESET) >= 6);
    assert_true(fl_grpc_session_exchanges(server.session) <= 4);
    fl_grpc_session_abort(server.session, FL_GRPC_UNAVAILABLE, FL_SPAN(""), true);
    fl_buf_done(&bytes);
}

/* Floods end the session, told or not, before they cost memory. */
static void test_floods(void **state)
{
    static const struct {
        const char *name;
        unsigned type, flags;
        uint32_t id;
        struct fl_span payload;
    } rows[] = {
        {"PING", H2_PING, 0, 0, {"12345678", 8}}, {"PING acknowledged", H2_PING, H2_ACK, 0, {"12345678", 8}},
        {"SETTINGS", H2_SETTINGS, 0, 0, {"", 0}}, {"PRIORITY", H2_PRIORITY, 0, 5, {"\0\0\0\0\1", 5}},
        {"empty DATA", H2_DATA, 0, 1, {"", 0}},   {"WINDOW_UPDATE", H2_WINDOW, 0, 0, {"\0\0\0\1", 4}},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct fl_buf bytes;
        int result = 0;
        fl_buf_init(&bytes, 8192);
        h2_raw_preface(&bytes);
        h2_raw_request(&bytes, 1, "/t.S/Echo");
        assert_int_equal(feed(&server, fl_buf_span(&bytes), SIZE_MAX), 0);
        fl_buf_clear(&bytes);
        h2_raw_frame(&bytes, rows[i].type, rows[i].flags, rows[i].id, rows[i].payload);
        unsigned sent = 0;
        while (sent < 10000 && result == 0 && !fl_grpc_session_is_over(server.session)) {
            result = feed(&server, fl_buf_span(&bytes), SIZE_MAX);
            if (result == 0 && sent % 50 == 0)
                result = take_output(&server);
            fl_buf_clear(&server.sent);
            sent++;
        }
        if (result == 0 && fl_grpc_session_is_over(server.session))
            result = fl_grpc_session_reason(server.session, NULL);
        if (sent >= 10000 || result != -EDQUOT)
            fail_msg("%s: %u frames, %d", rows[i].name, sent, result);
        fl_grpc_session_abort(server.session, FL_GRPC_UNAVAILABLE, FL_SPAN(""), true);
        fl_buf_done(&bytes);
        tear_down(state);
        set_up(state);
    }
}

/* The same frames at a sane pace are well. */
static void test_no_flood(void **state)
{
    (void)state;
    struct fl_buf bytes;
    fl_buf_init(&bytes, 8192);
    h2_raw_preface(&bytes);
    assert_int_equal(feed(&server, fl_buf_span(&bytes), SIZE_MAX), 0);
    fl_buf_clear(&bytes);
    h2_raw_frame(&bytes, H2_PING, 0, 0, FL_SPAN("12345678"));
    for (unsigned i = 0; i < 20000; i++) {
        now += 5;
        assert_int_equal(feed(&server, fl_buf_span(&bytes), SIZE_MAX), 0);
        assert_int_equal(take_output(&server), 0);
        fl_buf_clear(&server.sent);
        assert_false(fl_grpc_session_is_over(server.session));
    }
    fl_buf_done(&bytes);
}

/* Streams opened and reset at once (CVE-2023-44487). */
static void test_rapid_reset(void **state)
{
    (void)state;
    int result = 0;
    uint32_t id = 1;
    struct fl_buf bytes;
    fl_buf_init(&bytes, 8192);
    h2_raw_preface(&bytes);
    while (id < 20000 && result == 0 && !fl_grpc_session_is_over(server.session)) {
        h2_raw_request(&bytes, id, "/t.S/Echo");
        h2_raw_frame(&bytes, H2_RESET, 0, id, FL_SPAN("\0\0\0\10"));
        result = feed(&server, fl_buf_span(&bytes), SIZE_MAX);
        fl_buf_clear(&bytes);
        if (result == 0)
            result = take_output(&server);
        fl_buf_clear(&server.sent);
        id += 2;
    }
    assert_true(id < 1000);
    assert_int_equal(server.ends, server.requests);
    fl_buf_done(&bytes);
}

static void test_continuation_flood(void **state)
{
    (void)state;
    int result = 0;
    struct fl_buf bytes;
    fl_buf_init(&bytes, 8192);
    h2_raw_preface(&bytes);
    h2_raw_frame(&bytes, H2_HEADERS, 0, 1, FL_SPAN("\x83"));
    unsigned sent = 0;
    while (sent < 100 && result == 0 && !fl_grpc_session_is_over(server.session)) {
        h2_raw_frame(&bytes, H2_CONTINUATION, 0, 1, FL_SPAN(""));
        result = feed(&server, fl_buf_span(&bytes), SIZE_MAX);
        fl_buf_clear(&bytes);
        if (result == 0)
            result = take_output(&server);
        sent++;
    }
    assert_true(sent < 20);
    fl_buf_done(&bytes);
}

static void test_no_http2(void **state)
{
    static const char *const rows[] = {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "\x16\x03\x01\x02", "PRI * HTTP/2.0\r\nx"};
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        assert_int_equal(feed(&server, fl_span_str(rows[i]), 1), -EPROTO);
        assert_int_equal(fl_grpc_session_feed(server.session, FL_SPAN("x"), NULL), -EPROTO);
        tear_down(state);
        set_up(state);
    }
}

/* A peer who gives no window: the queue stands, and is dropped when told so. */
static void test_slow_exchange(void **state)
{
    (void)state;
    struct fl_buf bytes;
    fl_buf_init(&bytes, 8192);
    h2_raw_preface(&bytes);
    h2_raw_frame(&bytes, H2_SETTINGS, 0, 0, FL_SPAN("\0\4\0\0\0\1")); /* INITIAL_WINDOW_SIZE 1 */
    h2_raw_request(&bytes, 1, "/t.S/Echo");
    assert_int_equal(feed(&server, fl_buf_span(&bytes), SIZE_MAX), 0);
    assert_int_equal(fl_grpc_session_waits_since(server.session), UINT64_MAX);
    assert_int_equal(fl_grpc_exchange_send(server.exchange, FL_SPAN("hello")), 0);
    now += 10;
    assert_int_equal(take_output(&server), 0);
    assert_int_equal(fl_grpc_exchange_queued(server.exchange), 9);
    assert_int_equal(fl_grpc_session_waits_since(server.session), now);
    fl_grpc_session_drop_slow(server.session, now - 1);
    assert_int_equal(server.ends, 0);
    fl_grpc_session_drop_slow(server.session, now);
    assert_int_equal(server.ends, 1);
    assert_int_equal(server.status, FL_GRPC_RESOURCE_EXHAUSTED);
    fl_buf_done(&bytes);
}

static void test_memory(void **state)
{
    tear_down(state);
    FAIL_EACH_ALLOCATION
    {
        int result = open_side(&client, false);
        if (result == 0)
            result = open_side(&server, true);
        if (result == 0)
            result = run(SIZE_MAX);
        server.echo = true;
        if (result == 0)
            result = fl_grpc_exchange_start(client.session, &echo_request, &client, &client.exchange);
        if (result == 0 && client.exchange != NULL)
            fl_grpc_exchange_half_close(client.exchange);
        if (result == 0)
            result = run(SIZE_MAX);
        fail_stop();
        if (!fail_happened())
            assert_true(result == 0 && client.status == FL_GRPC_OK && client.ends == 1);
        close_side(&client);
        close_side(&server);
        client = server = (struct side){0};
    }
    assert_int_equal(set_up(state), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_pieces),        TEST(test_cut_anywhere),  TEST(test_bad_requests),       TEST(test_bad_messages),
        TEST(test_bad_responses), TEST(test_informational), TEST(test_long_headers),       TEST(test_too_many_streams),
        TEST(test_inbound),       TEST(test_floods),        TEST(test_no_flood),           TEST(test_rapid_reset),
        TEST(test_no_http2),      TEST(test_slow_exchange), TEST(test_continuation_flood), TEST(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
