/* Watches the files that a snapshot names, and tells when one of them was replaced: inotify on their folders (so that
 * renames and the symlink swaps of mounted volumes are seen), a short pause so that key and certificate arrive
 * together, then a comparison of what stat says. Runs on the loop of the main thread; nothing polls.
 */
#ifndef PROXY_CONFIG_WATCH_H
#define PROXY_CONFIG_WATCH_H

#include "common/loop/loop.h"
#include "proxy/snapshot/snapshot.h"

#define PROXY_WATCH_SETTLE_MS 200

struct proxy_watch;

/* on_change: once for each change, on the loop; usually proxy_bootstrap_refresh and, on success, proxy_watch_set with
 * the new snapshot. 0 or a negative errno (inotify's limits: then certificates are re-read at SIGHUP alone). */
int proxy_watch_new(struct fl_loop *loop, void (*on_change)(void *owner), void *owner,
                    struct proxy_watch **ret_watch) FL_MUST_CHECK;
struct proxy_watch *proxy_watch_free(struct proxy_watch *watch);

/* From now on the files of this snapshot (a reference is taken). A change between its compilation and this call is
 * seen. 0 or a negative errno (then the old ones stay watched). */
int proxy_watch_set(struct proxy_watch *watch, struct proxy_snapshot *snapshot) FL_MUST_CHECK;

#endif
