/* Route tables: the model's flat list of rules, in its order, as routes. */
#include "control/xds/generation.h"

#include "common/mesh/resource.h"

/* -- matches -- */

static pb_regex *regex(struct generation *generation, struct fl_span text)
{
    pb_regex *message = new_regex(&generation->build);
    message->regex = build_text(&generation->build, text);
    return message;
}

static pb_string_match *string_of(struct generation *generation, const struct control_name_value *from)
{
    pb_string_match *match = build_exact(&generation->build, from->value);
    if (from->regex) {
        match->match_pattern_case = ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_SAFE_REGEX;
        match->safe_regex = regex(generation, from->value);
    }
    return match;
}

static pb_header_match *header(struct generation *generation, struct fl_span name, struct fl_span value)
{
    pb_header_match *match = new_header_match(&generation->build);
    match->name = build_text(&generation->build, name);
    match->header_match_specifier_case = ENVOY__CONFIG__ROUTE__V3__HEADER_MATCHER__HEADER_MATCH_SPECIFIER_STRING_MATCH;
    match->string_match = build_exact(&generation->build, value);
    return match;
}

static pb_header_match *header_of(struct generation *generation, const struct control_name_value *from)
{
    pb_header_match *match = header(generation, from->name, from->value);
    match->string_match = string_of(generation, from);
    return match;
}

/* By its end, or by its beginning. */
static pb_header_match *header_beside(struct generation *generation, struct fl_span name, struct fl_span part, bool end)
{
    pb_header_match *match = header(generation, name, part);
    pb_string_match *string = match->string_match;
    string->match_pattern_case = end ? ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_SUFFIX
                                     : ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_PREFIX;
    *(end ? &string->suffix : &string->prefix) = string->exact;
    return match;
}

static pb_query_match *query(struct generation *generation, const struct control_name_value *from)
{
    pb_query_match *match = new_query_match(&generation->build);
    match->name = build_text(&generation->build, from->name);
    match->query_parameter_match_specifier_case =
        ENVOY__CONFIG__ROUTE__V3__QUERY_PARAMETER_MATCHER__QUERY_PARAMETER_MATCH_SPECIFIER_STRING_MATCH;
    match->string_match = string_of(generation, from);
    return match;
}

enum path_form { PATH_EXACT, PATH_PREFIX, PATH_SEPARATED, PATH_REGEX };

static void set_path(struct generation *generation, pb_route_match *match, enum path_form form, char *path)
{
    if (form == PATH_REGEX) {
        match->path_specifier_case = ENVOY__CONFIG__ROUTE__V3__ROUTE_MATCH__PATH_SPECIFIER_SAFE_REGEX;
        match->safe_regex = new_regex(&generation->build);
        match->safe_regex->regex = path;
    } else if (form == PATH_EXACT) {
        match->path_specifier_case = ENVOY__CONFIG__ROUTE__V3__ROUTE_MATCH__PATH_SPECIFIER_PATH;
        match->path = path;
    } else if (form == PATH_PREFIX) {
        match->path_specifier_case = ENVOY__CONFIG__ROUTE__V3__ROUTE_MATCH__PATH_SPECIFIER_PREFIX;
        match->prefix = path;
    } else {
        match->path_specifier_case = ENVOY__CONFIG__ROUTE__V3__ROUTE_MATCH__PATH_SPECIFIER_PATH_SEPARATED_PREFIX;
        match->path_separated_prefix = path;
    }
}

