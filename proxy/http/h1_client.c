#include "proxy/http/h1_client.h"

#include "proxy/http/h1_write.h"

#include <errno.h>

#define WORK_HALF (PROXY_TURN_WORK / 2) /* a message's own texts may be in the upper half */

static struct proxy_h1_client *of(const struct proxy_stream *stream)
{
    return (struct proxy_h1_client *)(uintptr_t)stream;
}

/* Whether the stream of that generation still hears. */
static bool is_heard(const struct proxy_h1_client *client, uint32_t generation)
{
    return client->generation == generation && !client->closed;
}

static void reset(struct proxy_h1_client *client, enum proxy_reset why, const char *error)
{
    client->closed = true;
    client->error = error != NULL && error[0] != '\0' ? error : proxy_reset_text(why);
    client->stream.events->on_reset(client->stream.user, why);
}

/* --- the request ------------------------------------------------------------------------------------------------ */

static void count_sent(struct proxy_h1_client *client)
{
    client->stream.sent = proxy_conn_bytes_sent(client->conn) - client->sent_before;
}

static void write_out(struct proxy_h1_client *client, struct fl_span bytes)
{
    if (!client->gone)
        proxy_conn_write(client->conn, bytes);
}

static void tell_late(struct fl_deferred *deferred)
{
    struct proxy_h1_client *client = FL_CONTAINER_OF(deferred, struct proxy_h1_client, late);
    client->is_late = false;
    if (!client->closed)
        reset(client, PROXY_RESET_MEMORY, NULL);
}

static void fail_late(struct proxy_h1_client *client)
{
    if (!client->is_late)
        fl_loop_defer(proxy_conn_turn(client->conn)->loop, &client->late, tell_late);
    client->is_late = true;
}

static void write_head(struct proxy_h1_client *client, const struct proxy_message *request,
                       const struct proxy_h1_plan *plan)
{
    FL_CLEANUP(fl_cleanup_free) char *large = NULL;
    char *to = proxy_conn_turn(client->conn)->work;
    size_t bound = proxy_h1_head_bound(request, plan);
    if (bound > WORK_HALF)
        to = large = malloc(bound);
    if (to == NULL)
        fail_late(client);
    else
        write_out(client, fl_span_make(to, proxy_h1_write_head(request, plan, to)));
}

static bool has_open_end(const struct proxy_message *request, bool end)
{
    return !end && request->framing != PROXY_FRAMING_LENGTH && !request->upgrade &&
           request->method_id != PROXY_METHOD_CONNECT;
}

static void send_head(struct proxy_stream *stream, struct proxy_message *request, bool end)
{
    struct proxy_h1_client *client = of(stream);
    if (client->closed)
        return;
    if (has_open_end(request, end))
        request->framing = PROXY_FRAMING_CHUNKED;
    struct proxy_h1_plan plan;
    proxy_h1_plan_request(request, &plan);
    client->request = proxy_exchange_of(request);
    client->framing = plan.framing;
    client->head_sent = true;
    client->request_done = end;
    write_head(client, request, &plan);
    if (end && plan.framing == PROXY_FRAMING_CHUNKED)
        write_out(client, FL_SPAN("0\r\n\r\n"));
    count_sent(client);
}

static void send_data(struct proxy_stream *stream, struct fl_span data)
{
    struct proxy_h1_client *client = of(stream);
    char head[PROXY_H1_CHUNK_HEAD_MAX];
    bool chunked = client->framing == PROXY_FRAMING_CHUNKED && !client->tunnel;
    if (client->closed)
        return;
    if (chunked)
        write_out(client, fl_span_make(head, proxy_h1_write_chunk_head(data.len, head)));
    write_out(client, data);
    if (chunked)
        write_out(client, PROXY_H1_CHUNK_END);
    count_sent(client);
}

static void write_last_chunk(struct proxy_h1_client *client, const struct proxy_headers *trailers)
{
    char *to = proxy_conn_turn(client->conn)->work;
    if (trailers != NULL && proxy_h1_last_chunk_bound(trailers) > WORK_HALF)
        trailers = NULL;
    write_out(client, fl_span_make(to, proxy_h1_write_last_chunk(trailers, to)));
}

