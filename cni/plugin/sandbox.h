/* Whether the netns that a runtime names is the one in which the plugins before us worked: by the previous result,
 * which names sandboxes (interfaces[].sandbox) and addresses (ips[].address). A netns that was reused under its old
 * path, or a path that leads to another pod's, is noticed before it is touched.
 *
 * - A sandbox whose path leads to another network namespace, while none leads to this one: foreign. What is no path
 *   (virtual machines have ids there), or leads nowhere, says nothing.
 * - None of the addresses on an interface there: foreign. One is enough, for a family may be off in the netns. Those
 *   that many pods have alike tell least: loopback ones are never asked for, link-local ones (169.254.0.0/16,
 * fe80::/10) only where there are no others.
 * - No previous result (Multus runs plugins that stand alone), or none of both in it: nothing is known, and nothing
 *   refused.
 *
 * At most CNI_SANDBOX_ADDRESSES of the result are looked at. Members of wrong types are skipped: they are other
 * plugins'.
 */
#ifndef CNI_PLUGIN_SANDBOX_H
#define CNI_PLUGIN_SANDBOX_H

#include "common/doc/json.h"

#define CNI_SANDBOX_ADDRESSES 64

enum cni_sandbox_outcome {
    CNI_SANDBOX_FOREIGN = 1, /* it is another one; err says by what that shows */
};

/* `previous`: the previous result; NULL or no object: nothing is known. `path` is CNI_NETNS, `netns` what it led to.
 * 0, an outcome, or a negative errno where the kernel could not be asked. */
int cni_sandbox_check(const struct fl_json *previous, const char *path, int netns, struct fl_err *err) FL_MUST_CHECK;

#endif
