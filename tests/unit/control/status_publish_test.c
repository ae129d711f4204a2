/* Status written back, against a server that plays the API: who writes, when, how often, and what a refusal does. */
#include "common/http/server.h"
#include "common/loop/timer.h"
#include "control/model/store.h"
#include "control/source/documents.h"
#include "control/status/publish.h"
#include "tests/support/fail.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define NOW 1767323045

#define SERVICE "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: 80}]}\n---\n"
#define ROUTE_OF(name)                                                                                                 \
    "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: " name ", generation: 1}\n"           \
    "spec: {parentRefs: [{group: '', kind: Service, name: a}], rules: [{backendRefs: [{name: a, port: 80}]}]}\n---\n"
#define SEEN_OF(name, version, status)                                                                                 \
    "{\"apiVersion\":\"gateway.networking.k8s.io/v1\",\"metadata\":{\"name\":\"" name                                  \
    "\",\"namespace\":\"default\",\"generation\":1,\"resourceVersion\":\"" version                                     \
    "\"},\"spec\":{\"parentRefs\":[{\"group\":\"\",\"kind\":\"Service\",\"name\":\"a\"}]},\"status\":" status "}"

struct world {
    struct fl_loop *loop;
    struct fl_http_server *server;
    struct fl_kube_client *client;
    struct control_store *store;
    struct control_publisher *publisher;
    unsigned answer;    /* 0: 200 with the object */
    bool silent;        /* the 200 has no object in it */
    int patches, other; /* other: which of them was the first of namespace "other" */
    int64_t version;
    char path[256];
    char body[4096];
};

static int64_t stopped(void)
{
    return NOW;
}

/* What the API would answer: the object with the status of the patch, and a version of its own. */
static void answer_object(struct world *world, const struct fl_http_request *request, struct fl_http_response *response)
{
    FL_CLEANUP(fl_cleanup_json) struct fl_json *patch = NULL;
    char version[32];
    FL_CLEANUP(fl_cleanup_json) struct fl_json *object = NULL;
    snprintf(version, sizeof(version), "%lld", (long long)++world->version);
    assert_int_equal(fl_json_parse(request->body, NULL, &patch, &(struct fl_err){0}), 0);
    assert_int_equal(fl_json_parse(FL_SPAN(SEEN_OF("r", "1", "{}")), NULL, &object, &(struct fl_err){0}), 0);
    assert_int_equal(fl_json_set(object, "status", fl_json_copy(fl_json_get(patch, "status"))), 0);
    assert_int_equal(
        fl_json_set(fl_json_get(object, "metadata"), "resourceVersion", fl_json_new_string(fl_span_str(version))), 0);
    assert_int_equal(fl_json_print(object, &response->body), 0);
}

static void handle(void *owner, const struct fl_http_request *request, struct fl_http_response *response)
{
    struct world *world = owner;
    if (!fl_span_eq_str(request->method, "PATCH")) {
        response->status = 404;
        return;
    }
    world->patches++;
    snprintf(world->path, sizeof(world->path), "%.*s", FL_SPAN_ARG(request->path));
    snprintf(world->body, sizeof(world->body), "%.*s", FL_SPAN_ARG(request->body));
    if (world->other == 0 && strstr(world->path, "/namespaces/other/") != NULL)
        world->other = world->patches;
    response->status = world->answer != 0 ? world->answer : 200;
    if (world->answer == 0 && !world->silent)
        answer_object(world, request, response);
}

static void commit(struct world *world, const char *text)
{
    struct control_diff *diff = NULL;
    struct control_documents documents;
    assert_int_equal(control_documents_read(fl_span_str(text), "t.yaml", FL_SPAN(CONTROL_ROOT_DEFAULT), &documents), 0);
    for (size_t i = 0; i < documents.object_count; i++)
        assert_int_equal(control_store_put(world->store, documents.objects[i].object), 0);
    assert_int_equal(control_store_commit(world->store, &diff), 0);
    control_diff_free(diff);
    control_documents_done(&documents);
    control_publisher_update(world->publisher, control_store_model(world->store));
}

