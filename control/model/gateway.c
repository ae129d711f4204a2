#include "control/model/gateway.h"

#include "control/model/attach.h"
#include "control/model/routelist.h"

#include <errno.h>

struct clash {          /* of a listener with another one of its port */
    const char *reason; /* NULL: none */
    struct fl_span other;
    bool lost; /* to one that comes before: of the Gateway, or of an older set */
};

struct building { /* what is handed down */
    const struct control_model *model;
    const struct control_gateway *gateway;
    struct fl_arena *arena;
    struct control_listener_view *views; /* all of them */
    struct clash *clashes;               /* by the same index */
    size_t count, own_count;
};

/* Whose the listener is: the Gateway, or a set. */
static const struct control_object *owner_of(const struct building *building, const struct control_listener_view *view)
{
    return view->set != NULL ? &view->set->object : &building->gateway->object;
}

/* -- what is wrong with a listener -----------------------------------------------------------------------------------
 */

/* Listeners that share a port must be told apart: by hostname, within one family of protocols. */
static unsigned family_of(const struct control_listener *listener)
{
    switch (listener->protocol) {
    case CONTROL_LISTENER_HTTP:
        return 1;
    case CONTROL_LISTENER_HTTPS:
    case CONTROL_LISTENER_TLS:
        return 2;
    case CONTROL_LISTENER_TCP:
        return 3;
    case CONTROL_LISTENER_UNSUPPORTED:
        break;
    }
    return 0;
}

static const char *conflict_with(const struct control_listener *listener, const struct control_listener *other)
{
    if (other->port != listener->port || family_of(other) == 0)
        return NULL;
    if (family_of(other) != family_of(listener))
        return "ProtocolConflict";
    return fl_span_eq(other->hostname, listener->hostname) ? "HostnameConflict" : NULL;
}

static void clash_with(const struct building *building, size_t index, size_t other, bool lost)
{
    struct clash *clash = &building->clashes[index];
    const char *reason = conflict_with(building->views[index].listener, building->views[other].listener);
    if (index != other && clash->reason == NULL && reason != NULL)
        *clash = (struct clash){reason, building->views[other].listener->name, lost};
}

/* Listeners [from, to) have one owner. Who comes before has the port or host; among equals nobody has it. */
static void find_clashes(const struct building *building, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++)
        for (size_t k = 0; k < from; k++)
            if (building->clashes[k].reason == NULL)
                clash_with(building, i, k, true);
    for (size_t i = from; i < to; i++)
        for (size_t k = from; k < to; k++)
            if (!building->clashes[i].lost && !building->clashes[k].lost)
                clash_with(building, i, k, false);
}

/* NULL: the certificate is usable; else the reason. */
static const char *certificate_error(const struct building *building, const struct control_object *owner,
                                     const struct control_reference *reference,
                                     const struct control_secret **ret_secret, struct fl_span *ret_message)
{
    const struct control_key key = {CONTROL_SECRET, reference->name_space, reference->name};
    const char *reason = "InvalidCertificateRef";
    if (reference->group.len > 0 || !fl_span_eq_str(reference->kind, "Secret")) {
        *ret_message = FL_SPAN("a certificate is a Secret");
        return reason;
    }
    if (!control_model_granted(building->model, owner->kind, owner->metadata.name_space, reference)) {
        *ret_message = FL_SPAN("the Secret is in another namespace, and no ReferenceGrant there permits it");
        return "RefNotPermitted";
    }
    *ret_secret = control_as_secret(control_model_get(building->model, key));
    if (*ret_secret != NULL && (*ret_secret)->unusable.len == 0)
        return NULL;
    *ret_message = *ret_secret == NULL
                       ? control_message(building->arena, "there is no Secret %.*s/%.*s",
                                         FL_SPAN_ARG(reference->name_space), FL_SPAN_ARG(reference->name))
                       : control_message(building->arena, "Secret %.*s/%.*s: %.*s", FL_SPAN_ARG(reference->name_space),
                                         FL_SPAN_ARG(reference->name), FL_SPAN_ARG((*ret_secret)->unusable));
    return reason;
}

