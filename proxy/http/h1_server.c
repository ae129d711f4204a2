#include "proxy/http/h1_server.h"

#include "proxy/http/h1_write.h"

static const struct proxy_conn_ops conn_ops;
static const struct proxy_stream_ops stream_ops;

static struct proxy_h1_server *server_of(const struct proxy_stream *stream)
{
    return (struct proxy_h1_server *)(uintptr_t)stream;
}

static struct fl_loop *loop_of(const struct proxy_h1_server *server)
{
    return proxy_conn_turn(server->options.conn)->loop;
}

/* --- how it ends ------------------------------------------------------------------------------------------------ */

static void end(struct proxy_h1_server *server, enum proxy_close how)
{
    if (server->over)
        return;
    server->over = true;
    fl_timer_cancel(&server->breath);
    server->options.ops->on_over(server->options.owner, how);
}

/* The stream's last event, and the connection's. */
static void fail(struct proxy_h1_server *server, enum proxy_reset why, const char *error, enum proxy_close how)
{
    if (server->active) {
        server->active = false;
        server->error = error;
        server->stream.events->on_reset(server->stream.user, why);
    }
    end(server, how);
}

/* The answer is complete, and the request too: the next one. */
static void next(struct proxy_h1_server *server)
{
    server->active = false;
    server->options.ops->on_idle(server->options.owner);
    if (!server->over)
        proxy_conn_resume(server->options.conn);
}

static void stream_close(struct proxy_stream *stream, enum proxy_reset why)
{
    struct proxy_h1_server *server = server_of(stream);
    (void)why;
    if (!server->active)
        return;
    if (server->answer_done && server->keep && server->request_done && !server->out_of_memory) {
        next(server);
        return;
    }
    server->active = false;
    if (!server->answer_done || server->out_of_memory) /* its head has not gone: nothing may come in its place */
        end(server, PROXY_CLOSE_RESET);
    else
        end(server, server->request_done ? PROXY_CLOSE_FLUSH : PROXY_CLOSE_LINGER);
}

/* --- writing ---------------------------------------------------------------------------------------------------- */

static void write_bytes(struct proxy_h1_server *server, struct fl_span bytes)
{
    server->stream.sent += bytes.len;
    proxy_conn_write(server->options.conn, bytes);
}

static void take_breath(struct fl_timer *timer)
{
    struct proxy_h1_server *server = FL_CONTAINER_OF(timer, struct proxy_h1_server, breath);
    if (server->active && server->out_of_memory)
        fail(server, PROXY_RESET_MEMORY, proxy_reset_text(PROXY_RESET_MEMORY), PROXY_CLOSE_RESET);
    else if (server->active && proxy_conn_write_failed(server->options.conn))
        fail(server, PROXY_RESET_EOF, proxy_reset_text(PROXY_RESET_EOF), PROXY_CLOSE_RESET);
    else
        proxy_conn_resume(server->options.conn);
}

static void breathe(struct proxy_h1_server *server)
{
    if (!fl_timer_is_set(&server->breath))
        fl_timer_set(loop_of(server), &server->breath, 0, take_breath);
}

/* A client that pipelined is not read meanwhile, so this is the only news of its going. */
static void look_whether_it_is_there(struct proxy_h1_server *server)
{
    if (proxy_conn_write_failed(server->options.conn))
        breathe(server);
}

static bool is_bare(const struct proxy_h1_server *server, const struct proxy_message *message)
{
    return message->upgrade || message->status < 200 || message->status == 204 || message->status == 304 ||
           server->kept.method_id == PROXY_METHOD_HEAD;
}

