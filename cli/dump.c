#include "cli/dump.h"

#include "cli/table.h"

#include <stdio.h>

#define PREFIX   "type.googleapis.com/envoy.admin.v3."
#define TEXT_MAX 1024

struct render {
    const struct fl_json *dump;
    struct fl_span filter;
    struct cli_table table;
};

/* One resource of a dump, with what stands around it. */
struct entry {
    const struct fl_json *resource;
    struct fl_span version;
    const char *state;
};

bool cli_dump_parse(const char *word, enum cli_dump *ret_dump)
{
    static const char *const words[] = {
#define X(id, name) [CLI_DUMP_##id] = name,
        CLI_DUMPS(X)
#undef X
    };
    for (unsigned i = 0; i < CLI_DUMP_COUNT; i++) {
        if (strcmp(word, words[i]) == 0) {
            *ret_dump = (enum cli_dump)i;
            return true;
        }
    }
    return false;
}

static struct fl_span text_of(const struct fl_json *object, const char *name)
{
    return fl_json_string(fl_json_get(object, name));
}

static bool contains(struct fl_span text, struct fl_span part)
{
    return part.len == 0 || (text.len > 0 && memmem(text.data, text.len, part.data, part.len) != NULL);
}

static const struct fl_json *section(const struct render *render, const char *type)
{
    const struct fl_json *config = fl_json_first(fl_json_get(render->dump, "configs"));
    for (; config != NULL; config = fl_json_next(config)) {
        struct fl_span name = text_of(config, "@type");
        struct fl_span prefix = FL_SPAN(PREFIX);
        if (fl_span_starts_with(name, prefix) && fl_span_eq_str(fl_span_from(name, prefix.len), type))
            return config;
    }
    return NULL;
}

/* Runs over one list of a section. `member` is where the resource stands in each element. */
static void each(struct render *render, const struct fl_json *config, const char *list, const char *member,
                 const char *state, void (*row)(struct render *render, const struct entry *entry))
{
    const struct fl_json *item = fl_json_first(fl_json_get(config, list));
    for (; item != NULL; item = fl_json_next(item)) {
        const struct entry entry = {fl_json_get(item, member), text_of(item, "version_info"), state};
        if (entry.resource != NULL)
            row(render, &entry);
    }
}

/* --- listeners -------------------------------------------------------------------------------------------------- */

static void address_cell(struct render *render, const struct fl_json *address)
{
    const struct fl_json *socket = fl_json_get(address, "socket_address");
    struct fl_span ip = text_of(socket, "address");
    bool v6 = fl_span_find(ip, ':') < ip.len;
    char room[FL_JSON_NUMBER_ROOM];
    struct fl_span port = fl_json_number_text(fl_json_get(socket, "port_value"), room);
    if (socket == NULL)
        cli_table_cell_str(&render->table, "");
    else
        cli_table_cellf(&render->table, "%s%.*s%s:%.*s", v6 ? "[" : "", FL_SPAN_ARG(ip), v6 ? "]" : "",
                        FL_SPAN_ARG(port));
}

/* What a chain ends in: "http → route" or "tcp → cluster". */
static void target_of(const struct fl_json *chain, char *text, size_t size)
{
    const struct fl_json *filter = fl_json_first(fl_json_get(chain, "filters"));
    text[0] = '\0';
    for (; filter != NULL; filter = fl_json_next(filter)) {
        const struct fl_json *config = fl_json_get(filter, "typed_config");
        struct fl_span type = text_of(config, "@type");
        struct fl_span route = text_of(fl_json_get(config, "rds"), "route_config_name");
        struct fl_span inline_route = text_of(fl_json_get(config, "route_config"), "name");
        if (fl_span_ends_with(type, FL_SPAN(".HttpConnectionManager")))
            (void)snprintf(text, size, "http: %.*s", FL_SPAN_ARG(route.len > 0 ? route : inline_route));
        else if (fl_span_ends_with(type, FL_SPAN(".TcpProxy")))
            (void)snprintf(text, size, "tcp: %.*s", FL_SPAN_ARG(text_of(config, "cluster")));
    }
}

