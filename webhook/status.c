#include "webhook/status.h"

#include "common/base/cleanup.h"
#include "common/mesh/label.h"
#include "webhook/pod.h"

#include <errno.h>

#define DEPTH_MAX 16 /* a handler's headers stand deepest */

int webhook_status_read(const struct fl_json *pod, struct fl_json **ret_status)
{
    const struct fl_json_limits limits = {.bytes_max = WEBHOOK_STATUS_MAX, .depth_max = DEPTH_MAX};
    FL_CLEANUP(fl_cleanup_json) struct fl_json *status = NULL;
    struct fl_span text = webhook_pod_value(webhook_pod_annotations(pod), FL_ANNOTATION_STATUS);
    int64_t version;
    *ret_status = NULL;
    if (text.len > 0 && fl_json_parse(text, &limits, &status, NULL) == -ENOMEM)
        return -ENOMEM;
    if (fl_json_int(fl_json_get(status, "version"), 1, WEBHOOK_STATUS_VERSION, &version) &&
        fl_span_eq_str(fl_json_string(fl_json_get(status, "container")), FL_CONTAINER_NAME))
        *ret_status = fl_take(status);
    return 0;
}

bool webhook_status_lists(const struct fl_json *status, struct fl_span volume)
{
    const struct fl_json *volumes = fl_json_get(status, "volumes");
    for (const struct fl_json *item = fl_json_first(volumes); item != NULL; item = fl_json_next(item)) {
        if (fl_json_is(item, FL_JSON_STRING) && fl_span_eq(fl_json_string(item), volume))
            return true;
    }
    return false;
}

static const struct fl_json *text_or_null(const struct fl_json *value)
{
    return fl_json_is(value, FL_JSON_STRING) ? value : NULL;
}

const struct fl_json *webhook_status_added(const struct fl_json *status, const char *map, const char *key)
{
    return text_or_null(fl_json_get(fl_json_get(fl_json_get(status, "added"), map), key));
}

const struct fl_json *webhook_status_replaced(const struct fl_json *status, const char *key)
{
    return text_or_null(fl_json_get(fl_json_get(status, "replaced"), key));
}

const struct fl_json *webhook_status_handler(const struct fl_json *status, struct fl_span container,
                                             struct fl_span kind)
{
    const struct fl_json *list = fl_json_get(status, "handlers");
    for (const struct fl_json *item = fl_json_first(list); item != NULL; item = fl_json_next(item)) {
        const struct fl_json *handler = fl_json_get(item, "handler");
        if (fl_span_eq(fl_json_string(fl_json_get(item, "container")), container) &&
            fl_span_eq(fl_json_string(fl_json_get(item, "kind")), kind) && fl_json_count(handler) == 1 &&
            fl_json_is(fl_json_first(handler), FL_JSON_OBJECT))
            return handler;
    }
    return NULL;
}
