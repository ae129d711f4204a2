/* The capture spec: one canonical JSON value that says which traffic of a pod is captured, and for whom.
 *
 * The webhook resolves it (defaults, namespace, pod) and writes it as the annotation fairlead.io/capture; the sidecar
 * gets the same text as FAIRLEAD_CAPTURE; the plugin and the agent apply exactly that. This module is the only reader
 * and writer. Form, version 1 (members in this order, all present; ports as strings of one port or range):
 *
 *   {"version":1,"uid":1337,"gid":1337,
 *    "inbound":{"port":15006,"includePorts":["*"],"excludePorts":[]},
 *    "outbound":{"port":15001,"includeCIDRs":["*"],"excludeCIDRs":[],"includePorts":[],"excludePorts":[]}}
 *
 * Meaning. Inbound: TCP to an included port and not to an excluded one goes to `port`. Outbound: TCP of everybody but
 * (uid and gid) is captured where the port is not excluded, the destination is in no excluded CIDR, and either the
 * destination is in an included CIDR or the port is an included one. Our own ports (mesh/port.h) are never captured.
 * "*" stands alone and means everything of both families.
 */
#ifndef FL_MESH_CAPTURE_H
#define FL_MESH_CAPTURE_H

#include "common/base/buf.h"
#include "common/base/err.h"

#define FL_CAPTURE_VERSION  1
#define FL_CAPTURE_RANGES   64 /* ports and ranges a list may hold */
#define FL_CAPTURE_CIDRS    64
#define FL_CAPTURE_TEXT_MAX 16384 /* bytes of the canonical JSON */

struct fl_port_range {
    uint16_t first, last; /* both included, 1…65535, first ≤ last */
};

struct fl_port_list {
    bool all; /* "*": then count is 0 */
    size_t count;
    /* ascending, not overlapping or adjacent (merged on reading); 1-65535 becomes `all` */
    struct fl_port_range ranges[FL_CAPTURE_RANGES];
};

struct fl_cidr {
    int family;          /* AF_INET or AF_INET6 */
    uint8_t address[16]; /* network order; 4 bytes used for AF_INET; host bits are zero (cleared on reading) */
    uint8_t prefix;      /* bits */
};

struct fl_cidr_list {
    bool all;
    size_t count;
    /* by family, then address; none contains another, no two are the halves of a third (merged on reading);
     * 0.0.0.0/0 with ::/0 becomes `all` */
    struct fl_cidr cidrs[FL_CAPTURE_CIDRS];
};

struct fl_capture {
    uint32_t uid, gid; /* the proxy's; exempt only together. Neither is 0. */
    uint16_t inbound_port, outbound_port;
    struct fl_port_list inbound_include, inbound_exclude;
    struct fl_cidr_list outbound_include_cidrs, outbound_exclude_cidrs;
    struct fl_port_list outbound_include_ports, outbound_exclude_ports;
};

/* Everything captured, 15006 and 15001, 1337:1337. */
void fl_capture_defaults(struct fl_capture *capture);

/* From the annotation's text, members in any order, all required. 0; -EINVAL (err names the path and what would be
 * right); -ENOTSUP where the version is not one that we know (err names it); -EMSGSIZE; -ENOMEM. Strict: unknown
 * members are refused. */
int fl_capture_parse(struct fl_span text, struct fl_capture *ret_capture, struct fl_err *err) FL_MUST_CHECK;

/* Appends the canonical form: equal specs give equal bytes. 0, -ENOMEM, -EMSGSIZE. */
int fl_capture_print(const struct fl_capture *capture, struct fl_buf *out) FL_MUST_CHECK;

/* The forms that users write in annotations: "*", "80,443,8000-8080", "10.0.0.0/8, fd00::/8"; blanks around items are
 * fine, an empty text is the empty list; an address without prefix is that one address; IPv4-mapped IPv6 is refused
 * (the kernel sees IPv4 there). 0 or -EINVAL with what would be right in err (the caller adds the name). */
int fl_port_list_parse(struct fl_span text, struct fl_port_list *ret_list, struct fl_err *err) FL_MUST_CHECK;
int fl_cidr_list_parse(struct fl_span text, struct fl_cidr_list *ret_list, struct fl_err *err) FL_MUST_CHECK;
int fl_cidr_parse(struct fl_span text, struct fl_cidr *ret_cidr, struct fl_err *err) FL_MUST_CHECK;

bool fl_port_list_contains(const struct fl_port_list *list, uint16_t port);
/* address: 4 or 16 bytes by family. */
bool fl_cidr_list_contains(const struct fl_cidr_list *list, int family, const uint8_t *address);

#endif
