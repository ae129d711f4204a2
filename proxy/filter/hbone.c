#include "proxy/filter/hbone.h"

#include "proxy/filter/downstream_inner.h"
#include "proxy/filter/report.h"
#include "proxy/http/tunnel.h"
#include "proxy/tls/filter.h"

static void answer(struct proxy_downstream *carrier, struct proxy_stream *stream, uint16_t status)
{
    struct proxy_message *message = &carrier->data->response;
    bool opens = status == 200;
    proxy_message_init(message);
    message->status = status;
    message->major = 2;
    message->minor = 1;
    message->method_id = PROXY_METHOD_CONNECT;
    message->upgrade = opens;
    message->framing = opens ? PROXY_FRAMING_NONE : PROXY_FRAMING_LENGTH;
    proxy_stream_send_head(stream, message, !opens);
}

static void refuse(struct proxy_downstream *carrier, struct proxy_stream *stream, uint16_t status)
{
    answer(carrier, stream, status);
    proxy_stream_close(stream, PROXY_RESET_CANCELLED);
}

/* Where it may go: to the address that the carrying connection came to. */
static bool may_go(struct proxy_downstream *carrier, const struct proxy_listener *listener, struct fl_span authority,
                   struct proxy_address *ret_destination)
{
    if (proxy_address_parse_pair(authority, ret_destination) < 0)
        return false;
    bool here = fl_span_eq(proxy_address_bytes(ret_destination), proxy_address_bytes(&carrier->destination));
    bool again = proxy_address_port(ret_destination) == proxy_address_port(&carrier->destination);
    if (here && !again &&
        !downstream_leads_to_us(carrier->data, listener, ret_destination, proxy_conn_peer(carrier->conn)))
        return true;
    proxy_report_not_accepted(carrier->data, carrier->listener, proxy_conn_peer(carrier->conn), ret_destination,
                              PROXY_REFUSED_LOOP);
    return false;
}

static uint16_t status_of(enum proxy_downstream_entry entry)
{
    return entry == PROXY_DOWNSTREAM_ENTERED ? 200 : entry == PROXY_DOWNSTREAM_DENIED ? 401 : 503;
}

/* A connection of that listener, over the stream. */
static void enter(struct proxy_downstream *carrier, const struct proxy_listener *listener,
                  const struct proxy_address *destination, struct proxy_stream *stream)
{
    struct proxy_data *data = carrier->data;
    const struct proxy_tunnel_options options = {.turn = &data->turn, .peer = proxy_conn_peer(carrier->conn)};
    struct proxy_tunnel *tunnel;
    struct proxy_conn *conn;
    if (proxy_tunnel_new(&options, &tunnel, &conn) < 0) {
        refuse(carrier, stream, 503);
        return;
    }
    if (proxy_tunnel_know(tunnel, carrier->conn) < 0) {
        proxy_conn_close(conn, PROXY_CLOSE_NOW);
        refuse(carrier, stream, 503);
        return;
    }
    enum proxy_downstream_entry entry = proxy_downstream_enter(data, listener, conn, destination);
    if (entry != PROXY_DOWNSTREAM_ENTERED) {
        refuse(carrier, stream, status_of(entry));
        return;
    }
    answer(carrier, stream, 200);
    proxy_tunnel_take(tunnel, stream);
}

static void serve(struct proxy_downstream *carrier, struct proxy_stream *stream, const struct proxy_message *request)
{
    const struct proxy_slot *slot = carrier->chain->http->tunnel;
    const struct proxy_listener *listener =
        slot != NULL ? proxy_snapshot_listener(carrier->data->snapshot, slot->index) : NULL;
    const struct proxy_tls *tls = proxy_tls_of(carrier->conn);
    struct proxy_address destination;
    if (request->method_id != PROXY_METHOD_CONNECT)
        refuse(carrier, stream, 404);
    else if (tls == NULL || proxy_tls_peer_identity(tls).len == 0)
        refuse(carrier, stream, 401);
    else if (listener == NULL)
        refuse(carrier, stream, 503);
    else if (!may_go(carrier, listener, request->authority, &destination))
        refuse(carrier, stream, 400);
    else
        enter(carrier, listener, &destination, stream);
}

/* --- until its head is here -------------------------------------------------------------------------------------- */

struct newcomer {
    struct proxy_downstream *carrier;
    struct proxy_stream *stream;
};

static void on_head(void *user, struct proxy_message *message, bool end)
{
    const struct newcomer newcomer = *(struct newcomer *)user;
    free(user);
    (void)end; /* of a CONNECT it says nothing: a half-close */
    serve(newcomer.carrier, newcomer.stream, message);
}

static void on_reset(void *user, enum proxy_reset why)
{
    (void)why;
    free(user);
}

static void ignore(void *user)
{
    (void)user;
}

static void no_data(void *user, struct fl_span data)
{
    (void)user, (void)data;
}

static void no_end(void *user, struct proxy_headers *trailers)
{
    (void)user, (void)trailers;
}

static const struct proxy_stream_events events = {
    .on_open = ignore,
    .on_head = on_head,
    .on_data = no_data,
    .on_end = no_end,
    .on_writable = ignore,
    .on_reset = on_reset,
};

bool proxy_hbone_take(struct proxy_downstream *carrier, struct proxy_stream *stream)
{
    struct newcomer *newcomer = malloc(sizeof(*newcomer));
    if (newcomer == NULL)
        return false;
    *newcomer = (struct newcomer){carrier, stream};
    stream->events = &events;
    stream->user = newcomer;
    return true;
}
