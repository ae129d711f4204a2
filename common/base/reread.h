/* A file that is read again when it changes: configuration, certificate, key, token.
 *
 * Looking is a stat(2) that follows links, so the symlink swap of a mounted ConfigMap or Secret is seen. A file whose
 * time of change is so young that a second write may hide in it is read again at the next look; equal bytes are no
 * change. Who writes a file in place empties it first: no bytes where there were some are no new version. What is cut
 * off elsewhere is for the reader of the text to see; better is to rename a whole file into place.
 */
#ifndef FL_BASE_REREAD_H
#define FL_BASE_REREAD_H

#include "common/base/buf.h"
#include "common/base/err.h"

#include <sys/stat.h>

struct fl_reread {
    const char *path; /* borrowed; NULL: there is no such file, and it never changes */
    struct fl_buf text;
    struct stat seen; /* as of the last read */
    bool young;       /* it may have changed since without showing */
};

void fl_reread_init(struct fl_reread *file, const char *path, size_t max);
void fl_reread_done(struct fl_reread *file);

/* Reads the file where it may have changed, or anyway with `force`. 1: text is new; 0: as it was; a negative errno
 * (-EMSGSIZE past max, -EINVAL: emptied, or not a regular file) with the reason: text is as it was. */
int fl_reread_look(struct fl_reread *file, bool force, struct fl_err *err) FL_MUST_CHECK;

#endif
