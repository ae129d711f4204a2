#include "common/doc/table.h"

#include "common/doc/path.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#define WHOLE_MAX (1LL << 53) /* what fl_json_int reaches */
#define SHOWN_MAX 64          /* bytes of a value in a message */

void fl_reader_init(struct fl_reader *reader, const struct fl_positions *positions, struct fl_err *err)
{
    *reader = (struct fl_reader){.positions = positions, .err = err};
    reader->path_len = fl_path_start(reader->path, sizeof(reader->path));
}

size_t fl_reader_enter(struct fl_reader *reader, struct fl_span member)
{
    size_t mark = reader->path_len;
    reader->path_len = fl_path_push_name(reader->path, sizeof(reader->path), mark, member);
    return mark;
}

size_t fl_reader_enter_at(struct fl_reader *reader, size_t index)
{
    size_t mark = reader->path_len;
    reader->path_len = fl_path_push_index(reader->path, sizeof(reader->path), mark, index);
    return mark;
}

void fl_reader_leave(struct fl_reader *reader, size_t mark)
{
    reader->path_len = mark;
    reader->path[mark] = '\0';
}

int fl_reader_fail(struct fl_reader *reader, const struct fl_json *value, const char *format, ...)
{
    char what[FL_ERR_TEXT_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof(what), format, arguments);
    va_end(arguments);
    const char *file = fl_positions_file(reader->positions);
    struct fl_position position = fl_positions_find(reader->positions, value);
    if (file != NULL && position.line > 0)
        return fl_err_set(reader->err, -EINVAL, "%s:%u:%u: %s: %s", file, position.line, position.column, reader->path,
                          what);
    if (file != NULL)
        return fl_err_set(reader->err, -EINVAL, "%s: %s: %s", file, reader->path, what);
    return fl_err_set(reader->err, -EINVAL, "%s: %s", reader->path, what);
}

int fl_reader_expected(struct fl_reader *reader, const struct fl_json *value, const char *wanted)
{
    char room[FL_JSON_NUMBER_ROOM];
    struct fl_span text = fl_json_string(value), number = fl_json_number_text(value, room);
    if (fl_json_is(value, FL_JSON_STRING))
        return fl_reader_fail(reader, value, "expected %s, got \"%.*s%s", wanted,
                              (int)(text.len < SHOWN_MAX ? text.len : SHOWN_MAX), text.data,
                              text.len < SHOWN_MAX ? "\"" : "…");
    if (fl_json_is(value, FL_JSON_NUMBER))
        return fl_reader_fail(reader, value, "expected %s, got %.*s", wanted,
                              (int)(number.len < SHOWN_MAX ? number.len : SHOWN_MAX), number.data);
    return fl_reader_fail(reader, value, "expected %s, got %s", wanted,
                          value != NULL ? fl_json_kind_name(fl_json_kind(value)) : "nothing");
}

/* The names of a table, as far as they fit: "a, b, c". */
static void list_names(const struct fl_table *table, char *text, size_t size)
{
    size_t length = 0;
    text[0] = '\0';
    for (const struct fl_row *row = table->rows; row->name != NULL && length < size; row++)
        length += (size_t)snprintf(text + length, size - length, "%s%s", row == table->rows ? "" : ", ", row->name);
}

static int refuse_unknown(struct fl_reader *reader, const struct fl_json *object, const struct fl_table *table)
{
    for (const struct fl_json *member = fl_json_first(object); member != NULL; member = fl_json_next(member)) {
        const struct fl_row *row = table->rows;
        while (row->name != NULL && !fl_span_eq_str(fl_json_name(member), row->name))
            row++;
        if (row->name != NULL)
            continue;
        char names[FL_ERR_TEXT_MAX / 2];
        list_names(table, names, sizeof(names));
        size_t mark = fl_reader_enter(reader, fl_json_name(member));
        fl_reader_fail(reader, member, "unknown member; known are %s", names);
        fl_reader_leave(reader, mark);
        return -EINVAL;
    }
    return 0;
}

/* The first one of an object: it is enough to look there. */
static void note_unknown(struct fl_reader *reader, const struct fl_json *object, const struct fl_table *table)
{
    struct fl_err *err = reader->err, note = {0};
    reader->err = &note;
    if (refuse_unknown(reader, object, table) < 0)
        (void)!fl_buf_printf(reader->notes, "%s%s", reader->notes->len > 0 ? "; " : "", note.text);
    reader->err = err;
}

