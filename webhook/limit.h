/* Every limit of the webhook, in one table; webhook/README.md prints it. What is bounded elsewhere (ranges and CIDRs of
 * a capture spec, length of an error text) stands with its owner in common/. */
#ifndef WEBHOOK_LIMIT_H
#define WEBHOOK_LIMIT_H

#define WEBHOOK_REVIEW_MAX     (6u << 20) /* bytes of an AdmissionReview; more is answered 413 */
#define WEBHOOK_REVIEW_DEPTH   64         /* levels of arrays and objects in it */
#define WEBHOOK_REVIEW_VALUES  (1u << 18) /* scalars, arrays and objects in it: some 100 bytes of memory each */
#define WEBHOOK_RESPONSE_MAX   (1u << 20) /* bytes of an answer, and of a scrape */
#define WEBHOOK_PATCH_MAX      (512u << 10)
#define WEBHOOK_UID_MAX        128  /* bytes of request.uid */
#define WEBHOOK_CONTAINERS_MAX 1024 /* in each of a pod's lists of containers, and volumes */

#define WEBHOOK_WARNINGS_MAX 8   /* in one answer */
#define WEBHOOK_WARNING_MAX  240 /* bytes of one; the aim is 120, the API server may cut at 256 */

#define WEBHOOK_CONNECTIONS_MAX 512
#define WEBHOOK_IDLE_SECONDS    30 /* of a connection; also bounds a slow handshake or a slow request */
#define WEBHOOK_DRAIN_SECONDS   20 /* after SIGTERM; connections that are still open then are closed */

#define WEBHOOK_CONFIG_MAX        (256u << 10)
#define WEBHOOK_CONFIG_ADDRESSES  512         /* bytes of the control plane's addresses */
#define WEBHOOK_CONFIG_IGNORED    64          /* ignored namespaces */
#define WEBHOOK_NAMESPACES_MAX    (32u << 20) /* bytes of the namespaces file */
#define WEBHOOK_LOOKUP_NAMESPACES 100000      /* of an API server */
#define WEBHOOK_LOOKUP_PAGE       250         /* of them at once */
#define WEBHOOK_LOOKUP_MAX        (4u << 20)  /* bytes of one; etcd's own limit is 1.5 MiB */
#define WEBHOOK_LOOKUP_MS         1500u       /* for one that is asked for; an answer takes two of them at most */
#define WEBHOOK_DEFERRED_MAX      256         /* admissions that wait for a namespace */
#define WEBHOOK_POLL_MILLISECONDS 1000        /* how often the files are looked at */

#define WEBHOOK_NAME_MAX  253 /* a Kubernetes name */
#define WEBHOOK_IMAGE_MAX 512
#define WEBHOOK_VALUE_MAX 64 /* bytes of a quantity */

#define WEBHOOK_EXTRA_MAX    (32u << 10) /* bytes of proxy-env, proxy-volumes, proxy-volume-mounts, each */
#define WEBHOOK_EXTRA_VALUES 4096        /* values in each */
#define WEBHOOK_EXTRA_ENV    64          /* variables; the following ones elements */
#define WEBHOOK_EXTRA_LIST   32
#define WEBHOOK_PATH_MAX     1024 /* bytes of a mount path */

#endif
