/* AuthorizationPolicy. */
#include "control/model/kind/document.h"
#include "control/model/kind/kinds.h"
#include "control/model/kind/target.h"

#include <errno.h>

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

/* -- the policy ---------------------------------------------------------------------------------------------------- */

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

#define CLAIMS_DEPTH_MAX 7 /* the proxies take 8 steps, and "payload" is the first */

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
    bool header = result == 0 && condition->path_count == 1 && control_is_header_name(condition->path[0]);
    return result == 0 && !header ? -EINVAL : result;
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
    CONTROL_TARGET_ROWS(struct control_authorization_policy),
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
    int result = control_read_document(reader, document, &authorization_table, policy);
    return result < 0 ? result : control_check_target(reader, document, &policy->target);
}

static int close_authorization(struct fl_reader *reader, const struct fl_json *document, struct control_object *object)
{
    struct control_authorization_policy *policy = FL_CONTAINER_OF(object, struct control_authorization_policy, object);
    const struct fl_json *dry_run = fl_json_get(fl_json_get(document, "spec"), "dryRun");
    policy->action = CONTROL_DENY;
    policy->dry_run = fl_json_is(dry_run, FL_JSON_BOOL) && fl_json_bool(dry_run);
    return control_close_target(reader, document, &policy->target);
}

const struct control_kind_reader control_read_authorization_policy = {sizeof(struct control_authorization_policy),
                                                                      read_authorization, close_authorization};
