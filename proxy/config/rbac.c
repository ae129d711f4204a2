/* RBAC, of HTTP and of connections → struct proxy_rbac_filter. What cannot be understood is refused by name: a rule
 * that was left out would be a hole. */
#include "proxy/policy/rbac.h"

#include "proxy/config/rbac_rule.h"

#include <stdio.h>

static int compare_policies(const void *a, const void *b)
{
    const struct proxy_rbac_policy *one = a, *other = b;
    return proxy_name_compare(one->name, other->name);
}

/* As Envoy prints it: white space becomes '_'. */
static int make_details(struct compile *compile, struct proxy_rbac_policy *policy)
{
    char text[PROXY_RBAC_NAME_MAX + 64];
    size_t len = policy->name.len < PROXY_RBAC_NAME_MAX ? policy->name.len : PROXY_RBAC_NAME_MAX;
    snprintf(text, sizeof(text), "rbac_access_denied_matched_policy[%.*s]", (int)len, policy->name.data);
    for (char *c = text; *c != '\0'; c++) {
        if ((unsigned char)*c <= ' ' || *c == 0x7f)
            *c = '_';
    }
    struct fl_span copy;
    int result = compile_text(compile, text, &copy);
    if (result == 0)
        policy->details = copy.data;
    return result;
}

static int read_permissions(struct rule_reader *reader, const pb_policy *message, struct proxy_rbac_policy *policy)
{
    struct compile *compile = reader->compile;
    if (message->n_permissions == 0 || message->n_permissions > reader->left)
        return compile_fail_at(compile, "permissions", "expected 1 to %zu", reader->left);
    struct proxy_rule *rules = compile_array(compile, message->n_permissions, sizeof(*rules));
    if (rules == NULL)
        return compile_no_memory(compile);
    reader->left -= message->n_permissions;
    for (size_t i = 0; i < message->n_permissions; i++) {
        struct compile_mark mark = compile_enter_at(compile, "permissions", i);
        int result = compile_permission(reader, message->permissions[i], &rules[i]);
        if (result != 0)
            return result;
        compile_leave(compile, mark);
    }
    policy->permissions = rules;
    policy->permission_count = message->n_permissions;
    return 0;
}

static int read_principals(struct rule_reader *reader, const pb_policy *message, struct proxy_rbac_policy *policy)
{
    struct compile *compile = reader->compile;
    if (message->n_principals == 0 || message->n_principals > reader->left)
        return compile_fail_at(compile, "principals", "expected 1 to %zu", reader->left);
    struct proxy_rule *rules = compile_array(compile, message->n_principals, sizeof(*rules));
    if (rules == NULL)
        return compile_no_memory(compile);
    reader->left -= message->n_principals;
    for (size_t i = 0; i < message->n_principals; i++) {
        struct compile_mark mark = compile_enter_at(compile, "principals", i);
        int result = compile_principal(reader, message->principals[i], &rules[i]);
        if (result != 0)
            return result;
        compile_leave(compile, mark);
    }
    policy->principals = rules;
    policy->principal_count = message->n_principals;
    return 0;
}

static int read_policy(struct rule_reader *reader, const char *name, const pb_policy *message,
                       struct proxy_rbac_policy *policy)
{
    struct compile *compile = reader->compile;
    int result = COMPILE_REFUSE(compile, message, "condition", "checked_condition", "cel_config");
    if (result == 0)
        result = compile_text(compile, name, &policy->name);
    if (result == 0)
        result = make_details(compile, policy);
    if (result == 0)
        result = read_permissions(reader, message, policy);
    return result == 0 ? read_principals(reader, message, policy) : result;
}

