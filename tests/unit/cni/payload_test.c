/* cni/install/payload: whatever fails and whenever the power goes, the launcher on the disk names a version that is
 * whole: the one before, or the new one. */
#include "cni/install/disk.h"
#include "cni/install/payload.h"
#include "tests/support/fail.h"
#include "tests/support/folder.h"
#include "tests/support/power.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#define MARK "fairlead-cni slot:"

static char top[64];
static char bin[PATH_MAX], after[PATH_MAX], source_a[PATH_MAX], source_b[PATH_MAX];
static struct cni_payload a, b;

static bool is_there(const char *path)
{
    struct stat status;
    return lstat(path, &status) == 0;
}

/* Of the shape that cni/launcher/payload.cmake makes, and small. */
static void make_source(const char *path, const char *letter)
{
    static const char launcher[] = "\177ELF what comes first" MARK;
    static const char *const names[] = {"ld.so", "libc.so.6", "fairlead-cni"};
    char bytes[2048] = {0};
    assert_int_equal(mkdir(path, 0755), 0);
    assert_int_equal(mkdir(folder_in(path, "files"), 0755), 0);
    memcpy(bytes, launcher, sizeof(launcher));
    folder_put(path, "launcher", fl_span_make(bytes, 512));
    for (size_t i = 0; i < FL_COUNT(names); i++) {
        snprintf(bytes, sizeof(bytes), "%s of %s", names[i], letter);
        folder_put(folder_in(path, "files"), names[i], fl_span_make(bytes, i == 1 ? sizeof(bytes) : strlen(bytes)));
    }
}

static int set_up(void **state)
{
    (void)state;
    snprintf(top, sizeof(top), "%s/fairlead-payload-XXXXXX", power_place());
    assert_non_null(mkdtemp(top));
    snprintf(bin, sizeof(bin), "%s/bin", top);
    snprintf(after, sizeof(after), "%s/after", top);
    snprintf(source_a, sizeof(source_a), "%s/a", top);
    snprintf(source_b, sizeof(source_b), "%s/b", top);
    assert_int_equal(mkdir(bin, 0755), 0);
    make_source(source_a, "a");
    make_source(source_b, "b");
    a = (struct cni_payload){source_a, bin};
    b = (struct cni_payload){source_b, bin};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    power_fail_at(0, 0);
    folder_remove(top);
    return 0;
}

static void install(const struct cni_payload *payload)
{
    struct fl_err err = {0};
    if (cni_payload_install(payload, &err) != 0)
        fail_msg("%s", err.text);
    if (cni_payload_check(payload, &err) != 0)
        fail_msg("%s", err.text);
}

static int check_in(const struct cni_payload *payload, const char *folder)
{
    struct cni_payload elsewhere = {payload->source, folder};
    struct fl_err err = {0};
    return cni_payload_check(&elsewhere, &err);
}

static size_t leftovers(const char *folder)
{
    size_t count = 0;
    DIR *entries = opendir(folder);
    for (const struct dirent *entry; entries != NULL && (entry = readdir(entries)) != NULL;) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        count += strncmp(entry->d_name, ".fairlead.", 10) == 0;
        if (entry->d_type == DT_DIR)
            count += leftovers(folder_in(folder, entry->d_name));
    }
    if (entries != NULL)
        closedir(entries);
    return count;
}

static size_t versions(const char *folder)
{
    size_t count = 0;
    DIR *entries = opendir(folder_in(folder, CNI_PAYLOAD_FOLDER));
    for (const struct dirent *entry; entries != NULL && (entry = readdir(entries)) != NULL;)
        count += entry->d_name[0] != '.';
    if (entries != NULL)
        closedir(entries);
    return count;
}

