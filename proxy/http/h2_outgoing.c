/* A message as the fields of a block: what connections keep to themselves is left out, names become lower-case. */
#include "proxy/http/h1_field.h"
#include "proxy/http/h2_inner.h"

struct h2_text {
    size_t count;
    struct proxy_hpack_field fields[];
};

static void add(struct h2_outgoing *outgoing, struct fl_span name, struct fl_span value, bool is_volatile)
{
    outgoing->fields[outgoing->count++] = (struct proxy_hpack_field){name, value, is_volatile, NULL};
}

static bool has_capital(struct fl_span name)
{
    for (size_t i = 0; i < name.len; i++) {
        if (name.data[i] >= 'A' && name.data[i] <= 'Z')
            return true;
    }
    return false;
}

/* `name` in lower case: as it is, the list's, or a copy. data NULL: memory is out. */
static struct fl_span lower(struct h2_outgoing *outgoing, const struct proxy_header *field)
{
    if (field->id != PROXY_HEADER_OTHER)
        return proxy_header_name((enum proxy_header_id)field->id);
    if (!has_capital(field->name))
        return field->name;
    char *copy = proxy_h2_arena_take(&outgoing->arena, field->name.len);
    for (size_t i = 0; copy != NULL && i < field->name.len; i++) {
        char octet = field->name.data[i];
        copy[i] = octet >= 'A' && octet <= 'Z' ? (char)(octet | 0x20) : octet;
    }
    return fl_span_make(copy, field->name.len);
}

/* Other in every request, or a secret: in a table it would push out what comes again, or could be probed. */
static bool is_volatile(enum proxy_header_id id)
{
    switch ((int)id) {
    case PROXY_HEADER_AUTHORIZATION:
    case PROXY_HEADER_PROXY_AUTHORIZATION:
    case PROXY_HEADER_COOKIE:
    case PROXY_HEADER_SET_COOKIE:
    case PROXY_HEADER_TRACEPARENT:
    case PROXY_HEADER_TRACESTATE:
    case PROXY_HEADER_B3:
    case PROXY_HEADER_X_REQUEST_ID:
        return true;
    default:
        return false;
    }
}

static bool passes(const struct proxy_message *message, const struct proxy_header *field, bool length)
{
    enum proxy_header_id id = (enum proxy_header_id)field->id;
    if (id == PROXY_HEADER_CONTENT_LENGTH)
        return length && field == proxy_headers_get(&message->headers, id);
    if (id == PROXY_HEADER_HOST)
        return message->status != 0;
    if (id == PROXY_HEADER_TRANSFER_ENCODING)
        return false;
    enum proxy_header_kind kind = proxy_header_kind(id);
    if (kind == PROXY_HEADER_KIND_HOP)
        return false;
    return kind != PROXY_HEADER_KIND_FREE || !message->connection_options ||
           !proxy_h1_connection_lists(&message->headers, field->name);
}

static bool add_fields(struct h2_outgoing *outgoing, const struct proxy_message *message, bool length)
{
    bool quick = !message->connection_options;
    for (size_t i = 0; i < message->headers.count; i++) {
        const struct proxy_header *field = &message->headers.list[i];
        if (field->removed || ((field->id != PROXY_HEADER_OTHER || !quick) && !passes(message, field, length)))
            continue;
        struct fl_span name = lower(outgoing, field);
        if (name.data == NULL)
            return false;
        add(outgoing, name, field->value, is_volatile((enum proxy_header_id)field->id));
    }
    if (message->te_trailers && message->status == 0)
        add(outgoing, FL_SPAN("te"), FL_SPAN("trailers"), false);
    return true;
}

static void outgoing_init(struct h2_outgoing *outgoing)
{
    proxy_h2_arena_init(&outgoing->arena);
    outgoing->count = 0;
}

void proxy_h2_outgoing_done(struct h2_outgoing *outgoing)
{
    proxy_h2_arena_done(&outgoing->arena);
}

