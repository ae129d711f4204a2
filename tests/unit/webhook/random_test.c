/* Random pods, and random changes that other webhooks make between our reviews: whatever comes, a patch is made that
 * keeps to invariant.h and that a second review has nothing to add to; or the pod is refused by name. The generator is
 * its own, so that a number tells a case: FL_RANDOM=N runs that one alone. */
#include "tests/unit/webhook/invariant.h"
#include "tests/unit/webhook/test.h"

#include "common/doc/patch.h"
#include "common/mesh/label.h"
#include "webhook/pod.h"
#include "webhook/resolve.h"
#include "webhook/selfcheck.h"

#define CASES 1500

/* ---- Random values ---- */

static uint64_t seed;

static uint32_t draw(uint32_t below)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)((seed >> 16) % below);
}

static bool chance(uint32_t percent)
{
    return draw(100) < percent;
}

#define PICK(list) list[draw((uint32_t)FL_COUNT(list))]

static struct fl_json *string(const char *text)
{
    struct fl_json *value = fl_json_new_string(fl_span_str(text));
    assert_non_null(value);
    return value;
}

static void set(struct fl_json *object, const char *name, struct fl_json *value)
{
    assert_int_equal(fl_json_set(object, name, value), 0);
}

static void append(struct fl_json *array, struct fl_json *value)
{
    assert_int_equal(fl_json_append(array, value), 0);
}

/* Nothing, null, an empty container, or the value. */
static void set_oddly(struct fl_json *object, const char *name, struct fl_json *value)
{
    bool array = fl_json_is(value, FL_JSON_ARRAY);
    uint32_t odd = draw(12);
    if (odd < 3) {
        fl_json_free(value);
        value = odd == 0 ? NULL : odd == 1 ? fl_json_new_null() : array ? fl_json_new_array() : fl_json_new_object();
    }
    if (value != NULL)
        set(object, name, value);
}

/* ---- Pods ---- */

static struct fl_json *random_port(void)
{
    static const char *const names[] = {"web", "admin", "nowhere"};
    static const int numbers[] = {0, 1, 80, 8080, 65535, 65536, 15020, 15021, 15090};
    return chance(30) ? string(PICK(names)) : fl_json_new_int(PICK(numbers));
}

static struct fl_json *random_handler(const char *type)
{
    static const char *const paths[] = {"/", "", "/ok?x=1&y=~/", "/app-health/a/livez", "/app-health/b/readyz", "x"};
    struct fl_json *handler = fl_json_new_object();
    set(handler, "port", random_port());
    if (strcmp(type, "httpGet") == 0) {
        if (chance(70))
            set(handler, "path", string(PICK(paths)));
        if (chance(30))
            set(handler, "scheme", string(chance(50) ? "HTTPS" : "HTTP"));
        if (chance(20))
            set(handler, "httpHeaders", json("[{'name':'Host','value':'h'},{'name':'X-A','value':'b'}]"));
    }
    if (strcmp(type, "grpc") == 0 && chance(50))
        set(handler, "service", string("x.Y"));
    if (chance(10))
        set(handler, "host", string(chance(50) ? "" : "10.0.0.1"));
    return handler;
}

static struct fl_json *random_holder(bool probe)
{
    static const char *const types[] = {"httpGet", "tcpSocket", "grpc", "exec", "sleep"};
    struct fl_json *holder = fl_json_new_object();
    const char *type = PICK(types);
    set(holder, type,
        strcmp(type, "exec") == 0    ? json("{'command':['true']}")
        : strcmp(type, "sleep") == 0 ? json("{'seconds':3}")
                                     : random_handler(type));
    if (probe && chance(50))
        set(holder, "timeoutSeconds", fl_json_new_int(draw(5)));
    if (probe && chance(50))
        set(holder, "periodSeconds", fl_json_new_int(1 + draw(30)));
    return holder;
}

