/* proxy/upstream/outlier and shared: who is ejected, for how long, and what the workers of a process share. */
#include "proxy/upstream/shared.h"

#include "tests/support/fail.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static const struct proxy_outlier_config defaults = {
    .on = true,
    .consecutive = {5, 5, 5},
    .enforcing = {100, 0, 100},
    .max_ejection_percent = 10,
    .interval_ms = 10000,
    .base_ms = 30000,
    .max_ms = 300000,
};

static struct proxy_address host(unsigned number)
{
    char text[32];
    struct proxy_address address;
    snprintf(text, sizeof(text), "10.0.%u.%u", number / 256, number % 256);
    assert_int_equal(proxy_address_parse(fl_span_str(text), 80, &address), 0);
    return address;
}

/* Each letter is an event: . answered, 5 server error, g gateway error, c connected, x failed here. */
static enum proxy_outlier_event event_of(char letter)
{
    switch (letter) {
    case '5':
        return PROXY_OUTLIER_SERVER_ERROR;
    case 'g':
        return PROXY_OUTLIER_GATEWAY_ERROR;
    case 'c':
        return PROXY_OUTLIER_CONNECTED;
    case 'x':
        return PROXY_OUTLIER_FAILED;
    default:
        return PROXY_OUTLIER_ANSWERED;
    }
}

static void rows_of_failures_are_counted_by_kind(void **state)
{
    (void)state;
    static const struct {
        const char *what, *events;
        bool split;
        uint32_t consecutive[3], enforcing[3];
        int full_at, kind; /* index of the event; -1: never */
    } rows[] = {
        {"five errors in a row", "55555", false, {5, 5, 5}, {100, 0, 100}, 4, PROXY_OUTLIER_5XX},
        {"a success breaks the row", "5555.5555", false, {5, 5, 5}, {100, 0, 100}, -1, 0},
        {"gateway errors count as 5xx too", "5g5g5", false, {5, 5, 5}, {100, 0, 100}, 4, PROXY_OUTLIER_5XX},
        {"another 5xx breaks a row of gateway errors", "gg5gg", false, {9, 3, 9}, {100, 100, 100}, -1, 0},
        {"gateway errors alone", "ggg", false, {9, 3, 9}, {100, 100, 100}, 2, PROXY_OUTLIER_GATEWAY},
        {"a local failure is a gateway error", "xgx", false, {3, 9, 9}, {100, 0, 100}, 2, PROXY_OUTLIER_5XX},
        {"a connection made is a success", "xxcxx", false, {3, 9, 9}, {100, 0, 100}, -1, 0},
        {"split: local failures by themselves", "x5x5x", true, {9, 9, 3}, {100, 0, 100}, -1, 0},
        {"split: a row of them", "xxx", true, {9, 9, 3}, {100, 0, 100}, 2, PROXY_OUTLIER_LOCAL},
        {"split: they break no row of answers", "5x5x5", true, {3, 9, 9}, {100, 0, 100}, 4, PROXY_OUTLIER_5XX},
        {"split: a connection says nothing of answers", "55c5", true, {3, 9, 9}, {100, 0, 100}, 3, PROXY_OUTLIER_5XX},
        {"the enforced kind goes first", "ggg", false, {3, 3, 9}, {0, 100, 100}, 2, PROXY_OUTLIER_GATEWAY},
        {"0 switches a kind off", "5555555555", false, {0, 0, 0}, {100, 100, 100}, -1, 0},
    };
    for (size_t row = 0; row < FL_COUNT(rows); row++) {
        struct proxy_outlier_config config = defaults;
        struct proxy_outlier_state at = {.times = 0};
        enum proxy_outlier_kind kind = PROXY_OUTLIER_5XX;
        int full_at = -1;
        config.split = rows[row].split;
        memcpy(config.consecutive, rows[row].consecutive, sizeof(config.consecutive));
        memcpy(config.enforcing, rows[row].enforcing, sizeof(config.enforcing));
        for (int i = 0; rows[row].events[i] != '\0' && full_at < 0; i++) {
            if (proxy_outlier_count(&config, &at, event_of(rows[row].events[i]), &kind))
                full_at = i;
        }
        if (full_at != rows[row].full_at || (full_at >= 0 && (int)kind != rows[row].kind))
            fail_msg("%s: at %d, kind %d", rows[row].what, full_at, (int)kind);
    }
}

