/* Clusters of Services, of single workloads, and the three that are always there. */
#include "control/xds/generation.h"

#include "common/mesh/port.h"
#include "common/mesh/resource.h"

#include <arpa/inet.h>

#define CONNECT_TIMEOUT_MS   5000
#define PASS_CONNECT_MS      10000
#define RETRY_BUDGET_PERCENT 20
#define RETRY_BUDGET_MIN     10
#define SECONDS_OF_MINIMUM   1

static pb_cluster *cluster_of(struct generation *generation, const char *name, int type)
{
    pb_cluster *cluster = new_cluster(&generation->build);
    cluster->name = literal(name);
    cluster->cluster_discovery_type_case = ENVOY__CONFIG__CLUSTER__V3__CLUSTER__CLUSTER_DISCOVERY_TYPE_TYPE;
    cluster->type = (Envoy__Config__Cluster__V3__Cluster__DiscoveryType)type;
    return cluster;
}

/* -- what a TrafficPolicy says -- */

static void set_balance(pb_cluster *cluster, const struct control_traffic_policy *policy)
{
    bool in_turn = policy != NULL && policy->balance == CONTROL_BALANCE_ROUND_ROBIN;
    cluster->lb_policy = in_turn ? ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_POLICY__ROUND_ROBIN
                                 : ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_POLICY__LEAST_REQUEST;
}

static pb_u32 *limit(struct generation *generation, uint32_t value)
{
    return value > 0 ? build_u32(&generation->build, value) : NULL;
}

static void set_breakers(struct generation *generation, pb_cluster *cluster,
                         const struct control_traffic_policy *policy)
{
    struct build *build = &generation->build;
    const struct control_circuit *circuit = policy != NULL ? policy->circuit : NULL;
    const struct control_retry_policy *retries = policy != NULL ? policy->retries : NULL;
    pb_thresholds *thresholds = new_thresholds(build);
    if (circuit != NULL) {
        thresholds->max_connections = limit(generation, circuit->max_connections);
        thresholds->max_pending_requests = limit(generation, circuit->max_pending);
        thresholds->max_requests = limit(generation, circuit->max_requests);
        thresholds->max_retries = limit(generation, circuit->max_retries);
    }
    if (thresholds->max_retries == NULL) {
        pb_retry_budget *budget = new_retry_budget(build);
        budget->budget_percent = build_percent(build, retries != NULL ? retries->budget_percent : RETRY_BUDGET_PERCENT);
        budget->min_retry_concurrency = build_u32(build, retries != NULL ? retries->budget_min : RETRY_BUDGET_MIN);
        thresholds->retry_budget = budget;
    }
    cluster->circuit_breakers = new_breakers(build);
    PUSH(build, cluster->circuit_breakers, thresholds, thresholds);
}

static void set_outlier(struct generation *generation, pb_cluster *cluster, const struct control_outlier *outlier)
{
    struct build *build = &generation->build;
    pb_outlier *message = new_outlier(build);
    message->interval = build_ms(build, outlier->interval_ms);
    message->base_ejection_time = build_ms(build, outlier->ejection_ms);
    message->max_ejection_percent = build_u32(build, outlier->ejection_percent);
    message->enforcing_success_rate = build_u32(build, 0);
    if (outlier->consecutive_5xx > 0)
        message->consecutive_5xx = build_u32(build, outlier->consecutive_5xx);
    else
        message->enforcing_consecutive_5xx = build_u32(build, 0);
    message->consecutive_gateway_failure = limit(generation, outlier->consecutive_gateway);
    message->enforcing_consecutive_gateway_failure = build_u32(build, outlier->consecutive_gateway > 0 ? 100 : 0);
    cluster->outlier_detection = message;
}

