#include "proxy/admin/appget.h"

#include "common/mesh/port.h"
#include "common/tls/session.h"
#include "proxy/http/h1_body.h"
#include "proxy/telemetry/stats.h"

#include <errno.h>
#include <netinet/tcp.h>

#define READ_SIZE    16384
#define READS_A_TURN 4
#define IN_MAX       (PROXY_H1_HEAD_MAX + 3 * READ_SIZE) /* a head that is not whole, and what one read more brings */
#define OUT_MAX      (2u << 20)

enum state { CONNECT, HANDSHAKE, HEAD, BODY, OVER };

struct proxy_appget {
    struct proxy_appget_options options;
    struct fl_source source;
    struct fl_deferred deferred;
    enum state state;
    int fd;
    uint32_t interest;
    struct fl_tls *tls;
    struct fl_buf out; /* waits for the socket, from out_at on */
    size_t out_at;
    struct fl_buf request;
    struct fl_buf in; /* plaintext that was not looked at */
    struct proxy_h1_parser parser;
    struct proxy_h1_body body;
    size_t body_size;
    unsigned status;
    struct fl_buf location;
    bool encoded;
};

struct proxy_address proxy_appget_source(const struct proxy_address *to)
{
    struct proxy_address source = {0};
    struct fl_span text = to->any.sa_family == AF_INET ? FL_SPAN(FL_PASSTHROUGH_IPV4) : FL_SPAN(FL_PASSTHROUGH_IPV6);
    return proxy_address_parse(text, 0, &source) == 0 ? source : (struct proxy_address){0};
}

/* -- the end -- */

static void release(struct fl_deferred *deferred)
{
    struct proxy_appget *get = FL_CONTAINER_OF(deferred, struct proxy_appget, deferred);
    fl_tls_context_unref(get->options.tls);
    fl_tls_free(get->tls);
    fl_buf_done(&get->out);
    fl_buf_done(&get->request);
    fl_buf_done(&get->in);
    fl_buf_done(&get->location);
    free(get);
}

static void shut(struct proxy_appget *get)
{
    get->state = OVER;
    if (get->fd < 0)
        return;
    fl_source_remove(&get->source);
    close(get->fd);
    get->fd = -1;
}

struct proxy_appget *proxy_appget_free(struct proxy_appget *get)
{
    if (get == NULL)
        return NULL;
    shut(get);
    fl_loop_defer(get->options.loop, &get->deferred, release);
    return NULL;
}

static void finish(struct proxy_appget *get, enum proxy_appget_result result, const char *reason)
{
    if (get->state == OVER)
        return;
    const struct proxy_appget_outcome outcome = {
        .result = result,
        .reason = reason,
        .status = result == PROXY_APPGET_ANSWERED ? get->status : 0,
        .location = fl_buf_span(&get->location),
        .encoded = get->encoded,
    };
    shut(get);
    get->options.on_done(get->options.owner, &outcome);
}

static void finish_errno(struct proxy_appget *get, enum proxy_appget_result result, int code)
{
    if (code == -ENOMEM)
        finish(get, PROXY_APPGET_MEMORY, "out of memory");
    else
        finish(get, result, proxy_connect_text(-code));
}

/* -- the response -- */

/* A final head. False: it is over. */
static bool take_head(struct proxy_appget *get, const struct proxy_message *message)
{
    struct fl_span coding = proxy_headers_value(&message->headers, PROXY_HEADER_CONTENT_ENCODING);
    get->status = message->status;
    get->encoded = coding.len > 0 && !fl_span_eq_nocase(coding, FL_SPAN("identity"));
    int result = fl_buf_append(&get->location, proxy_headers_value(&message->headers, PROXY_HEADER_LOCATION));
    if (result == -ENOMEM) {
        finish(get, PROXY_APPGET_MEMORY, "out of memory");
        return false;
    }
    if (get->options.on_head != NULL)
        get->options.on_head(get->options.owner, proxy_headers_value(&message->headers, PROXY_HEADER_CONTENT_TYPE));
    proxy_h1_body_init(&get->body, message);
    get->state = BODY;
    return true;
}

