#include "proxy/route/rewrite.h"

#include <errno.h>

static int edit(const struct proxy_header_edit *edit, struct proxy_headers *headers)
{
    if (edit->value.len == 0 && !edit->keep_empty)
        return 0;
    bool exists = proxy_headers_next(headers, proxy_header_id(edit->name), edit->name, NULL) != NULL;
    switch (edit->action) {
    case PROXY_EDIT_APPEND:
        return proxy_headers_add(headers, edit->name, edit->value);
    case PROXY_EDIT_ADD_IF_ABSENT:
        return exists ? 0 : proxy_headers_add(headers, edit->name, edit->value);
    case PROXY_EDIT_OVERWRITE:
        return proxy_headers_set(headers, edit->name, edit->value);
    case PROXY_EDIT_OVERWRITE_IF_EXISTS:
        return exists ? proxy_headers_set(headers, edit->name, edit->value) : 0;
    }
    return 0;
}

static int apply(const struct proxy_header_edits *edits, struct proxy_headers *headers)
{
    for (size_t i = 0; i < edits->removal_count; i++)
        proxy_headers_remove(headers, edits->removals[i]);
    int result = 0;
    for (size_t i = 0; result == 0 && i < edits->edit_count; i++)
        result = edit(&edits->edits[i], headers);
    return result;
}

/* From the most specific to the least, or the other way round: the last word is the last one's. */
static int apply_all(const struct proxy_header_edits *const levels[4], bool reverse, struct proxy_headers *headers)
{
    int result = 0;
    for (size_t i = 0; result == 0 && i < 4; i++) {
        const struct proxy_header_edits *level = levels[reverse ? 3 - i : i];
        if (level != NULL)
            result = apply(level, headers);
    }
    return result;
}

/* How much of the path the route's match stands for. */
static size_t matched(const struct proxy_route *route, struct fl_span path)
{
    return route->match.path_kind == PROXY_PATH_EXACT ? path.len : route->match.path.len;
}

/* What stands in place of the beginning of the path; *ret_rest is what of the path stays behind it. */
static int new_front(const struct proxy_route *route, const struct proxy_message *request, char *scratch, size_t size,
                     size_t *ret_len, struct fl_span *ret_rest)
{
    struct fl_span old = proxy_message_path_only(request), front = route->prefix_rewrite;
    if (route->rewrite_pattern != NULL) {
        int result = fl_pattern_replace(route->rewrite_pattern, old, route->substitution, scratch, size, &front);
        *ret_rest = fl_span_from(request->path, old.len);
        *ret_len = front.len;
        return result;
    }
    if (front.len > size)
        return -EMSGSIZE;
    if (front.len > 0)
        memcpy(scratch, front.data, front.len);
    *ret_rest = fl_span_from(request->path, matched(route, old));
    *ret_len = front.len;
    return 0;
}

static int rewrite_path(const struct proxy_route *route, struct proxy_message *request, char *scratch, size_t size)
{
    struct fl_span rest = {NULL, 0};
    size_t front = 0;
    int result = new_front(route, request, scratch, size, &front, &rest);
    if (result < 0)
        return result;
    if (rest.len > size - front)
        return -EMSGSIZE;
    memcpy(scratch + front, rest.data, rest.len);
    struct fl_span path = fl_span_make(scratch, front + rest.len);
    if (path.len == 0 || path.data[0] != '/') { /* a path begins with '/', whatever was configured */
        if (path.len == size)
            return -EMSGSIZE;
        memmove(scratch + 1, scratch, path.len);
        scratch[0] = '/';
        path.len++;
    }
    proxy_message_set_path(request, path);
    return 0;
}

static bool has_path(const struct proxy_message *request)
{
    return request->path.len > 0 && request->path.data[0] == '/';
}

