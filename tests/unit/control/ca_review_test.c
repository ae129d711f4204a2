#include "common/base/base64.h"
#include "common/doc/json.h"
#include "common/http/listener.h"
#include "common/http/server.h"
#include "common/loop/timer.h"
#include "common/metrics/registry.h"
#include "control/ca/review.h"
#include "control/ca/reviews.h"
#include "control/ca/verdicts.h"
#include "tests/support/emulation.h"
#include "tests/support/fail.h"
#include "tests/support/guard.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define AUDIENCE "fairlead-ca"

/* --- what is asked, and what an answer means --- */

#define ANSWER(status) "{\"kind\":\"TokenReview\",\"apiVersion\":\"authentication.k8s.io/v1\",\"status\":" status "}"
#define USER(name, groups, extra)                                                                                      \
    "\"user\":{\"username\":\"" name "\",\"uid\":\"u\",\"groups\":[" groups "],\"extra\":{" extra "}}"
#define ALL_GROUPS "\"system:serviceaccounts\",\"system:serviceaccounts:shop\",\"system:authenticated\""
#define BOUND                                                                                                          \
    "\"authentication.kubernetes.io/pod-name\":[\"web-0\"],\"authentication.kubernetes.io/pod-uid\":[\"1-2-3\"]"
#define GOOD(extra)                                                                                                    \
    ANSWER("{\"authenticated\":true,\"audiences\":[\"" AUDIENCE                                                        \
           "\"]," USER("system:serviceaccount:shop:web", ALL_GROUPS, extra) "}")

static void what_an_answer_means(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        enum control_auth_outcome outcome;
        const char *pod;
    } rows[] = {
        {GOOD(BOUND), CONTROL_AUTH_OK, "web-0"},
        {GOOD(""), CONTROL_AUTH_OK, ""},
        {ANSWER("{\"authenticated\":false,\"error\":\"[invalid bearer token]\",\"user\":{}}"), CONTROL_AUTH_REFUSED,
         ""},
        {ANSWER("{\"user\":{}}"), CONTROL_AUTH_REFUSED, ""},
        {ANSWER("{\"authenticated\":\"true\"}"), CONTROL_AUTH_REFUSED, ""},
        /* An API server, or a webhook behind it, that does not know audiences. */
        {ANSWER("{\"authenticated\":true," USER("system:serviceaccount:shop:web", ALL_GROUPS, "") "}"),
         CONTROL_AUTH_AUDIENCE, ""},
        {ANSWER("{\"authenticated\":true,\"audiences\":[\"other\"]," USER("system:serviceaccount:shop:web", ALL_GROUPS,
                                                                          "") "}"),
         CONTROL_AUTH_AUDIENCE, ""},
        /* A person, also one whose name looks like a service account's. */
        {ANSWER("{\"authenticated\":true,\"audiences\":[\"" AUDIENCE "\"]," USER("alice", ALL_GROUPS, "") "}"),
         CONTROL_AUTH_SUBJECT, ""},
        {ANSWER("{\"authenticated\":true,\"audiences\":[\"" AUDIENCE
                "\"]," USER("system:serviceaccount:shop:web", "\"system:authenticated\"", "") "}"),
         CONTROL_AUTH_SUBJECT, ""},
        {ANSWER("{\"authenticated\":true,\"audiences\":[\"" AUDIENCE
                "\"]," USER("system:serviceaccount:shop:a/b", ALL_GROUPS, "") "}"),
         CONTROL_AUTH_SUBJECT, ""},
        {"", CONTROL_AUTH_UNAVAILABLE, ""},
        {"{}", CONTROL_AUTH_UNAVAILABLE, ""},
        {"{\"kind\":\"Status\",\"status\":\"Failure\"}", CONTROL_AUTH_UNAVAILABLE, ""},
        {"[true]", CONTROL_AUTH_UNAVAILABLE, ""},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct control_caller caller;
        struct fl_err err = {0};
        struct guard guard;
        guard_init(&guard, fl_span_str(rows[i].json));
        if (control_review_read(guard.span, AUDIENCE, &caller, &err) != rows[i].outcome)
            fail_msg("row %zu: %s", i, err.text);
        assert_string_equal(caller.pod, rows[i].pod);
        assert_string_equal(caller.service_account, rows[i].outcome == CONTROL_AUTH_OK ? "web" : "");
        guard_done(&guard);
    }
}

