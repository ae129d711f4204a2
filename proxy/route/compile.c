/* A route configuration checked and copied into a table of its own (declared in table.h). Equal strings are kept once:
 * cluster and header names come again and again. */
#include "proxy/route/table_private.h"

#include <errno.h>

#define PATTERN_BYTES_MAX (16u << 20)  /* of all expressions of a table; more are refused */
#define TABLE_MAX         (256u << 20) /* bytes; a configuration that needs more is refused with -ENOMEM */

struct compiler {
    struct proxy_route_table *table;
    struct fl_span *strings; /* open hash of what was copied; a power of two slots, data == NULL: free */
    size_t slots, used;
    proxy_cluster_lookup lookup;
    void *context;
    struct fl_err *err;
};

static size_t hash(struct fl_span text)
{
    uint64_t value = 0xcbf29ce484222325u; /* FNV-1a */
    for (size_t i = 0; i < text.len; i++)
        value = (value ^ (unsigned char)text.data[i]) * 0x100000001b3u;
    return (size_t)(value ^ value >> 32);
}

static struct fl_span *slot_of(const struct compiler *compiler, struct fl_span text)
{
    size_t at = hash(text) & (compiler->slots - 1);
    while (compiler->strings[at].data != NULL && !fl_span_eq(compiler->strings[at], text))
        at = (at + 1) & (compiler->slots - 1);
    return &compiler->strings[at];
}

static int grow(struct compiler *compiler)
{
    struct compiler bigger = *compiler;
    bigger.slots = compiler->slots > 0 ? compiler->slots * 2 : 64;
    bigger.strings = calloc(bigger.slots, sizeof(*bigger.strings));
    if (bigger.strings == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < compiler->slots; i++) {
        if (compiler->strings[i].data != NULL)
            *slot_of(&bigger, compiler->strings[i]) = compiler->strings[i];
    }
    free(compiler->strings);
    *compiler = bigger;
    return 0;
}

static int copy_text(struct compiler *compiler, struct fl_span text, struct fl_span *ret_text)
{
    if (compiler->used * 2 >= compiler->slots && grow(compiler) < 0)
        return -ENOMEM;
    struct fl_span *slot = slot_of(compiler, text);
    if (slot->data == NULL) {
        struct fl_span copy = fl_arena_copy(&compiler->table->arena, text);
        if (copy.data == NULL)
            return -ENOMEM;
        *slot = copy;
        compiler->used++;
    }
    *ret_text = *slot;
    return 0;
}

static int copy_lower(struct compiler *compiler, struct fl_span text, struct fl_span *ret_text)
{
    char lower[PROXY_ROUTE_DOMAIN_MAX];
    for (size_t i = 0; i < text.len; i++)
        lower[i] = text.data[i] >= 'A' && text.data[i] <= 'Z' ? (char)(text.data[i] | 0x20) : text.data[i];
    return copy_text(compiler, fl_span_make(lower, text.len), ret_text);
}

/* A copy of an array whose elements are then completed in place. */
static void *copy_array(struct compiler *compiler, const void *source, size_t count, size_t size)
{
    void *copy = fl_arena_array(&compiler->table->arena, count, size);
    if (copy != NULL && count > 0)
        memcpy(copy, source, count * size);
    return copy;
}

static int refuse(struct compiler *compiler, const char *what, struct fl_span text)
{
    return fl_err_set(compiler->err, -EINVAL, "%s: \"%.*s\"", what, FL_SPAN_ARG(text));
}

/* Fields that belong to the connection or to the framing: an edit of them would make two readings of one message. */
static bool framing_name(struct fl_span name)
{
    static const uint8_t ids[] = {PROXY_HEADER_HOST,    PROXY_HEADER_CONTENT_LENGTH, PROXY_HEADER_TRANSFER_ENCODING,
                                  PROXY_HEADER_UPGRADE, PROXY_HEADER_CONNECTION,     PROXY_HEADER_TE,
                                  PROXY_HEADER_TRAILER};
    return memchr(ids, (int)proxy_header_id(name), sizeof(ids)) != NULL;
}

