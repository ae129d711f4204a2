#include "cni/capture/apply.h"

#include "cni/capture/loopback.h"
#include "cni/capture/netns.h"
#include "cni/capture/nftables.h"
#include "common/mesh/port.h"

#include <errno.h>
#include <linux/netlink.h>

struct sockets {
    struct cni_netlink route, netfilter;
};

static void sockets_close(struct sockets *sockets)
{
    cni_netlink_close(&sockets->route);
    cni_netlink_close(&sockets->netfilter);
}

static int sockets_open_here(struct sockets *sockets, struct fl_err *err)
{
    int result = cni_netlink_open(&sockets->route, NETLINK_ROUTE, err);
    if (result < 0)
        return result;
    result = cni_netlink_open(&sockets->netfilter, NETLINK_NETFILTER, err);
    if (result == -EPROTONOSUPPORT)
        return fl_err_set(err, -EOPNOTSUPP, "this kernel lacks nfnetlink, and with it nf_tables");
    return result;
}

/* The sockets belong to the netns; the thread is back in its own before anything is done with them. */
static int sockets_open(int netns, struct sockets *ret_sockets, struct fl_err *err)
{
    FL_CLEANUP(fl_cleanup_close) int back = -1;
    struct sockets sockets = {0};
    int result = cni_netns_enter(netns, &back, err);
    if (result < 0)
        return result;
    result = sockets_open_here(&sockets, err);
    int left = cni_netns_leave(back, result < 0 ? NULL : err);
    if (result == 0)
        result = left;
    if (result == 0)
        *ret_sockets = sockets;
    else
        sockets_close(&sockets);
    return result;
}

static int busy(struct fl_err *err)
{
    return fl_err_set(err, -EAGAIN, "the network namespace kept changing, or the kernel was out of buffers");
}

static int not_here(enum cni_backend backend, struct fl_err *err)
{
    return backend == CNI_BACKEND_IPTABLES ? fl_err_set(err, -EOPNOTSUPP, "the iptables back end is not here yet") : 0;
}

static int prepare_loopback(struct sockets *sockets, const struct cni_plan *plan, struct fl_err *err)
{
    int result = cni_loopback_prepare(&sockets->route, plan->ipv6, err);
    return result == CNI_NETLINK_AGAIN ? busy(err) : result;
}

/* 0, CNI_APPLY_DIFFERS or a negative errno. */
static int compare_loopback(struct sockets *sockets, const struct cni_plan *plan, struct fl_err *err)
{
    struct cni_loopback now;
    int result = cni_loopback_read(&sockets->route, &now, err);
    if (result != 0)
        return result < 0 ? result : busy(err);
    if (now.up && (!plan->ipv6 || !now.ipv6 || now.address))
        return 0;
    fl_err_set(err, -EBADMSG, now.up ? FL_PASSTHROUGH_IPV6 " is missing on lo" : "lo is down");
    return CNI_APPLY_DIFFERS;
}

/* --- the verbs --- */

/* On failure the table goes again that this call created: that one alone, by its handle, for another ADD may have put
 * its own in place meanwhile, and answered for it. One that replaced another stays: a pod that was captured is never
 * let go because its repair failed. */
int cni_apply_program(int netns, enum cni_backend backend, const struct cni_plan *plan, struct fl_err *err)
{
    FL_CLEANUP(sockets_close) struct sockets sockets = {0};
    uint64_t made = 0;
    int result = not_here(backend, err);
    if (result == 0)
        result = sockets_open(netns, &sockets, err);
    if (result < 0)
        return result;
    result = cni_nftables_program(&sockets.netfilter, plan, &made, err);
    if (result == 0)
        result = prepare_loopback(&sockets, plan, err);
    if (result != 0 && made != 0)
        (void)!cni_nftables_remove(&sockets.netfilter, made, NULL);
    return result == CNI_NFTABLES_DIFFERS ? CNI_APPLY_DIFFERS : result;
}

int cni_apply_check(int netns, enum cni_backend backend, const struct cni_plan *plan, struct fl_err *err)
{
    FL_CLEANUP(sockets_close) struct sockets sockets = {0};
    int result = not_here(backend, err);
    if (result == 0)
        result = sockets_open(netns, &sockets, err);
    if (result == 0)
        result = compare_loopback(&sockets, plan, err);
    if (result != 0)
        return result;
    result = cni_nftables_compare(&sockets.netfilter, plan, err);
    return result == CNI_NFTABLES_DIFFERS ? CNI_APPLY_DIFFERS : result;
}

int cni_apply_remove(int netns, enum cni_backend backend, struct fl_err *err)
{
    FL_CLEANUP(sockets_close) struct sockets sockets = {0};
    int result = not_here(backend, err);
    if (result == 0)
        result = sockets_open(netns, &sockets, err);
    if (result < 0)
        return result;
    result = cni_nftables_remove(&sockets.netfilter, 0, err);
    int address = cni_loopback_remove_address(&sockets.route, result < 0 ? NULL : err);
    if (result == 0 && address != 0)
        result = address < 0 ? address : busy(err);
    return result;
}

/* --- what is there --- */

static int read_state(int netns, struct cni_nftables_state *ret_state, struct fl_err *err)
{
    FL_CLEANUP(sockets_close) struct sockets sockets = {0};
    int result = sockets_open(netns, &sockets, err);
    return result < 0 ? result : cni_nftables_read(&sockets.netfilter, ret_state, err);
}

/* Not 0 for any table. */
static uint64_t mix(uint64_t handle, uint64_t generation)
{
    return (handle * UINT64_C(0x9e3779b97f4a7c15) ^ generation) | UINT64_C(1) << 63;
}

int cni_apply_fingerprint(int netns, uint64_t *ret_fingerprint, struct fl_err *err)
{
    struct cni_nftables_state state;
    int result = read_state(netns, &state, err);
    if (result == 0)
        *ret_fingerprint = state.table ? mix(state.handle, state.generation) : 0;
    return result;
}

int cni_apply_owner(int netns, char ret_comment[CNI_PLAN_COMMENT_MAX], struct fl_err *err)
{
    struct cni_nftables_state state;
    int result = read_state(netns, &state, err);
    if (result == 0 && !state.table)
        return CNI_APPLY_NONE;
    if (result == 0)
        memcpy(ret_comment, state.comment, CNI_PLAN_COMMENT_MAX);
    return result;
}