static int read_policies(struct compile *compile, const pb_rbac *message, struct proxy_rbac *rbac)
{
    struct rule_reader reader = {.compile = compile, .left = PROXY_RULES_MAX};
    if (message->n_policies > PROXY_RBAC_POLICIES_MAX)
        return compile_fail_at(compile, "policies", "more than %d", PROXY_RBAC_POLICIES_MAX);
    struct proxy_rbac_policy *policies = compile_array(compile, message->n_policies, sizeof(*policies));
    if (policies == NULL)
        return compile_no_memory(compile);
    for (size_t i = 0; i < message->n_policies; i++) {
        const Envoy__Config__Rbac__V3__RBAC__PoliciesEntry *entry = message->policies[i];
        struct compile_mark mark = compile_enter_key(compile, "policies", fl_span_str(entry->key));
        if (entry->value == NULL)
            return compile_fail(compile, "must be set");
        int result = read_policy(&reader, entry->key, entry->value, &policies[i]);
        if (result != 0)
            return result;
        compile_leave(compile, mark);
    }
    qsort(policies, message->n_policies, sizeof(*policies), compare_policies);
    for (size_t i = 1; i < message->n_policies; i++) {
        if (fl_span_eq(policies[i - 1].name, policies[i].name))
            return compile_fail_at(compile, "policies", "\"%s\" is there twice", policies[i].name.data);
    }
    rbac->policies = policies;
    rbac->policy_count = message->n_policies;
    return 0;
}

static int read_action(struct compile *compile, const pb_rbac *message, enum proxy_rbac_action *ret_action)
{
    switch ((int)message->action) {
    case ENVOY__CONFIG__RBAC__V3__RBAC__ACTION__ALLOW:
        *ret_action = PROXY_RBAC_ALLOW;
        return 0;
    case ENVOY__CONFIG__RBAC__V3__RBAC__ACTION__DENY:
        *ret_action = PROXY_RBAC_DENY;
        return 0;
    case ENVOY__CONFIG__RBAC__V3__RBAC__ACTION__LOG:
        *ret_action = PROXY_RBAC_LOG;
        return 0;
    default:
        return compile_fail_at(compile, "action", "expected ALLOW, DENY or LOG, got %d", (int)message->action);
    }
}

/* NULL: no rules, which is not the same as rules without policies. */
static int read_rules(struct compile *compile, const char *field, const pb_rbac *message,
                      const struct proxy_rbac **ret_rbac)
{
    *ret_rbac = NULL;
    if (message == NULL)
        return 0;
    struct proxy_rbac *rbac = compile_array(compile, 1, sizeof(*rbac));
    if (rbac == NULL)
        return compile_no_memory(compile);
    struct compile_mark mark = compile_enter(compile, field);
    int result = COMPILE_REFUSE(compile, message, "audit_logging_options");
    if (result == 0)
        result = read_action(compile, message, &rbac->action);
    if (result == 0)
        result = read_policies(compile, message, rbac);
    if (result != 0)
        return result;
    compile_leave(compile, mark);
    *ret_rbac = rbac;
    return 0;
}

int compile_http_rbac(struct compile *compile, const pb_any *any, const struct proxy_rbac_filter **ret_filter)
{
    ProtobufCMessage *unpacked;
    int result = compile_unpack(compile, any, &envoy__extensions__filters__http__rbac__v3__rbac__descriptor, &unpacked);
    struct proxy_rbac_filter *filter = result == 0 ? compile_array(compile, 1, sizeof(*filter)) : NULL;
    if (result != 0)
        return result;
    if (filter == NULL)
        return compile_no_memory(compile);
    const pb_http_rbac *message = (const pb_http_rbac *)unpacked;
    result = COMPILE_REFUSE(compile, message, "matcher", "shadow_matcher");
    if (result == 0)
        result = read_rules(compile, "rules", message->rules, &filter->rules);
    if (result == 0)
        result = read_rules(compile, "shadow_rules", message->shadow_rules, &filter->shadow_rules);
    *ret_filter = filter;
    return result;
}

int compile_network_rbac(struct compile *compile, const pb_any *any, struct proxy_rbac_filter *filter)
{
    ProtobufCMessage *unpacked;
    int result =
        compile_unpack(compile, any, &envoy__extensions__filters__network__rbac__v3__rbac__descriptor, &unpacked);
    if (result != 0)
        return result;
    const pb_network_rbac *message = (const pb_network_rbac *)unpacked;
    if (message->delay_deny != NULL)
        compile_warn(compile, "delay_deny is not acted on: what is denied is reset at once");
    result = COMPILE_REFUSE(compile, message, "matcher", "shadow_matcher");
    if (result == 0)
        result = compile_required(compile, "stat_prefix", message->stat_prefix);
    if (result == 0)
        result = read_rules(compile, "rules", message->rules, &filter->rules);
    return result == 0 ? read_rules(compile, "shadow_rules", message->shadow_rules, &filter->shadow_rules) : result;
}
