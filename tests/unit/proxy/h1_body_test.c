/* proxy/http/h1_body.h: where a message ends, what of it is content, and every way to get a chunk wrong. */
#include "proxy/http/h1_body.h"
#include "tests/support/guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

static struct proxy_headers trailers;

static struct proxy_h1_body body_of(enum proxy_framing framing, uint64_t length)
{
    static struct proxy_message message;
    struct proxy_h1_body body;
    proxy_message_init(&message);
    message.framing = (uint8_t)framing;
    message.content_length = length;
    proxy_h1_body_init(&body, &message);
    return body;
}

/* What one body gives when its bytes come in two parts: the content, the last result, and how much was not taken. */
struct outcome {
    int result;
    char content[4096];
    size_t len, left;
};

static int drain(struct proxy_h1_body *body, struct fl_span *bytes, struct outcome *outcome)
{
    for (;;) {
        struct fl_span data;
        int result = proxy_h1_body_decode(body, bytes, &trailers, &data);
        if (result != PROXY_H1_DATA)
            return result;
        assert_true(data.len > 0 && outcome->len + data.len <= sizeof(outcome->content));
        memcpy(outcome->content + outcome->len, data.data, data.len);
        outcome->len += data.len;
    }
}

static void decode(struct proxy_h1_body body, struct fl_span input, size_t split, struct outcome *outcome)
{
    struct guard first, second;
    outcome->len = 0;
    guard_init(&first, fl_span_make(input.data, split));
    struct fl_span bytes = first.span;
    outcome->result = drain(&body, &bytes, outcome);
    size_t taken = split - bytes.len;
    guard_done(&first);
    if (outcome->result == PROXY_H1_MORE && split < input.len) { /* what was not taken comes again */
        guard_init(&second, fl_span_from(input, taken));
        bytes = second.span;
        outcome->result = drain(&body, &bytes, outcome);
        guard_done(&second);
    } else {
        bytes.len = input.len - taken;
    }
    outcome->left = bytes.len;
    if (outcome->result == -EPROTO)
        outcome->result = -(int)body.error;
}

struct row {
    const char *what;
    struct fl_span input;
    struct fl_span content;
    size_t left;
    enum proxy_h1_error error;
};

#define GOOD(what, input, content, left)                                                                               \
    {                                                                                                                  \
        what, {input, sizeof(input) - 1}, {content, sizeof(content) - 1}, left, PROXY_H1_ERROR_NONE                    \
    }
#define BAD(what, input, id)                                                                                           \
    {                                                                                                                  \
        what, {input, sizeof(input) - 1}, {NULL, 0}, 0, PROXY_H1_ERROR_##id                                            \
    }

static const struct row chunked_rows[] = {
    GOOD("empty", "0\r\n\r\n", "", 0),
    GOOD("one", "3\r\nabc\r\n0\r\n\r\n", "abc", 0),
    GOOD("two, and the next message", "3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\nGET", "abc0123456789", 3),
    GOOD("hex of both cases", "a\r\n0123456789\r\nB\r\n0123456789a\r\n0\r\n\r\n", "01234567890123456789a", 0),
    GOOD("leading zeros", "0003\r\nabc\r\n0000\r\n\r\n", "abc", 0),
    GOOD("15 digits", "000000000000003\r\nabc\r\n0\r\n\r\n", "abc", 0),
    GOOD("extensions", "3;a=b;c=\"d\"\r\nabc\r\n0;x\r\n\r\n", "abc", 0),
    GOOD("CR and LF as content", "4\r\n\r\n\r\n\r\n0\r\n\r\n", "\r\n\r\n", 0),
    GOOD("trailers", "0\r\nA: b\r\nC:\r\n\r\nrest", "", 4),
    BAD("no size", "\r\nabc", CHUNK_SIZE),
    BAD("no size, extension", ";a\r\n", CHUNK_SIZE),
    BAD("space before the size", " 3\r\nabc\r\n", CHUNK_SIZE),
    BAD("space behind the size", "3 \r\nabc\r\n", CHUNK_SIZE),
    BAD("tab behind the size", "3\t;a\r\nabc\r\n", CHUNK_SIZE),
    BAD("sign", "+3\r\nabc\r\n", CHUNK_SIZE),
    BAD("minus", "-3\r\nabc\r\n", CHUNK_SIZE),
    BAD("0x", "0x3\r\nabc\r\n", CHUNK_SIZE),
    BAD("underscore", "1_0\r\n", CHUNK_SIZE),
    BAD("not hex", "g\r\n", CHUNK_SIZE),
    BAD("16 digits", "0000000000000003\r\nabc\r\n", CHUNK_SIZE),
    BAD("overflow", "ffffffffffffffff1\r\n", CHUNK_SIZE),
    BAD("bare LF behind the size", "3\nabc\r\n0\r\n\r\n", CHUNK_SIZE),
    BAD("bare CR behind the size", "3\rabc\r\n", CHUNK_END),
    BAD("bare LF in an extension", "3;a\nabc\r\n", CHUNK_EXTENSION),
    BAD("bare CR in an extension", "3;a\rb\r\nabc\r\n", CHUNK_END),
    BAD("NUL in an extension", "3;a\0b\r\nabc\r\n", CHUNK_EXTENSION),
    BAD("no CRLF behind the data", "3\r\nabcd\r\n", CHUNK_END),
    BAD("bare LF behind the data", "3\r\nabc\n0\r\n\r\n", CHUNK_END),
    BAD("bare CR behind the data", "3\r\nabc\r0\r\n\r\n", CHUNK_END),
    BAD("bare LF as the end", "0\r\n\n", TRAILER),
    BAD("bare CR as the end", "0\r\n\rX", TRAILER),
    BAD("trailer without colon", "0\r\nabc\r\n\r\n", TRAILER),
    BAD("folded trailer", "0\r\nA: b\r\n c\r\n\r\n", TRAILER),
    BAD("space before a trailer's colon", "0\r\nA : b\r\n\r\n", TRAILER),
    BAD("NUL in a trailer", "0\r\nA: \0\r\n\r\n", TRAILER),
};

