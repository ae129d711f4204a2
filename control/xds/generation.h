/* What the files of generation share. Private to control/xds. */
#ifndef CONTROL_XDS_GENERATION_H
#define CONTROL_XDS_GENERATION_H

#include "control/model/gateway.h"
#include "control/xds/build.h"
#include "control/xds/view.h"

struct fl_resource_name;
enum fl_resource_type;

struct generation {
    struct build build;
    struct fl_arena *arena;
    const struct control_view *view;
    const struct control_model *model;
    struct control_settings settings;
    struct control_telemetry_view telemetry;
    uint32_t ttl_seconds; /* of the resource, set by who makes it */
};

/* The message, or NULL: there is no such resource (or memory was out: build.failed). */
ProtobufCMessage *generate_listener(struct generation *generation, const struct fl_resource_name *name,
                                    struct fl_span text);
ProtobufCMessage *generate_cluster(struct generation *generation, const struct fl_resource_name *name,
                                   struct fl_span text);
ProtobufCMessage *generate_endpoints(struct generation *generation, const struct fl_resource_name *name,
                                     struct fl_span text);
ProtobufCMessage *generate_routes(struct generation *generation, const struct fl_resource_name *name,
                                  struct fl_span text);
ProtobufCMessage *generate_secret(struct generation *generation, const struct fl_resource_name *name,
                                  struct fl_span text);

/* -- names -- */
char *name_of_service(struct generation *generation, unsigned type, const struct control_service *service,
                      uint16_t port);
char *name_of_workload(struct generation *generation, const struct control_ip *ip, uint16_t port);

/* -- transport sockets (transport.c) -- */
pb_transport *transport_upstream(struct generation *generation, const char *sni);
pb_transport *transport_tunnel(struct generation *generation);                 /* to the gate of tunnels: HTTP/2 */
pb_transport *transport_tunnel_inbound(struct generation *generation);         /* … and ours */
pb_transport *transport_istio(struct generation *generation, const char *sni); /* to a sidecar of Istio's */
pb_transport *transport_plain(struct generation *generation);
/* Which of the mesh's ALPN tokens, ours and Istio's, a chain takes. */
enum mesh_tokens { MESH_HTTP, MESH_BYTES, MESH_ALL };
pb_transport *transport_inbound(struct generation *generation, enum mesh_tokens tokens);
/* The same tokens for a chain's match, and Istio's that we do not agree to but whose senders offer another as well. */
void transport_match(struct generation *generation, pb_chain_match *match, enum mesh_tokens tokens);
pb_transport *transport_gateway(struct generation *generation, const struct control_secret *certificate, bool http);

/* -- connection managers (http.c) -- */
enum http_place { HTTP_OUTBOUND, HTTP_INBOUND, HTTP_GATEWAY };
/* A manager without routes: the caller sets them. */
pb_hcm *http_manager(struct generation *generation, enum http_place place, const char *stat_prefix);
void http_set_rds(struct generation *generation, pb_hcm *manager, const char *name);
/* Everything to one cluster. */
void http_set_cluster(struct generation *generation, pb_hcm *manager, const char *name, const char *cluster);
pb_hcm *http_tunnel_manager(struct generation *generation); /* it ends tunnels; connections go on in virtualInbound */
pb_filter *http_filter(struct generation *generation, pb_hcm *manager); /* as a network filter */
pb_filter *tcp_filter(struct generation *generation, pb_tcp_proxy *proxy);
pb_tcp_proxy *tcp_proxy(struct generation *generation, const char *stat_prefix, const char *cluster);

/* -- parts of listeners (listener.c) -- */
void listener_add_filter(struct generation *generation, pb_listener *listener, const char *name,
                         const ProtobufCMessage *config);
void listener_detect(struct generation *generation, pb_listener *listener); /* looks for HTTP */
void listener_add_http_match(struct generation *generation, pb_chain_match *match);
void listener_set_tcp_route(struct generation *generation, pb_tcp_proxy *proxy,
                            const struct control_destinations *destinations);

/* -- telemetry (telemetry.c) -- */
pb_access_log *telemetry_log(struct generation *generation); /* NULL: none */
pb_hcm_tracing *telemetry_tracing(struct generation *generation, bool server);
/* The cluster that spans go to; NULL: no tracing, or to nobody that is known. */
const char *telemetry_cluster(struct generation *generation);
/* Whether the collector of this view's spans stands at that address (then it has a cluster). */
bool telemetry_is_collector(const struct generation *generation, const struct control_ip *ip, uint16_t port);

/* -- policies (policies.c, jwt.c) -- */

#define CONTROL_JWT_PAYLOAD "payload" /* where the filter of tokens leaves their claims for the policies' */

/* HTTP filters, in order: JWT, DENY, ALLOW. *ret_paths: whether a rule looks at paths. */
void policies_http(struct generation *generation, pb_hcm *manager, bool *ret_paths);
/* Network filters: DENY, ALLOW. */
void policies_tcp(struct generation *generation, pb_chain *chain);
/* Of all RequestAuthentications of a workload; NULL: none. */
pb_jwt *policies_jwt(struct build *build, const struct control_objects *authentications);

/* -- routes (routes.c) -- */
/* Everything is answered by that. */
void routes_add_answer(struct generation *generation, pb_virtual_host *host, uint32_t status);
void routes_add(struct generation *generation, pb_virtual_host *host, const struct control_route_list *list,
                uint16_t listener_port);

/* -- retries (retries.c) -- */
/* The rule's own (NULL: none given), else the Service's (which may be NULL); NULL: none at all. */
pb_retry *routes_retry(struct generation *generation, const struct control_retry *rule,
                       const struct control_service *service);

/* -- CORS (cors.c) -- */
#define CORS_FILTER "envoy.filters.http.cors"
/* A route's policy for the managers' filter of that name. */
void cors_set(struct generation *generation, pb_route *route, const struct control_cors *cors);

/* -- listeners of a gateway (gateway.c) -- */
/* Whether it has a part in its port's listener: one of TLS without a route or a certificate opens nothing. */
bool gateway_opens(const struct control_listener_view *view);
ProtobufCMessage *gateway_listener(struct generation *generation, uint16_t port, struct fl_span text);
ProtobufCMessage *gateway_routes(struct generation *generation, uint16_t port, struct fl_span section,
                                 struct fl_span text);

/* -- inbound (inbound.c) -- */
ProtobufCMessage *inbound_listener(struct generation *generation, struct fl_span text);
/* The end of tunnels, whose connections go on in that one. NULL where Istio's peers are not ours. */
ProtobufCMessage *inbound_tunnel_listener(struct generation *generation, struct fl_span text);
ProtobufCMessage *inbound_cluster(struct generation *generation, uint16_t port, struct fl_span text);

#endif
