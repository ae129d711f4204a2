#include "common/base/base64.h"

#include <errno.h>

#define LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
static const char url_letters[] = LETTERS "-_", plain_letters[] = LETTERS "+/";
static const char *const url_marks = url_letters + 62, *const plain_marks = plain_letters + 62;

/* Room for `padding` characters is made too, and not used here. */
static int encode(struct fl_span bytes, const char letters[64], size_t padding, struct fl_buf *out)
{
    if (bytes.len > SIZE_MAX / 4)
        return -EMSGSIZE;
    if (bytes.len == 0)
        return 0;
    int result = fl_buf_reserve(out, (bytes.len * 4 + 2) / 3 + padding);
    if (result < 0)
        return result;
    const unsigned char *at = (const unsigned char *)bytes.data, *end = at + bytes.len;
    char *text = out->data + out->len;
    for (; end - at >= 3; at += 3, text += 4) {
        uint32_t group = (uint32_t)at[0] << 16 | (uint32_t)at[1] << 8 | at[2];
        text[0] = letters[group >> 18];
        text[1] = letters[group >> 12 & 63];
        text[2] = letters[group >> 6 & 63];
        text[3] = letters[group & 63];
    }
    if (end > at) {
        uint32_t group = (uint32_t)at[0] << 16 | (end - at > 1 ? (uint32_t)at[1] << 8 : 0);
        *text++ = letters[group >> 18];
        *text++ = letters[group >> 12 & 63];
        if (end - at > 1)
            *text++ = letters[group >> 6 & 63];
    }
    out->len = (size_t)(text - out->data);
    return 0;
}

/* 0 to 63; -1 for any other byte. */
static int value_of(char byte, const char *marks)
{
    if (byte >= 'A' && byte <= 'Z')
        return byte - 'A';
    if (byte >= 'a' && byte <= 'z')
        return byte - 'a' + 26;
    if (byte >= '0' && byte <= '9')
        return byte - '0' + 52;
    return byte == marks[0] ? 62 : byte == marks[1] ? 63 : -1;
}

/* Up to four characters; count is 2 to 4. */
static bool decode_group(const char *text, size_t count, const char *marks, struct fl_buf *out)
{
    uint32_t group = 0;
    for (size_t i = 0; i < 4; i++) {
        int value = i < count ? value_of(text[i], marks) : 0;
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

static int decode(struct fl_span text, const char *marks, struct fl_buf *out)
{
    if (text.len % 4 == 1)
        return -EINVAL;
    int result = fl_buf_reserve(out, text.len / 4 * 3 + 2);
    if (result < 0)
        return result;
    size_t before = out->len;
    for (size_t at = 0; at < text.len; at += 4) {
        if (!decode_group(text.data + at, text.len - at < 4 ? text.len - at : 4, marks, out)) {
            out->len = before;
            return -EINVAL;
        }
    }
    return 0;
}

int fl_base64url_encode(struct fl_span bytes, struct fl_buf *out)
{
    return encode(bytes, url_letters, 0, out);
}

int fl_base64url_decode(struct fl_span text, struct fl_buf *out)
{
    return decode(text, url_marks, out);
}

int fl_base64_encode(struct fl_span bytes, struct fl_buf *out)
{
    size_t padding = (3 - bytes.len % 3) % 3;
    int result = encode(bytes, plain_letters, padding, out);
    for (size_t i = 0; i < padding && result == 0; i++)
        out->data[out->len++] = '=';
    return result;
}

int fl_base64_decode(struct fl_span text, struct fl_buf *out)
{
    if (text.len % 4 != 0)
        return -EINVAL;
    for (int padding = 0; padding < 2 && text.len > 0 && text.data[text.len - 1] == '='; padding++)
        text.len--;
    return decode(text, plain_marks, out);
}
