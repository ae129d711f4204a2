/* The JSON Patch that brings a pod into the mesh, and its check. Pure: trees in, trees out.
 *
 * What the patch does, and nothing else:
 * - the container stands once, first in its list (initContainers; containers for the classic one), as sidecar.h made it
 *   with the additions of others that overlay.h allows; one in the other list is taken out;
 * - the volumes fairlead-proxy and fairlead-token are there, in the same sense;
 * - the annotations fairlead.io/capture and fairlead.io/status have our values;
 * - kubectl.kubernetes.io/default-container and default-logs-container name the first app container, where absent.
 * A pod that is so already gets an empty patch; so does the result of a patch. A pod that uses our names without our
 * status annotation is refused, and so is an app container that mounts our volumes: the sidecar's keys are there.
 */
#ifndef WEBHOOK_PATCH_H
#define WEBHOOK_PATCH_H

#include "webhook/sidecar.h"
#include "webhook/warning.h"

#define WEBHOOK_DEFAULT_CONTAINER      "kubectl.kubernetes.io/default-container"
#define WEBHOOK_DEFAULT_LOGS_CONTAINER "kubectl.kubernetes.io/default-logs-container"

/* `pod` has passed webhook_pod_check. 0 with the patch, an array, owned by the caller; -EEXIST where a name of ours is
 * taken, err says which; -EMSGSIZE; -ENOMEM. A capture annotation of the user's that is overwritten gets a warning. */
int webhook_patch_build(const struct fl_json *pod, const struct webhook_sidecar *sidecar, struct fl_json **ret_patch,
                        struct webhook_warnings *warnings, struct fl_err *err) FL_MUST_CHECK;

#endif
