/* Services: their names, ports and endpoints, seen from the client (endpoints) and from the server (which ports of a
 * Pod are whose). Pure look-ups over the model; lists go into the caller's arena. */
#ifndef CONTROL_MODEL_SERVICE_H
#define CONTROL_MODEL_SERVICE_H

#include "control/model/workload.h"

struct control_endpoint {
    struct control_ip ip;
    uint16_t port;
    uint8_t conditions;               /* CONTROL_ENDPOINT_… */
    bool usable;                      /* gets requests: ready (or published not ready), TCP */
    const struct control_pod *pod;    /* NULL: not a Pod of ours */
    struct control_workload workload; /* where pod != NULL; meshed is false otherwise */
    bool mtls;    /* meshed, and its port's mode is not DISABLE: mTLS with its identity or failure; or istio, or
                  ambient */
    bool istio;   /* its sidecar is Istio's */
    bool ambient; /* Istio's ztunnel serves it: it is reached by HBONE */
    struct fl_span node, zone, hostname;
};

struct control_endpoints { /* by address and port, each once */
    const struct control_endpoint *items;
    size_t count;
};

/* Fills workload, mtls and istio by pod (not NULL) and port. */
void control_endpoint_judge(const struct control_model *model, struct control_endpoint *endpoint);

/* Of a Service's port, from its EndpointSlices (matched by port name, as Kubernetes does). 0, -ENOMEM. */
int control_service_endpoints(const struct control_model *model, const struct control_service *service,
                              const struct control_port *port, struct fl_arena *arena,
                              struct control_endpoints *ret_endpoints) FL_MUST_CHECK;

/* NULL where there is none; TCP ports alone. */
const struct control_port *control_service_port(const struct control_service *service, uint16_t port);

/* "web.shop.svc.cluster.local". NULL only when memory is out (the arena's max counts as that). */
struct fl_span control_service_fqdn(const struct control_model *model, const struct control_service *service,
                                    struct fl_arena *arena) FL_MUST_CHECK;
/* The inverse, by the full name; NULL where there is no such Service. */
const struct control_service *control_service_by_fqdn(const struct control_model *model, struct fl_span fqdn);

/* Who is behind an address and port, as a client dials it. */
struct control_dialled {
    const struct control_service *service; /* by cluster IP, with its port; then pod is NULL */
    const struct control_port *port;       /* NULL: the Service has no such TCP port: the address is refused */
    const struct control_pod *pod;         /* by Pod IP: that Pod, no Service routes */
    bool in_mesh;                          /* neither found, but inside the mesh's CIDRs: refused, not external */
};
struct control_dialled control_dial(const struct control_model *model, const struct control_ip *ip, uint16_t port);

/* The server's view: which of a Pod's ports carry which Service's traffic. */
struct control_inbound {
    uint16_t pod_port;
    const struct control_service *service;
    const struct control_port *port;
    /* Where Services disagree about one pod port the first by age and name counts; TCP where it is opaque. */
    enum control_protocol protocol;
};
struct control_inbounds { /* by pod port; several Services on one port: the oldest first */
    const struct control_inbound *items;
    size_t count;
};
/* Whether fairlead.io/opaque-ports of a Pod (its own ports; the webhook writes there what holds for it) or of a Service
 * (the Service's ports) lists this port: carried as bytes, never looked into. */
bool control_is_opaque(const struct control_object *object, uint16_t port);

int control_pod_inbound(const struct control_model *model, const struct control_pod *pod, struct fl_arena *arena,
                        struct control_inbounds *ret_inbounds) FL_MUST_CHECK;

/* Services whose selector selects the Pod, in its namespace, the oldest first. 0, -ENOMEM. */
int control_pod_services(const struct control_model *model, const struct control_pod *pod, struct fl_arena *arena,
                         struct control_objects *ret_services) FL_MUST_CHECK;

/* The TrafficPolicy of a Service: of several the oldest, then by name. NULL: none. */
const struct control_traffic_policy *control_service_traffic(const struct control_model *model,
                                                             const struct control_service *service);

#endif
