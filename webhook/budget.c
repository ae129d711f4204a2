#include "webhook/budget.h"

#include "webhook/pod.h"
#include "webhook/value.h"

#include <stdio.h>

#define MILLI ((__int128)1000000)    /* of a quantity's 10^-9 */
#define WHOLE ((__int128)1000000000) /* bytes */

/* A person may write a number; the API server makes a string of it. */
static struct fl_span quantity_text(const struct fl_json *map, const char *name, char room[FL_JSON_NUMBER_ROOM])
{
    const struct fl_json *value = webhook_pod_member(map, name);
    return fl_json_is(value, FL_JSON_NUMBER) ? fl_json_number_text(value, room) : fl_json_string(value);
}

static bool read_quantity(const struct fl_json *map, const char *name, __int128 *ret_nano)
{
    char room[FL_JSON_NUMBER_ROOM];
    struct fl_span text = quantity_text(map, name, room);
    return text.len > 0 && webhook_quantity_parse(text, ret_nano, NULL) == 0;
}

/* What Kubernetes counts for a container: its request, else its limit. */
static __int128 requested(const struct fl_json *container, const char *name)
{
    const struct fl_json *resources = webhook_pod_member(container, "resources");
    __int128 nano = 0;
    if (!read_quantity(webhook_pod_member(resources, "requests"), name, &nano) &&
        !read_quantity(webhook_pod_member(resources, "limits"), name, &nano))
        return 0;
    return nano;
}

/* What all but our own containers request together: beside the app (*ret_apps), and at any time. */
static __int128 aggregate(const struct fl_json *spec, const char *name, __int128 *ret_apps)
{
    __int128 running = 0, most = 0;
    const struct fl_json *list = webhook_pod_member(spec, "initContainers");
    for (const struct fl_json *item = fl_json_first(list); item != NULL; item = fl_json_next(item)) {
        __int128 one = webhook_pod_is_our_name(item) ? 0 : requested(item, name);
        if (fl_span_eq_str(fl_json_string(fl_json_get(item, "restartPolicy")), "Always"))
            running += one;
        else if (running + one > most)
            most = running + one;
    }
    list = webhook_pod_member(spec, "containers");
    for (const struct fl_json *item = fl_json_first(list); item != NULL; item = fl_json_next(item))
        running += webhook_pod_is_our_name(item) ? 0 : requested(item, name);
    *ret_apps = running;
    return running > most ? running : most;
}

struct fit { /* one resource */
    const char *name;
    __int128 unit;
    const char *suffix;
    struct fl_span *request, *limit;
};

/* Lowers the limit to the pod's, and answers whether it did. */
static bool fit_limit(const struct fit *fit, __int128 bound, struct fl_span bound_text, char *room)
{
    __int128 limit;
    if (fit->limit->len == 0 || webhook_quantity_parse(*fit->limit, &limit, NULL) < 0 || limit <= bound)
        return false;
    webhook_keep(room, WEBHOOK_VALUE_MAX + 1, bound_text);
    *fit->limit = fl_span_str(room);
    return true;
}

static bool fit_request(const struct fit *fit, __int128 left, char room[32])
{
    __int128 request = 0;
    struct fl_span counted = fit->request->len > 0 ? *fit->request : *fit->limit;
    if (counted.len == 0 || webhook_quantity_parse(counted, &request, NULL) < 0 || request <= left)
        return false;
    long long units = left > 0 ? (long long)(left / fit->unit) : 0;
    snprintf(room, 32, "%lld%s", units, units > 0 ? fit->suffix : "");
    *fit->request = fl_span_str(room);
    return true;
}

void webhook_budget_fit(const struct fl_json *pod, bool native, struct webhook_resources *resources,
                        struct webhook_budget *ret_texts, struct webhook_warnings *warnings)
{
    const struct fl_json *spec = webhook_pod_member(pod, "spec"), *own = webhook_pod_member(spec, "resources");
    const struct fl_json *requests = webhook_pod_member(own, "requests"), *limits = webhook_pod_member(own, "limits");
    const struct fit fits[] = {
        {"cpu", MILLI, "m", &resources->cpu_request, &resources->cpu_limit},
        {"memory", WHOLE, "", &resources->memory_request, &resources->memory_limit},
    };
    for (size_t i = 0; i < FL_COUNT(fits) && own != NULL; i++) {
        const struct fit *fit = &fits[i];
        __int128 budget, limit, apps;
        char number[FL_JSON_NUMBER_ROOM];
        bool limited = read_quantity(limits, fit->name, &limit);
        bool budgeted = read_quantity(requests, fit->name, &budget);
        if (!limited && !budgeted)
            continue;
        __int128 all = aggregate(spec, fit->name, &apps);
        bool lowered = limited && fit_limit(fit, limit, quantity_text(limits, fit->name, number), ret_texts->limit[i]);
        if (fit_request(fit, (budgeted ? budget : limit) - (native ? all : apps), ret_texts->request[i]) || lowered)
            webhook_warn(warnings, "spec.resources leaves the sidecar less %s than it asks for: it gets %.*s to %.*s",
                         fit->name, WEBHOOK_SHOW(*fit->request), WEBHOOK_SHOW(*fit->limit));
    }
}
