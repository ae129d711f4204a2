#include "tests/unit/common/h2_raw.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#define MAGIC "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

void h2_raw_frame(struct fl_buf *buf, unsigned type, unsigned flags, uint32_t id, struct fl_span payload)
{
    const char head[9] = {
        (char)(payload.len >> 16), (char)(payload.len >> 8), (char)payload.len, (char)type, (char)flags,
        (char)(id >> 24),          (char)(id >> 16),         (char)(id >> 8),   (char)id};
    assert_int_equal(fl_buf_append(buf, fl_span_make(head, sizeof(head))), 0);
    assert_int_equal(fl_buf_append(buf, payload), 0);
}

void h2_raw_settings(struct fl_buf *buf)
{
    h2_raw_frame(buf, H2_SETTINGS, 0, 0, FL_SPAN(""));
}

void h2_raw_preface(struct fl_buf *buf)
{
    assert_int_equal(fl_buf_append_str(buf, MAGIC), 0);
    h2_raw_settings(buf);
}

static void append_string(struct fl_buf *buf, struct fl_span text)
{
    size_t len = text.len;
    if (len < 127) {
        assert_int_equal(fl_buf_append_byte(buf, (char)len), 0);
    } else {
        assert_int_equal(fl_buf_append_byte(buf, 127), 0);
        for (len -= 127; len >= 128; len /= 128)
            assert_int_equal(fl_buf_append_byte(buf, (char)(128 + len % 128)), 0);
        assert_int_equal(fl_buf_append_byte(buf, (char)len), 0);
    }
    assert_int_equal(fl_buf_append(buf, text), 0);
}

void h2_raw_headers(struct fl_buf *buf, unsigned flags, uint32_t id, const char *lines)
{
    struct fl_buf block;
    struct fl_span rest = fl_span_str(lines), one;
    fl_buf_init(&block, 1u << 20);
    while (rest.len > 0 && fl_span_split(&rest, '\n', &one)) {
        size_t colon = 1 + fl_span_find(fl_span_from(one, 1), ':');
        assert_int_equal(fl_buf_append_byte(&block, 0), 0);
        append_string(&block, fl_span_make(one.data, colon));
        append_string(&block, fl_span_from(one, colon + 2));
    }
    h2_raw_frame(buf, H2_HEADERS, flags | H2_END_HEADERS, id, fl_buf_span(&block));
    fl_buf_done(&block);
}

void h2_raw_request(struct fl_buf *buf, uint32_t id, const char *path)
{
    struct fl_buf lines;
    fl_buf_init(&lines, 4096);
    assert_int_equal(fl_buf_printf(&lines,
                                   ":method: POST\n:scheme: http\n:path: %s\n:authority: x\nte: trailers\n"
                                   "content-type: application/grpc+proto",
                                   path),
                     0);
    h2_raw_headers(buf, 0, id, fl_buf_str(&lines));
    fl_buf_done(&lines);
}

/* Cuts the next frame off. */
static bool next_frame(struct fl_span *bytes, unsigned *ret_type, uint32_t *ret_id, struct fl_span *ret_payload)
{
    const unsigned char *head = (const unsigned char *)bytes->data;
    if (bytes->len < 9)
        return false;
    size_t len = (size_t)head[0] << 16 | (size_t)head[1] << 8 | head[2];
    assert_true(bytes->len >= 9 + len);
    *ret_type = head[3];
    *ret_id = (uint32_t)head[5] << 24 | (uint32_t)head[6] << 16 | (uint32_t)head[7] << 8 | head[8];
    *ret_payload = fl_span_make(bytes->data + 9, len);
    *bytes = fl_span_from(*bytes, 9 + len);
    return true;
}

static struct fl_span without_magic(struct fl_span bytes)
{
    return fl_span_starts_with(bytes, FL_SPAN(MAGIC)) ? fl_span_from(bytes, sizeof(MAGIC) - 1) : bytes;
}

struct fl_span h2_raw_find(struct fl_span bytes, unsigned type, uint32_t id)
{
    unsigned is;
    uint32_t on;
    struct fl_span payload;
    bytes = without_magic(bytes);
    while (next_frame(&bytes, &is, &on, &payload)) {
        if (is == type && on == id)
            return payload;
    }
    return (struct fl_span){NULL, 0};
}

unsigned h2_raw_count(struct fl_span bytes, unsigned type)
{
    unsigned is, count = 0;
    uint32_t on;
    struct fl_span payload;
    bytes = without_magic(bytes);
    while (next_frame(&bytes, &is, &on, &payload))
        count += is == type;
    return count;
}
