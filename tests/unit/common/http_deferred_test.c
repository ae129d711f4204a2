#include "common/http/server.h"

#include "tests/support/fail.h"
#include "tests/unit/common/authority.h"
#include "tests/unit/common/http_client.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

/* Paths that begin with /later are answered by the test, all others at once. */

#define OWED_MAX 4

static struct authority authority;
static struct identity leaf;
static struct fl_loop *loop;
static struct fl_http_server *server;
static struct fl_http_deferred *owed[16]; /* in the order of asking; NULL: answered or gone */
static size_t owed_count, gone, refused;
static struct fl_http_deferred *answered_when_gone; /* on_gone answers another one */

static void on_gone(void *owner)
{
    struct fl_http_deferred **place = owner;
    assert_non_null(*place);
    *place = NULL;
    gone++;
    if (answered_when_gone != NULL) {
        fl_http_deferred_send(answered_when_gone);
        answered_when_gone = NULL;
    }
}

static void handle(void *owner, const struct fl_http_request *request, struct fl_http_response *response)
{
    (void)owner;
    if (fl_buf_append_str(&response->body, "<now>") < 0)
        response->status = 507;
    if (!fl_span_starts_with(request->path, FL_SPAN("/later")))
        return;
    struct fl_http_deferred *deferred = fl_http_request_defer(request, on_gone, &owed[owed_count]);
    if (deferred == NULL) {
        refused++;
        response->status = 503;
        return;
    }
    assert_null(fl_http_request_defer(request, on_gone, NULL)); /* once is enough */
    owed[owed_count++] = deferred;
}

static int set_up_all(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    authority_init(&authority, "root");
    authority_issue(&authority, NULL, "h.example", &leaf);
    return 0;
}

static int tear_down_all(void **state)
{
    (void)state;
    identity_done(&leaf);
    authority_done(&authority);
    return 0;
}

static void start(bool tls, unsigned idle_seconds, unsigned connections_max)
{
    struct fl_err err = {0};
    struct fl_buf cert_pem = {0}, key_pem = {0};
    struct fl_http_server_options options = {.address = FL_SPAN("127.0.0.1:0"),
                                             .body_max = 100000,
                                             .response_max = 100000,
                                             .connections_max = connections_max,
                                             .connections_per_address = connections_max,
                                             .idle_seconds = idle_seconds,
                                             .deferred_max = OWED_MAX,
                                             .handle = handle};
    if (tls) {
        options.cert_pem = pem_of_cert(leaf.cert, &cert_pem);
        options.key_pem = pem_of_key(leaf.key, &key_pem);
    }
    owed_count = gone = refused = 0;
    answered_when_gone = NULL;
    memset(owed, 0, sizeof(owed));
    assert_int_equal(fl_loop_new(&loop), 0);
    if (fl_http_server_new(loop, &options, &server, &err) < 0)
        fail_msg("%s", err.text);
    fl_buf_done(&cert_pem);
    fl_buf_done(&key_pem);
}

static void stop(void)
{
    server = fl_http_server_free(server);
    loop = fl_loop_free(loop);
}

static void turns(int count)
{
    for (int i = 0; i < count; i++)
        assert_int_equal(fl_loop_turn(loop, 2), 0);
}

static void until_owed(size_t count)
{
    for (int i = 0; i < 5000 && owed_count < count; i++)
        turns(1);
    assert_int_equal(owed_count, count);
}

static void answer(size_t which)
{
    struct fl_http_deferred *deferred = owed[which];
    const struct fl_http_request *request = fl_http_deferred_request(deferred);
    struct fl_http_response *response = fl_http_deferred_response(deferred);
    struct fl_span extra = fl_http_request_header(request, "X-Extra");
    owed[which] = NULL;
    response->status = 201;
    response->content_type = "text/plain";
    assert_int_equal(fl_buf_printf(&response->body, "<%.*s %.*s ?%.*s %.*s %.*s>", FL_SPAN_ARG(request->method),
                                   FL_SPAN_ARG(request->path), FL_SPAN_ARG(request->query), FL_SPAN_ARG(request->body),
                                   FL_SPAN_ARG(extra)),
                     0);
    fl_http_deferred_send(deferred);
}

