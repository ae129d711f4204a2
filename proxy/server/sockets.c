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

/* One for each worker, or none. */
static int open_listener(const struct proxy_listener *listener, struct proxy_inherited *inherited, size_t workers,
                         int *fds, size_t stride, struct fl_err *err)
{
    const struct proxy_socket_options options = {
        .address = listener->address,
        .ipv4_compat = listener->ipv4_compat,
        .reuse_port = workers > 1,
        .transparent = listener->transparent,
        .backlog = listener->backlog,
        .inherited = inherited,
    };
    int result = 0;
    for (size_t i = 0; result == 0 && i < workers; i++)
        result = proxy_socket_listen(&options, &fds[i * stride], err);
    for (size_t i = 0; result < 0 && i < workers; i++)
        fl_cleanup_close(&fds[i * stride]);
    if (result < 0)
        fl_err_prefix(err, "listener %.*s", FL_SPAN_ARG(listener->name));
    return result;
}

/* The first error is the one that is told. */
static int open_each(const struct proxy_sockets *sockets, struct proxy_inherited *inherited,
                     const struct proxy_snapshot *snapshot, size_t workers, bool strict, struct proxy_sockets *next,
                     int *fds, struct fl_err *err)
{
    bool missing = false;
    for (size_t i = 0; i < snapshot->listener_slots; i++) {
        const struct proxy_listener *listener = snapshot->listeners[i];
        if (listener == NULL || !listener->bind_to_port)
            continue;
        int result =
            is_open(sockets, &listener->address)
                ? 0
                : open_listener(listener, inherited, workers, fds + i, snapshot->listener_slots, missing ? NULL : err);
        if (result == 0)
            next->addresses[next->count++] = listener->address;
        else if (strict)
            return result;
        missing = missing || result < 0;
    }
    return missing ? PROXY_SOCKETS_MISSING : 0;
}

int proxy_sockets_open(const struct proxy_sockets *sockets, struct proxy_inherited *inherited,
                       const struct proxy_snapshot *snapshot, size_t workers, bool strict,
                       struct proxy_sockets *ret_next, int **ret_fds, struct fl_err *err)
{
    size_t count = workers * snapshot->listener_slots;
    int *fds = malloc((count + 1) * sizeof(int));
    struct proxy_sockets next = {.addresses = calloc(snapshot->listener_count + 1, sizeof(struct proxy_address))};
    int result = fds == NULL || next.addresses == NULL ? fl_err_errno(err, -ENOMEM, "open listeners") : 0;
    for (size_t i = 0; result == 0 && i < count; i++)
        fds[i] = -1;
    if (result == 0)
        result = open_each(sockets, inherited, snapshot, workers, strict, &next, fds, err);
    if (result < 0) {
        if (fds != NULL && next.addresses != NULL)
            close_all(fds, count);
        else
            free(fds);
        proxy_sockets_done(&next);
        return result;
    }
    *ret_next = next;
    *ret_fds = fds;
    return result;
}

void proxy_sockets_done(struct proxy_sockets *sockets)
{
    free(fl_take(sockets->addresses));
    sockets->count = 0;
}
