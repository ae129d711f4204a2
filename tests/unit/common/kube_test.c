/* Metadata, names, times and selectors, by table. */
#include "common/doc/yaml.h"
#include "common/kube/object.h"
#include "tests/support/fail.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static void times_are_rfc_3339(void **state)
{
    static const struct {
        const char *text;
        int result;
        int64_t seconds;
    } rows[] = {
        {"1970-01-01T00:00:00Z", 0, 0},
        {"2000-02-29T12:00:00Z", 0, 951825600},
        {"2026-11-26T05:00:00.123456789Z", 0, 1795669200},
        {"2026-11-26T06:00:00+01:00", 0, 1795669200},
        {"2026-11-26t00:00:00-05:00", 0, 1795669200},
        {"1969-12-31T23:59:59Z", 0, -1},
        {"2016-12-31T23:59:60Z", 0, 1483228800},
        {"2001-02-29T00:00:00Z", -EINVAL, 0},
        {"2001-13-01T00:00:00Z", -EINVAL, 0},
        {"2001-01-01T24:00:00Z", -EINVAL, 0},
        {"2001-01-01 00:00:00Z", -EINVAL, 0},
        {"2001-01-01T00:00:00", -EINVAL, 0},
        {"2001-01-01T00:00:00.Z", -EINVAL, 0},
        {"2001-01-01T00:00:00Zx", -EINVAL, 0},
        {"", -EINVAL, 0},
    };
    (void)state;
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        int64_t seconds = 0;
        if (fl_time_parse(fl_span_str(rows[i].text), &seconds) != rows[i].result || seconds != rows[i].seconds)
            fail_msg("%s: %lld", rows[i].text, (long long)seconds);
    }
}

static void names_are_dns(void **state)
{
    static const struct {
        const char *text;
        bool label, subdomain;
    } rows[] = {
        {"a", true, true},      {"a-b", true, true},    {"0", true, true},    {"a.b", false, true},
        {"", false, false},     {"A", false, false},    {"-a", false, false}, {"a-", false, false},
        {"a..b", false, false}, {".a", false, false},   {"a.", false, false}, {"a_b", false, false},
        {"a/b", false, false},  {"a.-b", false, false},
    };
    char longest[300];
    (void)state;
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        assert_true(fl_is_dns_label(fl_span_str(rows[i].text)) == rows[i].label);
        assert_true(fl_is_dns_subdomain(fl_span_str(rows[i].text)) == rows[i].subdomain);
    }
    memset(longest, 'a', sizeof(longest));
    assert_true(fl_is_dns_label(fl_span_make(longest, 63)));
    assert_false(fl_is_dns_label(fl_span_make(longest, 64)));
    assert_true(fl_is_dns_subdomain(fl_span_make(longest, 253)));
    assert_false(fl_is_dns_subdomain(fl_span_make(longest, 254)));
}

static struct fl_yaml *parse(const char *text)
{
    struct fl_yaml *yaml = NULL;
    assert_int_equal(fl_yaml_parse(fl_span_str(text), "t", NULL, &yaml, NULL), 0);
    return yaml;
}

static void selectors_select(void **state)
{
    static const struct {
        const char *selector;
        bool expected;
    } rows[] = {
        {"{}", true},
        {"{matchLabels: {app: web}}", true},
        {"{matchLabels: {app: web, tier: x}}", false},
        {"{matchLabels: {app: db}}", false},
        {"{matchLabels: {missing: ''}}", false},
        {"{matchLabels: {empty: ''}}", true},
        {"{matchExpressions: [{key: app, operator: In, values: [db, web]}]}", true},
        {"{matchExpressions: [{key: app, operator: NotIn, values: [db]}]}", true},
        {"{matchExpressions: [{key: missing, operator: NotIn, values: [db]}]}", true},
        {"{matchExpressions: [{key: app, operator: NotIn, values: [web]}]}", false},
        {"{matchExpressions: [{key: app, operator: Exists}]}", true},
        {"{matchExpressions: [{key: app, operator: DoesNotExist}]}", false},
        {"{matchExpressions: [{key: missing, operator: DoesNotExist}]}", true},
    };
    struct fl_arena arena;
    struct fl_reader reader;
    struct fl_labels labels;
    (void)state;
    fl_arena_init(&arena, 1 << 20);
    fl_reader_init(&reader, NULL, NULL);
    struct fl_yaml *given = parse("{tier: back, app: web, empty: ''}");
    assert_int_equal(fl_labels_read(&reader, fl_yaml_document(given, 0), &arena, &labels), 0);
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct fl_selector selector;
        struct fl_yaml *yaml = parse(rows[i].selector);
        assert_int_equal(fl_selector_read(&reader, fl_yaml_document(yaml, 0), &arena, &selector), 0);
        if (fl_selector_match(&selector, &labels) != rows[i].expected)
            fail_msg("%s", rows[i].selector);
        fl_yaml_free(yaml);
    }
    fl_yaml_free(given);
    fl_arena_done(&arena);
}

