/* Building messages without looking at every allocation: memory comes from one arena, a failure is remembered, and what
 * was built is refused at the end (build_pack). Until then everything built after a failure lies in a scratch block and
 * is good for nothing but to be filled. Private to control/xds.
 *
 * Texts that are put into messages must live as long as the arena, or be copied by build_text.
 */
#ifndef CONTROL_XDS_BUILD_H
#define CONTROL_XDS_BUILD_H

#include "common/base/arena.h"
#include "control/xds/messages.h"

struct build {
    struct fl_arena *arena;
    bool failed;
    _Alignas(max_align_t) char scratch[1024]; /* as large as the largest message (asserted) */
};

void build_init(struct build *build, struct fl_arena *arena);

/* An empty message: new_listener(build) and so on, one for each row of CONTROL_MESSAGES. */
void *build_message(struct build *build, const ProtobufCMessageDescriptor *type);
#define X(short, type, descriptor)                                                                                     \
    static inline pb_##short *new_##short(struct build * build)                                                        \
    {                                                                                                                  \
        return build_message(build, &descriptor);                                                                      \
    }
CONTROL_MESSAGES(X)
#undef X

/* Appends to a repeated field: PUSH(build, listener, filter_chains, chain). */
void build_push(struct build *build, size_t *count, void ***array, void *item);
#define PUSH(build, message, field, item)                                                                              \
    build_push(build, &(message)->n_##field, (void ***)(void *)&(message)->field, item)

/* A copy as a C string; never NULL. A NUL in the text is a failure. */
char *build_text(struct build *build, struct fl_span text);
char *build_textf(struct build *build, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A literal: protobuf-c's structs are not const. */
static inline char *literal(const char *text)
{
    return (char *)(uintptr_t)text;
}

pb_any *build_any(struct build *build, const ProtobufCMessage *message);
pb_bool *build_bool(struct build *build, bool value);
pb_u32 *build_u32(struct build *build, uint32_t value);
pb_duration *build_ms(struct build *build, uint32_t milliseconds);
pb_percent *build_percent(struct build *build, double percent);

/* Structs of metadata. */
void build_field(struct build *build, pb_struct *object, const char *name, struct fl_span text);
/* filter_metadata[name], made where `*metadata` (made too) has none. */
pb_struct *build_metadata(struct build *build, pb_metadata **metadata, const char *name);

/* Those that many files need. */
pb_address *build_address(struct build *build, struct fl_span ip, uint16_t port);
pb_config_source *build_ads(struct build *build);
pb_string_match *build_exact(struct build *build, struct fl_span text);
pb_string_match *build_prefix(struct build *build, struct fl_span text);
pb_string_match *build_suffix(struct build *build, struct fl_span text);

/* 0, or -ENOMEM where anything failed on the way. */
int build_pack(struct build *build, const ProtobufCMessage *message, struct fl_span *ret_bytes) FL_MUST_CHECK;

#endif
