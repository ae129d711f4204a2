/* proxy/http/h1.h: response heads. A bad upstream is as strictly read as a bad client. */
#include "proxy/http/h1.h"
#include "tests/support/guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

static const struct proxy_h1_limits defaults;
static struct proxy_message message;

#define GET                                                                                                            \
    {                                                                                                                  \
        .method_id = PROXY_METHOD_GET, .minor = 1, .keep_alive = true                                                  \
    }
#define HEAD                                                                                                           \
    {                                                                                                                  \
        .method_id = PROXY_METHOD_HEAD, .minor = 1, .keep_alive = true                                                 \
    }
#define CONNECT                                                                                                        \
    {                                                                                                                  \
        .method_id = PROXY_METHOD_CONNECT, .minor = 1, .keep_alive = true                                              \
    }
#define UPGRADE                                                                                                        \
    {                                                                                                                  \
        .method_id = PROXY_METHOD_GET, .minor = 1, .keep_alive = true, .upgrade = true                                 \
    }

struct row {
    const char *what;
    struct proxy_exchange exchange;
    struct fl_span input;
    enum proxy_h1_error error;
    enum proxy_framing framing;
    bool keep_alive, upgrade;
};

#define BAD(what, exchange, input, id)                                                                                 \
    {                                                                                                                  \
        what, exchange, {input, sizeof(input) - 1}, PROXY_H1_ERROR_##id, PROXY_FRAMING_NONE, false, false              \
    }
#define GOOD(what, exchange, input, framing, keep_alive)                                                               \
    {                                                                                                                  \
        what, exchange, {input, sizeof(input) - 1}, PROXY_H1_ERROR_NONE, PROXY_FRAMING_##framing, keep_alive, false    \
    }
#define TUNNEL(what, exchange, input)                                                                                  \
    {                                                                                                                  \
        what, exchange, {input, sizeof(input) - 1}, PROXY_H1_ERROR_NONE, PROXY_FRAMING_NONE, true, true                \
    }

