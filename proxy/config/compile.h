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
struct fl_json;
struct fl_positions;
struct fl_xds_report;

/* Where the message came from: for the errors' file:line:column, and for what one tells beside them. */
struct proxy_compile_from {
    const struct fl_json *document; /* NULL: errors name the path alone */
    const struct fl_positions *positions;
    struct fl_xds_report *report; /* NULL: counted alone. What was ignored before counts too */
};

#define PROXY_LISTENERS_MAX 1024
#define PROXY_CHAINS_MAX    4096 /* of a listener */
#define PROXY_CLUSTERS_MAX  16384
#define PROXY_SNAPSHOT_MAX  (64u << 20) /* bytes of one snapshot's arena */

/* `from` may be NULL. 0; -EINVAL; -EMSGSIZE; -ENOMEM; -errno of reading a file. */
int proxy_compile(const struct Envoy__Config__Bootstrap__V3__Bootstrap *bootstrap,
                  const struct proxy_compile_from *from, struct proxy_snapshot **ret_snapshot,
                  struct fl_err *err) FL_MUST_CHECK;

#endif
