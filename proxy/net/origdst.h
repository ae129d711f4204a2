/* Where a redirected connection was going before nftables' or iptables' REDIRECT: SO_ORIGINAL_DST of its address
 * family (an IPv4 connection on a dual-stack socket included).
 */
#ifndef PROXY_NET_ORIGDST_H
#define PROXY_NET_ORIGDST_H

#include "proxy/net/address.h"

enum proxy_origdst {
    PROXY_ORIGDST_FOUND = 1,
    PROXY_ORIGDST_NONE = 2, /* not redirected: nothing is known, or it was meant for this very socket */
};

/* peer: of the connection, which tells the family. *ret_original is set for PROXY_ORIGDST_FOUND (NULL: nobody wants to
 * know, and conntrack is not asked); *ret_local (the
 * socket's own address) in both cases. */
enum proxy_origdst proxy_origdst(int fd, const struct proxy_address *peer, struct proxy_address *ret_original,
                                 struct proxy_address *ret_local) FL_MUST_CHECK;

#endif
