/* Text from outside on its way into a JSON string, piece by piece and without memory: for documents and for the log. */
#ifndef FL_BASE_ESCAPE_H
#define FL_BASE_ESCAPE_H

#include "common/base/span.h"

/* Cuts the next piece off *rest and returns what stands for it inside of a JSON string (RFC 8259 §7): a run of text
 * that stands for itself, or one escape of at most 6 bytes. A byte that is not UTF-8 becomes U+FFFD. Empty at the end.
 * The result points into the text or to static memory. */
struct fl_span fl_json_escape_next(struct fl_span *rest);

/* How many bytes at the start of `text` are printable ASCII other than '"' and '\\': they stand for themselves in a
 * JSON string, whichever way. Eight at a time. */
size_t fl_json_plain_length(struct fl_span text);

#endif