static void send_end(struct proxy_stream *stream, const struct proxy_headers *trailers)
{
    struct proxy_h1_client *client = of(stream);
    if (client->closed || client->request_done)
        return;
    client->request_done = true;
    if (client->tunnel)
        proxy_conn_shutdown(client->conn);
    else if (client->framing == PROXY_FRAMING_CHUNKED)
        write_last_chunk(client, trailers);
    count_sent(client);
}

/* --- the answer ------------------------------------------------------------------------------------------------- */

static void settle_head(struct proxy_h1_client *client, const struct proxy_message *response, bool more_behind)
{
    client->answered = true;
    client->tunnel = response->upgrade;
    client->keep = response->keep_alive;
    client->stream.last = !response->keep_alive;
    proxy_h1_body_init(&client->body, response);
    if (client->tunnel) {
        if (client->request_done) /* its end was told before the tunnel was there */
            proxy_conn_shutdown(client->conn);
    } else if (proxy_h1_body_done(&client->body)) {
        client->answer_done = true;
        client->surplus = more_behind;
    }
}

/* Heads, until the final one. False: nothing more is to be done with these bytes; *used tells how many were. */
static bool read_heads(struct proxy_h1_client *client, struct fl_span bytes, size_t *used)
{
    static const struct proxy_h1_limits limits = {0}; /* the codec's own */
    struct proxy_message *response = client->scratch.message;
    uint32_t generation = client->generation;
    while (!client->answered) {
        size_t size = 0;
        int result = proxy_h1_parse_response(&client->parser, fl_span_from(bytes, *used), &limits, &client->request,
                                             response, &size);
        if (result == PROXY_H1_MORE)
            return false;
        if (result != PROXY_H1_DONE) {
            *used = bytes.len;
            reset(client, PROXY_RESET_PROTOCOL, proxy_h1_error_word(client->parser.error));
            return false;
        }
        *used += size;
        if (!proxy_message_is_interim(response))
            settle_head(client, response, *used < bytes.len);
        bool done = client->answer_done;
        client->stream.events->on_head(client->stream.user, response, done);
        if (done || !is_heard(client, generation)) {
            *used = bytes.len;
            return false;
        }
        if (*used == bytes.len)
            return false;
    }
    return true;
}

/* Content. Returns how many bytes were used. */
static size_t read_body(struct proxy_h1_client *client, struct fl_span bytes)
{
    const struct proxy_stream_events *events = client->stream.events;
    struct proxy_headers *trailers = client->scratch.trailers;
    uint32_t generation = client->generation;
    struct fl_span rest = bytes, part;
    int result;
    while ((result = proxy_h1_body_decode(&client->body, &rest, trailers, &part)) == PROXY_H1_DATA) {
        events->on_data(client->stream.user, part);
        if (!is_heard(client, generation))
            return bytes.len;
    }
    if (result == PROXY_H1_MORE)
        return bytes.len - rest.len;
    if (result == PROXY_H1_DONE) {
        bool any = client->body.framing == PROXY_FRAMING_CHUNKED && trailers->count > 0;
        client->answer_done = true;
        client->surplus = rest.len > 0;
        events->on_end(client->stream.user, any ? trailers : NULL);
    } else {
        reset(client, PROXY_RESET_PROTOCOL, proxy_h1_error_word(client->body.error));
    }
    return bytes.len;
}

static size_t on_data(void *owner, struct fl_span bytes)
{
    struct proxy_h1_client *client = owner;
    size_t used = 0;
    if (client->closed)
        return bytes.len;
    client->stream.received = proxy_conn_bytes_received(client->conn) - client->received_before;
    if (client->answer_done) { /* they belong to nothing */
        client->surplus = true;
        return bytes.len;
    }
    if (!client->answered && !read_heads(client, bytes, &used))
        return used;
    if (!client->tunnel)
        return used + read_body(client, fl_span_from(bytes, used));
    client->stream.events->on_data(client->stream.user, fl_span_from(bytes, used));
    return bytes.len;
}

static void on_eof(void *owner)
{
    struct proxy_h1_client *client = owner;
    client->keep = false;
    if (client->closed || client->answer_done)
        return;
    bool ended = client->tunnel || (client->answered && proxy_h1_body_eof(&client->body) == PROXY_H1_DONE);
    if (ended) {
        client->answer_done = true;
        client->stream.events->on_end(client->stream.user, NULL);
    } else {
        reset(client, PROXY_RESET_EOF, NULL);
    }
}

