#include "common/kube/lease.h"

#include "common/doc/json.h"
#include "common/http/listener.h"
#include "common/http/server.h"
#include "common/loop/timer.h"
#include "tests/support/fail.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

/* An API server with one Lease, on the loop of those who want it. */

#define PATH "/apis/coordination.k8s.io/v1/namespaces/n/leases"

static struct {
    struct fl_loop *loop;
    struct fl_http_server *server;
    struct fl_kube_client *client;
    bool there, down, no_namespace;
    unsigned asked;
    unsigned version, writes, conflicts;
    char holder[64];
    int64_t seconds;
} api;

static void answer_lease(struct fl_http_response *response)
{
    assert_int_equal(fl_buf_printf(&response->body,
                                   "{\"kind\":\"Lease\",\"metadata\":{\"resourceVersion\":\"%u\"},\"spec\":{"
                                   "\"holderIdentity\":\"%s\",\"leaseDurationSeconds\":%lld}}",
                                   api.version, api.holder, (long long)api.seconds),
                     0);
}

static void take_write(const struct fl_http_request *request, struct fl_http_response *response)
{
    FL_CLEANUP(fl_cleanup_json) struct fl_json *root = NULL;
    char version[16];
    snprintf(version, sizeof(version), "%u", api.version);
    assert_int_equal(fl_json_parse(request->body, NULL, &root, NULL), 0);
    const struct fl_json *spec = fl_json_get(root, "spec");
    struct fl_span based = fl_json_string(fl_json_get(fl_json_get(root, "metadata"), "resourceVersion"));
    if (api.there && !fl_span_eq_str(based, version)) {
        api.conflicts++;
        response->status = 409;
        return;
    }
    struct fl_span holder = fl_json_string(fl_json_get(spec, "holderIdentity"));
    snprintf(api.holder, sizeof(api.holder), "%.*s", FL_SPAN_ARG(holder));
    assert_true(fl_json_int(fl_json_get(spec, "leaseDurationSeconds"), 1, 3600, &api.seconds));
    api.there = true;
    api.version++;
    api.writes++;
    answer_lease(response);
}

static void handle(void *owner, const struct fl_http_request *request, struct fl_http_response *response)
{
    (void)owner;
    bool make = fl_span_eq_str(request->method, "POST");
    assert_true(fl_span_eq_str(request->path, make ? PATH : PATH "/l"));
    api.asked++;
    if (api.down)
        response->status = 503;
    else if (api.no_namespace)
        response->status = 404; /* the Lease is not there, and cannot be made */
    else if (!fl_span_eq_str(request->method, "GET"))
        take_write(request, response);
    else if (api.there)
        answer_lease(response);
    else
        response->status = 404;
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
    if (fl_http_server_new(api.loop, &options, &api.server, &err) < 0)
        fail_msg("%s", err.text);
    assert_true(asprintf(&access.server, "http://127.0.0.1:%u", (unsigned)fl_http_server_port(api.server)) > 0);
    if (fl_kube_client_new(api.loop, &access, NULL, &api.client, &err) < 0)
        fail_msg("%s", err.text);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    api.client = fl_kube_client_free(api.client);
    api.server = fl_http_server_free(api.server);
    api.loop = fl_loop_free(api.loop);
    return 0;
}

struct who { /* one that wants to lead */
    struct fl_kube_lease *lease;
    bool leads, released, ended, frees;
    unsigned changes, turns, troubles;
    struct fl_err err;
};

static void on_change(void *owner, bool leads)
{
    struct who *who = owner;
    assert_int_not_equal(who->leads, leads);
    who->leads = leads;
    who->changes++;
    if (who->frees)
        who->lease = fl_kube_lease_free(who->lease);
    else
        assert_int_equal(fl_kube_lease_leads(who->lease), leads);
}

static void on_trouble(void *owner, const struct fl_err *err)
{
    struct who *who = owner;
    who->troubles++;
    who->err = *err;
}