static void set_traffic(struct generation *generation, pb_cluster *cluster, const struct control_traffic_policy *policy)
{
    struct build *build = &generation->build;
    uint32_t timeout = policy != NULL ? policy->connect_timeout_ms : 0;
    double panic = policy != NULL && policy->outlier != NULL ? policy->outlier->min_health_percent : 0;
    set_balance(cluster, policy);
    cluster->connect_timeout = build_ms(build, timeout > 0 ? timeout : CONNECT_TIMEOUT_MS);
    set_breakers(generation, cluster, policy);
    if (policy != NULL && policy->outlier != NULL)
        set_outlier(generation, cluster, policy->outlier);
    cluster->common_lb_config = new_common_lb(build);
    cluster->common_lb_config->healthy_panic_threshold = build_percent(build, panic);
}

/* -- which HTTP is spoken -- */

#define OPTIONS(name) ENVOY__EXTENSIONS__UPSTREAMS__HTTP__V3__HTTP_PROTOCOL_OPTIONS__UPSTREAM_PROTOCOL_OPTIONS_##name
#define EXPLICIT(name)                                                                                                 \
    ENVOY__EXTENSIONS__UPSTREAMS__HTTP__V3__HTTP_PROTOCOL_OPTIONS__EXPLICIT_HTTP_CONFIG__PROTOCOL_CONFIG_##name

static void set_options(struct generation *generation, pb_cluster *cluster, const pb_http_options *options)
{
    struct build *build = &generation->build;
    pb_cluster_options *entry = new_cluster_options(build);
    entry->key = literal("envoy.extensions.upstreams.http.v3.HttpProtocolOptions");
    entry->value = build_any(build, &options->base);
    PUSH(build, cluster, typed_extension_protocol_options, entry);
}

/* A sidecar is transparent: what the client spoke. */
static void set_downstream_http(struct generation *generation, pb_cluster *cluster)
{
    struct build *build = &generation->build;
    pb_http_options *options = new_http_options(build);
    options->upstream_protocol_options_case = OPTIONS(USE_DOWNSTREAM_PROTOCOL_CONFIG);
    options->use_downstream_protocol_config = new_http_downstream(build);
    options->use_downstream_protocol_config->http_protocol_options = new_http1_options(build);
    options->use_downstream_protocol_config->http2_protocol_options = new_http2_options(build);
    set_options(generation, cluster, options);
}

/* A gateway's clients speak what they like: the application gets what its port says, HTTP/1 where it says nothing. */
static void set_http(struct generation *generation, pb_cluster *cluster, enum control_protocol protocol)
{
    struct build *build = &generation->build;
    if (generation->view->role != CONTROL_ROLE_GATEWAY) {
        set_downstream_http(generation, cluster);
        return;
    }
    if (protocol != CONTROL_PROTOCOL_HTTP2)
        return;
    pb_http_options *options = new_http_options(build);
    options->upstream_protocol_options_case = OPTIONS(EXPLICIT_HTTP_CONFIG);
    options->explicit_http_config = new_http_explicit(build);
    options->explicit_http_config->protocol_config_case = EXPLICIT(HTTP2_PROTOCOL_OPTIONS);
    options->explicit_http_config->http2_protocol_options = new_http2_options(build);
    set_options(generation, cluster, options);
}

/* -- mTLS where an endpoint is meshed -- */

static void add_match(struct generation *generation, pb_cluster *cluster, const char *name, const char *key,
                      const char *value, pb_transport *transport)
{
    struct build *build = &generation->build;
    pb_socket_match *match = new_socket_match(build);
    match->name = literal(name);
    match->match = new_struct(build);
    if (key != NULL)
        build_field(build, match->match, key, fl_span_str(value));
    match->transport_socket = transport;
    PUSH(build, cluster, transport_socket_matches, match);
}

static void set_transport(struct generation *generation, pb_cluster *cluster, const char *sni)
{
    if (generation->view->role == CONTROL_ROLE_CLIENT)
        return; /* it has no certificate */
    add_match(generation, cluster, "mesh", FL_METADATA_TLS_MODE, FL_METADATA_TLS_MODE_MESH,
              transport_upstream(generation, sni));
    if (generation->settings.istio_peers) {
        add_match(generation, cluster, "istio", FL_METADATA_TLS_MODE, FL_METADATA_TLS_MODE_ISTIO,
                  transport_istio(generation, sni));
        add_match(generation, cluster, "hbone", FL_METADATA_TUNNEL, FL_METADATA_TUNNEL_HTTP,
                  transport_tunnel(generation));
    }
    add_match(generation, cluster, "plaintext", NULL, NULL, transport_plain(generation));
}

