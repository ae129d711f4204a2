/* struct control_view: what one proxy may see of one model, by who it is. Plain data, borrowed from the model and the
 * arena; made anew for every push.
 *
 *   sidecar   every Service of the mesh; of the workload's own side: its ports, its policies. The Pod that it claims to
 *             be must be its identity's: same namespace, same service account, one of the Pod's addresses.
 *   gateway   the listeners, routes, Secrets of the Gateway that its identity is of, and the Services that these name.
 *   client    every Service, as a sidecar without a workload would see it; no certificate, so no mTLS.
 *
 * An identity that is empty is nobody's (the plaintext listener on loopback): then the node is taken at its word.
 * A Pod that the model does not know (yet) has a view all the same: it may call, and is not called: its inbound
 * listener refuses everything, because which policies select it is not known.
 */
#ifndef CONTROL_XDS_VIEW_H
#define CONTROL_XDS_VIEW_H

#include "common/base/err.h"
#include "control/model/workload.h"
#include "control/xds/node.h"

struct control_view {
    const struct control_model *model;
    enum control_role role;
    bool on_demand;
    struct fl_span name_space;             /* the caller's: whose routes, settings and Services it is about */
    struct fl_span identity;               /* empty: nobody */
    const struct control_pod *pod;         /* sidecar; NULL: not known */
    const struct control_gateway *gateway; /* gateway; NULL: not there */
    bool has_workload;
    struct control_workload workload; /* of the Pod or Gateway */
};

/* `node` and `identity` must live as long as the view; the arena takes the gateway's account. 0; -EACCES with the
 * reason: end the stream; -ENOMEM. */
int control_view_make(const struct control_model *model, const struct control_node *node, struct fl_span identity,
                      struct fl_arena *arena, struct control_view *ret_view, struct fl_err *err) FL_MUST_CHECK;

#endif
