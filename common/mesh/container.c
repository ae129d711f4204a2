#include "common/mesh/container.h"

#include "common/mesh/label.h"
#include "common/mesh/port.h"

#include <stdio.h>

#define STATS_PORT_NAME "http-envoy-prom" /* by which common scrape configurations find the proxy's own metrics */
#define TOKEN_MODE      0444
#define START_SECONDS   600

/* Adds a member and answers the object, so that calls can be nested; NULL where memory was out, with all freed. */
static struct fl_json *with(struct fl_json *object, const char *name, struct fl_json *value)
{
    if (object == NULL)
        return fl_json_free(value);
    return fl_json_set(object, name, value) < 0 ? fl_json_free(object) : object;
}

/* The same for an array. */
static struct fl_json * and (struct fl_json * array, struct fl_json *value)
{
    if (array == NULL)
        return fl_json_free(value);
    return fl_json_append(array, value) < 0 ? fl_json_free(array) : array;
}

static struct fl_json *text(const char *value)
{
    return fl_json_new_string(fl_span_str(value));
}

static struct fl_json *object_of(const char *name, struct fl_json *value)
{
    return with(fl_json_new_object(), name, value);
}

static struct fl_json *array_of(struct fl_json *value)
{
    return and(fl_json_new_array(), value);
}

/* Adds a string member where there is one to add. */
static struct fl_json *with_span(struct fl_json *object, const char *name, struct fl_span value)
{
    return value.len > 0 ? with(object, name, fl_json_new_string(value)) : object;
}

static struct fl_json *arguments(const struct fl_container *container)
{
    struct fl_json *list = fl_json_new_array();
    if (container->control_address.len == 0)
        list = and(and(list, text("-c")), text(FL_BOOTSTRAP_PATH));
    list = and(list, text("-l"));
    return and(list, fl_json_new_string(container->log_level.len > 0 ? container->log_level : FL_SPAN("info")));
}

static struct fl_json *ports(void)
{
    struct fl_json *port = object_of("name", text(STATS_PORT_NAME));
    port = with(port, "containerPort", fl_json_new_int(FL_PORT_STATS));
    return array_of(with(port, "protocol", text("TCP")));
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
    return value.len > 0 ? and(list, with_span(object_of("name", text(name)), "value", value)) : list;
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
        struct fl_json *entry = object_of("name", fl_json_new_string(name));
        list = and(list, with_span(entry, "value", fl_json_string(item)));
    }
    return list;
}

static struct fl_json *downward_variable(struct fl_json *list, size_t row)
{
    struct fl_json *source = object_of("fieldRef", object_of("fieldPath", text(downward[row].field)));
    return and(list, with(object_of("name", text(downward[row].name)), "valueFrom", source));
}

static struct fl_json *environment(const struct fl_container *container)
{
    struct fl_json *list = fl_json_new_array();
    for (size_t i = 0; i < FL_COUNT(downward); i++)
        list = downward_variable(list, i);
    struct fl_json *limit = object_of("resourceFieldRef", object_of("resource", text("limits.cpu")));
    list = and(list, with(object_of("name", text(FL_ENV_CPU_LIMIT)), "valueFrom", limit));
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
    struct fl_json *object = with_span(with_span(fl_json_new_object(), "cpu", cpu), "memory", memory);
    return with_span(object, "ephemeral-storage", ephemeral_storage);
}

static struct fl_json *resources(const struct fl_container *container)
{
    const struct fl_container *c = container;
    struct fl_json *object = fl_json_new_object();
    if (c->cpu_request.len + c->memory_request.len + c->ephemeral_storage_request.len > 0)
        object = with(object, "requests", quantities(c->cpu_request, c->memory_request, c->ephemeral_storage_request));
    if (c->cpu_limit.len + c->memory_limit.len + c->ephemeral_storage_limit.len > 0)
        object = with(object, "limits", quantities(c->cpu_limit, c->memory_limit, c->ephemeral_storage_limit));
    return object;
}

static struct fl_json *mounts(const struct fl_container *container)
{
    struct fl_json *state = with(object_of("name", text(FL_VOLUME_NAME)), "mountPath", text(FL_VOLUME_PATH));
    struct fl_json *token = with(object_of("name", text(FL_TOKEN_VOLUME)), "mountPath", text(FL_TOKEN_PATH));
    struct fl_json *list = and(array_of(state), with(token, "readOnly", fl_json_new_bool(true)));
    for (const struct fl_json *item = fl_json_first(container->mounts); item != NULL; item = fl_json_next(item))
        list = and(list, fl_json_copy(item));
    return list;
}

static struct fl_json *hook(const char *verb, uint32_t seconds)
{
    char number[16];
    snprintf(number, sizeof(number), "%u", seconds);
    struct fl_json *command = and(array_of(text(FL_CONTAINER_PROGRAM)), text(verb));
    if (seconds > 0)
        command = and(and(command, text("--seconds")), text(number));
    return object_of("exec", object_of("command", command));
}

