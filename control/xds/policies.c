/* AuthorizationPolicy and RequestAuthentication (jwt.c) as filters: JWT, then DENY, then ALLOW, each with its shadow.
 *
 * A rule is one RBAC policy: its permissions are `to`, its principals `from` and all of `when`. On TCP a rule that
 * needs HTTP never allows, and denies by what is left of it. A policy that was not understood denies everything.
 *
 * A request principal "<iss>/<sub>" is split by the issuers that the workload trusts: no token of another one is ever
 * valid, so what fits none of them matches nothing.
 *
 * The limits are the proxies' own (proxy/policy/rbac.h, rule.h, jwt.h; xds_accept_test holds the two together).
 */
#include "control/xds/generation.h"

#include "common/mesh/lists.h"

#include <arpa/inet.h>

#define JWT_NAMESPACE "envoy.filters.http.jwt_authn"

#define CONTROL_RBAC_POLICIES_MAX 1024 /* rules of all policies of one workload and action */
#define CONTROL_RBAC_RULES_MAX    8192 /* what these are made of */

struct policies {
    struct generation *generation;
    struct build *build;
    bool http;
    bool paths;                 /* a rule looks at paths */
    size_t rules;               /* permissions and principals so far of one RBAC message */
    struct control_objects jwt; /* RequestAuthentications of the workload */
};

static pb_string_match *text_match(struct policies *policies, const struct control_text *text)
{
    if (text->match == CONTROL_TEXT_PREFIX)
        return build_prefix(policies->build, text->text);
    return text->match == CONTROL_TEXT_SUFFIX ? build_suffix(policies->build, text->text)
                                              : build_exact(policies->build, text->text);
}

/* -- permissions: what is done -- */

#define PERMISSION(choice, value)                                                                                      \
    ({                                                                                                                 \
        pb_permission *permission_ = new_permission(policies->build);                                                  \
        policies->rules++;                                                                                             \
        permission_->rule_case = ENVOY__CONFIG__RBAC__V3__PERMISSION__RULE_##choice;                                   \
        value;                                                                                                         \
        permission_;                                                                                                   \
    })

static pb_permission *permit_any(struct policies *policies)
{
    return PERMISSION(ANY, permission_->any = true);
}

static pb_permission *permit_set(struct policies *policies, pb_permission_set *set, bool all)
{
    if (set->n_rules == 1)
        return set->rules[0];
    return all ? PERMISSION(AND_RULES, permission_->and_rules = set)
               : PERMISSION(OR_RULES, permission_->or_rules = set);
}

static pb_permission *permit_not(struct policies *policies, pb_permission *inner)
{
    return PERMISSION(NOT_RULE, permission_->not_rule = inner);
}

static pb_header_match *header_match(struct policies *policies, struct fl_span name, const struct control_text *text)
{
    pb_header_match *match = new_header_match(policies->build);
    match->name = build_text(policies->build, name);
    if (text->match == CONTROL_TEXT_PRESENT) {
        match->header_match_specifier_case =
            ENVOY__CONFIG__ROUTE__V3__HEADER_MATCHER__HEADER_MATCH_SPECIFIER_PRESENT_MATCH;
        match->present_match = true;
        return match;
    }
    match->header_match_specifier_case = ENVOY__CONFIG__ROUTE__V3__HEADER_MATCHER__HEADER_MATCH_SPECIFIER_STRING_MATCH;
    match->string_match = text_match(policies, text);
    return match;
}

static pb_permission *permit_header(struct policies *policies, pb_header_match *match)
{
    return PERMISSION(HEADER, permission_->header = match);
}

static pb_permission *permit_authority(struct policies *policies, pb_string_match *text)
{
    pb_header_match *match = new_header_match(policies->build);
    text->ignore_case = true;
    match->name = literal(":authority");
    match->header_match_specifier_case = ENVOY__CONFIG__ROUTE__V3__HEADER_MATCHER__HEADER_MATCH_SPECIFIER_STRING_MATCH;
    match->string_match = text;
    return permit_header(policies, match);
}