static void statuses(void **state)
{
    (void)state;
    assert_int_equal(proxy_outlier_event_of(200), PROXY_OUTLIER_ANSWERED);
    assert_int_equal(proxy_outlier_event_of(499), PROXY_OUTLIER_ANSWERED);
    assert_int_equal(proxy_outlier_event_of(500), PROXY_OUTLIER_SERVER_ERROR);
    assert_int_equal(proxy_outlier_event_of(501), PROXY_OUTLIER_SERVER_ERROR);
    assert_int_equal(proxy_outlier_event_of(502), PROXY_OUTLIER_GATEWAY_ERROR);
    assert_int_equal(proxy_outlier_event_of(504), PROXY_OUTLIER_GATEWAY_ERROR);
    assert_int_equal(proxy_outlier_event_of(599), PROXY_OUTLIER_SERVER_ERROR);
}

static void times_grow_and_are_forgiven(void **state)
{
    (void)state;
    struct proxy_outlier_state at = {.times = 0};
    uint64_t now = 1000;
    for (unsigned times = 1; times <= 12; times++) {
        proxy_outlier_eject(&defaults, &at, now);
        assert_int_equal(at.until_ms - now, times < 10 ? times * 30000 : 300000);
        assert_false(proxy_outlier_is_due(&at, at.until_ms - 1));
        assert_true(proxy_outlier_is_due(&at, at.until_ms));
        now = at.until_ms;
        proxy_outlier_return(&at, now);
    }
    now += 3 * defaults.interval_ms; /* three good intervals */
    uint32_t before = at.times;
    proxy_outlier_eject(&defaults, &at, now);
    assert_int_equal(at.times, before - 2);
    proxy_outlier_return(&at, now);
    proxy_outlier_eject(&defaults, &at, now + 1000 * defaults.interval_ms);
    assert_int_equal(at.times, 1);
}

static void a_base_above_the_maximum_counts(void **state)
{
    (void)state;
    struct proxy_outlier_config config = defaults;
    struct proxy_outlier_state at = {.times = 0};
    config.base_ms = 900000;
    proxy_outlier_eject(&config, &at, 0);
    assert_int_equal(at.until_ms, 900000);
}

static void so_many_and_no_more(void **state)
{
    (void)state;
    static const struct {
        uint32_t percent;
        size_t ejected, hosts;
        bool allowed;
    } rows[] = {
        {10, 0, 1, true},  {10, 0, 100, true}, {10, 9, 100, true}, {10, 10, 100, false}, {50, 1, 4, true},
        {50, 2, 4, false}, {100, 3, 4, true},  {0, 0, 100, false}, {10, 1, 11, false},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct proxy_outlier_config config = defaults;
        config.max_ejection_percent = rows[i].percent;
        if (proxy_outlier_allowed(&config, rows[i].ejected, rows[i].hosts) != rows[i].allowed)
            fail_msg("row %zu", i);
    }
}

/* --- shared ----------------------------------------------------------------------------------------------------- */

static enum proxy_shared_verdict fails(struct proxy_shared_cluster *cluster, const struct proxy_address *address,
                                       unsigned times, uint64_t now, uint64_t random)
{
    enum proxy_shared_verdict verdict = PROXY_SHARED_NOTHING;
    enum proxy_outlier_kind kind = PROXY_OUTLIER_LOCAL;
    for (unsigned i = 0; i < times; i++)
        verdict = proxy_shared_report(cluster, &defaults, address, 10, PROXY_OUTLIER_SERVER_ERROR, now, random, &kind);
    return verdict;
}

