/* The DNS port by UDP: one socket a family, on loopback. A bounded number of datagrams a turn; what a client
 * does not take is lost, as datagrams are.
 *
 * Addresses of loopback are taken from no other interface (martians; RFC 4291 §2.5.3), so nobody outside of the pod
 * reaches it. SO_BINDTODEVICE would say so twice, and breaks IPv6: a captured query comes from the pod's own address,
 * whose local route is not lo's.
 */
#ifndef PROXY_DNS_UDP_H
#define PROXY_DNS_UDP_H

#include "common/base/err.h"
#include "proxy/dns/resolver.h"
#include "proxy/net/inherit.h"

#define PROXY_DNS_UDP_TURN 32u /* datagrams */

struct proxy_dns_udp { /* embedded; zeroed: not open */
    struct fl_source source;
    int fd;
    struct proxy_dns_resolver *resolver;
    char *scratch; /* PROXY_DNS_MESSAGE_MAX bytes, the owner's */
};

/* 0, or a negative errno with the address in err. */
int proxy_dns_udp_open(struct proxy_dns_udp *udp, struct proxy_dns_resolver *resolver,
                       const struct proxy_address *address, struct proxy_inherited *inherited, char *scratch,
                       struct fl_err *err) FL_MUST_CHECK;
void proxy_dns_udp_close(struct proxy_dns_udp *udp);

#endif
