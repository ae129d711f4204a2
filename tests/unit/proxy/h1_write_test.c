/* proxy/http/h1_write.h: what leaves, byte for byte; parse, write, parse gives the same message. */
#include "proxy/http/h1_body.h"
#include "proxy/http/h1_write.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

static const struct proxy_h1_limits limits;
static struct proxy_message message;

static void parse_request(struct fl_span text)
{
    struct proxy_h1_parser parser = {0};
    size_t size;
    if (proxy_h1_parse_request(&parser, text, &limits, &message, &size) != PROXY_H1_DONE)
        fail_msg("%s: %.*s", proxy_h1_error_word((enum proxy_h1_error)parser.error), FL_SPAN_ARG(text));
}

static void parse_response(struct fl_span text, const struct proxy_exchange *exchange)
{
    struct proxy_h1_parser parser = {0};
    size_t size;
    if (proxy_h1_parse_response(&parser, text, &limits, exchange, &message, &size) != PROXY_H1_DONE)
        fail_msg("%s: %.*s", proxy_h1_error_word((enum proxy_h1_error)parser.error), FL_SPAN_ARG(text));
}

/* Into exactly as many bytes as the bound says: more would be seen by the sanitizer. */
static struct fl_span write_head(const struct proxy_h1_plan *plan)
{
    static char *room;
    free(room);
    size_t bound = proxy_h1_head_bound(&message, plan);
    room = malloc(bound);
    size_t size = proxy_h1_write_head(&message, plan, room);
    assert_true(size <= bound);
    return fl_span_make(room, size);
}

static void assert_text(const char *what, struct fl_span got, const char *want)
{
    if (!fl_span_eq_str(got, want))
        fail_msg("%s:\n%.*s\ninstead of\n%s", what, FL_SPAN_ARG(got), want);
}

#define HOST_LINE "Host: a\r\n"

struct request_row {
    const char *what, *in, *out;
};

