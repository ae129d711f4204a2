#include "cni/capture/apply.h"

#include "cni/capture/iptables.h"
#include "cni/capture/loopback.h"
#include "cni/capture/netns.h"
#include "cni/capture/nftables.h"
#include "common/mesh/port.h"

#include <errno.h>
#include <linux/netlink.h>

/* Of one dump. Whoever may change the netns may fill it with a million chains of iptables-nft, which are asked for. */
#define ANSWERS_MAX (1u << 20)

#define TRIES_MAX 8

struct sockets {
    struct cni_netlink route, netfilter;
    bool nftables; /* the kernel has nfnetlink: netfilter is open */
    struct cni_iptables_kernel kernel;
};

static void sockets_close(struct sockets *sockets)
{
    cni_netlink_close(&sockets->route);
    cni_netlink_close(&sockets->netfilter);
    cni_iptables_kernel_close(&sockets->kernel);
}

static int sockets_open_here(struct sockets *sockets, struct fl_err *err)
{
    struct fl_err failure = {0};
    int result = cni_netlink_open(&sockets->route, NETLINK_ROUTE, err);
    if (result < 0)
        return result;
    result = cni_netlink_open(&sockets->netfilter, NETLINK_NETFILTER, &failure);
    sockets->nftables = result == 0;
    sockets->netfilter.answers_max = ANSWERS_MAX;
    if (result < 0 && result != -EPROTONOSUPPORT)
        return fl_err_set(err, result, "%s", failure.text);
    return cni_iptables_kernel_open(&sockets->kernel, err);
}

/* The sockets belong to the netns; the thread is back in its own before anything is done with them. */
static int sockets_open(int netns, struct sockets *ret_sockets, struct fl_err *err)
{
    FL_CLEANUP(fl_cleanup_close) int back = -1;
    struct sockets sockets = {.kernel = {.sockets = {-1, -1}}};
    int result = cni_netns_enter(netns, &back, err);
    if (result == 0) {
        result = sockets_open_here(&sockets, err);
        int left = cni_netns_leave(back, result < 0 ? NULL : err);
        if (result == 0)
            result = left;
    }
    if (result < 0)
        sockets_close(&sockets);
    *ret_sockets = result < 0 ? (struct sockets){.kernel = {.sockets = {-1, -1}}} : sockets;
    return result;
}

static int busy(struct fl_err *err)
{
    return fl_err_set(err, -EAGAIN, "the network namespace kept changing, or the kernel was out of buffers");
}

static int lacks_nfnetlink(struct fl_err *err)
{
    return fl_err_set(err, -EOPNOTSUPP, "this kernel lacks nfnetlink, and with it nf_tables");
}

/* --- lo --- */

static int prepare_loopback(struct sockets *sockets, const struct cni_plan *plan, struct fl_err *err)
{
    int result = cni_loopback_prepare(&sockets->route, plan->ipv6, err);
    return result == CNI_NETLINK_AGAIN ? busy(err) : result;
}

static int read_loopback(struct sockets *sockets, struct cni_loopback *ret_state, struct fl_err *err)
{
    int result = cni_loopback_read(&sockets->route, ret_state, err);
    return result == CNI_NETLINK_AGAIN ? busy(err) : result;
}

/* 0, CNI_APPLY_DIFFERS or a negative errno. */
static int compare_loopback(const struct cni_loopback *now, const struct cni_plan *plan, struct fl_err *err)
{
    if (now->up && (!plan->ipv6 || !now->ipv6 || now->address))
        return 0;
    fl_err_set(err, -EBADMSG, now->up ? FL_PASSTHROUGH_IPV6 " is missing on lo" : "lo is down");
    return CNI_APPLY_DIFFERS;
}

/* --- iptables, opened for one call --- */

static int open_iptables(int netns, struct sockets *sockets, bool to_change, struct cni_iptables *iptables,
                         struct fl_err *err)
{
    bool ipv6 = false;
    int result = CNI_NETLINK_AGAIN;
    *iptables = (struct cni_iptables){.kernel = {.sockets = {-1, -1}}};
    for (int i = 0; result == CNI_NETLINK_AGAIN && i < TRIES_MAX; i++)
        result = cni_loopback_look_beside(&sockets->route, &ipv6, err);
    if (result == CNI_NETLINK_AGAIN)
        return busy(err);
    return result < 0 ? result : cni_iptables_open(iptables, netns, ipv6, to_change, &sockets->netfilter, err);
}

