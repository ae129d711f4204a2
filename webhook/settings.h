/* The settings of one pod: the configuration's defaults, over them the namespace's annotations, over them the pod's.
 * One table names every annotation that a user may set, and how it is read; a wrong value is refused with the
 * annotation's name and what would be right. Pure. */
#ifndef WEBHOOK_SETTINGS_H
#define WEBHOOK_SETTINGS_H

#include "webhook/config.h"
#include "webhook/warning.h"

struct webhook_settings { /* spans point into the configuration and the annotations */
    struct fl_capture capture;
    struct fl_span image, image_pull_policy, log_level;
    struct webhook_resources resources;
};

/* `name_space` is named in errors that its annotations cause. Annotations: objects of strings, or NULL. An annotation
 * of the pod with our prefix that is unknown gets a warning. 0; -EINVAL with a text such as `annotation
 * fairlead.io/log-level: "loud" is not a log level; expected …`. */
int webhook_settings_resolve(const struct webhook_config *config, struct fl_span name_space,
                             const struct fl_json *namespace_annotations, const struct fl_json *pod_annotations,
                             struct webhook_settings *ret_settings, struct webhook_warnings *warnings,
                             struct fl_err *err) FL_MUST_CHECK;

#endif
