/* The store's promises: what is shared, what a diff says, and that a failure changes nothing. */
#include "common/doc/yaml.h"
#include "control/model/reader.h"
#include "control/model/store.h"
#include "control/model/workload.h"
#include "tests/support/fail.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static struct control_object *make(const char *text, uint32_t line)
{
    FL_CLEANUP(fl_cleanup_yaml) struct fl_yaml *yaml = NULL;
    const struct control_origin origin = {FL_SPAN("t.yaml"), line, 0, 0};
    struct control_identity identity;
    struct control_object *object = NULL;
    struct fl_err err = {0};
    assert_int_equal(fl_yaml_parse(fl_span_str(text), "t.yaml", NULL, &yaml, &err), 0);
    if (control_object_read(fl_yaml_document(yaml, 0), NULL, &origin, FL_SPAN(CONTROL_ROOT_DEFAULT), &object, &identity,
                            &err) != 0)
        fail_msg("%s", err.text);
    return object;
}

#define SERVICE(name, port)                                                                                            \
    "{apiVersion: v1, kind: Service, metadata: {name: " name "}, spec: {clusterIP: 10.0.0.1, ports: [{port: " port     \
    "}]}}"

static void put(struct control_store *store, const char *text, uint32_t line)
{
    struct control_object *object = make(text, line);
    assert_int_equal(control_store_put(store, object), 0);
    control_object_unref(object);
}

static struct control_diff *commit(struct control_store *store)
{
    struct control_diff *diff = NULL;
    assert_int_equal(control_store_commit(store, &diff), 0);
    return diff;
}

static const struct control_service *get(const struct control_model *model, const char *name)
{
    return control_model_service(model, FL_SPAN("default"), fl_span_str(name));
}

static void a_diff_says_what_changed(void **state)
{
    struct control_store *store = NULL;
    (void)state;
    assert_int_equal(control_store_new(&store), 0);
    put(store, SERVICE("a", "1"), 1);
    put(store, SERVICE("b", "1"), 1);
    struct control_diff *first = commit(store);
    assert_int_equal(first->count, 2);
    assert_int_equal(first->changes[0].kind, CONTROL_CAME);
    assert_null(get(first->before, "a"));

    put(store, SERVICE("a", "2"), 1);
    put(store, SERVICE("b", "1"), 1);
    put(store, SERVICE("c", "9"), 1);
    put(store, SERVICE("c", "1"), 1); /* the last put counts */
    struct control_diff *second = commit(store);
    assert_int_equal(second->count, 2);
    assert_int_equal(second->changes[0].kind, CONTROL_CHANGED);
    assert_int_equal(control_as_service(second->changes[0].before)->ports[0].port, 1);
    assert_int_equal(control_as_service(second->changes[0].after)->ports[0].port, 2);
    assert_int_equal(control_as_service(second->changes[1].after)->ports[0].port, 1);
    assert_ptr_equal(get(first->after, "b"), get(second->after, "b")); /* shared */

    const struct control_key key = {CONTROL_SERVICE, FL_SPAN("default"), FL_SPAN("a")};
    const struct control_key nobody = {CONTROL_SERVICE, FL_SPAN("default"), FL_SPAN("nobody")};
    assert_int_equal(control_store_remove(store, key), 0);
    assert_int_equal(control_store_remove(store, nobody), 0);
    struct control_diff *third = commit(store);
    assert_int_equal(third->count, 1);
    assert_int_equal(third->changes[0].kind, CONTROL_WENT);
    assert_null(get(third->after, "a"));
    assert_non_null(get(second->after, "a")); /* the old version is what it was */
    control_store_free(store);
    assert_int_equal(get(second->after, "a")->ports[0].port, 2); /* and outlives the store */
    control_diff_free(first);
    control_diff_free(second);
    control_diff_free(third);
}