static void match_of(const struct fl_json *chain, char *text, size_t size)
{
    const struct fl_json *match = fl_json_get(chain, "filter_chain_match");
    char room[FL_JSON_NUMBER_ROOM];
    struct fl_span port = fl_json_number_text(fl_json_get(match, "destination_port"), room);
    struct fl_span transport = text_of(match, "transport_protocol");
    struct fl_span name = fl_json_string(fl_json_first(fl_json_get(match, "server_names")));
    struct fl_span alpn = fl_json_string(fl_json_first(fl_json_get(match, "application_protocols")));
    (void)snprintf(text, size, "%s%.*s%s%.*s%s%.*s%s%.*s", port.len > 0 ? "port " : "", FL_SPAN_ARG(port),
                   transport.len > 0 ? " transport " : "", FL_SPAN_ARG(transport), name.len > 0 ? " name " : "",
                   FL_SPAN_ARG(name), alpn.len > 0 ? " alpn " : "", FL_SPAN_ARG(alpn));
}

static void chain_row(struct render *render, const struct entry *entry, const struct fl_json *chain, bool is_default)
{
    char text[TEXT_MAX];
    cli_table_cell(&render->table, text_of(entry->resource, "name"));
    address_cell(render, fl_json_get(entry->resource, "address"));
    match_of(chain, text, sizeof(text));
    cli_table_cell_str(&render->table, is_default ? "(any other)" : text[0] == ' ' ? text + 1 : text);
    cli_table_cell_str(&render->table, fl_json_get(chain, "transport_socket") != NULL ? "tls" : "plain");
    target_of(chain, text, sizeof(text));
    cli_table_cell_str(&render->table, text);
    cli_table_cell_str(&render->table, entry->state);
    cli_table_cell(&render->table, entry->version);
}

static void listener_row(struct render *render, const struct entry *entry)
{
    if (!contains(text_of(entry->resource, "name"), render->filter))
        return;
    const struct fl_json *chain = fl_json_first(fl_json_get(entry->resource, "filter_chains"));
    for (; chain != NULL; chain = fl_json_next(chain))
        chain_row(render, entry, chain, false);
    chain = fl_json_get(entry->resource, "default_filter_chain");
    if (chain != NULL)
        chain_row(render, entry, chain, true);
}

static void listeners(struct render *render)
{
    static const char *const titles[] = {"LISTENER", "ADDRESS", "MATCH", "TRANSPORT", "TARGET", "STATE", "VERSION"};
    static const char *const states[][2] = {{"active_state", "active"}, {"warming_state", "warming"}};
    const struct fl_json *config = section(render, "ListenersConfigDump");
    cli_table_init(&render->table, titles, FL_COUNT(titles));
    each(render, config, "static_listeners", "listener", "static", listener_row);
    const struct fl_json *item = fl_json_first(fl_json_get(config, "dynamic_listeners"));
    for (; item != NULL; item = fl_json_next(item)) {
        for (size_t i = 0; i < FL_COUNT(states); i++) {
            const struct fl_json *state = fl_json_get(item, states[i][0]);
            const struct entry entry = {fl_json_get(state, "listener"), text_of(state, "version_info"), states[i][1]};
            if (entry.resource != NULL)
                listener_row(render, &entry);
        }
    }
}

/* --- routes ----------------------------------------------------------------------------------------------------- */

static void route_match_of(const struct fl_json *match, char *text, size_t size)
{
    static const struct {
        const char *field, *sign;
    } kinds[] = {{"path", "= "}, {"prefix", ""}, {"path_separated_prefix", ""}};
    struct fl_span path = FL_SPAN("");
    const char *sign = "";
    for (size_t i = 0; i < FL_COUNT(kinds); i++) {
        struct fl_span found = text_of(match, kinds[i].field);
        if (found.len > 0) {
            path = found;
            sign = kinds[i].sign;
        }
    }
    size_t headers = fl_json_count(fl_json_get(match, "headers"));
    size_t queries = fl_json_count(fl_json_get(match, "query_parameters"));
    int len = snprintf(text, size, "%s%.*s", sign, FL_SPAN_ARG(path));
    if (headers > 0 && len > 0 && (size_t)len < size)
        len += snprintf(text + len, size - (size_t)len, " +%zu header%s", headers, headers > 1 ? "s" : "");
    if (queries > 0 && len > 0 && (size_t)len < size)
        (void)snprintf(text + len, size - (size_t)len, " +%zu quer%s", queries, queries > 1 ? "ies" : "y");
}

