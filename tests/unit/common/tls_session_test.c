#include "common/tls/session.h"

#include "common/tls/inner.h"
#include "tests/support/fail.h"
#include "tests/unit/common/authority.h"
#include "tests/unit/common/tls_pair.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#define WEB "spiffe://cluster.local/ns/default/sa/web"
#define APP "spiffe://cluster.local/ns/default/sa/app"

static struct authority ours, theirs;
static struct identity web, app, foreign;
static const struct fl_span alpn_tcp[] = {{"fairlead-tcp/1", 14}};

static int set_up(void **state)
{
    (void)state;
    authority_init(&ours, "our root");
    authority_init(&theirs, "their root");
    authority_issue(&ours, WEB, NULL, &web);
    authority_issue(&ours, APP, NULL, &app);
    authority_issue(&theirs, WEB, NULL, &foreign);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    identity_done(&web);
    identity_done(&app);
    identity_done(&foreign);
    authority_done(&ours);
    authority_done(&theirs);
    return 0;
}

/* The mesh's two sides: `app` calls `web`. */
static struct fl_tls_options client_options(void)
{
    return (struct fl_tls_options){.cert = app.cert,
                                   .key = app.key,
                                   .bundle = ours.bundle,
                                   .require_spiffe = true,
                                   .alpn = alpn_tcp,
                                   .alpn_count = 1};
}

static struct fl_tls_options server_options(void)
{
    return (struct fl_tls_options){.server = true,
                                   .cert = web.cert,
                                   .key = web.key,
                                   .bundle = ours.bundle,
                                   .require_peer_cert = true,
                                   .require_spiffe = true,
                                   .alpn = alpn_tcp,
                                   .alpn_count = 1};
}

static void pair_of(struct tls_pair *pair, const struct fl_tls_options *client, const struct fl_tls_options *server)
{
    struct fl_tls_context *client_context = NULL, *server_context = NULL;
    struct fl_err err = {0};
    if (fl_tls_context_new(client, &client_context, &err) < 0 || fl_tls_context_new(server, &server_context, &err) < 0)
        fail_msg("%s", err.text);
    tls_pair_init(pair, client_context, server_context);
    fl_tls_context_unref(client_context); /* the sessions hold them */
    fl_tls_context_unref(server_context);
}

static void mesh_pair(struct tls_pair *pair)
{
    struct fl_tls_options client = client_options(), server = server_options();
    pair_of(pair, &client, &server);
}

static void open_pair(struct tls_pair *pair)
{
    mesh_pair(pair);
    tls_pair_run(pair, SIZE_MAX);
    assert_int_equal(fl_tls_state(pair->client.tls), FL_TLS_OPEN);
    assert_int_equal(fl_tls_state(pair->server.tls), FL_TLS_OPEN);
}

static void assert_span(struct fl_span span, const char *text)
{
    if (!fl_span_eq_str(span, text))
        fail_msg("\"%.*s\" is not \"%s\"", FL_SPAN_ARG(span), text);
}

static bool likes_h2(struct fl_span token, unsigned use)
{
    return use == 1 && fl_span_eq(token, FL_SPAN("h2"));
}

static bool likes_http1(struct fl_span token, unsigned use)
{
    return use == 1 && fl_span_eq(token, FL_SPAN("http/1.1"));
}

/* likes NULL: fl_tls_offer is not called. */
static const struct offer_row {
    const char *name;
    bool (*likes)(struct fl_span token, unsigned use);
    const char *server; /* the one that it has; NULL: it has none */
    const char *chosen; /* NULL: refused */
    bool expects;
} offer_rows[] = {
    {"all", NULL, "fairlead-tcp/1", "fairlead-tcp/1", false},
    {"a part", likes_h2, "h2", "h2", false},
    {"not of that part", likes_h2, "fairlead-tcp/1", NULL, false},
    {"the server has none, and http/1.1 was offered", likes_http1, NULL, "", false},
    {"but one identity is expected", likes_http1, NULL, NULL, true},
    {"the server has none, and http/1.1 was not offered", likes_h2, NULL, NULL, false},
    {"nothing was said about a server without", NULL, NULL, NULL, false},
};

