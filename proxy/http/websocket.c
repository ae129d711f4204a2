#include "proxy/http/websocket.h"

#include "common/base/base64.h"

#include <errno.h>
#include <openssl/evp.h>
#include <sys/random.h>

#define GUID FL_SPAN("258EAFA5-E914-47DA-95CA-C5AB0DC85B11")

static int encode(struct fl_span bytes, char *to, size_t size)
{
    struct fl_buf text;
    fl_buf_init(&text, size);
    int result = fl_base64_encode(bytes, &text);
    if (result == 0 && text.len == size)
        memcpy(to, text.data, size);
    fl_buf_done(&text);
    return result;
}

int proxy_websocket_make_key(char to[PROXY_WEBSOCKET_KEY])
{
    unsigned char bytes[16];
    if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
        return -EIO;
    return encode(fl_span_make(bytes, sizeof(bytes)), to, PROXY_WEBSOCKET_KEY);
}

int proxy_websocket_accept(struct fl_span key, char to[PROXY_WEBSOCKET_ACCEPT])
{
    char text[PROXY_WEBSOCKET_KEY_MAX + 36];
    unsigned char digest[20];
    unsigned size = 0;
    if (key.len == 0 || key.len > PROXY_WEBSOCKET_KEY_MAX)
        return -EINVAL;
    memcpy(text, key.data, key.len);
    memcpy(text + key.len, GUID.data, GUID.len);
    if (EVP_Digest(text, key.len + GUID.len, digest, &size, EVP_sha1(), NULL) != 1 || size != sizeof(digest))
        return -ENOMEM;
    return encode(fl_span_make(digest, sizeof(digest)), to, PROXY_WEBSOCKET_ACCEPT);
}
