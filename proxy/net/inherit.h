/* Sockets that another process has handed over: whoever opens a listener looks here first, by its type and address. A
 * socket that is passed on keeps its queue: nobody who is connected, or about to be, notices. */
#ifndef PROXY_NET_INHERIT_H
#define PROXY_NET_INHERIT_H

#include "proxy/net/address.h"

#define PROXY_INHERITED_MAX 1024u

struct proxy_inherited { /* zeroed: none. Owns what is in it */
    int fds[PROXY_INHERITED_MAX];
    unsigned count;
};

/* The first socket of this type (SOCK_STREAM: one that listens) bound to exactly this address, which is the caller's
 * then; -1: there is none. NULL is allowed. */
int proxy_inherited_take(struct proxy_inherited *inherited, int type, const struct proxy_address *address);
/* The most stream sockets that share an address: what a process with so many workers had opened. 0: none. */
unsigned proxy_inherited_workers(const struct proxy_inherited *inherited);
void proxy_inherited_done(struct proxy_inherited *inherited); /* closes what nobody took */

#endif
