#include "control/model/ip.h"

#include <arpa/inet.h>
#include <errno.h>

static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

int control_ip_parse(struct fl_span text, struct control_ip *ret_ip)
{
    char room[CONTROL_IP_TEXT_MAX];
    if (text.len == 0 || text.len >= sizeof(room) || memchr(text.data, '\0', text.len) != NULL)
        return -EINVAL;
    memcpy(room, text.data, text.len);
    room[text.len] = '\0';
    struct control_ip ip = {.version = 4};
    if (inet_pton(AF_INET, room, ip.bytes) != 1) {
        if (inet_pton(AF_INET6, room, ip.bytes) != 1)
            return -EINVAL;
        ip.version = 6;
        if (memcmp(ip.bytes, mapped, sizeof(mapped)) == 0) {
            memcpy(ip.bytes, ip.bytes + 12, 4);
            memset(ip.bytes + 4, 0, 12);
            ip.version = 4;
        }
    }
    *ret_ip = ip;
    return 0;
}

const char *control_ip_print(const struct control_ip *ip, char room[CONTROL_IP_TEXT_MAX])
{
    room[0] = '\0';
    if (ip->version != 0)
        inet_ntop(ip->version == 4 ? AF_INET : AF_INET6, ip->bytes, room, CONTROL_IP_TEXT_MAX);
    return room;
}

int control_ip_compare(const struct control_ip *a, const struct control_ip *b)
{
    if (a->version != b->version)
        return a->version < b->version ? -1 : 1;
    return memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}
