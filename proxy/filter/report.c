#include "proxy/filter/report.h"

#include "common/base/log.h"
#include "proxy/filter/label.h"
#include "proxy/tls/filter.h"

#include <errno.h>
#include <stdio.h>

#define DETAILS_MAX 64u

/* --- refused callers -------------------------------------------------------------------------------------------- */

struct refusal {
    const struct proxy_listener *listener;
    const struct proxy_address *peer, *destination;
    const char *reason, *detail;
    struct fl_span identity; /* verified; mostly empty, because what is refused comes before that */
    bool usual;              /* everyday life, like a probe that only connects: told at debug */
};

static bool is_off(enum fl_log_level level)
{
    return level > fl_log_get_level();
}

static uint64_t now_ms(const struct proxy_data *data)
{
    return fl_loop_now_ms(data->turn.loop);
}

static void print_address(const struct proxy_address *address, char to[PROXY_ADDRESS_TEXT_MAX])
{
    to[0] = '\0';
    if (address != NULL && proxy_address_is_set(address))
        proxy_address_print(address, to);
}

static void tell_refused(struct proxy_data *data, const struct refusal *refusal)
{
    enum fl_log_level level = refusal->usual ? FL_LOG_DEBUG : FL_LOG_WARNING;
    uint64_t suppressed = 0;
    if (is_off(level) || (!refusal->usual && !proxy_quota_take(&data->refused_quota, now_ms(data), &suppressed)))
        return;
    char peer[PROXY_ADDRESS_TEXT_MAX], destination[PROXY_ADDRESS_TEXT_MAX];
    print_address(refusal->peer, peer);
    print_address(refusal->destination, destination);
    fl_log(level, "connection refused", FL_LOG_STR("reason", refusal->reason), FL_LOG_STR("detail", refusal->detail),
           FL_LOG_STR("peer", peer), FL_LOG_SPAN("identity", refusal->identity), FL_LOG_STR("destination", destination),
           FL_LOG_SPAN("listener", refusal->listener->name), FL_LOG_NUM("suppressed", suppressed));
}

static void write_access_log(struct proxy_downstream *downstream, const char *details, uint32_t flag)
{
    const struct proxy_filter_chain *chain = downstream->chain;
    if (chain == NULL)
        return;
    bool tcp = chain->kind == PROXY_FILTER_TCP;
    const struct proxy_access_log *logs = tcp ? chain->tcp->access_logs : chain->http->access_logs;
    size_t count = tcp ? chain->tcp->access_log_count : chain->http->access_log_count;
    if (count == 0)
        return;
    struct proxy_log_record record;
    struct proxy_address local;
    proxy_label_record(downstream, NULL, NULL, &local, &record);
    record.protocol = PROXY_PROTOCOL_TCP;
    record.start_us = downstream->start_us;
    record.duration_us = (int64_t)((fl_loop_now_ns(downstream->data->turn.loop) - downstream->start_ns) / 1000);
    record.flags = flag;
    record.details = fl_span_str(details);
    proxy_data_log(downstream->data, logs, count, &record);
}

static void tell(struct proxy_downstream *downstream, const char *reason, bool usual, uint32_t flag)
{
    char details[DETAILS_MAX];
    snprintf(details, sizeof(details), "downstream_refused{%s}", reason);
    const struct proxy_tls *tls = proxy_tls_of(downstream->conn);
    const struct refusal refusal = {
        .listener = downstream->listener,
        .peer = proxy_conn_peer(downstream->conn),
        .destination = &downstream->destination,
        .reason = reason,
        .detail = proxy_conn_error(downstream->conn),
        .identity = tls != NULL ? proxy_tls_peer_identity(tls) : (struct fl_span){NULL, 0},
        .usual = usual,
    };
    downstream->details = reason;
    tell_refused(downstream->data, &refusal);
    write_access_log(downstream, details, flag);
}

void proxy_report_refused(struct proxy_downstream *downstream, enum proxy_refused reason)
{
    proxy_stats_refused(downstream->data->options.stats, reason);
    tell(downstream, proxy_refused_word(reason), false, PROXY_FLAG_DOWNSTREAM_PROTOCOL_ERROR);
}

void proxy_report_denied(struct proxy_downstream *downstream, const char *details)
{
    const struct proxy_tls *tls = proxy_tls_of(downstream->conn);
    const struct refusal refusal = {
        .listener = downstream->listener,
        .peer = proxy_conn_peer(downstream->conn),
        .destination = &downstream->destination,
        .reason = proxy_refused_word(PROXY_REFUSED_POLICY),
        .detail = details,
        .identity = tls != NULL ? proxy_tls_peer_identity(tls) : (struct fl_span){NULL, 0},
    };
    proxy_stats_refused(downstream->data->options.stats, PROXY_REFUSED_POLICY);
    downstream->details = details;
    tell_refused(downstream->data, &refusal);
    write_access_log(downstream, details, PROXY_FLAG_UNAUTHORIZED);
}

