/* The Kubernetes source against an API server that does whatever the test wants. */
#include "control/source/kubernetes.h"

#include "common/doc/yaml.h"
#include "control/model/reader.h"
#include "control/source/trim.h"
#include "tests/support/fail.h"
#include "tests/unit/control/api_world.h"
#include "tests/unit/control/model_dump.h"

#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define NAMESPACES "/api/v1/namespaces"
#define SERVICES   "/api/v1/services"
#define PODS       "/api/v1/pods"
#define SECRETS    "/api/v1/secrets"
#define SLICES     "/apis/discovery.k8s.io/v1/endpointslices"
#define GATEWAY    "/apis/gateway.networking.k8s.io/v1/"
#define OURS       "/apis/fairlead.io/v1alpha1/"

struct world {
    size_t namespace_max;
    struct fl_loop *loop;
    struct api_world api;
    struct control_store *store;
    struct control_kubernetes *source;
    int synced, commits, objects; /* callbacks */
    size_t before_synced;         /* objects of the model at on_synced */
    size_t went;                  /* objects that went, of all commits */
    enum fl_kube_change last;     /* of on_object */
};

static void on_commit(void *owner, const struct control_diff *diff)
{
    struct world *world = owner;
    world->commits++;
    for (size_t i = 0; i < diff->count; i++)
        world->went += diff->changes[i].kind == CONTROL_WENT;
}

static size_t count_all(const struct world *world)
{
    size_t count = 0;
    for (int kind = 0; kind < CONTROL_KIND_COUNT; kind++)
        count += control_model_all(control_store_model(world->store), (enum control_kind)kind).count;
    return count;
}

static void on_synced(void *owner)
{
    struct world *world = owner;
    world->synced++;
    world->before_synced = count_all(world);
}

static void on_object(void *owner, enum control_kind kind, enum fl_kube_change change, const struct fl_json *object)
{
    struct world *world = owner;
    assert_true(kind != CONTROL_POD && kind != CONTROL_SECRET && kind != CONTROL_REFERENCE_GRANT);
    assert_true(fl_json_is(fl_json_get(fl_json_get(object, "metadata"), "name"), FL_JSON_STRING));
    world->objects++;
    world->last = change;
}

static const struct control_kubernetes_pace quick = {
    .wait_ms = 60, .look_ms = 20, .gone_ms = 100, .refetch_ms = 20, .backoff_ms = 2};

static void world_init(struct world *world)
{
    *world = (struct world){0};
    assert_int_equal(fl_loop_new(&world->loop), 0);
    assert_int_equal(control_store_new(&world->store), 0);
    api_init(&world->api, world->loop);
    api_know_all(&world->api);
    api_put(&world->api, NAMESPACES, "/shop", NULL, NULL);
}

static int open_source(struct world *world)
{
    struct fl_err err = {0};
    struct control_kubernetes_options options = {
        .name_space = "fairlead-system",
        .on_commit = on_commit,
        .on_synced = on_synced,
        .on_object = on_object,
        .owner = world,
        .pace = quick,
    };
    options.pace.namespace_max = world->namespace_max;
    return control_kubernetes_open(world->loop, world->api.client, world->store, &options, &world->source, &err);
}

static void turn(struct world *world, int times)
{
    for (int i = 0; i < times; i++)
        assert_int_equal(fl_loop_turn(world->loop, 1), 0);
}

static void world_done(struct world *world)
{
    fail_stop();
    world->source = control_kubernetes_close(world->source);
    api_done(&world->api);
    control_store_free(world->store);
    turn(world, 3);
    fl_loop_free(world->loop);
}

