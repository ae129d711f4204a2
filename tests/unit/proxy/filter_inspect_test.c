/* proxy/filter/inspect and early: who speaks first decides, nothing stalls, nothing is told too early. */
#include "proxy/filter/rbac.h"
#include "tests/support/fail.h"
#include "tests/unit/proxy/filter_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>

#include <cmocka.h>

#define LONG_MS 60000u /* a deadline that no test sees */
#define BANNER  "220 mail.example ready\r\n"
#define GET     "GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
#define MONGO   "\x3a\x00\x00\x01\xd4\x07\x00\x01"
#define ZEROS   "................................" /* 32 bytes of a random */

static const char settings[] = {0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 100};
static const char hello[] = "\x16\x03\x01\x00\x2d\x01\x00\x00\x29\x03\x03" ZEROS "\x00\x00\x02\x13\x01\x01\x00";

/* A port of which nothing is said: HTTP by its bytes, else TCP. */
struct world {
    struct fixture f;
    struct proxy_filter_chain chains[2];
};

static const struct fl_span http[] = {FL_SPAN("http/1.0"), FL_SPAN("http/1.1"), FL_SPAN("h2c")};

static void open_world(struct world *w, uint64_t deadline_ms)
{
    memset(w, 0, sizeof(*w));
    fixture_init(&w->f, false);
    w->chains[0] = (struct proxy_filter_chain){
        .match = {.application_protocols = http, .application_protocol_count = FL_COUNT(http)},
        .kind = PROXY_FILTER_HTTP,
        .http = w->f.hcm};
    w->f.listener->chains = w->chains;
    w->f.listener->chain_count = 1;
    w->f.listener->http_inspector = true;
    w->f.listener->continue_on_timeout = true;
    w->f.listener->inspect_timeout_ms = deadline_ms;
}

static const struct proxy_address *destination(const struct world *w)
{
    return &w->f.listener->address;
}

static bool is_learned(struct world *w)
{
    return proxy_learned_has(&w->f.data.learned, destination(w), fl_loop_now_ms(w->f.loop));
}

static void a_server_that_speaks_first_ends_the_waiting(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, LONG_MS);
    for (int i = 0; i < 2; i++) { /* the second time it is known */
        struct side client = fixture_client(&w.f), origin = fixture_origin(&w.f);
        side_say(&w.f, &origin, BANNER);
        side_expect(&w.f, &client, BANNER);
        side_say(&w.f, &client, "EHLO a\r\n");
        side_expect(&w.f, &origin, "EHLO a\r\n");
        assert_true(is_learned(&w));
        side_end(&client);
        side_hear_end(&w.f, &origin);
        side_end(&origin);
        side_hear_end(&w.f, &client);
        side_done(&client);
        side_done(&origin);
    }
    fixture_run(&w.f);
    assert_int_equal(w.f.data.downstream_count, 0);
    assert_int_equal(w.f.data.turn.connections, 0);
    assert_true(fixture_metric(&w.f, "istio_tcp_connections_opened_total") == 2);
    fixture_done(&w.f);
}

static void a_client_that_speaks_http_is_http_however_late(void **state)
{
    (void)state;
    for (int late = 0; late < 2; late++) {
        struct world w;
        open_world(&w, late ? 50 : LONG_MS);
        struct side client = fixture_client(&w.f), early = fixture_origin(&w.f);
        if (late)
            FIXTURE_UNTIL(&w.f, w.f.data.downstreams->overdue);
        side_say(&w.f, &client, GET);
        struct side origin = fixture_origin(&w.f);
        side_expect_start(&w.f, &origin, "GET /x HTTP/1.1\r\n");
        side_say(&w.f, &origin, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        side_expect_start(&w.f, &client, "HTTP/1.1 200 OK\r\n");
        side_hear_end(&w.f, &early);
        assert_int_equal(early.len, 0);
        assert_false(is_learned(&w));
        side_done(&client);
        side_done(&origin);
        side_done(&early);
        fixture_done(&w.f);
    }
}

/* What was learned is forgotten by the first client that proves it wrong, who is HTTP all the same. */
static void memory_does_not_choose(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, LONG_MS);
    proxy_learned_note(&w.f.data.learned, destination(&w), fl_loop_now_ms(w.f.loop));
    struct side client = fixture_client(&w.f), early = fixture_origin(&w.f);
    assert_true(is_learned(&w));
    side_say(&w.f, &client, GET);
    struct side origin = fixture_origin(&w.f);
    side_expect_start(&w.f, &origin, "GET /x HTTP/1.1\r\n");
    assert_false(is_learned(&w));
    side_done(&client);
    side_done(&origin);
    side_done(&early);
    fixture_done(&w.f);
}

