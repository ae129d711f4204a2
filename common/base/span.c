#include "common/base/span.h"

#include <stdlib.h>

static unsigned char lower(char byte)
{
    unsigned char value = (unsigned char)byte;
    return value >= 'A' && value <= 'Z' ? (unsigned char)(value | 0x20) : value;
}

int fl_span_compare(struct fl_span a, struct fl_span b)
{
    size_t shorter = a.len < b.len ? a.len : b.len;
    int order = shorter > 0 ? memcmp(a.data, b.data, shorter) : 0;
    if (order != 0)
        return order;
    return a.len == b.len ? 0 : a.len < b.len ? -1 : 1;
}

bool fl_span_eq_nocase(struct fl_span a, struct fl_span b)
{
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++) {
        if (lower(a.data[i]) != lower(b.data[i]))
            return false;
    }
    return true;
}

bool fl_span_starts_with(struct fl_span span, struct fl_span prefix)
{
    return span.len >= prefix.len && fl_span_eq(fl_span_make(span.data, prefix.len), prefix);
}

bool fl_span_ends_with(struct fl_span span, struct fl_span suffix)
{
    return span.len >= suffix.len && fl_span_eq(fl_span_from(span, span.len - suffix.len), suffix);
}

struct fl_span fl_span_trim(struct fl_span span)
{
    while (span.len > 0 && (span.data[0] == ' ' || span.data[0] == '\t'))
        span = fl_span_from(span, 1);
    while (span.len > 0 && (span.data[span.len - 1] == ' ' || span.data[span.len - 1] == '\t'))
        span.len--;
    return span;
}

size_t fl_span_find(struct fl_span span, char byte)
{
    if (span.len == 0)
        return 0;
    const char *found = memchr(span.data, byte, span.len);
    return found != NULL ? (size_t)(found - span.data) : span.len;
}

bool fl_span_split(struct fl_span *rest, char separator, struct fl_span *ret_part)
{
    if (rest->data == NULL)
        return false;
    size_t at = fl_span_find(*rest, separator);
    *ret_part = fl_span_make(rest->data, at);
    *rest = at < rest->len ? fl_span_from(*rest, at + 1) : (struct fl_span){NULL, 0};
    return true;
}

bool fl_span_to_u64(struct fl_span span, uint64_t max, uint64_t *ret_value)
{
    if (span.len == 0)
        return false;
    uint64_t value = 0;
    for (size_t i = 0; i < span.len; i++) {
        if (span.data[i] < '0' || span.data[i] > '9')
            return false;
        uint64_t digit = (uint64_t)(span.data[i] - '0');
        if (value > (UINT64_MAX - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    if (value > max)
        return false;
    *ret_value = value;
    return true;
}

char *fl_span_dup(struct fl_span span)
{
    if (span.len > 0 && memchr(span.data, '\0', span.len) != NULL)
        return NULL;
    char *copy = malloc(span.len + 1);
    if (copy == NULL)
        return NULL;
    if (span.len > 0)
        memcpy(copy, span.data, span.len);
    copy[span.len] = '\0';
    return copy;
}
