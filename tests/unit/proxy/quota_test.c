#include "proxy/telemetry/quota.h"

#include "common/base/cleanup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void a_burst_then_one_a_second(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        uint64_t now_ms, passes, asked, told; /* of `asked` at that time so many pass; the first one tells so many */
    } rows[] = {
        {"the burst", 500, 10, 15, 0},          {"before the second is over", 1499, 0, 3, 0},
        {"one after it", 1500, 1, 2, 8},        {"the part of a second that is left is not lost", 3400, 1, 1, 1},
        {"so this is the next", 3500, 1, 4, 0}, {"after a long rest the burst again", 3600000, 10, 11, 3},
        {"and no more", 3600000, 0, 1, 0},
    };
    struct proxy_quota quota = {0};
    for (size_t i = 0; i < FL_COUNT(rows); i++) {
        uint64_t passed = 0, told = 0, suppressed = 0;
        for (uint64_t k = 0; k < rows[i].asked; k++) {
            if (proxy_quota_take(&quota, rows[i].now_ms, &suppressed)) {
                passed++;
                told += suppressed;
            }
        }
        if (passed != rows[i].passes || told != rows[i].told)
            fail_msg("%s: %d passed, %d told", rows[i].what, (int)passed, (int)told);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_burst_then_one_a_second)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
