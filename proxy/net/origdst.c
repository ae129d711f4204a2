#include "proxy/net/origdst.h"

#define ORIGINAL_DST 80 /* SO_ORIGINAL_DST and IP6T_SO_ORIGINAL_DST alike; their headers clash with glibc's */

static bool local_address(int fd, struct proxy_address *ret_local)
{
    struct sockaddr_storage raw;
    socklen_t size = sizeof(raw);
    return getsockname(fd, (struct sockaddr *)&raw, &size) == 0 && proxy_address_from_sockaddr(&raw, ret_local) == 0;
}

enum proxy_origdst proxy_origdst(int fd, const struct proxy_address *peer, struct proxy_address *ret_original,
                                 struct proxy_address *ret_local)
{
    struct sockaddr_storage raw = {0};
    socklen_t size = sizeof(raw);
    memset(ret_local, 0, sizeof(*ret_local));
    if (!local_address(fd, ret_local) || ret_original == NULL)
        return PROXY_ORIGDST_NONE;
    int level = peer->any.sa_family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6;
    if (getsockopt(fd, level, ORIGINAL_DST, &raw, &size) < 0)
        return PROXY_ORIGDST_NONE;
    struct proxy_address original;
    if (proxy_address_from_sockaddr(&raw, &original) < 0 || proxy_address_eq(&original, ret_local))
        return PROXY_ORIGDST_NONE;
    *ret_original = original;
    return PROXY_ORIGDST_FOUND;
}
