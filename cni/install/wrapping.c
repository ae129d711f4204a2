#include "cni/install/wrapping.h"

#include <errno.h>
#include <fcntl.h>

/* The list with ours in it. */
static int build(const struct cni_confdir_file *file, const char *name, const char *backend, struct fl_buf *out,
                 struct fl_err *err)
{
    FL_CLEANUP(fl_buf_done) struct fl_buf wrapped;
    bool changed;
    fl_buf_init(&wrapped, CNI_CONFLIST_BYTES_MAX);
    int result = cni_conflist_wrap(fl_buf_span(&file->text), name, &wrapped, err);
    return result != 0 ? result : cni_conflist_insert(fl_buf_span(&wrapped), backend, out, &changed, err);
}

/* Nothing that a runtime reads may sort between the two: it would count instead. */
static int check_order(const struct cni_confdir *confdir, const char *name, const char *list, struct fl_err *err)
{
    for (size_t i = 0; i < confdir->count; i++) {
        const char *other = confdir->names[i];
        if (strcmp(other, name) > 0 && strcmp(other, list) < 0) {
            fl_err_set(err, -EEXIST, "%s cannot become %s: %s would come before it", name, list, other);
            return CNI_CONFLIST_UNFIT;
        }
    }
    return 0;
}

/* 0: the list's place is free, or ours, made of this very file; *ret_same: with these very bytes. */
static int check_place(const struct cni_disk *disk, const char *list, const char *name, struct fl_span bytes,
                       bool *ret_same, bool *ret_free, struct fl_err *err)
{
    struct cni_confdir_file there = {0};
    struct cni_conflist_facts facts = {0};
    *ret_same = false;
    int result = cni_confdir_read(disk, list, &there, err);
    *ret_free = result == -ENOENT;
    if (result == -ENOENT)
        return 0;
    if (result < 0)
        return result;
    result = cni_conflist_read(fl_buf_span(&there.text), true, &facts, NULL);
    *ret_same = !there.symlink && fl_span_eq(fl_buf_span(&there.text), bytes);
    bool ours = !there.symlink && strcmp(facts.wrapped, name) == 0;
    cni_confdir_file_done(&there);
    if (result < 0)
        return fl_err_errno(err, result, "read %s/%s", disk->path, list);
    if (*ret_same || ours)
        return 0;
    fl_err_set(err, -EEXIST,
               "%s cannot become %s, which is there, of somebody else, and hidden by it: remove one of them", name,
               list);
    return CNI_CONFLIST_UNFIT;
}

/* Whether it is the very file that was wrapped: its owner may have put another one there at the last moment. */
static int check_backup(const struct cni_disk *disk, const char *backup, const char *name, struct fl_span wrapped,
                        struct fl_err *err)
{
    struct cni_confdir_file file = {0};
    int result = cni_confdir_read(disk, backup, &file, err);
    bool same = result == 0 && fl_span_eq(fl_buf_span(&file.text), wrapped);
    cni_confdir_file_done(&file);
    if (result < 0 || same)
        return result;
    result = cni_disk_move(disk, backup, name, err);
    /* one that is there again is newer still */
    return result < 0 && result != -EEXIST
               ? result
               : fl_err_set(err, -EAGAIN, "%s/%s: another writer is at it", disk->path, name);
}

int cni_wrapping_install(const struct cni_disk *disk, const struct cni_confdir *confdir, const char *name,
                         const struct cni_confdir_file *file, const char *backend, struct fl_err *err)
{
    FL_CLEANUP(fl_buf_done) struct fl_buf bytes;
    char list[NAME_MAX + 1], backup[NAME_MAX + 1];
    bool same = false, place_is_free = false;
    fl_buf_init(&bytes, CNI_CONFLIST_BYTES_MAX);
    if (!cni_confdir_wrapper_name(name, list) || !cni_confdir_backup_name(name, backup))
        return fl_err_set(err, -ENAMETOOLONG, "%s: the name is too long", name);
    int result = build(file, name, backend, &bytes, err);
    if (result == 0)
        result = check_order(confdir, name, list, err);
    if (result == 0)
        result = check_place(disk, list, name, fl_buf_span(&bytes), &same, &place_is_free, err);
    const mode_t mode = file->status.st_mode & 07777;
    if (result == 0 && !same)
        result = place_is_free ? cni_disk_create(disk, list, fl_buf_span(&bytes), mode, err)
                               : cni_disk_replace(disk, list, fl_buf_span(&bytes), mode, err);
    if (result == -EEXIST)
        return fl_err_set(err, -EAGAIN, "%s/%s: another writer is at it", disk->path, list);
    if (result == 0)
        result = cni_disk_rename(disk, name, backup, err);
    return result != 0 ? result : check_backup(disk, backup, name, fl_buf_span(&file->text), err);
}

static int bring_back(const struct cni_disk *disk, const char *name, const char *backup, struct fl_span bytes,
                      mode_t mode, struct fl_err *err)
{
    struct cni_confdir_file kept = {0};
    int result = cni_confdir_read(disk, backup, &kept, NULL);
    bool same = result == 0 && !kept.symlink && fl_span_eq(fl_buf_span(&kept.text), bytes);
    cni_confdir_file_done(&kept);
    if (result == -ENOMEM)
        return fl_err_errno(err, result, "read %s/%s", disk->path, backup);
    result = same ? cni_disk_move(disk, backup, name, err) : cni_disk_create(disk, name, bytes, mode, err);
    return result == -EEXIST ? 0 : result; /* its owner was faster */
}

int cni_wrapping_restore(const struct cni_disk *disk, const char *name, const struct cni_confdir_file *file,
                         const char *wrapped, struct fl_err *err)
{
    FL_CLEANUP(fl_buf_done) struct fl_buf without;
    char backup[NAME_MAX + 1];
    struct stat status;
    struct fl_span inner;
    bool changed;
    fl_buf_init(&without, CNI_CONFLIST_BYTES_MAX);
    if (!cni_confdir_backup_name(wrapped, backup))
        return fl_err_set(err, -ENAMETOOLONG, "%s: the name is too long", wrapped);
    int result = cni_conflist_remove(fl_buf_span(&file->text), &without, &changed, err);
    if (result == 0)
        result = cni_conflist_unwrap(fl_buf_span(&without), &inner, err);
    /* where its owner has put one there again, that one is newer */
    if (result == 0 && fstatat(disk->fd, wrapped, &status, AT_SYMLINK_NOFOLLOW) != 0)
        result = bring_back(disk, wrapped, backup, inner, file->status.st_mode & 07777, err);
    if (result == 0)
        result = cni_disk_remove(disk, name, err);
    return result != 0 ? result : cni_disk_remove(disk, backup, err);
}