static void set_eds(struct generation *generation, pb_cluster *cluster)
{
    cluster->eds_cluster_config = new_eds(&generation->build);
    cluster->eds_cluster_config->eds_config = build_ads(&generation->build);
}

/* metadata.filter_metadata.istio.services, an empty list: for the labels of metrics. */
static pb_list *add_services(struct generation *generation, pb_cluster *cluster)
{
    struct build *build = &generation->build;
    pb_struct *istio = build_metadata(build, &cluster->metadata, FL_METADATA_ISTIO);
    pb_struct_field *services = new_struct_field(build);
    services->key = literal("services");
    services->value = new_value(build);
    services->value->kind_case = GOOGLE__PROTOBUF__VALUE__KIND_LIST_VALUE;
    services->value->list_value = new_list(build);
    PUSH(build, istio, fields, services);
    return services->value->list_value;
}

static void add_service(struct generation *generation, pb_list *services, const struct control_service *service)
{
    struct build *build = &generation->build;
    pb_value *item = new_value(build);
    pb_struct *entry = new_struct(build);
    build_field(build, entry, "host", control_service_fqdn(generation->model, service, generation->arena));
    build_field(build, entry, "name", service->object.metadata.name);
    build_field(build, entry, "namespace", service->object.metadata.name_space);
    item->kind_case = GOOGLE__PROTOBUF__VALUE__KIND_STRUCT_VALUE;
    item->struct_value = entry;
    PUSH(build, services, values, item);
}

/* -- the kinds -- */

static ProtobufCMessage *service_cluster(struct generation *generation, const struct fl_resource_name *name,
                                         struct fl_span text)
{
    struct build *build = &generation->build;
    const struct control_service *service = control_service_by_fqdn(generation->model, name->host);
    const struct control_port *port = service != NULL ? control_service_port(service, name->port) : NULL;
    if (port == NULL)
        return NULL;
    pb_cluster *cluster =
        cluster_of(generation, build_text(build, text), ENVOY__CONFIG__CLUSTER__V3__CLUSTER__DISCOVERY_TYPE__EDS);
    set_eds(generation, cluster);
    set_traffic(generation, cluster, control_service_traffic(generation->model, service));
    set_http(generation, cluster, port->protocol);
    set_transport(generation, cluster, build_textf(build, "outbound_.%u_._.%.*s", name->port, FL_SPAN_ARG(name->host)));
    add_service(generation, add_services(generation, cluster), service);
    return &cluster->base;
}

static ProtobufCMessage *workload_cluster(struct generation *generation, const struct fl_resource_name *name,
                                          struct fl_span text)
{
    struct build *build = &generation->build;
    struct control_ip ip;
    if (control_ip_parse(name->ip, &ip) < 0)
        return NULL;
    const struct control_pod *pod = control_model_pod_at(generation->model, &ip);
    if (pod == NULL && !telemetry_is_collector(generation, &ip, name->port))
        return NULL;
    pb_cluster *cluster =
        cluster_of(generation, build_text(build, text), ENVOY__CONFIG__CLUSTER__V3__CLUSTER__DISCOVERY_TYPE__EDS);
    set_eds(generation, cluster);
    set_traffic(generation, cluster, NULL);
    set_http(generation, cluster, CONTROL_PROTOCOL_AUTO);
    set_transport(generation, cluster, build_textf(build, "outbound_.%u_._.workload", name->port));
    return &cluster->base;
}

static ProtobufCMessage *pass_cluster(struct generation *generation, const char *name)
{
    pb_cluster *cluster =
        cluster_of(generation, name, ENVOY__CONFIG__CLUSTER__V3__CLUSTER__DISCOVERY_TYPE__ORIGINAL_DST);
    cluster->lb_policy = ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_POLICY__CLUSTER_PROVIDED;
    cluster->connect_timeout = build_ms(&generation->build, PASS_CONNECT_MS);
    return &cluster->base;
}

