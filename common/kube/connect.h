/* How a program of the mesh comes to its client: by the kubeconfig that it was given, else as the pod that it runs in.
 * (A person's tool looks in more places: fl_kube_find.) */
#ifndef FL_KUBE_CONNECT_H
#define FL_KUBE_CONNECT_H

#include "common/kube/client.h"

/* `kubeconfig` NULL: the pod's service account; `context` NULL: the current one; `agent`: User-Agent, copied. Nothing
 * is asked of the server yet. What fl_kubeconfig_load or fl_kube_in_cluster, and fl_kube_client_new, return.
 * Whether the server's certificate is verified: fl_kube_client_insecure, for the caller to say aloud. */
int fl_kube_connect(struct fl_loop *loop, const char *kubeconfig, const char *context, const char *agent,
                    struct fl_kube_client **ret_client, struct fl_err *err) FL_MUST_CHECK;

#endif
