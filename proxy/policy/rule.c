#include "proxy/policy/rule.h"

static enum proxy_answer answer(bool yes)
{
    return yes ? PROXY_ANSWER_YES : PROXY_ANSWER_NO;
}

static enum proxy_answer invert(enum proxy_answer of)
{
    return of == PROXY_ANSWER_ERR ? PROXY_ANSWER_ERR : answer(of == PROXY_ANSWER_NO);
}

/* --- callers and addresses --------------------------------------------------------------------------------------- */

/* With "spiffe://" and without it: policies are written both ways. What ends a text or stands in the middle of it is
 * the same in both. */
static bool identity_match(const struct proxy_string_match *match, struct fl_span identity)
{
    static const struct fl_span scheme = FL_SPAN("spiffe://");
    if (identity.len == 0)
        return false;
    if (proxy_string_match(match, identity))
        return true;
    return fl_span_starts_with(identity, scheme) && proxy_string_match(match, fl_span_from(identity, scheme.len));
}

static enum proxy_answer address_match(const struct fl_cidr *cidr, const struct proxy_address *address)
{
    if (address == NULL || !proxy_address_is_set(address))
        return PROXY_ANSWER_ERR;
    return answer(proxy_address_in(address, cidr));
}

static enum proxy_answer port_match(const struct proxy_rule *rule, const struct proxy_address *address)
{
    if (address == NULL || !proxy_address_is_set(address))
        return PROXY_ANSWER_ERR;
    uint16_t port = proxy_address_port(address);
    return answer(port >= rule->ports.first && port <= rule->ports.last);
}

static enum proxy_answer server_name_match(const struct proxy_string_match *match, struct fl_span server_name)
{
    struct proxy_string_match folded = *match;
    folded.ignore_case = true;
    return answer(proxy_string_match(&folded, server_name));
}

/* --- requests ---------------------------------------------------------------------------------------------------- */

/* A port and the root's dot do not make another host of one. */
static bool host_text_match(const struct proxy_string_match *match, struct fl_span host)
{
    struct fl_span bare = proxy_authority_strip_port(host, 0);
    if (proxy_string_match(match, host) || (bare.len < host.len && proxy_string_match(match, bare)))
        return true;
    return bare.len > 1 && bare.data[bare.len - 1] == '.' &&
           proxy_string_match(match, fl_span_make(bare.data, bare.len - 1));
}

static bool host_match(const struct proxy_header_match *match, const struct proxy_message *request)
{
    if (request->authority.len == 0 || match->kind != PROXY_VALUE_STRING)
        return proxy_header_match(match, request);
    struct proxy_string_match folded = match->string;
    folded.ignore_case = true;
    return host_text_match(&folded, request->authority) != match->invert;
}

/* A list that does not match, with a member that does: nobody knows what the application reads. */
static bool is_ambiguous(const struct proxy_header_match *match, const struct proxy_message *request)
{
    struct proxy_header_match plain = *match;
    plain.invert = false;
    return !proxy_header_match(&plain, request) && proxy_header_match_single(&plain, request);
}

static enum proxy_answer header_match(const struct proxy_header_match *match, const struct proxy_facts *facts)
{
    if (facts->request == NULL)
        return PROXY_ANSWER_ERR;
    if (fl_span_eq_str(match->name, ":path") && (facts->path_doubtful || facts->request->path.len == 0))
        return PROXY_ANSWER_ERR;
    if (is_ambiguous(match, facts->request))
        return PROXY_ANSWER_ERR;
    return answer(proxy_header_match(match, facts->request));
}

/* CONNECT has no path: nobody can say what it is allowed to reach. */
static enum proxy_answer path_match(const struct proxy_string_match *match, const struct proxy_facts *facts)
{
    if (facts->request == NULL || facts->path_doubtful || facts->request->path.len == 0)
        return PROXY_ANSWER_ERR;
    return answer(proxy_string_match(match, proxy_message_path_only(facts->request)));
}

/* --- claims ------------------------------------------------------------------------------------------------------ */

static bool number_match(const struct proxy_claim_match *match, const struct fl_json *value)
{
    if (!fl_json_is(value, FL_JSON_NUMBER))
        return false;
    double number = fl_json_number(value);
    if (match->start == match->end)
        return number == match->start;
    return number >= match->start && number < match->end;
}

static enum proxy_answer claim_match(const struct proxy_claim_match *match, const struct fl_json *value,
                                     unsigned depth);

static enum proxy_answer any_of(const struct proxy_claim_match *match, const struct fl_json *value, unsigned depth)
{
    enum proxy_answer found = PROXY_ANSWER_NO;
    for (size_t i = 0; i < match->count; i++) {
        enum proxy_answer one = claim_match(&match->list[i], value, depth + 1);
        if (one == PROXY_ANSWER_YES)
            return one;
        if (one == PROXY_ANSWER_ERR)
            found = one;
    }
    return found;
}

