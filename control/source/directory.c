/* The shell around documents.c and claims.c: inotify says that something happened, a scan of the folder says what. An
 * event is only a reason to look: so renames, link swaps and lost events (queue overflow) all come right the same way.
 */
#include "control/source/directory.h"

#include "common/base/log.h"
#include "common/loop/timer.h"
#include "control/source/claims.h"
#include "control/source/scan.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <time.h>

#define WATCHED                                                                                                        \
    (IN_CLOSE_WRITE | IN_MODIFY | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE | IN_DELETE_SELF |               \
     IN_MOVE_SELF | IN_ATTRIB | IN_ONLYDIR)
#define TRUNCATED  "there are more levels of folders than the limit allows; what is deeper is left out"
#define RETRY_MS   1000
#define TRIM_FILES 16 /* read in a round, from which on freed memory goes back to the kernel */

struct tracked {
    struct control_file file;
    struct control_scan_file seen;
    const struct control_scan_file *now; /* during a round: what the scan found; NULL: it is gone */
    bool made;                           /* in this round */
    bool fresh; /* modified so shortly before it was read that its next change may show the same time */
};

struct control_directory {
    struct fl_loop *loop;
    struct control_store *store;
    control_directory_commit_fn *on_commit;
    void *context;
    char *path;
    struct fl_source source; /* inotify */
    int parent;              /* watch of the folder that holds it; -1: none */
    struct fl_timer settle, retry;
    uint64_t dirty_since_ms; /* 0: clean */
    struct tracked **files;  /* by path */
    size_t count;
    struct control_claims claims;
    struct control_directory_stats stats;
    bool failing; /* the last round did not work */
    bool untold;  /* the store has what was not committed, or the claims were not told */
    bool told_truncated;
    bool told_unwatched; /* the log has it that a folder cannot be watched */
};

/* -- one file --------------------------------------------------------------------------------------------------------
 */

static struct tracked *tracked_free(struct tracked *tracked)
{
    if (tracked == NULL)
        return NULL;
    control_documents_done(&tracked->file.documents);
    control_documents_done(&tracked->file.before);
    free(tracked->file.path);
    free(tracked);
    return NULL;
}

static struct tracked *tracked_new(const char *path)
{
    struct tracked *tracked = calloc(1, sizeof(*tracked));
    if (tracked != NULL)
        tracked->file.path = strdup(path);
    return tracked != NULL && tracked->file.path == NULL ? tracked_free(tracked) : tracked;
}

static int load(const struct control_directory *directory, const char *relative, struct fl_buf *text)
{
    char path[PATH_MAX];
    struct stat info;
    int length = snprintf(path, sizeof(path), "%s/%s", directory->path, relative);
    if (length < 0 || (size_t)length >= sizeof(path))
        return -ENAMETOOLONG;
    FL_CLEANUP(fl_cleanup_close) int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &info) < 0)
        return -errno;
    return S_ISREG(info.st_mode) ? fl_buf_read_fd(text, fd) : -EINVAL;
}

static int fail_documents(const char *path, int error, struct control_documents *ret_documents)
{
    struct fl_err err = {0};
    if (error == -EMSGSIZE)
        fl_err_set(&err, error, "%s: larger than %u bytes", path, CONTROL_DIRECTORY_FILE_BYTES);
    else
        fl_err_errno(&err, error, "%s: read", path);
    return control_documents_fail(err.text, ret_documents);
}

static int read_documents(struct control_directory *directory, const char *path, struct control_documents *documents)
{
    struct fl_buf text;
    fl_buf_init(&text, CONTROL_DIRECTORY_FILE_BYTES);
    int result = load(directory, path, &text);
    bool starting = directory->stats.commits == 0 && result != -ENOENT;
    if (result == -ENOMEM || (result < 0 && starting))
        ; /* at the start there is no version before: a policy may be in it, and would be left out */
    else if (result < 0)
        result = fail_documents(path, result, documents);
    else
        result = control_documents_read(fl_buf_span(&text), path,
                                        control_model_root(control_store_model(directory->store)), documents);
    fl_buf_done(&text);
    return result;
}

/* New documents in the place of the old ones; what the claims know of it stays in `before` until they are told. */
static void exchange(struct control_file *file, struct control_documents *documents)
{
    struct control_documents old = file->documents;
    file->documents = *documents;
    *documents = (struct control_documents){0};
    if (file->changed) {
        control_documents_done(&old); /* the claims never heard of these */
        return;
    }
    file->before = old;
    file->changed = true;
}

static bool is_fresh(const struct timespec *modified)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    int64_t age_ms = (now.tv_sec - modified->tv_sec) * 1000 + (now.tv_nsec - modified->tv_nsec) / 1000000;
    return age_ms < CONTROL_DIRECTORY_SETTLE_MS;
}

