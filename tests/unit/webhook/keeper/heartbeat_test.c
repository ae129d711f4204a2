#include "webhook/keeper/heartbeat.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static char path[] = "/tmp/fairlead-heartbeat-XXXXXX";

static void write_text(const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void alive_until_it_goes_stale(void **state)
{
    (void)state;
    assert_int_equal(keeper_heartbeat_write(path, 5000, NULL), 0);
    assert_int_equal(keeper_heartbeat_check(path, 4999, NULL), 0);
    assert_int_equal(keeper_heartbeat_check(path, 5000, NULL), -ESTALE);
}

static void what_is_no_heartbeat(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "\n", "x\n", "-1\n", "99999999999999999999\n", "500000000000\n", "1 2\n"};
    for (size_t i = 0; i < FL_COUNT(texts); i++) {
        write_text(texts[i]);
        if (keeper_heartbeat_check(path, 1000, NULL) != -EINVAL)
            fail_msg("%zu", i);
    }
    assert_int_equal(keeper_heartbeat_check("/dev/null/none", 1000, NULL), -ENOTDIR);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(alive_until_it_goes_stale),
        cmocka_unit_test(what_is_no_heartbeat),
    };
    int fd = mkstemp(path);
    if (fd < 0)
        return 1;
    close(fd);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return failed;
}
