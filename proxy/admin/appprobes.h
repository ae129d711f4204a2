/* App probes: 15020 answers "/app-health/<container>/readyz" and the like by asking the app in the kubelet's stead, and
 * passes on what it says, so that the kubelet sees what it would have seen without the sidecar:
 *
 *   httpGet    GET with the probe's headers, HTTPS with whoever answers; redirects to the same host are followed (the
 *              tenth is one too many), another host ends it; the app's status goes on, its body never does (whoever
 *              reaches 15020 has no business with it). What is no answer: 502; too late: 504
 *   tcpSocket  a connection: 200, or 502 and 504
 *   grpc       Health/Check: 200 where it says SERVING, else 503; 502 and 504
 *   lifecycle  the kubelet takes any status for success: where there is no answer it gets none either, the connection
 *              is closed. A handler over HTTPS at an app that speaks HTTP is asked again over HTTP, without
 * Authorization
 *
 * Where: at the pod's first IP, where the kubelet would have asked; so an app that listens on 127.0.0.1 alone fails
 * here as there. Only what is in the table is dialled.
 *
 * Bounds: a probe is asked once at a time, and not sooner than PROXY_APPPROBES_SPACING_MS after the last time: whoever
 * asks meanwhile gets the same answer. PROXY_APPPROBES_MAX at a time, beyond: 503. Time by timeoutSeconds, an hour at
 * most. A probe that nobody waits for any more is given up.
 */
#ifndef PROXY_ADMIN_APPPROBES_H
#define PROXY_ADMIN_APPPROBES_H

#include "common/loop/loop.h"
#include "common/mesh/appprobe.h"
#include "common/metrics/registry.h"
#include "proxy/admin/serving.h"

#define PROXY_APPPROBES_MAX        64
#define PROXY_APPPROBES_SPACING_MS 100
#define PROXY_APPPROBES_SECONDS    3600
#define PROXY_APPPROBES_BODY_MAX   10240 /* bytes of an answer that are read, as the kubelet does */
#define PROXY_APPPROBES_REDIRECTS  10

struct proxy_appprobes;

struct proxy_appprobes_options {
    struct fl_loop *loop;
    const struct fl_appprobes *table; /* outlives it */
    struct proxy_address address;     /* of the pod; its port is not looked at */
    struct fl_metrics *metrics;       /* of the main thread; may be NULL */
};

/* 0 or -ENOMEM. */
int proxy_appprobes_new(const struct proxy_appprobes_options *options, struct proxy_appprobes **ret_probes,
                        struct fl_err *err) FL_MUST_CHECK;
/* Who waits gets no answer. */
struct proxy_appprobes *proxy_appprobes_free(struct proxy_appprobes *probes);

static inline bool proxy_appprobes_is_path(struct fl_span path)
{
    return fl_span_starts_with(path, FL_SPAN(FL_APPPROBE_HEALTH_PREFIX)) ||
           fl_span_starts_with(path, FL_SPAN(FL_APPPROBE_LIFECYCLE_PREFIX));
}
/* A GET or HEAD for such a path. 0, -ENOMEM, -EMSGSIZE (the answer's body is half written). */
int proxy_appprobes_handle(struct proxy_appprobes *probes, const struct proxy_message *request,
                           struct proxy_answer *answer) FL_MUST_CHECK;

#endif