static void saw(struct world *world, enum fl_kube_change change, const char *json)
{
    FL_CLEANUP(fl_cleanup_json) struct fl_json *object = NULL;
    assert_int_equal(fl_json_parse(fl_span_str(json), NULL, &object, &(struct fl_err){0}), 0);
    control_publisher_saw(world->publisher, CONTROL_HTTP_ROUTE, change, object);
}

static void world_init(struct world *world, unsigned rate)
{
    struct fl_kube_access access = {0};
    struct fl_err err = {0};
    char url[64];
    *world = (struct world){.version = 100};
    assert_int_equal(fl_loop_new(&world->loop), 0);
    const struct fl_http_server_options http = {.address = FL_SPAN("127.0.0.1:0"),
                                                .body_max = 1 << 20,
                                                .response_max = 1 << 20,
                                                .connections_max = 16,
                                                .connections_per_address = 16,
                                                .idle_seconds = 30,
                                                .handle = handle,
                                                .owner = world};
    if (fl_http_server_new(world->loop, &http, &world->server, &err) < 0)
        fail_msg("%s", err.text);
    snprintf(url, sizeof(url), "http://127.0.0.1:%u", fl_http_server_port(world->server));
    access.server = strdup(url);
    assert_int_equal(fl_kube_client_new(world->loop, &access, NULL, &world->client, &err), 0);
    assert_int_equal(control_store_new(&world->store), 0);
    const struct control_publisher_options options = {.rate = rate, .wait_ms = 1, .fight_ms = 40, .clock = stopped};
    assert_int_equal(control_publisher_new(world->loop, world->client, &options, &world->publisher), 0);
}

static void world_done(struct world *world)
{
    world->publisher = control_publisher_free(world->publisher);
    world->client = fl_kube_client_free(world->client);
    fl_http_server_free(world->server);
    control_store_free(world->store);
    for (int i = 0; i < 3; i++)
        assert_int_equal(fl_loop_turn(world->loop, 1), 0);
    fl_loop_free(world->loop);
}

static void until_settled(struct world *world)
{
    for (int i = 0; i < 5000 && !control_publisher_stats(world->publisher).settled; i++)
        assert_int_equal(fl_loop_turn(world->loop, 2), 0);
    assert_true(control_publisher_stats(world->publisher).settled);
}

static void until_patched(struct world *world, int times)
{
    for (int i = 0; i < 5000 && world->patches < times; i++)
        assert_int_equal(fl_loop_turn(world->loop, 2), 0);
    assert_int_equal(world->patches, times);
}

static void turn_for(struct world *world, uint64_t ms)
{
    for (uint64_t end = fl_loop_now_ms(world->loop) + ms; fl_loop_now_ms(world->loop) < end;)
        assert_int_equal(fl_loop_turn(world->loop, 2), 0);
}

static void the_leader_writes_once_and_nobody_else(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, 0);
    commit(&world, SERVICE ROUTE_OF("r"));
    saw(&world, FL_KUBE_ADDED, SEEN_OF("r", "7", "{}"));
    turn_for(&world, 50);
    assert_int_equal(world.patches, 0);
    assert_false(control_publisher_stats(world.publisher).settled);
    control_publisher_lead(world.publisher, true);
    until_settled(&world);
    assert_int_equal(world.patches, 1);
    assert_string_equal(world.path, "/apis/gateway.networking.k8s.io/v1/namespaces/default/httproutes/r/status");
    assert_non_null(strstr(world.body, "{\"metadata\":{\"resourceVersion\":\"7\"},\"status\":{\"parents\":["));
    /* Neither a new version of the model nor the watch's word of our own write is a reason to write. */
    commit(&world, "apiVersion: v1\nkind: Service\nmetadata: {name: b}\nspec: {ports: [{port: 80}]}\n");
    turn_for(&world, 50);
    until_settled(&world);
    assert_int_equal(world.patches, 1);
    control_publisher_lead(world.publisher, false);
    saw(&world, FL_KUBE_MODIFIED, SEEN_OF("r", "9", "{}"));
    turn_for(&world, 50);
    assert_int_equal(world.patches, 1);
    world_done(&world);
}

