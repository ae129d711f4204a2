/* StringMatcher, HeaderMatcher, QueryParameterMatcher, RouteMatch → the structs of route/match.h and route/table.h.
 * What they point to lies in scratch memory: whoever keeps a matcher copies its texts. */
#include "proxy/config/context.h"

int compile_string_value(struct compile *compile, const pb_string_match *message, struct proxy_string_match *match)
{
    int result = compile->patterns ? COMPILE_REFUSE(compile, message, "custom")
                                   : COMPILE_REFUSE(compile, message, "safe_regex", "custom");
    if (result != 0)
        return result;
    match->ignore_case = message->ignore_case != 0;
    switch ((int)message->match_pattern_case) {
    case ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_EXACT:
        match->kind = PROXY_STRING_EXACT;
        match->text = fl_span_str(message->exact);
        break;
    case ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_PREFIX:
        match->kind = PROXY_STRING_PREFIX;
        match->text = fl_span_str(message->prefix);
        break;
    case ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_SUFFIX:
        match->kind = PROXY_STRING_SUFFIX;
        match->text = fl_span_str(message->suffix);
        break;
    case ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_SAFE_REGEX:
        match->kind = PROXY_STRING_REGEX;
        match->text = fl_span_str(message->safe_regex->regex);
        break;
    default:
        match->kind = PROXY_STRING_CONTAINS;
        match->text = fl_span_str(message->contains);
        break;
    }
    if (match->text.len == 0 && match->kind != PROXY_STRING_EXACT)
        return compile_fail(compile, "must not be empty: it would match every value");
    return 0;
}

int compile_string_match(struct compile *compile, const char *field, const pb_string_match *message,
                         struct proxy_string_match *match)
{
    struct compile_mark mark = compile_enter(compile, field);
    int result = compile_string_value(compile, message, match);
    if (result == 0)
        compile_leave(compile, mark);
    return result;
}

static int set_string(struct compile *compile, const char *field, enum proxy_string_kind kind, const char *text,
                      struct proxy_header_match *match)
{
    match->kind = PROXY_VALUE_STRING;
    match->string = (struct proxy_string_match){.kind = kind, .text = fl_span_str(text)};
    return kind == PROXY_STRING_EXACT ? 0 : compile_required(compile, field, text);
}

#define HEADER(name) ENVOY__CONFIG__ROUTE__V3__HEADER_MATCHER__HEADER_MATCH_SPECIFIER_##name

static int read_header_value(struct compile *compile, const pb_header_match *message, struct proxy_header_match *match)
{
    switch ((int)message->header_match_specifier_case) {
    case HEADER(EXACT_MATCH):
        return set_string(compile, "exact_match", PROXY_STRING_EXACT, message->exact_match, match);
    case HEADER(PREFIX_MATCH):
        return set_string(compile, "prefix_match", PROXY_STRING_PREFIX, message->prefix_match, match);
    case HEADER(SUFFIX_MATCH):
        return set_string(compile, "suffix_match", PROXY_STRING_SUFFIX, message->suffix_match, match);
    case HEADER(CONTAINS_MATCH):
        return set_string(compile, "contains_match", PROXY_STRING_CONTAINS, message->contains_match, match);
    case HEADER(SAFE_REGEX_MATCH):
        return set_string(compile, "safe_regex_match", PROXY_STRING_REGEX, message->safe_regex_match->regex, match);
    case HEADER(STRING_MATCH):
        match->kind = PROXY_VALUE_STRING;
        return compile_string_match(compile, "string_match", message->string_match, &match->string);
    case HEADER(RANGE_MATCH):
        match->kind = PROXY_VALUE_RANGE;
        match->range_start = message->range_match->start;
        match->range_end = message->range_match->end;
        return 0;
    case HEADER(PRESENT_MATCH): /* false: it must be absent */
        match->invert = match->invert != !message->present_match;
        match->kind = PROXY_VALUE_PRESENT;
        return 0;
    default:
        match->kind = PROXY_VALUE_PRESENT;
        return 0;
    }
}

