/* What a pod of the mesh has more than it came with: the proxy's container, its two volumes, the annotations. Made from
 * resolved settings as typed values; patch.h brings them into the pod. */
#ifndef WEBHOOK_SIDECAR_H
#define WEBHOOK_SIDECAR_H

#include "webhook/config.h"
#include "webhook/owner.h"

struct webhook_sidecar {
    bool native;               /* first of initContainers; else first of containers */
    struct fl_json *container; /* owned, as are the volumes */
    struct fl_json *volume, *token_volume;
    struct fl_buf capture; /* the canonical capture spec */
    struct fl_buf status;  /* JSON: what was added, by which version and revision */
};

/* 0, -EMSGSIZE (the capture spec is too long), -ENOMEM. */
int webhook_sidecar_make(const struct webhook_config *config, const struct webhook_settings *settings,
                         const struct webhook_owner *owner, struct webhook_sidecar *ret_sidecar) FL_MUST_CHECK;
void webhook_sidecar_done(struct webhook_sidecar *sidecar); /* a zeroed one is fine */

/* Whether a status annotation is one that we wrote. Anybody can write such a text; so it only tells whether what bears
 * our names may be brought into form, never that it is in form. */
bool webhook_sidecar_is_status(struct fl_span text);

#endif
