#include "proxy/filter/downstream.h"

#include "common/mesh/port.h"
#include "proxy/filter/downstream_inner.h"
#include "proxy/filter/early.h"
#include "proxy/filter/hcm.h"
#include "proxy/filter/rbac.h"
#include "proxy/filter/report.h"
#include "proxy/filter/tcp.h"
#include "proxy/net/origdst.h"
#include "proxy/tls/filter.h"

/* --- life ------------------------------------------------------------------------------------------------------- */

static void release(struct fl_deferred *deferred)
{
    struct proxy_downstream *downstream = FL_CONTAINER_OF(deferred, struct proxy_downstream, deferred);
    proxy_unit_unref(downstream->unit);
    free(downstream->hello);
    free(downstream->direct);
    free(downstream);
}

void downstream_bind(struct proxy_downstream *downstream, const struct proxy_listener *listener)
{
    struct proxy_unit *before = downstream->unit;
    downstream->unit = proxy_unit_ref(listener->unit);
    proxy_unit_unref(before);
    downstream->listener = listener;
    struct proxy_listener_state *state = &downstream->data->listeners[listener->slot->index];
    downstream->listener_next = state->first;
    downstream->listener_previous = NULL;
    if (state->first != NULL)
        state->first->listener_previous = downstream;
    state->first = downstream;
    proxy_slot_touch(listener->slot, fl_loop_now_ms(downstream->data->turn.loop));
}

void downstream_unlist(struct proxy_downstream *downstream)
{
    struct proxy_data *data = downstream->data;
    struct proxy_listener_state *state = &data->listeners[downstream->listener->slot->index];
    struct proxy_downstream **first = downstream->is_parked ? &data->parked : &state->first;
    if (state->rebind == downstream)
        state->rebind = downstream->listener_next;
    if (downstream->listener_next != NULL)
        downstream->listener_next->listener_previous = downstream->listener_previous;
    if (downstream->listener_previous != NULL)
        downstream->listener_previous->listener_next = downstream->listener_next;
    else
        *first = downstream->listener_next;
    data->parked_count -= downstream->is_parked;
    downstream->is_parked = false;
    downstream->listener_next = downstream->listener_previous = NULL;
}

void proxy_downstream_end(struct proxy_downstream *downstream)
{
    struct proxy_data *data = downstream->data;
    fl_timer_cancel(&downstream->deadline);
    proxy_early_drop(downstream);
    proxy_slot_touch(downstream->listener->slot, fl_loop_now_ms(data->turn.loop));
    downstream_unlist(downstream);
    if (downstream->next != NULL)
        downstream->next->previous = downstream->previous;
    if (downstream->previous != NULL)
        downstream->previous->next = downstream->next;
    else
        data->downstreams = downstream->next;
    data->downstream_count--;
    proxy_report_ended(downstream);
    proxy_stats_connection_closed(data->options.stats, PROXY_SIDE_DOWNSTREAM);
    fl_loop_defer(data->turn.loop, &downstream->deferred, release);
    proxy_data_check_drained(data);
}

void downstream_refuse(struct proxy_downstream *downstream, enum proxy_refused reason)
{
    proxy_report_refused(downstream, reason);
    proxy_conn_close(fl_take(downstream->conn), PROXY_CLOSE_RESET);
    proxy_downstream_end(downstream);
}

/* A filter may end its own connection here, but no other one: the next is taken first. */
static void each(struct proxy_data *data, void (*act)(struct proxy_downstream *downstream))
{
    for (struct proxy_downstream *one = data->downstreams, *next; one != NULL; one = next) {
        next = one->next;
        act(one);
    }
}

static void drain(struct proxy_downstream *downstream)
{
    if (downstream->ops != NULL)
        downstream->ops->drain(downstream->filter);
}

static void abort_one(struct proxy_downstream *downstream)
{
    if (downstream->ops != NULL) {
        downstream->ops->abort(downstream->filter);
        return;
    }
    proxy_conn_close(fl_take(downstream->conn), PROXY_CLOSE_RESET);
    proxy_downstream_end(downstream);
}

void proxy_downstream_drain_all(struct proxy_data *data)
{
    each(data, drain);
}

void proxy_downstream_abort_all(struct proxy_data *data)
{
    each(data, abort_one);
}

/* --- from chain to filter --------------------------------------------------------------------------------------- */

static void start_filter(struct proxy_downstream *downstream)
{
    const char *details = NULL;
    if (!proxy_rbac_connection(downstream, downstream->chain, &details)) {
        downstream->denied = true;
        proxy_report_denied(downstream, details);
        proxy_conn_close(fl_take(downstream->conn), PROXY_CLOSE_RESET);
        proxy_downstream_end(downstream);
        return;
    }
    int result =
        downstream->chain->kind == PROXY_FILTER_TCP ? proxy_tcp_start(downstream) : proxy_hcm_start(downstream);
    if (result < 0)
        downstream_refuse(downstream, PROXY_REFUSED_NO_MEMORY);
}

