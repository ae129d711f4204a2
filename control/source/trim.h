/* What the model needs of an object as the API server sends it: a document without managedFields, resourceVersion,
 * status (but a Pod's address and readiness, and a Service's load balancer) and what no reader looks at. Pure. So a
 * heartbeat changes nothing, and a Pod of 12 KiB is one of some hundred bytes before it is read.
 *
 * A reader of the model (model/kind) that begins to read another member of a core kind needs it here too; the test
 * reads every golden object with and without.
 */
#ifndef CONTROL_SOURCE_TRIM_H
#define CONTROL_SOURCE_TRIM_H

#include "control/model/object.h"

/* "gateway.networking.k8s.io/v1": of the collection that it came from, as items of a list have none of their own. The
 * result shares texts with `object`, which must outlive it; fl_json_free. NULL when memory is out. */
struct fl_json *control_trim(enum control_kind kind, const char *api_version, const struct fl_json *object);

#endif
