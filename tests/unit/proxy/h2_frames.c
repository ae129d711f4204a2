#include "tests/unit/proxy/h2_frames.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const char *const types[] = {"DATA",         "HEADERS", "PRIORITY", "RST",    "SETTINGS",
                                    "PUSH_PROMISE", "PING",    "GOAWAY",   "WINDOW", "CONTINUATION"};

static void put(struct fl_buf *to, struct fl_span bytes)
{
    assert_int_equal(fl_buf_append(to, bytes), 0);
}

static void put_byte(struct fl_buf *to, unsigned byte)
{
    assert_int_equal(fl_buf_append_byte(to, (char)byte), 0);
}

static void put_u32(struct fl_buf *to, uint32_t value)
{
    for (unsigned shift = 32; shift > 0; shift -= 8)
        put_byte(to, value >> (shift - 8) & 255);
}

static uint32_t number(struct fl_span text)
{
    uint64_t value = 0;
    assert_true(fl_span_to_u64(text, UINT32_MAX, &value));
    return (uint32_t)value;
}

/* A string of HPACK, not Huffman-coded. */
static void put_string(struct fl_buf *to, struct fl_span text)
{
    if (text.len < 127) {
        put_byte(to, (unsigned)text.len);
    } else {
        size_t rest = text.len - 127;
        put_byte(to, 127);
        for (; rest >= 128; rest /= 128)
            put_byte(to, 128 + (unsigned)(rest % 128));
        put_byte(to, (unsigned)rest);
    }
    put(to, text);
}

/* "name: value|…"; a name may begin with a colon; \xNN in neither. "^" at a value's start is a space. */
static void put_block(struct fl_buf *to, struct fl_span text)
{
    struct fl_span field;
    while (text.len > 0 && fl_span_split(&text, '|', &field)) {
        size_t colon = 0;
        if (field.len > 0)
            colon = 1 + fl_span_find(fl_span_from(field, 1), ':');
        assert_true(colon < field.len);
        struct fl_span value = fl_span_from(field, colon + 1);
        value = value.len > 0 && value.data[0] == ' ' ? fl_span_from(value, 1) : value;
        char changed[4096];
        assert_true(value.len <= sizeof(changed));
        for (size_t i = 0; i < value.len; i++)
            changed[i] = value.data[i] == '^'   ? ' '
                         : value.data[i] == '`' ? '\r'
                         : value.data[i] == '~' ? '\0'
                                                : value.data[i];
        put_byte(to, 0); /* a literal without indexing, its name a literal too */
        bool nameless = fl_span_starts_with(field, FL_SPAN("()"));
        put_string(to, nameless ? (struct fl_span){NULL, 0} : fl_span_make(field.data, colon));
        put_string(to, fl_span_make(changed, value.len));
    }
}

static unsigned hex(char digit)
{
    const char *digits = "0123456789abcdef", *at = strchr(digits, digit);
    assert_true(digit != '\0' && at != NULL);
    return (unsigned)(at - digits);
}

static void put_hex(struct fl_buf *to, struct fl_span word)
{
    size_t star = fl_span_find(word, '*');
    uint32_t times = 1;
    if (star < word.len) {
        times = number(fl_span_make(word.data, star));
        word = fl_span_from(word, star + 1);
    }
    assert_int_equal(word.len % 2, 0);
    for (; times > 0; times--) {
        for (size_t i = 0; i < word.len; i += 2)
            put_byte(to, hex(word.data[i]) << 4 | hex(word.data[i + 1]));
    }
}

