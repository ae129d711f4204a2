#include "proxy/http/h1_body.h"

#include "proxy/http/h1_field.h"
#include "proxy/http/octet.h"

#include <errno.h>

enum state {
    STATE_DONE, /* 0: a zeroed body is complete */
    STATE_CONTENT,
    STATE_CHUNK_SIZE,
    STATE_CHUNK_SIZE_SPACE, /* lenient */
    STATE_CHUNK_EXTENSION,
    STATE_CHUNK_SIZE_LF,
    STATE_CHUNK_DATA,
    STATE_CHUNK_DATA_CR,
    STATE_CHUNK_DATA_LF,
    STATE_TRAILERS,
    STATE_FAILED,
};

void proxy_h1_body_init(struct proxy_h1_body *body, const struct proxy_message *message)
{
    *body = (struct proxy_h1_body){.framing = message->framing, .lenient = message->lenient};
    switch ((enum proxy_framing)message->framing) {
    case PROXY_FRAMING_NONE:
        break;
    case PROXY_FRAMING_LENGTH:
        body->left = message->content_length;
        body->state = body->left > 0 ? STATE_CONTENT : STATE_DONE;
        break;
    case PROXY_FRAMING_CHUNKED:
        body->state = STATE_CHUNK_SIZE;
        break;
    case PROXY_FRAMING_CLOSE:
        body->left = UINT64_MAX;
        body->state = STATE_CONTENT;
        break;
    }
}

bool proxy_h1_body_done(const struct proxy_h1_body *body)
{
    return body->state == STATE_DONE;
}

static int fail(struct proxy_h1_body *body, enum proxy_h1_error error)
{
    body->state = STATE_FAILED;
    body->error = (uint8_t)error;
    return -EPROTO;
}

/* Content of a length, of a chunk or until close: at most body->left bytes; then `next`. */
static int content(struct proxy_h1_body *body, struct fl_span *bytes, struct fl_span *ret_data, enum state next)
{
    if (bytes->len == 0)
        return PROXY_H1_MORE;
    size_t size = body->left < bytes->len ? (size_t)body->left : bytes->len;
    *ret_data = fl_span_make(bytes->data, size);
    *bytes = fl_span_from(*bytes, size);
    if (body->framing != PROXY_FRAMING_CLOSE)
        body->left -= size;
    if (body->left == 0)
        body->state = (uint8_t)next;
    return PROXY_H1_DATA;
}

static unsigned hex_digit(char octet)
{
    return (unsigned)(octet <= '9' ? octet - '0' : (octet | 0x20) - 'a' + 10);
}

/* What may follow the digits. */
static int size_end(struct proxy_h1_body *body, char octet)
{
    if (octet == '\r')
        body->state = STATE_CHUNK_SIZE_LF;
    else if (octet == ';')
        body->state = STATE_CHUNK_EXTENSION;
    else if (body->lenient && (octet == ' ' || octet == '\t') && ++body->line <= PROXY_H1_CHUNK_LINE_MAX)
        body->state = STATE_CHUNK_SIZE_SPACE;
    else
        return fail(body, PROXY_H1_ERROR_CHUNK_SIZE);
    return 0;
}

/* One octet of a chunk-size line. body->line counts them: digits first, so it tells how many digits there were. 0 or
 * -EPROTO. */
static int size_octet(struct proxy_h1_body *body, char octet)
{
    if (proxy_octet_is(octet, PROXY_OCTET_HEX)) {
        if (++body->line > PROXY_H1_CHUNK_DIGITS_MAX)
            return fail(body, PROXY_H1_ERROR_CHUNK_SIZE);
        body->left = body->left << 4 | hex_digit(octet);
        return 0;
    }
    return body->line == 0 ? fail(body, PROXY_H1_ERROR_CHUNK_SIZE) : size_end(body, octet);
}

/* Chunk extensions (RFC 9112 §7.1.1) are dropped, but must be ones: who takes any octets as an extension may stand
 * behind somebody who ends the line elsewhere. */
enum extension {
    EXTENSION_NAME_BEGIN, /* 0: behind ';' */
    EXTENSION_NAME,
    EXTENSION_NAME_END, /* white space behind it */
    EXTENSION_VALUE_BEGIN,
    EXTENSION_VALUE,
    EXTENSION_QUOTED,
    EXTENSION_ESCAPED,
    EXTENSION_VALUE_END,
    EXTENSION_BAD,
};

static enum extension extension_punctuation(enum extension state, char octet)
{
    bool named = state == EXTENSION_NAME || state == EXTENSION_NAME_END;
    bool whole = named || state == EXTENSION_VALUE || state == EXTENSION_VALUE_END;
    switch (octet) {
    case ' ':
    case '\t':
        if (state == EXTENSION_NAME_BEGIN || state == EXTENSION_VALUE_BEGIN)
            return state;
        return named ? EXTENSION_NAME_END : EXTENSION_VALUE_END;
    case '=':
        return named ? EXTENSION_VALUE_BEGIN : EXTENSION_BAD;
    case ';':
        return whole ? EXTENSION_NAME_BEGIN : EXTENSION_BAD;
    case '"':
        return state == EXTENSION_VALUE_BEGIN ? EXTENSION_QUOTED : EXTENSION_BAD;
    default:
        return EXTENSION_BAD;
    }
}

