/* Names of xDS resources between fairlead-control and fairlead-proxy, and the keys that travel in their metadata.
 *
 *   listeners   virtualOutbound, virtualInbound, tunnelInbound (15008, where Istio's peers are ours)
 *               outbound|<ip>:<port>              one destination (IPv6 in brackets)
 *               outbound|*                        a subscription only: the Services of the proxy's own namespace
 *               gateway|<namespace>/<name>|<port>
 *   routes      outbound|<port>|<fqdn>
 *               gateway|<namespace>/<name>|<port>[|<section>]
 *   clusters    outbound|<port>||<fqdn>, inbound|<port>||, workload|<ip>:<port>,
 *               PassthroughCluster, BlackHoleCluster, InboundPassthroughCluster
 *   endpoints   the name of their cluster
 *   secrets     default, ROOTCA (both made inside of the proxy), kubernetes://<namespace>/<secret>
 *
 * A name has one spelling: addresses are canonical (RFC 5952), ports have no leading zero; anything else is no name of
 * ours, which is an outcome and not an error. Pure; spans point into the text that was parsed.
 */
#ifndef FL_MESH_RESOURCE_H
#define FL_MESH_RESOURCE_H

#include "common/base/buf.h"

enum fl_resource_type { /* in the order of make before break, secrets last */
                        FL_RESOURCE_CLUSTER,
                        FL_RESOURCE_ENDPOINTS,
                        FL_RESOURCE_LISTENER,
                        FL_RESOURCE_ROUTES,
                        FL_RESOURCE_SECRET,
                        FL_RESOURCE_TYPES
};

/* "type.googleapis.com/envoy.config.listener.v3.Listener" and so on. */
const char *fl_resource_type_url(enum fl_resource_type type);
/* FL_RESOURCE_TYPES where it is none of the five. */
enum fl_resource_type fl_resource_type_of(struct fl_span type_url);
/* "LDS" and so on, for people. */
const char *fl_resource_type_word(enum fl_resource_type type);

enum fl_resource_kind {
    FL_RESOURCE_NONE,                /* not a name of ours */
    FL_RESOURCE_VIRTUAL_OUTBOUND,    /* listener */
    FL_RESOURCE_VIRTUAL_INBOUND,     /* listener */
    FL_RESOURCE_TUNNEL_INBOUND,      /* listener */
    FL_RESOURCE_DESTINATION,         /* listener: ip, port */
    FL_RESOURCE_OWN_NAMESPACE,       /* listener: "outbound|*" */
    FL_RESOURCE_GATEWAY,             /* listener, routes: name_space, name, port; routes: section, may be empty */
    FL_RESOURCE_SERVICE,             /* routes, cluster, endpoints: port, host */
    FL_RESOURCE_INBOUND,             /* cluster: port */
    FL_RESOURCE_WORKLOAD,            /* cluster, endpoints: ip, port */
    FL_RESOURCE_PASSTHROUGH,         /* cluster */
    FL_RESOURCE_BLACKHOLE,           /* cluster */
    FL_RESOURCE_INBOUND_PASSTHROUGH, /* cluster */
    FL_RESOURCE_OWN_CERTIFICATE,     /* secret "default" */
    FL_RESOURCE_TRUST_BUNDLE,        /* secret "ROOTCA" */
    FL_RESOURCE_KUBERNETES_SECRET,   /* secret: name_space, name */
};

struct fl_resource_name {
    enum fl_resource_kind kind;
    uint16_t port;             /* 1 to 65535 */
    struct fl_span ip;         /* canonical, without brackets */
    struct fl_span host;       /* a DNS name, lower case */
    struct fl_span name_space; /* a DNS-1123 label */
    struct fl_span name;       /* a DNS-1123 subdomain */
    struct fl_span section;    /* a listener's name within its Gateway */
};

#define FL_RESOURCE_NAME_MAX 640 /* bytes: the longest of the above */

/* The kind (also in ret_name->kind); FL_RESOURCE_NONE where it is no name of this type. */
enum fl_resource_kind fl_resource_parse(enum fl_resource_type type, struct fl_span text,
                                        struct fl_resource_name *ret_name);

/* Appends the name. The parts are taken as they are, an IPv6 address gets its brackets. `type` tells routes from
 * clusters. 0, -ENOMEM, -EMSGSIZE; -EINVAL where a part is missing or the type has no such kind. */
int fl_resource_print(enum fl_resource_type type, const struct fl_resource_name *name,
                      struct fl_buf *out) FL_MUST_CHECK;

/* Names without parts. */
#define FL_RESOURCE_NAME_VIRTUAL_OUTBOUND    "virtualOutbound"
#define FL_RESOURCE_NAME_VIRTUAL_INBOUND     "virtualInbound"
#define FL_RESOURCE_NAME_TUNNEL_INBOUND      "tunnelInbound"
#define FL_RESOURCE_NAME_OWN_NAMESPACE       "outbound|*"
#define FL_RESOURCE_NAME_PASSTHROUGH         "PassthroughCluster"
#define FL_RESOURCE_NAME_BLACKHOLE           "BlackHoleCluster"
#define FL_RESOURCE_NAME_INBOUND_PASSTHROUGH "InboundPassthroughCluster"
#define FL_RESOURCE_NAME_OWN_CERTIFICATE     "default"
#define FL_RESOURCE_NAME_TRUST_BUNDLE        "ROOTCA"

/* metadata.filter_metadata of listeners and endpoints. */
#define FL_METADATA                "fairlead"
#define FL_METADATA_KIND           "kind"     /* of a destination's Listener: one of the four below */
#define FL_METADATA_LENIENT        "lenient"  /* of a Listener: true: HTTP/1 as peers are known to get it wrong */
#define FL_METADATA_IDENTITY       "identity" /* of an endpoint: the one SPIFFE ID to accept */
#define FL_METADATA_WORKLOAD       "workload"
#define FL_METADATA_NAMESPACE      "namespace"
#define FL_METADATA_APP            "app"
#define FL_METADATA_VERSION        "version"
#define FL_DESTINATION_SERVICE     "service"
#define FL_DESTINATION_WORKLOAD    "workload"
#define FL_DESTINATION_EXTERNAL    "external"
#define FL_DESTINATION_REFUSED     "refused"
#define FL_METADATA_SOCKET_MATCH   "envoy.transport_socket_match"
#define FL_METADATA_TLS_MODE       "tlsMode" /* "fairlead" where the endpoint is meshed */
#define FL_METADATA_TLS_MODE_MESH  "fairlead"
#define FL_METADATA_TLS_MODE_ISTIO "istio"  /* … with Istio's sidecar */
#define FL_METADATA_TUNNEL         "tunnel" /* "http": reached by HBONE; a metadata of its own: address, of the gate */
#define FL_METADATA_TUNNEL_HTTP    "http"
#define FL_METADATA_ISTIO          "istio" /* of clusters: services: [{host, name, namespace}] */

/* node.metadata */
#define FL_NODE_DISCOVERY           "FAIRLEAD_DISCOVERY"
#define FL_NODE_DISCOVERY_ON_DEMAND "on-demand"
#define FL_NODE_GATEWAY             "FAIRLEAD_GATEWAY" /* "<namespace>/<name>" */

#endif
