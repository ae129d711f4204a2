/* Cluster messages → struct proxy_cluster. */
#include "proxy/config/context.h"
#include "proxy/net/conn.h"

#include <errno.h>
#include <stdlib.h>

#define SERVICES_MAX 64 /* of one cluster that are told apart */

static int read_type(struct compile *compile, const pb_cluster *message, struct proxy_cluster *cluster)
{
    int result = COMPILE_REFUSE(compile, message, "cluster_type");
    if (result != 0)
        return result;
    int type = message->cluster_discovery_type_case == ENVOY__CONFIG__CLUSTER__V3__CLUSTER__CLUSTER_DISCOVERY_TYPE_TYPE
                   ? (int)message->type
                   : ENVOY__CONFIG__CLUSTER__V3__CLUSTER__DISCOVERY_TYPE__STATIC;
    switch (type) {
    case ENVOY__CONFIG__CLUSTER__V3__CLUSTER__DISCOVERY_TYPE__STATIC:
        cluster->type = PROXY_CLUSTER_STATIC;
        return 0;
    case ENVOY__CONFIG__CLUSTER__V3__CLUSTER__DISCOVERY_TYPE__ORIGINAL_DST:
        cluster->type = PROXY_CLUSTER_ORIGINAL_DST;
        return 0;
    case ENVOY__CONFIG__CLUSTER__V3__CLUSTER__DISCOVERY_TYPE__STRICT_DNS:
    case ENVOY__CONFIG__CLUSTER__V3__CLUSTER__DISCOVERY_TYPE__LOGICAL_DNS:
        cluster->type = PROXY_CLUSTER_EDS;
        return compile_names(compile, message, cluster);
    case ENVOY__CONFIG__CLUSTER__V3__CLUSTER__DISCOVERY_TYPE__EDS:
        cluster->type = PROXY_CLUSTER_EDS;
        return 0;
    default:
        return compile_fail_at(compile, "type", "expected STATIC, STRICT_DNS, LOGICAL_DNS, EDS or ORIGINAL_DST");
    }
}

static int read_policy(struct compile *compile, const pb_cluster *message, struct proxy_cluster *cluster)
{
    int policy = (int)message->lb_policy;
    bool provided = policy == ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_POLICY__CLUSTER_PROVIDED;
    if (provided != (cluster->type == PROXY_CLUSTER_ORIGINAL_DST))
        return compile_fail_at(compile, "lb_policy",
                               "CLUSTER_PROVIDED belongs to the type ORIGINAL_DST, and to no other");
    switch (policy) {
    case ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_POLICY__ROUND_ROBIN:
        cluster->lb_policy = PROXY_LB_ROUND_ROBIN;
        return 0;
    case ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_POLICY__LEAST_REQUEST:
        cluster->lb_policy = PROXY_LB_LEAST_REQUEST;
        return 0;
    case ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_POLICY__RANDOM:
        cluster->lb_policy = PROXY_LB_RANDOM;
        return 0;
    case ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_POLICY__CLUSTER_PROVIDED:
        cluster->lb_policy = PROXY_LB_ORIGINAL_DST;
        return 0;
    default:
        return compile_fail_at(compile, "lb_policy", "expected ROUND_ROBIN, LEAST_REQUEST, RANDOM or CLUSTER_PROVIDED");
    }
}

static int read_original_dst(struct compile *compile, const pb_cluster *message, struct proxy_cluster *cluster)
{
    if (message->lb_config_case != ENVOY__CONFIG__CLUSTER__V3__CLUSTER__LB_CONFIG_ORIGINAL_DST_LB_CONFIG)
        return 0;
    if (cluster->type != PROXY_CLUSTER_ORIGINAL_DST)
        return compile_fail_at(compile, "original_dst_lb_config", "belongs to the type ORIGINAL_DST");
    struct compile_mark mark = compile_enter(compile, "original_dst_lb_config");
    int result = COMPILE_REFUSE(compile, message->original_dst_lb_config, "use_http_header", "http_header_name");
    if (result == 0)
        result = compile_u32(compile, "upstream_port_override", message->original_dst_lb_config->upstream_port_override,
                             1, UINT16_MAX, &cluster->original_dst_port);
    if (result == 0)
        compile_leave(compile, mark);
    return result;
}

