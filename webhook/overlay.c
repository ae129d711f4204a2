#include "webhook/overlay.h"

#include "webhook/value.h"

#include <errno.h>

#define ELEMENTS_MAX 256 /* of a list that is matched by key: that takes quadratic time; nobody adds so many */

/* ---- What may stand beside ours ---- */

#define ACCOUNT_PATH   "/var/run/secrets/kubernetes.io/serviceaccount"
#define ACCOUNT_VOLUME "kube-api-access-"

static bool is_quantity(const struct fl_json *value)
{
    __int128 nano;
    return webhook_quantity_parse(fl_json_string(value), &nano, NULL) == 0;
}

static bool is_pull_policy(const struct fl_json *value)
{
    return webhook_pull_policy_check(fl_json_string(value), NULL) == 0;
}

static bool is_mode(const struct fl_json *value)
{
    int64_t mode;
    return fl_json_int(value, 0, 0777, &mode);
}

static bool is_seconds(const struct fl_json *value)
{
    int64_t seconds;
    return fl_json_int(value, 1, INT32_MAX, &seconds);
}

static bool is_one(const struct fl_json *value)
{
    int64_t number;
    return fl_json_int(value, 1, 1, &number);
}

static bool is_resize_default(const struct fl_json *value)
{
    for (const struct fl_json *item = fl_json_first(value); item != NULL; item = fl_json_next(item)) {
        if (!fl_span_eq_str(fl_json_string(fl_json_get(item, "restartPolicy")), "NotRequired") ||
            fl_json_count(item) != 2 || fl_json_string(fl_json_get(item, "resourceName")).len == 0)
            return false;
    }
    return fl_json_is(value, FL_JSON_ARRAY) && fl_json_count(value) <= 4;
}

/* A member `name` that we did not write, in the member (or list) `parent`; "" is the container or volume itself. */
static const struct addition {
    const char *parent, *name;
    const char *text;                              /* the one text that may stand there; NULL: */
    bool (*harmless)(const struct fl_json *value); /* what decides */
} additions[] = {
    {"", "terminationMessagePath", "/dev/termination-log", NULL},
    {"", "imagePullPolicy", NULL, is_pull_policy},
    {"", "resizePolicy", NULL, is_resize_default},
    {"securityContext", "procMount", "Default", NULL},
    {"requests", "cpu", NULL, is_quantity},
    {"requests", "memory", NULL, is_quantity},
    {"requests", "ephemeral-storage", NULL, is_quantity},
    {"limits", "cpu", NULL, is_quantity},
    {"limits", "memory", NULL, is_quantity},
    {"limits", "ephemeral-storage", NULL, is_quantity},
    {"fieldRef", "apiVersion", "v1", NULL},
    {"resourceFieldRef", "divisor", "0", NULL},
    {"httpGet", "scheme", "HTTP", NULL},
    {"httpGet", "protocol", "HTTP1", NULL},
    {"startupProbe", "successThreshold", NULL, is_one},
    {"readinessProbe", "successThreshold", NULL, is_one},
    {"ports", "protocol", "TCP", NULL},
    /* volumes of fairlead.io/proxy-volumes */
    {"configMap", "defaultMode", NULL, is_mode},
    {"secret", "defaultMode", NULL, is_mode},
    {"projected", "defaultMode", NULL, is_mode},
    {"downwardAPI", "defaultMode", NULL, is_mode},
    {"serviceAccountToken", "expirationSeconds", NULL, is_seconds},
    {"hostPath", "type", "", NULL},
    {"spec", "volumeMode", "Filesystem", NULL},
};

static bool is_addition(struct fl_span parent, const struct fl_json *member)
{
    struct fl_span name = fl_json_name(member);
    for (size_t i = 0; i < FL_COUNT(additions); i++) {
        const struct addition *row = &additions[i];
        if (fl_span_eq_str(name, row->name) && fl_span_eq_str(parent, row->parent))
            return row->harmless != NULL
                       ? row->harmless(member)
                       : fl_json_is(member, FL_JSON_STRING) && fl_span_eq_str(fl_json_string(member), row->text);
    }
    return false;
}

