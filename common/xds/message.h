/* xDS messages: our trimmed .proto files (proto/) compiled by protobuf-c, and what the generated code lacks: which type
 * a name stands for (Any), which messages are strict, decoding with limits, memory from one arena.
 *
 * Strict messages decide security or matching (TLS, names, every matcher). They carry every field of the public
 * message: an unknown field, or a oneof that must be set and is not, is an error that names it. Elsewhere unknown
 * fields are ignored and counted (struct fl_xds_report).
 *
 * Nothing here is freed singly: a message lives as long as the arena that it was read into. The generated headers
 * ("common/xds/proto/x.pb-c.h") stay in .c files; this header names their types without them.
 */
#ifndef FL_XDS_MESSAGE_H
#define FL_XDS_MESSAGE_H

#include "common/base/arena.h"
#include "common/base/err.h"

struct ProtobufCMessage;
struct ProtobufCMessageDescriptor;
struct ProtobufCFieldDescriptor;

#define FL_XDS_DEPTH_MAX 64 /* messages inside messages */

/* What was left out, for whoever wants to tell. Zeroed: count only. */
struct fl_xds_report {
    uint64_t ignored;                                  /* fields */
    void (*on_ignored)(void *owner, const char *text); /* one line each; may be NULL */
    void *owner;
};

/* The type of an Any: "type.googleapis.com/<full name>" (anything before the last '/' is accepted). NULL where it is
 * not one of ours. */
const struct ProtobufCMessageDescriptor *fl_xds_type(struct fl_span type_url);

bool fl_xds_is_strict(const struct ProtobufCMessageDescriptor *type);

/* For a strict message: the first oneof that has to be set and is not, written as "a, b or c" into `text` (returned);
 * NULL where all is well, and for other messages. */
const char *fl_xds_missing_choice(const struct ProtobufCMessage *message, char *text, size_t size);

/* Decodes wire bytes. Depth, UTF-8 and NULs in strings, and the rule for unknown fields are checked first. The arena
 * bounds the memory. `report` may be NULL. 0; -EINVAL with the reason; -ENOMEM (also: the arena is full). */
int fl_xds_unpack(const struct ProtobufCMessageDescriptor *type, struct fl_span bytes, struct fl_arena *arena,
                  struct fl_xds_report *report, struct ProtobufCMessage **ret_message,
                  struct fl_err *err) FL_MUST_CHECK;

/* The last top-level field `number` that is a text (as a decoder would have it), without decoding the rest: a message's
 * name before anybody knows what it is. Empty where it is absent. False where the bytes are malformed, or it is not
 * UTF-8 or holds a NUL. */
bool fl_xds_wire_string(struct fl_span bytes, unsigned number, struct fl_span *ret_text);

/* Encodes into the arena. 0 or -ENOMEM. */
int fl_xds_pack(const struct ProtobufCMessage *message, struct fl_arena *arena,
                struct fl_span *ret_bytes) FL_MUST_CHECK;

/* Reflection for the compiler's "not supported" messages: whether a field is set (a scalar outside of a oneof is set
 * where it differs from its default). */
bool fl_xds_is_set(const struct ProtobufCMessage *message, const struct ProtobufCFieldDescriptor *field);

#endif