/* -- endpoints -- */

static int read_eds(struct compile *compile, const pb_cluster *message, struct proxy_cluster *cluster)
{
    const Envoy__Config__Cluster__V3__Cluster__EdsClusterConfig *eds = message->eds_cluster_config;
    if (cluster->type != PROXY_CLUSTER_EDS || cluster->dns != NULL)
        return eds == NULL ? 0 : compile_fail_at(compile, "eds_cluster_config", "belongs to the type EDS");
    struct compile_mark mark = compile_enter(compile, "eds_cluster_config");
    if (eds == NULL)
        return compile_fail(compile, "must be set");
    enum proxy_want_source source = PROXY_WANT_ADS;
    int result = compile_config_source(compile, "eds_config", eds->eds_config, &source);
    struct fl_span name = eds->service_name[0] != '\0' ? fl_span_str(eds->service_name) : cluster->name;
    if (result == 0 && name.len > PROXY_ASSEMBLY_NAME_MAX)
        result = compile_fail_at(compile, "service_name", "is longer than %u bytes", PROXY_ASSEMBLY_NAME_MAX);
    if (result == 0)
        result = compile_text(compile, name.data, &cluster->eds_name);
    if (result == 0)
        result = compile_need(compile, FL_RESOURCE_ENDPOINTS, name, source);
    if (result == 0)
        compile_leave(compile, mark);
    return result;
}

static int read_assignment(struct compile *compile, const pb_cluster *message, struct proxy_cluster *cluster)
{
    cluster->own.unit = compile->unit;
    if (message->load_assignment == NULL || cluster->dns != NULL)
        return 0;
    if (cluster->type == PROXY_CLUSTER_ORIGINAL_DST)
        return compile_fail_at(compile, "load_assignment", "the type ORIGINAL_DST has no endpoints of its own");
    if (cluster->type == PROXY_CLUSTER_EDS)
        return compile_fail_at(compile, "load_assignment", "the type EDS has no endpoints of its own");
    struct compile_mark mark = compile_enter(compile, "load_assignment");
    int result = compile_endpoints(compile, message->load_assignment, &cluster->own);
    if (result == 0)
        compile_leave(compile, mark);
    return result;
}

/* -- TLS by what endpoints say of themselves -- */

static int read_match(struct compile *compile, const Envoy__Config__Cluster__V3__Cluster__TransportSocketMatch *message,
                      struct proxy_transport_match *match)
{
    int result = compile_required(compile, "name", message->name);
    if (result == 0)
        result = compile_text(compile, message->name, &match->name);
    if (result != 0)
        return result;
    struct compile_mark mark = compile_enter(compile, "match");
    result = compile_labels(compile, message->match, true, &match->criteria, &match->criteria_count);
    if (result != 0)
        return result;
    compile_leave(compile, mark);
    if (message->transport_socket == NULL)
        return compile_fail_at(compile, "transport_socket", "must be set");
    return compile_transport(compile, message->transport_socket, false, &match->tls);
}

#define PROXY_PROTOCOL_TYPE                                                                                            \
    envoy__extensions__transport_sockets__proxy_protocol__v3__proxy_protocol_upstream_transport__descriptor

