/* proxy/dns/resolver, client and servers: a server on a port of ours, driven step by step; memory that runs out at each
 * allocation; who is asked next. */
#include "proxy/dns/resolver.h"

#include "tests/support/fail.h"
#include "tests/unit/proxy/dns_wire.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>

static struct proxy_address loopback(uint16_t port)
{
    struct proxy_address address;
    assert_int_equal(proxy_address_parse(FL_SPAN("127.0.0.1"), port, &address), 0);
    return address;
}

/* One that answers when the test says so. */
struct place {
    int fd;
    struct proxy_address address, peer;
    struct wire query;
};

static void place_open(struct place *place)
{
    socklen_t size = sizeof(place->address.v4);
    struct proxy_address any = loopback(0);
    place->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_true(place->fd >= 0);
    assert_int_equal(bind(place->fd, &any.any, size), 0);
    place->address = any;
    assert_int_equal(getsockname(place->fd, &place->address.any, &size), 0);
}

static bool place_hear(struct place *place)
{
    socklen_t size = sizeof(place->peer.v4);
    ssize_t len =
        recvfrom(place->fd, place->query.bytes, sizeof(place->query.bytes), MSG_DONTWAIT, &place->peer.any, &size);
    place->query.len = len > 0 ? (size_t)len : place->query.len;
    return len > 0;
}

static void place_say(struct place *place, const struct wire *wire)
{
    assert_int_equal(sendto(place->fd, wire->bytes, wire->len, 0, &place->peer.any, sizeof(place->peer.v4)), wire->len);
}

static struct wire good_answer(const struct place *place)
{
    struct wire wire = place->query;
    wire_put16(&wire, 2, 0x8180);
    wire_record(&wire, ANSWER_COUNT, DNS_A, 60, "\x0a\x00\x00\x01", 4);
    return wire;
}

struct bench {
    struct fl_loop *loop;
    struct proxy_dns_stats stats;
    struct proxy_dns_resolver resolver;
    struct place first, second;
    unsigned replies;
    struct wire reply;
};

static void reply(const struct proxy_dns_from *from, const char *packet, size_t len)
{
    struct bench *bench = from->owner;
    bench->replies++;
    bench->reply.len = 0;
    wire_add(&bench->reply, packet, len);
}

static int bench_open(struct bench *bench, unsigned timeout_s)
{
    *bench = (struct bench){.first.fd = -1};
    int result = fl_loop_new(&bench->loop);
    if (result == 0)
        result = proxy_dns_stats_init(&bench->stats);
    if (result == 0)
        result = proxy_dns_resolver_init(&bench->resolver, bench->loop, &bench->stats, "/nowhere/resolv.conf", 1024);
    if (result < 0)
        return result;
    place_open(&bench->first);
    place_open(&bench->second);
    struct proxy_resolvconf conf = {
        .servers = {bench->first.address, bench->second.address}, .count = 2, .timeout_s = timeout_s};
    proxy_dns_servers_set(&bench->resolver.client.servers, &conf);
    return 0;
}

static void bench_close(struct bench *bench)
{
    proxy_dns_resolver_done(&bench->resolver);
    if (bench->loop != NULL) {
        (void)!fl_loop_turn(bench->loop, 0);
        (void)!fl_loop_turn(bench->loop, 0);
        fl_loop_free(bench->loop);
    }
    proxy_dns_stats_done(&bench->stats);
    if (bench->first.fd >= 0) {
        close(bench->first.fd);
        close(bench->second.fd);
    }
}

static bool ask(struct bench *bench, const struct wire *wire, uint16_t port)
{
    const struct proxy_dns_from from = {.reply = reply, .owner = bench, .peer = loopback(port)};
    return proxy_dns_resolver_ask(&bench->resolver, fl_span_make(wire->bytes, wire->len), &from);
}

/* Turns until so many replies have come. */
static void wait_for_replies(struct bench *bench, unsigned count)
{
    for (int i = 0; bench->replies < count && i < 2000; i++)
        assert_int_equal(fl_loop_turn(bench->loop, 20), 0);
    assert_int_equal(bench->replies, count);
}

