/* proxy/net/conn: a plain connection over a socketpair, its other end played by the test. */
#include "proxy/net/conn.h"

#include "tests/support/fail.h"

#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>

#include <cmocka.h>

struct fixture {
    struct fl_loop *loop;
    struct proxy_turn turn;
    struct proxy_conn *conn;
    int peer;
    /* what the owner saw */
    char text[8192];
    size_t len;
    size_t consume; /* bytes that on_data takes at most */
    unsigned shown, opened, eof, writable, closed;
    enum proxy_end end;
    enum { KEEP, CLOSE_IN_DATA, CLOSE_IN_EOF, PAUSE_IN_DATA, ECHO, CLOSE_IN_WRITABLE } act;
};

static void on_open(void *owner)
{
    ((struct fixture *)owner)->opened++;
}

static size_t on_data(void *owner, struct fl_span bytes)
{
    struct fixture *f = owner;
    f->shown++;
    size_t used = bytes.len < f->consume ? bytes.len : f->consume;
    if (f->len + used <= sizeof(f->text))
        memcpy(f->text + f->len, bytes.data, used);
    f->len += used;
    if (f->act == CLOSE_IN_DATA)
        proxy_conn_close(fl_take(f->conn), PROXY_CLOSE_NOW);
    if (f->act == PAUSE_IN_DATA)
        proxy_conn_pause(f->conn);
    if (f->act == ECHO)
        proxy_conn_write(f->conn, fl_span_make(bytes.data, used));
    return used;
}

static void on_eof(void *owner)
{
    struct fixture *f = owner;
    f->eof++;
    if (f->act == CLOSE_IN_EOF)
        proxy_conn_close(fl_take(f->conn), PROXY_CLOSE_FLUSH);
}

static void on_writable(void *owner)
{
    struct fixture *f = owner;
    f->writable++;
    if (f->act == CLOSE_IN_WRITABLE)
        proxy_conn_close(fl_take(f->conn), PROXY_CLOSE_NOW);
}

static void on_closed(void *owner, enum proxy_end end)
{
    struct fixture *f = owner;
    f->closed++;
    f->end = end;
    f->conn = NULL;
}

static const struct proxy_conn_ops ops = {on_open, on_data, on_eof, on_writable, on_closed};

static void setup_with(struct fixture *f, const int fds[2])
{
    memset(f, 0, sizeof(*f));
    f->consume = SIZE_MAX;
    assert_int_equal(fl_loop_new(&f->loop), 0);
    assert_int_equal(proxy_turn_init(&f->turn, f->loop), 0);
    f->peer = fds[1];
    struct proxy_address none = {0};
    assert_int_equal(proxy_conn_accept(&f->turn, fds[0], &none, &f->conn), 0);
    proxy_conn_set_owner(f->conn, &ops, f);
}

static void setup(struct fixture *f)
{
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    setup_with(f, fds);
}

/* Over TCP, for what a local socket does not do: a reset. */
static void setup_tcp(struct fixture *f)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    int fds[2], listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    fds[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fds[1], (struct sockaddr *)&address, size), 0);
    fds[0] = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    close(listener);
    setup_with(f, fds);
}

static void run(struct fixture *f)
{
    for (int i = 0; i < 8; i++)
        assert_true(fl_loop_turn(f->loop, 0) >= 0);
}

static void teardown(struct fixture *f)
{
    proxy_conn_close(f->conn, PROXY_CLOSE_NOW);
    proxy_turn_abort(&f->turn);
    run(f);
    if (f->peer >= 0)
        close(f->peer);
    assert_int_equal(f->turn.connections, 0);
    assert_int_equal(f->turn.pool.in_use, 0);
    proxy_turn_done(&f->turn);
    fl_loop_free(f->loop);
}

static void say(struct fixture *f, const char *text)
{
    assert_int_equal(write(f->peer, text, strlen(text)), (ssize_t)strlen(text));
}

static void delivers_what_comes(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    say(&f, "hello");
    run(&f);
    say(&f, " world");
    run(&f);
    assert_memory_equal(f.text, "hello world", 11);
    assert_int_equal(f.shown, 2);
    assert_int_equal(proxy_conn_bytes_received(f.conn), 11);
    teardown(&f);
}

