#include "webhook/resolve.h"

#include "common/mesh/label.h"
#include "webhook/value.h"

#include <errno.h>

/* Ours, but not to be set: what the webhook writes itself is handled by the patch. */
static bool is_written_by_us(struct fl_span key)
{
    return fl_span_eq_str(key, FL_ANNOTATION_CAPTURE) || fl_span_eq_str(key, FL_ANNOTATION_STATUS) ||
           fl_span_eq_str(key, FL_ANNOTATION_PROBES) || fl_span_eq_str(key, FL_ANNOTATION_METRICS);
}

#define NAME_LONGEST 48 /* no annotation of ours is longer */

/* How many letters must be added, taken away or replaced to make one of the other. */
static size_t distance(struct fl_span a, struct fl_span b)
{
    size_t row[NAME_LONGEST + 1];
    for (size_t j = 0; j <= b.len; j++)
        row[j] = j;
    for (size_t i = 1; i <= a.len; i++) {
        size_t corner = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b.len; j++) {
            size_t replaced = corner + (a.data[i - 1] != b.data[j - 1] ? 1 : 0);
            size_t least = row[j] < row[j - 1] ? row[j] : row[j - 1];
            corner = row[j];
            row[j] = replaced < least + 1 ? replaced : least + 1;
        }
    }
    return row[b.len];
}

static void warn_unknown(struct fl_span key, struct webhook_warnings *warnings)
{
    const char *nearest = NULL;
    size_t least = key.len / 4; /* what is further away is something else */
    for (int i = 0; i < WEBHOOK_SETTING_COUNT && key.len <= NAME_LONGEST; i++) {
        const char *annotation = webhook_setting_row((enum webhook_setting)i)->annotation;
        size_t found = distance(key, fl_span_str(annotation));
        if (found < least) {
            least = found;
            nearest = annotation;
        }
    }
    if (fl_span_eq_str(key, FL_LABEL_INJECT) || fl_span_eq_str(key, FL_LABEL_REVISION))
        webhook_warn(warnings, "annotation %.*s has no effect; it is a label", WEBHOOK_SHOW(key));
    else if (nearest != NULL)
        webhook_warn(warnings, "annotation %.*s is not known; %s is", WEBHOOK_SHOW(key), nearest);
    else
        webhook_warn(warnings, "annotation %.*s is not known and has no effect", WEBHOOK_SHOW(key));
}

/* Whether the text says what holds already: the webhook writes resolved opaque ports into the pod, which is reviewed
 * again then. */
static bool restates(enum webhook_setting setting, struct fl_span text, const struct webhook_settings *settings)
{
    const struct fl_port_list *held = &settings->opaque_ports;
    struct fl_port_list said;
    if (setting != WEBHOOK_SET_OPAQUE_PORTS || fl_port_list_parse(text, &said, NULL) < 0 || said.all != held->all ||
        said.count != held->count)
        return false;
    for (size_t i = 0; i < said.count; i++) {
        if (said.ranges[i].first != held->ranges[i].first || said.ranges[i].last != held->ranges[i].last)
            return false;
    }
    return true;
}

/* What decides whether traffic is captured at all: with these a pod could be in the mesh by name alone. */
static bool loosens(enum webhook_setting setting)
{
    return setting <= WEBHOOK_SET_EXCLUDE_INTERFACES || setting == WEBHOOK_SET_IPV6;
}
_Static_assert(WEBHOOK_SET_INBOUND_INCLUDE_PORTS == 0 && WEBHOOK_SET_EXCLUDE_INTERFACES == 7,
               "the settings of capture stand first");

static int apply_one(const struct webhook_config *config, bool required, enum webhook_setting setting,
                     struct fl_span text, enum webhook_level level, struct webhook_settings *settings,
                     struct fl_err *err)
{
    enum webhook_level lowest = config->levels[setting];
    bool bound = required && lowest == WEBHOOK_LEVEL_POD && loosens(setting) && !config->levels_said[setting];
    if (bound)
        lowest = WEBHOOK_LEVEL_NAMESPACE;
    if (level > lowest)
        return restates(setting, text, settings)
                   ? 0
                   : fl_err_set(err, -EPERM, "may not be set on a %s here; its level is %s%s",
                                webhook_level_word(level), webhook_level_word(lowest),
                                bound ? ", since the namespace requires the mesh" : "");
    return webhook_setting_read(setting, text, level, settings, err);
}

static int apply(const struct webhook_config *config, bool required, const struct fl_json *annotations,
                 enum webhook_level level, struct webhook_settings *settings, struct webhook_warnings *warnings,
                 struct fl_err *err)
{
    for (const struct fl_json *item = fl_json_first(annotations); item != NULL; item = fl_json_next(item)) {
        struct fl_span key = fl_json_name(item);
        if (!fl_span_starts_with(key, FL_SPAN(FL_ANNOTATION_PREFIX)) || is_written_by_us(key))
            continue;
        enum webhook_setting setting = webhook_setting_find(key);
        if (setting == WEBHOOK_SETTING_COUNT) {
            if (warnings != NULL && warnings->count < WEBHOOK_WARNINGS_MAX) /* a pod may have 100,000 of them */
                warn_unknown(key, warnings);
            continue;
        }
        int result = apply_one(config, required, setting, fl_json_string(item), level, settings, err);
        if (result < 0) {
            fl_err_prefix(err, "annotation %s", webhook_setting_row(setting)->annotation);
            return result;
        }
    }
    return 0;
}

int webhook_settings_resolve(const struct webhook_config *config, struct fl_span name_space, bool required,
                             const struct fl_json *namespace_annotations, const struct fl_json *pod_annotations,
                             struct webhook_settings *ret_settings, struct webhook_warnings *warnings,
                             struct fl_err *err)
{
    struct webhook_settings settings = config->defaults;
    int result = apply(config, required, namespace_annotations, WEBHOOK_LEVEL_NAMESPACE, &settings, NULL, err);
    if (result < 0)
        fl_err_prefix(err, "namespace %.*s", WEBHOOK_SHOW(name_space));
    if (result == 0)
        result = apply(config, required, pod_annotations, WEBHOOK_LEVEL_POD, &settings, warnings, err);
    if (result == 0)
        result = webhook_settings_check(
            &settings, config->token_audience,
            config->allow_host_path || settings.from[WEBHOOK_SET_PROXY_VOLUMES] <= WEBHOOK_LEVEL_MESH, NULL, err);
    if (result < 0)
        webhook_settings_done(&settings);
    else
        *ret_settings = settings;
    return result;
}
