#include "control/model/service.h"

#include "common/mesh/capture.h"
#include "common/mesh/label.h"

#include <errno.h>
#include <sys/socket.h>

/* -- names and ports ----------------------------------------------------------------------------------------------- */

const struct control_port *control_service_port(const struct control_service *service, uint16_t port)
{
    for (size_t i = 0; i < service->port_count; i++)
        if (service->ports[i].port == port && service->ports[i].transport == CONTROL_TCP)
            return &service->ports[i];
    return NULL;
}

static char *put(char *at, struct fl_span text)
{
    if (text.len > 0)
        memcpy(at, text.data, text.len);
    return at + text.len;
}

struct fl_span control_service_fqdn(const struct control_model *model, const struct control_service *service,
                                    struct fl_arena *arena)
{
    const struct fl_metadata *metadata = &service->object.metadata;
    const struct fl_span svc = FL_SPAN(".svc.");
    struct fl_span domain = control_model_settings(model).cluster_domain;
    size_t len = metadata->name.len + 1 + metadata->name_space.len + svc.len + domain.len;
    char *text = fl_arena_alloc(arena, len + 1);
    if (text == NULL)
        return (struct fl_span){NULL, 0};
    char *at = put(text, metadata->name);
    *at++ = '.';
    put(put(put(at, metadata->name_space), svc), domain);
    return fl_span_make(text, len);
}

const struct control_service *control_service_by_fqdn(const struct control_model *model, struct fl_span fqdn)
{
    const struct fl_span svc = FL_SPAN(".svc.");
    struct fl_span domain = control_model_settings(model).cluster_domain, name;
    if (fqdn.len <= svc.len + domain.len || !fl_span_ends_with(fqdn, domain))
        return NULL;
    fqdn.len -= domain.len;
    if (!fl_span_ends_with(fqdn, svc))
        return NULL;
    fqdn.len -= svc.len;
    size_t dot = fl_span_find(fqdn, '.');
    if (dot == fqdn.len)
        return NULL;
    name = fl_span_make(fqdn.data, dot);
    return control_model_service(model, fl_span_from(fqdn, dot + 1), name);
}

/* -- endpoints ----------------------------------------------------------------------------------------------------- */

/* The port of a slice for a Service's port: of the same name, as Kubernetes writes them. 0: none. A slice made by hand
 * may say no port at all: then the target port counts. */
static uint16_t slice_port(const struct control_slice *slice, const struct control_port *port)
{
    for (size_t i = 0; i < slice->port_count; i++) {
        const struct control_port *there = &slice->ports[i];
        if (there->transport == CONTROL_TCP && fl_span_eq(there->name, port->name))
            return there->port != 0 ? there->port : port->target;
    }
    return 0;
}

static const struct control_pod *pod_of(const struct control_model *model, const struct control_slice *slice,
                                        const struct control_slice_endpoint *endpoint)
{
    const struct control_pod *pod =
        endpoint->pod.len > 0 ? control_model_pod(model, slice->object.metadata.name_space, endpoint->pod) : NULL;
    for (size_t i = 0; pod != NULL && i < pod->ip_count; i++)
        if (control_ip_compare(&pod->ips[i], &endpoint->ip) == 0)
            return pod;
    return control_model_pod_at(model, &endpoint->ip); /* the Pod of that name is another by now, or none was named */
}

void control_endpoint_judge(const struct control_model *model, struct control_endpoint *endpoint)
{
    control_workload_of_pod(endpoint->pod, &endpoint->workload);
    endpoint->istio = control_pod_is_istio(model, endpoint->pod);
    endpoint->ambient = control_pod_is_ambient(model, endpoint->pod);
    endpoint->mtls = endpoint->istio || endpoint->ambient ||
                     (endpoint->workload.meshed &&
                      control_workload_mtls(model, &endpoint->workload, endpoint->port) != CONTROL_MTLS_DISABLE);
}