void proxy_report_shadow(const struct proxy_downstream *downstream, const struct proxy_message *request,
                         struct fl_span policy)
{
    struct proxy_data *data = downstream->data;
    uint64_t suppressed = 0;
    if (is_off(FL_LOG_INFO) || !proxy_quota_take(&data->shadow_quota, now_ms(data), &suppressed))
        return;
    const struct proxy_tls *tls = proxy_tls_of(downstream->conn);
    const struct fl_span none = {NULL, 0};
    char peer[PROXY_ADDRESS_TEXT_MAX], destination[PROXY_ADDRESS_TEXT_MAX];
    print_address(proxy_conn_peer(downstream->conn), peer);
    print_address(&downstream->destination, destination);
    fl_log(FL_LOG_INFO, "a policy on trial would deny",
           FL_LOG_SPAN("policy", policy.len > 0 ? policy : FL_SPAN("none")),
           FL_LOG_SPAN("identity", tls != NULL ? proxy_tls_peer_identity(tls) : none), FL_LOG_STR("peer", peer),
           FL_LOG_STR("destination", destination), FL_LOG_SPAN("method", request != NULL ? request->method : none),
           FL_LOG_SPAN("path", request != NULL ? proxy_message_path_only(request) : none),
           FL_LOG_NUM("suppressed", suppressed));
}

void proxy_report_not_accepted(struct proxy_data *data, const struct proxy_listener *listener,
                               const struct proxy_address *peer, const struct proxy_address *destination,
                               enum proxy_refused reason)
{
    const struct refusal refusal = {
        .listener = listener,
        .peer = peer,
        .destination = destination,
        .reason = proxy_refused_word(reason),
        .detail = "",
        .usual = reason == PROXY_REFUSED_DRAINING,
    };
    proxy_stats_refused(data->options.stats, reason);
    tell_refused(data, &refusal);
}

static enum proxy_handshake_failure failure_of(const struct proxy_tls *tls, enum proxy_end end)
{
    static const enum proxy_handshake_failure by_reason[] = {
        [FL_TLS_REASON_NONE] = PROXY_HANDSHAKE_OTHER,
        [FL_TLS_REASON_PLAINTEXT] = PROXY_HANDSHAKE_PROTOCOL,
        [FL_TLS_REASON_NO_CERTIFICATE] = PROXY_HANDSHAKE_NO_CERTIFICATE,
        [FL_TLS_REASON_UNTRUSTED] = PROXY_HANDSHAKE_UNTRUSTED,
        [FL_TLS_REASON_EXPIRED] = PROXY_HANDSHAKE_EXPIRED,
        [FL_TLS_REASON_IDENTITY] = PROXY_HANDSHAKE_IDENTITY,
        [FL_TLS_REASON_ALPN] = PROXY_HANDSHAKE_ALPN,
        [FL_TLS_REASON_ALERT] = PROXY_HANDSHAKE_ALERT,
        [FL_TLS_REASON_CLOSED] = PROXY_HANDSHAKE_CLOSED,
        [FL_TLS_REASON_PROTOCOL] = PROXY_HANDSHAKE_PROTOCOL,
        [FL_TLS_REASON_LOCAL] = PROXY_HANDSHAKE_OTHER,
    };
    if (end == PROXY_END_HANDSHAKE_TIMEOUT)
        return PROXY_HANDSHAKE_TIMEOUT;
    if (end == PROXY_END_HANDSHAKE_QUEUE)
        return PROXY_HANDSHAKE_QUEUE;
    if (end == PROXY_END_RESET || end == PROXY_END_TRUNCATED)
        return PROXY_HANDSHAKE_CLOSED;
    return end == PROXY_END_TLS ? by_reason[proxy_tls_reason(tls)] : PROXY_HANDSHAKE_OTHER;
}

void proxy_report_handshake_failed(struct proxy_downstream *downstream, enum proxy_end end)
{
    const struct proxy_tls *tls = proxy_tls_of(downstream->conn);
    if (proxy_tls_bad_preface(tls)) {
        proxy_report_refused(downstream, PROXY_REFUSED_BAD_PREFACE);
        return;
    }
    if (proxy_tls_reason(tls) == FL_TLS_REASON_PLAINTEXT) { /* however it ended */
        proxy_report_refused(downstream, PROXY_REFUSED_PLAINTEXT);
        return;
    }
    enum proxy_handshake_failure failure = failure_of(tls, end);
    bool left = failure == PROXY_HANDSHAKE_CLOSED;
    proxy_stats_handshake_failed(downstream->data->options.stats, PROXY_SIDE_DOWNSTREAM, failure);
    tell(downstream, proxy_handshake_word(failure), left,
         left ? PROXY_FLAG_DOWNSTREAM_CLOSE : PROXY_FLAG_DOWNSTREAM_PROTOCOL_ERROR);
}

