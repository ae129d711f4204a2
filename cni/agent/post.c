#include "cni/agent/post.h"

#include "cni/agent/answer.h"
#include "common/base/backoff.h"
#include "common/base/buf.h"
#include "common/base/file.h"
#include "common/loop/timer.h"
#include "common/pki/bundle.h"
#include "common/tls/session.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <stdio.h>
#include <sys/socket.h>

#define SERVER_NAME     "kubernetes.default.svc"
#define TLS_12          0x0303 /* of old API servers */
#define TOKEN_MAX       (16u << 10)
#define CA_MAX          (256u << 10)
#define OUTPUT_MAX      (64u << 10) /* a request in TLS records */
#define READ_SIZE       4096
#define TRIES_MAX       4 /* of one request that was put to the server */
#define BACKOFF_BASE_MS 1000
#define BACKOFF_MAX_MS  60000
#define TROUBLE_MS      60000 /* between two words about it */
#define MS              UINT64_C(1000)

enum state {
    RESTING, /* no connection, no timer */
    WAITING, /* for the time of the next attempt */
    CONNECTING,
    GREETING, /* TLS's handshake */
    ASKING,   /* the first of the queue is put to the server */
};

struct item {
    struct item *next;
    uint64_t queued_ms;
    unsigned tries;
    struct fl_span body; /* in `text`, behind the path and its NUL */
    char text[];
};

union address {
    struct sockaddr any;
    struct sockaddr_in ipv4;
    struct sockaddr_in6 ipv6;
};

struct cni_post {
    struct fl_loop *loop;
    const struct cni_post_access *access;
    const struct cni_post_ops *ops;
    void *owner;
    union address address;
    enum state state;
    struct item *first, **end;
    size_t count;
    struct fl_backoff backoff;
    uint64_t trouble_ms; /* 0: none was told */
    struct fl_timer timer;
    /* Of a connection. */
    struct fl_source source;
    struct fl_tls_context *context;
    struct fl_tls *tls;
    struct fl_buf token, out, in;
    size_t out_at;
};

static void begin(struct cni_post *post);
static void on_time(struct fl_timer *timer);

/* The queue. */

static struct item *item_new(struct cni_post *post, const char *path, struct fl_span body)
{
    size_t path_size = strlen(path) + 1;
    struct item *item = malloc(sizeof(*item) + path_size + body.len);
    if (item == NULL)
        return NULL;
    *item = (struct item){.queued_ms = fl_loop_now_ms(post->loop)};
    memcpy(item->text, path, path_size);
    memcpy(item->text + path_size, body.data, body.len);
    item->body = fl_span_make(item->text + path_size, body.len);
    return item;
}

static void drop_first(struct cni_post *post)
{
    struct item *item = post->first;
    post->first = item->next;
    if (post->first == NULL)
        post->end = &post->first;
    post->count--;
    free(item);
}

static void settle_first(struct cni_post *post, enum cni_post_result result, const char *reason)
{
    drop_first(post);
    post->ops->done(post->owner, result, reason);
}

static void drop_stale(struct cni_post *post)
{
    uint64_t now = fl_loop_now_ms(post->loop);
    while (post->first != NULL && now - post->first->queued_ms > CNI_POST_PATIENCE_MS)
        settle_first(post, CNI_POST_FAILED, "the API server was away for too long");
}

/* The connection. */

static void hang_up(struct cni_post *post)
{
    int fd = post->source.fd;
    bool open = post->source.loop != NULL;
    fl_source_remove(&post->source);
    if (open)
        close(fd);
    fl_timer_cancel(&post->timer);
    post->tls = fl_tls_free(post->tls);
    post->context = fl_tls_context_unref(post->context);
    fl_buf_wipe(&post->token);
    fl_buf_wipe(&post->out);
    fl_buf_done(&post->in);
    fl_buf_init(&post->token, TOKEN_MAX);
    fl_buf_init(&post->out, OUTPUT_MAX);
    fl_buf_init(&post->in, CNI_ANSWER_BYTES_MAX);
    post->out_at = 0;
    post->state = RESTING;
}

static void rest(struct cni_post *post)
{
    hang_up(post);
    malloc_trim(0); /* TLS is the largest thing this process ever holds */
}

static void wait_for_turn(struct cni_post *post, unsigned retry_after_s)
{
    uint64_t delay = fl_backoff_next(&post->backoff);
    if (retry_after_s * MS > delay)
        delay = retry_after_s * MS;
    hang_up(post);
    if (post->first == NULL) {
        rest(post);
        return;
    }
    post->state = WAITING;
    fl_timer_set(post->loop, &post->timer, delay, on_time);
}