static void fill(const struct control_model *model, const struct control_service *service,
                 const struct control_slice *slice, const struct control_slice_endpoint *from, uint16_t port,
                 struct control_endpoint *endpoint)
{
    *endpoint = (struct control_endpoint){
        .ip = from->ip,
        .port = port,
        .conditions = from->conditions,
        .usable = (from->conditions & CONTROL_ENDPOINT_READY) != 0 || service->publish_not_ready,
        .pod = pod_of(model, slice, from),
        .node = from->node,
        .zone = from->zone,
        .hostname = from->hostname,
    };
    if (endpoint->pod != NULL)
        control_endpoint_judge(model, endpoint);
}

/* The usable one of equals comes first, and stays. */
static int compare_endpoints(const void *a, const void *b)
{
    const struct control_endpoint *one = a, *other = b;
    int order = control_ip_compare(&one->ip, &other->ip);
    if (order != 0)
        return order;
    if (one->port != other->port)
        return one->port < other->port ? -1 : 1;
    return one->usable == other->usable ? 0 : one->usable ? -1 : 1;
}

static size_t without_doubles(struct control_endpoint *items, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (kept == 0 || control_ip_compare(&items[kept - 1].ip, &items[i].ip) != 0 ||
            items[kept - 1].port != items[i].port)
            items[kept++] = items[i];
    return kept;
}

int control_service_endpoints(const struct control_model *model, const struct control_service *service,
                              const struct control_port *port, struct fl_arena *arena,
                              struct control_endpoints *ret_endpoints)
{
    const struct fl_metadata *metadata = &service->object.metadata;
    struct control_objects slices = control_model_slices(model, metadata->name_space, metadata->name);
    size_t room = 0, count = 0;
    *ret_endpoints = (struct control_endpoints){NULL, 0};
    for (size_t i = 0; i < slices.count; i++)
        room += control_as_slice(slices.items[i])->endpoint_count;
    struct control_endpoint *items = room > 0 ? fl_arena_array(arena, room, sizeof(*items)) : NULL;
    if (room == 0)
        return 0;
    if (items == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < slices.count; i++) {
        const struct control_slice *slice = control_as_slice(slices.items[i]);
        uint16_t number = slice_port(slice, port);
        for (size_t k = 0; number != 0 && k < slice->endpoint_count; k++)
            fill(model, service, slice, &slice->endpoints[k], number, &items[count++]);
    }
    qsort(items, count, sizeof(*items), compare_endpoints);
    *ret_endpoints = (struct control_endpoints){items, without_doubles(items, count)};
    return 0;
}

/* -- who is dialled ------------------------------------------------------------------------------------------------ */

static bool in_cidr(const struct fl_cidr *cidr, const struct control_ip *ip)
{
    size_t whole = cidr->prefix / 8, rest = cidr->prefix % 8;
    if ((cidr->family == AF_INET) != (ip->version == 4) || memcmp(cidr->address, ip->bytes, whole) != 0)
        return false;
    return rest == 0 || (cidr->address[whole] ^ ip->bytes[whole]) >> (8 - rest) == 0;
}

struct control_dialled control_dial(const struct control_model *model, const struct control_ip *ip, uint16_t port)
{
    struct control_dialled dialled = {.service = control_model_service_at(model, ip)};
    if (dialled.service != NULL) {
        dialled.port = control_service_port(dialled.service, port);
        return dialled;
    }
    dialled.pod = control_model_pod_at(model, ip);
    struct control_settings settings = control_model_settings(model);
    for (size_t i = 0; dialled.pod == NULL && i < settings.cidr_count && !dialled.in_mesh; i++)
        dialled.in_mesh = in_cidr(&settings.cidrs[i], ip);
    return dialled;
}

/* -- the Pod's side ------------------------------------------------------------------------------------------------ */

static bool older(const struct control_object *a, const struct control_object *b)
{
    if (a->metadata.created != b->metadata.created)
        return a->metadata.created < b->metadata.created;
    struct control_key key_a = control_object_key(a), key_b = control_object_key(b);
    return control_key_compare(&key_a, &key_b) < 0;
}

static bool selects(const struct control_service *service, const struct control_pod *pod)
{
    return service->selector.count > 0 && fl_labels_match(&service->selector, &pod->object.metadata.labels);
}

