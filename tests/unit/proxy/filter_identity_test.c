/* proxy/filter over real handshakes: an endpoint's pinned identity, and certificates and roots that change under load.
 */
#include "common/tls/session.h"
#include "tests/unit/common/authority.h"
#include "tests/unit/proxy/filter_fixture.h"

#include "common/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>

#include <cmocka.h>

#define A   "spiffe://cluster.local/ns/demo/sa/a"
#define B   "spiffe://cluster.local/ns/demo/sa/b"
#define OUR "spiffe://cluster.local/ns/demo/sa/client"
#define GET "GET / HTTP/1.1\r\nhost: a\r\n\r\n"
#define OK  "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"

static struct authority ours, other;
static struct identity a, b, client_before, client_after, foreign;
static int log_fd;
/* The TLS settings of snapshots: what the cluster dials with, what the listener answers with. */
static const struct proxy_slot cluster_tls = {.index = 0, .kind = PROXY_SLOT_TLS},
                               listener_tls = {.index = 1, .kind = PROXY_SLOT_TLS};

static void issue_until(const char *uri, time_t not_after, struct identity *ret_identity)
{
    const struct fl_cert_request request = {
        .uri = fl_span_str(uri), .not_before = time(NULL) - 3600, .not_after = not_after};
    authority_issue_request(&ours, &request, ret_identity);
}

static int set_up(void **state)
{
    (void)state;
    authority_init(&ours, "our root");
    authority_init(&other, "another root");
    authority_issue(&ours, A, NULL, &a);
    authority_issue(&ours, B, NULL, &b);
    authority_issue(&other, A, NULL, &foreign);
    issue_until(OUR, time(NULL) + 3600, &client_before);
    issue_until(OUR, time(NULL) + 7200, &client_after);
    log_fd = memfd_create("log", MFD_CLOEXEC);
    fl_log_open("test", log_fd, FL_LOG_JSON, FL_LOG_WARNING);
    return log_fd < 0;
}

static int tear_down(void **state)
{
    (void)state;
    identity_done(&a);
    identity_done(&b);
    identity_done(&foreign);
    identity_done(&client_before);
    identity_done(&client_after);
    authority_done(&ours);
    authority_done(&other);
    close(log_fd);
    return 0;
}

/* What was logged since it was asked last. */
static const char *logged(void)
{
    static char text[65536];
    ssize_t len = pread(log_fd, text, sizeof(text) - 1, 0);
    assert_true(len >= 0);
    text[len] = '\0';
    assert_int_equal(ftruncate(log_fd, 0), 0);
    assert_int_equal(lseek(log_fd, 0, SEEK_SET), 0);
    return text;
}

/* -- the test's end of a TLS connection -- */

struct peer {
    struct side side;
    struct fl_tls *tls;
    char plain[65536]; /* the application's bytes, NUL-terminated */
    size_t len;
    bool failed;
};

static int peer_send(void *owner, struct fl_span bytes)
{
    const struct peer *peer = owner;
    for (size_t at = 0; at < bytes.len;) {
        ssize_t done = send(peer->side.fd, bytes.data + at, bytes.len - at, MSG_NOSIGNAL);
        if (done < 0)
            return 0; /* the other side has gone: that is looked at */
        at += (size_t)done;
    }
    return 0;
}

static int peer_receive(void *owner, struct fl_span bytes)
{
    struct peer *peer = owner;
    assert_true(bytes.len < sizeof(peer->plain) - peer->len);
    memcpy(peer->plain + peer->len, bytes.data, bytes.len);
    peer->len += bytes.len;
    peer->plain[peer->len] = '\0';
    return 0;
}

static struct peer *peer_new(struct side side, struct fl_tls_context *context)
{
    struct peer *peer = calloc(1, sizeof(*peer));
    assert_non_null(peer);
    peer->side = side;
    const struct fl_tls_sinks sinks = {.send = peer_send, .receive = peer_receive, .owner = peer};
    assert_int_equal(fl_tls_new(context, &sinks, &peer->tls), 0);
    assert_int_equal(fl_tls_start(peer->tls), 0);
    return peer;
}

static void peer_free(struct peer *peer)
{
    fl_tls_free(peer->tls);
    side_done(&peer->side);
    free(peer);
}

/* Runs, and takes in what is there. */
static void peer_hear(struct fixture *f, struct peer *peer)
{
    side_hear(f, &peer->side);
    size_t len = peer->side.len;
    peer->side.len = 0;
    if (len > 0 && !peer->failed)
        peer->failed = fl_tls_feed(peer->tls, fl_span_make(peer->side.text, len)) < 0;
}

