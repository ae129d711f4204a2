/* TCPRoute, and TLSRoute in its words: the same with server names. */
#include "control/model/gatewayapi.h"
#include "control/model/kind/document.h"
#include "control/model/kind/kinds.h"
#include "control/model/kind/reference.h"
#include "control/model/kind/row.h"

static const struct control_list tcp_backends = LIST_OF(struct control_tcp_route, backends, backend_count, 1,
                                                        CONTROL_BACKENDS_MAX, control_read_backend, NULL, NULL);
/* There is one rule. */
static int ignore_name(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    (void)field;
    (void)row;
    return fl_json_is(value, FL_JSON_STRING) ? 0 : fl_reader_expected(reader, value, "a string");
}

static const struct fl_row tcp_rule_rows[] = {
    {"backendRefs", control_read_list, offsetof(struct control_tcp_route, backends), REQ, 0, 0, &tcp_backends},
    {"name", ignore_name, 0, OPT, 0, 0, NULL},
    {0},
};
static const struct fl_table tcp_rule_table = {tcp_rule_rows, FL_TABLE_IGNORE_UNKNOWN};

static int read_tcp_rules(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    (void)row;
    if (fl_json_count(value) != 1)
        return fl_reader_expected(reader, value, "an array of one rule");
    size_t mark = fl_reader_enter_at(reader, 0);
    int result = fl_table_read(reader, fl_json_first(value), &tcp_rule_table, field);
    fl_reader_leave(reader, mark);
    return result;
}

static const struct control_list tcp_parents =
    LIST_OF(struct control_tcp_route, parents, parent_count, 0, CONTROL_PARENTS_MAX, control_read_parent, NULL, NULL);
static const struct fl_row tcp_route_rows[] = {
    {"parentRefs", control_read_list, offsetof(struct control_tcp_route, parents), OPT, 0, 0, &tcp_parents},
    {"rules", read_tcp_rules, 0, REQ, 0, 0, NULL},
    {0},
};
static const struct fl_table tcp_route_table = {tcp_route_rows, FL_TABLE_IGNORE_UNKNOWN};

static int read_tcp_route(struct fl_reader *reader, const struct fl_json *document, struct control_object *object)
{
    return control_read_spec(reader, document, &tcp_route_table,
                             FL_CONTAINER_OF(object, struct control_tcp_route, object));
}

const struct control_kind_reader control_read_tcp_route = {sizeof(struct control_tcp_route), read_tcp_route, NULL};

static const struct control_list tls_hostnames = LIST_OF(struct control_tcp_route, hostnames, hostname_count, 0,
                                                         CONTROL_HOSTNAMES_MAX, control_read_hostname, NULL, NULL);
static const struct fl_row tls_route_rows[] = {
    {"parentRefs", control_read_list, offsetof(struct control_tcp_route, parents), OPT, 0, 0, &tcp_parents},
    {"hostnames", control_read_list, offsetof(struct control_tcp_route, hostnames), OPT, 0, 0, &tls_hostnames},
    {"rules", read_tcp_rules, 0, REQ, 0, 0, NULL},
    {0},
};
static const struct fl_table tls_route_table = {tls_route_rows, FL_TABLE_IGNORE_UNKNOWN};

static int read_tls_route(struct fl_reader *reader, const struct fl_json *document, struct control_object *object)
{
    return control_read_spec(reader, document, &tls_route_table,
                             FL_CONTAINER_OF(object, struct control_tcp_route, object));
}

const struct control_kind_reader control_read_tls_route = {sizeof(struct control_tcp_route), read_tls_route, NULL};
