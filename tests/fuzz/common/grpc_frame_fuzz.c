/* The reader of length-prefixed messages: cut into pieces of the size that the first byte says, it finds the same as in
 * one piece. */
#include "common/grpc/frame.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool good)
{
    if (!good)
        abort();
}

/* All messages, each with its length before it, into `into`; returns how it ended. */
static int read_all(struct fl_span input, size_t piece, struct fl_buf *into)
{
    struct fl_grpc_reader reader;
    int result = FL_GRPC_READ_MORE;
    fl_grpc_reader_init(&reader, 4096);
    while (input.len > 0 && result > 0) {
        struct fl_span part = fl_span_make(input.data, piece < input.len ? piece : input.len), message;
        input = fl_span_from(input, part.len);
        do {
            result = fl_grpc_reader_next(&reader, &part, &message);
            if (result == FL_GRPC_READ_MESSAGE) {
                must(message.len <= 4096 && fl_grpc_reader_is_between(&reader));
                must(fl_grpc_frame_append(into, message) == 0);
            }
        } while (result == FL_GRPC_READ_MESSAGE && part.len > 0);
        must(result < 0 || part.len == 0);
    }
    fl_grpc_reader_done(&reader);
    return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct fl_buf whole, pieces;
    struct fl_span input = fl_span_make(data + 1, size - 1);
    fl_buf_init(&whole, 2 * size + 16);
    fl_buf_init(&pieces, 2 * size + 16);
    int one = read_all(input, SIZE_MAX, &whole), other = read_all(input, data[0] % 16 + 1u, &pieces);
    must(fl_span_eq(fl_buf_span(&whole), fl_buf_span(&pieces)));
    must((one < 0 || other < 0) ? one == other : true);
    /* What was read is what stood there. */
    must(fl_span_starts_with(input, fl_buf_span(&whole)));
    fl_buf_done(&whole);
    fl_buf_done(&pieces);
    return 0;
}