/* Turns until `condition`; fails after some seconds. */
#define UNTIL(world, condition)                                                                                        \
    do {                                                                                                               \
        int turns_ = 0;                                                                                                \
        while (!(condition)) {                                                                                         \
            if (++turns_ > 8000)                                                                                       \
                fail_msg("never: %s", #condition);                                                                     \
            assert_int_equal(fl_loop_turn((world)->loop, 1), 0);                                                       \
        }                                                                                                              \
    } while (0)

static void start(struct world *world)
{
    assert_int_equal(open_source(world), 0);
    UNTIL(world, world->synced > 0);
}

static const struct control_object *get(const struct world *world, enum control_kind kind, const char *name_space,
                                        const char *name)
{
    return control_model_get(control_store_model(world->store),
                             (struct control_key){kind, fl_span_str(name_space), fl_span_str(name)});
}

/* NULL: there is none. */
static const struct control_problem *problem(const struct world *world, enum control_kind kind, const char *name)
{
    const struct control_problems *problems = control_model_problems(control_store_model(world->store));
    for (size_t i = 0; problems != NULL && i < problems->count; i++)
        if (problems->items[i].known && problems->items[i].kind == kind &&
            fl_span_eq_str(problems->items[i].name, name))
            return &problems->items[i];
    return NULL;
}

static bool has_reason(const struct world *world, enum control_kind kind, const char *name,
                       enum control_problem_reason reason)
{
    const struct control_problem *found = problem(world, kind, name);
    return found != NULL && found->reason == reason;
}

/* -- the first state ----------------------------------------------------------------------------------------------- */

static void one_commit_when_all_are_there(void **state)
{
    struct world world;
    (void)state;
    world_init(&world);
    api_put(&world.api, SERVICES, "shop/web", "\"spec\":{\"clusterIP\":\"10.0.0.1\",\"ports\":[{\"port\":80}]}", NULL);
    api_put(&world.api, PODS, "shop/web-1", "\"spec\":{},\"status\":{\"podIP\":\"10.1.0.1\",\"phase\":\"Running\"}",
            NULL);
    api_collection(&world.api, SLICES)->status = 500;
    assert_int_equal(open_source(&world), 0);
    UNTIL(&world, control_kubernetes_stats(world.source).troubles > 20); /* the missing kinds' too */
    turn(&world, 200); /* wait_ms is over: it does not count for Slices */
    assert_int_equal(world.commits, 0);
    api_collection(&world.api, SLICES)->status = 200;
    UNTIL(&world, world.synced > 0);
    assert_int_equal(world.commits, 1);
    assert_int_equal(world.before_synced, 3);
    struct control_kubernetes_stats stats = control_kubernetes_stats(world.source);
    assert_int_equal(stats.states[CONTROL_POD], CONTROL_KIND_SYNCED);
    assert_int_equal(stats.states[CONTROL_HTTP_ROUTE], CONTROL_KIND_MISSING);
    assert_int_equal(stats.objects, 3);
    world_done(&world);
}

static void a_needed_kind_that_is_refused_holds_it_up(void **state)
{
    struct world world;
    (void)state;
    world_init(&world);
    api_collection(&world.api, OURS "authorizationpolicies")->status = 403;
    assert_int_equal(open_source(&world), 0);
    UNTIL(&world, control_kubernetes_stats(world.source).states[CONTROL_AUTHORIZATION_POLICY] == CONTROL_KIND_DENIED);
    turn(&world, 200);
    assert_int_equal(world.synced, 0);
    api_collection(&world.api, OURS "authorizationpolicies")->status = 200;
    UNTIL(&world, world.synced > 0);
    world_done(&world);
}

static void another_kind_that_is_refused_does_not(void **state)
{
    struct world world;
    (void)state;
    world_init(&world);
    api_collection(&world.api, GATEWAY "httproutes")->status = 403;
    start(&world);
    assert_int_equal(control_kubernetes_stats(world.source).states[CONTROL_HTTP_ROUTE], CONTROL_KIND_DENIED);
    api_put(&world.api, GATEWAY "httproutes", "shop/r", "\"spec\":{}", NULL);
    api_collection(&world.api, GATEWAY "httproutes")->status = 200; /* later it is there */
    UNTIL(&world, get(&world, CONTROL_HTTP_ROUTE, "shop", "r") != NULL);
    world_done(&world);
}

/* -- objects ------------------------------------------------------------------------------------------------------- */

static void objects_come_change_and_go(void **state)
{
    struct world world;
    (void)state;
    world_init(&world);
    start(&world);
    api_put(&world.api, NAMESPACES, "/late", NULL, NULL);
    UNTIL(&world, get(&world, CONTROL_NAMESPACE, "", "late") != NULL);
    api_put(&world.api, SERVICES, "shop/web", "\"spec\":{\"clusterIP\":\"10.0.0.1\",\"ports\":[{\"port\":80}]}", NULL);
    UNTIL(&world, get(&world, CONTROL_SERVICE, "shop", "web") != NULL);
    api_put(&world.api, SERVICES, "shop/web", "\"spec\":{\"clusterIP\":\"10.0.0.1\",\"ports\":[{\"port\":81}]}", NULL);
    UNTIL(&world, control_as_service(get(&world, CONTROL_SERVICE, "shop", "web"))->ports[0].port == 81);
    api_delete(&world.api, SERVICES, "shop/web");
    UNTIL(&world, get(&world, CONTROL_SERVICE, "shop", "web") == NULL);
    assert_int_equal(world.went, 1);
    assert_int_equal(world.synced, 1);
    world_done(&world);
}

static void a_heartbeat_is_no_change(void **state)
{
    struct world world;
    (void)state;
    world_init(&world);
    const char *spec =
        "\"spec\":{\"containers\":[{\"name\":\"app\",\"image\":\"a\"}]},\"status\":{\"podIP\":\"10.1.0.1\","
        "\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\",\"lastProbeTime\":null}]}";
    const char *later =
        "\"spec\":{\"containers\":[{\"name\":\"app\",\"image\":\"b\"}]},\"status\":{\"podIP\":\"10.1.0.1\","
        "\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\",\"lastProbeTime\":\"x\"},{\"type\":\"Z\"}]}";
    api_put(&world.api, PODS, "shop/web-1", spec, ",\"managedFields\":[{\"time\":\"1\"}]");
    start(&world);
    int commits = world.commits;
    uint64_t events = control_kubernetes_stats(world.source).events;
    api_put(&world.api, PODS, "shop/web-1", later,
            ",\"managedFields\":[{\"time\":\"2\"}],\"annotations\":{\"kubectl.kubernetes.io/x\":\"y\"}");
    UNTIL(&world, control_kubernetes_stats(world.source).events > events);
    turn(&world, 100);
    assert_int_equal(world.commits, commits);
    world_done(&world);
}

/* In shop/r (and new): rules may be whatever the row says. */
static void broken_objects_keep_what_was_good(void **state)
{
    struct world world;
    (void)state;
    world_init(&world);
    api_put(&world.api, GATEWAY "httproutes", "shop/r", "\"spec\":{\"hostnames\":[\"a.example\"]}", NULL);
    start(&world);
    const struct control_object *good = get(&world, CONTROL_HTTP_ROUTE, "shop", "r");
    api_put(&world.api, GATEWAY "httproutes", "shop/r", "\"spec\":{\"hostnames\":7}", NULL);
    UNTIL(&world, has_reason(&world, CONTROL_HTTP_ROUTE, "r", CONTROL_PROBLEM_INVALID_KEPT));
    assert_ptr_equal(get(&world, CONTROL_HTTP_ROUTE, "shop", "r"), good);
    assert_true(problem(&world, CONTROL_HTTP_ROUTE, "r")->kept);
    assert_non_null(
        strstr(problem(&world, CONTROL_HTTP_ROUTE, "r")->text.data, "HTTPRoute shop/r: $.spec.hostnames: "));
    api_put(&world.api, GATEWAY "httproutes", "shop/new", "\"spec\":{\"hostnames\":7}", NULL);
    UNTIL(&world, has_reason(&world, CONTROL_HTTP_ROUTE, "new", CONTROL_PROBLEM_INVALID));
    assert_null(get(&world, CONTROL_HTTP_ROUTE, "shop", "new"));
    assert_int_equal(control_kubernetes_stats(world.source).problems, 2);
    /* Good, then bad before any commit: the good one counts. */
    api_put(&world.api, GATEWAY "httproutes", "shop/fast", "\"spec\":{}", NULL);
    api_put(&world.api, GATEWAY "httproutes", "shop/fast", "\"spec\":[]", NULL);
    UNTIL(&world, has_reason(&world, CONTROL_HTTP_ROUTE, "fast", CONTROL_PROBLEM_INVALID_KEPT));
    assert_non_null(get(&world, CONTROL_HTTP_ROUTE, "shop", "fast"));
    api_put(&world.api, GATEWAY "httproutes", "shop/new", "\"spec\":{}", NULL); /* mended */
    UNTIL(&world, problem(&world, CONTROL_HTTP_ROUTE, "new") == NULL);
    assert_non_null(get(&world, CONTROL_HTTP_ROUTE, "shop", "new"));
    api_delete(&world.api, GATEWAY "httproutes", "shop/r");
    UNTIL(&world, get(&world, CONTROL_HTTP_ROUTE, "shop", "r") == NULL);
    assert_null(problem(&world, CONTROL_HTTP_ROUTE, "r"));
    world_done(&world);
}

static void policies_fail_closed(void **state)
{
    struct world world;
    (void)state;
    world_init(&world);
    api_put(&world.api, OURS "authorizationpolicies", "shop/p", "\"spec\":{\"action\":\"ALLOW\",\"rules\":[{}]}", NULL);
    start(&world);
    assert_int_equal(get(&world, CONTROL_AUTHORIZATION_POLICY, "shop", "p")->broken.len, 0);
    api_put(&world.api, OURS "authorizationpolicies", "shop/p", "\"spec\":{\"akshun\":\"ALLOW\",\"rules\":[{}]}", NULL);
    UNTIL(&world, has_reason(&world, CONTROL_AUTHORIZATION_POLICY, "p", CONTROL_PROBLEM_CLOSED));
    const struct control_object *closed = get(&world, CONTROL_AUTHORIZATION_POLICY, "shop", "p");
    assert_true(closed->broken.len > 0);
    assert_int_equal(control_as_authorization_policy(closed)->action, CONTROL_DENY);
    assert_false(problem(&world, CONTROL_AUTHORIZATION_POLICY, "p")->kept);
    api_delete(&world.api, OURS "authorizationpolicies", "shop/p");
    UNTIL(&world, get(&world, CONTROL_AUTHORIZATION_POLICY, "shop", "p") == NULL);
    assert_int_equal(control_kubernetes_stats(world.source).problems, 0);
    world_done(&world);
}

/* More policies of a namespace than are read: the rest of them might deny. What is left out closes the namespace, and
 * no other, until there is room again. */
static void what_there_is_no_room_for_closes_its_namespace(void **state)
{
    struct world world;
    (void)state;
    static const struct {
        enum control_kind kind;
        const char *path, *spec;
    } rows[] = {{CONTROL_AUTHORIZATION_POLICY, OURS "authorizationpolicies", "\"spec\":{\"action\":\"DENY\"}"},
                {CONTROL_PEER_AUTHENTICATION, OURS "peerauthentications", "\"spec\":{}"}};
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        world_init(&world);
        world.namespace_max = 2;
        api_put(&world.api, rows[i].path, "bank/a", rows[i].spec, NULL);
        api_put(&world.api, rows[i].path, "shop/a", rows[i].spec, NULL);
        api_put(&world.api, rows[i].path, "shop/b", rows[i].spec, NULL);
        api_put(&world.api, rows[i].path, "shop/c", rows[i].spec, NULL);
        start(&world); /* nobody's start waits for it */
        assert_non_null(get(&world, rows[i].kind, "shop", "b"));
        assert_null(get(&world, rows[i].kind, "shop", "c"));
        const struct control_object *stands = get(&world, rows[i].kind, "shop", ":left-out");
        assert_non_null(stands);
        assert_true(stands->broken.len > 0);
        assert_null(get(&world, rows[i].kind, "bank", ":left-out"));
        assert_true(has_reason(&world, rows[i].kind, ":left-out", CONTROL_PROBLEM_CLOSED));
        api_put(&world.api, rows[i].path, "bank/b", rows[i].spec, NULL);
        UNTIL(&world, get(&world, rows[i].kind, "bank", "b") != NULL);
        api_put(&world.api, rows[i].path, "bank/c", rows[i].spec, NULL); /* also behind the list */
        UNTIL(&world, get(&world, rows[i].kind, "bank", ":left-out") != NULL);
        api_delete(&world.api, rows[i].path, "shop/a");
        UNTIL(&world,
              get(&world, rows[i].kind, "shop", "c") != NULL && get(&world, rows[i].kind, "shop", ":left-out") == NULL);
        assert_non_null(get(&world, rows[i].kind, "bank", ":left-out"));
        api_delete(&world.api, rows[i].path, "bank/a");
        UNTIL(&world,
              get(&world, rows[i].kind, "bank", "c") != NULL && get(&world, rows[i].kind, "bank", ":left-out") == NULL);
        assert_int_equal(control_kubernetes_stats(world.source).problems, 0);
        world_done(&world);
    }
}

