/* The network filters of a chain: harmless ones, and the terminal one at the end. */
#include "proxy/config/context.h"

#include "proxy/policy/rbac.h"

static const char tcp_proxy[] = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy";
static const char hcm[] = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";

static const char network_rbac[] = "envoy.extensions.filters.network.rbac.v3.RBAC";

static bool is_terminal(const pb_filter *message)
{
    struct fl_span type = compile_type_name(message->typed_config);
    return fl_span_eq_str(type, tcp_proxy) || fl_span_eq_str(type, hcm);
}

static int check_filter(struct compile *compile, const pb_filter *message)
{
    int result = compile_required(compile, "name", message->name);
    if (result == 0)
        result = COMPILE_REFUSE(compile, message, "config_discovery");
    if (result == 0 && message->config_type_case != ENVOY__CONFIG__LISTENER__V3__FILTER__CONFIG_TYPE_TYPED_CONFIG)
        result = compile_fail_at(compile, "typed_config", "must be set");
    return result;
}

static int read_terminal(struct compile *compile, const pb_filter *message, struct proxy_filter_chain *chain)
{
    struct compile_mark mark = compile_enter(compile, "typed_config");
    int result;
    if (fl_span_eq_str(compile_type_name(message->typed_config), hcm)) {
        chain->kind = PROXY_FILTER_HTTP;
        result = compile_hcm(compile, message->typed_config, &chain->http);
    } else {
        chain->kind = PROXY_FILTER_TCP;
        result = compile_tcp_proxy(compile, message->typed_config, &chain->tcp);
    }
    if (result == 0)
        compile_leave(compile, mark);
    return result;
}

static int read_rbac(struct compile *compile, const pb_filter *message, struct proxy_rbac_filter *rbacs,
                     struct proxy_filter_chain *chain)
{
    struct compile_mark mark = compile_enter(compile, "typed_config");
    int result = compile_network_rbac(compile, message->typed_config, &rbacs[chain->rbac_count]);
    if (result != 0)
        return result;
    compile_leave(compile, mark);
    chain->rbac_count++;
    return 0;
}

static int read_filter(struct compile *compile, const pb_chain *message, size_t index, struct proxy_rbac_filter *rbacs,
                       struct proxy_filter_chain *chain)
{
    const pb_filter *filter = message->filters[index];
    int result = check_filter(compile, filter);
    if (result != 0)
        return result;
    bool last = index + 1 == message->n_filters;
    if (is_terminal(filter) && !last)
        return compile_fail(compile, "%s is terminal, so it must be the last filter", filter->name);
    if (is_terminal(filter))
        return read_terminal(compile, filter, chain);
    bool rbac = fl_span_eq_str(compile_type_name(filter->typed_config), network_rbac);
    if (rbac && !last)
        return read_rbac(compile, filter, rbacs, chain);
    if (!rbac && !compile_is_harmless(filter->typed_config, false))
        return compile_fail_at(compile, "typed_config", "the filter %s is not supported",
                               filter->typed_config->type_url);
    if (last)
        return compile_fail(compile, "the last filter must be tcp_proxy or http_connection_manager");
    compile->harmless++;
    return 0;
}

int compile_filters(struct compile *compile, const pb_chain *message, struct proxy_filter_chain *chain)
{
    struct proxy_rbac_filter *rbacs = compile_array(compile, message->n_filters, sizeof(*rbacs));
    if (rbacs == NULL)
        return compile_no_memory(compile);
    chain->rbacs = rbacs;
    if (message->n_filters == 0)
        return compile_fail_at(compile, "filters", "the last filter must be tcp_proxy or http_connection_manager");
    for (size_t i = 0; i < message->n_filters; i++) {
        struct compile_mark mark = compile_enter_at(compile, "filters", i);
        int result = read_filter(compile, message, i, rbacs, chain);
        if (result != 0)
            return result;
        compile_leave(compile, mark);
    }
    return 0;
}

static int read_cluster(struct compile *compile, const char *name, struct proxy_tcp_config *tcp)
{
    int result = compile_cluster_index(compile, "cluster", name, &tcp->cluster_index);
    return result == 0 ? compile_text(compile, name, &tcp->cluster) : result;
}

