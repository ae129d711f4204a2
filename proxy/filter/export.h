/* Spans on their way to a collector: OTLP over HTTP, in batches, through a cluster of the configuration like any
 * request.
 *
 * A worker has one exporter per provider (by content, so a new configuration goes on with it). It never makes a request
 * wait: a span is encoded when its request ends; a batch goes when PROXY_EXPORT_BATCH spans are there or after
 * PROXY_EXPORT_DELAY_MS, one at a time. What finds no room, and what a collector does not take, is dropped and counted:
 * there is no second try. While the worker drains spans go at once, and the drain waits for them.
 */
#ifndef PROXY_FILTER_EXPORT_H
#define PROXY_FILTER_EXPORT_H

#include "proxy/filter/data.h"
#include "proxy/telemetry/otlp.h"

#define PROXY_EXPORT_BATCH     512u       /* spans */
#define PROXY_EXPORT_DELAY_MS  1000u      /* of the first span that waits */
#define PROXY_EXPORT_QUEUE_MAX (1u << 20) /* bytes of spans that wait, beside a batch that is under way */
#define PROXY_EXPORTERS_MAX    16u        /* of a worker; spans for others are dropped */

struct proxy_exporter;

/* NULL: there are too many, or memory is out; proxy_exporter_add counts that. */
struct proxy_exporter *proxy_exporter_of(struct proxy_data *data, const struct proxy_trace_provider *provider);
void proxy_exporter_add(struct proxy_data *data, struct proxy_exporter *exporter, const struct proxy_span *span);

/* What waits goes now. */
void proxy_exporters_flush(struct proxy_data *data);
bool proxy_exporters_busy(const struct proxy_data *data);
/* Everything goes, at once; in proxy_data_abort. */
void proxy_exporters_free(struct proxy_data *data);

#endif
