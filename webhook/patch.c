#include "webhook/patch.h"

#include "common/doc/patch.h"
#include "common/mesh/label.h"
#include "webhook/overlay.h"
#include "webhook/pod.h"
#include "webhook/status.h"
#include "webhook/value.h"

#include <errno.h>

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

static bool is_private(struct fl_span volume)
{
    return fl_span_eq_str(volume, FL_VOLUME_NAME) || fl_span_eq_str(volume, FL_TOKEN_VOLUME);
}

static int check_mounts(const struct fl_json *container, struct fl_err *err)
{
    static const char *const lists[] = {"volumeMounts", "volumeDevices"};
    for (size_t i = 0; i < FL_COUNT(lists); i++) {
        const struct fl_json *list = webhook_pod_member(container, lists[i]);
        for (const struct fl_json *item = fl_json_first(list); item != NULL; item = fl_json_next(item)) {
            struct fl_span volume = fl_json_string(fl_json_get(item, "name"));
            if (is_private(volume))
                return fl_err_set(err, -EEXIST, "container %.*s mounts the volume %.*s, which is the sidecar's alone",
                                  WEBHOOK_SHOW(fl_json_string(fl_json_get(container, "name"))), WEBHOOK_SHOW(volume));
        }
    }
    return 0;
}

/* 1 where what bears our name may be brought into form: it is said to be ours, or is it. 0, or -ENOMEM. */
static int is_ours(const struct fl_json *found, const struct fl_json *wanted, bool said)
{
    return said ? 1 : webhook_overlay_covers(found, wanted, "");
}

static int check_container(const struct fl_json *container, const char *list, const struct webhook_sidecar *sidecar,
                           bool said, struct fl_err *err)
{
    if (!webhook_pod_is_our_name(container))
        return check_mounts(container, err);
    struct fl_span name = fl_json_string(fl_json_get(container, "name"));
    bool gate = fl_span_eq_str(name, FL_GATE_NAME);
    /* An ephemeral container is never one of ours. */
    bool ephemeral = strcmp(list, "ephemeralContainers") == 0;
    int result = ephemeral ? 0 : is_ours(container, gate ? sidecar->gate : sidecar->container, said);
    if (result != 0)
        return result < 0 ? result : 0;
    return fl_err_set(err, -EEXIST, "the container name %.*s is the sidecar's; use another", WEBHOOK_SHOW(name));
}

int webhook_patch_check_ephemeral(const struct fl_json *pod, struct fl_err *err)
{
    const char *name = "ephemeralContainers";
    const struct fl_json *list = webhook_pod_member(webhook_pod_member(pod, "spec"), name);
    int result = 0;
    for (const struct fl_json *item = fl_json_first(list); item != NULL && result == 0; item = fl_json_next(item))
        result = check_container(item, name, NULL, false, err);
    return result;
}

static int check_volumes(const struct fl_json *spec, const struct webhook_sidecar *sidecar,
                         const struct fl_json *status, struct fl_err *err)
{
    const struct fl_json *volumes = webhook_pod_member(spec, "volumes");
    for (const struct fl_json *item = fl_json_first(sidecar->volumes); item != NULL; item = fl_json_next(item)) {
        struct fl_span name = fl_json_string(fl_json_get(item, "name"));
        const struct fl_json *found = webhook_list_find(volumes, "name", name, NULL);
        bool said = status != NULL && (is_private(name) || webhook_status_lists(status, name));
        int result = found == NULL ? 1 : is_ours(found, item, said);
        if (result < 0)
            return result;
        if (result == 0)
            return fl_err_set(err, -EEXIST, "the volume name %.*s is the sidecar's; use another", WEBHOOK_SHOW(name));
    }
    return 0;
}

