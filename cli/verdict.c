#include "cli/verdict.h"

#include "common/base/arena.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>

#define ARENA_MAX (4u << 20)
#define URI_LEAD  "spiffe://"
#define ID_MAX    2048

struct question {
    const struct cli_caller *caller;
    struct fl_span trust_domain;
    struct control_objects authentications; /* of the workload */
};

/* --- texts ------------------------------------------------------------------------------------------------------ */

static bool text_matches(const struct control_text *text, struct fl_span value)
{
    switch (text->match) {
    case CONTROL_TEXT_EXACT:
        return fl_span_eq(value, text->text);
    case CONTROL_TEXT_PREFIX:
        return fl_span_starts_with(value, text->text);
    case CONTROL_TEXT_SUFFIX:
        return fl_span_ends_with(value, text->text);
    case CONTROL_TEXT_PRESENT:
    default:
        return value.len > 0;
    }
}

typedef bool matches_fn(const struct question *question, const struct control_text *text, struct fl_span name);

/* One of the values, and none of the others. `name`: of the header or claim. */
static bool texts_match(const struct question *question, const struct control_texts *texts, struct fl_span name,
                        matches_fn *one)
{
    bool found = texts->count == 0;
    for (size_t i = 0; i < texts->count && !found; i++)
        found = one(question, &texts->values[i], name);
    for (size_t i = 0; i < texts->not_count && found; i++)
        found = !one(question, &texts->not_values[i], name);
    return found;
}

/* --- from ------------------------------------------------------------------------------------------------------- */

static bool principal_matches(const struct question *question, const struct control_text *text, struct fl_span name)
{
    struct fl_span identity = question->caller->identity;
    (void)name;
    if (!fl_span_starts_with(identity, FL_SPAN(URI_LEAD)))
        return false;
    return text_matches(text, fl_span_from(identity, sizeof(URI_LEAD) - 1));
}

static bool contains(struct fl_span text, const char *part)
{
    return text.len > 0 && memmem(text.data, text.len, part, strlen(part)) != NULL;
}

/* A namespace is a segment of the identity, between "/ns/" and "/sa/", and of our own trust domain; but for a suffix.
 */
static bool namespace_matches(const struct question *question, const struct control_text *text, struct fl_span name)
{
    char lead[ID_MAX];
    (void)name;
    if (text->match == CONTROL_TEXT_SUFFIX) {
        (void)snprintf(lead, sizeof(lead), "%.*s/sa/", FL_SPAN_ARG(text->text));
        return contains(question->caller->identity, lead);
    }
    (void)snprintf(lead, sizeof(lead), URI_LEAD "%.*s/ns/%.*s%s", FL_SPAN_ARG(question->trust_domain),
                   FL_SPAN_ARG(text->text), text->match == CONTROL_TEXT_EXACT ? "/sa/" : "");
    return fl_span_starts_with(question->caller->identity, fl_span_str(lead));
}

static bool is_in(const struct control_ip *ip, const struct fl_cidr *block)
{
    unsigned whole = block->prefix / 8, rest = block->prefix % 8;
    if (ip->version != (block->family == AF_INET ? 4 : 6) || memcmp(ip->bytes, block->address, whole) != 0)
        return false;
    return rest == 0 || ((ip->bytes[whole] ^ block->address[whole]) >> (8 - rest)) == 0;
}

static bool blocks_match(const struct control_blocks *blocks, const struct control_ip *ip)
{
    bool found = blocks->count == 0;
    for (size_t i = 0; i < blocks->count && !found; i++)
        found = is_in(ip, &blocks->values[i]);
    for (size_t i = 0; i < blocks->not_count && found; i++)
        found = !is_in(ip, &blocks->not_values[i]);
    return found;
}

/* No token of an issuer that the workload does not trust is ever valid. */
static bool is_trusted(const struct question *question, struct fl_span issuer)
{
    for (size_t i = 0; i < question->authentications.count; i++) {
        const struct control_request_authentication *one =
            control_as_request_authentication(question->authentications.items[i]);
        for (size_t k = 0; k < one->rule_count; k++)
            if (fl_span_eq(one->rules[k].issuer, issuer))
                return true;
    }
    return false;
}

static bool request_principal_matches(const struct question *question, const struct control_text *text,
                                      struct fl_span name)
{
    const struct cli_caller *caller = question->caller;
    char whole[ID_MAX];
    (void)name;
    if (caller->issuer.len == 0 || !is_trusted(question, caller->issuer))
        return false;
    (void)snprintf(whole, sizeof(whole), "%.*s/%.*s", FL_SPAN_ARG(caller->issuer), FL_SPAN_ARG(caller->subject));
    return text_matches(text, fl_span_str(whole));
}

static bool source_matches(const struct question *question, const struct control_source *source)
{
    const struct fl_span none = {NULL, 0};
    return texts_match(question, &source->principals, none, principal_matches) &&
           texts_match(question, &source->namespaces, none, namespace_matches) &&
           blocks_match(&source->ip_blocks, &question->caller->ip) &&
           (question->caller->tcp ||
            texts_match(question, &source->request_principals, none, request_principal_matches));
}