static void what_is_asked(void **state)
{
    (void)state;
    struct fl_buf out;
    fl_buf_init(&out, 4096);
    assert_int_equal(control_review_print(FL_SPAN("a.b\"c"), AUDIENCE, &out), 0);
    assert_string_equal(fl_buf_str(&out), "{\"apiVersion\":\"authentication.k8s.io/v1\",\"kind\":\"TokenReview\","
                                          "\"spec\":{\"token\":\"a.b\\\"c\",\"audiences\":[\"fairlead-ca\"]}}");
    fl_buf_done(&out);
}

/* --- what was said before --- */

static struct control_verdict verdict_of(enum control_auth_outcome outcome, uint64_t until_ms)
{
    return (struct control_verdict){.outcome = outcome, .until_ms = until_ms};
}

static void a_flood_of_bad_tokens_drives_no_good_one_out(void **state)
{
    (void)state;
    struct control_verdicts *verdicts;
    unsigned char digest[FL_DIGEST_SIZE] = {0}, good[FL_DIGEST_SIZE] = {1};
    const struct control_verdict ok = verdict_of(CONTROL_AUTH_OK, 1000), no = verdict_of(CONTROL_AUTH_REFUSED, 1000);
    assert_int_equal(control_verdicts_new(2, 3, &verdicts), 0);
    control_verdicts_put(verdicts, good, &ok);
    for (unsigned i = 0; i < 100; i++) {
        digest[1] = (unsigned char)i;
        control_verdicts_put(verdicts, digest, &no);
    }
    assert_int_equal(control_verdicts_count(verdicts), 4);
    assert_non_null(control_verdicts_get(verdicts, good, 999));
    assert_non_null(control_verdicts_get(verdicts, digest, 999));
    assert_null(control_verdicts_get(verdicts, good, 1000)); /* its time is over */
    control_verdicts_put(verdicts, digest, &ok);             /* it changes sides */
    assert_int_equal(control_verdicts_get(verdicts, digest, 1)->outcome, CONTROL_AUTH_OK);
    control_verdicts_drop(verdicts, digest);
    assert_null(control_verdicts_get(verdicts, digest, 1));
    control_verdicts_free(verdicts);
}

/* --- the authenticator, with an API server on its loop --- */

static struct {
    struct fl_loop *loop;
    struct fl_http_server *server;
    struct fl_kube_client *client;
    struct fl_metrics *metrics;
    struct control_authenticator *authenticator;
    unsigned asked;
    bool down, refuses;
    enum control_reviews_pod pod;
} api;

static void handle(void *owner, const struct fl_http_request *request, struct fl_http_response *response)
{
    (void)owner;
    assert_true(fl_span_eq_str(request->path, CONTROL_REVIEW_PATH));
    api.asked++;
    if (api.down)
        response->status = 503;
    else
        assert_int_equal(fl_buf_append_str(&response->body, api.refuses ? ANSWER("{\"error\":\"no\"}") : GOOD(BOUND)),
                         0);
}

static enum control_reviews_pod look_up(void *owner, const struct control_caller *caller)
{
    (void)owner;
    assert_string_equal(caller->pod_uid, "1-2-3");
    return api.pod;
}

static void make_authenticator(uint32_t rate)
{
    const struct control_reviews_options options = {.loop = api.loop,
                                                    .client = api.client,
                                                    .metrics = api.metrics,
                                                    .audience = AUDIENCE,
                                                    .rate = rate,
                                                    .look_up = look_up};
    assert_int_equal(control_reviews_new(&options, &api.authenticator), 0);
}