static void nothing_new_is_no_new_model(void **state)
{
    struct control_store *store = NULL;
    (void)state;
    assert_int_equal(control_store_new(&store), 0);
    put(store, SERVICE("a", "1"), 1);
    control_diff_free(commit(store));
    put(store, SERVICE("a", "1"), 1);
    struct control_diff *same = commit(store);
    assert_int_equal(same->count, 0);
    assert_ptr_equal(same->before, same->after);
    put(store, SERVICE("a", "1"), 7); /* it moved in its file: no change, but status names the place */
    struct control_diff *moved = commit(store);
    assert_int_equal(moved->count, 0);
    assert_int_equal(get(moved->after, "a")->object.origin.document, 7);
    control_diff_free(same);
    control_diff_free(moved);
    control_store_free(store);
}

static void a_version_is_the_content(void **state)
{
    (void)state;
    struct control_object *a = make(SERVICE("a", "1"), 1), *b = make(SERVICE("a", "1"), 2);
    struct control_object *c = make(SERVICE("a", "2"), 1);
    assert_true(a->version == b->version);
    assert_true(a->version != c->version);
    assert_int_equal(a->version, UINT64_C(0x7b392c2792abca54)); /* in every process, on every machine */
    control_object_unref(a);
    control_object_unref(b);
    control_object_unref(c);
}

static void of_equal_addresses_the_oldest_counts(void **state)
{
    struct control_store *store = NULL;
    struct control_ip ip;
    (void)state;
    assert_int_equal(control_store_new(&store), 0);
    put(store, "{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {clusterIP: 10.0.0.1}}", 1);
    put(store,
        "{apiVersion: v1, kind: Service, metadata: {name: z, creationTimestamp: '2020-01-01T00:00:00Z'}, spec: "
        "{clusterIP: '::ffff:10.0.0.1'}}",
        1);
    struct control_diff *diff = commit(store);
    assert_int_equal(control_ip_parse(FL_SPAN("10.0.0.1"), &ip), 0);
    assert_ptr_equal(control_model_service_at(diff->after, &ip), get(diff->after, "z"));
    control_diff_free(diff);
    control_store_free(store);
}

static void memory_that_is_out_leaves_the_model(void **state)
{
    (void)state;
    struct control_object *object = make(SERVICE("a", "2"), 1);
    FAIL_EACH_ALLOCATION
    {
        struct control_store *store = NULL;
        struct control_diff *diff = NULL;
        int result = control_store_new(&store);
        if (result == 0)
            result = control_store_put(store, object);
        if (result == 0)
            result = control_store_commit(store, &diff);
        const struct control_key key = {CONTROL_SERVICE, FL_SPAN("default"), FL_SPAN("nobody")};
        if (result == 0)
            result = control_store_remove(store, key);
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
        if (store != NULL && diff == NULL) {
            assert_null(get(control_store_model(store), "a"));
            struct control_diff *later = commit(store); /* what was pending is not lost */
            assert_true(later->count <= 1);
            control_diff_free(later);
        }
        control_diff_free(diff);
        control_store_free(store);
    }
    control_object_unref(object);
}

static void an_object_is_read_whole_or_not(void **state)
{
    (void)state;
    static const char *const texts[] = {
        SERVICE("a", "1"),
        "{apiVersion: v1, kind: Pod, metadata: {name: p, labels: {a: b}, ownerReferences: [{kind: X, name: y, "
        "controller: "
        "true}]}, spec: {containers: [{name: c, ports: [{containerPort: 1}]}]}, status: {podIPs: [{ip: 10.0.0.1}]}}",
        "{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: r}, spec: {parentRefs: [{name: "
        "g}], "
        "hostnames: [a.example.com], rules: [{matches: [{headers: [{name: A, value: b}]}], filters: [{type: "
        "URLRewrite, "
        "urlRewrite: {hostname: x}}], backendRefs: [{name: b, port: 1}]}]}}",
        "{apiVersion: fairlead.io/v1alpha1, kind: AuthorizationPolicy, metadata: {name: p}, spec: {selector: "
        "{matchLabels: "
        "{a: b}}, rules: [{from: [{source: {principals: ['*'], ipBlocks: [10.0.0.0/8]}}], when: [{key: "
        "'request.auth.claims[a][b]', values: [c]}]}]}}",
        "{apiVersion: fairlead.io/v1alpha1, kind: AuthorizationPolicy, metadata: {name: p}, spec: {selector: "
        "{matchLabels: "
        "{a: b}}, what: 1}}",
    };
    for (size_t i = 0; i < FL_COUNT(texts); i++) {
        FL_CLEANUP(fl_cleanup_yaml) struct fl_yaml *yaml = NULL;
        assert_int_equal(fl_yaml_parse(fl_span_str(texts[i]), "t", NULL, &yaml, NULL), 0);
        FAIL_EACH_ALLOCATION
        {
            const struct control_origin origin = {FL_SPAN("t"), 1, 0, 0};
            struct control_identity identity;
            struct control_object *object = NULL;
            int result = control_object_read(fl_yaml_document(yaml, 0), NULL, &origin, FL_SPAN(CONTROL_ROOT_DEFAULT),
                                             &object, &identity, NULL);
            fail_stop();
            assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
            control_object_unref(object);
        }
    }
}