/* The ServiceAccount plugin gives the API's token to every container that mounts nothing there. */
static bool is_account_mount(const struct fl_json *mount)
{
    return fl_json_count(mount) == 3 && fl_json_bool(fl_json_get(mount, "readOnly")) &&
           fl_span_eq_str(fl_json_string(fl_json_get(mount, "mountPath")), ACCOUNT_PATH) &&
           fl_span_starts_with(fl_json_string(fl_json_get(mount, "name")), FL_SPAN(ACCOUNT_VOLUME));
}

/* LimitRanger fills in whole members that we left out: what is in them is judged as if ours were empty. */
static bool is_opened(struct fl_span parent, struct fl_span name)
{
    return fl_span_eq_str(parent, "resources") && (fl_span_eq_str(name, "requests") || fl_span_eq_str(name, "limits"));
}

/* The ServiceAccount plugin makes the list of mounts of a container that has none of its own. */
static bool is_mount_list(struct fl_span parent, const struct fl_json *member)
{
    return parent.len == 0 && fl_span_eq_str(fl_json_name(member), "volumeMounts") && fl_json_is(member, FL_JSON_ARRAY);
}

static bool is_quantity_place(struct fl_span parent, struct fl_span name)
{
    return fl_span_eq_str(parent, "requests") || fl_span_eq_str(parent, "limits") || fl_span_eq_str(name, "sizeLimit");
}

/* ---- Laying over ---- */

/* `name`: of the place that both stand at, `parent`: of the place around it. */
static struct fl_json *overlay(const struct fl_json *theirs, const struct fl_json *ours, struct fl_span parent,
                               struct fl_span name);

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

static const struct fl_json *find_element(const struct fl_json *list, const char *key, const struct fl_json *value)
{
    for (const struct fl_json *item = fl_json_first(list); item != NULL; item = fl_json_next(item)) {
        const struct fl_json *found = fl_json_get(item, key);
        if (value != NULL && found != NULL && fl_json_equal(found, value))
            return item;
    }
    return NULL;
}

/* Ours in our order, as they stand in theirs; behind them the service account's mount, where theirs has it. */
static struct fl_json *overlay_keyed(const struct fl_json *theirs, const struct fl_json *ours, struct fl_span name)
{
    const char *key = list_key(name);
    FL_CLEANUP(fl_cleanup_json) struct fl_json *list = fl_json_new_array();
    if (list == NULL)
        return NULL;
    for (const struct fl_json *item = fl_json_first(ours); item != NULL; item = fl_json_next(item)) {
        const struct fl_json *found = find_element(theirs, key, fl_json_get(item, key));
        struct fl_json *merged = found != NULL ? overlay(found, item, name, name) : fl_json_copy(item);
        if (fl_json_append(list, merged) < 0)
            return NULL;
    }
    bool mounts = fl_span_eq_str(name, "volumeMounts");
    for (const struct fl_json *item = mounts ? fl_json_first(theirs) : NULL; item != NULL; item = fl_json_next(item)) {
        if (!is_account_mount(item) || find_element(list, key, fl_json_get(item, key)) != NULL)
            continue;
        if (fl_json_append(list, fl_json_copy(item)) < 0)
            return NULL;
    }
    return fl_take(list);
}

static struct fl_json *overlay_list(const struct fl_json *theirs, const struct fl_json *ours, struct fl_span name)
{
    if (list_key(name) != NULL)
        return fl_json_count(theirs) > ELEMENTS_MAX ? fl_json_copy(ours) : overlay_keyed(theirs, ours, name);
    if (fl_json_count(theirs) != fl_json_count(ours))
        return fl_json_copy(ours);
    FL_CLEANUP(fl_cleanup_json) struct fl_json *list = fl_json_new_array();
    if (list == NULL)
        return NULL;
    const struct fl_json *mine = fl_json_first(ours);
    for (const struct fl_json *item = fl_json_first(theirs); item != NULL;
         item = fl_json_next(item), mine = fl_json_next(mine)) {
        if (fl_json_append(list, overlay(item, mine, name, name)) < 0)
            return NULL;
    }
    return fl_take(list);
}

