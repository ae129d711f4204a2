/* Looks after the files of a ca folder, and tells when one of them was replaced, came or went: inotify on the folder
 * (so that the symlink swap of a mounted Secret is seen), a short pause so that key and certificate arrive together,
 * then a comparison of what stat says. Nothing polls.
 */
#ifndef CONTROL_CA_WATCH_H
#define CONTROL_CA_WATCH_H

#include "common/loop/loop.h"

#define CONTROL_WATCH_SETTLE_MS 200
#define CONTROL_WATCH_FILES     16

struct control_watch;

/* `names` (1 to CONTROL_WATCH_FILES) are files of the folder; they stay the caller's. The folder may not be there yet.
 * 0 or -ENOMEM. */
int control_watch_new(struct fl_loop *loop, const char *folder, const char *const *names, size_t count,
                      void (*on_change)(void *owner), void *owner, struct control_watch **ret_watch) FL_MUST_CHECK;
struct control_watch *control_watch_free(struct control_watch *watch);

/* What the files are like now has been read: later changes are told. Also begins the watching, where the folder was not
 * there before; 0, or a negative errno of inotify (then changes are seen at SIGHUP alone). */
int control_watch_look(struct control_watch *watch) FL_MUST_CHECK;
/* Whether any of the files is there by the last look. */
bool control_watch_any(const struct control_watch *watch);

#endif
