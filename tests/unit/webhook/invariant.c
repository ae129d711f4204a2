#include "tests/unit/webhook/invariant.h"

#include "common/mesh/appmetrics.h"
#include "common/mesh/appprobe.h"
#include "common/mesh/capture.h"
#include "common/mesh/label.h"
#include "tests/unit/webhook/test.h"
#include "webhook/remove.h"

static const char *const lists[] = {"initContainers", "containers", "ephemeralContainers"};
static const char *const handlers[] = {"httpGet", "tcpSocket", "grpc"};

static struct fl_span name_of(const struct fl_json *item)
{
    return fl_json_string(fl_json_get(item, "name"));
}

static bool is_null(const struct fl_json *value)
{
    return value == NULL || fl_json_is(value, FL_JSON_NULL);
}

/* ---- Nothing else changed ---- */

static void drop(struct fl_json *object, const char *name)
{
    fl_json_free(fl_json_detach(object, fl_span_str(name)));
}

static void drop_named(struct fl_json *spec, const char *list_name, const char *name)
{
    struct fl_json *list = fl_json_get(spec, list_name);
    for (size_t i = fl_json_count(list); i-- > 0;) {
        if (fl_span_eq_str(name_of(fl_json_at(list, i)), name))
            fl_json_free(fl_json_detach_at(list, i));
    }
}

static struct fl_json *holder_of(const struct fl_json *container, int kind)
{
    bool lifecycle = fl_appprobe_kind_is_lifecycle((enum fl_appprobe_kind)kind);
    const struct fl_json *owner = lifecycle ? fl_json_get(container, "lifecycle") : container;
    return fl_json_get(owner, fl_appprobe_kind_member((enum fl_appprobe_kind)kind));
}

static void drop_handlers(struct fl_json *container)
{
    for (int kind = 0; kind < FL_APPPROBE_KIND_COUNT; kind++) {
        struct fl_json *holder = holder_of(container, kind);
        for (size_t i = 0; i < FL_COUNT(handlers); i++)
            drop(holder, handlers[i]);
    }
}

/* An object or array without anything in it counts as absent. */
static void drop_empty(struct fl_json *object, const char *name)
{
    if (is_null(fl_json_get(object, name)) || fl_json_count(fl_json_get(object, name)) == 0)
        drop(object, name);
}

/* The pod without everything that is ours, so that before and after can be compared. */
static struct fl_json *without_ours(const struct fl_json *pod)
{
    static const char *const annotations[] = {FL_ANNOTATION_CAPTURE,
                                              FL_ANNOTATION_STATUS,
                                              FL_ANNOTATION_PROBES,
                                              FL_ANNOTATION_METRICS,
                                              FL_ANNOTATION_OPAQUE_PORTS,
                                              "prometheus.io/scrape",
                                              "prometheus.io/port",
                                              "prometheus.io/path",
                                              "prometheus.io/scheme",
                                              "kubectl.kubernetes.io/default-container",
                                              "kubectl.kubernetes.io/default-logs-container",
                                              "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes"};
    static const char *const emptied[] = {"initContainers", "containers", "volumes"};
    struct fl_json *copy = fl_json_copy(pod);
    struct fl_json *metadata = fl_json_get(copy, "metadata"), *spec = fl_json_get(copy, "spec");
    for (size_t i = 0; i < FL_COUNT(annotations); i++)
        drop(fl_json_get(metadata, "annotations"), annotations[i]);
    drop(fl_json_get(metadata, "labels"), FL_LABEL_CANONICAL_NAME);
    drop(fl_json_get(metadata, "labels"), FL_LABEL_CANONICAL_REVISION);
    for (size_t i = 0; i < FL_COUNT(lists); i++) {
        drop_named(spec, lists[i], FL_CONTAINER_NAME);
        drop_named(spec, lists[i], FL_GATE_NAME);
        for (struct fl_json *item = fl_json_first(fl_json_get(spec, lists[i])); item != NULL; item = fl_json_next(item))
            drop_handlers(item);
    }
    drop_named(spec, "volumes", FL_VOLUME_NAME);
    drop_named(spec, "volumes", FL_TOKEN_VOLUME);
    drop_named(spec, "volumes", "extra"); /* the one volume that cases add by fairlead.io/proxy-volumes */
    for (size_t i = 0; i < FL_COUNT(emptied); i++)
        drop_empty(spec, emptied[i]);
    drop_empty(metadata, "annotations");
    drop_empty(metadata, "labels");
    drop_empty(copy, "metadata");
    return copy;
}

