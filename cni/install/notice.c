#include "cni/install/notice.h"

#include "cni/install/owner.h"
#include "cni/install/payload.h"
#include "common/base/siphash.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/inotify.h>

#define FOLDER_MASK                                                                                                    \
    (IN_CREATE | IN_CLOSE_WRITE | IN_MODIFY | IN_ATTRIB | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE | IN_DELETE_SELF |   \
     IN_MOVE_SELF | IN_ONLYDIR)
#define FILE_MASK  (IN_MODIFY | IN_CLOSE_WRITE)
#define GONE_MASK  (IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED | IN_UNMOUNT)
#define EVERYTHING (CNI_NOTICE_CONFIG | CNI_NOTICE_PLUGIN | CNI_NOTICE_OWNER | CNI_NOTICE_KEPT | CNI_NOTICE_OVERFLOW)
#define READS_MAX  256          /* a turn: who is faster than we are does not keep us reading */
#define TEMPORARY  ".fairlead." /* what we are writing ourselves (disk.h) */

static const unsigned about[CNI_NOTICE_FOLDERS] = {
    [CNI_NOTICE_CONF_DIR] = CNI_NOTICE_CONFIG,
    [CNI_NOTICE_BIN_DIR] = CNI_NOTICE_PLUGIN | CNI_NOTICE_OWNER,
    [CNI_NOTICE_VERSIONS] = CNI_NOTICE_PLUGIN | CNI_NOTICE_OWNER,
};

int cni_notice_init(struct cni_notice *notice, const char *conf_dir, const char *bin_dir, struct fl_err *err)
{
    const struct {
        const char *path, *below;
    } folders[CNI_NOTICE_FOLDERS] = {{conf_dir, ""}, {bin_dir, ""}, {bin_dir, "/" CNI_PAYLOAD_FOLDER}};
    *notice = (struct cni_notice){.fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK)};
    notice->polling = notice->fd < 0;
    notice->poll_errno = notice->polling ? errno : 0;
    for (size_t i = 0; i < CNI_NOTICE_FOLDERS; i++) {
        struct cni_notice_place *folder = &notice->folders[i];
        int length = snprintf(folder->path, sizeof(folder->path), "%s%s", folders[i].path, folders[i].below);
        folder->watch = -1;
        if (length < 0 || (size_t)length >= sizeof(folder->path)) {
            cni_notice_done(notice);
            return fl_err_set(err, -ENAMETOOLONG, "path too long: %s", folders[i].path);
        }
    }
    return 0;
}

void cni_notice_done(struct cni_notice *notice)
{
    if (notice->fd >= 0)
        close(notice->fd);
    notice->fd = -1;
}

static void unwatch(struct cni_notice *notice, struct cni_notice_place *folder)
{
    if (folder->watch >= 0)
        inotify_rm_watch(notice->fd, folder->watch);
    folder->watch = -1;
}

/* Whether it is watched anew. */
static bool refresh(struct cni_notice *notice, struct cni_notice_place *folder)
{
    struct stat status;
    bool there = stat(folder->path, &status) == 0 && S_ISDIR(status.st_mode);
    bool same = there && status.st_dev == folder->device && status.st_ino == folder->inode;
    if (same && (folder->watch >= 0 || notice->fd < 0))
        return false;
    unwatch(notice, folder);
    bool changed = there && !same;
    folder->device = there ? status.st_dev : 0;
    folder->inode = there ? status.st_ino : 0;
    if (!there || notice->fd < 0)
        return changed;
    folder->watch = inotify_add_watch(notice->fd, folder->path, FOLDER_MASK);
    if (folder->watch >= 0 || errno == ENOENT || errno == ENOTDIR)
        return true;
    notice->polling = true;
    notice->poll_errno = errno;
    return changed;
}

unsigned cni_notice_refresh(struct cni_notice *notice)
{
    unsigned what = 0;
    if (notice->fd >= 0)
        notice->polling = false;
    for (size_t i = 0; i < CNI_NOTICE_FOLDERS; i++) {
        if (refresh(notice, &notice->folders[i]))
            what |= about[i];
    }
    return what;
}

