/* proxy/upstream/mux: requests over shared HTTP/2 connections, against servers that are our own sessions. */
#include "proxy/http/restore.h"
#include "proxy/net/listener.h"
#include "proxy/tls/filter.h"
#include "proxy/upstream/mux.h"
#include "tests/support/fail.h"
#include "tests/unit/common/authority.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>

#include <cmocka.h>

#define CLIENT_ID "spiffe://cluster.local/ns/default/sa/client"
#define SERVER_ID "spiffe://cluster.local/ns/default/sa/server"
#define PEERS     160
#define ASKERS    256

struct fixture;

struct served { /* a request at the server */
    struct peer *peer;
    struct proxy_stream *stream;
    bool ended;
};

struct peer { /* a connection at the server */
    struct fixture *f;
    struct proxy_conn *conn; /* NULL: it is gone */
    struct proxy_h2 *h2;
    bool is_shared;
    unsigned requests;
    size_t body;
    char last[256]; /* what the last request was, as HTTP/1 would tell it */
    struct served served[ASKERS];
};

struct asker {
    struct fixture *f;
    struct proxy_upstream *upstream;
    char log[512];
    bool keep; /* finish is the test's */
};

struct fixture {
    struct fl_loop *loop;
    struct proxy_turn turn;
    struct proxy_address address;
    int server;
    struct proxy_cluster_endpoint endpoint;
    struct proxy_cluster_options options;
    struct proxy_cluster_run *cluster;
    struct proxy_message request, response, seen, reply;
    struct proxy_headers trailers, seen_trailers;
    struct fl_tls_context *client_tls, *server_tls;
    struct fl_buf preface;
    struct fl_span preface_text;
    struct peer peers[PEERS];
    size_t peer_count;
    struct asker askers[ASKERS];
    size_t asker_count;
    uint32_t server_streams; /* that it allows */
    bool silent;             /* it answers nothing by itself */
    bool deaf;               /* it reads nothing */
    int counted;
    unsigned overflows;
};

/* --- the server --------------------------------------------------------------------------------------------------- */

static void answer(struct served *served)
{
    struct proxy_message *reply = &served->peer->f->reply;
    char room[PROXY_RESTORE_VALUE_MAX];
    struct proxy_stream *stream = fl_take(served->stream);
    proxy_message_init(reply);
    reply->status = 200;
    reply->reason = FL_SPAN("Fine");
    reply->major = reply->minor = 1;
    reply->keep_alive = true;
    reply->framing = PROXY_FRAMING_LENGTH;
    reply->content_length = 2;
    reply->has_content_length = true;
    assert_int_equal(proxy_headers_add(&reply->headers, FL_SPAN("Content-Length"), FL_SPAN("2")), 0);
    if (served->peer->is_shared)
        proxy_restore_pack_response(reply, room);
    proxy_stream_send_head(stream, reply, false);
    proxy_stream_send_data(stream, FL_SPAN("ok"));
    proxy_stream_send_end(stream, NULL);
    proxy_stream_close(stream, PROXY_RESET_CANCELLED);
}

static void on_request_end(struct served *served)
{
    served->ended = true;
    if (!served->peer->f->silent)
        answer(served);
}

static void served_on_open(void *user)
{
    (void)user;
}

static void served_on_head(void *user, struct proxy_message *message, bool end)
{
    struct served *served = user;
    struct peer *peer = served->peer;
    if (peer->is_shared)
        assert_int_equal(proxy_restore_unpack_request(message, peer->f->turn.names, PROXY_TURN_NAMES), 0);
    snprintf(peer->last, sizeof(peer->last), "%.*s %.*s %d.%d", FL_SPAN_ARG(message->method),
             FL_SPAN_ARG(message->target), message->major, message->minor);
    for (size_t i = 0; i < message->headers.count; i++) {
        size_t len = strlen(peer->last);
        if (!message->headers.list[i].removed)
            snprintf(peer->last + len, sizeof(peer->last) - len, " %.*s", FL_SPAN_ARG(message->headers.list[i].name));
    }
    if (end)
        on_request_end(served);
}

static void served_on_data(void *user, struct fl_span data)
{
    ((struct served *)user)->peer->body += data.len;
}

static void served_on_end(void *user, struct proxy_headers *trailers)
{
    (void)trailers;
    on_request_end(user);
}

static void served_on_reset(void *user, enum proxy_reset why)
{
    (void)why;
    ((struct served *)user)->stream = NULL;
}

static const struct proxy_stream_events served_events = {served_on_open, served_on_head, served_on_data,
                                                         served_on_end,  served_on_open, served_on_reset};

static void peer_send(void *owner, struct fl_span bytes)
{
    struct peer *peer = owner;
    if (peer->conn != NULL)
        proxy_conn_write(peer->conn, bytes);
}

