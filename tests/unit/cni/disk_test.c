/* cni/install/disk: at every step, whatever fails and whenever the power goes, a file is the old or the new one. */
#include "cni/install/disk.h"
#include "tests/support/fail.h"
#include "tests/support/folder.h"
#include "tests/support/power.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#define OLD FL_SPAN("old content, and some more of it")
#define NEW FL_SPAN("new")

static char root[64];
static char after[sizeof(root) + 8];

/* Whether the file is there and holds these bytes. */
static bool holds(const char *folder, const char *name, struct fl_span bytes)
{
    char path[PATH_MAX];
    FL_CLEANUP(fl_buf_done) struct fl_buf content;
    fl_buf_init(&content, 1u << 20);
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return fl_buf_read_file(&content, path) == 0 && fl_span_eq(fl_buf_span(&content), bytes);
}

static bool is_there(const char *folder, const char *name)
{
    char path[PATH_MAX];
    struct stat status;
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return lstat(path, &status) == 0;
}

static mode_t mode_of(const char *folder, const char *name)
{
    char path[PATH_MAX];
    struct stat status;
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    assert_int_equal(lstat(path, &status), 0);
    return status.st_mode & 07777;
}

static int set_up(void **state)
{
    (void)state;
    snprintf(root, sizeof(root), "%s/fairlead-disk-XXXXXX", power_place());
    assert_non_null(mkdtemp(root));
    snprintf(after, sizeof(after), "%s.after", root);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    power_fail_at(0, 0);
    folder_remove(root);
    folder_remove(after);
    return 0;
}

static int replace(const char *name, struct fl_span bytes, struct fl_err *err)
{
    FL_CLEANUP(cni_disk_close) struct cni_disk disk = CNI_DISK_CLOSED;
    int result = cni_disk_open(root, &disk, err);
    return result < 0 ? result : cni_disk_replace(&disk, name, bytes, 0644, err);
}

static void test_replace(void **state)
{
    (void)state;
    struct fl_err err = {0};
    mode_t mask = umask(0077);
    assert_int_equal(replace("a", OLD, &err), 0);
    assert_true(holds(root, "a", OLD));
    assert_int_equal(mode_of(root, "a"), 0644);
    assert_int_equal(replace("a", NEW, &err), 0);
    assert_true(holds(root, "a", NEW));
    assert_int_equal(replace("a", FL_SPAN(""), &err), 0);
    assert_true(holds(root, "a", FL_SPAN("")));
    umask(mask);
}

static void test_a_link_is_replaced_not_followed(void **state)
{
    (void)state;
    struct fl_err err = {0};
    char path[PATH_MAX];
    folder_put(root, "target", OLD);
    snprintf(path, sizeof(path), "%s/a", root);
    assert_int_equal(symlink("target", path), 0);
    assert_int_equal(replace("a", NEW, &err), 0);
    assert_true(holds(root, "a", NEW));
    assert_true(holds(root, "target", OLD));
    /* nor is a link that lies where the temporary file goes */
    snprintf(path, sizeof(path), "%s/.fairlead.a.tmp", root);
    assert_int_equal(symlink("target", path), 0);
    assert_int_equal(replace("a", OLD, &err), 0);
    assert_true(holds(root, "target", OLD) && holds(root, "a", OLD));
}

static void test_names(void **state)
{
    (void)state;
    char name[NAME_MAX + 1] = {0};
    struct fl_err err = {0};
    memset(name, 'n', NAME_MAX);
    assert_int_equal(replace(name, NEW, &err), -ENAMETOOLONG);
    name[240] = '\0';
    assert_int_equal(replace(name, NEW, &err), 0);
    assert_int_equal(replace("", NEW, &err), -EINVAL);
    assert_int_equal(replace("a/b", NEW, &err), -EINVAL);
}

