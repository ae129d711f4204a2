/* RouteConfiguration → route table. The table checks and copies (route/table.h); here messages become its input, which
 * lies in scratch memory, and what it has no words for is refused at its place. */
#include "proxy/config/context.h"

#include <errno.h>

#define BODY_MAX 4096 /* of a direct response, as Envoy has it */

static void *scratch(struct compile *compile, size_t count, size_t size)
{
    return fl_arena_array(&compile->scratch, count, size);
}

static const struct fl_span *texts(struct compile *compile, char *const *list, size_t count)
{
    struct fl_span *spans = scratch(compile, count, sizeof(*spans));
    for (size_t i = 0; spans != NULL && i < count; i++)
        spans[i] = fl_span_str(list[i]);
    return spans;
}

/* -- header edits -- */

static enum proxy_edit_action edit_action(const pb_header_option *message)
{
    if (message->append != NULL) /* the older field wins, as in Envoy */
        return message->append->value ? PROXY_EDIT_APPEND : PROXY_EDIT_OVERWRITE;
    switch ((int)message->append_action) {
    case ENVOY__CONFIG__CORE__V3__HEADER_VALUE_OPTION__HEADER_APPEND_ACTION__ADD_IF_ABSENT:
        return PROXY_EDIT_ADD_IF_ABSENT;
    case ENVOY__CONFIG__CORE__V3__HEADER_VALUE_OPTION__HEADER_APPEND_ACTION__OVERWRITE_IF_EXISTS_OR_ADD:
        return PROXY_EDIT_OVERWRITE;
    case ENVOY__CONFIG__CORE__V3__HEADER_VALUE_OPTION__HEADER_APPEND_ACTION__OVERWRITE_IF_EXISTS:
        return PROXY_EDIT_OVERWRITE_IF_EXISTS;
    default:
        return PROXY_EDIT_APPEND;
    }
}

static int read_edits(struct compile *compile, const char *field, pb_header_option *const *options, size_t count,
                      char *const *removals, size_t removal_count, struct proxy_header_edits *edits)
{
    struct proxy_header_edit *list = scratch(compile, count, sizeof(*list));
    edits->removals = texts(compile, removals, removal_count);
    if (list == NULL || edits->removals == NULL)
        return compile_no_memory(compile);
    for (size_t i = 0; i < count; i++) {
        struct compile_mark mark = compile_enter_at(compile, field, i);
        if (options[i]->header == NULL)
            return compile_fail_at(compile, "header", "must be set");
        compile_enter(compile, "header");
        int result = COMPILE_REFUSE(compile, options[i]->header, "raw_value");
        if (result == 0)
            result = compile_required(compile, "key", options[i]->header->key);
        if (result != 0)
            return result;
        list[i] = (struct proxy_header_edit){.action = edit_action(options[i]),
                                             .name = fl_span_str(options[i]->header->key),
                                             .value = fl_span_str(options[i]->header->value),
                                             .keep_empty = options[i]->keep_empty_value != 0};
        compile_leave(compile, mark);
    }
    edits->edits = list;
    edits->edit_count = count;
    edits->removal_count = removal_count;
    return 0;
}

/* The four lists that route, virtual host, table and weighted cluster all have. */
#define READ_EDITS(compile, message, target)                                                                           \
    read_both_edits(compile, (message)->request_headers_to_add, (message)->n_request_headers_to_add,                   \
                    (message)->request_headers_to_remove, (message)->n_request_headers_to_remove,                      \
                    (message)->response_headers_to_add, (message)->n_response_headers_to_add,                          \
                    (message)->response_headers_to_remove, (message)->n_response_headers_to_remove,                    \
                    &(target)->request, &(target)->response)

static int read_both_edits(struct compile *compile, pb_header_option *const *request_add, size_t request_add_count,
                           char *const *request_remove, size_t request_remove_count,
                           pb_header_option *const *response_add, size_t response_add_count,
                           char *const *response_remove, size_t response_remove_count,
                           struct proxy_header_edits *request, struct proxy_header_edits *response)
{
    int result = read_edits(compile, "request_headers_to_add", request_add, request_add_count, request_remove,
                            request_remove_count, request);
    if (result == 0)
        result = read_edits(compile, "response_headers_to_add", response_add, response_add_count, response_remove,
                            response_remove_count, response);
    return result;
}

