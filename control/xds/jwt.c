/* RequestAuthentication as a filter: whose tokens are good. The limit is the proxies' own (proxy/policy/jwt.h;
 * xds_accept_test holds the two together). */
#include "control/xds/generation.h"

#define CONTROL_JWT_PROVIDERS_MAX 64

static pb_jwt_provider *provider(struct build *build, const struct control_jwt_rule *rule)
{
    pb_jwt_provider *message = new_jwt_provider(build);
    const struct control_jwt_header authorization = {FL_SPAN("authorization"), FL_SPAN("Bearer ")};
    size_t headers = rule->header_count > 0 || rule->param_count > 0 ? rule->header_count : 1;
    message->issuer = build_text(build, rule->issuer);
    for (size_t i = 0; i < rule->audience_count; i++)
        PUSH(build, message, audiences, build_text(build, rule->audiences[i]));
    for (size_t i = 0; i < headers; i++) {
        const struct control_jwt_header *from = rule->header_count > 0 ? &rule->headers[i] : &authorization;
        pb_jwt_header *header = new_jwt_header(build);
        header->name = build_text(build, from->name);
        header->value_prefix = build_text(build, from->prefix);
        PUSH(build, message, from_headers, header);
    }
    for (size_t i = 0; i < rule->param_count; i++)
        PUSH(build, message, from_params, build_text(build, rule->params[i]));
    pb_data_source *jwks = new_data_source(build);
    jwks->specifier_case = ENVOY__CONFIG__CORE__V3__DATA_SOURCE__SPECIFIER_INLINE_STRING;
    jwks->inline_string = build_text(build, rule->jwks);
    message->jwks_source_specifier_case =
        ENVOY__EXTENSIONS__FILTERS__HTTP__JWT_AUTHN__V3__JWT_PROVIDER__JWKS_SOURCE_SPECIFIER_LOCAL_JWKS;
    message->local_jwks = jwks;
    message->forward = rule->forward;
    message->payload_in_metadata = literal(CONTROL_JWT_PAYLOAD);
    return message;
}

static void add_provider(struct build *build, pb_jwt *jwt, pb_jwt_or *any,
                         const struct control_request_authentication *from, size_t index)
{
    pb_jwt_provider_entry *entry = new_jwt_provider_entry(build);
    pb_jwt_requirement *requirement = new_jwt_requirement(build);
    entry->key = build_textf(build, "%.*s/%.*s#%zu", FL_SPAN_ARG(from->object.metadata.name_space),
                             FL_SPAN_ARG(from->object.metadata.name), index);
    entry->value = provider(build, &from->rules[index]);
    PUSH(build, jwt, providers, entry);
    requirement->requires_type_case =
        ENVOY__EXTENSIONS__FILTERS__HTTP__JWT_AUTHN__V3__JWT_REQUIREMENT__REQUIRES_TYPE_PROVIDER_NAME;
    requirement->provider_name = entry->key;
    PUSH(build, any, requirements, requirement);
}

/* A token that is there must be good; one that is absent is for the policies. Rules beyond the limit are left out:
 * their tokens are of an issuer that is not known, and not good. */
pb_jwt *policies_jwt(struct build *build, const struct control_objects *authentications)
{
    pb_jwt *jwt = new_jwt(build);
    pb_jwt_or *any = new_jwt_or(build);
    for (size_t i = 0; i < authentications->count; i++) {
        const struct control_request_authentication *from =
            control_as_request_authentication(authentications->items[i]);
        for (size_t k = 0; k < from->rule_count && jwt->n_providers < CONTROL_JWT_PROVIDERS_MAX; k++)
            add_provider(build, jwt, any, from, k);
    }
    if (jwt->n_providers == 0)
        return NULL;
    pb_jwt_requirement *missing = new_jwt_requirement(build), *whole = new_jwt_requirement(build);
    pb_jwt_rule *rule = new_jwt_rule(build);
    missing->requires_type_case =
        ENVOY__EXTENSIONS__FILTERS__HTTP__JWT_AUTHN__V3__JWT_REQUIREMENT__REQUIRES_TYPE_ALLOW_MISSING;
    missing->allow_missing = new_empty(build);
    PUSH(build, any, requirements, missing);
    whole->requires_type_case =
        ENVOY__EXTENSIONS__FILTERS__HTTP__JWT_AUTHN__V3__JWT_REQUIREMENT__REQUIRES_TYPE_REQUIRES_ANY;
    whole->requires_any = any;
    rule->match = new_route_match(build);
    rule->match->path_specifier_case = ENVOY__CONFIG__ROUTE__V3__ROUTE_MATCH__PATH_SPECIFIER_PREFIX;
    rule->match->prefix = literal("/");
    rule->requirement_type_case =
        ENVOY__EXTENSIONS__FILTERS__HTTP__JWT_AUTHN__V3__REQUIREMENT_RULE__REQUIREMENT_TYPE_REQUIRES;
    rule->requires = whole;
    PUSH(build, jwt, rules, rule);
    return jwt;
}
