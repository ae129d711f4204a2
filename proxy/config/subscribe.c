/* The stream: connecting, what goes and comes over it, its end, and when the next one is tried. */
#include "proxy/config/subscribe.h"

#include "common/base/log.h"
#include "proxy/config/subscribe_inner.h"

#include <errno.h>
#include <stdio.h>

#define SERVICE      "/envoy.service.discovery.v3.AggregatedDiscoveryService/"
#define KEEPALIVE_MS 30000
#define IDENTITY_MAX 262144 /* bytes of each PEM */

uint64_t proxy_subscribe_now(const struct proxy_subscribe *subscribe)
{
    return fl_loop_now_ms(subscribe->options.loop);
}

bool proxy_subscribe_is_away(const struct proxy_subscribe *subscribe)
{
    return subscribe->call == NULL && proxy_subscribe_now(subscribe) - subscribe->since_ms >= PROXY_SUBSCRIBE_AWAY_MS;
}

/* --- its end ---------------------------------------------------------------------------------------------------- */

static void connect_now(struct fl_timer *timer);

static void retry_later(struct proxy_subscribe *subscribe)
{
    fl_timer_set(subscribe->options.loop, &subscribe->retry, fl_backoff_next(&subscribe->backoff), connect_now);
}

static struct fl_span peer_text(const struct proxy_subscribe *subscribe, char text[FL_GRPC_ADDRESS_TEXT_MAX])
{
    const struct fl_grpc_address *peer = fl_grpc_client_peer(subscribe->client);
    if (peer == NULL)
        return proxy_whereabouts_text(subscribe->whereabouts);
    return fl_span_make(text, fl_grpc_address_print(peer, text));
}

enum loss { UNREACHED, REFUSED, ENDED };

/* Told when it is news: the first failure after a stream, then now and again. */
static void tell_lost(struct proxy_subscribe *subscribe, const char *reason, enum loss loss)
{
    static const char *const words[] = {
        [UNREACHED] = "the control plane cannot be reached; it is tried again",
        [REFUSED] = "the control plane refuses the stream; it is tried again",
        [ENDED] = "the stream to the control plane ended; what is in force stays",
    };
    char text[FL_GRPC_ADDRESS_TEXT_MAX];
    uint64_t now = proxy_subscribe_now(subscribe);
    fl_err_set(&subscribe->lost, -ENOTCONN, "%s", reason);
    if (loss != ENDED && subscribe->told_ms != 0 && now - subscribe->told_ms < PROXY_SUBSCRIBE_LOG_MS)
        return;
    subscribe->told_ms = now;
    fl_log(FL_LOG_WARNING, words[loss], FL_LOG_SPAN("address", peer_text(subscribe, text)),
           FL_LOG_STR("reason", reason));
}

/* Once it answers: a connection alone says little. */
static void tell_connected(const struct proxy_subscribe *subscribe)
{
    char text[FL_GRPC_ADDRESS_TEXT_MAX];
    fl_log(FL_LOG_INFO, "connected to the control plane", FL_LOG_SPAN("address", peer_text(subscribe, text)),
           FL_LOG_STR("protocol", subscribe->options.discovery->delta ? "delta" : "state of the world"));
}

static void lose(struct proxy_subscribe *subscribe, const char *reason)
{
    bool was_open = subscribe->call != NULL;
    tell_lost(subscribe, reason, !was_open ? UNREACHED : subscribe->answered ? ENDED : REFUSED);
    fl_grpc_call_cancel(fl_take(subscribe->call));
    proxy_whereabouts_cancel(subscribe->whereabouts);
    fl_grpc_client_close(subscribe->client);
    fl_buf_clear(&subscribe->unsent);
    if (was_open)
        subscribe->since_ms = proxy_subscribe_now(subscribe);
    proxy_subscribe_count_connect(subscribe, false);
    proxy_subscribe_show(subscribe);
    retry_later(subscribe);
}

/* --- what goes -------------------------------------------------------------------------------------------------- */

/* 0; -EAGAIN: the queue is full, on_writable comes; else the stream is of no use any more. */
static int send_unsent(struct proxy_subscribe *subscribe)
{
    int result = fl_grpc_call_send(subscribe->call, fl_buf_span(&subscribe->unsent));
    if (result != -EAGAIN)
        fl_buf_clear(&subscribe->unsent);
    return result;
}

