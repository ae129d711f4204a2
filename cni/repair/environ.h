/* Another process's environment, read by a child of ours that may be killed.
 *
 * Reading <proc>/PID/environ reads that process's memory, in its own time: its address space may be locked by a large
 * mapping that is being made or undone, its pages may have to come back from swap under a memory limit that its pod has
 * reached. (Linux reads anonymous pages alone there, so a page behind FUSE cannot hold a reader for ever; but seconds
 * are too long as well.) A thread that waits there cannot be interrupted, only killed. So a forked child reads, and
 * hands on the few variables that matter through a pipe; where it does not answer in time it is killed. The agent never
 * waits.
 */
#ifndef CNI_REPAIR_ENVIRON_H
#define CNI_REPAIR_ENVIRON_H

#include "cni/repair/claim.h"
#include "common/loop/timer.h"

#include <sys/types.h>

#define CNI_ENVIRON_MS 2000 /* how long a child may take */

struct cni_environ {
    struct fl_source source;
    struct fl_timer deadline;
    struct fl_loop *loop;
    int pipe;    /* owned; -1: nothing is being read */
    pid_t child; /* ours, not yet reaped; 0: none */
    struct fl_buf excerpt;
    /* Called once, from the loop: the outcome of cni_claim_finish with *claim (to be taken or done by the callee), or a
     * negative errno: -ETIMEDOUT, -EMSGSIZE (more than CNI_CLAIM_ENVIRON_MAX), -EACCES … It may start the next
     * one where cni_environ_is_busy says no: a killed child takes a moment to go. */
    void (*on_done)(struct cni_environ *environment, int result, struct cni_claim *claim, const struct fl_err *err);
};

/* Nothing is being read, and on_done is not called; a zeroed one must have had this once. */
void cni_environ_init(struct cni_environ *environment);
/* `proc`: the folder. 0 or a negative errno (then on_done is not called). */
int cni_environ_start(struct cni_environ *environment, struct fl_loop *loop, int proc, pid_t pid) FL_MUST_CHECK;
/* Ends what is under way, without a call of on_done; a child that is not gone yet is left to the one who reaps after
 * us.
 */
void cni_environ_done(struct cni_environ *environment);
static inline bool cni_environ_is_busy(const struct cni_environ *environment)
{
    return environment->child != 0;
}

#endif
