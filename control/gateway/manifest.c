#include "control/gateway/manifest.h"

#include "common/doc/build.h"
#include "common/mesh/container.h"
#include "common/mesh/label.h"
#include "common/mesh/port.h"

#include <stdio.h>

#define NAME_ROOM       (CONTROL_INTENT_NAME_MAX + sizeof(CONTROL_INTENT_SUFFIX))
#define GRACE_SECONDS   30 /* of a pod, behind its drain */
#define CPU_REQUEST     "50m"
#define MEMORY_REQUEST  "32Mi"
#define MEMORY_LIMIT    "512Mi"
#define REVISIONS       3
#define GATEWAY_VERSION "gateway.networking.k8s.io/v1"

static const struct {
    const char *api_version, *kind;
} children[] = {
#define ROW(constant, version, kind, ...) {version, kind},
    CONTROL_DEPLOY_CHILDREN(ROW)
#undef ROW
};

static const char *print_name(const struct control_intent *intent, char room[NAME_ROOM])
{
    snprintf(room, NAME_ROOM, "%.*s" CONTROL_INTENT_SUFFIX, FL_SPAN_ARG(intent->name));
    return room;
}

static struct fl_span or_default(struct fl_span said, const char *option, const char *fallback)
{
    if (said.len > 0)
        return said;
    return fl_span_str(option != NULL && option[0] != '\0' ? option : fallback);
}

/* -- metadata --------------------------------------------------------------------------------------------------------
 */

/* A user's labels or annotations. */
static struct fl_json *theirs(const struct fl_json *map)
{
    struct fl_json *object = fl_json_new_object();
    for (const struct fl_json *item = fl_json_first(map); item != NULL && object != NULL; item = fl_json_next(item)) {
        struct fl_span key = fl_json_name(item);
        if (fl_span_starts_with(key, FL_SPAN(FL_ANNOTATION_PREFIX)) || !fl_json_is(item, FL_JSON_STRING))
            continue;
        if (fl_json_set_span(object, key, fl_json_new_string(fl_json_string(item))) < 0)
            return fl_json_free(object);
    }
    return object;
}

static struct fl_json *labels_of(const struct control_intent *intent)
{
    struct fl_json *labels = theirs(intent->labels);
    labels = fl_json_with(labels, CONTROL_DEPLOY_MANAGED_LABEL, fl_json_text(CONTROL_DEPLOY_MANAGER));
    labels = fl_json_with(labels, CONTROL_DEPLOY_NAME_LABEL, fl_json_new_string(intent->name));
    return fl_json_with(labels, CONTROL_DEPLOY_CLASS_LABEL, fl_json_new_string(intent->class_name));
}

static struct fl_json *annotated(struct fl_json *metadata, const struct control_intent *intent)
{
    return fl_json_count(intent->annotations) > 0 ? fl_json_with(metadata, "annotations", theirs(intent->annotations))
                                                  : metadata;
}

static struct fl_json *owner_of(const struct control_intent *intent)
{
    struct fl_json *owner = fl_json_object_of("apiVersion", fl_json_text(GATEWAY_VERSION));
    owner = fl_json_with(owner, "kind", fl_json_text("Gateway"));
    owner = fl_json_with(owner, "name", fl_json_new_string(intent->name));
    owner = fl_json_with(owner, "uid", fl_json_new_string(intent->uid));
    return fl_json_with(owner, "controller", fl_json_new_bool(true));
}

static struct fl_json *head_of(enum control_deploy_child child, const struct control_intent *intent, struct fl_span uid)
{
    char name[NAME_ROOM];
    struct fl_json *metadata = fl_json_object_of("name", fl_json_text(print_name(intent, name)));
    metadata = fl_json_with(metadata, "namespace", fl_json_new_string(intent->name_space));
    metadata = fl_json_with_span(metadata, "uid", uid);
    metadata = fl_json_with(metadata, "labels", labels_of(intent));
    metadata = annotated(metadata, intent);
    metadata = fl_json_with(metadata, "ownerReferences", fl_json_array_of(owner_of(intent)));
    struct fl_json *object = fl_json_object_of("apiVersion", fl_json_text(children[child].api_version));
    object = fl_json_with(object, "kind", fl_json_text(children[child].kind));
    return fl_json_with(object, "metadata", metadata);
}

static struct fl_json *selector_of(const struct control_intent *intent)
{
    return fl_json_object_of(CONTROL_DEPLOY_NAME_LABEL, fl_json_new_string(intent->name));
}

