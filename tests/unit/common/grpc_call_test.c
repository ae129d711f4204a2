/* Client against server on one loop, over loopback: calls, ends, limits, memory. */
#include "common/grpc/client.h"

#include "common/grpc/server.h"
#include "common/tls/context.h"
#include "tests/support/fail.h"
#include "tests/unit/common/authority.h"
#include "tests/unit/common/grpc_world.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#define WEB "spiffe://cluster.local/ns/default/sa/web"
#define APP "spiffe://cluster.local/ns/default/sa/app"

static struct authority ours, theirs;
static struct identity web, app, foreign;
static const struct fl_span h2 = {"h2", 2}, other_alpn = {"x", 1};
static struct grpc_world world;
static struct grpc_ear ear, ear2;

static int set_up_all(void **state)
{
    (void)state;
    authority_init(&ours, "our root");
    authority_init(&theirs, "their root");
    authority_issue(&ours, WEB, NULL, &web);
    authority_issue(&ours, APP, NULL, &app);
    authority_issue(&theirs, APP, NULL, &foreign);
    return 0;
}

static int tear_down_all(void **state)
{
    (void)state;
    identity_done(&web);
    identity_done(&app);
    identity_done(&foreign);
    authority_done(&ours);
    authority_done(&theirs);
    return 0;
}

static int set_up(void **state)
{
    (void)state;
    world = (struct grpc_world){0};
    grpc_ear_init(&ear);
    grpc_ear_init(&ear2);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    grpc_ear_done(&ear);
    grpc_ear_done(&ear2);
    return 0;
}

static struct fl_tls_context *server_context(bool require)
{
    const struct fl_tls_options options = {.server = true,
                                           .cert = web.cert,
                                           .key = web.key,
                                           .bundle = ours.bundle,
                                           .require_peer_cert = require,
                                           .alpn = &h2,
                                           .alpn_count = 1};
    struct fl_tls_context *context = NULL;
    assert_int_equal(fl_tls_context_new(&options, &context, NULL), 0);
    return context;
}

static struct fl_tls_context *client_context(const struct identity *identity, const struct fl_span *alpn)
{
    struct fl_tls_options options = {.bundle = ours.bundle, .alpn = alpn, .alpn_count = 1};
    struct fl_tls_context *context = NULL;
    if (identity != NULL) {
        options.cert = identity->cert;
        options.key = identity->key;
    }
    assert_int_equal(fl_tls_context_new(&options, &context, NULL), 0);
    return context;
}

static void unary(const char *path, struct fl_span message, struct grpc_ear *into)
{
    const struct fl_grpc_call_options options = {.path = fl_span_str(path)};
    struct fl_grpc_call *call;
    assert_int_equal(fl_grpc_call_unary(world.client, &options, message, grpc_ear_reply, into, &call), 0);
}

static void check_ear(const struct grpc_ear *heard, const char *messages, enum fl_grpc_status status, const char *text)
{
    assert_int_equal(heard->ends, 1);
    if (!fl_span_eq_str(fl_buf_span(&heard->messages), messages))
        fail_msg("heard %.*s", FL_SPAN_ARG(fl_buf_span(&heard->messages)));
    if (heard->status != status)
        fail_msg("%s: %s", fl_grpc_status_text(heard->status), heard->text);
    assert_string_equal(heard->text, text);
}

static void test_unary(void **state)
{
    (void)state;
    grpc_world_init(&world, NULL, NULL);
    grpc_world_connect(&world);
    assert_int_equal(fl_grpc_client_state(world.client), FL_GRPC_CLIENT_CONNECTED);
    unary("/t.S/Unary", FL_SPAN("hello"), &ear);
    grpc_world_until(&world, &ear.ends, 1);
    check_ear(&ear, "hello|", FL_GRPC_OK, "");
    assert_true(world.plaintext);
    assert_string_equal(world.identity, "");
    grpc_world_done(&world);
}