static int set_up(void **state)
{
    (void)state;
    struct fl_err err = {0};
    struct fl_kube_access access = {0};
    const struct fl_http_server_options options = {.address = FL_SPAN("127.0.0.1:0"),
                                                   .body_max = 1u << 16,
                                                   .response_max = 1u << 16,
                                                   .connections_max = 100,
                                                   .connections_per_address = 100,
                                                   .idle_seconds = 30,
                                                   .handle = handle};
    memset(&api, 0, sizeof(api));
    signal(SIGPIPE, SIG_IGN);
    assert_int_equal(fl_loop_new(&api.loop), 0);
    assert_int_equal(fl_metrics_new(&api.metrics), 0);
    if (fl_http_server_new(api.loop, &options, &api.server, &err) < 0)
        fail_msg("%s", err.text);
    assert_true(asprintf(&access.server, "http://127.0.0.1:%u", (unsigned)fl_http_server_port(api.server)) > 0);
    if (fl_kube_client_new(api.loop, &access, NULL, &api.client, &err) < 0)
        fail_msg("%s", err.text);
    make_authenticator(0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    api.authenticator = control_authenticator_free(api.authenticator);
    api.client = fl_kube_client_free(api.client);
    api.server = fl_http_server_free(api.server);
    api.metrics = fl_metrics_free(api.metrics);
    api.loop = fl_loop_free(api.loop);
    return 0;
}

struct ask { /* one caller */
    struct control_authentication authentication;
    enum control_auth_outcome outcome;
    struct control_caller caller;
    unsigned answers;
    struct ask *cancels; /* by the callback; NULL: none */
};

static void on_done(struct control_authentication *authentication, enum control_auth_outcome outcome,
                    const struct control_caller *caller)
{
    struct ask *ask = FL_CONTAINER_OF(authentication, struct ask, authentication);
    ask->outcome = outcome;
    ask->caller = *caller;
    ask->answers++;
    if (ask->cancels != NULL)
        control_authentication_cancel(&ask->cancels->authentication);
}

/* A token that says this of itself; `number` tells it from others. */
static void claim(const char *subject, const char *audience, int left_s, unsigned number, struct fl_buf *out)
{
    FL_CLEANUP(fl_buf_done) struct fl_buf claims;
    fl_buf_init(&claims, 1024);
    assert_int_equal(fl_buf_printf(&claims,
                                   "{\"iss\":\"https://kubernetes\",\"sub\":\"%s\",\"aud\":[\"%s\"],\"exp\":%lld}",
                                   subject, audience, (long long)time(NULL) + left_s),
                     0);
    assert_int_equal(fl_buf_append_str(out, "Bearer "), 0);
    assert_int_equal(fl_base64url_encode(FL_SPAN("{\"alg\":\"RS256\"}"), out), 0);
    assert_int_equal(fl_buf_append_byte(out, '.'), 0);
    assert_int_equal(fl_base64url_encode(fl_buf_span(&claims), out), 0);
    assert_int_equal(fl_buf_printf(out, ".c2ln%u", number), 0);
}

static void begin_token(struct ask *ask, const char *peer, const char *audience, int left_s, unsigned number)
{
    FL_CLEANUP(fl_buf_done) struct fl_buf text;
    fl_buf_init(&text, 4096);
    *ask = (struct ask){
        .authentication = {.on_done = on_done, .peer = fl_span_str(peer), .vouched = ask->authentication.vouched},
        .cancels = ask->cancels};
    claim("system:serviceaccount:shop:web", audience, left_s, number, &text);
    control_authenticate(api.authenticator, &ask->authentication, fl_buf_span(&text));
}

static void begin(struct ask *ask, unsigned number)
{
    begin_token(ask, "10.0.0.1", AUDIENCE, 3600, number);
}

static bool late;

static void on_late(struct fl_timer *timer)
{
    (void)timer;
    late = true;
}

#define TURN_UNTIL(condition)                                                                                          \
    do {                                                                                                               \
        struct fl_timer limit = {0};                                                                                   \
        late = false;                                                                                                  \
        fl_timer_set(api.loop, &limit, 10000 * emulation_patience(), on_late);                                         \
        while (!(condition) && !late)                                                                                  \
            assert_int_equal(fl_loop_turn(api.loop, 1000), 0);                                                         \
        fl_timer_cancel(&limit);                                                                                       \
        assert_true(condition);                                                                                        \
    } while (0)

static void known_tokens_are_not_asked_about_again(void **state)
{
    (void)state;
    struct ask ask = {.answers = 0};
    begin(&ask, 1);
    assert_int_equal(ask.answers, 0);
    TURN_UNTIL(ask.answers == 1);
    assert_int_equal(ask.outcome, CONTROL_AUTH_OK);
    assert_string_equal(ask.caller.name_space, "shop");
    assert_string_equal(ask.caller.service_account, "web");
    assert_string_equal(ask.caller.pod, "web-0");
    assert_in_range(ask.caller.expires, time(NULL) + 3590, time(NULL) + 3600);
    api.down = true;
    begin(&ask, 1); /* at once, and with the API server away */
    assert_int_equal(ask.answers, 1);
    assert_int_equal(ask.outcome, CONTROL_AUTH_OK);
    begin(&ask, 2);
    TURN_UNTIL(ask.answers == 1);
    assert_int_equal(ask.outcome, CONTROL_AUTH_UNAVAILABLE);
    api.down = false;
    begin(&ask, 2); /* what failed is not kept */
    TURN_UNTIL(ask.answers == 1);
    assert_int_equal(ask.outcome, CONTROL_AUTH_OK);
    assert_int_equal(api.asked, 3);
}

static void bad_by_their_own_word(void **state)
{
    (void)state;
    static const struct {
        const char *audience;
        int left_s;
        enum control_auth_outcome outcome;
    } rows[] = {{"kubernetes", 3600, CONTROL_AUTH_AUDIENCE}, {AUDIENCE, -31, CONTROL_AUTH_EXPIRED}};
    struct ask ask = {.answers = 0};
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        begin_token(&ask, "10.0.0.1", rows[i].audience, rows[i].left_s, 1);
        assert_int_equal(ask.answers, 1);
        assert_int_equal(ask.outcome, rows[i].outcome);
        assert_string_equal(ask.caller.service_account, "web"); /* for the log */
    }
    static const char *const malformed[] = {"Bearer x", "Bearer a.b.c", "Bearer e30.e30.e30", "Bearer ..", "Basic x"};
    for (size_t i = 0; i < FL_COUNT(malformed); i++) {
        ask = (struct ask){.authentication = {.on_done = on_done}};
        control_authenticate(api.authenticator, &ask.authentication, fl_span_str(malformed[i]));
        assert_int_equal(ask.answers, 1);
        assert_true(ask.outcome != CONTROL_AUTH_OK && control_auth_is_final(ask.outcome));
    }
    assert_int_equal(api.asked, 0);
}