static void check(const struct row *row, const struct outcome *outcome)
{
    bool good = row->error == PROXY_H1_ERROR_NONE;
    bool same = good ? outcome->result == PROXY_H1_DONE && outcome->left == row->left &&
                           outcome->len == row->content.len &&
                           (outcome->len == 0 || memcmp(outcome->content, row->content.data, outcome->len) == 0)
                     : outcome->result == -(int)row->error;
    if (!same)
        fail_msg("%s: result %d, content %.*s, left %zu", row->what, outcome->result, (int)outcome->len,
                 outcome->content, outcome->left);
}

static void chunked_bodies_at_every_split(void **state)
{
    (void)state;
    for (size_t i = 0; i < FL_COUNT(chunked_rows); i++) {
        for (size_t split = 1; split <= chunked_rows[i].input.len; split++) {
            struct outcome outcome;
            decode(body_of(PROXY_FRAMING_CHUNKED, 0), chunked_rows[i].input, split, &outcome);
            check(&chunked_rows[i], &outcome);
        }
    }
}

static void a_body_of_a_length_ends_there(void **state)
{
    (void)state;
    struct fl_span input = FL_SPAN("abcdefGET");
    for (size_t split = 1; split <= input.len; split++) {
        struct outcome outcome;
        decode(body_of(PROXY_FRAMING_LENGTH, 6), input, split, &outcome);
        assert_int_equal(outcome.result, PROXY_H1_DONE);
        assert_int_equal(outcome.left, 3);
        assert_memory_equal(outcome.content, "abcdef", 6);
    }
    struct proxy_h1_body none = body_of(PROXY_FRAMING_LENGTH, 0), nothing = body_of(PROXY_FRAMING_NONE, 0),
                         zeroed = {0};
    assert_true(proxy_h1_body_done(&none) && proxy_h1_body_done(&nothing) && proxy_h1_body_done(&zeroed));
}

static void a_body_until_close_ends_with_the_connection(void **state)
{
    (void)state;
    struct proxy_h1_body body = body_of(PROXY_FRAMING_CLOSE, 0);
    struct fl_span bytes = FL_SPAN("abc"), data;
    assert_int_equal(proxy_h1_body_decode(&body, &bytes, NULL, &data), PROXY_H1_DATA);
    assert_int_equal(data.len, 3);
    assert_int_equal(proxy_h1_body_decode(&body, &bytes, NULL, &data), PROXY_H1_MORE);
    assert_false(proxy_h1_body_done(&body));
    assert_int_equal(proxy_h1_body_eof(&body), PROXY_H1_DONE);
    assert_true(proxy_h1_body_done(&body));
    assert_int_equal(proxy_h1_body_eof(&body), PROXY_H1_DONE);
}

