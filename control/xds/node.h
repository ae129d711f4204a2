/* What a client of xDS says of itself in its first message. Claims: what they may be believed is the view's business
 * (view.h), which checks them against the client's identity and the model.
 *
 *     sidecar~<ip>~<pod>.<namespace>~<namespace>.svc.cluster.local       a workload's proxy
 *     router~<ip>~<name>.<namespace>~…  with metadata FAIRLEAD_GATEWAY   a gateway's
 *     anything else                                                      a plain client: everything, as clients see it
 */
#ifndef CONTROL_XDS_NODE_H
#define CONTROL_XDS_NODE_H

#include "common/base/cleanup.h"
#include "common/base/err.h"
#include "common/base/span.h"

enum control_role { CONTROL_ROLE_CLIENT, CONTROL_ROLE_SIDECAR, CONTROL_ROLE_GATEWAY };

#define CONTROL_NODE_ID_MAX 640

struct control_node {
    enum control_role role;
    bool on_demand; /* FAIRLEAD_DISCOVERY: on-demand */
    char id[CONTROL_NODE_ID_MAX + 1];
    char user_agent[64]; /* name, cut */
    char ip[46];         /* canonical; sidecar and gateway, else empty */
    char name[254];      /* the pod's, or the gateway's */
    char name_space[64];
};

struct Envoy__Config__Core__V3__Node;

/* The node of a message; NULL: a plain client without a name. 0; -EINVAL: an id that begins as one of ours and is not,
 * or one that is too long. */
int control_node_read(const struct Envoy__Config__Core__V3__Node *message, struct control_node *ret_node,
                      struct fl_err *err) FL_MUST_CHECK;

const char *control_role_word(enum control_role role); /* "sidecar", "gateway", "client" */

#endif
