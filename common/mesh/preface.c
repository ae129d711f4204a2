#include "common/mesh/preface.h"

#include "common/base/utf8.h"

#include <errno.h>

#define MAGIC       "FLP\x01"
#define MAGIC_LEN   4
#define FIELD_HEAD  3 /* u8 type, u16 length */
#define CONTROL_MAX 0x1f
#define DELETE_BYTE 0x7f

static uint16_t read_u16(const char *bytes)
{
    return (uint16_t)((unsigned char)bytes[0] << 8 | (unsigned char)bytes[1]);
}

/* Bytes of the text that may be sent: UTF-8 without control characters (C1 ones too), cut at `max`. */
static size_t good_length(struct fl_span text, size_t max)
{
    size_t length = 0;
    while (length < text.len) {
        struct fl_span rest = fl_span_from(text, length);
        size_t step = fl_utf8_length(rest);
        unsigned char first = (unsigned char)rest.data[0];
        if (step == 0 || first <= CONTROL_MAX || first == DELETE_BYTE ||
            (first == 0xc2 && (unsigned char)rest.data[1] < 0xa0) || length + step > max)
            break;
        length += step;
    }
    return length;
}

static int append_u16(struct fl_buf *out, size_t value)
{
    const char bytes[2] = {(char)(value >> 8), (char)(value & 0xff)};
    return fl_buf_append(out, fl_span_make(bytes, sizeof(bytes)));
}

static int append_field(struct fl_buf *out, size_t type, struct fl_span value)
{
    int result = fl_buf_append_byte(out, (char)type);
    if (result == 0)
        result = append_u16(out, value.len);
    return result < 0 ? result : fl_buf_append(out, value);
}

static int append_all(const struct fl_preface *sent, size_t body, struct fl_buf *out)
{
    int result = fl_buf_append(out, fl_span_make(MAGIC, MAGIC_LEN));
    if (result == 0)
        result = append_u16(out, body);
    for (size_t type = 1; result == 0 && type < FL_PREFACE_FIELDS; type++) {
        if (sent->fields[type].len > 0)
            result = append_field(out, type, sent->fields[type]);
    }
    return result;
}

int fl_preface_print(const struct fl_preface *preface, struct fl_buf *out)
{
    struct fl_preface sent = {0};
    size_t body = 0, before = out->len;
    for (size_t type = 1; type < FL_PREFACE_FIELDS; type++) {
        struct fl_span value = preface->fields[type];
        size_t room = FL_PREFACE_BODY_MAX - body;
        size_t max = room < FIELD_HEAD ? 0 : room - FIELD_HEAD;
        value.len = good_length(value, max < FL_PREFACE_VALUE_MAX ? max : FL_PREFACE_VALUE_MAX);
        if (value.len == 0)
            continue;
        sent.fields[type] = value;
        body += FIELD_HEAD + value.len;
    }
    int result = append_all(&sent, body, out);
    if (result < 0)
        out->len = before;
    return result;
}

static int read_field(struct fl_span *body, struct fl_preface *preface, uint32_t *seen, struct fl_err *err)
{
    if (body->len < FIELD_HEAD)
        return fl_err_set(err, -EPROTO, "preface: a field is cut off");
    unsigned type = (unsigned char)body->data[0];
    size_t length = read_u16(body->data + 1);
    if (length > body->len - FIELD_HEAD)
        return fl_err_set(err, -EPROTO, "preface: a field of %zu bytes where %zu are left", length,
                          body->len - FIELD_HEAD);
    struct fl_span value = fl_span_make(body->data + FIELD_HEAD, length);
    *body = fl_span_from(*body, FIELD_HEAD + length);
    if (seen[type / 32] >> type % 32 & 1)
        return fl_err_set(err, -EPROTO, "preface: field %u stands twice", type);
    seen[type / 32] |= 1u << type % 32;
    if (type == 0 || type >= FL_PREFACE_FIELDS)
        return 0;
    if (length > FL_PREFACE_VALUE_MAX)
        return fl_err_set(err, -EPROTO, "preface: field %u is longer than %d bytes", type, FL_PREFACE_VALUE_MAX);
    if (good_length(value, length) != length)
        return fl_err_set(err, -EPROTO, "preface: field %u is not text", type);
    preface->fields[type] = value;
    return 0;
}

/* Whether what is there of the head can become one: a wrong byte is told at once, not after waiting for the rest. */
static bool magic_fits(struct fl_span bytes)
{
    size_t length = bytes.len < MAGIC_LEN ? bytes.len : MAGIC_LEN;
    return length == 0 || memcmp(bytes.data, MAGIC, length) == 0;
}

int fl_preface_parse(struct fl_span bytes, struct fl_preface *ret_preface, size_t *ret_size, struct fl_err *err)
{
    if (!magic_fits(bytes))
        return fl_err_set(err, -EPROTO, "preface: wrong magic or version");
    if (bytes.len < FL_PREFACE_HEAD)
        return FL_PREFACE_MORE;
    size_t length = read_u16(bytes.data + MAGIC_LEN);
    if (length > FL_PREFACE_BODY_MAX)
        return fl_err_set(err, -EPROTO, "preface: %zu bytes, more than %d", length, FL_PREFACE_BODY_MAX);
    if (bytes.len < FL_PREFACE_HEAD + length)
        return FL_PREFACE_MORE;
    struct fl_span body = fl_span_make(bytes.data + FL_PREFACE_HEAD, length);
    struct fl_preface preface = {0};
    uint32_t seen[256 / 32] = {0};
    while (body.len > 0) {
        int result = read_field(&body, &preface, seen, err);
        if (result < 0)
            return result;
    }
    *ret_preface = preface;
    *ret_size = FL_PREFACE_HEAD + length;
    return FL_PREFACE_DONE;
}
