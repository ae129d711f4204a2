#include "proxy/config/rbac_rule.h"

/* -- leaves -- */

static int keep_string(struct compile *compile, struct proxy_string_match *match)
{
    return compile_span(compile, match->text, &match->text);
}

static int read_string(struct compile *compile, const char *field, const pb_string_match *message,
                       struct proxy_string_match *match)
{
    *match = (struct proxy_string_match){.kind = PROXY_STRING_EXACT};
    int result = compile_string_match(compile, field, message, match);
    return result == 0 ? keep_string(compile, match) : result;
}

static bool is_pseudo(struct fl_span name)
{
    static const char *const names[] = {":method", ":path", ":authority", ":scheme"};
    for (size_t i = 0; i < FL_COUNT(names); i++) {
        if (fl_span_eq_str(name, names[i]))
            return true;
    }
    return false;
}

/* HTTP/2 has one host, and so have we: Host is :authority. */
static int read_header(struct compile *compile, const pb_header_match *message, struct proxy_rule *rule)
{
    struct compile_mark mark = compile_enter(compile, "header");
    int result = compile_header_match(compile, message, &rule->header);
    if (result != 0)
        return result;
    struct proxy_header_match *header = &rule->header;
    if (!is_pseudo(header->name) && !proxy_header_name_valid(header->name))
        return compile_fail_at(compile, "name", "not a field's name: \"%s\"", message->name);
    bool host = fl_span_eq_nocase(header->name, FL_SPAN("host")) || fl_span_eq_str(header->name, ":authority");
    rule->kind = host ? PROXY_RULE_HOST : PROXY_RULE_HEADER;
    result = compile_span(compile, host ? FL_SPAN(":authority") : header->name, &header->name);
    if (result == 0 && header->kind == PROXY_VALUE_STRING)
        result = keep_string(compile, &header->string);
    if (result == 0)
        compile_leave(compile, mark);
    return result;
}

static int read_path(struct compile *compile, const Envoy__Type__Matcher__V3__PathMatcher *message,
                     struct proxy_rule *rule)
{
    struct compile_mark mark = compile_enter(compile, "url_path");
    rule->kind = PROXY_RULE_PATH;
    int result = read_string(compile, "path", message->path, &rule->string);
    if (result == 0)
        compile_leave(compile, mark);
    return result;
}

/* An address of the kernel's is never IPv4-mapped: such a block would be read in two ways. */
static int read_cidr(struct compile *compile, const char *field, const pb_cidr *message, enum proxy_rule_kind kind,
                     struct proxy_rule *rule)
{
    rule->kind = kind;
    int result = compile_cidr(compile, field, message, &rule->cidr);
    if (result == 0 && rule->cidr.family == AF_INET && strchr(message->address_prefix, ':') != NULL)
        return compile_fail_at(compile, field, "an IPv4-mapped block: expected IPv4");
    return result;
}

static int read_port(struct compile *compile, uint32_t port, struct proxy_rule *rule)
{
    if (port > UINT16_MAX)
        return compile_fail_at(compile, "destination_port", "expected a port up to 65535, got %u", port);
    rule->kind = PROXY_RULE_DESTINATION_PORT;
    rule->ports.first = rule->ports.last = (uint16_t)port;
    return 0;
}

static int read_port_range(struct compile *compile, const Envoy__Type__V3__Int32Range *range, struct proxy_rule *rule)
{
    if (range->start < 0 || range->end <= range->start || range->end > UINT16_MAX + 1)
        return compile_fail_at(compile, "destination_port_range", "expected 0 <= start < end <= 65536");
    rule->kind = PROXY_RULE_DESTINATION_PORT;
    rule->ports.first = (uint16_t)range->start;
    rule->ports.last = (uint16_t)(range->end - 1);
    return 0;
}

static int read_any(struct compile *compile, bool any, struct proxy_rule *rule)
{
    rule->kind = PROXY_RULE_ANY;
    return any ? 0 : compile_fail_at(compile, "any", "must be true");
}

/* -- metadata -- */

#define VALUE(name) ENVOY__TYPE__MATCHER__V3__VALUE_MATCHER__MATCH_PATTERN_##name

static int read_value(struct compile *compile, const char *field, const pb_value_match *message, unsigned depth,
                      struct proxy_claim_match *match);