/* A host that was written without a port is meant at every port. */
static pb_permission *permit_host(struct policies *policies, const struct control_text *text)
{
    if (text->match == CONTROL_TEXT_PRESENT)
        return permit_header(policies, header_match(policies, FL_SPAN(":authority"), text));
    pb_permission_set *set = new_permission_set(policies->build);
    PUSH(policies->build, set, rules, permit_authority(policies, text_match(policies, text)));
    if (text->match != CONTROL_TEXT_PREFIX && fl_span_find(text->text, ':') == text->text.len) {
        const char *with_port = build_textf(policies->build, "%.*s:", FL_SPAN_ARG(text->text));
        pb_string_match *match = build_prefix(policies->build, fl_span_str(with_port));
        if (text->match == CONTROL_TEXT_SUFFIX) {
            match->match_pattern_case = ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_CONTAINS;
            match->contains = literal(with_port);
        }
        PUSH(policies->build, set, rules, permit_authority(policies, match));
    }
    return permit_set(policies, set, false);
}

static pb_permission *permit_method(struct policies *policies, const struct control_text *text)
{
    return permit_header(policies, header_match(policies, FL_SPAN(":method"), text));
}

static pb_permission *permit_path(struct policies *policies, const struct control_text *text)
{
    policies->paths = true;
    if (text->match == CONTROL_TEXT_PRESENT)
        return permit_any(policies);
    pb_path_match *path = new_path_match(policies->build);
    path->rule_case = ENVOY__TYPE__MATCHER__V3__PATH_MATCHER__RULE_PATH;
    path->path = text_match(policies, text);
    return PERMISSION(URL_PATH, permission_->url_path = path);
}

/* One of the values, and none of the others. */
static void permit_texts(struct policies *policies, pb_permission_set *all, const struct control_texts *texts,
                         pb_permission *(*one)(struct policies *policies, const struct control_text *text))
{
    pb_permission_set *values = new_permission_set(policies->build), *others = new_permission_set(policies->build);
    for (size_t i = 0; i < texts->count; i++)
        PUSH(policies->build, values, rules, one(policies, &texts->values[i]));
    for (size_t i = 0; i < texts->not_count; i++)
        PUSH(policies->build, others, rules, one(policies, &texts->not_values[i]));
    if (values->n_rules > 0)
        PUSH(policies->build, all, rules, permit_set(policies, values, false));
    if (others->n_rules > 0)
        PUSH(policies->build, all, rules, permit_not(policies, permit_set(policies, others, false)));
}

static void permit_ports(struct policies *policies, pb_permission_set *all, const struct control_numbers *ports)
{
    pb_permission_set *values = new_permission_set(policies->build), *others = new_permission_set(policies->build);
    for (size_t i = 0; i < ports->count; i++)
        PUSH(policies->build, values, rules,
             PERMISSION(DESTINATION_PORT, permission_->destination_port = ports->values[i]));
    for (size_t i = 0; i < ports->not_count; i++)
        PUSH(policies->build, others, rules,
             PERMISSION(DESTINATION_PORT, permission_->destination_port = ports->not_values[i]));
    if (values->n_rules > 0)
        PUSH(policies->build, all, rules, permit_set(policies, values, false));
    if (others->n_rules > 0)
        PUSH(policies->build, all, rules, permit_not(policies, permit_set(policies, others, false)));
}

static void permit_header_rule(struct policies *policies, pb_permission_set *all,
                               const struct control_header_rule *rule)
{
    pb_permission_set *values = new_permission_set(policies->build), *others = new_permission_set(policies->build);
    for (size_t i = 0; i < rule->texts.count; i++)
        PUSH(policies->build, values, rules,
             permit_header(policies, header_match(policies, rule->name, &rule->texts.values[i])));
    for (size_t i = 0; i < rule->texts.not_count; i++)
        PUSH(policies->build, others, rules,
             permit_header(policies, header_match(policies, rule->name, &rule->texts.not_values[i])));
    if (values->n_rules > 0)
        PUSH(policies->build, all, rules, permit_set(policies, values, false));
    if (others->n_rules > 0)
        PUSH(policies->build, all, rules, permit_not(policies, permit_set(policies, others, false)));
}

