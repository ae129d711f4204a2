#include "control/ca/watch.h"

#include "common/base/file.h"
#include "common/loop/timer.h"

#include <errno.h>
#include <limits.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#define EVENTS                                                                                                         \
    (IN_CLOSE_WRITE | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF)

struct control_watch {
    struct fl_loop *loop;
    char *folder;
    const char *const *names;
    size_t count;
    void (*on_change)(void *owner);
    void *owner;
    struct fl_source source; /* inotify */
    int fd;
    bool added; /* the folder is watched */
    struct fl_timer settle;
    struct stat seen[CONTROL_WATCH_FILES]; /* zeroed: not there */
};

static bool differs(const struct stat *a, const struct stat *b)
{
    return a->st_dev != b->st_dev || a->st_ino != b->st_ino || a->st_size != b->st_size || a->st_mode != b->st_mode ||
           a->st_mtim.tv_sec != b->st_mtim.tv_sec || a->st_mtim.tv_nsec != b->st_mtim.tv_nsec;
}

/* Whether anything is another than it was; what it is now is remembered. */
static bool compare(struct control_watch *watch)
{
    bool changed = false;
    for (size_t i = 0; i < watch->count; i++) {
        char path[PATH_MAX];
        struct stat now = {0};
        if (fl_file_path(watch->folder, watch->names[i], path, NULL) < 0 || stat(path, &now) != 0)
            now = (struct stat){0};
        changed = changed || differs(&now, &watch->seen[i]);
        watch->seen[i] = now;
    }
    return changed;
}

static void on_settled(struct fl_timer *timer)
{
    struct control_watch *watch = FL_CONTAINER_OF(timer, struct control_watch, settle);
    if (compare(watch))
        watch->on_change(watch->owner);
}

/* The timer is not moved by further events: a folder that is never quiet must not put it off for ever. */
static void on_event(struct fl_source *source, uint32_t events)
{
    (void)events;
    struct control_watch *watch = FL_CONTAINER_OF(source, struct control_watch, source);
    char drained[4096];
    while (read(source->fd, drained, sizeof(drained)) > 0) {
    }
    if (!fl_timer_is_set(&watch->settle))
        fl_timer_set(watch->loop, &watch->settle, CONTROL_WATCH_SETTLE_MS, on_settled);
}

static int open_watch(struct control_watch *watch)
{
    if (watch->fd < 0) {
        watch->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
        if (watch->fd < 0)
            return -errno;
        int result = fl_source_add(watch->loop, &watch->source, watch->fd, EPOLLIN, on_event);
        if (result < 0)
            return result;
    }
    if (!watch->added && inotify_add_watch(watch->fd, watch->folder, EVENTS) < 0)
        return errno == ENOENT ? 0 : -errno;
    watch->added = true;
    return 0;
}

int control_watch_new(struct fl_loop *loop, const char *folder, const char *const *names, size_t count,
                      void (*on_change)(void *owner), void *owner, struct control_watch **ret_watch)
{
    struct control_watch *watch = calloc(1, sizeof(*watch));
    if (watch == NULL)
        return -ENOMEM;
    *watch = (struct control_watch){.loop = loop,
                                    .folder = strdup(folder),
                                    .names = names,
                                    .count = count,
                                    .on_change = on_change,
                                    .owner = owner,
                                    .fd = -1};
    if (watch->folder == NULL) {
        free(watch);
        return -ENOMEM;
    }
    *ret_watch = watch;
    return 0;
}

struct control_watch *control_watch_free(struct control_watch *watch)
{
    if (watch == NULL)
        return NULL;
    fl_timer_cancel(&watch->settle);
    fl_source_remove(&watch->source);
    if (watch->fd >= 0)
        close(watch->fd);
    free(watch->folder);
    free(watch);
    return NULL;
}

int control_watch_look(struct control_watch *watch)
{
    int result = open_watch(watch);
    compare(watch);
    return result;
}

bool control_watch_any(const struct control_watch *watch)
{
    for (size_t i = 0; i < watch->count; i++) {
        if (watch->seen[i].st_ino != 0)
            return true;
    }
    return false;
}