static bool terminates(const struct control_listener *listener)
{
    return listener->protocol == CONTROL_LISTENER_HTTPS ||
           (listener->protocol == CONTROL_LISTENER_TLS && !listener->tls_passthrough);
}

/* Fills in the certificates; *ret_reason NULL: all are usable. 0, -ENOMEM. */
static int collect_certificates(const struct building *building, struct control_listener_view *view,
                                const char **ret_reason, struct fl_span *ret_message)
{
    const struct control_listener *listener = view->listener;
    *ret_reason = NULL;
    if (!terminates(listener))
        return 0;
    if (listener->certificate_count == 0) {
        *ret_reason = "InvalidCertificateRef";
        *ret_message = FL_SPAN("tls.certificateRefs is required");
        return 0;
    }
    const struct control_secret **usable =
        fl_arena_array(building->arena, listener->certificate_count, sizeof(*usable));
    if (usable == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < listener->certificate_count; i++) {
        const struct control_secret *secret = NULL;
        struct fl_span message = FL_SPAN("");
        const char *reason =
            certificate_error(building, owner_of(building, view), &listener->certificates[i], &secret, &message);
        if (reason == NULL) {
            usable[view->certificate_count++] = secret;
        } else if (*ret_reason == NULL) {
            *ret_reason = reason;
            *ret_message = message;
        }
    }
    view->certificates = usable;
    return 0;
}

/* allowedRoutes.kinds that we do not have for this protocol. */
static bool has_wrong_kind(const struct control_listener *listener)
{
    size_t known = 0;
    for (enum control_kind kind = 0; kind < CONTROL_KIND_COUNT; kind++)
        for (size_t i = 0; i < listener->kind_count && control_listener_can_take(listener, kind); i++)
            known += fl_span_eq_str(listener->kinds[i].kind, control_kind_name(kind)) &&
                     fl_span_eq_str(listener->kinds[i].group, control_kind_group(kind));
    return known < listener->kind_count;
}

static const char *protocol_error(const struct control_listener *listener)
{
    if (listener->protocol == CONTROL_LISTENER_UNSUPPORTED)
        return "protocols are HTTP, HTTPS, TCP and TLS";
    return listener->protocol == CONTROL_LISTENER_HTTPS && listener->tls_passthrough ? "HTTPS means mode Terminate"
                                                                                     : NULL;
}

/* Ports are opened for the Gateway's own listeners. */
static bool has_port(const struct building *building, const struct control_listener_view *view)
{
    for (size_t i = 0; i < building->own_count; i++)
        if (building->views[i].listener->port == view->listener->port && family_of(building->views[i].listener) != 0)
            return true;
    return view->set == NULL;
}

struct judgement {
    const char *reason; /* of Accepted: False; NULL: accepted */
    const char *message;
    const char *programmed; /* reason of Programmed, where it is False */
};

/* A listener of a set that lost to another one is not accepted; the Gateway's own are, and not programmed. */
static struct judgement judgement_of(const struct building *building, const struct control_listener_view *view,
                                     const struct clash *clash)
{
    const char *protocol = protocol_error(view->listener);
    if (protocol != NULL)
        return (struct judgement){"UnsupportedProtocol", protocol, "Invalid"};
    if (view->set != NULL && clash->reason != NULL)
        return (struct judgement){clash->reason, "another listener has it", clash->reason};
    if (!has_port(building, view))
        return (struct judgement){"PortUnavailable", "a port that no listener of the Gateway itself has",
                                  "PortUnavailable"};
    return (struct judgement){NULL, NULL, "Invalid"};
}

