#include "proxy/filter/tcp.h"

#include "proxy/filter/early.h"
#include "proxy/filter/label.h"
#include "proxy/filter/proxied.h"
#include "proxy/filter/rbac.h"
#include "proxy/filter/report.h"
#include "proxy/tls/filter.h"

#include <errno.h>

#define COUNT_INTERVAL_MS 5000u

struct tcp {
    struct proxy_downstream *downstream;
    const struct proxy_tcp_config *config;
    struct proxy_cluster_run *cluster; /* counted; NULL: it was not there */
    struct proxy_upstream *upstream;   /* NULL between attempts, and when it is gone */
    struct proxy_edge *edge;           /* NULL until the connection is open on both sides */
    struct fl_timer idle, duration;
    uint64_t idle_bytes; /* passed when the idle timer was set */
    uint64_t counted_received, counted_sent, counted_ms;
    uint32_t attempts, flags;
    bool downstream_eof, upstream_eof;
    const char *details;
    char failure[PROXY_FAILURE_MAX]; /* of the upstream's transport */
    struct fl_deferred deferred;
};

static void tcp_free(struct fl_deferred *deferred)
{
    struct tcp *tcp = FL_CONTAINER_OF(deferred, struct tcp, deferred);
    proxy_cluster_run_unref(tcp->cluster);
    free(tcp);
}

static struct proxy_conn *upstream_conn(const struct tcp *tcp)
{
    return tcp->upstream != NULL ? tcp->upstream->conn : NULL;
}

/* Bytes as Istio counts them: "received" from the client, "sent" to it. */
static void count_bytes(struct tcp *tcp)
{
    const struct proxy_conn *conn = tcp->downstream->conn;
    if (tcp->edge == NULL || conn == NULL)
        return;
    uint64_t received = proxy_conn_bytes_received(conn), sent = proxy_conn_bytes_sent(conn);
    proxy_stats_tcp_bytes(tcp->edge, 0, received - tcp->counted_received, sent - tcp->counted_sent);
    tcp->counted_received = received;
    tcp->counted_sent = sent;
}

static void write_log(struct tcp *tcp)
{
    struct proxy_downstream *downstream = tcp->downstream;
    if (tcp->config->access_log_count == 0)
        return;
    struct proxy_log_record record;
    struct proxy_address local;
    proxy_label_record(downstream, tcp->cluster, upstream_conn(tcp), &local, &record);
    record.protocol = PROXY_PROTOCOL_TCP;
    record.start_us = downstream->start_us;
    record.duration_us = (int64_t)((fl_loop_now_ns(downstream->data->turn.loop) - downstream->start_ns) / 1000);
    record.flags = tcp->flags;
    record.details = fl_span_str(tcp->details);
    record.transport_failure = fl_span_str(tcp->failure);
    record.bytes_received = proxy_conn_bytes_received(downstream->conn);
    record.bytes_sent = proxy_conn_bytes_sent(downstream->conn);
    proxy_data_log(downstream->data, tcp->config->access_logs, tcp->config->access_log_count, &record);
}

/* The last step: both connections go, each in its way, with one line and the counts. */
static void end(struct tcp *tcp, enum proxy_close downstream_how, enum proxy_close upstream_how)
{
    struct proxy_downstream *downstream = tcp->downstream;
    count_bytes(tcp);
    if (tcp->edge != NULL)
        proxy_stats_tcp_closed(tcp->edge, tcp->flags);
    write_log(tcp);
    downstream->details = tcp->details;
    fl_timer_cancel(&tcp->idle);
    fl_timer_cancel(&tcp->duration);
    if (tcp->upstream != NULL)
        proxy_upstream_drop(fl_take(tcp->upstream), upstream_how);
    proxy_conn_close(fl_take(downstream->conn), downstream_how);
    fl_loop_defer(downstream->data->turn.loop, &tcp->deferred, tcp_free);
    proxy_downstream_end(downstream);
}

static void end_by_reset(struct tcp *tcp, uint32_t flag, const char *details)
{
    tcp->flags |= flag;
    tcp->details = details;
    end(tcp, PROXY_CLOSE_RESET, PROXY_CLOSE_RESET);
}

