/* Who a client is by its certificate, over real handshakes: the server's TLS is GnuTLS, the client's OpenSSL. */
#include "common/http/server.h"

#include "tests/unit/common/authority.h"
#include "tests/unit/common/http_client.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

static struct authority ours, theirs;
static struct identity serving, good, stranger, expired, early, of_servers;
static struct fl_loop *loop;
static struct fl_http_server *server;

/* "<state|trouble|name,name,>" */
static void handle(void *owner, const struct fl_http_request *request, struct fl_http_response *response)
{
    (void)owner;
    const struct fl_http_peer *peer = fl_http_request_peer(request);
    int result =
        fl_buf_printf(&response->body, "<%d|%s|", (int)peer->state, peer->trouble != NULL ? peer->trouble : "");
    for (size_t i = 0; result == 0 && i < peer->name_count; i++)
        result = fl_buf_printf(&response->body, "%.*s,", FL_SPAN_ARG(peer->names[i]));
    if (result < 0 || fl_buf_append_str(&response->body, ">") < 0)
        response->status = 507;
    fl_http_request_vouch(request);
}

static void issue(struct identity *identity, time_t from, time_t until, bool server_only)
{
    static const char *const names[] = {"api.example", NULL};
    const struct fl_cert_request request = {.uri = FL_SPAN("spiffe://cluster.local/ns/a/sa/b"),
                                            .common_name = FL_SPAN("kube-apiserver"),
                                            .dns_names = names,
                                            .not_before = from,
                                            .not_after = until,
                                            .server_only = server_only};
    authority_issue_request(&ours, &request, identity);
}

static int set_up(void **state)
{
    (void)state;
    time_t now = time(NULL);
    authority_init(&ours, "ours");
    authority_init(&theirs, "theirs");
    authority_issue(&ours, NULL, "first.example", &serving);
    authority_issue(&theirs, NULL, "api.example", &stranger);
    issue(&good, now - 3600, now + 3600, false);
    issue(&expired, now - 3600, now - 60, false);
    issue(&early, now + 3600, now + 7200, false);
    issue(&of_servers, now - 3600, now + 3600, true);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    struct identity *all[] = {&serving, &good, &stranger, &expired, &early, &of_servers};
    for (size_t i = 0; i < FL_COUNT(all); i++)
        identity_done(all[i]);
    authority_done(&ours);
    authority_done(&theirs);
    return 0;
}

static void start(bool ask)
{
    struct fl_buf cert_pem, key_pem, roots_pem;
    const struct fl_span roots = pem_of_cert(ours.root, &roots_pem);
    const struct fl_http_server_options options = {.address = FL_SPAN("127.0.0.1:0"),
                                                   .cert_pem = pem_of_cert(serving.cert, &cert_pem),
                                                   .key_pem = pem_of_key(serving.key, &key_pem),
                                                   .client_roots_pem = ask ? roots : (struct fl_span){NULL, 0},
                                                   .body_max = 1000,
                                                   .response_max = 10000,
                                                   .connections_max = 40,
                                                   .connections_per_address = 40,
                                                   .idle_seconds = 30,
                                                   .handle = handle};
    assert_int_equal(fl_loop_new(&loop), 0);
    assert_int_equal(fl_http_server_new(loop, &options, &server, NULL), 0);
    fl_buf_done(&cert_pem);
    fl_buf_done(&key_pem);
    fl_buf_done(&roots_pem);
}

static void stop(void)
{
    server = fl_http_server_free(server);
    loop = fl_loop_free(loop);
}

static void open_as(struct http_client *client, const struct identity *identity, uint16_t version)
{
    const struct fl_tls_name_match names[] = {{FL_TLS_NAME_DNS, FL_TLS_MATCH_EXACT, FL_SPAN("first.example")}};
    const struct fl_tls_options options = {.bundle = ours.bundle,
                                           .names = names,
                                           .name_count = 1,
                                           .server_name = FL_SPAN("first.example"),
                                           .cert = identity != NULL ? identity->cert : NULL,
                                           .key = identity != NULL ? identity->key : NULL,
                                           .minimum_version = version};
    struct fl_tls_context *context;
    assert_int_equal(fl_tls_context_new(&options, &context, NULL), 0);
    http_client_open_tls(client, loop, fl_http_server_port(server), context);
    fl_tls_context_unref(context);
    if (fl_tls_state(client->tls) != FL_TLS_OPEN)
        fail_msg("%s", fl_tls_error(client->tls));
}

static void ask(struct http_client *client, const char *answer, size_t count)
{
    assert_true(http_client_send_str(client, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
    if (!http_client_wait(client, answer, count, 5))
        fail_msg("not %s: %.*s", answer, FL_SPAN_ARG(fl_buf_span(&client->received)));
}

#define GOOD "<2||kube-apiserver,"

static void certificates_are_judged(void **state)
{
    (void)state;
    const struct {
        const struct identity *identity;
        const char *answer;
    } rows[] = {
        {NULL, "<0||>"},
        {&good, GOOD},
        {&stranger, "<1|the client's certificate is not of a root that is trusted|>"},
        {&expired, "<1|the client's certificate is expired|>"},
        {&early, "<1|the client's certificate is not valid yet|>"},
        {&of_servers, "<1|the client's certificate is not for clients|>"},
    };
    start(true);
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct http_client client;
        open_as(&client, rows[i].identity, 0);
        ask(&client, rows[i].answer, 1);
        ask(&client, rows[i].answer, 2);
        http_client_close(&client);
    }
    struct http_client client;
    open_as(&client, &good, 0);
    ask(&client, "spiffe://cluster.local/ns/a/sa/b,", 1);
    assert_true(http_client_has(&client, "api.example,"));
    http_client_close(&client);
    stop();
}

static void nobody_is_asked(void **state)
{
    (void)state;
    struct http_client client;
    struct fl_buf pem;
    start(false);
    open_as(&client, &good, 0);
    ask(&client, "<0||>", 1);
    http_client_close(&client);
    assert_int_equal(fl_http_server_set_client_roots(server, pem_of_cert(ours.root, &pem), NULL), -EINVAL);
    fl_buf_done(&pem);
    stop();
}

/* On a connection that is open, too. */
static void roots_are_replaced_live(void **state)
{
    (void)state;
    struct http_client one, other;
    struct fl_buf pem, leaf;
    struct fl_err err = {0};
    start(true);
    open_as(&one, &good, 0);
    open_as(&other, &stranger, 0);
    ask(&one, GOOD, 1);
    ask(&other, "<1|", 1);
    assert_int_equal(fl_http_server_set_client_roots(server, pem_of_cert(theirs.root, &pem), &err), 0);
    ask(&one, "<1|", 1);
    ask(&other, "<2||", 1);
    assert_int_equal(fl_http_server_set_client_roots(server, FL_SPAN("nonsense"), &err), -EINVAL);
    assert_int_equal(fl_http_server_set_client_roots(server, pem_of_cert(good.cert, &leaf), &err), -EINVAL);
    fl_buf_done(&leaf);
    pem_of_cert(good.cert, &leaf);
    ask(&other, "<2||", 2); /* the last good ones still count */
    http_client_close(&one);
    http_client_close(&other);
    fl_buf_done(&pem);
    fl_buf_done(&leaf);
    stop();
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(certificates_are_judged),
        cmocka_unit_test(nobody_is_asked),
        cmocka_unit_test(roots_are_replaced_live),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