/* What is left out goes itself, while its namespace's others stay. */
static void what_was_left_out_and_goes_opens_its_namespace(void **state)
{
    static const char policies[] = OURS "authorizationpolicies", spec[] = "\"spec\":{\"action\":\"DENY\"}";
    struct world world;
    (void)state;
    world_init(&world);
    world.namespace_max = 2;
    api_put(&world.api, policies, "shop/a", spec, NULL);
    api_put(&world.api, policies, "shop/b", spec, NULL);
    api_put(&world.api, policies, "shop/c", spec, NULL);
    start(&world);
    assert_non_null(get(&world, CONTROL_AUTHORIZATION_POLICY, "shop", ":left-out"));
    api_delete(&world.api, policies, "shop/c");
    UNTIL(&world, get(&world, CONTROL_AUTHORIZATION_POLICY, "shop", ":left-out") == NULL);
    assert_non_null(get(&world, CONTROL_AUTHORIZATION_POLICY, "shop", "a"));
    assert_non_null(get(&world, CONTROL_AUTHORIZATION_POLICY, "shop", "b"));
    api_put(&world.api, policies, "shop/c", spec, NULL);
    UNTIL(&world, get(&world, CONTROL_AUTHORIZATION_POLICY, "shop", ":left-out") != NULL);
    api_cut(&world.api);
    api_delete(&world.api, policies, "shop/c");
    api_forget(&world.api); /* the watch lists anew, and has no word of it */
    UNTIL(&world, get(&world, CONTROL_AUTHORIZATION_POLICY, "shop", ":left-out") == NULL);
    assert_int_equal(control_kubernetes_stats(world.source).problems, 0);
    world_done(&world);
}

