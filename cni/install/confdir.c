#include "cni/install/confdir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

static const char *suffix_of(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot != NULL ? dot : "";
}

bool cni_confdir_is_list(const char *name)
{
    return strcmp(suffix_of(name), ".conflist") == 0;
}

bool cni_confdir_is_read(const char *name)
{
    const char *suffix = suffix_of(name);
    return strcmp(suffix, ".conf") == 0 || strcmp(suffix, ".json") == 0 || cni_confdir_is_list(name);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* Runtimes leave folders out, but not links to them (and fail at these). */
static bool is_folder(int folder, const struct dirent *entry)
{
    struct stat status;
    if (entry->d_type != DT_UNKNOWN)
        return entry->d_type == DT_DIR;
    return fstatat(folder, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(status.st_mode);
}

static int add_name(struct cni_confdir *confdir, const char *name)
{
    if (confdir->count == CNI_CONFDIR_FILES_MAX)
        return -EMSGSIZE;
    if ((confdir->count & (confdir->count - 1)) == 0) {
        size_t room = confdir->count > 0 ? 2 * confdir->count : 1;
        void *names = realloc(confdir->names, room * sizeof(*confdir->names));
        if (names == NULL)
            return -ENOMEM;
        confdir->names = names;
    }
    memcpy(confdir->names[confdir->count++], name, strlen(name) + 1);
    return 0;
}

static int read_names(DIR *folder, struct cni_confdir *confdir)
{
    int result = 0;
    errno = 0;
    for (const struct dirent *entry; result == 0 && (entry = readdir(folder)) != NULL; errno = 0) {
        if (cni_confdir_is_read(entry->d_name) && !is_folder(dirfd(folder), entry))
            result = add_name(confdir, entry->d_name);
        confdir->cilium |= strcmp(suffix_of(entry->d_name), ".cilium_bak") == 0;
    }
    return result == 0 && errno != 0 ? -errno : result;
}

int cni_confdir_list(const struct cni_disk *disk, struct cni_confdir *ret_confdir, struct fl_err *err)
{
    struct cni_confdir confdir = {0};
    int fd = openat(disk->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = fd >= 0 ? fdopendir(fd) : NULL;
    int result = folder != NULL ? read_names(folder, &confdir) : -errno;
    if (folder != NULL)
        closedir(folder);
    else if (fd >= 0)
        close(fd);
    if (result < 0) {
        cni_confdir_done(&confdir);
        return fl_err_errno(err, result, "list %s", disk->path);
    }
    if (confdir.count > 1)
        qsort(confdir.names, confdir.count, sizeof(*confdir.names), compare_names);
    *ret_confdir = confdir;
    return 0;
}

void cni_confdir_done(struct cni_confdir *confdir)
{
    free(confdir->names);
    *confdir = (struct cni_confdir){0};
}

bool cni_confdir_has(const struct cni_confdir *confdir, const char *name)
{
    return confdir->count > 0 &&
           bsearch(name, confdir->names, confdir->count, sizeof(*confdir->names), compare_names) != NULL;
}

int cni_confdir_read_fd(int fd, struct fl_buf *out)
{
    struct stat status;
    if (lseek(fd, 0, SEEK_SET) < 0 || fstat(fd, &status) < 0)
        return -errno;
    if (status.st_size > 0 && (uint64_t)status.st_size <= out->max) {
        int result = fl_buf_reserve(out, (size_t)status.st_size);
        if (result < 0)
            return result;
    }
    return fl_buf_read_fd(out, fd);
}

static int read_file(const struct cni_disk *disk, const char *name, struct cni_confdir_file *file)
{
    struct stat link;
    /* not blocking: the name may be of a FIFO */
    FL_CLEANUP(fl_cleanup_close) int fd = openat(disk->fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 || fstat(fd, &file->status) < 0 || fstatat(disk->fd, name, &link, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    file->symlink = S_ISLNK(link.st_mode);
    return S_ISREG(file->status.st_mode) ? cni_confdir_read_fd(fd, &file->text) : -EINVAL;
}

int cni_confdir_read(const struct cni_disk *disk, const char *name, struct cni_confdir_file *ret_file,
                     struct fl_err *err)
{
    struct cni_confdir_file file = {0};
    fl_buf_init(&file.text, CNI_CONFLIST_BYTES_MAX);
    int result = read_file(disk, name, &file);
    if (result == 0) {
        *ret_file = file;
        return 0;
    }
    cni_confdir_file_done(&file);
    if (result == -EINVAL)
        return fl_err_set(err, result, "%s/%s is no regular file", disk->path, name);
    return fl_err_errno(err, result, "read %s/%s", disk->path, name);
}

void cni_confdir_file_done(struct cni_confdir_file *file)
{
    fl_buf_done(&file->text);
    *file = (struct cni_confdir_file){0};
}

static bool print_name(char name[NAME_MAX + 1], const char *file, size_t stem, const char *suffix)
{
    int length = snprintf(name, NAME_MAX + 1, "%.*s%s", (int)stem, file, suffix);
    return length > 0 && length <= NAME_MAX;
}

bool cni_confdir_wrapper_name(const char *file, char name[NAME_MAX + 1])
{
    return print_name(name, file, (size_t)(suffix_of(file) - file), ".conflist");
}

bool cni_confdir_backup_name(const char *file, char name[NAME_MAX + 1])
{
    return print_name(name, file, strlen(file), CNI_CONFDIR_BACKUP);
}