static void a_session_offers_a_part_of_its_contexts_alpn(void **state)
{
    (void)state;
    const struct fl_span all[] = {FL_SPAN("fairlead-tcp/1"), FL_SPAN("h2"), FL_SPAN("http/1.1")};
    for (size_t i = 0; i < FL_COUNT(offer_rows); i++) {
        const struct offer_row *row = &offer_rows[i];
        struct tls_pair pair;
        struct fl_tls_options client = client_options(), server = server_options();
        struct fl_span one = fl_span_str(row->server != NULL ? row->server : "");
        client.alpn = all;
        client.alpn_count = FL_COUNT(all);
        server.alpn = &one;
        server.alpn_count = row->server != NULL ? 1 : 0;
        pair_of(&pair, &client, &server);
        if (row->likes != NULL)
            assert_int_equal(fl_tls_offer(pair.client.tls, row->likes, 1), 0);
        if (row->expects)
            assert_int_equal(fl_tls_expect(pair.client.tls, FL_SPAN(WEB)), 0);
        tls_pair_run(&pair, SIZE_MAX);
        bool open = fl_tls_state(pair.client.tls) == FL_TLS_OPEN;
        if (open != (row->chosen != NULL))
            fail_msg("%s: %s", row->name, fl_tls_error(pair.client.tls));
        if (open)
            assert_span(fl_tls_alpn(pair.client.tls), row->chosen);
        tls_pair_done(&pair);
    }
}

static void opens_and_tells_both_identities(void **state)
{
    (void)state;
    struct tls_pair pair;
    struct fl_tls_options client = client_options(), server = server_options();
    client.server_name = FL_SPAN("web.default.svc");
    pair_of(&pair, &client, &server);
    assert_span(fl_tls_peer_identity(pair.client.tls), "");
    assert_string_equal(fl_tls_version_name(pair.client.tls), "");
    tls_pair_run(&pair, SIZE_MAX);
    assert_span(fl_tls_peer_identity(pair.client.tls), WEB);
    assert_span(fl_tls_own_identity(pair.client.tls), APP);
    assert_span(fl_tls_peer_identity(pair.server.tls), APP);
    int64_t not_before = 0, not_after = 0;
    assert_true(fl_tls_peer_validity(pair.server.tls, &not_before, &not_after));
    assert_true(not_before <= time(NULL) && not_after > time(NULL));
    assert_span(fl_tls_own_identity(pair.server.tls), WEB);
    assert_span(fl_tls_alpn(pair.client.tls), "fairlead-tcp/1");
    assert_span(fl_tls_alpn(pair.server.tls), "fairlead-tcp/1");
    assert_span(fl_tls_server_name(pair.server.tls), "web.default.svc");
    assert_string_equal(fl_tls_version_name(pair.server.tls), "TLSv1.3");
    assert_string_equal(fl_tls_cipher_name(pair.server.tls), "TLS_AES_128_GCM_SHA256");
    assert_string_equal(fl_tls_error(pair.client.tls), "");
    assert_int_equal(pair.client.opened, 1);
    assert_int_equal(pair.server.opened, 1);
    tls_pair_done(&pair);
}

static void every_split_of_the_handshake_opens(void **state)
{
    (void)state;
    const size_t pieces[] = {1, 2, 3, 4, 5, 6, 7, 11, 64, 100, 511, 4096};
    for (size_t i = 0; i < FL_COUNT(pieces); i++) {
        struct tls_pair pair;
        mesh_pair(&pair);
        tls_pair_run(&pair, pieces[i]);
        assert_int_equal(fl_tls_state(pair.client.tls), FL_TLS_OPEN);
        assert_int_equal(fl_tls_state(pair.server.tls), FL_TLS_OPEN);
        assert_int_equal(fl_tls_write(pair.client.tls, FL_SPAN("hello")), 0);
        tls_pair_settle(&pair, pieces[i]);
        assert_span(fl_buf_span(&pair.server.received), "hello");
        tls_pair_done(&pair);
    }
}

