/* proxy/config/environment: a table of environments and what is said of each; what is printed reads back as a
 * bootstrap. */
#include "proxy/config/environment.h"

#include "common/doc/yaml.h"
#include "common/xds/convert.h"
#include "common/xds/proto/bootstrap.pb-c.h"
#include "tests/support/fail.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

struct variable {
    const char *name, *value;
};

static const struct variable good[] = {
    {"POD_NAME", "web-0"},
    {"POD_NAMESPACE", "demo"},
    {"SERVICE_ACCOUNT", "web"},
    {"POD_IPS", "10.0.0.7,fd00::7"},
    {"FAIRLEAD_CONTROL_ADDRESS", "10.96.0.5:15012, [fd00::5]:15012"},
};

struct change { /* of the good environment */
    const char *name, *value;
};

static const char *get(void *owner, const char *name)
{
    const struct change *change = owner;
    if (change != NULL && strcmp(change->name, name) == 0)
        return change->value;
    for (size_t i = 0; i < FL_COUNT(good); i++)
        if (strcmp(good[i].name, name) == 0)
            return good[i].value;
    return NULL;
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        struct change change;
        const char *expected;
    } rows[] = {
        {"no pod", {"POD_NAME", NULL}, "POD_NAME is not set: expected the pod's name"},
        {"a pod that would forge a node", {"POD_NAME", "a~b"}, "POD_NAME is \"a~b\": expected the pod's name"},
        {"no namespace", {"POD_NAMESPACE", ""}, "POD_NAMESPACE is not set: expected the pod's namespace"},
        {"a namespace with a slash",
         {"POD_NAMESPACE", "a/b"},
         "POD_NAMESPACE is \"a/b\": expected the pod's namespace"},
        {"an account in capitals", {"SERVICE_ACCOUNT", "Web"}, NULL},
        {"no addresses", {"POD_IPS", NULL}, "POD_IPS is not set: expected the pod's IP addresses, with commas between"},
        {"an address that is a name", {"POD_IPS", "pod"}, NULL},
        {"no control plane", {"FAIRLEAD_CONTROL_ADDRESS", NULL}, NULL},
        {"a control plane by a name that is none", {"FAIRLEAD_CONTROL_ADDRESS", "control_plane:15012"}, NULL},
        {"none, and one", {"FAIRLEAD_CONTROL_ADDRESS", "none,10.0.0.1:15012"}, NULL},
        {"a control plane without a port", {"FAIRLEAD_CONTROL_ADDRESS", "10.0.0.1"}, NULL},
        {"five of them", {"FAIRLEAD_CONTROL_ADDRESS", "1.1.1.1:1,1.1.1.1:2,1.1.1.1:3,1.1.1.1:4,1.1.1.1:5"}, NULL},
        {"a CA without a port", {"FAIRLEAD_CA_ADDRESS", "10.0.0.1"}, NULL},
        {"a name in a URL", {"FAIRLEAD_CONTROL_NAME", "https://x"}, NULL},
        {"a trust domain with a slash", {"FAIRLEAD_TRUST_DOMAIN", "a/b"}, NULL},
        {"a gateway without a namespace",
         {"FAIRLEAD_GATEWAY", "edge"},
         "FAIRLEAD_GATEWAY is \"edge\": expected <namespace>/<name> of a Gateway"},
        {"a gateway in a folder", {"FAIRLEAD_GATEWAY", "a/b/c"}, NULL},
        {"a word", {"FAIRLEAD_DISCOVERY", "maybe"}, "FAIRLEAD_DISCOVERY is \"maybe\": expected on-demand or all"},
        {"a port too high", {"FAIRLEAD_ADMIN_PORT", "70000"}, "FAIRLEAD_ADMIN_PORT is \"70000\": expected a port"},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct change change = rows[i].change;
        struct fl_err err = {0};
        struct fl_buf out;
        fl_buf_init(&out, PROXY_ENVIRONMENT_TEXT_MAX);
        int result = proxy_environment_print(get, &change, &out, &err);
        if (result != -EINVAL || strstr(err.text, change.name) == NULL || strstr(err.text, "expected ") == NULL ||
            (rows[i].expected != NULL && strcmp(err.text, rows[i].expected) != 0))
            fail_msg("%s: %d %s", rows[i].what, result, err.text);
        fl_buf_done(&out);
    }
}

static const Envoy__Config__Bootstrap__V3__Bootstrap *read_back(struct fl_span text, struct fl_arena *arena)
{
    struct fl_err err = {0};
    struct fl_yaml *yaml = NULL;
    struct fl_xds_report report = {0};
    struct fl_reader reader;
    ProtobufCMessage *message = NULL;
    if (fl_yaml_parse(text, "environment", NULL, &yaml, &err) != 0)
        fail_msg("%s\n%.*s", err.text, FL_SPAN_ARG(text));
    fl_reader_init(&reader, fl_yaml_positions(yaml), &err);
    if (fl_xds_read(&reader, &envoy__config__bootstrap__v3__bootstrap__descriptor, fl_yaml_document(yaml, 0), arena,
                    &report, &message) != 0)
        fail_msg("%s", err.text);
    assert_int_equal(report.ignored, 0);
    fl_yaml_free(yaml);
    return (const Envoy__Config__Bootstrap__V3__Bootstrap *)message;
}

