/* One condition of a policy: Permission or Principal → struct proxy_rule. For config/rbac.c. */
#ifndef PROXY_CONFIG_RBAC_RULE_H
#define PROXY_CONFIG_RBAC_RULE_H

#include "proxy/config/context.h"
#include "proxy/policy/rule.h"

struct rule_reader {
    struct compile *compile;
    size_t left; /* rules that this RBAC message may still have */
    unsigned depth;
};

/* At the place of the message. 0, or a negative errno with the error set. */
int compile_permission(struct rule_reader *reader, const pb_permission *message, struct proxy_rule *rule) FL_MUST_CHECK;
int compile_principal(struct rule_reader *reader, const pb_principal *message, struct proxy_rule *rule) FL_MUST_CHECK;

#endif