/* The client's last flight and its first bytes in one feed, cut in two at every place. */
static void data_behind_the_handshake_arrives(void **state)
{
    (void)state;
    size_t size = 1;
    for (size_t cut = 0; cut < size; cut += cut < 40 ? 1 : 37) {
        struct tls_pair pair;
        mesh_pair(&pair);
        assert_int_equal(fl_tls_start(pair.client.tls), 0);
        tls_pair_move(&pair.client, &pair.server, SIZE_MAX);
        tls_pair_move(&pair.server, &pair.client, SIZE_MAX);
        assert_int_equal(fl_tls_state(pair.client.tls), FL_TLS_OPEN);
        assert_int_equal(fl_tls_write(pair.client.tls, FL_SPAN("early")), 0);
        assert_int_equal(fl_tls_shutdown(pair.client.tls), 0);
        struct fl_span flight = fl_buf_span(&pair.client.out);
        size = flight.len;
        assert_int_equal(fl_tls_feed(pair.server.tls, fl_span_make(flight.data, cut)), 0);
        assert_int_equal(fl_tls_feed(pair.server.tls, fl_span_from(flight, cut)), 0);
        assert_span(fl_buf_span(&pair.server.received), "early");
        assert_int_equal(pair.server.opened, 1);
        assert_int_equal(pair.server.received_at_open, 0);
        assert_int_equal(fl_tls_state(pair.server.tls), FL_TLS_PEER_CLOSED);
        tls_pair_done(&pair);
    }
}

static void bulk_goes_both_ways_in_any_pieces(void **state)
{
    (void)state;
    const size_t size = 300000;
    const size_t pieces[] = {1, 7, 1000, 16384, 16385 + 21, 65536, SIZE_MAX};
    char *bulk = malloc(size);
    for (size_t i = 0; i < size; i++)
        bulk[i] = (char)(i * 2654435761u >> 13);
    for (size_t i = 0; i < FL_COUNT(pieces); i++) {
        struct tls_pair pair;
        open_pair(&pair);
        pair.server.echo = true;
        size_t part = pieces[i] == 1 ? 5000 : size;
        assert_int_equal(fl_tls_write(pair.client.tls, fl_span_make(bulk, part)), 0);
        assert_true(pair.client.out.len < part + (part / 16384 + 1) * 32);
        tls_pair_settle(&pair, pieces[i]);
        assert_true(fl_span_eq(fl_buf_span(&pair.server.received), fl_span_make(bulk, part)));
        assert_true(fl_span_eq(fl_buf_span(&pair.client.received), fl_span_make(bulk, part)));
        tls_pair_done(&pair);
    }
    free(bulk);
}

static void small_records_of_one_feed_come_together(void **state)
{
    (void)state;
    struct tls_pair pair;
    open_pair(&pair);
    for (int i = 0; i < 100; i++)
        assert_int_equal(fl_tls_write(pair.client.tls, FL_SPAN("0123456789")), 0);
    tls_pair_settle(&pair, SIZE_MAX);
    assert_int_equal(pair.server.received.len, 1000);
    assert_int_equal(pair.server.receives, 1);
    tls_pair_done(&pair);
}

static void close_notify_is_half_a_close(void **state)
{
    (void)state;
    struct tls_pair pair;
    open_pair(&pair);
    assert_int_equal(fl_tls_write(pair.client.tls, FL_SPAN("question")), 0);
    assert_int_equal(fl_tls_shutdown(pair.client.tls), 0);
    assert_int_equal(fl_tls_shutdown(pair.client.tls), 0);
    assert_int_equal(fl_tls_write(pair.client.tls, FL_SPAN("more")), -EPIPE);
    tls_pair_settle(&pair, SIZE_MAX);
    assert_span(fl_buf_span(&pair.server.received), "question");
    assert_int_equal(fl_tls_state(pair.server.tls), FL_TLS_PEER_CLOSED);
    assert_int_equal(fl_tls_state(pair.client.tls), FL_TLS_OPEN);
    assert_int_equal(fl_tls_write(pair.server.tls, FL_SPAN("answer")), 0);
    assert_int_equal(fl_tls_shutdown(pair.server.tls), 0);
    tls_pair_settle(&pair, SIZE_MAX);
    assert_span(fl_buf_span(&pair.client.received), "answer");
    assert_int_equal(fl_tls_state(pair.client.tls), FL_TLS_PEER_CLOSED);
    assert_int_equal(fl_tls_feed(pair.client.tls, FL_SPAN("bytes behind the end")), 0);
    assert_span(fl_tls_peer_identity(pair.client.tls), WEB);
    tls_pair_done(&pair);
}