static void what_one_worker_sees_counts_for_all(void **state)
{
    (void)state;
    struct proxy_shared *shared = NULL;
    struct proxy_shared_cluster *one = NULL, *two = NULL, *other = NULL;
    struct proxy_address a = host(1), b = host(2);
    uint32_t version = 0;
    assert_int_equal(proxy_shared_new(&shared), 0);
    assert_int_equal(proxy_shared_cluster_get(shared, FL_SPAN("c"), &one), 0);
    assert_int_equal(proxy_shared_cluster_get(shared, FL_SPAN("c"), &two), 0);
    assert_int_equal(proxy_shared_cluster_get(shared, FL_SPAN("d"), &other), 0);
    assert_ptr_equal(one, two);
    assert_ptr_not_equal(one, other);
    assert_true(proxy_shared_changed(two, 0, &version));
    assert_false(proxy_shared_changed(two, 0, &version));
    assert_int_equal(fails(one, &a, 3, 0, 0), PROXY_SHARED_NOTHING);
    assert_int_equal(fails(two, &a, 2, 0, 0), PROXY_SHARED_EJECTED);
    assert_true(proxy_shared_changed(one, 1, &version));
    assert_true(proxy_shared_is_ejected(one, &a));
    assert_false(proxy_shared_is_ejected(one, &b));
    assert_int_equal(proxy_shared_ejected(shared, 1), 1);
    assert_int_equal(fails(one, &b, 5, 1, 0), PROXY_SHARED_SPARED); /* 10 % of ten hosts is one */
    assert_false(proxy_shared_changed(one, 29999, &version));
    assert_true(proxy_shared_changed(one, 30000, &version));
    assert_false(proxy_shared_is_ejected(two, &a));
    assert_int_equal(proxy_shared_ejected(shared, 30000), 0);
    proxy_shared_cluster_put(one);
    proxy_shared_cluster_put(two);
    proxy_shared_cluster_put(other);
    proxy_shared_free(shared);
}

static void successes_wipe_the_slate(void **state)
{
    (void)state;
    struct proxy_shared_cluster *cluster = NULL;
    struct proxy_address a = host(1);
    enum proxy_outlier_kind kind = PROXY_OUTLIER_5XX;
    assert_int_equal(proxy_shared_cluster_get(NULL, FL_SPAN("c"), &cluster), 0);
    assert_true(proxy_shared_is_clean(cluster));
    fails(cluster, &a, 4, 0, 0);
    assert_false(proxy_shared_is_clean(cluster));
    proxy_shared_report(cluster, &defaults, &a, 10, PROXY_OUTLIER_ANSWERED, 0, 0, &kind);
    assert_true(proxy_shared_is_clean(cluster));
    assert_int_equal(fails(cluster, &a, 5, 0, 0), PROXY_SHARED_EJECTED);
    /* Back since 30,000: a success an interval later clears it of having been ejected. */
    proxy_shared_report(cluster, &defaults, &a, 10, PROXY_OUTLIER_ANSWERED, 30001, 0, &kind);
    assert_false(proxy_shared_is_clean(cluster));
    proxy_shared_report(cluster, &defaults, &a, 10, PROXY_OUTLIER_ANSWERED, 40001, 0, &kind);
    assert_true(proxy_shared_is_clean(cluster));
    proxy_shared_cluster_put(cluster);
}

static void enforcing_is_a_share(void **state)
{
    (void)state;
    struct proxy_shared_cluster *cluster = NULL;
    struct proxy_address a = host(1);
    struct proxy_outlier_config config = defaults;
    enum proxy_outlier_kind kind = PROXY_OUTLIER_LOCAL;
    config.enforcing[PROXY_OUTLIER_5XX] = 30;
    config.consecutive[PROXY_OUTLIER_5XX] = 1;
    assert_int_equal(proxy_shared_cluster_get(NULL, FL_SPAN("c"), &cluster), 0);
    assert_int_equal(proxy_shared_report(cluster, &config, &a, 1, PROXY_OUTLIER_SERVER_ERROR, 0, 130, &kind),
                     PROXY_SHARED_SPARED);
    assert_int_equal(proxy_shared_report(cluster, &config, &a, 1, PROXY_OUTLIER_SERVER_ERROR, 0, 129, &kind),
                     PROXY_SHARED_EJECTED);
    assert_int_equal(kind, PROXY_OUTLIER_5XX);
    proxy_shared_cluster_put(cluster);
}

/* Hosts come and go: those that are no more leave room for those that are. What is ejected stays so. */
static void hosts_are_bounded(void **state)
{
    (void)state;
    struct proxy_shared_cluster *cluster = NULL;
    assert_int_equal(proxy_shared_cluster_get(NULL, FL_SPAN("c"), &cluster), 0);
    struct proxy_address last = host(PROXY_SHARED_HOSTS_MAX + 9), first = host(0), second = host(1);
    assert_int_equal(fails(cluster, &first, 5, 0, 0), PROXY_SHARED_EJECTED);
    for (unsigned i = 1; i < PROXY_SHARED_HOSTS_MAX + 10; i++) {
        struct proxy_address address = host(i);
        fails(cluster, &address, 1, 0, 0);
    }
    assert_true(proxy_shared_is_ejected(cluster, &first));
    assert_int_equal(fails(cluster, &second, 4, 40000, 0), PROXY_SHARED_NOTHING); /* it began anew */
    assert_int_equal(fails(cluster, &last, 4, 40000, 0), PROXY_SHARED_EJECTED);
    proxy_shared_cluster_put(cluster);
}

