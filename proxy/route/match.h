/* Matchers: of strings, header fields and query parameters (Envoy's StringMatcher, HeaderMatcher, QueryParameterMatcher
 * in the subset that we have; regular expressions, with bounds, in routes alone).
 *
 * Plain immutable data, filled by config and copied by the route table. Pure; bounded by the size of the head: a field
 * that comes several times is matched as one value joined by "," (RFC 9110 §5.3); a query is cut into parameters
 * without decoding, at most PROXY_QUERY_PARAMETERS_MAX of them are looked at.
 */
#ifndef PROXY_ROUTE_MATCH_H
#define PROXY_ROUTE_MATCH_H

#include "common/regex/pattern.h"
#include "proxy/http/message.h"

#define PROXY_QUERY_PARAMETERS_MAX 1000

enum proxy_string_kind {
    PROXY_STRING_EXACT,
    PROXY_STRING_PREFIX,
    PROXY_STRING_SUFFIX,
    PROXY_STRING_CONTAINS,
    PROXY_STRING_REGEX, /* the whole value */
};

struct proxy_string_match {
    enum proxy_string_kind kind;
    bool ignore_case; /* ASCII */
    struct fl_span text;
    const struct fl_pattern *pattern; /* REGEX: what the route table made of the text */
};

enum proxy_value_kind {
    PROXY_VALUE_PRESENT, /* the field or parameter is there, with any value */
    PROXY_VALUE_STRING,
    PROXY_VALUE_RANGE, /* header alone: a decimal integer (with sign) in [start, end) */
};

struct proxy_header_match {
    struct fl_span name; /* any case; ":method", ":path", ":authority" and ":scheme" as in HTTP/2 */
    enum proxy_value_kind kind;
    struct proxy_string_match string;
    int64_t range_start, range_end;
    bool invert;           /* the result is turned round; an absent field matches then only for PRESENT, as in Envoy */
    bool missing_as_empty; /* treat_missing_header_as_empty: an absent field is one with an empty value */
};

struct proxy_query_match {
    struct fl_span name; /* compared byte by byte with what stands before '=' */
    enum proxy_value_kind kind;
    struct proxy_string_match string;
};

bool proxy_string_match(const struct proxy_string_match *match, struct fl_span text);
bool proxy_header_match(const struct proxy_header_match *match, const struct proxy_message *request);
/* Whether one of the fields of that name matches by itself; `invert` is not looked at. */
bool proxy_header_match_single(const struct proxy_header_match *match, const struct proxy_message *request);
/* `query` without '?'. The first parameter of that name counts (Envoy's rule). */
bool proxy_query_match(const struct proxy_query_match *match, struct fl_span query);

#endif
