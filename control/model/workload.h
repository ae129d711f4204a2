/* A workload: a Pod (or a gateway) as the subject of identity, labels and policies. Pure look-ups over the model.
 *
 * A Pod says itself whether it is meshed: by the webhook's annotation fairlead.io/status or the container
 * fairlead-proxy; where it has neither (a directory of files), by its own label fairlead.io/inject: enabled. "disabled"
 * is a no in any case. The namespace's label alone does not count: a Pod from before it has no sidecar.
 */
#ifndef CONTROL_MODEL_WORKLOAD_H
#define CONTROL_MODEL_WORKLOAD_H

#include "common/base/buf.h"
#include "control/model/model.h"

struct control_workload {
    const struct control_pod *pod;         /* NULL for a gateway */
    const struct control_gateway *gateway; /* NULL for a Pod */
    struct fl_span name_space, service_account;
    const struct fl_labels *labels;
    /* For metrics; never empty: "unknown" where nothing tells, "latest" for revisions. */
    struct fl_span name;         /* of the owner: Deployment, StatefulSet …; annotation, owner, Pod's name */
    struct fl_span app, version; /* labels app.kubernetes.io/name or app; app.kubernetes.io/version or version */
    struct fl_span canonical_name, canonical_revision;
    bool meshed;
};

/* Whether a Pod that is not of our mesh has a sidecar of Istio's that the settings (istioPeers) let us speak to: by
 * Istio's label security.istio.io/tlsMode: istio. */
bool control_pod_is_istio(const struct control_model *model, const struct control_pod *pod);
/* The same for a Pod that Istio's ztunnel serves on its node: by the annotation ambient.istio.io/redirection: enabled
 * of Istio's CNI plugin. */
bool control_pod_is_ambient(const struct control_model *model, const struct control_pod *pod);
void control_workload_of_pod(const struct control_pod *pod, struct control_workload *ret_workload);
/* Its identity is the service account "<gateway>-fairlead" of its namespace; the text needs the arena. 0, -ENOMEM. */
int control_workload_of_gateway(const struct control_gateway *gateway, struct fl_arena *arena,
                                struct control_workload *ret_workload) FL_MUST_CHECK;

/* Appends spiffe://…; 0, -EINVAL (names that do not make a SPIFFE ID), -ENOMEM, -EMSGSIZE. */
int control_workload_identity(const struct control_model *model, const struct control_workload *workload,
                              struct fl_buf *out) FL_MUST_CHECK;

/* PeerAuthentication: port < workload < namespace < mesh, the first that says a mode; of several on one level the
 * oldest (then by name). PERMISSIVE where none does; DISABLE where the workload is not meshed. `port` is the
 * workload's; 0: none in particular. */
enum control_mtls control_workload_mtls(const struct control_model *model, const struct control_workload *workload,
                                        uint16_t port);
/* Ports with a mode of their own, for filter chains: ascending, each once; into the arena. 0, -ENOMEM. */
int control_workload_mtls_ports(const struct control_model *model, const struct control_workload *workload,
                                struct fl_arena *arena, const struct control_port_mtls **ret_ports,
                                size_t *ret_count) FL_MUST_CHECK;

/* What applies: those of the root namespace, then of the workload's own, each by name. Objects of the kind asked for;
 * kind is AUTHORIZATION_POLICY, REQUEST_AUTHENTICATION, PEER_AUTHENTICATION or TELEMETRY. 0, -ENOMEM. */
int control_workload_policies(const struct control_model *model, const struct control_workload *workload,
                              enum control_kind kind, struct fl_arena *arena,
                              struct control_objects *ret_policies) FL_MUST_CHECK;

struct control_telemetry_view { /* Telemetry, merged: mesh < namespace < workload, field by field */
    bool access_log;            /* default true */
    struct fl_span access_log_path;
    bool tracing; /* true only with an endpoint */
    struct fl_span endpoint;
    uint32_t sampling; /* percent × 1000; default 1000 (1 %) */
};
struct control_telemetry_view control_workload_telemetry(const struct control_model *model,
                                                         const struct control_workload *workload);

#endif
