/* The fields of a block that came in, and what they say as a message: RFC 9113 §8.1 to §8.5, RFC 8441 §4. */
#include "proxy/http/h2_inner.h"
#include "proxy/http/octet.h"
#include "proxy/http/restore.h"

#include <errno.h>

#define ANY_NAME   ((struct fl_span){NULL, 0})
#define LENGTH_MAX ((uint64_t)INT64_MAX)

void proxy_h2_incoming_init(struct h2_incoming *incoming, struct proxy_headers *headers, struct h2_arena *arena)
{
    *incoming = (struct h2_incoming){.headers = headers, .arena = arena};
}

/* A token without capital letters (RFC 9113 §8.2.1). */
static bool name_valid(struct fl_span name)
{
    for (size_t i = 0; i < name.len; i++) {
        if (!proxy_octet_is(name.data[i], PROXY_OCTET_TOKEN) || (name.data[i] >= 'A' && name.data[i] <= 'Z'))
            return false;
    }
    return name.len > 0;
}

static bool is_space(char octet)
{
    return octet == ' ' || octet == '\t';
}

static bool value_valid(struct fl_span value)
{
    if (value.len == 0)
        return true;
    const char *end = value.data + value.len;
    return !is_space(value.data[0]) && !is_space(end[-1]) && proxy_octet_value_end(value.data, end) == end;
}

static struct fl_span keep(struct h2_incoming *incoming, struct fl_span text)
{
    char *copy = proxy_h2_arena_take(incoming->arena, text.len);
    if (copy == NULL) {
        incoming->memory = true;
        return (struct fl_span){NULL, 0};
    }
    if (text.len > 0)
        memcpy(copy, text.data, text.len);
    return fl_span_make(copy, text.len);
}

/* Where a pseudo-header's value goes; NULL: there is none of that name. */
static struct fl_span *pseudo_place(struct h2_incoming *incoming, struct fl_span name)
{
    switch (name.len) {
    case 5:
        return memcmp(name.data, ":path", 5) == 0 ? &incoming->path : NULL;
    case 7:
        return memcmp(name.data, ":method", 7) == 0   ? &incoming->method
               : memcmp(name.data, ":scheme", 7) == 0 ? &incoming->scheme
               : memcmp(name.data, ":status", 7) == 0 ? &incoming->status
                                                      : NULL;
    case 9:
        return memcmp(name.data, ":protocol", 9) == 0 ? &incoming->protocol : NULL;
    case 10:
        return memcmp(name.data, ":authority", 10) == 0 ? &incoming->authority : NULL;
    default:
        return NULL;
    }
}

static bool pseudo(struct h2_incoming *incoming, const struct proxy_hpack_field *field)
{
    struct fl_span *value = pseudo_place(incoming, field->name);
    if (value == NULL)
        return false;
    bool first = value->data == NULL && !incoming->regular;
    *value = keep(incoming, field->value);
    return first;
}

/* The field's place in the list, its id known: proxy_headers_add without a second look-up. */
static void append(struct proxy_headers *headers, enum proxy_header_id id, struct fl_span name, struct fl_span value)
{
    headers->list[headers->count++] = (struct proxy_header){.name = name, .value = value, .id = (uint8_t)id};
    if (id != PROXY_HEADER_OTHER && headers->first[id] == 0)
        headers->first[id] = (uint8_t)headers->count;
}

/* The note of an entry of the table: 1 + the id of its name, once name and value were found right (0: not yet). So what
 * a peer says again with every head is looked at once. */
static bool is_known(const struct proxy_hpack_field *field)
{
    return field->note != NULL && *field->note != 0;
}

static bool regular(struct h2_incoming *incoming, const struct proxy_hpack_field *field)
{
    incoming->regular = true;
    bool known = is_known(field);
    if (!known && !name_valid(field->name))
        return false;
    enum proxy_header_id id = known ? (enum proxy_header_id)(*field->note - 1) : proxy_header_id(field->name);
    if (field->note != NULL)
        *field->note = (uint8_t)(id + 1);
    if (id == PROXY_HEADER_TE && !fl_span_eq_nocase(field->value, FL_SPAN("trailers")))
        return false;
    if (id != PROXY_HEADER_OTHER && id != PROXY_HEADER_TE) {
        if (id == PROXY_HEADER_HTTP2_SETTINGS)
            return true;
        if (proxy_header_kind(id) == PROXY_HEADER_KIND_HOP || id == PROXY_HEADER_TRANSFER_ENCODING)
            return false;
        incoming->cookies = (uint8_t)(incoming->cookies + (id == PROXY_HEADER_COOKIE));
    }
    struct fl_span name = id != PROXY_HEADER_OTHER ? proxy_header_name(id) : keep(incoming, field->name);
    append(incoming->headers, id, name, keep(incoming, field->value));
    return true;
}

