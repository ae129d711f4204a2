#include "common/regex/pattern.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#define DEPTH_MAX  2000 /* of nested backtracking */
#define HEAP_KIB   512  /* that one look may take for it */
#define PARENS_MAX 32
#define ERROR_TEXT 128

struct fl_pattern {
    pcre2_code *code;
    pcre2_match_context *limits;
    size_t size;
    uint32_t groups;
};

static int compile(struct fl_pattern *pattern, struct fl_span text, struct fl_err *err)
{
    PCRE2_SIZE at = 0;
    int code = 0;
    PCRE2_UCHAR reason[ERROR_TEXT] = "";
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    if (context == NULL)
        return -ENOMEM;
    pcre2_set_parens_nest_limit(context, PARENS_MAX);
    pattern->code =
        pcre2_compile((PCRE2_SPTR)text.data, text.len, PCRE2_NEVER_UTF | PCRE2_NEVER_BACKSLASH_C | PCRE2_DOLLAR_ENDONLY,
                      &code, &at, context);
    pcre2_compile_context_free(context);
    if (pattern->code != NULL)
        return 0;
    if (code == PCRE2_ERROR_NOMEMORY || code == 121 /* the same, at compile time */)
        return -ENOMEM;
    pcre2_get_error_message(code, reason, sizeof(reason));
    return fl_err_set(err, -EINVAL, "no regular expression, at its octet %zu: %s", at, (const char *)reason);
}

int fl_pattern_new(struct fl_span text, struct fl_pattern **ret_pattern, struct fl_err *err)
{
    if (text.len == 0 || text.len > FL_PATTERN_MAX)
        return fl_err_set(err, -EINVAL, "a regular expression has 1 to %d octets", FL_PATTERN_MAX);
    struct fl_pattern *pattern = calloc(1, sizeof(*pattern));
    int result = pattern != NULL ? compile(pattern, text, err) : -ENOMEM;
    if (result == 0)
        pattern->limits = pcre2_match_context_create(NULL);
    if (result == 0 && pattern->limits == NULL)
        result = -ENOMEM;
    if (result < 0) {
        fl_pattern_free(pattern);
        return result == -ENOMEM ? fl_err_set(err, -ENOMEM, "out of memory") : result;
    }
    pcre2_set_match_limit(pattern->limits, FL_PATTERN_STEPS_MAX);
    pcre2_set_depth_limit(pattern->limits, DEPTH_MAX);
    pcre2_set_heap_limit(pattern->limits, HEAP_KIB);
    pcre2_pattern_info(pattern->code, PCRE2_INFO_SIZE, &pattern->size);
    pcre2_pattern_info(pattern->code, PCRE2_INFO_CAPTURECOUNT, &pattern->groups);
    *ret_pattern = pattern;
    return 0;
}

struct fl_pattern *fl_pattern_free(struct fl_pattern *pattern)
{
    if (pattern == NULL)
        return NULL;
    pcre2_match_context_free(pattern->limits);
    pcre2_code_free(pattern->code);
    free(pattern);
    return NULL;
}

size_t fl_pattern_size(const struct fl_pattern *pattern)
{
    return sizeof(*pattern) + pattern->size;
}

/* An empty span may have no address, which PCRE2 does not take. */
static PCRE2_SPTR octets(struct fl_span text)
{
    return (PCRE2_SPTR)(text.len > 0 ? text.data : "");
}

bool fl_pattern_matches(const struct fl_pattern *pattern, struct fl_span text)
{
    pcre2_match_data *data = pcre2_match_data_create(1, NULL);
    if (data == NULL)
        return false;
    int found = pcre2_match(pattern->code, octets(text), text.len, 0, PCRE2_ANCHORED | PCRE2_ENDANCHORED, data,
                            pattern->limits);
    pcre2_match_data_free(data);
    return found >= 0;
}

