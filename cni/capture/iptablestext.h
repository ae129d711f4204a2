/* A plan as iptables knows it, without I/O: one text for each family, in the form of iptables-save. What is there and
 * what is wanted have the same form (iptablessave.h), so "as planned" is an equality of texts.
 *
 * Ours are the chains whose names begin with CNI_IPTABLES_PREFIX, and every rule elsewhere that goes to one of them.
 * Each chain of the plan is one of ours, entered by the first rule of a built-in chain, whose comment is the plan's:
 *
 *   prerouting: nat PREROUTING    output: nat OUTPUT    drop_invalid: mangle PREROUTING    dns_zone: raw OUTPUT
 *
 * A rule of the plan becomes one rule, or several of the same verdict where it names a set: 15 ports to a multiport
 * match (a range takes two places), and one rule for each uid range, CIDR or interface. A set that a port must *not* be
 * in takes a chain of its own (a branch): ports of the set return from it, the others meet the verdict. "Accept" is a
 * return to the built-in chain: as in nftables, what others have there still applies. IPv6 that is not captured has no
 * rules at all.
 */
#ifndef CNI_CAPTURE_IPTABLESTEXT_H
#define CNI_CAPTURE_IPTABLESTEXT_H

#include "cni/capture/plan.h"

#define CNI_IPTABLES_PREFIX "FAIRLEAD_"
/* Bytes of a text. The largest plan takes a fraction of it, a test proves that; a netns that holds more (thousands of
 * rules of others) is an error. */
#define CNI_IPTABLES_TEXT_MAX (1024 * 1024)

/* Appends the rules of the plan for AF_INET or AF_INET6. 0, -ENOMEM, -EMSGSIZE; -EOPNOTSUPP where iptables cannot say
 * it (an interface whose name is a pattern or an option there: err names it). */
int cni_iptables_print(const struct cni_plan *plan, int family, struct fl_buf *out, struct fl_err *err) FL_MUST_CHECK;

#endif