static void several_callers_wait_for_one_answer(void **state)
{
    (void)state;
    struct ask asks[4] = {{.answers = 0}};
    asks[0].cancels = &asks[1];
    for (size_t i = 0; i < FL_COUNT(asks); i++)
        begin(&asks[i], 1);
    control_authentication_cancel(&asks[3].authentication);
    control_authentication_cancel(&asks[3].authentication);
    TURN_UNTIL(asks[2].answers == 1);
    assert_int_equal(api.asked, 1);
    assert_int_equal(asks[0].answers, 1);
    assert_int_equal(asks[1].answers + asks[3].answers, 0);
}

/* Whoever makes tokens up pays for each refusal, and nobody else does. */
static void a_flood_of_one_peer_is_its_own(void **state)
{
    (void)state;
    static struct ask flood[200];
    struct ask good = {.answers = 0};
    unsigned busy = 0, refused = 0;
    api.refuses = true;
    for (unsigned i = 0; i < FL_COUNT(flood); i++) {
        begin(&flood[i], 100 + i);
        for (unsigned turn = 0; turn < 10 && flood[i].answers == 0; turn++)
            assert_int_equal(fl_loop_turn(api.loop, 100), 0);
    }
    for (unsigned i = 0; i < FL_COUNT(flood); i++) {
        assert_int_equal(flood[i].answers, 1);
        busy += flood[i].outcome == CONTROL_AUTH_BUSY;
        refused += flood[i].outcome == CONTROL_AUTH_REFUSED;
    }
    assert_int_equal(busy + refused, FL_COUNT(flood));
    assert_in_range(refused, 4, 10); /* a burst of 20, five for each, and what came back meanwhile */
    api.refuses = false;
    begin_token(&good, "10.0.0.2", AUDIENCE, 3600, 1);
    TURN_UNTIL(good.answers == 1);
    assert_int_equal(good.outcome, CONTROL_AUTH_OK);
}

