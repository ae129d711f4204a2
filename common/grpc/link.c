#include "common/grpc/link.h"

#include "common/tls/session.h"

#include <assert.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>

/* Input: recv into a scratch buffer, through TLS, into the session. Output: once a turn, from a hook: the session is
 * asked for bytes only while little waits for the socket, so that what a slow peer does not read stays in the bounded
 * queues of exchanges. While output waits beyond OUTPUT_HIGH nothing is read either. */

#define READ_SIZE    16384
#define READS_A_TURN 4
#define PLAIN_MAX    (3 * READ_SIZE) /* below READ_SIZE, and one more frame */
#define OUTPUT_HIGH  (256u << 10)    /* no more is asked of the session */
#define OUTPUT_MAX   (2u << 20)      /* with what TLS sends on its own account; never reached by a sane peer */

struct fl_grpc_link {
    struct fl_loop *loop;
    struct fl_source source;
    struct fl_timer timer;
    struct fl_hook flush;
    struct fl_deferred deferred;
    struct fl_tls *tls; /* NULL: plaintext */
    struct fl_grpc_session *session;
    const struct fl_grpc_link_ops *ops;
    void *owner;
    struct fl_grpc_link_options options;
    struct fl_buf out; /* waits for the socket, from out_at on */
    size_t out_at;
    struct fl_buf plain; /* the session's frames, collected into records */
    int fd;
    uint32_t interest;
    bool connecting;
    bool ready;
    bool closed;
    enum fl_grpc_refusal farewell; /* why GOAWAY was sent; NONE: it was not, or the peer is not to blame */
    bool leaving;
    bool busy;                                                 /* has exchanges, as keep_time last saw it */
    uint64_t born_ms, heard_ms, ping_ms, progress_ms, idle_ms; /* ping_ms 0: none is under way */
    struct fl_err fault;                                       /* of the session, on its way through TLS */
};

static uint64_t now_ms(void *owner)
{
    const struct fl_grpc_link *link = owner;
    return fl_loop_now_ms(link->loop);
}

static size_t waiting(const struct fl_grpc_link *link)
{
    return link->out.len - link->out_at;
}

static void release(struct fl_deferred *deferred)
{
    struct fl_grpc_link *link = FL_CONTAINER_OF(deferred, struct fl_grpc_link, deferred);
    fl_grpc_session_free(link->session);
    fl_tls_free(link->tls);
    fl_buf_done(&link->out);
    fl_buf_done(&link->plain);
    free(link);
}

static void shut(struct fl_grpc_link *link, bool tell, struct fl_span text)
{
    link->closed = true;
    fl_grpc_session_abort(link->session, FL_GRPC_UNAVAILABLE, text, tell);
    fl_source_remove(&link->source);
    fl_timer_cancel(&link->timer);
    fl_hook_disarm(&link->flush);
    close(link->fd);
    fl_loop_defer(link->loop, &link->deferred, release);
}

struct fl_grpc_link *fl_grpc_link_close(struct fl_grpc_link *link, bool tell)
{
    if (link != NULL && !link->closed)
        shut(link, tell, FL_SPAN("the connection is closed"));
    return NULL;
}

static void send_waiting(struct fl_grpc_link *link);

/* The last word (an alert, GOAWAY) goes out where the socket takes it at once. */
static void fail(struct fl_grpc_link *link, enum fl_grpc_refusal why, const struct fl_err *reason)
{
    if (link->closed)
        return;
    if (!link->connecting)
        send_waiting(link);
    struct fl_err copy = *reason;
    shut(link, true, fl_span_str(copy.text));
    link->ops->on_over(link->owner, why, &copy);
}

static void fail_for(struct fl_grpc_link *link, enum fl_grpc_refusal why, int code, const char *text)
{
    struct fl_err err;
    fl_err_set(&err, code, "%s", text);
    fail(link, why, &err);
}

