#include "webhook/metadata.h"

#include "common/mesh/label.h"
#include "common/mesh/lists.h"
#include "webhook/pod.h"
#include "webhook/value.h"

#include <errno.h>

#define LIST_MAX (256u << 10) /* bytes; Kubernetes lets all annotations of an object have as many */

static void annotate(struct webhook_metadata *metadata, const char *key, struct fl_span value,
                     enum webhook_entry_how how)
{
    metadata->annotations[metadata->annotation_count++] = (struct webhook_entry){key, value, how};
}

/* Where there is something to keep, else it goes. */
static void annotate_text(struct webhook_metadata *metadata, const char *key, const struct fl_buf *text)
{
    annotate(metadata, key, fl_buf_span(text), text->len > 0 ? WEBHOOK_ENTRY_SET : WEBHOOK_ENTRY_REMOVE);
}

/* ---- The canonical service ---- */

static bool is_alphanumeric(char byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9');
}

/* As much of it as a label may hold; empty where a byte may not stand in one. */
static struct fl_span label_value(struct fl_span text)
{
    if (text.len > WEBHOOK_LABEL_VALUE_MAX)
        text.len = WEBHOOK_LABEL_VALUE_MAX;
    while (text.len > 0 && !is_alphanumeric(text.data[text.len - 1]))
        text.len--;
    while (text.len > 0 && !is_alphanumeric(text.data[0]))
        text = fl_span_from(text, 1);
    for (size_t i = 0; i < text.len; i++) {
        if (!is_alphanumeric(text.data[i]) && strchr("-_.", text.data[i]) == NULL)
            return FL_SPAN("");
    }
    return text;
}

static struct fl_span first_label(const struct fl_json *labels, const char *first, const char *second,
                                  struct fl_span otherwise)
{
    struct fl_span value = webhook_pod_value(labels, first);
    if (value.len == 0)
        value = webhook_pod_value(labels, second);
    return label_value(value.len > 0 ? value : otherwise);
}

static void add_labels(const struct fl_json *pod, struct fl_span workload, struct webhook_metadata *metadata)
{
    const struct fl_json *labels = webhook_pod_labels(pod);
    webhook_keep(metadata->service, sizeof(metadata->service),
                 first_label(labels, FL_LABEL_APP_NAME, FL_LABEL_APP, workload));
    const struct webhook_entry entries[] = {
        {FL_LABEL_CANONICAL_NAME, fl_span_str(metadata->service), WEBHOOK_ENTRY_DEFAULT},
        {FL_LABEL_CANONICAL_REVISION, first_label(labels, FL_LABEL_APP_VERSION, FL_LABEL_VERSION, FL_SPAN("latest")),
         WEBHOOK_ENTRY_DEFAULT},
    };
    for (size_t i = 0; i < FL_COUNT(entries); i++) {
        if (entries[i].value.len > 0)
            metadata->labels[metadata->label_count++] = entries[i];
    }
}

/* ---- Lists ---- */

static bool lists(struct fl_span list, struct fl_span name)
{
    struct fl_span part;
    while (fl_span_split(&list, ',', &part)) {
        if (fl_span_eq(fl_span_trim(part), name))
            return true;
    }
    return false;
}

/* The user's list, and behind it our volumes on the node that hold nothing worth keeping. */
static int add_volumes(const struct fl_json *pod, const struct webhook_sidecar *sidecar,
                       struct webhook_metadata *metadata)
{
    struct fl_span list = webhook_pod_value(webhook_pod_annotations(pod), WEBHOOK_SAFE_TO_EVICT);
    struct fl_buf *text = &metadata->volumes;
    int result = fl_buf_append(text, list);
    for (const struct fl_json *item = fl_json_first(sidecar->volumes); item != NULL && result == 0;
         item = fl_json_next(item)) {
        struct fl_span name = fl_json_string(fl_json_get(item, "name"));
        if (webhook_pod_member(item, "emptyDir") == NULL || lists(fl_buf_span(text), name))
            continue;
        if (fl_span_trim(fl_buf_span(text)).len > 0)
            result = fl_buf_append_byte(text, ',');
        if (result == 0)
            result = fl_buf_append(text, name);
    }
    annotate(metadata, WEBHOOK_SAFE_TO_EVICT, fl_buf_span(text), WEBHOOK_ENTRY_SET);
    return result;
}

