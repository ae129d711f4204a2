#include "proxy/route/match.h"

#include "proxy/http/h1.h"

/* As much as the fields of one head can hold together. */
#define JOIN_MAX (PROXY_H1_HEAD_MAX + 1)

static bool equal(struct fl_span a, struct fl_span b, bool ignore_case)
{
    return ignore_case ? fl_span_eq_nocase(a, b) : fl_span_eq(a, b);
}

static bool contains(struct fl_span text, struct fl_span part, bool ignore_case)
{
    if (!ignore_case)
        return part.len == 0 || (text.len > 0 && memmem(text.data, text.len, part.data, part.len) != NULL);
    for (size_t at = 0; part.len <= text.len && at <= text.len - part.len; at++) {
        if (fl_span_eq_nocase(fl_span_make(text.data + at, part.len), part))
            return true;
    }
    return false;
}

bool proxy_string_match(const struct proxy_string_match *match, struct fl_span text)
{
    struct fl_span want = match->text;
    if (match->kind == PROXY_STRING_REGEX)
        return fl_pattern_matches(match->pattern, text);
    if (want.len > text.len)
        return false;
    switch (match->kind) {
    case PROXY_STRING_EXACT:
        return equal(text, want, match->ignore_case);
    case PROXY_STRING_PREFIX:
        return equal(fl_span_make(text.data, want.len), want, match->ignore_case);
    case PROXY_STRING_SUFFIX:
        return equal(fl_span_from(text, text.len - want.len), want, match->ignore_case);
    case PROXY_STRING_CONTAINS:
        return contains(text, want, match->ignore_case);
    case PROXY_STRING_REGEX:
        break;
    }
    return false;
}

/* [ "-" | "+" ] digits, as a signed 64-bit number. */
static bool to_i64(struct fl_span text, int64_t *ret_number)
{
    bool negative = text.len > 0 && text.data[0] == '-';
    bool sign = negative || (text.len > 0 && text.data[0] == '+');
    uint64_t number;
    if (!fl_span_to_u64(fl_span_from(text, sign ? 1 : 0), (uint64_t)INT64_MAX + (negative ? 1 : 0), &number))
        return false;
    *ret_number = negative ? (int64_t)(0 - number) : (int64_t)number;
    return true;
}

static bool value_match(const struct proxy_header_match *match, struct fl_span value)
{
    int64_t number;
    switch (match->kind) {
    case PROXY_VALUE_PRESENT:
        return true;
    case PROXY_VALUE_STRING:
        return proxy_string_match(&match->string, value);
    case PROXY_VALUE_RANGE:
        return to_i64(value, &number) && number >= match->range_start && number < match->range_end;
    }
    return false;
}

/* The fields of that name from `first` on, joined. Apart for its big local: it holds any value that a head can have. */
static __attribute__((noinline)) bool joined_match(const struct proxy_header_match *match,
                                                   const struct proxy_headers *headers,
                                                   const struct proxy_header *first)
{
    char joined[JOIN_MAX];
    size_t len = 0;
    enum proxy_header_id id = (enum proxy_header_id)first->id;
    for (const struct proxy_header *field = first; field != NULL;
         field = proxy_headers_next(headers, id, match->name, field)) {
        if (field->value.len + 1 > sizeof(joined) - len)
            return false;
        if (field != first)
            joined[len++] = ',';
        if (field->value.len > 0)
            memcpy(joined + len, field->value.data, field->value.len);
        len += field->value.len;
    }
    return value_match(match, fl_span_make(joined, len));
}

/* A pseudo field of HTTP/2 (RFC 9113 §8.3.1); false where it is absent. */
static bool pseudo(struct fl_span name, const struct proxy_message *request, struct fl_span *ret_value)
{
    if (fl_span_eq_str(name, ":method"))
        *ret_value = request->method;
    else if (fl_span_eq_str(name, ":path"))
        *ret_value = request->path;
    else if (fl_span_eq_str(name, ":authority"))
        *ret_value = request->authority;
    else if (fl_span_eq_str(name, ":scheme"))
        *ret_value = request->scheme.len > 0 ? request->scheme : FL_SPAN("http");
    else
        return false;
    return ret_value->len > 0;
}

/* Where the field is absent. Envoy's rule: only "present" can be inverted into a match; a value is then not looked at.
 */
static bool absent_match(const struct proxy_header_match *match)
{
    if (match->missing_as_empty)
        return value_match(match, FL_SPAN("")) != match->invert;
    return match->kind == PROXY_VALUE_PRESENT && match->invert;
}

bool proxy_header_match(const struct proxy_header_match *match, const struct proxy_message *request)
{
    if (match->name.len > 0 && match->name.data[0] == ':') {
        struct fl_span value;
        return pseudo(match->name, request, &value) ? value_match(match, value) != match->invert : absent_match(match);
    }
    enum proxy_header_id id = proxy_header_id(match->name);
    const struct proxy_header *first = proxy_headers_next(&request->headers, id, match->name, NULL);
    if (first == NULL)
        return absent_match(match);
    bool single = proxy_headers_next(&request->headers, id, match->name, first) == NULL;
    bool matched = single ? value_match(match, first->value) : joined_match(match, &request->headers, first);
    return matched != match->invert;
}

bool proxy_header_match_single(const struct proxy_header_match *match, const struct proxy_message *request)
{
    enum proxy_header_id id = proxy_header_id(match->name);
    const struct proxy_header *field = NULL;
    while ((field = proxy_headers_next(&request->headers, id, match->name, field)) != NULL) {
        if (value_match(match, field->value))
            return true;
    }
    return false;
}

bool proxy_query_match(const struct proxy_query_match *match, struct fl_span query)
{
    struct fl_span parameter;
    for (size_t i = 0; i < PROXY_QUERY_PARAMETERS_MAX && query.data != NULL; i++) {
        if (!fl_span_split(&query, '&', &parameter))
            break;
        size_t equals = fl_span_find(parameter, '=');
        if (!fl_span_eq(fl_span_make(parameter.data, equals), match->name))
            continue;
        struct fl_span value = equals < parameter.len ? fl_span_from(parameter, equals + 1) : FL_SPAN("");
        return match->kind == PROXY_VALUE_PRESENT || proxy_string_match(&match->string, value);
    }
    return false;
}
