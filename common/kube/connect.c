#include "common/kube/connect.h"

#include "common/kube/kubeconfig.h"

int fl_kube_connect(struct fl_loop *loop, const char *kubeconfig, const char *context, const char *agent,
                    struct fl_kube_client **ret_client, struct fl_err *err)
{
    struct fl_kube_access access = {0};
    int result = fl_kube_locate(kubeconfig, context, &access, err);
    return result < 0 ? result : fl_kube_client_new(loop, &access, agent, ret_client, err);
}
