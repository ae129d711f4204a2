/* Trace contexts in any head: what we tell the next hop is read by it as what we meant. */
#include "proxy/telemetry/trace.h"

#include "proxy/http/h1.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct proxy_message request;

static void check_alone(struct fl_span text)
{
    struct proxy_trace_parent parent = {.forms = 0};
    if (proxy_trace_parse_traceparent(text, &parent))
        assert(parent.has_ids && parent.has_sampled && text.len >= 55);
    parent = (struct proxy_trace_parent){.forms = 0};
    if (proxy_trace_parse_b3(text, &parent))
        assert(parent.has_ids || parent.has_sampled);
    if (proxy_trace_state_valid(text))
        assert(text.len <= PROXY_TRACE_STATE_MAX);
}

/* The bytes alone as a value, and as a request's head. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct proxy_trace_sampling half = {PROXY_TRACE_MILLION, PROXY_TRACE_MILLION / 2, PROXY_TRACE_MILLION};
    struct fl_span bytes = fl_span_make((const char *)data, size);
    struct proxy_h1_parser parser = {.scanned = 0};
    char texts[PROXY_TRACE_SCRATCH];
    size_t used = 0;
    check_alone(bytes);
    if (proxy_h1_parse_request(&parser, bytes, NULL, &request, &used) != PROXY_H1_DONE)
        return 0;
    struct proxy_trace_parent parent, told;
    struct proxy_trace trace;
    const uint64_t random[4] = {size, data[0], 3, data[size / 2] * 0x9e3779b97f4a7c15u};
    struct fl_span scratch = fl_span_make(texts, sizeof(texts));
    proxy_trace_read(&request.headers, &parent);
    proxy_trace_start(&parent, &half, size % 2 == 0, random, &trace);
    assert(!parent.has_sampled || trace.sampled == parent.sampled);
    if (proxy_trace_write(&trace, &parent, trace.span_id, &request.headers, &scratch) != 0)
        return 0;
    proxy_trace_read(&request.headers, &told);
    assert((told.forms & PROXY_TRACE_W3C) != 0 && told.has_ids && told.sampled == trace.sampled);
    assert((told.forms & parent.forms) == parent.forms); /* what came by B3 goes on by B3 */
    assert(memcmp(told.trace_id, trace.trace_id, sizeof(told.trace_id)) == 0);
    assert(memcmp(told.span_id, trace.span_id, sizeof(told.span_id)) == 0);
    assert(!parent.has_ids || memcmp(trace.trace_id, parent.trace_id, sizeof(trace.trace_id)) == 0);
    assert(fl_span_eq(told.state, parent.state));
    return 0;
}
