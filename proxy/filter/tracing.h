/* A request's span: it joins the trace that the request came with, or starts one; the next hop is told; when the
 * exchange ends the span goes to the exporter, if it is sampled.
 *
 * One span per request and proxy: SERVER, or CLIENT on outbound listeners. With spawn_upstream_span there are two, the
 * client's below the server's. Names of attributes are OpenTelemetry's semantic conventions, and Envoy's and Istio's
 * where those have none.
 */
#ifndef PROXY_FILTER_TRACING_H
#define PROXY_FILTER_TRACING_H

#include "proxy/filter/exchange.h"

/* Reads what data->request came with; decides. Nothing where tracing is not configured. */
void proxy_tracing_begin(struct proxy_exchange_run *exchange, struct proxy_trace_parent *ret_parent);
/* Writes what the upstream is told into data->request. 0 or -E2BIG. */
int proxy_tracing_write(struct proxy_exchange_run *exchange, const struct proxy_trace_parent *parent,
                        struct fl_span *scratch) FL_MUST_CHECK;
/* `record` is filled in. */
void proxy_tracing_end(struct proxy_exchange_run *exchange, const struct proxy_log_record *record,
                       uint64_t duration_ns);

#endif
