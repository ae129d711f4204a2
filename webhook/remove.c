#include "webhook/remove.h"

#include "common/mesh/label.h"
#include "webhook/origin.h"
#include "webhook/pod.h"
#include "webhook/status.h"

#include <errno.h>

static const char *const lists[] = {"initContainers", "containers"};

struct removal {
    struct fl_json *pod;
    const struct fl_json *status; /* NULL: lost */
    struct fl_json *volumes;      /* owned: the names of ours */
    struct fl_err *err;
};

static struct fl_json *map_of(const struct fl_json *pod, const char *name)
{
    return fl_json_get(fl_json_get(pod, "metadata"), name);
}

static struct fl_json *list_of(const struct fl_json *pod, const char *name)
{
    return fl_json_get(fl_json_get(pod, "spec"), name);
}

static void drop(struct fl_json *object, const char *name)
{
    fl_json_free(fl_json_detach(object, fl_span_str(name)));
}

static bool is_sidecar(const struct fl_json *container)
{
    return fl_span_eq_str(fl_json_string(fl_json_get(container, "name")), FL_CONTAINER_NAME);
}

/* ---- Was it injected? ---- */

/* By what no other container does: it reads the capture annotation into our variable. */
static bool reads_capture(const struct fl_json *container)
{
    static const char path[] = "metadata.annotations['" FL_ANNOTATION_CAPTURE "']";
    const struct fl_json *variable =
        webhook_list_find(fl_json_get(container, "env"), "name", FL_SPAN(FL_ENV_CAPTURE), NULL);
    const struct fl_json *field = fl_json_get(fl_json_get(variable, "valueFrom"), "fieldRef");
    return fl_span_eq_str(fl_json_string(fl_json_get(field, "fieldPath")), path);
}

static bool has_sidecar(const struct fl_json *pod)
{
    for (size_t i = 0; i < FL_COUNT(lists); i++) {
        const struct fl_json *list = list_of(pod, lists[i]);
        for (const struct fl_json *item = fl_json_first(list); item != NULL; item = fl_json_next(item)) {
            if (is_sidecar(item) && reads_capture(item))
                return true;
        }
    }
    return false;
}

/* ---- The app's handlers ---- */

static int restore_handlers(const struct removal *removal)
{
    static const struct fl_capture nothing = {.uid = 0};
    struct webhook_warnings unused = {.count = 0};
    struct webhook_probes probes;
    int result = webhook_probes_plan(removal->pod, false, &nothing, &probes, &unused, removal->err);
    if (result < 0)
        return result;
    for (size_t i = 0; i < FL_COUNT(lists) && result == 0; i++) {
        size_t index = 0;
        for (struct fl_json *item = fl_json_first(list_of(removal->pod, lists[i])); item != NULL && result == 0;
             item = fl_json_next(item))
            result = webhook_probes_apply(&probes, lists[i], index++, item);
    }
    webhook_probes_done(&probes);
    return result;
}

/* ---- Container and volumes ---- */

static void remove_containers(const struct removal *removal)
{
    for (size_t i = 0; i < FL_COUNT(lists); i++) {
        struct fl_json *list = list_of(removal->pod, lists[i]);
        for (size_t j = fl_json_count(list); j-- > 0;) {
            if (webhook_pod_is_our_name(fl_json_at(list, j)))
                fl_json_free(fl_json_detach_at(list, j));
        }
    }
}

static bool is_mounted(const struct fl_json *pod, struct fl_span volume)
{
    static const char *const members[] = {"volumeMounts", "volumeDevices"};
    for (size_t i = 0; webhook_container_lists[i] != NULL; i++) {
        const struct fl_json *list = list_of(pod, webhook_container_lists[i]);
        for (const struct fl_json *item = fl_json_first(list); item != NULL; item = fl_json_next(item)) {
            for (size_t j = 0; j < FL_COUNT(members); j++) {
                if (webhook_list_find(fl_json_get(item, members[j]), "name", volume, NULL) != NULL)
                    return true;
            }
        }
    }
    return false;
}