void proxy_subscribe_send(struct proxy_subscribe *subscribe)
{
    int result = 0;
    if (subscribe->call == NULL)
        return;
    if (subscribe->unsent.len > 0)
        result = send_unsent(subscribe);
    while (result == 0) {
        result = proxy_ads_next(subscribe->ads, &subscribe->unsent);
        if (result == 0)
            result = send_unsent(subscribe);
    }
    if (subscribe->unsent.len == 0)
        fl_buf_done(&subscribe->unsent);
    fl_buf_init(&subscribe->unsent, PROXY_ADS_MESSAGE_MAX);
    if (result < 0 && result != -EAGAIN)
        lose(subscribe, result == -ENOMEM ? "out of memory" : "a request could not be sent");
}

static void on_writable(void *owner)
{
    proxy_subscribe_send(owner);
}

/* --- what comes ------------------------------------------------------------------------------------------------- */

static void tell_nacks(struct proxy_subscribe *subscribe)
{
    for (int i = 0; i < FL_RESOURCE_TYPES; i++) {
        struct proxy_ads_info info;
        proxy_ads_describe(subscribe->ads, (enum fl_resource_type)i, &info);
        char *last = subscribe->last_nack[i];
        if (fl_span_eq_str(info.nack, last))
            continue;
        snprintf(last, PROXY_ADS_DETAIL_MAX, "%.*s", FL_SPAN_ARG(info.nack));
        if (info.nack.len > 0)
            fl_log(FL_LOG_WARNING, "configuration refused; the one before stays in force",
                   FL_LOG_STR("type", fl_resource_type_word((enum fl_resource_type)i)),
                   FL_LOG_SPAN("reason", info.nack));
    }
}

static void on_message(void *owner, struct fl_span message)
{
    struct proxy_subscribe *subscribe = owner;
    struct fl_err err = {0};
    int result = proxy_ads_receive(subscribe->ads, message, proxy_subscribe_now(subscribe), &err);
    if (result == 0 && !subscribe->answered) {
        subscribe->answered = true;
        tell_connected(subscribe);
        fl_backoff_reset(&subscribe->backoff);
    }
    tell_nacks(subscribe);
    proxy_subscribe_settle(subscribe);
    if (result < 0)
        lose(subscribe, err.text);
    else
        proxy_subscribe_send(subscribe);
}

static void on_end(void *owner, enum fl_grpc_status status, struct fl_span text)
{
    struct proxy_subscribe *subscribe = owner;
    char reason[256];
    snprintf(reason, sizeof(reason), "%s: %.*s", fl_grpc_status_text(status), FL_SPAN_ARG(text));
    lose(subscribe, reason);
}

static const struct fl_grpc_call_ops call_ops = {
    .on_message = on_message,
    .on_end = on_end,
    .on_writable = on_writable,
};

/* --- its beginning ---------------------------------------------------------------------------------------------- */

static struct proxy_discovery_identity identity_of(const struct proxy_subscribe *subscribe)
{
    return (struct proxy_discovery_identity){
        .key = fl_buf_span(&subscribe->key),
        .chain = fl_buf_span(&subscribe->chain),
        .roots = fl_buf_span(&subscribe->roots),
    };
}

static bool shows_certificate(const struct proxy_subscribe *subscribe)
{
    const struct proxy_discovery *discovery = subscribe->options.discovery;
    return discovery->tls.on &&
           (discovery->tls.own_certificate ? subscribe->chain.len > 0
                                           : discovery->tls.cert.path.len + discovery->tls.cert.bytes.len > 0);
}

static int open_stream(struct proxy_subscribe *subscribe, struct fl_span token, struct fl_err *err)
{
    const struct proxy_discovery *discovery = subscribe->options.discovery;
    struct fl_grpc_metadata metadata[PROXY_DISCOVERY_METADATA_MAX + 1];
    size_t count = discovery->metadata_count;
    memcpy(metadata, discovery->metadata, sizeof(discovery->metadata));
    if (token.len > 0)
        metadata[count++] = (struct fl_grpc_metadata){FL_SPAN("authorization"), token};
    const struct fl_grpc_call_options options = {
        .path = discovery->delta ? FL_SPAN(SERVICE "DeltaAggregatedResources")
                                 : FL_SPAN(SERVICE "StreamAggregatedResources"),
        .metadata = metadata,
        .metadata_count = count,
    };
    int result = fl_grpc_call_start(subscribe->client, &options, &call_ops, subscribe, &subscribe->call);
    return result == 0 ? 0 : fl_err_errno(err, result, "the stream could not be opened");
}

