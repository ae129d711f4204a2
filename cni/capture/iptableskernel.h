/* What the kernel itself tells of iptables' tables in a netns, with no process and nothing loaded or made by asking: a
 * table is asked for only where the netns has it already (/proc/net/ip_tables_names; without /proc there are none).
 * The kernel's two implementations: the old one (x_tables, "legacy") by getsockopt, and the tables that iptables-nft
 * keeps in nf_tables, by netlink.
 */
#ifndef CNI_CAPTURE_IPTABLESKERNEL_H
#define CNI_CAPTURE_IPTABLESKERNEL_H

#include "cni/capture/netlink.h"
#include "cni/capture/plan.h"

enum { CNI_IPV4, CNI_IPV6, CNI_FAMILIES };

#define CNI_IPTABLES_TABLES 3 /* raw, mangle, nat */

struct cni_iptables_kernel {
    bool ipv6;                                      /* the kernel has it */
    int sockets[CNI_FAMILIES];                      /* owned; -1: none needed. Of the netns, for good. */
    bool tables[CNI_FAMILIES][CNI_IPTABLES_TABLES]; /* legacy ones that the netns has */
};

/* Where the calling thread is. 0 or a negative errno. */
int cni_iptables_kernel_open(struct cni_iptables_kernel *ret_kernel, struct fl_err *err) FL_MUST_CHECK;
void cni_iptables_kernel_close(struct cni_iptables_kernel *kernel);

struct cni_iptables_traces { /* by family: chains of our name are there */
    bool legacy[CNI_FAMILIES], nft[CNI_FAMILIES];
    bool commented;                     /* legacy: `comment` was found */
    char comment[CNI_PLAN_COMMENT_MAX]; /* of the first rule that enters one of them; legacy ones alone tell */
    uint64_t digest;                    /* of all legacy rules that are there, without their counters */
};

/* Both implementations are looked at. `netfilter` may be closed (no nfnetlink): then there are no nft ones. 0, a
 * negative errno. */
int cni_iptables_kernel_read(const struct cni_iptables_kernel *kernel, struct cni_netlink *netfilter,
                             struct cni_iptables_traces *ret_traces, struct fl_err *err) FL_MUST_CHECK;

bool cni_iptables_traces_any(const struct cni_iptables_traces *traces);

/* One table as getsockopt gives it, of `family`; adds what it shows to *traces. Pure; bytes are not trusted. */
void cni_iptables_kernel_scan(int family, char *entries, size_t len, struct cni_iptables_traces *traces);

#endif
