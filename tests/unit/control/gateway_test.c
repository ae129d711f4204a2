/* What a Gateway asks the deployer for, what its parameters may say, and the objects that are made of both. */
#include "control/gateway/intent.h"
#include "control/gateway/manifest.h"
#include "control/gateway/override.h"
#include "tests/support/fail.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static struct fl_json *parse(const char *text)
{
    struct fl_json *root = NULL;
    struct fl_err err = {0};
    if (fl_json_parse(fl_span_str(text), NULL, &root, &err) < 0)
        fail_msg("%s: %s", text, err.text);
    return root;
}

#define META(name) "{\"metadata\":{\"name\":\"" name "\",\"namespace\":\"shop\",\"uid\":\"u-1\",\"generation\":3},"
#define N54        "a23456789012345678901234567890123456789012345678901234"

static void what_cannot_be_deployed_is_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *gateway, *reason, *part;
    } rows[] = {
        {META("edge") "\"spec\":{}}", NULL, ""},
        {META(N54) "\"spec\":{}}", NULL, ""},
        {META(N54 "5") "\"spec\":{}}", "NameNotUsable", "metadata.name"},
        {META("1edge") "\"spec\":{}}", "NameNotUsable", "beginning with a letter"},
        {META("edge.one") "\"spec\":{}}", "NameNotUsable", "metadata.name"},
        {META("edge") "\"spec\":{\"infrastructure\":{\"parametersRef\":{\"group\":\"\",\"kind\":\"ConfigMap\",\"name\":"
                      "\"p\"}}}}",
         NULL, ""},
        {META("edge") "\"spec\":{\"infrastructure\":{\"parametersRef\":{\"group\":\"a.b\",\"kind\":\"ConfigMap\","
                      "\"name\":\"p\"}}}}",
         "InvalidParameters", "got ConfigMap of group a.b"},
        {META("edge") "\"spec\":{\"infrastructure\":{\"parametersRef\":{\"group\":\"\",\"kind\":\"Secret\",\"name\":"
                      "\"p\"}}}}",
         "InvalidParameters", "got Secret"},
        {META("edge") "\"spec\":{\"infrastructure\":{\"parametersRef\":{\"group\":\"\",\"kind\":\"ConfigMap\",\"name\":"
                      "\"../x\"}}}}",
         "InvalidParameters", "parametersRef"},
        {META("edge") "\"spec\":{\"addresses\":[{\"type\":\"IPAddress\",\"value\":\"10.0.0.1\"}]}}", NULL, ""},
        {META("edge") "\"spec\":{\"addresses\":[{\"type\":\"IPAddress\"}]}}", NULL, ""},
        {META("edge") "\"spec\":{\"addresses\":[{\"value\":\"10.0.0.1\"},{\"value\":\"10.0.0.2\"}]}}",
         "AddressNotUsable", "not 2"},
        {META("edge") "\"spec\":{\"addresses\":[{\"type\":\"Hostname\",\"value\":\"a.b\"}]}}", "UnsupportedAddress",
         "type Hostname"},
        {META("edge") "\"spec\":{\"addresses\":[{\"value\":\"10.0.0.1/8\"}]}}", "UnsupportedAddress", "no IP address"},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        FL_CLEANUP(fl_cleanup_json) struct fl_json *gateway = parse(rows[i].gateway);
        struct control_intent intent;
        struct fl_err err = {0};
        const char *reason = NULL;
        int result = control_intent_read(gateway, &intent, &reason, &err);
        if (rows[i].reason == NULL) {
            assert_int_equal(result, 0);
            continue;
        }
        assert_int_equal(result, 1);
        assert_string_equal(reason, rows[i].reason);
        if (strstr(err.text, rows[i].part) == NULL)
            fail_msg("%s: %s", rows[i].gateway, err.text);
        assert_int_equal(intent.generation, 3);
    }
}

