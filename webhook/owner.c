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

/* A CronJob names its Jobs <name>-<scheduled time in minutes since the epoch>: 8 digits today; 10 in seconds before. */
static bool cut_schedule(struct fl_span *name)
{
    size_t digits = 0;
    while (digits < name->len && name->data[name->len - 1 - digits] >= '0' && name->data[name->len - 1 - digits] <= '9')
        digits++;
    return digits >= 8 && digits <= 10 && cut_hash(name, fl_span_from(*name, name->len - digits));
}

static void from_pod(const struct fl_json *metadata, struct webhook_owner *owner)
{
    struct fl_span name = fl_json_string(fl_json_get(metadata, "name"));
    if (name.len == 0) {
        name = fl_json_string(fl_json_get(metadata, "generateName"));
        while (name.len > 0 && name.data[name.len - 1] == '-')
            name.len--;
    }
    answer(owner, "Pod", name);
}

void webhook_owner_find(const struct fl_json *pod, struct webhook_owner *ret_owner)
{
    const struct fl_json *metadata = webhook_pod_member(pod, "metadata");
    const struct fl_json *labels = webhook_pod_labels(pod);
    const struct fl_json *owner = controller(webhook_pod_member(metadata, "ownerReferences"));
    struct fl_span kind = fl_json_string(fl_json_get(owner, "kind"));
    struct fl_span name = fl_json_string(fl_json_get(owner, "name"));
    if (kind.len == 0 || name.len == 0) {
        from_pod(metadata, ret_owner);
        return;
    }
    webhook_keep(ret_owner->kind, sizeof(ret_owner->kind), kind);
    if (fl_span_eq_str(kind, "ReplicaSet")) {
        if (cut_hash(&name, webhook_pod_value(labels, "pod-template-hash")))
            webhook_keep(ret_owner->kind, sizeof(ret_owner->kind), FL_SPAN("Deployment"));
        else if (cut_hash(&name, webhook_pod_value(labels, "rollouts-pod-template-hash")))
            webhook_keep(ret_owner->kind, sizeof(ret_owner->kind), FL_SPAN("Rollout"));
    } else if (fl_span_eq_str(kind, "Job") && cut_schedule(&name)) {
        webhook_keep(ret_owner->kind, sizeof(ret_owner->kind), FL_SPAN("CronJob"));
    }
    webhook_keep(ret_owner->name, sizeof(ret_owner->name), name);
}
