#include "webhook/selfcheck.h"

#include "common/doc/patch.h"
#include "common/mesh/label.h"
#include "webhook/overlay.h"
#include "webhook/pod.h"

#include <errno.h>

/* ---- Nothing else changed ---- */

/* Members that are looked at elsewhere: by name, or the entries of a map that we write. */
struct handled {
    const char *const *names; /* ending with NULL; may be NULL */
    const struct webhook_entry *entries;
    size_t count;
};

static bool is_handled(struct fl_span name, const struct handled *handled)
{
    for (size_t i = 0; handled->names != NULL && handled->names[i] != NULL; i++) {
        if (fl_span_eq_str(name, handled->names[i]))
            return true;
    }
    for (size_t i = 0; i < handled->count; i++) {
        if (fl_span_eq_str(name, handled->entries[i].key))
            return true;
    }
    return false;
}

static const struct fl_json *skip_handled(const struct fl_json *member, const struct handled *handled)
{
    while (member != NULL && is_handled(fl_json_name(member), handled))
        member = fl_json_next(member);
    return member;
}

/* Without the members that are handled elsewhere the objects are equal. A patch keeps the order of members, so one walk
 * tells; a look-up for each would take quadratic time, and a pod may have 100,000 annotations when it comes here. */
static bool same_members(const struct fl_json *before, const struct fl_json *after, const struct handled *handled)
{
    const struct fl_json *a = skip_handled(fl_json_first(before), handled);
    const struct fl_json *b = skip_handled(fl_json_first(after), handled);
    while (a != NULL && b != NULL && fl_span_eq(fl_json_name(a), fl_json_name(b)) && fl_json_equal(a, b)) {
        a = skip_handled(fl_json_next(a), handled);
        b = skip_handled(fl_json_next(b), handled);
    }
    return a == NULL && b == NULL;
}

static bool is_ours(const struct fl_json *item, const struct webhook_sidecar *sidecar, bool volumes)
{
    struct fl_span name = fl_json_string(fl_json_get(item, "name"));
    return volumes ? webhook_list_find(sidecar->volumes, "name", name, NULL) != NULL : webhook_pod_is_our_name(item);
}

/* The next element of the app's; *index counts all that were passed by. */
static const struct fl_json *skip_ours(const struct fl_json *item, const struct webhook_sidecar *sidecar, bool volumes,
                                       size_t *index)
{
    while (item != NULL && is_ours(item, sidecar, volumes)) {
        item = fl_json_next(item);
        (*index)++;
    }
    return item;
}

/* `after` is the app's container `before`, with its handlers exchanged as planned: 1, 0 or -ENOMEM. */
static int same_container(const struct fl_json *before, const struct fl_json *after, const struct webhook_plan *plan,
                          const char *list, size_t index)
{
    FL_CLEANUP(fl_cleanup_json) struct fl_json *expected = NULL;
    if (!webhook_probes_touch(&plan->probes, list, index))
        return fl_json_equal(before, after);
    expected = fl_json_copy(before);
    if (expected == NULL || webhook_probes_apply(&plan->probes, list, index, expected) < 0)
        return -ENOMEM;
    return fl_json_equal(expected, after);
}

/* Without our own elements the lists are the same, in order: 1, 0 or -ENOMEM. */
static int same_list(const struct fl_json *before, const struct fl_json *after, const struct webhook_plan *plan,
                     const char *name)
{
    bool volumes = strcmp(name, "volumes") == 0;
    size_t index = 0, unused = 0;
    const struct fl_json *a =
        skip_ours(fl_json_first(webhook_pod_member(before, name)), &plan->sidecar, volumes, &index);
    const struct fl_json *b =
        skip_ours(fl_json_first(webhook_pod_member(after, name)), &plan->sidecar, volumes, &unused);
    while (a != NULL && b != NULL) {
        int result = volumes ? fl_json_equal(a, b) : same_container(a, b, plan, name, index);
        if (result <= 0)
            return result;
        index++;
        a = skip_ours(fl_json_next(a), &plan->sidecar, volumes, &index);
        b = skip_ours(fl_json_next(b), &plan->sidecar, volumes, &unused);
    }
    return a == NULL && b == NULL;
}

/* What of the pod's objects differs though it is not ours; NULL: nothing. */
static const char *find_foreign_member(const struct fl_json *pod, const struct fl_json *patched,
                                       const struct webhook_metadata *entries)
{
    static const char *const in_root[] = {"metadata", "spec", NULL};
    static const char *const in_metadata[] = {"labels", "annotations", NULL};
    static const char *const in_spec[] = {"initContainers", "containers", "volumes", NULL};
    const struct fl_json *metadata = webhook_pod_member(pod, "metadata");
    const struct fl_json *new_metadata = webhook_pod_member(patched, "metadata");
    const struct handled labels = {NULL, entries->labels, entries->label_count};
    const struct handled annotations = {NULL, entries->annotations, entries->annotation_count};
    if (!same_members(pod, patched, &(struct handled){.names = in_root}))
        return "the pod's own members";
    if (!same_members(metadata, new_metadata, &(struct handled){.names = in_metadata}))
        return "metadata";
    if (!same_members(webhook_pod_labels(pod), webhook_pod_labels(patched), &labels))
        return "labels";
    if (!same_members(webhook_pod_annotations(pod), webhook_pod_annotations(patched), &annotations))
        return "annotations";
    return same_members(webhook_pod_member(pod, "spec"), webhook_pod_member(patched, "spec"),
                        &(struct handled){.names = in_spec})
               ? NULL
               : "spec";
}