/* What came by another version may say less of its length than HTTP/1 needs. */
static void settle_framing(const struct proxy_h1_server *server, struct proxy_message *message, bool last)
{
    if (is_bare(server, message)) {
        message->framing = PROXY_FRAMING_NONE;
    } else if (!last && message->framing == PROXY_FRAMING_NONE) {
        message->framing = PROXY_FRAMING_CHUNKED;
    } else if (last && !message->has_content_length &&
               proxy_headers_set(&message->headers, FL_SPAN("content-length"), FL_SPAN("0")) == 0) {
        message->framing = PROXY_FRAMING_LENGTH;
        message->content_length = 0;
        message->has_content_length = true;
    }
    if (message->major != 1 && message->reason.len == 0)
        message->reason = fl_span_str(proxy_status_reason(message->status));
}

static void write_head(struct proxy_h1_server *server, const struct proxy_message *message,
                       const struct proxy_h1_plan *plan)
{
    FL_CLEANUP(fl_cleanup_free) char *large = NULL;
    size_t bound = proxy_h1_head_bound(message, plan);
    char *to = proxy_conn_turn(server->options.conn)->work;
    if (bound > PROXY_TURN_WORK)
        to = large = malloc(bound);
    if (to == NULL) {
        server->out_of_memory = true;
        breathe(server); /* it is told in the next turn: nobody expects it in here */
        return;
    }
    write_bytes(server, fl_span_make(to, proxy_h1_write_head(message, plan, to)));
}

static void begin_tunnel(struct proxy_h1_server *server)
{
    server->tunnel = true;
    if (server->eof) /* it was a promise to send no more requests; now it is the end of what goes through */
        proxy_conn_set_owner(server->options.conn, &conn_ops, server);
    proxy_conn_resume(server->options.conn); /* what the client sent ahead of the switch */
}

static void send_head(struct proxy_stream *stream, struct proxy_message *message, bool last)
{
    struct proxy_h1_server *server = server_of(stream);
    struct proxy_h1_plan plan;
    bool interim = proxy_message_is_interim(message);
    if (!interim)
        settle_framing(server, message, last);
    proxy_h1_plan_response(message, &server->kept, &plan);
    if (interim) {
        if (!plan.suppress)
            write_head(server, message, &plan);
        return;
    }
    bool connect = server->kept.method_id == PROXY_METHOD_CONNECT; /* what follows was meant for a tunnel */
    plan.keep_alive = plan.keep_alive && !stream->last && server->request_done && !connect;
    server->keep = plan.keep_alive && !message->upgrade;
    if (message->upgrade)
        plan.keep_alive = true; /* "close" would say that the tunnel is not meant */
    server->framing = plan.framing;
    server->answer_done = last;
    write_head(server, message, &plan);
    if (message->upgrade)
        begin_tunnel(server);
}

static void send_data(struct proxy_stream *stream, struct fl_span data)
{
    struct proxy_h1_server *server = server_of(stream);
    char head[PROXY_H1_CHUNK_HEAD_MAX];
    if (data.len == 0 || (server->framing == PROXY_FRAMING_NONE && !server->tunnel))
        return;
    bool chunked = server->framing == PROXY_FRAMING_CHUNKED;
    if (chunked)
        write_bytes(server, fl_span_make(head, proxy_h1_write_chunk_head(data.len, head)));
    write_bytes(server, data);
    if (chunked)
        write_bytes(server, PROXY_H1_CHUNK_END);
    look_whether_it_is_there(server);
}

static void send_end(struct proxy_stream *stream, const struct proxy_headers *trailers)
{
    struct proxy_h1_server *server = server_of(stream);
    char *work = proxy_conn_turn(server->options.conn)->work;
    server->answer_done = true;
    if (server->tunnel) {
        proxy_conn_shutdown(server->options.conn);
    } else if (server->framing == PROXY_FRAMING_CHUNKED) {
        if (trailers != NULL && proxy_h1_last_chunk_bound(trailers) > PROXY_TURN_WORK)
            trailers = NULL;
        write_bytes(server, fl_span_make(work, proxy_h1_write_last_chunk(trailers, work)));
    }
}

/* --- reading ---------------------------------------------------------------------------------------------------- */

