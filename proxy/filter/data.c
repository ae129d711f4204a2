#include "proxy/filter/data.h"

#include "common/base/log.h"
#include "proxy/filter/clusters.h"
#include "proxy/filter/downstream.h"
#include "proxy/filter/exchange.h"
#include "proxy/filter/export.h"
#include "proxy/filter/mirror.h"

#include <assert.h>
#include <errno.h>
#include <sys/random.h>

#define LOG_RETRY_MS 10u
#define LOG_DELAY_MS 20u /* a line waits so long for others, so that a reader is woken once for all of them */

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

/* Where enough has come together it goes out at the end of the turn, else a little later. */
static void flush_logs_soon(struct proxy_data *data, bool now)
{
    if (now)
        fl_hook_arm(data->turn.loop, &data->log_hook);
    else if (!fl_timer_is_set(&data->log_timer))
        fl_timer_set(data->turn.loop, &data->log_timer, LOG_DELAY_MS, retry_logs);
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
    bool full = false;
    for (size_t i = 0; i < count; i++) {
        struct proxy_log *log = find_log(data, logs[i].path);
        if (log == NULL) {
            proxy_stats_log_dropped(data->options.stats, 1);
            continue;
        }
        uint64_t dropped = log->dropped;
        proxy_log_write(log, logs[i].format, record);
        proxy_stats_log_dropped(data->options.stats, log->dropped - dropped);
        full |= log->len >= PROXY_LOG_FLUSH;
    }
    if (count > 0)
        flush_logs_soon(data, full);
}

/* --- snapshots -------------------------------------------------------------------------------------------------- */

/* Room for state in every slot. */
static int grow(struct proxy_data *data, const struct proxy_snapshot *snapshot)
{
    int result = proxy_clusters_grow(data, snapshot->cluster_slots);
    size_t count = snapshot->listener_slots;
    if (result < 0 || count <= data->listener_slots)
        return result;
    struct proxy_listener_state *listeners = realloc(data->listeners, count * sizeof(*listeners));
    if (listeners == NULL)
        return -ENOMEM;
    memset(listeners + data->listener_slots, 0, (count - data->listener_slots) * sizeof(*listeners));
    data->listeners = listeners;
    data->listener_slots = count;
    return 0;
}

static void open_listener_logs(struct proxy_data *data, const struct proxy_listener *listener)
{
    for (size_t i = 0; i < listener->chain_count; i++)
        open_logs(data, &listener->chains[i]);
    if (listener->default_chain != NULL)
        open_logs(data, listener->default_chain);
}

/* Logs of what is new; connections of what has changed are looked at soon. */
static void compare_listeners(struct proxy_data *data, const struct proxy_snapshot *before)
{
    for (uint32_t i = 0; i < data->listener_slots; i++) {
        const struct proxy_listener *listener = proxy_snapshot_listener(data->snapshot, i);
        if (before != NULL && listener == proxy_snapshot_listener(before, i))
            continue;
        if (listener != NULL)
            open_listener_logs(data, listener);
        data->listeners[i].rebind = data->listeners[i].first;
        if (data->listeners[i].first != NULL)
            fl_hook_arm(data->turn.loop, &data->rebind_hook);
    }
}

int proxy_data_apply(struct proxy_data *data, struct proxy_snapshot *snapshot)
{
    struct fl_buf preface;
    fl_buf_init(&preface, FL_PREFACE_HEAD + FL_PREFACE_BODY_MAX);
    int result = grow(data, snapshot);
    if (result == 0)
        result = fl_preface_print(&snapshot->node.preface, &preface);
    if (result < 0) {
        fl_buf_done(&preface);
        return result;
    }
    struct proxy_snapshot *before = data->snapshot;
    data->snapshot = proxy_snapshot_ref(snapshot);
    proxy_clusters_compare(data);
    fl_buf_done(&data->preface_buf);
    data->preface_buf = preface;
    data->preface = fl_buf_span(&data->preface_buf);
    compare_listeners(data, before);
    proxy_snapshot_unref(before);
    proxy_downstream_resolve(data);
    return 0;
}

static void run_rebinds(struct fl_hook *hook)
{
    proxy_downstream_rebind(FL_CONTAINER_OF(hook, struct proxy_data, rebind_hook));
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

static void on_trim(struct proxy_turn *turn)
{
    proxy_exchange_free_spare(FL_CONTAINER_OF(turn, struct proxy_data, turn));
}

int proxy_data_init(struct proxy_data *data, const struct proxy_data_options *options)
{
    memset(data, 0, sizeof(*data));
    data->options = *options;
    if (data->options.connections_max == 0)
        data->options.connections_max = PROXY_DATA_CONNECTIONS_MAX;
    data->log_hook.run = run_logs;
    data->rebind_hook.run = run_rebinds;
    if (getrandom(&data->random_state, sizeof(data->random_state), 0) != sizeof(data->random_state))
        data->random_state = fl_loop_now_ns(options->loop);
    data->random_state |= 1;
    proxy_jwt_cache_init(&data->jwt_cache);
    data->scratch = malloc(PROXY_DATA_SCRATCH + PROXY_DATA_NAMES);
    int result = data->scratch != NULL ? proxy_turn_init(&data->turn, options->loop) : -ENOMEM;
    data->turn.on_settled = on_settled;
    data->turn.on_trim = on_trim;
    return result;
}

void proxy_data_abort(struct proxy_data *data)
{
    proxy_downstream_abort_all(data);
    proxy_mirrors_abort(data);
    proxy_exporters_free(data);
    proxy_clusters_drop(data);
    proxy_turn_abort(&data->turn);
}

void proxy_data_done(struct proxy_data *data)
{
    assert(data->downstream_count == 0 && data->cluster_slots == 0);
    fl_timer_cancel(&data->log_timer);
    fl_timer_cancel(&data->rebind_timer);
    if (data->turn.loop != NULL)
        fl_hook_disarm(&data->log_hook);
    if (data->turn.loop != NULL)
        fl_hook_disarm(&data->rebind_hook);
    data->snapshot = proxy_snapshot_unref(data->snapshot);
    proxy_exchange_free_spare(data);
    free(fl_take(data->scratch));
    free(fl_take(data->listeners));
    data->listener_slots = 0;
    fl_buf_done(&data->preface_buf);
    for (size_t i = 0; i < data->log_count; i++) {
        proxy_log_done(&data->logs[i].log);
        free(data->logs[i].path);
    }
    data->log_count = 0;
    proxy_jwt_cache_done(&data->jwt_cache);
    proxy_learned_done(&data->learned);
    proxy_turn_done(&data->turn);
}

void proxy_data_drain(struct proxy_data *data)
{
    data->draining = true;
    proxy_data_leave(data);
    proxy_exporters_flush(data);
    proxy_data_check_drained(data);
}

void proxy_data_shed(struct proxy_data *data, enum proxy_shed stage, size_t lean_above, size_t max)
{
    struct proxy_turn *turn = &data->turn;
    bool more = stage > turn->shed;
    turn->shed = stage;
    turn->pool.lean_above = lean_above;
    turn->pool.max = max;
    turn->pool.lean = stage >= PROXY_SHED_STOP_READING;
    if (more)
        proxy_turn_trim(turn);
    if (more && stage >= PROXY_SHED_CLOSE_IDLE) {
        proxy_clusters_close_idle(data);
        proxy_downstream_drain_all(data);
    }
}

void proxy_data_leave(struct proxy_data *data)
{
    data->leaving = true;
    proxy_downstream_drain_all(data);
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
