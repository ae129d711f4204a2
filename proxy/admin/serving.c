/* A connection reads until it has a whole head, answers, writes until the answer is taken, and begins anew. It has one
 * timer, whose deadline depends on what is waited for:
 *
 *     IDLE ── first byte ──► HEAD ── whole head ──► ANSWER ── taken ──► IDLE (keep-alive) or closed
 *                                        └─ deferred ─► WAIT ──┘
 *
 * An answer under way stops reading: a client that does not take its answers cannot ask for more. While an answer is
 * waited for, a client's FIN means that it went away, unless it had said that it would close (as on the data path:
 * proxy/README.md).
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

enum state { IDLE, HEAD, WAIT, ANSWER };

struct proxy_serving_connection {
    struct proxy_serving *serving;
    struct proxy_serving_connection *next, **link;
    struct fl_source source;
    struct fl_timer timer;
    struct fl_deferred deferred;
    enum state state;
    int fd;
    struct fl_buf in, head, body;
    size_t sent; /* of head and body */
    struct proxy_h1_parser parser;
    bool keep_alive, http10;
    bool head_only;
    bool peer_closed;
    struct proxy_serving_wait *wait; /* WAIT */
    struct proxy_address peer;       /* for fairness; not set where it is unknown */
    uint64_t give_up_ms;             /* ANSWER: at the latest */
};

struct proxy_serving {
    struct proxy_serving_options options;
    struct fl_source source;
    struct fl_timer pause;
    struct fl_deferred deferred;
    int fd;
    struct proxy_serving_connection *connections;
    size_t connection_count;
    struct proxy_message message; /* scratch for parsing */
};

static void on_connection(struct fl_source *source, uint32_t events);
static void on_deadline(struct fl_timer *timer);

/* -- life of a connection -- */

static void free_connection(struct fl_deferred *deferred)
{
    free(FL_CONTAINER_OF(deferred, struct proxy_serving_connection, deferred));
}

static void release_answer(struct proxy_serving_connection *connection)
{
    *connection->serving->options.held -= connection->body.len;
    fl_buf_done(&connection->head);
    fl_buf_done(&connection->body);
    connection->sent = 0;
}

/* The wait is over, whoever ended it. */
static struct proxy_serving_wait *detach_wait(struct proxy_serving_connection *connection)
{
    struct proxy_serving_wait *wait = fl_take(connection->wait);
    if (wait != NULL)
        wait->connection = NULL;
    return wait;
}

static void close_connection(struct proxy_serving_connection *connection)
{
    struct proxy_serving_wait *wait = detach_wait(connection);
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
    if (wait != NULL)
        wait->on_gone(wait);
}

static void set_deadline(struct proxy_serving_connection *connection, uint64_t delay_ms)
{
    fl_timer_set(connection->serving->options.loop, &connection->timer, delay_ms, on_deadline);
}

static void set_state(struct proxy_serving_connection *connection, enum state state)
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
    close_connection(FL_CONTAINER_OF(timer, struct proxy_serving_connection, timer));
}

/* -- answering -- */

void proxy_answer_init(struct proxy_answer *answer)
{
    *answer = (struct proxy_answer){.status = 200};
    fl_buf_init(&answer->body, PROXY_ADMIN_ANSWER_MAX);
}

/* The head before the body, so that the body is not copied. 0 or -ENOMEM. */
static int write_head(struct proxy_serving_connection *connection, const struct proxy_answer *answer)
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
    if (connection->head_only) {
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
static bool begin_answer(struct proxy_serving_connection *connection, struct proxy_answer *answer)
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
    if (write_head(connection, answer) != 0) {
        close_connection(connection);
        return false;
    }
    set_state(connection, ANSWER);
    return true;
}

/* True: all of it is with the kernel. False: there is more, or the connection was closed (then *ret_closed). */
static bool flush(struct proxy_serving_connection *connection, bool *ret_closed)
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

/* An error without words says at least what it is. */
static void complete(struct proxy_answer *answer)
{
    if (answer->status == 0 || (answer->status != 204 && answer->body.len == 0 && answer->status >= 400))
        answer_error(answer, answer->status == 0 ? 500 : answer->status);
}

/* A request's answer, or that to a request which is refused. */
static void make_answer(struct proxy_serving_connection *connection, int parsed, size_t size,
                        struct proxy_answer *answer)
{
    struct proxy_serving *serving = connection->serving;
    const struct proxy_message *request = &serving->message;
    proxy_answer_init(answer);
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
    if (answer->wait == NULL)
        complete(answer);
}

enum step { STEP_GO_ON, STEP_WAIT, STEP_GONE };

static enum step after_answer(struct proxy_serving_connection *connection)
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

/* As much of the answer as the kernel takes. */
static enum step give(struct proxy_serving_connection *connection, struct proxy_answer *answer)
{
    bool closed = false;
    bool open = begin_answer(connection, answer);
    fl_buf_done(&answer->body);
    if (!open)
        return STEP_GONE;
    if (flush(connection, &closed))
        return after_answer(connection);
    return closed ? STEP_GONE : STEP_WAIT;
}

/* The answer comes later. False: nobody waits for it, the connection was closed. */
static bool begin_wait(struct proxy_serving_connection *connection, struct proxy_serving_wait *wait)
{
    wait->connection = connection;
    connection->wait = wait;
    connection->state = WAIT;
    fl_timer_cancel(&connection->timer);
    if (!connection->peer_closed || !connection->keep_alive)
        return true;
    close_connection(connection);
    return false;
}