static int read_again(struct control_directory *directory, struct tracked *tracked,
                      const struct control_scan_file *seen)
{
    struct control_documents documents = {0};
    bool fresh = is_fresh(&seen->modified);
    int result = read_documents(directory, tracked->file.path, &documents);
    if (result == 0)
        result = control_documents_keep(&tracked->file.documents, &documents);
    if (result < 0) {
        control_documents_done(&documents);
        return result;
    }
    exchange(&tracked->file, &documents);
    tracked->seen = *seen;
    tracked->seen.path = NULL;
    tracked->fresh = fresh;
    directory->stats.reads++;
    return 0;
}

/* -- a round ---------------------------------------------------------------------------------------------------------
 */

static void watch(void *context, const char *path)
{
    struct control_directory *directory = context;
    /* Best effort: without it (the kernel's limit) changes of this folder are seen when others are. */
    if (inotify_add_watch(directory->source.fd, path, WATCHED) >= 0 || errno == ENOENT || errno == ENOTDIR)
        return; /* gone: that is an event of the folder above */
    int error = errno;
    directory->stats.failures++;
    if (!directory->told_unwatched)
        fl_log(FL_LOG_ERROR, "a folder cannot be watched: its changes are seen with others alone",
               FL_LOG_STR("folder", path), FL_LOG_STR("error", strerror(error)));
    directory->told_unwatched = true;
}

/* Both lists are sorted by path: one list of what is known and what is there, each known file with `now`. */
static int match(struct control_directory *directory, struct control_scan *scan)
{
    struct tracked **files = calloc(directory->count + scan->count + 1, sizeof(struct tracked *));
    size_t old = 0, new = 0, count = 0;
    if (files == NULL)
        return -ENOMEM;
    while (old < directory->count || new < scan->count) {
        int order = old == directory->count ? 1
                    : new == scan->count    ? -1
                                            : strcmp(directory->files[old]->file.path, scan->files[new].path);
        struct tracked *tracked = order <= 0 ? directory->files[old++] : tracked_new(scan->files[new].path);
        if (tracked == NULL)
            break;
        tracked->made = order > 0;
        tracked->now = order >= 0 ? &scan->files[new ++] : NULL;
        files[count++] = tracked;
    }
    bool whole = old == directory->count && new == scan->count;
    for (size_t i = 0; i < count && !whole; i++)
        if (files[i]->made)
            tracked_free(files[i]);
    if (!whole) {
        free(files);
        return -ENOMEM;
    }
    free(directory->files);
    directory->files = files;
    directory->count = count;
    return 0;
}

static int bring_up(struct control_directory *directory, struct tracked *tracked)
{
    struct control_documents none = {0};
    if (tracked->now == NULL) {
        bool empty = tracked->file.documents.object_count == 0 && tracked->file.documents.problem_count == 0;
        if (!empty)
            exchange(&tracked->file, &none);
        tracked->seen = (struct control_scan_file){0};
        return 0;
    }
    if (!tracked->made && !tracked->fresh && control_scan_same(&tracked->seen, tracked->now))
        return 0;
    return read_again(directory, tracked, tracked->now);
}

/* After the claims know it: files that are gone are forgotten. */
static void forget_gone(struct control_directory *directory)
{
    size_t kept = 0;
    for (size_t i = 0; i < directory->count; i++) {
        if (directory->files[i]->now != NULL)
            directory->files[kept++] = directory->files[i];
        else
            tracked_free(directory->files[i]);
    }
    directory->count = kept;
}

static bool any_changed(const struct control_directory *directory)
{
    for (size_t i = 0; i < directory->count; i++)
        if (directory->files[i]->file.changed)
            return true;
    return false;
}

/* Tells claims, store and problems; the array of files as claims.h wants it. */
static int tell(struct control_directory *directory)
{
    struct control_problems *problems = NULL;
    FL_CLEANUP(fl_cleanup_free) struct control_file **files = calloc(directory->count + 1, sizeof(*files));
    if (files == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < directory->count; i++)
        files[i] = &directory->files[i]->file;
    int result = control_claims_update(&directory->claims, files, directory->count, directory->store);
    if (result == 0)
        result = control_claims_problems(&directory->claims, files, directory->count,
                                         directory->stats.truncated ? TRUNCATED : NULL, CONTROL_DIRECTORY_PROBLEMS_MAX,
                                         &problems);
    if (result < 0)
        return result;
    directory->stats.problems = problems != NULL ? problems->count : 0;
    control_store_set_problems(directory->store, problems);
    control_problems_unref(problems);
    return 0;
}

static int commit(struct control_directory *directory, bool announce)
{
    struct control_diff *diff = NULL;
    int result = control_store_commit(directory->store, &diff);
    if (result < 0)
        return result;
    directory->stats.commits++;
    if (announce && diff->before != diff->after && directory->on_commit != NULL)
        directory->on_commit(directory->context, diff);
    control_diff_free(diff);
    return 0;
}

