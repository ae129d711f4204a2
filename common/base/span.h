/* struct fl_span: bytes that somebody else owns; pointer and length, never NUL-terminated by promise.
 *
 * The currency of every sans-I/O parser here. A span is valid as long as the memory that it points into.
 */
#ifndef FL_BASE_SPAN_H
#define FL_BASE_SPAN_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct fl_span {
    const char *data; /* may be NULL where len is 0 */
    size_t len;       /* bytes */
};

#define FL_SPAN(literal) ((struct fl_span){"" literal, sizeof(literal) - 1})
/* For printf's "%.*s"; stops at a NUL, as printf does. */
#define FL_SPAN_ARG(span) (int)((span).len < INT_MAX ? (span).len : INT_MAX), (span).data

static inline struct fl_span fl_span_make(const void *data, size_t len)
{
    return (struct fl_span){(const char *)data, len};
}

/* The span of a C string without its NUL; empty for NULL. */
static inline struct fl_span fl_span_str(const char *text)
{
    return (struct fl_span){text, text != NULL ? strlen(text) : 0};
}

static inline bool fl_span_eq(struct fl_span a, struct fl_span b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static inline bool fl_span_eq_str(struct fl_span a, const char *b)
{
    return fl_span_eq(a, fl_span_str(b));
}

/* Everything from offset on; `offset` ≤ len. */
static inline struct fl_span fl_span_from(struct fl_span span, size_t offset)
{
    return offset > 0 ? (struct fl_span){span.data + offset, span.len - offset} : span;
}

/* ASCII letters alone are folded: "Host" equals "hOST". */
/* By bytes, as strcmp orders: < 0, 0, > 0; the shorter of two that begin alike comes first. */
int fl_span_compare(struct fl_span a, struct fl_span b);
bool fl_span_eq_nocase(struct fl_span a, struct fl_span b);
bool fl_span_starts_with(struct fl_span span, struct fl_span prefix);
bool fl_span_ends_with(struct fl_span span, struct fl_span suffix);

/* Without the spaces and tabs at both ends. */
struct fl_span fl_span_trim(struct fl_span span);

/* Position of the first `byte`, or span.len where there is none. */
size_t fl_span_find(struct fl_span span, char byte);

/* Cuts *rest at the first `separator`: *ret_part is what stood before it, *rest what follows. At the end *rest gets
 * data == NULL. False once there was nothing left. An empty text is one empty part. */
bool fl_span_split(struct fl_span *rest, char separator, struct fl_span *ret_part);

/* Decimal digits alone, no sign, no space, ≤ max. False (and nothing set) otherwise. */
bool fl_span_to_u64(struct fl_span span, uint64_t max, uint64_t *ret_value);

/* A NUL-terminated copy from malloc; NULL when memory is out or the span holds a NUL (a NUL shortens nothing). */
char *fl_span_dup(struct fl_span span);

#endif
