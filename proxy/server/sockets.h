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

/* For each worker and listener of the snapshot a new socket, or -1 (nothing to open, or open already), at
 * ret_fds[worker * listener_count + listener]. All or nothing: 0, or a negative errno with the reason. */
int proxy_sockets_open(const struct proxy_sockets *sockets, const struct proxy_snapshot *snapshot, size_t workers,
                       int **ret_fds, struct fl_err *err) FL_MUST_CHECK;
/* The snapshot is in force: its addresses are the ones listened on. 0 or -ENOMEM. */
int proxy_sockets_adopt(struct proxy_sockets *sockets, const struct proxy_snapshot *snapshot) FL_MUST_CHECK;
void proxy_sockets_done(struct proxy_sockets *sockets);

#endif