static const struct row rows[] = {
    GOOD("length", GET, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", LENGTH, true),
    GOOD("chunked", GET, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", CHUNKED, true),
    GOOD("neither", GET, "HTTP/1.1 200 OK\r\n\r\n", CLOSE, false),
    GOOD("close", GET, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", LENGTH, false),
    GOOD("HTTP/1.0", GET, "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", LENGTH, false),
    GOOD("HTTP/1.0 keep-alive", GET, "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\n", LENGTH,
         true),
    GOOD("empty reason", GET, "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", LENGTH, true),
    GOOD("no reason, no space", GET, "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", LENGTH, true),
    GOOD("reason from 0x80", GET, "HTTP/1.1 404 Nicht gefunden \xe4\r\nContent-Length: 0\r\n\r\n", LENGTH, true),
    GOOD("unknown status", GET, "HTTP/1.1 999 Denied\r\nContent-Length: 0\r\n\r\n", LENGTH, true),
    GOOD("HEAD with a length", HEAD, "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n", NONE, true),
    GOOD("HEAD with a coding", HEAD, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", NONE, true),
    GOOD("HEAD with neither", HEAD, "HTTP/1.1 200 OK\r\n\r\n", NONE, true),
    GOOD("204", GET, "HTTP/1.1 204 No Content\r\n\r\n", NONE, true),
    GOOD("204 with length 0", GET, "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", NONE, true),
    GOOD("304 with a length", GET, "HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n", NONE, true),
    GOOD("304 with a coding", GET, "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", NONE, true),
    GOOD("100", GET, "HTTP/1.1 100 Continue\r\n\r\n", NONE, true),
    GOOD("103", GET, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", NONE, true),
    GOOD("CONNECT refused", CONNECT, "HTTP/1.1 407 No\r\nContent-Length: 5\r\n\r\n", LENGTH, true),
    TUNNEL("101", UPGRADE, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"),
    TUNNEL("CONNECT accepted", CONNECT, "HTTP/1.1 200 OK\r\n\r\n"),
    BAD("101 unasked", GET, "HTTP/1.1 101 Switching Protocols\r\n\r\n", UPGRADE_UNASKED),
    BAD("coding in 204", GET, "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", CODING_FORBIDDEN),
    BAD("coding in 1xx", GET, "HTTP/1.1 100 Continue\r\nTransfer-Encoding: chunked\r\n\r\n", CODING_FORBIDDEN),
    BAD("coding in the answer to CONNECT", CONNECT, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        CODING_FORBIDDEN),
    BAD("length in 204", GET, "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", LENGTH_FORBIDDEN),
    BAD("length in 1xx", GET, "HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\n", LENGTH_FORBIDDEN),
    BAD("length and coding", GET, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        LENGTH_AND_CODING),
    BAD("two lengths", GET, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        CONTENT_LENGTH_DIFFERS),
    BAD("bad length", GET, "HTTP/1.1 200 OK\r\nContent-Length: 5,\r\n\r\n", CONTENT_LENGTH),
    BAD("unknown coding", GET, "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", CODING_UNKNOWN),
    BAD("coding in HTTP/1.0", GET, "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", CODING_HTTP10),
    BAD("empty line first", GET, "\r\nHTTP/1.1 200 OK\r\n\r\n", VERSION_SYNTAX),
    BAD("not HTTP", GET, "SSH-2.0-OpenSSH_9\r\n", VERSION_SYNTAX),
    BAD("HTTP/2", GET, "HTTP/2.0 200 OK\r\n\r\n", VERSION),
    BAD("two spaces", GET, "HTTP/1.1  200 OK\r\n\r\n", STATUS_LINE),
    BAD("two digits", GET, "HTTP/1.1 20 OK\r\n\r\n", STATUS_LINE),
    BAD("four digits", GET, "HTTP/1.1 2000 OK\r\n\r\n", STATUS_LINE),
    BAD("status below 100", GET, "HTTP/1.1 099 OK\r\n\r\n", STATUS_LINE),
    BAD("sign", GET, "HTTP/1.1 +20 OK\r\n\r\n", STATUS_LINE),
    BAD("no status", GET, "HTTP/1.1\r\n\r\n", STATUS_LINE),
    BAD("NUL in the reason", GET, "HTTP/1.1 200 O\0K\r\n\r\n", LINE_END),
    BAD("bare LF", GET, "HTTP/1.1 200 OK\n\n", LINE_END),
    BAD("folded line", GET, "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", FOLDED),
    BAD("space before the colon", GET, "HTTP/1.1 200 OK\r\nA : b\r\n\r\n", FIELD_NAME_SPACE),
};

static void check(const struct row *row, int result, const struct proxy_h1_parser *parser, size_t size)
{
    bool same = row->error == PROXY_H1_ERROR_NONE
                    ? result == PROXY_H1_DONE && size == row->input.len && message.framing == row->framing &&
                          message.keep_alive == row->keep_alive && message.upgrade == row->upgrade
                    : result == -EPROTO && parser->error == row->error;
    if (!same)
        fail_msg("%s: result %d, %s, framing %d, keep-alive %d, upgrade %d", row->what, result,
                 proxy_h1_error_word((enum proxy_h1_error)parser->error), message.framing, message.keep_alive,
                 message.upgrade);
}

static void each_rule_has_its_answer(void **state)
{
    (void)state;
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct guard guard;
        struct proxy_h1_parser parser = {0};
        size_t size = 0;
        guard_init(&guard, rows[i].input);
        int result = proxy_h1_parse_response(&parser, guard.span, &defaults, &rows[i].exchange, &message, &size);
        check(&rows[i], result, &parser, size);
        guard_done(&guard);
    }
}

static void every_split_gives_the_same_answer(void **state)
{
    (void)state;
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        for (size_t split = 1; split < rows[i].input.len; split++) {
            struct guard guard;
            struct proxy_h1_parser parser = {0};
            size_t size = 0;
            guard_init(&guard, fl_span_make(rows[i].input.data, split));
            int result = proxy_h1_parse_response(&parser, guard.span, &defaults, &rows[i].exchange, &message, &size);
            guard_done(&guard);
            if (result == PROXY_H1_MORE)
                result = proxy_h1_parse_response(&parser, rows[i].input, &defaults, &rows[i].exchange, &message, &size);
            if (result == PROXY_H1_MORE) /* an error in a line that does not end: no more than a wait */
                continue;
            check(&rows[i], result, &parser, size);
        }
    }
}

static void interim_heads_are_bounded(void **state)
{
    (void)state;
    struct proxy_h1_parser parser = {0};
    const struct proxy_exchange exchange = GET;
    size_t size;
    struct fl_span hint = FL_SPAN("HTTP/1.1 102 Processing\r\n\r\n"), final = FL_SPAN("HTTP/1.1 204 X\r\n\r\n");
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < PROXY_H1_INTERIM_MAX; i++) {
            assert_int_equal(proxy_h1_parse_response(&parser, hint, &defaults, &exchange, &message, &size),
                             PROXY_H1_DONE);
            assert_true(proxy_message_is_interim(&message));
        }
        if (round == 0) /* a final head begins the count anew */
            assert_int_equal(proxy_h1_parse_response(&parser, final, &defaults, &exchange, &message, &size),
                             PROXY_H1_DONE);
    }
    assert_int_equal(proxy_h1_parse_response(&parser, hint, &defaults, &exchange, &message, &size), -EPROTO);
    assert_int_equal(parser.error, PROXY_H1_ERROR_INTERIM_FLOOD);
}

static void a_head_has_its_limit(void **state)
{
    (void)state;
    struct proxy_h1_parser parser = {0};
    const struct proxy_exchange exchange = GET;
    const struct proxy_h1_limits limits = {.head_max = 30};
    size_t size;
    assert_int_equal(
        proxy_h1_parse_response(&parser, FL_SPAN("HTTP/1.1 200 OK\r\n\r\n"), NULL, &exchange, &message, &size),
        PROXY_H1_DONE);
    assert_int_equal(proxy_h1_parse_response(&parser, FL_SPAN("HTTP/1.1 200 OK\r\nA: b\r\nC: 567\r\n\r\n"), &limits,
                                             &exchange, &message, &size),
                     -EPROTO);
    assert_int_equal(parser.error, PROXY_H1_ERROR_HEAD_TOO_LARGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_rule_has_its_answer),
        cmocka_unit_test(every_split_gives_the_same_answer),
        cmocka_unit_test(interim_heads_are_bounded),
        cmocka_unit_test(a_head_has_its_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
