#include "proxy/http/h1.h"

#include "proxy/http/h1_field.h"
#include "proxy/http/octet.h"

#include <errno.h>

unsigned proxy_h1_error_status(enum proxy_h1_error error)
{
    static const uint16_t statuses[PROXY_H1_ERRORS] = {
#define X(id, status, word) [PROXY_H1_ERROR_##id] = status,
        PROXY_H1_ERROR_LIST(X)
#undef X
    };
    return statuses[error];
}

const char *proxy_h1_error_word(enum proxy_h1_error error)
{
    static const char *const words[PROXY_H1_ERRORS] = {
#define X(id, status, word) [PROXY_H1_ERROR_##id] = word,
        PROXY_H1_ERROR_LIST(X)
#undef X
    };
    return words[error];
}

/* "HTTP/" digit "." digit; *ret_minor is 0 or 1. */
static int version(struct proxy_h1_cursor *cursor, uint8_t *ret_minor)
{
    static const char name[] = "HTTP/";
    size_t left = (size_t)(cursor->end - cursor->at);
    size_t known = left < sizeof(name) - 1 ? left : sizeof(name) - 1;
    if (memcmp(cursor->at, name, known) != 0)
        return proxy_h1_fail(cursor, PROXY_H1_ERROR_VERSION_SYNTAX);
    if (left < sizeof("HTTP/1.1") - 1)
        return PROXY_H1_MORE;
    char major = cursor->at[5], minor = cursor->at[7];
    if (!proxy_octet_is(major, PROXY_OCTET_DIGIT) || cursor->at[6] != '.' || !proxy_octet_is(minor, PROXY_OCTET_DIGIT))
        return proxy_h1_fail(cursor, PROXY_H1_ERROR_VERSION_SYNTAX);
    if (major != '1')
        return proxy_h1_fail(cursor, PROXY_H1_ERROR_VERSION);
    *ret_minor = minor == '0' ? 0 : 1;
    cursor->at += sizeof("HTTP/1.1") - 1;
    return PROXY_H1_DONE;
}

/* "http://" or "https://" at the start: where the authority begins, or 0. */
static size_t scheme_length(struct fl_span target)
{
    static const struct fl_span schemes[] = {{"http://", 7}, {"https://", 8}};
    for (size_t i = 0; i < FL_COUNT(schemes); i++) {
        if (target.len >= schemes[i].len && fl_span_eq_nocase(fl_span_make(target.data, schemes[i].len), schemes[i]))
            return schemes[i].len;
    }
    return 0;
}

static int absolute_target(struct proxy_h1_cursor *cursor, struct proxy_message *message)
{
    size_t begin = scheme_length(message->target);
    if (begin == 0)
        return proxy_h1_fail(cursor, PROXY_H1_ERROR_TARGET_FORM);
    struct fl_span rest = fl_span_from(message->target, begin);
    size_t slash = fl_span_find(rest, '/'), end = fl_span_find(rest, '?');
    if (end < slash) /* "http://host?query": a path that is empty and yet there; nobody sends it in earnest */
        return proxy_h1_fail(cursor, PROXY_H1_ERROR_TARGET);
    message->target_form = PROXY_TARGET_ABSOLUTE;
    message->scheme = fl_span_make(message->target.data, begin - (sizeof("://") - 1));
    message->authority = fl_span_make(rest.data, slash);
    message->path = slash < rest.len ? fl_span_from(rest, slash) : FL_SPAN("/");
    if (message->authority.len == 0 || !proxy_authority_valid(message->authority))
        return proxy_h1_fail(cursor, PROXY_H1_ERROR_TARGET);
    return PROXY_H1_DONE;
}

/* RFC 9112 §3.2. */
static int target_meaning(struct proxy_h1_cursor *cursor, struct proxy_message *message)
{
    struct fl_span target = message->target;
    if (message->method_id == PROXY_METHOD_CONNECT) {
        message->target_form = PROXY_TARGET_AUTHORITY;
        message->authority = target;
        bool valid = proxy_authority_has_port(target);
        return valid ? PROXY_H1_DONE : proxy_h1_fail(cursor, PROXY_H1_ERROR_TARGET_FORM);
    }
    if (target.data[0] == '/') {
        message->target_form = PROXY_TARGET_ORIGIN;
        message->path = target;
        return PROXY_H1_DONE;
    }
    if (fl_span_eq(target, FL_SPAN("*"))) {
        message->target_form = PROXY_TARGET_ASTERISK;
        message->path = target;
        bool valid = message->method_id == PROXY_METHOD_OPTIONS;
        return valid ? PROXY_H1_DONE : proxy_h1_fail(cursor, PROXY_H1_ERROR_TARGET_FORM);
    }
    return absolute_target(cursor, message);
}