static pb_permission *permit_operation(struct policies *policies, const struct control_operation *operation)
{
    pb_permission_set *all = new_permission_set(policies->build);
    permit_ports(policies, all, &operation->ports);
    if (policies->http) {
        permit_texts(policies, all, &operation->hosts, permit_host);
        permit_texts(policies, all, &operation->methods, permit_method);
        permit_texts(policies, all, &operation->paths, permit_path);
        for (size_t i = 0; i < operation->header_count; i++)
            permit_header_rule(policies, all, &operation->headers[i]);
    }
    return all->n_rules > 0 ? permit_set(policies, all, true) : permit_any(policies);
}

/* -- principals: who does it -- */

#define PRINCIPAL(choice, value)                                                                                       \
    ({                                                                                                                 \
        pb_principal *principal_ = new_principal(policies->build);                                                     \
        policies->rules++;                                                                                             \
        principal_->identifier_case = ENVOY__CONFIG__RBAC__V3__PRINCIPAL__IDENTIFIER_##choice;                         \
        value;                                                                                                         \
        principal_;                                                                                                    \
    })

static pb_principal *name_any(struct policies *policies)
{
    return PRINCIPAL(ANY, principal_->any = true);
}

static pb_principal *name_not(struct policies *policies, pb_principal *inner)
{
    return PRINCIPAL(NOT_ID, principal_->not_id = inner);
}

static pb_principal *name_nobody(struct policies *policies)
{
    return name_not(policies, name_any(policies));
}

static pb_principal *name_set(struct policies *policies, pb_principal_set *set, bool all)
{
    if (set->n_ids == 1)
        return set->ids[0];
    return all ? PRINCIPAL(AND_IDS, principal_->and_ids = set) : PRINCIPAL(OR_IDS, principal_->or_ids = set);
}

static pb_principal *name_authenticated(struct policies *policies, pb_string_match *match)
{
    pb_authenticated *authenticated = new_authenticated(policies->build);
    authenticated->principal_name = match;
    return PRINCIPAL(AUTHENTICATED, principal_->authenticated = authenticated);
}

static pb_principal *name_principal(struct policies *policies, const struct control_text *text)
{
    struct fl_span whole = FL_SPAN("spiffe://");
    if (text->match == CONTROL_TEXT_SUFFIX)
        return name_authenticated(policies, build_suffix(policies->build, text->text));
    if (text->match != CONTROL_TEXT_PRESENT)
        whole = fl_span_str(build_textf(policies->build, "spiffe://%.*s", FL_SPAN_ARG(text->text)));
    return name_authenticated(policies, text->match == CONTROL_TEXT_EXACT ? build_exact(policies->build, whole)
                                                                          : build_prefix(policies->build, whole));
}

/* A namespace is a segment of the identity, between "/ns/" and "/sa/". */
static pb_principal *name_namespace(struct policies *policies, const struct control_text *text)
{
    struct build *build = policies->build;
    struct fl_span domain = policies->generation->settings.trust_domain;
    if (text->match == CONTROL_TEXT_SUFFIX) {
        pb_string_match *match = new_string_match(build);
        match->match_pattern_case = ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_CONTAINS;
        match->contains = build_textf(build, "%.*s/sa/", FL_SPAN_ARG(text->text));
        return name_authenticated(policies, match);
    }
    const char *prefix = build_textf(build, "spiffe://%.*s/ns/%.*s%s", FL_SPAN_ARG(domain), FL_SPAN_ARG(text->text),
                                     text->match == CONTROL_TEXT_EXACT ? "/sa/" : "");
    return name_authenticated(policies, build_prefix(build, fl_span_str(prefix)));
}

static pb_principal *name_block(struct policies *policies, const struct fl_cidr *block)
{
    pb_cidr *cidr = new_cidr(policies->build);
    char text[INET6_ADDRSTRLEN];
    if (inet_ntop(block->family, block->address, text, sizeof(text)) == NULL)
        policies->build->failed = true;
    cidr->address_prefix = build_text(policies->build, fl_span_str(text));
    cidr->prefix_len = build_u32(policies->build, block->prefix);
    return PRINCIPAL(DIRECT_REMOTE_IP, principal_->direct_remote_ip = cidr);
}

