/* Trace context: which trace a request belongs to, and how the next hop is told. Pure.
 *
 * Read are W3C traceparent and tracestate (strictly: what is not valid is not there), B3 in one field and in several.
 * traceparent goes before B3. Every hop has a span of its own, so what goes on names it as the parent: always by
 * traceparent, and by B3 too where the request came with it. A tracestate goes on as it came with a valid traceparent;
 * else there is none.
 */
#ifndef PROXY_TELEMETRY_TRACE_H
#define PROXY_TELEMETRY_TRACE_H

#include "proxy/http/message.h"

#define PROXY_TRACE_ID_SIZE   16u
#define PROXY_TRACE_SPAN_SIZE 8u
#define PROXY_TRACE_STATE_MAX 512u /* bytes of tracestate; a longer one is dropped (W3C asks for at least 512) */
#define PROXY_TRACE_SCRATCH   320u /* bytes that proxy_trace_write takes at most */
#define PROXY_TRACE_MILLION   1000000u

enum proxy_trace_form { /* a set: how a request told its context */
                        PROXY_TRACE_W3C = 1,
                        PROXY_TRACE_B3 = 2,       /* b3 */
                        PROXY_TRACE_B3_MULTI = 4, /* x-b3-traceid … */
};

struct proxy_trace_parent {
    unsigned forms; /* enum proxy_trace_form that were there and valid */
    bool has_ids;
    bool has_sampled; /* the decision was taken before us: */
    bool sampled;
    uint8_t trace_id[PROXY_TRACE_ID_SIZE];
    uint8_t span_id[PROXY_TRACE_SPAN_SIZE];
    struct fl_span state; /* tracestate, of the field; empty: none */
};

/* In millionths. */
struct proxy_trace_sampling {
    uint32_t client; /* of requests with x-client-trace-id */
    uint32_t random; /* of others */
    uint32_t overall;
};

struct proxy_trace { /* our part of it; zeroed: none */
    uint8_t trace_id[PROXY_TRACE_ID_SIZE];
    uint8_t span_id[PROXY_TRACE_SPAN_SIZE]; /* ours */
    uint8_t parent_id[PROXY_TRACE_SPAN_SIZE];
    bool on, has_parent, sampled;
};

/* version "-" trace-id "-" parent-id "-" flags (W3C Trace Context §3.2): lower-case hexadecimal, no zero id, not
 * version ff; of later versions the part that 00 has. Sets ids and decision. */
bool proxy_trace_parse_traceparent(struct fl_span text, struct proxy_trace_parent *ret_parent);
/* {trace-id}-{span-id}[-{0|1|d}[-{parent}]], or the decision alone. */
bool proxy_trace_parse_b3(struct fl_span text, struct proxy_trace_parent *ret_parent);
/* Members key=value, at most 32, of the characters that W3C allows. */
bool proxy_trace_state_valid(struct fl_span text);

void proxy_trace_read(const struct proxy_headers *headers, struct proxy_trace_parent *ret_parent);

/* Joins the parent's trace or starts one. random: four numbers; the first three make ids, the last the decision, where
 * the parent has none. */
void proxy_trace_start(const struct proxy_trace_parent *parent, const struct proxy_trace_sampling *sampling,
                       bool client_asks, const uint64_t random[4], struct proxy_trace *ret_trace);

/* Tells the next hop that span_id (ours, or one below it) is its parent. Texts are taken from the front of *scratch.
 * 0 or -E2BIG. */
int proxy_trace_write(const struct proxy_trace *trace, const struct proxy_trace_parent *parent,
                      const uint8_t span_id[PROXY_TRACE_SPAN_SIZE], struct proxy_headers *headers,
                      struct fl_span *scratch) FL_MUST_CHECK;

/* Two lower-case digits a byte. */
struct fl_span proxy_trace_hex(const uint8_t *bytes, size_t count, char *to);

#endif
