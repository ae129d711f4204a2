/* A server of HTTP/2 in clear text that is proxy/http/h2.h and nothing else: for h2spec, h2load, nghttp and curl, to
 * judge the session apart from the proxy around it. Every request is answered, when it has come whole, with 200 and a
 * small body (or with as many bytes as its path says: "/1000000"). Prints the port that it listens on, and runs until
 * its standard input ends.
 *
 *     cmake --build --preset dev --target h2_server && build/dev/tests/h2_server [port]
 */
#include "proxy/http/h2.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>

#define CONNECTIONS 1024

struct request {
    struct connection *connection;
    struct proxy_stream *stream;
    size_t left; /* of its answer's body */
    uint8_t method_id;
};

struct connection {
    int fd;
    struct proxy_h2 *h2;
    struct proxy_queue out;
    bool over;
};

static struct proxy_pool pool;
static struct proxy_message message, answer;
static struct proxy_headers trailers;
static struct connection *connections[CONNECTIONS];
static struct pollfd polled[CONNECTIONS + 2]; /* standard input, listener, connections */
static size_t count;
static char scratch[65536], body[16384];

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void on_open(void *user)
{
    (void)user;
}

static void finish(struct request *request)
{
    proxy_stream_close(request->stream, PROXY_RESET_CANCELLED);
    free(request);
}

static void push_body(struct request *request)
{
    while (request->left > 0 && !proxy_stream_is_backlogged(request->stream)) {
        size_t part = request->left < sizeof(body) ? request->left : sizeof(body);
        request->left -= part;
        proxy_stream_send_data(request->stream, fl_span_make(body, part));
    }
    if (request->left > 0)
        return;
    proxy_stream_send_end(request->stream, NULL);
    finish(request);
}

static void respond(struct request *request)
{
    char length[24];
    proxy_message_init(&answer);
    answer.status = 200;
    answer.method_id = request->method_id;
    answer.framing = PROXY_FRAMING_LENGTH;
    answer.content_length = request->left;
    answer.has_content_length = true;
    snprintf(length, sizeof(length), "%zu", request->left);
    if (proxy_headers_add(&answer.headers, FL_SPAN("server"), FL_SPAN("fairlead")) < 0 ||
        proxy_headers_add(&answer.headers, FL_SPAN("content-length"), fl_span_str(length)) < 0)
        return;
    bool bare = request->method_id == PROXY_METHOD_HEAD || request->left == 0;
    if (bare)
        request->left = 0;
    proxy_stream_send_head(request->stream, &answer, bare);
    push_body(request);
}

static void on_head(void *user, struct proxy_message *head, bool end)
{
    struct request *request = user;
    uint64_t size;
    request->method_id = head->method_id;
    request->left = 20;
    if (head->path.len > 1 && fl_span_to_u64(fl_span_from(head->path, 1), 1u << 30, &size))
        request->left = (size_t)size;
    if (end)
        respond(request);
}

static void on_data(void *user, struct fl_span data)
{
    (void)user;
    (void)data;
}

static void on_end(void *user, struct proxy_headers *fields)
{
    (void)fields;
    respond(user);
}

static void on_writable(void *user)
{
    push_body(user);
}

static void on_reset(void *user, enum proxy_reset why)
{
    (void)why;
    free(user);
}

static const struct proxy_stream_events events = {on_open, on_head, on_data, on_end, on_writable, on_reset};

static void send_bytes(void *owner, struct fl_span bytes)
{
    struct connection *connection = owner;
    if (proxy_queue_append(&connection->out, &pool, bytes) < 0)
        connection->over = true;
    if (connection->out.bytes > 65536)
        proxy_h2_hold(connection->h2);
}

static bool on_stream(void *owner, struct proxy_stream *stream)
{
    struct request *request = calloc(1, sizeof(*request));
    if (request == NULL)
        return false;
    *request = (struct request){.connection = owner, .stream = stream};
    stream->events = &events;
    stream->user = request;
    return true;
}

static void on_nothing(void *owner)
{
    (void)owner;
}