/* -- claims -- */

static void push_segment(struct policies *policies, pb_metadata_match *match, struct fl_span key)
{
    pb_metadata_segment *segment = new_metadata_segment(policies->build);
    segment->segment_case = ENVOY__TYPE__MATCHER__V3__METADATA_MATCHER__PATH_SEGMENT__SEGMENT_KEY;
    segment->key = build_text(policies->build, key);
    PUSH(policies->build, match, path, segment);
}

static pb_value_match *value_text(struct policies *policies, pb_string_match *text)
{
    pb_value_match *value = new_value_match(policies->build);
    if (text == NULL) {
        value->match_pattern_case = ENVOY__TYPE__MATCHER__V3__VALUE_MATCHER__MATCH_PATTERN_PRESENT_MATCH;
        value->present_match = true;
        return value;
    }
    value->match_pattern_case = ENVOY__TYPE__MATCHER__V3__VALUE_MATCHER__MATCH_PATTERN_STRING_MATCH;
    value->string_match = text;
    return value;
}

/* The text itself, or one of a list. */
static pb_value_match *value_text_or_member(struct policies *policies, pb_string_match *text)
{
    struct build *build = policies->build;
    if (text == NULL)
        return value_text(policies, NULL);
    pb_list_match *list = new_list_match(build);
    pb_value_match *member = new_value_match(build), *either = new_value_match(build);
    list->match_pattern_case = ENVOY__TYPE__MATCHER__V3__LIST_MATCHER__MATCH_PATTERN_ONE_OF;
    list->one_of = value_text(policies, text);
    member->match_pattern_case = ENVOY__TYPE__MATCHER__V3__VALUE_MATCHER__MATCH_PATTERN_LIST_MATCH;
    member->list_match = list;
    either->match_pattern_case = ENVOY__TYPE__MATCHER__V3__VALUE_MATCHER__MATCH_PATTERN_OR_MATCH;
    either->or_match = new_or_match(build);
    PUSH(build, either->or_match, value_matchers, value_text(policies, text));
    PUSH(build, either->or_match, value_matchers, member);
    return either;
}

static pb_principal *name_claim(struct policies *policies, const struct fl_span *path, size_t count,
                                pb_value_match *value)
{
    pb_metadata_match *match = new_metadata_match(policies->build);
    match->filter = literal(JWT_NAMESPACE);
    push_segment(policies, match, FL_SPAN(CONTROL_JWT_PAYLOAD));
    for (size_t i = 0; i < count; i++)
        push_segment(policies, match, path[i]);
    match->value = value;
    return PRINCIPAL(METADATA, principal_->metadata = match);
}

/* The issuer exactly and the subject by `sub` (NULL: any). */
static pb_principal *name_token(struct policies *policies, struct fl_span issuer, pb_string_match *sub)
{
    const struct fl_span iss_path = FL_SPAN("iss"), sub_path = FL_SPAN("sub");
    pb_principal_set *both = new_principal_set(policies->build);
    PUSH(policies->build, both, ids,
         name_claim(policies, &iss_path, 1, value_text(policies, build_exact(policies->build, issuer))));
    PUSH(policies->build, both, ids, name_claim(policies, &sub_path, 1, value_text(policies, sub)));
    return name_set(policies, both, true);
}

/* A suffix of "<iss>/<sub>": all of it in the subject, or the whole subject and the end of the issuer. */
static void name_token_suffix(struct policies *policies, pb_principal_set *any, struct fl_span issuer,
                              struct fl_span suffix)
{
    PUSH(policies->build, any, ids, name_token(policies, issuer, build_suffix(policies->build, suffix)));
    for (size_t i = 0; i < suffix.len; i++)
        if (suffix.data[i] == '/' && fl_span_ends_with(issuer, fl_span_make(suffix.data, i)))
            PUSH(policies->build, any, ids,
                 name_token(policies, issuer, build_exact(policies->build, fl_span_from(suffix, i + 1))));
}