static void what_is_no_gateway_is_an_error(void **state)
{
    (void)state;
    static const char *const rows[] = {"{}", "[]", "{\"metadata\":{\"name\":\"a\",\"namespace\":\"b\"}}",
                                       "{\"metadata\":{\"name\":\"a\",\"namespace\":\"B\",\"uid\":\"u\"}}",
                                       "{\"metadata\":{\"name\":\"../a\",\"namespace\":\"b\",\"uid\":\"u\"}}"};
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        FL_CLEANUP(fl_cleanup_json) struct fl_json *gateway = parse(rows[i]);
        struct control_intent intent;
        const char *reason = NULL;
        assert_int_equal(control_intent_read(gateway, &intent, &reason, &(struct fl_err){0}), -EINVAL);
    }
}

static void ports_come_once_and_in_order(void **state)
{
    (void)state;
    FL_CLEANUP(fl_cleanup_json)
    struct fl_json *gateway =
        parse(META("edge") "\"spec\":{\"listeners\":[{\"port\":443,\"protocol\":\"HTTPS\"},{\"port\":80,\"protocol\":"
                           "\"HTTP\"},{\"port\":443,\"protocol\":\"TLS\"},{\"port\":53,\"protocol\":\"UDP\"},{\"port\":"
                           "70000,\"protocol\":\"HTTP\"},{\"port\":\"x\",\"protocol\":\"HTTP\"},7]}}");
    struct control_intent intent;
    const char *reason = NULL;
    assert_int_equal(control_intent_read(gateway, &intent, &reason, &(struct fl_err){0}), 0);
    assert_int_equal(intent.port_count, 2);
    assert_int_equal(intent.ports[0].port, 80);
    assert_string_equal(intent.ports[1].word, "https");
}

static void parameters_are_checked_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *data, *wrong; /* NULL: it is right */
    } rows[] = {
        {"{}", NULL},
        {"{\"replicas\":\"3\",\"serviceType\":\"ClusterIP\",\"cpuRequest\":\"100m\",\"memoryLimit\":\"1.5Gi\","
         "\"externalTrafficPolicy\":\"Local\",\"loadBalancerClass\":\"example.com/lb\",\"logLevel\":\"debug\","
         "\"priorityClassName\":\"high\",\"drainSeconds\":\"0\"}",
         NULL},
        {"{\"replicas\":\"-1\"}", "replicas: expected a whole number from 0 to 1000, got \"-1\""},
        {"{\"replicas\":\"1001\"}", "replicas: expected a whole number from 0 to 1000, got \"1001\""},
        {"{\"replicas\":3}", "replicas: expected a whole number from 0 to 1000, got \"\""},
        {"{\"serviceType\":\"ExternalName\"}",
         "serviceType: expected LoadBalancer, ClusterIP or NodePort, got \"ExternalName\""},
        {"{\"cpuLimit\":\"1.\"}", "cpuLimit: expected a quantity, as 2, got \"1.\""},
        {"{\"memoryLimit\":\"64MB\"}", "memoryLimit: expected a quantity, as 256Mi, got \"64MB\""},
        {"{\"memoryLimit\":\"\"}", "memoryLimit: expected a quantity, as 256Mi, got \"\""},
        {"{\"loadBalancerClass\":\"a/b/c\"}",
         "loadBalancerClass: expected a name, as example.com/class, got \"a/b/c\""},
        {"{\"image\":\"evil\"}",
         "image: no such parameter; known are replicas, serviceType, externalTrafficPolicy, loadBalancerClass, "
         "cpuRequest, cpuLimit, memoryRequest, memoryLimit, priorityClassName, drainSeconds, logLevel"},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        char text[1024];
        snprintf(text, sizeof(text), "{\"data\":%s}", rows[i].data);
        FL_CLEANUP(fl_cleanup_json) struct fl_json *map = parse(text);
        struct control_override override = {0};
        struct fl_err err = {0};
        int result = control_override_read(map, &override, &err);
        assert_int_equal(result, rows[i].wrong == NULL ? 0 : -EINVAL);
        if (rows[i].wrong != NULL)
            assert_string_equal(err.text, rows[i].wrong);
    }
}

