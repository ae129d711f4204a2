#include "cni/agent/serve.h"

#include "cni/agent/request.h"
#include "common/http/listener.h"
#include "common/loop/timer.h"
#include "common/metrics/expose.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>

#define ACCEPTS_A_TURN 8
#define DISCARD_MAX    (64u << 10) /* bytes behind a head that are read, so that closing does not take the answer back */
#define PAUSE_MS       1000        /* when descriptors are out */

enum state { READING, WRITING, LINGERING };

struct connection {
    struct cni_serve *serve;
    struct fl_source source;
    struct fl_timer timer;
    struct fl_deferred deferred;
    enum state state;
    enum cni_serve_end end; /* as it stands */
    uint64_t number;        /* in the order of coming */
    size_t len, discarded;
    struct fl_buf out;
    size_t out_at;
    char head[CNI_REQUEST_HEAD_MAX];
};

struct cni_serve {
    struct fl_loop *loop;
    struct fl_source listener;
    struct fl_timer pause;
    const struct cni_serve_ops *ops;
    void *owner;
    uint64_t numbers;
    struct connection *connections[CNI_SERVE_CONNECTIONS_MAX];
};

static void release(struct fl_deferred *deferred)
{
    free(FL_CONTAINER_OF(deferred, struct connection, deferred));
}

static void close_connection(struct connection *connection, enum cni_serve_end end)
{
    struct cni_serve *serve = connection->serve;
    for (size_t i = 0; i < CNI_SERVE_CONNECTIONS_MAX; i++) {
        if (serve->connections[i] == connection)
            serve->connections[i] = NULL;
    }
    int fd = connection->source.fd;
    fl_source_remove(&connection->source);
    fl_timer_cancel(&connection->timer);
    close(fd);
    fl_buf_done(&connection->out);
    serve->ops->ended(serve->owner, connection->state == LINGERING ? connection->end : end);
    fl_loop_defer(serve->loop, &connection->deferred, release);
}

static void on_late(struct fl_timer *timer)
{
    close_connection(FL_CONTAINER_OF(timer, struct connection, timer), CNI_SERVE_LATE);
}

/* Answers. */

static const char *status_text(unsigned status)
{
    switch (status) {
    case 200:
        return "OK";
    case 400:
        return "Bad Request";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 431:
        return "Request Header Fields Too Large";
    case 503:
        return "Service Unavailable";
    default:
        return "Internal Server Error";
    }
}

static int print_answer(struct fl_buf *out, unsigned status, const char *type, struct fl_span body, bool with_body)
{
    int result =
        fl_buf_printf(out, "HTTP/1.1 %u %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n%sConnection: close\r\n\r\n",
                      status, status_text(status), type, body.len, status == 405 ? "Allow: GET, HEAD\r\n" : "");
    return result == 0 && with_body ? fl_buf_append(out, body) : result;
}

/* The page of a request. Returns the status. */
static unsigned write_page(struct cni_serve *serve, struct fl_span path, const char **type, struct fl_buf *body)
{
    bool ready = true;
    int result;
    if (fl_span_eq_str(path, "/metrics")) {
        *type = FL_METRICS_CONTENT_TYPE;
        result = serve->ops->metrics(serve->owner, body);
    } else if (fl_span_eq_str(path, "/readyz")) {
        result = serve->ops->ready(serve->owner, body, &ready);
    } else if (fl_span_eq_str(path, "/healthz")) {
        result = fl_buf_append_str(body, "ok\n");
    } else {
        return fl_buf_append_str(body, "there is /metrics, /healthz and /readyz\n") == 0 ? 404 : 500;
    }
    if (result < 0)
        fl_buf_clear(body);
    return result < 0 ? 500 : ready ? 200 : 503;
}

static int answer(struct connection *connection, const struct cni_request *request)
{
    FL_CLEANUP(fl_buf_done) struct fl_buf body;
    const char *type = "text/plain; charset=utf-8";
    bool head = fl_span_eq_str(request->method, "HEAD");
    unsigned status = 405;
    fl_buf_init(&body, CNI_SERVE_BODY_MAX);
    if (head || fl_span_eq_str(request->method, "GET"))
        status = write_page(connection->serve, request->path, &type, &body);
    connection->end = CNI_SERVE_ANSWERED;
    return print_answer(&connection->out, status, type, fl_buf_span(&body), !head);
}

static int refuse(struct connection *connection, unsigned status)
{
    connection->end = CNI_SERVE_BAD;
    return print_answer(&connection->out, status, "text/plain; charset=utf-8", FL_SPAN(""), true);
}

/* Bytes. */

static void linger(struct connection *connection)
{
    connection->state = LINGERING;
    if (shutdown(connection->source.fd, SHUT_WR) < 0 || fl_source_modify(&connection->source, EPOLLIN) < 0)
        close_connection(connection, connection->end);
}

static void write_on(struct connection *connection)
{
    struct fl_buf *out = &connection->out;
    while (connection->out_at < out->len) {
        ssize_t count =
            send(connection->source.fd, out->data + connection->out_at, out->len - connection->out_at, MSG_NOSIGNAL);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0 && errno == EAGAIN)
            return;
        if (count <= 0) {
            close_connection(connection, CNI_SERVE_GONE);
            return;
        }
        connection->out_at += (size_t)count;
    }
    linger(connection);
}

static void begin_answer(struct connection *connection)
{
    struct cni_request request;
    int result;
    switch (cni_request_parse(fl_span_make(connection->head, connection->len), &request)) {
    case CNI_REQUEST_PARTIAL:
        if (connection->len < sizeof(connection->head))
            return;
        result = refuse(connection, 431);
        break;
    case CNI_REQUEST_BAD:
        result = refuse(connection, 400);
        break;
    case CNI_REQUEST_COMPLETE:
    default:
        result = answer(connection, &request);
        break;
    }
    connection->state = WRITING;
    if (result == 0)
        result = fl_source_modify(&connection->source, EPOLLOUT);
    if (result < 0)
        close_connection(connection, CNI_SERVE_GONE);
    else
        write_on(connection);
}

