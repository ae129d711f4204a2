/* What is kept of an extended CONNECT (RFC 8441) while it waits for its answer. */
#include "proxy/http/h2_inner.h"

struct h2_upgrade *proxy_h2_upgrade_new(struct fl_span protocol, struct fl_span key)
{
    if (protocol.len > UINT8_MAX || key.len > UINT8_MAX)
        return NULL;
    struct h2_upgrade *upgrade = malloc(sizeof(*upgrade) + key.len + protocol.len);
    if (upgrade == NULL)
        return NULL;
    upgrade->made_key = false;
    upgrade->key_len = (uint8_t)key.len;
    upgrade->protocol_len = (uint8_t)protocol.len;
    if (key.len > 0)
        memcpy(upgrade->text, key.data, key.len);
    if (protocol.len > 0)
        memcpy(upgrade->text + key.len, protocol.data, protocol.len);
    return upgrade;
}
