/* JSON documents: a tree of values over cJSON, with the strictness that input from outside needs.
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

#define FL_JSON_BYTES_DEFAULT  (1u << 20)
#define FL_JSON_DEPTH_DEFAULT  64
#define FL_JSON_DEPTH_MAX      512        /* of any tree: what is built deeper can only be freed */
#define FL_JSON_VALUES_DEFAULT (1u << 18) /* some 100 bytes of memory each */

/* For each, 0 is the default; NULL for the struct is all defaults. */
struct fl_json_limits {
    size_t bytes_max;   /* of the text */
    unsigned depth_max; /* levels of arrays and objects: [[]] has two; FL_JSON_DEPTH_MAX at most */
    size_t values_max;  /* scalars, arrays and objects of all levels */
    bool nul_replaced;  /* an escaped U+0000 becomes U+FFFD instead of being refused: for a text whose sender cannot
                           answer for every string in it */
};

/* 0 with an owned tree; -EINVAL (err tells byte offset and path), -EMSGSIZE (past a limit), -ENOMEM. */
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
double fl_json_number(const struct fl_json *value);         /* the nearest double; infinite past all of them */
#define FL_JSON_NUMBER_ROOM 32
/* A number's text: as it was read, or as a new one is printed. It may point into `room`. Empty for another kind. */
struct fl_span fl_json_number_text(const struct fl_json *value, char room[FL_JSON_NUMBER_ROOM]);
bool fl_json_bool(const struct fl_json *value);
/* A whole number in [min, max] (|n| ≤ 2^53), exactly; false (nothing set) otherwise. 1.0 and 1e3 are whole. */
bool fl_json_int(const struct fl_json *value, int64_t min, int64_t max, int64_t *ret_number);

/* Making values: NULL when memory is out. */
struct fl_json *fl_json_new_null(void);
struct fl_json *fl_json_new_bool(bool value);
struct fl_json *fl_json_new_int(int64_t value);
struct fl_json *fl_json_new_number(double value);         /* NULL also where it is not finite */
struct fl_json *fl_json_new_decimal(struct fl_span text); /* a JSON number's text, kept exactly; NULL also otherwise */
struct fl_json *fl_json_new_string(struct fl_span text);  /* NULL also where text holds a NUL */
struct fl_json *fl_json_new_array(void);
struct fl_json *fl_json_new_object(void);
struct fl_json *fl_json_copy(const struct fl_json *value); /* deep, without its name; NULL also past the depth */

/* A copy that shares texts and inner values with `value`, which must outlive it and not change meanwhile: one item,
 * whatever the size. It may be read and freed as any. Before it is changed at some place, each container on the way
 * there becomes its own by fl_json_unshare, beginning with the root (fl_pointer_place does that); what stands in it is
 * shared still. NULL when memory is out. */
struct fl_json *fl_json_share(const struct fl_json *value);
int fl_json_unshare(struct fl_json *value) FL_MUST_CHECK; /* 0 (also where nothing was shared) or -ENOMEM */

/* Building. `value` may be NULL (out of memory upstream): answered -ENOMEM, so that calls can be nested.
 * 0, -ENOMEM, -EINVAL (container of another kind, a name with a NUL), -ENOENT (index). A member that exists is
 * replaced in its place. `value` is a root: never part of a tree. */
int fl_json_set(struct fl_json *object, const char *name, struct fl_json *value) FL_MUST_CHECK;
int fl_json_set_span(struct fl_json *object, struct fl_span name, struct fl_json *value) FL_MUST_CHECK;
/* As fl_json_set_span for a name that the caller knows not to be there: does not look. */
int fl_json_add(struct fl_json *object, struct fl_span name, struct fl_json *value) FL_MUST_CHECK;
int fl_json_append(struct fl_json *array, struct fl_json *value) FL_MUST_CHECK;
int fl_json_insert(struct fl_json *array, size_t index, struct fl_json *value) FL_MUST_CHECK; /* index ≤ count */
/* Removes and frees; -ENOENT where it is not there. */
int fl_json_remove(struct fl_json *object, struct fl_span name) FL_MUST_CHECK;
int fl_json_remove_at(struct fl_json *array, size_t index) FL_MUST_CHECK;
/* Takes it out of its container; the caller owns it. NULL where it is not there. */
struct fl_json *fl_json_detach(struct fl_json *object, struct fl_span name);
struct fl_json *fl_json_detach_at(struct fl_json *array, size_t index);

/* Levels of arrays and objects, 0 for a scalar; counts no further than FL_JSON_DEPTH_MAX + 1. */
unsigned fl_json_depth(const struct fl_json *value);

/* Same meaning: members in any order, numbers by exact value. False past FL_JSON_DEPTH_MAX, but for what the two share
 * (fl_json_share), which is not looked into. Memory that is out makes it
 * slower, never wrong. */
bool fl_json_equal(const struct fl_json *a, const struct fl_json *b);

/* Whether two values are certain to be equal without looking into them: they share what is in them, or are the same
 * whole number. False tells nothing. And whether two members have the same name. */
bool fl_json_identical(const struct fl_json *a, const struct fl_json *b);
bool fl_json_same_name(const struct fl_json *a, const struct fl_json *b);

/* Appends the text, without white space; all or nothing. 0, -ENOMEM, -EMSGSIZE (also past FL_JSON_DEPTH_MAX). It is the
 * inverse of fl_json_parse up to white space and escapes: members in their order, numbers as they were written. Whole
 * numbers that the program made are printed without exponent up to 2^53. Bytes that are not UTF-8 become U+FFFD. */
int fl_json_print(const struct fl_json *value, struct fl_buf *out) FL_MUST_CHECK;

#endif
