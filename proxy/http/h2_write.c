/* Frames to bytes and back: heads, and the small frames that keep a connection going. */
#include "proxy/http/h2_inner.h"

#include <assert.h>

char *proxy_h2_put_u32(char *to, uint32_t value)
{
    to[0] = (char)(value >> 24);
    to[1] = (char)(value >> 16);
    to[2] = (char)(value >> 8);
    to[3] = (char)value;
    return to + 4;
}

char *proxy_h2_put_head(char *to, uint32_t len, enum h2_type type, unsigned flags, uint32_t stream)
{
    to[0] = (char)(len >> 16);
    to[1] = (char)(len >> 8);
    to[2] = (char)len;
    to[3] = (char)type;
    to[4] = (char)flags;
    return proxy_h2_put_u32(to + 5, stream);
}

struct h2_frame proxy_h2_get_head(const char *from)
{
    const unsigned char *octet = (const unsigned char *)from;
    return (struct h2_frame){.len = (uint32_t)octet[0] << 16 | (uint32_t)octet[1] << 8 | octet[2],
                             .type = octet[3],
                             .flags = octet[4],
                             .stream = proxy_h2_get_u32(from + 5) & 0x7fffffffu};
}

void proxy_h2_send(struct proxy_h2 *h2, struct fl_span bytes)
{
    if (!h2->over)
        h2->ops->send(h2->owner, bytes);
}

void proxy_h2_send_control(struct proxy_h2 *h2, enum h2_type type, unsigned flags, uint32_t stream,
                           struct fl_span payload)
{
    if (h2->over)
        return;
    if (h2->held && ++h2->control > H2_CONTROL_MAX) {
        proxy_h2_fail(h2, PROXY_H2_ERROR_CONTROL_FLOOD);
        return;
    }
    char frame[H2_FRAME_HEAD + 64];
    assert(payload.len <= sizeof(frame) - H2_FRAME_HEAD);
    char *at = proxy_h2_put_head(frame, (uint32_t)payload.len, type, flags, stream);
    if (payload.len > 0)
        memcpy(at, payload.data, payload.len);
    proxy_h2_send(h2, fl_span_make(frame, H2_FRAME_HEAD + payload.len));
}

void proxy_h2_send_rst(struct proxy_h2 *h2, uint32_t stream, uint32_t code)
{
    char payload[4];
    proxy_h2_put_u32(payload, code);
    proxy_h2_note_reset(h2, stream);
    proxy_h2_send_control(h2, H2_RST_STREAM, 0, stream, fl_span_make(payload, sizeof(payload)));
}

void proxy_h2_send_window(struct proxy_h2 *h2, uint32_t stream, uint32_t increment)
{
    char payload[4];
    proxy_h2_put_u32(payload, increment);
    proxy_h2_send_control(h2, H2_WINDOW_UPDATE, 0, stream, fl_span_make(payload, sizeof(payload)));
}
