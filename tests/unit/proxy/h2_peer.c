#include "tests/unit/proxy/h2_peer.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>

#include <cmocka.h>

static void print_fields(char *to, size_t size, const struct proxy_headers *headers)
{
    size_t len = strlen(to);
    for (size_t i = 0; headers != NULL && i < headers->count; i++) {
        const struct proxy_header *field = &headers->list[i];
        if (!field->removed)
            len += (size_t)snprintf(to + len, size - len, "%.*s: %.*s\n", FL_SPAN_ARG(field->name),
                                    FL_SPAN_ARG(field->value));
        assert_true(len < size);
    }
}

/* --- recorders -------------------------------------------------------------------------------------------------- */

static void on_open(void *user)
{
    (void)user;
}

static void on_head(void *user, struct proxy_message *message, bool end)
{
    struct peer_stream *stream = user;
    size_t len = strlen(stream->head);
    if (message->status == 0)
        snprintf(stream->head, sizeof(stream->head), "%.*s %.*s\n", FL_SPAN_ARG(message->method),
                 FL_SPAN_ARG(message->target));
    else
        snprintf(stream->head + len, sizeof(stream->head) - len, "%u\n", message->status);
    print_fields(stream->head, sizeof(stream->head), &message->headers);
    stream->status = message->status;
    stream->upgrade = message->upgrade;
    stream->ended = end;
}

static void on_data(void *user, struct fl_span data)
{
    struct peer_stream *stream = user;
    assert_int_equal(fl_buf_append(&stream->body, data), 0);
}

static void on_end(void *user, struct proxy_headers *trailers)
{
    struct peer_stream *stream = user;
    stream->ended = true;
    print_fields(stream->trailers, sizeof(stream->trailers), trailers);
}

static void on_writable(void *user)
{
    ((struct peer_stream *)user)->writable = true;
}

static void on_reset(void *user, enum proxy_reset why)
{
    struct peer_stream *stream = user;
    stream->reset = !stream->ended; /* an answer that is whole may be followed by "send no more" */
    stream->why = why;
    stream->stream = NULL;
}

static const struct proxy_stream_events events = {
    .on_open = on_open,
    .on_head = on_head,
    .on_data = on_data,
    .on_end = on_end,
    .on_writable = on_writable,
    .on_reset = on_reset,
};

static struct peer_stream *stream_new(struct h2_peer *peer)
{
    assert_true(peer->count < PEER_STREAMS);
    struct peer_stream *stream = calloc(1, sizeof(*stream));
    assert_non_null(stream);
    stream->peer = peer;
    fl_buf_init(&stream->body, 64u << 20);
    peer->streams[peer->count++] = stream;
    return stream;
}

/* --- the session ------------------------------------------------------------------------------------------------ */

static void send_bytes(void *owner, struct fl_span bytes)
{
    struct h2_peer *peer = owner;
    assert_int_equal(fl_buf_append(&peer->out, bytes), 0);
}

static bool on_stream(void *owner, struct proxy_stream *opened)
{
    struct h2_peer *peer = owner;
    if (peer->refuse > 0) {
        peer->refuse--;
        return false;
    }
    struct peer_stream *stream = stream_new(peer);
    stream->stream = opened;
    opened->events = &events;
    opened->user = stream;
    return true;
}

static void on_room(void *owner)
{
    (void)owner;
}

static void on_goaway(void *owner)
{
    ((struct h2_peer *)owner)->goaways++;
}

static void on_over(void *owner, enum proxy_h2_error error)
{
    struct h2_peer *peer = owner;
    peer->over = true;
    peer->error = error;
}

static const struct proxy_h2_owner ops = {
    .send = send_bytes,
    .on_stream = on_stream,
    .on_room = on_room,
    .on_goaway = on_goaway,
    .on_over = on_over,
};

static uint64_t now_ms(const struct h2_peer *peer)
{
    return fl_loop_now_ms(peer->f->loop);
}

static void begin(struct h2_peer *peer, struct fixture *f, const struct proxy_h2_settings *settings, bool server)
{
    const struct side side = peer->side;
    const int on = 1; /* what is sent is there when the test goes on */
    assert_int_equal(setsockopt(side.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)), 0);
    memset(peer, 0, sizeof(*peer));
    peer->side = side;
    peer->f = f;
    fl_buf_init(&peer->out, 64u << 20);
    struct proxy_h2_options options = {
        .server = server,
        .pool = &peer->pool,
        .message = &peer->message,
        .trailers = &peer->trailers,
        .ops = &ops,
        .owner = peer,
    };
    if (settings != NULL)
        options.settings = *settings;
    assert_int_equal(proxy_h2_new(&options, now_ms(peer), &peer->h2), 0);
    peer_run(peer);
}

void peer_connect(struct h2_peer *peer, struct fixture *f, const struct proxy_h2_settings *settings)
{
    peer->side = fixture_client(f);
    begin(peer, f, settings, false);
}

void peer_accept(struct h2_peer *peer, struct fixture *f, const struct proxy_h2_settings *settings)
{
    peer->side = fixture_origin(f);
    begin(peer, f, settings, true);
}

void peer_done(struct h2_peer *peer)
{
    proxy_h2_end(peer->h2, PROXY_RESET_EOF, "");
    for (size_t i = 0; i < peer->count; i++) {
        fl_buf_done(&peer->streams[i]->body);
        free(peer->streams[i]);
    }
    peer->h2 = proxy_h2_free(peer->h2);
    proxy_pool_done(&peer->pool);
    fl_buf_done(&peer->out);
    side_done(&peer->side);
}