#define OURS(kind, name, space, spec)                                                                                  \
    "{apiVersion: fairlead.io/v1alpha1, kind: " kind ", metadata: {name: " name ", namespace: " space "}, spec: " spec \
    "}"

/* Policies of one namespace are for all: that of the installation, and no other. */
static void policies_of_the_root_are_for_all(void **state)
{
    static const struct {
        const char *root; /* NULL: as it is without a word */
        const char *counts, *domain;
    } rows[] = {
        {NULL, "fairlead-system", "a.example"}, {"mesh", "mesh", "b.example"}, {"empty", NULL, "cluster.local"}};
    (void)state;
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        const struct control_workload workload = {.name_space = FL_SPAN("shop"), .meshed = true};
        struct control_store *store = NULL;
        struct control_objects policies;
        struct fl_arena arena;
        fl_arena_init(&arena, 1 << 20);
        assert_int_equal(control_store_new(&store), 0);
        if (rows[i].root != NULL)
            control_store_set_root(store, fl_span_str(rows[i].root));
        put(store, OURS("AuthorizationPolicy", "p", "fairlead-system", "{}"), 1);
        put(store, OURS("AuthorizationPolicy", "p", "mesh", "{}"), 1);
        put(store, OURS("PeerAuthentication", "p", "fairlead-system", "{mtls: {mode: STRICT}}"), 1);
        put(store, OURS("PeerAuthentication", "p", "mesh", "{mtls: {mode: STRICT}}"), 1);
        put(store, OURS("MeshSettings", "default", "fairlead-system", "{clusterDomain: a.example}"), 1);
        put(store, OURS("MeshSettings", "default", "mesh", "{clusterDomain: b.example}"), 1);
        control_diff_free(commit(store));
        const struct control_model *model = control_store_model(store);
        assert_int_equal(control_workload_policies(model, &workload, CONTROL_AUTHORIZATION_POLICY, &arena, &policies),
                         0);
        assert_int_equal(policies.count, rows[i].counts != NULL ? 1 : 0);
        if (rows[i].counts != NULL)
            assert_true(fl_span_eq_str(policies.items[0]->metadata.name_space, rows[i].counts));
        assert_int_equal(control_workload_mtls(model, &workload, 80),
                         rows[i].counts != NULL ? CONTROL_MTLS_STRICT : CONTROL_MTLS_PERMISSIVE);
        assert_true(fl_span_eq_str(control_model_settings(model).cluster_domain, rows[i].domain));
        fl_arena_done(&arena);
        control_store_free(store);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_diff_says_what_changed),
        cmocka_unit_test(nothing_new_is_no_new_model),
        cmocka_unit_test(a_version_is_the_content),
        cmocka_unit_test(of_equal_addresses_the_oldest_counts),
        cmocka_unit_test(memory_that_is_out_leaves_the_model),
        cmocka_unit_test(an_object_is_read_whole_or_not),
        cmocka_unit_test(policies_of_the_root_are_for_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
