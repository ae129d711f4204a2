/* Message → JSON text, by descriptors: the inverse of read.c, save that secrets are left out. */
#include "common/doc/number.h"
#include "common/xds/convert.h"
#include "common/xds/field.h"
#include "common/xds/scalar.h"

#include "common/xds/proto/google.pb-c.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>

#define ANY_BYTES_MAX (64u << 20) /* memory for decoding one Any */

struct printing {
    struct fl_buf *out;
    unsigned depth;
    unsigned secret; /* > 0: inside a field that holds keys */
};

static int print_message(struct printing *printing, const ProtobufCMessage *message);

static int print_text(struct printing *printing, const char *text)
{
    return fl_buf_append_str(printing->out, text);
}

static int print_string(struct printing *printing, struct fl_span text)
{
    return fl_buf_append_json_string(printing->out, text);
}

static int print_double(struct printing *printing, double value)
{
    if (isnan(value))
        return print_text(printing, "\"NaN\"");
    if (isinf(value))
        return print_text(printing, value > 0 ? "\"Infinity\"" : "\"-Infinity\"");
    char text[FL_NUMBER_PRINT_MAX];
    fl_number_print(value, text);
    return print_text(printing, text);
}

static int print_bytes(struct printing *printing, struct fl_span bytes)
{
    int result = fl_buf_append_byte(printing->out, '"');
    if (result == 0)
        result = fl_xds_base64_print(bytes, printing->out);
    return result != 0 ? result : fl_buf_append_byte(printing->out, '"');
}

static int print_enum(struct printing *printing, const ProtobufCEnumDescriptor *type, int32_t value)
{
    if (type == &google__protobuf__null_value__descriptor)
        return print_text(printing, "null");
    const ProtobufCEnumValue *found = protobuf_c_enum_descriptor_get_value(type, value);
    return found != NULL ? print_string(printing, fl_span_str(found->name))
                         : fl_buf_printf(printing->out, "%" PRId32, value);
}

/* Inside a secret: where it lies may be told, what it is may not. */
static bool is_hidden(const struct printing *printing, const ProtobufCFieldDescriptor *field)
{
    return printing->secret > 0 && (field->type == PROTOBUF_C_TYPE_BYTES ||
                                    (field->type == PROTOBUF_C_TYPE_STRING && strcmp(field->name, "filename") != 0 &&
                                     strcmp(field->name, "environment_variable") != 0));
}

static int print_value(struct printing *printing, const ProtobufCFieldDescriptor *field, const void *value)
{
    if (is_hidden(printing, field))
        return print_text(printing, "\"[redacted]\"");
    struct fl_buf *out = printing->out;
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        return fl_buf_printf(out, "%" PRId32, *(const int32_t *)value);
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        return fl_buf_printf(out, "\"%" PRId64 "\"", *(const int64_t *)value);
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        return fl_buf_printf(out, "%" PRIu32, *(const uint32_t *)value);
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        return fl_buf_printf(out, "\"%" PRIu64 "\"", *(const uint64_t *)value);
    case PROTOBUF_C_TYPE_FLOAT:
        return print_double(printing, (double)*(const float *)value);
    case PROTOBUF_C_TYPE_DOUBLE:
        return print_double(printing, *(const double *)value);
    case PROTOBUF_C_TYPE_BOOL:
        return print_text(printing, *(const protobuf_c_boolean *)value ? "true" : "false");
    case PROTOBUF_C_TYPE_ENUM:
        return print_enum(printing, field->descriptor, *(const int32_t *)value);
    case PROTOBUF_C_TYPE_STRING:
        return print_string(printing, fl_span_str(*(char *const *)value));
    case PROTOBUF_C_TYPE_BYTES: {
        const ProtobufCBinaryData *data = value;
        return print_bytes(printing, fl_span_make(data->data, data->len));
    }
    case PROTOBUF_C_TYPE_MESSAGE:
    default:
        return print_message(printing, *(ProtobufCMessage *const *)value);
    }
}

static int print_repeated(struct printing *printing, const ProtobufCMessage *message,
                          const ProtobufCFieldDescriptor *field)
{
    size_t count = *fl_xds_count(message, field), size = fl_xds_value_size(field);
    const char *values = *(char *const *)fl_xds_at(message, field);
    int result = fl_buf_append_byte(printing->out, '[');
    for (size_t i = 0; i < count && result == 0; i++) {
        if (i > 0)
            result = fl_buf_append_byte(printing->out, ',');
        if (result == 0)
            result = print_value(printing, field, values + i * size);
    }
    return result != 0 ? result : fl_buf_append_byte(printing->out, ']');
}

/* Of two entries with the same key the last one counts (they come from the wire alone). */
static bool is_shadowed(ProtobufCMessage *const *entries, size_t count, size_t index,
                        const ProtobufCFieldDescriptor *key)
{
    const char *name = *(char *const *)fl_xds_at(entries[index], key);
    for (size_t i = index + 1; i < count; i++)
        if (strcmp(name, *(char *const *)fl_xds_at(entries[i], key)) == 0)
            return true;
    return false;
}