static enum proxy_reset reset_of(const struct proxy_h1_client *client, enum proxy_end end)
{
    if (end == PROXY_END_MEMORY)
        return PROXY_RESET_MEMORY;
    return client->opened ? PROXY_RESET_CONNECTION : PROXY_RESET_CONNECT;
}

static void on_closed(void *owner, enum proxy_end end)
{
    struct proxy_h1_client *client = owner;
    uint32_t generation = client->generation;
    client->gone = true;
    client->keep = false;
    client->end = (int)end;
    if (!client->closed && !(client->answer_done && client->request_done)) {
        const char *error = proxy_conn_error(client->conn);
        reset(client, reset_of(client, end), error[0] != '\0' ? error : proxy_end_text(end));
    }
    if (client->generation == generation)
        client->closed = true;
}

static void on_open(void *owner)
{
    struct proxy_h1_client *client = owner;
    client->opened = true;
    if (client->on_open != NULL)
        client->on_open(client);
    if (!client->closed)
        client->stream.events->on_open(client->stream.user);
}

static void on_writable(void *owner)
{
    struct proxy_h1_client *client = owner;
    if (!client->closed)
        client->stream.events->on_writable(client->stream.user);
}

static const struct proxy_conn_ops conn_ops = {
    .on_open = on_open,
    .on_data = on_data,
    .on_eof = on_eof,
    .on_writable = on_writable,
    .on_closed = on_closed,
};

/* --- the stream ------------------------------------------------------------------------------------------------- */

static void close_stream(struct proxy_stream *stream, enum proxy_reset why)
{
    (void)why; /* HTTP/1 has no word for it: the owner closes the connection */
    of(stream)->closed = true;
}

static void pause_stream(struct proxy_stream *stream)
{
    if (!of(stream)->gone)
        proxy_conn_pause(of(stream)->conn);
}

static void resume_stream(struct proxy_stream *stream)
{
    if (!of(stream)->gone)
        proxy_conn_resume(of(stream)->conn);
}

static bool is_backlogged(const struct proxy_stream *stream)
{
    return !of(stream)->gone && proxy_conn_is_backlogged(of(stream)->conn);
}

static size_t unsent(const struct proxy_stream *stream)
{
    size_t left = of(stream)->gone ? 0 : proxy_conn_unsent(of(stream)->conn);
    return left < stream->sent ? left : (size_t)stream->sent;
}

static const char *error_of(const struct proxy_stream *stream)
{
    return of(stream)->error != NULL ? of(stream)->error : "";
}

static const struct proxy_stream_ops stream_ops = {
    .send_head = send_head,
    .send_data = send_data,
    .send_end = send_end,
    .close = close_stream,
    .pause = pause_stream,
    .resume = resume_stream,
    .is_backlogged = is_backlogged,
    .unsent = unsent,
    .error = error_of,
};

void proxy_h1_client_begin(struct proxy_h1_client *client, struct proxy_conn *conn, bool open,
                           const struct proxy_stream_events *events, void *user)
{
    const struct proxy_h1_client kept = *client;
    *client = (struct proxy_h1_client){
        .stream = {.ops = &stream_ops, .events = events, .user = user},
        .conn = conn,
        .scratch = kept.scratch,
        .on_open = kept.on_open,
        .owner = kept.owner,
        .end = -1,
        .sent_before = proxy_conn_bytes_sent(conn),
        .received_before = proxy_conn_bytes_received(conn),
        .generation = kept.generation + 1,
        .opened = open,
        .late = kept.late, /* a stream before this one may be on its way to hear of something */
        .is_late = kept.is_late,
    };
    proxy_conn_set_owner(conn, &conn_ops, client);
}

bool proxy_h1_client_is_clean(const struct proxy_h1_client *client)
{
    return client->answer_done && client->request_done && client->keep && !client->surplus && !client->tunnel &&
           !client->gone;
}

enum proxy_h1_error proxy_h1_client_error(const struct proxy_h1_client *client)
{
    if (client->parser.error != PROXY_H1_ERROR_NONE)
        return (enum proxy_h1_error)client->parser.error;
    return (enum proxy_h1_error)client->body.error;
}
