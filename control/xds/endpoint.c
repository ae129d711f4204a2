/* Endpoints of Services and of single workloads. A cluster that exists always has an answer, also an empty one. */
#include "control/xds/generation.h"

#include "common/mesh/identity.h"
#include "common/mesh/resource.h"

#include <stdlib.h>

/* Who it is: the one identity to accept, and what telemetry says of it. */
static void set_metadata(struct generation *generation, pb_lb_endpoint *message, const struct control_endpoint *from)
{
    struct build *build = &generation->build;
    pb_struct *fairlead;
    struct fl_buf identity;
    if (from->ambient)
        build_field(build, build_metadata(build, &message->metadata, FL_METADATA_SOCKET_MATCH), FL_METADATA_TUNNEL,
                    FL_SPAN(FL_METADATA_TUNNEL_HTTP));
    else if (from->mtls)
        build_field(build, build_metadata(build, &message->metadata, FL_METADATA_SOCKET_MATCH), FL_METADATA_TLS_MODE,
                    fl_span_str(from->istio ? FL_METADATA_TLS_MODE_ISTIO : FL_METADATA_TLS_MODE_MESH));
    if (from->pod == NULL)
        return;
    fairlead = build_metadata(build, &message->metadata, FL_METADATA);
    if (from->mtls) {
        fl_buf_init(&identity, FL_IDENTITY_MAX);
        if (control_workload_identity(generation->model, &from->workload, &identity) < 0)
            build->failed = true; /* never an endpoint that is meshed, and anybody's */
        build_field(build, fairlead, FL_METADATA_IDENTITY, fl_buf_span(&identity));
        fl_buf_done(&identity);
    }
    build_field(build, fairlead, FL_METADATA_WORKLOAD, from->workload.name);
    build_field(build, fairlead, FL_METADATA_NAMESPACE, from->workload.name_space);
    build_field(build, fairlead, FL_METADATA_APP, from->workload.app);
    build_field(build, fairlead, FL_METADATA_VERSION, from->workload.version);
}

static pb_lb_endpoint *lb_endpoint(struct generation *generation, const struct control_endpoint *from)
{
    struct build *build = &generation->build;
    pb_lb_endpoint *message = new_lb_endpoint(build);
    char ip[CONTROL_IP_TEXT_MAX];
    message->host_identifier_case = ENVOY__CONFIG__ENDPOINT__V3__LB_ENDPOINT__HOST_IDENTIFIER_ENDPOINT;
    message->endpoint = new_endpoint(build);
    message->endpoint->address = build_address(build, fl_span_str(control_ip_print(&from->ip, ip)), from->port);
    set_metadata(generation, message, from);
    return message;
}

/* The group of a zone, made on first use. */
static pb_localities *locality(struct generation *generation, pb_assignment *assignment, struct fl_span zone)
{
    struct build *build = &generation->build;
    for (size_t i = 0; i < assignment->n_endpoints; i++) {
        const pb_locality *known = assignment->endpoints[i]->locality;
        if (known != NULL && fl_span_eq_str(zone, known->zone))
            return assignment->endpoints[i];
    }
    pb_localities *localities = new_localities(build);
    localities->locality = new_locality(build);
    localities->locality->zone = build_text(build, zone);
    PUSH(build, assignment, endpoints, localities);
    return localities;
}

static ProtobufCMessage *assignment_of(struct generation *generation, struct fl_span text,
                                       const struct control_endpoint *endpoints, size_t count)
{
    struct build *build = &generation->build;
    pb_assignment *assignment = new_assignment(build);
    assignment->cluster_name = build_text(build, text);
    for (size_t i = 0; i < count; i++) {
        if (!endpoints[i].usable)
            continue;
        pb_localities *group = locality(generation, assignment, endpoints[i].zone);
        PUSH(build, group, lb_endpoints, lb_endpoint(generation, &endpoints[i]));
    }
    return &assignment->base;
}

static ProtobufCMessage *service_endpoints(struct generation *generation, const struct fl_resource_name *name,
                                           struct fl_span text)
{
    struct control_endpoints endpoints;
    const struct control_service *service = control_service_by_fqdn(generation->model, name->host);
    const struct control_port *port = service != NULL ? control_service_port(service, name->port) : NULL;
    if (port == NULL)
        return NULL;
    if (control_service_endpoints(generation->model, service, port, generation->arena, &endpoints) < 0) {
        generation->build.failed = true;
        return NULL;
    }
    return assignment_of(generation, text, endpoints.items, endpoints.count);
}

static ProtobufCMessage *workload_endpoints(struct generation *generation, const struct fl_resource_name *name,
                                            struct fl_span text)
{
    struct control_endpoint endpoint = {.port = name->port, .usable = true};
    if (control_ip_parse(name->ip, &endpoint.ip) < 0)
        return NULL;
    endpoint.pod = control_model_pod_at(generation->model, &endpoint.ip);
    if (endpoint.pod == NULL && !telemetry_is_collector(generation, &endpoint.ip, name->port))
        return NULL;
    if (endpoint.pod != NULL)
        control_endpoint_judge(generation->model, &endpoint);
    return assignment_of(generation, text, &endpoint, 1);
}

ProtobufCMessage *generate_endpoints(struct generation *generation, const struct fl_resource_name *name,
                                     struct fl_span text)
{
    if (name->kind == FL_RESOURCE_SERVICE)
        return service_endpoints(generation, name, text);
    return name->kind == FL_RESOURCE_WORKLOAD ? workload_endpoints(generation, name, text) : NULL;
}