/* What the user wrote of these stays. */
static void check_kept(const char *what, const struct fl_json *before, const struct fl_json *after, const char *map,
                       const char *key)
{
    const struct fl_json *own = fl_json_get(fl_json_get(fl_json_get(before, "metadata"), map), key);
    const struct fl_json *now = fl_json_get(fl_json_get(fl_json_get(after, "metadata"), map), key);
    if (own != NULL && (now == NULL || !fl_json_equal(own, now)))
        fail_msg("%s: the user's %s is not kept", what, key);
}

static void check_nothing_else(const char *what, const struct fl_json *before, const struct fl_json *after)
{
    FL_CLEANUP(fl_cleanup_json) struct fl_json *one = without_ours(before);
    FL_CLEANUP(fl_cleanup_json) struct fl_json *other = without_ours(after);
    if (!fl_json_equal(one, other))
        fail_msg("%s: the patch changes more than our parts", what);
    check_kept(what, before, after, "annotations", "kubectl.kubernetes.io/default-container");
    check_kept(what, before, after, "annotations", "kubectl.kubernetes.io/default-logs-container");
    check_kept(what, before, after, "annotations", FL_ANNOTATION_OPAQUE_PORTS);
    check_kept(what, before, after, "labels", FL_LABEL_CANONICAL_NAME);
    check_kept(what, before, after, "labels", FL_LABEL_CANONICAL_REVISION);
}

/* ---- Names ---- */

static size_t count(const struct fl_json *list, const char *key, const struct fl_json *value)
{
    size_t found = 0;
    for (const struct fl_json *item = fl_json_first(list); item != NULL; item = fl_json_next(item))
        found += fl_json_get(item, key) != NULL && fl_json_equal(fl_json_get(item, key), value);
    return found;
}

static bool has_doubles(const struct fl_json *list, const char *key)
{
    for (const struct fl_json *item = fl_json_first(list); item != NULL; item = fl_json_next(item)) {
        if (fl_json_get(item, key) != NULL && count(list, key, fl_json_get(item, key)) > 1)
            return true;
    }
    return false;
}

static bool has_double_containers(const struct fl_json *spec)
{
    FL_CLEANUP(fl_cleanup_json) struct fl_json *all = fl_json_new_array();
    for (size_t i = 0; i < FL_COUNT(lists); i++) {
        const struct fl_json *list = fl_json_get(spec, lists[i]);
        for (const struct fl_json *item = fl_json_first(list); item != NULL; item = fl_json_next(item))
            assert_int_equal(fl_json_append(all, fl_json_copy(item)), 0);
    }
    return has_doubles(all, "name");
}

static void check_names(const char *what, const struct fl_json *before, const struct fl_json *after)
{
    const struct fl_json *own = fl_json_get(before, "spec"), *spec = fl_json_get(after, "spec");
    if (has_double_containers(spec) && !has_double_containers(own))
        fail_msg("%s: a container is there twice", what);
    if (has_doubles(fl_json_get(spec, "volumes"), "name") && !has_doubles(fl_json_get(own, "volumes"), "name"))
        fail_msg("%s: a volume is there twice", what);
}

/* ---- The container ---- */

static const struct fl_json *find_container(const char *what, const struct fl_json *spec, bool *ret_native)
{
    const struct fl_json *first = fl_json_first(fl_json_get(spec, "initContainers"));
    *ret_native = fl_span_eq_str(name_of(first), FL_CONTAINER_NAME);
    if (!*ret_native)
        first = fl_json_first(fl_json_get(spec, "containers"));
    if (!fl_span_eq_str(name_of(first), FL_CONTAINER_NAME))
        fail_msg("%s: the sidecar is not the first", what);
    return first;
}

#define KEEPS(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            fail_msg("%s: the sidecar: %s", what, #condition);                                                         \
    } while (0)

