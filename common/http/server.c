#include "common/http/server.h"

#include "common/http/certificate.h"
#include "common/http/linger.h"
#include "common/http/listener.h"
#include "common/loop/timer.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <gnutls/abstract.h>
#include <microhttpd.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/uio.h>

/* libmicrohttpd's "external epoll": its epoll fd is one source of our loop, and MHD_run handles what is ready. Twice it
 * wants to be run again although that fd stays silent: where it kept input back (MHD_get_timeout says 0), and after a
 * connection has gone, because only then it listens again when it was at its limit. The hook does that.
 *
 * In a TLS handshake that waits for its client it says 0 too, for as long as that lasts (0.9.75), and would have us
 * turn for nothing. So bytes that pass GnuTLS are counted (on_pull, on_push): after a few runs that moved none, the
 * next event is waited for, with a slow retry beside it.
 *
 * Its own timeout counts from the last byte, so that a client which trickles would live for ever. Ours bounds each step
 * as a whole (enum step); the socket of a connection that is late is shut down, which libmicrohttpd then finds closed.
 */

#define POOL_SIZE      32768 /* a connection's memory in libmicrohttpd: head and read buffer */
#define DRAIN_GRACE_MS 500
#define REASON_MAX     128
#define FRUITLESS_MAX  8 /* a record that GnuTLS holds is taken over in two or three runs */
#define RETRY_MS       50
#define TLS_PRIORITIES                                                                                                 \
    "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:-GROUP-ALL:+GROUP-X25519:+GROUP-SECP256R1:+GROUP-SECP384R1:"           \
    "%SERVER_PRECEDENCE"

enum step {
    STEP_WAITING,    /* handshake, idle, request line */
    STEP_RECEIVING,  /* head and body */
    STEP_COLLECTING, /* the body alone: the head was accepted */
    STEP_ANSWERING
};

struct connection {
    struct fl_http_server *server;
    struct connection *next, **link;
    struct fl_http_certificate *certificate; /* what its handshake uses; counted */
    uint64_t deadline_ms;
    char *uri; /* as it came; NULL between requests */
    struct fl_buf body;
    size_t dropped; /* bytes of the body beyond body_max */
    int fd;         /* libmicrohttpd's */
    enum step step;
    bool late;    /* shut down by us */
    bool lingers; /* answered while its client sends */
};

struct fl_http_server {
    struct fl_loop *loop;
    struct fl_source source;
    struct fl_hook hook;
    struct fl_timer timer;
    struct fl_linger linger;
    struct MHD_Daemon *daemon;
    struct connection *connections;
    struct fl_http_certificate *certificate; /* NULL: plain HTTP */
    void (*handle)(void *owner, const struct fl_http_request *request, struct fl_http_response *response);
    void *owner;
    size_t body_max, response_max;
    size_t bodies; /* bytes of bodies held now, all connections together */
    uint64_t idle_ms;
    uint64_t moved;     /* grows with everything that a run gets done */
    unsigned fruitless; /* runs in a row that moved nothing although there was work left, they say */
    uint16_t port;
    bool again; /* a connection has gone in this MHD_run */
    bool draining;
    bool handling;
};

/* Deadlines */

static void on_due(struct fl_timer *timer);
static void run(struct fl_http_server *server);

static void set_timer(struct fl_http_server *server, uint64_t deadline_ms)
{
    uint64_t now = fl_loop_now_ms(server->loop);
    if (!fl_timer_is_set(&server->timer) || deadline_ms < server->timer.deadline_ms)
        fl_timer_set(server->loop, &server->timer, deadline_ms > now ? deadline_ms - now : 0, on_due);
}

/* The next step begins, with a time of its own. */
static void enter(struct connection *connection, enum step step)
{
    struct fl_http_server *server = connection->server;
    bool leaving = server->draining && step == STEP_WAITING;
    connection->step = step;
    connection->deadline_ms = fl_loop_now_ms(server->loop) + (leaving ? DRAIN_GRACE_MS : server->idle_ms);
    set_timer(server, connection->deadline_ms);
}

