#include "tests/unit/webhook/test.h"

#include "common/base/reread.h"

#include <fcntl.h>

static char folder[64];

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/fl-webhook-file-XXXXXX");
    return mkdtemp(folder) != NULL ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    static const char *const names[] = {"f", "link", "next", "v1", "v2"};
    char path[128];
    for (size_t i = 0; i < FL_COUNT(names); i++) {
        snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
        unlink(path);
    }
    return rmdir(folder);
}

static const char *write_file(const char *name, const char *text)
{
    static char path[128];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    return path;
}

/* Old enough that no second change can hide in the same time stamp. */
static void age(const char *path)
{
    const struct timespec times[2] = {{1000000000, 0}, {1000000000, 0}};
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void test_changes_are_seen(void **state)
{
    (void)state;
    struct fl_reread file;
    struct fl_err err = {0};
    char path[128];
    snprintf(path, sizeof(path), "%s", write_file("f", "one"));
    fl_reread_init(&file, path, 10);
    assert_int_equal(fl_reread_look(&file, false, &err), 1);
    assert_span(fl_buf_span(&file.text), "one");
    assert_int_equal(fl_reread_look(&file, false, &err), 0);
    write_file("f", "two"); /* the same size, perhaps within the same tick of the clock */
    assert_int_equal(fl_reread_look(&file, false, &err), 1);
    age(path);
    assert_int_equal(fl_reread_look(&file, false, &err), 0); /* touched, the same bytes */
    assert_int_equal(fl_reread_look(&file, false, &err), 0);
    fl_reread_done(&file);
}

static void test_failures_keep_the_text(void **state)
{
    (void)state;
    struct fl_reread file;
    struct fl_err err = {0};
    char path[128];
    snprintf(path, sizeof(path), "%s", write_file("f", "one"));
    fl_reread_init(&file, path, 10);
    assert_int_equal(fl_reread_look(&file, false, &err), 1);
    write_file("f", "more than ten bytes");
    assert_int_equal(fl_reread_look(&file, false, &err), -EMSGSIZE);
    unlink(path);
    assert_int_equal(fl_reread_look(&file, false, &err), -ENOENT);
    assert_contains(err.text, path);
    assert_span(fl_buf_span(&file.text), "one");
    write_file("f", "back");
    assert_int_equal(fl_reread_look(&file, false, &err), 1);
    fl_reread_done(&file);
}

/* "kubectl get … > file" leaves the file empty for as long as kubectl takes: that is no new version. */
static void test_emptied_is_half_written(void **state)
{
    (void)state;
    struct fl_reread file;
    struct fl_err err = {0};
    char path[128];
    snprintf(path, sizeof(path), "%s", write_file("f", ""));
    fl_reread_init(&file, path, 10);
    assert_int_equal(fl_reread_look(&file, false, &err), 1); /* it was empty from the start */
    write_file("f", "one");
    assert_int_equal(fl_reread_look(&file, false, &err), 1);
    write_file("f", "");
    assert_int_equal(fl_reread_look(&file, false, &err), -EINVAL);
    assert_contains(err.text, "is empty");
    assert_int_equal(fl_reread_look(&file, true, &err), -EINVAL);
    assert_span(fl_buf_span(&file.text), "one");
    write_file("f", "two");
    assert_int_equal(fl_reread_look(&file, false, &err), 1);
    fl_reread_done(&file);
}

/* Opening a pipe would wait for its writer, and everybody with it. */
static void test_only_regular_files(void **state)
{
    (void)state;
    struct fl_reread file;
    struct fl_err err = {0};
    char path[128];
    snprintf(path, sizeof(path), "%s/f", folder);
    assert_int_equal(mkfifo(path, 0600), 0);
    fl_reread_init(&file, path, 10);
    assert_int_equal(fl_reread_look(&file, false, &err), -EINVAL);
    assert_contains(err.text, "not a regular file");
    fl_reread_done(&file);
}

/* As the kubelet updates a mounted Secret: a new target, the link renamed into place. */
static void test_symlink_swap(void **state)
{
    (void)state;
    struct fl_reread file;
    char link_path[128], next[128], v1[128], v2[128];
    snprintf(v1, sizeof(v1), "%s", write_file("v1", "one"));
    snprintf(v2, sizeof(v2), "%s", write_file("v2", "two"));
    age(v1);
    age(v2);
    snprintf(link_path, sizeof(link_path), "%s/link", folder);
    snprintf(next, sizeof(next), "%s/next", folder);
    assert_int_equal(symlink(v1, link_path), 0);
    fl_reread_init(&file, link_path, 10);
    assert_int_equal(fl_reread_look(&file, false, NULL), 1);
    assert_int_equal(fl_reread_look(&file, false, NULL), 0);
    assert_int_equal(symlink(v2, next), 0);
    assert_int_equal(rename(next, link_path), 0);
    assert_int_equal(fl_reread_look(&file, false, NULL), 1);
    assert_span(fl_buf_span(&file.text), "two");
    fl_reread_done(&file);
}

static void test_no_file(void **state)
{
    (void)state;
    struct fl_reread file;
    fl_reread_init(&file, NULL, 10);
    assert_int_equal(fl_reread_look(&file, true, NULL), 0);
    fl_reread_done(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_changes_are_seen, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_failures_keep_the_text, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_emptied_is_half_written, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_only_regular_files, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_symlink_swap, make_folder, remove_folder),
        cmocka_unit_test(test_no_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
