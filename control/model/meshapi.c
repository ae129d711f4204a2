#include "control/model/meshapi.h"

#include "common/mesh/identity.h"
#include "control/model/field.h"
#include "control/model/kinds.h"

#include <errno.h>
#include <stdio.h>

#define OPT FL_ROW_NULL_OK
#define REQ FL_ROW_REQUIRED

#define LIST_OF(type, items, count, least, most, reader_function, start, table_or_null)                                \
    {                                                                                                                  \
        .size = sizeof(*((type *)NULL)->items), .count_delta = CONTROL_COUNT_DELTA(type, items, count),                \
        .min = (least), .max = (most), .initial = (start),                                                             \
        .item = {.read = (reader_function), .detail = (table_or_null)},                                                \
    }

/* The whole document: apiVersion, kind, metadata, spec, and a status that is nobody's business here; nothing else. */
static int read_document(struct fl_reader *reader, const struct fl_json *document, const struct fl_table *spec_table,
                         void *target)
{
    struct members {
        const struct fl_json *ignored, *spec;
    } members = {0};
    static const struct fl_row rows[] = {
        {"apiVersion", fl_read_json, offsetof(struct members, ignored), 0, 0, 0, NULL},
        {"kind", fl_read_json, offsetof(struct members, ignored), 0, 0, 0, NULL},
        {"metadata", fl_read_json, offsetof(struct members, ignored), 0, 0, 0, NULL},
        {"spec", fl_read_json, offsetof(struct members, spec), OPT, 0, 0, NULL},
        {"status", fl_read_json, offsetof(struct members, ignored), OPT, 0, 0, NULL},
        {0},
    };
    static const struct fl_table table = {rows, FL_TABLE_REFUSE_UNKNOWN};
    int result = fl_table_read(reader, document, &table, &members);
    if (result < 0 || members.spec == NULL)
        return result;
    size_t mark = fl_reader_enter(reader, FL_SPAN("spec"));
    result = fl_table_read(reader, members.spec, spec_table, target);
    fl_reader_leave(reader, mark);
    return result;
}

/* -- targets ------------------------------------------------------------------------------------------------------- */

static int read_target_selector(struct fl_reader *reader, const struct fl_json *value, void *field,
                                const struct fl_row *row)
{
    struct control_target *target = field;
    (void)row;
    target->selects = true;
    return fl_selector_read(reader, value, reader->context, &target->selector);
}

struct target_reference {
    struct fl_span group, kind, name;
};

#define AT(member) offsetof(struct target_reference, member)
static const struct fl_row reference_rows[] = {
    {"group", fl_read_string, AT(group), OPT, 0, 0, NULL},
    {"kind", fl_read_string, AT(kind), REQ, 0, 0, NULL},
    {"name", control_read_name, AT(name), REQ, 0, 0, NULL},
    {0},
};
static const struct fl_table reference_table = {reference_rows, FL_TABLE_REFUSE_UNKNOWN};
#undef AT

/* row->detail: the kind that may be meant. */
static int read_target_name(struct fl_reader *reader, const struct fl_json *value, void *field,
                            const struct fl_row *row)
{
    struct target_reference reference = {FL_SPAN(""), FL_SPAN(""), FL_SPAN("")};
    int result = fl_table_read(reader, value, &reference_table, &reference);
    if (result == 0 && !fl_span_eq_str(reference.kind, row->detail))
        return fl_reader_expected(reader, fl_json_get(value, "kind"), row->detail);
    *(struct fl_span *)field = reference.name;
    return result;
}

static const struct control_list gateway_names =
    LIST_OF(struct control_target, names, name_count, 1, CONTROL_TARGETS_MAX, read_target_name, NULL, "Gateway");
static const struct control_list service_names =
    LIST_OF(struct control_target, names, name_count, 1, CONTROL_TARGETS_MAX, read_target_name, NULL, "Service");

#define TARGET_ROWS(type)                                                                                              \
    {"selector", read_target_selector, offsetof(type, target), OPT, 0, 0, NULL},                                       \
    {                                                                                                                  \
        "targetRefs", control_read_list, offsetof(type, target.names), OPT, 0, 0, &gateway_names                       \
    }

static int check_target(struct fl_reader *reader, const struct fl_json *document, const struct control_target *target)
{
    if (target->selects && target->name_count > 0)
        return fl_reader_fail(reader, fl_json_get(document, "spec"),
                              "spec: selector and targetRefs exclude each other");
    return 0;
}