static bool send_some(struct h2_peer *peer)
{
    if (peer->out.len == 0)
        return false;
    ssize_t done = send(peer->side.fd, peer->out.data, peer->out.len, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (done < 0 && errno != EAGAIN)
        done = (ssize_t)peer->out.len; /* nobody wants it */
    if (done <= 0)
        return false;
    memmove(peer->out.data, peer->out.data + done, peer->out.len - (size_t)done);
    peer->out.len -= (size_t)done;
    return true;
}

static bool hear_some(struct h2_peer *peer)
{
    struct side *side = &peer->side;
    if (peer->is_deaf || side->ended || side->reset)
        return false;
    ssize_t got = recv(side->fd, side->text, FIXTURE_TEXT_MAX, MSG_DONTWAIT);
    if (got > 0) {
        proxy_h2_feed(peer->h2, fl_span_make(side->text, (size_t)got), now_ms(peer));
        return true;
    }
    side->ended = got == 0;
    side->reset = got < 0 && errno != EAGAIN;
    if (side->ended || side->reset)
        proxy_h2_end(peer->h2, side->ended ? PROXY_RESET_EOF : PROXY_RESET_CONNECTION, "");
    return false;
}

void peer_run(struct h2_peer *peer)
{
    for (int quiet = 0; quiet < 2;) {
        bool moved = send_some(peer);
        fixture_run(peer->f);
        moved |= hear_some(peer);
        quiet = moved ? 0 : quiet + 1;
    }
}

/* --- messages --------------------------------------------------------------------------------------------------- */

static void fill(struct proxy_headers *headers, const char *fields)
{
    struct fl_span rest = fl_span_str(fields), line;
    while (rest.len > 0 && fl_span_split(&rest, '\n', &line)) {
        size_t colon = fl_span_find(line, ':');
        assert_int_equal(proxy_headers_add(headers, fl_span_make(line.data, colon), fl_span_from(line, colon + 2)), 0);
    }
}

static void set_length(struct proxy_message *message)
{
    struct fl_span length = proxy_headers_value(&message->headers, PROXY_HEADER_CONTENT_LENGTH);
    message->has_content_length = length.len > 0;
    message->framing = length.len > 0 ? PROXY_FRAMING_LENGTH : PROXY_FRAMING_CHUNKED;
    if (length.len > 0)
        assert_true(fl_span_to_u64(length, UINT64_MAX, &message->content_length));
}

struct peer_stream *peer_request(struct h2_peer *peer, const char *method, const char *path, const char *fields,
                                 bool end)
{
    struct peer_stream *stream = stream_new(peer);
    struct proxy_message *message = &peer->message;
    proxy_message_init(message);
    message->major = 2;
    message->minor = 1;
    message->method = fl_span_str(method);
    message->method_id = (uint8_t)proxy_method_id(message->method);
    message->target = message->path = fl_span_str(path);
    message->authority = FL_SPAN("web");
    message->scheme = FL_SPAN("http");
    fill(&message->headers, fields);
    message->te_trailers = message->headers.first[PROXY_HEADER_TE] != 0;
    set_length(message);
    if (end)
        message->framing = PROXY_FRAMING_NONE;
    message->upgrade = message->headers.first[PROXY_HEADER_UPGRADE] != 0 || message->method_id == PROXY_METHOD_CONNECT;
    assert_int_equal(proxy_h2_open(peer->h2, &events, stream, &stream->stream), 0);
    proxy_stream_send_head(stream->stream, message, end);
    peer_run(peer);
    return stream;
}

struct peer_stream *peer_asked(struct h2_peer *peer, size_t nth)
{
    PEER_UNTIL(peer, peer->count > nth && peer->streams[nth]->head[0] != '\0');
    return peer->streams[nth];
}

void peer_answer(struct peer_stream *stream, unsigned status, const char *fields, bool end)
{
    struct proxy_message *message = &stream->peer->message;
    proxy_message_init(message);
    message->major = 2;
    message->minor = 1;
    message->status = (uint16_t)status;
    message->upgrade = status == 101;
    fill(&message->headers, fields);
    set_length(message);
    assert_non_null(stream->stream);
    proxy_stream_send_head(stream->stream, message, end);
    peer_run(stream->peer);
}

void peer_send_bytes(struct peer_stream *stream, struct fl_span bytes)
{
    assert_non_null(stream->stream);
    proxy_stream_send_data(stream->stream, bytes);
    peer_run(stream->peer);
}

void peer_send(struct peer_stream *stream, const char *text)
{
    peer_send_bytes(stream, fl_span_str(text));
}

void peer_end(struct peer_stream *stream, const char *trailers)
{
    struct proxy_headers *headers = &stream->peer->trailers;
    proxy_headers_init(headers);
    fill(headers, trailers != NULL ? trailers : "");
    assert_non_null(stream->stream);
    proxy_stream_send_end(stream->stream, trailers != NULL ? headers : NULL);
    peer_run(stream->peer);
}

void peer_reset(struct peer_stream *stream, enum proxy_reset why)
{
    proxy_stream_close(fl_take(stream->stream), why);
    peer_run(stream->peer);
}

void peer_expect(struct peer_stream *stream, const char *head_start, const char *body)
{
    PEER_UNTIL(stream->peer, stream->ended || stream->reset);
    if (stream->reset)
        fail_msg("%s: reset: %s", stream->head, proxy_reset_text(stream->why));
    if (head_start != NULL && strncmp(stream->head, head_start, strlen(head_start)) != 0)
        assert_string_equal(stream->head, head_start);
    if (body != NULL && !fl_span_eq_str(fl_buf_span(&stream->body), body))
        fail_msg("%.*s instead of %s", FL_SPAN_ARG(fl_buf_span(&stream->body)), body);
}

void peer_expect_reset(struct peer_stream *stream)
{
    PEER_UNTIL(stream->peer, stream->reset || stream->ended);
    if (!stream->reset)
        fail_msg("answered: %s", stream->head);
}