static const struct request_row request_rows[] = {
    {"untouched", "GET /a?b HTTP/1.1\r\nhOsT: a\r\nX-A:  1 \r\nx-a: 2\r\n\r\n",
     "GET /a?b HTTP/1.1\r\nhOsT: a\r\nX-A: 1\r\nx-a: 2\r\n\r\n"},
    {"unknown method", "BREW /pot HTTP/1.1\r\n" HOST_LINE "\r\n", "BREW /pot HTTP/1.1\r\n" HOST_LINE "\r\n"},
    {"absolute form kept, Host rewritten", "GET http://b:80/x HTTP/1.1\r\n" HOST_LINE "\r\n",
     "GET http://b:80/x HTTP/1.1\r\nHost: b:80\r\n\r\n"},
    {"asterisk", "OPTIONS * HTTP/1.1\r\n" HOST_LINE "\r\n", "OPTIONS * HTTP/1.1\r\n" HOST_LINE "\r\n"},
    {"CONNECT", "CONNECT a:1 HTTP/1.1\r\nHost: b\r\n\r\n", "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n"},
    {"length in its place", "POST / HTTP/1.1\r\nContent-length: 5\r\n" HOST_LINE "\r\n",
     "POST / HTTP/1.1\r\nContent-length: 5\r\n" HOST_LINE "\r\n"},
    {"double length once", "POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5\r\n" HOST_LINE "\r\n",
     "POST / HTTP/1.1\r\nContent-Length: 5\r\n" HOST_LINE "\r\n"},
    {"chunked, in lower case", "POST / HTTP/1.1\r\n" HOST_LINE "Transfer-Encoding: CHUNKED\r\nTrailer: X\r\n\r\n",
     "POST / HTTP/1.1\r\n" HOST_LINE "Transfer-Encoding: chunked\r\nTrailer: X\r\n\r\n"},
    {"Trailer without chunks", "GET / HTTP/1.1\r\n" HOST_LINE "Trailer: X\r\n\r\n",
     "GET / HTTP/1.1\r\n" HOST_LINE "\r\n"},
    {"hop by hop",
     "GET / HTTP/1.1\r\n" HOST_LINE
     "Connection: keep-alive\r\nKeep-Alive: timeout=5\r\nProxy-Connection: x\r\nA: b\r\n\r\n",
     "GET / HTTP/1.1\r\n" HOST_LINE "A: b\r\n\r\n"},
    {"Connection: close is the client's own affair", "GET / HTTP/1.1\r\n" HOST_LINE "Connection: close\r\n\r\n",
     "GET / HTTP/1.1\r\n" HOST_LINE "\r\n"},
    {"fields that Connection names",
     "GET / HTTP/1.1\r\n" HOST_LINE
     "Connection: X-Hop, close\r\nx-hop: 1\r\nX-HOP: 2\r\nx-hop2: 3\r\nConnection: accept\r\nAccept: *\r\n\r\n",
     "GET / HTTP/1.1\r\n" HOST_LINE "x-hop2: 3\r\n\r\n"},
    {"fields that no client may have stripped",
     "POST / HTTP/1.1\r\n" HOST_LINE
     "Connection: host, content-length, authorization, x-forwarded-for, cookie\r\nContent-Length: 1\r\nAuthorization: "
     "x\r\nX-Forwarded-For: 1\r\nCookie: c\r\n\r\n",
     "POST / HTTP/1.1\r\n" HOST_LINE
     "Content-Length: 1\r\nAuthorization: x\r\nX-Forwarded-For: 1\r\nCookie: c\r\n\r\n"},
    {"a coding cannot be stripped",
     "POST / HTTP/1.1\r\n" HOST_LINE "Connection: transfer-encoding\r\nTransfer-Encoding: chunked\r\n\r\n",
     "POST / HTTP/1.1\r\n" HOST_LINE "Transfer-Encoding: chunked\r\n\r\n"},
    {"TE: trailers", "GET / HTTP/1.1\r\n" HOST_LINE "TE: gzip;q=1, trailers\r\nConnection: TE\r\n\r\n",
     "GET / HTTP/1.1\r\n" HOST_LINE "TE: trailers\r\nconnection: te\r\n\r\n"},
    {"other TE", "GET / HTTP/1.1\r\n" HOST_LINE "TE: gzip\r\nConnection: TE\r\n\r\n",
     "GET / HTTP/1.1\r\n" HOST_LINE "\r\n"},
    {"websocket", "GET / HTTP/1.1\r\n" HOST_LINE "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n",
     "GET / HTTP/1.1\r\n" HOST_LINE "Upgrade: websocket\r\nconnection: upgrade\r\n\r\n"},
    {"h2c",
     "GET / HTTP/1.1\r\n" HOST_LINE
     "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n\r\n",
     "GET / HTTP/1.1\r\n" HOST_LINE "\r\n"},
    {"HTTP/1.0", "GET / HTTP/1.0\r\nA: b\r\n\r\n", "GET / HTTP/1.0\r\nA: b\r\nconnection: keep-alive\r\n\r\n"},
    {"expectation", "PUT / HTTP/1.1\r\n" HOST_LINE "Expect: 100-continue\r\nContent-Length: 1\r\n\r\n",
     "PUT / HTTP/1.1\r\n" HOST_LINE "Expect: 100-continue\r\nContent-Length: 1\r\n\r\n"},
};

static void requests(void **state)
{
    (void)state;
    for (size_t i = 0; i < FL_COUNT(request_rows); i++) {
        struct proxy_h1_plan plan;
        parse_request(fl_span_str(request_rows[i].in));
        proxy_h1_plan_request(&message, &plan);
        assert_text(request_rows[i].what, write_head(&plan), request_rows[i].out);
    }
}

#define GET(...)                                                                                                       \
    {                                                                                                                  \
        .method_id = PROXY_METHOD_GET, .minor = 1, .keep_alive = true, __VA_ARGS__                                     \
    }
