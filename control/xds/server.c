#include "control/xds/server.h"

#include "common/base/backoff.h"
#include "common/base/log.h"
#include "control/xds/apply.h"
#include "control/xds/stream.h"

#include <errno.h>
#include <stdio.h>

#define PUSHES_A_ROUND 8
#define ROUND_NS       UINT64_C(2000000)

static uint64_t clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void mark_due(struct stream *stream)
{
    struct control_proxies *proxies = stream->proxies;
    if (stream->due || stream->finished || !stream->has_node)
        return;
    stream->due = true;
    TAILQ_INSERT_TAIL(&proxies->due, stream, due_link);
    fl_hook_arm(proxies->loop, &proxies->push);
}

static void log_refused(struct stream *stream, enum fl_grpc_status status, const char *text)
{
    uint64_t suppressed = 0;
    if (fl_log_limit_take(&stream->proxies->refusals, fl_loop_now_ms(stream->proxies->loop), &suppressed))
        fl_log(FL_LOG_WARNING, "proxy refused", FL_LOG_STR("proxy", stream->node.id),
               FL_LOG_SPAN("identity", stream_identity(stream)), FL_LOG_STR("status", fl_grpc_status_text(status)),
               FL_LOG_STR("reason", text), FL_LOG_NUM("suppressed", suppressed));
}

/* What the stream makes us keep, as it is now. */
static size_t count_subscribed(struct stream *stream)
{
    return control_budget_set(&stream->proxies->budget, &stream->share, CONTROL_BUDGET_SUBSCRIBED,
                              sizeof(*stream) + control_session_bytes(stream->session));
}

static size_t count_queued(struct stream *stream)
{
    return control_budget_set(&stream->proxies->budget, &stream->share, CONTROL_BUDGET_QUEUED,
                              fl_grpc_stream_queued(stream->grpc) + stream->stalled.len);
}

static void drop_stalled(struct stream *stream)
{
    fl_buf_done(&stream->stalled);
    fl_buf_init(&stream->stalled, 2 * (size_t)CONTROL_PROXY_MESSAGE_MAX);
}

/* Its connection may stay for as long as the client does not read; what it subscribed to does not. */
static void finish(struct stream *stream, enum fl_grpc_status status, struct fl_counter *counter, const char *text)
{
    if (stream->finished)
        return;
    stream->finished = true;
    fl_counter_add(counter, 1);
    log_refused(stream, status, text);
    control_session_clear(stream->session);
    drop_stalled(stream);
    fl_grpc_stream_finish(stream->grpc, status, text);
    if (stream->share.account != NULL) {
        count_subscribed(stream);
        count_queued(stream);
    }
}

static void finish_of(struct stream *stream, int result, const struct fl_err *err)
{
    struct control_xds_stats *stats = &stream->proxies->stats;
    if (result == -EACCES)
        finish(stream, FL_GRPC_PERMISSION_DENIED, stats->ended_denied, err->text);
    else if (result == -EINVAL || result == -EPROTO)
        finish(stream, FL_GRPC_INVALID_ARGUMENT, stats->ended_protocol, err->text);
    else
        finish(stream, FL_GRPC_RESOURCE_EXHAUSTED, stats->ended_resources, "out of memory");
}

/* -- what it may take -- */

/* The network takes bytes without a word: what was counted may be long gone. */
static void recount_queued(struct control_proxies *proxies)
{
    struct stream *stream;
    TAILQ_FOREACH(stream, &proxies->streams, link)
    {
        if (stream->share.account != NULL && stream->share.used[CONTROL_BUDGET_QUEUED] > 0)
            count_queued(stream);
    }
}

static enum control_budget_verdict fits(const struct stream *stream, enum control_budget_kind kind, size_t before)
{
    return control_budget_judge(&stream->proxies->budget, &stream->share, kind, before);
}

static enum control_budget_verdict judge_queued(struct stream *stream)
{
    size_t before = count_queued(stream);
    if (fits(stream, CONTROL_BUDGET_QUEUED, before) == CONTROL_BUDGET_FITS)
        return CONTROL_BUDGET_FITS;
    recount_queued(stream->proxies);
    return fits(stream, CONTROL_BUDGET_QUEUED, before);
}

