#include "common/http/certificate.h"
#include "common/http/inner.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/uio.h>

/* libmicrohttpd's own timeout counts from the last byte, so that a client which trickles would live for ever. Ours
 * bounds each step as a whole; the socket of a connection that is late is shut down, which libmicrohttpd then finds
 * closed. */

#define DRAIN_GRACE_MS 500

void fl_http_connection_enter(struct fl_http_connection *connection, enum fl_http_step step)
{
    struct fl_http_server *server = connection->server;
    bool leaving = server->draining && step == FL_HTTP_STEP_WAITING;
    connection->step = step;
    connection->deadline_ms = fl_loop_now_ms(server->loop) + (leaving ? DRAIN_GRACE_MS : server->idle_ms);
    fl_http_server_wake(server, connection->deadline_ms);
}

/* Frees the request at once, the connection when libmicrohttpd has seen its end. */
static void cut_off(struct fl_http_connection *connection)
{
    connection->late = true;
    shutdown(connection->fd, SHUT_RDWR);
    fl_http_deferred_abandon(connection);
    fl_http_connection_forget(connection);
}

void fl_http_connections_check(struct fl_http_server *server)
{
    uint64_t now = fl_loop_now_ms(server->loop);
    for (struct fl_http_connection *connection = server->connections; connection != NULL;
         connection = connection->next) {
        if (connection->late)
            continue;
        if (connection->deadline_ms <= now)
            cut_off(connection);
        else
            fl_http_server_wake(server, connection->deadline_ms);
    }
}

/* The one that has been in its step longest, but not `except`; with `body` of those that hold a part of one. */
static struct fl_http_connection *longest(const struct fl_http_server *server, bool body,
                                          const struct fl_http_connection *except)
{
    struct fl_http_connection *found = NULL;
    for (struct fl_http_connection *connection = server->connections; connection != NULL;
         connection = connection->next) {
        if (connection != except && (body ? connection->body.len > 0 : !connection->late) &&
            (found == NULL || connection->deadline_ms <= found->deadline_ms)) /* the list begins with the youngest */
            found = connection;
    }
    return found;
}

void fl_http_connection_claim(struct fl_http_connection *connection, size_t more)
{
    struct fl_http_server *server = connection->server;
    while (server->bodies + more > server->body_max * FL_HTTP_BODIES_MAX) {
        struct fl_http_connection *victim = longest(server, true, connection);
        if (victim == NULL) /* cannot be: its own body has body_max at most */
            return;
        cut_off(victim);
    }
}

/* An eighth of the places is kept free: a new client is heard, however many others are slow. */
static void make_place(struct fl_http_server *server)
{
    unsigned count = 0;
    for (const struct fl_http_connection *connection = server->connections; connection != NULL;
         connection = connection->next)
        count += !connection->late;
    struct fl_http_connection *victim = longest(server, false, NULL);
    if (victim != NULL && count > server->connections_max - server->connections_max / 8)
        cut_off(victim);
}

struct fl_http_connection *fl_http_connection_of(struct MHD_Connection *handle)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(handle, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info != NULL ? info->socket_context : NULL;
}

void fl_http_connection_forget(struct fl_http_connection *connection)
{
    connection->server->bodies -= connection->body.len;
    fl_buf_done(&connection->answer.body);
    connection->answered = false;
    fl_buf_done(&connection->body);
    free(connection->uri);
    connection->uri = NULL;
    connection->dropped = 0;
}

static void close_connection(struct fl_http_connection *connection)
{
    struct fl_http_server *server = connection->server;
    fl_http_deferred_abandon(connection);
    int fd = connection->lingers ? fcntl(connection->fd, F_DUPFD_CLOEXEC, 0) : -1;
    if (fd >= 0) {
        shutdown(fd, SHUT_WR);
        fl_linger_add(&server->linger, fd);
    }
    fl_http_connection_forget(connection);
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
    struct fl_http_connection *connection = transport;
    ssize_t count = recv(connection->fd, data, size, 0);
    connection->server->moved += count > 0;
    return count;
}

static ssize_t on_push(gnutls_transport_ptr_t transport, const giovec_t *pieces, int piece_count)
{
    struct fl_http_connection *connection = transport;
    union {
        const giovec_t *from;
        struct iovec *to;
    } same = {.from = pieces};
    const struct msghdr message = {.msg_iov = same.to, .msg_iovlen = (size_t)piece_count};
    ssize_t count = sendmsg(connection->fd, &message, MSG_NOSIGNAL);
    connection->server->moved += count > 0;
    return count;
}

static void watch_transport(struct fl_http_connection *connection, struct MHD_Connection *handle)
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
    struct fl_http_connection *connection = calloc(1, sizeof(*connection));
    if (connection == NULL) {
        shutdown(fd, SHUT_RDWR); /* nobody would watch its time */
        return;
    }
    *connection = (struct fl_http_connection){
        .server = server, .fd = fd, .next = server->connections, .link = &server->connections};
    if (connection->next != NULL)
        connection->next->link = &connection->next;
    server->connections = connection;
    watch_transport(connection, handle);
    fl_http_connection_enter(connection, FL_HTTP_STEP_WAITING);
    make_place(server);
    *context = connection;
}

void fl_http_on_connection(void *owner, struct MHD_Connection *handle, void **context,
                           enum MHD_ConnectionNotificationCode code)
{
    if (code == MHD_CONNECTION_NOTIFY_STARTED)
        open_connection(owner, handle, context);
    else if (*context != NULL)
        close_connection(*context);
}

/* GnuTLS asks in each handshake. The pair stays with the connection, so that it outlives the handshake. */
int fl_http_on_certificate(gnutls_session_t session, const gnutls_datum_t *names, int name_count,
                           const gnutls_pk_algorithm_t *algorithms, int algorithm_count, gnutls_pcert_st **ret_chain,
                           unsigned *ret_count, gnutls_privkey_t *ret_key)
{
    (void)names, (void)name_count, (void)algorithms, (void)algorithm_count;
    struct MHD_Connection *handle = gnutls_session_get_ptr(session); /* libmicrohttpd sets it for its own callbacks */
    struct fl_http_connection *connection = handle != NULL ? fl_http_connection_of(handle) : NULL;
    if (connection == NULL)
        return -1;
    fl_http_certificate_unref(connection->certificate);
    connection->certificate = fl_http_certificate_ref(connection->server->certificate);
    fl_http_certificate_lend(connection->certificate, ret_chain, ret_count, ret_key);
    return 0;
}