static void other_bytes_of_the_client_go_where_it_was_dialled(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, LONG_MS);
    struct side client = fixture_client(&w.f), origin = fixture_origin(&w.f);
    side_say_bytes(&w.f, &client, MONGO, sizeof(MONGO) - 1);
    FIXTURE_UNTIL(&w.f, (side_hear(&w.f, &origin), origin.len == sizeof(MONGO) - 1));
    assert_memory_equal(origin.text, MONGO, sizeof(MONGO) - 1);
    assert_false(fixture_origin_waits(&w.f)); /* no second connection */
    side_done(&client);
    side_done(&origin);
    fixture_done(&w.f);
}

/* One byte after the other: nothing is dialled for whom speaks, nothing is decided before it can be. */
static void trickled_bytes_wait(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, LONG_MS);
    struct side client = fixture_client(&w.f);
    for (size_t i = 0; i < sizeof(GET) - 1; i++) {
        side_say_bytes(&w.f, &client, &GET[i], 1);
        if (i < 4) {
            fixture_wait(&w.f, PROXY_DOWNSTREAM_SILENCE_MS * 2);
            assert_false(fixture_origin_waits(&w.f));
        }
    }
    struct side origin = fixture_origin(&w.f);
    side_expect_start(&w.f, &origin, "GET /x HTTP/1.1\r\n");
    side_done(&client);
    side_done(&origin);
    fixture_done(&w.f);
}

/* The deadline counts for a client that goes on and on without saying what it is. */
static void trickled_bytes_have_a_deadline(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, 100);
    struct side client = fixture_client(&w.f);
    side_say(&w.f, &client, "GET /");
    FIXTURE_UNTIL(&w.f, (send(client.fd, "x", 1, MSG_DONTWAIT) == 1 || true) && fixture_origin_waits(&w.f));
    struct side origin = fixture_origin(&w.f);
    side_expect_start(&w.f, &origin, "GET /");
    side_done(&client);
    side_done(&origin);
    fixture_done(&w.f);
}

/* A server of HTTP/2 says its SETTINGS unasked: that is no other protocol. */
static void settings_decide_nothing(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, LONG_MS);
    struct side client = fixture_client(&w.f), early = fixture_origin(&w.f);
    side_say_bytes(&w.f, &early, settings, sizeof(settings));
    fixture_wait(&w.f, 30);
    assert_null(w.f.data.downstreams->chain);
    side_say(&w.f, &client, GET);
    struct side origin = fixture_origin(&w.f);
    side_expect_start(&w.f, &origin, "GET /x HTTP/1.1\r\n");
    side_done(&client);
    side_done(&origin);
    side_done(&early);
    fixture_done(&w.f);
}

static void settings_are_passed_on_at_the_deadline(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, 50);
    struct side client = fixture_client(&w.f), origin = fixture_origin(&w.f);
    side_say_bytes(&w.f, &origin, settings, sizeof(settings));
    FIXTURE_UNTIL(&w.f, (side_hear(&w.f, &client), client.len == sizeof(settings)));
    assert_memory_equal(client.text, settings, sizeof(settings));
    side_done(&client);
    side_done(&origin);
    fixture_done(&w.f);
}

static void an_end_is_passed_on(void **state)
{
    (void)state;
    for (int by_client = 0; by_client < 2; by_client++) {
        struct world w;
        open_world(&w, LONG_MS);
        struct side client = fixture_client(&w.f), origin = fixture_origin(&w.f);
        side_end(by_client ? &client : &origin);
        side_hear_end(&w.f, by_client ? &origin : &client);
        side_end(by_client ? &origin : &client);
        FIXTURE_UNTIL(&w.f, w.f.data.downstream_count == 0);
        assert_true(fixture_metric(&w.f, "istio_tcp_connections_closed_total") == 1);
        side_done(&client);
        side_done(&origin);
        fixture_done(&w.f);
    }
}

