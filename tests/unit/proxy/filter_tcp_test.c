/* proxy/filter/tcp: opaque bytes both ways. */
#include "tests/support/fail.h"
#include "tests/unit/proxy/filter_fixture.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void bytes_pass_both_ways(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, false);
    struct side client = fixture_client(&f), origin = fixture_origin(&f);
    side_say(&f, &client, "to the server");
    side_expect(&f, &origin, "to the server");
    side_say(&f, &origin, "to the client");
    side_expect(&f, &client, "to the client");
    side_done(&client);
    side_done(&origin);
    fixture_done(&f);
}

static void the_server_may_speak_first(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, false);
    struct side client = fixture_client(&f), origin = fixture_origin(&f);
    side_say(&f, &origin, "220 ready");
    side_expect(&f, &client, "220 ready");
    side_done(&client);
    side_done(&origin);
    fixture_done(&f);
}

static void half_close_is_carried_through(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, false);
    struct side client = fixture_client(&f), origin = fixture_origin(&f);
    side_say(&f, &client, "all of it");
    side_end(&client);
    side_expect(&f, &origin, "all of it");
    assert_true(origin.ended);
    side_say(&f, &origin, "answer");
    side_expect(&f, &client, "answer");
    assert_false(client.ended);
    side_end(&origin);
    side_hear_end(&f, &client);
    assert_true(client.ended);
    fixture_run(&f);
    assert_int_equal(f.data.downstream_count, 0);
    assert_int_equal(f.data.turn.connections, 0);
    assert_true(fixture_metric(&f, "istio_tcp_connections_opened_total") == 1);
    assert_true(fixture_metric(&f, "istio_tcp_connections_closed_total") == 1);
    assert_true(fixture_metric(&f, "istio_tcp_received_bytes_total") == 9);
    assert_true(fixture_metric(&f, "istio_tcp_sent_bytes_total") == 6);
    side_done(&client);
    side_done(&origin);
    fixture_done(&f);
}

static void a_reset_is_carried_through(void **state)
{
    (void)state;
    for (int who = 0; who < 2; who++) {
        struct fixture f;
        fixture_init(&f, false);
        struct side client = fixture_client(&f), origin = fixture_origin(&f);
        side_abort(who == 0 ? &client : &origin);
        struct side *other = who == 0 ? &origin : &client;
        side_hear_end(&f, other);
        assert_true(other->reset);
        assert_int_equal(f.data.downstream_count, 0);
        side_done(&client);
        side_done(&origin);
        fixture_done(&f);
    }
}

/* … whatever the connection is doing: one direction has ended, one waits for a reader. */
static void a_reset_is_carried_through_in_every_state(void **state)
{
    (void)state;
    enum { CLIENT_ENDED, ORIGIN_ENDED, TO_ORIGIN_WAITS, TO_CLIENT_WAITS, STATES };
    static char block[65536];
    for (int at = 0; at < STATES; at++) {
        for (int who = 0; who < 2; who++) {
            struct fixture f;
            fixture_init(&f, false);
            struct side client = fixture_client(&f), origin = fixture_origin(&f);
            if (at == CLIENT_ENDED || at == ORIGIN_ENDED)
                side_end(at == CLIENT_ENDED ? &client : &origin);
            if (at == CLIENT_ENDED || at == ORIGIN_ENDED)
                side_hear_end(&f, at == CLIENT_ENDED ? &origin : &client);
            for (int stuck = 0; at >= TO_ORIGIN_WAITS && stuck < 20;) {
                ssize_t done = send(at == TO_ORIGIN_WAITS ? client.fd : origin.fd, block, sizeof(block), MSG_DONTWAIT);
                fixture_run(&f);
                stuck = done > 0 ? 0 : stuck + 1;
            }
            side_abort(who == 0 ? &client : &origin);
            FIXTURE_UNTIL(&f, f.data.downstream_count == 0 && f.data.turn.connections == 0);
            assert_int_equal(f.data.turn.pool.in_use, 0);
            assert_true(fixture_metric(&f, "istio_tcp_connections_closed_total") == 1);
            side_done(&client);
            side_done(&origin);
            fixture_done(&f);
        }
    }
}