static void test_unary_later(void **state)
{
    (void)state;
    grpc_world_init(&world, NULL, NULL);
    grpc_world_connect(&world);
    unary("/t.S/Later", FL_SPAN("hello"), &ear);
    grpc_world_until(&world, &world.opened, 1);
    grpc_world_turns(&world, 5);
    assert_int_equal(ear.ends, 0);
    grpc_world_answer(&world, FL_SPAN("at last"));
    grpc_world_until(&world, &ear.ends, 1);
    check_ear(&ear, "at last|", FL_GRPC_OK, "");
    grpc_world_until(&world, &world.closed, 1);
    grpc_world_done(&world);
}

/* A unary method wants one message. */
static void test_unary_messages(void **state)
{
    (void)state;
    struct fl_grpc_call *call;
    grpc_world_init(&world, NULL, NULL);
    grpc_world_connect(&world);
    assert_int_equal(grpc_world_start(&world, "/t.S/Unary", &ear, &call), 0);
    fl_grpc_call_finish(call);
    grpc_world_until(&world, &ear.ends, 1);
    check_ear(&ear, "", FL_GRPC_INVALID_ARGUMENT, "a unary call takes one message");
    assert_int_equal(grpc_world_start(&world, "/t.S/Unary", &ear2, &call), 0);
    assert_int_equal(fl_grpc_call_send(call, FL_SPAN("one")), 0);
    assert_int_equal(fl_grpc_call_send(call, FL_SPAN("two")), 0);
    grpc_world_until(&world, &ear2.ends, 1);
    check_ear(&ear2, "", FL_GRPC_INVALID_ARGUMENT, "a unary call takes one message");
    grpc_world_done(&world);
}

static void test_bidi(void **state)
{
    (void)state;
    struct fl_grpc_call *call;
    grpc_world_init(&world, NULL, NULL);
    grpc_world_connect(&world);
    assert_int_equal(grpc_world_start(&world, "/t.S/Echo", &ear, &call), 0);
    assert_int_equal(fl_grpc_call_send(call, FL_SPAN("one")), 0);
    grpc_world_until(&world, &ear.count, 1);
    assert_int_equal(fl_grpc_call_send(call, FL_SPAN("")), 0);
    assert_int_equal(fl_grpc_call_send(call, FL_SPAN("three")), 0);
    grpc_world_until(&world, &ear.count, 3);
    assert_int_equal(ear.ends, 0);
    fl_grpc_call_finish(call);
    assert_int_equal(fl_grpc_call_send(call, FL_SPAN("four")), -EPIPE);
    grpc_world_until(&world, &ear.ends, 1);
    check_ear(&ear, "one||three|", FL_GRPC_OK, "");
    grpc_world_until(&world, &world.closed, 1);
    grpc_world_done(&world);
}

static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *path, *text;
        enum fl_grpc_status status;
    } rows[] = {
        {"/t.S/Guard", "who are you?", FL_GRPC_UNAUTHENTICATED},
        {"/t.S/None", "no such method", FL_GRPC_UNIMPLEMENTED},
        {"/", "no such method", FL_GRPC_UNIMPLEMENTED},
        {"/t.S/Nobody", "the stream was not accepted", FL_GRPC_INTERNAL},
    };
    grpc_world_init(&world, NULL, NULL);
    grpc_world_connect(&world);
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct grpc_ear one;
        struct fl_grpc_call *call;
        grpc_ear_init(&one);
        assert_int_equal(grpc_world_start(&world, rows[i].path, &one, &call), 0);
        grpc_world_until(&world, &one.ends, 1);
        check_ear(&one, "", rows[i].status, rows[i].text);
        grpc_ear_done(&one);
    }
    assert_int_equal(world.opened, 0);
    grpc_world_done(&world);
}

