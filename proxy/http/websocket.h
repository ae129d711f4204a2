/* The opening handshake of WebSocket (RFC 6455 §4) where its two ends speak different versions of HTTP: HTTP/2 has no
 * Sec-WebSocket-Key and no Sec-WebSocket-Accept (RFC 8441 §5), HTTP/1 has both.
 */
#ifndef PROXY_HTTP_WEBSOCKET_H
#define PROXY_HTTP_WEBSOCKET_H

#include "common/base/cleanup.h"
#include "common/base/span.h"

#define PROXY_WEBSOCKET_KEY     24u /* bytes of a key, no NUL */
#define PROXY_WEBSOCKET_KEY_MAX 64u /* … of what a client says is one */
#define PROXY_WEBSOCKET_ACCEPT  28u

/* A key for a client that had none. 0, -ENOMEM, or -EIO: there is no randomness. */
int proxy_websocket_make_key(char to[PROXY_WEBSOCKET_KEY]) FL_MUST_CHECK;
/* What a server answers to `key`. 0, -ENOMEM, or -EINVAL: it is empty, or longer than PROXY_WEBSOCKET_KEY_MAX. */
int proxy_websocket_accept(struct fl_span key, char to[PROXY_WEBSOCKET_ACCEPT]) FL_MUST_CHECK;

#endif
