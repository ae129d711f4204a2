/* proxy/upstream/cluster: which connections are handed out again, and which never. */
#include "proxy/upstream/cluster.h"

#include "proxy/net/listener.h"
#include "tests/support/fail.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>

#include <cmocka.h>

struct fixture {
    struct fl_loop *loop;
    struct proxy_turn turn;
    struct proxy_address address; /* of the server that the test plays */
    int server;
    struct proxy_cluster_endpoint endpoint;
    struct proxy_cluster_options options;
    struct proxy_cluster_run *cluster;
    unsigned opened, closed;
    int counted;
    unsigned overflows[PROXY_UPSTREAM_LIMIT_COUNT];
};

static void on_open(void *owner)
{
    ((struct fixture *)owner)->opened++;
}

static size_t on_data(void *owner, struct fl_span bytes)
{
    (void)owner;
    return bytes.len;
}

static void on_event(void *owner)
{
    (void)owner;
}

static void on_closed(void *owner, enum proxy_end end)
{
    (void)end;
    ((struct fixture *)owner)->closed++;
}

static const struct proxy_conn_ops ops = {on_open, on_data, on_event, on_event, on_closed};

static void on_count(void *owner, bool opened)
{
    ((struct fixture *)owner)->counted += opened ? 1 : -1;
}

static void on_overflow(void *owner, enum proxy_upstream_limit limit)
{
    ((struct fixture *)owner)->overflows[limit]++;
}

static void setup(struct fixture *f, bool original_dst)
{
    struct proxy_socket_options listening = {.backlog = 64};
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
    f->endpoint = (struct proxy_cluster_endpoint){.address = f->address, .weight = 1};
    f->options = (struct proxy_cluster_options){
        .name = FL_SPAN("test"),
        .original_dst = original_dst,
        .endpoints = &f->endpoint,
        .endpoint_count = original_dst ? 0 : 1,
        .connect_timeout_ms = 1000,
        .idle_timeout_ms = 60000,
        .limits = {1024, 1024, 1024},
        .on_count = on_count,
        .on_overflow = on_overflow,
        .owner = f,
    };
}

static void start(struct fixture *f)
{
    assert_int_equal(proxy_cluster_run_new(&f->turn, &f->options, &f->cluster), 0);
}

static void run(struct fixture *f)
{
    for (int i = 0; i < 8; i++)
        assert_true(fl_loop_turn(f->loop, 1) >= 0);
}

static void teardown(struct fixture *f)
{
    proxy_cluster_run_retire(f->cluster);
    f->cluster = proxy_cluster_run_unref(f->cluster);
    proxy_turn_abort(&f->turn);
    run(f);
    assert_int_equal(f->counted, 0);
    assert_int_equal(f->turn.connections, 0);
    proxy_turn_done(&f->turn);
    fl_loop_free(f->loop);
    close(f->server);
}

static struct proxy_upstream *get(struct fixture *f, bool fresh)
{
    struct proxy_upstream *upstream = NULL;
    assert_int_equal(proxy_upstream_get(f->cluster, &f->address, fresh, 7, &ops, f, &upstream), PROXY_UPSTREAM_OK);
    run(f);
    return upstream;
}