static void test_metadata(void **state)
{
    (void)state;
    const struct fl_grpc_metadata good[] = {{FL_SPAN("x-first"), FL_SPAN("")},
                                            {FL_SPAN("authorization"), FL_SPAN("Bearer me")}};
    struct fl_grpc_call_options options = {.path = FL_SPAN("/t.S/Guard"), .metadata = good, .metadata_count = 2};
    struct fl_grpc_call *call;
    grpc_world_init(&world, NULL, NULL);
    assert_int_equal(fl_grpc_call_start(world.client, &options, &grpc_ear_ops, &ear, &call), -ENOTCONN);
    grpc_world_connect(&world);
    assert_int_equal(fl_grpc_call_start(world.client, &options, &grpc_ear_ops, &ear, &call), 0);
    fl_grpc_call_finish(call);
    grpc_world_until(&world, &ear.ends, 1);
    check_ear(&ear, "", FL_GRPC_OK, "");
    static const struct fl_grpc_metadata bad[] = {
        {{"Upper", 5}, {"x", 1}}, {{":path", 5}, {"x", 1}}, {{"grpc-status", 11}, {"0", 1}},
        {{"te", 2}, {"x", 1}},    {{"", 0}, {"x", 1}},      {{"x", 1}, {"a\nb", 3}},
    };
    options.metadata_count = 1;
    for (size_t i = 0; i < FL_COUNT(bad); i++) {
        options.metadata = &bad[i];
        assert_int_equal(fl_grpc_call_start(world.client, &options, &grpc_ear_ops, &ear, &call), -EINVAL);
    }
    options.metadata_count = 0;
    options.path = FL_SPAN("no/slash");
    assert_int_equal(fl_grpc_call_start(world.client, &options, &grpc_ear_ops, &ear, &call), -EINVAL);
    grpc_world_done(&world);
}

/* More than the windows of stream and connection, both ways. */
static void test_big_messages(void **state)
{
    (void)state;
    const size_t size = 4u << 20;
    struct fl_grpc_call *call;
    char *message = malloc(size);
    assert_non_null(message);
    for (size_t i = 0; i < size; i++)
        message[i] = (char)('a' + i * 31 % 26);
    grpc_world_init(&world, NULL, NULL);
    grpc_world_connect(&world);
    assert_int_equal(grpc_world_start(&world, "/t.S/Echo", &ear, &call), 0);
    for (unsigned i = 1; i <= 3; i++) {
        assert_int_equal(fl_grpc_call_send(call, fl_span_make(message, size)), 0);
        grpc_world_until(&world, &ear.count, i);
        assert_true(fl_span_eq(fl_span_make(ear.messages.data, size), fl_span_make(message, size)));
        fl_buf_clear(&ear.messages);
    }
    assert_int_equal(fl_grpc_call_send(call, fl_span_make(message, size)), 0);
    assert_int_equal(fl_grpc_call_send(call, fl_span_make(message, size)), -EAGAIN);
    fl_grpc_call_cancel(call);
    free(message);
    grpc_world_until(&world, &world.closed, 1);
    grpc_world_done(&world);
}

/* The server sends as room allows; nothing is lost and the queue stays in its bound. */
static void test_source(void **state)
{
    (void)state;
    const struct fl_grpc_server_options options = {.queue_max = 10000};
    struct fl_grpc_call *call;
    world.source_count = 2000;
    world.source_size = 4000;
    ear.quiet = true;
    grpc_world_init(&world, &options, NULL);
    grpc_world_connect(&world);
    assert_int_equal(grpc_world_start(&world, "/t.S/Source", &ear, &call), 0);
    fl_grpc_call_finish(call);
    grpc_world_until(&world, &world.opened, 1);
    assert_true(world.last == NULL || fl_grpc_stream_queued(world.last) <= 10000);
    grpc_world_until(&world, &ear.ends, 1);
    assert_int_equal(ear.count, 2000);
    assert_int_equal(ear.bytes, 2000u * 4000);
    check_ear(&ear, "", FL_GRPC_OK, "that was all");
    grpc_world_done(&world);
}

