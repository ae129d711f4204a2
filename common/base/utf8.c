#include "common/base/utf8.h"

static size_t length_by_first_byte(unsigned char first)
{
    if (first < 0x80)
        return 1;
    if (first >= 0xc2 && first <= 0xdf)
        return 2;
    if (first >= 0xe0 && first <= 0xef)
        return 3;
    return first >= 0xf0 && first <= 0xf4 ? 4 : 0;
}

/* Overlong forms, surrogates and what lies past U+10FFFF show in the second byte. */
static bool second_byte_fits(unsigned char first, unsigned char second)
{
    switch (first) {
    case 0xe0:
        return second >= 0xa0;
    case 0xed:
        return second <= 0x9f;
    case 0xf0:
        return second >= 0x90;
    case 0xf4:
        return second <= 0x8f;
    default:
        return true;
    }
}

size_t fl_utf8_length(struct fl_span text)
{
    if (text.len == 0)
        return 0;
    const unsigned char *bytes = (const unsigned char *)text.data;
    size_t length = length_by_first_byte(bytes[0]);
    if (length == 0 || length > text.len)
        return 0;
    for (size_t i = 1; i < length; i++) {
        if ((bytes[i] & 0xc0) != 0x80)
            return 0;
    }
    return length > 1 && !second_byte_fits(bytes[0], bytes[1]) ? 0 : length;
}

size_t fl_utf8_encode(uint32_t code_point, char ret_bytes[4])
{
    if (code_point > 0x10ffff || (code_point >= 0xd800 && code_point <= 0xdfff))
        return 0;
    if (code_point < 0x80) {
        ret_bytes[0] = (char)code_point;
        return 1;
    }
    size_t length = code_point < 0x800 ? 2 : code_point < 0x10000 ? 3 : 4;
    static const unsigned char first[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = length; i-- > 1; code_point >>= 6)
        ret_bytes[i] = (char)(0x80 | (code_point & 0x3f));
    ret_bytes[0] = (char)(first[length] | code_point);
    return length;
}

struct fl_span fl_utf8_cut(struct fl_span text, size_t max)
{
    if (text.len <= max)
        return text;
    size_t len = max;
    /* Back to the first byte of the sequence that the cut would split; it has at most 3 bytes before the cut. */
    while (len > 0 && max - len < 3 && ((unsigned char)text.data[len] & 0xc0) == 0x80)
        len--;
    bool split = fl_utf8_length(fl_span_from(text, len)) > max - len;
    return fl_span_make(text.data, split ? len : max);
}
