#include "tests/support/folder.h"

#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

const char *folder_in(const char *folder, const char *name)
{
    static char paths[4][PATH_MAX];
    static unsigned next;
    char *path = paths[next++ % 4];
    size_t folder_len = strlen(folder), name_len = strlen(name);
    assert_true(folder_len + name_len + 2 <= sizeof(paths[0]));
    memmove(path, folder, folder_len);
    path[folder_len] = '/';
    memcpy(path + folder_len + 1, name, name_len + 1);
    return path;
}

void folder_put(const char *folder, const char *name, struct fl_span bytes)
{
    FILE *file = fopen(folder_in(folder, name), "we");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes.data, 1, bytes.len, file), bytes.len);
    assert_int_equal(fclose(file), 0);
}

void folder_put_str(const char *folder, const char *name, const char *text)
{
    folder_put(folder, name, fl_span_str(text));
}

const char *folder_get(const char *folder, const char *name)
{
    static char text[FOLDER_TEXT_MAX];
    int fd = open(folder_in(folder, name), O_RDONLY | O_CLOEXEC);
    ssize_t length = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
    if (fd >= 0)
        close(fd);
    if (length < 0)
        return NULL;
    text[length] = '\0';
    return text;
}

static int remove_one(const char *path, const struct stat *status, int flag, struct FTW *walk)
{
    (void)status, (void)flag, (void)walk;
    return remove(path);
}

void folder_remove(const char *folder)
{
    nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
