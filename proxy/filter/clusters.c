#include "proxy/filter/clusters.h"

#include <errno.h>

/* A cluster at work, with the units that its options point to. It lives as long as the run, whose owner it is. */
struct proxy_cluster_state {
    struct proxy_data *data;
    struct proxy_cluster_run *run;
    const struct proxy_cluster *cluster;
    const struct proxy_endpoints *endpoints; /* NULL: none */
    struct proxy_unit *units[2];             /* counted: of the two */
    bool stale;                              /* the snapshot in force has other units for the slot */
};

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
    const struct proxy_data *data = ((const struct proxy_cluster_state *)owner)->data;
    if (opened)
        proxy_stats_connection_opened(data->options.stats, PROXY_SIDE_UPSTREAM);
    else
        proxy_stats_connection_closed(data->options.stats, PROXY_SIDE_UPSTREAM);
}

static void count_overflow(void *owner, enum proxy_upstream_limit limit)
{
    const struct proxy_data *data = ((const struct proxy_cluster_state *)owner)->data;
    proxy_stats_overflow(data->options.stats, limit);
}

static void count_outlier(void *owner, enum proxy_outlier_kind kind, bool ejected)
{
    const struct proxy_data *data = ((const struct proxy_cluster_state *)owner)->data;
    proxy_stats_outlier(data->options.stats, kind, ejected);
}

static struct fl_tls_context *tls_of(void *owner, const void *transport)
{
    const struct proxy_cluster_state *state = owner;
    return proxy_snapshot_tls(state->data->snapshot, transport);
}

static void state_free(void *owner)
{
    struct proxy_cluster_state *state = owner;
    proxy_unit_unref(state->units[0]);
    proxy_unit_unref(state->units[1]);
    free(state);
}

/* -- options -- */

static struct proxy_cluster_endpoint *list_endpoints(const struct proxy_cluster *cluster,
                                                     const struct proxy_endpoints *endpoints)
{
    size_t count = endpoints != NULL ? endpoints->count : 0;
    struct proxy_cluster_endpoint *list = calloc(count + 1, sizeof(*list));
    for (size_t i = 0; list != NULL && i < count; i++) {
        const struct proxy_endpoint *from = &endpoints->list[i];
        list[i] = (struct proxy_cluster_endpoint){
            .address = from->address,
            .other = from->other,
            .weight = from->healthy ? from->weight : 0,
            .priority = from->priority,
            .transport = proxy_cluster_transport(cluster, from),
            .identity = from->identity,
            .gate = from->gate,
        };
    }
    return list;
}

static struct proxy_cluster_options options_of(struct proxy_cluster_state *state, const struct proxy_cluster *cluster)
{
    return (struct proxy_cluster_options){
        .name = cluster->name,
        .original_dst = cluster->type == PROXY_CLUSTER_ORIGINAL_DST,
        .original_dst_port = (uint16_t)cluster->original_dst_port,
        .balance = {balance_of(cluster->lb_policy), cluster->choice_count, cluster->panic_percent},
        .transport = cluster->tls,
        .tls_of = tls_of,
        .preface = &state->data->preface,
        .http = (enum proxy_cluster_http)cluster->http,
        .h2 = cluster->h2,
        .scratch = {&state->data->response, &state->data->trailers},
        .bind_v4 = cluster->bind_v4,
        .bind_v6 = cluster->bind_v6,
        .bind_freebind = cluster->bind_freebind,
        .proxy_protocol = cluster->proxy_protocol,
        .keepalive = {cluster->keepalive_time_s, cluster->keepalive_interval_s, cluster->keepalive_probes,
                      cluster->user_timeout_ms},
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
        .shared = state->data->options.shared,
        .max_requests_per_connection = cluster->max_requests_per_connection,
        .on_count = count_upstream,
        .on_overflow = count_overflow,
        .on_outlier = count_outlier,
        .on_free = state_free,
        .owner = state,
    };
}

/* Runs `make` with the options for cluster and endpoints. */
static int with_options(struct proxy_cluster_state *state, const struct proxy_cluster *cluster,
                        const struct proxy_endpoints *endpoints,
                        int (*make)(struct proxy_cluster_state *state, const struct proxy_cluster_options *options))
{
    struct proxy_cluster_options options = options_of(state, cluster);
    struct proxy_cluster_endpoint *list = list_endpoints(cluster, endpoints);
    if (list == NULL)
        return -ENOMEM;
    options.endpoints = list;
    options.endpoint_count = endpoints != NULL ? endpoints->count : 0;
    int result = make(state, &options);
    free(list);
    return result;
}

static int make_run(struct proxy_cluster_state *state, const struct proxy_cluster_options *options)
{
    return proxy_cluster_run_new(&state->data->turn, options, &state->run);
}

static int stage_run(struct proxy_cluster_state *state, const struct proxy_cluster_options *options)
{
    return proxy_cluster_run_stage(state->run, options);
}

/* What the state points to from now on; what it pointed to may go. */
static void hold(struct proxy_cluster_state *state, const struct proxy_cluster *cluster,
                 const struct proxy_endpoints *endpoints)
{
    struct proxy_unit *const before[2] = {state->units[0], state->units[1]};
    state->cluster = cluster;
    state->endpoints = endpoints;
    state->units[0] = proxy_unit_ref(cluster->unit);
    state->units[1] = endpoints != NULL ? proxy_unit_ref(endpoints->unit) : NULL;
    proxy_unit_unref(before[0]);
    proxy_unit_unref(before[1]);
}

/* -- at first use -- */