static pb_route_match *match_of(struct generation *generation, const struct control_http_match *from)
{
    struct build *build = &generation->build;
    pb_route_match *match = new_route_match(build);
    bool everything =
        (from->path.len <= 1 && from->path_match != CONTROL_PATH_REGEX) || from->path_match == CONTROL_PATH_SUFFIX;
    set_path(generation, match,
             from->path_match == CONTROL_PATH_EXACT   ? PATH_EXACT
             : from->path_match == CONTROL_PATH_REGEX ? PATH_REGEX
             : everything                             ? PATH_PREFIX
                                                      : PATH_SEPARATED,
             everything ? literal("/") : build_text(build, from->path));
    if (from->grpc)
        PUSH(build, match, headers,
             header_beside(generation, FL_SPAN("content-type"), FL_SPAN("application/grpc"), false));
    if (from->path_match == CONTROL_PATH_SUFFIX)
        PUSH(build, match, headers, header_beside(generation, FL_SPAN(":path"), from->path, true));
    if (from->method.len > 0)
        PUSH(build, match, headers, header(generation, FL_SPAN(":method"), from->method));
    for (size_t i = 0; i < from->header_count; i++)
        PUSH(build, match, headers, header_of(generation, &from->headers[i]));
    for (size_t i = 0; i < from->query_count; i++)
        PUSH(build, match, query_parameters, query(generation, &from->queries[i]));
    return match;
}

/* -- headers -- */

/* The value with each of that character twice. */
static char *doubled(struct build *build, struct fl_span value, char special)
{
    char *text = fl_arena_alloc(build->arena, 2 * value.len + 1);
    size_t len = 0;
    if (text == NULL) {
        build->failed = true;
        return literal("");
    }
    for (size_t i = 0; i < value.len; i++) {
        text[len++] = value.data[i];
        if (value.data[i] == special)
            text[len++] = special;
    }
    text[len] = '\0';
    return text;
}

static void option(struct generation *generation, size_t *count, void ***array, const struct control_name_value *from,
                   bool overwrite)
{
    struct build *build = &generation->build;
    pb_header_option *message = new_header_option(build);
    message->header = new_header_value(build);
    message->header->key = build_text(build, from->name);
    message->header->value = doubled(build, from->value, '%'); /* which begins an operator there */
    message->append_action =
        overwrite ? ENVOY__CONFIG__CORE__V3__HEADER_VALUE_OPTION__HEADER_APPEND_ACTION__OVERWRITE_IF_EXISTS_OR_ADD
                  : ENVOY__CONFIG__CORE__V3__HEADER_VALUE_OPTION__HEADER_APPEND_ACTION__APPEND_IF_EXISTS_OR_ADD;
    build_push(build, count, array, message);
}

static void options(struct generation *generation, size_t *count, void *array,
                    const struct control_header_changes *changes)
{
    for (size_t i = 0; changes != NULL && i < changes->set_count; i++)
        option(generation, count, array, &changes->set[i], true);
    for (size_t i = 0; changes != NULL && i < changes->add_count; i++)
        option(generation, count, array, &changes->add[i], false);
}

static void removals(struct generation *generation, size_t *count, void *array,
                     const struct control_header_changes *changes)
{
    for (size_t i = 0; changes != NULL && i < changes->remove_count; i++)
        build_push(&generation->build, count, array, build_text(&generation->build, changes->remove[i]));
}

#define SET_HEADERS(generation, message, filters)                                                                      \
    do {                                                                                                               \
        options(generation, &(message)->n_request_headers_to_add, &(message)->request_headers_to_add,                  \
                (filters)->request);                                                                                   \
        removals(generation, &(message)->n_request_headers_to_remove, &(message)->request_headers_to_remove,           \
                 (filters)->request);                                                                                  \
        options(generation, &(message)->n_response_headers_to_add, &(message)->response_headers_to_add,                \
                (filters)->response);                                                                                  \
        removals(generation, &(message)->n_response_headers_to_remove, &(message)->response_headers_to_remove,         \
                 (filters)->response);                                                                                 \
    } while (0)

/* -- where it goes -- */

/* A backend that is none gets its share: answered 503, which of a GRPCRoute is UNAVAILABLE; of an HTTPRoute 500, by the
 * route's cluster_not_found_response_code: a proxy of ours takes the cluster that leads nowhere for one that is not
 * there. (To name one that really is not there would have proxies wait for it.) */
static char *cluster_name(struct generation *generation, const struct control_destination *destination)
{
    if (destination->error != CONTROL_BACKEND_OK)
        return literal(FL_RESOURCE_NAME_BLACKHOLE);
    return name_of_service(generation, FL_RESOURCE_CLUSTER, destination->service, destination->port->port);
}