static int judge_listener(const struct building *building, size_t index)
{
    struct control_listener_view *view = &building->views[index];
    const struct clash *clash = &building->clashes[index];
    const struct control_listener *listener = view->listener;
    struct control_conditions *conditions = &view->conditions;
    const struct judgement judgement = judgement_of(building, view, clash);
    const char *unresolved = NULL, *conflict = clash->reason;
    struct fl_span message = FL_SPAN("");
    int result = collect_certificates(building, view, &unresolved, &message);
    if (result < 0)
        return result;
    if (unresolved == NULL && has_wrong_kind(listener)) {
        unresolved = "InvalidRouteKinds";
        message = FL_SPAN("allowedRoutes.kinds names a kind that this listener cannot take");
    }
    bool certified = !terminates(listener) || view->certificate_count > 0;
    view->in_force = judgement.reason == NULL && conflict == NULL && certified;
    control_condition_add(conditions, "Accepted", judgement.reason == NULL,
                          judgement.reason == NULL ? "Accepted" : judgement.reason, fl_span_str(judgement.message));
    /* What another owner has there is not told. */
    control_condition_add(conditions, "Conflicted", conflict != NULL, conflict != NULL ? conflict : "NoConflicts",
                          conflict == NULL ? FL_SPAN("")
                          : clash->lost    ? FL_SPAN("with a listener of the same port that comes before")
                                           : control_message(building->arena, "with listener %.*s of the same port",
                                                             FL_SPAN_ARG(clash->other)));
    control_condition_add(conditions, "ResolvedRefs", unresolved == NULL,
                          unresolved == NULL ? "ResolvedRefs" : unresolved, message);
    control_condition_add(conditions, "Programmed", view->in_force,
                          view->in_force ? "Programmed" : judgement.programmed, FL_SPAN(""));
    view->http_route = control_listener_takes_kind(listener, CONTROL_HTTP_ROUTE);
    view->grpc_route = control_listener_takes_kind(listener, CONTROL_GRPC_ROUTE);
    view->tls_route = control_listener_takes_kind(listener, CONTROL_TLS_ROUTE);
    view->tcp_route_kind = control_listener_takes_kind(listener, CONTROL_TCP_ROUTE);
    return 0;
}

/* -- attached routes -------------------------------------------------------------------------------------------------
 */

static bool attaches(const struct building *building, const struct control_listener_view *view,
                     const struct control_object *route)
{
    const struct control_object *owner = owner_of(building, view);
    const struct control_parent *parents = NULL;
    size_t count = control_route_parent_list(route, &parents);
    for (size_t i = 0; i < count; i++)
        if (control_is_parent(&parents[i].reference, owner) &&
            control_listener_fit(building->model, owner, view->listener, route, &parents[i]) == CONTROL_FIT)
            return true;
    return false;
}

struct attached { /* HTTPRoutes and GRPCRoutes of a listener */
    const struct control_http_route **routes;
    size_t count;
};

/* The most specific hostname by which a route serves `host` at this listener. False: it does not. */
static bool serves(const struct control_listener *listener, const struct control_http_route *route, struct fl_span host,
                   struct fl_span *ret_hostname)
{
    bool found = false;
    struct fl_span none = FL_SPAN("");
    const struct fl_span *hostnames = route->hostname_count > 0 ? route->hostnames : &none;
    size_t count = route->hostname_count > 0 ? route->hostname_count : 1;
    for (size_t i = 0; i < count; i++) {
        struct fl_span common;
        if (!control_hostname_intersect(listener->hostname, hostnames[i], &common) ||
            !control_hostname_covers(common, host))
            continue;
        if (!found || control_hostname_compare(common, *ret_hostname) < 0)
            *ret_hostname = common;
        found = true;
    }
    return found;
}

static int fill_host(const struct building *building, const struct control_listener *listener,
                     const struct attached *attached, struct control_host *host)
{
    struct control_route_builder builder;
    struct fl_span hostname;
    size_t room = 0;
    for (size_t i = 0; i < attached->count; i++)
        if (serves(listener, attached->routes[i], host->hostname, &hostname))
            room += control_route_entries(attached->routes[i]);
    int result = control_route_builder_start(&builder, CONTROL_CALLER_GATEWAY, room, building->arena);
    for (size_t i = 0; i < attached->count && result == 0; i++)
        if (serves(listener, attached->routes[i], host->hostname, &hostname))
            result =
                control_route_builder_append(&builder, building->model, attached->routes[i], hostname, building->arena);
    if (result == 0)
        host->routes = control_route_builder_finish(&builder);
    return result;
}

static int compare_hosts(const void *a, const void *b)
{
    const struct control_host *one = a, *other = b;
    int order = control_hostname_compare(one->hostname, other->hostname);
    if (order != 0)
        return order;
    return memcmp(one->hostname.data, other->hostname.data, one->hostname.len); /* of one length */
}