int proxy_route_rewrite_request(const struct proxy_route_table *table, const struct proxy_route_found *found,
                                const struct proxy_weighted_cluster *cluster, struct proxy_message *request,
                                char *scratch, size_t scratch_size)
{
    const struct proxy_route *route = found->route;
    const struct proxy_route_config *config = proxy_route_table_config(table);
    const struct proxy_header_edits *const levels[4] = {cluster != NULL ? &cluster->request : NULL, &route->request,
                                                        &found->virtual_host->request, &config->request};
    int result = 0;
    if ((route->has_prefix_rewrite || route->rewrite_pattern != NULL) && has_path(request))
        result = rewrite_path(route, request, scratch, scratch_size);
    bool connect =
        request->target_form == PROXY_TARGET_AUTHORITY; /* its target is where the tunnel leads, with a port */
    if (result == 0 && route->host_rewrite_literal.len > 0 && !connect)
        result = proxy_message_set_authority(request, route->host_rewrite_literal);
    return result == 0 ? apply_all(levels, config->most_specific_wins, &request->headers) : result;
}

int proxy_route_rewrite_response(const struct proxy_route_table *table, const struct proxy_route_found *found,
                                 const struct proxy_weighted_cluster *cluster, struct proxy_message *response)
{
    const struct proxy_route_config *config = proxy_route_table_config(table);
    const struct proxy_header_edits *const levels[4] = {cluster != NULL ? &cluster->response : NULL,
                                                        &found->route->response, &found->virtual_host->response,
                                                        &config->response};
    return apply_all(levels, config->most_specific_wins, &response->headers);
}

struct writer {
    char *at, *end;
    bool full;
};

static void put(struct writer *writer, struct fl_span text)
{
    writer->full = writer->full || text.len > (size_t)(writer->end - writer->at);
    if (writer->full || text.len == 0)
        return;
    memcpy(writer->at, text.data, text.len);
    writer->at += text.len;
}

static void put_port(struct writer *writer, uint32_t port)
{
    char digits[6];
    size_t at = sizeof(digits);
    for (; port > 0; port /= 10)
        digits[--at] = (char)('0' + port % 10);
    digits[--at] = ':';
    put(writer, fl_span_make(digits + at, sizeof(digits) - at));
}

/* A port that is the default of the scheme left behind does not go along to the new one. */
static void put_host(struct writer *writer, const struct proxy_redirect *redirect, struct fl_span authority,
                     struct fl_span old_scheme, bool scheme_changes)
{
    size_t colon = proxy_authority_host_len(authority);
    struct fl_span host = redirect->host.len > 0 ? redirect->host : fl_span_make(authority.data, colon);
    struct fl_span port = fl_span_from(authority, colon);
    bool was_default =
        fl_span_eq_nocase(old_scheme, FL_SPAN("http")) ? fl_span_eq_str(port, ":80") : fl_span_eq_str(port, ":443");
    put(writer, host);
    if (redirect->port > 0)
        put_port(writer, redirect->port);
    else if (redirect->host.len == 0 && !(scheme_changes && was_default))
        put(writer, port);
}

static void put_path(struct writer *writer, const struct proxy_route *route, const struct proxy_message *request)
{
    const struct proxy_redirect *redirect = &route->redirect;
    struct fl_span path = proxy_message_path_only(request);
    bool own_query = false;
    if (redirect->path.len > 0) {
        put(writer, redirect->path);
        own_query = fl_span_find(redirect->path, '?') < redirect->path.len;
    } else if (redirect->has_prefix) {
        put(writer, redirect->prefix);
        put(writer, fl_span_from(path, matched(route, path)));
    } else {
        put(writer, path);
    }
    if (!redirect->strip_query && !own_query)
        put(writer, fl_span_from(request->path, path.len));
}

int proxy_route_location(const struct proxy_route *route, const struct proxy_message *request, struct fl_span scheme,
                         char *scratch, size_t scratch_size, struct fl_span *ret_location)
{
    const struct proxy_redirect *redirect = &route->redirect;
    if (request->authority.len == 0 || !has_path(request))
        return -EINVAL;
    struct writer writer = {scratch, scratch + scratch_size, false};
    struct fl_span old = request->scheme.len > 0 ? request->scheme : scheme, new = old;
    if (redirect->https)
        new = FL_SPAN("https");
    else if (redirect->scheme.len > 0)
        new = redirect->scheme;
    put(&writer, new);
    put(&writer, FL_SPAN("://"));
    put_host(&writer, redirect, request->authority, old, !fl_span_eq_nocase(old, new));
    put_path(&writer, route, request);
    if (writer.full)
        return -EMSGSIZE;
    *ret_location = fl_span_make(scratch, (size_t)(writer.at - scratch));
    return 0;
}
