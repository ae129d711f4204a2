/* /config_dump: the accepted configuration in the form of Envoy's admin messages, static and dynamic, with versions and
 * what was refused last. Keys and passwords are left out. */
#ifndef PROXY_ADMIN_DUMP_H
#define PROXY_ADMIN_DUMP_H

#include "common/base/buf.h"
#include "proxy/snapshot/snapshot.h"

struct proxy_assembly;

/* `assembly` may be NULL: then what is static alone. 0, -ENOMEM, -EMSGSIZE, -EINVAL. */
int proxy_dump_print(const struct proxy_snapshot *snapshot, struct proxy_assembly *assembly,
                     struct fl_buf *out) FL_MUST_CHECK;

#endif