/* A native sidecar gets its SIGTERM after the apps have ended, and holds them by its startup probe. A classic one gets
 * it with them, so that its hook serves on for a while; and the kubelet starts the next container after its postStart.
 */
static struct fl_json *lifecycle(const struct fl_container *container, uint32_t start_seconds)
{
    if (container->native)
        return object_of("preStop", hook("drain", 0));
    struct fl_json *object = object_of("postStart", hook("wait", start_seconds));
    return with(object, "preStop", hook("drain", container->drain_seconds));
}

static struct fl_json *probe(const char *path, int64_t period, int64_t failures)
{
    struct fl_json *get = with(object_of("path", text(path)), "port", fl_json_new_int(FL_PORT_HEALTH));
    struct fl_json *object = object_of("httpGet", get);
    object = with(object, "periodSeconds", fl_json_new_int(period));
    object = with(object, "timeoutSeconds", fl_json_new_int(3));
    return with(object, "failureThreshold", fl_json_new_int(failures));
}

static struct fl_json *security(uint32_t uid, uint32_t gid)
{
    struct fl_json *object = object_of("allowPrivilegeEscalation", fl_json_new_bool(false));
    object = with(object, "capabilities", object_of("drop", array_of(text("ALL"))));
    object = with(object, "privileged", fl_json_new_bool(false));
    object = with(object, "readOnlyRootFilesystem", fl_json_new_bool(true));
    object = with(object, "runAsNonRoot", fl_json_new_bool(true));
    object = with(object, "runAsUser", fl_json_new_int(uid));
    object = with(object, "runAsGroup", fl_json_new_int(gid));
    return with(object, "seccompProfile", object_of("type", text("RuntimeDefault")));
}

struct fl_json *fl_container_render(const struct fl_container *container)
{
    uint32_t start_seconds = container->start_seconds > 0 ? container->start_seconds : START_SECONDS;
    struct fl_json *object = object_of("name", text(FL_CONTAINER_NAME));
    object = with(object, "image", fl_json_new_string(container->image));
    object = with_span(object, "imagePullPolicy", container->image_pull_policy);
    if (container->native)
        object = with(object, "restartPolicy", text("Always"));
    object = with(object, "args", arguments(container));
    object = with(object, "ports", ports());
    object = with(object, "env", environment(container));
    object = with(object, "resources", resources(container));
    object = with(object, "volumeMounts", mounts(container));
    object = with(object, "startupProbe", probe("/healthz/started", 1, start_seconds));
    object = with(object, "readinessProbe", probe("/healthz/ready", 5, 4));
    object = with(object, "lifecycle", lifecycle(container, start_seconds));
    object = with(object, "terminationMessagePolicy", text("FallbackToLogsOnError"));
    return with(object, "securityContext", security(container->uid, container->gid));
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
    struct fl_json *list = and(array_of(text("gate")), text("-l"));
    return and(list, fl_json_new_string(container->log_level.len > 0 ? container->log_level : FL_SPAN("info")));
}

struct fl_json *fl_container_render_gate(const struct fl_container *container)
{
    struct fl_json *object = object_of("name", text(FL_GATE_NAME));
    object = with(object, "image", fl_json_new_string(container->image));
    object = with_span(object, "imagePullPolicy", container->image_pull_policy);
    object = with(object, "args", gate_arguments(container));
    object = with(object, "env", gate_environment());
    object = with(object, "resources", resources(container));
    object = with(object, "terminationMessagePolicy", text("FallbackToLogsOnError"));
    return with(object, "securityContext", security(container->uid, container->gid));
}

struct fl_json *fl_container_volume(void)
{
    struct fl_json *directory = with(object_of("medium", text("Memory")), "sizeLimit", text(FL_VOLUME_SIZE_LIMIT));
    return with(object_of("name", text(FL_VOLUME_NAME)), "emptyDir", directory);
}

static struct fl_json *root_source(void)
{
    struct fl_json *item = with(object_of("key", text(FL_ROOT_KEY)), "path", text(FL_ROOT_KEY));
    struct fl_json *map = with(object_of("name", text(FL_ROOT_MAP)), "items", array_of(item));
    return object_of("configMap", map);
}

struct fl_json *fl_container_token_volume(struct fl_span audience, bool root)
{
    struct fl_json *token = with_span(fl_json_new_object(), "audience", audience);
    token = with(token, "expirationSeconds", fl_json_new_int(FL_TOKEN_SECONDS));
    token = with(token, "path", text("token"));
    struct fl_json *projected = object_of("defaultMode", fl_json_new_int(TOKEN_MODE));
    struct fl_json *sources = array_of(object_of("serviceAccountToken", token));
    if (root)
        sources = and(sources, root_source());
    projected = with(projected, "sources", sources);
    return with(object_of("name", text(FL_TOKEN_VOLUME)), "projected", projected);
}
