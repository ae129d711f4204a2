#include "control/model/explain.h"

#include "common/regex/pattern.h"

#include <errno.h>

/* -- one match ----------------------------------------------------------------------------------------------------- */

static struct fl_span path_of(const struct control_request *request)
{
    return fl_span_make(request->path.data, fl_span_find(request->path, '?'));
}

static bool regex_matches(struct fl_span text, struct fl_span value)
{
    struct fl_pattern *pattern = NULL;
    struct fl_err err = {0};
    bool matches = fl_pattern_new(text, &pattern, &err) == 0 && fl_pattern_matches(pattern, value);
    fl_pattern_free(pattern);
    return matches;
}

static bool value_matches(const struct control_name_value *wanted, struct fl_span value)
{
    return wanted->regex ? regex_matches(wanted->value, value) : fl_span_eq(wanted->value, value);
}

/* A prefix ends at a '/': "/a" fits "/a" and "/a/b", not "/ab". */
static bool path_matches(const struct control_http_match *match, struct fl_span path)
{
    if (match->path_match == CONTROL_PATH_EXACT)
        return fl_span_eq(match->path, path);
    if (match->path_match == CONTROL_PATH_REGEX)
        return regex_matches(match->path, path);
    if (match->path_match == CONTROL_PATH_SUFFIX)
        return fl_span_ends_with(path, match->path);
    if (match->path.len == 1)
        return path.len > 0 && path.data[0] == '/';
    return fl_span_starts_with(path, match->path) && (path.len == match->path.len || path.data[match->path.len] == '/');
}

static bool header_matches(const struct control_name_value *wanted, const struct control_request *request)
{
    for (size_t i = 0; i < request->header_count; i++)
        if (fl_span_eq_nocase(request->headers[i].name, wanted->name))
            return value_matches(wanted, request->headers[i].value);
    return false;
}

/* The first of the name counts. */
static bool query_matches(const struct control_name_value *wanted, const struct control_request *request)
{
    size_t mark = fl_span_find(request->path, '?');
    struct fl_span rest = mark < request->path.len ? fl_span_from(request->path, mark + 1) : (struct fl_span){NULL, 0};
    struct fl_span pair;
    while (rest.data != NULL && fl_span_split(&rest, '&', &pair)) {
        size_t equals = fl_span_find(pair, '=');
        if (!fl_span_eq(fl_span_make(pair.data, equals), wanted->name))
            continue;
        struct fl_span value = equals < pair.len ? fl_span_from(pair, equals + 1) : FL_SPAN("");
        return value_matches(wanted, value);
    }
    return false;
}

static bool is_grpc(const struct control_request *request)
{
    for (size_t i = 0; i < request->header_count; i++)
        if (fl_span_eq_nocase(request->headers[i].name, FL_SPAN("content-type")))
            return fl_span_starts_with(request->headers[i].value, FL_SPAN("application/grpc"));
    return false;
}

struct control_verdict control_match_explain(const struct control_http_match *match,
                                             const struct control_request *request)
{
    if (match->grpc && !is_grpc(request))
        return (struct control_verdict){CONTROL_MISMATCH_GRPC, 0};
    if (!path_matches(match, path_of(request)))
        return (struct control_verdict){CONTROL_MISMATCH_PATH, 0};
    if (match->method.len > 0 && !fl_span_eq(match->method, request->method))
        return (struct control_verdict){CONTROL_MISMATCH_METHOD, 0};
    for (size_t i = 0; i < match->header_count; i++)
        if (!header_matches(&match->headers[i], request))
            return (struct control_verdict){CONTROL_MISMATCH_HEADER, i};
    for (size_t i = 0; i < match->query_count; i++)
        if (!query_matches(&match->queries[i], request))
            return (struct control_verdict){CONTROL_MISMATCH_QUERY, i};
    return (struct control_verdict){CONTROL_MATCHES, 0};
}

