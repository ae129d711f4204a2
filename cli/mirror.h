/* The control plane's model of a cluster, for one question: objects read from the API server as it reads them, with the
 * asker's own rights. Lists, no watches: it is as old as the question.
 *
 * An object that cannot be read is left out, as the control plane leaves it out (policies fail closed,
 * model/meshapi.h), and told on stderr. A kind whose CRD is not there has no objects.
 */
#ifndef CLI_MIRROR_H
#define CLI_MIRROR_H

#include "cli/cluster.h"

#include "control/model/store.h"

struct cli_mirror {
    const char *command; /* names itself on stderr */
    struct cli_cluster *cluster;
    struct control_store *store; /* owned */
};

/* `mesh`: the namespace in which the mesh is installed; borrowed. */
int cli_mirror_open(const char *command, struct cli_cluster *cluster, const char *mesh, struct cli_mirror *ret_mirror,
                    struct fl_err *err) FL_MUST_CHECK;
void cli_mirror_close(struct cli_mirror *mirror); /* a zeroed one is fine */

/* Lists a kind in one namespace (NULL: all, or one that has none). -EACCES: you may not; and what the API server said.
 */
int cli_mirror_list(struct cli_mirror *mirror, enum control_kind kind, const char *name_space,
                    struct fl_err *err) FL_MUST_CHECK;
/* One object; -ENOENT. */
int cli_mirror_get(struct cli_mirror *mirror, enum control_kind kind, struct fl_span name_space, struct fl_span name,
                   struct fl_err *err) FL_MUST_CHECK;
/* All that was read is in force. */
int cli_mirror_commit(struct cli_mirror *mirror, struct fl_err *err) FL_MUST_CHECK;

#endif
