#include "tests/support/fail.h"
#include "tests/support/guard.h"
#include "webhook/keeper/lease.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define LEASE(version, holder, spec)                                                                                   \
    "{\"kind\":\"Lease\",\"metadata\":{\"resourceVersion\":\"" version "\"},\"spec\":{\"holderIdentity\":\"" holder    \
    "\"" spec "}}"

static struct keeper_lease lease(const char *json)
{
    struct keeper_lease read;
    struct guard guard;
    guard_init(&guard, fl_span_str(json));
    assert_int_equal(keeper_lease_read(guard.span, &read, NULL), 0);
    guard_done(&guard);
    return read;
}

static struct keeper_election election(void)
{
    return (struct keeper_election){.identity = "me", .seconds = 30};
}

static void what_is_read(void **state)
{
    (void)state;
    struct keeper_lease read = lease(LEASE("7", "other", ",\"leaseDurationSeconds\":15,\"leaseTransitions\":3"));
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
        assert_int_equal(keeper_lease_read(fl_span_str(bad[i]), &read, NULL), -EINVAL);
}

static void one_that_is_absent_is_made(void **state)
{
    (void)state;
    struct keeper_election me = election();
    const struct keeper_lease none = {.there = false};
    assert_int_equal(keeper_election_next(&me, 5), KEEPER_ELECTION_READ);
    keeper_election_saw(&me, &none, 5);
    assert_int_equal(keeper_election_next(&me, 5), KEEPER_ELECTION_MAKE);
    struct keeper_lease mine = lease(LEASE("1", "me", ",\"leaseDurationSeconds\":30"));
    keeper_election_won(&me, &mine, 10, 12);
    assert_true(keeper_election_holds(&me, 10 + 19999));
    assert_false(keeper_election_holds(&me, 10 + 20000));
    assert_int_equal(keeper_election_next(&me, 10000), KEEPER_ELECTION_RENEW);
    assert_int_equal(keeper_election_next(&me, 20010), KEEPER_ELECTION_TAKE);
}

static void a_holder_lives_as_long_as_it_changes(void **state)
{
    (void)state;
    struct keeper_election me = election();
    struct keeper_lease one = lease(LEASE("1", "other", ",\"leaseDurationSeconds\":15"));
    struct keeper_lease two = lease(LEASE("2", "other", ",\"leaseDurationSeconds\":15"));
    keeper_election_saw(&me, &one, 1000);
    assert_int_equal(keeper_election_next(&me, 15999), KEEPER_ELECTION_WAIT);
    keeper_election_lost(&me); /* it is read again, and has not changed */
    keeper_election_saw(&me, &one, 15000);
    assert_int_equal(keeper_election_next(&me, 15999), KEEPER_ELECTION_WAIT);
    assert_int_equal(keeper_election_next(&me, 16000), KEEPER_ELECTION_TAKE);
    keeper_election_saw(&me, &two, 16000);
    assert_int_equal(keeper_election_next(&me, 30999), KEEPER_ELECTION_WAIT);
    assert_int_equal(keeper_election_next(&me, 31000), KEEPER_ELECTION_TAKE);
    struct keeper_lease released = lease(LEASE("3", "", ",\"leaseDurationSeconds\":1"));
    keeper_election_saw(&me, &released, 31000);
    assert_int_equal(keeper_election_next(&me, 31000), KEEPER_ELECTION_TAKE);
}

static void one_that_was_stolen_is_not_held(void **state)
{
    (void)state;
    struct keeper_election me = election();
    struct keeper_lease mine = lease(LEASE("1", "me", "")), theirs = lease(LEASE("2", "other", ""));
    keeper_election_won(&me, &mine, 1000, 1000);
    assert_true(keeper_election_holds(&me, 2000));
    keeper_election_lost(&me); /* a write was refused */
    assert_true(keeper_election_holds(&me, 2000));
    assert_int_equal(keeper_election_next(&me, 2000), KEEPER_ELECTION_READ);
    keeper_election_saw(&me, &theirs, 2000);
    assert_false(keeper_election_holds(&me, 2000));
}

/* What a holder began is over before anybody else begins: its last request starts before it stops to act, which counts
 * from the start of its last renewal; the next one sees that renewal's change later than that. */
static void acting_ends_before_anybody_takes_over(void **state)
{
    (void)state;
    for (unsigned seconds = KEEPER_LEASE_SECONDS_MIN; seconds <= KEEPER_LEASE_SECONDS_MAX; seconds++) {
        struct keeper_election me = election();
        me.seconds = seconds;
        struct keeper_lease mine = lease(LEASE("1", "me", ""));
        keeper_election_won(&me, &mine, 1000, 1000);
        uint64_t last = me.held_until_ms + keeper_election_request_ms(&me);
        assert_true(last < 1000 + (uint64_t)seconds * 1000);
        assert_true(keeper_election_period_ms(&me) + keeper_election_request_ms(&me) < me.held_until_ms - 1000);
    }
}

static void print(const struct keeper_election *me, bool release, const char *wanted)
{
    struct fl_buf out;
    fl_buf_init(&out, 4096);
    assert_int_equal(keeper_lease_print(me, "keeper", "ns", INT64_C(1800000000000042), release, &out), 0);
    assert_string_equal(fl_buf_str(&out), wanted);
    fl_buf_done(&out);
}

static void what_is_written(void **state)
{
    (void)state;
    struct keeper_election me = election();
    print(
        &me, false,
        "{\"apiVersion\":\"coordination.k8s.io/v1\",\"kind\":\"Lease\",\"metadata\":{\"name\":\"keeper\",\"namespace\":"
        "\"ns\"},\"spec\":{\"holderIdentity\":\"me\",\"leaseDurationSeconds\":30,\"renewTime\":\"2027-01-15T08:00:00."
        "000042Z\",\"acquireTime\":\"2027-01-15T08:00:00.000042Z\",\"leaseTransitions\":0}}");
    struct keeper_lease theirs = lease(LEASE("9", "other", ",\"leaseTransitions\":4"));
    keeper_election_saw(&me, &theirs, 1);
    print(&me, false,
          "{\"metadata\":{\"resourceVersion\":\"9\"},\"spec\":{\"holderIdentity\":\"me\",\"leaseDurationSeconds\":30,"
          "\"renewTime\":\"2027-01-15T08:00:00.000042Z\",\"acquireTime\":\"2027-01-15T08:00:00.000042Z\","
          "\"leaseTransitions\":5}}");
    struct keeper_lease mine = lease(LEASE("10", "me", ",\"leaseTransitions\":5"));
    keeper_election_won(&me, &mine, 1, 1);
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
    struct keeper_election me = election();
    FAIL_EACH_ALLOCATION
    {
        struct keeper_lease read = {.there = false};
        struct fl_buf out;
        fl_buf_init(&out, 4096);
        int result = keeper_lease_read(FL_SPAN(LEASE("7", "other", "")), &read, NULL);
        if (result == 0)
            result = keeper_lease_print(&me, "keeper", "ns", 1, false, &out);
        fail_stop();
        assert_int_equal(result, fail_happened() ? -ENOMEM : 0);
        fl_buf_done(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_read),
        cmocka_unit_test(one_that_is_absent_is_made),
        cmocka_unit_test(a_holder_lives_as_long_as_it_changes),
        cmocka_unit_test(one_that_was_stolen_is_not_held),
        cmocka_unit_test(acting_ends_before_anybody_takes_over),
        cmocka_unit_test(what_is_written),
        cmocka_unit_test(memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
