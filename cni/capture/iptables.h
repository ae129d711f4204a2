/* The iptables back end with I/O: the texts of a plan put into a netns by iptables-restore, read back by iptables-save
 * and compared, removed. For kernels without nf_tables; also over nf_tables (iptables-nft) where the host has nothing
 * else.
 *
 * iptables commits one table of one family at a time, so "all or nothing" is made here: what was there before is kept,
 * and put back when a later step fails. Killed in between, a netns may hold a part: a check tells, and the next
 * programming repairs it. Calls that change one netns wait for each other (a lock on its file, a second at most: a
 * process of the pod could hold it too); without it, the read-back notices what another one did. Between open and close
 * SIGCHLD has its default: who ignores it, as a process that another one started may, is not told how a child ended.
 */
#ifndef CNI_CAPTURE_IPTABLES_H
#define CNI_CAPTURE_IPTABLES_H

#include "cni/capture/iptableskernel.h"
#include "cni/capture/iptablestool.h"

#include <signal.h>

enum cni_iptables_outcome {
    CNI_IPTABLES_DIFFERS = 1, /* err has the first difference */
};

struct cni_iptables {
    int netns; /* borrowed */
    bool ipv6; /* an interface of the netns has it: then a host that cannot do it is an error, else it is let be */
    struct cni_iptables_kernel kernel;
    struct cni_iptables_traces traces;
    bool locked, opened;
    struct sigaction before; /* of SIGCHLD, where opened */
};

/* What a programming changed: kept until it is sure to stay. */
struct cni_iptables_change {
    enum cni_iptables_variant variant;
    bool changed[CNI_FAMILIES];
    struct fl_buf before[CNI_FAMILIES]; /* owned; iptables-save's text */
};

/* Takes the lock, where something is `to_change` (who reads waits for nobody), then looks what is there. `netfilter` is
 * a socket of the netns, or closed. 0 or a negative errno; to be closed in both cases. */
int cni_iptables_open(struct cni_iptables *iptables, int netns, bool ipv6, bool to_change,
                      struct cni_netlink *netfilter, struct fl_err *err) FL_MUST_CHECK;
void cni_iptables_close(struct cni_iptables *iptables);

/* 0 with *ret_change; CNI_IPTABLES_DIFFERS; -EOPNOTSUPP (kernel or host lack something: err names it); -EAGAIN; another
 * negative errno. Failed: the netns is as it was (err says so where it could not be made so). The variants are tried in
 * turn, legacy first; rules of ours in the other one are removed. */
int cni_iptables_program(struct cni_iptables *iptables, const struct cni_plan *plan,
                         struct cni_iptables_change *ret_change, struct fl_err *err) FL_MUST_CHECK;
void cni_iptables_undo(struct cni_iptables *iptables, struct cni_iptables_change *change, struct fl_err *err);
void cni_iptables_change_done(struct cni_iptables_change *change);

/* 0, CNI_IPTABLES_DIFFERS or a negative errno. */
int cni_iptables_compare(struct cni_iptables *iptables, const struct cni_plan *plan, struct fl_err *err) FL_MUST_CHECK;
/* What is ours, of both variants and families. 0 also where there is nothing; a negative errno. */
int cni_iptables_remove(struct cni_iptables *iptables, struct fl_err *err) FL_MUST_CHECK;
/* The comment of what is there (traces say that something is). 0 or a negative errno. */
int cni_iptables_owner(struct cni_iptables *iptables, char ret_comment[CNI_PLAN_COMMENT_MAX],
                       struct fl_err *err) FL_MUST_CHECK;

#endif
