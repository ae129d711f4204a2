#include "control/cluster.h"

#include "common/base/log.h"
#include "common/kube/connect.h"
#include "common/kube/lease.h"
#include "control/ca/bundles.h"
#include "control/ca/reviews.h"
#include "control/status/publish.h"

#include <errno.h>

struct control_cluster {
    struct fl_loop *loop;
    struct fl_metrics *metrics;
    struct control_store *store;
    struct fl_kube_client *client;
    struct control_kubernetes *source;
    struct control_publisher *publisher;
    struct control_bundles *bundles;
    struct fl_kube_lease *lease;
    char identity[FL_KUBE_HOLDER_MAX];
    const char *name_space, *lease_name;
    void (*on_commit)(void *owner, const struct control_diff *diff);
    void (*on_synced)(void *owner);
    void (*on_finished)(void *owner);
    void *owner;
};

/* --- the model --- */

static void on_commit(void *owner, const struct control_diff *diff)
{
    struct control_cluster *cluster = owner;
    control_publisher_update(cluster->publisher, diff->after);
    cluster->on_commit(cluster->owner, diff);
}

static void on_synced(void *owner)
{
    struct control_cluster *cluster = owner;
    control_publisher_update(cluster->publisher, control_store_model(cluster->store));
    cluster->on_synced(cluster->owner);
}

static void on_object(void *owner, enum control_kind kind, enum fl_kube_change change, const struct fl_json *object)
{
    struct control_cluster *cluster = owner;
    control_publisher_saw(cluster->publisher, kind, change, object);
}

/* --- who leads --- */

static void on_lead(void *owner, bool leads)
{
    struct control_cluster *cluster = owner;
    fl_log(FL_LOG_INFO, leads ? "leading" : "not leading any more", FL_LOG_STR("lease", cluster->lease_name),
           FL_LOG_STR("identity", cluster->identity), FL_LOG_STR("holder", fl_kube_lease_holder(cluster->lease)));
    control_publisher_lead(cluster->publisher, leads);
    control_bundles_lead(cluster->bundles, leads);
}

static void on_lease_trouble(void *owner, const struct fl_err *err)
{
    (void)owner;
    fl_log(FL_LOG_WARNING, "cannot keep the Lease", FL_LOG_STR("error", err->text));
}

static void on_released(void *owner, bool released, const struct fl_err *err)
{
    struct control_cluster *cluster = owner;
    if (err != NULL)
        fl_log(FL_LOG_WARNING, "the Lease was not released", FL_LOG_STR("error", err->text));
    else if (released)
        fl_log(FL_LOG_INFO, "released the Lease", FL_LOG_STR("lease", cluster->lease_name));
    cluster->on_finished(cluster->owner);
}

void control_cluster_finish(struct control_cluster *cluster, void (*on_finished)(void *owner))
{
    cluster->on_finished = on_finished;
    fl_kube_lease_release(cluster->lease, on_released);
}

/* --- tokens, bundle --- */

/* The model may be late, or know no uids: then the API server's word counts (reviews.h). */
static enum control_reviews_pod look_up(void *owner, const struct control_caller *caller)
{
    struct control_cluster *cluster = owner;
    const struct control_pod *pod = control_model_pod(control_store_model(cluster->store),
                                                      fl_span_str(caller->name_space), fl_span_str(caller->pod));
    if (!control_kubernetes_stats(cluster->source).synced || caller->pod_uid[0] == '\0')
        return CONTROL_REVIEWS_POD_UNKNOWN;
    if (pod == NULL)
        return CONTROL_REVIEWS_POD_GONE;
    if (pod->object.metadata.uid.len == 0)
        return CONTROL_REVIEWS_POD_UNKNOWN;
    return fl_span_eq_str(pod->object.metadata.uid, caller->pod_uid) ? CONTROL_REVIEWS_POD_THERE
                                                                     : CONTROL_REVIEWS_POD_GONE;
}

int control_cluster_authenticator(struct control_cluster *cluster, const char *audience,
                                  struct control_authenticator **ret_authenticator)
{
    const struct control_reviews_options options = {.loop = cluster->loop,
                                                    .client = cluster->client,
                                                    .metrics = cluster->metrics,
                                                    .audience = audience,
                                                    .look_up = look_up,
                                                    .owner = cluster};
    return control_reviews_new(&options, ret_authenticator);
}

