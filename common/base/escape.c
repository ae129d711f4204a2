#include "common/base/escape.h"

#include "common/base/utf8.h"

#include <stdint.h>
#include <string.h>

static bool plain(unsigned char byte)
{
    return byte >= 0x20 && byte < 0x7f && byte != '"' && byte != '\\';
}

#define EACH(byte) (UINT64_C(0x0101010101010101) * (byte))

/* The highest bit of the first byte of `word` (in memory's order) that is not plain; of those behind it, any. */
static uint64_t find_special(uint64_t word)
{
    uint64_t quote = word ^ EACH('"'), backslash = word ^ EACH('\\'), delete = word ^ EACH(0x7f);
    uint64_t low = (word - EACH(0x20)) & ~word;
    uint64_t same =
        ((quote - EACH(1)) & ~quote) | ((backslash - EACH(1)) & ~backslash) | ((delete - EACH(1)) & ~delete);
    return (word | low | same) & EACH(0x80);
}

size_t fl_json_plain_length(struct fl_span text)
{
    size_t length = 0;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    for (uint64_t word; text.len - length >= sizeof(word); length += sizeof(word)) {
        memcpy(&word, text.data + length, sizeof(word));
        uint64_t special = find_special(word);
        if (special != 0)
            return length + (size_t)__builtin_ctzll(special) / 8;
    }
#endif
    while (length < text.len && plain((unsigned char)text.data[length]))
        length++;
    return length;
}

/* \u00XX for the bytes that JSON must escape; 0x7f too, for the reader's terminal. */
static struct fl_span escape_of(unsigned char byte)
{
#define U(xx) "\\u00" xx
#define ROW(x)                                                                                                         \
    U(x "0"), U(x "1"), U(x "2"), U(x "3"), U(x "4"), U(x "5"), U(x "6"), U(x "7"), U(x "8"), U(x "9"), U(x "a"),      \
        U(x "b"), U(x "c"), U(x "d"), U(x "e"), U(x "f")
    static const char codes[32][7] = {ROW("0"), ROW("1")};
#undef ROW
#undef U
    switch (byte) {
    case '"':
        return FL_SPAN("\\\"");
    case '\\':
        return FL_SPAN("\\\\");
    case '\n':
        return FL_SPAN("\\n");
    case '\r':
        return FL_SPAN("\\r");
    case '\t':
        return FL_SPAN("\\t");
    case 0x7f:
        return FL_SPAN("\\u007f");
    default:
        return fl_span_make(codes[byte & 31], 6);
    }
}

struct fl_span fl_json_escape_next(struct fl_span *rest)
{
    struct fl_span text = *rest;
    size_t run = fl_json_plain_length(text);
    while (run < text.len && (unsigned char)text.data[run] >= 0x80) {
        size_t length = fl_utf8_length(fl_span_from(text, run));
        if (length == 0)
            break;
        run += length + fl_json_plain_length(fl_span_from(text, run + length));
    }
    if (run > 0 || text.len == 0) {
        *rest = fl_span_from(text, run);
        return fl_span_make(text.data, run);
    }
    unsigned char byte = (unsigned char)text.data[0];
    *rest = fl_span_from(text, 1);
    return byte >= 0x80 ? FL_SPAN(FL_UTF8_REPLACEMENT) : escape_of(byte);
}
