/* What the fields of a head mean for the connection: whose it is (Host), how long its body is (RFC 9112 §6.3), what
 * comes after it (Connection, Upgrade, Expect). Everything that two parsers could read differently is refused here. */
#include "proxy/http/h1_field.h"
#include "proxy/http/octet.h"

#include <errno.h>

/* The unknown name: look-ups by id take any. */
#define ANY_NAME ((struct fl_span){NULL, 0})

#define LENGTH_MAX ((uint64_t)INT64_MAX)

static const struct proxy_header *next(const struct proxy_message *message, enum proxy_header_id id,
                                       const struct proxy_header *after)
{
    return proxy_headers_next(&message->headers, id, ANY_NAME, after);
}

static int content_length(struct proxy_h1_cursor *cursor, struct proxy_message *message)
{
    const struct proxy_header *field = next(message, PROXY_HEADER_CONTENT_LENGTH, NULL);
    for (; field != NULL; field = next(message, PROXY_HEADER_CONTENT_LENGTH, field)) {
        uint64_t length;
        if (!fl_span_to_u64(field->value, LENGTH_MAX, &length))
            return proxy_h1_fail(cursor, PROXY_H1_ERROR_CONTENT_LENGTH);
        if (message->has_content_length && length != message->content_length)
            return proxy_h1_fail(cursor, PROXY_H1_ERROR_CONTENT_LENGTH_DIFFERS);
        message->has_content_length = true;
        message->content_length = length;
    }
    return PROXY_H1_DONE;
}

/* One field that is "chunked" and nothing else. Lists, empty items, parameters and repeated fields are where parsers
 * differ, so they are refused; 501 where a well-formed list names other codings. */
static int transfer_encoding(struct proxy_h1_cursor *cursor, const struct proxy_message *message)
{
    if (message->minor == 0)
        return proxy_h1_fail(cursor, PROXY_H1_ERROR_CODING_HTTP10);
    const struct proxy_header *field = next(message, PROXY_HEADER_TRANSFER_ENCODING, NULL);
    if (fl_span_eq_nocase(field->value, FL_SPAN("chunked")))
        return next(message, PROXY_HEADER_TRANSFER_ENCODING, field) == NULL
                   ? PROXY_H1_DONE
                   : proxy_h1_fail(cursor, PROXY_H1_ERROR_CODING);
    bool unknown = false;
    struct fl_span rest = field->value, coding;
    while (proxy_h1_next_item(&rest, &coding)) {
        if (!proxy_octets_are(coding, PROXY_OCTET_TOKEN))
            return proxy_h1_fail(cursor, PROXY_H1_ERROR_CODING);
        unknown = unknown || !fl_span_eq_nocase(coding, FL_SPAN("chunked"));
    }
    return proxy_h1_fail(cursor, unknown ? PROXY_H1_ERROR_CODING_UNKNOWN : PROXY_H1_ERROR_CODING);
}

/* Length and coding as far as requests and responses agree. */
static int framing(struct proxy_h1_cursor *cursor, struct proxy_message *message)
{
    const uint8_t *first = message->headers.first;
    bool length = first[PROXY_HEADER_CONTENT_LENGTH] != 0, coding = first[PROXY_HEADER_TRANSFER_ENCODING] != 0;
    if (length && coding)
        return proxy_h1_fail(cursor, PROXY_H1_ERROR_LENGTH_AND_CODING);
    if (length) {
        message->framing = PROXY_FRAMING_LENGTH;
        return content_length(cursor, message);
    }
    if (coding) {
        message->framing = PROXY_FRAMING_CHUNKED;
        return transfer_encoding(cursor, message);
    }
    message->framing = PROXY_FRAMING_NONE;
    return PROXY_H1_DONE;
}

struct options {
    bool close, keep_alive, upgrade;
};

static int connection_options(struct proxy_h1_cursor *cursor, struct proxy_message *message, struct options *options)
{
    *options = (struct options){0};
    size_t count = 0;
    const struct proxy_header *field = NULL;
    while ((field = next(message, PROXY_HEADER_CONNECTION, field)) != NULL) {
        struct fl_span rest = field->value, item;
        while (proxy_h1_next_item(&rest, &item)) {
            if (++count > PROXY_H1_OPTIONS_MAX || !proxy_octets_are(item, PROXY_OCTET_TOKEN))
                return proxy_h1_fail(cursor, PROXY_H1_ERROR_CONNECTION);
            if (fl_span_eq_nocase(item, FL_SPAN("close")))
                options->close = true;
            else if (fl_span_eq_nocase(item, FL_SPAN("keep-alive")))
                options->keep_alive = true;
            else if (fl_span_eq_nocase(item, FL_SPAN("upgrade")))
                options->upgrade = true;
            else if (!fl_span_eq_nocase(item, FL_SPAN("te")))
                message->connection_options = true;
        }
    }
    message->keep_alive = !options->close && (message->minor == 1 || options->keep_alive);
    return PROXY_H1_DONE;
}