static void route_target_of(const struct fl_json *route, char *text, size_t size)
{
    const struct fl_json *action = fl_json_get(route, "route");
    struct fl_span cluster = text_of(action, "cluster");
    char room[FL_JSON_NUMBER_ROOM];
    if (fl_json_get(route, "redirect") != NULL) {
        (void)snprintf(text, size, "redirect");
    } else if (fl_json_get(route, "direct_response") != NULL) {
        struct fl_span status = fl_json_number_text(fl_json_get(fl_json_get(route, "direct_response"), "status"), room);
        (void)snprintf(text, size, "answer %.*s", FL_SPAN_ARG(status));
    } else {
        int len = snprintf(text, size, "%.*s", FL_SPAN_ARG(cluster));
        const struct fl_json *item = fl_json_first(fl_json_get(fl_json_get(action, "weighted_clusters"), "clusters"));
        for (; item != NULL && len >= 0 && (size_t)len < size; item = fl_json_next(item)) {
            struct fl_span weight = fl_json_number_text(fl_json_get(item, "weight"), room);
            len += snprintf(text + len, size - (size_t)len, "%s%.*s (%.*s)", len > 0 ? ", " : "",
                            FL_SPAN_ARG(text_of(item, "name")), FL_SPAN_ARG(weight));
        }
    }
}

static void route_row(struct render *render, const struct entry *entry)
{
    if (!contains(text_of(entry->resource, "name"), render->filter))
        return;
    const struct fl_json *host = fl_json_first(fl_json_get(entry->resource, "virtual_hosts"));
    for (; host != NULL; host = fl_json_next(host)) {
        const struct fl_json *route = fl_json_first(fl_json_get(host, "routes"));
        for (; route != NULL; route = fl_json_next(route)) {
            char text[TEXT_MAX];
            cli_table_cell(&render->table, text_of(entry->resource, "name"));
            cli_table_cell(&render->table, fl_json_string(fl_json_first(fl_json_get(host, "domains"))));
            route_match_of(fl_json_get(route, "match"), text, sizeof(text));
            cli_table_cell_str(&render->table, text);
            route_target_of(route, text, sizeof(text));
            cli_table_cell_str(&render->table, text);
            cli_table_cell(&render->table, text_of(route, "name"));
            cli_table_cell(&render->table, entry->version);
        }
    }
}

static void routes(struct render *render)
{
    static const char *const titles[] = {"ROUTES", "DOMAIN", "MATCH", "TARGET", "NAME", "VERSION"};
    const struct fl_json *config = section(render, "RoutesConfigDump");
    cli_table_init(&render->table, titles, FL_COUNT(titles));
    each(render, config, "static_route_configs", "route_config", "static", route_row);
    each(render, config, "dynamic_route_configs", "route_config", "active", route_row);
}

/* --- clusters, endpoints ---------------------------------------------------------------------------------------- */

static void cluster_row(struct render *render, const struct entry *entry)
{
    if (!contains(text_of(entry->resource, "name"), render->filter))
        return;
    bool tls = fl_json_get(entry->resource, "transport_socket") != NULL;
    bool by_endpoint = fl_json_count(fl_json_get(entry->resource, "transport_socket_matches")) > 0;
    struct fl_span type = text_of(entry->resource, "type"), policy = text_of(entry->resource, "lb_policy");
    cli_table_cell(&render->table, text_of(entry->resource, "name"));
    cli_table_cell(&render->table, type.len > 0 ? type : FL_SPAN("STATIC"));
    cli_table_cell(&render->table, policy.len > 0 ? policy : FL_SPAN("ROUND_ROBIN"));
    cli_table_cell_str(&render->table, by_endpoint ? "by endpoint" : tls ? "tls" : "plain");
    cli_table_cell_str(&render->table, entry->state);
    cli_table_cell(&render->table, entry->version);
}

static void clusters(struct render *render)
{
    static const char *const titles[] = {"CLUSTER", "TYPE", "BALANCING", "TRANSPORT", "STATE", "VERSION"};
    const struct fl_json *config = section(render, "ClustersConfigDump");
    cli_table_init(&render->table, titles, FL_COUNT(titles));
    each(render, config, "static_clusters", "cluster", "static", cluster_row);
    each(render, config, "dynamic_active_clusters", "cluster", "active", cluster_row);
    each(render, config, "dynamic_warming_clusters", "cluster", "warming", cluster_row);
}

