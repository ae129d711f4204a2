/* Document → message. One recursive walk over the tree, driven by descriptors; every step enters the reader's path, so
 * that an error names where it stands. Depth is that of the document (its parser's limit), and is checked here too. */
#include "common/xds/convert.h"
#include "common/xds/field.h"
#include "common/xds/scalar.h"

#include "common/xds/proto/google.pb-c.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>

#define DEPTH_MAX 128

struct reading {
    struct fl_reader *reader;
    struct fl_arena *arena;
    struct fl_xds_report *report;
    unsigned depth;
};

static int read_message(struct reading *reading, const ProtobufCMessageDescriptor *type, const struct fl_json *value,
                        ProtobufCMessage **ret_message);
static int read_field(struct reading *reading, ProtobufCMessage *message, const ProtobufCFieldDescriptor *field,
                      const struct fl_json *value);

static int no_memory(struct reading *reading)
{
    return fl_err_set(reading->reader->err, -ENOMEM,
                      fl_arena_full(reading->arena, 1024) ? "%s: larger than the limit" : "%s: out of memory",
                      reading->reader->path);
}

static int wrong_kind(struct reading *reading, const struct fl_json *value, const char *expected)
{
    return fl_reader_fail(reading->reader, value, "expected %s, got %s", expected,
                          fl_json_kind_name(fl_json_kind(value)));
}

/* -- scalars -- */

static int read_signed(struct reading *reading, const struct fl_json *value, int64_t min, int64_t max, int64_t *ret)
{
    int64_t number = 0;
    bool good = fl_json_is(value, FL_JSON_STRING) ? fl_xds_parse_i64(fl_json_string(value), &number)
                                                  : fl_json_int(value, INT64_MIN, INT64_MAX, &number);
    if (!good || number < min || number > max)
        return fl_reader_fail(reading->reader, value, "expected a whole number from %lld to %lld", (long long)min,
                              (long long)max);
    *ret = number;
    return 0;
}

static int read_unsigned(struct reading *reading, const struct fl_json *value, uint64_t max, uint64_t *ret)
{
    int64_t number = 0;
    uint64_t big = 0;
    bool good = fl_json_is(value, FL_JSON_STRING) ? fl_xds_parse_u64(fl_json_string(value), &big)
                                                  : fl_json_int(value, 0, INT64_MAX, &number);
    if (good && !fl_json_is(value, FL_JSON_STRING))
        big = (uint64_t)number;
    if (!good || big > max)
        return fl_reader_fail(reading->reader, value, "expected a whole number from 0 to %llu",
                              (unsigned long long)max);
    *ret = big;
    return 0;
}

static int read_double(struct reading *reading, const struct fl_json *value, double max, double *ret)
{
    if (fl_json_is(value, FL_JSON_STRING)) {
        struct fl_span text = fl_json_string(value);
        if (fl_span_eq_str(text, "NaN"))
            *ret = NAN;
        else if (fl_span_eq_str(text, "Infinity"))
            *ret = INFINITY;
        else if (fl_span_eq_str(text, "-Infinity"))
            *ret = -INFINITY;
        else
            return wrong_kind(reading, value, "a number");
        return 0;
    }
    if (!fl_json_is(value, FL_JSON_NUMBER))
        return wrong_kind(reading, value, "a number");
    double number = fl_json_number(value);
    if (!(fabs(number) <= max))
        return fl_reader_fail(reading->reader, value, "the number is out of range");
    *ret = number;
    return 0;
}

static int read_string(struct reading *reading, const struct fl_json *value, char **ret)
{
    if (!fl_json_is(value, FL_JSON_STRING))
        return wrong_kind(reading, value, "a string");
    struct fl_span copy = fl_arena_copy(reading->arena, fl_json_string(value));
    if (copy.data == NULL)
        return no_memory(reading);
    *ret = (char *)(uintptr_t)copy.data;
    return 0;
}