/* What chains are picked by, also when the listener changes later: the server name and its NUL, then each ALPN token
 * behind a byte of its length, and a 0. False: memory is out. */
static bool keep_hello(struct proxy_downstream *downstream, enum proxy_detect_result kind,
                       const struct proxy_detect *detect)
{
    downstream->seen = (uint8_t)kind;
    size_t size = detect->server_name_len + 2;
    for (size_t i = 0; i < detect->alpn_count; i++)
        size += detect->alpn_len[i] + 1u;
    if (size == 2)
        return true;
    char *at = downstream->hello = malloc(size);
    if (at == NULL)
        return false;
    downstream->server_name = detect->server_name_len > 0 ? at : NULL;
    memcpy(at, detect->server_name, detect->server_name_len);
    at += detect->server_name_len;
    *at++ = '\0';
    for (size_t i = 0; i < detect->alpn_count; i++) {
        *at++ = (char)detect->alpn_len[i];
        memcpy(at, detect->alpn[i], detect->alpn_len[i]);
        at += detect->alpn_len[i];
    }
    *at = '\0';
    return true;
}

/* Of a listener that does not look at first bytes it is known only now what they were: so the connection is found again
 * when the listener begins to look. */
static bool keep_session(struct proxy_downstream *downstream)
{
    struct proxy_detect detect = {.alpn_count = 0};
    struct fl_span alpn = proxy_tls_alpn(proxy_tls_of(downstream->conn));
    if (downstream->seen == PROXY_DETECT_TLS)
        return true;
    if (alpn.len > 0 && alpn.len <= PROXY_DETECT_TOKEN_MAX) {
        memcpy(detect.alpn[0], alpn.data, alpn.len);
        detect.alpn_len[0] = (uint8_t)alpn.len;
        detect.alpn_count = 1;
    }
    return keep_hello(downstream, PROXY_DETECT_TLS, &detect);
}

static void on_open(void *owner)
{
    struct proxy_downstream *downstream = owner;
    if (!keep_session(downstream)) {
        downstream_refuse(downstream, PROXY_REFUSED_NO_MEMORY);
        return;
    }
    downstream_rebind(downstream); /* to what changed during the handshake */
    if (downstream->conn != NULL)
        start_filter(downstream);
}

static size_t on_data(void *owner, struct fl_span bytes)
{
    (void)owner, (void)bytes; /* before on_open there is none */
    return 0;
}

static void on_eof(void *owner)
{
    downstream_refuse(owner, PROXY_REFUSED_DETECT_TIMEOUT);
}

static void on_writable(void *owner)
{
    (void)owner;
}

/* The handshake failed. */
static void on_closed(void *owner, enum proxy_end end)
{
    struct proxy_downstream *downstream = owner;
    proxy_report_handshake_failed(downstream, end);
    downstream->conn = NULL;
    proxy_downstream_end(downstream);
}

static const struct proxy_conn_ops handshake_ops = {
    .on_open = on_open,
    .on_data = on_data,
    .on_eof = on_eof,
    .on_writable = on_writable,
    .on_closed = on_closed,
};

static enum proxy_refused why_no_chain(const struct proxy_listener *listener, enum proxy_transport transport)
{
    if (!listener->tls_inspector)
        return PROXY_REFUSED_NO_FILTER_CHAIN;
    return transport == PROXY_TRANSPORT_TLS ? PROXY_REFUSED_FOREIGN_TLS : PROXY_REFUSED_PLAINTEXT;
}

/* What its ALPN would have said: the port's chains for the mesh are told apart by that. */
static size_t name_tunnelled(const struct proxy_downstream *downstream, struct fl_span protocols[2])
{
    switch (downstream->seen) {
    case PROXY_DETECT_HTTP1:
        protocols[0] = FL_SPAN("istio-http/1.1");
        protocols[1] = FL_SPAN("http/1.1");
        return 2;
    case PROXY_DETECT_HTTP2:
        protocols[0] = FL_SPAN("istio-h2");
        protocols[1] = FL_SPAN("h2c");
        return 2;
    default:
        protocols[0] = FL_SPAN("istio");
        return 1;
    }
}