/* A client that resets before the server has accepted. */
static void a_reset_while_it_is_dialled_is_the_end(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, false);
    struct side client = fixture_client(&f);
    side_abort(&client);
    FIXTURE_UNTIL(&f, f.data.downstream_count == 0 && f.data.turn.connections == 0);
    side_done(&client);
    fixture_done(&f);
}

/* One direction has ended, and the other peer is gone without a word. */
static void a_half_open_connection_ends_when_it_is_idle(void **state)
{
    (void)state;
    for (int who = 0; who < 2; who++) {
        struct fixture f;
        fixture_init(&f, false);
        f.tcp->idle_timeout_ms = 50;
        struct side client = fixture_client(&f), origin = fixture_origin(&f);
        side_end(who == 0 ? &client : &origin);
        side_hear_end(&f, who == 0 ? &origin : &client);
        FIXTURE_UNTIL(&f, f.data.downstream_count == 0);
        assert_true(fixture_metric_of(&f, "istio_tcp_connections_closed_total", "response_flags=\"SI\"") == 1);
        side_done(&client);
        side_done(&origin);
        FIXTURE_UNTIL(&f, f.data.turn.connections == 0);
        fixture_done(&f);
    }
}

static void no_server_resets_the_client(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, false);
    assert_int_equal(shutdown(f.origin, SHUT_RDWR), 0);
    struct side client = fixture_client(&f);
    side_hear_end(&f, &client);
    assert_true(client.reset);
    assert_true(fixture_metric(&f, "fairlead_upstream_connect_failures_total") == 1);
    side_done(&client);
    fixture_done(&f);
}

static void a_limit_resets_the_client(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, false);
    f.cluster->max_pending_requests = 0;
    assert_int_equal(proxy_data_apply(&f.data, f.snapshot), 0);
    struct side client = fixture_client(&f);
    side_hear_end(&f, &client);
    assert_true(client.reset);
    assert_false(fixture_origin_waits(&f));
    assert_true(fixture_metric_of(&f, "fairlead_upstream_overflows_total", "limit=\"pending_requests\"") == 1);
    side_done(&client);
    fixture_done(&f);
}

static void a_slow_reader_stops_the_sender_with_bounded_memory(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, false);
    struct side client = fixture_client(&f), origin = fixture_origin(&f);
    static char block[65536];
    size_t sent = 0;
    for (int stuck = 0; stuck < 50;) {
        ssize_t done = send(client.fd, block, sizeof(block), MSG_DONTWAIT);
        fixture_run(&f);
        sent += done > 0 ? (size_t)done : 0;
        stuck = done > 0 ? 0 : stuck + 1;
        assert_true(f.data.turn.pool.in_use <= 4 * PROXY_CONN_HIGH);
    }
    assert_true(f.data.turn.pool.in_use >= PROXY_CONN_HIGH / 2); /* it did wait in our queue */
    size_t got = 0;
    while (got < sent) {
        side_hear(&f, &origin);
        got += origin.len;
        origin.len = 0;
    }
    assert_int_equal(got, sent);
    assert_int_equal(f.data.turn.pool.in_use, 0);
    side_done(&client);
    side_done(&origin);
    fixture_done(&f);
}

static void an_idle_connection_ends(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, false);
    f.tcp->idle_timeout_ms = 50;
    struct side client = fixture_client(&f), origin = fixture_origin(&f);
    side_say(&f, &client, "x");
    side_hear_end(&f, &client);
    assert_true(client.ended);
    assert_int_equal(f.data.downstream_count, 0);
    side_done(&client);
    side_done(&origin);
    fixture_done(&f);
}

static void a_connection_ends_when_its_longest_duration_is_over(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, false);
    f.tcp->max_duration_ms = 500;
    struct side client = fixture_client(&f), origin = fixture_origin(&f);
    for (int i = 0; i < 3; i++) { /* it is not idle meanwhile */
        side_say(&f, &client, "x");
        side_expect(&f, &origin, "x");
        assert_false(client.ended);
        fixture_wait(&f, 20);
    }
    side_hear_end(&f, &client);
    side_hear_end(&f, &origin);
    assert_true(client.ended && origin.ended);
    assert_int_equal(f.data.downstream_count, 0);
    assert_true(fixture_metric_of(&f, "istio_tcp_connections_closed_total", "response_flags=\"DT\"") == 1);
    side_done(&client);
    side_done(&origin);
    fixture_done(&f);
}