void control_cluster_set_bundle(struct control_cluster *cluster, struct fl_span pem)
{
    if (control_bundles_set(cluster->bundles, pem) < 0)
        fl_log_message(FL_LOG_ERROR, "trust bundle not kept: out of memory");
}

/* --- its life --- */

static int connect_api(struct control_cluster *cluster, const struct control_cluster_options *options,
                       struct fl_err *err)
{
    int result = fl_kube_connect(cluster->loop, options->kubeconfig, options->context, "fairlead-control/" FL_VERSION,
                                 &cluster->client, err);
    if (result < 0)
        return result;
    if (fl_kube_client_insecure(cluster->client))
        fl_log_message(FL_LOG_WARNING, "the API server's certificate is not verified, as the kubeconfig says");
    const char *own = fl_kube_client_namespace(cluster->client);
    cluster->name_space = options->name_space != NULL ? options->name_space : own != NULL ? own : CONTROL_ROOT_DEFAULT;
    control_store_set_root(cluster->store, fl_span_str(cluster->name_space));
    fl_log(FL_LOG_INFO, "following the API server", FL_LOG_STR("server", fl_kube_client_server(cluster->client)),
           FL_LOG_STR("namespace", cluster->name_space));
    return 0;
}

static int start_leading(struct control_cluster *cluster, const struct control_cluster_options *options,
                         struct fl_err *err)
{
    const struct control_publisher_options publisher = {.metrics = cluster->metrics};
    const struct control_bundles_options bundles = {.loop = cluster->loop,
                                                    .client = cluster->client,
                                                    .metrics = cluster->metrics,
                                                    .configmap = options->bundle != NULL ? options->bundle
                                                                                         : CONTROL_CLUSTER_BUNDLE};
    const struct fl_kube_lease_options lease = {.name_space = cluster->name_space,
                                                .name = cluster->lease_name,
                                                .identity = cluster->identity,
                                                .seconds = options->lease_s,
                                                .yields = options->yields,
                                                .on_change = on_lead,
                                                .on_trouble = on_lease_trouble,
                                                .owner = cluster};
    int result = control_publisher_new(cluster->loop, cluster->client, &publisher, &cluster->publisher);
    if (result == 0)
        result = control_bundles_new(&bundles, &cluster->bundles);
    if (result < 0)
        return fl_err_errno(err, result, "start");
    fl_kube_lease_identity("fairlead-control", cluster->identity);
    return fl_kube_lease_new(cluster->loop, cluster->client, &lease, &cluster->lease, err);
}

static int start_source(struct control_cluster *cluster, struct fl_err *err)
{
    const struct control_kubernetes_options source = {.name_space = cluster->name_space,
                                                      .metrics = cluster->metrics,
                                                      .on_commit = on_commit,
                                                      .on_synced = on_synced,
                                                      .on_object = on_object,
                                                      .owner = cluster};
    return control_kubernetes_open(cluster->loop, cluster->client, cluster->store, &source, &cluster->source, err);
}

int control_cluster_new(const struct control_cluster_options *options, struct control_cluster **ret_cluster,
                        struct fl_err *err)
{
    struct control_cluster *cluster = calloc(1, sizeof(*cluster));
    if (cluster == NULL)
        return fl_err_set(err, -ENOMEM, "start: out of memory");
    cluster->loop = options->loop;
    cluster->metrics = options->metrics;
    cluster->store = options->store;
    cluster->lease_name = options->lease != NULL ? options->lease : CONTROL_CLUSTER_LEASE;
    cluster->on_commit = options->on_commit;
    cluster->on_synced = options->on_synced;
    cluster->owner = options->owner;
    int result = connect_api(cluster, options, err);
    if (result == 0)
        result = start_leading(cluster, options, err);
    if (result == 0)
        result = start_source(cluster, err);
    if (result < 0)
        control_cluster_free(cluster);
    else
        *ret_cluster = cluster;
    return result;
}

struct control_cluster *control_cluster_free(struct control_cluster *cluster)
{
    if (cluster == NULL)
        return NULL;
    control_kubernetes_close(cluster->source);
    fl_kube_lease_free(cluster->lease);
    control_publisher_free(cluster->publisher);
    control_bundles_free(cluster->bundles);
    fl_kube_client_free(cluster->client);
    free(cluster);
    return NULL;
}

const char *control_cluster_namespace(const struct control_cluster *cluster)
{
    return cluster->name_space;
}

struct control_kubernetes_stats control_cluster_stats(const struct control_cluster *cluster)
{
    return control_kubernetes_stats(cluster->source);
}
