/* The network configuration on stdin: parsed, its capture spec planned and encoded, its result handed on. A result that
 * was printed is JSON again. */
#include "cni/capture/nft.h"
#include "cni/plugin/netconf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void plan_capture(struct fl_span text)
{
    static struct cni_plan plan;
    struct fl_capture capture;
    struct fl_err err;
    struct cni_nft_batch batch;
    if (fl_capture_parse(text, &capture, &err) != 0 || cni_plan_build(&capture, &plan) != 0)
        return;
    if (cni_nft_encode(CNI_NFT_REPLACE, &plan, 1, &batch) != 0)
        abort();
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
