/* patch and selfcheck: what a patch must keep to, by property rather than by text (the texts are golden files). */
#include "tests/unit/webhook/test.h"

#include "common/doc/patch.h"
#include "common/mesh/label.h"
#include "webhook/pod.h"
#include "webhook/resolve.h"
#include "webhook/selfcheck.h"

struct fixture {
    struct webhook_config *config;
    struct webhook_settings settings;
};

static const struct webhook_owner owner = {.name = "web"};

static void fixture_init(struct fixture *fixture, bool native)
{
    struct webhook_warnings warnings = {.count = 0};
    assert_int_equal(webhook_config_default(&fixture->config), 0);
    fixture->config->defaults.native_sidecar = native;
    assert_int_equal(webhook_settings_resolve(fixture->config, FL_SPAN("shop"), false, NULL, NULL, &fixture->settings,
                                              &warnings, NULL),
                     0);
}

static void fixture_done(struct fixture *fixture)
{
    webhook_settings_done(&fixture->settings);
    webhook_config_free(fixture->config);
}

/* Plans and builds. The plan is released where the result is not 0. */
static int build(const struct fixture *fixture, const struct fl_json *pod, struct webhook_plan *plan,
                 struct fl_json **ret_patch, struct webhook_warnings *warnings, struct fl_err *err)
{
    int result = webhook_plan_make(fixture->config, &fixture->settings, &owner, pod, plan, warnings, err);
    if (result < 0)
        return result;
    result = webhook_patch_build(pod, plan, ret_patch, warnings, err);
    if (result < 0)
        webhook_plan_done(plan);
    return result;
}

/* Builds, checks and applies; the patched pod for the caller, the count of operations in *ret_count. */
static struct fl_json *inject(const struct fixture *fixture, const struct fl_json *pod, size_t *ret_count)
{
    FL_CLEANUP(fl_cleanup_json) struct fl_json *patch = NULL;
    struct fl_json *patched = NULL;
    struct webhook_plan plan;
    struct webhook_warnings warnings = {.count = 0};
    struct fl_err err = {0};
    assert_int_equal(webhook_pod_check(pod, NULL), 0);
    if (build(fixture, pod, &plan, &patch, &warnings, &err) < 0 ||
        webhook_selfcheck(pod, patch, &plan, &patched, &err) < 0)
        fail_msg("%s", err.text);
    webhook_plan_done(&plan);
    *ret_count = fl_json_count(patch);
    return patched;
}

#define MANY_PARTS                                                                                                     \
    "{'metadata':{'annotations':{'a/b~c':'d','~1':'e'},'labels':{'x':'y'}},'spec':{'containers':[{'name':'a'},"        \
    "{'name':'b'}],'initContainers':[{'name':'i'},{'name':'j'}],'volumes':[{'name':'v','emptyDir':{}}]},'status':{}}"

static const char *const pods[] = {
    "{'spec':{}}",
    "{'metadata':null,'spec':{'containers':null,'initContainers':null,'volumes':null}}",
    "{'metadata':{},'spec':{'containers':[]}}",
    "{'metadata':{'annotations':null},'spec':{'containers':[{'name':'a'}]}}",
    "{'metadata':{'annotations':{}},'spec':{'containers':[{'name':'a'}],'initContainers':[],'volumes':[]}}",
    MANY_PARTS,
    "{'metadata':{'annotations':{'fairlead.io/capture':'forged'}},'spec':{'containers':[{'name':'a'}]}}",
    "{'metadata':{'annotations':{'kubectl.kubernetes.io/default-container':'b'}},'spec':{'containers':[{'name':'a'}]}}",
    "{'metadata':{'annotations':{'prometheus.io/scrape':'true','prometheus.io/port':'9100','prometheus.io/scheme':"
    "'https','cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes':'a, b'}},'spec':{'containers':[{'name':"
    "'a','livenessProbe':{'grpc':{'port':9000}},'lifecycle':{'preStop':{'httpGet':{'port':80,'path':'/bye'}}}}]}}",
};

