#include "common/base/reread.h"

#include <errno.h>
#include <fcntl.h>
#include <time.h>

#define YOUNG_SECONDS 2 /* coarser than the time stamps of any file system that holds configuration */

void fl_reread_init(struct fl_reread *file, const char *path, size_t max)
{
    *file = (struct fl_reread){.path = path};
    fl_buf_init(&file->text, max);
}

void fl_reread_done(struct fl_reread *file)
{
    fl_buf_wipe(&file->text); /* it may be a key */
}

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
           a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

static int take_text(struct fl_reread *file, struct fl_buf *text)
{
    if (file->text.data != NULL && fl_span_eq(fl_buf_span(text), fl_buf_span(&file->text)))
        return 0;
    struct fl_buf old = file->text;
    file->text = *text;
    *text = old;
    return 1;
}

int fl_reread_look(struct fl_reread *file, bool force, struct fl_err *err)
{
    struct stat now;
    if (file->path == NULL)
        return 0;
    if (stat(file->path, &now) < 0)
        return fl_err_errno(err, -errno, "%s", file->path);
    if (!S_ISREG(now.st_mode)) /* opening a pipe would wait for its writer */
        return fl_err_set(err, -EINVAL, "%s: is not a regular file", file->path);
    if (!force && !file->young && same_file(&now, &file->seen))
        return 0;
    struct fl_buf text;
    fl_buf_init(&text, file->text.max);
    int result = fl_buf_read_file(&text, file->path);
    if (result == 0 && fl_buf_str(&text) == NULL) /* an empty file has data, too: it was read */
        result = -ENOMEM;
    if (result < 0) {
        fl_err_errno(err, result, "%s", file->path);
    } else if (text.len == 0 && file->text.len > 0) {
        result = fl_err_set(err, -EINVAL, "%s: is empty; it is being written, or lost", file->path);
    } else {
        file->seen = now;
        file->young = time(NULL) - now.st_mtim.tv_sec < YOUNG_SECONDS;
        result = take_text(file, &text);
    }
    fl_buf_wipe(&text);
    return result;
}
