#include "control/model/object.h"

#include "control/model/core.h"
#include "control/model/gatewayapi.h"
#include "control/model/meshapi.h"

static const struct {
    const char *name, *group;
    bool namespaced;
} kinds[] = {
#define ROW(constant, kind, api_group, versions, is_namespaced) {kind, api_group, is_namespaced},
    CONTROL_KINDS(ROW)
#undef ROW
};

const char *control_kind_name(enum control_kind kind)
{
    return kinds[kind].name;
}

const char *control_kind_group(enum control_kind kind)
{
    return kinds[kind].group;
}

bool control_kind_namespaced(enum control_kind kind)
{
    return kinds[kind].namespaced;
}

struct control_key control_object_key(const struct control_object *object)
{
    return (struct control_key){object->kind, object->metadata.name_space, object->metadata.name};
}

int control_key_compare(const struct control_key *a, const struct control_key *b)
{
    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
    int order = fl_span_compare(a->name_space, b->name_space);
    return order != 0 ? order : fl_span_compare(a->name, b->name);
}

/* Immutable but for the count: the one place where const is taken off. */
static struct control_object *counted(const struct control_object *object)
{
    return (struct control_object *)(uintptr_t)object;
}

struct control_object *control_object_ref(const struct control_object *object)
{
    if (object != NULL)
        atomic_fetch_add_explicit(&counted(object)->references, 1, memory_order_relaxed);
    return counted(object);
}

void control_object_unref(const struct control_object *object)
{
    if (object == NULL || atomic_fetch_sub_explicit(&counted(object)->references, 1, memory_order_acq_rel) != 1)
        return;
    const struct control_secret *secret = control_as_secret(object);
    if (secret != NULL && secret->key.len > 0)
        explicit_bzero((char *)(uintptr_t)secret->key.data, secret->key.len);
    struct fl_arena arena = object->arena; /* the object itself lies in it */
    fl_arena_done(&arena);
}

void control_cleanup_object(struct control_object **object)
{
    control_object_unref(*object);
}

#define CAST(constant, type)                                                                                           \
    const struct control_##type *control_as_##type(const struct control_object *object)                                \
    {                                                                                                                  \
        return object != NULL && object->kind == CONTROL_##constant                                                    \
                   ? FL_CONTAINER_OF(counted(object), struct control_##type, object)                                   \
                   : NULL;                                                                                             \
    }

CAST(NAMESPACE, namespace)
CAST(SERVICE, service)
CAST(ENDPOINT_SLICE, slice)
CAST(POD, pod)
CAST(SERVICE_ACCOUNT, service_account)
CAST(SECRET, secret)
CAST(GATEWAY_CLASS, gateway_class)
CAST(GATEWAY, gateway)
CAST(LISTENER_SET, listener_set)
CAST(REFERENCE_GRANT, reference_grant)
CAST(AUTHORIZATION_POLICY, authorization_policy)
CAST(REQUEST_AUTHENTICATION, request_authentication)
CAST(PEER_AUTHENTICATION, peer_authentication)
CAST(TRAFFIC_POLICY, traffic_policy)
CAST(TELEMETRY, telemetry)
CAST(MESH_SETTINGS, mesh_settings)

const struct control_http_route *control_as_http_route(const struct control_object *object)
{
    bool http = object != NULL && (object->kind == CONTROL_HTTP_ROUTE || object->kind == CONTROL_GRPC_ROUTE);
    return http ? FL_CONTAINER_OF(counted(object), struct control_http_route, object) : NULL;
}

const struct control_tcp_route *control_as_tcp_route(const struct control_object *object)
{
    bool tcp = object != NULL && (object->kind == CONTROL_TCP_ROUTE || object->kind == CONTROL_TLS_ROUTE);
    return tcp ? FL_CONTAINER_OF(counted(object), struct control_tcp_route, object) : NULL;
}

bool control_kind_is_route(enum control_kind kind)
{
    return kind == CONTROL_HTTP_ROUTE || kind == CONTROL_GRPC_ROUTE || kind == CONTROL_TCP_ROUTE ||
           kind == CONTROL_TLS_ROUTE;
}

size_t control_route_parent_list(const struct control_object *route, const struct control_parent **ret_parents)
{
    const struct control_http_route *http = control_as_http_route(route);
    const struct control_tcp_route *tcp = control_as_tcp_route(route);
    *ret_parents = http != NULL ? http->parents : tcp != NULL ? tcp->parents : NULL;
    return http != NULL ? http->parent_count : tcp != NULL ? tcp->parent_count : 0;
}

size_t control_route_hostnames(const struct control_object *route, const struct fl_span **ret_hostnames)
{
    const struct control_http_route *http = control_as_http_route(route);
    const struct control_tcp_route *tcp = control_as_tcp_route(route);
    *ret_hostnames = http != NULL ? http->hostnames : tcp != NULL ? tcp->hostnames : NULL;
    return http != NULL ? http->hostname_count : tcp != NULL ? tcp->hostname_count : 0;
}