static enum extension extension_next(enum extension state, char octet)
{
    if (!proxy_octet_is(octet, PROXY_OCTET_VALUE))
        return EXTENSION_BAD;
    if (state == EXTENSION_ESCAPED)
        return EXTENSION_QUOTED;
    if (state == EXTENSION_QUOTED)
        return octet == '"' ? EXTENSION_VALUE_END : octet == '\\' ? EXTENSION_ESCAPED : state;
    if (!proxy_octet_is(octet, PROXY_OCTET_TOKEN))
        return extension_punctuation(state, octet);
    if (state == EXTENSION_NAME_BEGIN || state == EXTENSION_NAME)
        return EXTENSION_NAME;
    return state == EXTENSION_VALUE_BEGIN || state == EXTENSION_VALUE ? EXTENSION_VALUE : EXTENSION_BAD;
}

static int extension_octet(struct proxy_h1_body *body, char octet)
{
    enum extension state = (enum extension)body->extension;
    bool whole = state == EXTENSION_NAME || state == EXTENSION_VALUE || state == EXTENSION_VALUE_END;
    if (octet == '\r' && (whole || state == EXTENSION_NAME_END)) {
        body->extension = EXTENSION_NAME_BEGIN;
        body->state = STATE_CHUNK_SIZE_LF;
        return 0;
    }
    body->extension = (uint8_t)extension_next(state, octet);
    if (body->extension == EXTENSION_BAD || ++body->line > PROXY_H1_CHUNK_LINE_MAX)
        return fail(body, PROXY_H1_ERROR_CHUNK_EXTENSION);
    return 0;
}

/* One octet that must be `wanted`; then `next`. */
static int fixed_octet(struct proxy_h1_body *body, char octet, char wanted, enum state next)
{
    if (octet != wanted)
        return fail(body, PROXY_H1_ERROR_CHUNK_END);
    body->state = (uint8_t)next;
    return 0;
}

/* One octet between chunks. */
static int frame_octet(struct proxy_h1_body *body, char octet)
{
    switch ((enum state)body->state) {
    case STATE_CHUNK_SIZE:
        return size_octet(body, octet);
    case STATE_CHUNK_SIZE_SPACE:
        return size_end(body, octet);
    case STATE_CHUNK_EXTENSION:
        return extension_octet(body, octet);
    case STATE_CHUNK_SIZE_LF:
        body->line = 0;
        return fixed_octet(body, octet, '\n', body->left > 0 ? STATE_CHUNK_DATA : STATE_TRAILERS);
    case STATE_CHUNK_DATA_CR:
        return fixed_octet(body, octet, '\r', STATE_CHUNK_DATA_LF);
    case STATE_CHUNK_DATA_LF:
        return fixed_octet(body, octet, '\n', STATE_CHUNK_SIZE);
    case STATE_DONE:
    case STATE_CONTENT:
    case STATE_CHUNK_DATA:
    case STATE_TRAILERS:
    case STATE_FAILED:
        break;
    }
    return -EPROTO;
}

/* Fields that tell how to frame, route, authenticate or read the message mean nothing, or harm, after it
 * (RFC 9110 §6.5.1). */
static bool forbidden_trailer(uint8_t id)
{
    static const uint8_t forbidden[] = {
        PROXY_HEADER_HOST,
        PROXY_HEADER_CONTENT_LENGTH,
        PROXY_HEADER_TRANSFER_ENCODING,
        PROXY_HEADER_CONNECTION,
        PROXY_HEADER_KEEP_ALIVE,
        PROXY_HEADER_PROXY_CONNECTION,
        PROXY_HEADER_HTTP2_SETTINGS,
        PROXY_HEADER_TE,
        PROXY_HEADER_UPGRADE,
        PROXY_HEADER_TRAILER,
        PROXY_HEADER_EXPECT,
        PROXY_HEADER_PROXY_AUTHENTICATE,
        PROXY_HEADER_PROXY_AUTHORIZATION,
        PROXY_HEADER_AUTHORIZATION,
        PROXY_HEADER_CACHE_CONTROL,
        PROXY_HEADER_CONTENT_ENCODING,
        PROXY_HEADER_CONTENT_RANGE,
        PROXY_HEADER_CONTENT_TYPE,
        PROXY_HEADER_COOKIE,
        PROXY_HEADER_SET_COOKIE,
        PROXY_HEADER_LOCATION,
        PROXY_HEADER_FORWARDED,
        PROXY_HEADER_X_FORWARDED_FOR,
        PROXY_HEADER_X_FORWARDED_HOST,
        PROXY_HEADER_X_FORWARDED_PROTO,
        PROXY_HEADER_X_FORWARDED_CLIENT_CERT,
    };
    return memchr(forbidden, id, sizeof(forbidden)) != NULL;
}