static void a_client_that_goes_takes_it_along(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, LONG_MS);
    struct side client = fixture_client(&w.f), origin = fixture_origin(&w.f);
    side_abort(&client);
    side_hear_end(&w.f, &origin);
    FIXTURE_UNTIL(&w.f, w.f.data.downstream_count == 0 && w.f.data.turn.connections == 0);
    side_done(&client);
    side_done(&origin);
    fixture_done(&w.f);
}

/* Whether silence is fine says the configuration. */
static void nobody_is_dialled_where_silence_is_an_error(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, 60);
    w.f.listener->continue_on_timeout = false;
    struct side client = fixture_client(&w.f);
    side_hear_end(&w.f, &client);
    assert_true(client.reset);
    assert_false(fixture_origin_waits(&w.f));
    assert_true(fixture_metric_of(&w.f, "fairlead_connections_refused_total", "detect_timeout") == 1);
    side_done(&client);
    fixture_done(&w.f);
}

/* -- where TLS is looked for: a stranger's first bytes decide, the server's wait -- */

static void open_inbound(struct world *w, uint64_t deadline_ms)
{
    open_world(w, deadline_ms);
    w->f.listener->tls_inspector = true;
    w->f.listener->direction = PROXY_INBOUND;
    w->chains[1] = (struct proxy_filter_chain){
        .match = {.transport = PROXY_TRANSPORT_TLS}, .kind = PROXY_FILTER_TCP, .tcp = w->f.tcp};
    w->f.listener->chain_count = 2;
}

static double detections(const struct world *w, const char *result)
{
    return fixture_metric_of(&w->f, "fairlead_detections_total", result);
}

/* The listener looks for TLS, but not for what goes to this port. */
static void a_port_without_tls_hears_the_server(void **state)
{
    (void)state;
    struct world w;
    open_inbound(&w, LONG_MS);
    uint16_t port = proxy_address_port(destination(&w));
    w.chains[0].match.destination_port = port;
    w.chains[1].match.destination_port = (uint16_t)(port ^ 1);
    struct side client = fixture_client(&w.f), origin = fixture_origin(&w.f);
    side_say(&w.f, &origin, BANNER);
    side_expect(&w.f, &client, BANNER);
    assert_true(detections(&w, "server_first") == 1);
    side_done(&client);
    side_done(&origin);
    fixture_done(&w.f);
}

static void hear_nothing(struct world *w, struct side *client)
{
    fixture_wait(&w->f, 30);
    side_hear(&w->f, client);
    assert_int_equal(client->len, 0);
    assert_false(client->ended || client->reset);
}

static void a_servers_bytes_are_held_until_the_deadline(void **state)
{
    (void)state;
    struct world w;
    open_inbound(&w, 300);
    struct side client = fixture_client(&w.f), origin = fixture_origin(&w.f);
    side_say(&w.f, &origin, BANNER);
    hear_nothing(&w, &client);
    side_expect(&w.f, &client, BANNER);
    assert_true(detections(&w, "deadline") == 1);
    assert_false(is_learned(&w));
    side_done(&client);
    side_done(&origin);
    fixture_done(&w.f);
}

static void a_servers_bytes_are_held_until_the_client_speaks(void **state)
{
    (void)state;
    struct world w;
    open_inbound(&w, LONG_MS);
    struct side client = fixture_client(&w.f), origin = fixture_origin(&w.f);
    side_say(&w.f, &origin, BANNER);
    hear_nothing(&w, &client);
    side_say(&w.f, &client, "EHLO a b\r\n"); /* may be HTTP until its end */
    side_expect(&w.f, &client, BANNER);
    side_expect(&w.f, &origin, "EHLO a b\r\n");
    side_done(&client);
    side_done(&origin);
    fixture_done(&w.f);
}

/* Foreign TLS passes to the same server; ours would have its handshake first. */
static void a_servers_bytes_are_held_until_the_hello_is_whole(void **state)
{
    (void)state;
    struct world w;
    open_inbound(&w, LONG_MS);
    struct side client = fixture_client(&w.f), origin = fixture_origin(&w.f);
    side_say(&w.f, &origin, BANNER);
    for (size_t i = 0; i < sizeof(hello) - 2; i++)
        side_say_bytes(&w.f, &client, &hello[i], 1);
    hear_nothing(&w, &client);
    side_say_bytes(&w.f, &client, &hello[sizeof(hello) - 2], 1);
    side_expect(&w.f, &client, BANNER);
    FIXTURE_UNTIL(&w.f, (side_hear(&w.f, &origin), origin.len == sizeof(hello) - 1));
    assert_memory_equal(origin.text, hello, sizeof(hello) - 1);
    side_done(&client);
    side_done(&origin);
    fixture_done(&w.f);
}

