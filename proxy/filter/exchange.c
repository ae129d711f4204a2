/* An exchange's life, and its client's side: what the stream of a server codec tells. */
#include "proxy/filter/exchange.h"

#include "proxy/filter/attempt.h"
#include "proxy/filter/hcm_inner.h"
#include "proxy/filter/mirror.h"
#include "proxy/http/restore.h"

#include <assert.h>

const struct proxy_hcm_config *proxy_exchange_config(const struct proxy_exchange_run *exchange)
{
    return exchange->hcm->config;
}

/* --- life ------------------------------------------------------------------------------------------------------- */

static struct proxy_exchange_run *take_struct(struct proxy_data *data)
{
    struct proxy_exchange_run *exchange = data->spare;
    if (exchange == NULL)
        return calloc(1, sizeof(*exchange));
    data->spare = exchange->next;
    data->spare_count--;
    memset(exchange, 0, sizeof(*exchange));
    return exchange;
}

static void give_struct(struct proxy_data *data, struct proxy_exchange_run *exchange)
{
    if (data->spare_count >= PROXY_EXCHANGE_SPARE) {
        free(exchange);
        return;
    }
    exchange->next = data->spare;
    data->spare = exchange;
    data->spare_count++;
}

void proxy_exchange_free_spare(struct proxy_data *data)
{
    for (struct proxy_exchange_run *one = data->spare, *next; one != NULL; one = next) {
        next = one->next;
        free(one);
    }
    data->spare = NULL;
    data->spare_count = 0;
}

static void release(struct fl_deferred *deferred)
{
    struct proxy_exchange_run *exchange = FL_CONTAINER_OF(deferred, struct proxy_exchange_run, deferred);
    proxy_cluster_run_unref(exchange->cluster);
    proxy_unit_unref(exchange->routes_unit);
    give_struct(exchange->data, exchange);
}

static void unlist(struct proxy_exchange_run *exchange)
{
    if (exchange->next != NULL)
        exchange->next->previous = exchange->previous;
    if (exchange->previous != NULL)
        exchange->previous->next = exchange->next;
    else
        exchange->hcm->exchanges = exchange->next;
    exchange->next = exchange->previous = NULL;
}

void proxy_exchange_release(struct proxy_exchange_run *exchange, enum proxy_reset why)
{
    struct proxy_data *data = exchange->data;
    exchange->over = true;
    fl_timer_cancel(&exchange->timeout);
    fl_timer_cancel(&exchange->idle);
    fl_timer_cancel(&exchange->duration);
    proxy_upstream_finish(fl_take(exchange->upstream), why);
    proxy_attempt_done(exchange);
    proxy_mirror_done(exchange);
    proxy_queue_clear(&exchange->early, &data->turn.pool);
    free(fl_take(exchange->texts));
    free(fl_take(exchange->traced));
    free(fl_take(exchange->recall));
    free(fl_take(exchange->cors_origin));
    proxy_claims_done(&exchange->claims);
    unlist(exchange);
    fl_loop_defer(data->turn.loop, &exchange->deferred, release);
}

/* --- what the client's stream tells ------------------------------------------------------------------------------ */

static void on_open(void *user)
{
    (void)user;
}

/* Between sidecars a message of HTTP/1 travels as one of HTTP/2, and becomes what it was here. False: answered. */
static bool restore(struct proxy_exchange_run *exchange, struct proxy_message *request)
{
    const char *word = "http2.restore";
    if (!exchange->hcm->restored ||
        proxy_restore_unpack_request(request, exchange->data->scratch + PROXY_DATA_SCRATCH, PROXY_DATA_NAMES) == 0)
        return true;
    exchange->kept = proxy_exchange_of(request);
    exchange->major = request->major;
    proxy_stats_parse_error(exchange->data->options.stats, PROXY_SIDE_DOWNSTREAM, word);
    proxy_exchange_reply(exchange, 400, PROXY_FLAG_DOWNSTREAM_PROTOCOL_ERROR, word, NULL, NULL, 0);
    return false;
}

void proxy_exchange_send_head(struct proxy_exchange_run *exchange, struct proxy_message *message, bool end)
{
    char room[PROXY_RESTORE_VALUE_MAX];
    if (exchange->hcm->restored)
        proxy_restore_pack_response(message, room);
    proxy_stream_send_head(exchange->client, message, end);
}

void proxy_exchange_send_end(struct proxy_exchange_run *exchange, struct proxy_headers *trailers)
{
    char room[PROXY_RESTORE_VALUE_MAX];
    if (exchange->hcm->restored && trailers != NULL)
        proxy_restore_pack_trailers(trailers, room);
    proxy_stream_send_end(exchange->client, trailers);
}