static void drop_forbidden(struct proxy_headers *trailers)
{
    for (size_t i = 0; i < trailers->count; i++) {
        struct proxy_header *field = &trailers->list[i];
        if (forbidden_trailer(field->id)) {
            field->removed = true;
            trailers->first[field->id] = 0;
        }
    }
}

/* A trailer section that is not empty: parsed only when all of it is there. Kept apart for its big local. */
static __attribute__((noinline)) int trailer_fields(struct proxy_h1_body *body, struct fl_span *bytes,
                                                    struct proxy_headers *trailers)
{
    struct proxy_headers dropped;
    if (trailers == NULL) {
        trailers = &dropped;
        proxy_headers_init(trailers);
    }
    struct fl_span section = *bytes;
    bool cut = section.len >= PROXY_H1_TRAILERS_MAX;
    if (cut)
        section.len = PROXY_H1_TRAILERS_MAX;
    bool first_empty = section.data[0] == '\r' || section.data[0] == '\n';
    bool worth = body->scanned == 0 || cut || first_empty || proxy_h1_head_ended(section, body->scanned);
    body->scanned = (uint32_t)section.len;
    if (!worth)
        return PROXY_H1_MORE;
    struct proxy_h1_cursor cursor = {.at = section.data, .end = section.data + section.len, .lenient = body->lenient};
    int result = proxy_h1_fields(&cursor, PROXY_H1_HEADERS_MAX, trailers);
    if (result == PROXY_H1_MORE && cut)
        return fail(body, PROXY_H1_ERROR_TRAILER_TOO_LARGE);
    if (result < 0)
        return fail(body, cursor.error == PROXY_H1_ERROR_TOO_MANY_FIELDS ? PROXY_H1_ERROR_TRAILER_TOO_LARGE
                                                                         : PROXY_H1_ERROR_TRAILER);
    if (result == PROXY_H1_DONE) {
        drop_forbidden(trailers);
        body->state = STATE_DONE;
        *bytes = fl_span_from(*bytes, (size_t)(cursor.at - section.data));
    }
    return result;
}

static int trailers_section(struct proxy_h1_body *body, struct fl_span *bytes, struct proxy_headers *trailers)
{
    if (bytes->len == 0)
        return PROXY_H1_MORE;
    if (bytes->len >= 2 && bytes->data[0] == '\r' && bytes->data[1] == '\n') { /* none: nearly always */
        *bytes = fl_span_from(*bytes, 2);
        body->state = STATE_DONE;
        return PROXY_H1_DONE;
    }
    return trailer_fields(body, bytes, trailers);
}

static int chunked(struct proxy_h1_body *body, struct fl_span *bytes, struct proxy_headers *trailers,
                   struct fl_span *ret_data)
{
    while (bytes->len > 0 && body->state != STATE_CHUNK_DATA && body->state != STATE_TRAILERS) {
        if (frame_octet(body, bytes->data[0]) < 0)
            return -EPROTO;
        *bytes = fl_span_from(*bytes, 1);
    }
    if (body->state == STATE_TRAILERS)
        return trailers_section(body, bytes, trailers);
    return body->state == STATE_CHUNK_DATA ? content(body, bytes, ret_data, STATE_CHUNK_DATA_CR) : PROXY_H1_MORE;
}

int proxy_h1_body_decode(struct proxy_h1_body *body, struct fl_span *bytes, struct proxy_headers *trailers,
                         struct fl_span *ret_data)
{
    if (trailers != NULL)
        proxy_headers_init(trailers);
    switch ((enum state)body->state) {
    case STATE_DONE:
        return PROXY_H1_DONE;
    case STATE_CONTENT:
        return content(body, bytes, ret_data, STATE_DONE);
    case STATE_FAILED:
        return -EPROTO;
    case STATE_CHUNK_SIZE:
    case STATE_CHUNK_SIZE_SPACE:
    case STATE_CHUNK_EXTENSION:
    case STATE_CHUNK_SIZE_LF:
    case STATE_CHUNK_DATA:
    case STATE_CHUNK_DATA_CR:
    case STATE_CHUNK_DATA_LF:
    case STATE_TRAILERS:
        break;
    }
    return chunked(body, bytes, trailers, ret_data);
}

int proxy_h1_body_eof(struct proxy_h1_body *body)
{
    if (body->framing == PROXY_FRAMING_CLOSE && body->state == STATE_CONTENT)
        body->state = STATE_DONE;
    return body->state == STATE_DONE ? PROXY_H1_DONE : fail(body, PROXY_H1_ERROR_BODY_TRUNCATED);
}