static void test_install(void **state)
{
    (void)state;
    struct fl_err err = {0};
    char name[CNI_PAYLOAD_NAME_MAX], named[CNI_PAYLOAD_NAME_MAX];
    struct stat status;
    assert_int_equal(cni_payload_check(&a, &err), CNI_PAYLOAD_DIFFERS);
    assert_int_equal(cni_payload_in_force(&a, named, &err), CNI_PAYLOAD_DIFFERS);
    mode_t mask = umask(0077);
    install(&a);
    umask(mask);
    assert_int_equal(cni_payload_version(&a, name, &err), 0);
    assert_int_equal(cni_payload_in_force(&a, named, &err), 0);
    assert_string_equal(name, named);
    assert_int_equal(strncmp(name, FL_VERSION "-", sizeof(FL_VERSION)), 0);
    assert_int_equal(stat(folder_in(bin, CNI_PAYLOAD_LAUNCHER), &status), 0);
    assert_int_equal(status.st_mode & 07777, 0755);
    assert_int_equal(stat(folder_in(folder_in(bin, CNI_PAYLOAD_FOLDER), name), &status), 0);
    assert_int_equal(status.st_mode & 07777, 0755);
    assert_int_equal(leftovers(bin), 0);
    /* other files of the folder are the same payload's name no more */
    folder_put(folder_in(source_a, "files"), "ld.so", FL_SPAN("another"));
    assert_int_equal(cni_payload_version(&a, named, &err), 0);
    assert_string_not_equal(name, named);
}

/* The second time nothing is written. */
static void test_install_is_idempotent(void **state)
{
    (void)state;
    struct stat before, behind;
    install(&a);
    assert_int_equal(stat(folder_in(bin, CNI_PAYLOAD_LAUNCHER), &before), 0);
    install(&a);
    assert_int_equal(stat(folder_in(bin, CNI_PAYLOAD_LAUNCHER), &behind), 0);
    assert_int_equal(before.st_ino, behind.st_ino);
}

static void test_damage_is_repaired(void **state)
{
    (void)state;
    struct fl_err err = {0};
    char name[CNI_PAYLOAD_NAME_MAX], folder[PATH_MAX + 128];
    install(&a);
    assert_int_equal(cni_payload_version(&a, name, &err), 0);
    snprintf(folder, sizeof(folder), "%s", folder_in(folder_in(bin, CNI_PAYLOAD_FOLDER), name));

    folder_put(folder, "libc.so.6", FL_SPAN("cut"));
    assert_int_equal(cni_payload_check(&a, &err), CNI_PAYLOAD_DIFFERS);
    assert_non_null(strstr(err.text, "libc.so.6"));
    install(&a);
    assert_int_equal(unlink(folder_in(folder, "ld.so")), 0);
    assert_int_equal(cni_payload_check(&a, &err), CNI_PAYLOAD_DIFFERS);
    install(&a);
    assert_int_equal(chmod(folder_in(folder, "ld.so"), 0600), 0);
    assert_int_equal(chmod(folder, 0700), 0);
    install(&a);
    folder_put(bin, CNI_PAYLOAD_LAUNCHER, FL_SPAN("#!/bin/sh\n"));
    assert_int_equal(cni_payload_check(&a, &err), CNI_PAYLOAD_DIFFERS);
    assert_int_equal(cni_payload_in_force(&a, name, &err), CNI_PAYLOAD_DIFFERS);
    install(&a);
    folder_remove(folder);
    assert_int_equal(cni_payload_check(&a, &err), CNI_PAYLOAD_DIFFERS);
    install(&a);
}

static void test_upgrade_and_roll_back(void **state)
{
    (void)state;
    struct fl_err err = {0};
    install(&a);
    install(&b);
    assert_int_equal(cni_payload_check(&a, &err), CNI_PAYLOAD_DIFFERS);
    assert_int_equal(versions(bin), 2);
    install(&a);
    folder_put(bin, ".fairlead.fairlead-cni.tmp", FL_SPAN("of a killed installer"));
    folder_put(folder_in(bin, CNI_PAYLOAD_FOLDER), ".fairlead.owner.tmp", FL_SPAN("of another"));
    assert_int_equal(cni_payload_prune(&a, &err), 0);
    assert_int_equal(versions(bin), 1);
    assert_int_equal(leftovers(bin), 0);
    assert_int_equal(cni_payload_check(&a, &err), 0);
    install(&b);
    assert_int_equal(cni_payload_prune(&b, &err), 0);
    assert_int_equal(versions(bin), 1);
    assert_int_equal(leftovers(bin), 0);
}

static void test_a_version_in_use_stays(void **state)
{
    (void)state;
    struct fl_err err = {0};
    char name[CNI_PAYLOAD_NAME_MAX], folder[PATH_MAX + 128];
    install(&a);
    assert_int_equal(cni_payload_version(&a, name, &err), 0);
    snprintf(folder, sizeof(folder), "%s", folder_in(folder_in(bin, CNI_PAYLOAD_FOLDER), name));
    int running = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(flock(running, LOCK_SH), 0);
    install(&b);
    assert_int_equal(cni_payload_prune(&b, &err), 0);
    assert_int_equal(versions(bin), 2);
    assert_int_equal(cni_payload_remove(&b, &err), CNI_PAYLOAD_BUSY);
    assert_false(is_there(folder_in(bin, CNI_PAYLOAD_LAUNCHER)));
    assert_true(is_there(folder));
    close(running);
    assert_int_equal(cni_payload_remove(&b, &err), 0);
    assert_false(is_there(folder_in(bin, CNI_PAYLOAD_FOLDER)));
    assert_int_equal(cni_payload_remove(&b, &err), 0);
}