static void on_head(void *user, struct proxy_message *request, bool end)
{
    struct proxy_exchange_run *exchange = user;
    assert(request == &exchange->data->request);
    if (!restore(exchange, request))
        return;
    exchange->kept = proxy_exchange_of(request);
    exchange->major = request->major;
    exchange->upgrade = request->upgrade;
    exchange->request_done = end || request->upgrade;
    if (exchange->request_done)
        exchange->request_done_ns = exchange->start_ns;
    proxy_router_begin(exchange);
}

/* For a tunnel, if it comes to be. */
static void keep_early(struct proxy_exchange_run *exchange, struct fl_span bytes)
{
    struct proxy_pool *pool = &exchange->data->turn.pool;
    if (exchange->answered)
        return; /* there will be none */
    proxy_stream_pause(exchange->client);
    if (exchange->early.bytes + bytes.len > PROXY_EXCHANGE_EARLY_MAX)
        proxy_exchange_cut(exchange, PROXY_FLAG_DOWNSTREAM_PROTOCOL_ERROR, "early_bytes_too_many");
    else if (proxy_queue_append(&exchange->early, pool, bytes) < 0)
        proxy_exchange_cut(exchange, PROXY_FLAG_OVERLOAD, "out_of_memory");
}

static void on_data(void *user, struct fl_span bytes)
{
    struct proxy_exchange_run *exchange = user;
    exchange->active_ns = fl_loop_now_ns(exchange->data->turn.loop);
    exchange->request_bytes += bytes.len;
    if (exchange->upgrade && !exchange->tunnel)
        keep_early(exchange, bytes);
    else
        proxy_router_body(exchange, bytes);
}

static void on_end(void *user, struct proxy_headers *trailers)
{
    struct proxy_exchange_run *exchange = user;
    exchange->active_ns = fl_loop_now_ns(exchange->data->turn.loop);
    if (exchange->upgrade) {
        exchange->request_eof = true;
        if (exchange->tunnel)
            proxy_router_tunnel_end(exchange);
        return;
    }
    exchange->request_done = true;
    exchange->request_done_ns = exchange->active_ns;
    if (exchange->hcm->restored && trailers != NULL &&
        proxy_restore_unpack_trailers(trailers, exchange->data->scratch + PROXY_DATA_SCRATCH, PROXY_DATA_NAMES) < 0)
        proxy_stats_parse_error(exchange->data->options.stats, PROXY_SIDE_DOWNSTREAM, "http2.restore");
    /* … and names that are none stay as they came: it could be wrong about nothing else. */
    proxy_router_request_done(exchange, trailers);
}

static void on_writable(void *user)
{
    proxy_router_resume(user);
}

static void on_reset(void *user, enum proxy_reset why)
{
    struct proxy_exchange_run *exchange = user;
    const char *word = proxy_stream_error(exchange->client);
    proxy_exchange_leave_client(exchange);
    if (why == PROXY_RESET_PROTOCOL) /* counted where it was found */
        proxy_exchange_cut(exchange, PROXY_FLAG_DOWNSTREAM_PROTOCOL_ERROR, word);
    else if (why == PROXY_RESET_MEMORY)
        proxy_exchange_cut(exchange, PROXY_FLAG_OVERLOAD, "out_of_memory");
    else
        proxy_exchange_cut(exchange, PROXY_FLAG_DOWNSTREAM_CLOSE, "downstream_remote_disconnect");
}

static const struct proxy_stream_events events = {
    .on_open = on_open,
    .on_head = on_head,
    .on_data = on_data,
    .on_end = on_end,
    .on_writable = on_writable,
    .on_reset = on_reset,
};

struct proxy_stream *proxy_exchange_leave_client(struct proxy_exchange_run *exchange)
{
    struct proxy_stream *client = fl_take(exchange->client);
    if (client != NULL) {
        exchange->client_received = client->received;
        exchange->client_sent = client->sent;
    }
    return client;
}

bool proxy_exchange_begin(struct proxy_hcm *hcm, struct proxy_stream *client)
{
    struct proxy_downstream *downstream = hcm->downstream;
    struct proxy_exchange_run *exchange = take_struct(downstream->data);
    if (exchange == NULL)
        return false;
    exchange->hcm = hcm;
    exchange->downstream = downstream;
    exchange->data = downstream->data;
    exchange->client = client;
    client->events = &events;
    client->user = exchange;
    exchange->next = hcm->exchanges;
    if (exchange->next != NULL)
        exchange->next->previous = exchange;
    hcm->exchanges = exchange;
    exchange->cluster_index = UINT32_MAX;
    exchange->details = "";
    exchange->grpc_status = -1;
    exchange->start_ns = fl_loop_now_ns(downstream->data->turn.loop);
    exchange->active_ns = exchange->start_ns;
    exchange->start_us = proxy_data_now_us(); /* tokens are judged by it, too, whatever is logged */
    return true;
}
