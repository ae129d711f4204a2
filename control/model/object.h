/* What every object of the model has. An object is read once from its document, then immutable and reference-counted
 * (atomic): models share it, whoever derives something from it may hold it. All that it points to lives in its own
 * arena and goes with the last reference; the document is free at once.
 *
 * A kind's own struct (core.h, gatewayapi.h, meshapi.h) has `struct control_object object` as its first member; the
 * cast functions there give NULL for another kind.
 */
#ifndef CONTROL_MODEL_OBJECT_H
#define CONTROL_MODEL_OBJECT_H

#include "common/kube/object.h"

#include <stdatomic.h>

/* (enum constant, kind, API group, versions that we read, namespaced) */
#define CONTROL_KINDS(X)                                                                                               \
    X(NAMESPACE, "Namespace", "", "v1", false)                                                                         \
    X(SERVICE, "Service", "", "v1", true)                                                                              \
    X(ENDPOINT_SLICE, "EndpointSlice", "discovery.k8s.io", "v1", true)                                                 \
    X(POD, "Pod", "", "v1", true)                                                                                      \
    X(SERVICE_ACCOUNT, "ServiceAccount", "", "v1", true)                                                               \
    X(SECRET, "Secret", "", "v1", true)                                                                                \
    X(GATEWAY_CLASS, "GatewayClass", "gateway.networking.k8s.io", "v1 v1beta1", false)                                 \
    X(GATEWAY, "Gateway", "gateway.networking.k8s.io", "v1 v1beta1", true)                                             \
    X(LISTENER_SET, "ListenerSet", "gateway.networking.k8s.io", "v1", true)                                            \
    X(HTTP_ROUTE, "HTTPRoute", "gateway.networking.k8s.io", "v1 v1beta1", true)                                        \
    X(GRPC_ROUTE, "GRPCRoute", "gateway.networking.k8s.io", "v1", true)                                                \
    X(TCP_ROUTE, "TCPRoute", "gateway.networking.k8s.io", "v1 v1alpha2", true)                                         \
    X(TLS_ROUTE, "TLSRoute", "gateway.networking.k8s.io", "v1 v1alpha3 v1alpha2", true)                                \
    X(REFERENCE_GRANT, "ReferenceGrant", "gateway.networking.k8s.io", "v1 v1beta1", true)                              \
    X(AUTHORIZATION_POLICY, "AuthorizationPolicy", "fairlead.io", "v1alpha1", true)                                    \
    X(REQUEST_AUTHENTICATION, "RequestAuthentication", "fairlead.io", "v1alpha1", true)                                \
    X(PEER_AUTHENTICATION, "PeerAuthentication", "fairlead.io", "v1alpha1", true)                                      \
    X(TRAFFIC_POLICY, "TrafficPolicy", "fairlead.io", "v1alpha1", true)                                                \
    X(TELEMETRY, "Telemetry", "fairlead.io", "v1alpha1", true)                                                         \
    X(MESH_SETTINGS, "MeshSettings", "fairlead.io", "v1alpha1", true)

enum control_kind {
#define CONTROL_KIND_CONSTANT(constant, ...) CONTROL_##constant,
    CONTROL_KINDS(CONTROL_KIND_CONSTANT)
#undef CONTROL_KIND_CONSTANT
        CONTROL_KIND_COUNT
};

const char *control_kind_name(enum control_kind kind);  /* "HTTPRoute" */
const char *control_kind_group(enum control_kind kind); /* "gateway.networking.k8s.io"; "" for the core */
bool control_kind_namespaced(enum control_kind kind);

#define CONTROL_DEFAULT_NAMESPACE "default" /* of a namespaced object that names none */

#define CONTROL_OBJECT_BYTES_MAX (4u << 20) /* of memory, one object */

struct control_origin {    /* where an object came from, for what a person reads */
    struct fl_span source; /* a file's path relative to the directory; "" for the Kubernetes API */
    uint32_t document;     /* in the file, from 1; 0: none */
    uint32_t line, column; /* of the document's first value; 0: unknown */
};

struct control_object {
    atomic_uint references;
    enum control_kind kind;
    uint64_t version; /* hash of the content (not of the origin): equal content, equal version, also after a restart */
    struct control_origin origin;
    struct fl_metadata metadata; /* metadata.name_space is filled in for namespaced kinds, empty for the others */
    /* Not empty: what in the object was not understood. Only policies that then fail closed are kept in this state
     * (AuthorizationPolicy, RequestAuthentication, PeerAuthentication, MeshSettings; meshapi.h says what follows),
     * anything else is an error on reading. */
    struct fl_span broken;
    /* Not empty: members of a Gateway API object's spec that are not known, and were ignored. */
    struct fl_span ignored;
    struct fl_arena arena;
};

struct control_key { /* names an object; spans borrowed */
    enum control_kind kind;
    struct fl_span name_space, name; /* name_space is empty for cluster-wide kinds */
};

struct control_key control_object_key(const struct control_object *object);
int control_key_compare(const struct control_key *a, const struct control_key *b); /* by kind, namespace, name */

struct control_object *control_object_ref(const struct control_object *object); /* NULL gives NULL */
void control_object_unref(const struct control_object *object);                 /* NULL is fine */
void control_cleanup_object(struct control_object **object);

#endif