static void a_truncated_body_is_told(void **state)
{
    (void)state;
    struct proxy_h1_body body = body_of(PROXY_FRAMING_LENGTH, 5);
    struct fl_span bytes = FL_SPAN("abc"), data;
    assert_int_equal(proxy_h1_body_decode(&body, &bytes, NULL, &data), PROXY_H1_DATA);
    assert_int_equal(proxy_h1_body_eof(&body), -EPROTO);
    assert_int_equal(body.error, PROXY_H1_ERROR_BODY_TRUNCATED);
    assert_int_equal(proxy_h1_body_decode(&body, &bytes, NULL, &data), -EPROTO);
    body = body_of(PROXY_FRAMING_CHUNKED, 0);
    bytes = FL_SPAN("3\r\nabc\r\n0\r\n");
    assert_int_equal(proxy_h1_body_decode(&body, &bytes, NULL, &data), PROXY_H1_DATA);
    assert_int_equal(proxy_h1_body_decode(&body, &bytes, NULL, &data), PROXY_H1_MORE);
    assert_int_equal(proxy_h1_body_eof(&body), -EPROTO);
}

static void trailers_are_kept_but_for_those_that_harm(void **state)
{
    (void)state;
    struct proxy_h1_body body = body_of(PROXY_FRAMING_CHUNKED, 0);
    struct fl_span data,
        bytes = FL_SPAN(
            "0\r\nGrpc-Status: 0\r\nContent-Length: 5\r\nX-Sum: 1\r\nhost: evil\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_int_equal(proxy_h1_body_decode(&body, &bytes, &trailers, &data), PROXY_H1_DONE);
    assert_true(fl_span_eq_str(proxy_headers_value(&trailers, PROXY_HEADER_GRPC_STATUS), "0"));
    assert_null(proxy_headers_get(&trailers, PROXY_HEADER_CONTENT_LENGTH));
    assert_null(proxy_headers_get(&trailers, PROXY_HEADER_HOST));
    assert_null(proxy_headers_get(&trailers, PROXY_HEADER_TRANSFER_ENCODING));
    assert_non_null(proxy_headers_next(&trailers, PROXY_HEADER_OTHER, FL_SPAN("x-sum"), NULL));
    bytes = FL_SPAN("0\r\nA: b\r\n\r\n");
    body = body_of(PROXY_FRAMING_CHUNKED, 0);
    assert_int_equal(proxy_h1_body_decode(&body, &bytes, NULL, &data), PROXY_H1_DONE);
}

static void fill(char *text, struct fl_span begin, char with, size_t size)
{
    memset(text, with, size);
    memcpy(text, begin.data, begin.len);
}

static void extensions_and_trailers_are_bounded(void **state)
{
    (void)state;
    static char text[2 * PROXY_H1_TRAILERS_MAX];
    struct fl_span data, bytes;
    fill(text, FL_SPAN("3;"), 'x', sizeof(text));
    struct proxy_h1_body body = body_of(PROXY_FRAMING_CHUNKED, 0);
    bytes = fl_span_make(text, PROXY_H1_CHUNK_LINE_MAX + 3);
    assert_int_equal(proxy_h1_body_decode(&body, &bytes, NULL, &data), -EPROTO);
    assert_int_equal(body.error, PROXY_H1_ERROR_CHUNK_EXTENSION);

    fill(text, FL_SPAN("0\r\nA: "), 'x', sizeof(text));
    body = body_of(PROXY_FRAMING_CHUNKED, 0);
    bytes = fl_span_make(text, PROXY_H1_TRAILERS_MAX + 2);
    assert_int_equal(proxy_h1_body_decode(&body, &bytes, NULL, &data), PROXY_H1_MORE);
    assert_int_equal(bytes.len, PROXY_H1_TRAILERS_MAX - 1);
    bytes.len++;
    assert_int_equal(proxy_h1_body_decode(&body, &bytes, NULL, &data), -EPROTO);
    assert_int_equal(body.error, PROXY_H1_ERROR_TRAILER_TOO_LARGE);

    fill(text, FL_SPAN("0\r\n"), 'x', sizeof(text));
    for (size_t i = 0; i <= PROXY_H1_HEADERS_MAX; i++)
        memcpy(text + 3 + 5 * i, "a: \r\n", 5);
    memcpy(text + 3 + 5 * (PROXY_H1_HEADERS_MAX + 1), "\r\n", 2);
    body = body_of(PROXY_FRAMING_CHUNKED, 0);
    bytes = fl_span_make(text, sizeof(text));
    assert_int_equal(proxy_h1_body_decode(&body, &bytes, NULL, &data), -EPROTO);
    assert_int_equal(body.error, PROXY_H1_ERROR_TRAILER_TOO_LARGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chunked_bodies_at_every_split),
        cmocka_unit_test(a_body_of_a_length_ends_there),
        cmocka_unit_test(a_body_until_close_ends_with_the_connection),
        cmocka_unit_test(a_truncated_body_is_told),
        cmocka_unit_test(trailers_are_kept_but_for_those_that_harm),
        cmocka_unit_test(extensions_and_trailers_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
