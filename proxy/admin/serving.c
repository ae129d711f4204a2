/* A connection reads until it has a whole head, answers, writes until the answer is taken, and begins anew. It has one
 * timer, whose deadline depends on what is waited for:
 *
 *     IDLE ── first byte ──► HEAD ── whole head ──► ANSWER ── taken ──► IDLE (keep-alive) or closed
 *
 * An answer under way stops reading: a client that does not take its answers cannot ask for more.
 */
#include "proxy/admin/serving.h"

#include "common/loop/timer.h"
#include "proxy/admin/admin.h"
#include "proxy/http/h1_write.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/uio.h>
#include <time.h>

#define ACCEPT_PAUSE_MS 100 /* when descriptors or memory are out */
#define BACKLOG         64
#define ANSWER_TOTAL_MS 120000 /* for an answer to be taken, however steadily */

enum state { IDLE, HEAD, ANSWER };

struct connection {
    struct proxy_serving *serving;
    struct connection *next, **link;
    struct fl_source source;
    struct fl_timer timer;
    struct fl_deferred deferred;
    enum state state;
    int fd;
    struct fl_buf in, head, body;
    size_t sent; /* of head and body */
    struct proxy_h1_parser parser;
    bool keep_alive, http10;
    bool peer_closed;
    uint64_t give_up_ms; /* ANSWER: at the latest */
};

struct proxy_serving {
    struct proxy_serving_options options;
    struct fl_source source;
    struct fl_timer pause;
    struct fl_deferred deferred;
    int fd;
    struct connection *connections;
    size_t connection_count;
    struct proxy_message message; /* scratch for parsing */
};

static void on_connection(struct fl_source *source, uint32_t events);
static void on_deadline(struct fl_timer *timer);

/* -- life of a connection -- */

static void free_connection(struct fl_deferred *deferred)
{
    free(FL_CONTAINER_OF(deferred, struct connection, deferred));
}

static void release_answer(struct connection *connection)
{
    *connection->serving->options.held -= connection->body.len;
    fl_buf_done(&connection->head);
    fl_buf_done(&connection->body);
    connection->sent = 0;
}

static void close_connection(struct connection *connection)
{
    fl_timer_cancel(&connection->timer);
    fl_source_remove(&connection->source);
    close(connection->fd);
    release_answer(connection);
    fl_buf_done(&connection->in);
    *connection->link = connection->next;
    if (connection->next != NULL)
        connection->next->link = connection->link;
    connection->serving->connection_count--;
    fl_loop_defer(connection->serving->options.loop, &connection->deferred, free_connection);
}

static void set_deadline(struct connection *connection, uint64_t delay_ms)
{
    fl_timer_set(connection->serving->options.loop, &connection->timer, delay_ms, on_deadline);
}

static void set_state(struct connection *connection, enum state state)
{
    static const uint64_t delays[] = {
        [IDLE] = PROXY_ADMIN_IDLE_MS, [HEAD] = PROXY_ADMIN_HEAD_MS, [ANSWER] = PROXY_ADMIN_WRITE_MS};
    if (connection->state == state && fl_timer_is_set(&connection->timer))
        return;
    connection->state = state;
    if (state == ANSWER)
        connection->give_up_ms = fl_loop_now_ms(connection->serving->options.loop) + ANSWER_TOTAL_MS;
    set_deadline(connection, delays[state]);
}

static void on_deadline(struct fl_timer *timer)
{
    close_connection(FL_CONTAINER_OF(timer, struct connection, timer));
}

/* -- answering -- */

/* The head before the body, so that the body is not copied. 0 or -ENOMEM. */
static int write_head(struct connection *connection, const struct proxy_answer *answer, bool head_only)
{
    struct proxy_header allow = {.name = FL_SPAN("allow"), .value = fl_span_str(answer->allow)};
    struct proxy_h1_reply reply = {.status = answer->status,
                                   .body = fl_buf_span(&connection->body),
                                   .content_type = fl_span_str(answer->content_type),
                                   .headers = &allow,
                                   .header_count = answer->allow != NULL ? 1 : 0,
                                   .now = time(NULL),
                                   .keep_alive = connection->keep_alive,
                                   .http10 = connection->http10,
                                   .head = true};
    struct proxy_h1_reply bound = reply;
    bound.body = (struct fl_span){NULL, 0};
    size_t size = proxy_h1_reply_bound(&bound);
    fl_buf_init(&connection->head, size);
    int result = fl_buf_reserve(&connection->head, size);
    if (result != 0)
        return result;
    connection->head.len = proxy_h1_write_reply(&reply, connection->head.data);
    if (head_only) {
        *connection->serving->options.held -= connection->body.len;
        fl_buf_done(&connection->body);
    }
    return 0;
}

