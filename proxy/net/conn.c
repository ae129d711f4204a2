/* The life of a connection, as states:
 *
 *   CONNECTING ─► STARTING ─► OPEN ─► (FLUSHING | LINGERING) ─► CLOSED
 *   (dialled)     (handshake)         (the owner has left)      (memory goes at the turn's end)
 *
 * Without a transport STARTING is skipped. Every step away from an event handler is made in proxy_conn_run, at the end
 * of the turn, so a callback never finds the stack of another connection below it; only on_data, on_eof, on_open and
 * on_closed run inside this connection's own event. After every callback the state is looked at again: the owner may
 * have closed.
 */
#include "proxy/net/conn.h"

#include "common/loop/timer.h"

#include <assert.h>
#include <errno.h>
#include <linux/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#define EVENTS   (EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET)
#define IOV_MAX_ 16u

enum state { CONNECTING, STARTING, OPEN, FLUSHING, LINGERING, CLOSED };

struct proxy_conn {
    struct fl_source source;
    struct proxy_turn *turn;
    const struct proxy_conn_ops *ops;
    void *owner;
    const struct proxy_transport_ops *transport_ops; /* NULL: plain */
    void *transport;
    struct proxy_queue out;  /* the owner's bytes */
    struct proxy_queue wire; /* the transport's: records */
    char *input;             /* received and not consumed: input[input_begin, input_end); NULL where there is none */
    uint32_t input_begin, input_end, input_size;
    struct proxy_conn *next_ready;
    struct proxy_conn *closing_next, *closing_previous; /* in turn->closing */
    struct fl_timer timer;                              /* connect, handshake, flush or linger, by state */
    struct fl_deferred deferred;
    uint64_t received, sent;
    uint64_t handshake_ms;
    uint64_t read_ns; /* the turn of the last read, for its budget */
    size_t read_bytes;
    struct proxy_address peer;
    int error; /* negative errno of the socket, for proxy_conn_error */
    enum state state;
    bool readable, writable, hung_up; /* as epoll told */
    bool connected;                   /* connect(2) succeeded at once */
    bool ready_listed;
    bool paused;
    bool redeliver; /* the owner wants to see the kept input again */
    bool raw_input; /* the kept input is for the transport */
    bool backlogged, tell_writable;
    bool linger;        /* FLUSHING ends in LINGERING */
    bool eof, eof_told; /* the peer's direction has ended */
    bool out_dead;      /* the peer takes no more */
    bool failed;        /* to be ended in proxy_conn_run */
    enum shut { SHUT_NO, SHUT_WANTED, SHUT_NOTIFIED, SHUT_DONE } shut;
    enum proxy_end end;
};

const char *proxy_end_text(enum proxy_end end)
{
    static const char *const texts[] = {
#define X(name, text) text,
        PROXY_ENDS(X)
#undef X
    };
    return texts[end];
}

/* --- ready list, end of life ----------------------------------------------------------------------------------- */

static void want_run(struct proxy_conn *conn)
{
    if (conn->ready_listed || conn->state == CLOSED)
        return;
    conn->ready_listed = true;
    conn->next_ready = NULL;
    *conn->turn->ready_tail = conn;
    conn->turn->ready_tail = &conn->next_ready;
    fl_hook_arm(conn->turn->loop, &conn->turn->hook);
}

struct proxy_conn *proxy_conn_next_ready(struct proxy_conn *conn)
{
    conn->ready_listed = false;
    return conn->next_ready;
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
    free(conn);
}

