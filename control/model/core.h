/* Kubernetes' own kinds, as far as the mesh reads them. Spans and arrays live in the object's arena. */
#ifndef CONTROL_MODEL_CORE_H
#define CONTROL_MODEL_CORE_H

#include "control/model/ip.h"
#include "control/model/object.h"

#define CONTROL_PORTS_MAX     256  /* of a Service, slice or Pod */
#define CONTROL_INGRESS_MAX   16   /* of a Service's load balancer; more are not looked at */
#define CONTROL_ENDPOINTS_MAX 1000 /* of one EndpointSlice, as in Kubernetes */
#define CONTROL_ADDRESSES_MAX 100  /* of one endpoint; the first is used */

struct control_namespace {
    struct control_object object;
};

enum control_transport { CONTROL_TCP, CONTROL_UDP, CONTROL_SCTP };

/* What runs on a port. From appProtocol, else from the port's name up to its first '-', else AUTO: the proxy looks at
 * the bytes. "kubernetes.io/h2c", "grpc", "http2" → HTTP2; "http", "kubernetes.io/ws" → HTTP; "https", "tls", and every
 * other word that is known to be no HTTP ("tcp", "mysql", "redis", "mongo" …) → TCP. An unknown appProtocol is TCP, an
 * unknown name AUTO, but for the ports 25, 53, 3306 and 27017. */
enum control_protocol { CONTROL_PROTOCOL_AUTO, CONTROL_PROTOCOL_TCP, CONTROL_PROTOCOL_HTTP, CONTROL_PROTOCOL_HTTP2 };
const char *control_protocol_name(enum control_protocol protocol); /* "auto", "tcp", "http", "http2" */

struct control_port { /* of a Service, an EndpointSlice or a Pod's container */
    struct fl_span name;
    uint16_t port;              /* slice: 0 where it says none (any port) */
    uint16_t target;            /* Service: targetPort as number (defaults to port); 0 where it is a name */
    struct fl_span target_name; /* Service: targetPort as a name of a container port */
    enum control_transport transport;
    enum control_protocol protocol;
};

struct control_service {
    struct control_object object;
    bool headless;                /* clusterIP: None */
    bool publish_not_ready;       /* publishNotReadyAddresses: not ready endpoints count too */
    struct fl_span external_name; /* type ExternalName; then there are no addresses */
    const struct control_ip *ips; /* clusterIPs (or clusterIP); 0 to 2 */
    size_t ip_count;
    struct fl_labels selector; /* count 0: none, selects nothing */
    const struct control_port *ports;
    size_t port_count;
    const struct fl_span *ingress; /* status.loadBalancer.ingress: an IP address or a host name each */
    size_t ingress_count;
};

#define CONTROL_ENDPOINT_READY       1u /* conditions.ready; absent counts as true */
#define CONTROL_ENDPOINT_SERVING     2u /* conditions.serving; absent: as ready */
#define CONTROL_ENDPOINT_TERMINATING 4u

struct control_slice_endpoint {
    struct control_ip ip; /* addresses[0]; Kubernetes itself gives no more */
    uint8_t conditions;   /* CONTROL_ENDPOINT_… */
    struct fl_span pod;   /* targetRef of kind Pod, in the slice's namespace; may be empty */
    struct fl_span node, zone, hostname;
};

struct control_slice {
    struct control_object object;
    struct fl_span service; /* label kubernetes.io/service-name; may be empty (then nobody uses the slice) */
    bool fqdn;              /* addressType FQDN: not used, and said so in status */
    const struct control_port *ports;
    size_t port_count;
    const struct control_slice_endpoint *endpoints;
    size_t endpoint_count;
};

struct control_pod {
    struct control_object object;
    const struct control_ip *ips; /* status.podIPs (or podIP) */
    size_t ip_count;
    struct fl_span service_account; /* "default" where not given */
    struct fl_span node;
    bool host_network;
    bool ended;                       /* status.phase Succeeded or Failed: its IP may belong to another by now */
    bool ready;                       /* status condition Ready; where the Pod has no conditions (a file): true */
    bool has_sidecar;                 /* a container of the name fairlead-proxy */
    const struct control_port *ports; /* of all containers */
    size_t port_count;
};

struct control_service_account {
    struct control_object object;
};

/* type kubernetes.io/tls, or any Secret with tls.crt and tls.key; other Secrets are read without their data. */
struct control_secret {
    struct control_object object;
    struct fl_span unusable;         /* why the two below do not make a certificate; empty: they do */
    struct fl_span certificate, key; /* PEM, decoded; empty where it is no TLS Secret. The key is wiped on release. */
};

const struct control_namespace *control_as_namespace(const struct control_object *object);
const struct control_service *control_as_service(const struct control_object *object);
const struct control_slice *control_as_slice(const struct control_object *object);
const struct control_pod *control_as_pod(const struct control_object *object);
const struct control_service_account *control_as_service_account(const struct control_object *object);
const struct control_secret *control_as_secret(const struct control_object *object);

#endif