static double result_of(const struct bench *bench, const char *result)
{
    const struct fl_span values[] = {FL_SPAN("udp"), fl_span_str(result)};
    return fl_metrics_value(bench->stats.metrics, "fairlead_dns_queries_total", values);
}

static void asked_joined_and_kept(void **state)
{
    (void)state;
    struct bench bench;
    assert_int_equal(bench_open(&bench, 5), 0);
    struct wire one = wire_query(1, "a.b", DNS_A), two = wire_query(2, "A.B", DNS_A);
    assert_true(ask(&bench, &one, 1001));
    assert_true(ask(&bench, &two, 1002));
    assert_true(ask(&bench, &one, 1001)); /* again: the client was impatient */
    assert_true(place_hear(&bench.first));
    assert_false(place_hear(&bench.first));
    struct wire answer = good_answer(&bench.first);
    place_say(&bench.first, &answer);
    wait_for_replies(&bench, 2);
    assert_memory_equal(bench.reply.bytes, "\0\2", 2);
    assert_memory_equal(bench.reply.bytes + 12, "\1A\1B", 5);
    assert_true(ask(&bench, &one, 1003)); /* at once */
    assert_int_equal(bench.replies, 3);
    assert_memory_equal(bench.reply.bytes + 12, "\1a\1b", 5);
    assert_int_equal((int)result_of(&bench, "upstream"), 1);
    assert_int_equal((int)result_of(&bench, "shared"), 1);
    assert_int_equal((int)result_of(&bench, "cache"), 1);
    bench_close(&bench);
}

static void silent_and_refusing_servers(void **state)
{
    (void)state;
    struct bench bench;
    assert_int_equal(bench_open(&bench, 1), 0);
    struct wire query = wire_query(1, "a.b", DNS_A);
    assert_true(ask(&bench, &query, 1001)); /* the first says nothing for 200 ms */
    for (int i = 0; !place_hear(&bench.second) && i < 500; i++)
        assert_int_equal(fl_loop_turn(bench.loop, 10), 0);
    struct wire answer = good_answer(&bench.second);
    wire_put16(&answer, 2, 0x8182);
    place_say(&bench.second, &answer); /* SERVFAIL: the first may still answer */
    for (int i = 0; i < 3; i++)
        assert_int_equal(fl_loop_turn(bench.loop, 5), 0);
    assert_int_equal(bench.replies, 0);
    assert_true(place_hear(&bench.first));
    answer = good_answer(&bench.first);
    place_say(&bench.first, &answer);
    wait_for_replies(&bench, 1);
    assert_int_equal(bench.reply.bytes[3] & 15, 0);
    bench_close(&bench);
}

static void nobody_answers(void **state)
{
    (void)state;
    struct bench bench;
    assert_int_equal(bench_open(&bench, 1), 0);
    struct wire query = wire_query(1, "a.b", DNS_A);
    assert_true(ask(&bench, &query, 1001));
    wait_for_replies(&bench, 1);
    assert_int_equal(bench.reply.bytes[3] & 15, PROXY_DNS_SERVFAIL);
    assert_int_equal((int)result_of(&bench, "failed"), 1);
    assert_int_equal(bench.resolver.question_count, 0);
    bench_close(&bench);
}

static void questions_are_bounded(void **state)
{
    (void)state;
    struct bench bench;
    char name[32];
    assert_int_equal(bench_open(&bench, 5), 0);
    for (unsigned i = 0; i < 100; i++) { /* 1,024 descriptors: 64 questions */
        snprintf(name, sizeof(name), "n%u.b", i);
        struct wire query = wire_query(1, name, DNS_A);
        assert_true(ask(&bench, &query, 1001));
    }
    assert_int_equal(bench.resolver.question_count, 64);
    assert_int_equal(bench.replies, 36);
    assert_int_equal(bench.reply.bytes[3] & 15, PROXY_DNS_SERVFAIL);
    proxy_dns_resolver_forget(&bench.resolver, &bench);
    assert_int_equal(bench.resolver.waiter_count, 0);
    assert_int_equal((int)result_of(&bench, "gone"), 64);
    bench_close(&bench);
}

