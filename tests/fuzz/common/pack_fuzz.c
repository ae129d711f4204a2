/* Packing: any bytes come back as they were; any bytes that are taken for packed ones are read within their bounds. */
#include "common/base/pack.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_as_packed(struct fl_span bytes, struct fl_arena *arena)
{
    if (bytes.len == 0)
        return;
    const struct fl_packed packed = {.bytes = fl_span_from(bytes, 1), .len = (size_t)(uint8_t)bytes.data[0] * 4};
    struct fl_span out = fl_unpack(&packed, arena);
    if (out.data != NULL && !fl_packed_eq(&packed, out))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fl_arena scratch, arena;
    struct fl_packed packed;
    struct fl_span bytes = fl_span_make(data, size);
    fl_arena_init(&scratch, 1u << 24);
    fl_arena_init(&arena, 1u << 24);
    if (!fl_pack(bytes, &scratch, &arena, &packed) || !fl_packed_eq(&packed, bytes) ||
        !fl_span_eq(fl_unpack(&packed, &arena), bytes))
        abort();
    read_as_packed(bytes, &arena);
    fl_arena_done(&scratch);
    fl_arena_done(&arena);
    return 0;
}
