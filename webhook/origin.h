/* What a pod was before the mesh: written into the annotation fairlead.io/status (status.h). Made anew at each review
 * from what the pod is and what its status said: what was ours and still is keeps its origin, what somebody wrote since
 * is a new one. Pure. */
#ifndef WEBHOOK_ORIGIN_H
#define WEBHOOK_ORIGIN_H

#include "webhook/config.h"
#include "webhook/metadata.h"

/* Every label and annotation whose origin is kept; the annotations that only the mesh writes have none. */
struct webhook_origin_key {
    const char *key;
    const char *ours; /* the one value that we put in the place of others; NULL: we do not replace it, or only add */
};

extern const struct webhook_origin_key webhook_origin_labels[];      /* ending with a NULL key */
extern const struct webhook_origin_key webhook_origin_annotations[]; /* the same */

#define WEBHOOK_ORIGIN_VALUE_MAX 1024 /* bytes; what is longer is not kept: no such value makes sense */

/* Prints the status into the sidecar, and has the metadata write it. All are those of one plan. 0 or -ENOMEM. */
int webhook_origin_note(const struct webhook_config *config, const struct fl_json *pod,
                        const struct webhook_probes *probes, struct webhook_sidecar *sidecar,
                        struct webhook_metadata *metadata) FL_MUST_CHECK;

#endif
