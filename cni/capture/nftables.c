#include "cni/capture/nftables.h"

#include "cni/capture/attribute.h"
#include "cni/capture/nft.h"
#include "cni/capture/readback.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

/* How often something is tried while others keep changing the netns; each try is a fresh look. */
#define TRIES_MAX 8

static int busy(struct fl_err *err)
{
    return fl_err_set(err, -EAGAIN, "the network namespace kept changing, or the kernel was out of buffers: %d tries",
                      TRIES_MAX);
}

/* --- the table --- */

static void read_echo(const struct nlmsghdr *message, void *context)
{
    uint64_t *handle = context, echoed = cni_nft_echoed_handle(message);
    if (echoed != 0)
        *handle = echoed;
}

/* Sends the batch until it is acknowledged, and frees it. 0 with the handle of the table that it created (where it
 * did); or the negative errno of the message that failed, in words. */
static int commit(struct cni_netlink *netfilter, struct cni_nft_batch *batch, const struct cni_plan *plan,
                  uint64_t *ret_handle, struct fl_err *err)
{
    uint64_t handle = 0;
    uint32_t acknowledged = batch->first_sequence + (uint32_t)batch->acknowledged;
    int result = CNI_NETLINK_AGAIN;
    for (int i = 0; result == CNI_NETLINK_AGAIN && i < TRIES_MAX; i++) {
        struct cni_netlink_failure failure;
        result = cni_netlink_batch(netfilter, batch->data, batch->len, acknowledged, read_echo, &handle, &failure);
        if (result < 0)
            result = cni_nft_explain(batch, plan, failure.sequence - batch->first_sequence, result, failure.text, err);
    }
    cni_nft_batch_done(batch);
    if (result == 0)
        *ret_handle = handle;
    return result == CNI_NETLINK_AGAIN ? busy(err) : result;
}

int cni_nftables_remove(struct cni_netlink *netfilter, uint64_t handle, struct fl_err *err)
{
    struct cni_nft_batch batch;
    struct fl_err failure = {0};
    uint64_t none;
    int result = cni_nft_encode_removal(handle, 1, &batch);
    if (result < 0)
        return fl_err_errno(err, result, "write the nf_tables batch");
    result = commit(netfilter, &batch, NULL, &none, &failure);
    if (result == 0 || result == -ENOENT)
        return 0;
    return fl_err_set(err, result, "remove: %s", failure.text);
}

static int write_table(struct cni_netlink *netfilter, enum cni_nft_kind kind, const struct cni_plan *plan,
                       uint64_t *ret_handle, struct fl_err *err)
{
    struct cni_nft_batch batch;
    int result = cni_nft_encode(kind, plan, 1, &batch);
    return result < 0 ? fl_err_errno(err, result, "write the nf_tables batch")
                      : commit(netfilter, &batch, plan, ret_handle, err);
}

/* A table that is there already (this is a repeated ADD, or somebody else's table of that name) is replaced. The handle
 * is 0 then, and where nothing was acknowledged. */
static int put_table(struct cni_netlink *netfilter, const struct cni_plan *plan, uint64_t *ret_handle,
                     struct fl_err *err)
{
    struct fl_err failure = {0};
    int result = write_table(netfilter, CNI_NFT_CREATE, plan, ret_handle, &failure);
    if (result == -EEXIST)
        return write_table(netfilter, CNI_NFT_REPLACE, plan, ret_handle, err);
    return result < 0 ? fl_err_set(err, result, "%s", failure.text) : 0;
}

/* --- read-back --- */

struct reading {
    struct cni_readback readback;
    struct fl_err *err;
};

static void read_message(const struct nlmsghdr *message, void *context)
{
    struct reading *reading = context;
    cni_readback_message(&reading->readback, message, reading->err);
}

enum { FILLED_UP = 100 }; /* our table has more in it than any plan: it differs, and need not be looked at again */

/* One dump. That the table is not there is a difference, not a failure. */
static int dump(struct cni_netlink *netfilter, struct reading *reading, enum cni_readback_dump what,
                enum cni_set_id set)
{
    _Alignas(struct nlmsghdr) char request[CNI_READBACK_REQUEST_MAX];
    struct fl_err failure = {0};
    int result = cni_netlink_ask(netfilter, cni_readback_request(request, what, set), read_message, reading, &failure);
    if (result == -EMSGSIZE && (what == CNI_READBACK_RULES || what == CNI_READBACK_ELEMENTS)) {
        fl_err_set(reading->err, -EBADMSG, "table inet " CNI_NFT_TABLE " is filled up");
        return FILLED_UP;
    }
    if (result < 0 && result != -ENOENT) {
        fl_err_set(reading->err, result, "read back table inet " CNI_NFT_TABLE ": %s", failure.text);
        return result;
    }
    return result == CNI_NETLINK_AGAIN ? result : 0;
}

