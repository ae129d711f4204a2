#include "common/http/server.h"

#include "common/http/certificate.h"
#include "common/http/inner.h"
#include "common/http/listener.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>

/* libmicrohttpd's "external epoll": its epoll fd is one source of our loop, and MHD_run handles what is ready. It does
 * not listen: acceptor.c hands it connections. Twice it wants to be run again although that fd stays silent: where it
 * kept input back (MHD_get_timeout says 0), and where we kept the input of a handshake back. The hook does that.
 *
 * In a TLS handshake that waits for its client it says 0 too, for as long as that lasts (0.9.75), and would have us
 * turn for nothing. So bytes that pass GnuTLS are counted (connection.c): after a few runs that moved none, the
 * next event is waited for, with a slow retry beside it.
 */

#define POOL_SIZE     32768 /* a connection's memory in libmicrohttpd: head and read buffer */
#define FRUITLESS_MAX 8     /* a record that GnuTLS holds is taken over in two or three runs */
#define RETRY_MS      50
#define TLS_PRIORITIES                                                                                                 \
    "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:-GROUP-ALL:+GROUP-X25519:+GROUP-SECP256R1:+GROUP-SECP384R1:"           \
    "%SERVER_PRECEDENCE"

static void run(struct fl_http_server *server);

static void on_due(struct fl_timer *timer)
{
    struct fl_http_server *server = FL_CONTAINER_OF(timer, struct fl_http_server, timer);
    fl_http_connections_check(server);
    if (server->fruitless > FRUITLESS_MAX)
        run(server);
}

void fl_http_server_wake(struct fl_http_server *server, uint64_t deadline_ms)
{
    uint64_t now = fl_loop_now_ms(server->loop);
    if (!fl_timer_is_set(&server->timer) || deadline_ms < server->timer.deadline_ms)
        fl_timer_set(server->loop, &server->timer, deadline_ms > now ? deadline_ms - now : 0, on_due);
}

static bool wants_more(struct fl_http_server *server)
{
    unsigned long long wait;
    return server->again || (MHD_get_timeout(server->daemon, &wait) == MHD_YES && wait == 0);
}

void fl_http_server_begin_turn(struct fl_http_server *server)
{
    server->turn++;
    server->handshakes = 0;
}

static void run(struct fl_http_server *server)
{
    fl_http_server_begin_turn(server);
    uint64_t moved = server->moved;
    server->again = false;
    MHD_run(server->daemon);
    server->fruitless = server->moved != moved || server->again ? 0 : server->fruitless + 1;
    if (!wants_more(server))
        server->fruitless = 0;
    else if (server->certificate == NULL || server->fruitless <= FRUITLESS_MAX)
        fl_hook_arm(server->loop, &server->hook);
    else
        fl_http_server_wake(server, fl_loop_now_ms(server->loop) + RETRY_MS);
    fl_http_door_look(server);
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

static struct MHD_Daemon *start_daemon(struct fl_http_server *server)
{
    bool tls = server->certificate != NULL;
    struct MHD_OptionItem items[] = {
        {MHD_OPTION_CONNECTION_LIMIT, INT_MAX, NULL}, /* acceptor.c holds ours */
        {MHD_OPTION_CONNECTION_MEMORY_LIMIT, POOL_SIZE, NULL},
        {MHD_OPTION_STRICT_FOR_CLIENT, 1, NULL},
        {MHD_OPTION_NOTIFY_CONNECTION, (intptr_t)fl_http_on_connection, server},
        {MHD_OPTION_NOTIFY_COMPLETED, (intptr_t)fl_http_on_completed, server},
        {MHD_OPTION_URI_LOG_CALLBACK, (intptr_t)fl_http_on_line, server},
        {tls ? MHD_OPTION_HTTPS_PRIORITIES : MHD_OPTION_END, 0, (void *)(uintptr_t)TLS_PRIORITIES},
        {tls ? MHD_OPTION_HTTPS_CERT_CALLBACK : MHD_OPTION_END, 0, (void *)fl_http_on_certificate},
        {MHD_OPTION_END, 0, NULL},
    };
    unsigned flags = MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | (tls ? MHD_USE_TLS : 0) |
                     (server->deferred_max > 0 ? MHD_ALLOW_SUSPEND_RESUME : 0);
    return MHD_start_daemon(flags, 0, NULL, NULL, fl_http_on_request, server, MHD_OPTION_ARRAY, items, MHD_OPTION_END);
}

static int start(struct fl_http_server *server, const struct fl_http_server_options *options, struct fl_err *err)
{
    FL_CLEANUP(fl_cleanup_close) int fd = -1;
    int result = fl_http_listen(options->address, &fd, &server->port, err);
    if (result < 0)
        return result;
    errno = 0;
    server->daemon = start_daemon(server);
    if (server->daemon == NULL)
        return fl_err_errno(err, errno > 0 ? -errno : -EIO, "cannot start the HTTP server");
    int epoll = MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    result = fl_source_add(server->loop, &server->source, epoll, EPOLLIN, on_event);
    if (result == 0)
        result = fl_http_door_open(server, fl_take_fd(fd));
    return result < 0 ? fl_err_errno(err, result, "cannot start the HTTP server") : 0;
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
    server->head = options->head;
    server->refused = options->refused;
    server->owner = options->owner;
    server->connections_max = options->connections_max;
    server->connections_per_address =
        options->connections_per_address > 0 ? options->connections_per_address : (options->connections_max + 1) / 2;
    fl_http_shares_init(&server->shares, (size_t)options->connections_max * 2 + 256);
    server->deferred_max = options->deferred_max;
    server->body_max = options->body_max;
    server->response_max = options->response_max;
    server->idle_ms = (uint64_t)options->idle_seconds * 1000;
    fl_linger_init(&server->linger, loop);
    if (options->cert_pem.len > 0 || options->key_pem.len > 0)
        result = fl_http_certificate_new(options->cert_pem, options->key_pem, &server->certificate, err);
    if (result == 0 && options->client_roots_pem.len > 0)
        result = fl_http_roots_new(options->client_roots_pem, &server->client_roots, err);
    if (result == 0)
        result = start(server, options, err);
    if (result == 0)
        *ret_server = fl_take(server);
    return result;
}

struct fl_http_server *fl_http_server_free(struct fl_http_server *server)
{
    if (server == NULL)
        return NULL;
    assert(!server->handling);
    fl_source_remove(&server->source);
    for (struct fl_http_connection *connection = server->connections; connection != NULL; connection = connection->next)
        fl_http_deferred_abandon(connection); /* none may be suspended then */
    fl_http_door_close(server);
    if (server->daemon != NULL)
        MHD_stop_daemon(server->daemon);
    fl_hook_disarm(&server->hook);
    fl_timer_cancel(&server->timer);
    fl_linger_done(&server->linger);
    fl_http_certificate_unref(server->certificate);
    if (server->client_roots != NULL)
        gnutls_x509_trust_list_deinit(server->client_roots, 1);
    fl_http_shares_done(&server->shares);
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
    fl_http_door_close(server);
    server->draining = true;
    for (struct fl_http_connection *connection = server->connections; connection != NULL;
         connection = connection->next) {
        if (connection->step == FL_HTTP_STEP_WAITING)
            fl_http_connection_enter(connection, FL_HTTP_STEP_WAITING);
    }
}

bool fl_http_server_idle(const struct fl_http_server *server)
{
    return server->connections == NULL && fl_linger_idle(&server->linger);
}