static void test_prune_without_a_launcher_removes_nothing(void **state)
{
    (void)state;
    struct fl_err err = {0};
    assert_int_equal(cni_payload_prune(&a, &err), 0);
    install(&a);
    folder_put(bin, CNI_PAYLOAD_LAUNCHER, FL_SPAN("somebody else's"));
    assert_int_equal(cni_payload_prune(&a, &err), 0);
    assert_int_equal(versions(bin), 1);
    assert_int_equal(unlink(folder_in(bin, CNI_PAYLOAD_LAUNCHER)), 0);
    assert_int_equal(cni_payload_prune(&a, &err), 0);
    assert_int_equal(versions(bin), 1);
    assert_int_equal(err.code, 0);
}

static void test_other_files_stay(void **state)
{
    (void)state;
    struct fl_err err = {0};
    install(&a);
    folder_put(bin, "bridge", FL_SPAN("a plugin"));
    folder_put(folder_in(bin, CNI_PAYLOAD_FOLDER), "owner", FL_SPAN("somebody"));
    install(&b);
    assert_int_equal(cni_payload_prune(&b, &err), 0);
    assert_true(is_there(folder_in(folder_in(bin, CNI_PAYLOAD_FOLDER), "owner")));
    assert_int_equal(cni_payload_remove(&b, &err), 0);
    assert_true(is_there(folder_in(bin, "bridge")));
}

/* Somebody moved the folder of versions, and put a link in its place: what lies beside them there is not ours. */
static void test_a_link_to_elsewhere(void **state)
{
    (void)state;
    struct fl_err err = {0};
    char elsewhere[PATH_MAX], theirs[PATH_MAX], folder[PATH_MAX];
    install(&a);
    snprintf(folder, sizeof(folder), "%s", folder_in(bin, CNI_PAYLOAD_FOLDER));
    snprintf(elsewhere, sizeof(elsewhere), "%s", folder_in(top, "elsewhere"));
    assert_int_equal(rename(folder, elsewhere), 0);
    snprintf(theirs, sizeof(theirs), "%s", folder_in(elsewhere, "theirs"));
    assert_int_equal(mkdir(theirs, 0755), 0);
    folder_put(theirs, "data", FL_SPAN("data"));
    assert_int_equal(symlink(elsewhere, folder), 0);
    assert_int_equal(cni_payload_prune(&a, &err), -ELOOP);
    assert_int_equal(cni_payload_remove(&a, &err), -ELOOP);
    assert_true(is_there(folder_in(theirs, "data")));
    assert_int_equal(unlink(folder), 0);
    assert_int_equal(rename(elsewhere, folder), 0);
    snprintf(theirs, sizeof(theirs), "%s", folder_in(folder, "theirs"));
    assert_int_equal(cni_payload_prune(&a, &err), 0);
    assert_true(is_there(folder_in(theirs, "data")));
}

static void test_what_is_no_payload(void **state)
{
    (void)state;
    struct fl_err err = {0};
    char name[64];
    struct cni_payload nowhere = {"/nowhere/at/all", bin};
    assert_int_equal(cni_payload_install(&nowhere, &err), -ENOENT);
    assert_non_null(strstr(err.text, "/nowhere/at/all"));
    struct cni_payload no_bin = {source_a, "/nowhere/at/all"};
    assert_int_equal(cni_payload_install(&no_bin, &err), -ENOENT);
    assert_int_equal(cni_payload_remove(&no_bin, &err), 0);

    folder_put(source_a, "launcher", FL_SPAN("no mark"));
    assert_int_equal(cni_payload_install(&a, &err), -EINVAL);
    folder_put(source_a, "launcher", FL_SPAN("no room" MARK));
    assert_int_equal(cni_payload_install(&a, &err), -EINVAL);
    assert_int_equal(unlink(folder_in(source_a, "launcher")), 0);
    assert_int_equal(cni_payload_install(&a, &err), -ENOENT);
    for (unsigned i = 0; i < CNI_PAYLOAD_FILES_MAX; i++) {
        snprintf(name, sizeof(name), "lib%u", i);
        folder_put(folder_in(source_b, "files"), name, FL_SPAN("x"));
    }
    assert_int_equal(cni_payload_install(&b, &err), -E2BIG);
    assert_false(is_there(folder_in(bin, CNI_PAYLOAD_LAUNCHER)) || is_there(folder_in(bin, CNI_PAYLOAD_FOLDER)));
    folder_remove(folder_in(source_b, "files"));
    assert_int_equal(mkdir(folder_in(source_b, "files"), 0755), 0);
    assert_int_equal(cni_payload_install(&b, &err), -ENOENT);
    folder_put(folder_in(source_b, "files"), "libc.so.6", FL_SPAN(""));
    assert_int_equal(cni_payload_install(&b, &err), -EINVAL);
}

