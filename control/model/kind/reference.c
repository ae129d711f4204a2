#include "control/model/kind/reference.h"

#include "control/model/kind/filter.h"
#include "control/model/kind/row.h"

static struct control_object *owner_of(struct fl_reader *reader)
{
    return FL_CONTAINER_OF(reader->context, struct control_object, arena);
}

#define AT(member) offsetof(struct control_parent, member)
static const struct fl_row parent_rows[] = {
    {"group", control_read_text, AT(reference.group), OPT, 0, CONTROL_GROUP_MAX, NULL},
    {"kind", control_read_text, AT(reference.kind), OPT, 1, 63, NULL},
    {"namespace", control_read_name, AT(reference.name_space), OPT, 0, 0, NULL},
    {"name", control_read_text, AT(reference.name), REQ, 1, FL_KUBE_NAME_MAX, NULL},
    {"sectionName", control_read_text, AT(section), OPT, 1, CONTROL_SECTION_MAX, NULL},
    {"port", control_read_port, AT(port), OPT, 0, 0, NULL},
    {0},
};
static const struct fl_table parent_table = {parent_rows, FL_TABLE_IGNORE_UNKNOWN};
#undef AT

int control_read_parent(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    struct control_parent *parent = field;
    (void)row;
    parent->reference.group = FL_SPAN(CONTROL_GATEWAY_GROUP);
    parent->reference.kind = FL_SPAN("Gateway");
    parent->reference.name_space = owner_of(reader)->metadata.name_space;
    int result = fl_table_read(reader, value, &parent_table, parent);
    if (fl_span_eq(parent->reference.group, FL_SPAN("core")))
        parent->reference.group = FL_SPAN("");
    return result;
}

int control_read_reference(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    struct control_parent parent = {.reference = {FL_SPAN(""), FL_SPAN("Secret"), {NULL, 0}, {NULL, 0}}};
    (void)row;
    parent.reference.name_space = owner_of(reader)->metadata.name_space;
    int result = fl_table_read(reader, value, &parent_table, &parent);
    if (result == 0)
        *(struct control_reference *)field = parent.reference;
    return result;
}

#define AT(member) offsetof(struct control_backend, member)
static const struct fl_row backend_rows[] = {
    {"group", control_read_text, AT(reference.group), OPT, 0, CONTROL_GROUP_MAX, NULL},
    {"kind", control_read_text, AT(reference.kind), OPT, 1, 63, NULL},
    {"namespace", control_read_name, AT(reference.name_space), OPT, 0, 0, NULL},
    {"name", control_read_text, AT(reference.name), REQ, 1, FL_KUBE_NAME_MAX, NULL},
    {"port", control_read_port, AT(port), OPT, 0, 0, NULL},
    {"weight", fl_read_u32, AT(weight), OPT, 0, CONTROL_WEIGHT_MAX, NULL},
    {"filters", control_read_filters_part, AT(filters), OPT, 0, 0, NULL},
    {0},
};
static const struct fl_table backend_table = {backend_rows, FL_TABLE_IGNORE_UNKNOWN};
#undef AT

int control_read_backend(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    struct control_backend *backend = field;
    (void)row;
    *backend = (struct control_backend){
        .reference = {FL_SPAN(""), FL_SPAN("Service"), owner_of(reader)->metadata.name_space, {NULL, 0}},
        .weight = 1,
        .position = fl_positions_find(reader->positions, value),
    };
    int result = fl_table_read(reader, value, &backend_table, backend);
    if (fl_span_eq(backend->reference.group, FL_SPAN("core")))
        backend->reference.group = FL_SPAN("");
    return result;
}
