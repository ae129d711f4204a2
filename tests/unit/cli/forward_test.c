#include "cli/forward.h"

#include "common/base/cleanup.h"
#include "tests/support/fail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static void lines(void **state)
{
    static const struct {
        const char *line;
        uint16_t local, remote; /* 0: it is none */
    } rows[] = {
        {"Forwarding from 127.0.0.1:41234 -> 15000", 41234, 15000},
        {"Forwarding from 127.0.0.1:1 -> 1\r", 0, 0},
        {"Forwarding from [::1]:41234 -> 15000", 0, 0},
        {"Forwarding from 127.0.0.1:0 -> 15000", 0, 0},
        {"Forwarding from 127.0.0.1:65536 -> 15000", 0, 0},
        {"Forwarding from 127.0.0.1:41234 -> ", 0, 0},
        {"Forwarding from 127.0.0.1:41234", 0, 0},
        {"Forwarding from 127.0.0.1:", 0, 0},
        {"Handling connection for 41234", 0, 0},
        {"", 0, 0},
    };
    (void)state;
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        uint16_t local = 0, remote = 0;
        assert_int_equal(cli_forward_read(fl_span_str(rows[i].line), &local, &remote), rows[i].local != 0);
        assert_int_equal(local, rows[i].local);
        assert_int_equal(remote, rows[i].remote);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(lines)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