static int server_side(struct fixture *f)
{
    int fd = accept4(f->server, NULL, NULL, SOCK_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static void the_last_one_back_is_the_first_one_out(void **state)
{
    (void)state;
    for (int original = 0; original < 2; original++) {
        struct fixture f;
        setup(&f, original == 1);
        start(&f);
        struct proxy_upstream *a = get(&f, false), *b = get(&f, false);
        assert_false(a->reused || b->reused);
        assert_ptr_not_equal(a, b);
        proxy_upstream_put(a);
        proxy_upstream_put(b);
        assert_int_equal(proxy_cluster_run_idle(f.cluster), 2);
        assert_ptr_equal(get(&f, false), b);
        assert_true(b->reused);
        struct proxy_upstream *c = get(&f, true); /* a fresh one, although one idles */
        assert_false(c->reused);
        assert_int_equal(proxy_cluster_run_connections(f.cluster), 3);
        proxy_upstream_drop(c, PROXY_CLOSE_NOW);
        proxy_upstream_drop(b, PROXY_CLOSE_NOW);
        teardown(&f);
    }
}

static void an_idle_one_goes_at_the_first_byte_or_fin(void **state)
{
    (void)state;
    for (int how = 0; how < 3; how++) {
        struct fixture f;
        setup(&f, false);
        start(&f);
        struct proxy_upstream *one = get(&f, false);
        int peer = server_side(&f);
        proxy_upstream_put(one);
        if (how == 0)
            assert_int_equal(send(peer, "unasked", 7, 0), 7);
        else if (how == 1)
            assert_int_equal(shutdown(peer, SHUT_WR), 0);
        else
            assert_int_equal(close(fl_take_fd(peer)), 0);
        run(&f);
        assert_int_equal(proxy_cluster_run_idle(f.cluster), 0);
        assert_int_equal(proxy_cluster_run_connections(f.cluster), 0);
        fl_cleanup_close(&peer);
        teardown(&f);
    }
}

static void what_is_not_clean_does_not_go_back(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f, false);
    f.options.max_requests_per_connection = 2;
    start(&f);
    struct proxy_upstream *one = get(&f, false);
    proxy_conn_write(one->conn, FL_SPAN("not sent yet"));
    proxy_upstream_put(one);
    assert_int_equal(proxy_cluster_run_idle(f.cluster), 0);
    one = get(&f, false);
    proxy_upstream_put(one);
    one = get(&f, false); /* its second and last request */
    assert_true(one->reused);
    proxy_upstream_put(one);
    assert_int_equal(proxy_cluster_run_idle(f.cluster), 0);
    teardown(&f);
}

static void idle_ones_expire(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f, false);
    f.options.idle_timeout_ms = 30;
    start(&f);
    proxy_upstream_put(get(&f, false));
    for (int i = 0; i < 200 && proxy_cluster_run_idle(f.cluster) > 0; i++)
        assert_true(fl_loop_turn(f.loop, 5) >= 0);
    assert_int_equal(proxy_cluster_run_connections(f.cluster), 0);
    teardown(&f);
}

static void a_retired_cluster_keeps_nothing(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f, false);
    start(&f);
    struct proxy_upstream *in_use = get(&f, false);
    proxy_upstream_put(get(&f, false));
    proxy_cluster_run_retire(f.cluster);
    assert_int_equal(proxy_cluster_run_connections(f.cluster), 1); /* the one in use may finish */
    proxy_upstream_put(in_use);
    assert_int_equal(proxy_cluster_run_connections(f.cluster), 0);
    teardown(&f);
}

static void connections_are_limited(void **state)
{
    (void)state;
    struct fixture f;
    struct proxy_upstream *none = NULL;
    setup(&f, false);
    f.options.limits[PROXY_UPSTREAM_LIMIT_CONNECTIONS] = 1;
    start(&f);
    struct proxy_upstream *one = get(&f, false);
    assert_int_equal(proxy_upstream_get(f.cluster, NULL, false, 7, &ops, &f, &none), PROXY_UPSTREAM_OVERFLOW);
    assert_int_equal(f.overflows[PROXY_UPSTREAM_LIMIT_CONNECTIONS], 1);
    proxy_upstream_put(one);
    one = get(&f, false);
    assert_true(one->reused);
    proxy_upstream_drop(one, PROXY_CLOSE_NOW);
    teardown(&f);
}

static int try(struct fixture *f, unsigned want, struct proxy_upstream **ret_upstream)
{
    return proxy_upstream_get(f->cluster, &f->address, want, 7, &ops, f, ret_upstream);
}

static void connections_that_are_not_open_are_limited(void **state)
{
    (void)state;
    for (int original = 0; original < 2; original++) {
        struct fixture f;
        struct proxy_upstream *one = NULL, *two = NULL;
        setup(&f, original == 1);
        f.options.limits[PROXY_UPSTREAM_LIMIT_PENDING] = 1;
        start(&f);
        assert_int_equal(try(&f, 0, &one), PROXY_UPSTREAM_OK);
        assert_int_equal(try(&f, 0, &two), PROXY_UPSTREAM_OVERFLOW);
        proxy_upstream_drop(one, PROXY_CLOSE_NOW); /* it was never open */
        assert_int_equal(try(&f, 0, &one), PROXY_UPSTREAM_OK);
        run(&f);
        proxy_upstream_opened(one);
        assert_int_equal(try(&f, 0, &two), PROXY_UPSTREAM_OK);
        proxy_upstream_put(one); /* a pooled one need not wait for anything */
        assert_int_equal(try(&f, 0, &one), PROXY_UPSTREAM_OK);
        assert_true(one->reused);
        assert_int_equal(f.overflows[PROXY_UPSTREAM_LIMIT_PENDING], 1);
        proxy_upstream_drop(one, PROXY_CLOSE_NOW);
        proxy_upstream_drop(two, PROXY_CLOSE_NOW);
        teardown(&f);
    }
}

