#include "proxy/net/inherit.h"

#include "common/base/cleanup.h"

#include <sys/socket.h>
#include <unistd.h>

static bool describe(int fd, int *ret_type, struct proxy_address *ret_address)
{
    struct sockaddr_storage raw;
    socklen_t size = sizeof(raw), type_size = sizeof(*ret_type);
    return getsockopt(fd, SOL_SOCKET, SO_TYPE, ret_type, &type_size) == 0 &&
           getsockname(fd, (struct sockaddr *)&raw, &size) == 0 && proxy_address_from_sockaddr(&raw, ret_address) == 0;
}

int proxy_inherited_take(struct proxy_inherited *inherited, int type, const struct proxy_address *address)
{
    for (unsigned i = 0; inherited != NULL && i < inherited->count; i++) {
        struct proxy_address own;
        int own_type;
        if (!describe(inherited->fds[i], &own_type, &own) || own_type != type || !proxy_address_eq(&own, address))
            continue;
        int fd = inherited->fds[i];
        for (inherited->count--; i < inherited->count; i++)
            inherited->fds[i] = inherited->fds[i + 1]; /* in their order: the first worker's first */
        return fd;
    }
    return -1;
}

unsigned proxy_inherited_workers(const struct proxy_inherited *inherited)
{
    unsigned most = 0;
    for (unsigned i = 0; i < inherited->count; i++) {
        struct proxy_address address, other;
        int type;
        unsigned same = 0;
        if (!describe(inherited->fds[i], &type, &address) || type != SOCK_STREAM)
            continue;
        for (unsigned k = 0; k < inherited->count; k++) {
            if (describe(inherited->fds[k], &type, &other) && type == SOCK_STREAM)
                same += proxy_address_eq(&address, &other);
        }
        most = same > most ? same : most;
    }
    return most;
}

void proxy_inherited_done(struct proxy_inherited *inherited)
{
    for (unsigned i = 0; i < inherited->count; i++)
        close(inherited->fds[i]);
    inherited->count = 0;
}