static void check_idempotence(bool native)
{
    struct fixture fixture;
    fixture_init(&fixture, native);
    for (size_t i = 0; i < FL_COUNT(pods); i++) {
        size_t count;
        FL_CLEANUP(fl_cleanup_json) struct fl_json *pod = json(pods[i]);
        FL_CLEANUP(fl_cleanup_json) struct fl_json *once = inject(&fixture, pod, &count);
        assert_true(count > 0);
        FL_CLEANUP(fl_cleanup_json) struct fl_json *twice = inject(&fixture, once, &count);
        if (count != 0)
            fail_msg("pod %zu: %zu operations at the second time", i, count);
        assert_true(fl_json_equal(once, twice));
    }
    fixture_done(&fixture);
}

static void test_idempotence(void **state)
{
    (void)state;
    check_idempotence(true);
    check_idempotence(false);
}

static struct fl_json *home(const struct fl_json *pod)
{
    return fl_json_get(fl_json_get(pod, "spec"), "initContainers");
}

/* What happens to a pod between our answer and a reinvocation; `operations` repair it. */
static void others_change(struct fl_json *pod, const char *patch_text)
{
    FL_CLEANUP(fl_cleanup_json) struct fl_json *patch = json(patch_text);
    struct fl_err err = {0};
    FL_CLEANUP(fl_cleanup_json) struct fl_json *copy = fl_json_copy(pod);
    if (fl_patch_apply(&copy, patch, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(fl_json_set(pod, "metadata", fl_json_copy(fl_json_get(copy, "metadata"))), 0);
    assert_int_equal(fl_json_set(pod, "spec", fl_json_copy(fl_json_get(copy, "spec"))), 0);
}

static const struct {
    const char *change;
    size_t operations;
    const char *edge;
} reinvocations[] = {
    {"[{'op':'add','path':'/spec/initContainers/0/terminationMessagePath','value':'/dev/termination-log'},"
     "{'op':'add','path':'/spec/initContainers/0/volumeMounts/-','value':{'name':'kube-api-access-x','mountPath':"
     "'/var/run/secrets/kubernetes.io/serviceaccount','readOnly':true}},"
     "{'op':'add','path':'/spec/volumes/-','value':{'name':'kube-api-access-x','emptyDir':{}}}]",
     0, "defaults and the service account's mount"},
    {"[{'op':'replace','path':'/spec/initContainers/0/imagePullPolicy','value':'Always'}]", 0, "AlwaysPullImages"},
    {"[{'op':'add','path':'/spec/initContainers/0/env/0','value':{'name':'LD_PRELOAD','value':'/x.so'}}]", 1,
     "environment for every container"},
    {"[{'op':'add','path':'/spec/initContainers/0/volumeMounts/-','value':{'name':'t','mountPath':'/lib'}},"
     "{'op':'add','path':'/spec/volumes/-','value':{'name':'t','emptyDir':{}}}]",
     1, "a mount for every container"},
    {"[{'op':'add','path':'/spec/initContainers/0/envFrom','value':[{'configMapRef':{'name':'x'}}]}]", 1, "envFrom"},
    {"[{'op':'remove','path':'/metadata/annotations/fairlead.io~1status'}]", 1, "the status was taken out"},
    {"[{'op':'remove','path':'/metadata/annotations'}]", 9, "all annotations were taken out"},
    {"[{'op':'remove','path':'/metadata/labels'}]", 3, "the labels were taken out"},
    {"[{'op':'copy','from':'/spec/initContainers/0','path':'/spec/initContainers/1'}]", 1, "a second sidecar"},
    {"[{'op':'copy','from':'/spec/initContainers/0','path':'/spec/containers/-'}]", 1, "a second, classic sidecar"},
    {"[{'op':'add','path':'/spec/initContainers/0/securityContext/privileged','value':true}]", 1, "privileges"},
    {"[{'op':'remove','path':'/spec/initContainers/0/lifecycle'}]", 1, "the hook"},
    {"[{'op':'replace','path':'/spec/volumes/0','value':{'name':'fairlead-proxy','hostPath':{'path':'/'}}}]", 1,
     "another volume"},
    {"[{'op':'add','path':'/spec/volumes/0','value':{'name':'x','emptyDir':{}}}]", 0, "a volume before ours"},
    {"[{'op':'replace','path':'/metadata/annotations/prometheus.io~1port','value':'80'}]", 3,
     "metrics of somebody else"},
    {"[{'op':'add','path':'/spec/containers/-','value':{'name':'other'}}]", 0, "a container of another webhook"},
    {"[{'op':'add','path':'/spec/initContainers/-','value':{'name':'other'}}]", 0, "an init container behind ours"},
    {"[{'op':'add','path':'/spec/initContainers/0','value':{'name':'other'}}]", 2, "an init container before ours"},
    {"[{'op':'remove','path':'/spec/initContainers/0/restartPolicy'}]", 1, "a library that knows no native sidecars"},
    {"[{'op':'remove','path':'/spec/initContainers/0'}]", 2, "the container was taken out: an empty list is there"},
    {"[{'op':'move','from':'/spec/initContainers/0','path':'/spec/containers/0'}]", 3, "the container was moved"},
    {"[{'op':'remove','path':'/spec/volumes/0'}]", 1, "a volume was taken out"},
    {"[{'op':'replace','path':'/metadata/annotations/fairlead.io~1capture','value':'x'}]", 1, "another capture spec"},
    {"[{'op':'replace','path':'/spec/initContainers/0/image','value':'other'}]", 1, "another image"},
    {"[{'op':'add','path':'/spec/initContainers/0/command','value':['sh']}]", 1, "a command"},
};

static void test_reinvocation(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture, true);
    for (size_t i = 0; i < FL_COUNT(reinvocations); i++) {
        size_t count;
        FL_CLEANUP(fl_cleanup_json) struct fl_json *pod = json("{'spec':{'containers':[{'name':'a'}]}}");
        FL_CLEANUP(fl_cleanup_json) struct fl_json *once = inject(&fixture, pod, &count);
        others_change(once, reinvocations[i].change);
        FL_CLEANUP(fl_cleanup_json) struct fl_json *twice = inject(&fixture, once, &count);
        if (count != reinvocations[i].operations)
            fail_msg("%s: %zu operations", reinvocations[i].edge, count);
        assert_span(fl_json_string(fl_json_get(fl_json_first(home(twice)), "name")), FL_CONTAINER_NAME);
        assert_span(fl_json_string(fl_json_get(fl_json_first(home(twice)), "restartPolicy")), "Always");
        FL_CLEANUP(fl_cleanup_json) struct fl_json *third = inject(&fixture, twice, &count);
        assert_int_equal(count, 0);
        assert_true(fl_json_equal(twice, third));
    }
    fixture_done(&fixture);
}

/* The classic form: what happens to its gate. */
static const struct {
    const char *change;
    size_t operations;
    const char *edge;
} gate_changes[] = {
    {"[{'op':'add','path':'/spec/initContainers/0/terminationMessagePath','value':'/dev/termination-log'},"
     "{'op':'add','path':'/spec/initContainers/0/volumeMounts','value':[]}]",
     1, "defaults, and a list of mounts, which it has not"},
    {"[{'op':'add','path':'/spec/initContainers/0/imagePullPolicy','value':'Always'}]", 0, "AlwaysPullImages"},
    {"[{'op':'add','path':'/spec/initContainers/0/volumeMounts','value':[{'name':'kube-api-access-x','mountPath':"
     "'/var/run/secrets/kubernetes.io/serviceaccount','readOnly':true}]},"
     "{'op':'add','path':'/spec/volumes/-','value':{'name':'kube-api-access-x','emptyDir':{}}}]",
     0, "the service account's mount"},
    {"[{'op':'add','path':'/spec/initContainers/0/volumeMounts','value':[{'name':'t','mountPath':'/x'}]},"
     "{'op':'add','path':'/spec/volumes/-','value':{'name':'t','emptyDir':{}}}]",
     1, "a mount for every container"},
    {"[{'op':'remove','path':'/spec/initContainers/0'}]", 2,
     "taken out: an empty list is there, which the status notes"},
    {"[{'op':'remove','path':'/spec/initContainers'}]", 2, "taken out with its list"},
    {"[{'op':'add','path':'/spec/initContainers/0','value':{'name':'other'}}]", 2, "an init container before it"},
    {"[{'op':'add','path':'/spec/initContainers/-','value':{'name':'other'}}]", 0, "an init container behind it"},
    {"[{'op':'copy','from':'/spec/initContainers/0','path':'/spec/initContainers/1'}]", 1, "a second one"},
    {"[{'op':'move','from':'/spec/initContainers/0','path':'/spec/containers/0'}]", 5, "moved before the sidecar"},
    {"[{'op':'replace','path':'/spec/initContainers/0/args','value':['gate','--seconds','1']}]", 1, "a patience"},
    {"[{'op':'add','path':'/spec/initContainers/0/command','value':['true']}]", 1, "a command"},
    {"[{'op':'add','path':'/spec/initContainers/0/restartPolicy','value':'Always'}]", 1, "one that goes on running"},
    {"[{'op':'replace','path':'/spec/initContainers/0/image','value':'other'}]", 1, "another image"},
    {"[{'op':'replace','path':'/spec/initContainers/0/securityContext/runAsUser','value':1000}]", 1, "another user"},
    {"[{'op':'replace','path':'/spec/initContainers/0/env/0','value':{'name':'FAIRLEAD_CAPTURE','value':'x'}}]", 1,
     "another spec"},
    {"[{'op':'add','path':'/spec/initContainers/0/env/-','value':{'name':'LD_PRELOAD','value':'/x.so'}}]", 1,
     "environment for every container"},
};

static void test_the_gate(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture, false);
    for (size_t i = 0; i < FL_COUNT(gate_changes); i++) {
        size_t count;
        FL_CLEANUP(fl_cleanup_json) struct fl_json *pod = json("{'spec':{'containers':[{'name':'a'}]}}");
        FL_CLEANUP(fl_cleanup_json) struct fl_json *once = inject(&fixture, pod, &count);
        others_change(once, gate_changes[i].change);
        FL_CLEANUP(fl_cleanup_json) struct fl_json *twice = inject(&fixture, once, &count);
        if (count != gate_changes[i].operations)
            fail_msg("%s: %zu operations", gate_changes[i].edge, count);
        const struct fl_json *apps = fl_json_get(fl_json_get(twice, "spec"), "containers");
        assert_span(fl_json_string(fl_json_get(fl_json_first(home(twice)), "name")), FL_GATE_NAME);
        assert_span(fl_json_string(fl_json_get(fl_json_first(apps), "name")), FL_CONTAINER_NAME);
        FL_CLEANUP(fl_cleanup_json) struct fl_json *third = inject(&fixture, twice, &count);
        assert_int_equal(count, 0);
        assert_true(fl_json_equal(twice, third));
    }
    fixture_done(&fixture);
}

