/* Wire bytes: the first byte chooses the message. What decodes is encoded again, decodes again, and prints as JSON that
 * our own parser takes. */
#include "common/doc/json.h"
#include "common/xds/convert.h"

#include "common/xds/proto/bootstrap.pb-c.h"
#include "common/xds/proto/hcm.pb-c.h"

#include <errno.h>
#include <stdlib.h>

#define ARENA_MAX (64u << 20)

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

static void check_print(const ProtobufCMessage *message)
{
    struct fl_buf out;
    fl_buf_init(&out, 8u << 20);
    int result = fl_xds_print(message, &out);
    if (result == 0) {
        const struct fl_json_limits limits = {.bytes_max = 8u << 20, .depth_max = 512, .values_max = 1u << 24};
        struct fl_json *root = NULL;
        result = fl_json_parse(fl_buf_span(&out), &limits, &root, NULL);
        fl_json_free(root);
        if (result == -EINVAL)
            abort();
    }
    fl_buf_done(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    const ProtobufCMessageDescriptor *type = types[data[0] % FL_COUNT(types)];
    struct fl_arena arena;
    fl_arena_init(&arena, ARENA_MAX);
    struct fl_err err;
    ProtobufCMessage *message, *again;
    struct fl_span bytes;
    if (fl_xds_unpack(type, fl_span_make(data + 1, size - 1), &arena, NULL, &message, &err) == 0 &&
        fl_xds_pack(message, &arena, &bytes) == 0) {
        int result = fl_xds_unpack(type, bytes, &arena, NULL, &again, &err);
        if (result != 0 && result != -ENOMEM)
            abort();
        check_print(message);
    }
    fl_arena_done(&arena);
    return 0;
}
