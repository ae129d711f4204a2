/* Starting one of this program's own commands as a child that has one channel to us and nothing else of ours. */
#ifndef CONTROL_CA_SPAWN_H
#define CONTROL_CA_SPAWN_H

#include "common/base/cleanup.h"

#include <sys/types.h>

#define CONTROL_SPAWN_CHANNEL 3 /* the descriptor's number over there */

/* `arguments` and `environment` end with NULL. Stderr is shared; no signal is blocked. ret_channel is our end of the
 * socketpair: CLOEXEC, not blocking. 0 or a negative errno (then nothing is left). */
int control_spawn(const char *program, char *const *arguments, char *const *environment, pid_t *ret_pid, int *ret_pidfd,
                  int *ret_channel) FL_MUST_CHECK;

#endif