/* A pod of one form, reviewed when the other is asked for: the gate comes and goes. */
static void test_from_one_form_to_the_other(void **state)
{
    (void)state;
    static const bool forms[][2] = {{true, false}, {false, true}};
    for (size_t i = 0; i < FL_COUNT(forms); i++) {
        struct fixture from, to;
        size_t count;
        fixture_init(&from, forms[i][0]);
        fixture_init(&to, forms[i][1]);
        FL_CLEANUP(fl_cleanup_json) struct fl_json *pod = json("{'spec':{'containers':[{'name':'a'}]}}");
        FL_CLEANUP(fl_cleanup_json) struct fl_json *direct = inject(&to, pod, &count);
        FL_CLEANUP(fl_cleanup_json) struct fl_json *one = inject(&from, pod, &count);
        FL_CLEANUP(fl_cleanup_json) struct fl_json *other = inject(&to, one, &count);
        const struct fl_json *apps = fl_json_get(fl_json_get(direct, "spec"), "containers");
        assert_true(fl_json_equal(fl_json_get(fl_json_get(other, "spec"), "containers"), apps));
        assert_int_equal(fl_json_count(home(other)), 1);
        assert_true(fl_json_equal(fl_json_first(home(other)), fl_json_first(home(direct))));
        fixture_done(&from);
        fixture_done(&to);
    }
}

