/* In or out, and why: a pure table over facts. The first row that holds decides. The table is data: the code evaluates
 * the rows that the README prints, and a test compares the two. */
#ifndef WEBHOOK_DECIDE_H
#define WEBHOOK_DECIDE_H

#include "common/base/err.h"
#include "common/base/span.h"
#include "webhook/reason.h"

struct webhook_facts {        /* labels: data == NULL: absent */
    bool pod, create, update; /* what is asked for: a core/v1 pod or a subresource of one; the operation */
    bool subresource;         /* any */
    bool ephemeral;           /* the subresource is `ephemeralcontainers` */
    bool own_namespace, ignored_namespace;
    bool mirror;                              /* annotation kubernetes.io/config.mirror */
    bool host_network;                        /* spec.hostNetwork */
    bool windows;                             /* spec.os.name, or the node selector */
    struct fl_span foreign;                   /* the container that is another mesh's sidecar; data == NULL: none */
    struct fl_span pod_label;                 /* fairlead.io/inject; absent also where it must not count */
    struct fl_span namespace_label;           /* the same of the namespace */
    struct fl_span require, pause;            /* the namespace's fairlead.io/require and fairlead.io/pause */
    struct fl_span pod_revision, ns_revision; /* fairlead.io/rev */
    struct fl_span revision;                  /* the one that we are */
};

enum webhook_verdict {
    WEBHOOK_IN,
    WEBHOOK_OUT,
    WEBHOOK_DENY,
    WEBHOOK_LOOK, /* nothing is changed; what is added to a pod of the mesh may be refused */
};

enum webhook_tell { /* whether the pod's maker is told that it stays out */
                    WEBHOOK_TELL_NEVER,
                    WEBHOOK_TELL_ASKED, /* where the pod's own label asked for the mesh, or the namespace requires it */
                    WEBHOOK_TELL_ALWAYS,
};

struct webhook_decision_row {
    bool (*holds)(const struct webhook_facts *facts);
    enum webhook_verdict verdict;
    enum webhook_reason reason;
    enum webhook_tell tell;
    enum webhook_reason cause; /* of a denial for WEBHOOK_REASON_REQUIRED: why the pod would stay out */
    const char *when;          /* for people, in Markdown */
};

struct webhook_decision {
    enum webhook_verdict verdict;
    enum webhook_reason reason, cause; /* cause: as in the row; else the reason again */
    bool warn;                         /* out, and its maker should be told */
};

struct webhook_decision webhook_decide(const struct webhook_facts *facts);

/* The table, in its order. */
const struct webhook_decision_row *webhook_decide_rows(size_t *ret_count);

/* The sentence for a denial: which label, its value, what would be right; or what the namespace requires. -EINVAL. */
int webhook_decide_explain(const struct webhook_facts *facts, const struct webhook_decision *decision,
                           struct fl_span name_space, struct fl_err *err);

#endif
