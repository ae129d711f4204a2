/* Extended CONNECT (RFC 8441) and an HTTP/1 upgrade, either told as the other: what is kept of one while it waits for
 * its answer, and WebSocket's key, which HTTP/2 does not have. */
#include "proxy/http/h2_inner.h"
#include "proxy/http/websocket.h"

#define KEY_NAME    FL_SPAN("sec-websocket-key")
#define ACCEPT_NAME FL_SPAN("sec-websocket-accept")

static struct fl_span value_of(const struct proxy_headers *headers, struct fl_span name)
{
    const struct proxy_header *field = proxy_headers_next(headers, PROXY_HEADER_OTHER, name, NULL);
    return field != NULL ? field->value : (struct fl_span){NULL, 0};
}

static struct h2_upgrade *make(struct fl_span protocol, struct fl_span key)
{
    struct h2_upgrade *upgrade = malloc(sizeof(*upgrade) + key.len + protocol.len);
    if (upgrade == NULL)
        return NULL;
    upgrade->made_key = false;
    upgrade->key_len = (uint32_t)key.len;
    upgrade->protocol_len = (uint32_t)protocol.len;
    if (key.len > 0)
        memcpy(upgrade->text, key.data, key.len);
    if (protocol.len > 0)
        memcpy(upgrade->text + key.len, protocol.data, protocol.len);
    return upgrade;
}

static struct fl_span key_of(const struct h2_upgrade *upgrade)
{
    return fl_span_make(upgrade->text, upgrade->key_len);
}

static struct fl_span protocol_of(const struct h2_upgrade *upgrade)
{
    return fl_span_make(upgrade->text + upgrade->key_len, upgrade->protocol_len);
}

static bool is_websocket(struct fl_span protocol)
{
    return fl_span_eq_nocase(protocol, FL_SPAN("websocket"));
}

bool proxy_h2_upgrade_sent(struct h2_stream *stream, const struct proxy_message *request)
{
    struct fl_span protocol = proxy_headers_value(&request->headers, PROXY_HEADER_UPGRADE);
    struct fl_span key = value_of(&request->headers, KEY_NAME);
    if (key.len > PROXY_WEBSOCKET_KEY_MAX) /* there is no answer to it but the server's own */
        key.len = 0;
    stream->upgrade = make(protocol, key);
    return stream->upgrade != NULL;
}

bool proxy_h2_upgrade_came(struct h2_stream *stream, struct proxy_message *request)
{
    struct fl_span protocol = proxy_headers_value(&request->headers, PROXY_HEADER_UPGRADE);
    char key[PROXY_WEBSOCKET_KEY];
    bool keyless =
        !stream->h2->bare_authority && is_websocket(protocol) && value_of(&request->headers, KEY_NAME).data == NULL;
    if (keyless && proxy_websocket_make_key(key) < 0)
        return false;
    stream->upgrade = make(protocol, keyless ? fl_span_make(key, sizeof(key)) : (struct fl_span){NULL, 0});
    if (stream->upgrade == NULL || !keyless)
        return stream->upgrade != NULL;
    stream->upgrade->made_key = true;
    return proxy_headers_add(&request->headers, FL_SPAN("sec-websocket-key"), key_of(stream->upgrade)) == 0;
}

bool proxy_h2_upgrade_answered(const struct h2_upgrade *upgrade, struct h2_arena *arena, struct proxy_message *answer)
{
    answer->status = 101;
    answer->reason = fl_span_str(proxy_status_reason(101));
    if (proxy_headers_add(&answer->headers, FL_SPAN("upgrade"), protocol_of(upgrade)) < 0)
        return false;
    if (!is_websocket(protocol_of(upgrade)) || upgrade->key_len == 0 ||
        value_of(&answer->headers, ACCEPT_NAME).data != NULL)
        return true;
    char *accept = proxy_h2_arena_take(arena, PROXY_WEBSOCKET_ACCEPT);
    return accept != NULL && proxy_websocket_accept(key_of(upgrade), accept) == 0 &&
           proxy_headers_add(&answer->headers, FL_SPAN("sec-websocket-accept"),
                             fl_span_make(accept, PROXY_WEBSOCKET_ACCEPT)) == 0;
}

bool proxy_h2_upgrade_answers(const struct h2_upgrade *upgrade, struct proxy_message *answer)
{
    if (!upgrade->made_key)
        return true;
    char accept[PROXY_WEBSOCKET_ACCEPT];
    struct fl_span said = value_of(&answer->headers, ACCEPT_NAME);
    bool right =
        proxy_websocket_accept(key_of(upgrade), accept) == 0 && fl_span_eq(said, fl_span_make(accept, sizeof(accept)));
    proxy_headers_remove(&answer->headers, ACCEPT_NAME);
    return right;
}
