/* A Gateway, resolved: its listeners and those of its ListenerSets, what is wrong with them, their certificates, and
 * the routes attached, by hostname. */
#ifndef CONTROL_MODEL_GATEWAY_H
#define CONTROL_MODEL_GATEWAY_H

#include "control/model/route.h"

#define CONTROL_CONDITIONS_MAX        5
#define CONTROL_GATEWAY_LISTENERS_MAX 512 /* with those of its ListenerSets; a set beyond is refused */

struct control_condition { /* what status says; reason and message are static or in the arena */
    const char *type;      /* "Accepted", "ResolvedRefs", "Programmed", "Conflicted", "PartiallyInvalid" */
    bool status;
    const char *reason;
    struct fl_span message; /* may be empty */
};
struct control_conditions {
    struct control_condition items[CONTROL_CONDITIONS_MAX];
    size_t count;
};

struct control_host {        /* one virtual host */
    struct fl_span hostname; /* "shop.example.com", "*.example.com", or "*" */
    /* Always there: the listener's own hostname (or "*"), so that what no route wants there is a 404 and does not fall
     * to another listener of the port. */
    struct control_route_list routes; /* whose hostname covers this one, most specific first; none of other listeners */
};

struct control_server_name { /* of TLS: where connections for it go, bytes in, bytes out */
    struct fl_span hostname; /* as of a host */
    const struct control_tcp_route *route;
    struct control_destinations destinations;
};

struct control_listener_view {
    const struct control_listener *listener;
    const struct control_listener_set *set; /* whose it is; NULL: the Gateway's own */
    struct fl_span key; /* tells it apart from all listeners of the Gateway: its name; "<namespace>/<set>/<name>" */
    bool in_force;      /* it is opened and serves; conditions say why not */
    struct control_conditions conditions;
    const struct control_secret *const *certificates; /* HTTPS, TLS terminated: those that are usable, in order */
    size_t certificate_count;
    const struct control_host *hosts; /* exact names first, then wildcards by length, then "*" */
    size_t host_count;
    const struct control_tcp_route *tcp_route; /* protocol TCP, or TLS terminated */
    struct control_destinations tcp;
    const struct control_server_name *server_names; /* protocol TLS: of TLSRoutes, each once, most specific first */
    size_t server_name_count;
    uint32_t attached;                                      /* attachedRoutes */
    bool http_route, grpc_route, tcp_route_kind, tls_route; /* supportedKinds */
};

struct control_set_view { /* a ListenerSet that names the Gateway */
    const struct control_listener_set *set;
    bool accepted; /* at least one of its listeners is in force */
    struct control_conditions conditions;
    const struct control_listener_view *listeners; /* among the Gateway's; none where it does not take the set */
    size_t listener_count;
};

struct control_gateway_view {
    const struct control_gateway *gateway;
    bool ours; /* its GatewayClass names our controller; else everything below is empty */
    struct control_conditions conditions;
    const struct control_listener_view *listeners; /* its own, then those of its sets, the oldest set first */
    size_t listener_count, own_count;
    const struct control_set_view *sets; /* the oldest first */
    size_t set_count;
    uint32_t attached_sets; /* that are accepted */
};

/* 0, -ENOMEM. */
int control_gateway_view(const struct control_model *model, const struct control_gateway *gateway,
                         struct fl_arena *arena, struct control_gateway_view *ret_view) FL_MUST_CHECK;

/* A ListenerSet as its Gateway sees it. Where there is none of ours, `set` is NULL. 0, -ENOMEM. */
int control_set_view(const struct control_model *model, const struct control_listener_set *set, struct fl_arena *arena,
                     struct control_set_view *ret_view) FL_MUST_CHECK;

/* How a route stands with each of its parents: for status, and who serves it. */
struct control_parent_view {
    const struct control_parent *parent;
    bool ours; /* a Service, or a Gateway of ours or a ListenerSet of one; else nobody's, or another controller's */
    bool accepted;
    struct control_conditions conditions; /* Accepted, ResolvedRefs, PartiallyInvalid where some rules were dropped */
};
struct control_parent_views {
    const struct control_parent_view *items; /* in the route's order */
    size_t count;
};
/* `route` is of any kind of route. 0, -ENOMEM. */
int control_route_parents(const struct control_model *model, const struct control_object *route, struct fl_arena *arena,
                          struct control_parent_views *ret_parents) FL_MUST_CHECK;

#endif
