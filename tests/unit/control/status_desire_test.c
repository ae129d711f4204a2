/* What has to be written of an object: from the model, and from what stands in the API. */
#include "control/model/store.h"
#include "control/source/documents.h"
#include "control/status/desire.h"
#include "tests/support/fail.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define NOW      1767323045 /* 2026-01-02T03:04:05Z */
#define NOW_TEXT "2026-01-02T03:04:05Z"
#define OLD      "2025-01-01T00:00:00Z"

#define SERVICE "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: 80}]}\n---\n"
#define ROUTE                                                                                                          \
    "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r, generation: 2}\n"                  \
    "spec: {parentRefs: [{group: '', kind: Service, name: a}], rules: [{backendRefs: [{name: a, port: 80}]}]}\n---\n"
#define CLASS                                                                                                          \
    "apiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: {name: fairlead, generation: 1}\n"        \
    "spec: {controllerName: fairlead.io/gateway-controller}\n---\n"
#define GATEWAY                                                                                                        \
    "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: edge, generation: 1}\n"                 \
    "spec: {gatewayClassName: fairlead, listeners: [{name: web, port: 80, protocol: HTTP}]}\n---\n"
#define EDGE_SERVICE                                                                                                   \
    "apiVersion: v1\nkind: Service\nmetadata: {name: edge-fairlead}\n"                                                 \
    "spec: {clusterIP: 10.96.0.9, ports: [{port: 80}]}\n"
#define EDGE_SLICE(ready)                                                                                              \
    "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n"                                                           \
    "metadata: {name: edge-fairlead-x, labels: {kubernetes.io/service-name: edge-fairlead}}\naddressType: IPv4\n"      \
    "ports: [{port: 80}]\nendpoints: [{addresses: [10.1.0.5], conditions: {ready: " ready "}}]\n---\n"
#define INGRESS "status: {loadBalancer: {ingress: [{ip: 192.0.2.7}, {hostname: lb.example.com}]}}\n"

static struct control_store *store_of(const char *text)
{
    struct control_store *store = NULL;
    struct control_diff *diff = NULL;
    struct control_documents documents;
    assert_int_equal(control_store_new(&store), 0);
    assert_int_equal(control_documents_read(fl_span_str(text), "t.yaml", FL_SPAN(CONTROL_ROOT_DEFAULT), &documents), 0);
    for (size_t i = 0; i < documents.problem_count; i++)
        fail_msg("%s", documents.problems[i].text);
    for (size_t i = 0; i < documents.object_count; i++)
        assert_int_equal(control_store_put(store, documents.objects[i].object), 0);
    assert_int_equal(control_store_commit(store, &diff), 0);
    control_diff_free(diff);
    control_documents_done(&documents);
    return store;
}

struct world {
    struct control_store *store;
    struct fl_json *root; /* {parents, status} */
    struct control_seen seen;
    struct control_desire_context context;
};

static void world_init(struct world *world, const char *yaml, enum control_kind kind, const char *name_space,
                       const char *name, int64_t generation, const char *json)
{
    struct fl_err err = {0};
    *world = (struct world){.store = store_of(yaml)};
    if (fl_json_parse(fl_span_str(json), NULL, &world->root, &err) < 0)
        fail_msg("%s", err.text);
    world->seen = (struct control_seen){.kind = kind,
                                        .name_space = fl_span_str(name_space),
                                        .name = fl_span_str(name),
                                        .version = FL_SPAN("77"),
                                        .generation = generation,
                                        .parents = fl_json_get(world->root, "parents"),
                                        .status = fl_json_get(world->root, "status")};
    world->context = (struct control_desire_context){.model = control_store_model(world->store), .now = NOW};
}

static void world_done(struct world *world)
{
    fl_json_free(world->root);
    control_store_free(world->store);
}

