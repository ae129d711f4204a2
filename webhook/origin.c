#include "webhook/origin.h"

#include "common/mesh/label.h"
#include "webhook/pod.h"
#include "webhook/status.h"

#include <errno.h>

const struct webhook_origin_key webhook_origin_labels[] = {
    {FL_LABEL_CANONICAL_NAME, NULL},
    {FL_LABEL_CANONICAL_REVISION, NULL},
    {NULL, NULL},
};

const struct webhook_origin_key webhook_origin_annotations[] = {
    {WEBHOOK_SCRAPE, WEBHOOK_SCRAPE_OURS},
    {WEBHOOK_SCRAPE_PORT, WEBHOOK_SCRAPE_PORT_OURS},
    {WEBHOOK_SCRAPE_PATH, WEBHOOK_SCRAPE_PATH_OURS},
    {WEBHOOK_SCRAPE_SCHEME, WEBHOOK_SCRAPE_SCHEME_OURS},
    {WEBHOOK_DEFAULT_CONTAINER, NULL},
    {WEBHOOK_DEFAULT_LOGS_CONTAINER, NULL},
    {WEBHOOK_SAFE_TO_EVICT, NULL},
    {FL_ANNOTATION_OPAQUE_PORTS, NULL},
    {NULL, NULL},
};

/* The origin of one label or annotation; both empty (data == NULL): it is the user's as it is. */
struct origin {
    struct fl_span added, replaced;
};

static struct fl_span span_of(const struct fl_json *text)
{
    return text == NULL ? (struct fl_span){NULL, 0} : fl_json_string(text);
}

static struct origin find_origin(const struct webhook_origin_key *row, const struct webhook_entry *entry,
                                 const struct fl_json *present, struct fl_span added, struct fl_span replaced)
{
    struct fl_span now = span_of(present);
    bool writes = entry != NULL && webhook_entry_step(entry, present) == WEBHOOK_ENTRY_WRITE;
    if (present == NULL)
        return (struct origin){.added = writes ? entry->value : (struct fl_span){NULL, 0}};
    if (!writes)
        return (struct origin){added, replaced};
    if (added.data != NULL && fl_span_eq(now, added))
        return (struct origin){.added = entry->value};
    if (row->ours == NULL || fl_span_eq_str(now, row->ours) || now.len > WEBHOOK_ORIGIN_VALUE_MAX)
        return (struct origin){.added = {NULL, 0}}; /* added to, turned back, or absurd */
    return (struct origin){.replaced = now};
}

static const struct webhook_entry *find_entry(const struct webhook_entry *entries, size_t count, const char *key)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(entries[i].key, key) == 0)
            return &entries[i];
    }
    return NULL;
}

struct pen {
    struct fl_json *status;
    const struct fl_json *old; /* NULL: there was none */
    const struct fl_json *pod;
};

static int set_text(struct fl_json *object, const char *name, struct fl_span text)
{
    return fl_json_set(object, name, fl_json_new_string(text));
}

/* Sets parent[name] where `value` (taken over) holds anything. */
static int set_filled(struct fl_json *parent, const char *name, struct fl_json *value)
{
    if (value != NULL && fl_json_count(value) == 0) {
        fl_json_free(value);
        return 0;
    }
    return fl_json_set(parent, name, value);
}

static int note_map(const struct pen *pen, const char *map, const struct webhook_origin_key *rows,
                    const struct webhook_entry *entries, size_t count, struct fl_json *added, struct fl_json *replaced)
{
    const struct fl_json *present = webhook_pod_member(webhook_pod_member(pen->pod, "metadata"), map);
    int result = 0;
    for (const struct webhook_origin_key *row = rows; row->key != NULL && result == 0; row++) {
        struct origin origin = find_origin(row, find_entry(entries, count, row->key), fl_json_get(present, row->key),
                                           span_of(webhook_status_added(pen->old, map, row->key)),
                                           span_of(webhook_status_replaced(pen->old, row->key)));
        if (origin.added.data != NULL)
            result = set_text(added, row->key, origin.added);
        else if (origin.replaced.data != NULL)
            result = set_text(replaced, row->key, origin.replaced);
    }
    return result;
}

static int note_metadata(const struct pen *pen, const struct webhook_metadata *metadata)
{
    FL_CLEANUP(fl_cleanup_json) struct fl_json *added = fl_json_new_object();
    FL_CLEANUP(fl_cleanup_json) struct fl_json *labels = fl_json_new_object();
    FL_CLEANUP(fl_cleanup_json) struct fl_json *annotations = fl_json_new_object();
    FL_CLEANUP(fl_cleanup_json) struct fl_json *replaced = fl_json_new_object();
    if (added == NULL || labels == NULL || annotations == NULL || replaced == NULL)
        return -ENOMEM;
    int result =
        note_map(pen, "labels", webhook_origin_labels, metadata->labels, metadata->label_count, labels, replaced);
    if (result == 0)
        result = note_map(pen, "annotations", webhook_origin_annotations, metadata->annotations,
                          metadata->annotation_count, annotations, replaced);
    if (result == 0)
        result = set_filled(added, "labels", fl_take(labels));
    if (result == 0)
        result = set_filled(added, "annotations", fl_take(annotations));
    if (result == 0)
        result = set_filled(pen->status, "added", fl_take(added));
    return result < 0 ? result : set_filled(pen->status, "replaced", fl_take(replaced));
}

