#include "control/source/trim.h"

#include "common/doc/json.h"
#include "common/mesh/label.h"

/* A document in the making: the first failure stays, and everything after it does nothing. */
struct trimming {
    bool failed;
};

static void set(struct trimming *trimming, struct fl_json *object, struct fl_span name, struct fl_json *value)
{
    if (object == NULL)
        fl_json_free(value);
    if (object == NULL || fl_json_add(object, name, value) < 0)
        trimming->failed = true;
}

static struct fl_json *make(struct trimming *trimming, struct fl_json *made)
{
    trimming->failed |= made == NULL;
    return made;
}

static bool is_one_of(struct fl_span name, const char *const *names)
{
    for (; *names != NULL; names++)
        if (fl_span_eq_str(name, *names))
            return true;
    return false;
}

/* The members of these names; what is no object stays as it is, for the reader to refuse. */
static struct fl_json *pick(struct trimming *trimming, const struct fl_json *from, const char *const *names)
{
    if (!fl_json_is(from, FL_JSON_OBJECT))
        return make(trimming, fl_json_share(from));
    struct fl_json *picked = make(trimming, fl_json_new_object());
    for (const struct fl_json *member = fl_json_first(from); member != NULL; member = fl_json_next(member))
        if (is_one_of(fl_json_name(member), names))
            set(trimming, picked, fl_json_name(member), fl_json_share(member));
    return picked;
}

/* -- metadata ------------------------------------------------------------------------------------------------------ */

/* Others' annotations are none of ours, and some change with every heartbeat. */
static bool is_read(struct fl_span name)
{
    static const char *const unread[] = {FL_ANNOTATION_CAPTURE, FL_ANNOTATION_PROBES, FL_ANNOTATION_METRICS, NULL};
    struct fl_span domain = fl_span_make(name.data, fl_span_find(name, '/'));
    return (fl_span_ends_with(domain, FL_SPAN("fairlead.io")) || fl_span_ends_with(domain, FL_SPAN("istio.io"))) &&
           !is_one_of(name, unread);
}

/* NULL where none is left: an object that gets one of others' is the same as before. */
static struct fl_json *trim_annotations(struct trimming *trimming, const struct fl_json *from)
{
    if (!fl_json_is(from, FL_JSON_OBJECT))
        return make(trimming, fl_json_share(from));
    struct fl_json *kept = make(trimming, fl_json_new_object());
    for (const struct fl_json *member = fl_json_first(from); member != NULL; member = fl_json_next(member)) {
        bool status = fl_span_eq_str(fl_json_name(member), FL_ANNOTATION_STATUS); /* that it is there is all */
        if (is_read(fl_json_name(member)))
            set(trimming, kept, fl_json_name(member), status ? fl_json_new_string(FL_SPAN("")) : fl_json_share(member));
    }
    return fl_json_count(kept) > 0 ? kept : fl_json_free(kept);
}

static struct fl_json *trim_metadata(struct trimming *trimming, const struct fl_json *from, bool generation)
{
    static const char *const names[] = {"name",   "namespace",       "uid", "creationTimestamp",
                                        "labels", "ownerReferences", NULL};
    struct fl_json *metadata = pick(trimming, from, names);
    if (!fl_json_is(from, FL_JSON_OBJECT))
        return metadata;
    const struct fl_json *annotations = fl_json_get(from, "annotations"), *number = fl_json_get(from, "generation");
    struct fl_json *kept = annotations != NULL ? trim_annotations(trimming, annotations) : NULL;
    if (kept != NULL)
        set(trimming, metadata, FL_SPAN("annotations"), kept);
    if (generation && number != NULL)
        set(trimming, metadata, FL_SPAN("generation"), fl_json_share(number));
    return metadata;
}

/* -- Pods ---------------------------------------------------------------------------------------------------------- */

static struct fl_json *trim_containers(struct trimming *trimming, const struct fl_json *from)
{
    static const char *const names[] = {"name", "ports", NULL};
    if (!fl_json_is(from, FL_JSON_ARRAY))
        return make(trimming, fl_json_share(from));
    struct fl_json *list = make(trimming, fl_json_new_array());
    for (const struct fl_json *item = fl_json_first(from); item != NULL; item = fl_json_next(item)) {
        struct fl_json *container = pick(trimming, item, names);
        if (list == NULL)
            fl_json_free(container);
        else if (fl_json_append(list, container) < 0)
            trimming->failed = true;
    }
    return list;
}

