/* JSON made by nested calls: what gives a value takes the ones inside of it, and memory that is out shows once, at the
 * end, as NULL with everything freed. */
#ifndef FL_DOC_BUILD_H
#define FL_DOC_BUILD_H

#include "common/doc/json.h"

/* Adds (or replaces) a member and answers the object. NULL where `object` or `value` is NULL, or it failed: both are
 * freed then. */
struct fl_json *fl_json_with(struct fl_json *object, const char *name, struct fl_json *value) FL_MUST_CHECK;
/* The same with a string, where it is not empty; an empty one is left out. */
struct fl_json *fl_json_with_span(struct fl_json *object, const char *name, struct fl_span value) FL_MUST_CHECK;
/* The same for an array's next element. */
struct fl_json *fl_json_and(struct fl_json *array, struct fl_json *value) FL_MUST_CHECK;

/* {name: value}, [value], and a string. */
struct fl_json *fl_json_object_of(const char *name, struct fl_json *value) FL_MUST_CHECK;
struct fl_json *fl_json_array_of(struct fl_json *value) FL_MUST_CHECK;
struct fl_json *fl_json_text(const char *text) FL_MUST_CHECK;

#endif
