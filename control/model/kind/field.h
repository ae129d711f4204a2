/* Row readers for the tables of reader.c's kinds: as those of doc/table.h, but what they read is copied into the
 * object's arena (reader->context is that arena), lists become arrays, and their counts stand beside them. Private to
 * the readers of kinds.
 */
#ifndef CONTROL_MODEL_KIND_FIELD_H
#define CONTROL_MODEL_KIND_FIELD_H

#include "control/model/object.h"

/* Copies a text into the arena. Not for rows. 0, -ENOMEM. */
int control_copy(struct fl_reader *reader, struct fl_span text, struct fl_span *ret_text) FL_MUST_CHECK;
int control_copy_lower(struct fl_reader *reader, struct fl_span text, struct fl_span *ret_text) FL_MUST_CHECK;

/* struct fl_span; row min and max as for fl_read_string. */
int control_read_text(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row);
/* struct fl_span of 1 to 1024 bytes. */
int control_read_short_text(struct fl_reader *reader, const struct fl_json *value, void *field,
                            const struct fl_row *row);
bool control_is_header_name(struct fl_span text);
/* A header's name (RFC 9110 token), lower case; 256 bytes at most. */
int control_read_header_name(struct fl_reader *reader, const struct fl_json *value, void *field,
                             const struct fl_row *row);
/* A header's value: no control characters, no blanks around it. */
int control_read_header_value(struct fl_reader *reader, const struct fl_json *value, void *field,
                              const struct fl_row *row);
/* A DNS name of Kubernetes. */
int control_read_name(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row);
/* A host name, in lower case; "*.example.com" too. */
int control_read_hostname(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row);
/* "1h30m", "10s", "1.5s", "200ms" as uint32_t milliseconds; what is above 0 is at least 1. */
int control_read_duration(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row);
/* The same, more than 0. */
int control_read_period(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row);
/* Port numbers from 1; uint16_t. */
int control_read_port(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row);
/* A response code that may be tried again, 400 to 599; uint16_t. */
int control_read_retry_code(struct fl_reader *reader, const struct fl_json *value, void *field,
                            const struct fl_row *row);
int control_read_labels(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row);
int control_read_selector(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row);
int control_read_cidr(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row);
int control_read_ip(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row);

/* A list: `field` is the pointer to the items, the size_t of their count stands `count_delta` bytes behind it. */
struct control_list {
    size_t size; /* of an item */
    ptrdiff_t count_delta;
    size_t min, max;     /* items */
    const void *initial; /* what each item starts as; NULL: zeroes */
    struct fl_row item;  /* reads one; its name and offset are unused */
};
int control_read_list(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row);

#define CONTROL_COUNT_DELTA(type, items, count) ((ptrdiff_t)offsetof(type, count) - (ptrdiff_t)offsetof(type, items))

/* An object of its own: `field` is the pointer to it, made in the arena. */
struct control_part {
    size_t size;
    const void *initial; /* NULL: zeroes */
    const struct fl_table *table;
};
int control_read_part(struct fl_reader *reader, const struct fl_json *value, void *field, const struct fl_row *row);

/* Milliseconds of a duration's text; false where it is none, or past 2^32 - 1. */
bool control_duration_parse(struct fl_span text, uint32_t *ret_ms);

#endif