/* Ends a stream that takes more than is left. */
static void check_budget(struct stream *stream)
{
    struct control_xds_stats *stats = &stream->proxies->stats;
    if (stream->finished || stream->share.account == NULL)
        return;
    enum control_budget_verdict verdict = fits(stream, CONTROL_BUDGET_SUBSCRIBED, count_subscribed(stream));
    if (verdict == CONTROL_BUDGET_FITS)
        verdict = judge_queued(stream);
    if (verdict == CONTROL_BUDGET_CLIENT_FULL)
        finish(stream, FL_GRPC_RESOURCE_EXHAUSTED, stats->ended_client_budget,
               "the streams of this client take all the memory that one may take");
    else if (verdict == CONTROL_BUDGET_ALL_FULL)
        finish(stream, FL_GRPC_RESOURCE_EXHAUSTED, stats->ended_budget,
               "the streams of all clients take all the memory that there is for them");
}

/* -- what it sees -- */

int stream_view(struct stream *stream, struct control_asking *ret_asking, struct fl_err *err)
{
    struct control_proxies *proxies = stream->proxies;
    fl_arena_reset(&proxies->view_arena);
    ret_asking->proxies = proxies;
    int result = control_view_make(proxies->model, &stream->node, stream_identity(stream), &proxies->view_arena,
                                   &ret_asking->view, err);
    if (result == 0)
        ret_asking->settings = control_generate_settings(&ret_asking->view);
    return result;
}

static int source_get(void *owner, enum fl_resource_type type, struct fl_span name,
                      struct control_resource **ret_resource)
{
    struct control_asking *asking = owner;
    return control_cache_get(asking->proxies->cache, &asking->view, asking->settings, type, name, ret_resource);
}

static int source_each(void *owner, enum fl_resource_type type, enum control_group group,
                       int (*visit)(void *visitor, struct fl_span name), void *visitor)
{
    struct control_asking *asking = owner;
    int result = control_generate_each(&asking->view, type, group, &asking->proxies->arena, visit, visitor);
    fl_arena_reset(&asking->proxies->arena);
    return result;
}

struct control_session_source stream_source(struct control_asking *asking)
{
    return (struct control_session_source){source_get, source_each, asking};
}

/* -- pushing -- */

static void count_response(struct control_proxies *proxies, const struct control_response *response, size_t bytes)
{
    fl_counter_add(proxies->stats.responses[response->type], 1);
    fl_counter_add(proxies->stats.resources[response->type], response->count + response->removed_count);
    fl_counter_add(proxies->stats.bytes, bytes);
}

/* 0, or -EAGAIN: it is kept until the network takes it. */
static int send_bytes(struct stream *stream, struct fl_span bytes)
{
    int result = fl_grpc_stream_send(stream->grpc, bytes);
    if (result == -EAGAIN && stream->stalled.len == 0)
        return fl_buf_append(&stream->stalled, bytes) < 0 ? -ENOMEM : -EAGAIN;
    return result;
}

static int send_response(struct stream *stream)
{
    struct control_proxies *proxies = stream->proxies;
    struct fl_span bytes;
    int result = control_message_print(stream->form, &proxies->response, proxies->identifier, &proxies->arena, &bytes);
    if (result == 0) {
        count_response(proxies, &proxies->response, bytes.len);
        result = send_bytes(stream, bytes);
    }
    fl_arena_reset(&proxies->arena);
    return result;
}

static void push_responses(struct stream *stream)
{
    struct control_asking asking;
    struct fl_err err = {0};
    if (stream->finished || stream->stalled.len > 0)
        return;
    int result = stream_view(stream, &asking, &err);
    const struct control_session_source source = stream_source(&asking);
    while (result == 0) {
        result = control_session_next(stream->session, &source, &stream->proxies->response);
        if (result <= 0)
            break;
        result = send_response(stream);
    }
    if (result == -EPIPE || result == -EAGAIN)
        return;
    if (result == -EMSGSIZE)
        finish(stream, FL_GRPC_RESOURCE_EXHAUSTED, stream->proxies->stats.ended_resources,
               "a response is larger than this server may send");
    else if (result < 0)
        finish_of(stream, result, &err);
    else if (control_session_settled(stream->session))
        stream->behind_since_ns = 0; /* nothing of the change was its affair */
}

static void push(struct stream *stream)
{
    push_responses(stream);
    check_budget(stream);
}

