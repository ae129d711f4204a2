/* What the webhook tells the sidecar about the app beside it, from the environment, with a bootstrap file as without:
 *
 *   FAIRLEAD_PROBES    the originals of its rewritten probes (mesh/appprobe.h); absent or empty: none
 *   FAIRLEAD_METRICS   where its own metrics are (mesh/appmetrics.h); absent or empty: nowhere
 *   POD_IPS            its first address is where the app is asked, as the kubelet would; absent: 127.0.0.1
 */
#ifndef PROXY_CONFIG_PODAPP_H
#define PROXY_CONFIG_PODAPP_H

#include "common/mesh/appmetrics.h"
#include "common/mesh/appprobe.h"
#include "proxy/net/address.h"

struct proxy_podapp {
    struct fl_appprobes probes;
    struct fl_appmetrics metrics;
    bool has_metrics;
    struct proxy_address address; /* without a port */
};

/* `get` answers a variable, NULL where it is not set. 0; -EINVAL, -ENOTSUP, -EMSGSIZE with the variable's name;
 * -ENOMEM. */
int proxy_podapp_read(const char *(*get)(void *owner, const char *name), void *owner, struct proxy_podapp *ret_app,
                      struct fl_err *err) FL_MUST_CHECK;
void proxy_podapp_done(struct proxy_podapp *app); /* also of a zeroed one */

#endif
