#include "common/http/server.h"

#include "common/pki/bundle.h"
#include "tests/support/fail.h"
#include "tests/unit/common/authority.h"
#include "tests/unit/common/http_client.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

/* The server's TLS is GnuTLS, the client's OpenSSL. */

static struct authority authority;
static struct identity first, second, other; /* named first.example, second.example; `other` is another key */
static struct fl_loop *loop;
static struct fl_http_server *server;

static void handle(void *owner, const struct fl_http_request *request, struct fl_http_response *response)
{
    (void)owner;
    if (fl_buf_printf(&response->body, "<%zu>", request->body.len) < 0 ||
        fl_buf_append(&response->body, request->body) < 0)
        response->status = 507;
}

static int set_up(void **state)
{
    (void)state;
    authority_init(&authority, "root");
    authority_issue(&authority, NULL, "first.example", &first);
    authority_issue(&authority, NULL, "second.example", &second);
    authority_issue(&authority, NULL, "other.example", &other);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    identity_done(&first);
    identity_done(&second);
    identity_done(&other);
    authority_done(&authority);
    return 0;
}

static int try_start(const struct identity *cert, const struct identity *key, unsigned idle_seconds, struct fl_err *err)
{
    struct fl_buf cert_pem, key_pem;
    const struct fl_http_server_options options = {.address = FL_SPAN("127.0.0.1:0"),
                                                   .cert_pem = pem_of_cert(cert->cert, &cert_pem),
                                                   .key_pem = pem_of_key(key->key, &key_pem),
                                                   .body_max = 7u << 20,
                                                   .response_max = 8u << 20,
                                                   .connections_max = 100,
                                                   .connections_per_address = 100,
                                                   .idle_seconds = idle_seconds,
                                                   .handle = handle};
    assert_int_equal(fl_loop_new(&loop), 0);
    int result = fl_http_server_new(loop, &options, &server, err);
    fl_buf_done(&cert_pem);
    fl_buf_done(&key_pem);
    return result;
}

static void start(unsigned idle_seconds)
{
    struct fl_err err = {0};
    if (try_start(&first, &first, idle_seconds, &err) < 0)
        fail_msg("%s", err.text);
}

static void stop(void)
{
    server = fl_http_server_free(server);
    loop = fl_loop_free(loop);
}

static int reload(const struct identity *cert, const struct identity *key, struct fl_err *err)
{
    struct fl_buf cert_pem, key_pem;
    int result =
        fl_http_server_set_certificate(server, pem_of_cert(cert->cert, &cert_pem), pem_of_key(key->key, &key_pem), err);
    fl_buf_done(&cert_pem);
    fl_buf_done(&key_pem);
    return result;
}

/* A client that expects the server to have this name. */
static struct fl_tls_context *context_for(const char *name, uint16_t minimum_version)
{
    const struct fl_tls_name_match names[] = {{FL_TLS_NAME_DNS, FL_TLS_MATCH_EXACT, fl_span_str(name)}};
    const struct fl_span alpn[] = {FL_SPAN("http/1.1")};
    const struct fl_tls_options options = {.bundle = authority.bundle,
                                           .names = names,
                                           .name_count = 1,
                                           .server_name = fl_span_str(name),
                                           .alpn = alpn,
                                           .alpn_count = 1,
                                           .minimum_version = minimum_version};
    struct fl_tls_context *context;
    assert_int_equal(fl_tls_context_new(&options, &context, NULL), 0);
    return context;
}

static void open_client(struct http_client *client, const char *name)
{
    struct fl_tls_context *context = context_for(name, 0);
    http_client_open_tls(client, loop, fl_http_server_port(server), context);
    fl_tls_context_unref(context);
}

static void assert_open(const struct http_client *client)
{
    if (fl_tls_state(client->tls) != FL_TLS_OPEN)
        fail_msg("%s", fl_tls_error(client->tls));
}

static void serves_over_tls(void **state)
{
    (void)state;
    start(30);
    struct http_client client;
    open_client(&client, "first.example");
    assert_open(&client);
    assert_string_equal(fl_tls_version_name(client.tls), "TLSv1.3");
    assert_true(http_client_send_str(&client, "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"));
    assert_true(http_client_wait(&client, "<3>abc", 1, 5));
    assert_true(http_client_send_str(&client, "GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n"));
    assert_true(http_client_wait(&client, "<0>", 2, 5));
    http_client_close(&client);
    stop();
}

