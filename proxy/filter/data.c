#include "proxy/filter/data.h"

#include "common/base/log.h"
#include "proxy/filter/downstream.h"
#include "proxy/filter/export.h"

#include <assert.h>
#include <errno.h>
#include <sys/random.h>

#define LOG_RETRY_MS 10u

/* --- access logs ------------------------------------------------------------------------------------------------ */

static void flush_logs(struct proxy_data *data);

static void retry_logs(struct fl_timer *timer)
{
    flush_logs(FL_CONTAINER_OF(timer, struct proxy_data, log_timer));
}

static void flush_logs(struct proxy_data *data)
{
    bool waiting = false;
    for (size_t i = 0; i < data->log_count; i++) {
        uint64_t dropped = data->logs[i].log.dropped;
        waiting |= proxy_log_flush(&data->logs[i].log) == 1;
        proxy_stats_log_dropped(data->options.stats, data->logs[i].log.dropped - dropped);
    }
    if (waiting && !fl_timer_is_set(&data->log_timer))
        fl_timer_set(data->turn.loop, &data->log_timer, LOG_RETRY_MS, retry_logs);
}

static void run_logs(struct fl_hook *hook)
{
    flush_logs(FL_CONTAINER_OF(hook, struct proxy_data, log_hook));
}

static struct proxy_log *find_log(struct proxy_data *data, struct fl_span path)
{
    for (size_t i = 0; i < data->log_count; i++) {
        if (fl_span_eq_str(path, data->logs[i].path))
            return &data->logs[i].log;
    }
    return NULL;
}

/* A log that cannot be opened does not stop traffic: its lines are dropped and counted. */
static void open_log(struct proxy_data *data, struct fl_span path)
{
    if (find_log(data, path) != NULL || data->log_count == PROXY_DATA_LOGS_MAX)
        return;
    char *copy = fl_span_dup(path);
    if (copy == NULL)
        return;
    struct fl_err err;
    if (proxy_log_open(&data->logs[data->log_count].log, copy, &err) < 0) {
        fl_log(FL_LOG_WARNING, "an access log cannot be opened", FL_LOG_STR("reason", err.text));
        free(copy);
        return;
    }
    data->logs[data->log_count++].path = copy;
}

static void open_logs(struct proxy_data *data, const struct proxy_filter_chain *chain)
{
    bool tcp = chain->kind == PROXY_FILTER_TCP;
    const struct proxy_access_log *logs = tcp ? chain->tcp->access_logs : chain->http->access_logs;
    size_t count = tcp ? chain->tcp->access_log_count : chain->http->access_log_count;
    for (size_t i = 0; i < count; i++)
        open_log(data, logs[i].path);
}

void proxy_data_reopen_logs(struct proxy_data *data)
{
    for (size_t i = 0; i < data->log_count; i++) {
        struct fl_err err;
        if (proxy_log_reopen(&data->logs[i].log, data->logs[i].path, &err) < 0)
            fl_log(FL_LOG_WARNING, "an access log cannot be reopened", FL_LOG_STR("reason", err.text));
    }
    flush_logs(data);
}

void proxy_data_log(struct proxy_data *data, const struct proxy_access_log *logs, size_t count,
                    const struct proxy_log_record *record)
{
    for (size_t i = 0; i < count; i++) {
        struct proxy_log *log = find_log(data, logs[i].path);
        if (log == NULL) {
            proxy_stats_log_dropped(data->options.stats, 1);
            continue;
        }
        uint64_t dropped = log->dropped;
        proxy_log_write(log, logs[i].format, record);
        proxy_stats_log_dropped(data->options.stats, log->dropped - dropped);
    }
    if (count > 0)
        fl_hook_arm(data->turn.loop, &data->log_hook);
}

/* --- generations ------------------------------------------------------------------------------------------------ */

static void generation_free(struct proxy_generation *generation)
{
    for (size_t i = 0; generation->clusters != NULL && i < generation->snapshot->cluster_count; i++)
        proxy_cluster_run_free(generation->clusters[i]);
    free(generation->clusters);
    fl_buf_done(&generation->preface);
    proxy_snapshot_unref(generation->snapshot);
    free(generation);
}

static void run_generation_free(struct fl_deferred *deferred)
{
    generation_free(FL_CONTAINER_OF(deferred, struct proxy_generation, deferred));
}

