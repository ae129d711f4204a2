/* NetworkPolicies (networking.k8s.io/v1) asked beforehand: would they let this flow pass? Pure, over objects as the API
 * server has them. Policies of other groups (Cilium's, Calico's, AdminNetworkPolicy) are not known here.
 *
 * A pod that no policy of a direction selects is open in that direction; selected ones let in (out) what any rule of
 * theirs allows. A rule without ports is for all ports, one without peers for everybody. Traffic from a pod's own node
 * (the kubelet's probes) is let in by the specification, whatever policies say.
 */
#ifndef CLI_CHECK_NETPOLICY_H
#define CLI_CHECK_NETPOLICY_H

#include "common/doc/json.h"

#include <stdint.h>

enum cli_direction { CLI_INGRESS, CLI_EGRESS };

struct cli_end {
    const struct fl_json *pod;        /* NULL: anybody; a rule for any peer at all is enough then */
    const struct fl_json *name_space; /* its Namespace object; NULL: without labels */
};

struct cli_flow {
    enum cli_direction direction; /* whose side is asked: `subject` receives, or sends */
    struct cli_end subject, peer;
    const char *protocol; /* "TCP", "UDP" */
    uint16_t port;        /* of the receiving pod */
};

/* `policies`: a list's first object. True: it may pass. False: *ret_policy is the first of the policies that select the
 * subject in this direction; *ret_count how many do. */
bool cli_netpolicy_allows(const struct fl_json *policies, const struct cli_flow *flow,
                          const struct fl_json **ret_policy, size_t *ret_count);

/* metav1.LabelSelector: matchLabels, and matchExpressions (In, NotIn, Exists, DoesNotExist). An empty one (also NULL)
 * selects everything; an operator that is not known, nothing. `labels` NULL: none. */
bool cli_selector_matches(const struct fl_json *selector, const struct fl_json *labels);

#endif
