/* What a connection's first bytes are, where its listener asks.
 *
 *   watching ── the client's bytes decide ──────────────────────────────► their chain
 *      │ silent for a moment (learned: at once)
 *      ▼
 *   dialled (early.c) ── outbound: the server speaks first ─────────────► the chain of silence: TCP
 *      │                 inbound TLS or plaintext: its bytes are held
 *      ▼ deadline
 *   the chain of silence; or, where only the server's word is missing, on with waiting: nothing stalls by that, and the
 *   client's bytes still count, because nothing was passed on yet
 *
 * Nothing but the client's bytes decides over TLS or plaintext where the client is a stranger (inbound): what a server
 * says is passed on in the clear at the deadline at the earliest. Nothing but bytes chooses HTTP.
 */
#include "proxy/filter/downstream_inner.h"
#include "proxy/filter/early.h"

static const struct proxy_detect nothing = {.alpn_count = 0};

static unsigned wanted(const struct proxy_downstream *downstream)
{
    const struct proxy_listener *listener = downstream->listener;
    if (downstream->tunnelled) /* there is no ALPN to tell HTTP from bytes */
        return listener->tls_inspector || listener->http_inspector ? PROXY_DETECT_WANT_HTTP : 0;
    return (listener->tls_inspector ? PROXY_DETECT_WANT_TLS : 0) |
           (listener->http_inspector ? PROXY_DETECT_WANT_HTTP : 0);
}

/* A server may be heard before its client only where the configuration says that silence is fine. */
static bool may_dial(const struct proxy_listener *listener)
{
    return listener->continue_on_timeout &&
           (listener->inspect_timeout_ms == 0 || listener->inspect_timeout_ms > PROXY_DOWNSTREAM_SILENCE_MS);
}

/* Whether any chain for the port asks for TLS, or ends it: as proxy_listener_pick looks at ports. */
static bool may_be_tls(const struct proxy_listener *listener, uint16_t port)
{
    bool named = false, by_port = false;
    bool by_any = listener->default_chain != NULL && listener->default_chain->tls != NULL;
    for (size_t i = 0; i < listener->chain_count; i++) {
        const struct proxy_filter_chain *chain = &listener->chains[i];
        bool asks =
            chain->tls != NULL || chain->match.transport == PROXY_TRANSPORT_TLS || chain->match.server_name_count > 0;
        if (chain->match.destination_port == port) {
            named = true;
            by_port |= asks;
        } else if (chain->match.destination_port == 0) {
            by_any |= asks;
        }
    }
    return named ? by_port : by_any;
}

/* Whether a server that speaks first ends the looking: its client is our own application, or nothing but plaintext. */
static bool server_decides(const struct proxy_downstream *downstream)
{
    const struct proxy_listener *listener = downstream->listener;
    return downstream->tunnelled || !listener->tls_inspector || listener->direction == PROXY_OUTBOUND ||
           !may_be_tls(listener, proxy_address_port(&downstream->destination));
}

static bool is_silent(const struct proxy_downstream *downstream)
{
    return proxy_conn_unread(downstream->conn) == 0;
}

/* No bytes of the client decide. */
static void choose_silence(struct proxy_downstream *downstream, enum proxy_detected why)
{
    proxy_stats_detected(downstream->data->options.stats, why);
    downstream_choose(downstream, PROXY_DETECT_OTHER, &nothing);
}

static enum proxy_detected detected_of(enum proxy_detect_result kind)
{
    switch (kind) {
    case PROXY_DETECT_TLS:
        return PROXY_DETECTED_TLS;
    case PROXY_DETECT_HTTP1:
        return PROXY_DETECTED_HTTP1;
    case PROXY_DETECT_HTTP2:
        return PROXY_DETECTED_HTTP2;
    case PROXY_DETECT_MORE:
    case PROXY_DETECT_OTHER:
        break;
    }
    return PROXY_DETECTED_OTHER;
}

static size_t inspect(void *owner, struct fl_span bytes)
{
    struct proxy_downstream *downstream = owner;
    struct proxy_detect detect;
    enum proxy_detect_result kind = proxy_detect(bytes, wanted(downstream), &detect);
    if (kind == PROXY_DETECT_MORE)
        return 0;
    if (proxy_early_is_quiet(downstream))
        proxy_learned_forget(&downstream->data->learned, &downstream->destination);
    proxy_stats_detected(downstream->data->options.stats, detected_of(kind));
    downstream_choose(downstream, kind, &detect);
    return 0; /* the same bytes are for the transport or the filter */
}