static int read_values(struct compile *compile, const char *field, pb_value_match *const *list, size_t count,
                       unsigned depth, struct proxy_claim_match *match)
{
    struct proxy_claim_match *matches = compile_array(compile, count, sizeof(*matches));
    if (matches == NULL)
        return compile_no_memory(compile);
    if (count == 0)
        return compile_fail_at(compile, field, "must not be empty");
    for (size_t i = 0; i < count; i++) {
        struct compile_mark mark = compile_enter_at(compile, field, i);
        int result = read_value(compile, NULL, list[i], depth, &matches[i]);
        if (result != 0)
            return result;
        compile_leave(compile, mark);
    }
    match->list = matches;
    match->count = count;
    return 0;
}

static int read_number(struct compile *compile, const Envoy__Type__Matcher__V3__DoubleMatcher *message,
                       struct proxy_claim_match *match)
{
    match->kind = PROXY_CLAIM_NUMBER;
    if (message->match_pattern_case == ENVOY__TYPE__MATCHER__V3__DOUBLE_MATCHER__MATCH_PATTERN_EXACT) {
        match->start = match->end = message->exact;
        return 0;
    }
    match->start = message->range->start;
    match->end = message->range->end;
    return match->start < match->end ? 0 : compile_fail_at(compile, "double_match", "expected start < end");
}

static int read_pattern(struct compile *compile, const pb_value_match *message, unsigned depth,
                        struct proxy_claim_match *match)
{
    switch ((int)message->match_pattern_case) {
    case VALUE(NULL_MATCH):
        match->kind = PROXY_CLAIM_NULL;
        return 0;
    case VALUE(DOUBLE_MATCH):
        return read_number(compile, message->double_match, match);
    case VALUE(STRING_MATCH):
        match->kind = PROXY_CLAIM_STRING;
        return read_string(compile, "string_match", message->string_match, &match->string);
    case VALUE(BOOL_MATCH):
        match->kind = PROXY_CLAIM_BOOL;
        match->flag = message->bool_match != 0;
        return 0;
    case VALUE(PRESENT_MATCH):
        match->kind = PROXY_CLAIM_PRESENT;
        match->flag = message->present_match != 0;
        return 0;
    case VALUE(LIST_MATCH):
        match->kind = PROXY_CLAIM_ONE_OF;
        return read_values(compile, "list_match", &message->list_match->one_of, 1, depth + 1, match);
    case VALUE(OR_MATCH):
        match->kind = PROXY_CLAIM_OR;
        return read_values(compile, "or_match", message->or_match->value_matchers, message->or_match->n_value_matchers,
                           depth + 1, match);
    default:
        return compile_fail(compile, "a matcher must be set");
    }
}

static int read_value(struct compile *compile, const char *field, const pb_value_match *message, unsigned depth,
                      struct proxy_claim_match *match)
{
    struct compile_mark mark = {0};
    if (depth > PROXY_RULE_DEPTH_MAX)
        return compile_fail(compile, "matchers inside each other: more than %d", PROXY_RULE_DEPTH_MAX);
    if (field != NULL)
        mark = compile_enter(compile, field);
    int result = read_pattern(compile, message, depth, match);
    if (result == 0 && field != NULL)
        compile_leave(compile, mark);
    return result;
}

static int read_steps(struct compile *compile, const pb_metadata_match *message, struct proxy_metadata_match *match)
{
    if (message->n_path == 0 || message->n_path > PROXY_CLAIM_PATH_MAX)
        return compile_fail_at(compile, "path", "expected 1 to %d steps", PROXY_CLAIM_PATH_MAX);
    struct fl_span *path = compile_array(compile, message->n_path, sizeof(*path));
    if (path == NULL)
        return compile_no_memory(compile);
    for (size_t i = 0; i < message->n_path; i++) {
        int result = compile_text(compile, message->path[i]->key, &path[i]);
        if (result != 0)
            return result;
    }
    match->path = path;
    match->path_count = message->n_path;
    return 0;
}

static int read_metadata(struct compile *compile, const char *field, const pb_metadata_match *message,
                         struct proxy_rule *rule)
{
    struct proxy_metadata_match *match = compile_array(compile, 1, sizeof(*match));
    if (match == NULL)
        return compile_no_memory(compile);
    struct compile_mark mark = compile_enter(compile, field);
    if (strcmp(message->filter, PROXY_CLAIMS_NAMESPACE) != 0)
        return compile_fail_at(compile, "filter", "expected " PROXY_CLAIMS_NAMESPACE ", got \"%s\"", message->filter);
    if (message->value == NULL)
        return compile_fail_at(compile, "value", "must be set");
    match->invert = message->invert != 0;
    int result = read_steps(compile, message, match);
    if (result == 0)
        result = read_value(compile, "value", message->value, 0, &match->value);
    if (result != 0)
        return result;
    compile_leave(compile, mark);
    rule->kind = PROXY_RULE_METADATA;
    rule->metadata = match;
    return 0;
}

