/* RBAC: who may do what, decided from facts by the rules of one filter (Envoy's config.rbac.v3.RBAC). Pure.
 *
 * A policy matches where one of its permissions and one of its principals do. ALLOW lets pass what a policy matches,
 * DENY what none does. Where a policy cannot tell (rule.h), it matches for DENY and not for ALLOW: in doubt the answer
 * is no. LOG lets everything pass. Policies are looked at in the order of their names; the first that decides is named.
 */
#ifndef PROXY_POLICY_RBAC_H
#define PROXY_POLICY_RBAC_H

#include "proxy/policy/rule.h"

#define PROXY_RBAC_POLICIES_MAX 1024 /* of one message */
#define PROXY_RBAC_NAME_MAX     256  /* bytes of a policy's name in details and logs; the rest is cut */

enum proxy_rbac_action { PROXY_RBAC_ALLOW, PROXY_RBAC_DENY, PROXY_RBAC_LOG };

struct proxy_rbac_policy {
    struct fl_span name;
    const char *details; /* "rbac_access_denied_matched_policy[<name>]", without white space */
    const struct proxy_rule *permissions, *principals;
    size_t permission_count, principal_count; /* ≥ 1 each: config refuses others */
};

struct proxy_rbac {
    enum proxy_rbac_action action;
    const struct proxy_rbac_policy *policies; /* by name */
    size_t policy_count;
};

/* A filter: what is enforced, and what is only tried out. Each may be absent. */
struct proxy_rbac_filter {
    const struct proxy_rbac *rules, *shadow_rules;
};

struct proxy_rbac_decision {
    bool allowed;
    bool doubtful;                          /* a matcher could not tell, and that decided */
    const struct proxy_rbac_policy *policy; /* that decided; NULL: none did */
};

/* rbac NULL: allowed. */
struct proxy_rbac_decision proxy_rbac_decide(const struct proxy_rbac *rbac, const struct proxy_facts *facts);
/* Why it was denied, for logs. Lives as long as the rules. */
const char *proxy_rbac_details(const struct proxy_rbac_decision *decision);

#endif