/* One part of a payload; returns what is left. */
static struct fl_span put_part(struct fl_buf *to, struct fl_span text)
{
    char close = text.data[0] == '{' ? '}' : text.data[0] == '\'' ? '\'' : '\0';
    if (close != '\0') {
        size_t end = 1 + fl_span_find(fl_span_from(text, 1), close);
        assert_true(end < text.len);
        struct fl_span inside = fl_span_make(text.data + 1, end - 1);
        if (close == '}')
            put_block(to, inside);
        else
            put(to, inside);
        return fl_span_trim(fl_span_from(text, end + 1));
    }
    size_t end = fl_span_find(text, ' ');
    struct fl_span word = fl_span_make(text.data, end);
    if (fl_span_eq_str(word, "GET"))
        put_block(to, FL_SPAN(":method: GET|:scheme: http|:path: /|:authority: a"));
    else if (fl_span_eq_str(word, "POST"))
        put_block(to, FL_SPAN(":method: POST|:scheme: http|:path: /|:authority: a"));
    else
        put_hex(to, word);
    return fl_span_trim(fl_span_from(text, end));
}

static unsigned flags_of(struct fl_span text)
{
    static const struct {
        const char *name;
        unsigned flag;
    } list[] = {{"es", 1}, {"ack", 1}, {"eh", 4}, {"pad", 8}, {"pri", 32}, {"-", 0}};
    unsigned flags = 0;
    struct fl_span word;
    while (fl_span_split(&text, ',', &word)) {
        size_t i = 0;
        while (i < FL_COUNT(list) && !fl_span_eq_str(word, list[i].name))
            i++;
        assert_true(i < FL_COUNT(list));
        flags |= list[i].flag;
    }
    return flags;
}

static unsigned type_of(struct fl_span name)
{
    for (unsigned i = 0; i < FL_COUNT(types); i++) {
        if (fl_span_eq_str(name, types[i]))
            return i;
    }
    return number(name); /* one that nobody knows */
}

static struct fl_span next_word(struct fl_span *text)
{
    size_t end = fl_span_find(*text, ' ');
    struct fl_span word = fl_span_make(text->data, end);
    *text = fl_span_trim(fl_span_from(*text, end));
    return word;
}

static void put_frame(struct fl_buf *to, struct fl_span text)
{
    struct fl_buf payload;
    fl_buf_init(&payload, 1u << 24);
    struct fl_span name = next_word(&text), flags = next_word(&text), stream = next_word(&text);
    size_t slash = fl_span_find(name, '/');
    uint32_t lie = slash < name.len ? number(fl_span_from(name, slash + 1)) : 0;
    name.len = slash;
    while (text.len > 0)
        text = put_part(&payload, text);
    if (!fl_span_eq_str(name, "RAW")) {
        size_t len = lie != 0 ? lie : payload.len;
        put_byte(to, len >> 16 & 255);
        put_byte(to, len >> 8 & 255);
        put_byte(to, len & 255);
        put_byte(to, type_of(name));
        put_byte(to, flags_of(flags));
        put_u32(to, number(stream));
    }
    put(to, fl_buf_span(&payload));
    fl_buf_done(&payload);
}

void frames_write(struct fl_buf *to, const char *text)
{
    struct fl_span rest = fl_span_str(text), frame;
    while (fl_span_split(&rest, ';', &frame)) {
        frame = fl_span_trim(frame);
        if (fl_span_eq_str(frame, "PREFACE"))
            put(to, FL_SPAN("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
        else if (fl_span_eq_str(frame, "SETTINGS"))
            put(to, FL_SPAN("\0\0\0\4\0\0\0\0\0"));
        else if (frame.len > 0)
            put_frame(to, frame);
    }
}

bool frames_next(struct fl_span *bytes, struct frame_seen *ret_frame)
{
    if (bytes->len < 9)
        return false;
    const unsigned char *head = (const unsigned char *)bytes->data;
    uint32_t len = (uint32_t)head[0] << 16 | (uint32_t)head[1] << 8 | head[2];
    if (bytes->len < 9 + len)
        return false;
    *ret_frame = (struct frame_seen){.type = head[3],
                                     .flags = head[4],
                                     .stream = (uint32_t)head[5] << 24 | (uint32_t)head[6] << 16 |
                                               (uint32_t)head[7] << 8 | head[8],
                                     .len = len,
                                     .payload = fl_span_make(bytes->data + 9, len)};
    *bytes = fl_span_from(*bytes, 9 + len);
    return true;
}
