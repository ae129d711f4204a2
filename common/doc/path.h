/* The path of a value, for messages: $.spec.containers[2].name, $.metadata.annotations["fairlead.io/capture"]. */
#ifndef FL_DOC_PATH_H
#define FL_DOC_PATH_H

#include "common/base/span.h"

/* Append one step to a path of `length` bytes in an array of `size` (at least 8), which stays NUL-terminated. They
 * answer the new length. What does not fit is cut, with "…" at the end; further steps then change nothing.
 * To step back: keep the old length, and put a NUL there. */
size_t fl_path_start(char *path, size_t size); /* "$" */
size_t fl_path_push_name(char *path, size_t size, size_t length, struct fl_span name);
size_t fl_path_push_index(char *path, size_t size, size_t length, size_t index);

#endif