#define POST "POST /later?q=1 HTTP/1.1\r\nHost: x\r\nX-Extra: yes\r\nContent-Length: 4\r\n\r\nbody"
#define GET  "GET /later/%d HTTP/1.1\r\nHost: x\r\n\r\n"

static void get(struct http_client *client, int number)
{
    char text[64];
    snprintf(text, sizeof(text), GET, number);
    assert_true(http_client_send_str(client, text));
}

static void open_client(struct http_client *client)
{
    http_client_open(client, loop, fl_http_server_port(server));
}

static void the_request_lives_until_the_answer(void **state)
{
    (void)state;
    start(false, 30, 40);
    struct http_client client, other;
    open_client(&client);
    open_client(&other);
    for (int i = 0; i < 3; i++) { /* on one connection, one after the other */
        assert_true(http_client_send_str(&client, POST));
        until_owed((size_t)i + 1);
        assert_true(http_client_send_str(&other, "GET /x HTTP/1.1\r\nHost: x\r\n\r\n"));
        assert_true(http_client_wait(&other, "<now>", (size_t)i + 1, 5)); /* meanwhile others are served */
        assert_false(http_client_has(&client, "<now>"));
        answer((size_t)i);
        assert_true(http_client_wait(&client, "<POST /later ?q=1 body yes>", (size_t)i + 1, 5));
        assert_true(http_client_has(&client, "HTTP/1.1 201 Created"));
    }
    assert_false(client.ended);
    http_client_close(&client);
    http_client_close(&other);
    stop();
    assert_int_equal(gone, 0);
}

static void over_tls(void **state)
{
    (void)state;
    const struct fl_tls_name_match names[] = {{FL_TLS_NAME_DNS, FL_TLS_MATCH_EXACT, FL_SPAN("h.example")}};
    const struct fl_tls_options options = {
        .bundle = authority.bundle, .names = names, .name_count = 1, .server_name = FL_SPAN("h.example")};
    struct fl_tls_context *context;
    struct http_client client;
    start(true, 30, 40);
    assert_int_equal(fl_tls_context_new(&options, &context, NULL), 0);
    http_client_open_tls(&client, loop, fl_http_server_port(server), context);
    assert_true(http_client_send_str(&client, POST POST)); /* pipelined */
    until_owed(1);
    turns(3);
    assert_int_equal(owed_count, 1);
    answer(0);
    assert_true(http_client_wait(&client, "<POST /later ?q=1 body yes>", 1, 5));
    until_owed(2);
    answer(1);
    assert_true(http_client_wait(&client, "<POST /later ?q=1 body yes>", 2, 5));
    http_client_close(&client);
    fl_tls_context_unref(context);
    stop();
}

static void in_any_order_and_no_more_than_the_maximum(void **state)
{
    (void)state;
    struct http_client clients[OWED_MAX + 1];
    start(false, 30, 40);
    for (int i = 0; i < OWED_MAX; i++) {
        open_client(&clients[i]);
        get(&clients[i], i);
        until_owed((size_t)i + 1);
    }
    open_client(&clients[OWED_MAX]);
    get(&clients[OWED_MAX], 9);
    assert_true(http_client_wait(&clients[OWED_MAX], "503", 1, 5)); /* the handler answers it now */
    assert_int_equal(refused, 1);
    for (int i = OWED_MAX - 1; i >= 0; i--) {
        char text[64];
        snprintf(text, sizeof(text), "<GET /later/%d ", i);
        answer((size_t)i);
        assert_true(http_client_wait(&clients[i], text, 1, 5));
    }
    get(&clients[OWED_MAX], 5); /* there is room again */
    until_owed(OWED_MAX + 1);
    answer(OWED_MAX);
    assert_true(http_client_wait(&clients[OWED_MAX], "<GET /later/5 ", 1, 5));
    for (int i = 0; i <= OWED_MAX; i++)
        http_client_close(&clients[i]);
    stop();
}

