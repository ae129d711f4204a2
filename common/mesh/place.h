/* Where a server is, as settings write it: "10.96.0.5:15012", "[fd00::5]:15012", "control.mesh.svc:15012". Pure. */
#ifndef FL_MESH_PLACE_H
#define FL_MESH_PLACE_H

#include "common/base/span.h"

#include <stdint.h>

#define FL_PLACE_EXPECTED "IP:port (IPv6 in brackets) or a DNS name and port"
#define FL_PLACE_NONE     "none" /* in the place of a control plane's address: there is none (label.h) */

struct fl_place {
    struct fl_span host; /* an IP address without brackets, or a name without its last dot; borrowed */
    bool is_name;
    uint16_t port; /* never 0 */
};

/* Names are those of fl_dns_is_subdomain, a dot at their end is allowed; one whose last label is a number is none, but
 * a misspelt address. False: it is no place. */
bool fl_place_parse(struct fl_span text, struct fl_place *ret_place);

#endif
