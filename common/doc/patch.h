/* JSON Patch (RFC 6902) and JSON Pointer (RFC 6901): make a patch by operations, apply one.
 *
 * A patch under construction is a plain JSON array; the functions below append one operation each and escape pointer
 * tokens themselves ('~' and '/'), so that a caller never writes a pointer by hand.
 */
#ifndef FL_DOC_PATCH_H
#define FL_DOC_PATCH_H

#include "common/doc/json.h"

#define FL_PATCH_OPERATIONS_MAX 4096
#define FL_POINTER_MAX          1024 /* bytes of a pointer's text */

/* A pointer being built: {0} is the whole document. */
struct fl_pointer {
    char text[FL_POINTER_MAX];
    size_t len;
    bool overflow; /* a push did not fit: every use of it answers -EMSGSIZE */
};

void fl_pointer_push(struct fl_pointer *pointer, struct fl_span name); /* escaped */
void fl_pointer_push_index(struct fl_pointer *pointer, size_t index);
void fl_pointer_push_end(struct fl_pointer *pointer); /* "-": behind the last element */

/* Append {"op":"add"|"replace"|"remove"|"test", "path":…, "value":…} to `patch` (an array). `value` is taken over, as
 * in json.h, and may be NULL for "memory was out". 0, -ENOMEM, -EMSGSIZE. */
int fl_patch_add(struct fl_json *patch, const struct fl_pointer *path, struct fl_json *value) FL_MUST_CHECK;
int fl_patch_replace(struct fl_json *patch, const struct fl_pointer *path, struct fl_json *value) FL_MUST_CHECK;
int fl_patch_test(struct fl_json *patch, const struct fl_pointer *path, struct fl_json *value) FL_MUST_CHECK;
int fl_patch_remove(struct fl_json *patch, const struct fl_pointer *path) FL_MUST_CHECK;

/* The smallest honest patch from `before` to `after`: objects member by member, arrays of objects with unique string
 * members "name" element by element (as Kubernetes lists are), other arrays replaced whole where they differ. The
 * result applied to `before` gives `after`. 0, -ENOMEM, -EMSGSIZE. */
int fl_patch_diff(const struct fl_json *before, const struct fl_json *after, struct fl_json **ret_patch,
                  struct fl_err *err) FL_MUST_CHECK;

/* Applies all six operations of RFC 6902 to *document, all or nothing: on failure *document is what it was.
 * *document may be replaced (a patch of the root). 0; -EINVAL (malformed; err names the operation by index);
 * -ENOENT (a path that is not there, a failed test); -EMSGSIZE; -ENOMEM. */
int fl_patch_apply(struct fl_json **document, const struct fl_json *patch, struct fl_err *err) FL_MUST_CHECK;

/* Resolves an RFC 6901 pointer; NULL where it leads nowhere or is malformed. */
struct fl_json *fl_pointer_find(const struct fl_json *document, struct fl_span pointer);

#endif