/* -- Service ---------------------------------------------------------------------------------------------------------
 */

static struct fl_json *port_of(const char *name, uint16_t port)
{
    struct fl_json *object = fl_json_object_of("name", fl_json_text(name));
    object = fl_json_with(object, "port", fl_json_new_int(port));
    object = fl_json_with(object, "targetPort", fl_json_new_int(port));
    return fl_json_with(object, "protocol", fl_json_text("TCP"));
}

static struct fl_json *service_spec(const struct control_deploy_options *options, const struct control_intent *intent,
                                    const struct control_override *override)
{
    struct fl_span type = or_default(override->service_type, options->service_type, "LoadBalancer");
    bool inside = fl_span_eq_str(type, "ClusterIP"), balanced = fl_span_eq_str(type, "LoadBalancer");
    struct fl_json *ports = fl_json_new_array();
    for (size_t i = 0; i < intent->port_count; i++) {
        char name[16];
        snprintf(name, sizeof(name), "%s-%u", intent->ports[i].word, intent->ports[i].port);
        ports = fl_json_and(ports, port_of(name, intent->ports[i].port));
    }
    if (intent->port_count == 0) /* a Service has at least one */
        ports = fl_json_and(ports, port_of("status", FL_PORT_HEALTH));
    struct fl_json *spec = fl_json_object_of("type", fl_json_new_string(type));
    spec = fl_json_with(spec, "selector", selector_of(intent));
    spec = fl_json_with(spec, "ports", ports);
    if (!inside)
        spec = fl_json_with_span(spec, "externalTrafficPolicy", override->traffic_policy);
    if (balanced)
        spec = fl_json_with_span(spec, "loadBalancerClass", override->balancer_class);
    return fl_json_with_span(spec, balanced ? "loadBalancerIP" : "clusterIP", intent->address);
}

/* -- Deployment ------------------------------------------------------------------------------------------------------
 */

static struct fl_json *security(void)
{
    struct fl_json *sysctl = fl_json_object_of("name", fl_json_text("net.ipv4.ip_unprivileged_port_start"));
    sysctl = fl_json_with(sysctl, "value", fl_json_text("0"));
    struct fl_json *object = fl_json_object_of("runAsNonRoot", fl_json_new_bool(true));
    object = fl_json_with(object, "runAsUser", fl_json_new_int(FL_PROXY_UID));
    object = fl_json_with(object, "runAsGroup", fl_json_new_int(FL_PROXY_GID));
    object = fl_json_with(object, "fsGroup", fl_json_new_int(FL_PROXY_GID));
    object = fl_json_with(object, "seccompProfile", fl_json_object_of("type", fl_json_text("RuntimeDefault")));
    return fl_json_with(object, "sysctls", fl_json_array_of(sysctl));
}

static struct fl_json *environment(const struct control_intent *intent)
{
    char gateway[512];
    snprintf(gateway, sizeof(gateway), "%.*s/%.*s", FL_SPAN_ARG(intent->name_space), FL_SPAN_ARG(intent->name));
    return fl_json_object_of(FL_ENV_GATEWAY, fl_json_text(gateway));
}

static uint32_t drain_of(const struct control_deploy_options *options, const struct control_override *override)
{
    if (override->has_drain)
        return override->drain_seconds;
    return options->drain_seconds > 0 ? options->drain_seconds : CONTROL_DEPLOY_DRAIN_SECONDS;
}

/* What a sidecar is told of its pod by annotations: capture by an empty text, too, would turn on the start gate. */
static void drop_sidecars_variables(struct fl_json *env)
{
    static const char *const names[] = {FL_ENV_CAPTURE, FL_ENV_PROBES, FL_ENV_METRICS};
    for (size_t i = fl_json_count(env); i-- > 0;)
        for (size_t k = 0; k < FL_COUNT(names); k++)
            if (fl_span_eq_str(fl_json_string(fl_json_get(fl_json_at(env, i), "name")), names[k])) {
                (void)!fl_json_remove_at(env, i); /* it is there */
                break;
            }
}

