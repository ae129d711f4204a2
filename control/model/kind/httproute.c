/* HTTPRoute: its rules; their matches and filters are read by match.c and filter.c. */
#include "control/model/gatewayapi.h"
#include "control/model/kind/document.h"
#include "control/model/kind/filter.h"
#include "control/model/kind/kinds.h"
#include "control/model/kind/match.h"
#include "control/model/kind/reference.h"
#include "control/model/kind/row.h"

static const struct control_list code_list =
    LIST_OF(struct control_retry, codes, code_count, 0, CONTROL_RETRY_CODES_MAX, control_read_retry_code, NULL, NULL);
#define AT(member) offsetof(struct control_retry, member)
static const struct fl_row retry_rows[] = {
    {"codes", control_read_list, AT(codes), OPT, 0, 0, &code_list},
    {"attempts", fl_read_u32, AT(attempts), OPT, 0, 100, NULL},
    {"backoff", control_read_duration, AT(backoff_ms), OPT, 0, 0, NULL},
    {0},
};
static const struct fl_table retry_table = {retry_rows, FL_TABLE_IGNORE_UNKNOWN};
static const struct control_part retry_part = {sizeof(struct control_retry), NULL, &retry_table};
#undef AT

#define AT(member) offsetof(struct control_http_rule, member)
static const struct fl_row timeout_rows[] = {
    {"request", control_read_duration, AT(request_timeout_ms), OPT, 0, 0, NULL},
    {"backendRequest", control_read_duration, AT(backend_timeout_ms), OPT, 0, 0, NULL},
    {0},
};
static const struct fl_table timeout_table = {timeout_rows, FL_TABLE_IGNORE_UNKNOWN};

static int read_timeouts(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    struct control_http_rule *rule = field;
    (void)row;
    int result = fl_table_read(reader, value, &timeout_table, rule);
    if (result == 0 && rule->request_timeout_ms > 0 && rule->backend_timeout_ms > rule->request_timeout_ms)
        return fl_reader_fail(reader, value, "backendRequest is longer than request");
    return result;
}

static const struct control_list backend_list = LIST_OF(struct control_http_rule, backends, backend_count, 0,
                                                        CONTROL_BACKENDS_MAX, control_read_backend, NULL, NULL);
static const struct fl_row rule_rows[] = {
    {"name", control_read_text, AT(name), OPT, 0, CONTROL_SECTION_MAX, NULL},
    {"matches", control_read_matches, 0, OPT, 0, 0, NULL},
    {"filters", control_read_filters, AT(filters), OPT, 0, 0, NULL},
    {"backendRefs", control_read_list, AT(backends), OPT, 0, 0, &backend_list},
    {"timeouts", read_timeouts, 0, OPT, 0, 0, NULL},
    {"retry", control_read_part, AT(retry), OPT, 0, 0, &retry_part},
    {0},
};
static const struct fl_table rule_table = {rule_rows, FL_TABLE_IGNORE_UNKNOWN};
#undef AT

/* "replacePrefixMatch" makes sense only where every match is one prefix: Gateway API's own schema asks for that. */
static int check_prefix_change(struct fl_reader *reader, const struct fl_json *value,
                               const struct control_http_rule *rule)
{
    bool changes =
        (rule->filters.redirect != NULL && rule->filters.redirect->path_change == CONTROL_PATH_REPLACE_PREFIX) ||
        (rule->filters.rewrite != NULL && rule->filters.rewrite->path_change == CONTROL_PATH_REPLACE_PREFIX);
    for (size_t i = 0; changes && i < rule->match_count; i++)
        if (rule->matches[i].path_match != CONTROL_PATH_PREFIX)
            return fl_reader_fail(reader, value, "ReplacePrefixMatch needs matches of type PathPrefix alone");
    return 0;
}

static int read_rule(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    struct control_http_rule *rule = field;
    (void)row;
    *rule = (struct control_http_rule){
        .matches = &control_match_all,
        .match_count = 1,
        .position = fl_positions_find(reader->positions, value),
    };
    int result = fl_table_read(reader, value, &rule_table, rule);
    if (result == 0 && rule->filters.redirect != NULL && rule->backend_count > 0)
        return fl_reader_fail(reader, value, "RequestRedirect and backendRefs exclude each other");
    return result < 0 ? result : check_prefix_change(reader, value, rule);
}

static const struct control_list http_parents =
    LIST_OF(struct control_http_route, parents, parent_count, 0, CONTROL_PARENTS_MAX, control_read_parent, NULL, NULL);
static const struct control_list http_hostnames = LIST_OF(struct control_http_route, hostnames, hostname_count, 0,
                                                          CONTROL_HOSTNAMES_MAX, control_read_hostname, NULL, NULL);
static const struct control_list http_rules =
    LIST_OF(struct control_http_route, rules, rule_count, 1, CONTROL_RULES_MAX, read_rule, NULL, NULL);
#define AT(member) offsetof(struct control_http_route, member)
static const struct fl_row http_route_rows[] = {
    {"parentRefs", control_read_list, AT(parents), OPT, 0, 0, &http_parents},
    {"hostnames", control_read_list, AT(hostnames), OPT, 0, 0, &http_hostnames},
    {"rules", control_read_list, AT(rules), OPT, 0, 0, &http_rules},
    {0},
};
static const struct fl_table http_route_table = {http_route_rows, FL_TABLE_IGNORE_UNKNOWN};
#undef AT

static const struct control_http_rule rule_default = {.matches = &control_match_all, .match_count = 1};

static int read_http_route(struct fl_reader *reader, const struct fl_json *document, struct control_object *object)
{
    struct control_http_route *route = FL_CONTAINER_OF(object, struct control_http_route, object);
    route->rules = &rule_default;
    route->rule_count = 1;
    return control_read_spec(reader, document, &http_route_table, route);
}

const struct control_kind_reader control_read_http_route = {sizeof(struct control_http_route), read_http_route, NULL};