static int check_edit_name(struct compiler *compiler, struct fl_span name)
{
    if (!proxy_header_name_valid(name))
        return refuse(compiler, "not a header name that can be changed", name);
    return framing_name(name) ? refuse(compiler, "a header that belongs to the connection or the framing", name) : 0;
}

/* "%%" becomes '%'; a lone '%' would begin a command operator, and there are none here. */
static int copy_value(struct compiler *compiler, struct fl_span value, struct fl_span *ret_value)
{
    FL_CLEANUP(fl_cleanup_free) char *plain = malloc(value.len + 1);
    if (plain == NULL)
        return -ENOMEM;
    size_t len = 0;
    for (size_t i = 0; i < value.len; i++) {
        if (value.data[i] == '%' && (i + 1 == value.len || value.data[++i] != '%'))
            return refuse(compiler, "command operators are not supported in header values", value);
        plain[len++] = value.data[i];
    }
    struct fl_span text = fl_span_make(plain, len);
    if (!proxy_header_value_valid(text))
        return refuse(compiler, "not a header value", value);
    return copy_text(compiler, text, ret_value);
}

static int copy_edits(struct compiler *compiler, struct proxy_header_edits *edits)
{
    struct proxy_header_edit *copy = copy_array(compiler, edits->edits, edits->edit_count, sizeof(*copy));
    struct fl_span *removals = copy_array(compiler, edits->removals, edits->removal_count, sizeof(*removals));
    if (copy == NULL || removals == NULL)
        return -ENOMEM;
    int result = 0;
    for (size_t i = 0; result == 0 && i < edits->edit_count; i++) {
        result = check_edit_name(compiler, copy[i].name);
        if (result == 0)
            result = copy_text(compiler, copy[i].name, &copy[i].name);
        if (result == 0)
            result = copy_value(compiler, copy[i].value, &copy[i].value);
    }
    for (size_t i = 0; result == 0 && i < edits->removal_count; i++) {
        result = check_edit_name(compiler, removals[i]);
        if (result == 0)
            result = copy_text(compiler, removals[i], &removals[i]);
    }
    edits->edits = copy;
    edits->removals = removals;
    return result;
}

/* The table holds it, and frees it. */
static int make_pattern(struct compiler *compiler, struct fl_span text, const struct fl_pattern **ret_pattern)
{
    struct proxy_route_table *table = compiler->table;
    struct proxy_pattern *holder = fl_arena_alloc(&table->arena, sizeof(*holder));
    if (holder == NULL)
        return -ENOMEM;
    int result = fl_pattern_new(text, &holder->pattern, compiler->err);
    if (result == -EINVAL)
        fl_err_prefix(compiler->err, "\"%.*s\"", (int)(text.len < 200 ? text.len : 200), text.data);
    if (result < 0)
        return result;
    holder->next = table->patterns;
    table->patterns = holder;
    table->pattern_bytes += fl_pattern_size(holder->pattern);
    if (table->pattern_bytes > PATTERN_BYTES_MAX)
        return fl_err_set(compiler->err, -EINVAL, "regular expressions take more than %u bytes", PATTERN_BYTES_MAX);
    *ret_pattern = holder->pattern;
    return 0;
}

static int copy_string(struct compiler *compiler, struct proxy_string_match *string)
{
    if (string->kind == PROXY_STRING_REGEX)
        return make_pattern(compiler, string->text, &string->pattern);
    return copy_text(compiler, string->text, &string->text);
}

static bool pseudo_name(struct fl_span name)
{
    return fl_span_eq_str(name, ":method") || fl_span_eq_str(name, ":path") || fl_span_eq_str(name, ":authority") ||
           fl_span_eq_str(name, ":scheme");
}