/* Some of those that are due; the rest in the rounds and turns to come. */
static void on_push(struct fl_hook *hook)
{
    struct control_proxies *proxies = FL_CONTAINER_OF(hook, struct control_proxies, push);
    uint64_t end = clock_ns() + ROUND_NS;
    for (size_t i = 0; i < PUSHES_A_ROUND && !TAILQ_EMPTY(&proxies->due) && clock_ns() < end; i++) {
        struct stream *stream = TAILQ_FIRST(&proxies->due);
        TAILQ_REMOVE(&proxies->due, stream, due_link);
        stream->due = false;
        push(stream);
    }
    if (!TAILQ_EMPTY(&proxies->due))
        fl_hook_arm(proxies->loop, hook);
}

/* -- messages -- */

static void take_node(struct stream *stream, const struct control_message *message)
{
    struct control_proxies *proxies = stream->proxies;
    if (stream->has_node)
        return; /* the first one counts */
    stream->node = message->node;
    stream->has_node = true;
    proxies->count++;
    fl_gauge_add(proxies->stats.proxies[stream->node.role], 1);
    uint64_t suppressed;
    if (fl_log_limit_take(&proxies->arrivals, fl_loop_now_ms(proxies->loop), &suppressed))
        fl_log(FL_LOG_INFO, "proxy connected", FL_LOG_STR("proxy", stream->node.id),
               FL_LOG_STR("role", control_role_word(stream->node.role)),
               FL_LOG_SPAN("identity", stream_identity(stream)), FL_LOG_STR("agent", stream->node.user_agent),
               FL_LOG_NUM("suppressed", suppressed));
}

static void judge(struct stream *stream, const struct control_ask *ask, int outcome)
{
    struct control_proxies *proxies = stream->proxies;
    if (outcome == CONTROL_SESSION_REFUSED) {
        fl_counter_add(proxies->stats.refused[ask->type], 1);
        uint64_t suppressed;
        if (fl_log_limit_take(&proxies->complaints, fl_loop_now_ms(proxies->loop), &suppressed))
            fl_log(FL_LOG_WARNING, "proxy refused a configuration", FL_LOG_STR("proxy", stream->node.id),
                   FL_LOG_STR("type", fl_resource_type_word(ask->type)), FL_LOG_SPAN("reason", ask->reason),
                   FL_LOG_NUM("suppressed", suppressed));
    }
    if (stream->behind_since_ns != 0 && outcome == CONTROL_SESSION_ACKED && control_session_settled(stream->session)) {
        fl_histogram_observe(proxies->stats.convergence, (double)(clock_ns() - stream->behind_since_ns) / 1e9);
        stream->behind_since_ns = 0;
    }
}

static void take(struct stream *stream, struct fl_span bytes)
{
    struct control_message message;
    struct fl_arena arena;
    struct fl_err err = {0};
    if (stream->finished)
        return;
    fl_arena_init(&arena, CONTROL_MESSAGE_ARENA_MAX);
    int result = control_message_read(stream->form, bytes, &arena, &message, &err);
    if (result == 0)
        take_node(stream, &message);
    if (result == 0 && !message.unknown_type)
        result = control_session_request(stream->session, &message.request, &err);
    if (result < 0)
        finish_of(stream, result, &err);
    else if (!message.unknown_type)
        judge(stream, &message.request, result);
    fl_arena_done(&arena);
    check_budget(stream);
    mark_due(stream);
}

static void keep_waiting(struct stream *stream, struct fl_span bytes)
{
    struct waiting *waiting = NULL;
    if (stream->waiting_count < CONTROL_PROXY_WAITING_MAX &&
        bytes.len <= CONTROL_PROXY_WAITING_BYTES - stream->waiting_bytes)
        waiting = malloc(sizeof(*waiting) + bytes.len);
    if (waiting == NULL) {
        finish(stream, FL_GRPC_RESOURCE_EXHAUSTED, stream->proxies->stats.ended_resources,
               "too much was sent before it was known who sends it");
        return;
    }
    waiting->len = bytes.len;
    if (bytes.len > 0)
        memcpy(waiting->bytes, bytes.data, bytes.len);
    STAILQ_INSERT_TAIL(&stream->waiting, waiting, link);
    stream->waiting_count++;
    stream->waiting_bytes += bytes.len;
}

