/* The pod that an object of Kubernetes makes: where its template stands in a Deployment, a CronJob …, or the Pod
 * itself.
 */
#ifndef CLI_WORKLOAD_H
#define CLI_WORKLOAD_H

#include "common/doc/json.h"

struct cli_workload {         /* spans and trees belong to the object */
    struct fl_span kind;      /* "Deployment" */
    struct fl_span version;   /* "apps/v1" */
    struct fl_span name;      /* empty where only generateName is there, or nothing */
    struct fl_span space;     /* metadata.namespace; empty: none */
    struct fl_json *template; /* has metadata and spec: what pods are made from; the object itself for a Pod */
};

/* Whether the object makes pods, and how. Pod, PodTemplate, Deployment, ReplicaSet, StatefulSet, DaemonSet,
 * ReplicationController, Job, CronJob, Rollout (Argo), DeploymentConfig (OpenShift). False too where the template is
 * missing. */
bool cli_workload_find(struct fl_json *object, struct cli_workload *ret_workload);

/* The pod as it would come to admission: the template's metadata and spec, for anything but a Pod with an owner and a
 * generateName as its controller sets them. NULL only when memory is out. */
struct fl_json *cli_workload_pod(const struct cli_workload *workload);

/* Puts metadata and spec of such a pod back into the object, without what cli_workload_pod added. 0 or -ENOMEM. */
int cli_workload_take(const struct cli_workload *workload, struct fl_json *pod) FL_MUST_CHECK;

#endif