/* One that the status lists was not there before, even where an app counts on it. */
static bool is_our_volume(const struct removal *removal, struct fl_span name)
{
    bool own = fl_span_eq_str(name, FL_VOLUME_NAME) || fl_span_eq_str(name, FL_TOKEN_VOLUME);
    return removal->status != NULL ? webhook_status_lists(removal->status, name)
                                   : own && !is_mounted(removal->pod, name);
}

static int remove_volumes(struct removal *removal)
{
    struct fl_json *list = list_of(removal->pod, "volumes");
    for (size_t i = fl_json_count(list); i-- > 0;) {
        const struct fl_json *name = fl_json_get(fl_json_at(list, i), "name");
        if (!is_our_volume(removal, fl_json_string(name)))
            continue;
        if (fl_json_append(removal->volumes, fl_json_copy(name)) < 0)
            return -ENOMEM;
        fl_json_free(fl_json_detach_at(list, i));
    }
    return 0;
}

/* ---- Labels and annotations ---- */

static bool is_text(const struct fl_json *value, struct fl_span text)
{
    return fl_json_is(value, FL_JSON_STRING) && fl_span_eq(fl_json_string(value), text);
}

static int restore_map(const struct removal *removal, const char *name, const struct webhook_origin_key *rows)
{
    struct fl_json *map = map_of(removal->pod, name);
    int result = 0;
    for (const struct webhook_origin_key *row = rows; row->key != NULL && result == 0; row++) {
        const struct fl_json *present = fl_json_get(map, row->key);
        const struct fl_json *added = webhook_status_added(removal->status, name, row->key);
        const struct fl_json *replaced = webhook_status_replaced(removal->status, row->key);
        if (present == NULL)
            continue;
        if (added != NULL && is_text(present, fl_json_string(added)))
            drop(map, row->key);
        else if (row->ours != NULL && replaced != NULL && is_text(present, fl_span_str(row->ours)))
            result = fl_json_set(map, row->key, fl_json_copy(replaced));
    }
    return result;
}

/* Where the status was lost: the app's own metrics as fairlead.io/metrics has them. */
static int restore_metrics(const struct removal *removal)
{
    struct webhook_warnings unused = {.count = 0};
    struct webhook_scrape scrape;
    struct fl_json *annotations = map_of(removal->pod, "annotations");
    if (removal->status != NULL)
        return 0;
    int result = webhook_scrape_plan(removal->pod, false, &scrape, &unused);
    if (result == 0 && scrape.set) {
        result = fl_json_set(annotations, WEBHOOK_SCRAPE_PORT, fl_json_new_string(scrape.port));
        if (result == 0)
            result = fl_json_set(annotations, WEBHOOK_SCRAPE_PATH, fl_json_new_string(scrape.path));
        if (result == 0 && scrape.set_scheme)
            result = fl_json_set(annotations, WEBHOOK_SCRAPE_SCHEME, fl_json_new_string(scrape.scheme));
    }
    if (result == 0)
        webhook_scrape_done(&scrape);
    return result;
}

/* Ours out of the list; what others wrote stays byte by byte. */
static int print_others(const struct removal *removal, struct fl_span list, struct fl_buf *out)
{
    struct fl_span part;
    bool first = true;
    int result = 0;
    while (result == 0 && fl_span_split(&list, ',', &part)) {
        struct fl_span name = fl_span_trim(part);
        bool ours = false;
        for (const struct fl_json *item = fl_json_first(removal->volumes); item != NULL; item = fl_json_next(item))
            ours = ours || fl_span_eq(fl_json_string(item), name);
        if (ours)
            continue;
        if (!first)
            result = fl_buf_append_byte(out, ',');
        if (result == 0)
            result = fl_buf_append(out, part);
        first = false;
    }
    return result;
}

