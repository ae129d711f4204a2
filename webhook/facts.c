#include "webhook/facts.h"

#include "common/mesh/label.h"
#include "webhook/foreign.h"
#include "webhook/pod.h"

static bool is_ignored(const struct webhook_config *config, struct fl_span name_space)
{
    for (size_t i = 0; i < config->ignored_count; i++) {
        if (fl_span_eq(config->ignored[i], name_space))
            return true;
    }
    return false;
}

static bool is_windows(const struct fl_json *spec)
{
    struct fl_span os = webhook_pod_value(fl_json_get(spec, "os"), "name");
    struct fl_span node = webhook_pod_value(fl_json_get(spec, "nodeSelector"), "kubernetes.io/os");
    return fl_span_eq_str(os, "windows") || fl_span_eq_str(node, "windows");
}

void webhook_facts_gather(const struct webhook_config *config, const struct webhook_request *request,
                          const struct webhook_namespace *name_space, struct webhook_facts *ret_facts,
                          struct webhook_warnings *warnings)
{
    const struct fl_json *spec = webhook_pod_member(request->object, "spec");
    const struct fl_json *labels = webhook_pod_labels(request->object);
    const struct fl_json *annotations = webhook_pod_annotations(request->object);
    const struct fl_json *ns_labels = name_space != NULL ? name_space->labels : NULL;
    struct fl_span pod_label = webhook_pod_value(labels, FL_LABEL_INJECT);
    if (pod_label.data != NULL && !config->pod_overrides) {
        webhook_warn(warnings, "label " FL_LABEL_INJECT " of pods does not count here; the namespace's decides");
        pod_label = (struct fl_span){NULL, 0};
    }
    *ret_facts = (struct webhook_facts){
        .pod = webhook_request_is_pod(request),
        .create = fl_span_eq_str(request->operation, "CREATE"),
        .update = fl_span_eq_str(request->operation, "UPDATE"),
        .subresource = request->subresource.len > 0,
        .ephemeral = fl_span_eq_str(request->subresource, "ephemeralcontainers"),
        .own_namespace = fl_span_eq(config->own_namespace, request->name_space),
        .ignored_namespace = is_ignored(config, request->name_space),
        .mirror = webhook_pod_value(annotations, "kubernetes.io/config.mirror").data != NULL,
        .host_network = fl_json_bool(fl_json_get(spec, "hostNetwork")),
        .windows = is_windows(spec),
        .foreign = webhook_foreign_find(spec),
        .pod_label = pod_label,
        .namespace_label = webhook_pod_value(ns_labels, FL_LABEL_INJECT),
        .require = webhook_pod_value(ns_labels, FL_LABEL_REQUIRE),
        .pause = webhook_pod_value(ns_labels, FL_LABEL_PAUSE),
        .pod_revision = webhook_pod_value(labels, FL_LABEL_REVISION),
        .ns_revision = webhook_pod_value(ns_labels, FL_LABEL_REVISION),
        .revision = config->revision,
    };
}
