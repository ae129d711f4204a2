/* The converter on arbitrary documents: the first byte chooses the message, the rest is YAML or JSON. What is read is
 * printed, read again and printed again: the two texts are the same. */
#include "common/doc/yaml.h"
#include "common/xds/convert.h"

#include "common/xds/proto/bootstrap.pb-c.h"
#include "common/xds/proto/hcm.pb-c.h"

#include <errno.h>
#include <stdlib.h>

#define ARENA_MAX (8u << 20)

static const ProtobufCMessageDescriptor *const types[] = {
    &envoy__config__bootstrap__v3__bootstrap__descriptor,
    &google__protobuf__any__descriptor,
    &google__protobuf__value__descriptor,
    &envoy__config__route__v3__route_configuration__descriptor,
    &envoy__extensions__transport_sockets__tls__v3__secret__descriptor,
    &envoy__extensions__filters__network__http_connection_manager__v3__http_connection_manager__descriptor,
    &envoy__type__matcher__v3__value_matcher__descriptor,
    &envoy__config__core__v3__metadata__descriptor,
};

static int convert(const ProtobufCMessageDescriptor *type, struct fl_span text, struct fl_buf *out)
{
    const struct fl_json_limits limits = {.bytes_max = 1u << 20};
    struct fl_err err;
    FL_CLEANUP(fl_cleanup_yaml) struct fl_yaml *yaml = NULL;
    int result = fl_yaml_parse(text, "fuzz", &limits, &yaml, &err);
    if (result != 0 || fl_yaml_count(yaml) == 0)
        return -EINVAL;
    struct fl_arena arena;
    fl_arena_init(&arena, ARENA_MAX);
    struct fl_reader reader;
    fl_reader_init(&reader, fl_yaml_positions(yaml), &err);
    struct fl_xds_report report = {0};
    ProtobufCMessage *message;
    result = fl_xds_read(&reader, type, fl_yaml_document(yaml, 0), &arena, &report, &message);
    if (result == 0)
        result = fl_xds_print(message, out);
    fl_arena_done(&arena);
    return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    const ProtobufCMessageDescriptor *type = types[data[0] % FL_COUNT(types)];
    struct fl_buf first, second;
    fl_buf_init(&first, 1u << 20);
    fl_buf_init(&second, 1u << 20);
    if (convert(type, fl_span_make(data + 1, size - 1), &first) == 0 &&
        memmem(first.data, first.len, "[redacted]", 10) == NULL) {
        int result = convert(type, fl_buf_span(&first), &second);
        if (result != 0 || !fl_span_eq(fl_buf_span(&first), fl_buf_span(&second)))
            abort();
    }
    fl_buf_done(&first);
    fl_buf_done(&second);
    return 0;
}