static void test_replace_power(void **state)
{
    (void)state;
    struct fl_err err = {0};
    folder_put(root, "a", OLD);
    power_start(root);
    assert_int_equal(replace("a", NEW, &err), 0);
    power_stop();
    assert_true(power_operations() >= 6);
    POWER_EACH_CUT(cut, variant)
    {
        power_restore(cut, variant, after);
        bool old = holds(after, "a", OLD) && cut < power_operations();
        if (!old && !holds(after, "a", NEW))
            fail_msg("neither old nor new: %s", power_describe(cut, variant));
    }
}

static void test_remove_power(void **state)
{
    (void)state;
    struct fl_err err = {0};
    FL_CLEANUP(cni_disk_close) struct cni_disk disk = CNI_DISK_CLOSED;
    folder_put(root, "a", OLD);
    power_start(root);
    assert_int_equal(cni_disk_open(root, &disk, &err), 0);
    assert_int_equal(cni_disk_remove(&disk, "a", &err), 0);
    power_stop();
    assert_int_equal(cni_disk_remove(&disk, "a", &err), 0);
    POWER_EACH_CUT(cut, variant)
    {
        power_restore(cut, variant, after);
        if (is_there(after, "a") && (cut == power_operations() || !holds(after, "a", OLD)))
            fail_msg("still there: %s", power_describe(cut, variant));
    }
}

static void test_replace_where_each_call_fails(void **state)
{
    (void)state;
    static const int errors[] = {ENOSPC, EROFS, EACCES, EIO, EDQUOT, ENOTDIR};
    for (size_t e = 0; e < FL_COUNT(errors); e++) {
        bool failed = true;
        for (size_t nth = 1; failed; nth++) {
            struct fl_err err = {0};
            folder_put(root, "a", OLD);
            power_fail_at(nth, errors[e]);
            int result = replace("a", NEW, &err);
            failed = power_failed();
            power_fail_at(0, 0);
            assert_int_equal(result, failed ? -errors[e] : 0);
            assert_true(holds(root, "a", NEW) || (failed && holds(root, "a", OLD)));
            assert_false(is_there(root, ".fairlead.a.tmp"));
            if (failed)
                assert_non_null(strstr(err.text, root));
            assert_true(nth > 6 || failed);
        }
    }
}

/* 0 with what came out compared with OLD, or what failed. */
static int exchange(const char *name, struct fl_span bytes, struct fl_err *err)
{
    FL_CLEANUP(cni_disk_close) struct cni_disk disk = CNI_DISK_CLOSED;
    FL_CLEANUP(fl_cleanup_close) int old = -1;
    FL_CLEANUP(fl_buf_done) struct fl_buf content;
    struct stat like = {.st_mode = S_IFREG | 0640, .st_uid = geteuid(), .st_gid = getegid()};
    fl_buf_init(&content, 1u << 20);
    int result = cni_disk_open(root, &disk, err);
    if (result == 0)
        result = cni_disk_exchange(&disk, name, bytes, &like, &old, err);
    if (result == 0) {
        assert_int_equal(fl_buf_read_fd(&content, old), 0);
        assert_true(fl_span_eq(fl_buf_span(&content), OLD));
    }
    return result;
}

static void test_exchange(void **state)
{
    (void)state;
    struct fl_err err = {0};
    assert_int_equal(exchange("a", NEW, &err), -ENOENT);
    assert_false(is_there(root, "a") || is_there(root, ".fairlead.a.tmp"));
    folder_put(root, "a", OLD);
    assert_int_equal(exchange("a", NEW, &err), 0);
    assert_true(holds(root, "a", NEW));
    assert_int_equal(mode_of(root, "a"), 0640);
    assert_false(is_there(root, ".fairlead.a.tmp"));
}

static void become_link(const char *name, const char *target)
{
    (void)name;
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/%s", root, target);
    power_before_rename = NULL;
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("elsewhere", path), 0);
}

static void become_folder(const char *name, const char *target)
{
    (void)name;
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/%s", root, target);
    power_before_rename = NULL;
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0755), 0);
    folder_put(path, "theirs", OLD);
}