static enum fl_grpc_refusal refusal_of(const struct fl_grpc_link *link, int code)
{
    if (code == -EDQUOT)
        return FL_GRPC_REFUSAL_FLOOD;
    if (code == -ENOMEM)
        return FL_GRPC_REFUSAL_LOCAL;
    if (code == -ECONNRESET)
        return FL_GRPC_REFUSAL_NONE;
    return link->ready || code == -EPROTO ? FL_GRPC_REFUSAL_PROTOCOL : FL_GRPC_REFUSAL_HANDSHAKE;
}

/* Time. */

static uint64_t earlier(uint64_t deadline, uint64_t from_ms, uint32_t timeout_ms)
{
    return timeout_ms > 0 && from_ms != UINT64_MAX && from_ms + timeout_ms < deadline ? from_ms + timeout_ms : deadline;
}

static uint64_t stuck_since(const struct fl_grpc_link *link)
{
    uint64_t since = fl_grpc_session_waits_since(link->session);
    return waiting(link) > 0 && link->progress_ms < since ? link->progress_ms : since;
}

static bool is_idle(const struct fl_grpc_link *link)
{
    return fl_grpc_session_exchanges(link->session) == 0;
}

static uint64_t next_deadline(const struct fl_grpc_link *link)
{
    const struct fl_grpc_link_options *options = &link->options;
    uint64_t deadline = UINT64_MAX;
    if (!link->ready)
        return earlier(deadline, link->born_ms, options->handshake_timeout_ms);
    if (link->ping_ms > 0)
        deadline = earlier(deadline, link->ping_ms, options->keepalive_timeout_ms);
    else
        deadline = earlier(deadline, link->heard_ms, options->keepalive_ms);
    if (is_idle(link) && !link->leaving)
        deadline = earlier(deadline, link->idle_ms, options->idle_timeout_ms);
    return earlier(deadline, stuck_since(link), options->slow_timeout_ms);
}

static void on_time(struct fl_timer *timer);

/* The timer may stand too early, never too late. */
static void keep_time(struct fl_grpc_link *link)
{
    if (link->closed)
        return;
    uint64_t now = fl_loop_now_ms(link->loop);
    if (link->busy && is_idle(link))
        link->idle_ms = now;
    link->busy = !is_idle(link);
    uint64_t deadline = next_deadline(link);
    if (deadline == UINT64_MAX || (fl_timer_is_set(&link->timer) && link->timer.deadline_ms <= deadline))
        return;
    fl_timer_set(link->loop, &link->timer, deadline > now ? deadline - now : 0, on_time);
}

static bool is_past(const struct fl_grpc_link *link, uint64_t from_ms, uint32_t timeout_ms)
{
    return earlier(UINT64_MAX, from_ms, timeout_ms) <= fl_loop_now_ms(link->loop);
}

static void send_ping(struct fl_grpc_link *link)
{
    link->ping_ms = fl_loop_now_ms(link->loop);
    if (fl_grpc_session_ping(link->session) < 0)
        fail_for(link, FL_GRPC_REFUSAL_LOCAL, -ENOMEM, "out of memory");
}

/* A request that is on its way when an idle connection goes is refused, and can safely be tried again. */
static void leave(struct fl_grpc_link *link)
{
    if (link->leaving)
        return;
    link->leaving = true;
    link->farewell = FL_GRPC_REFUSAL_IDLE;
    fl_grpc_session_goaway(link->session);
}