static void peer_say(struct fixture *f, struct peer *peer, const char *text)
{
    FIXTURE_UNTIL(f, (peer_hear(f, peer), fl_tls_state(peer->tls) == FL_TLS_OPEN));
    assert_int_equal(fl_tls_write(peer->tls, fl_span_str(text)), 0);
    fixture_run(f);
}

static void peer_expect(struct fixture *f, struct peer *peer, const char *text)
{
    FIXTURE_UNTIL(f, (peer_hear(f, peer), peer->len >= strlen(text)));
    assert_int_equal(strncmp(peer->plain, text, strlen(text)), 0);
    peer->len = 0;
}

static void peer_hear_end(struct fixture *f, struct peer *peer)
{
    FIXTURE_UNTIL(f, (peer_hear(f, peer), peer->side.ended || peer->side.reset || peer->failed));
}

static int64_t peer_until(const struct peer *peer)
{
    int64_t not_before = 0, not_after = 0;
    assert_true(fl_tls_peer_validity(peer->tls, &not_before, &not_after));
    return not_after;
}

/* -- contexts -- */

static struct fl_tls_context *context(bool server, const struct identity *identity, struct fl_bundle *bundle,
                                      const struct fl_tls_name_match *names)
{
    const struct fl_tls_options options = {.server = server,
                                           .cert = identity->cert,
                                           .key = identity->key,
                                           .bundle = bundle,
                                           .require_peer_cert = server,
                                           .require_spiffe = true,
                                           .names = names,
                                           .name_count = names != NULL};
    struct fl_tls_context *made = NULL;
    struct fl_err err = {0};
    if (fl_tls_context_new(&options, &made, &err) < 0)
        fail_msg("%s", err.text);
    return made;
}

static void release_context(void *tls)
{
    fl_tls_context_unref(tls);
}

/* What the settings lead to in the fixture's snapshot, which takes them over. */
static void put_contexts(struct fixture *f, struct fl_tls_context *upstream, struct fl_tls_context *downstream)
{
    struct fl_tls_context **table = fl_arena_array(&f->snapshot->unit.arena, 2, sizeof(*table));
    table[0] = upstream;
    table[1] = downstream;
    f->snapshot->tls = table;
    f->snapshot->tls_slots = 2;
    for (size_t i = 0; i < 2; i++)
        if (table[i] != NULL)
            assert_int_equal(proxy_unit_hold(&f->snapshot->unit, table[i], release_context), 0);
}

/* -- pinned identities -- */

static const struct pinned {
    const char *what, *names, *pinned; /* NULL: any name, no pin */
    bool prefix;                       /* `names` is one */
    const struct identity *shows;
    bool good;
} pinned[] = {
    {"shows the pinned one", "spiffe://cluster.local/", A, true, &a, true},
    {"no pin: whom the list allows", "spiffe://cluster.local/", NULL, true, &b, true},
    {"the list allows it, the pin does not", "spiffe://cluster.local/", A, true, &b, false},
    {"no list, the pin does not", NULL, A, false, &b, false},
    {"the pin allows it, the list does not", B, A, false, &a, false},
    {"neither allows it", A, A, false, &b, false},
    {"a list of that one alone, the pin does not", B, A, false, &b, false},
    {"a pin that the shown one begins with", NULL, "spiffe://cluster.local/ns/demo/sa/", false, &a, false},
    {"the right name under another root", NULL, A, false, &foreign, false},
};

static const struct pinned *row;

static void pin(struct fixture *f)
{
    struct proxy_endpoint *endpoint = fl_arena_alloc(&f->snapshot->unit.arena, sizeof(*endpoint));
    *endpoint = f->cluster->own.list[0];
    endpoint->identity = row->pinned != NULL ? fl_span_str(row->pinned) : (struct fl_span){NULL, 0};
    f->cluster->own.list = endpoint;
    f->cluster->tls = &cluster_tls;
    const struct fl_tls_name_match names = {.kind = FL_TLS_NAME_URI,
                                            .match = row->prefix ? FL_TLS_MATCH_PREFIX : FL_TLS_MATCH_EXACT,
                                            .value = row->names != NULL ? fl_span_str(row->names) : FL_SPAN("-")};
    put_contexts(f, context(false, &client_before, ours.bundle, row->names != NULL ? &names : NULL), NULL);
}