static void nothing_is_written_before_it_is_open(void **state)
{
    (void)state;
    struct tls_pair pair;
    mesh_pair(&pair);
    assert_int_equal(fl_tls_write(pair.client.tls, FL_SPAN("x")), -ENOTCONN);
    assert_int_equal(fl_tls_shutdown(pair.server.tls), -ENOTCONN);
    tls_pair_run(&pair, SIZE_MAX);
    assert_int_equal(fl_tls_state(pair.client.tls), FL_TLS_OPEN);
    assert_int_equal(fl_tls_write(pair.client.tls, (struct fl_span){NULL, 0}), 0);
    assert_int_equal(pair.client.out.len, 0);
    tls_pair_done(&pair);
}

static void a_tampered_record_fails_what_follows_it(void **state)
{
    (void)state;
    struct tls_pair pair;
    open_pair(&pair);
    assert_int_equal(fl_tls_write(pair.client.tls, FL_SPAN("good")), 0);
    size_t good = pair.client.out.len;
    assert_int_equal(fl_tls_write(pair.client.tls, FL_SPAN("evil")), 0);
    pair.client.out.data[good + 8] ^= 1;
    tls_pair_settle(&pair, SIZE_MAX);
    assert_span(fl_buf_span(&pair.server.received), "good");
    assert_int_equal(pair.server.result, -EPROTO);
    assert_int_equal(fl_tls_state(pair.server.tls), FL_TLS_FAILED);
    assert_non_null(strstr(fl_tls_error(pair.server.tls), "mac"));
    assert_int_equal(fl_tls_write(pair.server.tls, FL_SPAN("x")), -EPROTO);
    assert_int_equal(fl_tls_feed(pair.server.tls, FL_SPAN("x")), -EPROTO);
    assert_int_equal(pair.client.result, -EPROTO);
    assert_string_equal(fl_tls_error(pair.client.tls), "the peer sent an alert: bad record mac");
    tls_pair_done(&pair);
}

/* The client's OpenSSL is told to renew its keys, which our own code never does. */
static void send_key_update(struct tls_end *end)
{
    assert_int_equal(SSL_key_update(end->tls->ssl, SSL_KEY_UPDATE_REQUESTED), 1);
    assert_int_equal(SSL_do_handshake(end->tls->ssl), 1);
}

static void keys_may_be_renewed_but_not_without_end(void **state)
{
    (void)state;
    struct tls_pair pair;
    open_pair(&pair);
    pair.server.echo = true;
    for (int i = 0; i < 200; i++) { /* with data between */
        send_key_update(&pair.client);
        assert_int_equal(fl_tls_write(pair.client.tls, FL_SPAN("x")), 0);
        tls_pair_settle(&pair, SIZE_MAX);
    }
    assert_int_equal(pair.server.received.len, 200);
    assert_int_equal(pair.client.received.len, 200);
    for (int i = 0; i < 200; i++)
        send_key_update(&pair.client);
    tls_pair_move(&pair.client, &pair.server, SIZE_MAX);
    assert_int_equal(pair.server.result, -EPROTO);
    assert_string_equal(fl_tls_error(pair.server.tls), "the peer floods us with TLS messages that are not data");
    tls_pair_done(&pair);
}