static int method(struct proxy_h1_cursor *cursor, struct proxy_message *message)
{
    const char *begin = cursor->at;
    while (cursor->at < cursor->end && proxy_octet_is(*cursor->at, PROXY_OCTET_TOKEN))
        cursor->at++;
    if (cursor->at == cursor->end)
        return PROXY_H1_MORE;
    if (*cursor->at != ' ' || cursor->at == begin)
        return proxy_h1_fail(cursor, PROXY_H1_ERROR_METHOD);
    message->method = fl_span_make(begin, (size_t)(cursor->at - begin));
    message->method_id = (uint8_t)proxy_method_id(message->method);
    cursor->at++;
    return PROXY_H1_DONE;
}

/* Octets up to the space; a line end here is HTTP/0.9. */
static int target(struct proxy_h1_cursor *cursor, size_t target_max, struct proxy_message *message)
{
    const char *begin = cursor->at;
    while (cursor->at < cursor->end && proxy_octet_is(*cursor->at, PROXY_OCTET_TARGET))
        cursor->at++;
    size_t len = (size_t)(cursor->at - begin);
    if (len > target_max)
        return proxy_h1_fail(cursor, PROXY_H1_ERROR_TARGET_TOO_LONG);
    if (cursor->at == cursor->end)
        return PROXY_H1_MORE;
    if (*cursor->at == '\r' || *cursor->at == '\n')
        return proxy_h1_fail(cursor, PROXY_H1_ERROR_VERSION_SYNTAX);
    if (*cursor->at != ' ' || len == 0)
        return proxy_h1_fail(cursor, len == 0 ? PROXY_H1_ERROR_REQUEST_LINE : PROXY_H1_ERROR_TARGET);
    message->target = fl_span_make(begin, len);
    cursor->at++;
    return target_meaning(cursor, message);
}

static int request_line(struct proxy_h1_cursor *cursor, size_t target_max, struct proxy_message *message)
{
    int result = PROXY_H1_DONE;
    if (cursor->at < cursor->end && *cursor->at == '\r') /* one empty line before it: RFC 9112 §2.2 */
        result = proxy_h1_line_end(cursor);
    while (result == PROXY_H1_DONE && cursor->lenient && cursor->at < cursor->end &&
           (*cursor->at == '\r' || *cursor->at == '\n')) {
        cursor->mended = true;
        result = proxy_h1_line_end(cursor);
    }
    if (result == PROXY_H1_DONE)
        result = method(cursor, message);
    if (result == PROXY_H1_DONE)
        result = target(cursor, target_max, message);
    if (result == PROXY_H1_DONE)
        result = version(cursor, &message->minor);
    if (result == PROXY_H1_DONE)
        result = proxy_h1_line_end(cursor);
    return result;
}

/* Three digits, the first of which is not 0, and the space before the reason, which may be missing. */
static int status(struct proxy_h1_cursor *cursor, struct proxy_message *message)
{
    unsigned number = 0;
    for (int i = 0; i < 3; i++, cursor->at++) {
        if (cursor->at == cursor->end)
            return PROXY_H1_MORE;
        if (!proxy_octet_is(*cursor->at, PROXY_OCTET_DIGIT))
            return proxy_h1_fail(cursor, PROXY_H1_ERROR_STATUS_LINE);
        number = number * 10 + (unsigned)(*cursor->at - '0');
    }
    message->status = (uint16_t)number;
    if (number < 100)
        return proxy_h1_fail(cursor, PROXY_H1_ERROR_STATUS_LINE);
    if (cursor->at == cursor->end)
        return PROXY_H1_MORE;
    if (*cursor->at == ' ')
        cursor->at++;
    else if (*cursor->at != '\r' && (*cursor->at != '\n' || !cursor->lenient))
        return proxy_h1_fail(cursor, PROXY_H1_ERROR_STATUS_LINE);
    return PROXY_H1_DONE;
}

static int status_line(struct proxy_h1_cursor *cursor, struct proxy_message *message)
{
    int result = version(cursor, &message->minor);
    if (result != PROXY_H1_DONE)
        return result;
    if (cursor->at == cursor->end)
        return PROXY_H1_MORE;
    if (*cursor->at++ != ' ')
        return proxy_h1_fail(cursor, PROXY_H1_ERROR_STATUS_LINE);
    result = status(cursor, message);
    if (result != PROXY_H1_DONE)
        return result;
    const char *begin = cursor->at;
    cursor->at = proxy_octet_value_end(begin, cursor->end);
    message->reason = fl_span_make(begin, (size_t)(cursor->at - begin));
    return proxy_h1_line_end(cursor);
}

/* What both parsers do around their start line: limits, and no second look at bytes that were parsed in vain. */
struct frame {
    struct proxy_h1_cursor cursor;
    size_t head_max, target_max, headers_max;
    bool cut; /* there are as many bytes as a head may have: it must end among them */
};

