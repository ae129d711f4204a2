/* Reading a document into a struct by a table of rows {name, reader, offset, flags}: the one way in which this project
 * reads configuration and API objects. Errors name the path, and file:line:column where positions are known:
 *
 *     mesh.yaml:7:12: $.outbound.port: expected a whole number from 1 to 65535, got a string
 *
 * The readers for common types stand here; a component adds its own with the same signature. Strings are borrowed from
 * the document (struct fl_span), so the document outlives the struct, or its owner copies.
 */
#ifndef FL_DOC_TABLE_H
#define FL_DOC_TABLE_H

#include "common/doc/json.h"

struct fl_positions; /* of a YAML document; opaque */

struct fl_position {
    unsigned line, column; /* 1-based; 0 where unknown */
};

/* Filled by yaml.c alone; NULL positions and unknown values give {0, 0}. */
struct fl_position fl_positions_find(const struct fl_positions *positions, const struct fl_json *value);
const char *fl_positions_file(const struct fl_positions *positions); /* NULL for NULL */

#define FL_TABLE_PATH_MAX 256

/* Where the reader is; handed to row readers for their errors. */
struct fl_reader {
    const struct fl_positions *positions; /* NULL: JSON */
    struct fl_err *err;
    char path[FL_TABLE_PATH_MAX]; /* "$.spec.containers[2]"; cut with "…" where it is longer */
    size_t path_len;
    void *context; /* the caller's, for its own readers */
    /* Where tables that ignore unknown members say which they were, as errors would read, the first of each object,
     * with "; " between them and as far as the buffer reaches; NULL: nobody asks. */
    struct fl_buf *notes;
};

void fl_reader_init(struct fl_reader *reader, const struct fl_positions *positions, struct fl_err *err);

/* Steps into a member or element for the time of a nested read; restores with the returned mark. */
size_t fl_reader_enter(struct fl_reader *reader, struct fl_span member);
size_t fl_reader_enter_at(struct fl_reader *reader, size_t index);
void fl_reader_leave(struct fl_reader *reader, size_t mark);

/* "<position><path>: <format…>" into reader->err; returns -EINVAL. `value` gives the position (NULL: none). */
int fl_reader_fail(struct fl_reader *reader, const struct fl_json *value, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* What a reader says about a value of the wrong kind or range: "expected <wanted>, got <the value>". */
int fl_reader_expected(struct fl_reader *reader, const struct fl_json *value, const char *wanted);

struct fl_row {
    const char *name; /* member name, exact */
    int (*read)(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row);
    size_t offset;      /* of the field in the struct */
    unsigned flags;     /* FL_ROW_… */
    int64_t min, max;   /* for number readers (both 0: the type's own range) and for the length of strings */
    const void *detail; /* for readers that need more: a sub-table, an enum's names … */
};

#define FL_ROW_REQUIRED 1u /* its absence (or null) is an error */
#define FL_ROW_NULL_OK  2u /* null counts as absent; without it null is an error. FL_ROW_REQUIRED wins. */
#define FL_ROW_NULL     4u /* null is a value of its own, and handed to the reader */

enum fl_table_unknown { FL_TABLE_REFUSE_UNKNOWN, FL_TABLE_IGNORE_UNKNOWN };

struct fl_table {
    const struct fl_row *rows;     /* ends with a row whose name is NULL */
    enum fl_table_unknown unknown; /* our own files refuse unknown keys; foreign objects are read leniently */
};

/* Reads `object` into `target` by rows. 0 or -EINVAL (-ENOMEM). Fields of absent members stay as they are (so defaults
 * are set before). On failure the struct may be half filled: the caller drops it. */
int fl_table_read(struct fl_reader *reader, const struct fl_json *object, const struct fl_table *table,
                  void *target) FL_MUST_CHECK;

/* Row readers. Numbers are whole ones (1.0 is); int64_t reaches from -2^53 to 2^53. Field types: */
int fl_read_bool(struct fl_reader *reader, const struct fl_json *value, void *field,
                 const struct fl_row *row); /* bool */
int fl_read_u16(struct fl_reader *reader, const struct fl_json *value, void *field,
                const struct fl_row *row); /* uint16_t */
int fl_read_u32(struct fl_reader *reader, const struct fl_json *value, void *field,
                const struct fl_row *row); /* uint32_t */
int fl_read_i64(struct fl_reader *reader, const struct fl_json *value, void *field,
                const struct fl_row *row); /* int64_t */
int fl_read_string(struct fl_reader *reader, const struct fl_json *value, void *field,
                   const struct fl_row *row); /* fl_span, borrowed */
int fl_read_object(struct fl_reader *reader, const struct fl_json *value, void *field,
                   const struct fl_row *row); /* nested: detail is a struct fl_table */
int fl_read_json(struct fl_reader *reader, const struct fl_json *value, void *field,
                 const struct fl_row *row); /* const struct fl_json *, borrowed, any kind */
int fl_read_array(struct fl_reader *reader, const struct fl_json *value, void *field,
                  const struct fl_row *row); /* const struct fl_json *, an array */
int fl_read_map(struct fl_reader *reader, const struct fl_json *value, void *field,
                const struct fl_row *row); /* const struct fl_json *, an object */
/* detail: const char *const * of names ending with NULL; the field (int) gets the index. */
int fl_read_enum(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row);

#endif
