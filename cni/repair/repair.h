/* Repair in place: sidecars of this node are found where they run, and what captures their pods is put right.
 *
 * A sidecar that waits at the start gate because no plugin saw its pod is found within a second (exec events, or a
 * scan), its netns is programmed with the spec that its environment holds, read back, and the gate opens: no restart,
 * no API server, no runtime. A table that was flushed or changed is there again within 10 s. Who may cause what is told
 * in cni/README.md, "Repair": the process's claim only ever concerns its own netns, never the host's, and where a netns
 * has our table already, only the very spec of that table is put right.
 *
 * Everything happens on the caller's loop; nothing here blocks on another process. Reports come from the loop, never
 * from inside a call of these functions. A failure that goes on is reported once.
 */
#ifndef CNI_REPAIR_REPAIR_H
#define CNI_REPAIR_REPAIR_H

#include "cni/capture/backend.h"
#include "common/base/err.h"
#include "common/loop/loop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define CNI_REPAIR_KINDS(X)                                                                                            \
    X(CAPTURED, "captured") /* a pod that the plugin missed */                                                         \
    X(RESTORED, "restored") /* a table, lo or ::6 that had been right */                                               \
    X(REFUSED, "refused")   /* a process that claims to be a sidecar, and is not believed */                           \
    X(FAILED, "failed")     /* the netns could not be programmed; it is tried again */                                 \
    X(CONFLICT, "conflict") /* a spec that is not the one in force in that netns; nothing was changed */

enum cni_repair_kind {
#define X(symbol, word) CNI_REPAIR_##symbol,
    CNI_REPAIR_KINDS(X)
#undef X
        CNI_REPAIR_KIND_COUNT
};
const char *cni_repair_kind_name(enum cni_repair_kind kind);

struct cni_repair_report { /* strings live as long as the call; printable ASCII, bounded (cni/repair/claim.h) */
    enum cni_repair_kind kind;
    const char *pod_namespace, *pod, *pod_uid; /* as the process claims; "" where that is not known */
    bool proven;          /* pod_uid is the one that the kernel has in the process's cgroup path. Without it the three
                             are no more than a claim: an Event about such a pod might be about somebody else's. */
    pid_t pid;            /* of the sidecar */
    uint64_t netns;       /* inode; 0: not known */
    const char *reason;   /* one line: what was wrong (with RESTORED: the difference), "" where kind says it all */
    uint64_t duration_ns; /* CAPTURED: since the sidecar's process started, by the boot clock, in its ticks (10 ms),
                             thirty days at most; a sidecar that lost its capture while no agent ran is such a one too.
                             All others: since the sidecar, or the difference, was first seen */
};

struct cni_repair_counts {
    size_t sidecars;   /* network namespaces with a sidecar that are looked after */
    size_t uncaptured; /* of them, those whose capture is known not to be in force now */
    size_t refused;    /* processes that are there and are not believed */
    uint64_t reports[CNI_REPAIR_KIND_COUNT];
    uint64_t checks, fingerprints; /* looks into network namespaces, thorough and cheap */
    uint64_t examined, limited;    /* processes whose environment was read; that had to wait for a later look */
    uint64_t execs, losses;        /* events of the kernel; times that it dropped some */
    bool events;                   /* exec events come; false: the scan does the work */
};

struct cni_repair_settings {
    const char *proc; /* a /proc of this process's own pid namespace: "/proc" */
    enum cni_backend backend;
    bool no_events;             /* scan, even where exec events would come (tests) */
    const char *only_namespace; /* of pods; others are not sidecars. NULL: all. For tests, which share their machine. */
    void (*on_report)(void *owner, const struct cni_repair_report *report); /* must not free the repair */
    void *owner;
};

struct cni_repair;

/* Starts looking; the first full look is made in the loop's next turn. 0; -EINVAL (`proc` is of another pid namespace);
 * another negative errno. Strings of the settings live as long as the repair. */
int cni_repair_new(struct fl_loop *loop, const struct cni_repair_settings *settings, struct cni_repair **ret_repair,
                   struct fl_err *err) FL_MUST_CHECK;
struct cni_repair *cni_repair_free(struct cni_repair *repair); /* network namespaces stay as they are */
/* Everything is looked at again, soon (SIGHUP). */
void cni_repair_look(struct cni_repair *repair);
void cni_repair_count(const struct cni_repair *repair, struct cni_repair_counts *ret_counts);
/* Why there are no exec events; "" where there are. */
const char *cni_repair_scan_reason(const struct cni_repair *repair);

#endif