/* Of settings one object counts: without room for it they are as those that are not understood. */
static void settings_without_room_close(void **state)
{
    struct world world;
    (void)state;
    world_init(&world);
    world.namespace_max = 1;
    api_put(&world.api, OURS "meshsettings", "fairlead-system/a", "\"spec\":{}", NULL);
    api_put(&world.api, OURS "meshsettings", "fairlead-system/default", "\"spec\":{}", NULL);
    api_put(&world.api, OURS "meshsettings", "shop/a", "\"spec\":{}", NULL);
    api_put(&world.api, OURS "meshsettings", "shop/default", "\"spec\":{}", NULL);
    start(&world);
    assert_int_equal(control_model_settings(control_store_model(world.store)).egress, CONTROL_EGRESS_REFUSE);
    assert_null(get(&world, CONTROL_MESH_SETTINGS, "shop", "default"));
    api_delete(&world.api, OURS "meshsettings", "fairlead-system/a");
    UNTIL(&world, control_model_settings(control_store_model(world.store)).egress == CONTROL_EGRESS_ALLOW_ANY);
    world_done(&world);
}

static void settings_that_were_good_stay(void **state)
{
    struct world world;
    (void)state;
    world_init(&world);
    api_put(&world.api, OURS "meshsettings", "fairlead-system/default", "\"spec\":{\"clusterDomain\":\"corp.example\"}",
            NULL);
    start(&world);
    api_put(&world.api, OURS "meshsettings", "fairlead-system/default", "\"spec\":{\"unknown\":1}", NULL);
    UNTIL(&world, has_reason(&world, CONTROL_MESH_SETTINGS, "default", CONTROL_PROBLEM_INVALID_KEPT));
    assert_true(
        fl_span_eq_str(control_model_settings(control_store_model(world.store)).cluster_domain, "corp.example"));
    world_done(&world);
}