static struct fl_json *random_container(const char *name, bool init)
{
    struct fl_json *container = fl_json_new_object();
    set(container, "name", string(name));
    set(container, "image", string("host.example/app:1"));
    set_oddly(container, "ports", json("[{'name':'web','containerPort':8080},{'name':'admin','containerPort':9000}]"));
    set_oddly(container, "env", json("[{'name':'A','value':'1'},{'name':'B','value':'2'}]"));
    set_oddly(container, "volumeMounts", json("[{'name':'data','mountPath':'/data'}]"));
    set_oddly(container, "resources", json("{'requests':{'cpu':'100m','memory':'10Mi'},'limits':{'memory':'1Gi'}}"));
    if (init && chance(40))
        set(container, "restartPolicy", string("Always"));
    static const char *const probes[] = {"startupProbe", "readinessProbe", "livenessProbe"};
    for (size_t i = 0; i < FL_COUNT(probes); i++) {
        if (chance(40))
            set_oddly(container, probes[i], random_holder(true));
    }
    if (chance(25)) {
        struct fl_json *lifecycle = fl_json_new_object();
        set_oddly(lifecycle, chance(50) ? "preStop" : "postStart", random_holder(false));
        set(container, "lifecycle", lifecycle);
    }
    return container;
}

static struct fl_json *random_containers(bool init)
{
    static const char *const names[] = {"a", "b", "c", "d"};
    struct fl_json *list = fl_json_new_array();
    uint32_t count = draw(4);
    for (uint32_t i = 0; i < count; i++) {
        char name[8];
        snprintf(name, sizeof(name), "%s%s", init ? "i" : "", names[i]);
        append(list, random_container(name, init));
    }
    return list;
}

static struct fl_json *random_annotations(void)
{
    static const struct {
        const char *key, *value;
    } known[] = {
        {"prometheus.io/scrape", "true"},
        {"prometheus.io/scrape", "false"},
        {"prometheus.io/port", "9100"},
        {"prometheus.io/port", "15020"},
        {"prometheus.io/port", "x"},
        {"prometheus.io/path", "/m"},
        {"prometheus.io/path", "/stats/prometheus"},
        {"prometheus.io/scheme", "https"},
        {"kubectl.kubernetes.io/default-container", "b"},
        {"cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes", "data"},
        {"fairlead.io/opaque-ports", "3306"},
        {"fairlead.io/probes", "{}"},
        {"fairlead.io/metrics", "{\"version\":1,\"scheme\":\"http\",\"port\":81,\"path\":\"/\"}"},
        {"fairlead.io/probes",
         "{\"version\":1,\"probes\":[{\"container\":\"a\",\"kind\":\"livez\",\"tcpSocket\":{\"port\":"
         "1},\"timeoutSeconds\":1}]}"},
        {"fairlead.io/capture", "forged"},
        {"a/b~c~1d", "odd"},
        {"", "nameless"},
    };
    struct fl_json *annotations = fl_json_new_object();
    for (size_t i = 0; i < FL_COUNT(known); i++) {
        if (chance(20))
            set(annotations, known[i].key, string(known[i].value));
    }
    return annotations;
}

static struct fl_json *random_pod(void)
{
    struct fl_json *pod = fl_json_new_object(), *metadata = fl_json_new_object(), *spec = fl_json_new_object();
    set(metadata, "name", string("web"));
    set_oddly(metadata, "annotations", random_annotations());
    set_oddly(metadata, "labels",
              chance(50) ? json("{'app':'shop','a/b~':'x'}") : json("{'service.istio.io/canonical-name':'mine'}"));
    set_oddly(pod, "metadata", metadata);
    set_oddly(spec, "containers", random_containers(false));
    set_oddly(spec, "initContainers", random_containers(true));
    set_oddly(spec, "volumes", json("[{'name':'data','emptyDir':{}},{'name':'kube-api-access-x','projected':{}}]"));
    if (chance(20))
        set_oddly(spec, "resources", json("{'requests':{'cpu':'200m','memory':'20Mi'},'limits':{'cpu':'1'}}"));
    if (chance(10))
        set(spec, "terminationGracePeriodSeconds", fl_json_new_int(draw(10)));
    set(pod, "spec", spec);
    return pod;
}

/* ---- What others do ---- */

static struct fl_json *list_of(struct fl_json *pod, const char *name)
{
    return fl_json_get(fl_json_get(pod, "spec"), name);
}

