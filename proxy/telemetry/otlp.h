/* Spans as OpenTelemetry's export takes them (ExportTraceServiceRequest, binary protobuf), written straight into bytes:
 * nothing is built up in between. Pure.
 *
 * A batch is a prefix (resource and scope, with the lengths of all that follows) and spans behind it, one after the
 * other. Bounds: a span has PROXY_OTLP_SPAN_MAX bytes, a value PROXY_OTLP_VALUE_MAX; what has no room is left out, the
 * span stays whole. Bytes that are not UTF-8 become '?'.
 */
#ifndef PROXY_TELEMETRY_OTLP_H
#define PROXY_TELEMETRY_OTLP_H

#include "common/base/buf.h"
#include "proxy/telemetry/trace.h"

#define PROXY_OTLP_SPAN_MAX  8192u
#define PROXY_OTLP_VALUE_MAX 512u

enum proxy_span_kind { PROXY_SPAN_SERVER = 2, PROXY_SPAN_CLIENT = 3 };

struct proxy_span_attribute {
    struct fl_span key;
    struct fl_span text; /* data NULL: the number */
    int64_t number;
};

struct proxy_span {
    const uint8_t *trace_id, *span_id, *parent_id; /* parent_id NULL: none */
    enum proxy_span_kind kind;
    bool error;
    struct fl_span name, state;
    uint64_t start_ns, end_ns; /* since 1970 */
    const struct proxy_span_attribute *attributes;
    size_t attribute_count;
};

/* Appends one span. 0, -ENOMEM or -EMSGSIZE (the buffer's maximum). */
int proxy_otlp_add(const struct proxy_span *span, struct fl_buf *spans) FL_MUST_CHECK;

/* What goes before `spans_len` bytes of spans. Attributes with an empty text are left out. 0, -ENOMEM or -EMSGSIZE. */
int proxy_otlp_prefix(const struct proxy_span_attribute *resource, size_t count, size_t spans_len,
                      struct fl_buf *out) FL_MUST_CHECK;

#endif
