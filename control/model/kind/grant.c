/* ReferenceGrant. */
#include "control/model/gatewayapi.h"
#include "control/model/kind/document.h"
#include "control/model/kind/kinds.h"
#include "control/model/kind/reference.h"
#include "control/model/kind/row.h"

static const struct fl_row grant_from_rows[] = {
    {"group", control_read_text, offsetof(struct control_grant_from, group), REQ, 0, CONTROL_GROUP_MAX, NULL},
    {"kind", control_read_text, offsetof(struct control_grant_from, kind), REQ, 1, 63, NULL},
    {"namespace", control_read_name, offsetof(struct control_grant_from, name_space), REQ, 0, 0, NULL},
    {0},
};
static const struct fl_table grant_from_table = {grant_from_rows, FL_TABLE_IGNORE_UNKNOWN};
static const struct fl_row grant_to_rows[] = {
    {"group", control_read_text, offsetof(struct control_grant_to, group), REQ, 0, CONTROL_GROUP_MAX, NULL},
    {"kind", control_read_text, offsetof(struct control_grant_to, kind), REQ, 1, 63, NULL},
    {"name", control_read_text, offsetof(struct control_grant_to, name), OPT, 1, FL_KUBE_NAME_MAX, NULL},
    {0},
};
static const struct fl_table grant_to_table = {grant_to_rows, FL_TABLE_IGNORE_UNKNOWN};
static const struct control_list grant_froms =
    LIST_OF(struct control_reference_grant, from, from_count, 1, 16, fl_read_object, NULL, &grant_from_table);
static const struct control_list grant_tos =
    LIST_OF(struct control_reference_grant, to, to_count, 1, 16, fl_read_object, NULL, &grant_to_table);
static const struct fl_row grant_rows[] = {
    {"from", control_read_list, offsetof(struct control_reference_grant, from), REQ, 0, 0, &grant_froms},
    {"to", control_read_list, offsetof(struct control_reference_grant, to), REQ, 0, 0, &grant_tos},
    {0},
};
static const struct fl_table grant_table = {grant_rows, FL_TABLE_IGNORE_UNKNOWN};

static int read_grant(struct fl_reader *reader, const struct fl_json *document, struct control_object *object)
{
    return control_read_spec(reader, document, &grant_table,
                             FL_CONTAINER_OF(object, struct control_reference_grant, object));
}

const struct control_kind_reader control_read_reference_grant = {sizeof(struct control_reference_grant), read_grant,
                                                                 NULL};
