/* Whether this kernel can capture at all, found out by doing it: the default capture spec is programmed into a network
 * namespace that is made for that, read back, and thrown away. Costs some milliseconds; nothing that exists is touched.
 */
#ifndef CNI_CAPTURE_ABILITY_H
#define CNI_CAPTURE_ABILITY_H

#include "cni/capture/backend.h"
#include "common/base/cleanup.h"
#include "common/base/err.h"

/* 0: it can, by this back end (CNI_BACKEND_AUTO: by one of them). -EOPNOTSUPP: it cannot, and err names what is
 * missing. Another negative errno: that could not be found out. */
int cni_ability_check(enum cni_backend backend, struct fl_err *err) FL_MUST_CHECK;

#endif