/* After a cut in an upgrade from a to b: one of them is whole and in force, and installing ends well. */
static void assert_survived(const struct cni_payload *old, const struct cni_payload *new, size_t cut, size_t variant)
{
    struct fl_err err = {0};
    struct cni_payload again = {new->source, after};
    power_restore(cut, variant, after);
    bool done = cut == power_operations();
    bool launcher = is_there(folder_in(after, CNI_PAYLOAD_LAUNCHER));
    if (check_in(new, after) != 0 && (done || (old != NULL ? check_in(old, after) != 0 : launcher)))
        fail_msg("no version is whole: %s", power_describe(cut, variant));
    if (cni_payload_install(&again, &err) != 0 || cni_payload_prune(&again, &err) != 0 ||
        cni_payload_check(&again, &err) != 0)
        fail_msg("%s: %s", power_describe(cut, variant), err.text);
    if (leftovers(after) != 0 || versions(after) != 1)
        fail_msg("something is left: %s", power_describe(cut, variant));
}

static void test_first_install_power(void **state)
{
    (void)state;
    power_start(bin);
    struct fl_err err = {0};
    assert_int_equal(cni_payload_install(&a, &err), 0);
    power_stop();
    POWER_EACH_CUT(cut, variant) assert_survived(NULL, &a, cut, variant);
}

static void test_upgrade_power(void **state)
{
    (void)state;
    struct fl_err err = {0};
    install(&a);
    power_start(bin);
    assert_int_equal(cni_payload_install(&b, &err), 0);
    assert_int_equal(cni_payload_prune(&b, &err), 0);
    power_stop();
    assert_int_equal(versions(bin), 1);
    POWER_EACH_CUT(cut, variant) assert_survived(&a, &b, cut, variant);
}

/* The files of the version are there, but their names were not synced yet when the installer before was killed: this
 * one must not rely on them. */
static void test_install_over_what_a_killed_one_left_power(void **state)
{
    (void)state;
    unsigned killed = 0;
    bool failed = true;
    for (size_t nth = 1; failed; nth++) {
        struct fl_err err = {0};
        folder_remove(bin);
        assert_int_equal(mkdir(bin, 0755), 0);
        install(&a);
        power_start(bin);
        power_fail_at(nth, EIO);
        int result = cni_payload_install(&b, &err);
        failed = power_failed();
        power_fail_at(0, 0);
        if (result < 0 && strncmp(err.text, "sync ", 5) == 0) {
            assert_int_equal(cni_payload_install(&b, &err), 0);
            power_stop();
            POWER_EACH_CUT(cut, variant) assert_survived(&a, &b, cut, variant);
            killed++;
        }
    }
    assert_int_equal(killed, 4); /* three files and the launcher */
}

static void test_remove_power(void **state)
{
    (void)state;
    struct fl_err err = {0};
    install(&a);
    install(&b);
    power_start(bin);
    assert_int_equal(cni_payload_remove(&b, &err), 0);
    power_stop();
    POWER_EACH_CUT(cut, variant)
    {
        power_restore(cut, variant, after);
        if (is_there(folder_in(after, CNI_PAYLOAD_LAUNCHER)) && check_in(&b, after) != 0)
            fail_msg("a launcher without its version: %s", power_describe(cut, variant));
        struct cni_payload again = {source_b, after};
        assert_int_equal(cni_payload_remove(&again, &err), 0);
        assert_false(is_there(folder_in(after, CNI_PAYLOAD_LAUNCHER)) ||
                     is_there(folder_in(after, CNI_PAYLOAD_FOLDER)));
        assert_int_equal(leftovers(after), 0);
    }
}

