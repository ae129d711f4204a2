/* Reading: a turn's share from the socket, through the transport, to the owner; what it does not take is kept. */
#include "proxy/net/conn_inner.h"
#include "proxy/net/shed.h"

#include <assert.h>
#include <errno.h>
#include <sys/socket.h>

void proxy_conn_input_drop(struct proxy_conn *conn)
{
    free(fl_take(conn->input));
    conn->input_begin = conn->input_end = conn->input_size = 0;
}

static int input_keep(struct proxy_conn *conn, struct fl_span bytes)
{
    if (bytes.len == 0)
        return 0;
    uint32_t have = conn->input_end - conn->input_begin;
    if (conn->input_size - conn->input_end < bytes.len) {
        size_t want = have + bytes.len, size = 1024;
        while (size < want)
            size *= 2;
        char *bigger = malloc(size);
        if (bigger == NULL)
            return -ENOMEM;
        if (have > 0)
            memcpy(bigger, conn->input + conn->input_begin, have);
        free(conn->input);
        conn->input = bigger;
        conn->input_size = (uint32_t)size;
        conn->input_begin = 0;
        conn->input_end = have;
    }
    memcpy(conn->input + conn->input_end, bytes.data, bytes.len);
    conn->input_end += (uint32_t)bytes.len;
    return 0;
}

static struct fl_span input_span(const struct proxy_conn *conn)
{
    return fl_span_make(conn->input != NULL ? conn->input + conn->input_begin : NULL,
                        conn->input_end - conn->input_begin);
}

/* Shows what is kept. */
static void input_show(struct proxy_conn *conn)
{
    struct fl_span bytes = input_span(conn);
    if (bytes.len == 0)
        return;
    size_t used = conn->ops->on_data(conn->owner, bytes);
    if (conn->state == CONN_CLOSED)
        return;
    assert(used <= bytes.len);
    conn->input_begin += (uint32_t)used;
    if (conn->input_begin == conn->input_end)
        proxy_conn_input_drop(conn);
}

int proxy_conn_deliver(struct proxy_conn *conn, struct fl_span bytes)
{
    if (!proxy_conn_is_owned(conn))
        return conn->state == CONN_CLOSED ? -ECANCELED : 0; /* lingering: dropped */
    conn->received += bytes.len;
    if (conn->input == NULL && !conn->paused) {
        conn->redeliver = false;
        size_t used = conn->ops->on_data(conn->owner, bytes);
        if (!proxy_conn_is_owned(conn))
            return conn->state == CONN_CLOSED ? -ECANCELED : 0;
        assert(used <= bytes.len);
        if (conn->redeliver) /* paused and resumed within the callback */
            proxy_conn_want_run(conn);
        return input_keep(conn, fl_span_from(bytes, used));
    }
    if (input_keep(conn, bytes) < 0)
        return -ENOMEM;
    if (!conn->paused)
        input_show(conn);
    return conn->state == CONN_CLOSED ? -ECANCELED : 0;
}

static void tell_eof(struct proxy_conn *conn)
{
    if (!conn->eof || conn->paused || conn->state != CONN_OPEN)
        return;
    if (!conn->eof_told) {
        conn->eof_told = true;
        conn->ops->on_eof(conn->owner);
    }
    if (conn->out_dead && proxy_conn_is_owned(conn))
        proxy_conn_fail(conn, PROXY_END_RESET); /* nothing more can happen on it */
}

int proxy_conn_ended(struct proxy_conn *conn)
{
    conn->eof = true;
    if (conn->state == CONN_OPEN)
        tell_eof(conn);
    return conn->state == CONN_CLOSED ? -ECANCELED : 0;
}

void proxy_conn_feed(struct proxy_conn *conn, struct fl_span bytes)
{
    if (conn->state == CONN_LINGERING)
        return;
    conn->stepping = false; /* that was it */
    int result = conn->transport_ops != NULL ? conn->transport_ops->feed(conn->transport, bytes)
                                             : proxy_conn_deliver(conn, bytes);
    if (conn->transport_ops != NULL)
        (void)proxy_conn_transport_ok(conn, result);
    else if (result == -ENOMEM)
        proxy_conn_fail(conn, PROXY_END_MEMORY);
    if (conn->wire.bytes > 0 || conn->out.bytes > 0)
        proxy_conn_want_run(conn);
}

/* The socket's FIN. */
void proxy_conn_socket_eof(struct proxy_conn *conn)
{
    conn->readable = false;
    if (conn->state == CONN_LINGERING || conn->state == CONN_FLUSHING) {
        conn->eof = true;
        if (conn->state == CONN_LINGERING)
            proxy_conn_finish(conn, false);
        return;
    }
    if (conn->out_dead && conn->error != -EPIPE) { /* the reset was told to send(2) already */
        proxy_conn_fail(conn, PROXY_END_RESET);
        return;
    }
    if (conn->transport_ops != NULL && !conn->eof) {
        conn->eof = true;
        proxy_conn_fail(conn, conn->state == CONN_STARTING ? PROXY_END_RESET : PROXY_END_TRUNCATED);
        return;
    }
    conn->eof = true;
    tell_eof(conn);
}

