#include "cni/install/rewrite.h"

#include "common/base/siphash.h"

#include <errno.h>

#define ROUNDS_MAX 8 /* other writers that were faster, one after the other */

int cni_rewrite_insert(struct fl_span text, const char *backend, struct fl_buf *out, bool *ret_changed,
                       struct fl_err *err)
{
    return cni_conflist_insert(text, backend, out, ret_changed, err);
}

int cni_rewrite_remove(struct fl_span text, const char *backend, struct fl_buf *out, bool *ret_changed,
                       struct fl_err *err)
{
    (void)backend;
    return cni_conflist_remove(text, out, ret_changed, err);
}

struct rewrite {
    const struct cni_disk *disk;
    const char *name, *backend;
    const struct stat *like;
    cni_rewrite_edit *edit;
    struct fl_buf text;     /* that is edited: somebody's */
    struct fl_buf edited;   /* what comes of it */
    struct fl_buf standing; /* what should come out of the next exchange */
    struct cni_kept kept;
    bool written;
};

static void start(struct rewrite *rewrite)
{
    rewrite->kept = CNI_KEPT_NONE;
    fl_buf_init(&rewrite->text, CNI_CONFLIST_BYTES_MAX);
    fl_buf_init(&rewrite->edited, CNI_CONFLIST_BYTES_MAX);
    fl_buf_init(&rewrite->standing, CNI_CONFLIST_BYTES_MAX);
}

static void end(struct rewrite *rewrite)
{
    fl_buf_done(&rewrite->text);
    fl_buf_done(&rewrite->edited);
    fl_buf_done(&rewrite->standing);
}

static void swap(struct fl_buf *a, struct fl_buf *b)
{
    struct fl_buf other = *a;
    *a = *b;
    *b = other;
}

/* Puts `edited` in place. *ret_same: what came out is what stood there when it was read; else it is in `text` now. */
static int exchange(struct rewrite *rewrite, bool *ret_same, struct fl_err *err)
{
    struct cni_kept out = {.read = fl_siphash(fl_buf_span(&rewrite->standing)),
                           .written = fl_siphash(fl_buf_span(&rewrite->edited))};
    int result =
        cni_disk_exchange(rewrite->disk, rewrite->name, fl_buf_span(&rewrite->edited), rewrite->like, &out.fd, err);
    if (result < 0)
        return result;
    memcpy(out.name, rewrite->name, strlen(rewrite->name) + 1);
    rewrite->written = true;
    uint64_t used = fl_siphash(fl_buf_span(&rewrite->text));
    bool changed = false;
    fl_buf_clear(&rewrite->text);
    result = cni_kept_look(&out, &changed, &rewrite->text);
    if (result == 0 && !changed && rewrite->kept.fd >= 0) {
        /* our own of a moment ago; the other writer has the one before it */
        cni_kept_done(&out);
        rewrite->kept.read = used;
        rewrite->kept.written = out.written;
    } else {
        cni_kept_done(&rewrite->kept);
        rewrite->kept = out;
    }
    swap(&rewrite->standing, &rewrite->edited);
    *ret_same = !changed;
    return result == 0 ? 0 : fl_err_errno(err, result, "read what was in %s/%s", rewrite->disk->path, rewrite->name);
}

static int run(struct rewrite *rewrite, bool forced, struct fl_err *err)
{
    for (int round = 0; round < ROUNDS_MAX; round++) {
        bool changed, same;
        fl_buf_clear(&rewrite->edited);
        int result = rewrite->edit(fl_buf_span(&rewrite->text), rewrite->backend, &rewrite->edited, &changed, err);
        /* what came out of an exchange must stand there again, also where nothing is to be edited in it */
        if (result != 0 || (!changed && !forced))
            return result;
        result = exchange(rewrite, &same, err);
        if (result != 0 || same)
            return result;
        forced = true;
    }
    return fl_err_set(err, -EAGAIN, "%s/%s: another writer is at it", rewrite->disk->path, rewrite->name);
}

int cni_rewrite(const struct cni_disk *disk, const char *name, const struct cni_confdir_file *file,
                cni_rewrite_edit *edit, const char *backend, struct cni_kept *ret_kept, bool *ret_written,
                struct fl_err *err)
{
    struct rewrite rewrite = {.disk = disk, .name = name, .backend = backend, .like = &file->status, .edit = edit};
    start(&rewrite);
    int result = fl_buf_append(&rewrite.text, fl_buf_span(&file->text));
    if (result == 0)
        result = fl_buf_append(&rewrite.standing, fl_buf_span(&file->text));
    result = result < 0 ? fl_err_errno(err, result, "edit %s/%s", disk->path, name) : run(&rewrite, false, err);
    end(&rewrite);
    *ret_kept = rewrite.kept;
    *ret_written = rewrite.written;
    return result;
}

