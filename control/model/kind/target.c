#include "control/model/kind/target.h"

#include <errno.h>

int control_read_target_selector(struct fl_reader *reader, const struct fl_json *value, void *field,
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

const struct control_list control_gateway_names =
    LIST_OF(struct control_target, names, name_count, 1, CONTROL_TARGETS_MAX, read_target_name, NULL, "Gateway");
const struct control_list control_service_names =
    LIST_OF(struct control_target, names, name_count, 1, CONTROL_TARGETS_MAX, read_target_name, NULL, "Service");

int control_check_target(struct fl_reader *reader, const struct fl_json *document, const struct control_target *target)
{
    if (target->selects && target->name_count > 0)
        return fl_reader_fail(reader, fl_json_get(document, "spec"),
                              "spec: selector and targetRefs exclude each other");
    return 0;
}

int control_close_target(struct fl_reader *reader, const struct fl_json *document, struct control_target *target)
{
    const struct fl_json *spec = fl_json_get(document, "spec");
    const struct fl_json *selector = fl_json_get(spec, "selector"), *refs = fl_json_get(spec, "targetRefs");
    const struct fl_row row = {.detail = &control_gateway_names};
    int result = 0;
    if (fl_json_is(selector, FL_JSON_OBJECT))
        result = control_read_target_selector(reader, selector, target, NULL);
    if (result == 0 && fl_json_is(refs, FL_JSON_ARRAY))
        result = control_read_list(reader, refs, &target->names, &row);
    if (result < 0 || (target->selects && target->name_count > 0))
        *target = (struct control_target){0};
    return result == -ENOMEM ? result : 0;
}