static int read_weight(struct compile *compile, const pb_tcp_weight *message, struct proxy_tcp_weight *weight)
{
    if (message->weight == 0)
        return compile_fail_at(compile, "weight", "must be greater than 0");
    weight->weight = message->weight;
    return compile_cluster_index(compile, "name", message->name, &weight->cluster_index);
}

static int read_weights(struct compile *compile, const pb_tcp_weighted *message, struct proxy_tcp_config *tcp)
{
    struct compile_mark mark = compile_enter(compile, "weighted_clusters");
    struct proxy_tcp_weight *weights = compile_array(compile, message->n_clusters, sizeof(*weights));
    if (weights == NULL)
        return compile_no_memory(compile);
    if (message->n_clusters == 0)
        return compile_fail_at(compile, "clusters", "must not be empty");
    for (size_t i = 0; i < message->n_clusters; i++) {
        struct compile_mark inner = compile_enter_at(compile, "clusters", i);
        int result = read_weight(compile, message->clusters[i], &weights[i]);
        if (result != 0)
            return result;
        tcp->weight_sum += weights[i].weight;
        compile_leave(compile, inner);
    }
    if (tcp->weight_sum > UINT32_MAX)
        return compile_fail_at(compile, "clusters", "the weights are more than %u in all", UINT32_MAX);
    tcp->weights = weights;
    tcp->weight_count = message->n_clusters;
    tcp->cluster_index = weights[0].cluster_index;
    compile_leave(compile, mark);
    return compile_text(compile, message->clusters[0]->name, &tcp->cluster);
}

static int read_destination(struct compile *compile, const pb_tcp_proxy *message, struct proxy_tcp_config *tcp)
{
    if (message->cluster_specifier_case ==
        ENVOY__EXTENSIONS__FILTERS__NETWORK__TCP_PROXY__V3__TCP_PROXY__CLUSTER_SPECIFIER_WEIGHTED_CLUSTERS)
        return read_weights(compile, message->weighted_clusters, tcp);
    if (message->cluster_specifier_case ==
        ENVOY__EXTENSIONS__FILTERS__NETWORK__TCP_PROXY__V3__TCP_PROXY__CLUSTER_SPECIFIER_CLUSTER)
        return read_cluster(compile, message->cluster, tcp);
    return compile_fail_at(compile, "cluster", "must be set");
}

int compile_tcp_proxy(struct compile *compile, const pb_any *any, const struct proxy_tcp_config **ret_tcp)
{
    ProtobufCMessage *unpacked;
    int result = compile_unpack(compile, any,
                                &envoy__extensions__filters__network__tcp_proxy__v3__tcp_proxy__descriptor, &unpacked);
    struct proxy_tcp_config *tcp = result == 0 ? compile_array(compile, 1, sizeof(*tcp)) : NULL;
    if (result != 0)
        return result;
    if (tcp == NULL)
        return compile_no_memory(compile);
    const pb_tcp_proxy *message = (const pb_tcp_proxy *)unpacked;
    *tcp = (struct proxy_tcp_config){.idle_timeout_ms = 3600000, .connect_attempts = 1};
    result = COMPILE_REFUSE(compile, message, "tunneling_config", "on_demand");
    if (result == 0)
        result = compile_required(compile, "stat_prefix", message->stat_prefix);
    if (result == 0)
        result = compile_text(compile, message->stat_prefix, &tcp->stat_prefix);
    if (result == 0)
        result = read_destination(compile, message, tcp);
    if (result == 0)
        result = compile_ms(compile, "idle_timeout", message->idle_timeout, &tcp->idle_timeout_ms);
    if (result == 0)
        result = compile_ms(compile, "max_downstream_connection_duration", message->max_downstream_connection_duration,
                            &tcp->max_duration_ms);
    if (result == 0)
        result =
            compile_u32(compile, "max_connect_attempts", message->max_connect_attempts, 1, 100, &tcp->connect_attempts);
    if (result == 0)
        result = compile_access_logs(compile, message->access_log, message->n_access_log, &tcp->access_logs);
    tcp->access_log_count = message->n_access_log;
    *ret_tcp = tcp;
    return result;
}
