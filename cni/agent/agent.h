/* The assembly: one loop on which the installer's watch, the repair, the metrics and the Events stand. They do not know
 * each other; what one reports, this file hands to metrics, log and Events.
 *
 * Whatever is away (the API server, a folder, other processes' /proc, a capability), the rest goes on; what is off is
 * said once, with the reason. Ending takes nothing from the node. */
#ifndef CNI_AGENT_AGENT_H
#define CNI_AGENT_AGENT_H

#include "cni/agent/options.h"
#include "common/base/err.h"

/* Returns after SIGTERM or SIGINT, or when an uninstall is done. 0; a negative errno with the reason: it could not
 * start, or what it was to take away is still there. The log is open. */
int cni_agent_run(const struct cni_agent_options *options, struct fl_err *err) FL_MUST_CHECK;

#endif