#define STATUS                                                                                                         \
    "'metadata':{'annotations':{'fairlead.io/status':'{\\\"version\\\":1,\\\"container\\\":\\\"fairlead-proxy\\\"}'}}"

static const struct {
    const char *pod;
    const char *error;
} taken[] = {
    {"{'spec':{'containers':[{'name':'fairlead-proxy'}]}}", "container name fairlead-proxy"},
    {"{'spec':{'initContainers':[{'name':'fairlead-proxy'}]}}", "container name fairlead-proxy"},
    {"{'spec':{'ephemeralContainers':[{'name':'fairlead-proxy'}]}}", "container name fairlead-proxy"},
    {"{" STATUS ",'spec':{'ephemeralContainers':[{'name':'fairlead-proxy'}]}}", "container name fairlead-proxy"},
    {"{'spec':{'initContainers':[{'name':'fairlead-gate'}]}}", "container name fairlead-gate"},
    {"{'spec':{'initContainers':[{'name':'fairlead-gate','image':'fairlead/fairlead-proxy:" FL_VERSION
     "','args':['gate']}]}}",
     "container name fairlead-gate"},
    {"{'spec':{'containers':[{'name':'fairlead-gate'}]}}", "container name fairlead-gate"},
    {"{" STATUS ",'spec':{'ephemeralContainers':[{'name':'fairlead-gate'}]}}", "container name fairlead-gate"},
    {"{'spec':{'volumes':[{'name':'fairlead-proxy'}]}}", "volume name fairlead-proxy"},
    {"{'spec':{'volumes':[{'name':'fairlead-token'}]}}", "volume name fairlead-token"},
    {"{'spec':{'containers':[{'name':'a','volumeMounts':[{'name':'fairlead-proxy'}]}]}}",
     "container a mounts the volume fairlead-proxy"},
    {"{'spec':{'containers':[{'name':'a','volumeMounts':[{'name':'x'},{'name':'fairlead-proxy','subPath':'certs'}]}]}}",
     "container a mounts the volume fairlead-proxy"},
    {"{'spec':{'containers':[{'name':'a','volumeDevices':[{'name':'fairlead-proxy','devicePath':'/d'}]}]}}",
     "container a mounts the volume fairlead-proxy"},
    {"{" STATUS ",'spec':{'ephemeralContainers':[{'name':'a','volumeMounts':[{'name':'fairlead-proxy'}]}]}}",
     "container a mounts the volume fairlead-proxy"},
    {"{" STATUS ",'spec':{'initContainers':[{'name':'a','volumeMounts':[{'name':'fairlead-token'}]}]}}",
     "container a mounts the volume fairlead-token"},
    {"{'metadata':{'annotations':{'fairlead.io/status':'x'}},'spec':{'containers':[{'name':'fairlead-proxy'}]}}",
     "container name fairlead-proxy"},
    {"{'metadata':{'annotations':{'fairlead.io/status':'{}'}},'spec':{'volumes':[{'name':'fairlead-proxy'}]}}",
     "volume name fairlead-proxy"},
};