static void refuse(struct proxy_h1_server *server, enum proxy_h1_error error)
{
    server->active = true;
    server->answer_done = server->tunnel = server->request_done = false;
    server->kept = (struct proxy_exchange){.minor = 1};
    server->stream = (struct proxy_stream){.ops = &stream_ops, .last = true};
    server->options.ops->on_refused(server->options.owner, &server->stream, error);
    server->active = false;
    end(server, server->answer_done ? PROXY_CLOSE_LINGER : PROXY_CLOSE_RESET);
}

static void begin_stream(struct proxy_h1_server *server, size_t size)
{
    struct proxy_message *request = server->options.message;
    server->kept = proxy_exchange_of(request);
    server->stream = (struct proxy_stream){.ops = &stream_ops, .received = size};
    proxy_h1_body_init(&server->body, request);
    server->request_done = proxy_h1_body_done(&server->body);
    request->upgrade |= request->method_id == PROXY_METHOD_CONNECT;
    server->answer_done = server->tunnel = server->keep = false;
    server->framing = PROXY_FRAMING_NONE;
    server->active = true;
    server->head_begun = false;
}

/* Starts the request whose head begins `bytes`. Returns how many bytes were the head; 0: it is not all here, or the
 * connection has ended. */
static size_t begin_request(struct proxy_h1_server *server, struct fl_span bytes)
{
    const struct proxy_h1_server_options *options = &server->options;
    size_t size = 0;
    int result = proxy_h1_parse_request(&server->parser, bytes, &options->limits, options->message, &size);
    if (result == PROXY_H1_MORE) {
        if (!server->head_begun) {
            server->head_begun = true;
            options->ops->on_head_begun(options->owner);
        }
        return 0;
    }
    if (result != PROXY_H1_DONE) {
        refuse(server, (enum proxy_h1_error)server->parser.error);
        return 0;
    }
    begin_stream(server, size);
    if (!options->ops->on_stream(options->owner, &server->stream)) {
        server->active = false;
        end(server, PROXY_CLOSE_RESET);
        return 0;
    }
    bool last = server->request_done && !options->message->upgrade;
    server->stream.events->on_head(server->stream.user, options->message, last);
    return size;
}

static void refuse_body(struct proxy_h1_server *server)
{
    enum proxy_h1_error error = (enum proxy_h1_error)server->body.error;
    server->options.ops->on_refused(server->options.owner, &server->stream, error);
    fail(server, PROXY_RESET_PROTOCOL, proxy_h1_error_word(error), PROXY_CLOSE_RESET);
}

/* Returns how many bytes it used; the request may be done afterwards, or its stream gone. */
static size_t read_body(struct proxy_h1_server *server, struct fl_span bytes)
{
    struct proxy_headers *trailers = server->options.trailers;
    const struct proxy_stream_events *events = server->stream.events;
    struct fl_span rest = bytes, part;
    int result = PROXY_H1_MORE;
    size_t counted = 0;
    while (server->active && (result = proxy_h1_body_decode(&server->body, &rest, trailers, &part)) == PROXY_H1_DATA) {
        server->stream.received += bytes.len - rest.len - counted;
        counted = bytes.len - rest.len;
        events->on_data(server->stream.user, part);
    }
    if (!server->active)
        return bytes.len; /* closed meanwhile; nothing follows it */
    server->stream.received += bytes.len - rest.len - counted;
    if (result == PROXY_H1_DONE) {
        server->request_done = true;
        events->on_end(server->stream.user, server->body.framing == PROXY_FRAMING_CHUNKED ? trailers : NULL);
    } else if (result != PROXY_H1_MORE) {
        refuse_body(server);
        return bytes.len;
    }
    return bytes.len - rest.len;
}

static size_t pass_tunnel(struct proxy_h1_server *server, struct fl_span bytes)
{
    server->stream.received += bytes.len;
    server->stream.events->on_data(server->stream.user, bytes);
    return bytes.len;
}