const struct proxy_filter_chain *downstream_pick(const struct proxy_downstream *downstream,
                                                 const struct proxy_listener *listener)
{
    struct fl_span protocols[PROXY_DETECT_ALPN_MAX + 1];
    size_t count = 0;
    const char *at = downstream->hello != NULL ? downstream->hello + strlen(downstream->hello) + 1 : "";
    for (; *at != '\0'; at += *at + 1)
        protocols[count++] = fl_span_make(at + 1, (size_t)*at);
    if (downstream->tunnelled)
        count = name_tunnelled(downstream, protocols);
    else if (downstream->seen == PROXY_DETECT_HTTP1 || downstream->seen == PROXY_DETECT_HTTP2)
        protocols[count++] = downstream->seen == PROXY_DETECT_HTTP1 ? FL_SPAN("http/1.1") : FL_SPAN("h2c");
    const struct proxy_chain_query query = {
        .destination = &downstream->destination,
        .source = proxy_conn_peer(downstream->conn),
        .direct_source = downstream->direct,
        .transport =
            downstream->seen == PROXY_DETECT_TLS || downstream->tunnelled ? PROXY_TRANSPORT_TLS : PROXY_TRANSPORT_RAW,
        .server_name = fl_span_str(downstream->server_name),
        .application_protocols = protocols,
        .application_protocol_count = count,
    };
    return proxy_listener_pick(listener, &query);
}

static void start_tls(struct proxy_downstream *downstream)
{
    struct proxy_data *data = downstream->data;
    const struct proxy_tls_options options = {
        .context = proxy_snapshot_tls(data->snapshot, downstream->chain->tls),
        .server = true,
        .preface = &data->preface,
        .timeout_ms = downstream->chain->tls_handshake_timeout_ms,
    };
    proxy_conn_set_owner(downstream->conn, &handshake_ops, downstream);
    if (options.context == NULL)
        downstream_refuse(downstream, PROXY_REFUSED_NO_SECRET);
    else if (proxy_tls_start(downstream->conn, &options) < 0)
        downstream_refuse(downstream, PROXY_REFUSED_NO_MEMORY);
}

void downstream_choose(struct proxy_downstream *downstream, enum proxy_detect_result kind,
                       const struct proxy_detect *detect)
{
    fl_timer_cancel(&downstream->deadline);
    if (!keep_hello(downstream, kind, detect)) {
        downstream_refuse(downstream, PROXY_REFUSED_NO_MEMORY);
        return;
    }
    downstream->chain = downstream_pick(downstream, downstream->listener);
    proxy_report_picked(downstream, kind == PROXY_DETECT_TLS);
    if (downstream->chain == NULL || downstream->chain->kind != PROXY_FILTER_TCP)
        proxy_early_drop(downstream);
    if (downstream->chain == NULL) {
        downstream_refuse(
            downstream,
            why_no_chain(downstream->listener, kind == PROXY_DETECT_TLS ? PROXY_TRANSPORT_TLS : PROXY_TRANSPORT_RAW));
        return;
    }
    if (downstream->chain->tls != NULL && !downstream->tunnelled) {
        start_tls(downstream);
        return;
    }
    start_filter(downstream);
    /* What was looked at comes again, to the filter; TCP's waits for its upstream and resumes by itself. */
    if (downstream->conn != NULL && downstream->chain->kind == PROXY_FILTER_HTTP)
        proxy_conn_resume(downstream->conn);
}

/* --- accepting -------------------------------------------------------------------------------------------------- */

static bool is_loopback(const struct proxy_address *address)
{
    if (address->any.sa_family == AF_INET)
        return (ntohl(address->v4.sin_addr.s_addr) >> 24) == 127;
    return IN6_IS_ADDR_LOOPBACK(&address->v6.sin6_addr);
}

/* Whether a destination is one of our own listeners. Its address is ours where it is a loopback one, where the
 * connection comes from that very address, or where it arrived from outside (inbound). */
bool downstream_leads_to_us(const struct proxy_data *data, const struct proxy_listener *listener,
                            const struct proxy_address *destination, const struct proxy_address *peer)
{
    const struct proxy_snapshot *snapshot = data->snapshot;
    uint16_t port = proxy_address_port(destination);
    if (fl_port_is_ours(port))
        return true;
    if (listener->direction != PROXY_INBOUND && !is_loopback(destination) &&
        !fl_span_eq(proxy_address_bytes(destination), proxy_address_bytes(peer)))
        return false;
    for (size_t i = 0; i < snapshot->listener_slots; i++) {
        const struct proxy_listener *one = snapshot->listeners[i];
        if (one != NULL && one->bind_to_port && proxy_address_port(&one->address) == port)
            return true;
    }
    return false;
}

static bool has_room(const struct proxy_data *data, const struct proxy_address *destination,
                     enum proxy_refused *ret_why)
{
    if (data->draining)
        *ret_why = PROXY_REFUSED_DRAINING;
    else if (data->turn.shed == PROXY_SHED_REFUSE && !proxy_address_is_probe(destination))
        *ret_why = PROXY_REFUSED_OVERLOAD;
    else if (data->downstream_count >= data->options.connections_max)
        *ret_why = PROXY_REFUSED_LIMIT;
    else
        return true;
    return false;
}