/* The control plane sees the pod alone, not where its settings come from. */
static int add_opaque(const struct webhook_settings *settings, struct webhook_metadata *metadata)
{
    const struct fl_port_list *list = &settings->opaque_ports;
    if (settings->from[WEBHOOK_SET_OPAQUE_PORTS] == WEBHOOK_LEVEL_POD || (list->count == 0 && !list->all))
        return 0;
    int result = fl_ranges_print(list->all, list->ranges, list->count, &metadata->opaque);
    annotate(metadata, FL_ANNOTATION_OPAQUE_PORTS, fl_buf_span(&metadata->opaque), WEBHOOK_ENTRY_SET);
    return result;
}

/* ---- All ---- */

static struct fl_span first_app(const struct fl_json *pod)
{
    const struct fl_json *containers = webhook_pod_member(webhook_pod_member(pod, "spec"), "containers");
    for (const struct fl_json *item = fl_json_first(containers); item != NULL; item = fl_json_next(item)) {
        struct fl_span name = fl_json_string(fl_json_get(item, "name"));
        if (!fl_span_eq_str(name, FL_CONTAINER_NAME))
            return name;
    }
    return FL_SPAN("");
}

static void add_scrape(const struct webhook_scrape *scrape, struct webhook_metadata *metadata)
{
    annotate_text(metadata, FL_ANNOTATION_METRICS, &scrape->text);
    if (!scrape->set)
        return;
    annotate(metadata, WEBHOOK_SCRAPE, scrape->scrape, WEBHOOK_ENTRY_SET);
    annotate(metadata, WEBHOOK_SCRAPE_PORT, scrape->port, WEBHOOK_ENTRY_SET);
    annotate(metadata, WEBHOOK_SCRAPE_PATH, scrape->path, WEBHOOK_ENTRY_SET);
    if (scrape->set_scheme)
        annotate(metadata, WEBHOOK_SCRAPE_SCHEME, scrape->scheme, WEBHOOK_ENTRY_SET);
}

int webhook_metadata_make(const struct fl_json *pod, struct fl_span workload, const struct webhook_settings *settings,
                          const struct webhook_sidecar *sidecar, const struct webhook_probes *probes,
                          const struct webhook_scrape *scrape, struct webhook_metadata *ret_metadata)
{
    struct webhook_metadata *metadata = ret_metadata;
    *metadata = (struct webhook_metadata){.label_count = 0};
    fl_buf_init(&metadata->volumes, LIST_MAX);
    fl_buf_init(&metadata->opaque, LIST_MAX);
    struct fl_span app = first_app(pod);
    annotate(metadata, FL_ANNOTATION_CAPTURE, fl_buf_span(&sidecar->capture), WEBHOOK_ENTRY_SET);
    annotate(metadata, FL_ANNOTATION_STATUS, fl_buf_span(&sidecar->status), WEBHOOK_ENTRY_SET);
    annotate_text(metadata, FL_ANNOTATION_PROBES, &probes->text);
    add_scrape(scrape, metadata);
    if (app.len > 0) {
        annotate(metadata, WEBHOOK_DEFAULT_CONTAINER, app, WEBHOOK_ENTRY_DEFAULT);
        annotate(metadata, WEBHOOK_DEFAULT_LOGS_CONTAINER, app, WEBHOOK_ENTRY_DEFAULT);
    }
    add_labels(pod, workload, metadata);
    int result = add_volumes(pod, sidecar, metadata);
    if (result == 0)
        result = add_opaque(settings, metadata);
    if (result < 0)
        webhook_metadata_done(metadata);
    return result;
}

void webhook_metadata_set_status(struct webhook_metadata *metadata, struct fl_span status)
{
    for (size_t i = 0; i < metadata->annotation_count; i++) {
        if (strcmp(metadata->annotations[i].key, FL_ANNOTATION_STATUS) == 0)
            metadata->annotations[i].value = status;
    }
}

void webhook_metadata_done(struct webhook_metadata *metadata)
{
    fl_buf_done(&metadata->volumes);
    fl_buf_done(&metadata->opaque);
    *metadata = (struct webhook_metadata){.label_count = 0};
}

enum webhook_entry_step webhook_entry_step(const struct webhook_entry *entry, const struct fl_json *present)
{
    if (entry->how == WEBHOOK_ENTRY_REMOVE)
        return present != NULL ? WEBHOOK_ENTRY_DROP : WEBHOOK_ENTRY_STAYS;
    if (present == NULL)
        return WEBHOOK_ENTRY_WRITE;
    bool same = fl_json_is(present, FL_JSON_STRING) && fl_span_eq(fl_json_string(present), entry->value);
    return entry->how == WEBHOOK_ENTRY_DEFAULT || same ? WEBHOOK_ENTRY_STAYS : WEBHOOK_ENTRY_WRITE;
}