/* Another listener of the port and protocol has this host, or more of it than this one: requests for it are that one's,
 * and routes of this one have no part in them. One of a set has nothing unless it is in force. */
static bool is_anothers(const struct building *building, const struct control_listener *listener, struct fl_span host)
{
    for (size_t i = 0; i < building->count; i++) {
        const struct control_listener *other = building->views[i].listener;
        if (building->views[i].set != NULL && !building->views[i].in_force)
            continue;
        if (other->port == listener->port && family_of(other) == family_of(listener) &&
            control_hostname_compare(other->hostname, listener->hostname) < 0 &&
            control_hostname_covers(listener->hostname, other->hostname) &&
            control_hostname_covers(other->hostname, host))
            return true;
    }
    return false;
}

static struct fl_span star_if_any(struct fl_span hostname)
{
    return hostname.len > 0 ? hostname : FL_SPAN("*");
}

/* The distinct hostnames of a listener, its own first. */
static int collect_hosts(const struct building *building, const struct attached *attached,
                         struct control_listener_view *view)
{
    struct fl_span own = star_if_any(view->listener->hostname);
    size_t room = 1, count = 1, kept = 0;
    for (size_t i = 0; i < attached->count; i++)
        room += attached->routes[i]->hostname_count;
    struct control_host *hosts = fl_arena_array(building->arena, room, sizeof(*hosts));
    if (hosts == NULL)
        return -ENOMEM;
    hosts[0].hostname = own;
    for (size_t i = 0; i < attached->count; i++)
        for (size_t k = 0; k < attached->routes[i]->hostname_count; k++) {
            struct fl_span common;
            if (control_hostname_intersect(own, attached->routes[i]->hostnames[k], &common) &&
                !is_anothers(building, view->listener, common))
                hosts[count++].hostname = common;
        }
    qsort(hosts, count, sizeof(*hosts), compare_hosts);
    for (size_t i = 0; i < count; i++)
        if (kept == 0 || !fl_span_eq(hosts[kept - 1].hostname, hosts[i].hostname))
            hosts[kept++] = hosts[i];
    view->hosts = hosts;
    view->host_count = kept;
    int result = 0;
    for (size_t i = 0; i < kept && result == 0; i++)
        result = fill_host(building, view->listener, attached, &hosts[i]);
    return result;
}

/* -- server names -- */

static int compare_server_names(const void *a, const void *b)
{
    const struct control_server_name *one = a, *other = b;
    int order = control_hostname_compare(one->hostname, other->hostname);
    /* of one length, where they are equal so far */
    return order != 0 ? order : memcmp(one->hostname.data, other->hostname.data, one->hostname.len);
}

/* TLSRoutes, the oldest first: which of them has each server name. */
static int collect_server_names(const struct building *building, const struct control_tcp_route *const *routes,
                                size_t count, struct control_listener_view *view)
{
    const struct control_listener *listener = view->listener;
    const struct fl_span any = FL_SPAN("");
    size_t room = 0, used = 0;
    for (size_t i = 0; i < count; i++)
        room += routes[i]->hostname_count + 1;
    struct control_server_name *names = fl_arena_array(building->arena, room + 1, sizeof(*names));
    if (names == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++) {
        size_t hostnames = routes[i]->hostname_count > 0 ? routes[i]->hostname_count : 1;
        for (size_t k = 0; k < hostnames; k++) {
            struct fl_span common;
            if (!control_hostname_intersect(listener->hostname,
                                            routes[i]->hostname_count > 0 ? routes[i]->hostnames[k] : any, &common) ||
                is_anothers(building, listener, common))
                continue;
            common = star_if_any(common);
            bool taken = false;
            for (size_t n = 0; n < used && !taken; n++)
                taken = fl_span_eq(names[n].hostname, common);
            if (!taken)
                names[used++] = (struct control_server_name){.hostname = common, .route = routes[i]};
        }
    }
    int result = 0;
    for (size_t i = 0; i < used && result == 0; i++)
        result = control_destinations_resolve(building->model, &names[i].route->object, CONTROL_CALLER_GATEWAY,
                                              names[i].route->backends, names[i].route->backend_count, building->arena,
                                              &names[i].destinations);
    if (used > 1)
        qsort(names, used, sizeof(*names), compare_server_names);
    view->server_names = names;
    view->server_name_count = used;
    return result;
}

