/* Plain YAML scalars by the core schema (YAML 1.2.2 §10.3.2): text → value. */
#ifndef FL_DOC_SCALAR_H
#define FL_DOC_SCALAR_H

#include "common/doc/json.h"

/* null, true, false, 12, 0o14, 0xc, 1.5e3 in the schema's spellings; everything else is a string. The value is owned by
 * the caller. 0; -EINVAL (infinite, not a number, or past the limits of doc/number.h: JSON cannot hold it; or a NUL);
 * -ENOMEM. */
int fl_scalar_read(struct fl_span text, struct fl_json **ret_value) FL_MUST_CHECK;

#endif
