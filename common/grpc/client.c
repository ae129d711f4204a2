#include "common/grpc/client.h"

#include "common/grpc/link.h"
#include "common/tls/context.h"

#include <assert.h>
#include <errno.h>
#include <netinet/tcp.h>

#define CONNECT_TIMEOUT_MS   5000
#define MESSAGE_MAX          (4u << 20)
#define QUEUE_MAX            (1u << 20)
#define KEEPALIVE_TIMEOUT_MS 20000

struct fl_grpc_client {
    struct fl_loop *loop;
    struct fl_timer step; /* tries the next address, from the loop */
    struct fl_deferred deferred;
    const struct fl_grpc_client_ops *ops;
    void *owner;
    struct fl_grpc_address addresses[FL_GRPC_ADDRESSES_MAX];
    size_t address_count;
    size_t at; /* which is being tried, or is connected */
    struct fl_grpc_address peer;
    struct fl_grpc_address source; /* family 0: none */
    struct fl_tls_context *tls;
    char *authority;
    struct fl_grpc_client_options options; /* limits and times; its pointers are not used */
    struct fl_grpc_link *link;
    enum fl_grpc_client_state state;
    bool freed;
};

struct fl_grpc_call {
    struct fl_grpc_client *client;
    struct fl_grpc_exchange *exchange;
    const struct fl_grpc_call_ops *ops;
    void *owner;
    void (*release)(void *owner); /* NULL, or: the owner goes with the call (unary) */
    struct fl_timer timer;
};

/* Calls. */

static void forget_call(struct fl_grpc_call *call)
{
    fl_timer_cancel(&call->timer);
    if (call->release != NULL)
        call->release(call->owner);
    free(call);
}

static void on_message(void *user, struct fl_span message)
{
    struct fl_grpc_call *call = user;
    if (call->ops->on_message != NULL)
        call->ops->on_message(call->owner, message);
}

static void on_writable(void *user)
{
    struct fl_grpc_call *call = user;
    if (call->ops->on_writable != NULL)
        call->ops->on_writable(call->owner);
}

static void on_end(void *user, enum fl_grpc_status status, struct fl_span text)
{
    struct fl_grpc_call *call = user;
    bool silent = call->client->freed;
    call->exchange = NULL;
    if (!silent && call->ops->on_end != NULL)
        call->ops->on_end(call->owner, status, text);
    forget_call(call);
}

static void on_timeout(struct fl_timer *timer)
{
    struct fl_grpc_call *call = FL_CONTAINER_OF(timer, struct fl_grpc_call, timer);
    fl_grpc_exchange_cancel(fl_take(call->exchange));
    on_end(call, FL_GRPC_DEADLINE_EXCEEDED, FL_SPAN("no answer in time"));
}

static int open_call(struct fl_grpc_client *client, const struct fl_grpc_call_options *options,
                     struct fl_grpc_call *call)
{
    const struct fl_grpc_request request = {.path = options->path,
                                            .authority = fl_span_str(client->authority),
                                            .scheme = fl_grpc_link_is_secure(client->link) ? "https" : "http",
                                            .metadata = options->metadata,
                                            .metadata_count = options->metadata_count,
                                            .timeout_ms = options->timeout_ms};
    return fl_grpc_exchange_start(fl_grpc_link_session(client->link), &request, call, &call->exchange);
}

int fl_grpc_call_start(struct fl_grpc_client *client, const struct fl_grpc_call_options *options,
                       const struct fl_grpc_call_ops *ops, void *owner, struct fl_grpc_call **ret_call)
{
    if (client->link == NULL || !fl_grpc_link_is_ready(client->link))
        return -ENOTCONN;
    struct fl_grpc_call *call = calloc(1, sizeof(*call));
    if (call == NULL)
        return -ENOMEM;
    *call = (struct fl_grpc_call){.client = client, .ops = ops, .owner = owner};
    int result = open_call(client, options, call);
    if (result < 0) {
        free(call);
        return result;
    }
    if (options->timeout_ms > 0)
        fl_timer_set(client->loop, &call->timer, options->timeout_ms, on_timeout);
    *ret_call = call;
    return 0;
}

