/* The bootstrap of a proxy that was given no file: built from its environment (mesh/label.h: what the webhook sets
 * through the downward API) as YAML text, which then goes the way of any other bootstrap. What is missing or wrong is
 * named, with what would be right.
 *
 *   POD_NAME, POD_NAMESPACE, SERVICE_ACCOUNT   required
 *   POD_IPS                    required: addresses with commas between; the first one names the node
 *   NODE_NAME, FAIRLEAD_WORKLOAD, FAIRLEAD_CLUSTER_ID, FAIRLEAD_LABEL_*   for telemetry
 *   FAIRLEAD_CONTROL_ADDRESS   required: "ip:port" or "name:port", several with commas between; tried in turn. "none":
 *                              there is no control plane, and all traffic passes through, without a certificate
 *   FAIRLEAD_CONTROL_NAME      the DNS name in its certificate; default FL_CONTROL_NAME
 *   FAIRLEAD_CA_ADDRESS        as the control address; default: the same
 *   FAIRLEAD_CA_NAME           default: FAIRLEAD_CONTROL_NAME
 *   FAIRLEAD_ROOT_FILE         roots (PEM) for both; default FL_ROOT_PATH
 *   FAIRLEAD_TOKEN_FILE        service-account token; default FL_TOKEN_PATH "/token"
 *   FAIRLEAD_TRUST_DOMAIN      default "cluster.local"
 *   FAIRLEAD_GATEWAY           "<namespace>/<name>": the gateway role, instead of a sidecar's
 *   FAIRLEAD_DISCOVERY         "on-demand" (default of sidecars) or "all"
 *   FAIRLEAD_ADMIN_PORT        default 15000, on 127.0.0.1
 */
#ifndef PROXY_CONFIG_ENVIRONMENT_H
#define PROXY_CONFIG_ENVIRONMENT_H

#include "common/base/buf.h"
#include "common/base/err.h"

#define PROXY_ENVIRONMENT_TEXT_MAX 65536              /* bytes of the result */
#define PROXY_ENVIRONMENT_CONTROL  "fairlead-control" /* the cluster of the control plane */

/* Appends the bootstrap; `get` answers a variable, NULL where it is not set (an empty one counts as not set).
 * 0; -EINVAL with the variable's name; -EMSGSIZE; -ENOMEM. */
int proxy_environment_print(const char *(*get)(void *owner, const char *name), void *owner, struct fl_buf *out,
                            struct fl_err *err) FL_MUST_CHECK;

#endif