static void become_fifo(const char *name, const char *target)
{
    (void)name;
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/%s", root, target);
    power_before_rename = NULL;
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
}

/* At the last moment somebody puts something else in the file's place: it stays there, and whole. */
static void test_exchange_with_what_is_no_file(void **state)
{
    (void)state;
    static void (*const becomes[])(const char *name, const char *target) = {become_link, become_folder, become_fifo};
    static const mode_t types[] = {S_IFLNK, S_IFDIR, S_IFIFO};
    for (size_t i = 0; i < FL_COUNT(becomes); i++) {
        struct fl_err err = {0};
        struct stat status;
        char path[PATH_MAX];
        snprintf(path, sizeof(path), "%s/a", root);
        folder_put(root, "a", OLD);
        power_before_rename = becomes[i];
        int result = exchange("a", NEW, &err);
        assert_true(result == -ELOOP || result == -EINVAL);
        assert_int_equal(lstat(path, &status), 0);
        assert_int_equal(status.st_mode & S_IFMT, types[i]);
        assert_true(types[i] != S_IFDIR || holds(path, "theirs", OLD));
        assert_false(is_there(root, ".fairlead.a.tmp"));
        folder_remove(path);
        (void)unlink(path);
    }
}

static void test_exchange_power(void **state)
{
    (void)state;
    struct fl_err err = {0};
    folder_put(root, "a", OLD);
    power_start(root);
    assert_int_equal(exchange("a", NEW, &err), 0);
    power_stop();
    POWER_EACH_CUT(cut, variant)
    {
        power_restore(cut, variant, after);
        if (!holds(after, "a", NEW) && (cut == power_operations() || !holds(after, "a", OLD)))
            fail_msg("neither old nor new: %s", power_describe(cut, variant));
    }
}

static void put_link(const char *name, const char *target)
{
    char path[PATH_MAX];
    power_before_rename = NULL;
    assert_true(snprintf(path, sizeof(path), "%s/%s", root, target) < PATH_MAX);
    assert_true(unlink(path) == 0 && symlink("elsewhere", path) == 0);
    (void)name;
}

/* Another writer was faster, with something that is not for us to open: it is not taken away. */
static void test_exchange_with_a_link(void **state)
{
    (void)state;
    struct fl_err err = {0};
    char path[PATH_MAX], target[16] = "";
    folder_put(root, "a", OLD);
    power_before_rename = put_link;
    assert_int_equal(exchange("a", NEW, &err), -ELOOP);
    power_before_rename = NULL;
    assert_true(snprintf(path, sizeof(path), "%s/a", root) < PATH_MAX);
    assert_int_equal(readlink(path, target, sizeof(target)), strlen("elsewhere"));
    assert_false(is_there(root, ".fairlead.a.tmp"));
    assert_int_equal(unlink(path), 0);
}

/* A file system that cannot exchange names is one of the failures: EINVAL in the right place is none. */
static void test_exchange_where_each_call_fails(void **state)
{
    (void)state;
    static const int errors[] = {ENOSPC, EIO, EINVAL};
    unsigned survived = 0;
    for (size_t e = 0; e < FL_COUNT(errors); e++) {
        bool failed = true;
        for (size_t nth = 1; failed; nth++) {
            struct fl_err err = {0};
            folder_put(root, "a", OLD);
            power_fail_at(nth, errors[e]);
            int result = exchange("a", NEW, &err);
            failed = power_failed();
            power_fail_at(0, 0);
            assert_true(result == 0 || result == -errors[e]);
            assert_true(holds(root, "a", NEW) || (result < 0 && holds(root, "a", OLD)));
            survived += failed && result == 0;
            if (result == 0)
                assert_false(is_there(root, ".fairlead.a.tmp"));
        }
    }
    assert_true(survived >= 1);
}

