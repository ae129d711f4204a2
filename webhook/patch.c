#include "webhook/patch.h"

#include "common/doc/patch.h"
#include "common/mesh/label.h"
#include "webhook/overlay.h"
#include "webhook/pod.h"
#include "webhook/value.h"

#include <errno.h>

static const char *const volume_names[] = {FL_VOLUME_NAME, FL_TOKEN_VOLUME};

/* A place in the pod, by literal names. */
static struct fl_pointer pointer_of(const char *first, const char *second, const char *third)
{
    struct fl_pointer pointer = {.len = 0};
    fl_pointer_push(&pointer, fl_span_str(first));
    if (second != NULL)
        fl_pointer_push(&pointer, fl_span_str(second));
    if (third != NULL)
        fl_pointer_push(&pointer, fl_span_str(third));
    return pointer;
}

/* add, or replace where `present` is there; nothing where it is equal. `value` is taken over. */
static int put(struct fl_json *patch, const struct fl_pointer *path, const struct fl_json *present,
               struct fl_json *value)
{
    if (value == NULL)
        return -ENOMEM;
    if (present == NULL)
        return fl_patch_add(patch, path, value);
    if (!fl_json_equal(present, value))
        return fl_patch_replace(patch, path, value);
    fl_json_free(value);
    return 0;
}

/* ---- Names of ours that somebody else uses ---- */

static int check_mounts(const struct fl_json *container, struct fl_err *err)
{
    const struct fl_json *mounts = webhook_pod_member(container, "volumeMounts");
    for (size_t i = 0; i < FL_COUNT(volume_names); i++) {
        if (webhook_list_find(mounts, "name", fl_span_str(volume_names[i]), NULL) != NULL)
            return fl_err_set(err, -EEXIST, "container %.*s mounts the volume %s, which is the sidecar's alone",
                              WEBHOOK_SHOW(fl_json_string(fl_json_get(container, "name"))), volume_names[i]);
    }
    return 0;
}

static int check_list(const struct fl_json *list, bool ours, struct fl_err *err)
{
    for (const struct fl_json *item = fl_json_first(list); item != NULL; item = fl_json_next(item)) {
        bool same_name = fl_span_eq_str(fl_json_string(fl_json_get(item, "name")), FL_CONTAINER_NAME);
        if (same_name && !ours)
            return fl_err_set(err, -EEXIST, "the container name " FL_CONTAINER_NAME " is the sidecar's; use another");
        int result = same_name ? 0 : check_mounts(item, err);
        if (result < 0)
            return result;
    }
    return 0;
}

static int check_names(const struct fl_json *spec, bool ours, struct fl_err *err)
{
    const struct fl_json *volumes = webhook_pod_member(spec, "volumes");
    for (size_t i = 0; i < FL_COUNT(volume_names) && !ours; i++) {
        if (webhook_list_find(volumes, "name", fl_span_str(volume_names[i]), NULL) != NULL)
            return fl_err_set(err, -EEXIST, "the volume name %s is the sidecar's; use another", volume_names[i]);
    }
    for (size_t i = 0; webhook_container_lists[i] != NULL; i++) {
        /* An ephemeral container is never the sidecar. */
        bool may_be_ours = ours && strcmp(webhook_container_lists[i], "ephemeralContainers") != 0;
        int result = check_list(webhook_pod_member(spec, webhook_container_lists[i]), may_be_ours, err);
        if (result < 0)
            return result;
    }
    return 0;
}

/* ---- Annotations ---- */

struct annotation {
    const char *key;
    struct fl_span value;
    bool keep; /* where it is there already */
};

#define ANNOTATIONS 4

static void list_annotations(const struct fl_json *spec, const struct webhook_sidecar *sidecar,
                             struct annotation annotations[ANNOTATIONS])
{
    struct fl_span app = {NULL, 0};
    const struct fl_json *containers = webhook_pod_member(spec, "containers");
    for (const struct fl_json *item = fl_json_first(containers); item != NULL && app.len == 0;
         item = fl_json_next(item)) {
        struct fl_span name = fl_json_string(fl_json_get(item, "name"));
        if (!fl_span_eq_str(name, FL_CONTAINER_NAME))
            app = name;
    }
    annotations[0] = (struct annotation){FL_ANNOTATION_CAPTURE, fl_buf_span(&sidecar->capture), false};
    annotations[1] = (struct annotation){FL_ANNOTATION_STATUS, fl_buf_span(&sidecar->status), false};
    annotations[2] = (struct annotation){WEBHOOK_DEFAULT_CONTAINER, app, true};
    annotations[3] = (struct annotation){WEBHOOK_DEFAULT_LOGS_CONTAINER, app, true};
}

static int patch_annotations(const struct fl_json *pod, const struct webhook_sidecar *sidecar, struct fl_json *patch)
{
    const struct fl_json *present = webhook_pod_annotations(pod);
    struct annotation annotations[ANNOTATIONS];
    list_annotations(webhook_pod_member(pod, "spec"), sidecar, annotations);
    int result = 0;
    if (webhook_pod_member(pod, "metadata") == NULL) {
        struct fl_pointer path = pointer_of("metadata", NULL, NULL);
        result = fl_patch_add(patch, &path, fl_json_new_object());
    }
    if (result == 0 && present == NULL) {
        struct fl_pointer path = pointer_of("metadata", "annotations", NULL);
        result = fl_patch_add(patch, &path, fl_json_new_object());
    }
    for (size_t i = 0; i < ANNOTATIONS && result == 0; i++) {
        const struct fl_json *found = fl_json_get(present, annotations[i].key);
        if (annotations[i].value.len == 0 || (annotations[i].keep && found != NULL))
            continue;
        struct fl_pointer path = pointer_of("metadata", "annotations", annotations[i].key);
        result = put(patch, &path, found, fl_json_new_string(annotations[i].value));
    }
    return result;
}

