/* Connections with TLS (proxy/tls/filter over proxy/net/conn): both ends are ours, over a socketpair, in one loop. */
#include "proxy/tls/filter.h"

#include "tests/support/fail.h"
#include "tests/unit/common/authority.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>

#include <cmocka.h>

#define CLIENT_ID "spiffe://cluster.local/ns/demo/sa/client"
#define SERVER_ID "spiffe://cluster.local/ns/demo/sa/server"

struct end {
    struct proxy_conn *conn;
    char text[262144];
    size_t len;
    unsigned opened, eof, writable, closed;
    enum proxy_end why;
    char error[256];
    bool answer_at_open;
};

struct fixture {
    struct fl_loop *loop;
    struct proxy_turn turn;
    struct fl_tls_context *contexts[2];
    struct fl_buf prefaces[2];
    struct fl_span preface_texts[2];
    struct end ends[2]; /* 0: the client */
    int wires[4];       /* client – [1] relay [2] – server: the test carries the bytes */
    size_t piece;       /* bytes carried at a time */
};

static void on_open(void *owner)
{
    struct end *end = owner;
    end->opened++;
    if (end->answer_at_open)
        proxy_conn_write(end->conn, FL_SPAN("server first"));
}

static size_t on_data(void *owner, struct fl_span bytes)
{
    struct end *end = owner;
    assert_true(end->len + bytes.len <= sizeof(end->text));
    memcpy(end->text + end->len, bytes.data, bytes.len);
    end->len += bytes.len;
    return bytes.len;
}

static void on_eof(void *owner)
{
    ((struct end *)owner)->eof++;
}

static void on_writable(void *owner)
{
    ((struct end *)owner)->writable++;
}

static void on_closed(void *owner, enum proxy_end why)
{
    struct end *end = owner;
    end->closed++;
    end->why = why;
    snprintf(end->error, sizeof(end->error), "%s", proxy_conn_error(end->conn));
    end->conn = NULL;
}

static const struct proxy_conn_ops ops = {on_open, on_data, on_eof, on_writable, on_closed};

static struct fl_tls_context *context(const struct authority *authority, const char *uri, bool server, const char *alpn,
                                      const struct fl_bundle *trust)
{
    struct identity identity;
    const struct fl_span token = fl_span_str(alpn);
    authority_issue(authority, uri, NULL, &identity);
    const struct fl_tls_options options = {
        .server = server,
        .cert = identity.cert,
        .key = identity.key,
        .bundle = (struct fl_bundle *)(uintptr_t)trust,
        .require_peer_cert = true,
        .require_spiffe = true,
        .alpn = &token,
        .alpn_count = alpn != NULL,
    };
    struct fl_tls_context *made = NULL;
    struct fl_err err = {0};
    if (fl_tls_context_new(&options, &made, &err) < 0)
        fail_msg("%s", err.text);
    identity_done(&identity);
    return made;
}

static void setup(struct fixture *f, const char *alpn, bool foreign)
{
    static struct authority authority, other;
    memset(f, 0, sizeof(*f));
    f->piece = 65536;
    if (authority.key == NULL) {
        authority_init(&authority, "root");
        authority_init(&other, "other root");
    }
    f->contexts[0] = context(foreign ? &other : &authority, CLIENT_ID, false, alpn, authority.bundle);
    f->contexts[1] = context(&authority, SERVER_ID, true, alpn, authority.bundle);
    for (int i = 0; i < 2; i++) {
        struct fl_preface preface = {0};
        preface.fields[FL_PREFACE_WORKLOAD] = i == 0 ? FL_SPAN("client") : FL_SPAN("server");
        fl_buf_init(&f->prefaces[i], 2048);
        assert_int_equal(fl_preface_print(&preface, &f->prefaces[i]), 0);
    }
    assert_int_equal(fl_loop_new(&f->loop), 0);
    assert_int_equal(proxy_turn_init(&f->turn, f->loop), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, f->wires), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, f->wires + 2), 0);
}

static int start(struct fixture *f, int which)
{
    struct proxy_address none = {0};
    struct end *end = &f->ends[which];
    int fd = f->wires[which == 0 ? 0 : 3];
    int result = proxy_conn_accept(&f->turn, fd, &none, &end->conn);
    if (result < 0) {
        close(fd);
        return result;
    }
    proxy_conn_set_owner(end->conn, &ops, end);
    f->preface_texts[which] = fl_buf_span(&f->prefaces[which]);
    const struct proxy_tls_options options = {
        .context = f->contexts[which], .server = which == 1, .preface = &f->preface_texts[which], .timeout_ms = 5000};
    result = proxy_tls_start(end->conn, &options);
    if (result < 0)
        proxy_conn_close(fl_take(end->conn), PROXY_CLOSE_NOW);
    return result;
}

