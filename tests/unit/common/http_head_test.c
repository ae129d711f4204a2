/* Heads: what is refused by them before anything of a body is read, and what libmicrohttpd makes of bytes that no
 * honest client sends. */
#include "common/http/server.h"

#include "tests/unit/common/http_client.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static struct fl_loop *loop;
static struct fl_http_server *server;
static unsigned heads, calls, refusals;

/* "/closed" is refused by its head. */
static bool look(void *owner, const struct fl_http_request *request, struct fl_http_response *response)
{
    (void)owner;
    heads++;
    assert_int_equal(request->body.len, 0);
    if (!fl_span_eq_str(request->path, "/closed"))
        return true;
    response->status = 401;
    response->authenticate = "Bearer";
    assert_int_equal(fl_buf_append_str(&response->body, "closed"), 0);
    return false;
}

/* Says what it saw: "<method|path|x|body>". */
static void handle(void *owner, const struct fl_http_request *request, struct fl_http_response *response)
{
    (void)owner;
    calls++;
    struct fl_span x = fl_http_request_header(request, "X");
    if (fl_buf_printf(&response->body, "<%.*s|%.*s|%.*s|%.*s>", FL_SPAN_ARG(request->method),
                      FL_SPAN_ARG(request->path), FL_SPAN_ARG(x), FL_SPAN_ARG(request->body)) < 0)
        response->status = 507;
}

static void refused(void *owner, unsigned status, const char *reason)
{
    (void)owner;
    assert_int_equal(status, 400);
    assert_non_null(reason);
    refusals++;
}

static void start(void)
{
    const struct fl_http_server_options options = {.address = FL_SPAN("127.0.0.1:0"),
                                                   .body_max = 100000,
                                                   .response_max = 100000,
                                                   .connections_max = 40,
                                                   .connections_per_address = 40,
                                                   .idle_seconds = 30,
                                                   .head = look,
                                                   .handle = handle,
                                                   .refused = refused};
    heads = calls = refusals = 0;
    assert_int_equal(fl_loop_new(&loop), 0);
    assert_int_equal(fl_http_server_new(loop, &options, &server, NULL), 0);
}

static void stop(void)
{
    server = fl_http_server_free(server);
    loop = fl_loop_free(loop);
}

static void a_head_is_refused_before_the_body(void **state)
{
    (void)state;
    start();
    struct http_client client;
    http_client_open(&client, loop, fl_http_server_port(server));
    assert_true(http_client_send_str(&client, "POST /closed HTTP/1.1\r\nHost: x\r\nContent-Length: 90000\r\n\r\n"));
    assert_true(http_client_wait(&client, "closed", 1, 5));
    assert_true(http_client_has(&client, "HTTP/1.1 401 "));
    assert_true(http_client_has(&client, "WWW-Authenticate: Bearer\r\n"));
    assert_true(http_client_has(&client, "Connection: close\r\n"));
    assert_false(http_client_has(&client, "100 Continue"));
    http_client_close(&client);
    http_client_open(&client, loop, fl_http_server_port(server));
    assert_true(http_client_send_str(&client, "POST /closed HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
                                              "Transfer-Encoding: chunked\r\n\r\n"));
    assert_true(http_client_wait(&client, "closed", 1, 5));
    assert_false(http_client_has(&client, "100 Continue"));
    http_client_close(&client);
    assert_int_equal(heads, 2);
    assert_int_equal(calls, 0);
    stop();
}

/* Without a body the connection goes on. */
static void a_refused_head_without_a_body(void **state)
{
    (void)state;
    start();
    struct http_client client;
    http_client_open(&client, loop, fl_http_server_port(server));
    assert_true(http_client_send_str(&client, "GET /closed HTTP/1.1\r\nHost: x\r\n\r\n"));
    assert_true(http_client_wait(&client, "closed", 1, 5));
    assert_true(http_client_send_str(&client, "POST /open HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab"));
    assert_true(http_client_wait(&client, "<POST|/open||ab>", 1, 5));
    http_client_close(&client);
    assert_int_equal(heads, 2);
    assert_int_equal(calls, 1);
    stop();
}

#define ROW(what, text, answer)                                                                                        \
    {                                                                                                                  \
        what, text, sizeof(text) - 1, answer                                                                           \
    }