static bool peer_on_stream(void *owner, struct proxy_stream *stream)
{
    struct peer *peer = owner;
    struct served *served = &peer->served[peer->requests++ % ASKERS];
    *served = (struct served){.peer = peer, .stream = stream};
    stream->events = &served_events;
    stream->user = served;
    return true;
}

static void peer_on_room(void *owner)
{
    (void)owner;
}

static void peer_on_over(void *owner, enum proxy_h2_error error)
{
    (void)owner;
    if (error != PROXY_H2_ERROR_NONE && error != PROXY_H2_ERROR_PEER)
        fail_msg("server: %s", proxy_h2_error_word(error));
}

static const struct proxy_h2_owner peer_ops = {.send = peer_send,
                                               .on_stream = peer_on_stream,
                                               .on_room = peer_on_room,
                                               .on_goaway = peer_on_room,
                                               .on_over = peer_on_over};

static void peer_on_open(void *owner)
{
    struct peer *peer = owner;
    struct fixture *f = peer->f;
    const struct proxy_tls *tls = proxy_tls_of(peer->conn);
    struct fl_span alpn = tls != NULL ? proxy_tls_alpn(tls) : FL_SPAN("h2");
    peer->is_shared = fl_alpn_kind(alpn) == FL_ALPN_KIND_SHARED;
    if (fl_alpn_kind(alpn) == FL_ALPN_KIND_HTTP1)
        return;
    const struct proxy_h2_options options = {.server = true,
                                             .settings = {.max_streams = f->server_streams, .bare_authority = true},
                                             .pool = &f->turn.pool,
                                             .message = &f->seen,
                                             .trailers = &f->seen_trailers,
                                             .ops = &peer_ops,
                                             .owner = peer};
    assert_int_equal(proxy_h2_new(&options, fl_loop_now_ms(f->loop), &peer->h2), 0);
}

