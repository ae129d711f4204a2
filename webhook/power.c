#include "webhook/power.h"

#include "common/mesh/label.h"
#include "webhook/pod.h"
#include "webhook/value.h"

#include <errno.h>
#include <stdio.h>

struct users { /* what is refused, and what the pod says for its containers */
    uint32_t uid, gid;
    struct fl_span image;
    bool pod_has_user;
};

static bool is_number(const struct fl_json *value, uint32_t number)
{
    int64_t found;
    return fl_json_int(value, 0, UINT32_MAX, &found) && found == (int64_t)number;
}

static bool holds_number(const struct fl_json *list, uint32_t number)
{
    const struct fl_json *item = fl_json_first(list);
    while (item != NULL && !is_number(item, number))
        item = fl_json_next(item);
    return item != NULL;
}

/* The member of a security context that gives the proxy's id; NULL: none. */
static const char *find_id(const struct fl_json *context, const struct users *users)
{
    return is_number(fl_json_get(context, "runAsUser"), users->uid)               ? "runAsUser"
           : is_number(fl_json_get(context, "runAsGroup"), users->gid)            ? "runAsGroup"
           : is_number(fl_json_get(context, "fsGroup"), users->gid)               ? "fsGroup"
           : holds_number(fl_json_get(context, "supplementalGroups"), users->gid) ? "supplementalGroups"
                                                                                  : NULL;
}

/* `where`: "the pod" or "container x". */
static int check_context(const struct fl_json *owner, const char *where, const struct users *users, struct fl_err *err)
{
    const char *member = find_id(webhook_pod_member(owner, "securityContext"), users);
    if (member == NULL)
        return 0;
    bool user = strcmp(member, "runAsUser") == 0;
    return fl_err_set(err, -EPERM,
                      "%s: securityContext.%s %u is the proxy's %s, whose traffic is not captured; use another one",
                      where, member, user ? users->uid : users->gid, user ? "uid" : "gid");
}

static bool has_user(const struct fl_json *owner)
{
    return webhook_pod_member(webhook_pod_member(owner, "securityContext"), "runAsUser") != NULL;
}

static int check_container(const struct fl_json *container, const struct users *users, struct fl_err *err)
{
    char where[96];
    snprintf(where, sizeof(where), "container %.*s", WEBHOOK_SHOW(fl_json_string(fl_json_get(container, "name"))));
    bool ours = users->image.len > 0 && fl_span_eq(fl_json_string(fl_json_get(container, "image")), users->image);
    if (ours && !users->pod_has_user && !has_user(container))
        return fl_err_set(err, -EPERM, "%s: it has the proxy's image, whose user is the proxy; set runAsUser", where);
    return check_context(container, where, users, err);
}

static bool is_asked(const char *only, const char *list)
{
    return only == NULL || strcmp(only, list) == 0;
}

/* The next container that is not ours; NULL behind the last. */
static const struct fl_json *app_from(const struct fl_json *item)
{
    while (item != NULL && webhook_pod_is_our_name(item))
        item = fl_json_next(item);
    return item;
}

int webhook_power_check_users(const struct fl_json *pod, const char *only, uint32_t uid, uint32_t gid,
                              struct fl_span image, struct fl_err *err)
{
    const struct fl_json *spec = webhook_pod_member(pod, "spec");
    const struct users users = {uid, gid, image, has_user(spec)};
    int result = only == NULL ? check_context(spec, "the pod", &users, err) : 0;
    for (size_t i = 0; webhook_container_lists[i] != NULL && result == 0; i++) {
        const struct fl_json *list =
            is_asked(only, webhook_container_lists[i]) ? webhook_pod_member(spec, webhook_container_lists[i]) : NULL;
        for (const struct fl_json *item = app_from(fl_json_first(list)); item != NULL && result == 0;
             item = app_from(fl_json_next(item)))
            result = check_container(item, &users, err);
    }
    return result;
}

static bool is_strong(struct fl_span capability)
{
    static const char *const names[] = {"NET_ADMIN", "SYS_ADMIN", "SYS_MODULE", "SYS_PTRACE",
                                        "SYS_RAWIO", "BPF",       "ALL"};
    if (capability.len > 4 && fl_span_eq_nocase(fl_span_make(capability.data, 4), FL_SPAN("CAP_")))
        capability = fl_span_from(capability, 4);
    for (size_t i = 0; i < FL_COUNT(names); i++) {
        if (fl_span_eq_nocase(capability, fl_span_str(names[i])))
            return true;
    }
    return false;
}

static bool is_privileged(const struct fl_json *container, struct fl_err *err)
{
    const struct fl_json *context = webhook_pod_member(container, "securityContext");
    struct fl_span name = fl_json_string(fl_json_get(container, "name"));
    if (fl_json_bool(fl_json_get(context, "privileged"))) {
        fl_err_set(err, -EPERM, "container %.*s is privileged", WEBHOOK_SHOW(name));
        return true;
    }
    const struct fl_json *added = fl_json_get(fl_json_get(context, "capabilities"), "add");
    for (const struct fl_json *item = fl_json_first(added); item != NULL; item = fl_json_next(item)) {
        if (!is_strong(fl_json_string(item)))
            continue;
        fl_err_set(err, -EPERM, "container %.*s has the capability %.*s", WEBHOOK_SHOW(name),
                   WEBHOOK_SHOW(fl_json_string(item)));
        return true;
    }
    return false;
}

bool webhook_power_find_privileged(const struct fl_json *pod, const char *only, struct fl_err *err)
{
    const struct fl_json *spec = webhook_pod_member(pod, "spec");
    for (size_t i = 0; webhook_container_lists[i] != NULL; i++) {
        const struct fl_json *list =
            is_asked(only, webhook_container_lists[i]) ? webhook_pod_member(spec, webhook_container_lists[i]) : NULL;
        for (const struct fl_json *item = app_from(fl_json_first(list)); item != NULL;
             item = app_from(fl_json_next(item))) {
            if (is_privileged(item, err))
                return true;
        }
    }
    return false;
}
