/* base64url without padding (RFC 4648 §5), as JOSE writes it (RFC 7515 §2). Reading is strict: one spelling for each
 * value, so that a text cannot be changed and still read the same. */
#ifndef FL_BASE_BASE64_H
#define FL_BASE_BASE64_H

#include "common/base/buf.h"

/* Appended; all or nothing. 0, -ENOMEM, -EMSGSIZE. */
int fl_base64url_encode(struct fl_span bytes, struct fl_buf *out) FL_MUST_CHECK;
/* The same, and -EINVAL: another byte than A-Z a-z 0-9 - _, padding, a length that cannot be, spare bits that are set.
 */
int fl_base64url_decode(struct fl_span text, struct fl_buf *out) FL_MUST_CHECK;

#endif
