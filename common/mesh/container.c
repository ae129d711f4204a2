#include "common/mesh/container.h"

#include "common/doc/build.h"
#include "common/mesh/label.h"
#include "common/mesh/port.h"

#include <stdio.h>

#define STATS_PORT_NAME "http-envoy-prom" /* by which common scrape configurations find the proxy's own metrics */
#define TOKEN_MODE      0444
#define START_SECONDS   600

static struct fl_json *arguments(const struct fl_container *container)
{
    struct fl_json *list = fl_json_new_array();
    if (container->control_address.len == 0)
        list = fl_json_and(fl_json_and(list, fl_json_text("-c")), fl_json_text(FL_BOOTSTRAP_PATH));
    list = fl_json_and(list, fl_json_text("-l"));
    return fl_json_and(list, fl_json_new_string(container->log_level.len > 0 ? container->log_level : FL_SPAN("info")));
}

static struct fl_json *ports(void)
{
    struct fl_json *port = fl_json_object_of("name", fl_json_text(STATS_PORT_NAME));
    port = fl_json_with(port, "containerPort", fl_json_new_int(FL_PORT_STATS));
    return fl_json_array_of(fl_json_with(port, "protocol", fl_json_text("TCP")));
}

static const struct {
    const char *name, *field;
} downward[] = {
    {FL_ENV_CAPTURE, "metadata.annotations['" FL_ANNOTATION_CAPTURE "']"},
    {FL_ENV_PROBES, "metadata.annotations['" FL_ANNOTATION_PROBES "']"},
    {FL_ENV_METRICS, "metadata.annotations['" FL_ANNOTATION_METRICS "']"},
    {FL_ENV_POD_NAME, "metadata.name"},
    {FL_ENV_POD_NAMESPACE, "metadata.namespace"},
    {FL_ENV_POD_UID, "metadata.uid"},
    {FL_ENV_POD_IPS, "status.podIPs"},
    {FL_ENV_NODE_NAME, "spec.nodeName"},
    {FL_ENV_SERVICE_ACCOUNT, "spec.serviceAccountName"},
    {FL_ENV_LABEL_APP, "metadata.labels['" FL_LABEL_APP "']"},
    {FL_ENV_LABEL_VERSION, "metadata.labels['" FL_LABEL_VERSION "']"},
    {FL_ENV_LABEL_APP_NAME, "metadata.labels['" FL_LABEL_APP_NAME "']"},
    {FL_ENV_LABEL_APP_VERSION, "metadata.labels['" FL_LABEL_APP_VERSION "']"},
    {FL_ENV_LABEL_CANONICAL_NAME, "metadata.labels['" FL_LABEL_CANONICAL_NAME "']"},
    {FL_ENV_LABEL_CANONICAL_REVISION, "metadata.labels['" FL_LABEL_CANONICAL_REVISION "']"},
};

static struct fl_json *variable(struct fl_json *list, const char *name, struct fl_span value)
{
    return value.len > 0
               ? fl_json_and(list, fl_json_with_span(fl_json_object_of("name", fl_json_text(name)), "value", value))
               : list;
}

/* The user's variables; those of ours stay ours: of two with one name the later would win. */
static struct fl_json *others(struct fl_json *list, const struct fl_json *env)
{
    size_t own = fl_json_count(list);
    for (const struct fl_json *item = fl_json_first(env); item != NULL && list != NULL; item = fl_json_next(item)) {
        struct fl_span name = fl_json_name(item);
        bool taken = false;
        const struct fl_json *ours = fl_json_first(list);
        for (size_t i = 0; i < own && !taken; i++, ours = fl_json_next(ours))
            taken = fl_span_eq(fl_json_string(fl_json_get(ours, "name")), name);
        if (taken)
            continue;
        struct fl_json *entry = fl_json_object_of("name", fl_json_new_string(name));
        list = fl_json_and(list, fl_json_with_span(entry, "value", fl_json_string(item)));
    }
    return list;
}

static struct fl_json *downward_variable(struct fl_json *list, size_t row)
{
    struct fl_json *source =
        fl_json_object_of("fieldRef", fl_json_object_of("fieldPath", fl_json_text(downward[row].field)));
    return fl_json_and(list,
                       fl_json_with(fl_json_object_of("name", fl_json_text(downward[row].name)), "valueFrom", source));
}