static void on_due(struct fl_timer *timer)
{
    struct fl_http_server *server = FL_CONTAINER_OF(timer, struct fl_http_server, timer);
    uint64_t now = fl_loop_now_ms(server->loop);
    for (struct connection *connection = server->connections; connection != NULL; connection = connection->next) {
        if (connection->late)
            continue;
        if (connection->deadline_ms <= now) {
            connection->late = true;
            shutdown(connection->fd, SHUT_RDWR);
        } else {
            set_timer(server, connection->deadline_ms);
        }
    }
    if (server->fruitless > FRUITLESS_MAX)
        run(server);
}

/* Connections: libmicrohttpd's, each with a struct connection as its socket context */

static struct connection *connection_of(struct MHD_Connection *handle)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(handle, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info != NULL ? info->socket_context : NULL;
}

static void end_request(struct connection *connection)
{
    connection->server->bodies -= connection->body.len;
    fl_buf_done(&connection->body);
    free(connection->uri);
    connection->uri = NULL;
    connection->dropped = 0;
}

static void close_connection(struct connection *connection)
{
    struct fl_http_server *server = connection->server;
    int fd = connection->lingers ? fcntl(connection->fd, F_DUPFD_CLOEXEC, 0) : -1;
    if (fd >= 0) {
        shutdown(fd, SHUT_WR);
        fl_linger_add(&server->linger, fd);
    }
    end_request(connection);
    fl_http_certificate_unref(connection->certificate);
    *connection->link = connection->next;
    if (connection->next != NULL)
        connection->next->link = connection->link;
    free(connection);
    server->again = true;
}

/* GnuTLS's way to the socket, as it is without us, but counted. It reads errno. */
static ssize_t on_pull(gnutls_transport_ptr_t transport, void *data, size_t size)
{
    struct connection *connection = transport;
    ssize_t count = recv(connection->fd, data, size, 0);
    connection->server->moved += count > 0;
    return count;
}

static ssize_t on_push(gnutls_transport_ptr_t transport, const giovec_t *pieces, int piece_count)
{
    struct connection *connection = transport;
    union {
        const giovec_t *from;
        struct iovec *to;
    } same = {.from = pieces};
    const struct msghdr message = {.msg_iov = same.to, .msg_iovlen = (size_t)piece_count};
    ssize_t count = sendmsg(connection->fd, &message, MSG_NOSIGNAL);
    connection->server->moved += count > 0;
    return count;
}

static void watch_transport(struct connection *connection, struct MHD_Connection *handle)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(handle, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    if (info == NULL || info->tls_session == NULL)
        return; /* plain HTTP */
    gnutls_session_t session = info->tls_session;
    gnutls_transport_set_ptr(session, connection);
    gnutls_transport_set_pull_function(session, on_pull);
    gnutls_transport_set_vec_push_function(session, on_push);
}

