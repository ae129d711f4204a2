#include "proxy/policy/rbac.h"

/* Whether one of them matches; ERR where one might. */
static enum proxy_answer any_of(const struct proxy_rule *rules, size_t count, const struct proxy_facts *facts)
{
    enum proxy_answer found = PROXY_ANSWER_NO;
    for (size_t i = 0; i < count; i++) {
        enum proxy_answer one = proxy_rule_judge(&rules[i], facts);
        if (one == PROXY_ANSWER_YES)
            return one;
        if (one == PROXY_ANSWER_ERR)
            found = one;
    }
    return found;
}

/* Principals decide first: they are what mostly tells policies apart, and cost the least. */
static enum proxy_answer policy_match(const struct proxy_rbac_policy *policy, const struct proxy_facts *facts)
{
    enum proxy_answer who = any_of(policy->principals, policy->principal_count, facts);
    if (who == PROXY_ANSWER_NO)
        return who;
    enum proxy_answer what = any_of(policy->permissions, policy->permission_count, facts);
    return what == PROXY_ANSWER_YES ? who : what;
}

struct proxy_rbac_decision proxy_rbac_decide(const struct proxy_rbac *rbac, const struct proxy_facts *facts)
{
    struct proxy_rbac_decision decision = {.allowed = rbac == NULL || rbac->action != PROXY_RBAC_ALLOW};
    bool deny = rbac != NULL && rbac->action == PROXY_RBAC_DENY;
    for (size_t i = 0; rbac != NULL && i < rbac->policy_count; i++) {
        enum proxy_answer match = policy_match(&rbac->policies[i], facts);
        bool doubtful = match == PROXY_ANSWER_ERR;
        if (match == PROXY_ANSWER_YES || (doubtful && deny))
            return (struct proxy_rbac_decision){.allowed = !deny, .doubtful = doubtful, .policy = &rbac->policies[i]};
        decision.doubtful |= doubtful;
    }
    decision.doubtful &= !decision.allowed;
    return decision;
}

const char *proxy_rbac_details(const struct proxy_rbac_decision *decision)
{
    return decision->policy != NULL ? decision->policy->details : "rbac_access_denied_matched_policy[none]";
}
