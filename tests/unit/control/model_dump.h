/* A whole model as text, for golden files: every object, and what is derived from it. */
#ifndef TESTS_UNIT_CONTROL_MODEL_DUMP_H
#define TESTS_UNIT_CONTROL_MODEL_DUMP_H

#include "common/base/buf.h"
#include "control/model/gateway.h"

int model_dump(const struct control_model *model, struct fl_buf *out) FL_MUST_CHECK; /* 0, -ENOMEM, -EMSGSIZE */

#endif
