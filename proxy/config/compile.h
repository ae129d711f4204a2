/* Messages → snapshot. Checks what Envoy would check (required fields, ranges, names that lead nowhere, names twice,
 * filter order, chains that match the same), loads what DataSources name, shares one TLS context between equal
 * settings, fills in defaults. Whole or nothing.
 *
 * What is refused by name and what is left out and counted stands in docs/configuration.md.
 */
#ifndef PROXY_CONFIG_COMPILE_H
#define PROXY_CONFIG_COMPILE_H

#include "proxy/snapshot/snapshot.h"

struct Envoy__Config__Bootstrap__V3__Bootstrap; /* generated: common/xds/proto */
struct fl_xds_source;                           /* common/xds/convert.h: where fields stood in the file */

#define PROXY_LISTENERS_MAX 1024
#define PROXY_CHAINS_MAX    4096 /* of a listener */
#define PROXY_CLUSTERS_MAX  16384
#define PROXY_SNAPSHOT_MAX  (64u << 20) /* bytes of one snapshot's arena */

/* `source` may be NULL: errors then name the path alone. 0; -EINVAL; -EMSGSIZE; -ENOMEM; -errno of reading a file. */
int proxy_compile(const struct Envoy__Config__Bootstrap__V3__Bootstrap *bootstrap, const struct fl_xds_source *source,
                  struct proxy_snapshot **ret_snapshot, struct fl_err *err) FL_MUST_CHECK;

#endif
