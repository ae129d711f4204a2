/* The PROXY protocol: its header read from accepted connections, and written to dialled ones. */
#include "proxy/filter/proxied.h"

#include "proxy/filter/downstream_inner.h"
#include "proxy/net/proxyproto.h"

/* Header or not, it goes on as any connection does. */
static void go_on(struct proxy_downstream *downstream)
{
    fl_timer_cancel(&downstream->deadline);
    downstream->awaits_header = false;
    downstream_unlist(downstream);
    downstream_place(downstream, downstream->listener);
    if (downstream->conn != NULL && downstream->ops == NULL)
        proxy_conn_resume(downstream->conn); /* what follows the header has come with it, mostly */
}

/* Where it was going, as the header says, may be told by anybody who reaches the listener. */
static bool leads_back(const struct proxy_downstream *downstream, const struct proxy_proto *header)
{
    return !proxy_address_eq(&header->destination, &downstream->destination) &&
           (proxy_address_is_probe(&header->destination) ||
            downstream_leads_to_us(downstream->data, downstream->listener, &header->destination, &header->source));
}

/* False: memory is out. */
static bool take(struct proxy_downstream *downstream, const struct proxy_proto *header)
{
    if (!proxy_address_is_set(&header->source)) /* LOCAL, UNKNOWN: the proxy itself speaks */
        return true;
    downstream->direct = malloc(sizeof(*downstream->direct));
    if (downstream->direct == NULL)
        return false;
    *downstream->direct = *proxy_conn_peer(downstream->conn);
    proxy_conn_set_peer(downstream->conn, &header->source);
    downstream->destination = header->destination;
    return true;
}

static size_t on_data(void *owner, struct fl_span bytes)
{
    struct proxy_downstream *downstream = owner;
    const struct proxy_listener *listener = downstream->listener;
    struct proxy_proto header = {.size = 0};
    enum proxy_proto_result result = proxy_proto_parse(bytes, &header);
    if (result == PROXY_PROTO_MORE)
        return 0;
    if (result == PROXY_PROTO_NONE && listener->proxy_protocol_optional)
        go_on(downstream);
    else if (result != PROXY_PROTO_DONE || (listener->proxy_protocol_refused & 1u << header.version) != 0)
        downstream_refuse(downstream, PROXY_REFUSED_PROXY_PROTOCOL);
    else if (leads_back(downstream, &header))
        downstream_refuse(downstream, PROXY_REFUSED_LOOP);
    else if (!take(downstream, &header))
        downstream_refuse(downstream, PROXY_REFUSED_NO_MEMORY);
    else
        go_on(downstream);
    return header.size;
}

static void on_eof(void *owner)
{
    downstream_refuse(owner, PROXY_REFUSED_PROXY_PROTOCOL);
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

static const struct proxy_conn_ops header_ops = {
    .on_open = ignore,
    .on_data = on_data,
    .on_eof = on_eof,
    .on_writable = ignore,
    .on_closed = on_closed,
};

/* A silent client may be one of a protocol whose server speaks first, if it need not send a header. */
static void time_is_over(struct fl_timer *timer)
{
    struct proxy_downstream *downstream = FL_CONTAINER_OF(timer, struct proxy_downstream, deadline);
    const struct proxy_listener *listener = downstream->listener;
    if (listener->proxy_protocol_optional && listener->continue_on_timeout && proxy_conn_unread(downstream->conn) == 0)
        go_on(downstream);
    else
        downstream_refuse(downstream, PROXY_REFUSED_PROXY_PROTOCOL);
}

void downstream_await_header(struct proxy_downstream *downstream)
{
    const struct proxy_listener *listener = downstream->listener;
    downstream->awaits_header = true;
    proxy_conn_set_owner(downstream->conn, &header_ops, downstream);
    if (listener->inspect_timeout_ms > 0)
        fl_timer_set(downstream->data->turn.loop, &downstream->deadline, listener->inspect_timeout_ms, time_is_over);
}

int proxy_proxied_tell(const struct proxy_downstream *downstream, struct proxy_upstream *upstream)
{
    unsigned version = proxy_cluster_run_options(upstream->cluster)->proxy_protocol;
    if (version == 0)
        return 0;
    char text[PROXY_PROTO_WRITE_MAX];
    size_t size = proxy_proto_write(version, proxy_conn_peer(downstream->conn), &downstream->destination, text);
    return proxy_conn_introduce(upstream->conn, fl_span_make(text, size));
}
