/* The app's own metrics, which the sidecar adds to its own on 15020 /stats/prometheus: where they are.
 *
 * The webhook turns the pod's prometheus.io annotations to 15020 and writes the originals as the annotation
 * fairlead.io/metrics; the sidecar gets the same text as FAIRLEAD_METRICS. This module is the only reader and writer.
 * Form, version 1 (members in this order, all present):
 *
 *   {"version":1,"scheme":"http","port":9100,"path":"/metrics"}
 */
#ifndef FL_MESH_APPMETRICS_H
#define FL_MESH_APPMETRICS_H

#include "common/base/buf.h"
#include "common/base/err.h"

#define FL_APPMETRICS_VERSION  1
#define FL_APPMETRICS_PATH_MAX 2048  /* bytes */
#define FL_APPMETRICS_TEXT_MAX 16384 /* bytes of the canonical JSON */

struct fl_appmetrics {
    bool https;
    uint16_t port; /* not 0, and none of our own (mesh/port.h) */
    size_t path_len;
    /* Begins with '/', may have a query; neither blanks nor control characters; NUL-terminated. */
    char path[FL_APPMETRICS_PATH_MAX + 1];
};

/* From the values of the annotations prometheus.io/scheme, port and path; the empty span where there is none: "http",
 * `default_port`, "/metrics". 0 or -EINVAL (err says what would be right). */
int fl_appmetrics_set(struct fl_span scheme, struct fl_span port, struct fl_span path, uint16_t default_port,
                      struct fl_appmetrics *ret_metrics, struct fl_err *err) FL_MUST_CHECK;

/* From the annotation's text, members in any order. 0; -EINVAL (err names the path in the text and what would be
 * right); -ENOTSUP (another version); -EMSGSIZE; -ENOMEM. Strict. */
int fl_appmetrics_parse(struct fl_span text, struct fl_appmetrics *ret_metrics, struct fl_err *err) FL_MUST_CHECK;

/* Appends the canonical form: equal values give equal bytes. 0, -ENOMEM, -EMSGSIZE. */
int fl_appmetrics_print(const struct fl_appmetrics *metrics, struct fl_buf *out) FL_MUST_CHECK;

#endif