/* --- time ------------------------------------------------------------------------------------------------------- */

static void on_idle(struct fl_timer *timer)
{
    struct tcp *tcp = FL_CONTAINER_OF(timer, struct tcp, idle);
    const struct proxy_conn *conn = tcp->downstream->conn;
    uint64_t bytes = proxy_conn_bytes_received(conn) + proxy_conn_bytes_sent(conn);
    if (bytes == tcp->idle_bytes) {
        tcp->flags |= PROXY_FLAG_STREAM_IDLE_TIMEOUT;
        tcp->details = "idle_timeout";
        end(tcp, PROXY_CLOSE_FLUSH, PROXY_CLOSE_FLUSH);
        return;
    }
    count_bytes(tcp);
    tcp->idle_bytes = bytes;
    fl_timer_set(tcp->downstream->data->turn.loop, timer, tcp->config->idle_timeout_ms, on_idle);
}

static void watch_idle(struct tcp *tcp)
{
    const struct proxy_conn *conn = tcp->downstream->conn;
    fl_timer_cancel(&tcp->idle);
    tcp->idle_bytes = proxy_conn_bytes_received(conn) + proxy_conn_bytes_sent(conn);
    if (tcp->config->idle_timeout_ms > 0)
        fl_timer_set(tcp->downstream->data->turn.loop, &tcp->idle, tcp->config->idle_timeout_ms, on_idle);
}

static void on_duration(struct fl_timer *timer)
{
    struct tcp *tcp = FL_CONTAINER_OF(timer, struct tcp, duration);
    tcp->flags |= PROXY_FLAG_DURATION_TIMEOUT;
    tcp->details = "max_connection_duration";
    end(tcp, PROXY_CLOSE_FLUSH, PROXY_CLOSE_FLUSH);
}

/* --- both sides ------------------------------------------------------------------------------------------------- */

/* Long connections are counted while they live, as Istio does every few seconds. */
static void count_now_and_then(struct tcp *tcp)
{
    uint64_t now = fl_loop_now_ms(tcp->downstream->data->turn.loop);
    if (now - tcp->counted_ms < COUNT_INTERVAL_MS)
        return;
    tcp->counted_ms = now;
    proxy_slot_touch(tcp->downstream->listener->slot, now);
    count_bytes(tcp);
}

static size_t pass(struct proxy_conn *from, struct proxy_conn *to, struct fl_span bytes)
{
    proxy_conn_write(to, bytes);
    if (proxy_conn_is_backlogged(to))
        proxy_conn_pause(from);
    return bytes.len;
}

/* Both directions have ended: nothing more can come. */
static void end_if_both(struct tcp *tcp)
{
    if (tcp->downstream_eof && tcp->upstream_eof)
        end(tcp, PROXY_CLOSE_FLUSH, PROXY_CLOSE_FLUSH);
}

static size_t downstream_data(void *owner, struct fl_span bytes)
{
    struct tcp *tcp = owner;
    count_now_and_then(tcp);
    return pass(tcp->downstream->conn, upstream_conn(tcp), bytes);
}

static void downstream_eof(void *owner)
{
    struct tcp *tcp = owner;
    tcp->downstream_eof = true;
    proxy_conn_shutdown(upstream_conn(tcp));
    end_if_both(tcp);
}

static void downstream_writable(void *owner)
{
    struct tcp *tcp = owner;
    if (upstream_conn(tcp) != NULL)
        proxy_conn_resume(upstream_conn(tcp));
}

static void downstream_closed(void *owner, enum proxy_end why)
{
    struct tcp *tcp = owner;
    tcp->details = proxy_end_text(why);
    tcp->flags |= PROXY_FLAG_DOWNSTREAM_CLOSE;
    end(tcp, PROXY_CLOSE_NOW, PROXY_CLOSE_RESET);
}

static void ignore(void *owner)
{
    (void)owner;
}

static const struct proxy_conn_ops downstream_ops = {
    .on_open = ignore,
    .on_data = downstream_data,
    .on_eof = downstream_eof,
    .on_writable = downstream_writable,
    .on_closed = downstream_closed,
};

