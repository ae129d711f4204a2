/* Files of one plugin (.conf, .json), made a list and back. At each moment exactly one of the two is what the runtime
 * takes, and it is whole:
 *
 *   in:   10-x.conflist is written, wrapped and chained (of the two, 10-x.conf still comes first);
 *         10-x.conf becomes 10-x.conf.fairlead-backup (now the list counts)
 *   out:  10-x.conf comes back, by its backup or by the bytes in the list (it counts again);
 *         the list goes, and then a backup that is left
 *
 * (A .json sorts behind its .conflist: there the list counts once it is written, until it goes.)
 */
#ifndef CNI_INSTALL_WRAPPING_H
#define CNI_INSTALL_WRAPPING_H

#include "cni/install/rewrite.h"

/* 0, an outcome of conflist.h, or a negative errno; -EAGAIN: the file's owner replaced it meanwhile: begin again. */
int cni_wrapping_install(const struct cni_disk *disk, const struct cni_confdir *confdir, const char *name,
                         const struct cni_confdir_file *file, const char *backend, struct fl_err *err) FL_MUST_CHECK;

/* `name` is a list whose facts say that it is a wrapper, of `wrapped`. */
int cni_wrapping_restore(const struct cni_disk *disk, const char *name, const struct cni_confdir_file *file,
                         const char *wrapped, struct fl_err *err) FL_MUST_CHECK;

#endif
