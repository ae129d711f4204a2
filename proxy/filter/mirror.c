#include "proxy/filter/mirror.h"

#include "proxy/filter/attempt.h"
#include "proxy/filter/hcm_inner.h"

/* What an exchange keeps for the copies of its request. */
struct proxy_mirroring {
    struct proxy_kept_message *head, *trailers;
    struct fl_buf body;
    uint32_t chosen; /* bits of the route's mirrors */
};

/* A copy under way. */
struct proxy_mirror_run {
    struct proxy_data *data;
    struct proxy_cluster_run *cluster; /* counted */
    struct proxy_upstream *upstream;
    struct proxy_mirror_run *next, *previous;
    bool over;
    struct fl_timer timer;
    struct fl_deferred deferred;
};

/* --- a copy under way ------------------------------------------------------------------------------------------- */

static void release(struct fl_deferred *deferred)
{
    struct proxy_mirror_run *mirror = FL_CONTAINER_OF(deferred, struct proxy_mirror_run, deferred);
    proxy_cluster_run_unref(mirror->cluster);
    free(mirror);
}

static void finish(struct proxy_mirror_run *mirror, enum proxy_mirror_result result)
{
    struct proxy_data *data = mirror->data;
    if (mirror->over)
        return;
    mirror->over = true;
    fl_timer_cancel(&mirror->timer);
    proxy_upstream_finish(fl_take(mirror->upstream), PROXY_RESET_CANCELLED);
    proxy_stats_mirror(data->options.stats, result);
    if (mirror->next != NULL)
        mirror->next->previous = mirror->previous;
    if (mirror->previous != NULL)
        mirror->previous->next = mirror->next;
    else
        data->mirrors = mirror->next;
    data->mirror_count--;
    fl_loop_defer(data->turn.loop, &mirror->deferred, release);
}

static void on_late(struct fl_timer *timer)
{
    finish(FL_CONTAINER_OF(timer, struct proxy_mirror_run, timer), PROXY_MIRROR_FAILED);
}

static void on_open(void *user)
{
    (void)user;
}

static void on_head(void *user, struct proxy_message *message, bool end)
{
    if (end && !proxy_message_is_interim(message))
        finish(user, PROXY_MIRROR_ANSWERED);
}

static void on_data(void *user, struct fl_span data)
{
    (void)user;
    (void)data;
}

static void on_end(void *user, struct proxy_headers *trailers)
{
    (void)trailers;
    finish(user, PROXY_MIRROR_ANSWERED);
}

static void on_writable(void *user)
{
    (void)user; /* all of it was sent at once */
}

static void on_reset(void *user, enum proxy_reset why)
{
    (void)why;
    finish(user, PROXY_MIRROR_FAILED);
}

static const struct proxy_stream_events mirror_events = {
    .on_open = on_open,
    .on_head = on_head,
    .on_data = on_data,
    .on_end = on_end,
    .on_writable = on_writable,
    .on_reset = on_reset,
};

static struct proxy_mirror_run *start(struct proxy_exchange_run *exchange, uint32_t cluster_index)
{
    struct proxy_data *data = exchange->data;
    struct proxy_cluster_run *cluster;
    if (data->mirror_count >= PROXY_MIRRORS_MAX || data->turn.shed != PROXY_SHED_NONE ||
        proxy_data_cluster(data, cluster_index, &cluster) != 0)
        return NULL;
    struct proxy_mirror_run *mirror = calloc(1, sizeof(*mirror));
    if (mirror == NULL)
        return NULL;
    const struct proxy_upstream_want want = {
        .original = &exchange->downstream->destination,
        .random = proxy_data_random(data),
        .downstream_h2 = exchange->major == 2,
    };
    mirror->data = data;
    if (proxy_upstream_request(cluster, &want, &mirror_events, mirror, &mirror->upstream) != PROXY_UPSTREAM_OK) {
        free(mirror);
        return NULL;
    }
    mirror->cluster = proxy_cluster_run_ref(cluster);
    mirror->next = data->mirrors;
    if (mirror->next != NULL)
        mirror->next->previous = mirror;
    data->mirrors = mirror;
    data->mirror_count++;
    fl_timer_set(data->turn.loop, &mirror->timer, PROXY_MIRROR_MS, on_late);
    return mirror;
}

/* Sending may break the stream at each step. The message is the worker's scratch for answers: of this request's nothing
 * is there. */
