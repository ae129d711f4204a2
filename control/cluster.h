/* What the control plane has of a Kubernetes cluster, as one piece: a client of the API server, the source over it, who
 * judges tokens, and what the leader of several replicas alone does (the Lease: status of objects, trust bundles). All
 * replicas serve.
 *
 *   source ──commit──► control.c ──► proxies, publisher        Lease ──leads──► publisher, bundles
 *      └───objects───────────────────► publisher               identities ──bundle──► bundles
 */
#ifndef CONTROL_CLUSTER_H
#define CONTROL_CLUSTER_H

#include "control/ca/authenticate.h"
#include "control/source/kubernetes.h"

struct control_cluster;

#define CONTROL_CLUSTER_LEASE  "fairlead-control" /* one for all revisions: they write the same */
#define CONTROL_CLUSTER_BUNDLE "fairlead-root"

struct control_cluster_options { /* texts are borrowed, for as long as the cluster lives */
    struct fl_loop *loop;
    struct fl_metrics *metrics;
    struct control_store *store;
    const char *kubeconfig, *context; /* NULL: the pod's service account; the current context */
    const char *name_space;           /* of the installation; NULL: the service account's, or context's */
    const char *lease, *bundle;       /* names; NULL: those above */
    uint32_t lease_s;                 /* 0: FL_KUBE_LEASE_SECONDS_DEFAULT */
    bool yields;                      /* another revision's replicas come first, where there are any */
    void (*on_commit)(void *owner, const struct control_diff *diff); /* control_kubernetes_options */
    void (*on_synced)(void *owner);
    void *owner;
};

/* Starts the source and the election. `store` outlives it. 0, or a negative errno with the reason. */
int control_cluster_new(const struct control_cluster_options *options, struct control_cluster **ret_cluster,
                        struct fl_err *err) FL_MUST_CHECK;
struct control_cluster *control_cluster_free(struct control_cluster *cluster);

const char *control_cluster_namespace(const struct control_cluster *cluster);
struct control_kubernetes_stats control_cluster_stats(const struct control_cluster *cluster);
/* By TokenReview (ca/reviews.h); it is the caller's to free, before the cluster. 0 or -ENOMEM. */
int control_cluster_authenticator(struct control_cluster *cluster, const char *audience,
                                  struct control_authenticator **ret_authenticator) FL_MUST_CHECK;
/* The trust bundle is this from now on (PEM). */
void control_cluster_set_bundle(struct control_cluster *cluster, struct fl_span pem);

/* Gives the Lease up, so that another replica leads at once; on_finished then, some seconds later at most. Once. */
void control_cluster_finish(struct control_cluster *cluster, void (*on_finished)(void *owner));

#endif
