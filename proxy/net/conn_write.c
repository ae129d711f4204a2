/* Writing: the owner's bytes queue, are cut into records, and leave in one send; the end follows them. */
#include "proxy/net/conn_inner.h"
#include "proxy/net/shed.h"

#include <errno.h>
#include <sys/socket.h>

#define IOV_MAX_     32u
#define DIRECT_MIN   32768u  /* bytes of one write that go past the queue */
#define ENCRYPT_ONCE 262144u /* … and of them, into records before they are sent */

int proxy_conn_send(struct proxy_conn *conn, struct fl_span bytes)
{
    if (conn->out_dead || conn->state == CONN_CLOSED)
        return 0;
    return proxy_queue_append(&conn->wire, &conn->turn->pool, bytes);
}

/* One piece into records. */
static bool encrypt_piece(struct proxy_conn *conn, struct fl_span bytes)
{
    int result = conn->transport_ops->write(conn->transport, bytes);
    if (result < 0)
        proxy_conn_fail_later(conn, result == -ENOMEM ? PROXY_END_MEMORY : PROXY_END_TLS);
    return result >= 0;
}

/* The watermark; next to nothing where memory is short. */
static size_t high_of(const struct proxy_conn *conn)
{
    return proxy_pool_is_lean(&conn->turn->pool) && conn->high > PROXY_SHED_HIGH ? PROXY_SHED_HIGH : conn->high;
}

/* How much may wait now. While the socket takes what it is given a turn's bytes are collected beyond the watermark:
 * each send wakes the peer up, which costs more than what it carries. */
static size_t room_of(const struct proxy_conn *conn)
{
    bool flows = conn->writable && conn->state == CONN_OPEN && !proxy_pool_is_lean(&conn->turn->pool);
    return flows && conn->high < PROXY_CONN_COLLECT ? PROXY_CONN_COLLECT : high_of(conn);
}

/* Turns the owner's bytes into records, as long as few of them wait. */
static bool encrypt(struct proxy_conn *conn)
{
    while (conn->out.bytes > 0 && conn->wire.bytes < room_of(conn)) {
        struct fl_span front = proxy_queue_front(&conn->out);
        if (!encrypt_piece(conn, front))
            return false;
        proxy_queue_consume(&conn->out, &conn->turn->pool, front.len);
    }
    return true;
}

/* The peer takes no more. What it sent before may still be read: reading finds the end. */
static void output_died(struct proxy_conn *conn, int error)
{
    conn->out_dead = true;
    conn->error = error;
    proxy_queue_clear(&conn->out, &conn->turn->pool);
    proxy_queue_clear(&conn->wire, &conn->turn->pool);
    conn->readable = true;
    conn->hung_up = true;
    proxy_conn_want_run(conn);
}

/* One send of what these pieces are. Returns how many bytes of them went. */
static size_t send_pieces(struct proxy_conn *conn, struct iovec *iov, size_t count)
{
    struct msghdr message = {.msg_iov = iov, .msg_iovlen = count};
    size_t want = 0;
    if (conn->carrier_ops != NULL)
        return proxy_conn_carry_send(conn, iov, count);
    for (size_t i = 0; i < count; i++)
        want += iov[i].iov_len;
    ssize_t done;
    do {
        done = count == 1 ? send(conn->source.fd, iov[0].iov_base, want, MSG_NOSIGNAL)
                          : sendmsg(conn->source.fd, &message, MSG_NOSIGNAL);
    } while (done < 0 && errno == EINTR);
    if (done < 0 && errno != EAGAIN) {
        output_died(conn, -errno);
        return 0;
    }
    if (done < 0 || (size_t)done < want)
        conn->writable = false;
    return done > 0 ? (size_t)done : 0;
}

/* Sends from the queue until it is empty or the socket is full. */
static void send_queue(struct proxy_conn *conn, struct proxy_queue *queue)
{
    struct iovec iov[IOV_MAX_];
    while (conn->writable && queue->bytes > 0) {
        size_t done = send_pieces(conn, iov, proxy_queue_iov(queue, iov, IOV_MAX_));
        if (!conn->out_dead)
            proxy_queue_consume(queue, &conn->turn->pool, done);
    }
}

void proxy_conn_flush(struct proxy_conn *conn)
{
    if (conn->out_dead || conn->state == CONN_CONNECTING || conn->state == CONN_LINGERING || conn->state == CONN_CLOSED)
        return;
    if (conn->transport_ops == NULL) {
        send_queue(conn, &conn->out);
        return;
    }
    do {
        if (conn->state != CONN_STARTING && !encrypt(conn))
            return;
        send_queue(conn, &conn->wire);
    } while (conn->writable && !conn->out_dead && conn->out.bytes > 0 && conn->state != CONN_STARTING);
}