static void what_is_wrong_is_told(void **state)
{
    static const struct {
        const char *text, *expected;
    } rows[] = {
        {"{}", "t:1:1: $.metadata: required, but missing"},
        {"{metadata: {}}", "t:1:12: $.metadata.name: required, but missing"},
        {"{metadata: {name: A}}",
         "t:1:19: $.metadata.name: expected a DNS name (lower-case letters, digits, '-', '.'), got \"A\""},
        {"{metadata: {name: a, namespace: b.c}}",
         "t:1:33: $.metadata.namespace: expected a DNS label (lower-case letters, digits, '-'), got \"b.c\""},
        {"{metadata: {name: a, labels: {x: 1}}}", "t:1:34: $.metadata.labels.x: expected a string, got 1"},
        {"{metadata: {name: a, labels: [x]}}",
         "t:1:30: $.metadata.labels: expected an object of strings, got an array"},
        {"{metadata: {name: a, ownerReferences: [{kind: x}]}}",
         "t:1:40: $.metadata.ownerReferences[0].name: required, but missing"},
    };
    (void)state;
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct fl_arena arena;
        struct fl_reader reader;
        struct fl_metadata metadata;
        struct fl_err err = {0};
        struct fl_yaml *yaml = parse(rows[i].text);
        fl_arena_init(&arena, 1 << 20);
        fl_reader_init(&reader, fl_yaml_positions(yaml), &err);
        assert_int_equal(fl_metadata_read(&reader, fl_yaml_document(yaml, 0), &arena, &metadata), -EINVAL);
        assert_string_equal(err.text, rows[i].expected);
        fl_yaml_free(yaml);
        fl_arena_done(&arena);
    }
}

static void memory_that_is_out_is_told(void **state)
{
    (void)state;
    struct fl_yaml *yaml = parse("{metadata: {name: a, uid: u, labels: {b: c, a: ''}, annotations: {x: y}, "
                                 "ownerReferences: [{kind: x, name: y}]}}");
    FAIL_EACH_ALLOCATION
    {
        struct fl_arena arena;
        struct fl_reader reader;
        struct fl_metadata metadata = {0};
        fl_arena_init_small(&arena, 1 << 20, 64);
        fl_reader_init(&reader, NULL, NULL);
        int result = fl_metadata_read(&reader, fl_yaml_document(yaml, 0), &arena, &metadata);
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
        if (result == 0)
            assert_true(fl_labels_have(&metadata.labels, FL_SPAN("a")));
        fl_arena_done(&arena);
    }
    fl_yaml_free(yaml);
}

static void kinds_have_a_plural(void **state)
{
    (void)state;
    static const struct {
        const char *kind, *plural;
    } rows[] = {{"Pod", "pods"},
                {"HTTPRoute", "httproutes"},
                {"Gateway", "gateways"},
                {"GatewayClass", "gatewayclasses"},
                {"Telemetry", "telemetries"},
                {"AuthorizationPolicy", "authorizationpolicies"},
                {"MeshSettings", "meshsettings"},
                {"EndpointSlice", "endpointslices"},
                {"Y", "ys"},
                {"", "s"}};
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        FL_CLEANUP(fl_buf_done) struct fl_buf out;
        fl_buf_init(&out, 64);
        assert_int_equal(fl_buf_append_str(&out, "/api/"), 0);
        assert_int_equal(fl_kube_plural(rows[i].kind, &out), 0);
        assert_string_equal(fl_buf_str(&out) + 5, rows[i].plural);
    }
    FL_CLEANUP(fl_buf_done) struct fl_buf small;
    fl_buf_init(&small, 12);
    assert_int_equal(fl_kube_plural("AuthorizationPolicy", &small), -EMSGSIZE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_are_rfc_3339),         cmocka_unit_test(names_are_dns),
        cmocka_unit_test(selectors_select),           cmocka_unit_test(what_is_wrong_is_told),
        cmocka_unit_test(memory_that_is_out_is_told), cmocka_unit_test(kinds_have_a_plural),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
