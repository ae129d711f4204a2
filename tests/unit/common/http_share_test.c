#include "common/http/share.h"

#include "tests/support/fail.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

union address {
    struct sockaddr any;
    struct sockaddr_in ipv4;
    struct sockaddr_in6 ipv6;
};

static union address parse(const char *text)
{
    union address address = {.ipv6 = {.sin6_family = AF_INET6}};
    if (strchr(text, ':') != NULL) {
        assert_int_equal(inet_pton(AF_INET6, text, &address.ipv6.sin6_addr), 1);
    } else {
        address.ipv4.sin_family = AF_INET;
        assert_int_equal(inet_pton(AF_INET, text, &address.ipv4.sin_addr), 1);
    }
    return address;
}

static struct fl_http_share *share_of(struct fl_http_shares *shares, const char *text)
{
    union address address = parse(text);
    return fl_http_share_of(shares, &address.any);
}

static void who_is_one(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        bool same;
    } rows[] = {
        {"10.0.0.1", "10.0.0.1", true},
        {"10.0.0.1", "10.0.0.2", false},
        {"10.0.0.1", "::ffff:10.0.0.1", true},
        {"2001:db8::1", "2001:db8::2", true}, /* one /64 */
        {"2001:db8::1", "2001:db8:0:1::1", false},
        {"::1", "127.0.0.1", false},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct fl_http_shares shares;
        fl_http_shares_init(&shares, 10);
        struct fl_http_share *a = share_of(&shares, rows[i].a), *b = share_of(&shares, rows[i].b);
        assert_non_null(a);
        assert_int_equal(a == b, rows[i].same);
        fl_http_shares_done(&shares);
    }
}

static void they_come_and_go(void **state)
{
    (void)state;
    struct fl_http_shares shares;
    fl_http_shares_init(&shares, 2);
    struct fl_http_share *a = share_of(&shares, "10.0.0.1");
    a->connections = 1;
    fl_http_share_release(&shares, a);
    assert_ptr_equal(share_of(&shares, "10.0.0.1"), a);
    assert_non_null(share_of(&shares, "10.0.0.2"));
    assert_null(share_of(&shares, "10.0.0.3"));
    a->connections = 0;
    fl_http_share_release(&shares, a);
    assert_non_null(share_of(&shares, "10.0.0.3"));
    fl_http_shares_done(&shares);
}

static void a_turn_begins_anew(void **state)
{
    (void)state;
    struct fl_http_share share = {.turn = 1, .accepted = 3, .handshakes = 4};
    fl_http_share_turn(&share, 1);
    assert_int_equal(share.accepted + share.handshakes, 7);
    fl_http_share_turn(&share, 2);
    assert_int_equal(share.accepted + share.handshakes, 0);
}

static void who_gives_way(void **state)
{
    (void)state;
    const struct fl_http_share many = {.connections = 100}, few = {.connections = 3},
                               known = {.connections = 200, .known = 1}, served = {.connections = 50, .known = 50};
    assert_true(fl_http_share_yields(&many, &few));
    assert_false(fl_http_share_yields(&few, &many));
    assert_true(fl_http_share_yields(&few, &known));
    assert_false(fl_http_share_yields(&known, &few));
    assert_true(fl_http_share_yields(&known, &served));
    assert_false(fl_http_share_yields(&few, &few));
}

static void allocations_may_fail(void **state)
{
    (void)state;
    FAIL_EACH_ALLOCATION
    {
        struct fl_http_shares shares;
        fl_http_shares_init(&shares, 2);
        struct fl_http_share *share = share_of(&shares, "10.0.0.1");
        fail_stop();
        assert_int_equal(share == NULL, fail_happened());
        fl_http_shares_done(&shares);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_is_one),    cmocka_unit_test(they_come_and_go),     cmocka_unit_test(a_turn_begins_anew),
        cmocka_unit_test(who_gives_way), cmocka_unit_test(allocations_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