/* Whether what stands under the name is still what we wrote there. */
static int check_standing(const struct cni_disk *disk, const struct cni_kept *kept, struct cni_confdir_file *file,
                          struct fl_err *err)
{
    int result = cni_confdir_read(disk, kept->name, file, err);
    if (result < 0)
        return result;
    if (file->symlink || fl_siphash(fl_buf_span(&file->text)) != kept->written)
        return fl_err_set(err, -ESTALE, "%s/%s is newer", disk->path, kept->name);
    return 0;
}

int cni_rewrite_rescue(const struct cni_disk *disk, struct cni_kept *kept, const char *backend, bool *ret_rescued,
                       struct fl_err *err)
{
    char name[NAME_MAX + 1];
    struct cni_confdir_file file = {0};
    struct rewrite rewrite = {.disk = disk, .name = name, .backend = backend, .edit = cni_rewrite_insert};
    bool changed = false;
    memcpy(name, kept->name, sizeof(name));
    start(&rewrite);
    rewrite.kept = *kept;
    int result = cni_kept_look(kept, &changed, &rewrite.text);
    if (result < 0)
        fl_err_errno(err, result, "read what was replaced of %s/%s", disk->path, kept->name);
    if (result == 0 && changed)
        result = check_standing(disk, kept, &file, err);
    if (result == 0 && changed) {
        rewrite.like = &file.status;
        result = fl_buf_append(&rewrite.standing, fl_buf_span(&file.text));
    }
    if (result == 0 && changed)
        result = run(&rewrite, true, err);
    end(&rewrite);
    cni_confdir_file_done(&file);
    *kept = rewrite.kept;
    *ret_rescued = rewrite.written;
    return result;
}

/* Ours was taken from `text`: whether these very bytes come out. */
static bool comes_of(struct fl_span text, struct fl_span bytes, bool *ret_named)
{
    FL_CLEANUP(fl_buf_done) struct fl_buf without;
    bool changed = false;
    fl_buf_init(&without, CNI_CONFLIST_BYTES_MAX);
    int result = cni_conflist_remove(text, &without, &changed, NULL);
    *ret_named = result == 0 && changed;
    return *ret_named && fl_span_eq(fl_buf_span(&without), bytes);
}

/* Whether it is somebody's list without ours in it, and the one that stands has ours, and was made of another one. */
static bool is_lost(struct fl_span left, struct fl_span standing)
{
    FL_CLEANUP(fl_buf_done) struct fl_buf unused;
    bool named = false, changed = false;
    fl_buf_init(&unused, CNI_CONFLIST_BYTES_MAX);
    if (comes_of(standing, left, &named) || !named)
        return false;
    return cni_conflist_remove(left, &unused, &changed, NULL) == 0 && !changed;
}

static void recover(const struct cni_disk *disk, const char *name, const char *backend, bool *recovered)
{
    FL_CLEANUP(fl_buf_done) struct fl_buf left;
    FL_CLEANUP(cni_confdir_file_done) struct cni_confdir_file standing = {0};
    FL_CLEANUP(cni_kept_done) struct cni_kept kept = {.fd = cni_disk_leftover(disk, name)};
    fl_buf_init(&left, CNI_CONFLIST_BYTES_MAX);
    bool written = false;
    if (kept.fd < 0 || cni_confdir_read_fd(kept.fd, &left) < 0 || cni_confdir_read(disk, name, &standing, NULL) < 0 ||
        standing.symlink || !is_lost(fl_buf_span(&left), fl_buf_span(&standing.text)))
        return;
    memcpy(kept.name, name, strlen(name) + 1); /* as confdir has it */
    kept.written = fl_siphash(fl_buf_span(&standing.text));
    kept.read = ~fl_siphash(fl_buf_span(&left)); /* another one: it is to be put in place */
    int result = cni_rewrite_rescue(disk, &kept, backend, &written, NULL);
    *recovered |= result == 0 && written;
}

void cni_rewrite_clear(const struct cni_disk *disk, const char *backend, bool *ret_recovered)
{
    struct cni_confdir confdir = {0};
    *ret_recovered = false;
    if (cni_confdir_list(disk, &confdir, NULL) == 0) {
        for (size_t i = 0; i < confdir.count; i++)
            if (cni_confdir_is_list(confdir.names[i]))
                recover(disk, confdir.names[i], backend, ret_recovered);
    }
    cni_confdir_done(&confdir);
    int swept = cni_disk_sweep(disk, NULL);
    (void)swept;
}
