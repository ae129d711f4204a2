/* The loopback interface of a pod's netns: up, and with the pass-through address ::6 (port.h) where the netns has
 * IPv6 and it is captured; 127.0.0.6 is in lo's 127.0.0.0/8 from birth. Some chains lack the loopback plugin, and
 * nobody else adds ::6.
 */
#ifndef CNI_CAPTURE_LOOPBACK_H
#define CNI_CAPTURE_LOOPBACK_H

#include "cni/capture/netlink.h"

struct cni_loopback {
    bool up;
    bool ipv6;    /* the netns has IPv6 on lo: neither missing from the kernel nor disabled */
    bool address; /* ::6 is there; false without IPv6 */
};

/* `route` is a NETLINK_ROUTE socket of the netns. 0, CNI_NETLINK_AGAIN or a negative errno. */
int cni_loopback_read(struct cni_netlink *route, struct cni_loopback *ret_state, struct fl_err *err) FL_MUST_CHECK;
/* Whether any interface of the netns has IPv6: lo may have none where others do, and what they send is captured too.
 * Returns as above. */
int cni_loopback_look_beside(struct cni_netlink *route, bool *ret_ipv6, struct fl_err *err) FL_MUST_CHECK;
/* Brings lo up and, where `address` is wanted, adds ::6 as needed; undone where it fails half-way. Returns as above. */
int cni_loopback_prepare(struct cni_netlink *route, bool address, struct fl_err *err) FL_MUST_CHECK;
/* Removes ::6; fine where it is not there. lo stays up. */
int cni_loopback_remove_address(struct cni_netlink *route, struct fl_err *err) FL_MUST_CHECK;

#endif