static void plaintext_fails(void **state)
{
    (void)state;
    struct tls_pair pair;
    mesh_pair(&pair);
    assert_int_equal(fl_tls_reason(pair.server.tls), FL_TLS_REASON_NONE);
    assert_int_equal(fl_tls_feed(pair.server.tls, FL_SPAN("G")), 0);
    assert_int_equal(fl_tls_reason(pair.server.tls), FL_TLS_REASON_PLAINTEXT); /* it may end, or wait, right here */
    assert_int_equal(fl_tls_feed(pair.server.tls, FL_SPAN("ET / HTTP/1.1\r\nHost: a\r\n\r\n")), -EPROTO);
    assert_string_equal(fl_tls_error(pair.server.tls), "TLS: http request");
    assert_int_equal(fl_tls_reason(pair.server.tls), FL_TLS_REASON_PLAINTEXT);
    tls_pair_done(&pair);
}

static void a_failing_sink_ends_the_session(void **state)
{
    (void)state;
    struct tls_pair pair;
    open_pair(&pair);
    assert_int_equal(fl_tls_write(pair.client.tls, FL_SPAN("x")), 0);
    pair.server.fail_receive = -ECANCELED;
    tls_pair_move(&pair.client, &pair.server, SIZE_MAX);
    assert_int_equal(pair.server.result, -ECANCELED);
    assert_int_equal(fl_tls_state(pair.server.tls), FL_TLS_FAILED);
    assert_int_equal(fl_tls_write(pair.server.tls, FL_SPAN("x")), -ECANCELED);
    pair.client.fail_send = -EMSGSIZE;
    assert_int_equal(fl_tls_write(pair.client.tls, FL_SPAN("x")), -EMSGSIZE);
    assert_int_equal(fl_tls_state(pair.client.tls), FL_TLS_FAILED);
    tls_pair_done(&pair);

    open_pair(&pair); /* the answer fails inside the receive sink */
    pair.server.echo = true;
    pair.server.fail_send = -ENOBUFS;
    assert_int_equal(fl_tls_write(pair.client.tls, FL_SPAN("x")), 0);
    tls_pair_move(&pair.client, &pair.server, SIZE_MAX);
    assert_int_equal(pair.server.result, -ENOBUFS);
    tls_pair_done(&pair);

    mesh_pair(&pair); /* in the handshake */
    pair.client.fail_send = -ENOBUFS;
    tls_pair_run(&pair, SIZE_MAX);
    assert_int_equal(pair.client.result, -ENOBUFS);
    assert_string_equal(fl_tls_error(pair.client.tls), "sending failed: No buffer space available");
    tls_pair_done(&pair);
}

static void our_allocations_may_fail(void **state)
{
    (void)state;
    const struct fl_tls_name_match names[] = {{FL_TLS_NAME_URI, FL_TLS_MATCH_EXACT, FL_SPAN(WEB)}};
    FAIL_EACH_ALLOCATION
    {
        struct fl_tls_context *context = NULL;
        struct fl_tls *tls = NULL;
        struct fl_tls_options options = client_options();
        options.server_name = FL_SPAN("web");
        options.names = names;
        options.name_count = 1;
        struct fl_tls_sinks sinks = {0};
        int result = fl_tls_context_new(&options, &context, NULL);
        if (result == 0)
            result = fl_tls_new(context, &sinks, &tls);
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
        fl_tls_free(tls);
        fl_tls_context_unref(context);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opens_and_tells_both_identities),
        cmocka_unit_test(a_session_offers_a_part_of_its_contexts_alpn),
        cmocka_unit_test(every_split_of_the_handshake_opens),
        cmocka_unit_test(data_behind_the_handshake_arrives),
        cmocka_unit_test(bulk_goes_both_ways_in_any_pieces),
        cmocka_unit_test(small_records_of_one_feed_come_together),
        cmocka_unit_test(close_notify_is_half_a_close),
        cmocka_unit_test(nothing_is_written_before_it_is_open),
        cmocka_unit_test(a_tampered_record_fails_what_follows_it),
        cmocka_unit_test(keys_may_be_renewed_but_not_without_end),
        cmocka_unit_test(plaintext_fails),
        cmocka_unit_test(a_failing_sink_ends_the_session),
        cmocka_unit_test(our_allocations_may_fail),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
