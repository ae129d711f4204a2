/* proxy/http/h1.h: request heads. Every rule of strictness is a named row; every split gives the same result. */
#include "proxy/http/h1.h"
#include "tests/support/guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define ERROR(id) PROXY_H1_ERROR_##id

static const struct proxy_h1_limits defaults;
static struct proxy_message message;

static int parse(struct fl_span input, struct proxy_h1_parser *parser, size_t *ret_size)
{
    *parser = (struct proxy_h1_parser){0};
    return proxy_h1_parse_request(parser, input, &defaults, &message, ret_size);
}

struct row {
    const char *what;
    struct fl_span input;
    enum proxy_h1_error error; /* NONE: accepted */
    unsigned status;
};

#define HOST_LINE "Host: a\r\n"
#define BAD(what, input, id, status)                                                                                   \
    {                                                                                                                  \
        what, {input, sizeof(input) - 1}, ERROR(id), status                                                            \
    }
#define GOOD(what, input)                                                                                              \
    {                                                                                                                  \
        what, {input, sizeof(input) - 1}, ERROR(NONE), 0                                                               \
    }
#define POST_HEAD "POST / HTTP/1.1\r\n" HOST_LINE

static const struct row rows[] = {
    /* Start line. */
    GOOD("plain", "GET / HTTP/1.1\r\n" HOST_LINE "\r\n"),
    GOOD("one empty line before it", "\r\nGET / HTTP/1.1\r\n" HOST_LINE "\r\n"),
    GOOD("unknown method", "BREW /pot HTTP/1.1\r\n" HOST_LINE "\r\n"),
    GOOD("bytes from 0x80 in the target", "GET /\xc3\xa4 HTTP/1.1\r\n" HOST_LINE "\r\n"),
    GOOD("minor version above 1", "GET / HTTP/1.9\r\n" HOST_LINE "\r\n"),
    BAD("two empty lines before it", "\r\n\r\nGET / HTTP/1.1\r\n" HOST_LINE "\r\n", METHOD, 400),
    BAD("bare LF before it", "\nGET / HTTP/1.1\r\n" HOST_LINE "\r\n", METHOD, 400),
    BAD("bare CR before it", "\rGET / HTTP/1.1\r\n" HOST_LINE "\r\n", LINE_END, 400),
    BAD("space before the method", " GET / HTTP/1.1\r\n" HOST_LINE "\r\n", METHOD, 400),
    BAD("two spaces after the method", "GET  / HTTP/1.1\r\n" HOST_LINE "\r\n", REQUEST_LINE, 400),
    BAD("tab after the method", "GET\t/ HTTP/1.1\r\n" HOST_LINE "\r\n", METHOD, 400),
    BAD("method with a non-token octet", "GE(T / HTTP/1.1\r\n" HOST_LINE "\r\n", METHOD, 400),
    BAD("TLS ClientHello", "\x16\x03\x01\x02\x00\x01", METHOD, 400),
    BAD("two spaces before the version", "GET /  HTTP/1.1\r\n" HOST_LINE "\r\n", VERSION_SYNTAX, 400),
    BAD("space behind the version", "GET / HTTP/1.1 \r\n" HOST_LINE "\r\n", LINE_END, 400),
    BAD("space in the target", "GET /a b HTTP/1.1\r\n" HOST_LINE "\r\n", VERSION_SYNTAX, 400),
    BAD("control octet in the target", "GET /a\x01 HTTP/1.1\r\n" HOST_LINE "\r\n", TARGET, 400),
    BAD("NUL in the target", "GET /a\0b HTTP/1.1\r\n" HOST_LINE "\r\n", TARGET, 400),
    BAD("fragment in the target", "GET /a#b HTTP/1.1\r\n" HOST_LINE "\r\n", TARGET, 400),
    BAD("bare LF behind the request line", "GET / HTTP/1.1\n" HOST_LINE "\r\n", LINE_END, 400),
    BAD("bare CR behind the request line", "GET / HTTP/1.1\rX" HOST_LINE "\r\n", LINE_END, 400),
    /* Version. */
    GOOD("HTTP/1.0 without Host", "GET / HTTP/1.0\r\n\r\n"),
    BAD("HTTP/0.9", "GET /\r\n", VERSION_SYNTAX, 400),
    BAD("version 0.9", "GET / HTTP/0.9\r\n\r\n", VERSION, 505),
    BAD("version 2.0", "GET / HTTP/2.0\r\n" HOST_LINE "\r\n", VERSION, 505),
    BAD("HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", TARGET_FORM, 400),
    BAD("lower-case version", "GET / http/1.1\r\n" HOST_LINE "\r\n", VERSION_SYNTAX, 400),
    BAD("version without minor", "GET / HTTP/1\r\n" HOST_LINE "\r\n", VERSION_SYNTAX, 400),
    BAD("version with two digits", "GET / HTTP/1.10\r\n" HOST_LINE "\r\n", LINE_END, 400),
    BAD("version of another protocol", "GET / HTTPS/1.1\r\n" HOST_LINE "\r\n", VERSION_SYNTAX, 400),
    BAD("negative minor", "GET / HTTP/1.-1\r\n" HOST_LINE "\r\n", VERSION_SYNTAX, 400),
    /* Target forms. */
    GOOD("absolute form", "GET http://a/b?c HTTP/1.1\r\n" HOST_LINE "\r\n"),
    GOOD("absolute form, other Host (rewritten)", "GET http://b/ HTTP/1.1\r\n" HOST_LINE "\r\n"),
    GOOD("absolute form without path", "GET HTTP://a:80 HTTP/1.1\r\n" HOST_LINE "\r\n"),
    GOOD("asterisk for OPTIONS", "OPTIONS * HTTP/1.1\r\n" HOST_LINE "\r\n"),
    GOOD("authority for CONNECT", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"),
    BAD("absolute form without Host", "GET http://a/ HTTP/1.1\r\n\r\n", HOST_MISSING, 400),
    BAD("absolute form with userinfo", "GET http://u@a/ HTTP/1.1\r\n" HOST_LINE "\r\n", TARGET, 400),
    BAD("absolute form without authority", "GET http:///x HTTP/1.1\r\n" HOST_LINE "\r\n", TARGET, 400),
    BAD("absolute form with a query and no path", "GET http://a?x/ HTTP/1.1\r\n" HOST_LINE "\r\n", TARGET, 400),
    BAD("absolute form, bad port", "GET http://a:66000/ HTTP/1.1\r\n" HOST_LINE "\r\n", TARGET, 400),
    BAD("another scheme", "GET ftp://a/ HTTP/1.1\r\n" HOST_LINE "\r\n", TARGET_FORM, 400),
    BAD("no form at all", "GET a/b HTTP/1.1\r\n" HOST_LINE "\r\n", TARGET_FORM, 400),
    BAD("asterisk for GET", "GET * HTTP/1.1\r\n" HOST_LINE "\r\n", TARGET_FORM, 400),
    BAD("authority for GET", "GET a:443 HTTP/1.1\r\n" HOST_LINE "\r\n", TARGET_FORM, 400),
    BAD("origin form for CONNECT", "CONNECT / HTTP/1.1\r\n" HOST_LINE "\r\n", TARGET_FORM, 400),
    BAD("CONNECT without port", "CONNECT a HTTP/1.1\r\n" HOST_LINE "\r\n", TARGET_FORM, 400),
    BAD("CONNECT without host", "CONNECT :443 HTTP/1.1\r\n" HOST_LINE "\r\n", TARGET_FORM, 400),
    BAD("CONNECT with a length", "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nContent-Length: 1\r\n\r\n", CONNECT_BODY, 400),
    BAD("CONNECT, chunked", "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nTransfer-Encoding: chunked\r\n\r\n", CONNECT_BODY,
        400),
    GOOD("CONNECT with length 0", "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nContent-Length: 0\r\n\r\n"),
    /* Host. */
    GOOD("empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n"),
    GOOD("IPv6 Host", "GET / HTTP/1.1\r\nHost: [fd00::1]:8080\r\n\r\n"),
    GOOD("Host with underscore", "GET / HTTP/1.1\r\nHost: a_b.c\r\n\r\n"),
    GOOD("Host with an empty port", "GET / HTTP/1.1\r\nHost: a:\r\n\r\n"),
    BAD("missing Host", "GET / HTTP/1.1\r\nAccept: a\r\n\r\n", HOST_MISSING, 400),
    BAD("duplicate Host", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", HOST_DUPLICATE, 400),
    BAD("duplicate Host, the same", "GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", HOST_DUPLICATE, 400),
    BAD("Host with userinfo", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", HOST_INVALID, 400),
    BAD("Host with a list", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", HOST_INVALID, 400),
    BAD("Host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", HOST_INVALID, 400),
    BAD("Host with a bad port", "GET / HTTP/1.1\r\nHost: a:8x\r\n\r\n", HOST_INVALID, 400),
    BAD("Host with two ports", "GET / HTTP/1.1\r\nHost: a:80:81\r\n\r\n", HOST_INVALID, 400),
    BAD("Host, open bracket", "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", HOST_INVALID, 400),
    BAD("Host, bytes behind the bracket", "GET / HTTP/1.1\r\nHost: [::1]x\r\n\r\n", HOST_INVALID, 400),
    /* Field lines. */
    GOOD("empty value", "GET / HTTP/1.1\r\n" HOST_LINE "X:\r\n\r\n"),
    GOOD("space and tab around a value", "GET / HTTP/1.1\r\n" HOST_LINE "X: \t a b \t\r\n\r\n"),
    GOOD("bytes from 0x80 in a value", "GET / HTTP/1.1\r\n" HOST_LINE "X: \xe4\r\n\r\n"),
    BAD("space before the colon", "GET / HTTP/1.1\r\nHost : a\r\n\r\n", FIELD_NAME_SPACE, 400),
    BAD("tab before the colon", "GET / HTTP/1.1\r\nHost\t: a\r\n\r\n", FIELD_NAME_SPACE, 400),
    BAD("empty name", "GET / HTTP/1.1\r\n" HOST_LINE ": a\r\n\r\n", FIELD_NAME, 400),
    BAD("no colon", "GET / HTTP/1.1\r\n" HOST_LINE "abc\r\n\r\n", FIELD_NAME, 400),
    BAD("name with a non-token octet", "GET / HTTP/1.1\r\n" HOST_LINE "a(b: c\r\n\r\n", FIELD_NAME, 400),
    BAD("name with NUL", "GET / HTTP/1.1\r\n" HOST_LINE "a\0b: c\r\n\r\n", FIELD_NAME, 400),
    BAD("name from 0x80", "GET / HTTP/1.1\r\n" HOST_LINE "\xc3\xa4: c\r\n\r\n", FIELD_NAME, 400),
    BAD("folded line", "GET / HTTP/1.1\r\n" HOST_LINE "X: a\r\n b\r\n\r\n", FOLDED, 400),
    BAD("folded line, tab", "GET / HTTP/1.1\r\n" HOST_LINE "X: a\r\n\tb\r\n\r\n", FOLDED, 400),
    BAD("space before the first field", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", FOLDED, 400),
    BAD("bare LF behind a field", "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", LINE_END, 400),
    BAD("bare LF as the empty line", "GET / HTTP/1.1\r\n" HOST_LINE "\n", LINE_END, 400),
    BAD("bare CR in a value", "GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n", LINE_END, 400),
    BAD("bare CR as the empty line", "GET / HTTP/1.1\r\n" HOST_LINE "\rX", LINE_END, 400),
    BAD("CR CR LF", "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", LINE_END, 400),
    BAD("NUL in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", FIELD_VALUE, 400),
    BAD("control octet in a value",
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\x07"
        "b\r\n\r\n",
        FIELD_VALUE, 400),
    BAD("DEL in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: 0123456789abcdef\x7f\r\n\r\n", FIELD_VALUE, 400),
    /* Framing. */
    GOOD("length", POST_HEAD "Content-Length: 5\r\n\r\n"),
    GOOD("length 0", POST_HEAD "Content-Length: 0\r\n\r\n"),
    GOOD("length, the same twice", POST_HEAD "Content-Length: 5\r\nContent-Length: 5\r\n\r\n"),
    GOOD("chunked", POST_HEAD "Transfer-Encoding: chunked\r\n\r\n"),
    GOOD("chunked, other case", POST_HEAD "Transfer-Encoding: ChUnKeD\r\n\r\n"),
    BAD("length and coding", POST_HEAD "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", LENGTH_AND_CODING,
        400),
    BAD("coding and length", POST_HEAD "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", LENGTH_AND_CODING,
        400),
    BAD("length and coding in HTTP/1.0", "POST / HTTP/1.0\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        LENGTH_AND_CODING, 400),
    BAD("two lengths", POST_HEAD "Content-Length: 5\r\nContent-Length: 6\r\n\r\n", CONTENT_LENGTH_DIFFERS, 400),
    BAD("a list of lengths", POST_HEAD "Content-Length: 5, 5\r\n\r\n", CONTENT_LENGTH, 400),
    BAD("length with plus", POST_HEAD "Content-Length: +5\r\n\r\n", CONTENT_LENGTH, 400),
    BAD("length with minus", POST_HEAD "Content-Length: -5\r\n\r\n", CONTENT_LENGTH, 400),
    BAD("length with a space", POST_HEAD "Content-Length: 5 5\r\n\r\n", CONTENT_LENGTH, 400),
    BAD("length in hex", POST_HEAD "Content-Length: 0x5\r\n\r\n", CONTENT_LENGTH, 400),
    BAD("length with fraction", POST_HEAD "Content-Length: 5.0\r\n\r\n", CONTENT_LENGTH, 400),
    BAD("empty length", POST_HEAD "Content-Length:\r\n\r\n", CONTENT_LENGTH, 400),
    BAD("length 2^63", POST_HEAD "Content-Length: 9223372036854775808\r\n\r\n", CONTENT_LENGTH, 400),
    BAD("length 2^64", POST_HEAD "Content-Length: 18446744073709551616\r\n\r\n", CONTENT_LENGTH, 400),
    BAD("length of 30 digits", POST_HEAD "Content-Length: 000000000000000000000000000099999999999999999999\r\n\r\n",
        CONTENT_LENGTH, 400),
    BAD("chunked twice", POST_HEAD "Transfer-Encoding: chunked, chunked\r\n\r\n", CODING, 400),
    BAD("chunked twice in two fields", POST_HEAD "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        CODING, 400),
    BAD("chunked and an empty field", POST_HEAD "Transfer-Encoding: chunked\r\nTransfer-Encoding:\r\n\r\n", CODING,
        400),
    BAD("chunked and another field", POST_HEAD "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n", CODING,
        400),
    BAD("chunked with a comma", POST_HEAD "Transfer-Encoding: chunked,\r\n\r\n", CODING, 400),
    BAD("chunked not last", POST_HEAD "Transfer-Encoding: chunked, gzip\r\n\r\n", CODING_UNKNOWN, 501),
    BAD("chunked not alone", POST_HEAD "Transfer-Encoding: gzip, chunked\r\n\r\n", CODING_UNKNOWN, 501),
    BAD("identity", POST_HEAD "Transfer-Encoding: identity\r\n\r\n", CODING_UNKNOWN, 501),
    BAD("unknown coding", POST_HEAD "Transfer-Encoding: xchunked\r\n\r\n", CODING_UNKNOWN, 501),
    BAD("empty coding", POST_HEAD "Transfer-Encoding:\r\n\r\n", CODING, 400),
    BAD("coding with a parameter", POST_HEAD "Transfer-Encoding: chunked;q=1\r\n\r\n", CODING, 400),
    BAD("quoted coding", POST_HEAD "Transfer-Encoding: \"chunked\"\r\n\r\n", CODING, 400),
    BAD("coding with a control octet",
        POST_HEAD "Transfer-Encoding: \x0b"
                  "chunked\r\n\r\n",
        FIELD_VALUE, 400),
    BAD("coding with a tab inside", POST_HEAD "Transfer-Encoding: chun\tked\r\n\r\n", CODING, 400),
    BAD("coding in HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", CODING_HTTP10, 400),
    /* Connection. */
    GOOD("Connection with empty items", "GET / HTTP/1.1\r\n" HOST_LINE "Connection: , close,,\r\n\r\n"),
    BAD("Connection, not a token", "GET / HTTP/1.1\r\n" HOST_LINE "Connection: a b\r\n\r\n", CONNECTION, 400),
};

static void check_row(const struct row *row, int result, const struct proxy_h1_parser *parser, size_t size)
{
    if (row->error == ERROR(NONE)) {
        if (result != PROXY_H1_DONE || size != row->input.len)
            fail_msg("%s: result %d, size %zu, %s", row->what, result, size,
                     proxy_h1_error_word((enum proxy_h1_error)parser->error));
        return;
    }
    if (result != -EPROTO || parser->error != row->error)
        fail_msg("%s: result %d, %s", row->what, result, proxy_h1_error_word((enum proxy_h1_error)parser->error));
    if (proxy_h1_error_status(row->error) != row->status)
        fail_msg("%s: status %u", row->what, proxy_h1_error_status(row->error));
}

static void each_rule_has_its_answer(void **state)
{
    (void)state;
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct guard guard;
        struct proxy_h1_parser parser;
        size_t size = 0;
        guard_init(&guard, rows[i].input);
        int result = parse(guard.span, &parser, &size);
        check_row(&rows[i], result, &parser, size);
        guard_done(&guard);
    }
}

/* Byte by byte, with the parser's memory of what it has scanned: the same answer, at the latest with the last byte. */
static void a_trickled_head_gives_the_same_answer(void **state)
{
    (void)state;
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct proxy_h1_parser parser = {0};
        int result = PROXY_H1_MORE;
        size_t size = 0, len = 1;
        for (; len <= rows[i].input.len; len++) {
            struct guard guard;
            guard_init(&guard, fl_span_make(rows[i].input.data, len));
            result = proxy_h1_parse_request(&parser, guard.span, &defaults, &message, &size);
            guard_done(&guard);
            if (result != PROXY_H1_MORE)
                break;
        }
        /* An error may wait for the end of a line or head that never comes: then a timeout ends it. */
        if (result == PROXY_H1_MORE && rows[i].error != ERROR(NONE))
            continue;
        check_row(&rows[i], result, &parser, size);
    }
}

static void every_split_in_two_gives_the_same_message(void **state)
{
    (void)state;
    struct fl_span input =
        FL_SPAN("\r\nPOST http://b.c/x?y=z HTTP/1.1\r\nhost: other\r\nConnection: close, x-a\r\nX-A: 1\r\n"
                "Content-Length: 3\r\nExpect: 100-continue\r\nTE: trailers\r\n\r\nabc");
    size_t head = input.len - 3;
    for (size_t split = 1; split < input.len; split++) {
        struct proxy_h1_parser parser = {0};
        size_t size = 0;
        int result = proxy_h1_parse_request(&parser, fl_span_make(input.data, split), &defaults, &message, &size);
        assert_int_equal(result, split >= head ? PROXY_H1_DONE : PROXY_H1_MORE);
        if (result == PROXY_H1_MORE)
            result = proxy_h1_parse_request(&parser, input, &defaults, &message, &size);
        assert_int_equal(result, PROXY_H1_DONE);
        assert_int_equal(size, head);
        assert_int_equal(parser.scanned, 0);
        assert_true(fl_span_eq_str(message.method, "POST"));
        assert_true(fl_span_eq_str(message.authority, "b.c"));
        assert_true(fl_span_eq_str(message.path, "/x?y=z"));
        assert_true(fl_span_eq_str(message.scheme, "http"));
        assert_true(fl_span_eq_str(proxy_headers_value(&message.headers, PROXY_HEADER_HOST), "b.c"));
        assert_int_equal(message.target_form, PROXY_TARGET_ABSOLUTE);
        assert_int_equal(message.framing, PROXY_FRAMING_LENGTH);
        assert_int_equal(message.content_length, 3);
        assert_true(message.expect_continue && message.te_trailers && message.connection_options);
        assert_false(message.keep_alive);
    }
}

static void pipelined_heads_are_taken_one_by_one(void **state)
{
    (void)state;
    struct fl_span input =
        FL_SPAN("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.0\r\n\r\n\r\nGET /3 HTTP/1.1\r\nHost: a\r\n\r\n");
    static const char *const paths[] = {"/1", "/2", "/3"};
    for (size_t i = 0; i < FL_COUNT(paths); i++) {
        struct proxy_h1_parser parser;
        size_t size = 0;
        assert_int_equal(parse(input, &parser, &size), PROXY_H1_DONE);
        assert_true(fl_span_eq_str(message.path, paths[i]));
        input = fl_span_from(input, size);
    }
    assert_int_equal(input.len, 0);
}

struct meaning {
    const char *what, *head;
    bool keep_alive, upgrade, expect;
};

static const struct meaning meanings[] = {
    {"1.1", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", true, false, false},
    {"1.1 close", "GET / HTTP/1.1\r\nHost: a\r\nConnection: Close\r\n\r\n", false, false, false},
    {"1.1 close in the second field", "GET / HTTP/1.1\r\nHost: a\r\nConnection: x\r\nConnection: close\r\n\r\n", false,
     false, false},
    {"1.0", "GET / HTTP/1.0\r\n\r\n", false, false, false},
    {"1.0 keep-alive", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true, false, false},
    {"1.0 keep-alive and close", "GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", false, false, false},
    {"websocket", "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", true, true, false},
    {"upgrade without its option", "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n", true, false, false},
    {"h2c", "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n", true, false,
     false},
    {"TLS", "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: TLS/1.0\r\n\r\n", true, false, false},
    {"HTTP/2.0", "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: HTTP/2.0\r\n\r\n", true, false, false},
    {"two protocols", "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c, websocket\r\n\r\n", true,
     false, false},
    {"a version", "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n", true, true, false},
    {"no protocol", "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: a b\r\n\r\n", true, false, false},
    {"upgrade in 1.0", "GET / HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", false, false, false},
    {"upgrade with a body",
     "POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\nContent-Length: 1\r\n\r\n", true, false,
     false},
    {"upgrade with an empty body",
     "POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n", true, true,
     false},
    {"expect", "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 1\r\n\r\n", true, false, true},
    {"expect without body", "GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n", true, false, false},
    {"expect in 1.0", "POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n", false, false, false},
    {"another expectation", "POST / HTTP/1.1\r\nHost: a\r\nExpect: x\r\nContent-Length: 1\r\n\r\n", true, false, false},
};

static void connection_semantics(void **state)
{
    (void)state;
    for (size_t i = 0; i < FL_COUNT(meanings); i++) {
        struct proxy_h1_parser parser;
        size_t size = 0;
        if (parse(fl_span_str(meanings[i].head), &parser, &size) != PROXY_H1_DONE)
            fail_msg("%s: %s", meanings[i].what, proxy_h1_error_word((enum proxy_h1_error)parser.error));
        if (message.keep_alive != meanings[i].keep_alive || message.upgrade != meanings[i].upgrade ||
            message.expect_continue != meanings[i].expect)
            fail_msg("%s: keep-alive %d, upgrade %d, expect %d", meanings[i].what, message.keep_alive, message.upgrade,
                     message.expect_continue);
    }
}

static char *put(char *to, const char *text)
{
    size_t len = strlen(text);
    memcpy(to, text, len);
    return to + len;
}

/* A head of `fields` fields with values of `value` bytes behind a target of `target` bytes. */
static struct fl_span big_head(char *to, size_t target, size_t fields, size_t value)
{
    char *at = put(to, "GET /");
    memset(at, 'x', target - 1);
    at += target - 1;
    at = put(at, " HTTP/1.1\r\nHost: a\r\n");
    for (size_t i = 1; i < fields; i++) {
        at += snprintf(at, 32, "x-%zu: ", i);
        memset(at, 'y', value);
        at += value;
        at = put(at, "\r\n");
    }
    at = put(at, "\r\n");
    return fl_span_make(to, (size_t)(at - to));
}

static void limits_hold_to_the_byte(void **state)
{
    (void)state;
    char *text = malloc(1 << 20);
    struct fl_span head = big_head(text, 100, 20, 50);
    struct proxy_h1_limits limits = {.head_max = (uint32_t)head.len, .target_max = 100, .headers_max = 20};
    struct proxy_h1_parser parser = {0};
    size_t size = 0;
    assert_int_equal(proxy_h1_parse_request(&parser, head, &limits, &message, &size), PROXY_H1_DONE);
    limits.headers_max = 19;
    assert_int_equal(proxy_h1_parse_request(&parser, head, &limits, &message, &size), -EPROTO);
    assert_int_equal(parser.error, ERROR(TOO_MANY_FIELDS));
    limits.headers_max = 0;
    limits.target_max = 99;
    parser = (struct proxy_h1_parser){0};
    assert_int_equal(proxy_h1_parse_request(&parser, head, &limits, &message, &size), -EPROTO);
    assert_int_equal(parser.error, ERROR(TARGET_TOO_LONG));
    limits.target_max = 0;
    limits.head_max = (uint32_t)head.len - 1;
    parser = (struct proxy_h1_parser){0};
    assert_int_equal(proxy_h1_parse_request(&parser, head, &limits, &message, &size), -EPROTO);
    assert_int_equal(parser.error, ERROR(HEAD_TOO_LARGE));
    limits.head_max = 50;
    parser = (struct proxy_h1_parser){0};
    assert_int_equal(proxy_h1_parse_request(&parser, fl_span_make(head.data, 49), &limits, &message, &size),
                     PROXY_H1_MORE);
    assert_int_equal(proxy_h1_parse_request(&parser, head, &limits, &message, &size), -EPROTO);
    assert_int_equal(parser.error, ERROR(TARGET_TOO_LONG));
    assert_int_equal(proxy_h1_error_status(ERROR(TARGET_TOO_LONG)), 414);
    assert_int_equal(proxy_h1_error_status(ERROR(HEAD_TOO_LARGE)), 431);
    assert_int_equal(proxy_h1_error_status(ERROR(TOO_MANY_FIELDS)), 431);
    free(text);
}

static void a_peer_cannot_ask_for_more_fields_than_the_wire_limit(void **state)
{
    (void)state;
    char *text = malloc(1 << 16);
    struct proxy_h1_limits limits = {.headers_max = 100000};
    struct proxy_h1_parser parser = {0};
    size_t size = 0;
    assert_int_equal(
        proxy_h1_parse_request(&parser, big_head(text, 1, PROXY_HEADERS_WIRE_MAX, 5), &limits, &message, &size),
        PROXY_H1_DONE);
    assert_int_equal(
        proxy_h1_parse_request(&parser, big_head(text, 1, PROXY_HEADERS_WIRE_MAX + 1, 5), &limits, &message, &size),
        -EPROTO);
    assert_int_equal(parser.error, ERROR(TOO_MANY_FIELDS));
    free(text);
}

static void a_head_is_never_longer_than_the_greatest(void **state)
{
    (void)state;
    char *text = malloc(1 << 17);
    assert_non_null(text);
    struct proxy_h1_limits limits = {.head_max = UINT32_MAX};
    struct proxy_h1_parser parser = {0};
    size_t size = 0;
    struct fl_span head = big_head(text, 1, 2, PROXY_H1_HEAD_MAX);
    assert_int_equal(proxy_h1_parse_request(&parser, head, &limits, &message, &size), -EPROTO);
    assert_int_equal(parser.error, ERROR(HEAD_TOO_LARGE));
    free(text);
}

static void connection_options_are_bounded(void **state)
{
    (void)state;
    char text[1024] = "GET / HTTP/1.1\r\nHost: a\r\nConnection: x";
    for (int i = 1; i < PROXY_H1_OPTIONS_MAX; i++)
        snprintf(text + strlen(text), sizeof(text) - strlen(text), ",x");
    char *end = text + strlen(text);
    size_t left = sizeof(text) - strlen(text);
    struct proxy_h1_parser parser;
    size_t size;
    snprintf(end, left, "\r\n\r\n");
    assert_int_equal(parse(fl_span_str(text), &parser, &size), PROXY_H1_DONE);
    snprintf(end, left, ",x\r\n\r\n");
    assert_int_equal(parse(fl_span_str(text), &parser, &size), -EPROTO);
    assert_int_equal(parser.error, ERROR(CONNECTION));
}

static void no_bytes_are_no_beginning(void **state)
{
    (void)state;
    struct proxy_h1_parser parser;
    size_t size;
    assert_int_equal(parse((struct fl_span){NULL, 0}, &parser, &size), PROXY_H1_MORE);
    assert_int_equal(parse(FL_SPAN("\r\n"), &parser, &size), PROXY_H1_MORE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_rule_has_its_answer),
        cmocka_unit_test(a_trickled_head_gives_the_same_answer),
        cmocka_unit_test(every_split_in_two_gives_the_same_message),
        cmocka_unit_test(pipelined_heads_are_taken_one_by_one),
        cmocka_unit_test(connection_semantics),
        cmocka_unit_test(limits_hold_to_the_byte),
        cmocka_unit_test(a_peer_cannot_ask_for_more_fields_than_the_wire_limit),
        cmocka_unit_test(a_head_is_never_longer_than_the_greatest),
        cmocka_unit_test(connection_options_are_bounded),
        cmocka_unit_test(no_bytes_are_no_beginning),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
