/* What the sidecar is made of: the proxy's container, the pod's volumes for it, the capture spec. Made from
 * resolved settings and the pod as typed values; plan.h adds what is done to the app, patch.h brings all into the pod.
 */
#ifndef WEBHOOK_SIDECAR_H
#define WEBHOOK_SIDECAR_H

#include "webhook/config.h"
#include "webhook/owner.h"
#include "webhook/warning.h"

struct webhook_sidecar {
    bool native;               /* first of initContainers; else first of containers */
    struct fl_json *container; /* owned */
    struct fl_json *gate;      /* owned: first of initContainers beside a classic one; NULL: native, and the pod has no
                                  container of that name */
    struct fl_json *volumes;   /* owned: an array; the proxy's own, its token's, then fairlead.io/proxy-volumes */
    struct fl_buf capture;     /* the canonical capture spec */
    struct fl_buf status;      /* JSON (status.h); printed when all else is known (origin.h) */
};

/* `pod` has passed webhook_pod_check. 0; -EINVAL (the settings do not fit the pod, err tells); -EMSGSIZE (the capture
 * spec is too long); -ENOMEM. Warnings: what the sidecar does not get, or cannot keep, in this pod. */
int webhook_sidecar_make(const struct webhook_config *config, const struct webhook_settings *settings,
                         const struct webhook_owner *owner, const struct fl_json *pod,
                         struct webhook_sidecar *ret_sidecar, struct webhook_warnings *warnings,
                         struct fl_err *err) FL_MUST_CHECK;
void webhook_sidecar_done(struct webhook_sidecar *sidecar); /* a zeroed one is fine */

#endif