static void send_copy(struct proxy_exchange_run *exchange, uint32_t cluster_index)
{
    const struct proxy_mirroring *kept = exchange->mirroring;
    struct proxy_message *message = &exchange->data->response;
    struct proxy_mirror_run *mirror = start(exchange, cluster_index);
    bool bare = kept->body.len == 0 && kept->trailers == NULL;
    if (mirror == NULL) {
        proxy_stats_mirror(exchange->data->options.stats, PROXY_MIRROR_SKIPPED);
        return;
    }
    proxy_message_restore_kept(kept->head, message);
    proxy_stream_send_head(mirror->upstream->stream, message, bare);
    if (!mirror->over && kept->body.len > 0)
        proxy_stream_send_data(mirror->upstream->stream, fl_buf_span(&kept->body));
    if (mirror->over || bare)
        return;
    if (kept->trailers != NULL)
        proxy_message_restore_kept(kept->trailers, message);
    proxy_stream_send_end(mirror->upstream->stream, kept->trailers != NULL ? &message->headers : NULL);
}

void proxy_mirrors_abort(struct proxy_data *data)
{
    while (data->mirrors != NULL)
        finish(data->mirrors, PROXY_MIRROR_FAILED);
}

/* --- what is kept ----------------------------------------------------------------------------------------------- */

static size_t kept_size(const struct proxy_mirroring *kept)
{
    return kept->body.len + (kept->head != NULL ? proxy_kept_message_size(kept->head) : 0) +
           (kept->trailers != NULL ? proxy_kept_message_size(kept->trailers) : 0);
}

void proxy_mirror_done(struct proxy_exchange_run *exchange)
{
    struct proxy_mirroring *kept = fl_take(exchange->mirroring);
    if (kept == NULL)
        return;
    exchange->data->kept_bytes -= kept_size(kept);
    fl_buf_done(&kept->body);
    free(kept->head);
    free(kept->trailers);
    free(kept);
}

/* The request is too large, or memory is short. */
static void skip(struct proxy_exchange_run *exchange)
{
    for (uint32_t chosen = exchange->mirroring->chosen; chosen != 0; chosen &= chosen - 1)
        proxy_stats_mirror(exchange->data->options.stats, PROXY_MIRROR_SKIPPED);
    proxy_mirror_done(exchange);
}

static bool has_room(const struct proxy_exchange_run *exchange, size_t size)
{
    return exchange->data->kept_bytes + size <= PROXY_ATTEMPT_KEPT_MAX;
}

static bool keep(struct proxy_exchange_run *exchange, const struct proxy_message *message,
                 struct proxy_kept_message **to)
{
    struct proxy_kept_message *kept;
    if (proxy_message_keep(message, &kept) < 0)
        return false;
    if (!has_room(exchange, proxy_kept_message_size(kept))) {
        free(kept);
        return false;
    }
    exchange->data->kept_bytes += proxy_kept_message_size(kept);
    *to = kept;
    return true;
}

void proxy_mirror_begin(struct proxy_exchange_run *exchange)
{
    const struct proxy_route *route = exchange->found.route;
    struct proxy_data *data = exchange->data;
    uint32_t chosen = 0;
    for (size_t i = 0; i < route->mirror_count && !exchange->upgrade; i++)
        if (proxy_data_random(data) % 1000000 < route->mirrors[i].per_million)
            chosen |= UINT32_C(1) << i;
    if (chosen == 0)
        return;
    exchange->mirroring = calloc(1, sizeof(*exchange->mirroring));
    if (exchange->mirroring == NULL)
        return;
    exchange->mirroring->chosen = chosen;
    fl_buf_init(&exchange->mirroring->body, PROXY_MIRROR_BODY_MAX);
    if (!keep(exchange, &data->request, &exchange->mirroring->head))
        skip(exchange);
}

void proxy_mirror_body(struct proxy_exchange_run *exchange, struct fl_span bytes)
{
    if (exchange->mirroring == NULL)
        return;
    if (!has_room(exchange, bytes.len) || fl_buf_append(&exchange->mirroring->body, bytes) < 0)
        skip(exchange);
    else
        exchange->data->kept_bytes += bytes.len;
}

static bool keep_trailers(struct proxy_exchange_run *exchange, const struct proxy_headers *trailers)
{
    struct proxy_message *message = &exchange->data->response;
    proxy_message_init(message);
    for (size_t i = 0; i < trailers->count; i++)
        if (!trailers->list[i].removed)
            (void)!proxy_headers_add(&message->headers, trailers->list[i].name, trailers->list[i].value);
    return keep(exchange, message, &exchange->mirroring->trailers);
}

void proxy_mirror_complete(struct proxy_exchange_run *exchange, const struct proxy_headers *trailers)
{
    const struct proxy_route *route = exchange->found.route;
    if (exchange->mirroring == NULL)
        return;
    if (trailers != NULL && trailers->count > 0 && !keep_trailers(exchange, trailers)) {
        skip(exchange);
        return;
    }
    for (size_t i = 0; i < route->mirror_count; i++)
        if ((exchange->mirroring->chosen >> i & 1) != 0)
            send_copy(exchange, route->mirrors[i].cluster_index);
    proxy_mirror_done(exchange);
}