static void memory_runs_out(void **state)
{
    (void)state;
    struct wire query = wire_query(1, "a.b", DNS_A);
    FAIL_EACH_ALLOCATION
    {
        struct bench bench;
        int result = bench_open(&bench, 1);
        assert_true(result == 0 || (fail_happened() && result == -ENOMEM));
        if (result == 0) {
            assert_true(ask(&bench, &query, 1001));
            assert_true(ask(&bench, &query, 1002));
            if (place_hear(&bench.first)) {
                struct wire answer = good_answer(&bench.first);
                place_say(&bench.first, &answer);
            }
            wait_for_replies(&bench, 2);
            assert_true(ask(&bench, &query, 1003));
            if (place_hear(&bench.first)) { /* it could not be kept */
                struct wire answer = good_answer(&bench.first);
                place_say(&bench.first, &answer);
            }
            wait_for_replies(&bench, 3);
            fail_stop();
            assert_true(fail_happened() || bench.reply.bytes[3] == (char)0x80);
        }
        bench_close(&bench);
    }
}

static void who_is_next(void **state)
{
    (void)state;
    struct proxy_resolvconf conf = {.servers = {loopback(1), loopback(2), loopback(3)}, .count = 3, .timeout_s = 5};
    struct proxy_dns_servers servers;
    proxy_dns_servers_set(&servers, &conf);
    assert_int_equal(proxy_dns_servers_begin(&servers), 0);
    assert_int_equal(proxy_dns_servers_pick(&servers, 0, 0, 100), 0);
    assert_int_equal(proxy_dns_servers_pick(&servers, 0, 1, 100), 1);
    assert_int_equal(proxy_dns_servers_pick(&servers, 0, 7, 100), 0); /* all were: from the front again */
    assert_false(proxy_dns_servers_left(&servers, 7));
    proxy_dns_servers_failed(&servers, 0, 100);
    assert_int_equal(proxy_dns_servers_pick(&servers, 0, 0, 100 + PROXY_DNS_SHUN_MS - 1), 1);
    assert_int_equal(proxy_dns_servers_pick(&servers, 0, 0, 100 + PROXY_DNS_SHUN_MS), 0);
    proxy_dns_servers_failed(&servers, 0, 2000); /* again: for longer */
    assert_int_equal(proxy_dns_servers_pick(&servers, 0, 0, 2000 + 2 * PROXY_DNS_SHUN_MS - 1), 1);
    proxy_dns_servers_failed(&servers, 1, 2000);
    proxy_dns_servers_failed(&servers, 2, 2001);
    assert_int_equal(proxy_dns_servers_pick(&servers, 0, 0, 2001), 1); /* all are silent: the first whose time is up */
    assert_int_equal(proxy_dns_servers_pick(&servers, 0, 2, 2001), 2);
    proxy_dns_servers_answered(&servers, 0);
    assert_int_equal(proxy_dns_servers_pick(&servers, 0, 0, 2001), 0);
    for (int i = 0; i < 100; i++)
        proxy_dns_servers_failed(&servers, 0, 0);
    assert_int_equal(servers.state[0].shunned_ms, PROXY_DNS_SHUN_MAX_MS);
    proxy_dns_servers_failed(&servers, 3, 0); /* of a file that has gone */
    servers.conf.rotate = true;
    assert_int_equal(proxy_dns_servers_pick(&servers, proxy_dns_servers_begin(&servers), 0, 1 << 30), 0);
    assert_int_equal(proxy_dns_servers_pick(&servers, proxy_dns_servers_begin(&servers), 0, 1 << 30), 1);
    assert_int_equal(proxy_dns_servers_pick(&servers, proxy_dns_servers_begin(&servers), 0, 1 << 30), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(asked_joined_and_kept), cmocka_unit_test(silent_and_refusing_servers),
        cmocka_unit_test(nobody_answers),        cmocka_unit_test(questions_are_bounded),
        cmocka_unit_test(who_is_next),           cmocka_unit_test(memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
