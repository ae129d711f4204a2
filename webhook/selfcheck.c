#include "webhook/selfcheck.h"

#include "common/doc/patch.h"
#include "common/mesh/label.h"
#include "webhook/overlay.h"
#include "webhook/pod.h"

#include <errno.h>

/* ---- Nothing else changed ---- */

static bool is_ours_annotation(struct fl_span key, const struct fl_json *before)
{
    if (fl_span_eq_str(key, FL_ANNOTATION_CAPTURE) || fl_span_eq_str(key, FL_ANNOTATION_STATUS))
        return true;
    bool defaults =
        fl_span_eq_str(key, WEBHOOK_DEFAULT_CONTAINER) || fl_span_eq_str(key, WEBHOOK_DEFAULT_LOGS_CONTAINER);
    return defaults && fl_json_get_span(before, key) == NULL;
}

static const struct fl_json *skip_passing(const struct fl_json *member,
                                          bool (*passes)(struct fl_span name, const struct fl_json *before),
                                          const struct fl_json *before)
{
    while (member != NULL && passes(fl_json_name(member), before))
        member = fl_json_next(member);
    return member;
}

/* Without the members that `passes` lets by the objects are equal. A patch keeps the order of members, so one walk
 * tells; a look-up for each would take quadratic time, and a pod may have 100,000 annotations when it comes here. */
static bool same_members(const struct fl_json *before, const struct fl_json *after,
                         bool (*passes)(struct fl_span name, const struct fl_json *before))
{
    const struct fl_json *a = skip_passing(fl_json_first(before), passes, before);
    const struct fl_json *b = skip_passing(fl_json_first(after), passes, before);
    while (a != NULL && b != NULL && fl_span_eq(fl_json_name(a), fl_json_name(b)) && fl_json_equal(a, b)) {
        a = skip_passing(fl_json_next(a), passes, before);
        b = skip_passing(fl_json_next(b), passes, before);
    }
    return a == NULL && b == NULL;
}

static bool is_root_handled(struct fl_span name, const struct fl_json *before)
{
    (void)before;
    return fl_span_eq_str(name, "metadata") || fl_span_eq_str(name, "spec");
}

static bool is_metadata_handled(struct fl_span name, const struct fl_json *before)
{
    (void)before;
    return fl_span_eq_str(name, "annotations");
}

static bool is_spec_handled(struct fl_span name, const struct fl_json *before)
{
    (void)before;
    return fl_span_eq_str(name, "initContainers") || fl_span_eq_str(name, "containers") ||
           fl_span_eq_str(name, "volumes");
}

static bool is_ours_element(const struct fl_json *item, bool volumes)
{
    struct fl_span name = fl_json_string(fl_json_get(item, "name"));
    return volumes ? fl_span_eq_str(name, FL_VOLUME_NAME) || fl_span_eq_str(name, FL_TOKEN_VOLUME)
                   : fl_span_eq_str(name, FL_CONTAINER_NAME);
}

static const struct fl_json *skip_ours(const struct fl_json *item, bool volumes)
{
    while (item != NULL && is_ours_element(item, volumes))
        item = fl_json_next(item);
    return item;
}

/* Without our own elements the lists are equal, in order. */
static bool same_list(const struct fl_json *before, const struct fl_json *after, const char *name)
{
    bool volumes = strcmp(name, "volumes") == 0;
    const struct fl_json *a = skip_ours(fl_json_first(webhook_pod_member(before, name)), volumes);
    const struct fl_json *b = skip_ours(fl_json_first(webhook_pod_member(after, name)), volumes);
    while (a != NULL && b != NULL && fl_json_equal(a, b)) {
        a = skip_ours(fl_json_next(a), volumes);
        b = skip_ours(fl_json_next(b), volumes);
    }
    return a == NULL && b == NULL;
}

/* What of the pod differs though it is not ours; NULL: nothing. */
static const char *find_foreign_change(const struct fl_json *pod, const struct fl_json *patched)
{
    const struct fl_json *spec = webhook_pod_member(pod, "spec"), *new_spec = webhook_pod_member(patched, "spec");
    if (!same_members(pod, patched, is_root_handled))
        return "the pod's own members";
    if (!same_members(webhook_pod_member(pod, "metadata"), webhook_pod_member(patched, "metadata"),
                      is_metadata_handled))
        return "metadata";
    if (!same_members(webhook_pod_annotations(pod), webhook_pod_annotations(patched), is_ours_annotation))
        return "annotations";
    if (!same_members(spec, new_spec, is_spec_handled))
        return "spec";
    if (!same_list(spec, new_spec, "initContainers") || !same_list(spec, new_spec, "containers"))
        return "containers";
    return same_list(spec, new_spec, "volumes") ? NULL : "volumes";
}