/* 0 with *ret_value NULL: absent, and may be. */
static int find_value(struct fl_reader *reader, const struct fl_json *object, const struct fl_row *row,
                      const struct fl_json **ret_value)
{
    const struct fl_json *value = fl_json_get(object, row->name);
    bool null = fl_json_is(value, FL_JSON_NULL);
    if ((row->flags & FL_ROW_REQUIRED) != 0 && (value == NULL || null))
        return fl_reader_fail(reader, null ? value : object, null ? "required, but null" : "required, but missing");
    if (null && (row->flags & (FL_ROW_NULL_OK | FL_ROW_NULL)) == 0)
        return fl_reader_fail(reader, value, "null is not allowed here: leave the member out");
    *ret_value = null && (row->flags & FL_ROW_NULL) == 0 ? NULL : value;
    return 0;
}

int fl_table_read(struct fl_reader *reader, const struct fl_json *object, const struct fl_table *table, void *target)
{
    if (!fl_json_is(object, FL_JSON_OBJECT))
        return fl_reader_expected(reader, object, "an object");
    int result = table->unknown == FL_TABLE_REFUSE_UNKNOWN ? refuse_unknown(reader, object, table) : 0;
    if (table->unknown == FL_TABLE_IGNORE_UNKNOWN && reader->notes != NULL)
        note_unknown(reader, object, table);
    for (const struct fl_row *row = table->rows; result == 0 && row->name != NULL; row++) {
        const struct fl_json *value = NULL;
        size_t mark = fl_reader_enter(reader, fl_span_str(row->name));
        result = find_value(reader, object, row, &value);
        if (result == 0 && value != NULL)
            result = row->read(reader, value, (char *)target + row->offset, row);
        fl_reader_leave(reader, mark);
    }
    return result;
}

static int read_whole(struct fl_reader *reader, const struct fl_json *value, const struct fl_row *row, int64_t least,
                      int64_t most, int64_t *ret_number)
{
    bool limited = row->min != 0 || row->max != 0;
    int64_t min = limited && row->min > least ? row->min : least;
    int64_t max = limited && row->max < most ? row->max : most;
    if (fl_json_int(value, min, max, ret_number))
        return 0;
    char wanted[96];
    snprintf(wanted, sizeof(wanted), "a whole number from %" PRId64 " to %" PRId64, min, max);
    return fl_reader_expected(reader, value, wanted);
}

int fl_read_bool(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    (void)row;
    if (!fl_json_is(value, FL_JSON_BOOL))
        return fl_reader_expected(reader, value, "true or false");
    *(bool *)field = fl_json_bool(value);
    return 0;
}

int fl_read_u16(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    int64_t number = 0;
    int result = read_whole(reader, value, row, 0, UINT16_MAX, &number);
    if (result == 0)
        *(uint16_t *)field = (uint16_t)number;
    return result;
}

int fl_read_u32(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    int64_t number = 0;
    int result = read_whole(reader, value, row, 0, UINT32_MAX, &number);
    if (result == 0)
        *(uint32_t *)field = (uint32_t)number;
    return result;
}

int fl_read_i64(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    int64_t number = 0;
    int result = read_whole(reader, value, row, -WHOLE_MAX, WHOLE_MAX, &number);
    if (result == 0)
        *(int64_t *)field = number;
    return result;
}

int fl_read_string(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    struct fl_span text = fl_json_string(value);
    if (!fl_json_is(value, FL_JSON_STRING))
        return fl_reader_expected(reader, value, "a string");
    bool limited = row->min != 0 || row->max != 0;
    if (limited && ((int64_t)text.len < row->min || (int64_t)text.len > row->max))
        return fl_reader_fail(reader, value, "expected a string of %" PRId64 " to %" PRId64 " bytes, got %zu bytes",
                              row->min, row->max, text.len);
    *(struct fl_span *)field = text;
    return 0;
}

int fl_read_object(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    return fl_table_read(reader, value, row->detail, field);
}

int fl_read_json(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    (void)reader;
    (void)row;
    *(const struct fl_json **)field = value;
    return 0;
}

int fl_read_array(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    if (!fl_json_is(value, FL_JSON_ARRAY))
        return fl_reader_expected(reader, value, "an array");
    return fl_read_json(reader, value, field, row);
}

int fl_read_map(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    if (!fl_json_is(value, FL_JSON_OBJECT))
        return fl_reader_expected(reader, value, "an object");
    return fl_read_json(reader, value, field, row);
}

int fl_read_enum(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row)
{
    const char *const *names = row->detail;
    char wanted[FL_ERR_TEXT_MAX / 2] = "one of ";
    size_t length = strlen(wanted);
    for (int i = 0; names[i] != NULL; i++) {
        if (fl_json_is(value, FL_JSON_STRING) && fl_span_eq_str(fl_json_string(value), names[i])) {
            *(int *)field = i;
            return 0;
        }
        if (length < sizeof(wanted))
            length +=
                (size_t)snprintf(wanted + length, sizeof(wanted) - length, "%s\"%s\"", i > 0 ? ", " : "", names[i]);
    }
    return fl_reader_expected(reader, value, wanted);
}
