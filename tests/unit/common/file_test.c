#include "common/base/file.h"

#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>

#include <cmocka.h>

static char folder[] = "/tmp/fairlead-file-XXXXXX";
static char path[PATH_MAX];

static int set_up(void **state)
{
    (void)state;
    return mkdtemp(folder) == NULL || fl_file_path(folder, "a", path, NULL) != 0 ? -1 : 0;
}

static int tear_down(void **state)
{
    (void)state;
    return rmdir(folder); /* fails where anything was left behind */
}

static void files_are_written_whole_and_read_with_care(void **state)
{
    (void)state;
    struct fl_buf text;
    struct fl_err err = {0};
    struct stat status;
    fl_buf_init(&text, 5);
    mode_t mask = umask(0077);
    assert_int_equal(fl_file_write(path, FL_SPAN("first"), 0640, true, &err), 0);
    umask(mask);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0640);
    assert_int_equal(fl_file_write(path, FL_SPAN("other"), 0600, true, &err), -EEXIST);
    assert_int_equal(fl_file_read(folder, "a", 0, &text, &err), 0);
    assert_string_equal(fl_buf_str(&text), "first");
    fl_buf_clear(&text);
    assert_int_equal(fl_file_read(folder, "a", 0077, &text, &err), -EACCES);
    assert_non_null(strstr(err.text, "others may read or write it (mode 0640)"));
    assert_int_equal(fl_file_write(path, FL_SPAN("longer"), 0600, false, &err), 0);
    assert_int_equal(fl_file_read(folder, "a", 0077, &text, &err), -EMSGSIZE);
    if (geteuid() == 0) { /* planted by somebody else */
        fl_buf_clear(&text);
        assert_int_equal(chown(path, 12345, 0), 0);
        assert_int_equal(fl_file_read(folder, "a", FL_FILE_OWNER_ALONE, &text, &err), -EACCES);
        assert_non_null(strstr(err.text, "belongs to user 12345"));
    }
    assert_int_equal(fl_file_read(folder, "b", 0, &text, &err), -ENOENT);
    assert_int_equal(fl_file_read(folder, ".", 0, &text, &err), -EINVAL);
    assert_int_equal(fl_file_write("/nonexistent/a", FL_SPAN("x"), 0600, false, &err), -ENOENT);
    assert_int_equal(fl_file_write(folder, FL_SPAN("x"), 0600, false, &err),
                     -EISDIR); /* and nothing is left beside it */
    assert_int_equal(unlink(path), 0);
    fl_buf_wipe(&text);
    assert_null(text.data);
}

static void paths_have_a_limit(void **state)
{
    (void)state;
    static char large[PATH_MAX];
    char out[PATH_MAX];
    memset(large, 'a', sizeof(large) - 1);
    assert_int_equal(fl_file_path(large, "b", out, NULL), -ENAMETOOLONG);
    assert_int_equal(fl_file_write(large, FL_SPAN("x"), 0600, false, NULL), -ENAMETOOLONG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_are_written_whole_and_read_with_care),
        cmocka_unit_test(paths_have_a_limit),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
