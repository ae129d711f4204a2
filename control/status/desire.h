/* What has to be written of an object, from what the API says of it and what the model does. Pure.
 *
 * The result is a merge patch of the object's subresource `status`: {metadata: {resourceVersion}, status: {…}} with all
 * that is to stand there, what other controllers wrote among it. Conditions have observedGeneration and
 * lastTransitionTime; the latter is kept as long as the condition's status is.
 */
#ifndef CONTROL_STATUS_DESIRE_H
#define CONTROL_STATUS_DESIRE_H

#include "common/doc/json.h"
#include "control/model/model.h"

/* A condition of a Gateway that the deployer keeps (control/gateway/deploy.h): whether it has proxies, and why not. */
#define CONTROL_STATUS_DEPLOYED "fairlead.io/Deployed"

struct control_seen { /* an object as the API has it; borrowed */
    enum control_kind kind;
    struct fl_span name_space, name, version;
    int64_t generation;
    const struct fl_json *parents; /* spec.parentRefs; NULL: none */
    const struct fl_json *status;  /* NULL: none */
};

struct control_desire_context {
    const struct control_model *model;
    const struct control_problem *problem; /* why the object could not be read; NULL: it could, or nobody knows yet */
    struct fl_span bundle;                 /* the version of Gateway API's CRDs; empty: unknown */
    int64_t now;                           /* seconds since 1970 */
};

enum control_desire {
    CONTROL_DESIRE_NOTHING, /* it stands as it should, or is none of ours */
    CONTROL_DESIRE_WAIT,    /* the model has not taken in this generation yet */
    CONTROL_DESIRE_WRITE,
};

struct control_desired {
    struct fl_json *patch; /* owned: fl_json_free */
    uint64_t hash;         /* of what we want to say, without times and without what others said */
};

/* One of the above (*ret_desired is set for CONTROL_DESIRE_WRITE alone), or -ENOMEM. */
int control_desire(const struct control_desire_context *context, const struct control_seen *seen,
                   struct control_desired *ret_desired) FL_MUST_CHECK;

#endif