static void on_time(struct fl_timer *timer)
{
    struct fl_grpc_link *link = FL_CONTAINER_OF(timer, struct fl_grpc_link, timer);
    const struct fl_grpc_link_options *options = &link->options;
    uint64_t now = fl_loop_now_ms(link->loop);
    if (!link->ready && is_past(link, link->born_ms, options->handshake_timeout_ms)) {
        const char *text = link->connecting ? "the connection was not answered in time"
                                            : "the peer did not finish the handshake in time";
        fail_for(link, FL_GRPC_REFUSAL_HANDSHAKE, -ETIMEDOUT, text);
    } else if (link->ready && link->ping_ms > 0 && is_past(link, link->ping_ms, options->keepalive_timeout_ms)) {
        fail_for(link, FL_GRPC_REFUSAL_DEAD, -ETIMEDOUT, "the peer does not answer a PING");
    } else if (waiting(link) > 0 && is_past(link, link->progress_ms, options->slow_timeout_ms)) {
        fail_for(link, FL_GRPC_REFUSAL_SLOW, -ETIMEDOUT, "the peer does not read what we send");
    } else {
        if (link->ready && is_idle(link) && is_past(link, link->idle_ms, options->idle_timeout_ms))
            leave(link);
        if (link->ready && link->ping_ms == 0 && is_past(link, link->heard_ms, options->keepalive_ms))
            send_ping(link);
        if (!link->closed && options->slow_timeout_ms > 0 && now > options->slow_timeout_ms)
            fl_grpc_session_drop_slow(link->session, now - options->slow_timeout_ms);
        keep_time(link);
    }
}

/* Output. */

static void set_interest(struct fl_grpc_link *link)
{
    uint32_t wanted = waiting(link) <= OUTPUT_HIGH ? EPOLLIN : 0;
    if (waiting(link) > 0 || link->connecting)
        wanted |= EPOLLOUT;
    if (wanted == link->interest)
        return;
    int result = fl_source_modify(&link->source, wanted);
    if (result < 0)
        fail_for(link, FL_GRPC_REFUSAL_LOCAL, result, "epoll");
    else
        link->interest = wanted;
}