static int read_bytes(struct reading *reading, const struct fl_json *value, ProtobufCBinaryData *ret)
{
    if (!fl_json_is(value, FL_JSON_STRING))
        return wrong_kind(reading, value, "base64 text");
    struct fl_span text = fl_json_string(value);
    char *bytes = fl_arena_alloc(reading->arena, fl_xds_base64_bound(text.len));
    if (bytes == NULL)
        return no_memory(reading);
    size_t len;
    if (!fl_xds_base64_decode(text, bytes, &len))
        return fl_reader_fail(reading->reader, value, "expected base64 text");
    *ret = (ProtobufCBinaryData){.len = len, .data = (uint8_t *)bytes};
    return 0;
}

/* The names of an enum, for the message: "STATIC, STRICT_DNS, …". */
static int enum_fail(struct reading *reading, const ProtobufCEnumDescriptor *type, const struct fl_json *value)
{
    char names[192];
    size_t len = 0;
    for (unsigned i = 0; i < type->n_values; i++) {
        size_t room = sizeof(names) - len;
        int wrote = snprintf(names + len, room, "%s%s", i > 0 ? ", " : "", type->values[i].name);
        if (wrote < 0 || (size_t)wrote >= room - 4) {
            memcpy(names + len, ", …", sizeof(", …"));
            break;
        }
        len += (size_t)wrote;
    }
    return fl_reader_fail(reading->reader, value, "expected one of %s", names);
}

static int read_enum(struct reading *reading, const ProtobufCEnumDescriptor *type, const struct fl_json *value,
                     int32_t *ret)
{
    const ProtobufCEnumValue *found = NULL;
    int64_t number;
    if (fl_json_is(value, FL_JSON_STRING))
        found = protobuf_c_enum_descriptor_get_value_by_name(type, fl_json_string(value).data);
    else if (fl_json_int(value, INT32_MIN, INT32_MAX, &number))
        found = protobuf_c_enum_descriptor_get_value(type, (int)number);
    else if (fl_json_is(value, FL_JSON_NULL) && type == &google__protobuf__null_value__descriptor)
        found = protobuf_c_enum_descriptor_get_value(type, 0);
    if (found == NULL)
        return enum_fail(reading, type, value);
    *ret = found->value;
    return 0;
}

static int read_int32(struct reading *reading, const struct fl_json *value, int32_t *to)
{
    int64_t number;
    int result = read_signed(reading, value, INT32_MIN, INT32_MAX, &number);
    if (result == 0)
        *to = (int32_t)number;
    return result;
}

static int read_uint32(struct reading *reading, const struct fl_json *value, uint32_t *to)
{
    uint64_t number;
    int result = read_unsigned(reading, value, UINT32_MAX, &number);
    if (result == 0)
        *to = (uint32_t)number;
    return result;
}

static int read_float(struct reading *reading, const struct fl_json *value, float *to)
{
    double number;
    int result = read_double(reading, value, 3.4028234663852886e38, &number);
    if (result == 0)
        *to = (float)number;
    return result;
}

static int read_bool(struct reading *reading, const struct fl_json *value, protobuf_c_boolean *to)
{
    if (!fl_json_is(value, FL_JSON_BOOL))
        return wrong_kind(reading, value, "true or false");
    *to = fl_json_bool(value);
    return 0;
}

/* One value of a field's type into memory. */
static int read_value(struct reading *reading, const ProtobufCFieldDescriptor *field, const struct fl_json *value,
                      void *to)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        return read_int32(reading, value, to);
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        return read_signed(reading, value, INT64_MIN, INT64_MAX, to);
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        return read_uint32(reading, value, to);
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        return read_unsigned(reading, value, UINT64_MAX, to);
    case PROTOBUF_C_TYPE_FLOAT:
        return read_float(reading, value, to);
    case PROTOBUF_C_TYPE_DOUBLE:
        return read_double(reading, value, HUGE_VAL, to);
    case PROTOBUF_C_TYPE_BOOL:
        return read_bool(reading, value, to);
    case PROTOBUF_C_TYPE_ENUM:
        return read_enum(reading, field->descriptor, value, to);
    case PROTOBUF_C_TYPE_STRING:
        return read_string(reading, value, to);
    case PROTOBUF_C_TYPE_BYTES:
        return read_bytes(reading, value, to);
    case PROTOBUF_C_TYPE_MESSAGE:
    default:
        return read_message(reading, field->descriptor, value, to);
    }
}

