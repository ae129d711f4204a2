/* Routes, resolved: which rules decide for a Service's port as one client namespace sees it, as one flat list in
 * Gateway API's order of precedence, backends resolved. gateway.h builds its lists from the same parts; explain.h asks
 * them.
 *
 * GAMMA: a route in the Service's own namespace (producer) is for every client; one elsewhere (consumer) for clients of
 * its own namespace alone, and where a client has consumer routes of a kind, they replace the producers'. A parentRef
 * with a port binds that port, one without all ports. No route bound: the traffic passes to the Service. At least one:
 * a request that no rule matches is answered 404.
 */
#ifndef CONTROL_MODEL_ROUTE_H
#define CONTROL_MODEL_ROUTE_H

#include "control/model/service.h"

enum control_backend_error { /* what makes a backend's share of requests an answer 500 */
                             CONTROL_BACKEND_OK,
                             CONTROL_BACKEND_INVALID_KIND,  /* reason InvalidKind */
                             CONTROL_BACKEND_NOT_FOUND,     /* BackendNotFound: no such Service */
                             CONTROL_BACKEND_NO_PORT,       /* BackendNotFound: no such TCP port, or none given */
                             CONTROL_BACKEND_NOT_PERMITTED, /* RefNotPermitted: no ReferenceGrant */
                             CONTROL_BACKEND_FILTER,        /* a filter of the backend is not supported */
};
const char *
control_backend_reason(enum control_backend_error error); /* the condition's reason; "ResolvedRefs" for OK */

struct control_destination {
    const struct control_backend *backend;
    uint32_t weight; /* its share is weight / total; 0: none */
    enum control_backend_error error;
    const struct control_service *service; /* where error is OK (or FILTER) */
    const struct control_port *port;
};

struct control_destinations {
    const struct control_destination *items;
    size_t count;
    uint64_t total; /* of weights; 0: an answer 500 */
};

struct control_route_entry { /* one match of one rule */
    const struct control_http_route *route;
    const struct control_http_rule *rule;
    const struct control_http_match *match;
    uint32_t rule_index, match_index; /* in the route, from 0 */
    struct fl_span hostname;          /* gateways: the hostname by which the route is here; empty: any */
    struct control_destinations destinations;
    struct control_destinations mirrors; /* those that are not OK get nothing */
    /* 0: forward, or redirect where rule->filters.redirect; 500 (of a GRPCRoute 503, which is UNAVAILABLE): no usable
     * backend at all, or an unsupported filter */
    uint16_t answer;
};

struct control_route_list { /* in order of precedence: the first that matches decides; none: 404 */
    const struct control_route_entry *items;
    size_t count;
};

enum control_routing {
    CONTROL_ROUTING_NONE, /* no route: straight to the Service */
    CONTROL_ROUTING_HTTP, /* by `http` */
    CONTROL_ROUTING_TCP,  /* by `tcp` */
};

struct control_service_routes {
    enum control_routing routing; /* of several kinds at one port the most specific counts: GRPCRoute, HTTPRoute,
                                     TCPRoute; where the port's protocol is TCP the first two have no effect */
    struct control_route_list http;
    const struct control_tcp_route *tcp_route; /* the oldest, then by name */
    struct control_destinations tcp;
};

/* 0, -ENOMEM. */
int control_service_routes(const struct control_model *model, const struct control_service *service,
                           const struct control_port *port, struct fl_span client_namespace, struct fl_arena *arena,
                           struct control_service_routes *ret_routes) FL_MUST_CHECK;

/* Whose requests a route is resolved for. A client of a Service may be sent to that very Service without anybody's
 * leave: it called it. A Gateway may not: its identity is not the route's owner's, who could lead it anywhere. */
enum control_route_caller { CONTROL_CALLER_CLIENT, CONTROL_CALLER_GATEWAY, CONTROL_CALLER_COUNT };

/* Backends of one rule of a route. 0, -ENOMEM. */
int control_destinations_resolve(const struct control_model *model, const struct control_object *route,
                                 enum control_route_caller caller, const struct control_backend *backends, size_t count,
                                 struct fl_arena *arena, struct control_destinations *ret_destinations) FL_MUST_CHECK;

/* Gateway API's precedence of matches; < 0: `a` comes first. Never 0 for two different entries of a list. */
int control_route_compare(const struct control_route_entry *a, const struct control_route_entry *b);

#endif