static void plaintext_may_be_refused_with_the_servers_bytes_held(void **state)
{
    (void)state;
    struct world w;
    open_inbound(&w, LONG_MS);
    w.chains[0].match.transport = PROXY_TRANSPORT_TLS;
    struct side client = fixture_client(&w.f), origin = fixture_origin(&w.f);
    side_say(&w.f, &origin, BANNER);
    hear_nothing(&w, &client);
    w.f.listener->default_chain = NULL; /* as if it had been so from the beginning */
    side_say(&w.f, &client, GET);
    side_hear_end(&w.f, &client);
    assert_true(client.reset);
    assert_int_equal(client.len, 0);
    side_hear_end(&w.f, &origin);
    side_done(&client);
    side_done(&origin);
    fixture_done(&w.f);
}

/* A server that floods fills its sockets, not our memory. */
static void what_is_held_is_bounded(void **state)
{
    (void)state;
    struct world w;
    open_inbound(&w, LONG_MS);
    struct side client = fixture_client(&w.f), origin = fixture_origin(&w.f);
    static char block[65536];
    size_t sent = 0;
    for (int stuck = 0; stuck < 50;) {
        ssize_t done = send(origin.fd, block, sizeof(block), MSG_DONTWAIT);
        fixture_run(&w.f);
        sent += done > 0 ? (size_t)done : 0;
        stuck = done > 0 ? 0 : stuck + 1;
        assert_int_equal(w.f.data.turn.pool.in_use, 0);
    }
    side_say(&w.f, &client, MONGO "\r\n");
    for (size_t got = 0; got < sent; client.len = 0) { /* all of it comes */
        side_hear(&w.f, &client);
        assert_false(client.ended || client.reset);
        got += client.len;
    }
    side_done(&client);
    side_done(&origin);
    fixture_done(&w.f);
}

/* -- what else may happen meanwhile -- */

static const struct proxy_rule any = {.kind = PROXY_RULE_ANY};
static const struct proxy_rbac_policy everybody = {.name = FL_SPAN("all"),
                                                   .details = "all",
                                                   .permissions = &any,
                                                   .permission_count = 1,
                                                   .principals = &any,
                                                   .principal_count = 1};
static const struct proxy_rbac deny_all = {PROXY_RBAC_DENY, &everybody, 1};
static const struct proxy_rbac_filter denied = {.rules = &deny_all};

static void nobody_is_dialled_for_whom_policies_deny(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, 60);
    struct proxy_filter_chain chain = *w.f.listener->default_chain;
    chain.rbacs = &denied;
    chain.rbac_count = 1;
    w.f.listener->default_chain = &chain;
    struct side client = fixture_client(&w.f);
    side_hear_end(&w.f, &client);
    assert_true(client.reset);
    assert_false(fixture_origin_waits(&w.f));
    assert_true(fixture_metric_of(&w.f, "fairlead_rbac_decisions_total", "denied") == 1);
    side_done(&client);
    fixture_done(&w.f);
}

static void no_server_is_told_when_the_client_has_spoken(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, LONG_MS);
    assert_int_equal(shutdown(w.f.origin, SHUT_RDWR), 0);
    struct side client = fixture_client(&w.f);
    FIXTURE_UNTIL(&w.f, fixture_metric(&w.f, "fairlead_upstream_connect_failures_total") == 1);
    side_say(&w.f, &client, GET);
    side_expect_start(&w.f, &client, "HTTP/1.1 503 ");
    side_done(&client);
    fixture_done(&w.f);
}

static void no_server_resets_the_silent_client_at_the_deadline(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, 100);
    assert_int_equal(shutdown(w.f.origin, SHUT_RDWR), 0);
    struct side client = fixture_client(&w.f);
    side_hear_end(&w.f, &client);
    assert_true(client.reset);
    side_done(&client);
    fixture_done(&w.f);
}

