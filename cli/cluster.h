/* A cluster's API for the subcommands, with a person's own credentials: objects as trees, one request at a time. A
 * credential plugin of the kubeconfig is started as kubectl does it; it may ask the person.
 */
#ifndef CLI_CLUSTER_H
#define CLI_CLUSTER_H

#include "cli/option.h"

#include "common/doc/json.h"
#include "common/kube/client.h"

#define CLI_CLUSTER_BYTES      (128u << 20) /* of an answer: the list of a large namespace */
#define CLI_CLUSTER_UNASKED_MS 3000u        /* for a plugin that may ask nobody */

struct cli_cluster {
    struct fl_loop *loop;
    struct fl_kube_client *client;
    unsigned timeout_ms; /* of each request; 0: the client's own */
};

/* `kubeconfig` and `context` NULL: as kubectl looks for them. 0, or negative with the reason; nothing to release then.
 */
int cli_cluster_open(const char *kubeconfig, const char *context, struct cli_cluster *ret_cluster,
                     struct fl_err *err) FL_MUST_CHECK;
/* The same with what options said. */
int cli_cluster_open_for(const struct cli_access *access, struct cli_cluster *ret_cluster,
                         struct fl_err *err) FL_MUST_CHECK;
void cli_cluster_close(struct cli_cluster *cluster); /* a zeroed one is fine */

/* The context's namespace, or "default". */
const char *cli_cluster_namespace(const struct cli_cluster *cluster);

/* GET; 0 with an owned tree; -ENOENT and the like with what the server said. */
int cli_cluster_get(struct cli_cluster *cluster, const char *path, struct fl_json **ret_json,
                    struct fl_err *err) FL_MUST_CHECK;
/* POST; the same. */
int cli_cluster_post(struct cli_cluster *cluster, const char *path, struct fl_span body, struct fl_json **ret_json,
                     struct fl_err *err) FL_MUST_CHECK;
/* PATCH with a JSON merge patch (RFC 7386). */
int cli_cluster_merge(struct cli_cluster *cluster, const char *path, struct fl_span patch,
                      struct fl_err *err) FL_MUST_CHECK;

#endif
