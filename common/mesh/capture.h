/* The capture spec: one canonical JSON value that says which traffic of a pod is captured, and for whom.
 *
 * The webhook resolves it (defaults, namespace, pod) and writes it as the annotation fairlead.io/capture; the sidecar
 * gets the same text as FAIRLEAD_CAPTURE; the plugin and the agent apply exactly that. This module is the only reader
 * and writer. Form, version 2 (members in this order, all present; ports and uids as strings of one or a range):
 *
 *   {"version":2,"uid":1337,"gid":1337,"ipv6":true,"dropInvalid":false,"excludeInterfaces":[],
 *    "inbound":{"port":15006,"includePorts":["*"],"excludePorts":[]},
 *    "outbound":{"port":15001,"includeCIDRs":["*"],"excludeCIDRs":[],"includePorts":[],"excludePorts":[],
 *                "excludeUIDs":[]},
 *    "dns":{"enabled":false,"port":15053}}
 *
 * Version 1 lacks ipv6, dropInvalid, excludeInterfaces, outbound.excludeUIDs and dns, which then are as above. Both are
 * read, and a spec is *written in the lowest version that can say it*: so a node whose plugin is one version behind the
 * webhook goes on taking pods that use nothing new, and the table of a running pod keeps its name over an upgrade.
 *
 * Meaning. Inbound: TCP to an included port and not to an excluded one goes to `port`. Outbound: TCP of everybody but
 * the proxy (uid and gid) and the excluded uids is captured where the port is not excluded, the destination is in no
 * excluded CIDR, and either the destination is in an included CIDR or the port is an included one. DNS: what the same
 * people send to port 53 by UDP or TCP, and is not excluded, goes to dns.port, whatever the included ones are. What
 * comes in by an excluded interface or leaves through it is not captured; without ipv6 no IPv6 is. Our own ports
 * (mesh/port.h) are never captured. "*" stands alone and means everything of both families. dropInvalid: TCP that comes
 * in and belongs to no connection that the kernel knows is dropped, instead of being answered by a reset.
 */
#ifndef FL_MESH_CAPTURE_H
#define FL_MESH_CAPTURE_H

#include "common/base/buf.h"
#include "common/base/err.h"

#define FL_CAPTURE_VERSION    2  /* the newest that is known; the one before is read too */
#define FL_CAPTURE_RANGES     64 /* ports (or uids) and ranges a list may hold */
#define FL_CAPTURE_CIDRS      64
#define FL_CAPTURE_INTERFACES 16
#define FL_CAPTURE_TEXT_MAX   16384 /* bytes of the canonical JSON */

struct fl_range {
    uint32_t first, last; /* both included, first ≤ last */
};

struct fl_port_list {
    bool all; /* "*": then count is 0 */
    size_t count;
    /* 1…65535, ascending, not overlapping or adjacent (merged on reading); 1-65535 becomes `all` */
    struct fl_range ranges[FL_CAPTURE_RANGES];
};

#define FL_UID_MAX 4294967294u /* the last one means "no id" to the kernel */

struct fl_uid_list {
    size_t count;
    struct fl_range ranges[FL_CAPTURE_RANGES]; /* 0…FL_UID_MAX; ordered as ports are */
};

#define FL_INTERFACE_NAME_MAX 16 /* IFNAMSIZ: bytes with the NUL */

struct fl_interface_list {
    size_t count;
    /* ascending by bytes, each once. Names that Linux takes, in printable ASCII without '/', ':', ',', '"', '\\', '*'.
     */
    char names[FL_CAPTURE_INTERFACES][FL_INTERFACE_NAME_MAX];
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
    /* Of version 2. */
    struct fl_interface_list exclude_interfaces;
    struct fl_uid_list outbound_exclude_uids;
    bool dns; /* captured, to dns_port */
    uint16_t dns_port;
    bool ipv6; /* false: no IPv6 is captured */
    bool drop_invalid;
};

/* Everything captured but DNS, 15006 and 15001, 1337:1337. */
void fl_capture_defaults(struct fl_capture *capture);

/* From the annotation's text, members in any order, all that its version has required. 0; -EINVAL (err names the path
 * and what would be right); -ENOTSUP where the version is not one that we know (err names it); -EMSGSIZE; -ENOMEM.
 * Strict: unknown members are refused. */
int fl_capture_parse(struct fl_span text, struct fl_capture *ret_capture, struct fl_err *err) FL_MUST_CHECK;

/* Appends the canonical form: equal specs give equal bytes. 0, -ENOMEM, -EMSGSIZE (no spec that was read is). */
int fl_capture_print(const struct fl_capture *capture, struct fl_buf *out) FL_MUST_CHECK;

/* The version in which it is printed. */
int fl_capture_version(const struct fl_capture *capture);

/* The forms that users write in annotations: "*", "80,443,8000-8080", "10.0.0.0/8, fd00::/8"; for uids
 * "1000,2000-2999", for interfaces "eth1,net1" (no "*" in these two); blanks around items are
 * fine, an empty text is the empty list; an address without prefix is that one address; IPv4-mapped IPv6 is refused
 * (the kernel sees IPv4 there). 0 or -EINVAL with what would be right in err (the caller adds the name). */
int fl_port_list_parse(struct fl_span text, struct fl_port_list *ret_list, struct fl_err *err) FL_MUST_CHECK;
int fl_cidr_list_parse(struct fl_span text, struct fl_cidr_list *ret_list, struct fl_err *err) FL_MUST_CHECK;
int fl_cidr_parse(struct fl_span text, struct fl_cidr *ret_cidr, struct fl_err *err) FL_MUST_CHECK;
/* One address without a prefix, of the family that its text shows: as that one address (prefix 32 or 128). The text
 * ends at its length, not at a NUL; one inside it is refused, and so are blanks. IPv4-mapped IPv6 is given as the IPv6
 * that it is written as: what it means is the caller's. 0 or -EINVAL. */
int fl_cidr_parse_address(struct fl_span text, struct fl_cidr *ret_address) FL_MUST_CHECK;
int fl_uid_list_parse(struct fl_span text, struct fl_uid_list *ret_list, struct fl_err *err) FL_MUST_CHECK;
int fl_interface_list_parse(struct fl_span text, struct fl_interface_list *ret_list, struct fl_err *err) FL_MUST_CHECK;

bool fl_port_list_contains(const struct fl_port_list *list, uint16_t port);
/* address: 4 or 16 bytes by family. */
bool fl_cidr_list_contains(const struct fl_cidr_list *list, int family, const uint8_t *address);
bool fl_uid_list_contains(const struct fl_uid_list *list, uint32_t uid);
bool fl_interface_list_contains(const struct fl_interface_list *list, const char *name);

#endif