static const char full[] = META("edge") "\"spec\":{\"gatewayClassName\":\"fairlead\",\"addresses\":[{\"value\":"
                                        "\"192.0.2.9\"}],\"infrastructure\":{\"labels\":{\"team\":\"a\","
                                        "\"app.kubernetes.io/managed-by\":\"me\",\"fairlead.io/inject\":\"enabled\"},"
                                        "\"annotations\":{\"example.com/note\":\"x\",\"fairlead.io/capture\":\"{}\"}},"
                                        "\"listeners\":[{\"port\":80,\"protocol\":\"HTTP\"},{\"port\":443,"
                                        "\"protocol\":\"HTTPS\"}]}}";

static const struct control_deploy_options options = {.image = "example.com/proxy:1",
                                                      .control_address = "fairlead-control.fairlead-system.svc:15012",
                                                      .control_name = "fairlead-control.fairlead-system.svc",
                                                      .pull_secrets = (const char *const[]){"pull", NULL},
                                                      .replicas = 2};

/* As the files of golden/gateway have it; FL_GOLDEN_UPDATE in the environment writes them. */
static void compare(const char *name, const struct fl_json *object)
{
    char path[512];
    struct fl_buf found, wanted;
    snprintf(path, sizeof(path), "%s/%s.json", GOLDEN, name);
    fl_buf_init(&found, 1 << 20);
    fl_buf_init(&wanted, 1 << 20);
    assert_int_equal(fl_json_print(object, &found), 0);
    assert_int_equal(fl_buf_append_byte(&found, '\n'), 0);
    if (getenv("FL_GOLDEN_UPDATE") != NULL) {
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        fwrite(found.data, 1, found.len, file);
        fclose(file);
    }
    assert_int_equal(fl_buf_read_file(&wanted, path), 0);
    assert_string_equal(fl_buf_str(&found), fl_buf_str(&wanted));
    fl_buf_done(&found);
    fl_buf_done(&wanted);
}

static void objects_are_as_they_are_written_down(void **state)
{
    (void)state;
    static const char *const names[] = {"account", "service", "deployment", "budget"};
    FL_CLEANUP(fl_cleanup_json) struct fl_json *gateway = parse(full);
    struct control_override override = {0};
    struct control_intent intent;
    const char *reason = NULL;
    assert_int_equal(control_intent_read(gateway, &intent, &reason, &(struct fl_err){0}), 0);
    for (int child = 0; child < CONTROL_DEPLOY_CHILD_COUNT; child++) {
        assert_true(control_manifest_wants((enum control_deploy_child)child, &options, &override));
        FL_CLEANUP(fl_cleanup_json)
        struct fl_json *object =
            control_manifest((enum control_deploy_child)child, &options, &intent, &override, FL_SPAN(""));
        compare(names[child], object);
    }
    override = (struct control_override){.has_replicas = true, .replicas = 1, .service_type = FL_SPAN("ClusterIP")};
    assert_false(control_manifest_wants(CONTROL_DEPLOY_BUDGET, &options, &override));
    FL_CLEANUP(fl_cleanup_json)
    struct fl_json *service = control_manifest(CONTROL_DEPLOY_SERVICE, &options, &intent, &override, FL_SPAN("u-7"));
    compare("service-inside", service);
    FL_CLEANUP(fl_cleanup_json)
    struct fl_json *condition = control_manifest_condition(&intent, false, "NameTaken", "why", "2026-01-02T03:04:05Z");
    compare("condition", condition);
}