/* Bytes wait in GnuTLS where the socket is silent: the server must go on by itself. */
static void large_bodies_pass_both_ways(void **state)
{
    (void)state;
    start(30);
    const size_t size = 6u << 20;
    struct fl_buf request;
    fl_buf_init(&request, size + 1000);
    assert_int_equal(fl_buf_printf(&request, "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n", size), 0);
    while (request.len < size + 60)
        assert_int_equal(fl_buf_append_byte(&request, (char)('a' + request.len % 23)), 0);
    struct fl_span head = fl_buf_span(&request);
    head.len = (size_t)((const char *)memmem(request.data, 200, "\r\n\r\n", 4) - request.data) + 4;
    struct fl_span body = fl_span_make(request.data + head.len, size);
    request.len = head.len + size;
    struct http_client client;
    open_client(&client, "first.example");
    assert_open(&client);
    assert_true(http_client_send(&client, fl_buf_span(&request)));
    assert_true(http_client_wait_size(&client, size, 20));
    assert_true(http_client_wait(&client, "<6291456>", 1, 5));
    size_t at = (size_t)((char *)memmem(client.received.data, 1000, "<6291456>", 9) - client.received.data) + 9;
    assert_true(http_client_wait_size(&client, at + size, 20));
    assert_true(fl_span_eq(fl_span_from(fl_buf_span(&client.received), at), body));
    http_client_close(&client);
    fl_buf_done(&request);
    stop();
}

