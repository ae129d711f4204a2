/* Exec events of the whole machine from the kernel (netlink connector, CN_IDX_PROC): the way to see a sidecar start
 * without looking for it. The kernel tells them only to who stands in the machine's first network namespace and first
 * pid and user namespace, with CAP_NET_ADMIN: a hostNetwork, hostPID pod does on a real node, not on a node that is
 * itself a container. There the subscription is refused, or not acknowledged, and cni/repair/scan does the work.
 *
 * A socket filter drops everything but execs and acknowledgements inside the kernel, so that forks and exits wake
 * nobody; what comes is trusted from the kernel's port alone. It is a hint: who gets a pid looks at the process itself.
 * Events that the kernel had to drop (ENOBUFS) are one call of on_lost: then everything is to be looked at.
 */
#ifndef CNI_REPAIR_PROCEVENTS_H
#define CNI_REPAIR_PROCEVENTS_H

#include "common/base/err.h"
#include "common/loop/timer.h"

#include <sys/types.h>

enum cni_procevents_outcome {
    CNI_PROCEVENTS_ABSENT = 1, /* nobody tells this process about execs: err says why */
};

struct cni_procevents {
    struct fl_source source;
    struct fl_timer pause;                   /* between two reads */
    int fd;                                  /* owned; -1: not subscribed */
    void (*on_exec)(void *owner, pid_t pid); /* a process (not a thread) became another program */
    void (*on_lost)(void *owner);
    void *owner;
    uint64_t execs, losses;
};

/* Subscribes. Callbacks come from the loop alone, never from here; they must not end the subscription. 0,
 * CNI_PROCEVENTS_ABSENT or a negative errno; in all but the first case *events is as after done. */
int cni_procevents_init(struct cni_procevents *events, struct fl_loop *loop, void (*on_exec)(void *owner, pid_t pid),
                        void (*on_lost)(void *owner), void *owner, struct fl_err *err) FL_MUST_CHECK;
void cni_procevents_done(struct cni_procevents *events); /* idempotent; a zeroed one is fine */

/* Reads one datagram of the connector: what it tells. Pure; bytes are not trusted. */
enum cni_procevents_kind { CNI_PROCEVENTS_NOTHING, CNI_PROCEVENTS_EXEC, CNI_PROCEVENTS_ACK };
struct cni_procevents_message {
    enum cni_procevents_kind kind;
    pid_t pid;    /* of an exec: the process */
    uint32_t ack; /* of an acknowledgement: what it answers, */
    int error;    /* and 0 or a positive errno */
};
struct cni_procevents_message cni_procevents_read(const void *bytes, size_t len);

#endif