static void raw_objects_are_told(void **state)
{
    struct world world;
    (void)state;
    world_init(&world);
    api_put(&world.api, GATEWAY "gateways", "shop/g", "\"spec\":{\"gatewayClassName\":\"other\"}", NULL);
    api_put(&world.api, OURS "telemetries", "shop/t", "\"spec\":{\"unknown\":1}", NULL);
    start(&world);
    assert_int_equal(world.objects, 2);
    api_put(&world.api, GATEWAY "referencegrants", "shop/g", "\"spec\":{}", NULL);
    api_delete(&world.api, OURS "telemetries", "shop/t");
    UNTIL(&world, world.objects == 3);
    assert_int_equal(world.last, FL_KUBE_DELETED);
    world_done(&world);
}

/* -- an API server with troubles ----------------------------------------------------------------------------------- */

static void what_went_while_nobody_looked_is_gone(void **state)
{
    struct world world;
    (void)state;
    world_init(&world);
    api_put(&world.api, SERVICES, "shop/a", "\"spec\":{}", NULL);
    api_put(&world.api, SERVICES, "shop/b", "\"spec\":[]", NULL); /* a problem */
    start(&world);
    assert_int_equal(control_kubernetes_stats(world.source).problems, 1);
    world.api.away = true;
    api_cut(&world.api);
    api_delete(&world.api, SERVICES, "shop/a");
    api_delete(&world.api, SERVICES, "shop/b");
    api_put(&world.api, SERVICES, "shop/c", "\"spec\":{}", NULL);
    api_forget(&world.api);
    turn(&world, 100);
    assert_non_null(get(&world, CONTROL_SERVICE, "shop", "a")); /* what was last known stays in force */
    world.api.away = false;
    UNTIL(&world, get(&world, CONTROL_SERVICE, "shop", "c") != NULL);
    UNTIL(&world, get(&world, CONTROL_SERVICE, "shop", "a") == NULL);
    UNTIL(&world, control_kubernetes_stats(world.source).problems == 0);
    world_done(&world);
}

static void crds_come_late_and_go(void **state)
{
    struct world world;
    (void)state;
    world_init(&world);
    start(&world);
    assert_int_equal(control_kubernetes_stats(world.source).states[CONTROL_HTTP_ROUTE], CONTROL_KIND_MISSING);
    api_put(&world.api, GATEWAY "httproutes", "shop/r", "\"spec\":{}", NULL);
    UNTIL(&world, get(&world, CONTROL_HTTP_ROUTE, "shop", "r") != NULL);
    api_collection(&world.api, GATEWAY "httproutes")->status = 404;
    api_cut(&world.api);
    UNTIL(&world, control_kubernetes_stats(world.source).states[CONTROL_HTTP_ROUTE] == CONTROL_KIND_MISSING);
    UNTIL(&world, get(&world, CONTROL_HTTP_ROUTE, "shop", "r") == NULL);
    assert_int_equal(world.last, FL_KUBE_DELETED);
    world_done(&world);
}

