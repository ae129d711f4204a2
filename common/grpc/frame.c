#include "common/grpc/frame.h"

#include <errno.h>

enum { FLAG_COMPRESSED = 1 };

void fl_grpc_reader_init(struct fl_grpc_reader *reader, size_t max)
{
    *reader = (struct fl_grpc_reader){.max = max};
    fl_buf_init(&reader->message, max);
}

void fl_grpc_reader_done(struct fl_grpc_reader *reader)
{
    fl_buf_done(&reader->message);
}

static int check_head(struct fl_grpc_reader *reader)
{
    const uint8_t *head = reader->head;
    if (head[0] > FLAG_COMPRESSED)
        return -EBADMSG;
    if (head[0] == FLAG_COMPRESSED)
        return -ENOTSUP;
    reader->size = (uint32_t)head[1] << 24 | (uint32_t)head[2] << 16 | (uint32_t)head[3] << 8 | head[4];
    return reader->size <= reader->max ? 0 : -EMSGSIZE;
}

/* 1 once the head is complete. */
static int read_head(struct fl_grpc_reader *reader, struct fl_span *bytes)
{
    if (reader->head_len == FL_GRPC_HEAD_SIZE)
        return 1;
    size_t count = (size_t)(FL_GRPC_HEAD_SIZE - reader->head_len);
    if (count > bytes->len)
        count = bytes->len;
    if (count > 0)
        memcpy(reader->head + reader->head_len, bytes->data, count);
    *bytes = fl_span_from(*bytes, count);
    reader->head_len = (uint8_t)(reader->head_len + count);
    if (reader->head_len < FL_GRPC_HEAD_SIZE)
        return 0;
    int result = check_head(reader);
    return result < 0 ? result : 1;
}

static void begin_next(struct fl_grpc_reader *reader)
{
    if (reader->whole) {
        fl_buf_done(&reader->message);
        fl_buf_init(&reader->message, reader->max);
        reader->whole = false;
        reader->head_len = 0;
    }
}

int fl_grpc_reader_next(struct fl_grpc_reader *reader, struct fl_span *bytes, struct fl_span *ret_message)
{
    begin_next(reader);
    int result = read_head(reader, bytes);
    if (result <= 0)
        return result < 0 ? result : FL_GRPC_READ_MORE;
    size_t left = reader->size - reader->message.len;
    size_t count = left < bytes->len ? left : bytes->len;
    struct fl_span part = {bytes->data, count};
    bool direct = reader->message.len == 0 && count == left;
    if (!direct) {
        result = fl_buf_append(&reader->message, part);
        if (result < 0)
            return result;
    }
    *bytes = fl_span_from(*bytes, count);
    if (count < left)
        return FL_GRPC_READ_MORE;
    reader->whole = true;
    *ret_message = direct ? part : fl_buf_span(&reader->message);
    return FL_GRPC_READ_MESSAGE;
}

bool fl_grpc_reader_is_between(const struct fl_grpc_reader *reader)
{
    return reader->whole || reader->head_len == 0;
}

int fl_grpc_frame_append(struct fl_buf *buf, struct fl_span message)
{
    if (message.len > UINT32_MAX)
        return -EMSGSIZE;
    int result = fl_buf_reserve(buf, FL_GRPC_HEAD_SIZE + message.len);
    if (result < 0)
        return result;
    uint32_t size = (uint32_t)message.len;
    const char head[FL_GRPC_HEAD_SIZE] = {0, (char)(size >> 24), (char)(size >> 16), (char)(size >> 8), (char)size};
    result = fl_buf_append(buf, fl_span_make(head, sizeof(head)));
    return result < 0 ? result : fl_buf_append(buf, message);
}
