/* The certificate authority's two Secrets (stored.h) at the API server: read, made where there is none, rotated when
 * that is due. Blocking: for the courier and the command line, each a process of its own.
 *
 * Every write names the version that was read; of several programs that start at once one makes the root, and the
 * others read it. Rights: `get` on both names, `patch` on the first, `create` on secrets of the namespace.
 */
#ifndef CONTROL_CA_VAULT_H
#define CONTROL_CA_VAULT_H

#include "common/kube/client.h"
#include "control/ca/stored.h"

struct control_vault_options {
    const char *name_space, *secret;
    const char *cacerts; /* NULL: it is not looked at */
    uint32_t overlap_s, validity_s;
    int64_t root_life_s; /* 0: CONTROL_ROOT_LIFE_S */
    /* What the first Secret held when it was read last: where somebody has deleted it, it is made again as it was,
     * since everybody trusts that. NULL: nothing is known. */
    const struct control_stored *former;
};

/* 0 with both (`given->there` false: there is none, `own->there` false: none is wanted beside the given one);
 * control_stored_done on both. `asked`: a new self-made root in any case, -ENOENT where there is none that it could
 * follow, -EBUSY where the given one issues, -ENOSPC where all numbers are taken. Else -EINVAL (a Secret that is not as
 * it should be, by name), or as fl_kube_call and fl_kube_status_check have it. */
int control_vault_sync(struct fl_kube_client *client, const struct control_vault_options *options, bool asked,
                       struct control_stored *ret_own, struct control_stored *ret_given,
                       struct fl_err *err) FL_MUST_CHECK;

/* A client by a kubeconfig (NULL: the pod's service account). */
int control_vault_connect(struct fl_loop *loop, const char *kubeconfig, const char *context,
                          struct fl_kube_client **ret_client, struct fl_err *err) FL_MUST_CHECK;

#endif
