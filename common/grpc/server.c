#include "common/grpc/server.h"

#include "common/grpc/accept.h"
#include "common/grpc/link.h"
#include "common/tls/context.h"

#include <assert.h>
#include <errno.h>

#define CONNECTIONS          4096
#define STREAMS              100
#define MESSAGE_MAX          (4u << 20)
#define INBOUND_MAX          (256u << 20)
#define QUEUE_MAX            (4u << 20)
#define HEADER_BYTES         16384
#define HANDSHAKE_TIMEOUT_MS 10000
#define REQUEST_TIMEOUT_MS   10000
#define IDLE_TIMEOUT_MS      300000
#define KEEPALIVE_MS         30000
#define KEEPALIVE_TIMEOUT_MS 20000
#define SLOW_TIMEOUT_MS      60000

struct connection {
    struct fl_grpc_server *server;
    struct connection *next, **link_at; /* oldest first */
    struct fl_grpc_link *link;
    struct fl_grpc_address peer;
    struct fl_deferred deferred;
    bool gone; /* not in the list any more */
};

struct fl_grpc_server {
    struct fl_loop *loop;
    struct fl_deferred deferred;
    struct fl_grpc_server_options options;
    struct fl_tls_context *tls;
    struct fl_grpc_accept accepts[FL_GRPC_LISTENERS_MAX];
    size_t accept_count;
    struct connection *connections, **connections_end;
    size_t count;
    size_t inbound;
    bool draining, freed, told_drained;
};

struct fl_grpc_stream {
    struct connection *connection;
    struct fl_grpc_exchange *exchange; /* NULL: it has ended */
    const struct fl_grpc_method *method;
    const struct fl_grpc_stream_ops *ops; /* NULL: not accepted */
    void *owner;
    struct fl_timer timer; /* for its first message */
    struct fl_buf message; /* unary: until the half-close */
    bool has_message;
};

const char *fl_grpc_refusal_word(enum fl_grpc_refusal refusal)
{
    static const char *const words[] = {
#define X(id, word) [FL_GRPC_REFUSAL_##id] = word,
        FL_GRPC_REFUSALS(X)
#undef X
    };
    return words[refusal];
}

static void tell_refused(struct fl_grpc_server *server, enum fl_grpc_refusal why, const struct fl_grpc_address *peer,
                         const char *text)
{
    if (server->options.on_refused != NULL && why != FL_GRPC_REFUSAL_NONE && !server->freed)
        server->options.on_refused(server->options.owner, why, peer, text);
}

/* Streams. */

static void free_stream(struct fl_grpc_stream *stream)
{
    fl_timer_cancel(&stream->timer);
    fl_buf_done(&stream->message);
    free(stream);
}

static void on_end(void *user, enum fl_grpc_status status, struct fl_span text)
{
    struct fl_grpc_stream *stream = user;
    (void)status, (void)text;
    if (stream->ops != NULL && stream->ops->on_closed != NULL)
        stream->ops->on_closed(stream->owner);
    free_stream(stream);
}

static void deliver(struct fl_grpc_stream *stream, struct fl_span message)
{
    if (stream->ops != NULL && stream->ops->on_message != NULL)
        stream->ops->on_message(stream->owner, message);
}

static void on_message(void *user, struct fl_span message)
{
    struct fl_grpc_stream *stream = user;
    if (!stream->method->unary) {
        fl_timer_cancel(&stream->timer);
        deliver(stream, message);
    } else if (stream->has_message) {
        fl_grpc_stream_finish(stream, FL_GRPC_INVALID_ARGUMENT, "a unary call takes one message");
    } else {
        stream->has_message = true;
        fl_buf_init(&stream->message, message.len);
        if (fl_buf_append(&stream->message, message) < 0)
            fl_grpc_stream_finish(stream, FL_GRPC_RESOURCE_EXHAUSTED, "out of memory");
    }
}

static void on_half_close(void *user)
{
    struct fl_grpc_stream *stream = user;
    fl_timer_cancel(&stream->timer);
    if (!stream->method->unary) {
        if (stream->ops != NULL && stream->ops->on_half_close != NULL)
            stream->ops->on_half_close(stream->owner);
    } else if (!stream->has_message) {
        fl_grpc_stream_finish(stream, FL_GRPC_INVALID_ARGUMENT, "a unary call takes one message");
    } else {
        deliver(stream, fl_buf_span(&stream->message));
    }
}