static bool has_invalid(const struct control_destinations *destinations)
{
    for (size_t i = 0; i < destinations->count; i++)
        if (destinations->items[i].error != CONTROL_BACKEND_OK && destinations->items[i].weight > 0)
            return true;
    return false;
}

static pb_weighted *weighted(struct generation *generation, const struct control_destinations *destinations)
{
    struct build *build = &generation->build;
    pb_weighted *message = new_weighted(build);
    for (size_t i = 0; i < destinations->count; i++) {
        const struct control_destination *destination = &destinations->items[i];
        if (destination->weight == 0)
            continue;
        pb_weight *weight = new_weight(build);
        weight->name = cluster_name(generation, destination);
        weight->weight = build_u32(build, destination->weight);
        if (destination->backend != NULL && destination->backend->filters != NULL)
            SET_HEADERS(generation, weight, destination->backend->filters);
        PUSH(build, message, clusters, weight);
    }
    return message;
}

/* The one that gets everything; NULL: there are several, or one with changes of its own. */
static const struct control_destination *sole(const struct control_destinations *destinations)
{
    for (size_t i = 0; i < destinations->count; i++)
        if (destinations->items[i].weight == destinations->total && destinations->items[i].backend != NULL &&
            destinations->items[i].backend->filters == NULL)
            return &destinations->items[i];
    return NULL;
}

static const struct control_service *first_service(const struct control_destinations *destinations)
{
    for (size_t i = 0; i < destinations->count; i++)
        if (destinations->items[i].service != NULL && destinations->items[i].weight > 0)
            return destinations->items[i].service;
    return NULL;
}

/* -- changes of paths -- */

struct path_change {
    bool twice;   /* a prefix becomes nothing: "/a/b" to "/b" and "/a" to "/" are two routes */
    char *prefix; /* the new prefix, or NULL */
    char *full;   /* the new path, or NULL */
};

static struct fl_span trim_slash(struct fl_span path)
{
    while (path.len > 0 && path.data[path.len - 1] == '/')
        path.len--;
    return path;
}

static struct path_change change_path(struct generation *generation, enum control_path_change kind, struct fl_span path,
                                      const struct control_http_match *match, bool redirect)
{
    struct build *build = &generation->build;
    struct path_change change = {0};
    if (kind == CONTROL_PATH_REPLACE_FULL && (redirect || match->path_match != CONTROL_PATH_EXACT))
        change.full = build_text(build, path.len > 0 ? path : FL_SPAN("/"));
    else if (kind == CONTROL_PATH_REPLACE_FULL)
        change.prefix = build_text(build, path.len > 0 ? path : FL_SPAN("/"));
    if (kind != CONTROL_PATH_REPLACE_PREFIX) /* whose matches are all prefixes: kind/httproute.c */
        return change;
    struct fl_span prefix = trim_slash(path);
    if (match->path.len <= 1 || prefix.len == 0)
        change.prefix = build_textf(build, "%.*s/", FL_SPAN_ARG(prefix));
    else
        change.prefix = build_text(build, prefix);
    change.twice = match->path.len > 1 && prefix.len == 0;
    return change;
}

/* -- actions -- */

static void set_direct(struct generation *generation, pb_route *route, uint32_t status)
{
    route->action_case = ENVOY__CONFIG__ROUTE__V3__ROUTE__ACTION_DIRECT_RESPONSE;
    route->direct_response = new_direct(&generation->build);
    route->direct_response->status = status;
}

