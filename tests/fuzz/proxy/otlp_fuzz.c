/* Spans of any texts: what we send, protobuf-c decodes, with as many spans as were put in. Pieces of the input, each
 * with its length before it, become names, states and attributes. */
#include "proxy/telemetry/otlp.h"

#include "common/xds/proto/otlp.pb-c.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ATTRIBUTES 12

static struct fl_span take(struct fl_span *rest)
{
    if (rest->len == 0)
        return FL_SPAN("");
    size_t len = (size_t)(unsigned char)rest->data[0] * 3;
    *rest = fl_span_from(*rest, 1);
    struct fl_span piece = fl_span_make(rest->data, len < rest->len ? len : rest->len);
    *rest = fl_span_from(*rest, piece.len);
    return piece;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t id[PROXY_TRACE_ID_SIZE] = {1};
    struct fl_span rest = fl_span_make((const char *)data, size);
    struct proxy_span_attribute attributes[ATTRIBUTES];
    struct fl_buf spans, whole;
    size_t count = 0;
    fl_buf_init(&spans, 1u << 20);
    fl_buf_init(&whole, 2u << 20);
    do {
        struct proxy_span span = {.trace_id = id,
                                  .span_id = id,
                                  .parent_id = rest.len % 2 == 0 ? id : NULL,
                                  .kind = rest.len % 3 == 0 ? PROXY_SPAN_SERVER : PROXY_SPAN_CLIENT,
                                  .error = rest.len % 5 == 0,
                                  .start_ns = rest.len * UINT64_C(0x123456789ab),
                                  .attributes = attributes,
                                  .attribute_count = ATTRIBUTES};
        span.name = take(&rest);
        span.state = take(&rest);
        for (size_t i = 0; i < ATTRIBUTES; i++) {
            attributes[i].key = take(&rest);
            attributes[i].text = i % 4 == 3 ? (struct fl_span){NULL, 0} : take(&rest);
            attributes[i].number = -(int64_t)rest.len * (int64_t)i;
        }
        if (proxy_otlp_add(&span, &spans) != 0)
            break;
        count++;
    } while (rest.len > 0);
    if (proxy_otlp_prefix(attributes, ATTRIBUTES, spans.len, &whole) == 0 &&
        fl_buf_append(&whole, fl_buf_span(&spans)) == 0) {
        Opentelemetry__Proto__Collector__Trace__V1__ExportTraceServiceRequest *request =
            opentelemetry__proto__collector__trace__v1__export_trace_service_request__unpack(
                NULL, whole.len, (const uint8_t *)whole.data);
        assert(request != NULL && request->n_resource_spans == 1);
        assert(request->resource_spans[0]->scope_spans[0]->n_spans == count);
        opentelemetry__proto__collector__trace__v1__export_trace_service_request__free_unpacked(request, NULL);
    }
    fl_buf_done(&spans);
    fl_buf_done(&whole);
    return 0;
}
