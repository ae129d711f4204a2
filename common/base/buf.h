/* struct fl_buf: bytes that grow, up to a maximum that is set at birth.
 *
 * For documents and control traffic; the data path has pools of its own. Every append is all or nothing: on failure
 * the content is what it was. Embedded: fl_buf_init / fl_buf_done (a zeroed struct may be done, and may be read).
 */
#ifndef FL_BASE_BUF_H
#define FL_BASE_BUF_H

#include "common/base/cleanup.h"
#include "common/base/span.h"

#include <stdarg.h>

struct fl_buf {
    char *data; /* owned; NULL until the first append. Not NUL-terminated (see fl_buf_str). */
    size_t len; /* bytes in use */
    size_t cap; /* bytes allocated */
    size_t max; /* len never grows beyond it */
};

/* `max` in bytes; no allocation yet. */
void fl_buf_init(struct fl_buf *buf, size_t max);
void fl_buf_done(struct fl_buf *buf);
/* The same for what held a secret: overwrites it first. (What growing left behind on the way is not; reserve at first.)
 */
void fl_buf_wipe(struct fl_buf *buf);

/* Room for `extra` more bytes. 0, -ENOMEM, or -EMSGSIZE where max would be exceeded. */
int fl_buf_reserve(struct fl_buf *buf, size_t extra) FL_MUST_CHECK;

/* All append functions: 0, -ENOMEM or -EMSGSIZE (the printf ones -EINVAL too, for a format that libc refuses). What is
 * appended must not lie in the buffer itself: growing moves it. */
int fl_buf_append(struct fl_buf *buf, struct fl_span bytes) FL_MUST_CHECK;
int fl_buf_append_str(struct fl_buf *buf, const char *text) FL_MUST_CHECK;
int fl_buf_append_byte(struct fl_buf *buf, char byte) FL_MUST_CHECK;
int fl_buf_printf(struct fl_buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3))) FL_MUST_CHECK;
int fl_buf_vprintf(struct fl_buf *buf, const char *format, va_list arguments)
    __attribute__((format(printf, 2, 0))) FL_MUST_CHECK;

/* Appends `text` as a JSON string, quotes included (RFC 8259 §7; bytes that are not UTF-8 become U+FFFD). */
int fl_buf_append_json_string(struct fl_buf *buf, struct fl_span text) FL_MUST_CHECK;

/* Reads a whole file, in addition to what is there; fd is read to its end. 0, a negative errno, -EMSGSIZE past max. */
int fl_buf_read_fd(struct fl_buf *buf, int fd) FL_MUST_CHECK;
int fl_buf_read_file(struct fl_buf *buf, const char *path) FL_MUST_CHECK;

/* Drops bytes at the front; `count` ≤ len. */
void fl_buf_consume(struct fl_buf *buf, size_t count);
/* Empty, memory kept. */
void fl_buf_clear(struct fl_buf *buf);

static inline struct fl_span fl_buf_span(const struct fl_buf *buf)
{
    return (struct fl_span){buf->data, buf->len};
}

/* The content as a C string (a NUL is put behind it; it does not count). NULL when memory is out. The pointer holds
 * until the next change. */
const char *fl_buf_str(struct fl_buf *buf);

#endif
