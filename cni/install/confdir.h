/* The runtime's folder of configurations: which of its files counts, read as the runtimes read it.
 *
 * containerd sorts the names that end in .conf, .conflist or .json by bytes and takes the first; where that one is
 * broken it takes none. CRI-O takes the first that it can read, or the first whose network has the name in
 * cni_default_network. Names that begin with a dot count as any.
 */
#ifndef CNI_INSTALL_CONFDIR_H
#define CNI_INSTALL_CONFDIR_H

#include "cni/install/conflist.h"
#include "cni/install/disk.h"

#define CNI_CONFDIR_FILES_MAX 256                /* with these suffixes */
#define CNI_CONFDIR_BACKUP    ".fairlead-backup" /* behind the name of a file that was wrapped; no runtime reads it */

struct cni_confdir {
    char (*names)[NAME_MAX + 1]; /* owned; sorted as runtimes sort */
    size_t count;
    bool cilium; /* Cilium renamed somebody's file here (*.cilium_bak) */
};

/* Whether a runtime reads a file of this name, and as a list. */
bool cni_confdir_is_read(const char *name);
bool cni_confdir_is_list(const char *name);

/* 0, -EMSGSIZE (more files than the limit), -ENOMEM, or what the system said. */
int cni_confdir_list(const struct cni_disk *disk, struct cni_confdir *ret_confdir, struct fl_err *err) FL_MUST_CHECK;
void cni_confdir_done(struct cni_confdir *confdir); /* also of a zeroed one */
bool cni_confdir_has(const struct cni_confdir *confdir, const char *name);

/* A file with what is needed to replace it. */
struct cni_confdir_file {
    struct fl_buf text; /* owned */
    struct stat status; /* mode and owner */
    bool symlink;       /* what was read is where it leads */
};

/* 0; -ENOENT; -EINVAL (no regular file), -EMSGSIZE (past CNI_CONFLIST_BYTES_MAX), -ENOMEM, or what the system said. */
int cni_confdir_read(const struct cni_disk *disk, const char *name, struct cni_confdir_file *ret_file,
                     struct fl_err *err) FL_MUST_CHECK;
void cni_confdir_file_done(struct cni_confdir_file *file); /* also of a zeroed one */

/* Appends what is in an open file, whatever it was when it was opened. 0, -EMSGSIZE, or what the system said. */
int cni_confdir_read_fd(int fd, struct fl_buf *out) FL_MUST_CHECK;

/* "10-x.conf" → "10-x.conflist". False: too long. */
bool cni_confdir_wrapper_name(const char *file, char name[NAME_MAX + 1]);
/* "10-x.conf" → "10-x.conf.fairlead-backup". False: too long. */
bool cni_confdir_backup_name(const char *file, char name[NAME_MAX + 1]);

#endif
