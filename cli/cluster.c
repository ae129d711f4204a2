#include "cli/cluster.h"

#include "common/kube/kubeconfig.h"
#include "common/kube/spawn.h"

#include <errno.h>
#include <stdio.h>

static const struct fl_kube_starter for_person = {.start = fl_kube_spawn, .interactive = true};
static const struct fl_kube_starter for_nobody = {.start = fl_kube_spawn, .timeout_ms = CLI_CLUSTER_UNASKED_MS};

static int open_with(const struct fl_kube_starter *starter, const char *kubeconfig, const char *context,
                     struct cli_cluster *ret_cluster, struct fl_err *err)
{
    struct fl_kube_access access = {0};
    struct cli_cluster cluster = {0};
    int result = fl_kube_find(kubeconfig, context, starter, &access, err);
    if (result < 0)
        return result;
    if (access.insecure)
        fprintf(stderr, "fairlead: warning: %s is not verified, because the kubeconfig says so\n", access.server);
    result = fl_loop_new(&cluster.loop);
    if (result < 0) {
        fl_kube_access_done(&access);
        return fl_err_errno(err, result, "start");
    }
    result = fl_kube_client_new(cluster.loop, &access, NULL, &cluster.client, err);
    if (result < 0)
        cli_cluster_close(&cluster);
    else
        *ret_cluster = cluster;
    return result;
}

int cli_cluster_open(const char *kubeconfig, const char *context, struct cli_cluster *ret_cluster, struct fl_err *err)
{
    return open_with(&for_person, kubeconfig, context, ret_cluster, err);
}

int cli_cluster_open_for(const struct cli_access *access, struct cli_cluster *ret_cluster, struct fl_err *err)
{
    int result =
        open_with(access->unasked ? &for_nobody : &for_person, access->kubeconfig, access->context, ret_cluster, err);
    if (result == 0)
        ret_cluster->timeout_ms = access->timeout_ms;
    return result;
}

void cli_cluster_close(struct cli_cluster *cluster)
{
    fl_kube_client_free(cluster->client);
    fl_loop_free(cluster->loop);
    *cluster = (struct cli_cluster){0};
}

const char *cli_cluster_namespace(const struct cli_cluster *cluster)
{
    const char *name = fl_kube_client_namespace(cluster->client);
    return name != NULL && name[0] != '\0' ? name : "default";
}

static int call(struct cli_cluster *cluster, const struct fl_kube_request *asked, struct fl_buf *body,
                struct fl_err *err)
{
    unsigned status = 0;
    struct fl_kube_request request = *asked;
    request.timeout_ms = cluster->timeout_ms;
    int result = fl_kube_call(cluster->client, &request, body, &status, err);
    if (result == 0)
        result = fl_kube_status_check(status, fl_buf_span(body), err);
    if (result < 0)
        fl_err_prefix(err, "%s", fl_kube_client_server(cluster->client));
    return result;
}

static int fetch(struct cli_cluster *cluster, const char *method, const char *path, struct fl_span sent,
                 struct fl_json **ret_json, struct fl_err *err)
{
    const struct fl_json_limits limits = {
        .bytes_max = CLI_CLUSTER_BYTES, .values_max = 16u << 20, .nul_replaced = true};
    struct fl_buf body;
    fl_buf_init(&body, CLI_CLUSTER_BYTES);
    int result = call(
        cluster, &(struct fl_kube_request){.method = method, .path = path, .body = sent, .body_max = CLI_CLUSTER_BYTES},
        &body, err);
    if (result == 0)
        result = fl_json_parse(fl_buf_span(&body), &limits, ret_json, err);
    fl_buf_done(&body);
    return result;
}

int cli_cluster_get(struct cli_cluster *cluster, const char *path, struct fl_json **ret_json, struct fl_err *err)
{
    return fetch(cluster, "GET", path, (struct fl_span){NULL, 0}, ret_json, err);
}

int cli_cluster_post(struct cli_cluster *cluster, const char *path, struct fl_span body, struct fl_json **ret_json,
                     struct fl_err *err)
{
    return fetch(cluster, "POST", path, body, ret_json, err);
}

int cli_cluster_merge(struct cli_cluster *cluster, const char *path, struct fl_span patch, struct fl_err *err)
{
    struct fl_buf body;
    fl_buf_init(&body, FL_KUBE_BODY_MAX);
    int result =
        call(cluster,
             &(struct fl_kube_request){
                 .method = "PATCH", .path = path, .content_type = "application/merge-patch+json", .body = patch},
             &body, err);
    fl_buf_done(&body);
    return result;
}