/* Many peers at once, more than the rate of all lets through: who shows a certificate comes before those who waited. */
static void who_is_vouched_for_goes_first(void **state)
{
    (void)state;
    static struct ask crowd[300];
    static char peers[FL_COUNT(crowd)][16];
    struct ask vouched = {.authentication.vouched = true};
    unsigned busy = 0, before = 0;
    api.authenticator = control_authenticator_free(api.authenticator);
    make_authenticator(5);
    for (unsigned i = 0; i < FL_COUNT(crowd); i++) {
        snprintf(peers[i], sizeof(peers[i]), "10.0.%u.%u", i / 256, i % 256);
        begin_token(&crowd[i], peers[i], AUDIENCE, 3600, 1000 + i);
    }
    begin_token(&vouched, "10.1.0.1", AUDIENCE, 3600, 1);
    TURN_UNTIL(vouched.answers == 1);
    assert_int_equal(vouched.outcome, CONTROL_AUTH_OK);
    for (unsigned i = 0; i < FL_COUNT(crowd); i++)
        before += crowd[i].answers;
    assert_in_range(before, 1, 30);
    TURN_UNTIL(crowd[FL_COUNT(crowd) - 1].answers == 1); /* sent away when it has waited long enough */
    for (unsigned i = 0; i < FL_COUNT(crowd); i++) {
        assert_int_equal(crowd[i].answers, 1);
        busy += crowd[i].outcome == CONTROL_AUTH_BUSY;
    }
    assert_in_range(busy, 200, FL_COUNT(crowd) - 20);
}

/* So many addresses that all places are taken: those of whoever is vouched for are not. */
static void a_flood_takes_no_place_of_who_is_vouched_for(void **state)
{
    (void)state;
    enum { CROWD = 100 + CONTROL_REVIEWS_WAITING + 50 };
    static struct ask crowd[CROWD], vouched[CONTROL_REVIEWS_VOUCHED + 20];
    static char peers[CROWD][16];
    struct ask joins = {.authentication.vouched = true};
    unsigned busy = 0, sent_away = 0;
    api.authenticator = control_authenticator_free(api.authenticator);
    make_authenticator(50);
    for (unsigned i = 0; i < CROWD; i++) {
        snprintf(peers[i], sizeof(peers[i]), "10.0.%u.%u", i / 256, i % 256);
        begin_token(&crowd[i], peers[i], AUDIENCE, 3600, 1000 + i);
        busy += crowd[i].answers;
    }
    assert_in_range(busy, 1, CROWD - CONTROL_REVIEWS_WAITING);
    begin_token(&joins, "10.1.0.1", AUDIENCE, 3600, 1000 + CONTROL_REVIEWS_WAITING); /* one of those that wait last */
    assert_int_equal(joins.answers, 0);
    for (unsigned i = 0; i < FL_COUNT(vouched); i++) {
        vouched[i].authentication.vouched = true;
        begin_token(&vouched[i], peers[i], AUDIENCE, 3600, 10000 + i);
        sent_away += vouched[i].answers;
    }
    assert_in_range(sent_away, 1, 21); /* one place was taken by who joined, who left one of the others' */
    TURN_UNTIL(joins.answers == 1 && vouched[0].answers == 1);
    assert_int_equal(joins.outcome, CONTROL_AUTH_OK);
    assert_int_equal(vouched[0].outcome, CONTROL_AUTH_OK);
    for (unsigned i = 0; i < CROWD; i++)
        control_authentication_cancel(&crowd[i].authentication);
    for (unsigned i = 0; i < FL_COUNT(vouched); i++)
        control_authentication_cancel(&vouched[i].authentication);
}

