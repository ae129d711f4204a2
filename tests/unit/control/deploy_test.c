/* The deployer between leading and its lists, with an API server on its loop: whoever cannot follow does not lead. */
#include "common/http/listener.h"
#include "common/http/server.h"
#include "common/loop/timer.h"
#include "control/gateway/deploy.h"
#include "tests/support/fail.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct {
    struct fl_loop *loop;
    struct fl_http_server *server;
    struct fl_kube_client *client;
    struct control_deploy *deploy;
    struct control_deploy_options options;
    const char *refused; /* the end of a collection's path; NULL: none is */
    unsigned asked, unable;
    struct fl_err err;
    bool late;
} world;

static void handle(void *owner, const struct fl_http_request *request, struct fl_http_response *response)
{
    (void)owner;
    world.asked++;
    if (world.refused != NULL && fl_span_ends_with(request->path, fl_span_str(world.refused)))
        response->status = 403;
    else if (request->query.len == 0 || memmem(request->query.data, request->query.len, "watch=", 6) == NULL)
        assert_int_equal(fl_buf_append_str(&response->body,
                                           "{\"kind\":\"List\",\"metadata\":{\"resourceVersion\":\"1\"},\"items\":[]}"),
                         0);
}

static void on_unable(void *owner, const struct fl_err *err)
{
    assert_ptr_equal(owner, &world);
    assert_false(control_deploy_stats(world.deploy).leads);
    world.unable++;
    world.err = *err;
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
    memset(&world, 0, sizeof(world));
    signal(SIGPIPE, SIG_IGN);
    assert_int_equal(fl_loop_new(&world.loop), 0);
    if (fl_http_server_new(world.loop, &options, &world.server, &err) < 0)
        fail_msg("%s", err.text);
    assert_true(asprintf(&access.server, "http://127.0.0.1:%u", (unsigned)fl_http_server_port(world.server)) > 0);
    if (fl_kube_client_new(world.loop, &access, NULL, &world.client, &err) < 0)
        fail_msg("%s", err.text);
    world.options = (struct control_deploy_options){.image = "proxy:1",
                                                    .control_address = "control.mesh.svc:15012",
                                                    .start_ms = 200,
                                                    .on_unable = on_unable,
                                                    .owner = &world};
    if (control_deploy_new(world.loop, world.client, &world.options, &world.deploy, &err) < 0)
        fail_msg("%s", err.text);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    world.deploy = control_deploy_free(world.deploy);
    world.client = fl_kube_client_free(world.client);
    world.server = fl_http_server_free(world.server);
    world.loop = fl_loop_free(world.loop);
    return 0;
}

static void on_late(struct fl_timer *timer)
{
    (void)timer;
    world.late = true;
}

/* Turns until it is so, twenty seconds at most. */
#define TURN_UNTIL(condition)                                                                                          \
    do {                                                                                                               \
        struct fl_timer limit = {0};                                                                                   \
        world.late = false;                                                                                            \
        fl_timer_set(world.loop, &limit, 20000, on_late);                                                              \
        while (!(condition) && !world.late)                                                                            \
            assert_int_equal(fl_loop_turn(world.loop, 1000), 0);                                                       \
        fl_timer_cancel(&limit);                                                                                       \
        assert_true(condition);                                                                                        \
    } while (0)

static void it_leads_where_it_can_follow(void **state)
{
    (void)state;
    world.options.start_ms = 20000;
    control_deploy_lead(world.deploy, true);
    TURN_UNTIL(control_deploy_stats(world.deploy).settled);
    control_deploy_lead(world.deploy, false);
    assert_int_equal(world.unable, 0);
}

static void a_list_that_is_refused_ends_it(void **state)
{
    static const char *const refused[] = {"/gateways", "/gatewayclasses", "/poddisruptionbudgets", ""};
    (void)state;
    for (unsigned i = 0; i < FL_COUNT(refused); i++) {
        world.refused = refused[i];
        control_deploy_lead(world.deploy, true);
        TURN_UNTIL(world.unable == i + 1);
        assert_int_equal(world.err.code, -EACCES);
    }
    unsigned asked = world.asked;
    world.refused = NULL;
    assert_int_equal(fl_loop_turn(world.loop, 100), 0);
    assert_int_equal(world.asked, asked); /* it stands still */
    world.options.start_ms = 20000;
    control_deploy_lead(world.deploy, true); /* and goes on where it may again */
    TURN_UNTIL(control_deploy_stats(world.deploy).settled);
    assert_int_equal(world.unable, FL_COUNT(refused));
}

static void memory_that_is_out_ends_it(void **state)
{
    (void)state;
    unsigned times = 0;
    for (size_t nth = 1; nth < 12; nth++) {
        unsigned before = world.unable;
        fail_from(nth);
        control_deploy_lead(world.deploy, true);
        fail_stop();
        TURN_UNTIL(world.unable > before || control_deploy_stats(world.deploy).settled);
        times += world.unable - before;
        if (world.unable > before)
            assert_int_equal(world.err.code, -ENOMEM);
        control_deploy_lead(world.deploy, false);
    }
    assert_in_range(times, 1, 11);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(it_leads_where_it_can_follow, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_list_that_is_refused_ends_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(memory_that_is_out_ends_it, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