#define OLD(...)                                                                                                       \
    {                                                                                                                  \
        .method_id = PROXY_METHOD_GET, .minor = 0, __VA_ARGS__                                                         \
    }

struct response_row {
    const char *what;
    struct proxy_exchange exchange;
    const char *in, *out; /* out NULL: suppressed */
    enum proxy_framing framing;
    bool keep_alive;
};

static const struct response_row response_rows[] = {
    {"untouched", GET(), "HTTP/1.1 200 Sure thing\r\nServer: x\r\nContent-LENGTH: 5\r\n\r\n",
     "HTTP/1.1 200 Sure thing\r\nServer: x\r\nContent-LENGTH: 5\r\n\r\n", PROXY_FRAMING_LENGTH, true},
    {"no reason", GET(), "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n",
     PROXY_FRAMING_LENGTH, true},
    {"chunked", GET(), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nA: b\r\n\r\n",
     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nA: b\r\n\r\n", PROXY_FRAMING_CHUNKED, true},
    {"until close becomes chunked", GET(), "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
     "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", PROXY_FRAMING_CHUNKED, true},
    {"until close, HTTP/1.0 server", GET(), "HTTP/1.0 200 OK\r\nA: b\r\n\r\n",
     "HTTP/1.1 200 OK\r\nA: b\r\ntransfer-encoding: chunked\r\n\r\n", PROXY_FRAMING_CHUNKED, true},
    {"the server's close is its own affair", GET(), "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\n",
     "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n", PROXY_FRAMING_LENGTH, true},
    {"a client that closes",
     {.method_id = PROXY_METHOD_GET, .minor = 1},
     "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n",
     "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nconnection: close\r\n\r\n",
     PROXY_FRAMING_LENGTH,
     false},
    {"HTTP/1.0 client, chunked", OLD(.keep_alive = true),
     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n",
     "HTTP/1.0 200 OK\r\nconnection: close\r\n\r\n", PROXY_FRAMING_CLOSE, false},
    {"HTTP/1.0 client, length, keep-alive", OLD(.keep_alive = true), "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n",
     "HTTP/1.0 200 OK\r\nContent-Length: 1\r\nconnection: keep-alive\r\n\r\n", PROXY_FRAMING_LENGTH, true},
    {"HTTP/1.0 client, length", OLD(), "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n",
     "HTTP/1.0 200 OK\r\nContent-Length: 1\r\nconnection: close\r\n\r\n", PROXY_FRAMING_LENGTH, false},
    {"HTTP/1.0 client, 100", OLD(), "HTTP/1.1 100 Continue\r\n\r\n", NULL, PROXY_FRAMING_NONE, false},
    {"100", GET(), "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\n", PROXY_FRAMING_NONE, true},
    {"103 to a client that closes",
     {.method_id = PROXY_METHOD_GET, .minor = 1},
     "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n",
     "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n",
     PROXY_FRAMING_NONE,
     false},
    {"204 with length 0", GET(), "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
     "HTTP/1.1 204 No Content\r\n\r\n", PROXY_FRAMING_NONE, true},
    {"304", GET(), "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
     "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", PROXY_FRAMING_NONE, true},
    {"304, chunked", GET(), "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n",
     "HTTP/1.1 304 Not Modified\r\n\r\n", PROXY_FRAMING_NONE, true},
    {"HEAD",
     {.method_id = PROXY_METHOD_HEAD, .minor = 1, .keep_alive = true},
     "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
     "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
     PROXY_FRAMING_NONE,
     true},
    {"HEAD, chunked",
     {.method_id = PROXY_METHOD_HEAD, .minor = 1, .keep_alive = true},
     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
     "HTTP/1.1 200 OK\r\n\r\n",
     PROXY_FRAMING_NONE,
     true},
    {"101", GET(.upgrade = true),
     "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
     "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nconnection: upgrade\r\n\r\n", PROXY_FRAMING_NONE, true},
    {"CONNECT",
     {.method_id = PROXY_METHOD_CONNECT, .minor = 1, .keep_alive = true},
     "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
     "HTTP/1.1 200 OK\r\n\r\n",
     PROXY_FRAMING_NONE,
     true},
    {"offered upgrade", GET(), "HTTP/1.1 200 OK\r\nConnection: Upgrade\r\nUpgrade: h2,h2c\r\nContent-Length: 0\r\n\r\n",
     "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", PROXY_FRAMING_LENGTH, true},
};

static void responses(void **state)
{
    (void)state;
    for (size_t i = 0; i < FL_COUNT(response_rows); i++) {
        const struct response_row *row = &response_rows[i];
        struct proxy_h1_plan plan;
        parse_response(fl_span_str(row->in), &row->exchange);
        proxy_h1_plan_response(&message, &row->exchange, &plan);
        assert_int_equal(plan.suppress, row->out == NULL);
        if (row->out != NULL)
            assert_text(row->what, write_head(&plan), row->out);
        if (plan.framing != row->framing || plan.keep_alive != row->keep_alive)
            fail_msg("%s: framing %d, keep-alive %d", row->what, plan.framing, plan.keep_alive);
    }
}

static void trailers_of_http2_weigh_more_than_its_length(void **state)
{
    (void)state;
    struct proxy_exchange exchange = {
        .method_id = PROXY_METHOD_GET, .minor = 1, .keep_alive = true, .te_trailers = true};
    struct proxy_h1_plan plan;
    const struct fl_span text = FL_SPAN("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTrailer: X\r\n\r\n");
    parse_response(text, &exchange);
    proxy_h1_plan_response(&message, &exchange, &plan);
    assert_int_equal(plan.framing, PROXY_FRAMING_LENGTH); /* of HTTP/1: there are none */
    message.major = 2;
    proxy_h1_plan_response(&message, &exchange, &plan);
    assert_text("to who takes them", write_head(&plan),
                "HTTP/1.1 200 OK\r\nTrailer: X\r\ntransfer-encoding: chunked\r\n\r\n");
    exchange.te_trailers = false;
    proxy_h1_plan_response(&message, &exchange, &plan);
    assert_int_equal(plan.framing, PROXY_FRAMING_LENGTH);
    exchange = (struct proxy_exchange){.method_id = PROXY_METHOD_GET, .minor = 0, .te_trailers = true};
    proxy_h1_plan_response(&message, &exchange, &plan);
    assert_int_equal(plan.framing, PROXY_FRAMING_LENGTH);
}

static void rewritten_targets(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out;
    } rows[] = {
        {"GET /old HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n", "GET /new?q HTTP/1.1\r\nHost: b\r\nX: y\r\n\r\n"},
        {"GET HTTPS://a/old HTTP/1.1\r\nHost: a\r\n\r\n", "GET HTTPS://b/new?q HTTP/1.1\r\nHost: b\r\n\r\n"},
        {"GET /old HTTP/1.0\r\n\r\n", "GET /new?q HTTP/1.0\r\nHost: b\r\nconnection: keep-alive\r\n\r\n"},
        {"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: b\r\n\r\n"},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct proxy_h1_plan plan;
        parse_request(fl_span_str(rows[i].in));
        proxy_message_set_path(&message, FL_SPAN("/new?q"));
        assert_int_equal(proxy_message_set_authority(&message, FL_SPAN("b")), 0);
        proxy_h1_plan_request(&message, &plan);
        assert_text(rows[i].in, write_head(&plan), rows[i].out);
    }
}

