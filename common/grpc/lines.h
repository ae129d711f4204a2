/* What exchange.c and request.c share of nghttp2's types: header lines, and where a stream's data comes from. */
#ifndef FL_GRPC_LINES_H
#define FL_GRPC_LINES_H

#include "common/base/span.h"

#include <nghttp2/nghttp2.h>

extern const nghttp2_data_provider fl_grpc_provider; /* the queue of the stream's exchange */

/* Nothing is copied until it is submitted. */
static inline nghttp2_nv fl_grpc_line(const char *name, struct fl_span value)
{
    return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value.data, strlen(name), value.len,
                        NGHTTP2_NV_FLAG_NONE};
}

#endif