/* -- actions -- */

static bool is_nowhere(const char *name)
{
    return strcmp(name, FL_RESOURCE_NAME_BLACKHOLE) == 0;
}

static int read_weighted(struct compile *compile, const pb_weighted *message, struct proxy_route *route)
{
    if (message->n_clusters == 0)
        return compile_fail_at(compile, "clusters", "must not be empty");
    struct proxy_weighted_cluster *clusters = scratch(compile, message->n_clusters, sizeof(*clusters));
    if (clusters == NULL)
        return compile_no_memory(compile);
    for (size_t i = 0; i < message->n_clusters; i++) {
        const pb_weight *weight = message->clusters[i];
        struct compile_mark mark = compile_enter_at(compile, "clusters", i);
        int result =
            COMPILE_REFUSE(compile, weight, "cluster_header", "host_rewrite_literal", "typed_per_filter_config");
        clusters[i] =
            (struct proxy_weighted_cluster){.name = fl_span_str(weight->name), .nowhere = is_nowhere(weight->name)};
        if (result == 0)
            result = compile_cluster_index(compile, "name", weight->name, &clusters[i].cluster_index);
        if (result == 0)
            result = compile_u32(compile, "weight", weight->weight, 0, INT32_MAX, &clusters[i].weight);
        if (result == 0)
            result = READ_EDITS(compile, weight, &clusters[i]);
        if (result != 0)
            return result;
        compile_leave(compile, mark);
    }
    route->action = PROXY_ROUTE_WEIGHTED;
    route->clusters = clusters;
    route->cluster_count = message->n_clusters;
    return 0;
}

static int read_single(struct compile *compile, const pb_route_action *message, struct proxy_route *route)
{
    struct proxy_weighted_cluster *cluster = scratch(compile, 1, sizeof(*cluster));
    if (cluster == NULL)
        return compile_no_memory(compile);
    *cluster = (struct proxy_weighted_cluster){
        .name = fl_span_str(message->cluster), .weight = 1, .nowhere = is_nowhere(message->cluster)};
    route->action = PROXY_ROUTE_CLUSTER;
    route->clusters = cluster;
    route->cluster_count = 1;
    return compile_cluster_index(compile, "cluster", message->cluster, &cluster->cluster_index);
}

static int read_timeout(struct compile *compile, const char *field, const pb_duration *duration, uint32_t *ret_ms)
{
    uint64_t ms = 0;
    int result = compile_ms(compile, field, duration, &ms);
    if (result == 0 && duration != NULL)
        *ret_ms = ms < PROXY_TIMEOUT_UNSET ? (uint32_t)ms : PROXY_TIMEOUT_UNSET - 1;
    return result;
}

static int read_duration(struct compile *compile, const pb_max_stream_duration *message, struct proxy_route *route)
{
    if (message == NULL)
        return 0;
    struct compile_mark mark = compile_enter(compile, "max_stream_duration");
    int result = read_timeout(compile, "max_stream_duration", message->max_stream_duration, &route->max_stream_ms);
    if (result == 0)
        result = read_timeout(compile, "grpc_timeout_header_max", message->grpc_timeout_header_max,
                              &route->grpc_timeout_max_ms);
    if (result == 0)
        result = read_timeout(compile, "grpc_timeout_header_offset", message->grpc_timeout_header_offset,
                              &route->grpc_timeout_offset_ms);
    route->grpc_timeout = message->grpc_timeout_header_max != NULL;
    if (result == 0)
        compile_leave(compile, mark);
    return result;
}

/* Of a million. */
static int read_fraction(struct compile *compile, const Envoy__Config__Core__V3__RuntimeFractionalPercent *message,
                         uint32_t *ret_per_million)
{
    const Envoy__Type__V3__FractionalPercent *value = message != NULL ? message->default_value : NULL;
    uint64_t factor = 10000;
    if (value == NULL)
        return 0;
    if (value->denominator == ENVOY__TYPE__V3__FRACTIONAL_PERCENT__DENOMINATOR_TYPE__TEN_THOUSAND)
        factor = 100;
    else if (value->denominator == ENVOY__TYPE__V3__FRACTIONAL_PERCENT__DENOMINATOR_TYPE__MILLION)
        factor = 1;
    if (value->numerator > 1000000 / factor)
        return compile_fail_at(compile, "runtime_fraction", "is more than the whole");
    *ret_per_million = (uint32_t)(value->numerator * factor);
    return 0;
}