static size_t peer_on_data(void *owner, struct fl_span bytes)
{
    struct peer *peer = owner;
    if (peer->h2 != NULL) {
        proxy_h2_feed(peer->h2, bytes, fl_loop_now_ms(peer->f->loop));
        return bytes.len;
    }
    peer->requests++;
    proxy_conn_write(peer->conn, FL_SPAN("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
    return bytes.len;
}

static void peer_gone(struct peer *peer)
{
    if (peer->h2 != NULL)
        proxy_h2_end(peer->h2, PROXY_RESET_EOF, NULL);
}

static void peer_on_eof(void *owner)
{
    struct peer *peer = owner;
    proxy_conn_close(fl_take(peer->conn), PROXY_CLOSE_FLUSH);
    peer_gone(peer);
}

static void peer_on_closed(void *owner, enum proxy_end end)
{
    struct peer *peer = owner;
    (void)end;
    peer->conn = NULL;
    peer_gone(peer);
}

static const struct proxy_conn_ops peer_conn_ops = {peer_on_open, peer_on_data, peer_on_eof, served_on_open,
                                                    peer_on_closed};

static void accept_all(struct fixture *f)
{
    for (;;) {
        int fd = f->server < 0 ? -1 : accept4(f->server, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0)
            return;
        assert_true(f->peer_count < PEERS);
        struct peer *peer = &f->peers[f->peer_count++];
        peer->f = f;
        assert_int_equal(proxy_conn_accept(&f->turn, fd, &f->address, &peer->conn), 0);
        proxy_conn_set_owner(peer->conn, &peer_conn_ops, peer);
        if (f->server_tls != NULL) {
            const struct proxy_tls_options tls = {
                .context = f->server_tls, .server = true, .preface = &f->preface_text, .timeout_ms = 5000};
            assert_int_equal(proxy_tls_start(peer->conn, &tls), 0);
        } else {
            peer_on_open(peer);
        }
        if (f->deaf)
            proxy_conn_pause(peer->conn);
    }
}

static size_t live_peers(const struct fixture *f)
{
    size_t count = 0;
    for (size_t i = 0; i < f->peer_count; i++)
        count += f->peers[i].conn != NULL;
    return count;
}

/* --- the askers --------------------------------------------------------------------------------------------------- */

static void note(struct asker *asker, const char *text)
{
    size_t len = strlen(asker->log);
    snprintf(asker->log + len, sizeof(asker->log) - len, "%s", text);
}

static void finish(struct asker *asker)
{
    proxy_upstream_finish(fl_take(asker->upstream), PROXY_RESET_CANCELLED);
}

static void on_open(void *user)
{
    note(user, "open ");
}

static void on_head(void *user, struct proxy_message *message, bool end)
{
    struct asker *asker = user;
    char text[64];
    (void)end;
    snprintf(text, sizeof(text), "%u %.*s %d ", message->status, FL_SPAN_ARG(message->reason), message->major);
    note(asker, text);
}

static void on_data(void *user, struct fl_span data)
{
    (void)data;
    note(user, "data ");
}

static void on_end(void *user, struct proxy_headers *trailers)
{
    (void)trailers;
    note(user, "end");
    if (!((struct asker *)user)->keep)
        finish(user);
}

static void on_writable(void *user)
{
    note(user, "writable ");
}

static void on_reset(void *user, enum proxy_reset why)
{
    struct asker *asker = user;
    note(asker, "reset:");
    note(asker, proxy_reset_text(why));
    if (!asker->keep)
        finish(asker);
}

static const struct proxy_stream_events events = {on_open, on_head, on_data, on_end, on_writable, on_reset};

static void on_count(void *owner, bool opened)
{
    ((struct fixture *)owner)->counted += opened ? 1 : -1;
}

static void on_overflow(void *owner, enum proxy_upstream_limit limit)
{
    (void)limit;
    ((struct fixture *)owner)->overflows++;
}

static struct fl_tls_context *tls_of(void *owner, const void *transport)
{
    (void)transport;
    return ((struct fixture *)owner)->client_tls;
}

static void parse(struct fixture *f, const char *text)
{
    struct proxy_h1_parser parser = {0};
    size_t size;
    assert_int_equal(proxy_h1_parse_request(&parser, fl_span_str(text), NULL, &f->request, &size), PROXY_H1_DONE);
}

static int try_to_ask(struct fixture *f, uint64_t pin, struct asker **ret_asker)
{
    const struct proxy_upstream_want want = {.random = 7, .pin = pin};
    struct asker *asker = &f->askers[f->asker_count % ASKERS];
    assert_null(asker->upstream);
    memset(asker, 0, sizeof(*asker));
    asker->f = f;
    *ret_asker = asker;
    int result = proxy_upstream_request(f->cluster, &want, &events, asker, &asker->upstream);
    if (result == PROXY_UPSTREAM_OK)
        f->asker_count++;
    return result;
}

#define GET  "GET /a HTTP/1.1\r\nHost: h\r\nUser-Agent: x\r\n\r\n"
#define POST "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"

static struct asker *ask(struct fixture *f)
{
    struct asker *asker;
    assert_int_equal(try_to_ask(f, 0, &asker), PROXY_UPSTREAM_OK);
    parse(f, GET);
    proxy_stream_send_head(asker->upstream->stream, &f->request, true);
    return asker;
}

static void setup(struct fixture *f)
{
    struct proxy_socket_options listening = {.backlog = 512};
    struct sockaddr_storage raw;
    socklen_t size = sizeof(raw);
    struct fl_err err;
    memset(f, 0, sizeof(*f));
    assert_int_equal(proxy_address_parse(FL_SPAN("127.0.0.1"), 0, &listening.address), 0);
    assert_int_equal(proxy_socket_listen(&listening, &f->server, &err), 0);
    assert_int_equal(getsockname(f->server, (struct sockaddr *)&raw, &size), 0);
    assert_int_equal(proxy_address_from_sockaddr(&raw, &f->address), 0);
    assert_int_equal(fl_loop_new(&f->loop), 0);
    assert_int_equal(proxy_turn_init(&f->turn, f->loop), 0);
    fl_buf_init(&f->preface, 2048);
    struct fl_preface preface = {0};
    preface.fields[FL_PREFACE_WORKLOAD] = FL_SPAN("test");
    assert_int_equal(fl_preface_print(&preface, &f->preface), 0);
    f->preface_text = fl_buf_span(&f->preface);
    f->endpoint = (struct proxy_cluster_endpoint){.address = f->address, .weight = 1};
    f->options = (struct proxy_cluster_options){
        .name = FL_SPAN("test"),
        .endpoints = &f->endpoint,
        .endpoint_count = 1,
        .tls_of = tls_of,
        .preface = &f->preface_text,
        .http = PROXY_CLUSTER_HTTP2,
        .connect_timeout_ms = 5000,
        .idle_timeout_ms = 60000,
        .limits = {1024, 1024, 1024, 16},
        .scratch = {&f->response, &f->trailers},
        .on_count = on_count,
        .on_overflow = on_overflow,
        .owner = f,
    };
}

static void start(struct fixture *f)
{
    assert_int_equal(proxy_cluster_run_new(&f->turn, &f->options, &f->cluster), 0);
}

static void change(struct fixture *f)
{
    assert_int_equal(proxy_cluster_run_stage(f->cluster, &f->options), 0);
    proxy_cluster_run_commit(f->cluster);
}

static void turns(struct fixture *f, int count)
{
    for (int i = 0; i < count; i++) {
        accept_all(f);
        assert_true(fl_loop_turn(f->loop, 1) >= 0);
    }
}

static void run(struct fixture *f)
{
    turns(f, 12);
}

/* Until it has been answered or reset. */
static void run_until_done(struct fixture *f, const struct asker *asker)
{
    for (int i = 0; i < 2000 && asker->upstream != NULL; i++)
        turns(f, 1);
    assert_null(asker->upstream);
}

static void teardown(struct fixture *f)
{
    for (size_t i = 0; i < ASKERS; i++)
        finish(&f->askers[i]);
    proxy_cluster_run_retire(f->cluster);
    f->cluster = proxy_cluster_run_unref(f->cluster);
    run(f);
    for (size_t i = 0; i < f->peer_count; i++) {
        proxy_conn_close(fl_take(f->peers[i].conn), PROXY_CLOSE_NOW);
        peer_gone(&f->peers[i]);
    }
    proxy_turn_abort(&f->turn);
    turns(f, 4);
    for (size_t i = 0; i < f->peer_count; i++)
        proxy_h2_free(f->peers[i].h2);
    assert_int_equal(f->counted, 0);
    assert_int_equal(f->turn.connections, 0);
    proxy_turn_done(&f->turn);
    fl_loop_free(f->loop);
    fl_tls_context_unref(f->client_tls);
    fl_tls_context_unref(f->server_tls);
    fl_buf_done(&f->preface);
    if (f->server >= 0)
        close(f->server);
}

static struct fl_tls_context *context(const char *uri, bool server, const char *const *alpn)
{
    static struct authority authority;
    struct identity identity;
    struct fl_span tokens[FL_TLS_ALPN_MAX];
    size_t count = 0;
    if (authority.key == NULL)
        authority_init(&authority, "root");
    authority_issue(&authority, uri, NULL, &identity);
    for (; alpn[count] != NULL; count++)
        tokens[count] = fl_span_str(alpn[count]);
    const struct fl_tls_options options = {.server = server,
                                           .cert = identity.cert,
                                           .key = identity.key,
                                           .bundle = authority.bundle,
                                           .require_peer_cert = true,
                                           .require_spiffe = true,
                                           .alpn = tokens,
                                           .alpn_count = count};
    struct fl_tls_context *made = NULL;
    struct fl_err err = {0};
    if (fl_tls_context_new(&options, &made, &err) < 0)
        fail_msg("%s", err.text);
    identity_done(&identity);
    return made;
}

static const char *const all_tokens[] = {"fairlead-http/1", "h2", "http/1.1", "fairlead-tcp/1", NULL};

static void setup_tls(struct fixture *f, const char *server_token)
{
    const char *const server_tokens[] = {server_token, NULL};
    setup(f);
    f->client_tls = context(CLIENT_ID, false, all_tokens);
    f->server_tls = context(SERVER_ID, true, server_tokens);
    f->endpoint.transport = f;
    f->endpoint.identity = FL_SPAN(SERVER_ID);
    f->options.http = PROXY_CLUSTER_AUTO;
}

/* --- tests ----------------------------------------------------------------------------------------------------------
 */

static struct fixture fixture;

static void who_asks_during_a_dial_waits_for_it(void **state)
{
    (void)state;
    struct fixture *f = &fixture;
    setup(f);
    start(f);
    struct asker *a = ask(f), *b = ask(f), *c = ask(f);
    assert_false(a->upstream->opened || b->upstream->opened);
    assert_int_equal(proxy_stream_unsent(a->upstream->stream), a->upstream->stream->sent);
    assert_int_equal(proxy_cluster_run_connections(f->cluster), 1);
    run(f);
    assert_string_equal(a->log, "open 200 OK 2 data end");
    assert_string_equal(b->log, a->log);
    assert_string_equal(c->log, a->log);
    assert_int_equal(f->peer_count, 1);
    assert_int_equal(f->peers[0].requests, 3);
    a = ask(f); /* later: at once, on the same one */
    assert_true(a->upstream->opened && a->upstream->reused);
    run(f);
    assert_string_equal(a->log, "200 OK 2 data end");
    assert_int_equal(f->peer_count, 1);
    assert_int_equal(proxy_cluster_run_connections(f->cluster), 1);
    teardown(f);
}

static void a_body_waits_too_and_is_bounded(void **state)
{
    (void)state;
    struct fixture *f = &fixture;
    static char bytes[40000];
    setup(f);
    start(f);
    struct asker *a;
    assert_int_equal(try_to_ask(f, 0, &a), PROXY_UPSTREAM_OK);
    parse(f, POST);
    proxy_stream_send_head(a->upstream->stream, &f->request, false);
    proxy_stream_send_data(a->upstream->stream, fl_span_make(bytes, sizeof(bytes)));
    assert_false(proxy_stream_is_backlogged(a->upstream->stream));
    proxy_stream_send_data(a->upstream->stream, fl_span_make(bytes, sizeof(bytes)));
    assert_true(proxy_stream_is_backlogged(a->upstream->stream));
    proxy_headers_init(&f->trailers);
    assert_int_equal(proxy_headers_add(&f->trailers, FL_SPAN("X-Sum"), FL_SPAN("1")), 0);
    proxy_stream_send_end(a->upstream->stream, &f->trailers);
    run_until_done(f, a);
    assert_int_equal(f->peers[0].body, 80000);
    assert_non_null(strstr(a->log, "200 OK 2 data end"));
    teardown(f);
}

static void a_full_connection_is_joined_by_another(void **state)
{
    (void)state;
    struct fixture *f = &fixture;
    setup(f);
    f->options.idle_timeout_ms = 300;
    f->silent = true;
    start(f);
    ask(f);
    run(f);
    for (int i = 1; i < 150; i++)
        ask(f);
    run(f);
    assert_int_equal(f->peer_count, 2);
    assert_int_equal(f->peers[0].requests, 100);
    assert_int_equal(f->peers[1].requests, 50);
    for (size_t i = 0; i < 100; i++)
        answer(&f->peers[0].served[i]);
    for (size_t i = 0; i < 50; i++)
        answer(&f->peers[1].served[i]);
    run(f);
    struct asker *a = ask(f); /* the first one is used again */
    run(f);
    assert_int_equal(f->peers[0].requests, 101);
    answer(&f->peers[0].served[100]);
    run_until_done(f, a);
    for (int i = 0; i < 1000 && live_peers(f) > 0; i++)
        turns(f, 1);
    assert_int_equal(live_peers(f), 0); /* idle for too long */
    assert_int_equal(proxy_cluster_run_connections(f->cluster), 0);
    teardown(f);
}

static void the_peers_limit_counts(void **state)
{
    (void)state;
    struct fixture *f = &fixture;
    setup(f);
    f->server_streams = 2;
    f->silent = true;
    f->options.limits[PROXY_UPSTREAM_LIMIT_CONNECTIONS] = 1;
    start(f);
    ask(f);
    run(f);
    struct asker *b = ask(f), *c = ask(f); /* no further connection may be dialled: it waits for room */
    run(f);
    assert_int_equal(f->peer_count, 1);
    assert_int_equal(f->peers[0].requests, 2);
    assert_true(b->upstream->opened);
    assert_false(c->upstream->opened);
    answer(&f->peers[0].served[0]);
    run(f);
    assert_int_equal(f->peers[0].requests, 3);
    assert_true(c->upstream->opened);
    teardown(f);
}

static void a_failed_dial_is_told_to_all_who_wait(void **state)
{
    (void)state;
    struct fixture *f = &fixture;
    setup(f);
    start(f);
    close(f->server);
    f->server = -1;
    struct asker *a = ask(f), *b = ask(f);
    a->keep = true;
    run(f);
    assert_string_equal(a->log, "reset:connection failed");
    assert_string_equal(b->log, "reset:connection failed");
    assert_int_equal(proxy_upstream_end(a->upstream), PROXY_END_REFUSED);
    finish(a);
    assert_int_equal(proxy_cluster_run_connections(f->cluster), 0);
    teardown(f);
}

static void a_peer_that_goes_away_is_left(void **state)
{
    (void)state;
    struct fixture *f = &fixture;
    setup(f);
    f->silent = true;
    start(f);
    struct asker *old = ask(f);
    run(f);
    proxy_h2_drain(f->peers[0].h2, false);
    run(f);
    struct asker *new = ask(f);
    run(f);
    assert_int_equal(f->peer_count, 2);
    assert_int_equal(f->peers[1].requests, 1);
    answer(&f->peers[0].served[0]); /* what was under way ends */
    run(f);
    assert_string_equal(old->log, "open 200 OK 2 data end");
    assert_null(f->peers[0].conn);
    proxy_conn_close(fl_take(f->peers[1].conn), PROXY_CLOSE_FLUSH);
    peer_gone(&f->peers[1]);
    run(f);
    assert_string_equal(new->log, "open reset:connection closed");
    assert_int_equal(proxy_cluster_run_connections(f->cluster), 0);
    teardown(f);
}

static void a_refused_stream_is_told_as_refused(void **state)
{
    (void)state;
    struct fixture *f = &fixture;
    setup(f);
    start(f);
    run_until_done(f, ask(f));
    proxy_h2_drain(f->peers[0].h2, true); /* beyond the last one taken: refused */
    struct asker *a = ask(f);
    assert_true(a->upstream->opened);
    run(f);
    assert_non_null(strstr(a->log, "reset:refused before it began"));
    teardown(f);
}

static void a_new_certificate_is_a_new_connection(void **state)
{
    (void)state;
    struct fixture *f = &fixture;
    setup_tls(f, "h2");
    f->silent = true;
    start(f);
    struct asker *old = ask(f);
    run(f);
    assert_int_equal(f->peers[0].requests, 1);
    fl_tls_context_unref(f->client_tls);
    f->client_tls = context(CLIENT_ID, false, all_tokens);
    struct asker *new = ask(f);
    run(f);
    assert_int_equal(f->peer_count, 2);
    assert_int_equal(f->peers[1].requests, 1);
    answer(&f->peers[1].served[0]);
    answer(&f->peers[0].served[0]);
    run(f);
    assert_string_equal(old->log, "open 200 OK 2 data end");
    assert_string_equal(new->log, "open 200 OK 2 data end");
    assert_null(f->peers[0].conn); /* its last stream was the last one */
    assert_non_null(f->peers[1].conn);
    teardown(f);
}

static void between_sidecars_messages_are_restored(void **state)
{
    (void)state;
    struct fixture *f = &fixture;
    setup_tls(f, "fairlead-http/1");
    start(f);
    struct asker *a = ask(f), *b = ask(f);
    run_until_done(f, a);
    run_until_done(f, b);
    assert_string_equal(a->log, "open 200 Fine 1 data end");
    assert_string_equal(b->log, a->log);
    assert_int_equal(f->peer_count, 1);
    assert_string_equal(f->peers[0].last, "GET /a 1.1 Host User-Agent");
    a = ask(f);
    assert_true(
        fl_span_eq_str(proxy_tls_peer_preface(proxy_tls_of(a->upstream->conn))->fields[FL_PREFACE_WORKLOAD], "test"));
    run_until_done(f, a);
    teardown(f);
}

/* A gateway's clients speak what they like: what the application hears is what its cluster says. */
static void the_cluster_says_what_the_application_hears(void **state)
{
    (void)state;
    static const struct {
        enum proxy_cluster_http http;
        uint8_t major; /* of the client */
        const char *heard;
    } rows[] = {
        {PROXY_CLUSTER_HTTP1, 2, "GET /a 1.1 user-agent host"},
        {PROXY_CLUSTER_HTTP1, 1, "GET /a 1.1 Host User-Agent"},
        {PROXY_CLUSTER_HTTP2, 1, "GET /a 2.1 host user-agent"},
        {PROXY_CLUSTER_DOWNSTREAM, 2, "GET /a 2.1 host user-agent"},
        {PROXY_CLUSTER_DOWNSTREAM, 1, "GET /a 1.1 Host User-Agent"},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct fixture *f = &fixture;
        struct asker *asker;
        setup_tls(f, "fairlead-http/1");
        f->options.http = rows[i].http;
        start(f);
        assert_int_equal(try_to_ask(f, 0, &asker), PROXY_UPSTREAM_OK);
        parse(f, rows[i].major == 1 ? GET : "GET /a HTTP/1.1\r\nhost: h\r\nuser-agent: x\r\n\r\n");
        if (rows[i].major == 2) {
            proxy_headers_remove(&f->request.headers, FL_SPAN("host"));
            f->request.major = 2;
        }
        proxy_stream_send_head(asker->upstream->stream, &f->request, true);
        run_until_done(f, asker);
        assert_string_equal(f->peers[0].last, rows[i].heard);
        teardown(f);
    }
}

static void where_http1_is_agreed_on_everyone_has_his_own(void **state)
{
    (void)state;
    struct fixture *f = &fixture;
    setup_tls(f, "http/1.1");
    start(f);
    struct asker *a = ask(f), *b = ask(f), *c = ask(f);
    run_until_done(f, a);
    run_until_done(f, b);
    run_until_done(f, c);
    assert_string_equal(a->log, "open 200 OK 1 data end");
    assert_string_equal(c->log, "open 200 OK 1 data end");
    assert_int_equal(f->peer_count, 3);
    assert_int_equal(proxy_cluster_run_idle(f->cluster), 3);
    a = ask(f);
    assert_true(a->upstream->reused);
    run_until_done(f, a);
    assert_string_equal(a->log, "200 OK 1 data end");
    assert_int_equal(f->peer_count, 3);
    teardown(f);
}

static void a_handshake_that_fails_is_a_failed_dial(void **state)
{
    (void)state;
    struct fixture *f = &fixture;
    setup_tls(f, "h2");
    f->endpoint.identity = FL_SPAN("spiffe://cluster.local/ns/default/sa/somebody-else");
    start(f);
    struct asker *a = ask(f), *b = ask(f);
    run_until_done(f, a);
    run_until_done(f, b);
    assert_string_equal(a->log, "reset:connection failed");
    assert_string_equal(b->log, "reset:connection failed");
    teardown(f);
}

static void a_pinned_client_has_its_own_connection(void **state)
{
    (void)state;
    struct fixture *f = &fixture;
    struct asker *a, *b, *c;
    setup(f);
    start(f);
    run_until_done(f, ask(f));
    assert_int_equal(try_to_ask(f, 11, &a), PROXY_UPSTREAM_OK);
    assert_int_equal(try_to_ask(f, 12, &b), PROXY_UPSTREAM_OK);
    run(f);
    assert_int_equal(f->peer_count, 3);
    finish(a);
    finish(b);
    assert_int_equal(try_to_ask(f, 12, &c), PROXY_UPSTREAM_OK);
    assert_true(c->upstream->reused);
    run(f);
    assert_int_equal(f->peer_count, 3);
    teardown(f);
}

static void a_stalled_connection_gets_company(void **state)
{
    (void)state;
    struct fixture *f = &fixture;
    static char bytes[65536];
    int small = 4096;
    setup(f);
    assert_int_equal(setsockopt(f->server, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
    f->options.h2.stream_window = 0;
    start(f);
    struct asker *a;
    assert_int_equal(try_to_ask(f, 0, &a), PROXY_UPSTREAM_OK);
    run(f);
    proxy_conn_pause(f->peers[0].conn); /* it reads no more */
    assert_int_equal(setsockopt(proxy_conn_fd(a->upstream->conn), SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
    for (int i = 0; i < 10; i++) { /* several streams: none is held up by its window alone */
        struct asker *one;
        assert_int_equal(try_to_ask(f, 0, &one), PROXY_UPSTREAM_OK);
        parse(f, POST);
        proxy_stream_send_head(one->upstream->stream, &f->request, false);
        for (int k = 0; k < 4 && one->upstream != NULL; k++)
            proxy_stream_send_data(one->upstream->stream, fl_span_make(bytes, sizeof(bytes)));
        turns(f, 1);
    }
    bool second = false;
    for (int i = 0; i < 300 && !second; i++) {
        turns(f, 1);
        if (f->peer_count < 2 && i % 20 == 19)
            ask(f);
        second = f->peer_count == 2;
    }
    assert_true(second);
    teardown(f);
}

static void little_stands_in_front_of_a_small_request(void **state)
{
    (void)state;
    struct fixture *f = &fixture;
    static char bytes[65536];
    int small = 4096;
    setup(f);
    assert_int_equal(setsockopt(f->server, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
    start(f);
    struct asker *upload;
    assert_int_equal(try_to_ask(f, 0, &upload), PROXY_UPSTREAM_OK);
    run(f);
    struct proxy_conn *conn = upload->upstream->conn;
    proxy_conn_pause(f->peers[0].conn); /* the line is full */
    assert_int_equal(setsockopt(proxy_conn_fd(conn), SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
    parse(f, POST);
    proxy_stream_send_head(upload->upstream->stream, &f->request, false);
    for (int i = 0; i < 16; i++) {
        proxy_stream_send_data(upload->upstream->stream, fl_span_make(bytes, sizeof(bytes)));
        turns(f, 1);
    }
    assert_in_range(proxy_conn_unsent(conn), 1, PROXY_CONN_HIGH + PROXY_H2_FRAME_MAX + 64);
    teardown(f);
}

static void what_is_retired_ends_with_its_streams(void **state)
{
    (void)state;
    struct fixture *f = &fixture;
    setup(f);
    f->silent = true;
    start(f);
    struct asker *a = ask(f);
    run(f);
    proxy_cluster_run_retire(f->cluster);
    run(f);
    assert_int_equal(live_peers(f), 1);
    answer(&f->peers[0].served[0]);
    run(f);
    assert_string_equal(a->log, "open 200 OK 2 data end");
    assert_int_equal(live_peers(f), 0);
    teardown(f);
}

static void a_host_that_is_gone_ends_with_its_streams(void **state)
{
    (void)state;
    struct fixture *f = &fixture;
    setup(f);
    f->silent = true;
    start(f);
    struct asker *a = ask(f);
    run(f);
    struct asker *waits = ask(f);
    f->options.endpoint_count = 0;
    change(f);
    run(f);
    assert_int_equal(live_peers(f), 1);
    answer(&f->peers[0].served[0]);
    answer(&f->peers[0].served[1]);
    run(f);
    assert_string_equal(a->log, "open 200 OK 2 data end");
    assert_string_equal(waits->log, "200 OK 2 data end");
    assert_int_equal(live_peers(f), 0);
    teardown(f);
}

static void requests_are_limited_and_given_back(void **state)
{
    (void)state;
    struct fixture *f = &fixture;
    struct asker *a;
    setup(f);
    f->options.limits[PROXY_UPSTREAM_LIMIT_REQUESTS] = 2;
    start(f);
    struct asker *first = ask(f), *second = ask(f);
    assert_int_equal(try_to_ask(f, 0, &a), PROXY_UPSTREAM_OVERFLOW);
    assert_int_equal(f->overflows, 1);
    run_until_done(f, first);
    run_until_done(f, second);
    ask(f);
    run(f);
    teardown(f);
}

static void connections_serve_so_many_requests(void **state)
{
    (void)state;
    struct fixture *f = &fixture;
    setup(f);
    f->options.max_requests_per_connection = 2;
    start(f);
    for (int i = 0; i < 5; i++)
        run_until_done(f, ask(f));
    assert_int_equal(f->peer_count, 3);
    run(f);
    assert_int_equal(live_peers(f), 1);
    teardown(f);
}

static void the_user_may_finish_at_any_time(void **state)
{
    (void)state;
    for (int after = 0; after < 12; after++) {
        struct fixture *f = &fixture;
        setup(f);
        f->silent = after % 2 == 0;
        start(f);
        struct asker *a = ask(f), *b = ask(f);
        turns(f, after);
        finish(a);
        turns(f, 1);
        if (!f->silent)
            run_until_done(f, b);
        teardown(f);
    }
}

/* Handshakes are the dearest thing that a worker does: one step a turn, so that what is open goes on meanwhile. */
static void a_storm_of_handshakes_holds_nobody_up(void **state)
{
    (void)state;
    struct fixture *f = &fixture;
    struct asker *storm[100];
    setup_tls(f, "h2");
    start(f);
    run_until_done(f, ask(f));
    for (size_t i = 0; i < FL_COUNT(storm); i++) /* each with a connection of its own */
        assert_int_equal(try_to_ask(f, 1 + i, &storm[i]), PROXY_UPSTREAM_OK);
    turns(f, 20); /* they are under way */
    for (int i = 0; i < 10; i++) {
        struct asker *a = ask(f);
        turns(f, 5);
        assert_string_equal(a->log, "200 OK 2 data end");
    }
    size_t open = 0;
    for (size_t i = 0; i < FL_COUNT(storm); i++)
        open += storm[i]->upstream->opened;
    assert_in_range(open, 0, 50); /* 70 turns: two steps of ours and one of the server's for each */
    for (int i = 0; i < 2000 && !storm[FL_COUNT(storm) - 1]->upstream->opened; i++)
        turns(f, 1);
    assert_true(storm[FL_COUNT(storm) - 1]->upstream->opened);
    teardown(f);
}

static void memory_runs_out(void **state)
{
    (void)state;
    FAIL_EACH_ALLOCATION
    {
        struct fixture *f = &fixture;
        struct asker *a = NULL;
        fail_stop();
        setup(f);
        f->silent = true;
        start(f);
        fail_at(fail_round_);
        int result = try_to_ask(f, 0, &a);
        if (result == PROXY_UPSTREAM_OK) {
            parse(f, POST);
            proxy_stream_send_head(a->upstream->stream, &f->request, false);
            proxy_stream_send_data(a->upstream->stream, FL_SPAN("some bytes"));
            for (int i = 0; i < 6; i++) { /* the server's allocations are not meant */
                if (f->server >= 0 && f->peer_count == 0) {
                    bool happened = fail_happened();
                    if (!happened)
                        assert_true(fl_loop_turn(f->loop, 1) >= 0);
                }
            }
        }
        fail_stop();
        if (result < 0)
            assert_int_equal(result, -ENOMEM);
        run(f);
        if (result == PROXY_UPSTREAM_OK && a->upstream == NULL)
            assert_non_null(strstr(a->log, "reset:"));
        teardown(f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_asks_during_a_dial_waits_for_it),
        cmocka_unit_test(a_body_waits_too_and_is_bounded),
        cmocka_unit_test(a_full_connection_is_joined_by_another),
        cmocka_unit_test(the_peers_limit_counts),
        cmocka_unit_test(a_failed_dial_is_told_to_all_who_wait),
        cmocka_unit_test(a_peer_that_goes_away_is_left),
        cmocka_unit_test(a_refused_stream_is_told_as_refused),
        cmocka_unit_test(a_new_certificate_is_a_new_connection),
        cmocka_unit_test(between_sidecars_messages_are_restored),
        cmocka_unit_test(the_cluster_says_what_the_application_hears),
        cmocka_unit_test(where_http1_is_agreed_on_everyone_has_his_own),
        cmocka_unit_test(a_handshake_that_fails_is_a_failed_dial),
        cmocka_unit_test(a_pinned_client_has_its_own_connection),
        cmocka_unit_test(a_stalled_connection_gets_company),
        cmocka_unit_test(little_stands_in_front_of_a_small_request),
        cmocka_unit_test(what_is_retired_ends_with_its_streams),
        cmocka_unit_test(a_host_that_is_gone_ends_with_its_streams),
        cmocka_unit_test(requests_are_limited_and_given_back),
        cmocka_unit_test(connections_serve_so_many_requests),
        cmocka_unit_test(the_user_may_finish_at_any_time),
        cmocka_unit_test(a_storm_of_handshakes_holds_nobody_up),
        cmocka_unit_test(memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