struct proxy_generation *proxy_generation_ref(struct proxy_generation *generation)
{
    generation->references++;
    return generation;
}

void proxy_generation_unref(struct proxy_generation *generation)
{
    if (generation == NULL || --generation->references > 0)
        return;
    /* Connections that ended in this turn still point to contexts and prefaces until its end. */
    fl_loop_defer(generation->data->turn.loop, &generation->deferred, run_generation_free);
}

static void generation_retire(struct proxy_generation *generation)
{
    if (generation == NULL)
        return;
    generation->retired = true;
    for (size_t i = 0; i < generation->snapshot->cluster_count; i++)
        proxy_cluster_run_retire(generation->clusters[i]);
    proxy_generation_unref(generation);
}

static enum proxy_balance balance_of(enum proxy_lb_policy policy)
{
    switch (policy) {
    case PROXY_LB_LEAST_REQUEST:
        return PROXY_BALANCE_LEAST_REQUEST;
    case PROXY_LB_RANDOM:
        return PROXY_BALANCE_RANDOM;
    case PROXY_LB_ROUND_ROBIN:
    case PROXY_LB_ORIGINAL_DST:
        break;
    }
    return PROXY_BALANCE_ROUND_ROBIN;
}

static void count_upstream(void *owner, bool opened)
{
    const struct proxy_data *data = owner;
    if (opened)
        proxy_stats_connection_opened(data->options.stats, PROXY_SIDE_UPSTREAM);
    else
        proxy_stats_connection_closed(data->options.stats, PROXY_SIDE_UPSTREAM);
}

static void count_overflow(void *owner, enum proxy_upstream_limit limit)
{
    const struct proxy_data *data = owner;
    proxy_stats_overflow(data->options.stats, limit);
}

static void count_outlier(void *owner, enum proxy_outlier_kind kind, bool ejected)
{
    const struct proxy_data *data = owner;
    proxy_stats_outlier(data->options.stats, kind, ejected);
}

static int run_cluster(struct proxy_generation *generation, const struct proxy_cluster *cluster,
                       struct proxy_cluster_run **ret_run)
{
    FL_CLEANUP(fl_cleanup_free)
    struct proxy_cluster_endpoint *endpoints = calloc(cluster->endpoint_count + 1, sizeof(*endpoints));
    if (endpoints == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < cluster->endpoint_count; i++) {
        const struct proxy_endpoint *from = &cluster->endpoints[i];
        endpoints[i] = (struct proxy_cluster_endpoint){from->address, from->healthy ? from->weight : 0, from->priority};
    }
    const struct proxy_cluster_options options = {
        .name = cluster->name,
        .original_dst = cluster->type == PROXY_CLUSTER_ORIGINAL_DST,
        .original_dst_port = (uint16_t)cluster->original_dst_port,
        .balance = {balance_of(cluster->lb_policy), cluster->choice_count, cluster->panic_percent},
        .endpoints = endpoints,
        .endpoint_count = cluster->endpoint_count,
        .tls = cluster->tls,
        .preface = fl_buf_span(&generation->preface),
        .bind_v4 = cluster->bind_v4,
        .bind_v6 = cluster->bind_v6,
        .bind_freebind = cluster->bind_freebind,
        .keepalive = {cluster->keepalive_time_s, cluster->keepalive_interval_s, cluster->keepalive_probes},
        .buffer_limit_bytes = cluster->buffer_limit_bytes,
        .connect_timeout_ms = cluster->connect_timeout_ms,
        .idle_timeout_ms = cluster->idle_timeout_ms,
        .limits = {[PROXY_UPSTREAM_LIMIT_CONNECTIONS] = cluster->max_connections,
                   [PROXY_UPSTREAM_LIMIT_PENDING] = cluster->max_pending_requests,
                   [PROXY_UPSTREAM_LIMIT_REQUESTS] = cluster->max_requests,
                   [PROXY_UPSTREAM_LIMIT_RETRIES] = cluster->max_retries},
        .retry_budget_percent = cluster->retry_budget_percent,
        .retry_min = cluster->retry_min,
        .outlier = cluster->outlier,
        .shared = generation->data->options.shared,
        .max_requests_per_connection = cluster->max_requests_per_connection,
        .on_count = count_upstream,
        .on_overflow = count_overflow,
        .on_outlier = count_outlier,
        .owner = generation->data,
    };
    return proxy_cluster_run_new(&generation->data->turn, &options, ret_run);
}