/* False: the bytes that came are not worth a parse. */
static bool begin(struct frame *frame, struct proxy_h1_parser *parser, struct fl_span bytes,
                  const struct proxy_h1_limits *limits)
{
    static const struct proxy_h1_limits defaults;
    if (limits == NULL)
        limits = &defaults;
    frame->head_max = limits->head_max != 0 ? limits->head_max : PROXY_H1_HEAD_MAX;
    if (frame->head_max > PROXY_H1_HEAD_MAX) /* whoever joins fields counts on it */
        frame->head_max = PROXY_H1_HEAD_MAX;
    frame->target_max = limits->target_max != 0 ? limits->target_max : frame->head_max;
    frame->headers_max = limits->headers_max != 0 ? limits->headers_max : PROXY_H1_HEADERS_MAX;
    if (frame->headers_max > PROXY_HEADERS_WIRE_MAX)
        frame->headers_max = PROXY_HEADERS_WIRE_MAX;
    frame->cut = bytes.len >= frame->head_max;
    if (frame->cut)
        bytes.len = frame->head_max;
    frame->cursor =
        (struct proxy_h1_cursor){.at = bytes.data, .end = bytes.data + bytes.len, .lenient = limits->lenient};
    bool worth = parser->scanned == 0 || frame->cut || proxy_h1_head_ended(bytes, parser->scanned);
    parser->scanned = (uint32_t)bytes.len;
    parser->error = PROXY_H1_ERROR_NONE;
    return worth;
}

/* `too_large`: the error of a head that does not end in time. */
static int end(struct frame *frame, struct proxy_h1_parser *parser, int result, enum proxy_h1_error too_large,
               struct proxy_message *message)
{
    if (result == PROXY_H1_MORE && frame->cut)
        result = proxy_h1_fail(&frame->cursor, too_large);
    if (result < 0)
        parser->error = frame->cursor.error;
    parser->mended = parser->mended || frame->cursor.mended;
    if (result == PROXY_H1_DONE) {
        parser->scanned = 0;
        message->lenient = frame->cursor.lenient;
        message->keep_alive = message->keep_alive && !parser->mended;
        parser->mended = parser->mended && parser->interim > 0;
    }
    return result;
}

int proxy_h1_parse_request(struct proxy_h1_parser *parser, struct fl_span bytes, const struct proxy_h1_limits *limits,
                           struct proxy_message *message, size_t *ret_size)
{
    struct frame frame;
    proxy_message_init(message);
    if (bytes.len == 0 || !begin(&frame, parser, bytes, limits))
        return PROXY_H1_MORE;
    enum proxy_h1_error too_large = PROXY_H1_ERROR_TARGET_TOO_LONG;
    int result = request_line(&frame.cursor, frame.target_max, message);
    if (result == PROXY_H1_DONE) {
        too_large = PROXY_H1_ERROR_HEAD_TOO_LARGE;
        result = proxy_h1_fields(&frame.cursor, frame.headers_max, &message->headers);
    }
    if (result == PROXY_H1_DONE)
        result = proxy_h1_request_meaning(&frame.cursor, message);
    result = end(&frame, parser, result, too_large, message);
    if (result == PROXY_H1_DONE)
        *ret_size = (size_t)(frame.cursor.at - bytes.data);
    return result;
}

int proxy_h1_parse_response(struct proxy_h1_parser *parser, struct fl_span bytes, const struct proxy_h1_limits *limits,
                            const struct proxy_exchange *exchange, struct proxy_message *message, size_t *ret_size)
{
    struct frame frame;
    proxy_message_init(message);
    if (bytes.len == 0 || !begin(&frame, parser, bytes, limits))
        return PROXY_H1_MORE;
    frame.cursor.response = true;
    int result = status_line(&frame.cursor, message);
    if (result == PROXY_H1_DONE)
        result = proxy_h1_fields(&frame.cursor, frame.headers_max, &message->headers);
    if (result == PROXY_H1_DONE)
        result = proxy_h1_response_meaning(&frame.cursor, exchange, message);
    if (result == PROXY_H1_DONE) {
        bool interim = proxy_message_is_interim(message);
        parser->interim = interim ? (uint8_t)(parser->interim + 1) : 0;
        if (parser->interim > PROXY_H1_INTERIM_MAX)
            result = proxy_h1_fail(&frame.cursor, PROXY_H1_ERROR_INTERIM_FLOOD);
    }
    result = end(&frame, parser, result, PROXY_H1_ERROR_HEAD_TOO_LARGE, message);
    if (result == PROXY_H1_DONE)
        *ret_size = (size_t)(frame.cursor.at - bytes.data);
    return result;
}

struct proxy_exchange proxy_exchange_of(const struct proxy_message *request)
{
    return (struct proxy_exchange){.method_id = request->method_id,
                                   .minor = request->minor,
                                   .keep_alive = request->keep_alive,
                                   .upgrade = request->upgrade,
                                   .te_trailers = request->te_trailers};
}
