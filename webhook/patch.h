/* The JSON Patch that brings a pod into the mesh, and its check. Pure: trees in, trees out.
 *
 * What the patch does, and nothing else:
 * - the container stands once, first in its list (initContainers; containers for the classic one), as plan.h has it
 *   with the additions of others that overlay.h allows; one in the other list is taken out;
 * - the volumes of the plan are there, in the same sense, and the app's handlers are exchanged as it says;
 * - labels and annotations are as its metadata says.
 * A pod that is so already gets an empty patch; so does the result of a patch.
 *
 * What bears a name of ours may be brought into form where it is ours: where the status annotation says that we wrote
 * it (whoever forges one gets our container in the place of his), or where it is in form by comparison, whatever
 * annotations were lost. Else the pod is refused, as is an app container that mounts the sidecar's volumes, by whatever
 * path and in whatever form: its keys are there.
 */
#ifndef WEBHOOK_PATCH_H
#define WEBHOOK_PATCH_H

#include "webhook/plan.h"
#include "webhook/warning.h"

/* `pod` has passed webhook_pod_check. 0 with the patch, an array, owned by the caller; -EEXIST where a name of ours is
 * taken, err says which; -EMSGSIZE; -ENOMEM. A capture annotation of the user's that is overwritten gets a warning. */
int webhook_patch_build(const struct fl_json *pod, const struct webhook_plan *plan, struct fl_json **ret_patch,
                        struct webhook_warnings *warnings, struct fl_err *err) FL_MUST_CHECK;

/* The pod's ephemeral containers, which come when it runs: none mounts the sidecar's volumes or bears its name.
 * `pod` has passed webhook_pod_check. 0 or -EEXIST. */
int webhook_patch_check_ephemeral(const struct fl_json *pod, struct fl_err *err) FL_MUST_CHECK;

#endif
