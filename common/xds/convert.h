/* Documents ⇄ messages, by the descriptors: one converter for the bootstrap, static files and /config_dump.
 *
 * The mapping is proto3's JSON form (protobuf.dev, "ProtoJSON Format"): field names in snake_case or lowerCamelCase,
 * enums by name or number, 64-bit numbers as strings or numbers, bytes in base64 (both alphabets, padded or not),
 * Duration "1.5s", wrappers as their value, Struct and Value as any JSON, Any with "@type" beside its members, maps as
 * objects; null is absence. A field twice (in both spellings), two members of a oneof, a number out of its type's
 * range, a wrong kind: errors that name file:line:column and path (doc/table.h's struct fl_reader).
 */
#ifndef FL_XDS_CONVERT_H
#define FL_XDS_CONVERT_H

#include "common/doc/table.h"
#include "common/xds/message.h"

/* Reads `value` at the reader's path. Strings are copied into the arena. An Any of a type that is not ours keeps its
 * type_url, with an empty value, and counts as ignored: who needs it refuses it.
 * 0; -EINVAL; -ENOMEM (also: the arena is full). `report` may be NULL. */
int fl_xds_read(struct fl_reader *reader, const struct ProtobufCMessageDescriptor *type, const struct fl_json *value,
                struct fl_arena *arena, struct fl_xds_report *report,
                struct ProtobufCMessage **ret_message) FL_MUST_CHECK;

/* Counts something as ignored and tells it, with its place. `value` gives the position (NULL: none). */
void fl_xds_ignore(struct fl_xds_report *report, const struct fl_reader *reader, const struct fl_json *value,
                   const char *what);

/* The member of `object` that stands for the field `name` (snake_case): in that spelling or in lowerCamelCase. */
const struct fl_json *fl_xds_member(const struct fl_json *object, const char *name);

/* Appends a message as JSON text, snake_case, unset fields left out. Private keys, passwords and the like that stand
 * inline are written as "[redacted]". 0, -ENOMEM, -EMSGSIZE; -EINVAL: nested too deep, an Any that does not decode. */
int fl_xds_print(const struct ProtobufCMessage *message, struct fl_buf *out) FL_MUST_CHECK;

#endif