static void check_taken_names(bool native)
{
    struct fixture fixture;
    fixture_init(&fixture, native);
    for (size_t i = 0; i < FL_COUNT(taken); i++) {
        FL_CLEANUP(fl_cleanup_json) struct fl_json *pod = json(taken[i].pod);
        struct fl_json *patch = NULL;
        struct webhook_plan plan;
        struct webhook_warnings warnings = {.count = 0};
        struct fl_err err = {0};
        int result = build(&fixture, pod, &plan, &patch, &warnings, &err);
        if (result != -EEXIST)
            fail_msg("%s gave %d", taken[i].pod, result);
        assert_contains(err.text, taken[i].error);
    }
    fixture_done(&fixture);
}

static void test_taken_names(void **state)
{
    (void)state;
    check_taken_names(true);
    check_taken_names(false);
}

/* Whoever writes a status of ours into his pod, and calls his container as ours is called, gets our container. */
static void test_forged_status_gains_nothing(void **state)
{
    (void)state;
    static const char *const parts[] = {
        "'command':['sh']",
        "'env':[{'name':'FAIRLEAD_CONTROL_ADDRESS','value':'10.6.6.6:1'}]",
        "'envFrom':[{'secretRef':{'name':'x'}}]",
        "'volumeMounts':[{'name':'evil','mountPath':'/usr/lib'}]",
        "'volumeMounts':[{'name':'kube-api-access-x','mountPath':'/run/fairlead','readOnly':true}]",
        "'lifecycle':{'postStart':{'exec':{'command':['sh']}}}",
        "'livenessProbe':{'exec':{'command':['sh']}}",
        "'securityContext':{'privileged':true,'capabilities':{'add':['NET_ADMIN']}}",
        "'image':'evil','args':['-c','/evil']",
        "'ports':[{'containerPort':80,'hostPort':80}]",
        "'resources':{'limits':{'example.com/device':'1'},'claims':[{'name':'c'}]}",
        "'stdin':true,'tty':true,'workingDir':'/evil'",
    };
    struct fixture fixture;
    fixture_init(&fixture, true);
    FL_CLEANUP(fl_cleanup_json) struct fl_json *clean = json("{'spec':{'containers':[{'name':'a'}]}}");
    size_t count;
    FL_CLEANUP(fl_cleanup_json) struct fl_json *honest = inject(&fixture, clean, &count);
    for (size_t i = 0; i < FL_COUNT(parts) * 2; i++) {
        char text[1024];
        snprintf(text, sizeof(text), "{" STATUS ",'spec':{'containers':[{'name':'a'}%s{'name':'fairlead-proxy',%s}]}}",
                 i % 2 == 0 ? "," : "],'initContainers':[", parts[i / 2]);
        FL_CLEANUP(fl_cleanup_json) struct fl_json *forged = json(text);
        FL_CLEANUP(fl_cleanup_json) struct fl_json *patched = inject(&fixture, forged, &count);
        if (!fl_json_equal(fl_json_get(patched, "spec"), fl_json_get(honest, "spec")))
            fail_msg("%s gained something", parts[i / 2]);
    }
    fixture_done(&fixture);
}

