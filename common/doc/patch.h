/* JSON Patch (RFC 6902): make a patch by operations or from two documents, apply one.
 *
 * A patch under construction is a plain JSON array; the functions below append one operation each and escape pointer
 * tokens themselves ('~' and '/'), so that a caller never writes a pointer by hand.
 */
#ifndef FL_DOC_PATCH_H
#define FL_DOC_PATCH_H

#include "common/doc/pointer.h"

#define FL_PATCH_OPERATIONS_MAX 4096
#define FL_PATCH_COPY_MAX       (8u << 20) /* bytes of memory that the copy operations of one patch may take */

/* Append {"op":"add"|"replace"|"remove"|"test", "path":…, "value":…} to `patch` (an array). `value` is taken over, as
 * in json.h, and may be NULL for "memory was out". 0, -ENOMEM, -EMSGSIZE. */
int fl_patch_add(struct fl_json *patch, const struct fl_pointer *path, struct fl_json *value) FL_MUST_CHECK;
int fl_patch_replace(struct fl_json *patch, const struct fl_pointer *path, struct fl_json *value) FL_MUST_CHECK;
int fl_patch_test(struct fl_json *patch, const struct fl_pointer *path, struct fl_json *value) FL_MUST_CHECK;
int fl_patch_remove(struct fl_json *patch, const struct fl_pointer *path) FL_MUST_CHECK;

/* The smallest honest patch from `before` to `after`: objects member by member; arrays of objects with unique string
 * members "name" (as Kubernetes lists are) element by element where those that stay keep their order; other arrays
 * replaced whole where they differ. The result applied to `before` gives `after`, up to the order of members; equal
 * documents give equal patches. What would take more than FL_PATCH_OPERATIONS_MAX operations or a longer pointer than
 * FL_POINTER_MAX becomes one replacement of the whole document.
 * 0 with an owned array; -ENOMEM; -EMSGSIZE (`after` is deeper than FL_JSON_DEPTH_MAX). */
int fl_patch_diff(const struct fl_json *before, const struct fl_json *after, struct fl_json **ret_patch,
                  struct fl_err *err) FL_MUST_CHECK;

/* Applies all six operations of RFC 6902 to *document, all or nothing: on failure *document is what it was. On success
 * *document is a new tree and the old one is freed: values borrowed from it are gone.
 * 0; -EINVAL (malformed, a move into its own child, the removal of the whole document); -ENOENT (a path that is not
 * there, a failed test); -EMSGSIZE (a limit above, or a result deeper than FL_JSON_DEPTH_MAX); -ENOMEM.
 * err names the operation: "operation 3 (replace /spec/x): …", counted from 0. */
int fl_patch_apply(struct fl_json **document, const struct fl_json *patch, struct fl_err *err) FL_MUST_CHECK;
/* The same to a copy: a new tree for the caller, and `document` as it was. It shares with `document` and `patch` what
 * is not changed, so that it costs what the patch costs (fl_json_share): both outlive it unchanged. */
int fl_patch_applied(const struct fl_json *document, const struct fl_json *patch, struct fl_json **ret_document,
                     struct fl_err *err) FL_MUST_CHECK;

#endif
