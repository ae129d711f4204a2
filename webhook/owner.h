/* The workload that a pod belongs to, as far as admission can tell without asking the API: pure work on the pod's owner
 * references, labels and names. For metrics, logs and the proxy's peer metadata; never for authorization. */
#ifndef WEBHOOK_OWNER_H
#define WEBHOOK_OWNER_H

#include "common/doc/json.h"
#include "webhook/limit.h"

struct webhook_owner {
    char kind[64];                   /* "Deployment", "CronJob", …; "Pod" where there is no owner */
    char name[WEBHOOK_NAME_MAX + 1]; /* NUL-terminated; empty where nothing tells */
};

/* The controlling owner (else the first). A ReplicaSet named <name>-<pod-template-hash> stands for its Deployment (or
 * Argo's Rollout), a Job named <name>-<8 to 10 digits> for its CronJob; without an owner the pod's own name, or its
 * generateName without the '-' at the end. */
void webhook_owner_find(const struct fl_json *pod, struct webhook_owner *ret_owner);

#endif