size_t proxy_h1_server_data(struct proxy_h1_server *server, struct fl_span bytes)
{
    struct proxy_conn *conn = server->options.conn;
    size_t used = 0, started = 0;
    while (used < bytes.len && !server->over) {
        struct fl_span rest = fl_span_from(bytes, used);
        if (!server->active) {
            bool backlogged = proxy_conn_is_backlogged(conn);
            if (started++ == PROXY_H1_SERVER_BURST || backlogged) {
                proxy_conn_pause(conn); /* for the next turn, or for the client to read */
                if (!backlogged)
                    breathe(server);
                break;
            }
            size_t head = begin_request(server, rest);
            if (head == 0)
                break;
            used += head;
        } else if (server->tunnel) {
            used += pass_tunnel(server, rest);
        } else if (!server->request_done) {
            used += read_body(server, rest);
            if (server->active && !server->request_done)
                break; /* the rest of a trailer section, if anything, needs more behind it */
        } else {
            proxy_conn_pause(conn); /* for the answer that is under way */
            break;
        }
    }
    return server->over ? bytes.len : used;
}

void proxy_h1_server_late(struct proxy_h1_server *server)
{
    if (!server->active && !server->over)
        refuse(server, PROXY_H1_ERROR_NONE);
}

/* --- the connection --------------------------------------------------------------------------------------------- */

static void on_open(void *owner)
{
    (void)owner;
}

static size_t on_data(void *owner, struct fl_span bytes)
{
    return proxy_h1_server_data(owner, bytes);
}

static void on_eof(void *owner)
{
    struct proxy_h1_server *server = owner;
    if (!server->active)
        end(server, PROXY_CLOSE_FLUSH);
    else if (server->tunnel)
        server->stream.events->on_end(server->stream.user, NULL);
    else if (!server->request_done || server->kept.keep_alive)
        fail(server, PROXY_RESET_EOF, proxy_reset_text(PROXY_RESET_EOF), PROXY_CLOSE_RESET);
    else
        server->eof = true;
}

static void on_writable(void *owner)
{
    struct proxy_h1_server *server = owner;
    if (server->active)
        server->stream.events->on_writable(server->stream.user);
    else
        proxy_conn_resume(server->options.conn);
}

static void on_closed(void *owner, enum proxy_end how)
{
    fail(owner, PROXY_RESET_CONNECTION, proxy_end_text(how), PROXY_CLOSE_NOW);
}

static const struct proxy_conn_ops conn_ops = {
    .on_open = on_open,
    .on_data = on_data,
    .on_eof = on_eof,
    .on_writable = on_writable,
    .on_closed = on_closed,
};

static void stream_pause(struct proxy_stream *stream)
{
    proxy_conn_pause(server_of(stream)->options.conn);
}

static void stream_resume(struct proxy_stream *stream)
{
    proxy_conn_resume(server_of(stream)->options.conn);
}

static bool is_backlogged(const struct proxy_stream *stream)
{
    return proxy_conn_is_backlogged(server_of(stream)->options.conn);
}

static size_t unsent(const struct proxy_stream *stream)
{
    return proxy_conn_unsent(server_of(stream)->options.conn);
}

static const char *error_of(const struct proxy_stream *stream)
{
    const char *error = server_of(stream)->error;
    return error != NULL ? error : "";
}

static const struct proxy_stream_ops stream_ops = {
    .send_head = send_head,
    .send_data = send_data,
    .send_end = send_end,
    .close = stream_close,
    .pause = stream_pause,
    .resume = stream_resume,
    .is_backlogged = is_backlogged,
    .unsent = unsent,
    .error = error_of,
};

void proxy_h1_server_init(struct proxy_h1_server *server, const struct proxy_h1_server_options *options)
{
    *server = (struct proxy_h1_server){.options = *options};
    proxy_conn_set_owner(options->conn, &conn_ops, server);
}

void proxy_h1_server_done(struct proxy_h1_server *server)
{
    server->over = true;
    server->active = false;
    fl_timer_cancel(&server->breath);
}
