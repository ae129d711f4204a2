#include "tests/unit/proxy/h2_pair.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#define PIPE_MAX (64u << 20)

/* ---- users of streams ---- */

static void print(char *to, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void print(char *to, size_t size, const char *format, ...)
{
    size_t len = strlen(to);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(to + len, size - len, format, arguments);
    va_end(arguments);
}

static void print_fields(char *to, size_t size, const struct proxy_headers *headers)
{
    for (size_t i = 0; i < headers->count; i++) {
        const struct proxy_header *field = &headers->list[i];
        if (!field->removed)
            print(to, size, "%.*s: %.*s\n", FL_SPAN_ARG(field->name), FL_SPAN_ARG(field->value));
    }
}

void pair_close(struct pair_stream *stream, enum proxy_reset why)
{
    proxy_stream_close(fl_take(stream->stream), why);
}

static void on_open(void *user)
{
    (void)user;
}

static void answer_echo(struct pair_stream *stream, bool end)
{
    static struct proxy_message answer;
    proxy_message_init(&answer);
    answer.status = stream->upgrade ? 101 : 200;
    answer.upgrade = stream->upgrade;
    answer.framing = stream->upgrade ? PROXY_FRAMING_NONE : PROXY_FRAMING_CHUNKED;
    proxy_stream_send_head(stream->stream, &answer, end);
}

static void on_head(void *user, struct proxy_message *message, bool end)
{
    struct pair_stream *stream = user;
    stream->heads++;
    stream->head[0] = '\0';
    stream->status = message->status;
    stream->upgrade = message->upgrade;
    stream->framing = message->framing;
    stream->end = end;
    if (message->status == 0)
        print(stream->head, sizeof(stream->head), "%.*s %.*s %.*s %.*s\n", FL_SPAN_ARG(message->method),
              FL_SPAN_ARG(message->scheme), FL_SPAN_ARG(message->authority), FL_SPAN_ARG(message->target));
    else
        print(stream->head, sizeof(stream->head), "%u\n", (unsigned)message->status);
    print_fields(stream->head, sizeof(stream->head), &message->headers);
    if (stream->side->close_at_head)
        pair_close(stream, PROXY_RESET_CANCELLED);
    else if (stream->side->echo && stream->side->is_server)
        answer_echo(stream, end);
}

static void on_data(void *user, struct fl_span data)
{
    struct pair_stream *stream = user;
    if (fl_buf_append(&stream->body, data) < 0)
        stream->reset = true;
    if (stream->side->echo && stream->side->is_server)
        proxy_stream_send_data(stream->stream, data);
}

static void on_end(void *user, struct proxy_headers *trailers)
{
    struct pair_stream *stream = user;
    stream->ended = true;
    if (trailers != NULL)
        print_fields(stream->trailers, sizeof(stream->trailers), trailers);
    if (stream->side->echo && stream->side->is_server)
        proxy_stream_send_end(stream->stream, trailers);
    if (stream->side->close_at_end && stream->stream != NULL)
        pair_close(stream, PROXY_RESET_CANCELLED);
}

static void on_writable(void *user)
{
    struct pair_stream *stream = user;
    stream->writable++;
}

static void on_reset(void *user, enum proxy_reset why)
{
    struct pair_stream *stream = user;
    stream->reset = true;
    stream->why = why;
    print(stream->error, sizeof(stream->error), "%s", proxy_stream_error(stream->stream));
    stream->stream = NULL;
}

const struct proxy_stream_events pair_events = {on_open, on_head, on_data, on_end, on_writable, on_reset};

/* ---- owners of sessions ---- */

static struct pair_stream *new_user(struct pair_side *side)
{
    if (side->count == PAIR_STREAMS)
        return NULL;
    struct pair_stream *stream = &side->streams[side->count++];
    fl_buf_init(&stream->body, PIPE_MAX);
    stream->side = side;
    return stream;
}

static void send_bytes(void *owner, struct fl_span bytes)
{
    struct pair_side *side = owner;
    struct pair_side *other = side->is_server ? &side->pair->client : &side->pair->server;
    if (fl_buf_append(&other->pipe, bytes) < 0)
        side->fault = PROXY_H2_ERROR_MEMORY;
    if (side->hold)
        proxy_h2_hold(side->h2);
}

static bool on_stream(void *owner, struct proxy_stream *base)
{
    struct pair_side *side = owner;
    struct pair_stream *stream = side->refuse ? NULL : new_user(side);
    if (stream == NULL)
        return false;
    stream->stream = base;
    base->events = &pair_events;
    base->user = stream;
    return true;
}

static void on_room(void *owner)
{
    ((struct pair_side *)owner)->rooms++;
}

static void on_goaway(void *owner)
{
    ((struct pair_side *)owner)->goaways++;
}

static void on_over(void *owner, enum proxy_h2_error error)
{
    struct pair_side *side = owner;
    side->over = true;
    side->error = error;
}

static void on_fault(void *owner, enum proxy_h2_error error)
{
    struct pair_side *side = owner;
    side->faults++;
    side->fault = error;
}

static const struct proxy_h2_owner ops = {send_bytes, on_stream, on_room, on_goaway, on_over, on_fault};

static int side_init(struct pair *pair, struct pair_side *side, const struct proxy_h2_settings *settings)
{
    struct proxy_h2_options options = {.server = side->is_server,
                                       .pool = &pair->pool,
                                       .message = &pair->message,
                                       .trailers = &pair->trailers,
                                       .ops = &ops,
                                       .owner = side};
    if (settings != NULL)
        options.settings = *settings;
    return proxy_h2_new(&options, pair->now_ms, &side->h2);
}

static void prepare(struct pair *pair)
{
    memset(pair, 0, sizeof(*pair));
    pair->now_ms = 1000;
    pair->client.pair = pair->server.pair = pair;
    pair->server.is_server = true;
    fl_buf_init(&pair->client.pipe, PIPE_MAX);
    fl_buf_init(&pair->server.pipe, PIPE_MAX);
}

int pair_init_server(struct pair *pair, const struct proxy_h2_settings *settings)
{
    prepare(pair);
    return side_init(pair, &pair->server, settings);
}

int pair_init_client(struct pair *pair, const struct proxy_h2_settings *settings)
{
    prepare(pair);
    return side_init(pair, &pair->client, settings);
}

int pair_init(struct pair *pair, const struct proxy_h2_settings *client, const struct proxy_h2_settings *server)
{
    prepare(pair);
    int result = side_init(pair, &pair->client, client);
    if (result == 0)
        result = side_init(pair, &pair->server, server);
    if (result < 0)
        pair_done(pair);
    return result;
}

static void side_done(struct pair_side *side)
{
    if (side->h2 != NULL)
        proxy_h2_end(side->h2, PROXY_RESET_EOF, "the end");
    side->h2 = proxy_h2_free(side->h2);
    for (size_t i = 0; i < side->count; i++)
        fl_buf_done(&side->streams[i].body);
    fl_buf_done(&side->pipe);
}

void pair_done(struct pair *pair)
{
    side_done(&pair->client);
    side_done(&pair->server);
    proxy_pool_done(&pair->pool);
}

static bool deliver(struct pair_side *side)
{
    if (side->pipe.len == 0 || side->h2 == NULL)
        return false;
    struct fl_buf bytes = side->pipe;
    fl_buf_init(&side->pipe, PIPE_MAX);
    size_t split = side->pair->split != 0 ? side->pair->split : bytes.len;
    for (size_t at = 0; at < bytes.len; at += split) {
        size_t part = bytes.len - at < split ? bytes.len - at : split;
        char *copy = malloc(part); /* of its own, so that a byte too far is seen */
        if (copy == NULL)
            break;
        memcpy(copy, bytes.data + at, part);
        proxy_h2_feed(side->h2, fl_span_make(copy, part), side->pair->now_ms);
        free(copy);
    }
    fl_buf_done(&bytes);
    return true;
}

void pair_run(struct pair *pair)
{
    bool moved;
    do {
        bool client = deliver(&pair->client), server = deliver(&pair->server);
        moved = client || server;
    } while (moved);
}

void pair_fields(struct proxy_headers *headers, const char *fields)
{
    struct fl_span rest = fl_span_str(fields), line;
    while (fields != NULL && fl_span_split(&rest, '\n', &line)) {
        size_t colon = fl_span_find(line, ':');
        if (colon == line.len)
            continue;
        if (proxy_headers_add(headers, fl_span_make(line.data, colon), fl_span_trim(fl_span_from(line, colon + 1))) < 0)
            return;
    }
}

static void set_length(struct proxy_message *message, bool end)
{
    struct fl_span length = proxy_headers_value(&message->headers, PROXY_HEADER_CONTENT_LENGTH);
    message->has_content_length = fl_span_to_u64(length, UINT64_MAX, &message->content_length);
    message->framing = message->has_content_length ? PROXY_FRAMING_LENGTH
                       : end                       ? PROXY_FRAMING_NONE
                                                   : PROXY_FRAMING_CHUNKED;
    message->te_trailers = message->headers.first[PROXY_HEADER_TE] != 0;
}

struct pair_stream *pair_request(struct pair *pair, const char *method, const char *path, const char *fields, bool end)
{
    static struct proxy_message message;
    struct pair_side *side = &pair->client;
    struct proxy_stream *base = NULL;
    struct pair_stream *stream = new_user(side);
    if (stream == NULL || proxy_h2_open(side->h2, &pair_events, stream, &base) != 0)
        return NULL;
    stream->stream = base;
    proxy_message_init(&message);
    message.method = fl_span_str(method);
    message.method_id = (uint8_t)proxy_method_id(message.method);
    message.path = message.target = fl_span_str(path);
    message.authority = FL_SPAN("server.demo:8080");
    pair_fields(&message.headers, fields);
    message.upgrade = message.headers.first[PROXY_HEADER_UPGRADE] != 0 || message.method_id == PROXY_METHOD_CONNECT;
    set_length(&message, end);
    proxy_stream_send_head(stream->stream, &message, end);
    return stream;
}

void pair_answer(struct pair_stream *stream, unsigned status, const char *fields, bool end)
{
    static struct proxy_message message;
    proxy_message_init(&message);
    message.status = (uint16_t)status;
    message.upgrade = status == 101;
    pair_fields(&message.headers, fields);
    set_length(&message, end);
    proxy_stream_send_head(stream->stream, &message, end);
}

void pair_send(struct pair_stream *stream, struct fl_span data)
{
    proxy_stream_send_data(stream->stream, data);
}