static int read_mirrors(struct compile *compile, const pb_route_action *message, struct proxy_route *route)
{
    struct proxy_mirror *mirrors = scratch(compile, message->n_request_mirror_policies, sizeof(*mirrors));
    if (mirrors == NULL)
        return compile_no_memory(compile);
    for (size_t i = 0; i < message->n_request_mirror_policies; i++) {
        const Envoy__Config__Route__V3__RouteAction__RequestMirrorPolicy *policy = message->request_mirror_policies[i];
        struct compile_mark mark = compile_enter_at(compile, "request_mirror_policies", i);
        int result = COMPILE_REFUSE(compile, policy, "cluster_header", "host_rewrite_literal");
        mirrors[i] = (struct proxy_mirror){.name = fl_span_str(policy->cluster), .per_million = 1000000};
        if (result == 0)
            result = compile_cluster_index(compile, "cluster", policy->cluster, &mirrors[i].cluster_index);
        if (result == 0)
            result = read_fraction(compile, policy->runtime_fraction, &mirrors[i].per_million);
        if (result != 0)
            return result;
        if (!policy->disable_shadow_host_suffix_append)
            compile_warn(compile, "the host keeps its name, as with disable_shadow_host_suffix_append");
        compile_leave(compile, mark);
    }
    route->mirrors = mirrors;
    route->mirror_count = message->n_request_mirror_policies;
    return 0;
}

/* cluster_not_found_response_code. */
static int read_not_found(struct compile *compile, const pb_route_action *message, struct proxy_route *route)
{
    switch ((int)message->cluster_not_found_response_code) {
    case ENVOY__CONFIG__ROUTE__V3__ROUTE_ACTION__CLUSTER_NOT_FOUND_RESPONSE_CODE__SERVICE_UNAVAILABLE:
        return 0;
    case ENVOY__CONFIG__ROUTE__V3__ROUTE_ACTION__CLUSTER_NOT_FOUND_RESPONSE_CODE__NOT_FOUND:
        route->not_found = 404;
        return 0;
    case ENVOY__CONFIG__ROUTE__V3__ROUTE_ACTION__CLUSTER_NOT_FOUND_RESPONSE_CODE__INTERNAL_SERVER_ERROR:
        route->not_found = 500;
        return 0;
    default:
        return compile_fail_at(compile, "cluster_not_found_response_code",
                               "expected SERVICE_UNAVAILABLE, NOT_FOUND or INTERNAL_SERVER_ERROR, got %d",
                               (int)message->cluster_not_found_response_code);
    }
}

static int read_action(struct compile *compile, const pb_route_action *message, struct proxy_route *route)
{
    int result = COMPILE_REFUSE(compile, message, "cluster_header", "cluster_specifier_plugin",
                                "inline_cluster_specifier_plugin", "path_rewrite_policy", "host_rewrite_header",
                                "host_rewrite_path_regex", "hedge_policy", "retry_policy_typed_config");
    if (result == 0)
        result = read_not_found(compile, message, route);
    if (result != 0)
        return result;
    switch ((int)message->cluster_specifier_case) {
    case ENVOY__CONFIG__ROUTE__V3__ROUTE_ACTION__CLUSTER_SPECIFIER_CLUSTER:
        result = read_single(compile, message, route);
        break;
    case ENVOY__CONFIG__ROUTE__V3__ROUTE_ACTION__CLUSTER_SPECIFIER_WEIGHTED_CLUSTERS: {
        struct compile_mark mark = compile_enter(compile, "weighted_clusters");
        result = read_weighted(compile, message->weighted_clusters, route);
        if (result == 0)
            compile_leave(compile, mark);
        break;
    }
    default:
        return compile_fail(compile, "cluster or weighted_clusters must be set");
    }
    if (result != 0)
        return result;
    if (message->host_rewrite_specifier_case ==
        ENVOY__CONFIG__ROUTE__V3__ROUTE_ACTION__HOST_REWRITE_SPECIFIER_HOST_REWRITE_LITERAL)
        route->host_rewrite_literal = fl_span_str(message->host_rewrite_literal);
    else if (message->host_rewrite_specifier_case ==
                 ENVOY__CONFIG__ROUTE__V3__ROUTE_ACTION__HOST_REWRITE_SPECIFIER_AUTO_HOST_REWRITE &&
             compile_bool(message->auto_host_rewrite, false))
        return compile_fail_at(compile, "auto_host_rewrite", "auto_host_rewrite is not supported");
    route->prefix_rewrite = fl_span_str(message->prefix_rewrite);
    route->has_prefix_rewrite = route->prefix_rewrite.len > 0;
    if (message->regex_rewrite != NULL) {
        const Envoy__Type__Matcher__V3__RegexMatcher *pattern = message->regex_rewrite->pattern;
        if (pattern == NULL || pattern->regex[0] == '\0')
            return compile_fail_at(compile, "regex_rewrite", "pattern must be set");
        route->regex_rewrite = fl_span_str(pattern->regex);
        route->substitution = fl_span_str(message->regex_rewrite->substitution);
    }
    result = read_mirrors(compile, message, route);
    if (result == 0)
        result = read_timeout(compile, "timeout", message->timeout, &route->timeout_ms);
    if (result == 0)
        result = read_timeout(compile, "idle_timeout", message->idle_timeout, &route->idle_timeout_ms);
    if (result == 0)
        result = read_duration(compile, message->max_stream_duration, route);
    return result == 0 ? compile_retry(compile, message->retry_policy, &route->retry) : result;
}