static int redirect_code(uint16_t status)
{
    switch (status) {
    case 301:
        return ENVOY__CONFIG__ROUTE__V3__REDIRECT_ACTION__REDIRECT_RESPONSE_CODE__MOVED_PERMANENTLY;
    case 303:
        return ENVOY__CONFIG__ROUTE__V3__REDIRECT_ACTION__REDIRECT_RESPONSE_CODE__SEE_OTHER;
    case 307:
        return ENVOY__CONFIG__ROUTE__V3__REDIRECT_ACTION__REDIRECT_RESPONSE_CODE__TEMPORARY_REDIRECT;
    case 308:
        return ENVOY__CONFIG__ROUTE__V3__REDIRECT_ACTION__REDIRECT_RESPONSE_CODE__PERMANENT_REDIRECT;
    default:
        return ENVOY__CONFIG__ROUTE__V3__REDIRECT_ACTION__REDIRECT_RESPONSE_CODE__FOUND;
    }
}

/* A scheme without a port means its own port: said where the client's Host may carry the listener's. Neither means the
 * listener's, which a new host would not carry. */
static uint16_t redirect_port(const struct control_redirect *from, uint16_t listener_port)
{
    if (from->port != 0 || listener_port == 0 || listener_port == 80 || listener_port == 443)
        return from->port;
    if (from->scheme.len == 0)
        return from->hostname.len > 0 ? listener_port : 0;
    return fl_span_eq_str(from->scheme, "https") ? 443 : 80;
}

static struct path_change set_redirect(struct generation *generation, pb_route *route,
                                       const struct control_redirect *from, const struct control_http_match *match,
                                       uint16_t listener_port)
{
    struct build *build = &generation->build;
    pb_redirect *redirect = new_redirect(build);
    struct path_change change = change_path(generation, from->path_change, from->path, match, true);
    if (from->scheme.len > 0) {
        redirect->scheme_rewrite_specifier_case =
            ENVOY__CONFIG__ROUTE__V3__REDIRECT_ACTION__SCHEME_REWRITE_SPECIFIER_SCHEME_REDIRECT;
        redirect->scheme_redirect = build_text(build, from->scheme);
    }
    redirect->host_redirect = build_text(build, from->hostname);
    redirect->port_redirect = redirect_port(from, listener_port);
    redirect->response_code =
        (Envoy__Config__Route__V3__RedirectAction__RedirectResponseCode)redirect_code(from->status);
    if (change.full != NULL) {
        redirect->path_rewrite_specifier_case =
            ENVOY__CONFIG__ROUTE__V3__REDIRECT_ACTION__PATH_REWRITE_SPECIFIER_PATH_REDIRECT;
        redirect->path_redirect = change.full;
    } else if (change.prefix != NULL) {
        redirect->path_rewrite_specifier_case =
            ENVOY__CONFIG__ROUTE__V3__REDIRECT_ACTION__PATH_REWRITE_SPECIFIER_PREFIX_REWRITE;
        redirect->prefix_rewrite = change.prefix;
    }
    route->action_case = ENVOY__CONFIG__ROUTE__V3__ROUTE__ACTION_REDIRECT;
    route->redirect = redirect;
    return change;
}

/* Whatever the path is, `text` takes its place. */
static pb_regex_rewrite *whole_path(struct generation *generation, const char *text)
{
    struct build *build = &generation->build;
    pb_regex_rewrite *rewrite = new_regex_rewrite(build);
    rewrite->pattern = regex(generation, FL_SPAN("^/.*"));
    rewrite->substitution = doubled(build, fl_span_str(text), '\\'); /* which begins a group there */
    return rewrite;
}

static void add_mirrors(struct generation *generation, pb_route_action *action,
                        const struct control_destinations *mirrors)
{
    struct build *build = &generation->build;
    for (size_t i = 0; i < mirrors->count; i++) {
        if (mirrors->items[i].error != CONTROL_BACKEND_OK || mirrors->items[i].weight == 0)
            continue;
        pb_mirror *mirror = new_mirror(build);
        mirror->cluster = cluster_name(generation, &mirrors->items[i]);
        mirror->disable_shadow_host_suffix_append = true;
        if (mirrors->items[i].weight < 1000000) {
            mirror->runtime_fraction = new_runtime_fraction(build);
            mirror->runtime_fraction->default_value = new_fraction(build);
            mirror->runtime_fraction->default_value->numerator = mirrors->items[i].weight;
            mirror->runtime_fraction->default_value->denominator =
                ENVOY__TYPE__V3__FRACTIONAL_PERCENT__DENOMINATOR_TYPE__MILLION;
        }
        PUSH(build, action, request_mirror_policies, mirror);
    }
}

