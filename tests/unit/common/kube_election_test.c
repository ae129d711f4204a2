#include "common/kube/election.h"
#include "tests/support/fail.h"
#include "tests/support/guard.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define LEASE(version, holder, spec)                                                                                   \
    "{\"kind\":\"Lease\",\"metadata\":{\"resourceVersion\":\"" version "\"},\"spec\":{\"holderIdentity\":\"" holder    \
    "\"" spec "}}"

static struct fl_kube_lease_state lease(const char *json)
{
    struct fl_kube_lease_state read;
    struct guard guard;
    guard_init(&guard, fl_span_str(json));
    assert_int_equal(fl_kube_lease_parse(guard.span, &read, NULL), 0);
    guard_done(&guard);
    return read;
}

static struct fl_kube_election election(void)
{
    return (struct fl_kube_election){.identity = "me", .seconds = 30};
}

static void what_is_read(void **state)
{
    (void)state;
    struct fl_kube_lease_state read = lease(LEASE("7", "other", ",\"leaseDurationSeconds\":15,\"leaseTransitions\":3"));
    assert_string_equal(read.version, "7");
    assert_string_equal(read.holder, "other");
    assert_int_equal(read.seconds, 15);
    assert_int_equal(read.transitions, 3);
    /* Nonsense is nobody's, and lasts a second. */
    read = lease("{\"kind\":\"Lease\",\"metadata\":{\"resourceVersion\":\"7\"},\"spec\":{\"holderIdentity\":7,"
                 "\"leaseDurationSeconds\":-1,\"leaseTransitions\":1e99}}");
    assert_string_equal(read.holder, "");
    assert_int_equal(read.seconds, 1);
    assert_int_equal(read.transitions, 0);
    static const char *const bad[] = {"", "{}", "[]", "{\"kind\":\"Secret\",\"metadata\":{\"resourceVersion\":\"7\"}}",
                                      "{\"kind\":\"Lease\",\"metadata\":{}}"};
    for (size_t i = 0; i < FL_COUNT(bad); i++)
        assert_int_equal(fl_kube_lease_parse(fl_span_str(bad[i]), &read, NULL), -EINVAL);
}

static void one_that_is_absent_is_made(void **state)
{
    (void)state;
    struct fl_kube_election me = election();
    const struct fl_kube_lease_state none = {.there = false};
    assert_int_equal(fl_kube_election_next(&me, 5), FL_KUBE_ELECTION_READ);
    fl_kube_election_saw(&me, &none, 5);
    assert_int_equal(fl_kube_election_next(&me, 5), FL_KUBE_ELECTION_MAKE);
    struct fl_kube_lease_state mine = lease(LEASE("1", "me", ",\"leaseDurationSeconds\":30"));
    fl_kube_election_won(&me, &mine, 10, 12);
    assert_true(fl_kube_election_holds(&me, 10 + 19999));
    assert_false(fl_kube_election_holds(&me, 10 + 20000));
    assert_int_equal(fl_kube_election_next(&me, 10000), FL_KUBE_ELECTION_RENEW);
    assert_int_equal(fl_kube_election_next(&me, 20010), FL_KUBE_ELECTION_TAKE);
}

static void a_holder_lives_as_long_as_it_changes(void **state)
{
    (void)state;
    struct fl_kube_election me = election();
    struct fl_kube_lease_state one = lease(LEASE("1", "other", ",\"leaseDurationSeconds\":15"));
    struct fl_kube_lease_state two = lease(LEASE("2", "other", ",\"leaseDurationSeconds\":15"));
    fl_kube_election_saw(&me, &one, 1000);
    assert_int_equal(fl_kube_election_next(&me, 15999), FL_KUBE_ELECTION_WAIT);
    fl_kube_election_lost(&me); /* it is read again, and has not changed */
    fl_kube_election_saw(&me, &one, 15000);
    assert_int_equal(fl_kube_election_next(&me, 15999), FL_KUBE_ELECTION_WAIT);
    assert_int_equal(fl_kube_election_next(&me, 16000), FL_KUBE_ELECTION_TAKE);
    fl_kube_election_saw(&me, &two, 16000);
    assert_int_equal(fl_kube_election_next(&me, 30999), FL_KUBE_ELECTION_WAIT);
    assert_int_equal(fl_kube_election_next(&me, 31000), FL_KUBE_ELECTION_TAKE);
    struct fl_kube_lease_state released = lease(LEASE("3", "", ",\"leaseDurationSeconds\":1"));
    fl_kube_election_saw(&me, &released, 31000);
    assert_int_equal(fl_kube_election_next(&me, 31000), FL_KUBE_ELECTION_TAKE);
}