static void limits_hold_for_the_process(void **state)
{
    (void)state;
    struct proxy_shared_cluster *cluster = NULL;
    assert_int_equal(proxy_shared_cluster_get(NULL, FL_SPAN("c"), &cluster), 0);
    assert_true(proxy_shared_take(cluster, PROXY_UPSTREAM_LIMIT_REQUESTS, 2));
    assert_true(proxy_shared_take(cluster, PROXY_UPSTREAM_LIMIT_REQUESTS, 2));
    assert_false(proxy_shared_take(cluster, PROXY_UPSTREAM_LIMIT_REQUESTS, 2));
    assert_true(proxy_shared_take(cluster, PROXY_UPSTREAM_LIMIT_REQUESTS, UINT32_MAX));
    assert_int_equal(proxy_shared_used(cluster, PROXY_UPSTREAM_LIMIT_REQUESTS), 3);
    proxy_shared_give(cluster, PROXY_UPSTREAM_LIMIT_REQUESTS);
    proxy_shared_give(cluster, PROXY_UPSTREAM_LIMIT_REQUESTS);
    assert_true(proxy_shared_take(cluster, PROXY_UPSTREAM_LIMIT_REQUESTS, 2));
    assert_int_equal(proxy_shared_used(cluster, PROXY_UPSTREAM_LIMIT_RETRIES), 0);
    proxy_shared_cluster_put(cluster);
}

#define TAKES 20000

static void *take_and_give(void *argument)
{
    struct proxy_shared_cluster *cluster = argument;
    struct proxy_address a = host(1);
    uint32_t version = 0;
    uintptr_t most = 0;
    for (unsigned i = 0; i < TAKES; i++) {
        if (!proxy_shared_take(cluster, PROXY_UPSTREAM_LIMIT_RETRIES, 2))
            continue;
        uint32_t used = proxy_shared_used(cluster, PROXY_UPSTREAM_LIMIT_RETRIES);
        most = used > most ? used : most;
        proxy_shared_give(cluster, PROXY_UPSTREAM_LIMIT_RETRIES);
        if (i % 64 == 0)
            fails(cluster, &a, 1, i, 0);
        (void)proxy_shared_changed(cluster, i, &version);
    }
    return NULL;
}

static void workers_at_once(void **state)
{
    (void)state;
    struct proxy_shared_cluster *cluster = NULL;
    pthread_t threads[4];
    assert_int_equal(proxy_shared_cluster_get(NULL, FL_SPAN("c"), &cluster), 0);
    for (size_t i = 0; i < FL_COUNT(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_and_give, cluster), 0);
    for (size_t i = 0; i < FL_COUNT(threads); i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(proxy_shared_used(cluster, PROXY_UPSTREAM_LIMIT_RETRIES), 0);
    proxy_shared_cluster_put(cluster);
}

static void every_allocation_fails_once(void **state)
{
    (void)state;
    FAIL_EACH_ALLOCATION
    {
        struct proxy_shared *shared = NULL;
        struct proxy_shared_cluster *cluster = NULL;
        struct proxy_address a = host(1);
        int result = proxy_shared_new(&shared);
        if (result == 0)
            result = proxy_shared_cluster_get(shared, FL_SPAN("c"), &cluster);
        if (result == 0)
            fails(cluster, &a, 5, 0, 0); /* what is not known is not ejected */
        fail_stop();
        assert_true(result == 0 || (result == -ENOMEM && fail_happened()));
        proxy_shared_cluster_put(cluster);
        proxy_shared_free(shared);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_of_failures_are_counted_by_kind),
        cmocka_unit_test(statuses),
        cmocka_unit_test(times_grow_and_are_forgiven),
        cmocka_unit_test(a_base_above_the_maximum_counts),
        cmocka_unit_test(so_many_and_no_more),
        cmocka_unit_test(what_one_worker_sees_counts_for_all),
        cmocka_unit_test(successes_wipe_the_slate),
        cmocka_unit_test(enforcing_is_a_share),
        cmocka_unit_test(hosts_are_bounded),
        cmocka_unit_test(limits_hold_for_the_process),
        cmocka_unit_test(workers_at_once),
        cmocka_unit_test(every_allocation_fails_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