static void test_call_queue(void **state)
{
    (void)state;
    const struct fl_grpc_client_options options = {.queue_max = 1000, .message_max = 100};
    struct fl_grpc_call *call;
    char message[101] = {0};
    grpc_world_init(&world, NULL, &options);
    grpc_world_connect(&world);
    assert_int_equal(grpc_world_start(&world, "/t.S/Silent", &ear, &call), 0);
    assert_int_equal(fl_grpc_call_send(call, fl_span_make(message, 101)), -EMSGSIZE);
    unsigned sent = 0;
    int result = 0;
    while (result == 0) {
        result = fl_grpc_call_send(call, fl_span_make(message, 100));
        sent += result == 0;
    }
    assert_int_equal(result, -EAGAIN);
    assert_int_equal(sent, 9);
    assert_int_equal(fl_grpc_call_queued(call), 9 * 105);
    grpc_world_until(&world, &ear.writables, 1);
    assert_true(fl_grpc_call_queued(call) <= 500);
    assert_int_equal(fl_grpc_call_send(call, fl_span_make(message, 100)), 0);
    fl_grpc_call_cancel(call);
    grpc_world_done(&world);
}

static void test_message_limits(void **state)
{
    (void)state;
    const struct fl_grpc_server_options server = {.message_max = 50};
    const struct fl_grpc_client_options client = {.message_max = 60};
    struct fl_grpc_call *call;
    char message[60] = {0};
    grpc_world_init(&world, &server, &client);
    grpc_world_connect(&world);
    assert_int_equal(grpc_world_start(&world, "/t.S/Echo", &ear, &call), 0);
    assert_int_equal(fl_grpc_call_send(call, fl_span_make(message, 50)), 0);
    assert_int_equal(fl_grpc_call_send(call, fl_span_make(message, 51)), 0);
    grpc_world_until(&world, &ear.ends, 1);
    assert_int_equal(ear.count, 1);
    assert_int_equal(ear.status, FL_GRPC_RESOURCE_EXHAUSTED);
    assert_string_equal(ear.text, "a message is too long");
    grpc_world_until(&world, &world.closed, 1);
    unary("/t.S/Unary", FL_SPAN("still there"), &ear2);
    grpc_world_until(&world, &ear2.ends, 1);
    check_ear(&ear2, "still there|", FL_GRPC_OK, "");
    grpc_world_done(&world);
}

static void test_too_many_calls(void **state)
{
    (void)state;
    const struct fl_grpc_server_options options = {.streams = 2};
    struct fl_grpc_call *calls[3];
    grpc_world_init(&world, &options, NULL);
    grpc_world_connect(&world);
    assert_int_equal(grpc_world_start(&world, "/t.S/Silent", &ear, &calls[0]), 0);
    assert_int_equal(grpc_world_start(&world, "/t.S/Silent", &ear, &calls[1]), 0);
    assert_int_equal(grpc_world_start(&world, "/t.S/Silent", &ear, &calls[2]), -EAGAIN);
    grpc_world_until(&world, &world.opened, 2);
    fl_grpc_call_cancel(calls[0]);
    assert_int_equal(grpc_world_start(&world, "/t.S/Silent", &ear, &calls[2]), 0);
    grpc_world_until(&world, &world.opened, 3);
    grpc_world_until(&world, &world.closed, 1);
    grpc_world_done(&world);
    assert_int_equal(ear.ends, 0); /* a client that is freed calls nobody */
}

static void test_cancel_before_sent(void **state)
{
    (void)state;
    struct fl_grpc_call *call;
    grpc_world_init(&world, NULL, NULL);
    grpc_world_connect(&world);
    assert_int_equal(grpc_world_start(&world, "/t.S/Echo", &ear, &call), 0);
    assert_int_equal(fl_grpc_call_send(call, FL_SPAN("never")), 0);
    fl_grpc_call_cancel(call);
    unary("/t.S/Unary", FL_SPAN("x"), &ear2);
    grpc_world_until(&world, &ear2.ends, 1);
    check_ear(&ear2, "x|", FL_GRPC_OK, "");
    assert_int_equal(ear.ends + ear.count, 0);
    assert_int_equal(world.opened, 1);
    grpc_world_done(&world);
}

