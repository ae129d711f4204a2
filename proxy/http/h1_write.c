#include "proxy/http/h1_write.h"

#include "proxy/http/h1_field.h"

#define VERSION_0 FL_SPAN("HTTP/1.0")
#define VERSION_1 FL_SPAN("HTTP/1.1")
#define ANY_NAME  ((struct fl_span){NULL, 0})

/* What a head may have beside the message's own fields and texts: version, separators, status, the fields that are
 * written anew ("transfer-encoding: chunked", "connection: keep-alive, upgrade, te"). */
#define HEAD_EXTRA 128

static char *put(char *to, struct fl_span text)
{
    if (text.len > 0)
        memcpy(to, text.data, text.len);
    return to + text.len;
}

static char *put_number(char *to, uint64_t number)
{
    char digits[20];
    size_t len = 0;
    do {
        digits[len++] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    while (len > 0)
        *to++ = digits[--len];
    return to;
}

static char *put_field(char *to, struct fl_span name, struct fl_span value)
{
    to = put(to, name);
    *to++ = ':';
    *to++ = ' ';
    to = put(to, value);
    *to++ = '\r';
    *to++ = '\n';
    return to;
}

static size_t field_size(const struct proxy_header *field)
{
    return field->name.len + field->value.len + sizeof(": \r\n") - 1;
}

void proxy_h1_plan_request(const struct proxy_message *request, struct proxy_h1_plan *ret_plan)
{
    *ret_plan = (struct proxy_h1_plan){.framing = request->framing,
                                       .minor = request->minor,
                                       .keep_alive = true,
                                       .upgrade = request->upgrade && request->method_id != PROXY_METHOD_CONNECT,
                                       .content_length = request->framing == PROXY_FRAMING_LENGTH};
}

/* Length unknown beforehand: chunked for those who can read it, until close for the others. */
static enum proxy_framing open_framing(const struct proxy_exchange *exchange)
{
    return exchange->minor == 0 ? PROXY_FRAMING_CLOSE : PROXY_FRAMING_CHUNKED;
}

/* HTTP/2 may tell a length and trailers; where they are announced to a client that takes them, they weigh more. */
static bool trailers_expected(const struct proxy_message *response, const struct proxy_exchange *exchange)
{
    return response->major == 2 && response->framing == PROXY_FRAMING_LENGTH && exchange->te_trailers &&
           exchange->minor == 1 && proxy_headers_get(&response->headers, PROXY_HEADER_TRAILER) != NULL;
}

void proxy_h1_plan_response(const struct proxy_message *response, const struct proxy_exchange *exchange,
                            struct proxy_h1_plan *ret_plan)
{
    bool open = response->framing == PROXY_FRAMING_CHUNKED || response->framing == PROXY_FRAMING_CLOSE ||
                trailers_expected(response, exchange);
    bool bare = response->upgrade || response->status < 200 || response->status == 204;
    enum proxy_framing framing = open ? open_framing(exchange) : (enum proxy_framing)response->framing;
    *ret_plan = (struct proxy_h1_plan){.framing = (uint8_t)framing,
                                       .minor = exchange->minor,
                                       .keep_alive = exchange->keep_alive && framing != PROXY_FRAMING_CLOSE,
                                       .upgrade = response->status == 101,
                                       .suppress = exchange->minor == 0 && proxy_message_is_interim(response),
                                       .content_length = response->has_content_length && !open && !bare};
}

size_t proxy_h1_head_bound(const struct proxy_message *message, const struct proxy_h1_plan *plan)
{
    (void)plan;
    size_t size = HEAD_EXTRA + message->method.len + message->target.len + message->reason.len;
    if (message->rewritten)
        size += message->scheme.len + message->authority.len + message->path.len;
    for (size_t i = 0; i < message->headers.count; i++)
        size += field_size(&message->headers.list[i]);
    return size;
}

static char *put_target(const struct proxy_message *message, char *to)
{
    if (!message->rewritten || message->target_form == PROXY_TARGET_ASTERISK)
        return put(to, message->target);
    if (message->target_form == PROXY_TARGET_AUTHORITY)
        return put(to, message->authority);
    if (message->target_form == PROXY_TARGET_ABSOLUTE) {
        to = put(to, message->scheme);
        to = put(to, FL_SPAN("://"));
        to = put(to, message->authority);
    }
    return put(to, message->path);
}

static char *put_start_line(const struct proxy_message *message, const struct proxy_h1_plan *plan, char *to)
{
    struct fl_span version = plan->minor == 0 ? VERSION_0 : VERSION_1;
    if (message->status == 0) {
        to = put(to, message->method);
        *to++ = ' ';
        to = put_target(message, to);
        *to++ = ' ';
        to = put(to, version);
    } else {
        to = put(to, version);
        *to++ = ' ';
        to = put_number(to, message->status);
        *to++ = ' ';
        to = put(to, message->reason);
    }
    *to++ = '\r';
    *to++ = '\n';
    return to;
}

/* The fields that describe this one connection or this framing, as the plan wants them; others are passed on unless a
 * Connection option names them. */
static char *put_known_field(const struct proxy_message *message, const struct proxy_h1_plan *plan,
                             const struct proxy_header *field, char *to)
{
    enum proxy_header_id id = (enum proxy_header_id)field->id;
    bool first = field == proxy_headers_get(&message->headers, id);
    if (id == PROXY_HEADER_CONTENT_LENGTH)
        return plan->content_length && first ? put_field(to, field->name, field->value) : to;
    if (id == PROXY_HEADER_TRANSFER_ENCODING)
        return plan->framing == PROXY_FRAMING_CHUNKED && first ? put_field(to, field->name, FL_SPAN("chunked")) : to;
    if (id == PROXY_HEADER_UPGRADE)
        return plan->upgrade ? put_field(to, field->name, field->value) : to;
    if (id == PROXY_HEADER_TE)
        return message->te_trailers && first ? put_field(to, field->name, FL_SPAN("trailers")) : to;
    if (id == PROXY_HEADER_TRAILER)
        return plan->framing == PROXY_FRAMING_CHUNKED ? put_field(to, field->name, field->value) : to;
    enum proxy_header_kind kind = proxy_header_kind(id);
    if (kind == PROXY_HEADER_KIND_HOP)
        return to;
    if (kind == PROXY_HEADER_KIND_FREE && message->connection_options &&
        proxy_h1_connection_lists(&message->headers, field->name))
        return to;
    return put_field(to, field->name, field->value);
}

static char *put_option(char *to, bool *any, struct fl_span option)
{
    to = put(to, *any ? FL_SPAN(", ") : FL_SPAN("connection: "));
    *any = true;
    return put(to, option);
}

static char *put_connection(const struct proxy_message *message, const struct proxy_h1_plan *plan, char *to)
{
    bool any = false;
    if (plan->upgrade)
        to = put_option(to, &any, FL_SPAN("upgrade"));
    else if (!plan->keep_alive)
        to = put_option(to, &any, FL_SPAN("close"));
    else if (plan->minor == 0)
        to = put_option(to, &any, FL_SPAN("keep-alive"));
    if (message->te_trailers)
        to = put_option(to, &any, FL_SPAN("te"));
    return any ? put(to, FL_SPAN("\r\n")) : to;
}

size_t proxy_h1_write_head(const struct proxy_message *message, const struct proxy_h1_plan *plan, char *to)
{
    char *begin = to;
    to = put_start_line(message, plan, to);
    bool quick = !message->connection_options;
    for (size_t i = 0; i < message->headers.count; i++) {
        const struct proxy_header *field = &message->headers.list[i];
        if (field->removed)
            continue;
        if (field->id == PROXY_HEADER_OTHER && quick)
            to = put_field(to, field->name, field->value);
        else
            to = put_known_field(message, plan, field, to);
    }
    if (plan->framing == PROXY_FRAMING_CHUNKED && message->headers.first[PROXY_HEADER_TRANSFER_ENCODING] == 0)
        to = put_field(to, FL_SPAN("transfer-encoding"), FL_SPAN("chunked"));
    bool interim = message->status != 0 && proxy_message_is_interim(message);
    if (!interim)
        to = put_connection(message, plan, to);
    *to++ = '\r';
    *to++ = '\n';
    return (size_t)(to - begin);
}

size_t proxy_h1_write_chunk_head(size_t size, char *to)
{
    static const char digits[] = "0123456789abcdef";
    char *begin = to;
    unsigned shift = 60 - ((unsigned)__builtin_clzll(size | 1) & ~3u);
    for (;; shift -= 4) {
        *to++ = digits[size >> shift & 15];
        if (shift == 0)
            break;
    }
    *to++ = '\r';
    *to++ = '\n';
    return (size_t)(to - begin);
}

size_t proxy_h1_last_chunk_bound(const struct proxy_headers *trailers)
{
    size_t size = sizeof("0\r\n\r\n") - 1;
    for (size_t i = 0; trailers != NULL && i < trailers->count; i++)
        size += field_size(&trailers->list[i]);
    return size;
}

size_t proxy_h1_write_last_chunk(const struct proxy_headers *trailers, char *to)
{
    char *begin = to;
    to = put(to, FL_SPAN("0\r\n"));
    for (size_t i = 0; trailers != NULL && i < trailers->count; i++) {
        if (!trailers->list[i].removed)
            to = put_field(to, trailers->list[i].name, trailers->list[i].value);
    }
    to = put(to, FL_SPAN("\r\n"));
    return (size_t)(to - begin);
}