/* Half of a folder is another world than the folder (a policy may be in the other half): it is not taken at all. */
static int check_size(const struct control_directory *directory, const struct control_scan *scan, struct fl_err *err)
{
    uint64_t total = 0;
    for (size_t i = 0; i < scan->count; i++)
        total += (uint64_t)scan->files[i].size;
    if (scan->too_many)
        return fl_err_set(err, -E2BIG, "folder %s: more than %u files", directory->path, CONTROL_DIRECTORY_FILES_MAX);
    if (total > CONTROL_DIRECTORY_BYTES_MAX)
        return fl_err_set(err, -E2BIG, "folder %s: more than %u bytes", directory->path, CONTROL_DIRECTORY_BYTES_MAX);
    return 0;
}

static int read_scan(struct control_directory *directory, struct control_scan *scan, struct fl_err *err)
{
    directory->stats.truncated = scan->truncated;
    int result = match(directory, scan);
    if (result < 0)
        return fl_err_errno(err, result, "folder %s", directory->path);
    for (size_t i = 0; i < directory->count; i++) {
        result = bring_up(directory, directory->files[i]);
        if (result == -EMSGSIZE)
            return fl_err_set(err, result, "%s/%s: larger than %u bytes", directory->path,
                              directory->files[i]->file.path, CONTROL_DIRECTORY_FILE_BYTES);
        if (result < 0)
            return fl_err_errno(err, result, "%s/%s: read", directory->path, directory->files[i]->file.path);
    }
    return 0;
}

static int round_of(struct control_directory *directory, bool announce, struct fl_err *err)
{
    static const struct control_scan_limits limits = {CONTROL_DIRECTORY_FILES_MAX, CONTROL_DIRECTORY_DEPTH_MAX};
    struct control_scan scan = {0};
    uint64_t reads = directory->stats.reads;
    int result = control_scan_folder(directory->path, &limits, watch, directory, &scan, err);
    if (result < 0)
        return result;
    result = check_size(directory, &scan, err);
    if (result < 0) {
        control_scan_done(&scan);
        return result;
    }
    result = read_scan(directory, &scan, err);
    bool read = result == 0;
    if (result == 0 && (any_changed(directory) || directory->stats.commits == 0 || directory->untold ||
                        directory->stats.truncated != directory->told_truncated)) {
        directory->untold = true;
        result = tell(directory);
    }
    if (result == 0)
        forget_gone(directory);
    for (size_t i = 0; i < directory->count; i++)
        directory->files[i]->now = NULL;
    control_scan_done(&scan);
    directory->stats.files = directory->count;
    directory->stats.objects = directory->claims.count; /* who is told of the commit asks for these */
    if (result == 0 && directory->untold)
        result = commit(directory, announce);
    if (result < 0)
        return read ? fl_err_errno(err, result, "folder %s", directory->path) : result;
    directory->untold = false;
    directory->told_truncated = directory->stats.truncated;
    if (directory->stats.reads - reads > TRIM_FILES)
        malloc_trim(0); /* parsed documents were much larger than what stays */
    return 0;
}

/* -- following -------------------------------------------------------------------------------------------------------
 */

static void on_retry(struct fl_timer *timer);

/* Once where it begins to fail, once where it is well again. */
static void tell_state(struct control_directory *directory, bool well, const char *error)
{
    if (well == !directory->failing)
        return;
    directory->failing = !well;
    if (well)
        fl_log_message(FL_LOG_INFO, "the folder is followed again");
    else
        fl_log(FL_LOG_ERROR, "the folder cannot be followed: what is in force stays", FL_LOG_STR("error", error));
}

static void on_due(struct control_directory *directory)
{
    bool fresh = false;
    struct fl_err err = {0};
    directory->dirty_since_ms = 0;
    int result = round_of(directory, true, &err);
    tell_state(directory, result == 0, err.text);
    if (result < 0) {
        directory->stats.failures++;
        fl_timer_set(directory->loop, &directory->retry, RETRY_MS, on_retry);
        return;
    }
    for (size_t i = 0; i < directory->count; i++)
        fresh |= directory->files[i]->fresh;
    if (fresh) /* look once more when its time can no longer hide a change */
        fl_timer_set(directory->loop, &directory->retry, 2 * CONTROL_DIRECTORY_SETTLE_MS, on_retry);
}

static void on_settle(struct fl_timer *timer)
{
    on_due(FL_CONTAINER_OF(timer, struct control_directory, settle));
}

static void on_retry(struct fl_timer *timer)
{
    on_due(FL_CONTAINER_OF(timer, struct control_directory, retry));
}