/* A header of the PROXY protocol around another transport (NULL: plain). */
static int read_proxy_protocol(struct compile *compile, const pb_transport *transport, struct proxy_cluster *cluster)
{
    struct compile_mark mark = compile_enter(compile, "transport_socket");
    compile_enter(compile, "typed_config");
    ProtobufCMessage *unpacked;
    int result = compile_unpack(compile, transport->typed_config, &PROXY_PROTOCOL_TYPE, &unpacked);
    if (result != 0)
        return result;
    const Envoy__Extensions__TransportSockets__ProxyProtocol__V3__ProxyProtocolUpstreamTransport *message =
        (const Envoy__Extensions__TransportSockets__ProxyProtocol__V3__ProxyProtocolUpstreamTransport *)unpacked;
    cluster->proxy_protocol = message->config != NULL && message->config->version != 0 ? 2 : 1;
    if (message->config != NULL) {
        struct compile_mark inner = compile_enter(compile, "config");
        result = COMPILE_REFUSE(compile, message->config, "pass_through_tlvs", "added_tlvs");
        compile_leave(compile, inner);
    }
    if (result == 0 && cluster->match_count > 0)
        result = compile_fail(compile, "not together with transport_socket_matches");
    if (result == 0)
        result = compile_transport(compile, message->transport_socket, false, &cluster->tls);
    if (result == 0)
        compile_leave(compile, mark);
    return result;
}

static int read_transports(struct compile *compile, const pb_cluster *message, struct proxy_cluster *cluster)
{
    struct proxy_transport_match *matches =
        compile_array(compile, message->n_transport_socket_matches, sizeof(*matches));
    if (matches == NULL)
        return compile_no_memory(compile);
    for (size_t i = 0; i < message->n_transport_socket_matches; i++) {
        struct compile_mark mark = compile_enter_at(compile, "transport_socket_matches", i);
        int result = read_match(compile, message->transport_socket_matches[i], &matches[i]);
        if (result != 0)
            return result;
        compile_leave(compile, mark);
    }
    cluster->matches = matches;
    cluster->match_count = message->n_transport_socket_matches;
    const pb_transport *transport = message->transport_socket;
    if (transport != NULL &&
        transport->config_type_case == ENVOY__CONFIG__CORE__V3__TRANSPORT_SOCKET__CONFIG_TYPE_TYPED_CONFIG &&
        fl_span_eq_str(compile_type_name(transport->typed_config), PROXY_PROTOCOL_TYPE.name))
        return read_proxy_protocol(compile, transport, cluster);
    return compile_transport(compile, transport, false, &cluster->tls);
}

/* -- where connections come from -- */

static int add_source(struct compile *compile, const pb_socket_address *message, struct proxy_cluster *cluster)
{
    if (message == NULL)
        return compile_fail(compile, "must be set");
    struct proxy_address source;
    int result = compile_socket_address(compile, message, &source);
    if (result != 0)
        return result;
    if (proxy_address_port(&source) != 0)
        return compile_fail_at(compile, "port_value", "expected 0: a fixed source port serves one connection alone");
    struct proxy_address *place = source.any.sa_family == AF_INET ? &cluster->bind_v4 : &cluster->bind_v6;
    if (proxy_address_is_set(place))
        return compile_fail(compile, "a second source address of this family is not supported");
    *place = source;
    return 0;
}

static int read_bind(struct compile *compile, const pb_bind *message, struct proxy_cluster *cluster)
{
    if (message == NULL)
        return 0;
    struct compile_mark mark = compile_enter(compile, "upstream_bind_config");
    int result = COMPILE_REFUSE(compile, message, "local_address_selector");
    if (result == 0 && message->source_address != NULL) {
        struct compile_mark inner = compile_enter(compile, "source_address");
        result = add_source(compile, message->source_address, cluster);
        compile_leave(compile, inner);
    }
    for (size_t i = 0; result == 0 && i < message->n_extra_source_addresses; i++) {
        struct compile_mark inner = compile_enter_at(compile, "extra_source_addresses", i);
        compile_enter(compile, "address");
        result = add_source(compile, message->extra_source_addresses[i]->address, cluster);
        compile_leave(compile, inner);
    }
    for (size_t i = 0; result == 0 && i < message->n_additional_source_addresses; i++) {
        struct compile_mark inner = compile_enter_at(compile, "additional_source_addresses", i);
        result = add_source(compile, message->additional_source_addresses[i], cluster);
        compile_leave(compile, inner);
    }
    cluster->bind_freebind = compile_bool(message->freebind, false);
    compile_leave(compile, mark);
    return result;
}

/* -- connections, limits, labels -- */