bool cni_notice_is_whole(const struct cni_notice *notice)
{
    for (size_t i = 0; i < CNI_NOTICE_FOLDERS; i++) {
        if (notice->folders[i].inode == 0)
            return false;
    }
    return true;
}

static unsigned about_name(enum cni_notice_folder folder, const char *name)
{
    if (strncmp(name, TEMPORARY, sizeof(TEMPORARY) - 1) == 0)
        return 0;
    if (folder == CNI_NOTICE_VERSIONS)
        return strcmp(name, CNI_OWNER_FILE) == 0 ? CNI_NOTICE_OWNER : CNI_NOTICE_PLUGIN;
    if (folder == CNI_NOTICE_BIN_DIR && strncmp(name, CNI_PAYLOAD_LAUNCHER, sizeof(CNI_PAYLOAD_LAUNCHER) - 1) != 0)
        return 0; /* somebody else's plugin */
    return about[folder];
}

static unsigned about_event(struct cni_notice *notice, const struct inotify_event *event)
{
    if ((event->mask & IN_Q_OVERFLOW) != 0)
        return EVERYTHING;
    for (unsigned i = 0; i < CNI_NOTICE_FOLDERS; i++) {
        struct cni_notice_place *folder = &notice->folders[i];
        if (event->wd != folder->watch)
            continue;
        if ((event->mask & GONE_MASK) == 0)
            return event->len > 0 ? about_name((enum cni_notice_folder)i, event->name) : 0;
        /* the path may be of another folder by now */
        if ((event->mask & IN_IGNORED) != 0)
            folder->watch = -1;
        else
            unwatch(notice, folder);
        folder->inode = 0;
        return about[i];
    }
    return (event->mask & FILE_MASK) != 0 ? CNI_NOTICE_KEPT : 0;
}

unsigned cni_notice_read(struct cni_notice *notice)
{
    char bytes[8192] __attribute__((aligned(__alignof__(struct inotify_event))));
    unsigned what = 0;
    for (int i = 0; i < READS_MAX; i++) {
        ssize_t length = notice->fd >= 0 ? read(notice->fd, bytes, sizeof(bytes)) : -1;
        if (length <= 0)
            return what;
        for (ssize_t at = 0; at < length;) {
            const struct inotify_event *event = (const struct inotify_event *)(const void *)(bytes + at);
            what |= about_event(notice, event);
            at += (ssize_t)(sizeof(*event) + event->len);
        }
    }
    return what;
}

struct signature {
    ino_t inode;
    off_t size;
    mode_t mode;
    struct timespec modified, changed;
    uint64_t name;
};

/* Of all names, whatever their order. 0 for a folder that is not there. */
static uint64_t sign(const struct cni_notice_place *folder)
{
    uint64_t sum = 0;
    DIR *entries = opendir(folder->path);
    if (entries == NULL)
        return 0;
    for (const struct dirent *entry; (entry = readdir(entries)) != NULL;) {
        struct stat status;
        struct signature one;
        if (fstatat(dirfd(entries), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) < 0 || S_ISDIR(status.st_mode))
            continue;
        memset(&one, 0, sizeof(one));
        one.inode = status.st_ino;
        one.size = status.st_size;
        one.mode = status.st_mode;
        one.modified = status.st_mtim;
        one.changed = status.st_ctim;
        one.name = fl_siphash(fl_span_str(entry->d_name));
        sum += fl_siphash(fl_span_make(&one, sizeof(one)));
    }
    closedir(entries);
    return sum;
}

unsigned cni_notice_poll(struct cni_notice *notice)
{
    unsigned what = 0;
    for (size_t i = 0; i < CNI_NOTICE_FOLDERS; i++) {
        uint64_t signature = sign(&notice->folders[i]);
        if (signature != notice->folders[i].signature)
            what |= about[i];
        notice->folders[i].signature = signature;
    }
    return what;
}

int cni_notice_add_file(struct cni_notice *notice, int fd)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return notice->fd >= 0 ? inotify_add_watch(notice->fd, path, FILE_MASK) : -1;
}

void cni_notice_remove_file(struct cni_notice *notice, int watch)
{
    if (notice->fd >= 0 && watch >= 0)
        inotify_rm_watch(notice->fd, watch);
}
