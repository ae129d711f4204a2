/* The network configuration on stdin: parsed, its capture spec planned and encoded, its result handed on. What was
 * encoded reads back as planned; a result that was printed is JSON again. */
#include "cni/capture/attribute.h"
#include "cni/capture/nft.h"
#include "cni/capture/readback.h"
#include "cni/plugin/netconf.h"

#include <linux/netlink.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

/* The messages of a batch have the form of the kernel's dumps. */
static void read_back(const struct cni_plan *plan, const struct cni_nft_batch *batch)
{
    static struct cni_readback readback;
    struct fl_err err = {0};
    struct fl_span rest = fl_span_make(batch->data, batch->len);
    cni_readback_start(&readback, plan);
    for (const struct nlmsghdr *message = cni_messages_next(&rest); message != NULL; message = cni_messages_next(&rest))
        cni_readback_message(&readback, message, &err);
    check(cni_readback_finish(&readback, &err) == CNI_READBACK_SAME);
}

static void plan_capture(struct fl_span text)
{
    static struct cni_plan plan;
    struct fl_capture capture;
    struct fl_err err;
    struct cni_nft_batch batch;
    if (fl_capture_parse(text, &capture, &err) != 0 || cni_plan_build(&capture, &plan) != 0)
        return;
    check(plan.rule_count <= CNI_PLAN_RULES);
    check(cni_nft_encode(CNI_NFT_CREATE, &plan, 1, &batch) == 0);
    read_back(&plan, &batch);
    cni_nft_batch_done(&batch);
    check(cni_nft_encode(CNI_NFT_REPLACE, &plan, 1, &batch) == 0);
    cni_nft_batch_done(&batch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    FL_CLEANUP(fl_buf_done) struct fl_buf out;
    struct cni_netconf netconf;
    struct fl_err err;
    fl_buf_init(&out, 8u * CNI_NETCONF_BYTES_MAX);
    if (cni_netconf_parse(fl_span_make(data, size), &netconf, &err) == 0) {
        if (netconf.has_capture)
            plan_capture(netconf.capture);
        if (cni_netconf_print_result(&netconf, &out, &err) == 0) {
            struct fl_json *again = NULL;
            if (fl_json_parse(fl_buf_span(&out), NULL, &again, &err) == -22)
                abort();
            fl_json_free(again);
        }
    }
    cni_netconf_done(&netconf);
    return 0;
}