/* parse → write → parse: the same message, and the second writing changes nothing any more. */
static void what_was_written_reads_the_same(void **state)
{
    (void)state;
    for (size_t i = 0; i < FL_COUNT(request_rows); i++) {
        struct proxy_h1_plan plan;
        parse_request(fl_span_str(request_rows[i].out));
        uint8_t framing = message.framing;
        uint64_t length = message.content_length;
        proxy_h1_plan_request(&message, &plan);
        char copy[4096];
        struct fl_span text = write_head(&plan);
        memcpy(copy, text.data, text.len);
        assert_text(request_rows[i].what, text, request_rows[i].out);
        parse_request(fl_span_make(copy, text.len));
        assert_int_equal(message.framing, framing);
        assert_int_equal(message.content_length, length);
    }
}

static void chunks(void **state)
{
    (void)state;
    static const struct {
        size_t size;
        const char *head;
    } rows[] = {{1, "1\r\n"},         {15, "f\r\n"},        {16, "10\r\n"},
                {0x1a2b, "1a2b\r\n"}, {65536, "10000\r\n"}, {SIZE_MAX, "ffffffffffffffff\r\n"}};
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        char head[PROXY_H1_CHUNK_HEAD_MAX];
        size_t size = proxy_h1_write_chunk_head(rows[i].size, head);
        assert_text("chunk", fl_span_make(head, size), rows[i].head);
    }
    static struct proxy_headers trailers;
    char text[256];
    proxy_headers_init(&trailers);
    assert_text("none", fl_span_make(text, proxy_h1_write_last_chunk(NULL, text)), "0\r\n\r\n");
    assert_int_equal(proxy_headers_add(&trailers, FL_SPAN("Grpc-Status"), FL_SPAN("0")), 0);
    assert_int_equal(proxy_headers_add(&trailers, FL_SPAN("gone"), FL_SPAN("0")), 0);
    proxy_headers_remove(&trailers, FL_SPAN("Gone"));
    size_t size = proxy_h1_write_last_chunk(&trailers, text);
    assert_text("trailers", fl_span_make(text, size), "0\r\nGrpc-Status: 0\r\n\r\n");
    assert_true(size <= proxy_h1_last_chunk_bound(&trailers));
}

