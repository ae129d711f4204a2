#include "cli/check/version.h"

#include "common/base/cleanup.h"
#include "tests/support/fail.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static void skew(void **state)
{
    static const struct {
        const char *a, *b;
        enum cli_skew skew;
    } rows[] = {
        {"0.1.0", "0.1.0", CLI_SKEW_NONE},
        {"0.1.0", "0.1.9", CLI_SKEW_PATCH},
        {"v1.2.3", "1.2.3", CLI_SKEW_PATCH},
        {"0.1.0-rc1+b", "0.1.0", CLI_SKEW_PATCH},
        {"0.1.0", "0.2.0", CLI_SKEW_MINOR},
        {"0.3.0", "0.2.7", CLI_SKEW_MINOR},
        {"0.1.0", "0.3.0", CLI_SKEW_TOO_FAR},
        {"1.0.0", "2.0.0", CLI_SKEW_TOO_FAR},
        {"", "", CLI_SKEW_UNKNOWN},
        {"0.1.0", "latest", CLI_SKEW_UNKNOWN},
        {"0.1", "0.1.0", CLI_SKEW_UNKNOWN},
        {"0.1.0.0", "0.1.0", CLI_SKEW_UNKNOWN},
        {"0.1.99999999999", "0.1.0", CLI_SKEW_UNKNOWN},
    };
    (void)state;
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        assert_int_equal(cli_version_skew(fl_span_str(rows[i].a), fl_span_str(rows[i].b)), rows[i].skew);
        assert_int_equal(cli_version_skew(fl_span_str(rows[i].b), fl_span_str(rows[i].a)), rows[i].skew);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(skew)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
