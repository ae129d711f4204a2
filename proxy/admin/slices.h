/* Large answers, made in slices: some PROXY_SLICE_BYTES a turn of the main thread's loop, so that health checks, the
 * control plane and signals are served in between, whoever asks for 20 MB. (Workers have threads of their own.) */
#ifndef PROXY_ADMIN_SLICES_H
#define PROXY_ADMIN_SLICES_H

#include "common/loop/loop.h"
#include "proxy/admin/serving.h"

#define PROXY_SLICE_BYTES 131072u /* about a millisecond */
#define PROXY_SLICES_MAX  4u      /* answers under way; beyond, 503 */

struct proxy_slices; /* all that are under way */

struct proxy_slice_source {
    /* Appends some `bytes`. Positive: there is more; 0: that was all; negative: the answer is a 500. */
    int (*step)(void *source, size_t bytes, struct fl_buf *out);
    void (*free)(void *source);
    void *source;
};

int proxy_slices_new(struct fl_loop *loop, struct proxy_slices **ret_slices) FL_MUST_CHECK; /* 0 or -ENOMEM */
/* Whoever waits is closed. NULL is allowed; returns NULL. */
struct proxy_slices *proxy_slices_free(struct proxy_slices *slices);

/* From a handler: defers `answer`, whose content type is `content_type`. Takes the source, whatever comes. 0, -ENOMEM;
 * where too many are under way the answer is a 503. */
int proxy_slices_begin(struct proxy_slices *slices, const struct proxy_slice_source *source, const char *content_type,
                       struct proxy_answer *answer) FL_MUST_CHECK;

#endif