static struct fl_json *random_element(struct fl_json *list)
{
    size_t count = fl_json_count(list);
    return count > 0 ? fl_json_at(list, draw((uint32_t)count)) : NULL;
}

static void drop_random_member(struct fl_json *object)
{
    struct fl_json *member = random_element(object);
    if (member != NULL)
        fl_json_free(fl_json_detach(object, fl_json_name(member)));
}

static void set_random_member(struct fl_json *container)
{
    static const struct {
        const char *name, *value;
    } members[] = {
        {"command", "['sh']"},
        {"args", "[]"},
        {"envFrom", "[{'configMapRef':{'name':'x'}}]"},
        {"imagePullPolicy", "'Always'"},
        {"terminationMessagePath", "'/dev/termination-log'"},
        {"livenessProbe", "{'httpGet':{'port':80,'path':'/new'}}"},
        {"readinessProbe", "{'tcpSocket':{'port':8080}}"},
        {"securityContext", "{'privileged':true}"},
        {"resources", "{'limits':{'cpu':'1','x/y':'1'}}"},
        {"resizePolicy", "[{'resourceName':'cpu','restartPolicy':'NotRequired'}]"},
        {"lifecycle", "{'preStop':{'httpGet':{'port':8080}}}"},
        {"ports", "[{'containerPort':1,'hostPort':1}]"},
    };
    uint32_t i = draw((uint32_t)FL_COUNT(members));
    if (container != NULL)
        set(container, members[i].name, json(members[i].value));
}

static void add_env(struct fl_json *list)
{
    for (struct fl_json *item = fl_json_first(list); item != NULL; item = fl_json_next(item)) {
        if (!fl_json_is(fl_json_get(item, "env"), FL_JSON_ARRAY))
            set(item, "env", fl_json_new_array());
        append(fl_json_get(item, "env"), json("{'name':'TRACE','value':'on'}"));
    }
}

/* The ServiceAccount plugin's. */
static void add_mount(struct fl_json *list)
{
    for (struct fl_json *item = fl_json_first(list); item != NULL; item = fl_json_next(item)) {
        if (!fl_json_is(fl_json_get(item, "volumeMounts"), FL_JSON_ARRAY))
            set(item, "volumeMounts", fl_json_new_array());
        append(fl_json_get(item, "volumeMounts"),
               json("{'name':'kube-api-access-x','mountPath':'/var/run/secrets/kubernetes.io/serviceaccount',"
                    "'readOnly':true}"));
    }
}

static void change(struct fl_json *pod)
{
    static const char *const names[] = {"initContainers", "containers"};
    struct fl_json *list = list_of(pod, PICK(names)), *metadata = fl_json_get(pod, "metadata");
    struct fl_json *annotations = fl_json_get(metadata, "annotations");
    size_t count = fl_json_count(list);
    switch (draw(12)) {
    case 0:
        add_env(list);
        break;
    case 1:
        add_mount(list);
        break;
    case 2:
        drop_random_member(annotations);
        break;
    case 3:
        drop_random_member(random_element(list));
        break;
    case 4:
    case 5:
        set_random_member(random_element(list));
        break;
    case 6: /* reordered */
        if (count > 1)
            append(list, fl_json_detach_at(list, draw((uint32_t)count)));
        break;
    case 7: /* another one in front */
        if (fl_json_is(list, FL_JSON_ARRAY) && webhook_list_find(list, "name", FL_SPAN("other"), NULL) == NULL)
            assert_int_equal(fl_json_insert(list, 0, random_container("other", false)), 0);
        break;
    case 8: /* a second sidecar */
        if (fl_json_is(list_of(pod, "containers"), FL_JSON_ARRAY) &&
            fl_span_eq_str(fl_json_string(fl_json_get(fl_json_first(list), "name")), FL_CONTAINER_NAME))
            append(list_of(pod, "containers"), fl_json_copy(fl_json_first(list)));
        break;
    case 9:
        drop_random_member(fl_json_get(metadata, "labels"));
        break;
    case 10:
        drop_random_member(random_element(list_of(pod, "volumes")));
        break;
    default:
        if (fl_json_is(annotations, FL_JSON_OBJECT))
            set(annotations, "prometheus.io/port", string(chance(50) ? "9200" : "15020"));
        break;
    }
}