static void shows_unconsumed_bytes_again_with_more(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    f.consume = 0;
    for (const char *at = "abcdef"; *at != '\0'; at++) { /* every byte a piece */
        assert_int_equal(write(f.peer, at, 1), 1);
        run(&f);
    }
    assert_int_equal(f.shown, 6);
    assert_int_equal(proxy_conn_unread(f.conn), 6);
    f.consume = 4;
    proxy_conn_resume(f.conn);
    run(&f);
    assert_memory_equal(f.text, "abcd", 4);
    assert_int_equal(proxy_conn_unread(f.conn), 2);
    f.consume = SIZE_MAX;
    say(&f, "g");
    run(&f);
    assert_memory_equal(f.text, "abcdefg", 7);
    assert_int_equal(proxy_conn_unread(f.conn), 0);
    teardown(&f);
}

static void paused_reads_nothing_and_resumes_where_it_was(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    proxy_conn_pause(f.conn);
    say(&f, "abc");
    run(&f);
    assert_int_equal(f.shown, 0);
    proxy_conn_resume(f.conn);
    run(&f);
    assert_memory_equal(f.text, "abc", 3);
    f.act = PAUSE_IN_DATA;
    f.consume = 1;
    say(&f, "def");
    run(&f);
    assert_int_equal(f.len, 4);
    proxy_conn_resume(f.conn);
    run(&f);
    assert_int_equal(f.len, 5);
    assert_int_equal(proxy_conn_unread(f.conn), 1);
    teardown(&f);
}

/* Whose bytes wait may be waiting for long: that nobody wants the answer any more is told at once. */
static void a_reset_is_told_while_paused(void **state)
{
    (void)state;
    struct fixture f;
    setup_tcp(&f);
    proxy_conn_pause(f.conn);
    say(&f, "waits");
    run(&f);
    const struct linger hard = {.l_onoff = 1};
    assert_int_equal(setsockopt(f.peer, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)), 0);
    close(f.peer);
    f.peer = -1;
    run(&f);
    assert_int_equal(f.closed, 1);
    assert_int_equal(f.end, PROXY_END_RESET);
    assert_int_equal(f.shown, 0);
    teardown(&f);
}

static void a_fin_is_told_once_after_the_data_and_writing_goes_on(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    say(&f, "last");
    assert_int_equal(shutdown(f.peer, SHUT_WR), 0);
    run(&f);
    assert_memory_equal(f.text, "last", 4);
    assert_int_equal(f.eof, 1);
    assert_false(proxy_conn_is_open(f.conn));
    proxy_conn_write(f.conn, FL_SPAN("answer"));
    proxy_conn_shutdown(f.conn);
    run(&f);
    char answer[16];
    assert_int_equal(read(f.peer, answer, sizeof(answer)), 6);
    assert_memory_equal(answer, "answer", 6);
    assert_int_equal(read(f.peer, answer, sizeof(answer)), 0);
    assert_int_equal(f.closed, 0);
    teardown(&f);
}

static void a_fin_waits_while_paused(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    proxy_conn_pause(f.conn);
    say(&f, "x");
    assert_int_equal(shutdown(f.peer, SHUT_WR), 0);
    run(&f);
    assert_int_equal(f.eof, 0);
    assert_true(proxy_conn_saw_eof(f.conn));
    proxy_conn_resume(f.conn);
    run(&f);
    assert_int_equal(f.len, 1);
    assert_int_equal(f.eof, 1);
    teardown(&f);
}

static void one_send_a_turn(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    for (int i = 0; i < 3; i++)
        proxy_conn_write(f.conn, FL_SPAN("piece"));
    char got[64];
    assert_int_equal(read(f.peer, got, sizeof(got)), -1); /* nothing before the turn's end */
    run(&f);
    assert_int_equal(read(f.peer, got, sizeof(got)), 15);
    assert_int_equal(f.turn.pool.in_use, 0); /* and no memory is held */
    teardown(&f);
}