/* The proxy's own, and those of fairlead.io/proxy-volumes that the pod did not have itself. */
static int note_volumes(const struct pen *pen, const struct webhook_sidecar *sidecar)
{
    const struct fl_json *present = webhook_pod_member(webhook_pod_member(pen->pod, "spec"), "volumes");
    FL_CLEANUP(fl_cleanup_json) struct fl_json *list = fl_json_new_array();
    int result = list == NULL ? -ENOMEM : 0;
    for (const struct fl_json *item = fl_json_first(sidecar->volumes); item != NULL && result == 0;
         item = fl_json_next(item)) {
        struct fl_span name = fl_json_string(fl_json_get(item, "name"));
        bool own = fl_span_eq_str(name, FL_VOLUME_NAME) || fl_span_eq_str(name, FL_TOKEN_VOLUME);
        if (own || webhook_status_lists(pen->old, name) || webhook_list_find(present, "name", name, NULL) == NULL)
            result = fl_json_append(list, fl_json_new_string(name));
    }
    return result < 0 ? result : fl_json_set(pen->status, "volumes", fl_take(list));
}

/* null, [] and {} where we put something: what is not there any more was so, if the status says it. */
static int note_empty(const struct pen *pen)
{
    static const struct {
        const char *parent, *name;
    } places[] = {{"metadata", "labels"}, {"metadata", "annotations"}, {"spec", "initContainers"},
                  {"spec", "containers"}, {"spec", "volumes"},         {NULL, "metadata"}};
    FL_CLEANUP(fl_cleanup_json) struct fl_json *empty = fl_json_new_object();
    int result = empty == NULL ? -ENOMEM : 0;
    for (size_t i = 0; i < FL_COUNT(places) && result == 0; i++) {
        const struct fl_json *parent = places[i].parent == NULL ? pen->pod : fl_json_get(pen->pod, places[i].parent);
        const struct fl_json *value = fl_json_get(parent, places[i].name);
        if (value == NULL || fl_json_count(value) > 0)
            value = fl_json_get(fl_json_get(pen->old, "empty"), places[i].name);
        if (value != NULL && fl_json_count(value) == 0)
            result = fl_json_set(empty, places[i].name, fl_json_copy(value));
    }
    return result < 0 ? result : set_filled(pen->status, "empty", fl_take(empty));
}

static int note(const struct pen *pen, const struct webhook_config *config, const struct webhook_probes *probes,
                const struct webhook_sidecar *sidecar, const struct webhook_metadata *metadata)
{
    int result = fl_json_set(pen->status, "version", fl_json_new_int(WEBHOOK_STATUS_VERSION));
    if (result == 0)
        result = set_text(pen->status, "program", FL_SPAN(FL_VERSION));
    if (result == 0)
        result = set_text(pen->status, "revision", config->revision);
    if (result == 0)
        result = set_text(pen->status, "container", FL_SPAN(FL_CONTAINER_NAME));
    if (result == 0)
        result = note_volumes(pen, sidecar);
    if (result == 0)
        result = note_metadata(pen, metadata);
    if (result == 0 && fl_json_count(probes->spelled) > 0)
        result = fl_json_set(pen->status, "handlers", fl_json_copy(probes->spelled));
    return result < 0 ? result : note_empty(pen);
}

/* Without what makes it too long: a probe then comes back as fairlead.io/probes has it. */
static int print_short(struct fl_json *status, struct fl_buf *out)
{
    static const char *const members[] = {"handlers", "replaced"};
    int result = fl_json_print(status, out);
    for (size_t i = 0; i < FL_COUNT(members) && result == -EMSGSIZE; i++) {
        fl_json_free(fl_json_detach(status, fl_span_str(members[i])));
        result = fl_json_print(status, out);
    }
    return result;
}

int webhook_origin_note(const struct webhook_config *config, const struct fl_json *pod,
                        const struct webhook_probes *probes, struct webhook_sidecar *sidecar,
                        struct webhook_metadata *metadata)
{
    FL_CLEANUP(fl_cleanup_json) struct fl_json *status = fl_json_new_object();
    FL_CLEANUP(fl_cleanup_json) struct fl_json *old = NULL;
    if (status == NULL || webhook_status_read(pod, &old) < 0)
        return -ENOMEM;
    const struct pen pen = {status, old, pod};
    fl_buf_clear(&sidecar->status);
    int result = note(&pen, config, probes, sidecar, metadata);
    if (result == 0)
        result = print_short(status, &sidecar->status);
    if (result == 0)
        webhook_metadata_set_status(metadata, fl_buf_span(&sidecar->status));
    return result;
}
