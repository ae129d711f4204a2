#include "cni/install/disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define TEMPORARY_PREFIX ".fairlead."
#define TEMPORARY_SUFFIX ".tmp"
#define LOCK_PAUSE_MS    10
#define CROWD_ROUNDS     20 /* of writers of one name at once */
#define FOLDERS_DEEP     8

/* What a person can do about it; empty where the system's own words say enough. */
static const char *advice(int result)
{
    switch (-result) {
    case ENOSPC:
    case EDQUOT:
        return " (free some space there; what was there before is unchanged)";
    case EROFS:
        return " (the file system is mounted read-only; name a folder that can be written, or remount it)";
    case EACCES:
    case EPERM:
        return " (this process may not write there: run it as root, and look at immutable flags and at SELinux)";
    case ENOTDIR:
        return " (a folder is expected)";
    case EISDIR:
        return " (a folder lies in the file's place: remove it)";
    default:
        return "";
    }
}

/* "<verb> <folder>/<name>: <the system's words> (<advice>)". `name` may be NULL. */
static int failed(const struct cni_disk *disk, const char *verb, const char *name, int result, struct fl_err *err)
{
    const char *words = strerrordesc_np(-result);
    return fl_err_set(err, result, "%s %s%s%s: %s%s", verb, disk->path, name != NULL ? "/" : "",
                      name != NULL ? name : "", words != NULL ? words : "failed", advice(result));
}

static int temporary_name(const char *name, char ret_name[NAME_MAX + 1])
{
    int len = snprintf(ret_name, NAME_MAX + 1, TEMPORARY_PREFIX "%s" TEMPORARY_SUFFIX, name);
    if (len < 0 || len > NAME_MAX)
        return -ENAMETOOLONG;
    return strchr(name, '/') != NULL || name[0] == '\0' ? -EINVAL : 0;
}

static bool is_temporary(const char *name)
{
    struct fl_span span = fl_span_str(name);
    return fl_span_starts_with(span, FL_SPAN(TEMPORARY_PREFIX)) && fl_span_ends_with(span, FL_SPAN(TEMPORARY_SUFFIX));
}