#define REDIRECT(name) ENVOY__CONFIG__ROUTE__V3__REDIRECT_ACTION__##name

static uint16_t redirect_status(const pb_redirect *message)
{
    switch ((int)message->response_code) {
    case REDIRECT(REDIRECT_RESPONSE_CODE__FOUND):
        return 302;
    case REDIRECT(REDIRECT_RESPONSE_CODE__SEE_OTHER):
        return 303;
    case REDIRECT(REDIRECT_RESPONSE_CODE__TEMPORARY_REDIRECT):
        return 307;
    case REDIRECT(REDIRECT_RESPONSE_CODE__PERMANENT_REDIRECT):
        return 308;
    default:
        return 301;
    }
}

static int read_redirect(struct compile *compile, const pb_redirect *message, struct proxy_route *route)
{
    int result = COMPILE_REFUSE(compile, message, "regex_rewrite");
    if (result != 0)
        return result;
    if (message->port_redirect > UINT16_MAX)
        return compile_fail_at(compile, "port_redirect", "expected a port from 0 to 65535, got %u",
                               message->port_redirect);
    struct proxy_redirect *redirect = &route->redirect;
    route->action = PROXY_ROUTE_REDIRECT;
    redirect->status = redirect_status(message);
    redirect->host = fl_span_str(message->host_redirect);
    redirect->port = message->port_redirect;
    redirect->strip_query = message->strip_query != 0;
    if (message->scheme_rewrite_specifier_case == REDIRECT(SCHEME_REWRITE_SPECIFIER_HTTPS_REDIRECT))
        redirect->https = message->https_redirect != 0;
    else if (message->scheme_rewrite_specifier_case == REDIRECT(SCHEME_REWRITE_SPECIFIER_SCHEME_REDIRECT))
        redirect->scheme = fl_span_str(message->scheme_redirect);
    if (message->path_rewrite_specifier_case == REDIRECT(PATH_REWRITE_SPECIFIER_PATH_REDIRECT))
        redirect->path = fl_span_str(message->path_redirect);
    else if (message->path_rewrite_specifier_case == REDIRECT(PATH_REWRITE_SPECIFIER_PREFIX_REWRITE)) {
        redirect->prefix = fl_span_str(message->prefix_rewrite);
        redirect->has_prefix = true;
    }
    return 0;
}

static int read_direct(struct compile *compile, const pb_direct *message, struct proxy_route *route)
{
    if (message->status < 200 || message->status > 599)
        return compile_fail_at(compile, "status", "expected a status from 200 to 599, got %u", message->status);
    route->action = PROXY_ROUTE_DIRECT;
    route->direct.status = (uint16_t)message->status;
    if (message->body == NULL)
        return 0;
    struct compile_mark mark = compile_enter(compile, "body");
    int result = compile_source(compile, message->body, BODY_MAX, &route->direct.body);
    if (result == 0)
        compile_leave(compile, mark);
    return result;
}

