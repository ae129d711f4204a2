#include "proxy/net/detect.h"

#define RECORD_HEAD           5u
#define RECORD_HANDSHAKE      0x16
#define RECORD_MAX            16384u
#define HANDSHAKE_HEAD        4u
#define HANDSHAKE_HELLO       1
#define EXTENSION_SERVER_NAME 0u
#define EXTENSION_ALPN        16u

/* A reader over bytes: what does not fit clears `good`, and every later read gives nothing. */
struct reader {
    struct fl_span rest;
    bool good;
};

static struct fl_span take(struct reader *reader, size_t count)
{
    if (!reader->good || count > reader->rest.len) {
        reader->good = false;
        return (struct fl_span){NULL, 0};
    }
    struct fl_span part = fl_span_make(reader->rest.data, count);
    reader->rest = fl_span_from(reader->rest, count);
    return part;
}

static size_t take_number(struct reader *reader, size_t width)
{
    struct fl_span bytes = take(reader, width);
    size_t value = 0;
    for (size_t i = 0; i < bytes.len; i++)
        value = value << 8 | (unsigned char)bytes.data[i];
    return value;
}

/* A vector whose length stands before it in `width` bytes. */
static struct reader take_vector(struct reader *reader, size_t width)
{
    size_t len = take_number(reader, width);
    struct fl_span body = take(reader, len);
    return (struct reader){body, reader->good};
}

static void keep_server_name(struct fl_span name, struct proxy_detect *detect)
{
    if (name.len == 0 || name.len > PROXY_DETECT_NAME_MAX)
        return;
    for (size_t i = 0; i < name.len; i++) {
        if (name.data[i] <= ' ' || name.data[i] > '~')
            return;
    }
    for (size_t i = 0; i < name.len; i++) {
        char byte = name.data[i];
        detect->server_name[i] = byte >= 'A' && byte <= 'Z' ? (char)(byte | 0x20) : byte;
    }
    detect->server_name_len = name.len;
}

static bool read_server_name(struct reader extension, struct proxy_detect *detect)
{
    struct reader list = take_vector(&extension, 2);
    while (list.good && list.rest.len > 0) {
        size_t kind = take_number(&list, 1);
        struct reader name = take_vector(&list, 2);
        if (name.good && kind == 0 && detect->server_name_len == 0)
            keep_server_name(name.rest, detect);
    }
    return extension.good && list.good;
}

static bool read_alpn(struct reader extension, struct proxy_detect *detect)
{
    struct reader list = take_vector(&extension, 2);
    while (list.good && list.rest.len > 0) {
        struct reader token = take_vector(&list, 1);
        if (!token.good || token.rest.len == 0)
            return false;
        if (detect->alpn_count == PROXY_DETECT_ALPN_MAX || token.rest.len > PROXY_DETECT_TOKEN_MAX)
            continue;
        memcpy(detect->alpn[detect->alpn_count], token.rest.data, token.rest.len);
        detect->alpn_len[detect->alpn_count++] = (uint8_t)token.rest.len;
    }
    return extension.good && list.good;
}

static bool read_extensions(struct reader *extensions, struct proxy_detect *detect)
{
    while (extensions->good && extensions->rest.len > 0) {
        size_t kind = take_number(extensions, 2);
        struct reader body = take_vector(extensions, 2);
        if (!body.good)
            return false;
        if (kind == EXTENSION_SERVER_NAME && !read_server_name(body, detect))
            return false;
        if (kind == EXTENSION_ALPN && !read_alpn(body, detect))
            return false;
    }
    return extensions->good;
}

/* The body of a ClientHello. */
static bool read_hello(struct fl_span body, struct proxy_detect *detect)
{
    struct reader reader = {body, true};
    take(&reader, 2 + 32); /* legacy version, random */
    take_vector(&reader, 1);
    struct reader suites = take_vector(&reader, 2);
    struct reader compression = take_vector(&reader, 1);
    if (!reader.good || suites.rest.len == 0 || suites.rest.len % 2 != 0 || compression.rest.len == 0)
        return false;
    if (reader.rest.len == 0) /* TLS 1.2 without extensions */
        return true;
    struct reader extensions = take_vector(&reader, 2);
    return reader.good && reader.rest.len == 0 && read_extensions(&extensions, detect);
}

/* Puts the handshake message together from its records. Where the first record holds it all, nothing is copied. */
struct message {
    struct fl_span bytes;           /* the handshake message as far as it is here */
    enum proxy_detect_result state; /* PROXY_DETECT_MORE: the last record is not all here */
    char copy[PROXY_DETECT_MAX];
};

static size_t message_size(struct fl_span bytes)
{
    struct reader reader = {fl_span_from(bytes, 1), true};
    return HANDSHAKE_HEAD + take_number(&reader, 3);
}

/* The next record's part of the message. False: `state` is decided. */
static bool next_record(struct reader *reader, struct message *message, struct fl_span *ret_part)
{
    struct reader head = {fl_span_make(reader->rest.data, reader->rest.len), true};
    size_t kind = take_number(&head, 1);
    size_t major = take_number(&head, 1);
    take(&head, 1);
    size_t len = take_number(&head, 2);
    if ((reader->rest.len > 0 && kind != RECORD_HANDSHAKE) || (reader->rest.len > 1 && major != 3) ||
        (head.good && (len == 0 || len > RECORD_MAX))) {
        message->state = PROXY_DETECT_OTHER;
        return false;
    }
    if (!head.good || head.rest.len == 0) {
        message->state = PROXY_DETECT_MORE;
        return false;
    }
    *ret_part = fl_span_make(head.rest.data, len < head.rest.len ? len : head.rest.len);
    reader->rest = fl_span_from(head.rest, ret_part->len);
    return true;
}

