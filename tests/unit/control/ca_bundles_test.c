#include "common/doc/json.h"
#include "common/http/listener.h"
#include "common/http/server.h"
#include "common/loop/timer.h"
#include "common/metrics/registry.h"
#include "control/ca/bundles.h"
#include "tests/support/fail.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

/* An API server on the loop of the leader: namespaces and ConfigMaps as lists and as one event each of watches that
 * stay open, and what is applied. */

#define TRUST_PREFIX "/apis/certificates.k8s.io/v1/clustertrustbundles/"
#define MAX          16

static struct {
    struct fl_loop *loop;
    struct fl_http_server *server;
    struct fl_kube_client *client;
    struct fl_metrics *metrics;
    struct control_bundles *bundles;
    const char *namespaces, *maps; /* items of the lists */
    char applied[MAX][64];         /* paths' namespaces, in order */
    size_t count, trusts, lists;
    const char *rotate;            /* the bundle from the next apply on: it comes while that one is under way */
    unsigned status, trust_status; /* of an apply */
} api;

static void answer_list(struct fl_http_response *response, const char *items)
{
    api.lists++;
    assert_int_equal(fl_buf_printf(&response->body,
                                   "{\"kind\":\"List\",\"metadata\":{\"resourceVersion\":\"1\"},\"items\":[%s]}",
                                   items),
                     0);
}

static void take_apply(const struct fl_http_request *request, struct fl_http_response *response)
{
    FL_CLEANUP(fl_cleanup_json) struct fl_json *root = NULL;
    assert_true(fl_span_eq_str(request->content_type, "application/apply-patch+yaml"));
    assert_true(fl_span_eq_str(request->query, "fieldManager=fairlead-control&force=true"));
    assert_int_equal(fl_json_parse(request->body, NULL, &root, NULL), 0);
    if (fl_span_starts_with(request->path, FL_SPAN(TRUST_PREFIX))) {
        api.trusts++;
        response->status = api.trust_status;
        return;
    }
    struct fl_span name_space = fl_json_string(fl_json_get(fl_json_get(root, "metadata"), "namespace"));
    assert_true(api.count < MAX);
    snprintf(api.applied[api.count++], sizeof(api.applied[0]), "%.*s", FL_SPAN_ARG(name_space));
    response->status = api.status;
    assert_int_equal(fl_buf_append_str(&response->body, "{}"), 0);
    const char *rotate = api.rotate;
    api.rotate = NULL;
    if (rotate != NULL)
        assert_int_equal(control_bundles_set(api.bundles, fl_span_str(rotate)), 0);
}