static struct path_change set_forward(struct generation *generation, pb_route *route,
                                      const struct control_route_entry *entry)
{
    struct build *build = &generation->build;
    const struct control_http_rule *rule = entry->rule;
    const struct control_rewrite *rewrite = rule->filters.rewrite;
    pb_route_action *action = new_route_action(build);
    const struct control_destination *only = sole(&entry->destinations);
    struct path_change change = {0};
    if (only != NULL) {
        action->cluster_specifier_case = ENVOY__CONFIG__ROUTE__V3__ROUTE_ACTION__CLUSTER_SPECIFIER_CLUSTER;
        action->cluster = cluster_name(generation, only);
    } else {
        action->cluster_specifier_case = ENVOY__CONFIG__ROUTE__V3__ROUTE_ACTION__CLUSTER_SPECIFIER_WEIGHTED_CLUSTERS;
        action->weighted_clusters = weighted(generation, &entry->destinations);
        if (entry->route->object.kind != CONTROL_GRPC_ROUTE && has_invalid(&entry->destinations))
            action->cluster_not_found_response_code =
                ENVOY__CONFIG__ROUTE__V3__ROUTE_ACTION__CLUSTER_NOT_FOUND_RESPONSE_CODE__INTERNAL_SERVER_ERROR;
    }
    if (rewrite != NULL) {
        change = change_path(generation, rewrite->path_change, rewrite->path, entry->match, false);
        action->prefix_rewrite = change.prefix != NULL ? change.prefix : literal("");
        if (change.full != NULL)
            action->regex_rewrite = whole_path(generation, change.full);
    }
    if (rewrite != NULL && rewrite->hostname.len > 0) {
        action->host_rewrite_specifier_case =
            ENVOY__CONFIG__ROUTE__V3__ROUTE_ACTION__HOST_REWRITE_SPECIFIER_HOST_REWRITE_LITERAL;
        action->host_rewrite_literal = build_text(build, rewrite->hostname);
    }
    add_mirrors(generation, action, &entry->mirrors);
    action->timeout = build_ms(build, rule->request_timeout_ms);
    action->retry_policy = routes_retry(generation, rule->retry, first_service(&entry->destinations));
    if (action->retry_policy != NULL && rule->backend_timeout_ms > 0)
        action->retry_policy->per_try_timeout = build_ms(build, rule->backend_timeout_ms);
    route->action_case = ENVOY__CONFIG__ROUTE__V3__ROUTE__ACTION_ROUTE;
    route->route = action;
    return change;
}

/* Why a rule answers 500, for the access log's route name; empty: it does not. */
static const char *answer_word(const struct control_route_entry *entry)
{
    if (entry->answer == 0)
        return "";
    return entry->rule->filters.unsupported.len > 0 ? ":unsupported_filter"
           : entry->rule->backend_count == 0        ? ":no_backend_refs"
           : entry->destinations.total == 0         ? ":no_weight"
                                                    : ":no_usable_backend";
}

static char *route_name(struct generation *generation, const struct control_route_entry *entry)
{
    const struct fl_metadata *metadata = &entry->route->object.metadata;
    return build_textf(&generation->build, "%.*s/%.*s#%u.%u%s", FL_SPAN_ARG(metadata->name_space),
                       FL_SPAN_ARG(metadata->name), entry->rule_index, entry->match_index, answer_word(entry));
}

/* The route "/a" → "/" beside "/a/…" → "/…". */
static void add_twin(struct generation *generation, pb_virtual_host *host, pb_route *route,
                     const struct control_http_match *match)
{
    struct build *build = &generation->build;
    pb_route *twin = new_route(build);
    *twin = *route;
    twin->match = match_of(generation, match);
    set_path(generation, twin->match, PATH_EXACT, build_text(build, match->path));
    set_path(generation, route->match, PATH_PREFIX, build_textf(build, "%.*s/", FL_SPAN_ARG(match->path)));
    PUSH(build, host, routes, twin);
}