static void test_timeout(void **state)
{
    (void)state;
    const struct fl_grpc_call_options options = {.path = FL_SPAN("/t.S/Silent"), .timeout_ms = 30};
    struct fl_grpc_call *call;
    grpc_world_init(&world, NULL, NULL);
    grpc_world_connect(&world);
    assert_int_equal(fl_grpc_call_start(world.client, &options, &grpc_ear_ops, &ear, &call), 0);
    grpc_world_until(&world, &ear.ends, 1);
    check_ear(&ear, "", FL_GRPC_DEADLINE_EXCEEDED, "no answer in time");
    grpc_world_until(&world, &world.closed, 1);
    grpc_world_done(&world);
}

/* A callback may free what it was called by. */
static void free_client(void *owner, enum fl_grpc_status status, struct fl_span text)
{
    (void)owner, (void)status, (void)text;
    ear.ends++;
    world.client = fl_grpc_client_free(world.client);
}

static void free_client_message(void *owner, struct fl_span message)
{
    free_client(owner, FL_GRPC_OK, message);
}

static void test_free_in_callbacks(void **state)
{
    (void)state;
    static const struct fl_grpc_call_ops rows[] = {{.on_end = free_client}, {.on_message = free_client_message}};
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        const struct fl_grpc_call_options options = {.path = FL_SPAN("/t.S/Echo")};
        struct fl_grpc_call *call;
        world = (struct grpc_world){0};
        ear.ends = 0;
        grpc_world_init(&world, NULL, NULL);
        grpc_world_connect(&world);
        assert_int_equal(fl_grpc_call_start(world.client, &options, &rows[i], NULL, &call), 0);
        assert_int_equal(fl_grpc_call_send(call, FL_SPAN("a")), 0);
        assert_int_equal(fl_grpc_call_send(call, FL_SPAN("b")), 0);
        fl_grpc_call_finish(call);
        grpc_world_until(&world, &ear.ends, 1);
        grpc_world_until(&world, &world.closed, 1);
        assert_int_equal(ear.ends, 1);
        grpc_world_done(&world);
    }
}

/* The server too goes from inside a stream's callback, with other streams under way. */
static void free_server(void *owner)
{
    (void)owner;
    world.server = fl_grpc_server_free(world.server);
}

static void test_free_server(void **state)
{
    (void)state;
    struct fl_grpc_call *calls[3];
    grpc_world_init(&world, NULL, NULL);
    grpc_world_connect(&world);
    for (int i = 0; i < 3; i++)
        assert_int_equal(grpc_world_start(&world, "/t.S/Silent", i == 2 ? &ear2 : &ear, &calls[i]), 0);
    grpc_world_until(&world, &world.opened, 3);
    world.on_closed = free_server;
    fl_grpc_call_cancel(calls[1]);
    grpc_world_until(&world, &world.closed, 3);
    assert_null(world.server);
    grpc_world_until(&world, &world.lost, 1);
    assert_true(ear.ends == 1 && ear2.ends == 1);
    grpc_world_done(&world);
}

static void test_close_tells_calls(void **state)
{
    (void)state;
    struct fl_grpc_call *call;
    grpc_world_init(&world, NULL, NULL);
    grpc_world_connect(&world);
    assert_int_equal(grpc_world_start(&world, "/t.S/Silent", &ear, &call), 0);
    fl_grpc_client_close(world.client);
    check_ear(&ear, "", FL_GRPC_UNAVAILABLE, "the connection is closed");
    assert_int_equal(world.lost, 0);
    assert_int_equal(fl_grpc_client_state(world.client), FL_GRPC_CLIENT_IDLE);
    grpc_world_connect(&world);
    unary("/t.S/Unary", FL_SPAN("again"), &ear2);
    grpc_world_until(&world, &ear2.ends, 1);
    check_ear(&ear2, "again|", FL_GRPC_OK, "");
    grpc_world_done(&world);
}

