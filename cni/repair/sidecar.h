/* One process that may be a sidecar, looked at from outside: what the kernel says about it, and whether its claim
 * (cni/repair/claim.h) can be true.
 *
 * A process is held by a pidfd, taken first; whatever is then read by its pid is its own as long as the pidfd shows it
 * alive afterwards, for a pid is not given out again before its process is gone. Names and environments are chosen by
 * whoever runs the process; ids, namespaces, start time and (for all that is not privileged) cgroup are not.
 */
#ifndef CNI_REPAIR_SIDECAR_H
#define CNI_REPAIR_SIDECAR_H

#include "cni/repair/claim.h"
#include "cni/repair/procfile.h"

enum cni_sidecar_outcome {
    CNI_SIDECAR_GONE = 1,    /* it ended, or is another process by now */
    CNI_SIDECAR_OTHER = 2,   /* it does not bear the proxy's name */
    CNI_SIDECAR_REFUSED = 3, /* the claim is not true, or not to be acted upon: err says why */
};

struct cni_netns_id { /* which network namespace: unique among those that exist */
    uint64_t device, inode;
};

struct cni_sidecar_facts {
    uint64_t start_time; /* ticks since boot: with the pid, which process it is */
    uint32_t uid, gid;   /* the agent's view of its fsuid and fsgid */
    struct cni_netns_id netns;
    char pod[CNI_PROCFILE_POD_MAX]; /* uid of the pod, by the cgroup; "" where it tells none */
};

struct cni_proc {     /* the folder, and whom it must never be about */
    const char *path; /* not owned */
    int fd;           /* owned */
};

/* -EINVAL: it is the /proc of another pid namespace, so that its pids are not ours. */
int cni_proc_open(const char *path, struct cni_proc *ret_proc, struct fl_err *err) FL_MUST_CHECK;
void cni_proc_close(struct cni_proc *proc);

/* Takes a pidfd and reads the facts; cheap for what bears another name. 0 with *ret_pidfd owned; CNI_SIDECAR_GONE,
 * _OTHER, or a negative errno. */
int cni_sidecar_look(const struct cni_proc *proc, pid_t pid, int *ret_pidfd, struct cni_sidecar_facts *ret_facts,
                     struct fl_err *err) FL_MUST_CHECK;

/* Opens the network namespace that `pidfd` is in now, which must be the one of the facts. 0 with *ret_netns owned;
 * CNI_SIDECAR_GONE (or moved to another one), _REFUSED (the host's), or a negative errno. */
int cni_sidecar_open_netns(const struct cni_proc *proc, pid_t pid, int pidfd, const struct cni_netns_id *netns,
                           int *ret_netns, struct fl_err *err) FL_MUST_CHECK;

/* The same for looking only, far cheaper: the netns that the pid is in now, where it is that of the facts, which was
 * found not to be the host's, and is not while both exist. Which process has the pid does not matter then. 0 with
 * *ret_netns owned; CNI_SIDECAR_GONE for everything else. */
int cni_sidecar_peek_netns(const struct cni_proc *proc, pid_t pid, const struct cni_netns_id *netns,
                           int *ret_netns) FL_MUST_CHECK;

/* Whether the claim can be true: the process runs as the spec's uid and gid (as the user namespace that owns the netns
 * has them), the netns is not the host's and holds one of the claimed addresses, and the pod's uid is the cgroup's
 * where that tells one. 0, CNI_SIDECAR_GONE, _REFUSED, or a negative errno. */
int cni_sidecar_verify(const struct cni_proc *proc, pid_t pid, int pidfd, const struct cni_sidecar_facts *facts,
                       const struct cni_claim *claim, struct fl_err *err) FL_MUST_CHECK;

bool cni_sidecar_is_alive(int pidfd);

#endif
