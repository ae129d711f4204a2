#include "common/http/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

#define BACKLOG 511

union address {
    struct sockaddr any;
    struct sockaddr_in ipv4;
    struct sockaddr_in6 ipv6;
};

static bool parse_host(struct fl_span host, union address *address)
{
    char text[INET6_ADDRSTRLEN];
    bool bracketed = host.len >= 2 && host.data[0] == '[' && host.data[host.len - 1] == ']';
    if (bracketed)
        host = fl_span_make(host.data + 1, host.len - 2);
    if (host.len == 0 || host.len >= sizeof(text) || memchr(host.data, '\0', host.len) != NULL)
        return false;
    memcpy(text, host.data, host.len);
    text[host.len] = '\0';
    address->any.sa_family = bracketed ? AF_INET6 : AF_INET;
    return bracketed ? inet_pton(AF_INET6, text, &address->ipv6.sin6_addr) == 1
                     : inet_pton(AF_INET, text, &address->ipv4.sin_addr) == 1;
}

static bool parse_address(struct fl_span text, union address *address)
{
    uint64_t port;
    size_t colon = text.len;
    while (colon > 0 && text.data[colon - 1] != ':')
        colon--;
    memset(address, 0, sizeof(*address));
    if (colon == 0 || !fl_span_to_u64(fl_span_from(text, colon), UINT16_MAX, &port) ||
        !parse_host(fl_span_make(text.data, colon - 1), address))
        return false;
    address->ipv4.sin_port = htons((uint16_t)port); /* the same place in both */
    return true;
}

static int open_listener(const union address *address, int *ret_fd)
{
    const int on = 1, off = 0;
    bool ipv6 = address->any.sa_family == AF_INET6;
    FL_CLEANUP(fl_cleanup_close)
    int fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
        (ipv6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) < 0) ||
        bind(fd, &address->any, ipv6 ? sizeof(address->ipv6) : sizeof(address->ipv4)) < 0 || listen(fd, BACKLOG) < 0)
        return -errno;
    *ret_fd = fl_take_fd(fd);
    return 0;
}

int fl_http_listen(struct fl_span text, int *ret_fd, uint16_t *ret_port, struct fl_err *err)
{
    union address address;
    if (!parse_address(text, &address))
        return fl_err_set(err, -EINVAL, "\"%.*s\" is not an address and port (127.0.0.1:8080, [::]:8080)",
                          FL_SPAN_ARG(text));
    FL_CLEANUP(fl_cleanup_close) int fd = -1;
    int result = open_listener(&address, &fd);
    socklen_t size = sizeof(address);
    if (result == 0 && getsockname(fd, &address.any, &size) < 0)
        result = -errno;
    if (result < 0)
        return fl_err_errno(err, result, "cannot listen on %.*s", FL_SPAN_ARG(text));
    *ret_port = ntohs(address.ipv4.sin_port);
    *ret_fd = fl_take_fd(fd);
    return 0;
}