/* Of a policy that was not understood, whom it is for, as far as that can be told. */
static int close_target(struct fl_reader *reader, const struct fl_json *document, struct control_target *target)
{
    const struct fl_json *spec = fl_json_get(document, "spec");
    const struct fl_json *selector = fl_json_get(spec, "selector"), *refs = fl_json_get(spec, "targetRefs");
    const struct fl_row row = {.detail = &gateway_names};
    int result = 0;
    if (fl_json_is(selector, FL_JSON_OBJECT))
        result = read_target_selector(reader, selector, target, NULL);
    if (result == 0 && fl_json_is(refs, FL_JSON_ARRAY))
        result = control_read_list(reader, refs, &target->names, &row);
    if (result < 0 || (target->selects && target->name_count > 0))
        *target = (struct control_target){0};
    return result == -ENOMEM ? result : 0;
}

/* -- lists of texts ------------------------------------------------------------------------------------------------ */

static int make_text(struct fl_reader *reader, const struct fl_json *value, struct fl_span text,
                     struct control_text *ret_text)
{
    bool starts = fl_span_starts_with(text, FL_SPAN("*")), ends = fl_span_ends_with(text, FL_SPAN("*"));
    if (text.len == 0)
        return fl_reader_fail(reader, value, "an empty text matches nothing");
    ret_text->match = text.len == 1 && starts ? CONTROL_TEXT_PRESENT
                      : ends                  ? CONTROL_TEXT_PREFIX
                      : starts                ? CONTROL_TEXT_SUFFIX
                                              : CONTROL_TEXT_EXACT;
    if (starts)
        text = fl_span_from(text, 1);
    else if (ends)
        text.len--;
    if (memchr(text.data, '*', text.len) != NULL)
        return fl_reader_fail(reader, value, "'*' may stand at one end alone");
    return control_copy(reader, text, &ret_text->text);
}

static int read_text_item(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    (void)row;
    if (!fl_json_is(value, FL_JSON_STRING))
        return fl_reader_expected(reader, value, "a string");
    return make_text(reader, value, fl_json_string(value), field);
}

static int read_principal_item(struct fl_reader *reader, const struct fl_json *value, void *field,
                               const struct fl_row *row)
{
    struct fl_span text = fl_json_string(value);
    (void)row;
    if (!fl_json_is(value, FL_JSON_STRING))
        return fl_reader_expected(reader, value, "a string");
    if (fl_span_starts_with(text, FL_SPAN("spiffe://")))
        text = fl_span_from(text, strlen("spiffe://"));
    return make_text(reader, value, text, field);
}

static int read_port_item(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    uint64_t port = 0;
    if (!fl_json_is(value, FL_JSON_STRING))
        return control_read_port(reader, value, field, row);
    if (!fl_span_to_u64(fl_json_string(value), UINT16_MAX, &port) || port == 0)
        return fl_reader_expected(reader, value, "a port number");
    *(uint16_t *)field = (uint16_t)port;
    return 0;
}