static int print_map(struct printing *printing, const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    const ProtobufCMessageDescriptor *type = field->descriptor;
    size_t count = *fl_xds_count(message, field), printed = 0;
    ProtobufCMessage *const *entries = *(ProtobufCMessage ***)fl_xds_at(message, field);
    int result = fl_buf_append_byte(printing->out, '{');
    for (size_t i = 0; i < count && result == 0; i++) {
        const void *value = fl_xds_at(entries[i], &type->fields[1]);
        if (is_shadowed(entries, count, i, &type->fields[0]))
            continue;
        if (printed++ > 0)
            result = fl_buf_append_byte(printing->out, ',');
        if (result == 0)
            result = print_string(printing, fl_span_str(*(char *const *)fl_xds_at(entries[i], &type->fields[0])));
        if (result == 0)
            result = fl_buf_append_byte(printing->out, ':');
        if (result == 0 && type->fields[1].type == PROTOBUF_C_TYPE_MESSAGE && *(void *const *)value == NULL)
            result = print_text(printing, type->fields[1].descriptor == &google__protobuf__value__descriptor
                                              ? "null"
                                              : "{}"); /* an entry without a value stands for an empty one */
        else if (result == 0)
            result = print_value(printing, &type->fields[1], value);
    }
    return result != 0 ? result : fl_buf_append_byte(printing->out, '}');
}

static int print_field(struct printing *printing, const ProtobufCMessage *message,
                       const ProtobufCFieldDescriptor *field)
{
    bool secret = fl_xds_is_secret(message->descriptor, field);
    printing->secret += secret;
    int result;
    if (fl_xds_is_map(message->descriptor, field))
        result = print_map(printing, message, field);
    else if (field->label == PROTOBUF_C_LABEL_REPEATED)
        result = print_repeated(printing, message, field);
    else
        result = print_value(printing, field, fl_xds_at(message, field));
    printing->secret -= secret;
    return result;
}

/* "name":value for each field that is set; `count` members stand before them. */
static int print_members(struct printing *printing, const ProtobufCMessage *message, size_t count)
{
    int result = 0;
    for (unsigned i = 0; i < message->descriptor->n_fields && result == 0; i++) {
        const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];
        if (!fl_xds_is_set(message, field))
            continue;
        result = fl_buf_printf(printing->out, "%s\"%s\":", count++ > 0 ? "," : "", field->name);
        if (result == 0)
            result = print_field(printing, message, field);
    }
    return result;
}

static int print_any_of(struct printing *printing, const ProtobufCMessageDescriptor *type, struct fl_span bytes)
{
    struct fl_arena arena;
    fl_arena_init(&arena, ANY_BYTES_MAX);
    ProtobufCMessage *inner;
    int result = fl_xds_unpack(type, bytes, &arena, NULL, &inner, NULL);
    if (result == 0 && fl_xds_form(type) == FL_XDS_PLAIN)
        result = print_members(printing, inner, 1);
    else if (result == 0) {
        result = print_text(printing, ",\"value\":");
        if (result == 0)
            result = print_message(printing, inner);
    }
    fl_arena_done(&arena);
    return result;
}

static int print_any(struct printing *printing, const Google__Protobuf__Any *any)
{
    struct fl_span url = fl_span_str(any->type_url), bytes = fl_span_make(any->value.data, any->value.len);
    const ProtobufCMessageDescriptor *type = fl_xds_type(url);
    int result = print_text(printing, "{\"@type\":");
    if (result == 0)
        result = print_string(printing, url);
    if (result == 0 && printing->secret > 0)
        result = print_text(printing, ",\"value\":\"[redacted]\"");
    else if (result == 0 && type != NULL)
        result = print_any_of(printing, type, bytes);
    else if (result == 0 && bytes.len > 0) {
        result = print_text(printing, ",\"value\":");
        if (result == 0)
            result = print_bytes(printing, bytes);
    }
    return result != 0 ? result : print_text(printing, "}");
}

static int print_form(struct printing *printing, const ProtobufCMessage *message)
{
    const ProtobufCMessageDescriptor *type = message->descriptor;
    int result;
    switch (fl_xds_form(type)) {
    case FL_XDS_ANY:
        return print_any(printing, (const Google__Protobuf__Any *)message);
    case FL_XDS_DURATION: {
        const Google__Protobuf__Duration *duration = (const Google__Protobuf__Duration *)message;
        result = fl_buf_append_byte(printing->out, '"');
        if (result == 0)
            result = fl_xds_duration_print(duration->seconds, duration->nanos, printing->out);
        return result != 0 ? result : fl_buf_append_byte(printing->out, '"');
    }
    case FL_XDS_VALUE:
        for (unsigned i = 0; i < type->n_fields; i++)
            if (fl_xds_is_set(message, &type->fields[i]))
                return print_field(printing, message, &type->fields[i]);
        return print_text(printing, "null");
    case FL_XDS_STRUCT:
    case FL_XDS_LIST:
    case FL_XDS_WRAPPER:
        return print_field(printing, message, &type->fields[0]);
    case FL_XDS_PLAIN:
    default:
        result = fl_buf_append_byte(printing->out, '{');
        if (result == 0)
            result = print_members(printing, message, 0);
        return result != 0 ? result : fl_buf_append_byte(printing->out, '}');
    }
}

static int print_message(struct printing *printing, const ProtobufCMessage *message)
{
    if (printing->depth >= 2 * FL_XDS_DEPTH_MAX)
        return -EINVAL;
    printing->depth++;
    int result = print_form(printing, message);
    printing->depth--;
    return result;
}

int fl_xds_print(const ProtobufCMessage *message, struct fl_buf *out)
{
    struct printing printing = {.out = out};
    return print_message(&printing, message);
}