/* The patch's status as text; then written there, after which nothing is to be done. */
static char *settle(struct world *world)
{
    struct control_desired desired = {NULL, 0}, none = {NULL, 0};
    struct fl_buf text;
    assert_int_equal(control_desire(&world->context, &world->seen, &desired), CONTROL_DESIRE_WRITE);
    const struct fl_json *metadata = fl_json_get(desired.patch, "metadata");
    assert_string_equal(fl_json_string(fl_json_get(metadata, "resourceVersion")).data, "77");
    fl_buf_init(&text, 1 << 20);
    assert_int_equal(fl_json_print(fl_json_get(desired.patch, "status"), &text), 0);
    char *copy = fl_span_dup(fl_buf_span(&text));
    fl_buf_done(&text);
    struct fl_json *status = fl_json_get(world->root, "status");
    if (status == NULL) {
        assert_int_equal(fl_json_set(world->root, "status", fl_json_new_object()), 0);
        status = fl_json_get(world->root, "status");
    }
    const struct fl_json *member = fl_json_first(fl_json_get(desired.patch, "status"));
    for (; member != NULL; member = fl_json_next(member))
        assert_int_equal(fl_json_set_span(status, fl_json_name(member), fl_json_copy(member)), 0);
    world->seen.status = status;
    world->context.now += 3600;
    assert_int_equal(control_desire(&world->context, &world->seen, &none), CONTROL_DESIRE_NOTHING);
    fl_json_free(desired.patch);
    return copy;
}

#define CONDITION(type, status, reason, message, generation, time)                                                     \
    "{\"type\":\"" type "\",\"status\":\"" status "\",\"reason\":\"" reason "\",\"message\":\"" message                \
    "\",\"observedGeneration\":" generation ",\"lastTransitionTime\":\"" time "\"}"
#define REFERENCE "{\"group\":\"\",\"kind\":\"Service\",\"name\":\"a\"}"
#define MESH      "\"controllerName\":\"fairlead.io/mesh-controller\""

static void a_route_without_a_status_gets_one(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, SERVICE ROUTE, CONTROL_HTTP_ROUTE, "default", "r", 2, "{\"parents\":[" REFERENCE "]}");
    FL_CLEANUP(fl_cleanup_free) char *text = settle(&world);
    assert_string_equal(text,
                        "{\"parents\":[{\"parentRef\":" REFERENCE "," MESH
                        ",\"conditions\":[" CONDITION("Accepted", "True", "Accepted", "", "2", NOW_TEXT) "," CONDITION(
                            "ResolvedRefs", "True", "ResolvedRefs", "", "2", NOW_TEXT) "]}]}");
    world_done(&world);
}

#define OTHER "{\"parentRef\":" REFERENCE ",\"controllerName\":\"example.com/other\",\"conditions\":[]}"
#define GONE  "{\"parentRef\":{\"group\":\"\",\"kind\":\"Service\",\"name\":\"gone\"}," MESH ",\"conditions\":[]}"

static void entries_of_others_stay_and_ours_of_parents_that_went_go(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, SERVICE ROUTE, CONTROL_HTTP_ROUTE, "default", "r", 2,
               "{\"parents\":[" REFERENCE "],\"status\":{\"parents\":[" GONE "," OTHER ",{\"parentRef\":" REFERENCE
               "," MESH ",\"conditions\":[" CONDITION("Accepted", "True", "Accepted", "", "1", OLD) "," CONDITION(
                   "ResolvedRefs", "False", "BackendNotFound", "x", "1",
                   OLD) "," CONDITION("PartiallyInvalid", "True", "X", "x", "1", OLD) "]}]}}");
    FL_CLEANUP(fl_cleanup_free) char *text = settle(&world);
    /* The time moves where the status did, and only there; a condition that is over is gone. */
    assert_string_equal(text, "{\"parents\":[" OTHER ",{\"parentRef\":" REFERENCE "," MESH
                              ",\"conditions\":[" CONDITION("Accepted", "True", "Accepted", "", "2", OLD) "," CONDITION(
                                  "ResolvedRefs", "True", "ResolvedRefs", "", "2", NOW_TEXT) "]}]}");
    world_done(&world);
}

static void a_route_of_nobody_we_know_is_left_alone(void **state)
{
    (void)state;
    struct world world;
    struct control_desired desired;
    world_init(&world,
               "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r, generation: 2}\n"
               "spec: {parentRefs: [{name: theirs}]}\n",
               CONTROL_HTTP_ROUTE, "default", "r", 2, "{\"parents\":[{\"name\":\"theirs\"}]}");
    assert_int_equal(control_desire(&world.context, &world.seen, &desired), CONTROL_DESIRE_NOTHING);
    world_done(&world);
}

static void nothing_is_said_of_what_the_model_does_not_know(void **state)
{
    (void)state;
    struct world world;
    struct control_desired desired;
    world_init(&world, SERVICE ROUTE, CONTROL_HTTP_ROUTE, "default", "r", 3, "{\"parents\":[" REFERENCE "]}");
    assert_int_equal(control_desire(&world.context, &world.seen, &desired), CONTROL_DESIRE_WAIT);
    world.seen.name = FL_SPAN("other");
    assert_int_equal(control_desire(&world.context, &world.seen, &desired), CONTROL_DESIRE_WAIT);
    world_done(&world);
}

