/* All that a pod of the mesh gets: the sidecar, what becomes of the app's probes and metrics, labels and annotations.
 * Made once for an admission; the patch brings it into the pod, the self-check looks whether it is there. Pure. */
#ifndef WEBHOOK_PLAN_H
#define WEBHOOK_PLAN_H

#include "webhook/metadata.h"

struct webhook_plan { /* not copied: the metadata points into the rest */
    struct webhook_sidecar sidecar;
    struct webhook_probes probes;
    struct webhook_scrape scrape;
    struct webhook_metadata metadata;
};

/* `pod` has passed webhook_pod_check; it, config and settings outlive the plan. 0; -EINVAL (settings that do not fit
 * the pod), -EMSGSIZE (lists that are too long), -ENOENT (a probe's original is lost), each told by err; -ENOMEM.
 * Only after 0 there is something to release. */
int webhook_plan_make(const struct webhook_config *config, const struct webhook_settings *settings,
                      const struct webhook_owner *owner, const struct fl_json *pod, struct webhook_plan *ret_plan,
                      struct webhook_warnings *warnings, struct fl_err *err) FL_MUST_CHECK;
void webhook_plan_done(struct webhook_plan *plan); /* a zeroed one is fine */

#endif
