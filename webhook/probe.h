/* The kubelet's probes and HTTP hooks of the app, turned to the sidecar's port 15020, where the proxy asks in the
 * kubelet's stead (mesh/appprobe.h): so they work where the app's ports take mTLS alone, and say the same where they do
 * not. Pure.
 *
 * Rewritten are httpGet, tcpSocket and grpc of startup, readiness and liveness probes, and httpGet and tcpSocket of
 * postStart and preStop, of containers and restartable init containers; named ports are looked up in the container
 * itself, as the kubelet does. `exec` and `sleep`, and everything of our own container, stay as they are. Left to the
 * kubelet, and told: a handler that names another host than the pod, a port that its container does not have, or has
 * members that we do not know.
 *
 * What was there goes into the annotation fairlead.io/probes. It is made anew at each review, entry by entry: a handler
 * that is not ours is an original and takes the place of an older one; one that points to us already keeps the
 * original of the entry that its path names, wherever it stands now. Without such an entry the original is lost, and
 * the pod is refused: it would never become ready.
 */
#ifndef WEBHOOK_PROBE_H
#define WEBHOOK_PROBE_H

#include "common/doc/json.h"
#include "common/mesh/appprobe.h"
#include "common/mesh/capture.h"
#include "webhook/warning.h"

struct webhook_probe_edit { /* one handler that takes the place of another */
    const char *list;       /* "containers", "initContainers" */
    size_t index;           /* of the container in it */
    enum fl_appprobe_kind kind;
    const char *from, *to;   /* the handlers' members: "httpGet", "tcpSocket", "grpc"; may be the same */
    struct fl_json *handler; /* owned */
};

struct webhook_probes {
    struct webhook_probe_edit *edits; /* owned; in the order of the pod */
    size_t count, room;
    struct fl_buf text;      /* what the annotation must hold; empty: it must not be there */
    struct fl_json *spelled; /* owned: the handlers that it does not hold as they were written (status.h); or NULL */
};

/* `rewrite` false: what was rewritten is turned back, and a warning tells what fails under STRICT.
 * `pod` has passed webhook_pod_check. 0; -ENOENT where an original is lost, err names the container; -ENOMEM. */
int webhook_probes_plan(const struct fl_json *pod, bool rewrite, const struct fl_capture *capture,
                        struct webhook_probes *ret_probes, struct webhook_warnings *warnings,
                        struct fl_err *err) FL_MUST_CHECK;
void webhook_probes_done(struct webhook_probes *probes); /* a zeroed one is fine */

/* The object that holds a kind's handler (a probe, a lifecycle hook); NULL: the container has none. */
const struct fl_json *webhook_probe_holder(const struct fl_json *container, enum fl_appprobe_kind kind);

/* Whether there are edits for this container. */
bool webhook_probes_touch(const struct webhook_probes *probes, const char *list, size_t index);
/* Makes them in a copy of it. 0 or -ENOMEM. */
int webhook_probes_apply(const struct webhook_probes *probes, const char *list, size_t index,
                         struct fl_json *container) FL_MUST_CHECK;

#endif