static void test_server_gone(void **state)
{
    (void)state;
    struct fl_grpc_call *call;
    grpc_world_init(&world, NULL, NULL);
    grpc_world_connect(&world);
    assert_int_equal(grpc_world_start(&world, "/t.S/Silent", &ear, &call), 0);
    grpc_world_until(&world, &world.opened, 1);
    world.server = fl_grpc_server_free(world.server);
    assert_int_equal(world.closed, 1);
    grpc_world_until(&world, &world.lost, 1);
    check_ear(&ear, "", FL_GRPC_UNAVAILABLE, "the peer closed the connection");
    assert_int_equal(fl_grpc_client_connect(world.client), 0);
    assert_int_equal(fl_grpc_client_connect(world.client), -EALREADY);
    grpc_world_until(&world, &world.lost, 2);
    assert_non_null(strstr(world.reason.text, "Connection refused"));
    grpc_world_done(&world);
}

static void test_drain(void **state)
{
    (void)state;
    struct fl_grpc_call *call, *late;
    grpc_world_init(&world, NULL, NULL);
    grpc_world_connect(&world);
    assert_int_equal(grpc_world_start(&world, "/t.S/Echo", &ear, &call), 0);
    assert_int_equal(fl_grpc_call_send(call, FL_SPAN("one")), 0);
    grpc_world_until(&world, &ear.count, 1);
    fl_grpc_server_drain(world.server);
    grpc_world_turns(&world, 5);
    assert_int_equal(grpc_world_start(&world, "/t.S/Echo", &ear2, &late), -EAGAIN);
    assert_false(world.drained);
    assert_int_equal(fl_grpc_call_send(call, FL_SPAN("two")), 0);
    fl_grpc_call_finish(call);
    grpc_world_until(&world, &ear.ends, 1);
    check_ear(&ear, "one|two|", FL_GRPC_OK, "");
    grpc_world_until(&world, &world.lost, 1);
    grpc_world_turns(&world, 5);
    assert_true(world.drained);
    assert_int_equal(fl_grpc_server_connections(world.server), 0);
    grpc_world_done(&world);
}

/* A call that is on its way when the server begins to drain ends with UNAVAILABLE, and is never half done. */
static void test_drain_race(void **state)
{
    (void)state;
    struct fl_grpc_call *call;
    grpc_world_init(&world, NULL, NULL);
    grpc_world_connect(&world);
    fl_grpc_server_drain(world.server);
    assert_int_equal(grpc_world_start(&world, "/t.S/Echo", &ear, &call), 0);
    grpc_world_until(&world, &ear.ends, 1);
    assert_int_equal(ear.status, FL_GRPC_UNAVAILABLE);
    assert_int_equal(world.opened, 0);
    grpc_world_until(&world, &world.lost, 1);
    grpc_world_done(&world);
}

static void test_addresses_in_turn(void **state)
{
    (void)state;
    struct fl_grpc_address addresses[3];
    grpc_world_init(&world, NULL, NULL);
    assert_int_equal(fl_grpc_address_parse(FL_SPAN("127.0.0.1:1"), &addresses[0]), 0);
    assert_int_equal(fl_grpc_address_parse(FL_SPAN("[::1]:1"), &addresses[1]), 0);
    addresses[2] = world.address;
    assert_int_equal(fl_grpc_client_set_addresses(world.client, addresses, 3), 0);
    assert_null(fl_grpc_client_peer(world.client));
    grpc_world_connect(&world);
    assert_int_equal(fl_grpc_address_port(fl_grpc_client_peer(world.client)), fl_grpc_address_port(&world.address));
    fl_grpc_client_close(world.client);
    assert_int_equal(fl_grpc_client_set_addresses(world.client, addresses, 2), 0);
    assert_int_equal(fl_grpc_client_connect(world.client), 0);
    grpc_world_until(&world, &world.lost, 1);
    grpc_world_done(&world);
}

/* mTLS. */