/* A listener that comes or goes changes nothing of the pods. */
static void ports_roll_no_pod(void **state)
{
    (void)state;
    FL_CLEANUP(fl_cleanup_json) struct fl_json *gateway = parse(full);
    const struct control_override override = {0};
    struct control_intent intent;
    const char *reason = NULL;
    assert_int_equal(control_intent_read(gateway, &intent, &reason, &(struct fl_err){0}), 0);
    FL_CLEANUP(fl_cleanup_json)
    struct fl_json *before = control_manifest(CONTROL_DEPLOY_DEPLOYMENT, &options, &intent, &override, FL_SPAN("u"));
    intent.port_count = 0;
    intent.generation++;
    FL_CLEANUP(fl_cleanup_json)
    struct fl_json *after = control_manifest(CONTROL_DEPLOY_DEPLOYMENT, &options, &intent, &override, FL_SPAN("u"));
    assert_true(fl_json_equal(before, after));
    FL_CLEANUP(fl_cleanup_json)
    struct fl_json *service = control_manifest(CONTROL_DEPLOY_SERVICE, &options, &intent, &override, FL_SPAN("u"));
    const struct fl_json *ports = fl_json_get(fl_json_get(service, "spec"), "ports");
    assert_int_equal(fl_json_count(ports), 1); /* a Service has at least one */
}

static struct fl_span pods_revision(const char *revision)
{
    static char text[64];
    FL_CLEANUP(fl_cleanup_json) struct fl_json *gateway = parse(full);
    const struct control_override override = {0};
    struct control_deploy_options of_revision = options;
    struct control_intent intent;
    const char *reason = NULL;
    of_revision.revision = revision;
    assert_int_equal(control_intent_read(gateway, &intent, &reason, &(struct fl_err){0}), 0);
    FL_CLEANUP(fl_cleanup_json)
    struct fl_json *object = control_manifest(CONTROL_DEPLOY_DEPLOYMENT, &of_revision, &intent, &override, FL_SPAN(""));
    const struct fl_json *pod = fl_json_get(fl_json_get(object, "spec"), "template");
    struct fl_span label =
        fl_json_string(fl_json_get(fl_json_get(fl_json_get(pod, "metadata"), "labels"), "fairlead.io/rev"));
    snprintf(text, sizeof(text), "%.*s", FL_SPAN_ARG(label));
    return fl_span_str(text);
}

/* By it `helm uninstall` knows which release a gateway's pods are of. The selector stays: a Gateway may change over. */
static void pods_carry_their_revision(void **state)
{
    (void)state;
    assert_true(fl_span_eq_str(pods_revision("canary"), "canary"));
    assert_true(fl_span_eq_str(pods_revision(""), ""));
    assert_true(fl_span_eq_str(pods_revision(NULL), ""));
}

static void memory_that_is_out_gives_nothing(void **state)
{
    (void)state;
    FL_CLEANUP(fl_cleanup_json) struct fl_json *gateway = parse(full);
    const struct control_override override = {0};
    struct control_intent intent;
    const char *reason = NULL;
    assert_int_equal(control_intent_read(gateway, &intent, &reason, &(struct fl_err){0}), 0);
    FAIL_EACH_ALLOCATION
    {
        struct fl_json *object = control_manifest(CONTROL_DEPLOY_DEPLOYMENT, &options, &intent, &override, FL_SPAN(""));
        fail_stop();
        if (!fail_happened())
            assert_non_null(object);
        else
            assert_null(object);
        fl_json_free(object);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_cannot_be_deployed_is_refused_by_name),
        cmocka_unit_test(what_is_no_gateway_is_an_error),
        cmocka_unit_test(ports_come_once_and_in_order),
        cmocka_unit_test(parameters_are_checked_by_name),
        cmocka_unit_test(objects_are_as_they_are_written_down),
        cmocka_unit_test(ports_roll_no_pod),
        cmocka_unit_test(pods_carry_their_revision),
        cmocka_unit_test(memory_that_is_out_gives_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