static void answer_error(struct proxy_answer *answer, unsigned status)
{
    fl_buf_clear(&answer->body);
    answer->status = status;
    answer->content_type = NULL;
    if (fl_buf_printf(&answer->body, "%s\n", proxy_status_reason(status)) != 0)
        fl_buf_clear(&answer->body);
}

/* False: memory is out, the connection was closed. */
static bool begin_answer(struct connection *connection, struct proxy_answer *answer, bool head_only)
{
    size_t *held = connection->serving->options.held;
    if (*held > 0 && *held + answer->body.len > PROXY_SERVING_HELD_MAX) {
        fl_buf_done(&answer->body);
        fl_buf_init(&answer->body, 128);
        answer_error(answer, 503);
        connection->keep_alive = false;
    }
    *held += answer->body.len;
    connection->body = answer->body;
    answer->body = (struct fl_buf){0};
    if (write_head(connection, answer, head_only) != 0) {
        close_connection(connection);
        return false;
    }
    set_state(connection, ANSWER);
    return true;
}

/* True: all of it is with the kernel. False: there is more, or the connection was closed (then *ret_closed). */
static bool flush(struct connection *connection, bool *ret_closed)
{
    *ret_closed = false;
    size_t total = connection->head.len + connection->body.len;
    while (connection->sent < total) {
        size_t in_head = connection->sent < connection->head.len ? connection->head.len - connection->sent : 0;
        size_t in_body = in_head > 0 ? 0 : connection->sent - connection->head.len;
        struct iovec parts[2] = {{connection->head.data + (connection->head.len - in_head), in_head},
                                 {connection->body.data + in_body, connection->body.len - in_body}};
        struct msghdr message = {.msg_iov = in_head > 0 ? parts : parts + 1,
                                 .msg_iovlen = in_head > 0 && connection->body.len > 0 ? 2 : 1};
        ssize_t wrote = sendmsg(connection->fd, &message, MSG_NOSIGNAL);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote < 0 && errno == EAGAIN)
            return false;
        if (wrote < 0) {
            *ret_closed = true;
            close_connection(connection);
            return false;
        }
        connection->sent += (size_t)wrote;
        if (fl_loop_now_ms(connection->serving->options.loop) < connection->give_up_ms)
            set_deadline(connection, PROXY_ADMIN_WRITE_MS);
    }
    return true;
}

/* A request's answer, or that to a request which is refused. */
static void make_answer(struct connection *connection, int parsed, size_t size, struct proxy_answer *answer)
{
    struct proxy_serving *serving = connection->serving;
    const struct proxy_message *request = &serving->message;
    *answer = (struct proxy_answer){.status = 200};
    fl_buf_init(&answer->body, PROXY_ADMIN_ANSWER_MAX);
    bool has_body = parsed == PROXY_H1_DONE && request->framing != PROXY_FRAMING_NONE &&
                    !(request->framing == PROXY_FRAMING_LENGTH && request->content_length == 0);
    /* What is behind a request already is not waited for: pipelining would let one segment cost hundreds of pages. */
    connection->keep_alive = parsed == PROXY_H1_DONE && !has_body && request->keep_alive && connection->in.len == size;
    connection->http10 = parsed == PROXY_H1_DONE && request->minor == 0;
    if (parsed != PROXY_H1_DONE)
        answer_error(answer, proxy_h1_error_status(connection->parser.error));
    else if (has_body)
        answer_error(answer, 413);
    else
        serving->options.handle(serving->options.owner, request, answer);
    if (answer->status == 0 || (answer->status != 204 && answer->body.len == 0 && answer->status >= 400))
        answer_error(answer, answer->status == 0 ? 500 : answer->status);
}

enum step { STEP_GO_ON, STEP_WAIT, STEP_GONE };

static enum step after_answer(struct connection *connection)
{
    bool keep = connection->keep_alive && !connection->peer_closed;
    release_answer(connection);
    if (!keep) {
        close_connection(connection);
        return STEP_GONE;
    }
    set_state(connection, IDLE);
    return STEP_GO_ON;
}