static void what_is_gone_is_no_error(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, 0);
    world.answer = 404;
    commit(&world, SERVICE ROUTE_OF("r"));
    saw(&world, FL_KUBE_ADDED, SEEN_OF("r", "7", "{}"));
    control_publisher_lead(world.publisher, true);
    until_patched(&world, 1);
    turn_for(&world, 50);
    assert_int_equal(world.patches, 1);
    saw(&world, FL_KUBE_DELETED, SEEN_OF("r", "8", "{}"));
    until_settled(&world);
    struct control_publisher_stats stats = control_publisher_stats(world.publisher);
    assert_int_equal(stats.gone, 1);
    assert_int_equal(stats.failures + stats.refused + stats.objects, 0);
    world_done(&world);
}

static void who_comes_too_late_waits_for_the_newer_version(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, 0);
    world.answer = 409;
    commit(&world, SERVICE ROUTE_OF("r"));
    saw(&world, FL_KUBE_ADDED, SEEN_OF("r", "7", "{}"));
    control_publisher_lead(world.publisher, true);
    until_patched(&world, 1);
    turn_for(&world, 50);
    assert_int_equal(world.patches, 1);
    world.answer = 0;
    saw(&world, FL_KUBE_MODIFIED, SEEN_OF("r", "8", "{}"));
    until_settled(&world);
    assert_int_equal(world.patches, 2);
    assert_non_null(strstr(world.body, "\"resourceVersion\":\"8\""));
    assert_int_equal(control_publisher_stats(world.publisher).conflicts, 1);
    world_done(&world);
}

static void what_is_refused_is_not_asked_again_until_it_changes(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, 0);
    world.answer = 422;
    commit(&world, SERVICE ROUTE_OF("r"));
    saw(&world, FL_KUBE_ADDED, SEEN_OF("r", "7", "{}"));
    control_publisher_lead(world.publisher, true);
    until_patched(&world, 1);
    saw(&world, FL_KUBE_MODIFIED, SEEN_OF("r", "8", "{}"));
    commit(&world, "apiVersion: v1\nkind: Service\nmetadata: {name: b}\nspec: {ports: [{port: 80}]}\n");
    turn_for(&world, 60);
    assert_int_equal(world.patches, 1);
    assert_int_equal(control_publisher_stats(world.publisher).refused, 1);
    world_done(&world);
}

static void a_server_that_is_busy_is_asked_again_later(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, 0);
    world.answer = 503;
    commit(&world, SERVICE ROUTE_OF("r"));
    saw(&world, FL_KUBE_ADDED, SEEN_OF("r", "7", "{}"));
    control_publisher_lead(world.publisher, true);
    until_patched(&world, 1);
    world.answer = 0;
    until_settled(&world);
    assert_true(world.patches >= 2);
    assert_int_equal(control_publisher_stats(world.publisher).writes, 1);
    world_done(&world);
}

static void who_undoes_what_we_write_is_answered_ever_more_slowly(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, 0);
    commit(&world, SERVICE ROUTE_OF("r"));
    control_publisher_lead(world.publisher, true);
    saw(&world, FL_KUBE_ADDED, SEEN_OF("r", "7", "{}"));
    uint64_t start = fl_loop_now_ms(world.loop);
    for (int i = 1; i <= 4; i++) {
        until_patched(&world, i);
        until_settled(&world);
        saw(&world, FL_KUBE_MODIFIED, SEEN_OF("r", "9", "{}"));
    }
    /* 40, 80 and 160 ms lie between the four. */
    assert_true(fl_loop_now_ms(world.loop) - start >= 280);
    assert_int_equal(control_publisher_stats(world.publisher).fights, 3);
    world_done(&world);
}