static bool carry(struct fixture *f, int from, int to)
{
    static char bytes[65536];
    ssize_t got = f->wires[from] < 0 ? -1 : recv(f->wires[from], bytes, f->piece, 0);
    if (got == 0)
        (void)shutdown(f->wires[to], SHUT_WR);
    if (got > 0 && f->wires[to] >= 0)
        (void)!send(f->wires[to], bytes, (size_t)got, MSG_NOSIGNAL);
    return got > 0;
}

static void run(struct fixture *f)
{
    for (int quiet = 0; quiet < 6;) {
        assert_true(fl_loop_turn(f->loop, 0) >= 0);
        bool moved = carry(f, 1, 2);
        moved |= carry(f, 2, 1);
        quiet = moved ? 0 : quiet + 1;
    }
}

static void teardown(struct fixture *f)
{
    for (int i = 0; i < 2; i++)
        proxy_conn_close(f->ends[i].conn, PROXY_CLOSE_NOW);
    for (int i = 0; i < 4; i++)
        assert_true(fl_loop_turn(f->loop, 0) >= 0);
    fl_cleanup_close(&f->wires[1]);
    fl_cleanup_close(&f->wires[2]);
    assert_int_equal(f->turn.pool.in_use, 0);
    proxy_turn_done(&f->turn);
    fl_loop_free(f->loop);
    for (int i = 0; i < 2; i++) {
        fl_tls_context_unref(f->contexts[i]);
        fl_buf_done(&f->prefaces[i]);
    }
}

static void both_ends_meet(struct fixture *f)
{
    assert_int_equal(start(f, 0), 0);
    assert_int_equal(start(f, 1), 0);
    proxy_conn_write(f->ends[0].conn, FL_SPAN("before it is open")); /* waits for it */
    run(f);
    assert_int_equal(f->ends[0].opened, 1);
    assert_int_equal(f->ends[1].opened, 1);
    assert_int_equal(f->ends[1].len, 17);
    assert_memory_equal(f->ends[1].text, "before it is open", 17);
}

static void identities_and_prefaces_are_exchanged(void **state)
{
    const char *alpn = *state;
    static struct fixture f;
    setup(&f, alpn, false);
    f.ends[1].answer_at_open = true;
    both_ends_meet(&f);
    const struct proxy_tls *client = proxy_tls_of(f.ends[0].conn), *server = proxy_tls_of(f.ends[1].conn);
    assert_true(fl_span_eq_str(proxy_tls_peer_identity(client), SERVER_ID));
    assert_true(fl_span_eq_str(proxy_tls_peer_identity(server), CLIENT_ID));
    assert_true(fl_span_eq_str(proxy_tls_peer_preface(client)->fields[FL_PREFACE_WORKLOAD], "server"));
    assert_true(fl_span_eq_str(proxy_tls_peer_preface(server)->fields[FL_PREFACE_WORKLOAD], "client"));
    assert_true(fl_span_eq_str(proxy_tls_alpn(server), alpn));
    assert_memory_equal(f.ends[0].text, "server first", 12);
    assert_int_equal(f.ends[0].len, 12);
    teardown(&f);
}

static void every_byte_split(void **state)
{
    (void)state;
    static struct fixture f;
    setup(&f, FL_ALPN_TCP, false);
    f.piece = 1;
    both_ends_meet(&f);
    teardown(&f);
}

static struct fixture *looking;

/* A server that looks at the first bytes, and leaves them to TLS. */
static size_t look(void *owner, struct fl_span bytes)
{
    struct end *end = owner;
    const struct proxy_tls_options options = {
        .context = looking->contexts[1], .server = true, .preface = &looking->preface_texts[1], .timeout_ms = 5000};
    assert_true(bytes.len > 0);
    proxy_conn_set_owner(end->conn, &ops, end);
    assert_int_equal(proxy_tls_start(end->conn, &options), 0);
    return 0;
}

