#include "proxy/route/table.h"

#include "proxy/route/table_private.h"

const struct proxy_virtual_host *proxy_route_find_host(const struct proxy_route_table *table, struct fl_span authority)
{
    char lower[PROXY_ROUTE_DOMAIN_MAX];
    if (table->config.ignore_port)
        authority = proxy_authority_strip_port(authority, 0);
    if (authority.len > sizeof(lower))
        authority.len = 0; /* longer than any domain: "*" alone */
    for (size_t i = 0; i < authority.len; i++) {
        char byte = authority.data[i];
        lower[i] = byte >= 'A' && byte <= 'Z' ? (char)(byte | 0x20) : byte;
    }
    uint32_t host = proxy_domains_find(&table->domains, fl_span_make(lower, authority.len));
    return host != PROXY_DOMAIN_NONE ? &table->config.virtual_hosts[host] : NULL;
}

/* "/" is how configurations say everything, and so OPTIONS of "*" (which is no path) has it, too. */
static bool is_everything(const struct proxy_route_match *match)
{
    return match->path_kind == PROXY_PATH_PREFIX && fl_span_eq(match->path, FL_SPAN("/"));
}

static bool path_match(const struct proxy_route_match *match, struct fl_span path)
{
    struct fl_span want = match->path;
    if (fl_span_eq(path, FL_SPAN("*")) && is_everything(match))
        return true;
    if (match->path_kind == PROXY_PATH_REGEX)
        return fl_pattern_matches(match->pattern, path);
    if (path.len < want.len)
        return false;
    struct fl_span front = fl_span_make(path.data, want.len);
    if (match->ignore_case ? !fl_span_eq_nocase(front, want) : !fl_span_eq(front, want))
        return false;
    switch (match->path_kind) {
    case PROXY_PATH_PREFIX:
        return true;
    case PROXY_PATH_EXACT:
        return path.len == want.len;
    case PROXY_PATH_SEPARATED_PREFIX:
        return path.len == want.len || path.data[want.len] == '/';
    case PROXY_PATH_REGEX:
        break;
    }
    return false;
}

static bool route_match(const struct proxy_route_match *match, const struct proxy_message *request, struct fl_span path)
{
    if (!path_match(match, path))
        return false;
    for (size_t i = 0; i < match->header_count; i++) {
        if (!proxy_header_match(&match->headers[i], request))
            return false;
    }
    if (match->query_count == 0)
        return true;
    struct fl_span query = proxy_message_query(request);
    for (size_t i = 0; i < match->query_count; i++) {
        if (!proxy_query_match(&match->queries[i], query))
            return false;
    }
    return true;
}

struct proxy_route_found proxy_route_find(const struct proxy_route_table *table, const struct proxy_message *request)
{
    struct proxy_route_found found = {.virtual_host = proxy_route_find_host(table, request->authority)};
    if (found.virtual_host == NULL)
        return found;
    struct fl_span path = proxy_message_path_only(request);
    for (size_t i = 0; i < found.virtual_host->route_count; i++) {
        const struct proxy_route *route = &found.virtual_host->routes[i];
        if (route_match(&route->match, request, path)) {
            found.route = route;
            break;
        }
    }
    return found;
}

const struct proxy_weighted_cluster *proxy_route_pick(const struct proxy_route *route, uint32_t random)
{
    if (route->cluster_count == 1)
        return &route->clusters[0];
    uint64_t at = (uint64_t)random * route->weight_sum >> 32; /* [0, weight_sum), without a division */
    size_t i = 0;
    for (; i + 1 < route->cluster_count && at >= route->clusters[i].weight; i++)
        at -= route->clusters[i].weight;
    return &route->clusters[i];
}

struct proxy_route_table *proxy_route_table_free(struct proxy_route_table *table)
{
    for (struct proxy_pattern *at = table != NULL ? table->patterns : NULL; at != NULL; at = at->next)
        fl_pattern_free(at->pattern);
    if (table != NULL)
        fl_arena_done(&table->arena);
    free(table);
    return NULL;
}

const struct proxy_route_config *proxy_route_table_config(const struct proxy_route_table *table)
{
    return &table->config;
}

size_t proxy_route_table_size(const struct proxy_route_table *table)
{
    return sizeof(*table) + table->arena.used + table->pattern_bytes;
}