static void set_deadline(struct proxy_downstream *downstream, uint64_t ms, void (*then)(struct fl_timer *timer))
{
    fl_timer_set(downstream->data->turn.loop, &downstream->deadline, ms, then);
}

/* Both sides were silent for as long as the filter would have let them be. */
static void never(struct fl_timer *timer)
{
    choose_silence(FL_CONTAINER_OF(timer, struct proxy_downstream, deadline), PROXY_DETECTED_DEADLINE);
}

static void on_deadline(struct fl_timer *timer)
{
    struct proxy_downstream *downstream = FL_CONTAINER_OF(timer, struct proxy_downstream, deadline);
    if (!downstream->listener->continue_on_timeout) {
        downstream_refuse(downstream, PROXY_REFUSED_DETECT_TIMEOUT);
        return;
    }
    if (!server_decides(downstream) || !is_silent(downstream) || !proxy_early_is_quiet(downstream)) {
        choose_silence(downstream, PROXY_DETECTED_DEADLINE);
        return;
    }
    downstream->overdue = true;
    set_deadline(downstream, PROXY_DOWNSTREAM_QUIET_MS, never);
}

static void after_silence(struct fl_timer *timer)
{
    struct proxy_downstream *downstream = FL_CONTAINER_OF(timer, struct proxy_downstream, deadline);
    const struct proxy_listener *listener = downstream->listener;
    if (listener->inspect_timeout_ms > 0)
        set_deadline(downstream, listener->inspect_timeout_ms - PROXY_DOWNSTREAM_SILENCE_MS, on_deadline);
    if (is_silent(downstream))
        proxy_early_start(downstream, downstream_pick(downstream, listener));
}

static void watch(struct proxy_downstream *downstream)
{
    const struct proxy_listener *listener = downstream->listener;
    struct proxy_data *data = downstream->data;
    uint64_t now = fl_loop_now_ms(data->turn.loop);
    bool known = proxy_learned_has(&data->learned, &downstream->destination, now) && server_decides(downstream);
    downstream->overdue = false;
    fl_timer_cancel(&downstream->deadline);
    if (may_dial(listener))
        set_deadline(downstream, known ? 0 : PROXY_DOWNSTREAM_SILENCE_MS, after_silence);
    else if (listener->inspect_timeout_ms > 0)
        set_deadline(downstream, listener->inspect_timeout_ms, on_deadline);
}

/* No more bytes will come: what is here has to do. */
static void on_eof(void *owner)
{
    choose_silence(owner, PROXY_DETECTED_END);
}

static void on_closed(void *owner, enum proxy_end end)
{
    struct proxy_downstream *downstream = owner;
    (void)end;
    downstream->conn = NULL;
    proxy_downstream_end(downstream);
}

static void ignore(void *owner)
{
    (void)owner;
}

static const struct proxy_conn_ops inspect_ops = {
    .on_open = ignore,
    .on_data = inspect,
    .on_eof = on_eof,
    .on_writable = ignore,
    .on_closed = on_closed,
};

void downstream_begin(struct proxy_downstream *downstream)
{
    if (wanted(downstream) == 0) {
        downstream_choose(downstream, PROXY_DETECT_OTHER, &nothing);
        return;
    }
    proxy_conn_set_owner(downstream->conn, &inspect_ops, downstream);
    watch(downstream);
    if (!is_silent(downstream)) /* it spoke while its destination was asked for */
        proxy_conn_resume(downstream->conn);
}

void downstream_watch_again(struct proxy_downstream *downstream)
{
    if (wanted(downstream) == 0) {
        downstream_choose(downstream, PROXY_DETECT_OTHER, &nothing);
        return;
    }
    watch(downstream);
    proxy_conn_resume(downstream->conn); /* what is here is looked at with other eyes */
}

void downstream_server_spoke(struct proxy_downstream *downstream)
{
    struct proxy_data *data = downstream->data;
    if (downstream->chain != NULL || !server_decides(downstream))
        return; /* the client's bytes have decided, or will: the server's are held */
    proxy_learned_note(&data->learned, &downstream->destination, fl_loop_now_ms(data->turn.loop));
    choose_silence(downstream, PROXY_DETECTED_SERVER_FIRST);
}

void downstream_server_failed(struct proxy_downstream *downstream)
{
    if (downstream->overdue && downstream->chain == NULL)
        choose_silence(downstream, PROXY_DETECTED_DEADLINE);
}
