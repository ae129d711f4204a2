/* common/mesh/cidr: a single address; lists of CIDRs are in capture_test. */
#include "common/mesh/capture.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/socket.h>

#include <cmocka.h>

static void single_addresses_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        struct fl_span text;
        int family; /* 0: refused */
        uint8_t last;
    } rows[] = {
        {"IPv4", FL_SPAN("10.0.0.7"), AF_INET, 7},
        {"IPv6", FL_SPAN("fd00::7"), AF_INET6, 7},
        {"mapped: as it is written", FL_SPAN("::ffff:10.0.0.7"), AF_INET6, 7},
        {"nothing", FL_SPAN(""), 0, 0},
        {"a prefix", FL_SPAN("10.0.0.7/32"), 0, 0},
        {"a blank", FL_SPAN("10.0.0.7 "), 0, 0},
        {"a NUL inside", FL_SPAN("10.0.0.7\0"), 0, 0},
        {"longer than any", FL_SPAN("0000:0000:0000:0000:0000:0000:255.255.255.2555"), 0, 0},
    };
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        struct fl_cidr address = {.prefix = 99};
        size_t size = rows[i].family == AF_INET ? 4 : 16;
        int result = fl_cidr_parse_address(rows[i].text, &address);
        if (result != (rows[i].family == 0 ? -EINVAL : 0))
            fail_msg("%s: %d", rows[i].what, result);
        if (result < 0)
            assert_int_equal(address.prefix, 99);
        else if (address.family != rows[i].family || address.prefix != size * 8 ||
                 address.address[size - 1] != rows[i].last)
            fail_msg("%s: another address", rows[i].what);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(single_addresses_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
