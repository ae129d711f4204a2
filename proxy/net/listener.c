#include "proxy/net/listener.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

static void set_int(int fd, int level, int option, int value)
{
    (void)setsockopt(fd, level, option, &value, sizeof(value)); /* improves, does not decide */
}

static int open_socket(const struct proxy_socket_options *options, const struct proxy_address *address, int *ret_fd)
{
    int handed_over = proxy_inherited_take(options->inherited, SOCK_STREAM, address);
    if (handed_over >= 0) {
        *ret_fd = handed_over;
        return 0;
    }
    FL_CLEANUP(fl_cleanup_close)
    int fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (address->any.sa_family == AF_INET6)
        set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, options->ipv4_compat ? 0 : 1);
    if (options->reuse_port)
        set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    if (options->transparent)
        set_int(fd, IPPROTO_IP, IP_TRANSPARENT, 1);
    set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, 30);
    set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, 10);
    set_int(fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
    if (bind(fd, &address->any, proxy_address_size(address)) < 0 || listen(fd, (int)options->backlog) < 0)
        return -errno;
    *ret_fd = fl_take_fd(fd);
    return 0;
}

int proxy_socket_listen(const struct proxy_socket_options *options, int *ret_fd, struct fl_err *err)
{
    int result = open_socket(options, &options->address, ret_fd);
    if (options->ipv4_compat && (result == -EAFNOSUPPORT || result == -EADDRNOTAVAIL)) {
        struct proxy_address any;
        result = proxy_address_parse(FL_SPAN("0.0.0.0"), proxy_address_port(&options->address), &any);
        if (result == 0)
            result = open_socket(options, &any, ret_fd);
    }
    if (result < 0) {
        char text[PROXY_ADDRESS_TEXT_MAX];
        proxy_address_print(&options->address, text);
        return fl_err_errno(err, result, "listen on %s", text);
    }
    return 0;
}

static void go_on(struct fl_timer *timer)
{
    struct proxy_listen *listen = FL_CONTAINER_OF(timer, struct proxy_listen, pause);
    if (fl_source_modify(&listen->source, EPOLLIN) < 0)
        fl_timer_set(listen->turn->loop, timer, PROXY_LISTEN_PAUSE_MS, go_on);
}

/* Errors of the connection that was waiting, as accept(2) passes them on: the next one may be well. */
static bool is_of_one_connection(int error)
{
    switch (error) {
    case EINTR:
    case ECONNABORTED:
    case EPROTO:
    case EPERM:
    case ENETDOWN:
    case ENETUNREACH:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case ENOPROTOOPT:
    case ETIMEDOUT:
        return true;
    default:
        return false;
    }
}

enum outcome { ACCEPTED, NOTHING, FAILED };

static enum outcome accept_one(struct proxy_listen *listen)
{
    struct sockaddr_storage raw;
    socklen_t size = sizeof(raw);
    int fd = accept4(listen->source.fd, (struct sockaddr *)&raw, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        int error = errno;
        if (error == EAGAIN)
            return NOTHING;
        if (is_of_one_connection(error))
            return ACCEPTED;
        listen->on_failure(listen, error);
        return FAILED;
    }
    struct proxy_address peer;
    if (proxy_address_from_sockaddr(&raw, &peer) < 0)
        close(fd);
    else
        listen->on_accept(listen, fd, &peer);
    return ACCEPTED;
}

static void on_event(struct fl_source *source, uint32_t events)
{
    struct proxy_listen *listen = FL_CONTAINER_OF(source, struct proxy_listen, source);
    (void)events;
    for (unsigned i = 0; i < PROXY_TURN_ACCEPTS && source->loop != NULL; i++) {
        enum outcome outcome = accept_one(listen);
        if (outcome == FAILED && source->loop != NULL && fl_source_modify(source, 0) == 0)
            fl_timer_set(listen->turn->loop, &listen->pause, PROXY_LISTEN_PAUSE_MS, go_on);
        if (outcome != ACCEPTED)
            return;
    }
}

void proxy_listen_last(struct proxy_listen *listen)
{
    for (unsigned i = 0; i < PROXY_LISTEN_LAST && listen->source.loop != NULL; i++) {
        if (accept_one(listen) != ACCEPTED)
            break;
    }
    proxy_listen_stop(listen);
}

int proxy_listen_start(struct proxy_listen *listen, int fd)
{
    return fl_source_add(listen->turn->loop, &listen->source, fd, EPOLLIN, on_event);
}

void proxy_listen_stop(struct proxy_listen *listen)
{
    fl_timer_cancel(&listen->pause);
    fl_source_remove(&listen->source);
}
