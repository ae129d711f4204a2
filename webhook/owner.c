#include "webhook/owner.h"

#include "webhook/pod.h"
#include "webhook/value.h"

static void answer(struct webhook_owner *owner, const char *kind, struct fl_span name)
{
    webhook_keep(owner->kind, sizeof(owner->kind), fl_span_str(kind));
    webhook_keep(owner->name, sizeof(owner->name), name);
}

static const struct fl_json *controller(const struct fl_json *references)
{
    for (const struct fl_json *item = fl_json_first(references); item != NULL; item = fl_json_next(item)) {
        if (fl_json_bool(fl_json_get(item, "controller")))
            return item;
    }
    return fl_json_first(references);
}

/* Cuts "-<hash>" off the name, where it ends so. */
static bool cut_hash(struct fl_span *name, struct fl_span hash)
{
    if (hash.len == 0 || name->len <= hash.len + 1 || !fl_span_ends_with(*name, hash) ||
        name->data[name->len - hash.len - 1] != '-')
        return false;
    name->len -= hash.len + 1;
    return true;
}

#define CRONJOB_NAME_MAX 52 /* so that its Jobs' names fit into 63 */

/* A CronJob names its Jobs <name>-<minutes since the epoch>, before Kubernetes 1.21 in seconds. What a person writes
 * there is a date ("import-20240131") and lies elsewhere: years 2015 to 2084 in minutes, 2015 to 2030 in seconds. */
static bool is_schedule(struct fl_span digits)
{
    uint64_t number;
    if (!fl_span_to_u64(digits, INT64_MAX, &number))
        return false;
    return digits.len == 8 ? number >= 23600000 && number < 60000000
                           : digits.len == 10 && number >= 1420000000 && number < 1900000000;
}

static bool cut_schedule(struct fl_span *name)
{
    size_t digits = 0;
    while (digits < name->len && name->data[name->len - 1 - digits] >= '0' && name->data[name->len - 1 - digits] <= '9')
        digits++;
    struct fl_span schedule = fl_span_from(*name, name->len - digits);
    return name->len <= CRONJOB_NAME_MAX + 1 + digits && is_schedule(schedule) && cut_hash(name, schedule);
}

/* OpenShift's DeploymentConfig: its ReplicationControllers are <name>-<n>, its pods bear the name as a label. */
static bool cut_deployment_config(struct fl_span *name, struct fl_span config)
{
    if (config.len == 0 || name->len <= config.len + 1 || !fl_span_starts_with(*name, config) ||
        name->data[config.len] != '-')
        return false;
    name->len = config.len;
    return true;
}

/* The name that the pods of one maker share is the one before the random end, so generateName comes first. */
static void from_pod(const struct fl_json *metadata, struct webhook_owner *owner)
{
    struct fl_span name = fl_json_string(fl_json_get(metadata, "generateName"));
    while (name.len > 0 && (name.data[name.len - 1] == '-' || name.data[name.len - 1] == '.'))
        name.len--;
    if (name.len == 0)
        name = fl_json_string(fl_json_get(metadata, "name"));
    answer(owner, "Pod", name);
}

/* Of a group ("apps", "batch"; "" is the core's), whatever its version; a reference that does not say passes. */
static bool of_group(const struct fl_json *owner, const char *group)
{
    struct fl_span version = fl_json_string(fl_json_get(owner, "apiVersion"));
    size_t slash = fl_span_find(version, '/');
    struct fl_span found = slash < version.len ? fl_span_make(version.data, slash) : FL_SPAN("");
    return version.len == 0 || fl_span_eq_str(found, group);
}

/* The kind of the workload behind the owner, where its name tells; `name` is cut to that workload's. NULL: the owner
 * itself is the workload. */
static const char *look_behind(const struct fl_json *owner, const struct fl_json *labels, struct fl_span *name)
{
    struct fl_span kind = fl_json_string(fl_json_get(owner, "kind"));
    if (fl_span_eq_str(kind, "ReplicaSet") && of_group(owner, "apps"))
        return cut_hash(name, webhook_pod_value(labels, "pod-template-hash"))            ? "Deployment"
               : cut_hash(name, webhook_pod_value(labels, "rollouts-pod-template-hash")) ? "Rollout"
                                                                                         : NULL;
    if (fl_span_eq_str(kind, "Job") && of_group(owner, "batch"))
        return cut_schedule(name) ? "CronJob" : NULL;
    if (fl_span_eq_str(kind, "ReplicationController") && of_group(owner, ""))
        return cut_deployment_config(name, webhook_pod_value(labels, "deploymentconfig")) ? "DeploymentConfig" : NULL;
    return NULL;
}

/* Kubernetes takes any text in a reference; in the sidecar's environment "$(X)" would expand. */
static bool is_plain(struct fl_span name)
{
    for (size_t i = 0; i < name.len; i++) {
        if (name.data[i] <= ' ' || name.data[i] > '~' || name.data[i] == '$')
            return false;
    }
    return name.len > 0;
}

void webhook_owner_find(const struct fl_json *pod, struct webhook_owner *ret_owner)
{
    const struct fl_json *metadata = webhook_pod_member(pod, "metadata");
    const struct fl_json *labels = webhook_pod_labels(pod);
    const struct fl_json *owner = controller(webhook_pod_member(metadata, "ownerReferences"));
    struct fl_span kind = fl_json_string(fl_json_get(owner, "kind"));
    struct fl_span name = fl_json_string(fl_json_get(owner, "name"));
    if (kind.len == 0 || !is_plain(name)) {
        from_pod(metadata, ret_owner);
        return;
    }
    const char *behind = look_behind(owner, labels, &name);
    webhook_keep(ret_owner->kind, sizeof(ret_owner->kind), behind != NULL ? fl_span_str(behind) : kind);
    webhook_keep(ret_owner->name, sizeof(ret_owner->name), name);
}