static struct fl_json *environment(const struct fl_container *container)
{
    struct fl_json *list = fl_json_new_array();
    for (size_t i = 0; i < FL_COUNT(downward); i++)
        list = downward_variable(list, i);
    struct fl_json *limit =
        fl_json_object_of("resourceFieldRef", fl_json_object_of("resource", fl_json_text("limits.cpu")));
    list =
        fl_json_and(list, fl_json_with(fl_json_object_of("name", fl_json_text(FL_ENV_CPU_LIMIT)), "valueFrom", limit));
    list = variable(list, FL_ENV_WORKLOAD, container->workload);
    if (container->control_address.len > 0) {
        list = variable(list, FL_ENV_CONTROL_ADDRESS, container->control_address);
        list = variable(list, FL_ENV_CONTROL_NAME, container->control_name);
        list = variable(list, FL_ENV_TRUST_DOMAIN, container->trust_domain);
    }
    return others(list, container->env);
}

static struct fl_json *quantities(struct fl_span cpu, struct fl_span memory, struct fl_span ephemeral_storage)
{
    struct fl_json *object = fl_json_with_span(fl_json_with_span(fl_json_new_object(), "cpu", cpu), "memory", memory);
    return fl_json_with_span(object, "ephemeral-storage", ephemeral_storage);
}

static struct fl_json *resources(const struct fl_container *container)
{
    const struct fl_container *c = container;
    struct fl_json *object = fl_json_new_object();
    if (c->cpu_request.len + c->memory_request.len + c->ephemeral_storage_request.len > 0)
        object = fl_json_with(object, "requests",
                              quantities(c->cpu_request, c->memory_request, c->ephemeral_storage_request));
    if (c->cpu_limit.len + c->memory_limit.len + c->ephemeral_storage_limit.len > 0)
        object = fl_json_with(object, "limits", quantities(c->cpu_limit, c->memory_limit, c->ephemeral_storage_limit));
    return object;
}

static struct fl_json *mounts(const struct fl_container *container)
{
    struct fl_json *state = fl_json_with(fl_json_object_of("name", fl_json_text(FL_VOLUME_NAME)), "mountPath",
                                         fl_json_text(FL_VOLUME_PATH));
    struct fl_json *token = fl_json_with(fl_json_object_of("name", fl_json_text(FL_TOKEN_VOLUME)), "mountPath",
                                         fl_json_text(FL_TOKEN_PATH));
    struct fl_json *list =
        fl_json_and(fl_json_array_of(state), fl_json_with(token, "readOnly", fl_json_new_bool(true)));
    for (const struct fl_json *item = fl_json_first(container->mounts); item != NULL; item = fl_json_next(item))
        list = fl_json_and(list, fl_json_copy(item));
    return list;
}

static struct fl_json *hook(const char *verb, uint32_t seconds)
{
    char number[16];
    snprintf(number, sizeof(number), "%u", seconds);
    struct fl_json *command = fl_json_and(fl_json_array_of(fl_json_text(FL_CONTAINER_PROGRAM)), fl_json_text(verb));
    if (seconds > 0)
        command = fl_json_and(fl_json_and(command, fl_json_text("--seconds")), fl_json_text(number));
    return fl_json_object_of("exec", fl_json_object_of("command", command));
}

/* A native sidecar gets its SIGTERM after the apps have ended, and holds them by its startup probe. A classic one gets
 * it with them, so that its hook serves on for a while; and the kubelet starts the next container after its postStart.
 */
static struct fl_json *lifecycle(const struct fl_container *container, uint32_t start_seconds)
{
    if (container->native)
        return fl_json_object_of("preStop", hook("drain", 0));
    struct fl_json *object = fl_json_object_of("postStart", hook("wait", start_seconds));
    return fl_json_with(object, "preStop", hook("drain", container->drain_seconds));
}

static struct fl_json *probe(const char *path, int64_t period, int64_t failures)
{
    struct fl_json *get =
        fl_json_with(fl_json_object_of("path", fl_json_text(path)), "port", fl_json_new_int(FL_PORT_HEALTH));
    struct fl_json *object = fl_json_object_of("httpGet", get);
    object = fl_json_with(object, "periodSeconds", fl_json_new_int(period));
    object = fl_json_with(object, "timeoutSeconds", fl_json_new_int(3));
    return fl_json_with(object, "failureThreshold", fl_json_new_int(failures));
}

static struct fl_json *security(uint32_t uid, uint32_t gid)
{
    struct fl_json *object = fl_json_object_of("allowPrivilegeEscalation", fl_json_new_bool(false));
    object = fl_json_with(object, "capabilities", fl_json_object_of("drop", fl_json_array_of(fl_json_text("ALL"))));
    object = fl_json_with(object, "privileged", fl_json_new_bool(false));
    object = fl_json_with(object, "readOnlyRootFilesystem", fl_json_new_bool(true));
    object = fl_json_with(object, "runAsNonRoot", fl_json_new_bool(true));
    object = fl_json_with(object, "runAsUser", fl_json_new_int(uid));
    object = fl_json_with(object, "runAsGroup", fl_json_new_int(gid));
    return fl_json_with(object, "seccompProfile", fl_json_object_of("type", fl_json_text("RuntimeDefault")));
}

