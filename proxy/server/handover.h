/* Listeners go to a new process without a lost connection: `fairlead-proxy --take-over …` beside the running one.
 *
 *   new                                              old (a Unix socket, "handover", in its state folder)
 *   connect, both look at the other's uid ─────────►
 *   ◄───────────────────────────────────────────────  every listening socket (SCM_RIGHTS), then "end"
 *   starts on these, accepts beside the old one,
 *   "ready" when its configuration is in force ────►  closes its own ports, drains, exits
 *
 * What is passed is the socket itself, so its queue, too; nothing is bound again. Where the connection ends before
 * "ready" nothing has happened: the old process goes on. The new one has as many workers as the old one had, whose
 * sockets these are, and its admin and health ports begin with "ready", so that nobody is told "not ready" meanwhile.
 */
#ifndef PROXY_SERVER_HANDOVER_H
#define PROXY_SERVER_HANDOVER_H

#include "common/base/err.h"
#include "common/loop/loop.h"
#include "proxy/net/inherit.h"

#define PROXY_HANDOVER_FILE    "handover"
#define PROXY_HANDOVER_WAIT_MS 5000u /* for the old process to pass its sockets */

/* -- the new process -- */

/* Blocking, at the start. *ret_fd: the connection, for proxy_handover_ready. 0; -ENOENT, -ECONNREFUSED: there is no old
 * process; else another negative errno with the reason. */
int proxy_handover_take(const char *folder, struct proxy_inherited *ret_inherited, int *ret_fd,
                        struct fl_err *err) FL_MUST_CHECK;
void proxy_handover_ready(int fd); /* tells the old process; closes */

/* -- the old process -- */

struct proxy_handover;

struct proxy_handover_options {
    struct fl_loop *loop;
    const char *folder;
    void (*on_ready)(void *owner); /* the new process serves: end */
    void *owner;
};

/* Listens in the folder; the file of a process before is replaced. 0, or a negative errno with the reason. */
int proxy_handover_new(const struct proxy_handover_options *options, struct proxy_handover **ret_handover,
                       struct fl_err *err) FL_MUST_CHECK;
/* The file goes where it is still ours. NULL is allowed; returns NULL. */
struct proxy_handover *proxy_handover_free(struct proxy_handover *handover);

#endif