static void handle(void *owner, const struct fl_http_request *request, struct fl_http_response *response)
{
    (void)owner;
    bool watch =
        fl_span_find(request->query, 'w') == 0; /* "watch=…": answered by an end at once, and asked for again */
    if (fl_span_eq_str(request->method, "PATCH"))
        take_apply(request, response);
    else if (watch)
        response->status = 503;
    else
        answer_list(response, fl_span_eq_str(request->path, "/api/v1/namespaces") ? api.namespaces : api.maps);
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
    api.status = 200;
    api.trust_status = 404;
    api.namespaces = api.maps = "";
    signal(SIGPIPE, SIG_IGN);
    assert_int_equal(fl_loop_new(&api.loop), 0);
    assert_int_equal(fl_metrics_new(&api.metrics), 0);
    if (fl_http_server_new(api.loop, &options, &api.server, &err) < 0)
        fail_msg("%s", err.text);
    assert_true(asprintf(&access.server, "http://127.0.0.1:%u", (unsigned)fl_http_server_port(api.server)) > 0);
    if (fl_kube_client_new(api.loop, &access, NULL, &api.client, &err) < 0)
        fail_msg("%s", err.text);
    const struct control_bundles_options bundles = {
        .loop = api.loop, .client = api.client, .metrics = api.metrics, .configmap = "fairlead-root"};
    assert_int_equal(control_bundles_new(&bundles, &api.bundles), 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    api.bundles = control_bundles_free(api.bundles);
    api.client = fl_kube_client_free(api.client);
    api.server = fl_http_server_free(api.server);
    api.metrics = fl_metrics_free(api.metrics);
    api.loop = fl_loop_free(api.loop);
    return 0;
}

static bool late;

static void on_late(struct fl_timer *timer)
{
    (void)timer;
    late = true;
}

static void turn_for(uint64_t ms)
{
    struct fl_timer limit = {0};
    late = false;
    fl_timer_set(api.loop, &limit, ms, on_late);
    while (!late)
        assert_int_equal(fl_loop_turn(api.loop, 1000), 0);
}

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

#define SPACE(name, more) "{\"metadata\":{\"name\":\"" name "\",\"resourceVersion\":\"1\"" more "}}"
#define MAP(space, label, pem)                                                                                         \
    "{\"metadata\":{\"name\":\"fairlead-root\",\"namespace\":\"" space                                                 \
    "\",\"resourceVersion\":\"1\",\"labels\":{" label "}},\"data\":{\"root-cert.pem\":\"" pem "\"}}"
#define OURS "\"fairlead.io/bundle\":\"true\""

static bool was_applied(const char *name_space)
{
    for (size_t i = 0; i < api.count; i++) {
        if (strcmp(api.applied[i], name_space) == 0)
            return true;
    }
    return false;
}

static void where_it_is_written(void **state)
{
    (void)state;
    api.namespaces = SPACE("good", "") "," SPACE("missing", "") "," SPACE("other", "") "," SPACE("bare", "") "," SPACE(
        "going", ",\"deletionTimestamp\":\"2026-01-01T00:00:00Z\"") "," SPACE("kube-public",
                                                                              "") "," SPACE("kube-node-lease", "");
    api.maps = MAP("good", OURS, "PEM") "," MAP("other", OURS, "another") "," MAP("bare", "", "PEM");
    control_bundles_lead(api.bundles, true);
    turn_for(100); /* no bundle is known yet */
    assert_int_equal(api.count + api.trusts, 0);
    assert_int_equal(control_bundles_set(api.bundles, FL_SPAN("PEM")), 0);
    TURN_UNTIL(api.count == 3 && control_bundles_stats(api.bundles).differing == 0);
    assert_true(was_applied("missing") && was_applied("other") && was_applied("bare"));
    assert_int_equal(control_bundles_stats(api.bundles).namespaces, 4);
    assert_int_equal(api.trusts, 1); /* the API server has no such kind: not again soon */
    /* Another bundle: everywhere; the same one again: nowhere. */
    api.count = 0;
    assert_int_equal(control_bundles_set(api.bundles, FL_SPAN("PEM2")), 0);
    assert_int_equal(control_bundles_set(api.bundles, FL_SPAN("PEM2")), 0);
    TURN_UNTIL(api.count == 4);
    turn_for(50);
    assert_int_equal(api.count, 4);
}

static void who_does_not_lead_writes_nothing(void **state)
{
    (void)state;
    api.namespaces = SPACE("missing", "");
    assert_int_equal(control_bundles_set(api.bundles, FL_SPAN("PEM")), 0);
    turn_for(50);
    assert_int_equal(api.lists, 0);
    control_bundles_lead(api.bundles, true);
    control_bundles_lead(api.bundles, false); /* at once */
    turn_for(50);
    assert_int_equal(api.count, 0);
    control_bundles_lead(api.bundles, true);
    TURN_UNTIL(api.count == 1);
    control_bundles_lead(api.bundles, false);
    assert_int_equal(control_bundles_set(api.bundles, FL_SPAN("PEM2")), 0);
    turn_for(50);
    assert_int_equal(api.count, 1);
}

/* An answer is for what was sent, not for the bundle that there is by then. */
static void a_rotation_while_it_is_written(void **state)
{
    (void)state;
    api.namespaces = SPACE("one", "");
    api.rotate = "PEM2";
    control_bundles_lead(api.bundles, true);
    assert_int_equal(control_bundles_set(api.bundles, FL_SPAN("PEM")), 0);
    TURN_UNTIL(api.count == 2 && control_bundles_stats(api.bundles).differing == 0);
    turn_for(50);
    assert_int_equal(api.count, 2);
}

/* One that cannot be written keeps nothing from the others, and is tried again ever more slowly. */
static void what_is_refused_is_tried_again(void **state)
{
    (void)state;
    api.namespaces = SPACE("one", "");
    api.status = 403;
    control_bundles_lead(api.bundles, true);
    assert_int_equal(control_bundles_set(api.bundles, FL_SPAN("PEM")), 0);
    TURN_UNTIL(api.count == 1);
    turn_for(500);
    assert_int_equal(api.count, 1);
    TURN_UNTIL(api.count == 2); /* a second or two later */
    api.status = 200;
    TURN_UNTIL(api.count == 3 && control_bundles_stats(api.bundles).differing == 0);
    assert_int_equal(control_bundles_stats(api.bundles).failures >= 2, true);
    assert_int_equal(control_bundles_stats(api.bundles).writes, 1);
}

static void memory_runs_out(void **state)
{
    (void)state;
    const struct control_bundles_options options = {
        .loop = api.loop, .client = api.client, .metrics = api.metrics, .configmap = "fairlead-root"};
    FAIL_EACH_ALLOCATION
    {
        struct control_bundles *one = NULL;
        int result = control_bundles_new(&options, &one);
        if (result == 0)
            result = control_bundles_set(one, FL_SPAN("PEM"));
        fail_stop();
        assert_true(result == 0 || fail_happened());
        control_bundles_free(one);
    }
    api.namespaces = SPACE("missing", "");
    for (size_t nth = 1; nth < 12; nth++) { /* what the start needs: tried again by itself */
        api.count = 0;
        assert_int_equal(control_bundles_set(api.bundles, FL_SPAN("PEM")), 0);
        fail_from(nth);
        control_bundles_lead(api.bundles, true);
        fail_stop();
        TURN_UNTIL(api.count == 1);
        control_bundles_lead(api.bundles, false);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(where_it_is_written, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_does_not_lead_writes_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_rotation_while_it_is_written, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_refused_is_tried_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(memory_runs_out, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
