/* The trust bundle, where pods find it: a ConfigMap in every namespace, and a ClusterTrustBundle where the API server
 * has that kind (certificates.k8s.io/v1). Kept by the leader alone.
 *
 * By server-side apply (field manager "fairlead-control"), forced: the one key and the one label are ours, whatever
 * else stands there stays. Namespaces and the ConfigMaps of our name are watched, so a new namespace has its own at
 * once, and what somebody changes or deletes is put back: at once the first time, then ever more slowly
 * (CONTROL_BUNDLES_FIGHT_MS, doubled) where somebody undoes it again and again. Nothing is written where nothing
 * differs. Left out: kube-public, kube-node-lease, and namespaces that are being deleted. What stands in namespaces
 * stays there when this ends.
 *
 * Rights: `list, watch` on namespaces; `get, list, watch, patch` on ConfigMaps of the name, `create` on ConfigMaps;
 * `get, patch, create` on ClusterTrustBundles and `attest` on the signer.
 */
#ifndef CONTROL_CA_BUNDLES_H
#define CONTROL_CA_BUNDLES_H

#include "common/kube/client.h"

struct fl_metrics;
struct control_bundles;

#define CONTROL_BUNDLES_NAMESPACES_MAX 65536
#define CONTROL_BUNDLES_UNDER_WAY      8
#define CONTROL_BUNDLES_RATE           50 /* writes a second, and twice as many at once */
#define CONTROL_BUNDLES_FIGHT_MS       1000
#define CONTROL_BUNDLES_FIGHT_MAX_MS   300000
#define CONTROL_BUNDLES_PEACE_MS       60000  /* without another write: the next change is put back at once again */
#define CONTROL_BUNDLES_LOOK_MS        60000  /* the ClusterTrustBundle is applied again, should somebody change it */
#define CONTROL_BUNDLES_ABSENT_MS      600000 /* where the API server has not got it */

#define CONTROL_BUNDLES_KEY    "root-cert.pem"
#define CONTROL_BUNDLES_SIGNER "fairlead.io/mesh"
#define CONTROL_BUNDLES_NAME   "fairlead.io:mesh:root" /* of the ClusterTrustBundle: it begins with the signer */

struct control_bundles_options {
    struct fl_loop *loop;
    struct fl_kube_client *client; /* outlives this */
    struct fl_metrics *metrics;
    const char *configmap; /* its name; copied */
};

/* 0 or -ENOMEM. It does nothing before control_bundles_lead. */
int control_bundles_new(const struct control_bundles_options *options,
                        struct control_bundles **ret_bundles) FL_MUST_CHECK;
struct control_bundles *control_bundles_free(struct control_bundles *bundles);

/* The bundle from now on (PEM). 0 or -ENOMEM, then the former stays. */
int control_bundles_set(struct control_bundles *bundles, struct fl_span pem) FL_MUST_CHECK;
/* Begins, or ends and forgets. */
void control_bundles_lead(struct control_bundles *bundles, bool leads);

struct control_bundles_stats {
    size_t namespaces; /* that are to have it */
    size_t differing;  /* of them, those that have not, as far as we know */
    uint64_t writes, failures;
};
struct control_bundles_stats control_bundles_stats(const struct control_bundles *bundles);

#endif