/* -- fields -- */

static bool null_is_a_value(const ProtobufCFieldDescriptor *field)
{
    return field->descriptor == &google__protobuf__value__descriptor ||
           field->descriptor == &google__protobuf__null_value__descriptor;
}

static int read_map(struct reading *reading, ProtobufCMessage *message, const ProtobufCFieldDescriptor *field,
                    const struct fl_json *value)
{
    if (!fl_json_is(value, FL_JSON_OBJECT))
        return wrong_kind(reading, value, "an object");
    const ProtobufCMessageDescriptor *type = field->descriptor;
    size_t count = fl_json_count(value);
    ProtobufCMessage **entries = fl_arena_array(reading->arena, count, sizeof(*entries));
    if (entries == NULL)
        return no_memory(reading);
    size_t i = 0;
    for (const struct fl_json *member = fl_json_first(value); member != NULL; member = fl_json_next(member)) {
        ProtobufCMessage *entry = fl_arena_alloc(reading->arena, type->sizeof_message);
        struct fl_span key = fl_arena_copy(reading->arena, fl_json_name(member));
        if (entry == NULL || key.data == NULL)
            return no_memory(reading);
        protobuf_c_message_init(type, entry);
        *(char **)fl_xds_at(entry, &type->fields[0]) = (char *)(uintptr_t)key.data;
        size_t mark = fl_reader_enter(reading->reader, fl_json_name(member));
        if (fl_json_is(member, FL_JSON_NULL) && !null_is_a_value(&type->fields[1]))
            return wrong_kind(reading, member, "a value");
        int result = read_value(reading, &type->fields[1], member, fl_xds_at(entry, &type->fields[1]));
        if (result != 0)
            return result;
        fl_reader_leave(reading->reader, mark);
        entries[i++] = entry;
    }
    *(ProtobufCMessage ***)fl_xds_at(message, field) = entries;
    *fl_xds_count(message, field) = count;
    return 0;
}

static int read_repeated(struct reading *reading, ProtobufCMessage *message, const ProtobufCFieldDescriptor *field,
                         const struct fl_json *value)
{
    if (!fl_json_is(value, FL_JSON_ARRAY))
        return wrong_kind(reading, value, "an array");
    size_t count = fl_json_count(value), size = fl_xds_value_size(field), i = 0;
    char *values = fl_arena_array(reading->arena, count, size);
    if (values == NULL)
        return no_memory(reading);
    for (const struct fl_json *element = fl_json_first(value); element != NULL; element = fl_json_next(element)) {
        size_t mark = fl_reader_enter_at(reading->reader, i);
        if (fl_json_is(element, FL_JSON_NULL) && !null_is_a_value(field))
            return wrong_kind(reading, element, "a value");
        int result = read_value(reading, field, element, values + i * size);
        if (result != 0)
            return result;
        fl_reader_leave(reading->reader, mark);
        i++;
    }
    *(void **)fl_xds_at(message, field) = values;
    *fl_xds_count(message, field) = count;
    return 0;
}

static int read_choice(struct reading *reading, ProtobufCMessage *message, const ProtobufCFieldDescriptor *field,
                       const struct fl_json *value)
{
    uint32_t *which = fl_xds_case(message, field);
    if (*which != 0) {
        const ProtobufCFieldDescriptor *other = protobuf_c_message_descriptor_get_field(message->descriptor, *which);
        return fl_reader_fail(reading->reader, value, "only one of %s and %s may be set",
                              other != NULL ? other->name : "another", field->name);
    }
    int result = read_value(reading, field, value, fl_xds_at(message, field));
    if (result == 0)
        *which = field->id;
    return result;
}

static int read_field(struct reading *reading, ProtobufCMessage *message, const ProtobufCFieldDescriptor *field,
                      const struct fl_json *value)
{
    if (fl_json_is(value, FL_JSON_NULL) && !null_is_a_value(field))
        return 0;
    if (fl_xds_is_map(message->descriptor, field))
        return read_map(reading, message, field, value);
    if (field->label == PROTOBUF_C_LABEL_REPEATED)
        return read_repeated(reading, message, field, value);
    if (fl_xds_in_oneof(field))
        return read_choice(reading, message, field, value);
    return read_value(reading, field, value, fl_xds_at(message, field));
}