/* ---- Volumes and container ---- */

static int patch_volume(const struct fl_json *volumes, const char *name, const struct fl_json *volume,
                        struct fl_json *patch)
{
    size_t index = 0;
    const struct fl_json *found = webhook_list_find(volumes, "name", fl_span_str(name), &index);
    struct fl_pointer path = pointer_of("spec", "volumes", NULL);
    if (found == NULL) {
        fl_pointer_push_end(&path);
        return fl_patch_add(patch, &path, fl_json_copy(volume));
    }
    fl_pointer_push_index(&path, index);
    return put(patch, &path, found, webhook_overlay(found, volume));
}

static int patch_volumes(const struct fl_json *spec, const struct webhook_sidecar *sidecar, struct fl_json *patch)
{
    const struct fl_json *volumes = webhook_pod_member(spec, "volumes");
    int result = 0;
    if (volumes == NULL) {
        struct fl_pointer path = pointer_of("spec", "volumes", NULL);
        result = fl_patch_add(patch, &path, fl_json_new_array());
    }
    if (result == 0)
        result = patch_volume(volumes, FL_VOLUME_NAME, sidecar->volume, patch);
    return result < 0 ? result : patch_volume(volumes, FL_TOKEN_VOLUME, sidecar->token_volume, patch);
}

/* Takes every container of our name out of list `name`, from the last to the first, but not the one at `keep`. */
static int remove_containers(const struct fl_json *list, const char *name, const struct fl_json *keep,
                             struct fl_json *patch)
{
    int result = 0;
    for (size_t i = fl_json_count(list); i-- > 0 && result == 0;) {
        const struct fl_json *item = fl_json_at(list, i);
        if (item == keep || !fl_span_eq_str(fl_json_string(fl_json_get(item, "name")), FL_CONTAINER_NAME))
            continue;
        struct fl_pointer path = pointer_of("spec", name, NULL);
        fl_pointer_push_index(&path, i);
        result = fl_patch_remove(patch, &path);
    }
    return result;
}

static int patch_container(const struct fl_json *spec, const struct webhook_sidecar *sidecar, struct fl_json *patch)
{
    const char *home = sidecar->native ? "initContainers" : "containers",
               *other = sidecar->native ? "containers" : "initContainers";
    const struct fl_json *list = webhook_pod_member(spec, home), *first = fl_json_first(list);
    const struct fl_json *others = webhook_pod_member(spec, other);
    const struct fl_json *found = webhook_list_find(list, "name", FL_SPAN(FL_CONTAINER_NAME), NULL);
    const struct fl_json *keep = found == first ? found : NULL; /* what stands behind others is moved to the front */
    if (found == NULL)
        found = webhook_list_find(others, "name", FL_SPAN(FL_CONTAINER_NAME), NULL);
    struct fl_pointer path = pointer_of("spec", home, NULL);
    int result = remove_containers(others, other, NULL, patch);
    if (result == 0)
        result = remove_containers(list, home, keep, patch);
    if (result == 0 && list == NULL)
        result = fl_patch_add(patch, &path, fl_json_new_array());
    fl_pointer_push_index(&path, 0);
    if (result < 0)
        return result;
    return put(patch, &path, keep,
               found != NULL ? webhook_overlay(found, sidecar->container) : fl_json_copy(sidecar->container));
}

static void warn_of_capture(const struct fl_json *pod, const struct webhook_sidecar *sidecar,
                            struct webhook_warnings *warnings)
{
    struct fl_span value = webhook_pod_value(webhook_pod_annotations(pod), FL_ANNOTATION_CAPTURE);
    if (value.data != NULL && !fl_span_eq(value, fl_buf_span(&sidecar->capture)))
        webhook_warn(warnings,
                     "annotation " FL_ANNOTATION_CAPTURE " is written by the mesh; the given value was replaced");
}

int webhook_patch_build(const struct fl_json *pod, const struct webhook_sidecar *sidecar, struct fl_json **ret_patch,
                        struct webhook_warnings *warnings, struct fl_err *err)
{
    const struct fl_json *spec = webhook_pod_member(pod, "spec");
    bool ours = webhook_sidecar_is_status(webhook_pod_value(webhook_pod_annotations(pod), FL_ANNOTATION_STATUS));
    int result = check_names(spec, ours, err);
    if (result < 0)
        return result;
    FL_CLEANUP(fl_cleanup_json) struct fl_json *patch = fl_json_new_array();
    result = patch == NULL ? -ENOMEM : patch_container(spec, sidecar, patch);
    if (result == 0)
        result = patch_volumes(spec, sidecar, patch);
    if (result == 0)
        result = patch_annotations(pod, sidecar, patch);
    if (result < 0)
        return fl_err_errno(err, result, "making the patch");
    warn_of_capture(pod, sidecar, warnings);
    *ret_patch = fl_take(patch);
    return 0;
}