static void tell_trouble(struct cni_post *post, const char *reason)
{
    uint64_t now = fl_loop_now_ms(post->loop);
    if (post->trouble_ms != 0 && now - post->trouble_ms < TROUBLE_MS)
        return;
    post->trouble_ms = now != 0 ? now : 1;
    post->ops->trouble(post->owner, reason);
}

static void fail(struct cni_post *post, const char *reason)
{
    tell_trouble(post, reason);
    if (post->state == ASKING && ++post->first->tries >= TRIES_MAX)
        settle_first(post, CNI_POST_FAILED, reason);
    wait_for_turn(post, 0);
}

static void fail_errno(struct cni_post *post, int code, const char *what)
{
    struct fl_err err = {0};
    fl_err_errno(&err, code, "%s", what);
    fail(post, err.text);
}

static void flush(struct cni_post *post)
{
    while (post->out_at < post->out.len) {
        ssize_t count = send(post->source.fd, post->out.data + post->out_at, post->out.len - post->out_at,
                             MSG_NOSIGNAL | MSG_DONTWAIT);
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            break; /* full, or broken: then reading tells it */
        post->out_at += (size_t)count;
    }
    if (post->out_at == post->out.len) {
        fl_buf_clear(&post->out);
        post->out_at = 0;
    }
    int result = fl_source_modify(&post->source, EPOLLIN | (post->out.len > 0 ? EPOLLOUT : 0u));
    if (result < 0)
        fail_errno(post, result, "epoll");
}

/* One request. */

static int print_request(const struct cni_post *post, struct fl_buf *out)
{
    const struct item *item = post->first;
    int result = fl_buf_reserve(out, item->body.len + post->token.len + strlen(item->text) + 512); /* moves no secret */
    if (result == 0)
        result = fl_buf_printf(out,
                               "POST %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: fairlead-agent/" FL_VERSION
                               "\r\nAuthorization: Bearer %.*s\r\nContent-Type: application/json\r\nAccept: "
                               "application/json\r\nContent-Length: %zu\r\n\r\n",
                               item->text, SERVER_NAME, FL_SPAN_ARG(fl_buf_span(&post->token)), item->body.len);
    return result == 0 ? fl_buf_append(out, item->body) : result;
}

static void ask(struct cni_post *post)
{
    struct fl_buf request;
    fl_buf_init(&request, OUTPUT_MAX / 2);
    fl_buf_clear(&post->in);
    post->state = ASKING;
    fl_timer_set(post->loop, &post->timer, CNI_POST_TIMEOUT_MS, on_time);
    int result = print_request(post, &request);
    if (result == 0)
        result = fl_tls_write(post->tls, fl_buf_span(&request));
    fl_buf_wipe(&request);
    if (result < 0)
        fail_errno(post, result, "request");
    else
        flush(post);
}

static void reason_of(const struct cni_answer *answer, struct fl_err *err)
{
    struct fl_span message = cni_answer_message(answer->body);
    fl_err_set(err, -EACCES, "the API server answered %u%s%.*s", answer->status, message.len > 0 ? ": " : "",
               FL_SPAN_ARG(message));
}

/* What is refused now may be granted later: a token that is being replaced, a server that has too much to do. */
static bool is_for_later(const struct cni_answer *answer)
{
    return answer->status == 401 || answer->status == 408 || answer->status == 429 || answer->status >= 500;
}

static void take_answer(struct cni_post *post, const struct cni_answer *answer)
{
    struct fl_err err = {0};
    bool good = answer->status <= 299 || answer->status == 409; /* 409: an earlier try did arrive */
    reason_of(answer, &err);
    if (!good && is_for_later(answer)) {
        unsigned retry_after_s = answer->retry_after_s;
        tell_trouble(post, err.text);
        if (++post->first->tries >= TRIES_MAX)
            settle_first(post, answer->status == 401 ? CNI_POST_REFUSED : CNI_POST_FAILED, err.text);
        wait_for_turn(post, retry_after_s);
        return;
    }
    bool reusable = answer->reusable;
    fl_backoff_reset(&post->backoff);
    settle_first(post, good ? CNI_POST_POSTED : CNI_POST_REFUSED, good ? "" : err.text);
    drop_stale(post);
    if (post->first != NULL && reusable) {
        ask(post);
        return;
    }
    hang_up(post);
    begin(post);
}

/* `over`: nothing will come behind what is here. */
static void look_for_answer(struct cni_post *post, bool over, const char *reason)
{
    struct cni_answer answer;
    enum cni_answer_outcome outcome =
        post->state == ASKING ? cni_answer_parse(fl_buf_span(&post->in), &answer) : CNI_ANSWER_PARTIAL;
    if (outcome == CNI_ANSWER_COMPLETE || (outcome == CNI_ANSWER_HEAD && over)) {
        answer.reusable = answer.reusable && !over;
        take_answer(post, &answer);
    } else if (outcome == CNI_ANSWER_BAD) {
        fail(post, "the API server's answer is not HTTP/1.1");
    } else if (over) {
        fail(post, reason);
    }
}