static void a_short_404_takes_nothing(void **state)
{
    struct world world;
    (void)state;
    world_init(&world);
    api_put(&world.api, OURS "authorizationpolicies", "shop/p", "\"spec\":{}", NULL);
    start(&world);
    struct api_collection *policies = api_collection(&world.api, OURS "authorizationpolicies");
    policies->status = 404;
    api_cut(&world.api);
    uint64_t troubles = control_kubernetes_stats(world.source).troubles;
    UNTIL(&world, control_kubernetes_stats(world.source).troubles > troubles);
    policies->status = 200;
    unsigned watches = policies->watches;
    UNTIL(&world, policies->watches > watches);
    assert_int_equal(world.went, 0);
    assert_non_null(get(&world, CONTROL_AUTHORIZATION_POLICY, "shop", "p"));
    world_done(&world);
}

static void another_version_takes_over(void **state)
{
    struct world world;
    (void)state;
    const char *spec = "\"spec\":{\"rules\":[{\"backendRefs\":[{\"name\":\"web\",\"port\":80}]}]}";
    const char *old = "/apis/gateway.networking.k8s.io/v1alpha2/tcproutes";
    world_init(&world);
    api_put(&world.api, old, "shop/a", spec, NULL);
    api_put(&world.api, old, "shop/b", spec, NULL);
    start(&world);
    assert_non_null(get(&world, CONTROL_TCP_ROUTE, "shop", "a"));
    api_put(&world.api, GATEWAY "tcproutes", "shop/b", spec, NULL); /* of the two one is left */
    api_collection(&world.api, old)->status = 404;
    api_cut(&world.api);
    UNTIL(&world, get(&world, CONTROL_TCP_ROUTE, "shop", "a") == NULL);
    assert_non_null(get(&world, CONTROL_TCP_ROUTE, "shop", "b"));
    assert_int_equal(world.went, 1);
    world_done(&world);
}

/* What is told over one stream, cut after every number of bytes, is always the same world in the end. */
static void streams_are_cut_at_any_byte(void **state)
{
    (void)state;
    for (size_t cut = 0, ends = 0; ends < 3; cut += cut < 64 ? 1 : 7) {
        struct world world;
        world_init(&world);
        start(&world);
        world.api.cut_after = cut;
        api_put(&world.api, SERVICES, "shop/a", "\"spec\":{\"ports\":[{\"port\":80}]}", NULL);
        api_put(&world.api, SERVICES, "shop/b", "\"spec\":{\"ports\":[{\"port\":80}]}", NULL);
        api_put(&world.api, SERVICES, "shop/a", "\"spec\":{\"ports\":[{\"port\":81}]}", NULL);
        api_delete(&world.api, SERVICES, "shop/b");
        ends += world.api.cut_after != SIZE_MAX; /* it was not cut: the end is near */
        api_put(&world.api, SERVICES, "shop/end", "\"spec\":{}", NULL);
        UNTIL(&world, get(&world, CONTROL_SERVICE, "shop", "end") != NULL);
        const struct control_object *a = get(&world, CONTROL_SERVICE, "shop", "a");
        assert_non_null(a);
        assert_int_equal(control_as_service(a)->ports[0].port, 81);
        assert_null(get(&world, CONTROL_SERVICE, "shop", "b"));
        world_done(&world);
    }
}

/* -- Secrets ------------------------------------------------------------------------------------------------------- */

#define CLASS(name) "\"spec\":{\"controllerName\":\"" name "\"}"
#define LISTENS(refs)                                                                                                  \
    "\"spec\":{\"gatewayClassName\":\"fairlead\",\"listeners\":[{\"name\":\"a\",\"port\":443,\"protocol\":\"HTTPS\","  \
    "\"tls\":{\"certificateRefs\":[" refs "]}}]}"