static void check(const struct change *change, const char *id, const char *needle)
{
    struct fl_err err = {0};
    struct fl_buf out;
    struct fl_arena arena;
    struct change copy = change != NULL ? *change : (struct change){"", NULL};
    fl_buf_init(&out, PROXY_ENVIRONMENT_TEXT_MAX);
    fl_arena_init(&arena, 1 << 20);
    if (proxy_environment_print(get, &copy, &out, &err) != 0)
        fail_msg("%s", err.text);
    const Envoy__Config__Bootstrap__V3__Bootstrap *bootstrap = read_back(fl_buf_span(&out), &arena);
    assert_string_equal(bootstrap->node->id, id);
    assert_int_equal(bootstrap->static_resources->n_clusters, 1);
    assert_string_equal(bootstrap->static_resources->clusters[0]->name,
                        bootstrap->dynamic_resources->ads_config->grpc_services[0]->envoy_grpc->cluster_name);
    if (needle != NULL && strstr(fl_buf_str(&out), needle) == NULL)
        fail_msg("no %s in\n%s", needle, fl_buf_str(&out));
    fl_arena_done(&arena);
    fl_buf_done(&out);
}

static void test_printed(void **state)
{
    (void)state;
    static const char id[] = "sidecar~10.0.0.7~web-0.demo~demo.svc.cluster.local";
    check(NULL, id, "FAIRLEAD_DISCOVERY: \"on-demand\"");
    check(NULL, id, "{address: \"fd00::5\", port_value: 15012}");
    check(NULL, id, "FAIRLEAD_CA_ADDRESS: \"10.96.0.5:15012, [fd00::5]:15012\"");
    check(NULL, id, "matcher: {exact: \"fairlead-control.fairlead-system.svc\"}");
    check(&(struct change){"FAIRLEAD_GATEWAY", "edge/main"}, "router~10.0.0.7~web-0.demo~demo.svc.cluster.local",
          "FAIRLEAD_GATEWAY: \"edge/main\"");
    check(&(struct change){"FAIRLEAD_GATEWAY", "edge/main"}, "router~10.0.0.7~web-0.demo~demo.svc.cluster.local",
          "FAIRLEAD_DISCOVERY: \"all\"");
    check(&(struct change){"FAIRLEAD_WORKLOAD", "x\": {y: 1}, \"\n#"}, id, NULL);
    check(&(struct change){"FAIRLEAD_LABEL_APP", "shop"}, id, "app: \"shop\"");
    check(&(struct change){"FAIRLEAD_LABEL_CANONICAL_NAME", "till"}, id, "service.istio.io/canonical-name: \"till\"");
    check(&(struct change){"FAIRLEAD_LABEL_CANONICAL_REVISION", "2"}, id, "service.istio.io/canonical-revision: \"2\"");
    check(&(struct change){"FAIRLEAD_ADMIN_PORT", "0"}, id, "port_value: 0");
    check(&(struct change){"FAIRLEAD_ROOT_FILE", "/a b/r.pem"}, id, "trusted_ca: {filename: \"/a b/r.pem\"}");
}

static void test_named(void **state)
{
    (void)state;
    static const char id[] = "sidecar~10.0.0.7~web-0.demo~demo.svc.cluster.local";
    check(NULL, id, "    type: STATIC\n");
    check(&(struct change){"FAIRLEAD_CONTROL_ADDRESS", "control.mesh.svc.:15012"}, id, "    type: STRICT_DNS\n");
    check(&(struct change){"FAIRLEAD_CONTROL_ADDRESS", "control.mesh.svc.:15012"}, id,
          "{address: \"control.mesh.svc\", port_value: 15012}");
    check(&(struct change){"FAIRLEAD_CA_ADDRESS", "ca.mesh.svc:443"}, id, "FAIRLEAD_CA_ADDRESS: \"ca.mesh.svc:443\"");
}

/* No control plane: everything passes through, nothing is asked of anybody. */
static void test_none(void **state)
{
    (void)state;
    struct change none = {"FAIRLEAD_CONTROL_ADDRESS", "none"};
    struct fl_err err = {0};
    struct fl_buf out;
    struct fl_arena arena;
    fl_buf_init(&out, PROXY_ENVIRONMENT_TEXT_MAX);
    fl_arena_init(&arena, 1 << 20);
    if (proxy_environment_print(get, &none, &out, &err) != 0)
        fail_msg("%s", err.text);
    const Envoy__Config__Bootstrap__V3__Bootstrap *bootstrap = read_back(fl_buf_span(&out), &arena);
    assert_null(bootstrap->dynamic_resources);
    assert_int_equal(bootstrap->static_resources->n_listeners, 2);
    assert_int_equal(bootstrap->static_resources->n_clusters, 2);
    assert_null(strstr(fl_buf_str(&out), "FAIRLEAD_CA_ADDRESS"));
    assert_null(strstr(fl_buf_str(&out), "FAIRLEAD_DISCOVERY"));
    fl_arena_done(&arena);
    fl_buf_done(&out);
}

static void test_memory(void **state)
{
    (void)state;
    FAIL_EACH_ALLOCATION
    {
        struct fl_err err = {0};
        struct fl_buf out;
        fl_buf_init(&out, PROXY_ENVIRONMENT_TEXT_MAX);
        int result = proxy_environment_print(get, NULL, &out, &err);
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
        fl_buf_done(&out);
    }
    struct fl_buf small;
    fl_buf_init(&small, 100);
    assert_int_equal(proxy_environment_print(get, NULL, &small, NULL), -EMSGSIZE);
    fl_buf_done(&small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused), cmocka_unit_test(test_printed), cmocka_unit_test(test_named),
        cmocka_unit_test(test_none),    cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
