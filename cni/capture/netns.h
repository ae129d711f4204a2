/* Network namespaces by path: opened, looked at, and never the host's.
 *
 * "The host's" is the namespace that this process runs in (a runtime starts plugins there) and that of process 1,
 * where /proc tells; whatever the path looks like (a bind mount, a link in /proc), device and inode number decide. A
 * namespace that a user namespace owns is entered like any other.
 */
#ifndef CNI_CAPTURE_NETNS_H
#define CNI_CAPTURE_NETNS_H

#include "common/base/cleanup.h"
#include "common/base/err.h"

enum cni_netns_outcome {
    CNI_NETNS_ABSENT = 1,  /* nothing at that path, or no namespace any more (an unmounted file of `ip netns`) */
    CNI_NETNS_FOREIGN = 2, /* it is there, but it is no network namespace */
    CNI_NETNS_HOST = 3,    /* the host's: refused */
};

/* 0 with *ret_fd (owned by the caller); an outcome, or a negative errno; err says why in all but the first case. */
int cni_netns_open(const char *path, int *ret_fd, struct fl_err *err) FL_MUST_CHECK;

/* A new one, without a name, that is gone once *ret_fd (owned) is closed; the calling thread is back in its own. 0 or a
 * negative errno. */
int cni_netns_make(int *ret_fd, struct fl_err *err) FL_MUST_CHECK;

/* The calling thread's own one, *ret_fd (owned): for whoever goes back and forth. 0 or a negative errno. */
int cni_netns_own(int *ret_fd, struct fl_err *err) FL_MUST_CHECK;
/* The calling thread goes to the namespace, and comes back by cni_netns_leave(what cni_netns_own gave). 0 or a negative
 * errno. */
int cni_netns_go(int netns, struct fl_err *err) FL_MUST_CHECK;

/* The calling thread enters the namespace; *ret_back (owned) is where it came from. 0 or a negative errno. */
int cni_netns_enter(int netns, int *ret_back, struct fl_err *err) FL_MUST_CHECK;
/* Back again. What the kernel is short of is waited for, up to a second. The process ends (abort) where there is no way
 * back: all that it would do next, it would do in somebody else's network. 0 then, and a negative errno never, but
 * callers treat it as one that may fail. */
int cni_netns_leave(int back, struct fl_err *err) FL_MUST_CHECK;

#endif
