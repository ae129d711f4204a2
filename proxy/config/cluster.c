/* Cluster messages → struct proxy_cluster, sorted by name. */
#include "proxy/config/context.h"
#include "proxy/net/conn.h"

#include <errno.h>
#include <stdlib.h>

#define ENDPOINTS_MAX 100000 /* of a cluster */
#define HTTP_OPTIONS  "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

static int read_type(struct compile *compile, const pb_cluster *message, struct proxy_cluster *cluster)
{
    int result = COMPILE_REFUSE(compile, message, "cluster_type", "eds_cluster_config");
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
    default:
        return compile_fail_at(compile, "type", "expected STATIC or ORIGINAL_DST; other types are not supported yet");
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

static bool is_healthy(const pb_endpoint *message)
{
    switch ((int)message->health_status) {
    case ENVOY__CONFIG__CORE__V3__HEALTH_STATUS__UNHEALTHY:
    case ENVOY__CONFIG__CORE__V3__HEALTH_STATUS__DRAINING:
    case ENVOY__CONFIG__CORE__V3__HEALTH_STATUS__TIMEOUT:
        return false;
    default:
        return true;
    }
}

static int read_endpoint(struct compile *compile, const pb_endpoint *message, struct proxy_endpoint *endpoint)
{
    int result = COMPILE_REFUSE(compile, message, "endpoint_name");
    if (result != 0)
        return result;
    endpoint->weight = 1;
    endpoint->healthy = is_healthy(message);
    result =
        compile_u32(compile, "load_balancing_weight", message->load_balancing_weight, 1, UINT32_MAX, &endpoint->weight);
    if (result != 0)
        return result;
    if (message->host_identifier_case != ENVOY__CONFIG__ENDPOINT__V3__LB_ENDPOINT__HOST_IDENTIFIER_ENDPOINT)
        return compile_fail_at(compile, "endpoint", "must be set");
    compile_enter(compile, "endpoint");
    result = COMPILE_REFUSE(compile, message->endpoint, "additional_addresses");
    if (result == 0)
        result = compile_text(compile, message->endpoint->hostname, &endpoint->hostname);
    if (result != 0)
        return result;
    compile_enter(compile, "address");
    return compile_address(compile, message->endpoint->address, &endpoint->address, NULL);
}

static int read_locality(struct compile *compile, const pb_locality *message, struct proxy_endpoint *endpoints)
{
    int result = COMPILE_REFUSE(compile, message, "load_balancer_endpoints", "leds_cluster_locality_config");
    if (result != 0)
        return result;
    if (message->priority > 128)
        return compile_fail_at(compile, "priority", "expected a number from 0 to 128, got %u", message->priority);
    uint64_t sum = 0;
    for (size_t i = 0; i < message->n_lb_endpoints; i++) {
        struct compile_mark mark = compile_enter_at(compile, "lb_endpoints", i);
        result = read_endpoint(compile, message->lb_endpoints[i], &endpoints[i]);
        if (result != 0)
            return result;
        compile_leave(compile, mark);
        endpoints[i].priority = message->priority;
        sum += endpoints[i].weight;
    }
    return sum > UINT32_MAX ? compile_fail_at(compile, "lb_endpoints", "the sum of the weights is above %u", UINT32_MAX)
                            : 0;
}

static int read_assignment(struct compile *compile, const pb_assignment *message, struct proxy_cluster *cluster)
{
    if (message == NULL)
        return 0;
    if (cluster->type == PROXY_CLUSTER_ORIGINAL_DST)
        return compile_fail_at(compile, "load_assignment", "the type ORIGINAL_DST has no endpoints of its own");
    struct compile_mark mark = compile_enter(compile, "load_assignment");
    int result = compile_required(compile, "cluster_name", message->cluster_name);
    if (result == 0)
        result = COMPILE_REFUSE(compile, message, "named_endpoints");
    size_t count = 0;
    for (size_t i = 0; i < message->n_endpoints; i++)
        count += message->endpoints[i]->n_lb_endpoints;
    if (result == 0 && count > ENDPOINTS_MAX)
        result = compile_fail_at(compile, "endpoints", "more than %d endpoints", ENDPOINTS_MAX);
    struct proxy_endpoint *endpoints = result == 0 ? compile_array(compile, count, sizeof(*endpoints)) : NULL;
    if (result == 0 && endpoints == NULL)
        result = compile_no_memory(compile);
    for (size_t i = 0, done = 0; result == 0 && i < message->n_endpoints; i++) {
        struct compile_mark inner = compile_enter_at(compile, "endpoints", i);
        result = read_locality(compile, message->endpoints[i], endpoints + done);
        done += message->endpoints[i]->n_lb_endpoints;
        if (result == 0)
            compile_leave(compile, inner);
    }
    if (result != 0)
        return result;
    cluster->endpoints = endpoints;
    cluster->endpoint_count = count;
    compile_leave(compile, mark);
    return 0;
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

static int read_common_http(struct compile *compile, const pb_common_http *message, struct proxy_cluster *cluster)
{
    if (message == NULL)
        return 0;
    struct compile_mark mark = compile_enter(compile, "common_http_protocol_options");
    int result = compile_ms(compile, "idle_timeout", message->idle_timeout, &cluster->idle_timeout_ms);
    if (result == 0)
        result = compile_u32(compile, "max_requests_per_connection", message->max_requests_per_connection, 0,
                             UINT32_MAX, &cluster->max_requests_per_connection);
    if (result == 0)
        compile_leave(compile, mark);
    return result;
}

static int read_http_options(struct compile *compile, const pb_any *any, struct proxy_cluster *cluster)
{
    ProtobufCMessage *unpacked;
    int result = compile_unpack(compile, any,
                                &envoy__extensions__upstreams__http__v3__http_protocol_options__descriptor, &unpacked);
    if (result != 0)
        return result;
    const pb_http_options *message = (const pb_http_options *)unpacked;
    result = COMPILE_REFUSE(compile, message, "auto_config", "http_filters", "upstream_http_protocol_options");
    if (result == 0 && message->explicit_http_config != NULL &&
        message->upstream_protocol_options_case ==
            ENVOY__EXTENSIONS__UPSTREAMS__HTTP__V3__HTTP_PROTOCOL_OPTIONS__UPSTREAM_PROTOCOL_OPTIONS_EXPLICIT_HTTP_CONFIG) {
        struct compile_mark mark = compile_enter(compile, "explicit_http_config");
        result =
            COMPILE_REFUSE(compile, message->explicit_http_config, "http2_protocol_options", "http3_protocol_options");
        if (result == 0)
            compile_leave(compile, mark);
    }
    if (result == 0)
        result = read_common_http(compile, message->common_http_protocol_options, cluster);
    return result;
}

static int read_extensions(struct compile *compile, const pb_cluster *message, struct proxy_cluster *cluster)
{
    for (size_t i = 0; i < message->n_typed_extension_protocol_options; i++) {
        struct fl_span key = fl_span_str(message->typed_extension_protocol_options[i]->key);
        struct compile_mark mark = compile_enter_key(compile, "typed_extension_protocol_options", key);
        if (!fl_span_eq_str(key, HTTP_OPTIONS))
            return compile_fail(compile, "expected " HTTP_OPTIONS);
        if (message->typed_extension_protocol_options[i]->value == NULL)
            return compile_fail(compile, "must be set");
        int result = read_http_options(compile, message->typed_extension_protocol_options[i]->value, cluster);
        if (result != 0)
            return result;
        compile_leave(compile, mark);
    }
    return 0;
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

/* filter_metadata.istio.services[0]: {host, name, namespace}. Of another form: no labels. */
static int read_metadata(struct compile *compile, const pb_cluster *message, struct proxy_cluster *cluster)
{
    const pb_struct *istio = NULL;
    for (size_t i = 0; message->metadata != NULL && i < message->metadata->n_filter_metadata; i++)
        if (strcmp(message->metadata->filter_metadata[i]->key, "istio") == 0)
            istio = message->metadata->filter_metadata[i]->value;
    const pb_value *services = struct_field(istio, "services");
    if (services == NULL || services->kind_case != GOOGLE__PROTOBUF__VALUE__KIND_LIST_VALUE ||
        services->list_value->n_values == 0 ||
        services->list_value->values[0]->kind_case != GOOGLE__PROTOBUF__VALUE__KIND_STRUCT_VALUE)
        return 0;
    const pb_struct *service = services->list_value->values[0]->struct_value;
    int result = read_label(compile, service, "host", &cluster->service_host);
    if (result == 0)
        result = read_label(compile, service, "name", &cluster->service_name);
    if (result == 0)
        result = read_label(compile, service, "namespace", &cluster->service_namespace);
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
        result = read_common_http(compile, message->common_http_protocol_options, cluster);
    if (result == 0)
        result = read_extensions(compile, message, cluster);
    if (result == 0)
        result = read_keepalive(compile, message, cluster);
    return result == 0 ? compile_breakers(compile, message, cluster) : result;
}

static int read_cluster(struct compile *compile, const pb_cluster *message, struct proxy_cluster *cluster)
{
    int result = compile_required(compile, "name", message->name);
    if (result == 0)
        result = COMPILE_REFUSE(compile, message, "transport_socket_matches", "lb_subset_config", "filters",
                                "load_balancing_policy", "http2_protocol_options", "upstream_http_protocol_options");
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
        result = read_assignment(compile, message->load_assignment, cluster);
    if (result == 0)
        result = read_bind(compile, message->upstream_bind_config, cluster);
    if (result == 0)
        result = compile_transport(compile, message->transport_socket, false, &cluster->tls);
    if (result == 0)
        result = read_metadata(compile, message, cluster);
    return result;
}

static int by_name(const void *a, const void *b)
{
    return proxy_name_compare(((const struct proxy_cluster *)a)->name, ((const struct proxy_cluster *)b)->name);
}

/* Found by a map and not in the sorted array, so that the error names the later of the two. */
static int check_names(struct compile *compile, const struct proxy_cluster *clusters, size_t count)
{
    struct fl_map names;
    fl_map_init(&names, count);
    int result = 0;
    for (size_t i = 0; i < count && result == 0; i++) {
        result = fl_map_put(&names, clusters[i].name, (void *)(uintptr_t)&clusters[i]);
        if (result == -EEXIST) {
            compile_enter_at(compile, "clusters", i);
            result = compile_fail_at(compile, "name", "a cluster \"%s\" is there already", clusters[i].name.data);
        } else if (result != 0)
            result = compile_no_memory(compile);
    }
    fl_map_done(&names);
    return result;
}

int compile_clusters(struct compile *compile, pb_cluster *const *messages, size_t count)
{
    if (count > PROXY_CLUSTERS_MAX)
        return compile_fail_at(compile, "clusters", "more than %d clusters", PROXY_CLUSTERS_MAX);
    struct proxy_cluster *clusters = compile_array(compile, count, sizeof(*clusters));
    if (clusters == NULL)
        return compile_no_memory(compile);
    for (size_t i = 0; i < count; i++) {
        struct compile_mark mark = compile_enter_at(compile, "clusters", i);
        int result = read_cluster(compile, messages[i], &clusters[i]);
        if (result != 0)
            return result;
        compile_leave(compile, mark);
    }
    int result = check_names(compile, clusters, count);
    if (result != 0)
        return result;
    if (count > 0)
        qsort(clusters, count, sizeof(*clusters), by_name);
    compile->snapshot->clusters = clusters;
    compile->snapshot->cluster_count = count;
    return 0;
}

int compile_cluster_index(struct compile *compile, const char *field, const char *name, uint32_t *ret_index)
{
    int result = compile_required(compile, field, name);
    if (result != 0)
        return result;
    const struct proxy_cluster *cluster = proxy_snapshot_cluster(compile->snapshot, fl_span_str(name));
    if (cluster == NULL)
        return compile_fail_at(compile, field, "there is no cluster \"%s\"", name);
    *ret_index = (uint32_t)(cluster - compile->snapshot->clusters);
    return 0;
}
