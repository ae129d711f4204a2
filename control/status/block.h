/* A JSON text as YAML in block form, for files that people read. Pure. */
#ifndef CONTROL_STATUS_BLOCK_H
#define CONTROL_STATUS_BLOCK_H

#include "common/base/buf.h"

/* Appends it, with a line end. 0, -EINVAL (not JSON), -ENOMEM, -EMSGSIZE. */
int control_status_block(struct fl_span json, struct fl_buf *out) FL_MUST_CHECK;

#endif