/* The request, where a whole one is there. Its spans point into `in`, which is dropped after the answer is made. */
static enum step serve(struct connection *connection)
{
    struct proxy_serving *serving = connection->serving;
    const struct proxy_h1_limits limits = {.head_max = PROXY_ADMIN_HEAD_MAX};
    size_t size = 0;
    int parsed =
        proxy_h1_parse_request(&connection->parser, fl_buf_span(&connection->in), &limits, &serving->message, &size);
    if (parsed == PROXY_H1_MORE)
        return STEP_WAIT;
    struct proxy_answer answer;
    make_answer(connection, parsed, size, &answer);
    bool head_only = parsed == PROXY_H1_DONE && serving->message.method_id == PROXY_METHOD_HEAD;
    void (*after)(void *owner) = answer.after;
    void *owner = serving->options.owner;
    bool open = begin_answer(connection, &answer, head_only), closed = !open;
    fl_buf_done(&answer.body);
    bool done = false;
    if (open) {
        fl_buf_done(&connection->in); /* nothing is kept that is not part of this request */
        fl_buf_init(&connection->in, PROXY_ADMIN_HEAD_MAX);
        connection->parser = (struct proxy_h1_parser){0};
        done = flush(connection, &closed);
    }
    enum step step = closed ? STEP_GONE : done ? after_answer(connection) : STEP_WAIT;
    if (after != NULL) {
        after(owner); /* may be the end of everything here */
        return STEP_GONE;
    }
    return step;
}

/* -- reading -- */

/* False: the connection was closed. */
static bool receive(struct connection *connection)
{
    while (connection->in.len < PROXY_ADMIN_HEAD_MAX && !connection->peer_closed) {
        size_t room = PROXY_ADMIN_HEAD_MAX - connection->in.len;
        if (room > 2048)
            room = 2048;
        if (fl_buf_reserve(&connection->in, room) != 0) {
            close_connection(connection);
            return false;
        }
        ssize_t got = recv(connection->fd, connection->in.data + connection->in.len, room, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && errno == EAGAIN)
            break;
        if (got < 0) {
            close_connection(connection);
            return false;
        }
        connection->peer_closed = got == 0;
        connection->in.len += (size_t)got;
    }
    return true;
}

static void want(struct connection *connection, uint32_t events)
{
    if (fl_source_modify(&connection->source, events) != 0)
        close_connection(connection);
}

static void on_connection(struct fl_source *source, uint32_t events)
{
    struct connection *connection = FL_CONTAINER_OF(source, struct connection, source);
    if (connection->state == ANSWER) {
        bool closed;
        if ((events & (EPOLLERR | EPOLLHUP)) != 0) {
            close_connection(connection);
            return;
        }
        if (!flush(connection, &closed) || after_answer(connection) == STEP_GONE)
            return;
    } else if (!receive(connection)) {
        return;
    }
    if (connection->in.len > 0) {
        set_state(connection, HEAD);
        if (serve(connection) == STEP_GONE)
            return;
    }
    if (connection->state != ANSWER && connection->peer_closed)
        close_connection(connection);
    else
        want(connection, connection->state == ANSWER ? EPOLLOUT : EPOLLIN);
}

/* -- accepting -- */

static void on_resume(struct fl_timer *timer)
{
    struct proxy_serving *serving = FL_CONTAINER_OF(timer, struct proxy_serving, pause);
    if (fl_source_modify(&serving->source, EPOLLIN) != 0)
        fl_timer_set(serving->options.loop, &serving->pause, ACCEPT_PAUSE_MS, on_resume);
}

/* Level-triggered, so a listener that cannot accept would be told again and again. */
static void pause_accepting(struct proxy_serving *serving)
{
    if (fl_source_modify(&serving->source, 0) == 0)
        fl_timer_set(serving->options.loop, &serving->pause, ACCEPT_PAUSE_MS, on_resume);
}

/* The longest open one that is not being answered. Else whoever holds all connections and says nothing could keep the
 * health checks out, and have the pod restarted. */
static void make_room(struct proxy_serving *serving)
{
    struct connection *oldest = NULL;
    for (struct connection *one = serving->connections; one != NULL; one = one->next) {
        if (one->state != ANSWER)
            oldest = one;
    }
    if (oldest != NULL)
        close_connection(oldest);
}

