/* GRPCRoute, read into the words of an HTTPRoute: a method is a path, and only gRPC requests match. */
#include "control/model/gatewayapi.h"
#include "control/model/kind/document.h"
#include "control/model/kind/filter.h"
#include "control/model/kind/kinds.h"
#include "control/model/kind/match.h"
#include "control/model/kind/reference.h"
#include "control/model/kind/row.h"

static const struct control_list backend_list = LIST_OF(struct control_http_rule, backends, backend_count, 0,
                                                        CONTROL_BACKENDS_MAX, control_read_backend, NULL, NULL);
#define AT(member) offsetof(struct control_http_rule, member)
static const struct fl_row rule_rows[] = {
    {"name", control_read_text, AT(name), OPT, 0, CONTROL_SECTION_MAX, NULL},
    {"matches", control_read_grpc_matches, 0, OPT, 0, 0, NULL},
    {"filters", control_read_grpc_filters, AT(filters), OPT, 0, 0, NULL},
    {"backendRefs", control_read_list, AT(backends), OPT, 0, 0, &backend_list},
    {0},
};
static const struct fl_table rule_table = {rule_rows, FL_TABLE_IGNORE_UNKNOWN};
#undef AT

static const struct control_http_rule rule_default = {.matches = &control_match_grpc, .match_count = 1};

static int read_rule(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    struct control_http_rule *rule = field;
    (void)row;
    *rule = rule_default;
    rule->position = fl_positions_find(reader->positions, value);
    return fl_table_read(reader, value, &rule_table, rule);
}

static const struct control_list parents =
    LIST_OF(struct control_http_route, parents, parent_count, 0, CONTROL_PARENTS_MAX, control_read_parent, NULL, NULL);
static const struct control_list hostnames = LIST_OF(struct control_http_route, hostnames, hostname_count, 0,
                                                     CONTROL_HOSTNAMES_MAX, control_read_hostname, NULL, NULL);
static const struct control_list rules =
    LIST_OF(struct control_http_route, rules, rule_count, 0, CONTROL_RULES_MAX, read_rule, NULL, NULL);
#define AT(member) offsetof(struct control_http_route, member)
static const struct fl_row route_rows[] = {
    {"parentRefs", control_read_list, AT(parents), OPT, 0, 0, &parents},
    {"hostnames", control_read_list, AT(hostnames), OPT, 0, 0, &hostnames},
    {"rules", control_read_list, AT(rules), OPT, 0, 0, &rules},
    {0},
};
static const struct fl_table route_table = {route_rows, FL_TABLE_IGNORE_UNKNOWN};
#undef AT

static int read_grpc_route(struct fl_reader *reader, const struct fl_json *document, struct control_object *object)
{
    struct control_http_route *route = FL_CONTAINER_OF(object, struct control_http_route, object);
    int result = control_read_spec(reader, document, &route_table, route);
    if (result == 0 && route->rule_count == 0) {
        route->rules = &rule_default;
        route->rule_count = 1;
    }
    return result;
}

const struct control_kind_reader control_read_grpc_route = {sizeof(struct control_http_route), read_grpc_route, NULL};
