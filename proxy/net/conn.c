/* Where a connection comes from, its events and the end of its turn, and what its owner asks. */
#include "proxy/net/conn.h"

#include "proxy/net/conn_inner.h"

#include <assert.h>
#include <errno.h>
#include <linux/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

struct proxy_conn *proxy_conn_next_ready(struct proxy_conn *conn)
{
    conn->ready_listed = false;
    return conn->next_ready;
}

static void start_transport(struct proxy_conn *conn)
{
    conn->state = CONN_STARTING;
    proxy_conn_set_deadline(conn, conn->handshake_ms);
    if (conn->transport_ops->speaks_first || conn->input != NULL || conn->readable)
        proxy_conn_want_step(conn);
}

void proxy_conn_step(struct proxy_handshake *handshake, bool first)
{
    struct proxy_conn *conn = FL_CONTAINER_OF(handshake, struct proxy_conn, handshake);
    if (first) {
        proxy_conn_set_deadline(conn, conn->handshake_ms);
        if (!proxy_conn_transport_ok(conn, conn->transport_ops->start(conn->transport)))
            return;
    }
    conn->stepping = true;
    proxy_conn_run_input(conn);
    conn->stepping = false;
    if (conn->state == CONN_STARTING)
        proxy_conn_flush(conn); /* the peer need not wait for our next turn */
    proxy_conn_want_run(conn);
}

void proxy_conn_connected(struct proxy_conn *conn)
{
    fl_timer_cancel(&conn->timer);
    proxy_conn_rival_drop(conn);
    conn->writable = true;
    proxy_conn_want_run(conn);
    if (conn->transport_ops != NULL) {
        start_transport(conn);
        return;
    }
    conn->state = CONN_OPEN;
    conn->ops->on_open(conn->owner);
}

static int socket_error(const struct proxy_conn *conn)
{
    int error = 0;
    socklen_t size = sizeof(error);
    return getsockopt(conn->source.fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 ? -errno : -error;
}

static void connect_result(struct proxy_conn *conn)
{
    int error = socket_error(conn);
    if (error == 0)
        proxy_conn_connected(conn);
    else if (!proxy_conn_rival_takes_over(conn))
        proxy_conn_fail_errno(conn, error);
}

void proxy_conn_on_event(struct fl_source *source, uint32_t events)
{
    struct proxy_conn *conn = FL_CONTAINER_OF(source, struct proxy_conn, source);
    if (conn->state == CONN_CONNECTING) {
        if ((events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) != 0)
            connect_result(conn);
        if (conn->state == CONN_CLOSED || conn->state == CONN_CONNECTING)
            return;
    }
    if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0)
        conn->hung_up = true;
    if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0)
        conn->readable = true;
    if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0 && !conn->writable) {
        conn->writable = true;
        proxy_conn_want_run(conn);
    }
    if ((events & EPOLLERR) != 0 && (conn->paused || conn->eof) && conn->state == CONN_OPEN) { /* no read tells it */
        int error = socket_error(conn);
        if (error != 0) {
            proxy_conn_fail_errno(conn, error);
            return;
        }
    }
    proxy_conn_read(conn);
}

void proxy_conn_run(struct proxy_conn *conn)
{
    if (conn->connected) {
        conn->connected = false;
        proxy_conn_connected(conn);
    }
    if (conn->failed && proxy_conn_is_owned(conn)) {
        proxy_conn_fail(conn, conn->end);
        return;
    }
    if (conn->state <= CONN_OPEN)
        proxy_conn_run_input(conn);
    if (conn->state == CONN_FLUSHING) {
        proxy_conn_run_closing(conn);
        return;
    }
    if (conn->state != CONN_STARTING && conn->state != CONN_OPEN)
        return;
    proxy_conn_flush(conn);
    proxy_conn_send_end(conn);
    proxy_conn_update_backlog(conn);
    if (conn->tell_writable && conn->state == CONN_OPEN) {
        conn->tell_writable = false;
        conn->ops->on_writable(conn->owner);
    }
}

struct proxy_conn *proxy_conn_new(struct proxy_turn *turn, const struct proxy_address *peer)
{
    struct proxy_conn *conn = calloc(1, sizeof(*conn));
    if (conn == NULL)
        return NULL;
    conn->source.fd = -1;
    conn->turn = turn;
    conn->peer = *peer;
    conn->high = PROXY_CONN_HIGH;
    turn->connections++;
    if (turn->connections > turn->peak)
        turn->peak = turn->connections;
    return conn;
}

static int conn_new(struct proxy_turn *turn, int fd, const struct proxy_address *peer, struct proxy_conn **ret_conn)
{
    struct proxy_conn *conn = proxy_conn_new(turn, peer);
    if (conn == NULL)
        return -ENOMEM;
    int result = fl_source_add(turn->loop, &conn->source, fd, CONN_EVENTS, proxy_conn_on_event);
    if (result < 0) {
        turn->connections--;
        free(conn);
        return result;
    }
    *ret_conn = conn;
    return 0;
}