static void tls_begins_with_bytes_that_were_looked_at(void **state)
{
    (void)state;
    static struct fixture f;
    static const struct proxy_conn_ops look_ops = {on_open, look, on_eof, on_writable, on_closed};
    const struct proxy_address none = {0};
    setup(&f, FL_ALPN_TCP, false);
    looking = &f;
    f.preface_texts[1] = fl_buf_span(&f.prefaces[1]);
    assert_int_equal(start(&f, 0), 0);
    assert_int_equal(proxy_conn_accept(&f.turn, f.wires[3], &none, &f.ends[1].conn), 0);
    proxy_conn_set_owner(f.ends[1].conn, &look_ops, &f.ends[1]);
    run(&f);
    assert_int_equal(f.ends[0].opened, 1);
    assert_int_equal(f.ends[1].opened, 1);
    teardown(&f);
}

static void without_our_alpn_there_is_no_preface(void **state)
{
    (void)state;
    static struct fixture f;
    setup(&f, NULL, false);
    both_ends_meet(&f);
    assert_int_equal(proxy_tls_peer_preface(proxy_tls_of(f.ends[1].conn))->fields[FL_PREFACE_WORKLOAD].len, 0);
    teardown(&f);
}

static void half_close_goes_through_both_ways(void **state)
{
    (void)state;
    static struct fixture f;
    setup(&f, FL_ALPN_TCP, false);
    both_ends_meet(&f);
    proxy_conn_shutdown(f.ends[0].conn);
    run(&f);
    assert_int_equal(f.ends[1].eof, 1);
    assert_int_equal(f.ends[1].closed, 0);
    proxy_conn_write(f.ends[1].conn, FL_SPAN("after your end"));
    proxy_conn_shutdown(f.ends[1].conn);
    run(&f);
    assert_memory_equal(f.ends[0].text, "after your end", 14);
    assert_int_equal(f.ends[0].eof, 1);
    assert_int_equal(f.ends[0].closed, 0);
    teardown(&f);
}

static void a_fin_without_close_notify_is_a_truncation(void **state)
{
    (void)state;
    static struct fixture f;
    setup(&f, FL_ALPN_TCP, false);
    both_ends_meet(&f);
    assert_int_equal(shutdown(f.wires[1], SHUT_WR), 0);
    run(&f);
    assert_int_equal(f.ends[0].closed, 1);
    assert_int_equal(f.ends[0].why, PROXY_END_TRUNCATED);
    assert_int_equal(f.ends[0].eof, 0);
    teardown(&f);
}

static void a_flushing_close_delivers_everything_and_says_goodbye(void **state)
{
    (void)state;
    static struct fixture f;
    static char block[200000];
    setup(&f, FL_ALPN_TCP, false);
    both_ends_meet(&f);
    f.ends[1].len = 0;
    proxy_conn_write(f.ends[0].conn, fl_span_make(block, sizeof(block)));
    proxy_conn_close(fl_take(f.ends[0].conn), PROXY_CLOSE_FLUSH);
    run(&f);
    assert_int_equal(f.ends[1].len, sizeof(block));
    assert_int_equal(f.ends[1].eof, 1);
    assert_int_equal(f.ends[1].closed, 0);
    teardown(&f);
}

static void a_foreign_certificate_is_refused_and_the_client_is_told(void **state)
{
    (void)state;
    static struct fixture f;
    setup(&f, FL_ALPN_TCP, true);
    assert_int_equal(start(&f, 0), 0);
    assert_int_equal(start(&f, 1), 0);
    run(&f);
    assert_int_equal(f.ends[1].opened, 0);
    assert_int_equal(f.ends[1].closed, 1);
    assert_int_equal(f.ends[1].why, PROXY_END_TLS);
    assert_int_equal(f.ends[0].closed, 1);
    assert_int_equal(f.ends[0].why, PROXY_END_TLS); /* the alert came */
    assert_true(strlen(f.ends[1].error) > 0);
    teardown(&f);
}

static void plaintext_to_a_tls_server_is_refused(void **state)
{
    (void)state;
    static struct fixture f;
    setup(&f, FL_ALPN_TCP, false);
    assert_int_equal(start(&f, 1), 0);
    assert_int_equal(write(f.wires[2], "GET / HTTP/1.1\r\n\r\n", 18), 18);
    for (int i = 0; i < 4; i++)
        assert_true(fl_loop_turn(f.loop, 0) >= 0);
    assert_int_equal(f.ends[1].closed, 1);
    assert_int_equal(f.ends[1].opened, 0);
    close(f.wires[0]);
    teardown(&f);
}

/* --- many at once ------------------------------------------------------------------------------------------------ */

#define STORM 24

struct storm {
    struct end ends[STORM][2];
    struct end plain;
    int wire; /* the other end of plain */
};