static int generation_build(struct proxy_generation *generation)
{
    const struct proxy_snapshot *snapshot = generation->snapshot;
    int result = fl_preface_print(&snapshot->node.preface, &generation->preface);
    generation->clusters = calloc(snapshot->cluster_count + 1, sizeof(struct proxy_cluster_run *));
    if (generation->clusters == NULL)
        return -ENOMEM;
    for (size_t i = 0; result >= 0 && i < snapshot->cluster_count; i++)
        result = run_cluster(generation, &snapshot->clusters[i], &generation->clusters[i]);
    return result;
}

int proxy_data_apply(struct proxy_data *data, struct proxy_snapshot *snapshot)
{
    struct proxy_generation *generation = calloc(1, sizeof(*generation));
    if (generation == NULL)
        return -ENOMEM;
    generation->data = data;
    generation->references = 1;
    generation->snapshot = proxy_snapshot_ref(snapshot);
    fl_buf_init(&generation->preface, FL_PREFACE_HEAD + FL_PREFACE_BODY_MAX);
    int result = generation_build(generation);
    if (result < 0) {
        generation_free(generation);
        return result;
    }
    for (size_t i = 0; i < snapshot->listener_count; i++) {
        const struct proxy_listener *listener = &snapshot->listeners[i];
        for (size_t k = 0; k < listener->chain_count; k++)
            open_logs(data, &listener->chains[k]);
        if (listener->default_chain != NULL)
            open_logs(data, listener->default_chain);
    }
    generation_retire(data->generation);
    data->generation = generation;
    proxy_downstream_drain_retired(data);
    return 0;
}

/* --- life ------------------------------------------------------------------------------------------------------- */

void proxy_data_check_drained(struct proxy_data *data)
{
    if (data->draining && data->downstream_count == 0 && data->turn.closing == NULL && !proxy_exporters_busy(data) &&
        data->options.on_drained != NULL)
        data->options.on_drained(data->options.owner);
}

static void on_settled(struct proxy_turn *turn)
{
    proxy_data_check_drained(FL_CONTAINER_OF(turn, struct proxy_data, turn));
}

int proxy_data_init(struct proxy_data *data, const struct proxy_data_options *options)
{
    memset(data, 0, sizeof(*data));
    data->options = *options;
    if (data->options.connections_max == 0)
        data->options.connections_max = PROXY_DATA_CONNECTIONS_MAX;
    data->log_hook.run = run_logs;
    if (getrandom(&data->random_state, sizeof(data->random_state), 0) != sizeof(data->random_state))
        data->random_state = fl_loop_now_ns(options->loop);
    data->random_state |= 1;
    proxy_jwt_cache_init(&data->jwt_cache);
    int result = proxy_turn_init(&data->turn, options->loop);
    data->turn.on_settled = on_settled;
    return result;
}

void proxy_data_abort(struct proxy_data *data)
{
    proxy_downstream_abort_all(data);
    proxy_exporters_free(data);
    generation_retire(fl_take(data->generation));
    proxy_turn_abort(&data->turn);
}

void proxy_data_done(struct proxy_data *data)
{
    assert(data->downstream_count == 0 && data->generation == NULL);
    fl_timer_cancel(&data->log_timer);
    if (data->turn.loop != NULL)
        fl_hook_disarm(&data->log_hook);
    for (size_t i = 0; i < data->log_count; i++) {
        proxy_log_done(&data->logs[i].log);
        free(data->logs[i].path);
    }
    data->log_count = 0;
    proxy_jwt_cache_done(&data->jwt_cache);
    proxy_turn_done(&data->turn);
}

void proxy_data_drain(struct proxy_data *data)
{
    data->draining = true;
    proxy_downstream_drain_all(data);
    proxy_exporters_flush(data);
    proxy_data_check_drained(data);
}

/* xorshift64*: for balancing, never for secrets. */
uint64_t proxy_data_random(struct proxy_data *data)
{
    uint64_t x = data->random_state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    data->random_state = x;
    return x * 2685821657736338717u;
}

uint64_t proxy_data_now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}