static void upstream_open(void *owner)
{
    struct tcp *tcp = owner;
    struct proxy_downstream *downstream = tcp->downstream;
    proxy_upstream_opened(tcp->upstream);
    proxy_upstream_report(tcp->upstream, PROXY_OUTLIER_CONNECTED, proxy_data_random(downstream->data));
    tcp->edge = proxy_label_edge(downstream, tcp->cluster, upstream_conn(tcp), PROXY_PROTOCOL_TCP);
    proxy_stats_tcp_opened(tcp->edge);
    proxy_conn_resume(downstream->conn);
}

static size_t upstream_data(void *owner, struct fl_span bytes)
{
    struct tcp *tcp = owner;
    count_now_and_then(tcp);
    return pass(upstream_conn(tcp), tcp->downstream->conn, bytes);
}

static void upstream_eof(void *owner)
{
    struct tcp *tcp = owner;
    tcp->upstream_eof = true;
    proxy_conn_shutdown(tcp->downstream->conn);
    end_if_both(tcp);
}

static void upstream_writable(void *owner)
{
    struct tcp *tcp = owner;
    proxy_conn_resume(tcp->downstream->conn);
}

static void dial(struct tcp *tcp);

static void upstream_closed(void *owner, enum proxy_end why)
{
    struct tcp *tcp = owner;
    const struct proxy_conn *conn = upstream_conn(tcp);
    proxy_report_upstream_closed(tcp->downstream, tcp->cluster, conn, tcp->edge != NULL, why);
    proxy_label_failure(tcp->failure, proxy_conn_error(conn));
    if (tcp->edge != NULL) { /* it was open */
        end_by_reset(tcp, PROXY_FLAG_UPSTREAM_RESET, proxy_end_text(why));
        return;
    }
    proxy_upstream_report(tcp->upstream, PROXY_OUTLIER_FAILED, proxy_data_random(tcp->downstream->data));
    tcp->upstream->conn = NULL;
    proxy_upstream_drop(fl_take(tcp->upstream), PROXY_CLOSE_NOW);
    tcp->details = proxy_end_text(why);
    dial(tcp);
}

static const struct proxy_conn_ops upstream_ops = {
    .on_open = upstream_open,
    .on_data = upstream_data,
    .on_eof = upstream_eof,
    .on_writable = upstream_writable,
    .on_closed = upstream_closed,
};

uint32_t proxy_tcp_draw(const struct proxy_tcp_config *config, uint32_t random)
{
    uint64_t at = (uint64_t)random * config->weight_sum >> 32; /* [0, weight_sum), without a division */
    size_t i = 0;
    if (config->weight_count == 0)
        return config->cluster_index;
    for (; i + 1 < config->weight_count && at >= config->weights[i].weight; i++)
        at -= config->weights[i].weight;
    return config->weights[i].cluster_index;
}

static bool find_cluster(struct tcp *tcp)
{
    struct proxy_data *data = tcp->downstream->data;
    struct proxy_cluster_run *cluster;
    int result = proxy_data_cluster(data, proxy_tcp_draw(tcp->config, (uint32_t)proxy_data_random(data)), &cluster);
    if (result == 0)
        tcp->cluster = proxy_cluster_run_ref(cluster);
    else if (result == -ENOENT)
        end_by_reset(tcp, PROXY_FLAG_NO_CLUSTER, "cluster_not_found");
    else
        end_by_reset(tcp, PROXY_FLAG_OVERLOAD, "out_of_memory");
    return result == 0;
}

