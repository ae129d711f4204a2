#include "webhook/pod.h"

#include "common/doc/table.h"
#include "common/mesh/label.h"
#include "webhook/limit.h"

#include <errno.h>

const char *const webhook_container_lists[] = {"initContainers", "containers", "ephemeralContainers", NULL};

const struct fl_json *webhook_pod_member(const struct fl_json *object, const char *name)
{
    const struct fl_json *member = fl_json_get(object, name);
    return fl_json_is(member, FL_JSON_NULL) ? NULL : member;
}

const struct fl_json *webhook_pod_labels(const struct fl_json *pod)
{
    return webhook_pod_member(webhook_pod_member(pod, "metadata"), "labels");
}

const struct fl_json *webhook_pod_annotations(const struct fl_json *pod)
{
    return webhook_pod_member(webhook_pod_member(pod, "metadata"), "annotations");
}

struct fl_span webhook_pod_value(const struct fl_json *map, const char *key)
{
    const struct fl_json *value = fl_json_get(map, key);
    return fl_json_is(value, FL_JSON_STRING) ? fl_json_string(value) : (struct fl_span){NULL, 0};
}

bool webhook_pod_is_our_name(const struct fl_json *container)
{
    struct fl_span name = fl_json_string(fl_json_get(container, "name"));
    return fl_span_eq_str(name, FL_CONTAINER_NAME) || fl_span_eq_str(name, FL_GATE_NAME);
}

const struct fl_json *webhook_list_find(const struct fl_json *list, const char *key, struct fl_span name,
                                        size_t *ret_index)
{
    size_t index = 0;
    for (const struct fl_json *item = fl_json_first(list); item != NULL; item = fl_json_next(item), index++) {
        const struct fl_json *value = fl_json_get(item, key);
        if (fl_json_is(value, FL_JSON_STRING) && fl_span_eq(fl_json_string(value), name)) {
            if (ret_index != NULL)
                *ret_index = index;
            return item;
        }
    }
    return NULL;
}

static int expect(struct fl_reader *reader, const struct fl_json *object, const char *name, enum fl_json_kind kind)
{
    const struct fl_json *member = webhook_pod_member(object, name);
    if (member == NULL || fl_json_is(member, kind))
        return 0;
    size_t mark = fl_reader_enter(reader, fl_span_str(name));
    int result = fl_reader_fail(reader, member, "expected %s, got %s", fl_json_kind_name(kind),
                                fl_json_kind_name(fl_json_kind(member)));
    fl_reader_leave(reader, mark);
    return result;
}

static int check_strings(struct fl_reader *reader, const struct fl_json *object, const char *name)
{
    int result = expect(reader, object, name, FL_JSON_OBJECT);
    const struct fl_json *map = webhook_pod_member(object, name);
    size_t mark = fl_reader_enter(reader, fl_span_str(name));
    for (const struct fl_json *item = fl_json_first(map); item != NULL && result == 0; item = fl_json_next(item)) {
        if (fl_json_is(item, FL_JSON_STRING))
            continue;
        size_t inner = fl_reader_enter(reader, fl_json_name(item));
        result = fl_reader_fail(reader, item, "expected a string, got %s", fl_json_kind_name(fl_json_kind(item)));
        fl_reader_leave(reader, inner);
    }
    fl_reader_leave(reader, mark);
    return result;
}

/* Each element of object[name] is an object with a string `key`, and passes `each`. */
static int check_list(struct fl_reader *reader, const struct fl_json *object, const char *name, const char *key,
                      int (*each)(struct fl_reader *reader, const struct fl_json *item))
{
    int result = expect(reader, object, name, FL_JSON_ARRAY);
    const struct fl_json *list = webhook_pod_member(object, name);
    size_t mark = fl_reader_enter(reader, fl_span_str(name));
    if (result == 0 && fl_json_count(list) > WEBHOOK_CONTAINERS_MAX)
        result = fl_reader_fail(reader, list, "more than %d elements", WEBHOOK_CONTAINERS_MAX);
    size_t index = 0;
    for (const struct fl_json *item = fl_json_first(list); item != NULL && result == 0; item = fl_json_next(item)) {
        size_t inner = fl_reader_enter_at(reader, index++);
        if (!fl_json_is(item, FL_JSON_OBJECT))
            result = fl_reader_fail(reader, item, "expected an object, got %s", fl_json_kind_name(fl_json_kind(item)));
        else if (!fl_json_is(fl_json_get(item, key), FL_JSON_STRING))
            result = fl_reader_fail(reader, item, "%s: expected a string", key);
        else if (each != NULL)
            result = each(reader, item);
        fl_reader_leave(reader, inner);
    }
    fl_reader_leave(reader, mark);
    return result;
}

static int check_container(struct fl_reader *reader, const struct fl_json *container)
{
    static const char *const objects[] = {"securityContext", "livenessProbe", "readinessProbe", "startupProbe"};
    int result = check_list(reader, container, "volumeMounts", "name", NULL);
    if (result == 0)
        result = expect(reader, container, "ports", FL_JSON_ARRAY);
    for (size_t i = 0; i < FL_COUNT(objects) && result == 0; i++)
        result = expect(reader, container, objects[i], FL_JSON_OBJECT);
    return result;
}

static int check_metadata(struct fl_reader *reader, const struct fl_json *pod)
{
    int result = expect(reader, pod, "metadata", FL_JSON_OBJECT);
    const struct fl_json *metadata = webhook_pod_member(pod, "metadata");
    size_t mark = fl_reader_enter(reader, FL_SPAN("metadata"));
    if (result == 0)
        result = check_strings(reader, metadata, "labels");
    if (result == 0)
        result = check_strings(reader, metadata, "annotations");
    if (result == 0)
        result = expect(reader, metadata, "ownerReferences", FL_JSON_ARRAY);
    fl_reader_leave(reader, mark);
    return result;
}

static int check_spec(struct fl_reader *reader, const struct fl_json *pod)
{
    const struct fl_json *spec = webhook_pod_member(pod, "spec");
    if (spec == NULL)
        return fl_reader_fail(reader, pod, "spec: is missing");
    int result = expect(reader, pod, "spec", FL_JSON_OBJECT);
    size_t mark = fl_reader_enter(reader, FL_SPAN("spec"));
    if (result == 0)
        result = expect(reader, spec, "hostNetwork", FL_JSON_BOOL);
    if (result == 0)
        result = expect(reader, spec, "securityContext", FL_JSON_OBJECT);
    if (result == 0)
        result = check_list(reader, spec, "volumes", "name", NULL);
    for (size_t i = 0; webhook_container_lists[i] != NULL && result == 0; i++)
        result = check_list(reader, spec, webhook_container_lists[i], "name", check_container);
    fl_reader_leave(reader, mark);
    return result;
}

int webhook_pod_check(const struct fl_json *pod, struct fl_err *err)
{
    struct fl_reader reader;
    fl_reader_init(&reader, NULL, err);
    if (!fl_json_is(pod, FL_JSON_OBJECT))
        return fl_reader_fail(&reader, pod, "expected a Pod, got %s",
                              pod == NULL ? "nothing" : fl_json_kind_name(fl_json_kind(pod)));
    int result = check_metadata(&reader, pod);
    return result < 0 ? result : check_spec(&reader, pod);
}
