/* How a connection ends: what failed is told once, what was written still goes out, memory stays until the turn ends.
 */
#include "proxy/net/conn_inner.h"

#include <errno.h>
#include <sys/socket.h>

const char *proxy_end_text(enum proxy_end end)
{
    static const char *const texts[] = {
#define X(name, text) text,
        PROXY_ENDS(X)
#undef X
    };
    return texts[end];
}

static void unlist(struct proxy_conn *conn)
{
    if (!conn->ready_listed)
        return;
    struct proxy_conn **link = &conn->turn->ready;
    while (*link != conn)
        link = &(*link)->next_ready;
    *link = conn->next_ready;
    if (conn->turn->ready_tail == &conn->next_ready)
        conn->turn->ready_tail = link;
    conn->ready_listed = false;
}

static void release(struct fl_deferred *deferred)
{
    struct proxy_conn *conn = FL_CONTAINER_OF(deferred, struct proxy_conn, deferred);
    if (conn->transport_ops != NULL)
        conn->transport_ops->free(conn->transport);
    if (conn->carrier_ops != NULL)
        conn->carrier_ops->free(conn->carrier);
    free(conn);
}

static void closing_add(struct proxy_conn *conn)
{
    conn->closing_next = conn->turn->closing;
    if (conn->closing_next != NULL)
        conn->closing_next->closing_previous = conn;
    conn->turn->closing = conn;
}

static void closing_remove(struct proxy_conn *conn)
{
    struct proxy_turn *turn = conn->turn;
    if (conn->closing_next != NULL)
        conn->closing_next->closing_previous = conn->closing_previous;
    if (conn->closing_previous != NULL)
        conn->closing_previous->closing_next = conn->closing_next;
    else
        turn->closing = conn->closing_next;
    if (turn->closing == NULL && turn->on_settled != NULL)
        turn->on_settled(turn);
}

