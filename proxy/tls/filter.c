#include "proxy/tls/filter.h"

#include <errno.h>

#define ERROR_MAX  160
#define PLAIN_ONCE 20000u /* bytes of input that are more than a record, so that more room helps */

struct proxy_tls {
    struct proxy_conn *conn;
    struct proxy_tls *of; /* it is a share: whose; counted. NULL: it is none */
    unsigned references;
    struct fl_tls *session;
    const struct fl_span *preface; /* ours */
    bool server;
    bool opened;         /* the handshake is done, and ours is sent */
    bool wants_preface;  /* the peer's has not come yet */
    bool bad_preface;    /* what came in its place */
    struct fl_buf input; /* of the peer's preface: what is here of it, then its memory */
    struct fl_preface peer;
    char *error; /* of the preface; NULL: none */
};

static int send_out(void *owner, struct fl_span bytes)
{
    struct proxy_tls *tls = owner;
    return proxy_conn_send(tls->conn, bytes);
}

/* The peer's preface, from however many pieces. What follows it is the application's. */
static int read_preface(struct proxy_tls *tls, struct fl_span *bytes)
{
    size_t before = tls->input.len, size = 0;
    size_t room = FL_PREFACE_HEAD + FL_PREFACE_BODY_MAX - before;
    int result = fl_buf_append(&tls->input, fl_span_make(bytes->data, bytes->len < room ? bytes->len : room));
    if (result < 0)
        return result;
    struct fl_err err = {0};
    result = fl_preface_parse(fl_buf_span(&tls->input), &tls->peer, &size, &err);
    if (result == FL_PREFACE_MORE) {
        *bytes = fl_span_from(*bytes, bytes->len);
        return 0;
    }
    if (result != FL_PREFACE_DONE) {
        memset(&tls->peer, 0, sizeof(tls->peer));
        tls->bad_preface = true;
        tls->error = strndup(err.text, ERROR_MAX);
        return result < 0 ? result : -EPROTO;
    }
    *bytes = fl_span_from(*bytes, size - before);
    tls->wants_preface = false;
    proxy_conn_ready(tls->conn);
    return tls->server ? proxy_conn_opened(tls->conn) : 0;
}

static int receive(void *owner, struct fl_span bytes)
{
    struct proxy_tls *tls = owner;
    if (tls->wants_preface) {
        int result = read_preface(tls, &bytes);
        if (result < 0)
            return result;
    }
    return bytes.len > 0 ? proxy_conn_deliver(tls->conn, bytes) : 0;
}

/* The handshake is done. */
static int opened(void *owner)
{
    struct proxy_tls *tls = owner;
    tls->opened = true;
    tls->wants_preface = fl_alpn_has_preface(fl_tls_alpn(tls->session));
    if (!tls->wants_preface) {
        proxy_conn_ready(tls->conn);
        return proxy_conn_opened(tls->conn);
    }
    int result = fl_tls_write(tls->session, *tls->preface);
    return result < 0 || tls->server ? result : proxy_conn_opened(tls->conn);
}

static int start(void *transport)
{
    struct proxy_tls *tls = transport;
    return fl_tls_start(tls->session);
}

/* Bulk: the records of one read reach the owner together, who can pass them on in one call. */
static int feed_much(struct proxy_tls *tls, struct fl_span bytes)
{
    struct proxy_turn *turn = proxy_conn_turn(tls->conn);
    char *plain = fl_take(turn->plain); /* nobody else's meanwhile */
    turn->bulk = true;
    proxy_turn_trim_later(turn);
    if (plain == NULL)
        plain = malloc(PROXY_TURN_PLAIN);
    int result = plain != NULL ? fl_tls_feed_into(tls->session, bytes, plain, PROXY_TURN_PLAIN) : -ENOMEM;
    if (turn->plain != NULL)
        free(plain);
    else
        turn->plain = plain;
    return result;
}

static int feed(void *transport, struct fl_span bytes)
{
    struct proxy_tls *tls = transport;
    int result = bytes.len > PLAIN_ONCE ? feed_much(tls, bytes) : fl_tls_feed(tls->session, bytes);
    if (result < 0)
        return result;
    if (fl_tls_state(tls->session) == FL_TLS_PEER_CLOSED)
        return proxy_conn_ended(tls->conn);
    return 0;
}

