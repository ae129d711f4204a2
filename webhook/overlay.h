/* One Kubernetes object laid over another: how a sidecar or volume of ours that was changed since we wrote it is
 * brought into form again, without losing what others may add. Pure.
 *
 * Between our first answer and a reinvocation the API server fills in defaults (terminationMessagePath, probes'
 * timeouts, apiVersion of field references …), rewrites quantities ("1000m" as "1"), the ServiceAccount plugin adds a
 * volume mount, and other webhooks add environment. So what we wrote is compared as a part of what is there:
 * - members that we set win, at every depth;
 * - members that we did not set stay where they are known as such additions (a list in overlay.c), else they go: no
 *   command, no lifecycle, no second handler in a probe, nothing in the securityContext;
 * - lists whose elements have a key (env: name, volumeMounts: mountPath, ports: containerPort) are merged by it, others
 *   element by element, or are ours where the length differs; more than 256 elements nobody adds: then ours alone stay;
 * - quantities under `resources` are compared by value, and others' resources stay.
 * Laying the same thing over the result again changes nothing.
 */
#ifndef WEBHOOK_OVERLAY_H
#define WEBHOOK_OVERLAY_H

#include "common/doc/json.h"

/* `ours` over `theirs`, both objects: a new tree for the caller. NULL only when memory is out. */
struct fl_json *webhook_overlay(const struct fl_json *theirs, const struct fl_json *ours);

#endif
