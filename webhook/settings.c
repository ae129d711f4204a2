#include "webhook/settings.h"

#include "common/mesh/label.h"
#include "webhook/value.h"

#include <errno.h>

static int read_image(struct fl_span text, void *field, struct fl_err *err)
{
    *(struct fl_span *)field = text;
    return webhook_image_check(text, err);
}

static int read_log_level(struct fl_span text, void *field, struct fl_err *err)
{
    *(struct fl_span *)field = text;
    return webhook_log_level_check(text, err);
}

/* An empty text takes the default away: the field is left out of the container. */
static int read_quantity(struct fl_span text, void *field, struct fl_err *err)
{
    __int128 nano;
    *(struct fl_span *)field = text;
    return text.len == 0 ? 0 : webhook_quantity_parse(text, &nano, err);
}

static int read_ports(struct fl_span text, void *field, struct fl_err *err)
{
    return fl_port_list_parse(text, field, err);
}

static int read_cidrs(struct fl_span text, void *field, struct fl_err *err)
{
    return fl_cidr_list_parse(text, field, err);
}

#define SETTING(key, reader, member)                                                                                   \
    {                                                                                                                  \
        key, reader, offsetof(struct webhook_settings, member)                                                         \
    }

static const struct setting {
    const char *annotation;
    int (*read)(struct fl_span text, void *field, struct fl_err *err);
    size_t offset;
} table[] = {
    SETTING(FL_ANNOTATION_INBOUND_INCLUDE_PORTS, read_ports, capture.inbound_include),
    SETTING(FL_ANNOTATION_INBOUND_EXCLUDE_PORTS, read_ports, capture.inbound_exclude),
    SETTING(FL_ANNOTATION_OUTBOUND_INCLUDE_PORTS, read_ports, capture.outbound_include_ports),
    SETTING(FL_ANNOTATION_OUTBOUND_EXCLUDE_PORTS, read_ports, capture.outbound_exclude_ports),
    SETTING(FL_ANNOTATION_OUTBOUND_INCLUDE_CIDRS, read_cidrs, capture.outbound_include_cidrs),
    SETTING(FL_ANNOTATION_OUTBOUND_EXCLUDE_CIDRS, read_cidrs, capture.outbound_exclude_cidrs),
    SETTING(FL_ANNOTATION_LOG_LEVEL, read_log_level, log_level),
    SETTING(FL_ANNOTATION_PROXY_IMAGE, read_image, image),
    SETTING(FL_ANNOTATION_PROXY_CPU_REQUEST, read_quantity, resources.cpu_request),
    SETTING(FL_ANNOTATION_PROXY_CPU_LIMIT, read_quantity, resources.cpu_limit),
    SETTING(FL_ANNOTATION_PROXY_MEMORY_REQUEST, read_quantity, resources.memory_request),
    SETTING(FL_ANNOTATION_PROXY_MEMORY_LIMIT, read_quantity, resources.memory_limit),
};

static const struct setting *find_setting(struct fl_span key)
{
    for (size_t i = 0; i < FL_COUNT(table); i++) {
        if (fl_span_eq_str(key, table[i].annotation))
            return &table[i];
    }
    return NULL;
}

/* Ours, but not to be set: what the webhook writes itself is handled by the patch. */
static bool is_written_by_us(struct fl_span key)
{
    return fl_span_eq_str(key, FL_ANNOTATION_CAPTURE) || fl_span_eq_str(key, FL_ANNOTATION_STATUS);
}

static int apply(const struct fl_json *annotations, struct webhook_settings *settings,
                 struct webhook_warnings *warnings, struct fl_err *err)
{
    for (const struct fl_json *item = fl_json_first(annotations); item != NULL; item = fl_json_next(item)) {
        struct fl_span key = fl_json_name(item);
        if (!fl_span_starts_with(key, FL_SPAN(FL_ANNOTATION_PREFIX)) || is_written_by_us(key))
            continue;
        const struct setting *setting = find_setting(key);
        if (setting == NULL) {
            if (warnings != NULL)
                webhook_warn(warnings, "annotation %.*s is not known and has no effect", WEBHOOK_SHOW(key));
            continue;
        }
        int result = setting->read(fl_json_string(item), (char *)settings + setting->offset, err);
        if (result < 0) {
            fl_err_prefix(err, "annotation %s", setting->annotation);
            return result;
        }
    }
    return 0;
}

int webhook_settings_resolve(const struct webhook_config *config, struct fl_span name_space,
                             const struct fl_json *namespace_annotations, const struct fl_json *pod_annotations,
                             struct webhook_settings *ret_settings, struct webhook_warnings *warnings,
                             struct fl_err *err)
{
    struct webhook_settings settings = {
        .capture = config->capture,
        .image = config->image,
        .image_pull_policy = config->image_pull_policy,
        .log_level = config->log_level,
        .resources = config->resources,
    };
    int result = apply(namespace_annotations, &settings, NULL, err);
    if (result < 0) {
        fl_err_prefix(err, "namespace %.*s", WEBHOOK_SHOW(name_space));
        return result;
    }
    result = apply(pod_annotations, &settings, warnings, err);
    if (result == 0) {
        result = webhook_resources_check(&settings.resources, err);
        if (result < 0)
            fl_err_prefix(err, "annotations " FL_ANNOTATION_PREFIX "proxy-{cpu,memory}-{request,limit}");
    }
    if (result < 0)
        return result;
    *ret_settings = settings;
    return 0;
}
