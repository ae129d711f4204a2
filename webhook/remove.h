/* The mesh taken out of a pod again: the inverse of patch.h, by what the pod's status says of its origin (status.h).
 * Pure; needs no configuration.
 *
 * Out go the sidecar's container, wherever it stands; the volumes that we added; the
 * annotations that only the mesh writes; labels and annotations that we added and that are as we wrote them; our
 * volumes in the cluster autoscaler's list. Handlers of the app and prometheus.io annotations are what they were. Lists
 * and maps that are empty then go too, or are empty as they were. Everything else stays, also what somebody wrote
 * since. What was not injected comes out as it is; so does the result.
 *
 * Injected is what bears our status, or, where that was lost, a container of our name that reads the capture
 * annotation; then what nobody can know any more stays. */
#ifndef WEBHOOK_REMOVE_H
#define WEBHOOK_REMOVE_H

#include "common/doc/json.h"

/* `pod`: anything with metadata and spec of a pod, as a Deployment's template; changed in place. 0 with *ret_removed:
 * there was something to remove; -EINVAL (a member of the wrong type), -ENOENT (a probe's original is lost), each told
 * by err; -ENOMEM. After a failure the pod is not to be used. */
int webhook_remove(struct fl_json *pod, bool *ret_removed, struct fl_err *err) FL_MUST_CHECK;

#endif
