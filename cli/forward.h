/* Ports of a pod on this machine, by a `kubectl port-forward` that we start, watch and end.
 *
 * Why not by ourselves: port-forward is SPDY or a WebSocket with channels of its own, libcurl of Debian 12 has no
 * WebSocket that could be relied on, and people who have a kubeconfig have kubectl, with every way of authenticating
 * that it knows. What it says is read bounded, and in bounded time; it ends with us, whatever becomes of us.
 *
 * The ports are open on 127.0.0.1 for everybody on this machine while it runs, as with kubectl port-forward itself.
 */
#ifndef CLI_FORWARD_H
#define CLI_FORWARD_H

#include "cli/option.h"

#include "common/base/err.h"

#include <sys/types.h>

#define CLI_FORWARD_PORTS_MAX 4
#define CLI_FORWARD_MS        15000u /* for its first word, where no --timeout was given */
#define CLI_FORWARD_SAID_MAX  8192   /* bytes that are read of what it says */

struct cli_forward {
    pid_t pid; /* 0: there is none */
    int out, err;
    size_t count;
    char base[CLI_FORWARD_PORTS_MAX][32]; /* "127.0.0.1:41234", in the order of the ports asked for */
};

/* Starts it for ports of a pod ("web-1", or "deployment/web", of which kubectl takes one), and returns when it listens
 * on all of them. -ENOENT: there is no kubectl; -ETIMEDOUT; -ECONNREFUSED with what kubectl said; -EINVAL; -ENOMEM,
 * -EMFILE and the like. Nothing to close then. */
int cli_forward_open(const struct cli_access *access, struct fl_span name_space, struct fl_span pod,
                     const uint16_t *ports, size_t count, struct cli_forward *ret_forward,
                     struct fl_err *err) FL_MUST_CHECK;
/* Ends it, and waits for that. A zeroed one is fine. */
void cli_forward_close(struct cli_forward *forward);

/* A line of kubectl's, "Forwarding from 127.0.0.1:41234 -> 15000": true and both ports. Pure. */
bool cli_forward_read(struct fl_span line, uint16_t *ret_local, uint16_t *ret_remote);

#endif