/* Much in one turn, to a socket that takes it: one send at the end, and nobody is told to pause for it. */
static void a_turns_bytes_are_collected_beyond_the_watermark(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    const int room = 1 << 20;
    assert_int_equal(setsockopt(proxy_conn_fd(f.conn), SOL_SOCKET, SO_SNDBUF, &room, sizeof(room)), 0);
    static const char block[16384];
    static char sink[PROXY_CONN_COLLECT];
    size_t written = 0;
    for (; written + sizeof(block) < PROXY_CONN_COLLECT; written += sizeof(block)) {
        proxy_conn_write(f.conn, fl_span_make(block, sizeof(block)));
        assert_false(proxy_conn_is_backlogged(f.conn));
    }
    assert_int_equal(read(f.peer, sink, sizeof(sink)), -1);
    assert_int_equal(proxy_conn_unsent(f.conn), written);
    size_t got = 0;
    while (got < written) {
        ssize_t n = read(f.peer, sink, sizeof(sink));
        if (n > 0)
            got += (size_t)n;
        else
            run(&f);
    }
    run(&f);
    assert_int_equal(proxy_conn_unsent(f.conn), 0);
    assert_false(proxy_conn_is_backlogged(f.conn));
    teardown(&f);
}

/* … but where memory is short the small watermark counts. */
static void a_lean_pool_collects_nothing(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    const int little = 4096;
    assert_int_equal(setsockopt(proxy_conn_fd(f.conn), SOL_SOCKET, SO_SNDBUF, &little, sizeof(little)), 0);
    f.turn.pool.lean = true;
    static const char block[16384];
    for (int i = 0; i < 4 && !proxy_conn_is_backlogged(f.conn); i++)
        proxy_conn_write(f.conn, fl_span_make(block, sizeof(block)));
    assert_true(proxy_conn_is_backlogged(f.conn));
    f.turn.pool.lean = false;
    teardown(&f);
}

static void a_slow_reader_makes_it_backlogged_until_it_reads(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    static const char block[16384];
    size_t written = 0;
    while (!proxy_conn_is_backlogged(f.conn)) {
        proxy_conn_write(f.conn, fl_span_make(block, sizeof(block)));
        written += sizeof(block);
        run(&f);
    }
    assert_true(proxy_conn_unsent(f.conn) < PROXY_CONN_HIGH + sizeof(block));
    static char sink[65536];
    size_t got = 0;
    while (got < written) {
        ssize_t n = read(f.peer, sink, sizeof(sink));
        if (n > 0)
            got += (size_t)n;
        else
            run(&f);
    }
    run(&f);
    assert_int_equal(f.writable, 1);
    assert_false(proxy_conn_is_backlogged(f.conn));
    assert_int_equal(proxy_conn_unsent(f.conn), 0);
    teardown(&f);
}

static void input_stops_at_its_limit(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    f.consume = 0;
    static const char block[16384];
    for (int i = 0; i < 64; i++) {
        (void)!write(f.peer, block, sizeof(block));
        run(&f);
    }
    assert_true(proxy_conn_unread(f.conn) <= PROXY_CONN_INPUT_MAX + PROXY_TURN_READ);
    teardown(&f);
}

static void may_be_closed_in_every_callback(void **state)
{
    (void)state;
    for (int where = 0; where < 3; where++) {
        struct fixture f;
        setup(&f);
        f.act = where == 0 ? CLOSE_IN_DATA : where == 1 ? CLOSE_IN_EOF : CLOSE_IN_WRITABLE;
        if (where == 2) {
            static const char block[65536];
            while (!proxy_conn_is_backlogged(f.conn))
                proxy_conn_write(f.conn, fl_span_make(block, sizeof(block)));
            static char sink[65536];
            for (int i = 0; i < 64 && f.conn != NULL; i++) {
                while (read(f.peer, sink, sizeof(sink)) > 0)
                    ;
                run(&f);
            }
        } else {
            say(&f, "x");
            assert_int_equal(shutdown(f.peer, SHUT_WR), 0);
            run(&f);
        }
        assert_null(f.conn);
        assert_int_equal(f.closed, 0); /* the owner has closed: nothing is told */
        static char rest[65536];
        while (read(f.peer, rest, sizeof(rest)) > 0) /* what the socket had taken before */
            ;
        assert_int_equal(read(f.peer, rest, 1), 0);
        teardown(&f);
    }
}

