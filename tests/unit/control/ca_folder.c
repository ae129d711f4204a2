#include "tests/unit/control/ca_folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

void folder_init(struct folder *folder)
{
    const char *base = getenv("TMPDIR");
    snprintf(folder->path, sizeof(folder->path), "%.200s/fairlead-ca-XXXXXX", base != NULL ? base : "/tmp");
    assert_non_null(mkdtemp(folder->path));
}

const char *folder_path(struct folder *folder, const char *name)
{
    snprintf(folder->text, sizeof(folder->text), "%s/%s", folder->path, name);
    return folder->text;
}

void folder_done(struct folder *folder)
{
    DIR *list = opendir(folder->path);
    assert_non_null(list);
    for (struct dirent *entry; (entry = readdir(list)) != NULL;) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            assert_int_equal(unlink(folder_path(folder, entry->d_name)), 0);
    }
    closedir(list);
    assert_int_equal(rmdir(folder->path), 0);
}

void folder_write(struct folder *folder, const char *name, struct fl_span content, mode_t mode)
{
    int fd = open(folder_path(folder, name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, content.data, content.len), content.len);
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

void folder_remove(struct folder *folder, const char *name)
{
    assert_int_equal(unlink(folder_path(folder, name)), 0);
}