/* Keep-alive probes say nothing while something is not acknowledged: the same time counts then. Not less than a minute,
 * for a peer that lives and reads nothing for so long is ended, too. */
static uint32_t user_timeout_of(const struct proxy_cluster *cluster)
{
    uint64_t seconds = cluster->keepalive_time_s + (uint64_t)cluster->keepalive_interval_s * cluster->keepalive_probes;
    seconds = seconds < 60 ? 60 : seconds > 86400 ? 86400 : seconds;
    return (uint32_t)seconds * 1000;
}

/* Bounds: what Linux takes (include/net/tcp.h); beyond them setsockopt would refuse, and nobody would hear of it. */
static int read_keepalive(struct compile *compile, const pb_cluster *message, struct proxy_cluster *cluster)
{
    cluster->keepalive_time_s = 30;
    cluster->keepalive_interval_s = 10;
    cluster->keepalive_probes = 3;
    if (message->upstream_connection_options == NULL || message->upstream_connection_options->tcp_keepalive == NULL)
        return 0;
    struct compile_mark mark = compile_enter(compile, "upstream_connection_options");
    compile_enter(compile, "tcp_keepalive");
    cluster->keepalive_time_s = cluster->keepalive_interval_s = cluster->keepalive_probes = 0;
    const pb_keepalive *keepalive = message->upstream_connection_options->tcp_keepalive;
    int result =
        compile_u32(compile, "keepalive_probes", keepalive->keepalive_probes, 1, 127, &cluster->keepalive_probes);
    if (result == 0)
        result =
            compile_u32(compile, "keepalive_time", keepalive->keepalive_time, 1, 32767, &cluster->keepalive_time_s);
    if (result == 0)
        result = compile_u32(compile, "keepalive_interval", keepalive->keepalive_interval, 1, 32767,
                             &cluster->keepalive_interval_s);
    if (cluster->keepalive_probes > 0 && cluster->keepalive_time_s > 0 && cluster->keepalive_interval_s > 0)
        cluster->user_timeout_ms = user_timeout_of(cluster);
    if (result == 0)
        compile_leave(compile, mark);
    return result;
}

static const pb_value *struct_field(const pb_struct *object, const char *name)
{
    for (size_t i = 0; object != NULL && i < object->n_fields; i++)
        if (strcmp(object->fields[i]->key, name) == 0)
            return object->fields[i]->value;
    return NULL;
}

static int read_label(struct compile *compile, const pb_struct *object, const char *name, struct fl_span *ret_text)
{
    const pb_value *value = struct_field(object, name);
    if (value == NULL || value->kind_case != GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE)
        return 0;
    return compile_text(compile, value->string_value, ret_text);
}

static int read_service(struct compile *compile, const pb_value *value, struct proxy_cluster_service *service)
{
    if (value->kind_case != GOOGLE__PROTOBUF__VALUE__KIND_STRUCT_VALUE)
        return 0;
    int result = read_label(compile, value->struct_value, "host", &service->host);
    if (result == 0)
        result = read_label(compile, value->struct_value, "name", &service->name);
    if (result == 0)
        result = read_label(compile, value->struct_value, "namespace", &service->name_space);
    return result;
}

/* filter_metadata.istio.services: [{host, name, namespace}]. Of another form: no labels. */
static int read_metadata(struct compile *compile, const pb_cluster *message, struct proxy_cluster *cluster)
{
    const pb_value *services = struct_field(compile_metadata(message->metadata, FL_METADATA_ISTIO), "services");
    if (services == NULL || services->kind_case != GOOGLE__PROTOBUF__VALUE__KIND_LIST_VALUE)
        return 0;
    size_t count = services->list_value->n_values < SERVICES_MAX ? services->list_value->n_values : SERVICES_MAX;
    struct proxy_cluster_service *list = compile_array(compile, count, sizeof(*list));
    if (list == NULL)
        return compile_no_memory(compile);
    int result = 0;
    for (size_t i = 0; result == 0 && i < count; i++)
        result = read_service(compile, services->list_value->values[i], &list[i]);
    cluster->services = list;
    cluster->service_count = count;
    return result;
}