static int copy_headers(struct compiler *compiler, const struct proxy_header_match **headers, size_t count)
{
    struct proxy_header_match *copy = copy_array(compiler, *headers, count, sizeof(*copy));
    if (copy == NULL)
        return -ENOMEM;
    *headers = copy;
    int result = 0;
    for (size_t i = 0; result == 0 && i < count; i++) {
        if (!proxy_header_name_valid(copy[i].name) && !pseudo_name(copy[i].name))
            return refuse(compiler, "match: not a header name", copy[i].name);
        result = copy_text(compiler, copy[i].name, &copy[i].name);
        if (result == 0)
            result = copy_string(compiler, &copy[i].string);
    }
    return result;
}

static int copy_queries(struct compiler *compiler, struct proxy_route_match *match)
{
    struct proxy_query_match *copy = copy_array(compiler, match->queries, match->query_count, sizeof(*copy));
    if (copy == NULL)
        return -ENOMEM;
    match->queries = copy;
    int result = 0;
    for (size_t i = 0; result == 0 && i < match->query_count; i++) {
        if (copy[i].name.len == 0)
            return refuse(compiler, "match: a query parameter needs a name", copy[i].name);
        result = copy_text(compiler, copy[i].name, &copy[i].name);
        if (result == 0)
            result = copy_string(compiler, &copy[i].string);
    }
    return result;
}

static int copy_match(struct compiler *compiler, struct proxy_route_match *match)
{
    struct fl_span path = match->path;
    bool regex = match->path_kind == PROXY_PATH_REGEX;
    bool separated = match->path_kind == PROXY_PATH_SEPARATED_PREFIX;
    if (!regex && (fl_span_find(path, '#') < path.len || fl_span_find(path, '?') < path.len))
        return refuse(compiler, "match: a path has neither '?' nor '#'", path);
    if (separated && (path.len < 2 || path.data[0] != '/' || path.data[path.len - 1] == '/'))
        return refuse(compiler, "match: path_separated_prefix begins with '/' and does not end with it", path);
    int result = copy_text(compiler, path, &match->path);
    if (result == 0 && regex)
        result = make_pattern(compiler, path, &match->pattern);
    if (result == 0)
        result = copy_headers(compiler, &match->headers, match->header_count);
    return result == 0 ? copy_queries(compiler, match) : result;
}

static int copy_clusters(struct compiler *compiler, struct proxy_route *route)
{
    struct proxy_weighted_cluster *copy = copy_array(compiler, route->clusters, route->cluster_count, sizeof(*copy));
    if (copy == NULL)
        return -ENOMEM;
    route->clusters = copy;
    route->weight_sum = 0;
    for (size_t i = 0; i < route->cluster_count; i++) {
        int result = copy_text(compiler, copy[i].name, &copy[i].name);
        if (result == 0 && compiler->lookup != NULL)
            result = compiler->lookup(compiler->context, copy[i].name, &copy[i].cluster_index);
        if (result < 0 && result != -ENOMEM)
            return fl_err_set(compiler->err, -EINVAL, "unknown cluster \"%.*s\"", FL_SPAN_ARG(copy[i].name));
        if (result == 0)
            result = copy_edits(compiler, &copy[i].request);
        if (result == 0)
            result = copy_edits(compiler, &copy[i].response);
        if (result < 0)
            return result;
        route->weight_sum += copy[i].weight;
    }
    bool weighted = route->action == PROXY_ROUTE_WEIGHTED;
    if (weighted ? route->weight_sum == 0 || route->weight_sum > UINT32_MAX : route->cluster_count != 1)
        return fl_err_set(compiler->err, -EINVAL,
                          weighted ? "weights must add up to 1 to 4294967295" : "exactly one cluster is needed");
    return 0;
}

