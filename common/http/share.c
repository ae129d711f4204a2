#include "common/http/share.h"

#include <netinet/in.h>

void fl_http_shares_init(struct fl_http_shares *shares, size_t max)
{
    fl_map_init(&shares->map, max);
}

void fl_http_shares_done(struct fl_http_shares *shares)
{
    void *share;
    for (size_t cursor = 0; fl_map_next(&shares->map, &cursor, NULL, &share);)
        free(share);
    fl_map_done(&shares->map);
}

static void set_ipv4(unsigned char key[FL_HTTP_SHARE_KEY], const void *address)
{
    key[0] = 4;
    memcpy(key + 1, address, 4);
}

static void read_key(const struct sockaddr *address, unsigned char key[FL_HTTP_SHARE_KEY])
{
    memset(key, 0, FL_HTTP_SHARE_KEY);
    if (address->sa_family == AF_INET) {
        struct sockaddr_in ipv4;
        memcpy(&ipv4, address, sizeof(ipv4));
        set_ipv4(key, &ipv4.sin_addr);
    } else if (address->sa_family == AF_INET6) {
        struct sockaddr_in6 ipv6;
        memcpy(&ipv6, address, sizeof(ipv6));
        if (IN6_IS_ADDR_V4MAPPED(&ipv6.sin6_addr)) {
            set_ipv4(key, ipv6.sin6_addr.s6_addr + 12);
        } else {
            key[0] = 6;
            memcpy(key + 1, ipv6.sin6_addr.s6_addr, 8);
        }
    }
}

struct fl_http_share *fl_http_share_of(struct fl_http_shares *shares, const struct sockaddr *address)
{
    unsigned char key[FL_HTTP_SHARE_KEY];
    read_key(address, key);
    struct fl_http_share *share = fl_map_get(&shares->map, fl_span_make(key, sizeof(key)));
    if (share != NULL)
        return share;
    share = calloc(1, sizeof(*share));
    if (share == NULL)
        return NULL;
    memcpy(share->key, key, sizeof(key));
    if (fl_map_put(&shares->map, fl_span_make(share->key, sizeof(share->key)), share) < 0) {
        free(share);
        return NULL;
    }
    return share;
}

void fl_http_share_release(struct fl_http_shares *shares, struct fl_http_share *share)
{
    if (share->connections > 0)
        return;
    fl_map_remove(&shares->map, fl_span_make(share->key, sizeof(share->key)));
    free(share);
}

void fl_http_share_turn(struct fl_http_share *share, uint64_t turn)
{
    if (share->turn == turn)
        return;
    share->turn = turn;
    share->accepted = 0;
    share->handshakes = 0;
}

bool fl_http_share_yields(const struct fl_http_share *a, const struct fl_http_share *b)
{
    if ((a->known > 0) != (b->known > 0))
        return a->known == 0;
    return a->connections - a->known > b->connections - b->known;
}
