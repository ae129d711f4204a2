#include "proxy/server/sockets.h"

#include <errno.h>

static bool is_open(const struct proxy_sockets *sockets, const struct proxy_address *address)
{
    for (size_t i = 0; i < sockets->count; i++) {
        if (proxy_address_eq(&sockets->addresses[i], address))
            return true;
    }
    return false;
}

static void close_all(int *fds, size_t count)
{
    for (size_t i = 0; i < count; i++)
        fl_cleanup_close(&fds[i]);
    free(fds);
}

int proxy_sockets_open(const struct proxy_sockets *sockets, const struct proxy_snapshot *snapshot, size_t workers,
                       int **ret_fds, struct fl_err *err)
{
    size_t listeners = snapshot->listener_count, count = workers * listeners;
    int *fds = malloc((count + 1) * sizeof(int));
    if (fds == NULL)
        return fl_err_errno(err, -ENOMEM, "open listeners");
    for (size_t i = 0; i < count; i++)
        fds[i] = -1;
    for (size_t i = 0; i < count; i++) {
        const struct proxy_listener *listener = &snapshot->listeners[i % listeners];
        if (!listener->bind_to_port || is_open(sockets, &listener->address))
            continue;
        const struct proxy_socket_options options = {
            .address = listener->address,
            .ipv4_compat = listener->ipv4_compat,
            .reuse_port = workers > 1,
            .transparent = listener->transparent,
            .backlog = listener->backlog,
        };
        int result = proxy_socket_listen(&options, &fds[i], err);
        if (result < 0) {
            close_all(fds, count);
            return fl_err_prefix(err, "listener %.*s", FL_SPAN_ARG(listener->name)), result;
        }
    }
    *ret_fds = fds;
    return 0;
}

int proxy_sockets_adopt(struct proxy_sockets *sockets, const struct proxy_snapshot *snapshot)
{
    struct proxy_address *addresses = calloc(snapshot->listener_count + 1, sizeof(*addresses));
    if (addresses == NULL)
        return -ENOMEM;
    size_t count = 0;
    for (size_t i = 0; i < snapshot->listener_count; i++) {
        if (snapshot->listeners[i].bind_to_port)
            addresses[count++] = snapshot->listeners[i].address;
    }
    free(sockets->addresses);
    sockets->addresses = addresses;
    sockets->count = count;
    return 0;
}

void proxy_sockets_done(struct proxy_sockets *sockets)
{
    free(fl_take(sockets->addresses));
    sockets->count = 0;
}