static void very_many_are_written_at_a_bounded_rate(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, 20);
    commit(&world, SERVICE);
    control_publisher_lead(world.publisher, true);
    for (int i = 0; i < 60; i++) {
        char text[1024], name[16];
        snprintf(name, sizeof(name), "r%d", i);
        snprintf(text, sizeof(text),
                 "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: %s, generation: 1}\n"
                 "spec: {parentRefs: [{group: '', kind: Service, name: a}], rules: [{backendRefs: [{name: a, port: "
                 "80}]}]}\n",
                 name);
        commit(&world, text);
        snprintf(text, sizeof(text),
                 "{\"metadata\":{\"name\":\"%s\",\"namespace\":\"default\",\"generation\":1,\"resourceVersion\":\"1\"},"
                 "\"spec\":{\"parentRefs\":[{\"group\":\"\",\"kind\":\"Service\",\"name\":\"a\"}]}}",
                 name);
        saw(&world, FL_KUBE_ADDED, text);
    }
    uint64_t start = fl_loop_now_ms(world.loop);
    until_settled(&world);
    assert_int_equal(world.patches, 60);
    assert_true(fl_loop_now_ms(world.loop) - start >= 1500); /* 20 at once, then 20 a second */
    world_done(&world);
}

static void a_route(struct world *world, const char *name_space, int number)
{
    char text[1024];
    snprintf(text, sizeof(text),
             "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r%d, namespace: %s, "
             "generation: 1}\nspec: {parentRefs: [{group: '', kind: Service, name: a}]}\n",
             number, name_space);
    commit(world, text);
    snprintf(text, sizeof(text),
             "{\"metadata\":{\"name\":\"r%d\",\"namespace\":\"%s\",\"generation\":1,\"resourceVersion\":\"1\"},"
             "\"spec\":{\"parentRefs\":[{\"group\":\"\",\"kind\":\"Service\",\"name\":\"a\"}]}}",
             number, name_space);
    saw(world, FL_KUBE_ADDED, text);
}

static void one_namespaces_very_many_keep_no_other_waiting(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, 40);
    commit(&world, SERVICE);
    for (int i = 0; i < 200; i++)
        a_route(&world, "default", i);
    a_route(&world, "other", 1);
    control_publisher_lead(world.publisher, true);
    until_settled(&world);
    assert_int_equal(world.patches, 201);
    assert_in_range(world.other, 1, 40); /* 9 of the first one's come before it, where nothing is slow */
    world_done(&world);
}

static void objects_that_are_no_objects_do_no_harm(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, 0);
    control_publisher_lead(world.publisher, true);
    commit(&world, SERVICE);
    saw(&world, FL_KUBE_ADDED, "{}");
    saw(&world, FL_KUBE_ADDED, "{\"metadata\":{\"name\":\"a\"}}");
    saw(&world, FL_KUBE_ADDED, "{\"metadata\":{\"name\":1,\"resourceVersion\":\"1\"}}");
    saw(&world, FL_KUBE_DELETED, "[]");
    saw(&world, FL_KUBE_ADDED,
        "{\"metadata\":{\"name\":\"x\",\"namespace\":\"y\",\"resourceVersion\":\"1\",\"generation\":\"z\"},"
        "\"spec\":[],\"status\":7}");
    until_settled(&world);
    assert_int_equal(control_publisher_stats(world.publisher).objects, 1);
    assert_int_equal(control_publisher_stats(world.publisher).forgotten, 3);
    assert_int_equal(world.patches, 0);
    world_done(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_leader_writes_once_and_nobody_else),
        cmocka_unit_test(what_is_gone_is_no_error),
        cmocka_unit_test(who_comes_too_late_waits_for_the_newer_version),
        cmocka_unit_test(what_is_refused_is_not_asked_again_until_it_changes),
        cmocka_unit_test(a_server_that_is_busy_is_asked_again_later),
        cmocka_unit_test(who_undoes_what_we_write_is_answered_ever_more_slowly),
        cmocka_unit_test(very_many_are_written_at_a_bounded_rate),
        cmocka_unit_test(one_namespaces_very_many_keep_no_other_waiting),
        cmocka_unit_test(objects_that_are_no_objects_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