static int make_state(struct proxy_data *data, uint32_t slot, const struct proxy_cluster *cluster)
{
    const struct proxy_endpoints *endpoints = proxy_snapshot_endpoints(data->snapshot, cluster);
    struct proxy_cluster_state *state = calloc(1, sizeof(*state));
    if (state == NULL)
        return -ENOMEM;
    state->data = data;
    int result = with_options(state, cluster, endpoints, make_run);
    if (result < 0) {
        free(state);
        return result;
    }
    hold(state, cluster, endpoints);
    data->clusters[slot] = state;
    return 0;
}

/* -- when a snapshot has changed it -- */

static void let_go(struct proxy_data *data, uint32_t slot)
{
    struct proxy_cluster_state *state = fl_take(data->clusters[slot]);
    proxy_cluster_run_retire(state->run);
    proxy_cluster_run_unref(state->run);
}

/* Whether it goes on as this cluster. */
static bool is_same(const struct proxy_cluster_state *state, const struct proxy_cluster *cluster)
{
    return cluster != NULL && fl_span_eq(state->cluster->name, cluster->name) &&
           (state->cluster->type == PROXY_CLUSTER_ORIGINAL_DST) == (cluster->type == PROXY_CLUSTER_ORIGINAL_DST);
}

/* Brings the state of a slot, if there is one, to the snapshot in force. 0 or -ENOMEM: it stays stale, and is tried
 * again. */
static int refresh(struct proxy_data *data, uint32_t slot)
{
    struct proxy_cluster_state *state = data->clusters[slot];
    if (state == NULL || !state->stale)
        return 0;
    const struct proxy_cluster *cluster = proxy_snapshot_cluster(data->snapshot, slot);
    if (!is_same(state, cluster)) {
        let_go(data, slot);
        return 0;
    }
    const struct proxy_endpoints *endpoints = proxy_snapshot_endpoints(data->snapshot, cluster);
    int result = with_options(state, cluster, endpoints, stage_run);
    if (result < 0)
        return result;
    proxy_cluster_run_commit(state->run);
    hold(state, cluster, endpoints);
    state->stale = false;
    return 0;
}

/* -- for who uses it -- */

int proxy_data_cluster(struct proxy_data *data, uint32_t slot, struct proxy_cluster_run **ret_cluster)
{
    const struct proxy_cluster *cluster = proxy_snapshot_cluster(data->snapshot, slot);
    if (cluster == NULL)
        return -ENOENT;
    proxy_slot_touch(cluster->slot, fl_loop_now_ms(data->turn.loop));
    int result = refresh(data, slot);
    if (result == 0 && data->clusters[slot] == NULL)
        result = make_state(data, slot, cluster);
    if (result == 0)
        *ret_cluster = data->clusters[slot]->run;
    return result;
}

const struct proxy_cluster *proxy_data_cluster_config(const struct proxy_cluster_run *cluster)
{
    return cluster != NULL ? ((const struct proxy_cluster_state *)proxy_cluster_run_options(cluster)->owner)->cluster
                           : NULL;
}

/* -- at a new snapshot -- */

int proxy_clusters_grow(struct proxy_data *data, size_t slots)
{
    if (slots <= data->cluster_slots)
        return 0;
    struct proxy_cluster_state **clusters = realloc(data->clusters, slots * sizeof(*clusters));
    if (clusters == NULL)
        return -ENOMEM;
    memset(clusters + data->cluster_slots, 0, (slots - data->cluster_slots) * sizeof(*clusters));
    data->clusters = clusters;
    data->cluster_slots = slots;
    return 0;
}

static void refresh_some(struct fl_timer *timer)
{
    struct proxy_data *data = FL_CONTAINER_OF(timer, struct proxy_data, refresh_timer);
    unsigned left = PROXY_DATA_REFRESHES;
    bool failed = false;
    for (; data->refresh_next < data->cluster_slots && left > 0; data->refresh_next++) {
        struct proxy_cluster_state *state = data->clusters[data->refresh_next];
        if (state == NULL || !state->stale)
            continue;
        left--;
        failed |= refresh(data, data->refresh_next) < 0;
    }
    if (failed || data->refresh_next < data->cluster_slots)
        fl_timer_set(data->turn.loop, timer, failed ? PROXY_DATA_RETRY_MS : 0, refresh_some);
    if (data->refresh_next >= data->cluster_slots && failed)
        data->refresh_next = 0;
}

void proxy_clusters_compare(struct proxy_data *data)
{
    bool any = false;
    for (uint32_t i = 0; i < data->cluster_slots; i++) {
        struct proxy_cluster_state *state = data->clusters[i];
        if (state == NULL)
            continue;
        const struct proxy_cluster *cluster = proxy_snapshot_cluster(data->snapshot, i);
        state->stale =
            cluster != state->cluster || proxy_snapshot_endpoints(data->snapshot, cluster) != state->endpoints;
        any |= state->stale;
    }
    data->refresh_next = 0;
    if (any)
        fl_timer_set(data->turn.loop, &data->refresh_timer, 0, refresh_some);
}

void proxy_clusters_drop(struct proxy_data *data)
{
    fl_timer_cancel(&data->refresh_timer);
    for (uint32_t i = 0; i < data->cluster_slots; i++) {
        if (data->clusters[i] != NULL)
            let_go(data, i);
    }
    free(fl_take(data->clusters));
    data->cluster_slots = 0;
}

void proxy_clusters_close_idle(struct proxy_data *data)
{
    for (size_t i = 0; i < data->cluster_slots; i++) {
        if (data->clusters[i] != NULL)
            proxy_cluster_run_close_idle(data->clusters[i]->run);
    }
}
