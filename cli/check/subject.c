#include "cli/check/subject.h"

#include "common/kube/object.h"

static const char *const lists[] = {"spec.initContainers", "spec.containers"};
static const char *const statuses[] = {"status.initContainerStatuses", "status.containerStatuses"};

bool cli_subject_is_wanted(const struct cli_world *world, const struct fl_json *pod)
{
    struct fl_span phase = fl_json_string(cli_object_at(pod, "status.phase"));
    return !fl_span_eq_str(phase, "Succeeded") && !fl_span_eq_str(phase, "Failed") &&
           cli_object_at(pod, "metadata.deletionTimestamp") == NULL &&
           cli_object_annotation(pod, "kubernetes.io/config.mirror").data == NULL &&
           (world->name_space == NULL || fl_span_eq_str(cli_object_space(pod), world->name_space)) &&
           (world->pod == NULL || fl_span_eq_str(cli_object_name(pod), world->pod));
}

static const struct fl_json *find(const struct fl_json *list, const char *name)
{
    const struct fl_json *one = fl_json_first(list);
    while (one != NULL && !fl_span_eq_str(fl_json_string(fl_json_get(one, "name")), name))
        one = fl_json_next(one);
    return one;
}

const struct fl_json *cli_subject_sidecar(const struct fl_json *pod)
{
    const struct fl_json *found = find(cli_object_at(pod, lists[0]), FL_CONTAINER_NAME);
    return found != NULL ? found : find(cli_object_at(pod, lists[1]), FL_CONTAINER_NAME);
}

const struct fl_json *cli_subject_status(const struct fl_json *pod)
{
    const struct fl_json *found = find(cli_object_at(pod, statuses[0]), FL_CONTAINER_NAME);
    return found != NULL ? found : find(cli_object_at(pod, statuses[1]), FL_CONTAINER_NAME);
}

struct fl_span cli_subject_gateway(const struct fl_json *pod)
{
    return cli_object_label(pod, "gateway.networking.k8s.io/gateway-name");
}

bool cli_subject_is_proven(const struct fl_json *pod)
{
    return fl_json_bool(fl_json_get(cli_subject_status(pod), "started"));
}

bool cli_subject_is_ready(const struct fl_json *pod)
{
    for (const struct fl_json *one = fl_json_first(cli_object_at(pod, "status.conditions")); one != NULL;
         one = fl_json_next(one))
        if (fl_span_eq_str(fl_json_string(fl_json_get(one, "type")), "Ready"))
            return fl_span_eq_str(fl_json_string(fl_json_get(one, "status")), "True");
    return false;
}

bool cli_space_is_meshed(const struct fl_json *name_space)
{
    return !fl_span_eq_str(cli_object_label(name_space, FL_LABEL_PAUSE), FL_LABEL_TRUE) &&
           (fl_span_eq_str(cli_object_label(name_space, FL_LABEL_INJECT), FL_INJECT_ENABLED) ||
            fl_span_eq_str(cli_object_label(name_space, FL_LABEL_REQUIRE), FL_LABEL_TRUE));
}

int64_t cli_subject_age(const struct cli_world *world, const struct fl_json *pod)
{
    int64_t made, now = world->server != 0 ? world->server : world->now;
    struct fl_span text = fl_json_string(cli_object_at(pod, "metadata.creationTimestamp"));
    return fl_time_parse(text, &made) == 0 && made < now ? now - made : 0;
}