static void test_rename_power(void **state)
{
    (void)state;
    FL_CLEANUP(cni_disk_close) struct cni_disk disk = CNI_DISK_CLOSED;
    struct fl_err err = {0};
    folder_put(root, "a", NEW);
    folder_put(root, "b", OLD);
    power_start(root);
    assert_int_equal(cni_disk_open(root, &disk, &err), 0);
    assert_int_equal(cni_disk_rename(&disk, "a", "b", &err), 0);
    power_stop();
    assert_int_equal(cni_disk_rename(&disk, "a", "b", &err), -ENOENT);
    assert_non_null(strstr(err.text, root));
    POWER_EACH_CUT(cut, variant)
    {
        power_restore(cut, variant, after);
        bool old = holds(after, "a", NEW) && holds(after, "b", OLD) && cut < power_operations();
        if (!old && (is_there(after, "a") || !holds(after, "b", NEW)))
            fail_msg("neither before nor after: %s", power_describe(cut, variant));
    }
}

static void test_what_to_do_is_said(void **state)
{
    (void)state;
    static const struct {
        int error;
        const char *words;
    } cases[] = {{ENOSPC, "free some space"}, {EROFS, "read-only"}, {EACCES, "run it as root"}, {EISDIR, "remove it"}};
    for (size_t i = 0; i < FL_COUNT(cases); i++) {
        struct fl_err err = {0};
        power_fail_at(4, cases[i].error); /* the first write */
        assert_int_equal(replace("a", NEW, &err), -cases[i].error);
        if (strstr(err.text, cases[i].words) == NULL || strstr(err.text, "/a: ") == NULL)
            fail_msg("%s", err.text);
    }
}

static void test_open(void **state)
{
    (void)state;
    FL_CLEANUP(cni_disk_close) struct cni_disk disk = CNI_DISK_CLOSED;
    char path[PATH_MAX], long_path[PATH_MAX + 1];
    struct fl_err err = {0};
    folder_put(root, "file", OLD);
    snprintf(path, sizeof(path), "%s/file", root);
    assert_int_equal(cni_disk_open(path, &disk, &err), -ENOTDIR);
    snprintf(path, sizeof(path), "%s/none", root);
    assert_int_equal(cni_disk_open(path, &disk, &err), -ENOENT);
    assert_non_null(strstr(err.text, path));
    memset(long_path, 'x', PATH_MAX);
    long_path[PATH_MAX] = '\0';
    assert_int_equal(cni_disk_open(long_path, &disk, &err), -ENAMETOOLONG);
    assert_int_equal(disk.fd, -1);
}

static void test_enter(void **state)
{
    (void)state;
    FL_CLEANUP(cni_disk_close) struct cni_disk disk = CNI_DISK_CLOSED, below = CNI_DISK_CLOSED;
    struct fl_err err = {0};
    char path[PATH_MAX];
    mode_t mask = umask(0077);
    power_start(root);
    assert_int_equal(cni_disk_open(root, &disk, &err), 0);
    assert_int_equal(cni_disk_enter(&disk, "below", &below, &err), 0);
    power_stop();
    umask(mask);
    assert_int_equal(mode_of(root, "below"), 0755);
    power_restore(power_operations(), 0, after);
    assert_true(is_there(after, "below"));
    cni_disk_close(&below);
    assert_int_equal(cni_disk_enter(&disk, "below", &below, &err), 0);
    folder_put(root, "file", OLD);
    assert_int_equal(cni_disk_enter(&disk, "file", &below, &err), -ENOTDIR);
    /* a link is nobody's folder: it could lead anywhere */
    snprintf(path, sizeof(path), "%s/link", root);
    assert_int_equal(symlink("below", path), 0);
    assert_true(cni_disk_enter(&disk, "link", &below, &err) < 0);
}