int proxy_conn_accept(struct proxy_turn *turn, int fd, const struct proxy_address *peer, struct proxy_conn **ret_conn)
{
    int result = conn_new(turn, fd, peer, ret_conn);
    if (result < 0)
        return result;
    (*ret_conn)->state = CONN_OPEN;
    (*ret_conn)->writable = true;
    return 0;
}

static void set_option(int fd, int level, int name, uint32_t value)
{
    const int number = (int)value;
    (void)setsockopt(fd, level, name, &number, sizeof(number));
}

static void set_keepalive(int fd, const struct proxy_keepalive *keepalive)
{
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    if (keepalive->idle_s > 0)
        set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, keepalive->idle_s);
    if (keepalive->interval_s > 0)
        set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, keepalive->interval_s);
    if (keepalive->probes > 0)
        set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, keepalive->probes);
    if (keepalive->user_timeout_ms > 0)
        set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, keepalive->user_timeout_ms);
}

int proxy_conn_dial(int fd, const struct proxy_address *peer, const struct proxy_dial *how)
{
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_keepalive(fd, &how->keepalive);
    if (how->source != NULL && proxy_address_is_set(how->source)) {
        set_option(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
        if (how->freebind) /* the option of IPv4 counts for IPv6 too (ip(7), ipv6_bind in Linux) */
            set_option(fd, IPPROTO_IP, IP_FREEBIND, 1);
        if (bind(fd, &how->source->any, proxy_address_size(how->source)) < 0)
            return -errno;
    }
    if (connect(fd, &peer->any, proxy_address_size(peer)) < 0)
        return -errno;
    return 0;
}

int proxy_conn_socket(const struct proxy_address *peer)
{
    int fd = socket(peer->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    return fd < 0 ? -errno : fd;
}

int proxy_conn_connect(struct proxy_turn *turn, const struct proxy_address *peer, const struct proxy_dial *how,
                       struct proxy_conn **ret_conn)
{
    FL_CLEANUP(fl_cleanup_close) int fd = proxy_conn_socket(peer);
    if (fd < 0)
        return fd;
    int dialled = proxy_conn_dial(fd, peer, how);
    bool more = how->other != NULL && proxy_address_is_set(how->other);
    if (dialled < 0 && dialled != -EINPROGRESS && more) { /* no route in this family: the other one alone */
        struct proxy_dial alone = *how;
        alone.source = how->other_source;
        alone.other = NULL;
        return proxy_conn_connect(turn, how->other, &alone, ret_conn);
    }
    if (dialled < 0 && dialled != -EINPROGRESS)
        return dialled;
    struct proxy_conn *conn;
    int result = conn_new(turn, fd, peer, &conn);
    if (result < 0)
        return result;
    (void)fl_take_fd(fd);
    conn->state = CONN_CONNECTING;
    if (dialled == 0) {
        conn->connected = true;
        proxy_conn_want_run(conn);
    } else {
        proxy_conn_set_deadline(conn, how->timeout_ms);
        if (more)
            proxy_conn_rival_new(conn, how);
    }
    *ret_conn = conn;
    return 0;
}

int proxy_conn_introduce(struct proxy_conn *conn, struct fl_span bytes)
{
    assert(conn->state == CONN_CONNECTING && conn->out.bytes == 0 && conn->wire.bytes == 0);
    struct proxy_queue *queue = conn->transport_ops != NULL ? &conn->wire : &conn->out;
    return proxy_queue_append(queue, &conn->turn->pool, bytes);
}

void proxy_conn_set_peer(struct proxy_conn *conn, const struct proxy_address *peer)
{
    conn->peer = *peer;
}

void proxy_conn_set_owner(struct proxy_conn *conn, const struct proxy_conn_ops *ops, void *owner)
{
    conn->ops = ops;
    conn->owner = owner;
    if (conn->eof_told) { /* the new owner has not heard of it */
        conn->eof_told = false;
        proxy_conn_want_run(conn);
    }
}

void proxy_conn_set_transport(struct proxy_conn *conn, const struct proxy_transport_ops *ops, void *transport,
                              uint64_t timeout_ms)
{
    conn->transport_ops = ops;
    conn->transport = transport;
    conn->handshake_ms = timeout_ms;
    if (conn->state == CONN_CONNECTING)
        return;
    conn->received = 0;
    conn->raw_input = true;
    conn->paused = false;
    conn->redeliver = false;
    proxy_conn_want_run(conn);
    start_transport(conn);
}

int proxy_conn_opened(struct proxy_conn *conn)
{
    if (conn->state != CONN_STARTING)
        return 0;
    conn->state = CONN_OPEN;
    proxy_handshake_leave(&conn->turn->handshakes, &conn->handshake);
    proxy_conn_want_run(conn);
    conn->ops->on_open(conn->owner);
    return conn->state == CONN_CLOSED ? -ECANCELED : 0;
}

void proxy_conn_ready(struct proxy_conn *conn)
{
    if (proxy_conn_is_owned(conn))
        fl_timer_cancel(&conn->timer);
}

bool proxy_conn_is_open(const struct proxy_conn *conn)
{
    return conn->state == CONN_OPEN && !conn->eof && !conn->hung_up && !conn->out_dead && !conn->failed;
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