static void open_connection(struct fl_http_server *server, struct MHD_Connection *handle, void **context)
{
    int fd = MHD_get_connection_info(handle, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    struct connection *connection = calloc(1, sizeof(*connection));
    if (connection == NULL) {
        shutdown(fd, SHUT_RDWR); /* nobody would watch its time */
        return;
    }
    *connection =
        (struct connection){.server = server, .fd = fd, .next = server->connections, .link = &server->connections};
    if (connection->next != NULL)
        connection->next->link = &connection->next;
    server->connections = connection;
    watch_transport(connection, handle);
    enter(connection, STEP_WAITING);
    *context = connection;
}

static void on_connection(void *owner, struct MHD_Connection *handle, void **context,
                          enum MHD_ConnectionNotificationCode code)
{
    if (code == MHD_CONNECTION_NOTIFY_STARTED)
        open_connection(owner, handle, context);
    else if (*context != NULL)
        close_connection(*context);
}

/* GnuTLS asks in each handshake. The pair stays with the connection, so that it outlives the handshake. */
static int on_certificate(gnutls_session_t session, const gnutls_datum_t *names, int name_count,
                          const gnutls_pk_algorithm_t *algorithms, int algorithm_count, gnutls_pcert_st **ret_chain,
                          unsigned *ret_count, gnutls_privkey_t *ret_key)
{
    (void)names, (void)name_count, (void)algorithms, (void)algorithm_count;
    struct MHD_Connection *handle = gnutls_session_get_ptr(session); /* libmicrohttpd sets it for its own callbacks */
    struct connection *connection = handle != NULL ? connection_of(handle) : NULL;
    if (connection == NULL)
        return -1;
    fl_http_certificate_unref(connection->certificate);
    connection->certificate = fl_http_certificate_ref(connection->server->certificate);
    fl_http_certificate_lend(connection->certificate, ret_chain, ret_count, ret_key);
    return 0;
}

/* Answers */

static struct fl_span header_of(const void *handle, const char *name)
{
    union {
        const void *from;
        struct MHD_Connection *to;
    } same = {.from = handle};
    const char *value = NULL;
    size_t size = 0;
    if (MHD_lookup_connection_value_n(same.to, MHD_HEADER_KIND, name, strlen(name), &value, &size) != MHD_YES)
        return (struct fl_span){NULL, 0};
    return fl_span_make(value, value != NULL ? size : 0);
}

/* Takes the body over, in every case. NULL when memory is out. */
static struct MHD_Response *make_response(struct fl_http_response *answer)
{
    void *data = answer->body.data;
    size_t size = answer->body.len;
    answer->body = (struct fl_buf){0};
    struct MHD_Response *response = MHD_create_response_from_buffer(size, data, MHD_RESPMEM_MUST_FREE);
    if (response == NULL) {
        free(data);
        return NULL;
    }
    bool good = MHD_add_response_header(response, "Content-Type", answer->content_type) == MHD_YES;
    if (good && answer->allow != NULL)
        good = MHD_add_response_header(response, "Allow", answer->allow) == MHD_YES;
    if (good && answer->close)
        good = MHD_add_response_header(response, "Connection", "close") == MHD_YES;
    if (!good) {
        MHD_destroy_response(response);
        return NULL;
    }
    return response;
}

static enum MHD_Result send_answer(struct connection *connection, struct MHD_Connection *handle,
                                   struct fl_http_response *answer)
{
    unsigned status = answer->status >= 200 && answer->status <= 599 ? answer->status : 500;
    answer->close = answer->close || connection->server->draining;
    struct MHD_Response *response = make_response(answer);
    if (response == NULL)
        return MHD_NO;
    enter(connection, STEP_ANSWERING);
    enum MHD_Result result = MHD_queue_response(handle, status, response);
    MHD_destroy_response(response);
    return result;
}

/* An answer of the server's own; the connection closes. */
static enum MHD_Result refuse(struct connection *connection, struct MHD_Connection *handle, unsigned status,
                              const char *reason)
{
    struct fl_http_response answer = {.status = status, .content_type = "text/plain", .close = true};
    fl_buf_init(&answer.body, REASON_MAX);
    if (fl_buf_printf(&answer.body, "%s\n", reason) < 0) {
        fl_buf_done(&answer.body);
        return MHD_NO;
    }
    return send_answer(connection, handle, &answer);
}

static enum MHD_Result refuse_large(struct connection *connection, struct MHD_Connection *handle)
{
    char reason[REASON_MAX];
    snprintf(reason, sizeof(reason), "the body is larger than %zu bytes", connection->server->body_max);
    return refuse(connection, handle, MHD_HTTP_CONTENT_TOO_LARGE, reason);
}

static enum MHD_Result dispatch(struct connection *connection, struct MHD_Connection *handle, const char *method)
{
    struct fl_http_server *server = connection->server;
    struct fl_span uri = fl_span_str(connection->uri);
    size_t mark = fl_span_find(uri, '?');
    const struct fl_http_request request = {
        .method = fl_span_str(method),
        .path = fl_span_make(uri.data, mark),
        .query = mark < uri.len ? fl_span_from(uri, mark + 1) : (struct fl_span){NULL, 0},
        .content_type = header_of(handle, "Content-Type"),
        .body = fl_buf_span(&connection->body),
        .connection = handle,
    };
    struct fl_http_response answer = {.status = 200, .content_type = "application/json"};
    fl_buf_init(&answer.body, server->response_max);
    server->handling = true;
    server->handle(server->owner, &request, &answer);
    server->handling = false;
    return send_answer(connection, handle, &answer);
}

/* Requests */

static bool bodies_are_full(const struct fl_http_server *server, uint64_t more)
{
    return server->bodies + more > server->body_max * FL_HTTP_BODIES_MAX;
}

/* The head is here, nothing of the body has been asked for. */
static enum MHD_Result begin_request(struct connection *connection, struct MHD_Connection *handle)
{
    struct fl_http_server *server = connection->server;
    struct fl_span text = header_of(handle, "Content-Length");
    bool chunked = header_of(handle, "Transfer-Encoding").len > 0;
    uint64_t length = 0;
    bool counted = text.len == 0 || fl_span_to_u64(text, UINT64_MAX, &length);
    connection->step = STEP_COLLECTING;
    fl_buf_init(&connection->body, server->body_max);
    connection->lingers = chunked || length > 0 || !counted; /* taken back once the whole request is here */
    if (!counted || (chunked && text.len > 0))
        return refuse(connection, handle, MHD_HTTP_BAD_REQUEST, "ambiguous length of the body");
    if (length > server->body_max)
        return refuse_large(connection, handle);
    if (bodies_are_full(server, length))
        return refuse(connection, handle, MHD_HTTP_SERVICE_UNAVAILABLE, "too many large requests at once");
    return MHD_YES;
}

/* Bytes beyond the limit are dropped up to the limit again: an answer is possible only at the body's end. */
static enum MHD_Result collect(struct connection *connection, struct fl_span bytes)
{
    struct fl_http_server *server = connection->server;
    if (connection->dropped == 0 && bytes.len <= server->body_max - connection->body.len) {
        if (bodies_are_full(server, bytes.len) || fl_buf_append(&connection->body, bytes) < 0)
            return MHD_NO;
        server->bodies += bytes.len;
        return MHD_YES;
    }
    connection->dropped += bytes.len;
    return connection->dropped <= server->body_max ? MHD_YES : MHD_NO;
}

/* Called with the head, with each part of the body, and at the end. MHD_NO closes the connection. */
static enum MHD_Result on_request(void *owner, struct MHD_Connection *handle, const char *url, const char *method,
                                  const char *version, const char *upload, size_t *upload_size, void **context)
{
    (void)owner, (void)url, (void)version, (void)context;
    struct connection *connection = connection_of(handle);
    if (connection == NULL || connection->uri == NULL)
        return MHD_NO;
    connection->server->moved++;
    if (connection->step == STEP_RECEIVING)
        return begin_request(connection, handle);
    if (*upload_size > 0) {
        enum MHD_Result result = collect(connection, fl_span_make(upload, *upload_size));
        *upload_size = 0;
        return result;
    }
    connection->lingers = false;
    return connection->dropped > 0 ? refuse_large(connection, handle) : dispatch(connection, handle, method);
}

/* The request line is here. libmicrohttpd decodes the path and cuts up the query afterwards, in place. */
static void *on_uri(void *owner, const char *uri, struct MHD_Connection *handle)
{
    (void)owner;
    struct connection *connection = connection_of(handle);
    if (connection != NULL) {
        end_request(connection);
        connection->uri = strdup(uri);
        enter(connection, STEP_RECEIVING);
    }
    return NULL;
}

static void on_completed(void *owner, struct MHD_Connection *handle, void **context,
                         enum MHD_RequestTerminationCode code)
{
    (void)owner, (void)context, (void)code;
    struct connection *connection = connection_of(handle);
    if (connection != NULL) {
        connection->server->moved++;
        end_request(connection);
        enter(connection, STEP_WAITING);
    }
}

/* The server */

static bool wants_more(struct fl_http_server *server)
{
    unsigned long long wait;
    return server->again || (MHD_get_timeout(server->daemon, &wait) == MHD_YES && wait == 0);
}

static void run(struct fl_http_server *server)
{
    uint64_t moved = server->moved;
    server->again = false;
    MHD_run(server->daemon);
    server->fruitless = server->moved != moved || server->again ? 0 : server->fruitless + 1;
    if (!wants_more(server))
        server->fruitless = 0;
    else if (server->certificate == NULL || server->fruitless <= FRUITLESS_MAX)
        fl_hook_arm(server->loop, &server->hook);
    else
        set_timer(server, fl_loop_now_ms(server->loop) + RETRY_MS);
}

static void on_event(struct fl_source *source, uint32_t events)
{
    struct fl_http_server *server = FL_CONTAINER_OF(source, struct fl_http_server, source);
    (void)events;
    server->fruitless = 0;
    run(server);
}

static void on_hook(struct fl_hook *hook)
{
    run(FL_CONTAINER_OF(hook, struct fl_http_server, hook));
}

static struct MHD_Daemon *start_daemon(struct fl_http_server *server, const struct fl_http_server_options *options,
                                       int fd)
{
    unsigned per_address =
        options->connections_per_address > 0 ? options->connections_per_address : (options->connections_max + 1) / 2;
    bool tls = server->certificate != NULL;
    struct MHD_OptionItem items[] = {
        {MHD_OPTION_LISTEN_SOCKET, fd, NULL},
        {MHD_OPTION_CONNECTION_LIMIT, options->connections_max, NULL},
        {MHD_OPTION_PER_IP_CONNECTION_LIMIT, per_address, NULL},
        {MHD_OPTION_CONNECTION_MEMORY_LIMIT, POOL_SIZE, NULL},
        {MHD_OPTION_STRICT_FOR_CLIENT, 1, NULL},
        {MHD_OPTION_NOTIFY_CONNECTION, (intptr_t)on_connection, server},
        {MHD_OPTION_NOTIFY_COMPLETED, (intptr_t)on_completed, server},
        {MHD_OPTION_URI_LOG_CALLBACK, (intptr_t)on_uri, server},
        {tls ? MHD_OPTION_HTTPS_PRIORITIES : MHD_OPTION_END, 0, (void *)(uintptr_t)TLS_PRIORITIES},
        {tls ? MHD_OPTION_HTTPS_CERT_CALLBACK : MHD_OPTION_END, 0, (void *)on_certificate},
        {MHD_OPTION_END, 0, NULL},
    };
    unsigned flags = MHD_USE_EPOLL | (tls ? MHD_USE_TLS : 0);
    return MHD_start_daemon(flags, 0, NULL, NULL, on_request, server, MHD_OPTION_ARRAY, items, MHD_OPTION_END);
}

static int start(struct fl_http_server *server, const struct fl_http_server_options *options, struct fl_err *err)
{
    FL_CLEANUP(fl_cleanup_close) int fd = -1;
    int result = fl_http_listen(options->address, &fd, &server->port, err);
    if (result < 0)
        return result;
    errno = 0;
    server->daemon = start_daemon(server, options, fd);
    if (server->daemon == NULL) {
        int reason = errno > 0 ? -errno : -EIO;
        if (fcntl(fd, F_GETFD) < 0) /* it closes the socket on some failures, on others not */
            fl_take_fd(fd);
        return fl_err_errno(err, reason, "cannot start the HTTP server");
    }
    fl_take_fd(fd);
    int epoll = MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    result = fl_source_add(server->loop, &server->source, epoll, EPOLLIN, on_event);
    if (result < 0)
        return fl_err_errno(err, result, "cannot start the HTTP server");
    run(server); /* only now it listens */
    return 0;
}

static void cleanup_server(struct fl_http_server **server)
{
    fl_http_server_free(*server);
}

static int check_options(const struct fl_http_server_options *options, struct fl_err *err)
{
    if (options->connections_max == 0 || options->idle_seconds == 0 || options->handle == NULL)
        return fl_err_set(err, -EINVAL, "an HTTP server needs a handler, connections_max and idle_seconds");
    if (options->body_max > SIZE_MAX / (FL_HTTP_BODIES_MAX + 1))
        return fl_err_set(err, -EINVAL, "body_max is too large");
    return 0;
}

int fl_http_server_new(struct fl_loop *loop, const struct fl_http_server_options *options,
                       struct fl_http_server **ret_server, struct fl_err *err)
{
    int result = check_options(options, err);
    if (result < 0)
        return result;
    FL_CLEANUP(cleanup_server) struct fl_http_server *server = calloc(1, sizeof(*server));
    if (server == NULL)
        return fl_err_set(err, -ENOMEM, "HTTP server: out of memory");
    server->loop = loop;
    server->hook.run = on_hook;
    server->handle = options->handle;
    server->owner = options->owner;
    server->body_max = options->body_max;
    server->response_max = options->response_max;
    server->idle_ms = (uint64_t)options->idle_seconds * 1000;
    fl_linger_init(&server->linger, loop);
    if (options->cert_pem.len > 0 || options->key_pem.len > 0)
        result = fl_http_certificate_new(options->cert_pem, options->key_pem, &server->certificate, err);
    if (result == 0)
        result = start(server, options, err);
    if (result == 0)
        *ret_server = fl_take(server);
    return result;
}

static void stop_listening(struct fl_http_server *server)
{
    int fd = MHD_quiesce_daemon(server->daemon);
    if (!server->draining && fd >= 0)
        close(fd);
    server->draining = true;
}

struct fl_http_server *fl_http_server_free(struct fl_http_server *server)
{
    if (server == NULL)
        return NULL;
    assert(!server->handling);
    fl_source_remove(&server->source);
    if (server->daemon != NULL) {
        stop_listening(server);
        MHD_stop_daemon(server->daemon);
    }
    fl_hook_disarm(&server->hook);
    fl_timer_cancel(&server->timer);
    fl_linger_done(&server->linger);
    fl_http_certificate_unref(server->certificate);
    free(server);
    return NULL;
}

int fl_http_server_set_certificate(struct fl_http_server *server, struct fl_span cert_pem, struct fl_span key_pem,
                                   struct fl_err *err)
{
    struct fl_http_certificate *certificate;
    if (server->certificate == NULL)
        return fl_err_set(err, -EINVAL, "the server speaks plain HTTP and takes no certificate");
    int result = fl_http_certificate_new(cert_pem, key_pem, &certificate, err);
    if (result == 0) {
        fl_http_certificate_unref(server->certificate);
        server->certificate = certificate;
    }
    return result;
}

uint16_t fl_http_server_port(const struct fl_http_server *server)
{
    return server->port;
}

void fl_http_server_drain(struct fl_http_server *server)
{
    if (server->draining)
        return;
    stop_listening(server);
    for (struct connection *connection = server->connections; connection != NULL; connection = connection->next) {
        if (connection->step == STEP_WAITING)
            enter(connection, STEP_WAITING);
    }
}

bool fl_http_server_idle(const struct fl_http_server *server)
{
    return server->connections == NULL && fl_linger_idle(&server->linger);
}

struct fl_span fl_http_request_header(const struct fl_http_request *request, const char *name)
{
    return header_of(request->connection, name);
}
