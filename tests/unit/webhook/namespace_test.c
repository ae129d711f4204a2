#include "tests/unit/webhook/test.h"

#include "webhook/namespace.h"

#define NS(name, rest) "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: " name "\n" rest

static void test_documents_and_lists(void **state)
{
    (void)state;
    static const char text[] = "---\n" NS("shop", "  labels: {fairlead.io/inject: enabled}\n") "---\n" NS(
        "plain",
        "status: {phase: Active}\n") "---\napiVersion: v1\nkind: List\nitems:\n"
                                     "- {apiVersion: v1, kind: Namespace, metadata: {name: a, annotations: {x: "
                                     "\"1\"}}}\n"
                                     "---\napiVersion: v1\nkind: NamespaceList\nmetadata: {}\nitems:\n"
                                     "- {apiVersion: v1, kind: Namespace, metadata: {name: b, labels: null}}\n";
    struct webhook_namespaces *set = NULL;
    struct fl_err err = {0};
    if (webhook_namespaces_parse(fl_span_str(text), "n", &set, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(webhook_namespaces_count(set), 4);
    const struct webhook_namespace *shop = webhook_namespaces_find(set, FL_SPAN("shop"));
    assert_span(fl_json_string(fl_json_get(shop->labels, "fairlead.io/inject")), "enabled");
    assert_null(webhook_namespaces_find(set, FL_SPAN("plain"))->labels);
    assert_non_null(webhook_namespaces_find(set, FL_SPAN("a"))->annotations);
    assert_null(webhook_namespaces_find(set, FL_SPAN("b"))->labels);
    assert_null(webhook_namespaces_find(set, FL_SPAN("sho")));
    assert_null(webhook_namespaces_find(set, FL_SPAN("shops")));
    assert_null(webhook_namespaces_find(set, FL_SPAN("")));
    assert_null(webhook_namespaces_find(NULL, FL_SPAN("a")));
    webhook_namespaces_free(set);
}

static void test_empty(void **state)
{
    (void)state;
    struct webhook_namespaces *set = NULL;
    assert_int_equal(webhook_namespaces_parse(FL_SPAN(""), "n", &set, NULL), 0);
    assert_int_equal(webhook_namespaces_count(set), 0);
    assert_null(webhook_namespaces_find(set, FL_SPAN("a")));
    webhook_namespaces_free(set);
}

static const struct {
    const char *text;
    const char *error;
} wrong[] = {
    {"apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n", "n:2:7: $.kind: expected Namespace"},
    {"apiVersion: v2\nkind: Namespace\nmetadata: {name: a}\n", "n:1:13: $.apiVersion: expected v1"},
    {"kind: Namespace\nmetadata: {name: a}\n", "apiVersion"},
    {"apiVersion: v1\nkind: Namespace\n", "metadata"},
    {"apiVersion: v1\nkind: Namespace\nmetadata: {}\n", "name"},
    {NS("a", "  labels: {x: true}\n"), "n:5:15: $.metadata.labels.x: expected a string"},
    {NS("a", "  labels: [x]\n"), "$.metadata.labels"},
    {NS("A", ""), "is not the name of a namespace"},
    {NS("a", "") "---\n" NS("a", ""), "namespace \"a\" is there twice"},
    {"apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: List, items: []}]\n", "$.items[0].kind"},
    {"apiVersion: v1\nkind: List\nitems: [3]\n", "n:3:9: $.items[0]: expected a Namespace, got a number"},
    {"hello", "expected a Namespace, got a string"},
    {"a: [", "n:"},
};

static void test_wrong(void **state)
{
    (void)state;
    for (size_t i = 0; i < FL_COUNT(wrong); i++) {
        struct webhook_namespaces *set = NULL;
        struct fl_err err = {0};
        if (webhook_namespaces_parse(fl_span_str(wrong[i].text), "n", &set, &err) != -EINVAL)
            fail_msg("\"%s\" was accepted (%s)", wrong[i].text, err.text);
        assert_null(set);
        assert_contains(err.text, wrong[i].error);
    }
}

static void test_allocations(void **state)
{
    (void)state;
    FAIL_EACH_ALLOCATION
    {
        struct webhook_namespaces *set = NULL;
        int result = webhook_namespaces_parse(FL_SPAN(NS("a", "  labels: {x: y}\n")), "n", &set, NULL);
        fail_stop();
        assert_int_equal(result, set == NULL ? -ENOMEM : 0);
        webhook_namespaces_free(set);
    }
}

static void put(struct webhook_namespaces *set, const char *text, int result)
{
    struct fl_json *object = json(text);
    assert_int_equal(webhook_namespaces_put(set, object), result);
    fl_json_free(object);
}

static void test_what_changes(void **state)
{
    (void)state;
    struct webhook_namespaces *set = NULL;
    assert_int_equal(webhook_namespaces_new(2, &set), 0);
    put(set,
        "{'metadata':{'name':'a','labels':{'x':'y','fairlead.io/inject':'enabled','fairlead.io/n':5},"
        "'annotations':{'fairlead.io/log-level':'debug','kubectl':'long'}}}",
        0);
    put(set, "{'metadata':{'name':'b','labels':{'x':'y'}}}", 0);
    put(set, "{'metadata':{'name':'c'}}", -ENOSPC);
    put(set, "{'metadata':{'name':'Not A Name'}}", -EINVAL);
    put(set, "{'metadata':{}}", -EINVAL);
    const struct webhook_namespace *a = webhook_namespaces_find(set, FL_SPAN("a"));
    assert_non_null(a);
    assert_int_equal(fl_json_count(a->labels), 1); /* ours, and a string */
    assert_span(fl_json_string(fl_json_get(a->labels, "fairlead.io/inject")), "enabled");
    assert_int_equal(fl_json_count(a->annotations), 1);
    assert_null(webhook_namespaces_find(set, FL_SPAN("b"))->labels);
    put(set, "{'metadata':{'name':'a'}}", 0); /* in the place of the old one, also in a full set */
    assert_null(webhook_namespaces_find(set, FL_SPAN("a"))->labels);
    webhook_namespaces_remove(set, FL_SPAN("a"));
    webhook_namespaces_remove(set, FL_SPAN("a"));
    assert_null(webhook_namespaces_find(set, FL_SPAN("a")));
    assert_int_equal(webhook_namespaces_count(set), 1);
    put(set, "{'metadata':{'name':'c'}}", 0);
    webhook_namespaces_free(set);
}

/* An answer comes late; of what the watch tells, the last counts, whatever its version (a restored etcd goes back). */
static void test_what_is_older(void **state)
{
    (void)state;
    static const struct {
        const char *version;
        bool stays;
    } rows[] = {{"9", true}, {"10", false}, {"11", false}, {"", false}, {"x", false}, {"99999999999999999999", false}};
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct webhook_namespaces *set = NULL;
        char text[128];
        snprintf(text, sizeof(text), "{'metadata':{'name':'a','resourceVersion':'%s'}}", rows[i].version);
        FL_CLEANUP(fl_cleanup_json) struct fl_json *late = json(text);
        assert_int_equal(webhook_namespaces_new(2, &set), 0);
        put(set, "{'metadata':{'name':'a','resourceVersion':'10','labels':{'fairlead.io/inject':'enabled'}}}", 0);
        assert_int_equal(webhook_namespaces_put_newer(set, late), 0);
        assert_int_equal(webhook_namespaces_find(set, FL_SPAN("a"))->labels != NULL, rows[i].stays);
        put(set, "{'metadata':{'name':'a','resourceVersion':'1'}}", 0);
        assert_null(webhook_namespaces_find(set, FL_SPAN("a"))->labels);
        webhook_namespaces_free(set);
    }
}

static void test_put_allocations(void **state)
{
    (void)state;
    struct fl_json *object = json("{'metadata':{'name':'a','labels':{'fairlead.io/inject':'enabled'},"
                                  "'annotations':{'fairlead.io/log-level':'debug'}}}");
    FAIL_EACH_ALLOCATION
    {
        struct webhook_namespaces *set = NULL;
        int result = webhook_namespaces_new(10, &set);
        if (result == 0)
            result = webhook_namespaces_put(set, object);
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
        webhook_namespaces_free(set);
    }
    fl_json_free(object);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_documents_and_lists),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_wrong),
        cmocka_unit_test(test_allocations),
        cmocka_unit_test(test_what_changes),
        cmocka_unit_test(test_what_is_older),
        cmocka_unit_test(test_put_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
