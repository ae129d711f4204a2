/* The set of processes that bear the proxy's name on this node, and of the network namespaces ("sandboxes") that those
 * which are believed live in. No I/O; what happens is decided in cni/repair/repair.
 *
 * A process is one `struct cni_sidecar`, by its pid; it holds a pidfd, and is taken out when that shows its end. A
 * sandbox is there as long as a process is in it. Its spec is the one that was first seen in force (bound): processes
 * that come later and claim another one are in conflict with it, for good.
 *
 * Everything is bounded, and by pod: processes are counted together whose cgroup is one pod's, which they cannot
 * change. So a pod that starts a thousand imitations fills its own share alone.
 */
#ifndef CNI_REPAIR_SIDECARS_H
#define CNI_REPAIR_SIDECARS_H

#include "cni/repair/settle.h"
#include "cni/repair/sidecar.h"
#include "common/base/backoff.h"
#include "common/base/map.h"
#include "common/loop/loop.h"

#define CNI_SIDECARS_MAX       2048 /* processes; a node runs some 250 pods */
#define CNI_SIDECARS_SANDBOXES 1024
#define CNI_SIDECARS_POD       16 /* processes of one pod */
#define CNI_SIDECARS_SHARE     10 /* no pod has more than a tenth of the looker's time: rules may take long to read */
#define CNI_SIDECARS_POD_NETNS 4  /* sandboxes of one pod: a pod has one, and for a moment two when it is made anew */

#define CNI_SIDECAR_STATES(X)                                                                                          \
    X(QUEUED, "queued")       /* its environment is to be read */                                                      \
    X(READING, "reading")     /* is being read */                                                                      \
    X(FOREIGN, "foreign")     /* it claims nothing: a gateway's proxy, for instance */                                 \
    X(REFUSED, "refused")     /* it claims something that is not believed */                                           \
    X(CANDIDATE, "candidate") /* it may be true; its sandbox is not bound yet */                                       \
    X(MEMBER, "member")       /* its spec is the one in force */                                                       \
    X(CONFLICT, "conflict")   /* its spec is not the one in force */

enum cni_sidecar_state {
#define X(symbol, word) CNI_SIDECAR_##symbol##_STATE,
    CNI_SIDECAR_STATES(X)
#undef X
};
const char *cni_sidecar_state_name(enum cni_sidecar_state state);
bool cni_sidecar_may_become(enum cni_sidecar_state from, enum cni_sidecar_state to);

#define CNI_SANDBOX_STATES(X)                                                                                          \
    X(WAITING, "waiting")   /* not looked at yet */                                                                    \
    X(CAPTURED, "captured") /* bound; its rules were right when they were last looked at */                            \
    X(FAILED, "failed")     /* could not be read or programmed; tried again later */                                   \
    X(DISPUTED, "disputed") /* not bound: the rules there are for a spec that nobody here claims */

enum cni_sandbox_state {
#define X(symbol, word) CNI_SANDBOX_##symbol,
    CNI_SANDBOX_STATES(X)
#undef X
};
const char *cni_sandbox_state_name(enum cni_sandbox_state state);
bool cni_sandbox_may_become(enum cni_sandbox_state from, enum cni_sandbox_state to);

struct cni_sidecars_pod {           /* a share of the limits */
    char uid[CNI_PROCFILE_POD_MAX]; /* "": all whose cgroup names no pod */
    unsigned processes, sandboxes;
    unsigned reading;      /* readers that are at it, also for a process that ended meanwhile */
    uint64_t next_read_ms; /* not before: one pod cannot keep the readers to itself */
    uint64_t held_ms;      /* none of its sandboxes is looked into before */
};

struct cni_sidecar {
    struct fl_source exit; /* on the pidfd; registered by whoever has the loop, removed before the sidecar is */
    void *owner;           /* theirs */
    pid_t pid;
    int pidfd; /* owned */
    enum cni_sidecar_state state;
    unsigned attempts; /* to read and verify it */
    unsigned told;     /* bits of what was reported about it and is not again */
    struct cni_sidecar_facts facts;
    struct cni_sidecars_pod *pod;
    struct cni_sandbox *sandbox; /* NULL before it is believed */
    struct cni_sidecar *next;    /* in its sandbox, in the order of coming */
    char *names;                 /* owned: "namespace\0pod\0uid", as claimed; NULL before the claim is read */
    char *spec;                  /* owned; NULL once it is the same as the sandbox's */
    size_t spec_len;
    uint64_t seen_ns, not_before_ms;
};

