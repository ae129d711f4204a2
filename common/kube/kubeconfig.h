/* Where the API server is: from the files and environment of a pod, or from kubeconfig files.
 *
 * A kubeconfig is read as kubectl does: contexts, clusters, users, current-context; inline data wins over a file; files
 * are relative to the kubeconfig's folder; of several files ("a:b" in $KUBECONFIG) the first that says something wins.
 * tls-server-name, proxy-url (http, https, socks5) and impersonation (as, as-uid, as-groups, as-user-extra) are
 * honoured. `exec` is read where the caller gives leave to start programs by a `starter` (kube/plugin.h; the client
 * starts it). Refused by name, because silence would send requests as somebody else: exec where `starter` is NULL, or
 * beside a token or certificate; auth-provider (kubectl knows it no more either); username/password (no API server
 * takes them any more); a server that is neither https nor http, credentials over http, a certificate without its key.
 * insecure-skip-tls-verify is honoured (`insecure` tells, the caller says it aloud), but not beside a CA.
 */
#ifndef FL_KUBE_KUBECONFIG_H
#define FL_KUBE_KUBECONFIG_H

#include "common/base/err.h"
#include "common/kube/access.h"

#define FL_KUBECONFIG_MAX   (4u << 20) /* bytes of one file */
#define FL_KUBECONFIG_FILES 16         /* in a list */

/* From a pod: `folder` holds token, ca.crt and namespace (NULL: where the kubelet mounts them), host and port are
 * $KUBERNETES_SERVICE_HOST and $KUBERNETES_SERVICE_PORT. -ENOENT with the reason where this is no pod, -EINVAL,
 * -ENOMEM. */
int fl_kube_in_cluster(const char *folder, struct fl_kube_access *ret_access, struct fl_err *err) FL_MUST_CHECK;

/* `files`: a path, or several with ':' between; those that do not exist are left out where there are several.
 * `context` NULL: current-context. 0, -ENOENT (no file, no such context, cluster or user), -EINVAL (malformed, refused:
 * file:line:column and what), -EMSGSIZE, -ENOMEM. */
int fl_kubeconfig_load(const char *files, const char *context, const struct fl_kube_starter *starter,
                       struct fl_kube_access *ret_access, struct fl_err *err) FL_MUST_CHECK;

/* The same for a text; `file` names it in errors, its folder is what paths are relative to. */
int fl_kubeconfig_parse(struct fl_span text, const char *file, const char *context,
                        const struct fl_kube_starter *starter, struct fl_kube_access *ret_access,
                        struct fl_err *err) FL_MUST_CHECK;

/* As a program of the mesh is told, which starts no other: `files` where not NULL, else the pod's. */
int fl_kube_locate(const char *files, const char *context, struct fl_kube_access *ret_access,
                   struct fl_err *err) FL_MUST_CHECK;

/* As a person's tool looks for it: `files` where not NULL, else $KUBECONFIG, else ~/.kube/config where it exists, else
 * the pod's. */
int fl_kube_find(const char *files, const char *context, const struct fl_kube_starter *starter,
                 struct fl_kube_access *ret_access, struct fl_err *err) FL_MUST_CHECK;

#endif