size_t control_route_hit(const struct control_route_list *list, const struct control_request *request)
{
    for (size_t i = 0; i < list->count; i++)
        if (control_match_explain(list->items[i].match, request).mismatch == CONTROL_MATCHES)
            return i;
    return list->count;
}

/* -- in words ------------------------------------------------------------------------------------------------------ */

static int print_match(const struct control_http_match *match, struct fl_buf *out)
{
    static const char *const words[] = {[CONTROL_PATH_PREFIX] = "path under",
                                        [CONTROL_PATH_EXACT] = "path =",
                                        [CONTROL_PATH_REGEX] = "path ~",
                                        [CONTROL_PATH_SUFFIX] = "path ending in"};
    int result = fl_buf_printf(out, "%s%s %.*s", match->grpc ? "gRPC, " : "", words[match->path_match],
                               FL_SPAN_ARG(match->path));
    if (result == 0 && match->method.len > 0)
        result = fl_buf_printf(out, ", method %.*s", FL_SPAN_ARG(match->method));
    for (size_t i = 0; i < match->header_count && result == 0; i++)
        result = fl_buf_printf(out, ", header %.*s%s %.*s", FL_SPAN_ARG(match->headers[i].name),
                               match->headers[i].regex ? " ~" : ":", FL_SPAN_ARG(match->headers[i].value));
    for (size_t i = 0; i < match->query_count && result == 0; i++)
        result = fl_buf_printf(out, ", query %.*s%s%.*s", FL_SPAN_ARG(match->queries[i].name),
                               match->queries[i].regex ? "~" : "=", FL_SPAN_ARG(match->queries[i].value));
    return result;
}

static int print_verdict(const struct control_http_match *match, struct control_verdict verdict, struct fl_buf *out)
{
    switch (verdict.mismatch) {
    case CONTROL_MATCHES:
        return fl_buf_append_str(out, "matches");
    case CONTROL_MISMATCH_GRPC:
        return fl_buf_append_str(out, "no: its content-type is not application/grpc");
    case CONTROL_MISMATCH_PATH:
        return fl_buf_append_str(out, "no: the path differs");
    case CONTROL_MISMATCH_METHOD:
        return fl_buf_append_str(out, "no: the method differs");
    case CONTROL_MISMATCH_HEADER:
        return fl_buf_printf(out, "no: header %.*s differs or is missing",
                             FL_SPAN_ARG(match->headers[verdict.index].name));
    case CONTROL_MISMATCH_QUERY:
        return fl_buf_printf(out, "no: query parameter %.*s differs or is missing",
                             FL_SPAN_ARG(match->queries[verdict.index].name));
    }
    return 0;
}

static int print_entry(const struct control_route_entry *entry, const struct control_request *request,
                       struct fl_buf *out)
{
    const struct fl_metadata *metadata = &entry->route->object.metadata;
    int result = fl_buf_printf(out, "%.*s/%.*s rule %u match %u (", FL_SPAN_ARG(metadata->name_space),
                               FL_SPAN_ARG(metadata->name), entry->rule_index, entry->match_index);
    if (result == 0)
        result = print_match(entry->match, out);
    if (result == 0)
        result = fl_buf_append_str(out, "): ");
    if (result == 0)
        result = print_verdict(entry->match, control_match_explain(entry->match, request), out);
    return result < 0 ? result : fl_buf_append_byte(out, '\n');
}

static const char *why(enum control_backend_error error)
{
    static const char *const words[] = {
        [CONTROL_BACKEND_OK] = "",
        [CONTROL_BACKEND_INVALID_KIND] = ": 500, its kind is not Service",
        [CONTROL_BACKEND_NOT_FOUND] = ": 500, there is no such Service",
        [CONTROL_BACKEND_NO_PORT] = ": 500, the Service has no such TCP port",
        [CONTROL_BACKEND_NOT_PERMITTED] = ": 500, no ReferenceGrant permits it",
        [CONTROL_BACKEND_FILTER] = ": 500, it has a filter that is not supported",
    };
    return words[error];
}