struct cni_sandbox {
    struct cni_netns_id id;
    enum cni_sandbox_state state;
    struct cni_sidecars_pod *pod;
    struct cni_sidecar *members;
    char *spec; /* owned; NULL: not bound */
    size_t spec_len;
    struct cni_glance glance; /* of when it was last right */
    struct fl_backoff backoff;
    uint64_t since_ms;          /* when the first candidate came */
    uint64_t next_ms, check_ms; /* next glance (or try); next thorough check */
    bool due;                   /* a thorough look was put off */
    bool told;                  /* the failure or dispute that goes on was reported */
};

struct cni_sidecars {
    struct fl_map processes, sandboxes, pods;
    size_t max; /* processes */
};

void cni_sidecars_init(struct cni_sidecars *set, size_t max);
void cni_sidecars_done(struct cni_sidecars *set); /* exit sources have been removed, and nothing is being read */
/* Now and then: lets go of the shares of pods that have nothing here any more. */
void cni_sidecars_tidy(struct cni_sidecars *set, uint64_t now_ms);

struct cni_sidecar *cni_sidecars_find(const struct cni_sidecars *set, pid_t pid);
/* NULL where there is none. It is the one that had this number when its members were believed: whether they are still
 * in it is to be looked at before another one joins. */
struct cni_sandbox *cni_sidecars_sandbox(const struct cni_sidecars *set, const struct cni_netns_id *id);
/* Takes the pidfd on success. State QUEUED. 0, -ENOSPC (a limit, its pod's perhaps), -ENOMEM. */
int cni_sidecars_add(struct cni_sidecars *set, pid_t pid, int pidfd, const struct cni_sidecar_facts *facts,
                     struct cni_sidecar **ret_sidecar) FL_MUST_CHECK;
/* Closes the pidfd, and frees it; its sandbox too, where it was the last one there. */
void cni_sidecars_remove(struct cni_sidecars *set, struct cni_sidecar *sidecar);
/* It is believed: takes names and spec from the claim and joins its sandbox (new: WAITING). State CANDIDATE, or MEMBER
 * or CONFLICT where the sandbox is bound. 0, -ENOSPC, -ENOMEM (then nothing has changed). */
int cni_sidecars_believe(struct cni_sidecars *set, struct cni_sidecar *sidecar, struct cni_claim *claim) FL_MUST_CHECK;
/* This member's spec is in force: it is the sandbox's from now on. Candidates become members or are in conflict. */
void cni_sidecars_bind(struct cni_sandbox *sandbox, struct cni_sidecar *member);

/* All candidates claim one and the same spec. */
bool cni_sidecars_agree(const struct cni_sandbox *sandbox);

void cni_sidecar_become(struct cni_sidecar *sidecar, enum cni_sidecar_state state); /* asserts a legal step */
void cni_sandbox_become(struct cni_sandbox *sandbox, enum cni_sandbox_state state);

/* A look into it took from `since` until `now` (any clock, the same in both functions): its pod's sandboxes are held
 * for CNI_SIDECARS_SHARE times as long. Those of no pod are not: they are many pods'. */
void cni_sandbox_charge(struct cni_sandbox *sandbox, uint64_t since_ns, uint64_t now_ns);
bool cni_sandbox_is_held(const struct cni_sandbox *sandbox, uint64_t now_ms);

struct fl_span cni_sidecar_spec(const struct cni_sidecar *sidecar);
/* As claimed; "" before. */
const char *cni_sidecar_namespace(const struct cni_sidecar *sidecar);
const char *cni_sidecar_pod(const struct cni_sidecar *sidecar);
const char *cni_sidecar_pod_uid(const struct cni_sidecar *sidecar);

#endif