void proxy_h2_incoming_add(struct h2_incoming *incoming, const struct proxy_h2 *h2,
                           const struct proxy_hpack_field *field)
{
    incoming->bytes += field->name.len + field->value.len + 32;
    if (incoming->malformed || incoming->large)
        return;
    bool is_pseudo = field->name.len > 0 && field->name.data[0] == ':';
    incoming->fields += !is_pseudo;
    if (incoming->bytes > h2->head_max || incoming->fields > h2->headers_max) {
        incoming->large = true;
        return;
    }
    bool right = (is_known(field) || value_valid(field->value)) &&
                 (is_pseudo ? pseudo(incoming, field) : regular(incoming, field));
    incoming->malformed = !right;
}

/* "a=1" and "b=2" in fields of their own are one field for everybody else (RFC 9113 §8.2.3). */
static bool join_cookies(struct h2_incoming *incoming)
{
    struct proxy_headers *headers = incoming->headers;
    size_t len = 0;
    for (const struct proxy_header *at = NULL;
         (at = proxy_headers_next(headers, PROXY_HEADER_COOKIE, ANY_NAME, at)) != NULL;)
        len += at->value.len + 2;
    char *text = proxy_h2_arena_take(incoming->arena, len), *to = text;
    if (text == NULL) {
        incoming->memory = true;
        return false;
    }
    struct proxy_header *first = &headers->list[headers->first[PROXY_HEADER_COOKIE] - 1];
    for (struct proxy_header *at = first; at < headers->list + headers->count; at++) {
        if (at->id != PROXY_HEADER_COOKIE || at->removed)
            continue;
        if (to > text) {
            memcpy(to, "; ", 2);
            to += 2;
        }
        if (at->value.len > 0)
            memcpy(to, at->value.data, at->value.len);
        to += at->value.len;
        at->removed = at != first;
    }
    first->value = fl_span_make(text, (size_t)(to - text));
    return true;
}

static bool content_length(struct proxy_message *message)
{
    const struct proxy_header *field = NULL;
    while ((field = proxy_headers_next(&message->headers, PROXY_HEADER_CONTENT_LENGTH, ANY_NAME, field)) != NULL) {
        uint64_t length;
        if (!fl_span_to_u64(field->value, LENGTH_MAX, &length) ||
            (message->has_content_length && length != message->content_length))
            return false;
        message->has_content_length = true;
        message->content_length = length;
    }
    return true;
}

/* One Host at most, and the authority that was said, if one was. An empty :authority is none. */
static bool authority(const struct h2_incoming *incoming, struct proxy_message *message)
{
    struct proxy_headers *headers = &message->headers;
    const struct proxy_header *host = proxy_headers_get(headers, PROXY_HEADER_HOST);
    if (host != NULL && proxy_headers_next(headers, PROXY_HEADER_HOST, ANY_NAME, host) != NULL)
        return false;
    if (!proxy_authority_valid(incoming->authority) || (host != NULL && !proxy_authority_valid(host->value)))
        return false;
    bool said = incoming->authority.len > 0;
    if (said && host != NULL && !fl_span_eq_nocase(host->value, incoming->authority))
        return false;
    message->authority = said ? incoming->authority : host != NULL ? host->value : (struct fl_span){NULL, 0};
    if (host == NULL && said) { /* the place that was held for it */
        headers->list[0].value = incoming->authority;
        headers->list[0].removed = false;
        headers->first[PROXY_HEADER_HOST] = 1;
    }
    return true;
}

static bool scheme_valid(struct fl_span scheme)
{
    for (size_t i = 0; i < scheme.len; i++) {
        char octet = scheme.data[i];
        bool letter = (octet | 0x20) >= 'a' && (octet | 0x20) <= 'z';
        bool other = (octet >= '0' && octet <= '9') || octet == '+' || octet == '-' || octet == '.';
        if (!letter && (i == 0 || !other))
            return false;
    }
    return scheme.len > 0;
}

static bool path(const struct h2_incoming *incoming, struct proxy_message *message)
{
    struct fl_span target = incoming->path;
    if (target.len == 0 || !proxy_octets_are(target, PROXY_OCTET_TARGET) || !scheme_valid(incoming->scheme))
        return false;
    bool asterisk = fl_span_eq(target, FL_SPAN("*"));
    if (target.data[0] != '/' && !(asterisk && fl_span_eq(incoming->method, FL_SPAN("OPTIONS"))))
        return false;
    message->target = message->path = target;
    message->target_form = asterisk ? PROXY_TARGET_ASTERISK : PROXY_TARGET_ORIGIN;
    message->scheme = incoming->scheme;
    return true;
}

/* RFC 9113 §8.5. */
static bool connect(const struct h2_incoming *incoming, struct proxy_message *message)
{
    if (incoming->scheme.data != NULL || incoming->path.data != NULL)
        return false;
    message->target = message->authority;
    message->target_form = PROXY_TARGET_AUTHORITY;
    message->upgrade = true;
    return proxy_authority_has_port(incoming->authority) && message->content_length == 0;
}

