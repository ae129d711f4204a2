/* In or out, and why: a pure table over facts. The first row that holds decides (decide.c, printed in README.md). */
#ifndef WEBHOOK_DECIDE_H
#define WEBHOOK_DECIDE_H

#include "common/base/err.h"
#include "common/base/span.h"
#include "webhook/reason.h"

struct webhook_facts {
    bool pod, subresource, create; /* what is asked for */
    bool ignored_namespace;
    bool mirror;                              /* annotation kubernetes.io/config.mirror */
    bool host_network;                        /* spec.hostNetwork */
    bool windows;                             /* spec.os.name, or the node selector */
    struct fl_span pod_label;                 /* fairlead.io/inject; data == NULL: absent, or must not count */
    struct fl_span namespace_label;           /* the same of the namespace */
    struct fl_span pod_revision, ns_revision; /* fairlead.io/rev; data == NULL: absent */
    struct fl_span revision;                  /* the one that we are */
};

enum webhook_verdict { WEBHOOK_IN, WEBHOOK_OUT, WEBHOOK_DENY };

struct webhook_decision {
    enum webhook_verdict verdict;
    enum webhook_reason reason;
    bool warn; /* out although it was asked for: its maker should be told */
};

struct webhook_decision webhook_decide(const struct webhook_facts *facts);

/* The sentence for a wrong label: which one, its value, what would be right. Returns -EINVAL. */
int webhook_decide_explain(const struct webhook_facts *facts, enum webhook_reason reason, struct fl_span name_space,
                           struct fl_err *err);

#endif
