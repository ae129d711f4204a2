/* Listening sockets of a server. Private to this folder.
 *
 * Accepting is bounded a turn. Where descriptors or memory run out it pauses for 100 ms and goes on by itself; clients
 * wait in the kernel's backlog meanwhile.
 */
#ifndef FL_GRPC_ACCEPT_H
#define FL_GRPC_ACCEPT_H

#include "common/base/err.h"
#include "common/grpc/address.h"
#include "common/loop/timer.h"

struct fl_grpc_accept { /* embedded */
    struct fl_loop *loop;
    struct fl_source source;
    struct fl_timer pause;
    int fd;
    bool secure;
    /* The fd is the callee's. */
    void (*on_accept)(struct fl_grpc_accept *accept, int fd, const struct fl_grpc_address *peer);
    void *owner;
};

/* on_accept, owner, secure are set. 0 or a negative errno with the address in err. */
int fl_grpc_accept_start(struct fl_grpc_accept *accept, struct fl_loop *loop, const struct fl_grpc_address *address,
                         struct fl_err *err) FL_MUST_CHECK;
void fl_grpc_accept_stop(struct fl_grpc_accept *accept); /* idempotent; a zeroed one is fine */

#endif