static void requests_are_limited_and_other_users_are_not(void **state)
{
    (void)state;
    struct fixture f;
    struct proxy_upstream *one = NULL, *two = NULL, *none = NULL;
    setup(&f, false);
    f.options.limits[PROXY_UPSTREAM_LIMIT_REQUESTS] = 1;
    start(&f);
    assert_int_equal(try(&f, PROXY_UPSTREAM_REQUEST, &one), PROXY_UPSTREAM_OK);
    assert_int_equal(try(&f, PROXY_UPSTREAM_REQUEST, &none), PROXY_UPSTREAM_OVERFLOW);
    assert_int_equal(try(&f, PROXY_UPSTREAM_FRESH, &two), PROXY_UPSTREAM_OK);
    run(&f);
    proxy_upstream_opened(one);
    proxy_upstream_put(one);
    assert_int_equal(try(&f, PROXY_UPSTREAM_REQUEST, &one), PROXY_UPSTREAM_OK);
    assert_int_equal(try(&f, PROXY_UPSTREAM_REQUEST, &none), PROXY_UPSTREAM_OVERFLOW);
    proxy_upstream_drop(one, PROXY_CLOSE_NOW);
    assert_int_equal(try(&f, PROXY_UPSTREAM_REQUEST, &one), PROXY_UPSTREAM_OK);
    assert_int_equal(f.overflows[PROXY_UPSTREAM_LIMIT_REQUESTS], 2);
    proxy_upstream_drop(one, PROXY_CLOSE_NOW);
    proxy_upstream_drop(two, PROXY_CLOSE_NOW);
    teardown(&f);
}

static void a_limit_of_zero_lets_nothing_pass(void **state)
{
    (void)state;
    for (int limit = 0; limit <= PROXY_UPSTREAM_LIMIT_REQUESTS; limit++) {
        struct fixture f;
        struct proxy_upstream *none = NULL;
        setup(&f, true);
        f.options.limits[limit] = 0;
        start(&f);
        assert_int_equal(try(&f, PROXY_UPSTREAM_REQUEST, &none), PROXY_UPSTREAM_OVERFLOW);
        assert_int_equal(f.overflows[limit], 1);
        assert_int_equal(proxy_cluster_run_connections(f.cluster), 0);
        teardown(&f);
    }
}

/* Without a turn: a connection to nobody has not heard of that yet. */
static struct proxy_upstream *take(struct fixture *f)
{
    struct proxy_upstream *upstream = NULL;
    assert_int_equal(proxy_upstream_get(f->cluster, NULL, 0, 7, &ops, f, &upstream), PROXY_UPSTREAM_OK);
    return upstream;
}