static void replies(void **state)
{
    (void)state;
    static const struct proxy_header location = {.name = {"location", 8}, .value = {"http://a/", 9}};
    char text[1024];
    struct proxy_h1_reply reply = {
        .status = 503, .body = FL_SPAN("no healthy upstream"), .now = 784111777, .keep_alive = true};
    size_t size = proxy_h1_write_reply(&reply, text);
    assert_true(size <= proxy_h1_reply_bound(&reply));
    assert_text("503", fl_span_make(text, size),
                "HTTP/1.1 503 Service Unavailable\r\nserver: fairlead\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
                "content-type: text/plain\r\ncontent-length: 19\r\n\r\nno healthy upstream");
    reply = (struct proxy_h1_reply){.status = 400, .body = FL_SPAN("Bad Request"), .now = 784111777, .head = true};
    assert_text("400 to HEAD", fl_span_make(text, proxy_h1_write_reply(&reply, text)),
                "HTTP/1.1 400 Bad Request\r\nserver: fairlead\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
                "content-type: text/plain\r\ncontent-length: 11\r\nconnection: close\r\n\r\n");
    reply =
        (struct proxy_h1_reply){.status = 204, .body = FL_SPAN("not written"), .now = 784111777, .keep_alive = true};
    assert_text("204", fl_span_make(text, proxy_h1_write_reply(&reply, text)),
                "HTTP/1.1 204 No Content\r\nserver: fairlead\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n");
    reply = (struct proxy_h1_reply){
        .status = 301, .headers = &location, .header_count = 1, .now = 784111777, .keep_alive = true, .http10 = true};
    assert_text(
        "301", fl_span_make(text, proxy_h1_write_reply(&reply, text)),
        "HTTP/1.1 301 Moved Permanently\r\nserver: fairlead\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
        "location: http://a/\r\ncontent-type: text/plain\r\ncontent-length: 0\r\nconnection: keep-alive\r\n\r\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests),
        cmocka_unit_test(responses),
        cmocka_unit_test(trailers_of_http2_weigh_more_than_its_length),
        cmocka_unit_test(rewritten_targets),
        cmocka_unit_test(what_was_written_reads_the_same),
        cmocka_unit_test(chunks),
        cmocka_unit_test(replies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