static const ProtobufCFieldDescriptor *find_field(const ProtobufCMessageDescriptor *type, struct fl_span name)
{
    for (unsigned i = 0; i < type->n_fields; i++)
        if (fl_xds_name_is(type->fields[i].name, name))
            return &type->fields[i];
    return NULL;
}

static int read_member(struct reading *reading, ProtobufCMessage *message, const struct fl_json *object,
                       const struct fl_json *member)
{
    const ProtobufCMessageDescriptor *type = message->descriptor;
    struct fl_span name = fl_json_name(member);
    const ProtobufCFieldDescriptor *field = find_field(type, name);
    if (field == NULL) {
        if (fl_xds_is_strict(type))
            return fl_reader_fail(reading->reader, member, "there is no such field in %s", type->name);
        fl_xds_ignore(reading->report, reading->reader, member, "not known here, ignored");
        return 0;
    }
    if (!fl_span_eq_str(name, field->name) && fl_json_get(object, field->name) != NULL)
        return fl_reader_fail(reading->reader, member, "the field is there twice, as %s too", field->name);
    return read_field(reading, message, field, member);
}

/* All members of an object, but "@type" where the object is an Any. */
static int read_members(struct reading *reading, ProtobufCMessage *message, const struct fl_json *object, bool any)
{
    if (!fl_json_is(object, FL_JSON_OBJECT))
        return wrong_kind(reading, object, "an object");
    for (const struct fl_json *member = fl_json_first(object); member != NULL; member = fl_json_next(member)) {
        if (any && fl_span_eq_str(fl_json_name(member), "@type"))
            continue;
        size_t mark = fl_reader_enter(reading->reader, fl_json_name(member));
        int result = read_member(reading, message, object, member);
        if (result != 0)
            return result;
        fl_reader_leave(reading->reader, mark);
    }
    char text[256];
    if (fl_xds_missing_choice(message, text, sizeof(text)) != NULL)
        return fl_reader_fail(reading->reader, object, "%s must be set", text);
    return 0;
}

/* -- messages with a form of their own -- */

static int read_duration(struct reading *reading, ProtobufCMessage *message, const struct fl_json *value)
{
    Google__Protobuf__Duration *duration = (Google__Protobuf__Duration *)message;
    if (!fl_json_is(value, FL_JSON_STRING) ||
        !fl_xds_duration_parse(fl_json_string(value), &duration->seconds, &duration->nanos))
        return fl_reader_fail(reading->reader, value, "expected a duration such as \"1.5s\"");
    return 0;
}

static int read_any_value(struct reading *reading, ProtobufCMessage *message, const struct fl_json *value)
{
    static const char *const kinds[] = {
        [FL_JSON_NULL] = "null_value",     [FL_JSON_BOOL] = "bool_value",  [FL_JSON_NUMBER] = "number_value",
        [FL_JSON_STRING] = "string_value", [FL_JSON_ARRAY] = "list_value", [FL_JSON_OBJECT] = "struct_value"};
    const ProtobufCFieldDescriptor *field =
        protobuf_c_message_descriptor_get_field_by_name(message->descriptor, kinds[fl_json_kind(value)]);
    return read_choice(reading, message, field, value);
}

static int read_inner(struct reading *reading, const ProtobufCMessageDescriptor *type, const struct fl_json *value,
                      ProtobufCMessage **ret_message)
{
    if (fl_xds_form(type) != FL_XDS_PLAIN) { /* {"@type": …, "value": …} */
        const struct fl_json *inner = fl_json_get(value, "value");
        if (inner == NULL)
            return fl_reader_fail(reading->reader, value, "expected a member \"value\"");
        return read_message(reading, type, inner, ret_message);
    }
    ProtobufCMessage *message = fl_arena_alloc(reading->arena, type->sizeof_message);
    if (message == NULL)
        return no_memory(reading);
    protobuf_c_message_init(type, message);
    *ret_message = message;
    return read_members(reading, message, value, true);
}

