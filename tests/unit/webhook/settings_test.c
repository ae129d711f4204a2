#include "tests/unit/webhook/test.h"

#include "webhook/resolve.h"

static int resolve(const char *name_space, const char *pod, struct webhook_settings *settings,
                   struct webhook_warnings *warnings, struct fl_err *err, struct fl_json *trees[2],
                   struct webhook_config **config)
{
    *warnings = (struct webhook_warnings){0};
    assert_int_equal(webhook_config_default(config), 0);
    trees[0] = name_space != NULL ? json(name_space) : NULL;
    trees[1] = pod != NULL ? json(pod) : NULL;
    return webhook_settings_resolve(*config, FL_SPAN("shop"), false, trees[0], trees[1], settings, warnings, err);
}

static void release(struct fl_json *trees[2], struct webhook_config *config)
{
    fl_json_free(trees[0]);
    fl_json_free(trees[1]);
    webhook_config_free(config);
}

static void test_layers(void **state)
{
    (void)state;
    struct webhook_settings settings;
    struct webhook_warnings warnings;
    struct webhook_config *config;
    struct fl_json *trees[2];
    struct fl_err err = {0};
    int result = resolve("{'fairlead.io/log-level':'debug','fairlead.io/outbound-exclude-ports':'25,26',"
                         "'fairlead.io/unknown':'x','other':'x'}",
                         "{'fairlead.io/outbound-exclude-ports':'3306','fairlead.io/proxy-memory-limit':'64Mi',"
                         "'fairlead.io/proxy-cpu-limit':'','fairlead.io/native-sidecar':'disabled',"
                         "'fairlead.io/inbound-include-ports':'','fairlead.io/outbound-include-cidrs':'10.0.0.0/8'}",
                         &settings, &warnings, &err, trees, &config);
    if (result < 0)
        fail_msg("%s", err.text);
    assert_span(settings.log_level, "debug");
    assert_true(fl_port_list_contains(&settings.capture.outbound_exclude_ports, 3306));
    assert_false(fl_port_list_contains(&settings.capture.outbound_exclude_ports, 25));
    assert_false(settings.capture.inbound_include.all);
    assert_int_equal(settings.capture.inbound_include.count, 0);
    assert_int_equal(settings.capture.outbound_include_cidrs.count, 1);
    assert_false(settings.native_sidecar);
    assert_span(settings.resources.memory_limit, "64Mi");
    assert_span(settings.resources.cpu_limit, "");
    assert_span(settings.resources.cpu_request, "10m");
    assert_int_equal(warnings.count, 0); /* what is unknown on a namespace is not every pod's business */
    release(trees, config);
}

static void test_unknown_annotation_is_told(void **state)
{
    (void)state;
    struct webhook_settings settings;
    struct webhook_warnings warnings;
    struct webhook_config *config;
    struct fl_json *trees[2];
    assert_int_equal(resolve(NULL,
                             "{'fairlead.io/outbound-exclude-port':'25','fairlead.io/status':'','x/y':'',"
                             "'fairlead.io/inject':'','fairlead.io/nothing-alike':'','fairlead.io/LOG-LEVEL':'x'}",
                             &settings, &warnings, NULL, trees, &config),
                     0);
    assert_int_equal(warnings.count, 4);
    assert_string_equal(warnings.text[0], "annotation fairlead.io/outbound-exclude-port is not known; "
                                          "fairlead.io/outbound-exclude-ports is");
    assert_string_equal(warnings.text[1], "annotation fairlead.io/inject has no effect; it is a label");
    assert_string_equal(warnings.text[2], "annotation fairlead.io/nothing-alike is not known and has no effect");
    assert_contains(warnings.text[3], "annotation fairlead.io/LOG-LEVEL is not known");
    release(trees, config);
}

static const struct {
    const char *name_space, *pod;
    const char *error;
} wrong[] = {
    {NULL, "{'fairlead.io/log-level':'loud'}",
     "annotation fairlead.io/log-level: \"loud\" is not a log level; expected"},
    {NULL, "{'fairlead.io/log-level':''}", "annotation fairlead.io/log-level"},
    {"{'fairlead.io/log-level':'loud'}", NULL, "namespace shop: annotation fairlead.io/log-level"},
    {"{'fairlead.io/proxy-image':'a b'}", NULL, "annotation fairlead.io/proxy-image"},
    {"{'fairlead.io/proxy-image':''}", NULL, "annotation fairlead.io/proxy-image"},
    {NULL, "{'fairlead.io/proxy-cpu-request':'much'}", "annotation fairlead.io/proxy-cpu-request"},
    {NULL, "{'fairlead.io/proxy-memory-limit':'1 Mi'}", "annotation fairlead.io/proxy-memory-limit"},
    {NULL, "{'fairlead.io/proxy-memory-limit':'1Mi'}",
     "proxyMemoryRequest 16Mi (builtin) is above fairlead.io/proxy-memory-limit 1Mi (pod)"},
    {NULL, "{'fairlead.io/inbound-include-ports':'http'}", "annotation fairlead.io/inbound-include-ports"},
    {NULL, "{'fairlead.io/inbound-exclude-ports':'70000'}", "annotation fairlead.io/inbound-exclude-ports"},
    {NULL, "{'fairlead.io/outbound-include-ports':'9-1'}", "annotation fairlead.io/outbound-include-ports"},
    {NULL, "{'fairlead.io/outbound-exclude-ports':'1,,2'}", "annotation fairlead.io/outbound-exclude-ports"},
    {NULL, "{'fairlead.io/outbound-include-cidrs':'10.0.0'}", "annotation fairlead.io/outbound-include-cidrs"},
    {NULL, "{'fairlead.io/outbound-exclude-cidrs':'::/129'}", "annotation fairlead.io/outbound-exclude-cidrs"},
    {NULL, "{'fairlead.io/outbound-exclude-cidrs':'1.2.3.0/24\\n'}", "annotation fairlead.io/outbound-exclude-cidrs"},
};