static void a_host_that_fails_is_ejected_until_its_time_is_over(void **state)
{
    (void)state;
    struct fixture f;
    struct proxy_cluster_endpoint endpoints[2];
    setup(&f, false);
    endpoints[0] = endpoints[1] = f.endpoint;
    assert_int_equal(proxy_address_parse(FL_SPAN("127.0.0.2"), 9, &endpoints[1].address), 0);
    f.options.endpoints = endpoints;
    f.options.endpoint_count = 2;
    f.options.outlier = (struct proxy_outlier_config){.on = true,
                                                      .consecutive = {2, 0, 0},
                                                      .enforcing = {100, 0, 0},
                                                      .max_ejection_percent = 50,
                                                      .interval_ms = 1000,
                                                      .base_ms = 60,
                                                      .max_ms = 60};
    start(&f);
    for (int i = 0; i < 2; i++) { /* round robin begins with the first */
        struct proxy_upstream *bad = take(&f), *good = take(&f);
        assert_true(proxy_address_eq(proxy_upstream_address(bad), &f.address));
        assert_false(proxy_address_eq(proxy_upstream_address(good), &f.address));
        proxy_upstream_report(bad, PROXY_OUTLIER_SERVER_ERROR, 0);
        proxy_upstream_drop(bad, PROXY_CLOSE_NOW);
        proxy_upstream_drop(good, PROXY_CLOSE_NOW);
    }
    for (int i = 0; i < 4; i++) {
        struct proxy_upstream *good = take(&f);
        assert_false(proxy_address_eq(proxy_upstream_address(good), &f.address));
        proxy_upstream_drop(good, PROXY_CLOSE_NOW);
    }
    for (int i = 0; i < 80; i++)
        assert_true(fl_loop_turn(f.loop, 1) >= 0);
    bool back = false;
    for (int i = 0; i < 2; i++) {
        struct proxy_upstream *one = take(&f);
        back |= proxy_address_eq(proxy_upstream_address(one), &f.address);
        proxy_upstream_drop(one, PROXY_CLOSE_NOW);
    }
    assert_true(back);
    teardown(&f);
}

static void what_is_ejected_outlives_a_change_of_endpoints_but_not_of_mind(void **state)
{
    (void)state;
    struct fixture f;
    struct proxy_cluster_endpoint endpoints[2];
    setup(&f, false);
    endpoints[0] = endpoints[1] = f.endpoint;
    assert_int_equal(proxy_address_parse(FL_SPAN("127.0.0.2"), 9, &endpoints[1].address), 0);
    f.options.endpoints = endpoints;
    f.options.endpoint_count = 2;
    f.options.outlier = (struct proxy_outlier_config){.on = true,
                                                      .consecutive = {1, 0, 0},
                                                      .enforcing = {100, 0, 0},
                                                      .max_ejection_percent = 50,
                                                      .interval_ms = 1000,
                                                      .base_ms = 60000,
                                                      .max_ms = 60000};
    start(&f);
    struct proxy_upstream *bad = take(&f);
    proxy_upstream_report(bad, PROXY_OUTLIER_SERVER_ERROR, 0);
    proxy_upstream_drop(bad, PROXY_CLOSE_NOW);
    for (int step = 0; step < 3; step++) {
        unsigned to_bad = 0;
        for (int i = 0; i < 4; i++) {
            struct proxy_upstream *one = take(&f);
            to_bad += proxy_address_eq(proxy_upstream_address(one), &f.address);
            proxy_upstream_drop(one, PROXY_CLOSE_NOW);
        }
        assert_int_equal(to_bad, step < 2 ? 0 : 2);
        f.options.outlier.on = step == 0; /* then without outlier detection */
        assert_int_equal(proxy_cluster_run_stage(f.cluster, &f.options), 0);
        proxy_cluster_run_commit(f.cluster);
    }
    teardown(&f);
}

static void a_retry_goes_elsewhere_where_it_can(void **state)
{
    (void)state;
    struct fixture f;
    struct proxy_cluster_endpoint endpoints[2];
    struct proxy_upstream_tried tried = {.count = 0};
    setup(&f, false);
    endpoints[0] = endpoints[1] = f.endpoint;
    assert_int_equal(proxy_address_parse(FL_SPAN("127.0.0.2"), 9, &endpoints[1].address), 0);
    f.options.endpoints = endpoints;
    f.options.endpoint_count = 2;
    start(&f);
    proxy_upstream_tried_add(&tried, &f.address);
    for (int i = 0; i < 6; i++) {
        struct proxy_upstream *one = NULL;
        assert_int_equal(proxy_upstream_get_other(f.cluster, NULL, &tried, 0, 7, &ops, &f, &one), PROXY_UPSTREAM_OK);
        assert_int_equal(proxy_address_eq(proxy_upstream_address(one), &f.address), i >= 3);
        proxy_upstream_drop(one, PROXY_CLOSE_NOW);
        if (i == 2) { /* the other one too: then it does not matter any more */
            tried.hosts[0] = endpoints[1].address;
            proxy_upstream_tried_add(&tried, &endpoints[1].address);
            tried.count = 1;
        }
    }
    for (unsigned i = 0; i < 20; i++)
        proxy_upstream_tried_add(&tried, &f.address);
    assert_int_equal(tried.count, PROXY_UPSTREAM_TRIED_MAX);
    teardown(&f);
}

