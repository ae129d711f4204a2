/* A whole bootstrap, from text to snapshot: no crash, and what is accepted is accepted again by a refresh. */
#include "proxy/config/bootstrap.h"

#include <errno.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct proxy_bootstrap_warnings warnings;
    struct proxy_snapshot *snapshot = NULL, *again = NULL;
    struct fl_err err;
    if (proxy_bootstrap_parse(fl_span_make(data, size), "fuzz", &warnings, &snapshot, &err) != 0)
        return 0;
    int result = proxy_bootstrap_refresh(snapshot, &again, &err);
    if (result == -EINVAL || (result == 0 && (again->cluster_count != snapshot->cluster_count ||
                                              again->listener_count != snapshot->listener_count)))
        abort();
    proxy_snapshot_unref(snapshot);
    proxy_snapshot_unref(again);
    return 0;
}