static void take_waiting(struct stream *stream, bool use)
{
    while (!STAILQ_EMPTY(&stream->waiting)) {
        struct waiting *waiting = STAILQ_FIRST(&stream->waiting);
        STAILQ_REMOVE_HEAD(&stream->waiting, link);
        if (use)
            take(stream, fl_span_make(waiting->bytes, waiting->len));
        free(waiting);
    }
    stream->waiting_count = stream->waiting_bytes = 0;
}

/* -- the stream's life -- */

static void on_message(void *owner, struct fl_span bytes)
{
    struct stream *stream = owner;
    if (stream->known)
        take(stream, bytes);
    else if (!stream->finished)
        keep_waiting(stream, bytes);
}

static void on_half_close(void *owner)
{
    struct stream *stream = owner;
    if (stream->finished)
        return;
    stream->finished = true;
    fl_counter_add(stream->proxies->stats.ended_ok, 1);
    fl_grpc_stream_finish(stream->grpc, FL_GRPC_OK, "");
}

static void on_writable(void *owner)
{
    struct stream *stream = owner;
    if (stream->stalled.len == 0)
        return;
    int result = fl_grpc_stream_send(stream->grpc, fl_buf_span(&stream->stalled));
    if (result == -EAGAIN)
        return;
    drop_stalled(stream);
    if (result < 0 && result != -EPIPE)
        finish_of(stream, -ENOMEM, NULL);
    mark_due(stream);
}

static void log_departure(struct stream *stream)
{
    uint64_t suppressed;
    if (fl_log_limit_take(&stream->proxies->arrivals, fl_loop_now_ms(stream->proxies->loop), &suppressed))
        fl_log(FL_LOG_INFO, "proxy disconnected", FL_LOG_STR("proxy", stream->node.id),
               FL_LOG_NUM("seconds", time(NULL) - stream->since), FL_LOG_NUM("suppressed", suppressed));
}

static void on_closed(void *owner)
{
    struct stream *stream = owner;
    struct control_proxies *proxies = stream->proxies;
    control_authentication_cancel(&stream->authentication);
    control_budget_leave(&proxies->budget, &stream->share);
    fl_timer_cancel(&stream->expiry);
    take_waiting(stream, false);
    TAILQ_REMOVE(&proxies->streams, stream, link);
    if (stream->due)
        TAILQ_REMOVE(&proxies->due, stream, due_link);
    if (stream->has_node) {
        proxies->count--;
        fl_gauge_add(proxies->stats.proxies[stream->node.role], -1);
        log_departure(stream);
    }
    if (!stream->finished)
        fl_counter_add(proxies->stats.ended_ok, 1);
    control_session_free(stream->session);
    fl_buf_done(&stream->stalled);
    free(stream->identity);
    free(stream);
}

static const struct fl_grpc_stream_ops stream_ops = {on_message, on_half_close, on_writable, on_closed};

static void on_expiry(struct fl_timer *timer);

/* At most an hour at a time: the clock may be set meanwhile. */
static void await_expiry(struct stream *stream)
{
    struct fl_backoff spread;
    int64_t left_s = stream->expires - (int64_t)time(NULL);
    fl_backoff_init(&spread, CONTROL_PROXY_EXPIRY_SPREAD_MS, CONTROL_PROXY_EXPIRY_SPREAD_MS);
    uint64_t left_ms = left_s <= 0 ? 0 : left_s < 3600 ? (uint64_t)left_s * 1000 : 3600000;
    fl_timer_set(stream->proxies->loop, &stream->expiry, left_ms + fl_backoff_next(&spread), on_expiry);
}

static void on_expiry(struct fl_timer *timer)
{
    struct stream *stream = FL_CONTAINER_OF(timer, struct stream, expiry);
    if ((int64_t)time(NULL) < stream->expires)
        await_expiry(stream);
    else
        finish(stream, FL_GRPC_UNAUTHENTICATED, stream->proxies->stats.ended_expired,
               "the certificate or token that let this stream in has expired");
}

/* It is known who it is, or nobody wants to know: `client` pays for what the stream takes. */
static void admit(struct stream *stream, struct fl_span client, int64_t expires)
{
    if (control_budget_join(&stream->proxies->budget, client, &stream->share) < 0) {
        finish_of(stream, -ENOMEM, NULL);
        return;
    }
    stream->known = true;
    stream->expires = expires;
    if (expires > 0)
        await_expiry(stream);
    check_budget(stream);
}