static struct fl_json *container_of(const struct control_deploy_options *options, const struct control_intent *intent,
                                    const struct control_override *override)
{
    char name[NAME_ROOM];
    FL_CLEANUP(fl_cleanup_json) struct fl_json *env = environment(intent);
    const struct fl_container container = {
        .image = fl_span_str(options->image),
        .image_pull_policy = fl_span_str(options->image_pull_policy),
        .log_level = or_default(override->log_level, options->log_level, "info"),
        .workload = fl_span_str(print_name(intent, name)),
        .cpu_request = or_default(override->cpu_request, options->cpu_request, CPU_REQUEST),
        .cpu_limit = or_default(override->cpu_limit, options->cpu_limit, ""),
        .memory_request = or_default(override->memory_request, options->memory_request, MEMORY_REQUEST),
        .memory_limit = or_default(override->memory_limit, options->memory_limit, MEMORY_LIMIT),
        .control_address = fl_span_str(options->control_address),
        .control_name = fl_span_str(options->control_name),
        .trust_domain = fl_span_str(options->trust_domain),
        .uid = FL_PROXY_UID,
        .gid = FL_PROXY_GID,
        .drain_seconds = drain_of(options, override),
        .env = env,
    };
    struct fl_json *object = env != NULL ? fl_container_render(&container) : NULL;
    /* That hook holds the next container of a pod: there is none. */
    if (object != NULL && fl_json_remove(fl_json_get(object, "lifecycle"), FL_SPAN("postStart")) < 0)
        return fl_json_free(object);
    drop_sidecars_variables(fl_json_get(object, "env"));
    return fl_json_with(object, "name", fl_json_text(CONTROL_DEPLOY_CONTAINER));
}

static struct fl_json *pull_secrets(struct fl_json *spec, const struct control_deploy_options *options)
{
    struct fl_json *list = fl_json_new_array();
    for (size_t i = 0; options->pull_secrets != NULL && options->pull_secrets[i] != NULL; i++)
        list = fl_json_and(list, fl_json_object_of("name", fl_json_text(options->pull_secrets[i])));
    if (list != NULL && fl_json_count(list) == 0) {
        fl_json_free(list);
        return spec;
    }
    return fl_json_with(spec, "imagePullSecrets", list);
}

/* Replicas on several nodes, where there are several. */
static struct fl_json *spread(const struct control_intent *intent)
{
    struct fl_json *rule = fl_json_object_of("maxSkew", fl_json_new_int(1));
    rule = fl_json_with(rule, "topologyKey", fl_json_text("kubernetes.io/hostname"));
    rule = fl_json_with(rule, "whenUnsatisfiable", fl_json_text("ScheduleAnyway"));
    rule = fl_json_with(rule, "labelSelector", fl_json_object_of("matchLabels", selector_of(intent)));
    return fl_json_array_of(rule);
}

static struct fl_json *pod_spec(const struct control_deploy_options *options, const struct control_intent *intent,
                                const struct control_override *override)
{
    char name[NAME_ROOM];
    struct fl_span audience = or_default(FL_SPAN(""), options->token_audience, FL_TOKEN_AUDIENCE);
    struct fl_json *spec = fl_json_object_of("serviceAccountName", fl_json_text(print_name(intent, name)));
    spec = fl_json_with(spec, "automountServiceAccountToken", fl_json_new_bool(false));
    spec = fl_json_with(spec, "enableServiceLinks", fl_json_new_bool(false));
    spec = fl_json_with(spec, "terminationGracePeriodSeconds",
                        fl_json_new_int((int64_t)drain_of(options, override) + GRACE_SECONDS));
    spec = fl_json_with_span(spec, "priorityClassName", override->priority_class);
    spec = pull_secrets(spec, options);
    spec = fl_json_with(spec, "securityContext", security());
    spec = fl_json_with(spec, "topologySpreadConstraints", spread(intent));
    spec = fl_json_with(spec, "containers", fl_json_array_of(container_of(options, intent, override)));
    struct fl_json *volumes = fl_json_array_of(fl_container_volume());
    return fl_json_with(spec, "volumes", fl_json_and(volumes, fl_container_token_volume(audience, true)));
}

static struct fl_json *template_of(const struct control_deploy_options *options, const struct control_intent *intent,
                                   const struct control_override *override)
{
    struct fl_json *labels = fl_json_with(labels_of(intent), FL_LABEL_INJECT, fl_json_text(FL_INJECT_DISABLED));
    if (options->revision != NULL && options->revision[0] != '\0') /* whose it is: `fairlead members` tells by it */
        labels = fl_json_with(labels, FL_LABEL_REVISION, fl_json_text(options->revision));
    struct fl_json *metadata = annotated(fl_json_object_of("labels", labels), intent);
    return fl_json_with(fl_json_object_of("metadata", metadata), "spec", pod_spec(options, intent, override));
}