static void secrets_come_by_reference_alone(void **state)
{
    struct world world;
    (void)state;
    world_init(&world);
    api_put(&world.api, SECRETS, "shop/used", "\"type\":\"kubernetes.io/tls\",\"data\":{}", NULL);
    api_put(&world.api, SECRETS, "shop/other", "\"type\":\"Opaque\",\"data\":{}", NULL);
    api_put(&world.api, SECRETS, "bank/far", "\"type\":\"kubernetes.io/tls\",\"data\":{}", NULL);
    api_put(&world.api, GATEWAY "gatewayclasses", "/fairlead", CLASS("fairlead.io/gateway-controller"), NULL);
    api_put(&world.api, GATEWAY "gateways", "shop/g",
            LISTENS("{\"name\":\"used\"},{\"name\":\"far\",\"namespace\":\"bank\"},{\"name\":\"none\"},"
                    "{\"name\":\"../pods\"},{\"name\":\"x\",\"kind\":\"ConfigMap\"}"),
            NULL);
    start(&world);
    assert_non_null(get(&world, CONTROL_SECRET, "shop", "used")); /* before it is ready */
    assert_null(get(&world, CONTROL_SECRET, "shop", "other"));
    assert_null(get(&world, CONTROL_SECRET, "bank", "far"));
    assert_int_equal(api_collection(&world.api, SECRETS)->lists, 0);
    api_put(
        &world.api, GATEWAY "referencegrants", "bank/g",
        "\"spec\":{\"from\":[{\"group\":\"gateway.networking.k8s.io\",\"kind\":\"Gateway\",\"namespace\":\"shop\"}],"
        "\"to\":[{\"group\":\"\",\"kind\":\"Secret\"}]}",
        NULL);
    UNTIL(&world, get(&world, CONTROL_SECRET, "bank", "far") != NULL);
    api_delete(&world.api, GATEWAY "referencegrants", "bank/g");
    UNTIL(&world, get(&world, CONTROL_SECRET, "bank", "far") == NULL);
    uint64_t version = get(&world, CONTROL_SECRET, "shop", "used")->version;
    api_put(&world.api, SECRETS, "shop/used", "\"type\":\"kubernetes.io/tls\",\"data\":{\"tls.crt\":\"QQ==\"}", NULL);
    UNTIL(&world, get(&world, CONTROL_SECRET, "shop", "used")->version != version);
    api_put(&world.api, GATEWAY "gatewayclasses", "/fairlead", CLASS("example.com/other"), NULL);
    UNTIL(&world, get(&world, CONTROL_SECRET, "shop", "used") == NULL);
    world_done(&world);
}

static void secrets_that_cannot_be_read_stay(void **state)
{
    struct world world;
    (void)state;
    world_init(&world);
    api_put(&world.api, SECRETS, "shop/used", "\"type\":\"kubernetes.io/tls\",\"data\":{}", NULL);
    api_put(&world.api, GATEWAY "gatewayclasses", "/fairlead", CLASS("fairlead.io/gateway-controller"), NULL);
    api_put(&world.api, GATEWAY "gateways", "shop/g", LISTENS("{\"name\":\"used\"},{\"name\":\"new\"}"), NULL);
    start(&world);
    world.api.forbidden_fetches = 403;
    UNTIL(&world, has_reason(&world, CONTROL_SECRET, "used", CONTROL_PROBLEM_INVALID_KEPT));
    UNTIL(&world, has_reason(&world, CONTROL_SECRET, "new", CONTROL_PROBLEM_INVALID));
    assert_non_null(get(&world, CONTROL_SECRET, "shop", "used"));
    world.api.forbidden_fetches = 0;
    UNTIL(&world, control_kubernetes_stats(world.source).problems == 0);
    api_delete(&world.api, SECRETS, "shop/used");
    UNTIL(&world, get(&world, CONTROL_SECRET, "shop", "used") == NULL);
    world_done(&world);
}

/* -- memory -------------------------------------------------------------------------------------------------------- */

static void fill(struct world *world)
{
    api_put(&world->api, SERVICES, "shop/web", "\"spec\":{\"clusterIP\":\"10.0.0.1\",\"ports\":[{\"port\":80}]}", NULL);
    api_put(&world->api, PODS, "shop/web-1", "\"spec\":{},\"status\":{\"podIP\":\"10.1.0.1\"}", NULL);
    api_put(&world->api, OURS "authorizationpolicies", "shop/p", "\"spec\":{\"unknown\":1}", NULL);
    api_put(&world->api, GATEWAY "gatewayclasses", "/fairlead", CLASS("fairlead.io/gateway-controller"), NULL);
    api_put(&world->api, GATEWAY "gateways", "shop/g", LISTENS("{\"name\":\"used\"}"), NULL);
    api_put(&world->api, SECRETS, "shop/used", "\"type\":\"kubernetes.io/tls\",\"data\":{}", NULL);
}

static void memory_that_is_out_loses_nothing(void **state)
{
    (void)state;
    for (size_t nth = 1, rounds = 0; rounds < 3; nth += nth < 200 ? 1 : 13) {
        struct world world;
        world_init(&world);
        fill(&world);
        fail_at(nth);
        int result = open_source(&world);
        if (result == 0) {
            UNTIL(&world, world.synced > 0);
            UNTIL(&world, control_kubernetes_stats(world.source).problems == 1);
            api_delete(&world.api, SERVICES, "shop/web");
            api_put(&world.api, SERVICES, "shop/end", "\"spec\":{}", NULL);
            UNTIL(&world, get(&world, CONTROL_SERVICE, "shop", "end") != NULL);
            UNTIL(&world, get(&world, CONTROL_SERVICE, "shop", "web") == NULL);
            UNTIL(&world, get(&world, CONTROL_SECRET, "shop", "used") != NULL);
            UNTIL(&world, count_all(&world) == 7);
        }
        rounds += !fail_happened();
        world_done(&world);
    }
}

