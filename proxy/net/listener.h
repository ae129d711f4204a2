/* Listening sockets, and accepting from them.
 *
 * A socket is opened by the main thread (so that a port that is taken is told at the start) and served by one worker.
 * Accepting is bounded by PROXY_TURN_ACCEPTS a turn. Where descriptors or memory run out, accepting pauses for
 * PROXY_LISTEN_PAUSE_MS and goes on by itself; clients wait in the kernel's backlog meanwhile, and the process lives.
 */
#ifndef PROXY_NET_LISTENER_H
#define PROXY_NET_LISTENER_H

#include "common/base/err.h"
#include "common/loop/timer.h"
#include "proxy/net/address.h"
#include "proxy/net/inherit.h"
#include "proxy/net/turn.h"

#define PROXY_LISTEN_PAUSE_MS 100u
#define PROXY_LISTEN_LAST     1024u

struct proxy_socket_options {
    struct proxy_address address;
    bool ipv4_compat; /* "::" takes IPv4 too; where the netns has no IPv6, 0.0.0.0 instead */
    bool reuse_port;  /* one socket of several workers */
    bool transparent;
    uint32_t backlog;
    struct proxy_inherited *inherited; /* looked into first; NULL: nothing was handed over */
};

/* A bound and listening socket, non-blocking; what is accepted from it inherits TCP_NODELAY and keep-alive. 0 or -errno
 * with the address in err. */
int proxy_socket_listen(const struct proxy_socket_options *options, int *ret_fd, struct fl_err *err) FL_MUST_CHECK;

struct proxy_listen { /* embedded; one per socket and worker */
    struct fl_source source;
    struct fl_timer pause;
    struct proxy_turn *turn;
    /* The fd is the callee's. */
    void (*on_accept)(struct proxy_listen *listen, int fd, const struct proxy_address *peer);
    /* Accepting failed with this errno (positive) and pauses. */
    void (*on_failure)(struct proxy_listen *listen, int error);
    void *owner;
};

/* turn, on_accept, on_failure and owner are set. The fd stays the caller's. 0 or -errno. */
int proxy_listen_start(struct proxy_listen *listen, int fd) FL_MUST_CHECK;
/* What waits in the kernel's queue is accepted (≤ PROXY_LISTEN_LAST), then stops: so that closing the socket resets
 * nobody who is connected already. */
void proxy_listen_last(struct proxy_listen *listen);
void proxy_listen_stop(struct proxy_listen *listen); /* idempotent; the socket is not closed */

#endif