static int copy_mirrors(struct compiler *compiler, struct proxy_route *route)
{
    struct proxy_mirror *copy = copy_array(compiler, route->mirrors, route->mirror_count, sizeof(*copy));
    int result = copy != NULL ? 0 : -ENOMEM;
    route->mirrors = copy;
    if (route->mirror_count > PROXY_MIRRORS_OF_ROUTE_MAX)
        return fl_err_set(compiler->err, -EINVAL, "more than %d mirrors", PROXY_MIRRORS_OF_ROUTE_MAX);
    for (size_t i = 0; result == 0 && i < route->mirror_count; i++) {
        result = copy_text(compiler, copy[i].name, &copy[i].name);
        if (result == 0 && compiler->lookup != NULL)
            result = compiler->lookup(compiler->context, copy[i].name, &copy[i].cluster_index);
        if (result < 0 && result != -ENOMEM)
            return fl_err_set(compiler->err, -EINVAL, "mirror: unknown cluster \"%.*s\"", FL_SPAN_ARG(copy[i].name));
    }
    return result;
}

static int copy_retry(struct compiler *compiler, const struct proxy_retry_policy **policy)
{
    if (*policy == NULL)
        return 0;
    struct proxy_retry_policy *copy = copy_array(compiler, *policy, 1, sizeof(*copy));
    const uint16_t *statuses =
        copy_array(compiler, (*policy)->statuses, (*policy)->status_count, sizeof(*(*policy)->statuses));
    if (copy == NULL || statuses == NULL)
        return -ENOMEM;
    copy->statuses = statuses;
    *policy = copy;
    return copy_headers(compiler, &copy->headers, copy->header_count);
}

static int copy_cors(struct compiler *compiler, const struct proxy_cors **cors)
{
    if (*cors == NULL)
        return 0;
    struct proxy_cors *copy = copy_array(compiler, *cors, 1, sizeof(*copy));
    struct proxy_string_match *origins =
        copy_array(compiler, (*cors)->origins, (*cors)->origin_count, sizeof(*origins));
    if (copy == NULL || origins == NULL)
        return -ENOMEM;
    struct fl_span *const texts[] = {&copy->methods, &copy->headers, &copy->expose, &copy->max_age};
    int result = 0;
    if (copy->origin_count > PROXY_CORS_ORIGINS_MAX)
        return fl_err_set(compiler->err, -EINVAL, "cors: more than %d origins", PROXY_CORS_ORIGINS_MAX);
    for (size_t i = 0; result == 0 && i < copy->origin_count; i++)
        result = copy_string(compiler, &origins[i]);
    for (size_t i = 0; result == 0 && i < FL_COUNT(texts); i++) {
        if (texts[i]->len > PROXY_CORS_TEXT_MAX || !proxy_header_value_valid(*texts[i]))
            return fl_err_set(compiler->err, -EINVAL, "cors: not a header value");
        result = copy_text(compiler, *texts[i], texts[i]);
    }
    copy->origins = origins;
    *cors = copy;
    return result;
}

static int copy_redirect(struct compiler *compiler, struct proxy_redirect *redirect)
{
    static const uint16_t statuses[] = {301, 302, 303, 307, 308};
    struct fl_span *const texts[] = {&redirect->scheme, &redirect->host, &redirect->path, &redirect->prefix};
    if (redirect->status == 0)
        redirect->status = statuses[0];
    bool known = false;
    for (size_t i = 0; i < FL_COUNT(statuses); i++)
        known = known || redirect->status == statuses[i];
    if (!known || redirect->port > UINT16_MAX || (redirect->https && redirect->scheme.len > 0) ||
        (redirect->has_prefix && redirect->path.len > 0))
        return fl_err_set(compiler->err, -EINVAL,
                          "redirect: status is 301, 302, 303, 307 or 308, port at most 65535, and of scheme_redirect "
                          "and https_redirect, of path_redirect and prefix_rewrite there is one at most");
    for (size_t i = 0; i < FL_COUNT(texts); i++) {
        if (!proxy_header_value_valid(*texts[i]))
            return refuse(compiler, "redirect: not fit for a Location", *texts[i]);
        int result = copy_text(compiler, *texts[i], texts[i]);
        if (result < 0)
            return result;
    }
    return 0;
}