static void input_drop(struct proxy_conn *conn)
{
    free(fl_take(conn->input));
    conn->input_begin = conn->input_end = conn->input_size = 0;
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

/* The socket goes, the memory follows at the end of the turn. */
static void finish(struct proxy_conn *conn, bool reset)
{
    if (conn->state == CLOSED)
        return;
    bool left = conn->state == FLUSHING || conn->state == LINGERING;
    conn->state = CLOSED;
    unlist(conn);
    fl_timer_cancel(&conn->timer);
    int fd = conn->source.fd;
    fl_source_remove(&conn->source);
    if (reset) {
        struct linger hard = {.l_onoff = 1};
        (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
    }
    close(fd);
    conn->source.fd = -1;
    proxy_queue_clear(&conn->out, &conn->turn->pool);
    proxy_queue_clear(&conn->wire, &conn->turn->pool);
    input_drop(conn);
    conn->turn->connections--;
    fl_loop_defer(conn->turn->loop, &conn->deferred, release);
    if (left)
        closing_remove(conn);
}

void proxy_conn_abandon(struct proxy_conn *conn)
{
    finish(conn, false);
}

static bool owned(const struct proxy_conn *conn)
{
    return conn->state <= OPEN;
}

/* Fails outside of a callback: told from proxy_conn_run. */
static void fail_later(struct proxy_conn *conn, enum proxy_end end)
{
    if (conn->failed || conn->state == CLOSED)
        return;
    conn->failed = true;
    conn->end = end;
    want_run(conn);
}

static void flush(struct proxy_conn *conn);

static void fail(struct proxy_conn *conn, enum proxy_end end)
{
    if (conn->state == CLOSED)
        return;
    bool told = owned(conn);
    if (end == PROXY_END_TLS && conn->wire.bytes > 0 && !conn->out_dead) { /* an alert says why */
        proxy_queue_clear(&conn->out, &conn->turn->pool);
        flush(conn);
    }
    const struct proxy_conn_ops *ops = conn->ops;
    void *owner = conn->owner;
    /* proxy_conn_error is read in on_closed: the memory is still there. */
    finish(conn, end == PROXY_END_MEMORY || end == PROXY_END_TRUNCATED);
    if (told && ops != NULL)
        ops->on_closed(owner, end);
}

static void fail_errno(struct proxy_conn *conn, int error)
{
    conn->error = error;
    if (error == -ENOMEM || error == -ENOBUFS)
        fail(conn, PROXY_END_MEMORY);
    else
        fail(conn, conn->state == CONNECTING ? PROXY_END_REFUSED : PROXY_END_RESET);
}

/* What a transport function returned. True: go on. */
static bool transport_ok(struct proxy_conn *conn, int result)
{
    if (result < 0 && result != -ECANCELED && conn->state != CLOSED)
        fail(conn, result == -ENOMEM ? PROXY_END_MEMORY : PROXY_END_TLS);
    return conn->state != CLOSED && result >= 0;
}

/* --- reading --------------------------------------------------------------------------------------------------- */

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
    if (conn->state == CLOSED)
        return;
    assert(used <= bytes.len);
    conn->input_begin += (uint32_t)used;
    if (conn->input_begin == conn->input_end)
        input_drop(conn);
}

int proxy_conn_deliver(struct proxy_conn *conn, struct fl_span bytes)
{
    if (!owned(conn))
        return conn->state == CLOSED ? -ECANCELED : 0; /* lingering: dropped */
    conn->received += bytes.len;
    if (conn->input == NULL && !conn->paused) {
        conn->redeliver = false;
        size_t used = conn->ops->on_data(conn->owner, bytes);
        if (!owned(conn))
            return conn->state == CLOSED ? -ECANCELED : 0;
        assert(used <= bytes.len);
        if (conn->redeliver) /* paused and resumed within the callback */
            want_run(conn);
        return input_keep(conn, fl_span_from(bytes, used));
    }
    if (input_keep(conn, bytes) < 0)
        return -ENOMEM;
    if (!conn->paused)
        input_show(conn);
    return conn->state == CLOSED ? -ECANCELED : 0;
}

static void tell_eof(struct proxy_conn *conn)
{
    if (!conn->eof || conn->eof_told || conn->paused || conn->state != OPEN)
        return;
    conn->eof_told = true;
    conn->ops->on_eof(conn->owner);
    if (conn->out_dead && owned(conn))
        fail(conn, PROXY_END_RESET); /* nothing more can happen on it */
}

int proxy_conn_ended(struct proxy_conn *conn)
{
    conn->eof = true;
    if (conn->state == OPEN)
        tell_eof(conn);
    return conn->state == CLOSED ? -ECANCELED : 0;
}

static void feed(struct proxy_conn *conn, struct fl_span bytes)
{
    if (conn->state == LINGERING)
        return;
    int result = conn->transport_ops != NULL ? conn->transport_ops->feed(conn->transport, bytes)
                                             : proxy_conn_deliver(conn, bytes);
    if (conn->transport_ops != NULL)
        (void)transport_ok(conn, result);
    else if (result == -ENOMEM)
        fail(conn, PROXY_END_MEMORY);
    if (conn->wire.bytes > 0 || conn->out.bytes > 0)
        want_run(conn);
}

/* The socket's FIN. */
static void socket_eof(struct proxy_conn *conn)
{
    conn->readable = false;
    if (conn->state == LINGERING || conn->state == FLUSHING) {
        conn->eof = true;
        if (conn->state == LINGERING)
            finish(conn, false);
        return;
    }
    if (conn->out_dead && conn->error != -EPIPE) { /* the reset was told to send(2) already */
        fail(conn, PROXY_END_RESET);
        return;
    }
    if (conn->transport_ops != NULL && !conn->eof) {
        conn->eof = true;
        fail(conn, conn->state == STARTING ? PROXY_END_RESET : PROXY_END_TRUNCATED);
        return;
    }
    conn->eof = true;
    tell_eof(conn);
}

static bool may_read(const struct proxy_conn *conn)
{
    return conn->readable && !conn->paused && !conn->failed && conn->state >= STARTING && conn->state != CLOSED &&
           conn->state != FLUSHING && conn->input_end - conn->input_begin < PROXY_CONN_INPUT_MAX && !conn->raw_input;
}

/* One turn's share is used up: epoll is asked again, which puts the connection behind the others. */
static void read_later(struct proxy_conn *conn)
{
    int result = fl_source_modify(&conn->source, EVENTS);
    if (result < 0)
        fail_errno(conn, result);
}

static bool read_budget(struct proxy_conn *conn)
{
    uint64_t now = fl_loop_now_ns(conn->turn->loop);
    if (conn->read_ns != now) {
        conn->read_ns = now;
        conn->read_bytes = 0;
    }
    return conn->read_bytes < PROXY_TURN_READ;
}

static void read_socket(struct proxy_conn *conn)
{
    while (may_read(conn)) {
        if (!read_budget(conn) || (conn->state == STARTING && !proxy_turn_take_handshake(conn->turn))) {
            read_later(conn);
            return;
        }
        ssize_t got = recv(conn->source.fd, conn->turn->scratch, PROXY_TURN_READ, 0);
        if (got < 0) {
            if (errno == EINTR)
                continue;
            conn->readable = false;
            if (errno != EAGAIN)
                fail_errno(conn, -errno);
            return;
        }
        if (got == 0) {
            socket_eof(conn);
            return;
        }
        if ((size_t)got < PROXY_TURN_READ && !conn->hung_up)
            conn->readable = false; /* drained; the next edge tells of more */
        conn->read_bytes += (size_t)got;
        feed(conn, fl_span_make(conn->turn->scratch, (size_t)got));
    }
}

/* --- writing --------------------------------------------------------------------------------------------------- */

int proxy_conn_send(struct proxy_conn *conn, struct fl_span bytes)
{
    if (conn->out_dead || conn->state == CLOSED)
        return 0;
    return proxy_queue_append(&conn->wire, &conn->turn->pool, bytes);
}

/* Turns the owner's bytes into records, as long as few of them wait. */
static bool encrypt(struct proxy_conn *conn)
{
    while (conn->out.bytes > 0 && conn->wire.bytes < PROXY_CONN_HIGH) {
        struct fl_span front = proxy_queue_front(&conn->out);
        int result = conn->transport_ops->write(conn->transport, front);
        if (result < 0) {
            fail_later(conn, result == -ENOMEM ? PROXY_END_MEMORY : PROXY_END_TLS);
            return false;
        }
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
    want_run(conn);
}

/* Sends from the queue until it is empty or the socket is full. */
static void send_queue(struct proxy_conn *conn, struct proxy_queue *queue)
{
    struct iovec iov[IOV_MAX_];
    while (conn->writable && queue->bytes > 0) {
        struct msghdr message = {.msg_iov = iov, .msg_iovlen = proxy_queue_iov(queue, iov, IOV_MAX_)};
        size_t want = 0;
        for (size_t i = 0; i < message.msg_iovlen; i++)
            want += iov[i].iov_len;
        ssize_t done = message.msg_iovlen == 1 ? send(conn->source.fd, iov[0].iov_base, want, MSG_NOSIGNAL)
                                               : sendmsg(conn->source.fd, &message, MSG_NOSIGNAL);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0 && errno != EAGAIN) {
            output_died(conn, -errno);
            return;
        }
        if (done > 0)
            proxy_queue_consume(queue, &conn->turn->pool, (size_t)done);
        if (done < 0 || (size_t)done < want)
            conn->writable = false;
    }
}

static void flush(struct proxy_conn *conn)
{
    if (conn->out_dead || conn->state == CONNECTING || conn->state == LINGERING || conn->state == CLOSED)
        return;
    if (conn->transport_ops == NULL) {
        send_queue(conn, &conn->out);
        return;
    }
    do {
        if (conn->state != STARTING && !encrypt(conn))
            return;
        send_queue(conn, &conn->wire);
    } while (conn->writable && !conn->out_dead && conn->out.bytes > 0 && conn->state != STARTING);
}

/* close_notify and FIN, once everything before them is out. */
static void send_end(struct proxy_conn *conn)
{
    if (conn->shut == SHUT_WANTED && conn->out.bytes == 0 && conn->state >= OPEN && !conn->out_dead) {
        conn->shut = SHUT_NOTIFIED;
        if (conn->transport_ops != NULL) {
            int result = conn->transport_ops->shutdown(conn->transport);
            if (result < 0)
                fail_later(conn, result == -ENOMEM ? PROXY_END_MEMORY : PROXY_END_TLS);
            send_queue(conn, &conn->wire);
        }
    }
    bool closing = conn->state == FLUSHING && !conn->linger; /* close(2) sends the FIN */
    if (conn->shut == SHUT_NOTIFIED && conn->wire.bytes == 0 && !conn->out_dead && !closing) {
        conn->shut = SHUT_DONE;
        (void)shutdown(conn->source.fd, SHUT_WR);
    }
}

static bool drained(const struct proxy_conn *conn)
{
    return conn->out_dead || (conn->out.bytes == 0 && conn->wire.bytes == 0 && conn->shut != SHUT_WANTED);
}

static void update_backlog(struct proxy_conn *conn)
{
    size_t waiting = conn->out.bytes + conn->wire.bytes;
    if (!conn->backlogged && waiting >= PROXY_CONN_HIGH)
        conn->backlogged = true;
    if (conn->backlogged && waiting <= PROXY_CONN_LOW) {
        conn->backlogged = false;
        conn->tell_writable = true;
        want_run(conn);
    }
}

void proxy_conn_write(struct proxy_conn *conn, struct fl_span bytes)
{
    if (bytes.len == 0 || conn->out_dead || conn->failed || !owned(conn))
        return;
    conn->sent += bytes.len;
    if (proxy_queue_append(&conn->out, &conn->turn->pool, bytes) < 0) {
        fail_later(conn, PROXY_END_MEMORY);
        return;
    }
    if (conn->out.bytes + conn->wire.bytes >= PROXY_CONN_HIGH)
        flush(conn); /* much at once: what the socket takes now need not wait */
    update_backlog(conn);
    want_run(conn);
}

/* --- life ------------------------------------------------------------------------------------------------------ */

static void on_deadline(struct fl_timer *timer)
{
    struct proxy_conn *conn = FL_CONTAINER_OF(timer, struct proxy_conn, timer);
    if (owned(conn))
        fail(conn, conn->state == CONNECTING ? PROXY_END_CONNECT_TIMEOUT : PROXY_END_HANDSHAKE_TIMEOUT);
    else
        finish(conn, conn->state == FLUSHING);
}

static void start_transport(struct proxy_conn *conn)
{
    conn->state = STARTING;
    fl_timer_set(conn->turn->loop, &conn->timer, conn->handshake_ms, on_deadline);
    (void)transport_ok(conn, conn->transport_ops->start(conn->transport));
}

static void connected(struct proxy_conn *conn)
{
    fl_timer_cancel(&conn->timer);
    conn->writable = true;
    want_run(conn);
    if (conn->transport_ops != NULL) {
        start_transport(conn);
        return;
    }
    conn->state = OPEN;
    conn->ops->on_open(conn->owner);
}

static void connect_result(struct proxy_conn *conn)
{
    int error = 0;
    socklen_t size = sizeof(error);
    if (getsockopt(conn->source.fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
        error = errno;
    if (error != 0)
        fail_errno(conn, -error);
    else
        connected(conn);
}

static void on_event(struct fl_source *source, uint32_t events)
{
    struct proxy_conn *conn = FL_CONTAINER_OF(source, struct proxy_conn, source);
    if (conn->state == CONNECTING) {
        if ((events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) != 0)
            connect_result(conn);
        if (conn->state == CLOSED || conn->state == CONNECTING)
            return;
    }
    if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0)
        conn->hung_up = true;
    if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0)
        conn->readable = true;
    if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0 && !conn->writable) {
        conn->writable = true;
        want_run(conn);
    }
    read_socket(conn);
}