/* Pod Security "restricted", and no more rights than it lets a container have. */
static void check_restricted(const char *what, const struct fl_json *container)
{
    const struct fl_json *context = fl_json_get(container, "securityContext");
    const struct fl_json *capabilities = fl_json_get(context, "capabilities"), *escalation, *privileged, *user;
    escalation = fl_json_get(context, "allowPrivilegeEscalation");
    privileged = fl_json_get(context, "privileged");
    user = fl_json_get(context, "runAsUser");
    KEEPS(fl_json_is(escalation, FL_JSON_BOOL) && !fl_json_bool(escalation));
    KEEPS(!fl_json_bool(privileged));
    KEEPS(fl_json_bool(fl_json_get(context, "runAsNonRoot")));
    KEEPS(fl_json_number(user) > 0 && fl_json_number(fl_json_get(context, "runAsGroup")) > 0);
    KEEPS(fl_json_bool(fl_json_get(context, "readOnlyRootFilesystem")));
    KEEPS(fl_json_get(capabilities, "add") == NULL);
    KEEPS(fl_json_count(fl_json_get(capabilities, "drop")) == 1);
    KEEPS(fl_span_eq_str(fl_json_string(fl_json_first(fl_json_get(capabilities, "drop"))), "ALL"));
    KEEPS(
        fl_span_eq_str(fl_json_string(fl_json_get(fl_json_get(context, "seccompProfile"), "type")), "RuntimeDefault"));
    KEEPS(fl_json_get(context, "seLinuxOptions") == NULL && fl_json_get(context, "windowsOptions") == NULL);
    const struct fl_json *proc = fl_json_get(context, "procMount");
    KEEPS(proc == NULL || fl_span_eq_str(fl_json_string(proc), "Default"));
    for (const struct fl_json *port = fl_json_first(fl_json_get(container, "ports")); port != NULL;
         port = fl_json_next(port))
        KEEPS(fl_json_get(port, "hostPort") == NULL);
    for (int kind = 0; kind < FL_APPPROBE_KIND_COUNT; kind++)
        KEEPS(fl_json_get(fl_json_get(holder_of(container, kind), "httpGet"), "host") == NULL);
}

/* Beside a classic sidecar: before everything else, and with no more than it needs. */
static void check_gate(const char *what, const struct fl_json *spec, bool native)
{
    const struct fl_json *inits = fl_json_get(spec, "initContainers"), *gate = fl_json_first(inits);
    if (native) {
        for (const struct fl_json *item = gate; item != NULL; item = fl_json_next(item))
            KEEPS(!fl_span_eq_str(name_of(item), FL_GATE_NAME));
        return;
    }
    if (!fl_span_eq_str(name_of(gate), FL_GATE_NAME))
        fail_msg("%s: the gate is not the first init container", what);
    const struct fl_json *sidecar = fl_json_first(fl_json_get(spec, "containers"));
    check_restricted(what, gate);
    KEEPS(fl_span_eq_str(fl_json_string(fl_json_first(fl_json_get(gate, "args"))), "gate"));
    KEEPS(fl_json_get(gate, "command") == NULL && fl_json_get(gate, "envFrom") == NULL);
    KEEPS(fl_json_get(gate, "restartPolicy") == NULL && fl_json_get(gate, "lifecycle") == NULL);
    KEEPS(fl_json_equal(fl_json_get(gate, "image"), fl_json_get(sidecar, "image")));
    KEEPS(fl_json_count(fl_json_get(gate, "env")) == 5 && !has_doubles(fl_json_get(gate, "env"), "name"));
    for (const struct fl_json *item = fl_json_first(fl_json_get(gate, "volumeMounts")); item != NULL;
         item = fl_json_next(item))
        KEEPS(fl_span_starts_with(name_of(item), FL_SPAN("kube-api-access-")));
}

