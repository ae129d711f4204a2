/* UTF-8, as RFC 3629 has it: no overlong forms, no surrogates, nothing past U+10FFFF. */
#ifndef FL_BASE_UTF8_H
#define FL_BASE_UTF8_H

#include "common/base/span.h"

#define FL_UTF8_REPLACEMENT "\xef\xbf\xbd" /* U+FFFD, for bytes that are not UTF-8 */

/* Bytes of the well-formed sequence that `text` starts with (1…4); 0 where it starts with none. */
size_t fl_utf8_length(struct fl_span text);

/* The sequence of a code point; its length (1…4), or 0 for a surrogate or what lies past U+10FFFF. */
size_t fl_utf8_encode(uint32_t code_point, char ret_bytes[4]);

/* The longest front of `text` that has at most `max` bytes and does not end inside of a well-formed sequence. */
struct fl_span fl_utf8_cut(struct fl_span text, size_t max);

#endif
