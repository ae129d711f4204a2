/* Which addresses are listened on: opens what a new snapshot adds, keeps what it has in common with the one before.
 * The descriptors themselves belong to the workers once they were handed over.
 */
#ifndef PROXY_SERVER_SOCKETS_H
#define PROXY_SERVER_SOCKETS_H

#include "proxy/net/listener.h"
#include "proxy/snapshot/snapshot.h"

struct proxy_sockets {               /* zeroed: none */
    struct proxy_address *addresses; /* that workers listen on */
    size_t count;
};

struct proxy_inherited;

enum proxy_sockets_result { PROXY_SOCKETS_MISSING = 1 /* some listeners could not be opened; the others go on */ };

/* For each worker and listener slot of the snapshot a new socket, or -1 (nothing to open, or open already), at
 * ret_fds[worker * listener_slots + slot]; *ret_next: what is listened on when the snapshot is in force. strict: all or
 * nothing. Else a listener that cannot be opened is left out, and tried again with the next snapshot:
 * `inherited` (NULL allowed) are taken where they fit. PROXY_SOCKETS_MISSING with the first reason in err. 0, or a
 * negative errno with the reason. */
int proxy_sockets_open(const struct proxy_sockets *sockets, struct proxy_inherited *inherited,
                       const struct proxy_snapshot *snapshot, size_t workers, bool strict,
                       struct proxy_sockets *ret_next, int **ret_fds, struct fl_err *err) FL_MUST_CHECK;
void proxy_sockets_done(struct proxy_sockets *sockets);

#endif