/* One of their members beside ours: *ret_merged is what stands there then, NULL where it goes. False: memory is out. */
static bool overlay_member(const struct fl_json *member, const struct fl_json *ours, struct fl_span name,
                           struct fl_json **ret_merged)
{
    struct fl_span own = fl_json_name(member);
    const struct fl_json *mine = fl_json_get_span(ours, own);
    *ret_merged = NULL;
    if (mine != NULL) {
        *ret_merged = overlay(member, mine, name, own);
    } else if (is_opened(name, own)) {
        FL_CLEANUP(fl_cleanup_json) struct fl_json *nothing = fl_json_new_object();
        *ret_merged = nothing != NULL ? overlay(member, nothing, name, own) : NULL;
    } else if (is_mount_list(name, member)) {
        FL_CLEANUP(fl_cleanup_json) struct fl_json *nothing = fl_json_new_array();
        FL_CLEANUP(fl_cleanup_json)
        struct fl_json *mounts = nothing != NULL ? overlay(member, nothing, name, own) : NULL;
        if (mounts == NULL)
            return false;
        if (fl_json_count(mounts) == 0)
            return true;
        *ret_merged = fl_take(mounts);
    } else if (is_addition(name, member)) {
        *ret_merged = fl_json_copy(member);
    } else {
        return true;
    }
    return *ret_merged != NULL;
}

static struct fl_json *overlay_object(const struct fl_json *theirs, const struct fl_json *ours, struct fl_span name)
{
    FL_CLEANUP(fl_cleanup_json) struct fl_json *object = fl_json_new_object();
    if (object == NULL)
        return NULL;
    for (const struct fl_json *member = fl_json_first(theirs); member != NULL; member = fl_json_next(member)) {
        struct fl_json *merged;
        if (!overlay_member(member, ours, name, &merged) ||
            (merged != NULL && fl_json_add(object, fl_json_name(member), merged) < 0))
            return NULL;
    }
    for (const struct fl_json *member = fl_json_first(ours); member != NULL; member = fl_json_next(member)) {
        struct fl_span own = fl_json_name(member);
        if (fl_json_get_span(theirs, own) == NULL && fl_json_add(object, own, fl_json_copy(member)) < 0)
            return NULL;
    }
    return fl_take(object);
}

static bool stays(const struct fl_json *theirs, const struct fl_json *ours, struct fl_span parent, struct fl_span name)
{
    if (!fl_json_is(ours, FL_JSON_STRING))
        return false;
    if (fl_span_eq_str(name, "imagePullPolicy") && parent.len == 0)
        return fl_span_eq_str(fl_json_string(theirs), "Always");
    return is_quantity_place(parent, name) && same_quantity(theirs, ours);
}

/* Recursion is bounded by the depth of what we wrote. */
static struct fl_json *overlay(const struct fl_json *theirs, const struct fl_json *ours, struct fl_span parent,
                               struct fl_span name)
{
    if (fl_json_kind(theirs) != fl_json_kind(ours))
        return fl_json_copy(ours);
    if (fl_json_is(ours, FL_JSON_OBJECT))
        return overlay_object(theirs, ours, name);
    if (fl_json_is(ours, FL_JSON_ARRAY))
        return overlay_list(theirs, ours, name);
    return fl_json_copy(stays(theirs, ours, parent, name) ? theirs : ours);
}

struct fl_json *webhook_overlay(const struct fl_json *theirs, const struct fl_json *ours)
{
    return overlay(theirs, ours, FL_SPAN(""), FL_SPAN(""));
}

int webhook_overlay_covers(const struct fl_json *theirs, const struct fl_json *ours, const char *place)
{
    if (theirs == NULL || fl_json_equal(theirs, ours)) /* the usual case: nobody has added anything */
        return theirs != NULL;
    FL_CLEANUP(fl_cleanup_json)
    struct fl_json *merged = overlay(theirs, ours, fl_span_str(place), fl_span_str(place));
    return merged == NULL ? -ENOMEM : fl_json_equal(merged, theirs);
}