static void adopt(struct proxy_serving *serving, int fd)
{
    if (serving->connection_count == PROXY_ADMIN_CONNECTIONS_MAX)
        make_room(serving);
    struct connection *connection =
        serving->connection_count < PROXY_ADMIN_CONNECTIONS_MAX ? calloc(1, sizeof(*connection)) : NULL;
    if (connection == NULL ||
        fl_source_add(serving->options.loop, &connection->source, fd, EPOLLIN, on_connection) != 0) {
        free(connection);
        close(fd);
        return;
    }
    int yes = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    connection->serving = serving;
    connection->fd = fd;
    fl_buf_init(&connection->in, PROXY_ADMIN_HEAD_MAX);
    connection->next = serving->connections;
    connection->link = &serving->connections;
    if (connection->next != NULL)
        connection->next->link = &connection->next;
    serving->connections = connection;
    serving->connection_count++;
    connection->state = HEAD;
    set_state(connection, IDLE);
}

static void on_accept(struct fl_source *source, uint32_t events)
{
    (void)events;
    struct proxy_serving *serving = FL_CONTAINER_OF(source, struct proxy_serving, source);
    for (int i = 0; i < 16; i++) {
        int fd = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            adopt(serving, fd);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            pause_accepting(serving);
        if (errno != EINTR && errno != ECONNABORTED)
            return;
    }
}

/* -- the port -- */

static int open_port(const struct proxy_address *address, int *ret_fd)
{
    int yes = 1, no = 0;
    FL_CLEANUP(fl_cleanup_close)
    int fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) != 0 ||
        (address->any.sa_family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof(no)) != 0) ||
        bind(fd, &address->any, proxy_address_size(address)) != 0 || listen(fd, BACKLOG) != 0)
        return -errno;
    *ret_fd = fl_take_fd(fd);
    return 0;
}

/* "::" on a host without IPv6 is 0.0.0.0. */
static int open_or_fall_back(const struct proxy_address *address, int *ret_fd)
{
    int result = open_port(address, ret_fd);
    bool no_family = result == -EAFNOSUPPORT || result == -EADDRNOTAVAIL;
    if (!no_family || address->any.sa_family != AF_INET6 || !IN6_IS_ADDR_UNSPECIFIED(&address->v6.sin6_addr))
        return result;
    struct proxy_address all;
    int parsed = proxy_address_parse(FL_SPAN("0.0.0.0"), proxy_address_port(address), &all);
    return parsed != 0 ? parsed : open_port(&all, ret_fd);
}

int proxy_serving_new(const struct proxy_serving_options *options, struct proxy_serving **ret_serving,
                      struct fl_err *err)
{
    char text[PROXY_ADDRESS_TEXT_MAX];
    proxy_address_print(&options->address, text);
    struct proxy_serving *serving = calloc(1, sizeof(*serving));
    if (serving == NULL)
        return fl_err_set(err, -ENOMEM, "out of memory");
    serving->options = *options;
    int result = open_or_fall_back(&options->address, &serving->fd);
    if (result == 0) {
        result = fl_source_add(options->loop, &serving->source, serving->fd, EPOLLIN, on_accept);
        if (result != 0)
            close(serving->fd);
    }
    if (result != 0) {
        free(serving);
        return fl_err_errno(err, result, "listen on %s", text);
    }
    *ret_serving = serving;
    return 0;
}

static void free_serving(struct fl_deferred *deferred)
{
    free(FL_CONTAINER_OF(deferred, struct proxy_serving, deferred));
}

struct proxy_serving *proxy_serving_free(struct proxy_serving *serving)
{
    if (serving == NULL)
        return NULL;
    while (serving->connections != NULL)
        close_connection(serving->connections);
    fl_timer_cancel(&serving->pause);
    fl_source_remove(&serving->source);
    close(serving->fd);
    fl_loop_defer(serving->options.loop, &serving->deferred, free_serving);
    return NULL;
}

struct proxy_address proxy_serving_address(const struct proxy_serving *serving)
{
    struct proxy_address address = {0};
    struct sockaddr_storage raw;
    socklen_t size = sizeof(raw);
    if (getsockname(serving->fd, (struct sockaddr *)&raw, &size) != 0 ||
        proxy_address_from_sockaddr(&raw, &address) != 0)
        return (struct proxy_address){0};
    return address;
}

size_t proxy_serving_connections(const struct proxy_serving *serving)
{
    return serving->connection_count;
}