static void on_connected(void *owner)
{
    struct proxy_subscribe *subscribe = owner;
    struct fl_err err = {0};
    struct fl_buf token;
    int result = 0;
    fl_buf_init(&token, PROXY_DISCOVERY_TOKEN_MAX + 16);
    if (!subscribe->showed_own &&
        proxy_discovery_may_send_token(subscribe->options.discovery, fl_grpc_client_peer(subscribe->client)))
        result = proxy_discovery_token(subscribe->options.discovery, &token, &err);
    if (result == 0)
        result = open_stream(subscribe, fl_buf_span(&token), &err);
    if (token.data != NULL)
        explicit_bzero(token.data, token.cap);
    fl_buf_done(&token);
    if (result < 0) {
        lose(subscribe, err.text);
        return;
    }
    subscribe->answered = false;
    subscribe->since_ms = proxy_subscribe_now(subscribe);
    subscribe->connects++;
    proxy_subscribe_count_connect(subscribe, true);
    proxy_subscribe_show(subscribe);
    proxy_ads_start(subscribe->ads);
    proxy_subscribe_send(subscribe);
}

static void on_lost(void *owner, const struct fl_err *reason)
{
    lose(owner, reason->text);
}

static const struct fl_grpc_client_ops client_ops = {.on_connected = on_connected, .on_lost = on_lost};

static void connect_now(struct fl_timer *timer)
{
    struct proxy_subscribe *subscribe = FL_CONTAINER_OF(timer, struct proxy_subscribe, retry);
    struct proxy_discovery_identity identity = identity_of(subscribe);
    FL_CLEANUP(fl_cleanup_tls_context) struct fl_tls_context *context = NULL;
    struct fl_err err = {0};
    int result = proxy_discovery_tls(subscribe->options.discovery, &identity, &context, &err);
    if (result == 0) {
        subscribe->showed_own = shows_certificate(subscribe);
        fl_grpc_client_set_tls(subscribe->client, context);
        result = proxy_whereabouts_connect(subscribe->whereabouts, subscribe->client);
        if (result < 0)
            fl_err_errno(&err, result, "connect");
    }
    if (result < 0) {
        tell_lost(subscribe, err.text, UNREACHED);
        proxy_subscribe_count_connect(subscribe, false);
        retry_later(subscribe);
    }
}

/* --- our certificate -------------------------------------------------------------------------------------------- */

static int copy(struct fl_buf *to, struct fl_span from)
{
    struct fl_buf fresh;
    fl_buf_init(&fresh, IDENTITY_MAX);
    int result = fl_buf_append(&fresh, from);
    if (result != 0)
        return result;
    if (to->data != NULL)
        explicit_bzero(to->data, to->cap);
    fl_buf_done(to);
    *to = fresh;
    return 0;
}

int proxy_subscribe_identity(struct proxy_subscribe *subscribe, const struct proxy_discovery_identity *identity)
{
    bool first = subscribe->chain.len == 0;
    int result = copy(&subscribe->key, identity->key);
    if (result == 0)
        result = copy(&subscribe->chain, identity->chain);
    if (result == 0)
        result = copy(&subscribe->roots, identity->roots);
    bool own = subscribe->options.discovery->tls.on && subscribe->options.discovery->tls.own_certificate;
    if (result != 0 || !own)
        return result;
    if (subscribe->call != NULL && !subscribe->showed_own && first)
        return 0; /* let in by its token a moment ago: good until the certificate is renewed */
    fl_grpc_call_cancel(fl_take(subscribe->call));
    proxy_whereabouts_cancel(subscribe->whereabouts);
    fl_grpc_client_close(subscribe->client);
    fl_buf_clear(&subscribe->unsent);
    subscribe->since_ms = proxy_subscribe_now(subscribe);
    fl_timer_set(subscribe->options.loop, &subscribe->retry, 0, connect_now);
    return 0;
}

/* --- life ------------------------------------------------------------------------------------------------------- */