static void on_writable(void *user)
{
    struct fl_grpc_stream *stream = user;
    if (stream->ops != NULL && stream->ops->on_writable != NULL)
        stream->ops->on_writable(stream->owner);
}

static void on_late(struct fl_timer *timer)
{
    struct fl_grpc_stream *stream = FL_CONTAINER_OF(timer, struct fl_grpc_stream, timer);
    fl_grpc_stream_finish(stream, FL_GRPC_DEADLINE_EXCEEDED, "the request did not come in time");
}

static const struct fl_grpc_method *find_method(const struct fl_grpc_server *server, struct fl_span path)
{
    for (size_t i = 0; i < server->options.method_count; i++) {
        if (fl_span_eq_str(path, server->options.methods[i].path))
            return &server->options.methods[i];
    }
    return NULL;
}

static void on_request(void *owner, struct fl_grpc_exchange *exchange)
{
    struct connection *connection = owner;
    const struct fl_grpc_method *method = find_method(connection->server, fl_grpc_exchange_header(exchange, ":path"));
    if (method == NULL) {
        fl_grpc_exchange_finish(exchange, FL_GRPC_UNIMPLEMENTED, "no such method");
        return;
    }
    struct fl_grpc_stream *stream = calloc(1, sizeof(*stream));
    if (stream == NULL) {
        fl_grpc_exchange_finish(exchange, FL_GRPC_RESOURCE_EXHAUSTED, "out of memory");
        return;
    }
    stream->connection = connection;
    stream->exchange = exchange;
    stream->method = method;
    fl_grpc_exchange_set_user(exchange, stream);
    fl_timer_set(connection->server->loop, &stream->timer, connection->server->options.request_timeout_ms, on_late);
    method->open(method->context, stream);
    if (stream->ops == NULL)
        fl_grpc_stream_finish(stream, FL_GRPC_INTERNAL, "the stream was not accepted"); /* no-op where it was refused */
}

void fl_grpc_stream_accept(struct fl_grpc_stream *stream, const struct fl_grpc_stream_ops *ops, void *owner)
{
    assert(stream->ops == NULL);
    stream->ops = ops;
    stream->owner = owner;
}

int fl_grpc_stream_send(struct fl_grpc_stream *stream, struct fl_span message)
{
    return fl_grpc_exchange_send(stream->exchange, message);
}

void fl_grpc_stream_finish(struct fl_grpc_stream *stream, enum fl_grpc_status status, const char *text)
{
    fl_grpc_exchange_finish(stream->exchange, status, text);
}

void fl_grpc_stream_reply(struct fl_grpc_stream *stream, struct fl_span message)
{
    int result = fl_grpc_stream_send(stream, message);
    if (result < 0)
        fl_grpc_stream_finish(stream, FL_GRPC_RESOURCE_EXHAUSTED, "the answer is too long, or memory is out");
    else
        fl_grpc_stream_finish(stream, FL_GRPC_OK, NULL);
}

size_t fl_grpc_stream_queued(const struct fl_grpc_stream *stream)
{
    return fl_grpc_exchange_queued(stream->exchange);
}

struct fl_span fl_grpc_stream_metadata(const struct fl_grpc_stream *stream, const char *name)
{
    return fl_grpc_exchange_header(stream->exchange, name);
}

struct fl_span fl_grpc_stream_identity(const struct fl_grpc_stream *stream)
{
    return fl_grpc_link_identity(stream->connection->link);
}

bool fl_grpc_stream_validity(const struct fl_grpc_stream *stream, int64_t *ret_not_before, int64_t *ret_not_after)
{
    return fl_grpc_link_validity(stream->connection->link, ret_not_before, ret_not_after);
}

const struct fl_grpc_address *fl_grpc_stream_peer(const struct fl_grpc_stream *stream)
{
    return &stream->connection->peer;
}

bool fl_grpc_stream_is_plaintext(const struct fl_grpc_stream *stream)
{
    return !fl_grpc_link_is_secure(stream->connection->link);
}

/* Connections. */

static void release_connection(struct fl_deferred *deferred)
{
    free(FL_CONTAINER_OF(deferred, struct connection, deferred));
}

/* Idempotent: an on_closed of its streams may free the server, and so this too. */
static void forget_connection(struct connection *connection)
{
    struct fl_grpc_server *server = connection->server;
    if (connection->gone)
        return;
    connection->gone = true;
    *connection->link_at = connection->next;
    if (connection->next != NULL)
        connection->next->link_at = connection->link_at;
    else
        server->connections_end = connection->link_at;
    server->count--;
    fl_loop_defer(server->loop, &connection->deferred, release_connection);
}