/* False: the stream is over. Without memory it must not go on, for a stream without an identity is nobody's. */
static bool admit_as(struct stream *stream, struct fl_span identity, int64_t expires)
{
    stream->identity = identity.len > 0 ? fl_span_dup(identity) : NULL;
    if (stream->identity == NULL) {
        finish_of(stream, -ENOMEM, NULL);
        return false;
    }
    admit(stream, identity, expires);
    return true;
}

static void on_authenticated(struct control_authentication *authentication, enum control_auth_outcome outcome,
                             const struct control_caller *caller)
{
    struct stream *stream = FL_CONTAINER_OF(authentication, struct stream, authentication);
    struct fl_span trust_domain = control_model_foreign_issuer(stream->proxies->model); /* the view then refuses it */
    char domain[FL_IDENTITY_TRUST_DOMAIN_MAX + 1] = "";
    struct fl_buf identity;
    if (outcome != CONTROL_AUTH_OK) {
        finish(stream, control_auth_is_final(outcome) ? FL_GRPC_UNAUTHENTICATED : FL_GRPC_UNAVAILABLE,
               stream->proxies->stats.ended_denied, control_auth_word(outcome));
        return;
    }
    if (trust_domain.len == 0)
        trust_domain = control_model_settings(stream->proxies->model).trust_domain;
    if (trust_domain.len < sizeof(domain))
        memcpy(domain, trust_domain.data, trust_domain.len);
    fl_buf_init(&identity, FL_IDENTITY_MAX);
    if (control_caller_identity(caller, domain, &identity, NULL) < 0) {
        finish(stream, FL_GRPC_UNAUTHENTICATED, stream->proxies->stats.ended_denied, "no identity");
    } else {
        take_waiting(stream, admit_as(stream, fl_buf_span(&identity), (int64_t)caller->expires));
    }
    fl_buf_done(&identity);
}

/* A certificate, a token, or on loopback a word. */
static void identify(struct stream *stream)
{
    struct fl_span identity = fl_grpc_stream_identity(stream->grpc);
    struct fl_span source = fl_grpc_address_source(fl_grpc_stream_peer(stream->grpc));
    int64_t from, to = 0;
    stream->authentication.on_done = on_authenticated;
    stream->authentication.peer = source;
    if (fl_grpc_stream_is_plaintext(stream->grpc)) {
        admit(stream, source, 0);
    } else if (identity.len > 0 && identity.len <= FL_IDENTITY_MAX) {
        admit_as(stream, identity, fl_grpc_stream_validity(stream->grpc, &from, &to) ? to : 0);
    } else if (!control_quota_take(stream->proxies->tokens, source, fl_loop_now_ms(stream->proxies->loop))) {
        finish(stream, FL_GRPC_RESOURCE_EXHAUSTED, stream->proxies->stats.ended_resources, "peer_rate");
    } else if (stream->proxies->authenticator != NULL) {
        control_authenticate(stream->proxies->authenticator, &stream->authentication,
                             fl_grpc_stream_metadata(stream->grpc, "authorization"));
    } else {
        finish(stream, FL_GRPC_UNAUTHENTICATED, stream->proxies->stats.ended_denied, "no certificate");
    }
}

static void open_stream(struct control_proxies *proxies, struct fl_grpc_stream *grpc, enum control_session_form form)
{
    struct stream *stream = calloc(1, sizeof(*stream));
    if (stream == NULL || control_session_new(form, &stream->session) < 0) {
        free(stream);
        fl_grpc_stream_finish(grpc, FL_GRPC_RESOURCE_EXHAUSTED, "out of memory");
        return;
    }
    stream->proxies = proxies;
    stream->grpc = grpc;
    stream->form = form;
    stream->since = time(NULL);
    STAILQ_INIT(&stream->waiting);
    fl_buf_init(&stream->stalled, 2 * (size_t)CONTROL_PROXY_MESSAGE_MAX);
    TAILQ_INSERT_TAIL(&proxies->streams, stream, link);
    fl_grpc_stream_accept(grpc, &stream_ops, stream);
    identify(stream);
}

static void open_delta(void *context, struct fl_grpc_stream *grpc)
{
    open_stream(context, grpc, CONTROL_SESSION_DELTA);
}

static void open_world(void *context, struct fl_grpc_stream *grpc)
{
    open_stream(context, grpc, CONTROL_SESSION_STATE_OF_THE_WORLD);
}