static int check_names(const struct fl_json *pod, const struct webhook_sidecar *sidecar, struct fl_err *err)
{
    const struct fl_json *spec = webhook_pod_member(pod, "spec");
    FL_CLEANUP(fl_cleanup_json) struct fl_json *status = NULL;
    int result = webhook_status_read(pod, &status);
    if (result == 0)
        result = check_volumes(spec, sidecar, status, err);
    for (size_t i = 0; webhook_container_lists[i] != NULL; i++) {
        const struct fl_json *list = webhook_pod_member(spec, webhook_container_lists[i]);
        for (const struct fl_json *item = fl_json_first(list); item != NULL && result == 0; item = fl_json_next(item))
            result = check_container(item, webhook_container_lists[i], sidecar, status != NULL, err);
    }
    return result;
}

/* ---- Labels and annotations ---- */

static int patch_map(const struct fl_json *present, const char *name, const struct webhook_entry *entries, size_t count,
                     struct fl_json *patch)
{
    bool made = present != NULL;
    int result = 0;
    for (size_t i = 0; i < count && result == 0; i++) {
        const struct fl_json *found = fl_json_get(present, entries[i].key);
        enum webhook_entry_step step = webhook_entry_step(&entries[i], found);
        if (step == WEBHOOK_ENTRY_STAYS)
            continue;
        struct fl_pointer map = pointer_of("metadata", name, NULL);
        struct fl_pointer path = pointer_of("metadata", name, entries[i].key);
        if (step == WEBHOOK_ENTRY_DROP) {
            result = fl_patch_remove(patch, &path);
            continue;
        }
        if (!made)
            result = fl_patch_add(patch, &map, fl_json_new_object());
        made = true;
        if (result == 0)
            result = put(patch, &path, found, fl_json_new_string(entries[i].value));
    }
    return result;
}

static int patch_metadata(const struct fl_json *pod, const struct webhook_metadata *metadata, struct fl_json *patch)
{
    int result = 0;
    if (webhook_pod_member(pod, "metadata") == NULL) {
        struct fl_pointer path = pointer_of("metadata", NULL, NULL);
        result = fl_patch_add(patch, &path, fl_json_new_object());
    }
    if (result == 0)
        result = patch_map(webhook_pod_labels(pod), "labels", metadata->labels, metadata->label_count, patch);
    if (result == 0)
        result = patch_map(webhook_pod_annotations(pod), "annotations", metadata->annotations,
                           metadata->annotation_count, patch);
    return result;
}

/* ---- Handlers of the app ---- */

static int patch_handler(const struct webhook_probe_edit *edit, struct fl_json *patch)
{
    struct fl_pointer path = pointer_of("spec", edit->list, NULL);
    fl_pointer_push_index(&path, edit->index);
    if (fl_appprobe_kind_is_lifecycle(edit->kind))
        fl_pointer_push(&path, FL_SPAN("lifecycle"));
    fl_pointer_push(&path, fl_span_str(fl_appprobe_kind_member(edit->kind)));
    size_t holder = path.len;
    fl_pointer_push(&path, fl_span_str(edit->from));
    if (strcmp(edit->from, edit->to) == 0)
        return fl_patch_replace(patch, &path, fl_json_copy(edit->handler));
    int result = fl_patch_remove(patch, &path);
    fl_pointer_cut(&path, holder);
    fl_pointer_push(&path, fl_span_str(edit->to));
    return result < 0 ? result : fl_patch_add(patch, &path, fl_json_copy(edit->handler));
}

/* ---- Volumes and container ---- */

static int patch_volume(const struct fl_json *volumes, const struct fl_json *volume, struct fl_json *patch)
{
    size_t index = 0;
    const struct fl_json *found =
        webhook_list_find(volumes, "name", fl_json_string(fl_json_get(volume, "name")), &index);
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
    for (const struct fl_json *item = fl_json_first(sidecar->volumes); item != NULL && result == 0;
         item = fl_json_next(item))
        result = patch_volume(volumes, item, patch);
    return result;
}