static void a_server_that_does_not_answer_ends_by_the_duration_too(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, false);
    f.tcp->max_duration_ms = 50;
    struct side client = fixture_client(&f);
    side_hear_end(&f, &client);
    assert_true(client.ended);
    assert_int_equal(f.data.downstream_count, 0);
    side_done(&client);
    fixture_done(&f);
}

/* What waits in our queue stays near the limit, whatever the limit is. */
static void buffers_are_bounded_as_configured(void **state)
{
    (void)state;
    const uint32_t rows[] = {1, PROXY_CONN_HIGH_MIN, 4 * PROXY_CONN_HIGH, UINT32_MAX};
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        for (int to_client = 0; to_client < 2; to_client++) {
            struct fixture f;
            fixture_init(&f, false);
            *(to_client ? &f.listener->buffer_limit_bytes : &f.cluster->buffer_limit_bytes) = rows[i];
            assert_int_equal(proxy_data_apply(&f.data, f.snapshot), 0);
            struct side client = fixture_client(&f), origin = fixture_origin(&f);
            static char block[65536];
            size_t most = 0;
            for (int stuck = 0; stuck < 20;) {
                ssize_t done = send(to_client ? origin.fd : client.fd, block, sizeof(block), MSG_DONTWAIT);
                fixture_run(&f);
                most = f.data.turn.pool.in_use > most ? f.data.turn.pool.in_use : most;
                stuck = done > 0 ? 0 : stuck + 1;
            }
            size_t limit = rows[i] < PROXY_CONN_HIGH_MIN ? PROXY_CONN_HIGH_MIN : rows[i];
            limit = limit < PROXY_CONN_HIGH_MAX ? limit : PROXY_CONN_HIGH_MAX;
            assert_true(most >= limit / 2 && most <= limit + 3 * PROXY_CONN_HIGH);
            side_done(&client);
            side_done(&origin);
            fixture_done(&f);
        }
    }
}

static void wants_header(struct fixture *f)
{
    f->listener->proxy_protocol = true;
    f->cluster->proxy_protocol = 1;
}

/* The header read and written, and memory that is out meanwhile: it passes, or the client is refused. */
static void memory_that_is_out_with_the_proxy_protocol(void **state)
{
    (void)state;
    static const char header[] = "PROXY TCP4 192.0.2.7 192.0.2.8 1234 80\r\n";
    unsigned passed = 0, refused = 0;
    FAIL_EACH_ALLOCATION
    {
        struct fixture f;
        size_t countdown = fail_round_;
        fail_stop();
        fixture_init_with(&f, false, wants_header);
        struct side client = fixture_client(&f), origin = {.fd = -1};
        fail_at(countdown);
        side_say(&f, &client, header);
        bool happened = fail_happened();
        fail_stop();
        FIXTURE_UNTIL(&f, f.data.downstream_count == 0 || fixture_origin_waits(&f));
        if (f.data.downstream_count > 0) {
            origin = fixture_origin(&f);
            side_say(&f, &client, "bytes");
            side_expect(&f, &origin, "PROXY TCP4 192.0.2.7 192.0.2.8 1234 80\r\nbytes");
            passed++;
        } else {
            assert_true(happened);
            refused++;
        }
        side_done(&client);
        side_done(&origin);
        fixture_done(&f);
    }
    assert_true(passed > 0 && refused > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_pass_both_ways),
        cmocka_unit_test(the_server_may_speak_first),
        cmocka_unit_test(half_close_is_carried_through),
        cmocka_unit_test(a_reset_is_carried_through),
        cmocka_unit_test(a_reset_is_carried_through_in_every_state),
        cmocka_unit_test(a_reset_while_it_is_dialled_is_the_end),
        cmocka_unit_test(a_half_open_connection_ends_when_it_is_idle),
        cmocka_unit_test(no_server_resets_the_client),
        cmocka_unit_test(a_limit_resets_the_client),
        cmocka_unit_test(a_slow_reader_stops_the_sender_with_bounded_memory),
        cmocka_unit_test(an_idle_connection_ends),
        cmocka_unit_test(a_connection_ends_when_its_longest_duration_is_over),
        cmocka_unit_test(a_server_that_does_not_answer_ends_by_the_duration_too),
        cmocka_unit_test(buffers_are_bounded_as_configured),
        cmocka_unit_test(memory_that_is_out_with_the_proxy_protocol),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