void control_proxies_methods(struct control_proxies *proxies, struct fl_grpc_method *ret_methods)
{
    ret_methods[0] = (struct fl_grpc_method){
        .path = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources",
        .open = open_delta,
        .context = proxies};
    ret_methods[1] = (struct fl_grpc_method){
        .path = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources",
        .open = open_world,
        .context = proxies};
}

/* -- a new model -- */

static void touch_everything(struct stream *stream)
{
    for (enum fl_resource_type type = 0; type < FL_RESOURCE_TYPES; type++)
        control_session_touch_type(stream->session, type);
}

void control_proxies_update(struct control_proxies *proxies, const struct control_diff *diff)
{
    struct control_impact impact;
    struct stream *stream;
    uint64_t now = clock_ns();
    control_model_unref(proxies->model);
    proxies->model = control_model_ref(diff->after);
    bool known = control_impact_of(diff, &impact) == 0;
    for (enum fl_resource_type type = 0; !known && type < FL_RESOURCE_TYPES; type++)
        control_cache_drop_type(proxies->cache, type);
    if (known)
        control_impact_drop(&impact, proxies->cache);
    TAILQ_FOREACH(stream, &proxies->streams, link)
    {
        if (known)
            control_impact_touch(&impact, &stream->node, stream->session);
        else
            touch_everything(stream);
        if (!control_session_pending(stream->session))
            continue;
        if (stream->behind_since_ns == 0)
            stream->behind_since_ns = now;
        mark_due(stream);
    }
    control_impact_done(&impact);
}

/* -- the server's life -- */

int control_proxies_new(const struct control_proxies_options *options, struct control_model *model,
                        struct control_proxies **ret_proxies)
{
    struct control_proxies *proxies = calloc(1, sizeof(*proxies));
    if (proxies == NULL || control_cache_new(&proxies->cache) < 0 ||
        control_quota_new(CONTROL_PROXY_TOKEN_RATE, CONTROL_PROXY_TOKEN_BURST, &proxies->tokens) < 0) {
        if (proxies != NULL)
            control_cache_free(proxies->cache);
        free(proxies);
        return -ENOMEM;
    }
    proxies->loop = options->loop;
    proxies->authenticator = options->authenticator;
    proxies->model = control_model_ref(model);
    proxies->push.run = on_push;
    control_budget_init(&proxies->budget, options->budget_mib > 0 ? options->budget_mib : CONTROL_BUDGET_MIB);
    snprintf(proxies->identifier, sizeof(proxies->identifier), "%s", options->identifier);
    TAILQ_INIT(&proxies->streams);
    TAILQ_INIT(&proxies->due);
    fl_arena_init(&proxies->arena, 2 * CONTROL_GENERATE_ARENA_MAX);
    fl_arena_init(&proxies->view_arena, CONTROL_GENERATE_ARENA_MAX);
    control_response_init(&proxies->response);
    control_xds_stats_init(&proxies->stats, options->metrics);
    *ret_proxies = proxies;
    return 0;
}

struct control_proxies *control_proxies_free(struct control_proxies *proxies)
{
    if (proxies == NULL)
        return NULL;
    fl_hook_disarm(&proxies->push);
    control_response_done(&proxies->response);
    control_cache_free(proxies->cache);
    control_quota_free(proxies->tokens);
    control_budget_done(&proxies->budget);
    control_model_unref(proxies->model);
    fl_arena_done(&proxies->arena);
    fl_arena_done(&proxies->view_arena);
    free(proxies);
    return NULL;
}

void control_proxies_finish(struct control_proxies *proxies)
{
    struct stream *stream;
    TAILQ_FOREACH(stream, &proxies->streams, link)
    {
        stream->finished = true;
        fl_grpc_stream_finish(stream->grpc, FL_GRPC_UNAVAILABLE, "the control plane is stopping");
    }
}

void control_proxies_tell(struct control_proxies *proxies)
{
    control_xds_stats_cache(&proxies->stats, proxies->cache);
    recount_queued(proxies);
    for (enum control_budget_kind kind = 0; kind < CONTROL_BUDGET_KINDS; kind++)
        fl_gauge_set(proxies->stats.held[kind], (double)proxies->budget.used[kind]);
}

size_t control_proxies_count(const struct control_proxies *proxies)
{
    return proxies->count;
}
