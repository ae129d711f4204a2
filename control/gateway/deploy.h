/* The deployer: each Gateway whose class is ours gets proxies. A ServiceAccount, a Deployment and a Service, all three
 * named "<gateway>-fairlead" in the Gateway's namespace (the identity that the control plane expects), and where more
 * than one replica is asked for a PodDisruptionBudget; applied by server-side apply, kept as they should be, and gone
 * with the Gateway (owner reference).
 *
 *   - Ours is a Gateway whose GatewayClass names our controller and, in its label fairlead.io/rev or its class's, our
 *     revision (none, and "default": the deployer that has none).
 *   - What bears the name already and is not owned by the Gateway is never touched: the Gateway is refused.
 *   - Its status is not written here, but for one condition, `fairlead.io/Deployed`, which we own by server-side apply;
 *     the control plane makes Accepted and Programmed of it.
 *   - What the proxy listens on it is told by xDS: a listener that comes or goes changes ports of the Service, and
 * rolls no pod.
 *   - One that goes over to another controller's class loses what we made for it, each object under the uid that was
 *     seen to be ours. Of a class that is not there nothing is known, and all stays.
 *   - spec.infrastructure: labels and annotations go onto everything, parametersRef names a ConfigMap of the namespace
 *     (override.h). spec.addresses: one IP address, as loadBalancerIP or clusterIP.
 *
 * Rights: gateways, gatewayclasses: get, list, watch; gateways/status: patch; serviceaccounts, services, deployments,
 * poddisruptionbudgets: get, list, watch, create, patch, delete; configmaps: get; leases.
 */
#ifndef CONTROL_GATEWAY_DEPLOY_H
#define CONTROL_GATEWAY_DEPLOY_H

#include "common/kube/watch.h"

#define CONTROL_DEPLOY_GATEWAYS_MAX 10000 /* more are left alone, and counted */
#define CONTROL_DEPLOY_OF_NAMESPACE 1000  /* of one, likewise: the others are to have room */
#define CONTROL_DEPLOY_AT_ONCE      4     /* Gateways that are worked on */
#define CONTROL_DEPLOY_RATE         20    /* … begun in a second */
#define CONTROL_DEPLOY_START_MS     30000 /* from leading to the first word of each list that failed */
#define CONTROL_DEPLOY_CONDITION    "fairlead.io/Deployed"

struct control_deploy;

struct control_deploy_options {            /* strings are borrowed */
    const char *revision;                  /* NULL or "": none */
    const char *image, *image_pull_policy; /* of the proxy; the policy may be NULL */
    const char *const *pull_secrets;       /* ends with NULL; may be NULL */
    const char *control_address, *control_name;
    const char *trust_domain, *token_audience;                           /* NULL: the defaults */
    const char *log_level;                                               /* of the proxies; NULL: "info" */
    const char *service_type;                                            /* NULL: LoadBalancer */
    const char *cpu_request, *cpu_limit, *memory_request, *memory_limit; /* NULL: the defaults */
    unsigned replicas;      /* where no parameters say it; 0: not set at all, as a HorizontalPodAutoscaler needs it */
    unsigned drain_seconds; /* 0: the default */
    unsigned start_ms;      /* 0: CONTROL_DEPLOY_START_MS */
    /* We lead, and the API server cannot be followed: memory is out, or of a list nothing came within start_ms but
     * trouble. All stands still already, as behind control_deploy_lead(false): whoever can do better is to lead. From
     * the loop. */
    void (*on_unable)(void *owner, const struct fl_err *err);
    void *owner;
};

/* Stands still until it leads. The client outlives it. 0, -EINVAL (an option, named), -ENOMEM. */
int control_deploy_new(struct fl_loop *loop, struct fl_kube_client *client,
                       const struct control_deploy_options *options, struct control_deploy **ret_deploy,
                       struct fl_err *err) FL_MUST_CHECK;
struct control_deploy *control_deploy_free(struct control_deploy *deploy); /* NULL is fine; returns NULL */

/* Whether we hold the Lease: watches begin, or end with all that is under way. */
void control_deploy_lead(struct control_deploy *deploy, bool leads);

struct control_deploy_stats {
    size_t gateways; /* ours */
    size_t due;      /* to be looked at, or worked on */
    size_t refused;  /* of ours: their condition says why */
    size_t ignored;  /* Gateways past the limit */
    uint64_t applied, failures;
    bool leads, settled; /* settled: every list is complete, and nothing is due */
};
struct control_deploy_stats control_deploy_stats(const struct control_deploy *deploy);

#endif
