#include "common/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

int fl_file_path(const char *folder, const char *name, char *path, struct fl_err *err)
{
    int len = snprintf(path, PATH_MAX, "%s/%s", folder, name);
    return len < 0 || len >= PATH_MAX ? fl_err_set(err, -ENAMETOOLONG, "path too long: %s", folder) : 0;
}

int fl_file_read(const char *folder, const char *name, mode_t forbidden, struct fl_buf *out, struct fl_err *err)
{
    char path[PATH_MAX];
    struct stat status;
    int result = fl_file_path(folder, name, path, err);
    if (result < 0)
        return result;
    FL_CLEANUP(fl_cleanup_close) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &status) != 0)
        return fl_err_errno(err, -errno, "%s", path);
    if (!S_ISREG(status.st_mode))
        return fl_err_set(err, -EINVAL, "%s: not a regular file", path);
    if ((status.st_mode & forbidden) != 0)
        return fl_err_set(err, -EACCES, "%s: others may read or write it (mode %04o)", path,
                          (unsigned)(status.st_mode & 07777));
    if (forbidden == FL_FILE_OWNER_ALONE && status.st_uid != 0 && status.st_uid != geteuid())
        return fl_err_set(err, -EACCES, "%s: belongs to user %u", path, (unsigned)status.st_uid);
    result = fl_buf_read_fd(out, fd);
    return result < 0 ? fl_err_errno(err, result, "%s", path) : 0;
}

static int write_whole(int fd, struct fl_span content)
{
    while (content.len > 0) {
        ssize_t count = write(fd, content.data, content.len);
        if (count < 0 && errno != EINTR)
            return -errno;
        if (count > 0)
            content = fl_span_from(content, (size_t)count);
    }
    return fsync(fd) != 0 ? -errno : 0;
}

int fl_file_write(const char *path, struct fl_span content, mode_t mode, bool exclusive, struct fl_err *err)
{
    char temporary[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t stem = slash == NULL ? 0 : (size_t)(slash - path) + 1;
    int len = snprintf(temporary, sizeof(temporary), "%.*s.%s.XXXXXX", (int)stem, path, path + stem);
    if (len < 0 || (size_t)len >= sizeof(temporary))
        return fl_err_set(err, -ENAMETOOLONG, "path too long: %s", path);
    FL_CLEANUP(fl_cleanup_close) int fd = mkostemp(temporary, O_CLOEXEC);
    if (fd < 0)
        return fl_err_errno(err, -errno, "%s", path);
    int result = write_whole(fd, content);
    if (result == 0 && fchmod(fd, mode) != 0)
        result = -errno;
    if (result == 0 && exclusive)
        result = link(temporary, path) != 0 ? -errno : 0;
    else if (result == 0 && rename(temporary, path) == 0)
        return 0;
    else if (result == 0)
        result = -errno;
    unlink(temporary);
    return result < 0 ? fl_err_errno(err, result, "%s", path) : 0;
}