static int dump_all(struct cni_netlink *netfilter, struct reading *reading)
{
    const struct cni_plan *plan = reading->readback.plan;
    int result = 0;
    for (int what = CNI_READBACK_GENERATION; result == 0 && what < CNI_READBACK_ELEMENTS; what++)
        result = dump(netfilter, reading, (enum cni_readback_dump)what, CNI_SET_NONE);
    for (int id = CNI_SET_NONE + 1; result == 0 && id < CNI_SETS; id++) {
        if (reading->readback.sets[id] && plan->sets[id].count > 0)
            result = dump(netfilter, reading, CNI_READBACK_ELEMENTS, (enum cni_set_id)id);
    }
    if (result == 0)
        result = dump(netfilter, reading, CNI_READBACK_GENERATION, CNI_SET_NONE);
    return result == 0 && reading->readback.moved ? CNI_NETLINK_AGAIN : result;
}

/* One look. 0, CNI_NFTABLES_DIFFERS, FILLED_UP, -EAGAIN (nothing was learned) or another negative errno. */
static int look(struct cni_netlink *netfilter, const struct cni_plan *plan, struct fl_err *err)
{
    struct reading reading = {.err = err};
    cni_readback_start(&reading.readback, plan);
    int result = dump_all(netfilter, &reading);
    if (result == FILLED_UP)
        return FILLED_UP;
    if (result != 0)
        return result < 0 ? result : busy(err);
    return cni_readback_finish(&reading.readback, err) == CNI_READBACK_SAME ? 0 : CNI_NFTABLES_DIFFERS;
}

/* A difference counts when every look shows one: a batch of somebody else
 * that comes to nothing (another ADD, that finds our table) leaves the generation as it is, and yet the kernel tells
 * some rules twice, or not at all, where it is under way in the middle of a dump. */
int cni_nftables_compare(struct cni_netlink *netfilter, const struct cni_plan *plan, struct fl_err *err)
{
    struct fl_err why = {0};
    int result = -EAGAIN;
    for (int i = 0; i < TRIES_MAX && (result == -EAGAIN || result == CNI_NFTABLES_DIFFERS); i++) {
        why = (struct fl_err){0};
        result = look(netfilter, plan, &why);
    }
    if (result != 0)
        fl_err_set(err, why.code, "%s", why.text);
    return result == FILLED_UP ? CNI_NFTABLES_DIFFERS : result;
}

int cni_nftables_program(struct cni_netlink *netfilter, const struct cni_plan *plan, uint64_t *made, struct fl_err *err)
{
    int result = put_table(netfilter, plan, made, err);
    if (result == -EAGAIN) /* not acknowledged: it may be in force all the same */
        return cni_nftables_compare(netfilter, plan, NULL) == 0 ? 0 : -EAGAIN;
    return result < 0 ? result : cni_nftables_compare(netfilter, plan, err);
}

/* --- what is there --- */

static void read_state(const struct nlmsghdr *message, void *context)
{
    const struct nlattr *found[NFTA_TABLE_MAX + 1];
    struct cni_nftables_state *state = context;
    cni_attributes_of_message(message, sizeof(struct nfgenmsg), found, FL_COUNT(found));
    if (message->nlmsg_type == (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWGEN))
        (void)!cni_attribute_u32(found[NFTA_GEN_ID], &state->generation);
    if (message->nlmsg_type != (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWTABLE) ||
        !cni_attribute_is(found[NFTA_TABLE_NAME], CNI_NFT_TABLE))
        return;
    state->table = true;
    state->handle = cni_nft_echoed_handle(message);
    cni_nft_table_comment(message, state->comment);
}

int cni_nftables_read(struct cni_netlink *netfilter, struct cni_nftables_state *ret_state, struct fl_err *err)
{
    static const enum cni_readback_dump dumps[] = {CNI_READBACK_GENERATION, CNI_READBACK_TABLE};
    struct cni_nftables_state state = {0};
    for (size_t i = 0; i < FL_COUNT(dumps); i++) {
        _Alignas(struct nlmsghdr) char request[CNI_READBACK_REQUEST_MAX];
        struct fl_err failure = {0};
        int result = cni_netlink_ask(netfilter, cni_readback_request(request, dumps[i], CNI_SET_NONE), read_state,
                                     &state, &failure);
        if (result == CNI_NETLINK_AGAIN)
            return busy(err);
        if (result < 0 && result != -ENOENT)
            return fl_err_set(err, result, "look for table inet " CNI_NFT_TABLE ": %s", failure.text);
    }
    *ret_state = state;
    return 0;
}
