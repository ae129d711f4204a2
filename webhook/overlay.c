#include "webhook/overlay.h"

#include "webhook/value.h"

#define ELEMENTS_MAX 256 /* of a list that is merged by key: merging takes quadratic time */

/* What the API server's defaults, its plugins and well-meaning webhooks add to what we wrote. */
static const char *const additions[] = {
    "imagePullPolicy",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "env",
    "volumeMounts",
    "resources",
    "resizePolicy",
    "ports",
    "timeoutSeconds",
    "periodSeconds",
    "successThreshold",
    "failureThreshold",
    "scheme",
    "apiVersion",
    "protocol",
    "defaultMode",
    "expirationSeconds",
    "divisor",
};

static bool is_addition(struct fl_span name)
{
    for (size_t i = 0; i < FL_COUNT(additions); i++) {
        if (fl_span_eq_str(name, additions[i]))
            return true;
    }
    return false;
}

/* The key by which a list's elements are told apart; NULL: by position. */
static const char *list_key(struct fl_span name)
{
    return fl_span_eq_str(name, "env")            ? "name"
           : fl_span_eq_str(name, "volumeMounts") ? "mountPath"
           : fl_span_eq_str(name, "ports")        ? "containerPort"
                                                  : NULL;
}

static bool same_quantity(const struct fl_json *a, const struct fl_json *b)
{
    __int128 left, right;
    return webhook_quantity_parse(fl_json_string(a), &left, NULL) == 0 &&
           webhook_quantity_parse(fl_json_string(b), &right, NULL) == 0 && left == right;
}

static struct fl_json *overlay(const struct fl_json *theirs, const struct fl_json *ours, bool resources);

static struct fl_json *find_element(const struct fl_json *list, const char *key, const struct fl_json *value)
{
    for (struct fl_json *item = fl_json_first(list); item != NULL; item = fl_json_next(item)) {
        const struct fl_json *found = fl_json_get(item, key);
        if (value != NULL && found != NULL && fl_json_equal(found, value))
            return item;
    }
    return NULL;
}

/* Their elements in their order, ours laid over those with the same key, new ones of ours behind. Of elements with the
 * same key the first stays: a later one would hide it from the container. */
static struct fl_json *overlay_keyed(const struct fl_json *theirs, const struct fl_json *ours, const char *key)
{
    FL_CLEANUP(fl_cleanup_json) struct fl_json *list = fl_json_new_array();
    if (list == NULL)
        return NULL;
    for (const struct fl_json *item = fl_json_first(theirs); item != NULL; item = fl_json_next(item)) {
        const struct fl_json *value = fl_json_get(item, key);
        const struct fl_json *mine = find_element(ours, key, value);
        if (value == NULL || find_element(list, key, value) != NULL)
            continue;
        if (fl_json_append(list, mine != NULL ? overlay(item, mine, false) : fl_json_copy(item)) < 0)
            return NULL;
    }
    for (const struct fl_json *item = fl_json_first(ours); item != NULL; item = fl_json_next(item)) {
        if (find_element(list, key, fl_json_get(item, key)) == NULL && fl_json_append(list, fl_json_copy(item)) < 0)
            return NULL;
    }
    return fl_take(list);
}

static struct fl_json *overlay_list(const struct fl_json *theirs, const struct fl_json *ours)
{
    if (fl_json_count(theirs) != fl_json_count(ours))
        return fl_json_copy(ours);
    FL_CLEANUP(fl_cleanup_json) struct fl_json *list = fl_json_new_array();
    if (list == NULL)
        return NULL;
    const struct fl_json *mine = fl_json_first(ours);
    for (const struct fl_json *item = fl_json_first(theirs); item != NULL;
         item = fl_json_next(item), mine = fl_json_next(mine)) {
        if (fl_json_append(list, overlay(item, mine, false)) < 0)
            return NULL;
    }
    return fl_take(list);
}

static struct fl_json *overlay_member(const struct fl_json *theirs, const struct fl_json *ours, bool resources)
{
    struct fl_span name = fl_json_name(ours);
    if (fl_json_is(ours, FL_JSON_ARRAY) && fl_json_is(theirs, FL_JSON_ARRAY) && list_key(name) != NULL)
        return fl_json_count(theirs) > ELEMENTS_MAX ? fl_json_copy(ours) : overlay_keyed(theirs, ours, list_key(name));
    return overlay(theirs, ours, resources || fl_span_eq_str(name, "resources"));
}

static struct fl_json *overlay_object(const struct fl_json *theirs, const struct fl_json *ours, bool resources)
{
    FL_CLEANUP(fl_cleanup_json) struct fl_json *object = fl_json_new_object();
    if (object == NULL)
        return NULL;
    for (const struct fl_json *member = fl_json_first(theirs); member != NULL; member = fl_json_next(member)) {
        struct fl_span name = fl_json_name(member);
        const struct fl_json *mine = fl_json_get_span(ours, name);
        if (mine == NULL && !resources && !is_addition(name))
            continue;
        struct fl_json *merged = mine != NULL ? overlay_member(member, mine, resources) : fl_json_copy(member);
        if (fl_json_add(object, name, merged) < 0)
            return NULL;
    }
    for (const struct fl_json *member = fl_json_first(ours); member != NULL; member = fl_json_next(member)) {
        struct fl_span name = fl_json_name(member);
        if (fl_json_get_span(theirs, name) == NULL && fl_json_add(object, name, fl_json_copy(member)) < 0)
            return NULL;
    }
    return fl_take(object);
}

/* Recursion is bounded by the depth of what we wrote. */
static struct fl_json *overlay(const struct fl_json *theirs, const struct fl_json *ours, bool resources)
{
    if (fl_json_kind(theirs) != fl_json_kind(ours))
        return fl_json_copy(ours);
    if (fl_json_is(ours, FL_JSON_OBJECT))
        return overlay_object(theirs, ours, resources);
    if (fl_json_is(ours, FL_JSON_ARRAY))
        return overlay_list(theirs, ours);
    return fl_json_copy(resources && fl_json_is(ours, FL_JSON_STRING) && same_quantity(theirs, ours) ? theirs : ours);
}

struct fl_json *webhook_overlay(const struct fl_json *theirs, const struct fl_json *ours)
{
    return overlay(theirs, ours, false);
}