#define TEXTS(name, field, item)                                                                                       \
    static const struct control_list name =                                                                            \
        LIST_OF(struct control_texts, field##values, field##count, 1, CONTROL_VALUES_MAX, item, NULL, NULL)
TEXTS(text_list, , read_text_item);
TEXTS(not_text_list, not_, read_text_item);
TEXTS(principal_list, , read_principal_item);
TEXTS(not_principal_list, not_, read_principal_item);
static const struct control_list block_list =
    LIST_OF(struct control_blocks, values, count, 1, CONTROL_VALUES_MAX, control_read_cidr, NULL, NULL);
static const struct control_list not_block_list =
    LIST_OF(struct control_blocks, not_values, not_count, 1, CONTROL_VALUES_MAX, control_read_cidr, NULL, NULL);
static const struct control_list port_list =
    LIST_OF(struct control_numbers, values, count, 1, CONTROL_VALUES_MAX, read_port_item, NULL, NULL);
static const struct control_list not_port_list =
    LIST_OF(struct control_numbers, not_values, not_count, 1, CONTROL_VALUES_MAX, read_port_item, NULL, NULL);

#define PAIR(type, field, name, not_name, list, not_list)                                                              \
    {name, control_read_list, offsetof(type, field.values), 0, 0, 0, &list},                                           \
    {                                                                                                                  \
        not_name, control_read_list, offsetof(type, field.not_values), 0, 0, 0, &not_list                              \
    }

/* -- AuthorizationPolicy ------------------------------------------------------------------------------------------- */

static const struct fl_row source_rows[] = {
    PAIR(struct control_source, principals, "principals", "notPrincipals", principal_list, not_principal_list),
    PAIR(struct control_source, namespaces, "namespaces", "notNamespaces", text_list, not_text_list),
    PAIR(struct control_source, ip_blocks, "ipBlocks", "notIpBlocks", block_list, not_block_list),
    PAIR(struct control_source, request_principals, "requestPrincipals", "notRequestPrincipals", text_list,
         not_text_list),
    {0},
};
static const struct fl_table source_table = {source_rows, FL_TABLE_REFUSE_UNKNOWN};

static bool texts_given(const struct control_texts *texts)
{
    return texts->count > 0 || texts->not_count > 0;
}

/* A source that says nothing would be everybody: more likely what a template left of it. */
static int read_source(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    struct control_source *source = field;
    (void)row;
    int result = fl_table_read(reader, value, &source_table, source);
    bool given = texts_given(&source->principals) || texts_given(&source->namespaces) ||
                 texts_given(&source->request_principals) || source->ip_blocks.count > 0 ||
                 source->ip_blocks.not_count > 0;
    if (result == 0 && !given)
        return fl_reader_fail(reader, value, "a source that says nothing; to mean everybody leave \"from\" out");
    return result;
}

static const struct fl_row from_rows[] = {
    {"source", read_source, 0, REQ, 0, 0, NULL},
    {0},
};
static const struct fl_table from_table = {from_rows, FL_TABLE_REFUSE_UNKNOWN};

static const struct fl_row header_rows[] = {
    {"name", control_read_header_name, offsetof(struct control_header_rule, name), REQ, 0, 0, NULL},
    PAIR(struct control_header_rule, texts, "values", "notValues", text_list, not_text_list),
    {0},
};
static const struct fl_table header_table = {header_rows, FL_TABLE_REFUSE_UNKNOWN};

static int read_header_rule(struct fl_reader *reader, const struct fl_json *value, void *field,
                            const struct fl_row *row)
{
    struct control_header_rule *rule = field;
    (void)row;
    int result = fl_table_read(reader, value, &header_table, rule);
    if (result == 0 && !texts_given(&rule->texts))
        return fl_reader_fail(reader, value, "values or notValues is required");
    return result;
}

static const struct control_list header_list =
    LIST_OF(struct control_operation, headers, header_count, 1, 64, read_header_rule, NULL, NULL);
static const struct fl_row operation_rows[] = {
    PAIR(struct control_operation, hosts, "hosts", "notHosts", text_list, not_text_list),
    PAIR(struct control_operation, ports, "ports", "notPorts", port_list, not_port_list),
    PAIR(struct control_operation, methods, "methods", "notMethods", text_list, not_text_list),
    PAIR(struct control_operation, paths, "paths", "notPaths", text_list, not_text_list),
    {"headers", control_read_list, offsetof(struct control_operation, headers), 0, 0, 0, &header_list},
    {0},
};
static const struct fl_table operation_table = {operation_rows, FL_TABLE_REFUSE_UNKNOWN};

static bool operation_needs_http(const struct control_operation *operation)
{
    return texts_given(&operation->hosts) || texts_given(&operation->methods) || texts_given(&operation->paths) ||
           operation->header_count > 0;
}

static int read_operation(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    struct control_operation *operation = field;
    (void)row;
    int result = fl_table_read(reader, value, &operation_table, operation);
    bool given = operation_needs_http(operation) || operation->ports.count > 0 || operation->ports.not_count > 0;
    if (result == 0 && !given)
        return fl_reader_fail(reader, value, "an operation that says nothing; to mean every one leave \"to\" out");
    return result;
}

static const struct fl_row to_rows[] = {
    {"operation", read_operation, 0, REQ, 0, 0, NULL},
    {0},
};
static const struct fl_table to_table = {to_rows, FL_TABLE_REFUSE_UNKNOWN};

struct condition_texts {
    struct fl_span key;
    struct control_texts texts;
};

static const struct fl_row condition_rows[] = {
    {"key", fl_read_string, offsetof(struct condition_texts, key), REQ, 1, 512, NULL},
    PAIR(struct condition_texts, texts, "values", "notValues", text_list, not_text_list),
    {0},
};
static const struct fl_table condition_table = {condition_rows, FL_TABLE_REFUSE_UNKNOWN};

#define CLAIMS_DEPTH_MAX 8

/* "[a][b]" into names; 0, -EINVAL (nothing said), -ENOMEM. */
static int read_brackets(struct fl_reader *reader, struct fl_span text, bool lower,
                         struct control_condition_rule *condition)
{
    struct fl_span *path = fl_arena_array(reader->context, CLAIMS_DEPTH_MAX, sizeof(*path));
    size_t count = 0;
    if (path == NULL)
        return -ENOMEM;
    while (text.len > 0) {
        size_t end = fl_span_find(text, ']');
        if (text.data[0] != '[' || end == text.len || end < 2 || count == CLAIMS_DEPTH_MAX)
            return -EINVAL;
        struct fl_span name = fl_span_make(text.data + 1, end - 1);
        int result =
            lower ? control_copy_lower(reader, name, &path[count++]) : control_copy(reader, name, &path[count++]);
        if (result < 0)
            return result;
        text = fl_span_from(text, end + 1);
    }
    condition->path = path;
    condition->path_count = count;
    return count > 0 ? 0 : -EINVAL;
}

static int read_condition_key(struct fl_reader *reader, struct fl_span key, struct control_condition_rule *condition)
{
    const struct fl_span claims = FL_SPAN("request.auth.claims"), headers = FL_SPAN("request.headers");
    if (fl_span_starts_with(key, claims)) {
        condition->key = CONTROL_WHEN_CLAIM;
        return read_brackets(reader, fl_span_from(key, claims.len), false, condition);
    }
    if (!fl_span_starts_with(key, headers))
        return -EINVAL;
    condition->key = CONTROL_WHEN_HEADER;
    int result = read_brackets(reader, fl_span_from(key, headers.len), true, condition);
    return result == 0 && condition->path_count != 1 ? -EINVAL : result;
}

static int read_condition(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    struct control_condition_rule *condition = field;
    struct condition_texts texts = {.key = {NULL, 0}};
    (void)row;
    int result = fl_table_read(reader, value, &condition_table, &texts);
    if (result < 0)
        return result;
    condition->texts = texts.texts;
    result = read_condition_key(reader, texts.key, condition);
    if (result == -EINVAL)
        return fl_reader_expected(reader, fl_json_get(value, "key"),
                                  "request.auth.claims[<claim>] or request.headers[<name>]");
    if (result == 0 && !texts_given(&condition->texts))
        return fl_reader_fail(reader, value, "values or notValues is required");
    return result;
}

static bool source_needs_http(const struct control_source *source)
{
    return texts_given(&source->request_principals);
}

static const struct control_list from_list =
    LIST_OF(struct control_policy_rule, from, from_count, 1, 64, fl_read_object, NULL, &from_table);
static const struct control_list to_list =
    LIST_OF(struct control_policy_rule, to, to_count, 1, 64, fl_read_object, NULL, &to_table);
static const struct control_list when_list =
    LIST_OF(struct control_policy_rule, when, when_count, 1, 64, read_condition, NULL, NULL);
#define AT(member) offsetof(struct control_policy_rule, member)
static const struct fl_row rule_rows[] = {
    {"from", control_read_list, AT(from), 0, 0, 0, &from_list},
    {"to", control_read_list, AT(to), 0, 0, 0, &to_list},
    {"when", control_read_list, AT(when), 0, 0, 0, &when_list},
    {0},
};
static const struct fl_table rule_table = {rule_rows, FL_TABLE_REFUSE_UNKNOWN};
#undef AT

static int read_rule(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    struct control_policy_rule *rule = field;
    (void)row;
    int result = fl_table_read(reader, value, &rule_table, rule);
    rule->needs_http = rule->when_count > 0;
    for (size_t i = 0; i < rule->from_count; i++)
        rule->needs_http |= source_needs_http(&rule->from[i]);
    for (size_t i = 0; i < rule->to_count; i++)
        rule->needs_http |= operation_needs_http(&rule->to[i]);
    return result;
}

static const char *const actions[] = {"ALLOW", "DENY", NULL};
static const struct control_list rule_list =
    LIST_OF(struct control_authorization_policy, rules, rule_count, 0, CONTROL_POLICY_RULES_MAX, read_rule, NULL, NULL);
#define AT(member) offsetof(struct control_authorization_policy, member)
static const struct fl_row authorization_rows[] = {
    TARGET_ROWS(struct control_authorization_policy),
    {"action", fl_read_enum, AT(action), OPT, 0, 0, actions},
    {"dryRun", fl_read_bool, AT(dry_run), OPT, 0, 0, NULL},
    {"rules", control_read_list, AT(rules), OPT, 0, 0, &rule_list},
    {0},
};
static const struct fl_table authorization_table = {authorization_rows, FL_TABLE_REFUSE_UNKNOWN};
#undef AT

static int read_authorization(struct fl_reader *reader, const struct fl_json *document, struct control_object *object)
{
    struct control_authorization_policy *policy = FL_CONTAINER_OF(object, struct control_authorization_policy, object);
    int result = read_document(reader, document, &authorization_table, policy);
    return result < 0 ? result : check_target(reader, document, &policy->target);
}

static int close_authorization(struct fl_reader *reader, const struct fl_json *document, struct control_object *object)
{
    struct control_authorization_policy *policy = FL_CONTAINER_OF(object, struct control_authorization_policy, object);
    const struct fl_json *dry_run = fl_json_get(fl_json_get(document, "spec"), "dryRun");
    policy->action = CONTROL_DENY;
    policy->dry_run = fl_json_is(dry_run, FL_JSON_BOOL) && fl_json_bool(dry_run);
    return close_target(reader, document, &policy->target);
}

const struct control_kind_reader control_read_authorization_policy = {sizeof(struct control_authorization_policy),
                                                                      read_authorization, close_authorization};

/* -- RequestAuthentication ----------------------------------------------------------------------------------------- */

static int read_jwks(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    static const struct fl_json_limits limits = {.bytes_max = CONTROL_JWKS_MAX, .depth_max = 8};
    FL_CLEANUP(fl_cleanup_json) struct fl_json *jwks = NULL;
    struct fl_err err = {0};
    if (!fl_json_is(value, FL_JSON_STRING))
        return fl_reader_expected(reader, value, "a JWKS as a string of JSON");
    int result = fl_json_parse(fl_json_string(value), &limits, &jwks, &err);
    if (result == -ENOMEM)
        return result;
    if (result < 0)
        return fl_reader_fail(reader, value, "not JSON: %s", err.text);
    if (!fl_json_is(fl_json_get(jwks, "keys"), FL_JSON_ARRAY))
        return fl_reader_fail(reader, value, "a JWKS has a list \"keys\"");
    return control_read_text(reader, value, field, row);
}

#define AT(member) offsetof(struct control_jwt_header, member)
static const struct fl_row jwt_header_rows[] = {
    {"name", control_read_header_name, AT(name), REQ, 0, 0, NULL},
    {"prefix", control_read_text, AT(prefix), OPT, 0, 64, NULL},
    {0},
};
static const struct fl_table jwt_header_table = {jwt_header_rows, FL_TABLE_REFUSE_UNKNOWN};
#undef AT
static const struct fl_row text_row = {.read = control_read_text, .min = 1, .max = 1024};

static int read_short_text(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    (void)row;
    return control_read_text(reader, value, field, &text_row);
}

static const struct control_list audience_list =
    LIST_OF(struct control_jwt_rule, audiences, audience_count, 0, 64, read_short_text, NULL, NULL);
static const struct control_list jwt_header_list =
    LIST_OF(struct control_jwt_rule, headers, header_count, 0, 16, fl_read_object, NULL, &jwt_header_table);
static const struct control_list param_list =
    LIST_OF(struct control_jwt_rule, params, param_count, 0, 16, read_short_text, NULL, NULL);
#define AT(member) offsetof(struct control_jwt_rule, member)
static const struct fl_row jwt_rows[] = {
    {"issuer", control_read_text, AT(issuer), REQ, 1, 1024, NULL},
    {"audiences", control_read_list, AT(audiences), OPT, 0, 0, &audience_list},
    {"jwks", read_jwks, AT(jwks), REQ, 0, 0, NULL},
    {"fromHeaders", control_read_list, AT(headers), OPT, 0, 0, &jwt_header_list},
    {"fromParams", control_read_list, AT(params), OPT, 0, 0, &param_list},
    {"forwardOriginalToken", fl_read_bool, AT(forward), OPT, 0, 0, NULL},
    {0},
};
static const struct fl_table jwt_table = {jwt_rows, FL_TABLE_REFUSE_UNKNOWN};
#undef AT
static const struct control_list jwt_list =
    LIST_OF(struct control_request_authentication, rules, rule_count, 0, 16, fl_read_object, NULL, &jwt_table);
static const struct fl_row request_rows[] = {
    TARGET_ROWS(struct control_request_authentication),
    {"jwtRules", control_read_list, offsetof(struct control_request_authentication, rules), OPT, 0, 0, &jwt_list},
    {0},
};
static const struct fl_table request_table = {request_rows, FL_TABLE_REFUSE_UNKNOWN};

static int read_request(struct fl_reader *reader, const struct fl_json *document, struct control_object *object)
{
    struct control_request_authentication *request =
        FL_CONTAINER_OF(object, struct control_request_authentication, object);
    int result = read_document(reader, document, &request_table, request);
    return result < 0 ? result : check_target(reader, document, &request->target);
}

const struct control_kind_reader control_read_request_authentication = {sizeof(struct control_request_authentication),
                                                                        read_request, NULL};

/* -- PeerAuthentication -------------------------------------------------------------------------------------------- */

static const char *const modes[] = {"UNSET", "DISABLE", "PERMISSIVE", "STRICT", NULL};

const char *control_mtls_name(enum control_mtls mode)
{
    return modes[mode];
}

static const struct fl_row mtls_rows[] = {
    {"mode", fl_read_enum, 0, OPT, 0, 0, modes},
    {0},
};
static const struct fl_table mtls_table = {mtls_rows, FL_TABLE_REFUSE_UNKNOWN};

static int read_mtls(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    (void)row;
    return fl_table_read(reader, value, &mtls_table, field);
}

/* portLevelMtls: {"8080": {mode: DISABLE}}. YAML keys are texts. */
static int read_port_mtls(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    struct control_peer_authentication *peer = field;
    size_t count = fl_json_count(value), i = 0;
    (void)row;
    if (!fl_json_is(value, FL_JSON_OBJECT))
        return fl_reader_expected(reader, value, "an object by port");
    if (count > CONTROL_VALUES_MAX)
        return fl_reader_fail(reader, value, "more than %d ports", CONTROL_VALUES_MAX);
    if (count == 0)
        return 0;
    struct control_port_mtls *ports = fl_arena_array(reader->context, count, sizeof(*ports));
    if (ports == NULL)
        return -ENOMEM;
    for (const struct fl_json *item = fl_json_first(value); item != NULL; item = fl_json_next(item), i++) {
        uint64_t port = 0;
        size_t mark = fl_reader_enter(reader, fl_json_name(item));
        int result = fl_span_to_u64(fl_json_name(item), UINT16_MAX, &port) && port > 0
                         ? read_mtls(reader, item, &ports[i].mode, NULL)
                         : fl_reader_fail(reader, item, "expected a port number as the member's name");
        fl_reader_leave(reader, mark);
        if (result < 0)
            return result;
        ports[i].port = (uint16_t)port;
    }
    peer->ports = ports;
    peer->port_count = count;
    return 0;
}

static const struct fl_row peer_rows[] = {
    {"selector", read_target_selector, offsetof(struct control_peer_authentication, target), OPT, 0, 0, NULL},
    {"mtls", read_mtls, offsetof(struct control_peer_authentication, mode), OPT, 0, 0, NULL},
    {"portLevelMtls", read_port_mtls, 0, OPT, 0, 0, NULL},
    {0},
};
static const struct fl_table peer_table = {peer_rows, FL_TABLE_REFUSE_UNKNOWN};

static int read_peer(struct fl_reader *reader, const struct fl_json *document, struct control_object *object)
{
    struct control_peer_authentication *peer = FL_CONTAINER_OF(object, struct control_peer_authentication, object);
    int result = read_document(reader, document, &peer_table, peer);
    if (result == 0 && peer->port_count > 0 && !peer->target.selects)
        return fl_reader_fail(reader, fl_json_get(document, "spec"), "spec.portLevelMtls: needs a selector");
    return result;
}

static int close_peer(struct fl_reader *reader, const struct fl_json *document, struct control_object *object)
{
    struct control_peer_authentication *peer = FL_CONTAINER_OF(object, struct control_peer_authentication, object);
    peer->mode = CONTROL_MTLS_STRICT;
    return close_target(reader, document, &peer->target);
}

const struct control_kind_reader control_read_peer_authentication = {sizeof(struct control_peer_authentication),
                                                                     read_peer, close_peer};

/* -- TrafficPolicy ------------------------------------------------------------------------------------------------- */

static const char *const balances[] = {"", "RoundRobin", "LeastRequest", NULL};

#define PERCENT    0, 1, 100, NULL
#define AT(member) offsetof(struct control_outlier, member)
static const struct fl_row outlier_rows[] = {
    {"consecutive5xxErrors", fl_read_u32, AT(consecutive_5xx), OPT, 0, 100000, NULL},
    {"consecutiveGatewayErrors", fl_read_u32, AT(consecutive_gateway), OPT, 0, 100000, NULL},
    {"interval", control_read_duration, AT(interval_ms), OPT, 0, 0, NULL},
    {"baseEjectionTime", control_read_duration, AT(ejection_ms), OPT, 0, 0, NULL},
    {"maxEjectionPercent", fl_read_u32, AT(ejection_percent), OPT, 0, 100, NULL},
    {"minHealthPercent", fl_read_u32, AT(min_health_percent), OPT, 0, 100, NULL},
    {0},
};
static const struct fl_table outlier_table = {outlier_rows, FL_TABLE_REFUSE_UNKNOWN};
static const struct control_outlier outlier_start = {
    .consecutive_5xx = 5, .interval_ms = 10000, .ejection_ms = 30000, .ejection_percent = 10};
static const struct control_part outlier_part = {sizeof(struct control_outlier), &outlier_start, &outlier_table};
#undef AT
#undef PERCENT

#define AT(member) offsetof(struct control_circuit, member)
static const struct fl_row circuit_rows[] = {
    {"maxConnections", fl_read_u32, AT(max_connections), OPT, 1, UINT32_MAX, NULL},
    {"maxPendingRequests", fl_read_u32, AT(max_pending), OPT, 1, UINT32_MAX, NULL},
    {"maxRequests", fl_read_u32, AT(max_requests), OPT, 1, UINT32_MAX, NULL},
    {"maxRetries", fl_read_u32, AT(max_retries), OPT, 1, UINT32_MAX, NULL},
    {0},
};
static const struct fl_table circuit_table = {circuit_rows, FL_TABLE_REFUSE_UNKNOWN};
static const struct control_part circuit_part = {sizeof(struct control_circuit), NULL, &circuit_table};
#undef AT

static int read_retry_on(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    static const char *const names[] = {"connect-failure", "refused-stream",         "reset",       "5xx",
                                        "gateway-error",   "retriable-status-codes", "unavailable", "cancelled"};
    uint32_t *on = field;
    (void)row;
    if (!fl_json_is(value, FL_JSON_ARRAY))
        return fl_reader_expected(reader, value, "an array");
    for (const struct fl_json *item = fl_json_first(value); item != NULL; item = fl_json_next(item)) {
        uint32_t bit = 0;
        for (size_t i = 0; i < FL_COUNT(names); i++)
            if (fl_span_eq_str(fl_json_string(item), names[i]))
                bit = 1u << i;
        if (bit == 0)
            return fl_reader_expected(reader, item,
                                      "connect-failure, refused-stream, reset, 5xx, gateway-error, "
                                      "retriable-status-codes, unavailable or cancelled");
        *on |= bit;
    }
    return 0;
}

static int read_retry_code(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    static const struct fl_row range = {.min = 400, .max = 599};
    (void)row;
    return fl_read_u16(reader, value, field, &range);
}

static const struct control_list code_list =
    LIST_OF(struct control_retry_policy, codes, code_count, 0, 16, read_retry_code, NULL, NULL);
#define AT(member) offsetof(struct control_retry_policy, member)
static const struct fl_row budget_rows[] = {
    {"percent", fl_read_u32, AT(budget_percent), OPT, 0, 100, NULL},
    {"minRetriesPerSecond", fl_read_u32, AT(budget_min), OPT, 0, 1000000, NULL},
    {0},
};
static const struct fl_table budget_table = {budget_rows, FL_TABLE_REFUSE_UNKNOWN};
static const struct fl_row backoff_rows[] = {
    {"base", control_read_duration, AT(backoff_ms), OPT, 0, 0, NULL},
    {"max", control_read_duration, AT(backoff_max_ms), OPT, 0, 0, NULL},
    {0},
};
static const struct fl_table backoff_table = {backoff_rows, FL_TABLE_REFUSE_UNKNOWN};
static const struct fl_row retry_rows[] = {
    {"attempts", fl_read_u32, AT(attempts), REQ, 0, 100, NULL},
    {"perTryTimeout", control_read_duration, AT(per_try_timeout_ms), OPT, 0, 0, NULL},
    {"retryOn", read_retry_on, AT(on), OPT, 0, 0, NULL},
    {"codes", control_read_list, AT(codes), OPT, 0, 0, &code_list},
    {"backoff", fl_read_object, 0, OPT, 0, 0, &backoff_table},
    {"budget", fl_read_object, 0, OPT, 0, 0, &budget_table},
    {0},
};
static const struct fl_table retry_table = {retry_rows, FL_TABLE_REFUSE_UNKNOWN};
static const struct control_retry_policy retry_start = {.budget_percent = 20, .budget_min = 10};
static const struct control_part retry_part = {sizeof(struct control_retry_policy), &retry_start, &retry_table};
#undef AT

#define AT(member) offsetof(struct control_traffic_policy, member)
static const struct fl_row traffic_rows[] = {
    {"targetRefs", control_read_list, AT(target.names), REQ, 0, 0, &service_names},
    {"loadBalancer", fl_read_enum, AT(balance), OPT, 0, 0, balances},
    {"connectTimeout", control_read_duration, AT(connect_timeout_ms), OPT, 0, 0, NULL},
    {"outlierDetection", control_read_part, AT(outlier), OPT, 0, 0, &outlier_part},
    {"circuitBreakers", control_read_part, AT(circuit), OPT, 0, 0, &circuit_part},
    {"retries", control_read_part, AT(retries), OPT, 0, 0, &retry_part},
    {0},
};
static const struct fl_table traffic_table = {traffic_rows, FL_TABLE_REFUSE_UNKNOWN};
#undef AT

static int read_traffic(struct fl_reader *reader, const struct fl_json *document, struct control_object *object)
{
    struct control_traffic_policy *traffic = FL_CONTAINER_OF(object, struct control_traffic_policy, object);
    int result = read_document(reader, document, &traffic_table, traffic);
    if (result == 0 && traffic->target.name_count == 0)
        return fl_reader_fail(reader, document, "spec.targetRefs: required, but missing");
    return result;
}

const struct control_kind_reader control_read_traffic_policy = {sizeof(struct control_traffic_policy), read_traffic,
                                                                NULL};

/* -- Telemetry ----------------------------------------------------------------------------------------------------- */

static int read_switch(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    bool on = false;
    int result = fl_read_bool(reader, value, &on, row);
    *(enum control_switch *)field = on ? CONTROL_SWITCH_ON : CONTROL_SWITCH_OFF;
    return result;
}

/* Percent with up to three digits behind the point. */
static int read_sampling(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    double percent = fl_json_number(value);
    (void)row;
    if (!fl_json_is(value, FL_JSON_NUMBER) || !(percent >= 0 && percent <= 100))
        return fl_reader_expected(reader, value, "a number from 0 to 100");
    *(int32_t *)field = (int32_t)(percent * 1000 + 0.5);
    return 0;
}

static int read_endpoint(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    struct fl_span text = fl_json_string(value);
    (void)row;
    if (!fl_json_is(value, FL_JSON_STRING) || !fl_span_starts_with(text, FL_SPAN("http://")) || text.len > 1024)
        return fl_reader_expected(reader, value, "http://host:port with a path or without");
    return read_short_text(reader, value, field, row);
}

#define AT(member) offsetof(struct control_telemetry, member)
static const struct fl_row log_rows[] = {
    {"enabled", read_switch, AT(access_log), OPT, 0, 0, NULL},
    {"path", control_read_text, AT(access_log_path), OPT, 1, 1024, NULL},
    {0},
};
static const struct fl_table log_table = {log_rows, FL_TABLE_REFUSE_UNKNOWN};
static const struct fl_row tracing_rows[] = {
    {"enabled", read_switch, AT(tracing), OPT, 0, 0, NULL},
    {"endpoint", read_endpoint, AT(endpoint), OPT, 0, 0, NULL},
    {"samplingPercent", read_sampling, AT(sampling), OPT, 0, 0, NULL},
    {0},
};
static const struct fl_table tracing_table = {tracing_rows, FL_TABLE_REFUSE_UNKNOWN};
static const struct fl_row telemetry_rows[] = {
    TARGET_ROWS(struct control_telemetry),
    {"accessLogging", fl_read_object, 0, OPT, 0, 0, &log_table},
    {"tracing", fl_read_object, 0, OPT, 0, 0, &tracing_table},
    {0},
};
static const struct fl_table telemetry_table = {telemetry_rows, FL_TABLE_REFUSE_UNKNOWN};
#undef AT

static int read_telemetry(struct fl_reader *reader, const struct fl_json *document, struct control_object *object)
{
    struct control_telemetry *telemetry = FL_CONTAINER_OF(object, struct control_telemetry, object);
    telemetry->sampling = -1;
    int result = read_document(reader, document, &telemetry_table, telemetry);
    return result < 0 ? result : check_target(reader, document, &telemetry->target);
}

const struct control_kind_reader control_read_telemetry = {sizeof(struct control_telemetry), read_telemetry, NULL};

/* -- MeshSettings -------------------------------------------------------------------------------------------------- */

static int read_trust_domain(struct fl_reader *reader, const struct fl_json *value, void *field,
                             const struct fl_row *row)
{
    char uri[FL_IDENTITY_TRUST_DOMAIN_MAX + 16];
    struct fl_span text = fl_json_string(value);
    (void)row;
    int length = snprintf(uri, sizeof(uri), "spiffe://%.*s", FL_SPAN_ARG(text));
    if (!fl_json_is(value, FL_JSON_STRING) || text.len == 0 || text.len > FL_IDENTITY_TRUST_DOMAIN_MAX ||
        memchr(text.data, '/', text.len) != NULL || fl_spiffe_check(fl_span_make(uri, (size_t)length), NULL, NULL) < 0)
        return fl_reader_expected(reader, value, "a trust domain (lower-case letters, digits, '-', '.', '_')");
    return control_copy(reader, text, field);
}

static const char *const egresses[] = {"AllowAny", "Refuse", NULL};
static const struct control_list cidr_list =
    LIST_OF(struct control_mesh_settings, cidrs, cidr_count, 0, CONTROL_CIDRS_MAX, control_read_cidr, NULL, NULL);
#define AT(member) offsetof(struct control_mesh_settings, member)
static const struct fl_row settings_rows[] = {
    {"trustDomain", read_trust_domain, AT(trust_domain), OPT, 0, 0, NULL},
    {"clusterDomain", control_read_name, AT(cluster_domain), OPT, 0, 0, NULL},
    {"egress", fl_read_enum, AT(egress), OPT, 0, 0, egresses},
    {"meshCIDRs", control_read_list, AT(cidrs), OPT, 0, 0, &cidr_list},
    {0},
};
static const struct fl_table settings_table = {settings_rows, FL_TABLE_REFUSE_UNKNOWN};
#undef AT

static int read_settings(struct fl_reader *reader, const struct fl_json *document, struct control_object *object)
{
    struct control_mesh_settings *settings = FL_CONTAINER_OF(object, struct control_mesh_settings, object);
    settings->trust_domain = FL_SPAN(FL_TRUST_DOMAIN_DEFAULT);
    settings->cluster_domain = FL_SPAN("cluster.local");
    return read_document(reader, document, &settings_table, settings);
}

const struct control_kind_reader control_read_mesh_settings = {sizeof(struct control_mesh_settings), read_settings,
                                                               NULL};
