#include "proxy/config/watch.h"

#include "common/loop/timer.h"

#include <errno.h>
#include <limits.h>
#include <sys/inotify.h>

#define EVENTS                                                                                                         \
    (IN_CLOSE_WRITE | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF)

struct proxy_watch {
    struct fl_loop *loop;
    void (*on_change)(void *owner);
    void *owner;
    struct fl_source source; /* inotify */
    int fd;
    struct fl_timer settle;
    struct proxy_snapshot *snapshot; /* whose files; NULL: none yet */
    struct stat *seen;               /* by file: what on_change was told of last */
};

static bool differs(const struct stat *a, const struct stat *b)
{
    return a->st_dev != b->st_dev || a->st_ino != b->st_ino || a->st_size != b->st_size ||
           a->st_mtim.tv_sec != b->st_mtim.tv_sec || a->st_mtim.tv_nsec != b->st_mtim.tv_nsec ||
           a->st_ctim.tv_sec != b->st_ctim.tv_sec || a->st_ctim.tv_nsec != b->st_ctim.tv_nsec;
}

/* Compared with what was told, not with what the snapshot was made of: a new file that is refused is told once. */
static void on_settled(struct fl_timer *timer)
{
    struct proxy_watch *watch = FL_CONTAINER_OF(timer, struct proxy_watch, settle);
    bool changed = false;
    for (size_t i = 0; watch->snapshot != NULL && i < watch->snapshot->file_count; i++) {
        struct stat now = {0};
        if (stat(watch->snapshot->files[i].path.data, &now) != 0)
            now = (struct stat){0};
        changed = changed || differs(&now, &watch->seen[i]);
        watch->seen[i] = now;
    }
    if (changed)
        watch->on_change(watch->owner); /* may set another snapshot, or free the watch */
}

/* What happened does not matter, only that something did. The timer is not moved by further events: a folder that is
 * never quiet must not put it off for ever. */
static void on_event(struct fl_source *source, uint32_t events)
{
    (void)events;
    struct proxy_watch *watch = FL_CONTAINER_OF(source, struct proxy_watch, source);
    char drained[4096];
    while (read(source->fd, drained, sizeof(drained)) > 0) {
    }
    if (!fl_timer_is_set(&watch->settle))
        fl_timer_set(watch->loop, &watch->settle, PROXY_WATCH_SETTLE_MS, on_settled);
}

int proxy_watch_new(struct fl_loop *loop, void (*on_change)(void *owner), void *owner, struct proxy_watch **ret_watch)
{
    struct proxy_watch *watch = calloc(1, sizeof(*watch));
    if (watch == NULL)
        return -ENOMEM;
    *watch = (struct proxy_watch){.loop = loop, .on_change = on_change, .owner = owner, .fd = -1};
    *ret_watch = watch;
    return 0;
}

static void drop(struct proxy_watch *watch)
{
    fl_source_remove(&watch->source);
    if (watch->fd >= 0)
        close(watch->fd);
    watch->fd = -1;
    free(watch->seen);
    watch->seen = NULL;
    watch->snapshot = proxy_snapshot_unref(watch->snapshot);
}

struct proxy_watch *proxy_watch_free(struct proxy_watch *watch)
{
    if (watch == NULL)
        return NULL;
    fl_timer_cancel(&watch->settle);
    drop(watch);
    free(watch);
    return NULL;
}

/* The folder that a file is in. The kernel knows a folder once, however often it is added. */
static int add_folder(int fd, const char *path)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t len = slash == NULL ? 1 : slash == path ? 1 : (size_t)(slash - path);
    if (len >= sizeof(folder))
        return -ENAMETOOLONG;
    memcpy(folder, slash == NULL ? "." : path, len);
    folder[len] = '\0';
    return inotify_add_watch(fd, folder, EVENTS) < 0 && errno != ENOENT ? -errno : 0;
}

static int open_watches(const struct proxy_snapshot *snapshot, int *ret_fd)
{
    FL_CLEANUP(fl_cleanup_close) int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (fd < 0)
        return -errno;
    for (size_t i = 0; i < snapshot->file_count; i++) {
        int result = add_folder(fd, snapshot->files[i].path.data);
        if (result != 0)
            return result;
    }
    *ret_fd = fl_take_fd(fd);
    return 0;
}

int proxy_watch_set(struct proxy_watch *watch, struct proxy_snapshot *snapshot)
{
    FL_CLEANUP(fl_cleanup_close) int fd = -1;
    FL_CLEANUP(fl_cleanup_free) struct stat *seen = calloc(snapshot->file_count + 1, sizeof(*seen));
    int result = seen == NULL ? -ENOMEM : open_watches(snapshot, &fd);
    if (result != 0)
        return result;
    fl_source_remove(&watch->source);
    result = fl_source_add(watch->loop, &watch->source, fd, EPOLLIN, on_event);
    if (result != 0) /* out of kernel memory: the old ones go on, if that works */
        return watch->fd >= 0 && fl_source_add(watch->loop, &watch->source, watch->fd, EPOLLIN, on_event) != 0 ? -EIO
                                                                                                               : result;
    if (watch->fd >= 0)
        close(watch->fd);
    watch->fd = fl_take_fd(fd);
    for (size_t i = 0; i < snapshot->file_count; i++)
        seen[i] = snapshot->files[i].status;
    free(watch->seen);
    watch->seen = fl_take(seen);
    proxy_snapshot_ref(snapshot);
    proxy_snapshot_unref(watch->snapshot);
    watch->snapshot = snapshot;
    /* What changed before the watches were there has no event. */
    if (!fl_timer_is_set(&watch->settle))
        fl_timer_set(watch->loop, &watch->settle, PROXY_WATCH_SETTLE_MS, on_settled);
    return 0;
}