static void close_socket(struct proxy_conn *conn, bool reset)
{
    int fd = conn->source.fd;
    fl_source_remove(&conn->source);
    if (reset) {
        struct linger hard = {.l_onoff = 1};
        (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
    }
    close(fd);
    conn->source.fd = -1;
}

void proxy_conn_finish(struct proxy_conn *conn, bool reset)
{
    if (conn->state == CONN_CLOSED)
        return;
    bool left = conn->state == CONN_FLUSHING || conn->state == CONN_LINGERING;
    conn->state = CONN_CLOSED;
    unlist(conn);
    proxy_handshake_leave(&conn->turn->handshakes, &conn->handshake);
    fl_timer_cancel(&conn->timer);
    proxy_conn_rival_drop(conn);
    if (conn->carrier_ops != NULL)
        conn->carrier_ops->close(conn->carrier, reset);
    else
        close_socket(conn, reset);
    proxy_queue_clear(&conn->out, &conn->turn->pool);
    proxy_queue_clear(&conn->wire, &conn->turn->pool);
    proxy_conn_input_drop(conn);
    conn->turn->connections--;
    proxy_turn_trim_later(conn->turn);
    fl_loop_defer(conn->turn->loop, &conn->deferred, release);
    if (left)
        closing_remove(conn);
}

void proxy_conn_abandon(struct proxy_conn *conn)
{
    proxy_conn_finish(conn, false);
}

void proxy_conn_fail_later(struct proxy_conn *conn, enum proxy_end end)
{
    if (conn->failed || conn->state == CONN_CLOSED)
        return;
    conn->failed = true;
    conn->end = end;
    proxy_conn_want_run(conn);
}

void proxy_conn_fail(struct proxy_conn *conn, enum proxy_end end)
{
    if (conn->state == CONN_CLOSED)
        return;
    bool told = proxy_conn_is_owned(conn);
    if (end == PROXY_END_TLS && conn->wire.bytes > 0 && !conn->out_dead) { /* an alert says why */
        proxy_queue_clear(&conn->out, &conn->turn->pool);
        proxy_conn_flush(conn);
    }
    const struct proxy_conn_ops *ops = conn->ops;
    void *owner = conn->owner;
    /* proxy_conn_error is read in on_closed: the memory is still there. */
    proxy_conn_finish(conn, end == PROXY_END_MEMORY || end == PROXY_END_TRUNCATED);
    if (told && ops != NULL)
        ops->on_closed(owner, end);
}

void proxy_conn_fail_errno(struct proxy_conn *conn, int error)
{
    conn->error = error;
    if (error == -ENOMEM || error == -ENOBUFS)
        proxy_conn_fail(conn, PROXY_END_MEMORY);
    else
        proxy_conn_fail(conn, conn->state == CONN_CONNECTING ? PROXY_END_REFUSED : PROXY_END_RESET);
}

bool proxy_conn_transport_ok(struct proxy_conn *conn, int result)
{
    if (result < 0 && result != -ECANCELED && conn->state != CONN_CLOSED)
        proxy_conn_fail(conn, result == -ENOMEM ? PROXY_END_MEMORY : PROXY_END_TLS);
    return conn->state != CONN_CLOSED && result >= 0;
}

static void on_deadline(struct fl_timer *timer)
{
    struct proxy_conn *conn = FL_CONTAINER_OF(timer, struct proxy_conn, timer);
    if (conn->state == CONN_CONNECTING)
        proxy_conn_fail(conn, PROXY_END_CONNECT_TIMEOUT);
    else if (conn->handshake.stage == PROXY_HANDSHAKE_WAITING)
        proxy_conn_fail(conn, PROXY_END_HANDSHAKE_QUEUE);
    else if (proxy_conn_is_owned(conn))
        proxy_conn_fail(conn, PROXY_END_HANDSHAKE_TIMEOUT);
    else
        proxy_conn_finish(conn, conn->state == CONN_FLUSHING);
}

void proxy_conn_set_deadline(struct proxy_conn *conn, uint64_t ms)
{
    fl_timer_set(conn->turn->loop, &conn->timer, ms, on_deadline);
}

void proxy_conn_run_closing(struct proxy_conn *conn)
{
    proxy_conn_flush(conn);
    proxy_conn_send_end(conn);
    if (conn->state == CONN_CLOSED || (!conn->failed && !proxy_conn_is_drained(conn)))
        return;
    if (!conn->linger || conn->out_dead || conn->failed || conn->eof) {
        proxy_conn_finish(conn, false);
        return;
    }
    conn->state = CONN_LINGERING;
    proxy_conn_set_deadline(conn, PROXY_CONN_LINGER_MS);
    conn->readable = true;
    conn->paused = false;
    proxy_conn_input_drop(conn);
    proxy_conn_carry_hold(conn);
    proxy_conn_read(conn);
}

void proxy_conn_close(struct proxy_conn *conn, enum proxy_close how)
{
    if (conn == NULL || !proxy_conn_is_owned(conn))
        return;
    if (how == PROXY_CLOSE_NOW || how == PROXY_CLOSE_RESET || conn->state != CONN_OPEN || conn->failed ||
        conn->out_dead) {
        proxy_conn_finish(conn, how == PROXY_CLOSE_RESET || conn->failed);
        return;
    }
    /* Unread bytes would turn close(2) into a reset that may overtake what we sent. */
    conn->linger =
        how == PROXY_CLOSE_LINGER || conn->input != NULL || conn->readable || (conn->carrier_ops != NULL && !conn->eof);
    conn->state = CONN_FLUSHING;
    closing_add(conn);
    if (conn->shut == CONN_SHUT_NO)
        conn->shut = CONN_SHUT_WANTED;
    proxy_conn_set_deadline(conn, PROXY_CONN_FLUSH_MS);
    proxy_conn_want_run(conn);
}

int proxy_conn_errno(const struct proxy_conn *conn)
{
    return conn->error;
}

const char *proxy_conn_error(const struct proxy_conn *conn)
{
    const char *text = conn->transport_ops != NULL ? conn->transport_ops->error(conn->transport) : "";
    if (text[0] != '\0')
        return text;
    return conn->error < 0 ? strerrordesc_np(-conn->error) : "";
}
