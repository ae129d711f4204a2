/* cni/capture/address: the text of addresses (tests/integration asks kernels). */
#include "cni/capture/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const struct {
    const char *what, *text, *address; /* address NULL: refused */
} rows[] = {
    {"IPv4", "10.9.0.2", "10.9.0.2"},
    {"its prefix says nothing about whose it is", "10.9.0.2/24", "10.9.0.2"},
    {"a host's prefix", "10.9.0.2/32", "10.9.0.2"},
    {"the shortest prefix", "10.9.0.2/0", "10.9.0.2"},
    {"IPv6", "fd00::2/64", "fd00::2"},
    {"IPv6, a host's prefix", "fd00::2/128", "fd00::2"},
    {"link-local", "fe80::1/64", "fe80::1"},
    {"mapped: the kernel has it as IPv4", "::ffff:10.9.0.2/120", "10.9.0.2"},
    {"mapped, in hexadecimal", "::ffff:a09:2", "10.9.0.2"},
    {"compatible is not mapped", "::10.9.0.2", "::10.9.0.2"},
    {"nothing", "", NULL},
    {"no address", "/24", NULL},
    {"no prefix behind the slash", "10.9.0.2/", NULL},
    {"IPv4: prefix too long", "10.9.0.2/33", NULL},
    {"IPv6: prefix too long", "fd00::2/129", NULL},
    {"a prefix that is no number", "10.9.0.2/255.255.255.0", NULL},
    {"a negative prefix", "10.9.0.2/-1", NULL},
    {"two prefixes", "10.9.0.2/24/24", NULL},
    {"three numbers", "10.9.2", NULL},
    {"a zone", "fe80::1%eth0/64", NULL},
    {"brackets", "[fd00::2]", NULL},
    {"blanks", " 10.9.0.2", NULL},
    {"a name", "localhost", NULL},
    {"longer than any", "0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000", NULL},
};

static void test_text(void **state)
{
    (void)state;
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct fl_cidr address = {.family = -1};
        char text[INET6_ADDRSTRLEN];
        int result = cni_address_parse(fl_span_str(rows[i].text), &address);
        if (result != (rows[i].address != NULL ? 0 : -EINVAL))
            fail_msg("%s: %d", rows[i].what, result);
        if (rows[i].address == NULL) {
            assert_int_equal(address.family, -1);
            continue;
        }
        assert_int_equal(address.prefix, address.family == AF_INET ? 32 : 128);
        assert_non_null(inet_ntop(address.family, address.address, text, sizeof(text)));
        if (strcmp(text, rows[i].address) != 0)
            fail_msg("%s: %s", rows[i].what, text);
    }
}

static void test_a_nul_inside(void **state)
{
    (void)state;
    struct fl_cidr address;
    assert_int_equal(cni_address_parse(fl_span_make("10.9.0.2\0/24", 12), &address), -EINVAL);
}

static void test_none_asked_for(void **state)
{
    (void)state;
    struct fl_err err;
    bool has = true;
    assert_int_equal(cni_netns_has_address(-1, NULL, 0, &has, &err), 0);
    assert_false(has);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_a_nul_inside),
        cmocka_unit_test(test_none_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