static void a_client_that_goes_away(void **state)
{
    (void)state;
    struct http_client client;
    start(false, 30, 40);
    open_client(&client);
    get(&client, 1);
    until_owed(1);
    http_client_close(&client);
    turns(5);
    answer(0); /* to nobody */
    for (int i = 0; i < 2000 && !fl_http_server_idle(server); i++)
        turns(1);
    assert_int_equal(gone, 0);
    stop();
}

static void time_is_bounded(void **state)
{
    (void)state;
    struct http_client client;
    start(false, 1, 40);
    open_client(&client);
    get(&client, 1);
    until_owed(1);
    assert_true(http_client_wait_end(&client, 10));
    assert_int_equal(gone, 1);
    for (int i = 0; i < 2000 && !fl_http_server_idle(server); i++)
        turns(1);
    assert_true(fl_http_server_idle(server));
    http_client_close(&client);
    stop();
    assert_int_equal(gone, 1);
}

static void a_place_that_is_needed(void **state)
{
    (void)state;
    struct http_client waiting, more[8];
    start(false, 30, 8);
    open_client(&waiting);
    get(&waiting, 1);
    until_owed(1);
    for (size_t i = 0; i < FL_COUNT(more); i++) {
        open_client(&more[i]);
        turns(5);
    }
    assert_true(http_client_wait_end(&waiting, 5)); /* it had been in its step longest */
    assert_int_equal(gone, 1);
    for (size_t i = 0; i < FL_COUNT(more); i++)
        http_client_close(&more[i]);
    http_client_close(&waiting);
    stop();
}

static void drained_meanwhile(void **state)
{
    (void)state;
    struct http_client client;
    start(false, 30, 40);
    open_client(&client);
    get(&client, 1);
    until_owed(1);
    fl_http_server_drain(server);
    turns(10);
    assert_false(fl_http_server_idle(server));
    answer(0);
    assert_true(http_client_wait(&client, "<GET /later/1 ", 1, 5));
    assert_true(http_client_has(&client, "Connection: close"));
    assert_true(http_client_wait_end(&client, 5));
    for (int i = 0; i < 2000 && !fl_http_server_idle(server); i++)
        turns(1);
    assert_true(fl_http_server_idle(server));
    http_client_close(&client);
    stop();
}

static void freed_meanwhile(void **state)
{
    (void)state;
    struct http_client one, two, three;
    start(false, 30, 40);
    open_client(&one);
    get(&one, 1);
    until_owed(1);
    open_client(&two);
    get(&two, 2);
    until_owed(2);
    open_client(&three);
    get(&three, 3);
    until_owed(3);
    answered_when_gone = owed[0]; /* the list begins with the youngest */
    owed[0] = NULL;
    server = fl_http_server_free(server);
    assert_int_equal(gone, 2);
    assert_true(http_client_wait_end(&one, 5));
    assert_true(http_client_wait_end(&two, 5));
    http_client_close(&one);
    http_client_close(&two);
    http_client_close(&three);
    loop = fl_loop_free(loop);
}

static void each_allocation_fails(void **state)
{
    (void)state;
    for (size_t nth = 1, more = 1; more; nth++) {
        struct http_client client;
        start(false, 30, 40);
        open_client(&client);
        assert_int_equal(fl_buf_reserve(&client.received, 10000), 0);
        turns(3);
        fail_at(nth);
        http_client_send_str(&client, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
        for (int i = 0; i < 50 && owed_count == 0 && refused == 0 && !client.ended; i++)
            turns(1);
        more = fail_happened();
        fail_stop();
        if (owed_count > 0 && owed[0] != NULL) {
            answer(0);
            assert_true(http_client_wait(&client, "<GET /later ", 1, 5));
        }
        http_client_close(&client);
        stop();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_request_lives_until_the_answer),
        cmocka_unit_test(over_tls),
        cmocka_unit_test(in_any_order_and_no_more_than_the_maximum),
        cmocka_unit_test(a_client_that_goes_away),
        cmocka_unit_test(time_is_bounded),
        cmocka_unit_test(a_place_that_is_needed),
        cmocka_unit_test(drained_meanwhile),
        cmocka_unit_test(freed_meanwhile),
        cmocka_unit_test(each_allocation_fails),
    };
    return cmocka_run_group_tests(tests, set_up_all, tear_down_all);
}