/* The request, where a whole one is there. Its spans point into `in`, which is dropped after the answer is made. */
static enum step serve(struct proxy_serving_connection *connection)
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
    connection->head_only = parsed == PROXY_H1_DONE && serving->message.method_id == PROXY_METHOD_HEAD;
    fl_buf_done(&connection->in); /* nothing is kept that is not part of this request */
    fl_buf_init(&connection->in, PROXY_ADMIN_HEAD_MAX);
    connection->parser = (struct proxy_h1_parser){0};
    if (answer.wait != NULL) {
        fl_buf_done(&answer.body);
        return begin_wait(connection, answer.wait) ? STEP_WAIT : STEP_GONE;
    }
    void (*after)(void *owner) = answer.after;
    void *owner = serving->options.owner;
    enum step step = give(connection, &answer);
    if (after != NULL) {
        after(owner); /* may be the end of everything here */
        return STEP_GONE;
    }
    return step;
}

/* -- reading -- */

/* False: the connection was closed. */
static bool receive(struct proxy_serving_connection *connection)
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

/* What the kernel is asked to tell. An end of the client's stream that means nothing must not be told again and again.
 */
static void want(struct proxy_serving_connection *connection)
{
    uint32_t events = connection->state == ANSWER ? EPOLLOUT : EPOLLIN;
    if (connection->state == WAIT)
        events = connection->peer_closed ? 0 : EPOLLRDHUP;
    if (fl_source_modify(&connection->source, events) != 0)
        close_connection(connection);
}

static void on_client_left(struct proxy_serving_connection *connection, uint32_t events)
{
    connection->peer_closed = true;
    if (connection->keep_alive || (events & (EPOLLERR | EPOLLHUP)) != 0)
        close_connection(connection);
    else
        want(connection);
}

/* The state that everything comes back to: what follows depends on what came and went. */
static void settle(struct proxy_serving_connection *connection)
{
    if (connection->state != ANSWER && connection->state != WAIT && connection->peer_closed)
        close_connection(connection);
    else
        want(connection);
}

void proxy_serving_answer(struct proxy_serving_wait *wait, struct proxy_answer *answer)
{
    struct proxy_serving_connection *connection = wait->connection;
    if (connection == NULL) {
        fl_buf_done(&answer->body);
        return;
    }
    detach_wait(connection);
    complete(answer);
    if (give(connection, answer) != STEP_GONE)
        settle(connection);
}

void proxy_serving_abandon(struct proxy_serving_wait *wait)
{
    if (wait->connection == NULL)
        return;
    struct proxy_serving_connection *connection = wait->connection;
    detach_wait(connection);
    close_connection(connection);
}

static void on_connection(struct fl_source *source, uint32_t events)
{
    struct proxy_serving_connection *connection = FL_CONTAINER_OF(source, struct proxy_serving_connection, source);
    if (connection->state == WAIT) {
        on_client_left(connection, events);
        return;
    }
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
    settle(connection);
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

static size_t connections_of(const struct proxy_serving *serving, const struct proxy_address *peer)
{
    size_t count = 0;
    for (const struct proxy_serving_connection *one = serving->connections; one != NULL; one = one->next)
        count += fl_span_eq(proxy_address_bytes(&one->peer), proxy_address_bytes(peer));
    return count;
}

/* The longest open one, that is not being given an answer, of the client that has the most of them. Else whoever holds
 * all connections, and says nothing or waits for an app that does not answer, could keep the health checks out, and
 * have the pod restarted: who takes too much throws out himself, not the kubelet. */
static void make_room(struct proxy_serving *serving)
{
    struct proxy_serving_connection *found = NULL;
    size_t most = 0;
    for (struct proxy_serving_connection *one = serving->connections; one != NULL; one = one->next) {
        size_t count = one->state != ANSWER ? connections_of(serving, &one->peer) : 0;
        if (count > 0 && count >= most) {
            most = count;
            found = one;
        }
    }
    if (found != NULL)
        close_connection(found);
}

static void adopt(struct proxy_serving *serving, int fd, const struct sockaddr_storage *peer)
{
    if (serving->connection_count == PROXY_ADMIN_CONNECTIONS_MAX)
        make_room(serving);
    struct proxy_serving_connection *connection =
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
    if (proxy_address_from_sockaddr(peer, &connection->peer) != 0)
        connection->peer = (struct proxy_address){0};
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
        struct sockaddr_storage peer = {0};
        socklen_t size = sizeof(peer);
        int fd = accept4(source->fd, (struct sockaddr *)&peer, &size, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            adopt(serving, fd, &peer);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            pause_accepting(serving);
        if (errno != EINTR && errno != ECONNABORTED)
            return;
    }
}

/* -- the port -- */

static int open_port(const struct proxy_address *address, struct proxy_inherited *inherited, int *ret_fd)
{
    int handed_over = proxy_inherited_take(inherited, SOCK_STREAM, address);
    if (handed_over >= 0) {
        *ret_fd = handed_over;
        return 0;
    }
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
static int open_or_fall_back(const struct proxy_address *address, struct proxy_inherited *inherited, int *ret_fd)
{
    int result = open_port(address, inherited, ret_fd);
    bool no_family = result == -EAFNOSUPPORT || result == -EADDRNOTAVAIL;
    if (!no_family || address->any.sa_family != AF_INET6 || !IN6_IS_ADDR_UNSPECIFIED(&address->v6.sin6_addr))
        return result;
    struct proxy_address all;
    int parsed = proxy_address_parse(FL_SPAN("0.0.0.0"), proxy_address_port(address), &all);
    return parsed != 0 ? parsed : open_port(&all, inherited, ret_fd);
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
    int result = open_or_fall_back(&options->address, options->inherited, &serving->fd);
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