/* False: more bytes are needed, or it is over. */
static bool read_head(struct proxy_appget *get)
{
    static const struct proxy_exchange exchange = {.method_id = PROXY_METHOD_GET, .minor = 1};
    struct proxy_message message;
    size_t size = 0;
    int result = proxy_h1_parse_response(&get->parser, fl_buf_span(&get->in), NULL, &exchange, &message, &size);
    if (result == PROXY_H1_MORE)
        return false;
    if (result != PROXY_H1_DONE) {
        finish(get, PROXY_APPGET_PROTOCOL, "the app's answer is no HTTP/1.x");
        return false;
    }
    bool go_on = proxy_message_is_interim(&message) || take_head(get, &message);
    fl_buf_consume(&get->in, size);
    return go_on;
}

/* False: it is over. */
static bool take_data(struct proxy_appget *get, struct fl_span data)
{
    size_t room = get->options.body_max - get->body_size;
    bool more = data.len > room;
    if (more && get->options.whole) {
        finish(get, PROXY_APPGET_TOO_LARGE, "the app's answer is too large");
        return false;
    }
    if (more)
        data.len = room;
    get->body_size += data.len;
    if (get->options.on_data != NULL && data.len > 0 && get->options.on_data(get->options.owner, data) != 0) {
        finish(get, PROXY_APPGET_MEMORY, "out of memory");
        return false;
    }
    if (more)
        finish(get, PROXY_APPGET_ANSWERED, "");
    return !more;
}

static void read_body(struct proxy_appget *get)
{
    struct fl_span bytes = fl_buf_span(&get->in), data;
    int result;
    while ((result = proxy_h1_body_decode(&get->body, &bytes, NULL, &data)) == PROXY_H1_DATA) {
        if (!take_data(get, data))
            return;
    }
    if (result == PROXY_H1_DONE)
        finish(get, PROXY_APPGET_ANSWERED, "");
    else if (result < 0)
        finish(get, PROXY_APPGET_PROTOCOL, "the app's answer is no HTTP/1.x");
    else
        fl_buf_consume(&get->in, get->in.len - bytes.len);
}

static void look(struct proxy_appget *get)
{
    while (get->state == HEAD && read_head(get))
        ;
    if (get->state == BODY)
        read_body(get);
}

static void take_eof(struct proxy_appget *get)
{
    if (get->state == BODY && proxy_h1_body_eof(&get->body) == PROXY_H1_DONE)
        finish(get, PROXY_APPGET_ANSWERED, "");
    else if (get->state == HANDSHAKE)
        finish(get, PROXY_APPGET_TLS, "the app closed the connection in the TLS handshake");
    else
        finish(get, PROXY_APPGET_CLOSED, "the app closed the connection before its answer was whole");
}

/* -- TLS -- */

static int tls_send(void *owner, struct fl_span ciphertext)
{
    return fl_buf_append(&((struct proxy_appget *)owner)->out, ciphertext);
}

static int tls_receive(void *owner, struct fl_span plaintext)
{
    return fl_buf_append(&((struct proxy_appget *)owner)->in, plaintext);
}

static int tls_opened(void *owner)
{
    struct proxy_appget *get = owner;
    get->state = HEAD;
    return fl_tls_write(get->tls, fl_buf_span(&get->request));
}

static void tls_failed(struct proxy_appget *get, int code)
{
    if (code == -ENOMEM)
        finish(get, PROXY_APPGET_MEMORY, "out of memory");
    else if (get->state != HANDSHAKE)
        finish(get, PROXY_APPGET_PROTOCOL, "TLS failed");
    else if (fl_tls_reason(get->tls) == FL_TLS_REASON_PLAINTEXT)
        finish(get, PROXY_APPGET_PLAINTEXT, "the app speaks no TLS on this port");
    else
        finish(get, PROXY_APPGET_TLS, "the TLS handshake with the app failed");
}

/* -- the socket -- */

static void want(struct proxy_appget *get)
{
    uint32_t events = get->state == CONNECT ? EPOLLOUT : EPOLLIN | (get->out_at < get->out.len ? EPOLLOUT : 0u);
    if (get->state == OVER || events == get->interest)
        return;
    get->interest = events;
    int result = fl_source_modify(&get->source, events);
    if (result < 0)
        finish_errno(get, PROXY_APPGET_MEMORY, result);
}

