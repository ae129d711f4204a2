/* Posts to the API server: one bounded HTTP/1.1 POST after another over common/tls, on the loop, never blocking. For
 * Events alone, which nobody waits for.
 *
 * What may go wrong costs a count and nothing else: an API server that is away, slow, endless or hostile. A queue of
 * CNI_POST_QUEUE_MAX waits; a new one is dropped when it is full, and what has waited for CNI_POST_PATIENCE_MS is given
 * up. Between attempts that failed there is a back-off up to a minute, or what Retry-After says. The connection is kept
 * while something waits, and closed then, with all of TLS's memory: a node with nothing to tell has no connection and
 * no TLS.
 *
 * Access is a pod's own: KUBERNETES_SERVICE_HOST and _PORT, and the service account's folder with `token` and `ca.crt`,
 * both read anew for each connection. The server must show a certificate of that authority for kubernetes.default.svc;
 * where the host is a name, for this name. */
#ifndef CNI_AGENT_POST_H
#define CNI_AGENT_POST_H

#include "common/base/err.h"
#include "common/base/span.h"
#include "common/loop/loop.h"

#define CNI_POST_ACCOUNT "/var/run/secrets/kubernetes.io/serviceaccount"

#define CNI_POST_QUEUE_MAX   64
#define CNI_POST_PATIENCE_MS 600000 /* in the queue */
#define CNI_POST_TIMEOUT_MS  10000  /* one connection until it is open; one request until it is answered */

struct cni_post;

enum cni_post_result {
    CNI_POST_POSTED,  /* or it is there already */
    CNI_POST_DROPPED, /* the queue was full */
    CNI_POST_REFUSED, /* 4xx: no right, no such namespace, not well-formed */
    CNI_POST_FAILED,  /* tried until the patience was over */
};

struct cni_post_access {
    const char *host; /* an IP address, IPv6 with or without brackets; a name is not resolved: -EINVAL */
    const char *port;
    const char *folder; /* of `token` and `ca.crt` */
};

struct cni_post_ops {
    /* What became of each; `reason` is empty for POSTED. */
    void (*done)(void *owner, enum cni_post_result result, const char *reason);
    /* An attempt failed and will be made again; for a log line, at most every minute. */
    void (*trouble)(void *owner, const char *reason);
};

/* Borrows `access` and its texts, and `ops`. 0; -EINVAL where the access cannot be one, -ENOENT where there is no
 * token: there is nobody to post to, and the reason says why. */
int cni_post_new(struct fl_loop *loop, const struct cni_post_access *access, const struct cni_post_ops *ops,
                 void *owner, struct cni_post **ret_post, struct fl_err *err) FL_MUST_CHECK;
struct cni_post *cni_post_free(struct cni_post *post); /* what waits is given up, without a word */

/* Copies path and body. */
void cni_post_send(struct cni_post *post, const char *path, struct fl_span body);

#endif