/* -- what is cut off is not needed --------------------------------------------------------------------------------- */

static void put_document(struct control_store *store, const struct fl_json *document, bool trimmed)
{
    static const struct control_origin origin = {.source = {"", 0}};
    struct control_identity identity;
    struct fl_err err = {0};
    FL_CLEANUP(control_cleanup_object) struct control_object *object = NULL;
    FL_CLEANUP(fl_cleanup_json) struct fl_json *cut = NULL;
    if (control_object_read(document, NULL, &origin, FL_SPAN(CONTROL_ROOT_DEFAULT), &object, &identity, &err) !=
        CONTROL_READ_OK)
        return;
    if (trimmed && object->kind != CONTROL_SECRET) { /* of a file, with stringData */
        enum control_kind kind = object->kind;
        control_object_unref(fl_take(object));
        cut = control_trim(kind, fl_json_string(fl_json_get(document, "apiVersion")).data, document);
        assert_int_equal(
            control_object_read(cut, NULL, &origin, FL_SPAN(CONTROL_ROOT_DEFAULT), &object, &identity, &err),
            CONTROL_READ_OK);
    }
    object->version = 0; /* of what it was made of */
    object->metadata.generation = 0;
    assert_int_equal(control_store_put(store, object), 0);
}

static void dump(const struct fl_yaml *yaml, bool trimmed, struct fl_buf *out)
{
    struct control_store *store = NULL;
    struct control_diff *diff = NULL;
    assert_int_equal(control_store_new(&store), 0);
    for (size_t i = 0; i < fl_yaml_count(yaml); i++)
        put_document(store, fl_yaml_document(yaml, i), trimmed);
    assert_int_equal(control_store_commit(store, &diff), 0);
    assert_int_equal(model_dump(diff->after, out), 0);
    control_diff_free(diff);
    control_store_free(store);
}

static void trimmed_objects_make_the_same_model(void **state)
{
    (void)state;
    DIR *folder = opendir(GOLDEN);
    assert_non_null(folder);
    int cases = 0;
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        FL_CLEANUP(fl_cleanup_yaml) struct fl_yaml *yaml = NULL;
        struct fl_buf text, whole, trimmed;
        struct fl_err err = {0};
        char path[512];
        if (!fl_span_ends_with(fl_span_str(entry->d_name), FL_SPAN(".yaml")))
            continue;
        snprintf(path, sizeof(path), "%s/%s", GOLDEN, entry->d_name);
        fl_buf_init(&text, 1 << 20);
        fl_buf_init(&whole, 4 << 20);
        fl_buf_init(&trimmed, 4 << 20);
        assert_int_equal(fl_buf_read_file(&text, path), 0);
        assert_int_equal(fl_yaml_parse(fl_buf_span(&text), entry->d_name, NULL, &yaml, &err), 0);
        dump(yaml, false, &whole);
        dump(yaml, true, &trimmed);
        assert_string_equal(fl_buf_str(&trimmed), fl_buf_str(&whole));
        fl_buf_done(&text);
        fl_buf_done(&whole);
        fl_buf_done(&trimmed);
        cases++;
    }
    closedir(folder);
    assert_true(cases >= 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_commit_when_all_are_there),
        cmocka_unit_test(a_needed_kind_that_is_refused_holds_it_up),
        cmocka_unit_test(another_kind_that_is_refused_does_not),
        cmocka_unit_test(objects_come_change_and_go),
        cmocka_unit_test(a_heartbeat_is_no_change),
        cmocka_unit_test(broken_objects_keep_what_was_good),
        cmocka_unit_test(policies_fail_closed),
        cmocka_unit_test(what_there_is_no_room_for_closes_its_namespace),
        cmocka_unit_test(what_was_left_out_and_goes_opens_its_namespace),
        cmocka_unit_test(settings_without_room_close),
        cmocka_unit_test(settings_that_were_good_stay),
        cmocka_unit_test(raw_objects_are_told),
        cmocka_unit_test(what_went_while_nobody_looked_is_gone),
        cmocka_unit_test(crds_come_late_and_go),
        cmocka_unit_test(a_short_404_takes_nothing),
        cmocka_unit_test(another_version_takes_over),
        cmocka_unit_test(streams_are_cut_at_any_byte),
        cmocka_unit_test(secrets_come_by_reference_alone),
        cmocka_unit_test(secrets_that_cannot_be_read_stay),
        cmocka_unit_test(memory_that_is_out_loses_nothing),
        cmocka_unit_test(trimmed_objects_make_the_same_model),
    };
    signal(SIGPIPE, SIG_IGN); /* NOLINT: a test's own */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
