/* The capture plan: what a capture spec (common/mesh/capture.h) means as sets and ordered rules. Pure: no I/O, no
 * allocation that outlives a call, and no back end: nft.h writes it as netlink messages, an iptables back end would
 * write the same rules as text.
 *
 * A rule is a conjunction: every match that is set must hold, then the verdict is taken and the chain ends. Within a
 * chain the first rule that matches wins; where none does the packet is accepted, that is, goes its way untouched.
 * In the chains `prerouting` and `output` (type nat) only the first packet of a connection walks through the rules:
 * connection tracking remembers the verdict. The other two (type filter) see every packet, and exist only where they
 * have rules.
 *
 * The rules and the reason for each stand in cni/README.md.
 */
#ifndef CNI_CAPTURE_PLAN_H
#define CNI_CAPTURE_PLAN_H

#include "common/mesh/capture.h"

enum cni_chain {
    CNI_CHAIN_PREROUTING,   /* nat: what comes in from outside the netns */
    CNI_CHAIN_OUTPUT,       /* nat: what processes of the netns send */
    CNI_CHAIN_DROP_INVALID, /* filter, prerouting, behind connection tracking: what belongs to no connection */
    CNI_CHAIN_DNS_ZONE,     /* filter, output, ahead of connection tracking: queries that will be redirected, and their
                               answers, are tracked apart from everything else */
    CNI_CHAINS
};

enum cni_set_id {
    CNI_SET_NONE, /* in a rule: no such match */
    CNI_SET_OWN_PORTS,
    CNI_SET_INBOUND_EXCLUDE_PORTS,
    CNI_SET_INBOUND_INCLUDE_PORTS,
    CNI_SET_OUTBOUND_EXCLUDE_PORTS,
    CNI_SET_OUTBOUND_EXCLUDE_IPV4,
    CNI_SET_OUTBOUND_EXCLUDE_IPV6,
    CNI_SET_OUTBOUND_INCLUDE_PORTS,
    CNI_SET_OUTBOUND_INCLUDE_IPV4,
    CNI_SET_OUTBOUND_INCLUDE_IPV6,
    CNI_SET_OUTBOUND_EXCLUDE_UIDS,
    CNI_SET_EXCLUDE_INTERFACES,
    CNI_SETS
};

enum cni_set_kind { CNI_SET_OF_PORTS, CNI_SET_OF_IPV4, CNI_SET_OF_IPV6, CNI_SET_OF_UIDS, CNI_SET_OF_INTERFACES };

#define CNI_SET_RANGES (FL_CAPTURE_RANGES > FL_CAPTURE_CIDRS ? FL_CAPTURE_RANGES : FL_CAPTURE_CIDRS)

struct cni_range { /* both ends included; network order; the set's width in bytes is used, the rest is zero */
    uint8_t first[16], last[16];
};

struct cni_set {
    size_t
        width; /* bytes of a value: 2 a port, 4 an IPv4 address or a uid, 16 an IPv6 address or a name (NUL-padded) */
    size_t count;                            /* 0: the set does not exist, and no rule names it */
    struct cni_range ranges[CNI_SET_RANGES]; /* ascending; neither overlapping nor touching; of names: one each */
};

struct cni_address_match {
    bool present, negated;
    struct fl_cidr cidr; /* whole bytes: prefix is a multiple of 8 and not 0 */
};

enum cni_verdict {
    CNI_ACCEPT,
    CNI_REDIRECT, /* to to_port on the netns' own address */
    CNI_DROP,
    CNI_ZONE, /* tracked in the zone to_port, then accepted */
};

struct cni_rule {
    enum cni_chain chain;
    int family;                    /* AF_INET, AF_INET6; AF_UNSPEC: both. Set wherever an address is matched. */
    uint8_t protocol;              /* IPPROTO_TCP, IPPROTO_UDP; 0: any. Set wherever a port is matched. */
    bool loopback;                 /* leaves through lo */
    enum cni_set_id interface_set; /* comes in by one of these, or leaves through it: what the chain has */
    bool proxy;                    /* sent by the proxy: the socket's uid and its gid are the plan's */
    enum cni_set_id uid_set;       /* sent by one of these */
    struct cni_address_match source, destination;
    enum cni_set_id destination_set;
    bool invalid;                           /* connection tracking knows no connection that it belongs to */
    uint16_t source_port;                   /* 0: any */
    enum cni_set_id port_set, port_set_not; /* destination port in the set; not in the set */
    uint16_t port;                          /* destination port; 0: any */
    enum cni_verdict verdict;
    uint16_t to_port;
    const char *reason; /* a literal; shown as the rule's comment and in errors */
};

#define CNI_PLAN_RULES       48
#define CNI_PLAN_COMMENT_MAX 64

struct cni_plan {
    uint32_t uid, gid; /* the proxy's */
    bool ipv6;         /* captured: lo needs ::6 */
    struct cni_set sets[CNI_SETS];
    size_t rule_count;
    struct cni_rule rules[CNI_PLAN_RULES];
    char comment[CNI_PLAN_COMMENT_MAX]; /* "fairlead capture <version> <digest of the canonical spec>" */
};

/* Fills *ret_plan (some 30 KB; nothing to free). 0 or -ENOMEM. Any valid spec has a plan. */
int cni_plan_build(const struct fl_capture *capture, struct cni_plan *ret_plan) FL_MUST_CHECK;

/* What plan.c is made of: the sets, filled from the lists (planset.c). */
void cni_plan_fill_sets(struct cni_plan *plan, const struct fl_capture *capture);

/* The first value behind a range of `width` bytes; false where the range reaches the last value there is. */
bool cni_range_end(const struct cni_range *range, size_t width, uint8_t ret_end[16]);

const char *cni_chain_name(enum cni_chain chain);
bool cni_chain_is_nat(enum cni_chain chain);
/* nat chains always; the others where the plan has rules for them. */
bool cni_plan_has_chain(const struct cni_plan *plan, enum cni_chain chain);
const char *cni_set_name(enum cni_set_id id);
enum cni_set_kind cni_set_kind(enum cni_set_id id);
/* Ranges; false: single values (names of interfaces). */
bool cni_set_is_interval(enum cni_set_id id);

/* Appends one rule, or the whole plan, as text for people, errors and golden files. 0, -ENOMEM, -EMSGSIZE. */
int cni_rule_print(const struct cni_plan *plan, const struct cni_rule *rule, struct fl_buf *out) FL_MUST_CHECK;
int cni_plan_print(const struct cni_plan *plan, struct fl_buf *out) FL_MUST_CHECK;

#endif
