#include "proxy/http/tunnel.h"

#include "proxy/tls/filter.h"

#include <errno.h>

struct proxy_tunnel {
    struct proxy_tunnel_options options;
    struct proxy_conn *conn;     /* NULL: closed, its memory goes soon */
    struct proxy_stream *stream; /* NULL: none yet, or it has ended */
    struct proxy_tls *tls;       /* who the peer is; NULL: not known */
    void *owner;                 /* client: of the options; NULL: it has not begun */
    bool held;
};

/* --- what the stream says --------------------------------------------------------------------------------------- */

static void on_open(void *user)
{
    (void)user; /* the answer tells */
}

static int learn(struct proxy_tunnel *tunnel, const struct proxy_conn *carrier)
{
    struct proxy_tls *tls = carrier != NULL ? proxy_tls_of(carrier) : NULL;
    tunnel->tls = tls != NULL ? proxy_tls_share(tls) : NULL;
    return tls != NULL && tunnel->tls == NULL ? -ENOMEM : 0;
}

static int refusal(unsigned status)
{
    return status == 401 || status == 403 ? -EACCES : -ECONNREFUSED;
}

static void on_head(void *user, struct proxy_message *message, bool end)
{
    struct proxy_tunnel *tunnel = user;
    const struct proxy_tunnel_options *options = &tunnel->options;
    if (tunnel->conn == NULL || message->status < 200)
        return;
    int result = message->upgrade && !end ? 0 : refusal(message->status);
    if (result == 0)
        result = learn(tunnel, options->carrier != NULL ? options->carrier(tunnel->owner) : NULL);
    if (result == 0)
        proxy_conn_carried_open(tunnel->conn, tunnel->tls);
    else
        proxy_conn_carried_reset(tunnel->conn, result);
}

static void on_data(void *user, struct fl_span data)
{
    struct proxy_tunnel *tunnel = user;
    if (tunnel->conn != NULL)
        proxy_conn_carried_data(tunnel->conn, data);
}

static void on_end(void *user, struct proxy_headers *trailers)
{
    struct proxy_tunnel *tunnel = user;
    (void)trailers;
    if (tunnel->conn != NULL)
        proxy_conn_carried_end(tunnel->conn);
}

static void on_writable(void *user)
{
    struct proxy_tunnel *tunnel = user;
    if (tunnel->conn != NULL)
        proxy_conn_carried_writable(tunnel->conn);
}

static void on_reset(void *user, enum proxy_reset why)
{
    struct proxy_tunnel *tunnel = user;
    tunnel->stream = NULL;
    if (tunnel->conn != NULL)
        proxy_conn_carried_reset(tunnel->conn, why == PROXY_RESET_MEMORY    ? -ENOMEM
                                               : why == PROXY_RESET_CONNECT ? -ECONNREFUSED
                                                                            : -ECONNRESET);
}

const struct proxy_stream_events proxy_tunnel_events = {
    .on_open = on_open,
    .on_head = on_head,
    .on_data = on_data,
    .on_end = on_end,
    .on_writable = on_writable,
    .on_reset = on_reset,
};

/* --- what the connection says ------------------------------------------------------------------------------------ */

static void carry_send(void *carrier, struct fl_span bytes)
{
    struct proxy_tunnel *tunnel = carrier;
    if (tunnel->stream != NULL)
        proxy_stream_send_data(tunnel->stream, bytes);
}

static bool carry_is_backlogged(const void *carrier)
{
    const struct proxy_tunnel *tunnel = carrier;
    return tunnel->stream != NULL && proxy_stream_is_backlogged(tunnel->stream);
}

static void carry_end(void *carrier)
{
    struct proxy_tunnel *tunnel = carrier;
    if (tunnel->stream != NULL)
        proxy_stream_send_end(tunnel->stream, NULL);
}

static void carry_hold(void *carrier, bool on)
{
    struct proxy_tunnel *tunnel = carrier;
    tunnel->held = on;
    if (tunnel->stream != NULL && on)
        proxy_stream_pause(tunnel->stream);
    else if (tunnel->stream != NULL)
        proxy_stream_resume(tunnel->stream);
}

static void carry_close(void *carrier, bool reset)
{
    struct proxy_tunnel *tunnel = carrier;
    enum proxy_reset why = reset ? PROXY_RESET_CONNECTION : PROXY_RESET_CANCELLED;
    struct proxy_stream *stream = fl_take(tunnel->stream);
    tunnel->conn = NULL;
    if (tunnel->owner != NULL)
        tunnel->options.close(tunnel->owner, why);
    else
        proxy_stream_close(stream, why);
}

static void carry_free(void *carrier)
{
    struct proxy_tunnel *tunnel = carrier;
    proxy_tls_unshare(tunnel->tls);
    free(tunnel);
}

static const struct proxy_carrier_ops carrier_ops = {
    .send = carry_send,
    .is_backlogged = carry_is_backlogged,
    .end = carry_end,
    .hold = carry_hold,
    .close = carry_close,
    .free = carry_free,
};

/* --- life ------------------------------------------------------------------------------------------------------- */

int proxy_tunnel_new(const struct proxy_tunnel_options *options, struct proxy_tunnel **ret_tunnel,
                     struct proxy_conn **ret_conn)
{
    struct proxy_tunnel *tunnel = calloc(1, sizeof(*tunnel));
    if (tunnel == NULL)
        return -ENOMEM;
    tunnel->options = *options;
    int result =
        proxy_conn_carry(options->turn, &carrier_ops, tunnel, options->peer, options->timeout_ms, &tunnel->conn);
    if (result < 0) {
        free(tunnel);
        return result;
    }
    *ret_tunnel = tunnel;
    *ret_conn = tunnel->conn;
    return 0;
}

void proxy_tunnel_begin(struct proxy_tunnel *tunnel, struct proxy_stream *stream, void *owner)
{
    tunnel->stream = stream;
    tunnel->owner = owner;
}

int proxy_tunnel_know(struct proxy_tunnel *tunnel, const struct proxy_conn *carrier)
{
    int result = learn(tunnel, carrier);
    if (result == 0)
        proxy_conn_carried_open(tunnel->conn, tunnel->tls);
    return result;
}

void proxy_tunnel_take(struct proxy_tunnel *tunnel, struct proxy_stream *stream)
{
    tunnel->stream = stream;
    stream->events = &proxy_tunnel_events;
    stream->user = tunnel;
    if (tunnel->held)
        proxy_stream_pause(stream);
}

void proxy_tunnel_request(struct proxy_message *message, struct fl_span authority)
{
    proxy_message_init(message);
    message->method = FL_SPAN("CONNECT");
    message->method_id = PROXY_METHOD_CONNECT;
    message->target = message->authority = authority;
    message->target_form = PROXY_TARGET_AUTHORITY;
    message->major = 2;
    message->minor = 1;
    message->framing = PROXY_FRAMING_NONE;
    message->upgrade = true;
}