static void name_token_of(struct policies *policies, pb_principal_set *any, struct fl_span issuer,
                          const struct control_text *text)
{
    bool begins =
        fl_span_starts_with(text->text, issuer) && text->text.len > issuer.len && text->text.data[issuer.len] == '/';
    struct fl_span sub = begins ? fl_span_from(text->text, issuer.len + 1) : text->text;
    const char *whole = build_textf(policies->build, "%.*s/", FL_SPAN_ARG(issuer));
    if (text->match == CONTROL_TEXT_PRESENT)
        PUSH(policies->build, any, ids, name_token(policies, issuer, NULL));
    else if (text->match == CONTROL_TEXT_SUFFIX)
        name_token_suffix(policies, any, issuer, text->text);
    else if (begins && (sub.len > 0 || text->match == CONTROL_TEXT_EXACT))
        PUSH(policies->build, any, ids,
             name_token(policies, issuer,
                        text->match == CONTROL_TEXT_EXACT ? build_exact(policies->build, sub)
                                                          : build_prefix(policies->build, sub)));
    else if (text->match == CONTROL_TEXT_PREFIX && fl_span_starts_with(fl_span_str(whole), text->text))
        PUSH(policies->build, any, ids, name_token(policies, issuer, NULL));
}

static pb_principal *name_request_principal(struct policies *policies, const struct control_text *text)
{
    pb_principal_set *any = new_principal_set(policies->build);
    for (size_t i = 0; i < policies->jwt.count; i++) {
        const struct control_request_authentication *from = control_as_request_authentication(policies->jwt.items[i]);
        for (size_t k = 0; k < from->rule_count; k++)
            name_token_of(policies, any, from->rules[k].issuer, text);
    }
    return any->n_ids > 0 ? name_set(policies, any, false) : name_nobody(policies);
}

/* -- sources and conditions -- */

static void name_both(struct policies *policies, pb_principal_set *all, pb_principal_set *values,
                      pb_principal_set *others)
{
    if (values->n_ids > 0)
        PUSH(policies->build, all, ids, name_set(policies, values, false));
    if (others->n_ids > 0)
        PUSH(policies->build, all, ids, name_not(policies, name_set(policies, others, false)));
}

static void name_texts(struct policies *policies, pb_principal_set *all, const struct control_texts *texts,
                       pb_principal *(*one)(struct policies *policies, const struct control_text *text))
{
    pb_principal_set *values = new_principal_set(policies->build), *others = new_principal_set(policies->build);
    for (size_t i = 0; i < texts->count; i++)
        PUSH(policies->build, values, ids, one(policies, &texts->values[i]));
    for (size_t i = 0; i < texts->not_count; i++)
        PUSH(policies->build, others, ids, one(policies, &texts->not_values[i]));
    name_both(policies, all, values, others);
}

static void name_blocks(struct policies *policies, pb_principal_set *all, const struct control_blocks *blocks)
{
    pb_principal_set *values = new_principal_set(policies->build), *others = new_principal_set(policies->build);
    for (size_t i = 0; i < blocks->count; i++)
        PUSH(policies->build, values, ids, name_block(policies, &blocks->values[i]));
    for (size_t i = 0; i < blocks->not_count; i++)
        PUSH(policies->build, others, ids, name_block(policies, &blocks->not_values[i]));
    name_both(policies, all, values, others);
}

static pb_principal *name_source(struct policies *policies, const struct control_source *source)
{
    pb_principal_set *all = new_principal_set(policies->build);
    name_texts(policies, all, &source->principals, name_principal);
    name_texts(policies, all, &source->namespaces, name_namespace);
    name_blocks(policies, all, &source->ip_blocks);
    if (policies->http)
        name_texts(policies, all, &source->request_principals, name_request_principal);
    return all->n_ids > 0 ? name_set(policies, all, true) : name_any(policies);
}

static pb_principal *name_condition(struct policies *policies, const struct control_condition_rule *rule,
                                    const struct control_text *text)
{
    if (rule->key == CONTROL_WHEN_HEADER)
        return PRINCIPAL(HEADER, principal_->header = header_match(policies, rule->path[0], text));
    return name_claim(
        policies, rule->path, rule->path_count,
        value_text_or_member(policies, text->match == CONTROL_TEXT_PRESENT ? NULL : text_match(policies, text)));
}

