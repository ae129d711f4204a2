#include "cni/capture/backend.h"

#include "common/base/cleanup.h"

static const char *const names[] = {
    [CNI_BACKEND_AUTO] = "auto",
    [CNI_BACKEND_NFTABLES] = "nftables",
    [CNI_BACKEND_IPTABLES] = "iptables",
};

bool cni_backend_parse(struct fl_span name, enum cni_backend *ret_backend)
{
    for (size_t i = 0; i < FL_COUNT(names); i++) {
        if (fl_span_eq_str(name, names[i])) {
            *ret_backend = (enum cni_backend)i;
            return true;
        }
    }
    return false;
}
