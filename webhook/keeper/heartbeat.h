/* How a program without a listener shows that it lives: a small file, written anew at every turn of the Lease, with the
 * time since boot at which it goes stale. `fairlead-keeper --check` reads it (an exec probe that reads one file). The
 * time since boot is the node's, the same for all containers and for every clock that somebody sets.
 */
#ifndef WEBHOOK_KEEPER_HEARTBEAT_H
#define WEBHOOK_KEEPER_HEARTBEAT_H

#include "common/base/cleanup.h"
#include "common/base/err.h"

#include <stdint.h>

/* 0 or a negative errno. */
int keeper_heartbeat_write(const char *path, uint64_t stale_at_ms, struct fl_err *err) FL_MUST_CHECK;
/* 0: alive; -ESTALE: not for too long; -ENOENT, -EINVAL: no such file, or not of ours. */
int keeper_heartbeat_check(const char *path, uint64_t now_ms, struct fl_err *err) FL_MUST_CHECK;

#endif