static int write_out(void *transport, struct fl_span bytes)
{
    struct proxy_tls *tls = transport;
    return fl_tls_write(tls->session, bytes);
}

static int shutdown_out(void *transport)
{
    struct proxy_tls *tls = transport;
    return fl_tls_shutdown(tls->session);
}

static const char *error_text(const void *transport)
{
    const struct proxy_tls *tls = transport;
    return tls->error != NULL ? tls->error : fl_tls_error(tls->session);
}

static void tls_free(void *transport)
{
    struct proxy_tls *tls = transport;
    if (--tls->references > 0)
        return;
    tls->session = fl_tls_free(tls->session);
    fl_buf_done(&tls->input);
    free(tls->error);
    free(tls);
}

#define OPS(first)                                                                                                     \
    {                                                                                                                  \
        .speaks_first = first, .start = start, .feed = feed, .write = write_out, .shutdown = shutdown_out,             \
        .error = error_text, .free = tls_free,                                                                         \
    }

static const struct proxy_transport_ops client_ops = OPS(true), server_ops = OPS(false);

static bool likes(struct fl_span token, unsigned use)
{
    return fl_alpn_is_offered(token, (enum fl_alpn_use)use);
}

int proxy_tls_start(struct proxy_conn *conn, const struct proxy_tls_options *options)
{
    struct proxy_tls *tls = calloc(1, sizeof(*tls));
    if (tls == NULL)
        return -ENOMEM;
    const struct fl_tls_sinks sinks = {.opened = opened, .send = send_out, .receive = receive, .owner = tls};
    int result = fl_tls_new(options->context, &sinks, &tls->session);
    if (result == 0 && options->identity.len > 0)
        result = fl_tls_expect(tls->session, options->identity);
    if (result == 0 && !options->server && options->use != FL_ALPN_USE_ANY)
        result = fl_tls_offer(tls->session, likes, (unsigned)options->use);
    if (result < 0) {
        fl_tls_free(tls->session);
        free(tls);
        return result;
    }
    tls->conn = conn;
    tls->references = 1;
    tls->server = options->server;
    tls->preface = options->preface;
    fl_buf_init(&tls->input, FL_PREFACE_HEAD + FL_PREFACE_BODY_MAX);
    proxy_conn_set_transport(conn, options->server ? &server_ops : &client_ops, tls, options->timeout_ms);
    return 0;
}

struct proxy_tls *proxy_tls_share(struct proxy_tls *tls)
{
    struct proxy_tls *shared = calloc(1, sizeof(*shared));
    if (shared == NULL)
        return NULL;
    shared->of = tls;
    shared->session = tls->session;
    shared->opened = true;
    tls->references++;
    return shared;
}

void proxy_tls_unshare(struct proxy_tls *shared)
{
    if (shared != NULL)
        tls_free(shared->of);
    free(shared);
}

struct proxy_tls *proxy_tls_of(const struct proxy_conn *conn)
{
    return proxy_conn_transport(conn);
}

struct fl_span proxy_tls_peer_identity(const struct proxy_tls *tls)
{
    return fl_tls_peer_identity(tls->session);
}

struct fl_span proxy_tls_own_identity(const struct proxy_tls *tls)
{
    return fl_tls_own_identity(tls->session);
}

struct fl_span proxy_tls_alpn(const struct proxy_tls *tls)
{
    return tls->of == NULL ? fl_tls_alpn(tls->session) : (struct fl_span){NULL, 0};
}

struct fl_span proxy_tls_server_name(const struct proxy_tls *tls)
{
    if (tls->of != NULL)
        return (struct fl_span){NULL, 0};
    return fl_tls_server_name(tls->session);
}

const struct fl_preface *proxy_tls_peer_preface(const struct proxy_tls *tls)
{
    return &tls->peer;
}

bool proxy_tls_is_open(const struct proxy_tls *tls)
{
    return tls->opened;
}

enum fl_tls_reason proxy_tls_reason(const struct proxy_tls *tls)
{
    return fl_tls_reason(tls->session);
}

bool proxy_tls_bad_preface(const struct proxy_tls *tls)
{
    return tls->bad_preface;
}