bool proxy_h2_outgoing_request(struct h2_outgoing *outgoing, const struct proxy_h2 *h2,
                               const struct proxy_message *message)
{
    outgoing_init(outgoing);
    bool connect = message->method_id == PROXY_METHOD_CONNECT, extended = message->upgrade && !connect;
    add(outgoing, FL_SPAN(":method"), extended ? FL_SPAN("CONNECT") : message->method, false);
    if (extended)
        add(outgoing, FL_SPAN(":protocol"), proxy_headers_value(&message->headers, PROXY_HEADER_UPGRADE), false);
    if (!connect) {
        struct fl_span scheme = h2->tls ? FL_SPAN("https") : FL_SPAN("http");
        add(outgoing, FL_SPAN(":scheme"), message->scheme.len > 0 ? message->scheme : scheme, false);
    }
    if (message->authority.len > 0)
        add(outgoing, FL_SPAN(":authority"), message->authority, false);
    if (!connect)
        add(outgoing, FL_SPAN(":path"), message->path, false);
    return add_fields(outgoing, message, message->framing == PROXY_FRAMING_LENGTH && !message->upgrade);
}

bool proxy_h2_outgoing_answer(struct h2_outgoing *outgoing, const struct h2_stream *stream,
                              const struct proxy_message *message)
{
    outgoing_init(outgoing);
    unsigned status = message->status == 101 && stream->upgrade != NULL ? 200 : message->status;
    outgoing->status[0] = (char)('0' + status / 100 % 10);
    outgoing->status[1] = (char)('0' + status / 10 % 10);
    outgoing->status[2] = (char)('0' + status % 10);
    add(outgoing, FL_SPAN(":status"), fl_span_make(outgoing->status, 3), false);
    bool open = message->framing == PROXY_FRAMING_CHUNKED || message->framing == PROXY_FRAMING_CLOSE;
    bool bare = message->upgrade || message->status < 200 || message->status == 204;
    return add_fields(outgoing, message, message->has_content_length && !open && !bare);
}

/* Pseudo-headers and fields about framing are none (RFC 9110 §6.5.1); the rest is the user's affair. */
bool proxy_h2_outgoing_trailers(struct h2_outgoing *outgoing, const struct proxy_headers *trailers)
{
    outgoing_init(outgoing);
    for (size_t i = 0; i < trailers->count; i++) {
        const struct proxy_header *field = &trailers->list[i];
        enum proxy_header_id id = (enum proxy_header_id)field->id;
        if (field->removed || proxy_header_kind(id) == PROXY_HEADER_KIND_HOP || id == PROXY_HEADER_CONTENT_LENGTH ||
            id == PROXY_HEADER_TRANSFER_ENCODING || id == PROXY_HEADER_HOST)
            continue;
        struct fl_span name = lower(outgoing, field);
        if (name.data == NULL)
            return false;
        add(outgoing, name, field->value, is_volatile(id));
    }
    return true;
}

struct h2_text *proxy_h2_text_new(const struct h2_outgoing *outgoing)
{
    size_t size = sizeof(struct h2_text) + outgoing->count * sizeof(struct proxy_hpack_field);
    for (size_t i = 0; i < outgoing->count; i++)
        size += outgoing->fields[i].name.len + outgoing->fields[i].value.len;
    struct h2_text *text = malloc(size);
    if (text == NULL)
        return NULL;
    text->count = outgoing->count;
    char *to = (char *)(text->fields + text->count);
    for (size_t i = 0; i < text->count; i++) {
        const struct proxy_hpack_field *from = &outgoing->fields[i];
        char *name = to, *value = to + from->name.len;
        memcpy(name, from->name.data, from->name.len);
        if (from->value.len > 0)
            memcpy(value, from->value.data, from->value.len);
        to = value + from->value.len;
        text->fields[i] = (struct proxy_hpack_field){fl_span_make(name, from->name.len),
                                                     fl_span_make(value, from->value.len), from->is_volatile, NULL};
    }
    return text;
}

void proxy_h2_text_restore(const struct h2_text *text, struct h2_outgoing *outgoing)
{
    outgoing_init(outgoing);
    outgoing->count = text->count;
    memcpy(outgoing->fields, text->fields, text->count * sizeof(text->fields[0]));
}
