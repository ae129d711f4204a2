/* Small files: read with a look at who else may read or write them, written whole. */
#ifndef FL_BASE_FILE_H
#define FL_BASE_FILE_H

#include "common/base/buf.h"
#include "common/base/err.h"

#include <sys/types.h>

#define FL_FILE_OWNER_ALONE 0077u

/* Reads a regular file, in addition to what is there. `forbidden`: permission bits that refuse it; 0 for what everybody
 * may see; FL_FILE_OWNER_ALONE also wants that owner to be root or this process. 0, -EACCES for those, -EMSGSIZE past
 * out's maximum, or what the system said; the reason names the file. */
int fl_file_read(const char *folder, const char *name, mode_t forbidden, struct fl_buf *out,
                 struct fl_err *err) FL_MUST_CHECK;

/* Writes a file whole, synced, under its name only once it is complete. `exclusive`: -EEXIST where the name is taken;
 * else the new one takes the old one's place. `mode`: its permissions, whatever the umask is. */
int fl_file_write(const char *path, struct fl_span content, mode_t mode, bool exclusive,
                  struct fl_err *err) FL_MUST_CHECK;

/* "<folder>/<name>" into `path` of PATH_MAX bytes. 0 or -ENAMETOOLONG. */
int fl_file_path(const char *folder, const char *name, char *path, struct fl_err *err) FL_MUST_CHECK;

#endif