static int print_destination(const struct control_destination *destination, uint64_t total, struct fl_buf *out)
{
    const struct control_backend *backend = destination->backend;
    return fl_buf_printf(out, "  %.1f%% %.*s/%.*s:%u%s\n",
                         total > 0 ? 100.0 * (double)destination->weight / (double)total : 0.0,
                         FL_SPAN_ARG(backend->reference.name_space), FL_SPAN_ARG(backend->reference.name),
                         backend->port, why(destination->error));
}

static int print_redirect(const struct control_redirect *redirect, struct fl_buf *out)
{
    int result = fl_buf_printf(out, "  redirect %u", redirect->status);
    if (result == 0 && redirect->scheme.len > 0)
        result = fl_buf_printf(out, ", scheme %.*s", FL_SPAN_ARG(redirect->scheme));
    if (result == 0 && redirect->hostname.len > 0)
        result = fl_buf_printf(out, ", host %.*s", FL_SPAN_ARG(redirect->hostname));
    if (result == 0 && redirect->port != 0)
        result = fl_buf_printf(out, ", port %u", redirect->port);
    if (result == 0 && redirect->path_change != CONTROL_PATH_KEEP)
        result = fl_buf_printf(out, ", %s %.*s",
                               redirect->path_change == CONTROL_PATH_REPLACE_FULL ? "path" : "prefix replaced by",
                               FL_SPAN_ARG(redirect->path));
    return result < 0 ? result : fl_buf_append_byte(out, '\n');
}

static int print_answer(const struct control_route_entry *entry, struct fl_buf *out)
{
    const struct control_http_rule *rule = entry->rule;
    if (rule->filters.unsupported.len > 0)
        return fl_buf_printf(out, "  %u: %.*s\n", entry->answer, FL_SPAN_ARG(rule->filters.unsupported));
    if (rule->filters.redirect != NULL)
        return print_redirect(rule->filters.redirect, out);
    if (entry->destinations.count == 0)
        return fl_buf_printf(out, "  %u: the rule has no backendRefs\n", entry->answer);
    if (entry->destinations.total == 0)
        return fl_buf_printf(out, "  %u: every backend has weight 0\n", entry->answer);
    int result = 0;
    for (size_t i = 0; i < entry->mirrors.count && result == 0; i++)
        result = fl_buf_printf(out, "  a copy of %.1f%% for %.*s/%.*s:%u%s\n", entry->mirrors.items[i].weight / 10000.0,
                               FL_SPAN_ARG(entry->mirrors.items[i].backend->reference.name_space),
                               FL_SPAN_ARG(entry->mirrors.items[i].backend->reference.name),
                               entry->mirrors.items[i].backend->port,
                               entry->mirrors.items[i].error != CONTROL_BACKEND_OK ? ": none, it is not usable" : "");
    for (size_t i = 0; i < entry->destinations.count && result == 0; i++)
        result = print_destination(&entry->destinations.items[i], entry->destinations.total, out);
    return result;
}

int control_route_explain_dropped(const struct control_http_route *route, struct fl_buf *out)
{
    const struct fl_metadata *metadata = &route->object.metadata;
    int result = 0;
    for (size_t i = 0; i < route->rule_count && result == 0; i++)
        if (route->rules[i].dropped.len > 0)
            result = fl_buf_printf(out, "%.*s/%.*s rule %zu was dropped: %.*s\n", FL_SPAN_ARG(metadata->name_space),
                                   FL_SPAN_ARG(metadata->name), i, FL_SPAN_ARG(route->rules[i].dropped));
    return result;
}

int control_route_explain(const struct control_route_list *list, const struct control_request *request,
                          struct fl_buf *out)
{
    size_t hit = control_route_hit(list, request);
    int result = 0;
    for (size_t i = 0; i < list->count && i <= hit && result == 0; i++)
        result = print_entry(&list->items[i], request, out);
    if (result < 0)
        return result;
    return hit < list->count ? print_answer(&list->items[hit], out)
                             : fl_buf_append_str(out, "  404: no rule matches\n");
}