static void name_when(struct policies *policies, pb_principal_set *all, const struct control_condition_rule *rule)
{
    pb_principal_set *values = new_principal_set(policies->build), *others = new_principal_set(policies->build);
    for (size_t i = 0; i < rule->texts.count; i++)
        PUSH(policies->build, values, ids, name_condition(policies, rule, &rule->texts.values[i]));
    for (size_t i = 0; i < rule->texts.not_count; i++)
        PUSH(policies->build, others, ids, name_condition(policies, rule, &rule->texts.not_values[i]));
    name_both(policies, all, values, others);
}

/* -- rules as policies -- */

static pb_rbac_policy *empty_policy(struct policies *policies)
{
    pb_rbac_policy *policy = new_rbac_policy(policies->build);
    PUSH(policies->build, policy, permissions, permit_any(policies));
    PUSH(policies->build, policy, principals, name_any(policies));
    return policy;
}

static pb_rbac_policy *rule_policy(struct policies *policies, const struct control_policy_rule *rule)
{
    pb_rbac_policy *policy = new_rbac_policy(policies->build);
    pb_principal_set *from = new_principal_set(policies->build), *all = new_principal_set(policies->build);
    for (size_t i = 0; i < rule->to_count; i++)
        PUSH(policies->build, policy, permissions, permit_operation(policies, &rule->to[i]));
    if (rule->to_count == 0)
        PUSH(policies->build, policy, permissions, permit_any(policies));
    for (size_t i = 0; i < rule->from_count; i++)
        PUSH(policies->build, from, ids, name_source(policies, &rule->from[i]));
    if (from->n_ids > 0)
        PUSH(policies->build, all, ids, name_set(policies, from, false));
    for (size_t i = 0; i < rule->when_count && policies->http; i++)
        name_when(policies, all, &rule->when[i]);
    PUSH(policies->build, policy, principals, all->n_ids > 0 ? name_set(policies, all, true) : name_any(policies));
    return policy;
}

static void add_policy(struct policies *policies, pb_rbac *rbac, const struct control_authorization_policy *from,
                       size_t index, pb_rbac_policy *policy)
{
    pb_rbac_entry *entry = new_rbac_entry(policies->build);
    entry->key = build_textf(policies->build, "%.*s/%.*s#%04zu", FL_SPAN_ARG(from->object.metadata.name_space),
                             FL_SPAN_ARG(from->object.metadata.name), index);
    entry->value = policy;
    PUSH(policies->build, rbac, policies, entry);
}

static void add_rules(struct policies *policies, pb_rbac *rbac, const struct control_authorization_policy *from,
                      enum control_action action)
{
    if (from->object.broken.len > 0)
        add_policy(policies, rbac, from, 0, empty_policy(policies));
    for (size_t i = 0; i < from->rule_count; i++) {
        if (!policies->http && action == CONTROL_ALLOW && from->rules[i].needs_http)
            continue;
        add_policy(policies, rbac, from, i, rule_policy(policies, &from->rules[i]));
    }
}

static enum control_action action_of(const struct control_authorization_policy *policy)
{
    return policy->object.broken.len > 0 ? CONTROL_DENY : policy->action;
}

/* More than a proxy takes would make it refuse the listener, and go on by what it had: nothing is allowed instead, or
 * everything denied. */
static void close_overflow(struct policies *policies, pb_rbac *rbac, enum control_action action)
{
    if (rbac->n_policies <= CONTROL_RBAC_POLICIES_MAX && policies->rules <= CONTROL_RBAC_RULES_MAX)
        return;
    rbac->n_policies = 0;
    if (action != CONTROL_DENY)
        return;
    pb_rbac_entry *entry = new_rbac_entry(policies->build);
    entry->key = literal("too-many-rules");
    entry->value = empty_policy(policies);
    PUSH(policies->build, rbac, policies, entry);
}