static void send_waiting(struct fl_grpc_link *link)
{
    while (waiting(link) > 0) {
        ssize_t count = send(link->fd, link->out.data + link->out_at, waiting(link), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            break; /* full, or broken: then reading tells it */
        link->out_at += (size_t)count;
        link->progress_ms = fl_loop_now_ms(link->loop);
    }
    if (waiting(link) == 0) {
        fl_buf_done(&link->out);
        fl_buf_init(&link->out, OUTPUT_MAX);
        link->out_at = 0;
    } else if (link->out_at >= link->out.len / 2) {
        fl_buf_consume(&link->out, link->out_at);
        link->out_at = 0;
    }
}

static int queue_bytes(void *owner, struct fl_span bytes)
{
    struct fl_grpc_link *link = owner;
    if (link->closed)
        return -ECANCELED;
    if (waiting(link) == 0)
        link->progress_ms = fl_loop_now_ms(link->loop);
    return fl_buf_append(&link->out, bytes);
}

/* Frames of the session, until enough waits or nothing is left. Small ones share a TLS record. */
static int pull(struct fl_grpc_link *link, bool *ret_more, struct fl_err *err)
{
    struct fl_span bytes = {NULL, 0};
    int result = 0;
    fl_buf_clear(&link->plain);
    while (link->plain.len < READ_SIZE) {
        result = fl_grpc_session_output(link->session, &bytes, err);
        if (result < 0 || link->closed || bytes.len == 0)
            break;
        result = fl_buf_append(&link->plain, bytes);
        if (result < 0)
            return fl_err_errno(err, result, "output");
    }
    *ret_more = bytes.len > 0;
    if (result < 0 || link->closed || link->plain.len == 0)
        return result;
    result = link->tls != NULL ? fl_tls_write(link->tls, fl_buf_span(&link->plain))
                               : queue_bytes(link, fl_buf_span(&link->plain));
    return result < 0 ? fl_err_errno(err, result, "output") : 0;
}

static bool can_talk(const struct fl_grpc_link *link)
{
    return !link->connecting && (link->tls == NULL || fl_tls_state(link->tls) == FL_TLS_OPEN ||
                                 fl_tls_state(link->tls) == FL_TLS_PEER_CLOSED);
}

static void finish(struct fl_grpc_link *link)
{
    struct fl_err err;
    int code = fl_grpc_session_reason(link->session, &err);
    if (link->tls != NULL && fl_tls_shutdown(link->tls) < 0)
        code = -ECONNRESET; /* it goes all the same */
    enum fl_grpc_refusal why = refusal_of(link, code);
    fail(link, why == FL_GRPC_REFUSAL_NONE ? link->farewell : why, &err);
}

static void flush(struct fl_hook *hook)
{
    struct fl_grpc_link *link = FL_CONTAINER_OF(hook, struct fl_grpc_link, flush);
    struct fl_err err;
    bool more = can_talk(link);
    while (more && waiting(link) < OUTPUT_HIGH) {
        int result = pull(link, &more, &err);
        if (link->closed)
            return;
        if (result < 0) {
            fail(link, refusal_of(link, result), &err);
            return;
        }
    }
    fl_buf_done(&link->plain);
    fl_buf_init(&link->plain, PLAIN_MAX);
    if (!link->connecting)
        send_waiting(link);
    if (more && waiting(link) < OUTPUT_HIGH)
        fl_hook_arm(link->loop, &link->flush); /* the socket took it: go on after the others */
    if (!more && waiting(link) == 0 && can_talk(link) && fl_grpc_session_is_over(link->session)) {
        finish(link);
        return;
    }
    set_interest(link);
    keep_time(link);
}

static void want_flush(void *owner)
{
    struct fl_grpc_link *link = owner;
    if (!link->closed)
        fl_hook_arm(link->loop, &link->flush);
}

/* Input. */

static int feed_session(void *owner, struct fl_span bytes)
{
    struct fl_grpc_link *link = owner;
    if (link->closed)
        return -ECANCELED;
    int result = fl_grpc_session_feed(link->session, bytes, &link->fault);
    return link->closed ? -ECANCELED : result;
}

static int on_opened(void *owner)
{
    struct fl_grpc_link *link = owner;
    if (fl_span_eq_str(fl_tls_alpn(link->tls), "h2"))
        return 0;
    return fl_err_set(&link->fault, -EPROTO, "TLS: the peer does not speak h2 (ALPN)");
}

static void refuse_bytes(struct fl_grpc_link *link, int code)
{
    if (link->fault.code == 0 && link->tls != NULL)
        fl_err_set(&link->fault, code, "TLS: %s", fl_tls_error(link->tls));
    else if (link->fault.code == 0)
        fl_err_errno(&link->fault, code, "input");
    bool shaking = link->tls != NULL && !link->ready;
    fail(link, shaking ? FL_GRPC_REFUSAL_HANDSHAKE : refusal_of(link, code), &link->fault);
}

static void take_bytes(struct fl_grpc_link *link, struct fl_span bytes)
{
    link->heard_ms = fl_loop_now_ms(link->loop);
    link->ping_ms = 0;
    int result = link->tls != NULL ? fl_tls_feed(link->tls, bytes) : feed_session(link, bytes);
    if (result < 0 && !link->closed)
        refuse_bytes(link, result);
}

static void lose(struct fl_grpc_link *link, int error)
{
    struct fl_err err;
    enum fl_grpc_refusal why = link->ready ? FL_GRPC_REFUSAL_NONE : FL_GRPC_REFUSAL_HANDSHAKE;
    if (error == 0)
        fl_err_set(&err, -ECONNRESET, "the peer closed the connection");
    else
        fl_err_errno(&err, -error, "connection");
    fail(link, why, &err);
}

static void read_socket(struct fl_grpc_link *link)
{
    char scratch[READ_SIZE];
    for (unsigned i = 0; i < READS_A_TURN && !link->closed; i++) {
        ssize_t count = recv(link->fd, scratch, sizeof(scratch), MSG_DONTWAIT);
        if (count > 0)
            take_bytes(link, fl_span_make(scratch, (size_t)count));
        else if (count < 0 && (errno == EAGAIN || errno == EINTR))
            break;
        else
            lose(link, count < 0 ? errno : 0);
        if (count < (ssize_t)sizeof(scratch))
            break;
    }
}

static void start_tls(struct fl_grpc_link *link)
{
    int result = link->tls != NULL ? fl_tls_start(link->tls) : 0;
    if (result < 0)
        refuse_bytes(link, result);
}

static void end_connect(struct fl_grpc_link *link)
{
    int error = 0;
    socklen_t size = sizeof(error);
    if (getsockopt(link->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
        error = errno;
    if (error != 0) {
        lose(link, error);
        return;
    }
    link->connecting = false;
    start_tls(link);
}

static void on_event(struct fl_source *source, uint32_t events)
{
    struct fl_grpc_link *link = FL_CONTAINER_OF(source, struct fl_grpc_link, source);
    if (link->connecting)
        end_connect(link);
    else if ((events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0)
        read_socket(link);
    want_flush(link);
}

/* Birth. */

static void ready(void *owner)
{
    struct fl_grpc_link *link = owner;
    link->ready = true;
    link->idle_ms = fl_loop_now_ms(link->loop);
    link->ops->on_ready(link->owner);
}

static void on_request(void *owner, struct fl_grpc_exchange *exchange)
{
    struct fl_grpc_link *link = owner;
    link->ops->on_request(link->owner, exchange);
}

static int open_tls(struct fl_grpc_link *link)
{
    const struct fl_tls_sinks sinks = {
        .send = queue_bytes, .receive = feed_session, .opened = on_opened, .owner = link};
    return link->options.tls != NULL ? fl_tls_new(link->options.tls, &sinks, &link->tls) : 0;
}

static int open_link(struct fl_grpc_link *link)
{
    static const struct fl_grpc_session_ops ops = {
        .now_ms = now_ms, .on_output = want_flush, .on_ready = ready, .on_request = on_request};
    int result = fl_grpc_session_new(&link->options.session, &ops, link, &link->ops->exchange, &link->session);
    if (result == 0)
        result = open_tls(link);
    if (result == 0 && link->tls != NULL && link->options.session.server)
        result = fl_tls_start(link->tls); /* says nothing yet */
    if (result == 0)
        result = fl_source_add(link->loop, &link->source, link->fd, link->interest, on_event);
    return result;
}

int fl_grpc_link_new(struct fl_loop *loop, int fd, const struct fl_grpc_link_options *options,
                     const struct fl_grpc_link_ops *ops, void *owner, struct fl_grpc_link **ret_link)
{
    struct fl_grpc_link *link = calloc(1, sizeof(*link));
    if (link == NULL)
        return -ENOMEM;
    link->loop = loop;
    link->fd = fd;
    link->ops = ops;
    link->owner = owner;
    link->options = *options;
    link->connecting = options->connecting;
    link->interest = EPOLLIN | (options->connecting ? EPOLLOUT : 0);
    link->born_ms = link->heard_ms = link->idle_ms = fl_loop_now_ms(loop);
    link->flush.run = flush;
    fl_buf_init(&link->out, OUTPUT_MAX);
    fl_buf_init(&link->plain, PLAIN_MAX);
    int result = open_link(link);
    if (result < 0) {
        release(&link->deferred);
        return result;
    }
    link->options.tls = NULL; /* the session holds it */
    fl_hook_arm(loop, &link->flush);
    *ret_link = link;
    return 0;
}

struct fl_grpc_session *fl_grpc_link_session(const struct fl_grpc_link *link)
{
    return link->session;
}

bool fl_grpc_link_is_ready(const struct fl_grpc_link *link)
{
    return link->ready && !link->closed;
}

bool fl_grpc_link_is_secure(const struct fl_grpc_link *link)
{
    return link->tls != NULL;
}

struct fl_span fl_grpc_link_identity(const struct fl_grpc_link *link)
{
    return link->tls != NULL ? fl_tls_peer_identity(link->tls) : (struct fl_span){NULL, 0};
}

bool fl_grpc_link_validity(const struct fl_grpc_link *link, int64_t *ret_not_before, int64_t *ret_not_after)
{
    return link->tls != NULL && fl_tls_peer_validity(link->tls, ret_not_before, ret_not_after);
}
