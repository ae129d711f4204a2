/* Which of the kernel's two rule engines holds a pod's capture. Both get the same plan and do the same to packets.
 *
 * nftables: one netlink batch, no process (nft.h). iptables: iptables-restore of the host, one run a family, for
 * kernels without nf_tables (iptables.h).
 */
#ifndef CNI_CAPTURE_BACKEND_H
#define CNI_CAPTURE_BACKEND_H

#include "common/base/span.h"

enum cni_backend {
    CNI_BACKEND_AUTO, /* nftables where the kernel has it, else iptables */
    CNI_BACKEND_NFTABLES,
    CNI_BACKEND_IPTABLES,
};

#define CNI_BACKEND_NAMES "auto, nftables or iptables" /* for messages */

/* From "auto", "nftables", "iptables"; false (and nothing set) otherwise. */
bool cni_backend_parse(struct fl_span name, enum cni_backend *ret_backend);

#endif
