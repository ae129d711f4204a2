/* A connection without a socket: what another connection's stream carries. Everything above it is as always. */
#include "proxy/net/conn_inner.h"

#include <errno.h>

int proxy_conn_carry(struct proxy_turn *turn, const struct proxy_carrier_ops *ops, void *carrier,
                     const struct proxy_address *peer, uint64_t timeout_ms, struct proxy_conn **ret_conn)
{
    struct proxy_conn *conn = proxy_conn_new(turn, peer);
    if (conn == NULL)
        return -ENOMEM;
    conn->carrier_ops = ops;
    conn->carrier = carrier;
    conn->writable = true;
    conn->state = timeout_ms > 0 ? CONN_CONNECTING : CONN_OPEN;
    if (timeout_ms > 0)
        proxy_conn_set_deadline(conn, timeout_ms);
    *ret_conn = conn;
    return 0;
}

void proxy_conn_carried_open(struct proxy_conn *conn, void *transport)
{
    if (conn->transport_ops == NULL)
        conn->transport = transport;
    if (conn->state == CONN_CONNECTING && !conn->failed)
        proxy_conn_connected(conn);
}

void proxy_conn_carried_data(struct proxy_conn *conn, struct fl_span bytes)
{
    if (conn->failed || conn->state == CONN_CLOSED)
        return;
    proxy_conn_feed(conn, bytes);
    proxy_conn_carry_hold(conn);
}

void proxy_conn_carried_end(struct proxy_conn *conn)
{
    if (!conn->failed && conn->state != CONN_CLOSED)
        proxy_conn_socket_eof(conn);
}

void proxy_conn_carried_writable(struct proxy_conn *conn)
{
    conn->writable = true;
    proxy_conn_want_run(conn);
}

void proxy_conn_carried_reset(struct proxy_conn *conn, int error)
{
    if (conn->state == CONN_LINGERING)
        proxy_conn_finish(conn, false);
    if (conn->state == CONN_CLOSED)
        return;
    conn->error = error;
    proxy_conn_fail_later(conn, error == -ENOMEM                 ? PROXY_END_MEMORY
                                : conn->state == CONN_CONNECTING ? PROXY_END_REFUSED
                                                                 : PROXY_END_RESET);
}

void proxy_conn_carry_hold(struct proxy_conn *conn)
{
    if (conn->carrier_ops == NULL || conn->state == CONN_CLOSED)
        return;
    bool held = conn->paused || conn->input_end - conn->input_begin >= PROXY_CONN_INPUT_MAX;
    if (held == conn->held)
        return;
    conn->held = held;
    conn->carrier_ops->hold(conn->carrier, held);
}

size_t proxy_conn_carry_send(struct proxy_conn *conn, const struct iovec *iov, size_t count)
{
    size_t done = 0;
    for (size_t i = 0; i < count && conn->writable; i++) {
        conn->carrier_ops->send(conn->carrier, fl_span_make(iov[i].iov_base, iov[i].iov_len));
        done += iov[i].iov_len;
        conn->writable = !conn->carrier_ops->is_backlogged(conn->carrier); /* asked after sending: then it will tell */
    }
    return done;
}