void proxy_conn_send_end(struct proxy_conn *conn)
{
    if (conn->shut == CONN_SHUT_WANTED && conn->out.bytes == 0 && conn->state >= CONN_OPEN && !conn->out_dead) {
        conn->shut = CONN_SHUT_NOTIFIED;
        if (conn->transport_ops != NULL) {
            int result = conn->transport_ops->shutdown(conn->transport);
            if (result < 0)
                proxy_conn_fail_later(conn, result == -ENOMEM ? PROXY_END_MEMORY : PROXY_END_TLS);
            send_queue(conn, &conn->wire);
        }
    }
    bool closing =
        conn->state == CONN_FLUSHING && !conn->linger && conn->carrier_ops == NULL; /* close(2) sends the FIN */
    if (conn->shut == CONN_SHUT_NOTIFIED && conn->wire.bytes == 0 && !conn->out_dead && !closing) {
        conn->shut = CONN_SHUT_DONE;
        if (conn->carrier_ops != NULL)
            conn->carrier_ops->end(conn->carrier);
        else
            (void)shutdown(conn->source.fd, SHUT_WR);
    }
}

bool proxy_conn_is_drained(const struct proxy_conn *conn)
{
    return conn->out_dead || (conn->out.bytes == 0 && conn->wire.bytes == 0 && conn->shut != CONN_SHUT_WANTED);
}

void proxy_conn_update_backlog(struct proxy_conn *conn)
{
    size_t waiting = conn->out.bytes + conn->wire.bytes;
    if (!conn->backlogged && waiting >= room_of(conn))
        conn->backlogged = true;
    if (conn->backlogged && waiting <= high_of(conn) / 2) {
        conn->backlogged = false;
        conn->tell_writable = true;
        proxy_conn_want_run(conn);
    }
}

void proxy_conn_set_high(struct proxy_conn *conn, uint32_t bytes)
{
    if (bytes == 0)
        bytes = PROXY_CONN_HIGH;
    else if (bytes < PROXY_CONN_HIGH_MIN)
        bytes = PROXY_CONN_HIGH_MIN;
    conn->high = bytes < PROXY_CONN_HIGH_MAX ? bytes : PROXY_CONN_HIGH_MAX;
}

/* Behind what is queued, with it, straight from the caller's memory. Returns what is left of the bytes. */
static struct fl_span send_direct(struct proxy_conn *conn, struct fl_span bytes)
{
    struct iovec iov[IOV_MAX_];
    size_t count = proxy_queue_iov(&conn->out, iov, IOV_MAX_ - 1), queued = 0;
    for (size_t i = 0; i < count; i++)
        queued += iov[i].iov_len;
    if (queued < conn->out.bytes)
        return bytes;
    iov[count] = (struct iovec){(char *)(uintptr_t)bytes.data, bytes.len};
    size_t done = send_pieces(conn, iov, count + 1);
    if (conn->out_dead)
        return fl_span_from(bytes, bytes.len);
    size_t of_queue = done < queued ? done : queued;
    proxy_queue_consume(&conn->out, &conn->turn->pool, of_queue);
    return fl_span_from(bytes, done - of_queue);
}

/* Records, straight from the caller's memory, as long as the socket takes them. */
static struct fl_span encrypt_direct(struct proxy_conn *conn, struct fl_span bytes)
{
    while (bytes.len > 0 && conn->writable && !conn->out_dead) {
        size_t part = bytes.len < ENCRYPT_ONCE ? bytes.len : ENCRYPT_ONCE;
        if (!encrypt_piece(conn, fl_span_make(bytes.data, part)))
            return fl_span_from(bytes, bytes.len);
        bytes = fl_span_from(bytes, part);
        send_queue(conn, &conn->wire);
    }
    return bytes;
}

/* Much at once is not copied into the queue: what is left goes there. */
static struct fl_span write_direct(struct proxy_conn *conn, struct fl_span bytes)
{
    if (bytes.len < DIRECT_MIN || conn->state != CONN_OPEN || !conn->writable || conn->shut != CONN_SHUT_NO)
        return bytes;
    if (conn->transport_ops == NULL)
        return send_direct(conn, bytes);
    return conn->out.bytes == 0 ? encrypt_direct(conn, bytes) : bytes;
}

void proxy_conn_write(struct proxy_conn *conn, struct fl_span bytes)
{
    if (bytes.len == 0 || conn->out_dead || conn->failed || !proxy_conn_is_owned(conn))
        return;
    conn->sent += bytes.len;
    bytes = write_direct(conn, bytes);
    if (conn->out_dead || conn->failed)
        return;
    if (proxy_queue_append(&conn->out, &conn->turn->pool, bytes) < 0) {
        proxy_conn_fail_later(conn, PROXY_END_MEMORY);
        return;
    }
    if (conn->out.bytes + conn->wire.bytes >= room_of(conn))
        proxy_conn_flush(conn); /* much at once: what the socket takes now need not wait */
    proxy_conn_update_backlog(conn);
    proxy_conn_want_run(conn);
}

void proxy_conn_shutdown(struct proxy_conn *conn)
{
    if (conn->shut != CONN_SHUT_NO)
        return;
    conn->shut = CONN_SHUT_WANTED;
    proxy_conn_want_run(conn);
}

bool proxy_conn_is_backlogged(const struct proxy_conn *conn)
{
    return conn->backlogged;
}

bool proxy_conn_write_failed(const struct proxy_conn *conn)
{
    return conn->out_dead;
}

size_t proxy_conn_unsent(const struct proxy_conn *conn)
{
    return conn->out.bytes + conn->wire.bytes;
}

uint64_t proxy_conn_bytes_sent(const struct proxy_conn *conn)
{
    return conn->sent;
}