static void on_turn(void *owner)
{
    struct who *who = owner;
    who->turns++;
}

static void on_released(void *owner, bool released, const struct fl_err *err)
{
    struct who *who = owner;
    who->released = released;
    who->ended = true;
    if (err != NULL)
        who->err = *err;
}

static struct fl_kube_lease_options options_of(struct who *who, const char *identity)
{
    return (struct fl_kube_lease_options){.name_space = "n",
                                          .name = "l",
                                          .identity = identity,
                                          .seconds = FL_KUBE_LEASE_SECONDS_MIN,
                                          .on_change = on_change,
                                          .on_trouble = on_trouble,
                                          .on_turn = on_turn,
                                          .owner = who};
}

static void begin(struct who *who, const char *identity)
{
    struct fl_err err = {0};
    const struct fl_kube_lease_options options = options_of(who, identity);
    *who = (struct who){.lease = NULL};
    if (fl_kube_lease_new(api.loop, api.client, &options, &who->lease, &err) < 0)
        fail_msg("%s", err.text);
}

static bool late;

static void on_late(struct fl_timer *timer)
{
    (void)timer;
    late = true;
}

/* Turns until it is so, ten seconds at most. */
#define TURN_UNTIL(condition)                                                                                          \
    do {                                                                                                               \
        struct fl_timer limit = {0};                                                                                   \
        late = false;                                                                                                  \
        fl_timer_set(api.loop, &limit, 10000, on_late);                                                                \
        while (!(condition) && !late)                                                                                  \
            assert_int_equal(fl_loop_turn(api.loop, 1000), 0);                                                         \
        fl_timer_cancel(&limit);                                                                                       \
        assert_true(condition);                                                                                        \
    } while (0)

static void it_is_made_kept_and_given_up(void **state)
{
    (void)state;
    struct who one, two;
    begin(&one, "one");
    assert_false(fl_kube_lease_leads(one.lease));
    TURN_UNTIL(one.leads);
    assert_string_equal(api.holder, "one");
    begin(&two, "two");
    TURN_UNTIL(api.writes >= 4); /* renewed three times */
    assert_true(one.leads && one.changes == 1 && !two.leads);
    assert_string_equal(fl_kube_lease_holder(two.lease), "one");
    assert_true(one.turns >= 4 && two.turns >= 2);
    fl_kube_lease_release(one.lease, on_released);
    assert_false(fl_kube_lease_leads(one.lease));
    TURN_UNTIL(one.ended);
    assert_true(one.released && !one.leads);
    TURN_UNTIL(two.leads);
    assert_string_equal(api.holder, "two");
    fl_kube_lease_free(one.lease);
    fl_kube_lease_free(two.lease);
    assert_int_equal(one.troubles + two.troubles, 0);
}

static void one_that_dies_is_followed(void **state)
{
    (void)state;
    struct who two;
    api.there = true;
    api.version = 7;
    api.seconds = 1;
    snprintf(api.holder, sizeof(api.holder), "the dead");
    begin(&two, "two");
    TURN_UNTIL(two.leads);
    assert_string_equal(api.holder, "two");
    fl_kube_lease_release(two.lease, on_released);
    fl_kube_lease_free(two.lease); /* before its turn: nobody is told */
    assert_int_equal(fl_loop_turn(api.loop, 100), 0);
    assert_false(two.ended);
}

static void whoever_cannot_renew_stops_in_time(void **state)
{
    (void)state;
    struct who one;
    begin(&one, "one");
    TURN_UNTIL(one.leads);
    api.down = true;
    TURN_UNTIL(!one.leads);
    assert_int_equal(one.troubles, 1); /* the same reason, told once */
    assert_int_equal(one.err.code, -EAGAIN);
    api.down = false;
    TURN_UNTIL(one.leads);
    api.down = true;
    fl_kube_lease_release(one.lease, on_released);
    TURN_UNTIL(one.ended);
    assert_false(one.released);
    fl_kube_lease_free(one.lease);
}

