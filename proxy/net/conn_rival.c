/* Happy eyeballs (RFC 8305): while a connection is dialled, a second socket to its other address, begun when the first
 * has said nothing for a while, or has failed. The one that connects first is the connection's; the other one goes. */
#include "proxy/net/conn_inner.h"

#include <errno.h>
#include <sys/socket.h>

struct conn_rival {
    struct proxy_conn *conn;
    struct fl_source source; /* fd -1: not begun */
    struct fl_timer timer;
    struct proxy_address address, from;
    struct proxy_dial how;
    struct fl_deferred deferred;
};

static void release(struct fl_deferred *deferred)
{
    free(FL_CONTAINER_OF(deferred, struct conn_rival, deferred));
}

/* Its fd: the caller's. */
static int take_fd(struct conn_rival *rival)
{
    int fd = rival->source.fd;
    fl_source_remove(&rival->source);
    rival->source.fd = -1;
    return fd;
}

void proxy_conn_rival_drop(struct proxy_conn *conn)
{
    struct conn_rival *rival = fl_take(conn->rival);
    if (rival == NULL)
        return;
    fl_timer_cancel(&rival->timer);
    int fd = take_fd(rival);
    if (fd >= 0)
        close(fd);
    fl_loop_defer(conn->turn->loop, &rival->deferred, release);
}

/* The rival's socket is the connection's from now on, connected or not. 0, or epoll's errno. */
static int adopt(struct conn_rival *rival)
{
    struct proxy_conn *conn = rival->conn;
    int before = conn->source.fd;
    fl_source_remove(&conn->source);
    if (before >= 0)
        close(before);
    conn->source.fd = take_fd(rival);
    conn->peer = rival->address;
    int fd = conn->source.fd;
    proxy_conn_rival_drop(conn);
    return fl_source_add(conn->turn->loop, &conn->source, fd, CONN_EVENTS, proxy_conn_on_event);
}

static void on_event(struct fl_source *source, uint32_t events)
{
    struct conn_rival *rival = FL_CONTAINER_OF(source, struct conn_rival, source);
    struct proxy_conn *conn = rival->conn;
    int error = 0;
    socklen_t size = sizeof(error);
    if ((events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) == 0)
        return;
    if (getsockopt(source->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 || error != 0) {
        proxy_conn_rival_drop(conn); /* the first one goes on alone */
        return;
    }
    int result = adopt(rival); /* epoll tells the new source at once that it can be written to */
    if (result < 0)
        proxy_conn_fail_errno(conn, result);
}

/* False: it could not be begun. */
static bool begin(struct conn_rival *rival)
{
    FL_CLEANUP(fl_cleanup_close) int fd = proxy_conn_socket(&rival->address);
    if (fd < 0)
        return false;
    int dialled = proxy_conn_dial(fd, &rival->address, &rival->how);
    if ((dialled < 0 && dialled != -EINPROGRESS) ||
        fl_source_add(rival->conn->turn->loop, &rival->source, fd, CONN_EVENTS, on_event) < 0)
        return false;
    (void)fl_take_fd(fd);
    return true;
}

static void on_timer(struct fl_timer *timer)
{
    struct conn_rival *rival = FL_CONTAINER_OF(timer, struct conn_rival, timer);
    if (!begin(rival))
        proxy_conn_rival_drop(rival->conn);
}

void proxy_conn_rival_new(struct proxy_conn *conn, const struct proxy_dial *how)
{
    struct conn_rival *rival = calloc(1, sizeof(*rival));
    if (rival == NULL)
        return; /* one address has to do */
    rival->conn = conn;
    rival->source.fd = -1;
    rival->address = *how->other;
    rival->how = *how;
    rival->how.source = NULL;
    if (how->other_source != NULL) {
        rival->from = *how->other_source;
        rival->how.source = &rival->from;
    }
    conn->rival = rival;
    fl_timer_set(conn->turn->loop, &rival->timer, PROXY_CONN_RIVAL_MS, on_timer);
}

bool proxy_conn_rival_takes_over(struct proxy_conn *conn)
{
    struct conn_rival *rival = conn->rival;
    if (rival == NULL || (rival->source.fd < 0 && !begin(rival)))
        return false;
    return adopt(rival) == 0;
}