int compile_header_match(struct compile *compile, const pb_header_match *message, struct proxy_header_match *match)
{
    int result = compile->patterns ? 0 : COMPILE_REFUSE(compile, message, "safe_regex_match");
    if (result == 0)
        result = compile_required(compile, "name", message->name);
    if (result != 0)
        return result;
    *match = (struct proxy_header_match){.name = fl_span_str(message->name),
                                         .invert = message->invert_match != 0,
                                         .missing_as_empty = message->treat_missing_header_as_empty != 0};
    return read_header_value(compile, message, match);
}

static int read_query_match(struct compile *compile, const pb_query_match *message, struct proxy_query_match *match)
{
    int result = compile_required(compile, "name", message->name);
    if (result != 0)
        return result;
    *match = (struct proxy_query_match){.name = fl_span_str(message->name), .kind = PROXY_VALUE_PRESENT};
    switch ((int)message->query_parameter_match_specifier_case) {
    case ENVOY__CONFIG__ROUTE__V3__QUERY_PARAMETER_MATCHER__QUERY_PARAMETER_MATCH_SPECIFIER_STRING_MATCH:
        match->kind = PROXY_VALUE_STRING;
        return compile_string_match(compile, "string_match", message->string_match, &match->string);
    case ENVOY__CONFIG__ROUTE__V3__QUERY_PARAMETER_MATCHER__QUERY_PARAMETER_MATCH_SPECIFIER_PRESENT_MATCH:
        return message->present_match ? 0 : compile_fail_at(compile, "present_match", "false is not supported");
    default:
        return 0;
    }
}

#define MATCH(name) ENVOY__CONFIG__ROUTE__V3__ROUTE_MATCH__PATH_SPECIFIER_##name

int compile_route_match(struct compile *compile, const pb_route_match *message, struct proxy_route_match *match)
{
    int result = compile->patterns ? COMPILE_ONLY(compile, message, "prefix", "path", "path_separated_prefix",
                                                  "safe_regex", "case_sensitive", "headers", "query_parameters")
                                   : COMPILE_ONLY(compile, message, "prefix", "path", "path_separated_prefix",
                                                  "case_sensitive", "headers", "query_parameters");
    struct proxy_header_match *headers = fl_arena_array(&compile->scratch, message->n_headers, sizeof(*headers));
    struct proxy_query_match *queries =
        fl_arena_array(&compile->scratch, message->n_query_parameters, sizeof(*queries));
    if (result == 0 && (headers == NULL || queries == NULL))
        result = compile_no_memory(compile);
    for (size_t i = 0; result == 0 && i < message->n_headers; i++) {
        struct compile_mark mark = compile_enter_at(compile, "headers", i);
        result = compile_header_match(compile, message->headers[i], &headers[i]);
        if (result == 0)
            compile_leave(compile, mark);
    }
    for (size_t i = 0; result == 0 && i < message->n_query_parameters; i++) {
        struct compile_mark mark = compile_enter_at(compile, "query_parameters", i);
        result = read_query_match(compile, message->query_parameters[i], &queries[i]);
        if (result == 0)
            compile_leave(compile, mark);
    }
    *match = (struct proxy_route_match){.ignore_case = !compile_bool(message->case_sensitive, true),
                                        .headers = headers,
                                        .header_count = message->n_headers,
                                        .queries = queries,
                                        .query_count = message->n_query_parameters};
    if (message->path_specifier_case == MATCH(PATH)) {
        match->path_kind = PROXY_PATH_EXACT;
        match->path = fl_span_str(message->path);
    } else if (message->path_specifier_case == MATCH(PATH_SEPARATED_PREFIX)) {
        match->path_kind = PROXY_PATH_SEPARATED_PREFIX;
        match->path = fl_span_str(message->path_separated_prefix);
    } else if (message->path_specifier_case == MATCH(SAFE_REGEX)) {
        match->path_kind = PROXY_PATH_REGEX;
        match->path = fl_span_str(message->safe_regex->regex);
    } else if (message->path_specifier_case == MATCH(PREFIX)) {
        match->path_kind = PROXY_PATH_PREFIX;
        match->path = fl_span_str(message->prefix);
    }
    return result;
}