/* One Host, equal to the target's authority where that has one (the target wins: RFC 9112 §3.2.2). */
static int host(struct proxy_h1_cursor *cursor, struct proxy_message *message)
{
    struct proxy_headers *headers = &message->headers;
    const struct proxy_header *field = proxy_headers_get(headers, PROXY_HEADER_HOST);
    if (field == NULL)
        return message->minor == 0 ? PROXY_H1_DONE : proxy_h1_fail(cursor, PROXY_H1_ERROR_HOST_MISSING);
    if (next(message, PROXY_HEADER_HOST, field) != NULL)
        return proxy_h1_fail(cursor, PROXY_H1_ERROR_HOST_DUPLICATE);
    if (!proxy_authority_valid(field->value))
        return proxy_h1_fail(cursor, PROXY_H1_ERROR_HOST_INVALID);
    if (message->authority.len == 0)
        message->authority = field->value;
    else
        headers->list[headers->first[PROXY_HEADER_HOST] - 1].value = message->authority;
    return PROXY_H1_DONE;
}

/* An upgrade that may be passed on: one protocol, and no body in the way. Any other Upgrade field is not passed on, and
 * the request is answered without. */
static bool upgrade_wanted(const struct proxy_message *message, const struct options *options)
{
    const struct proxy_header *field = proxy_headers_get(&message->headers, PROXY_HEADER_UPGRADE);
    if (!options->upgrade || field == NULL || message->minor == 0 || message->method_id == PROXY_METHOD_CONNECT)
        return false;
    bool body = message->framing == PROXY_FRAMING_CHUNKED || message->content_length > 0;
    return !body && next(message, PROXY_HEADER_UPGRADE, field) == NULL && proxy_upgrade_may_pass(field->value);
}

static bool te_trailers(const struct proxy_message *message)
{
    const struct proxy_header *field = NULL;
    while ((field = next(message, PROXY_HEADER_TE, field)) != NULL) {
        struct fl_span rest = field->value, item;
        while (proxy_h1_next_item(&rest, &item)) {
            if (fl_span_eq_nocase(item, FL_SPAN("trailers")))
                return true;
        }
    }
    return false;
}

static bool expects_continue(const struct proxy_message *message)
{
    bool body = message->framing == PROXY_FRAMING_CHUNKED || message->content_length > 0;
    struct fl_span expect = proxy_headers_value(&message->headers, PROXY_HEADER_EXPECT);
    return body && message->minor == 1 && fl_span_eq_nocase(expect, FL_SPAN("100-continue"));
}

int proxy_h1_request_meaning(struct proxy_h1_cursor *cursor, struct proxy_message *message)
{
    struct options options;
    int result = host(cursor, message);
    if (result == PROXY_H1_DONE)
        result = framing(cursor, message);
    if (result == PROXY_H1_DONE)
        result = connection_options(cursor, message, &options);
    if (result != PROXY_H1_DONE)
        return result;
    if (message->method_id == PROXY_METHOD_CONNECT &&
        (message->framing == PROXY_FRAMING_CHUNKED || message->content_length > 0))
        return proxy_h1_fail(cursor, PROXY_H1_ERROR_CONNECT_BODY);
    message->upgrade = upgrade_wanted(message, &options);
    message->te_trailers = te_trailers(message);
    message->expect_continue = expects_continue(message);
    return PROXY_H1_DONE;
}

/* Responses that have no body by their status or by their request; the rest of RFC 9112 §6.3. */
static int response_framing(struct proxy_h1_cursor *cursor, struct proxy_message *message)
{
    bool tunnel = message->upgrade;
    bool bare = tunnel || message->status < 200 || message->status == 204;
    if (bare && message->framing == PROXY_FRAMING_CHUNKED)
        return proxy_h1_fail(cursor, PROXY_H1_ERROR_CODING_FORBIDDEN);
    if (bare && message->content_length > 0)
        return proxy_h1_fail(cursor, PROXY_H1_ERROR_LENGTH_FORBIDDEN);
    if (bare || message->status == 304 || message->method_id == PROXY_METHOD_HEAD) {
        message->framing = PROXY_FRAMING_NONE;
    } else if (message->framing == PROXY_FRAMING_NONE) {
        message->framing = PROXY_FRAMING_CLOSE;
        message->keep_alive = false;
    }
    return PROXY_H1_DONE;
}

int proxy_h1_response_meaning(struct proxy_h1_cursor *cursor, const struct proxy_exchange *exchange,
                              struct proxy_message *message)
{
    struct options options;
    message->method_id = exchange->method_id;
    int result = framing(cursor, message);
    if (result == PROXY_H1_DONE)
        result = connection_options(cursor, message, &options);
    if (result != PROXY_H1_DONE)
        return result;
    if (message->status == 101 && !exchange->upgrade)
        return proxy_h1_fail(cursor, PROXY_H1_ERROR_UPGRADE_UNASKED);
    bool connected = exchange->method_id == PROXY_METHOD_CONNECT && message->status >= 200 && message->status < 300;
    message->upgrade = message->status == 101 || connected;
    return response_framing(cursor, message);
}
