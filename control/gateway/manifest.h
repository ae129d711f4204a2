/* The objects of a Gateway's proxies, as server-side apply takes them: typed, no template. Pure.
 *
 * The pod passes the "restricted" Pod Security Standard: the proxy's container as common/mesh/container.h has it, user
 * and group FL_PROXY_UID, ports below 1024 by the sysctl net.ipv4.ip_unprivileged_port_start, which is one of the safe
 * ones. It is never injected. A pod that ends serves on (preStop) while the cluster forgets its address; of a rollout,
 * the new one is ready before an old one goes.
 *
 * Labels and annotations of spec.infrastructure go onto everything; ours win, and those under fairlead.io/ are left
 * out: they are orders to other parts of the mesh.
 */
#ifndef CONTROL_GATEWAY_MANIFEST_H
#define CONTROL_GATEWAY_MANIFEST_H

#include "common/mesh/label.h"
#include "control/gateway/deploy.h"
#include "control/gateway/intent.h"
#include "control/gateway/override.h"

#define CONTROL_DEPLOY_MANAGER       "fairlead-deployer" /* field manager, and the value of the next */
#define CONTROL_DEPLOY_MANAGED_LABEL "app.kubernetes.io/managed-by"
#define CONTROL_DEPLOY_NAME_LABEL    "gateway.networking.k8s.io/gateway-name"
#define CONTROL_DEPLOY_CLASS_LABEL   "gateway.networking.k8s.io/gateway-class-name"
#define CONTROL_DEPLOY_DRAIN_SECONDS 10
#define CONTROL_DEPLOY_CONTAINER     FL_GATEWAY_NAME

/* In the order in which they are applied. X(constant, apiVersion, kind, path of the collection with the namespace's
 * name to be put in) */
#define CONTROL_DEPLOY_CHILDREN(X)                                                                                     \
    X(ACCOUNT, "v1", "ServiceAccount", "/api/v1", "serviceaccounts")                                                   \
    X(SERVICE, "v1", "Service", "/api/v1", "services")                                                                 \
    X(DEPLOYMENT, "apps/v1", "Deployment", "/apis/apps/v1", "deployments")                                             \
    X(BUDGET, "policy/v1", "PodDisruptionBudget", "/apis/policy/v1", "poddisruptionbudgets")

enum control_deploy_child {
#define CONTROL_DEPLOY_CONSTANT(constant, ...) CONTROL_DEPLOY_##constant,
    CONTROL_DEPLOY_CHILDREN(CONTROL_DEPLOY_CONSTANT)
#undef CONTROL_DEPLOY_CONSTANT
        CONTROL_DEPLOY_CHILD_COUNT
};

/* The child's object, owned by the caller; `uid`: of the one that is there, which is no other's (empty: there is none).
 * NULL only when memory is out. */
struct fl_json *control_manifest(enum control_deploy_child child, const struct control_deploy_options *options,
                                 const struct control_intent *intent, const struct control_override *override,
                                 struct fl_span uid);
/* Whether there is to be one: a budget belongs to more than one replica. */
bool control_manifest_wants(enum control_deploy_child child, const struct control_deploy_options *options,
                            const struct control_override *override);

/* The Gateway with our one condition, for server-side apply of its status. `time`: RFC 3339. */
struct fl_json *control_manifest_condition(const struct control_intent *intent, bool status, const char *reason,
                                           const char *message, const char *time);

#endif