static void the_certificate_is_replaced_live(void **state)
{
    (void)state;
    start(30);
    struct http_client before, halfway, after;
    open_client(&before, "first.example");
    assert_open(&before);
    http_client_open(&halfway, loop, fl_http_server_port(server)); /* connected; its handshake comes later */
    for (int i = 0; i < 5; i++)
        assert_int_equal(fl_loop_turn(loop, 1), 0);
    assert_int_equal(reload(&second, &second, NULL), 0);
    open_client(&after, "second.example");
    assert_open(&after);
    http_client_close(&after);
    open_client(&after, "first.example");
    assert_int_equal(fl_tls_state(after.tls), FL_TLS_FAILED);
    assert_string_equal(fl_tls_error(after.tls), "peer's name second.example is not first.example");
    http_client_close(&after);
    assert_true(http_client_send_str(&before, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
    assert_true(http_client_wait(&before, "<0>", 1, 5));
    http_client_close(&before);
    http_client_close(&halfway);

    struct fl_err err = {0};
    assert_int_equal(reload(&first, &other, &err), -EINVAL);
    assert_string_equal(err.text, "private key: it is not the certificate's");
    assert_int_equal(fl_http_server_set_certificate(server, FL_SPAN("nonsense"), FL_SPAN("nonsense"), &err), -EINVAL);
    open_client(&after, "second.example"); /* the last good one still serves */
    assert_open(&after);
    http_client_close(&after);
    stop();
}

static void bad_pairs_do_not_start(void **state)
{
    (void)state;
    struct fl_err err = {0};
    assert_int_equal(try_start(&first, &other, 30, &err), -EINVAL);
    assert_string_equal(err.text, "private key: it is not the certificate's");
    loop = fl_loop_free(loop);
    assert_int_equal(fl_loop_new(&loop), 0);
    struct fl_http_server_options options = {.address = FL_SPAN("127.0.0.1:0"),
                                             .connections_max = 1,
                                             .idle_seconds = 1,
                                             .handle = handle,
                                             .cert_pem = FL_SPAN("x")};
    assert_int_equal(fl_http_server_new(loop, &options, &server, &err), -EINVAL);
    options.cert_pem = (struct fl_span){NULL, 0};
    assert_int_equal(fl_http_server_new(loop, &options, &server, &err), 0);
    assert_int_equal(reload(&first, &first, &err), -EINVAL); /* plain HTTP */
    stop();
}

/* Plain bytes, a handshake that trickles, one that stops in the middle: all end in time. */
static void slow_handshakes_are_cut(void **state)
{
    (void)state;
    start(1);
    struct http_client silent, plain, trickle;
    const uint16_t port = fl_http_server_port(server);
    double begin = http_client_now();
    http_client_open(&silent, loop, port);
    http_client_open(&plain, loop, port);
    http_client_open(&trickle, loop, port);
    assert_true(http_client_send_str(&plain, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
    assert_true(http_client_send(&trickle, FL_SPAN("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")));
    while (!(silent.ended && plain.ended && trickle.ended) && http_client_now() - begin < 4) {
        http_client_wait(&silent, "no such text", 1, 0.02);
        http_client_wait(&plain, "no such text", 1, 0.02);
        if (!trickle.ended)
            http_client_send_str(&trickle, "x");
    }
    assert_true(silent.ended && plain.ended && trickle.ended);
    assert_true(fl_http_server_idle(server));
    http_client_close(&silent);
    http_client_close(&plain);
    http_client_close(&trickle);
    stop();
}

/* libmicrohttpd asks to be run again and again meanwhile. */
static void a_handshake_that_waits_costs_nothing(void **state)
{
    (void)state;
    start(30);
    struct http_client client;
    http_client_open(&client, loop, fl_http_server_port(server));
    assert_true(http_client_send(&client, FL_SPAN("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")));
    unsigned turns = 0;
    double end = http_client_now() + 0.4;
    while (http_client_now() < end) {
        assert_int_equal(fl_loop_turn(loop, 10), 0);
        turns++;
    }
    assert_in_range(turns, 1, 80);
    http_client_close(&client);
    stop();
}

static void many_clients_at_once(void **state)
{
    (void)state;
    start(30);
    struct fl_tls_context *context = context_for("first.example", 0);
    struct http_client *clients = calloc(50, sizeof(*clients));
    for (size_t i = 0; i < 50; i++) {
        http_client_open_tls(&clients[i], loop, fl_http_server_port(server), context);
        assert_open(&clients[i]);
        assert_true(http_client_send_str(&clients[i], "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\na"));
    }
    for (size_t i = 0; i < 50; i++)
        assert_true(http_client_send_str(&clients[i], "b"));
    for (size_t i = 0; i < 50; i++) {
        assert_true(http_client_wait(&clients[i], "<2>ab", 1, 5));
        http_client_close(&clients[i]);
    }
    free(clients);
    fl_tls_context_unref(context);
    stop();
}

static void a_body_too_large_gets_its_answer(void **state)
{
    (void)state;
    start(30);
    struct http_client client;
    open_client(&client, "first.example");
    assert_true(http_client_send_str(&client, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n"));
    char block[9000];
    memset(block, 'b', sizeof(block));
    for (int i = 0; i < 1000; i++) {
        if (!http_client_send(&client, fl_span_make(block, sizeof(block))))
            break;
    }
    assert_true(http_client_wait_end(&client, 5));
    assert_true(http_client_has(&client, "HTTP/1.1 413 "));
    assert_false(client.reset);
    http_client_close(&client);
    stop();
}

static void our_allocations_may_fail(void **state)
{
    (void)state;
    struct fl_buf cert_pem, key_pem;
    struct fl_span cert = pem_of_cert(first.cert, &cert_pem), key = pem_of_key(first.key, &key_pem);
    start(30);
    FAIL_EACH_ALLOCATION
    {
        int result = fl_http_server_set_certificate(server, cert, key, NULL);
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
    }
    stop();
    fl_buf_done(&cert_pem);
    fl_buf_done(&key_pem);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(serves_over_tls),
        cmocka_unit_test(large_bodies_pass_both_ways),
        cmocka_unit_test(the_certificate_is_replaced_live),
        cmocka_unit_test(bad_pairs_do_not_start),
        cmocka_unit_test(slow_handshakes_are_cut),
        cmocka_unit_test(a_handshake_that_waits_costs_nothing),
        cmocka_unit_test(many_clients_at_once),
        cmocka_unit_test(a_body_too_large_gets_its_answer),
        cmocka_unit_test(our_allocations_may_fail),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
