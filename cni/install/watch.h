/* Keeps the installation as it should be: an installer on the loop.
 *
 * inotify on the folders of configurations and of plugins; a change is looked at in the same turn, so what another
 * writer took out is back within milliseconds. Beside that a cheap look each second: folders that came, went or were
 * replaced; and a full one each minute. Where inotify cannot be had (its limits are reached) it looks at names, sizes
 * and times four times a second, and says so in the report.
 *
 *  - What is half-written is tried again at the next change and after 20, 40, 80 … ms, up to 5 s.
 *  - A file that we replaced is watched for some seconds more: another writer may have had it open, and what it wrote
 *    there is not lost.
 *  - A writer who takes us out each time is met 128 times at once, then once a second, and less and less, up to a
 * minute (state EXCLUSIVE, whose reason names Cilium's cni.exclusive where it looks like that).
 *  - Of several agents the one that came last owns the node (owner.h); others stand by, and take over when it is gone.
 *  - Freeing removes nothing from the host.
 */
#ifndef CNI_INSTALL_WATCH_H
#define CNI_INSTALL_WATCH_H

#include "cni/install/install.h"
#include "common/loop/loop.h"

struct cni_watch;

struct cni_watch_counts {
    uint64_t passes; /* of the installer */
    uint64_t payload_written, conflist_written;
    uint64_t rescued;   /* what another writer wrote into a file that we had just replaced */
    uint64_t overflows; /* of inotify's queue: everything was looked at */
    bool polling;       /* no inotify */
};

/* `settings` is copied; its texts are borrowed. `on_report` comes from the loop after every pass that changed something
 * or had another state or reason than the one before, first of all within the first turn; it may free the watch.
 * 0, -ENOMEM, -EMFILE … */
int cni_watch_new(struct fl_loop *loop, const struct cni_install_settings *settings,
                  void (*on_report)(void *owner, const struct cni_install_report *report), void *owner,
                  struct cni_watch **ret_watch, struct fl_err *err) FL_MUST_CHECK;
struct cni_watch *cni_watch_free(struct cni_watch *watch); /* returns NULL */

const struct cni_install_report *cni_watch_report(const struct cni_watch *watch); /* of the last pass */
const struct cni_watch_counts *cni_watch_counts(const struct cni_watch *watch);

#endif
