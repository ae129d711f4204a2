/* cni/install/install: what lies on the disk whenever the power goes, a call fails or memory ends: a configuration that
 * a runtime can use, naming only a plugin that is there; and the next pass ends what was begun. */
#include "cni/install/install.h"

#include "tests/support/fail.h"
#include "tests/support/folder.h"
#include "tests/support/power.h"
#include "tests/unit/cni/install_world.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

/* ---- power ---- */

/* The four journeys, cut at each step; the next start of an agent, or of an uninstaller, ends them. */
static void cut_everywhere(const char *name, const char *text, const char *installed_name, const char *installed,
                           bool removal)
{
    const char *type = strstr(text, "bridge") != NULL ? "bridge" : "flannel";
    install_begin();
    folder_put_str(world.conf, name, text);
    if (removal)
        install_assert_state(&world.settings, CNI_INSTALL_INSTALLED, "");
    power_start(world.root);
    if (removal)
        install_assert_removed(&world.settings);
    else
        install_assert_state(&world.settings, CNI_INSTALL_INSTALLED, "");
    power_stop();
    assert_true(power_operations() > 8);
    POWER_EACH_CUT(cut, variant)
    {
        const char *where = power_describe(cut, variant);
        power_restore(cut, variant, world.after);
        install_assert_usable(&world.later, type, where);
        struct cni_install_report report = install_reconcile(&world.later);
        if (report.state != CNI_INSTALL_INSTALLED)
            fail_msg("%s: %s", where, report.reason);
        install_assert_file(world.after_conf, installed_name, installed);
        install_assert_usable(&world.later, type, where);
        power_restore(cut, variant, world.after);
        install_assert_removed(&world.later);
        install_assert_file(world.after_conf, name, text);
        install_assert_usable(&world.later, type, where);
        if (strcmp(name, installed_name) != 0)
            install_assert_file(world.after_conf, installed_name, NULL);
    }
}

static void test_power_while_chaining(void **state)
{
    (void)state;
    cut_everywhere("10-net.conflist", LIST, "10-net.conflist", DONE, false);
}

static void test_power_while_unchaining(void **state)
{
    (void)state;
    cut_everywhere("10-net.conflist", LIST, "10-net.conflist", DONE, true);
}

static void test_power_while_wrapping(void **state)
{
    (void)state;
    cut_everywhere("10-f.conf", CONF, "10-f.conflist", WRAP, false);
}

static void test_power_while_unwrapping(void **state)
{
    (void)state;
    cut_everywhere("10-f.conf", CONF, "10-f.conflist", WRAP, true);
}

/* ---- failing calls ---- */

static void fail_everywhere(const char *name, const char *text, const char *installed_name, const char *installed,
                            bool removal, int error)
{
    const char *type = strstr(text, "bridge") != NULL ? "bridge" : "flannel";
    for (size_t nth = 1; nth < 1000; nth++) {
        char where[64];
        struct cni_install_report report;
        struct fl_err err = {0};
        snprintf(where, sizeof(where), "call %zu fails", nth);
        install_begin();
        folder_put_str(world.conf, name, text);
        if (removal)
            install_assert_state(&world.settings, CNI_INSTALL_INSTALLED, "");
        power_fail_at(nth, error);
        int result = removal ? cni_install_remove(&world.settings, 0, &err)
                             : cni_install_reconcile(&world.settings, &report, &err);
        bool failed = power_failed();
        power_fail_at(0, 0);
        if (!failed) {
            assert_int_equal(result, 0);
            return;
        }
        install_assert_usable(&world.settings, type, where);
        install_assert_state(&world.settings, CNI_INSTALL_INSTALLED, "");
        install_assert_file(world.conf, installed_name, installed);
        install_assert_removed(&world.settings);
        install_assert_file(world.conf, name, text);
    }
    fail_msg("it does not end");
}

static void test_failing_calls(void **state)
{
    (void)state;
    static const int errors[] = {ENOSPC, EIO, EROFS, EACCES};
    for (size_t i = 0; i < FL_COUNT(errors); i++) {
        fail_everywhere("10-net.conflist", LIST, "10-net.conflist", DONE, false, errors[i]);
        fail_everywhere("10-net.conflist", LIST, "10-net.conflist", DONE, true, errors[i]);
        fail_everywhere("10-f.conf", CONF, "10-f.conflist", WRAP, false, errors[i]);
        fail_everywhere("10-f.conf", CONF, "10-f.conflist", WRAP, true, errors[i]);
    }
}

static void test_memory(void **state)
{
    (void)state;
    static const char *const names[] = {"10-net.conflist", "10-f.conf"}, *const texts[] = {LIST, CONF};
    for (size_t i = 0; i < FL_COUNT(names); i++) {
        FAIL_EACH_ALLOCATION
        {
            struct cni_install_report report;
            fail_stop();
            install_begin();
            folder_put_str(world.conf, names[i], texts[i]);
            fail_at(fail_round_);
            int result = cni_install_reconcile(&world.settings, &report, NULL);
            fail_stop();
            bool failed = fail_happened();
            if (result != 0)
                assert_int_equal(result, -ENOMEM);
            install_assert_usable(&world.settings, i == 0 ? "bridge" : "flannel", "memory");
            fail_at(fail_round_);
            result = cni_install_remove(&world.settings, 0, NULL);
            fail_stop();
            failed |= fail_happened();
            if (result != 0)
                assert_int_equal(result, -ENOMEM);
            install_assert_usable(&world.settings, i == 0 ? "bridge" : "flannel", "memory");
            install_assert_removed(&world.settings);
            install_assert_file(world.conf, names[i], texts[i]);
            if (failed) {
                fail_at(1); /* for the macro, which goes on where one failed */
                void *volatile none = malloc(1);
                assert_null(none);
                fail_stop();
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_power_while_chaining), cmocka_unit_test(test_power_while_unchaining),
        cmocka_unit_test(test_power_while_wrapping), cmocka_unit_test(test_power_while_unwrapping),
        cmocka_unit_test(test_failing_calls),        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, install_set_up, install_tear_down);
}