/* --- to --------------------------------------------------------------------------------------------------------- */

static bool starts_nocase(struct fl_span text, struct fl_span part)
{
    return text.len >= part.len && fl_span_eq_nocase(fl_span_make(text.data, part.len), part);
}

static bool ends_nocase(struct fl_span text, struct fl_span part)
{
    return text.len >= part.len && fl_span_eq_nocase(fl_span_from(text, text.len - part.len), part);
}

/* A host that was written without a port is meant at every port. */
static bool host_matches(const struct question *question, const struct control_text *text, struct fl_span name)
{
    struct fl_span host = question->caller->host, bare = host;
    bool has_port = fl_span_find(text->text, ':') < text->text.len;
    (void)name;
    if (!has_port && fl_span_find(host, ']') == host.len)
        bare.len = fl_span_find(host, ':');
    switch (text->match) {
    case CONTROL_TEXT_EXACT:
        return fl_span_eq_nocase(host, text->text) || fl_span_eq_nocase(bare, text->text);
    case CONTROL_TEXT_PREFIX:
        return starts_nocase(host, text->text);
    case CONTROL_TEXT_SUFFIX:
        return ends_nocase(host, text->text) || ends_nocase(bare, text->text);
    case CONTROL_TEXT_PRESENT:
    default:
        return host.len > 0;
    }
}

static bool method_matches(const struct question *question, const struct control_text *text, struct fl_span name)
{
    (void)name;
    return text_matches(text, question->caller->request.method);
}

static bool path_matches(const struct question *question, const struct control_text *text, struct fl_span name)
{
    struct fl_span path = question->caller->request.path;
    (void)name;
    path.len = fl_span_find(path, '?');
    return text->match == CONTROL_TEXT_PRESENT || text_matches(text, path);
}

static bool header_matches(const struct question *question, const struct control_text *text, struct fl_span name)
{
    const struct control_request *request = &question->caller->request;
    for (size_t i = 0; i < request->header_count; i++)
        if (fl_span_eq_nocase(request->headers[i].name, name))
            return text->match == CONTROL_TEXT_PRESENT || text_matches(text, request->headers[i].value);
    return false;
}

static bool port_matches(const struct control_numbers *ports, uint16_t port)
{
    bool found = ports->count == 0;
    for (size_t i = 0; i < ports->count && !found; i++)
        found = ports->values[i] == port;
    for (size_t i = 0; i < ports->not_count && found; i++)
        found = ports->not_values[i] != port;
    return found;
}

/* NULL: it matches. */
static const char *operation_mismatch(const struct question *question, const struct control_operation *operation)
{
    const struct fl_span none = {NULL, 0};
    if (!port_matches(&operation->ports, question->caller->port))
        return "port";
    if (question->caller->tcp)
        return NULL;
    if (!texts_match(question, &operation->hosts, none, host_matches))
        return "host";
    if (!texts_match(question, &operation->methods, none, method_matches))
        return "method";
    if (!texts_match(question, &operation->paths, none, path_matches))
        return "path";
    for (size_t i = 0; i < operation->header_count; i++)
        if (!texts_match(question, &operation->headers[i].texts, operation->headers[i].name, header_matches))
            return "header";
    return NULL;
}

/* --- when ------------------------------------------------------------------------------------------------------- */

/* "a" is there where "a.b" is: an object. */
static bool is_present(struct fl_span path, struct fl_span name)
{
    return fl_span_eq(path, name) ||
           (path.len > name.len && fl_span_starts_with(path, name) && path.data[name.len] == '.');
}

static bool claim_matches(const struct question *question, const struct control_text *text, struct fl_span name)
{
    for (size_t i = 0; i < question->caller->claim_count; i++) {
        const struct cli_claim *claim = &question->caller->claims[i];
        if (text->match == CONTROL_TEXT_PRESENT ? is_present(claim->path, name)
                                                : fl_span_eq(claim->path, name) && text_matches(text, claim->value))
            return true;
    }
    return false;
}

static bool condition_matches(const struct question *question, const struct control_condition_rule *rule)
{
    char path[ID_MAX];
    size_t len = 0;
    if (rule->key == CONTROL_WHEN_HEADER)
        return texts_match(question, &rule->texts, rule->path[0], header_matches);
    for (size_t i = 0; i < rule->path_count && len < sizeof(path); i++)
        len += (size_t)snprintf(path + len, sizeof(path) - len, "%s%.*s", i > 0 ? "." : "", FL_SPAN_ARG(rule->path[i]));
    return texts_match(question, &rule->texts, fl_span_make(path, len < sizeof(path) ? len : sizeof(path) - 1),
                       claim_matches);
}

/* --- rules ------------------------------------------------------------------------------------------------------ */

