/* /config_dump: the accepted configuration in the form of Envoy's admin messages, static and dynamic, with versions and
 * what was refused last. Keys and passwords are left out.
 *
 * A dump is made in steps, so that one of 20 MB does not hold the main thread: a step prints whole items until it has
 * printed enough. The bootstrap is that of the snapshot at the beginning; of resources that change between two steps
 * one may be missing, or be there twice.
 */
#ifndef PROXY_ADMIN_DUMP_H
#define PROXY_ADMIN_DUMP_H

#include "common/base/buf.h"
#include "proxy/snapshot/snapshot.h"

struct proxy_assembly;
struct proxy_dump;

enum proxy_dump_result { PROXY_DUMP_MORE = 1 };

/* Whether ?resource= may name it: "bootstrap", or a list as "dynamic_active_clusters". */
bool proxy_dump_has(struct fl_span resource);

/* `assembly` may be NULL: then what is static alone; it must live as long as the dump. resource: that list's items
 * alone; empty: everything. 0, -ENOMEM, -EINVAL. */
int proxy_dump_new(struct proxy_snapshot *snapshot, struct proxy_assembly *assembly, struct fl_span resource,
                   struct proxy_dump **ret_dump) FL_MUST_CHECK;
/* Appends some `bytes` (an item more, at most). PROXY_DUMP_MORE: there is more. 0: that was all; else -ENOMEM,
 * -EMSGSIZE, -EINVAL. */
int proxy_dump_step(struct proxy_dump *dump, size_t bytes, struct fl_buf *out) FL_MUST_CHECK;
struct proxy_dump *proxy_dump_free(struct proxy_dump *dump); /* NULL is allowed; returns NULL */

/* All of it at once. */
int proxy_dump_print(struct proxy_snapshot *snapshot, struct proxy_assembly *assembly,
                     struct fl_buf *out) FL_MUST_CHECK;

#endif