int fl_grpc_call_send(struct fl_grpc_call *call, struct fl_span message)
{
    return call->exchange != NULL ? fl_grpc_exchange_send(call->exchange, message) : -EPIPE;
}

void fl_grpc_call_finish(struct fl_grpc_call *call)
{
    if (call->exchange != NULL)
        fl_grpc_exchange_half_close(call->exchange);
}

void fl_grpc_call_cancel(struct fl_grpc_call *call)
{
    if (call == NULL || call->exchange == NULL)
        return; /* inside its on_end: it goes when that returns */
    fl_grpc_exchange_cancel(fl_take(call->exchange));
    forget_call(call);
}

size_t fl_grpc_call_queued(const struct fl_grpc_call *call)
{
    return call->exchange != NULL ? fl_grpc_exchange_queued(call->exchange) : 0;
}

/* Unary: a call whose owner is ours. */

struct unary {
    fl_grpc_reply_fn *on_reply;
    void *owner;
    struct fl_buf message;
    unsigned messages;
    int fault;
};

static void release_unary(void *owner)
{
    struct unary *unary = owner;
    fl_buf_done(&unary->message);
    free(unary);
}

static void keep_reply(void *owner, struct fl_span message)
{
    struct unary *unary = owner;
    if (unary->messages++ == 0)
        unary->fault = fl_buf_append(&unary->message, message);
}

static void end_unary(void *owner, enum fl_grpc_status status, struct fl_span text)
{
    struct unary *unary = owner;
    const struct fl_span none = {NULL, 0};
    if (status == FL_GRPC_OK && unary->messages != 1)
        unary->on_reply(unary->owner, FL_GRPC_INTERNAL, FL_SPAN("the server answered OK without one message"), none);
    else if (status == FL_GRPC_OK && unary->fault < 0)
        unary->on_reply(unary->owner, FL_GRPC_RESOURCE_EXHAUSTED, FL_SPAN("out of memory for the answer"), none);
    else
        unary->on_reply(unary->owner, status, text, status == FL_GRPC_OK ? fl_buf_span(&unary->message) : none);
}

static const struct fl_grpc_call_ops unary_ops = {.on_message = keep_reply, .on_end = end_unary};

int fl_grpc_call_unary(struct fl_grpc_client *client, const struct fl_grpc_call_options *options,
                       struct fl_span message, fl_grpc_reply_fn *on_reply, void *owner, struct fl_grpc_call **ret_call)
{
    struct unary *unary = calloc(1, sizeof(*unary));
    if (unary == NULL)
        return -ENOMEM;
    unary->on_reply = on_reply;
    unary->owner = owner;
    fl_buf_init(&unary->message, client->options.message_max);
    struct fl_grpc_call *call;
    int result = fl_grpc_call_start(client, options, &unary_ops, unary, &call);
    if (result < 0) {
        release_unary(unary);
        return result;
    }
    call->release = release_unary;
    result = fl_grpc_call_send(call, message);
    if (result < 0) {
        fl_grpc_call_cancel(call);
        return result;
    }
    fl_grpc_call_finish(call);
    *ret_call = call;
    return 0;
}

/* The connection. */

static void try_next(struct fl_timer *timer);

static void on_ready(void *owner)
{
    struct fl_grpc_client *client = owner;
    client->state = FL_GRPC_CLIENT_CONNECTED;
    if (client->ops->on_connected != NULL)
        client->ops->on_connected(client->owner);
}

static void become_idle(struct fl_grpc_client *client, const struct fl_err *reason)
{
    client->state = FL_GRPC_CLIENT_IDLE;
    if (client->ops->on_lost != NULL)
        client->ops->on_lost(client->owner, reason);
}

