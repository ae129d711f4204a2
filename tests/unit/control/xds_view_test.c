#include "control/xds/generate.h"
#include "tests/support/fail.h"
#include "tests/unit/control/xds_world.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const char world[] = "apiVersion: v1\n"
                            "kind: Pod\n"
                            "metadata: {name: web-1, namespace: demo, labels: {app: web}}\n"
                            "spec: {serviceAccountName: web, containers: [{name: app}]}\n"
                            "status: {podIPs: [{ip: 10.1.0.1}, {ip: \"fd00::1\"}]}\n"
                            "---\n"
                            "apiVersion: gateway.networking.k8s.io/v1\n"
                            "kind: Gateway\n"
                            "metadata: {name: main, namespace: edge}\n"
                            "spec: {gatewayClassName: x, listeners: [{name: a, port: 80, protocol: HTTP}]}\n";

static struct control_store *open_world(void)
{
    struct control_store *store;
    assert_int_equal(control_store_new(&store), 0);
    control_diff_free(world_put(store, fl_span_str(world)));
    return store;
}

#define WEB                                                                                                            \
    {                                                                                                                  \
        .role = CONTROL_ROLE_SIDECAR, .name = "web-1", .name_space = "demo", .ip = "10.1.0.1"                          \
    }
#define WEB_V6                                                                                                         \
    {                                                                                                                  \
        .role = CONTROL_ROLE_SIDECAR, .name = "web-1", .name_space = "demo", .ip = "fd00::1"                           \
    }
#define MOVED                                                                                                          \
    {                                                                                                                  \
        .role = CONTROL_ROLE_SIDECAR, .name = "web-1", .name_space = "demo", .ip = "10.1.0.9"                          \
    }
#define UNKNOWN                                                                                                        \
    {                                                                                                                  \
        .role = CONTROL_ROLE_SIDECAR, .name = "web-2", .name_space = "demo", .ip = "10.1.0.2"                          \
    }
#define GATEWAY                                                                                                        \
    {                                                                                                                  \
        .role = CONTROL_ROLE_GATEWAY, .name = "main", .name_space = "edge", .ip = "10.1.0.3"                           \
    }
#define NOBODYS                                                                                                        \
    {                                                                                                                  \
        .role = CONTROL_ROLE_GATEWAY, .name = "none", .name_space = "edge", .ip = "10.1.0.3"                           \
    }
#define CLIENT                                                                                                         \
    {                                                                                                                  \
        .role = CONTROL_ROLE_CLIENT                                                                                    \
    }

static void identity_and_node_must_fit(void **state)
{
    (void)state;
    static const struct {
        struct control_node node;
        const char *identity;
        int result;
        bool pod, gateway;
    } rows[] = {
        {WEB, "spiffe://cluster.local/ns/demo/sa/web", 0, true, false},
        {WEB_V6, "spiffe://cluster.local/ns/demo/sa/web", 0, true, false},
        {WEB, "", 0, true, false},                                               /* plaintext: its word */
        {WEB, "spiffe://cluster.local/ns/demo/sa/other", -EACCES, false, false}, /* another account's Pod */
        {WEB, "spiffe://cluster.local/ns/other/sa/web", -EACCES, false, false},  /* another namespace's */
        {WEB, "spiffe://elsewhere/ns/demo/sa/web", -EACCES, false, false},       /* another trust domain */
        {WEB, "spiffe://cluster.local/web", -EACCES, false, false},              /* no form of ours */
        {MOVED, "spiffe://cluster.local/ns/demo/sa/web", -EACCES, false, false}, /* another address */
        {MOVED, "", -EACCES, false, false},
        {UNKNOWN, "spiffe://cluster.local/ns/demo/sa/web", 0, false, false}, /* not there yet */
        {UNKNOWN, "spiffe://cluster.local/ns/other/sa/web", -EACCES, false, false},
        {GATEWAY, "spiffe://cluster.local/ns/edge/sa/main-fairlead", 0, false, true},
        {GATEWAY, "spiffe://cluster.local/ns/edge/sa/main", -EACCES, false, false},
        {GATEWAY, "spiffe://cluster.local/ns/demo/sa/main-fairlead", -EACCES, false, false},
        {GATEWAY, "spiffe://cluster.local/ns/demo/sa/web", -EACCES, false, false},
        {NOBODYS, "spiffe://cluster.local/ns/edge/sa/none-fairlead", 0, false, false},
        {CLIENT, "spiffe://cluster.local/ns/demo/sa/web", 0, false, false},
        {CLIENT, "", 0, false, false},
    };
    struct control_store *store = open_world();
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct control_view view;
        struct fl_arena arena;
        struct fl_err err = {0};
        fl_arena_init(&arena, 1 << 20);
        int result = control_view_make(control_store_model(store), &rows[i].node, fl_span_str(rows[i].identity), &arena,
                                       &view, &err);
        if (result != rows[i].result)
            fail_msg("row %zu: %d, %s", i, result, err.text);
        if (result == 0) {
            assert_int_equal(view.pod != NULL, rows[i].pod);
            assert_int_equal(view.gateway != NULL, rows[i].gateway);
        }
        fl_arena_done(&arena);
    }
    control_store_free(store);
}

static void a_client_is_of_its_identitys_namespace(void **state)
{
    (void)state;
    static const struct control_node node = CLIENT;
    struct control_store *store = open_world();
    struct control_view view;
    struct fl_arena arena;
    struct fl_err err;
    fl_arena_init(&arena, 1 << 20);
    assert_int_equal(control_view_make(control_store_model(store), &node,
                                       FL_SPAN("spiffe://cluster.local/ns/demo/sa/web"), &arena, &view, &err),
                     0);
    assert_true(fl_span_eq_str(view.name_space, "demo"));
    fl_arena_done(&arena);
    control_store_free(store);
}

static void generating_survives_the_nth_allocation(void **state)
{
    (void)state;
    static const struct control_node node = WEB;
    static const struct {
        enum fl_resource_type type;
        const char *name;
    } rows[] = {
        {FL_RESOURCE_LISTENER, "virtualInbound"},          {FL_RESOURCE_LISTENER, "virtualOutbound"},
        {FL_RESOURCE_LISTENER, "outbound|10.1.0.1:8080"},  {FL_RESOURCE_CLUSTER, "workload|10.1.0.1:8080"},
        {FL_RESOURCE_ENDPOINTS, "workload|10.1.0.1:8080"},
    };
    struct control_store *store = open_world();
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        FAIL_EACH_ALLOCATION
        {
            struct control_view view;
            struct fl_arena arena;
            struct control_resource *resource = NULL;
            fl_arena_init(&arena, 1 << 20);
            int result =
                control_view_make(control_store_model(store), &node, (struct fl_span){NULL, 0}, &arena, &view, NULL);
            if (result == 0)
                result = control_generate(&view, rows[i].type, fl_span_str(rows[i].name), &arena, &resource);
            fail_stop();
            assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
            assert_int_equal(resource != NULL, result == 0);
            control_resource_unref(resource);
            fl_arena_done(&arena);
        }
    }
    control_store_free(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(identity_and_node_must_fit),
        cmocka_unit_test(a_client_is_of_its_identitys_namespace),
        cmocka_unit_test(generating_survives_the_nth_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
