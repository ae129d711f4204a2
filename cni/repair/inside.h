/* The repair from inside: what its three files share. Nobody else includes this: repair.h is the contract.
 *
 * repair.c has the beat and the life, keeping.c the network namespaces, admission.c the processes that come. */
#ifndef CNI_REPAIR_INSIDE_H
#define CNI_REPAIR_INSIDE_H

#include "cni/repair/environ.h"
#include "cni/repair/procevents.h"
#include "cni/repair/repair.h"
#include "cni/repair/scan.h"
#include "cni/repair/sidecars.h"

#define READERS  4    /* environments read at the same time */
#define AGAIN_MS 1000 /* from a programming to a second look */

struct cni_repair_reader {
    struct cni_environ environment;
    struct cni_repair *repair;
    struct cni_sidecars_pod *pod; /* whose share it is; NULL: idle */
    struct cni_sidecar *sidecar;  /* NULL: it ended meanwhile */
};

struct cni_repair {
    struct fl_loop *loop;
    struct cni_repair_settings settings;
    struct cni_repair_counts counts;
    struct cni_proc proc;
    int home; /* the own netns; owned */
    struct cni_procevents procevents;
    struct fl_err scan_reason;
    struct cni_scan scan;
    struct cni_sidecars set;
    struct cni_repair_reader readers[READERS];
    struct fl_timer beat;
    uint64_t next_full_ms;
    unsigned settles; /* left in this beat */
};

/* CLOCK_MONOTONIC. */
uint64_t cni_repair_now_ns(void);
uint64_t cni_repair_now_ms(void);
/* Fills in what is known of the sidecar, counts, and hands the report on. `since_ns`: when the sidecar, or the
 * difference, was first seen; what is told is a duration (repair.h). */
void cni_repair_tell(struct cni_repair *repair, struct cni_repair_report *report, struct cni_sidecar *sidecar);
void cni_repair_tell_of(struct cni_repair *repair, enum cni_repair_kind kind, struct cni_sidecar *sidecar,
                        const char *reason, uint64_t since_ns);

/* --- keeping.c: network namespaces --- */

/* The process is gone, or elsewhere; its sandbox goes with the last one. */
void cni_repair_forget(struct cni_repair *repair, struct cni_sidecar *sidecar);
/* Before a process joins a sandbox: members that are not in it any more are forgotten. 0 or a negative errno. */
int cni_repair_drop_moved(struct cni_repair *repair, const struct cni_netns_id *id, struct fl_err *err) FL_MUST_CHECK;
/* A thorough look, now or (no time left) later; the sandbox may be gone behind it. */
void cni_repair_settle(struct cni_repair *repair, struct cni_sandbox *sandbox);
/* The cheap look, and the thorough one where something moved; the sandbox may be gone behind it. */
void cni_repair_glance(struct cni_repair *repair, struct cni_sandbox *sandbox, uint64_t now);

/* --- admission.c: processes --- */

/* Starts what may be read now, in the order of coming. */
void cni_repair_read_next(struct cni_repair *repair);
/* The scan's and the kernel's word that a process bears the proxy's name, or became another program. */
void cni_repair_on_named(void *owner, pid_t pid);
void cni_repair_on_exec(void *owner, pid_t pid);
/* A reader is done. */
void cni_repair_on_environment(struct cni_environ *environment, int result, struct cni_claim *claim,
                               const struct fl_err *err);

#endif