static struct fl_json *trim_pod_spec(struct trimming *trimming, const struct fl_json *from)
{
    static const char *const names[] = {"serviceAccountName", "nodeName", "hostNetwork", NULL};
    static const char *const lists[] = {"containers", "initContainers"};
    struct fl_json *spec = pick(trimming, from, names);
    for (size_t i = 0; i < FL_COUNT(lists); i++) {
        const struct fl_json *list = fl_json_get(from, lists[i]);
        if (list != NULL)
            set(trimming, spec, fl_span_str(lists[i]), trim_containers(trimming, list));
    }
    return spec;
}

static struct fl_json *trim_conditions(struct trimming *trimming, const struct fl_json *from)
{
    static const char *const names[] = {"type", "status", NULL};
    if (!fl_json_is(from, FL_JSON_ARRAY))
        return make(trimming, fl_json_share(from));
    struct fl_json *list = make(trimming, fl_json_new_array());
    for (const struct fl_json *item = fl_json_first(from); item != NULL; item = fl_json_next(item)) {
        if (list == NULL || !fl_span_eq_str(fl_json_string(fl_json_get(item, "type")), "Ready"))
            continue;
        if (fl_json_append(list, pick(trimming, item, names)) < 0)
            trimming->failed = true;
    }
    return list;
}

static struct fl_json *trim_pod_status(struct trimming *trimming, const struct fl_json *from)
{
    static const char *const names[] = {"phase", "podIP", "podIPs", NULL};
    struct fl_json *status = pick(trimming, from, names);
    const struct fl_json *conditions = fl_json_get(from, "conditions");
    if (conditions != NULL)
        set(trimming, status, FL_SPAN("conditions"), trim_conditions(trimming, conditions));
    return status;
}

/* -- documents ----------------------------------------------------------------------------------------------------- */

typedef struct fl_json *trim_fn(struct trimming *trimming, const struct fl_json *from);

static struct fl_json *trim_nothing(struct trimming *trimming, const struct fl_json *from)
{
    return make(trimming, fl_json_share(from));
}

static struct fl_json *trim_data(struct trimming *trimming, const struct fl_json *from)
{
    static const char *const names[] = {"tls.crt", "tls.key", NULL};
    return pick(trimming, from, names);
}

/* Where a load balancer serves it: what the status of Gateways tells. */
static struct fl_json *trim_balancer(struct trimming *trimming, const struct fl_json *from)
{
    static const char *const names[] = {"loadBalancer", NULL};
    return pick(trimming, from, names);
}

struct member {
    const char *name;
    trim_fn *trim;
};

static const struct member *members_of(enum control_kind kind)
{
    static const struct member none[] = {{0}}, spec[] = {{"spec", trim_nothing}, {0}};
    static const struct member pod[] = {{"spec", trim_pod_spec}, {"status", trim_pod_status}, {0}};
    static const struct member slice[] = {
        {"addressType", trim_nothing}, {"endpoints", trim_nothing}, {"ports", trim_nothing}, {0}};
    static const struct member service[] = {{"spec", trim_nothing}, {"status", trim_balancer}, {0}};
    static const struct member secret[] = {{"type", trim_nothing}, {"data", trim_data}, {0}};
    switch ((int)kind) {
    case CONTROL_NAMESPACE:
    case CONTROL_SERVICE_ACCOUNT:
        return none;
    case CONTROL_POD:
        return pod;
    case CONTROL_ENDPOINT_SLICE:
        return slice;
    case CONTROL_SERVICE:
        return service;
    case CONTROL_SECRET:
        return secret;
    default:
        return spec;
    }
}

struct fl_json *control_trim(enum control_kind kind, const char *api_version, const struct fl_json *object)
{
    struct trimming trimming = {false};
    bool core = control_kind_group(kind)[0] == '\0' || kind == CONTROL_ENDPOINT_SLICE;
    struct fl_json *document = make(&trimming, fl_json_new_object());
    const struct fl_json *metadata = fl_json_get(object, "metadata");
    set(&trimming, document, FL_SPAN("apiVersion"), fl_json_new_string(fl_span_str(api_version)));
    set(&trimming, document, FL_SPAN("kind"), fl_json_new_string(fl_span_str(control_kind_name(kind))));
    if (metadata != NULL)
        set(&trimming, document, FL_SPAN("metadata"), trim_metadata(&trimming, metadata, !core));
    for (const struct member *member = members_of(kind); member->name != NULL; member++) {
        const struct fl_json *value = fl_json_get(object, member->name);
        if (value != NULL)
            set(&trimming, document, fl_span_str(member->name), member->trim(&trimming, value));
    }
    return trimming.failed ? fl_json_free(document) : document;
}