static void a_changed_listener_dials_anew(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, LONG_MS);
    struct side client = fixture_client(&w.f), before = fixture_origin(&w.f);
    fixture_next(&w.f);
    assert_int_equal(proxy_data_apply(&w.f.data, w.f.snapshot), 0);
    side_hear_end(&w.f, &before);
    struct side origin = fixture_origin(&w.f);
    side_say(&w.f, &origin, BANNER);
    side_expect(&w.f, &client, BANNER);
    side_done(&client);
    side_done(&before);
    side_done(&origin);
    fixture_done(&w.f);
}

/* From the client's silence on; the test's own memory is taken before. */
static void memory_runs_out(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, 100);
    for (size_t nth = 1, failed = 1; failed; nth++) {
        struct side client = fixture_client(&w.f);
        fail_at(nth);
        fixture_wait(&w.f, 3 * PROXY_DOWNSTREAM_SILENCE_MS);
        FL_CLEANUP(fl_cleanup_close)
        int origin = fixture_origin_waits(&w.f) ? accept4(w.f.origin, NULL, NULL, SOCK_CLOEXEC) : -1;
        if (origin >= 0)
            assert_int_equal(send(origin, BANNER, sizeof(BANNER) - 1, 0), sizeof(BANNER) - 1);
        side_hear(&w.f, &client);
        fail_stop();
        failed = fail_happened();
        if (!failed)
            side_expect(&w.f, &client, BANNER);
        if (!client.reset)
            side_abort(&client);
        side_done(&client);
        FIXTURE_UNTIL(&w.f, w.f.data.downstream_count == 0);
        while (fixture_origin_waits(&w.f)) /* those of this round, that nobody took */
            close(accept4(w.f.origin, NULL, NULL, SOCK_CLOEXEC));
        proxy_learned_done(&w.f.data.learned);
    }
    fixture_done(&w.f);
}

static void notes_end(void **state)
{
    (void)state;
    struct proxy_learned learned = {0};
    struct proxy_address one, other;
    assert_int_equal(proxy_address_parse(FL_SPAN("10.0.0.1"), 25, &one), 0);
    assert_int_equal(proxy_address_parse(FL_SPAN("fd00::1"), 25, &other), 0);
    assert_false(proxy_learned_has(&learned, &one, 1));
    proxy_learned_forget(&learned, &one);
    proxy_learned_note(&learned, &one, 1);
    assert_true(proxy_learned_has(&learned, &one, 1));
    assert_true(proxy_learned_has(&learned, &one, PROXY_LEARNED_MS));
    assert_false(proxy_learned_has(&learned, &one, PROXY_LEARNED_MS + 1));
    assert_false(proxy_learned_has(&learned, &other, 1));
    proxy_learned_forget(&learned, &one);
    assert_false(proxy_learned_has(&learned, &one, 1));
    proxy_learned_done(&learned);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_server_that_speaks_first_ends_the_waiting),
        cmocka_unit_test(a_client_that_speaks_http_is_http_however_late),
        cmocka_unit_test(memory_does_not_choose),
        cmocka_unit_test(other_bytes_of_the_client_go_where_it_was_dialled),
        cmocka_unit_test(trickled_bytes_wait),
        cmocka_unit_test(trickled_bytes_have_a_deadline),
        cmocka_unit_test(settings_decide_nothing),
        cmocka_unit_test(settings_are_passed_on_at_the_deadline),
        cmocka_unit_test(an_end_is_passed_on),
        cmocka_unit_test(a_client_that_goes_takes_it_along),
        cmocka_unit_test(nobody_is_dialled_where_silence_is_an_error),
        cmocka_unit_test(a_port_without_tls_hears_the_server),
        cmocka_unit_test(a_servers_bytes_are_held_until_the_deadline),
        cmocka_unit_test(a_servers_bytes_are_held_until_the_client_speaks),
        cmocka_unit_test(a_servers_bytes_are_held_until_the_hello_is_whole),
        cmocka_unit_test(plaintext_may_be_refused_with_the_servers_bytes_held),
        cmocka_unit_test(what_is_held_is_bounded),
        cmocka_unit_test(nobody_is_dialled_for_whom_policies_deny),
        cmocka_unit_test(no_server_is_told_when_the_client_has_spoken),
        cmocka_unit_test(no_server_resets_the_silent_client_at_the_deadline),
        cmocka_unit_test(a_changed_listener_dials_anew),
        cmocka_unit_test(memory_runs_out),
        cmocka_unit_test(notes_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