struct fl_json *fl_container_render(const struct fl_container *container)
{
    uint32_t start_seconds = container->start_seconds > 0 ? container->start_seconds : START_SECONDS;
    struct fl_json *object = fl_json_object_of("name", fl_json_text(FL_CONTAINER_NAME));
    object = fl_json_with(object, "image", fl_json_new_string(container->image));
    object = fl_json_with_span(object, "imagePullPolicy", container->image_pull_policy);
    if (container->native)
        object = fl_json_with(object, "restartPolicy", fl_json_text("Always"));
    object = fl_json_with(object, "args", arguments(container));
    object = fl_json_with(object, "ports", ports());
    object = fl_json_with(object, "env", environment(container));
    object = fl_json_with(object, "resources", resources(container));
    object = fl_json_with(object, "volumeMounts", mounts(container));
    object = fl_json_with(object, "startupProbe", probe("/healthz/started", 1, start_seconds));
    object = fl_json_with(object, "readinessProbe", probe("/healthz/ready", 5, 4));
    object = fl_json_with(object, "lifecycle", lifecycle(container, start_seconds));
    object = fl_json_with(object, "terminationMessagePolicy", fl_json_text("FallbackToLogsOnError"));
    return fl_json_with(object, "securityContext", security(container->uid, container->gid));
}

/* By which the node agent knows what waits there, and for what. */
static struct fl_json *gate_environment(void)
{
    static const char *const names[] = {FL_ENV_CAPTURE, FL_ENV_POD_NAME, FL_ENV_POD_NAMESPACE, FL_ENV_POD_UID,
                                        FL_ENV_POD_IPS};
    struct fl_json *list = fl_json_new_array();
    for (size_t i = 0; i < FL_COUNT(downward); i++)
        for (size_t j = 0; j < FL_COUNT(names); j++)
            if (strcmp(downward[i].name, names[j]) == 0)
                list = downward_variable(list, i);
    return list;
}

static struct fl_json *gate_arguments(const struct fl_container *container)
{
    struct fl_json *list = fl_json_and(fl_json_array_of(fl_json_text("gate")), fl_json_text("-l"));
    return fl_json_and(list, fl_json_new_string(container->log_level.len > 0 ? container->log_level : FL_SPAN("info")));
}

struct fl_json *fl_container_render_gate(const struct fl_container *container)
{
    struct fl_json *object = fl_json_object_of("name", fl_json_text(FL_GATE_NAME));
    object = fl_json_with(object, "image", fl_json_new_string(container->image));
    object = fl_json_with_span(object, "imagePullPolicy", container->image_pull_policy);
    object = fl_json_with(object, "args", gate_arguments(container));
    object = fl_json_with(object, "env", gate_environment());
    object = fl_json_with(object, "resources", resources(container));
    object = fl_json_with(object, "terminationMessagePolicy", fl_json_text("FallbackToLogsOnError"));
    return fl_json_with(object, "securityContext", security(container->uid, container->gid));
}

struct fl_json *fl_container_volume(void)
{
    struct fl_json *directory = fl_json_with(fl_json_object_of("medium", fl_json_text("Memory")), "sizeLimit",
                                             fl_json_text(FL_VOLUME_SIZE_LIMIT));
    return fl_json_with(fl_json_object_of("name", fl_json_text(FL_VOLUME_NAME)), "emptyDir", directory);
}

static struct fl_json *root_source(void)
{
    struct fl_json *item =
        fl_json_with(fl_json_object_of("key", fl_json_text(FL_ROOT_KEY)), "path", fl_json_text(FL_ROOT_KEY));
    struct fl_json *map =
        fl_json_with(fl_json_object_of("name", fl_json_text(FL_ROOT_MAP)), "items", fl_json_array_of(item));
    return fl_json_object_of("configMap", map);
}

struct fl_json *fl_container_token_volume(struct fl_span audience, bool root)
{
    struct fl_json *token = fl_json_with_span(fl_json_new_object(), "audience", audience);
    token = fl_json_with(token, "expirationSeconds", fl_json_new_int(FL_TOKEN_SECONDS));
    token = fl_json_with(token, "path", fl_json_text("token"));
    struct fl_json *projected = fl_json_object_of("defaultMode", fl_json_new_int(TOKEN_MODE));
    struct fl_json *sources = fl_json_array_of(fl_json_object_of("serviceAccountToken", token));
    if (root)
        sources = fl_json_and(sources, root_source());
    projected = fl_json_with(projected, "sources", sources);
    return fl_json_with(fl_json_object_of("name", fl_json_text(FL_TOKEN_VOLUME)), "projected", projected);
}