/* A connection that never came about makes way for the next address. */
static void go_on(struct fl_grpc_client *client, const struct fl_err *reason)
{
    if (client->state == FL_GRPC_CLIENT_CONNECTING && client->at + 1 < client->address_count) {
        client->at++;
        fl_timer_set(client->loop, &client->step, 0, try_next);
        return;
    }
    char address[FL_GRPC_ADDRESS_TEXT_MAX];
    struct fl_err err = *reason;
    fl_grpc_address_print(&client->peer, address);
    fl_err_prefix(&err, "%s", address);
    become_idle(client, &err);
}

static void on_over(void *owner, enum fl_grpc_refusal why, const struct fl_err *reason)
{
    struct fl_grpc_client *client = owner;
    (void)why;
    if (client->link == NULL)
        return; /* a call's on_end has closed the client */
    client->link = NULL;
    go_on(client, reason);
}

static const struct fl_grpc_link_ops link_ops = {
    .on_ready = on_ready,
    .on_over = on_over,
    .exchange = {.on_message = on_message, .on_writable = on_writable, .on_end = on_end},
};

static int bind_source(int fd, const struct fl_grpc_address *source)
{
    const int on = 1;
    (void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on)); /* of IPv6, too */
    if (bind(fd, &source->any, fl_grpc_address_size(source)) < 0 && errno != EADDRNOTAVAIL)
        return -errno;
    return 0;
}

static int open_socket(const struct fl_grpc_address *address, const struct fl_grpc_address *source, int *ret_fd)
{
    FL_CLEANUP(fl_cleanup_close)
    int fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    const int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* improves, does not decide */
    if (source->any.sa_family == address->any.sa_family) {
        int result = bind_source(fd, source);
        if (result < 0)
            return result;
    }
    if (connect(fd, &address->any, fl_grpc_address_size(address)) < 0 && errno != EINPROGRESS)
        return -errno;
    *ret_fd = fl_take_fd(fd);
    return 0;
}

static int open_link(struct fl_grpc_client *client)
{
    const struct fl_grpc_client_options *options = &client->options;
    const struct fl_grpc_link_options link_options = {
        .session = {.message_max = options->message_max,
                    .queue_max = options->queue_max,
                    .header_bytes = FL_GRPC_HEADER_BYTES_MAX,
                    .streams = FL_GRPC_CALLS_MAX,
                    .inbound_max = 2 * options->message_max + FL_GRPC_CALLS_MAX * (size_t)FL_GRPC_HEADER_BYTES_MAX},
        .tls = client->tls,
        .connecting = true,
        .handshake_timeout_ms = options->connect_timeout_ms,
        .keepalive_ms = options->keepalive_ms,
        .keepalive_timeout_ms = options->keepalive_timeout_ms,
    };
    FL_CLEANUP(fl_cleanup_close)
    int fd = -1;
    int result = open_socket(&client->peer, &client->source, &fd);
    if (result == 0)
        result = fl_grpc_link_new(client->loop, fd, &link_options, &link_ops, client, &client->link);
    if (result == 0)
        (void)fl_take_fd(fd); /* the link's */
    return result;
}

static void try_next(struct fl_timer *timer)
{
    struct fl_grpc_client *client = FL_CONTAINER_OF(timer, struct fl_grpc_client, step);
    client->peer = client->addresses[client->at];
    int result = open_link(client);
    if (result < 0) {
        struct fl_err err;
        fl_err_errno(&err, result, "connect");
        go_on(client, &err);
    }
}

int fl_grpc_client_connect(struct fl_grpc_client *client)
{
    if (client->state != FL_GRPC_CLIENT_IDLE)
        return -EALREADY;
    if (client->address_count == 0)
        return -EDESTADDRREQ;
    client->state = FL_GRPC_CLIENT_CONNECTING;
    client->at = 0;
    client->peer = client->addresses[0];
    fl_timer_set(client->loop, &client->step, 0, try_next);
    return 0;
}