static int read_sourced(struct compile *compile, const pb_sourced_metadata *message, struct proxy_rule *rule)
{
    struct compile_mark mark = compile_enter(compile, "sourced_metadata");
    if (message->metadata_source != ENVOY__CONFIG__RBAC__V3__METADATA_SOURCE__DYNAMIC)
        return compile_fail_at(compile, "metadata_source", "expected DYNAMIC");
    if (message->metadata_matcher == NULL)
        return compile_fail_at(compile, "metadata_matcher", "must be set");
    int result = read_metadata(compile, "metadata_matcher", message->metadata_matcher, rule);
    if (result == 0)
        compile_leave(compile, mark);
    return result;
}

/* -- sets: the same for both messages, over a reader of their members -- */

typedef int read_member(struct rule_reader *reader, const void *message, struct proxy_rule *rule);

/* Room for `count` rules that stand below the present one. */
static int make_set(struct rule_reader *reader, const char *field, size_t count, enum proxy_rule_kind kind,
                    struct proxy_rule *rule, struct proxy_rule **ret_rules)
{
    struct compile *compile = reader->compile;
    if (count == 0)
        return compile_fail_at(compile, field, "must not be empty");
    if (count > reader->left)
        return compile_fail_at(compile, field, "more than %d rules", PROXY_RULES_MAX);
    if (reader->depth == PROXY_RULE_DEPTH_MAX)
        return compile_fail_at(compile, field, "rules inside each other: more than %d", PROXY_RULE_DEPTH_MAX);
    *ret_rules = compile_array(compile, count, sizeof(**ret_rules));
    if (*ret_rules == NULL)
        return compile_no_memory(compile);
    reader->left -= count;
    rule->kind = kind;
    rule->set.rules = *ret_rules;
    rule->set.count = count;
    return 0;
}

static int read_set(struct rule_reader *reader, const char *field, const char *member, const void *const *list,
                    size_t count, enum proxy_rule_kind kind, read_member *read, struct proxy_rule *rule)
{
    struct proxy_rule *rules;
    int result = make_set(reader, field, count, kind, rule, &rules);
    if (result != 0)
        return result;
    struct compile_mark whole = compile_enter(reader->compile, field);
    reader->depth++;
    for (size_t i = 0; i < count; i++) {
        struct compile_mark mark = compile_enter_at(reader->compile, member, i);
        result = read(reader, list[i], &rules[i]);
        if (result != 0)
            return result;
        compile_leave(reader->compile, mark);
    }
    reader->depth--;
    compile_leave(reader->compile, whole);
    return 0;
}

static int read_not(struct rule_reader *reader, const char *field, const void *message, read_member *read,
                    struct proxy_rule *rule)
{
    struct proxy_rule *rules;
    int result = make_set(reader, field, 1, PROXY_RULE_NOT, rule, &rules);
    if (result != 0)
        return result;
    struct compile_mark mark = compile_enter(reader->compile, field);
    reader->depth++;
    result = read(reader, message, rules);
    if (result != 0)
        return result;
    reader->depth--;
    compile_leave(reader->compile, mark);
    return 0;
}

/* -- permissions -- */

#define PERMISSION(name) ENVOY__CONFIG__RBAC__V3__PERMISSION__RULE_##name

static int permission_member(struct rule_reader *reader, const void *message, struct proxy_rule *rule)
{
    return compile_permission(reader, message, rule);
}

static int permission_set(struct rule_reader *reader, const char *field,
                          const Envoy__Config__Rbac__V3__Permission__Set *set, enum proxy_rule_kind kind,
                          struct proxy_rule *rule)
{
    return read_set(reader, field, "rules", (const void *const *)set->rules, set->n_rules, kind, permission_member,
                    rule);
}