/* The owner has left: closed once its bytes are out. */
static void run_closing(struct proxy_conn *conn)
{
    flush(conn);
    send_end(conn);
    if (conn->state == CLOSED || (!conn->failed && !drained(conn)))
        return;
    if (!conn->linger || conn->out_dead || conn->failed || conn->eof) {
        finish(conn, false);
        return;
    }
    conn->state = LINGERING;
    fl_timer_set(conn->turn->loop, &conn->timer, PROXY_CONN_LINGER_MS, on_deadline);
    conn->readable = true;
    conn->paused = false;
    input_drop(conn);
    read_socket(conn);
}

static void run_input(struct proxy_conn *conn)
{
    if (conn->raw_input) {
        struct fl_span bytes = input_span(conn);
        char *input = fl_take(conn->input);
        conn->raw_input = false;
        input_drop(conn);
        if (bytes.len > 0)
            feed(conn, bytes);
        free(input);
    }
    if (conn->redeliver && !conn->paused && conn->state == OPEN) {
        conn->redeliver = false;
        input_show(conn);
    }
    if (conn->state != CLOSED)
        tell_eof(conn);
    read_socket(conn);
}

void proxy_conn_run(struct proxy_conn *conn)
{
    if (conn->connected) {
        conn->connected = false;
        connected(conn);
    }
    if (conn->failed && owned(conn)) {
        fail(conn, conn->end);
        return;
    }
    if (conn->state <= OPEN)
        run_input(conn);
    if (conn->state == FLUSHING) {
        run_closing(conn);
        return;
    }
    if (conn->state != STARTING && conn->state != OPEN)
        return;
    flush(conn);
    send_end(conn);
    update_backlog(conn);
    if (conn->tell_writable && conn->state == OPEN) {
        conn->tell_writable = false;
        conn->ops->on_writable(conn->owner);
    }
}