static int compare_age(const void *a, const void *b)
{
    const struct control_object *const *one = a, *const *other = b;
    return *one == *other ? 0 : older(*one, *other) ? -1 : 1;
}

int control_pod_services(const struct control_model *model, const struct control_pod *pod, struct fl_arena *arena,
                         struct control_objects *ret_services)
{
    struct control_objects all = control_model_in(model, CONTROL_SERVICE, pod->object.metadata.name_space);
    size_t count = 0;
    *ret_services = (struct control_objects){NULL, 0};
    for (size_t i = 0; i < all.count; i++)
        count += selects(control_as_service(all.items[i]), pod);
    if (count == 0)
        return 0;
    const struct control_object **items = fl_arena_array(arena, count, sizeof(*items));
    if (items == NULL)
        return -ENOMEM;
    count = 0;
    for (size_t i = 0; i < all.count; i++)
        if (selects(control_as_service(all.items[i]), pod))
            items[count++] = all.items[i];
    qsort(items, count, sizeof(*items), compare_age);
    *ret_services = (struct control_objects){items, count};
    return 0;
}

/* targetPort as this Pod has it; 0: it has no container port of that name. */
static uint16_t pod_port(const struct control_pod *pod, const struct control_port *port)
{
    if (port->target_name.len == 0)
        return port->target;
    for (size_t i = 0; i < pod->port_count; i++)
        if (pod->ports[i].transport == port->transport && fl_span_eq(pod->ports[i].name, port->target_name))
            return pod->ports[i].port;
    return 0;
}

/* Stable in the order of the Services, which is by age. */
static int compare_inbound(const void *a, const void *b)
{
    const struct control_inbound *one = a, *other = b;
    if (one->pod_port != other->pod_port)
        return one->pod_port < other->pod_port ? -1 : 1;
    if (one->service != other->service)
        return older(&one->service->object, &other->service->object) ? -1 : 1;
    return one->port < other->port ? -1 : one->port > other->port;
}

bool control_is_opaque(const struct control_object *object, uint16_t port)
{
    struct fl_span text = fl_labels_get(&object->metadata.annotations, FL_SPAN(FL_ANNOTATION_OPAQUE_PORTS));
    struct fl_port_list list;
    return text.len > 0 && fl_port_list_parse(text, &list, NULL) == 0 && fl_port_list_contains(&list, port);
}

int control_pod_inbound(const struct control_model *model, const struct control_pod *pod, struct fl_arena *arena,
                        struct control_inbounds *ret_inbounds)
{
    struct control_objects services;
    size_t room = 0, count = 0;
    *ret_inbounds = (struct control_inbounds){NULL, 0};
    int result = control_pod_services(model, pod, arena, &services);
    if (result < 0)
        return result;
    for (size_t i = 0; i < services.count; i++)
        room += control_as_service(services.items[i])->port_count;
    if (room == 0)
        return 0;
    struct control_inbound *items = fl_arena_array(arena, room, sizeof(*items));
    if (items == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < services.count; i++) {
        const struct control_service *service = control_as_service(services.items[i]);
        for (size_t k = 0; k < service->port_count; k++) {
            uint16_t number = service->ports[k].transport == CONTROL_TCP ? pod_port(pod, &service->ports[k]) : 0;
            enum control_protocol protocol =
                control_is_opaque(&pod->object, number) ? CONTROL_PROTOCOL_TCP : service->ports[k].protocol;
            if (number != 0)
                items[count++] = (struct control_inbound){number, service, &service->ports[k], protocol};
        }
    }
    qsort(items, count, sizeof(*items), compare_inbound);
    *ret_inbounds = (struct control_inbounds){items, count};
    return 0;
}

const struct control_traffic_policy *control_service_traffic(const struct control_model *model,
                                                             const struct control_service *service)
{
    const struct fl_metadata *metadata = &service->object.metadata;
    struct control_objects policies = control_model_traffic_of(model, metadata->name_space, metadata->name);
    return policies.count > 0 ? control_as_traffic_policy(policies.items[0]) : NULL;
}
