#include "common/grpc/accept.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#define BACKLOG        1024
#define ACCEPTS_A_TURN 16
#define PAUSE_MS       100

static int open_socket(const struct fl_grpc_address *address, int *ret_fd)
{
    FL_CLEANUP(fl_cleanup_close)
    int fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    const int on = 1, off = 0;
    if (fd < 0)
        return -errno;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)); /* these improve, they do not decide */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* inherited */
    if (address->any.sa_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    if (bind(fd, &address->any, fl_grpc_address_size(address)) < 0 || listen(fd, BACKLOG) < 0)
        return -errno;
    *ret_fd = fl_take_fd(fd);
    return 0;
}

static void go_on(struct fl_timer *timer)
{
    struct fl_grpc_accept *accept = FL_CONTAINER_OF(timer, struct fl_grpc_accept, pause);
    if (fl_source_modify(&accept->source, EPOLLIN) < 0)
        fl_timer_set(accept->loop, timer, PAUSE_MS, go_on);
}

/* Errors of the connection that was waiting, as accept(2) passes them on: the next one may be well. */
static bool is_shortage(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

static bool accept_one(struct fl_grpc_accept *accept)
{
    struct sockaddr_storage raw;
    socklen_t size = sizeof(raw);
    struct fl_grpc_address peer;
    int fd = accept4(accept->fd, (struct sockaddr *)&raw, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        int error = errno;
        if (is_shortage(error) && fl_source_modify(&accept->source, 0) == 0)
            fl_timer_set(accept->loop, &accept->pause, PAUSE_MS, go_on);
        return error != EAGAIN && !is_shortage(error);
    }
    if (fl_grpc_address_from_sockaddr(&raw, &peer) < 0)
        close(fd);
    else
        accept->on_accept(accept, fd, &peer);
    return true;
}

static void on_event(struct fl_source *source, uint32_t events)
{
    struct fl_grpc_accept *accept = FL_CONTAINER_OF(source, struct fl_grpc_accept, source);
    (void)events;
    for (unsigned i = 0; i < ACCEPTS_A_TURN && source->loop != NULL && accept_one(accept); i++)
        ;
}

int fl_grpc_accept_start(struct fl_grpc_accept *accept, struct fl_loop *loop, const struct fl_grpc_address *address,
                         struct fl_err *err)
{
    int fd = -1;
    int result = open_socket(address, &fd);
    if (result == 0)
        result = fl_source_add(loop, &accept->source, fd, EPOLLIN, on_event);
    if (result < 0) {
        char text[FL_GRPC_ADDRESS_TEXT_MAX];
        fl_cleanup_close(&fd);
        fl_grpc_address_print(address, text);
        return fl_err_errno(err, result, "listen on %s", text);
    }
    accept->loop = loop;
    accept->fd = fd;
    return 0;
}

void fl_grpc_accept_stop(struct fl_grpc_accept *accept)
{
    if (accept->source.loop == NULL)
        return;
    fl_timer_cancel(&accept->pause);
    fl_source_remove(&accept->source);
    close(accept->fd);
}