static void storm_begin(struct fixture *f, struct storm *storm)
{
    struct proxy_address none = {0};
    int fds[2];
    memset(storm, 0, sizeof(*storm));
    for (int i = 0; i < 2; i++)
        f->preface_texts[i] = fl_buf_span(&f->prefaces[i]);
    for (int i = 0; i <= STORM; i++) {
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
        struct end *ends = i < STORM ? storm->ends[i] : &storm->plain;
        for (int k = 0; k < (i < STORM ? 2 : 1); k++) {
            const struct proxy_tls_options options = {
                .context = f->contexts[k], .server = k == 1, .preface = &f->preface_texts[k], .timeout_ms = 60000};
            assert_int_equal(proxy_conn_accept(&f->turn, fds[k], &none, &ends[k].conn), 0);
            proxy_conn_set_owner(ends[k].conn, &ops, &ends[k]);
            if (i < STORM)
                assert_int_equal(proxy_tls_start(ends[k].conn, &options), 0);
        }
    }
    storm->wire = fds[1];
}

static unsigned opened_of(const struct storm *storm)
{
    unsigned opened = 0;
    for (int i = 0; i < STORM; i++)
        opened += storm->ends[i][0].opened + storm->ends[i][1].opened;
    return opened;
}

static void many_handshakes_take_one_step_a_turn_and_others_are_served_in_each(void **state)
{
    (void)state;
    static struct fixture f;
    static struct storm storm;
    setup(&f, FL_ALPN_TCP, false);
    storm_begin(&f, &storm);
    unsigned turns = 0;
    for (; opened_of(&storm) < 2 * STORM; turns++) {
        uint64_t before = f.turn.handshakes.steps;
        storm.plain.len = 0;
        assert_int_equal(write(storm.wire, "request", 7), 7);
        assert_true(fl_loop_turn(f.loop, 0) >= 0);
        assert_int_equal(storm.plain.len, 7);
        assert_in_range(f.turn.handshakes.steps - before, 0, 1);
        assert_true(turns < 8 * STORM);
    }
    assert_in_range(f.turn.handshakes.steps, 4 * STORM - 2, 6 * STORM); /* two a side; the server's preface */
    for (int i = 0; i < STORM; i++) {
        for (int k = 0; k < 2; k++)
            proxy_conn_close(storm.ends[i][k].conn, PROXY_CLOSE_NOW);
    }
    proxy_conn_close(storm.plain.conn, PROXY_CLOSE_NOW);
    close(storm.wire);
    close(f.wires[0]);
    close(f.wires[3]);
    teardown(&f);
    assert_int_equal(f.turn.handshakes.places, 0);
}

static void memory_that_is_out_ends_it_cleanly(void **state)
{
    (void)state;
    FAIL_EACH_ALLOCATION
    {
        static struct fixture f;
        size_t countdown = fail_round_;
        fail_stop();
        setup(&f, FL_ALPN_TCP, false);
        fail_at(countdown);
        int results[2] = {start(&f, 0), start(&f, 1)};
        if (f.ends[0].conn != NULL)
            proxy_conn_write(f.ends[0].conn, FL_SPAN("x"));
        run(&f);
        if (fail_happened())
            assert_true(results[0] < 0 || results[1] < 0 || f.ends[0].closed + f.ends[1].closed > 0);
        else
            assert_int_equal(f.ends[1].len, 1);
        fail_stop();
        bool happened = fail_happened();
        teardown(&f);
        assert_int_equal(happened, fail_happened());
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(identities_and_prefaces_are_exchanged, (void *)(uintptr_t)FL_ALPN_TCP),
        cmocka_unit_test_prestate(identities_and_prefaces_are_exchanged, (void *)(uintptr_t)FL_ALPN_HTTP),
        cmocka_unit_test(every_byte_split),
        cmocka_unit_test(tls_begins_with_bytes_that_were_looked_at),
        cmocka_unit_test(without_our_alpn_there_is_no_preface),
        cmocka_unit_test(half_close_goes_through_both_ways),
        cmocka_unit_test(a_fin_without_close_notify_is_a_truncation),
        cmocka_unit_test(a_flushing_close_delivers_everything_and_says_goodbye),
        cmocka_unit_test(a_foreign_certificate_is_refused_and_the_client_is_told),
        cmocka_unit_test(plaintext_to_a_tls_server_is_refused),
        cmocka_unit_test(many_handshakes_take_one_step_a_turn_and_others_are_served_in_each),
        cmocka_unit_test(memory_that_is_out_ends_it_cleanly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