static void look_drained(struct fl_grpc_server *server)
{
    if (!server->draining || server->count > 0 || server->told_drained || server->freed)
        return;
    server->told_drained = true;
    if (server->options.on_drained != NULL)
        server->options.on_drained(server->options.owner);
}

static void on_ready(void *owner)
{
    (void)owner;
}

static void on_over(void *owner, enum fl_grpc_refusal why, const struct fl_err *reason)
{
    struct connection *connection = owner;
    struct fl_grpc_server *server = connection->server;
    struct fl_grpc_address peer = connection->peer;
    forget_connection(connection);
    tell_refused(server, why, &peer, reason->text);
    look_drained(server);
}

static const struct fl_grpc_link_ops link_ops = {
    .on_ready = on_ready,
    .on_over = on_over,
    .on_request = on_request,
    .exchange = {.on_message = on_message,
                 .on_half_close = on_half_close,
                 .on_writable = on_writable,
                 .on_end = on_end},
};

static void close_connection(struct connection *connection)
{
    fl_grpc_link_close(connection->link, true);
    forget_connection(connection);
}

static size_t count_source(const struct fl_grpc_server *server, const struct fl_grpc_address *peer)
{
    size_t count = 0;
    for (const struct connection *it = server->connections; it != NULL; it = it->next)
        count += fl_grpc_address_same_source(&it->peer, peer);
    return count;
}

/* The oldest connection without a stream goes. */
static bool make_room(struct fl_grpc_server *server)
{
    struct connection *it = server->connections;
    while (it != NULL && fl_grpc_session_exchanges(fl_grpc_link_session(it->link)) > 0)
        it = it->next;
    if (it == NULL)
        return false;
    struct fl_grpc_address peer = it->peer;
    close_connection(it);
    tell_refused(server, FL_GRPC_REFUSAL_DISPLACED, &peer, "it had no stream, and another needed its place");
    return !server->freed;
}

static bool is_welcome(struct fl_grpc_server *server, const struct fl_grpc_accept *accept,
                       const struct fl_grpc_address *peer)
{
    if (accept->secure && server->tls == NULL) {
        tell_refused(server, FL_GRPC_REFUSAL_LOCAL, peer, "there is no certificate yet");
        return false;
    }
    if (count_source(server, peer) >= server->options.connections_per_source) {
        tell_refused(server, FL_GRPC_REFUSAL_SOURCE, peer, "too many connections from there");
        return false;
    }
    if (server->count < server->options.connections || make_room(server))
        return !server->freed;
    tell_refused(server, FL_GRPC_REFUSAL_FULL, peer, "every connection is in use");
    return false;
}

static int open_link(struct connection *connection, int fd, bool secure)
{
    struct fl_grpc_server *server = connection->server;
    const struct fl_grpc_server_options *options = &server->options;
    const struct fl_grpc_link_options link_options = {
        .session = {.server = true,
                    .message_max = options->message_max,
                    .queue_max = options->queue_max,
                    .header_bytes = options->header_bytes,
                    .streams = options->streams,
                    .inbound_max = 2 * (size_t)options->message_max + 4 * (size_t)options->header_bytes,
                    .inbound_shared = &server->inbound,
                    .inbound_shared_max = options->inbound_max},
        .tls = secure ? server->tls : NULL,
        .handshake_timeout_ms = options->handshake_timeout_ms,
        .idle_timeout_ms = options->idle_timeout_ms,
        .keepalive_ms = options->keepalive_ms,
        .keepalive_timeout_ms = options->keepalive_timeout_ms,
        .slow_timeout_ms = options->slow_timeout_ms,
    };
    return fl_grpc_link_new(server->loop, fd, &link_options, &link_ops, connection, &connection->link);
}

static int open_connection(struct fl_grpc_server *server, int fd, bool secure, const struct fl_grpc_address *peer)
{
    struct connection *connection = calloc(1, sizeof(*connection));
    if (connection == NULL)
        return -ENOMEM;
    connection->server = server;
    connection->peer = *peer;
    int result = open_link(connection, fd, secure);
    if (result < 0) {
        free(connection);
        return result;
    }
    connection->link_at = server->connections_end;
    *server->connections_end = connection;
    server->connections_end = &connection->next;
    server->count++;
    return 0;
}

