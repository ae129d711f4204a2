#include "control/ca/channel.h"

#include "common/base/spiffeid.h"
#include "common/pki/cert.h"
#include "control/ca/root.h"

#include <errno.h>

#define HEAD       9 /* length, kind, id */
#define FIELDS_MAX 4

struct field {
    enum { END, NUMBER, LARGE, BYTES } type; /* 4 bytes; 8 bytes; 4 of length and the bytes */
    size_t offset;
    uint32_t max; /* of BYTES */
};

#define AT(member) offsetof(struct control_channel_message, member)

static const struct layout {
    enum control_channel_kind kind;
    bool answer;
    struct field fields[FIELDS_MAX];
} layouts[] = {
    {CONTROL_CHANNEL_SIGN,
     false,
     {{NUMBER, AT(validity_s), 0}, {BYTES, AT(identity), FL_SPIFFE_ID_MAX}, {BYTES, AT(key), FL_KEY_PUBLIC_MAX}}},
    {CONTROL_CHANNEL_SERVER, false, {{BYTES, AT(key), FL_KEY_PUBLIC_MAX}}},
    {CONTROL_CHANNEL_READY,
     true,
     {{LARGE, AT(not_after), 0},
      {LARGE, AT(changes), 0},
      {NUMBER, AT(isolated), 0},
      {BYTES, AT(bundle), CONTROL_ROOT_BUNDLE_MAX}}},
    {CONTROL_CHANNEL_FAILED, true, {{BYTES, AT(text), CONTROL_CHANNEL_TEXT_MAX}}},
    {CONTROL_CHANNEL_SIGNED,
     true,
     {{LARGE, AT(not_after), 0},
      {BYTES, AT(serial), FL_CERT_SERIAL_MAX},
      {BYTES, AT(chain), CONTROL_CHANNEL_ANSWER_MAX - 256}}},
    {CONTROL_CHANNEL_REFUSED, true, {{BYTES, AT(text), CONTROL_CHANNEL_TEXT_MAX}}},
};

static const struct layout *layout_of(unsigned kind)
{
    for (size_t i = 0; i < FL_COUNT(layouts); i++) {
        if (layouts[i].kind == kind)
            return &layouts[i];
    }
    return NULL;
}

static int append_number(struct fl_buf *out, uint64_t value, size_t size)
{
    char bytes[8];
    for (size_t i = 0; i < size; i++)
        bytes[i] = (char)(value >> (8 * (size - 1 - i)) & 0xff);
    return fl_buf_append(out, fl_span_make(bytes, size));
}

static int append_field(struct fl_buf *out, const struct field *field, const struct control_channel_message *message)
{
    const void *at = (const char *)message + field->offset;
    if (field->type == NUMBER)
        return append_number(out, *(const uint32_t *)at, 4);
    if (field->type == LARGE)
        return append_number(out, *(const uint64_t *)at, 8);
    struct fl_span bytes = *(const struct fl_span *)at;
    if (bytes.len > field->max && field->offset == AT(text))
        bytes.len = field->max;
    if (bytes.len > field->max)
        return -EMSGSIZE;
    int result = append_number(out, bytes.len, 4);
    return result < 0 ? result : fl_buf_append(out, bytes);
}

static int append_message(const struct control_channel_message *message, const struct layout *layout,
                          struct fl_buf *out)
{
    int result = append_number(out, 0, 4);
    if (result == 0)
        result = append_number(out, message->kind, 1);
    if (result == 0)
        result = append_number(out, message->id, 4);
    for (size_t i = 0; i < FIELDS_MAX && layout->fields[i].type != END && result == 0; i++)
        result = append_field(out, &layout->fields[i], message);
    return result;
}

int control_channel_write(const struct control_channel_message *message, struct fl_buf *out)
{
    size_t before = out->len;
    int result = append_message(message, layout_of(message->kind), out);
    if (result < 0) {
        out->len = before;
        return result;
    }
    size_t len = out->len - before - 4;
    for (size_t i = 0; i < 4; i++)
        out->data[before + i] = (char)(len >> (24 - 8 * i) & 0xff);
    return 0;
}

static bool take_number(struct fl_span *input, size_t size, uint64_t *ret_value)
{
    if (input->len < size)
        return false;
    uint64_t value = 0;
    for (size_t i = 0; i < size; i++)
        value = value << 8 | (uint8_t)input->data[i];
    *input = fl_span_from(*input, size);
    *ret_value = value;
    return true;
}

static bool take_bytes(struct fl_span *input, uint32_t max, struct fl_span *ret_bytes)
{
    uint64_t len;
    if (!take_number(input, 4, &len) || len > max || len > input->len)
        return false;
    *ret_bytes = fl_span_make(input->data, len);
    *input = fl_span_from(*input, len);
    return true;
}

static bool take_field(struct fl_span *input, const struct field *field, struct control_channel_message *message)
{
    void *at = (char *)message + field->offset;
    uint64_t number;
    switch (field->type) {
    case NUMBER:
        if (!take_number(input, 4, &number))
            return false;
        *(uint32_t *)at = (uint32_t)number;
        return true;
    case LARGE:
        return take_number(input, 8, at);
    case BYTES:
        return take_bytes(input, field->max, at);
    case END:
        break;
    }
    return true;
}

int control_channel_read(struct fl_span *input, bool answers, struct control_channel_message *ret_message)
{
    struct fl_span rest = *input;
    uint64_t len, kind, id;
    if (!take_number(&rest, 4, &len))
        return CONTROL_CHANNEL_MORE;
    if (len + 4 > (answers ? CONTROL_CHANNEL_ANSWER_MAX : CONTROL_CHANNEL_REQUEST_MAX) || len + 4 < HEAD)
        return -EBADMSG;
    if (rest.len < len)
        return CONTROL_CHANNEL_MORE;
    struct fl_span body = fl_span_make(rest.data, len);
    if (!take_number(&body, 1, &kind) || !take_number(&body, 4, &id))
        return -EBADMSG;
    const struct layout *layout = layout_of((unsigned)kind);
    if (layout == NULL || layout->answer != answers)
        return -EBADMSG;
    struct control_channel_message message = {.kind = layout->kind, .id = (uint32_t)id};
    for (size_t i = 0; i < FIELDS_MAX && layout->fields[i].type != END; i++) {
        if (!take_field(&body, &layout->fields[i], &message))
            return -EBADMSG;
    }
    if (body.len > 0)
        return -EBADMSG;
    *input = fl_span_from(rest, len);
    *ret_message = message;
    return CONTROL_CHANNEL_MESSAGE;
}