static void test_user_capture_is_told(void **state)
{
    (void)state;
    struct fixture fixture;
    struct webhook_plan plan;
    fixture_init(&fixture, true);
    FL_CLEANUP(fl_cleanup_json) struct fl_json *pod = json(pods[6]);
    FL_CLEANUP(fl_cleanup_json) struct fl_json *patch = NULL;
    struct webhook_warnings warnings = {.count = 0};
    assert_int_equal(build(&fixture, pod, &plan, &patch, &warnings, NULL), 0);
    assert_int_equal(warnings.count, 1);
    assert_contains(warnings.text[0], "fairlead.io/capture");
    webhook_plan_done(&plan);
    fixture_done(&fixture);
}

/* Patches that a bug could make: each must be caught. */
static const struct {
    const char *operation;
    const char *error;
} bugs[] = {
    {"{'op':'remove','path':'/spec/nowhere'}", "does not apply"},
    {"{'op':'add','path':'/spec/hostNetwork','value':true}", "spec would change"},
    {"{'op':'add','path':'/metadata/name','value':'x'}", "metadata would change"},
    {"{'op':'add','path':'/metadata/labels/x','value':''}", "labels would change"},
    {"{'op':'remove','path':'/metadata/labels'}", "the labels and annotations are not there"},
    {"{'op':'replace','path':'/spec/containers/0/livenessProbe/httpGet/port','value':1}", "containers would change"},
    {"{'op':'add','path':'/spec/containers/0/livenessProbe/periodSeconds','value':1}", "containers would change"},
    {"{'op':'add','path':'/spec/containers/0/lifecycle','value':{}}", "containers would change"},
    {"{'op':'add','path':'/spec/containers/1/livenessProbe','value':{}}", "containers would change"},
    {"{'op':'add','path':'/metadata/annotations/x','value':''}", "annotations would change"},
    {"{'op':'add','path':'/status','value':{}}", "the pod's own members would change"},
    {"{'op':'add','path':'/spec/containers/-','value':{'name':'b'}}", "containers would change"},
    {"{'op':'replace','path':'/spec/containers/0/name','value':'b'}", "containers would change"},
    {"{'op':'add','path':'/spec/volumes/-','value':{'name':'b'}}", "volumes would change"},
    {"{'op':'remove','path':'/spec/initContainers/0'}", "are not there"},
    {"{'op':'remove','path':'/spec/volumes/0'}", "are not there"},
    {"{'op':'remove','path':'/metadata/annotations/fairlead.io~1capture'}", "annotations are not there"},
    {"{'op':'remove','path':'/spec/initContainers/0/restartPolicy'}", "the container are not there"},
    {"{'op':'copy','from':'/spec/initContainers/0','path':'/spec/initContainers/1'}", "once are not there"},
    {"{'op':'copy','from':'/spec/initContainers/0','path':'/spec/containers/0'}", "once are not there"},
};