static void test_where_each_call_fails(void **state)
{
    (void)state;
    static const int errors[] = {ENOSPC, EROFS, EACCES, EIO};
    for (size_t e = 0; e < FL_COUNT(errors); e++) {
        bool failed = true;
        for (size_t nth = 1; failed; nth++) {
            struct fl_err err = {0};
            folder_remove(bin);
            assert_int_equal(mkdir(bin, 0755), 0);
            install(&a);
            power_fail_at(nth, errors[e]);
            int result = cni_payload_install(&b, &err);
            if (result == 0 && !power_failed())
                result = cni_payload_prune(&b, &err);
            failed = power_failed();
            power_fail_at(0, 0);
            /* a sweep that fails does not matter */
            if (result != 0 && (!failed || result != -errors[e] || strstr(err.text, top) == NULL))
                fail_msg("call %zu fails with %d: %d, %s", nth, errors[e], result, err.text);
            assert_true(check_in(&b, bin) == 0 || (result < 0 && check_in(&a, bin) == 0));
            install(&b);
            assert_int_equal(cni_payload_prune(&b, &err), 0);
            assert_int_equal(leftovers(bin), 0);
            assert_int_equal(versions(bin), 1);
            assert_true(nth > 30 || failed);
        }
    }
}

static void test_where_each_allocation_fails(void **state)
{
    (void)state;
    install(&a);
    FAIL_EACH_ALLOCATION
    {
        struct fl_err err = {0};
        int installed = cni_payload_install(&b, &err);
        int checked = cni_payload_check(&b, &err);
        int pruned = cni_payload_prune(&b, &err);
        fail_stop();
        assert_true(installed == 0 || installed == -ENOMEM);
        assert_true(checked == 0 || checked == -ENOMEM || checked == CNI_PAYLOAD_DIFFERS);
        assert_true(pruned == 0 || pruned == -ENOMEM);
        assert_true(check_in(&a, bin) == 0 || check_in(&b, bin) == 0);
        assert_true(fail_happened() || (installed == 0 && checked == 0 && pruned == 0));
        install(&a);
    }
}

static void test_prune_waits_for_nobody(void **state)
{
    (void)state;
    struct fl_err err = {0};
    int other = open(bin, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(flock(other, LOCK_EX), 0);
    assert_int_equal(cni_payload_prune(&a, &err), CNI_PAYLOAD_BUSY);
    assert_non_null(strstr(err.text, bin));
    close(other);
}

/* Installers of two versions at once: each ends well, and one of the two is in force, whole. */
static void test_two_at_once(void **state)
{
    (void)state;
    pid_t children[4];
    for (size_t i = 0; i < FL_COUNT(children); i++) {
        children[i] = fork();
        assert_true(children[i] >= 0);
        if (children[i] != 0)
            continue;
        struct fl_err err = {0};
        int bad = 0;
        for (unsigned round = 0; round < 20 && bad == 0; round++) {
            const struct cni_payload *payload = (i + round) % 2 == 0 ? &a : &b;
            bad = cni_payload_install(payload, &err) != 0 || cni_payload_prune(payload, &err) < 0 ||
                  (check_in(&a, bin) < 0 && check_in(&b, bin) < 0);
        }
        if (bad != 0)
            fprintf(stderr, "installer %zu: %s\n", i, err.text);
        _exit(bad);
    }
    for (size_t i = 0; i < FL_COUNT(children); i++) {
        int status = -1;
        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_int_equal(status, 0);
    }
    assert_true(check_in(&a, bin) == 0 || check_in(&b, bin) == 0);
    assert_int_equal(leftovers(bin), 0);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_install),
        TEST(test_install_is_idempotent),
        TEST(test_damage_is_repaired),
        TEST(test_upgrade_and_roll_back),
        TEST(test_a_version_in_use_stays),
        TEST(test_prune_without_a_launcher_removes_nothing),
        TEST(test_other_files_stay),
        TEST(test_a_link_to_elsewhere),
        TEST(test_what_is_no_payload),
        TEST(test_first_install_power),
        TEST(test_upgrade_power),
        TEST(test_install_over_what_a_killed_one_left_power),
        TEST(test_remove_power),
        TEST(test_where_each_call_fails),
        TEST(test_where_each_allocation_fails),
        TEST(test_prune_waits_for_nobody),
        TEST(test_two_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