static void check_refused(struct fixture *f, struct side *client, struct peer *origin, bool http)
{
    peer_hear_end(f, origin);
    assert_int_equal(origin->len, 0); /* not one byte of the application's */
    if (http)
        side_expect_start(f, client, "HTTP/1.1 503");
    else
        side_hear_end(f, client);
    const char *reason = row->shows == &foreign ? "untrusted" : "identity";
    char label[64];
    snprintf(label, sizeof(label), "side=\"upstream\",reason=\"%s\"", reason);
    assert_true(fixture_metric_of(f, "fairlead_tls_handshake_failures_total", label) == 1);
    snprintf(label, sizeof(label), "\"reason\":\"%s\"", reason);
    const char *log = logged();
    if (strstr(log, "upstream connection failed") == NULL || strstr(log, label) == NULL)
        fail_msg("%s: logged %s", row->what, log);
}

static void check_pinned(bool http)
{
    struct fixture f;
    fixture_init_with(&f, http, pin);
    (void)logged();
    FL_CLEANUP(fl_cleanup_tls_context)
    struct fl_tls_context *server = context(true, row->shows, ours.bundle, NULL);
    struct side client = fixture_client(&f);
    side_say(&f, &client, GET);
    struct peer *origin = peer_new(fixture_origin(&f), server);
    if (row->good) {
        peer_expect(&f, origin, "GET /");
        peer_say(&f, origin, OK);
        side_expect(&f, &client, OK);
    } else {
        check_refused(&f, &client, origin, http);
    }
    peer_free(origin);
    side_done(&client);
    fixture_done(&f);
}

static void nobody_but_the_pinned_identity_is_spoken_to(void **state)
{
    (void)state;
    for (size_t i = 0; i < FL_COUNT(pinned); i++) {
        row = &pinned[i];
        check_pinned(true);
        check_pinned(false);
    }
}

/* -- two endpoints of one cluster -- */

static int second_origin;

static void pin_two(struct fixture *f)
{
    struct proxy_endpoint *endpoints = fl_arena_array(&f->snapshot->unit.arena, 2, sizeof(*endpoints));
    endpoints[0] = endpoints[1] = f->cluster->own.list[0];
    second_origin = fixture_listen(&endpoints[1].address);
    endpoints[0].identity = FL_SPAN(A);
    endpoints[1].identity = FL_SPAN(B);
    f->cluster->own.list = endpoints;
    f->cluster->own.count = 2;
    f->cluster->tls = &cluster_tls;
    f->cluster->max_requests_per_connection = 1;
    put_contexts(f, context(false, &client_before, ours.bundle, NULL), NULL);
}

