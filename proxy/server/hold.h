/* `fairlead-proxy gate`: the start gate as a process of its own, for a pod's first init container.
 *
 * A classic sidecar (an ordinary container) cannot keep the kubelet from starting the app: its postStart hook holds
 * only for as long as it waits. An init container can, for as long as it takes. So this one stands first, runs as the
 * proxy's user with the proxy's capture spec, proves by its own dial through the probe rule that the network namespace
 * is captured in every family that it has (proxy/admin/probe.h), and ends. While it waits, the node agent finds it as
 * it finds a sidecar, and programs the namespace.
 *
 * It listens where the rules redirect to: the spec's outbound port, on 127.0.0.1 and ::1, where what a process of the
 * namespace sends is redirected to; so nobody outside can reach it. Other connections that arrive there are closed.
 */
#ifndef PROXY_SERVER_HOLD_H
#define PROXY_SERVER_HOLD_H

#include "common/base/cleanup.h"
#include "common/base/err.h"

#include <stdint.h>

#define PROXY_HOLD_TELL_MS 60000 /* how often it says again that it waits */

/* Returns 0 once the namespace is proven to be captured; -ETIMEDOUT after `seconds` (0: it waits for ever) with what
 * to look for; -EINTR after SIGTERM or SIGINT; -ENOENT where FAIRLEAD_CAPTURE is not set: there is nothing to prove,
 * and nothing is let through. The log is open. */
int proxy_hold_run(uint64_t seconds, struct fl_err *err) FL_MUST_CHECK;

#endif