static int find_iptables(struct sockets *sockets, bool *ret_any, struct fl_err *err)
{
    struct cni_iptables_traces traces;
    int result = cni_iptables_kernel_read(&sockets->kernel, &sockets->netfilter, &traces, err);
    *ret_any = result == 0 && cni_iptables_traces_any(&traces);
    return result;
}

static int remove_found_iptables(int netns, struct sockets *sockets, struct fl_err *err)
{
    FL_CLEANUP(cni_iptables_close) struct cni_iptables iptables = {.kernel = {.sockets = {-1, -1}}};
    int result = open_iptables(netns, sockets, true, &iptables, err);
    return result < 0 ? result : cni_iptables_remove(&iptables, err);
}

/* Nothing is locked or run where the kernel shows no trace. */
static int remove_iptables(int netns, struct sockets *sockets, struct fl_err *err)
{
    bool any;
    int result = find_iptables(sockets, &any, err);
    return result < 0 || !any ? result : remove_found_iptables(netns, sockets, err);
}

static int remove_nftables(struct sockets *sockets, struct fl_err *err)
{
    int result = sockets->nftables ? cni_nftables_remove(&sockets->netfilter, 0, err) : 0;
    return result == -EOPNOTSUPP ? 0 : result;
}

/* --- programming --- */

/* On failure the table goes again that this call created: that one alone, by its handle, for another ADD may have put
 * its own in place meanwhile, and answered for it. One that replaced another, or rules of iptables that are half taken
 * out, stays: a pod that was captured is never let go because its repair failed. What can fail is asked before lo is
 * touched. */
static int program_nftables(int netns, struct sockets *sockets, const struct cni_plan *plan, struct fl_err *err)
{
    uint64_t made = 0;
    bool other = false;
    if (!sockets->nftables)
        return lacks_nfnetlink(err);
    int result = cni_nftables_program(&sockets->netfilter, plan, &made, err);
    if (result == 0)
        result = find_iptables(sockets, &other, err);
    if (result == 0)
        result = prepare_loopback(sockets, plan, err);
    if (result == 0 && other) {
        result = remove_found_iptables(netns, sockets, err);
        made = 0;
    }
    if (result != 0 && made != 0)
        (void)!cni_nftables_remove(&sockets->netfilter, made, NULL);
    return result == CNI_NFTABLES_DIFFERS ? CNI_APPLY_DIFFERS : result;
}

static int program_iptables(int netns, struct sockets *sockets, const struct cni_plan *plan, struct fl_err *err)
{
    FL_CLEANUP(cni_iptables_close) struct cni_iptables iptables;
    struct cni_iptables_change change;
    int result = open_iptables(netns, sockets, true, &iptables, err);
    if (result == 0)
        result = cni_iptables_program(&iptables, plan, &change, err);
    if (result != 0)
        return result == CNI_IPTABLES_DIFFERS ? CNI_APPLY_DIFFERS : result;
    result = prepare_loopback(sockets, plan, err);
    if (result == 0)
        result = remove_nftables(sockets, err);
    if (result != 0)
        cni_iptables_undo(&iptables, &change, err);
    cni_iptables_change_done(&change);
    return result;
}

/* What nf_tables lacks and iptables too is told of both. */
static int program_either(int netns, struct sockets *sockets, const struct cni_plan *plan, struct fl_err *err)
{
    struct fl_err first = {0}, second = {0};
    int result = program_nftables(netns, sockets, plan, &first);
    if (result != -EOPNOTSUPP)
        return result == 0 ? 0 : (fl_err_set(err, first.code, "%s", first.text), result);
    result = program_iptables(netns, sockets, plan, &second);
    if (result == 0)
        return 0;
    fl_err_set(err, second.code, "%s; %s", first.text, second.text);
    return result;
}

int cni_apply_program(int netns, enum cni_backend backend, const struct cni_plan *plan, struct fl_err *err)
{
    FL_CLEANUP(sockets_close) struct sockets sockets;
    int result = sockets_open(netns, &sockets, err);
    if (result < 0)
        return result;
    switch (backend) {
    case CNI_BACKEND_NFTABLES:
        return program_nftables(netns, &sockets, plan, err);
    case CNI_BACKEND_IPTABLES:
        return program_iptables(netns, &sockets, plan, err);
    case CNI_BACKEND_AUTO:
    default:
        return program_either(netns, &sockets, plan, err);
    }
}

