#include "common/base/buf.h"

#include "common/base/escape.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>

#define FIRST_CAPACITY 256

void fl_buf_init(struct fl_buf *buf, size_t max)
{
    *buf = (struct fl_buf){.max = max};
}

void fl_buf_done(struct fl_buf *buf)
{
    free(buf->data);
    *buf = (struct fl_buf){0};
}

void fl_buf_wipe(struct fl_buf *buf)
{
    if (buf->data != NULL)
        explicit_bzero(buf->data, buf->cap);
    fl_buf_done(buf);
}

/* Grows the allocation to at least `need` bytes: up to max, and one byte more for fl_buf_str and its like. Doubling
 * stops there, so that max bounds the memory too. */
static int grow(struct fl_buf *buf, size_t need)
{
    if (need <= buf->cap)
        return 0;
    size_t cap = buf->cap > 0 ? buf->cap : FIRST_CAPACITY;
    while (cap < need)
        cap = cap > SIZE_MAX / 2 ? need : cap * 2;
    if (cap > buf->max && need <= buf->max)
        cap = buf->max;
    char *data = realloc(buf->data, cap);
    if (data == NULL)
        return -ENOMEM;
    buf->data = data;
    buf->cap = cap;
    return 0;
}

int fl_buf_reserve(struct fl_buf *buf, size_t extra)
{
    if (extra > buf->max - buf->len)
        return -EMSGSIZE;
    return grow(buf, buf->len + extra);
}

int fl_buf_append(struct fl_buf *buf, struct fl_span bytes)
{
    int result = fl_buf_reserve(buf, bytes.len);
    if (result < 0)
        return result;
    if (bytes.len > 0)
        memcpy(buf->data + buf->len, bytes.data, bytes.len);
    buf->len += bytes.len;
    return 0;
}

int fl_buf_append_str(struct fl_buf *buf, const char *text)
{
    return fl_buf_append(buf, fl_span_str(text));
}

int fl_buf_append_byte(struct fl_buf *buf, char byte)
{
    return fl_buf_append(buf, fl_span_make(&byte, 1));
}

int fl_buf_vprintf(struct fl_buf *buf, const char *format, va_list arguments)
{
    va_list again;
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, again);
    va_end(again);
    if (length < 0)
        return -EINVAL;
    if ((size_t)length > buf->max - buf->len)
        return -EMSGSIZE;
    int result = grow(buf, buf->len + (size_t)length + 1);
    if (result < 0)
        return result;
    vsnprintf(buf->data + buf->len, (size_t)length + 1, format, arguments);
    buf->len += (size_t)length;
    return 0;
}

int fl_buf_printf(struct fl_buf *buf, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int result = fl_buf_vprintf(buf, format, arguments);
    va_end(arguments);
    return result;
}

int fl_buf_append_json_string(struct fl_buf *buf, struct fl_span text)
{
    size_t before = buf->len;
    if (text.len < buf->max && before + text.len + 2 <= (buf->cap < buf->max ? buf->cap : buf->max) &&
        fl_json_plain_length(text) == text.len) {
        char *at = buf->data + before; /* the usual case, where room is */
        *at = '"';
        if (text.len > 0)
            memcpy(at + 1, text.data, text.len);
        at[text.len + 1] = '"';
        buf->len += text.len + 2;
        return 0;
    }
    int result = fl_buf_append_byte(buf, '"');
    while (result == 0 && text.len > 0)
        result = fl_buf_append(buf, fl_json_escape_next(&text));
    if (result == 0)
        result = fl_buf_append_byte(buf, '"');
    if (result < 0)
        buf->len = before;
    return result;
}

int fl_buf_read_fd(struct fl_buf *buf, int fd)
{
    size_t before = buf->len;
    for (;;) {
        size_t room = buf->max - buf->len;
        size_t chunk = room < 16384 ? room + 1 : 16384; /* one byte past max tells "too long" from "just fits" */
        int result = grow(buf, buf->len + chunk);
        if (result < 0) {
            buf->len = before;
            return result;
        }
        ssize_t count = read(fd, buf->data + buf->len, chunk);
        if (count < 0 && errno == EINTR)
            continue;
        if (count == 0)
            return 0;
        if (count < 0 || (size_t)count > room) {
            buf->len = before;
            return count < 0 ? -errno : -EMSGSIZE;
        }
        buf->len += (size_t)count;
    }
}

int fl_buf_read_file(struct fl_buf *buf, const char *path)
{
    FL_CLEANUP(fl_cleanup_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -errno : fl_buf_read_fd(buf, fd);
}

void fl_buf_consume(struct fl_buf *buf, size_t count)
{
    buf->len -= count;
    if (buf->len > 0)
        memmove(buf->data, buf->data + count, buf->len);
}

void fl_buf_clear(struct fl_buf *buf)
{
    buf->len = 0;
}

const char *fl_buf_str(struct fl_buf *buf)
{
    if (grow(buf, buf->len + 1) < 0)
        return NULL;
    buf->data[buf->len] = '\0';
    return buf->data;
}