static bool may_read(const struct proxy_conn *conn)
{
    return conn->readable && conn->carrier_ops == NULL && !conn->paused && !conn->failed &&
           conn->state >= CONN_STARTING && conn->state != CONN_CLOSED && conn->state != CONN_FLUSHING &&
           conn->input_end - conn->input_begin < PROXY_CONN_INPUT_MAX && !conn->raw_input;
}

/* One turn's share is used up: epoll is asked again, which puts the connection behind the others. */
static void read_later(struct proxy_conn *conn)
{
    int result = fl_source_modify(&conn->source, CONN_EVENTS);
    if (result < 0)
        proxy_conn_fail_errno(conn, result);
}

/* How much at once. One that always had more than that gets larger reads: fewer calls, fewer and larger sends behind
 * it. What the owner does not take stays small. */
static size_t read_size(const struct proxy_conn *conn)
{
    if (proxy_pool_is_lean(&conn->turn->pool))
        return PROXY_SHED_READ;
    return conn->bulk && conn->input == NULL ? PROXY_TURN_READ_BULK : PROXY_TURN_READ;
}

static bool read_budget(struct proxy_conn *conn)
{
    uint64_t now = fl_loop_now_ns(conn->turn->loop);
    if (conn->read_ns != now) {
        conn->read_ns = now;
        conn->read_bytes = 0;
    }
    return conn->read_bytes < read_size(conn);
}

void proxy_conn_read(struct proxy_conn *conn)
{
    while (may_read(conn)) {
        if (conn->state == CONN_STARTING && !conn->stepping) {
            proxy_conn_want_step(conn);
            return;
        }
        if (!read_budget(conn)) {
            read_later(conn);
            return;
        }
        size_t size = read_size(conn);
        ssize_t got = recv(conn->source.fd, conn->turn->scratch, size, 0);
        if (got < 0) {
            if (errno == EINTR)
                continue;
            conn->readable = false;
            if (errno != EAGAIN)
                proxy_conn_fail_errno(conn, -errno);
            return;
        }
        if (got == 0) {
            proxy_conn_socket_eof(conn);
            return;
        }
        if ((size_t)got < size && !conn->hung_up)
            conn->readable = false; /* drained; the next edge tells of more */
        conn->bulk = (size_t)got >= (conn->bulk ? PROXY_TURN_READ / 2 : PROXY_TURN_READ);
        conn->read_bytes += (size_t)got;
        proxy_conn_feed(conn, fl_span_make(conn->turn->scratch, (size_t)got));
    }
}

void proxy_conn_want_step(struct proxy_conn *conn)
{
    if (proxy_handshake_want(&conn->turn->handshakes, &conn->handshake))
        proxy_conn_set_deadline(conn, PROXY_HANDSHAKE_WAIT_MS);
}

void proxy_conn_run_input(struct proxy_conn *conn)
{
    if (conn->raw_input && conn->input != NULL && conn->state == CONN_STARTING && !conn->stepping) {
        proxy_conn_want_step(conn); /* it is not its turn yet */
        return;
    }
    if (conn->raw_input) {
        struct fl_span bytes = input_span(conn);
        char *input = fl_take(conn->input);
        conn->raw_input = false;
        proxy_conn_input_drop(conn);
        if (bytes.len > 0)
            proxy_conn_feed(conn, bytes);
        free(input);
    }
    if (conn->redeliver && !conn->paused && conn->state == CONN_OPEN) {
        conn->redeliver = false;
        input_show(conn);
    }
    if (conn->state != CONN_CLOSED)
        tell_eof(conn);
    proxy_conn_carry_hold(conn);
    proxy_conn_read(conn);
}

void proxy_conn_pause(struct proxy_conn *conn)
{
    conn->paused = true;
    proxy_conn_carry_hold(conn);
}

void proxy_conn_resume(struct proxy_conn *conn)
{
    conn->paused = false;
    conn->redeliver = true;
    if (conn->input != NULL || conn->readable || conn->held || (conn->eof && !conn->eof_told))
        proxy_conn_want_run(conn);
}

bool proxy_conn_saw_eof(const struct proxy_conn *conn)
{
    return conn->eof || conn->hung_up;
}

size_t proxy_conn_unread(const struct proxy_conn *conn)
{
    return conn->input_end - conn->input_begin;
}

uint64_t proxy_conn_bytes_received(const struct proxy_conn *conn)
{
    return conn->received;
}