static void a_flushing_close_sends_everything_first(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    static const char block[300000];
    proxy_conn_write(f.conn, fl_span_make(block, sizeof(block)));
    proxy_conn_close(fl_take(f.conn), PROXY_CLOSE_FLUSH);
    static char sink[65536];
    size_t got = 0;
    ssize_t n;
    for (int i = 0; i < 1000; i++) {
        run(&f);
        while ((n = read(f.peer, sink, sizeof(sink))) > 0)
            got += (size_t)n;
        if (n == 0)
            break;
    }
    assert_int_equal(got, sizeof(block));
    assert_int_equal(f.turn.connections, 0);
    teardown(&f);
}

static void a_lingering_close_waits_for_the_peers_end(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    f.consume = 0;
    say(&f, "unread request body");
    run(&f);
    proxy_conn_write(f.conn, FL_SPAN("no"));
    proxy_conn_close(fl_take(f.conn), PROXY_CLOSE_LINGER);
    run(&f);
    say(&f, "more of it");
    run(&f);
    char got[8];
    assert_int_equal(read(f.peer, got, sizeof(got)), 2);
    assert_int_equal(read(f.peer, got, sizeof(got)), 0);
    assert_int_equal(f.turn.connections, 1);
    assert_int_equal(shutdown(f.peer, SHUT_WR), 0);
    run(&f);
    assert_int_equal(f.turn.connections, 0);
    teardown(&f);
}

static void a_vanished_peer_ends_it(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    close(fl_take_fd(f.peer));
    run(&f);
    assert_int_equal(f.eof, 1);
    proxy_conn_write(f.conn, FL_SPAN("into the void"));
    run(&f);
    run(&f);
    assert_true(f.conn == NULL ? f.closed == 1 && f.end == PROXY_END_RESET : proxy_conn_write_failed(f.conn));
    teardown(&f);
}

static void refused_is_told_by_on_closed(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    struct proxy_address nowhere;
    assert_int_equal(proxy_address_parse(FL_SPAN("127.0.0.1"), 1, &nowhere), 0);
    struct proxy_conn *conn = NULL;
    const struct proxy_dial how = {.timeout_ms = 1000};
    int result = proxy_conn_connect(&f.turn, &nowhere, &how, &conn);
    if (result == 0) {
        proxy_conn_set_owner(conn, &ops, &f);
        struct proxy_conn *other = f.conn;
        for (int i = 0; i < 50 && f.closed == 0; i++)
            assert_true(fl_loop_turn(f.loop, 20) >= 0);
        assert_int_equal(f.closed, 1);
        assert_int_equal(f.end, PROXY_END_REFUSED);
        f.conn = other;
    } else {
        assert_int_equal(result, -ECONNREFUSED);
    }
    teardown(&f);
}

static unsigned trims;

static void on_trim(struct proxy_turn *turn)
{
    (void)turn;
    trims++;
}

/* What a burst has left in the pool goes, and the owner hears of it; what is shared stays usable. */
static void a_trim_keeps_nothing_warm(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    f.turn.on_trim = on_trim;
    trims = 0;
    proxy_conn_write(f.conn, FL_SPAN("a few bytes"));
    run(&f);
    assert_int_equal(f.turn.pool.in_use, 0);
    assert_true(f.turn.pool.small_count + f.turn.pool.large_count > 0);
    memset(f.turn.work, 1, PROXY_TURN_WORK);
    proxy_turn_trim(&f.turn);
    assert_int_equal(f.turn.pool.small_count + f.turn.pool.large_count, 0);
    assert_int_equal(trims, 1);
    assert_int_equal(f.turn.peak, 1);
    f.len = 0;
    say(&f, "still there");
    run(&f);
    assert_memory_equal(f.text, "still there", 11);
    teardown(&f);
}

