/* Reaching into messages by their descriptors: where a field lives, how many values it has, what kind of message one
 * is. For the files of this folder alone (it shows protobuf-c's types). */
#ifndef FL_XDS_FIELD_H
#define FL_XDS_FIELD_H

#include "common/base/span.h"

#include <protobuf-c/protobuf-c.h>

/* Messages whose JSON form is not "an object of its fields". */
enum fl_xds_form {
    FL_XDS_PLAIN,
    FL_XDS_ANY,
    FL_XDS_DURATION,
    FL_XDS_STRUCT,
    FL_XDS_LIST,
    FL_XDS_VALUE,
    FL_XDS_WRAPPER, /* one field, "value", stands for the message */
};

enum fl_xds_form fl_xds_form(const ProtobufCMessageDescriptor *type);

/* A map<string, X> is a repeated message of key and value, which JSON writes as an object. */
bool fl_xds_is_map(const ProtobufCMessageDescriptor *parent, const ProtobufCFieldDescriptor *field);

/* A field that holds keys or passwords, by name of message and field: printed "[redacted]" where it stands inline. */
bool fl_xds_is_secret(const ProtobufCMessageDescriptor *type, const ProtobufCFieldDescriptor *field);

static inline bool fl_xds_in_oneof(const ProtobufCFieldDescriptor *field)
{
    return (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0;
}

/* The value of a singular field, the pointer to the array of a repeated one. */
static inline void *fl_xds_at(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    return (char *)(uintptr_t)message + field->offset;
}

/* Repeated: how many. */
static inline size_t *fl_xds_count(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    return (size_t *)(void *)((char *)(uintptr_t)message + field->quantifier_offset);
}

/* In a oneof: the id of the member that is set, 0 for none. */
static inline uint32_t *fl_xds_case(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    return (uint32_t *)(void *)((char *)(uintptr_t)message + field->quantifier_offset);
}

/* Bytes of one value in memory. */
size_t fl_xds_value_size(const ProtobufCFieldDescriptor *field);

/* Whether a JSON member's name is this field's, in snake_case or lowerCamelCase. */
bool fl_xds_name_is(const char *field_name, struct fl_span member);

#endif