static void test_mtls(void **state)
{
    (void)state;
    world.client_tls = client_context(&app, &h2);
    world.server_tls = server_context(false);
    grpc_world_init(&world, NULL, NULL);
    grpc_world_connect(&world);
    unary("/t.S/Unary", FL_SPAN("secret"), &ear);
    grpc_world_until(&world, &ear.ends, 1);
    check_ear(&ear, "secret|", FL_GRPC_OK, "");
    assert_string_equal(world.identity, APP);
    assert_false(world.plaintext);
    grpc_world_done(&world);
}

static void test_tls_big(void **state)
{
    (void)state;
    world.client_tls = client_context(&app, &h2);
    world.server_tls = server_context(true);
    world.source_count = 50;
    world.source_size = 200000;
    ear.quiet = true;
    struct fl_grpc_call *call;
    grpc_world_init(&world, NULL, NULL);
    grpc_world_connect(&world);
    assert_int_equal(grpc_world_start(&world, "/t.S/Source", &ear, &call), 0);
    fl_grpc_call_finish(call);
    grpc_world_until(&world, &ear.ends, 1);
    assert_int_equal(ear.bytes, 50u * 200000);
    grpc_world_done(&world);
}

static void test_optional_certificate(void **state)
{
    (void)state;
    world.client_tls = client_context(NULL, &h2);
    world.server_tls = server_context(false);
    grpc_world_init(&world, NULL, NULL);
    grpc_world_connect(&world);
    unary("/t.S/Unary", FL_SPAN("x"), &ear);
    grpc_world_until(&world, &ear.ends, 1);
    check_ear(&ear, "x|", FL_GRPC_OK, "");
    assert_string_equal(world.identity, "");
    grpc_world_done(&world);
}

/* Shown, it must verify, also where none is asked for. The client hears of it after its handshake. */
static void test_foreign_certificate(void **state)
{
    (void)state;
    world.client_tls = client_context(&foreign, &h2);
    world.server_tls = server_context(false);
    grpc_world_init(&world, NULL, NULL);
    assert_int_equal(fl_grpc_client_connect(world.client), 0);
    grpc_world_until(&world, &world.lost, 1);
    assert_int_equal(world.connected, 0);
    grpc_world_until(&world, &world.refused[FL_GRPC_REFUSAL_HANDSHAKE], 1);
    assert_non_null(strstr(world.refusal, "TLS: "));
    grpc_world_done(&world);
}

static void test_wrong_alpn(void **state)
{
    (void)state;
    world.client_tls = client_context(&app, &other_alpn);
    world.server_tls = server_context(false);
    grpc_world_init(&world, NULL, NULL);
    assert_int_equal(fl_grpc_client_connect(world.client), 0);
    grpc_world_until(&world, &world.lost, 1);
    grpc_world_until(&world, &world.refused[FL_GRPC_REFUSAL_HANDSHAKE], 1);
    grpc_world_done(&world);
}

static void test_swap_contexts(void **state)
{
    (void)state;
    world.client_tls = client_context(&foreign, &h2);
    world.server_tls = server_context(true);
    grpc_world_init(&world, NULL, NULL);
    assert_int_equal(fl_grpc_client_connect(world.client), 0);
    grpc_world_until(&world, &world.lost, 1);
    struct fl_tls_context *next = client_context(&app, &h2), *server_next = server_context(true);
    fl_grpc_client_set_tls(world.client, next);
    fl_grpc_server_set_tls(world.server, server_next);
    fl_tls_context_unref(next);
    fl_tls_context_unref(server_next);
    grpc_world_connect(&world);
    unary("/t.S/Unary", FL_SPAN("x"), &ear);
    grpc_world_until(&world, &ear.ends, 1);
    assert_string_equal(world.identity, APP);
    grpc_world_done(&world);
}