static void endpoint_row(struct render *render, const struct fl_json *endpoint, struct fl_span cluster,
                         const struct entry *entry)
{
    const struct fl_json *metadata = fl_json_get(fl_json_get(endpoint, "metadata"), "filter_metadata");
    struct fl_span health = text_of(endpoint, "health_status");
    char room[FL_JSON_NUMBER_ROOM];
    struct fl_span weight = fl_json_number_text(fl_json_get(endpoint, "load_balancing_weight"), room);
    cli_table_cell(&render->table, cluster);
    address_cell(render, fl_json_get(fl_json_get(endpoint, "endpoint"), "address"));
    cli_table_cell(&render->table, health.len > 0 ? health : FL_SPAN("UNKNOWN"));
    cli_table_cell(&render->table, weight.len > 0 ? weight : FL_SPAN("1"));
    cli_table_cell(&render->table, text_of(fl_json_get(metadata, "fairlead"), "identity"));
    cli_table_cell(&render->table, entry->version);
}

static void assignment_row(struct render *render, const struct entry *entry)
{
    struct fl_span cluster = text_of(entry->resource, "cluster_name");
    if (!contains(cluster, render->filter))
        return;
    const struct fl_json *locality = fl_json_first(fl_json_get(entry->resource, "endpoints"));
    for (; locality != NULL; locality = fl_json_next(locality)) {
        const struct fl_json *endpoint = fl_json_first(fl_json_get(locality, "lb_endpoints"));
        for (; endpoint != NULL; endpoint = fl_json_next(endpoint))
            endpoint_row(render, endpoint, cluster, entry);
    }
}

/* A cluster that holds its endpoints itself. */
static void inline_assignment_row(struct render *render, const struct entry *entry)
{
    struct entry inner = *entry;
    inner.resource = fl_json_get(entry->resource, "load_assignment");
    if (inner.resource != NULL)
        assignment_row(render, &inner);
}

static void endpoints(struct render *render)
{
    static const char *const titles[] = {"CLUSTER", "ENDPOINT", "HEALTH", "WEIGHT", "IDENTITY", "VERSION"};
    const struct fl_json *config = section(render, "EndpointsConfigDump");
    cli_table_init(&render->table, titles, FL_COUNT(titles));
    each(render, config, "static_endpoint_configs", "endpoint_config", "static", assignment_row);
    each(render, config, "dynamic_endpoint_configs", "endpoint_config", "active", assignment_row);
    config = section(render, "ClustersConfigDump");
    each(render, config, "static_clusters", "cluster", "static", inline_assignment_row);
    each(render, config, "dynamic_active_clusters", "cluster", "active", inline_assignment_row);
}

/* --- secrets ---------------------------------------------------------------------------------------------------- */

static void secret_rows(struct render *render, const struct fl_json *config, const char *list, const char *state)
{
    const struct fl_json *item = fl_json_first(fl_json_get(config, list));
    for (; item != NULL; item = fl_json_next(item)) {
        const struct fl_json *secret = fl_json_get(item, "secret");
        struct fl_span name = text_of(item, "name");
        if (!contains(name, render->filter))
            continue;
        cli_table_cell(&render->table, name);
        cli_table_cell_str(&render->table, fl_json_get(secret, "tls_certificate") != NULL      ? "certificate"
                                           : fl_json_get(secret, "validation_context") != NULL ? "trust bundle"
                                                                                               : "");
        cli_table_cell_str(&render->table, state);
        cli_table_cell(&render->table, text_of(item, "version_info"));
        cli_table_cell(&render->table, text_of(item, "last_updated"));
    }
}

static void secrets(struct render *render)
{
    static const char *const titles[] = {"SECRET", "KIND", "STATE", "VERSION", "UPDATED"};
    const struct fl_json *config = section(render, "SecretsConfigDump");
    cli_table_init(&render->table, titles, FL_COUNT(titles));
    secret_rows(render, config, "static_secrets", "static");
    secret_rows(render, config, "dynamic_active_secrets", "active");
    secret_rows(render, config, "dynamic_warming_secrets", "warming");
}

int cli_dump_print(enum cli_dump dump, const struct fl_json *config_dump, struct fl_span filter, struct fl_buf *out)
{
    static void (*const renders[])(struct render * render) = {
        [CLI_DUMP_LISTENERS] = listeners, [CLI_DUMP_ROUTES] = routes,   [CLI_DUMP_CLUSTERS] = clusters,
        [CLI_DUMP_ENDPOINTS] = endpoints, [CLI_DUMP_SECRETS] = secrets,
    };
    struct render render = {.dump = config_dump, .filter = filter};
    renders[dump](&render);
    int result = cli_table_print(&render.table, out);
    cli_table_done(&render.table);
    return result;
}
