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

#define HANDSHAKES      16 /* reads in a turn; a handshake takes some five of them */
#define HANDSHAKES_EACH 5  /* reads of one address in a turn, whatever the others do */
#define HANDSHAKES_MAX  128

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

/* Whether `a` gives its place up before `b`. What is known goes last, and of that what is idle first. */
static bool yields(const struct fl_http_connection *a, const struct fl_http_connection *b)
{
    if (a->known != b->known)
        return !a->known;
    bool a_idle = a->step == FL_HTTP_STEP_WAITING, b_idle = b->step == FL_HTTP_STEP_WAITING;
    if (a->known && a_idle != b_idle)
        return a_idle;
    if (a->share != b->share && (fl_http_share_yields(a->share, b->share) || fl_http_share_yields(b->share, a->share)))
        return fl_http_share_yields(a->share, b->share);
    return a->deadline_ms <= b->deadline_ms; /* the longest in its step; the list begins with the youngest */
}

/* The same for bodies. */
static bool yields_body(const struct fl_http_connection *a, const struct fl_http_connection *b)
{
    if (a->known != b->known)
        return !a->known;
    if (a->share != b->share && a->share->bodies != b->share->bodies)
        return a->share->bodies > b->share->bodies;
    return a->deadline_ms <= b->deadline_ms;
}

void fl_http_connection_claim(struct fl_http_connection *connection, size_t more)
{
    struct fl_http_server *server = connection->server;
    while (server->bodies + more > server->body_max * FL_HTTP_BODIES_MAX) {
        struct fl_http_connection *victim = NULL;
        for (struct fl_http_connection *other = server->connections; other != NULL; other = other->next) {
            if (other != connection && other->body.len > 0 && (victim == NULL || yields_body(other, victim)))
                victim = other;
        }
        if (victim == NULL) /* cannot be: its own body has body_max at most */
            return;
        cut_off(victim);
    }
}

/* An eighth of the places is kept free: a new client is heard, however many others are slow. */
void fl_http_connections_make_place(struct fl_http_server *server)
{
    unsigned count = 1; /* the new one */
    struct fl_http_connection *victim = NULL;
    for (struct fl_http_connection *connection = server->connections; connection != NULL;
         connection = connection->next) {
        if (connection->late)
            continue;
        count++;
        if (victim == NULL || yields(connection, victim))
            victim = connection;
    }
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
    connection->share->bodies -= connection->body.len;
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
    free(connection->judgement);
    server->connection_count--;
    connection->share->connections--;
    connection->share->known -= connection->known;
    fl_http_share_release(&server->shares, connection->share);
    *connection->link = connection->next;
    if (connection->next != NULL)
        connection->next->link = connection->link;
    free(connection);
    server->again = true;
}

/* A handshake costs as much as several requests. So in one turn some reads of handshakes are let through, and a few of
 * each address; the others find nothing there until the next turn. */
static bool may_read(struct fl_http_connection *connection)
{
    struct fl_http_server *server = connection->server;
    struct fl_http_share *share = connection->share;
    if (connection->open || share->known > 0)
        return true;
    fl_http_share_turn(share, server->turn);
    if (server->handshakes < HANDSHAKES || (share->handshakes < HANDSHAKES_EACH && server->handshakes < HANDSHAKES_MAX))
        return true;
    server->again = true;
    return false;
}

/* GnuTLS's way to the socket, as it is without us, but counted. It reads errno. */
static ssize_t on_pull(gnutls_transport_ptr_t transport, void *data, size_t size)
{
    struct fl_http_connection *connection = transport;
    if (!may_read(connection)) {
        errno = EAGAIN;
        return -1;
    }
    ssize_t count = recv(connection->fd, data, size, 0);
    connection->server->moved += count > 0;
    if (!connection->open && count > 0) {
        connection->server->handshakes++;
        connection->share->handshakes++;
    }
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

/* The client's Finished is here. What comes after it may not be kept back: libmicrohttpd would wait for another event.
 */
static int on_finished(gnutls_session_t session, unsigned kind, unsigned when, unsigned incoming,
                       const gnutls_datum_t *message)
{
    (void)kind, (void)when, (void)message;
    struct fl_http_connection *connection = gnutls_transport_get_ptr(session);
    if (incoming != 0)
        connection->open = true;
    return 0;
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
    gnutls_handshake_set_hook_function(session, GNUTLS_HANDSHAKE_FINISHED, GNUTLS_HOOK_POST, on_finished);
    if (connection->server->client_roots != NULL)
        fl_http_peer_ask(session);
}

static struct fl_http_share *share_of(struct fl_http_server *server, struct MHD_Connection *handle)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(handle, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    return info != NULL ? fl_http_share_of(&server->shares, info->client_addr) : NULL;
}

static void open_connection(struct fl_http_server *server, struct MHD_Connection *handle, void **context)
{
    int fd = MHD_get_connection_info(handle, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    struct fl_http_share *share = share_of(server, handle);
    struct fl_http_connection *connection = share != NULL ? calloc(1, sizeof(*connection)) : NULL;
    if (connection == NULL) {
        shutdown(fd, SHUT_RDWR); /* nobody would watch its time */
        return;
    }
    *connection = (struct fl_http_connection){
        .server = server, .share = share, .fd = fd, .next = server->connections, .link = &server->connections};
    server->connection_count++;
    share->connections++;
    if (connection->next != NULL)
        connection->next->link = &connection->next;
    server->connections = connection;
    watch_transport(connection, handle);
    fl_http_connection_enter(connection, FL_HTTP_STEP_WAITING);
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
