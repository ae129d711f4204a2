/* A file that is read again when it changes: configuration, namespaces, certificate, key.
 *
 * Looking is a stat(2) that follows links, so the symlink swap of a mounted ConfigMap or Secret is seen. A file whose
 * time of change is so young that a second write may hide in it is read again at the next look; equal bytes are no
 * change. Who writes a file in place empties it first: no bytes where there were some are no new version. What is cut
 * off elsewhere is for the reader of the text to see; better is to rename a whole file into place.
 */
#ifndef WEBHOOK_FILE_H
#define WEBHOOK_FILE_H

#include "common/base/buf.h"
#include "common/base/err.h"

#include <sys/stat.h>

struct webhook_file {
    const char *path; /* borrowed; NULL: there is no such file, and it never changes */
    struct fl_buf text;
    struct stat seen; /* as of the last read */
    bool young;       /* it may have changed since without showing */
};

void webhook_file_init(struct webhook_file *file, const char *path, size_t max);
void webhook_file_done(struct webhook_file *file);

/* Reads the file where it may have changed, or anyway with `force`. 1: text is new; 0: as it was; a negative errno
 * (-EMSGSIZE past max, -EINVAL: emptied, or not a regular file) with the reason: text is as it was. */
int webhook_file_look(struct webhook_file *file, bool force, struct fl_err *err) FL_MUST_CHECK;

#endif
