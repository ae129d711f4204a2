#include "common/mesh/container.h"
#include "tests/support/fail.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define ENVIRONMENT                                                                                                    \
    "{\"name\":\"FAIRLEAD_CAPTURE\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":"                                       \
    "\"metadata.annotations['fairlead.io/capture']\"}}},"                                                              \
    "{\"name\":\"FAIRLEAD_PROBES\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"metadata.annotations['fairlead.io/"    \
    "probes']\"}}},"                                                                                                   \
    "{\"name\":\"FAIRLEAD_METRICS\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"metadata.annotations['fairlead.io/"   \
    "metrics']\"}}},"                                                                                                  \
    "{\"name\":\"POD_NAME\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"metadata.name\"}}},"                          \
    "{\"name\":\"POD_NAMESPACE\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"metadata.namespace\"}}},"                \
    "{\"name\":\"POD_UID\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"metadata.uid\"}}},"                            \
    "{\"name\":\"POD_IPS\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"status.podIPs\"}}},"                           \
    "{\"name\":\"NODE_NAME\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"spec.nodeName\"}}},"                         \
    "{\"name\":\"SERVICE_ACCOUNT\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"spec.serviceAccountName\"}}},"         \
    "{\"name\":\"FAIRLEAD_LABEL_APP\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"metadata.labels['app']\"}}},"       \
    "{\"name\":\"FAIRLEAD_LABEL_VERSION\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"metadata.labels['version']\"}}" \
    "},"                                                                                                               \
    "{\"name\":\"FAIRLEAD_LABEL_APP_NAME\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"metadata.labels['app."         \
    "kubernetes.io/name']\"}}},"                                                                                       \
    "{\"name\":\"FAIRLEAD_LABEL_APP_VERSION\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"metadata.labels['app."      \
    "kubernetes.io/version']\"}}},"                                                                                    \
    "{\"name\":\"FAIRLEAD_LABEL_CANONICAL_NAME\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"metadata.labels['"       \
    "service.istio.io/canonical-name']\"}}},"                                                                          \
    "{\"name\":\"FAIRLEAD_LABEL_CANONICAL_REVISION\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"metadata.labels['"   \
    "service.istio.io/canonical-revision']\"}}},"                                                                      \
    "{\"name\":\"FAIRLEAD_CPU_LIMIT\",\"valueFrom\":{\"resourceFieldRef\":{\"resource\":\"limits.cpu\"}}}"
#define MOUNTS                                                                                                         \
    "\"volumeMounts\":[{\"name\":\"fairlead-proxy\",\"mountPath\":\"/run/fairlead\"},"                                 \
    "{\"name\":\"fairlead-token\",\"mountPath\":\"/run/secrets/fairlead\",\"readOnly\":true}]"
#define PROBES(seconds)                                                                                                \
    "\"startupProbe\":{\"httpGet\":{\"path\":\"/healthz/started\",\"port\":15021},\"periodSeconds\":1,"                \
    "\"timeoutSeconds\":3,\"failureThreshold\":" seconds "},"                                                          \
    "\"readinessProbe\":{\"httpGet\":{\"path\":\"/healthz/ready\",\"port\":15021},\"periodSeconds\":5,"                \
    "\"timeoutSeconds\":3,\"failureThreshold\":4}"
#define NATIVE "\"lifecycle\":{\"preStop\":{\"exec\":{\"command\":[\"/fairlead-proxy\",\"drain\"]}}}"
#define CLASSIC(start, drain)                                                                                          \
    "\"lifecycle\":{\"postStart\":{\"exec\":{\"command\":[\"/fairlead-proxy\",\"wait\",\"--seconds\",\"" start         \
    "\"]}},"                                                                                                           \
    "\"preStop\":{\"exec\":{\"command\":[\"/fairlead-proxy\",\"drain\"" drain "]}}}"
#define SECURITY(uid, gid)                                                                                             \
    "\"terminationMessagePolicy\":\"FallbackToLogsOnError\","                                                          \
    "\"securityContext\":{\"allowPrivilegeEscalation\":false,\"capabilities\":{\"drop\":[\"ALL\"]},"                   \
    "\"privileged\":false,\"readOnlyRootFilesystem\":true,\"runAsNonRoot\":true,\"runAsUser\":" uid                    \
    ",\"runAsGroup\":" gid ",\"seccompProfile\":{\"type\":\"RuntimeDefault\"}}}"
#define STATS_PORT "\"ports\":[{\"name\":\"http-envoy-prom\",\"containerPort\":15090,\"protocol\":\"TCP\"}]"