static void retries_are_limited_by_number_or_by_budget(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f, false);
    f.options.limits[PROXY_UPSTREAM_LIMIT_RETRIES] = 1;
    start(&f);
    assert_true(proxy_upstream_retry_take(f.cluster));
    assert_false(proxy_upstream_retry_take(f.cluster));
    proxy_upstream_retry_give(f.cluster);
    assert_int_equal(f.overflows[PROXY_UPSTREAM_LIMIT_RETRIES], 1);
    teardown(&f);

    struct proxy_upstream *users[10];
    setup(&f, false);
    f.options.retry_budget_percent = 40;
    f.options.retry_min = 2;
    start(&f);
    for (int i = 0; i < 2; i++)
        assert_true(proxy_upstream_retry_take(f.cluster)); /* always */
    assert_false(proxy_upstream_retry_take(f.cluster));
    for (size_t i = 0; i < FL_COUNT(users); i++)
        assert_int_equal(try(&f, PROXY_UPSTREAM_REQUEST, &users[i]), PROXY_UPSTREAM_OK);
    for (int i = 0; i < 2; i++)
        assert_true(proxy_upstream_retry_take(f.cluster)); /* 40 % of ten are four */
    assert_false(proxy_upstream_retry_take(f.cluster));
    for (int i = 0; i < 4; i++)
        proxy_upstream_retry_give(f.cluster);
    for (size_t i = 0; i < FL_COUNT(users); i++)
        proxy_upstream_drop(users[i], PROXY_CLOSE_NOW);
    teardown(&f);
}

static void limits_hold_across_workers_and_configurations(void **state)
{
    (void)state;
    struct fixture f;
    struct proxy_shared *shared = NULL;
    struct proxy_cluster_run *later = NULL;
    struct proxy_upstream *one = NULL, *none = NULL;
    setup(&f, false);
    assert_int_equal(proxy_shared_new(&shared), 0);
    f.options.shared = shared;
    f.options.limits[PROXY_UPSTREAM_LIMIT_REQUESTS] = 1;
    start(&f);
    assert_int_equal(try(&f, PROXY_UPSTREAM_REQUEST, &one), PROXY_UPSTREAM_OK);
    assert_int_equal(proxy_cluster_run_new(&f.turn, &f.options, &later), 0);
    assert_int_equal(proxy_upstream_get(later, NULL, PROXY_UPSTREAM_REQUEST, 7, &ops, &f, &none),
                     PROXY_UPSTREAM_OVERFLOW);
    proxy_upstream_drop(one, PROXY_CLOSE_NOW);
    assert_int_equal(proxy_upstream_get(later, NULL, PROXY_UPSTREAM_REQUEST, 7, &ops, &f, &one), PROXY_UPSTREAM_OK);
    proxy_upstream_drop(one, PROXY_CLOSE_NOW);
    proxy_cluster_run_unref(later);
    teardown(&f);
    proxy_shared_free(shared);
}

static int option_of(const struct proxy_upstream *upstream, int level, int name)
{
    int value = -1;
    socklen_t size = sizeof(value);
    assert_int_equal(getsockopt(proxy_conn_fd(upstream->conn), level, name, &value, &size), 0);
    return value;
}

static void keepalive_is_as_configured(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f, false);
    f.options.keepalive = (struct proxy_keepalive){.idle_s = 71, .interval_s = 7};
    start(&f);
    struct proxy_upstream *one = get(&f, false);
    int untouched = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), kernels = 0;
    socklen_t size = sizeof(kernels);
    assert_int_equal(getsockopt(untouched, IPPROTO_TCP, TCP_KEEPCNT, &kernels, &size), 0);
    close(untouched);
    assert_int_equal(option_of(one, SOL_SOCKET, SO_KEEPALIVE), 1);
    assert_int_equal(option_of(one, IPPROTO_TCP, TCP_KEEPIDLE), 71);
    assert_int_equal(option_of(one, IPPROTO_TCP, TCP_KEEPINTVL), 7);
    assert_int_equal(option_of(one, IPPROTO_TCP, TCP_KEEPCNT), kernels); /* 0: the kernel's */
    proxy_upstream_drop(one, PROXY_CLOSE_NOW);
    teardown(&f);
}