static void on_time(struct fl_timer *timer)
{
    struct cni_post *post = FL_CONTAINER_OF(timer, struct cni_post, timer);
    if (post->state == WAITING)
        begin(post);
    else if (post->state == ASKING)
        look_for_answer(post, true, "the API server did not answer in time");
    else
        fail(post, "the API server could not be reached in time");
}

/* TLS. */

static int queue_ciphertext(void *owner, struct fl_span bytes)
{
    struct cni_post *post = owner;
    return fl_buf_append(&post->out, bytes);
}

static int take_plaintext(void *owner, struct fl_span bytes)
{
    struct cni_post *post = owner;
    size_t room = post->in.max - post->in.len;
    if (post->state != ASKING || room == 0)
        return -EMSGSIZE;
    return fl_buf_append(&post->in, fl_span_make(bytes.data, bytes.len < room ? bytes.len : room));
}

static void read_on(struct cni_post *post)
{
    char bytes[READ_SIZE];
    ssize_t count = recv(post->source.fd, bytes, sizeof(bytes), MSG_DONTWAIT);
    if (count < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (count < 0) {
        fail_errno(post, -errno, "the API server");
        return;
    }
    if (count == 0) {
        look_for_answer(post, true, "the API server closed the connection");
        return;
    }
    int result = fl_tls_feed(post->tls, fl_span_make(bytes, (size_t)count));
    if (result < 0) {
        struct fl_err err = {0};
        fl_err_set(&err, result, "the API server: %s",
                   fl_tls_error(post->tls)[0] != '\0' ? fl_tls_error(post->tls) : strerror(-result));
        look_for_answer(post, true, err.text);
        return;
    }
    if (post->state == GREETING && fl_tls_state(post->tls) == FL_TLS_OPEN) {
        ask(post);
        return;
    }
    flush(post);
    if (post->state == ASKING)
        look_for_answer(post, fl_tls_state(post->tls) != FL_TLS_OPEN, "the API server closed the connection");
}

static int start_tls(struct cni_post *post)
{
    const struct fl_tls_sinks sinks = {.send = queue_ciphertext, .receive = take_plaintext, .owner = post};
    int result = fl_tls_new(post->context, &sinks, &post->tls);
    return result == 0 ? fl_tls_start(post->tls) : result;
}

static void on_connected(struct cni_post *post)
{
    int error = 0;
    socklen_t size = sizeof(error);
    if (getsockopt(post->source.fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
        error = errno;
    if (error != 0) {
        fail_errno(post, -error, "the API server");
        return;
    }
    post->state = GREETING;
    int result = start_tls(post);
    if (result < 0)
        fail_errno(post, result, "TLS");
    else
        flush(post);
}

static void on_socket(struct fl_source *source, uint32_t events)
{
    struct cni_post *post = FL_CONTAINER_OF(source, struct cni_post, source);
    if (post->state == CONNECTING)
        on_connected(post);
    else if ((events & ~(uint32_t)EPOLLOUT) != 0)
        read_on(post);
    else
        flush(post);
}

/* Credentials and connecting. */

static int read_file(const struct cni_post *post, const char *name, struct fl_buf *out, struct fl_err *err)
{
    char path[PATH_MAX];
    int result = fl_file_path(post->access->folder, name, path, err);
    if (result == 0)
        result = fl_buf_read_file(out, path);
    return result < 0 ? fl_err_errno(err, result, "%s/%s", post->access->folder, name) : 0;
}

/* It stands in a line of the request. */
static int read_token(struct cni_post *post, struct fl_err *err)
{
    struct fl_buf *token = &post->token;
    int result = fl_buf_reserve(token, TOKEN_MAX - 1); /* growing would leave copies */
    if (result == 0)
        result = read_file(post, "token", token, err);
    while (token->len > 0 && (unsigned char)token->data[token->len - 1] <= ' ')
        token->len--;
    if (result == 0 && token->len == 0)
        return fl_err_set(err, -EINVAL, "%s/token is empty", post->access->folder);
    for (size_t i = 0; result == 0 && i < token->len; i++) {
        if (token->data[i] <= ' ' || token->data[i] > '~')
            return fl_err_set(err, -EINVAL, "%s/token is no token", post->access->folder);
    }
    return result;
}

static int make_context(struct cni_post *post, struct fl_err *err)
{
    FL_CLEANUP(fl_buf_done) struct fl_buf pem;
    FL_CLEANUP(fl_cleanup_bundle) struct fl_bundle *bundle = NULL;
    fl_buf_init(&pem, CA_MAX);
    int result = read_file(post, "ca.crt", &pem, err);
    if (result == 0)
        result = fl_bundle_parse(fl_buf_span(&pem), &bundle, err);
    if (result < 0)
        return result;
    const struct fl_tls_name_match name = {FL_TLS_NAME_DNS, FL_TLS_MATCH_EXACT, FL_SPAN(SERVER_NAME)};
    const struct fl_tls_options options = {.bundle = bundle,
                                           .names = &name,
                                           .name_count = 1,
                                           .server_name = FL_SPAN(SERVER_NAME),
                                           .minimum_version = TLS_12};
    return fl_tls_context_new(&options, &post->context, err);
}

static int dial(struct cni_post *post, struct fl_err *err)
{
    socklen_t size = post->address.any.sa_family == AF_INET6 ? sizeof(post->address.ipv6) : sizeof(post->address.ipv4);
    FL_CLEANUP(fl_cleanup_close)
    int fd = socket(post->address.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || (connect(fd, &post->address.any, size) < 0 && errno != EINPROGRESS))
        return fl_err_errno(err, -errno, "the API server");
    int result = fl_source_add(post->loop, &post->source, fd, EPOLLOUT, on_socket);
    if (result < 0)
        return fl_err_errno(err, result, "the API server");
    (void)fl_take_fd(fd);
    return 0;
}

static void begin(struct cni_post *post)
{
    struct fl_err err = {0};
    drop_stale(post);
    if (post->first == NULL) {
        rest(post);
        return;
    }
    int result = read_token(post, &err);
    if (result == 0)
        result = make_context(post, &err);
    if (result == 0)
        result = dial(post, &err);
    post->state = CONNECTING;
    if (result < 0)
        fail(post, err.text);
    else
        fl_timer_set(post->loop, &post->timer, CNI_POST_TIMEOUT_MS, on_time);
}

/* Life. */

static int parse_address(const struct cni_post_access *access, union address *address, struct fl_err *err)
{
    struct fl_span host = fl_span_str(access->host);
    char text[INET6_ADDRSTRLEN];
    uint64_t port;
    if (access->host == NULL || access->port == NULL || host.len == 0)
        return fl_err_set(err, -ENOENT, "KUBERNETES_SERVICE_HOST and _PORT are not set: this is no pod of a cluster");
    if (!fl_span_to_u64(fl_span_str(access->port), UINT16_MAX, &port) || port == 0)
        return fl_err_set(err, -EINVAL, "KUBERNETES_SERVICE_PORT: expected a port, got \"%s\"", access->port);
    if (host.len > 2 && host.data[0] == '[' && host.data[host.len - 1] == ']')
        host = fl_span_make(host.data + 1, host.len - 2);
    memset(address, 0, sizeof(*address));
    if (host.len < sizeof(text)) {
        memcpy(text, host.data, host.len);
        text[host.len] = '\0';
        if (inet_pton(AF_INET, text, &address->ipv4.sin_addr) == 1)
            address->any.sa_family = AF_INET;
        else if (inet_pton(AF_INET6, text, &address->ipv6.sin6_addr) == 1)
            address->any.sa_family = AF_INET6;
    }
    address->ipv4.sin_port = htons((uint16_t)port); /* the same place in both */
    if (address->any.sa_family == 0)
        return fl_err_set(err, -EINVAL, "KUBERNETES_SERVICE_HOST: expected an IP address, got \"%s\"", access->host);
    return 0;
}

int cni_post_new(struct fl_loop *loop, const struct cni_post_access *access, const struct cni_post_ops *ops,
                 void *owner, struct cni_post **ret_post, struct fl_err *err)
{
    struct cni_post *post = calloc(1, sizeof(*post));
    if (post == NULL)
        return fl_err_set(err, -ENOMEM, "out of memory");
    post->loop = loop;
    post->access = access;
    post->ops = ops;
    post->owner = owner;
    post->end = &post->first;
    fl_backoff_init(&post->backoff, BACKOFF_BASE_MS, BACKOFF_MAX_MS);
    hang_up(post);
    int result = parse_address(access, &post->address, err);
    if (result == 0)
        result = read_token(post, err);
    hang_up(post);
    if (result < 0)
        free(post);
    else
        *ret_post = post;
    return result;
}

struct cni_post *cni_post_free(struct cni_post *post)
{
    if (post == NULL)
        return NULL;
    hang_up(post);
    while (post->first != NULL)
        drop_first(post);
    free(post);
    return NULL;
}

void cni_post_send(struct cni_post *post, const char *path, struct fl_span body)
{
    struct item *item = post->count < CNI_POST_QUEUE_MAX ? item_new(post, path, body) : NULL;
    if (item == NULL) {
        post->ops->done(post->owner, CNI_POST_DROPPED, "too many wait for the API server");
        return;
    }
    *post->end = item;
    post->end = &item->next;
    post->count++;
    if (post->state == RESTING)
        begin(post);
}