static const char *rule_mismatch(const struct question *question, const struct control_policy_rule *rule,
                                 enum control_action action)
{
    const char *mismatch = NULL;
    size_t from = 0;
    if (question->caller->tcp && action == CONTROL_ALLOW && rule->needs_http)
        return "it needs HTTP, and the port carries opaque bytes";
    for (size_t i = 0; i < rule->to_count; i++)
        if ((mismatch = operation_mismatch(question, &rule->to[i])) == NULL)
            break;
    if (mismatch != NULL)
        return mismatch;
    while (from < rule->from_count && !source_matches(question, &rule->from[from]))
        from++;
    if (rule->from_count > 0 && from == rule->from_count)
        return "from";
    for (size_t i = 0; i < rule->when_count && !question->caller->tcp; i++)
        if (!condition_matches(question, &rule->when[i]))
            return "when";
    return NULL;
}

static enum control_action action_of(const struct control_authorization_policy *policy)
{
    return policy->object.broken.len > 0 ? CONTROL_DENY : policy->action;
}

/* The first of the action's rules that matches; *ret_any: there are policies of it. */
static const struct control_authorization_policy *find(const struct question *question,
                                                       const struct control_objects *all, enum control_action action,
                                                       bool shadow, bool *ret_any, size_t *ret_rule)
{
    *ret_any = false;
    *ret_rule = 0;
    for (size_t i = 0; i < all->count; i++) {
        const struct control_authorization_policy *policy = control_as_authorization_policy(all->items[i]);
        if (action_of(policy) != action || policy->dry_run != shadow)
            continue;
        *ret_any = true;
        if (policy->object.broken.len > 0)
            return policy;
        for (size_t k = 0; k < policy->rule_count; k++)
            if (rule_mismatch(question, &policy->rules[k], action) == NULL) {
                *ret_rule = k;
                return policy;
            }
    }
    return NULL;
}

static struct question make_question(const struct control_model *model, const struct cli_caller *caller)
{
    return (struct question){.caller = caller, .trust_domain = control_model_settings(model).trust_domain};
}

static void decide(const struct question *question, const struct control_objects *all, struct cli_verdict *verdict)
{
    bool any;
    size_t rule;
    verdict->shadow = find(question, all, CONTROL_DENY, true, &any, &rule);
    if (verdict->shadow == NULL && find(question, all, CONTROL_ALLOW, true, &any, &rule) == NULL && any)
        for (size_t i = 0; i < all->count && verdict->shadow == NULL; i++)
            if (control_as_authorization_policy(all->items[i])->dry_run)
                verdict->shadow = control_as_authorization_policy(all->items[i]);
    verdict->policy = find(question, all, CONTROL_DENY, false, &any, &verdict->rule);
    if (verdict->policy != NULL) {
        verdict->kind = CLI_VERDICT_DENIED;
        return;
    }
    verdict->policy = find(question, all, CONTROL_ALLOW, false, &any, &verdict->rule);
    verdict->kind = verdict->policy != NULL ? CLI_VERDICT_ALLOWED : any ? CLI_VERDICT_UNMATCHED : CLI_VERDICT_OPEN;
}

bool cli_verdict_is_allowed(const struct cli_verdict *verdict)
{
    return verdict->kind == CLI_VERDICT_OPEN || verdict->kind == CLI_VERDICT_ALLOWED ||
           verdict->kind == CLI_VERDICT_OUTSIDE;
}

int cli_verdict_judge(const struct control_model *model, const struct control_workload *workload,
                      const struct cli_caller *caller, struct cli_verdict *ret_verdict)
{
    struct cli_caller known = *caller;
    struct question question = make_question(model, &known);
    struct cli_verdict verdict = {.mtls = control_workload_mtls(model, workload, caller->port)};
    struct control_objects all;
    struct fl_arena arena;
    int result = 0;
    fl_arena_init(&arena, ARENA_MAX);
    if (verdict.mtls == CONTROL_MTLS_DISABLE) /* everybody comes in plaintext, and has no identity */
        known.identity = (struct fl_span){NULL, 0};
    if (!workload->meshed)
        verdict.kind = CLI_VERDICT_OUTSIDE;
    else if (verdict.mtls == CONTROL_MTLS_STRICT && caller->identity.len == 0)
        verdict.kind = CLI_VERDICT_PLAINTEXT;
    else {
        result = control_workload_policies(model, workload, CONTROL_REQUEST_AUTHENTICATION, &arena,
                                           &question.authentications);
        if (result == 0)
            result = control_workload_policies(model, workload, CONTROL_AUTHORIZATION_POLICY, &arena, &all);
        if (result == 0)
            decide(&question, &all, &verdict);
    }
    fl_arena_done(&arena);
    if (result == 0)
        *ret_verdict = verdict;
    return result;
}

const char *cli_rule_mismatch(const struct control_model *model, const struct control_workload *workload,
                              const struct control_authorization_policy *policy, size_t rule,
                              const struct cli_caller *caller)
{
    struct question question = make_question(model, caller);
    struct fl_arena arena;
    fl_arena_init(&arena, ARENA_MAX);
    const char *mismatch = "memory is out";
    if (control_workload_policies(model, workload, CONTROL_REQUEST_AUTHENTICATION, &arena, &question.authentications) ==
        0)
        mismatch = rule_mismatch(&question, &policy->rules[rule], action_of(policy));
    fl_arena_done(&arena);
    return mismatch;
}