static void read_head(struct connection *connection)
{
    ssize_t count = recv(connection->source.fd, connection->head + connection->len,
                         sizeof(connection->head) - connection->len, MSG_DONTWAIT);
    if (count < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (count <= 0) {
        close_connection(connection, CNI_SERVE_GONE);
        return;
    }
    connection->len += (size_t)count;
    begin_answer(connection);
}

/* Until the client closes: what is unread at a close would make the kernel reset the connection, answer included. */
static void discard(struct connection *connection)
{
    ssize_t count = recv(connection->source.fd, connection->head, sizeof(connection->head), MSG_DONTWAIT);
    if (count < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    connection->discarded += count > 0 ? (size_t)count : 0;
    if (count <= 0 || connection->discarded > DISCARD_MAX)
        close_connection(connection, connection->end);
}

static void on_connection(struct fl_source *source, uint32_t events)
{
    struct connection *connection = FL_CONTAINER_OF(source, struct connection, source);
    (void)events;
    if (connection->state == READING)
        read_head(connection);
    else if (connection->state == WRITING)
        write_on(connection);
    else
        discard(connection);
}

/* Accepting. */

/* A free place, or the oldest one's; of those that have their answer first. */
static struct connection **take_place(struct cni_serve *serve)
{
    struct connection **oldest = NULL;
    for (size_t i = 0; i < CNI_SERVE_CONNECTIONS_MAX; i++) {
        struct connection **place = &serve->connections[i];
        if (*place == NULL)
            return place;
        bool served = (*place)->state == LINGERING;
        bool oldest_served = oldest != NULL && (*oldest)->state == LINGERING;
        if (oldest == NULL || (served && !oldest_served) ||
            (served == oldest_served && (*place)->number < (*oldest)->number))
            oldest = place;
    }
    close_connection(*oldest, CNI_SERVE_DISPLACED);
    return oldest;
}

static void take_connection(struct cni_serve *serve, int fd)
{
    struct connection *connection = malloc(sizeof(*connection));
    if (connection != NULL) {
        memset(connection, 0, offsetof(struct connection, head));
        connection->serve = serve;
        connection->number = serve->numbers++;
        fl_buf_init(&connection->out, CNI_SERVE_BODY_MAX + 512);
    }
    if (connection == NULL || fl_source_add(serve->loop, &connection->source, fd, EPOLLIN, on_connection) < 0) {
        free(connection);
        close(fd);
        serve->ops->ended(serve->owner, CNI_SERVE_GONE);
        return;
    }
    fl_timer_set(serve->loop, &connection->timer, CNI_SERVE_SECONDS * UINT64_C(1000), on_late);
    *take_place(serve) = connection;
}

static void on_pause_over(struct fl_timer *timer)
{
    struct cni_serve *serve = FL_CONTAINER_OF(timer, struct cni_serve, pause);
    if (fl_source_modify(&serve->listener, EPOLLIN) < 0)
        fl_timer_set(serve->loop, timer, PAUSE_MS, on_pause_over);
}

static void on_listener(struct fl_source *source, uint32_t events)
{
    struct cni_serve *serve = FL_CONTAINER_OF(source, struct cni_serve, listener);
    (void)events;
    for (int i = 0; i < ACCEPTS_A_TURN; i++) {
        int fd = accept4(source->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            take_connection(serve, fd);
            continue;
        }
        bool exhausted = errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM;
        if (exhausted && fl_source_modify(source, 0) == 0)
            fl_timer_set(serve->loop, &serve->pause, PAUSE_MS, on_pause_over);
        return;
    }
}

static int listen_on(struct cni_serve *serve, const char *address, struct fl_err *err)
{
    const int seconds = CNI_SERVE_SECONDS;
    FL_CLEANUP(fl_cleanup_close) int fd = -1;
    uint16_t port;
    int result = fl_http_listen(fl_span_str(address), &fd, &port, err);
    if (result < 0)
        return result;
    if (setsockopt(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &seconds, sizeof(seconds)) < 0)
        return fl_err_errno(err, -errno, "%s", address);
    result = fl_source_add(serve->loop, &serve->listener, fd, EPOLLIN, on_listener);
    if (result < 0)
        return fl_err_errno(err, result, "%s", address);
    (void)fl_take_fd(fd);
    return 0;
}

int cni_serve_new(struct fl_loop *loop, const char *address, const struct cni_serve_ops *ops, void *owner,
                  struct cni_serve **ret_serve, struct fl_err *err)
{
    struct cni_serve *serve = calloc(1, sizeof(*serve));
    if (serve == NULL)
        return fl_err_set(err, -ENOMEM, "%s: out of memory", address);
    serve->loop = loop;
    serve->ops = ops;
    serve->owner = owner;
    int result = listen_on(serve, address, err);
    if (result < 0)
        free(serve);
    else
        *ret_serve = serve;
    return result;
}

struct cni_serve *cni_serve_free(struct cni_serve *serve)
{
    if (serve == NULL)
        return NULL;
    for (size_t i = 0; i < CNI_SERVE_CONNECTIONS_MAX; i++) {
        if (serve->connections[i] != NULL)
            close_connection(serve->connections[i], CNI_SERVE_GONE);
    }
    int fd = serve->listener.fd;
    fl_timer_cancel(&serve->pause);
    fl_source_remove(&serve->listener);
    close(fd);
    free(serve);
    return NULL;
}
