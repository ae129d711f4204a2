#include "common/xds/scalar.h"

#include <inttypes.h>

bool fl_xds_parse_u64(struct fl_span text, uint64_t *ret_value)
{
    return fl_span_to_u64(text, UINT64_MAX, ret_value);
}

bool fl_xds_parse_i64(struct fl_span text, int64_t *ret_value)
{
    bool negative = text.len > 0 && text.data[0] == '-';
    uint64_t magnitude;
    if (!fl_span_to_u64(negative ? fl_span_from(text, 1) : text, negative ? (uint64_t)INT64_MAX + 1 : INT64_MAX,
                        &magnitude))
        return false;
    *ret_value = negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
    return true;
}

/* -- base64 (RFC 4648 §4, §5) -- */

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static int digit_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '+' || c == '-')
        return 62;
    if (c == '/' || c == '_')
        return 63;
    return -1;
}

size_t fl_xds_base64_bound(size_t len)
{
    return len / 4 * 3 + 3;
}

bool fl_xds_base64_decode(struct fl_span text, char *to, size_t *ret_len)
{
    size_t len = text.len, padding = 0;
    while (len > 0 && padding < 2 && text.data[len - 1] == '=') {
        len--;
        padding++;
    }
    if (len % 4 == 1 || (padding > 0 && (len + padding) % 4 != 0))
        return false;
    uint32_t bits = 0;
    unsigned count = 0;
    size_t out = 0;
    for (size_t i = 0; i < len; i++) {
        int value = digit_value(text.data[i]);
        if (value < 0)
            return false;
        bits = bits << 6 | (uint32_t)value;
        count += 6;
        if (count >= 8) {
            count -= 8;
            to[out++] = (char)(bits >> count & 0xff);
        }
    }
    *ret_len = out;
    return true;
}

int fl_xds_base64_print(struct fl_span bytes, struct fl_buf *out)
{
    int result = 0;
    for (size_t i = 0; i < bytes.len && result == 0; i += 3) {
        size_t rest = bytes.len - i;
        uint32_t bits = (uint32_t)(unsigned char)bytes.data[i] << 16;
        if (rest > 1)
            bits |= (uint32_t)(unsigned char)bytes.data[i + 1] << 8;
        if (rest > 2)
            bits |= (unsigned char)bytes.data[i + 2];
        char text[4] = {alphabet[bits >> 18], alphabet[bits >> 12 & 63], rest > 1 ? alphabet[bits >> 6 & 63] : '=',
                        rest > 2 ? alphabet[bits & 63] : '='};
        result = fl_buf_append(out, fl_span_make(text, sizeof(text)));
    }
    return result;
}

/* -- durations -- */

bool fl_xds_duration_parse(struct fl_span text, int64_t *ret_seconds, int32_t *ret_nanos)
{
    if (text.len < 2 || text.data[text.len - 1] != 's')
        return false;
    text.len--;
    bool negative = text.data[0] == '-';
    if (negative)
        text = fl_span_from(text, 1);
    size_t point = fl_span_find(text, '.');
    uint64_t seconds, fraction = 0;
    if (!fl_span_to_u64(fl_span_make(text.data, point), FL_XDS_DURATION_SECONDS_MAX, &seconds))
        return false;
    if (point < text.len) {
        struct fl_span digits = fl_span_from(text, point + 1);
        if (digits.len > 9 || !fl_span_to_u64(digits, 999999999, &fraction))
            return false;
        for (size_t i = digits.len; i < 9; i++)
            fraction *= 10;
    }
    if (seconds == FL_XDS_DURATION_SECONDS_MAX && fraction > 0)
        return false;
    *ret_seconds = negative ? -(int64_t)seconds : (int64_t)seconds;
    *ret_nanos = negative ? -(int32_t)fraction : (int32_t)fraction;
    return true;
}

int fl_xds_duration_print(int64_t seconds, int32_t nanos, struct fl_buf *out)
{
    bool negative = seconds < 0 || nanos < 0;
    uint64_t whole = seconds < 0 ? 0 - (uint64_t)seconds : (uint64_t)seconds;
    uint32_t part = nanos < 0 ? 0 - (uint32_t)nanos : (uint32_t)nanos;
    const char *sign = negative ? "-" : "";
    if (part == 0)
        return fl_buf_printf(out, "%s%" PRIu64 "s", sign, whole);
    if (part % 1000000 == 0)
        return fl_buf_printf(out, "%s%" PRIu64 ".%03us", sign, whole, part / 1000000);
    if (part % 1000 == 0)
        return fl_buf_printf(out, "%s%" PRIu64 ".%06us", sign, whole, part / 1000);
    return fl_buf_printf(out, "%s%" PRIu64 ".%09us", sign, whole, part);
}
