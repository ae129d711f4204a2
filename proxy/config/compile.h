/* Messages → units. Checks what Envoy would check (required fields, ranges, filter order, chains that match the same),
 * loads what DataSources name, shares one TLS setting between equal messages, fills in defaults. A resource whole or
 * not at all. The work is done by the assembly (assembly.h); here stands what it is told, and the limits.
 *
 * What is refused by name and what is left out and counted stands in docs/configuration.md.
 */
#ifndef PROXY_CONFIG_COMPILE_H
#define PROXY_CONFIG_COMPILE_H

#include "common/base/span.h"

#include <stdbool.h>

struct Envoy__Config__Bootstrap__V3__Bootstrap; /* generated: common/xds/proto */
struct fl_json;
struct fl_positions;
struct fl_xds_report;

/* Where a bootstrap came from: for the errors' file:line:column, and for what one tells beside them. */
struct proxy_compile_from {
    const struct fl_json *document; /* NULL: errors name the path alone */
    const struct fl_positions *positions;
    struct fl_xds_report *report; /* NULL: counted alone. What was ignored before counts too */
    struct fl_span path;          /* the file; empty: none. Copied */
    bool dynamic;                 /* somebody acts on dynamic_resources: they are accepted */
};

#define PROXY_LISTENERS_MAX 1024        /* of a bootstrap */
#define PROXY_CHAINS_MAX    4096        /* of a listener */
#define PROXY_CLUSTERS_MAX  16384       /* of a bootstrap */
#define PROXY_UNIT_MAX      (64u << 20) /* bytes that one resource may take, compiled */

#endif