#define ROUTE(name) ENVOY__CONFIG__ROUTE__V3__ROUTE__ACTION_##name

static int read_route_action(struct compile *compile, const pb_route *message, struct proxy_route *route)
{
    struct compile_mark mark;
    int result;
    switch ((int)message->action_case) {
    case ROUTE(ROUTE):
        mark = compile_enter(compile, "route");
        result = read_action(compile, message->route, route);
        break;
    case ROUTE(REDIRECT):
        mark = compile_enter(compile, "redirect");
        result = read_redirect(compile, message->redirect, route);
        break;
    case ROUTE(DIRECT_RESPONSE):
        mark = compile_enter(compile, "direct_response");
        result = read_direct(compile, message->direct_response, route);
        break;
    default:
        return compile_fail(compile, "route, redirect or direct_response must be set");
    }
    if (result == 0)
        compile_leave(compile, mark);
    return result;
}

/* -- what filters are told of a route: typed_per_filter_config -- */

static int read_cors(struct compile *compile, const pb_any *any, struct proxy_route *route)
{
    ProtobufCMessage *unpacked;
    int result =
        compile_unpack(compile, any, &envoy__extensions__filters__http__cors__v3__cors_policy__descriptor, &unpacked);
    if (result != 0)
        return result;
    const Envoy__Extensions__Filters__Http__Cors__V3__CorsPolicy *message =
        (const Envoy__Extensions__Filters__Http__Cors__V3__CorsPolicy *)unpacked;
    struct proxy_cors *cors = scratch(compile, 1, sizeof(*cors));
    struct proxy_string_match *origins = scratch(compile, message->n_allow_origin_string_match, sizeof(*origins));
    uint32_t enabled = 1000000;
    if (cors == NULL || origins == NULL)
        return compile_no_memory(compile);
    result = COMPILE_REFUSE(compile, message, "shadow_enabled", "allow_private_network_access");
    if (result == 0)
        result = read_fraction(compile, message->filter_enabled, &enabled);
    if (result == 0 && enabled != 0 && enabled != 1000000)
        result = compile_fail_at(compile, "filter_enabled", "expected all or nothing");
    for (size_t i = 0; result == 0 && i < message->n_allow_origin_string_match; i++) {
        struct compile_mark mark = compile_enter_at(compile, "allow_origin_string_match", i);
        compile->patterns = true; /* the table makes them */
        result = compile_string_value(compile, message->allow_origin_string_match[i], &origins[i]);
        compile->patterns = false;
        if (result == 0)
            compile_leave(compile, mark);
    }
    *cors = (struct proxy_cors){
        .origins = origins,
        .origin_count = message->n_allow_origin_string_match,
        .methods = fl_span_str(message->allow_methods),
        .headers = fl_span_str(message->allow_headers),
        .expose = fl_span_str(message->expose_headers),
        .max_age = fl_span_str(message->max_age),
        .credentials = compile_bool(message->allow_credentials, false),
        .forward_preflights = compile_bool(message->forward_not_matching_preflights, true),
    };
    route->cors = enabled != 0 ? cors : NULL;
    return result;
}

static int read_filters(struct compile *compile, const pb_route *message, struct proxy_route *route)
{
    int result = 0;
    for (size_t i = 0; result == 0 && i < message->n_typed_per_filter_config; i++) {
        const Envoy__Config__Route__V3__Route__TypedPerFilterConfigEntry *entry = message->typed_per_filter_config[i];
        struct compile_mark mark = compile_enter_key(compile, "typed_per_filter_config", fl_span_str(entry->key));
        if (strcmp(entry->key, "envoy.filters.http.cors") != 0 || entry->value == NULL)
            return compile_fail(compile, "of the filters only envoy.filters.http.cors has settings of a route");
        result = read_cors(compile, entry->value, route);
        if (result == 0)
            compile_leave(compile, mark);
    }
    return result;
}

/* -- routes, virtual hosts, the table -- */