/* ---- Reviews ---- */

struct fixture {
    struct webhook_config *config;
    unsigned round;
    size_t refused, changed;
};

/* What it becomes, and the count of operations; NULL where it is refused by name. */
static struct fl_json *review(struct fixture *fixture, const struct fl_json *pod, size_t *ret_count)
{
    static const struct webhook_owner owner = {.kind = "Deployment", .name = "web"};
    FL_CLEANUP(fl_cleanup_json) struct fl_json *patch = NULL;
    struct fl_json *patched = NULL;
    struct webhook_settings settings = {.env = NULL};
    struct webhook_warnings warnings = {.count = 0};
    struct webhook_plan plan;
    struct fl_err err = {0};
    if (webhook_pod_check(pod, &err) < 0)
        return NULL;
    if (webhook_settings_resolve(fixture->config, FL_SPAN("shop"), false, NULL, webhook_pod_annotations(pod), &settings,
                                 &warnings, &err) < 0)
        fail_msg("round %u: %s", fixture->round, err.text);
    int result = webhook_plan_make(fixture->config, &settings, &owner, pod, &plan, &warnings, &err);
    if (result == 0) {
        result = webhook_patch_build(pod, &plan, &patch, &warnings, &err);
        if (result == 0 && webhook_selfcheck(pod, patch, &plan, &patched, &err) < 0)
            fail_msg("round %u: %s", fixture->round, err.text);
        webhook_plan_done(&plan);
    }
    webhook_settings_done(&settings);
    if (result < 0 && result != -EEXIST && result != -ENOENT)
        fail_msg("round %u: %s (%d)", fixture->round, err.text, result);
    *ret_count = fl_json_count(patch);
    return patched;
}

/* Reviews and takes the pod's place; false where it is refused. */
static bool admit(struct fixture *fixture, struct fl_json **pod)
{
    char what[32];
    size_t count;
    snprintf(what, sizeof(what), "round %u", fixture->round);
    struct fl_json *patched = review(fixture, *pod, &count);
    if (patched == NULL) {
        fixture->refused++;
        return false;
    }
    check_patched_pod(what, *pod, patched);
    check_removed_pod(what, *pod, patched);
    FL_CLEANUP(fl_cleanup_json) struct fl_json *again = review(fixture, patched, &count);
    if (again == NULL || count != 0 || !fl_json_equal(patched, again))
        fail_msg("%s: reviewed again: %zu operations", what, count);
    fl_json_free(*pod);
    *pod = patched;
    return true;
}

static void run(struct fixture *fixture, unsigned round)
{
    fixture->round = round;
    seed = 0x9e3779b97f4a7c15u * (round + 1);
    fixture->config->defaults.native_sidecar = draw(3) > 0;
    fixture->config->defaults.probe_rewrite = draw(8) > 0;
    fixture->config->defaults.metrics_merge = draw(8) > 0;
    FL_CLEANUP(fl_cleanup_json) struct fl_json *pod = random_pod();
    if (!admit(fixture, &pod))
        return;
    for (uint32_t i = draw(4); i > 0; i--)
        change(pod);
    fixture->changed += admit(fixture, &pod);
}

static void test_random_pods(void **state)
{
    (void)state;
    const char *one = getenv("FL_RANDOM");
    struct fixture fixture = {.refused = 0};
    assert_int_equal(webhook_config_default(&fixture.config), 0);
    uint64_t only = 0;
    if (one != NULL && !fl_span_to_u64(fl_span_str(one), UINT32_MAX, &only))
        fail_msg("FL_RANDOM: \"%s\" is not the number of a case", one);
    for (unsigned round = 0; round < (one != NULL ? 1 : CASES); round++)
        run(&fixture, round + (unsigned)only);
    webhook_config_free(fixture.config);
    if (one == NULL) { /* the generator makes what it should: neither all nor nothing is refused */
        assert_true(fixture.refused > CASES / 200 && fixture.refused < CASES / 2);
        assert_true(fixture.changed > CASES / 2);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random_pods)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
