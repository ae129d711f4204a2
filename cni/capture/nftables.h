/* The nftables back end with I/O: the table of a plan written as one batch (nft.h), read back and compared
 * (readback.h), removed, looked at. `netfilter` is a NETLINK_NETFILTER socket of the pod's netns. The kernel's answers
 * come inside the send: nothing here waits.
 */
#ifndef CNI_CAPTURE_NFTABLES_H
#define CNI_CAPTURE_NFTABLES_H

#include "cni/capture/netlink.h"
#include "cni/capture/plan.h"

enum cni_nftables_outcome {
    CNI_NFTABLES_DIFFERS = 1, /* err has the first difference */
};

/* Batch, then read-back. *made gets the handle of the table where this call created it, also when it fails later: the
 * caller then removes that one. 0, CNI_NFTABLES_DIFFERS, -EOPNOTSUPP, -EAGAIN or another negative errno. */
int cni_nftables_program(struct cni_netlink *netfilter, const struct cni_plan *plan, uint64_t *made,
                         struct fl_err *err) FL_MUST_CHECK;
/* 0, CNI_NFTABLES_DIFFERS or a negative errno. */
int cni_nftables_compare(struct cni_netlink *netfilter, const struct cni_plan *plan, struct fl_err *err) FL_MUST_CHECK;
/* The table with that handle; 0: whichever has our name. 0 also where there is none; a negative errno. */
int cni_nftables_remove(struct cni_netlink *netfilter, uint64_t handle, struct fl_err *err) FL_MUST_CHECK;

struct cni_nftables_state {
    bool table;          /* there is one of our name; else the rest says nothing */
    uint32_t generation; /* of the netns: moves with every commit of anybody */
    uint64_t handle;     /* of the table: another one has another */
    char comment[CNI_PLAN_COMMENT_MAX];
};

/* Two short questions to the kernel. 0 or a negative errno. */
int cni_nftables_read(struct cni_netlink *netfilter, struct cni_nftables_state *ret_state,
                      struct fl_err *err) FL_MUST_CHECK;

#endif