/* All policies of an action, enforced or shadow; NULL: there are none. */
static pb_rbac *rbac_of(struct policies *policies, const struct control_objects *all, enum control_action action,
                        bool shadow)
{
    pb_rbac *rbac = NULL;
    policies->rules = 0;
    for (size_t i = 0; i < all->count; i++) {
        const struct control_authorization_policy *policy = control_as_authorization_policy(all->items[i]);
        if (action_of(policy) != action || policy->dry_run != shadow)
            continue;
        if (rbac == NULL)
            rbac = new_rbac(policies->build);
        rbac->action = action == CONTROL_DENY ? ENVOY__CONFIG__RBAC__V3__RBAC__ACTION__DENY
                                              : ENVOY__CONFIG__RBAC__V3__RBAC__ACTION__ALLOW;
        add_rules(policies, rbac, policy, action);
    }
    if (rbac != NULL)
        close_overflow(policies, rbac, action);
    return rbac;
}

static void objects_of(struct generation *generation, enum control_kind kind, struct control_objects *ret_objects)
{
    *ret_objects = (struct control_objects){0};
    if (generation->view->has_workload && control_workload_policies(generation->model, &generation->view->workload,
                                                                    kind, generation->arena, ret_objects) < 0)
        generation->build.failed = true;
}

static void start(struct policies *policies, struct generation *generation, bool http, struct control_objects *ret_all)
{
    *policies = (struct policies){.generation = generation, .build = &generation->build, .http = http};
    objects_of(generation, CONTROL_AUTHORIZATION_POLICY, ret_all);
    objects_of(generation, CONTROL_REQUEST_AUTHENTICATION, &policies->jwt);
}

/* -- filters -- */

static void add_http_filter(struct policies *policies, pb_hcm *manager, const char *name,
                            const ProtobufCMessage *config)
{
    pb_http_filter *filter = new_http_filter(policies->build);
    filter->name = literal(name);
    filter->config_type_case =
        ENVOY__EXTENSIONS__FILTERS__NETWORK__HTTP_CONNECTION_MANAGER__V3__HTTP_FILTER__CONFIG_TYPE_TYPED_CONFIG;
    filter->typed_config = build_any(policies->build, config);
    PUSH(policies->build, manager, http_filters, filter);
}

void policies_http(struct generation *generation, pb_hcm *manager, bool *ret_paths)
{
    struct policies policies;
    struct control_objects all;
    start(&policies, generation, true, &all);
    pb_jwt *jwt = policies_jwt(policies.build, &policies.jwt);
    if (jwt != NULL)
        add_http_filter(&policies, manager, "envoy.filters.http.jwt_authn", &jwt->base);
    for (unsigned i = 0; i < 2; i++) {
        enum control_action action = i == 0 ? CONTROL_DENY : CONTROL_ALLOW;
        pb_http_rbac *filter = new_http_rbac(policies.build);
        filter->rules = rbac_of(&policies, &all, action, false);
        filter->shadow_rules = rbac_of(&policies, &all, action, true);
        if (filter->rules != NULL || filter->shadow_rules != NULL)
            add_http_filter(&policies, manager, "envoy.filters.http.rbac", &filter->base);
    }
    *ret_paths = policies.paths;
}

void policies_tcp(struct generation *generation, pb_chain *chain)
{
    struct policies policies;
    struct control_objects all;
    start(&policies, generation, false, &all);
    for (unsigned i = 0; i < 2; i++) {
        enum control_action action = i == 0 ? CONTROL_DENY : CONTROL_ALLOW;
        pb_network_rbac *message = new_network_rbac(policies.build);
        message->rules = rbac_of(&policies, &all, action, false);
        message->shadow_rules = rbac_of(&policies, &all, action, true);
        if (message->rules == NULL && message->shadow_rules == NULL)
            continue;
        pb_filter *filter = new_filter(policies.build);
        message->stat_prefix = literal(i == 0 ? "deny." : "allow.");
        filter->name = literal("envoy.filters.network.rbac");
        filter->config_type_case = ENVOY__CONFIG__LISTENER__V3__FILTER__CONFIG_TYPE_TYPED_CONFIG;
        filter->typed_config = build_any(policies.build, &message->base);
        PUSH(policies.build, chain, filters, filter);
    }
}
