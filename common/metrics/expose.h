/* A registry as text: Prometheus exposition format 0.0.4. (OpenMetrics may follow where it is negotiated.) */
#ifndef FL_METRICS_EXPOSE_H
#define FL_METRICS_EXPOSE_H

#include "common/base/buf.h"
#include "common/metrics/registry.h"

#define FL_METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* Appends every family of the registries, series with equal labels summed. Families in order of first registration,
 * # HELP and # TYPE once each; label values escaped (\\, \", \n). Each registry once; the threads that own them may be
 * writing (their making of a new series waits meanwhile, for a family's text at most). 0, -ENOMEM or -EMSGSIZE. */
int fl_metrics_expose(struct fl_metrics *const *registries, size_t count, struct fl_buf *out) FL_MUST_CHECK;

#endif