/* One attempt after the other; when they are used up, the client is reset. */
static void dial(struct tcp *tcp)
{
    struct proxy_downstream *downstream = tcp->downstream;
    struct proxy_data *data = downstream->data;
    if (tcp->cluster == NULL && !find_cluster(tcp))
        return;
    while (tcp->attempts > 0) {
        tcp->attempts--;
        int result = proxy_upstream_get(tcp->cluster, &downstream->destination, PROXY_UPSTREAM_FRESH,
                                        proxy_data_random(data), &upstream_ops, tcp, &tcp->upstream);
        if (result == PROXY_UPSTREAM_OK && proxy_proxied_tell(downstream, tcp->upstream) < 0) {
            end_by_reset(tcp, PROXY_FLAG_OVERLOAD, "out_of_memory");
            return;
        }
        if (result == PROXY_UPSTREAM_OK) {
            proxy_report_upstream_chosen(downstream, tcp->upstream);
            return;
        }
        if (result == PROXY_UPSTREAM_NO_HOST || result == PROXY_UPSTREAM_OVERFLOW) {
            bool none = result == PROXY_UPSTREAM_NO_HOST;
            end_by_reset(tcp, none ? PROXY_FLAG_NO_HEALTHY_UPSTREAM : PROXY_FLAG_UPSTREAM_OVERFLOW,
                         none ? "no_healthy_upstream" : "upstream_overflow");
            return;
        }
        proxy_report_not_dialled(downstream, tcp->cluster, result);
        tcp->details = proxy_connect_text(result);
    }
    end_by_reset(tcp, PROXY_FLAG_UPSTREAM_CONNECT_FAILURE, tcp->details);
}

/* Its upstream was dialled while the client was silent: true. */
static bool take_early(struct tcp *tcp)
{
    struct proxy_early_taken taken;
    if (!proxy_early_take(tcp->downstream, tcp->config, &upstream_ops, tcp, &taken))
        return false;
    tcp->attempts--;
    tcp->cluster = taken.cluster;
    tcp->upstream = taken.upstream;
    proxy_report_upstream_chosen(tcp->downstream, tcp->upstream);
    if (taken.open)
        upstream_open(tcp);
    proxy_conn_resume(upstream_conn(tcp));
    return true;
}

static void drain(void *filter)
{
    (void)filter; /* opaque: it ends by itself, or when the drain time is over */
}

static void abort_now(void *filter)
{
    end_by_reset(filter, PROXY_FLAG_LOCAL_RESET, "drain_time_over");
}

/* Whether the configuration sends new connections nowhere: a destination that is refused now. */
static bool leads_nowhere(const struct tcp *tcp, const struct proxy_tcp_config *config)
{
    const struct proxy_snapshot *snapshot = tcp->downstream->data->snapshot;
    const struct proxy_cluster *cluster = proxy_snapshot_cluster(snapshot, config->cluster_index);
    if (config->weight_count > 0 || config->cluster_index == tcp->config->cluster_index || cluster == NULL ||
        cluster->type == PROXY_CLUSTER_ORIGINAL_DST)
        return false;
    const struct proxy_endpoints *endpoints = proxy_snapshot_endpoints(snapshot, cluster);
    return endpoints == NULL || endpoints->count == 0;
}

/* The upstream connection stays, also where new ones would go to another cluster. */
static void rebind(void *filter, const struct proxy_filter_chain *chain)
{
    struct tcp *tcp = filter;
    const char *details = NULL;
    if (!proxy_rbac_connection(tcp->downstream, chain, &details)) {
        end_by_reset(tcp, PROXY_FLAG_UNAUTHORIZED, details);
    } else if (leads_nowhere(tcp, chain->tcp)) {
        end_by_reset(tcp, PROXY_FLAG_NO_HEALTHY_UPSTREAM, "destination_refused");
    } else {
        tcp->config = chain->tcp;
        watch_idle(tcp);
    }
}

static const struct proxy_downstream_ops ops = {.drain = drain, .abort = abort_now, .rebind = rebind};

int proxy_tcp_start(struct proxy_downstream *downstream)
{
    struct tcp *tcp = calloc(1, sizeof(*tcp));
    if (tcp == NULL)
        return -ENOMEM;
    tcp->downstream = downstream;
    tcp->config = downstream->chain->tcp;
    tcp->attempts = tcp->config->connect_attempts;
    tcp->details = "";
    downstream->ops = &ops;
    downstream->filter = tcp;
    proxy_conn_set_owner(downstream->conn, &downstream_ops, tcp);
    proxy_conn_pause(downstream->conn); /* until the upstream is open */
    watch_idle(tcp);
    if (tcp->config->max_duration_ms > 0)
        fl_timer_set(downstream->data->turn.loop, &tcp->duration, tcp->config->max_duration_ms, on_duration);
    if (!take_early(tcp))
        dial(tcp);
    return 0;
}