/* Takes every container of ours out of list `name`, from the last to the first, but not the one at `keep`. */
static int remove_containers(const struct fl_json *list, const char *name, const struct fl_json *keep,
                             struct fl_json *patch)
{
    int result = 0;
    for (size_t i = fl_json_count(list); i-- > 0 && result == 0;) {
        const struct fl_json *item = fl_json_at(list, i);
        if (item == keep || !webhook_pod_is_our_name(item))
            continue;
        struct fl_pointer path = pointer_of("spec", name, NULL);
        fl_pointer_push_index(&path, i);
        result = fl_patch_remove(patch, &path);
    }
    return result;
}

/* `wanted` becomes the first of list `name`, and the only one of ours there; NULL: none of ours stays there. `other` is
 * the list in which it may stand by mistake. */
static int patch_list(const struct fl_json *spec, const char *name, const char *other, const struct fl_json *wanted,
                      struct fl_json *patch)
{
    const struct fl_json *list = webhook_pod_member(spec, name), *found = NULL;
    struct fl_span own = fl_json_string(fl_json_get(wanted, "name"));
    if (wanted != NULL)
        found = webhook_list_find(list, "name", own, NULL);
    const struct fl_json *keep =
        found == fl_json_first(list) ? found : NULL; /* what stands behind others is moved to the front */
    if (wanted != NULL && found == NULL)
        found = webhook_list_find(webhook_pod_member(spec, other), "name", own, NULL);
    struct fl_pointer path = pointer_of("spec", name, NULL);
    int result = remove_containers(list, name, keep, patch);
    if (wanted == NULL || result < 0)
        return result;
    if (list == NULL)
        result = fl_patch_add(patch, &path, fl_json_new_array());
    fl_pointer_push_index(&path, 0);
    if (result < 0)
        return result;
    return put(patch, &path, keep, found != NULL ? webhook_overlay(found, wanted) : fl_json_copy(wanted));
}

static int patch_containers(const struct fl_json *spec, const struct webhook_sidecar *sidecar, struct fl_json *patch)
{
    static const char inits[] = "initContainers", apps[] = "containers";
    int result = sidecar->native ? patch_list(spec, apps, inits, NULL, patch)
                                 : patch_list(spec, inits, apps, sidecar->gate, patch);
    if (result < 0)
        return result;
    return sidecar->native ? patch_list(spec, inits, apps, sidecar->container, patch)
                           : patch_list(spec, apps, inits, sidecar->container, patch);
}

static void warn_of_capture(const struct fl_json *pod, const struct webhook_sidecar *sidecar,
                            struct webhook_warnings *warnings)
{
    struct fl_span value = webhook_pod_value(webhook_pod_annotations(pod), FL_ANNOTATION_CAPTURE);
    if (value.data != NULL && !fl_span_eq(value, fl_buf_span(&sidecar->capture)))
        webhook_warn(warnings,
                     "annotation " FL_ANNOTATION_CAPTURE " is written by the mesh; the given value was replaced");
}

int webhook_patch_build(const struct fl_json *pod, const struct webhook_plan *plan, struct fl_json **ret_patch,
                        struct webhook_warnings *warnings, struct fl_err *err)
{
    const struct fl_json *spec = webhook_pod_member(pod, "spec");
    int result = check_names(pod, &plan->sidecar, err);
    if (result < 0)
        return result;
    FL_CLEANUP(fl_cleanup_json) struct fl_json *patch = fl_json_new_array();
    result = patch == NULL ? -ENOMEM : 0;
    for (size_t i = 0; i < plan->probes.count && result == 0; i++) /* while the containers stand where they stood */
        result = patch_handler(&plan->probes.edits[i], patch);
    if (result == 0)
        result = patch_containers(spec, &plan->sidecar, patch);
    if (result == 0)
        result = patch_volumes(spec, &plan->sidecar, patch);
    if (result == 0)
        result = patch_metadata(pod, &plan->metadata, patch);
    if (result < 0)
        return fl_err_errno(err, result, "making the patch");
    warn_of_capture(pod, &plan->sidecar, warnings);
    *ret_patch = fl_take(patch);
    return 0;
}
