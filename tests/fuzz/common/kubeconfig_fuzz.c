/* A kubeconfig of any bytes: read with the context that it names, and with one that it may have. */
#include "common/kube/kubeconfig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const contexts[] = {NULL, "one"};
    for (size_t i = 0; i < FL_COUNT(contexts); i++) {
        struct fl_kube_access access = {0};
        struct fl_err err = {0};
        if (fl_kubeconfig_parse(fl_span_make(data, size), "/f/config", contexts[i], &access, &err) == 0 &&
            access.server == NULL)
            abort();
        fl_kube_access_done(&access);
    }
    return 0;
}