/* Reading goes well each time, and making it does not: that is one piece of news. */
static void a_namespace_that_is_missing_is_told_once(void **state)
{
    (void)state;
    struct who one = {.changes = 0};
    api.no_namespace = true;
    begin(&one, "one");
    TURN_UNTIL(api.asked >= 8);
    assert_int_equal(one.troubles, 1);
    api.no_namespace = false;
    TURN_UNTIL(one.leads);
    fl_kube_lease_free(one.lease);
}

static void one_that_was_stolen_is_lost(void **state)
{
    (void)state;
    struct who one;
    begin(&one, "one");
    TURN_UNTIL(one.leads);
    api.version++;
    api.seconds = 60;
    snprintf(api.holder, sizeof(api.holder), "thief");
    TURN_UNTIL(!one.leads);
    assert_int_equal(api.conflicts, 1);
    assert_string_equal(fl_kube_lease_holder(one.lease), "thief");
    fl_kube_lease_release(one.lease, on_released);
    TURN_UNTIL(one.ended);
    assert_false(one.released);
    assert_string_equal(api.holder, "thief");
    fl_kube_lease_free(one.lease);
}

static void a_callback_may_free_it_and_it_is_given_up(void **state)
{
    (void)state;
    struct who one;
    begin(&one, "one");
    one.frees = true;
    TURN_UNTIL(one.lease == NULL);
    assert_true(one.leads);
    TURN_UNTIL(api.holder[0] == '\0');
    assert_int_equal(api.seconds, 1);
}

static void what_is_refused_at_once(void **state)
{
    (void)state;
    struct who who = {.lease = NULL};
    const struct fl_kube_lease_options good = options_of(&who, "me");
    struct fl_kube_lease_options bad[] = {good, good, good, good};
    struct fl_err err = {0};
    bad[0].name_space = "a/b";
    bad[1].name = "../x";
    bad[2].identity = "";
    bad[3].seconds = FL_KUBE_LEASE_SECONDS_MAX + 1;
    for (size_t i = 0; i < FL_COUNT(bad); i++)
        assert_int_equal(fl_kube_lease_new(api.loop, api.client, &bad[i], &who.lease, &err), -EINVAL);
    FAIL_EACH_ALLOCATION
    {
        int result = fl_kube_lease_new(api.loop, api.client, &good, &who.lease, &err);
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
    }
    fl_kube_lease_free(who.lease);
    fl_kube_lease_free(NULL);
}

/* The first request's memory, and that of its answer: it leads in the end, a second later. */
static void memory_runs_out_on_the_way(void **state)
{
    (void)state;
    for (size_t nth = 1; nth <= 3; nth++) {
        struct who one;
        begin(&one, "one");
        fail_from(nth);
        for (int turn = 0; turn < 5; turn++)
            assert_int_equal(fl_loop_turn(api.loop, 10), 0);
        fail_stop();
        TURN_UNTIL(one.leads);
        fl_kube_lease_free(one.lease);
        TURN_UNTIL(api.holder[0] == '\0');
    }
}

static void names_of_processes_differ(void **state)
{
    (void)state;
    char one[FL_KUBE_HOLDER_MAX], two[FL_KUBE_HOLDER_MAX];
    fl_kube_lease_identity("host", one);
    fl_kube_lease_identity("host", two);
    assert_string_not_equal(one, two);
    assert_true(strlen(one) > 17 && strchr(one, '_') != NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(it_is_made_kept_and_given_up, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_that_dies_is_followed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(whoever_cannot_renew_stops_in_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_namespace_that_is_missing_is_told_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_that_was_stolen_is_lost, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_callback_may_free_it_and_it_is_given_up, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_refused_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(memory_runs_out_on_the_way, set_up, tear_down),
        cmocka_unit_test(names_of_processes_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