static void what_could_not_be_read_says_why(void **state)
{
    (void)state;
    const struct control_problem problem = {.reason = CONTROL_PROBLEM_INVALID_KEPT,
                                            .known = true,
                                            .text = FL_SPAN("$.spec.rules[0].timeouts.request: no duration")};
    struct world world;
    world_init(&world, SERVICE ROUTE, CONTROL_HTTP_ROUTE, "default", "r", 3, "{\"parents\":[" REFERENCE "]}");
    world.context.problem = &problem;
    FL_CLEANUP(fl_cleanup_free) char *text = settle(&world);
    assert_string_equal(text, "{\"parents\":[{" MESH ",\"conditions\":[" CONDITION(
                                  "Accepted", "False", "UnsupportedValue",
                                  "$.spec.rules[0].timeouts.request: no duration; in force is the version before", "3",
                                  NOW_TEXT) "],\"parentRef\":" REFERENCE "}]}");
    world.seen = (struct control_seen){.kind = CONTROL_TRAFFIC_POLICY,
                                       .name_space = FL_SPAN("default"),
                                       .name = FL_SPAN("t"),
                                       .version = FL_SPAN("77"),
                                       .generation = 1};
    assert_int_equal(fl_json_remove(world.root, FL_SPAN("status")), 0);
    world.context.now = NOW;
    FL_CLEANUP(fl_cleanup_free) char *own = settle(&world);
    assert_string_equal(own, "{\"conditions\":[" CONDITION(
                                 "Accepted", "False", "Invalid",
                                 "$.spec.rules[0].timeouts.request: no duration; in force is the version before", "1",
                                 NOW_TEXT) "]}");
    world_done(&world);
}

/* The Gateway's own Programmed, "<status> <reason>", and its addresses. */
static void gateway_stands(const char *yaml, const char *status, const char *programmed, const char *addresses)
{
    struct world world;
    char found[128];
    world_init(&world, yaml, CONTROL_GATEWAY, "default", "edge", 1, status);
    FL_CLEANUP(fl_cleanup_free) char *text = settle(&world);
    const struct fl_json *item = fl_json_first(fl_json_get(world.seen.status, "conditions"));
    while (item != NULL && !fl_span_eq_str(fl_json_string(fl_json_get(item, "type")), "Programmed"))
        item = fl_json_next(item);
    snprintf(found, sizeof(found), "%.*s %.*s", FL_SPAN_ARG(fl_json_string(fl_json_get(item, "status"))),
             FL_SPAN_ARG(fl_json_string(fl_json_get(item, "reason"))));
    assert_string_equal(found, programmed);
    struct fl_buf list;
    fl_buf_init(&list, 4096);
    const struct fl_json *address = fl_json_first(fl_json_get(world.seen.status, "addresses"));
    for (; address != NULL; address = fl_json_next(address))
        assert_int_equal(fl_buf_printf(&list, "%.*s=%.*s ", FL_SPAN_ARG(fl_json_string(fl_json_get(address, "type"))),
                                       FL_SPAN_ARG(fl_json_string(fl_json_get(address, "value")))),
                         0);
    assert_string_equal(fl_buf_str(&list), addresses);
    fl_buf_done(&list);
    world_done(&world);
}

#define DEPLOYED(status, reason)                                                                                       \
    "{\"status\":{\"conditions\":[" CONDITION("fairlead.io/Deployed", status, reason, "why", "1", OLD) "]}}"

