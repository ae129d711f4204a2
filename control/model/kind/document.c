#include "control/model/kind/document.h"

#include "control/model/kind/row.h"

#include "common/base/buf.h"

#define NOTES_MAX 1024 /* bytes of what was ignored */

int control_read_spec(struct fl_reader *reader, const struct fl_json *document, const struct fl_table *table,
                      void *target)
{
    const struct fl_json *spec = fl_json_get(document, "spec");
    struct control_object *object = FL_CONTAINER_OF(reader->context, struct control_object, arena);
    FL_CLEANUP(fl_buf_done) struct fl_buf notes;
    size_t mark = fl_reader_enter(reader, FL_SPAN("spec"));
    fl_buf_init(&notes, NOTES_MAX);
    reader->notes = &notes;
    int result = spec == NULL ? fl_reader_fail(reader, document, "required, but missing")
                              : fl_table_read(reader, spec, table, target);
    reader->notes = NULL;
    fl_reader_leave(reader, mark);
    return result == 0 && notes.len > 0 ? control_copy(reader, fl_buf_span(&notes), &object->ignored) : result;
}

int control_read_document(struct fl_reader *reader, const struct fl_json *document, const struct fl_table *spec_table,
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
