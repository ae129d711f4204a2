/* Whether a network namespace holds an address: how a netns that was reused, or belongs to another pod, is noticed
 * before it is programmed. The plugin asks with the addresses that the plugins before it allotted, the agent with those
 * that a sidecar says are its pod's.
 *
 * The question goes to the kernel by netlink (a dump of the families asked for, at most 256 KiB of answers: some three
 * thousand addresses), from a socket that is opened inside the netns. Nothing is changed there. An address counts in
 * whatever state it is (tentative, deprecated), on whatever interface, lo too.
 */
#ifndef CNI_CAPTURE_ADDRESS_H
#define CNI_CAPTURE_ADDRESS_H

#include "common/mesh/capture.h"

/* Whether an interface there has an address inside one of `addresses` (a single address has the prefix 32 or 128).
 * `netns` is a descriptor of cni_netns_open, not consumed. 0 with *ret_has; -EAGAIN (addresses kept changing there);
 * -EMSGSIZE (more addresses than are looked at); another negative errno. count 0: false, and nothing is asked. */
int cni_netns_has_address(int netns, const struct fl_cidr *addresses, size_t count, bool *ret_has,
                          struct fl_err *err) FL_MUST_CHECK;

/* One address as CNI results write it, "10.9.0.2/24", or without its prefix: read as that one address (the prefix,
 * which must be one of its family, says nothing about whose it is). IPv4-mapped IPv6 is the IPv4 address. 0 or -EINVAL.
 * Pure. */
int cni_address_parse(struct fl_span text, struct fl_cidr *ret_address) FL_MUST_CHECK;

#endif
