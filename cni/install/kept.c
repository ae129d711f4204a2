#include "cni/install/kept.h"

#include "common/base/siphash.h"

void cni_kept_done(struct cni_kept *kept)
{
    if (kept->fd >= 0)
        close(kept->fd);
    kept->fd = -1;
}

int cni_kept_look(const struct cni_kept *kept, bool *ret_changed, struct fl_buf *out)
{
    size_t before = out->len;
    int result = cni_confdir_read_fd(kept->fd, out);
    if (result < 0)
        return result;
    *ret_changed = fl_siphash(fl_span_from(fl_buf_span(out), before)) != kept->read;
    return 0;
}