static int attach_tcp(const struct building *building, const struct control_tcp_route *route,
                      struct control_listener_view *view)
{
    if (view->tcp_route != NULL)
        return 0; /* the oldest counts */
    view->tcp_route = route;
    return control_destinations_resolve(building->model, &route->object, CONTROL_CALLER_GATEWAY, route->backends,
                                        route->backend_count, building->arena, &view->tcp);
}

static int attach_routes(const struct building *building, struct control_listener_view *view)
{
    const struct control_object *owner = owner_of(building, view);
    struct control_objects routes =
        control_model_routes_of(building->model, owner->kind, owner->metadata.name_space, owner->metadata.name);
    struct attached attached = {.count = 0};
    size_t tls_count = 0;
    int result = 0;
    attached.routes = fl_arena_array(building->arena, routes.count + 1, sizeof(*attached.routes));
    const struct control_tcp_route **tls = fl_arena_array(building->arena, routes.count + 1, sizeof(*tls));
    if (attached.routes == NULL || tls == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < routes.count && result == 0; i++) {
        if (!attaches(building, view, routes.items[i]))
            continue;
        view->attached++;
        if (control_as_http_route(routes.items[i]) != NULL)
            attached.routes[attached.count++] = control_as_http_route(routes.items[i]);
        else if (routes.items[i]->kind == CONTROL_TLS_ROUTE)
            tls[tls_count++] = control_as_tcp_route(routes.items[i]);
        else
            result = attach_tcp(building, control_as_tcp_route(routes.items[i]), view);
    }
    bool http = view->listener->protocol == CONTROL_LISTENER_HTTP || view->listener->protocol == CONTROL_LISTENER_HTTPS;
    if (result == 0 && view->listener->protocol == CONTROL_LISTENER_TLS)
        result = collect_server_names(building, tls, tls_count, view);
    return result == 0 && http ? collect_hosts(building, &attached, view) : result;
}

/* -- sets -- */

static struct control_listener_view *add_views(struct building *building, const struct control_listener_set *set,
                                               const struct control_listener *listeners, size_t count)
{
    struct control_listener_view *first = &building->views[building->count];
    for (size_t i = 0; i < count; i++) {
        first[i].listener = &listeners[i];
        first[i].set = set;
        first[i].key = listeners[i].name;
        if (set != NULL)
            first[i].key =
                control_message(building->arena, "%.*s/%.*s/%.*s", FL_SPAN_ARG(set->object.metadata.name_space),
                                FL_SPAN_ARG(set->object.metadata.name), FL_SPAN_ARG(listeners[i].name));
    }
    building->count += count;
    find_clashes(building, building->count - count, building->count);
    return first;
}

static void add_set(struct building *building, struct control_set_view *view)
{
    const struct control_listener_set *set = view->set;
    const char *reason = NULL, *message = "";
    if (!control_gateway_takes_set(building->model, building->gateway, set)) {
        reason = "NotAllowed";
        message = "the Gateway's allowedListeners does not take sets of this namespace";
    } else if (building->count + set->listener_count > CONTROL_GATEWAY_LISTENERS_MAX) {
        reason = "TooManyListeners";
        message = "the Gateway and its older sets have as many as there can be";
    }
    if (reason == NULL) {
        view->listener_count = set->listener_count;
        view->listeners = add_views(building, set, set->listeners, set->listener_count);
        return;
    }
    control_condition_add(&view->conditions, "Accepted", false, reason, fl_span_str(message));
    control_condition_add(&view->conditions, "Programmed", false, reason, fl_span_str(message));
}