static void test_compare_and_read(void **state)
{
    (void)state;
    FL_CLEANUP(cni_disk_close) struct cni_disk disk = CNI_DISK_CLOSED;
    FL_CLEANUP(fl_buf_done) struct fl_buf content;
    struct fl_err err = {0};
    mode_t mode = 0;
    char path[PATH_MAX];
    fl_buf_init(&content, OLD.len);
    assert_int_equal(replace("a", OLD, &err), 0);
    assert_int_equal(cni_disk_open(root, &disk, &err), 0);
    assert_int_equal(cni_disk_compare(&disk, "a", OLD, 0644, &err), 0);
    assert_int_equal(cni_disk_compare(&disk, "a", OLD, 0755, &err), CNI_DISK_DIFFERS);
    assert_int_equal(cni_disk_compare(&disk, "a", NEW, 0644, &err), CNI_DISK_DIFFERS);
    assert_int_equal(cni_disk_compare(&disk, "a", FL_SPAN("old content, and some more of if"), 0644, &err),
                     CNI_DISK_DIFFERS);
    assert_int_equal(cni_disk_compare(&disk, "b", OLD, 0644, &err), CNI_DISK_DIFFERS);
    assert_int_equal(cni_disk_compare(&disk, ".", OLD, 0755, &err), CNI_DISK_DIFFERS);
    snprintf(path, sizeof(path), "%s/link", root);
    assert_int_equal(symlink("a", path), 0);
    assert_int_equal(cni_disk_compare(&disk, "link", OLD, 0644, &err), CNI_DISK_DIFFERS);

    assert_int_equal(cni_disk_read(&disk, "a", &content, &mode, &err), 0);
    assert_true(fl_span_eq(fl_buf_span(&content), OLD));
    assert_int_equal(mode, 0644);
    assert_int_equal(cni_disk_read(&disk, "a", &content, NULL, &err), -EMSGSIZE);
    assert_int_equal(cni_disk_read(&disk, "none", &content, NULL, &err), -ENOENT);
    assert_int_equal(cni_disk_read(&disk, ".", &content, NULL, &err), -EINVAL);
}

static void test_lock(void **state)
{
    (void)state;
    FL_CLEANUP(cni_disk_close) struct cni_disk one = CNI_DISK_CLOSED, other = CNI_DISK_CLOSED;
    struct fl_err err = {0};
    assert_int_equal(cni_disk_open(root, &one, &err), 0);
    assert_int_equal(cni_disk_open(root, &other, &err), 0);
    assert_int_equal(cni_disk_lock(&one, 0, &err), 0);
    assert_int_equal(cni_disk_lock(&other, 0, &err), CNI_DISK_BUSY);
    assert_int_equal(cni_disk_lock(&other, 25, &err), CNI_DISK_BUSY);
    assert_non_null(strstr(err.text, root));
    cni_disk_close(&one);
    assert_int_equal(cni_disk_lock(&other, 0, &err), 0);
}

static void make_folder(const char *name)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/%s", root, name);
    assert_int_equal(mkdir(path, 0755), 0);
}

static void test_remove_folder(void **state)
{
    (void)state;
    FL_CLEANUP(cni_disk_close) struct cni_disk disk = CNI_DISK_CLOSED;
    struct fl_err err = {0};
    make_folder("f");
    make_folder("f/deeper");
    folder_put(root, "f/a", OLD);
    folder_put(root, "f/deeper/b", OLD);
    folder_put(root, "kept", OLD);
    make_folder(".fairlead.f.tmp"); /* of somebody who was killed while he removed an earlier one */
    folder_put(root, ".fairlead.f.tmp/a", OLD);
    power_start(root);
    assert_int_equal(cni_disk_open(root, &disk, &err), 0);
    assert_int_equal(cni_disk_remove_folder(&disk, "f", &err), 0);
    power_stop();
    assert_int_equal(cni_disk_remove_folder(&disk, "f", &err), 0);
    assert_false(is_there(root, "f") || is_there(root, ".fairlead.f.tmp"));
    assert_true(holds(root, "kept", OLD));
}