static void assert_prints(struct fl_json *value, const char *expected)
{
    struct fl_buf out;
    fl_buf_init(&out, 16384);
    assert_non_null(value);
    assert_int_equal(fl_json_print(value, &out), 0);
    assert_string_equal(fl_buf_str(&out), expected);
    fl_buf_done(&out);
    fl_json_free(value);
}

static const struct fl_container full = {
    .image = FL_SPAN("registry/proxy:1"),
    .image_pull_policy = FL_SPAN("IfNotPresent"),
    .log_level = FL_SPAN("debug"),
    .workload = FL_SPAN("web"),
    .cpu_request = FL_SPAN("10m"),
    .cpu_limit = FL_SPAN("2"),
    .memory_request = FL_SPAN("16Mi"),
    .memory_limit = FL_SPAN("256Mi"),
    .ephemeral_storage_request = FL_SPAN("50Mi"),
    .ephemeral_storage_limit = FL_SPAN("1Gi"),
    .drain_seconds = 9,
    .uid = 1337,
    .gid = 1338,
    .native = true,
};

static void a_native_sidecar_with_everything(void **state)
{
    (void)state;
    assert_prints(
        fl_container_render(&full),
        "{\"name\":\"fairlead-proxy\",\"image\":\"registry/proxy:1\",\"imagePullPolicy\":\"IfNotPresent\","
        "\"restartPolicy\":\"Always\",\"args\":[\"-c\",\"/run/fairlead/bootstrap.yaml\",\"-l\",\"debug\"]," STATS_PORT
        ",\"env\":[" ENVIRONMENT ",{\"name\":\"FAIRLEAD_WORKLOAD\",\"value\":\"web\"}],"
        "\"resources\":{\"requests\":{\"cpu\":\"10m\",\"memory\":\"16Mi\",\"ephemeral-storage\":\"50Mi\"},"
        "\"limits\":{\"cpu\":\"2\",\"memory\":\"256Mi\",\"ephemeral-storage\":\"1Gi\"}}," MOUNTS
        "," PROBES("600") "," NATIVE "," SECURITY("1337", "1338"));
}

/* The proxy makes its bootstrap itself. */
static void a_sidecar_with_a_control_plane(void **state)
{
    (void)state;
    const struct fl_container container = {.image = FL_SPAN("p"),
                                           .control_address = FL_SPAN("10.0.0.1:15012"),
                                           .control_name = FL_SPAN("control.mesh.svc"),
                                           .trust_domain = FL_SPAN("mesh.example"),
                                           .uid = 1,
                                           .gid = 2};
    assert_prints(fl_container_render(&container),
                  "{\"name\":\"fairlead-proxy\",\"image\":\"p\",\"args\":[\"-l\",\"info\"]," STATS_PORT
                  ",\"env\":[" ENVIRONMENT ",{\"name\":\"FAIRLEAD_CONTROL_ADDRESS\",\"value\":\"10.0.0.1:15012\"},"
                  "{\"name\":\"FAIRLEAD_CONTROL_NAME\",\"value\":\"control.mesh.svc\"},"
                  "{\"name\":\"FAIRLEAD_TRUST_DOMAIN\",\"value\":\"mesh.example\"}],\"resources\":{}," MOUNTS
                  "," PROBES("600") "," CLASSIC("600", "") "," SECURITY("1", "2"));
}

static void a_classic_sidecar_with_the_least(void **state)
{
    (void)state;
    const struct fl_container least = {.image = FL_SPAN("p"), .memory_limit = FL_SPAN("64Mi"), .uid = 1, .gid = 2};
    assert_prints(fl_container_render(&least),
                  "{\"name\":\"fairlead-proxy\",\"image\":\"p\","
                  "\"args\":[\"-c\",\"/run/fairlead/bootstrap.yaml\",\"-l\",\"info\"]," STATS_PORT
                  ",\"env\":[" ENVIRONMENT "],\"resources\":{\"limits\":{\"memory\":\"64Mi\"}}," MOUNTS
                  "," PROBES("600") "," CLASSIC("600", "") "," SECURITY("1", "2"));
}

