/* Which installer owns the node: the one that came last. (In a rolling update the old agent may still be ending while
 * the new one installs; of the two, the old one must not put its version back.)
 *
 * A file in the plugin's folder names the owner, who holds a lock on that very file as long as it lives. Who finds
 * another name there stands by, and takes over once that lock is free: its holder is dead. After a reboot nobody holds
 * one. An uninstaller leaves a mark that agents which still run do not undo.
 */
#ifndef CNI_INSTALL_OWNER_H
#define CNI_INSTALL_OWNER_H

#include "cni/install/disk.h"

#define CNI_OWNER_FILE "owner" /* in CNI_PAYLOAD_FOLDER of the folder of plugins */

enum cni_owner_kind { CNI_OWNER_AGENT, CNI_OWNER_UNINSTALL };

enum cni_owner_outcome {
    CNI_OWNER_OTHER = 1,       /* another one owns the node, and lives */
    CNI_OWNER_DEAD = 2,        /* another one did, or nobody does: it may be taken */
    CNI_OWNER_UNINSTALLED = 3, /* an uninstaller came behind us */
};

struct cni_owner {
    int fd;     /* owned; holds the lock. -1: none */
    bool taken; /* it was the owner once */
    char id[33];
};

#define CNI_OWNER_NOBODY ((struct cni_owner){.fd = -1})

/* Becomes the owner, whoever was. `owner` is CNI_OWNER_NOBODY or one that was before. 0, or a negative errno. */
int cni_owner_take(const char *bin_dir, enum cni_owner_kind kind, struct cni_owner *owner,
                   struct fl_err *err) FL_MUST_CHECK;
/* Whether it still is: 0, an outcome, or a negative errno. */
int cni_owner_check(const char *bin_dir, const struct cni_owner *owner, struct fl_err *err) FL_MUST_CHECK;
/* The file goes, so that the folder can. 0 also where there is none. */
int cni_owner_remove(const char *bin_dir, struct fl_err *err) FL_MUST_CHECK;
void cni_owner_done(struct cni_owner *owner); /* lets go; the file stays */

#endif