static void test_sweep(void **state)
{
    (void)state;
    FL_CLEANUP(cni_disk_close) struct cni_disk disk = CNI_DISK_CLOSED;
    struct fl_err err = {0};
    static const char *const kept[] = {"a", ".fairlead.a", "fairlead.a.tmp", ".other.tmp", ".fairlead.a.tmp.conf"};
    for (size_t i = 0; i < FL_COUNT(kept); i++)
        folder_put(root, kept[i], OLD);
    folder_put(root, ".fairlead.a.tmp", OLD);
    make_folder(".fairlead.f.tmp");
    folder_put(root, ".fairlead.f.tmp/a", OLD);
    assert_int_equal(cni_disk_open(root, &disk, &err), 0);
    assert_int_equal(cni_disk_sweep(&disk, &err), 0);
    assert_false(is_there(root, ".fairlead.a.tmp") || is_there(root, ".fairlead.f.tmp"));
    for (size_t i = 0; i < FL_COUNT(kept); i++)
        assert_true(is_there(root, kept[i]));
}

/* A crash leaves one temporary file at most, whatever the number of crashes, and the next writer takes its place. */
static void test_a_leftover_is_in_nobodys_way(void **state)
{
    (void)state;
    struct fl_err err = {0};
    folder_put(root, ".fairlead.a.tmp", OLD);
    assert_int_equal(replace("a", NEW, &err), 0);
    assert_true(holds(root, "a", NEW));
    assert_false(is_there(root, ".fairlead.a.tmp"));
}

/* Another process sweeps the folder all the time, and puts a file of the same name there itself. */
static pid_t start_sweeper(const struct cni_disk *disk)
{
    pid_t parent = getpid(), child = fork();
    assert_true(child >= 0);
    for (int fd = -1; child == 0 && getppid() == parent; fd = -1) {
        bool failed = cni_disk_sweep(disk, NULL) < 0 || cni_disk_replace_locked(disk, "a", OLD, 0644, &fd, NULL) < 0;
        if (failed)
            _exit(1);
        if (fd >= 0)
            close(fd);
    }
    if (child == 0)
        _exit(0);
    return child;
}

static void test_replace_locked_beside_others(void **state)
{
    (void)state;
    struct fl_err err = {0};
    FL_CLEANUP(cni_disk_close) struct cni_disk disk = CNI_DISK_CLOSED;
    int fd = -1, status = 0;
    assert_int_equal(cni_disk_open(root, &disk, &err), 0);
    pid_t child = start_sweeper(&disk);
    while (!is_there(root, "a"))
        (void)poll(NULL, 0, 1);
    for (int i = 0; i < 5000; i++) {
        if (cni_disk_replace_locked(&disk, "a", NEW, 0644, &fd, &err) < 0)
            fail_msg("%d: %s", i, err.text);
        if (fd >= 0)
            close(fd);
    }
    assert_int_equal(waitpid(child, &status, WNOHANG), 0); /* nothing has failed there */
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(cni_disk_replace_locked(&disk, "a", NEW, 0600, &fd, &err), 0);
    assert_true(holds(root, "a", NEW));
    assert_int_equal(mode_of(root, "a"), 0600);
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/a", root);
    int other = open(path, O_RDONLY | O_CLOEXEC);
    assert_int_equal(flock(other, LOCK_SH | LOCK_NB), -1);
    close(fd);
    assert_int_equal(flock(other, LOCK_SH | LOCK_NB), 0);
    close(other);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_replace),
        TEST(test_a_link_is_replaced_not_followed),
        TEST(test_names),
        TEST(test_replace_power),
        TEST(test_remove_power),
        TEST(test_replace_where_each_call_fails),
        TEST(test_exchange),
        TEST(test_exchange_with_a_link),
        TEST(test_exchange_with_what_is_no_file),
        TEST(test_exchange_power),
        TEST(test_exchange_where_each_call_fails),
        TEST(test_rename_power),
        TEST(test_what_to_do_is_said),
        TEST(test_open),
        TEST(test_enter),
        TEST(test_compare_and_read),
        TEST(test_lock),
        TEST(test_remove_folder),
        TEST(test_sweep),
        TEST(test_a_leftover_is_in_nobodys_way),
        TEST(test_replace_locked_beside_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