/* --- upstreams -------------------------------------------------------------------------------------------------- */

static void tell_upstream(struct proxy_downstream *downstream, const struct proxy_cluster_run *cluster,
                          const struct proxy_address *endpoint, const char *reason, const char *detail)
{
    struct proxy_data *data = downstream->data;
    uint64_t suppressed = 0;
    if (is_off(FL_LOG_WARNING) || !proxy_quota_take(&data->upstream_quota, now_ms(data), &suppressed))
        return;
    char address[PROXY_ADDRESS_TEXT_MAX];
    print_address(endpoint, address);
    fl_log(FL_LOG_WARNING, "upstream connection failed",
           FL_LOG_SPAN("cluster", proxy_data_cluster_config(cluster)->name), FL_LOG_STR("endpoint", address),
           FL_LOG_STR("reason", reason), FL_LOG_STR("detail", detail), FL_LOG_NUM("suppressed", suppressed));
}

void proxy_report_upstream_closed(struct proxy_downstream *downstream, const struct proxy_cluster_run *cluster,
                                  const struct proxy_conn *conn, bool was_open, enum proxy_end end)
{
    struct proxy_stats *stats = downstream->data->options.stats;
    const struct proxy_tls *tls = proxy_tls_of(conn);
    bool rejected = tls != NULL && end == PROXY_END_TLS && proxy_tls_reason(tls) == FL_TLS_REASON_ALERT &&
                    proxy_conn_bytes_received(conn) == 0;
    if (was_open && !rejected)
        return;
    const char *detail = proxy_conn_error(conn), *reason;
    if (tls != NULL && end != PROXY_END_REFUSED && end != PROXY_END_CONNECT_TIMEOUT) {
        enum proxy_handshake_failure failure = failure_of(tls, end);
        proxy_stats_handshake_failed(stats, PROXY_SIDE_UPSTREAM, failure);
        reason = proxy_handshake_word(failure);
    } else {
        int error = end == PROXY_END_CONNECT_TIMEOUT ? -ETIMEDOUT : proxy_conn_errno(conn);
        proxy_stats_connect_failed(stats, error);
        reason = proxy_connect_word(error);
    }
    tell_upstream(downstream, cluster, proxy_conn_peer(conn), reason, detail[0] != '\0' ? detail : proxy_end_text(end));
}

void proxy_report_not_dialled(struct proxy_downstream *downstream, const struct proxy_cluster_run *cluster, int error)
{
    proxy_stats_connect_failed(downstream->data->options.stats, error);
    tell_upstream(downstream, cluster, NULL, proxy_connect_word(error), proxy_connect_text(error));
}

/* --- the life of a connection ------------------------------------------------------------------------------------ */

void proxy_report_picked(const struct proxy_downstream *downstream, bool is_tls)
{
    if (is_off(FL_LOG_DEBUG))
        return;
    char peer[PROXY_ADDRESS_TEXT_MAX], destination[PROXY_ADDRESS_TEXT_MAX];
    const struct proxy_filter_chain *chain = downstream->chain;
    print_address(proxy_conn_peer(downstream->conn), peer);
    print_address(&downstream->destination, destination);
    fl_log(FL_LOG_DEBUG, "connection accepted", FL_LOG_NUM("connection", downstream->id), FL_LOG_STR("peer", peer),
           FL_LOG_STR("destination", destination), FL_LOG_SPAN("listener", downstream->listener->name),
           FL_LOG_SPAN("chain", chain != NULL ? chain->name : FL_SPAN("none")),
           FL_LOG_STR("transport", chain != NULL && chain->tls != NULL ? "tls"
                                   : is_tls                            ? "foreign tls"
                                                                       : "plain"));
}

void proxy_report_upstream_chosen(const struct proxy_downstream *downstream, const struct proxy_upstream *upstream)
{
    if (is_off(FL_LOG_DEBUG))
        return;
    char endpoint[PROXY_ADDRESS_TEXT_MAX];
    print_address(proxy_upstream_address(upstream), endpoint);
    fl_log(FL_LOG_DEBUG, "upstream chosen", FL_LOG_NUM("connection", downstream->id),
           FL_LOG_SPAN("cluster", proxy_data_cluster_config(upstream->cluster)->name), FL_LOG_STR("endpoint", endpoint),
           FL_LOG_STR("from", upstream->reused ? "pool" : "dial"));
}

void proxy_report_ended(const struct proxy_downstream *downstream)
{
    if (is_off(FL_LOG_DEBUG))
        return;
    uint64_t duration_ns = fl_loop_now_ns(downstream->data->turn.loop) - downstream->start_ns;
    const char *reason = downstream->details != NULL && downstream->details[0] != '\0' ? downstream->details : "done";
    fl_log(FL_LOG_DEBUG, "connection ended", FL_LOG_NUM("connection", downstream->id), FL_LOG_STR("reason", reason),
           FL_LOG_NUM("duration_ms", duration_ns / 1000000));
}