static int copy_action(struct compiler *compiler, struct proxy_route *route)
{
    switch (route->action) {
    case PROXY_ROUTE_CLUSTER:
    case PROXY_ROUTE_WEIGHTED:
        return copy_clusters(compiler, route);
    case PROXY_ROUTE_REDIRECT:
        return copy_redirect(compiler, &route->redirect);
    case PROXY_ROUTE_DIRECT:
        if (route->direct.status < 200 || route->direct.status > 599)
            return fl_err_set(compiler->err, -EINVAL, "direct_response: status is 200 to 599");
        return copy_text(compiler, route->direct.body, &route->direct.body);
    }
    return fl_err_set(compiler->err, -EINVAL, "no action");
}

static bool fits_path(struct fl_span text)
{
    return proxy_header_value_valid(text) && fl_span_find(text, ' ') == text.len &&
           fl_span_find(text, '\t') == text.len && fl_span_find(text, '#') == text.len;
}

static int copy_regex_rewrite(struct compiler *compiler, struct proxy_route *route)
{
    bool prefix = route->has_prefix_rewrite || (route->action == PROXY_ROUTE_REDIRECT && route->redirect.has_prefix);
    if (prefix && route->match.path_kind == PROXY_PATH_REGEX)
        return fl_err_set(compiler->err, -EINVAL, "prefix_rewrite needs a match by prefix or path");
    if (route->regex_rewrite.len == 0)
        return 0;
    if (prefix)
        return fl_err_set(compiler->err, -EINVAL, "of prefix_rewrite and regex_rewrite there is one at most");
    if (!fits_path(route->substitution))
        return refuse(compiler, "regex_rewrite: not fit for a path", route->substitution);
    int result = make_pattern(compiler, route->regex_rewrite, &route->rewrite_pattern);
    if (result == 0)
        result = fl_pattern_check(route->rewrite_pattern, route->substitution, compiler->err);
    if (result == 0)
        result = copy_text(compiler, route->regex_rewrite, &route->regex_rewrite);
    return result == 0 ? copy_text(compiler, route->substitution, &route->substitution) : result;
}

/* Texts that end up in a request line or in Host. */
static int copy_rewrites(struct compiler *compiler, struct proxy_route *route)
{
    struct fl_span prefix = route->prefix_rewrite, host = route->host_rewrite_literal;
    if (!fits_path(prefix))
        return refuse(compiler, "prefix_rewrite: not fit for a path", prefix);
    if (!proxy_authority_valid(host))
        return refuse(compiler, "host_rewrite_literal: not a host", host);
    int result = copy_text(compiler, prefix, &route->prefix_rewrite);
    return result == 0 ? copy_text(compiler, host, &route->host_rewrite_literal) : result;
}

static int copy_route(struct compiler *compiler, struct proxy_route *route)
{
    int result = copy_text(compiler, route->name, &route->name);
    if (result == 0)
        result = copy_match(compiler, &route->match);
    if (result == 0)
        result = copy_action(compiler, route);
    if (result == 0)
        result = copy_mirrors(compiler, route);
    if (result == 0)
        result = copy_rewrites(compiler, route);
    if (result == 0)
        result = copy_regex_rewrite(compiler, route);
    if (result == 0)
        result = copy_retry(compiler, &route->retry);
    if (result == 0)
        result = copy_cors(compiler, &route->cors);
    if (result == 0)
        result = copy_edits(compiler, &route->request);
    return result == 0 ? copy_edits(compiler, &route->response) : result;
}

static int copy_domains(struct compiler *compiler, struct proxy_virtual_host *host)
{
    if (host->domain_count == 0)
        return fl_err_set(compiler->err, -EINVAL, "no domains");
    struct fl_span *copy = copy_array(compiler, host->domains, host->domain_count, sizeof(*copy));
    if (copy == NULL)
        return -ENOMEM;
    host->domains = copy;
    for (size_t i = 0; i < host->domain_count; i++) {
        enum proxy_domain_kind kind;
        struct fl_span text;
        if (copy[i].len > PROXY_ROUTE_DOMAIN_MAX || !proxy_domain_kind(copy[i], &kind, &text))
            return refuse(compiler, "not a domain", copy[i]);
        int result = copy_lower(compiler, copy[i], &copy[i]);
        if (result < 0)
            return result;
    }
    return 0;
}