static void flush(struct proxy_appget *get)
{
    while (get->state != OVER && get->out_at < get->out.len) {
        ssize_t sent = send(get->fd, get->out.data + get->out_at, get->out.len - get->out_at, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        /* What cannot be sent is seen in reading, too, and there may be an answer to be read before that. */
        if (sent < 0)
            return;
        get->out_at += (size_t)sent;
    }
}

static void begin(struct proxy_appget *get)
{
    if (get->options.request.len == 0 && get->options.tls == NULL) {
        finish(get, PROXY_APPGET_ANSWERED, "");
        return;
    }
    get->state = get->tls != NULL ? HANDSHAKE : HEAD;
    int result = get->tls != NULL ? fl_tls_start(get->tls) : fl_buf_append(&get->out, fl_buf_span(&get->request));
    if (result < 0)
        finish(get, PROXY_APPGET_MEMORY, "out of memory");
}

static void on_connected(struct proxy_appget *get)
{
    int error = 0;
    socklen_t size = sizeof(error);
    if (getsockopt(get->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
        error = errno;
    if (error != 0)
        finish_errno(get, PROXY_APPGET_CONNECT, -error);
    else
        begin(get);
}

static void feed(struct proxy_appget *get, struct fl_span bytes)
{
    int result = get->tls != NULL ? fl_tls_feed(get->tls, bytes) : fl_buf_append(&get->in, bytes);
    if (get->in.len > 0)
        look(get); /* also what came before a failure */
    if (result == 0 || get->state == OVER)
        return;
    if (get->tls != NULL)
        tls_failed(get, result);
    else
        finish(get, result == -ENOMEM ? PROXY_APPGET_MEMORY : PROXY_APPGET_PROTOCOL, "out of memory");
}

static void receive(struct proxy_appget *get)
{
    char scratch[READ_SIZE];
    for (int i = 0; i < READS_A_TURN && get->state != OVER; i++) {
        ssize_t got = recv(get->fd, scratch, sizeof(scratch), 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && errno == EAGAIN)
            return;
        if (got <= 0) {
            take_eof(get);
            return;
        }
        feed(get, fl_span_make(scratch, (size_t)got));
    }
}

static void on_event(struct fl_source *source, uint32_t events)
{
    struct proxy_appget *get = FL_CONTAINER_OF(source, struct proxy_appget, source);
    if (get->state == CONNECT) {
        on_connected(get);
    } else if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR | EPOLLRDHUP)) != 0) {
        receive(get);
    }
    flush(get);
    want(get);
}

/* Where the pass-through address is not on this host (no capture for that family) the kernel chooses. */
static int dial(const struct proxy_address *to, int *ret_fd)
{
    const int on = 1;
    struct proxy_address source = proxy_appget_source(to);
    FL_CLEANUP(fl_cleanup_close)
    int fd = socket(to->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    (void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on)); /* of IPv6, too */
    if (bind(fd, &source.any, proxy_address_size(&source)) < 0 && errno != EADDRNOTAVAIL)
        return -errno;
    if (connect(fd, &to->any, proxy_address_size(to)) < 0 && errno != EINPROGRESS)
        return -errno;
    *ret_fd = fl_take_fd(fd);
    return 0;
}

static int open_all(struct proxy_appget *get)
{
    const struct proxy_appget_options *options = &get->options;
    const struct fl_tls_sinks sinks = {.send = tls_send, .receive = tls_receive, .opened = tls_opened, .owner = get};
    int result = fl_buf_append(&get->request, options->request);
    if (result == 0 && options->tls != NULL)
        result = fl_tls_new(options->tls, &sinks, &get->tls);
    if (result == 0)
        result = dial(&options->to, &get->fd);
    if (result < 0)
        return result;
    get->interest = EPOLLOUT;
    result = fl_source_add(options->loop, &get->source, get->fd, EPOLLOUT, on_event);
    if (result < 0) {
        close(get->fd);
        get->fd = -1;
    }
    return result;
}

int proxy_appget_new(const struct proxy_appget_options *options, struct proxy_appget **ret_get)
{
    struct proxy_appget *get = calloc(1, sizeof(*get));
    if (get == NULL)
        return -ENOMEM;
    get->options = *options;
    get->options.tls = fl_tls_context_ref(options->tls);
    get->fd = -1;
    fl_buf_init(&get->out, OUT_MAX);
    fl_buf_init(&get->request, OUT_MAX);
    fl_buf_init(&get->in, IN_MAX);
    fl_buf_init(&get->location, PROXY_APPGET_LOCATION_MAX);
    int result = open_all(get);
    if (result < 0)
        release(&get->deferred);
    else
        *ret_get = get;
    return result;
}