/* Who comes second takes nothing that one of the first would have taken by then, and everything where there is none. */
static void others_come_first(void **state)
{
    (void)state;
    struct fl_kube_election me = election();
    me.yields = true;
    const struct fl_kube_lease_state none = {.there = false};
    struct fl_kube_lease_state held = lease(LEASE("1", "other", ",\"leaseDurationSeconds\":15"));
    struct fl_kube_lease_state released = lease(LEASE("2", "", ",\"leaseDurationSeconds\":1"));
    struct fl_kube_lease_state taken = lease(LEASE("3", "another", ",\"leaseDurationSeconds\":15"));
    fl_kube_election_saw(&me, &none, 1000);
    assert_int_equal(fl_kube_election_next(&me, 1000), FL_KUBE_ELECTION_MAKE);
    fl_kube_election_saw(&me, &held, 1000);
    assert_int_equal(fl_kube_election_next(&me, 1000 + 15000 + 29999), FL_KUBE_ELECTION_WAIT);
    assert_int_equal(fl_kube_election_next(&me, 1000 + 15000 + 30000), FL_KUBE_ELECTION_TAKE);
    fl_kube_election_saw(&me, &released, 50000);
    assert_int_equal(fl_kube_election_next(&me, 50000), FL_KUBE_ELECTION_WAIT);
    fl_kube_election_lost(&me); /* it is read again, and has not changed */
    fl_kube_election_saw(&me, &released, 60000);
    assert_int_equal(fl_kube_election_next(&me, 79999), FL_KUBE_ELECTION_WAIT);
    assert_int_equal(fl_kube_election_next(&me, 80000), FL_KUBE_ELECTION_TAKE);
    fl_kube_election_saw(&me, &taken, 70000); /* one of the others was there */
    assert_int_equal(fl_kube_election_next(&me, 80000), FL_KUBE_ELECTION_WAIT);
    struct fl_kube_lease_state mine = lease(LEASE("4", "me", ""));
    fl_kube_election_saw(&me, &mine, 80000); /* ours of an earlier life */
    assert_int_equal(fl_kube_election_next(&me, 80000), FL_KUBE_ELECTION_TAKE);
}

static void one_that_was_stolen_is_not_held(void **state)
{
    (void)state;
    struct fl_kube_election me = election();
    struct fl_kube_lease_state mine = lease(LEASE("1", "me", "")), theirs = lease(LEASE("2", "other", ""));
    fl_kube_election_won(&me, &mine, 1000, 1000);
    assert_true(fl_kube_election_holds(&me, 2000));
    fl_kube_election_lost(&me); /* a write was refused */
    assert_true(fl_kube_election_holds(&me, 2000));
    assert_int_equal(fl_kube_election_next(&me, 2000), FL_KUBE_ELECTION_READ);
    fl_kube_election_saw(&me, &theirs, 2000);
    assert_false(fl_kube_election_holds(&me, 2000));
}

/* What a holder began is over before anybody else begins: its last request starts before it stops to act, which counts
 * from the start of its last renewal; the next one sees that renewal's change later than that. */
static void acting_ends_before_anybody_takes_over(void **state)
{
    (void)state;
    for (unsigned seconds = FL_KUBE_LEASE_SECONDS_MIN; seconds <= FL_KUBE_LEASE_SECONDS_MAX; seconds++) {
        struct fl_kube_election me = election();
        me.seconds = seconds;
        struct fl_kube_lease_state mine = lease(LEASE("1", "me", ""));
        fl_kube_election_won(&me, &mine, 1000, 1000);
        uint64_t last = me.held_until_ms + fl_kube_election_request_ms(&me);
        assert_true(last < 1000 + (uint64_t)seconds * 1000);
        assert_true(fl_kube_election_period_ms(&me) + fl_kube_election_request_ms(&me) < me.held_until_ms - 1000);
    }
}

