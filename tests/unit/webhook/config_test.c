#include "tests/unit/webhook/test.h"

#include "webhook/config.h"

static void test_defaults(void **state)
{
    (void)state;
    struct webhook_config *config = NULL;
    assert_int_equal(webhook_config_default(&config), 0);
    assert_span(config->revision, "default");
    assert_true(config->defaults.native_sidecar && config->pod_overrides);
    assert_int_equal(config->uid, 1337);
    assert_int_equal(config->defaults.capture.gid, 1337);
    assert_true(config->defaults.capture.inbound_include.all);
    assert_int_equal(config->ignored_count, 3);
    webhook_config_free(config);
    assert_int_equal(webhook_config_parse(FL_SPAN("# nothing\n"), "c", &config, NULL), 0);
    assert_span(config->token_audience, "fairlead-ca");
    webhook_config_free(config);
}

static void test_everything(void **state)
{
    (void)state;
    static const char text[] = "proxyImage: host.example/p:1\n"
                               "proxyImagePullPolicy: Always\n"
                               "logLevel: debug\n"
                               "uid: 1000680000\n"
                               "gid: 1000680001\n"
                               "proxyCpuRequest: 5m\n"
                               "proxyMemoryRequest: \"\"\n"
                               "proxyCpuLimit: null\n"
                               "proxyMemoryLimit: 64Mi\n"
                               "proxyEphemeralStorageLimit: \"1000000000\"\n"
                               "inboundIncludePorts: \"80,8000-8080\"\n"
                               "inboundExcludePorts: \"9\"\n"
                               "outboundIncludePorts: \"53\"\n"
                               "outboundExcludePorts: \"25\"\n"
                               "outboundIncludeCidrs: 10.0.0.0/8\n"
                               "outboundExcludeCidrs: 10.1.0.0/16\n"
                               "startSeconds: 30\n"
                               "proxyEnv: {A: \"1\"}\n"
                               "proxyVolumes: [{name: h, hostPath: {path: /srv}}]\n"
                               "levels: {logLevel: mesh, proxyImage: pod}\n"
                               "allowHostPath: true\n"
                               "ownNamespace: mesh\n"
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
    assert_span(config->defaults.image, "host.example/p:1");
    assert_int_equal(config->defaults.capture.uid, 1000680000);
    assert_int_equal(config->defaults.capture.gid, 1000680001);
    assert_span(config->defaults.resources.cpu_request, "5m");
    assert_span(config->defaults.resources.memory_request, "");
    assert_true(fl_port_list_contains(&config->defaults.capture.inbound_include, 8042));
    assert_false(config->defaults.capture.inbound_include.all);
    assert_int_equal(config->defaults.capture.outbound_exclude_cidrs.count, 1);
    assert_false(config->defaults.native_sidecar || config->pod_overrides);
    assert_span(config->defaults.resources.cpu_limit, "");
    assert_span(config->defaults.resources.ephemeral_storage_limit, "1000000000");
    assert_int_equal(config->defaults.start_seconds, 30);
    assert_int_equal(fl_json_count(config->defaults.env), 1);
    assert_int_equal(fl_json_count(config->defaults.volumes), 1);
    assert_int_equal(config->defaults.from[WEBHOOK_SET_START_SECONDS], WEBHOOK_LEVEL_MESH);
    assert_int_equal(config->defaults.from[WEBHOOK_SET_DRAIN_SECONDS], WEBHOOK_LEVEL_BUILTIN);
    assert_int_equal(config->levels[WEBHOOK_SET_LOG_LEVEL], WEBHOOK_LEVEL_MESH);
    assert_int_equal(config->levels[WEBHOOK_SET_PROXY_IMAGE], WEBHOOK_LEVEL_POD);
    assert_true(config->allow_host_path);
    assert_span(config->own_namespace, "mesh");
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
    {"proxyImage: \"a b\"", "is not an image reference"},
    {"proxyImagePullPolicy: Often", "expected Always, IfNotPresent or Never"},
    {"proxyCpuRequest: lots", "c:1:18: $.proxyCpuRequest: \"lots\" is not a quantity"},
    {"proxyCpuRequest: [1]", "$.proxyCpuRequest: expected a quantity"},
    {"proxyCpuRequest: 2", "c:1:18: $.proxyCpuRequest: expected a quantity in quotes"},
    {"proxyCpuRequest: true", "$.proxyCpuRequest: expected a quantity"},
    {"proxyMemoryRequest: 1Gi\nproxyMemoryLimit: 1Mi",
     "c:1:21: $.proxyMemoryRequest: proxyMemoryRequest 1Gi (mesh) is above proxyMemoryLimit 1Mi (mesh)"},
    {"proxyCpuRequest: \"3\"", "c:1:18: $.proxyCpuRequest: proxyCpuRequest 3 (mesh) is above"},
    {"\nproxyCpuLimit: 1m", "c:2:16: $.proxyCpuLimit: proxyCpuRequest 10m (builtin) is above proxyCpuLimit 1m (mesh)"},
    {"dnsCapture: enabled", "$.dnsCapture"},
    {"inboundIncludePorts: \"80,x\"", "$.inboundIncludePorts"},
    {"inboundIncludePorts: 80", "$.inboundIncludePorts: expected a string"},
    {"outboundIncludeCidrs: 10.0.0.0/40", "$.outboundIncludeCidrs"},
    {"outboundIncludeCidrs: null", "$.outboundIncludeCidrs: expected a string"},
    {"nativeSidecar: yes", "$.nativeSidecar"},
    {"nativeSidecar: null", "$.nativeSidecar"},
    {"startSeconds: 0", "$.startSeconds: expected a whole number from 1 to 3600"},
    {"drainSeconds: 3601", "$.drainSeconds: expected a whole number from 0 to 3600"},
    {"privilegedApps: maybe", "$.privilegedApps"},
    {"proxyEnv: {A: 1}", "$.proxyEnv.A: expected a string"},
    {"proxyEnv: {FAIRLEAD_CAPTURE: \"\"}", "c:1:30: $.proxyEnv.FAIRLEAD_CAPTURE: is not to be set"},
    {"proxyVolumes: [{name: fairlead-token}]", "$.proxyVolumes[0]: name: \"fairlead-token\" is the sidecar's own"},
    {"proxyVolumes: [{name: t, projected: {sources: [{serviceAccountToken: {audience: fairlead-ca}}]}}]",
     "c:1:15: $.proxyVolumes: proxyVolumes (mesh): volume t projects a token for fairlead-ca"},
    {"levels: {log-level: mesh}", "$.levels.log-level: is not a setting"},
    {"levels: {logLevel: cluster}", "$.levels.logLevel: expected mesh, namespace or pod"},
    {"levels: {logLevel: builtin}", "$.levels.logLevel: expected mesh, namespace or pod"},
    {"levels: []", "$.levels"},
    {"ownNamespace: \"\"", "$.ownNamespace"},
    {"ignoredNamespaces: [a, 1]", "expected a namespace's name"},
    {"ignoredNamespaces: [A]", "is not a name"},
    {"ignoredNamespaces: kube-system", "$.ignoredNamespaces"},
    {"revision: \"\"", "$.revision"},
    {"tokenAudience: \"\"", "$.tokenAudience"},
    {"control: {}", "$.control.address"},
    {"control: {address: \"\"}", "expected IP:port"},
    {"control: {address: \"10.0.0.1:1,control\"}",
     "\"control\": expected IP:port (IPv6 in brackets) or a DNS name and port"},
    {"control: {address: \"none,10.0.0.1:1\"}", "\"none\": expected IP:port"},
    {"control: {address: \"10.0.0.1:1\", name: \"a b\"}", "is not a DNS name"},
    {"trustDomain: a/b", "is not a trust domain"},
    {"trustDomain: \"\"", "is not a trust domain"},
    {"- a", "expected an object"},
    {"proxyImage: a\n---\nproxyImage: b", "one document"},
    {"proxyImage: a\nproxyImage: b", "c:2:"},
    {"proxyImage: [", "c:"},
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
        int result = webhook_config_parse(FL_SPAN("proxyImage: a\nproxyEnv: {A: b}\nignoredNamespaces: [a]\n"), "c",
                                          &config, NULL);
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