int compile_permission(struct rule_reader *reader, const pb_permission *message, struct proxy_rule *rule)
{
    struct compile *compile = reader->compile;
    int result = COMPILE_REFUSE(compile, message, "matcher", "uri_template");
    if (result != 0)
        return result;
    switch ((int)message->rule_case) {
    case PERMISSION(AND_RULES):
        return permission_set(reader, "and_rules", message->and_rules, PROXY_RULE_AND, rule);
    case PERMISSION(OR_RULES):
        return permission_set(reader, "or_rules", message->or_rules, PROXY_RULE_OR, rule);
    case PERMISSION(NOT_RULE):
        return read_not(reader, "not_rule", message->not_rule, permission_member, rule);
    case PERMISSION(ANY):
        return read_any(compile, message->any != 0, rule);
    case PERMISSION(HEADER):
        return read_header(compile, message->header, rule);
    case PERMISSION(URL_PATH):
        return read_path(compile, message->url_path, rule);
    case PERMISSION(DESTINATION_IP):
        return read_cidr(compile, "destination_ip", message->destination_ip, PROXY_RULE_DESTINATION, rule);
    case PERMISSION(DESTINATION_PORT):
        return read_port(compile, message->destination_port, rule);
    case PERMISSION(DESTINATION_PORT_RANGE):
        return read_port_range(compile, message->destination_port_range, rule);
    case PERMISSION(REQUESTED_SERVER_NAME):
        rule->kind = PROXY_RULE_SERVER_NAME;
        return read_string(compile, "requested_server_name", message->requested_server_name, &rule->string);
    case PERMISSION(METADATA):
        return read_metadata(compile, "metadata", message->metadata, rule);
    case PERMISSION(SOURCED_METADATA):
        return read_sourced(compile, message->sourced_metadata, rule);
    default:
        return compile_fail(compile, "a rule must be set");
    }
}

/* -- principals -- */

#define PRINCIPAL(name) ENVOY__CONFIG__RBAC__V3__PRINCIPAL__IDENTIFIER_##name

static int principal_member(struct rule_reader *reader, const void *message, struct proxy_rule *rule)
{
    return compile_principal(reader, message, rule);
}

static int principal_set(struct rule_reader *reader, const char *field,
                         const Envoy__Config__Rbac__V3__Principal__Set *set, enum proxy_rule_kind kind,
                         struct proxy_rule *rule)
{
    return read_set(reader, field, "ids", (const void *const *)set->ids, set->n_ids, kind, principal_member, rule);
}

static int read_authenticated(struct compile *compile, const Envoy__Config__Rbac__V3__Principal__Authenticated *message,
                              struct proxy_rule *rule)
{
    rule->kind = message->principal_name != NULL ? PROXY_RULE_IDENTITY : PROXY_RULE_AUTHENTICATED;
    if (message->principal_name == NULL)
        return 0;
    struct compile_mark mark = compile_enter(compile, "authenticated");
    int result = read_string(compile, "principal_name", message->principal_name, &rule->string);
    if (result == 0)
        compile_leave(compile, mark);
    return result;
}

int compile_principal(struct rule_reader *reader, const pb_principal *message, struct proxy_rule *rule)
{
    struct compile *compile = reader->compile;
    int result = COMPILE_REFUSE(compile, message, "filter_state", "custom");
    if (result != 0)
        return result;
    switch ((int)message->identifier_case) {
    case PRINCIPAL(AND_IDS):
        return principal_set(reader, "and_ids", message->and_ids, PROXY_RULE_AND, rule);
    case PRINCIPAL(OR_IDS):
        return principal_set(reader, "or_ids", message->or_ids, PROXY_RULE_OR, rule);
    case PRINCIPAL(NOT_ID):
        return read_not(reader, "not_id", message->not_id, principal_member, rule);
    case PRINCIPAL(ANY):
        return read_any(compile, message->any != 0, rule);
    case PRINCIPAL(AUTHENTICATED):
        return read_authenticated(compile, message->authenticated, rule);
    case PRINCIPAL(SOURCE_IP):
        return read_cidr(compile, "source_ip", message->source_ip, PROXY_RULE_DIRECT_SOURCE, rule);
    case PRINCIPAL(DIRECT_REMOTE_IP):
        return read_cidr(compile, "direct_remote_ip", message->direct_remote_ip, PROXY_RULE_DIRECT_SOURCE, rule);
    case PRINCIPAL(REMOTE_IP):
        return read_cidr(compile, "remote_ip", message->remote_ip, PROXY_RULE_SOURCE, rule);
    case PRINCIPAL(HEADER):
        return read_header(compile, message->header, rule);
    case PRINCIPAL(URL_PATH):
        return read_path(compile, message->url_path, rule);
    case PRINCIPAL(METADATA):
        return read_metadata(compile, "metadata", message->metadata, rule);
    case PRINCIPAL(SOURCED_METADATA):
        return read_sourced(compile, message->sourced_metadata, rule);
    default:
        return compile_fail(compile, "an identifier must be set");
    }
}