static void a_gateway_is_programmed_when_its_proxies_serve(void **state)
{
    (void)state;
    gateway_stands(CLASS GATEWAY, "{}", "False AddressNotAssigned", "");
    gateway_stands(CLASS GATEWAY EDGE_SERVICE, "{}", "False Pending", "IPAddress=10.96.0.9 ");
    gateway_stands(CLASS GATEWAY EDGE_SLICE("false") EDGE_SERVICE, "{}", "False Pending", "IPAddress=10.96.0.9 ");
    gateway_stands(CLASS GATEWAY EDGE_SLICE("true") EDGE_SERVICE, "{}", "True Programmed", "IPAddress=10.96.0.9 ");
    gateway_stands(CLASS GATEWAY EDGE_SLICE("true") EDGE_SERVICE INGRESS, "{}", "True Programmed",
                   "IPAddress=192.0.2.7 Hostname=lb.example.com ");
    gateway_stands(CLASS GATEWAY, DEPLOYED("True", "Deployed"), "False AddressNotAssigned", "");
    gateway_stands(CLASS GATEWAY, DEPLOYED("False", "NameTaken"), "False NoResources", "");
    gateway_stands(CLASS GATEWAY EDGE_SLICE("true") EDGE_SERVICE, DEPLOYED("False", "AddressNotUsable"),
                   "False AddressNotUsable", "IPAddress=10.96.0.9 ");
    gateway_stands(CLASS GATEWAY, DEPLOYED("False", "InvalidParameters"), "False Invalid", "");
}

static void listeners_of_a_gateway_that_nobody_serves_are_not_programmed(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, CLASS GATEWAY, CONTROL_GATEWAY, "default", "edge", 1, DEPLOYED("False", "InvalidParameters"));
    FL_CLEANUP(fl_cleanup_free) char *text = settle(&world);
    assert_string_equal(
        text,
        "{\"conditions\":[" CONDITION("Accepted", "False", "InvalidParameters", "why", "1", NOW_TEXT) "," CONDITION(
            "Programmed", "False", "Invalid", "why", "1",
            NOW_TEXT) "," CONDITION("fairlead.io/Deployed", "False", "InvalidParameters", "why", "1",
                                    OLD) "],\"listeners\":[{\"name\":\"web\",\"attachedRoutes\":0,\"supportedKinds\":[{"
                                         "\"group\":"
                                         "\"gateway.networking.k8s.io\",\"kind\":\"HTTPRoute\"},{\"group\":\"gateway."
                                         "networking.k8s.io\",\"kind\":\"GRPCRoute\"}],\"conditions\":"
                                         "[" CONDITION("Accepted", "True", "Accepted", "", "1", NOW_TEXT) "," CONDITION(
                                             "Conflicted", "False", "NoConflicts", "", "1",
                                             NOW_TEXT) "," CONDITION("ResolvedRefs", "True", "ResolvedRefs", "", "1",
                                                                     NOW_TEXT) "," CONDITION("Programmed", "False",
                                                                                             "Invalid", "why", "1",
                                                                                             NOW_TEXT) "]}],"
                                                                                                       "\"addresses\":["
                                                                                                       "]}");
    world_done(&world);
}

static void a_gateway_of_another_class_is_left_alone(void **state)
{
    (void)state;
    struct world world;
    struct control_desired desired;
    world_init(&world,
               "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: edge, generation: 1}\n"
               "spec: {gatewayClassName: theirs, listeners: [{name: web, port: 80, protocol: HTTP}]}\n",
               CONTROL_GATEWAY, "default", "edge", 1, "{}");
    assert_int_equal(control_desire(&world.context, &world.seen, &desired), CONTROL_DESIRE_NOTHING);
    world_done(&world);
}

#define SET                                                                                                            \
    "apiVersion: gateway.networking.k8s.io/v1\nkind: ListenerSet\nmetadata: {name: more, generation: 3}\n"             \
    "spec: {parentRef: {name: edge}, listeners: [{name: other, port: 80, protocol: HTTP, hostname: "                   \
    "a.example}]}\n---\n"
#define OPEN_GATEWAY                                                                                                   \
    "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: edge, generation: 1}\n"                 \
    "spec: {gatewayClassName: fairlead, allowedListeners: {namespaces: {from: Same}},\n"                               \
    "  listeners: [{name: web, port: 80, protocol: HTTP}]}\n---\n"

/* What stands in status of the ListenerSet: two texts of its conditions, and how many listeners it tells of. */
static void set_stands(const char *yaml, const char *accepted, const char *programmed, size_t listeners)
{
    struct world world;
    world_init(&world, yaml, CONTROL_LISTENER_SET, "default", "more", 3, "{\"parents\":[]}");
    FL_CLEANUP(fl_cleanup_free) char *text = settle(&world);
    if (strstr(text, accepted) == NULL || strstr(text, programmed) == NULL)
        fail_msg("%s", text);
    assert_int_equal(fl_json_count(fl_json_get(world.seen.status, "listeners")), listeners);
    world_done(&world);
}

