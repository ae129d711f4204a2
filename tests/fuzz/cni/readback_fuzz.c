/* Netlink messages, as the kernel dumps them: compared with a plan that has every set. Reading must not trust a byte;
 * error messages are read as well, and connection tracking's. */
#include "cni/capture/attribute.h"
#include "cni/capture/flow.h"
#include "cni/capture/netlink.h"
#include "cni/capture/nft.h"
#include "cni/capture/readback.h"

#include <arpa/inet.h>
#include <linux/netlink.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct cni_plan *get_plan(void)
{
    static struct cni_plan plan;
    struct fl_capture capture;
    if (plan.rule_count > 0)
        return &plan;
    fl_capture_defaults(&capture);
    capture.inbound_include = (struct fl_port_list){.count = 1, .ranges = {{80, 90}}};
    capture.inbound_exclude = (struct fl_port_list){.count = 1, .ranges = {{60000, 65535}}};
    capture.outbound_include_ports = (struct fl_port_list){.count = 1, .ranges = {{443, 443}}};
    capture.outbound_exclude_ports = (struct fl_port_list){.count = 1, .ranges = {{25, 25}}};
    capture.outbound_include_cidrs =
        (struct fl_cidr_list){.count = 2, .cidrs = {{AF_INET, {10}, 8}, {AF_INET6, {0xfd}, 8}}};
    capture.outbound_exclude_cidrs =
        (struct fl_cidr_list){.count = 2, .cidrs = {{AF_INET, {10, 1}, 16}, {AF_INET6, {0xff}, 8}}};
    capture.outbound_exclude_uids = (struct fl_uid_list){.count = 1, .ranges = {{1000, 1999}}};
    capture.exclude_interfaces = (struct fl_interface_list){.count = 2, .names = {"eth1", "net1"}};
    capture.dns = capture.drop_invalid = true;
    if (cni_plan_build(&capture, &plan) != 0)
        abort();
    return &plan;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct cni_readback readback;
    struct fl_err err = {0};
    /* Netlink buffers are aligned, and end where they end. */
    FL_CLEANUP(fl_cleanup_free) char *bytes = malloc(size > 0 ? size : 1);
    if (bytes == NULL)
        return 0;
    memcpy(bytes, data, size);
    cni_readback_start(&readback, get_plan());
    struct fl_span rest = fl_span_make(bytes, size);
    for (const struct nlmsghdr *message = cni_messages_next(&rest); message != NULL;
         message = cni_messages_next(&rest)) {
        struct cni_flow flow;
        char text[64];
        int code;
        if (message->nlmsg_type == NLMSG_ERROR)
            (void)!cni_netlink_read_error(message, &code, text, sizeof(text));
        else
            cni_readback_message(&readback, message, &err);
        (void)cni_nft_echoed_handle(message);
        (void)cni_flow_read(message, &flow);
    }
    if (cni_readback_finish(&readback, &err) == CNI_READBACK_DIFFERS && err.text[0] == '\0')
        abort();
    return 0;
}