static pb_socket_address *source(struct generation *generation, const char *ip)
{
    pb_socket_address *address = new_socket_address(&generation->build);
    address->address = literal(ip);
    address->port_specifier_case = ENVOY__CONFIG__CORE__V3__SOCKET_ADDRESS__PORT_SPECIFIER_PORT_VALUE;
    return address;
}

/* Towards the application: from addresses that are never captured. */
static pb_cluster *app_cluster(struct generation *generation, const char *name)
{
    struct build *build = &generation->build;
    pb_cluster *cluster = (pb_cluster *)pass_cluster(generation, name);
    pb_extra_source *extra = new_extra_source(build);
    cluster->upstream_bind_config = new_bind(build);
    cluster->upstream_bind_config->source_address = source(generation, FL_PASSTHROUGH_IPV4);
    extra->address = source(generation, FL_PASSTHROUGH_IPV6);
    PUSH(build, cluster->upstream_bind_config, extra_source_addresses, extra);
    set_downstream_http(generation, cluster);
    return cluster;
}

static ProtobufCMessage *black_hole(struct generation *generation)
{
    pb_cluster *cluster =
        cluster_of(generation, FL_RESOURCE_NAME_BLACKHOLE, ENVOY__CONFIG__CLUSTER__V3__CLUSTER__DISCOVERY_TYPE__STATIC);
    cluster->connect_timeout = build_ms(&generation->build, PASS_CONNECT_MS);
    return &cluster->base;
}

ProtobufCMessage *inbound_cluster(struct generation *generation, uint16_t port, struct fl_span text)
{
    struct control_inbounds inbounds;
    if (generation->view->pod == NULL)
        return NULL;
    if (control_pod_inbound(generation->model, generation->view->pod, generation->arena, &inbounds) < 0) {
        generation->build.failed = true;
        return NULL;
    }
    pb_cluster *cluster = NULL;
    pb_list *services = NULL;
    for (size_t i = 0; i < inbounds.count; i++) { /* the oldest first */
        if (inbounds.items[i].pod_port != port)
            continue;
        if (cluster == NULL) {
            cluster = app_cluster(generation, build_text(&generation->build, text));
            services = add_services(generation, cluster);
        }
        add_service(generation, services, inbounds.items[i].service);
    }
    return cluster != NULL ? &cluster->base : NULL;
}

ProtobufCMessage *generate_cluster(struct generation *generation, const struct fl_resource_name *name,
                                   struct fl_span text)
{
    bool inbound = generation->view->role == CONTROL_ROLE_SIDECAR;
    switch (name->kind) {
    case FL_RESOURCE_SERVICE:
        return service_cluster(generation, name, text);
    case FL_RESOURCE_WORKLOAD:
        return workload_cluster(generation, name, text);
    case FL_RESOURCE_INBOUND:
        return inbound_cluster(generation, name->port, text);
    case FL_RESOURCE_PASSTHROUGH:
        return pass_cluster(generation, FL_RESOURCE_NAME_PASSTHROUGH);
    case FL_RESOURCE_BLACKHOLE:
        return black_hole(generation);
    case FL_RESOURCE_INBOUND_PASSTHROUGH:
        return inbound ? &app_cluster(generation, FL_RESOURCE_NAME_INBOUND_PASSTHROUGH)->base : NULL;
    case FL_RESOURCE_NONE:
    case FL_RESOURCE_VIRTUAL_OUTBOUND:
    case FL_RESOURCE_VIRTUAL_INBOUND:
    case FL_RESOURCE_TUNNEL_INBOUND:
    case FL_RESOURCE_DESTINATION:
    case FL_RESOURCE_OWN_NAMESPACE:
    case FL_RESOURCE_GATEWAY:
    case FL_RESOURCE_OWN_CERTIFICATE:
    case FL_RESOURCE_TRUST_BUNDLE:
    case FL_RESOURCE_KUBERNETES_SECRET:
    default:
        return NULL;
    }
}
