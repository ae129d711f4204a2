/* What is in the folder now: the files that count, by name, with what tells whether they changed. */
#ifndef CONTROL_SOURCE_SCAN_H
#define CONTROL_SOURCE_SCAN_H

#include "common/base/cleanup.h"
#include "common/base/err.h"
#include "common/base/span.h"

#include <sys/stat.h>

struct control_scan_file {
    char *path; /* relative to the folder; owned */
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec modified, changed;
};

struct control_scan {
    struct control_scan_file *files; /* by path */
    size_t count, room;
    bool truncated; /* there are folders deeper than the limit, which are left out */
    bool too_many;  /* there are more files than the limit */
};

struct control_scan_limits {
    size_t files_max;
    unsigned depth_max; /* sub-folders */
};

/* `on_folder` is called for every folder, before it is read (to watch it: what changes later is then seen). Links to
 * files are followed, links to folders are not. 0; -errno where the folder, one in it, or a file's state cannot be
 * read. */
int control_scan_folder(const char *path, const struct control_scan_limits *limits,
                        void (*on_folder)(void *context, const char *path), void *context,
                        struct control_scan *ret_scan, struct fl_err *err) FL_MUST_CHECK;
void control_scan_done(struct control_scan *scan);

bool control_scan_same(const struct control_scan_file *a, const struct control_scan_file *b);

#endif
