/* cni/install/notice: what is told about which change, lost events, folders that are replaced, and looking by time. */
#include "cni/install/notice.h"

#include "tests/support/folder.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char top[64], conf[128], bin[128];
static struct cni_notice notice;

static int set_up(void **state)
{
    (void)state;
    struct fl_err err = {0};
    snprintf(top, sizeof(top), "/tmp/fairlead-notice-XXXXXX");
    assert_non_null(mkdtemp(top));
    snprintf(conf, sizeof(conf), "%s/conf", top);
    snprintf(bin, sizeof(bin), "%s/bin", top);
    mkdir(conf, 0755);
    mkdir(bin, 0755);
    assert_int_equal(cni_notice_init(&notice, conf, bin, &err), 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    cni_notice_done(&notice);
    folder_remove(top);
    return 0;
}

static void test_what_is_about_what(void **state)
{
    (void)state;
    const unsigned both = CNI_NOTICE_PLUGIN | CNI_NOTICE_OWNER;
    assert_int_equal(cni_notice_refresh(&notice), CNI_NOTICE_CONFIG | both);
    assert_int_equal(cni_notice_refresh(&notice), 0);
    assert_false(cni_notice_is_whole(&notice));
    assert_int_equal(cni_notice_read(&notice), 0);
    folder_put_str(conf, "10-x.conflist", "x");
    assert_int_equal(cni_notice_read(&notice), CNI_NOTICE_CONFIG);
    folder_put_str(conf, ".fairlead.10-x.conflist.tmp", "our own");
    assert_int_equal(cni_notice_read(&notice), 0);
    folder_put_str(bin, "bridge", "somebody else's");
    assert_int_equal(cni_notice_read(&notice), 0);
    folder_put_str(bin, "fairlead-cni", "x");
    assert_int_equal(cni_notice_read(&notice), both);
    mkdir(folder_in(bin, "fairlead-cni.d"), 0755);
    assert_int_equal(cni_notice_read(&notice), both);
    assert_int_equal(cni_notice_refresh(&notice), both);
    assert_true(cni_notice_is_whole(&notice));
    folder_put_str(bin, "fairlead-cni.d/owner", "x");
    assert_int_equal(cni_notice_read(&notice), CNI_NOTICE_OWNER);
    mkdir(folder_in(bin, "fairlead-cni.d/1"), 0755);
    assert_int_equal(cni_notice_read(&notice), CNI_NOTICE_PLUGIN);
}

static void test_a_file_without_a_name(void **state)
{
    (void)state;
    assert_int_not_equal(cni_notice_refresh(&notice), 0);
    folder_put_str(top, "x", "x");
    int fd = open(folder_in(top, "x"), O_RDWR | O_CLOEXEC);
    unlink(folder_in(top, "x"));
    int watch = cni_notice_add_file(&notice, fd);
    assert_true(watch >= 0);
    assert_int_equal(cni_notice_read(&notice), 0);
    assert_int_equal(write(fd, "y", 1), 1);
    assert_int_equal(cni_notice_read(&notice), CNI_NOTICE_KEPT);
    cni_notice_remove_file(&notice, watch);
    assert_int_equal(write(fd, "y", 1), 1);
    assert_int_equal(cni_notice_read(&notice), 0);
    close(fd);
}

static void test_replaced_folders(void **state)
{
    (void)state;
    assert_int_not_equal(cni_notice_refresh(&notice), 0);
    assert_int_equal(rename(conf, folder_in(top, "old")), 0);
    mkdir(conf, 0755);
    assert_int_equal(cni_notice_read(&notice), CNI_NOTICE_CONFIG);
    assert_int_equal(cni_notice_refresh(&notice), CNI_NOTICE_CONFIG);
    folder_put_str(conf, "10-x.conflist", "x");
    assert_int_equal(cni_notice_read(&notice), CNI_NOTICE_CONFIG);
    folder_put_str(folder_in(top, "old"), "10-x.conflist", "x");
    assert_int_equal(cni_notice_read(&notice), 0);
}

/* More events than the kernel keeps: nothing of them may be taken for "nothing happened". */
static void test_overflow(void **state)
{
    (void)state;
    unsigned long limit = 16384;
    FILE *file = fopen("/proc/sys/fs/inotify/max_queued_events", "re");
    assert_true(file != NULL && fscanf(file, "%lu", &limit) == 1);
    fclose(file);
    if (limit > 200000)
        skip();
    assert_int_not_equal(cni_notice_refresh(&notice), 0);
    for (unsigned long i = 0; i <= limit; i++) { /* two that differ: equal ones in a row are made one */
        int fd = open(folder_in(bin, i % 2 != 0 ? "a" : "b"), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
        close(fd);
    }
    assert_int_equal(cni_notice_read(&notice),
                     CNI_NOTICE_CONFIG | CNI_NOTICE_PLUGIN | CNI_NOTICE_OWNER | CNI_NOTICE_KEPT | CNI_NOTICE_OVERFLOW);
}

static void test_by_time(void **state)
{
    (void)state;
    close(notice.fd);
    notice.fd = -1;
    assert_int_equal(cni_notice_poll(&notice), 0); /* nothing is in the folders */
    folder_put_str(conf, "10-x.conflist", "x");
    assert_int_equal(cni_notice_poll(&notice), CNI_NOTICE_CONFIG);
    assert_int_equal(cni_notice_poll(&notice), 0);
    folder_put_str(conf, "10-x.conflist", "xy");
    assert_int_equal(cni_notice_poll(&notice), CNI_NOTICE_CONFIG);
    assert_int_equal(chmod(folder_in(conf, "10-x.conflist"), 0600), 0);
    assert_int_equal(cni_notice_poll(&notice), CNI_NOTICE_CONFIG);
    folder_put_str(bin, "fairlead-cni", "x");
    assert_int_equal(cni_notice_poll(&notice), CNI_NOTICE_PLUGIN | CNI_NOTICE_OWNER);
    unlink(folder_in(conf, "10-x.conflist"));
    assert_int_equal(cni_notice_poll(&notice), CNI_NOTICE_CONFIG);
    assert_int_equal(cni_notice_add_file(&notice, 0), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_is_about_what, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_file_without_a_name, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_replaced_folders, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_overflow, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_by_time, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