static void test_selfcheck_catches(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture, true);
    for (size_t i = 0; i < FL_COUNT(bugs); i++) {
        FL_CLEANUP(fl_cleanup_json)
        struct fl_json *pod =
            json("{'metadata':{},'spec':{'containers':[{'name':'a','livenessProbe':{'httpGet':{'port':"
                 "80}}},{'name':'b'}]}}");
        FL_CLEANUP(fl_cleanup_json) struct fl_json *patch = NULL;
        struct webhook_plan plan;
        struct webhook_warnings warnings = {.count = 0};
        struct fl_err err = {0};
        assert_int_equal(build(&fixture, pod, &plan, &patch, &warnings, NULL), 0);
        assert_int_equal(fl_json_append(patch, json(bugs[i].operation)), 0);
        int result = webhook_selfcheck(pod, patch, &plan, NULL, &err);
        webhook_plan_done(&plan);
        if (result != -EBADMSG)
            fail_msg("%s gave %d", bugs[i].operation, result);
        assert_contains(err.text, bugs[i].error);
    }
    fixture_done(&fixture);
}

static void test_allocations(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture, true);
    FL_CLEANUP(fl_cleanup_json) struct fl_json *pod = json(pods[FL_COUNT(pods) - 1]);
    FAIL_EACH_ALLOCATION
    {
        struct fl_json *patch = NULL;
        struct webhook_plan plan;
        struct webhook_warnings warnings = {.count = 0};
        int result = build(&fixture, pod, &plan, &patch, &warnings, NULL);
        if (result == 0) {
            result = webhook_selfcheck(pod, patch, &plan, NULL, NULL);
            webhook_plan_done(&plan);
        }
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
        fl_json_free(patch);
    }
    fixture_done(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_idempotence),
        cmocka_unit_test(test_reinvocation),
        cmocka_unit_test(test_the_gate),
        cmocka_unit_test(test_from_one_form_to_the_other),
        cmocka_unit_test(test_taken_names),
        cmocka_unit_test(test_forged_status_gains_nothing),
        cmocka_unit_test(test_user_capture_is_told),
        cmocka_unit_test(test_selfcheck_catches),
        cmocka_unit_test(test_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
