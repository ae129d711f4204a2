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

/* The controlling owner (else the first), and behind it, by names and labels alone:
 *
 *   ReplicaSet <name>-<label pod-template-hash>            Deployment <name>
 *   ReplicaSet <name>-<label rollouts-pod-template-hash>   Rollout <name> (Argo's)
 *   Job <name>-<scheduled time>                            CronJob <name>; a date that a person wrote is none
 *   ReplicationController <label deploymentconfig>-<n>     DeploymentConfig (OpenShift's)
 *
 * Without such a label or ending the owner itself is the workload, as are StatefulSet, DaemonSet, Job (indexed or not)
 * and every kind that is not known here; kinds of other groups with those names are not looked behind. Without an
 * owner, or with one whose name is no object's, the pod's generateName without '-' at its end, else its name. */
void webhook_owner_find(const struct fl_json *pod, struct webhook_owner *ret_owner);

#endif
