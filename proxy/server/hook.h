/* What hooks of a pod's containers call: another process of the same image that asks the running proxy over loopback.
 * Blocking, without configuration, without a file to write.
 *
 *   wait    postStart of a classic sidecar: the kubelet starts the next container when it returns, so that no app runs
 *           before its traffic is captured and can be carried (15021 /healthz/started)
 *   drain   preStop of the sidecar: POST /drain at the admin port (FAIRLEAD_ADMIN_PORT, 15000), with the secret that
 *           the proxy put into its volume
 *
 * A signal ends either at once, as it ends any process.
 */
#ifndef PROXY_SERVER_HOOK_H
#define PROXY_SERVER_HOOK_H

#include "common/base/cleanup.h"
#include "common/base/err.h"

#include <stdint.h>

#define PROXY_HOOK_WAIT_S      600
#define PROXY_HOOK_SECONDS_MAX 86400
#define PROXY_HOOK_RETRY_MS    100
#define PROXY_HOOK_ANSWER_MS   5000 /* for one answer */

/* 0 once the proxy has started; -ETIMEDOUT after `seconds`, with what was heard last. It asks at least once. */
int proxy_hook_wait(uint64_t seconds, struct fl_err *err) FL_MUST_CHECK;

/* `folder`: where the proxy keeps the admin port's secret. 0, `seconds` after the proxy took it; at once -ECONNREFUSED
 * … where there is no proxy, or -EPROTO where it refuses.
 */
int proxy_hook_drain(const char *folder, uint64_t seconds, struct fl_err *err) FL_MUST_CHECK;

#endif
