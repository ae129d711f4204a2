#include "cli/workload.h"

#include "common/base/cleanup.h"

#include <errno.h>

#define STEPS_MAX 4

static const struct {
    const char *kind, *group; /* group: what stands before the '/' of apiVersion; "": the core */
    const char *steps[STEPS_MAX];
} kinds[] = {
    {"Pod", "", {NULL}},
    {"PodTemplate", "", {"template"}},
    {"ReplicationController", "", {"spec", "template"}},
    {"Deployment", "apps", {"spec", "template"}},
    {"ReplicaSet", "apps", {"spec", "template"}},
    {"StatefulSet", "apps", {"spec", "template"}},
    {"DaemonSet", "apps", {"spec", "template"}},
    {"Job", "batch", {"spec", "template"}},
    {"CronJob", "batch", {"spec", "jobTemplate", "spec", "template"}},
    {"Rollout", "argoproj.io", {"spec", "template"}},
    {"DeploymentConfig", "apps.openshift.io", {"spec", "template"}},
};

static struct fl_span group_of(struct fl_span version)
{
    size_t slash = fl_span_find(version, '/');
    return slash < version.len ? fl_span_make(version.data, slash) : FL_SPAN("");
}

bool cli_workload_find(struct fl_json *object, struct cli_workload *ret_workload)
{
    struct fl_span kind = fl_json_string(fl_json_get(object, "kind"));
    struct fl_span version = fl_json_string(fl_json_get(object, "apiVersion"));
    const struct fl_json *metadata = fl_json_get(object, "metadata");
    for (size_t i = 0; i < FL_COUNT(kinds); i++) {
        if (!fl_span_eq_str(kind, kinds[i].kind) || !fl_span_eq_str(group_of(version), kinds[i].group))
            continue;
        struct fl_json *template = object;
        for (size_t step = 0; step < STEPS_MAX && kinds[i].steps[step] != NULL; step++)
            template = fl_json_get(template, kinds[i].steps[step]);
        if (!fl_json_is(template, FL_JSON_OBJECT))
            return false;
        *ret_workload = (struct cli_workload){kind, version, fl_json_string(fl_json_get(metadata, "name")),
                                              fl_json_string(fl_json_get(metadata, "namespace")), template};
        return true;
    }
    return false;
}

static bool is_pod(const struct cli_workload *workload)
{
    return fl_span_eq_str(workload->kind, "Pod");
}

/* Copies a member where it is there. */
static int copy_member(struct fl_json *to, const struct fl_json *from, const char *name)
{
    const struct fl_json *value = fl_json_get(from, name);
    return value == NULL ? 0 : fl_json_set(to, name, fl_json_copy(value));
}

static int set_text(struct fl_json *object, const char *name, struct fl_span text)
{
    return fl_json_set(object, name, fl_json_new_string(text));
}

static int add_owner(const struct cli_workload *workload, struct fl_json *metadata)
{
    FL_CLEANUP(fl_cleanup_json) struct fl_json *owner = fl_json_new_object();
    FL_CLEANUP(fl_cleanup_json) struct fl_json *owners = fl_json_new_array();
    struct fl_buf prefix;
    fl_buf_init(&prefix, 512);
    int result = owner == NULL || owners == NULL ? -ENOMEM : set_text(owner, "apiVersion", workload->version);
    if (result == 0)
        result = set_text(owner, "kind", workload->kind);
    if (result == 0)
        result = set_text(owner, "name", workload->name);
    if (result == 0)
        result = fl_json_set(owner, "controller", fl_json_new_bool(true));
    if (result == 0)
        result = fl_json_append(owners, fl_take(owner));
    if (result == 0)
        result = fl_json_set(metadata, "ownerReferences", fl_take(owners));
    if (result == 0)
        result = fl_buf_printf(&prefix, "%.*s-", FL_SPAN_ARG(workload->name));
    if (result == 0)
        result = set_text(metadata, "generateName", fl_buf_span(&prefix));
    fl_buf_done(&prefix);
    return result;
}

static int fill_pod(const struct cli_workload *workload, struct fl_json *pod)
{
    int result = set_text(pod, "apiVersion", FL_SPAN("v1"));
    if (result == 0)
        result = set_text(pod, "kind", FL_SPAN("Pod"));
    if (result == 0)
        result = copy_member(pod, workload->template, "metadata");
    if (result == 0)
        result = copy_member(pod, workload->template, "spec");
    struct fl_json *metadata = fl_json_get(pod, "metadata");
    if (result < 0 || is_pod(workload) || workload->name.len == 0)
        return result;
    if (metadata != NULL && !fl_json_is(metadata, FL_JSON_OBJECT) && !fl_json_is(metadata, FL_JSON_NULL))
        return 0; /* the review tells what is wrong */
    if (!fl_json_is(metadata, FL_JSON_OBJECT)) {
        result = fl_json_set(pod, "metadata", fl_json_new_object());
        metadata = fl_json_get(pod, "metadata");
    }
    return result < 0 ? result : add_owner(workload, metadata);
}

struct fl_json *cli_workload_pod(const struct cli_workload *workload)
{
    FL_CLEANUP(fl_cleanup_json) struct fl_json *pod = fl_json_new_object();
    return pod == NULL || fill_pod(workload, pod) < 0 ? NULL : fl_take(pod);
}

static int remove_member(struct fl_json *object, const char *name)
{
    int result = fl_json_remove(object, fl_span_str(name));
    return result == -ENOENT ? 0 : result;
}

/* An object that is there alone because something had to be written below it stays: it is what admission made. */
int cli_workload_take(const struct cli_workload *workload, struct fl_json *pod)
{
    static const char *const members[] = {"metadata", "spec"};
    struct fl_json *metadata = fl_json_get(pod, "metadata");
    int result = 0;
    if (!is_pod(workload) && fl_json_is(metadata, FL_JSON_OBJECT)) {
        result = remove_member(metadata, "ownerReferences");
        if (result == 0)
            result = remove_member(metadata, "generateName");
    }
    for (size_t i = 0; i < FL_COUNT(members) && result == 0; i++)
        result = copy_member(workload->template, pod, members[i]);
    return result;
}
