/* What a pod's own containers may do that would take their traffic past the sidecar: run as the proxy, or change what
 * captures them. Pure; the pod has passed webhook_pod_check.
 *
 * Capture is for apps that do not fight it. A process that is root with a container runtime's usual capabilities can
 * become the proxy's uid by itself; so what is *granted on top* is looked at, and what protects a service from such an
 * app is the receiving side's mTLS and policies, and the restricted Pod Security Standard. */
#ifndef WEBHOOK_POWER_H
#define WEBHOOK_POWER_H

#include "common/base/err.h"
#include "common/doc/json.h"

/* No container but the sidecar itself may be given the proxy's uid or gid.
 *
 * What the rules exempt is a socket whose creator has uid *and* gid (fsuid and fsgid of the process). Each alone is
 * refused, because the other may come from the image, which admission cannot see; so are supplementalGroups and
 * fsGroup: a process may make a group that it has its own one (setgid needs no more where it is also the saved one, or
 * newgrp and setgid programs), and files of the proxy's group would be the app's. Pod-level values are refused also
 * where every container has its own: an ephemeral container added later would inherit them. A container with the
 * proxy's own image
 * (`image`) and no user of its own runs as the image's, the proxy's.
 * `only`: one list of containers (pod.h), and not the pod's own context; NULL: everything. 0 or -EPERM, err names the
 * member. */
int webhook_power_check_users(const struct fl_json *pod, const char *only, uint32_t uid, uint32_t gid,
                              struct fl_span image, struct fl_err *err) FL_MUST_CHECK;

/* The first container, not the sidecar, that is privileged or is given a capability by which it could change rules,
 * programs or namespaces of the network: NET_ADMIN, SYS_ADMIN, SYS_MODULE, SYS_PTRACE, SYS_RAWIO, BPF, ALL. NET_RAW is
 * not among them: runtimes grant it by default, and TCP cannot be spoken past the rules with it, save by a program that
 * brings its own TCP. `only` as above. false: none. err gets "container x: …". */
bool webhook_power_find_privileged(const struct fl_json *pod, const char *only, struct fl_err *err);

#endif