/* Whether the connection may be served, and where it was going. */
static bool admit(struct proxy_data *data, const struct proxy_listener *listener, int fd,
                  const struct proxy_address *peer, struct proxy_address *ret_destination, enum proxy_refused *ret_why)
{
    struct proxy_address local;
    enum proxy_origdst found = proxy_origdst(fd, peer, listener->original_dst ? ret_destination : NULL, &local);
    if (!has_room(data, ret_destination, ret_why))
        return false;
    if (!listener->original_dst) {
        *ret_destination = local;
        return true;
    }
    *ret_why = PROXY_REFUSED_NOT_REDIRECTED;
    if (found != PROXY_ORIGDST_FOUND)
        return false;
    *ret_why = PROXY_REFUSED_LOOP;
    if (proxy_address_is_probe(ret_destination)) {
        if (data->options.on_probe == NULL || !data->options.on_probe(data->options.owner, peer, ret_destination))
            return false;
        *ret_why = PROXY_REFUSED_REASONS; /* not counted: it is ours, and has done its work */
        return false;
    }
    return !downstream_leads_to_us(data, listener, ret_destination, peer);
}

/* The listener of its original destination takes it, where this one hands over and there is one. Who comes from outside
 * does not get out again by a destination of ours. */
void downstream_place(struct proxy_downstream *downstream, const struct proxy_listener *listener)
{
    const struct proxy_listener *found =
        listener->hand_over ? proxy_snapshot_listener_of(downstream->data->snapshot, &downstream->destination) : NULL;
    bool known = found != NULL && found != listener &&
                 (listener->direction != PROXY_INBOUND || found->direction == PROXY_INBOUND);
    downstream_bind(downstream, known ? found : listener);
    proxy_conn_set_high(downstream->conn, downstream->listener->buffer_limit_bytes);
    if (known || !downstream_park(downstream))
        downstream_begin(downstream);
}

static void begin_life(struct proxy_downstream *downstream, struct proxy_data *data,
                       const struct proxy_address *destination)
{
    downstream->data = data;
    downstream->destination = *destination;
    downstream->id = ++data->next_id;
    downstream->start_us = proxy_data_now_us();
    downstream->start_ns = fl_loop_now_ns(data->turn.loop);
    downstream->next = data->downstreams;
    if (downstream->next != NULL)
        downstream->next->previous = downstream;
    data->downstreams = downstream;
    data->downstream_count++;
    proxy_stats_connection_opened(data->options.stats, PROXY_SIDE_DOWNSTREAM);
}

void proxy_downstream_accept(struct proxy_data *data, const struct proxy_listener *listener, int fd,
                             const struct proxy_address *peer)
{
    struct proxy_address destination = {0};
    enum proxy_refused why = PROXY_REFUSED_NO_MEMORY;
    struct proxy_downstream *downstream = NULL;
    if (!admit(data, listener, fd, peer, &destination, &why))
        goto refused;
    why = PROXY_REFUSED_NO_MEMORY;
    downstream = calloc(1, sizeof(*downstream));
    if (downstream == NULL || proxy_conn_accept(&data->turn, fd, peer, &downstream->conn) < 0)
        goto refused;
    begin_life(downstream, data, &destination);
    if (listener->proxy_protocol) {
        downstream_bind(downstream, listener);
        downstream_await_header(downstream);
    } else {
        downstream_place(downstream, listener);
    }
    return;
refused:
    if (why != PROXY_REFUSED_REASONS)
        proxy_report_not_accepted(data, listener, peer, &destination, why);
    const struct linger hard = {.l_onoff = 1};
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
    close(fd);
    free(downstream);
}

enum proxy_downstream_entry proxy_downstream_enter(struct proxy_data *data, const struct proxy_listener *listener,
                                                   struct proxy_conn *conn, const struct proxy_address *destination)
{
    enum proxy_refused why = PROXY_REFUSED_NO_MEMORY;
    struct proxy_downstream *downstream = has_room(data, destination, &why) ? calloc(1, sizeof(*downstream)) : NULL;
    if (downstream == NULL) {
        proxy_report_not_accepted(data, listener, proxy_conn_peer(conn), destination, why);
        proxy_conn_close(conn, PROXY_CLOSE_NOW);
        return PROXY_DOWNSTREAM_REFUSED;
    }
    downstream->conn = conn;
    downstream->tunnelled = true;
    begin_life(downstream, data, destination);
    downstream_place(downstream, listener);
    if (downstream->denied) /* its memory goes at the end of the turn */
        return PROXY_DOWNSTREAM_DENIED;
    return downstream->conn != NULL ? PROXY_DOWNSTREAM_ENTERED : PROXY_DOWNSTREAM_REFUSED;
}