static bool waits(int origin)
{
    int fd = accept4(origin, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return false;
    close(fd);
    return true;
}

/* A request that goes to one of the two; whether it was answered. */
static bool ask_either(struct fixture *f, const struct identity *first, const struct identity *second)
{
    int fd = -1, origin = -1;
    struct side client = fixture_client(f);
    side_say(f, &client, GET);
    FIXTURE_UNTIL(f, (fd = accept4(origin = f->origin, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0 ||
                         (fd = accept4(origin = second_origin, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0);
    assert_int_equal(fcntl(fd, F_SETFL, 0), 0);
    FL_CLEANUP(fl_cleanup_tls_context)
    struct fl_tls_context *server = context(true, origin == f->origin ? first : second, ours.bundle, NULL);
    struct peer *peer = peer_new(fixture_side(fd), server);
    FIXTURE_UNTIL(f, (peer_hear(f, peer), peer->len > 0 || peer->side.ended || peer->side.reset || peer->failed));
    bool spoken = peer->len > 0;
    if (spoken) {
        peer_say(f, peer, OK);
        side_expect_start(f, &client, "HTTP/1.1 200");
    } else {
        side_expect_start(f, &client, "HTTP/1.1 503");
    }
    peer_free(peer);
    side_done(&client);
    return spoken;
}

static void each_endpoint_has_an_identity_of_its_own(void **state)
{
    (void)state;
    const struct {
        const struct identity *first, *second;
        unsigned answered; /* of four requests, in turn */
    } rows[] = {{&a, &b, 4}, {&b, &a, 0}, {&a, &a, 2}, {&b, &b, 2}};
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct fixture f;
        unsigned answered = 0;
        fixture_init_with(&f, true, pin_two);
        for (int k = 0; k < 4; k++)
            answered += ask_either(&f, rows[i].first, rows[i].second);
        assert_int_equal(answered, rows[i].answered);
        assert_false(waits(f.origin) || waits(second_origin));
        fixture_done(&f);
        close(second_origin);
    }
}

/* -- an identity, and no TLS for it -- */

static void pin_in_plaintext(struct fixture *f)
{
    static const struct proxy_transport_match plain = {.name = FL_SPAN("plain")}; /* fits every endpoint */
    struct proxy_endpoint *endpoint = fl_arena_alloc(&f->snapshot->unit.arena, sizeof(*endpoint));
    *endpoint = f->cluster->own.list[0];
    endpoint->identity = FL_SPAN(A);
    f->cluster->own.list = endpoint;
    f->cluster->tls = &cluster_tls;
    f->cluster->matches = &plain;
    f->cluster->match_count = 1;
    put_contexts(f, context(false, &client_before, ours.bundle, NULL), NULL);
}

static void an_identity_is_never_dialled_in_plaintext(void **state)
{
    (void)state;
    for (int http = 0; http <= 1; http++) {
        struct fixture f;
        fixture_init_with(&f, http, pin_in_plaintext);
        (void)logged();
        struct side client = fixture_client(&f);
        side_say(&f, &client, GET);
        if (http)
            side_expect_start(&f, &client, "HTTP/1.1 503");
        else
            side_hear_end(&f, &client);
        assert_false(fixture_origin_waits(&f));
        assert_true(fixture_metric_of(&f, "fairlead_upstream_connect_failures_total", "reason=\"no_tls\"") == 1);
        assert_non_null(strstr(logged(), "\"reason\":\"no_tls\""));
        side_done(&client);
        fixture_done(&f);
    }
}

/* -- rotation -- */

#define CLIENTS  4
#define REQUESTS 3 /* of each client with each certificate */

static void meshed_both_sides(struct fixture *f)
{
    f->cluster->tls = &cluster_tls;
    put_contexts(f, context(false, &client_before, ours.bundle, NULL),
                 context(true, &client_before, ours.bundle, NULL));
}

static void apply(struct fixture *f)
{
    assert_int_equal(proxy_data_apply(&f->data, f->snapshot), 0);
    fixture_run(f);
}

/* The chain of a listener, which the fixture makes after its change. */
static void answer_with_tls(struct fixture *f)
{
    fixture_next(f);
    struct proxy_filter_chain *chain = fl_arena_alloc(&f->snapshot->unit.arena, sizeof(*chain));
    *chain = *f->listener->default_chain;
    chain->tls = &listener_tls;
    chain->tls_handshake_timeout_ms = 15000;
    f->listener->default_chain = chain;
}

/* A client's request through both sides; *origin is made where the request comes over a new connection. */
static void ask(struct fixture *f, struct peer *client, struct peer **origin, struct fl_tls_context *server)
{
    peer_say(f, client, GET);
    if (*origin != NULL) {
        peer_hear(f, *origin);
        if ((*origin)->len == 0 && fixture_origin_waits(f)) {
            peer_free(*origin);
            *origin = NULL;
        }
    }
    if (*origin == NULL)
        *origin = peer_new(fixture_origin(f), server);
    peer_expect(f, *origin, "GET /");
    peer_say(f, *origin, OK);
    peer_expect(f, client, OK);
}

static void certificates_change_under_load(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init_with(&f, true, meshed_both_sides);
    answer_with_tls(&f);
    put_contexts(&f, context(false, &client_before, ours.bundle, NULL),
                 context(true, &client_before, ours.bundle, NULL));
    apply(&f);
    FL_CLEANUP(fl_cleanup_tls_context) struct fl_tls_context *server = context(true, &a, ours.bundle, NULL);
    FL_CLEANUP(fl_cleanup_tls_context) struct fl_tls_context *caller = context(false, &b, ours.bundle, NULL);
    struct peer *clients[CLIENTS], *origins[CLIENTS] = {NULL};
    for (size_t i = 0; i < CLIENTS; i++) /* each has a connection of its own: requests are under way side by side */
        clients[i] = peer_new(fixture_client(&f), caller);
    for (size_t i = 0; i < CLIENTS; i++) {
        peer_say(&f, clients[i], GET);
        origins[i] = peer_new(fixture_origin(&f), server);
        peer_expect(&f, origins[i], "GET /");
    }
    int64_t before = peer_until(origins[0]), shown = peer_until(clients[0]);

    fixture_next(&f); /* default and ROOTCA are others, in the middle of requests */
    put_contexts(&f, context(false, &client_after, ours.bundle, NULL), context(true, &client_after, ours.bundle, NULL));
    apply(&f);
    for (size_t i = 0; i < CLIENTS; i++) { /* they end as they began */
        peer_say(&f, origins[i], OK);
        peer_expect(&f, clients[i], OK);
        assert_true(peer_until(origins[i]) == before);
    }
    ask(&f, clients[0], &origins[0], server); /* the next one: over a new connection, with the new certificate */
    assert_true(peer_until(origins[0]) > before);
    for (size_t i = 1; i < CLIENTS; i++) { /* none of the old is used again */
        peer_hear_end(&f, origins[i]);
        assert_int_equal(origins[i]->len, 0);
        peer_free(fl_take(origins[i]));
    }
    for (int k = 0; k < CLIENTS * REQUESTS; k++) /* all live on, on the connections that they have */
        ask(&f, clients[k % CLIENTS], &origins[0], server);
    struct peer *late = peer_new(fixture_client(&f), caller);
    ask(&f, late, &origins[0], server);
    assert_true(peer_until(clients[0]) == shown && peer_until(late) > shown);
    assert_true(fixture_metric_of(&f, "istio_requests_total", "response_code=\"200\"") ==
                CLIENTS + 1 + CLIENTS * REQUESTS + 1);
    assert_true(fixture_metric(&f, "istio_requests_total") ==
                fixture_metric_of(&f, "istio_requests_total", "response_code=\"200\""));
    assert_true(fixture_metric(&f, "fairlead_tls_handshake_failures_total") == 0);
    peer_free(late);
    peer_free(origins[0]);
    for (size_t i = 0; i < CLIENTS; i++)
        peer_free(clients[i]);
    fixture_done(&f);
}

static void nobody_of_a_root_that_went_comes_back(void **state)
{
    (void)state;
    struct fixture f;
    struct fl_bundle *both = authority_bundle_of(&ours, &other);
    fixture_init_with(&f, true, meshed_both_sides);
    answer_with_tls(&f);
    put_contexts(&f, context(false, &client_before, both, NULL), context(true, &client_before, both, NULL));
    apply(&f);
    FL_CLEANUP(fl_cleanup_tls_context) struct fl_tls_context *server = context(true, &foreign, both, NULL);
    FL_CLEANUP(fl_cleanup_tls_context) struct fl_tls_context *stranger = context(false, &foreign, both, NULL);
    FL_CLEANUP(fl_cleanup_tls_context) struct fl_tls_context *caller = context(false, &b, both, NULL);
    struct peer *origin = NULL, *client = peer_new(fixture_client(&f), caller);
    struct peer *old = peer_new(fixture_client(&f), stranger);
    ask(&f, client, &origin, server);
    ask(&f, old, &origin, server);

    fixture_next(&f);
    put_contexts(&f, context(false, &client_before, ours.bundle, NULL),
                 context(true, &client_before, ours.bundle, NULL));
    apply(&f);
    peer_say(&f, client, GET); /* the idle connection to the origin is of the root that went */
    struct peer *again = peer_new(fixture_origin(&f), server);
    peer_hear_end(&f, again);
    peer_hear_end(&f, origin);
    assert_int_equal(again->len + origin->len, 0);
    peer_expect(&f, client, "HTTP/1.1 503");
    assert_true(
        fixture_metric_of(&f, "fairlead_tls_handshake_failures_total", "side=\"upstream\",reason=\"untrusted\"") == 1);

    struct peer *refused = peer_new(fixture_client(&f), stranger);
    peer_hear_end(&f, refused);
    assert_true(fixture_metric_of(&f, "fairlead_tls_handshake_failures_total",
                                  "side=\"downstream\",reason=\"untrusted\"") == 1);
    peer_free(refused);
    peer_free(again);
    peer_free(origin);
    peer_free(client);
    peer_free(old);
    fixture_done(&f);
    fl_bundle_unref(both);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_but_the_pinned_identity_is_spoken_to),
        cmocka_unit_test(each_endpoint_has_an_identity_of_its_own),
        cmocka_unit_test(an_identity_is_never_dialled_in_plaintext),
        cmocka_unit_test(certificates_change_under_load),
        cmocka_unit_test(nobody_of_a_root_that_went_comes_back),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