static void print(const struct fl_kube_election *me, bool release, const char *wanted)
{
    struct fl_buf out;
    fl_buf_init(&out, 4096);
    assert_int_equal(fl_kube_lease_print(me, "keeper", "ns", INT64_C(1800000000000042), release, &out), 0);
    assert_string_equal(fl_buf_str(&out), wanted);
    fl_buf_done(&out);
}

static void what_is_written(void **state)
{
    (void)state;
    struct fl_kube_election me = election();
    print(
        &me, false,
        "{\"apiVersion\":\"coordination.k8s.io/v1\",\"kind\":\"Lease\",\"metadata\":{\"name\":\"keeper\",\"namespace\":"
        "\"ns\"},\"spec\":{\"holderIdentity\":\"me\",\"leaseDurationSeconds\":30,\"renewTime\":\"2027-01-15T08:00:00."
        "000042Z\",\"acquireTime\":\"2027-01-15T08:00:00.000042Z\",\"leaseTransitions\":0}}");
    struct fl_kube_lease_state theirs = lease(LEASE("9", "other", ",\"leaseTransitions\":4"));
    fl_kube_election_saw(&me, &theirs, 1);
    print(&me, false,
          "{\"metadata\":{\"resourceVersion\":\"9\"},\"spec\":{\"holderIdentity\":\"me\",\"leaseDurationSeconds\":30,"
          "\"renewTime\":\"2027-01-15T08:00:00.000042Z\",\"acquireTime\":\"2027-01-15T08:00:00.000042Z\","
          "\"leaseTransitions\":5}}");
    struct fl_kube_lease_state mine = lease(LEASE("10", "me", ",\"leaseTransitions\":5"));
    fl_kube_election_won(&me, &mine, 1, 1);
    print(&me, false,
          "{\"metadata\":{\"resourceVersion\":\"10\"},\"spec\":{\"holderIdentity\":\"me\",\"leaseDurationSeconds\":30,"
          "\"renewTime\":\"2027-01-15T08:00:00.000042Z\"}}");
    print(&me, true,
          "{\"metadata\":{\"resourceVersion\":\"10\"},\"spec\":{\"holderIdentity\":\"\",\"leaseDurationSeconds\":1,"
          "\"renewTime\":\"2027-01-15T08:00:00.000042Z\"}}");
}

static void memory_runs_out(void **state)
{
    (void)state;
    struct fl_kube_election me = election();
    FAIL_EACH_ALLOCATION
    {
        struct fl_kube_lease_state read = {.there = false};
        struct fl_buf out;
        fl_buf_init(&out, 4096);
        int result = fl_kube_lease_parse(FL_SPAN(LEASE("7", "other", "")), &read, NULL);
        if (result == 0)
            result = fl_kube_lease_print(&me, "keeper", "ns", 1, false, &out);
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
        fl_buf_done(&out);
    }
}

static void what_lasts_is_told_each_minute(void **state)
{
    (void)state;
    static const struct {
        uint64_t at_ms;
        const char *why;
        bool told;
    } rows[] = {{1000, "gone", true},   {1800, "gone", false},   {60999, "gone", false},  {61000, "gone", true},
                {61800, "gone", false}, {62600, "other", true},  {63400, "other", false}, {64200, "gone", true},
                {65000, "gone", false}, {124199, "gone", false}, {124200, "gone", true}};
    struct fl_kube_election_told told = {.at_ms = 0};
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct fl_err err = {.code = -ENOENT};
        snprintf(err.text, sizeof(err.text), "%s", rows[i].why);
        if (fl_kube_election_tells(&told, &err, rows[i].at_ms) != rows[i].told)
            fail_msg("row %zu", i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_read),
        cmocka_unit_test(one_that_is_absent_is_made),
        cmocka_unit_test(a_holder_lives_as_long_as_it_changes),
        cmocka_unit_test(others_come_first),
        cmocka_unit_test(one_that_was_stolen_is_not_held),
        cmocka_unit_test(acting_ends_before_anybody_takes_over),
        cmocka_unit_test(what_is_written),
        cmocka_unit_test(what_lasts_is_told_each_minute),
        cmocka_unit_test(memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
