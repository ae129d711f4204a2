/* The node: who we are, for peers (the preface) and for metric labels. */
#include "proxy/config/context.h"

#include "common/mesh/label.h"

#include <stdlib.h>

static const char *text_of(const pb_struct *object, const char *name)
{
    for (size_t i = 0; object != NULL && i < object->n_fields; i++)
        if (strcmp(object->fields[i]->key, name) == 0)
            return object->fields[i]->value != NULL &&
                           object->fields[i]->value->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE
                       ? object->fields[i]->value->string_value
                       : NULL;
    return NULL;
}

static const pb_struct *labels_of(const pb_struct *metadata)
{
    for (size_t i = 0; metadata != NULL && i < metadata->n_fields; i++)
        if (strcmp(metadata->fields[i]->key, "LABELS") == 0 && metadata->fields[i]->value != NULL &&
            metadata->fields[i]->value->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_STRUCT_VALUE)
            return metadata->fields[i]->value->struct_value;
    return NULL;
}

/* The first of the names that is there and not empty; NULL where none is. `names` ends with NULL. */
static const char *first_of(const pb_struct *labels, const char *const *names)
{
    for (; *names != NULL; names++) {
        const char *text = text_of(labels, *names);
        if (text != NULL && text[0] != '\0')
            return text;
    }
    return NULL;
}

#define FIRST_OF(labels, ...) first_of(labels, (const char *const[]){__VA_ARGS__, NULL})

static int set_field(struct compile *compile, struct proxy_node *node, enum fl_preface_field field, const char *text)
{
    return text != NULL ? compile_text(compile, text, &node->preface.fields[field]) : 0;
}

/* Canonical service and revision by Istio's rules: their own labels, then the recommended ones, then app and version,
 * then the workload's name and "latest". */
static int read_metadata(struct compile *compile, const pb_struct *metadata, struct proxy_node *node)
{
    const pb_struct *labels = labels_of(metadata);
    const char *workload = text_of(metadata, "WORKLOAD_NAME");
    const char *service = FIRST_OF(labels, FL_LABEL_CANONICAL_NAME, FL_LABEL_APP_NAME, FL_LABEL_APP);
    const char *revision = FIRST_OF(labels, FL_LABEL_CANONICAL_REVISION, FL_LABEL_APP_VERSION, FL_LABEL_VERSION);
    const struct {
        enum fl_preface_field field;
        const char *text;
    } rows[] = {
        {FL_PREFACE_WORKLOAD, workload},
        {FL_PREFACE_NAMESPACE, text_of(metadata, "NAMESPACE")},
        {FL_PREFACE_APP, FIRST_OF(labels, FL_LABEL_APP, FL_LABEL_APP_NAME)},
        {FL_PREFACE_VERSION, FIRST_OF(labels, FL_LABEL_VERSION, FL_LABEL_APP_VERSION)},
        {FL_PREFACE_CLUSTER, text_of(metadata, "CLUSTER_ID")},
        {FL_PREFACE_CANONICAL_SERVICE, service != NULL ? service : workload},
        {FL_PREFACE_CANONICAL_REVISION, revision != NULL ? revision : "latest"},
    };
    int result = 0;
    for (size_t i = 0; i < FL_COUNT(rows) && result == 0; i++)
        result = set_field(compile, node, rows[i].field, rows[i].text);
    const char *account = text_of(metadata, "SERVICE_ACCOUNT");
    if (result == 0 && account != NULL)
        result = compile_text(compile, account, &node->service_account);
    const char *discovery = text_of(metadata, FL_NODE_DISCOVERY);
    node->on_demand = discovery != NULL && strcmp(discovery, FL_NODE_DISCOVERY_ON_DEMAND) == 0;
    return result;
}

int compile_node(struct compile *compile, const Envoy__Config__Core__V3__Node *message, struct proxy_node *node)
{
    *node = (struct proxy_node){.id = FL_SPAN(""), .cluster = FL_SPAN("")};
    int result = 0;
    if (message != NULL) {
        result = compile_text(compile, message->id, &node->id);
        if (result == 0)
            result = compile_text(compile, message->cluster, &node->cluster);
        if (result == 0)
            result = read_metadata(compile, message->metadata, node);
    }
    node->in_mesh = getenv(FL_ENV_CAPTURE) != NULL || fl_span_starts_with(node->id, FL_SPAN("sidecar~")) ||
                    fl_span_starts_with(node->id, FL_SPAN("router~"));
    return result;
}
