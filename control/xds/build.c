#include "control/xds/build.h"

#include "common/xds/message.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

void build_init(struct build *build, struct fl_arena *arena)
{
    build->arena = arena;
    build->failed = false;
}

void *build_message(struct build *build, const ProtobufCMessageDescriptor *type)
{
    assert(type->sizeof_message <= sizeof(build->scratch));
    void *message = fl_arena_alloc(build->arena, type->sizeof_message);
    if (message == NULL) {
        build->failed = true;
        message = build->scratch;
    }
    protobuf_c_message_init(type, message);
    return message;
}

/* Grows at 4, 8, 16 … so that the count alone tells the capacity. */
void build_push(struct build *build, size_t *count, void ***array, void *item)
{
    size_t used = *count;
    if (build->failed)
        return;
    if (used == 0 || (used >= 4 && (used & (used - 1)) == 0)) {
        void **grown = fl_arena_array(build->arena, used == 0 ? 4 : 2 * used, sizeof(*grown));
        if (grown == NULL) {
            build->failed = true;
            return;
        }
        if (used > 0)
            memcpy(grown, *array, used * sizeof(*grown));
        *array = grown;
    }
    (*array)[used] = item;
    *count = used + 1;
}

char *build_text(struct build *build, struct fl_span text)
{
    char *copy = fl_arena_str(build->arena, text);
    if (copy != NULL)
        return copy;
    build->failed = true;
    return literal("");
}

char *build_textf(struct build *build, const char *format, ...)
{
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int len = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    char *text = len < 0 ? NULL : fl_arena_alloc(build->arena, (size_t)len + 1);
    if (text != NULL)
        vsnprintf(text, (size_t)len + 1, format, again);
    va_end(again);
    if (text != NULL)
        return text;
    build->failed = true;
    return literal("");
}

pb_any *build_any(struct build *build, const ProtobufCMessage *message)
{
    pb_any *any = new_any(build);
    struct fl_span bytes;
    if (build->failed || fl_xds_pack(message, build->arena, &bytes) < 0) {
        build->failed = true;
        return any;
    }
    any->type_url = build_textf(build, "type.googleapis.com/%s", message->descriptor->name);
    any->value.data = (uint8_t *)(uintptr_t)bytes.data;
    any->value.len = bytes.len;
    return any;
}

pb_bool *build_bool(struct build *build, bool value)
{
    pb_bool *message = new_bool(build);
    message->value = value;
    return message;
}

pb_u32 *build_u32(struct build *build, uint32_t value)
{
    pb_u32 *message = new_u32(build);
    message->value = value;
    return message;
}

pb_duration *build_ms(struct build *build, uint32_t milliseconds)
{
    pb_duration *message = new_duration(build);
    message->seconds = milliseconds / 1000;
    message->nanos = (int32_t)(milliseconds % 1000) * 1000000;
    return message;
}

pb_percent *build_percent(struct build *build, double percent)
{
    pb_percent *message = new_percent(build);
    message->value = percent;
    return message;
}

void build_field(struct build *build, pb_struct *object, const char *name, struct fl_span text)
{
    pb_struct_field *field = new_struct_field(build);
    field->key = literal(name);
    field->value = new_value(build);
    field->value->kind_case = GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE;
    field->value->string_value = build_text(build, text);
    PUSH(build, object, fields, field);
}

pb_struct *build_metadata(struct build *build, pb_metadata **metadata, const char *name)
{
    if (*metadata == NULL)
        *metadata = new_metadata(build);
    pb_metadata_entry *entry = new_metadata_entry(build);
    entry->key = literal(name);
    entry->value = new_struct(build);
    PUSH(build, *metadata, filter_metadata, entry);
    return entry->value;
}

pb_address *build_address(struct build *build, struct fl_span ip, uint16_t port)
{
    pb_address *address = new_address(build);
    pb_socket_address *socket = new_socket_address(build);
    socket->address = build_text(build, ip);
    socket->port_specifier_case = ENVOY__CONFIG__CORE__V3__SOCKET_ADDRESS__PORT_SPECIFIER_PORT_VALUE;
    socket->port_value = port;
    address->address_case = ENVOY__CONFIG__CORE__V3__ADDRESS__ADDRESS_SOCKET_ADDRESS;
    address->socket_address = socket;
    return address;
}

pb_config_source *build_ads(struct build *build)
{
    pb_config_source *source = new_config_source(build);
    source->config_source_specifier_case = ENVOY__CONFIG__CORE__V3__CONFIG_SOURCE__CONFIG_SOURCE_SPECIFIER_ADS;
    source->ads = new_ads(build);
    source->resource_api_version = ENVOY__CONFIG__CORE__V3__API_VERSION__V3;
    return source;
}

pb_string_match *build_exact(struct build *build, struct fl_span text)
{
    pb_string_match *match = new_string_match(build);
    match->match_pattern_case = ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_EXACT;
    match->exact = build_text(build, text);
    return match;
}

pb_string_match *build_prefix(struct build *build, struct fl_span text)
{
    pb_string_match *match = new_string_match(build);
    match->match_pattern_case = ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_PREFIX;
    match->prefix = build_text(build, text);
    return match;
}

pb_string_match *build_suffix(struct build *build, struct fl_span text)
{
    pb_string_match *match = new_string_match(build);
    match->match_pattern_case = ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_SUFFIX;
    match->suffix = build_text(build, text);
    return match;
}

int build_pack(struct build *build, const ProtobufCMessage *message, struct fl_span *ret_bytes)
{
    return build->failed ? -ENOMEM : fl_xds_pack(message, build->arena, ret_bytes);
}