/* ---- All of ours is there ---- */

static size_t count_ours(const struct fl_json *list, const char *name)
{
    size_t count = 0;
    for (const struct fl_json *item = fl_json_first(list); item != NULL; item = fl_json_next(item))
        count += fl_span_eq_str(fl_json_string(fl_json_get(item, "name")), name);
    return count;
}

/* `found` is `wanted` and what others may add to it: 1, 0 or -ENOMEM. */
static int covers(const struct fl_json *found, const struct fl_json *wanted)
{
    if (found == NULL || fl_json_equal(found, wanted)) /* the usual case: nobody has added anything */
        return found != NULL;
    FL_CLEANUP(fl_cleanup_json) struct fl_json *merged = webhook_overlay(found, wanted);
    return merged == NULL ? -ENOMEM : fl_json_equal(merged, found);
}

/* What of ours is not as it should be; *ret_missing NULL: all is. 0 or -ENOMEM. */
static int find_missing(const struct fl_json *patched, const struct webhook_sidecar *sidecar, const char **ret_missing)
{
    const struct fl_json *spec = webhook_pod_member(patched, "spec"), *volumes = webhook_pod_member(spec, "volumes"),
                         *annotations = webhook_pod_annotations(patched);
    const struct {
        const struct fl_json *found, *wanted;
        const char *what;
    } parts[] = {
        {fl_json_first(webhook_pod_member(spec, sidecar->native ? "initContainers" : "containers")), sidecar->container,
         "the container"},
        {webhook_list_find(volumes, "name", FL_SPAN(FL_VOLUME_NAME), NULL), sidecar->volume, "the proxy's volume"},
        {webhook_list_find(volumes, "name", FL_SPAN(FL_TOKEN_VOLUME), NULL), sidecar->token_volume,
         "the token's volume"},
    };
    *ret_missing = NULL;
    for (size_t i = 0; i < FL_COUNT(parts); i++) {
        int result = covers(parts[i].found, parts[i].wanted);
        if (result < 0)
            return result;
        if (result == 0)
            *ret_missing = parts[i].what;
    }
    size_t containers = count_ours(webhook_pod_member(spec, "initContainers"), FL_CONTAINER_NAME) +
                        count_ours(webhook_pod_member(spec, "containers"), FL_CONTAINER_NAME);
    if (containers != 1 || count_ours(volumes, FL_VOLUME_NAME) != 1 || count_ours(volumes, FL_TOKEN_VOLUME) != 1)
        *ret_missing = "one container and each volume once";
    if (!fl_span_eq(webhook_pod_value(annotations, FL_ANNOTATION_CAPTURE), fl_buf_span(&sidecar->capture)) ||
        !fl_span_eq(webhook_pod_value(annotations, FL_ANNOTATION_STATUS), fl_buf_span(&sidecar->status)))
        *ret_missing = "the annotations";
    return 0;
}

int webhook_selfcheck(const struct fl_json *pod, const struct fl_json *patch, const struct webhook_sidecar *sidecar,
                      struct fl_json **ret_patched, struct fl_err *err)
{
    FL_CLEANUP(fl_cleanup_json) struct fl_json *patched = fl_json_copy(pod);
    const char *missing = NULL;
    struct fl_err cause = {0};
    int result = patched == NULL ? -ENOMEM : fl_patch_apply(&patched, patch, &cause);
    if (result == 0)
        result = find_missing(patched, sidecar, &missing);
    if (result == -ENOMEM)
        return fl_err_errno(err, result, "checking the patch");
    if (result < 0)
        return fl_err_set(err, -EBADMSG, "the patch does not apply: %s", cause.text);
    const char *foreign = find_foreign_change(pod, patched);
    if (missing != NULL || foreign != NULL)
        return fl_err_set(err, -EBADMSG, "the patched pod is not as it should be: %s %s",
                          missing != NULL ? missing : foreign, missing != NULL ? "are not there" : "would change");
    if (ret_patched != NULL)
        *ret_patched = fl_take(patched);
    return 0;
}