static int restore_evictable(const struct removal *removal)
{
    struct fl_json *annotations = map_of(removal->pod, "annotations");
    const struct fl_json *present = fl_json_get(annotations, WEBHOOK_SAFE_TO_EVICT);
    struct fl_buf text;
    if (!fl_json_is(present, FL_JSON_STRING))
        return 0;
    fl_buf_init(&text, fl_json_string(present).len + 1);
    int result = print_others(removal, fl_json_string(present), &text);
    if (result == 0)
        result = fl_json_set(annotations, WEBHOOK_SAFE_TO_EVICT, fl_json_new_string(fl_buf_span(&text)));
    fl_buf_done(&text);
    return result;
}

static int restore_metadata(const struct removal *removal)
{
    static const char *const own[] = {FL_ANNOTATION_CAPTURE, FL_ANNOTATION_STATUS, FL_ANNOTATION_PROBES,
                                      FL_ANNOTATION_METRICS};
    int result = restore_map(removal, "labels", webhook_origin_labels);
    if (result == 0)
        result = restore_map(removal, "annotations", webhook_origin_annotations);
    if (result == 0)
        result = restore_metrics(removal);
    if (result == 0)
        result = restore_evictable(removal);
    for (size_t i = 0; i < FL_COUNT(own) && result == 0; i++)
        drop(map_of(removal->pod, "annotations"), own[i]);
    return result;
}

/* ---- What is empty now ---- */

/* parent[name], which was not empty before, goes where it is now, or is empty in the way it was. */
static int tidy(const struct removal *removal, struct fl_json *parent, const char *name, bool filled)
{
    const struct fl_json *value = fl_json_get(parent, name);
    const struct fl_json *before = fl_json_get(fl_json_get(removal->status, "empty"), name);
    if (!filled || value == NULL || fl_json_count(value) > 0)
        return 0;
    if (before != NULL && fl_json_count(before) == 0 &&
        (fl_json_is(before, FL_JSON_NULL) || fl_json_kind(before) == fl_json_kind(value)))
        return fl_json_set(parent, name, fl_json_copy(before));
    drop(parent, name);
    return 0;
}

struct place {
    const char *parent, *name;
    bool filled; /* before we began */
};

static int take_out(struct removal *removal)
{
    struct place places[] = {{"spec", "initContainers", false},  {"spec", "containers", false},
                             {"spec", "volumes", false},         {"metadata", "labels", false},
                             {"metadata", "annotations", false}, {NULL, "metadata", false}};
    for (size_t i = 0; i < FL_COUNT(places); i++) {
        struct fl_json *parent = places[i].parent != NULL ? fl_json_get(removal->pod, places[i].parent) : removal->pod;
        places[i].filled = fl_json_count(fl_json_get(parent, places[i].name)) > 0;
    }
    int result = restore_handlers(removal);
    if (result < 0)
        return result;
    remove_containers(removal);
    result = remove_volumes(removal);
    if (result == 0)
        result = restore_metadata(removal);
    for (size_t i = 0; i < FL_COUNT(places) && result == 0; i++) {
        struct fl_json *parent = places[i].parent != NULL ? fl_json_get(removal->pod, places[i].parent) : removal->pod;
        result = tidy(removal, parent, places[i].name, places[i].filled);
    }
    return result;
}

int webhook_remove(struct fl_json *pod, bool *ret_removed, struct fl_err *err)
{
    FL_CLEANUP(fl_cleanup_json) struct fl_json *status = NULL;
    FL_CLEANUP(fl_cleanup_json) struct fl_json *volumes = NULL;
    *ret_removed = false;
    int result = webhook_status_read(pod, &status);
    if (result < 0)
        return fl_err_errno(err, result, "the status");
    if (status == NULL && !has_sidecar(pod))
        return 0;
    result = webhook_pod_check(pod, err);
    if (result < 0)
        return result;
    volumes = fl_json_new_array();
    struct removal removal = {pod, status, volumes, err};
    result = volumes == NULL ? -ENOMEM : take_out(&removal);
    if (result == 0)
        *ret_removed = true;
    return result == -ENOMEM ? fl_err_errno(err, result, "taking the sidecar out") : result;
}
