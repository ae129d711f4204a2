#include "common/base/base64.h"

#include <errno.h>

static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
static const char url_marks[2] = {'-', '_'};
static const char plain_marks[2] = {'+', '/'};

static char letter_of(uint32_t value, const char marks[2])
{
    return value < 62 ? letters[value] : marks[value - 62];
}

/* Room for `padding` characters is made too, and not used here. */
static int encode(struct fl_span bytes, const char marks[2], size_t padding, struct fl_buf *out)
{
    if (bytes.len > SIZE_MAX / 4)
        return -EMSGSIZE;
    int result = fl_buf_reserve(out, (bytes.len * 4 + 2) / 3 + padding);
    if (result < 0)
        return result;
    for (size_t at = 0; at < bytes.len; at += 3) {
        size_t count = bytes.len - at < 3 ? bytes.len - at : 3;
        uint32_t group = 0;
        for (size_t i = 0; i < 3; i++)
            group = group << 8 | (i < count ? (uint8_t)bytes.data[at + i] : 0);
        for (size_t i = 0; i <= count; i++)
            out->data[out->len++] = letter_of(group >> (18 - 6 * i) & 63, marks);
    }
    return 0;
}

/* 0 to 63; -1 for any other byte. */
static int value_of(char byte, const char marks[2])
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
static bool decode_group(const char *text, size_t count, const char marks[2], struct fl_buf *out)
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

static int decode(struct fl_span text, const char marks[2], struct fl_buf *out)
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
    return encode(bytes, url_marks, 0, out);
}

int fl_base64url_decode(struct fl_span text, struct fl_buf *out)
{
    return decode(text, url_marks, out);
}

int fl_base64_encode(struct fl_span bytes, struct fl_buf *out)
{
    size_t padding = (3 - bytes.len % 3) % 3;
    int result = encode(bytes, plain_marks, padding, out);
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
