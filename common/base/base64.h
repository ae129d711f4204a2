/* base64url without padding (RFC 4648 §5), as JOSE writes it (RFC 7515 §2), and base64 with padding (§4), as Kubernetes
 * writes bytes. Reading is strict: one spelling for each value, so that a text cannot be changed and still read the
 * same. */
#ifndef FL_BASE_BASE64_H
#define FL_BASE_BASE64_H

#include "common/base/buf.h"

/* Appended; all or nothing. 0, -ENOMEM, -EMSGSIZE. */
int fl_base64url_encode(struct fl_span bytes, struct fl_buf *out) FL_MUST_CHECK;
/* The same, and -EINVAL: another byte than A-Z a-z 0-9 - _, padding, a length that cannot be, spare bits that are set.
 */
int fl_base64url_decode(struct fl_span text, struct fl_buf *out) FL_MUST_CHECK;

/* The same with + and / for - and _, and padded to a multiple of four. */
int fl_base64_encode(struct fl_span bytes, struct fl_buf *out) FL_MUST_CHECK;
int fl_base64_decode(struct fl_span text, struct fl_buf *out) FL_MUST_CHECK;

#endif
