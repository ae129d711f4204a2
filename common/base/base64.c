#include "common/base/base64.h"

#include <errno.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

int fl_base64url_encode(struct fl_span bytes, struct fl_buf *out)
{
    if (bytes.len > SIZE_MAX / 4)
        return -EMSGSIZE;
    int result = fl_buf_reserve(out, (bytes.len * 4 + 2) / 3);
    if (result < 0)
        return result;
    for (size_t at = 0; at < bytes.len; at += 3) {
        size_t count = bytes.len - at < 3 ? bytes.len - at : 3;
        uint32_t group = 0;
        for (size_t i = 0; i < 3; i++)
            group = group << 8 | (i < count ? (uint8_t)bytes.data[at + i] : 0);
        for (size_t i = 0; i <= count; i++)
            out->data[out->len++] = alphabet[group >> (18 - 6 * i) & 63];
    }
    return 0;
}

/* 0 to 63; -1 for any other byte. */
static int value_of(char byte)
{
    if (byte >= 'A' && byte <= 'Z')
        return byte - 'A';
    if (byte >= 'a' && byte <= 'z')
        return byte - 'a' + 26;
    if (byte >= '0' && byte <= '9')
        return byte - '0' + 52;
    return byte == '-' ? 62 : byte == '_' ? 63 : -1;
}

/* Up to four characters; count is 2 to 4. */
static bool decode_group(const char *text, size_t count, struct fl_buf *out)
{
    uint32_t group = 0;
    for (size_t i = 0; i < 4; i++) {
        int value = i < count ? value_of(text[i]) : 0;
        if (value < 0)
            return false;
        group = group << 6 | (uint32_t)value;
    }
    uint32_t spare = count == 4 ? 0 : count == 3 ? 0xff : 0xffff;
    if ((group & spare) != 0)
        return false;
    for (size_t i = 0; i + 1 < count; i++)
        out->data[out->len++] = (char)(group >> (16 - 8 * i) & 0xff);
    return true;
}

int fl_base64url_decode(struct fl_span text, struct fl_buf *out)
{
    if (text.len % 4 == 1)
        return -EINVAL;
    int result = fl_buf_reserve(out, text.len / 4 * 3 + 2);
    if (result < 0)
        return result;
    size_t before = out->len;
    for (size_t at = 0; at < text.len; at += 4) {
        if (!decode_group(text.data + at, text.len - at < 4 ? text.len - at : 4, out)) {
            out->len = before;
            return -EINVAL;
        }
    }
    return 0;
}