static int make_client(struct proxy_subscribe *subscribe, struct fl_err *err)
{
    const struct proxy_discovery *discovery = subscribe->options.discovery;
    const struct proxy_whereabouts_options whereabouts = {
        .loop = subscribe->options.loop,
        .places = discovery->places,
        .resolv_conf = subscribe->options.resolv_conf,
        .on_failed = on_lost,
        .owner = subscribe,
    };
    const struct fl_grpc_client_options options = {
        .authority = discovery->authority,
        .message_max = PROXY_ADS_MESSAGE_MAX,
        .keepalive_ms = KEEPALIVE_MS,
    };
    int result = proxy_whereabouts_new(&whereabouts, &subscribe->whereabouts, err);
    if (result < 0)
        return result;
    return fl_grpc_client_new(subscribe->options.loop, &options, &client_ops, subscribe, &subscribe->client, err);
}

static int make_demand(struct proxy_subscribe *subscribe)
{
    if (!subscribe->options.discovery->on_demand)
        return 0;
    struct proxy_demand_options options = subscribe->options.demand;
    options.used_ms = proxy_subscribe_used_ms;
    options.owner = subscribe;
    int result = proxy_demand_new(&options, &subscribe->demand);
    if (result == 0)
        result =
            proxy_questions_new(subscribe->options.loop, proxy_subscribe_on_question, subscribe, &subscribe->questions);
    return result;
}

static int set_up(struct proxy_subscribe *subscribe, struct fl_err *err)
{
    const struct proxy_ads_options options = {
        .delta = subscribe->options.discovery->delta,
        .node = subscribe->options.discovery->node,
        .take = proxy_subscribe_take,
        .drop = proxy_subscribe_drop,
        .owner = subscribe,
    };
    int result = proxy_ads_new(&options, &subscribe->ads);
    if (result == 0)
        result = make_demand(subscribe);
    if (result == 0)
        result = proxy_subscribe_begin(subscribe);
    if (result != 0)
        return fl_err_errno(err, result, "xDS client");
    result = make_client(subscribe, err);
    if (result == 0)
        proxy_subscribe_restore(subscribe);
    return result;
}

int proxy_subscribe_new(const struct proxy_subscribe_options *options, struct proxy_subscribe **ret_subscribe,
                        struct fl_err *err)
{
    struct proxy_subscribe *subscribe = calloc(1, sizeof(*subscribe));
    if (subscribe == NULL)
        return fl_err_set(err, -ENOMEM, "out of memory");
    subscribe->options = *options;
    subscribe->since_ms = proxy_subscribe_now(subscribe);
    fl_buf_init(&subscribe->unsent, PROXY_ADS_MESSAGE_MAX);
    fl_buf_init(&subscribe->gone, 1 << 20);
    fl_backoff_init(&subscribe->backoff, PROXY_SUBSCRIBE_BACKOFF_MS, PROXY_SUBSCRIBE_BACKOFF_MAX_MS);
    int result = set_up(subscribe, err);
    if (result != 0) {
        proxy_subscribe_free(subscribe);
        return result;
    }
    bool own = options->discovery->tls.on && options->discovery->tls.own_certificate;
    fl_timer_set(options->loop, &subscribe->retry, own ? PROXY_SUBSCRIBE_WAIT_MS : 0, connect_now);
    *ret_subscribe = subscribe;
    return 0;
}

static void wipe(struct fl_buf *buf)
{
    if (buf->data != NULL)
        explicit_bzero(buf->data, buf->cap);
    fl_buf_done(buf);
}

struct proxy_subscribe *proxy_subscribe_free(struct proxy_subscribe *subscribe)
{
    if (subscribe == NULL)
        return NULL;
    fl_timer_cancel(&subscribe->retry);
    proxy_subscribe_save_pending(subscribe);
    fl_timer_cancel(&subscribe->tick);
    subscribe->whereabouts = proxy_whereabouts_free(subscribe->whereabouts);
    subscribe->client = fl_grpc_client_free(subscribe->client); /* and its call */
    subscribe->ads = proxy_ads_free(subscribe->ads);
    subscribe->demand = proxy_demand_free(subscribe->demand);
    subscribe->questions = proxy_questions_free(subscribe->questions);
    wipe(&subscribe->key);
    fl_buf_done(&subscribe->chain);
    fl_buf_done(&subscribe->roots);
    fl_buf_done(&subscribe->unsent);
    fl_buf_done(&subscribe->gone);
    free(subscribe);
    return NULL;
}
