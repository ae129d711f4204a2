/* What the process that holds the issuing key gives up, in two steps.
 *
 * Early, before the key is read: no core file, no ptrace and no /proc/<pid>/mem by others of this user, no new
 * privileges, death with its parent, no inherited descriptors, a network namespace of its own where that is permitted
 * (with no interface that is up). Late, once the key is in memory and OpenSSL warm: seccomp. What is left is reading
 * the channel, writing it and stderr, memory, time and random numbers; any other system call kills the process.
 */
#ifndef CONTROL_CA_JAIL_H
#define CONTROL_CA_JAIL_H

#include "common/base/cleanup.h"
#include "common/base/err.h"

#include <stdbool.h>

/* The first half of control_jail_enter, for a child that talks to the API server: no core file, no ptrace, no new
 * privileges, no inherited descriptors but `channel` and stderr. 0 or a negative errno. */
int control_jail_shed(int channel, struct fl_err *err) FL_MUST_CHECK;
/* Keeps `channel` and stderr. ret_isolated: whether the network namespace is its own (seccomp forbids sockets either
 * way). 0 or a negative errno. */
int control_jail_enter(int channel, bool *ret_isolated, struct fl_err *err) FL_MUST_CHECK;
/* No way back. 0, or a negative errno where the kernel has no seccomp. */
int control_jail_lock(int channel, struct fl_err *err) FL_MUST_CHECK;

#endif