static int read_any(struct reading *reading, ProtobufCMessage *message, const struct fl_json *value)
{
    Google__Protobuf__Any *any = (Google__Protobuf__Any *)message;
    const struct fl_json *url = fl_json_get(value, "@type");
    if (!fl_json_is(value, FL_JSON_OBJECT))
        return wrong_kind(reading, value, "an object");
    if (!fl_json_is(url, FL_JSON_STRING))
        return fl_reader_fail(reading->reader, value, "expected a member \"@type\" with a type's name");
    int result = read_string(reading, url, &any->type_url);
    if (result != 0)
        return result;
    const ProtobufCMessageDescriptor *type = fl_xds_type(fl_json_string(url));
    if (type == NULL) {
        fl_xds_ignore(reading->report, reading->reader, url, "a type that is not known here");
        return 0;
    }
    ProtobufCMessage *inner;
    result = read_inner(reading, type, value, &inner);
    if (result != 0)
        return result;
    struct fl_span bytes;
    if (fl_xds_pack(inner, reading->arena, &bytes) != 0)
        return no_memory(reading);
    any->value = (ProtobufCBinaryData){.len = bytes.len, .data = (uint8_t *)(uintptr_t)bytes.data};
    return 0;
}

static int read_form(struct reading *reading, ProtobufCMessage *message, const struct fl_json *value)
{
    const ProtobufCFieldDescriptor *only = message->descriptor->fields; /* of STRUCT, LIST and WRAPPER */
    switch (fl_xds_form(message->descriptor)) {
    case FL_XDS_ANY:
        return read_any(reading, message, value);
    case FL_XDS_DURATION:
        return read_duration(reading, message, value);
    case FL_XDS_VALUE:
        return read_any_value(reading, message, value);
    case FL_XDS_STRUCT:
    case FL_XDS_LIST:
        return read_field(reading, message, only, value);
    case FL_XDS_WRAPPER:
        return read_value(reading, only, value, fl_xds_at(message, only));
    case FL_XDS_PLAIN:
    default:
        return read_members(reading, message, value, false);
    }
}

static int read_message(struct reading *reading, const ProtobufCMessageDescriptor *type, const struct fl_json *value,
                        ProtobufCMessage **ret_message)
{
    if (reading->depth >= DEPTH_MAX)
        return fl_reader_fail(reading->reader, value, "nested too deep");
    ProtobufCMessage *message = fl_arena_alloc(reading->arena, type->sizeof_message);
    if (message == NULL)
        return no_memory(reading);
    protobuf_c_message_init(type, message);
    reading->depth++;
    int result = read_form(reading, message, value);
    reading->depth--;
    if (result == 0)
        *ret_message = message;
    return result;
}

int fl_xds_read(struct fl_reader *reader, const ProtobufCMessageDescriptor *type, const struct fl_json *value,
                struct fl_arena *arena, struct fl_xds_report *report, ProtobufCMessage **ret_message)
{
    struct reading reading = {.reader = reader, .arena = arena, .report = report};
    return read_message(&reading, type, value, ret_message);
}

void fl_xds_ignore(struct fl_xds_report *report, const struct fl_reader *reader, const struct fl_json *value,
                   const char *what)
{
    if (report == NULL)
        return;
    report->ignored++;
    if (report->on_ignored == NULL)
        return;
    struct fl_err line; /* bounded, and without control characters */
    struct fl_position at = fl_positions_find(reader->positions, value);
    const char *file = fl_positions_file(reader->positions);
    if (file != NULL && at.line > 0)
        fl_err_set(&line, 0, "%s:%u:%u: %s: %s", file, at.line, at.column, reader->path, what);
    else
        fl_err_set(&line, 0, "%s: %s", reader->path, what);
    report->on_ignored(report->owner, line.text);
}

const struct fl_json *fl_xds_member(const struct fl_json *object, const char *name)
{
    for (const struct fl_json *member = fl_json_first(object); member != NULL; member = fl_json_next(member))
        if (fl_xds_name_is(name, fl_json_name(member)))
            return member;
    return NULL;
}
