/* The directory source: a folder of *.yaml, *.yml and *.json is the cluster. Reads it whole at start, then follows it
 * by inotify (sub-folders, renames, the symlink swap of mounted volumes) and writes the store; nothing else.
 *
 * - Files may hold several documents, and Lists. Names that begin with '.' are left out (editors, "..data" of mounted
 *   volumes; the links that point there are read).
 * - A change settles for CONTROL_DIRECTORY_SETTLE_MS without another (at most CONTROL_DIRECTORY_SETTLE_MAX_MS), then
 *   what changed is read again (by inode, size, mtime), the rest is not, and one commit follows.
 * - A document with an error is left out, the rest of its file counts. An object that was good before keeps its LAST
 *   GOOD version; a file that is no YAML at all keeps all of its. Problems are in the model (control_model_problems).
 *   AuthorizationPolicy, RequestAuthentication and PeerAuthentication fail closed instead (meshapi.h), so that a
 *   restart changes nothing.
 * - The same kind, namespace and name twice: the first by (file, document) counts, the other is a problem.
 * - A file that cannot be read now (permissions, I/O, size) keeps what it had; at the start that is an error. One that
 *   went takes its objects with it.
 * - Where the folder as a whole cannot be told (a sub-folder that cannot be read, more files or bytes than the limits
 *   below) nothing changes, the log says so once, and it is tried again each second. Deeper folders are left out.
 * - Where the kernel gives no watch for a folder (its limit), the log says so once: a change there is seen
 *   with the next change elsewhere.
 */
#ifndef CONTROL_SOURCE_DIRECTORY_H
#define CONTROL_SOURCE_DIRECTORY_H

#include "common/base/err.h"
#include "common/loop/loop.h"
#include "control/model/store.h"

#define CONTROL_DIRECTORY_FILES_MAX     16384
#define CONTROL_DIRECTORY_FILE_BYTES    (16u << 20)
#define CONTROL_DIRECTORY_BYTES_MAX     (256u << 20) /* of all files */
#define CONTROL_DIRECTORY_DEPTH_MAX     8            /* sub-folders */
#define CONTROL_DIRECTORY_PROBLEMS_MAX  1000         /* that are told; the last one counts the rest */
#define CONTROL_DIRECTORY_SETTLE_MS     20
#define CONTROL_DIRECTORY_SETTLE_MAX_MS 200

struct control_directory;

struct control_directory_stats {
    uint64_t files, objects, problems; /* now */
    bool truncated;                    /* there are folders deeper than the limit */
    uint64_t reads, commits,
        failures; /* since the start; failures: a round that memory or I/O broke (it is tried again) */
};

/* Called after each commit that changed something (objects or problems); the diff is borrowed. */
typedef void control_directory_commit_fn(void *context, const struct control_diff *diff);

/* Reads everything and commits before it returns (no callback for that). 0; -ENOENT, -ENOTDIR, -EACCES … where the
 * folder itself cannot be followed, -ENOMEM. `loop` and `store` outlive it. */
int control_directory_open(struct fl_loop *loop, struct control_store *store, const char *path,
                           control_directory_commit_fn *on_commit, void *context,
                           struct control_directory **ret_directory, struct fl_err *err) FL_MUST_CHECK;
struct control_directory *control_directory_close(struct control_directory *directory); /* NULL is fine; returns NULL */

struct control_directory_stats control_directory_stats(const struct control_directory *directory);

#endif