static void check_container(const char *what, const struct fl_json *spec)
{
    bool native;
    const struct fl_json *container = find_container(what, spec, &native);
    const struct fl_json *lifecycle = fl_json_get(container, "lifecycle");
    check_restricted(what, container);
    check_gate(what, spec, native);
    KEEPS(fl_json_get(container, "command") == NULL && fl_json_get(container, "envFrom") == NULL);
    KEEPS(!has_doubles(fl_json_get(container, "env"), "name"));
    KEEPS(!has_doubles(fl_json_get(container, "ports"), "containerPort"));
    KEEPS(!has_doubles(fl_json_get(container, "volumeMounts"), "mountPath"));
    KEEPS(fl_json_number(fl_json_get(fl_json_get(holder_of(container, 0), "httpGet"), "port")) == 15021);
    KEEPS(fl_json_get(fl_json_get(lifecycle, "preStop"), "exec") != NULL);
    if (native)
        KEEPS(fl_span_eq_str(fl_json_string(fl_json_get(container, "restartPolicy")), "Always"));
    else
        KEEPS(fl_json_get(fl_json_get(lifecycle, "postStart"), "exec") != NULL);
    for (const struct fl_json *item = fl_json_first(fl_json_get(container, "volumeMounts")); item != NULL;
         item = fl_json_next(item))
        KEEPS(count(fl_json_get(spec, "volumes"), "name", fl_json_get(item, "name")) == 1 ||
              fl_span_starts_with(name_of(item), FL_SPAN("kube-api-access-")));
}

static void check_private_volumes(const char *what, const struct fl_json *spec)
{
    static const char *const members[] = {"volumeMounts", "volumeDevices"};
    for (size_t i = 0; i < FL_COUNT(lists) * FL_COUNT(members); i++) {
        const struct fl_json *list = fl_json_get(spec, lists[i / FL_COUNT(members)]);
        for (const struct fl_json *item = fl_json_first(list); item != NULL; item = fl_json_next(item)) {
            const struct fl_json *mounts = fl_json_get(item, members[i % FL_COUNT(members)]);
            for (const struct fl_json *mount = fl_json_first(mounts); mount != NULL; mount = fl_json_next(mount)) {
                bool ours =
                    fl_span_eq_str(name_of(mount), FL_VOLUME_NAME) || fl_span_eq_str(name_of(mount), FL_TOKEN_VOLUME);
                if (ours && !fl_span_eq_str(name_of(item), FL_CONTAINER_NAME))
                    fail_msg("%s: another container mounts the sidecar's volumes", what);
            }
        }
    }
}

/* ---- Annotations and labels ---- */

static size_t count_ours(const char *what, const struct fl_json *container, const struct fl_appprobes *table)
{
    size_t found = 0;
    for (int kind = 0; kind < FL_APPPROBE_KIND_COUNT; kind++) {
        const struct fl_json *get = fl_json_get(holder_of(container, kind), "httpGet");
        struct fl_span in_path;
        enum fl_appprobe_kind path_kind;
        if (fl_json_number(fl_json_get(get, "port")) != 15020 ||
            !fl_appprobe_path_parse(fl_json_string(fl_json_get(get, "path")), &in_path, &path_kind))
            continue;
        if (!fl_span_eq(in_path, name_of(container)) || (int)path_kind != kind ||
            fl_appprobes_find(table, in_path, path_kind) == NULL)
            fail_msg("%s: a handler of %.*s points to nothing", what, FL_SPAN_ARG(name_of(container)));
        found++;
    }
    return found;
}

static void check_probes(const char *what, const struct fl_json *spec, struct fl_span text)
{
    struct fl_appprobes table;
    size_t found = 0;
    fl_appprobes_init(&table);
    if (text.len > 0 && fl_appprobes_parse(text, &table, NULL) < 0)
        fail_msg("%s: " FL_ANNOTATION_PROBES " cannot be read", what);
    for (size_t i = 0; i < FL_COUNT(lists); i++) {
        const struct fl_json *list = fl_json_get(spec, lists[i]);
        for (const struct fl_json *item = fl_json_first(list); item != NULL; item = fl_json_next(item))
            found += count_ours(what, item, &table);
    }
    if (found != table.count)
        fail_msg("%s: %zu handlers point to the sidecar, %zu originals are kept", what, found, table.count);
    fl_appprobes_done(&table);
}