/* … and where his own are taken he waits with everybody. */
static void who_is_vouched_for_takes_other_places_too(void **state)
{
    (void)state;
    static struct ask vouched[CONTROL_REVIEWS_VOUCHED + 200];
    static char peers[FL_COUNT(vouched)][16];
    api.authenticator = control_authenticator_free(api.authenticator);
    make_authenticator(50);
    for (unsigned i = 0; i < FL_COUNT(vouched); i++) {
        snprintf(peers[i], sizeof(peers[i]), "10.0.%u.%u", i / 256, i % 256);
        vouched[i].authentication.vouched = true;
        begin_token(&vouched[i], peers[i], AUDIENCE, 3600, 1000 + i);
        assert_int_equal(vouched[i].answers, 0);
    }
    TURN_UNTIL(vouched[0].answers == 1);
    assert_int_equal(vouched[0].outcome, CONTROL_AUTH_OK);
    for (unsigned i = 0; i < FL_COUNT(vouched); i++)
        control_authentication_cancel(&vouched[i].authentication);
}

static void a_pod_that_went_is_asked_about_again(void **state)
{
    (void)state;
    struct ask ask = {.answers = 0};
    begin(&ask, 1);
    TURN_UNTIL(ask.answers == 1);
    api.pod = CONTROL_REVIEWS_POD_GONE; /* not known yet: it was asked about just now */
    begin(&ask, 1);
    assert_int_equal(ask.answers, 1);
    assert_int_equal(ask.outcome, CONTROL_AUTH_OK);
    assert_int_equal(api.asked, 1);
    /* Once that is a while ago, the API server is asked which of the two is late. */
    struct fl_timer later = {0};
    late = false;
    fl_timer_set(api.loop, &later, CONTROL_REVIEWS_SETTLE_MS + 50, on_late);
    while (!late)
        assert_int_equal(fl_loop_turn(api.loop, 1000), 0);
    api.refuses = true;
    begin(&ask, 1);
    TURN_UNTIL(ask.answers == 1);
    assert_int_equal(ask.outcome, CONTROL_AUTH_REFUSED);
    assert_int_equal(api.asked, 2);
    begin(&ask, 1); /* that is kept too */
    assert_int_equal(ask.answers, 1);
    assert_int_equal(api.asked, 2);
}

static void memory_runs_out(void **state)
{
    (void)state;
    struct control_authenticator *one;
    const struct control_reviews_options options = {
        .loop = api.loop, .client = api.client, .metrics = api.metrics, .audience = AUDIENCE};
    FAIL_EACH_ALLOCATION
    {
        int result = control_reviews_new(&options, &one);
        fail_stop();
        if (result == 0)
            control_authenticator_free(one);
        else
            assert_true(fail_happened());
    }
    for (size_t nth = 1; nth < 40; nth++) {
        struct ask ask = {.answers = 0};
        FL_CLEANUP(fl_buf_done) struct fl_buf text;
        char peer[16];
        fl_buf_init(&text, 4096);
        snprintf(peer, sizeof(peer), "10.2.0.%zu", nth);
        ask.authentication = (struct control_authentication){.on_done = on_done, .peer = fl_span_str(peer)};
        claim("system:serviceaccount:shop:web", AUDIENCE, 3600, (unsigned)nth, &text);
        fail_from(nth);
        control_authenticate(api.authenticator, &ask.authentication, fl_buf_span(&text));
        fail_stop();
        TURN_UNTIL(ask.answers == 1);
        assert_true(ask.outcome == CONTROL_AUTH_OK || ask.outcome == CONTROL_AUTH_UNAVAILABLE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_an_answer_means),
        cmocka_unit_test(what_is_asked),
        cmocka_unit_test(a_flood_of_bad_tokens_drives_no_good_one_out),
        cmocka_unit_test_setup_teardown(known_tokens_are_not_asked_about_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bad_by_their_own_word, set_up, tear_down),
        cmocka_unit_test_setup_teardown(several_callers_wait_for_one_answer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_flood_of_one_peer_is_its_own, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_is_vouched_for_goes_first, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_flood_takes_no_place_of_who_is_vouched_for, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_is_vouched_for_takes_other_places_too, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_pod_that_went_is_asked_about_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(memory_runs_out, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