static void add_route(struct generation *generation, pb_virtual_host *host, const struct control_route_entry *entry,
                      uint16_t listener_port)
{
    struct build *build = &generation->build;
    const struct control_http_filters *filters = &entry->rule->filters;
    pb_route *route = new_route(build);
    struct path_change change = {0};
    route->name = route_name(generation, entry);
    route->match = match_of(generation, entry->match);
    SET_HEADERS(generation, route, filters);
    if (filters->cors != NULL)
        cors_set(generation, route, filters->cors);
    if (entry->answer != 0)
        set_direct(generation, route, entry->answer);
    else if (filters->redirect != NULL)
        change = set_redirect(generation, route, filters->redirect, entry->match, listener_port);
    else
        change = set_forward(generation, route, entry);
    if (change.twice)
        add_twin(generation, host, route, entry->match);
    PUSH(build, host, routes, route);
}

void routes_add_answer(struct generation *generation, pb_virtual_host *host, uint32_t status)
{
    pb_route *route = new_route(&generation->build);
    route->match = new_route_match(&generation->build);
    set_path(generation, route->match, PATH_PREFIX, literal("/"));
    set_direct(generation, route, status);
    PUSH(&generation->build, host, routes, route);
}

void routes_add(struct generation *generation, pb_virtual_host *host, const struct control_route_list *list,
                uint16_t listener_port)
{
    for (size_t i = 0; i < list->count; i++)
        add_route(generation, host, &list->items[i], listener_port);
}

/* -- tables of Services -- */

static void add_straight(struct generation *generation, pb_virtual_host *host, const struct control_service *service,
                         uint16_t port)
{
    struct build *build = &generation->build;
    pb_route *route = new_route(build);
    route->match = new_route_match(build);
    set_path(generation, route->match, PATH_PREFIX, literal("/"));
    route->action_case = ENVOY__CONFIG__ROUTE__V3__ROUTE__ACTION_ROUTE;
    route->route = new_route_action(build);
    route->route->cluster_specifier_case = ENVOY__CONFIG__ROUTE__V3__ROUTE_ACTION__CLUSTER_SPECIFIER_CLUSTER;
    route->route->cluster = name_of_service(generation, FL_RESOURCE_CLUSTER, service, port);
    route->route->timeout = build_ms(build, 0);
    route->route->retry_policy = routes_retry(generation, NULL, service);
    PUSH(build, host, routes, route);
}

static ProtobufCMessage *service_routes(struct generation *generation, const struct fl_resource_name *name,
                                        struct fl_span text)
{
    struct build *build = &generation->build;
    struct control_service_routes routes;
    const struct control_service *service = control_service_by_fqdn(generation->model, name->host);
    const struct control_port *port = service != NULL ? control_service_port(service, name->port) : NULL;
    if (port == NULL)
        return NULL;
    if (control_service_routes(generation->model, service, port, generation->view->name_space, generation->arena,
                               &routes) < 0) {
        build->failed = true;
        return NULL;
    }
    pb_routes *table = new_routes(build);
    pb_virtual_host *host = new_virtual_host(build);
    host->name = build_textf(build, "%.*s:%u", FL_SPAN_ARG(name->host), name->port);
    PUSH(build, host, domains, literal("*")); /* who dials the address means this Service, whatever Host says */
    if (routes.routing == CONTROL_ROUTING_HTTP)
        routes_add(generation, host, &routes.http, 0);
    else
        add_straight(generation, host, service, port->port);
    table->name = build_text(build, text);
    PUSH(build, table, virtual_hosts, host);
    return &table->base;
}

ProtobufCMessage *generate_routes(struct generation *generation, const struct fl_resource_name *name,
                                  struct fl_span text)
{
    if (name->kind == FL_RESOURCE_SERVICE)
        return service_routes(generation, name, text);
    return name->kind == FL_RESOURCE_GATEWAY ? gateway_routes(generation, name->port, name->section, text) : NULL;
}
