/* Objects that somebody might think are read: of other meshes, and kinds of Gateway API that are not there yet. Pure.
 */
#ifndef CONTROL_SOURCE_FOREIGN_H
#define CONTROL_SOURCE_FOREIGN_H

#include "common/base/err.h"
#include "common/doc/json.h"

/* False: nothing to say on it. True: *ret_text says that it is not read, and what to use. */
bool control_foreign_tell(const struct fl_json *document, struct fl_err *ret_text);

#endif