static void check_annotations(const char *what, const struct fl_json *pod)
{
    const struct fl_json *annotations = fl_json_get(fl_json_get(pod, "metadata"), "annotations");
    struct fl_span metrics = fl_json_string(fl_json_get(annotations, FL_ANNOTATION_METRICS));
    struct fl_appmetrics app;
    struct fl_capture capture;
    if (fl_capture_parse(fl_json_string(fl_json_get(annotations, FL_ANNOTATION_CAPTURE)), &capture, NULL) < 0)
        fail_msg("%s: " FL_ANNOTATION_CAPTURE " cannot be read", what);
    if (metrics.len > 0 && fl_appmetrics_parse(metrics, &app, NULL) < 0)
        fail_msg("%s: " FL_ANNOTATION_METRICS " cannot be read", what);
    check_probes(what, fl_json_get(pod, "spec"), fl_json_string(fl_json_get(annotations, FL_ANNOTATION_PROBES)));
}

void check_patched_pod(const char *what, const struct fl_json *before, const struct fl_json *after)
{
    const struct fl_json *spec = fl_json_get(after, "spec");
    check_nothing_else(what, before, after);
    check_names(what, before, after);
    check_container(what, spec);
    check_private_volumes(what, spec);
    check_annotations(what, after);
}

/* ---- And back ---- */

static bool has_ours(const struct fl_json *pod)
{
    const struct fl_json *spec = fl_json_get(pod, "spec");
    for (size_t i = 0; i < FL_COUNT(lists); i++) {
        for (const struct fl_json *item = fl_json_first(fl_json_get(spec, lists[i])); item != NULL;
             item = fl_json_next(item)) {
            if (fl_span_eq_str(name_of(item), FL_CONTAINER_NAME) || fl_span_eq_str(name_of(item), FL_GATE_NAME))
                return true;
            for (int kind = 0; kind < FL_APPPROBE_KIND_COUNT; kind++) {
                const struct fl_json *get = fl_json_get(holder_of(item, kind), "httpGet");
                struct fl_span path = fl_json_string(fl_json_get(get, "path"));
                if (fl_span_starts_with(path, FL_SPAN("/app-health/")) ||
                    fl_span_starts_with(path, FL_SPAN("/app-lifecycle/")))
                    return true;
            }
        }
    }
    const struct fl_json *annotations = fl_json_get(fl_json_get(pod, "metadata"), "annotations");
    return fl_json_get(annotations, FL_ANNOTATION_STATUS) != NULL ||
           (fl_span_eq_str(fl_json_string(fl_json_get(annotations, "prometheus.io/port")), "15020") &&
            fl_span_eq_str(fl_json_string(fl_json_get(annotations, "prometheus.io/path")), "/stats/prometheus"));
}

/* Users do not write these. */
static struct fl_json *without_written(const struct fl_json *pod)
{
    static const char *const written[] = {FL_ANNOTATION_CAPTURE, FL_ANNOTATION_PROBES, FL_ANNOTATION_METRICS};
    struct fl_json *copy = fl_json_copy(pod);
    struct fl_json *metadata = fl_json_get(copy, "metadata"), *annotations = fl_json_get(metadata, "annotations");
    bool any = fl_json_count(annotations) > 0;
    for (size_t i = 0; i < FL_COUNT(written); i++)
        drop(annotations, written[i]);
    if (any && fl_json_count(annotations) == 0)
        drop(metadata, "annotations");
    if (any && fl_json_count(metadata) == 0)
        drop(copy, "metadata");
    return copy;
}

void check_removed_pod(const char *what, const struct fl_json *before, const struct fl_json *after)
{
    struct fl_json *expected = without_written(before), *removed = fl_json_copy(after), *text = NULL;
    struct fl_err err = {0};
    bool any;
    if (webhook_remove(removed, &any, &err) < 0)
        fail_msg("%s: taken out again: %s", what, err.text);
    assert_true(any);
    if (!has_ours(before) && !fl_json_equal(expected, removed)) {
        struct fl_buf out;
        fl_buf_init(&out, 4u << 20);
        assert_int_equal(fl_json_print(removed, &out), 0);
        assert_int_equal(fl_buf_append_str(&out, "\n  is not\n"), 0);
        assert_int_equal(fl_json_print(expected, &out), 0);
        fail_msg("%s: taken out again:\n%s", what, fl_buf_str(&out));
    }
    text = fl_json_copy(removed);
    assert_int_equal(webhook_remove(removed, &any, &err), 0);
    if (any || !fl_json_equal(text, removed))
        fail_msg("%s: something is taken out twice", what);
    fl_json_free(text);
    fl_json_free(removed);
    fl_json_free(expected);
}
