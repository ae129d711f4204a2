/* A file that was replaced, kept open: who had it open before may still write into it, and would write for nobody.
 * (Calico rewrites its configuration in place: opened before our rename, written after it.)
 */
#ifndef CNI_INSTALL_KEPT_H
#define CNI_INSTALL_KEPT_H

#include "cni/install/confdir.h"

struct cni_kept {
    int fd;                  /* owned; of the file that has no name any more. -1: none */
    char name[NAME_MAX + 1]; /* that it had */
    uint64_t read;           /* hash of what was in it when it was replaced */
    uint64_t written;        /* hash of what stands under its name since */
};

#define CNI_KEPT_NONE ((struct cni_kept){.fd = -1})

void cni_kept_done(struct cni_kept *kept); /* also of CNI_KEPT_NONE, and again */

/* Whether somebody wrote into it since; what is in it now is appended to `out`. 0 or a negative errno. */
int cni_kept_look(const struct cni_kept *kept, bool *ret_changed, struct fl_buf *out) FL_MUST_CHECK;

#endif
