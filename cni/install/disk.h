/* Every write to the host, so that what lies there is the old or the new at each moment: also after a crash, a full
 * disk or a power cut in the middle of any step.
 *
 * A file is written under a temporary name in its own folder, synced, renamed, and the folder is synced: once a
 * function here returned 0, its work outlives the power. The temporary name, ".fairlead.<name>.tmp", ends in nothing
 * that a runtime reads (.conf, .conflist, .json), and there is one a file, so that crashes cannot pile them up; the
 * next writer, or cni_disk_sweep, removes it. On failure the temporary file is removed and the old file is untouched.
 *
 * Who writes holds the folder's lock (cni_disk_lock): flock on the folder itself, so nothing is left behind and
 * containers that mount the same folder see each other.
 *
 * Errors are negative errnos; the text names the path and, where a person can do something, what.
 */
#ifndef CNI_INSTALL_DISK_H
#define CNI_INSTALL_DISK_H

#include "common/base/buf.h"
#include "common/base/err.h"

#include <limits.h>
#include <sys/stat.h>
#include <sys/types.h>

enum cni_disk_outcome {
    CNI_DISK_BUSY = 1,    /* somebody else holds the lock */
    CNI_DISK_DIFFERS = 2, /* not that file, or none */
};

/* A folder, open. `fd` ends with cni_disk_close (which takes a zeroed or closed one as well). */
struct cni_disk {
    int fd; /* -1: not open; see CNI_DISK_CLOSED */
    char path[PATH_MAX];
};

#define CNI_DISK_CLOSED ((struct cni_disk){.fd = -1})

/* Opens an existing folder: 0, -ENOENT, -ENOTDIR, -EACCES… */
int cni_disk_open(const char *path, struct cni_disk *ret_disk, struct fl_err *err) FL_MUST_CHECK;
/* Opens the folder `name` in `parent`, made (mode 0755, synced) where it is not there yet. */
int cni_disk_enter(const struct cni_disk *parent, const char *name, struct cni_disk *ret_disk,
                   struct fl_err *err) FL_MUST_CHECK;
/* For FL_CLEANUP. Lets go of the lock too. */
void cni_disk_close(struct cni_disk *disk);

/* Takes the folder's lock, waiting for at most `wait_ms`: 0, CNI_DISK_BUSY, or a negative errno. It ends with
 * cni_disk_close or the process. */
int cni_disk_lock(const struct cni_disk *disk, unsigned wait_ms, struct fl_err *err) FL_MUST_CHECK;

/* Reads a regular file, in addition to what is in `out`. ret_mode (may be NULL) gets its permissions. -ENOENT where
 * there is none; -EINVAL for what is no regular file, -EMSGSIZE past out's maximum. Symlinks are followed. */
int cni_disk_read(const struct cni_disk *disk, const char *name, struct fl_buf *out, mode_t *ret_mode,
                  struct fl_err *err) FL_MUST_CHECK;

/* Whether `name` is a regular file with these bytes and this mode: 0, CNI_DISK_DIFFERS (nothing goes into err), or what
 * the system said. A symlink differs. */
int cni_disk_compare(const struct cni_disk *disk, const char *name, struct fl_span bytes, mode_t mode,
                     struct fl_err *err) FL_MUST_CHECK;

/* Puts a file with these bytes and this mode (whatever the umask is) in the place of `name`, or makes it. A symlink
 * of that name is replaced, not followed. `name` has at most 240 bytes and no slash. */
int cni_disk_replace(const struct cni_disk *disk, const char *name, struct fl_span bytes, mode_t mode,
                     struct fl_err *err) FL_MUST_CHECK;

/* As cni_disk_replace, for several who do so at once, without the folder's lock: nobody sees the file without the
 * caller's lock (flock) on it, and another one's sweep, or turn at the same name, is waited out. *ret_fd: owned, holds
 * the lock; -1: the file system has none. */
int cni_disk_replace_locked(const struct cni_disk *disk, const char *name, struct fl_span bytes, mode_t mode,
                            int *ret_fd, struct fl_err *err) FL_MUST_CHECK;

/* As cni_disk_replace where nothing has that name: -EEXIST. */
int cni_disk_create(const struct cni_disk *disk, const char *name, struct fl_span bytes, mode_t mode,
                    struct fl_err *err) FL_MUST_CHECK;

/* As cni_disk_replace for a file of somebody else's that is there: mode and owner are `like`'s, and what stood under
 * the name up to this very moment is handed out, open for reading, so that nothing is lost that another writer put
 * there meanwhile. -ENOENT: it is gone, -ELOOP, -EINVAL: it is no file any more; nothing was written. (A file system
 * that cannot exchange two names: the file is opened before, and replaced.) */
int cni_disk_exchange(const struct cni_disk *disk, const char *name, struct fl_span bytes, const struct stat *like,
                      int *ret_old, struct fl_err *err) FL_MUST_CHECK;

/* What a writer of `name` that was killed left under the temporary name: a descriptor of a regular file, owned by the
 * caller, or a negative errno (-ENOENT: nothing). It is what that one was about to put in place, or what had stood
 * there. */
int cni_disk_leftover(const struct cni_disk *disk, const char *name) FL_MUST_CHECK;

/* Gives a file another name in its folder, in one step and for good; what had that name is replaced. */
int cni_disk_rename(const struct cni_disk *disk, const char *from, const char *to, struct fl_err *err) FL_MUST_CHECK;

/* The same where nothing has that name: -EEXIST. */
int cni_disk_move(const struct cni_disk *disk, const char *from, const char *to, struct fl_err *err) FL_MUST_CHECK;

/* Removes a file. 0 also where there is none. */
int cni_disk_remove(const struct cni_disk *disk, const char *name, struct fl_err *err) FL_MUST_CHECK;

/* Removes a folder and what is in it (at most 8 folders deep). It loses its name first, in one step. 0 also where there
 * is none. */
int cni_disk_remove_folder(const struct cni_disk *disk, const char *name, struct fl_err *err) FL_MUST_CHECK;

/* Removes temporary files and folders that a writer left when it was killed. Under the lock. */
int cni_disk_sweep(const struct cni_disk *disk, struct fl_err *err) FL_MUST_CHECK;

#endif
