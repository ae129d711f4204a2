/* The settings of one pod: the configuration's, over them the namespace's annotations, over them the pod's, each only
 * where the operator lets it stand; then what must hold between settings. A wrong value is refused with the
 * annotation's name and what would be right. Pure. */
#ifndef WEBHOOK_RESOLVE_H
#define WEBHOOK_RESOLVE_H

#include "webhook/config.h"
#include "webhook/warning.h"

/* `name_space` is named in errors that its annotations cause. `required`: it requires the mesh; then what says which
 * traffic is captured may not be set by a pod, save where the configuration names that setting's level. Annotations:
 * objects of strings, or NULL; they and the configuration outlive the settings, which the caller releases by
 * webhook_settings_done. An annotation of the pod with our prefix that is unknown gets a warning. 0; -EINVAL with a
 * text such as `annotation fairlead.io/log-level: "loud" is not a log level; expected …`; -EPERM where one stands on a
 * level where it may not; -ENOMEM. */
int webhook_settings_resolve(const struct webhook_config *config, struct fl_span name_space, bool required,
                             const struct fl_json *namespace_annotations, const struct fl_json *pod_annotations,
                             struct webhook_settings *ret_settings, struct webhook_warnings *warnings,
                             struct fl_err *err) FL_MUST_CHECK;

#endif