static void test_wrong(void **state)
{
    (void)state;
    for (size_t i = 0; i < FL_COUNT(wrong); i++) {
        struct webhook_settings settings;
        struct webhook_warnings warnings;
        struct webhook_config *config;
        struct fl_json *trees[2];
        struct fl_err err = {0};
        int result = resolve(wrong[i].name_space, wrong[i].pod, &settings, &warnings, &err, trees, &config);
        if (result != -EINVAL)
            fail_msg("\"%s\" gave %d", wrong[i].pod, result);
        assert_contains(err.text, wrong[i].error);
        release(trees, config);
    }
}

/* More than anybody can be told, and than could be compared with every name that we know in an admission's time. */
static void test_many_unknown(void **state)
{
    (void)state;
    struct webhook_settings settings;
    struct webhook_warnings warnings = {0};
    struct webhook_config *config;
    struct fl_json *many = fl_json_new_object();
    assert_int_equal(webhook_config_default(&config), 0);
    for (int i = 0; i < 200000; i++) {
        char name[64];
        snprintf(name, sizeof(name), "fairlead.io/outbound-exclude-ports-%d", i);
        assert_int_equal(fl_json_add(many, fl_span_str(name), fl_json_new_string(FL_SPAN(""))), 0);
    }
    assert_int_equal(webhook_settings_resolve(config, FL_SPAN("shop"), false, NULL, many, &settings, &warnings, NULL),
                     0);
    assert_int_equal(warnings.count, WEBHOOK_WARNINGS_MAX);
    webhook_settings_done(&settings);
    fl_json_free(many);
    webhook_config_free(config);
}

/* What a pod may not say where its namespace requires the mesh: all that could leave its traffic uncaptured. */
static void test_required(void **state)
{
    (void)state;
    static const struct {
        const char *pod;
        int result;
    } rows[] = {
        {"{'fairlead.io/inbound-include-ports':''}", -EPERM},
        {"{'fairlead.io/inbound-exclude-ports':'80'}", -EPERM},
        {"{'fairlead.io/outbound-include-ports':'80'}", -EPERM},
        {"{'fairlead.io/outbound-exclude-ports':'80'}", -EPERM},
        {"{'fairlead.io/outbound-include-cidrs':''}", -EPERM},
        {"{'fairlead.io/outbound-exclude-cidrs':'*'}", -EPERM},
        {"{'fairlead.io/outbound-exclude-uids':'0'}", -EPERM},
        {"{'fairlead.io/exclude-interfaces':'eth0'}", -EPERM},
        {"{'fairlead.io/ipv6':'disabled'}", -EPERM},
        {"{'fairlead.io/drop-invalid':'enabled','fairlead.io/opaque-ports':'80','fairlead.io/log-level':'debug'}", 0},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct webhook_settings settings;
        struct webhook_warnings warnings = {0};
        struct webhook_config *config;
        struct fl_json *pod = json(rows[i].pod);
        struct fl_err err = {0};
        assert_int_equal(webhook_config_default(&config), 0);
        int result = webhook_settings_resolve(config, FL_SPAN("shop"), true, NULL, pod, &settings, &warnings, &err);
        if (result != rows[i].result)
            fail_msg("%s: %d %s", rows[i].pod, result, err.text);
        if (result == 0)
            webhook_settings_done(&settings);
        result = webhook_settings_resolve(config, FL_SPAN("shop"), true, pod, NULL, &settings, &warnings, &err);
        assert_int_equal(result, 0); /* the namespace's may */
        webhook_settings_done(&settings);
        fl_json_free(pod);
        webhook_config_free(config);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layers),   cmocka_unit_test(test_many_unknown),
        cmocka_unit_test(test_required), cmocka_unit_test(test_unknown_annotation_is_told),
        cmocka_unit_test(test_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
