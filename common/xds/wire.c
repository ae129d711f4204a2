/* Wire bytes → message and back. protobuf-c decodes; before it does, the bytes are walked once with the descriptors,
 * because it knows no limit of depth, takes NULs and bad UTF-8 in strings, and keeps unknown fields in silence. */
#include "common/base/utf8.h"
#include "common/xds/field.h"
#include "common/xds/message.h"

#include <errno.h>
#include <stdio.h>

enum wire_type { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_LENGTH = 2, WIRE_32 = 5 };

struct walk {
    struct fl_xds_report *report;
    struct fl_err *err;
};

static bool take_varint(struct fl_span *bytes, uint64_t *ret_value)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < 10 && i < bytes->len; i++) {
        unsigned char byte = (unsigned char)bytes->data[i];
        value |= (uint64_t)(byte & 0x7f) << (7 * i);
        if ((byte & 0x80) == 0) {
            *bytes = fl_span_from(*bytes, i + 1);
            *ret_value = value;
            return true;
        }
    }
    return false;
}

/* Takes one field's content. False where it is truncated or of a wire type that proto3 does not have. */
static bool take_content(struct fl_span *bytes, unsigned wire, struct fl_span *ret_content)
{
    uint64_t len = 0;
    *ret_content = (struct fl_span){bytes->data, 0};
    switch (wire) {
    case WIRE_VARINT:
        return take_varint(bytes, &len);
    case WIRE_64:
        len = 8;
        break;
    case WIRE_32:
        len = 4;
        break;
    case WIRE_LENGTH:
        if (!take_varint(bytes, &len))
            return false;
        break;
    default:
        return false;
    }
    if (len > bytes->len)
        return false;
    *ret_content = fl_span_make(bytes->data, (size_t)len);
    *bytes = fl_span_from(*bytes, (size_t)len);
    return true;
}

static int on_unknown(struct walk *walk, const ProtobufCMessageDescriptor *type, unsigned number)
{
    if (fl_xds_is_strict(type))
        return fl_err_set(walk->err, -EINVAL, "%s: field %u is not known", type->name, number);
    if (walk->report == NULL)
        return 0;
    walk->report->ignored++;
    if (walk->report->on_ignored != NULL) {
        char text[256];
        snprintf(text, sizeof(text), "%s: field %u is not known, ignored", type->name, number);
        walk->report->on_ignored(walk->report->owner, text);
    }
    return 0;
}

static bool is_text(struct fl_span bytes)
{
    while (bytes.len > 0) {
        size_t len = fl_utf8_length(bytes);
        if (len == 0 || bytes.data[0] == '\0')
            return false;
        bytes = fl_span_from(bytes, len);
    }
    return true;
}

bool fl_xds_wire_string(struct fl_span bytes, unsigned number, struct fl_span *ret_text)
{
    struct fl_span text = FL_SPAN("");
    while (bytes.len > 0) {
        uint64_t tag;
        struct fl_span content;
        if (!take_varint(&bytes, &tag) || tag >> 3 == 0 || !take_content(&bytes, (unsigned)(tag & 7), &content))
            return false;
        if (tag >> 3 == number && (tag & 7) == WIRE_LENGTH)
            text = content;
    }
    if (!is_text(text))
        return false;
    *ret_text = text;
    return true;
}

static int walk_message(struct walk *walk, const ProtobufCMessageDescriptor *type, struct fl_span bytes, unsigned depth)
{
    if (depth > FL_XDS_DEPTH_MAX)
        return fl_err_set(walk->err, -EINVAL, "%s: more than %d messages inside each other", type->name,
                          FL_XDS_DEPTH_MAX);
    while (bytes.len > 0) {
        uint64_t tag;
        struct fl_span content;
        if (!take_varint(&bytes, &tag) || tag >> 3 == 0 || tag >> 3 > 0x1fffffff ||
            !take_content(&bytes, (unsigned)(tag & 7), &content))
            return fl_err_set(walk->err, -EINVAL, "%s: malformed protobuf", type->name);
        const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field(type, (unsigned)(tag >> 3));
        int result = 0;
        if (field == NULL)
            result = on_unknown(walk, type, (unsigned)(tag >> 3));
        else if (field->type == PROTOBUF_C_TYPE_MESSAGE && (tag & 7) == WIRE_LENGTH)
            result = walk_message(walk, field->descriptor, content, depth + 1);
        else if (field->type == PROTOBUF_C_TYPE_STRING && !is_text(content))
            result = fl_err_set(walk->err, -EINVAL, "%s.%s: not UTF-8, or holds a NUL", type->name, field->name);
        if (result != 0)
            return result;
    }
    return 0;
}

/* The oneofs of strict messages, everywhere in the tree. Depth is bounded by the walk before. */
static int check_choices(const ProtobufCMessage *message, struct fl_err *err)
{
    char text[512];
    if (fl_xds_missing_choice(message, text, sizeof(text)) != NULL)
        return fl_err_set(err, -EINVAL, "%s: %s must be set", message->descriptor->name, text);
    for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];
        if (field->type != PROTOBUF_C_TYPE_MESSAGE || !fl_xds_is_set(message, field))
            continue;
        bool repeated = field->label == PROTOBUF_C_LABEL_REPEATED;
        ProtobufCMessage *const *values = repeated ? *(ProtobufCMessage ***)fl_xds_at(message, field)
                                                   : (ProtobufCMessage **)fl_xds_at(message, field);
        size_t count = repeated ? *fl_xds_count(message, field) : 1;
        for (size_t k = 0; k < count; k++) {
            int result = values[k] == NULL ? 0 : check_choices(values[k], err);
            if (result != 0)
                return result;
        }
    }
    return 0;
}

/* protobuf-c does not say why it gives up: the allocator remembers. */
struct memory {
    struct fl_arena *arena;
    bool failed;
};

static void *memory_alloc(void *owner, size_t size)
{
    struct memory *memory = owner;
    void *block = fl_arena_alloc(memory->arena, size);
    memory->failed = memory->failed || block == NULL;
    return block;
}

static void memory_free(void *owner, void *block)
{
    (void)owner;
    (void)block;
}

int fl_xds_unpack(const ProtobufCMessageDescriptor *type, struct fl_span bytes, struct fl_arena *arena,
                  struct fl_xds_report *report, ProtobufCMessage **ret_message, struct fl_err *err)
{
    struct walk walk = {.report = report, .err = err};
    int result = walk_message(&walk, type, bytes, 1);
    if (result != 0)
        return result;
    struct memory memory = {.arena = arena};
    ProtobufCAllocator allocator = {.alloc = memory_alloc, .free = memory_free, .allocator_data = &memory};
    /* It wants a pointer also where there is nothing to read. */
    const uint8_t *data = (const uint8_t *)(bytes.len > 0 ? bytes.data : "");
    ProtobufCMessage *message = protobuf_c_message_unpack(type, &allocator, bytes.len, data);
    if (message == NULL)
        return memory.failed ? fl_err_set(err, -ENOMEM, "%s: out of memory", type->name)
                             : fl_err_set(err, -EINVAL, "%s: malformed protobuf", type->name);
    result = check_choices(message, err);
    if (result == 0)
        *ret_message = message;
    return result;
}

int fl_xds_pack(const ProtobufCMessage *message, struct fl_arena *arena, struct fl_span *ret_bytes)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *bytes = fl_arena_alloc(arena, size);
    if (bytes == NULL)
        return -ENOMEM;
    *ret_bytes = fl_span_make(bytes, protobuf_c_message_pack(message, bytes));
    return 0;
}