static bool count_replicas(const struct control_deploy_options *options, const struct control_override *override,
                           uint32_t *ret_replicas)
{
    *ret_replicas = override->has_replicas ? override->replicas : options->replicas;
    return override->has_replicas || options->replicas > 0;
}

static struct fl_json *deployment_spec(const struct control_deploy_options *options,
                                       const struct control_intent *intent, const struct control_override *override)
{
    uint32_t replicas = 0;
    struct fl_json *rolling = fl_json_object_of("maxSurge", fl_json_new_int(1));
    rolling = fl_json_with(rolling, "maxUnavailable", fl_json_new_int(0));
    struct fl_json *strategy = fl_json_object_of("type", fl_json_text("RollingUpdate"));
    strategy = fl_json_with(strategy, "rollingUpdate", rolling);
    struct fl_json *spec = fl_json_object_of("selector", fl_json_object_of("matchLabels", selector_of(intent)));
    if (count_replicas(options, override, &replicas))
        spec = fl_json_with(spec, "replicas", fl_json_new_int(replicas));
    spec = fl_json_with(spec, "revisionHistoryLimit", fl_json_new_int(REVISIONS));
    spec = fl_json_with(spec, "strategy", strategy);
    return fl_json_with(spec, "template", template_of(options, intent, override));
}

/* -- PodDisruptionBudget ---------------------------------------------------------------------------------------------
 */

bool control_manifest_wants(enum control_deploy_child child, const struct control_deploy_options *options,
                            const struct control_override *override)
{
    uint32_t replicas = 0;
    return child != CONTROL_DEPLOY_BUDGET || (count_replicas(options, override, &replicas) && replicas > 1);
}

static struct fl_json *budget_spec(const struct control_intent *intent)
{
    struct fl_json *spec = fl_json_object_of("maxUnavailable", fl_json_new_int(1));
    return fl_json_with(spec, "selector", fl_json_object_of("matchLabels", selector_of(intent)));
}

/* -- the whole -------------------------------------------------------------------------------------------------------
 */

struct fl_json *control_manifest(enum control_deploy_child child, const struct control_deploy_options *options,
                                 const struct control_intent *intent, const struct control_override *override,
                                 struct fl_span uid)
{
    struct fl_json *object = head_of(child, intent, uid);
    switch (child) {
    case CONTROL_DEPLOY_ACCOUNT:
        return fl_json_with(object, "automountServiceAccountToken", fl_json_new_bool(false));
    case CONTROL_DEPLOY_SERVICE:
        return fl_json_with(object, "spec", service_spec(options, intent, override));
    case CONTROL_DEPLOY_DEPLOYMENT:
        return fl_json_with(object, "spec", deployment_spec(options, intent, override));
    case CONTROL_DEPLOY_BUDGET:
        return fl_json_with(object, "spec", budget_spec(intent));
    case CONTROL_DEPLOY_CHILD_COUNT:
        break;
    }
    return object;
}

struct fl_json *control_manifest_condition(const struct control_intent *intent, bool status, const char *reason,
                                           const char *message, const char *time)
{
    struct fl_json *condition = fl_json_object_of("type", fl_json_text(CONTROL_DEPLOY_CONDITION));
    condition = fl_json_with(condition, "status", fl_json_text(status ? "True" : "False"));
    condition = fl_json_with(condition, "reason", fl_json_text(reason));
    condition = fl_json_with(condition, "message", fl_json_text(message));
    condition = fl_json_with(condition, "observedGeneration", fl_json_new_int(intent->generation));
    condition = fl_json_with(condition, "lastTransitionTime", fl_json_text(time));
    struct fl_json *metadata = fl_json_object_of("name", fl_json_new_string(intent->name));
    metadata = fl_json_with(metadata, "namespace", fl_json_new_string(intent->name_space));
    metadata = fl_json_with(metadata, "uid", fl_json_new_string(intent->uid));
    struct fl_json *object = fl_json_object_of("apiVersion", fl_json_text(GATEWAY_VERSION));
    object = fl_json_with(object, "kind", fl_json_text("Gateway"));
    object = fl_json_with(object, "metadata", metadata);
    return fl_json_with(object, "status", fl_json_object_of("conditions", fl_json_array_of(condition)));
}