static void a_set_is_programmed_with_its_gateway(void **state)
{
    (void)state;
    set_stands(CLASS OPEN_GATEWAY SET "---\n" EDGE_SERVICE "---\n" EDGE_SLICE("true"),
               CONDITION("Accepted", "True", "Accepted", "", "3", NOW_TEXT),
               CONDITION("Programmed", "True", "Programmed", "", "3", NOW_TEXT), 1);
    set_stands(CLASS OPEN_GATEWAY SET "---\n" EDGE_SERVICE "---\n" EDGE_SLICE("false"),
               CONDITION("Accepted", "True", "Accepted", "", "3", NOW_TEXT), "\"reason\":\"ParentNotProgrammed\"", 1);
    set_stands(CLASS GATEWAY SET, "\"reason\":\"NotAllowed\"", "\"type\":\"Programmed\",\"status\":\"False\"", 0);
}

static void a_gateway_counts_the_sets_that_it_has(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, CLASS OPEN_GATEWAY SET, CONTROL_GATEWAY, "default", "edge", 1, "{\"parents\":[]}");
    FL_CLEANUP(fl_cleanup_free) char *text = settle(&world);
    assert_non_null(strstr(text, "\"attachedListenerSets\":1"));
    assert_int_equal(fl_json_count(fl_json_get(world.seen.status, "listeners")), 1);
    world_done(&world);
}

static void a_class_tells_features_and_what_crds_it_takes(void **state)
{
    (void)state;
    static const struct {
        const char *bundle, *found;
    } rows[] = {{"v1.6.3", "True"}, {"v1.7.0", "False"}, {"v2.0.0", "False"}, {"1.6", "False"}, {"", ""}};
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct world world;
        world_init(&world, CLASS, CONTROL_GATEWAY_CLASS, "", "fairlead", 1, "{}");
        world.context.bundle = fl_span_str(rows[i].bundle);
        FL_CLEANUP(fl_cleanup_free) char *text = settle(&world);
        struct fl_span before = {NULL, 0};
        const struct fl_json *feature = fl_json_first(fl_json_get(world.seen.status, "supportedFeatures"));
        assert_non_null(feature);
        for (; feature != NULL; feature = fl_json_next(feature)) { /* by name */
            struct fl_span name = fl_json_string(fl_json_get(feature, "name"));
            assert_true(fl_span_compare(before, name) < 0);
            before = name;
        }
        const struct fl_json *item = fl_json_first(fl_json_get(world.seen.status, "conditions"));
        while (item != NULL && !fl_span_eq_str(fl_json_string(fl_json_get(item, "type")), "SupportedVersion"))
            item = fl_json_next(item);
        assert_true(fl_span_eq_str(fl_json_string(fl_json_get(item, "status")), rows[i].found));
        world_done(&world);
    }
}

static void memory_that_is_out_is_said(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, CLASS GATEWAY EDGE_SLICE("true") EDGE_SERVICE, CONTROL_GATEWAY, "default", "edge", 1,
               DEPLOYED("True", "Deployed"));
    FAIL_EACH_ALLOCATION
    {
        struct control_desired desired = {NULL, 0};
        int result = control_desire(&world.context, &world.seen, &desired);
        fail_stop();
        if (!fail_happened())
            assert_int_equal(result, CONTROL_DESIRE_WRITE);
        else
            assert_true(result == -ENOMEM || result == CONTROL_DESIRE_WRITE);
        if (result == CONTROL_DESIRE_WRITE)
            fl_json_free(desired.patch);
    }
    world_done(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_route_without_a_status_gets_one),
        cmocka_unit_test(entries_of_others_stay_and_ours_of_parents_that_went_go),
        cmocka_unit_test(a_route_of_nobody_we_know_is_left_alone),
        cmocka_unit_test(nothing_is_said_of_what_the_model_does_not_know),
        cmocka_unit_test(what_could_not_be_read_says_why),
        cmocka_unit_test(a_gateway_is_programmed_when_its_proxies_serve),
        cmocka_unit_test(listeners_of_a_gateway_that_nobody_serves_are_not_programmed),
        cmocka_unit_test(a_gateway_of_another_class_is_left_alone),
        cmocka_unit_test(a_set_is_programmed_with_its_gateway),
        cmocka_unit_test(a_gateway_counts_the_sets_that_it_has),
        cmocka_unit_test(a_class_tells_features_and_what_crds_it_takes),
        cmocka_unit_test(memory_that_is_out_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
