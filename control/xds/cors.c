/* What a route's filter CORS says, as the policy of the proxies' filter. */
#include "control/xds/generation.h"

/* A regular expression for an origin whose host is "*" or begins with "*.": the wildcard stands for labels. */
static char *expression(struct build *build, struct fl_span origin)
{
    const struct fl_span labels = FL_SPAN("[a-z0-9.-]+");
    char *text = fl_arena_alloc(build->arena, 2 * origin.len + labels.len + 1);
    size_t len = 0;
    if (text == NULL) {
        build->failed = true;
        return literal("");
    }
    for (size_t i = 0; i < origin.len; i++) { /* of letters, digits, '-', '.', ':', '/' and one '*' */
        if (origin.data[i] == '*') {
            memcpy(text + len, labels.data, labels.len);
            len += labels.len;
            continue;
        }
        if (origin.data[i] == '.')
            text[len++] = '\\';
        text[len++] = origin.data[i];
    }
    text[len] = '\0';
    return text;
}

static pb_string_match *origin_of(struct build *build, struct fl_span origin)
{
    bool any = fl_span_eq_str(origin, "*");
    pb_string_match *match = build_exact(build, origin);
    if (!any && fl_span_find(origin, '*') == origin.len)
        return match;
    match->match_pattern_case = ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_SAFE_REGEX;
    match->safe_regex = new_regex(build);
    match->safe_regex->regex = any ? literal(".*") : expression(build, origin);
    return match;
}

static char *list_of(struct build *build, const struct fl_span *items, size_t count)
{
    char *text = literal("");
    for (size_t i = 0; i < count; i++)
        text = build_textf(build, "%s%s%.*s", text, i > 0 ? ", " : "", FL_SPAN_ARG(items[i]));
    return text;
}

void cors_set(struct generation *generation, pb_route *route, const struct control_cors *cors)
{
    struct build *build = &generation->build;
    pb_cors_policy *policy = new_cors_policy(build);
    pb_route_filter *entry = new_route_filter(build);
    for (size_t i = 0; i < cors->origin_count; i++)
        PUSH(build, policy, allow_origin_string_match, origin_of(build, cors->origins[i]));
    policy->allow_methods = list_of(build, cors->methods, cors->method_count);
    policy->allow_headers = list_of(build, cors->headers, cors->header_count);
    policy->expose_headers = list_of(build, cors->expose, cors->expose_count);
    policy->max_age = build_textf(build, "%u", cors->max_age);
    policy->allow_credentials = build_bool(build, cors->credentials);
    policy->forward_not_matching_preflights = build_bool(build, false);
    entry->key = literal(CORS_FILTER);
    entry->value = build_any(build, &policy->base);
    PUSH(build, route, typed_per_filter_config, entry);
}