/* The Gateway's own listeners first, then set by set. 0, -ENOMEM. */
static int collect_listeners(struct building *building, struct control_set_view **ret_sets, size_t *ret_count)
{
    const struct fl_metadata *metadata = &building->gateway->object.metadata;
    struct control_objects sets = control_model_sets_of(building->model, metadata->name_space, metadata->name);
    size_t room = building->gateway->listener_count;
    struct control_set_view *views = fl_arena_array(building->arena, sets.count + 1, sizeof(*views));
    if (views == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < sets.count; i++) {
        views[i].set = control_as_listener_set(sets.items[i]);
        room += views[i].set->listener_count;
    }
    if (room > CONTROL_GATEWAY_LISTENERS_MAX)
        room = CONTROL_GATEWAY_LISTENERS_MAX;
    building->views = fl_arena_array(building->arena, room + 1, sizeof(*building->views));
    building->clashes = fl_arena_array(building->arena, room + 1, sizeof(*building->clashes));
    if (building->views == NULL || building->clashes == NULL)
        return -ENOMEM;
    building->own_count = building->gateway->listener_count;
    add_views(building, NULL, building->gateway->listeners, building->gateway->listener_count);
    for (size_t i = 0; i < sets.count; i++)
        add_set(building, &views[i]);
    *ret_sets = views;
    *ret_count = sets.count;
    return 0;
}

static void judge_set(struct control_set_view *view, bool parent_accepted)
{
    size_t in_force = 0;
    for (size_t i = 0; i < view->listener_count; i++)
        in_force += view->listeners[i].in_force;
    if (view->listener_count == 0)
        return; /* refused as a whole */
    view->accepted = in_force > 0 && parent_accepted;
    bool all = in_force == view->listener_count;
    const char *reason = !parent_accepted ? "ParentNotAccepted" : all ? "Accepted" : "ListenersNotValid";
    struct fl_span message = !parent_accepted ? FL_SPAN("no listener of the Gateway is valid")
                             : all            ? FL_SPAN("")
                                              : FL_SPAN("some listeners are not valid; their conditions say why");
    control_condition_add(&view->conditions, "Accepted", view->accepted, reason, message);
    control_condition_add(&view->conditions, "Programmed", view->accepted, view->accepted ? "Programmed" : reason,
                          FL_SPAN(""));
}

/* -- the whole -------------------------------------------------------------------------------------------------------
 */

static void judge_gateway(struct control_gateway_view *view)
{
    size_t in_force = 0;
    for (size_t i = 0; i < view->own_count; i++)
        in_force += view->listeners[i].in_force;
    bool all = in_force == view->own_count;
    bool some = in_force > 0;
    control_condition_add(&view->conditions, "Accepted", some, all ? "Accepted" : "ListenersNotValid",
                          all ? FL_SPAN("") : FL_SPAN("some listeners are not valid; their conditions say why"));
    control_condition_add(&view->conditions, "Programmed", some, some ? "Programmed" : "Invalid", FL_SPAN(""));
}

int control_gateway_view(const struct control_model *model, const struct control_gateway *gateway,
                         struct fl_arena *arena, struct control_gateway_view *ret_view)
{
    struct building building = {.model = model, .gateway = gateway, .arena = arena};
    struct control_gateway_view view = {.gateway = gateway, .ours = control_gateway_is_ours(model, gateway)};
    struct control_set_view *sets = NULL;
    if (!view.ours) {
        *ret_view = view;
        return 0;
    }
    int result = collect_listeners(&building, &sets, &view.set_count);
    for (size_t i = 0; i < building.count && result == 0; i++)
        result = judge_listener(&building, i);
    for (size_t i = 0; i < building.count && result == 0; i++)
        result = attach_routes(&building, &building.views[i]);
    if (result < 0)
        return result;
    view.listeners = building.views;
    view.listener_count = building.count;
    view.own_count = building.own_count;
    judge_gateway(&view);
    for (size_t i = 0; i < view.set_count; i++) {
        judge_set(&sets[i], view.conditions.items[0].status);
        view.attached_sets += sets[i].accepted;
    }
    view.sets = sets;
    *ret_view = view;
    return 0;
}

int control_set_view(const struct control_model *model, const struct control_listener_set *set, struct fl_arena *arena,
                     struct control_set_view *ret_view)
{
    const struct control_gateway *gateway = control_gateway_of(model, &set->parent.reference);
    struct control_gateway_view view = {0};
    *ret_view = (struct control_set_view){0};
    int result = gateway != NULL ? control_gateway_view(model, gateway, arena, &view) : 0;
    for (size_t i = 0; result == 0 && i < view.set_count; i++)
        if (view.sets[i].set == set)
            *ret_view = view.sets[i];
    return result;
}