/* -- one cluster, all clusters -- */

static int read_connection(struct compile *compile, const pb_cluster *message, struct proxy_cluster *cluster)
{
    cluster->connect_timeout_ms = 5000;
    cluster->idle_timeout_ms = 3600000;
    cluster->buffer_limit_bytes = PROXY_CONN_HIGH;
    int result = compile_ms(compile, "connect_timeout", message->connect_timeout, &cluster->connect_timeout_ms);
    if (result == 0 && cluster->connect_timeout_ms == 0)
        result = compile_fail_at(compile, "connect_timeout", "must be greater than 0");
    if (result == 0)
        result = compile_u32(compile, "per_connection_buffer_limit_bytes", message->per_connection_buffer_limit_bytes,
                             1, UINT32_MAX, &cluster->buffer_limit_bytes);
    if (result == 0)
        result = compile_u32(compile, "max_requests_per_connection", message->max_requests_per_connection, 0,
                             UINT32_MAX, &cluster->max_requests_per_connection);
    if (result == 0)
        result = compile_upstream_http(compile, message, cluster);
    if (result == 0)
        result = read_keepalive(compile, message, cluster);
    return result == 0 ? compile_breakers(compile, message, cluster) : result;
}

static int read_cluster(struct compile *compile, const pb_cluster *message, struct proxy_cluster *cluster)
{
    int result = compile_required(compile, "name", message->name);
    if (result == 0)
        result = COMPILE_REFUSE(compile, message, "lb_subset_config", "filters", "load_balancing_policy",
                                "upstream_http_protocol_options");
    if (result == 0)
        result = compile_text(compile, message->name, &cluster->name);
    cluster->stat_name = cluster->name;
    if (result == 0 && message->alt_stat_name[0] != '\0')
        result = compile_text(compile, message->alt_stat_name, &cluster->stat_name);
    if (result == 0)
        result = read_type(compile, message, cluster);
    if (result == 0)
        result = read_policy(compile, message, cluster);
    if (result == 0)
        result = read_original_dst(compile, message, cluster);
    if (result == 0)
        result = read_connection(compile, message, cluster);
    if (result == 0)
        result = read_eds(compile, message, cluster);
    if (result == 0)
        result = read_assignment(compile, message, cluster);
    if (result == 0)
        result = read_bind(compile, message->upstream_bind_config, cluster);
    if (result == 0)
        result = read_transports(compile, message, cluster);
    if (result == 0)
        result = read_metadata(compile, message, cluster);
    return result;
}

int compile_cluster(struct compile *compile, const pb_cluster *message, const struct proxy_cluster **ret_cluster)
{
    struct proxy_cluster *cluster = compile_array(compile, 1, sizeof(*cluster));
    if (cluster == NULL)
        return compile_no_memory(compile);
    cluster->unit = compile->unit;
    int result = read_cluster(compile, message, cluster);
    if (result == 0)
        result = compile_slot(compile, PROXY_SLOT_CLUSTER, cluster->name, &cluster->slot);
    if (result == 0)
        *ret_cluster = cluster;
    return result;
}

int compile_cluster_index(struct compile *compile, const char *field, const char *name, uint32_t *ret_index)
{
    struct fl_span text = fl_span_str(name);
    int result = compile_required(compile, field, name);
    if (result != 0)
        return result;
    if (compile->known_clusters != NULL && fl_map_get(compile->known_clusters, text) == NULL)
        return compile_fail_at(compile, field, "there is no cluster \"%s\"", name);
    if (text.len > PROXY_ASSEMBLY_NAME_MAX)
        return compile_fail_at(compile, field, "is longer than %u bytes", PROXY_ASSEMBLY_NAME_MAX);
    const struct proxy_slot *slot;
    result = compile_slot(compile, PROXY_SLOT_CLUSTER, text, &slot);
    if (result == 0)
        result = compile_need(compile, FL_RESOURCE_CLUSTER, text, PROXY_WANT_NONE);
    if (result == 0)
        *ret_index = slot->index;
    return result;
}