static void memory_that_is_out_ends_the_connection_alone(void **state)
{
    (void)state;
    FAIL_EACH_ALLOCATION
    {
        struct fixture f;
        size_t countdown = fail_round_;
        fail_stop();
        setup(&f);
        fail_at(countdown);
        f.consume = 2;
        say(&f, "abcdef");
        run(&f);
        if (f.conn != NULL)
            proxy_conn_write(f.conn, FL_SPAN("answer"));
        run(&f);
        bool happened = fail_happened();
        if (happened) {
            assert_int_equal(f.closed, 1);
            assert_int_equal(f.end, PROXY_END_MEMORY);
        } else {
            assert_int_equal(f.closed, 0);
        }
        teardown(&f);
    }
}

/* Two addresses, nobody at the first: the second is taken, or without memory the refusal is told. Never neither. */
static void memory_that_is_out_while_two_addresses_are_dialled(void **state)
{
    (void)state;
    unsigned opened = 0, refused = 0, not_begun = 0;
    FAIL_EACH_ALLOCATION
    {
        struct fixture f;
        size_t countdown = fail_round_;
        fail_stop();
        setup(&f);
        struct sockaddr_in raw = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t size = sizeof(raw);
        FL_CLEANUP(fl_cleanup_close) int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(bind(listener, (struct sockaddr *)&raw, size), 0);
        assert_int_equal(listen(listener, 4), 0);
        assert_int_equal(getsockname(listener, (struct sockaddr *)&raw, &size), 0);
        struct proxy_address nowhere, somewhere;
        assert_int_equal(proxy_address_parse(FL_SPAN("127.0.0.1"), 1, &nowhere), 0);
        assert_int_equal(proxy_address_parse(FL_SPAN("127.0.0.1"), ntohs(raw.sin_port), &somewhere), 0);
        const struct proxy_dial how = {.timeout_ms = 20000, .other = &somewhere};
        struct proxy_conn *conn = NULL, *own = f.conn;
        fail_at(countdown);
        int result = proxy_conn_connect(&f.turn, &nowhere, &how, &conn);
        if (result == 0) {
            proxy_conn_set_owner(conn, &ops, &f);
            while (f.opened == 0 && f.closed == 0)
                assert_true(fl_loop_turn(f.loop, 20) >= 0);
            if (f.opened > 0) {
                assert_int_equal(f.closed, 0);
                assert_true(proxy_address_eq(proxy_conn_peer(conn), &somewhere));
                proxy_conn_close(conn, PROXY_CLOSE_NOW);
            }
        }
        bool happened = fail_happened();
        fail_stop();
        if (!happened)
            assert_int_equal(f.opened, 1);
        opened += f.opened;
        refused += f.closed;
        not_begun += result == -ENOMEM;
        assert_int_equal(f.opened + f.closed + (result < 0), 1);
        f.conn = own;
        teardown(&f);
    }
    assert_true(opened > 0 && not_begun > 0);
    (void)refused;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(delivers_what_comes),
        cmocka_unit_test(shows_unconsumed_bytes_again_with_more),
        cmocka_unit_test(paused_reads_nothing_and_resumes_where_it_was),
        cmocka_unit_test(a_reset_is_told_while_paused),
        cmocka_unit_test(a_fin_is_told_once_after_the_data_and_writing_goes_on),
        cmocka_unit_test(a_fin_waits_while_paused),
        cmocka_unit_test(one_send_a_turn),
        cmocka_unit_test(a_turns_bytes_are_collected_beyond_the_watermark),
        cmocka_unit_test(a_lean_pool_collects_nothing),
        cmocka_unit_test(a_slow_reader_makes_it_backlogged_until_it_reads),
        cmocka_unit_test(input_stops_at_its_limit),
        cmocka_unit_test(may_be_closed_in_every_callback),
        cmocka_unit_test(a_flushing_close_sends_everything_first),
        cmocka_unit_test(a_lingering_close_waits_for_the_peers_end),
        cmocka_unit_test(a_vanished_peer_ends_it),
        cmocka_unit_test(refused_is_told_by_on_closed),
        cmocka_unit_test(a_trim_keeps_nothing_warm),
        cmocka_unit_test(memory_that_is_out_ends_the_connection_alone),
        cmocka_unit_test(memory_that_is_out_while_two_addresses_are_dialled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
