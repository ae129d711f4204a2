#include "control/source/scan.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>

struct walk {
    const char *root;
    const struct control_scan_limits *limits;
    void (*on_folder)(void *context, const char *path);
    void *context;
    struct control_scan *scan;
};

void control_scan_done(struct control_scan *scan)
{
    for (size_t i = 0; i < scan->count; i++)
        free(scan->files[i].path);
    free(scan->files);
    *scan = (struct control_scan){0};
}

bool control_scan_same(const struct control_scan_file *a, const struct control_scan_file *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size &&
           a->modified.tv_sec == b->modified.tv_sec && a->modified.tv_nsec == b->modified.tv_nsec &&
           a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec;
}

static bool is_ours(struct fl_span name)
{
    return fl_span_ends_with(name, FL_SPAN(".yaml")) || fl_span_ends_with(name, FL_SPAN(".yml")) ||
           fl_span_ends_with(name, FL_SPAN(".json"));
}

static int add(struct control_scan *scan, const char *path, const struct stat *info)
{
    if (scan->count == scan->room) {
        size_t room = scan->room > 0 ? scan->room * 2 : 32;
        struct control_scan_file *files = realloc(scan->files, room * sizeof(*files));
        if (files == NULL)
            return -ENOMEM;
        scan->files = files;
        scan->room = room;
    }
    char *copy = strdup(path);
    if (copy == NULL)
        return -ENOMEM;
    scan->files[scan->count++] = (struct control_scan_file){
        .path = copy,
        .device = info->st_dev,
        .inode = info->st_ino,
        .size = info->st_size,
        .modified = info->st_mtim,
        .changed = info->st_ctim,
    };
    return 0;
}

/* Gone again since its name was read, or a link to nowhere. Anything else (permissions, descriptors that are out) says
 * nothing of what is there, and must not look like an empty folder: what is in force would go, policies among it. */
static bool is_gone(int error)
{
    return error == ENOENT || error == ENOTDIR || error == ELOOP;
}

static int walk_folder(struct walk *walk, int at, const char *relative, unsigned depth);

static int visit(struct walk *walk, int folder, const char *relative, const char *name, unsigned depth)
{
    char path[PATH_MAX];
    struct stat info, link;
    int length = snprintf(path, sizeof(path), "%s%s%s", relative, relative[0] != '\0' ? "/" : "", name);
    if (name[0] == '.' || length < 0 || (size_t)length >= sizeof(path))
        return 0;
    if (fstatat(folder, name, &info, 0) < 0 || fstatat(folder, name, &link, AT_SYMLINK_NOFOLLOW) < 0)
        return is_gone(errno) ? 0 : -errno;
    if (S_ISDIR(link.st_mode) && depth < walk->limits->depth_max)
        return walk_folder(walk, openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), path,
                           depth + 1);
    walk->scan->truncated |= S_ISDIR(link.st_mode);
    if (!S_ISREG(info.st_mode) || !is_ours(fl_span_str(name)))
        return 0;
    if (walk->scan->count >= walk->limits->files_max) {
        walk->scan->too_many = true;
        return 0;
    }
    return add(walk->scan, path, &info);
}

/* Takes `at` over; -1 with errno: it could not be opened. */
static int walk_folder(struct walk *walk, int at, const char *relative, unsigned depth)
{
    char path[PATH_MAX];
    DIR *folder = at >= 0 ? fdopendir(at) : NULL;
    if (folder == NULL) {
        int error = errno;
        if (at >= 0)
            close(at);
        return is_gone(error) ? 0 : -error;
    }
    int result = 0;
    snprintf(path, sizeof(path), "%s%s%s", walk->root, relative[0] != '\0' ? "/" : "", relative);
    walk->on_folder(walk->context, path);
    while (result == 0) {
        errno = 0;
        struct dirent *entry = readdir(folder);
        if (entry == NULL) {
            result = is_gone(errno) ? 0 : -errno;
            break;
        }
        result = visit(walk, dirfd(folder), relative, entry->d_name, depth);
    }
    closedir(folder);
    return result;
}

static int compare_files(const void *a, const void *b)
{
    return strcmp(((const struct control_scan_file *)a)->path, ((const struct control_scan_file *)b)->path);
}

int control_scan_folder(const char *path, const struct control_scan_limits *limits,
                        void (*on_folder)(void *context, const char *path), void *context,
                        struct control_scan *ret_scan, struct fl_err *err)
{
    struct control_scan scan = {0};
    struct walk walk = {path, limits, on_folder, context, &scan};
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return fl_err_errno(err, -errno, "open folder %s", path);
    int result = walk_folder(&walk, fd, "", 0);
    if (result < 0) {
        control_scan_done(&scan);
        return fl_err_errno(err, result, "read folder %s", path);
    }
    if (scan.count > 1)
        qsort(scan.files, scan.count, sizeof(*scan.files), compare_files);
    *ret_scan = scan;
    return 0;
}
