/* base64url and base64: what reads has one spelling, and it is this one. */
#include "common/base/base64.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fl_buf bytes, text;
    fl_buf_init(&bytes, 1u << 20);
    fl_buf_init(&text, 1u << 20);
    if (fl_base64url_decode(fl_span_make(data, size), &bytes) == 0 &&
        (fl_base64url_encode(fl_buf_span(&bytes), &text) != 0 ||
         !fl_span_eq(fl_buf_span(&text), fl_span_make(data, size))))
        abort();
    fl_buf_clear(&bytes);
    fl_buf_clear(&text);
    if (fl_base64_decode(fl_span_make(data, size), &bytes) == 0 &&
        (fl_base64_encode(fl_buf_span(&bytes), &text) != 0 ||
         !fl_span_eq(fl_buf_span(&text), fl_span_make(data, size))))
        abort();
    fl_buf_done(&bytes);
    fl_buf_done(&text);
    return 0;
}