/* RFC 8441 §4, told as HTTP/1 has it. A protocol that the proxy would have to speak itself is none. */
static bool extended_connect(const struct h2_incoming *incoming, const struct proxy_h2 *h2,
                             struct proxy_message *message)
{
    struct fl_span protocol = incoming->protocol;
    if (h2->no_connect || message->method_id != PROXY_METHOD_CONNECT || message->authority.len == 0 ||
        !proxy_upgrade_may_pass(protocol) || message->content_length > 0)
        return false;
    message->method = FL_SPAN("GET");
    message->method_id = PROXY_METHOD_GET;
    message->upgrade = true;
    append(&message->headers, PROXY_HEADER_UPGRADE, FL_SPAN("upgrade"), protocol);
    return path(incoming, message);
}

static void request_framing(struct proxy_message *message, bool end)
{
    message->framing = message->upgrade              ? PROXY_FRAMING_NONE
                       : message->has_content_length ? PROXY_FRAMING_LENGTH
                       : end                         ? PROXY_FRAMING_NONE
                                                     : PROXY_FRAMING_CHUNKED;
    struct fl_span expect = proxy_headers_value(&message->headers, PROXY_HEADER_EXPECT);
    message->expect_continue = !end && !message->upgrade && fl_span_eq_nocase(expect, FL_SPAN("100-continue"));
}

static void common_meaning(struct proxy_message *message)
{
    message->major = 2;
    message->minor = 1;
    message->keep_alive = true;
    message->te_trailers = message->headers.first[PROXY_HEADER_TE] != 0;
}

bool proxy_h2_incoming_request(struct h2_incoming *incoming, const struct proxy_h2 *h2, struct proxy_message *message,
                               bool end)
{
    if (incoming->status.data != NULL || incoming->method.len == 0 ||
        !proxy_octets_are(incoming->method, PROXY_OCTET_TOKEN) || !content_length(message) ||
        !authority(incoming, message))
        return false;
    common_meaning(message);
    message->method = incoming->method;
    message->method_id = (uint8_t)proxy_method_id(incoming->method);
    bool right = incoming->protocol.data != NULL              ? extended_connect(incoming, h2, message)
                 : message->method_id == PROXY_METHOD_CONNECT ? connect(incoming, message)
                                                              : path(incoming, message);
    if (!right || (message->authority.len == 0 && !h2->bare_authority))
        return false;
    if (end && message->has_content_length && message->content_length > 0)
        return false;
    request_framing(message, end);
    return incoming->cookies < 2 || join_cookies(incoming);
}

/* RFC 9110 §6.4.1, §15; 101 does not exist in HTTP/2 (RFC 9113 §8.6). */
static bool status(struct fl_span text, struct proxy_message *message)
{
    uint64_t number;
    if (text.len != 3 || !fl_span_to_u64(text, 999, &number) || number < 100 || number == 101)
        return false;
    message->status = (uint16_t)number;
    message->reason = fl_span_str(proxy_status_reason((unsigned)number));
    return true;
}

/* A 2xx to a tunnel that was asked for; of an HTTP/1 application at the far end a 101. */
static bool opens_tunnel(const struct h2_stream *stream, const struct proxy_message *message)
{
    return stream->tunnel && message->status >= 200 && message->status < 300 &&
           (stream->upgrade == NULL || proxy_restore_is_upgrade(&message->headers));
}

static bool open_tunnel(struct h2_incoming *incoming, const struct h2_stream *stream, struct proxy_message *message)
{
    message->upgrade = true;
    message->framing = PROXY_FRAMING_NONE;
    proxy_headers_remove(&message->headers, FL_SPAN("content-length"));
    message->has_content_length = false;
    message->content_length = 0;
    if (stream->upgrade == NULL || proxy_h2_upgrade_answered(stream->upgrade, incoming->arena, message))
        return true;
    incoming->memory = true;
    return false;
}

static void answer_framing(struct proxy_message *message, bool end)
{
    bool bare = message->status < 200 || message->status == 204 || message->status == 304 ||
                message->method_id == PROXY_METHOD_HEAD;
    message->framing = bare                                 ? PROXY_FRAMING_NONE
                       : message->has_content_length || end ? PROXY_FRAMING_LENGTH
                                                            : PROXY_FRAMING_CHUNKED;
}

bool proxy_h2_incoming_answer(struct h2_incoming *incoming, const struct h2_stream *stream,
                              struct proxy_message *message, bool end)
{
    bool request = incoming->method.data != NULL || incoming->scheme.data != NULL || incoming->path.data != NULL ||
                   incoming->authority.data != NULL || incoming->protocol.data != NULL;
    if (request || !status(incoming->status, message) || !content_length(message))
        return false;
    common_meaning(message);
    message->method_id = stream->method_id;
    bool interim = message->status < 200;
    bool tunnel = opens_tunnel(stream, message);
    answer_framing(message, end);
    if (interim && (end || message->content_length > 0))
        return false;
    if (end && !tunnel && message->framing == PROXY_FRAMING_LENGTH && message->content_length > 0)
        return false;
    return !tunnel || open_tunnel(incoming, stream, message);
}

bool proxy_h2_incoming_trailers(const struct h2_incoming *incoming)
{
    return incoming->method.data == NULL && incoming->scheme.data == NULL && incoming->path.data == NULL &&
           incoming->authority.data == NULL && incoming->protocol.data == NULL && incoming->status.data == NULL;
}