static bool is_dots(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* Some file systems sync folders by themselves and refuse to be asked. */
static int sync_folder(int fd)
{
    return fsync(fd) != 0 && errno != EINVAL ? -errno : 0;
}

int cni_disk_open(const char *path, struct cni_disk *ret_disk, struct fl_err *err)
{
    struct cni_disk disk = CNI_DISK_CLOSED;
    if (strlen(path) >= sizeof(disk.path))
        return fl_err_set(err, -ENAMETOOLONG, "path too long: %s", path);
    memcpy(disk.path, path, strlen(path) + 1);
    disk.fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (disk.fd < 0)
        return failed(&disk, "open", NULL, -errno, err);
    *ret_disk = disk;
    return 0;
}

/* Mode 0755, whatever the umask is. What is right is not touched: the file system may be read-only by now. */
static int make_passable(int fd)
{
    struct stat status;
    if (fstat(fd, &status) != 0 || ((status.st_mode & 07777) != 0755 && fchmod(fd, 0755) != 0))
        return -errno;
    return 0;
}

int cni_disk_enter(const struct cni_disk *parent, const char *name, struct cni_disk *ret_disk, struct fl_err *err)
{
    struct cni_disk disk = CNI_DISK_CLOSED;
    int len = snprintf(disk.path, sizeof(disk.path), "%s/%s", parent->path, name);
    if (len < 0 || (size_t)len >= sizeof(disk.path))
        return fl_err_set(err, -ENAMETOOLONG, "path too long: %s/%s", parent->path, name);
    bool made = mkdirat(parent->fd, name, 0755) == 0;
    if (!made && errno != EEXIST)
        return failed(&disk, "make", NULL, -errno, err);
    disk.fd = openat(parent->fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (disk.fd < 0)
        return failed(&disk, "open", NULL, -errno, err);
    /* not only where it was made here: whoever made it may have been killed before it was durable */
    int result = make_passable(disk.fd);
    if (result == 0)
        result = sync_folder(disk.fd);
    if (result == 0)
        result = sync_folder(parent->fd);
    if (result < 0) {
        failed(&disk, "make", NULL, result, err);
        cni_disk_close(&disk);
        return result;
    }
    *ret_disk = disk;
    return 0;
}

void cni_disk_close(struct cni_disk *disk)
{
    if (disk->fd >= 0)
        close(disk->fd);
    disk->fd = -1;
}

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

int cni_disk_lock(const struct cni_disk *disk, unsigned wait_ms, struct fl_err *err)
{
    uint64_t deadline = now_ms() + wait_ms;
    while (flock(disk->fd, LOCK_EX | LOCK_NB) != 0) {
        int result = -errno;
        if (result != -EWOULDBLOCK && result != -EINTR)
            return failed(disk, "lock", NULL, result, err);
        if (now_ms() >= deadline) {
            fl_err_set(err, -EAGAIN, "%s is locked: another fairlead-agent or \"fairlead cni\" is writing there",
                       disk->path);
            return CNI_DISK_BUSY;
        }
        /* flock knows no deadline and tells nobody when it is free */
        (void)poll(NULL, 0, LOCK_PAUSE_MS);
    }
    return 0;
}

int cni_disk_read(const struct cni_disk *disk, const char *name, struct fl_buf *out, mode_t *ret_mode,
                  struct fl_err *err)
{
    struct stat status;
    FL_CLEANUP(fl_cleanup_close) int fd = openat(disk->fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &status) != 0)
        return failed(disk, "read", name, -errno, err);
    if (!S_ISREG(status.st_mode))
        return fl_err_set(err, -EINVAL, "%s/%s: not a regular file", disk->path, name);
    int result = status.st_size > 0 ? fl_buf_reserve(out, (size_t)status.st_size) : 0;
    if (result == 0)
        result = fl_buf_read_fd(out, fd);
    if (result < 0)
        return failed(disk, "read", name, result, err);
    if (ret_mode != NULL)
        *ret_mode = status.st_mode & 07777;
    return 0;
}

static int compare_bytes(int fd, struct fl_span bytes)
{
    char chunk[16384];
    for (;;) {
        ssize_t count = read(fd, chunk, sizeof(chunk));
        if (count < 0 && errno != EINTR)
            return -errno;
        if (count == 0)
            return bytes.len == 0 ? 0 : CNI_DISK_DIFFERS;
        if (count > 0 && ((size_t)count > bytes.len || memcmp(chunk, bytes.data, (size_t)count) != 0))
            return CNI_DISK_DIFFERS;
        if (count > 0)
            bytes = fl_span_from(bytes, (size_t)count);
    }
}

int cni_disk_compare(const struct cni_disk *disk, const char *name, struct fl_span bytes, mode_t mode,
                     struct fl_err *err)
{
    struct stat status;
    FL_CLEANUP(fl_cleanup_close) int fd = openat(disk->fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    if (fd < 0 && (errno == ENOENT || errno == ELOOP))
        return CNI_DISK_DIFFERS;
    if (fd < 0 || fstat(fd, &status) != 0)
        return failed(disk, "read", name, -errno, err);
    if (!S_ISREG(status.st_mode) || (status.st_mode & 07777) != mode || (size_t)status.st_size != bytes.len)
        return CNI_DISK_DIFFERS;
    int result = compare_bytes(fd, bytes);
    return result < 0 ? failed(disk, "read", name, result, err) : result;
}

static int write_whole(int fd, struct fl_span bytes, mode_t mode)
{
    while (bytes.len > 0) {
        ssize_t count = write(fd, bytes.data, bytes.len);
        if (count < 0 && errno != EINTR)
            return -errno;
        if (count > 0)
            bytes = fl_span_from(bytes, (size_t)count);
    }
    if (fchmod(fd, mode) != 0 || fsync(fd) != 0)
        return -errno;
    return 0;
}

/* The bytes under the temporary name of `name`, synced. On failure there is no such file. */
static int write_temporary(const struct cni_disk *disk, const char *temporary, struct fl_span bytes, mode_t mode,
                           const struct stat *owner)
{
    if (unlinkat(disk->fd, temporary, 0) != 0 && errno != ENOENT)
        return -errno;
    int fd = openat(disk->fd, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    int result = 0;
    /* without the right to, it is ours: runtimes, which are root, read it all the same */
    if (owner != NULL && (owner->st_uid != geteuid() || owner->st_gid != getegid()) &&
        fchown(fd, owner->st_uid, owner->st_gid) != 0 && errno != EPERM)
        result = -errno;
    if (result == 0)
        result = write_whole(fd, bytes, mode);
    if (close(fd) != 0 && result == 0)
        result = -errno;
    if (result < 0)
        (void)unlinkat(disk->fd, temporary, 0);
    return result;
}

/* What a rename needs to outlive the power. */
static int sync_name(const struct cni_disk *disk, const char *name, struct fl_err *err)
{
    int result = sync_folder(disk->fd);
    return result < 0 ? failed(disk, "sync", name, result, err) : 0;
}

static bool lacks_flag(int result)
{
    return result == -EINVAL || result == -ENOSYS || result == -EOPNOTSUPP;
}

/* Never in the place of something, where the file system can see to that. */
static int move(const struct cni_disk *disk, const char *from, const char *to)
{
    if (renameat2(disk->fd, from, disk->fd, to, RENAME_NOREPLACE) == 0)
        return 0;
    if (!lacks_flag(-errno))
        return -errno;
    return renameat(disk->fd, from, disk->fd, to) == 0 ? 0 : -errno;
}

int cni_disk_create(const struct cni_disk *disk, const char *name, struct fl_span bytes, mode_t mode,
                    struct fl_err *err)
{
    char temporary[NAME_MAX + 1];
    int result = temporary_name(name, temporary);
    if (result == 0)
        result = write_temporary(disk, temporary, bytes, mode, NULL);
    if (result == 0) {
        result = move(disk, temporary, name);
        if (result < 0)
            (void)unlinkat(disk->fd, temporary, 0);
    }
    return result < 0 ? failed(disk, "write", name, result, err) : sync_name(disk, name, err);
}

int cni_disk_move(const struct cni_disk *disk, const char *from, const char *to, struct fl_err *err)
{
    int result = move(disk, from, to);
    return result < 0 ? failed(disk, "rename", from, result, err) : sync_name(disk, to, err);
}

int cni_disk_replace(const struct cni_disk *disk, const char *name, struct fl_span bytes, mode_t mode,
                     struct fl_err *err)
{
    char temporary[NAME_MAX + 1];
    int result = temporary_name(name, temporary);
    if (result == 0)
        result = write_temporary(disk, temporary, bytes, mode, NULL);
    if (result == 0 && renameat(disk->fd, temporary, disk->fd, name) != 0) {
        result = -errno;
        (void)unlinkat(disk->fd, temporary, 0);
    }
    return result < 0 ? failed(disk, "write", name, result, err) : sync_name(disk, name, err);
}

/* -ENOENT, -EEXIST: somebody swept the temporary file away, or is at the same name. */
static int put_locked(const struct cni_disk *disk, const char *temporary, const char *name, struct fl_span bytes,
                      mode_t mode, int *ret_fd)
{
    if (unlinkat(disk->fd, temporary, 0) != 0 && errno != ENOENT)
        return -errno;
    FL_CLEANUP(fl_cleanup_close)
    int fd = openat(disk->fd, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    bool locked = flock(fd, LOCK_EX | LOCK_NB) == 0;
    int result = write_whole(fd, bytes, mode);
    if (result == 0 && renameat(disk->fd, temporary, disk->fd, name) != 0)
        result = -errno;
    if (result < 0) {
        (void)unlinkat(disk->fd, temporary, 0);
        return result;
    }
    *ret_fd = locked ? fl_take_fd(fd) : -1;
    return 0;
}

int cni_disk_replace_locked(const struct cni_disk *disk, const char *name, struct fl_span bytes, mode_t mode,
                            int *ret_fd, struct fl_err *err)
{
    char temporary[NAME_MAX + 1];
    int fd = -1, result = temporary_name(name, temporary);
    if (result < 0)
        return failed(disk, "write", name, result, err);
    for (int round = 0; round < CROWD_ROUNDS; round++) {
        result = put_locked(disk, temporary, name, bytes, mode, &fd);
        if (result != -ENOENT && result != -EEXIST)
            break;
        (void)poll(NULL, 0, LOCK_PAUSE_MS);
    }
    if (result == 0)
        result = sync_folder(disk->fd);
    if (result < 0) {
        if (fd >= 0)
            close(fd);
        return failed(disk, "write", name, result, err);
    }
    *ret_fd = fd;
    return 0;
}

static int open_file(const struct cni_disk *disk, const char *name)
{
    struct stat status;
    FL_CLEANUP(fl_cleanup_close)
    int fd = openat(disk->fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW);
    if (fd < 0 || fstat(fd, &status) != 0)
        return -errno;
    return S_ISREG(status.st_mode) ? fl_take_fd(fd) : -EINVAL;
}

/* Ours is what stands under the temporary name. */
static int give_up(const struct cni_disk *disk, const char *temporary, int result)
{
    (void)unlinkat(disk->fd, temporary, 0);
    return result;
}

/* On a file system that cannot exchange two names. */
static int exchange_blindly(const struct cni_disk *disk, const char *temporary, const char *name)
{
    FL_CLEANUP(fl_cleanup_close) int old = open_file(disk, name);
    if (old < 0)
        return give_up(disk, temporary, old);
    if (renameat(disk->fd, temporary, disk->fd, name) != 0)
        return give_up(disk, temporary, -errno);
    int result = sync_folder(disk->fd);
    return result < 0 ? result : fl_take_fd(old);
}

/* What has `name` gets `temporary`'s place, and is opened. What cannot be handed out (a link, a folder that took the
 * file's place at the last moment) goes back to its own; where it cannot go back either, it stays under the temporary
 * name, for it is somebody's. */
static int exchange(const struct cni_disk *disk, const char *temporary, const char *name)
{
    if (renameat2(disk->fd, temporary, disk->fd, name, RENAME_EXCHANGE) != 0)
        return lacks_flag(-errno) ? exchange_blindly(disk, temporary, name) : give_up(disk, temporary, -errno);
    FL_CLEANUP(fl_cleanup_close) int old = open_file(disk, temporary);
    int result = old < 0 ? old : sync_folder(disk->fd);
    if (result < 0 && renameat2(disk->fd, temporary, disk->fd, name, RENAME_EXCHANGE) == 0)
        return give_up(disk, temporary, result);
    if (result == 0 && unlinkat(disk->fd, temporary, 0) != 0 && errno != ENOENT)
        result = -errno;
    return result < 0 ? result : fl_take_fd(old);
}

int cni_disk_exchange(const struct cni_disk *disk, const char *name, struct fl_span bytes, const struct stat *like,
                      int *ret_old, struct fl_err *err)
{
    char temporary[NAME_MAX + 1];
    int result = temporary_name(name, temporary);
    if (result == 0)
        result = write_temporary(disk, temporary, bytes, like->st_mode & 07777, like);
    if (result == 0)
        result = exchange(disk, temporary, name);
    if (result < 0)
        return failed(disk, "write", name, result, err);
    *ret_old = result;
    return 0;
}

int cni_disk_leftover(const struct cni_disk *disk, const char *name)
{
    char temporary[NAME_MAX + 1];
    int result = temporary_name(name, temporary);
    return result < 0 ? result : open_file(disk, temporary);
}

int cni_disk_rename(const struct cni_disk *disk, const char *from, const char *to, struct fl_err *err)
{
    if (renameat(disk->fd, from, disk->fd, to) != 0)
        return failed(disk, "rename", from, -errno, err);
    return sync_name(disk, to, err);
}

int cni_disk_remove(const struct cni_disk *disk, const char *name, struct fl_err *err)
{
    int result = unlinkat(disk->fd, name, 0) != 0 && errno != ENOENT ? -errno : sync_folder(disk->fd);
    return result < 0 ? failed(disk, "remove", name, result, err) : 0;
}

/* Removes what is in a folder, and it; fails with the first reason that there was. */
static int remove_tree(int parent, const char *name, unsigned depth)
{
    int result = 0;
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    DIR *folder = fd >= 0 ? fdopendir(fd) : NULL;
    if (folder == NULL) {
        result = -errno;
        if (fd >= 0)
            close(fd);
        return result == -ENOENT ? 0 : result;
    }
    for (const struct dirent *entry; result == 0 && (entry = readdir(folder)) != NULL;) {
        if (is_dots(entry->d_name) || unlinkat(fd, entry->d_name, 0) == 0 || errno == ENOENT)
            continue;
        result = errno == EISDIR && depth > 0 ? remove_tree(fd, entry->d_name, depth - 1) : -errno;
    }
    closedir(folder);
    if (result == 0 && unlinkat(parent, name, AT_REMOVEDIR) != 0 && errno != ENOENT)
        result = -errno;
    return result;
}

int cni_disk_remove_folder(const struct cni_disk *disk, const char *name, struct fl_err *err)
{
    char temporary[NAME_MAX + 1];
    int result = temporary_name(name, temporary);
    if (result == 0)
        result = remove_tree(disk->fd, temporary, FOLDERS_DEEP);
    if (result == 0 && renameat(disk->fd, name, disk->fd, temporary) != 0)
        result = errno == ENOENT ? 0 : -errno;
    if (result == 0)
        result = remove_tree(disk->fd, temporary, FOLDERS_DEEP);
    if (result == 0)
        result = sync_folder(disk->fd);
    return result < 0 ? failed(disk, "remove", name, result, err) : 0;
}

int cni_disk_sweep(const struct cni_disk *disk, struct fl_err *err)
{
    int result = 0;
    int fd = openat(disk->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = fd >= 0 ? fdopendir(fd) : NULL;
    if (folder == NULL) {
        result = -errno;
        if (fd >= 0)
            close(fd);
        return failed(disk, "read", NULL, result, err);
    }
    for (const struct dirent *entry; result == 0 && (entry = readdir(folder)) != NULL;) {
        if (!is_temporary(entry->d_name) || unlinkat(fd, entry->d_name, 0) == 0)
            continue;
        result = errno == EISDIR ? remove_tree(fd, entry->d_name, FOLDERS_DEEP) : errno == ENOENT ? 0 : -errno;
        if (result < 0)
            failed(disk, "remove", entry->d_name, result, err);
    }
    closedir(folder);
    return result;
}