static void strange_heads(void **state)
{
    (void)state;
    static const struct {
        const char *what, *text;
        size_t size;
        const char *answer; /* "400", or what the handler says */
    } rows[] = {
        ROW("a NUL in a value", "GET /a HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n", "<GET|/a|a|>"),
        ROW("a NUL at a value's end", "GET /a HTTP/1.1\r\nHost: x\r\nX: a\0\r\n\r\n", "<GET|/a|a|>"),
        ROW("a NUL in a name", "GET /a HTTP/1.1\r\nHost: x\r\nX\0Y: a\r\n\r\n", "400"),
        ROW("a NUL in a length", "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 1\0\r\n\r\na", "<POST|/a||a>"),
        ROW("a NUL in a path", "GET /a\0b HTTP/1.1\r\nHost: x\r\n\r\n", "<GET|/a||>"),
        ROW("a bell in a value", "GET /a HTTP/1.1\r\nHost: x\r\nX: a\ab\r\n\r\n", "400"),
        ROW("DEL in a value", "GET /a HTTP/1.1\r\nHost: x\r\nX: a\x7f\r\n\r\n", "400"),
        ROW("a CR in a value", "GET /a HTTP/1.1\r\nHost: x\r\nX: a\rb\r\n\r\n", "400"),
        ROW("a tab in a value", "GET /a HTTP/1.1\r\nHost: x\r\nX: a\tb\r\n\r\n", "<GET|/a|a\tb|>"),
        ROW("bytes above ASCII in a value", "GET /a HTTP/1.1\r\nHost: x\r\nX: \xc3\xa4\r\n\r\n", "<GET|/a|\xc3\xa4|>"),
        ROW("a name that is no token", "GET /a HTTP/1.1\r\nHost: x\r\n(X): a\r\n\r\n", "400"),
        ROW("an empty name", "GET /a HTTP/1.1\r\nHost: x\r\n: a\r\n\r\n", "<GET|/a||>"),
        ROW("a blank before the colon", "GET /a HTTP/1.1\r\nHost: x\r\nX : a\r\n\r\n", "400"),
        ROW("two hosts", "GET /a HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", "400"),
        ROW("two content types", "GET /a HTTP/1.1\r\nHost: x\r\nContent-Type: a/b\r\ncontent-type: a/b\r\n\r\n", "400"),
        ROW("two authorizations", "GET /a HTTP/1.1\r\nHost: x\r\nAuthorization: a\r\nAuthorization: b\r\n\r\n", "400"),
        /* What libmicrohttpd 0.9.75 makes of these: a NUL ends the text that it is in, a header that goes on in the
         * next line is dropped whole, one without a name is not seen. The client deceives nobody but itself: what we
         * read is the only reading, nobody stands between it and us, and no other's requests come on its connection. */
        ROW("a value that goes on in the next line", "GET /a HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\n\r\n", "<GET|/a||>"),
        ROW("lines that end in LF", "GET /a HTTP/1.1\nHost: x\nX: b\n\n", "<GET|/a|b|>"),
        ROW("a length that goes on in the next line",
            "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n 2\r\n\r\nabcdefghijkl", "<POST|/a||>"),
        ROW("a coding on the next line",
            "POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding:\r\n chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", "<POST|/a||>"),
        ROW("length and chunks",
            "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
            "0\r\n\r\n",
            "400"),
        ROW("chunked twice", "POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
            "400"),
        ROW("a length with a plus", "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\na", "400"),
        ROW("a list of lengths", "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 1, 1\r\n\r\na", "400"),
        ROW("a length in hexadecimal", "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 0x1\r\n\r\na", "400"),
        ROW("chunks in HTTP/1.0", "POST /a HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
            "<POST|/a||a>"),
    };
    start();
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct http_client client;
        bool bad = strcmp(rows[i].answer, "400") == 0;
        unsigned before = calls;
        http_client_open(&client, loop, fl_http_server_port(server));
        assert_true(http_client_send(&client, fl_span_make(rows[i].text, rows[i].size)));
        http_client_wait(&client, bad ? "HTTP/1.1 400 " : rows[i].answer, 1, 1);
        if (!(bad ? http_client_has(&client, " 400 ") && calls == before : http_client_has(&client, rows[i].answer)))
            fail_msg("%s: %.*s", rows[i].what, FL_SPAN_ARG(fl_buf_span(&client.received)));
        http_client_close(&client);
    }
    stop();
}

/* What follows a request whose end is in doubt is never read as another. */
static void nothing_is_smuggled(void **state)
{
    (void)state;
    static const char *const heads_of_doubt[] = {
        "Content-Length: 0\r\nContent-Length: 40\r\n",
        "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n",
        "Content-Length : 0\r\n",

    };
    start();
    for (size_t i = 0; i < FL_COUNT(heads_of_doubt); i++) {
        struct http_client client;
        char text[512];
        snprintf(text, sizeof(text),
                 "POST /a HTTP/1.1\r\nHost: x\r\n%s\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n",
                 heads_of_doubt[i]);
        http_client_open(&client, loop, fl_http_server_port(server));
        http_client_send_str(&client, text);
        assert_true(http_client_wait_end(&client, 5));
        if (calls > 0 || !http_client_has(&client, "HTTP/1.1 400 "))
            fail_msg("%s: %.*s", heads_of_doubt[i], FL_SPAN_ARG(fl_buf_span(&client.received)));
        http_client_close(&client);
    }
    assert_int_equal(refusals, FL_COUNT(heads_of_doubt));
    stop();
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_head_is_refused_before_the_body),
        cmocka_unit_test(a_refused_head_without_a_body),
        cmocka_unit_test(strange_heads),
        cmocka_unit_test(nothing_is_smuggled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
