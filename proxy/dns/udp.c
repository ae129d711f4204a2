#include "proxy/dns/udp.h"

#include <errno.h>
#include <sys/socket.h>

static void reply(const struct proxy_dns_from *from, const char *packet, size_t len)
{
    const struct proxy_dns_udp *udp = from->owner;
    (void)!sendto(udp->fd, packet, len, MSG_DONTWAIT | MSG_NOSIGNAL, &from->peer.any, proxy_address_size(&from->peer));
}

static void on_event(struct fl_source *source, uint32_t events)
{
    struct proxy_dns_udp *udp = FL_CONTAINER_OF(source, struct proxy_dns_udp, source);
    (void)events;
    for (unsigned i = 0; i < PROXY_DNS_UDP_TURN; i++) {
        struct sockaddr_storage raw;
        socklen_t size = sizeof(raw);
        struct proxy_dns_from from = {.reply = reply, .owner = udp};
        ssize_t len = recvfrom(udp->fd, udp->scratch, PROXY_DNS_MESSAGE_MAX, 0, (struct sockaddr *)&raw, &size);
        if (len < 0)
            return; /* nothing more, or an error about somebody who has gone */
        if (proxy_address_from_sockaddr(&raw, &from.peer) == 0 && proxy_address_port(&from.peer) != 0)
            (void)proxy_dns_resolver_ask(udp->resolver, fl_span_make(udp->scratch, (size_t)len), &from);
    }
}

static int open_socket(const struct proxy_address *address, int *ret_fd)
{
    const int on = 1;
    FL_CLEANUP(fl_cleanup_close)
    int fd = socket(address->any.sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (address->any.sa_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    if (bind(fd, &address->any, proxy_address_size(address)) < 0)
        return -errno;
    *ret_fd = fl_take_fd(fd);
    return 0;
}

int proxy_dns_udp_open(struct proxy_dns_udp *udp, struct proxy_dns_resolver *resolver,
                       const struct proxy_address *address, struct proxy_inherited *inherited, char *scratch,
                       struct fl_err *err)
{
    *udp = (struct proxy_dns_udp){.fd = -1, .resolver = resolver, .scratch = scratch};
    int handed_over = proxy_inherited_take(inherited, SOCK_DGRAM, address);
    int result = 0;
    if (handed_over >= 0)
        udp->fd = handed_over;
    else
        result = open_socket(address, &udp->fd);
    if (result == 0)
        result = fl_source_add(resolver->loop, &udp->source, udp->fd, EPOLLIN, on_event);
    if (result < 0) {
        char text[PROXY_ADDRESS_TEXT_MAX];
        proxy_address_print(address, text);
        proxy_dns_udp_close(udp);
        return fl_err_errno(err, result, "DNS on %s, UDP", text);
    }
    return 0;
}

void proxy_dns_udp_close(struct proxy_dns_udp *udp)
{
    if (udp->resolver == NULL)
        return;
    proxy_dns_resolver_forget(udp->resolver, udp);
    fl_source_remove(&udp->source);
    if (udp->fd >= 0)
        close(udp->fd);
    *udp = (struct proxy_dns_udp){.fd = -1};
}