/* What an operator adds; a variable of ours stays ours. */
static void a_classic_sidecar_with_more(void **state)
{
    (void)state;
    struct fl_json *env = NULL, *added = NULL;
    assert_int_equal(fl_json_parse(FL_SPAN("{\"TZ\":\"UTC\",\"POD_NAME\":\"x\",\"EMPTY\":\"\"}"), NULL, &env, NULL), 0);
    assert_int_equal(fl_json_parse(FL_SPAN("[{\"name\":\"v\",\"mountPath\":\"/v\"}]"), NULL, &added, NULL), 0);
    const struct fl_container container = {.image = FL_SPAN("p"),
                                           .start_seconds = 30,
                                           .drain_seconds = 7,
                                           .env = env,
                                           .mounts = added,
                                           .uid = 1,
                                           .gid = 2};
    assert_prints(fl_container_render(&container),
                  "{\"name\":\"fairlead-proxy\",\"image\":\"p\","
                  "\"args\":[\"-c\",\"/run/fairlead/bootstrap.yaml\",\"-l\",\"info\"]," STATS_PORT
                  ",\"env\":[" ENVIRONMENT
                  ",{\"name\":\"TZ\",\"value\":\"UTC\"},{\"name\":\"EMPTY\"}],\"resources\":{},"
                  "\"volumeMounts\":[{\"name\":\"fairlead-proxy\",\"mountPath\":\"/run/fairlead\"},"
                  "{\"name\":\"fairlead-token\",\"mountPath\":\"/run/secrets/fairlead\",\"readOnly\":true},"
                  "{\"name\":\"v\",\"mountPath\":\"/v\"}]," PROBES("30") "," CLASSIC(
                      "30", ",\"--seconds\",\"7\"") "," SECURITY("1", "2"));
    fl_json_free(env);
    fl_json_free(added);
}

/* The sidecar's image, user and resources; no volume, no port, no probe. */
static void a_gate(void **state)
{
    (void)state;
    assert_prints(
        fl_container_render_gate(&full),
        "{\"name\":\"fairlead-gate\",\"image\":\"registry/proxy:1\",\"imagePullPolicy\":\"IfNotPresent\","
        "\"args\":[\"gate\",\"-l\",\"debug\"],\"env\":["
        "{\"name\":\"FAIRLEAD_CAPTURE\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":"
        "\"metadata.annotations['fairlead.io/capture']\"}}},"
        "{\"name\":\"POD_NAME\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"metadata.name\"}}},"
        "{\"name\":\"POD_NAMESPACE\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"metadata.namespace\"}}},"
        "{\"name\":\"POD_UID\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"metadata.uid\"}}},"
        "{\"name\":\"POD_IPS\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"status.podIPs\"}}}],"
        "\"resources\":{\"requests\":{\"cpu\":\"10m\",\"memory\":\"16Mi\",\"ephemeral-storage\":\"50Mi\"},"
        "\"limits\":{\"cpu\":\"2\",\"memory\":\"256Mi\",\"ephemeral-storage\":\"1Gi\"}}," SECURITY("1337", "1338"));
}

static void the_volumes(void **state)
{
    (void)state;
    assert_prints(fl_container_volume(),
                  "{\"name\":\"fairlead-proxy\",\"emptyDir\":{\"medium\":\"Memory\",\"sizeLimit\":\"16Mi\"}}");
    assert_prints(
        fl_container_token_volume(FL_SPAN("fairlead"), false),
        "{\"name\":\"fairlead-token\",\"projected\":{\"defaultMode\":292,\"sources\":[{\"serviceAccountToken\":"
        "{\"audience\":\"fairlead\",\"expirationSeconds\":43200,\"path\":\"token\"}}]}}");
}

static void the_trust_bundle_beside_the_token(void **state)
{
    (void)state;
    assert_prints(
        fl_container_token_volume(FL_SPAN("fairlead-ca"), true),
        "{\"name\":\"fairlead-token\",\"projected\":{\"defaultMode\":292,\"sources\":[{\"serviceAccountToken\":"
        "{\"audience\":\"fairlead-ca\",\"expirationSeconds\":43200,\"path\":\"token\"}},{\"configMap\":{\"name\":"
        "\"fairlead-root\",\"items\":[{\"key\":\"root-cert.pem\",\"path\":\"root-cert.pem\"}]}}]}}");
}

static void every_failed_allocation_gives_null_and_leaks_nothing(void **state)
{
    (void)state;
    FAIL_EACH_ALLOCATION
    {
        struct fl_json *container = fl_container_render(&full);
        struct fl_json *volume = container != NULL ? fl_container_volume() : NULL;
        struct fl_json *token = volume != NULL ? fl_container_token_volume(FL_SPAN("a"), true) : NULL;
        struct fl_json *gate = token != NULL ? fl_container_render_gate(&full) : NULL;
        fail_stop();
        assert_int_equal(gate == NULL, fail_happened());
        fl_json_free(gate);
        fl_json_free(container);
        fl_json_free(volume);
        fl_json_free(token);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_native_sidecar_with_everything),
        cmocka_unit_test(a_sidecar_with_a_control_plane),
        cmocka_unit_test(the_trust_bundle_beside_the_token),
        cmocka_unit_test(a_classic_sidecar_with_the_least),
        cmocka_unit_test(a_classic_sidecar_with_more),
        cmocka_unit_test(a_gate),
        cmocka_unit_test(the_volumes),
        cmocka_unit_test(every_failed_allocation_gives_null_and_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