int fl_pattern_check(const struct fl_pattern *pattern, struct fl_span substitution, struct fl_err *err)
{
    for (size_t i = 0; i < substitution.len; i++) {
        if (substitution.data[i] != '\\')
            continue;
        char next = ++i < substitution.len ? substitution.data[i] : '\0';
        if (next == '\\')
            continue;
        if (next < '0' || next > '9')
            return fl_err_set(err, -EINVAL, "a substitution has \\0 to \\9 for groups and \\\\ for a backslash");
        if ((uint32_t)(next - '0') > pattern->groups)
            return fl_err_set(err, -EINVAL, "the substitution names group %c, and the pattern has %u", next,
                              pattern->groups);
    }
    return 0;
}

struct writer {
    char *at, *end;
};

static bool put(struct writer *writer, struct fl_span text)
{
    if (text.len > (size_t)(writer->end - writer->at))
        return false;
    if (text.len > 0)
        memcpy(writer->at, text.data, text.len);
    writer->at += text.len;
    return true;
}

/* A group that took no part is empty. */
static struct fl_span group_of(const pcre2_match_data *data, struct fl_span text, unsigned group)
{
    pcre2_match_data *own = (pcre2_match_data *)(uintptr_t)data; /* PCRE2 asks for no const */
    PCRE2_SIZE *places = pcre2_get_ovector_pointer(own);
    PCRE2_SIZE start = places[2 * group], end = places[2 * group + 1];
    return start == PCRE2_UNSET || end < start ? (struct fl_span){NULL, 0}
                                               : fl_span_make(text.data + start, end - start);
}

static bool put_substitution(struct writer *writer, const pcre2_match_data *data, struct fl_span text,
                             struct fl_span substitution)
{
    bool fits = true;
    for (size_t i = 0; i < substitution.len && fits; i++) {
        struct fl_span piece = fl_span_make(substitution.data + i, 1);
        if (piece.data[0] == '\\' && i + 1 < substitution.len) {
            char next = substitution.data[++i];
            piece = next == '\\' ? piece : group_of(data, text, (unsigned)(next - '0'));
        }
        fits = put(writer, piece);
    }
    return fits;
}

static int replace(const struct fl_pattern *pattern, struct fl_span text, struct fl_span substitution,
                   pcre2_match_data *data, struct writer *writer)
{
    size_t at = 0;
    while (at <= text.len) {
        int found = pcre2_match(pattern->code, octets(text), text.len, at, 0, data, pattern->limits);
        if (found == PCRE2_ERROR_NOMATCH)
            break;
        if (found < 0)
            return found == PCRE2_ERROR_NOMEMORY ? -ENOMEM : -E2BIG;
        PCRE2_SIZE start = pcre2_get_ovector_pointer(data)[0], end = pcre2_get_ovector_pointer(data)[1];
        if (start < at || end < start) /* \K in a lookahead: no place to go on from */
            return -E2BIG;
        if (!put(writer, fl_span_make(text.data + at, start - at)) ||
            !put_substitution(writer, data, text, substitution))
            return -EMSGSIZE;
        at = end;
        if (end > start)
            continue;
        if (end < text.len && !put(writer, fl_span_make(text.data + end, 1)))
            return -EMSGSIZE;
        at++;
    }
    return at >= text.len || put(writer, fl_span_from(text, at)) ? 0 : -EMSGSIZE;
}

int fl_pattern_replace(const struct fl_pattern *pattern, struct fl_span text, struct fl_span substitution, char *to,
                       size_t size, struct fl_span *ret_text)
{
    struct writer writer = {to, to + size};
    pcre2_match_data *data = pcre2_match_data_create(FL_PATTERN_GROUPS_MAX + 1, NULL);
    if (data == NULL)
        return -ENOMEM;
    int result = replace(pattern, text, substitution, data, &writer);
    pcre2_match_data_free(data);
    if (result == 0)
        *ret_text = fl_span_make(to, (size_t)(writer.at - to));
    return result;
}