/* An address that no host has (RFC 5737, RFC 3849): bind(2) refuses it, or takes it where freebind is set. */
static void a_foreign_source_needs_freebind(void **state)
{
    (void)state;
    const struct {
        const char *source, *peer;
    } rows[] = {{"192.0.2.1", "127.0.0.1"}, {"2001:db8::1", "::1"}};
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        for (int freebind = 0; freebind < 2; freebind++) {
            struct fixture f;
            struct proxy_upstream *one = NULL;
            struct proxy_address source, peer;
            assert_int_equal(proxy_address_parse(fl_span_str(rows[i].source), 0, &source), 0);
            assert_int_equal(proxy_address_parse(fl_span_str(rows[i].peer), 9, &peer), 0);
            setup(&f, true);
            f.options.bind_v4 = f.options.bind_v6 = source;
            f.options.bind_freebind = freebind == 1;
            start(&f);
            int result = proxy_upstream_get(f.cluster, &peer, false, 7, &ops, &f, &one);
            if (freebind == 0)
                assert_true(result == -EADDRNOTAVAIL || result == -EAFNOSUPPORT);
            else /* what the kernel says to the connect that follows is its own affair */
                assert_true(result != -EADDRNOTAVAIL);
            if (result == PROXY_UPSTREAM_OK)
                proxy_upstream_drop(one, PROXY_CLOSE_NOW);
            teardown(&f);
        }
    }
}

static void without_endpoint_there_is_no_host(void **state)
{
    (void)state;
    struct fixture f;
    struct proxy_upstream *none = NULL;
    setup(&f, false);
    f.endpoint.weight = 0; /* unhealthy */
    start(&f);
    assert_int_equal(proxy_upstream_get(f.cluster, NULL, false, 7, &ops, &f, &none), PROXY_UPSTREAM_NO_HOST);
    teardown(&f);
    setup(&f, true);
    start(&f);
    assert_int_equal(proxy_upstream_get(f.cluster, NULL, false, 7, &ops, &f, &none), PROXY_UPSTREAM_NO_HOST);
    teardown(&f);
}

static void memory_that_is_out_is_told(void **state)
{
    (void)state;
    FAIL_EACH_ALLOCATION
    {
        struct fixture f;
        struct proxy_upstream *one = NULL;
        size_t countdown = fail_round_;
        fail_stop();
        setup(&f, true);
        fail_at(countdown);
        int result = proxy_cluster_run_new(&f.turn, &f.options, &f.cluster);
        if (result == 0)
            result = proxy_upstream_get(f.cluster, &f.address, false, 7, &ops, &f, &one);
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : PROXY_UPSTREAM_OK);
        proxy_upstream_drop(one, PROXY_CLOSE_NOW);
        teardown(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_host_that_fails_is_ejected_until_its_time_is_over),
        cmocka_unit_test(what_is_ejected_outlives_a_change_of_endpoints_but_not_of_mind),
        cmocka_unit_test(a_retry_goes_elsewhere_where_it_can),
        cmocka_unit_test(retries_are_limited_by_number_or_by_budget),
        cmocka_unit_test(limits_hold_across_workers_and_configurations),
        cmocka_unit_test(the_last_one_back_is_the_first_one_out),
        cmocka_unit_test(an_idle_one_goes_at_the_first_byte_or_fin),
        cmocka_unit_test(what_is_not_clean_does_not_go_back),
        cmocka_unit_test(idle_ones_expire),
        cmocka_unit_test(a_retired_cluster_keeps_nothing),
        cmocka_unit_test(connections_are_limited),
        cmocka_unit_test(connections_that_are_not_open_are_limited),
        cmocka_unit_test(requests_are_limited_and_other_users_are_not),
        cmocka_unit_test(a_limit_of_zero_lets_nothing_pass),
        cmocka_unit_test(keepalive_is_as_configured),
        cmocka_unit_test(a_foreign_source_needs_freebind),
        cmocka_unit_test(without_endpoint_there_is_no_host),
        cmocka_unit_test(memory_that_is_out_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