static void on_accept(struct fl_grpc_accept *accept, int fd, const struct fl_grpc_address *peer)
{
    struct fl_grpc_server *server = accept->owner;
    int result = is_welcome(server, accept, peer) ? open_connection(server, fd, accept->secure, peer) : -EBUSY;
    if (result < 0)
        close(fd);
    if (result < 0 && result != -EBUSY)
        tell_refused(server, FL_GRPC_REFUSAL_LOCAL, peer, strerror(-result));
}

/* The server. */

static void or_default(uint32_t *limit, uint32_t value)
{
    if (*limit == 0)
        *limit = value;
}

static void fill_options(struct fl_grpc_server_options *options)
{
    or_default(&options->connections, CONNECTIONS);
    or_default(&options->connections_per_source, UINT32_MAX);
    or_default(&options->streams, STREAMS);
    or_default(&options->message_max, MESSAGE_MAX);
    or_default(&options->inbound_max, INBOUND_MAX);
    or_default(&options->queue_max, QUEUE_MAX);
    or_default(&options->header_bytes, HEADER_BYTES);
    or_default(&options->handshake_timeout_ms, HANDSHAKE_TIMEOUT_MS);
    or_default(&options->request_timeout_ms, REQUEST_TIMEOUT_MS);
    or_default(&options->idle_timeout_ms, IDLE_TIMEOUT_MS);
    or_default(&options->keepalive_ms, KEEPALIVE_MS);
    or_default(&options->keepalive_timeout_ms, KEEPALIVE_TIMEOUT_MS);
    or_default(&options->slow_timeout_ms, SLOW_TIMEOUT_MS);
}

int fl_grpc_server_new(struct fl_loop *loop, const struct fl_grpc_server_options *options,
                       struct fl_grpc_server **ret_server, struct fl_err *err)
{
    struct fl_grpc_server *server = calloc(1, sizeof(*server));
    if (server == NULL)
        return fl_err_errno(err, -ENOMEM, "gRPC server");
    server->loop = loop;
    server->options = *options;
    server->tls = fl_tls_context_ref(options->tls);
    server->connections_end = &server->connections;
    fill_options(&server->options);
    *ret_server = server;
    return 0;
}

static void release_server(struct fl_deferred *deferred)
{
    struct fl_grpc_server *server = FL_CONTAINER_OF(deferred, struct fl_grpc_server, deferred);
    fl_tls_context_unref(server->tls);
    free(server);
}

static void stop_listening(struct fl_grpc_server *server)
{
    for (size_t i = 0; i < server->accept_count; i++)
        fl_grpc_accept_stop(&server->accepts[i]);
}

struct fl_grpc_server *fl_grpc_server_free(struct fl_grpc_server *server)
{
    if (server == NULL || server->freed)
        return NULL;
    server->freed = true;
    stop_listening(server);
    while (server->connections != NULL)
        close_connection(server->connections);
    fl_loop_defer(server->loop, &server->deferred, release_server);
    return NULL;
}

int fl_grpc_server_listen(struct fl_grpc_server *server, const struct fl_grpc_address *address, bool secure,
                          struct fl_grpc_address *ret_address, struct fl_err *err)
{
    if (server->accept_count == FL_GRPC_LISTENERS_MAX)
        return fl_err_set(err, -ENOSPC, "more than %d listeners", FL_GRPC_LISTENERS_MAX);
    struct fl_grpc_accept *accept = &server->accepts[server->accept_count];
    *accept = (struct fl_grpc_accept){.secure = secure, .on_accept = on_accept, .owner = server};
    int result = fl_grpc_accept_start(accept, server->loop, address, err);
    if (result < 0)
        return result;
    server->accept_count++;
    struct sockaddr_storage raw;
    socklen_t size = sizeof(raw);
    if (ret_address != NULL && (getsockname(accept->fd, (struct sockaddr *)&raw, &size) < 0 ||
                                fl_grpc_address_from_sockaddr(&raw, ret_address) < 0))
        return fl_err_errno(err, -EINVAL, "getsockname");
    return 0;
}

void fl_grpc_server_set_tls(struct fl_grpc_server *server, struct fl_tls_context *tls)
{
    struct fl_tls_context *before = server->tls;
    server->tls = fl_tls_context_ref(tls);
    fl_tls_context_unref(before);
}

void fl_grpc_server_drain(struct fl_grpc_server *server)
{
    if (server->draining)
        return;
    server->draining = true;
    stop_listening(server);
    for (struct connection *it = server->connections; it != NULL; it = it->next)
        fl_grpc_session_goaway(fl_grpc_link_session(it->link));
    look_drained(server);
}

size_t fl_grpc_server_connections(const struct fl_grpc_server *server)
{
    return server->count;
}