static int conn_new(struct proxy_turn *turn, int fd, const struct proxy_address *peer, struct proxy_conn **ret_conn)
{
    struct proxy_conn *conn = calloc(1, sizeof(*conn));
    if (conn == NULL)
        return -ENOMEM;
    conn->turn = turn;
    conn->peer = *peer;
    int result = fl_source_add(turn->loop, &conn->source, fd, EVENTS, on_event);
    if (result < 0) {
        free(conn);
        return result;
    }
    turn->connections++;
    *ret_conn = conn;
    return 0;
}

int proxy_conn_accept(struct proxy_turn *turn, int fd, const struct proxy_address *peer, struct proxy_conn **ret_conn)
{
    int result = conn_new(turn, fd, peer, ret_conn);
    if (result < 0)
        return result;
    (*ret_conn)->state = OPEN;
    (*ret_conn)->writable = true;
    return 0;
}

static int dial(int fd, const struct proxy_address *peer, const struct proxy_address *source)
{
    const int on = 1, idle = 30, interval = 10, count = 3;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
    if (source != NULL && proxy_address_is_set(source)) {
        (void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
        if (bind(fd, &source->any, proxy_address_size(source)) < 0)
            return -errno;
    }
    if (connect(fd, &peer->any, proxy_address_size(peer)) < 0)
        return -errno;
    return 0;
}

int proxy_conn_connect(struct proxy_turn *turn, const struct proxy_address *peer, const struct proxy_address *source,
                       uint64_t timeout_ms, struct proxy_conn **ret_conn)
{
    FL_CLEANUP(fl_cleanup_close)
    int fd = socket(peer->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int dialled = dial(fd, peer, source);
    if (dialled < 0 && dialled != -EINPROGRESS)
        return dialled;
    struct proxy_conn *conn;
    int result = conn_new(turn, fd, peer, &conn);
    if (result < 0)
        return result;
    (void)fl_take_fd(fd);
    conn->state = CONNECTING;
    if (dialled == 0) {
        conn->connected = true;
        want_run(conn);
    } else {
        fl_timer_set(turn->loop, &conn->timer, timeout_ms, on_deadline);
    }
    *ret_conn = conn;
    return 0;
}

/* --- the owner's side ------------------------------------------------------------------------------------------- */

void proxy_conn_set_owner(struct proxy_conn *conn, const struct proxy_conn_ops *ops, void *owner)
{
    conn->ops = ops;
    conn->owner = owner;
    if (conn->eof_told) { /* the new owner has not heard of it */
        conn->eof_told = false;
        want_run(conn);
    }
}

void proxy_conn_set_transport(struct proxy_conn *conn, const struct proxy_transport_ops *ops, void *transport,
                              uint64_t timeout_ms)
{
    conn->transport_ops = ops;
    conn->transport = transport;
    conn->handshake_ms = timeout_ms;
    if (conn->state == CONNECTING)
        return;
    conn->received = 0;
    conn->raw_input = true;
    conn->paused = false;
    conn->redeliver = false;
    want_run(conn);
    start_transport(conn);
}

void proxy_conn_shutdown(struct proxy_conn *conn)
{
    if (conn->shut != SHUT_NO)
        return;
    conn->shut = SHUT_WANTED;
    want_run(conn);
}

void proxy_conn_close(struct proxy_conn *conn, enum proxy_close how)
{
    if (conn == NULL || !owned(conn))
        return;
    if (how == PROXY_CLOSE_NOW || how == PROXY_CLOSE_RESET || conn->state != OPEN || conn->failed || conn->out_dead) {
        finish(conn, how == PROXY_CLOSE_RESET || conn->failed);
        return;
    }
    /* Unread bytes would turn close(2) into a reset that may overtake what we sent. */
    conn->linger = how == PROXY_CLOSE_LINGER || conn->input != NULL || conn->readable;
    conn->state = FLUSHING;
    closing_add(conn);
    if (conn->shut == SHUT_NO)
        conn->shut = SHUT_WANTED;
    fl_timer_set(conn->turn->loop, &conn->timer, PROXY_CONN_FLUSH_MS, on_deadline);
    want_run(conn);
}

void proxy_conn_pause(struct proxy_conn *conn)
{
    conn->paused = true;
}

void proxy_conn_resume(struct proxy_conn *conn)
{
    conn->paused = false;
    conn->redeliver = true;
    if (conn->input != NULL || conn->readable || (conn->eof && !conn->eof_told))
        want_run(conn);
}

int proxy_conn_opened(struct proxy_conn *conn)
{
    if (conn->state != STARTING)
        return 0;
    conn->state = OPEN;
    want_run(conn);
    conn->ops->on_open(conn->owner);
    return conn->state == CLOSED ? -ECANCELED : 0;
}

void proxy_conn_ready(struct proxy_conn *conn)
{
    if (owned(conn))
        fl_timer_cancel(&conn->timer);
}

bool proxy_conn_is_backlogged(const struct proxy_conn *conn)
{
    return conn->backlogged;
}

bool proxy_conn_is_open(const struct proxy_conn *conn)
{
    return conn->state == OPEN && !conn->eof && !conn->hung_up && !conn->out_dead && !conn->failed;
}

bool proxy_conn_saw_eof(const struct proxy_conn *conn)
{
    return conn->eof || conn->hung_up;
}

bool proxy_conn_write_failed(const struct proxy_conn *conn)
{
    return conn->out_dead;
}

size_t proxy_conn_unread(const struct proxy_conn *conn)
{
    return conn->input_end - conn->input_begin;
}

size_t proxy_conn_unsent(const struct proxy_conn *conn)
{
    return conn->out.bytes + conn->wire.bytes;
}

uint64_t proxy_conn_bytes_received(const struct proxy_conn *conn)
{
    return conn->received;
}

uint64_t proxy_conn_bytes_sent(const struct proxy_conn *conn)
{
    return conn->sent;
}

const struct proxy_address *proxy_conn_peer(const struct proxy_conn *conn)
{
    return &conn->peer;
}

int proxy_conn_local(const struct proxy_conn *conn, struct proxy_address *ret_address)
{
    struct sockaddr_storage raw;
    socklen_t size = sizeof(raw);
    if (getsockname(conn->source.fd, (struct sockaddr *)&raw, &size) < 0)
        return -errno;
    return proxy_address_from_sockaddr(&raw, ret_address);
}

int proxy_conn_fd(const struct proxy_conn *conn)
{
    return conn->source.fd;
}

struct proxy_turn *proxy_conn_turn(const struct proxy_conn *conn)
{
    return conn->turn;
}

void *proxy_conn_transport(const struct proxy_conn *conn)
{
    return conn->transport;
}

const char *proxy_conn_error(const struct proxy_conn *conn)
{
    const char *text = conn->transport_ops != NULL ? conn->transport_ops->error(conn->transport) : "";
    if (text[0] != '\0')
        return text;
    return conn->error < 0 ? strerrordesc_np(-conn->error) : "";
}