/* Something happened: look once it is quiet, or has not been quiet for long. */
static void touch(struct control_directory *directory)
{
    uint64_t now = fl_loop_now_ms(directory->loop), wait = CONTROL_DIRECTORY_SETTLE_MS;
    if (directory->dirty_since_ms == 0)
        directory->dirty_since_ms = now;
    uint64_t latest = directory->dirty_since_ms + CONTROL_DIRECTORY_SETTLE_MAX_MS;
    if (now + wait > latest)
        wait = latest > now ? latest - now : 0;
    fl_timer_set(directory->loop, &directory->settle, wait, on_settle);
}

static bool is_hidden(const struct inotify_event *event)
{
    /* "..data" of a mounted volume is what its swap renames */
    return event->len > 0 && event->name[0] == '.' && strncmp(event->name, "..", 2) != 0;
}

/* Of the folder's parent only the folder itself is of interest: that it came, or was swapped. */
static bool is_of_interest(const struct control_directory *directory, const struct inotify_event *event)
{
    const char *slash = strrchr(directory->path, '/');
    if (event->wd != directory->parent || (event->mask & (IN_Q_OVERFLOW | IN_IGNORED)) != 0)
        return !is_hidden(event);
    return event->len > 0 && strcmp(event->name, slash != NULL ? slash + 1 : directory->path) == 0;
}

static void on_inotify(struct fl_source *source, uint32_t events)
{
    struct control_directory *directory = FL_CONTAINER_OF(source, struct control_directory, source);
    _Alignas(struct inotify_event) char room[16384];
    bool interesting = false;
    (void)events;
    for (ssize_t len = read(source->fd, room, sizeof(room)); len > 0; len = read(source->fd, room, sizeof(room)))
        for (char *at = room; at < room + len;) {
            const struct inotify_event *event = (const struct inotify_event *)(const void *)at;
            interesting |= is_of_interest(directory, event);
            at += sizeof(*event) + event->len;
        }
    if (interesting)
        touch(directory);
}

/* -- life ------------------------------------------------------------------------------------------------------------
 */

static char *without_slashes(const char *path)
{
    size_t len = strlen(path);
    while (len > 1 && path[len - 1] == '/')
        len--;
    return strndup(path, len);
}

static int start_watch(struct control_directory *directory, struct fl_err *err)
{
    int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (fd < 0)
        return fl_err_errno(err, -errno, "inotify");
    int result = fl_source_add(directory->loop, &directory->source, fd, EPOLLIN, on_inotify);
    if (result < 0) {
        close(fd);
        return fl_err_errno(err, result, "inotify");
    }
    char parent[PATH_MAX];
    const char *slash = strrchr(directory->path, '/');
    int length = slash == NULL ? snprintf(parent, sizeof(parent), ".")
                 : slash == directory->path
                     ? snprintf(parent, sizeof(parent), "/")
                     : snprintf(parent, sizeof(parent), "%.*s", (int)(slash - directory->path), directory->path);
    if (length > 0 && (size_t)length < sizeof(parent))
        directory->parent = inotify_add_watch(fd, parent, IN_MOVED_TO | IN_CREATE | IN_ONLYDIR);
    return 0;
}

int control_directory_open(struct fl_loop *loop, struct control_store *store, const char *path,
                           control_directory_commit_fn *on_commit, void *context,
                           struct control_directory **ret_directory, struct fl_err *err)
{
    struct control_directory *directory = calloc(1, sizeof(*directory));
    if (directory == NULL)
        return fl_err_errno(err, -ENOMEM, "folder %s", path);
    directory->loop = loop;
    directory->store = store;
    directory->on_commit = on_commit;
    directory->context = context;
    directory->source.fd = -1;
    directory->parent = -1;
    directory->path = without_slashes(path);
    int result = directory->path != NULL ? start_watch(directory, err) : fl_err_errno(err, -ENOMEM, "folder %s", path);
    if (result == 0)
        result = round_of(directory, false, err);
    if (result < 0) {
        control_directory_close(directory);
        return result;
    }
    touch(directory); /* once more: what changed before its folder was watched */
    *ret_directory = directory;
    return 0;
}

struct control_directory *control_directory_close(struct control_directory *directory)
{
    if (directory == NULL)
        return NULL;
    fl_timer_cancel(&directory->settle);
    fl_timer_cancel(&directory->retry);
    int fd = directory->source.fd;
    fl_source_remove(&directory->source);
    if (fd >= 0)
        close(fd);
    control_claims_done(&directory->claims);
    for (size_t i = 0; i < directory->count; i++)
        tracked_free(directory->files[i]);
    free(directory->files);
    free(directory->path);
    free(directory);
    return NULL;
}

struct control_directory_stats control_directory_stats(const struct control_directory *directory)
{
    return directory->stats;
}