void fl_grpc_client_close(struct fl_grpc_client *client)
{
    fl_timer_cancel(&client->step);
    fl_grpc_link_close(client->link, true);
    client->link = NULL;
    client->state = FL_GRPC_CLIENT_IDLE;
}

/* Birth, death, settings. */

static void release_client(struct fl_deferred *deferred)
{
    struct fl_grpc_client *client = FL_CONTAINER_OF(deferred, struct fl_grpc_client, deferred);
    fl_tls_context_unref(client->tls);
    free(client->authority);
    free(client);
}

struct fl_grpc_client *fl_grpc_client_free(struct fl_grpc_client *client)
{
    if (client != NULL && !client->freed) {
        client->freed = true;
        fl_grpc_client_close(client); /* calls end in silence */
        fl_loop_defer(client->loop, &client->deferred, release_client);
    }
    return NULL;
}

void fl_grpc_client_set_tls(struct fl_grpc_client *client, struct fl_tls_context *tls)
{
    struct fl_tls_context *before = client->tls;
    client->tls = fl_tls_context_ref(tls);
    fl_tls_context_unref(before);
}

int fl_grpc_client_set_addresses(struct fl_grpc_client *client, const struct fl_grpc_address *addresses, size_t count)
{
    if (count == 0 || count > FL_GRPC_ADDRESSES_MAX)
        return -EINVAL;
    memcpy(client->addresses, addresses, count * sizeof(addresses[0]));
    client->address_count = count;
    return 0;
}

enum fl_grpc_client_state fl_grpc_client_state(const struct fl_grpc_client *client)
{
    return client->state;
}

const struct fl_grpc_address *fl_grpc_client_peer(const struct fl_grpc_client *client)
{
    return client->state != FL_GRPC_CLIENT_IDLE ? &client->peer : NULL;
}

static void take_limits(struct fl_grpc_client *client, const struct fl_grpc_client_options *options)
{
    struct fl_grpc_client_options *limits = &client->options;
    limits->connect_timeout_ms = options->connect_timeout_ms > 0 ? options->connect_timeout_ms : CONNECT_TIMEOUT_MS;
    limits->message_max = options->message_max > 0 ? options->message_max : MESSAGE_MAX;
    limits->queue_max = options->queue_max > 0 ? options->queue_max : QUEUE_MAX;
    limits->keepalive_ms = options->keepalive_ms;
    limits->keepalive_timeout_ms =
        options->keepalive_timeout_ms > 0 ? options->keepalive_timeout_ms : KEEPALIVE_TIMEOUT_MS;
}

int fl_grpc_client_new(struct fl_loop *loop, const struct fl_grpc_client_options *options,
                       const struct fl_grpc_client_ops *ops, void *owner, struct fl_grpc_client **ret_client,
                       struct fl_err *err)
{
    if (options->authority.len == 0 || options->message_max > UINT32_MAX)
        return fl_err_set(err, -EINVAL, "gRPC client: no authority, or a message's maximum beyond 4 GiB");
    struct fl_grpc_client *client = calloc(1, sizeof(*client));
    if (client == NULL)
        return fl_err_errno(err, -ENOMEM, "gRPC client");
    client->loop = loop;
    client->ops = ops;
    client->owner = owner;
    client->tls = fl_tls_context_ref(options->tls);
    if (options->source != NULL)
        client->source = *options->source;
    client->authority = fl_span_dup(options->authority);
    take_limits(client, options);
    int result = client->authority != NULL ? 0 : -ENOMEM;
    if (result == 0 && options->address_count > 0)
        result = fl_grpc_client_set_addresses(client, options->addresses, options->address_count);
    if (result < 0) {
        release_client(&client->deferred);
        return fl_err_errno(err, result, "gRPC client: %s", result == -EINVAL ? "more than 16 addresses" : "set-up");
    }
    *ret_client = client;
    return 0;
}