static int read_route(struct compile *compile, const pb_route *message, struct proxy_route *route)
{
    int result = COMPILE_REFUSE(compile, message, "filter_action", "non_forwarding_action");
    if (result != 0)
        return result;
    *route = (struct proxy_route){.name = fl_span_str(message->name),
                                  .timeout_ms = PROXY_TIMEOUT_UNSET,
                                  .idle_timeout_ms = PROXY_TIMEOUT_UNSET,
                                  .max_stream_ms = PROXY_TIMEOUT_UNSET};
    if (message->match == NULL)
        return compile_fail_at(compile, "match", "must be set");
    struct compile_mark mark = compile_enter(compile, "match");
    compile->patterns = true; /* the table makes them */
    result = compile_route_match(compile, message->match, &route->match);
    compile->patterns = false;
    if (result != 0)
        return result;
    compile_leave(compile, mark);
    result = read_route_action(compile, message, route);
    if (result == 0)
        result = read_filters(compile, message, route);
    return result == 0 ? READ_EDITS(compile, message, route) : result;
}

static int read_virtual_host(struct compile *compile, const pb_virtual_host *message, struct proxy_virtual_host *host)
{
    int result = compile_required(compile, "name", message->name);
    if (result == 0)
        result = COMPILE_REFUSE(compile, message, "typed_per_filter_config");
    if (result == 0 && message->n_domains == 0)
        result = compile_fail_at(compile, "domains", "must not be empty");
    if (result == 0 &&
        message->require_tls == ENVOY__CONFIG__ROUTE__V3__VIRTUAL_HOST__TLS_REQUIREMENT_TYPE__EXTERNAL_ONLY)
        result = compile_fail_at(compile, "require_tls", "expected NONE or ALL");
    if (result == 0)
        result = COMPILE_REFUSE(compile, message, "retry_policy_typed_config");
    if (message->include_request_attempt_count || message->include_attempt_count_in_response)
        compile_warn(compile, "attempt counts are not told in header fields");
    if (result == 0)
        result = compile_retry(compile, message->retry_policy, &host->retry);
    struct proxy_route *routes = scratch(compile, message->n_routes, sizeof(*routes));
    host->domains = texts(compile, message->domains, message->n_domains);
    if (result == 0 && (routes == NULL || host->domains == NULL))
        result = compile_no_memory(compile);
    for (size_t i = 0; result == 0 && i < message->n_routes; i++) {
        struct compile_mark mark = compile_enter_at(compile, "routes", i);
        result = read_route(compile, message->routes[i], &routes[i]);
        if (result == 0)
            compile_leave(compile, mark);
    }
    host->name = fl_span_str(message->name);
    host->domain_count = message->n_domains;
    host->routes = routes;
    host->route_count = message->n_routes;
    host->require_tls_all = message->require_tls == ENVOY__CONFIG__ROUTE__V3__VIRTUAL_HOST__TLS_REQUIREMENT_TYPE__ALL;
    return result == 0 ? READ_EDITS(compile, message, host) : result;
}

static void release_table(void *table)
{
    proxy_route_table_free(table);
}

int compile_routes(struct compile *compile, const pb_route_config *message, const struct proxy_route_table **ret_table)
{
    int result = COMPILE_REFUSE(compile, message, "vhds", "cluster_specifier_plugins", "vhost_header",
                                "typed_per_filter_config");
    struct proxy_virtual_host *hosts = scratch(compile, message->n_virtual_hosts, sizeof(*hosts));
    if (result == 0 && hosts == NULL)
        result = compile_no_memory(compile);
    for (size_t i = 0; result == 0 && i < message->n_virtual_hosts; i++) {
        struct compile_mark mark = compile_enter_at(compile, "virtual_hosts", i);
        result = read_virtual_host(compile, message->virtual_hosts[i], &hosts[i]);
        if (result == 0)
            compile_leave(compile, mark);
    }
    struct proxy_route_config config = {.name = fl_span_str(message->name),
                                        .virtual_hosts = hosts,
                                        .virtual_host_count = message->n_virtual_hosts,
                                        .ignore_port = message->ignore_port_in_host_matching != 0,
                                        .most_specific_wins = message->most_specific_header_mutations_wins != 0};
    if (result == 0)
        result = READ_EDITS(compile, message, &config);
    if (result != 0)
        return result;
    struct proxy_route_table *table;
    result = proxy_route_table_new(&config, NULL, NULL, &table, compile->err);
    if (result != 0)
        return compile_prefix(compile, result);
    result = compile_hold(compile, table, release_table);
    if (result == 0)
        *ret_table = table;
    return result;
}