static enum proxy_answer one_of(const struct proxy_claim_match *match, const struct fl_json *list, unsigned depth)
{
    if (!fl_json_is(list, FL_JSON_ARRAY))
        return PROXY_ANSWER_NO;
    enum proxy_answer found = PROXY_ANSWER_NO;
    size_t looked = 0;
    for (const struct fl_json *value = fl_json_first(list); value != NULL; value = fl_json_next(value)) {
        if (looked++ == PROXY_CLAIM_LIST_MAX)
            return PROXY_ANSWER_ERR;
        enum proxy_answer one = claim_match(&match->list[0], value, depth + 1);
        if (one == PROXY_ANSWER_YES)
            return one;
        if (one == PROXY_ANSWER_ERR)
            found = one;
    }
    return found;
}

static enum proxy_answer claim_match(const struct proxy_claim_match *match, const struct fl_json *value, unsigned depth)
{
    if (depth > PROXY_RULE_DEPTH_MAX)
        return PROXY_ANSWER_ERR;
    switch (match->kind) {
    case PROXY_CLAIM_PRESENT:
        return answer((value != NULL) == match->flag);
    case PROXY_CLAIM_NULL:
        return answer(fl_json_is(value, FL_JSON_NULL));
    case PROXY_CLAIM_BOOL:
        return answer(fl_json_is(value, FL_JSON_BOOL) && fl_json_bool(value) == match->flag);
    case PROXY_CLAIM_STRING:
        return answer(fl_json_is(value, FL_JSON_STRING) && proxy_string_match(&match->string, fl_json_string(value)));
    case PROXY_CLAIM_NUMBER:
        return answer(number_match(match, value));
    case PROXY_CLAIM_ONE_OF:
        return one_of(match, value, depth);
    case PROXY_CLAIM_OR:
        return any_of(match, value, depth);
    }
    return PROXY_ANSWER_ERR;
}

static enum proxy_answer metadata_match(const struct proxy_metadata_match *match, const struct proxy_facts *facts)
{
    if (facts->request == NULL)
        return PROXY_ANSWER_ERR;
    const struct fl_json *value = proxy_claims_get(facts->claims, match->path[0]);
    for (size_t i = 1; value != NULL && i < match->path_count; i++)
        value = fl_json_get_span(value, match->path[i]);
    enum proxy_answer found = claim_match(&match->value, value, 0);
    return match->invert ? invert(found) : found;
}

/* --- sets -------------------------------------------------------------------------------------------------------- */

static enum proxy_answer judge(const struct proxy_rule *rule, const struct proxy_facts *facts, unsigned depth);

/* `decides`: the answer that ends the search: YES for OR, NO for AND. One that errs leaves the others their say. */
static enum proxy_answer judge_set(const struct proxy_rule *rule, const struct proxy_facts *facts, unsigned depth,
                                   enum proxy_answer decides)
{
    enum proxy_answer found = decides == PROXY_ANSWER_YES ? PROXY_ANSWER_NO : PROXY_ANSWER_YES;
    for (size_t i = 0; i < rule->set.count; i++) {
        enum proxy_answer one = judge(&rule->set.rules[i], facts, depth + 1);
        if (one == decides)
            return one;
        if (one == PROXY_ANSWER_ERR)
            found = one;
    }
    return found;
}

static enum proxy_answer judge(const struct proxy_rule *rule, const struct proxy_facts *facts, unsigned depth)
{
    if (depth > PROXY_RULE_DEPTH_MAX)
        return PROXY_ANSWER_ERR;
    switch (rule->kind) {
    case PROXY_RULE_ANY:
        return PROXY_ANSWER_YES;
    case PROXY_RULE_AND:
        return judge_set(rule, facts, depth, PROXY_ANSWER_NO);
    case PROXY_RULE_OR:
        return judge_set(rule, facts, depth, PROXY_ANSWER_YES);
    case PROXY_RULE_NOT:
        return invert(judge(rule->set.rules, facts, depth + 1));
    case PROXY_RULE_AUTHENTICATED:
        return answer(facts->identity.len > 0);
    case PROXY_RULE_IDENTITY:
        return answer(identity_match(&rule->string, facts->identity));
    case PROXY_RULE_DIRECT_SOURCE:
        return address_match(&rule->cidr, facts->direct_source);
    case PROXY_RULE_SOURCE:
        return address_match(&rule->cidr, facts->source != NULL ? facts->source : facts->direct_source);
    case PROXY_RULE_DESTINATION:
        return address_match(&rule->cidr, facts->destination);
    case PROXY_RULE_DESTINATION_PORT:
        return port_match(rule, facts->destination);
    case PROXY_RULE_SERVER_NAME:
        return server_name_match(&rule->string, facts->server_name);
    case PROXY_RULE_HOST:
        return facts->request == NULL ? PROXY_ANSWER_ERR : answer(host_match(&rule->header, facts->request));
    case PROXY_RULE_HEADER:
        return header_match(&rule->header, facts);
    case PROXY_RULE_PATH:
        return path_match(&rule->string, facts);
    case PROXY_RULE_METADATA:
        return metadata_match(rule->metadata, facts);
    }
    return PROXY_ANSWER_ERR;
}

enum proxy_answer proxy_rule_judge(const struct proxy_rule *rule, const struct proxy_facts *facts)
{
    return judge(rule, facts, 0);
}
