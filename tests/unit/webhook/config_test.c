#include "tests/unit/webhook/test.h"

#include "webhook/config.h"

static void test_defaults(void **state)
{
    (void)state;
    struct webhook_config *config = NULL;
    assert_int_equal(webhook_config_default(&config), 0);
    assert_span(config->revision, "default");
    assert_true(config->native_sidecar && config->pod_overrides);
    assert_int_equal(config->uid, 1337);
    assert_int_equal(config->capture.gid, 1337);
    assert_true(config->capture.inbound_include.all);
    assert_int_equal(config->ignored_count, 3);
    assert_int_equal(webhook_resources_check(&config->resources, NULL), 0);
    webhook_config_free(config);
    assert_int_equal(webhook_config_parse(FL_SPAN("# nothing\n"), "c", &config, NULL), 0);
    assert_span(config->token_audience, "fairlead-ca");
    webhook_config_free(config);
}

static void test_everything(void **state)
{
    (void)state;
    static const char text[] = "image: host.example/p:1\n"
                               "imagePullPolicy: Always\n"
                               "logLevel: debug\n"
                               "uid: 1000680000\n"
                               "gid: 1000680001\n"
                               "resources:\n"
                               "  requests: {cpu: 5m, memory: \"\"}\n"
                               "  limits: {cpu: \"\", memory: 64Mi}\n"
                               "capture:\n"
                               "  inboundIncludePorts: \"80,8000-8080\"\n"
                               "  inboundExcludePorts: \"9\"\n"
                               "  outboundIncludePorts: \"53\"\n"
                               "  outboundExcludePorts: \"25\"\n"
                               "  outboundIncludeCIDRs: 10.0.0.0/8\n"
                               "  outboundExcludeCIDRs: 10.1.0.0/16\n"
                               "nativeSidecar: false\n"
                               "podOverrides: false\n"
                               "control: {address: \"10.0.0.1:15012,[fd00::1]:15012\", name: istiod.istio-system.svc}\n"
                               "tokenAudience: istio-ca\n"
                               "trustDomain: prod.example\n"
                               "ignoredNamespaces: [a, b]\n"
                               "revision: canary\n";
    struct webhook_config *config = NULL;
    struct fl_err err = {0};
    if (webhook_config_parse(fl_span_str(text), "c", &config, &err) < 0)
        fail_msg("%s", err.text);
    assert_span(config->image, "host.example/p:1");
    assert_int_equal(config->capture.uid, 1000680000);
    assert_int_equal(config->capture.gid, 1000680001);
    assert_span(config->resources.cpu_request, "5m");
    assert_span(config->resources.memory_request, "");
    assert_true(fl_port_list_contains(&config->capture.inbound_include, 8042));
    assert_false(config->capture.inbound_include.all);
    assert_int_equal(config->capture.outbound_exclude_cidrs.count, 1);
    assert_false(config->native_sidecar || config->pod_overrides);
    assert_int_equal(config->ignored_count, 2);
    assert_span(config->ignored[1], "b");
    assert_span(config->revision, "canary");
    assert_span(config->control_address, "10.0.0.1:15012,[fd00::1]:15012");
    assert_span(config->control_name, "istiod.istio-system.svc");
    webhook_config_free(config);
}

static const struct {
    const char *text;
    const char *error;
} wrong[] = {
    {"imgae: a", "c:1:"},
    {"\nlogLevel: loud", "c:2:11: $.logLevel: \"loud\" is not a log level"},
    {"uid: 0", "$.uid"},
    {"uid: 4294967295", "$.uid"},
    {"image: \"a b\"", "is not an image reference"},
    {"imagePullPolicy: Often", "expected Always, IfNotPresent or Never"},
    {"resources: {requests: {cpu: lots}}", "$.resources.requests.cpu"},
    {"resources: {requests: {gpu: \"1\"}}", "gpu"},
    {"resources: {requests: {memory: 1Gi}, limits: {memory: 1Mi}}", "memory request 1Gi is above its limit 1Mi"},
    {"resources: {requests: {cpu: 1}}", "expected a string"},
    {"capture: {inboundIncludePorts: \"80,x\"}", "$.capture.inboundIncludePorts"},
    {"capture: {outboundIncludeCIDRs: 10.0.0.0/40}", "$.capture.outboundIncludeCIDRs"},
    {"nativeSidecar: yes", "$.nativeSidecar"},
    {"ignoredNamespaces: [a, 1]", "expected a namespace's name"},
    {"ignoredNamespaces: [A]", "is not a name"},
    {"ignoredNamespaces: kube-system", "$.ignoredNamespaces"},
    {"revision: \"\"", "$.revision"},
    {"tokenAudience: \"\"", "$.tokenAudience"},
    {"control: {}", "$.control.address"},
    {"control: {address: \"\"}", "is not an address"},
    {"control: {address: \"10.0.0.1:1,control:2\"}", "\"control:2\" is not an address; expected IP:port"},
    {"control: {address: \"10.0.0.1:1\", name: \"a b\"}", "is not a DNS name"},
    {"trustDomain: a/b", "is not a trust domain"},
    {"trustDomain: \"\"", "is not a trust domain"},
    {"- a", "expected an object"},
    {"image: a\n---\nimage: b", "one document"},
    {"image: a\nimage: b", "c:2:"},
    {"image: [", "c:"},
};

static void test_wrong(void **state)
{
    (void)state;
    for (size_t i = 0; i < FL_COUNT(wrong); i++) {
        struct webhook_config *config = NULL;
        struct fl_err err = {0};
        if (webhook_config_parse(fl_span_str(wrong[i].text), "c", &config, &err) != -EINVAL)
            fail_msg("\"%s\" was accepted (%s)", wrong[i].text, err.text);
        assert_null(config);
        assert_contains(err.text, wrong[i].error);
    }
}

static void test_allocations(void **state)
{
    (void)state;
    FAIL_EACH_ALLOCATION
    {
        struct webhook_config *config = NULL;
        int result = webhook_config_parse(FL_SPAN("image: a\nignoredNamespaces: [a]\n"), "c", &config, NULL);
        fail_stop();
        assert_int_equal(result, config == NULL ? -ENOMEM : 0);
        webhook_config_free(config);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_everything),
        cmocka_unit_test(test_wrong),
        cmocka_unit_test(test_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
