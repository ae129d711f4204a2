/* JSON documents: a tree of values over cJSON, with the strictness that input from outside needs (DESIGN.md 15).
 *
 * - Member names are matched exactly, byte by byte (cJSON's plain look-up ignores case; the lint bans it).
 * - A name twice in one object is refused; so is U+0000 (raw or escaped) anywhere, because C strings would be cut at
 * it; so are bytes after the value, invalid UTF-8, nesting deeper and text longer than the limits.
 * - Errors name the path: "$.spec.containers[0].ports: expected an array, got a string".
 * - The tree is also what YAML is read into (doc/yaml.h) and what a patch works on (doc/patch.h).
 *
 * Ownership: a tree is owned through its root; fl_json_free takes a root only. A value handed to a set/append/insert
 * function belongs to the tree from then on, also when that function fails (it is freed then).
 */
#ifndef FL_DOC_JSON_H
#define FL_DOC_JSON_H

#include "common/base/buf.h"
#include "common/base/err.h"

struct fl_json; /* one value; opaque (a cJSON item) */

enum fl_json_kind { FL_JSON_NULL, FL_JSON_BOOL, FL_JSON_NUMBER, FL_JSON_STRING, FL_JSON_ARRAY, FL_JSON_OBJECT };

#define FL_JSON_DEPTH_DEFAULT 64

struct fl_json_limits {
    size_t bytes_max;   /* of the text */
    unsigned depth_max; /* levels of arrays and objects; 0: FL_JSON_DEPTH_DEFAULT */
};

/* 0 with an owned tree; -EINVAL (err tells byte offset or path), -EMSGSIZE (too long), -ENOMEM. */
int fl_json_parse(struct fl_span text, const struct fl_json_limits *limits, struct fl_json **ret_root,
                  struct fl_err *err) FL_MUST_CHECK;
struct fl_json *fl_json_free(struct fl_json *root); /* returns NULL */
void fl_cleanup_json(struct fl_json **root);        /* FL_CLEANUP(fl_cleanup_json) */

enum fl_json_kind fl_json_kind(const struct fl_json *value);
const char *fl_json_kind_name(enum fl_json_kind kind); /* "an object", "a string" … for messages */
static inline bool fl_json_is(const struct fl_json *value, enum fl_json_kind kind)
{
    return value != NULL && fl_json_kind(value) == kind;
}

/* Look-ups answer NULL for what is not there, also when `value` is NULL or of another kind: they can be chained. */
struct fl_json *fl_json_get(const struct fl_json *object, const char *name); /* exact name */
struct fl_json *fl_json_get_span(const struct fl_json *object, struct fl_span name);
struct fl_json *fl_json_at(const struct fl_json *array, size_t index);
size_t fl_json_count(const struct fl_json *container); /* members or elements; 0 for anything else */
/* for (v = fl_json_first(c); v != NULL; v = fl_json_next(v)) */
struct fl_json *fl_json_first(const struct fl_json *container);
struct fl_json *fl_json_next(const struct fl_json *value);
struct fl_span fl_json_name(const struct fl_json *member); /* its member name; empty for elements and roots */

/* Values; a wrong kind (or NULL) gives the empty span, 0, false. */
struct fl_span fl_json_string(const struct fl_json *value); /* NUL-terminated as well */
double fl_json_number(const struct fl_json *value);
bool fl_json_bool(const struct fl_json *value);
/* A whole number in [min, max] (|n| ≤ 2^53); false (nothing set) otherwise. */
bool fl_json_int(const struct fl_json *value, int64_t min, int64_t max, int64_t *ret_number);

/* Making values: NULL when memory is out. */
struct fl_json *fl_json_new_null(void);
struct fl_json *fl_json_new_bool(bool value);
struct fl_json *fl_json_new_int(int64_t value);
struct fl_json *fl_json_new_number(double value);
struct fl_json *fl_json_new_string(struct fl_span text); /* NULL also where text holds a NUL */
struct fl_json *fl_json_new_array(void);
struct fl_json *fl_json_new_object(void);
struct fl_json *fl_json_copy(const struct fl_json *value); /* deep */

/* Building. `value` may be NULL (out of memory upstream): answered -ENOMEM, so that calls can be nested.
 * 0, -ENOMEM, -EINVAL (container of another kind), -ENOENT (index). A member that exists is replaced in its place. */
int fl_json_set(struct fl_json *object, const char *name, struct fl_json *value) FL_MUST_CHECK;
int fl_json_set_span(struct fl_json *object, struct fl_span name, struct fl_json *value) FL_MUST_CHECK;
int fl_json_append(struct fl_json *array, struct fl_json *value) FL_MUST_CHECK;
int fl_json_insert(struct fl_json *array, size_t index, struct fl_json *value) FL_MUST_CHECK; /* index ≤ count */
/* Removes and frees; -ENOENT where it is not there. */
int fl_json_remove(struct fl_json *object, struct fl_span name) FL_MUST_CHECK;
int fl_json_remove_at(struct fl_json *array, size_t index) FL_MUST_CHECK;
/* Takes it out of its container; the caller owns it. NULL where it is not there. */
struct fl_json *fl_json_detach(struct fl_json *object, struct fl_span name);
struct fl_json *fl_json_detach_at(struct fl_json *array, size_t index);

/* Same meaning: members in any order, numbers by value. */
bool fl_json_equal(const struct fl_json *a, const struct fl_json *b);

/* Appends the text, without white space. 0, -ENOMEM, -EMSGSIZE. Names are NUL-terminated, so
 * fl_json_print is the inverse of fl_json_parse up to white space and number format. */
int fl_json_print(const struct fl_json *value, struct fl_buf *out) FL_MUST_CHECK;

#endif