static void on_over(void *owner, enum proxy_h2_error error)
{
    (void)error;
    ((struct connection *)owner)->over = true;
}

static const struct proxy_h2_owner ops = {send_bytes, on_stream, on_nothing, on_nothing, on_over, NULL};

static void flush(struct connection *connection)
{
    while (connection->out.bytes > 0) {
        struct fl_span front = proxy_queue_front(&connection->out);
        ssize_t sent = send(connection->fd, front.data, front.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0) {
            connection->over = connection->over || errno != EAGAIN;
            return;
        }
        proxy_queue_consume(&connection->out, &pool, (size_t)sent);
        if (connection->out.bytes < 32768 && connection->h2 != NULL)
            proxy_h2_release(connection->h2);
    }
}

/* What the peer still sends is read, so that our last bytes are not lost to a reset. */
static void drop(size_t at)
{
    struct connection *connection = connections[at];
    if (connection->h2 != NULL)
        proxy_h2_end(connection->h2, PROXY_RESET_EOF, "closed");
    connection->h2 = proxy_h2_free(connection->h2);
    proxy_queue_clear(&connection->out, &pool);
    shutdown(connection->fd, SHUT_WR);
    while (recv(connection->fd, scratch, sizeof(scratch), MSG_DONTWAIT) > 0) {
    }
    close(connection->fd);
    free(connection);
    connections[at] = connections[--count];
}

static void take_connection(int listener)
{
    FL_CLEANUP(fl_cleanup_close) int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    struct connection *connection = fd >= 0 && count < CONNECTIONS ? calloc(1, sizeof(*connection)) : NULL;
    if (connection == NULL)
        return;
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    struct proxy_h2_options options = {
        .server = true, .pool = &pool, .message = &message, .trailers = &trailers, .ops = &ops, .owner = connection};
    connection->fd = fl_take_fd(fd);
    connections[count++] = connection;
    if (proxy_h2_new(&options, now_ms(), &connection->h2) < 0)
        drop(count - 1);
}

static void serve(struct connection *connection)
{
    ssize_t size = recv(connection->fd, scratch, sizeof(scratch), MSG_DONTWAIT);
    if (size > 0)
        proxy_h2_feed(connection->h2, fl_span_make(scratch, (size_t)size), now_ms());
    else if (size == 0 || errno != EAGAIN)
        connection->over = true;
}

static int listen_on(uint16_t port)
{
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(listener, (struct sockaddr *)&address, size) < 0 || listen(listener, 512) < 0 ||
        getsockname(listener, (struct sockaddr *)&address, &size) < 0)
        return -1;
    printf("%u\n", (unsigned)ntohs(address.sin_port));
    fflush(stdout);
    return listener;
}

static void turn(int listener)
{
    polled[0] = (struct pollfd){.fd = STDIN_FILENO, .events = POLLIN};
    polled[1] = (struct pollfd){.fd = listener, .events = POLLIN};
    for (size_t i = 0; i < count; i++)
        polled[i + 2] = (struct pollfd){.fd = connections[i]->fd,
                                        .events = (short)(POLLIN | (connections[i]->out.bytes > 0 ? POLLOUT : 0))};
    size_t known = count;
    if (poll(polled, known + 2, 1000) < 0)
        return;
    for (size_t i = known; i-- > 0;) {
        if ((polled[i + 2].revents & ~POLLOUT) != 0)
            serve(connections[i]);
        else if (connections[i]->h2 != NULL)
            proxy_h2_tick(connections[i]->h2, now_ms());
        flush(connections[i]);
        if (connections[i]->over)
            drop(i);
    }
    if (polled[1].revents != 0)
        take_connection(listener);
}

int main(int argc, char **argv)
{
    uint64_t port = 0;
    if (argc > 1 && !fl_span_to_u64(fl_span_str(argv[1]), 65535, &port))
        return 2;
    int listener = listen_on((uint16_t)port);
    if (listener < 0)
        return 1;
    do
        turn(listener);
    while (polled[0].revents == 0);
    while (count > 0)
        drop(count - 1);
    proxy_pool_done(&pool);
    return 0;
}