static int copy_host(struct compiler *compiler, struct proxy_virtual_host *host)
{
    int result = copy_text(compiler, host->name, &host->name);
    if (result == 0)
        result = copy_domains(compiler, host);
    if (result == 0)
        result = copy_edits(compiler, &host->request);
    if (result == 0)
        result = copy_edits(compiler, &host->response);
    if (result == 0)
        result = copy_retry(compiler, &host->retry);
    struct proxy_route *routes = copy_array(compiler, host->routes, host->route_count, sizeof(*routes));
    if (result == 0 && routes == NULL)
        result = -ENOMEM;
    host->routes = routes;
    for (size_t i = 0; result == 0 && i < host->route_count; i++) {
        result = copy_route(compiler, &routes[i]);
        if (routes[i].retry == NULL)
            routes[i].retry = host->retry;
        if (result == -EINVAL)
            fl_err_prefix(compiler->err, "route %zu (%.*s)", i, FL_SPAN_ARG(routes[i].name));
    }
    if (result == -EINVAL)
        fl_err_prefix(compiler->err, "virtual host %.*s", FL_SPAN_ARG(host->name));
    return result;
}

/* Every domain of every host into the lists of its kind. */
static int index_domains(struct compiler *compiler)
{
    struct proxy_route_table *table = compiler->table;
    struct proxy_domains *domains = &table->domains;
    for (int fill = 0; fill < 2; fill++) { /* first count, then fill */
        for (int kind = 0; fill && kind < PROXY_DOMAIN_KINDS; kind++) {
            domains->entries[kind] =
                fl_arena_array(&table->arena, domains->count[kind], sizeof(*domains->entries[kind]));
            if (domains->entries[kind] == NULL)
                return -ENOMEM;
            domains->count[kind] = 0;
        }
        for (size_t host = 0; host < table->config.virtual_host_count; host++) {
            const struct proxy_virtual_host *of = &table->config.virtual_hosts[host];
            for (size_t i = 0; i < of->domain_count; i++) {
                enum proxy_domain_kind kind = PROXY_DOMAIN_EXACT;
                struct proxy_domain entry = {.host = (uint32_t)host};
                proxy_domain_kind(of->domains[i], &kind, &entry.text);
                if (fill)
                    domains->entries[kind][domains->count[kind]] = entry;
                domains->count[kind]++;
            }
        }
    }
    return proxy_domains_seal(domains, compiler->err);
}

static int compile(struct compiler *compiler, const struct proxy_route_config *source)
{
    struct proxy_route_config *config = &compiler->table->config;
    *config = *source;
    struct proxy_virtual_host *hosts =
        copy_array(compiler, source->virtual_hosts, source->virtual_host_count, sizeof(*hosts));
    if (hosts == NULL)
        return -ENOMEM;
    config->virtual_hosts = hosts;
    int result = copy_text(compiler, config->name, &config->name);
    if (result == 0)
        result = copy_edits(compiler, &config->request);
    if (result == 0)
        result = copy_edits(compiler, &config->response);
    for (size_t i = 0; result == 0 && i < config->virtual_host_count; i++)
        result = copy_host(compiler, &hosts[i]);
    return result == 0 ? index_domains(compiler) : result;
}

int proxy_route_table_new(const struct proxy_route_config *config, proxy_cluster_lookup lookup, void *context,
                          struct proxy_route_table **ret_table, struct fl_err *err)
{
    struct proxy_route_table *table = calloc(1, sizeof(*table));
    if (table == NULL)
        return fl_err_set(err, -ENOMEM, "out of memory");
    fl_arena_init(&table->arena, TABLE_MAX);
    struct compiler compiler = {.table = table, .lookup = lookup, .context = context, .err = err};
    int result = compile(&compiler, config);
    free(compiler.strings);
    if (result < 0) {
        proxy_route_table_free(table);
        return result == -ENOMEM ? fl_err_set(err, -ENOMEM, "out of memory") : result;
    }
    *ret_table = table;
    return 0;
}