static void collect(struct fl_span bytes, struct message *message)
{
    struct reader reader = {bytes, true};
    struct fl_span part;
    message->bytes = (struct fl_span){NULL, 0};
    while (next_record(&reader, message, &part)) {
        if (message->bytes.len == 0) {
            message->bytes = part;
        } else {
            if (message->bytes.data != message->copy)
                memcpy(message->copy, message->bytes.data, message->bytes.len);
            memcpy(message->copy + message->bytes.len, part.data, part.len); /* all of it is ≤ the bytes looked at */
            message->bytes = fl_span_make(message->copy, message->bytes.len + part.len);
        }
        if (message->bytes.data[0] != HANDSHAKE_HELLO) {
            message->state = PROXY_DETECT_OTHER;
            return;
        }
        if (message->bytes.len < HANDSHAKE_HEAD)
            continue;
        size_t size = message_size(message->bytes);
        if (message->bytes.len >= size || size > PROXY_DETECT_MAX) {
            message->state = PROXY_DETECT_TLS;
            return;
        }
    }
}

static enum proxy_detect_result detect_tls(struct fl_span bytes, bool all, struct proxy_detect *detect)
{
    struct message message;
    collect(bytes, &message);
    bool hello = message.bytes.len >= HANDSHAKE_HEAD;
    if (hello && message.state != PROXY_DETECT_OTHER &&
        (message_size(message.bytes) > PROXY_DETECT_MAX || (all && message.state == PROXY_DETECT_MORE)))
        return PROXY_DETECT_TLS; /* too long for us to read the names */
    if (message.state != PROXY_DETECT_TLS)
        return all ? PROXY_DETECT_OTHER : message.state;
    size_t size = message_size(message.bytes);
    if (!read_hello(fl_span_make(message.bytes.data + HANDSHAKE_HEAD, size - HANDSHAKE_HEAD), detect)) {
        memset(detect, 0, sizeof(*detect));
        return PROXY_DETECT_OTHER;
    }
    return PROXY_DETECT_TLS;
}

static bool is_method_byte(char byte)
{
    return (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z') || byte == '-' || byte == '_';
}

/* METHOD SP target SP HTTP/1.x CR LF (a bare LF is recognised here, and refused by the codec). */
static enum proxy_detect_result detect_request_line(struct fl_span bytes)
{
    size_t method = 0;
    while (method < bytes.len && method < PROXY_DETECT_TOKEN_MAX && is_method_byte(bytes.data[method]))
        method++;
    if (method == bytes.len)
        return PROXY_DETECT_MORE;
    if (method == 0 || bytes.data[method] != ' ')
        return PROXY_DETECT_OTHER;
    size_t end = fl_span_find(bytes, '\n');
    for (size_t i = method; i < end; i++) {
        if ((unsigned char)bytes.data[i] < ' ' && !(bytes.data[i] == '\r' && i + 1 == end))
            return PROXY_DETECT_OTHER;
    }
    if (end == bytes.len)
        return bytes.len < PROXY_DETECT_LINE_MAX ? PROXY_DETECT_MORE : PROXY_DETECT_OTHER;
    struct fl_span line = fl_span_make(bytes.data, end > 0 && bytes.data[end - 1] == '\r' ? end - 1 : end);
    const struct fl_span version = FL_SPAN(" HTTP/1.");
    if (line.len < method + 2 + version.len || line.data[line.len - 1] < '0' || line.data[line.len - 1] > '9')
        return PROXY_DETECT_OTHER;
    struct fl_span tail = fl_span_make(line.data + line.len - 1 - version.len, version.len);
    return fl_span_eq(tail, version) ? PROXY_DETECT_HTTP1 : PROXY_DETECT_OTHER;
}

static enum proxy_detect_result detect_http(struct fl_span bytes)
{
    const struct fl_span preface = FL_SPAN("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    if (fl_span_starts_with(bytes, preface))
        return PROXY_DETECT_HTTP2;
    if (fl_span_starts_with(preface, bytes))
        return PROXY_DETECT_MORE;
    return detect_request_line(bytes);
}

enum proxy_detect_result proxy_detect(struct fl_span bytes, unsigned wanted, struct proxy_detect *ret_detect)
{
    memset(ret_detect, 0, sizeof(*ret_detect));
    if (bytes.len == 0)
        return wanted != 0 ? PROXY_DETECT_MORE : PROXY_DETECT_OTHER;
    bool all = bytes.len >= PROXY_DETECT_MAX;
    if (all)
        bytes.len = PROXY_DETECT_MAX;
    if ((wanted & PROXY_DETECT_WANT_TLS) != 0 && bytes.data[0] == RECORD_HANDSHAKE)
        return detect_tls(bytes, all, ret_detect);
    return (wanted & PROXY_DETECT_WANT_HTTP) != 0 ? detect_http(bytes) : PROXY_DETECT_OTHER;
}
