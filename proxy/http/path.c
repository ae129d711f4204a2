#include "proxy/http/path.h"

#include "proxy/http/octet.h"

#define ESCAPE_SIZE 3u /* "%2F" */
#define NOT_ESCAPED (-1)

static int hex_value(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    return (digit | 0x20) - 'a' + 10;
}

/* The octet that an escape at `at` stands for, or NOT_ESCAPED. */
static int escaped_at(const char *text, size_t len, size_t at)
{
    if (text[at] != '%' || len - at < ESCAPE_SIZE || !proxy_octet_is(text[at + 1], PROXY_OCTET_HEX) ||
        !proxy_octet_is(text[at + 2], PROXY_OCTET_HEX))
        return NOT_ESCAPED;
    return hex_value(text[at + 1]) << 4 | hex_value(text[at + 2]);
}

static bool is_unreserved(int octet)
{
    bool letter = (octet >= 'a' && octet <= 'z') || (octet >= 'A' && octet <= 'Z');
    return letter || (octet >= '0' && octet <= '9') || octet == '-' || octet == '.' || octet == '_' || octet == '~';
}

/* Each step below works in place, on a text that begins with '/' and stays so, and returns its new length. */

static size_t unescape_slashes(char *text, size_t len)
{
    size_t out = 0;
    for (size_t at = 0; at < len;) {
        int octet = escaped_at(text, len, at);
        bool slash = octet == '/' || octet == '\\';
        text[out++] = slash ? (char)octet : text[at];
        at += slash ? ESCAPE_SIZE : 1;
    }
    return out;
}

/* *ret_nul: an escaped NUL is there, which many programs would take for the end. */
static size_t decode_unreserved(char *text, size_t len, bool *ret_nul)
{
    size_t out = 0, open_until = 0; /* hex digits up to there would make an escape of a '%' that was written */
    for (size_t at = 0; at < len;) {
        int octet = escaped_at(text, len, at);
        bool completes = out < open_until && proxy_octet_is((char)octet, PROXY_OCTET_HEX);
        bool decode = octet != NOT_ESCAPED && is_unreserved(octet) && !completes;
        char written = decode ? (char)octet : text[at];
        *ret_nul |= octet == 0;
        if (written == '%')
            open_until = out + ESCAPE_SIZE;
        else if (!proxy_octet_is(written, PROXY_OCTET_HEX))
            open_until = 0;
        text[out++] = written == '\\' ? '/' : written;
        at += decode ? ESCAPE_SIZE : 1;
    }
    return out;
}

/* RFC 3986 §5.2.4. */
static size_t remove_dot_segments(char *text, size_t len)
{
    size_t out = 0;
    for (size_t at = 0, end; at < len; at = end) {
        struct fl_span rest = fl_span_make(text + at + 1, len - at - 1);
        struct fl_span segment = fl_span_make(rest.data, fl_span_find(rest, '/'));
        bool up = fl_span_eq_str(segment, "..");
        end = at + 1 + segment.len;
        if (up || fl_span_eq_str(segment, ".")) {
            while (up && out > 0 && text[--out] != '/')
                continue;
            if (end == len)
                text[out++] = '/';
            continue;
        }
        memmove(text + out, text + at, end - at);
        out += end - at;
    }
    return out;
}

static size_t merge_slashes(char *text, size_t len)
{
    size_t out = 0;
    for (size_t at = 0; at < len; at++) {
        if (text[at] != '/' || out == 0 || text[out - 1] != '/')
            text[out++] = text[at];
    }
    return out;
}

/* Whether any of the steps could find something: most paths pass by this one look. */
static bool is_plain(struct fl_span path)
{
    for (size_t i = 0; i < path.len; i++) {
        char octet = path.data[i];
        if (octet == '%' || octet == '\\')
            return false;
        if ((octet == '/' || octet == '.') && i > 0 && path.data[i - 1] == '/')
            return false;
    }
    return true;
}

enum proxy_path_result proxy_path_apply(const struct proxy_path_rules *rules, struct fl_span path, char *to,
                                        struct fl_span *ret_path)
{
    struct fl_span before = fl_span_make(path.data, fl_span_find(path, '?'));
    if (before.len == 0 || before.data[0] != '/' || is_plain(before))
        return PROXY_PATH_SAME;
    size_t len = before.len;
    memcpy(to, before.data, len);
    if (rules->escaped_slashes != PROXY_SLASHES_KEEP)
        len = unescape_slashes(to, len);
    bool unescaped = len < before.len, nul = false;
    if (unescaped && rules->escaped_slashes == PROXY_SLASHES_REJECT)
        return PROXY_PATH_REFUSED;
    if (rules->normalize) {
        len = decode_unreserved(to, len, &nul);
        len = remove_dot_segments(to, len);
    }
    if (nul)
        return PROXY_PATH_REFUSED;
    if (rules->merge_slashes)
        len = merge_slashes(to, len);
    if (fl_span_eq(before, fl_span_make(to, len)))
        return PROXY_PATH_SAME;
    struct fl_span query = fl_span_from(path, before.len);
    if (query.len > 0)
        memcpy(to + len, query.data, query.len);
    *ret_path = fl_span_make(to, len + query.len);
    return unescaped && rules->escaped_slashes == PROXY_SLASHES_REDIRECT ? PROXY_PATH_REDIRECT : PROXY_PATH_CHANGED;
}

struct fl_span proxy_path_reference(struct fl_span path, char *to)
{
    /* Browsers take "\" for "/". */
    bool host = path.len > 1 && (path.data[1] == '/' || path.data[1] == '\\');
    size_t extra = host ? 2 : 0;
    memcpy(to, "/.", extra);
    memcpy(to + extra, path.data, path.len);
    return fl_span_make(to, extra + path.len);
}
