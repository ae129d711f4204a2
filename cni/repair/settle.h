/* One network namespace put right: what is in force there against one capture spec, and what may be done about it.
 *
 * The rule of trust that protects a capture from the pod's own processes stands here: rules of ours that are there
 * belong to whoever made them first, and only a spec that *is* that one may touch them. How that is known is the
 * caller's `trust`: the rules in the kernel are exactly the spec's (a check without a difference) counts always. That
 * their comment names the spec by its digest counts less: the digest is no secret and 64 bits short, so that somebody
 * who may choose specs could find another one with the same.
 */
#ifndef CNI_REPAIR_SETTLE_H
#define CNI_REPAIR_SETTLE_H

#include "cni/capture/apply.h"
#include "cni/capture/glance.h"

enum cni_settle_trust {
    CNI_SETTLE_STRANGER, /* rules of ours that are there and differ are left alone */
    CNI_SETTLE_NAMED,    /* they are put right where their comment names this spec */
    CNI_SETTLE_KNOWN,    /* this agent has seen exactly this spec in force there: whatever is there now is wrong */
};

enum cni_settle_outcome {                          /* 0: as it should be, nothing was done */
                          CNI_SETTLE_CAPTURED = 1, /* there were no rules of ours: programmed, and read back */
                          CNI_SETTLE_RESTORED =
                              2, /* they were not as they should be: err has the first difference; they are now */
                          CNI_SETTLE_CONFLICT = 3, /* there are rules for another spec: err; nothing was changed */
};

/* `spec`: canonical text. 0 or an outcome, *ret_glance then being of a moment at which the rules were right (with
 * CONFLICT: of before the look); or a negative errno: -EAGAIN (they keep changing), -EOPNOTSUPP, … */
int cni_settle(int netns, enum cni_backend backend, struct fl_span spec, enum cni_settle_trust trust,
               struct cni_glance *ret_glance, struct fl_err *err) FL_MUST_CHECK;

#endif