/* --- what is there --- */

struct found {
    struct cni_nftables_state nftables;
    struct cni_iptables_traces iptables;
};

static int find(struct sockets *sockets, struct found *ret_found, struct fl_err *err)
{
    int result = sockets->nftables ? cni_nftables_read(&sockets->netfilter, &ret_found->nftables, err) : 0;
    return result < 0 ? result
                      : cni_iptables_kernel_read(&sockets->kernel, &sockets->netfilter, &ret_found->iptables, err);
}

static int compare_nftables(struct sockets *sockets, const struct cni_plan *plan, struct fl_err *err)
{
    if (!sockets->nftables)
        return lacks_nfnetlink(err);
    int result = cni_nftables_compare(&sockets->netfilter, plan, err);
    return result == CNI_NFTABLES_DIFFERS ? CNI_APPLY_DIFFERS : result;
}

static int compare_iptables(int netns, struct sockets *sockets, const struct cni_plan *plan, struct fl_err *err)
{
    FL_CLEANUP(cni_iptables_close) struct cni_iptables iptables;
    int result = open_iptables(netns, sockets, false, &iptables, err);
    if (result == 0)
        result = cni_iptables_compare(&iptables, plan, err);
    return result == CNI_IPTABLES_DIFFERS ? CNI_APPLY_DIFFERS : result;
}

static int compare(int netns, struct sockets *sockets, enum cni_backend backend, const struct cni_plan *plan,
                   struct fl_err *err)
{
    struct found found = {0};
    int result = find(sockets, &found, err);
    bool table = found.nftables.table, traces = cni_iptables_traces_any(&found.iptables);
    if (result < 0)
        return result;
    if (table && traces) {
        fl_err_set(err, -EBADMSG, "rules of ours are in nftables and in iptables");
        return CNI_APPLY_DIFFERS;
    }
    if (backend == CNI_BACKEND_IPTABLES || (backend == CNI_BACKEND_AUTO && (traces || !sockets->nftables)))
        return compare_iptables(netns, sockets, plan, err);
    return compare_nftables(sockets, plan, err);
}

int cni_apply_check(int netns, enum cni_backend backend, const struct cni_plan *plan, struct fl_err *err)
{
    FL_CLEANUP(sockets_close) struct sockets sockets;
    struct cni_loopback now = {0};
    int result = sockets_open(netns, &sockets, err);
    if (result == 0)
        result = compare(netns, &sockets, backend, plan, err);
    if (result == 0)
        result = read_loopback(&sockets, &now, err);
    return result != 0 ? result : compare_loopback(&now, plan, err);
}

int cni_apply_remove(int netns, enum cni_backend backend, struct fl_err *err)
{
    FL_CLEANUP(sockets_close) struct sockets sockets;
    int result = sockets_open(netns, &sockets, err), other = 0;
    if (result < 0)
        return result;
    if (backend != CNI_BACKEND_IPTABLES)
        result = remove_nftables(&sockets, err);
    if (backend != CNI_BACKEND_NFTABLES)
        other = remove_iptables(netns, &sockets, result < 0 ? NULL : err);
    if (result == 0)
        result = other;
    int address = cni_loopback_remove_address(&sockets.route, result < 0 ? NULL : err);
    if (result == 0 && address != 0)
        result = address < 0 ? address : busy(err);
    return result;
}

int cni_apply_owner(int netns, char ret_comment[CNI_PLAN_COMMENT_MAX], struct fl_err *err)
{
    FL_CLEANUP(sockets_close) struct sockets sockets;
    FL_CLEANUP(cni_iptables_close) struct cni_iptables iptables = {.kernel = {.sockets = {-1, -1}}};
    struct found found = {0};
    int result = sockets_open(netns, &sockets, err);
    if (result == 0)
        result = find(&sockets, &found, err);
    if (result < 0)
        return result;
    if (found.nftables.table) {
        memcpy(ret_comment, found.nftables.comment, CNI_PLAN_COMMENT_MAX);
        return 0;
    }
    if (!cni_iptables_traces_any(&found.iptables))
        return CNI_APPLY_NONE;
    result = open_iptables(netns, &sockets, false, &iptables, err);
    return result < 0 ? result : cni_iptables_owner(&iptables, ret_comment, err);
}
