/* The Kubernetes source: the API server's objects, listed and watched, are the cluster. Writes the store; nothing else.
 *
 * - One collection (collection.h) for each kind of the model, but Secrets. What the model does not read of an object
 *   (managedFields, most of a Pod) is cut off before anything else sees it (trim.h), so that a heartbeat in it is no
 *   change. Pods that have ended are not asked for.
 * - Changes settle for CONTROL_KUBERNETES_SETTLE_MS without another (at most CONTROL_KUBERNETES_SETTLE_MAX_MS, and no
 *   more than a quarter of the time goes into commits), then one commit follows.
 * - The first commit comes when every kind that is there has been listed, and on_synced when the Secrets that it refers
 *   to have been asked for too: before, the model would be a part of the cluster, which is another cluster. Namespaces,
 *   Services, EndpointSlices, Pods and the kinds that fail closed hold it up for as long as they cannot be read; any
 *   other kind for CONTROL_KUBERNETES_WAIT_MS behind these.
 * - A kind that the API server does not know (its CRD is not installed) is no error and holds nothing up. It is looked
 *   for again every CONTROL_KUBERNETES_LOOK_MS. One that goes later takes its objects with it once it has been gone for
 *   CONTROL_KUBERNETES_GONE_MS.
 * - An object with an error is left out and told (control_model_problems); one that was good before keeps its LAST GOOD
 *   version. AuthorizationPolicy, RequestAuthentication and PeerAuthentication fail closed instead (meshapi.h).
 * - While the API server is away, slow, refuses or answers nonsense the last state stays in force. The log says once
 *   that a kind fails, with what was asked and why, and once that it is well again.
 * - Secrets are never listed. Those that a Gateway refers to (in its namespace, or permitted by a ReferenceGrant) are
 *   fetched by name, when the reference comes and every CONTROL_KUBERNETES_REFETCH_MS (referred.h): `get` is the one
 *   right that it takes.
 */
#ifndef CONTROL_SOURCE_KUBERNETES_H
#define CONTROL_SOURCE_KUBERNETES_H

#include "common/base/err.h"
#include "common/kube/watch.h"
#include "common/metrics/registry.h"
#include "control/model/store.h"

#define CONTROL_KUBERNETES_SETTLE_MS             20
#define CONTROL_KUBERNETES_SETTLE_MAX_MS         200
#define CONTROL_KUBERNETES_WAIT_MS               30000
#define CONTROL_KUBERNETES_SECRETS_MS            10000 /* that Secrets hold up on_synced at most */
#define CONTROL_KUBERNETES_LOOK_MS               10000
#define CONTROL_KUBERNETES_GONE_MS               30000
#define CONTROL_KUBERNETES_REFETCH_MS            10000
#define CONTROL_KUBERNETES_PROBLEMS_MAX          1000 /* that are told; the last one counts the rest */
#define CONTROL_KUBERNETES_PROBLEMS_OF_NAMESPACE 100  /* of these */

struct control_kubernetes;

struct control_kubernetes_pace { /* for tests; 0: as above, and watch.h's back-off */
    uint32_t wait_ms, look_ms, gone_ms, refetch_ms, backoff_ms;
    size_t namespace_max; /* objects of one kind and namespace */
};

struct control_kubernetes_options {
    const char *name_space;     /* of the installation; copied */
    struct fl_metrics *metrics; /* NULL: none are kept */
    /* After each commit that changed something (objects or problems); the diff is borrowed. NULL: nobody asks. */
    void (*on_commit)(void *owner, const struct control_diff *diff);
    /* Once: the first whole state is committed. NULL: nobody asks. */
    void (*on_synced)(void *owner);
    /* Each object of a kind that has a status (the Gateway API's but ReferenceGrant, fairlead.io's) as the API server
     * sent it, good or not; borrowed for the call. Of one that went there may be no more than metadata.name and
     * metadata.namespace. It comes before the commit that has it. NULL: nobody asks. */
    void (*on_object)(void *owner, enum control_kind kind, enum fl_kube_change change, const struct fl_json *object);
    void *owner;
    struct control_kubernetes_pace pace;
};

enum control_kind_state {
    CONTROL_KIND_WAITS,   /* not listed yet, or that failed */
    CONTROL_KIND_SYNCED,  /* listed, and followed since */
    CONTROL_KIND_MISSING, /* the API server does not know it */
    CONTROL_KIND_DENIED,  /* 401 or 403 */
};

struct control_kubernetes_stats {
    bool synced;                                        /* on_synced has been */
    uint64_t objects, problems;                         /* now */
    uint64_t commits;                                   /* that changed something */
    uint64_t lists, watches, events, troubles;          /* of all kinds, since the start */
    enum control_kind_state states[CONTROL_KIND_COUNT]; /* of Secrets: WAITS */
};

/* Starts at once; nothing is known yet when it returns, and no callback comes from within. 0, -ENOMEM. `loop`, `client`
 * and `store` outlive it. */
int control_kubernetes_open(struct fl_loop *loop, struct fl_kube_client *client, struct control_store *store,
                            const struct control_kubernetes_options *options,
                            struct control_kubernetes **ret_kubernetes, struct fl_err *err) FL_MUST_CHECK;
struct control_kubernetes *control_kubernetes_close(struct control_kubernetes *kubernetes); /* NULL is fine; NULL */

struct control_kubernetes_stats control_kubernetes_stats(const struct control_kubernetes *kubernetes);

#endif