/* One server, plaintext and TLS, IPv4 and IPv6 at once. */
static void test_two_listeners(void **state)
{
    (void)state;
    struct fl_grpc_address address;
    world.client_tls = client_context(&app, &h2);
    world.server_tls = server_context(false);
    grpc_world_init(&world, NULL, NULL);
    grpc_world_connect(&world);
    unary("/t.S/Unary", FL_SPAN("x"), &ear);
    grpc_world_until(&world, &ear.ends, 1);
    assert_false(world.plaintext);
    fl_grpc_client_close(world.client);
    assert_int_equal(fl_grpc_address_parse(FL_SPAN("[::1]:0"), &address), 0);
    if (fl_grpc_server_listen(world.server, &address, false, &address, NULL) == -EADDRNOTAVAIL) {
        grpc_world_done(&world);
        skip(); /* no IPv6 here */
    }
    fl_grpc_client_set_tls(world.client, NULL);
    assert_int_equal(fl_grpc_client_set_addresses(world.client, &address, 1), 0);
    grpc_world_connect(&world);
    unary("/t.S/Unary", FL_SPAN("y"), &ear2);
    grpc_world_until(&world, &ear2.ends, 1);
    assert_true(world.plaintext);
    grpc_world_done(&world);
}

static void test_taken_address(void **state)
{
    (void)state;
    struct fl_err err;
    grpc_world_init(&world, NULL, NULL);
    assert_int_equal(fl_grpc_server_listen(world.server, &world.address, false, NULL, &err), -EADDRINUSE);
    assert_non_null(strstr(err.text, "listen on 127.0.0.1:"));
    grpc_world_done(&world);
}

/* The Nth allocation fails, nghttp2's too: every call ends or is refused, nothing leaks, both sides live. */
static void let_memory_fail(void)
{
    grpc_world_init(&world, NULL, NULL);
    size_t good = 0;
    FAIL_EACH_ALLOCATION
    {
        struct grpc_ear one;
        struct fl_grpc_call *call = NULL;
        const struct fl_grpc_call_options options = {.path = FL_SPAN("/t.S/Unary")};
        unsigned connected = world.connected, lost = world.lost;
        int result = -ENOTCONN;
        grpc_ear_init(&one);
        one.quiet = true;
        assert_int_equal(fl_grpc_client_connect(world.client), 0);
        while (world.connected == connected && world.lost == lost)
            assert_int_equal(fl_loop_turn(world.loop, 100), 0);
        if (world.connected > connected)
            result = fl_grpc_call_unary(world.client, &options, FL_SPAN("hello"), grpc_ear_reply, &one, &call);
        while (result == 0 && one.ends == 0)
            assert_int_equal(fl_loop_turn(world.loop, 100), 0);
        fail_stop();
        good += result == 0 && one.ends == 1 && one.status == FL_GRPC_OK;
        if (!fail_happened())
            assert_true(result == 0 && one.status == FL_GRPC_OK);
        fl_grpc_client_close(world.client);
        grpc_world_turns(&world, 3);
        grpc_ear_done(&one);
    }
    assert_true(good > 0);
    grpc_world_done(&world);
}

static void test_memory(void **state)
{
    (void)state;
    let_memory_fail();
}

static void test_memory_tls(void **state)
{
    (void)state;
    world.client_tls = client_context(&app, &h2);
    world.server_tls = server_context(true);
    let_memory_fail();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_unary),
        TEST(test_unary_later),
        TEST(test_unary_messages),
        TEST(test_bidi),
        TEST(test_refusals),
        TEST(test_metadata),
        TEST(test_big_messages),
        TEST(test_source),
        TEST(test_call_queue),
        TEST(test_message_limits),
        TEST(test_too_many_calls),
        TEST(test_cancel_before_sent),
        TEST(test_timeout),
        TEST(test_free_in_callbacks),
        TEST(test_close_tells_calls),
        TEST(test_server_gone),
        TEST(test_drain),
        TEST(test_drain_race),
        TEST(test_addresses_in_turn),
        TEST(test_mtls),
        TEST(test_tls_big),
        TEST(test_optional_certificate),
        TEST(test_foreign_certificate),
        TEST(test_wrong_alpn),
        TEST(test_swap_contexts),
        TEST(test_memory),
        TEST(test_memory_tls),
        TEST(test_two_listeners),
        TEST(test_taken_address),
        TEST(test_free_server),
    };
    return cmocka_run_group_tests(tests, set_up_all, tear_down_all);
}
