/* A whole bootstrap, from text to snapshot: no crash, and what is accepted is accepted again by a refresh. */
#include "proxy/config/bootstrap.h"

#include <errno.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct proxy_bootstrap_warnings warnings;
    struct proxy_snapshot *snapshot = NULL, *again = NULL;
    struct proxy_assembly *assembly;
    struct fl_err err;
    if (proxy_assembly_new(NULL, NULL, &assembly) < 0)
        return 0;
    int result = proxy_bootstrap_read(fl_span_make(data, size), "fuzz", &warnings, assembly, &err);
    if (result == 0)
        result = proxy_assembly_publish(assembly, 1, &snapshot, &err);
    if (result == PROXY_ASSEMBLY_PUBLISHED) {
        result = proxy_assembly_refresh(assembly, &err);
        if (result == 0)
            result = proxy_assembly_publish(assembly, 1, &again, &err);
        if (result == -EINVAL || result == PROXY_ASSEMBLY_UNCHANGED ||
            (result == PROXY_ASSEMBLY_PUBLISHED &&
             (again->cluster_count != snapshot->cluster_count || again->listener_count != snapshot->listener_count)))
            abort();
    }
    proxy_assembly_free(assembly);
    proxy_snapshot_unref(snapshot);
    proxy_snapshot_unref(again);
    return 0;
}
