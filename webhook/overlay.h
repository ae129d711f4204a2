/* One Kubernetes object laid over another: how a sidecar or volume of ours that was changed since we wrote it is
 * brought into form again; and the proof that one is ours. Pure.
 *
 * A name or a status annotation proves nothing: anybody can write them. So what bears our name is compared with what we
 * would write, and only this fixed list of harmless additions may stand beside it (overlay.c has it as a table):
 * - what the API server fills in: terminationMessagePath, apiVersion of a field reference, divisor, scheme, protocol,
 *   defaultMode … each with the value that it fills in and no other;
 * - imagePullPolicy Always (AlwaysPullImages refuses a pod with another);
 * - the service account's mount at its one place (ServiceAccount), read-only;
 * - cpu, memory and ephemeral-storage that we leave open (LimitRanger), and the resizePolicy that does nothing.
 * Everything else goes: command, lifecycle, a second handler in a probe, security context, and environment. Webhooks
 * that add environment to every container lose it in the sidecar: nothing there needs it, while LD_PRELOAD,
 * OPENSSL_CONF or our own FAIRLEAD_ names would change what the proxy is. Who wants a variable there sets
 * fairlead.io/proxy-env.
 *
 * Members that we set win, at every depth. Lists with a key (env: name, volumeMounts: mountPath, ports: containerPort)
 * are matched by it, others element by element. Quantities are compared by value, their writing stays.
 * Laying the same thing over the result again changes nothing.
 */
#ifndef WEBHOOK_OVERLAY_H
#define WEBHOOK_OVERLAY_H

#include "common/doc/json.h"

/* `ours` over `theirs`, both objects: a new tree for the caller. NULL only when memory is out. */
struct fl_json *webhook_overlay(const struct fl_json *theirs, const struct fl_json *ours);

/* `theirs` is `ours` with harmless additions alone: 1 or 0 (also where it is NULL), or -ENOMEM. `place` is the member
 * that both are ("httpGet"); "" for a whole container or volume. */
int webhook_overlay_covers(const struct fl_json *theirs, const struct fl_json *ours, const char *place) FL_MUST_CHECK;

#endif
