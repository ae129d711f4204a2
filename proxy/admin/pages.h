/* The admin pages as text: pure functions of a snapshot (and the clock), each appends to a buffer. 0, -ENOMEM,
 * -EMSGSIZE. */
#ifndef PROXY_ADMIN_PAGES_H
#define PROXY_ADMIN_PAGES_H

#include "common/base/buf.h"
#include "proxy/admin/admin.h"

struct proxy_server_facts {
    enum proxy_server_state state;
    enum proxy_gate_state gate;
    uint64_t uptime_s, drain_time_ms;
    unsigned workers;
};

/* ?name=value&flag. Empty where it is not there, or has no value. Nothing is unescaped: no name or value needs it. */
struct fl_span proxy_query_get(struct fl_span query, const char *name);
bool proxy_query_has(struct fl_span query, const char *name); /* with or without a value */

const char *proxy_server_state_name(enum proxy_server_state state); /* "LIVE" … */

int proxy_page_server_info(const struct proxy_snapshot *snapshot, const struct proxy_server_facts *facts,
                           struct fl_buf *out) FL_MUST_CHECK;
int proxy_page_listeners(const struct proxy_snapshot *snapshot, bool json, struct fl_buf *out) FL_MUST_CHECK;
int proxy_page_clusters(const struct proxy_snapshot *snapshot, bool json, struct fl_buf *out) FL_MUST_CHECK;
/* An exposition (common/metrics/expose.h) as Envoy's /stats: "name{labels}: value", in JSON
 * {"stats":[{"name","value"}]}; of a histogram its _sum and _count. filter: what a line must contain; empty: all. */
int proxy_page_stats(struct fl_span exposed, struct fl_span filter, bool json, struct fl_buf *out) FL_MUST_CHECK;
int proxy_page_certs(const struct proxy_snapshot *snapshot, int64_t now, struct fl_buf *out) FL_MUST_CHECK;
int proxy_page_memory(struct fl_buf *out) FL_MUST_CHECK;

#endif