/* The same for the pod's lists. 0 or -ENOMEM. */
static int find_foreign_element(const struct fl_json *pod, const struct fl_json *patched,
                                const struct webhook_plan *plan, const char **ret_foreign)
{
    static const struct {
        const char *name, *what;
    } lists[] = {{"initContainers", "containers"}, {"containers", "containers"}, {"volumes", "volumes"}};
    const struct fl_json *spec = webhook_pod_member(pod, "spec"), *new_spec = webhook_pod_member(patched, "spec");
    for (size_t i = 0; i < FL_COUNT(lists); i++) {
        int result = same_list(spec, new_spec, plan, lists[i].name);
        if (result < 0)
            return result;
        if (result == 0)
            *ret_foreign = lists[i].what;
    }
    return 0;
}

/* ---- All of ours is there ---- */

static size_t count_named(const struct fl_json *list, struct fl_span name)
{
    size_t count = 0;
    for (const struct fl_json *item = fl_json_first(list); item != NULL; item = fl_json_next(item))
        count += fl_span_eq(fl_json_string(fl_json_get(item, "name")), name);
    return count;
}

/* `found` is `wanted` and what others may add to it, else *ret_missing says `what`. 0 or -ENOMEM. */
static int check_part(const struct fl_json *found, const struct fl_json *wanted, const char *what,
                      const char **ret_missing)
{
    int result = webhook_overlay_covers(found, wanted, "");
    if (result == 0)
        *ret_missing = what;
    return result < 0 ? result : 0;
}

static bool has_entries(const struct fl_json *map, const struct webhook_entry *entries, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (webhook_entry_step(&entries[i], fl_json_get(map, entries[i].key)) != WEBHOOK_ENTRY_STAYS)
            return false;
    }
    return true;
}

/* What of ours is not as it should be; *ret_missing NULL: all is. 0 or -ENOMEM. */
static int find_missing(const struct fl_json *patched, const struct webhook_plan *plan, const char **ret_missing)
{
    const struct webhook_sidecar *sidecar = &plan->sidecar;
    const struct fl_json *spec = webhook_pod_member(patched, "spec"), *volumes = webhook_pod_member(spec, "volumes");
    const struct fl_json *inits = webhook_pod_member(spec, "initContainers");
    const struct fl_json *apps = webhook_pod_member(spec, "containers");
    *ret_missing = NULL;
    int result =
        check_part(fl_json_first(sidecar->native ? inits : apps), sidecar->container, "the container", ret_missing);
    if (result == 0 && !sidecar->native)
        result = check_part(fl_json_first(inits), sidecar->gate, "the gate", ret_missing);
    bool once = count_named(inits, FL_SPAN(FL_CONTAINER_NAME)) + count_named(apps, FL_SPAN(FL_CONTAINER_NAME)) == 1 &&
                count_named(inits, FL_SPAN(FL_GATE_NAME)) + count_named(apps, FL_SPAN(FL_GATE_NAME)) ==
                    (sidecar->native ? 0 : 1);
    for (const struct fl_json *item = fl_json_first(sidecar->volumes); item != NULL && result == 0;
         item = fl_json_next(item)) {
        struct fl_span name = fl_json_string(fl_json_get(item, "name"));
        result = check_part(webhook_list_find(volumes, "name", name, NULL), item, "the volumes", ret_missing);
        once = once && count_named(volumes, name) == 1;
    }
    if (!once)
        *ret_missing = "each container and volume once";
    if (!has_entries(webhook_pod_annotations(patched), plan->metadata.annotations, plan->metadata.annotation_count) ||
        !has_entries(webhook_pod_labels(patched), plan->metadata.labels, plan->metadata.label_count))
        *ret_missing = "the labels and annotations";
    return result;
}

int webhook_selfcheck(const struct fl_json *pod, const struct fl_json *patch, const struct webhook_plan *plan,
                      struct fl_json **ret_patched, struct fl_err *err)
{
    FL_CLEANUP(fl_cleanup_json) struct fl_json *patched = NULL;
    const char *missing = NULL, *foreign = NULL;
    struct fl_err cause = {0};
    int result = fl_patch_applied(pod, patch, &patched, &cause);
    if (result == 0)
        result = find_missing(patched, plan, &missing);
    if (result == 0)
        foreign = find_foreign_member(pod, patched, &plan->metadata);
    if (result == 0 && foreign == NULL)
        result = find_foreign_element(pod, patched, plan, &foreign);
    if (result == -ENOMEM)
        return fl_err_errno(err, result, "checking the patch");
    if (result < 0)
        return fl_err_set(err, -EBADMSG, "the patch does not apply: %s", cause.text);
    if (missing != NULL || foreign != NULL)
        return fl_err_set(err, -EBADMSG, "the patched pod is not as it should be: %s %s",
                          missing != NULL ? missing : foreign, missing != NULL ? "are not there" : "would change");
    if (ret_patched == NULL)
        return 0;
    struct fl_json *whole = fl_json_copy(patched); /* it shares with the pod and the patch */
    if (whole == NULL)
        return fl_err_errno(err, -ENOMEM, "checking the patch");
    *ret_patched = whole;
    return 0;
}
