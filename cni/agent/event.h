/* Events about pods and the node: which are worth posting, and their JSON. Pure: no I/O, the time is given.
 *
 * The agent may create Events and nothing else, so it can neither read nor raise the count of one that it made. It
 * keeps in mind what it said: within CNI_EVENT_WINDOW_MS the same reason about the same object is counted, and told as
 * the count of the next one after that time. Above that a bucket bounds how many are posted at all: a pod that is made
 * to look wrong a thousand times costs the API server nothing.
 *
 * Names come from a sidecar's own environment: they are checked to be names, not to be its own. The uid is the kernel's
 * word (its cgroup), so it is that by which Events of one pod are told from another's. */
#ifndef CNI_AGENT_EVENT_H
#define CNI_AGENT_EVENT_H

#include "common/base/buf.h"

#define CNI_EVENT_WINDOW_MS 600000
#define CNI_EVENT_KEPT_MAX  64 /* what was said and is kept in mind; the oldest goes */
#define CNI_EVENT_BURST     64
#define CNI_EVENT_REFILL_MS 1000 /* one more after that time */
#define CNI_EVENT_NOTE_MAX  512
#define CNI_EVENT_BYTES_MAX 6144 /* of the JSON */
#define CNI_EVENT_PATH_MAX  128
#define CNI_EVENT_UID_MAX   128

/* X(id, reason, is it a warning). Reasons as `kubectl get events` shows them. */
#define CNI_EVENT_REASONS(X)                                                                                           \
    X(CAPTURED, "CapturedLate", true)    /* started uncaptured; the agent captured it */                               \
    X(RESTORED, "CaptureRestored", true) /* its rules were flushed or changed */                                       \
    X(REFUSED, "CaptureRefused", true)   /* its claim is not one that may be served */                                 \
    X(FAILED, "CaptureFailed", true)     /* could not be programmed */                                                 \
    X(CONFLICT, "CaptureConflict", true) /* another spec is in force in its netns */                                   \
    X(NODE_WAITING, "CNIWaiting", true)  /* no network configuration of anybody is there yet */                        \
    X(NODE_UNREADABLE, "CNIUnreadable", true)                                                                          \
    X(NODE_EXCLUSIVE, "CNIExclusive", true) /* another CNI takes our plugin out again */                               \
    X(NODE_FAILED, "CNIInstallFailed", true)                                                                           \
    X(NODE_RESTORED, "CNIRestored", false)   /* somebody had rewritten the configuration */                            \
    X(NODE_INSTALLED, "CNIInstalled", false) /* after one of the others */

enum cni_event_reason {
#define X(id, word, warning) CNI_EVENT_##id,
    CNI_EVENT_REASONS(X)
#undef X
        CNI_EVENT_REASON_COUNT
};

struct cni_event {
    enum cni_event_reason reason;
    struct fl_span name_space; /* empty: it is about the node */
    struct fl_span name, uid;  /* uid may be empty */
    struct fl_span note;       /* for people; cut past CNI_EVENT_NOTE_MAX */
};

struct cni_event_kept {
    uint64_t key; /* 0: free */
    uint64_t posted_ms;
    int64_t first_s; /* since the epoch */
    unsigned count;  /* since it was posted */
};

/* What was said lately; zeroed at the start. */
struct cni_event_memory {
    struct cni_event_kept kept[CNI_EVENT_KEPT_MAX];
    uint64_t filled_ms;
    unsigned spent;
};

enum cni_event_outcome {
    CNI_EVENT_POST,     /* *ret_telling is set */
    CNI_EVENT_REPEATED, /* counted */
    CNI_EVENT_LIMITED,
    CNI_EVENT_BAD, /* its names are none */
};

struct cni_event_telling {
    unsigned count;          /* ≥ 1, with those that were counted */
    int64_t first_s, last_s; /* since the epoch */
};

/* now_ms: any clock that only goes forward; now_s: since the epoch. */
enum cni_event_outcome cni_event_consider(struct cni_event_memory *memory, const struct cni_event *event,
                                          uint64_t now_ms, int64_t now_s,
                                          struct cni_event_telling *ret_telling) FL_MUST_CHECK;

/* The JSON of a core/v1 Event. `node` may be empty; `unique` makes its name (a second try of the same Event has the
 * same name, and is answered "already there"). 0, -ENOMEM, -EMSGSIZE. */
int cni_event_print(const struct cni_event *event, const struct cni_event_telling *telling, struct fl_span node,
                    uint64_t unique, struct fl_buf *out) FL_MUST_CHECK;

/* Where it is posted: "/api/v1/namespaces/<namespace>/events". */
void cni_event_path(const struct cni_event *event, char ret_path[CNI_EVENT_PATH_MAX]);

#endif
