/* Every reason that an admission may end with, and the table that decides: from the webhook's own lists. Pure. */
#ifndef CLI_REASONS_H
#define CLI_REASONS_H

#include "common/base/buf.h"

/* Appends text, or with `json` one object: {"decisions":[{"when","verdict","reason"}],"reasons":[{"reason","code",
 * "meaning"}]}; code: of HTTP or of the denial's status, left out where there is none. 0, -ENOMEM, -EMSGSIZE. */
int cli_reasons_print(bool json, struct fl_buf *out) FL_MUST_CHECK;

#endif
